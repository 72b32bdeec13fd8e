//! Auto Scaling groups: instances spread over the zones, each keeps the launch template version it was launched with,
//! attributes that the emulator forgets, and the ARN of a scaling policy.
//!
//! moto launches every instance into the first subnet of a group. So groups grow by one instance at a time, each time with
//! the subnet of the emptiest zone named first.

use std::collections::{BTreeMap, HashMap};

use crate::local::gateway::call::Call;
use crate::local::gateway::form::Form;
use crate::local::gateway::reply::{Refusal, Reply};
use crate::local::gateway::state::State;
use crate::local::gateway::upstream::rewrite;
use crate::local::gateway::xml::Element;

use super::policies;

const KIND: &str = "auto-scaling-group";

/// What the emulator takes and does not tell again, or does not change on update.
const FORGOTTEN: [&str; 5] =
    ["CapacityRebalance", "DefaultCooldown", "DefaultInstanceWarmup", "MaxInstanceLifetime", "DesiredCapacityType"];

/// The group as the emulator describes it.
pub async fn describe(state: &State, call: &Call, name: &str) -> Result<Element, Refusal> {
    let parameters = [("AutoScalingGroupNames.member.1", name)];
    let answer = state.upstream.ask(call, "autoscaling", "DescribeAutoScalingGroups", &parameters).await?;
    let group = answer.members("AutoScalingGroups").first().cloned();
    group.ok_or_else(|| Refusal::new("ValidationError", "AutoScalingGroup name not found - null"))
}

/// The launch template with `$Latest`, `$Default` or no version turned into the number.
pub async fn resolve_version(state: &State, call: &Call, mut template: Element) -> Result<Element, Refusal> {
    let version = template.get("Version").to_owned();
    if version.parse::<u64>().is_ok() {
        return Ok(template);
    }
    let parameters = [("LaunchTemplateId.1", template.get("LaunchTemplateId"))];
    let answer = state.upstream.ask(call, "ec2", "DescribeLaunchTemplates", &parameters).await?;
    let described = answer.members("launchTemplates").first().cloned().unwrap_or_default();
    let member = if version == "$Latest" { "latestVersionNumber" } else { "defaultVersionNumber" };
    template.set(Element::leaf("Version", described.get(member)));
    Ok(template)
}

/// Remembers what each instance that wasn't seen before was launched with.
async fn observe(state: &State, call: &Call, group: &Element) -> Result<(), Refusal> {
    let Some(template) = group.child("LaunchTemplate") else {
        return Ok(());
    };
    let unseen: Vec<String> = {
        let memory = state.memory();
        let ids = group.members("Instances").iter().map(|instance| instance.get("InstanceId").to_owned());
        ids.filter(|id| !memory.launched_with.contains_key(id)).collect()
    };
    if !unseen.is_empty() {
        let template = resolve_version(state, call, template.clone()).await?;
        let mut memory = state.memory();
        memory.launched_with.extend(unseen.into_iter().map(|id| (id, template.clone())));
    }
    Ok(())
}

async fn update(state: &State, call: &Call, name: &str, parameters: &[(&str, &str)]) -> Result<(), Refusal> {
    let mut form = Form::of(parameters.iter().copied());
    form.set("Action", "UpdateAutoScalingGroup");
    form.set("AutoScalingGroupName", name);
    state.upstream.ask_form(call, "autoscaling", form).await.map(|_| ())
}

/// The group's subnets with the one to launch into first.
async fn order(state: &State, call: &Call, group: &Element, zone: Option<&str>) -> Result<Option<String>, Refusal> {
    let subnets: Vec<&str> = group.get("VPCZoneIdentifier").split(',').filter(|id| !id.is_empty()).collect();
    if subnets.len() < 2 {
        return Ok(None);
    }
    let mut ask = Form::of([("Action", "DescribeSubnets")]);
    for (index, subnet) in subnets.iter().enumerate() {
        ask.push(format!("SubnetId.{}", index + 1), *subnet);
    }
    let answer = state.upstream.ask_form(call, "ec2", ask).await?;
    let zones: HashMap<&str, &str> = answer
        .members("subnetSet")
        .iter()
        .map(|subnet| (subnet.get("subnetId"), subnet.get("availabilityZone")))
        .collect();
    let mut load = BTreeMap::<&str, usize>::new();
    for instance in group.members("Instances") {
        *load.entry(instance.get("AvailabilityZone")).or_default() += 1;
    }
    let zone_of = |subnet: &str| zones.get(subnet).copied().unwrap_or_default();
    let first = match zone {
        Some(zone) => subnets.iter().find(|subnet| zone_of(subnet) == zone),
        None => subnets.iter().min_by_key(|subnet| load.get(zone_of(subnet)).copied().unwrap_or_default()),
    };
    let first = first.copied().unwrap_or(subnets[0]);
    let rest = subnets.into_iter().filter(|subnet| *subnet != first);
    Ok(Some(std::iter::once(first).chain(rest).collect::<Vec<_>>().join(",")))
}

/// Grows the group to `desired` instances, spread over its zones.
async fn grow(state: &State, call: &Call, name: &str, desired: usize) -> Result<(), Refusal> {
    let subnets = describe(state, call, name).await?.get("VPCZoneIdentifier").to_owned();
    loop {
        let group = describe(state, call, name).await?;
        let count = group.members("Instances").len();
        if count >= desired {
            update(state, call, name, &[("VPCZoneIdentifier", &subnets), ("DesiredCapacity", &desired.to_string())])
                .await?;
            let group = describe(state, call, name).await?;
            return observe(state, call, &group).await;
        }
        let next = (count + 1).to_string();
        let order = order(state, call, &group, None).await?.unwrap_or_else(|| subnets.clone());
        update(state, call, name, &[("VPCZoneIdentifier", &order), ("DesiredCapacity", &next)]).await?;
        let grown = describe(state, call, name).await?;
        if grown.members("Instances").len() <= count {
            // Launching is suspended or fails: the group stays short, as on AWS.
            return update(
                state,
                call,
                name,
                &[("VPCZoneIdentifier", &subnets), ("DesiredCapacity", &desired.to_string())],
            )
            .await;
        }
        observe(state, call, &grown).await?;
    }
}

/// Terminates an instance; its replacement comes up in the same zone.
pub async fn replace_instance(state: &State, call: &Call, name: &str, instance: &str) -> Result<(), Refusal> {
    let group = describe(state, call, name).await?;
    let Some(found) = group.members("Instances").iter().find(|member| member.get("InstanceId") == instance) else {
        return Ok(());
    };
    let zone = found.get("AvailabilityZone").to_owned();
    if let Some(order) = order(state, call, &group, Some(&zone)).await? {
        update(state, call, name, &[("VPCZoneIdentifier", &order)]).await?;
    }
    let parameters = [("InstanceId", instance), ("ShouldDecrementDesiredCapacity", "false")];
    state.upstream.ask(call, "autoscaling", "TerminateInstanceInAutoScalingGroup", &parameters).await?;
    restore(state, call, name, group.get("VPCZoneIdentifier")).await
}

/// Moves the instances that are in subnets which the group has left; the emulator leaves them where they are.
async fn leave_subnets(state: &State, call: &Call, name: &str) -> Result<(), Refusal> {
    let group = describe(state, call, name).await?;
    let subnets = group.get("VPCZoneIdentifier").to_owned();
    let mut ask = Form::of([("Action", "DescribeInstances")]);
    for (index, instance) in group.members("Instances").iter().enumerate() {
        ask.push(format!("InstanceId.{}", index + 1), instance.get("InstanceId"));
    }
    if subnets.is_empty() || group.members("Instances").is_empty() {
        return Ok(());
    }
    let answer = state.upstream.ask_form(call, "ec2", ask).await?;
    let instances = answer.members("reservationSet").iter().flat_map(|reservation| reservation.members("instancesSet"));
    for instance in instances.filter(|instance| !subnets.split(',').any(|subnet| subnet == instance.get("subnetId"))) {
        if let Some(order) = order(state, call, &describe(state, call, name).await?, None).await? {
            update(state, call, name, &[("VPCZoneIdentifier", &order)]).await?;
        }
        let parameters = [("InstanceId", instance.get("instanceId")), ("ShouldDecrementDesiredCapacity", "false")];
        state.upstream.ask(call, "autoscaling", "TerminateInstanceInAutoScalingGroup", &parameters).await?;
        restore(state, call, name, &subnets).await?;
    }
    Ok(())
}

/// Puts the order of the subnets back and has the load balancer's targets follow the instances.
async fn restore(state: &State, call: &Call, name: &str, subnets: &str) -> Result<(), Refusal> {
    let group = describe(state, call, name).await?;
    let desired = group.get("DesiredCapacity").to_owned();
    update(state, call, name, &[("VPCZoneIdentifier", subnets), ("DesiredCapacity", &desired)]).await?;
    observe(state, call, &group).await
}

/// The groups that the instances of an EC2 TerminateInstances belong to, with the zone of one of them.
async fn terminated_groups(state: &State, call: &Call) -> Result<Vec<(String, String)>, Refusal> {
    if call.operation != "TerminateInstances" {
        return Ok(Vec::new());
    }
    let mut ask = Form::of([("Action", "DescribeAutoScalingInstances")]);
    for (index, id) in call.form.list("InstanceId").iter().enumerate() {
        ask.push(format!("InstanceIds.member.{}", index + 1), id);
    }
    let answer = state.upstream.ask_form(call, "autoscaling", ask).await?;
    let mut groups: Vec<(String, String)> = answer
        .members("AutoScalingInstances")
        .iter()
        .map(|instance| (instance.get("AutoScalingGroupName").to_owned(), instance.get("AvailabilityZone").to_owned()))
        .collect();
    groups.dedup_by(|one, other| one.0 == other.0);
    Ok(groups)
}

/// Has the replacements of terminated instances come up in the same zone, and remembers how to put things back.
pub async fn before_termination(state: &State, call: &Call) -> Result<(), Refusal> {
    for (name, zone) in terminated_groups(state, call).await? {
        let group = describe(state, call, &name).await?;
        let subnets = group.get("VPCZoneIdentifier").to_owned();
        if let Some(order) = order(state, call, &group, Some(&zone)).await? {
            update(state, call, &name, &[("VPCZoneIdentifier", &order)]).await?;
        }
        state.memory().reordered.insert(name, subnets);
    }
    Ok(())
}

pub async fn after_termination(state: &State, call: &Call) -> Result<(), Refusal> {
    if call.operation != "TerminateInstances" {
        return Ok(());
    }
    let reordered: Vec<(String, String)> = state.memory().reordered.drain().collect();
    for (name, subnets) in reordered {
        restore(state, call, &name, &subnets).await?;
    }
    Ok(())
}

/// Keeps the attributes that the emulator forgets.
fn remember(state: &State, call: &Call) {
    let name = call.form.text("AutoScalingGroupName").to_owned();
    let mut memory = state.memory();
    let attributes = memory.attributes.entry((KIND, name)).or_default();
    for key in FORGOTTEN {
        if let Some(value) = call.form.get(key) {
            attributes.insert(key.to_owned(), Element::leaf(key, value));
        }
    }
    let policies = call.form.list("TerminationPolicies");
    if !policies.is_empty() {
        let members = policies.iter().map(|policy| Element::leaf("member", policy));
        attributes.insert("TerminationPolicies".to_owned(), Element::new("TerminationPolicies").with_all(members));
    }
}

/// How many instances the call wants the group to have, when it says so.
fn wanted(call: &Call) -> Option<usize> {
    let desired = call.form.number("DesiredCapacity");
    let min = call.form.number("MinSize").filter(|_| call.operation != "SetDesiredCapacity");
    usize::try_from(desired.or(min)?).ok()
}

pub async fn request(state: &State, call: &mut Call) -> Result<(), Refusal> {
    match call.operation.as_str() {
        "CreateAutoScalingGroup" => {
            call.form.set("DesiredCapacity", "0");
            rewrite(call);
        }
        "UpdateAutoScalingGroup" | "SetDesiredCapacity" => {
            let group = describe(state, call, call.form.text("AutoScalingGroupName")).await?;
            let count = group.members("Instances").len();
            if wanted(call).is_some_and(|wanted| wanted > count) {
                call.form.set("DesiredCapacity", count.to_string());
                rewrite(call);
            }
        }
        "PutScalingPolicy" | "DeletePolicy" | "ExecutePolicy" | "DescribePolicies" => {
            policies::request(&mut call.form);
            rewrite(call);
        }
        "TerminateInstanceInAutoScalingGroup" => {
            let id = call.form.text("InstanceId");
            let parameters = [("InstanceIds.member.1", id)];
            let answer = state.upstream.ask(call, "autoscaling", "DescribeAutoScalingInstances", &parameters).await?;
            let Some(instance) = answer.members("AutoScalingInstances").first() else {
                return Err(Refusal::new(
                    "ValidationError",
                    format!("Instance Id not found - No managed instance found for instance ID {id}"),
                ));
            };
            let name = instance.get("AutoScalingGroupName");
            let group = describe(state, call, name).await?;
            if let Some(order) = order(state, call, &group, Some(instance.get("AvailabilityZone"))).await? {
                update(state, call, name, &[("VPCZoneIdentifier", &order)]).await?;
            }
            state.memory().reordered.insert(name.to_owned(), group.get("VPCZoneIdentifier").to_owned());
        }
        _ => {}
    }
    Ok(())
}

pub async fn answer(state: &State, call: &Call, reply: Reply) -> Result<Reply, Refusal> {
    let name = call.form.text("AutoScalingGroupName");
    match call.operation.as_str() {
        "CreateAutoScalingGroup" => {
            remember(state, call);
            grow(state, call, name, wanted(call).unwrap_or_default()).await?;
        }
        "UpdateAutoScalingGroup" => {
            remember(state, call);
            let group = describe(state, call, name).await?;
            let count = group.members("Instances").len();
            // A new minimum lifts the desired capacity, but never lowers it.
            let desired = call.form.number("DesiredCapacity").is_some();
            match wanted(call) {
                Some(wanted) if wanted > count || desired => grow(state, call, name, wanted).await?,
                _ => observe(state, call, &group).await?,
            }
            if call.form.get("VPCZoneIdentifier").is_some() {
                leave_subnets(state, call, name).await?;
            }
        }
        "SetDesiredCapacity" => grow(state, call, name, wanted(call).unwrap_or_default()).await?,
        "DeleteAutoScalingGroup" => {
            policies::forget(state, call, name).await?;
            let mut memory = state.memory();
            memory.attributes.remove(&(KIND, name.to_owned()));
            memory.refreshes.remove(name);
        }
        "TerminateInstanceInAutoScalingGroup" => {
            let reordered: Vec<(String, String)> = state.memory().reordered.drain().collect();
            for (name, subnets) in reordered {
                restore(state, call, &name, &subnets).await?;
            }
        }
        "DescribeAutoScalingGroups" => return described(state, &reply),
        "DescribeAutoScalingInstances" => {
            let mut answer = reply.element()?;
            if let Some(instances) = answer.find_mut("AutoScalingInstances") {
                launched_with(state, &mut instances.children);
            }
            return Ok(reply.with_element(&answer));
        }
        "PutScalingPolicy" => return policies::put(state, call).await,
        "DescribePolicies" => return policies::described(reply),
        _ => {}
    }
    Ok(reply)
}

/// The groups with what the emulator forgot about them.
fn described(state: &State, reply: &Reply) -> Result<Reply, Refusal> {
    let mut answer = reply.element()?;
    if let Some(groups) = answer.find_mut("AutoScalingGroups") {
        for group in &mut groups.children {
            let key = (KIND, group.get("AutoScalingGroupName").to_owned());
            let attributes = state.memory().attributes.get(&key).cloned().unwrap_or_default();
            for attribute in attributes.into_values() {
                group.set(attribute);
            }
            if let Some(instances) = group.child_mut("Instances") {
                launched_with(state, &mut instances.children);
            }
        }
    }
    Ok(reply.clone().with_element(&answer))
}

fn launched_with(state: &State, instances: &mut [Element]) {
    let memory = state.memory();
    for instance in instances {
        if let Some(template) = memory.launched_with.get(instance.get("InstanceId")) {
            instance.set(template.clone());
        }
    }
}
