//! Drills: something is broken on purpose, a client asks all the while, and what it saw is told.

pub mod fault;
mod http;
pub mod probe;
mod writer;

use serde::Serialize;
use std::time::Duration;

pub use fault::{Fault, Hit};
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
    /// The downtimes that count as passed, in seconds.
    pub allowed_read_seconds: f64,
    pub allowed_write_seconds: f64,
    pub passed: bool,
}

impl Report {
    pub fn new(fault: Fault, hit: Hit, recovery: Option<Duration>, lasted: Duration, seen: Seen) -> Report {
        let (reads, writes) = (fault.allowed().as_secs_f64(), hit.allowed_for_writes(fault).as_secs_f64());
        let lost_nothing = seen.lost_writes.is_none_or(|lost| lost == 0);
        let in_time = seen.reads.downtime_seconds <= reads
            && seen.writes.as_ref().is_none_or(|tally| tally.downtime_seconds <= writes);
        Report {
            fault: fault.name(),
            done: hit.done,
            recovered: recovery.is_some(),
            recovery_seconds: recovery.unwrap_or(lasted).as_secs_f64(),
            passed: recovery.is_some() && lost_nothing && in_time,
            seen,
            allowed_read_seconds: reads,
            allowed_write_seconds: writes,
        }
    }
}
