//! The record of a VPC's traffic, written to a log group.

use aws_sdk_ec2::types::{FlowLogsResourceType, LogDestinationType, ResourceType, TrafficType, UnsuccessfulItem};
use backon::{ConstantBuilder, Retryable};
use serde::{Deserialize, Serialize};
use std::time::Duration;

use super::{
    Change, Created, Desired, Effect, Found, Kind, LogGroup, Outputs, Ref, Scan, Select, Status, Traits, Vpc, ec2,
    log_group,
};
use crate::aws::{Context, Error, Result, Tags};

pub struct FlowLog;

/// What its log group is called among those of the stack's services.
pub const LOG_GROUP: &str = "flow-logs";

#[derive(Serialize, Deserialize)]
pub struct FlowLogSpec {
    pub vpc: Ref<Vpc>,
    /// `ALL`, `ACCEPT` or `REJECT`.
    pub traffic: String,
    /// Name of the log group.
    pub log_group: Ref<LogGroup>,
    /// ARN of the role with which the events are written.
    pub role: String,
    /// Over how many seconds traffic is added up: 60 or 600.
    pub interval: i32,
}

impl Kind for FlowLog {
    const NAME: &'static str = "flow_log";
    const TRAITS: Traits = Traits::INSTANT;
    type Spec = FlowLogSpec;

    /// AWS knows no call that changes one, but for its tags.
    fn effect(path: &str) -> Effect {
        if path.starts_with("tags") { Effect::InPlace } else { Effect::Replace }
    }

    /// The flow log is made after its log group and deleted before it, so a stack without that group has none; the groups
    /// are listed anyway. Most stacks for development have no flow log, and this saves them a call.
    async fn find(scan: &Scan<'_>, select: &Select<'_>) -> Result<Vec<Found<FlowLogSpec>>> {
        if matches!(select, Select::Stack) {
            let group = log_group::name(&scan.stack, LOG_GROUP);
            if scan.of::<LogGroup>().await?.iter().all(|found| found.id != group) {
                return Ok(Vec::new());
            }
        }
        let call = scan.ec2.describe_flow_logs().filter(ec2::filter(scan, select, "flow-log-id"));
        let mut pages = call.into_paginator().items().send();
        let mut found = Vec::new();
        while let Some(flow_log) = pages.try_next().await? {
            let tags = ec2::tags(flow_log.tags());
            if !ec2::selected(scan, select, &tags) {
                continue;
            }
            found.push(Found {
                logical_id: ec2::logical_id(&tags),
                id: flow_log.flow_log_id().unwrap_or_default().to_owned(),
                spec: FlowLogSpec {
                    vpc: Ref::known(flow_log.resource_id().unwrap_or_default()),
                    traffic: flow_log.traffic_type().map(TrafficType::as_str).unwrap_or_default().to_owned(),
                    log_group: Ref::known(flow_log.log_group_name().unwrap_or_default()),
                    role: flow_log.deliver_logs_permission_arn().unwrap_or_default().to_owned(),
                    interval: flow_log.max_aggregation_interval().unwrap_or_default(),
                },
                outputs: Outputs::new(),
                tags: Some(tags),
                status: Status::Ready,
            });
        }
        Ok(found)
    }

    async fn create(cx: &Context, desired: &Desired<FlowLogSpec>) -> Result<Created> {
        // IAM takes seconds to tell everybody of a new role.
        let pauses = ConstantBuilder::default().with_delay(Duration::from_secs(3)).with_max_times(20);
        let unknown_role = |error: &Error| error.message.contains("Unable to assume given IAM role");
        match (|| try_create(cx, desired)).retry(pauses).when(unknown_role).await {
            // There can't be two of one VPC into one group: an earlier call, whose answer was lost, made it.
            Err(error) if error.is(&["FlowLogAlreadyExists"]) => existing(cx, desired).await?.ok_or(error),
            result => result,
        }
    }

    async fn update(cx: &Context, change: &Change<FlowLogSpec>) -> Result<()> {
        ec2::update_tags(cx, change).await
    }

    async fn delete(cx: &Context, found: &Found<FlowLogSpec>) -> Result<()> {
        let answer = cx.ec2.delete_flow_logs().flow_log_ids(&found.id).send().await?;
        refusal("DeleteFlowLogs", answer.unsuccessful()).map_or(Ok(()), Err)
    }
}

/// Without a client token: AWS would answer with a flow log that was deleted in the meantime, and refuses a second one
/// anyway.
async fn try_create(cx: &Context, desired: &Desired<FlowLogSpec>) -> Result<Created> {
    let spec = &desired.spec;
    let answer = cx
        .ec2
        .create_flow_logs()
        .resource_type(FlowLogsResourceType::Vpc)
        .resource_ids(&*spec.vpc)
        .traffic_type(TrafficType::from(spec.traffic.as_str()))
        .log_destination_type(LogDestinationType::CloudWatchLogs)
        .log_group_name(&*spec.log_group)
        .deliver_logs_permission_arn(&spec.role)
        .max_aggregation_interval(spec.interval)
        .tag_specifications(ec2::tag_specification(ResourceType::VpcFlowLog, desired))
        .send()
        .await?;
    match answer.flow_log_ids().first() {
        Some(id) => Ok(Created::new(id)),
        None => Err(refusal("CreateFlowLogs", answer.unsuccessful())
            .unwrap_or_else(|| Error::unexpected("ec2", "CreateFlowLogs", "no id"))),
    }
}

/// The flow log of this name that is there already.
async fn existing(cx: &Context, desired: &Desired<FlowLogSpec>) -> Result<Option<Created>> {
    let answer = cx.ec2.describe_flow_logs().filter(ec2::filter(cx, &Select::Stack, "")).send().await?;
    let ours = |tags: &Tags| ec2::selected(cx, &Select::Stack, tags) && ec2::logical_id(tags) == desired.logical_id;
    let found = answer.flow_logs().iter().find(|flow_log| {
        flow_log.resource_id() == Some(&*desired.spec.vpc) && ours(&ec2::tags(flow_log.tags()))
    });
    Ok(found.and_then(|flow_log| flow_log.flow_log_id()).map(Created::new))
}

/// A failure that came inside an answer that says success.
fn refusal(operation: &str, unsuccessful: &[UnsuccessfulItem]) -> Option<Error> {
    let error = unsuccessful.first()?.error()?;
    Some(Error {
        code: error.code().unwrap_or_default().to_owned(),
        status: Some(400),
        ..Error::unexpected("ec2", operation, error.message().unwrap_or("no reason given"))
    })
}
