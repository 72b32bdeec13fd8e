//! Talking to AWS: clients that share one configuration, errors that name the call and are classified, tags.

mod client;
mod endpoint;
mod error;
mod fence;
mod localstack;
pub mod tags;

pub use client::{Context, Target, dns_suffix, partition};
pub use endpoint::Emulator;
pub use error::{Class, Error, Result};
pub use fence::Permit;
pub use tags::Tags;
