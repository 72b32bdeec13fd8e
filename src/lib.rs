//! ticketctl as a library: from one stack file to a working ticketing platform.

pub mod access;
pub mod aws;
pub mod blueprint;
pub mod cli;
pub mod cost;
pub mod drill;
pub mod engine;
pub mod export;
pub mod local;
pub mod preflight;
pub mod resource;
pub mod rollout;
pub mod stack;
pub mod ui;
