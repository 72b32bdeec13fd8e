//! `ticketctl apply`: makes the stack as the file says.

use clap::Args;
use owo_colors::OwoColorize;
use serde_json::Value;
use std::{collections::BTreeSet, path::PathBuf};

use super::{
    Failure, Global, Result, output, pause,
    plan::{self, SavedPlan},
    programs,
    project::Project,
    rollouts,
    run::{Flags, Pace, Run, verdict},
};
use crate::{
    engine::{Action, Inventory, Plan, Step, record},
    ui,
};

#[derive(Debug, Args)]
pub struct Arguments {
    /// Carry out a plan that `plan --out` has written; refused if AWS has moved since.
    #[arg(long, value_name = "FILE")]
    plan: Option<PathBuf>,

    /// Let this resource, by its logical id, be replaced or deleted although it holds data. May be given several times.
    #[arg(long, value_name = "ID")]
    allow_data_loss: Vec<String>,

    #[command(flatten)]
    flags: Flags,

    #[command(flatten)]
    pace: Pace,
}

pub async fn run(global: &Global, arguments: Arguments) -> Result<u8> {
    let project = Project::open(global).await?;
    let saved = arguments.plan.as_deref().map(SavedPlan::read).transpose()?;
    if let Some(saved) = &saved {
        saved.check_place(&project.cx).await?;
    }
    if saved.is_none() {
        programs::build(&project).await?;
    }
    let run = Run::begin(&project.cx, global, "apply", arguments.flags.json).await?;
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
    let services: Vec<&String> = project.stack.services.keys().collect();
    match &saved {
        None => rollouts::settle(run, project, &services, arguments.flags.yes).await?,
        // Ending a deployment changes the stack, and a saved plan doesn't name that.
        Some(_) => rollouts::refuse_under_way(project, &services).await?,
    }
    let (mut blueprint, mut inventory) = project.look().await?;
    if let Some(end) = run.lock.after_unclean_end {
        inventory = project.settled(inventory, end).await?;
    }
    if let Some(saved) = &saved {
        blueprint = saved.blueprint.clone();
    }
    match &saved {
        None => programs::check(project, &blueprint, true).await?,
        Some(_) => programs::check_planned(project, &blueprint)?,
    }
    pause::refuse_paused(project, &inventory)?;
    rollouts::tell_given_up(project, &blueprint, &inventory);
    let plan = plan::make(&blueprint, &mut inventory)?;
    if let Some(saved) = &saved {
        saved.check_unmoved(&plan)?;
    }
    let yes = arguments.flags.yes || saved.is_some();
    run.show(&plan, ui::text::Detail { creations: global.verbose > 0 }, !yes && !plan.is_empty())?;
    for name in arguments.allow_data_loss.iter().filter(|name| !plan.data_losses().any(|step| step.id == **name)) {
        ui::warn(format_args!("--allow-data-loss {name}: this plan loses no data of that name"));
    }
    if arguments.flags.json && !global.quiet {
        for line in ui::left_out(&plan.omitted) {
            ui::warn(format_args!("left out: {line}"));
        }
    }
    guard_data(&plan, &inventory, &arguments.allow_data_loss)?;
    if !plan.is_empty() && !run.confirm("Carry out this plan?", yes).await? {
        return Err(Failure::new("not confirmed; nothing was changed"));
    }
    programs::upload(project, &blueprint).await?;
    if plan.is_empty() && plan.waits.is_empty() {
        record::write_applied(&project.cx, &blueprint).await?;
        return rollouts::roll(run, project, &blueprint, &services, &BTreeSet::new()).await;
    }
    let report = run.carry_out(&plan, &blueprint, &inventory, arguments.pace.parallelism.into()).await?;
    let code = verdict(&report, "apply")?;
    record::write_applied(&project.cx, &blueprint).await?;
    rollouts::roll(run, project, &blueprint, &services, &rollouts::touched(project, &report)).await?;
    if !arguments.flags.json && !global.quiet {
        let inventory = Inventory::take(&project.cx).await.map_err(|errors| super::project::unreadable(&errors))?;
        super::say(format_args!("\n{} {} operations done.", "✓".green(), report.done.len()))?;
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
    let guarded = guarded(plan, inventory);
    if guarded.is_empty() {
        return Ok(());
    }
    Err(Failure::new(format!("AWS would refuse to delete {}: deletion protection is on", guarded.join(", ")))
        .hint("switch it off in the stack file and apply that first"))
}

/// What the plan would delete although AWS itself guards it against deletion.
pub fn guarded<'a>(plan: &'a Plan, inventory: &Inventory) -> Vec<&'a str> {
    let goes = |step: &&Step| matches!(step.action, Action::Replace | Action::Delete);
    let is_guarded = |step: &&Step| {
        inventory
            .all()
            .filter(|owned| step.kind == owned.kind.name() && step.aws_id.as_ref() == Some(&owned.found.id))
            .any(|owned| owned.found.spec.get("deletion_protection").and_then(Value::as_bool) == Some(true))
    };
    plan.steps.iter().filter(goes).filter(is_guarded).map(|step| step.id.as_str()).collect()
}
