//! ticketctl as a library: from one stack file to a working ticketing platform.

pub mod aws;
pub mod blueprint;
pub mod cli;
pub mod drill;
pub mod engine;
pub mod local;
pub mod resource;
pub mod rollout;
pub mod stack;
pub mod ui;
