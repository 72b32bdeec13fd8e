//! Notifications: stored for the user, and pushed to the user's devices.

use crate::accounts::tokens::Caller;
use crate::error::{ApiError, Problem, Result};
use crate::http::extract::{Json, Path, Query};
use crate::outbox::Message;
use crate::state::AppState;
use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

/// Routes of notifications.
pub fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(list)).routes(routes!(mark_read)).routes(routes!(register))
}

/// A notification
#[derive(Serialize, ToSchema, sqlx::FromRow)]
#[serde(rename_all = "camelCase")]
struct NotificationView {
    id: u64,
    /// What happened, such as `reservation.confirmed` or `waitlist.offered`
    kind: String,
    event_id: u64,
    /// In English; programs go by `kind`
    text: String,
    #[serde(with = "time::serde::rfc3339")]
    created_at: OffsetDateTime,
    #[serde(with = "time::serde::rfc3339::option")]
    read_at: Option<OffsetDateTime>,
    /// Whether it reached the user's devices: `NONE` (there are none), `SENT` or `FAILED`
    push: String,
}

#[derive(Default, Deserialize, IntoParams)]
#[serde(default)]
#[into_params(parameter_in = Query)]
struct Page {
    /// Only those with a lower identifier: the last one of the page before
    before: Option<u64>,
    /// Only those that have not been read
    unread: bool,
    /// Notifications per page, 1 to 100
    #[param(minimum = 1, maximum = 100)]
    size: Option<u32>,
}

#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct Device {
    /// As the device got it from its platform's push service
    #[schema(min_length = 1, max_length = 255)]
    device_token: String,
}

/// The caller's notifications, the newest first
#[utoipa::path(get, path = "/api/notifications", tag = "notifications", params(Page), security(("bearer" = [])), responses(
    (status = 200, description = "notifications", body = [NotificationView]),
    (status = 400, description = "`invalid_query`", body = Problem),
    (status = 401, description = "`login_needed`", body = Problem)))]
async fn list(
    State(state): State<AppState>,
    caller: Caller,
    Query(page): Query<Page>,
) -> Result<axum::Json<Vec<NotificationView>>> {
    let size = page.size.unwrap_or(50);
    if !(1..=100).contains(&size) {
        return Err(ApiError::new(StatusCode::BAD_REQUEST, "invalid_query", "size must be from 1 to 100"));
    }
    let found = sqlx::query_as(
        "SELECT id, kind, event_id, text, created_at, read_at, push FROM notifications \
         WHERE user_id = ? AND id < ? AND (read_at IS NULL OR NOT ?) ORDER BY id DESC LIMIT ?",
    )
    .bind(&caller.user_id)
    .bind(page.before.unwrap_or(u64::MAX))
    .bind(page.unread)
    .bind(size)
    .fetch_all(&state.db)
    .await?;
    Ok(axum::Json(found))
}

/// Mark a notification as read
#[utoipa::path(patch, path = "/api/notifications/{id}/read", tag = "notifications", params(("id" = u64, Path)),
    security(("bearer" = [])), responses(
    (status = 204, description = "read, now or before"),
    (status = 401, description = "`login_needed`", body = Problem),
    (status = 404, description = "the caller has no such notification", body = Problem)))]
async fn mark_read(State(state): State<AppState>, caller: Caller, Path(id): Path<u64>) -> Result<StatusCode> {
    let marked = sqlx::query(
        "UPDATE notifications SET read_at = COALESCE(read_at, UTC_TIMESTAMP(3)) WHERE id = ? AND user_id = ?",
    )
    .bind(id)
    .bind(&caller.user_id)
    .execute(&state.db)
    .await?;
    match marked.rows_affected() {
        0 => Err(ApiError::not_found("notification")),
        _ => Ok(StatusCode::NO_CONTENT),
    }
}

/// Register a device for push messages
#[utoipa::path(post, path = "/api/notifications/devices", tag = "notifications", request_body = Device,
    security(("bearer" = [])), responses(
    (status = 204, description = "registered"),
    (status = 401, description = "`login_needed`", body = Problem),
    (status = 422, description = "`bad_device_token`", body = Problem),
    (status = 503, description = "`push_unavailable`", body = Problem)))]
async fn register(State(state): State<AppState>, caller: Caller, Json(body): Json<Device>) -> Result<StatusCode> {
    let token = body.device_token;
    if !(1..=255).contains(&token.len()) || !token.bytes().all(|b| b.is_ascii_graphic()) {
        return Err(ApiError::invalid("bad_device_token", "deviceToken must be 1 to 255 visible ASCII characters"));
    }
    let endpoint = match state.messaging.register_device(&token).await {
        None => None,
        Some(Ok(endpoint)) => Some(endpoint),
        Some(Err(error)) => {
            tracing::warn!(error, "a device could not be registered");
            return Err(ApiError::unavailable("push_unavailable", "the push service does not accept devices now"));
        }
    };
    sqlx::query(
        "INSERT INTO devices (token, user_id, endpoint_arn) VALUES (?, ?, ?) \
         ON DUPLICATE KEY UPDATE user_id = VALUES(user_id), endpoint_arn = VALUES(endpoint_arn)",
    )
    .bind(&token)
    .bind(&caller.user_id)
    .bind(endpoint)
    .execute(&state.db)
    .await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Stores a notification for the user whom a message is about, once per message, and pushes it.
pub async fn notify(state: &AppState, message: &Message, text: &str) -> Result<()> {
    let Some(user_id) = message.user_id() else { return Ok(()) };
    let stored = sqlx::query(
        "INSERT IGNORE INTO notifications (message_id, user_id, kind, event_id, text, push) VALUES (?, ?, ?, ?, ?, 'NONE')",
    )
    .bind(message.id)
    .bind(user_id)
    .bind(&message.kind)
    .bind(message.event_id)
    .bind(text)
    .execute(&state.db)
    .await?;
    if stored.rows_affected() == 0 {
        return Ok(());
    }
    let endpoints: Vec<String> =
        sqlx::query_scalar("SELECT endpoint_arn FROM devices WHERE user_id = ? AND endpoint_arn IS NOT NULL")
            .bind(user_id)
            .fetch_all(&state.db)
            .await?;
    let mut outcome = None;
    for endpoint in endpoints {
        let sent = state.messaging.push(&endpoint, text).await;
        if let Err(error) = &sent {
            tracing::warn!(error, "a push message was not sent");
        }
        let label = if sent.is_ok() { "SENT" } else { "FAILED" };
        metrics::counter!("ticketing_push_total", "outcome" => label).increment(1);
        // One device that got it is enough.
        outcome = if outcome == Some("SENT") { outcome } else { Some(label) };
    }
    if let Some(outcome) = outcome {
        sqlx::query("UPDATE notifications SET push = ? WHERE message_id = ? AND user_id = ?")
            .bind(outcome)
            .bind(message.id)
            .bind(user_id)
            .execute(&state.db)
            .await?;
    }
    Ok(())
}
