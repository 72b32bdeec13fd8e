//! Sales: from a wish to a ticket, never one too many.
//!
//! A hold in Redis keeps others away while somebody makes up their mind; it is a courtesy. The sale itself is
//! one transaction in the database ([`sell`]), entered through a lane per event ([`lane`]) that puts what waits
//! into one commit.

pub mod cancel;
mod groups;
mod handlers;
mod hold_handlers;
pub mod holds;
mod lane;
pub mod read;
mod record;
pub mod requests;
mod rounds;
mod script;
pub mod seat_map;
mod sell;
pub mod tickets;

pub use read::{ReservationView, TicketView, by_code4 as find_by_code4};

use crate::config::LimitArgs;
use crate::db;
use crate::error::{ApiError, Result};
use crate::events::cache::EventCache;
use crate::kv::Kv;
use crate::state::AppState;
use crate::wallet::{PaymentProvider, Wallet};
use holds::{Hold, Holds};
use lane::Lanes;
use serde::{Deserialize, Serialize};
use sqlx::MySqlPool;
use std::sync::Arc;
use std::time::Duration;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;

/// How long seats that were freed wait for another attempt to say so in Redis.
const MARK_AGAIN: Duration = Duration::from_millis(500);

/// Routes of sales.
pub fn routes() -> OpenApiRouter<AppState> {
    handlers::routes()
        .merge(hold_handlers::routes())
        .merge(groups::routes())
        .merge(seat_map::routes())
        .merge(requests::routes())
}

/// How a reservation is paid.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum PaymentMethod {
    /// It costs nothing
    None,
    /// From the user's wallet, within the sale
    Wallet,
    /// At the box office (ADMIN only)
    OnSite,
}

impl PaymentMethod {
    /// As it is stored.
    pub fn as_str(self) -> &'static str {
        match self {
            PaymentMethod::None => "NONE",
            PaymentMethod::Wallet => "WALLET",
            PaymentMethod::OnSite => "ON_SITE",
        }
    }
}

/// What somebody wants to buy.
#[derive(Clone, Debug)]
pub struct Order {
    /// Who gets the tickets
    pub user_id: String,
    /// Tickets
    pub quantity: u32,
    /// Seats, as many as tickets; none for general admission
    pub seats: Vec<String>,
    /// The same key never buys twice
    pub idempotency_key: String,
    /// Whether the key came from the client (then it may have been used before)
    pub client_key: bool,
    /// What the key stands for
    pub request_hash: [u8; 32],
    /// How to pay; by default the wallet, or on site for the box office
    pub payment: Option<PaymentMethod>,
    /// Whether an ADMIN sells
    pub box_office: bool,
    /// The hold that this order confirms
    pub hold: Option<HoldRef>,
    /// The group that it belongs to
    pub group_id: Option<u64>,
}

/// A hold that an order confirms.
#[derive(Clone, Debug)]
pub struct HoldRef {
    /// Its identifier
    pub id: String,
    /// Its fencing number
    pub fence: u64,
}

/// The sale path. Cheap to clone.
#[derive(Clone)]
pub struct Sales {
    /// Holds in Redis
    pub holds: Holds,
    lanes: Lanes,
    db: MySqlPool,
    events: EventCache,
    payments: Arc<dyn PaymentProvider>,
    offer_seconds: u32,
}

impl Sales {
    /// Puts the sale path together.
    pub fn new(db: MySqlPool, kv: Kv, events: EventCache, limits: &LimitArgs) -> Self {
        let payments: Arc<dyn PaymentProvider> = Arc::new(Wallet);
        let holds = Holds::new(db.clone(), kv, events.versions().clone(), limits);
        Self {
            lanes: Lanes::new(db.clone(), events.clone(), holds.clone(), payments.clone()),
            holds,
            db,
            events,
            payments,
            offer_seconds: limits.offer_seconds,
        }
    }

    /// Sells; when this returns, the sale is committed and everybody can see it.
    pub async fn sell(&self, event_id: u64, order: Order) -> Result<ReservationView> {
        self.lanes.submit(event_id, order).await
    }

    /// Sells without a hold of the buyer's: seats are held for the moment of the sale, so that nobody's hold is
    /// overridden.
    pub async fn sell_held(&self, event_id: u64, mut order: Order) -> Result<ReservationView> {
        if order.seats.is_empty() {
            return self.sell(event_id, order).await;
        }
        let hold = match self.holds.take_for_sale(event_id, &order).await {
            // Refused by what the same request got that came before, perhaps.
            Err(refused) if order.client_key => {
                let made = self.made_before(&order.user_id, &order.idempotency_key, order.request_hash);
                return Box::pin(made).await?.ok_or(refused);
            }
            hold => hold?,
        };
        order.hold = Some(HoldRef { id: hold.hold.clone(), fence: hold.fence });
        let outcome = self.sell(event_id, order).await;
        self.mend_marks(&hold, &outcome).await;
        if outcome.is_err() {
            self.holds.release_or_expire(&hold).await;
        }
        outcome
    }

    /// Sells what is held.
    pub async fn confirm(&self, hold: &mut Hold, mut order: Order) -> Result<ReservationView> {
        if !self.holds.claim(hold).await {
            // Confirmed before, or forgotten by Redis, or Redis is away.
            let made = self.made_before(&order.user_id, &order.idempotency_key, order.request_hash);
            let made = Box::pin(made).await?;
            if let Some(view) = made {
                return Ok(view);
            }
            let available = self.events.existing(hold.event).await?.available_seats;
            self.holds.retake(hold, available).await?;
        }
        order.hold = Some(HoldRef { id: hold.hold.clone(), fence: hold.fence });
        let outcome = self.sell(hold.event, order).await;
        self.mend_marks(hold, &outcome).await;
        outcome
    }

    /// Seats that could be held, and could not be bought: Redis missed a sale.
    async fn mend_marks(&self, hold: &Hold, outcome: &Result<ReservationView>) {
        if matches!(outcome, Err(error) if error.code == "seat_taken")
            && let Err(error) = self.holds.mark(hold.event, &hold.seats).await
        {
            tracing::debug!(%error, "seat marks could not be mended");
        }
    }

    /// The reservation that was made under this key before.
    pub async fn made_before(&self, user_id: &str, key: &str, hash: [u8; 32]) -> Result<Option<ReservationView>> {
        let mut connection = self.db.acquire().await?;
        let known: Option<(u64, Vec<u8>)> =
            sqlx::query_as("SELECT id, request_hash FROM reservations WHERE user_id = ? AND idempotency_key = ?")
                .bind(user_id)
                .bind(key)
                .fetch_optional(&mut *connection)
                .await?;
        match known {
            None => Ok(None),
            Some((id, known)) if known == hash => Ok(read::by_id(&mut connection, id).await?),
            Some(_) => Err(sell::key_reused()),
        }
    }

    /// How a waitlist's offers are paid.
    pub fn payments(&self) -> &dyn PaymentProvider {
        self.payments.as_ref()
    }

    /// To be called after a commit that put tickets back: readers see it, and the seats can be held.
    pub async fn stock_freed(&self, event_id: u64, seats: &[String]) {
        self.events.versions().bump(event_id).await;
        if seats.is_empty() {
            return;
        }
        if let Err(error) = self.mark_freed(event_id, seats).await {
            tracing::debug!(%error, event_id, "seats that were freed are marked later");
            // When the worker reads the outbox, Redis may be away as well, and after that nobody would look at them again.
            let (sales, seats) = (self.clone(), seats.to_vec());
            tokio::spawn(async move {
                loop {
                    tokio::time::sleep(MARK_AGAIN).await;
                    let marked = db::within(db::LONGEST, sales.mark_freed(event_id, &seats));
                    if sales.holds.is_up() && marked.await.is_ok() {
                        break;
                    }
                }
            });
        }
    }

    async fn mark_freed(&self, event_id: u64, seats: &[String]) -> Result<()> {
        self.holds.freed(event_id).await?;
        self.holds.mark(event_id, seats).await
    }
}

/// The key under which a request is remembered: the client's, or a new one.
pub fn idempotency_key(headers: &axum::http::HeaderMap) -> Result<Option<String>> {
    let Some(value) = headers.get("idempotency-key") else {
        return Ok(None);
    };
    value
        .to_str()
        .ok()
        .map(|key| key.trim().trim_matches('"'))
        .filter(|key| (1..=80).contains(&key.len()) && key.bytes().all(|b| b.is_ascii_graphic()))
        .map(|key| Some(format!("c:{key}")))
        .ok_or_else(|| {
            ApiError::new(
                axum::http::StatusCode::BAD_REQUEST,
                "bad_idempotency_key",
                "Idempotency-Key must be 1 to 80 visible ASCII characters",
            )
        })
}
