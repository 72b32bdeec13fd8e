//! A ticketing service that cannot oversell.
//!
//! MySQL is the truth, Redis the fast path, and neither is trusted alone: whatever Redis says, a sale happens in
//! one short transaction that the database's own constraints guard.

pub mod accounts;
pub mod bench;
pub mod commands;
pub mod config;
pub mod db;
pub mod discovery;
pub mod error;
pub mod events;
pub mod health;
pub mod http;
pub mod https;
pub mod kv;
pub mod local;
pub mod notifications;
pub mod outbox;
pub mod page;
pub mod queue;
pub mod random;
pub mod sales;
pub mod staff;
pub mod state;
pub mod telemetry;
mod trust;
pub mod waitlist;
pub mod wallet;
