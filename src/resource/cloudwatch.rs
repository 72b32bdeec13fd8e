//! What CloudWatch's kinds share: tags, which no listing tells.

use aws_sdk_cloudwatch::types::Tag;

use crate::aws::{Context, Result, Tags, tags};

/// The tags as calls take them.
pub fn list(tags: &Tags) -> Vec<Tag> {
    tags.iter().map(|(key, value)| Tag::builder().key(key).value(value).build()).collect()
}

/// The tags of an alarm or a dashboard.
pub async fn tags(cx: &Context, arn: &str) -> Result<Tags> {
    let answer = cx.cloudwatch.list_tags_for_resource().resource_arn(arn).send().await?;
    Ok(tags::collect(answer.tags(), |tag| (tag.key(), tag.value())))
}

/// Sets tags on an alarm or a dashboard.
pub async fn set_tags(cx: &Context, arn: &str, tags: &Tags) -> Result<()> {
    cx.cloudwatch.tag_resource().resource_arn(arn).set_tags(Some(list(tags))).send().await?;
    Ok(())
}
