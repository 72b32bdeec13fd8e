//! `ticketctl deploy`: a new release on the instances, and nothing else.

use clap::{Args, ValueEnum};
use std::path::PathBuf;

use super::{
    Failure, Global, Result, literal, pause, plan, programs,
    project::Project,
    rollouts,
    run::{Flags, Pace, Run, verdict},
};
use crate::{
    blueprint::{Blueprint, Images},
    engine::{Action, Inventory, Plan, record},
    resource::{AutoScalingGroup, Kind, LaunchTemplate},
    rollout::shift::Shift,
    stack::Stack,
    ui,
};

#[derive(Debug, Args)]
pub struct Arguments {
    /// Which service; all if left out.
    service: Option<String>,

    /// This program instead of the stack file's artifact; relative to the working directory.
    #[arg(long, value_name = "PATH")]
    artifact: Option<PathBuf>,

    /// How it comes in.
    #[arg(long, value_enum, default_value_t = Strategy::Rolling)]
    strategy: Strategy,

    /// Take the newest machine image of Amazon Linux 2023, for all services. Otherwise they keep the one that they have.
    #[arg(long, conflicts_with = "service")]
    newest_image: bool,

    #[command(flatten)]
    flags: Flags,

    #[command(flatten)]
    pace: Pace,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Strategy {
    /// New instances come first, old ones go when those take requests.
    Rolling,
    /// A second group, 10, 50, 100 % of the requests; the old instances stay for an instant return.
    BlueGreen,
    /// One instance with 10 % of the requests, then rolling.
    Canary,
}

impl Strategy {
    fn shift(self) -> Option<Shift> {
        match self {
            Strategy::Rolling => None,
            Strategy::BlueGreen => Some(Shift::BlueGreen),
            Strategy::Canary => Some(Shift::Canary),
        }
    }
}

pub async fn run(global: &Global, arguments: Arguments) -> Result<u8> {
    let mut global = global.clone();
    if let Some(path) = &arguments.artifact {
        let service = released(&global, arguments.service.as_deref())?;
        global.set.push(format!("services.{service}.artifact={}", literal(&path.to_string_lossy())));
    }
    let mut project = Project::open(&global).await?;
    if arguments.newest_image {
        project.images = Images::Newest;
    }
    let services = named(&project, arguments.service.as_deref())?;
    programs::build(&project).await?;
    let run = Run::begin(&project.cx, &global, "deploy", arguments.flags.json).await?;
    let result = under_lock(&arguments, &project, &services, &run).await;
    run.end(result).await
}

/// The service that `--artifact` is for: the one that is named, or the only one.
fn released(global: &Global, name: Option<&str>) -> Result<String> {
    let loaded = crate::stack::load(&global.file, &global.sets());
    let stack = loaded.map_err(|findings| Failure::rendered(findings.render(true)))?.stack;
    match named_in(&stack, name)?.as_slice() {
        [only] => Ok((*only).clone()),
        names => {
            let names: Vec<_> = names.iter().map(|name| name.as_str()).collect();
            Err(Failure::new("--artifact needs the name of a service").hint(format!("there are: {}", names.join(", "))))
        }
    }
}

/// The service with this name, or all.
pub fn named<'a>(project: &'a Project, name: Option<&str>) -> Result<Vec<&'a String>> {
    named_in(&project.stack, name)
}

fn named_in<'a>(stack: &'a Stack, name: Option<&str>) -> Result<Vec<&'a String>> {
    let services = &stack.services;
    let found: Vec<_> = services.keys().filter(|service| name.is_none_or(|name| name == *service)).collect();
    if found.is_empty() {
        let names: Vec<_> = services.keys().map(String::as_str).collect();
        let message =
            name.map_or("the stack has no services".into(), |name| format!("there is no service called {name}"));
        return Err(Failure::new(message).hint(format!("the stack file has: {}", names.join(", "))));
    }
    Ok(found)
}

async fn under_lock(arguments: &Arguments, project: &Project, services: &[&String], run: &Run<'_>) -> Result<u8> {
    rollouts::settle(run, project, services, arguments.flags.yes).await?;
    let (blueprint, mut inventory) = project.look().await?;
    if let Some(end) = run.lock.after_unclean_end {
        inventory = project.settled(inventory, end).await?;
    }
    pause::refuse_paused(project, &inventory)?;
    for service in services {
        if !inventory.resources.contains_key(&AutoScalingGroup::id_of(service)) {
            return Err(Failure::new(format!("service {service} isn't there yet")).hint("`ticketctl apply` makes it"));
        }
    }
    programs::check(project, &blueprint, true).await?;
    forget_rollbacks(&mut inventory, services);
    let shift = arguments.strategy.shift();
    let (mut plan, others) = split(plan::make(&blueprint, &mut inventory)?, services);
    if shift.is_some() {
        // The service's own group keeps its release until the new one has proven itself.
        plan = plan.only(|step| step.kind == LaunchTemplate::NAME);
    }
    if !others.is_empty() {
        let are = if others.len() == 1 { "change of the stack is" } else { "changes of the stack are" };
        project.tell_warning(format_args!(
            "{} other {are} left to `ticketctl apply`: {}",
            others.len(),
            others.join(", ")
        ));
    }
    let yes = arguments.flags.yes;
    if !plan.is_empty() {
        run.show(&plan, ui::text::Detail::default(), !yes)?;
        if !run.confirm("Bring this release onto the instances?", yes).await? {
            return Err(Failure::new("not confirmed; nothing was changed"));
        }
    }
    programs::upload(project, &blueprint).await?;
    let touched = match plan.is_empty() {
        true => Default::default(),
        false => {
            let report = run.carry_out(&plan, &blueprint, &inventory, arguments.pace.parallelism.into()).await?;
            verdict(&report, "deploy")?;
            rollouts::touched(project, &report)
        }
    };
    remember(project, &blueprint, &others).await?;
    let code = match shift {
        Some(shift) => rollouts::shift(run, project, &blueprint, &touched, shift).await?,
        None => rollouts::roll(run, project, &blueprint, services, &touched).await?,
    };
    if plan.is_empty() {
        run.notice("Nothing new to deploy: the instances run what the stack file names.".into());
    }
    Ok(code)
}

/// What was rolled back once is wanted again: whoever deploys says so.
fn forget_rollbacks(inventory: &mut Inventory, services: &[&String]) {
    for service in services {
        if let Some(owned) = inventory.resources.get_mut(&LaunchTemplate::id_of(service)) {
            owned.found.spec["rolled_back"] = serde_json::json!([]);
        }
    }
}

/// The steps that make the release, and the names of all others.
fn split(plan: Plan, services: &[&String]) -> (Plan, Vec<String>) {
    let is_ours = |id: &String| {
        services.iter().any(|name| [LaunchTemplate::id_of(name), AutoScalingGroup::id_of(name)].contains(id))
    };
    let others = plan.steps.iter().filter(|step| !is_ours(&step.id) || step.action != Action::Update);
    let others: Vec<_> = others.map(|step| step.id.clone()).collect();
    (plan.only(|step| is_ours(&step.id) && step.action == Action::Update), others)
}

/// The stack is as the blueprint says only if nothing else was left.
async fn remember(project: &Project, blueprint: &Blueprint, others: &[String]) -> Result<()> {
    if others.is_empty() {
        record::write_applied(&project.cx, blueprint).await?;
    }
    Ok(())
}
