//! The sweeps: everything that ticketctl promises about mishaps, tried at every point where it could break.
//!
//! A sample of each runs with all the other tests; `make kill-sweep` and `make prove` run all of it and report.

mod census;
mod ending;
mod fault;
mod job;
mod kill;
mod lock;
mod proof;
mod report;

pub use census::Census;
pub use job::{Job, Stage};
