//! Events in the database.

use super::{EventStatus, EventView, PriceTier, QueueSettings};
use crate::db::{self, datetime};
use crate::error::Result;
use sqlx::{MySqlConnection, MySqlPool, QueryBuilder};
use time::OffsetDateTime;

/// The columns of [`EventRow`].
pub const COLUMNS: &str = "id, name, venue, description, event_date, sale_opens_at, seated, total_seats, \
     available_seats, price, max_per_order, max_per_user, cancelled, queue_enabled, queue_per_second, queue_max_inside";

/// An event as it is stored.
#[derive(sqlx::FromRow)]
pub struct EventRow {
    id: u64,
    name: String,
    venue: String,
    description: String,
    event_date: OffsetDateTime,
    sale_opens_at: Option<OffsetDateTime>,
    seated: bool,
    total_seats: u32,
    available_seats: u32,
    price: u64,
    max_per_order: u32,
    max_per_user: Option<u32>,
    cancelled: bool,
    queue_enabled: bool,
    queue_per_second: f64,
    queue_max_inside: u32,
}

impl EventRow {
    /// The event with its prices.
    pub fn view(self, price_tiers: Vec<PriceTier>) -> EventView {
        EventView {
            event_id: self.id,
            event_name: self.name,
            venue: self.venue,
            description: self.description,
            event_date: self.event_date,
            sale_opens_at: self.sale_opens_at,
            seated: self.seated,
            total_seats: self.total_seats,
            available_seats: self.available_seats,
            price: self.price,
            price_tiers,
            max_per_order: self.max_per_order,
            max_per_user: self.max_per_user,
            status: match (self.cancelled, self.available_seats) {
                (true, _) => EventStatus::Cancelled,
                (false, 0) => EventStatus::SoldOut,
                (false, _) => EventStatus::Available,
            },
            queue: QueueSettings {
                enabled: self.queue_enabled,
                admit_per_second: self.queue_per_second,
                max_inside: self.queue_max_inside,
            },
        }
    }

    /// Its identifier.
    pub fn id(&self) -> u64 {
        self.id
    }
}

/// What seats of this event cost, by grade.
pub async fn price_tiers(connection: &mut MySqlConnection, event_id: u64) -> Result<Vec<PriceTier>, sqlx::Error> {
    let tiers: Vec<(String, u64)> =
        sqlx::query_as("SELECT grade, price FROM price_tiers WHERE event_id = ? ORDER BY price DESC, grade")
            .bind(event_id)
            .fetch_all(connection)
            .await?;
    Ok(tiers.into_iter().map(|(grade, price)| PriceTier { grade, price }).collect())
}

/// The event with this identifier.
pub async fn by_id(pool: &MySqlPool, id: u64) -> Result<Option<EventView>> {
    let mut connection = pool.acquire().await?;
    let row: Option<EventRow> = QueryBuilder::new("SELECT ")
        .push(COLUMNS)
        .push(" FROM events WHERE id = ")
        .push_bind(id)
        .build_query_as()
        .fetch_optional(&mut *connection)
        .await?;
    match row {
        None => Ok(None),
        Some(row) => {
            let tiers = price_tiers(&mut connection, id).await?;
            Ok(Some(row.view(tiers)))
        }
    }
}

/// A seat of a new event.
pub struct NewSeat {
    /// `A-1`
    pub id: String,
    /// `A`
    pub row: String,
    /// `1`
    pub number: u32,
    /// Names a price
    pub grade: String,
}

/// An event to be created.
pub struct NewEvent {
    /// Name
    pub name: String,
    /// Where
    pub venue: String,
    /// What
    pub description: String,
    /// When
    pub event_date: OffsetDateTime,
    /// Beginning of the sale
    pub sale_opens_at: Option<OffsetDateTime>,
    /// General-admission tickets; ignored when there are seats
    pub total_seats: u32,
    /// Seats; empty for general admission
    pub seats: Vec<NewSeat>,
    /// Price without a grade
    pub price: u64,
    /// Prices by grade
    pub price_tiers: Vec<PriceTier>,
    /// Tickets per reservation
    pub max_per_order: u32,
    /// Tickets per user
    pub max_per_user: Option<u32>,
    /// Waiting queue
    pub queue: QueueSettings,
}

/// Stores an event with its seats and prices, and returns its identifier.
pub async fn insert(pool: &MySqlPool, event: &NewEvent) -> Result<u64> {
    let seated = !event.seats.is_empty();
    let total = if seated { event.seats.len() as u32 } else { event.total_seats };
    let mut tx = pool.begin().await?;
    let id = sqlx::query(
        "INSERT INTO events (name, venue, description, event_date, sale_opens_at, seated, total_seats, available_seats, \
         price, max_per_order, max_per_user, queue_enabled, queue_per_second, queue_max_inside) \
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
    )
    .bind(&event.name)
    .bind(&event.venue)
    .bind(&event.description)
    .bind(datetime(event.event_date))
    .bind(event.sale_opens_at.map(datetime))
    .bind(seated)
    .bind(total)
    .bind(total)
    .bind(event.price)
    .bind(event.max_per_order)
    .bind(event.max_per_user)
    .bind(event.queue.enabled)
    .bind(event.queue.admit_per_second)
    .bind(event.queue.max_inside)
    .execute(&mut *tx)
    .await?
    .last_insert_id();
    if !event.price_tiers.is_empty() {
        QueryBuilder::new("INSERT INTO price_tiers (event_id, grade, price) ")
            .push_values(&event.price_tiers, |mut row, tier| {
                row.push_bind(id).push_bind(&tier.grade).push_bind(tier.price);
            })
            .build()
            .persistent(false)
            .execute(&mut *tx)
            .await?;
    }
    for seats in db::pieces(&event.seats) {
        QueryBuilder::new("INSERT INTO seats (event_id, id, row_label, col_number, grade) ")
            .push_values(seats, |mut row, seat| {
                row.push_bind(id)
                    .push_bind(&seat.id)
                    .push_bind(&seat.row)
                    .push_bind(seat.number)
                    .push_bind(&seat.grade);
            })
            .build()
            .execute(&mut *tx)
            .await?;
    }
    tx.commit().await?;
    Ok(id)
}
