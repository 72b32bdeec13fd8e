//! `ticketctl logs`: what the instances of a service write, from CloudWatch Logs.

use aws_sdk_cloudwatchlogs::types::FilteredLogEvent;
use clap::Args;
use jiff::Timestamp;
use std::{collections::HashMap, io::Write, time::Duration};

use super::{Failure, Global, Result, deploy, project::Project};
use crate::{
    aws::{Emulator, Error},
    resource::log_group,
    stack::units,
};

/// How late a line may come to be told all the same, in milliseconds.
const LATE: i64 = 120_000;

#[derive(Debug, Args)]
pub struct Arguments {
    /// Which service.
    service: String,

    /// Go on with what comes, until Ctrl-C.
    #[arg(short = 'F', long)]
    follow: bool,

    /// How far back, such as 30m or 2d.
    #[arg(long, value_name = "TIME", default_value = "15m")]
    since: units::Duration,

    /// Only this instance.
    #[arg(long, value_name = "ID")]
    instance: Option<String>,

    /// Only lines that match; in CloudWatch's filter syntax.
    #[arg(long, value_name = "PATTERN")]
    filter: Option<String>,

    /// What the boots wrote instead of the service.
    #[arg(long)]
    boot: bool,
}

pub async fn run(global: &Global, arguments: Arguments) -> Result<u8> {
    let project = Project::open(global).await?;
    let service = deploy::named(&project, Some(&arguments.service))?[0];
    let group = log_group::name(&project.cx.stack, service);
    let back = Duration::from_secs_f64(arguments.since.secs_f64());
    let begin = Timestamp::now().checked_sub(back).unwrap_or(Timestamp::UNIX_EPOCH).as_millisecond();
    let mut newest = begin;
    let mut seen = HashMap::new();
    loop {
        // The instances send every few seconds: what comes late has an earlier time than what was told before it.
        let since = begin.max(newest - LATE);
        seen.retain(|_, time| *time >= since);
        for event in events(&project, &arguments, &group, since).await? {
            let (Some(id), time) = (event.event_id(), event.timestamp().unwrap_or_default()) else { continue };
            if seen.insert(id.to_owned(), time).is_none() {
                newest = newest.max(time);
                print(&event)?;
            }
        }
        if !arguments.follow {
            if seen.is_empty() {
                tell_none(&project, &arguments);
            }
            return Ok(0);
        }
        tokio::time::sleep(Duration::from_secs(2)).await;
    }
}

async fn events(project: &Project, arguments: &Arguments, group: &str, since: i64) -> Result<Vec<FilteredLogEvent>> {
    let request = project.cx.logs.filter_log_events().log_group_name(group).start_time(since);
    let request = request.set_log_stream_name_prefix(arguments.instance.clone());
    let pages = request.set_filter_pattern(arguments.filter.clone()).into_paginator();
    let mut pages = pages.send();
    let mut events = Vec::new();
    while let Some(page) = pages.try_next().await.map_err(Error::from).map_err(|error| match error.is_not_found() {
        true => Failure::new(format!("there is no log group {group} yet")).hint("`ticketctl apply` makes it"),
        false => Failure::from(error),
    })? {
        events.extend(page.events.unwrap_or_default());
    }
    events.retain(|event| is_wanted(event.log_stream_name().unwrap_or_default(), &arguments.service, arguments.boot));
    events.sort_by_key(|event| event.timestamp());
    Ok(events)
}

/// Streams are called `<instance>/<service>` and `<instance>/user-data`. The CloudWatch agent writes the service's metrics
/// into the same group, under the service's name alone.
fn is_wanted(stream: &str, service: &str, boot: bool) -> bool {
    stream.split_once('/').is_some_and(|(_, what)| what == if boot { "user-data" } else { service })
}

fn print(event: &FilteredLogEvent) -> Result<()> {
    let time = event.timestamp().and_then(|time| Timestamp::from_millisecond(time).ok()).unwrap_or_default();
    let stream = event.log_stream_name().unwrap_or_default();
    let instance = stream.split('/').next().unwrap_or_default();
    let text = event.message().unwrap_or_default().trim_end();
    let mut out = anstream::stdout().lock();
    writeln!(out, "{} {instance} {text}", time.strftime("%H:%M:%S"))?;
    Ok(out.flush()?)
}

fn tell_none(project: &Project, arguments: &Arguments) {
    let since = arguments.since;
    let more = match &project.cx.emulator {
        Some(Emulator::Gateway { .. }) => "; on the local cloud `ticketctl local logs` shows what the instances wrote",
        _ => "; --since looks further back",
    };
    project.tell_warning(format_args!("{} wrote nothing in the last {since}{more}", arguments.service));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metrics_are_no_lines_of_the_service() {
        let streams = ["i-0123/web", "i-0123/user-data", "web"];
        assert_eq!(streams.map(|stream| is_wanted(stream, "web", false)), [true, false, false]);
        assert_eq!(streams.map(|stream| is_wanted(stream, "web", true)), [false, true, false]);
    }
}
