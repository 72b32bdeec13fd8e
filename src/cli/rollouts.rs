//! Replacing the instances of services that have a new release: what `apply`, `deploy` and `rollback` end with.

use futures::future::join_all;
use std::collections::BTreeSet;

use super::{Failure, Result, project::Project, run::Run};
use crate::{
    aws::tags,
    blueprint::Blueprint,
    engine::{Inventory, Report},
    resource::{
        AutoScalingGroup, LaunchTemplate, Scan,
        launch_template::{LaunchTemplateSpec, content},
    },
    rollout::{
        fleet::Fleet,
        release,
        rolling::{Ending, Trouble},
        shift::{self, Shift},
    },
};

/// The services whose launch template or group this run has made or changed.
pub fn touched(project: &Project, report: &Report) -> BTreeSet<String> {
    let is_touched = |service: &&String| {
        let ids = [LaunchTemplate::id_of(service), AutoScalingGroup::id_of(service)];
        report.done.iter().any(|(id, _)| ids.contains(id))
    };
    project.stack.services.keys().filter(is_touched).cloned().collect()
}

/// Says where a deployment with a second group waits for its end.
pub fn tell_under_way(project: &Project, inventory: &Inventory) {
    for service in project.stack.services.keys() {
        if inventory.resources.contains_key(&shift::standby_id(&AutoScalingGroup::id_of(service))) {
            project.tell_warning(format_args!(
                "service {service}: a second group is there; `ticketctl apply` ends that deployment first, \
                 `ticketctl rollback {service}` takes it back"
            ));
        }
    }
}

/// Says where the stack file names what was given up: a plan leaves that alone.
pub fn tell_given_up(project: &Project, blueprint: &Blueprint, inventory: &Inventory) {
    for service in project.stack.services.keys() {
        let id = LaunchTemplate::id_of(service);
        let (Some(node), Some(owned)) = (blueprint.nodes.get(&id), inventory.resources.get(&id)) else { continue };
        let read = |spec: &serde_json::Value| serde_json::from_value::<LaunchTemplateSpec>(spec.clone()).ok();
        let (Some(wish), Some(found)) = (read(&node.spec), read(&owned.found.spec)) else { continue };
        if content(&wish) != content(&found) && found.rolled_back.is_some_and(|all| all.contains(&content(&wish))) {
            let release = owned.found.output("version");
            project.tell_warning(format_args!(
                "service {service}: what the stack file names was given up; release {release} stays until \
                 `ticketctl deploy {service}`"
            ));
        }
    }
}

/// The name of a service's group.
pub fn group_name<'a>(blueprint: &'a Blueprint, service: &str) -> Option<&'a str> {
    blueprint.nodes.get(&AutoScalingGroup::id_of(service))?.spec.get("name")?.as_str()
}

/// Whether a plan has nothing to say to a service's instances, but a rollout is still to be ended.
pub async fn is_unfinished(project: &Project, blueprint: &Blueprint, service: &str) -> Result<bool> {
    let Some(group) = group_name(blueprint, service) else { return Ok(false) };
    let Some(fleet) = Fleet::look(&project.cx, group).await? else { return Ok(false) };
    let outdated = fleet.present().any(|member| member.release != fleet.release);
    Ok(outdated || fleet.tags.contains_key(tags::ROLLOUT))
}

/// Rolls the services that `touched` names, and those that an earlier run left unfinished; of the stack's services only
/// `among`.
///
/// # Errors
/// A release that had to be given up, and what kept a rollout from its end.
pub async fn roll(
    run: &Run<'_>,
    project: &Project,
    blueprint: &Blueprint,
    among: &[&String],
    touched: &BTreeSet<String>,
) -> Result<u8> {
    if project.cx.gap("auto_scaling_group").is_some() {
        return Ok(0);
    }
    let mut due: Vec<(&str, &str)> = Vec::new();
    for name in among {
        if touched.contains(*name) || is_unfinished(project, blueprint, name).await? {
            due.extend(group_name(blueprint, name).map(|group| (name.as_str(), group)));
        }
    }
    let rollouts: Vec<_> = due.iter().map(|(name, group)| run.rollout(name, &project.stack, group)).collect();
    let endings = join_all(rollouts.iter().map(|rollout| rollout.run())).await;
    let mut failures = Vec::new();
    for ((name, ..), ending) in due.iter().zip(endings) {
        failures.extend(judge(run, name, ending));
    }
    match failures.len() {
        0 => Ok(0),
        1 => Err(failures.remove(0)),
        count => {
            let failure = Failure::new(format!("the rollouts of {count} services failed"));
            Err(failures.iter().fold(failure, |failure, one| failure.caused_by(one.message())))
        }
    }
}

/// Brings the new releases of services in beside the old ones, one service after the other.
///
/// # Errors
/// As [`roll`].
pub async fn shift(
    run: &Run<'_>,
    project: &Project,
    blueprint: &Blueprint,
    touched: &BTreeSet<String>,
    shift: Shift,
) -> Result<u8> {
    for name in touched {
        let Some(group) = group_name(blueprint, name) else { continue };
        let Some(fleet) = Fleet::look(&project.cx, group).await? else { continue };
        let release = release::current(&project.cx, &fleet.template).await?;
        let ending = run.rollout(name, &project.stack, group).shift(shift, release).await;
        if let Some(failure) = judge(run, name, ending) {
            return Err(failure);
        }
    }
    Ok(0)
}

/// Ends the deployments with a second group that earlier runs have left on purpose or by accident.
///
/// # Errors
/// As [`roll`].
pub async fn settle(run: &Run<'_>, project: &Project, among: &[&String], yes: bool) -> Result<()> {
    if project.cx.gap("auto_scaling_group").is_some() {
        return Ok(());
    }
    let scan = Scan::new(&project.cx);
    let groups = scan.of::<AutoScalingGroup>().await?;
    for name in among {
        let group = groups.iter().find(|group| group.logical_id == AutoScalingGroup::id_of(name));
        let Some(group) = group else { continue };
        if shift::is_under_way(&scan, name).await? {
            let question =
                format!("End the deployment of {name}: replace its old instances, and drop the second group?");
            if !run.confirm(&question, yes).await? {
                return Err(Failure::new("not confirmed; nothing was changed"));
            }
            let ending = run.rollout(name, &project.stack, &group.id).settle().await;
            if let Some(failure) = judge(run, name, ending) {
                return Err(failure);
            }
        }
    }
    Ok(())
}

/// Refuses what must not change the stack while a deployment with a second group waits for its end.
///
/// # Errors
/// There is such a deployment; calls that failed.
pub async fn refuse_under_way(project: &Project, among: &[&String]) -> Result<()> {
    if project.cx.gap("auto_scaling_group").is_some() {
        return Ok(());
    }
    let scan = Scan::new(&project.cx);
    for name in among {
        if shift::is_under_way(&scan, name).await? {
            return Err(Failure::new(format!(
                "service {name}: a deployment with a second group is under way; nothing was changed"
            ))
            .hint(format!(
                "`ticketctl apply` ends it, `ticketctl rollback {name}` takes it back; then make a new plan"
            )));
        }
    }
    Ok(())
}

/// Rolls one service to the end of what its group wants.
///
/// # Errors
/// As [`roll`].
pub async fn roll_one(run: &Run<'_>, project: &Project, service: &str, group: &str) -> Result<u8> {
    let ending = run.rollout(service, &project.stack, group).run().await;
    judge(run, service, ending).map_or(Ok(0), Err)
}

/// Tells a good ending; gives back a bad one as a failure.
pub fn judge(run: &Run<'_>, service: &str, ending: std::result::Result<Ending, Trouble>) -> Option<Failure> {
    match ending {
        Ok(Ending::Done { release, replaced }) => {
            let instances = if replaced == 1 { "instance" } else { "instances" };
            let what = if replaced == 0 { String::new() } else { format!(", {replaced} {instances} replaced") };
            run.notice(format!("service {service} runs release {release}{what}"));
            None
        }
        Ok(Ending::RolledBack { from, to, why }) => Some(
            Failure::new(format!("service {service}: release {from} was given up, release {to} runs again"))
                .caused_by(why)
                .hint(format!("`ticketctl logs {service}` and `ticketctl status` tell more; `ticketctl deploy {service}` tries again")),
        ),
        Ok(Ending::Failed { release, why }) => Some(
            Failure::new(format!("service {service}: release {release} isn't well, and there is no release before it"))
                .caused_by(why)
                .hint(format!("`ticketctl status` shows the instances and how they booted, `ticketctl logs {service}` what they say")),
        ),
        Err(trouble) => Some(
            Failure::new(format!("service {service}: {trouble}"))
                .hint("`ticketctl apply` or `ticketctl deploy` goes on from here"),
        ),
    }
}
