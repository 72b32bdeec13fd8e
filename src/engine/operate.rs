//! One operation from its first call to the resource being ready or gone.

use serde_json::Value;
use sha2::{Digest, Sha256};
use std::{
    future::Future,
    time::{Duration, Instant},
};

use super::{
    Event, Observer, Options, Owned,
    graph::{Operation, Work},
    plan::{canonical, differences},
    run::Known,
};
use crate::{
    aws::{Class, Context, Error},
    blueprint::{Blueprint, Node},
    resource::{Blocker, Change, Desired, Found, Scan, Select, Status},
};

/// Why an operation didn't reach its end.
pub(super) enum Stop {
    Failed(String),
    /// Stopped on request while only waiting; nothing is half done.
    Interrupted,
}

/// How long something that AWS's lists don't show yet is waited for after its creation.
const LISTING_LAG: Duration = Duration::from_secs(60);

/// How long AWS's lists are given to show what a create call without an answer may have made.
const SECOND_LOOK: Duration = Duration::from_secs(4);

/// How long a refused call may be repeated until the rest of AWS has caught up with what this run has made.
const CATCHING_UP: Duration = Duration::from_secs(90);

/// How long a deletion waits for users that aren't the stack's.
const STRANGERS: Duration = Duration::from_secs(15);

/// How long a deletion waits for whoever still uses the resource.
const LETTING_GO: Duration = Duration::from_secs(600);

pub(super) struct Operate<'a> {
    pub cx: &'a Context,
    /// The same clients without retries of their own: a create call that may have been carried out is not repeated
    /// blindly.
    pub mutating: &'a Context,
    pub operation: &'a Operation,
    pub blueprint: &'a Blueprint,
    pub observer: &'a dyn Observer,
    pub options: &'a Options,
    pub begun: Instant,
    /// Tells that the resource is there, though maybe not ready.
    pub reached: &'a (dyn Fn(&Known) + Sync),
}

impl Operate<'_> {
    pub async fn carry_out(&self, spec: Value) -> Result<Option<Known>, Stop> {
        match (self.operation.work, &self.operation.owned) {
            (Work::Remove, Some(owned)) => self.remove(owned).await.map(|()| None),
            (Work::Remove, None) => Ok(None),
            (Work::Apply, owned) => {
                let node = &self.blueprint.nodes[&self.operation.id];
                let replaced = self.operation.action == super::Action::Replace;
                let known = match owned.as_ref().filter(|_| !replaced) {
                    Some(owned) => self.update(node, &spec, owned).await?,
                    None => self.create(node, &canonical(self.operation.kind, &spec, None)).await?,
                };
                (self.reached)(&known);
                if !self.operation.kind.traits().waits {
                    return Ok(Some(known));
                }
                self.until_ready(&known, node, &spec).await.map(Some)
            }
        }
    }

    async fn create(&self, node: &Node, spec: &Value) -> Result<Known, Stop> {
        let kind = self.operation.kind;
        let mut patience = Patience::new(CATCHING_UP);
        loop {
            self.permitted()?;
            let error = match kind.create(self.mutating, self.desired(node, spec)).await {
                Ok(created) => return Ok(self.created(created.id, created.outputs)),
                Err(error) => error,
            };
            // What belongs to it (a route, an attachment) could not be added.
            if let Some(id) = &error.made {
                let owned = self.until_listed(id, &error).await?;
                return self.take_over(node, spec, &owned).await;
            }
            // The call may have been carried out although its answer was lost, or by an earlier, dead run.
            let may_be_there = !matches!(error.class(), Class::Refused | Class::Invalid);
            if may_be_there && let Some(owned) = self.look_for_own().await? {
                return self.take_over(node, spec, &owned).await;
            }
            if error.may_have_been_done() {
                patience.pause = patience.pause.max(SECOND_LOOK);
            }
            match error.class() {
                // An earlier run has begun to delete what has this name.
                Class::Exists if self.is_leaving().await? => {
                    patience.limit = patience.limit.max(kind.traits().timeout);
                    self.pause(&mut patience, &error).await?;
                }
                Class::Exists => {
                    let hint = "something of this name exists that isn't the stack's; rename one of the two";
                    return Err(Stop::Failed(format!("{error}; {hint}")));
                }
                Class::Retry | Class::Conflict | Class::NotFound => self.pause(&mut patience, &error).await?,
                Class::Refused | Class::Invalid => return Err(Stop::Failed(error.to_string())),
            }
            // Nobody knows what became of the call, and AWS's lists lag behind: a second look before a second call.
            if error.may_have_been_done()
                && let Some(owned) = self.look_for_own().await?
            {
                return self.take_over(node, spec, &owned).await;
            }
        }
    }

    /// Goes on with what an earlier create call has left, and mends it.
    async fn take_over(&self, node: &Node, spec: &Value, owned: &Owned) -> Result<Known, Stop> {
        self.created(owned.found.id.clone(), owned.found.outputs.clone());
        self.update(node, spec, owned).await
    }

    fn created(&self, id: String, outputs: crate::resource::Outputs) -> Known {
        self.observer.observe(&Event::Created {
            id: self.operation.id.clone(),
            kind: self.operation.kind.name(),
            aws_id: id.clone(),
        });
        Known { id, outputs }
    }

    /// The resource with our tags, if a create call left one.
    async fn look_for_own(&self) -> Result<Option<Owned>, Stop> {
        let kind = self.operation.kind;
        let found = Scan::new(self.cx).find(kind, &Select::Stack).await.map_err(failed)?;
        let old = self.operation.owned.as_ref().map(|owned| &owned.found.id);
        let ours = |found: &Found| {
            found.logical_id == self.operation.id && found.status != Status::Deleting && Some(&found.id) != old
        };
        Ok(found.into_iter().find(ours).map(|found| Owned { kind, found }))
    }

    /// Whether what is to be made is there from before, on its way out.
    async fn is_leaving(&self) -> Result<bool, Stop> {
        let found = Scan::new(self.cx).find(self.operation.kind, &Select::Stack).await.map_err(failed)?;
        Ok(found.iter().any(|found| found.logical_id == self.operation.id && found.status == Status::Deleting))
    }

    /// What has been made, as soon as AWS lists it: its lists lag behind.
    async fn until_listed(&self, id: &str, error: &Error) -> Result<Owned, Stop> {
        let kind = self.operation.kind;
        if matches!(error.class(), Class::Refused | Class::Invalid) {
            return Err(failed(error));
        }
        let mut patience = Patience::new(LISTING_LAG);
        loop {
            self.pause(&mut patience, error).await?;
            match Scan::new(self.cx).find(kind, &Select::One(id)).await {
                Ok(found) => {
                    if let Some(found) = found.into_iter().next() {
                        return Ok(Owned { kind, found });
                    }
                }
                Err(unseen) if unseen.is_not_found() || unseen.class() == Class::Retry => {}
                Err(unseen) => return Err(failed(unseen)),
            }
        }
    }

    async fn update(&self, node: &Node, spec: &Value, owned: &Owned) -> Result<Known, Stop> {
        let kind = self.operation.kind;
        let mut owned = owned.clone();
        let mut patience = Patience::new(kind.traits().timeout.max(CATCHING_UP));
        loop {
            let known = Known { id: owned.found.id.clone(), outputs: owned.found.outputs.clone() };
            let spec = &canonical(kind, spec, Some(&owned));
            let paths: Vec<String> = differences(kind, spec, node, &owned).into_iter().map(|a| a.path).collect();
            if paths.is_empty() {
                return Ok(known);
            }
            self.permitted()?;
            let change = Change { found: owned.found.clone(), desired: self.desired(node, spec), paths };
            let error = match kind.update(self.mutating, change).await {
                Ok(()) => return Ok(known),
                Err(error) => error,
            };
            match error.class() {
                Class::Retry | Class::Conflict | Class::NotFound => self.pause(&mut patience, &error).await?,
                _ => return Err(failed(error)),
            }
            // A part of the change may have been made: what is left of it is worked out anew.
            match Scan::new(self.cx).find(kind, &Select::One(&known.id)).await {
                Ok(found) => owned.found = found.into_iter().next().unwrap_or(owned.found),
                Err(error) if error.is_not_found() => {}
                Err(error) => return Err(failed(error)),
            }
        }
    }

    async fn remove(&self, owned: &Owned) -> Result<(), Stop> {
        let (kind, mut owned) = (self.operation.kind, owned.clone());
        let mut patience = Patience::new(kind.traits().timeout.max(LETTING_GO));
        loop {
            self.permitted()?;
            let error = match kind.delete(self.mutating, owned.found.clone()).await {
                Ok(()) => break,
                Err(error) => error,
            };
            match error.class() {
                Class::Conflict => {
                    // Who may not ask that still learns of the refusal itself.
                    let blockers = kind.blockers(self.cx, &owned.found.id).await.unwrap_or_else(|error| {
                        tracing::debug!("who uses {} can't be told: {error}", owned.found.id);
                        Vec::new()
                    });
                    // What isn't ours and doesn't go by itself will still be there in ten minutes.
                    if !blockers.is_empty() && blockers.iter().all(|blocker| !blocker.passing) {
                        patience.limit_to(STRANGERS);
                    }
                    self.pause(&mut patience, &blocked(error, &blockers)).await?;
                }
                Class::Retry => self.pause(&mut patience, &error).await?,
                _ => return Err(failed(error)),
            }
            // A part of it may have been taken away: what is left is worked out anew.
            match kind.find(&Scan::new(self.cx), &Select::One(&owned.found.id)).await {
                Ok(found) => match found.into_iter().next() {
                    Some(found) => owned.found = found,
                    None => break,
                },
                Err(error) if error.is_not_found() => break,
                Err(error) if error.class() == Class::Retry => {}
                Err(error) => return Err(failed(error)),
            }
        }
        if kind.traits().lingers {
            self.until_gone(&owned.found.id).await?;
        }
        Ok(())
    }

    async fn until_ready(&self, known: &Known, node: &Node, spec: &Value) -> Result<Known, Stop> {
        let (called, kind) = (Instant::now(), self.operation.kind);
        // An output that changes with the resource is true once the change is listed.
        let lags_behind = |found: &Found| {
            let owned = Owned { kind, found: found.clone() };
            let spec = canonical(kind, spec, Some(&owned));
            called.elapsed() < LISTING_LAG
                && found.outputs.keys().any(|output| kind.renews(output))
                && !differences(kind, &spec, node, &owned).is_empty()
        };
        self.poll(
            |found| {
                let text = match found {
                    None if called.elapsed() < LISTING_LAG => "not listed yet".to_owned(),
                    None => return Err(Stop::Failed("it was created, but AWS doesn't list it".into())),
                    Some(found) if found.status == Status::Ready && lags_behind(found) => {
                        "not listed as changed yet".to_owned()
                    }
                    Some(Found { status: Status::Ready, outputs, id, .. }) => {
                        return Ok(Ok(Known { id: id.clone(), outputs: outputs.clone() }));
                    }
                    Some(Found { status: Status::Failed(state), .. }) => {
                        return Err(Stop::Failed(format!("AWS reports it as failed: {state}")));
                    }
                    Some(Found { status: Status::Deleting, .. }) => "being deleted".to_owned(),
                    Some(Found { status: Status::Pending(state), .. }) => state.clone(),
                };
                Ok(Err(text))
            },
            &known.id,
        )
        .await
    }

    async fn until_gone(&self, id: &str) -> Result<(), Stop> {
        self.poll(
            |found| match found {
                None => Ok(Ok(())),
                Some(Found { status: Status::Pending(state) | Status::Failed(state), .. }) => Ok(Err(state.clone())),
                Some(_) => Ok(Err("being deleted".to_owned())),
            },
            id,
        )
        .await
    }

    /// Looks at the resource until `judge` has a verdict: `Ok(Err(text))` is "not yet, in this state".
    async fn poll<T>(
        &self,
        judge: impl Fn(Option<&Found>) -> Result<Result<T, String>, Stop>,
        id: &str,
    ) -> Result<T, Stop> {
        let kind = self.operation.kind;
        let mut patience = Patience::new(kind.traits().timeout);
        let mut told = String::new();
        loop {
            let found = match kind.find(&Scan::new(self.cx), &Select::One(id)).await {
                Ok(found) => Ok(found.into_iter().next()),
                Err(error) if error.is_not_found() => Ok(None),
                // A database takes half an hour: a line that is down for a minute in between is no failure.
                Err(error) if error.class() == Class::Retry => Err(error.to_string()),
                Err(error) => return Err(failed(error)),
            };
            let state = match found {
                Ok(found) => match judge(found.as_ref())? {
                    Ok(verdict) => return Ok(verdict),
                    Err(state) => state,
                },
                Err(unseen) => format!("can't be looked at: {unseen}"),
            };
            if state != told {
                self.progress(&state);
                told.clone_from(&state);
            }
            if !patience.wait(&self.options.stop).await? {
                let limit = kind.traits().timeout.as_secs();
                return Err(Stop::Failed(format!("not finished after {limit} s; its last state: {state}")));
            }
        }
    }

    async fn pause(&self, patience: &mut Patience, error: &Error) -> Result<(), Stop> {
        self.progress(&format!("trying again: {error}"));
        if patience.wait(&self.options.stop).await? { Ok(()) } else { Err(failed(error.clone())) }
    }

    fn progress(&self, text: &str) {
        self.observer.observe(&Event::Progress {
            id: self.operation.id.clone(),
            kind: self.operation.kind.name(),
            text: text.to_owned(),
            seconds: self.begun.elapsed().as_secs_f64(),
        });
    }

    fn permitted(&self) -> Result<(), Stop> {
        (self.options.permit)().map_err(Stop::Failed)
    }

    fn desired(&self, node: &Node, spec: &Value) -> Desired<Value> {
        Desired {
            logical_id: self.operation.id.clone(),
            spec: spec.clone(),
            tags: node.tags.clone(),
            token: token(&self.blueprint.stack, &self.operation.id, spec),
        }
    }
}

/// The refusal, with who is to blame.
fn blocked(error: Error, blockers: &[Blocker]) -> Error {
    if blockers.is_empty() {
        return error;
    }
    let names: Vec<&str> = blockers.iter().map(|blocker| blocker.what.as_str()).collect();
    Error { message: format!("{} It is still used by {}.", error.message, names.join(", ")), ..error }
}

fn failed(error: impl ToString) -> Stop {
    Stop::Failed(error.to_string())
}

/// The same wish for the same part of the same stack has the same token. The ids of what it refers to are in the
/// spec, so a stack that is made anew has new tokens.
fn token(stack: &str, id: &str, spec: &Value) -> String {
    let digest = Sha256::digest(format!("{stack}\n{id}\n{spec}"));
    // EC2's client tokens may have 64 characters, Secrets Manager's must have at least 32.
    hex::encode(&digest[..24])
}

/// Growing pauses until a limit.
struct Patience {
    begun: Instant,
    limit: Duration,
    pause: Duration,
}

impl Patience {
    fn new(limit: Duration) -> Self {
        Patience { begun: Instant::now(), limit, pause: Duration::from_millis(100) }
    }

    fn limit_to(&mut self, limit: Duration) {
        self.limit = self.limit.min(limit);
    }

    /// Waits a while; false when the limit is reached.
    async fn wait(&mut self, stop: &tokio_util::sync::CancellationToken) -> Result<bool, Stop> {
        if self.begun.elapsed() >= self.limit {
            return Ok(false);
        }
        let jitter = rand::random_range(0.75..1.25);
        let until_stopped: std::pin::Pin<Box<dyn Future<Output = ()> + Send>> = Box::pin(stop.cancelled());
        tokio::select! {
            () = tokio::time::sleep(self.pause.mul_f64(jitter)) => {}
            () = until_stopped => return Err(Stop::Interrupted),
        }
        self.pause = (self.pause * 3 / 2).min(Duration::from_secs(10));
        Ok(true)
    }
}
