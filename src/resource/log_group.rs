//! A CloudWatch log group and how long it keeps its events.

use aws_sdk_cloudwatchlogs::types::LogGroup as Listed;
use serde::{Deserialize, Serialize};

use super::{Change, Created, Desired, Found, Kind, Outputs, Scan, Select, Status, Traits};
use crate::aws::{Class, Context, Error, Result, Tags};

pub struct LogGroup;

/// The name is `/ticketctl/<stack>/<service>`; the logical id is `log-group-<service>`.
#[derive(Serialize, Deserialize)]
pub struct LogGroupSpec {
    /// In days, one of the numbers that CloudWatch Logs knows; 0 for ever.
    pub retention: i32,
}

const ID_PREFIX: &str = "log-group-";

/// The output with the group's ARN.
const ARN: &str = "arn";

/// What the names of the groups begin with that RDS makes for what clusters log.
/// Source: <https://docs.aws.amazon.com/AmazonRDS/latest/AuroraUserGuide/AuroraMySQL.Integrating.CloudWatch.html>
pub const OF_CLUSTERS: &str = "/aws/rds/cluster/";

/// The name of the log group of one of a stack's services.
pub fn name(stack: &str, service: &str) -> String {
    format!("/ticketctl/{stack}/{service}")
}

/// The service whose log group has this logical id.
pub fn service(logical_id: &str) -> &str {
    logical_id.strip_prefix(ID_PREFIX).unwrap_or(logical_id)
}

impl Kind for LogGroup {
    const NAME: &'static str = "log_group";
    const TRAITS: Traits = Traits::INSTANT;
    type Spec = LogGroupSpec;

    async fn find(scan: &Scan<'_>, select: &Select<'_>) -> Result<Vec<Found<LogGroupSpec>>> {
        let ours = name(&scan.stack, "");
        let prefix = match select {
            Select::Stack => &ours,
            Select::One(name) => *name,
        };
        let mut groups = scan.logs.describe_log_groups().log_group_name_prefix(prefix).into_paginator().items().send();
        let mut found = Vec::new();
        while let Some(group) = groups.try_next().await? {
            let Some(service) = group.log_group_name().and_then(|name| name.strip_prefix(&ours)) else { continue };
            if matches!(select, Select::One(name) if group.log_group_name() != Some(*name)) {
                continue;
            }
            found.push(describe(&group, service));
        }
        Ok(found)
    }

    async fn tags(cx: &Context, _name: &str, outputs: &Outputs) -> Result<Option<Tags>> {
        let answer = cx.logs.list_tags_for_resource().resource_arn(&outputs[ARN]).send().await?;
        Ok(Some(answer.tags.unwrap_or_default().into_iter().collect()))
    }

    async fn create(cx: &Context, desired: &Desired<LogGroupSpec>) -> Result<Created> {
        let name = name(&cx.stack, service(&desired.logical_id));
        let tags = desired.tags.clone().into_iter().collect();
        let answer = cx.logs.create_log_group().log_group_name(&name).set_tags(Some(tags)).send().await;
        match answer.map_err(Error::from) {
            // The name is the stack's own: an earlier call made it.
            Err(error) if error.class() == Class::Exists => {}
            answer => {
                answer?;
            }
        }
        set_retention(cx, &name, desired.spec.retention).await?;
        Ok(Created::new(name))
    }

    async fn update(cx: &Context, change: &Change<LogGroupSpec>) -> Result<()> {
        if change.touches(&["retention"]) {
            set_retention(cx, &change.found.id, change.desired.spec.retention).await?;
        }
        if let Some(tags) = change.tags() {
            let tags = tags.clone().into_iter().collect();
            cx.logs.tag_resource().resource_arn(change.found.output(ARN)).set_tags(Some(tags)).send().await?;
        }
        Ok(())
    }

    async fn delete(cx: &Context, found: &Found<LogGroupSpec>) -> Result<()> {
        cx.logs.delete_log_group().log_group_name(&found.id).send().await?;
        Ok(())
    }
}

fn describe(group: &Listed, service: &str) -> Found<LogGroupSpec> {
    // The one without `:*` at its end is what tags hang on; emulators tell only the one with it.
    let arn = group.log_group_arn().or(group.arn()).unwrap_or_default().trim_end_matches(":*");
    Found {
        logical_id: format!("{ID_PREFIX}{service}"),
        id: group.log_group_name().unwrap_or_default().to_owned(),
        spec: LogGroupSpec { retention: group.retention_in_days().unwrap_or_default() },
        outputs: Outputs::from([(ARN.to_owned(), arn.to_owned())]),
        tags: None,
        status: Status::Ready,
    }
}

async fn set_retention(cx: &Context, name: &str, days: i32) -> Result<()> {
    if days == 0 {
        cx.logs.delete_retention_policy().log_group_name(name).send().await?;
    } else {
        cx.logs.put_retention_policy().log_group_name(name).retention_in_days(days).send().await?;
    }
    Ok(())
}
