//! Reservations for several events at once: all of them, or none.

use super::handlers::{check_per_order, check_user_id, payment, quantity, request_hash};
use super::lane::ATTEMPTS;
use super::{HoldRef, Order, PaymentMethod, ReservationView, Sales, idempotency_key, read, sell};
use crate::accounts::Role;
use crate::accounts::tokens::Caller;
use crate::db;
use crate::error::{ApiError, Problem, Result};
use crate::http::extract::{Json, Path};
use crate::queue;
use crate::random;
use crate::state::AppState;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::time::Duration;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

pub fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(reserve_group)).routes(routes!(group, cancel_group))
}

#[derive(Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct GroupItem {
    event_id: u64,
    /// As in a single reservation
    #[schema(minimum = 1)]
    quantity: Option<i64>,
    /// As in a single reservation
    #[schema(max_items = 100)]
    #[serde(default)]
    seat_ids: Vec<String>,
}

#[derive(Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct NewGroup {
    #[schema(min_length = 1, max_length = 64)]
    user_id: String,
    /// At most 10, each for an event of its own
    #[schema(min_items = 1, max_items = 10)]
    items: Vec<GroupItem>,
    payment_method: Option<PaymentMethod>,
}

/// Reservations that were made together
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct GroupView {
    group_id: u64,
    user_id: String,
    /// `RESERVED`, or `CANCELLED` when none is left
    status: &'static str,
    /// Price of what is reserved
    total_amount: u64,
    reservations: Vec<ReservationView>,
}

impl GroupView {
    fn new(group_id: u64, user_id: String, reservations: Vec<ReservationView>) -> Self {
        let active = reservations.iter().filter(|one| one.status == "CONFIRMED");
        Self {
            group_id,
            user_id,
            status: if active.clone().next().is_some() { "RESERVED" } else { "CANCELLED" },
            total_amount: active.map(|one| one.amount).sum(),
            reservations,
        }
    }
}

/// Reserve for several events, all or none
#[utoipa::path(post, path = "/api/reservation-groups", tag = "reservations", request_body = NewGroup,
    params(("Idempotency-Key" = Option<String>, Header),
        ("X-Queue-Pass" = Option<String>, Header, description = "for each event with a queue one, with commas between")),
    security(("bearer" = [])), responses(
    (status = 201, description = "reserved", body = GroupView),
    (status = 400, description = "`bad_idempotency_key`, `invalid_body`", body = Problem),
    (status = 401, description = "`login_needed`", body = Problem),
    (status = 402, description = "`insufficient_balance`", body = Problem),
    (status = 403, description = "`not_yours`, `pass_needed`", body = Problem),
    (status = 404, description = "no such event", body = Problem),
    (status = 409, description = "as for a single reservation; nothing was reserved", body = Problem),
    (status = 422, description = "`bad_items`, and as for a single reservation", body = Problem),
    (status = 503, description = "`busy`, `database_unavailable`", body = Problem)))]
async fn reserve_group(
    State(state): State<AppState>,
    caller: Caller,
    headers: HeaderMap,
    Json(body): Json<NewGroup>,
) -> Result<(StatusCode, axum::Json<GroupView>)> {
    check_user_id(&body.user_id)?;
    caller.require_self(&body.user_id)?;
    if !(1..=10).contains(&body.items.len()) {
        return Err(ApiError::invalid("bad_items", "a group has 1 to 10 items"));
    }
    let hash = request_hash(&body)?;
    let client_key = idempotency_key(&headers)?;
    let again = client_key.is_some();
    let key = client_key.unwrap_or_else(|| format!("s:{}", random::code(26)));
    if let Some(view) = state.sales.known_group(&body.user_id, &key, hash).await? {
        return Ok((StatusCode::CREATED, axum::Json(view)));
    }
    let method = payment(&caller, body.payment_method)?;
    // The same when the request comes again: then it meets its own holds.
    let name = hex::encode(&Sha256::digest(&key)[..16]);
    // By event, in ascending order: the order in which everybody locks.
    let mut orders = BTreeMap::new();
    let mut events = Vec::with_capacity(body.items.len());
    for item in &body.items {
        let quantity = quantity(item.quantity, &item.seat_ids)?;
        let event = state.events.settings(item.event_id).await?;
        queue::check(&state, &headers, &caller, &event).await?;
        check_per_order(quantity, &event)?;
        let order = Order {
            user_id: body.user_id.clone(),
            quantity,
            seats: item.seat_ids.clone(),
            idempotency_key: format!("g:{}:{name}", item.event_id),
            client_key: again,
            request_hash: hash,
            payment: method,
            box_office: caller.role == Role::Admin,
            hold: None,
            group_id: None,
        };
        if orders.insert(item.event_id, order).is_some() {
            return Err(ApiError::invalid("bad_items", "each item must be for an event of its own"));
        }
        events.push(event);
    }
    let view = state.sales.sell_group_held(&body.user_id, &key, hash, orders).await?;
    for event in &events {
        state.queue.completed(event, &caller.user_id).await;
    }
    Ok((StatusCode::CREATED, axum::Json(view)))
}

/// Reservations that were made together
#[utoipa::path(get, path = "/api/reservation-groups/{id}", tag = "reservations", params(("id" = u64, Path)),
    security(("bearer" = [])), responses(
    (status = 200, description = "the group", body = GroupView),
    (status = 401, description = "`login_needed`", body = Problem),
    (status = 403, description = "`not_yours`", body = Problem),
    (status = 404, description = "`not_found`", body = Problem)))]
async fn group(State(state): State<AppState>, caller: Caller, Path(id): Path<u64>) -> Result<axum::Json<GroupView>> {
    let view = state.sales.group(id).await?;
    caller.require_self(&view.user_id)?;
    Ok(axum::Json(view))
}

/// Cancel what is left of a group
#[utoipa::path(delete, path = "/api/reservation-groups/{id}", tag = "reservations", params(("id" = u64, Path)),
    security(("bearer" = [])), responses(
    (status = 204, description = "cancelled"),
    (status = 401, description = "`login_needed`", body = Problem),
    (status = 403, description = "`not_yours`", body = Problem),
    (status = 404, description = "no such group, or nothing of it is left", body = Problem),
    (status = 409, description = "`already_used`, `event_over`: from there on nothing was cancelled", body = Problem)))]
async fn cancel_group(State(state): State<AppState>, caller: Caller, Path(id): Path<u64>) -> Result<StatusCode> {
    let view = state.sales.group(id).await?;
    caller.require_self(&view.user_id)?;
    let mut found = false;
    for reservation in &view.reservations {
        if reservation.status == "CONFIRMED" {
            state.sales.cancel(&caller, reservation.reservation_id, "group cancelled").await?;
            found = true;
        }
    }
    if !found {
        return Err(ApiError::not_found("active group"));
    }
    Ok(StatusCode::NO_CONTENT)
}

impl Sales {
    async fn group(&self, id: u64) -> Result<GroupView> {
        let mut connection = self.db.acquire().await?;
        let user_id: Option<String> = sqlx::query_scalar("SELECT user_id FROM reservation_groups WHERE id = ?")
            .bind(id)
            .fetch_optional(&mut *connection)
            .await?;
        let user_id = user_id.ok_or_else(|| ApiError::not_found("group"))?;
        let reservations = read::by_group(&mut connection, &user_id, id).await?;
        Ok(GroupView::new(id, user_id, reservations))
    }

    /// The group that was made under this key before.
    async fn known_group(&self, user_id: &str, key: &str, hash: [u8; 32]) -> Result<Option<GroupView>> {
        let known: Option<(u64, Vec<u8>)> =
            sqlx::query_as("SELECT id, request_hash FROM reservation_groups WHERE user_id = ? AND idempotency_key = ?")
                .bind(user_id)
                .bind(key)
                .fetch_optional(&self.db)
                .await?;
        match known {
            None => Ok(None),
            Some((id, known)) if known == hash => self.group(id).await.map(Some),
            Some(_) => Err(sell::key_reused()),
        }
    }

    /// Holds the seats for the moment of the sale, so that nobody's hold is overridden.
    async fn sell_group_held(
        &self,
        user_id: &str,
        key: &str,
        hash: [u8; 32],
        mut orders: BTreeMap<u64, Order>,
    ) -> Result<GroupView> {
        let mut held = Vec::new();
        let mut outcome = Ok(());
        for (event_id, order) in orders.iter_mut().filter(|(_, order)| !order.seats.is_empty()) {
            match self.holds.take_for_sale(*event_id, order).await {
                Ok(hold) => {
                    order.hold = Some(HoldRef { id: hold.hold.clone(), fence: hold.fence });
                    held.push(hold);
                }
                Err(refused) => {
                    outcome = Err(refused);
                    break;
                }
            }
        }
        let outcome = match outcome {
            Ok(()) => self.sell_group(user_id, key, hash, orders).await,
            // Refused by what the same request got that came before, perhaps.
            Err(refused) => match self.known_group(user_id, key, hash).await? {
                Some(view) => return Ok(view),
                None => Err(refused),
            },
        };
        if outcome.is_err() {
            for hold in &held {
                self.holds.release_or_expire(hold).await;
            }
        }
        outcome
    }

    async fn sell_group(
        &self,
        user_id: &str,
        key: &str,
        hash: [u8; 32],
        mut orders: BTreeMap<u64, Order>,
    ) -> Result<GroupView> {
        let mut attempt = 0;
        loop {
            attempt += 1;
            // Each attempt first looks for what an earlier one may have committed, since the answer to that can get lost.
            let error = match self.known_group(user_id, key, hash).await {
                Ok(Some(view)) => {
                    if attempt > 1 && view.status == "RESERVED" {
                        self.tell_group(&view, &orders).await;
                    }
                    return Ok(view);
                }
                Ok(None) => {
                    let batches = self.batches(&orders).await?;
                    let sale = self.sell_group_once(user_id, key, hash, &batches, &mut orders);
                    match db::within(db::LONGEST, sale).await {
                        Ok(outcome) => {
                            let view = outcome?;
                            self.tell_group(&view, &orders).await;
                            return Ok(view);
                        }
                        Err(error) if db::duplicate_key(&error).is_some() || db::is_contention(&error) => {
                            ApiError::unavailable("busy", "too many changes to the same events at once")
                        }
                        Err(error) if db::is_unavailable(&error) => error.into(),
                        Err(error) => return Err(error.into()),
                    }
                }
                Err(error) if error.status.is_server_error() => error,
                Err(error) => return Err(error),
            };
            if attempt >= ATTEMPTS {
                return Err(error);
            }
            let longest = 20 << attempt;
            tokio::time::sleep(Duration::from_millis(rand::random_range(longest / 2..=longest))).await;
        }
    }

    /// What the sale has to know of each event.
    async fn batches(&self, orders: &BTreeMap<u64, Order>) -> Result<Vec<sell::Batch>> {
        let mut batches = Vec::with_capacity(orders.len());
        for (event_id, order) in orders {
            batches.push(sell::Batch::of(&self.events, &self.holds, *event_id, std::slice::from_ref(order)).await?);
        }
        Ok(batches)
    }

    async fn sell_group_once(
        &self,
        user_id: &str,
        key: &str,
        hash: [u8; 32],
        batches: &[sell::Batch],
        orders: &mut BTreeMap<u64, Order>,
    ) -> Result<Result<GroupView>, sqlx::Error> {
        let mut tx = self.db.begin().await?;
        let group_id =
            sqlx::query("INSERT INTO reservation_groups (user_id, idempotency_key, request_hash) VALUES (?, ?, ?)")
                .bind(user_id)
                .bind(key)
                .bind(&hash[..])
                .execute(&mut *tx)
                .await?
                .last_insert_id();
        let mut views = Vec::with_capacity(orders.len());
        for (batch, order) in batches.iter().zip(orders.values_mut()) {
            order.group_id = Some(group_id);
            let one = std::slice::from_ref(order);
            let outcomes = sell::sell(&mut tx, self.payments.as_ref(), batch, one, true).await?;
            for outcome in outcomes {
                match outcome {
                    Ok(view) => views.push(view),
                    // Dropping the transaction rolls everything back.
                    Err(refused) => return Ok(Err(refused)),
                }
            }
        }
        tx.commit().await?;
        Ok(Ok(GroupView::new(group_id, user_id.to_owned(), views)))
    }

    async fn tell_group(&self, view: &GroupView, orders: &BTreeMap<u64, Order>) {
        for (event_id, order) in orders {
            self.events.versions().bump(*event_id).await;
            if let Err(error) = self.holds.finish(*event_id, std::iter::once(order)).await {
                tracing::debug!(%error, group = view.group_id, "sold seats could not be marked");
            }
        }
    }
}
