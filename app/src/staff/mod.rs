//! At the door: look a reservation up by its 4-digit code, and check tickets in.

mod attempts;

use crate::accounts::tokens::Caller;
use crate::db;
use crate::error::{ApiError, Problem, Result};
use crate::http::extract::{Json, Query};
use crate::sales::{ReservationView, find_by_code4};
use crate::state::AppState;
pub use attempts::Attempts;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

/// Routes of the door.
pub fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(lookup)).routes(routes!(check_in))
}

#[derive(Deserialize, IntoParams)]
#[serde(rename_all = "camelCase")]
#[into_params(parameter_in = Query)]
struct LookupQuery {
    event_id: u64,
    /// Four digits
    #[param(pattern = "^[0-9]{4}$")]
    code4: String,
}

#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct CheckIn {
    event_id: u64,
    /// The text of a QR code, or a ticket code
    #[schema(max_length = 300)]
    ticket: Option<String>,
    /// Four digits: checks in all tickets of the reservation
    #[schema(pattern = "^[0-9]{4}$")]
    code4: Option<String>,
    /// Any text, new for every attempt of the person at the door: repeating the same request after a lost answer is
    /// then no second check-in
    #[schema(max_length = 64)]
    nonce: Option<String>,
}

/// What was checked in
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct CheckedIn {
    reservation_id: u64,
    event_id: u64,
    /// People who may enter
    admitted: usize,
    seat_ids: Vec<String>,
}

/// Look up a reservation by its 4-digit code (STAFF)
#[utoipa::path(get, path = "/api/staff/lookup", tag = "staff", params(LookupQuery), security(("bearer" = [])), responses(
    (status = 200, description = "the active reservation", body = ReservationView),
    (status = 400, description = "`invalid_query`", body = Problem),
    (status = 401, description = "`login_needed`", body = Problem),
    (status = 403, description = "`staff_only`", body = Problem),
    (status = 404, description = "no active reservation has this code", body = Problem),
    (status = 429, description = "`too_many_attempts`: too many wrong codes", body = Problem)))]
async fn lookup(
    State(state): State<AppState>,
    caller: Caller,
    Query(query): Query<LookupQuery>,
) -> Result<axum::Json<ReservationView>> {
    caller.require_staff()?;
    by_code4(&state, &caller, query.event_id, &query.code4).await.map(axum::Json)
}

/// Wrong codes count against the caller, so that nobody tries out all ten thousand.
async fn by_code4(state: &AppState, caller: &Caller, event_id: u64, code4: &str) -> Result<ReservationView> {
    if code4.len() != 4 || !code4.bytes().all(|b| b.is_ascii_digit()) {
        return Err(ApiError::not_found("active reservation with this code"));
    }
    let _turn = state.attempts.turn(&caller.user_id).await;
    state.attempts.guess(&caller.user_id).await?;
    let found = find(state, event_id, code4).await;
    if !matches!(found, Ok(None)) {
        state.attempts.take_back(&caller.user_id).await;
    }
    found?.ok_or_else(|| ApiError::not_found("active reservation with this code"))
}

async fn find(state: &AppState, event_id: u64, code4: &str) -> Result<Option<ReservationView>> {
    let mut connection = state.db.acquire().await?;
    Ok(find_by_code4(&mut connection, event_id, code4).await?)
}

/// Check tickets in (STAFF)
#[utoipa::path(post, path = "/api/staff/check-in", tag = "staff", request_body = CheckIn, security(("bearer" = [])),
    responses(
    (status = 200, description = "let them in", body = CheckedIn),
    (status = 401, description = "`login_needed`", body = Problem),
    (status = 403, description = "`staff_only`", body = Problem),
    (status = 404, description = "no such ticket, or it is cancelled", body = Problem),
    (status = 409, description = "`already_used`", body = Problem),
    (status = 422, description = "`bad_ticket`: not genuine, or for another event; `bad_nonce`", body = Problem),
    (status = 429, description = "`too_many_attempts`: too many wrong codes", body = Problem)))]
async fn check_in(
    State(state): State<AppState>,
    caller: Caller,
    Json(body): Json<CheckIn>,
) -> Result<axum::Json<CheckedIn>> {
    caller.require_staff()?;
    let nonce = body.nonce.as_deref();
    if nonce.is_some_and(|nonce| !(1..=64).contains(&nonce.len()) || !nonce.bytes().all(|b| b.is_ascii_graphic())) {
        return Err(ApiError::invalid("bad_nonce", "nonce must be 1 to 64 visible ASCII characters"));
    }
    let (column, value) = match (&body.ticket, &body.code4) {
        (Some(text), None) if text.contains('.') => {
            let code = state
                .signer
                .verify(body.event_id, text)
                .ok_or_else(|| ApiError::invalid("bad_ticket", "this is no ticket for this event"))?;
            (Column::Code, code.to_owned())
        }
        (Some(code), None) if code.is_ascii() => (Column::Code, code.clone()),
        (Some(_), None) => return Err(ApiError::not_found("active ticket for this event")),
        (None, Some(code4)) => {
            let view = by_code4(&state, &caller, body.event_id, code4).await?;
            (Column::Reservation, view.reservation_id.to_string())
        }
        _ => return Err(ApiError::invalid("bad_ticket", "send either ticket or code4")),
    };
    let found = use_tickets(&state, body.event_id, column, &value, nonce).await;
    if matches!(&found, Err(error) if error.code == "not_found") {
        state.attempts.failed(&caller.user_id).await;
    }
    found.map(axum::Json)
}

#[derive(Clone, Copy)]
enum Column {
    Code,
    Reservation,
}

#[derive(sqlx::FromRow)]
struct Ticket {
    reservation_id: u64,
    number: u64,
    seat_id: Option<String>,
    status: String,
    used_at: Option<OffsetDateTime>,
    check_in_nonce: Option<String>,
}

async fn use_tickets(
    state: &AppState,
    event_id: u64,
    column: Column,
    value: &str,
    nonce: Option<&str>,
) -> Result<CheckedIn> {
    // Who cancels meanwhile locks the reservation first, and then its tickets.
    db::despite_contention(|| use_tickets_once(state, event_id, column, value, nonce)).await?
}

async fn use_tickets_once(
    state: &AppState,
    event_id: u64,
    column: Column,
    value: &str,
    nonce: Option<&str>,
) -> Result<Result<CheckedIn>, sqlx::Error> {
    let mut tx = state.db.begin().await?;
    // Only tickets of a confirmed reservation let anybody in: not those that are merely offered to the waitlist.
    let sql = match column {
        Column::Code => {
            "SELECT t.reservation_id, t.number, t.seat_id, t.status, t.used_at, t.check_in_nonce FROM tickets t \
             JOIN reservations r ON r.id = t.reservation_id AND r.status = 'CONFIRMED' \
             WHERE t.event_id = ? AND t.status <> 'CANCELLED' AND t.code = ? FOR UPDATE"
        }
        Column::Reservation => {
            "SELECT t.reservation_id, t.number, t.seat_id, t.status, t.used_at, t.check_in_nonce FROM tickets t \
             JOIN reservations r ON r.id = t.reservation_id AND r.status = 'CONFIRMED' \
             WHERE t.event_id = ? AND t.status <> 'CANCELLED' AND t.reservation_id = ? FOR UPDATE"
        }
    };
    let found: Vec<Ticket> = sqlx::query_as(sql).bind(event_id).bind(value).fetch_all(&mut *tx).await?;
    let Some(first) = found.first() else {
        return Ok(Err(ApiError::not_found("active ticket for this event")));
    };
    let mut admitted = Vec::new();
    for ticket in &found {
        let repeated = nonce.is_some() && ticket.check_in_nonce.as_deref() == nonce;
        if ticket.status == "ACTIVE" {
            sqlx::query(
                "UPDATE tickets SET status = 'USED', used_at = UTC_TIMESTAMP(3), check_in_nonce = ? \
                 WHERE reservation_id = ? AND number = ?",
            )
            .bind(nonce)
            .bind(ticket.reservation_id)
            .bind(ticket.number)
            .execute(&mut *tx)
            .await?;
        } else if !repeated {
            continue;
        }
        admitted.push(ticket);
    }
    if admitted.is_empty() {
        let when = first.used_at.map(|time| time.to_string()).unwrap_or_default();
        return Ok(Err(ApiError::conflict("already_used", format!("checked in before, at {when}"))));
    }
    let answer = CheckedIn {
        reservation_id: first.reservation_id,
        event_id,
        admitted: admitted.len(),
        seat_ids: admitted.iter().filter_map(|ticket| ticket.seat_id.clone()).collect(),
    };
    tx.commit().await?;
    Ok(Ok(answer))
}
