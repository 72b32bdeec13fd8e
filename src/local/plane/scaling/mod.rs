//! What the Auto Scaling and CloudWatch services do by themselves on AWS: the plane measures its instances and load
//! balancers, puts the metrics into the control plane, sets the alarms on them, and changes the size of groups as their
//! policies say. An instance that is dead, or that its load balancer finds unhealthy after its time of grace, is replaced.
//!
//! `TICKETCTL_LOCAL_TIME_SCALE` makes the minutes of metrics, alarms, warm-ups and cooldowns shorter by its factor, so that a
//! demonstration or a test needn't wait. Alarms that nobody can measure here are left alone; notifications aren't sent.

mod alarm;
mod measure;
mod policy;
mod replace;
mod series;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use aws_sdk_autoscaling::types::ScalingPolicy;
use aws_sdk_cloudwatch::types::{Dimension, MetricAlarm, MetricDatum, StateValue};
use jiff::Timestamp;

use super::fleet::Fleet;
use super::world::{ScalingGroup, World};
use super::{Area, Entry, Error, Ground};
use measure::Before;
use policy::Size;
use replace::Replacements;
use series::{MetricKey, Point, Series, Statistic};

/// By what the minutes are shortened.
const TIME_SCALE: &str = "TICKETCTL_LOCAL_TIME_SCALE";

/// Data of one PutMetricData call at most.
/// Source: <https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_PutMetricData.html>
const DATA_PER_CALL: usize = 1000;

/// The area.
pub struct Scaling {
    fleet: Arc<Fleet>,
    scale: f64,
    series: Series,
    before: Before,
    last: Option<Instant>,
    replacements: Replacements,
    /// When a policy changed each group last.
    changed: HashMap<(String, String), Instant>,
}

impl Scaling {
    pub fn new(fleet: Arc<Fleet>) -> Self {
        let scale = std::env::var(TIME_SCALE).ok().and_then(|text| text.parse::<f64>().ok());
        Self {
            fleet,
            scale: scale.filter(|scale| scale.is_finite() && *scale >= 1.0).unwrap_or(1.0),
            series: Series::default(),
            before: Before::default(),
            last: None,
            replacements: Replacements::default(),
            changed: HashMap::new(),
        }
    }

    fn minute(&self) -> Duration {
        Duration::from_secs(60).div_f64(self.scale)
    }
}

#[async_trait]
impl Area for Scaling {
    fn name(&self) -> &'static str {
        "scaling"
    }

    async fn reconcile(&mut self, world: &World, ground: &Ground) -> Result<Vec<Entry>, Error> {
        let members = self.fleet.members().clone();
        let health: Vec<_> = {
            let balancers = self.fleet.balancers.lock().await;
            balancers.values().flat_map(|balancer| balancer.health().into_values().flatten()).collect()
        };
        self.replacements.step(world, &members, &health, ground).await?;
        replace::deregister(world, ground).await?;
        if self.last.is_some_and(|last| last.elapsed() < self.minute()) {
            return Ok(Vec::new());
        }
        self.last = Some(Instant::now());
        let mut minute = BTreeMap::new();
        measure::processors(world, &self.fleet.members(), &mut self.before, &mut minute);
        measure::requests(world, &*self.fleet.balancers.lock().await, &mut self.before, &mut minute);
        self.series.push(minute.clone());
        let mut regions: Vec<&str> = world.groups.iter().map(|group| group.region.as_str()).collect();
        regions.dedup();
        for region in regions {
            publish(region, &minute, ground).await?;
            let raised = self.set_alarms(region, ground).await?;
            for group in world.groups.iter().filter(|group| group.region == region) {
                self.scale(group, &raised, ground).await?;
            }
        }
        Ok(Vec::new())
    }
}

/// Puts a minute's values into the control plane.
async fn publish(region: &str, minute: &BTreeMap<MetricKey, Point>, ground: &Ground) -> Result<(), Error> {
    let cx = ground.aws(region).await;
    let mut data: BTreeMap<&str, Vec<MetricDatum>> = BTreeMap::new();
    for (key, point) in minute.iter().filter(|(key, _)| key.region == region) {
        let dimensions: Vec<Dimension> =
            key.dimensions.iter().map(|(name, value)| Dimension::builder().name(name).value(value).build()).collect();
        for value in &point.0 {
            let datum = MetricDatum::builder().metric_name(&key.name).set_dimensions(Some(dimensions.clone()));
            data.entry(&key.namespace).or_default().push(datum.value(*value).build());
        }
    }
    for (namespace, data) in data {
        for part in data.chunks(DATA_PER_CALL) {
            let call = cx.cloudwatch.put_metric_data().namespace(namespace).set_metric_data(Some(part.to_vec()));
            call.send().await.map_err(crate::aws::Error::from)?;
        }
    }
    Ok(())
}

impl Scaling {
    /// Sets the alarms on what is measured here, and gives back those in alarm.
    async fn set_alarms(&self, region: &str, ground: &Ground) -> Result<Vec<(MetricAlarm, MetricKey)>, Error> {
        let cx = ground.aws(region).await;
        let pages = cx.cloudwatch.describe_alarms().into_paginator().send();
        let pages: Vec<_> = pages.collect::<Result<_, _>>().await.map_err(crate::aws::Error::from)?;
        let mut raised = Vec::new();
        for alarm in pages.into_iter().flat_map(|page| page.metric_alarms.unwrap_or_default()) {
            let Some(key) = alarm::metric_of(region, &alarm) else { continue };
            let Some((state, reason)) = alarm::evaluate(&alarm, &key, &self.series, self.age(&alarm)) else { continue };
            if alarm.state_value() != Some(&state) {
                let call = cx.cloudwatch.set_alarm_state().alarm_name(alarm.alarm_name().unwrap_or_default());
                let set = call.state_value(state.clone()).state_reason(reason).send().await;
                set.map_err(crate::aws::Error::from)?;
            }
            if state == StateValue::Alarm && alarm.actions_enabled() == Some(true) {
                raised.push((alarm, key));
            }
        }
        Ok(raised)
    }

    /// For how many of the plane's minutes the alarm has been as it is.
    fn age(&self, alarm: &MetricAlarm) -> usize {
        let Some(changed) = alarm.alarm_configuration_updated_timestamp() else { return usize::MAX };
        let since = Timestamp::now().as_second().saturating_sub(changed.secs());
        let since = Duration::from_secs(u64::try_from(since).unwrap_or_default());
        usize::try_from(since.as_millis() / self.minute().as_millis().max(1)).unwrap_or(usize::MAX)
    }

    async fn scale(
        &mut self,
        group: &ScalingGroup,
        raised: &[(MetricAlarm, MetricKey)],
        ground: &Ground,
    ) -> Result<(), Error> {
        let name = group.group.auto_scaling_group_name().unwrap_or_default();
        let suspended =
            group.group.suspended_processes().iter().any(|process| process.process_name() == Some("AlarmNotification"));
        if suspended || group.group.status().is_some() {
            return Ok(());
        }
        let place = (group.region.clone(), name.to_owned());
        let count = |number: Option<i32>| number.and_then(|number| u32::try_from(number).ok()).unwrap_or_default();
        let warmup = group.group.default_instance_warmup().and_then(|seconds| u64::try_from(seconds).ok());
        let size = Size {
            desired: count(group.group.desired_capacity()),
            min: count(group.group.min_size()),
            max: count(group.group.max_size()),
            rested: self.changed.get(&place).map(|changed| changed.elapsed().mul_f64(self.scale)),
            warmup: Duration::from_secs(warmup.unwrap_or(300)),
        };
        let enabled = group.policies.iter().filter(|policy| policy.enabled() != Some(false));
        // When policies differ, the largest size counts.
        let wanted = enabled.filter_map(|policy| self.wish(&group.region, name, policy, raised, size)).max();
        let Some(wanted) = wanted.filter(|wanted| *wanted != size.desired) else { return Ok(()) };
        tracing::info!(group = name, from = size.desired, to = wanted, "a scaling policy changes a group");
        let cx = ground.aws(&group.region).await;
        let call = cx.autoscaling.set_desired_capacity().auto_scaling_group_name(name).honor_cooldown(false);
        let set = call.desired_capacity(i32::try_from(wanted).unwrap_or(i32::MAX)).send().await;
        set.map_err(crate::aws::Error::from)?;
        self.changed.insert(place, Instant::now());
        Ok(())
    }

    fn wish(
        &self,
        region: &str,
        group: &str,
        policy: &ScalingPolicy,
        raised: &[(MetricAlarm, MetricKey)],
        size: Size,
    ) -> Option<u32> {
        if policy.target_tracking_configuration().is_some() {
            let (key, statistic, target) = policy::tracked(region, group, policy)?;
            return policy::track(&self.series, &key, statistic, target, size);
        }
        let arn = policy.policy_arn()?;
        let (alarm, key) = raised.iter().find(|(alarm, _)| alarm.alarm_actions().iter().any(|action| action == arn))?;
        let statistic = Statistic::named(alarm.statistic()?.as_str())?;
        let value = self.series.windows(key, statistic, 1, 1).into_iter().flatten().next()?;
        policy::step(policy, value, alarm.threshold()?, size)
    }
}
