//! ElastiCache's parameter groups and subnet groups. moto has no parameter groups, and can neither change nor delete a
//! subnet group: both live here entirely.

use std::collections::BTreeMap;

use crate::local::gateway::call::Call;
use crate::local::gateway::form::Form;
use crate::local::gateway::reply::{Refusal, Reply};
use crate::local::gateway::state::State;
use crate::local::gateway::xml::Element;

use super::cache_tags::{self, Tags};

#[derive(Clone)]
pub struct ParameterGroup {
    pub family: String,
    pub description: String,
    /// What was changed from the family's defaults.
    pub values: BTreeMap<String, String>,
    pub tags: Tags,
}

#[derive(Clone)]
pub struct SubnetGroup {
    pub description: String,
    pub vpc: String,
    /// Subnet id and zone, in the order given.
    pub subnets: Vec<(String, String)>,
    pub tags: Tags,
}

/// The changeable parameters of the Redis families: name, default, type, allowed values (AWS, "Redis OSS parameters").
const PARAMETERS: [(&str, &str, &str, &str); 22] = [
    ("acllog-max-len", "128", "integer", "1-10000"),
    ("activedefrag", "no", "string", "yes,no"),
    ("activerehashing", "yes", "string", "yes,no"),
    ("client-output-buffer-limit-pubsub-hard-limit", "33554432", "integer", "0-"),
    ("client-output-buffer-limit-pubsub-soft-limit", "8388608", "integer", "0-"),
    ("client-output-buffer-limit-pubsub-soft-seconds", "60", "integer", "0-"),
    ("close-on-replica-write", "yes", "string", "yes,no"),
    ("cluster-enabled", "no", "string", "yes,no"),
    ("databases", "16", "integer", "1-1200000"),
    ("hash-max-listpack-entries", "512", "integer", "0-"),
    ("hash-max-listpack-value", "64", "integer", "0-"),
    ("lazyfree-lazy-user-del", "no", "string", "yes,no"),
    ("list-compress-depth", "0", "integer", "0-"),
    ("list-max-listpack-size", "-2", "integer", "-5-"),
    (
        "maxmemory-policy",
        "volatile-lru",
        "string",
        "volatile-lru,allkeys-lru,volatile-lfu,allkeys-lfu,volatile-random,allkeys-random,volatile-ttl,noeviction",
    ),
    ("maxmemory-samples", "3", "integer", "1-"),
    ("notify-keyspace-events", "", "string", ""),
    ("reserved-memory-percent", "25", "integer", "0-100"),
    ("slowlog-log-slower-than", "10000", "integer", "-1-"),
    ("slowlog-max-len", "128", "integer", "0-"),
    ("tcp-keepalive", "300", "integer", "0-"),
    ("timeout", "0", "integer", "0,20-"),
];

const FAMILIES: [&str; 8] =
    ["memcached1.6", "redis4.0", "redis5.0", "redis6.x", "redis7", "valkey7", "valkey8", "valkey9"];

pub async fn answer(state: &State, call: &Call) -> Result<Option<Reply>, Refusal> {
    let form = &call.form;
    let reply = match call.operation.as_str() {
        "CreateCacheParameterGroup" => create_parameter_group(state, call)?,
        "DescribeCacheParameterGroups" => describe_parameter_groups(state, call)?,
        "ModifyCacheParameterGroup" => {
            change_parameters(state, form, |group, name, value| {
                group.values.insert(name.to_owned(), value.to_owned());
            })?;
            Reply::result(call, [Element::leaf("CacheParameterGroupName", form.text("CacheParameterGroupName"))])
        }
        "ResetCacheParameterGroup" => {
            reset_parameters(state, form)?;
            Reply::result(call, [Element::leaf("CacheParameterGroupName", form.text("CacheParameterGroupName"))])
        }
        "DescribeCacheParameters" => describe_parameters(state, call)?,
        "DeleteCacheParameterGroup" => delete_parameter_group(state, call)?,
        "CreateCacheSubnetGroup" => create_subnet_group(state, call).await?,
        "DescribeCacheSubnetGroups" => describe_subnet_groups(state, call)?,
        "ModifyCacheSubnetGroup" => modify_subnet_group(state, call).await?,
        "DeleteCacheSubnetGroup" => delete_subnet_group(state, call)?,
        _ => return Ok(None),
    };
    Ok(Some(reply))
}

fn parameter_group_missing(name: &str) -> Refusal {
    Refusal::with_status(404, "CacheParameterGroupNotFound", format!("CacheParameterGroup {name} not found."))
}

fn subnet_group_missing(name: &str) -> Refusal {
    Refusal::new("CacheSubnetGroupNotFoundFault", format!("CacheSubnetGroup {name} not found."))
}

fn parameter_group_element(name: &str, family: &str, description: &str, arn: &str) -> Vec<Element> {
    vec![
        Element::leaf("CacheParameterGroupName", name),
        Element::leaf("CacheParameterGroupFamily", family),
        Element::leaf("Description", description),
        Element::leaf("IsGlobal", false),
        Element::leaf("ARN", arn),
    ]
}

fn create_parameter_group(state: &State, call: &Call) -> Result<Reply, Refusal> {
    let form = &call.form;
    let (name, family) = (form.text("CacheParameterGroupName").to_lowercase(), form.text("CacheParameterGroupFamily"));
    if name.is_empty() || !FAMILIES.contains(&family) {
        let message = format!("CacheParameterGroupFamily {family} is not a valid parameter group family.");
        return Err(Refusal::new("InvalidParameterValue", message));
    }
    let mut memory = state.memory();
    if memory.parameter_groups.contains_key(&name) {
        let message = format!("CacheParameterGroup {name} already exists.");
        return Err(Refusal::new("CacheParameterGroupAlreadyExists", message));
    }
    let group = ParameterGroup {
        family: family.to_owned(),
        description: form.text("Description").to_owned(),
        values: BTreeMap::new(),
        tags: cache_tags::of(form),
    };
    let arn = cache_tags::arn(call, "parametergroup", &name);
    let element = parameter_group_element(&name, &group.family, &group.description, &arn);
    memory.parameter_groups.insert(name, group);
    Ok(Reply::result(call, [Element::new("CacheParameterGroup").with_all(element)]))
}

fn describe_parameter_groups(state: &State, call: &Call) -> Result<Reply, Refusal> {
    let wanted = call.form.get("CacheParameterGroupName").map(str::to_lowercase);
    let memory = state.memory();
    let own = memory
        .parameter_groups
        .iter()
        .map(|(name, group)| (name.clone(), group.family.clone(), group.description.clone()));
    let defaults = FAMILIES.iter().map(|family| {
        (format!("default.{family}"), (*family).to_owned(), format!("Default parameter group for {family}"))
    });
    let groups: Vec<Element> = defaults
        .chain(own)
        .filter(|(name, ..)| wanted.as_ref().is_none_or(|wanted| wanted == name))
        .map(|(name, family, description)| {
            let arn = cache_tags::arn(call, "parametergroup", &name);
            Element::new("CacheParameterGroup").with_all(parameter_group_element(&name, &family, &description, &arn))
        })
        .collect();
    match wanted {
        Some(name) if groups.is_empty() => Err(parameter_group_missing(&name)),
        _ => Ok(Reply::result(call, [Element::new("CacheParameterGroups").with_all(groups)])),
    }
}

/// Applies each named parameter of the call to its group, after checking all of them.
fn change_parameters(
    state: &State,
    form: &Form,
    mut apply: impl FnMut(&mut ParameterGroup, &str, &str),
) -> Result<(), Refusal> {
    let name = form.text("CacheParameterGroupName").to_lowercase();
    let mut memory = state.memory();
    let group = memory.parameter_groups.get_mut(&name).ok_or_else(|| parameter_group_missing(&name))?;
    let parameters = form.structures("ParameterNameValues");
    for parameter in &parameters {
        let (name, value) = (parameter.text("ParameterName"), parameter.get("ParameterValue"));
        let Some((.., kind, allowed)) = PARAMETERS.iter().find(|(known, ..)| *known == name) else {
            let message = format!("The parameter {name} cannot be modified.");
            return Err(Refusal::new("InvalidParameterValue", message));
        };
        if value.is_some_and(|value| !is_allowed(kind, allowed, value)) {
            let value = value.unwrap_or_default();
            let message = format!("The parameter value {value} for {name} is invalid. Allowed values: {allowed}");
            return Err(Refusal::new("InvalidParameterValue", message));
        }
    }
    for parameter in &parameters {
        apply(group, parameter.text("ParameterName"), parameter.text("ParameterValue"));
    }
    Ok(())
}

fn is_allowed(kind: &str, allowed: &str, value: &str) -> bool {
    match kind {
        "integer" => value.parse::<i64>().is_ok(),
        _ => allowed.is_empty() || allowed.split(',').any(|option| option == value),
    }
}

fn reset_parameters(state: &State, form: &Form) -> Result<(), Refusal> {
    if form.text("ResetAllParameters") == "true" {
        let name = form.text("CacheParameterGroupName").to_lowercase();
        let mut memory = state.memory();
        let group = memory.parameter_groups.get_mut(&name).ok_or_else(|| parameter_group_missing(&name))?;
        group.values.clear();
        return Ok(());
    }
    change_parameters(state, form, |group, name, _| {
        group.values.remove(name);
    })
}

fn describe_parameters(state: &State, call: &Call) -> Result<Reply, Refusal> {
    let name = call.form.text("CacheParameterGroupName").to_lowercase();
    let memory = state.memory();
    let values = match memory.parameter_groups.get(&name) {
        Some(group) => group.values.clone(),
        None if FAMILIES.iter().any(|family| name == format!("default.{family}")) => BTreeMap::new(),
        None => return Err(parameter_group_missing(&name)),
    };
    let source_wanted = call.form.get("Source");
    let parameters = PARAMETERS.iter().filter_map(|(name, default, kind, allowed)| {
        let (value, source) = match values.get(*name) {
            Some(value) => (value.as_str(), "user"),
            None => (*default, "system"),
        };
        let parameter = Element::new("Parameter").with_all([
            Element::leaf("ParameterName", name),
            Element::leaf("ParameterValue", value),
            Element::leaf("Source", source),
            Element::leaf("DataType", kind),
            Element::leaf("AllowedValues", allowed),
            Element::leaf("IsModifiable", true),
            Element::leaf("ChangeType", "immediate"),
        ]);
        source_wanted.is_none_or(|wanted| wanted == source).then_some(parameter)
    });
    Ok(Reply::result(call, [Element::new("Parameters").with_all(parameters)]))
}

fn delete_parameter_group(state: &State, call: &Call) -> Result<Reply, Refusal> {
    let name = call.form.text("CacheParameterGroupName").to_lowercase();
    let mut memory = state.memory();
    let users = memory.replication_groups.iter().find(|(_, group)| group.uses("CacheParameterGroupName", &name));
    if let Some((user, _)) = users {
        let message = format!("One or more cache clusters are still using cache parameter group {name}: {user}.");
        return Err(Refusal::new("InvalidCacheParameterGroupState", message));
    }
    memory.parameter_groups.shift_remove(&name).ok_or_else(|| parameter_group_missing(&name))?;
    Ok(Reply::result(call, []))
}

/// The subnets of the call with their zones, and their VPC, from EC2.
async fn subnets_of(state: &State, call: &Call) -> Result<(String, Vec<(String, String)>), Refusal> {
    let wanted = call.form.list("SubnetIds");
    let invalid = |_| Refusal::new("InvalidSubnet", format!("The subnet ID {} is invalid.", wanted.join(", ")));
    let mut parameters = Form::of([("Action", "DescribeSubnets")]);
    for (index, id) in wanted.iter().enumerate() {
        parameters.push(format!("SubnetId.{}", index + 1), id);
    }
    let answer = state.upstream.ask_form(call, "ec2", parameters).await.map_err(invalid)?;
    let found = answer.members("subnetSet");
    let vpc = found.first().map(|subnet| subnet.get("vpcId").to_owned()).unwrap_or_default();
    if wanted.is_empty() || found.iter().any(|subnet| subnet.get("vpcId") != vpc) {
        return Err(Refusal::new("InvalidSubnet", "The subnets must exist and be of one VPC."));
    }
    let subnets =
        found.iter().map(|subnet| (subnet.get("subnetId").to_owned(), subnet.get("availabilityZone").to_owned()));
    Ok((vpc, subnets.collect()))
}

fn subnet_group_element(call: &Call, name: &str, group: &SubnetGroup) -> Element {
    let subnets = group.subnets.iter().map(|(id, zone)| {
        Element::new("Subnet")
            .with(Element::leaf("SubnetIdentifier", id))
            .with(Element::new("SubnetAvailabilityZone").with(Element::leaf("Name", zone)))
            .with(Element::new("SupportedNetworkTypes").with(Element::leaf("member", "ipv4")))
    });
    Element::new("CacheSubnetGroup").with_all([
        Element::leaf("CacheSubnetGroupName", name),
        Element::leaf("CacheSubnetGroupDescription", &group.description),
        Element::leaf("VpcId", &group.vpc),
        Element::new("Subnets").with_all(subnets),
        Element::leaf("ARN", cache_tags::arn(call, "subnetgroup", name)),
        Element::new("SupportedNetworkTypes").with(Element::leaf("member", "ipv4")),
    ])
}

async fn create_subnet_group(state: &State, call: &Call) -> Result<Reply, Refusal> {
    let name = call.form.text("CacheSubnetGroupName").to_lowercase();
    let (vpc, subnets) = subnets_of(state, call).await?;
    let mut memory = state.memory();
    if memory.subnet_groups.contains_key(&name) {
        let message = format!("CacheSubnetGroup {name} already exists.");
        return Err(Refusal::new("CacheSubnetGroupAlreadyExists", message));
    }
    let description = call.form.text("CacheSubnetGroupDescription").to_owned();
    let group = SubnetGroup { description, vpc, subnets, tags: cache_tags::of(&call.form) };
    let element = subnet_group_element(call, &name, &group);
    memory.subnet_groups.insert(name, group);
    Ok(Reply::result(call, [element]))
}

fn describe_subnet_groups(state: &State, call: &Call) -> Result<Reply, Refusal> {
    let wanted = call.form.get("CacheSubnetGroupName").map(str::to_lowercase);
    let memory = state.memory();
    let groups: Vec<Element> = memory
        .subnet_groups
        .iter()
        .filter(|(name, _)| wanted.as_ref().is_none_or(|wanted| wanted == *name))
        .map(|(name, group)| subnet_group_element(call, name, group))
        .collect();
    match wanted {
        Some(name) if groups.is_empty() => Err(subnet_group_missing(&name)),
        _ => Ok(Reply::result(call, [Element::new("CacheSubnetGroups").with_all(groups)])),
    }
}

async fn modify_subnet_group(state: &State, call: &Call) -> Result<Reply, Refusal> {
    let name = call.form.text("CacheSubnetGroupName").to_lowercase();
    let subnets = if call.form.list("SubnetIds").is_empty() { None } else { Some(subnets_of(state, call).await?) };
    let mut memory = state.memory();
    let group = memory.subnet_groups.get_mut(&name).ok_or_else(|| subnet_group_missing(&name))?;
    if let Some(description) = call.form.get("CacheSubnetGroupDescription") {
        group.description = description.to_owned();
    }
    if let Some((vpc, subnets)) = subnets {
        if vpc != group.vpc {
            return Err(Refusal::new("InvalidSubnet", "The new subnets must be of the subnet group's VPC."));
        }
        group.subnets = subnets;
    }
    let element = subnet_group_element(call, &name, group);
    Ok(Reply::result(call, [element]))
}

fn delete_subnet_group(state: &State, call: &Call) -> Result<Reply, Refusal> {
    let name = call.form.text("CacheSubnetGroupName").to_lowercase();
    let mut memory = state.memory();
    if memory.replication_groups.values().any(|group| group.uses("CacheSubnetGroupName", &name)) {
        let message = format!("Cache subnet group {name} is currently in use by a cache cluster.");
        return Err(Refusal::new("CacheSubnetGroupInUse", message));
    }
    memory.subnet_groups.shift_remove(&name).ok_or_else(|| subnet_group_missing(&name))?;
    Ok(Reply::result(call, []))
}
