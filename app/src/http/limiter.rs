//! Rate limits per user and per address, for all instances together.
//!
//! Each instance decides at once from buckets of its own, and settles with the buckets in Redis ten times a second: so a
//! limit costs no request any time, and what all instances grant together exceeds it by a tenth of a second's worth at most.
//! Without Redis each instance grants the whole rate.

use crate::error::{ApiError, Result};
use crate::kv::Kv;
use moka::sync::Cache;
use redis::Script;
use std::collections::HashMap;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::time::{Duration, Instant};

static SCRIPT: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("limiter.lua")));

/// Seconds' worth of requests that may come at once.
const BURST_SECONDS: f64 = 2.0;
/// How often instances settle.
const PAUSE: Duration = Duration::from_millis(100);
/// Buckets that are settled in one call.
const BATCH: usize = 500;

struct Bucket {
    tokens: f64,
    filled: Instant,
}

/// A token bucket per key.
pub struct Limiter {
    name: &'static str,
    per_second: f64,
    buckets: Cache<String, Arc<Mutex<Bucket>>>,
    /// What was taken since the last settlement
    taken: Mutex<HashMap<String, u32>>,
}

impl Limiter {
    /// `per_second` requests for each key; 0 for no limit. Limiters of one name share their buckets.
    pub fn new(name: &'static str, per_second: u32) -> Self {
        // An idle bucket is full after the burst's time, and need not be remembered.
        let buckets = Cache::builder().max_capacity(200_000).time_to_idle(Duration::from_secs(10)).build();
        Self { name, per_second: f64::from(per_second), buckets, taken: Mutex::default() }
    }

    fn most(&self) -> f64 {
        self.per_second * BURST_SECONDS
    }

    /// Takes a token; 429 when there is none.
    pub fn check(&self, key: &str) -> Result<()> {
        if self.per_second == 0.0 {
            return Ok(());
        }
        let full = || Arc::new(Mutex::new(Bucket { tokens: self.most(), filled: Instant::now() }));
        let bucket = self.buckets.get_with_by_ref(key, full);
        let mut bucket = bucket.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        let gained = now.duration_since(bucket.filled).as_secs_f64() * self.per_second;
        bucket.tokens = (bucket.tokens + gained).min(self.most());
        bucket.filled = now;
        if bucket.tokens < 1.0 {
            return Err(ApiError::too_many("rate_limit", "too many requests; slow down", 1));
        }
        bucket.tokens -= 1.0;
        drop(bucket);
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        match taken.get_mut(key) {
            Some(count) => *count += 1,
            None => drop(taken.insert(key.to_owned(), 1)),
        }
        Ok(())
    }

    /// Settles with the other instances until the task is dropped.
    pub async fn share(&self, kv: &Kv) {
        let mut ticks = tokio::time::interval(PAUSE);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        if self.per_second == 0.0 {
            return;
        }
        loop {
            ticks.tick().await;
            let taken = std::mem::take(&mut *self.taken.lock().unwrap_or_else(PoisonError::into_inner));
            let taken: Vec<(String, u32)> = taken.into_iter().collect();
            for batch in taken.chunks(BATCH) {
                if let Err(error) = self.settle(kv, batch).await {
                    tracing::debug!(%error, "each instance limits for itself");
                    break;
                }
            }
        }
    }

    async fn settle(&self, kv: &Kv, taken: &[(String, u32)]) -> Result<(), crate::kv::KvError> {
        let mut call = SCRIPT.prepare_invoke();
        call.arg(self.per_second).arg(self.most());
        for (key, count) in taken {
            call.key(format!("rate:{}:{key}", self.name)).arg(count);
        }
        let left: Vec<f64> = kv.script(&call).await?;
        for ((key, _), left) in taken.iter().zip(left) {
            if let Some(bucket) = self.buckets.get(key) {
                let mut bucket = bucket.lock().unwrap_or_else(PoisonError::into_inner);
                bucket.tokens = bucket.tokens.min(left);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_passes_and_then_the_rate_holds() {
        let limiter = Limiter::new("user", 5);
        let passed = (0..100).filter(|_| limiter.check("kim").is_ok()).count();
        assert!((10..=11).contains(&passed), "{passed}");
        assert!(limiter.check("lee").is_ok(), "everybody has a bucket");
        std::thread::sleep(Duration::from_millis(250));
        assert!(limiter.check("kim").is_ok());
    }

    #[test]
    fn zero_is_no_limit() {
        let limiter = Limiter::new("user", 0);
        assert!((0..1000).all(|_| limiter.check("kim").is_ok()));
    }
}
