//! `ticketing dead-letters`.

use crate::config::DatabaseArgs;
use crate::db;
use crate::outbox::dead_letters;
use clap::Subcommand;
use serde_json::{Value, json};
use time::format_description::well_known::Rfc3339;

#[derive(Subcommand)]
pub enum DeadLettersCommand {
    /// Print them, one JSON object per line, the oldest first
    List {
        #[command(flatten)]
        database: DatabaseArgs,
    },
    /// Have them tried again. An asynchronous reservation that was rejected stays so
    Requeue {
        #[command(flatten)]
        database: DatabaseArgs,
        /// Those with these identifiers
        #[arg(required_unless_present = "all")]
        ids: Vec<u64>,
        /// All of them
        #[arg(long, conflicts_with = "ids")]
        all: bool,
    },
}

pub async fn run(command: DeadLettersCommand) -> anyhow::Result<()> {
    match command {
        DeadLettersCommand::List { database } => {
            for letter in dead_letters::list(&db::pool_for(&database).await?).await? {
                let payload: Value = serde_json::from_str(&letter.payload).unwrap_or(Value::String(letter.payload));
                let line = json!({
                    "id": letter.id,
                    "since": letter.created_at.format(&Rfc3339)?,
                    "kind": letter.kind,
                    "eventId": letter.event_id,
                    "payload": payload,
                    "error": letter.error,
                });
                println!("{line}");
            }
        }
        DeadLettersCommand::Requeue { database, ids, all: _ } => {
            let count = dead_letters::requeue(&db::pool_for(&database).await?, &ids).await?;
            println!("{count} requeued");
        }
    }
    Ok(())
}
