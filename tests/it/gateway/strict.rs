//! What AWS refuses and moto lets pass.

use aws_sdk_ec2::types::{IpPermission, IpRange, UserIdGroupPair};
use aws_sdk_elasticloadbalancingv2::types::{Action, ActionTypeEnum, ProtocolEnum};

use super::world::{code, group, launch_template, network, security_group, version};
use crate::support::Endpoint;

#[tokio::test]
async fn the_network_cannot_be_pulled_from_under_its_users() {
    let endpoint = Endpoint::start().await;
    let cx = endpoint.clients().await;
    let network = network(&cx).await;
    let gateway = || async {
        let created = cx.ec2.create_internet_gateway().send().await.expect("a gateway");
        created.internet_gateway().and_then(|gateway| gateway.internet_gateway_id()).expect("its id").to_owned()
    };
    let (first, second) = (gateway().await, gateway().await);
    let attach = |id: &str| cx.ec2.attach_internet_gateway().vpc_id(&network.vpc).internet_gateway_id(id).send();
    attach(&first).await.expect("attached");
    assert_eq!(code(attach(&second).await), "InvalidParameterValue");
    assert_eq!(code(cx.ec2.delete_internet_gateway().internet_gateway_id(&first).send().await), "DependencyViolation");

    let address = cx.ec2.allocate_address().send().await.expect("an address");
    let nat = cx.ec2.create_nat_gateway().subnet_id(&network.subnets[0]);
    nat.allocation_id(address.allocation_id().expect("its id")).send().await.expect("a NAT gateway");
    assert_eq!(code(cx.ec2.delete_subnet().subnet_id(&network.subnets[0]).send().await), "DependencyViolation");
    let detach = cx.ec2.detach_internet_gateway().vpc_id(&network.vpc).internet_gateway_id(&first);
    assert_eq!(code(detach.send().await), "DependencyViolation");
    assert_eq!(code(cx.ec2.delete_vpc().vpc_id(&network.vpc).send().await), "DependencyViolation");
}

#[tokio::test]
async fn a_rule_cannot_be_made_twice_nor_a_group_that_it_names_deleted() {
    let endpoint = Endpoint::start().await;
    let cx = endpoint.clients().await;
    let network = network(&cx).await;
    let alb = security_group(&cx, &network.vpc, "alb").await;
    let web = security_group(&cx, &network.vpc, "web").await;
    let from_alb = || {
        let pair = UserIdGroupPair::builder().group_id(&alb).build();
        let permission =
            IpPermission::builder().ip_protocol("tcp").from_port(8080).to_port(8080).user_id_group_pairs(pair);
        cx.ec2.authorize_security_group_ingress().group_id(&web).ip_permissions(permission.build()).send()
    };
    from_alb().await.expect("a rule");
    assert_eq!(code(from_alb().await), "InvalidPermission.Duplicate");
    let all = IpPermission::builder().ip_protocol("-1").ip_ranges(IpRange::builder().cidr_ip("0.0.0.0/0").build());
    let egress = cx.ec2.authorize_security_group_egress().group_id(&web).ip_permissions(all.build());
    assert_eq!(code(egress.send().await), "InvalidPermission.Duplicate");
    assert_eq!(code(cx.ec2.delete_security_group().group_id(&alb).send().await), "DependencyViolation");
    cx.ec2.delete_security_group().group_id(&web).send().await.expect("nothing names it");
    cx.ec2.delete_security_group().group_id(&alb).send().await.expect("nothing names it any more");
}

#[tokio::test]
async fn an_auto_scaling_group_keeps_to_its_limits() {
    let endpoint = Endpoint::start().await;
    let cx = endpoint.clients().await;
    let network = network(&cx).await;
    let template = launch_template(&cx, "web").await;
    group(&cx, "web", &template, &network, 1).await;
    let desired = cx.autoscaling.set_desired_capacity().auto_scaling_group_name("web").desired_capacity(5);
    assert_eq!(code(desired.send().await), "ValidationError");
    let again = cx.autoscaling.create_auto_scaling_group().auto_scaling_group_name("web").min_size(0).max_size(1);
    let again = again.launch_template(version(&template, "1")).vpc_zone_identifier(&network.subnets[0]);
    assert_eq!(code(again.send().await), "AlreadyExists");
    let delete = || cx.autoscaling.delete_auto_scaling_group().auto_scaling_group_name("web");
    assert_eq!(code(delete().send().await), "ResourceInUse");
    delete().force_delete(true).send().await.expect("by force it goes");
}

#[tokio::test]
async fn a_load_balancer_has_one_listener_per_port_and_one_name() {
    let endpoint = Endpoint::start().await;
    let cx = endpoint.clients().await;
    let network = network(&cx).await;
    let alb = security_group(&cx, &network.vpc, "alb").await;
    let create = || {
        let create = cx.elb.create_load_balancer().name("shop").set_subnets(Some(network.subnets.to_vec()));
        create.security_groups(&alb)
    };
    let made = create().send().await.expect("a load balancer");
    let balancer = made.load_balancers()[0].load_balancer_arn().expect("its ARN").to_owned();
    let again = create().send().await.expect("the same one");
    assert_eq!(again.load_balancers()[0].load_balancer_arn(), Some(balancer.as_str()));
    let internal = create().scheme(aws_sdk_elasticloadbalancingv2::types::LoadBalancerSchemeEnum::Internal);
    assert_eq!(code(internal.send().await), "DuplicateLoadBalancerName");
    let one_zone = cx.elb.create_load_balancer().name("other").subnets(&network.subnets[0]);
    assert_eq!(code(one_zone.send().await), "ValidationError");
    assert_eq!(code(cx.ec2.delete_security_group().group_id(&alb).send().await), "DependencyViolation");

    let target = cx.elb.create_target_group().name("shop").protocol(ProtocolEnum::Http).port(8080).vpc_id(&network.vpc);
    let target =
        target.send().await.expect("a target group").target_groups()[0].target_group_arn().expect("its ARN").to_owned();
    let listen = || {
        let forward = Action::builder().r#type(ActionTypeEnum::Forward).target_group_arn(&target).build();
        let listen = cx.elb.create_listener().load_balancer_arn(&balancer).protocol(ProtocolEnum::Http).port(80);
        listen.default_actions(forward).send()
    };
    listen().await.expect("a listener");
    assert_eq!(code(listen().await), "DuplicateListener");
    assert_eq!(code(cx.elb.delete_target_group().target_group_arn(&target).send().await), "ResourceInUse");
}

#[tokio::test]
async fn databases_log_groups_and_secrets_are_refused_with_their_own_codes() {
    let endpoint = Endpoint::start().await;
    let cx = endpoint.clients().await;
    let network = network(&cx).await;
    let subnets = || {
        let create = cx.rds.create_db_subnet_group().db_subnet_group_name("shop").db_subnet_group_description("shop");
        create.set_subnet_ids(Some(network.subnets.to_vec())).send()
    };
    subnets().await.expect("a subnet group");
    assert_eq!(code(subnets().await), "DBSubnetGroupAlreadyExists");
    let cluster = || {
        let create = cx.rds.create_db_cluster().db_cluster_identifier("shop").engine("aurora-mysql");
        create.master_username("admin").manage_master_user_password(true).db_subnet_group_name("shop").send()
    };
    cluster().await.expect("a cluster");
    assert_eq!(code(cluster().await), "DBClusterAlreadyExistsFault");
    let delete = cx.rds.delete_db_subnet_group().db_subnet_group_name("shop");
    assert_eq!(code(delete.send().await), "InvalidDBSubnetGroupStateFault");
    let create = cx.rds.create_db_instance().db_instance_identifier("shop-1").db_cluster_identifier("shop");
    create.engine("aurora-mysql").db_instance_class("db.t3.medium").send().await.expect("an instance");
    cx.rds.stop_db_cluster().db_cluster_identifier("shop").send().await.expect("stopped");
    let delete = || cx.rds.delete_db_instance().db_instance_identifier("shop-1").skip_final_snapshot(true).send();
    assert_eq!(code(delete().await), "InvalidDBClusterStateFault");
    cx.rds.start_db_cluster().db_cluster_identifier("shop").send().await.expect("started");
    delete().await.expect("deleted");

    cx.logs.create_log_group().log_group_name("/shop").send().await.expect("a log group");
    let retention = cx.logs.put_retention_policy().log_group_name("/shop").retention_in_days(8);
    assert_eq!(code(retention.send().await), "InvalidParameterException");

    let secret = || cx.secrets.create_secret().name("shop/auth").secret_string("x").send();
    secret().await.expect("a secret");
    cx.secrets.delete_secret().secret_id("shop/auth").recovery_window_in_days(7).send().await.expect("scheduled");
    assert_eq!(code(secret().await), "InvalidRequestException");
}

#[tokio::test]
async fn a_role_is_taken_out_of_a_profile_once() {
    let endpoint = Endpoint::start().await;
    let cx = endpoint.clients().await;
    cx.iam.create_role().role_name("web").assume_role_policy_document("{}").send().await.expect("a role");
    cx.iam.create_instance_profile().instance_profile_name("web").send().await.expect("a profile");
    cx.iam.add_role_to_instance_profile().instance_profile_name("web").role_name("web").send().await.expect("put in");
    let remove = || cx.iam.remove_role_from_instance_profile().instance_profile_name("web").role_name("web").send();
    remove().await.expect("taken out");
    assert_eq!(code(remove().await), "NoSuchEntity");
}
