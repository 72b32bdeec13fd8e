//! How much of what the account may have is left.

use aws_sdk_ec2::types::{Filter, Instance, InstanceLifecycleType, InstanceType};
use aws_sdk_servicequotas::types::ServiceQuota;
use std::collections::{BTreeMap, BTreeSet};

use super::{Finding, Look, zone_of};
use crate::{
    aws::{Context, Error, Result},
    blueprint::Blueprint,
    engine::Step,
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
    answer.map_err(Error::from)?.quota().map_or(Ok(None), value)
}

/// The value of a quota. An answer may say that it isn't the account's: Service Quotas couldn't ask the service itself.
/// Source: <https://docs.aws.amazon.com/servicequotas/2019-06-24/apireference/API_ErrorReason.html>
fn value(quota: &ServiceQuota) -> Result<Option<f64>> {
    let Some(reason) = quota.error_reason() else { return Ok(quota.value()) };
    let code = reason.error_code().map(|code| code.as_str().to_owned()).unwrap_or_default();
    let message = reason.error_message().unwrap_or("the limit isn't known");
    Err(Error { code, ..Error::unexpected("servicequotas", "GetServiceQuota", message) })
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

/// The stack has one per zone at most, so the fullest of its zones decides.
async fn gateways(look: &Look<'_>) -> Result<Option<Finding>> {
    let planned = zones_of_gateways(look.blueprint, look.made(NatGateway::NAME));
    if planned.is_empty() {
        return Ok(None);
    }
    let alive = Filter::builder().name("state").values("pending").values("available").build();
    let gateways = look.cx.ec2.describe_nat_gateways().filter(alive).into_paginator().items().send();
    let gateways = gateways.collect::<std::result::Result<Vec<_>, _>>().await?;
    let subnets = look.cx.ec2.describe_subnets().into_paginator().items().send();
    let subnets = subnets.collect::<std::result::Result<Vec<_>, _>>().await?;
    let zones: BTreeMap<_, _> =
        subnets.iter().filter_map(|subnet| Some((subnet.subnet_id()?, subnet.availability_zone()?))).collect();
    let taken = gateways.iter().filter_map(|gateway| zones.get(gateway.subnet_id()?).copied());
    compare(look.cx, &GATEWAYS, fullest(&planned, taken), 1).await
}

/// The zones that get a gateway.
fn zones_of_gateways<'a>(blueprint: &Blueprint, made: impl Iterator<Item = &'a Step>) -> BTreeSet<String> {
    let subnets =
        made.filter_map(|step| targets(blueprint.nodes.get(&step.id)?.spec.get("subnet")?).into_iter().next());
    subnets.filter_map(|subnet| zone_of(blueprint, &subnet.id)).collect()
}

/// How many there are in that of the planned zones that has most of them.
fn fullest<'a>(planned: &BTreeSet<String>, taken: impl Iterator<Item = &'a str>) -> usize {
    let mut used: BTreeMap<&str, usize> = BTreeMap::new();
    for zone in taken.filter(|zone| planned.contains(*zone)) {
        *used.entry(zone).or_default() += 1;
    }
    used.into_values().max().unwrap_or_default()
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

/// The virtual processors with which an instance counts. Spot instances have a quota of their own.
fn of_instance(instance: &Instance) -> Option<usize> {
    let is_spot = instance.instance_lifecycle() == Some(&InstanceLifecycleType::Spot);
    (!is_spot && is_standard(instance.instance_type()?.as_str())).then_some(())?;
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        engine::Action,
        preflight::tests::{blueprint, step},
    };
    use aws_sdk_ec2::types::CpuOptions;
    use aws_sdk_servicequotas::types::{ErrorCode, ErrorReason};

    #[test]
    fn a_value_that_the_service_was_not_asked_for_is_none() {
        let quota = ServiceQuota::builder().value(5.0);
        assert_eq!(value(&quota.clone().build()).ok(), Some(Some(5.0)));
        let reason =
            ErrorReason::builder().error_code(ErrorCode::DependencyAccessDeniedError).error_message("no right");
        let error = value(&quota.error_reason(reason.build()).build()).expect_err("not the account's");
        assert!(error.to_string().ends_with("DEPENDENCY_ACCESS_DENIED_ERROR: no right"), "{error}");
    }

    #[test]
    fn only_the_zones_that_get_a_gateway_count() {
        let blueprint = blueprint(serde_json::json!({}));
        let step = step("nat-a", NatGateway::NAME, Action::Create, &[]);
        let planned = zones_of_gateways(&blueprint, [&step].into_iter());
        assert_eq!(planned, BTreeSet::from(["ap-northeast-2a".to_owned()]));
        let taken = ["ap-northeast-2c", "ap-northeast-2a", "ap-northeast-2c", "ap-northeast-2c"];
        assert_eq!(fullest(&planned, taken.into_iter()), 1);
        assert_eq!(fullest(&planned, ["ap-northeast-2c"].into_iter()), 0);
    }

    #[test]
    fn spot_instances_have_a_quota_of_their_own() {
        let cores = CpuOptions::builder().core_count(2).threads_per_core(2).build();
        let instance = Instance::builder().instance_type(InstanceType::M5Xlarge).cpu_options(cores);
        assert_eq!(of_instance(&instance.clone().build()), Some(4));
        assert_eq!(of_instance(&instance.instance_lifecycle(InstanceLifecycleType::Spot).build()), None);
    }
}
