//! `ticketctl pause` and `ticketctl resume`: a stack that nobody uses costs less.

use clap::Args;
use jiff::{SignedDuration, Timestamp};
use std::collections::BTreeSet;

use super::{
    Failure, Global, Result,
    project::{Project, unreadable},
    rollouts,
    run::{Flags, Run},
};
use crate::{
    aws::tags,
    blueprint::Blueprint,
    engine::Inventory,
    resource::{AutoScalingGroup, DbCluster, Kind},
    rollout::{fleet::Fleet, pause},
    ui,
};

/// A stopped cluster is started by AWS itself after so many days.
/// Source: <https://docs.aws.amazon.com/AmazonRDS/latest/AuroraUserGuide/aurora-cluster-stop-start.html>
const STOPPED_DAYS: i64 = 7;

#[derive(Debug, Args)]
pub struct Arguments {
    #[command(flatten)]
    flags: Flags,
}

/// What of the stack can rest.
struct Parts {
    /// Service and group.
    groups: Vec<(String, String)>,
    cluster: Option<String>,
}

impl Parts {
    fn of(project: &Project, inventory: &Inventory) -> Parts {
        let groups = project.stack.services.keys().filter_map(|service| {
            let owned = inventory.resources.get(&AutoScalingGroup::id_of(service))?;
            Some((service.clone(), owned.found.id.clone()))
        });
        let cluster = inventory.all().find(|owned| owned.kind.name() == DbCluster::NAME);
        Parts { groups: groups.collect(), cluster: cluster.map(|owned| owned.found.id.clone()) }
    }
}

/// What is paused: services by their groups, and the database.
pub fn paused(inventory: &Inventory) -> BTreeSet<String> {
    let groups = inventory
        .resources
        .iter()
        .filter(|(_, owned)| owned.found.tags.as_ref().is_some_and(|tags| tags.contains_key(tags::PAUSED)));
    let services = groups.filter_map(|(id, _)| id.strip_prefix("group-")).map(str::to_owned);
    let database = stopped_clusters(inventory).next().map(|_| "database".to_owned());
    services.chain(database).collect()
}

/// The clusters that are stopped, or on their way there, by their names.
fn stopped_clusters(inventory: &Inventory) -> impl Iterator<Item = &str> {
    let clusters = inventory.all().filter(|owned| owned.kind.name() == DbCluster::NAME);
    let stopped = clusters.filter(|owned| owned.found.outputs.contains_key(DbCluster::AT_REST));
    stopped.map(|owned| owned.found.id.as_str())
}

/// Starts the database of a stack that is to go: AWS deletes no instance of a stopped cluster.
///
/// # Errors
/// Calls that failed, and a cluster that doesn't start.
pub async fn wake_to_delete(run: &Run<'_>, inventory: &Inventory) -> Result<()> {
    for cluster in stopped_clusters(inventory) {
        run.permitted()?;
        run.notice(format!("database {cluster} starts: AWS deletes nothing of a stopped one"));
        pause::start_database(run.cx, cluster, |state| run.notice(format!("database {cluster}: {state}"))).await?;
    }
    Ok(())
}

/// Refuses what a paused stack can't do.
///
/// # Errors
/// The stack is paused.
pub fn refuse_paused(project: &Project, inventory: &Inventory) -> Result<()> {
    if paused(inventory).is_empty() {
        return Ok(());
    }
    Err(Failure::new(format!("stack {} is paused", project.cx.stack)).hint("`ticketctl resume` wakes it up first"))
}

pub async fn pause(global: &Global, arguments: Arguments) -> Result<u8> {
    let project = Project::open(global).await?;
    let run = Run::begin(&project.cx, global, "pause", arguments.flags.json).await?;
    let result = pause_under_lock(&arguments, &project, &run).await;
    run.end(result).await
}

async fn pause_under_lock(arguments: &Arguments, project: &Project, run: &Run<'_>) -> Result<u8> {
    let cx = &project.cx;
    let services: Vec<&String> = project.stack.services.keys().collect();
    // After a blue-green deployment it is the second group that serves everything.
    rollouts::settle(run, project, &services, arguments.flags.yes).await?;
    let inventory = Inventory::take(cx).await.map_err(|errors| unreadable(&errors))?;
    let parts = Parts::of(project, &inventory);
    if parts.groups.is_empty() && parts.cluster.is_none() {
        return Err(Failure::new(format!("stack {} has nothing to pause", cx.stack)));
    }
    if !run.quiet() {
        ui::tell(
            "The site goes offline: no instances, a stopped database. Billed on: storage, cache, load balancer, NAT.",
        );
    }
    if !run.confirm("Pause the stack?", arguments.flags.yes).await? {
        return Err(Failure::new("not confirmed; nothing was changed"));
    }
    for (service, group) in &parts.groups {
        let Some(fleet) = Fleet::look(cx, group).await? else { continue };
        run.permitted()?;
        let size = pause::pause(cx, &fleet).await?;
        let kind = &project.stack.services[service].instances.instance_type;
        run.notice(format!("service {service}: {} × {kind} go; remembered for `ticketctl resume`", size.desired));
    }
    if let Some(cluster) = &parts.cluster {
        run.permitted()?;
        if pause::stop_database(cx, cluster).await? {
            let members = project.stack.database.as_ref().map_or(0, |database| database.readers + 1);
            let class = project.stack.database.as_ref().map(|database| database.class.clone()).unwrap_or_default();
            let wakes = Timestamp::now() + SignedDuration::from_hours(24 * STOPPED_DAYS);
            run.notice(format!(
                "database {cluster}: {members} × {class} stop; AWS starts it by itself after {STOPPED_DAYS} days, on {}: \
                 pause again then",
                wakes.strftime("%Y-%m-%d")
            ));
        }
    }
    Ok(0)
}

pub async fn resume(global: &Global, arguments: Arguments) -> Result<u8> {
    let project = Project::open(global).await?;
    let run = Run::begin(&project.cx, global, "resume", arguments.flags.json).await?;
    let result = resume_under_lock(&project, &run).await;
    run.end(result).await
}

async fn resume_under_lock(project: &Project, run: &Run<'_>) -> Result<u8> {
    let cx = &project.cx;
    let (blueprint, inventory): (Blueprint, Inventory) = project.look().await?;
    let parts = Parts::of(project, &inventory);
    if let Some(cluster) = &parts.cluster {
        run.permitted()?;
        // Before the instances: what starts without its database is found unhealthy.
        pause::start_database(cx, cluster, |state| run.notice(format!("database {cluster}: {state}"))).await?;
    }
    let mut woken = BTreeSet::new();
    for (service, group) in &parts.groups {
        let Some(fleet) = Fleet::look(cx, group).await? else { continue };
        run.permitted()?;
        if let Some(size) = pause::resume(cx, &fleet).await? {
            run.notice(format!("service {service}: {} instances come back", size.desired));
            woken.insert(service.clone());
        }
    }
    let services: Vec<&String> = project.stack.services.keys().collect();
    rollouts::roll(run, project, &blueprint, &services, &woken).await
}
