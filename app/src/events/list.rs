//! Searching, sorting and paging through events.

use super::store::{COLUMNS, EventRow};
use super::{EventView, PriceTier};
use crate::accounts::tokens::Caller;
use crate::error::{ApiError, Result};
use crate::http::extract::Query;
use crate::state::AppState;
use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use serde::{Deserialize, Serialize};
use sqlx::{MySql, MySqlPool, QueryBuilder};
use std::collections::HashMap;
use utoipa::{IntoParams, ToSchema};

/// The order of a list.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Sort {
    /// The newest first
    #[default]
    Latest,
    /// The most tickets sold first
    MostReserved,
    /// The next to take place first
    Date,
    /// Only those that the caller has reservations for, the next to take place first; with a Bearer token
    Mine,
}

/// Query parameters of a list.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Deserialize, IntoParams)]
#[serde(rename_all = "camelCase", default)]
#[into_params(parameter_in = Query)]
pub struct ListQuery {
    /// Part of the name or the venue
    #[param(max_length = 100)]
    pub search: String,
    /// First day, such as 2026-12-24
    pub from: Option<time::Date>,
    /// Last day
    pub to: Option<time::Date>,
    /// Only events with tickets left
    pub available: bool,
    /// Order
    #[param(inline)]
    pub sort: Sort,
    /// Page, from 0
    #[param(maximum = 100_000)]
    pub page: u32,
    /// Events per page, 1 to 100
    #[param(minimum = 1, maximum = 100)]
    pub size: u32,
}

impl Default for ListQuery {
    fn default() -> Self {
        Self { search: String::new(), from: None, to: None, available: false, sort: Sort::default(), page: 0, size: 20 }
    }
}

/// A list that is asked for. Who asks matters, and is looked at, only for the list of one's own.
pub struct Asked {
    /// Which list
    pub query: ListQuery,
    /// Whose, if it is somebody's own
    pub owner: Option<String>,
}

impl FromRequestParts<AppState> for Asked {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> Result<Self> {
        let Query(query) = Query::<ListQuery>::from_request_parts(parts, state).await?;
        let owner = match query.sort {
            Sort::Mine => Some(<Caller as FromRequestParts<AppState>>::from_request_parts(parts, state).await?.user_id),
            _ => None,
        };
        Ok(Self { query, owner })
    }
}

/// A page of events.
#[derive(Serialize, Deserialize)]
pub struct EventPage {
    /// The events
    pub events: Vec<EventView>,
    /// Events on all pages
    pub total: u64,
}

fn push_filter(sql: &mut QueryBuilder<MySql>, query: &ListQuery, owner: Option<&str>) {
    sql.push(" FROM events WHERE TRUE");
    if let Some(owner) = owner {
        sql.push(" AND id IN (SELECT event_id FROM reservations WHERE status = 'CONFIRMED' AND user_id = ");
        sql.push_bind(owner.to_owned()).push(")");
    }
    if !query.search.is_empty() {
        let escaped = query.search.replace('\\', "\\\\").replace('%', "\\%").replace('_', "\\_");
        let pattern = format!("%{escaped}%");
        sql.push(" AND (name LIKE ").push_bind(pattern.clone());
        sql.push(" OR venue LIKE ").push_bind(pattern).push(")");
    }
    if let Some(from) = query.from {
        sql.push(" AND event_date >= ").push_bind(from);
    }
    if let Some(after) = query.to.and_then(time::Date::next_day) {
        sql.push(" AND event_date < ").push_bind(after);
    }
    if query.available {
        sql.push(" AND NOT cancelled AND available_seats > 0");
    }
}

/// Reads a page from the database.
pub async fn load(pool: &MySqlPool, query: &ListQuery) -> Result<EventPage> {
    load_for(pool, query, None).await
}

/// Reads a page from the database: of all events, or of those that somebody has reservations for.
pub async fn load_for(pool: &MySqlPool, query: &ListQuery, owner: Option<&str>) -> Result<EventPage> {
    let mut connection = pool.acquire().await?;
    let mut count = QueryBuilder::new("SELECT COUNT(*)");
    push_filter(&mut count, query, owner);
    let total: i64 = count.build_query_scalar().fetch_one(&mut *connection).await?;

    let mut select = QueryBuilder::new("SELECT ");
    select.push(COLUMNS);
    push_filter(&mut select, query, owner);
    select.push(match query.sort {
        Sort::Latest => " ORDER BY id DESC",
        Sort::MostReserved => " ORDER BY total_seats - available_seats DESC, id DESC",
        Sort::Date | Sort::Mine => " ORDER BY event_date, id",
    });
    select.push(" LIMIT ").push_bind(query.size);
    select.push(" OFFSET ").push_bind(u64::from(query.page) * u64::from(query.size));
    let rows: Vec<EventRow> = select.build_query_as().fetch_all(&mut *connection).await?;

    let mut tiers: HashMap<u64, Vec<PriceTier>> = HashMap::new();
    if !rows.is_empty() {
        let mut sql = QueryBuilder::new("SELECT event_id, grade, price FROM price_tiers WHERE event_id IN (");
        let mut ids = sql.separated(", ");
        for row in &rows {
            ids.push_bind(row.id());
        }
        ids.push_unseparated(") ORDER BY price DESC, grade");
        let found: Vec<(u64, String, u64)> = sql.build_query_as().fetch_all(&mut *connection).await?;
        for (id, grade, price) in found {
            tiers.entry(id).or_default().push(PriceTier { grade, price });
        }
    }
    let events = rows
        .into_iter()
        .map(|row| {
            let tiers = tiers.remove(&row.id()).unwrap_or_default();
            row.view(tiers)
        })
        .collect();
    Ok(EventPage { events, total: u64::try_from(total).unwrap_or(0) })
}
