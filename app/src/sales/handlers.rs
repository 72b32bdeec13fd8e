//! The API of reservations.

use super::requests::{self, RequestView};
use super::{Order, PaymentMethod, ReservationView, idempotency_key, read};
use crate::accounts::Role;
use crate::accounts::tokens::{Caller, Purpose, TokenError};
use crate::error::{ApiError, Problem, Result};
use crate::events::EventView;
use crate::http::extract::{Json, Path, Query};
use crate::queue;
use crate::random;
use crate::sales::holds::Hold;
use crate::state::AppState;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

pub fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(reserve))
        .routes(routes!(confirm))
        .routes(routes!(detail, cancel))
        .routes(routes!(of_user))
        .routes(routes!(qr))
        .routes(routes!(ticket_key))
}

#[derive(Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct NewReservation {
    event_id: u64,
    /// Who gets the tickets: the caller, or anybody when an ADMIN sells
    #[schema(min_length = 1, max_length = 64)]
    user_id: String,
    /// Tickets, 1 to the event's `maxPerOrder`. With `seatIds` it may be left out.
    #[schema(minimum = 1)]
    quantity: Option<i64>,
    /// Seats, for events that have them
    #[schema(max_items = 100)]
    #[serde(default)]
    seat_ids: Vec<String>,
    /// Needed when there is something to pay and it is not the wallet that pays
    payment_method: Option<PaymentMethod>,
}

#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct Confirmation {
    hold_token: String,
    payment_method: Option<PaymentMethod>,
}

#[derive(Default, Deserialize, IntoParams)]
#[serde(rename_all = "camelCase", default)]
#[into_params(parameter_in = Query)]
struct UserPage {
    /// Only reservations with a lower identifier: the last one of the page before
    before: Option<u64>,
    /// Reservations per page, 1 to 100
    #[param(minimum = 1, maximum = 100)]
    size: Option<u32>,
}

#[derive(Default, Deserialize, IntoParams)]
#[serde(default)]
#[into_params(parameter_in = Query)]
struct CancelQuery {
    /// Why, up to 200 characters
    #[param(max_length = 200)]
    reason: String,
}

/// The key with which tickets are signed
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct TicketKey {
    /// `Ed25519`
    algorithm: &'static str,
    /// In hexadecimal
    public_key: String,
}

/// A quantity, with the seats when there are some. What the event allows is not looked at.
pub(super) fn quantity(quantity: Option<i64>, seats: &[String]) -> Result<u32> {
    let distinct: std::collections::HashSet<&String> = seats.iter().collect();
    if seats.len() > 100 || distinct.len() != seats.len() {
        return Err(ApiError::invalid("bad_seat", "seatIds must be at most 100, each once"));
    }
    // As seat maps make them (a row's label and a number). The database cannot even compare others with an identifier,
    // and holds are written with separators: others' orders would fail with such a seat.
    if let Some(strange) = seats.iter().find(|seat| !is_seat_id(seat)) {
        return Err(ApiError::invalid("bad_seat", format!("there is no seat {strange}")));
    }
    match (quantity, seats.len()) {
        (None, 0) => Err(ApiError::invalid("bad_quantity", "quantity is missing")),
        (None, seats) => Ok(seats as u32),
        (Some(quantity), seats) => u32::try_from(quantity)
            .ok()
            .filter(|quantity| (1..=1000).contains(quantity) && (seats == 0 || seats == *quantity as usize))
            .ok_or_else(|| ApiError::invalid("bad_quantity", "quantity must be at least 1, and as many as seatIds")),
    }
}

/// Whether one order may have so many. Before anything is held: whoever asks for more keeps nobody else away.
pub(super) fn check_per_order(quantity: u32, event: &EventView) -> Result<()> {
    if quantity > event.max_per_order {
        return Err(ApiError::invalid("bad_quantity", format!("quantity must be from 1 to {}", event.max_per_order)));
    }
    Ok(())
}

fn is_seat_id(id: &str) -> bool {
    (1..=16).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
}

/// Any name that a box office may write down. Not with spaces around it: databases take them for nothing, and in Redis a name
/// that begins with one stands for all users (see `holds.lua`).
pub(super) fn check_user_id(user_id: &str) -> Result<()> {
    let strange = |c: char| c.is_control() || (c.is_whitespace() && c != ' ');
    if !(1..=64).contains(&user_id.chars().count()) || user_id.trim() != user_id || user_id.contains(strange) {
        let detail = "userId must be 1 to 64 characters, without spaces around them, tabs or line breaks";
        return Err(ApiError::invalid("bad_user_id", detail));
    }
    Ok(())
}

pub(super) fn request_hash(parts: &impl Serialize) -> Result<[u8; 32]> {
    let text = serde_json::to_vec(parts).map_err(ApiError::internal)?;
    Ok(Sha256::digest(text).into())
}

/// Reserve
///
/// With an `Idempotency-Key` header a repeated request gives the same reservation instead of a second one. With
/// `Prefer: respond-async` the answer is 202, and the request's state tells what becomes of it.
#[utoipa::path(post, path = "/api/reservations", tag = "reservations", request_body = NewReservation,
    params(("Idempotency-Key" = Option<String>, Header), ("X-Queue-Pass" = Option<String>, Header),
        ("Prefer" = Option<String>, Header)), security(("bearer" = [])), responses(
    (status = 201, description = "reserved", body = ReservationView),
    (status = 202, description = "accepted; `Location` tells where to ask", body = RequestView),
    (status = 400, description = "`bad_idempotency_key`, `invalid_body`", body = Problem),
    (status = 401, description = "`login_needed`", body = Problem),
    (status = 402, description = "`insufficient_balance`", body = Problem),
    (status = 403, description = "`not_yours`, `pass_needed`", body = Problem),
    (status = 404, description = "no such event", body = Problem),
    (status = 409, description = "`sold_out`: too few are left; `seat_taken`, `user_limit`, `sale_not_open`, \
        `event_over`, `event_cancelled`", body = Problem),
    (status = 422, description = "`bad_quantity`, `bad_seat`, `bad_user_id`, `idempotency_key_reused`", body = Problem),
    (status = 503, description = "`busy`, `database_unavailable`", body = Problem)))]
async fn reserve(
    State(state): State<AppState>,
    caller: Caller,
    headers: HeaderMap,
    Json(body): Json<NewReservation>,
) -> Result<Response> {
    check_user_id(&body.user_id)?;
    caller.require_self(&body.user_id)?;
    let quantity = quantity(body.quantity, &body.seat_ids)?;
    let key = idempotency_key(&headers)?;
    let hash = request_hash(&body)?;
    // Before anything that the first request may have used up.
    if let Some(key) = &key
        && let Some(view) = Box::pin(state.sales.made_before(&body.user_id, key, hash)).await?
    {
        return Ok((StatusCode::CREATED, axum::Json(view)).into_response());
    }
    let event = state.events.settings(body.event_id).await?;
    queue::check(&state, &headers, &caller, &event).await?;
    check_per_order(quantity, &event)?;
    let order = Order {
        client_key: key.is_some(),
        idempotency_key: key.unwrap_or_else(|| format!("s:{}", random::code(26))),
        request_hash: hash,
        user_id: body.user_id,
        quantity,
        seats: body.seat_ids,
        payment: payment(&caller, body.payment_method)?,
        box_office: caller.role == Role::Admin,
        hold: None,
        group_id: None,
    };
    let answer = if requests::wanted(&headers) {
        Box::pin(requests::accept(&state, body.event_id, order)).await?
    } else {
        (StatusCode::CREATED, axum::Json(state.sales.sell_held(body.event_id, order).await?)).into_response()
    };
    state.queue.completed(&event, &caller.user_id).await;
    Ok(answer)
}

pub(super) fn payment(caller: &Caller, method: Option<PaymentMethod>) -> Result<Option<PaymentMethod>> {
    match method {
        Some(PaymentMethod::OnSite) => caller.require_admin().map(|()| method),
        _ => Ok(method),
    }
}

/// The hold in a token, if it is the caller's.
pub(super) fn hold_of(state: &AppState, caller: &Caller, token: &str) -> Result<Hold> {
    let hold: Hold = state.tokens.verify(Purpose::Hold, token).map_err(|error| match error {
        TokenError::Expired => ApiError::conflict("hold_expired", "the hold has ended; hold again"),
        TokenError::Invalid => ApiError::invalid("bad_hold_token", "this is no hold token"),
    })?;
    caller.require_self(&hold.user)?;
    Ok(hold)
}

/// Turn a hold into a reservation
///
/// Repeating it gives the same reservation.
#[utoipa::path(post, path = "/api/reservations/confirm", tag = "reservations", request_body = Confirmation,
    params(("X-Queue-Pass" = Option<String>, Header)), security(("bearer" = [])), responses(
    (status = 201, description = "reserved", body = ReservationView),
    (status = 401, description = "`login_needed`", body = Problem),
    (status = 402, description = "`insufficient_balance`: the hold stays", body = Problem),
    (status = 403, description = "`not_yours`", body = Problem),
    (status = 409, description = "`hold_expired`, `seat_taken`, `sold_out`, `user_limit`", body = Problem),
    (status = 422, description = "`bad_hold_token`", body = Problem),
    (status = 503, description = "`busy`, `database_unavailable`", body = Problem)))]
async fn confirm(
    State(state): State<AppState>,
    caller: Caller,
    headers: HeaderMap,
    Json(body): Json<Confirmation>,
) -> Result<(StatusCode, axum::Json<ReservationView>)> {
    let mut hold = hold_of(&state, &caller, &body.hold_token)?;
    let key = format!("h:{}", hold.hold);
    let request_hash = request_hash(&hold.hold)?;
    let event = state.events.settings(hold.event).await?;
    if let Err(refused) = queue::check(&state, &headers, &caller, &event).await {
        // Who confirmed before has left the queue since.
        let view = Box::pin(state.sales.made_before(&hold.user, &key, request_hash)).await?.ok_or(refused)?;
        return Ok((StatusCode::CREATED, axum::Json(view)));
    }
    let order = Order {
        client_key: true,
        idempotency_key: key,
        request_hash,
        user_id: hold.user.clone(),
        quantity: hold.quantity,
        seats: hold.seats.clone(),
        payment: payment(&caller, body.payment_method)?,
        box_office: caller.role == Role::Admin,
        hold: None,
        group_id: None,
    };
    let view = state.sales.confirm(&mut hold, order).await?;
    state.queue.completed(&event, &caller.user_id).await;
    Ok((StatusCode::CREATED, axum::Json(view)))
}

async fn own(state: &AppState, caller: &Caller, id: u64) -> Result<ReservationView> {
    let mut connection = state.db.acquire().await?;
    let view = read::by_id(&mut connection, id).await?.ok_or_else(|| ApiError::not_found("reservation"))?;
    caller.require_self(&view.user_id)?;
    Ok(view)
}

/// A reservation
#[utoipa::path(get, path = "/api/reservations/{id}", tag = "reservations", params(("id" = u64, Path)),
    security(("bearer" = [])), responses(
    (status = 200, description = "the reservation", body = ReservationView),
    (status = 401, description = "`login_needed`", body = Problem),
    (status = 403, description = "`not_yours`", body = Problem),
    (status = 404, description = "`not_found`", body = Problem)))]
async fn detail(
    State(state): State<AppState>,
    caller: Caller,
    Path(id): Path<u64>,
) -> Result<axum::Json<ReservationView>> {
    Ok(axum::Json(own(&state, &caller, id).await?))
}

/// Cancel a reservation and get the money back
#[utoipa::path(delete, path = "/api/reservations/{id}", tag = "reservations", params(("id" = u64, Path), CancelQuery),
    security(("bearer" = [])), responses(
    (status = 204, description = "cancelled"),
    (status = 401, description = "`login_needed`", body = Problem),
    (status = 403, description = "`not_yours`", body = Problem),
    (status = 404, description = "no such active reservation, so also the second time", body = Problem),
    (status = 409, description = "`already_used`, `event_over`", body = Problem)))]
async fn cancel(
    State(state): State<AppState>,
    caller: Caller,
    Path(id): Path<u64>,
    Query(query): Query<CancelQuery>,
) -> Result<StatusCode> {
    if query.reason.chars().count() > 200 {
        return Err(ApiError::new(StatusCode::BAD_REQUEST, "invalid_query", "reason has more than 200 characters"));
    }
    state.sales.cancel(&caller, id, &query.reason).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// A user's reservations, the newest first
#[utoipa::path(get, path = "/api/reservations/user/{userId}", tag = "reservations",
    params(("userId" = String, Path), UserPage), security(("bearer" = [])), responses(
    (status = 200, description = "reservations, also cancelled ones", body = [ReservationView]),
    (status = 400, description = "`invalid_query`", body = Problem),
    (status = 401, description = "`login_needed`", body = Problem),
    (status = 403, description = "`not_yours`", body = Problem)))]
async fn of_user(
    State(state): State<AppState>,
    caller: Caller,
    Path(user_id): Path<String>,
    Query(page): Query<UserPage>,
) -> Result<axum::Json<Vec<ReservationView>>> {
    caller.require_self(&user_id)?;
    let size = page.size.unwrap_or(100);
    if !(1..=100).contains(&size) {
        return Err(ApiError::new(StatusCode::BAD_REQUEST, "invalid_query", "size must be from 1 to 100"));
    }
    let mut connection = state.db.acquire().await?;
    let before = page.before.unwrap_or(u64::MAX);
    Ok(axum::Json(read::by_user(&mut connection, &user_id, before, size).await?))
}

/// A ticket's QR code
///
/// It holds `T1.<event>.<seat>.<code>.<signature>`; see the ticket key.
#[utoipa::path(get, path = "/api/reservations/{id}/tickets/{code}/qr", tag = "reservations",
    params(("id" = u64, Path), ("code" = String, Path)), security(("bearer" = [])), responses(
    (status = 200, description = "the code as an image", body = String, content_type = "image/svg+xml"),
    (status = 401, description = "`login_needed`", body = Problem),
    (status = 403, description = "`not_yours`", body = Problem),
    (status = 404, description = "no such ticket, or it is cancelled", body = Problem)))]
async fn qr(State(state): State<AppState>, caller: Caller, Path((id, code)): Path<(u64, String)>) -> Result<Response> {
    use fast_qr::convert::{Builder, Shape, svg::SvgBuilder};
    let view = own(&state, &caller, id).await?;
    let ticket = view
        .tickets
        .iter()
        .find(|ticket| ticket.code == code && ticket.status != "CANCELLED")
        .ok_or_else(|| ApiError::not_found("active ticket"))?;
    let text = state.signer.sign(view.event_id, ticket.seat_id.as_deref(), &ticket.code);
    let code = fast_qr::QRBuilder::new(text).build().map_err(|error| ApiError::internal(format!("{error:?}")))?;
    let svg = SvgBuilder::default().shape(Shape::Square).to_str(&code);
    Ok(([(header::CONTENT_TYPE, "image/svg+xml")], svg).into_response())
}

/// The public key that verifies tickets without a network
#[utoipa::path(get, path = "/api/tickets/key", tag = "reservations",
    responses((status = 200, description = "the key", body = TicketKey)))]
async fn ticket_key(State(state): State<AppState>) -> axum::Json<TicketKey> {
    axum::Json(TicketKey { algorithm: "Ed25519", public_key: state.signer.public_key() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seats_are_those_that_a_seat_map_can_have() {
        let wanted = |id: &str| quantity(None, &[id.to_owned()]);
        for good in ["A-1", "z9-10", "ABCDEFGH-1000"] {
            assert_eq!(wanted(good).expect("a seat"), 1);
        }
        for bad in ["", "a|b", "a,b", "A 1", "A-1\n", "Ä-1", "ABCDEFGHIJKLMNO-1"] {
            assert_eq!(wanted(bad).expect_err("no seat").code, "bad_seat", "{bad:?}");
        }
    }
}
