//! Machines and engine versions that AWS offers here.

use aws_sdk_ec2::types::{Filter, LocationType};
use std::collections::{BTreeMap, BTreeSet};

use super::{Finding, Look};
use crate::{
    aws::Result,
    resource::{AutoScalingGroup, DbCluster, DbInstance, Subnet, targets},
};

/// Instance types that some of the zones don't have.
pub async fn machines(look: &Look<'_>) -> Result<Vec<Finding>> {
    let mut wanted: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (_, group) in look.wanted::<AutoScalingGroup>() {
        let template = targets(&serde_json::json!(group.launch_template)).into_iter().next();
        let template = template.and_then(|target| look.blueprint.nodes.get(&target.id));
        let Some(machine) = template.and_then(|node| node.spec["instance_type"].as_str()) else { continue };
        let zones = targets(&serde_json::json!(group.subnets)).into_iter().filter_map(|subnet| zone(look, &subnet.id));
        wanted.entry(machine.to_owned()).or_default().extend(zones);
    }
    if wanted.is_empty() {
        return Ok(Vec::new());
    }
    let types = Filter::builder().name("instance-type").set_values(Some(wanted.keys().cloned().collect())).build();
    let call = look.cx.ec2.describe_instance_type_offerings().location_type(LocationType::AvailabilityZone);
    let offers =
        call.filters(types).into_paginator().items().send().collect::<std::result::Result<Vec<_>, _>>().await?;
    let offered: BTreeSet<(&str, &str)> =
        offers.iter().filter_map(|offer| Some((offer.instance_type()?.as_str(), offer.location()?))).collect();
    let missing = |(machine, zones): (&String, &BTreeSet<String>)| {
        let without: Vec<_> =
            zones.iter().filter(|zone| !offered.contains(&(machine.as_str(), zone.as_str()))).cloned().collect();
        (!without.is_empty()).then(|| {
            Finding::Problem(format!(
                "{machine} isn't offered in {}; choose another instances.type or other network.zones",
                without.join(", ")
            ))
        })
    };
    Ok(wanted.iter().filter_map(missing).collect())
}

fn zone(look: &Look<'_>, subnet: &str) -> Option<String> {
    let node = look.blueprint.nodes.get(subnet).filter(|node| node.kind == <Subnet as crate::resource::Kind>::NAME)?;
    node.spec["zone"].as_str().map(str::to_owned)
}

/// Versions of the engine, and classes on which they run, that AWS doesn't have here. Emulators have lists of their own,
/// which say nothing about AWS.
pub async fn engine(look: &Look<'_>) -> Result<Vec<Finding>> {
    let Some((_, cluster)) = look.wanted::<DbCluster>().into_iter().next() else { return Ok(Vec::new()) };
    if look.cx.emulator.is_some() {
        return Ok(Vec::new());
    }
    let classes: BTreeSet<String> =
        look.wanted::<DbInstance>().into_iter().map(|(_, instance)| instance.class).collect();
    let mut findings = Vec::new();
    for class in classes {
        let call = look.cx.rds.describe_orderable_db_instance_options().engine(&cluster.engine);
        let answer = call.engine_version(&cluster.version).db_instance_class(&class).vpc(true).send().await?;
        if answer.orderable_db_instance_options().is_empty() {
            findings.push(Finding::Problem(format!(
                "{} {} isn't offered on {class} in {}; `aws rds describe-orderable-db-instance-options --engine {}` lists \
                 what is",
                cluster.engine, cluster.version, look.cx.region, cluster.engine,
            )));
        }
    }
    Ok(findings)
}
