//! Answers that moto gets wrong.

use std::collections::BTreeSet;

use aws_sdk_autoscaling::types::{MetricType, PredefinedMetricSpecification, TargetTrackingConfiguration};
use aws_sdk_ec2::types::{Filter, HttpTokensState};

use super::world::{code, group, instances, launch_template, network, second_version, security_group, version};
use crate::support::Endpoint;

#[tokio::test]
async fn a_group_spreads_over_its_zones_and_remembers_what_it_was_given() {
    let endpoint = Endpoint::start().await;
    let cx = endpoint.clients().await;
    let network = network(&cx).await;
    let template = launch_template(&cx, "web").await;
    group(&cx, "web", &template, &network, 2).await;
    let zones: BTreeSet<String> = instances(&cx, "web").await.into_iter().map(|(_, zone, _)| zone).collect();
    assert_eq!(zones.len(), 2, "{zones:?}");

    let update = cx.autoscaling.update_auto_scaling_group().auto_scaling_group_name("web");
    update.default_instance_warmup(60).termination_policies("OldestInstance").send().await.expect("updated");
    let told = cx.autoscaling.describe_auto_scaling_groups().send().await.expect("the group");
    let web = &told.auto_scaling_groups()[0];
    assert_eq!(
        (web.default_instance_warmup(), web.termination_policies()),
        (Some(60), ["OldestInstance".to_owned()].as_slice())
    );
    assert_eq!(web.vpc_zone_identifier(), Some(network.subnets.join(",").as_str()));

    let metric = PredefinedMetricSpecification::builder().predefined_metric_type(MetricType::AsgAverageCpuUtilization);
    let tracking = TargetTrackingConfiguration::builder().predefined_metric_specification(metric.build());
    group(&cx, "api", &template, &network, 1).await;
    let tracking = tracking.target_value(70.0).build();
    for group in ["web", "api"] {
        let put = cx.autoscaling.put_scaling_policy().auto_scaling_group_name(group).policy_name("cpu");
        let put = put.policy_type("TargetTrackingScaling").target_tracking_configuration(tracking.clone());
        let policy = put.send().await.expect("a policy");
        let arn = format!("autoScalingGroupName/{group}:policyName/cpu");
        assert!(policy.policy_arn().is_some_and(|told| told.ends_with(&arn)), "{:?}", policy.policy_arn());
    }
    cx.autoscaling
        .delete_auto_scaling_group()
        .auto_scaling_group_name("api")
        .force_delete(true)
        .send()
        .await
        .expect("gone");
    let policies = cx.autoscaling.describe_policies().send().await.expect("the policies");
    let told: Vec<_> =
        policies.scaling_policies().iter().map(|one| (one.auto_scaling_group_name(), one.policy_name())).collect();
    assert_eq!(told, [(Some("web"), Some("cpu"))]);
}

#[tokio::test]
async fn a_new_version_starts_from_its_source_and_can_be_launched() {
    let endpoint = Endpoint::start().await;
    let cx = endpoint.clients().await;
    let network = network(&cx).await;
    let template = launch_template(&cx, "web").await;
    second_version(&cx, &template).await;
    let told = cx.ec2.describe_launch_template_versions().launch_template_id(&template).versions("2").send().await;
    let told = told.expect("the version");
    let data = told.launch_template_versions()[0].launch_template_data().expect("its data");
    assert_eq!(data.user_data(), Some("c2Vjb25k"));
    assert!(data.image_id().is_some(), "the image comes from the first version");

    group(&cx, "web", &template, &network, 1).await;
    let update = cx.autoscaling.update_auto_scaling_group().auto_scaling_group_name("web");
    update.launch_template(version(&template, "2")).desired_capacity(2).send().await.expect("grown");
    let told = cx.ec2.describe_instances().send().await.expect("the instances");
    let tokens: Vec<_> = told
        .reservations()
        .iter()
        .flat_map(|reservation| reservation.instances())
        .filter_map(|instance| instance.metadata_options()?.http_tokens().cloned())
        .collect();
    assert_eq!(tokens, [HttpTokensState::Required, HttpTokensState::Required]);
    let versions: Vec<String> = instances(&cx, "web").await.into_iter().map(|(.., version)| version).collect();
    assert_eq!(versions, ["1", "2"]);
    let unknown = cx.ec2.describe_launch_templates().launch_template_ids("lt-0123456789abcdef0");
    assert_eq!(code(unknown.send().await), "InvalidLaunchTemplateId.NotFound");
}

#[tokio::test]
async fn a_terminated_instance_is_replaced_in_its_zone_and_its_interface_is_gone() {
    let endpoint = Endpoint::start().await;
    let cx = endpoint.clients().await;
    let network = network(&cx).await;
    let template = launch_template(&cx, "web").await;
    group(&cx, "web", &template, &network, 2).await;
    let before = instances(&cx, "web").await;
    let (id, zone, _) = before[1].clone();
    cx.ec2.terminate_instances().instance_ids(&id).send().await.expect("terminated");
    let after = instances(&cx, "web").await;
    assert!(after.iter().all(|(other, ..)| *other != id), "{after:?}");
    let in_zone = |instances: &[(String, String, String)]| instances.iter().filter(|(_, one, _)| *one == zone).count();
    assert_eq!(in_zone(&after), in_zone(&before));
    let filter = Filter::builder().name("vpc-id").values(&network.vpc).build();
    let interfaces = cx.ec2.describe_network_interfaces().filters(filter).send().await.expect("interfaces");
    assert_eq!(interfaces.network_interfaces().len(), 2);
    cx.autoscaling
        .delete_auto_scaling_group()
        .auto_scaling_group_name("web")
        .force_delete(true)
        .send()
        .await
        .expect("gone");
    for subnet in &network.subnets {
        cx.ec2.delete_subnet().subnet_id(subnet).send().await.expect("nothing is left in the subnet");
    }
}

#[tokio::test]
async fn a_replication_group_has_the_members_asked_for_and_ends() {
    let endpoint = Endpoint::start().await;
    let cx = endpoint.clients().await;
    let network = network(&cx).await;
    let group = security_group(&cx, &network.vpc, "redis").await;
    let subnets = cx.elasticache.create_cache_subnet_group().cache_subnet_group_name("shop");
    let subnets = subnets.cache_subnet_group_description("shop").set_subnet_ids(Some(network.subnets.to_vec()));
    subnets.send().await.expect("a subnet group");
    let create = cx.elasticache.create_replication_group().replication_group_id("shop");
    let create = create.replication_group_description("shop").engine("redis").cache_node_type("cache.t3.micro");
    let create = create.num_cache_clusters(2).automatic_failover_enabled(true).multi_az_enabled(true);
    let create = create.transit_encryption_enabled(true).cache_subnet_group_name("shop").security_group_ids(&group);
    create.send().await.expect("a replication group");

    let told =
        cx.elasticache.describe_replication_groups().replication_group_id("shop").send().await.expect("the group");
    let told = &told.replication_groups()[0];
    assert_eq!(told.member_clusters(), ["shop-001", "shop-002"]);
    let node_group = &told.node_groups()[0];
    assert!(node_group.reader_endpoint().and_then(|endpoint| endpoint.address()).is_some());
    let zones: BTreeSet<_> =
        node_group.node_group_members().iter().filter_map(|one| one.preferred_availability_zone()).collect();
    assert_eq!(zones.len(), 2);

    let delete_group = || cx.elasticache.delete_cache_subnet_group().cache_subnet_group_name("shop").send();
    assert_eq!(code(delete_group().await), "CacheSubnetGroupInUse");
    cx.elasticache.delete_replication_group().replication_group_id("shop").send().await.expect("deleted");
    let describe = cx.elasticache.describe_replication_groups().replication_group_id("shop");
    assert_eq!(code(describe.send().await), "ReplicationGroupNotFoundFault");
    delete_group().await.expect("the subnet group goes");
}

#[tokio::test]
async fn a_nat_gateway_that_is_not_there_is_an_error_and_a_deleted_one_frees_its_address() {
    let endpoint = Endpoint::start().await;
    let cx = endpoint.clients().await;
    let network = network(&cx).await;
    let unknown = cx.ec2.describe_nat_gateways().nat_gateway_ids("nat-0123456789abcdef0");
    assert_eq!(code(unknown.send().await), "NatGatewayNotFound");
    let address = cx.ec2.allocate_address().send().await.expect("an address");
    let address = address.allocation_id().expect("its id");
    let nat = cx.ec2.create_nat_gateway().subnet_id(&network.subnets[0]).allocation_id(address).send().await;
    let nat = nat.expect("a gateway").nat_gateway().and_then(|nat| nat.nat_gateway_id()).expect("its id").to_owned();
    assert_eq!(code(cx.ec2.release_address().allocation_id(address).send().await), "InvalidIPAddress.InUse");
    cx.ec2.delete_nat_gateway().nat_gateway_id(nat).send().await.expect("deleted");
    cx.ec2.release_address().allocation_id(address).send().await.expect("the address is free");
}

#[tokio::test]
async fn a_changed_database_subnet_group_stays() {
    let endpoint = Endpoint::start().await;
    let cx = endpoint.clients().await;
    let network = network(&cx).await;
    let subnets = || Some(network.subnets.to_vec());
    let create = cx.rds.create_db_subnet_group().db_subnet_group_name("shop").db_subnet_group_description("shop");
    let tag = aws_sdk_rds::types::Tag::builder().key("Name").value("shop").build();
    let created = create.set_subnet_ids(subnets()).tags(tag).send().await.expect("a subnet group");
    let arn = created.db_subnet_group().and_then(|group| group.db_subnet_group_arn()).expect("its ARN").to_owned();
    let modify = cx.rds.modify_db_subnet_group().db_subnet_group_name("shop").set_subnet_ids(subnets());
    modify.send().await.expect("changed");
    let told = cx.rds.describe_db_subnet_groups().db_subnet_group_name("shop").send().await.expect("still there");
    assert_eq!(told.db_subnet_groups()[0].subnets().len(), 2);
    let tags = cx.rds.list_tags_for_resource().resource_name(arn).send().await.expect("its tags");
    assert_eq!(tags.tag_list().len(), 1);
}
