//! A Redis with its replicas, encrypted in transit and at rest, behind a password.

use aws_sdk_elasticache::types::{AutomaticFailoverStatus, CacheCluster, MultiAzStatus, ReplicationGroup as AwsGroup};
use backon::{ExponentialBuilder, Retryable};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeSet, time::Duration};

use super::{CacheParameterGroup, CacheSubnetGroup, Change, Created, Desired, Effect, Found, Handle, Kind, Outputs, Ref};
use super::{Scan, Secret, SecurityGroup, Select, Status, Traits, elasticache, elasticache::Role};
use crate::aws::{Context, Error, Result, Tags, tags};

pub struct ReplicationGroup;

#[derive(Serialize, Deserialize)]
pub struct ReplicationGroupSpec {
    /// As [`Role::group_name`] makes it.
    pub name: String,
    pub description: String,
    /// Such as `7.1`; at least this one, because AWS upgrades minor versions by itself.
    pub version: String,
    /// Such as `cache.r7g.large`.
    pub class: String,
    /// The primary and its replicas: 1 to 6.
    pub nodes: i32,
    /// Whether a replica takes over from a lost primary; needs two nodes.
    pub failover: bool,
    /// Whether the nodes lie in different zones; needs failover.
    pub multi_az: bool,
    pub port: i32,
    pub subnet_group: Ref<CacheSubnetGroup>,
    pub parameter_group: Ref<CacheParameterGroup>,
    pub security_groups: BTreeSet<Ref<SecurityGroup>>,
    pub encrypted_in_transit: bool,
    pub encrypted_at_rest: bool,
    /// Whether clients need a password.
    pub auth: bool,
    /// The secret whose value is the password, for the create call alone: AWS tells only that there is one.
    pub auth_secret: Option<Ref<Secret>>,
    /// How long daily snapshots are kept, up to 35; 0 for none.
    pub snapshot_days: i32,
    /// Daily, in UTC: `hh:mm-hh:mm`; none where there are no snapshots.
    pub snapshot_window: Option<String>,
    /// Weekly, in UTC: `ddd:hh:mm-ddd:hh:mm`.
    pub maintenance_window: String,
    pub auto_minor_upgrades: bool,
}

impl Handle<ReplicationGroup> {
    /// Host name of the primary, wherever it is.
    pub fn endpoint(&self) -> String {
        self.ready_output("endpoint")
    }

    /// Host name that spreads connections over the replicas.
    pub fn reader_endpoint(&self) -> String {
        self.ready_output("reader_endpoint")
    }
}

/// The output with the group's ARN.
const ARN: &str = "arn";

/// What one modify call changes; the number of nodes has calls of its own.
const MODIFIABLE: [&str; 11] = [
    "description",
    "version",
    "class",
    "failover",
    "multi_az",
    "parameter_group",
    "security_groups",
    "snapshot_days",
    "snapshot_window",
    "maintenance_window",
    "auto_minor_upgrades",
];

impl Kind for ReplicationGroup {
    const NAME: &'static str = "replication_group";
    const TRAITS: Traits = Traits::slow(480, 3600).holding_data();
    type Spec = ReplicationGroupSpec;

    fn effect(path: &str) -> Effect {
        match super::root(path) {
            "class" | "version" => Effect::Interrupts,
            "nodes" => Effect::InPlace,
            attribute if MODIFIABLE.contains(&attribute) => Effect::InPlace,
            _ => Effect::Replace,
        }
    }

    fn follow(wish: &mut ReplicationGroupSpec, found: &ReplicationGroupSpec) {
        // AWS answers `7.1` with the patch level that it runs, `7.1.0`, upgrades by itself, and can't go back.
        if is_at_least(&found.version, &wish.version) {
            wish.version.clone_from(&found.version);
        }
        wish.auth_secret = None;
        // What is still being made tells only a part of itself: it has no endpoint, and at first no members.
        if found.port == 0 {
            wish.port = 0;
        }
        if found.subnet_group.is_empty() {
            wish.version.clone_from(&found.version);
            wish.subnet_group.clone_from(&found.subnet_group);
            wish.parameter_group.clone_from(&found.parameter_group);
            wish.security_groups.clone_from(&found.security_groups);
            wish.maintenance_window.clone_from(&found.maintenance_window);
        }
    }

    async fn find(scan: &Scan<'_>, select: &Select<'_>) -> Result<Vec<Found<ReplicationGroupSpec>>> {
        let names: Vec<_> = Role::ALL.into_iter().map(|role| (role, role.group_name(&scan.stack))).collect();
        // The groups' listing leaves out what only their member clusters tell: version, network, maintenance.
        let (groups, clusters) = tokio::try_join!(groups(scan, select), clusters(scan))?;
        let found = groups.iter().filter_map(|group| {
            let (role, _) = names.iter().find(|(_, name)| group.replication_group_id() == Some(name))?;
            let member =
                clusters.iter().find(|cluster| cluster.replication_group_id() == group.replication_group_id());
            Some(found(*role, group, member))
        });
        Ok(found.collect())
    }

    async fn tags(cx: &Context, _name: &str, outputs: &Outputs) -> Result<Option<Tags>> {
        elasticache::tags(cx, &outputs[ARN]).await
    }

    async fn create(cx: &Context, desired: &Desired<ReplicationGroupSpec>) -> Result<Created> {
        let spec = &desired.spec;
        let password = match &spec.auth_secret {
            Some(secret) => Some(password(cx, secret).await?),
            None => None,
        };
        cx.elasticache
            .create_replication_group()
            .replication_group_id(&spec.name)
            .replication_group_description(&spec.description)
            .engine(elasticache::ENGINE)
            .engine_version(&spec.version)
            .cache_node_type(&spec.class)
            .num_cache_clusters(spec.nodes)
            .automatic_failover_enabled(spec.failover)
            .multi_az_enabled(spec.multi_az)
            .port(spec.port)
            .cache_subnet_group_name(&*spec.subnet_group)
            .cache_parameter_group_name(&*spec.parameter_group)
            .set_security_group_ids(Some(spec.security_groups.iter().map(ToString::to_string).collect()))
            .transit_encryption_enabled(spec.encrypted_in_transit)
            .at_rest_encryption_enabled(spec.encrypted_at_rest)
            .set_auth_token(password.map(|password| password.expose_secret().to_owned()))
            .snapshot_retention_limit(spec.snapshot_days)
            .set_snapshot_window(spec.snapshot_window.clone())
            .preferred_maintenance_window(&spec.maintenance_window)
            .auto_minor_version_upgrade(spec.auto_minor_upgrades)
            .set_tags(Some(elasticache::list(&desired.tags)))
            .send()
            .await?;
        Ok(Created::new(&spec.name))
    }

    async fn update(cx: &Context, change: &Change<ReplicationGroupSpec>) -> Result<()> {
        check_owner(cx, &change.found).await?;
        let (id, replicas) = (&change.found.id, change.desired.spec.nodes - 1);
        elasticache::update_tags(cx, change, change.found.output(ARN)).await?;
        let modifies = change.touches(&MODIFIABLE);
        // Failover needs a replica: it is switched on after there is one, and off before the last one goes.
        if change.desired.spec.nodes > change.found.spec.nodes {
            let call = cx.elasticache.increase_replica_count().replication_group_id(id).new_replica_count(replicas);
            call.apply_immediately(true).send().await?;
            if modifies {
                until_available(cx, id).await?;
                modify(cx, change).await?;
            }
            return Ok(());
        }
        if modifies {
            modify(cx, change).await?;
        }
        if change.desired.spec.nodes < change.found.spec.nodes {
            until_available(cx, id).await?;
            let call = cx.elasticache.decrease_replica_count().replication_group_id(id).new_replica_count(replicas);
            call.apply_immediately(true).send().await?;
        }
        Ok(())
    }

    async fn delete(cx: &Context, found: &Found<ReplicationGroupSpec>) -> Result<()> {
        check_owner(cx, found).await?;
        cx.elasticache.delete_replication_group().replication_group_id(&found.id).send().await?;
        Ok(())
    }
}

/// A group holds data, so it is ours by its tag alone. Where that couldn't be read because of the group's state, it is read
/// before the group is touched: the same state refuses changes as well, so that both are tried again.
async fn check_owner(cx: &Context, found: &Found<ReplicationGroupSpec>) -> Result<()> {
    if found.tags.is_some() || matches!(found.status, Status::Failed(_)) {
        return Ok(());
    }
    let told = elasticache::tags(cx, found.output(ARN)).await?.unwrap_or_default();
    if told.get(tags::STACK) == Some(&cx.stack) {
        return Ok(());
    }
    let error = Error::unexpected("elasticache", "ListTagsForResource", format!("{} isn't this stack's", found.id));
    Err(Error { code: "OtherOwner".into(), ..error })
}

async fn groups(cx: &Context, select: &Select<'_>) -> Result<Vec<AwsGroup>> {
    let mut request = cx.elasticache.describe_replication_groups();
    if let Select::One(id) = select {
        request = request.replication_group_id(*id);
    }
    let groups = request.into_paginator().items().send().collect::<std::result::Result<Vec<_>, _>>().await;
    match groups.map_err(Error::from) {
        Err(error) if error.is_not_found() => Ok(Vec::new()),
        result => result,
    }
}

async fn clusters(cx: &Context) -> Result<Vec<CacheCluster>> {
    let clusters = cx.elasticache.describe_cache_clusters().into_paginator().items().send();
    Ok(clusters.collect::<std::result::Result<Vec<_>, _>>().await?)
}

/// The password passes through here on its way from Secrets Manager to ElastiCache, and stays nowhere.
async fn password(cx: &Context, secret: &Ref<Secret>) -> Result<SecretString> {
    let answer = cx.secrets.get_secret_value().secret_id(&**secret).send().await?;
    match answer.secret_string {
        Some(value) => Ok(SecretString::from(value)),
        None => Err(Error::unexpected("secretsmanager", "GetSecretValue", "the secret has no text")),
    }
}

async fn modify(cx: &Context, change: &Change<ReplicationGroupSpec>) -> Result<()> {
    let spec = &change.desired.spec;
    let touched = |attribute: &str| change.touches(&[attribute]);
    cx.elasticache
        .modify_replication_group()
        .replication_group_id(&change.found.id)
        // Otherwise a confirmed change would wait for the maintenance window, and every plan until then would show it.
        .apply_immediately(true)
        .set_replication_group_description(touched("description").then(|| spec.description.clone()))
        .set_engine_version(touched("version").then(|| spec.version.clone()))
        .set_cache_node_type(touched("class").then(|| spec.class.clone()))
        .set_automatic_failover_enabled(touched("failover").then_some(spec.failover))
        .set_multi_az_enabled(touched("multi_az").then_some(spec.multi_az))
        .set_cache_parameter_group_name(touched("parameter_group").then(|| spec.parameter_group.to_string()))
        .set_security_group_ids(touched("security_groups").then(|| spec.security_groups.iter().map(ToString::to_string).collect()))
        .set_snapshot_retention_limit(touched("snapshot_days").then_some(spec.snapshot_days))
        .set_snapshot_window(spec.snapshot_window.clone().filter(|_| touched("snapshot_window")))
        .set_preferred_maintenance_window(touched("maintenance_window").then(|| spec.maintenance_window.clone()))
        .set_auto_minor_version_upgrade(touched("auto_minor_upgrades").then_some(spec.auto_minor_upgrades))
        .send()
        .await?;
    Ok(())
}

/// Waits between two changes: ElastiCache takes the second one only when it has done with the first.
async fn until_available(cx: &Context, id: &str) -> Result<()> {
    let look = || async {
        let groups = groups(cx, &Select::One(id)).await?;
        let state = groups.first().and_then(|group| group.status()).unwrap_or_default();
        if state == "available" { Ok(()) } else { Err(not_yet(state)) }
    };
    let pauses = ExponentialBuilder::default()
        .with_min_delay(Duration::from_millis(200))
        .with_max_delay(Duration::from_secs(10))
        .with_total_delay(Some(ReplicationGroup::TRAITS.timeout))
        .without_max_times();
    look.retry(pauses).when(|error: &Error| error.is(&[NOT_YET])).await
}

/// ElastiCache's own code for a group that can't be changed now.
const NOT_YET: &str = "InvalidReplicationGroupState";

fn not_yet(state: &str) -> Error {
    let message = format!("the change before this one isn't finished; the state is {state}");
    Error { code: NOT_YET.into(), ..Error::unexpected("elasticache", "DescribeReplicationGroups", message) }
}

fn found(role: Role, group: &AwsGroup, member: Option<&CacheCluster>) -> Found<ReplicationGroupSpec> {
    let text = |value: Option<&str>| value.unwrap_or_default().to_owned();
    let node_group = group.node_groups().first();
    let primary = node_group.and_then(|node_group| node_group.primary_endpoint());
    let reader = node_group.and_then(|node_group| node_group.reader_endpoint());
    let groups = member.map(|member| member.security_groups()).unwrap_or_default();
    let parameter_group = member.and_then(|member| member.cache_parameter_group());
    let snapshot_days = group.snapshot_retention_limit().unwrap_or_default();
    let mut outputs = Outputs::from([(ARN.to_owned(), text(group.arn()))]);
    for (name, endpoint) in [("endpoint", primary), ("reader_endpoint", reader)] {
        outputs.extend(endpoint.and_then(|e| e.address()).map(|address| (name.to_owned(), address.to_owned())));
    }
    Found {
        logical_id: role.group_id().to_owned(),
        id: text(group.replication_group_id()),
        spec: ReplicationGroupSpec {
            name: text(group.replication_group_id()),
            description: text(group.description()),
            version: text(member.and_then(|member| member.engine_version())),
            class: text(group.cache_node_type()),
            nodes: i32::try_from(group.member_clusters().len()).unwrap_or(i32::MAX),
            failover: matches!(
                group.automatic_failover(),
                Some(AutomaticFailoverStatus::Enabled | AutomaticFailoverStatus::Enabling)
            ),
            multi_az: group.multi_az() == Some(&MultiAzStatus::Enabled),
            port: primary.and_then(|endpoint| endpoint.port()).unwrap_or_default(),
            subnet_group: Ref::known(text(member.and_then(|member| member.cache_subnet_group_name()))),
            parameter_group: Ref::known(text(parameter_group.and_then(|group| group.cache_parameter_group_name()))),
            security_groups: groups.iter().filter_map(|g| g.security_group_id()).map(Ref::known).collect(),
            encrypted_in_transit: group.transit_encryption_enabled().unwrap_or_default(),
            encrypted_at_rest: group.at_rest_encryption_enabled().unwrap_or_default(),
            auth: group.auth_token_enabled().unwrap_or_default(),
            auth_secret: None,
            snapshot_days,
            snapshot_window: group.snapshot_window().map(str::to_owned),
            maintenance_window: text(member.and_then(|member| member.preferred_maintenance_window())),
            auto_minor_upgrades: group.auto_minor_version_upgrade().unwrap_or_default(),
        },
        outputs,
        tags: None,
        status: status(group.status().unwrap_or_default()),
    }
}

/// The meaning of a group's state.
/// Source: <https://docs.aws.amazon.com/AmazonElastiCache/latest/APIReference/API_ReplicationGroup.html>
fn status(state: &str) -> Status {
    match state {
        "available" | "snapshotting" => Status::Ready,
        "deleting" => Status::Deleting,
        "create-failed" => Status::Failed(state.to_owned()),
        other => Status::Pending(other.to_owned()),
    }
}

/// Whether `found` (such as `7.1.0`) is what `wished` (such as `7.1`) asks for, or newer.
fn is_at_least(found: &str, wished: &str) -> bool {
    let numbers = |version: &str| version.split('.').map(|part| part.parse::<u32>().unwrap_or(0)).collect::<Vec<_>>();
    !found.is_empty() && numbers(found) >= numbers(wished)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_group_doesnt_tell_while_it_is_made_is_no_difference() {
        let mut wish = ReplicationGroupSpec {
            name: "shop-redis".into(),
            description: "Store".into(),
            version: "7.1".into(),
            class: "cache.t3.micro".into(),
            nodes: 2,
            failover: true,
            multi_az: true,
            port: 6379,
            subnet_group: Ref::known("shop-subnets"),
            parameter_group: Ref::known("shop-redis7"),
            security_groups: [Ref::known("sg-1")].into(),
            encrypted_in_transit: true,
            encrypted_at_rest: true,
            auth: true,
            auth_secret: None,
            snapshot_days: 1,
            snapshot_window: None,
            maintenance_window: "sun:05:00-sun:06:00".into(),
            auto_minor_upgrades: true,
        };
        let group = AwsGroup::builder()
            .replication_group_id("shop-redis")
            .description("Store")
            .status("creating")
            .cache_node_type("cache.t3.micro")
            .member_clusters("shop-redis-001")
            .member_clusters("shop-redis-002")
            .automatic_failover(AutomaticFailoverStatus::Enabling)
            .multi_az(MultiAzStatus::Enabled)
            .transit_encryption_enabled(true)
            .at_rest_encryption_enabled(true)
            .auth_token_enabled(true)
            .auto_minor_version_upgrade(true)
            .snapshot_retention_limit(1)
            .build();
        let found = found(Role::Store, &group, None);
        ReplicationGroup::follow(&mut wish, &found.spec);
        let told = |spec| serde_json::to_value(spec).expect("plain data");
        assert_eq!(told(&wish), told(&found.spec));
    }

    #[test]
    fn a_patch_level_is_what_was_asked_for() {
        assert!(is_at_least("7.1.0", "7.1"));
        assert!(is_at_least("7.1.0", "7.0"));
        assert!(!is_at_least("7.0.7", "7.1"));
        assert!(!is_at_least("", "7.1"), "a version that isn't told is not a newer one");
    }
}
