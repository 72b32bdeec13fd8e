//! Operations that moto lacks.

use aws_sdk_autoscaling::types::{DesiredConfiguration, InstanceRefreshStatus, RefreshPreferences};
use aws_sdk_elasticache::types::ParameterNameValue;
use aws_sdk_rds::types::{ApplyMethod, Parameter};

use super::world::{code, group, instances, launch_template, network, second_version, version};
use crate::support::Endpoint;

async fn refresh_status(cx: &ticketctl::aws::Context, name: &str) -> InstanceRefreshStatus {
    let told = cx.autoscaling.describe_instance_refreshes().auto_scaling_group_name(name).send().await;
    told.expect("the refreshes").instance_refreshes()[0].status().expect("a status").clone()
}

#[tokio::test]
async fn an_instance_refresh_replaces_every_instance_and_can_be_rolled_back() {
    let endpoint = Endpoint::start().await;
    let cx = endpoint.clients().await;
    let network = network(&cx).await;
    let template = launch_template(&cx, "web").await;
    group(&cx, "web", &template, &network, 2).await;
    second_version(&cx, &template).await;
    let before = instances(&cx, "web").await;

    let start = || {
        let desired = DesiredConfiguration::builder().launch_template(version(&template, "2")).build();
        let preferences = RefreshPreferences::builder().min_healthy_percentage(50).skip_matching(true).build();
        let start = cx.autoscaling.start_instance_refresh().auto_scaling_group_name("web");
        start.desired_configuration(desired).preferences(preferences).send()
    };
    start().await.expect("a refresh");
    assert_eq!(code(start().await), "InstanceRefreshInProgress");
    let mut statuses = Vec::new();
    for _ in 0..10 {
        statuses.push(refresh_status(&cx, "web").await);
        if statuses.last() == Some(&InstanceRefreshStatus::Successful) {
            break;
        }
    }
    assert_eq!(statuses[0], InstanceRefreshStatus::InProgress);
    assert_eq!(statuses.last(), Some(&InstanceRefreshStatus::Successful), "{statuses:?}");
    let after = instances(&cx, "web").await;
    assert!(
        after.iter().all(|(id, _, version)| version == "2" && before.iter().all(|(old, ..)| old != id)),
        "{after:?}"
    );

    let back = DesiredConfiguration::builder().launch_template(version(&template, "1")).build();
    let start = cx.autoscaling.start_instance_refresh().auto_scaling_group_name("web").desired_configuration(back);
    start.send().await.expect("a second refresh");
    assert_eq!(refresh_status(&cx, "web").await, InstanceRefreshStatus::InProgress);
    refresh_status(&cx, "web").await;
    cx.autoscaling.rollback_instance_refresh().auto_scaling_group_name("web").send().await.expect("a rollback");
    while refresh_status(&cx, "web").await == InstanceRefreshStatus::RollbackInProgress {}
    assert_eq!(refresh_status(&cx, "web").await, InstanceRefreshStatus::RollbackSuccessful);
    assert!(instances(&cx, "web").await.iter().all(|(.., version)| version == "2"));
    let cancel = cx.autoscaling.cancel_instance_refresh().auto_scaling_group_name("web");
    assert_eq!(code(cancel.send().await), "ActiveInstanceRefreshNotFound");
}

#[tokio::test]
async fn a_cache_parameter_group_keeps_what_was_set() {
    let endpoint = Endpoint::start().await;
    let cx = endpoint.clients().await;
    let create = cx.elasticache.create_cache_parameter_group().cache_parameter_group_name("holds");
    create.cache_parameter_group_family("redis7").description("holds").send().await.expect("a parameter group");
    let modify = |name: &str, value: &str| {
        let parameter = ParameterNameValue::builder().parameter_name(name).parameter_value(value).build();
        let modify = cx.elasticache.modify_cache_parameter_group().cache_parameter_group_name("holds");
        modify.parameter_name_values(parameter).send()
    };
    modify("maxmemory-policy", "noeviction").await.expect("the policy is set");
    assert_eq!(code(modify("maxmemory-policy", "sometimes").await), "InvalidParameterValue");
    assert_eq!(code(modify("no-such-parameter", "1").await), "InvalidParameterValue");

    let parameters = cx.elasticache.describe_cache_parameters().cache_parameter_group_name("holds").source("user");
    let parameters = parameters.send().await.expect("the parameters");
    let set: Vec<_> = parameters.parameters().iter().map(|one| (one.parameter_name(), one.parameter_value())).collect();
    assert_eq!(set, [(Some("maxmemory-policy"), Some("noeviction"))]);
    cx.elasticache.delete_cache_parameter_group().cache_parameter_group_name("holds").send().await.expect("deleted");
    let describe = cx.elasticache.describe_cache_parameter_groups().cache_parameter_group_name("holds");
    assert_eq!(code(describe.send().await), "CacheParameterGroupNotFound");
}

#[tokio::test]
async fn a_cluster_tells_its_endpoints_and_its_parameters_can_be_reset() {
    let endpoint = Endpoint::start().await;
    let cx = endpoint.clients().await;
    let create = cx.rds.create_db_cluster_parameter_group().db_cluster_parameter_group_name("shop");
    create.db_parameter_group_family("aurora-mysql8.0").description("shop").send().await.expect("a parameter group");
    let zone = || {
        let zone = Parameter::builder().parameter_name("time_zone").parameter_value("Asia/Seoul");
        zone.apply_method(ApplyMethod::Immediate).build()
    };
    let group = "shop";
    let set = cx.rds.modify_db_cluster_parameter_group().db_cluster_parameter_group_name(group).parameters(zone());
    set.send().await.expect("the parameter is set");
    let user = || async {
        let told = cx.rds.describe_db_cluster_parameters().db_cluster_parameter_group_name(group).source("user");
        told.send().await.expect("the parameters").parameters().len()
    };
    assert_eq!(user().await, 1);
    let reset = cx.rds.reset_db_cluster_parameter_group().db_cluster_parameter_group_name(group).parameters(zone());
    reset.send().await.expect("the parameter is reset");
    assert_eq!(user().await, 0);

    let create = cx.rds.create_db_cluster().db_cluster_identifier("shop").engine("aurora-mysql");
    create.master_username("admin").manage_master_user_password(true).send().await.expect("a cluster");
    let endpoints = cx.rds.describe_db_cluster_endpoints().db_cluster_identifier("shop").send().await;
    let endpoints = endpoints.expect("the endpoints");
    let kinds: Vec<_> = endpoints.db_cluster_endpoints().iter().filter_map(|one| one.endpoint_type()).collect();
    assert_eq!(kinds, ["WRITER", "READER"]);
}
