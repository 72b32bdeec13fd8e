//! Notifications: stored for the user, and passed on to devices and by e-mail.

mod channels;
mod deliver;

pub use deliver::notify;

use crate::accounts::{self, tokens::Caller};
use crate::error::{ApiError, Problem, Result};
use crate::http::extract::{Json, Path, Query};
use crate::state::AppState;
use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

/// Devices of one user, at most: each is told of everything.
const MOST_DEVICES: u32 = 10;

/// Routes of notifications.
pub fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(list)).routes(routes!(mark_read)).routes(routes!(register)).routes(routes!(
        email_state,
        email,
        no_email
    ))
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
    /// Whether it reached the user's devices: `PENDING`, `NONE` (there are none), `SENT` or `FAILED`
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
        "SELECT message_id AS id, kind, event_id, text, created_at, read_at, push FROM notifications \
         WHERE user_id = ? AND message_id < ? AND (read_at IS NULL OR NOT ?) ORDER BY message_id DESC LIMIT ?",
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
        "UPDATE notifications SET read_at = COALESCE(read_at, UTC_TIMESTAMP(3)) WHERE message_id = ? AND user_id = ?",
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
///
/// The ten registered last are kept.
#[utoipa::path(post, path = "/api/notifications/devices", tag = "notifications", request_body = Device,
    security(("bearer" = [])), responses(
    (status = 204, description = "registered"),
    (status = 401, description = "`login_needed`, `bad_token`", body = Problem),
    (status = 422, description = "`bad_device_token`", body = Problem),
    (status = 503, description = "`push_unavailable`", body = Problem)))]
async fn register(State(state): State<AppState>, caller: Caller, Json(body): Json<Device>) -> Result<StatusCode> {
    let token = body.device_token;
    if !(1..=255).contains(&token.len()) || !token.bytes().all(|b| b.is_ascii_graphic()) {
        return Err(ApiError::invalid("bad_device_token", "deviceToken must be 1 to 255 visible ASCII characters"));
    }
    // The device stays when the caller's token has expired.
    let user = accounts::by_session(&state.db, &caller.user_id, caller.sessions_since).await?;
    user.ok_or_else(|| ApiError::unauthorized("bad_token", "the session has ended; log in again"))?;
    let endpoint = match state.messaging.register_device(&token).await {
        None => None,
        Some(Ok(endpoint)) => Some(endpoint),
        Some(Err(error)) => {
            tracing::warn!(error, "a device could not be registered");
            return Err(ApiError::unavailable("push_unavailable", "the push service does not accept devices now"));
        }
    };
    sqlx::query(
        "INSERT INTO devices (token, user_id, endpoint_arn) VALUES (?, ?, ?) ON DUPLICATE KEY UPDATE \
         user_id = VALUES(user_id), endpoint_arn = VALUES(endpoint_arn), created_at = CURRENT_TIMESTAMP(3)",
    )
    .bind(&token)
    .bind(&caller.user_id)
    .bind(endpoint)
    .execute(&state.db)
    .await?;
    sqlx::query(
        "DELETE FROM devices WHERE user_id = ? AND token NOT IN (SELECT token FROM (SELECT token FROM devices \
         WHERE user_id = ? ORDER BY created_at DESC, token = ? DESC LIMIT ?) AS newest)",
    )
    .bind(&caller.user_id)
    .bind(&caller.user_id)
    .bind(&token)
    .bind(MOST_DEVICES)
    .execute(&state.db)
    .await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Whether notifications come by e-mail
#[derive(Serialize, ToSchema)]
struct EmailState {
    /// Whether this service can send e-mail
    available: bool,
    /// Whether the caller asked for it
    wanted: bool,
}

/// Whether the caller asked for notifications by e-mail
#[utoipa::path(get, path = "/api/notifications/email", tag = "notifications", security(("bearer" = [])), responses(
    (status = 200, description = "whether there is e-mail, and the caller wants it", body = EmailState),
    (status = 401, description = "`login_needed`", body = Problem)))]
async fn email_state(State(state): State<AppState>, caller: Caller) -> Result<axum::Json<EmailState>> {
    let wanted = subscription(&state, &caller).await?.is_some();
    Ok(axum::Json(EmailState { available: state.messaging.sends_email(), wanted }))
}

async fn subscription(state: &AppState, caller: &Caller) -> Result<Option<String>> {
    let known = sqlx::query_scalar("SELECT subscription_arn FROM email_subscriptions WHERE user_id = ?")
        .bind(&caller.user_id)
        .fetch_optional(&state.db)
        .await?;
    Ok(known)
}

/// Ask for notifications by e-mail
///
/// They begin once the link in an e-mail to the account's address has been followed.
#[utoipa::path(put, path = "/api/notifications/email", tag = "notifications", security(("bearer" = [])), responses(
    (status = 202, description = "an e-mail with a link is on its way"),
    (status = 401, description = "`login_needed`", body = Problem),
    (status = 404, description = "this service sends no e-mail", body = Problem),
    (status = 503, description = "`email_unavailable`", body = Problem)))]
async fn email(State(state): State<AppState>, caller: Caller) -> Result<StatusCode> {
    let user = accounts::by_id(&state.db, &caller.user_id).await?.ok_or_else(|| ApiError::not_found("account"))?;
    let subscribed = state.messaging.subscribe_email(&user.user_id, &user.email).await;
    let subscription = subscribed.ok_or_else(|| ApiError::not_found("e-mail service"))?.map_err(|error| {
        tracing::warn!(error, "an address could not be subscribed");
        ApiError::unavailable("email_unavailable", "e-mail cannot be set up now")
    })?;
    sqlx::query(
        "INSERT INTO email_subscriptions (user_id, subscription_arn) VALUES (?, ?) \
         ON DUPLICATE KEY UPDATE subscription_arn = VALUES(subscription_arn)",
    )
    .bind(&user.user_id)
    .bind(subscription)
    .execute(&state.db)
    .await?;
    Ok(StatusCode::ACCEPTED)
}

/// Have no more notifications by e-mail
#[utoipa::path(delete, path = "/api/notifications/email", tag = "notifications", security(("bearer" = [])), responses(
    (status = 204, description = "there will be none"),
    (status = 401, description = "`login_needed`", body = Problem),
    (status = 404, description = "there were none", body = Problem)))]
async fn no_email(State(state): State<AppState>, caller: Caller) -> Result<StatusCode> {
    let subscription = subscription(&state, &caller).await?.ok_or_else(|| ApiError::not_found("subscription"))?;
    sqlx::query("DELETE FROM email_subscriptions WHERE user_id = ?").bind(&caller.user_id).execute(&state.db).await?;
    // Nothing is sent any more without the row; SNS forgets what nobody confirmed by itself.
    if let Err(error) = state.messaging.unsubscribe_email(&subscription).await {
        tracing::info!(error, "a subscription is left at SNS");
    }
    Ok(StatusCode::NO_CONTENT)
}
