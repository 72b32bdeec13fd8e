//! An SQS queue with its policy and its place in the redrive of messages that nobody could handle.

use aws_sdk_sqs::types::QueueAttributeName as Attribute;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::collections::{BTreeSet, HashMap};

use super::{Change, Created, Desired, Found, Handle, Kind, Outputs, Ref, Scan, Select, Status, Traits};
use crate::aws::{Context, Emulator, Error, Result, Tags, dns_suffix};

pub struct Queue;

/// The queues that a stack can have: logical id, and what follows the stack's name in theirs. Queues are found by these
/// names, since no SQS call lists the tags of many.
const QUEUES: [(&str, &str); 2] = [("queue", "queue"), ("dead-letter-queue", "dlq")];

/// Times in seconds. Ranges and defaults:
/// <https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_SetQueueAttributes.html>
#[derive(Serialize, Deserialize)]
pub struct QueueSpec {
    /// Time before a new message can be received.
    pub delay: i32,
    pub max_message_bytes: i32,
    /// How long a message is kept.
    pub retention: i32,
    /// How long a receive call waits for a message.
    pub receive_wait: i32,
    /// How long a received message stays hidden from others.
    pub visibility: i32,
    /// Encryption at rest with a key that SQS manages (SSE-SQS).
    pub managed_encryption: bool,
    /// Who may do what, as an IAM policy document.
    pub policy: Value,
    /// Where messages go that were received too often.
    #[serde(default)]
    pub redrive: Option<Redrive>,
    /// For a dead-letter queue: the ARNs of the queues that may send there.
    #[serde(default)]
    pub redrive_sources: Option<BTreeSet<String>>,
}

#[derive(Serialize, Deserialize)]
pub struct Redrive {
    /// ARN of the dead-letter queue.
    pub to: String,
    pub max_receives: i32,
}

impl Handle<Queue> {
    pub fn arn(&self) -> String {
        self.created_output("arn")
    }

    /// The URL is also the queue's id.
    pub fn url(&self) -> Ref<Queue> {
        self.id()
    }

    /// The name, which is the queue's dimension in CloudWatch.
    pub fn queue_name(&self) -> String {
        self.created_output("name")
    }
}

/// The name in AWS of a stack's queue: what its ARN ends with.
pub fn name(stack: &str, logical_id: &str) -> String {
    let suffix = QUEUES.iter().find(|(id, _)| *id == logical_id).map_or(logical_id, |(_, suffix)| *suffix);
    format!("{stack}-{suffix}")
}

impl Kind for Queue {
    const NAME: &'static str = "queue";
    const TRAITS: Traits = Traits::INSTANT;
    type Spec = QueueSpec;

    async fn find(scan: &Scan<'_>, select: &Select<'_>) -> Result<Vec<Found<QueueSpec>>> {
        let urls = match select {
            // SQS says what a queue's URL is, and whether there is such a queue is told with its attributes.
            Select::Stack if has_known_urls(scan) => {
                let account = scan.account().await?;
                QUEUES.iter().map(|(id, _)| url(scan, account, &name(&scan.stack, id))).collect()
            }
            Select::Stack => {
                let pages = scan.sqs.list_queues().queue_name_prefix(format!("{}-", scan.stack)).max_results(1000);
                let urls = pages.into_paginator().items().send();
                urls.collect::<std::result::Result<Vec<_>, _>>().await?
            }
            Select::One(url) => vec![(*url).to_owned()],
        };
        let ours = urls.iter().filter_map(|url| {
            let (id, _) = QUEUES.iter().find(|(id, _)| url.rsplit('/').next() == Some(&name(&scan.stack, id)))?;
            Some(describe(scan, id, url))
        });
        Ok(futures::future::try_join_all(ours).await?.into_iter().flatten().collect())
    }

    async fn tags(cx: &Context, url: &str, _outputs: &Outputs) -> Result<Option<Tags>> {
        let answer = cx.sqs.list_queue_tags().queue_url(url).send().await?;
        Ok(Some(answer.tags.unwrap_or_default().into_iter().collect()))
    }

    /// SQS answers a repeated call with the queue that the first one made.
    async fn create(cx: &Context, desired: &Desired<QueueSpec>) -> Result<Created> {
        let name = name(&cx.stack, &desired.logical_id);
        let attributes = attributes(&desired.spec).map(|(_, name, value)| (name, value)).collect();
        let answer = cx
            .sqs
            .create_queue()
            .queue_name(&name)
            .set_attributes(Some(attributes))
            .set_tags(Some(desired.tags.clone().into_iter().collect()))
            .send()
            .await?;
        let url = match has_known_urls(cx) {
            true => url(cx, cx.account().await?, &name),
            false => answer.queue_url.ok_or_else(|| Error::unexpected("sqs", "CreateQueue", "no URL"))?,
        };
        Ok(Created::new(url).with("arn", cx.arn("sqs", &name).await?).with("name", name))
    }

    /// Changes take up to a minute to reach all of SQS, the retention up to 15 minutes.
    async fn update(cx: &Context, change: &Change<QueueSpec>) -> Result<()> {
        let changed: HashMap<_, _> = attributes(&change.desired.spec)
            .filter(|(field, _, _)| change.touches(&[field]))
            .map(|(_, name, value)| (name, value))
            .collect();
        let url = &change.found.id;
        if !changed.is_empty() {
            cx.sqs.set_queue_attributes().queue_url(url).set_attributes(Some(changed)).send().await?;
        }
        if let Some(tags) = change.tags() {
            cx.sqs.tag_queue().queue_url(url).set_tags(Some(tags.clone().into_iter().collect())).send().await?;
        }
        Ok(())
    }

    async fn delete(cx: &Context, found: &Found<QueueSpec>) -> Result<()> {
        cx.sqs.delete_queue().queue_url(&found.id).send().await?;
        Ok(())
    }
}

/// Whether the endpoint's URLs of queues are certain: AWS's are, and moto's.
fn has_known_urls(cx: &Context) -> bool {
    matches!(cx.emulator, None | Some(Emulator::Gateway { .. } | Emulator::Moto))
}

/// The URL of a queue.
/// Source: <https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-queue-message-identifiers.html>
fn url(cx: &Context, account: &str, name: &str) -> String {
    match &cx.endpoint_url {
        Some(endpoint) => format!("{}/{account}/{name}", endpoint.trim_end_matches('/')),
        None => format!("https://sqs.{}.{}/{account}/{name}", cx.region, dns_suffix(&cx.region)),
    }
}

/// The wish in SQS's terms: our name of each attribute, SQS's, and the value.
fn attributes(spec: &QueueSpec) -> impl Iterator<Item = (&'static str, Attribute, String)> {
    let redrive = spec.redrive.as_ref();
    let sources = spec.redrive_sources.as_ref();
    [
        Some(("delay", Attribute::DelaySeconds, spec.delay.to_string())),
        Some(("max_message_bytes", Attribute::MaximumMessageSize, spec.max_message_bytes.to_string())),
        Some(("retention", Attribute::MessageRetentionPeriod, spec.retention.to_string())),
        Some(("receive_wait", Attribute::ReceiveMessageWaitTimeSeconds, spec.receive_wait.to_string())),
        Some(("visibility", Attribute::VisibilityTimeout, spec.visibility.to_string())),
        Some(("managed_encryption", Attribute::SqsManagedSseEnabled, spec.managed_encryption.to_string())),
        Some(("policy", Attribute::Policy, spec.policy.to_string())),
        redrive.map(|Redrive { to, max_receives }| {
            let policy = json!({"deadLetterTargetArn": to, "maxReceiveCount": max_receives});
            ("redrive", Attribute::RedrivePolicy, policy.to_string())
        }),
        sources.map(|sources| {
            let policy = json!({"redrivePermission": "byQueue", "sourceQueueArns": sources});
            ("redrive_sources", Attribute::RedriveAllowPolicy, policy.to_string())
        }),
    ]
    .into_iter()
    .flatten()
}

/// None for a queue that the listing still shows for a while after its deletion.
async fn describe(scan: &Scan<'_>, logical_id: &str, url: &str) -> Result<Option<Found<QueueSpec>>> {
    let answer = scan.sqs.get_queue_attributes().queue_url(url).attribute_names(Attribute::All).send().await;
    let answer = match answer.map_err(Error::from) {
        Err(error) if error.is_not_found() => return Ok(None),
        answer => answer?,
    };
    let attributes = answer.attributes.unwrap_or_default();
    let arn = attributes.get(&Attribute::QueueArn).cloned().unwrap_or_default();
    let name = arn.rsplit(':').next().unwrap_or_default().to_owned();
    Ok(Some(Found {
        logical_id: logical_id.to_owned(),
        id: url.to_owned(),
        spec: spec(&attributes),
        outputs: Outputs::from([("arn".into(), arn), ("name".into(), name)]),
        tags: None,
        status: Status::Ready,
    }))
}

fn spec(attributes: &HashMap<Attribute, String>) -> QueueSpec {
    let number = |name| attributes.get(&name).and_then(|value| value.parse().ok()).unwrap_or_default();
    let document = |name| attributes.get(&name).and_then(|text| serde_json::from_str(text).ok()).unwrap_or(Value::Null);
    let redrive = document(Attribute::RedrivePolicy);
    let allowed = document(Attribute::RedriveAllowPolicy);
    QueueSpec {
        delay: number(Attribute::DelaySeconds),
        max_message_bytes: number(Attribute::MaximumMessageSize),
        retention: number(Attribute::MessageRetentionPeriod),
        receive_wait: number(Attribute::ReceiveMessageWaitTimeSeconds),
        visibility: number(Attribute::VisibilityTimeout),
        managed_encryption: attributes.get(&Attribute::SqsManagedSseEnabled).is_some_and(|value| value == "true"),
        policy: document(Attribute::Policy),
        redrive: redrive["deadLetterTargetArn"]
            .as_str()
            .map(|to| Redrive { to: to.to_owned(), max_receives: count(&redrive["maxReceiveCount"]) }),
        redrive_sources: allowed["sourceQueueArns"]
            .as_array()
            .map(|arns| arns.iter().filter_map(Value::as_str).map(str::to_owned).collect()),
    }
}

/// A number, which SQS gives back as it was written: as a number or as text.
fn count(value: &Value) -> i32 {
    let number = value.as_i64().or_else(|| value.as_str()?.parse().ok());
    number.and_then(|number| i32::try_from(number).ok()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_redrive_policy_written_by_the_console_is_read_alike() {
        let text = json!({"deadLetterTargetArn": "arn:aws:sqs:eu-west-1:1:q", "maxReceiveCount": "3"}).to_string();
        let found = spec(&HashMap::from([(Attribute::RedrivePolicy, text)]));
        assert_eq!(
            found.redrive.map(|redrive| (redrive.to, redrive.max_receives)),
            Some(("arn:aws:sqs:eu-west-1:1:q".into(), 3))
        );
    }

    #[test]
    fn a_stack_whose_name_begins_like_ours_has_other_queues() {
        assert_eq!(name("shop-dev", "queue"), "shop-dev-queue");
        assert_ne!(name("shop-dev", "queue"), name("shop-dev-2", "queue"));
    }
}
