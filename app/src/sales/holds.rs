//! Holds: for some minutes, others keep away from what somebody is about to buy. One Lua script, all seats or none.

use super::script::{Command, HoldScript, key};
use super::{Order, tickets};
use crate::config::LimitArgs;
use crate::db;
use crate::error::{ApiError, Result};
use crate::events::versions::Versions;
use crate::kv::{Kv, KvError};
use crate::random;
use moka::future::Cache;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use sqlx::{MySqlPool, QueryBuilder};
use std::collections::HashSet;
use std::sync::Arc;

/// How long a hold lasts at least once its confirmation has begun: longer than a sale takes
/// while there is a database.
const CLAIM_MILLISECONDS: u32 = 20_000;

/// Events whose held tickets are asked for in one request.
const COUNTED: usize = 500;

/// What a hold token says.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Hold {
    /// Identifier in Redis
    pub hold: String,
    /// For which event
    pub event: u64,
    /// Whose
    pub user: String,
    /// Tickets
    pub quantity: u32,
    /// Seats; none for general admission
    pub seats: Vec<String>,
    /// Grows with every hold of the event
    pub fence: u64,
    /// Unix milliseconds at which it ends
    pub ends: i64,
    /// False when Redis was unavailable: nobody is kept away
    pub exclusive: bool,
}

impl Hold {
    /// What is about to be held.
    fn new(hold: String, event: u64, user: &str, quantity: u32, seats: Vec<String>) -> Self {
        Self { hold, event, user: user.to_owned(), quantity, seats, fence: 0, ends: 0, exclusive: true }
    }
}

/// How a hold is taken.
struct Terms {
    /// How long it lasts
    milliseconds: u32,
    /// Tickets that one user may hold at once; none for any number
    limit: Option<u32>,
    /// General-admission tickets that are unsold
    available: u32,
    /// The last millisecond at which it may be taken
    latest: Option<i64>,
    /// Whether it may be there already, and then is good as it is
    again: bool,
}

/// Holds in Redis. Cheap to clone.
#[derive(Clone)]
pub struct Holds {
    db: MySqlPool,
    kv: Kv,
    versions: Versions,
    script: HoldScript,
    /// Events whose sold seats are being marked
    marking: Cache<u64, ()>,
    milliseconds: u32,
    limit: u32,
}

impl Holds {
    /// `limits` says how long and how many. Must be called within a tokio runtime.
    pub fn new(db: MySqlPool, kv: Kv, versions: Versions, limits: &LimitArgs) -> Self {
        let script = HoldScript::new(kv.clone());
        let marking = Cache::new(10_000);
        Self { db, kv, versions, script, marking, milliseconds: limits.hold_seconds * 1000, limit: limits.hold_limit }
    }

    /// How long a hold lasts, in seconds.
    pub fn seconds(&self) -> u32 {
        self.milliseconds / 1000
    }

    /// Whether Redis was there when it was last asked.
    pub fn is_up(&self) -> bool {
        self.kv.is_up()
    }

    /// Holds tickets or seats, all or none. `available` is how many general-admission tickets are unsold.
    pub async fn take(
        &self,
        event: u64,
        user: &str,
        quantity: u32,
        seats: Vec<String>,
        available: u32,
    ) -> Result<Hold> {
        let hold = Hold::new(random::code(16), event, user, quantity, seats);
        // What can be ordered at once can be held at once; several holds together cannot go beyond the limit.
        let limit = Some(self.limit.max(quantity));
        let terms = Terms { milliseconds: self.milliseconds, limit, available, latest: None, again: false };
        self.take_for(hold, terms).await
    }

    /// Holds what an order wants for the moment of its sale, and not much longer: the buyer may have gone away. The same
    /// order, sent again, shares the hold.
    pub async fn take_for_sale(&self, event: u64, order: &Order) -> Result<Hold> {
        let mut digest = Sha256::new();
        for part in [order.user_id.as_bytes(), order.idempotency_key.as_bytes(), &order.request_hash] {
            digest.update(part);
            digest.update([0]);
        }
        let id = hex::encode(&digest.finalize()[..10]);
        let hold = Hold::new(id, event, &order.user_id, order.quantity, order.seats.clone());
        // The sale itself looks at what one user may have.
        let again = order.client_key;
        let terms = Terms { milliseconds: CLAIM_MILLISECONDS, limit: None, available: 0, latest: None, again };
        self.take_for(hold, terms).await
    }

    async fn take_for(&self, mut hold: Hold, terms: Terms) -> Result<Hold> {
        match self.take_as(&mut hold, &terms).await {
            Ok(()) => Ok(hold),
            Err(HoldError::Refused(error)) => Err(error),
            Err(HoldError::Kv(error)) => {
                tracing::debug!(%error, "held without redis");
                if let Some(seat) = self.sold_among(hold.event, &hold.seats).await?.into_iter().next() {
                    return Err(seat_taken(&seat));
                }
                // As in the script: not below what was given before, and by a clock that all instances share.
                let now = db::now_ms(&self.db).await?;
                hold.ends = now + i64::from(terms.milliseconds);
                hold.fence = u64::try_from(now).unwrap_or(0) * 1000;
                hold.exclusive = false;
                Ok(hold)
            }
        }
    }

    /// Takes what `hold` says, unless its time is over by the clock of Redis.
    async fn take_as(&self, hold: &mut Hold, terms: &Terms) -> Result<(), HoldError> {
        let available = if hold.seats.is_empty() { i64::from(terms.available) } else { -1 };
        for _ in 0..5 {
            let mut command = Command::new("hold")
                .arg(&hold.hold)
                .arg(&hold.user)
                .arg(hold.quantity)
                .arg(terms.milliseconds)
                .arg(terms.limit.unwrap_or(0))
                .arg(available)
                .arg(terms.latest.unwrap_or(0))
                .arg(u8::from(terms.again));
            for seat in &hold.seats {
                command.push(seat);
            }
            let (outcome, text, ends) = self.script.run(hold.event, command).await?;
            let refused = match outcome.as_str() {
                "ok" => {
                    hold.fence = text.parse().map_err(ApiError::internal)?;
                    hold.ends = ends;
                    metrics::counter!("ticketing_holds_total", "outcome" => "held").increment(1);
                    return Ok(());
                }
                "cold" => {
                    self.mark_all(hold.event).await?;
                    continue;
                }
                "over" => ApiError::conflict("hold_expired", "the hold has ended; hold again"),
                "taken" => seat_taken(&text),
                "limit" => ApiError::conflict(
                    "hold_limit",
                    format!("one user can hold {} tickets for an event, and holds {text}", terms.limit.unwrap_or(0)),
                ),
                _ => ApiError::conflict("sold_out", "too few tickets are left at the moment"),
            };
            metrics::counter!("ticketing_holds_total", "outcome" => refused.code.clone()).increment(1);
            return Err(refused.into());
        }
        Err(ApiError::unavailable("busy", "the seats change too fast at the moment").into())
    }

    /// Keeps a hold from expiring while it is confirmed. False when it is not there: it has ended, was confirmed, or
    /// Redis has forgotten it or is away.
    pub async fn claim(&self, hold: &Hold) -> bool {
        let command = Command::new("claim").arg(&hold.hold).arg(CLAIM_MILLISECONDS).arg(hold.ends);
        match self.script.run(hold.event, command).await {
            Ok((outcome, ..)) => outcome == "ok",
            Err(error) => {
                tracing::debug!(%error, "confirming without redis");
                false
            }
        }
    }

    /// Takes a hold again that could not be claimed although its time is not over, if nobody else has what it held.
    /// Without Redis the signed token alone counts, and the database decides. The time is that of Redis or of the
    /// database: this process's clock may be wrong.
    pub async fn retake(&self, hold: &mut Hold, available: u32) -> Result<()> {
        let ends = hold.ends;
        // It is there, perhaps, and only the answer to its claim was lost.
        let (milliseconds, limit) = (CLAIM_MILLISECONDS, Some(self.limit.max(hold.quantity)));
        let terms = Terms { milliseconds, limit, available, latest: Some(ends), again: true };
        match self.take_as(hold, &terms).await {
            Ok(()) => Ok(()),
            Err(HoldError::Refused(_)) => Err(ApiError::conflict("hold_expired", "the hold has ended; hold again")),
            Err(HoldError::Kv(error)) => {
                tracing::debug!(%error, "confirming without redis");
                if db::now_ms(&self.db).await? > ends {
                    return Err(ApiError::conflict("hold_expired", "the hold has ended; hold again"));
                }
                Ok(())
            }
        }
    }

    /// Ends a hold before its time. False when there was none.
    pub async fn release(&self, hold: &Hold) -> Result<bool, KvError> {
        let command = Command::new("release").arg(&hold.hold).arg(&hold.user);
        let (outcome, ..) = self.script.run(hold.event, command).await?;
        Ok(outcome == "ok")
    }

    /// Ends a hold that was taken for a sale that failed.
    pub async fn release_or_expire(&self, hold: &Hold) {
        if let Err(error) = self.release(hold).await {
            tracing::debug!(%error, "a hold is left to expire");
        }
    }

    /// After the commit: the seats are sold, and the holds that they were sold by have ended.
    pub async fn finish(&self, event: u64, sold: impl Iterator<Item = &Order>) -> Result<(), KvError> {
        let mut command = Command::new("finish");
        let mut any = false;
        for order in sold.filter(|order| order.hold.is_some() || !order.seats.is_empty()) {
            any = true;
            command.push(order.hold.as_ref().map_or("", |hold| &hold.id));
            command.push(order.seats.len());
            for seat in &order.seats {
                command.push(seat);
            }
        }
        if any {
            self.script.run(event, command).await?;
        }
        Ok(())
    }

    /// Tickets of an event that are held at the moment. Without Redis nothing is.
    pub async fn held(&self, event: u64) -> u32 {
        match self.script.run(event, Command::new("held")).await {
            Ok((_, _, held)) => u32::try_from(held).unwrap_or(0),
            Err(error) => {
                tracing::debug!(%error, "selling without redis");
                0
            }
        }
    }

    /// Tickets of some events together that are held at the moment.
    pub async fn held_of(&self, events: &[u64]) -> Result<u64, KvError> {
        let mut sum = 0;
        for some in events.chunks(COUNTED) {
            let mut pipeline = redis::pipe();
            for event in some {
                pipeline.hget(key(*event, "users"), " all");
            }
            let counts: Vec<Option<i64>> = self.kv.pipe(&pipeline).await?;
            for (event, count) in some.iter().zip(counts) {
                // Holds may have ended since; the script drops those first.
                if count.is_some_and(|count| count > 0) {
                    sum += u64::from(self.held(*event).await);
                }
            }
        }
        Ok(sum)
    }

    /// What tells whether seats were sold or freed since: the event's version, and how often seats were freed.
    async fn moment(&self, event: u64) -> Result<[String; 2], KvError> {
        let version = self.versions.current(event).await.ok_or(KvError::Unavailable)?;
        let freed: Option<u64> = self.kv.run(&redis::Cmd::get(key(event, "freed"))).await?;
        Ok([version.to_string(), freed.unwrap_or(0).to_string()])
    }

    /// To be called after the commit that freed seats, before their marks are changed.
    pub async fn freed(&self, event: u64) -> Result<(), KvError> {
        self.kv.run(&redis::Cmd::incr(key(event, "freed"), 1)).await
    }

    /// Marks all sold seats of an event, once for all who ask meanwhile: when it is first used, and after Redis has
    /// forgotten them.
    async fn mark_all(&self, event: u64) -> Result<(), HoldError> {
        let marked = Box::pin(self.marking.try_get_with(event, self.mark_sold(event))).await;
        self.marking.invalidate(&event).await;
        marked.map_err(|error: Arc<HoldError>| match &*error {
            HoldError::Refused(refused) => HoldError::Refused(refused.clone()),
            HoldError::Kv(_) => HoldError::Kv(KvError::Unavailable),
        })
    }

    async fn mark_sold(&self, event: u64) -> Result<(), HoldError> {
        let [version, freed] = self.moment(event).await?;
        let sold = tickets::taken_seats(&self.db, event).await.map_err(ApiError::from)?;
        let mut command = Command::new("mark").arg(version).arg(freed).arg("all");
        for seat in sold {
            command.push(seat);
            command.push("sold");
        }
        // When it is stale by now, the next attempt to hold finds it cold again.
        self.script.run_alone(event, &command).await?;
        Ok(())
    }

    /// Those of `seats` that the database says are sold.
    async fn sold_among(&self, event: u64, seats: &[String]) -> Result<HashSet<String>> {
        if seats.is_empty() {
            return Ok(HashSet::new());
        }
        let mut sql =
            QueryBuilder::new("SELECT active_seat FROM tickets FORCE INDEX (tickets_active_seat) WHERE event_id = ");
        sql.push_bind(event).push(" AND active_seat IN (");
        let mut list = sql.separated(", ");
        for seat in seats {
            list.push_bind(seat);
        }
        list.push_unseparated(")");
        let sold: Vec<String> = sql.build_query_scalar().fetch_all(&self.db).await?;
        Ok(sold.into_iter().collect())
    }

    /// Makes sure that seats which were sold are marked, as they are unless who sold them has died or Redis was away.
    pub async fn assure_sold(&self, event: u64, seats: &[String]) -> Result<()> {
        if seats.is_empty() {
            return Ok(());
        }
        let marks: Vec<Option<String>> = self.kv.run(redis::cmd("HMGET").arg(key(event, "seats")).arg(seats)).await?;
        match marks.iter().all(|mark| mark.as_deref() == Some("sold")) {
            true => Ok(()),
            false => self.mark(event, seats).await,
        }
    }

    /// Makes the marks of some seats agree with the database. Safe at any time, by anybody, any number of times.
    pub async fn mark(&self, event: u64, seats: &[String]) -> Result<()> {
        if seats.is_empty() {
            return Ok(());
        }
        for _ in 0..20 {
            let [version, freed] = self.moment(event).await?;
            let sold = self.sold_among(event, seats).await?;
            let mut command = Command::new("mark").arg(version).arg(freed).arg("some");
            for seat in seats {
                command.push(seat);
                command.push(if sold.contains(seat) { "sold" } else { "free" });
            }
            let (outcome, ..) = self.script.run_alone(event, &command).await?;
            if outcome == "ok" {
                return Ok(());
            }
        }
        Err(ApiError::unavailable("busy", "the event changes too fast at the moment"))
    }

    /// What Redis knows of the seats of an event: seat and whether it is sold (else held). None without Redis.
    pub async fn seat_marks(&self, event: u64) -> Option<Vec<(String, bool)>> {
        for _ in 0..3 {
            let mut pipeline = redis::pipe();
            pipeline.exists(key(event, "ready")).hgetall(key(event, "seats"));
            // Holds that have ended are dropped by the next script; ask for that first.
            self.held(event).await;
            let (ready, marks): (bool, Vec<(String, String)>) = self.kv.pipe(&pipeline).await.ok()?;
            if ready {
                return Some(marks.into_iter().map(|(seat, owner)| (seat, owner == "sold")).collect());
            }
            self.mark_all(event).await.ok()?;
        }
        None
    }
}

fn seat_taken(seat: &str) -> ApiError {
    ApiError::conflict("seat_taken", format!("seat {seat} is taken"))
}

enum HoldError {
    Refused(ApiError),
    Kv(KvError),
}

impl From<ApiError> for HoldError {
    fn from(error: ApiError) -> Self {
        HoldError::Refused(error)
    }
}

impl From<KvError> for HoldError {
    fn from(error: KvError) -> Self {
        HoldError::Kv(error)
    }
}
