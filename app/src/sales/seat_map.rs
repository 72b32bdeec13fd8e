//! Which seats of an event can be had.

use super::tickets;
use crate::error::{Problem, Result};
use crate::events::live::Live;
use crate::http::extract::Path;
use crate::state::AppState;
use axum::extract::State;
use axum::response::sse::{Event, KeepAlive, Sse};
use futures::{Stream, StreamExt};
use serde::Serialize;
use std::collections::{HashMap, VecDeque};
use std::convert::Infallible;
use std::time::Duration;
use tokio::sync::broadcast::error::RecvError;
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
struct SeatView {
    seat_id: String,
    row_label: String,
    col_number: u32,
    grade: String,
    price: u64,
    status: SeatStatus,
}

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
async fn seats(State(state): State<AppState>, Path(id): Path<u64>) -> Result<axum::Json<Vec<SeatView>>> {
    if !state.events.existing(id).await?.seated {
        return Ok(axum::Json(Vec::new()));
    }
    let layout = state.events.layout(id).await?;
    let statuses = statuses(&state, id).await?;
    let seats = layout
        .seats
        .iter()
        .map(|seat| SeatView {
            seat_id: seat.id.to_string(),
            row_label: seat.row.to_string(),
            col_number: seat.number,
            grade: seat.grade.to_string(),
            price: seat.price,
            status: statuses.get(&*seat.id).copied().unwrap_or(SeatStatus::Available),
        })
        .collect();
    Ok(axum::Json(seats))
}

/// What changes about an event (server-sent events)
///
/// `event` tells `availableSeats` and `status`; `seats` is a list of `seatId` and `status`. At first come all seats
/// that cannot be had, then changes.
#[utoipa::path(get, path = "/api/events/{id}/stream", tag = "events", params(("id" = u64, Path)), responses(
    (status = 200, description = "updates, without end", body = String, content_type = "text/event-stream"),
    (status = 404, description = "no such event", body = Problem)))]
async fn stream(
    State(state): State<AppState>,
    Path(id): Path<u64>,
) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>>>> {
    let (first, receiver) = Live::watch(&state, id).await?;
    let shutdown = state.shutdown.clone();
    let pending = VecDeque::from(first);
    let updates =
        futures::stream::unfold((state, receiver, pending), move |(state, mut receiver, mut pending)| async move {
            loop {
                if let Some(update) = pending.pop_front() {
                    return Some((Ok(update.event()), (state, receiver, pending)));
                }
                match receiver.recv().await {
                    Ok(update) => pending.push_back(update),
                    // Too slow: everything anew.
                    Err(RecvError::Lagged(_)) => pending = Live::everything(&state, id).await.ok()?.into(),
                    Err(RecvError::Closed) => return None,
                }
            }
        });
    let updates = updates.take_until(shutdown.cancelled_owned());
    Ok(Sse::new(updates).keep_alive(KeepAlive::new().interval(Duration::from_secs(15))))
}
