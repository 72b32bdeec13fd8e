//! Databases and caches.

use std::collections::{BTreeMap, BTreeSet};

use aws_sdk_elasticache::types::ReplicationGroup;
use aws_sdk_rds::types::{DbCluster, DbInstance};
use futures::future::try_join_all;

use crate::aws::{Context, Error, Result};

/// An Aurora cluster.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct DatabaseCluster {
    pub region: String,
    pub id: String,
    /// Such as `available`, `stopped`.
    pub status: String,
    /// Host name of the writer.
    pub endpoint: String,
    /// Host name of the readers.
    pub reader_endpoint: String,
    pub port: u16,
    /// The database that is made with the cluster, if any.
    pub database: Option<String>,
    pub username: String,
    /// ARN of the secret with the master user's password, if RDS keeps it.
    pub secret: Option<String>,
    /// What the user set in the cluster's parameter group.
    pub parameters: BTreeMap<String, String>,
    /// The writer first.
    pub instances: Vec<DatabaseInstance>,
}

/// One instance of a cluster.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct DatabaseInstance {
    pub id: String,
    pub status: String,
    pub endpoint: String,
    pub writer: bool,
    /// What the user set in the instance's parameter group.
    pub parameters: BTreeMap<String, String>,
}

/// A replication group: one Redis with its replicas.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct CacheGroup {
    pub region: String,
    pub id: String,
    pub status: String,
    /// Host name of the primary.
    pub endpoint: String,
    /// Host name of the replicas.
    pub reader_endpoint: String,
    pub port: u16,
    /// Such as `cache.t3.micro`.
    pub class: String,
    pub tls: bool,
    /// Whether clients need a password.
    pub auth: bool,
    /// What the user set in the parameter group.
    pub parameters: BTreeMap<String, String>,
    pub nodes: Vec<CacheNode>,
}

/// One node of a replication group.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct CacheNode {
    /// Such as `shop-dev-redis-001`.
    pub id: String,
    pub endpoint: String,
    pub primary: bool,
}

fn text(value: Option<&str>) -> String {
    value.unwrap_or_default().to_owned()
}

fn port(value: Option<i32>, default: u16) -> u16 {
    value.and_then(|port| u16::try_from(port).ok()).filter(|port| *port > 0).unwrap_or(default)
}

pub(super) async fn clusters(cx: &Context) -> Result<Vec<DatabaseCluster>> {
    let clusters = async {
        let items = cx.rds.describe_db_clusters().into_paginator().items().send();
        Ok::<Vec<DbCluster>, Error>(items.collect::<std::result::Result<_, _>>().await?)
    };
    let instances = async {
        let items = cx.rds.describe_db_instances().into_paginator().items().send();
        Ok::<Vec<DbInstance>, Error>(items.collect::<std::result::Result<_, _>>().await?)
    };
    let (clusters, instances) = tokio::try_join!(clusters, instances)?;
    let clusters: Vec<DbCluster> =
        clusters.into_iter().filter(|cluster| cluster.engine() == Some("aurora-mysql")).collect();
    let of_cluster = clusters.iter().filter_map(|cluster| cluster.db_cluster_parameter_group());
    let cluster_groups = parameters(of_cluster, |name| cluster_parameters(cx, name)).await?;
    let of_instance = instances.iter().filter_map(parameter_group);
    let instance_groups = parameters(of_instance, |name| instance_parameters(cx, name)).await?;
    let found = clusters.iter().map(|cluster| DatabaseCluster {
        region: cx.region.clone(),
        id: text(cluster.db_cluster_identifier()),
        status: text(cluster.status()),
        endpoint: text(cluster.endpoint()),
        reader_endpoint: text(cluster.reader_endpoint()),
        port: port(cluster.port(), 3306),
        database: cluster.database_name().filter(|name| !name.is_empty()).map(str::to_owned),
        username: text(cluster.master_username()),
        secret: cluster.master_user_secret().and_then(|secret| secret.secret_arn()).map(str::to_owned),
        parameters: of_group(&cluster_groups, cluster.db_cluster_parameter_group()),
        instances: members(cluster, &instances, &instance_groups),
    });
    Ok(found.collect())
}

fn members(cluster: &DbCluster, instances: &[DbInstance], groups: &Groups) -> Vec<DatabaseInstance> {
    let is_writer = |id: &str| {
        let member = cluster.db_cluster_members().iter().find(|member| member.db_instance_identifier() == Some(id));
        member.and_then(|member| member.is_cluster_writer()).unwrap_or_default()
    };
    let own = instances.iter().filter(|instance| instance.db_cluster_identifier() == cluster.db_cluster_identifier());
    let mut members: Vec<DatabaseInstance> = own
        .map(|instance| {
            let id = text(instance.db_instance_identifier());
            DatabaseInstance {
                status: text(instance.db_instance_status()),
                endpoint: text(instance.endpoint().and_then(|endpoint| endpoint.address())),
                writer: is_writer(&id),
                parameters: of_group(groups, parameter_group(instance)),
                id,
            }
        })
        .collect();
    members.sort_by_key(|member| (!member.writer, member.id.clone()));
    members
}

fn parameter_group(instance: &DbInstance) -> Option<&str> {
    instance.db_parameter_groups().first()?.db_parameter_group_name()
}

/// Parameters by group.
type Groups = BTreeMap<String, BTreeMap<String, String>>;

fn of_group(groups: &Groups, name: Option<&str>) -> BTreeMap<String, String> {
    name.and_then(|name| groups.get(name)).cloned().unwrap_or_default()
}

/// The parameters of each group once. The defaults of AWS's own groups are the engine's.
async fn parameters<'a, F>(names: impl Iterator<Item = &'a str>, read: impl Fn(String) -> F) -> Result<Groups>
where
    F: Future<Output = Result<BTreeMap<String, String>>>,
{
    let names: BTreeSet<String> = names.filter(|name| !name.starts_with("default.")).map(str::to_owned).collect();
    let groups = names.into_iter().map(|name| {
        let read = read(name.clone());
        async move { Ok::<_, Error>((name, read.await?)) }
    });
    Ok(try_join_all(groups).await?.into_iter().collect())
}

fn pair(name: Option<&str>, value: Option<&str>) -> Option<(String, String)> {
    Some((name?.to_owned(), value?.to_owned()))
}

async fn cluster_parameters(cx: &Context, group: String) -> Result<BTreeMap<String, String>> {
    let call = cx.rds.describe_db_cluster_parameters().db_cluster_parameter_group_name(group).source("user");
    let items = call.into_paginator().items().send().collect::<std::result::Result<Vec<_>, _>>().await?;
    Ok(items.iter().filter_map(|item| pair(item.parameter_name(), item.parameter_value())).collect())
}

async fn instance_parameters(cx: &Context, group: String) -> Result<BTreeMap<String, String>> {
    let call = cx.rds.describe_db_parameters().db_parameter_group_name(group).source("user");
    let items = call.into_paginator().items().send().collect::<std::result::Result<Vec<_>, _>>().await?;
    Ok(items.iter().filter_map(|item| pair(item.parameter_name(), item.parameter_value())).collect())
}

async fn cache_parameters(cx: &Context, group: String) -> Result<BTreeMap<String, String>> {
    let call = cx.elasticache.describe_cache_parameters().cache_parameter_group_name(group).source("user");
    let items = call.into_paginator().items().send().collect::<std::result::Result<Vec<_>, _>>().await?;
    Ok(items.iter().filter_map(|item| pair(item.parameter_name(), item.parameter_value())).collect())
}

pub(super) async fn caches(cx: &Context) -> Result<Vec<CacheGroup>> {
    let groups = cx.elasticache.describe_replication_groups().into_paginator().items().send();
    let groups: Vec<ReplicationGroup> = groups.collect::<std::result::Result<_, _>>().await?;
    if groups.is_empty() {
        return Ok(Vec::new());
    }
    let members = cx.elasticache.describe_cache_clusters().into_paginator().items().send();
    let members: Vec<_> = members.collect::<std::result::Result<Vec<_>, _>>().await?;
    let parameter_group = |id: Option<&str>| {
        let member = members.iter().find(|member| member.replication_group_id() == id)?;
        member.cache_parameter_group()?.cache_parameter_group_name()
    };
    let names = groups.iter().filter_map(|group| parameter_group(group.replication_group_id()));
    let parameters = parameters(names, |name| cache_parameters(cx, name)).await?;
    let found = groups.iter().map(|group| {
        let shard = group.node_groups().first();
        let primary = shard.and_then(|shard| shard.primary_endpoint());
        let nodes = shard.map(|shard| shard.node_group_members()).unwrap_or_default().iter();
        CacheGroup {
            region: cx.region.clone(),
            id: text(group.replication_group_id()),
            status: text(group.status()),
            endpoint: text(primary.and_then(|endpoint| endpoint.address())),
            reader_endpoint: text(shard.and_then(|shard| shard.reader_endpoint()).and_then(|e| e.address())),
            port: port(primary.and_then(|endpoint| endpoint.port()), 6379),
            class: text(group.cache_node_type()),
            tls: group.transit_encryption_enabled().unwrap_or_default(),
            auth: group.auth_token_enabled().unwrap_or_default(),
            parameters: of_group(&parameters, parameter_group(group.replication_group_id())),
            nodes: nodes
                .map(|node| CacheNode {
                    id: text(node.cache_cluster_id()),
                    endpoint: text(node.read_endpoint().and_then(|endpoint| endpoint.address())),
                    primary: node.current_role() == Some("primary"),
                })
                .collect(),
        }
    });
    Ok(found.collect())
}
