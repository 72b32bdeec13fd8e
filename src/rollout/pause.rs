//! A stack that rests: no instances, a stopped database. How many instances there were stays in the groups' tags.

use aws_sdk_autoscaling::types::Tag;
use std::time::Duration;

use super::fleet::Fleet;
use crate::aws::{Context, Error, Result, tags};

/// How long Aurora may take to start.
const START: Duration = Duration::from_secs(30 * 60);

/// How many instances a paused group had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size {
    pub min: i32,
    pub desired: i32,
}

impl Size {
    /// The size that a group's tags remember; none if it isn't paused.
    pub fn of(fleet: &Fleet) -> Option<Size> {
        Size::parse(fleet.tags.get(tags::PAUSED)?)
    }

    fn parse(text: &str) -> Option<Size> {
        let (desired, min) = text.strip_prefix("size ")?.split_once(" at least ")?;
        Some(Size { min: min.parse().ok()?, desired: desired.parse().ok()? })
    }
}

impl std::fmt::Display for Size {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "size {} at least {}", self.desired, self.min)
    }
}

fn tag(group: &str) -> aws_sdk_autoscaling::types::builders::TagBuilder {
    Tag::builder().resource_id(group).resource_type("auto-scaling-group").key(tags::PAUSED)
}

/// Takes all instances of a group away. The note comes first: a run that dies in between loses nothing.
///
/// # Errors
/// Calls that failed. Called again, it goes on.
pub async fn pause(cx: &Context, fleet: &Fleet) -> Result<Size> {
    let size = Size::of(fleet).unwrap_or(Size { min: fleet.min, desired: fleet.desired });
    let note = tag(&fleet.group).value(size.to_string()).propagate_at_launch(false).build();
    cx.autoscaling.create_or_update_tags().tags(note).send().await?;
    let call = cx.autoscaling.update_auto_scaling_group().auto_scaling_group_name(&fleet.group);
    call.min_size(0).desired_capacity(0).send().await?;
    Ok(size)
}

/// Gives a group its instances back; none if it isn't paused.
///
/// # Errors
/// Calls that failed. Called again, it goes on.
pub async fn resume(cx: &Context, fleet: &Fleet) -> Result<Option<Size>> {
    let Some(size) = Size::of(fleet) else { return Ok(None) };
    let call = cx.autoscaling.update_auto_scaling_group().auto_scaling_group_name(&fleet.group);
    call.min_size(size.min).desired_capacity(size.desired).send().await?;
    cx.autoscaling.delete_tags().tags(tag(&fleet.group).build()).send().await?;
    Ok(Some(size))
}

/// Stops a cluster unless it is stopped or on its way; false if there was nothing to do.
///
/// # Errors
/// Calls that failed.
pub async fn stop_database(cx: &Context, cluster: &str) -> Result<bool> {
    if ["stopped", "stopping"].contains(&&*state(cx, cluster).await?) {
        return Ok(false);
    }
    cx.rds.stop_db_cluster().db_cluster_identifier(cluster).send().await?;
    Ok(true)
}

/// Starts a cluster if it is stopped, and waits until it is available; `told` hears of each change of its state.
///
/// # Errors
/// Calls that failed, and a cluster that doesn't start.
pub async fn start_database(cx: &Context, cluster: &str, mut told: impl FnMut(&str)) -> Result<()> {
    let begun = std::time::Instant::now();
    let mut last = String::new();
    let mut asked = false;
    loop {
        let state = state(cx, cluster).await?;
        if state != last {
            told(&state);
            last.clone_from(&state);
        }
        match state.as_str() {
            "available" => return Ok(()),
            "stopped" if !asked => {
                cx.rds.start_db_cluster().db_cluster_identifier(cluster).send().await?;
                asked = true;
            }
            _ if begun.elapsed() > START => {
                let message = format!("{cluster} is {state} after {} minutes", START.as_secs() / 60);
                return Err(Error::unexpected("rds", "StartDBCluster", message));
            }
            _ => tokio::time::sleep(Duration::from_secs(if cx.endpoint_url.is_some() { 1 } else { 10 })).await,
        }
    }
}

async fn state(cx: &Context, cluster: &str) -> Result<String> {
    let answer = cx.rds.describe_db_clusters().db_cluster_identifier(cluster).send().await?;
    Ok(answer.db_clusters().first().and_then(|cluster| cluster.status()).unwrap_or_default().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_size_is_read_as_it_is_written() {
        let size = Size { min: 2, desired: 5 };
        assert_eq!(Size::parse(&size.to_string()), Some(size));
        assert_eq!(Size::parse("5"), None);
    }
}
