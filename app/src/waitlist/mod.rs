//! The waitlist: who waits for a sold-out event is offered what comes back, in order, for a limited time.
//!
//! An offer is a reservation with the status `OFFERED`: it has its tickets and seats, so that nobody else can buy
//! them, and becomes a sale when it is accepted.

mod handlers;

pub use handlers::routes;

use crate::db::{self, datetime};
use crate::error::{ApiError, Result};
use crate::outbox;
use crate::sales::cancel::{close, give_back};
use crate::sales::{ReservationView, read, tickets};
use crate::state::AppState;
use serde_json::json;
use sqlx::{MySqlConnection, QueryBuilder};
use std::time::Duration;
use time::OffsetDateTime;

/// The kind of message that tells about an offer.
pub const OFFERED: &str = "waitlist.offered";
/// The kind of message that tells about the end of an offer.
pub const EXPIRED: &str = "waitlist.expired";

#[derive(sqlx::FromRow)]
struct Waiting {
    id: u64,
    user_id: String,
    quantity: u32,
}

#[derive(sqlx::FromRow)]
struct Stock {
    available_seats: u32,
    seated: bool,
    price: u64,
    max_per_user: Option<u32>,
    cancelled: bool,
    is_over: bool,
    /// The database's time, by which offers end as well
    now: OffsetDateTime,
}

async fn lock_stock(connection: &mut MySqlConnection, event_id: u64) -> Result<Option<Stock>, sqlx::Error> {
    sqlx::query_as(
        "SELECT available_seats, seated, price, max_per_user, cancelled, event_date < UTC_TIMESTAMP(3) AS is_over, \
         UTC_TIMESTAMP(3) AS now FROM events WHERE id = ? FOR UPDATE",
    )
    .bind(event_id)
    .fetch_optional(connection)
    .await
}

/// Offers what just came back to those who wait, in order among those whose wish can be met: who waits for more than there
/// is keeps the place, and holds nobody up. `seats` are the seats that came back. The event's row must be locked.
pub async fn offer(
    connection: &mut MySqlConnection,
    event_id: u64,
    seats: &[String],
    seconds: u32,
) -> Result<(), sqlx::Error> {
    let mut seats = seats.to_vec();
    while let Some(stock) = lock_stock(connection, event_id).await? {
        let there = if stock.seated { stock.available_seats.min(seats.len() as u32) } else { stock.available_seats };
        if there == 0 || stock.cancelled || stock.is_over {
            break;
        }
        let next: Option<Waiting> = sqlx::query_as(
            "SELECT id, user_id, quantity FROM waitlist WHERE event_id = ? AND status = 'WAITING' AND quantity <= ? \
             ORDER BY id LIMIT 1 FOR UPDATE",
        )
        .bind(event_id)
        .bind(there)
        .fetch_optional(&mut *connection)
        .await?;
        let Some(next) = next else { break };
        let seats: Vec<String> =
            if stock.seated { seats.drain(..next.quantity as usize).collect() } else { Vec::new() };
        offer_to(connection, event_id, &next, &stock, &seats, seconds).await?;
    }
    Ok(())
}

async fn offer_to(
    connection: &mut MySqlConnection,
    event_id: u64,
    waiting: &Waiting,
    stock: &Stock,
    seats: &[String],
    seconds: u32,
) -> Result<(), sqlx::Error> {
    let amount = match seats.is_empty() {
        true => stock.price * u64::from(waiting.quantity),
        false => price_of(connection, event_id, seats).await?,
    };
    let id = sqlx::query(
        "INSERT INTO reservations (event_id, user_id, quantity, status, amount, payment_method, idempotency_key, \
         request_hash, offer_expires_at, created_at) VALUES (?, ?, ?, 'OFFERED', ?, 'NONE', ?, ?, ?, ?)",
    )
    .bind(event_id)
    .bind(&waiting.user_id)
    .bind(waiting.quantity)
    .bind(amount)
    .bind(format!("w:{}", waiting.id))
    .bind(&[0_u8; 32][..])
    .bind(datetime(stock.now + Duration::from_secs(seconds.into())))
    .bind(datetime(stock.now))
    .execute(&mut *connection)
    .await?
    .last_insert_id();
    QueryBuilder::new("INSERT INTO tickets (reservation_id, number, event_id, seat_id, code, fence, status) ")
        .push_values(0..waiting.quantity, |mut row, n| {
            row.push_bind(id)
                .push_bind(n)
                .push_bind(event_id)
                .push_bind(seats.get(n as usize))
                .push_bind(tickets::new_code())
                .push_bind(0_u64)
                .push_bind("ACTIVE");
        })
        .build()
        .execute(&mut *connection)
        .await?;
    sqlx::query("UPDATE waitlist SET status = 'OFFERED', reservation_id = ? WHERE id = ?")
        .bind(id)
        .bind(waiting.id)
        .execute(&mut *connection)
        .await?;
    let taken =
        sqlx::query("UPDATE events SET available_seats = available_seats - ? WHERE id = ? AND available_seats >= ?")
            .bind(waiting.quantity)
            .bind(event_id)
            .bind(waiting.quantity)
            .execute(&mut *connection)
            .await?;
    if taken.rows_affected() != 1 {
        return Err(sqlx::Error::RowNotFound);
    }
    let payload = json!({"reservationId": id, "userId": waiting.user_id, "quantity": waiting.quantity, "seats": seats});
    outbox::write(connection, event_id, OFFERED, &[payload]).await
}

async fn price_of(connection: &mut MySqlConnection, event_id: u64, seats: &[String]) -> Result<u64, sqlx::Error> {
    let mut sql = QueryBuilder::new(
        "SELECT CAST(COALESCE(SUM(COALESCE(p.price, e.price)), 0) AS UNSIGNED) FROM seats s \
         JOIN events e ON e.id = s.event_id LEFT JOIN price_tiers p ON p.event_id = s.event_id AND p.grade = s.grade \
         WHERE s.event_id = ",
    );
    sql.push_bind(event_id).push(" AND s.id IN (");
    let mut ids = sql.separated(", ");
    for seat in seats {
        ids.push_bind(seat);
    }
    ids.push_unseparated(")");
    sql.build_query_scalar().fetch_one(connection).await
}

fn no_offer() -> ApiError {
    ApiError::conflict("no_offer", "there is no offer to accept, or it has ended")
}

fn cancelled() -> ApiError {
    ApiError::conflict("event_cancelled", "the event does not take place")
}

fn over() -> ApiError {
    ApiError::conflict("event_over", "the event has taken place")
}

fn over_limit(limit: u32) -> ApiError {
    ApiError::conflict("user_limit", format!("one user may have {limit} tickets for this event"))
}

/// Who waited may have bought in another way meanwhile. The event's row must be locked.
async fn check_limit(connection: &mut MySqlConnection, offer: &ReservationView, limit: u32) -> Result<()> {
    let has: u64 = sqlx::query_scalar(
        "SELECT CAST(COALESCE(SUM(quantity), 0) AS UNSIGNED) FROM reservations FORCE INDEX (reservations_idempotency) \
         WHERE event_id = ? AND user_id = ? AND status IN ('CONFIRMED', 'OFFERED')",
    )
    .bind(offer.event_id)
    .bind(&offer.user_id)
    .fetch_one(connection)
    .await?;
    if has > u64::from(limit) { Err(over_limit(limit)) } else { Ok(()) }
}

/// Accepts an offer: pays it and makes it a confirmed reservation.
pub async fn accept(state: &AppState, offer: &ReservationView) -> Result<ReservationView> {
    let (event_id, id) = (offer.event_id, offer.reservation_id);
    let mut tx = state.db.begin().await?;
    let stock = lock_stock(&mut tx, event_id).await?.filter(|stock| !stock.cancelled).ok_or_else(cancelled)?;
    if stock.is_over {
        return Err(over());
    }
    let total: u32 =
        sqlx::query_scalar("SELECT total_seats FROM events WHERE id = ?").bind(event_id).fetch_one(&mut *tx).await?;
    let code4 = tickets::free_codes4(&mut tx, event_id, total, 1).await?.pop();
    let method = if offer.amount > 0 { "WALLET" } else { "NONE" };
    let accepted = sqlx::query(
        "UPDATE reservations SET status = 'CONFIRMED', payment_method = ?, code4 = ?, offer_expires_at = NULL \
         WHERE id = ? AND status = 'OFFERED' AND offer_expires_at > UTC_TIMESTAMP(3)",
    )
    .bind(method)
    .bind(code4)
    .bind(id)
    .execute(&mut *tx)
    .await?;
    if accepted.rows_affected() != 1 {
        return Err(no_offer());
    }
    if let Some(limit) = stock.max_per_user {
        check_limit(&mut tx, offer, limit).await?;
    }
    if offer.amount > 0 {
        let payments = state.sales.payments();
        let Some(receipt) = payments.charge(&mut tx, &offer.user_id, offer.amount).await? else {
            return Err(ApiError::new(
                axum::http::StatusCode::PAYMENT_REQUIRED,
                "insufficient_balance",
                format!("{} are needed; charge the wallet first", offer.amount),
            ));
        };
        payments.record(&mut tx, &offer.user_id, receipt, id).await?;
    }
    sqlx::query("UPDATE waitlist SET status = 'ACCEPTED' WHERE reservation_id = ?").bind(id).execute(&mut *tx).await?;
    let view = read::by_id(&mut tx, id).await?.ok_or_else(no_offer)?;
    let payload = outbox::ReservationPayload::of(&view);
    outbox::write(&mut tx, event_id, "reservation.confirmed", &[payload]).await?;
    tx.commit().await?;
    Ok(view)
}

/// Ends an offer, by its user or by time, and offers what it held to the next. False when it had ended before.
async fn end_offer(state: &AppState, offer: &ReservationView, entry_status: &str, reason: &str) -> Result<bool> {
    let (event_id, id) = (offer.event_id, offer.reservation_id);
    let mut tx = state.db.begin().await?;
    if lock_stock(&mut tx, event_id).await?.is_none() || !close(&mut tx, id, "OFFERED", "EXPIRED", reason).await? {
        return Ok(false);
    }
    sqlx::query("UPDATE waitlist SET status = ? WHERE reservation_id = ?")
        .bind(entry_status)
        .bind(id)
        .execute(&mut *tx)
        .await?;
    let seats: Vec<String> = offer.tickets.iter().filter_map(|ticket| ticket.seat_id.clone()).collect();
    give_back(&mut tx, event_id, offer.quantity, &seats, state.limits.offer_seconds).await?;
    let payload = outbox::ReservationPayload::of(offer);
    outbox::write(&mut tx, event_id, EXPIRED, &[payload]).await?;
    tx.commit().await?;
    state.sales.stock_freed(event_id, &seats).await;
    Ok(true)
}

/// Ends offers whose time is over, until the task is dropped.
pub async fn sweep(state: &AppState) {
    loop {
        if let Err(error) = sweep_once(state).await {
            tracing::debug!(%error, "offers are left to be ended later");
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

async fn sweep_once(state: &AppState) -> Result<()> {
    let ended = sqlx::query_scalar(
        "SELECT r.id FROM waitlist w JOIN reservations r ON r.id = w.reservation_id \
         WHERE w.status = 'OFFERED' AND r.status = 'OFFERED' AND r.offer_expires_at < UTC_TIMESTAMP(3) LIMIT 100",
    )
    .fetch_all(&state.db);
    let ended: Vec<u64> = db::within(db::LONGEST, ended).await?;
    for id in ended {
        // One that cannot end now holds up no other.
        if let Err(error) = db::within(db::LONGEST, end_by_time(state, id)).await {
            tracing::warn!(%error, reservation = id, "an offer ends later");
        }
    }
    Ok(())
}

async fn end_by_time(state: &AppState, id: u64) -> Result<()> {
    let mut connection = state.db.acquire().await?;
    let offer = read::by_id(&mut connection, id).await?;
    drop(connection);
    if let Some(offer) = offer {
        end_offer(state, &offer, "EXPIRED", "offer not taken").await?;
    }
    Ok(())
}
