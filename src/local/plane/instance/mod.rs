//! Instances: each is a bubblewrap sandbox in which its own launch template's user data really runs.
//!
//! The sandbox's first process is ticketctl itself (`init`), which runs the boot script and is its systemd as far as boot
//! scripts use it. An instance that has died isn't started again: as on AWS, its group replaces it. One that is terminated
//! is drained first, then its services get the time that their units give them.

mod area;
pub mod init;
mod sandbox;
mod services;
mod state;
pub mod systemctl;
mod unit;
mod words;

pub use area::Instances;
pub use state::{Active, Boot, InstanceState, ServiceState};
