//! Messages: the work queue with its dead letters, the topic of events that fills it, and the topic that tells people.

use serde_json::{Value, json};

use crate::{
    blueprint::{Blueprint, Facts},
    resource::{
        Handle, Queue, Subscription, Topic,
        queue::{self, QueueSpec, Redrive},
        subscription::{self, SubscriptionSpec},
        topic::{self, TopicSpec},
    },
    stack::{Stack, types::Messaging},
};

const QUEUE: &str = "queue";
const DEAD_LETTERS: &str = "dead-letter-queue";
const ALERTS: &str = "topic-alerts";
const EVENTS: &str = "topic-events";

/// What others need of the messages.
pub struct MessagingHandles {
    /// Where alarms go, if the stack has alerts.
    pub alerts: Option<Handle<Topic>>,
    pub queues: Option<QueueHandles>,
}

/// The queues and what fills them, if the stack has messaging.
pub struct QueueHandles {
    /// What happened, for whoever wants to know; all of it comes to the queue.
    pub events: Handle<Topic>,
    pub queue: Handle<Queue>,
    pub dead_letters: Handle<Queue>,
}

/// Adds the topics and queues that the stack asks for.
pub(super) fn add(blueprint: &mut Blueprint, stack: &Stack, facts: &Facts) -> MessagingHandles {
    let alerts = stack.alerts.as_ref().map(|alerts| {
        let topic = add_topic(blueprint, stack, ALERTS, alerts_policy(stack, facts));
        if let Some(address) = &alerts.email {
            let spec = SubscriptionSpec { topic: topic.arn(), protocol: "email".into(), endpoint: address.clone() };
            blueprint.add::<Subscription>(subscription::logical_id("email", address), address, spec);
        }
        blueprint.output("alerts_topic_arn", topic.arn().to_string());
        topic
    });
    let queues = stack.messaging.as_ref().map(|messaging| add_queues(blueprint, stack, facts, messaging));
    MessagingHandles { alerts, queues }
}

fn add_queues(blueprint: &mut Blueprint, stack: &Stack, facts: &Facts, messaging: &Messaging) -> QueueHandles {
    let name = |id| queue::name(&stack.name(), id);
    let arn = |id| facts.arn("sqs", &name(id));
    let events_arn = facts.arn("sns", &topic::name(&stack.name(), EVENTS));
    let events = add_topic(blueprint, stack, EVENTS, policy(vec![tls_only("sns:Publish", &events_arn)]));

    let dead = QueueSpec {
        delay: 0,
        // A letter must fit here as it did there.
        max_message_bytes: bytes(messaging),
        retention: messaging.dead_letter_retention.secs(),
        receive_wait: messaging.receive_wait.secs(),
        visibility: messaging.visibility.secs(),
        managed_encryption: true,
        policy: policy(vec![tls_only("sqs:*", &arn(DEAD_LETTERS))]),
        redrive: None,
        // By name and not by reference: the two queues can't wait for each other.
        redrive_sources: Some([arn(QUEUE)].into()),
    };
    let dead_letters = blueprint.add::<Queue>(DEAD_LETTERS, &name(DEAD_LETTERS), dead);

    let from_events = json!({
        "Sid": "FromEvents",
        "Effect": "Allow",
        "Principal": {"Service": "sns.amazonaws.com"},
        "Action": "sqs:SendMessage",
        "Resource": arn(QUEUE),
        "Condition": {"ArnEquals": {"aws:SourceArn": events.arn().to_string()}},
    });
    let work = QueueSpec {
        delay: messaging.delay.secs(),
        max_message_bytes: bytes(messaging),
        retention: messaging.retention.secs(),
        receive_wait: messaging.receive_wait.secs(),
        visibility: messaging.visibility.secs(),
        managed_encryption: true,
        policy: policy(vec![from_events, tls_only("sqs:*", &arn(QUEUE))]),
        redrive: Some(Redrive {
            to: dead_letters.arn(),
            max_receives: i32::try_from(messaging.max_receives).unwrap_or(i32::MAX),
        }),
        redrive_sources: None,
    };
    let queue = blueprint.add::<Queue>(QUEUE, &name(QUEUE), work);

    let spec = SubscriptionSpec { topic: events.arn(), protocol: "sqs".into(), endpoint: queue.arn() };
    blueprint.add::<Subscription>(subscription::logical_id("sqs", ""), &name(QUEUE), spec);

    blueprint.output("queue_url", queue.url().to_string());
    blueprint.output("dead_letter_queue_url", dead_letters.url().to_string());
    blueprint.output("events_topic_arn", events.arn().to_string());
    QueueHandles { events, queue, dead_letters }
}

fn bytes(messaging: &Messaging) -> i32 {
    i32::try_from(messaging.max_message_bytes).unwrap_or(i32::MAX)
}

fn add_topic(blueprint: &mut Blueprint, stack: &Stack, id: &str, policy: Value) -> Handle<Topic> {
    let name = topic::name(&stack.name(), id);
    // No encryption key: with AWS's own key for SNS, CloudWatch alarms can't publish.
    // Source: https://docs.aws.amazon.com/sns/latest/dg/sns-key-management.html#compatibility-with-aws-services
    blueprint.add::<Topic>(id, &name, TopicSpec { display_name: name.clone(), policy })
}

/// Lets the stack's own alarms publish, and nobody without TLS.
fn alerts_policy(stack: &Stack, facts: &Facts) -> Value {
    let arn = facts.arn("sns", &topic::name(&stack.name(), ALERTS));
    let alarms = json!({
        "Sid": "FromAlarms",
        "Effect": "Allow",
        "Principal": {"Service": "cloudwatch.amazonaws.com"},
        "Action": "sns:Publish",
        "Resource": arn,
        "Condition": {
            "StringEquals": {"aws:SourceAccount": facts.account},
            "ArnLike": {"aws:SourceArn": facts.arn("cloudwatch", &format!("alarm:{}/*", stack.name()))},
        },
    });
    policy(vec![alarms, tls_only("sns:Publish", &arn)])
}

fn policy(statements: Vec<Value>) -> Value {
    json!({"Version": "2012-10-17", "Statement": statements})
}

fn tls_only(action: &str, resource: &str) -> Value {
    json!({
        "Sid": "TlsOnly",
        "Effect": "Deny",
        "Principal": {"AWS": "*"},
        "Action": action,
        "Resource": resource,
        "Condition": {"Bool": {"aws:SecureTransport": "false"}},
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::blueprint::tests::{compiled, facts, stack};

    #[test]
    fn only_the_events_topic_may_send_to_the_queue() {
        let blueprint = compiled(&stack(json!({"messaging": {}})));
        let statements = &blueprint.nodes[QUEUE].spec["policy"]["Statement"];
        let allowed: Vec<_> =
            statements.as_array().into_iter().flatten().filter(|part| part["Effect"] == "Allow").collect();
        assert_eq!(allowed.len(), 1, "{statements}");
        assert_eq!(allowed[0]["Condition"]["ArnEquals"]["aws:SourceArn"], "⟦topic-events⟧");
    }

    #[test]
    fn every_queue_and_topic_refuses_plain_text() {
        let blueprint = compiled(&stack(json!({"messaging": {}, "alerts": {}})));
        for id in [QUEUE, DEAD_LETTERS, ALERTS, EVENTS] {
            let statements = blueprint.nodes[id].spec["policy"]["Statement"].as_array().expect("statements");
            assert!(statements.iter().any(|part| part["Sid"] == "TlsOnly" && part["Effect"] == "Deny"), "{id}");
        }
    }

    #[test]
    fn dead_letters_come_from_the_queue_alone() {
        let blueprint = compiled(&stack(json!({"messaging": {}})));
        assert_eq!(blueprint.nodes[QUEUE].spec["redrive"], json!({"to": "⟦dead-letter-queue#arn⟧", "max_receives": 3}));
        let source = facts().arn("sqs", "ticketing-dev-queue");
        assert_eq!(blueprint.nodes[DEAD_LETTERS].spec["redrive_sources"], json!([source]));
    }

    #[test]
    fn a_stack_without_messages_has_none() {
        let blueprint = compiled(&stack(json!({})));
        assert!(blueprint.nodes.values().all(|node| node.kind != "queue" && node.kind != "topic"));
    }
}
