//! Asynchronous reservations: accepted at once, carried out by a worker.

use super::{Order, PaymentMethod, ReservationView, read};
use crate::accounts::tokens::Caller;
use crate::db;
use crate::error::{ApiError, Problem, Result};
use crate::http::extract::Path;
use crate::outbox::{self, Message};
use crate::random;
use crate::state::AppState;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use serde_json::json;
use sqlx::{MySqlConnection, MySqlExecutor};
use std::time::Duration;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

/// The kind of message that asks for a reservation.
pub const REQUESTED: &str = "reservation.requested";

/// After how many seconds without a decision a request is asked about again: longer than all attempts take.
const PATIENCE_SECONDS: u32 = 600;
/// How often to look for such requests.
const LOOK: Duration = Duration::from_secs(60);
/// So many of them at a time.
const SOME: u32 = 100;
/// Why nobody will carry out a request.
const LOST: &str = "internal: the order could not be carried out; order again";

pub fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(status))
}

/// What is remembered of an order until it is carried out.
#[derive(Serialize, Deserialize)]
struct Pending {
    event_id: u64,
    user_id: String,
    quantity: u32,
    seats: Vec<String>,
    payment: Option<PaymentMethod>,
    box_office: bool,
    idempotency_key: String,
    request_hash: String,
}

/// The state of a request
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct RequestView {
    request_id: String,
    /// `ACCEPTED` (not decided yet), `CONFIRMED` or `REJECTED`
    status: String,
    reservation: Option<ReservationView>,
    /// Why it was rejected
    problem: Option<String>,
}

/// Whether the client asks for an answer before the work is done (RFC 7240).
pub fn wanted(headers: &HeaderMap) -> bool {
    headers
        .get_all("prefer")
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|preference| preference.trim().eq_ignore_ascii_case("respond-async"))
}

/// Remembers an order and answers 202.
pub async fn accept(state: &AppState, event_id: u64, order: Order) -> Result<Response> {
    let id = random::code(26);
    let pending = Pending {
        event_id,
        user_id: order.user_id,
        quantity: order.quantity,
        seats: order.seats,
        payment: order.payment,
        box_office: order.box_office,
        idempotency_key: order.idempotency_key,
        request_hash: hex::encode(order.request_hash),
    };
    let body = serde_json::to_string(&pending).map_err(ApiError::internal)?;
    let mut tx = state.db.begin().await?;
    sqlx::query("INSERT INTO reservation_requests (id, user_id, status, body) VALUES (?, ?, 'ACCEPTED', ?)")
        .bind(&id)
        .bind(&pending.user_id)
        .bind(body)
        .execute(&mut *tx)
        .await?;
    ask(&mut tx, &id, &pending).await?;
    tx.commit().await?;
    let location = format!("/api/reservation-requests/{id}");
    let view = RequestView { request_id: id, status: "ACCEPTED".into(), reservation: None, problem: None };
    let headers = [(header::LOCATION, location.as_str()), (header::RETRY_AFTER, "1")];
    Ok((StatusCode::ACCEPTED, headers, axum::Json(view)).into_response())
}

/// Has a worker told of a request.
async fn ask(connection: &mut MySqlConnection, id: &str, pending: &Pending) -> Result<(), sqlx::Error> {
    let payload = json!({"requestId": id, "userId": pending.user_id, "quantity": pending.quantity});
    outbox::write(connection, pending.event_id, REQUESTED, &[payload]).await
}

/// Asks again about what nobody has decided for long, until the task is dropped: a worker that dies in the last delivery of
/// a message takes it along.
pub async fn ask_again(state: &AppState) {
    loop {
        match db::within(db::LONGEST, ask_again_some(state)).await {
            Ok(asked) if asked == SOME as usize => continue,
            Ok(_) => {}
            Err(error) => tracing::debug!(%error, "undecided requests wait"),
        }
        tokio::time::sleep(LOOK).await;
    }
}

async fn ask_again_some(state: &AppState) -> Result<usize, sqlx::Error> {
    let mut tx = state.db.begin().await?;
    let requests: Vec<(String, String)> = sqlx::query_as(
        "SELECT id, body FROM reservation_requests WHERE status = 'ACCEPTED' \
         AND asked_at < UTC_TIMESTAMP(3) - INTERVAL ? SECOND ORDER BY asked_at LIMIT ? FOR UPDATE SKIP LOCKED",
    )
    .bind(PATIENCE_SECONDS)
    .bind(SOME)
    .fetch_all(&mut *tx)
    .await?;
    if requests.is_empty() {
        return Ok(0);
    }
    tracing::warn!(requests = requests.len(), "nobody has decided some requests; they are asked about again");
    for (id, body) in &requests {
        match serde_json::from_str(body) {
            Ok(pending) => ask(&mut tx, id, &pending).await?,
            Err(_) => decide(&mut *tx, id, "REJECTED", None, Some(LOST)).await?,
        }
        sqlx::query("UPDATE reservation_requests SET asked_at = UTC_TIMESTAMP(3) WHERE id = ?")
            .bind(id)
            .execute(&mut *tx)
            .await?;
    }
    tx.commit().await?;
    Ok(requests.len())
}

/// Carries out a request; returns the reason when it is rejected. An error means that it is not decided.
pub async fn carry_out(state: &AppState, message: &Message) -> Result<Option<String>> {
    let id = message.payload["requestId"].as_str().unwrap_or_default();
    let row: Option<(String, String)> = sqlx::query_as("SELECT status, body FROM reservation_requests WHERE id = ?")
        .bind(id)
        .fetch_optional(&state.db)
        .await?;
    let Some((status, body)) = row else { return Ok(None) };
    if status != "ACCEPTED" {
        return Ok(None);
    }
    let pending: Pending = serde_json::from_str(&body).map_err(ApiError::internal)?;
    let mut request_hash = [0; 32];
    hex::decode_to_slice(&pending.request_hash, &mut request_hash).map_err(ApiError::internal)?;
    let event_id = pending.event_id;
    // The key makes a second delivery find what the first one sold.
    let order = Order {
        user_id: pending.user_id,
        quantity: pending.quantity,
        seats: pending.seats,
        idempotency_key: pending.idempotency_key,
        client_key: true,
        request_hash,
        payment: pending.payment,
        box_office: pending.box_office,
        hold: None,
        group_id: None,
    };
    let outcome = state.sales.sell_held(event_id, order).await;
    let (status, reservation, problem) = match outcome {
        Ok(view) => ("CONFIRMED", Some(view.reservation_id), None),
        Err(error) if error.status.is_server_error() => return Err(error),
        Err(error) => ("REJECTED", None, Some(format!("{}: {}", error.code, error.detail))),
    };
    decide(&state.db, id, status, reservation, problem.as_deref()).await?;
    Ok(problem)
}

/// Decides a request that nobody is going to carry out any more. What was sold all the same, by an attempt that could not
/// tell of it, stays sold.
pub async fn give_up(connection: &mut MySqlConnection, message: &Message) -> Result<(), sqlx::Error> {
    let id = message.payload["requestId"].as_str().unwrap_or_default();
    let body: Option<String> =
        sqlx::query_scalar("SELECT body FROM reservation_requests WHERE id = ? AND status = 'ACCEPTED'")
            .bind(id)
            .fetch_optional(&mut *connection)
            .await?;
    let Some(body) = body else { return Ok(()) };
    let sold: Option<u64> = match serde_json::from_str::<Pending>(&body) {
        Ok(pending) => {
            let sql =
                "SELECT id FROM reservations WHERE user_id = ? AND idempotency_key = ? AND request_hash = UNHEX(?)";
            let made = sqlx::query_scalar(sql).bind(pending.user_id).bind(pending.idempotency_key);
            made.bind(pending.request_hash).fetch_optional(&mut *connection).await?
        }
        Err(_) => None,
    };
    let (status, problem) = match sold {
        Some(_) => ("CONFIRMED", None),
        None => ("REJECTED", Some(LOST)),
    };
    decide(connection, id, status, sold, problem).await
}

/// The first decision counts.
async fn decide(
    executor: impl MySqlExecutor<'_>,
    id: &str,
    status: &str,
    reservation: Option<u64>,
    problem: Option<&str>,
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "UPDATE reservation_requests SET status = ?, reservation_id = ?, problem = ? WHERE id = ? AND status = 'ACCEPTED'",
    )
    .bind(status)
    .bind(reservation)
    .bind(problem)
    .bind(id)
    .execute(executor)
    .await?;
    Ok(())
}

#[derive(sqlx::FromRow)]
struct Row {
    user_id: String,
    status: String,
    reservation_id: Option<u64>,
    problem: Option<String>,
}

/// What became of an asynchronous reservation
#[utoipa::path(get, path = "/api/reservation-requests/{id}", tag = "reservations", params(("id" = String, Path)),
    security(("bearer" = [])), responses(
    (status = 200, description = "the request", body = RequestView),
    (status = 401, description = "`login_needed`", body = Problem),
    (status = 403, description = "`not_yours`", body = Problem),
    (status = 404, description = "`not_found`", body = Problem)))]
async fn status(
    State(state): State<AppState>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<axum::Json<RequestView>> {
    if !id.is_ascii() {
        return Err(ApiError::not_found("request"));
    }
    let mut connection = state.db.acquire().await?;
    let row: Option<Row> =
        sqlx::query_as("SELECT user_id, status, reservation_id, problem FROM reservation_requests WHERE id = ?")
            .bind(&id)
            .fetch_optional(&mut *connection)
            .await?;
    let row = row.ok_or_else(|| ApiError::not_found("request"))?;
    caller.require_self(&row.user_id)?;
    let reservation = match row.reservation_id {
        Some(id) => read::by_id(&mut connection, id).await?,
        None => None,
    };
    Ok(axum::Json(RequestView { request_id: id, status: row.status, reservation, problem: row.problem }))
}
