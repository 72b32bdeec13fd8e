//! Who gets what a topic publishes: a queue, or an e-mail address.

use aws_sdk_sns::types::Subscription as Listed;
use serde::{Deserialize, Serialize};

use super::{Change, Created, Desired, Effect, Found, Kind, Outputs, Ref, Scan, Select, Status, Topic, Traits};
use super::topic::{self, TopicSpec};
use crate::aws::{Context, Error, Result};

pub struct Subscription;

/// What the listing says instead of the ARN until the address's owner has confirmed. That is no failure and no
/// difference: alarms simply reach nobody there yet.
const PENDING: &str = "PendingConfirmation";

#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub struct SubscriptionSpec {
    pub topic: Ref<Topic>,
    /// `email` or `sqs`.
    pub protocol: String,
    /// The e-mail address or the queue's ARN.
    pub endpoint: String,
}

/// The logical id of a subscription: an address has one of its own, because a subscription that waits for its
/// confirmation can't be deleted, and so the old and the new one live side by side when the address changes.
pub fn logical_id(protocol: &str, endpoint: &str) -> String {
    match protocol {
        "sqs" => "subscription-queue".into(),
        protocol => format!("subscription-{protocol}-{endpoint}"),
    }
}

impl Kind for Subscription {
    const NAME: &'static str = "subscription";
    const TRAITS: Traits = Traits::INSTANT;
    type Spec = SubscriptionSpec;

    fn effect(_path: &str) -> Effect {
        Effect::Replace
    }

    /// One that nobody has confirmed has no ARN to name it by: AWS removes it by itself after some days, and at once
    /// with its topic.
    fn lapses(id: &str) -> bool {
        id == PENDING
    }

    /// Asks topic by topic: the list of the whole account still shows the subscriptions of deleted topics, under the ARN
    /// that a new topic of the same name has too.
    async fn find(scan: &Scan<'_>, select: &Select<'_>) -> Result<Vec<Found<SubscriptionSpec>>> {
        let listings = topic::TOPICS.iter().map(|(id, _)| async {
            // A topic tells how many subscriptions it has, and most tell none. Where one is to be expected, the answer isn't
            // waited for.
            if scan.is_sparing() && *id != topic::EVENTS && !has_subscriptions(&scan.of::<Topic>().await?, id) {
                return Ok(Vec::new());
            }
            of_topic(scan, &scan.arn("sns", &topic::name(&scan.stack, id)).await?).await
        });
        let listed = futures::future::try_join_all(listings).await?.into_iter().flatten();
        let wanted = listed.filter(|subscription| match select {
            Select::Stack => exists(subscription),
            Select::One(id) => subscription.subscription_arn() == Some(*id),
        });
        Ok(wanted.map(describe).collect())
    }

    /// SNS answers a repeated call with the subscription that the first one made.
    async fn create(cx: &Context, desired: &Desired<SubscriptionSpec>) -> Result<Created> {
        let spec = &desired.spec;
        let call = cx.sns.subscribe().topic_arn(&*spec.topic).protocol(&spec.protocol).endpoint(&spec.endpoint);
        let answer = call.send().await?;
        // For an address that must be confirmed first, the answer is a text.
        let arn = answer.subscription_arn.filter(|arn| arn.starts_with("arn:"));
        Ok(Created::new(arn.unwrap_or_else(|| PENDING.into())))
    }

    /// Nothing about it can be changed in place. A queue gets SNS's envelope: whether it would get bare messages is told
    /// only by a call per subscription.
    async fn update(_cx: &Context, _change: &Change<SubscriptionSpec>) -> Result<()> {
        Ok(())
    }

    /// One that lapses goes with its topic.
    async fn delete(cx: &Context, found: &Found<SubscriptionSpec>) -> Result<()> {
        if found.id != PENDING {
            cx.sns.unsubscribe().subscription_arn(&found.id).send().await?;
        }
        Ok(())
    }
}

/// None for a topic that isn't there.
async fn of_topic(cx: &Context, arn: &str) -> Result<Vec<Listed>> {
    let pages = cx.sns.list_subscriptions_by_topic().topic_arn(arn).into_paginator();
    let listed: std::result::Result<Vec<_>, _> = pages.items().send().collect().await;
    match listed.map_err(Error::from) {
        Err(error) if error.is_not_found() => Ok(Vec::new()),
        result => result,
    }
}

fn has_subscriptions(topics: &[Found<TopicSpec>], id: &str) -> bool {
    topics.iter().any(|topic| topic.logical_id == id && topic.output(topic::SUBSCRIPTIONS) != "0")
}

/// Lists go on showing a subscription for some days after its end, with `Deleted` for an ARN.
fn exists(subscription: &Listed) -> bool {
    subscription.subscription_arn().is_some_and(|arn| arn == PENDING || arn.starts_with("arn:"))
}

fn describe(listed: Listed) -> Found<SubscriptionSpec> {
    let id = listed.subscription_arn.unwrap_or_default();
    let protocol = listed.protocol.unwrap_or_default();
    let endpoint = listed.endpoint.unwrap_or_default();
    Found {
        logical_id: logical_id(&protocol, &endpoint),
        id,
        spec: SubscriptionSpec { topic: Ref::known(listed.topic_arn.unwrap_or_default()), protocol, endpoint },
        outputs: Outputs::new(),
        // Subscriptions can't carry any.
        tags: None,
        status: Status::Ready,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_waits_for_confirmation_counts_and_what_is_deleted_does_not() {
        let listed = |arn: &str| Listed::builder().subscription_arn(arn).build();
        assert!(exists(&listed("PendingConfirmation")));
        assert!(exists(&listed("arn:aws:sns:eu-west-1:123456789012:shop-dev-alerts:0b6d")));
        assert!(!exists(&listed("Deleted")));
    }
}
