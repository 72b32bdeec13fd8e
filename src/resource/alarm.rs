//! A CloudWatch alarm on one metric.

use aws_sdk_cloudwatch::types::{ComparisonOperator, Dimension, MetricAlarm, Statistic};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

use super::{Change, Created, Desired, Effect, Found, Handle, Kind, Outputs, Scan, Select, Status, Traits, cloudwatch};
use crate::aws::{Context, Emulator, Result, Tags};

pub struct Alarm;

/// The name is `<stack>/<logical id>`, so that one prefix finds the alarms of one stack and of no other.
#[derive(Serialize, Deserialize)]
pub struct AlarmSpec {
    /// What people read when it goes off: up to 1024 characters.
    pub description: String,
    pub metric: Metric,
    /// Periods in a row that must be past the threshold.
    pub evaluation_periods: i32,
    /// An AWS `ComparisonOperator`, such as `GreaterThanThreshold`.
    pub comparison: String,
    /// In the metric's unit.
    pub threshold: f64,
    /// What a period without data counts as: `breaching`, `notBreaching`, `ignore` or `missing`.
    pub missing_data: String,
    /// False for an alarm that somebody has muted.
    pub actions_enabled: bool,
    /// ARNs of topics and scaling policies that hear of the change to ALARM.
    pub alarm_actions: BTreeSet<String>,
    /// ARNs of topics that hear of the change back to OK.
    pub ok_actions: BTreeSet<String>,
}

#[derive(Serialize, Deserialize)]
pub struct Metric {
    pub namespace: String,
    pub name: String,
    /// All of the metric's dimensions: CloudWatch finds no data when one is missing or wrong.
    pub dimensions: BTreeMap<String, String>,
    /// An AWS `Statistic`, such as `Average`.
    pub statistic: String,
    /// In seconds: 10, 20, 30 or a multiple of 60.
    pub period: i32,
}

impl Handle<Alarm> {
    pub fn arn(&self) -> String {
        self.created_output("arn")
    }
}

impl Kind for Alarm {
    const NAME: &'static str = "alarm";
    const TRAITS: Traits = Traits::INSTANT;
    type Spec = AlarmSpec;

    /// One call sets everything anew.
    fn effect(_path: &str) -> Effect {
        Effect::InPlace
    }

    async fn find(scan: &Scan<'_>, select: &Select<'_>) -> Result<Vec<Found<AlarmSpec>>> {
        let prefix = format!("{}/", scan.stack);
        let request = scan.cloudwatch.describe_alarms().max_records(100);
        let pages = match select {
            Select::Stack => request.alarm_name_prefix(&prefix),
            Select::One(name) => request.alarm_names(*name),
        };
        let mut pages = pages.into_paginator().send();
        let mut found = Vec::new();
        while let Some(page) = pages.try_next().await? {
            for alarm in page.metric_alarms() {
                let name = alarm.alarm_name().unwrap_or_default();
                let Some(logical_id) = name.strip_prefix(&prefix) else { continue };
                found.push(Found {
                    logical_id: logical_id.to_owned(),
                    id: name.to_owned(),
                    spec: spec(alarm),
                    outputs: Outputs::from([("arn".into(), alarm.alarm_arn().unwrap_or_default().to_owned())]),
                    tags: None,
                    status: Status::Ready,
                });
            }
        }
        Ok(found)
    }

    async fn tags(cx: &Context, _name: &str, outputs: &Outputs) -> Result<Option<Tags>> {
        cloudwatch::tags(cx, &outputs["arn"]).await.map(Some)
    }

    async fn create(cx: &Context, desired: &Desired<AlarmSpec>) -> Result<Created> {
        let name = format!("{}/{}", cx.stack, desired.logical_id);
        put(cx, &name, desired).await?;
        let arn = cx.arn("cloudwatch", &format!("alarm:{name}")).await?;
        Ok(Created::new(name).with("arn", arn))
    }

    async fn update(cx: &Context, change: &Change<AlarmSpec>) -> Result<()> {
        if change.touches_more_than_tags() {
            put(cx, &change.found.id, &change.desired).await?;
        }
        match change.tags() {
            Some(tags) => cloudwatch::set_tags(cx, change.found.output("arn"), tags).await,
            None => Ok(()),
        }
    }

    async fn delete(cx: &Context, found: &Found<AlarmSpec>) -> Result<()> {
        cx.cloudwatch.delete_alarms().alarm_names(&found.id).send().await?;
        Ok(())
    }
}

fn spec(alarm: &MetricAlarm) -> AlarmSpec {
    let dimensions = alarm.dimensions().iter().map(|dimension| {
        (dimension.name().unwrap_or_default().to_owned(), dimension.value().unwrap_or_default().to_owned())
    });
    AlarmSpec {
        description: alarm.alarm_description().unwrap_or_default().to_owned(),
        metric: Metric {
            namespace: alarm.namespace().unwrap_or_default().to_owned(),
            name: alarm.metric_name().unwrap_or_default().to_owned(),
            dimensions: dimensions.collect(),
            statistic: alarm.statistic().map(Statistic::as_str).unwrap_or_default().to_owned(),
            period: alarm.period().unwrap_or_default(),
        },
        evaluation_periods: alarm.evaluation_periods().unwrap_or_default(),
        comparison: alarm.comparison_operator().map(ComparisonOperator::as_str).unwrap_or_default().to_owned(),
        threshold: alarm.threshold().unwrap_or_default(),
        // What AWS does when the alarm doesn't say.
        missing_data: alarm.treat_missing_data().unwrap_or("missing").to_owned(),
        actions_enabled: alarm.actions_enabled().unwrap_or_default(),
        alarm_actions: alarm.alarm_actions().iter().cloned().collect(),
        ok_actions: alarm.ok_actions().iter().cloned().collect(),
    }
}

/// Makes the alarm, or sets all its attributes anew. On an alarm that exists, AWS ignores the tags.
///
/// LocalStack can't print an alarm that got its tags here: there they come in a call of their own.
async fn put(cx: &Context, name: &str, desired: &Desired<AlarmSpec>) -> Result<()> {
    let spec = &desired.spec;
    let dimensions =
        spec.metric.dimensions.iter().map(|(name, value)| Dimension::builder().name(name).value(value).build());
    let apart = matches!(cx.emulator, Some(Emulator::LocalStack { .. }));
    cx.cloudwatch
        .put_metric_alarm()
        .alarm_name(name)
        .alarm_description(&spec.description)
        .namespace(&spec.metric.namespace)
        .metric_name(&spec.metric.name)
        .set_dimensions(Some(dimensions.collect()))
        .statistic(spec.metric.statistic.as_str().into())
        .period(spec.metric.period)
        .evaluation_periods(spec.evaluation_periods)
        .comparison_operator(spec.comparison.as_str().into())
        .threshold(spec.threshold)
        .treat_missing_data(&spec.missing_data)
        .actions_enabled(spec.actions_enabled)
        .set_alarm_actions(Some(spec.alarm_actions.iter().cloned().collect()))
        .set_ok_actions(Some(spec.ok_actions.iter().cloned().collect()))
        .set_tags((!apart).then(|| cloudwatch::list(&desired.tags)))
        .send()
        .await?;
    if apart {
        let arn = cx.arn("cloudwatch", &format!("alarm:{name}")).await?;
        cloudwatch::set_tags(cx, &arn, &desired.tags).await?;
    }
    Ok(())
}
