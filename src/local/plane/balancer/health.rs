//! Health checks, with the target group's own path, timeout, thresholds and codes.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Empty;
use hyper::{Request, StatusCode, header};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use tokio_util::sync::CancellationToken;

use super::targets::{Health, Reason, Target};

/// The longest pause between two health checks here: on AWS they come every 5 to 300 seconds.
pub const HURRY: Duration = Duration::from_secs(2);

/// How a target group finds out who can answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HealthCheck {
    pub path: String,
    pub interval: Duration,
    pub timeout: Duration,
    /// So many good answers in a row make an unhealthy target healthy; a new one needs a single one.
    pub healthy: u32,
    /// So many bad answers in a row make a target unhealthy.
    pub unhealthy: u32,
    /// The good statuses: `200`, `200,202` or `200-299`.
    pub matcher: String,
}

/// What the checks have found so far.
#[derive(Clone, Debug)]
pub struct Checked {
    pub state: Health,
    pub reason: Option<Reason>,
    /// Answers in a row that speak against the state.
    against: u32,
}

impl Default for Checked {
    fn default() -> Self {
        let reason = Reason::new("Elb.RegistrationInProgress", "Target registration is in progress");
        Self { state: Health::Initial, reason: Some(reason), against: 0 }
    }
}

impl Checked {
    /// Takes in one more answer: nothing, or what is bad about it.
    fn note(&mut self, bad: Option<Reason>, check: &HealthCheck) {
        let wanted = if bad.is_none() { Health::Healthy } else { Health::Unhealthy };
        if self.state == wanted {
            self.against = 0;
            self.reason = bad;
            return;
        }
        self.against += 1;
        let needed = match (self.state, wanted) {
            (Health::Initial, Health::Healthy) => 1,
            (_, Health::Healthy) => check.healthy,
            _ => check.unhealthy,
        };
        if self.against >= needed {
            *self = Self { state: wanted, reason: bad, against: 0 };
        } else if self.state == Health::Initial {
            let description = bad.map_or_else(String::new, |reason| format!(" ({})", reason.description));
            let description = format!("Initial health checks in progress{description}");
            self.reason = Some(Reason::new("Elb.InitialHealthChecking", description));
        }
    }
}

/// Checks the target until it is no longer watched.
pub(super) fn watch(target: Arc<Target>, check: HealthCheck, unwatched: CancellationToken) {
    let pause = check.interval.min(HURRY);
    tokio::spawn(unwatched.run_until_cancelled_owned(async move {
        loop {
            let bad = ask(&target, &check).await;
            target.checked().note(bad, &check);
            tokio::time::sleep(pause).await;
        }
    }));
}

/// What is bad about the target's answer.
async fn ask(target: &Target, check: &HealthCheck) -> Option<Reason> {
    let failed = || Some(Reason::new("Target.FailedHealthChecks", "Health checks failed"));
    let request = Request::get(format!("http://{}{}", target.address, check.path))
        .header(header::USER_AGENT, "ELB-HealthChecker/2.0")
        .header(header::CONNECTION, "close")
        .body(Empty::<Bytes>::new());
    let Ok(request) = request else { return failed() };
    // Each check makes its own connection: it is to find out whether one can be made.
    let client = Client::builder(TokioExecutor::new()).pool_max_idle_per_host(0).build_http();
    match tokio::time::timeout(check.timeout, client.request(request)).await {
        Ok(Ok(answer)) if is_good(&check.matcher, answer.status()) => None,
        Ok(Ok(answer)) => {
            let status = answer.status().as_u16();
            let description = format!("Health checks failed with these codes: [{status}]");
            Some(Reason::new("Target.ResponseCodeMismatch", description))
        }
        Ok(Err(_)) => failed(),
        Err(_) => Some(Reason::new("Target.Timeout", "Request timed out")),
    }
}

fn is_good(matcher: &str, status: StatusCode) -> bool {
    let status = status.as_u16();
    matcher.split(',').any(|part| match part.trim().split_once('-') {
        Some((first, last)) => {
            let limits = first.parse::<u16>().ok().zip(last.parse::<u16>().ok());
            limits.is_some_and(|(first, last)| (first..=last).contains(&status))
        }
        None => part.trim().parse() == Ok(status),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check() -> HealthCheck {
        HealthCheck {
            path: "/readyz".into(),
            interval: Duration::from_secs(10),
            timeout: Duration::from_secs(5),
            healthy: 3,
            unhealthy: 2,
            matcher: "200".into(),
        }
    }

    #[test]
    fn one_good_answer_makes_a_new_target_healthy_and_later_the_thresholds_decide() {
        let bad = || Some(Reason::new("Target.Timeout", "Request timed out"));
        let mut checked = Checked::default();
        let mut states = Vec::new();
        for answer in [None, bad(), None, bad(), bad(), None, None, None] {
            checked.note(answer, &check());
            states.push(checked.state);
        }
        use Health::{Healthy, Unhealthy};
        assert_eq!(states, [Healthy, Healthy, Healthy, Healthy, Unhealthy, Unhealthy, Unhealthy, Healthy]);
        assert_eq!(checked.reason, None);
    }

    #[test]
    fn a_new_target_that_fails_is_initial_and_then_unhealthy() {
        let mut checked = Checked::default();
        checked.note(Some(Reason::new("Target.FailedHealthChecks", "Health checks failed")), &check());
        assert_eq!(checked.state, Health::Initial);
        assert_eq!(checked.reason.as_ref().map(|reason| reason.code.as_str()), Some("Elb.InitialHealthChecking"));
        checked.note(Some(Reason::new("Target.Timeout", "Request timed out")), &check());
        assert_eq!(checked.state, Health::Unhealthy);
    }

    #[test]
    fn matchers_are_codes_lists_and_ranges() {
        let good = |matcher, status| is_good(matcher, StatusCode::from_u16(status).unwrap());
        assert!(good("200", 200) && !good("200", 204));
        assert!(good("200,202", 202) && good("200-299", 250) && !good("200-299", 300));
    }
}
