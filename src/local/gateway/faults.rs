//! Faults for tests, and the record of what was called.

use std::collections::{HashMap, VecDeque};
use std::sync::Mutex;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use super::call::{Call, Protocol};
use super::reply::{Refusal, Reply};

/// How many calls the record keeps.
const RECORDED: usize = 50_000;

/// What a test posts to `/_ticketctl/faults`; it takes the place of what was there.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Faults {
    /// Seed of the probabilities, so that a run can be repeated.
    #[serde(default)]
    seed: u64,
    faults: Vec<Fault>,
}

/// One fault. It strikes the calls that match every filter given: with a probability, or the n-th of them, or all from the n-th
/// on, or each.
#[derive(Clone, Debug, Deserialize)]
#[serde(try_from = "Posted")]
struct Fault {
    service: Option<String>,
    operation: Option<String>,
    mutating: Option<bool>,
    probability: Option<f64>,
    /// Counted from one, among the matching calls since the faults were posted.
    nth: Option<u64>,
    /// Counted likewise.
    from: Option<u64>,
    kind: Kind,
}

/// A fault as it is posted: flat, with nothing in it that would be overlooked.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Posted {
    service: Option<String>,
    operation: Option<String>,
    mutating: Option<bool>,
    probability: Option<f64>,
    nth: Option<u64>,
    from: Option<u64>,
    kind: String,
    milliseconds: Option<u64>,
    seconds: Option<u64>,
    when: Option<When>,
    code: Option<String>,
    status: Option<u16>,
}

impl TryFrom<Posted> for Fault {
    type Error = String;

    fn try_from(posted: Posted) -> Result<Self, String> {
        let Posted {
            service,
            operation,
            mutating,
            probability,
            nth,
            from,
            kind,
            milliseconds,
            seconds,
            when,
            code,
            status,
        } = posted;
        let kind = match (kind.as_str(), milliseconds, seconds, when, code, status) {
            ("throttle", None, None, None, None, None) => Kind::Throttle,
            ("internal_error", None, None, None, None, None) => Kind::InternalError,
            ("unavailable", None, None, None, None, None) => Kind::Unavailable,
            ("reset", None, None, None, None, None) => Kind::Reset,
            ("lost_answer", None, None, None, None, None) => Kind::LostAnswer,
            ("delay", Some(milliseconds), None, None, None, None) => Kind::Delay { milliseconds },
            ("list_lag", None, Some(seconds), None, None, None) => Kind::ListLag { seconds },
            ("pause", None, None, Some(when), None, None) => Kind::Pause { when },
            ("refuse", None, None, None, Some(code), Some(status)) => Kind::Refuse { code, status },
            _ => {
                return Err(format!(
                    "{kind} is not a fault, or not with these parameters: there are throttle, internal_error, unavailable, \
                     reset, lost_answer, delay with milliseconds, list_lag with seconds, pause with when, and refuse with code \
                     and status"
                ));
            }
        };
        Ok(Self { service, operation, mutating, probability, nth, from, kind })
    }
}

/// What happens to a call.
#[derive(Clone, Debug, PartialEq)]
pub enum Kind {
    /// Refused before it is carried out, in the words that the service has for throttling.
    Throttle,
    /// 500 before it is carried out.
    InternalError,
    /// 503 before it is carried out.
    Unavailable,
    /// The connection ends before the call is carried out.
    Reset,
    /// The call is carried out, then the connection ends.
    LostAnswer,
    /// The call waits before it is carried out.
    Delay { milliseconds: u64 },
    /// A read answers as it did so many seconds ago, as far as it was asked for then.
    ListLag { seconds: u64 },
    /// This call and every mutating one after it hang, until the faults are replaced; then their connections end.
    Pause { when: When },
    /// Refused with this code before it is carried out.
    Refuse { code: String, status: u16 },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum When {
    Before,
    After,
}

/// One call, as `GET /_ticketctl/calls` tells it.
#[derive(Clone, Debug, Serialize)]
pub struct Record {
    pub number: u64,
    /// Milliseconds since 1970.
    pub time: u64,
    pub service: String,
    pub operation: String,
    pub mutating: bool,
    pub phase: Phase,
    pub status: Option<u16>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// Being carried out, or waiting to be.
    Received,
    /// Held by a pause before it was carried out.
    PausedBefore,
    /// Held by a pause after it was carried out.
    PausedAfter,
    /// Answered.
    Answered,
    /// The connection was ended on purpose.
    Cut,
}

/// What is left of a call after a fault.
#[derive(Debug)]
pub enum Outcome {
    Answer(Reply),
    /// No answer: the connection ends.
    Cut,
}

pub struct FaultState {
    inner: Mutex<Inner>,
    /// Counts the configurations; a paused call waits for the next one.
    generation: watch::Sender<u64>,
}

struct Inner {
    faults: Vec<(Fault, u64)>,
    random: StdRng,
    paused: bool,
    numbers: u64,
    records: VecDeque<Record>,
    /// When each service was changed, in order, since there is a lag.
    changes: HashMap<String, Vec<Instant>>,
    reads: HashMap<Vec<u8>, (Instant, Reply)>,
}

impl Inner {
    fn lags(&self) -> bool {
        self.faults.iter().any(|(fault, _)| matches!(fault.kind, Kind::ListLag { .. }))
    }
}

impl FaultState {
    pub fn new() -> Self {
        let inner = Inner {
            faults: Vec::new(),
            random: StdRng::seed_from_u64(0),
            paused: false,
            numbers: 0,
            records: VecDeque::new(),
            changes: HashMap::new(),
            reads: HashMap::new(),
        };
        Self { inner: Mutex::new(inner), generation: watch::Sender::new(0) }
    }

    fn inner(&self) -> std::sync::MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    pub fn replace(&self, faults: Faults) {
        let mut inner = self.inner();
        inner.random = StdRng::seed_from_u64(faults.seed);
        inner.faults = faults.faults.into_iter().map(|fault| (fault, 0)).collect();
        inner.paused = false;
        // A lag that goes on still tells of what was before.
        if !inner.lags() {
            inner.reads.clear();
            inner.changes.clear();
        }
        drop(inner);
        self.generation.send_modify(|generation| *generation += 1);
    }

    pub fn records(&self) -> Vec<Record> {
        self.inner().records.iter().cloned().collect()
    }

    pub fn forget_records(&self) {
        self.inner().records.clear();
    }

    pub fn note(&self, number: u64, phase: Phase, status: Option<u16>) {
        let mut inner = self.inner();
        if let Some(record) = inner.records.iter_mut().rev().find(|record| record.number == number) {
            record.phase = phase;
            record.status = status;
        }
    }

    /// Records the call and chooses the faults that strike it.
    pub fn receive(&self, call: &Call) -> (u64, Vec<Kind>) {
        let mut inner = self.inner();
        let inner = &mut *inner;
        inner.numbers += 1;
        let mutating = call.is_mutating();
        let time = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis() as u64;
        inner.records.push_back(Record {
            number: inner.numbers,
            time,
            service: call.service.clone(),
            operation: call.operation.clone(),
            mutating,
            phase: Phase::Received,
            status: None,
        });
        if inner.records.len() > RECORDED {
            inner.records.pop_front();
        }
        let mut kinds = Vec::new();
        if inner.paused && mutating {
            kinds.push(Kind::Pause { when: When::Before });
        }
        for (fault, seen) in &mut inner.faults {
            let matches = fault.service.as_ref().is_none_or(|service| *service == call.service)
                && fault.operation.as_ref().is_none_or(|operation| *operation == call.operation)
                && fault.mutating.is_none_or(|wanted| wanted == mutating);
            if !matches {
                continue;
            }
            *seen += 1;
            let strikes = match (fault.nth, fault.from, fault.probability) {
                (Some(nth), _, _) => nth == *seen,
                (None, Some(from), _) => from <= *seen,
                (None, None, Some(probability)) => inner.random.random_bool(probability.clamp(0.0, 1.0)),
                (None, None, None) => true,
            };
            if strikes {
                // Set here, under the lock: no call that comes later may slip past.
                inner.paused |= matches!(fault.kind, Kind::Pause { .. });
                kinds.push(fault.kind.clone());
            }
        }
        (inner.numbers, kinds)
    }

    /// What happens before the call is carried out; `None` lets it through.
    pub async fn before(&self, number: u64, kinds: &[Kind], call: &Call) -> Option<Outcome> {
        for kind in kinds {
            match kind {
                Kind::Delay { milliseconds } => tokio::time::sleep(Duration::from_millis(*milliseconds)).await,
                Kind::Throttle => return Some(Outcome::Answer(throttled(call).into_reply(call))),
                Kind::InternalError => {
                    let code = if call.protocol == Protocol::Query { "InternalFailure" } else { "InternalError" };
                    let refusal = Refusal::with_status(500, code, "An internal error has occurred");
                    return Some(Outcome::Answer(refusal.into_reply(call)));
                }
                Kind::Unavailable => {
                    let code = if call.protocol == Protocol::Ec2 { "Unavailable" } else { "ServiceUnavailable" };
                    let refusal = Refusal::with_status(503, code, "The service is temporarily unavailable");
                    return Some(Outcome::Answer(refusal.into_reply(call)));
                }
                Kind::Refuse { code, status } => {
                    let refusal = Refusal::with_status(*status, code, "Refused by a fault");
                    return Some(Outcome::Answer(refusal.into_reply(call)));
                }
                Kind::Reset => return Some(Outcome::Cut),
                Kind::Pause { when: When::Before } => {
                    self.note(number, Phase::PausedBefore, None);
                    self.next_generation().await;
                    return Some(Outcome::Cut);
                }
                Kind::ListLag { seconds } => {
                    if let Some(reply) = self.stale(call, Duration::from_secs(*seconds)) {
                        return Some(Outcome::Answer(reply));
                    }
                }
                Kind::LostAnswer | Kind::Pause { when: When::After } => {}
            }
        }
        None
    }

    /// What happens to the answer of a call that was carried out.
    pub async fn after(&self, number: u64, kinds: &[Kind], call: &Call, reply: Reply) -> Outcome {
        self.remember(call, &reply);
        for kind in kinds {
            match kind {
                Kind::LostAnswer => return Outcome::Cut,
                Kind::Pause { when: When::After } => {
                    self.note(number, Phase::PausedAfter, Some(reply.status.as_u16()));
                    self.next_generation().await;
                    return Outcome::Cut;
                }
                _ => {}
            }
        }
        Outcome::Answer(reply)
    }

    async fn next_generation(&self) {
        let mut generation = self.generation.subscribe();
        let now = *generation.borrow_and_update();
        // The sender lives as long as the gateway, so waiting ends with a new configuration and nothing else.
        let _ = generation.wait_for(|generation| *generation != now).await;
    }

    /// The last answer to the same read, when the service was changed since, and only within `lag`: an answer that a change of
    /// before then would have altered is further behind than a list may be.
    fn stale(&self, call: &Call, lag: Duration) -> Option<Reply> {
        if call.is_mutating() {
            return None;
        }
        let inner = self.inner();
        let (read, reply) = inner.reads.get(&read_key(call))?;
        let first_since = inner.changes.get(&call.service)?.iter().find(|change| *change > read)?;
        (first_since.elapsed() < lag).then(|| reply.clone())
    }

    /// Keeps what list lag needs, only while a lag is configured.
    fn remember(&self, call: &Call, reply: &Reply) {
        let mut inner = self.inner();
        if !inner.lags() {
            return;
        }
        if call.is_mutating() {
            inner.changes.entry(call.service.clone()).or_default().push(Instant::now());
        } else {
            inner.reads.insert(read_key(call), (Instant::now(), reply.clone()));
        }
    }
}

fn read_key(call: &Call) -> Vec<u8> {
    let head = format!("{} {} {} ", call.service, call.operation, call.uri);
    [head.as_bytes(), &call.body].concat()
}

/// Throttling as each service spells it.
fn throttled(call: &Call) -> Refusal {
    let (status, code) = match (call.service.as_str(), call.protocol) {
        ("s3", _) => (503, "SlowDown"),
        ("sns", _) => (429, "Throttled"),
        ("sqs", _) => (403, "RequestThrottled"),
        ("monitoring", _) => (400, "Throttling"),
        (_, Protocol::Ec2) => (503, "RequestLimitExceeded"),
        (_, Protocol::Query) => (400, "Throttling"),
        _ => (400, "ThrottlingException"),
    };
    Refusal::with_status(status, code, "Rate exceeded")
}
