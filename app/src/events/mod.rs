//! Events: what tickets are sold for.

pub mod cache;
mod direct;
mod handlers;
pub mod layout;
mod list;
pub mod live;
pub mod settle;
pub mod store;
pub mod versions;

pub use handlers::routes;

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use utoipa::ToSchema;

/// Whether an event can be bought.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum EventStatus {
    /// Tickets are left
    Available,
    /// None is left; one may come back
    SoldOut,
    /// It does not take place
    Cancelled,
}

/// What seats of one grade cost.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PriceTier {
    /// Name, such as `VIP`
    #[schema(min_length = 1, max_length = 20)]
    pub grade: String,
    /// Price of one seat, in the currency's smallest unit
    #[schema(maximum = 1_000_000_000)]
    pub price: u64,
}

/// How the waiting queue lets people in.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct QueueSettings {
    /// Whether buyers need a pass from the queue
    pub enabled: bool,
    /// How many are let in per second, at most
    #[schema(exclusive_minimum = 0.0, maximum = 100_000.0)]
    pub admit_per_second: f64,
    /// How many may be inside at once
    #[schema(minimum = 1, maximum = 1_000_000)]
    pub max_inside: u32,
}

/// An event as anybody sees it.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct EventView {
    /// Identifier
    pub event_id: u64,
    /// Name
    pub event_name: String,
    /// Where it takes place
    pub venue: String,
    /// What it is
    pub description: String,
    /// When it takes place
    #[serde(with = "time::serde::rfc3339")]
    pub event_date: OffsetDateTime,
    /// When the sale begins; absent when it has no fixed beginning
    #[serde(with = "time::serde::rfc3339::option")]
    pub sale_opens_at: Option<OffsetDateTime>,
    /// Whether seats are chosen (else general admission)
    pub seated: bool,
    /// Tickets there are
    pub total_seats: u32,
    /// Tickets that are left: right as soon as the answer of a sale has been given
    pub available_seats: u32,
    /// Price of a general-admission ticket, or of a seat whose grade has no price of its own
    pub price: u64,
    /// Prices by grade
    pub price_tiers: Vec<PriceTier>,
    /// Tickets per reservation, at most
    pub max_per_order: u32,
    /// Tickets per user, at most
    pub max_per_user: Option<u32>,
    /// Whether it can be bought
    pub status: EventStatus,
    /// The waiting queue
    pub queue: QueueSettings,
}
