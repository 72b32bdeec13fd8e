//! The transactional outbox: what happened is written down in the transaction in which it happens.

mod bulk;
mod consumer;
pub mod dead_letters;
pub mod messaging;
pub mod relay;

use crate::db;
use crate::sales::ReservationView;
use crate::telemetry::traces;
use serde_json::{Value, json};
use sqlx::{MySqlConnection, QueryBuilder};

/// Attempts before a message is kept aside, and an order that it asks for is given up.
const ATTEMPTS: u32 = 3;

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
pub fn reservation_payload(view: &ReservationView) -> Value {
    json!({
        "reservationId": view.reservation_id,
        "eventId": view.event_id,
        "userId": view.user_id,
        "quantity": view.quantity,
        "amount": view.amount,
        "seats": view.tickets.iter().filter_map(|ticket| ticket.seat_id.as_deref()).collect::<Vec<_>>(),
    })
}

/// Writes one row per payload.
pub async fn write(
    connection: &mut MySqlConnection,
    event_id: u64,
    kind: &str,
    payloads: impl Iterator<Item = Value>,
) -> Result<(), sqlx::Error> {
    let payloads: Vec<String> = payloads.map(|payload| payload.to_string()).collect();
    let trace = traces::current();
    for piece in db::pieces(&payloads) {
        QueryBuilder::new("INSERT INTO outbox (kind, event_id, payload, traceparent) ")
            .push_values(piece, |mut row, payload| {
                row.push_bind(kind).push_bind(event_id).push_bind(payload).push_bind(&trace);
            })
            .build()
            .execute(&mut *connection)
            .await?;
    }
    Ok(())
}
