//! `ticketctl drill`: breaks something on purpose and tells what visitors noticed.

use clap::Args;
use owo_colors::OwoColorize;
use std::time::{Duration, Instant};

use super::{
    Failure, Global, Result,
    project::Project,
    run::{Flags, Run},
};
use crate::{
    drill::{
        Fault, Report,
        probe::{Probe, Tally},
    },
    rollout::overview::Overview,
};

/// How long the site is watched before the fault, and how long it must be well after it.
const CALM: Duration = Duration::from_secs(5);
/// How long everything may take to be well again.
const PATIENCE: Duration = Duration::from_secs(20 * 60);

#[derive(Debug, Args)]
pub struct Arguments {
    /// What to break.
    #[arg(value_enum)]
    fault: Fault,

    /// Where visitors come in, if it isn't the load balancer's own address.
    #[arg(long, value_name = "URL")]
    url: Option<String>,

    #[command(flatten)]
    flags: Flags,
}

pub async fn run(global: &Global, arguments: Arguments) -> Result<u8> {
    let project = Project::open(global).await?;
    // A drill and a deploy at the same time would each take the other for a fault.
    let run = Run::begin(&project.cx, global, "drill", arguments.flags.json).await?;
    let result = under_lock(&arguments, &project, &run).await;
    run.end(result).await
}

async fn under_lock(arguments: &Arguments, project: &Project, run: &Run<'_>) -> Result<u8> {
    let (cx, fault) = (&project.cx, arguments.fault);
    let before = Overview::take(cx).await?;
    if let Some(objection) = fault.objection(&before) {
        return Err(Failure::new(format!("{} can't be drilled: {objection}", fault.name())));
    }
    let url = arguments.url.clone().or_else(|| before.address.clone());
    let url = url.ok_or_else(|| Failure::new("the stack has no load balancer").hint("name the site with --url"))?;
    let question = format!("Break stack {} ({}) while visitors may be on {url}?", cx.stack, fault.name());
    if !run.confirm(&question, arguments.flags.yes).await? {
        return Err(Failure::new("not confirmed; nothing was changed"));
    }
    let probe = Probe::start(&url).await.map_err(|why| Failure::new(why).hint("--url names another address"))?;
    run.notice(format!("asking {url} all the while"));
    if let Some(why) = probe.writes_not() {
        run.notice(format!("without writes, so that the loss of data can't be seen: {why}"));
    }
    tokio::time::sleep(CALM).await;
    run.permitted()?;
    let begun = Instant::now();
    let hit = match fault.strike(cx, &before).await {
        Ok(hit) => hit,
        Err(error) => {
            probe.end().await;
            return Err(error.into());
        }
    };
    hit.done.iter().for_each(|done| run.notice(done.clone()));
    let recovery = loop {
        if run.is_stopping() || begun.elapsed() > PATIENCE {
            break None;
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
        // What can't be looked at during a fault isn't well yet.
        let over = Overview::take(cx).await.is_ok_and(|now| hit.is_over(&now));
        if over && begun.elapsed() > CALM && probe.well_for(CALM) {
            break Some(begun.elapsed());
        }
    };
    let report = Report::new(fault, hit, recovery, begun.elapsed(), probe.end().await);
    print(&report, arguments.flags.json)?;
    Ok(u8::from(!report.passed))
}

fn print(report: &Report, json: bool) -> Result<()> {
    if json {
        return super::say(serde_json::to_string(report).expect("a report is plain data"));
    }
    let Report { seen, .. } = report;
    let verdict = if report.passed { "passed".green().to_string() } else { "failed".red().to_string() };
    super::say(format_args!("{} {verdict}", report.fault))?;
    let reads = ("reads", Some(&seen.reads), report.allowed_read_seconds);
    let writes = ("writes", seen.writes.as_ref(), report.allowed_write_seconds);
    for (what, tally, allowed) in [reads, writes] {
        let Some(Tally { requests, errors, downtime_seconds, kinds }) = tally else { continue };
        let down = format!("down for {downtime_seconds:.1} s (allowed: {allowed:.0} s)");
        super::say(format_args!("  {what:<9}  {errors} of {requests} failed, {down}"))?;
        for (kind, count) in kinds {
            super::say(format_args!("             {count} × {kind}"))?;
        }
    }
    match (&seen.lost_writes, &seen.unmeasured) {
        (Some(lost), _) => {
            super::say(format_args!("  data lost  {lost} of {} acknowledged writes", seen.acknowledged_writes))?
        }
        (None, why) => {
            super::say(format_args!("  data lost  not measured: {}", why.as_deref().unwrap_or("no writes")))?
        }
    }
    let recovered = if report.recovered { "recovered" } else { "NOT recovered" };
    super::say(format_args!("  {recovered} after {:.0} s", report.recovery_seconds))
}
