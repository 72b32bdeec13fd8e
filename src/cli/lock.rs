//! `ticketctl lock`: who works on the stack right now.

use clap::Subcommand;

use super::{Failure, Global, Result, project::Project};
use crate::engine::lock::{self, LockError};

#[derive(Debug, Subcommand)]
pub enum LockCommand {
    /// Show who holds it.
    Status {
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// Take it away from a run that is dead.
    Break {
        /// Also from a run that still renews its lease.
        #[arg(short, long)]
        yes: bool,
    },
}

pub async fn run(global: &Global, command: LockCommand) -> Result<u8> {
    let project = Project::open(global).await?;
    match command {
        LockCommand::Status { json: true } => {
            let lease = lock::status(&project.cx).await?.filter(lock::Lease::is_held);
            super::say(serde_json::to_string_pretty(&lease).expect("a lease is plain data"))?;
        }
        LockCommand::Status { json: false } => match lock::status(&project.cx).await?.filter(lock::Lease::is_held) {
            Some(lease) => super::say(format_args!(
                "Held by {} ({}) since {}; the lease runs out at {} unless it is renewed.",
                lease.holder, lease.command, lease.taken, lease.expires
            ))?,
            None => super::say("Free.")?,
        },
        LockCommand::Break { yes } => {
            let held = match lock::status(&project.cx).await {
                Err(LockError::Damaged { .. }) => None,
                lease => lease?.filter(lock::Lease::is_held),
            };
            if let Some(lease) = held.filter(|_| !yes) {
                return Err(Failure::new(format!("{} ({}) still renews its lease", lease.holder, lease.command))
                    .hint("if you are sure that it is dead or must lose the stack: --yes"));
            }
            match lock::break_it(&project.cx).await? {
                Some(lease) => super::say(format_args!("Taken from {}; it can change nothing more.", lease.holder))?,
                None => super::say("It was free.")?,
            }
        }
    }
    Ok(0)
}
