//! Releases: release 5 of a service *is* version 5 of its launch template. What it runs (hash, image, machine), when it was
//! made and by whom, AWS itself keeps, and nobody can change it; the template's default version is the current release,
//! and each version's description names the one before it. So there is nothing beside AWS that could say otherwise.

use aws_sdk_ec2::types::{LaunchTemplateVersion, Tag};
use jiff::Timestamp;
use serde::Serialize;

use crate::{
    aws::{Context, Error, Result, tags},
    resource::launch_template::{self, RolledBack},
};

/// One release of a service.
#[derive(Clone, Debug, Serialize)]
pub struct Release {
    pub number: u64,
    /// The program's SHA-256 or the image's digest; empty for none.
    pub program: String,
    /// The machine image.
    pub ami: String,
    pub instance_type: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub made: Option<Timestamp>,
    /// Who made it: an ARN.
    pub by: String,
    /// The release that was current before it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub previous: Option<u64>,
    pub current: bool,
    /// It was given up; only `deploy` brings it back.
    pub rolled_back: bool,
}

/// All releases of a launch template, newest first.
///
/// # Errors
/// Calls that failed.
pub async fn list(cx: &Context, template: &str) -> Result<Vec<Release>> {
    let pages = cx.ec2.describe_launch_template_versions().launch_template_id(template).into_paginator();
    let (versions, rolled_back) = tokio::try_join!(
        async { Ok(pages.items().send().try_collect().await?) },
        launch_template::rolled_back(cx, template)
    )?;
    let mut releases: Vec<Release> = versions.iter().map(|version| release(version, &rolled_back)).collect();
    releases.sort_by_key(|release| std::cmp::Reverse(release.number));
    Ok(releases)
}

fn release(version: &LaunchTemplateVersion, rolled_back: &[RolledBack]) -> Release {
    let number = version.version_number().unwrap_or_default().unsigned_abs();
    let data = version.launch_template_data();
    let instance_tags =
        data.map(|data| data.tag_specifications()).unwrap_or_default().iter().flat_map(|one| one.tags());
    let program = instance_tags.into_iter().find(|tag: &&Tag| tag.key() == Some(tags::PROGRAM));
    let text = |text: Option<&str>| text.unwrap_or_default().to_owned();
    Release {
        number,
        program: text(program.and_then(Tag::value)),
        ami: text(data.and_then(|data| data.image_id())),
        instance_type: text(data.and_then(|data| data.instance_type()).map(|kind| kind.as_str())),
        made: version.create_time().and_then(|time| Timestamp::from_second(time.secs()).ok()),
        by: text(version.created_by()),
        previous: launch_template::previous(version.version_description().unwrap_or_default()),
        current: version.default_version().unwrap_or_default(),
        rolled_back: rolled_back.iter().any(|one| one.release == number),
    }
}

/// Makes `to` the current release in place of `from`, which is remembered as given up. New instances get `to` from here
/// on; those that run `from` are for the rollout to replace.
///
/// # Errors
/// Calls that failed. Called again, it goes on.
pub async fn go_back(cx: &Context, group: &str, template: &str, from: u64, to: u64) -> Result<()> {
    launch_template::give_up(cx, template, from).await?;
    launch_template::redeem(cx, template, to).await?;
    make_current(cx, group, template, to).await
}

/// The current release.
///
/// # Errors
/// Calls that failed.
pub async fn current(cx: &Context, template: &str) -> Result<u64> {
    let version = launch_template::version(cx, template, launch_template::CURRENT).await?;
    let number = version.and_then(|version| version.version_number());
    let number =
        number.ok_or_else(|| Error::unexpected("ec2", "DescribeLaunchTemplateVersions", "no default version"))?;
    Ok(number.unsigned_abs())
}

/// The release before a release; none before the first.
///
/// # Errors
/// Calls that failed.
pub async fn previous(cx: &Context, template: &str, release: u64) -> Result<Option<u64>> {
    let version = launch_template::version(cx, template, &release.to_string()).await?;
    Ok(version.and_then(|version| launch_template::previous(version.version_description().unwrap_or_default())))
}

/// Forgets that what this release is was once given up: it has proven itself.
///
/// # Errors
/// Calls that failed.
pub async fn redeem(cx: &Context, template: &str, release: u64) -> Result<()> {
    launch_template::redeem(cx, template, release).await
}

/// Makes a release the one that new instances get.
///
/// # Errors
/// Calls that failed.
pub async fn make_current(cx: &Context, group: &str, template: &str, release: u64) -> Result<()> {
    let version = release.to_string();
    cx.ec2.modify_launch_template().launch_template_id(template).default_version(&version).send().await?;
    let template = aws_sdk_autoscaling::types::LaunchTemplateSpecification::builder()
        .launch_template_id(template)
        .version(version)
        .build();
    let update = cx.autoscaling.update_auto_scaling_group().auto_scaling_group_name(group).launch_template(template);
    update.send().await.map_err(Error::from)?;
    Ok(())
}
