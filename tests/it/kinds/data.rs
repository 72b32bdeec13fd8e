use std::collections::{BTreeMap, BTreeSet};
use ticketctl::{
    aws::Context,
    resource::{
        DbCluster, DbClusterParameterGroup, DbInstance, DbParameterGroup, DbSubnetGroup, Ref, Subnet, Vpc,
        db_cluster::DbClusterSpec, db_instance::DbInstanceSpec, db_parameter_group::ParameterGroupSpec,
        db_subnet_group::DbSubnetGroupSpec, subnet::SubnetSpec, vpc::VpcSpec,
    },
};

use super::lifecycle::*;
use crate::support::Endpoint;

const STACK: &str = "shop-test";

/// Two subnets in two zones of a VPC of their own.
pub async fn subnets(cx: &Context) -> BTreeSet<Ref<Subnet>> {
    let spec = VpcSpec { cidr: "10.9.0.0/16".into(), dns_support: true, dns_hostnames: true };
    let vpc = create::<Vpc>(cx, "vpc", spec).await;
    let mut subnets = BTreeSet::new();
    for (number, zone) in ["a", "c"].into_iter().enumerate() {
        let spec = SubnetSpec {
            vpc: Ref::known(&vpc.id),
            zone: format!("ap-northeast-2{zone}"),
            cidr: format!("10.9.{number}.0/24"),
            public_ips: false,
        };
        let subnet = create::<Subnet>(cx, &format!("subnet-database-{zone}"), spec).await;
        subnets.insert(Ref::known(subnet.id));
    }
    subnets
}

fn parameters(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn cluster() -> DbClusterSpec {
    DbClusterSpec {
        name: format!("{STACK}-aurora-cluster"),
        engine: "aurora-mysql".into(),
        version: "8.0.mysql_aurora.3.10.4".into(),
        database: "ticketing".into(),
        username: "admin".into(),
        managed_password: true,
        port: 3306,
        subnet_group: Ref::known(DbSubnetGroup::name_in(STACK)),
        parameter_group: Ref::known(DbClusterParameterGroup::name_in(STACK, "aurora-mysql8.0")),
        security_groups: [Ref::known("sg-1")].into(),
        backup_days: 7,
        backup_window: "03:00-04:00".into(),
        maintenance_window: "mon:05:00-mon:06:00".into(),
        log_exports: ["audit", "error", "slowquery"].map(str::to_owned).into(),
        encrypted: true,
        copy_tags_to_snapshots: true,
        deletion_protection: false,
        final_snapshot: false,
    }
}

fn instance(number: usize) -> DbInstanceSpec {
    DbInstanceSpec {
        name: format!("{STACK}-aurora-{number}"),
        cluster: Ref::known(cluster().name),
        engine: "aurora-mysql".into(),
        class: "db.r6g.large".into(),
        zone: "ap-northeast-2c".into(),
        subnet_group: Ref::known(DbSubnetGroup::name_in(STACK)),
        parameter_group: Ref::known(DbParameterGroup::name_in(STACK, "aurora-mysql8.0")),
        promotion_tier: 1,
        maintenance_window: "mon:05:00-mon:06:00".into(),
        monitoring_interval: 60,
        monitoring_role: Some("arn:aws:iam::123456789012:role/monitoring".into()),
        performance_insights: Some(true),
        auto_minor_upgrades: true,
        public: false,
        parameters_applied: true,
    }
}

#[tokio::test]
async fn parameter_groups() {
    let moto = Endpoint::start().await;
    let cx = moto.context(STACK).await;
    let family = "aurora-mysql8.0";
    let name = DbClusterParameterGroup::name_in(STACK, family);
    let cluster = |parameters| ParameterGroupSpec { name: name.clone(), family: family.into(), parameters };
    // More than one call may set.
    let many: Vec<_> = (0..25).map(|number| (format!("parameter_{number}"), "1".to_owned())).collect();
    let changes = vec![
        cluster(parameters(&[("time_zone", "Asia/Seoul"), ("require_secure_transport", "ON")])),
        cluster(many.into_iter().collect()),
    ];
    lifecycle::<DbClusterParameterGroup>(
        &cx,
        DbClusterParameterGroup::ID,
        cluster(parameters(&[("time_zone", "UTC")])),
        changes,
    )
    .await;

    let name = DbParameterGroup::name_in(STACK, family);
    let instance = |parameters| ParameterGroupSpec { name: name.clone(), family: family.into(), parameters };
    let changes = vec![instance(parameters(&[("slow_query_log", "1"), ("long_query_time", "0.5")]))];
    let wish = instance(parameters(&[("slow_query_log", "1"), ("long_query_time", "2")]));
    lifecycle::<DbParameterGroup>(&cx, DbParameterGroup::ID, wish, changes).await;
}

#[tokio::test]
async fn a_cluster_with_two_instances() {
    let moto = Endpoint::start().await;
    let cx = moto.context(STACK).await;
    let family = "aurora-mysql8.0";
    let subnets = subnets(&cx).await;
    let group = DbSubnetGroupSpec { name: DbSubnetGroup::name_in(STACK), subnets };
    create::<DbSubnetGroup>(&cx, DbSubnetGroup::ID, group).await;
    let name = DbClusterParameterGroup::name_in(STACK, family);
    let group = ParameterGroupSpec { name, family: family.into(), parameters: parameters(&[]) };
    create::<DbClusterParameterGroup>(&cx, DbClusterParameterGroup::ID, group).await;
    let name = DbParameterGroup::name_in(STACK, family);
    let group = ParameterGroupSpec { name, family: family.into(), parameters: parameters(&[]) };
    create::<DbParameterGroup>(&cx, DbParameterGroup::ID, group).await;

    let made = create::<DbCluster>(&cx, "database", cluster()).await;
    for output in ["endpoint", "reader_endpoint", "port", "secret_arn"] {
        assert!(made.outputs.get(output).is_some_and(|value| !value.is_empty()), "no {output}: {:?}", made.outputs);
    }
    create::<DbInstance>(&cx, "database-1", instance(1)).await;
    let changes = vec![
        DbInstanceSpec { class: "db.r6g.xlarge".into(), promotion_tier: 5, ..instance(2) },
        DbInstanceSpec { maintenance_window: "tue:06:00-tue:07:00".into(), ..instance(2) },
        DbInstanceSpec { monitoring_interval: 15, auto_minor_upgrades: false, ..instance(2) },
        DbInstanceSpec { performance_insights: Some(false), ..instance(2) },
    ];
    lifecycle::<DbInstance>(&cx, "database-2", instance(2), changes).await;
    // The subnet group is told by the instance that is left.
    assert_eq!(only::<DbSubnetGroup>(&cx, DbSubnetGroup::ID).await.spec["subnets"].as_array().map(Vec::len), Some(2));
    delete::<DbInstance>(&cx, "database-1").await;
    delete::<DbCluster>(&cx, "database").await;

    // Under another name: the emulator doesn't forget a deleted cluster's automatic snapshot.
    let cluster = || DbClusterSpec { name: format!("{STACK}-aurora-two"), ..cluster() };
    let changes = vec![
        DbClusterSpec { backup_days: 14, backup_window: "01:00-02:00".into(), ..cluster() },
        DbClusterSpec { maintenance_window: "sun:06:00-sun:07:00".into(), copy_tags_to_snapshots: false, ..cluster() },
        DbClusterSpec { version: "8.0.mysql_aurora.3.11.0".into(), ..cluster() },
        DbClusterSpec { security_groups: [Ref::known("sg-2")].into(), port: 3307, ..cluster() },
        DbClusterSpec { log_exports: ["error", "general"].map(str::to_owned).into(), ..cluster() },
        DbClusterSpec { final_snapshot: true, ..cluster() },
        DbClusterSpec { deletion_protection: true, ..cluster() },
        DbClusterSpec { final_snapshot: true, ..cluster() },
    ];
    lifecycle::<DbCluster>(&cx, "database", cluster(), changes).await;
    let snapshots = cx.rds.describe_db_cluster_snapshots().snapshot_type("manual").send().await.expect("snapshots");
    let names: Vec<_> = snapshots.db_cluster_snapshots().iter().map(|s| s.db_cluster_snapshot_identifier()).collect();
    assert_eq!(names.len(), 1, "one final snapshot, from the cluster whose last wish had one: {names:?}");

    // A stack whose name begins like another's must not take that one's groups.
    assert!(all::<DbSubnetGroup>(&moto.context("shop").await).await.is_empty());
    delete::<DbSubnetGroup>(&cx, DbSubnetGroup::ID).await;
}

#[tokio::test]
async fn a_newer_minor_version_in_aws_is_no_difference() {
    let moto = Endpoint::start().await;
    let cx = moto.context(STACK).await;
    let upgraded = DbClusterSpec { version: "8.0.mysql_aurora.3.11.0".into(), ..cluster() };
    create::<DbCluster>(&cx, "database", upgraded).await;
    let found = only::<DbCluster>(&cx, "database").await;
    let kind = ticketctl::resource::by_name("db_cluster").expect("registered");
    let wish = serde_json::to_value(cluster()).expect("plain data");
    let wish = kind.canonical(wish, Some(&found.spec)).expect("a spec of its own kind");
    assert_eq!(ticketctl::engine::compare(kind, &wish, &found.spec), []);
    delete::<DbCluster>(&cx, "database").await;
}
