//! `ticketctl destroy`: takes away everything that the stack owns, and looks whether anything is left.

use clap::Args;
use owo_colors::OwoColorize;
use std::time::Duration;

use super::{
    Failure, Global, Result,
    apply::guarded,
    pause,
    project::{Project, unreadable},
    run::{Flags, Pace, Run, verdict},
};
use crate::{
    aws::Error,
    engine::{Inventory, plan_destroy, record},
    resource::{DbCluster, Kind, log_group},
    ui,
};

#[derive(Debug, Args)]
pub struct Arguments {
    /// The stack's name: needed besides --yes when the stack is protected.
    #[arg(long, value_name = "STACK NAME")]
    confirm: Option<String>,

    #[command(flatten)]
    flags: Flags,

    #[command(flatten)]
    pace: Pace,
}

pub async fn run(global: &Global, arguments: Arguments) -> Result<u8> {
    let project = Project::open(global).await?;
    let name = &project.cx.stack;
    if arguments.confirm.as_ref().is_some_and(|confirmed| confirmed != name) {
        return Err(Failure::new(format!("--confirm names another stack than this one, {name}; nothing was deleted")));
    }
    if project.stack.protect && arguments.flags.yes && arguments.confirm.is_none() {
        return Err(Failure::new(format!("stack {name} is protected; --yes alone doesn't destroy it"))
            .hint(format!("add --confirm {name}")));
    }
    let run = Run::begin(&project.cx, global, "destroy", arguments.flags.json).await?;
    let result = under_lock(global, &arguments, &project, &run).await;
    run.end(result).await
}

async fn under_lock(global: &Global, arguments: &Arguments, project: &Project, run: &Run<'_>) -> Result<u8> {
    let (blueprint, mut inventory) = project.look_to_destroy().await?;
    if let Some(end) = run.lock.after_unclean_end {
        inventory = project.settled(inventory, end).await?;
    }
    let plan = plan_destroy(&project.cx.stack, &inventory);
    if plan.is_empty() {
        if !arguments.flags.json {
            super::say(format_args!("Nothing to destroy: stack {} owns nothing.", project.cx.stack))?;
        }
        return Ok(0);
    }
    let yes = arguments.flags.yes;
    run.show(&plan, ui::text::Detail::default(), !yes)?;
    let guarded = guarded(&plan, &inventory);
    if !guarded.is_empty() {
        return Err(Failure::new(format!(
            "AWS would refuse to delete {}: deletion protection is on",
            guarded.join(", ")
        ))
        .hint("set `protect: false` in the stack file, apply that, then destroy"));
    }
    if !run.confirm(&format!("Destroy all {} of these?", plan.steps.len()), yes).await? {
        return Err(Failure::new("not confirmed; nothing was deleted"));
    }
    pause::wake_to_delete(run, &inventory).await?;
    let report = run.carry_out(&plan, &blueprint, &inventory, arguments.pace.parallelism.into()).await?;
    let code = verdict(&report, "destroy")?;
    audit(project).await?;
    forget_logs(project, &inventory, run).await?;
    record::forget_applied(&project.cx).await?;
    if !arguments.flags.json && !global.quiet {
        super::say(format_args!(
            "\n{} {} resources deleted; nothing of the stack is left.",
            "✓".green(),
            report.done.len()
        ))?;
    }
    Ok(code)
}

/// RDS makes a log group for each kind of log that a cluster exports, and leaves them behind. Those of a protected stack stay.
async fn forget_logs(project: &Project, inventory: &Inventory, run: &Run<'_>) -> Result<()> {
    for owned in inventory.all().filter(|owned| owned.kind.name() == DbCluster::NAME) {
        let prefix = format!("{}{}/", log_group::OF_CLUSTERS, owned.found.id);
        if project.stack.protect {
            run.notice(format!("what the database logged stays in {prefix}…"));
            continue;
        }
        for kind in ["audit", "error", "general", "slowquery"] {
            run.permitted()?;
            let call = project.cx.logs.delete_log_group().log_group_name(format!("{prefix}{kind}"));
            match call.send().await.map_err(Error::from) {
                Err(error) if !error.is_not_found() => ui::warn(format_args!("a log group of RDS stays: {error}")),
                _ => {}
            }
        }
    }
    Ok(())
}

/// A fresh look must find nothing. AWS's lists lag behind its deletions, so that it may take a few: it may list what it no
/// longer knows when it is asked about it.
async fn audit(project: &Project) -> Result<()> {
    let mut looked = Ok(Inventory::default());
    for pause in [0, 1, 3, 6, 10] {
        tokio::time::sleep(Duration::from_secs(pause)).await;
        looked = Inventory::take(&project.cx).await;
        if looked.as_ref().is_ok_and(Inventory::is_empty) {
            return Ok(());
        }
    }
    let left = looked.map_err(|errors| unreadable(&errors))?;
    let failure = Failure::new("every deletion succeeded, but AWS still lists resources of the stack");
    Err(left
        .all()
        .fold(failure, |failure, owned| {
            failure.caused_by(format!("{} {}", ui::text::title(owned.kind.name()), owned.found.id))
        })
        .hint("if they were made while destroy ran, run it again"))
}
