//! Faults for tests, and the record of calls.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use ticketctl::aws::Context;

use super::world::code;
use crate::support::Endpoint;

async fn post(endpoint: &Endpoint, faults: Value) {
    let (status, answer) = endpoint.control("POST", "faults", &json!({"faults": faults}).to_string()).await;
    assert_eq!(status, 200, "{answer}");
}

async fn calls(endpoint: &Endpoint) -> Vec<(String, bool, String)> {
    let (_, answer) = endpoint.control("GET", "calls", "").await;
    let text = |call: &Value, key: &str| call[key].as_str().unwrap_or_default().to_owned();
    let calls = answer["calls"].as_array().expect("a list");
    calls.iter().map(|call| (text(call, "operation"), call["mutating"] == true, text(call, "phase"))).collect()
}

async fn create_vpc(cx: &Context) -> String {
    code(cx.ec2.create_vpc().cidr_block("10.0.0.0/16").send().await)
}

async fn vpcs(cx: &Context) -> usize {
    cx.ec2.describe_vpcs().send().await.expect("the VPCs").vpcs().len()
}

#[tokio::test]
async fn each_service_is_throttled_in_its_own_words() {
    let endpoint = Endpoint::start().await;
    let cx = endpoint.clients().await;
    post(&endpoint, json!([{"kind": "throttle"}])).await;
    assert_eq!(create_vpc(&cx).await, "RequestLimitExceeded");
    assert_eq!(code(cx.autoscaling.describe_auto_scaling_groups().send().await), "Throttling");
    assert_eq!(code(cx.ssm.get_parameter().name("/x").send().await), "ThrottlingException");
    assert_eq!(code(cx.s3.list_buckets().send().await), "SlowDown");
    assert_eq!(code(cx.cloudwatch.describe_alarms().send().await), "Throttling");
    let (status, _) = endpoint.control("DELETE", "faults", "").await;
    assert_eq!(status, 200);
    assert_eq!(create_vpc(&cx).await, "was let pass");
}

#[tokio::test]
async fn the_nth_call_fails_and_the_others_do_not() {
    let endpoint = Endpoint::start().await;
    let cx = endpoint.clients().await;
    let before = vpcs(&cx).await;
    post(&endpoint, json!([{"operation": "CreateVpc", "nth": 2, "kind": "unavailable"}])).await;
    assert_eq!(create_vpc(&cx).await, "was let pass");
    assert_eq!(create_vpc(&cx).await, "Unavailable");
    assert_eq!(create_vpc(&cx).await, "was let pass");
    assert_eq!(vpcs(&cx).await, before + 2);
    let (status, answer) = endpoint.control("POST", "faults", r#"{"faults": [{"kind": "meteorite"}]}"#).await;
    assert_eq!(status, 400, "{answer}");
}

#[tokio::test]
async fn a_lost_answer_is_a_deed_done_and_a_reset_is_not() {
    let endpoint = Endpoint::start().await;
    let cx = endpoint.clients().await;
    let before = vpcs(&cx).await;
    post(&endpoint, json!([{"operation": "CreateVpc", "kind": "lost_answer"}])).await;
    assert_eq!(create_vpc(&cx).await, "no answer");
    assert_eq!(vpcs(&cx).await, before + 1);
    post(&endpoint, json!([{"operation": "CreateVpc", "kind": "reset"}])).await;
    assert_eq!(create_vpc(&cx).await, "no answer");
    assert_eq!(vpcs(&cx).await, before + 1);
}

#[tokio::test]
async fn lists_lag_behind_changes_and_calls_can_be_slow() {
    let endpoint = Endpoint::start().await;
    let cx = endpoint.clients().await;
    post(&endpoint, json!([{"service": "ec2", "kind": "list_lag", "seconds": 2}])).await;
    let before = vpcs(&cx).await;
    assert_eq!(create_vpc(&cx).await, "was let pass");
    assert_eq!(vpcs(&cx).await, before);
    tokio::time::sleep(Duration::from_millis(2100)).await;
    assert_eq!(vpcs(&cx).await, before + 1);

    post(&endpoint, json!([{"kind": "delay", "milliseconds": 300}])).await;
    let begun = Instant::now();
    vpcs(&cx).await;
    assert!(begun.elapsed() >= Duration::from_millis(300));
}

#[tokio::test]
async fn calls_are_recorded() {
    let endpoint = Endpoint::start().await;
    let cx = endpoint.clients().await;
    endpoint.control("DELETE", "calls", "").await;
    create_vpc(&cx).await;
    vpcs(&cx).await;
    cx.s3.list_buckets().send().await.expect("the buckets");
    let expected = [("CreateVpc", true), ("DescribeVpcs", false), ("ListBuckets", false)]
        .map(|(operation, mutating)| (operation.to_owned(), mutating, "answered".to_owned()));
    assert_eq!(calls(&endpoint).await, expected);
    let (_, health) = endpoint.control("GET", "health", "").await;
    assert_eq!(health["service"], "ticketctl gateway");
    assert!(health["upstream"].as_str().is_some_and(|url| url.starts_with("http://127.0.0.1:")), "{health}");
}

/// A pause holds the call and every change after it, so that a process can be killed at exactly that point.
#[tokio::test]
async fn a_pause_before_the_nth_change_stops_the_world_there() {
    let endpoint = Endpoint::start().await;
    let cx = endpoint.clients().await;
    let before = vpcs(&cx).await;
    post(&endpoint, json!([{"mutating": true, "nth": 2, "kind": "pause", "when": "before"}])).await;
    assert_eq!(create_vpc(&cx).await, "was let pass");
    let held: Vec<_> = (0..2)
        .map(|_| {
            let cx = cx.clone();
            tokio::spawn(async move { create_vpc(&cx).await })
        })
        .collect();
    let begun = Instant::now();
    while calls(&endpoint).await.iter().filter(|(.., phase)| phase == "paused_before").count() < 2 {
        assert!(begun.elapsed() < Duration::from_secs(30), "nothing is held: {:?}", calls(&endpoint).await);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(vpcs(&cx).await, before + 1, "reads pass, and nothing was carried out");
    endpoint.control("DELETE", "faults", "").await;
    for call in held {
        assert_eq!(call.await.expect("the call ends"), "no answer");
    }
    assert_eq!(vpcs(&cx).await, before + 1);
    assert_eq!(create_vpc(&cx).await, "was let pass");
}

#[tokio::test]
async fn a_pause_after_a_change_holds_the_answer_of_a_deed_done() {
    let endpoint = Endpoint::start().await;
    let cx = endpoint.clients().await;
    let before = vpcs(&cx).await;
    post(&endpoint, json!([{"operation": "CreateVpc", "nth": 1, "kind": "pause", "when": "after"}])).await;
    let caller = cx.clone();
    let held = tokio::spawn(async move { create_vpc(&caller).await });
    let begun = Instant::now();
    while !calls(&endpoint).await.iter().any(|(.., phase)| phase == "paused_after") {
        assert!(begun.elapsed() < Duration::from_secs(30), "nothing is held");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(vpcs(&cx).await, before + 1);
    endpoint.control("DELETE", "faults", "").await;
    assert_eq!(held.await.expect("the call ends"), "no answer");
}
