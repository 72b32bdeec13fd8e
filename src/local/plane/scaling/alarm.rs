//! Alarms: what state the measured values put them in.
//!
//! Source: <https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/alarm-evaluation.html>

use aws_sdk_cloudwatch::types::{ComparisonOperator, MetricAlarm, StateValue};

use super::series::{MetricKey, Series, Statistic};

/// The namespaces of which the plane measures something.
const MEASURED: [&str; 2] = ["AWS/EC2", "AWS/ApplicationELB"];

/// What an alarm watches.
pub fn metric_of(region: &str, alarm: &MetricAlarm) -> Option<MetricKey> {
    let namespace = alarm.namespace().filter(|namespace| MEASURED.contains(namespace))?;
    let dimensions: Vec<(&str, &str)> =
        alarm.dimensions().iter().filter_map(|dimension| Some((dimension.name()?, dimension.value()?))).collect();
    Some(MetricKey::new(region, namespace, alarm.metric_name()?, &dimensions))
}

/// The state that the alarm should be in, and why; none when that isn't to be said here, or not yet: `age` is for how many
/// minutes the alarm has been as it is, and what was before doesn't count.
pub fn evaluate(alarm: &MetricAlarm, key: &MetricKey, series: &Series, age: usize) -> Option<(StateValue, String)> {
    let statistic = Statistic::named(alarm.statistic()?.as_str())?;
    let count =
        |number: Option<i32>| number.and_then(|number| usize::try_from(number).ok()).filter(|number| *number > 0);
    let minutes = count(alarm.period())?.div_ceil(60);
    let periods = count(alarm.evaluation_periods())?;
    let needed = count(alarm.datapoints_to_alarm()).unwrap_or(periods);
    if age.min(series.minutes()) < minutes * periods {
        return None;
    }
    let threshold = alarm.threshold()?;
    let breaches = comparison(alarm.comparison_operator()?)?;
    let values = series.windows(key, statistic, minutes, periods);
    let present = values.iter().flatten().count();
    let (breaching, told) = match alarm.treat_missing_data().unwrap_or("missing") {
        "breaching" => (values.len() - present, present > 0 || series.knows(key)),
        "notBreaching" => (0, true),
        "ignore" if present == 0 => return None,
        _ => (0, present > 0),
    };
    let breaching = breaching + values.iter().flatten().filter(|value| breaches(**value, threshold)).count();
    let listed: Vec<String> =
        values.iter().map(|value| value.map_or("missing".to_owned(), |value| format!("{value:.1}"))).collect();
    let reason = format!("{breaching} of {periods} values breach the threshold {threshold}: {}", listed.join(", "));
    let state = match (breaching >= needed, told) {
        (true, _) => StateValue::Alarm,
        (false, true) => StateValue::Ok,
        (false, false) => StateValue::InsufficientData,
    };
    Some((state, reason))
}

fn comparison(operator: &ComparisonOperator) -> Option<fn(f64, f64) -> bool> {
    Some(match operator {
        ComparisonOperator::GreaterThanThreshold => |value, threshold| value > threshold,
        ComparisonOperator::GreaterThanOrEqualToThreshold => |value, threshold| value >= threshold,
        ComparisonOperator::LessThanThreshold => |value, threshold| value < threshold,
        ComparisonOperator::LessThanOrEqualToThreshold => |value, threshold| value <= threshold,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::super::series::Point;
    use super::*;
    use aws_sdk_cloudwatch::types::{Dimension, Statistic as AwsStatistic};

    fn alarm(missing: &str) -> MetricAlarm {
        MetricAlarm::builder()
            .namespace("AWS/EC2")
            .metric_name("CPUUtilization")
            .dimensions(Dimension::builder().name("AutoScalingGroupName").value("web").build())
            .statistic(AwsStatistic::Average)
            .period(120)
            .evaluation_periods(2)
            .comparison_operator(ComparisonOperator::GreaterThanThreshold)
            .threshold(70.0)
            .treat_missing_data(missing)
            .build()
    }

    fn state(missing: &str, minutes: &[Option<f64>]) -> Option<StateValue> {
        let alarm = alarm(missing);
        let key = metric_of("eu-west-1", &alarm).expect("it is measured");
        let mut series = Series::default();
        for value in minutes {
            series.push(value.map(|value| (key.clone(), Point(vec![value]))).into_iter().collect());
        }
        evaluate(&alarm, &key, &series, series.minutes()).map(|(state, _)| state)
    }

    #[test]
    fn all_periods_must_breach() {
        assert_eq!(state("missing", &[Some(80.0); 4]), Some(StateValue::Alarm));
        assert_eq!(state("missing", &[Some(10.0), Some(10.0), Some(90.0), Some(90.0)]), Some(StateValue::Ok));
        // A period of two minutes is averaged.
        assert_eq!(state("missing", &[Some(50.0), Some(100.0), Some(60.0), Some(90.0)]), Some(StateValue::Alarm));
    }

    #[test]
    fn what_is_missing_counts_as_the_alarm_says() {
        assert_eq!(state("missing", &[None; 4]), Some(StateValue::InsufficientData));
        assert_eq!(state("notBreaching", &[None; 4]), Some(StateValue::Ok));
        assert_eq!(state("ignore", &[None; 4]), None);
        let half = [None, None, Some(80.0), Some(80.0)];
        assert_eq!(state("breaching", &half), Some(StateValue::Alarm));
        assert_eq!(state("missing", &half), Some(StateValue::Ok));
    }

    #[test]
    fn nothing_is_said_of_what_was_before() {
        assert_eq!(state("breaching", &[Some(80.0); 3]), None);
        let mut series = Series::default();
        for _ in 0..10 {
            series.push(Default::default());
        }
        let alarm = alarm("breaching");
        let key = metric_of("eu-west-1", &alarm).expect("it is measured");
        assert_eq!(evaluate(&alarm, &key, &series, 3), None);
        assert_eq!(evaluate(&alarm, &key, &series, 4).map(|(state, _)| state), Some(StateValue::Alarm));
    }

    #[test]
    fn what_others_measure_is_left_alone() {
        let other = MetricAlarm::builder().namespace("AWS/RDS").metric_name("CPUUtilization").build();
        assert_eq!(metric_of("eu-west-1", &other), None);
    }
}
