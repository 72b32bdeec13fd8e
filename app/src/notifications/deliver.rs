//! Storing a notification, and passing it on to the user's devices and e-mail.

use super::MOST_DEVICES;
use super::channels::PushError;
use crate::error::Result;
use crate::outbox::Message;
use crate::state::AppState;
use futures::future::join_all;

/// Stores a notification for the user whom a message is about, once per message, and passes it on. After an error the
/// message comes again, and what was stored but not passed on is passed on then.
pub async fn notify(state: &AppState, message: &Message, text: &str) -> Result<()> {
    let Some(user_id) = message.user_id() else { return Ok(()) };
    let stored = sqlx::query(
        "INSERT IGNORE INTO notifications (message_id, user_id, kind, event_id, text, push) \
         VALUES (?, ?, ?, ?, ?, 'PENDING')",
    )
    .bind(message.id)
    .bind(user_id)
    .bind(&message.kind)
    .bind(message.event_id)
    .bind(text)
    .execute(&state.db)
    .await?;
    if stored.rows_affected() == 0 && !is_pending(state, message, user_id).await? {
        return Ok(());
    }
    if state.messaging.sends_email() {
        email(state, user_id, text).await?;
    }
    let outcome = match state.messaging.pushes() {
        true => push(state, user_id, text).await?.unwrap_or("NONE"),
        false => "NONE",
    };
    sqlx::query("UPDATE notifications SET push = ? WHERE message_id = ? AND user_id = ?")
        .bind(outcome)
        .bind(message.id)
        .bind(user_id)
        .execute(&state.db)
        .await?;
    Ok(())
}

async fn is_pending(state: &AppState, message: &Message, user_id: &str) -> Result<bool> {
    let push: Option<String> =
        sqlx::query_scalar("SELECT push FROM notifications WHERE message_id = ? AND user_id = ?")
            .bind(message.id)
            .bind(user_id)
            .fetch_optional(&state.db)
            .await?;
    Ok(push.as_deref() == Some("PENDING"))
}

/// Whether at least one of the user's devices got it; none when there are none.
async fn push(state: &AppState, user_id: &str, text: &str) -> Result<Option<&'static str>> {
    let endpoints: Vec<String> = sqlx::query_scalar(
        "SELECT endpoint_arn FROM devices WHERE user_id = ? AND endpoint_arn IS NOT NULL \
         ORDER BY created_at DESC LIMIT ?",
    )
    .bind(user_id)
    .bind(MOST_DEVICES)
    .fetch_all(&state.db)
    .await?;
    let pushed = join_all(endpoints.iter().map(|endpoint| push_to(state, user_id, endpoint, text))).await;
    let pushed: Vec<bool> = pushed.into_iter().collect::<Result<_>>()?;
    let outcome = if pushed.contains(&true) { "SENT" } else { "FAILED" };
    Ok((!pushed.is_empty()).then_some(outcome))
}

/// Whether this device of the user got it. One that is gone is forgotten.
async fn push_to(state: &AppState, user_id: &str, endpoint: &str, text: &str) -> Result<bool> {
    let sent = state.messaging.push(endpoint, text).await;
    let label = if sent.is_ok() { "SENT" } else { "FAILED" };
    metrics::counter!("ticketing_push_total", "outcome" => label).increment(1);
    match &sent {
        Ok(()) => {}
        Err(PushError::Gone) => {
            sqlx::query("DELETE FROM devices WHERE user_id = ? AND endpoint_arn = ?")
                .bind(user_id)
                .bind(endpoint)
                .execute(&state.db)
                .await?;
        }
        Err(error) => tracing::warn!(%error, "a push message was not sent"),
    }
    Ok(sent.is_ok())
}

async fn email(state: &AppState, user_id: &str, text: &str) -> Result<()> {
    let wanted: Option<String> = sqlx::query_scalar("SELECT user_id FROM email_subscriptions WHERE user_id = ?")
        .bind(user_id)
        .fetch_optional(&state.db)
        .await?;
    if wanted.is_some() {
        let sent = state.messaging.email(user_id, text).await;
        if let Err(error) = &sent {
            tracing::warn!(error, "an e-mail was not sent");
        }
        let label = if sent.is_ok() { "SENT" } else { "FAILED" };
        metrics::counter!("ticketing_email_total", "outcome" => label).increment(1);
    }
    Ok(())
}
