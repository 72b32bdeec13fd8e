//! A target group's targets: who can be asked, whose turn it is, and who is being let go of.

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hyper::StatusCode;
use tokio_util::sync::CancellationToken;

use super::TargetGroup;
use super::health::{self, Checked, HealthCheck};

/// A target as it was registered.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TargetKey {
    /// The instance.
    pub id: String,
    /// The port that AWS knows.
    pub port: u16,
}

/// As DescribeTargetHealth names the states.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Health {
    Initial,
    Healthy,
    Unhealthy,
    Draining,
}

/// Why a target isn't healthy: AWS's code, and a description.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Reason {
    pub code: String,
    pub description: String,
}

impl Reason {
    pub(super) fn new(code: &str, description: impl Into<String>) -> Self {
        Self { code: code.to_owned(), description: description.into() }
    }
}

/// One target and its health.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TargetHealth {
    pub target: TargetKey,
    pub state: Health,
    pub reason: Option<Reason>,
}

/// What was counted of one target group since it began.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct GroupCounts {
    pub requests: u64,
    /// Answers of targets by hundreds of the status: `2` for 200 to 299.
    pub answers: BTreeMap<u16, u64>,
    pub connection_errors: u64,
    /// From sending a request to the head of its answer, all requests together.
    pub answer_time: Duration,
    /// Requests by target.
    pub by_target: HashMap<TargetKey, u64>,
}

/// One target while it is known.
pub struct Target {
    pub key: TargetKey,
    pub address: SocketAddr,
    checked: Mutex<Checked>,
    in_flight: AtomicUsize,
    /// Ends the health checks.
    watch: Mutex<CancellationToken>,
    /// Ends what is still in flight.
    pub cut: CancellationToken,
}

impl Target {
    pub(super) fn checked(&self) -> MutexGuard<'_, Checked> {
        self.checked.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Has it checked in this way from now on; what is known of its health stays.
    fn watch(self: &Arc<Self>, check: &HealthCheck, stop: &CancellationToken) {
        let unwatched = stop.child_token();
        let before =
            std::mem::replace(&mut *self.watch.lock().unwrap_or_else(PoisonError::into_inner), unwatched.clone());
        before.cancel();
        health::watch(self.clone(), check.clone(), unwatched);
    }

    fn unwatch(&self) {
        self.watch.lock().unwrap_or_else(PoisonError::into_inner).cancel();
    }

    fn is_idle(&self) -> bool {
        self.in_flight.load(Ordering::Acquire) == 0
    }
}

/// A request's hold on its target: while it is there, the target isn't drained.
pub struct Lease(pub Arc<Target>);

impl Drop for Lease {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Ordering::AcqRel);
    }
}

/// A target group at work.
pub struct Group {
    members: Mutex<Members>,
    counts: Mutex<GroupCounts>,
    turn: AtomicUsize,
    stop: CancellationToken,
}

#[derive(Default)]
struct Members {
    check: Option<HealthCheck>,
    delay: Duration,
    registered: BTreeMap<TargetKey, Arc<Target>>,
    draining: Vec<Arc<Target>>,
}

impl Group {
    pub fn new(stop: &CancellationToken) -> Self {
        Self { members: Mutex::default(), counts: Mutex::default(), turn: AtomicUsize::new(0), stop: stop.clone() }
    }

    fn members(&self) -> MutexGuard<'_, Members> {
        self.members.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn count(&self, count: impl FnOnce(&mut GroupCounts)) {
        count(&mut self.counts.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// Registers who is new, and drains who is no longer wanted or has moved.
    pub fn apply(&self, wanted: &TargetGroup) {
        let mut members = self.members();
        members.delay = wanted.deregistration_delay;
        let other_check = members.check.as_ref() != Some(&wanted.check);
        members.check = Some(wanted.check.clone());
        let gone: Vec<TargetKey> = members
            .registered
            .iter()
            .filter(|(key, target)| wanted.targets.get(*key) != Some(&target.address))
            .map(|(key, _)| key.clone())
            .collect();
        for key in gone {
            self.drain(&mut members, &key);
        }
        for (key, address) in &wanted.targets {
            if let Some(target) = members.registered.get(key) {
                if other_check {
                    target.watch(&wanted.check, &self.stop);
                }
                continue;
            }
            let target = Arc::new(Target {
                key: key.clone(),
                address: *address,
                checked: Mutex::default(),
                in_flight: AtomicUsize::new(0),
                watch: Mutex::default(),
                cut: self.stop.child_token(),
            });
            target.watch(&wanted.check, &self.stop);
            members.registered.insert(key.clone(), target);
        }
        members.draining.retain(|target| !target.is_idle());
    }

    fn drain(&self, members: &mut Members, key: &TargetKey) {
        let Some(target) = members.registered.remove(key) else { return };
        target.unwatch();
        if !target.is_idle() {
            let (delay, cut) = (members.delay, target.cut.clone());
            tokio::spawn(async move {
                tokio::select! {
                    () = tokio::time::sleep(delay) => cut.cancel(),
                    () = cut.cancelled() => {}
                }
            });
            members.draining.push(target);
        }
    }

    /// Lets go of everyone, when the group itself is gone.
    pub fn drain_all(&self) {
        let mut members = self.members();
        let keys: Vec<TargetKey> = members.registered.keys().cloned().collect();
        for key in keys {
            self.drain(&mut members, &key);
        }
    }

    pub fn is_drained(&self) -> bool {
        let members = self.members();
        members.registered.is_empty() && members.draining.iter().all(|target| target.is_idle())
    }

    /// Whether nothing of the instance is registered here or in flight.
    pub fn has_drained(&self, instance: &str) -> bool {
        let members = self.members();
        members.registered.keys().all(|key| key.id != instance)
            && members.draining.iter().filter(|target| target.key.id == instance).all(|target| target.is_idle())
    }

    /// The next healthy target in turn, or the next at all when none is healthy; not `except`.
    pub fn lease(&self, except: Option<&TargetKey>) -> Option<Lease> {
        let members = self.members();
        let others = || members.registered.values().filter(|target| Some(&target.key) != except);
        let in_state = |state| others().filter(|target| target.checked().state == state).collect::<Vec<_>>();
        let mut eligible = in_state(Health::Healthy);
        // Fail-open, as the documentation of target group health says. Who never was checked isn't asked.
        if eligible.is_empty() {
            eligible = in_state(Health::Unhealthy);
        }
        if eligible.is_empty() {
            return None;
        }
        let target = eligible[self.turn.fetch_add(1, Ordering::Relaxed) % eligible.len()];
        target.in_flight.fetch_add(1, Ordering::AcqRel);
        Some(Lease(target.clone()))
    }

    pub fn note_request(&self, target: &TargetKey) {
        self.count(|counts| {
            counts.requests += 1;
            *counts.by_target.entry(target.clone()).or_default() += 1;
        });
    }

    pub fn note_answer(&self, status: StatusCode, time: Duration) {
        self.count(|counts| {
            *counts.answers.entry(status.as_u16() / 100).or_default() += 1;
            counts.answer_time += time;
        });
    }

    pub fn note_connection_error(&self) {
        self.count(|counts| counts.connection_errors += 1);
    }

    pub fn counts(&self) -> GroupCounts {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub fn health(&self) -> Vec<TargetHealth> {
        let members = self.members();
        let registered = members.registered.values().map(|target| {
            let checked = target.checked();
            TargetHealth { target: target.key.clone(), state: checked.state, reason: checked.reason.clone() }
        });
        let draining = members.draining.iter().filter(|target| !target.is_idle()).map(|target| TargetHealth {
            target: target.key.clone(),
            state: Health::Draining,
            reason: Some(Reason::new("Target.DeregistrationInProgress", "Target deregistration is in progress")),
        });
        registered.chain(draining).collect()
    }
}
