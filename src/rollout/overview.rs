//! The whole stack in one look: instances, releases, database, cache, alarms. What people ask first when something is wrong.

use aws_sdk_ec2::types::{Filter, Instance};
use aws_sdk_rds::types::{DbClusterMember, DbInstance};
use futures::future::try_join_all;
use jiff::Timestamp;
use serde::Serialize;

use super::{
    fleet::Fleet,
    release::{self, Release},
};
use crate::{
    aws::{Context, Error, Result, tags},
    resource::{AutoScalingGroup, DbCluster, Found, Listener, LoadBalancer, ReplicationGroup, Scan},
};

/// What there is, part by part; a part that the stack doesn't have is empty.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Overview {
    pub stack: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    /// The site's URL.
    pub address: Option<String>,
    pub services: Vec<ServiceState>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub database: Option<Database>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cache: Option<Cache>,
    pub alarms: Vec<AlarmState>,
}

/// A service and its instances.
#[derive(Clone, Debug, Serialize)]
pub struct ServiceState {
    pub name: String,
    #[serde(flatten)]
    pub fleet: Fleet,
    /// A rollout is under way, or a dead run has left one.
    pub rolling: bool,
    pub paused: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub current: Option<Release>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub previous: Option<Release>,
    /// Boots that didn't end well, of instances that are there and of those that went within the last hour.
    pub failed_boots: Vec<Boot>,
}

/// What an instance said about its boot.
#[derive(Clone, Debug, Serialize)]
pub struct Boot {
    pub instance: String,
    pub outcome: String,
}

#[derive(Clone, Debug, Serialize)]
pub struct Database {
    pub cluster: String,
    pub status: String,
    pub members: Vec<Node>,
}

#[derive(Clone, Debug, Serialize)]
pub struct Cache {
    pub group: String,
    pub status: String,
    pub members: Vec<Node>,
}

/// A member of a database or cache.
#[derive(Clone, Debug, Serialize)]
pub struct Node {
    pub id: String,
    /// `writer` or `reader`, `primary` or `replica`.
    pub role: String,
    pub zone: String,
    pub status: String,
}

#[derive(Clone, Debug, Serialize)]
pub struct AlarmState {
    pub name: String,
    /// `OK`, `ALARM` or `INSUFFICIENT_DATA`.
    pub state: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<Timestamp>,
    pub reason: String,
}

impl Overview {
    /// Looks at everything at once.
    ///
    /// # Errors
    /// Calls that failed.
    pub async fn take(cx: &Context) -> Result<Overview> {
        let scan = Scan::new(cx);
        let (address, services, database, cache, alarms) =
            tokio::try_join!(address(&scan), services(&scan), database(&scan), cache(&scan), alarms(&scan))?;
        Ok(Overview { stack: cx.stack.clone(), address, services, database, cache, alarms })
    }
}

async fn address(scan: &Scan<'_>) -> Result<Option<String>> {
    if scan.gap("load_balancer").is_some() {
        return Ok(None);
    }
    let (balancers, listeners) = tokio::try_join!(scan.of::<LoadBalancer>(), scan.of::<Listener>())?;
    let scheme = if listeners.iter().any(|listener| listener.spec.tls.is_some()) { "https" } else { "http" };
    Ok(balancers.first().map(|balancer| format!("{scheme}://{}", balancer.output("dns_name"))))
}

async fn services(scan: &Scan<'_>) -> Result<Vec<ServiceState>> {
    if scan.gap("auto_scaling_group").is_some() {
        return Ok(Vec::new());
    }
    let (mut groups, boots) = tokio::try_join!(scan.of::<AutoScalingGroup>(), failed_boots(scan))?;
    groups.sort_by(|a, b| a.logical_id.cmp(&b.logical_id));
    let states = groups.iter().filter_map(|group| {
        let name = group.logical_id.strip_prefix("group-")?;
        Some(service(scan, name, &group.id, &boots))
    });
    Ok(try_join_all(states).await?.into_iter().flatten().collect())
}

async fn service(cx: &Context, name: &str, group: &str, boots: &[(String, Boot)]) -> Result<Option<ServiceState>> {
    let Some(fleet) = Fleet::look(cx, group).await? else { return Ok(None) };
    let releases = release::list(cx, &fleet.template).await?;
    let find = |number: Option<u64>| releases.iter().find(|release| Some(release.number) == number).cloned();
    let current = find(Some(fleet.release));
    let previous = find(current.as_ref().and_then(|release| release.previous));
    let failed_boots = boots.iter().filter(|(of, _)| of == group).map(|(_, boot)| boot.clone()).collect();
    let (rolling, paused) = (fleet.tags.contains_key(tags::ROLLOUT), fleet.tags.contains_key(tags::PAUSED));
    Ok(Some(ServiceState { name: name.to_owned(), fleet, rolling, paused, current, previous, failed_boots }))
}

/// By group.
async fn failed_boots(cx: &Context) -> Result<Vec<(String, Boot)>> {
    let filter = |name: String, value: &str| Filter::builder().name(name).values(value).build();
    let request = cx.ec2.describe_instances().filters(filter(format!("tag:{}", tags::STACK), &cx.stack));
    let pages = request.filters(filter("tag-key".into(), tags::BOOT)).into_paginator();
    let reservations = pages.items().send().try_collect().await.map_err(Error::from)?;
    let failed = |instance: &Instance| {
        let tag = |key: &str| {
            let tag = instance.tags().iter().find(|tag| tag.key() == Some(key));
            tag.and_then(|tag| tag.value()).map(str::to_owned)
        };
        let outcome = tag(tags::BOOT).filter(|outcome| !outcome.starts_with("ok"))?;
        let group = tag("aws:autoscaling:groupName")?;
        Some((group, Boot { instance: instance.instance_id()?.to_owned(), outcome }))
    };
    Ok(reservations.iter().flat_map(|reservation| reservation.instances()).filter_map(failed).collect())
}

async fn database(scan: &Scan<'_>) -> Result<Option<Database>> {
    if scan.gap("db_cluster").is_some() {
        return Ok(None);
    }
    let clusters = scan.of::<DbCluster>().await?;
    let Some(Found { id, .. }) = clusters.first() else { return Ok(None) };
    let filter = aws_sdk_rds::types::Filter::builder().name("db-cluster-id").values(id).build();
    let instances = scan.rds.describe_db_instances().filters(filter);
    let (answer, instances) = tokio::try_join!(
        async { scan.rds.describe_db_clusters().db_cluster_identifier(id).send().await.map_err(Error::from) },
        async { instances.send().await.map_err(Error::from) },
    )?;
    let Some(cluster) = answer.db_clusters().first() else { return Ok(None) };
    let member = |member: &DbClusterMember| {
        let id = member.db_instance_identifier().unwrap_or_default();
        let of_this = |instance: &&DbInstance| instance.db_instance_identifier() == Some(id);
        let instance = instances.db_instances().iter().find(of_this);
        let writer = member.is_cluster_writer().unwrap_or_default();
        let text = |text: Option<&str>| text.unwrap_or_default().to_owned();
        Node {
            id: id.to_owned(),
            role: if writer { "writer" } else { "reader" }.into(),
            zone: text(instance.and_then(|instance| instance.availability_zone())),
            status: text(instance.and_then(|instance| instance.db_instance_status())),
        }
    };
    let mut members: Vec<Node> = cluster.db_cluster_members().iter().map(member).collect();
    members.sort_by(|a, b| b.role.cmp(&a.role).then(a.id.cmp(&b.id)));
    let status = cluster.status().unwrap_or_default().to_owned();
    Ok(Some(Database { cluster: id.clone(), status, members }))
}

async fn cache(scan: &Scan<'_>) -> Result<Option<Cache>> {
    if scan.gap("replication_group").is_some() {
        return Ok(None);
    }
    let groups = scan.of::<ReplicationGroup>().await?;
    let Some(Found { id, .. }) = groups.first() else { return Ok(None) };
    let answer = scan.elasticache.describe_replication_groups().replication_group_id(id).send().await?;
    let Some(group) = answer.replication_groups().first() else { return Ok(None) };
    let text = |text: Option<&str>| text.unwrap_or_default().to_owned();
    let members = group.node_groups().iter().flat_map(|shard| {
        shard.node_group_members().iter().map(move |member| Node {
            id: text(member.cache_cluster_id()),
            role: text(member.current_role()),
            zone: text(member.preferred_availability_zone()),
            status: text(shard.status()),
        })
    });
    Ok(Some(Cache { group: id.clone(), status: text(group.status()), members: members.collect() }))
}

async fn alarms(cx: &Context) -> Result<Vec<AlarmState>> {
    if cx.gap("alarm").is_some() {
        return Ok(Vec::new());
    }
    let prefix = format!("{}/", cx.stack);
    let mut pages = cx.cloudwatch.describe_alarms().alarm_name_prefix(&prefix).max_records(100).into_paginator().send();
    let mut alarms = Vec::new();
    while let Some(page) = pages.try_next().await? {
        for alarm in page.metric_alarms() {
            let time = alarm.state_updated_timestamp().and_then(|time| Timestamp::from_second(time.secs()).ok());
            alarms.push(AlarmState {
                name: alarm.alarm_name().unwrap_or_default().trim_start_matches(&prefix).to_owned(),
                state: alarm.state_value().map(|state| state.as_str()).unwrap_or_default().to_owned(),
                since: time,
                reason: alarm.state_reason().unwrap_or_default().to_owned(),
            });
        }
    }
    Ok(alarms)
}
