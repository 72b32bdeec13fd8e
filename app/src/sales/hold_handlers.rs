//! The API of holds.

use super::handlers::{check_per_order, check_user_id, hold_of, quantity};
use crate::accounts::tokens::{Caller, Purpose};
use crate::error::{ApiError, Problem, Result};
use crate::http::extract::Json;
use crate::state::AppState;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

/// How long a token is read after its hold has ended. Whether the hold has ended is for Redis and the database to
/// say: the clocks of the instances may differ.
const TOKEN_SECONDS: i64 = 24 * 3600;

pub fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(hold)).routes(routes!(release))
}

#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct NewHold {
    event_id: u64,
    /// For whom; the caller unless an ADMIN holds for somebody
    #[schema(min_length = 1, max_length = 64)]
    user_id: Option<String>,
    /// Tickets. With `seatIds` it may be left out.
    #[schema(minimum = 1)]
    quantity: Option<i64>,
    /// Seats, for events that have them: all are held, or none
    #[schema(max_items = 100)]
    #[serde(default)]
    seat_ids: Vec<String>,
}

/// A hold
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct HoldView {
    /// What to confirm or release it with
    hold_token: String,
    event_id: u64,
    quantity: u32,
    seat_ids: Vec<String>,
    /// Seconds that it lasts
    expires_in_sec: u32,
    #[serde(with = "time::serde::rfc3339")]
    expires_at: OffsetDateTime,
    /// Whether others are kept away. Not while Redis is unavailable: then who confirms first gets the seats.
    exclusive: bool,
}

#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct HoldTokenBody {
    hold_token: String,
}

/// Hold tickets or seats
///
/// All or none; others cannot get them until the hold is confirmed, released or over.
#[utoipa::path(post, path = "/api/holds", tag = "holds", request_body = NewHold,
    params(("X-Queue-Pass" = Option<String>, Header)), security(("bearer" = [])), responses(
    (status = 201, description = "held", body = HoldView),
    (status = 401, description = "`login_needed`", body = Problem),
    (status = 403, description = "`not_yours`, `pass_needed`", body = Problem),
    (status = 404, description = "no such event", body = Problem),
    (status = 409, description = "`seat_taken`, `sold_out`, `hold_limit`, `sale_not_open`, `event_over`, `event_cancelled`",
        body = Problem),
    (status = 422, description = "`bad_quantity`, `bad_seat`", body = Problem)))]
async fn hold(
    State(state): State<AppState>,
    caller: Caller,
    headers: HeaderMap,
    Json(body): Json<NewHold>,
) -> Result<(StatusCode, axum::Json<HoldView>)> {
    let user = body.user_id.as_deref().unwrap_or(&caller.user_id);
    check_user_id(user)?;
    caller.require_self(user)?;
    let quantity = quantity(body.quantity, &body.seat_ids)?;
    let event = state.events.settings(body.event_id).await?;
    crate::queue::check(&state, &headers, &caller, &event).await?;
    if event.status == crate::events::EventStatus::Cancelled {
        return Err(ApiError::conflict("event_cancelled", "the event does not take place"));
    }
    if event.event_date < OffsetDateTime::now_utc() {
        return Err(ApiError::conflict("event_over", "the event has taken place"));
    }
    if event.sale_opens_at.is_some_and(|opens| opens > OffsetDateTime::now_utc()) && caller.require_admin().is_err() {
        return Err(ApiError::conflict("sale_not_open", "the sale has not begun"));
    }
    check_per_order(quantity, &event)?;
    if event.seated == body.seat_ids.is_empty() {
        let detail =
            if event.seated { "this event has numbered seats: say which" } else { "this event has no numbered seats" };
        return Err(ApiError::invalid("bad_seat", detail));
    }
    let mut available = 0;
    if event.seated {
        let layout = state.events.layout(body.event_id).await?;
        if let Some(unknown) = body.seat_ids.iter().find(|id| !layout.has(id)) {
            return Err(ApiError::invalid("bad_seat", format!("there is no seat {unknown}")));
        }
    } else {
        available = state.events.existing(body.event_id).await?.available_seats;
    }
    let hold = state.sales.holds.take(body.event_id, user, quantity, body.seat_ids, available).await?;
    let expires_at =
        OffsetDateTime::from_unix_timestamp_nanos(i128::from(hold.ends) * 1_000_000).map_err(ApiError::internal)?;
    let view = HoldView {
        hold_token: state.tokens.sign(Purpose::Hold, expires_at.unix_timestamp() + TOKEN_SECONDS, &hold)?,
        event_id: hold.event,
        quantity,
        seat_ids: hold.seats,
        expires_in_sec: state.sales.holds.seconds(),
        expires_at,
        exclusive: hold.exclusive,
    };
    Ok((StatusCode::CREATED, axum::Json(view)))
}

/// Release a hold
#[utoipa::path(post, path = "/api/holds/release", tag = "holds", request_body = HoldTokenBody,
    security(("bearer" = [])), responses(
    (status = 204, description = "others can have the seats now"),
    (status = 401, description = "`login_needed`", body = Problem),
    (status = 403, description = "`not_yours`", body = Problem),
    (status = 409, description = "`hold_expired`: there is no such hold any more", body = Problem),
    (status = 422, description = "`bad_hold_token`", body = Problem)))]
async fn release(State(state): State<AppState>, caller: Caller, Json(body): Json<HoldTokenBody>) -> Result<StatusCode> {
    let hold = hold_of(&state, &caller, &body.hold_token)?;
    if !state.sales.holds.release(&hold).await? {
        return Err(ApiError::conflict("hold_expired", "the hold has ended already"));
    }
    Ok(StatusCode::NO_CONTENT)
}
