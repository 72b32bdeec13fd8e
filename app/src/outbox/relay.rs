//! The relay: takes messages out of the outbox and passes them on, at least once and each to one relay at a time.

use super::{Message, bulk};
use crate::db;
use crate::events::settle;
use crate::sales::requests;
use crate::state::AppState;
use crate::waitlist;
use sqlx::{MySqlConnection, QueryBuilder};
use std::collections::BTreeMap;
use std::time::Duration;

/// Messages that are taken at once.
const BATCH: u32 = 96;
/// Messages that a batch of SNS holds.
const PUBLISHED: usize = 10;
/// Attempts before a message is kept aside.
const ATTEMPTS: u32 = 3;

#[derive(sqlx::FromRow)]
struct Row {
    id: u64,
    kind: String,
    event_id: u64,
    payload: String,
    attempts: u32,
    traceparent: Option<String>,
}

/// Relays until the task is dropped.
pub async fn run(state: &AppState) {
    loop {
        let pause = match once(state).await {
            Ok(0) => Duration::from_millis(200),
            Ok(_) => Duration::ZERO,
            Err(error) => {
                tracing::debug!(%error, "the outbox waits");
                Duration::from_secs(1)
            }
        };
        tokio::time::sleep(pause).await;
    }
}

/// Passes one batch on and returns its size. The rows stay locked until they are deleted: other relays skip them,
/// and when this process dies in between, they are there again.
async fn once(state: &AppState) -> Result<usize, sqlx::Error> {
    let mut tx = state.db.begin().await?;
    let rows: Vec<Row> = sqlx::query_as(
        "SELECT id, kind, event_id, payload, attempts, traceparent FROM outbox ORDER BY id LIMIT ? FOR UPDATE SKIP LOCKED",
    )
    .bind(BATCH)
    .fetch_all(&mut *tx)
    .await?;
    if rows.is_empty() {
        return Ok(0);
    }
    let messages: Vec<Message> = rows.iter().map(Row::message).collect();
    repair(state, &messages).await;
    let results = match publish(state, &messages).await {
        Some(results) => results,
        None => {
            let results = bulk::handle(state, &messages).await.into_iter();
            results.map(|result| result.map_err(|error| error.to_string())).collect()
        }
    };
    let mut done = Vec::new();
    for (row, result) in rows.iter().zip(results) {
        match result {
            Ok(()) => done.push(row.id),
            Err(error) if row.attempts + 1 >= ATTEMPTS => {
                tracing::error!(id = row.id, kind = row.kind, error, "a message is kept aside");
                metrics::counter!("ticketing_dead_letters_total").increment(1);
                keep_aside(&mut tx, row, &error).await?;
                done.push(row.id);
            }
            Err(error) => {
                tracing::warn!(id = row.id, kind = row.kind, error, "a message will be tried again");
                sqlx::query("UPDATE outbox SET attempts = attempts + 1 WHERE id = ?")
                    .bind(row.id)
                    .execute(&mut *tx)
                    .await?;
            }
        }
    }
    if !done.is_empty() {
        let mut sql = QueryBuilder::new("DELETE FROM outbox WHERE id IN (");
        let mut ids = sql.separated(", ");
        let mut padded = done.clone();
        db::pad(&mut padded);
        for id in padded {
            ids.push_bind(id);
        }
        ids.push_unseparated(")");
        sql.build().execute(&mut *tx).await?;
    }
    tx.commit().await?;
    metrics::counter!("ticketing_messages_total").increment(done.len() as u64);
    // Those that failed wait a little.
    if done.len() < rows.len() {
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    Ok(rows.len())
}

/// Publishes and returns a result for each; none when there is no topic.
async fn publish(state: &AppState, messages: &[Message]) -> Option<Vec<Result<(), String>>> {
    let mut results = Vec::with_capacity(messages.len());
    for some in messages.chunks(PUBLISHED) {
        results.extend(state.messaging.publish(some).await?);
    }
    Some(results)
}

impl Row {
    fn message(&self) -> Message {
        Message {
            id: self.id,
            kind: self.kind.clone(),
            event_id: self.event_id,
            payload: serde_json::from_str(&self.payload).unwrap_or_default(),
            traceparent: self.traceparent.clone(),
        }
    }
}

async fn keep_aside(connection: &mut MySqlConnection, row: &Row, error: &str) -> Result<(), sqlx::Error> {
    if row.kind == requests::REQUESTED {
        requests::give_up(connection, &row.message()).await?;
    }
    sqlx::query("INSERT INTO dead_letters (id, kind, event_id, payload, error) VALUES (?, ?, ?, ?, ?)")
        .bind(row.id)
        .bind(&row.kind)
        .bind(row.event_id)
        .bind(&row.payload)
        .bind(error.chars().take(1000).collect::<String>())
        .execute(connection)
        .await?;
    Ok(())
}

/// Who sold or cancelled told Redis already, unless the process died or Redis was away: tell it again.
async fn repair(state: &AppState, messages: &[Message]) {
    let mut sold: BTreeMap<u64, Vec<String>> = BTreeMap::new();
    let mut freed: BTreeMap<u64, Vec<String>> = BTreeMap::new();
    for message in messages {
        let frees = ["reservation.cancelled", waitlist::EXPIRED, settle::CANCELLED].contains(&message.kind.as_str());
        let seats = if frees { &mut freed } else { &mut sold };
        seats.entry(message.event_id).or_default().extend(message.seats());
    }
    for (event_id, seats) in sold {
        state.events.versions().bump(event_id).await;
        if let Err(error) = state.sales.holds.assure_sold(event_id, &seats).await {
            tracing::debug!(%error, event_id, "seat marks are left as they are");
        }
    }
    for (event_id, seats) in freed {
        state.sales.stock_freed(event_id, &seats).await;
    }
}
