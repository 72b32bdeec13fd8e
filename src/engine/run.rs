//! Carries out a plan: each operation the moment that what it needs is there, the longest chain first.

use futures::{StreamExt, future::BoxFuture, stream::FuturesUnordered};
use std::{
    cmp::Reverse,
    collections::{BTreeSet, HashMap},
    time::Instant,
};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::{
    Action, Event, Inventory, Observer, Outcome, Plan,
    graph::{self, Cycle, Operation, Work},
    operate::{Operate, Stop},
};
use crate::{
    aws::{Context, Permit},
    blueprint::Blueprint,
    resource::{Level, Outputs, Target},
};

/// How a run is carried out.
pub struct Options {
    /// How many operations may have calls in flight at once. Waiting for a resource doesn't count.
    pub parallelism: usize,
    /// Cancelled when nothing new is to start.
    pub stop: CancellationToken,
    /// Asked before every call that changes something: whether the lock is still ours.
    pub permit: Permit,
}

/// An operation that didn't succeed.
#[derive(Clone, Debug)]
pub struct Failure {
    pub id: String,
    pub kind: &'static str,
    pub action: Action,
    pub error: String,
}

/// What came of a run.
#[derive(Debug, Default)]
pub struct Report {
    pub done: Vec<(String, Action)>,
    pub failed: Vec<Failure>,
    /// What wasn't tried because of a failure or because the run was stopped, and why.
    pub skipped: Vec<(String, String)>,
    pub stopped: bool,
}

impl Report {
    pub fn is_complete(&self) -> bool {
        self.failed.is_empty() && self.skipped.is_empty() && !self.stopped
    }
}

/// What is known about a resource that exists: its AWS id and its outputs.
#[derive(Clone, Debug, Default)]
pub(super) struct Known {
    pub id: String,
    pub outputs: Outputs,
}

/// Runs the plan to its end, as far as it goes.
///
/// # Errors
/// Operations that wait for each other in a circle; nothing has been done then.
pub async fn run(
    cx: &Context,
    plan: &Plan,
    blueprint: &Blueprint,
    inventory: &Inventory,
    observer: &dyn Observer,
    options: &Options,
) -> Result<Report, Cycle> {
    let operations = graph::operations(plan, blueprint, inventory)?;
    observer.observe(&Event::Begin { stack: plan.stack.clone(), operations: operations.len() });
    Ok(Run::new(cx, blueprint, inventory, observer, options, operations).complete().await)
}

/// What an operation reports back to the dispatcher.
enum Message {
    /// The create or update call has answered.
    Reached(usize, Known),
}

/// Which operation has ended, after how many seconds, and how.
type Ended = (usize, f64, Result<Option<Known>, Stop>);

struct Run<'a> {
    cx: &'a Context,
    mutating: Context,
    blueprint: &'a Blueprint,
    observer: &'a dyn Observer,
    options: &'a Options,
    operations: Vec<Operation>,
    states: Vec<State>,
    known: HashMap<String, Known>,
    report: Report,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Waiting,
    /// Its calls are in flight: it holds one of the places.
    Calling,
    /// Its call has answered, it becomes ready by itself.
    Settling,
    Done,
    Dead,
}

impl<'a> Run<'a> {
    fn new(
        cx: &'a Context,
        blueprint: &'a Blueprint,
        inventory: &Inventory,
        observer: &'a dyn Observer,
        options: &'a Options,
        operations: Vec<Operation>,
    ) -> Self {
        let replaced: BTreeSet<&str> =
            operations.iter().filter(|o| o.action == Action::Replace).map(|o| o.id.as_str()).collect();
        let known = inventory
            .resources
            .iter()
            .filter(|(id, _)| !replaced.contains(id.as_str()))
            .map(|(id, owned)| (id.clone(), Known { id: owned.found.id.clone(), outputs: owned.found.outputs.clone() }))
            .collect();
        Run {
            cx,
            mutating: cx.fenced(options.permit.clone()),
            blueprint,
            observer,
            options,
            states: vec![State::Waiting; operations.len()],
            operations,
            known,
            report: Report::default(),
        }
    }

    async fn complete(mut self) -> Report {
        let operations = std::mem::take(&mut self.operations);
        let (cx, mutating) = (self.cx, self.mutating.clone());
        let (sender, mut messages) = mpsc::unbounded_channel();
        let mut tasks: FuturesUnordered<BoxFuture<'_, Ended>> = FuturesUnordered::new();
        let (blueprint, observer, options) = (self.blueprint, self.observer, self.options);
        loop {
            while let Some(at) = self.next(&operations) {
                self.states[at] = State::Calling;
                let operation = &operations[at];
                let desired = self.desired(operation);
                let (sender, mutating) = (sender.clone(), &mutating);
                observer.observe(&Event::Start {
                    id: operation.id.clone(),
                    kind: operation.kind.name(),
                    action: operation.action,
                });
                tasks.push(Box::pin(async move {
                    let begun = Instant::now();
                    let reached = |known: &Known| {
                        // The receiver lives as long as the run.
                        let _ = sender.send(Message::Reached(at, known.clone()));
                    };
                    let operate =
                        Operate { cx, mutating, operation, blueprint, observer, options, begun, reached: &reached };
                    let result = operate.carry_out(desired).await;
                    (at, begun.elapsed().as_secs_f64(), result)
                }));
            }
            if tasks.is_empty() {
                break;
            }
            tokio::select! {
                biased;
                Some(Message::Reached(at, known)) = messages.recv() => self.reached(&operations[at], at, known),
                Some((at, seconds, result)) = tasks.next() => {
                    // What it sent before it ended comes first.
                    while let Ok(Message::Reached(at, known)) = messages.try_recv() {
                        self.reached(&operations[at], at, known);
                    }
                    self.ended(&operations, at, seconds, result);
                }
            }
        }
        self.skip_the_rest(&operations);
        self.report
    }

    /// The operation to start now: of those that can, the one with the longest chain behind it.
    fn next(&self, operations: &[Operation]) -> Option<usize> {
        if self.options.stop.is_cancelled() {
            return None;
        }
        let calling = self.states.iter().filter(|state| **state == State::Calling).count();
        if calling >= self.options.parallelism {
            return None;
        }
        let can_start = |at: &usize| {
            self.states[*at] == State::Waiting
                && operations[*at].needs.iter().all(|(needed, level)| match self.states[*needed] {
                    State::Done => true,
                    State::Settling => *level == Level::Created,
                    _ => false,
                })
        };
        (0..operations.len()).filter(can_start).min_by_key(|at| (Reverse(operations[*at].path), *at))
    }

    /// The wish with all references replaced: what it needs is there by now.
    fn desired(&self, operation: &Operation) -> serde_json::Value {
        let Some(node) = self.blueprint.nodes.get(&operation.id).filter(|_| operation.work == Work::Apply) else {
            return serde_json::Value::Null;
        };
        crate::resource::resolve(&node.spec, &|target: &Target| {
            let known = self.known.get(&target.id)?;
            match &target.output {
                None => Some(known.id.clone()),
                Some(output) => known.outputs.get(output).cloned(),
            }
        })
    }

    fn reached(&mut self, operation: &Operation, at: usize, known: Known) {
        if self.states[at] == State::Calling {
            self.states[at] = State::Settling;
        }
        if operation.work == Work::Apply {
            self.known.insert(operation.id.clone(), known);
        }
    }

    fn ended(&mut self, operations: &[Operation], at: usize, seconds: f64, result: Result<Option<Known>, Stop>) {
        let operation = &operations[at];
        let (outcome, reason) = match result {
            Ok(known) => {
                self.states[at] = State::Done;
                if let Some(known) = known {
                    self.known.insert(operation.id.clone(), known);
                }
                // A replacement is done when its last half is.
                let other_half = operations
                    .iter()
                    .enumerate()
                    .any(|(other, o)| o.id == operation.id && other != at && self.states[other] != State::Done);
                if !other_half {
                    self.report.done.push((operation.id.clone(), operation.action));
                }
                (Outcome::Done, None)
            }
            Err(Stop::Interrupted) => {
                self.states[at] = State::Dead;
                let reason = "the run was stopped while it waited; the next run goes on from here".to_owned();
                self.report.skipped.push((operation.id.clone(), reason.clone()));
                (Outcome::Skipped, Some(reason))
            }
            Err(Stop::Failed(error)) => {
                self.states[at] = State::Dead;
                self.report.failed.push(Failure {
                    id: operation.id.clone(),
                    kind: operation.kind.name(),
                    action: operation.action,
                    error: error.clone(),
                });
                (Outcome::Failed, Some(error))
            }
        };
        self.observer.observe(&Event::End {
            id: operation.id.clone(),
            kind: operation.kind.name(),
            action: operation.action,
            outcome,
            seconds,
            aws_id: self.known.get(&operation.id).map(|known| known.id.clone()),
            reason,
        });
    }

    /// What never started: told with the failure that is to blame.
    fn skip_the_rest(&mut self, operations: &[Operation]) {
        self.report.stopped = self.options.stop.is_cancelled();
        let waiting: Vec<usize> = (0..operations.len()).filter(|at| self.states[*at] == State::Waiting).collect();
        for at in waiting {
            let reason = match self.culprit(operations, at) {
                Some(culprit) => format!("needs {culprit}, which failed"),
                None => "the run was stopped".to_owned(),
            };
            let operation = &operations[at];
            self.observer.observe(&Event::End {
                id: operation.id.clone(),
                kind: operation.kind.name(),
                action: operation.action,
                outcome: Outcome::Skipped,
                seconds: 0.0,
                aws_id: None,
                reason: Some(reason.clone()),
            });
            self.report.skipped.push((operation.id.clone(), reason));
        }
    }

    fn culprit(&self, operations: &[Operation], at: usize) -> Option<String> {
        let mut seen = BTreeSet::new();
        let mut open = vec![at];
        while let Some(at) = open.pop() {
            for (needed, _) in &operations[at].needs {
                if self.states[*needed] == State::Dead {
                    return Some(operations[*needed].id.clone());
                }
                if seen.insert(*needed) {
                    open.push(*needed);
                }
            }
        }
        None
    }
}
