//! The API of the waiting queue.

use super::{Place, Queue};
use crate::accounts::tokens::Caller;
use crate::error::{ApiError, Problem, Result};
use crate::events::{EventStatus, EventView};
use crate::http::extract::Path;
use crate::random;
use crate::state::AppState;
use axum::extract::State;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures::Stream;
use serde::Serialize;
use std::convert::Infallible;
use std::time::Duration;
use time::OffsetDateTime;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

/// Routes of the waiting queue.
pub fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(overview))
        .routes(routes!(enter))
        .routes(routes!(place, leave))
        .routes(routes!(stream))
}

/// How long it is, for everybody
#[derive(Clone, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct QueueView {
    event_id: u64,
    /// Whether buyers need a pass
    enabled: bool,
    /// People waiting
    waiting: u64,
    /// People let in who are buying
    inside: u64,
    /// People let in per second of late, while others were waiting
    admitted_per_second: f64,
}

#[derive(Clone, Copy, Serialize, ToSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
enum PlaceState {
    /// This event has no queue: buy right away
    NotNeeded,
    /// Not in the queue
    Absent,
    /// Lots are drawn when the sale opens; there is no position yet
    Presale,
    /// In the queue
    Waiting,
    /// Buy now, with the pass
    Admitted,
}

/// Where the caller is
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct PlaceView {
    event_id: u64,
    state: PlaceState,
    /// From 1
    position: Option<u64>,
    /// At the rate at which people were let in of late; absent while nobody is
    estimated_wait_sec: Option<u64>,
    /// To be sent as `X-Queue-Pass` when holding and buying
    pass: Option<String>,
    #[serde(with = "time::serde::rfc3339::option")]
    pass_expires_at: Option<OffsetDateTime>,
    /// When to ask again
    retry_after_sec: u64,
}

/// Seconds until the next question makes sense: soon at the front, rarely at the back.
fn pause(ahead: u64, rate: f64) -> u64 {
    let expected = if rate > 0.0 { ahead as f64 / rate } else { 30.0 };
    random::jitter((expected / 5.0).clamp(2.0, 30.0) as u64)
}

impl PlaceView {
    fn new(state: &AppState, event: &EventView, user: &str, place: Place) -> Result<Self> {
        let mut view = Self {
            event_id: event.event_id,
            state: PlaceState::Absent,
            position: None,
            estimated_wait_sec: None,
            pass: None,
            pass_expires_at: None,
            retry_after_sec: random::jitter(5),
        };
        let presale = event.sale_opens_at.filter(|opens| *opens > OffsetDateTime::now_utc());
        match (place, presale) {
            (Place::Absent, _) => {}
            (Place::Waiting { .. }, Some(opens)) => {
                view.state = PlaceState::Presale;
                let seconds = (opens - OffsetDateTime::now_utc()).whole_seconds();
                view.retry_after_sec = random::jitter(u64::try_from(seconds).unwrap_or(0).clamp(2, 60));
            }
            (Place::Waiting { ahead, rate }, None) => {
                view.state = PlaceState::Waiting;
                view.position = Some(ahead + 1);
                view.estimated_wait_sec = (rate > 0.01).then(|| ((ahead + 1) as f64 / rate).ceil() as u64);
                view.retry_after_sec = pause(ahead, rate);
            }
            (Place::Inside { until }, _) => {
                view.state = PlaceState::Admitted;
                view.pass = Some(Queue::pass(&state.tokens, event.event_id, user, until)?);
                view.pass_expires_at = OffsetDateTime::from_unix_timestamp(until / 1000).ok();
                view.retry_after_sec = 30;
            }
        }
        Ok(view)
    }

    fn not_needed(event: &EventView) -> Self {
        Self {
            event_id: event.event_id,
            state: PlaceState::NotNeeded,
            position: None,
            estimated_wait_sec: None,
            pass: None,
            pass_expires_at: None,
            retry_after_sec: 60,
        }
    }

    fn answer(self, status: StatusCode) -> Response {
        let pause = self.retry_after_sec;
        (status, [(header::RETRY_AFTER, HeaderValue::from(pause))], axum::Json(self)).into_response()
    }
}

/// How long the queue of an event is
///
/// The same for everybody and up to a second old, so that caches can answer it.
#[utoipa::path(get, path = "/api/queue/{eventId}", tag = "queue", params(("eventId" = u64, Path)), responses(
    (status = 200, description = "the queue", body = QueueView),
    (status = 404, description = "no such event", body = Problem),
    (status = 503, description = "`redis_unavailable`", body = Problem)))]
async fn overview(State(state): State<AppState>, Path(event_id): Path<u64>) -> Result<Response> {
    let event = state.events.existing(event_id).await?;
    let view = state
        .queue_views
        .try_get_with(event_id, async {
            let (waiting, inside, admitted_per_second) = state.queue.counts(event_id).await?;
            Ok::<_, ApiError>(QueueView {
                event_id,
                enabled: event.queue.enabled,
                waiting,
                inside,
                admitted_per_second,
            })
        })
        .await
        .map_err(|error| (*error).clone())?;
    let headers = [
        (header::CACHE_CONTROL, HeaderValue::from_static("public, max-age=1")),
        (header::RETRY_AFTER, HeaderValue::from(random::jitter(5))),
    ];
    Ok((headers, axum::Json(view)).into_response())
}

/// Enter the queue
///
/// Who is in it keeps the place.
#[utoipa::path(post, path = "/api/queue/{eventId}/enter", tag = "queue", params(("eventId" = u64, Path)),
    security(("bearer" = [])), responses(
    (status = 200, description = "the place", body = PlaceView),
    (status = 401, description = "`login_needed`", body = Problem),
    (status = 404, description = "no such event", body = Problem),
    (status = 409, description = "`event_over`, `event_cancelled`", body = Problem),
    (status = 503, description = "`redis_unavailable`", body = Problem)))]
async fn enter(State(state): State<AppState>, caller: Caller, Path(event_id): Path<u64>) -> Result<Response> {
    let event = state.events.existing(event_id).await?;
    if !event.queue.enabled {
        return Ok(PlaceView::not_needed(&event).answer(StatusCode::OK));
    }
    if event.status == EventStatus::Cancelled {
        return Err(ApiError::conflict("event_cancelled", "the event does not take place"));
    }
    let place = state.queue.enter(&event, &caller.user_id).await?;
    let place = place.ok_or_else(|| ApiError::conflict("event_over", "the event has taken place"))?;
    Ok(PlaceView::new(&state, &event, &caller.user_id, place)?.answer(StatusCode::OK))
}

async fn view_of(state: &AppState, caller: &Caller, event: &EventView) -> Result<PlaceView> {
    if !event.queue.enabled {
        return Ok(PlaceView::not_needed(event));
    }
    let place = state.queue.place_of(event.event_id, &caller.user_id, true).await?;
    PlaceView::new(state, event, &caller.user_id, place)
}

/// The caller's place in the queue, and the pass once it is there
#[utoipa::path(get, path = "/api/queue/{eventId}/me", tag = "queue", params(("eventId" = u64, Path)),
    security(("bearer" = [])), responses(
    (status = 200, description = "the place; ask again after `Retry-After`", body = PlaceView),
    (status = 401, description = "`login_needed`", body = Problem),
    (status = 404, description = "no such event", body = Problem),
    (status = 503, description = "`redis_unavailable`", body = Problem)))]
async fn place(State(state): State<AppState>, caller: Caller, Path(event_id): Path<u64>) -> Result<Response> {
    let event = state.events.existing(event_id).await?;
    Ok(view_of(&state, &caller, &event).await?.answer(StatusCode::OK))
}

/// Leave the queue, or give the place inside up
#[utoipa::path(delete, path = "/api/queue/{eventId}/me", tag = "queue", params(("eventId" = u64, Path)),
    security(("bearer" = [])), responses(
    (status = 204, description = "left"),
    (status = 401, description = "`login_needed`", body = Problem),
    (status = 404, description = "not in the queue", body = Problem),
    (status = 503, description = "`redis_unavailable`", body = Problem)))]
async fn leave(State(state): State<AppState>, caller: Caller, Path(event_id): Path<u64>) -> Result<StatusCode> {
    if !state.queue.leave(event_id, &caller.user_id).await? {
        return Err(ApiError::not_found("place in this queue"));
    }
    Ok(StatusCode::NO_CONTENT)
}

/// The caller's place, as it changes (server-sent events named `place`)
#[utoipa::path(get, path = "/api/queue/{eventId}/stream", tag = "queue", params(("eventId" = u64, Path)),
    security(("bearer" = [])), responses(
    (status = 200, description = "places, until the pass is there", body = String, content_type = "text/event-stream"),
    (status = 401, description = "`login_needed`", body = Problem),
    (status = 404, description = "no such event", body = Problem)))]
async fn stream(
    State(state): State<AppState>,
    caller: Caller,
    Path(event_id): Path<u64>,
) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>>>> {
    state.events.existing(event_id).await?;
    let places = futures::stream::unfold(Some((state, caller, None::<u64>)), move |rest| async move {
        let (state, caller, mut last) = rest?;
        loop {
            let view = async {
                let event = state.events.existing(event_id).await?;
                view_of(&state, &caller, &event).await
            };
            if let Ok(view) = view.await {
                let ends = !matches!(view.state, PlaceState::Waiting | PlaceState::Presale);
                let changed = last != Some(view.position.unwrap_or(0));
                last = Some(view.position.unwrap_or(0));
                if (changed || ends)
                    && let Ok(event) = Event::default().event("place").json_data(&view)
                {
                    let rest = (!ends).then_some((state, caller, last));
                    return Some((Ok(event), rest));
                }
            }
            let pause = Duration::from_millis(random::jitter(1000));
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = state.shutdown.cancelled() => return None,
            }
        }
    });
    Ok(Sse::new(places).keep_alive(KeepAlive::new().interval(Duration::from_secs(15))))
}
