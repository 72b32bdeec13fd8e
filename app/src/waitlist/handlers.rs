//! The API of the waitlist.

use super::{accept, cancelled, end_offer, lock_stock, no_offer, over, over_limit};
use crate::accounts::tokens::Caller;
use crate::db;
use crate::error::{ApiError, Problem, Result};
use crate::http::extract::{Json, Path};
use crate::sales::{ReservationView, read};
use crate::state::AppState;
use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

/// Routes of the waitlist.
pub fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(join))
        .routes(routes!(mine))
        .routes(routes!(accept_offer))
        .routes(routes!(leave))
}

#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct Wish {
    event_id: u64,
    /// Tickets, 1 to the event's `maxPerOrder`
    #[schema(minimum = 1)]
    quantity: i64,
}

/// A wish for a sold-out event
#[derive(Serialize, ToSchema, sqlx::FromRow)]
#[serde(rename_all = "camelCase")]
struct EntryView {
    id: u64,
    event_id: u64,
    quantity: u32,
    /// `WAITING`, `OFFERED`, `ACCEPTED`, `EXPIRED` or `CANCELLED`
    status: String,
    /// The reservation that is offered, or was
    reservation_id: Option<u64>,
    #[serde(with = "time::serde::rfc3339")]
    created_at: OffsetDateTime,
    /// Until when the offer can be accepted
    #[serde(with = "time::serde::rfc3339::option")]
    offer_expires_at: Option<OffsetDateTime>,
}

const SELECT: &str = "SELECT w.id, w.event_id, w.quantity, w.status, w.reservation_id, w.created_at, r.offer_expires_at \
     FROM waitlist w LEFT JOIN reservations r ON r.id = w.reservation_id";

/// Wait for tickets of a sold-out event
#[utoipa::path(post, path = "/api/waitlist", tag = "waitlist", request_body = Wish, security(("bearer" = [])), responses(
    (status = 201, description = "waiting", body = EntryView),
    (status = 401, description = "`login_needed`", body = Problem),
    (status = 404, description = "no such event", body = Problem),
    (status = 409, description = "`not_sold_out`, `already_waiting`, `event_cancelled`, `event_over`, `user_limit`",
        body = Problem),
    (status = 422, description = "`bad_quantity`", body = Problem)))]
async fn join(
    State(state): State<AppState>,
    caller: Caller,
    Json(body): Json<Wish>,
) -> Result<(StatusCode, axum::Json<EntryView>)> {
    let event = state.events.existing(body.event_id).await?;
    let quantity =
        u32::try_from(body.quantity).ok().filter(|quantity| (1..=event.max_per_order).contains(quantity)).ok_or_else(
            || ApiError::invalid("bad_quantity", format!("quantity must be from 1 to {}", event.max_per_order)),
        )?;
    let mut tx = state.db.begin().await?;
    let stock = lock_stock(&mut tx, body.event_id).await?.ok_or_else(|| ApiError::not_found("event"))?;
    if stock.cancelled {
        return Err(cancelled());
    }
    if stock.is_over {
        return Err(over());
    }
    if let Some(limit) = stock.max_per_user.filter(|limit| quantity > *limit) {
        return Err(over_limit(limit));
    }
    if stock.available_seats >= quantity {
        return Err(ApiError::conflict("not_sold_out", "there are tickets: reserve them"));
    }
    let inserted =
        sqlx::query("INSERT INTO waitlist (event_id, user_id, quantity, status) VALUES (?, ?, ?, 'WAITING')")
            .bind(body.event_id)
            .bind(&caller.user_id)
            .bind(quantity)
            .execute(&mut *tx)
            .await;
    let id = match inserted {
        Err(error) if db::duplicate_key(&error).is_some() => {
            return Err(ApiError::conflict("already_waiting", "you are on this event's waitlist already"));
        }
        other => other?.last_insert_id(),
    };
    tx.commit().await?;
    Ok((StatusCode::CREATED, axum::Json(entry(&state, &caller, id).await?)))
}

/// The entry, if it is the caller's.
async fn entry(state: &AppState, caller: &Caller, id: u64) -> Result<EntryView> {
    let owner: Option<String> =
        sqlx::query_scalar("SELECT user_id FROM waitlist WHERE id = ?").bind(id).fetch_optional(&state.db).await?;
    caller.require_self(&owner.ok_or_else(|| ApiError::not_found("waitlist entry"))?)?;
    let view = sqlx::QueryBuilder::new(SELECT)
        .push(" WHERE w.id = ")
        .push_bind(id)
        .build_query_as()
        .fetch_one(&state.db)
        .await?;
    Ok(view)
}

async fn offer_of(state: &AppState, view: &EntryView) -> Result<ReservationView> {
    let id = view.reservation_id.ok_or_else(no_offer)?;
    let mut connection = state.db.acquire().await?;
    read::by_id(&mut connection, id).await?.ok_or_else(no_offer)
}

/// The caller's wishes, the newest first
#[utoipa::path(get, path = "/api/waitlist", tag = "waitlist", security(("bearer" = [])), responses(
    (status = 200, description = "at most the newest 100", body = [EntryView]),
    (status = 401, description = "`login_needed`", body = Problem)))]
async fn mine(State(state): State<AppState>, caller: Caller) -> Result<axum::Json<Vec<EntryView>>> {
    let found = sqlx::QueryBuilder::new(SELECT)
        .push(" WHERE w.user_id = ")
        .push_bind(&caller.user_id)
        .push(" ORDER BY w.id DESC LIMIT 100")
        .build_query_as()
        .fetch_all(&state.db)
        .await?;
    Ok(axum::Json(found))
}

/// Accept an offer; the wallet pays
#[utoipa::path(post, path = "/api/waitlist/{id}/accept", tag = "waitlist", params(("id" = u64, Path)),
    security(("bearer" = [])), responses(
    (status = 201, description = "reserved", body = ReservationView),
    (status = 401, description = "`login_needed`", body = Problem),
    (status = 402, description = "`insufficient_balance`: the offer stays", body = Problem),
    (status = 403, description = "`not_yours`", body = Problem),
    (status = 404, description = "`not_found`", body = Problem),
    (status = 409, description = "`no_offer`, `event_cancelled`, `event_over`; `user_limit`: the offer stays", body = Problem)))]
async fn accept_offer(
    State(state): State<AppState>,
    caller: Caller,
    Path(id): Path<u64>,
) -> Result<(StatusCode, axum::Json<ReservationView>)> {
    let view = entry(&state, &caller, id).await?;
    let offer = offer_of(&state, &view).await?;
    Ok((StatusCode::CREATED, axum::Json(accept(&state, &offer).await?)))
}

/// Leave the waitlist, or decline an offer
#[utoipa::path(delete, path = "/api/waitlist/{id}", tag = "waitlist", params(("id" = u64, Path)),
    security(("bearer" = [])), responses(
    (status = 204, description = "left"),
    (status = 401, description = "`login_needed`", body = Problem),
    (status = 403, description = "`not_yours`", body = Problem),
    (status = 404, description = "there is no such entry, or it has ended", body = Problem)))]
async fn leave(State(state): State<AppState>, caller: Caller, Path(id): Path<u64>) -> Result<StatusCode> {
    entry(&state, &caller, id).await?;
    let left = sqlx::query("UPDATE waitlist SET status = 'CANCELLED' WHERE id = ? AND status = 'WAITING'")
        .bind(id)
        .execute(&state.db)
        .await?;
    if left.rows_affected() == 1 {
        return Ok(StatusCode::NO_CONTENT);
    }
    // It was not waiting any more: there is an offer, or it has ended.
    let view = entry(&state, &caller, id).await?;
    let ended = match view.status.as_str() {
        "OFFERED" => end_offer(&state, &offer_of(&state, &view).await?, "CANCELLED", "offer declined").await?,
        _ => false,
    };
    if ended { Ok(StatusCode::NO_CONTENT) } else { Err(ApiError::not_found("active waitlist entry")) }
}
