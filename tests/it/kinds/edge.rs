//! The load balancer and what belongs to it.

use super::lifecycle::{create, delete, lifecycle, only};
use crate::support::Endpoint;
use aws_sdk_s3::types::{BucketLocationConstraint, CreateBucketConfiguration};
use std::collections::BTreeSet;
use ticketctl::{
    aws::Context,
    resource::{
        Listener, ListenerRule, LoadBalancer, Ref, SecurityGroup, Subnet, TargetGroup, Vpc,
        listener::{DefaultAction, ListenerSpec, Tls},
        listener_rule::{ListenerRuleSpec, logical_id},
        load_balancer::{AccessLogs, LoadBalancerSpec},
        security_group::{Rules, SecurityGroupSpec},
        subnet::SubnetSpec,
        target_group::{HealthCheck, TargetGroupSpec},
        vpc::VpcSpec,
    },
};

/// What everything else stands in.
pub struct Ground {
    pub vpc: Ref<Vpc>,
    pub subnets: Vec<Ref<Subnet>>,
    pub groups: Vec<Ref<SecurityGroup>>,
}

pub async fn ground(cx: &Context) -> Ground {
    let spec = VpcSpec { cidr: "10.0.0.0/16".into(), dns_support: true, dns_hostnames: true };
    let vpc = Ref::<Vpc>::known(create::<Vpc>(cx, "vpc", spec).await.id);
    let mut subnets = Vec::new();
    for (zone, cidr) in [("a", "10.0.1.0/24"), ("b", "10.0.2.0/24"), ("c", "10.0.3.0/24")] {
        let zone_name = format!("ap-northeast-2{zone}");
        let spec = SubnetSpec { vpc: vpc.clone(), zone: zone_name, cidr: cidr.into(), public_ips: true };
        subnets.push(Ref::known(create::<Subnet>(cx, &format!("subnet-public-{zone}"), spec).await.id));
    }
    let mut groups = Vec::new();
    for id in ["sg-one", "sg-other"] {
        let spec =
            SecurityGroupSpec { vpc: vpc.clone(), description: id.into(), ingress: Rules::new(), egress: Rules::new() };
        groups.push(Ref::known(create::<SecurityGroup>(cx, id, spec).await.id));
    }
    Ground { vpc, subnets, groups }
}

fn balancer(subnets: &[Ref<Subnet>], group: &Ref<SecurityGroup>) -> LoadBalancerSpec {
    LoadBalancerSpec {
        name: "shop-test-alb".into(),
        subnets: subnets.iter().cloned().collect(),
        security_groups: BTreeSet::from([group.clone()]),
        deletion_protection: false,
        idle_timeout: 60,
        http2: true,
        drop_invalid_headers: true,
        desync_mitigation: "defensive".into(),
        access_logs: AccessLogs::default(),
    }
}

pub fn targets(vpc: &Ref<Vpc>, name: &str) -> TargetGroupSpec {
    TargetGroupSpec {
        name: name.into(),
        vpc: vpc.clone(),
        port: 8080,
        health_check: HealthCheck {
            path: "/api/health/ready".into(),
            interval: 30,
            timeout: 5,
            healthy: 2,
            unhealthy: 2,
            matcher: "200".into(),
        },
        slow_start: 30,
        deregistration_delay: 30,
        stickiness: false,
        algorithm: "round_robin".into(),
        cross_zone: true,
    }
}

#[tokio::test]
async fn load_balancer() {
    let moto = Endpoint::start().await;
    let cx = moto.context("shop-test").await;
    let Ground { subnets, groups, .. } = ground(&cx).await;
    let wish = || balancer(&subnets[..2], &groups[0]);
    let place =
        CreateBucketConfiguration::builder().location_constraint(BucketLocationConstraint::ApNortheast2).build();
    let bucket = cx.s3.create_bucket().bucket("logs").create_bucket_configuration(place);
    bucket.send().await.expect("a bucket for the logs");
    let mut attributes = wish();
    attributes.idle_timeout = 120;
    attributes.http2 = false;
    attributes.drop_invalid_headers = false;
    attributes.desync_mitigation = "strictest".into();
    attributes.access_logs = AccessLogs { enabled: true, bucket: "logs".into(), prefix: "alb".into() };
    lifecycle::<LoadBalancer>(&cx, "load-balancer", wish(), vec![balancer(&subnets, &groups[1]), attributes, wish()])
        .await;

    create::<LoadBalancer>(&cx, "load-balancer", wish()).await;
    let found = only::<LoadBalancer>(&cx, "load-balancer").await;
    let dimension = found.output("metric_dimension");
    assert!(dimension.starts_with("app/shop-test-alb/"), "{dimension}");
    assert!(found.output("arn").ends_with(dimension));
    assert!(!found.output("dns_name").is_empty());
    delete::<LoadBalancer>(&cx, "load-balancer").await;
}

#[tokio::test]
async fn target_group() {
    let moto = Endpoint::start().await;
    let cx = moto.context("shop-test").await;
    let Ground { vpc, .. } = ground(&cx).await;
    let wish = || targets(&vpc, "shop-test-web-8080");
    let mut health = wish();
    health.health_check = HealthCheck {
        path: "/health".into(),
        interval: 10,
        timeout: 3,
        healthy: 3,
        unhealthy: 4,
        matcher: "200-299".into(),
    };
    let mut attributes = wish();
    attributes.slow_start = 0;
    attributes.deregistration_delay = 60;
    attributes.stickiness = true;
    attributes.algorithm = "least_outstanding_requests".into();
    attributes.cross_zone = false;
    lifecycle::<TargetGroup>(&cx, "target-group-web", wish(), vec![health, attributes]).await;

    // A replacement lives beside what it replaces.
    create::<TargetGroup>(&cx, "target-group-web", wish()).await;
    let mut moved = targets(&vpc, "shop-test-web-9090");
    moved.port = 9090;
    create::<TargetGroup>(&cx, "target-group-next", moved).await;
}

#[tokio::test]
async fn listeners_and_rules() {
    let moto = Endpoint::start().await;
    let cx = moto.context("shop-test").await;
    let Ground { vpc, subnets, groups } = ground(&cx).await;
    let balancer = create::<LoadBalancer>(&cx, "load-balancer", balancer(&subnets, &groups[0])).await;
    let web = Ref::known(create::<TargetGroup>(&cx, "target-group-web", targets(&vpc, "shop-test-web-8080")).await.id);
    let api = Ref::known(create::<TargetGroup>(&cx, "target-group-api", targets(&vpc, "shop-test-api-8080")).await.id);

    let wish =
        |port, tls, default_action| ListenerSpec { load_balancer: Ref::known(&balancer.id), port, tls, default_action };
    let http = |action| wish(80, None, action);
    let forward = |to: &Ref<TargetGroup>| DefaultAction::Forward(to.clone());
    let changes = vec![http(DefaultAction::RedirectToHttps), http(DefaultAction::NotFound), http(forward(&api))];
    lifecycle::<Listener>(&cx, "listener-80", http(forward(&web)), changes).await;

    let certificate = certificate(&cx).await;
    let https =
        |policy: &str| wish(443, Some(Tls { certificate: certificate.clone(), policy: policy.into() }), forward(&web));
    let changes = vec![https("ELBSecurityPolicy-TLS13-1-3-2021-06")];
    lifecycle::<Listener>(&cx, "listener-443", https("ELBSecurityPolicy-TLS13-1-2-2021-06"), changes).await;

    let listener = create::<Listener>(&cx, "listener-80", http(DefaultAction::NotFound)).await;
    let rule = |path: &str, priority, to: &Ref<TargetGroup>| ListenerRuleSpec {
        listener: Ref::known(&listener.id),
        priority,
        path: path.into(),
        target_group: to.clone(),
    };
    create::<ListenerRule>(&cx, &logical_id("/api/queue/*"), rule("/api/queue/*", 50, &api)).await;
    let changes = vec![rule("/api/*", 120, &api), rule("/api/*", 120, &web)];
    lifecycle::<ListenerRule>(&cx, &logical_id("/api/*"), rule("/api/*", 100, &api), changes).await;
    delete::<ListenerRule>(&cx, &logical_id("/api/queue/*")).await;
}

/// A certificate in IAM, where load balancers may have theirs as well as in ACM. moto doesn't look into it.
async fn certificate(cx: &Context) -> String {
    let pem = "-----BEGIN CERTIFICATE-----\nMA==\n-----END CERTIFICATE-----";
    let call =
        cx.iam.upload_server_certificate().server_certificate_name("site").certificate_body(pem).private_key(pem);
    let answer = call.send().await.expect("uploaded");
    answer.server_certificate_metadata.expect("a certificate").arn
}
