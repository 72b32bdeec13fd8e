//! `ticketctl history`: the last runs.

use clap::Args;
use std::io::Write;

use super::{Global, Result, project::Project};
use crate::engine::{Summary, record};

#[derive(Debug, Args)]
pub struct Arguments {
    /// How many.
    #[arg(short = 'n', long, default_value_t = 20)]
    count: usize,

    /// As JSON.
    #[arg(long)]
    json: bool,
}

pub async fn run(global: &Global, arguments: Arguments) -> Result<u8> {
    let project = Project::open(global).await?;
    let records = record::history(&project.cx, arguments.count).await?;
    let mut out = anstream::stdout().lock();
    if arguments.json {
        writeln!(out, "{}", serde_json::to_string_pretty(&records).expect("records are plain data"))?;
        return Ok(0);
    }
    for record in records {
        let Summary { create, update, replace, delete, .. } = record.summary;
        let seconds = record.ended.duration_since(record.began).as_secs_f64();
        writeln!(
            out,
            "{}  {:8} {:10} {seconds:6.1}s  +{create} ~{update} ±{replace} -{delete}  {}",
            record.began.strftime("%Y-%m-%d %H:%M:%S"),
            record.command,
            format!("{:?}", record.outcome).to_lowercase(),
            record.by,
        )?;
    }
    Ok(0)
}
