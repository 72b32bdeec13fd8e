//! Measured values over time, as CloudWatch keeps them: one point for each metric and minute.

use std::collections::{BTreeMap, VecDeque};

/// Points that are kept of each metric: more than any alarm or policy looks back.
const KEPT: usize = 120;

/// A metric: in which region, and CloudWatch's three parts of its name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct MetricKey {
    pub region: String,
    pub namespace: String,
    pub name: String,
    pub dimensions: BTreeMap<String, String>,
}

impl MetricKey {
    pub fn new(region: &str, namespace: &str, name: &str, dimensions: &[(&str, &str)]) -> Self {
        let dimensions = dimensions.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        Self { region: region.to_owned(), namespace: namespace.to_owned(), name: name.to_owned(), dimensions }
    }
}

/// The values of one minute.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Point(pub Vec<f64>);

/// How values become one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Statistic {
    Average,
    Sum,
    Minimum,
    Maximum,
    SampleCount,
}

impl Statistic {
    pub fn named(name: &str) -> Option<Self> {
        Some(match name {
            "Average" => Self::Average,
            "Sum" => Self::Sum,
            "Minimum" => Self::Minimum,
            "Maximum" => Self::Maximum,
            "SampleCount" => Self::SampleCount,
            _ => return None,
        })
    }

    fn of(self, values: &[f64]) -> Option<f64> {
        if values.is_empty() {
            return None;
        }
        let count = values.len() as f64;
        Some(match self {
            Self::Average => values.iter().sum::<f64>() / count,
            Self::Sum => values.iter().sum(),
            Self::Minimum => values.iter().copied().fold(f64::INFINITY, f64::min),
            Self::Maximum => values.iter().copied().fold(f64::NEG_INFINITY, f64::max),
            Self::SampleCount => count,
        })
    }
}

/// All metrics. Every minute is a place in each of them, empty where nothing was measured.
#[derive(Debug, Default)]
pub struct Series {
    minutes: usize,
    points: BTreeMap<MetricKey, VecDeque<Point>>,
}

impl Series {
    /// Adds one minute of everything.
    pub fn push(&mut self, mut minute: BTreeMap<MetricKey, Point>) {
        self.minutes += 1;
        for (key, points) in &mut self.points {
            points.push_back(minute.remove(key).unwrap_or_default());
            points.drain(..points.len().saturating_sub(KEPT));
        }
        self.points.extend(minute.into_iter().map(|(key, point)| (key, VecDeque::from([point]))));
        self.points.retain(|_, points| points.iter().any(|point| !point.0.is_empty()));
    }

    /// How many minutes there were.
    pub fn minutes(&self) -> usize {
        self.minutes
    }

    /// Whether it was measured at all lately.
    pub fn knows(&self, key: &MetricKey) -> bool {
        self.points.contains_key(key)
    }

    /// The last `count` windows of so many minutes each, the newest first; none where nothing was measured.
    pub fn windows(&self, key: &MetricKey, statistic: Statistic, minutes: usize, count: usize) -> Vec<Option<f64>> {
        let empty = VecDeque::new();
        let points = self.points.get(key).unwrap_or(&empty);
        let newest_first: Vec<&Point> = points.iter().rev().collect();
        (0..count)
            .map(|window| {
                let minutes = newest_first.iter().skip(window * minutes).take(minutes);
                let values: Vec<f64> = minutes.flat_map(|point| point.0.iter().copied()).collect();
                statistic.of(&values)
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_go_back_from_now_and_gaps_stay_gaps() {
        let key = MetricKey::new("eu-west-1", "AWS/EC2", "CPUUtilization", &[("AutoScalingGroupName", "web")]);
        let other = MetricKey { name: "Other".into(), ..key.clone() };
        let mut series = Series::default();
        for values in [vec![10.0, 20.0], vec![], vec![30.0], vec![50.0, 70.0]] {
            let point = if values.is_empty() { None } else { Some((key.clone(), Point(values))) };
            series.push(point.into_iter().chain([(other.clone(), Point(vec![1.0]))]).collect());
        }
        let windows = |statistic, minutes, count| series.windows(&key, statistic, minutes, count);
        assert_eq!(windows(Statistic::Average, 1, 5), [Some(60.0), Some(30.0), None, Some(15.0), None]);
        assert_eq!(windows(Statistic::Sum, 2, 2), [Some(150.0), Some(30.0)]);
        assert_eq!(windows(Statistic::Maximum, 2, 1), [Some(70.0)]);
        assert_eq!(series.windows(&other, Statistic::SampleCount, 4, 1), [Some(4.0)]);
        assert!(series.knows(&key) && !series.knows(&MetricKey { region: "us-east-1".into(), ..key.clone() }));
    }
}
