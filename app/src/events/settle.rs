//! After an event was cancelled: reservations end, money goes back, everybody is told.
//!
//! The database says what is left to do, so that a worker that dies leaves the rest to the next one. A batch is one
//! transaction that holds the event's row, as sales do: nothing is sold meanwhile, and one worker at a time works on an
//! event. What ends a reservation also refunds it, and the ledger's unique key stands behind that.

use crate::db;
use crate::outbox;
use crate::state::AppState;
use serde_json::json;
use sqlx::{MySqlConnection, QueryBuilder};
use std::time::Duration;

/// The kind of message that tells who had a reservation.
pub const CANCELLED: &str = "event.cancelled";
/// The kind of message that tells who was on the waitlist.
pub const WAITLIST_CLOSED: &str = "waitlist.closed";

/// Reservations that are ended in one transaction.
const BATCH: u32 = 100;
/// How long that may take: with refunds it is some hundred statements.
const LONGEST: Duration = Duration::from_secs(20);

#[derive(sqlx::FromRow)]
struct Owed {
    id: u64,
    user_id: String,
    quantity: u32,
    status: String,
    amount: u64,
    payment_method: String,
}

impl Owed {
    /// What goes back to the wallet. An offer has not been paid, and who paid on site is paid on site.
    fn refund(&self) -> u64 {
        if self.status == "CONFIRMED" && self.payment_method == "WALLET" { self.amount } else { 0 }
    }
}

/// Settles cancelled events until the task is dropped.
pub async fn run(state: &AppState) {
    loop {
        let pause = match db::within(LONGEST, once(state)).await {
            Ok(true) => Duration::ZERO,
            Ok(false) => Duration::from_secs(1),
            Err(error) => {
                tracing::warn!(%error, "cancelled events are left to be settled later");
                Duration::from_secs(1)
            }
        };
        tokio::time::sleep(pause).await;
    }
}

/// Does one batch of one event. False when there was nothing to do.
async fn once(state: &AppState) -> Result<bool, sqlx::Error> {
    let mut tx = state.db.begin().await?;
    let unsettled: Option<u64> = sqlx::query_scalar(
        "SELECT id FROM events WHERE cancelled AND settled_at IS NULL ORDER BY id LIMIT 1 FOR UPDATE SKIP LOCKED",
    )
    .fetch_optional(&mut *tx)
    .await?;
    let Some(event_id) = unsettled else { return Ok(false) };
    let owed: Vec<Owed> = sqlx::query_as(
        "SELECT id, user_id, quantity, status, amount, payment_method FROM reservations \
         WHERE event_id = ? AND status IN ('CONFIRMED', 'OFFERED') ORDER BY id LIMIT ? FOR UPDATE",
    )
    .bind(event_id)
    .bind(BATCH)
    .fetch_all(&mut *tx)
    .await?;
    let seats = if owed.is_empty() {
        close_waitlist(&mut tx, event_id).await?;
        sqlx::query("UPDATE events SET settled_at = UTC_TIMESTAMP(3) WHERE id = ?")
            .bind(event_id)
            .execute(&mut *tx)
            .await?;
        tracing::info!(event_id, "a cancelled event is settled");
        Vec::new()
    } else {
        end(state, &mut tx, event_id, &owed).await?
    };
    tx.commit().await?;
    metrics::counter!("ticketing_cancellations_total").increment(owed.len() as u64);
    state.sales.stock_freed(event_id, &seats).await;
    Ok(true)
}

/// Ends reservations and gives back what was paid; returns their seats.
async fn end(
    state: &AppState,
    connection: &mut MySqlConnection,
    event_id: u64,
    owed: &[Owed],
) -> Result<Vec<String>, sqlx::Error> {
    let ids: Vec<u64> = owed.iter().map(|one| one.id).collect();
    let mut sql =
        listed("SELECT reservation_id, seat_id FROM tickets WHERE seat_id IS NOT NULL AND reservation_id IN (", &ids);
    let seats: Vec<(u64, String)> = sql.build_query_as().fetch_all(&mut *connection).await?;
    let tickets = "UPDATE tickets SET status = 'CANCELLED' WHERE reservation_id IN (";
    listed(tickets, &ids).build().execute(&mut *connection).await?;
    let reservations = "UPDATE reservations SET status = 'CANCELLED', closed_at = UTC_TIMESTAMP(3), \
                        close_reason = 'event cancelled', offer_expires_at = NULL WHERE id IN (";
    let ended = listed(reservations, &ids).build().execute(&mut *connection).await?;
    if ended.rows_affected() != ids.len() as u64 {
        // They are locked: this cannot be.
        return Err(sqlx::Error::RowNotFound);
    }
    for one in owed.iter().filter(|one| one.refund() > 0) {
        state.sales.payments().refund(connection, &one.user_id, one.refund(), one.id).await?;
    }
    let quantity: u32 = owed.iter().map(|one| one.quantity).sum();
    sqlx::query("UPDATE events SET available_seats = available_seats + ? WHERE id = ?")
        .bind(quantity)
        .bind(event_id)
        .execute(&mut *connection)
        .await?;
    let payloads: Vec<_> = owed
        .iter()
        .map(|one| {
            let own: Vec<&str> = seats.iter().filter(|(id, _)| *id == one.id).map(|(_, seat)| seat.as_str()).collect();
            json!({
                "reservationId": one.id,
                "eventId": event_id,
                "userId": one.user_id,
                "quantity": one.quantity,
                "amount": one.refund(),
                "seats": own,
            })
        })
        .collect();
    outbox::write(connection, event_id, CANCELLED, &payloads).await?;
    Ok(seats.into_iter().map(|(_, seat)| seat).collect())
}

/// Nobody waits for an event that does not take place.
async fn close_waitlist(connection: &mut MySqlConnection, event_id: u64) -> Result<(), sqlx::Error> {
    let waiting: Vec<String> = sqlx::query_scalar(
        "SELECT user_id FROM waitlist WHERE event_id = ? AND status IN ('WAITING', 'OFFERED') FOR UPDATE",
    )
    .bind(event_id)
    .fetch_all(&mut *connection)
    .await?;
    sqlx::query("UPDATE waitlist SET status = 'EXPIRED' WHERE event_id = ? AND status IN ('WAITING', 'OFFERED')")
        .bind(event_id)
        .execute(&mut *connection)
        .await?;
    let payloads: Vec<_> = waiting.into_iter().map(|user| json!({"userId": user, "eventId": event_id})).collect();
    outbox::write(connection, event_id, WAITLIST_CLOSED, &payloads).await
}

/// A statement that ends in a list of identifiers.
fn listed(start: &'static str, ids: &[u64]) -> QueryBuilder<sqlx::MySql> {
    let mut sql = QueryBuilder::new(start);
    let mut list = sql.separated(", ");
    for id in ids {
        list.push_bind(*id);
    }
    list.push_unseparated(")");
    sql
}
