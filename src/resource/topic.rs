//! An SNS topic and who may publish to it.

use aws_sdk_sns::types::Tag;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::HashMap;

use super::{Change, Created, Desired, Found, Handle, Kind, Outputs, Ref, Scan, Select, Status, Traits};
use crate::aws::{Context, Error, Result, Tags, tags};

pub struct Topic;

/// The topics that a stack can have: logical id, and what follows the stack's name in theirs. Topics are found by their
/// ARNs, since no SNS call lists the tags of many.
pub const TOPICS: [(&str, &str); 2] = [("topic-alerts", "alerts"), (EVENTS, "events")];

/// The logical id of the topic that always feeds the queue.
pub const EVENTS: &str = "topic-events";

/// The output that tells how many subscriptions a topic has, those included that nobody has confirmed yet.
pub const SUBSCRIPTIONS: &str = "subscriptions";

#[derive(Serialize, Deserialize)]
pub struct TopicSpec {
    /// The sender's name in e-mails, up to 100 characters.
    pub display_name: String,
    /// Who may do what, as an IAM policy document.
    pub policy: Value,
}

impl Handle<Topic> {
    /// The ARN, which is also the topic's id.
    pub fn arn(&self) -> Ref<Topic> {
        self.id()
    }
}

/// The name in AWS of a stack's topic: what its ARN ends with.
pub fn name(stack: &str, logical_id: &str) -> String {
    let suffix = TOPICS.iter().find(|(id, _)| *id == logical_id).map_or(logical_id, |(_, suffix)| *suffix);
    format!("{stack}-{suffix}")
}

impl Kind for Topic {
    const NAME: &'static str = "topic";
    const TRAITS: Traits = Traits::INSTANT;
    type Spec = TopicSpec;

    async fn find(scan: &Scan<'_>, select: &Select<'_>) -> Result<Vec<Found<TopicSpec>>> {
        let topics = TOPICS.iter().map(|(id, _)| async move {
            let arn = scan.arn("sns", &name(&scan.stack, id)).await?;
            match select {
                Select::One(wanted) if *wanted != arn => Ok(None),
                _ => describe(scan, id, arn).await,
            }
        });
        Ok(futures::future::try_join_all(topics).await?.into_iter().flatten().collect())
    }

    async fn tags(cx: &Context, arn: &str, _outputs: &Outputs) -> Result<Option<Tags>> {
        let answer = cx.sns.list_tags_for_resource().resource_arn(arn).send().await?;
        Ok(Some(tags::collect(answer.tags(), |tag| (Some(tag.key()), Some(tag.value())))))
    }

    /// SNS answers a repeated call with the topic that the first one made.
    async fn create(cx: &Context, desired: &Desired<TopicSpec>) -> Result<Created> {
        let answer = cx
            .sns
            .create_topic()
            .name(name(&cx.stack, &desired.logical_id))
            .set_attributes(Some(attributes(&desired.spec).map(|(_, name, value)| (name.into(), value)).collect()))
            .set_tags(Some(list(&desired.tags)))
            .send()
            .await?;
        let arn = answer.topic_arn.ok_or_else(|| Error::unexpected("sns", "CreateTopic", "no ARN"))?;
        Ok(Created::new(arn))
    }

    /// One attribute per call: SNS takes no more.
    async fn update(cx: &Context, change: &Change<TopicSpec>) -> Result<()> {
        for (field, name, value) in attributes(&change.desired.spec) {
            if change.touches(&[field]) {
                let call = cx.sns.set_topic_attributes().topic_arn(&change.found.id);
                call.attribute_name(name).attribute_value(value).send().await?;
            }
        }
        if let Some(tags) = change.tags() {
            cx.sns.tag_resource().resource_arn(&change.found.id).set_tags(Some(list(tags))).send().await?;
        }
        Ok(())
    }

    /// Its subscriptions go with it.
    async fn delete(cx: &Context, found: &Found<TopicSpec>) -> Result<()> {
        cx.sns.delete_topic().topic_arn(&found.id).send().await?;
        Ok(())
    }
}

fn list(tags: &Tags) -> Vec<Tag> {
    let tags = tags.iter().map(|(key, value)| Tag::builder().key(key).value(value).build());
    tags.collect::<std::result::Result<_, _>>().expect("both parts of the tag are set")
}

/// The wish in SNS's terms: our name of each attribute, SNS's, and the value.
fn attributes(spec: &TopicSpec) -> impl Iterator<Item = (&'static str, &'static str, String)> {
    [("display_name", "DisplayName", spec.display_name.clone()), ("policy", "Policy", spec.policy.to_string())]
        .into_iter()
}

async fn describe(scan: &Scan<'_>, logical_id: &str, arn: String) -> Result<Option<Found<TopicSpec>>> {
    let answer = scan.sns.get_topic_attributes().topic_arn(&arn).send().await;
    let attributes: HashMap<String, String> = match answer.map_err(Error::from) {
        Err(error) if error.is_not_found() => return Ok(None),
        answer => answer?.attributes.unwrap_or_default(),
    };
    let count = |name: &str| attributes.get(name).and_then(|count| count.parse::<u64>().ok()).unwrap_or_default();
    let subscriptions = count("SubscriptionsConfirmed") + count("SubscriptionsPending");
    let policy = attributes.get("Policy").and_then(|text| serde_json::from_str(text).ok());
    Ok(Some(Found {
        logical_id: logical_id.to_owned(),
        id: arn,
        spec: TopicSpec {
            display_name: attributes.get("DisplayName").cloned().unwrap_or_default(),
            policy: policy.unwrap_or(Value::Null),
        },
        outputs: Outputs::from([(SUBSCRIPTIONS.into(), subscriptions.to_string())]),
        tags: None,
        status: Status::Ready,
    }))
}
