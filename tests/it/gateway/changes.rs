//! Changes of which moto does only a part, or which it refuses although AWS takes them.

use aws_sdk_cloudwatch::types::Tag;
use aws_sdk_ec2::types::{Filter, VpcEndpointType};
use aws_sdk_elasticloadbalancingv2::types::{ProtocolEnum, TargetGroupAttribute};

use super::world::{code, group, instances, launch_template, network};
use crate::support::{Endpoint, REGION};

#[tokio::test]
async fn an_endpoint_takes_its_interface_along_when_it_leaves_a_subnet() {
    let endpoint = Endpoint::start().await;
    let cx = endpoint.clients().await;
    let network = network(&cx).await;
    let [stays, goes] = &network.subnets;
    let create = cx.ec2.create_vpc_endpoint().vpc_id(&network.vpc).service_name(format!("com.amazonaws.{REGION}.sqs"));
    let create = create.vpc_endpoint_type(VpcEndpointType::Interface).subnet_ids(stays).subnet_ids(goes);
    let created = create.send().await.expect("an endpoint");
    let id = created.vpc_endpoint().and_then(|endpoint| endpoint.vpc_endpoint_id()).expect("its id");
    assert_eq!(code(cx.ec2.delete_subnet().subnet_id(goes).send().await), "DependencyViolation");
    let modify = cx.ec2.modify_vpc_endpoint().vpc_endpoint_id(id).remove_subnet_ids(goes);
    modify.send().await.expect("it leaves the subnet");
    cx.ec2.delete_subnet().subnet_id(goes).send().await.expect("nothing is in it any more");
    assert_eq!(code(cx.ec2.delete_subnet().subnet_id(stays).send().await), "DependencyViolation");
}

#[tokio::test]
async fn a_gateway_endpoint_has_a_route_in_each_of_its_tables() {
    let endpoint = Endpoint::start().await;
    let cx = endpoint.clients().await;
    let network = network(&cx).await;
    let mut tables = Vec::new();
    for _ in 0..2 {
        let created = cx.ec2.create_route_table().vpc_id(&network.vpc).send().await.expect("a route table");
        let id = created.route_table().and_then(|table| table.route_table_id()).expect("its id");
        tables.push(id.to_owned());
    }
    let create = cx.ec2.create_vpc_endpoint().vpc_id(&network.vpc).service_name(format!("com.amazonaws.{REGION}.s3"));
    let create = create.vpc_endpoint_type(VpcEndpointType::Gateway).route_table_ids(&tables[0]);
    let created = create.send().await.expect("an endpoint");
    let id = created.vpc_endpoint().and_then(|endpoint| endpoint.vpc_endpoint_id()).expect("its id");
    let modify = cx.ec2.modify_vpc_endpoint().vpc_endpoint_id(id);
    modify.remove_route_table_ids(&tables[0]).add_route_table_ids(&tables[1]).send().await.expect("changed");
    for (table, routes) in tables.iter().zip([0, 1]) {
        let told = cx.ec2.describe_route_tables().route_table_ids(table).send().await.expect("the table");
        let all = told.route_tables().iter().flat_map(|table| table.routes());
        assert_eq!(all.filter(|route| route.gateway_id() == Some(id)).count(), routes, "{table}");
    }
    cx.ec2.delete_vpc_endpoints().vpc_endpoint_ids(id).send().await.expect("deleted");
    let left = cx.ec2.describe_vpc_endpoints().filters(Filter::builder().name("vpc-id").values(&network.vpc).build());
    assert!(left.send().await.expect("the endpoints").vpc_endpoints().is_empty());
}

#[tokio::test]
async fn windows_may_touch_but_not_overlap() {
    let endpoint = Endpoint::start().await;
    let cx = endpoint.clients().await;
    let create = cx.rds.create_db_cluster().db_cluster_identifier("shop").engine("aurora-mysql");
    let create =
        create.preferred_backup_window("03:00-04:00").master_username("admin").master_user_password("password");
    create.send().await.expect("a cluster");
    let create = cx.rds.create_db_instance().db_instance_identifier("shop-1").db_cluster_identifier("shop");
    let create = create.engine("aurora-mysql").db_instance_class("db.t3.medium");
    create.preferred_maintenance_window("mon:04:00-mon:05:00").send().await.expect("an instance");

    let modify = || cx.rds.modify_db_instance().db_instance_identifier("shop-1");
    modify().promotion_tier(2).send().await.expect("changed");
    let window = || async {
        let told = cx.rds.describe_db_instances().db_instance_identifier("shop-1").send().await.expect("the instance");
        told.db_instances()[0].preferred_maintenance_window().expect("a window").to_owned()
    };
    assert_eq!(window().await, "mon:04:00-mon:05:00");
    for touching in ["tue:02:30-tue:03:00", "sun:23:30-mon:00:30"] {
        modify().preferred_maintenance_window(touching).send().await.expect("taken");
        assert_eq!(window().await, touching);
    }
    let refused = modify().preferred_maintenance_window("mon:03:30-mon:04:30").send().await;
    assert_eq!(code(refused), "InvalidParameterValue");
}

#[tokio::test]
async fn a_target_group_may_drain_for_an_hour() {
    let endpoint = Endpoint::start().await;
    let cx = endpoint.clients().await;
    let network = network(&cx).await;
    let create = cx.elb.create_target_group().name("web").protocol(ProtocolEnum::Http).port(8080);
    let created = create.vpc_id(&network.vpc).send().await.expect("a target group");
    let arn = created.target_groups()[0].target_group_arn().expect("its ARN").to_owned();
    for delay in ["3600", "3599", "30"] {
        let attribute =
            TargetGroupAttribute::builder().key("deregistration_delay.timeout_seconds").value(delay).build();
        let modify = cx.elb.modify_target_group_attributes().target_group_arn(&arn).attributes(attribute);
        modify.send().await.expect("set");
        let told = cx.elb.describe_target_group_attributes().target_group_arn(&arn).send().await.expect("attributes");
        let mut told = told.attributes().iter();
        let told = told.find(|one| one.key() == Some("deregistration_delay.timeout_seconds"));
        assert_eq!(told.and_then(|one| one.value()), Some(delay));
    }
}

#[tokio::test]
async fn a_dashboard_keeps_its_tags() {
    let endpoint = Endpoint::start().await;
    let cx = endpoint.clients().await;
    let tag = |key: &str, value: &str| Tag::builder().key(key).value(value).build();
    let put = || cx.cloudwatch.put_dashboard().dashboard_name("shop").dashboard_body(r#"{"widgets":[]}"#);
    put().tags(tag("team", "tickets")).send().await.expect("made");
    // Only a new dashboard takes them.
    put().tags(tag("team", "nobody")).send().await.expect("changed");
    let arn = "arn:aws:cloudwatch::123456789012:dashboard/shop";
    cx.cloudwatch.tag_resource().resource_arn(arn).tags(tag("cost", "5")).send().await.expect("tagged");
    let told = cx.cloudwatch.list_tags_for_resource().resource_arn(arn).send().await.expect("the tags");
    assert_eq!(told.tags(), [tag("cost", "5"), tag("team", "tickets")]);
    cx.cloudwatch.delete_dashboards().dashboard_names("shop").send().await.expect("deleted");
    let refused = cx.cloudwatch.list_tags_for_resource().resource_arn(arn).send().await;
    assert_eq!(code(refused), "ResourceNotFoundException");
}

#[tokio::test]
async fn a_group_takes_its_instances_along_when_it_leaves_a_subnet() {
    let endpoint = Endpoint::start().await;
    let cx = endpoint.clients().await;
    let network = network(&cx).await;
    let template = launch_template(&cx, "web").await;
    group(&cx, "web", &template, &network, 2).await;
    let update = cx.autoscaling.update_auto_scaling_group().auto_scaling_group_name("web");
    update.vpc_zone_identifier(&network.subnets[0]).send().await.expect("changed");
    let zones: Vec<String> = instances(&cx, "web").await.into_iter().map(|(_, zone, _)| zone).collect();
    assert_eq!(zones, [format!("{REGION}a"), format!("{REGION}a")]);
    cx.ec2.delete_subnet().subnet_id(&network.subnets[1]).send().await.expect("nothing is in it any more");
}
