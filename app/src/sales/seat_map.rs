//! Which seats of an event can be had.

use super::tickets;
use crate::error::{ApiError, Problem, Result};
use crate::events::live::Live;
use crate::http::extract::Path;
use crate::state::AppState;
use axum::extract::State;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures::{Stream, StreamExt};
use serde::Serialize;
use std::collections::HashMap;
use std::convert::Infallible;
use std::time::Duration;
use tokio::sync::Semaphore;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

pub fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(seats)).routes(routes!(stream))
}

/// State of a seat
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum SeatStatus {
    /// It can be held
    Available,
    /// Somebody is about to buy it
    Held,
    /// Sold
    Reserved,
}

/// A seat
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct SeatView<'a> {
    seat_id: &'a str,
    row_label: &'a str,
    col_number: u32,
    grade: &'a str,
    price: u64,
    status: SeatStatus,
}

/// Lists of seats that are made at once: each may need tens of megabytes.
static LISTS: Semaphore = Semaphore::const_new(4);

/// The seats of an event that cannot be had. Without Redis only what is sold is known.
pub async fn statuses(state: &AppState, event_id: u64) -> Result<HashMap<String, SeatStatus>> {
    if let Some(marks) = state.sales.holds.seat_marks(event_id).await {
        let status = |sold| if sold { SeatStatus::Reserved } else { SeatStatus::Held };
        return Ok(marks.into_iter().map(|(seat, sold)| (seat, status(sold))).collect());
    }
    let sold = tickets::taken_seats(&state.db, event_id).await?;
    Ok(sold.into_iter().map(|seat| (seat, SeatStatus::Reserved)).collect())
}

/// The seats of an event and their state
#[utoipa::path(get, path = "/api/events/{id}/seats", tag = "holds", params(("id" = u64, Path)), responses(
    (status = 200, description = "all seats, row by row; none for general admission", body = [SeatView]),
    (status = 404, description = "no such event", body = Problem)))]
async fn seats(State(state): State<AppState>, Path(id): Path<u64>) -> Result<Response> {
    if !state.events.existing(id).await?.seated {
        return Ok(axum::Json([(); 0]).into_response());
    }
    let layout = state.events.layout(id).await?;
    let _one_of_few = LISTS.acquire().await.map_err(ApiError::internal)?;
    let statuses = statuses(&state, id).await?;
    let seats: Vec<_> = layout
        .seats
        .iter()
        .map(|seat| SeatView {
            seat_id: &seat.id,
            row_label: &seat.row,
            col_number: seat.number,
            grade: &seat.grade,
            price: seat.price,
            status: statuses.get(&*seat.id).copied().unwrap_or(SeatStatus::Available),
        })
        .collect();
    Ok(axum::Json(seats).into_response())
}

/// What changes about an event (server-sent events)
///
/// `event` tells `availableSeats` and `status`; `seats` is a list of `seatId` and `status`. At first come all seats
/// that cannot be had, then changes. After the end of a stream ask for all seats, since some may have become free.
#[utoipa::path(get, path = "/api/events/{id}/stream", tag = "events", params(("id" = u64, Path)), responses(
    (status = 200, description = "updates, until the client is too slow for them", body = String, content_type = "text/event-stream"),
    (status = 404, description = "no such event", body = Problem)))]
async fn stream(
    State(state): State<AppState>,
    Path(id): Path<u64>,
) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>>>> {
    let updates = Live::watch(&state, id).await?.map(|update| Ok(update.event()));
    let updates = updates.take_until(state.shutdown.clone().cancelled_owned());
    Ok(Sse::new(updates).keep_alive(KeepAlive::new().interval(Duration::from_secs(15))))
}
