//! Drills: something is broken on purpose, a client asks all the while, and what it saw is told.

pub mod fault;
mod http;
pub mod probe;

use serde::Serialize;
use std::time::Duration;

pub use fault::Fault;
pub use probe::Seen;

/// What a drill found.
#[derive(Debug, Serialize)]
pub struct Report {
    pub fault: &'static str,
    /// What was broken, in words.
    pub done: Vec<String>,
    /// Whether everything was well again before the patience ran out.
    pub recovered: bool,
    /// Seconds from the fault until the stack had its full strength again.
    pub recovery_seconds: f64,
    #[serde(flatten)]
    pub seen: Seen,
    /// The downtime that counts as passed, in seconds.
    pub allowed_seconds: f64,
    pub passed: bool,
}

impl Report {
    pub fn new(fault: Fault, done: Vec<String>, recovery: Option<Duration>, lasted: Duration, seen: Seen) -> Report {
        let allowed = fault.allowed();
        let lost_nothing = seen.lost_writes.is_none_or(|lost| lost == 0);
        Report {
            fault: fault.name(),
            done,
            recovered: recovery.is_some(),
            recovery_seconds: recovery.unwrap_or(lasted).as_secs_f64(),
            passed: recovery.is_some() && lost_nothing && seen.downtime_seconds <= allowed.as_secs_f64(),
            seen,
            allowed_seconds: allowed.as_secs_f64(),
        }
    }
}
