//! What all EC2 kinds share: finding by tag or id, tags in the create call, tags on what exists.

use aws_sdk_ec2::types::{Filter, ResourceType, Tag, TagSpecification};
use backon::{ExponentialBuilder, Retryable};
use std::{future::Future, time::Duration};

use super::{Change, Desired, Select};
use crate::aws::{Context, Error, Result, Tags, tags};

/// The filter for what `select` asks for; `id_filter` is the API's filter name for the resource's own id.
pub fn filter(cx: &Context, select: &Select<'_>, id_filter: &str) -> Filter {
    match select {
        Select::Stack => Filter::builder().name(format!("tag:{}", tags::STACK)).values(&cx.stack).build(),
        Select::One(id) => Filter::builder().name(id_filter).values(*id).build(),
    }
}

/// Whether an answer is what `select` asks for. Emulators ignore the tag filter of some calls, and what we
/// take for ours we delete: so the tag itself decides.
pub fn selected(cx: &Context, select: &Select<'_>, tags: &Tags) -> bool {
    match select {
        Select::Stack => tags.get(tags::STACK) == Some(&cx.stack),
        Select::One(_) => true,
    }
}

/// The wish's tags as the create call takes them.
pub fn tag_specification<S>(resource: ResourceType, desired: &Desired<S>) -> TagSpecification {
    TagSpecification::builder().resource_type(resource).set_tags(Some(list(&desired.tags))).build()
}

fn list(tags: &Tags) -> Vec<Tag> {
    tags.iter().map(|(key, value)| Tag::builder().key(key).value(value).build()).collect()
}

/// The tags of an answer.
pub fn tags(tags: &[Tag]) -> Tags {
    tags::collect(tags, |tag| (tag.key(), tag.value()))
}

/// The logical id that a resource's tags say; empty for one that carries the stack's tag alone.
pub fn logical_id(tags: &Tags) -> String {
    tags.get(tags::ID).cloned().unwrap_or_default()
}

/// The client token of the `generation`th resource for the same wish: AWS takes 64 characters.
pub fn client_token(token: &str, generation: usize) -> String {
    match generation {
        0 => format!("{token:.64}"),
        _ => format!("{token:.60}-{generation}"),
    }
}

/// Repeats a call on what was just created while EC2 doesn't know it yet: its parts agree within seconds.
/// Source: <https://docs.aws.amazon.com/ec2/latest/devguide/eventual-consistency.html>
pub async fn once_known<T, F: Future<Output = Result<T>>>(call: impl FnMut() -> F) -> Result<T> {
    let pauses = ExponentialBuilder::default().with_min_delay(Duration::from_millis(200)).with_max_times(7);
    call.retry(pauses).when(Error::is_not_found).await
}

/// Sets the wish's tags if they differ.
pub async fn update_tags<S>(cx: &Context, change: &Change<S>) -> Result<()> {
    if let Some(tags) = change.tags() {
        cx.ec2.create_tags().resources(&change.found.id).set_tags(Some(list(tags))).send().await?;
    }
    Ok(())
}
