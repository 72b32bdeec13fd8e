//! The requests that ticketctl really sends, held against AWS's published models.

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Value, json};
use std::{
    io::Write,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use super::access;
use crate::{e2e::world::World, support::Ran};

const JUDGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/checks/requests.py");

/// Fails with everything in these requests that the models don't allow.
pub fn fit_the_models(requests: &[Value]) {
    assert!(!requests.is_empty(), "no request was kept");
    let ran = judged(requests);
    assert_eq!((ran.code, ran.out.as_str()), (0, ""), "{}\n{}", ran.out, ran.err);
}

fn judged(requests: &[Value]) -> Ran {
    let venv = std::env::var("TICKETCTL_MOTO_VENV").expect("the emulator's environment is named");
    let python = PathBuf::from(venv).join("bin/python");
    let mut judge = Command::new(python)
        .arg(JUDGE)
        .env_clear()
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("Python starts");
    let text = serde_json::to_vec(requests).expect("requests are plain data");
    judge.stdin.take().expect("piped").write_all(&text).expect("it reads");
    Ran::new(judge.wait_with_output().expect("it ends"))
}

#[test]
fn the_judge_sees_what_is_wrong() {
    let request = |service: &str, operation: &str, protocol: &str, body: &str| {
        let body = STANDARD.encode(body);
        json!({"service": service, "operation": operation, "protocol": protocol, "path": "/b", "query": "", "headers": {}, "body": body})
    };
    for (request, flaw) in [
        (request("ec2", "CreateVpc", "form", "Action=CreateVpc&CidrBlok=10.0.0.0%2F16"), "CidrBlok is no member"),
        (request("ec2", "CreateSubnet", "form", "Action=CreateSubnet&CidrBlock=10.0.0.0%2F16"), "VpcId"),
        (request("ec2", "DescribeVpcs", "form", "Action=DescribeVpcs&MaxResults=2000"), "above the most"),
        (request("ec2", "DescribeVpcs", "form", "Action=DescribeVpcs&MaxResults=many"), "Invalid type"),
        (request("elasticloadbalancing", "CreateLoadBalancer", "form", "Action=x&Name=a&Scheme=inside"), "is none of"),
        (request("iam", "GetRole", "form", "Action=GetRole&RoleName=a%20b"), "doesn't match"),
        (request("ssm", "GetParameter", "json", r#"{"Nam": "x"}"#), "Unknown parameter"),
        (request("monitoring", "PutMetricAlarm", "json", r#"{"AlarmName": ""}"#), "below the least"),
        (request("s3", "PutBucketVersioning", "rest", "<V><Status>On</Status></V>"), "is none of"),
        (request("s3", "PutBucketVersioning", "rest", "<V><Stat>Enabled</Stat></V>"), "V.Stat is no member"),
        (request("s3", "PutBucketVersion", "rest", ""), "no such operation"),
    ] {
        let ran = judged(&[request]).exits(1);
        assert!(ran.out.contains(flaw), "{flaw}: {}", ran.out);
    }
}

/// A change of as much of `dev.yaml` as one apply can change in place.
const CHANGES: [&str; 24] = [
    "services.web.rollout.bake=0s",
    "tags.team=tickets",
    "network.flow_logs=true",
    "services.web.instances.type=t3.large",
    "services.web.instances.max=30",
    "services.web.scaling.cpu=60",
    "services.web.health.path=/api/health",
    "services.web.health.grace=10m",
    "services.web.deregistration_delay=60s",
    "services.web.env.GREETING=hello",
    "ingress.access_logs=true",
    "ingress.idle_timeout=2m",
    "database.backup=9d",
    "database.readers=2",
    "database.deletion_protection=false",
    "cache.replicas=2",
    "cache.snapshots=3d",
    "cache.eviction.class=cache.t3.micro",
    "messaging.visibility=2m",
    "messaging.max_receives=5",
    "storage.expire_noncurrent=10d",
    "alerts.thresholds.cpu=90",
    "alerts.email=ops@example.com",
    "logs.retention=14d",
];

#[tokio::test(flavor = "multi_thread")]
async fn dev_and_a_change_of_everything() {
    let world = World::new().await;
    let stack = world.stack("dev.yaml");
    world.keep_requests().await;
    world.on(&stack, "apply", &["--yes"]).await.exits(0);
    let sets: Vec<&str> = CHANGES.iter().flat_map(|change| ["--set", change]).collect();
    world.on(&stack, "apply", &[&["--yes"], &sets[..]].concat()).await.exits(0);
    world.on(&stack, "plan", &[&["--detailed-exitcode"], &sets[..]].concat()).await.exits(0);
    // And back again, which takes away what was added.
    world.on(&stack, "apply", &["--yes", "--allow-data-loss", "cache-lru"]).await.exits(0);
    world.on(&stack, "drift", &[]).await.exits(0);
    world.on(&stack, "destroy", &["--yes"]).await.exits(0);
    prove(&world, &stack, &sets).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stack_without_services_in_another_region() {
    let world = World::new().await;
    let stack = world.stack("localstack.yaml");
    world.keep_requests().await;
    world.on(&stack, "apply", &["--yes"]).await.exits(0);
    world.on(&stack, "destroy", &["--yes"]).await.exits(0);
    prove(&world, &stack, &[]).await;
}

/// Ends the record of requests and judges it: AWS's models know them, and the stack's own policy allows them.
pub async fn prove(world: &World, stack: &Path, more: &[&str]) {
    let requests = world.requests().await;
    fit_the_models(&requests);
    let stack = stack.to_str().expect("a path in UTF-8");
    let policy = world.run(&[&["iam", "policy", "-f", stack], more].concat()).await.exits(0).json();
    access::allows(&policy, &requests);
}
