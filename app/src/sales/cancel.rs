//! Giving tickets back.

use super::Sales;
use super::read;
use crate::accounts::tokens::Caller;
use crate::db;
use crate::error::{ApiError, Result};
use crate::waitlist;
use sqlx::MySqlConnection;

struct Cancelled {
    event_id: u64,
    seats: Vec<String>,
}

impl Sales {
    /// Cancels a reservation and refunds it. 404 when there is none that is active.
    pub async fn cancel(&self, caller: &Caller, id: u64, reason: &str) -> Result<()> {
        let cancelled = db::despite_contention(|| self.cancel_once(caller, id, reason)).await??;
        metrics::counter!("ticketing_cancellations_total").increment(1);
        self.stock_freed(cancelled.event_id, &cancelled.seats).await;
        Ok(())
    }

    async fn cancel_once(&self, caller: &Caller, id: u64, reason: &str) -> Result<Result<Cancelled>, sqlx::Error> {
        let mut tx = self.db.begin().await?;
        let Some(found) = read::by_id(&mut tx, id).await? else {
            return Ok(Err(ApiError::not_found("reservation")));
        };
        if let Err(refused) = caller.require_self(&found.user_id) {
            return Ok(Err(refused));
        }
        // The event first, as in a sale: two transactions never wait for each other.
        let over: Option<bool> =
            sqlx::query_scalar("SELECT event_date < UTC_TIMESTAMP(3) FROM events WHERE id = ? FOR UPDATE")
                .bind(found.event_id)
                .fetch_optional(&mut *tx)
                .await?;
        let view = read::by_id(&mut tx, id).await?;
        let Some(view) = view.filter(|view| view.status == "CONFIRMED") else {
            return Ok(Err(ApiError::not_found("active reservation")));
        };
        if over != Some(false) {
            return Ok(Err(ApiError::conflict("event_over", "the event has taken place")));
        }
        if !close(&mut tx, id, "CONFIRMED", "CANCELLED", reason).await? {
            return Ok(Err(ApiError::not_found("active reservation")));
        }
        // Not before the reservation is locked, as a check-in locks it: somebody may be at the door right now. Dropping the
        // transaction opens the reservation again.
        let used: bool =
            sqlx::query_scalar("SELECT EXISTS (SELECT 1 FROM tickets WHERE reservation_id = ? AND status = 'USED')")
                .bind(id)
                .fetch_one(&mut *tx)
                .await?;
        if used {
            return Ok(Err(ApiError::conflict("already_used", "a ticket of this reservation has been used")));
        }
        if view.payment_method == "WALLET" && view.amount > 0 {
            self.payments.refund(&mut tx, &view.user_id, view.amount, id).await?;
        }
        let payload = crate::outbox::ReservationPayload::of(&view);
        crate::outbox::write(&mut tx, view.event_id, "reservation.cancelled", &[payload]).await?;
        let seats: Vec<String> = view.tickets.into_iter().filter_map(|ticket| ticket.seat_id).collect();
        give_back(&mut tx, view.event_id, view.quantity, &seats, self.offer_seconds).await?;
        tx.commit().await?;
        Ok(Ok(Cancelled { event_id: view.event_id, seats }))
    }
}

/// Moves a reservation and its tickets from one status to a final one. False when it was not in `from`: who comes
/// second restores nothing.
pub async fn close(
    connection: &mut MySqlConnection,
    id: u64,
    from: &str,
    to: &str,
    reason: &str,
) -> Result<bool, sqlx::Error> {
    let closed = sqlx::query(
        "UPDATE reservations SET status = ?, closed_at = UTC_TIMESTAMP(3), close_reason = ? WHERE id = ? AND status = ?",
    )
    .bind(to)
    .bind(reason)
    .bind(id)
    .bind(from)
    .execute(&mut *connection)
    .await?;
    if closed.rows_affected() != 1 {
        return Ok(false);
    }
    sqlx::query("UPDATE tickets SET status = 'CANCELLED' WHERE reservation_id = ? AND status = 'ACTIVE'")
        .bind(id)
        .execute(&mut *connection)
        .await?;
    // A hold that is older than the sale of a seat is not to be confirmed once that is cancelled.
    sqlx::query(
        "INSERT INTO seat_fences (event_id, seat_id, fence) \
         SELECT event_id, seat_id, fence FROM tickets WHERE reservation_id = ? AND seat_id IS NOT NULL \
         ON DUPLICATE KEY UPDATE fence = GREATEST(seat_fences.fence, tickets.fence)",
    )
    .bind(id)
    .execute(connection)
    .await?;
    Ok(true)
}

/// Puts tickets back on sale, or offers them to those who wait for some. The event's row must be locked.
pub async fn give_back(
    connection: &mut MySqlConnection,
    event_id: u64,
    quantity: u32,
    seats: &[String],
    offer_seconds: u32,
) -> Result<(), sqlx::Error> {
    restore(connection, event_id, quantity).await?;
    waitlist::offer(connection, event_id, seats, offer_seconds).await
}

async fn restore(connection: &mut MySqlConnection, event_id: u64, quantity: u32) -> Result<(), sqlx::Error> {
    let updated = sqlx::query(
        "UPDATE events SET available_seats = available_seats + ? WHERE id = ? AND available_seats + ? <= total_seats",
    )
    .bind(quantity)
    .bind(event_id)
    .bind(quantity)
    .execute(connection)
    .await?;
    match updated.rows_affected() {
        1 => Ok(()),
        _ => Err(sqlx::Error::RowNotFound),
    }
}
