//! `ticketctl apply`: makes the stack as the file says.

use clap::Args;
use owo_colors::OwoColorize;
use std::{io::Write, path::PathBuf};

use super::{
    Failure, Global, Result, output,
    plan::{self, SavedPlan},
    project::Project,
    run::{Run, verdict},
};
use crate::{
    engine::{Inventory, Plan, record},
    ui,
};

#[derive(Debug, Args)]
pub struct Arguments {
    /// Carry out a plan that `plan --out` has written; refused if AWS has moved since.
    #[arg(long, value_name = "FILE")]
    plan: Option<PathBuf>,

    /// Don't ask.
    #[arg(short, long)]
    yes: bool,

    /// Let this resource, by its logical id, be replaced or deleted although it holds data. May be given several times.
    #[arg(long, value_name = "ID")]
    allow_data_loss: Vec<String>,

    /// How many operations may have calls in flight at once.
    #[arg(long, value_name = "N", default_value_t = 24, value_parser = clap::value_parser!(u16).range(1..=256))]
    parallelism: u16,

    /// One event per line, as JSON, on standard output.
    #[arg(long)]
    json: bool,
}

pub async fn run(global: &Global, arguments: Arguments) -> Result<u8> {
    let project = Project::open(global).await?;
    let saved = arguments.plan.as_deref().map(SavedPlan::read).transpose()?;
    if let Some(saved) = &saved {
        saved.check_place(&project.cx).await?;
    }
    let run = Run::begin(&project.cx, global, "apply", arguments.json).await?;
    let result = under_lock(global, &arguments, &project, saved, &run).await;
    run.end(result).await
}

async fn under_lock(
    global: &Global,
    arguments: &Arguments,
    project: &Project,
    saved: Option<SavedPlan>,
    run: &Run<'_>,
) -> Result<u8> {
    let (mut blueprint, inventory) =
        if run.lock.after_unclean_end { project.look_twice().await? } else { project.look().await? };
    if let Some(saved) = &saved {
        blueprint = saved.blueprint.clone();
    }
    let plan = plan::make(&blueprint, &inventory)?;
    if let Some(saved) = &saved {
        saved.check_unmoved(&plan)?;
    }
    if !arguments.json && !global.quiet {
        write!(anstream::stdout(), "{}", ui::text::plan(&plan, ui::text::Detail { creations: global.verbose > 0 }))?;
    }
    guard_data(&plan, &inventory, &arguments.allow_data_loss)?;
    if plan.is_empty() && plan.waits.is_empty() {
        record::write_applied(&project.cx, &blueprint).await?;
        return Ok(0);
    }
    if !plan.is_empty() && !run.confirm("Carry out this plan?", arguments.yes || saved.is_some()).await? {
        return Err(Failure::new("not confirmed; nothing was changed"));
    }
    let report = run.carry_out(&plan, &blueprint, &inventory, arguments.parallelism.into()).await?;
    let code = verdict(&report, "apply")?;
    record::write_applied(&project.cx, &blueprint).await?;
    if !arguments.json && !global.quiet {
        let inventory = Inventory::take(&project.cx).await.map_err(|errors| super::project::unreadable(&errors))?;
        anstream::println!("\n{} {} operations done.", "✓".green(), report.done.len());
        output::print_text(&output::resolve(&blueprint, &inventory))?;
    }
    Ok(code)
}

/// Refuses to lose data that was not named, and what AWS would refuse later.
pub(super) fn guard_data(plan: &Plan, inventory: &Inventory, allowed: &[String]) -> Result<()> {
    let unnamed: Vec<&str> =
        plan.data_losses().map(|step| step.id.as_str()).filter(|id| !allowed.iter().any(|name| name == id)).collect();
    if !unnamed.is_empty() {
        let flags: Vec<String> = unnamed.iter().map(|id| format!("--allow-data-loss '{id}'")).collect();
        return Err(Failure::new(format!("this plan would lose the data of {}", unnamed.join(", ")))
            .hint(format!("if that is what you want: {}", flags.join(" "))));
    }
    let guarded: Vec<&str> =
        plan.data_losses().map(|step| step.id.as_str()).filter(|id| is_protected(inventory, id)).collect();
    if guarded.is_empty() {
        return Ok(());
    }
    Err(Failure::new(format!("AWS would refuse to delete {}: deletion protection is on", guarded.join(", ")))
        .hint("switch it off in the stack file and apply that first"))
}

/// Whether AWS itself guards the resource against deletion.
pub fn is_protected(inventory: &Inventory, id: &str) -> bool {
    let owned = inventory.resources.get(id);
    owned.and_then(|owned| owned.found.spec.get("deletion_protection")?.as_bool()).unwrap_or_default()
}
