//! A release's answers with 5xx, which CloudWatch is asked for itself: the service's alarm looks at the service's own target
//! group and takes ten minutes, and a release may come in behind another one and has to prove itself sooner.
//!
//! A service that fails already must be deployable all the same, since the release may be what mends it. So a release may
//! have as many errors as the alarm's threshold permits, or as the service had in the ten minutes before, if that is more.

use aws_sdk_cloudwatch::{
    primitives::DateTime,
    types::{Dimension, Statistic},
};
use jiff::Timestamp;

use crate::{
    aws::{Context, Error, Result},
    resource::elb::metric_dimension,
};

/// What CloudWatch counts by.
const MINUTE: i64 = 60;
/// Errors are counted over so long, as the alarm does.
const WINDOW: i64 = 5 * MINUTE;
/// What was there before is counted over so long: the last minute or two of it aren't known yet, and what goes on as it was
/// must not seem more.
const BEFORE: i64 = 2 * WINDOW;

/// The errors of one release, and how many it may have.
pub(super) struct Errors {
    /// Load balancer and target group, as CloudWatch calls them.
    places: Vec<(String, String)>,
    /// When the release came, in seconds.
    since: i64,
    most: f64,
}

impl Errors {
    /// Of the release that comes into these target groups from now on.
    ///
    /// # Errors
    /// Calls that failed.
    pub async fn begin(cx: &Context, target_groups: &[String], threshold: u32) -> Result<Errors> {
        let mut places = Vec::new();
        if !target_groups.is_empty() {
            let arns = target_groups.to_vec();
            let answer = cx.elb.describe_target_groups().set_target_group_arns(Some(arns)).send().await?;
            for group in answer.target_groups() {
                let target = metric_dimension(group.target_group_arn().unwrap_or_default());
                let balancers = group.load_balancer_arns().iter();
                places.extend(balancers.map(|arn| (metric_dimension(arn).to_owned(), target.to_owned())));
            }
        }
        let now = Timestamp::now().as_second();
        // The minute in which it begins is that of the release before, too.
        let mut errors = Errors { places, since: next_minute(now), most: threshold.into() };
        let before = errors.count(cx, now - BEFORE, errors.since).await?;
        errors.most = errors.most.max(before);
        Ok(errors)
    }

    /// The same measure for a target group behind the same load balancers, to which only the release belongs.
    pub fn alone_at(self, target_group: &str) -> Errors {
        let target = metric_dimension(target_group);
        let places = self.places.into_iter().map(|(balancer, _)| (balancer, target.to_owned()));
        Errors { places: places.collect(), since: self.since - MINUTE, ..self }
    }

    /// What is wrong with the release, if something is.
    ///
    /// # Errors
    /// Calls that failed.
    pub async fn trouble(&self, cx: &Context) -> Result<Option<String>> {
        let now = Timestamp::now().as_second();
        let from = self.since.max(now - WINDOW);
        let count = self.count(cx, from, now.max(from) + MINUTE).await?;
        let most = self.most;
        let minutes = WINDOW / MINUTE;
        Ok((count > most).then(|| format!("{count} answers with 5xx within {minutes} minutes; {most} are borne")))
    }

    async fn count(&self, cx: &Context, from: i64, to: i64) -> Result<f64> {
        let mut sum = 0.0;
        for (balancer, target) in &self.places {
            let dimension = |name: &str, value: &str| Dimension::builder().name(name).value(value).build();
            let call = cx.cloudwatch.get_metric_statistics().namespace("AWS/ApplicationELB");
            let call = call.metric_name("HTTPCode_Target_5XX_Count").statistics(Statistic::Sum);
            let call =
                call.dimensions(dimension("LoadBalancer", balancer)).dimensions(dimension("TargetGroup", target));
            let call = call.start_time(DateTime::from_secs(from)).end_time(DateTime::from_secs(to)).period(60);
            match call.send().await.map_err(Error::from) {
                Ok(answer) => sum += answer.datapoints().iter().filter_map(|point| point.sum()).sum::<f64>(),
                // It may have no metrics at all.
                Err(error) if cx.emulator.is_some() => {
                    tracing::debug!(%error, "the endpoint doesn't tell about errors")
                }
                Err(error) => return Err(error),
            }
        }
        Ok(sum)
    }
}

/// The beginning of the first minute that isn't over.
fn next_minute(second: i64) -> i64 {
    (second + MINUTE - 1).div_euclid(MINUTE) * MINUTE
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_release_counts_from_the_first_whole_minute_on() {
        assert_eq!([next_minute(120), next_minute(121), next_minute(179)], [120, 180, 180]);
    }
}
