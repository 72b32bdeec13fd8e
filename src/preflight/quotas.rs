//! How much of what the account may have is left.

use aws_sdk_ec2::types::{Filter, Instance, InstanceType};
use std::collections::BTreeMap;

use super::{Finding, Look};
use crate::{
    aws::{Context, Error, Result},
    resource::{Address, AutoScalingGroup, Kind, LaunchTemplate, NatGateway, Vpc, targets},
};

/// One limit of an account in a region.
/// Source of the codes: Service Quotas, <https://docs.aws.amazon.com/general/latest/gr/aws-service-information.html>
struct Quota {
    service: &'static str,
    code: &'static str,
    what: &'static str,
}

const ADDRESSES: Quota = Quota { service: "ec2", code: "L-0263D0A3", what: "Elastic IP addresses" };
const VPCS: Quota = Quota { service: "vpc", code: "L-F678F1CE", what: "VPCs" };
const GATEWAYS: Quota = Quota { service: "vpc", code: "L-FE5A380F", what: "NAT gateways in one zone" };
const GROUPS: Quota = Quota { service: "autoscaling", code: "L-CDE20ADC", what: "auto-scaling groups" };
const PROCESSORS: Quota =
    Quota { service: "ec2", code: "L-1216C47A", what: "virtual processors of running standard instances" };

/// The families that count for `PROCESSORS`, by their first letter.
const STANDARD: [char; 9] = ['a', 'c', 'd', 'h', 'i', 'm', 'r', 't', 'z'];

pub async fn ask(look: &Look<'_>) -> Result<Vec<Finding>> {
    let cx = look.cx;
    let (vpcs, addresses, gateways, groups, processors) =
        tokio::join!(vpcs(look), addresses(look), gateways(look), groups(look), processors(look));
    let mut findings = Vec::new();
    let mut first_error = None;
    for answer in [vpcs, addresses, gateways, groups, processors] {
        match answer {
            Ok(finding) => findings.extend(finding),
            Err(error) => first_error = first_error.or(Some(error)),
        }
    }
    // What was found counts even where another question got no answer.
    findings.extend(first_error.iter().flat_map(|error| super::unasked(cx, "quotas", error)));
    Ok(findings)
}

/// How many there may be, if there is a limit.
async fn limit(cx: &Context, quota: &Quota) -> Result<Option<f64>> {
    let answer = cx.quotas.get_service_quota().service_code(quota.service).quota_code(quota.code).send().await;
    Ok(answer.map_err(Error::from)?.quota().and_then(|quota| quota.value()))
}

/// How many more would be too many, in words.
async fn compare(cx: &Context, quota: &Quota, used: usize, more: usize) -> Result<Option<Finding>> {
    Ok(limit(cx, quota).await?.and_then(|most| too_many(quota, most, used, more)))
}

fn too_many(quota: &Quota, most: f64, used: usize, more: usize) -> Option<Finding> {
    ((used + more) as f64 > most).then(|| {
        Finding::Problem(format!(
            "the account may have {most} {}, has {used}, and {more} more are planned; ask for a higher quota {} of {} in \
             Service Quotas, or take others away",
            quota.what, quota.code, quota.service,
        ))
    })
}

async fn vpcs(look: &Look<'_>) -> Result<Option<Finding>> {
    let more = look.made(Vpc::NAME).count();
    if more == 0 {
        return Ok(None);
    }
    let pages = look.cx.ec2.describe_vpcs().into_paginator().items().send();
    let used = pages.collect::<std::result::Result<Vec<_>, _>>().await?.len();
    compare(look.cx, &VPCS, used, more).await
}

async fn addresses(look: &Look<'_>) -> Result<Option<Finding>> {
    let more = look.made(Address::NAME).count();
    if more == 0 {
        return Ok(None);
    }
    let used = look.cx.ec2.describe_addresses().send().await?.addresses().len();
    compare(look.cx, &ADDRESSES, used, more).await
}

/// The stack has one per zone at most, so the fullest zone decides.
async fn gateways(look: &Look<'_>) -> Result<Option<Finding>> {
    if look.made(NatGateway::NAME).next().is_none() {
        return Ok(None);
    }
    let alive = Filter::builder().name("state").values("pending").values("available").build();
    let gateways = look.cx.ec2.describe_nat_gateways().filter(alive).into_paginator().items().send();
    let gateways = gateways.collect::<std::result::Result<Vec<_>, _>>().await?;
    let subnets = look.cx.ec2.describe_subnets().into_paginator().items().send();
    let subnets = subnets.collect::<std::result::Result<Vec<_>, _>>().await?;
    let zones: BTreeMap<_, _> =
        subnets.iter().filter_map(|subnet| Some((subnet.subnet_id()?, subnet.availability_zone()?))).collect();
    let mut used: BTreeMap<&str, usize> = BTreeMap::new();
    for zone in gateways.iter().filter_map(|gateway| zones.get(gateway.subnet_id()?)) {
        *used.entry(zone).or_default() += 1;
    }
    compare(look.cx, &GATEWAYS, used.into_values().max().unwrap_or_default(), 1).await
}

async fn groups(look: &Look<'_>) -> Result<Option<Finding>> {
    let more = look.made(AutoScalingGroup::NAME).count();
    if more == 0 {
        return Ok(None);
    }
    let groups = look.cx.autoscaling.describe_auto_scaling_groups().into_paginator().items().send();
    let used = groups.collect::<std::result::Result<Vec<_>, _>>().await?.len();
    compare(look.cx, &GROUPS, used, more).await
}

/// The instances with which new groups begin.
async fn processors(look: &Look<'_>) -> Result<Option<Finding>> {
    let begun = machines(look);
    if begun.is_empty() {
        return Ok(None);
    }
    let cx = look.cx;
    // First, because the other answers are long, and emulators know no such limit.
    let Some(most) = limit(cx, &PROCESSORS).await? else { return Ok(None) };
    let types = begun.iter().map(|(machine, _)| InstanceType::from(machine.as_str())).collect();
    let answer = cx.ec2.describe_instance_types().set_instance_types(Some(types)).send().await?;
    let of = |machine: &str| {
        let known =
            answer.instance_types().iter().find(|known| known.instance_type().is_some_and(|t| t.as_str() == machine));
        known.and_then(|known| known.v_cpu_info()?.default_v_cpus()).and_then(|count| usize::try_from(count).ok())
    };
    let more = begun.iter().map(|(machine, count)| of(machine).unwrap_or_default() * count).sum();
    let running = Filter::builder().name("instance-state-name").values("pending").values("running").build();
    let pages = cx.ec2.describe_instances().filters(running).into_paginator().items().send();
    let reservations = pages.collect::<std::result::Result<Vec<_>, _>>().await?;
    let used = reservations.iter().flat_map(|reservation| reservation.instances()).filter_map(of_instance).sum();
    Ok(too_many(&PROCESSORS, most, used, more))
}

fn of_instance(instance: &Instance) -> Option<usize> {
    is_standard(instance.instance_type()?.as_str()).then_some(())?;
    let options = instance.cpu_options()?;
    usize::try_from(options.core_count()? * options.threads_per_core()?).ok()
}

fn is_standard(machine: &str) -> bool {
    machine.starts_with(STANDARD) && !["hpc", "inf", "dl", "mac", "trn"].iter().any(|other| machine.starts_with(other))
}

/// The machines of the new groups, and how many of each at first.
fn machines(look: &Look<'_>) -> Vec<(String, usize)> {
    let machine = |(_, group): (&str, crate::resource::auto_scaling_group::AutoScalingGroupSpec)| {
        let id = targets(&serde_json::json!(group.launch_template)).into_iter().next()?.id;
        let node = look.blueprint.nodes.get(&id).filter(|node| node.kind == LaunchTemplate::NAME)?;
        let machine = node.spec["instance_type"].as_str()?.to_owned();
        Some((machine, usize::try_from(group.desired).ok()?))
    };
    let machines = look.wanted::<AutoScalingGroup>().into_iter().filter_map(machine);
    machines.filter(|(machine, _)| is_standard(machine)).collect()
}
