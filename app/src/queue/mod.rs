//! The waiting queue of an event: who comes first gets in first, as fast as the sale can take them.
//!
//! Those who come before the sale opens draw lots, so that nobody gains by coming early or by many clicks. Who is
//! let in gets a signed pass, which holds and sales ask for. The place inside is freed by the sale or by time.

mod handlers;

pub use handlers::{QueueView, routes};

use crate::accounts::Role;
use crate::accounts::tokens::{Caller, Purpose, Tokens};
use crate::db;
use crate::error::{ApiError, Result};
use crate::events::EventView;
use crate::kv::{Kv, KvError};
use crate::outbox;
use crate::state::AppState;
use redis::Script;
use serde::{Deserialize, Serialize};
use serde_json::json;
use sqlx::{MySqlPool, QueryBuilder};
use std::collections::HashSet;
use std::sync::{Arc, LazyLock};
use std::time::Duration;
use time::OffsetDateTime;
use tokio::sync::watch;

/// The kind of message that tells somebody that it is their turn.
pub const READY: &str = "queue.ready";

static SCRIPT: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("queue.lua")));

/// How often people are let in.
const TICK: Duration = Duration::from_millis(250);
/// How often the settings are read again from the database.
const RELOAD: Duration = Duration::from_secs(1);
/// How long a place inside is kept for somebody who does not come for the pass.
const FETCH_MILLISECONDS: u64 = 60_000;
/// How long a pass is good for.
const PASS_SECONDS: u64 = 600;

/// What a pass says.
#[derive(Serialize, Deserialize)]
struct Pass {
    event: u64,
    user: String,
    jti: String,
}

/// The script's reply: state, two numbers, the admission rate.
type Reply = (String, i64, i64, String);

/// Where somebody is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Place {
    /// Not in the queue
    Absent,
    /// In the queue, with so many people ahead; who waits is let in at this rate per second
    Waiting { ahead: u64, rate: f64 },
    /// Let in, until this Unix millisecond
    Inside { until: i64 },
}

/// The queues. Cheap to clone.
#[derive(Clone)]
pub struct Queue {
    db: MySqlPool,
    kv: Kv,
}

#[derive(sqlx::FromRow)]
struct Settings {
    id: u64,
    queue_per_second: f64,
    queue_max_inside: u32,
    sale_opens_at: Option<OffsetDateTime>,
}

fn opening(time: Option<OffsetDateTime>) -> i64 {
    time.map_or(0, milliseconds)
}

fn milliseconds(time: OffsetDateTime) -> i64 {
    (time.unix_timestamp_nanos() / 1_000_000) as i64
}

impl Queue {
    /// On the database with the settings and the Redis with the queues.
    pub fn new(db: MySqlPool, kv: Kv) -> Self {
        Self { db, kv }
    }

    fn call(event: u64, command: &str, user: &str) -> redis::ScriptInvocation<'static> {
        let mut call = SCRIPT.prepare_invoke();
        for part in ["waiting", "inside", "bucket"] {
            call.key(format!("queue:{{{event}}}:{part}"));
        }
        call.arg(command).arg(user);
        call
    }

    fn place(reply: Reply) -> Place {
        let (state, ahead, until, rate) = reply;
        match state.as_str() {
            "inside" => Place::Inside { until },
            "waiting" => Place::Waiting { ahead: u64::try_from(ahead).unwrap_or(0), rate: rate.parse().unwrap_or(0.0) },
            _ => Place::Absent,
        }
    }

    /// Takes a place; who has one keeps it. None when the event is over.
    pub async fn enter(&self, event: &EventView, user: &str) -> Result<Option<Place>, KvError> {
        let lot: f64 = rand::random_range(1e-9..1.0);
        let mut call = Self::call(event.event_id, "enter", user);
        call.arg(format!("{lot:.17}")).arg(opening(event.sale_opens_at)).arg(milliseconds(event.event_date));
        let reply: Reply = self.kv.script(&call).await?;
        Ok((reply.0 != "over").then(|| Self::place(reply)))
    }

    /// Where somebody is. With `fetch` a place inside lasts its full time from the first such call on.
    pub async fn place_of(&self, event: u64, user: &str, fetch: bool) -> Result<Place, KvError> {
        let mut call = Self::call(event, "state", user);
        call.arg(if fetch { PASS_SECONDS * 1000 } else { 0 });
        self.kv.script(&call).await.map(Self::place)
    }

    /// Gives a place up. False when there was none.
    pub async fn leave(&self, event: u64, user: &str) -> Result<bool, KvError> {
        let (state, ..): Reply = self.kv.script(&Self::call(event, "leave", user)).await?;
        Ok(state == "left")
    }

    /// People waiting and inside, and how many are let in per second while others wait.
    pub async fn counts(&self, event: u64) -> Result<(u64, u64, f64), KvError> {
        let (_, waiting, inside, rate): Reply = self.kv.script(&Self::call(event, "counts", "")).await?;
        let number = |n| u64::try_from(n).unwrap_or(0);
        Ok((number(waiting), number(inside), rate.parse().unwrap_or(0.0)))
    }

    /// A pass for somebody who is inside.
    fn pass(tokens: &Tokens, event: u64, user: &str, until: i64) -> Result<String> {
        let body = Pass { event, user: user.to_owned(), jti: crate::random::code(16) };
        tokens.sign(Purpose::Pass, until / 1000, body)
    }

    /// 403 unless the caller may buy: the event has no queue, or the caller has a pass for it and is still inside. Without
    /// Redis the signature alone counts. The box office does not queue.
    pub async fn check_pass(
        &self,
        tokens: &Tokens,
        event: &EventView,
        caller: &Caller,
        mut passes: impl Iterator<Item = &str>,
    ) -> Result<()> {
        if !event.queue.enabled || caller.role == Role::Admin {
            return Ok(());
        }
        let refused =
            || ApiError::forbidden("pass_needed", "this event has a waiting queue: enter it and come with its pass");
        let is_good = |pass: &str| match tokens.verify::<Pass>(Purpose::Pass, pass) {
            Ok(pass) => pass.event == event.event_id && pass.user == caller.user_id,
            Err(_) => false,
        };
        if !passes.any(is_good) {
            return Err(refused());
        }
        match self.place_of(event.event_id, &caller.user_id, false).await {
            Ok(Place::Inside { .. }) => Ok(()),
            Ok(_) => Err(refused()),
            Err(error) => {
                tracing::debug!(%error, "a pass is good by its signature alone");
                Ok(())
            }
        }
    }

    /// After a sale: the place inside is free for the next.
    pub async fn completed(&self, event: &EventView, user: &str) {
        if event.queue.enabled
            && let Err(error) = self.leave(event.event_id, user).await
        {
            tracing::debug!(%error, "a place in the queue is left to expire");
        }
    }

    /// Lets people in until the task is dropped. Any number of instances may do so at once: the bucket is shared.
    pub async fn run(&self) {
        let (found, settings) = watch::channel(Arc::default());
        tokio::join!(self.follow(found), self.admit_all(settings));
    }

    /// Reads the settings again and again. The database may be slow or gone: nobody waits for it to be let in.
    async fn follow(&self, found: watch::Sender<Arc<[Settings]>>) {
        loop {
            match db::within(db::LONGEST, self.settings()).await {
                Ok(settings) => drop(found.send_replace(settings.into())),
                Err(error) => tracing::debug!(%error, "the queues keep their settings"),
            }
            tokio::time::sleep(RELOAD).await;
        }
    }

    async fn admit_all(&self, settings: watch::Receiver<Arc<[Settings]>>) {
        let mut ticks = tokio::time::interval(TICK);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
        let mut told: HashSet<u64> = HashSet::new();
        loop {
            ticks.tick().await;
            let events = settings.borrow().clone();
            // Nobody waits any more where there is no queue any more.
            told.retain(|id| {
                let goes_on = events.iter().any(|event| event.id == *id);
                if !goes_on {
                    tell_waiting(*id, 0);
                }
                goes_on
            });
            told.extend(events.iter().map(|event| event.id));
            for event in events.iter() {
                if let Err(error) = self.admit(event).await {
                    tracing::debug!(%error, event = event.id, "nobody is let in");
                }
            }
        }
    }

    async fn settings(&self) -> Result<Vec<Settings>, sqlx::Error> {
        sqlx::query_as(
            "SELECT id, queue_per_second, queue_max_inside, sale_opens_at FROM events \
             WHERE queue_enabled AND NOT cancelled AND event_date > UTC_TIMESTAMP(3)",
        )
        .fetch_all(&self.db)
        .await
    }

    async fn admit(&self, event: &Settings) -> Result<(), KvError> {
        let mut call = Self::call(event.id, "admit", "");
        call.arg(event.queue_per_second)
            .arg(event.queue_max_inside)
            .arg(FETCH_MILLISECONDS)
            .arg(opening(event.sale_opens_at));
        let (admitted, waiting): (Vec<String>, i64) = self.kv.script(&call).await?;
        metrics::counter!("ticketing_queue_admitted_total", "event" => event.id.to_string())
            .increment(admitted.len() as u64);
        tell_waiting(event.id, waiting);
        // As with the settings, nobody waits for the database.
        if !admitted.is_empty() {
            let (queue, event_id) = (self.clone(), event.id);
            tokio::spawn(async move {
                if let Err(error) = db::within(db::LONGEST, queue.tell(event_id, &admitted)).await {
                    tracing::warn!(%error, event_id, "people are not told that it is their turn");
                }
            });
        }
        Ok(())
    }

    /// Tells the devices of those who were let in. Who has none looks at the page.
    async fn tell(&self, event_id: u64, users: &[String]) -> Result<(), sqlx::Error> {
        let mut sql = QueryBuilder::new("SELECT DISTINCT user_id FROM devices WHERE user_id IN (");
        let mut list = sql.separated(", ");
        for user in users {
            list.push_bind(user);
        }
        list.push_unseparated(")");
        let reachable: Vec<String> = sql.build_query_scalar().fetch_all(&self.db).await?;
        let mut connection = self.db.acquire().await?;
        let payloads: Vec<_> = reachable.into_iter().map(|user| json!({"userId": user, "eventId": event_id})).collect();
        outbox::write(&mut connection, event_id, READY, &payloads).await
    }
}

fn tell_waiting(event: u64, number: i64) {
    metrics::gauge!("ticketing_queue_waiting", "event" => event.to_string()).set(number as f64);
}

/// Passes that a request may carry: for each event of a group one.
const PASSES: usize = 10;

fn passes(headers: &axum::http::HeaderMap) -> impl Iterator<Item = &str> {
    let values = headers.get_all("x-queue-pass").iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).map(str::trim).take(PASSES)
}

/// [`Queue::check_pass`] for a request.
pub async fn check(
    state: &AppState,
    headers: &axum::http::HeaderMap,
    caller: &Caller,
    event: &EventView,
) -> Result<()> {
    state.queue.check_pass(&state.tokens, event, caller, passes(headers)).await
}
