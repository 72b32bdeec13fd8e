//! Reservations as they are shown.

use serde::Serialize;
use sqlx::{MySqlConnection, QueryBuilder};
use std::collections::HashMap;
use time::OffsetDateTime;
use utoipa::ToSchema;

/// A ticket
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct TicketView {
    /// Identifies the ticket at the door
    pub code: String,
    /// The seat; absent for general admission
    pub seat_id: Option<String>,
    /// `ACTIVE`, `USED` or `CANCELLED`
    pub status: String,
}

impl TicketView {
    /// A ticket that was just sold.
    pub fn new(code: String, seat_id: Option<String>) -> Self {
        Self { code, seat_id, status: "ACTIVE".into() }
    }
}

/// A reservation
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ReservationView {
    /// Identifier
    pub reservation_id: u64,
    /// What for
    pub event_id: u64,
    /// Whose
    pub user_id: String,
    /// Tickets
    pub quantity: u32,
    /// When it was made
    #[serde(with = "time::serde::rfc3339")]
    pub reservation_time: OffsetDateTime,
    /// `CONFIRMED`, `CANCELLED`, `OFFERED` (from the waitlist) or `EXPIRED` (an offer that was not taken)
    pub status: String,
    /// Price of all tickets, in the currency's smallest unit
    pub amount: u64,
    /// `NONE`, `WALLET` or `ON_SITE`
    pub payment_method: String,
    /// Identifies the reservation at the door while it is active
    pub code4: Option<String>,
    /// The group that it belongs to
    pub group_id: Option<u64>,
    /// Until when an offer can be taken
    #[serde(with = "time::serde::rfc3339::option")]
    pub offer_expires_at: Option<OffsetDateTime>,
    /// The tickets
    pub tickets: Vec<TicketView>,
}

const SELECT: &str = "SELECT id, event_id, user_id, quantity, created_at, status, amount, payment_method, active_code4, \
     group_id, offer_expires_at FROM reservations ";

#[derive(sqlx::FromRow)]
struct Row {
    id: u64,
    event_id: u64,
    user_id: String,
    quantity: u32,
    created_at: OffsetDateTime,
    status: String,
    amount: u64,
    payment_method: String,
    active_code4: Option<String>,
    group_id: Option<u64>,
    offer_expires_at: Option<OffsetDateTime>,
}

async fn with_tickets(connection: &mut MySqlConnection, rows: Vec<Row>) -> Result<Vec<ReservationView>, sqlx::Error> {
    let mut tickets: HashMap<u64, Vec<TicketView>> = HashMap::new();
    if !rows.is_empty() {
        let mut sql =
            QueryBuilder::new("SELECT reservation_id, code, seat_id, status FROM tickets WHERE reservation_id IN (");
        let mut ids = sql.separated(", ");
        for row in &rows {
            ids.push_bind(row.id);
        }
        ids.push_unseparated(") ORDER BY reservation_id, number");
        let found: Vec<(u64, String, Option<String>, String)> = sql.build_query_as().fetch_all(connection).await?;
        for (reservation, code, seat_id, status) in found {
            tickets.entry(reservation).or_default().push(TicketView { code, seat_id, status });
        }
    }
    Ok(rows
        .into_iter()
        .map(|row| ReservationView {
            tickets: tickets.remove(&row.id).unwrap_or_default(),
            reservation_id: row.id,
            event_id: row.event_id,
            user_id: row.user_id,
            quantity: row.quantity,
            reservation_time: row.created_at,
            status: row.status,
            amount: row.amount,
            payment_method: row.payment_method,
            code4: row.active_code4,
            group_id: row.group_id,
            offer_expires_at: row.offer_expires_at,
        })
        .collect())
}

/// The reservation with this identifier.
pub async fn by_id(connection: &mut MySqlConnection, id: u64) -> Result<Option<ReservationView>, sqlx::Error> {
    let rows = QueryBuilder::new(SELECT)
        .push("WHERE id = ")
        .push_bind(id)
        .build_query_as()
        .fetch_all(&mut *connection)
        .await?;
    Ok(with_tickets(connection, rows).await?.pop())
}

/// The reservations of a user's group.
pub async fn by_group(
    connection: &mut MySqlConnection,
    user_id: &str,
    group_id: u64,
) -> Result<Vec<ReservationView>, sqlx::Error> {
    let rows = QueryBuilder::new(SELECT)
        .push("WHERE user_id = ")
        .push_bind(user_id)
        .push(" AND group_id = ")
        .push_bind(group_id)
        .push(" ORDER BY id")
        .build_query_as()
        .fetch_all(&mut *connection)
        .await?;
    with_tickets(connection, rows).await
}

/// The active reservation of an event with this 4-digit code.
pub async fn by_code4(
    connection: &mut MySqlConnection,
    event_id: u64,
    code4: &str,
) -> Result<Option<ReservationView>, sqlx::Error> {
    let rows = QueryBuilder::new(SELECT)
        .push("WHERE event_id = ")
        .push_bind(event_id)
        .push(" AND active_code4 = ")
        .push_bind(code4)
        .build_query_as()
        .fetch_all(&mut *connection)
        .await?;
    Ok(with_tickets(connection, rows).await?.pop())
}

/// A user's reservations, the newest first: at most `size`, with identifiers below `before`.
pub async fn by_user(
    connection: &mut MySqlConnection,
    user_id: &str,
    before: u64,
    size: u32,
) -> Result<Vec<ReservationView>, sqlx::Error> {
    let rows = QueryBuilder::new(SELECT)
        .push("WHERE user_id = ")
        .push_bind(user_id)
        .push(" AND id < ")
        .push_bind(before)
        .push(" ORDER BY id DESC LIMIT ")
        .push_bind(size)
        .build_query_as()
        .fetch_all(&mut *connection)
        .await?;
    with_tickets(connection, rows).await
}
