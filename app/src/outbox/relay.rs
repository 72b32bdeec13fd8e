//! The relay: takes messages out of the outbox and passes them on, at least once and each to one relay at a time.

use super::messaging::Failure;
use super::{ATTEMPTS, MESSAGES, Message, bulk};
use crate::db;
use crate::events::settle;
use crate::sales::requests;
use crate::state::AppState;
use crate::waitlist;
use serde_json::Value;
use sqlx::{MySql, MySqlConnection, QueryBuilder, Transaction};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// Rows that are taken at once.
const BATCH: u32 = 32;
/// Messages that a batch of SNS holds.
const PUBLISHED: usize = 10;
/// How long messages may gather that are few: a round costs something, however many there are in it.
const GATHERING: Duration = Duration::from_millis(200);
/// How long messages wait that failed, or that nobody took.
const PAUSE: Duration = Duration::from_millis(500);
/// How long they wait at most while nobody takes any.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// How often to look for what instances write that don't know of batches yet.
const ADOPTED: Duration = Duration::from_secs(1);

/// Messages of one kind, about one event.
#[derive(sqlx::FromRow)]
struct Row {
    id: u64,
    first_id: Option<u64>,
    kind: String,
    event_id: u64,
    payloads: String,
    attempts: u32,
    traceparent: Option<String>,
}

/// What became of a batch.
enum Round {
    /// All of it was passed on, if there was any
    Done,
    /// That too, and there may be more already
    Full,
    /// Some of it will be tried again
    Failed,
    /// Nobody took it, or the rest of it
    Away,
}

/// Relays until the task is dropped.
pub async fn run(state: &AppState) {
    let (mut away, mut adopted) = (0, None);
    loop {
        if adopted.is_none_or(|last: Instant| last.elapsed() > ADOPTED) {
            let more = db::within(db::LONGEST, adopt(state)).await.unwrap_or_else(|error| {
                tracing::debug!(%error, "an earlier release's messages wait");
                false
            });
            adopted = (!more).then(Instant::now);
        }
        let round = once(state).await;
        away = if matches!(round, Ok(Round::Away)) { away + 1 } else { 0 };
        let pause = match round {
            Ok(Round::Done) => GATHERING,
            Ok(Round::Full) => Duration::ZERO,
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

/// Takes over what instances of an earlier release have written, with a row for each message. Tells whether there may be
/// more of it.
async fn adopt(state: &AppState) -> Result<bool, sqlx::Error> {
    let mut tx = state.db.begin().await?;
    let ids: Vec<u64> = sqlx::query_scalar("SELECT id FROM outbox ORDER BY id LIMIT ? FOR UPDATE SKIP LOCKED")
        .bind(BATCH)
        .fetch_all(&mut *tx)
        .await?;
    for id in &ids {
        super::take_back(&mut tx, "outbox", *id).await?;
    }
    tx.commit().await?;
    Ok(ids.len() == BATCH as usize)
}

/// Passes one batch on. The rows stay locked until they are deleted: other relays skip them, and when this process dies in
/// between, they are there again. What takes its time in between has limits of its own.
async fn once(state: &AppState) -> Result<Round, sqlx::Error> {
    let (tx, rows) = db::within(db::LONGEST, take(state)).await?;
    if rows.is_empty() {
        return Ok(Round::Done);
    }
    let parts: Vec<Vec<Message>> = rows.iter().map(Row::messages).collect();
    let rows: Vec<(Row, usize)> = rows.into_iter().zip(parts.iter().map(Vec::len)).collect();
    let messages: Vec<Message> = parts.into_iter().flatten().collect();
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
    match db::within(db::LONGEST, record(tx, &rows, &messages, results)).await? {
        Round::Done if rows.len() == BATCH as usize => Ok(Round::Full),
        round => Ok(round),
    }
}

async fn take(state: &AppState) -> Result<(Transaction<'static, MySql>, Vec<Row>), sqlx::Error> {
    let mut tx = state.db.begin().await?;
    let rows = sqlx::query_as(
        "SELECT id, first_id, kind, event_id, payloads, attempts, traceparent FROM outbox_batches \
         ORDER BY id LIMIT ? FOR UPDATE SKIP LOCKED",
    )
    .bind(BATCH)
    .fetch_all(&mut *tx)
    .await?;
    Ok((tx, rows))
}

/// Deletes the rows of what was passed on. What failed of them gets a row of its own.
async fn record(
    mut tx: Transaction<'static, MySql>,
    rows: &[(Row, usize)],
    messages: &[Message],
    results: Vec<Result<(), Failure>>,
) -> Result<Round, sqlx::Error> {
    let (mut done, mut passed, mut round) = (Vec::new(), 0, Round::Done);
    let mut outcomes = messages.iter().zip(results);
    for (row, size) in rows {
        let outcomes: Vec<_> = outcomes.by_ref().take(*size).collect();
        let stays = *size > 0 && outcomes.iter().all(|(_, result)| matches!(result, Err(Failure::Away(_))));
        if !stays {
            done.push(row.id);
        }
        if *size == 0 {
            tracing::error!(id = row.id, kind = row.kind, "a row of the outbox cannot be read and is kept aside");
            put_aside(&mut tx, row.first(), &row.kind, row.event_id, &row.payloads, "it cannot be read").await?;
        }
        for (message, result) in outcomes {
            match result {
                Ok(()) => passed += 1,
                // It says nothing about the message: a topic that is away for an hour is to cost none.
                Err(Failure::Away(error)) => {
                    if !matches!(round, Round::Away) {
                        tracing::warn!(error, "messages wait until they can be published");
                    }
                    round = Round::Away;
                    if !stays {
                        write_again(&mut tx, message, row.attempts).await?;
                    }
                }
                Err(Failure::Refused(error)) if row.attempts + 1 >= ATTEMPTS => {
                    tracing::error!(id = message.id, kind = message.kind, error, "a message is kept aside");
                    keep_aside(&mut tx, message, &error).await?;
                }
                Err(Failure::Refused(error)) => {
                    tracing::warn!(id = message.id, kind = message.kind, error, "a message will be tried again");
                    if matches!(round, Round::Done) {
                        round = Round::Failed;
                    }
                    write_again(&mut tx, message, row.attempts + 1).await?;
                }
            }
        }
    }
    if !done.is_empty() {
        db::pad(&mut done);
        let mut sql = QueryBuilder::new("DELETE FROM outbox_batches WHERE id IN (");
        let mut ids = sql.separated(", ");
        for id in done {
            ids.push_bind(id);
        }
        ids.push_unseparated(")");
        sql.build().execute(&mut *tx).await?;
    }
    tx.commit().await?;
    metrics::counter!("ticketing_messages_total").increment(passed);
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
    /// The identifier of the first message.
    fn first(&self) -> u64 {
        self.first_id.unwrap_or(self.id * MESSAGES as u64)
    }

    /// None where it cannot be read.
    fn messages(&self) -> Vec<Message> {
        let payloads: Vec<Value> = serde_json::from_str(&self.payloads).unwrap_or_default();
        let message = |(id, payload)| Message {
            id,
            kind: self.kind.clone(),
            event_id: self.event_id,
            payload,
            traceparent: self.traceparent.clone(),
        };
        (self.first()..).zip(payloads).map(message).collect()
    }
}

async fn write_again(connection: &mut MySqlConnection, message: &Message, attempts: u32) -> Result<(), sqlx::Error> {
    sqlx::query(
        "INSERT INTO outbox_batches (first_id, kind, event_id, payloads, attempts, traceparent) VALUES (?, ?, ?, ?, ?, ?)",
    )
    .bind(message.id)
    .bind(&message.kind)
    .bind(message.event_id)
    .bind(format!("[{}]", message.payload))
    .bind(attempts)
    .bind(&message.traceparent)
    .execute(connection)
    .await?;
    Ok(())
}

async fn keep_aside(connection: &mut MySqlConnection, message: &Message, error: &str) -> Result<(), sqlx::Error> {
    if message.kind == requests::REQUESTED {
        requests::give_up(connection, message).await?;
    }
    let payload = message.payload.to_string();
    put_aside(connection, message.id, &message.kind, message.event_id, &payload, error).await
}

async fn put_aside(
    connection: &mut MySqlConnection,
    id: u64,
    kind: &str,
    event_id: u64,
    payload: &str,
    error: &str,
) -> Result<(), sqlx::Error> {
    metrics::counter!("ticketing_dead_letters_total").increment(1);
    sqlx::query("INSERT INTO dead_letters (id, kind, event_id, payload, error) VALUES (?, ?, ?, ?, ?)")
        .bind(id)
        .bind(kind)
        .bind(event_id)
        .bind(payload)
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
