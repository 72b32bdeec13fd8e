//! Counts wrong guesses, fleet-wide in Redis; while that is gone, in this process.

use crate::error::{ApiError, Result};
use crate::kv::Kv;
use moka::sync::Cache;
use std::time::Duration;

/// Guesses within the window, before everything is refused.
const LIMIT: u32 = 10;
/// The window, in seconds.
const WINDOW: u64 = 300;

/// Wrong guesses by who made them.
pub struct Attempts {
    kv: Kv,
    name: &'static str,
    local: Cache<String, u32>,
}

impl Attempts {
    /// `name` tells apart what is guessed.
    pub fn new(kv: Kv, name: &'static str) -> Self {
        let local = Cache::builder().max_capacity(100_000).time_to_live(Duration::from_secs(WINDOW)).build();
        Self { kv, name, local }
    }

    fn key(&self, who: &str) -> String {
        format!("attempts:{}:{who}", self.name)
    }

    /// 429 when `who` has been wrong too often.
    pub async fn check(&self, who: &str) -> Result<()> {
        let shared: Option<u32> = match self.kv.run(&redis::Cmd::get(self.key(who))).await {
            Ok(count) => count,
            Err(error) => {
                tracing::debug!(%error, "counting attempts in this process only");
                None
            }
        };
        let count = shared.unwrap_or(0).max(self.local.get(who).unwrap_or(0));
        if count >= LIMIT {
            return Err(ApiError::too_many("too_many_attempts", "too many wrong attempts; wait", WINDOW));
        }
        Ok(())
    }

    /// Counts a wrong guess.
    pub async fn failed(&self, who: &str) {
        let count = self.local.get(who).unwrap_or(0) + 1;
        self.local.insert(who.to_owned(), count);
        let mut pipeline = redis::pipe();
        pipeline.atomic().incr(self.key(who), 1).ignore();
        pipeline.cmd("EXPIRE").arg(self.key(who)).arg(WINDOW).arg("NX").ignore();
        if let Err(error) = self.kv.pipe::<()>(&pipeline).await {
            tracing::debug!(%error, "an attempt is counted in this process only");
        }
    }
}
