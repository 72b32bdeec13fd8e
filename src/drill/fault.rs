//! What can be broken, and how to tell that it is well again.

use clap::ValueEnum;
use std::{collections::BTreeSet, time::Duration};

use crate::{
    aws::{Context, Error, Result},
    rollout::{
        fleet::State,
        overview::{Node, Overview},
    },
};

/// A fault that AWS itself, or its hardware, may cause at any time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Fault {
    /// A healthy instance of each service is terminated.
    KillInstance,
    /// All instances of one zone are terminated, and database and cache leave it.
    AzOutage,
    /// The database's writer is replaced by a reader.
    DbFailover,
    /// The cache's primary is replaced by a replica.
    CacheFailover,
}

/// How long nothing may be written when the database's writer was hit, by whatever.
const WRITER: Duration = Duration::from_secs(40);

/// What the fault has hit.
#[derive(Debug, Default)]
pub struct Hit {
    /// In words.
    pub done: Vec<String>,
    instances: BTreeSet<String>,
    writer: Option<String>,
    primary: Option<String>,
}

impl Fault {
    pub fn name(self) -> &'static str {
        match self {
            Fault::KillInstance => "kill-instance",
            Fault::AzOutage => "az-outage",
            Fault::DbFailover => "db-failover",
            Fault::CacheFailover => "cache-failover",
        }
    }

    /// The downtime that platforms of this kind promise: none worth the name for an instance, 5 s for a zone, 40 s for the
    /// writer, and as much for the cache as for a zone, because selling goes on without it.
    pub fn allowed(self) -> Duration {
        match self {
            Fault::KillInstance => Duration::from_secs(1),
            Fault::AzOutage | Fault::CacheFailover => Duration::from_secs(5),
            Fault::DbFailover => WRITER,
        }
    }

    /// Why the stack can't take it: it would be a loss and no drill.
    pub fn objection(self, overview: &Overview) -> Option<String> {
        let lone = overview.services.iter().find(|service| service.fleet.count(State::Healthy) < 2);
        let few = |nodes: Option<&Vec<Node>>, what: &str| match nodes {
            None => Some(format!("the stack has no {what}")),
            Some(nodes) if nodes.len() < 2 => Some(format!("the {what} has one member alone: nothing could take over")),
            Some(_) => None,
        };
        match self {
            Fault::KillInstance | Fault::AzOutage => {
                let lone = lone.map(|service| format!("service {} has fewer than 2 healthy instances", service.name));
                lone.or_else(|| overview.services.is_empty().then(|| "the stack has no services".into()))
            }
            Fault::DbFailover => few(overview.database.as_ref().map(|database| &database.members), "database"),
            Fault::CacheFailover => few(overview.cache.as_ref().map(|cache| &cache.members), "cache"),
        }
    }

    /// Breaks it.
    ///
    /// # Errors
    /// Calls that failed.
    pub async fn strike(self, cx: &Context, before: &Overview) -> Result<Hit> {
        let mut hit = Hit::default();
        match self {
            Fault::KillInstance => {
                let healthy = before
                    .services
                    .iter()
                    .filter_map(|service| service.fleet.members.iter().find(|member| member.state == State::Healthy));
                hit.terminate(cx, healthy.map(|member| member.id.clone()).collect()).await?;
            }
            Fault::AzOutage => {
                let zone = zone(before);
                hit.done.push(format!("zone {zone} is lost"));
                let members = before.services.iter().flat_map(|service| service.fleet.present());
                let lost: Vec<_> =
                    members.filter(|member| member.zone == zone).map(|member| member.id.clone()).collect();
                let is_there = |nodes: &[Node], role: &str| {
                    nodes.len() > 1 && nodes.iter().any(|node| node.role == role && node.zone == zone)
                };
                if before.database.as_ref().is_some_and(|database| is_there(&database.members, "writer")) {
                    hit.fail_database_over(cx, before).await?;
                }
                if before.cache.as_ref().is_some_and(|cache| is_there(&cache.members, "primary")) {
                    hit.fail_cache_over(cx, before).await?;
                }
                hit.terminate(cx, lost).await?;
            }
            Fault::DbFailover => hit.fail_database_over(cx, before).await?,
            Fault::CacheFailover => hit.fail_cache_over(cx, before).await?,
        }
        Ok(hit)
    }
}

/// The zone that loses most: the writer's, or else the first instance's.
fn zone(overview: &Overview) -> String {
    let writer = overview.database.as_ref().and_then(|database| with_role(&database.members, "writer"));
    let member = || overview.services.iter().flat_map(|service| service.fleet.present()).next();
    let zones: BTreeSet<&str> =
        overview.services.iter().flat_map(|service| service.fleet.present()).map(|member| &*member.zone).collect();
    let writers = writer.map(|writer| writer.zone.clone()).filter(|zone| zones.contains(zone.as_str()));
    writers.or_else(|| member().map(|member| member.zone.clone())).unwrap_or_default()
}

fn with_role<'a>(nodes: &'a [Node], role: &str) -> Option<&'a Node> {
    nodes.iter().find(|node| node.role == role)
}

impl Hit {
    async fn terminate(&mut self, cx: &Context, ids: Vec<String>) -> Result<()> {
        if ids.is_empty() {
            return Ok(());
        }
        cx.ec2.terminate_instances().set_instance_ids(Some(ids.clone())).send().await?;
        self.done.push(format!("terminated {}", ids.join(", ")));
        self.instances.extend(ids);
        Ok(())
    }

    async fn fail_database_over(&mut self, cx: &Context, before: &Overview) -> Result<()> {
        let Some(database) = &before.database else { return Ok(()) };
        cx.rds.failover_db_cluster().db_cluster_identifier(&database.cluster).send().await?;
        self.writer = with_role(&database.members, "writer").map(|writer| writer.id.clone());
        self.done.push(format!(
            "failed {} over, away from {}",
            database.cluster,
            self.writer.as_deref().unwrap_or("?")
        ));
        Ok(())
    }

    async fn fail_cache_over(&mut self, cx: &Context, before: &Overview) -> Result<()> {
        let Some(cache) = &before.cache else { return Ok(()) };
        let answer = cx.elasticache.describe_replication_groups().replication_group_id(&cache.group).send().await?;
        let shard = answer.replication_groups().first().and_then(|group| group.node_groups().first());
        let shard = shard.and_then(|shard| shard.node_group_id()).unwrap_or("0001");
        let call = cx.elasticache.test_failover().replication_group_id(&cache.group).node_group_id(shard);
        call.send().await.map_err(Error::from)?;
        self.primary = with_role(&cache.members, "primary").map(|primary| primary.id.clone());
        self.done.push(format!("failed {} over, away from {}", cache.group, self.primary.as_deref().unwrap_or("?")));
        Ok(())
    }

    /// The time in which nothing may be written; what is allowed for reads is allowed for writes, too.
    pub fn allowed_for_writes(&self, fault: Fault) -> Duration {
        if self.writer.is_some() { WRITER } else { fault.allowed() }
    }

    /// Whether the stack has its full strength again: what was hit has been replaced.
    pub fn is_over(&self, now: &Overview) -> bool {
        let services = now.services.iter().all(|service| {
            let gone = service.fleet.present().all(|member| !self.instances.contains(&member.id));
            let healthy = i32::try_from(service.fleet.count(State::Healthy)).unwrap_or(i32::MAX);
            gone && healthy >= service.fleet.desired
        });
        let moved = |nodes: Option<&Vec<Node>>, role: &str, before: &Option<String>| {
            let Some(before) = before else { return true };
            let nodes = nodes.map(Vec::as_slice).unwrap_or_default();
            with_role(nodes, role).is_some_and(|node| node.id != *before)
                && nodes.iter().all(|node| node.status == "available")
        };
        services
            && moved(now.database.as_ref().map(|database| &database.members), "writer", &self.writer)
            && moved(now.cache.as_ref().map(|cache| &cache.members), "primary", &self.primary)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::drill::{
        Report,
        probe::{Seen, Tally},
    };

    #[test]
    fn writes_may_wait_for_a_new_writer_and_reads_may_not() {
        let passed = |writer: Option<&str>, reads: f64, writes: f64, lost: Option<usize>| {
            let hit = Hit { writer: writer.map(str::to_owned), ..Hit::default() };
            let tally = |downtime_seconds| Tally { downtime_seconds, ..Tally::default() };
            let seen = Seen {
                reads: tally(reads),
                writes: Some(tally(writes)),
                acknowledged_writes: 10,
                lost_writes: lost,
                unmeasured: None,
            };
            Report::new(Fault::AzOutage, hit, Some(Duration::from_secs(50)), Duration::from_secs(50), seen).passed
        };
        assert!(passed(Some("db-1"), 4.9, 39.9, Some(0)));
        assert!(!passed(Some("db-1"), 5.1, 0.0, Some(0)) && !passed(Some("db-1"), 0.0, 40.1, Some(0)));
        assert!(passed(None, 4.9, 4.9, Some(0)) && !passed(None, 0.0, 5.1, Some(0)));
        assert!(!passed(None, 0.0, 0.0, Some(1)), "what was acknowledged is lost");
    }
}
