//! How large a group should be, as its policies say.
//!
//! Sources: <https://docs.aws.amazon.com/autoscaling/ec2/userguide/as-scaling-target-tracking.html>,
//! <https://docs.aws.amazon.com/autoscaling/ec2/userguide/as-scaling-simple-step.html>

use std::time::Duration;

use aws_sdk_autoscaling::types::{MetricType, ScalingPolicy};

use super::series::{MetricKey, Series, Statistic};

/// A metric above its target for so many minutes makes the group grow, one far below for so many makes it shrink: the
/// alarms that AWS makes for a target have these numbers.
const GROW_AFTER: usize = 3;
const SHRINK_AFTER: usize = 15;

/// Below this part of the target a group shrinks, so that it doesn't swing.
const FAR_BELOW: f64 = 0.9;

/// A group as it is now.
#[derive(Clone, Copy, Debug)]
pub struct Size {
    pub desired: u32,
    pub min: u32,
    pub max: u32,
    /// How long ago it was last changed by a policy, in the group's own time.
    pub rested: Option<Duration>,
    /// How long a new instance takes until it counts.
    pub warmup: Duration,
}

impl Size {
    fn clamp(&self, wanted: u32) -> u32 {
        wanted.clamp(self.min, self.max)
    }

    fn has_rested(&self, pause: Duration) -> bool {
        self.rested.is_none_or(|rested| rested >= pause)
    }
}

/// The metric that a target tracking policy watches; `load_balancer` and target group are in its label.
pub fn tracked(region: &str, group: &str, policy: &ScalingPolicy) -> Option<(MetricKey, Statistic, f64)> {
    let tracking = policy.target_tracking_configuration()?;
    let metric = tracking.predefined_metric_specification()?;
    match metric.predefined_metric_type()? {
        MetricType::AsgAverageCpuUtilization => {
            let key = MetricKey::new(region, "AWS/EC2", "CPUUtilization", &[("AutoScalingGroupName", group)]);
            Some((key, Statistic::Average, tracking.target_value()?))
        }
        MetricType::AlbRequestCountPerTarget => {
            // `app/<name>/<id>/targetgroup/<name>/<id>`
            let label = metric.resource_label()?;
            let targets = &label[label.find("targetgroup/")?..];
            let key =
                MetricKey::new(region, "AWS/ApplicationELB", "RequestCountPerTarget", &[("TargetGroup", targets)]);
            Some((key, Statistic::Sum, tracking.target_value()?))
        }
        _ => None,
    }
}

/// The size that a tracked metric asks for; none when it says nothing.
pub fn track(series: &Series, key: &MetricKey, statistic: Statistic, target: f64, size: Size) -> Option<u32> {
    let windows = series.windows(key, statistic, 1, SHRINK_AFTER);
    let needed = |value: f64| {
        let instances = (f64::from(size.desired) * value / target).ceil();
        // Nobody's group has more instances than fit.
        if instances.is_finite() { instances.clamp(0.0, 10_000.0) as u32 } else { size.desired }
    };
    let latest = windows.iter().flatten().next().copied()?;
    let last = |count: usize| windows.iter().take(count);
    if last(GROW_AFTER).all(|value| value.is_some_and(|value| value > target)) {
        // What was added lately doesn't show in the metric yet.
        return size.has_rested(size.warmup).then(|| size.clamp(needed(latest).max(size.desired)));
    }
    let far_below = |value: &Option<f64>| value.is_some_and(|value| value < target * FAR_BELOW);
    if last(SHRINK_AFTER).all(far_below) && size.has_rested(size.warmup) {
        let highest = windows.iter().flatten().copied().fold(latest, f64::max);
        return Some(size.clamp(needed(highest).min(size.desired)));
    }
    None
}

/// The size that a step or simple policy asks for whose alarm is in alarm at `value`; none while it rests.
pub fn step(policy: &ScalingPolicy, value: f64, threshold: f64, size: Size) -> Option<u32> {
    let is_simple = policy.policy_type() == Some("SimpleScaling");
    let pause = if is_simple {
        seconds(policy.cooldown()).unwrap_or(Duration::from_secs(300))
    } else {
        seconds(policy.estimated_instance_warmup()).unwrap_or(size.warmup)
    };
    if !size.has_rested(pause) {
        return None;
    }
    let adjustment = if is_simple { policy.scaling_adjustment()? } else { adjustment(policy, value - threshold)? };
    let desired = i64::from(size.desired);
    let wanted = match policy.adjustment_type()? {
        "ChangeInCapacity" => desired + i64::from(adjustment),
        "ExactCapacity" => i64::from(adjustment),
        // At least one, in the direction of the adjustment.
        "PercentChangeInCapacity" => {
            let change = desired * i64::from(adjustment) / 100;
            desired + if change == 0 { i64::from(adjustment.signum()) } else { change }
        }
        _ => return None,
    };
    Some(size.clamp(u32::try_from(wanted.max(0)).unwrap_or(u32::MAX)))
}

fn seconds(number: Option<i32>) -> Option<Duration> {
    Some(Duration::from_secs(u64::try_from(number?).ok()?))
}

/// The step into which the distance from the threshold falls. Bounds belong to the step that is nearer to the threshold
/// below it, and to the one farther away above it.
fn adjustment(policy: &ScalingPolicy, distance: f64) -> Option<i32> {
    let step = policy.step_adjustments().iter().find(|step| {
        let lower = step.metric_interval_lower_bound().unwrap_or(f64::NEG_INFINITY);
        let upper = step.metric_interval_upper_bound().unwrap_or(f64::INFINITY);
        if distance >= 0.0 { lower <= distance && distance < upper } else { lower < distance && distance <= upper }
    })?;
    step.scaling_adjustment()
}

#[cfg(test)]
mod tests {
    use super::super::series::Point;
    use super::*;
    use aws_sdk_autoscaling::types::StepAdjustment;

    fn size(desired: u32) -> Size {
        Size { desired, min: 2, max: 6, rested: None, warmup: Duration::from_secs(300) }
    }

    fn tracked_to(values: &[f64], size: Size) -> Option<u32> {
        let key = MetricKey::new("eu-west-1", "AWS/EC2", "CPUUtilization", &[("AutoScalingGroupName", "web")]);
        let mut series = Series::default();
        for value in values {
            series.push([(key.clone(), Point(vec![*value]))].into());
        }
        track(&series, &key, Statistic::Average, 50.0, size)
    }

    #[test]
    fn a_group_grows_in_proportion_and_within_its_limits() {
        assert_eq!(tracked_to(&[90.0, 90.0], size(2)), None);
        assert_eq!(tracked_to(&[90.0, 90.0, 90.0], size(2)), Some(4));
        assert_eq!(tracked_to(&[100.0, 100.0, 100.0], size(5)), Some(6));
        let warming = Size { rested: Some(Duration::from_secs(299)), ..size(2) };
        assert_eq!(tracked_to(&[90.0, 90.0, 90.0], warming), None);
    }

    #[test]
    fn a_group_shrinks_when_it_was_idle_for_long() {
        assert_eq!(tracked_to(&[10.0; 14], size(4)), None);
        assert_eq!(tracked_to(&[10.0; 15], size(4)), Some(2));
        // Near the target nothing happens, and the highest value counts.
        assert_eq!(tracked_to(&[46.0; 15], size(4)), None);
        let mut values = [10.0; 15];
        values[3] = 35.0;
        assert_eq!(tracked_to(&values, size(4)), Some(3));
    }

    #[test]
    fn steps_are_taken_by_the_distance_from_the_threshold() {
        let steps = |bounds: (f64, Option<f64>), adjustment| {
            let step = StepAdjustment::builder().metric_interval_lower_bound(bounds.0);
            step.set_metric_interval_upper_bound(bounds.1).scaling_adjustment(adjustment).build()
        };
        let policy = ScalingPolicy::builder()
            .policy_type("StepScaling")
            .adjustment_type("ChangeInCapacity")
            .step_adjustments(steps((0.0, Some(20.0)), 1))
            .step_adjustments(steps((20.0, None), 3))
            .build();
        assert_eq!(step(&policy, 75.0, 70.0, size(2)), Some(3));
        assert_eq!(step(&policy, 90.0, 70.0, size(2)), Some(5));
        assert_eq!(step(&policy, 90.0, 70.0, size(5)), Some(6));
        assert_eq!(step(&policy, 60.0, 70.0, size(2)), None);
    }

    #[test]
    fn a_simple_policy_rests_for_its_cooldown() {
        let policy = ScalingPolicy::builder()
            .policy_type("SimpleScaling")
            .adjustment_type("ChangeInCapacity")
            .scaling_adjustment(-1)
            .cooldown(60)
            .build();
        let after = |seconds| Size { rested: Some(Duration::from_secs(seconds)), ..size(3) };
        assert_eq!(step(&policy, 10.0, 30.0, after(59)), None);
        assert_eq!(step(&policy, 10.0, 30.0, after(60)), Some(2));
        assert_eq!(step(&policy, 10.0, 30.0, size(2)), Some(2));
    }
}
