//! `ticketctl resources`: everything that the stack owns.

use clap::Args;
use serde::Serialize;
use std::io::Write;

use super::{
    Global, Result,
    project::{Project, unreadable},
};
use crate::{
    engine::{Inventory, Owned},
    resource::Status,
    ui,
};

#[derive(Debug, Args)]
pub struct Arguments {
    /// As JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Row<'a> {
    id: &'a str,
    kind: &'a str,
    aws_id: &'a str,
    status: String,
}

impl<'a> Row<'a> {
    fn new(owned: &'a Owned) -> Self {
        let status = match &owned.found.status {
            Status::Ready => "ready".to_owned(),
            Status::Pending(state) => format!("pending: {state}"),
            Status::Failed(state) => format!("failed: {state}"),
            Status::Deleting => "deleting".to_owned(),
        };
        Row { id: &owned.found.logical_id, kind: owned.kind.name(), aws_id: &owned.found.id, status }
    }
}

pub async fn run(global: &Global, arguments: Arguments) -> Result<u8> {
    let project = Project::open(global).await?;
    let inventory = Inventory::take(&project.cx).await.map_err(|errors| unreadable(&errors))?;
    let rows: Vec<Row<'_>> = inventory.all().map(Row::new).collect();
    let mut out = anstream::stdout().lock();
    if arguments.json {
        writeln!(out, "{}", serde_json::to_string_pretty(&rows).expect("rows are plain data"))?;
        return Ok(0);
    }
    let width = |cell: fn(&Row<'_>) -> usize| rows.iter().map(cell).max().unwrap_or_default();
    let (id, kind, status) = (width(|r| r.id.len()), width(|r| r.kind.len()), width(|r| r.status.len()));
    for row in &rows {
        writeln!(out, "{:id$}  {:kind$}  {:status$}  {}", row.id, ui::text::title(row.kind), row.status, row.aws_id)?;
    }
    if rows.is_empty() && !global.quiet {
        ui::tell(format_args!("Stack {} owns nothing.", project.cx.stack));
    }
    Ok(0)
}
