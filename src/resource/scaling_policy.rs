//! A rule by which a group grows and shrinks.

use aws_sdk_autoscaling::{
    operation::put_scaling_policy::builders::PutScalingPolicyFluentBuilder,
    types::{
        MetricType, PredefinedMetricSpecification, ScalingPolicy as Answer, StepAdjustment, TargetTrackingConfiguration,
    },
};
use futures::future::try_join_all;
use serde::{Deserialize, Serialize};

use super::{AutoScalingGroup, Change, Created, Desired, Effect, Found, Handle, Kind, Outputs, Ref, Scan, Select, Status, Traits};
use crate::aws::{Context, Error, Result};

pub struct ScalingPolicy;

/// Its name in the group is its logical id.
#[derive(Debug, Serialize, Deserialize)]
pub struct ScalingPolicySpec {
    pub group: Ref<AutoScalingGroup>,
    pub rule: Rule,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Rule {
    /// Keeps a metric near a value; AWS makes the alarms itself.
    Track {
        /// `ASGAverageCPUUtilization` (percent) or `ALBRequestCountPerTarget` (requests per minute).
        metric: String,
        /// For requests: whose, as `app/<name>/<id>/targetgroup/<name>/<id>`.
        target: Option<String>,
        value: f64,
    },
    /// Adds instances whenever its alarm goes off, without a pause: new ones count once they are warm.
    Step { add: i32 },
    /// Takes instances away when its alarm goes off, then pauses.
    Shrink {
        remove: i32,
        /// In seconds.
        cooldown: i32,
    },
}

impl Handle<ScalingPolicy> {
    /// What an alarm calls.
    pub fn arn(&self) -> String {
        self.id().to_string()
    }
}

impl Kind for ScalingPolicy {
    const NAME: &'static str = "scaling_policy";
    const TRAITS: Traits = Traits::INSTANT;
    type Spec = ScalingPolicySpec;

    fn effect(path: &str) -> Effect {
        if path == "group" { Effect::Replace } else { Effect::InPlace }
    }

    async fn find(scan: &Scan<'_>, select: &Select<'_>) -> Result<Vec<Found<ScalingPolicySpec>>> {
        let mut found = match select {
            Select::Stack => {
                let groups = scan.of::<AutoScalingGroup>().await?;
                let policies = try_join_all(groups.iter().map(|group| of_group(scan, &group.id))).await?;
                policies.into_iter().flatten().collect()
            }
            Select::One(arn) => of_group(scan, group_of(arn)).await?,
        };
        if let Select::One(arn) = select {
            found.retain(|policy| policy.id == *arn);
        }
        Ok(found)
    }

    async fn create(cx: &Context, desired: &Desired<ScalingPolicySpec>) -> Result<Created> {
        let answer = put(cx, &desired.logical_id, &desired.spec).send().await?;
        let arn = answer.policy_arn().ok_or_else(|| Error::unexpected("autoscaling", "PutScalingPolicy", "no ARN"))?;
        Ok(Created::new(arn))
    }

    async fn update(cx: &Context, change: &Change<ScalingPolicySpec>) -> Result<()> {
        put(cx, &change.desired.logical_id, &change.desired.spec).send().await?;
        Ok(())
    }

    async fn delete(cx: &Context, found: &Found<ScalingPolicySpec>) -> Result<()> {
        let call = cx.autoscaling.delete_policy().auto_scaling_group_name(&*found.spec.group);
        call.policy_name(&found.logical_id).send().await?;
        Ok(())
    }
}

/// `…:autoScalingGroupName/<group>:policyName/<name>` → `<group>`.
/// Source: <https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazonec2autoscaling.html>
fn group_of(arn: &str) -> &str {
    let group = arn.split_once(":autoScalingGroupName/").and_then(|(_, rest)| rest.split_once(":policyName/"));
    group.map_or("", |(group, _)| group)
}

/// A put replaces what has the same name in the same group.
fn put(cx: &Context, name: &str, spec: &ScalingPolicySpec) -> PutScalingPolicyFluentBuilder {
    let call = cx.autoscaling.put_scaling_policy().auto_scaling_group_name(&*spec.group).policy_name(name);
    match &spec.rule {
        Rule::Track { metric, target, value } => {
            let metric = PredefinedMetricSpecification::builder()
                .predefined_metric_type(MetricType::from(metric.as_str()))
                .set_resource_label(target.clone())
                .build();
            let tracking = TargetTrackingConfiguration::builder()
                .predefined_metric_specification(metric)
                .target_value(*value)
                .disable_scale_in(false)
                .build();
            call.policy_type("TargetTrackingScaling").target_tracking_configuration(tracking)
        }
        Rule::Step { add } => call
            .policy_type("StepScaling")
            .adjustment_type("ChangeInCapacity")
            .metric_aggregation_type("Average")
            // From the alarm's threshold upwards.
            .step_adjustments(
                StepAdjustment::builder().metric_interval_lower_bound(0.0).scaling_adjustment(*add).build(),
            ),
        // Step scaling knows no cooldown, simple scaling does.
        Rule::Shrink { remove, cooldown } => call
            .policy_type("SimpleScaling")
            .adjustment_type("ChangeInCapacity")
            .scaling_adjustment(-remove)
            .cooldown(*cooldown),
    }
}

async fn of_group(cx: &Context, group: &str) -> Result<Vec<Found<ScalingPolicySpec>>> {
    let pages = cx.autoscaling.describe_policies().auto_scaling_group_name(group).into_paginator();
    let policies: std::result::Result<Vec<_>, _> = pages.items().send().collect().await;
    match policies.map_err(Error::from) {
        Ok(policies) => Ok(policies.iter().map(found).collect()),
        // The group was deleted between the two calls.
        Err(error) if error.is_not_found() => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

fn found(policy: &Answer) -> Found<ScalingPolicySpec> {
    let arn = policy.policy_arn().unwrap_or_default();
    Found {
        logical_id: policy.policy_name().unwrap_or_default().to_owned(),
        id: arn.to_owned(),
        spec: ScalingPolicySpec {
            group: Ref::known(policy.auto_scaling_group_name().unwrap_or_default()),
            rule: rule(policy),
        },
        outputs: Outputs::new(),
        tags: None,
        status: Status::Ready,
    }
}

fn rule(policy: &Answer) -> Rule {
    match (policy.target_tracking_configuration(), policy.policy_type()) {
        (Some(tracking), _) => {
            let metric = tracking.predefined_metric_specification();
            Rule::Track {
                metric: metric
                    .and_then(|metric| metric.predefined_metric_type())
                    .map(|metric| metric.as_str().to_owned())
                    .unwrap_or_default(),
                target: metric.and_then(|metric| metric.resource_label()).map(str::to_owned),
                value: tracking.target_value().unwrap_or_default(),
            }
        }
        (None, Some("StepScaling")) => {
            let steps = policy.step_adjustments();
            Rule::Step { add: steps.first().and_then(|step| step.scaling_adjustment()).unwrap_or_default() }
        }
        (None, _) => Rule::Shrink {
            remove: -policy.scaling_adjustment().unwrap_or_default(),
            cooldown: policy.cooldown().unwrap_or_default(),
        },
    }
}
