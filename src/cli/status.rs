//! `ticketctl status`: the stack in one screen.

use clap::Args;
use jiff::Timestamp;
use std::{io::IsTerminal, io::Write, time::Duration};

use super::{Failure, Global, Result, project::Project};
use crate::{rollout::overview::Overview, ui};

#[derive(Debug, Args)]
pub struct Arguments {
    /// Look again every two seconds, until Ctrl-C.
    #[arg(short, long)]
    watch: bool,

    /// As JSON; with --watch one object per line.
    #[arg(long)]
    json: bool,
}

pub async fn run(global: &Global, arguments: Arguments) -> Result<u8> {
    let project = Project::open(global).await?;
    loop {
        let overview = Overview::take(&project.cx).await?;
        if overview.services.is_empty() && overview.database.is_none() && overview.cache.is_none() {
            return Err(Failure::new(format!("stack {} has nothing to look at yet", project.cx.stack))
                .hint("`ticketctl apply` makes it"));
        }
        print(&overview, &arguments)?;
        if !arguments.watch {
            return Ok(0);
        }
        tokio::time::sleep(Duration::from_secs(2)).await;
    }
}

fn print(overview: &Overview, arguments: &Arguments) -> Result<()> {
    let mut out = anstream::stdout().lock();
    if arguments.json {
        let json =
            if arguments.watch { serde_json::to_string(overview) } else { serde_json::to_string_pretty(overview) };
        return Ok(writeln!(out, "{}", json.expect("an overview is plain data"))?);
    }
    if arguments.watch && std::io::stdout().is_terminal() {
        // Home, and everything below gone: no flicker, nothing left of a longer screen.
        write!(out, "\x1b[H\x1b[J")?;
    }
    write!(out, "{}", ui::overview::text(overview, Timestamp::now()))?;
    Ok(out.flush()?)
}
