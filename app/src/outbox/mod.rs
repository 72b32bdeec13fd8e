//! The transactional outbox: what happened is written down in the transaction in which it happens.

mod bulk;
mod consumer;
pub mod dead_letters;
pub mod messaging;
pub mod relay;

use crate::db;
use crate::sales::ReservationView;
use crate::telemetry::traces;
use serde::Serialize;
use serde_json::Value;
use sqlx::{AssertSqlSafe, MySqlConnection, QueryBuilder};

/// Attempts before a message is kept aside, and an order that it asks for is given up.
const ATTEMPTS: u32 = 3;
/// Messages in one row, at most. A message without an identifier of its own is numbered by its row, in steps of as many.
const MESSAGES: usize = 32;

/// Something that happened.
#[derive(Clone, Debug)]
pub struct Message {
    /// The same for every delivery
    pub id: u64,
    /// What happened, such as `reservation.confirmed`
    pub kind: String,
    /// To which event
    pub event_id: u64,
    /// Details, by kind
    pub payload: Value,
    /// The trace in which it happened
    pub traceparent: Option<String>,
}

impl Message {
    /// The user whom it is about.
    pub fn user_id(&self) -> Option<&str> {
        self.payload["userId"].as_str()
    }

    /// The seats that it is about.
    pub fn seats(&self) -> impl Iterator<Item = String> + '_ {
        self.payload["seats"].as_array().into_iter().flatten().filter_map(|seat| seat.as_str().map(str::to_owned))
    }
}

/// What messages tell about a reservation.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ReservationPayload<'a> {
    reservation_id: u64,
    event_id: u64,
    user_id: &'a str,
    quantity: u32,
    amount: u64,
    seats: Vec<&'a str>,
}

impl<'a> ReservationPayload<'a> {
    /// Of this reservation.
    pub fn of(view: &'a ReservationView) -> Self {
        Self {
            reservation_id: view.reservation_id,
            event_id: view.event_id,
            user_id: &view.user_id,
            quantity: view.quantity,
            amount: view.amount,
            seats: view.tickets.iter().filter_map(|ticket| ticket.seat_id.as_deref()).collect(),
        }
    }
}

/// Writes a message for each payload.
pub async fn write(
    connection: &mut MySqlConnection,
    event_id: u64,
    kind: &str,
    payloads: &[impl Serialize],
) -> Result<(), sqlx::Error> {
    let rows = payloads.chunks(MESSAGES).map(serde_json::to_string).collect::<Result<Vec<_>, _>>();
    let rows = rows.map_err(|error| sqlx::Error::Encode(error.into()))?;
    let trace = traces::current();
    for piece in db::pieces(&rows) {
        QueryBuilder::new("INSERT INTO outbox_batches (kind, event_id, payloads, traceparent) ")
            .push_values(piece, |mut row, payloads| {
                row.push_bind(kind).push_bind(event_id).push_bind(payloads).push_bind(&trace);
            })
            .build()
            .execute(&mut *connection)
            .await?;
    }
    Ok(())
}

/// Moves a message into the outbox from a table that has a row for each. It keeps its identifier, by which what it has
/// brought about already is known.
async fn take_back(connection: &mut MySqlConnection, table: &'static str, id: u64) -> Result<(), sqlx::Error> {
    for sql in [
        format!(
            "INSERT INTO outbox_batches (first_id, kind, event_id, payloads) \
             SELECT id, kind, event_id, CONCAT('[', payload, ']') FROM {table} WHERE id = ?"
        ),
        format!("DELETE FROM {table} WHERE id = ?"),
    ] {
        sqlx::query(AssertSqlSafe(sql)).bind(id).execute(&mut *connection).await?;
    }
    Ok(())
}
