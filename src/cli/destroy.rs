//! `ticketctl destroy`: takes away everything that the stack owns, and looks whether anything is left.

use clap::Args;
use owo_colors::OwoColorize;
use std::io::Write;

use super::{
    Failure, Global, Result,
    apply::is_protected,
    project::{Project, unreadable},
    run::{Run, verdict},
};
use crate::{
    engine::{Inventory, plan_destroy, record},
    ui,
};

#[derive(Debug, Args)]
pub struct Arguments {
    /// Don't ask.
    #[arg(short, long)]
    yes: bool,

    /// The stack's name: needed besides --yes when the stack is protected.
    #[arg(long, value_name = "STACK NAME")]
    confirm: Option<String>,

    /// How many operations may have calls in flight at once.
    #[arg(long, value_name = "N", default_value_t = 24, value_parser = clap::value_parser!(u16).range(1..=256))]
    parallelism: u16,

    /// One event per line, as JSON, on standard output.
    #[arg(long)]
    json: bool,
}

pub async fn run(global: &Global, arguments: Arguments) -> Result<u8> {
    let project = Project::open(global).await?;
    let name = &project.cx.stack;
    if arguments.confirm.as_ref().is_some_and(|confirmed| confirmed != name) {
        return Err(Failure::new(format!("--confirm names another stack than this one, {name}; nothing was deleted")));
    }
    if project.stack.protect && arguments.yes && arguments.confirm.is_none() {
        return Err(Failure::new(format!("stack {name} is protected; --yes alone doesn't destroy it"))
            .hint(format!("add --confirm {name}")));
    }
    let run = Run::begin(&project.cx, global, "destroy", arguments.json).await?;
    let result = under_lock(global, &arguments, &project, &run).await;
    run.end(result).await
}

async fn under_lock(global: &Global, arguments: &Arguments, project: &Project, run: &Run<'_>) -> Result<u8> {
    let (blueprint, inventory) =
        if run.lock.after_unclean_end { project.look_twice().await? } else { project.look().await? };
    let plan = plan_destroy(&project.cx.stack, &inventory);
    if plan.is_empty() {
        if !arguments.json {
            anstream::println!("Nothing to destroy: stack {} owns nothing.", project.cx.stack);
        }
        return Ok(0);
    }
    if !arguments.json && !global.quiet {
        write!(anstream::stdout(), "{}", ui::text::plan(&plan, ui::text::Detail::default()))?;
    }
    let guarded: Vec<&str> =
        plan.steps.iter().map(|step| step.id.as_str()).filter(|id| is_protected(&inventory, id)).collect();
    if !guarded.is_empty() {
        return Err(Failure::new(format!(
            "AWS would refuse to delete {}: deletion protection is on",
            guarded.join(", ")
        ))
        .hint("set `protect: false` in the stack file, apply that, then destroy"));
    }
    let (question, yes) =
        (format!("Destroy all {} of these?", plan.steps.len()), arguments.yes || arguments.confirm.is_some());
    if !run.confirm(&question, yes).await? {
        return Err(Failure::new("not confirmed; nothing was deleted"));
    }
    let report = run.carry_out(&plan, &blueprint, &inventory, arguments.parallelism.into()).await?;
    let code = verdict(&report, "destroy")?;
    audit(project).await?;
    record::forget_applied(&project.cx).await?;
    if !arguments.json && !global.quiet {
        anstream::println!("\n{} {} resources deleted; nothing of the stack is left.", "✓".green(), report.done.len());
    }
    Ok(code)
}

/// A fresh look must find nothing.
async fn audit(project: &Project) -> Result<()> {
    let left = Inventory::take(&project.cx).await.map_err(|errors| unreadable(&errors))?;
    if left.is_empty() {
        return Ok(());
    }
    let failure = Failure::new("every deletion succeeded, but AWS still lists resources of the stack");
    Err(left
        .all()
        .fold(failure, |failure, owned| {
            failure.caused_by(format!("{} {}", ui::text::title(owned.kind.name()), owned.found.id))
        })
        .hint("if they were made while destroy ran, run it again"))
}
