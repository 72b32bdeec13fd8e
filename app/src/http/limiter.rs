//! Rate limits per user and per address, in this process: with several instances behind a load balancer each grants
//! its share.

use crate::error::{ApiError, Result};
use moka::sync::Cache;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Seconds' worth of requests that may come at once.
const BURST_SECONDS: f64 = 2.0;

struct Bucket {
    tokens: f64,
    filled: Instant,
}

/// A token bucket per key.
pub struct Limiter {
    per_second: f64,
    buckets: Cache<String, Arc<Mutex<Bucket>>>,
}

impl Limiter {
    /// `per_second` requests for each key; 0 for no limit.
    pub fn new(per_second: u32) -> Self {
        // An idle bucket is full after the burst's time, and need not be remembered.
        let buckets = Cache::builder().max_capacity(200_000).time_to_idle(Duration::from_secs(10)).build();
        Self { per_second: f64::from(per_second), buckets }
    }

    /// Takes a token; 429 when there is none.
    pub fn check(&self, key: &str) -> Result<()> {
        if self.per_second == 0.0 {
            return Ok(());
        }
        let most = self.per_second * BURST_SECONDS;
        let full = || Arc::new(Mutex::new(Bucket { tokens: most, filled: Instant::now() }));
        let bucket = self.buckets.get_with_by_ref(key, full);
        let mut bucket = bucket.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        let gained = now.duration_since(bucket.filled).as_secs_f64() * self.per_second;
        bucket.tokens = (bucket.tokens + gained).min(most);
        bucket.filled = now;
        if bucket.tokens < 1.0 {
            return Err(ApiError::too_many("rate_limit", "too many requests; slow down", 1));
        }
        bucket.tokens -= 1.0;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_passes_and_then_the_rate_holds() {
        let limiter = Limiter::new(5);
        let passed = (0..100).filter(|_| limiter.check("kim").is_ok()).count();
        assert!((10..=11).contains(&passed), "{passed}");
        assert!(limiter.check("lee").is_ok(), "everybody has a bucket");
        std::thread::sleep(Duration::from_millis(250));
        assert!(limiter.check("kim").is_ok());
    }

    #[test]
    fn zero_is_no_limit() {
        let limiter = Limiter::new(0);
        assert!((0..1000).all(|_| limiter.check("kim").is_ok()));
    }
}
