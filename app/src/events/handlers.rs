//! The API of events.

use super::list::{Asked, EventPage, ListQuery, load_for};
use super::store::{self, NewEvent, NewSeat};
use super::{EventStatus, EventView, PriceTier, QueueSettings};
use crate::accounts::tokens::Caller;
use crate::db::datetime;
use crate::error::{ApiError, Problem, Result};
use crate::http::extract::{Json, Path};
use crate::state::AppState;
use axum::body::Body;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use serde::Deserialize;
use std::collections::HashSet;
use time::OffsetDateTime;
use time::PrimitiveDateTime;
use time::format_description::well_known::{Iso8601, Rfc3339};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

/// The most tickets of one event.
const MOST_TICKETS: u32 = 1_000_000;
/// The most seats of one event: a large stadium has 100,000.
const MOST_SEATS: usize = 200_000;
const MOST_MONEY: u64 = 1_000_000_000;

/// Routes of events.
pub fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(list, create)).routes(routes!(detail, update))
}

/// A row of seats
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewRow {
    /// Letters and digits, such as `A`
    #[schema(min_length = 1, max_length = 8, pattern = "^[A-Za-z0-9]+$")]
    row: String,
    /// Seats in the row, numbered from 1
    #[schema(minimum = 1, maximum = 1000)]
    seats: u32,
    /// Names one of the price tiers
    #[schema(max_length = 20)]
    #[serde(default)]
    grade: String,
}

#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct NewEventBody {
    #[schema(min_length = 1, max_length = 200)]
    event_name: String,
    /// Tickets for general admission. With a seat map it follows from that.
    #[schema(minimum = 1, maximum = 1_000_000)]
    total_seats: Option<i64>,
    /// RFC 3339, such as 2026-12-24T19:00:00+09:00; without an offset it is taken as UTC
    event_date: String,
    #[schema(max_length = 200)]
    #[serde(default)]
    venue: String,
    #[schema(max_length = 2000)]
    #[serde(default)]
    description: String,
    /// When the sale begins, like `eventDate`
    sale_opens_at: Option<String>,
    /// Price in the currency's smallest unit, for general admission and for grades without a price tier
    #[schema(maximum = 1_000_000_000)]
    #[serde(default)]
    price: u64,
    #[schema(max_items = 50)]
    #[serde(default)]
    price_tiers: Vec<PriceTier>,
    /// Makes it an event with numbered seats
    #[schema(max_items = 2000)]
    #[serde(default)]
    seat_map: Vec<NewRow>,
    /// Tickets per reservation; 10 unless said otherwise
    #[schema(minimum = 1, maximum = 1000)]
    max_per_order: Option<u32>,
    /// Tickets per user; without it there is no limit
    #[schema(minimum = 1)]
    max_per_user: Option<u32>,
    queue: Option<QueueSettings>,
}

#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct EventPatch {
    #[schema(min_length = 1, max_length = 200)]
    event_name: Option<String>,
    #[schema(max_length = 200)]
    venue: Option<String>,
    #[schema(max_length = 2000)]
    description: Option<String>,
    /// Like in a new event
    event_date: Option<String>,
    /// Like in a new event
    sale_opens_at: Option<String>,
    /// `true` ends the sale for good: all reservations end, what was paid goes back, and everybody is told
    cancelled: Option<bool>,
    #[schema(minimum = 1, maximum = 1000)]
    max_per_order: Option<u32>,
    /// Takes effect at once
    queue: Option<QueueSettings>,
}

/// Reads a time with or without an offset.
fn parse_time(field: &str, text: &str) -> Result<OffsetDateTime> {
    let parsed = OffsetDateTime::parse(text, &Rfc3339)
        .or_else(|_| PrimitiveDateTime::parse(text, &Iso8601::DATE_TIME).map(PrimitiveDateTime::assume_utc))
        .map(|time| time.to_offset(time::UtcOffset::UTC))
        .ok()
        .filter(|time| (1970..=9999).contains(&time.year()));
    parsed.ok_or_else(|| {
        ApiError::invalid("bad_time", format!("{field} must be a time such as 2026-12-24T19:00:00+09:00"))
    })
}

fn text(field: &str, value: &str, least: usize, most: usize) -> Result<String> {
    let value = value.trim();
    if !(least..=most).contains(&value.chars().count()) {
        return Err(ApiError::invalid("bad_text", format!("{field} must have {least} to {most} characters")));
    }
    Ok(value.to_owned())
}

fn check_queue(queue: &QueueSettings) -> Result<()> {
    let rate_ok = queue.admit_per_second > 0.0 && queue.admit_per_second <= 100_000.0;
    if !rate_ok || !(1..=1_000_000).contains(&queue.max_inside) {
        return Err(ApiError::invalid(
            "bad_queue",
            "queue.admitPerSecond must be above 0 and at most 100000, queue.maxInside from 1 to 1000000",
        ));
    }
    Ok(())
}

fn check_per_order(limit: u32) -> Result<u32> {
    if !(1..=1000).contains(&limit) {
        return Err(ApiError::invalid("bad_limit", "maxPerOrder must be from 1 to 1000"));
    }
    Ok(limit)
}

fn seats(rows: &[NewRow]) -> Result<Vec<NewSeat>> {
    let mut seats = Vec::new();
    let mut labels = HashSet::new();
    for row in rows {
        let grade = row.grade.trim();
        let label_ok = (1..=8).contains(&row.row.len()) && row.row.bytes().all(|b| b.is_ascii_alphanumeric());
        if !label_ok || !labels.insert(&row.row) {
            return Err(ApiError::invalid(
                "bad_seat_map",
                format!("row {:?} must be 1 to 8 letters and digits, and occur once", row.row),
            ));
        }
        if !(1..=1000).contains(&row.seats) || grade.chars().count() > 20 {
            return Err(ApiError::invalid(
                "bad_seat_map",
                format!("row {} must have 1 to 1000 seats and a grade of at most 20 characters", row.row),
            ));
        }
        seats.extend((1..=row.seats).map(|number| NewSeat {
            id: format!("{}-{number}", row.row),
            row: row.row.clone(),
            number,
            grade: grade.to_owned(),
        }));
        if seats.len() > MOST_SEATS {
            return Err(ApiError::invalid("bad_seat_map", format!("more than {MOST_SEATS} seats")));
        }
    }
    Ok(seats)
}

impl NewEventBody {
    fn validate(mut self) -> Result<NewEvent> {
        let seats = seats(&self.seat_map)?;
        let total_seats = match self.total_seats {
            None if !seats.is_empty() => 0,
            Some(total) if !seats.is_empty() && usize::try_from(total) == Ok(seats.len()) => 0,
            Some(_) if !seats.is_empty() => {
                return Err(ApiError::invalid("bad_total", format!("the seat map has {} seats", seats.len())));
            }
            total => total
                .and_then(|total| u32::try_from(total).ok())
                .filter(|total| (1..=MOST_TICKETS).contains(total))
                .ok_or_else(|| {
                    ApiError::invalid("bad_total", format!("totalSeats must be from 1 to {MOST_TICKETS}"))
                })?,
        };
        let mut grades = HashSet::new();
        for tier in &mut self.price_tiers {
            // The database takes names that differ in spaces at the end for the same.
            tier.grade = tier.grade.trim().to_owned();
        }
        for tier in &self.price_tiers {
            if !(1..=20).contains(&tier.grade.chars().count()) || !grades.insert(&tier.grade) {
                return Err(ApiError::invalid(
                    "bad_price",
                    "each price tier needs a grade of its own, 1 to 20 characters",
                ));
            }
        }
        if self.price_tiers.iter().map(|tier| tier.price).chain([self.price]).any(|price| price > MOST_MONEY) {
            return Err(ApiError::invalid("bad_price", format!("a price may be {MOST_MONEY} at most")));
        }
        let queue = self.queue.unwrap_or(QueueSettings { enabled: false, admit_per_second: 10.0, max_inside: 200 });
        check_queue(&queue)?;
        if self.max_per_user == Some(0) {
            return Err(ApiError::invalid("bad_limit", "maxPerUser must be at least 1"));
        }
        Ok(NewEvent {
            name: text("eventName", &self.event_name, 1, 200)?,
            venue: text("venue", &self.venue, 0, 200)?,
            description: text("description", &self.description, 0, 2000)?,
            event_date: parse_time("eventDate", &self.event_date)?,
            sale_opens_at: self.sale_opens_at.map(|time| parse_time("saleOpensAt", &time)).transpose()?,
            total_seats,
            seats,
            price: self.price,
            price_tiers: self.price_tiers,
            max_per_order: check_per_order(self.max_per_order.unwrap_or(10))?,
            max_per_user: self.max_per_user,
            queue,
        })
    }
}

fn json(status: StatusCode, body: Bytes) -> Response {
    (status, [(header::CONTENT_TYPE, "application/json")], Body::from(body)).into_response()
}

/// List events
///
/// The number of events on all pages is in the header `X-Total-Count`. `sort=mine` needs a Bearer token, and is about the
/// events that the caller has confirmed reservations for; whoever calls does not matter for the others.
#[utoipa::path(get, path = "/api/events", tag = "events", params(ListQuery), security((), ("bearer" = [])), responses(
    (status = 200, description = "a page of events", body = [EventView]),
    (status = 400, description = "`invalid_query`", body = Problem),
    (status = 401, description = "to list the own events: `login_needed`, `token_expired`, `bad_token`", body = Problem)))]
async fn list(State(state): State<AppState>, asked: Asked) -> Result<Response> {
    let Asked { mut query, owner } = asked;
    // The database knows no other years.
    let dates_ok = [query.from, query.to].into_iter().flatten().all(|date| (1000..=9999).contains(&date.year()));
    if !(1..=100).contains(&query.size) || query.page > 100_000 || query.search.chars().count() > 100 || !dates_ok {
        return Err(ApiError::new(
            StatusCode::BAD_REQUEST,
            "invalid_query",
            "size must be from 1 to 100, page at most 100000, search at most 100 characters, from and to in the years \
             1000 to 9999",
        ));
    }
    query.search = query.search.trim().to_owned();
    match owner {
        // Not cached: it is to be right for who has just bought.
        Some(owner) => page(&Box::pin(load_for(&state.db, &query, Some(&owner))).await?),
        None => page(&state.events.list(query).await?.value),
    }
}

fn page(page: &EventPage) -> Result<Response> {
    let body = serde_json::to_vec(&page.events).map_err(ApiError::internal)?;
    let mut response = json(StatusCode::OK, body.into());
    response.headers_mut().insert("x-total-count", page.total.into());
    Ok(response)
}

/// An event
#[utoipa::path(get, path = "/api/events/{id}", tag = "events", params(("id" = u64, Path)), responses(
    (status = 200, description = "the event; `availableSeats` is right as of the last sale answered", body = EventView),
    (status = 404, description = "`not_found`", body = Problem)))]
async fn detail(State(state): State<AppState>, Path(id): Path<u64>) -> Result<Response> {
    let entry = state.events.get(id).await?;
    match entry.value {
        Some(_) => Ok(json(StatusCode::OK, entry.json.clone())),
        None => Err(ApiError::not_found("event")),
    }
}

/// Create an event (ADMIN)
#[utoipa::path(post, path = "/api/events", tag = "events", request_body = NewEventBody, security(("bearer" = [])),
    responses(
    (status = 201, description = "created", body = EventView),
    (status = 401, description = "`login_needed`", body = Problem),
    (status = 403, description = "`admin_only`", body = Problem),
    (status = 422, description = "`invalid_body`, `bad_text`, `bad_time`, `bad_total`, `bad_seat_map`, `bad_price`, `bad_limit`, \
        `bad_queue`", body = Problem)))]
async fn create(
    State(state): State<AppState>,
    caller: Caller,
    Json(body): Json<NewEventBody>,
) -> Result<(StatusCode, axum::Json<EventView>)> {
    caller.require_admin()?;
    let id = store::insert(&state.db, &body.validate()?).await?;
    state.events.changed(id).await;
    Ok((StatusCode::CREATED, axum::Json(state.events.existing(id).await?)))
}

/// Change an event (ADMIN)
#[utoipa::path(patch, path = "/api/events/{id}", tag = "events", params(("id" = u64, Path)), request_body = EventPatch,
    security(("bearer" = [])), responses(
    (status = 200, description = "changed", body = EventView),
    (status = 401, description = "`login_needed`", body = Problem),
    (status = 403, description = "`admin_only`", body = Problem),
    (status = 404, description = "`not_found`", body = Problem),
    (status = 409, description = "`event_cancelled`: it cannot take place again", body = Problem),
    (status = 422, description = "`invalid_body`, `bad_text`, `bad_time`, `bad_limit`, `bad_queue`", body = Problem)))]
async fn update(
    State(state): State<AppState>,
    caller: Caller,
    Path(id): Path<u64>,
    Json(patch): Json<EventPatch>,
) -> Result<axum::Json<EventView>> {
    caller.require_admin()?;
    if let Some(queue) = &patch.queue {
        check_queue(queue)?;
    }
    if patch.cancelled == Some(false) && state.events.existing(id).await?.status == EventStatus::Cancelled {
        return Err(ApiError::conflict("event_cancelled", "people were told that the event does not take place"));
    }
    let changed = sqlx::query(
        "UPDATE events SET name = COALESCE(?, name), venue = COALESCE(?, venue), description = COALESCE(?, description), \
         event_date = COALESCE(?, event_date), sale_opens_at = COALESCE(?, sale_opens_at), \
         cancelled = cancelled OR COALESCE(?, FALSE), max_per_order = COALESCE(?, max_per_order), \
         queue_enabled = COALESCE(?, queue_enabled), queue_per_second = COALESCE(?, queue_per_second), \
         queue_max_inside = COALESCE(?, queue_max_inside) WHERE id = ?",
    )
    .bind(patch.event_name.map(|value| text("eventName", &value, 1, 200)).transpose()?)
    .bind(patch.venue.map(|value| text("venue", &value, 0, 200)).transpose()?)
    .bind(patch.description.map(|value| text("description", &value, 0, 2000)).transpose()?)
    .bind(patch.event_date.map(|value| parse_time("eventDate", &value)).transpose()?.map(datetime))
    .bind(patch.sale_opens_at.map(|value| parse_time("saleOpensAt", &value)).transpose()?.map(datetime))
    .bind(patch.cancelled)
    .bind(patch.max_per_order.map(check_per_order).transpose()?)
    .bind(patch.queue.map(|queue| queue.enabled))
    .bind(patch.queue.map(|queue| queue.admit_per_second))
    .bind(patch.queue.map(|queue| queue.max_inside))
    .bind(id)
    .execute(&state.db)
    .await?;
    if changed.rows_affected() == 0 {
        return Err(ApiError::not_found("event"));
    }
    state.events.changed(id).await;
    Ok(axum::Json(state.events.existing(id).await?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_with_and_without_an_offset() {
        let text = |t: &str| parse_time("eventDate", t).map(|t| t.format(&Rfc3339).expect("formats"));
        assert_eq!(text("2026-12-24T19:00:00+09:00").expect("valid"), "2026-12-24T10:00:00Z");
        assert_eq!(text("2026-12-24T19:00:00").expect("valid"), "2026-12-24T19:00:00Z");
        assert_eq!(text("2026-12-24T19:00").expect("valid"), "2026-12-24T19:00:00Z");
        for bad in ["", "tomorrow", "2026-13-01T00:00:00Z", "0001-01-01T00:00:00Z"] {
            assert_eq!(text(bad).expect_err("invalid").code, "bad_time", "{bad}");
        }
    }

    #[test]
    fn a_seat_map_becomes_seats() {
        let row = |row: &str, seats| NewRow { row: row.into(), seats, grade: "R".into() };
        let ids: Vec<_> = seats(&[row("A", 2), row("B", 1)]).expect("valid").into_iter().map(|s| s.id).collect();
        assert_eq!(ids, ["A-1", "A-2", "B-1"]);
        assert!(seats(&[row("A", 2), row("A", 2)]).is_err());
        assert!(seats(&[row("A-", 2)]).is_err());
        assert!(seats(&[row("A", 0)]).is_err());
    }
}
