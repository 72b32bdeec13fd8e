//! Counts wrong guesses, fleet-wide in Redis; while that is gone, in this process.

use crate::error::{ApiError, Result};
use crate::kv::{Kv, KvError};
use moka::Expiry;
use moka::sync::Cache;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Guesses within the window, before everything is refused.
const LIMIT: u32 = 10;
/// The window, in seconds: from the first guess on.
const WINDOW: u64 = 300;

/// Guesses at the same thing that one process has under way at once, so that right ones that come all together stay below the
/// limit, on several instances, too.
const TURNS: usize = 3;

/// Wrong guesses by who made them.
pub struct Attempts {
    kv: Kv,
    name: &'static str,
    local: Cache<String, u32>,
    turns: Cache<String, Arc<Semaphore>>,
}

/// What is counted later does not make the window longer.
struct FromTheFirst;

impl Expiry<String, u32> for FromTheFirst {
    fn expire_after_create(&self, _who: &String, _count: &u32, _now: Instant) -> Option<Duration> {
        Some(Duration::from_secs(WINDOW))
    }
}

impl Attempts {
    /// `name` tells apart what is guessed.
    pub fn new(kv: Kv, name: &'static str) -> Self {
        let local = Cache::builder().max_capacity(100_000).expire_after(FromTheFirst).build();
        let turns = Cache::builder().max_capacity(100_000).time_to_idle(Duration::from_secs(WINDOW)).build();
        Self { kv, name, local, turns }
    }

    fn key(&self, who: &str) -> String {
        format!("attempts:{}:{who}", self.name)
    }

    /// Counts a wrong guess.
    pub async fn failed(&self, who: &str) {
        self.count(who).await;
    }

    /// Waits until few others guess the same thing; to be kept until it is known whether the guess was wrong.
    pub async fn turn(&self, who: &str) -> Option<OwnedSemaphorePermit> {
        let turns = self.turns.entry_by_ref(who).or_insert_with(|| Arc::new(Semaphore::new(TURNS))).into_value();
        turns.acquire_owned().await.ok()
    }

    /// Counts a guess before it is known whether it is wrong, so that those made at the same time count, too; 429 when
    /// they are too many. See [`Attempts::take_back`].
    pub async fn guess(&self, who: &str) -> Result<()> {
        if self.local.get(who).is_some_and(|count| count >= LIMIT) {
            return Err(refused());
        }
        let (local, shared) = self.count(who).await;
        if local > LIMIT || shared.is_some_and(|count| count > i64::from(LIMIT)) {
            // It is not made, so it cannot be wrong.
            self.take_back(who).await;
            return Err(refused());
        }
        Ok(())
    }

    /// A guess was not wrong after all.
    pub async fn take_back(&self, who: &str) {
        self.local.entry_by_ref(who).and_upsert_with(|known| known.map_or(0, |c| c.into_value().saturating_sub(1)));
        if let Err(error) = self.add(who, -1).await {
            tracing::debug!(%error, "an attempt is taken back in this process only");
        }
    }

    /// The guesses so far with this one: in this process, and in Redis.
    async fn count(&self, who: &str) -> (u32, Option<i64>) {
        let local = self.local.entry_by_ref(who).and_upsert_with(|known| known.map_or(0, |c| c.into_value()) + 1);
        match self.add(who, 1).await {
            Ok(shared) => (local.into_value(), Some(shared)),
            Err(error) => {
                tracing::debug!(%error, "an attempt is counted in this process only");
                (local.into_value(), None)
            }
        }
    }

    async fn add(&self, who: &str, number: i64) -> Result<i64, KvError> {
        let mut pipeline = redis::pipe();
        pipeline.atomic().incr(self.key(who), number);
        pipeline.cmd("EXPIRE").arg(self.key(who)).arg(WINDOW).arg("NX").ignore();
        let (count,): (i64,) = self.kv.pipe(&pipeline).await?;
        Ok(count)
    }
}

fn refused() -> ApiError {
    ApiError::too_many("too_many_attempts", "too many wrong attempts; wait", WINDOW)
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::future::join_all;

    #[tokio::test]
    async fn right_guesses_are_never_too_many() {
        let attempts = Attempts::new(Kv::new("redis://127.0.0.1:1").expect("an address"), "test");
        let log_in = async || {
            let _turn = attempts.turn("kim").await;
            let guess = attempts.guess("kim").await;
            tokio::task::yield_now().await;
            attempts.take_back("kim").await;
            guess
        };
        let guesses = join_all((0..5 * LIMIT).map(|_| log_in())).await;
        assert!(guesses.iter().all(Result::is_ok), "{guesses:?}");
    }

    #[tokio::test]
    async fn guesses_at_the_same_time_count_and_right_ones_do_not() {
        let attempts = Attempts::new(Kv::new("redis://127.0.0.1:1").expect("an address"), "test");
        for _ in 0..3 * LIMIT {
            attempts.guess("kim").await.expect("all were right");
            attempts.take_back("kim").await;
        }
        let at_once = async || {
            let guesses = join_all((0..3 * LIMIT).map(|_| attempts.guess("kim"))).await;
            guesses.iter().filter(|guess| guess.is_ok()).count()
        };
        // All right, though too many at once: whoever comes later is not to suffer.
        for _ in 0..at_once().await {
            attempts.take_back("kim").await;
        }
        assert_eq!(at_once().await, LIMIT as usize, "no more are made before it is known that they are wrong");
        attempts.guess("lee").await.expect("somebody else");
        assert_eq!(attempts.guess("kim").await.expect_err("too often").code, "too_many_attempts");
    }
}
