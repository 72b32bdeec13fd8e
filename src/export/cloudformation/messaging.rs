//! Queues, topics, subscriptions.

use serde_json::json;

use super::{
    intrinsic::Fact,
    resource::{CloudFormation, Part, Resource},
};
use crate::resource::{
    Queue, Subscription, Topic,
    queue::{self, QueueSpec, Redrive},
    subscription::SubscriptionSpec,
    topic::{self, TopicSpec},
};

impl CloudFormation for Queue {
    const TYPE: &'static str = "AWS::SQS::Queue";

    fn fact(output: Option<&str>) -> Option<Fact> {
        match output {
            None => Some(Fact::Ref),
            Some("arn") => Some(Fact::Attribute("Arn")),
            Some("name") => Some(Fact::Attribute("QueueName")),
            Some(_) => None,
        }
    }

    fn write(part: &Part<'_>, spec: QueueSpec) -> Resource {
        let QueueSpec {
            delay,
            max_message_bytes,
            retention,
            receive_wait,
            visibility,
            managed_encryption,
            policy,
            redrive,
            redrive_sources,
        } = spec;
        let redrive = redrive
            .map(|Redrive { to, max_receives }| json!({"deadLetterTargetArn": to, "maxReceiveCount": max_receives}));
        let allowed = redrive_sources.map(|from| json!({"redrivePermission": "byQueue", "sourceQueueArns": from}));
        let queue = Resource::new::<Queue>(json!({
            "QueueName": queue::name(part.stack, part.id),
            "DelaySeconds": delay,
            "MaximumMessageSize": max_message_bytes,
            "MessageRetentionPeriod": retention,
            "ReceiveMessageWaitTimeSeconds": receive_wait,
            "VisibilityTimeout": visibility,
            "SqsManagedSseEnabled": managed_encryption,
            "RedrivePolicy": redrive,
            "RedriveAllowPolicy": allowed,
            "Tags": part.tags(),
        }));
        let policy = json!({"Queues": [part.me()], "PolicyDocument": policy});
        queue.deletion("Delete").with(part, "Policy", "AWS::SQS::QueuePolicy", policy)
    }
}

impl CloudFormation for Topic {
    const TYPE: &'static str = "AWS::SNS::Topic";

    fn write(part: &Part<'_>, spec: TopicSpec) -> Resource {
        let TopicSpec { display_name, policy } = spec;
        let topic = Resource::new::<Topic>(json!({
            "TopicName": topic::name(part.stack, part.id),
            "DisplayName": display_name,
            "Tags": part.tags(),
        }));
        let policy = json!({"Topics": [part.me()], "PolicyDocument": policy});
        topic.with(part, "Policy", "AWS::SNS::TopicPolicy", policy)
    }
}

impl CloudFormation for Subscription {
    const TYPE: &'static str = "AWS::SNS::Subscription";

    fn write(_part: &Part<'_>, spec: SubscriptionSpec) -> Resource {
        let SubscriptionSpec { topic, protocol, endpoint } = spec;
        Resource::new::<Subscription>(json!({"TopicArn": topic, "Protocol": protocol, "Endpoint": endpoint}))
    }
}
