//! The relay: takes messages out of the outbox and passes them on, at least once and each to one relay at a time.

use super::messaging::Failure;
use super::{ATTEMPTS, Message, bulk};
use crate::db;
use crate::events::settle;
use crate::sales::requests;
use crate::state::AppState;
use crate::waitlist;
use sqlx::{MySql, MySqlConnection, QueryBuilder, Transaction};
use std::collections::BTreeMap;
use std::time::Duration;

/// Messages that are taken at once.
const BATCH: u32 = 96;
/// Messages that a batch of SNS holds.
const PUBLISHED: usize = 10;
/// How long messages wait that failed, or that nobody took.
const PAUSE: Duration = Duration::from_millis(500);
/// How long they wait at most while nobody takes any.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

#[derive(sqlx::FromRow)]
struct Row {
    id: u64,
    kind: String,
    event_id: u64,
    payload: String,
    attempts: u32,
    traceparent: Option<String>,
}

/// What became of a batch.
enum Round {
    /// There was none
    Idle,
    /// All of it was passed on
    Done,
    /// Some of it will be tried again
    Failed,
    /// Nobody took it, or the rest of it
    Away,
}

/// Relays until the task is dropped.
pub async fn run(state: &AppState) {
    let mut away = 0;
    loop {
        let round = once(state).await;
        away = if matches!(round, Ok(Round::Away)) { away + 1 } else { 0 };
        let pause = match round {
            Ok(Round::Idle) => Duration::from_millis(200),
            Ok(Round::Done) => Duration::ZERO,
            Ok(Round::Failed) => PAUSE,
            Ok(Round::Away) => backoff(away),
            Err(error) => {
                tracing::debug!(%error, "the outbox waits");
                Duration::from_secs(1)
            }
        };
        tokio::time::sleep(pause).await;
    }
}

/// The pause after so many rounds in which nobody took anything: twice as long with each, up to a limit.
fn backoff(rounds: u32) -> Duration {
    PAUSE.saturating_mul(1 << rounds.saturating_sub(1).min(16)).min(LONGEST_PAUSE)
}

/// Passes one batch on. The rows stay locked until they are deleted: other relays skip them, and when this process dies in
/// between, they are there again. What takes its time in between has limits of its own.
async fn once(state: &AppState) -> Result<Round, sqlx::Error> {
    let (tx, rows) = db::within(db::LONGEST, take(state)).await?;
    if rows.is_empty() {
        return Ok(Round::Idle);
    }
    let messages: Vec<Message> = rows.iter().map(Row::message).collect();
    if tokio::time::timeout(db::LONGEST, repair(state, &messages)).await.is_err() {
        tracing::debug!("what Redis knows is not repaired");
    }
    let results = match publish(state, &messages).await {
        Some(results) => results,
        None => {
            let results = bulk::handle(state, &messages).await.into_iter();
            results.map(|result| result.map_err(|error| Failure::Refused(error.to_string()))).collect()
        }
    };
    db::within(db::LONGEST, record(tx, &rows, results)).await
}

async fn take(state: &AppState) -> Result<(Transaction<'static, MySql>, Vec<Row>), sqlx::Error> {
    let mut tx = state.db.begin().await?;
    let rows = sqlx::query_as(
        "SELECT id, kind, event_id, payload, attempts, traceparent FROM outbox ORDER BY id LIMIT ? FOR UPDATE SKIP LOCKED",
    )
    .bind(BATCH)
    .fetch_all(&mut *tx)
    .await?;
    Ok((tx, rows))
}

/// Deletes what was passed on, and counts what failed.
async fn record(
    mut tx: Transaction<'static, MySql>,
    rows: &[Row],
    results: Vec<Result<(), Failure>>,
) -> Result<Round, sqlx::Error> {
    let (mut done, mut round) = (Vec::new(), Round::Done);
    for (row, result) in rows.iter().zip(results) {
        match result {
            Ok(()) => done.push(row.id),
            // It says nothing about the message: a topic that is away for an hour is to cost none.
            Err(Failure::Away(error)) => {
                if !matches!(round, Round::Away) {
                    tracing::warn!(error, "messages wait until they can be published");
                }
                round = Round::Away;
            }
            Err(Failure::Refused(error)) if row.attempts + 1 >= ATTEMPTS => {
                tracing::error!(id = row.id, kind = row.kind, error, "a message is kept aside");
                metrics::counter!("ticketing_dead_letters_total").increment(1);
                keep_aside(&mut tx, row, &error).await?;
                done.push(row.id);
            }
            Err(Failure::Refused(error)) => {
                tracing::warn!(id = row.id, kind = row.kind, error, "a message will be tried again");
                if matches!(round, Round::Done) {
                    round = Round::Failed;
                }
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
    Ok(round)
}

/// Publishes and returns a result for each; none when there is no topic. Where one batch of SNS is not taken, the rest need
/// not wait for the same.
async fn publish(state: &AppState, messages: &[Message]) -> Option<Vec<Result<(), Failure>>> {
    let mut results = Vec::with_capacity(messages.len());
    for some in messages.chunks(PUBLISHED) {
        results.extend(state.messaging.publish(some).await?);
        if matches!(results.last(), Some(Err(Failure::Away(_)))) {
            break;
        }
    }
    results.resize_with(messages.len(), || Err(Failure::Away("not tried".into())));
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_up_to_a_limit() {
        let pauses: Vec<u128> = (1..9).map(|rounds| backoff(rounds).as_millis()).collect();
        assert_eq!(pauses, [500, 1000, 2000, 4000, 8000, 16_000, 30_000, 30_000]);
        assert_eq!(backoff(u32::MAX), LONGEST_PAUSE);
    }
}
