//! The truth: orders for one event in one transaction.

use super::holds::Holds;
use super::read::ReservationView;
use super::record::{Accepted, record};
use super::{Order, PaymentMethod, read, tickets};
use crate::db;
use crate::error::{ApiError, Result};
use crate::events::cache::EventCache;
use crate::events::layout::Layout;
use crate::wallet::PaymentProvider;
use axum::http::StatusCode;
use sqlx::{MySql, MySqlConnection, QueryBuilder};
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use time::OffsetDateTime;

/// The outcome of one order.
pub type Outcome = Result<ReservationView>;

/// What of an event decides a sale.
#[derive(sqlx::FromRow)]
struct Stock {
    seated: bool,
    total_seats: u32,
    available_seats: u32,
    price: u64,
    max_per_order: u32,
    max_per_user: Option<u32>,
    cancelled: bool,
    is_over: bool,
    sale_opens_at: Option<OffsetDateTime>,
    opened: bool,
    now: OffsetDateTime,
    id_step: u64,
}

/// Seats that are asked for at once, at most.
const SEATS: usize = 256;
/// Seats of an event that have a fence, at most, for all of them to be read instead of those that are wanted.
const FENCED: usize = 64;

/// What orders have in common that share a transaction.
pub struct Batch {
    /// For which event they are
    pub event_id: u64,
    /// Its seats, if any are ordered
    pub layout: Option<Arc<Layout>>,
    /// How many tickets are held, by those who order as well
    pub held: u32,
}

impl Batch {
    /// Looks up what of an event these orders need.
    pub async fn of(events: &EventCache, holds: &Holds, event_id: u64, orders: &[Order]) -> Result<Self> {
        let layout = match orders.iter().any(|order| !order.seats.is_empty()) {
            true => Some(db::within(db::LONGEST, events.layout(event_id)).await?),
            false => None,
        };
        // Only who has no hold of their own must leave the held tickets alone.
        let held = match orders.iter().any(|order| order.hold.is_none()) {
            true => holds.held(event_id).await,
            false => 0,
        };
        Ok(Self { event_id, layout, held })
    }
}

/// What was sold of a seat before.
#[derive(Default)]
struct Seat {
    /// The highest fencing number of the sales that were cancelled
    fence: u64,
    taken: bool,
}

/// Carries out what can be carried out of `orders`, in their order, and returns an outcome for each.
///
/// The event's row is locked first, so that sales of one event come one after the other; everything is decided
/// by what is read after that.
/// Who is not `careful` doesn't look whether an order's key was used before, or its held seat sold: both run into a unique
/// key then.
/// An error means that nothing happened, as long as the caller rolls back.
pub async fn sell(
    connection: &mut MySqlConnection,
    payments: &dyn PaymentProvider,
    batch: &Batch,
    orders: &[Order],
    careful: bool,
) -> Result<Vec<Outcome>, sqlx::Error> {
    let event_id = batch.event_id;
    let stock: Option<Stock> = sqlx::query_as(
        "SELECT seated, total_seats, available_seats, price, max_per_order, max_per_user, cancelled, \
         event_date < UTC_TIMESTAMP(3) AS is_over, sale_opens_at, \
         COALESCE(sale_opens_at <= UTC_TIMESTAMP(3), TRUE) AS opened, \
         UTC_TIMESTAMP(3) AS now, CAST(@@auto_increment_increment AS UNSIGNED) AS id_step FROM events WHERE id = ? FOR UPDATE",
    )
    .bind(event_id)
    .fetch_optional(&mut *connection)
    .await?;
    let Some(stock) = stock else {
        return Ok(orders.iter().map(|_| Err(ApiError::not_found("event"))).collect());
    };

    let mut outcomes: Vec<Option<Outcome>> = vec![None; orders.len()];
    if careful {
        replay_known(connection, orders, &mut outcomes, |_, _| true).await?;
    }
    let mut bought = bought_by_user(connection, event_id, orders, stock.max_per_user).await?;
    // Whoever holds a seat finds it unsold, unless Redis was away.
    let look = careful || orders.iter().any(|order| order.hold.is_none());
    let mut seats = sold_seats(connection, event_id, orders, look).await?;
    let mut left = Left { available: stock.available_seats, held: batch.held };

    let mut accepted: Vec<Accepted> = Vec::with_capacity(orders.len());
    let mut first_with: HashMap<(&str, &str), usize> = HashMap::new();
    let mut repeats: Vec<(usize, usize)> = Vec::new();
    for (index, order) in orders.iter().enumerate() {
        if outcomes[index].is_some() {
            continue;
        }
        let first = *first_with.entry((&order.user_id, &order.idempotency_key)).or_insert(index);
        if first != index {
            repeats.push((index, first));
            continue;
        }
        let amount = match check(order, &stock, batch.layout.as_deref(), &bought, &seats, &left) {
            Ok(amount) => amount,
            Err(error) => {
                outcomes[index] = Some(Err(error));
                continue;
            }
        };
        let payment = match (amount, order.payment, order.box_office) {
            (0, _, _) => PaymentMethod::None,
            (_, Some(PaymentMethod::OnSite) | None, true) => PaymentMethod::OnSite,
            _ => PaymentMethod::Wallet,
        };
        let receipt = match payment {
            PaymentMethod::Wallet => payments.charge(connection, &order.user_id, amount).await?,
            _ => None,
        };
        if payment == PaymentMethod::Wallet && receipt.is_none() {
            outcomes[index] = Some(Err(ApiError::new(
                StatusCode::PAYMENT_REQUIRED,
                "insufficient_balance",
                format!("{amount} are needed; charge the wallet first"),
            )));
            continue;
        }
        left.take(order);
        *bought.entry(order.user_id.as_str()).or_default() += order.quantity;
        for seat in &order.seats {
            seats.entry(seat).or_default().taken = true;
        }
        accepted.push(Accepted { index, order, amount, payment, receipt, code4: None });
    }
    if !accepted.is_empty() {
        let codes = tickets::free_codes4(connection, event_id, stock.total_seats, accepted.len()).await?;
        for (sale, code4) in accepted.iter_mut().zip(codes) {
            sale.code4 = Some(code4);
        }
        for (index, view) in record(connection, payments, event_id, (stock.now, stock.id_step), &accepted).await? {
            outcomes[index] = Some(Ok(view));
        }
    }
    if !careful {
        // A request that was carried out before may fail now, since it used up what it needs.
        replay_known(connection, orders, &mut outcomes, |order, outcome| {
            order.client_key && matches!(outcome, Some(Err(_)))
        })
        .await?;
    }
    for (repeat, first) in repeats {
        outcomes[repeat] = if orders[repeat].request_hash == orders[first].request_hash {
            outcomes[first].clone()
        } else {
            Some(Err(key_reused()))
        };
    }
    Ok(outcomes
        .into_iter()
        .map(|outcome| outcome.unwrap_or_else(|| Err(ApiError::internal("an order without an outcome"))))
        .collect())
}

/// Tickets that are left while orders are accepted one by one.
struct Left {
    available: u32,
    held: u32,
}

impl Left {
    fn for_order(&self, order: &Order) -> u32 {
        if order.hold.is_some() { self.available } else { self.available.saturating_sub(self.held) }
    }

    fn take(&mut self, order: &Order) {
        self.available -= order.quantity;
        if order.hold.is_some() {
            self.held = self.held.saturating_sub(order.quantity);
        }
    }
}

/// A key that stands for a different request.
pub fn key_reused() -> ApiError {
    ApiError::invalid("idempotency_key_reused", "this Idempotency-Key was used for a different request")
}

/// The price of an order that can be carried out.
fn check(
    order: &Order,
    stock: &Stock,
    layout: Option<&Layout>,
    bought: &HashMap<&str, u32>,
    seats: &HashMap<&str, Seat>,
    left: &Left,
) -> Result<u64> {
    if stock.cancelled {
        return Err(ApiError::conflict("event_cancelled", "the event does not take place"));
    }
    if stock.is_over {
        return Err(ApiError::conflict("event_over", "the event has taken place"));
    }
    if !stock.opened && !order.box_office {
        let opens = stock.sale_opens_at.map(|time| time.to_string()).unwrap_or_default();
        return Err(ApiError::conflict("sale_not_open", format!("the sale opens at {opens}")));
    }
    if !(1..=stock.max_per_order).contains(&order.quantity) {
        return Err(ApiError::invalid("bad_quantity", format!("quantity must be from 1 to {}", stock.max_per_order)));
    }
    if stock.seated == order.seats.is_empty() {
        let detail =
            if stock.seated { "this event has numbered seats: say which" } else { "this event has no numbered seats" };
        return Err(ApiError::invalid("bad_seat", detail));
    }
    let mut amount = 0;
    for id in &order.seats {
        let price = layout.and_then(|layout| layout.price(id));
        amount += price.ok_or_else(|| ApiError::invalid("bad_seat", format!("there is no seat {id}")))?;
        // A fence below the seat's says that this hold is older than a sale of the same seat.
        let older = |fence| order.hold.as_ref().is_some_and(|hold| hold.fence < fence);
        if seats.get(id.as_str()).is_some_and(|seat| seat.taken || older(seat.fence)) {
            return Err(ApiError::conflict("seat_taken", format!("seat {id} is taken")));
        }
    }
    if order.seats.is_empty() {
        amount = stock.price * u64::from(order.quantity);
    }
    if left.for_order(order) < order.quantity {
        return Err(ApiError::conflict("sold_out", format!("{} tickets are left", left.for_order(order))));
    }
    let has = bought.get(order.user_id.as_str()).copied().unwrap_or(0);
    if let Some(limit) = stock.max_per_user.filter(|limit| has + order.quantity > *limit) {
        return Err(ApiError::conflict(
            "user_limit",
            format!("one user may have {limit} tickets for this event, and has {has}"),
        ));
    }
    Ok(amount)
}

/// Gives those of the orders that are `asked` for, and whose keys were used before, the outcome that they had then.
async fn replay_known(
    connection: &mut MySqlConnection,
    orders: &[Order],
    outcomes: &mut [Option<Outcome>],
    asked: impl Fn(&Order, &Option<Outcome>) -> bool,
) -> Result<(), sqlx::Error> {
    let asked: Vec<usize> = (0..orders.len()).filter(|index| asked(&orders[*index], &outcomes[*index])).collect();
    if asked.is_empty() {
        return Ok(());
    }
    let mut keys: Vec<usize> = asked.clone();
    db::pad(&mut keys);
    let mut sql = QueryBuilder::new("SELECT id, user_id, idempotency_key, request_hash FROM reservations WHERE ");
    let mut terms = sql.separated(" OR ");
    for index in keys {
        terms.push("(user_id = ").push_bind_unseparated(&orders[index].user_id);
        terms.push_unseparated(" AND idempotency_key = ").push_bind_unseparated(&orders[index].idempotency_key);
        terms.push_unseparated(")");
    }
    let rows: Vec<(u64, String, String, Vec<u8>)> = sql.build_query_as().fetch_all(&mut *connection).await?;
    for (id, user, key, hash) in rows {
        for index in asked.iter().copied() {
            let order = &orders[index];
            if (&order.user_id, &order.idempotency_key) == (&user, &key) {
                outcomes[index] = Some(replay(connection, id, &hash, order).await?);
            }
        }
    }
    Ok(())
}

async fn replay(connection: &mut MySqlConnection, id: u64, hash: &[u8], order: &Order) -> Result<Outcome, sqlx::Error> {
    if hash != order.request_hash {
        return Ok(Err(key_reused()));
    }
    Ok(read::by_id(connection, id).await?.ok_or_else(|| ApiError::not_found("reservation")))
}

async fn bought_by_user<'a>(
    connection: &mut MySqlConnection,
    event_id: u64,
    orders: &'a [Order],
    limit: Option<u32>,
) -> Result<HashMap<&'a str, u32>, sqlx::Error> {
    if limit.is_none() {
        return Ok(HashMap::new());
    }
    let mut sql = QueryBuilder::new(
        "SELECT user_id, CAST(SUM(quantity) AS UNSIGNED) FROM reservations FORCE INDEX (reservations_idempotency) \
         WHERE status IN ('CONFIRMED', 'OFFERED') AND event_id = ",
    );
    sql.push_bind(event_id).push(" AND user_id IN (");
    let mut list: Vec<&str> = orders.iter().map(|order| order.user_id.as_str()).collect();
    db::pad(&mut list);
    let mut users = sql.separated(", ");
    for user in list {
        users.push_bind(user);
    }
    users.push_unseparated(") GROUP BY user_id");
    let rows: Vec<(String, u64)> = sql.build_query_as().fetch_all(connection).await?;
    let by_user: HashMap<String, u64> = rows.into_iter().collect();
    Ok(orders
        .iter()
        .filter_map(|order| {
            let bought = by_user.get(&order.user_id)?;
            Some((order.user_id.as_str(), u32::try_from(*bought).unwrap_or(u32::MAX)))
        })
        .collect())
}

/// What was sold before of the wanted seats; whether they are sold now only where `taken` says so.
async fn sold_seats<'a>(
    connection: &mut MySqlConnection,
    event_id: u64,
    orders: &'a [Order],
    taken: bool,
) -> Result<HashMap<&'a str, Seat>, sqlx::Error> {
    let wanted: HashSet<&'a str> = orders.iter().flat_map(|order| &order.seats).map(String::as_str).collect();
    let mut list: Vec<&str> = wanted.iter().copied().collect();
    list.sort_unstable();
    let mut seats: HashMap<&'a str, Seat> = HashMap::new();
    if !taken && !list.is_empty() {
        // Few seats are ever given back.
        let rows: Vec<(String, u64)> =
            sqlx::query_as("SELECT seat_id, fence FROM seat_fences WHERE event_id = ? LIMIT ?")
                .bind(event_id)
                .bind(FENCED as u64)
                .fetch_all(&mut *connection)
                .await?;
        if rows.len() < FENCED {
            for (id, fence) in rows {
                if let Some(id) = wanted.get(id.as_str()) {
                    seats.entry(*id).or_default().fence = fence;
                }
            }
            return Ok(seats);
        }
    }
    for some in list.chunks(SEATS) {
        let mut some = some.to_vec();
        db::pad(&mut some);
        let mut sql = QueryBuilder::new("SELECT seat_id, fence FROM seat_fences WHERE event_id = ");
        push_seats(&mut sql, event_id, "seat_id", &some);
        if taken {
            // The index is named because the optimiser, with figures from before the sale began, may read all tickets.
            sql.push(
                " UNION ALL SELECT active_seat, CAST(NULL AS UNSIGNED) FROM tickets FORCE INDEX (tickets_active_seat) \
                 WHERE event_id = ",
            );
            push_seats(&mut sql, event_id, "active_seat", &some);
        }
        let rows: Vec<(String, Option<u64>)> = sql.build_query_as().fetch_all(&mut *connection).await?;
        for (id, fence) in rows {
            let Some(id) = wanted.get(id.as_str()) else { continue };
            let seat = seats.entry(*id).or_default();
            match fence {
                Some(fence) => seat.fence = fence,
                None => seat.taken = true,
            }
        }
    }
    Ok(seats)
}

fn push_seats(sql: &mut QueryBuilder<MySql>, event_id: u64, column: &str, seats: &[&str]) {
    sql.push_bind(event_id).push(" AND ").push(column).push(" IN (");
    let mut values = sql.separated(", ");
    for seat in seats {
        values.push_bind(*seat);
    }
    values.push_unseparated(")");
}
