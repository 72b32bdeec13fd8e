//! `ticketctl events`: what AWS did to the stack by itself or on request: launches, terminations, failovers.

use aws_smithy_types::DateTime;
use clap::Args;
use futures::future::try_join_all;
use jiff::Timestamp;
use serde::Serialize;
use std::io::Write;

use super::{Global, Result, project::Project};
use crate::{
    aws::Error,
    resource::{AutoScalingGroup, DbCluster, DbInstance, Scan},
};

/// How far back RDS keeps its events, in minutes.
/// Source: <https://docs.aws.amazon.com/AmazonRDS/latest/APIReference/API_DescribeEvents.html>
const RDS_MEMORY: i32 = 14 * 24 * 60;

#[derive(Debug, Args)]
pub struct Arguments {
    /// How many.
    #[arg(short = 'n', long, default_value_t = 30)]
    count: usize,

    /// As JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Serialize)]
struct Happening {
    time: Timestamp,
    /// The group, cluster or instance.
    source: String,
    text: String,
}

pub async fn run(global: &Global, arguments: Arguments) -> Result<u8> {
    let project = Project::open(global).await?;
    let scan = Scan::new(&project.cx);
    let (scaling, database) = tokio::try_join!(scaling(&scan, arguments.count), database(&scan))?;
    let mut all: Vec<Happening> = scaling.into_iter().chain(database).collect();
    all.sort_by_key(|happening| std::cmp::Reverse(happening.time));
    all.truncate(arguments.count);
    let mut out = anstream::stdout().lock();
    if arguments.json {
        writeln!(out, "{}", serde_json::to_string_pretty(&all).expect("events are plain data"))?;
        return Ok(0);
    }
    let width = all.iter().map(|happening| happening.source.len()).max().unwrap_or_default();
    for Happening { time, source, text } in all {
        writeln!(out, "{}  {source:width$}  {text}", time.strftime("%Y-%m-%d %H:%M:%S"))?;
    }
    Ok(0)
}

async fn scaling(scan: &Scan<'_>, count: usize) -> crate::aws::Result<Vec<Happening>> {
    if scan.gap("auto_scaling_group").is_some() {
        return Ok(Vec::new());
    }
    let most = i32::try_from(count.clamp(1, 100)).unwrap_or(100);
    let groups = scan.of::<AutoScalingGroup>().await?;
    let listings = groups.iter().map(|group| async move {
        let call = scan.autoscaling.describe_scaling_activities().auto_scaling_group_name(&group.id);
        let answer = call.max_records(most).send().await?;
        let happening = |activity: &aws_sdk_autoscaling::types::Activity| {
            let code = activity.status_code().map(|code| code.as_str()).unwrap_or_default();
            let why = activity.status_message().map(|why| format!(": {why}")).unwrap_or_default();
            Some(Happening {
                time: timestamp(activity.start_time()?)?,
                source: group.id.clone(),
                text: format!("{} ({code}{why})", activity.description().unwrap_or_default()),
            })
        };
        Ok::<_, Error>(answer.activities().iter().filter_map(happening).collect::<Vec<_>>())
    });
    Ok(try_join_all(listings).await?.into_iter().flatten().collect())
}

/// RDS is asked for all that it has done: whose it is, its name tells.
async fn database(scan: &Scan<'_>) -> crate::aws::Result<Vec<Happening>> {
    if scan.gap("db_cluster").is_some() {
        return Ok(Vec::new());
    }
    let (clusters, instances) = tokio::try_join!(scan.of::<DbCluster>(), scan.of::<DbInstance>())?;
    let ours: Vec<String> =
        clusters.into_iter().map(|found| found.id).chain(instances.into_iter().map(|found| found.id)).collect();
    if ours.is_empty() {
        return Ok(Vec::new());
    }
    let pages = scan.rds.describe_events().duration(RDS_MEMORY).into_paginator().items().send();
    let events = match pages.try_collect().await.map_err(Error::from) {
        // An emulator may not have it.
        Err(error) if scan.endpoint_url.is_some() => {
            tracing::debug!("the endpoint tells no events of RDS: {error}");
            Vec::new()
        }
        events => events?,
    };
    let happening = |event: &aws_sdk_rds::types::Event| {
        let source = event.source_identifier()?.to_owned();
        let time = timestamp(event.date()?)?;
        ours.contains(&source).then(|| Happening { time, source, text: event.message().unwrap_or_default().to_owned() })
    };
    Ok(events.iter().filter_map(happening).collect())
}

fn timestamp(time: &DateTime) -> Option<Timestamp> {
    Timestamp::from_second(time.secs()).ok()
}
