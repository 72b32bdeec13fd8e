//! Writing a sale down.

use super::read::{ReservationView, TicketView};
use super::{Order, PaymentMethod, tickets};
use crate::db;
use crate::outbox::{self, ReservationPayload};
use crate::wallet::{PaymentProvider, Receipt};
use sqlx::{MySqlConnection, QueryBuilder};
use time::OffsetDateTime;

/// An order that will be carried out.
pub struct Accepted<'a> {
    /// Its place among the orders
    pub index: usize,
    /// The order
    pub order: &'a Order,
    /// What it costs
    pub amount: u64,
    /// How it is paid
    pub payment: PaymentMethod,
    /// What was taken from the wallet
    pub receipt: Option<Receipt>,
    /// Its 4-digit code
    pub code4: Option<String>,
}

/// Writes down what was accepted at `now`, by the database's clock and numbered in its steps, with the conditional update of the stock last.
pub async fn record(
    connection: &mut MySqlConnection,
    payments: &dyn PaymentProvider,
    event_id: u64,
    (now, id_step): (OffsetDateTime, u64),
    accepted: &[Accepted<'_>],
) -> Result<Vec<(usize, ReservationView)>, sqlx::Error> {
    let mut ids = Vec::with_capacity(accepted.len());
    for piece in db::pieces(accepted) {
        let first = QueryBuilder::new(
            "INSERT INTO reservations (event_id, user_id, quantity, status, amount, payment_method, group_id, \
             idempotency_key, request_hash, code4, created_at) ",
        )
        .push_values(piece, |mut row, sale| {
            row.push_bind(event_id)
                .push_bind(&sale.order.user_id)
                .push_bind(sale.order.quantity)
                .push("'CONFIRMED'")
                .push_bind(sale.amount)
                .push_bind(sale.payment.as_str())
                .push_bind(sale.order.group_id)
                .push_bind(&sale.order.idempotency_key)
                .push_bind(&sale.order.request_hash[..])
                .push_bind(&sale.code4)
                .push_bind(db::datetime(now));
        })
        .build()
        .execute(&mut *connection)
        .await?
        .last_insert_id();
        // One INSERT … VALUES gets consecutive numbers in every auto-increment lock mode (MySQL manual,
        // "AUTO_INCREMENT Handling in InnoDB"), as far apart as the server says.
        ids.extend((first..).step_by(usize::try_from(id_step).unwrap_or(1)).take(piece.len()));
    }
    let mut views = Vec::with_capacity(accepted.len());
    for (sale, id) in accepted.iter().zip(ids) {
        if let Some(receipt) = sale.receipt {
            payments.record(connection, &sale.order.user_id, receipt, id).await?;
        }
        let tickets = (0..sale.order.quantity as usize)
            .map(|n| TicketView::new(tickets::new_code(), sale.order.seats.get(n).cloned()))
            .collect();
        views.push((
            sale.index,
            ReservationView {
                reservation_id: id,
                event_id,
                user_id: sale.order.user_id.clone(),
                quantity: sale.order.quantity,
                reservation_time: now,
                status: "CONFIRMED".into(),
                amount: sale.amount,
                payment_method: sale.payment.as_str().into(),
                code4: sale.code4.clone(),
                group_id: sale.order.group_id,
                offer_expires_at: None,
                tickets,
            },
        ));
    }
    let fences = accepted.iter().map(|sale| sale.order.hold.as_ref().map_or(0, |hold| hold.fence));
    let rows: Vec<(u64, u32, u64, &TicketView)> = views
        .iter()
        .zip(fences)
        .flat_map(|((_, view), fence)| {
            (0..).zip(&view.tickets).map(move |(number, ticket)| (view.reservation_id, number, fence, ticket))
        })
        .collect();
    for rows in db::pieces(&rows) {
        QueryBuilder::new("INSERT INTO tickets (reservation_id, number, event_id, seat_id, code, fence, status) ")
            .push_values(rows, |mut row, (reservation, number, fence, ticket)| {
                row.push_bind(reservation)
                    .push_bind(number)
                    .push_bind(event_id)
                    .push_bind(&ticket.seat_id)
                    .push_bind(&ticket.code)
                    .push_bind(fence)
                    .push("'ACTIVE'");
            })
            .build()
            .execute(&mut *connection)
            .await?;
    }
    let payloads: Vec<_> = views.iter().map(|(_, view)| ReservationPayload::of(view)).collect();
    outbox::write(connection, event_id, "reservation.confirmed", &payloads).await?;
    let quantity: u32 = accepted.iter().map(|sale| sale.order.quantity).sum();
    let updated = sqlx::query(
        "UPDATE events SET available_seats = available_seats - ? WHERE id = ? AND available_seats >= ? AND NOT cancelled",
    )
    .bind(quantity)
    .bind(event_id)
    .bind(quantity)
    .execute(&mut *connection)
    .await?;
    if updated.rows_affected() != 1 {
        // Cannot happen under the row lock; if it does, the caller must roll back.
        return Err(sqlx::Error::RowNotFound);
    }
    Ok(views)
}
