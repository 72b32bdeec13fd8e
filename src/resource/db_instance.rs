//! An instance of an Aurora cluster: the writer or a reader, whichever Aurora has made it.

use aws_sdk_rds::types::DbInstance as AwsInstance;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

use super::{Change, Created, DbCluster, DbParameterGroup, DbSubnetGroup, Desired, Effect, Found, Kind, Outputs, Ref};
use super::{Scan, Select, Status, Traits, rds};
use crate::aws::{Context, Error, Result, tags};

pub struct DbInstance;

#[derive(Serialize, Deserialize)]
pub struct DbInstanceSpec {
    /// Up to 63 characters.
    pub name: String,
    pub cluster: Ref<DbCluster>,
    /// Such as `aurora-mysql`.
    pub engine: String,
    /// Such as `db.r6g.large`.
    pub class: String,
    /// Such as `ap-northeast-2a`.
    pub zone: String,
    pub subnet_group: Ref<DbSubnetGroup>,
    pub parameter_group: Ref<DbParameterGroup>,
    /// The order in which Aurora promotes readers: 0 first, 15 last.
    pub promotion_tier: i32,
    /// Weekly, in UTC: `ddd:hh:mm-ddd:hh:mm`.
    pub maintenance_window: String,
    /// Seconds between operating-system metrics: 1, 5, 10, 15, 30 or 60; 0 for none.
    pub monitoring_interval: i32,
    /// ARN of the role with which RDS writes those metrics.
    pub monitoring_role: Option<String>,
    /// Performance Insights; none where the endpoint doesn't tell.
    pub performance_insights: Option<bool>,
    pub auto_minor_upgrades: bool,
    pub public: bool,
    /// Whether no parameter waits for a reboot to take effect.
    pub parameters_applied: bool,
}

impl DbInstance {
    /// The output that names the subnets of the instance's subnet group, separated by commas.
    pub const SUBNETS: &'static str = "subnets";
}

impl Kind for DbInstance {
    const NAME: &'static str = "db_instance";
    const TRAITS: Traits = Traits::slow(420, 3600);
    type Spec = DbInstanceSpec;

    fn effect(path: &str) -> Effect {
        match super::root(path) {
            "name" | "cluster" | "engine" | "zone" | "subnet_group" => Effect::Replace,
            // A new class is another machine; parameters that wait need a reboot.
            "class" | "parameter_group" | "parameters_applied" => Effect::Interrupts,
            _ => Effect::InPlace,
        }
    }

    fn follow(wish: &mut DbInstanceSpec, found: &DbInstanceSpec) {
        // What the endpoint doesn't tell can't be compared.
        if found.performance_insights.is_none() {
            wish.performance_insights = None;
        }
    }

    async fn find(scan: &Scan<'_>, select: &Select<'_>) -> Result<Vec<Found<DbInstanceSpec>>> {
        let mut request = scan.rds.describe_db_instances();
        let mut waiting = BTreeSet::new();
        if let Select::One(id) = select {
            request = request.db_instance_identifier(*id);
        }
        let clusters = async {
            match select {
                Select::One(_) => Ok(Vec::new()),
                Select::Stack => scan.of::<DbCluster>().await,
            }
        };
        let listed = async { Ok(request.into_paginator().items().send().collect::<std::result::Result<Vec<_>, _>>().await) };
        let (clusters, instances) = tokio::try_join!(clusters, listed)?;
        // Which instances wait for a reboot because of a cluster parameter is told with the clusters.
        for cluster in clusters {
            let names = cluster.output(DbCluster::AWAITING_REBOOT).split(',').filter(|name| !name.is_empty());
            waiting.extend(names.map(str::to_owned));
        }
        match instances.map_err(Error::from) {
            Ok(all) => Ok(all.iter().filter_map(|instance| found(instance, &scan.stack, &waiting)).collect()),
            Err(error) if error.is_not_found() => Ok(Vec::new()),
            Err(error) => Err(error),
        }
    }

    async fn create(cx: &Context, desired: &Desired<DbInstanceSpec>) -> Result<Created> {
        let spec = &desired.spec;
        let insights = spec.performance_insights == Some(true);
        let answer = cx
            .rds
            .create_db_instance()
            .db_instance_identifier(&spec.name)
            .db_cluster_identifier(&*spec.cluster)
            .engine(&spec.engine)
            .db_instance_class(&spec.class)
            .availability_zone(&spec.zone)
            .db_subnet_group_name(&*spec.subnet_group)
            .db_parameter_group_name(&*spec.parameter_group)
            .promotion_tier(spec.promotion_tier)
            .preferred_maintenance_window(&spec.maintenance_window)
            .monitoring_interval(spec.monitoring_interval)
            .set_monitoring_role_arn(spec.monitoring_role.clone())
            // Left out when off: a class that doesn't have it refuses the mere mention.
            .set_enable_performance_insights(insights.then_some(true))
            .set_performance_insights_retention_period(insights.then_some(INSIGHTS_DAYS))
            .auto_minor_version_upgrade(spec.auto_minor_upgrades)
            .publicly_accessible(spec.public)
            .set_tags(Some(rds::list(&desired.tags)))
            .send()
            .await?;
        let outputs = answer.db_instance().map(outputs).unwrap_or_default();
        Ok(Created { id: spec.name.clone(), outputs })
    }

    async fn update(cx: &Context, change: &Change<DbInstanceSpec>) -> Result<()> {
        let only_marks = |path: &String| matches!(super::root(path), "tags" | "parameters_applied");
        if !change.paths.iter().all(only_marks) {
            modify(cx, change).await?;
        }
        if let Some(tags) = change.tags() {
            rds::set_tags(cx, change.found.output("arn"), tags).await?;
        }
        // Last: AWS refuses to reboot an instance that is being modified, and the engine then comes here again.
        if change.touches(&["parameters_applied"]) {
            cx.rds.reboot_db_instance().db_instance_identifier(&change.found.id).send().await?;
        }
        Ok(())
    }

    /// An instance of a cluster has no data of its own, so there is no final snapshot to ask for.
    async fn delete(cx: &Context, found: &Found<DbInstanceSpec>) -> Result<()> {
        cx.rds.delete_db_instance().db_instance_identifier(&found.id).send().await?;
        Ok(())
    }
}

/// The history of Performance Insights that costs nothing.
/// Source: <https://docs.aws.amazon.com/AmazonRDS/latest/AuroraUserGuide/USER_PerfInsights.Overview.cost.html>
pub const INSIGHTS_DAYS: i32 = 7;

async fn modify(cx: &Context, change: &Change<DbInstanceSpec>) -> Result<()> {
    let spec = &change.desired.spec;
    let touched = |attribute: &str| change.touches(&[attribute]);
    let insights = spec.performance_insights.filter(|_| touched("performance_insights"));
    let monitoring = change.touches(&["monitoring_interval", "monitoring_role"]);
    cx.rds
        .modify_db_instance()
        .db_instance_identifier(&change.found.id)
        // Otherwise a confirmed change would wait for the maintenance window, and every plan until then would show it.
        .apply_immediately(true)
        .set_db_instance_class(touched("class").then(|| spec.class.clone()))
        .set_db_parameter_group_name(touched("parameter_group").then(|| spec.parameter_group.to_string()))
        .set_promotion_tier(touched("promotion_tier").then_some(spec.promotion_tier))
        .set_preferred_maintenance_window(touched("maintenance_window").then(|| spec.maintenance_window.clone()))
        .set_monitoring_interval(monitoring.then_some(spec.monitoring_interval))
        .set_monitoring_role_arn(spec.monitoring_role.clone().filter(|_| monitoring))
        .set_enable_performance_insights(insights)
        .set_performance_insights_retention_period(insights.filter(|on| *on).map(|_| INSIGHTS_DAYS))
        .set_auto_minor_version_upgrade(touched("auto_minor_upgrades").then_some(spec.auto_minor_upgrades))
        .set_publicly_accessible(touched("public").then_some(spec.public))
        .send()
        .await?;
    Ok(())
}

/// The instance as we see it, if it is the stack's; `waiting` names those with cluster parameters that need a reboot.
fn found(instance: &AwsInstance, stack: &str, waiting: &BTreeSet<String>) -> Option<Found<DbInstanceSpec>> {
    let tags = rds::tags(instance.tag_list());
    if tags.get(tags::STACK).map(String::as_str) != Some(stack) {
        return None;
    }
    let text = |value: Option<&str>| value.unwrap_or_default().to_owned();
    let name = text(instance.db_instance_identifier());
    let groups = instance.db_parameter_groups();
    let own_wait = groups.iter().any(|group| group.parameter_apply_status() == Some("pending-reboot"));
    Some(Found {
        logical_id: tags.get(tags::ID).cloned().unwrap_or_default(),
        spec: DbInstanceSpec {
            cluster: Ref::known(text(instance.db_cluster_identifier())),
            engine: text(instance.engine()),
            class: text(instance.db_instance_class()),
            zone: text(instance.availability_zone()),
            subnet_group: Ref::known(text(instance.db_subnet_group().and_then(|group| group.db_subnet_group_name()))),
            parameter_group: Ref::known(text(groups.first().and_then(|group| group.db_parameter_group_name()))),
            promotion_tier: instance.promotion_tier().unwrap_or_default(),
            maintenance_window: text(instance.preferred_maintenance_window()),
            monitoring_interval: instance.monitoring_interval().unwrap_or_default(),
            monitoring_role: instance.monitoring_role_arn().map(str::to_owned),
            performance_insights: instance.performance_insights_enabled(),
            auto_minor_upgrades: instance.auto_minor_version_upgrade().unwrap_or_default(),
            public: instance.publicly_accessible().unwrap_or_default(),
            parameters_applied: !own_wait && !waiting.contains(&name),
            name: name.clone(),
        },
        outputs: outputs(instance),
        status: status(instance),
        tags: Some(tags),
        id: name,
    })
}

fn outputs(instance: &AwsInstance) -> Outputs {
    let subnets = instance.db_subnet_group().map(|group| group.subnets()).unwrap_or_default();
    let subnets: Vec<_> = subnets.iter().filter_map(|subnet| subnet.subnet_identifier()).collect();
    Outputs::from([
        ("arn".to_owned(), instance.db_instance_arn().unwrap_or_default().to_owned()),
        (DbInstance::SUBNETS.to_owned(), subnets.join(",")),
    ])
}

/// The meaning of an instance's state.
/// Source: <https://docs.aws.amazon.com/AmazonRDS/latest/AuroraUserGuide/accessing-monitoring.html>
fn status(instance: &AwsInstance) -> Status {
    let state = instance.db_instance_status().unwrap_or_default();
    // For a moment after a change the state is still the old one, but the new class is already announced.
    let announced = instance.pending_modified_values().and_then(|pending| pending.db_instance_class());
    match (state, announced) {
        ("available", Some(class)) => Status::Pending(format!("changing to {class}")),
        ("available" | "backing-up" | "storage-optimization" | "stopped", _) => Status::Ready,
        ("deleting", _) => Status::Deleting,
        ("failed" | "incompatible-create" | "insufficient-capacity", _) => Status::Failed(state.to_owned()),
        (other, _) => Status::Pending(other.to_owned()),
    }
}
