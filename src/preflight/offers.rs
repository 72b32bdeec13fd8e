//! Machines and engine versions that AWS offers here.

use aws_sdk_ec2::types::{Filter, LocationType};
use aws_sdk_rds::types::OrderableDbInstanceOption;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

use super::{Finding, Look, touching, zone_of};
use crate::{
    aws::Result,
    blueprint::{Blueprint, Node},
    engine::Plan,
    resource::{AutoScalingGroup, DbCluster, DbInstance, Kind, LaunchTemplate, targets},
};

/// Instance types that some of the zones don't have.
pub async fn machines(look: &Look<'_>) -> Result<Vec<Finding>> {
    let wanted = wanted_machines(look.blueprint, look.plan);
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

/// The machines of groups that are made, get another one or come into other zones; and the zones of each.
fn wanted_machines(blueprint: &Blueprint, plan: &Plan) -> BTreeMap<String, BTreeSet<String>> {
    let groups = touching(plan, AutoScalingGroup::NAME, &["subnets"]);
    let templates = touching(plan, LaunchTemplate::NAME, &["instance_type"]);
    let touched: BTreeSet<&str> = groups.chain(templates).map(|step| step.id.as_str()).collect();
    let mut wanted: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (id, group) in of_kind(blueprint, AutoScalingGroup::NAME) {
        let Some(template) = targets(&group.spec["launch_template"]).into_iter().next() else { continue };
        let machine = blueprint.nodes.get(&template.id).and_then(|node| node.spec["instance_type"].as_str());
        let Some(machine) = machine.filter(|_| touched.contains(id) || touched.contains(template.id.as_str())) else {
            continue;
        };
        let subnets = targets(&group.spec["subnets"]).into_iter();
        let zones = subnets.filter_map(|subnet| zone_of(blueprint, &subnet.id));
        wanted.entry(machine.to_owned()).or_default().extend(zones);
    }
    wanted
}

fn of_kind<'a>(blueprint: &'a Blueprint, kind: &'a str) -> impl Iterator<Item = (&'a str, &'a Node)> {
    blueprint.nodes.iter().filter(move |(_, node)| node.kind == kind).map(|(id, node)| (id.as_str(), node))
}

/// What is asked of Aurora.
#[derive(Debug, PartialEq)]
struct Databases {
    engine: String,
    /// None if the cluster stays at its version, which AWS may have moved on.
    version: Option<String>,
    /// The zones of the instances of each class.
    classes: BTreeMap<String, BTreeSet<String>>,
}

/// Versions of the engine, and classes on which they run, that AWS doesn't have here. Emulators have lists of their own,
/// which say nothing about AWS.
pub async fn engine(look: &Look<'_>) -> Result<Vec<Finding>> {
    let Some(wanted) = wanted_databases(look.blueprint, look.plan) else { return Ok(Vec::new()) };
    if look.cx.emulator.is_some() {
        return Ok(Vec::new());
    }
    let mut findings = Vec::new();
    for (class, zones) in &wanted.classes {
        let call = look.cx.rds.describe_orderable_db_instance_options().engine(&wanted.engine).vpc(true);
        let call = call.set_engine_version(wanted.version.clone()).db_instance_class(class);
        let options = call.into_paginator().items().send();
        let options = options.collect::<std::result::Result<Vec<_>, _>>().await?;
        findings.extend(judge(&wanted, class, zones, &options, &look.cx.region));
    }
    Ok(findings)
}

/// The instances that are made or get another class or zone; all of them if the engine's version becomes another.
fn wanted_databases(blueprint: &Blueprint, plan: &Plan) -> Option<Databases> {
    let (_, cluster) = of_kind(blueprint, DbCluster::NAME).next()?;
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let moves = touching(plan, DbCluster::NAME, &["engine", "version"]).next().is_some();
    let touched: BTreeSet<&str> =
        touching(plan, DbInstance::NAME, &["class", "zone"]).map(|step| step.id.as_str()).collect();
    let mut classes: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (_, instance) in of_kind(blueprint, DbInstance::NAME).filter(|(id, _)| moves || touched.contains(id)) {
        classes.entry(text(&instance.spec["class"])?).or_default().extend(text(&instance.spec["zone"]));
    }
    let version = text(&cluster.spec["version"]).filter(|_| moves);
    (!classes.is_empty()).then_some(Databases { engine: text(&cluster.spec["engine"])?, version, classes })
}

fn judge(
    wanted: &Databases,
    class: &str,
    zones: &BTreeSet<String>,
    options: &[OrderableDbInstanceOption],
    region: &str,
) -> Option<Finding> {
    let engine = &wanted.engine;
    let what = wanted.version.as_ref().map_or_else(|| engine.clone(), |version| format!("{engine} {version}"));
    if options.is_empty() {
        return Some(Finding::Problem(format!(
            "{what} isn't offered on {class} in {region}; `aws rds describe-orderable-db-instance-options --engine {engine}` \
             lists what is"
        )));
    }
    let offered: BTreeSet<&str> =
        options.iter().flat_map(|option| option.availability_zones()).filter_map(|zone| zone.name()).collect();
    let without: Vec<&str> = zones.iter().map(String::as_str).filter(|zone| !offered.contains(zone)).collect();
    (!without.is_empty()).then(|| {
        Finding::Problem(format!(
            "{what} isn't offered on {class} in {}; choose another database.class or other network.zones",
            without.join(", ")
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        engine::Action,
        preflight::tests::{blueprint, plan, step},
    };
    use aws_sdk_rds::types::AvailabilityZone;
    use serde_json::json;

    fn zones(names: &[&str]) -> BTreeSet<String> {
        names.iter().map(|name| format!("ap-northeast-2{name}")).collect()
    }

    #[test]
    fn another_machine_or_another_zone_of_a_group_is_asked_for() {
        let blueprint = blueprint(json!({"services": {"web": {"instances": {"type": "m5.large"}}}}));
        let wanted = |id, kind, action, attributes: &[&str]| {
            wanted_machines(&blueprint, &plan(vec![step(id, kind, action, attributes)]))
        };
        let all = BTreeMap::from([("m5.large".to_owned(), zones(&["a", "c"]))]);
        let (template, group) = (LaunchTemplate::NAME, AutoScalingGroup::NAME);
        assert_eq!(wanted("launch-template-web", template, Action::Update, &["instance_type"]), all);
        assert_eq!(wanted("group-web", group, Action::Update, &["max", "subnets[1]"]), all);
        assert_eq!(wanted("group-web", group, Action::Create, &[]), all);
        assert!(wanted("launch-template-web", template, Action::Update, &["user_data"]).is_empty());
        assert!(wanted("group-web", group, Action::Delete, &[]).is_empty());
    }

    #[test]
    fn another_class_or_version_of_the_database_is_asked_for() {
        let blueprint = blueprint(json!({"database": {"class": "db.r6g.large", "readers": 1}}));
        let wanted = |id, kind, attribute: &str| {
            let wanted = wanted_databases(&blueprint, &plan(vec![step(id, kind, Action::Update, &[attribute])]));
            wanted.map(|wanted| (wanted.version.is_some(), wanted.classes["db.r6g.large"].clone()))
        };
        assert_eq!(wanted("database-2", DbInstance::NAME, "class"), Some((false, zones(&["c"]))));
        assert_eq!(wanted("database", DbCluster::NAME, "version"), Some((true, zones(&["a", "c"]))));
        assert_eq!(wanted("database", DbCluster::NAME, "backup_days"), None);
    }

    #[test]
    fn a_class_that_a_zone_lacks_is_told() {
        let wanted = Databases { engine: "aurora-mysql".into(), version: Some("8.0".into()), classes: BTreeMap::new() };
        let at = |name: &str| AvailabilityZone::builder().name(format!("ap-northeast-2{name}")).build();
        let option = |name| OrderableDbInstanceOption::builder().availability_zones(at(name)).build();
        let judged = |options: &[_]| judge(&wanted, "db.r6g.large", &zones(&["a", "c"]), options, "ap-northeast-2");
        assert_eq!(judged(&[option("a"), option("c")]), None);
        let told =
            |options: &[_], part: &str| matches!(judged(options), Some(Finding::Problem(text)) if text.contains(part));
        assert!(told(&[option("a"), option("b")], "on db.r6g.large in ap-northeast-2c;"));
        assert!(told(&[], "on db.r6g.large in ap-northeast-2;"));
    }
}
