//! Releases that were given up: a tag of the launch template, because versions themselves can't be tagged.

use aws_sdk_ec2::types::Tag;
use sha2::{Digest, Sha256};

use super::{LaunchTemplateSpec, spec, version};
use crate::aws::{Context, Error, Result, tags};

/// How many are remembered: the tag's value has room for 256 characters.
const REMEMBERED: usize = 8;

/// A release that was given up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RolledBack {
    pub release: u64,
    /// What it was, by [`content`].
    pub content: String,
}

impl RolledBack {
    /// Reads the tag's value: `5=0123456789abcdef 7=…`, or nothing.
    pub(super) fn parse(text: &str) -> Vec<RolledBack> {
        let one = |word: &str| {
            let (release, content) = word.split_once('=')?;
            Some(RolledBack { release: release.parse().ok()?, content: content.to_owned() })
        };
        text.split(' ').filter_map(one).collect()
    }
}

/// All that makes one release another, as a short hash: program, machine image, machine.
pub fn content(spec: &LaunchTemplateSpec) -> String {
    let LaunchTemplateSpec { image, instance_type, user_data, volume, metadata, detailed_monitoring, .. } = spec;
    let text = serde_json::json!([image, instance_type, user_data, volume, metadata, detailed_monitoring]).to_string();
    hex::encode(&Sha256::digest(text)[..8])
}

/// The releases of a template that were given up.
///
/// # Errors
/// Calls that failed.
pub async fn rolled_back(cx: &Context, id: &str) -> Result<Vec<RolledBack>> {
    let answer = cx.ec2.describe_launch_templates().launch_template_ids(id).send().await?;
    let tags = answer.launch_templates().first().map(|template| super::ec2::tags(template.tags())).unwrap_or_default();
    Ok(tags.get(tags::ROLLED_BACK).map(|text| RolledBack::parse(text)).unwrap_or_default())
}

/// Remembers a release as given up.
///
/// # Errors
/// Calls that failed.
pub async fn give_up(cx: &Context, id: &str, release: u64) -> Result<()> {
    let mut all = rolled_back(cx, id).await?;
    let content = content_of(cx, id, release).await?;
    all.retain(|one| one.content != content);
    all.push(RolledBack { release, content });
    write(cx, id, &all[all.len().saturating_sub(REMEMBERED)..]).await
}

/// Forgets that what a release is was ever given up.
///
/// # Errors
/// Calls that failed.
pub async fn redeem(cx: &Context, id: &str, release: u64) -> Result<()> {
    let all = rolled_back(cx, id).await?;
    if all.is_empty() {
        return Ok(());
    }
    let content = content_of(cx, id, release).await?;
    let kept: Vec<_> = all.iter().filter(|one| one.content != content).cloned().collect();
    if kept.len() == all.len() { Ok(()) } else { write(cx, id, &kept).await }
}

async fn content_of(cx: &Context, id: &str, release: u64) -> Result<String> {
    let version = version(cx, id, &release.to_string()).await?;
    let version = version.ok_or_else(|| {
        Error::unexpected("ec2", "DescribeLaunchTemplateVersions", format!("{id} has no version {release}"))
    })?;
    Ok(content(&spec("", version.launch_template_data(), &[])))
}

async fn write(cx: &Context, id: &str, all: &[RolledBack]) -> Result<()> {
    let text: Vec<String> = all.iter().map(|one| format!("{}={}", one.release, one.content)).collect();
    let tag = Tag::builder().key(tags::ROLLED_BACK).value(text.join(" ")).build();
    // With the tag that it has already: the least policy lets nobody tag what doesn't say whose it is.
    let own = Tag::builder().key(tags::STACK).value(&cx.stack).build();
    cx.ec2.create_tags().resources(id).tags(own).tags(tag).send().await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tag_is_read_as_it_is_written() {
        let all = RolledBack::parse("5=0123456789abcdef 7=fedcba9876543210 nonsense");
        let read: Vec<_> = all.iter().map(|one| (one.release, one.content.as_str())).collect();
        assert_eq!(read, [(5, "0123456789abcdef"), (7, "fedcba9876543210")]);
        assert!(REMEMBERED * "12345=0123456789abcdef ".len() <= 256);
    }
}
