use serde_json::{Value, json};
use ticketctl::resource::{
    Found, Kind, LogGroup, Outputs, Parameter, Queue, Ref, Status, Subscription, Topic,
    log_group::LogGroupSpec,
    parameter::ParameterSpec,
    queue::{QueueSpec, Redrive},
    subscription::{self, SubscriptionSpec},
    topic::TopicSpec,
};

use super::lifecycle::*;
use crate::support::Endpoint;

fn policy(action: &str, resource: &str) -> Value {
    json!({"Version": "2012-10-17", "Statement": [{
        "Sid": "TlsOnly", "Effect": "Deny", "Principal": {"AWS": "*"}, "Action": action, "Resource": resource,
        "Condition": {"Bool": {"aws:SecureTransport": "false"}},
    }]})
}

fn queue() -> QueueSpec {
    QueueSpec {
        delay: 0,
        max_message_bytes: 262_144,
        retention: 86_400,
        receive_wait: 10,
        visibility: 300,
        managed_encryption: true,
        policy: policy("sqs:*", "arn:aws:sqs:ap-northeast-2:123456789012:shop-test-queue"),
        redrive: None,
        redrive_sources: None,
    }
}

fn pending(topic: &str, address: &str) -> Found<SubscriptionSpec> {
    let (topic, protocol, endpoint) = (Ref::known(topic), "email".to_owned(), address.to_owned());
    Found {
        logical_id: subscription::logical_id(&protocol, &endpoint),
        id: "PendingConfirmation".into(),
        spec: SubscriptionSpec { topic, protocol, endpoint },
        outputs: Outputs::new(),
        tags: None,
        status: Status::Ready,
    }
}

fn topic() -> TopicSpec {
    let policy = policy("SNS:Publish", "arn:aws:sns:ap-northeast-2:123456789012:shop-test-events");
    TopicSpec { display_name: "shop-test events".into(), policy }
}

#[tokio::test]
async fn queues() {
    let moto = Endpoint::start().await;
    let cx = moto.context("shop-test").await;
    let sources = Some(["arn:aws:sqs:ap-northeast-2:123456789012:shop-test-queue".to_owned()].into());
    let dead = create::<Queue>(&cx, "dead-letter-queue", QueueSpec { redrive_sources: sources, ..queue() }).await;
    let with_redrive = |max_receives| {
        let redrive = Some(Redrive { to: dead.outputs["arn"].clone(), max_receives });
        QueueSpec { redrive, ..queue() }
    };
    let changes = vec![
        QueueSpec { delay: 5, max_message_bytes: 1024, retention: 60, ..with_redrive(3) },
        QueueSpec { receive_wait: 0, visibility: 43_200, ..with_redrive(9) },
        QueueSpec { policy: policy("sqs:SendMessage", "*"), ..with_redrive(9) },
    ];
    lifecycle::<Queue>(&cx, "queue", with_redrive(3), changes).await;
    // A stack whose name begins like another's must not take that one's queues.
    assert!(all::<Queue>(&moto.context("shop").await).await.is_empty());
    delete::<Queue>(&cx, "dead-letter-queue").await;
}

#[tokio::test]
async fn topics() {
    let moto = Endpoint::start().await;
    let cx = moto.context("shop-test").await;
    let changed = TopicSpec { display_name: "other".into(), policy: policy("SNS:Subscribe", "*") };
    lifecycle::<Topic>(&cx, "topic-events", topic(), vec![changed]).await;
}

#[tokio::test]
async fn subscriptions() {
    let moto = Endpoint::start().await;
    let cx = moto.context("shop-test").await;
    let topic_arn = create::<Topic>(&cx, "topic-events", topic()).await.id;
    let queue_arn = create::<Queue>(&cx, "queue", queue()).await.outputs["arn"].clone();
    let spec = |protocol: &str, endpoint: &str| SubscriptionSpec {
        topic: Ref::known(&topic_arn),
        protocol: protocol.into(),
        endpoint: endpoint.into(),
    };
    lifecycle::<Subscription>(&cx, "subscription-queue", spec("sqs", &queue_arn), vec![]).await;

    // An address that nobody has confirmed yet is there, isn't made twice, and can't be deleted.
    let address = "ops@example.com";
    let logical_id = subscription::logical_id("email", address);
    let first = create::<Subscription>(&cx, &logical_id, spec("email", address)).await;
    create_again::<Subscription>(&cx, &logical_id, spec("email", address), &first).await;
    Subscription::delete(&cx, &pending(&topic_arn, address)).await.expect("leaving it to AWS is no error");
    only::<Subscription>(&cx, &logical_id).await;

    // A topic takes its subscriptions along.
    create::<Subscription>(&cx, "subscription-queue", spec("sqs", &queue_arn)).await;
    delete::<Topic>(&cx, "topic-events").await;
    assert!(all::<Subscription>(&cx).await.is_empty());
}

#[tokio::test]
async fn log_groups() {
    let moto = Endpoint::start().await;
    let cx = moto.context("shop-test").await;
    let spec = |retention| LogGroupSpec { retention };
    lifecycle::<LogGroup>(&cx, "log-group-web", spec(30), vec![spec(7), spec(0)]).await;
    create::<LogGroup>(&moto.context("shop-test-2").await, "log-group-web", spec(30)).await;
    assert!(all::<LogGroup>(&cx).await.is_empty(), "took the log group of a stack whose name begins alike");
}

#[tokio::test]
async fn parameters() {
    let moto = Endpoint::start().await;
    let cx = moto.context("shop-test").await;
    let spec = |path: &str, value: &str| ParameterSpec { path: path.into(), value: value.into() };
    let path = "app/queue/url";
    lifecycle::<Parameter>(&cx, "parameter-app-queue-url", spec(path, "a"), vec![spec(path, "https://b/c")]).await;
    // More than a page of ten.
    for number in 0..12 {
        create::<Parameter>(&cx, &format!("parameter-app-{number}"), spec(&format!("app/{number}"), "x")).await;
    }
    assert_eq!(all::<Parameter>(&cx).await.len(), 12);
    assert!(all::<Parameter>(&moto.context("shop").await).await.is_empty());
}

/// The calls of these kinds may be repeated after a lost answer.
#[tokio::test]
async fn repeated_creates() {
    async fn twice<K: Kind>(moto: &Endpoint, logical_id: &str, wish: impl Fn() -> K::Spec) {
        let cx = moto.context("shop-test").await;
        let first = create::<K>(&cx, logical_id, wish()).await;
        create_again::<K>(&cx, logical_id, wish(), &first).await;
    }
    let moto = Endpoint::start().await;
    twice::<Queue>(&moto, "queue", queue).await;
    twice::<Topic>(&moto, "topic-alerts", topic).await;
    twice::<LogGroup>(&moto, "log-group-web", || LogGroupSpec { retention: 7 }).await;
    twice::<Parameter>(&moto, "parameter-app-a", || ParameterSpec { path: "app/a".into(), value: "b".into() }).await;
}
