//! ElastiCache's replication groups. moto gives them one member whatever is asked for, no reader endpoint, no change of
//! the number of replicas, and never ends deleting them: they live here entirely.

use std::collections::BTreeMap;

use crate::local::gateway::call::Call;
use crate::local::gateway::form::Form;
use crate::local::gateway::reply::{Refusal, Reply};
use crate::local::gateway::state::{Memory, State};
use crate::local::gateway::xml::Element;

use super::cache_tags::{self, Tags};

#[derive(Clone)]
pub struct ReplicationGroup {
    /// The parameters of the create call, with those of later changes laid over them.
    form: Form,
    status: Status,
    nodes: usize,
    /// The member that takes writes, from zero.
    primary: usize,
    zones: Vec<String>,
    created: String,
    pub tags: Tags,
}

/// A group is ready, or gone, when it is next looked at.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Status {
    Creating,
    Available,
    Deleting,
}

impl Status {
    fn name(self) -> &'static str {
        match self {
            Self::Creating => "creating",
            Self::Available => "available",
            Self::Deleting => "deleting",
        }
    }
}

impl ReplicationGroup {
    /// Whether the group, while it isn't being deleted, was given `value` for `parameter`.
    pub fn uses(&self, parameter: &str, value: &str) -> bool {
        self.status != Status::Deleting && self.form.text(parameter).eq_ignore_ascii_case(value)
    }

    pub fn security_groups(&self) -> Vec<String> {
        if self.status == Status::Deleting { Vec::new() } else { self.form.list("SecurityGroupIds") }
    }

    fn flag(&self, parameter: &str) -> bool {
        self.form.text(parameter) == "true"
    }

    fn or(&self, parameter: &str, default: &str) -> String {
        self.form.get(parameter).unwrap_or(default).to_owned()
    }

    fn port(&self) -> String {
        self.or("Port", "6379")
    }

    fn member(&self, name: &str, index: usize) -> (String, String) {
        let id = format!("{name}-{:03}", index + 1);
        let zone = if self.zones.is_empty() { String::new() } else { self.zones[index % self.zones.len()].clone() };
        (id, zone)
    }

    /// The host under which a name of the group is reached, as AWS builds them with and without TLS.
    fn host(&self, call: &Call, name: &str, role: &str) -> String {
        let region = short_region(&call.region());
        let hash = format!(
            "{:06x}",
            name.bytes().fold(7u32, |hash, byte| hash.wrapping_mul(31) + u32::from(byte)) & 0xff_ffff
        );
        if self.flag("TransitEncryptionEnabled") {
            format!("{role}.{name}.{hash}.{region}.cache.amazonaws.com")
        } else {
            let suffix = if role == "replica" { "-ro" } else { "" };
            format!("{name}{suffix}.{hash}.ng.0001.{region}.cache.amazonaws.com")
        }
    }

    fn endpoint(&self, element: &str, host: String) -> Element {
        Element::new(element).with(Element::leaf("Address", host)).with(Element::leaf("Port", self.port()))
    }

    fn element(&self, call: &Call, name: &str) -> Element {
        let members = (0..self.nodes).map(|index| {
            let (id, zone) = self.member(name, index);
            let role = if index == self.primary { "primary" } else { "replica" };
            Element::new("NodeGroupMember").with_all([
                Element::leaf("CacheClusterId", &id),
                Element::leaf("CacheNodeId", "0001"),
                self.endpoint("ReadEndpoint", self.host(call, name, &id)),
                Element::leaf("PreferredAvailabilityZone", zone),
                Element::leaf("CurrentRole", role),
            ])
        });
        let node_group = Element::new("NodeGroup").with_all([
            Element::leaf("NodeGroupId", "0001"),
            Element::leaf("Status", self.status.name()),
            self.endpoint("PrimaryEndpoint", self.host(call, name, "master")),
            self.endpoint("ReaderEndpoint", self.host(call, name, "replica")),
            Element::new("NodeGroupMembers").with_all(members),
        ]);
        let clusters = (0..self.nodes).map(|index| Element::leaf("ClusterId", self.member(name, index).0));
        let state = |parameter| if self.flag(parameter) { "enabled" } else { "disabled" };
        let mut element = Element::new("ReplicationGroup").with_all([
            Element::leaf("ReplicationGroupId", name),
            Element::leaf("Description", self.form.text("ReplicationGroupDescription")),
            Element::leaf("Status", self.status.name()),
            Element::new("PendingModifiedValues"),
            Element::new("MemberClusters").with_all(clusters),
            Element::new("NodeGroups").with(node_group),
            Element::leaf("AutomaticFailover", state("AutomaticFailoverEnabled")),
            Element::leaf("MultiAZ", state("MultiAZEnabled")),
            Element::leaf("SnapshotRetentionLimit", self.or("SnapshotRetentionLimit", "0")),
            Element::leaf("SnapshotWindow", self.or("SnapshotWindow", "05:00-06:00")),
            Element::leaf("ClusterEnabled", false),
            Element::leaf("ClusterMode", "disabled"),
            Element::leaf("CacheNodeType", self.form.text("CacheNodeType")),
            Element::leaf("AuthTokenEnabled", self.form.get("AuthToken").is_some()),
            Element::leaf("TransitEncryptionEnabled", self.flag("TransitEncryptionEnabled")),
            Element::leaf("AtRestEncryptionEnabled", self.flag("AtRestEncryptionEnabled")),
            Element::leaf("ARN", cache_tags::arn(call, "replicationgroup", name)),
            Element::leaf("AutoMinorVersionUpgrade", self.or("AutoMinorVersionUpgrade", "true")),
            Element::leaf("DataTiering", "disabled"),
            Element::leaf("NetworkType", "ipv4"),
            Element::leaf("IpDiscovery", "ipv4"),
            Element::leaf("ReplicationGroupCreateTime", &self.created),
            Element::leaf("Engine", self.or("Engine", "redis")),
        ]);
        if self.flag("TransitEncryptionEnabled") {
            element.set(Element::leaf("TransitEncryptionMode", self.or("TransitEncryptionMode", "required")));
        }
        if let Some(key) = self.form.get("KmsKeyId") {
            element.set(Element::leaf("KmsKeyId", key));
        }
        element
    }

    /// The member clusters, as DescribeCacheClusters shows them.
    fn clusters<'a>(&'a self, call: &'a Call, name: &'a str) -> impl Iterator<Item = Element> + 'a {
        (0..self.nodes).map(move |index| {
            let (id, zone) = self.member(name, index);
            let security_groups = self.form.list("SecurityGroupIds").into_iter().map(|group| {
                Element::new("member")
                    .with(Element::leaf("SecurityGroupId", group))
                    .with(Element::leaf("Status", "active"))
            });
            let node = Element::new("CacheNode").with_all([
                Element::leaf("CacheNodeId", "0001"),
                Element::leaf("CacheNodeStatus", self.status.name()),
                Element::leaf("CacheNodeCreateTime", &self.created),
                self.endpoint("Endpoint", self.host(call, name, &id)),
                Element::leaf("ParameterGroupStatus", "in-sync"),
                Element::leaf("CustomerAvailabilityZone", &zone),
            ]);
            let parameter_group = Element::new("CacheParameterGroup").with_all([
                Element::leaf("CacheParameterGroupName", self.or("CacheParameterGroupName", "default.redis7")),
                Element::leaf("ParameterApplyStatus", "in-sync"),
                Element::new("CacheNodeIdsToReboot"),
            ]);
            Element::new("CacheCluster").with_all([
                Element::leaf("CacheClusterId", &id),
                Element::leaf("ReplicationGroupId", name),
                Element::leaf("CacheClusterStatus", self.status.name()),
                Element::leaf("CacheNodeType", self.form.text("CacheNodeType")),
                Element::leaf("Engine", self.or("Engine", "redis")),
                Element::leaf("EngineVersion", full_version(&self.or("EngineVersion", "7.1"))),
                Element::leaf("NumCacheNodes", 1),
                Element::leaf("PreferredAvailabilityZone", zone),
                Element::leaf("CacheClusterCreateTime", &self.created),
                Element::leaf(
                    "PreferredMaintenanceWindow",
                    self.or("PreferredMaintenanceWindow", "sun:05:00-sun:06:00"),
                ),
                parameter_group,
                Element::leaf("CacheSubnetGroupName", self.form.text("CacheSubnetGroupName")),
                Element::leaf("AutoMinorVersionUpgrade", self.or("AutoMinorVersionUpgrade", "true")),
                Element::new("SecurityGroups").with_all(security_groups),
                Element::leaf("SnapshotRetentionLimit", self.or("SnapshotRetentionLimit", "0")),
                Element::leaf("SnapshotWindow", self.or("SnapshotWindow", "05:00-06:00")),
                Element::leaf("AuthTokenEnabled", self.form.get("AuthToken").is_some()),
                Element::leaf("TransitEncryptionEnabled", self.flag("TransitEncryptionEnabled")),
                Element::leaf("AtRestEncryptionEnabled", self.flag("AtRestEncryptionEnabled")),
                Element::leaf("ARN", cache_tags::arn(call, "cluster", &id)),
                Element::leaf("ReplicationGroupLogDeliveryEnabled", false),
                Element::leaf("NetworkType", "ipv4"),
                Element::leaf("IpDiscovery", "ipv4"),
                Element::new("CacheNodes").with(node),
            ])
        })
    }
}

pub fn answer(state: &State, call: &Call) -> Result<Option<Reply>, Refusal> {
    let name = call.form.text("ReplicationGroupId").to_lowercase();
    let mut memory = state.memory();
    let reply = match call.operation.as_str() {
        "CreateReplicationGroup" => create(&mut memory, call, &name)?,
        "DescribeReplicationGroups" => describe(&mut memory, call)?,
        "DescribeCacheClusters" => describe_clusters(&mut memory, call)?,
        "ModifyReplicationGroup" => modify(&mut memory, call, &name)?,
        "IncreaseReplicaCount" | "DecreaseReplicaCount" => change_replicas(&mut memory, call, &name)?,
        "TestFailover" => {
            let group = available(&mut memory, &name)?;
            if !group.flag("AutomaticFailoverEnabled") || group.nodes < 2 {
                let message = "Automatic failover must be enabled and there must be a replica to test a failover.";
                return Err(Refusal::new("InvalidReplicationGroupState", message));
            }
            group.primary = (group.primary + 1) % group.nodes;
            Reply::result(call, [group.element(call, &name)])
        }
        "DeleteReplicationGroup" => {
            let group = available(&mut memory, &name)?;
            group.status = Status::Deleting;
            Reply::result(call, [group.element(call, &name)])
        }
        _ => return Ok(None),
    };
    Ok(Some(reply))
}

/// The password of each group that has one.
pub fn auth_tokens(memory: &Memory) -> BTreeMap<&str, &str> {
    let groups = memory.replication_groups.iter();
    groups.filter_map(|(name, group)| Some((name.as_str(), group.form.get("AuthToken")?))).collect()
}

fn missing(name: &str) -> Refusal {
    Refusal::with_status(404, "ReplicationGroupNotFoundFault", format!("ReplicationGroup {name} not found."))
}

/// The group, when it can be changed.
fn available<'a>(memory: &'a mut Memory, name: &str) -> Result<&'a mut ReplicationGroup, Refusal> {
    let group = memory.replication_groups.get_mut(name).ok_or_else(|| missing(name))?;
    if group.status == Status::Deleting {
        let message = format!("Replication group {name} is not in the state available.");
        return Err(Refusal::new("InvalidReplicationGroupState", message));
    }
    Ok(group)
}

fn create(memory: &mut Memory, call: &Call, name: &str) -> Result<Reply, Refusal> {
    let form = &call.form;
    if memory.replication_groups.contains_key(name) {
        let message = format!("Replication group {name} already exists.");
        return Err(Refusal::new("ReplicationGroupAlreadyExists", message));
    }
    if form.number("NumNodeGroups").is_some_and(|groups| groups > 1) {
        let message = "The local control plane has replication groups of one shard only.";
        return Err(Refusal::new("InvalidParameterCombination", message));
    }
    let replicas = form.number("ReplicasPerNodeGroup").map(|replicas| replicas + 1);
    let nodes = form.number("NumCacheClusters").or(replicas).unwrap_or(1);
    let nodes = usize::try_from(nodes)
        .ok()
        .filter(|nodes| (1..=6).contains(nodes))
        .ok_or_else(|| Refusal::new("InvalidParameterValue", "The number of cache clusters must be from 1 to 6."))?;
    check_failover(form, nodes)?;
    if form.get("AuthToken").is_some() && form.text("TransitEncryptionEnabled") != "true" {
        let message = "AuthToken is only supported when encryption-in-transit is enabled.";
        return Err(Refusal::new("InvalidParameterCombination", message));
    }
    let parameter_group = form.text("CacheParameterGroupName").to_lowercase();
    check_parameter_group(memory, &parameter_group)?;
    let subnet_group = form.text("CacheSubnetGroupName").to_lowercase();
    let mut zones = form.list("PreferredCacheClusterAZs");
    if !subnet_group.is_empty() && subnet_group != "default" {
        let group = memory.subnet_groups.get(&subnet_group).ok_or_else(|| {
            Refusal::new("CacheSubnetGroupNotFoundFault", format!("CacheSubnetGroup {subnet_group} not found."))
        })?;
        if zones.is_empty() {
            zones = group.subnets.iter().map(|(_, zone)| zone.clone()).collect();
            zones.sort();
            zones.dedup();
        }
    }
    let group = ReplicationGroup {
        form: form.clone(),
        status: Status::Creating,
        nodes,
        primary: 0,
        zones,
        created: jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%S.000Z").to_string(),
        tags: cache_tags::of(form),
    };
    let element = group.element(call, name);
    memory.replication_groups.insert(name.to_owned(), group);
    Ok(Reply::result(call, [element]))
}

fn check_failover(form: &Form, nodes: usize) -> Result<(), Refusal> {
    let failover = form.text("AutomaticFailoverEnabled") == "true";
    if failover && nodes < 2 {
        let message = "Automatic failover is not supported for a replication group without replicas.";
        return Err(Refusal::new("InvalidParameterCombination", message));
    }
    if form.text("MultiAZEnabled") == "true" && !failover {
        let message = "Multi-AZ needs automatic failover to be enabled.";
        return Err(Refusal::new("InvalidParameterCombination", message));
    }
    Ok(())
}

fn check_parameter_group(memory: &Memory, name: &str) -> Result<(), Refusal> {
    if name.is_empty() || name.starts_with("default.") || memory.parameter_groups.contains_key(name) {
        return Ok(());
    }
    Err(Refusal::with_status(404, "CacheParameterGroupNotFound", format!("CacheParameterGroup {name} not found.")))
}

/// Time passes when somebody looks: what was being made is ready, what was being deleted is gone.
fn settle(memory: &mut Memory) {
    memory.replication_groups.retain(|_, group| group.status != Status::Deleting);
    for group in memory.replication_groups.values_mut() {
        group.status = Status::Available;
    }
}

fn describe(memory: &mut Memory, call: &Call) -> Result<Reply, Refusal> {
    settle(memory);
    let wanted = call.form.get("ReplicationGroupId").map(str::to_lowercase);
    let groups: Vec<Element> = memory
        .replication_groups
        .iter()
        .filter(|(name, _)| wanted.as_ref().is_none_or(|wanted| wanted == *name))
        .map(|(name, group)| group.element(call, name))
        .collect();
    match wanted {
        Some(name) if groups.is_empty() => Err(missing(&name)),
        _ => Ok(Reply::result(call, [Element::new("ReplicationGroups").with_all(groups)])),
    }
}

fn describe_clusters(memory: &mut Memory, call: &Call) -> Result<Reply, Refusal> {
    settle(memory);
    let wanted = call.form.get("CacheClusterId").map(str::to_lowercase);
    let with_nodes = call.form.text("ShowCacheNodeInfo") == "true";
    let mut clusters: Vec<Element> = memory
        .replication_groups
        .iter()
        .flat_map(|(name, group)| group.clusters(call, name))
        .filter(|cluster| wanted.as_ref().is_none_or(|wanted| cluster.get("CacheClusterId") == wanted))
        .collect();
    if !with_nodes {
        for cluster in &mut clusters {
            cluster.children.retain(|child| child.name != "CacheNodes");
        }
    }
    match wanted {
        Some(name) if clusters.is_empty() => {
            Err(Refusal::with_status(404, "CacheClusterNotFound", format!("CacheCluster not found: {name}")))
        }
        _ => Ok(Reply::result(call, [Element::new("CacheClusters").with_all(clusters)])),
    }
}

fn modify(memory: &mut Memory, call: &Call, name: &str) -> Result<Reply, Refusal> {
    check_parameter_group(memory, &call.form.text("CacheParameterGroupName").to_lowercase())?;
    let group = available(memory, name)?;
    let mut form = group.form.clone();
    if !call.form.list("SecurityGroupIds").is_empty() {
        for (index, _) in form.list("SecurityGroupIds").iter().enumerate() {
            form.remove(&format!("SecurityGroupIds.SecurityGroupId.{}", index + 1));
            form.remove(&format!("SecurityGroupIds.member.{}", index + 1));
        }
    }
    for (key, value) in call.form.pairs() {
        form.set(key, value);
    }
    check_failover(&form, group.nodes)?;
    group.form = form;
    Ok(Reply::result(call, [group.element(call, name)]))
}

fn change_replicas(memory: &mut Memory, call: &Call, name: &str) -> Result<Reply, Refusal> {
    let group = available(memory, name)?;
    let replicas = call.form.number("NewReplicaCount").and_then(|replicas| usize::try_from(replicas).ok());
    let increases = call.operation == "IncreaseReplicaCount";
    let nodes = replicas.map(|replicas| replicas + 1).filter(|nodes| {
        if increases { (group.nodes + 1..=6).contains(nodes) } else { (1..group.nodes).contains(nodes) }
    });
    let nodes = nodes.ok_or_else(|| {
        let message =
            format!("NewReplicaCount must differ from the present {} in the operation's direction.", group.nodes - 1);
        Refusal::new("InvalidParameterValue", message)
    })?;
    check_failover(&group.form, nodes)?;
    group.nodes = nodes;
    group.primary = group.primary.min(nodes - 1);
    Ok(Reply::result(call, [group.element(call, name)]))
}

/// `7.0` is answered as `7.0.7`, as ElastiCache answers with the patch level that it runs.
fn full_version(version: &str) -> String {
    match version {
        "7.0" => "7.0.7".to_owned(),
        "7.1" => "7.1.0".to_owned(),
        other => other.to_owned(),
    }
}

/// The region as ElastiCache's host names abbreviate it: `us-east-1` is `use1`.
fn short_region(region: &str) -> String {
    if region == "ap-northeast-2" {
        return "apn2".to_owned(); // Seoul, alone, is not abbreviated by the rule
    }
    let mut parts = region.split('-');
    let first = parts.next().unwrap_or_default();
    let initials: String = parts
        .map(|part| match part {
            "northeast" => "ne",
            "northwest" => "nw",
            "southeast" => "se",
            "southwest" => "sw",
            other => &other[..other.len().min(1)],
        })
        .collect();
    format!("{first}{initials}")
}

#[cfg(test)]
mod tests {
    use super::short_region;

    #[test]
    fn regions_are_abbreviated_as_in_host_names() {
        assert_eq!(short_region("us-east-1"), "use1");
        assert_eq!(short_region("ap-northeast-1"), "apne1");
        assert_eq!(short_region(""), "");
    }
}
