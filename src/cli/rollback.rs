//! `ticketctl rollback`: an earlier release on the instances again.

use clap::Args;

use super::{
    Failure, Global, Result, deploy, pause,
    project::{Project, unreadable},
    rollouts,
    run::{Flags, Run},
};
use crate::{
    engine::Inventory,
    resource::{AutoScalingGroup, LaunchTemplate},
    rollout::{
        release::{self, Release},
        rolling::{Ending, Trouble},
    },
    ui,
};

#[derive(Debug, Args)]
pub struct Arguments {
    /// Which service; may be left out where there is only one.
    service: Option<String>,

    /// Which release; the one before the current one if left out.
    release: Option<u64>,

    #[command(flatten)]
    flags: Flags,
}

pub async fn run(global: &Global, arguments: Arguments) -> Result<u8> {
    let project = Project::open(global).await?;
    let run = Run::begin(&project.cx, global, "rollback", arguments.flags.json).await?;
    let result = under_lock(&arguments, &project, &run).await;
    run.end(result).await
}

async fn under_lock(arguments: &Arguments, project: &Project, run: &Run<'_>) -> Result<u8> {
    // With a single service, `rollback 3` names the release.
    let only = if project.stack.services.len() == 1 { project.stack.services.keys().next() } else { None };
    let number = arguments.service.as_deref().and_then(|text| text.parse::<u64>().ok());
    let (service, wanted) = match (&arguments.service, only, number) {
        (Some(_), Some(only), Some(number)) if arguments.release.is_none() => (only, Some(number)),
        (None, Some(only), _) => (only, arguments.release),
        (None, None, _) => {
            let names: Vec<_> = project.stack.services.keys().map(String::as_str).collect();
            return Err(Failure::new("which service?").hint(format!("there are: {}", names.join(", "))));
        }
        (Some(name), ..) => (deploy::named(project, Some(name))?[0], arguments.release),
    };
    let inventory = Inventory::take(&project.cx).await.map_err(|errors| unreadable(&errors))?;
    pause::refuse_paused(project, &inventory)?;
    let id_of = |id: String| inventory.resources.get(&id).map(|owned| owned.found.id.clone());
    let (Some(group), Some(template)) =
        (id_of(AutoScalingGroup::id_of(service)), id_of(LaunchTemplate::id_of(service)))
    else {
        return Err(Failure::new(format!("service {service} isn't there yet")).hint("`ticketctl apply` makes it"));
    };
    if wanted.is_none() {
        let rollout = run.rollout(service, &project.stack, &group);
        if let Some(ending) = rollout.turn_back().await.transpose() {
            return told(run, service, ending);
        }
    }
    let releases = release::list(&project.cx, &template).await?;
    let target = choose(&releases, wanted, service)?;
    let current = releases.iter().find(|release| release.current).map_or(0, |release| release.number);
    if target.number == current {
        run.notice(format!("service {service} has release {current} already"));
        return rollouts::roll_one(run, project, service, &group).await;
    }
    if !run.quiet() {
        ui::tell(format_args!("{service} goes back from release {current} to\n{}", ui::release::line(target)));
    }
    if !run.confirm("Go back?", arguments.flags.yes).await? {
        return Err(Failure::new("not confirmed; nothing was changed"));
    }
    let rollout = run.rollout(service, &project.stack, &group);
    told(run, service, rollout.back_to(target.number, "asked for".into()).await)
}

fn told(run: &Run<'_>, service: &str, ending: std::result::Result<Ending, Trouble>) -> Result<u8> {
    match ending {
        Ok(Ending::RolledBack { from, to, .. }) => {
            run.notice(format!("service {service} runs release {to} again; `apply` leaves release {from} alone"));
            Ok(0)
        }
        ending => rollouts::judge(run, service, ending).map_or(Ok(0), Err),
    }
}

fn choose<'a>(releases: &'a [Release], wanted: Option<u64>, service: &str) -> Result<&'a Release> {
    let current = releases.iter().find(|release| release.current);
    let hint = format!("`ticketctl releases {service}` lists them");
    let number = wanted.or_else(|| current?.previous).ok_or_else(|| {
        Failure::new(format!("there is no release before the current one of {service}")).hint(hint.clone())
    })?;
    let found = releases.iter().find(|release| release.number == number);
    found.ok_or_else(|| Failure::new(format!("{service} has no release {number}")).hint(hint))
}
