//! What messages bring about. Each may come more than once, and must have its effect once.

use super::Message;
use crate::db;
use crate::error::Result;
use crate::events::settle;
use crate::sales::requests;
use crate::state::AppState;
use crate::telemetry::traces;
use crate::{notifications, queue, waitlist};
use std::time::Duration;
use tracing::Instrument;

/// How long it may take to act on a message: a sale may be tried again several times.
const LONGEST: Duration = Duration::from_secs(30);

/// Acts on a message. After an error it comes again.
pub async fn handle(state: &AppState, message: &Message) -> Result<()> {
    let span = tracing::debug_span!("consume", otel.kind = "consumer", kind = message.kind, id = message.id);
    traces::follow(&span, message.traceparent.as_deref());
    db::within(LONGEST, act(state, message)).instrument(span).await
}

async fn act(state: &AppState, message: &Message) -> Result<()> {
    if let Some(text) = text_of_sale(message) {
        return notifications::notify(state, message, &text).await;
    }
    let text = match message.kind.as_str() {
        "reservation.cancelled" => format!("Your reservation of {} is cancelled.", tickets(message)),
        settle::CANCELLED => format!(
            "The event does not take place: your reservation of {} has ended.{}",
            tickets(message),
            refund(message)
        ),
        settle::WAITLIST_CLOSED => "The event that you waited for does not take place.".into(),
        queue::READY => "It is your turn: come and choose your tickets.".into(),
        waitlist::OFFERED => format!("{} came back for you. Accept the offer before it ends.", tickets(message)),
        waitlist::EXPIRED => format!("Your offer of {} has ended.", tickets(message)),
        requests::REQUESTED => match requests::carry_out(state, message).await? {
            Some(reason) => format!("Your reservation failed: {reason}."),
            None => return Ok(()),
        },
        other => {
            tracing::warn!(kind = other, id = message.id, "a message of an unknown kind");
            return Ok(());
        }
    };
    notifications::notify(state, message, &text).await
}

/// What the buyer is told, if this message tells of a sale.
pub fn text_of_sale(message: &Message) -> Option<String> {
    (message.kind == "reservation.confirmed").then(|| format!("Your reservation of {} is confirmed.", tickets(message)))
}

fn tickets(message: &Message) -> String {
    match message.payload["quantity"].as_u64() {
        Some(1) | None => "a ticket".into(),
        Some(quantity) => format!("{quantity} tickets"),
    }
}

fn refund(message: &Message) -> String {
    match message.payload["amount"].as_u64() {
        Some(0) | None => String::new(),
        Some(amount) => format!(" {amount} went back to your wallet."),
    }
}
