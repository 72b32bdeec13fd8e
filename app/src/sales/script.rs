//! The script of the holds, called in rounds: all commands for an event that arrive while one call is under way share the
//! next. Under load, the round trip and what a call costs by itself are paid once for many.

use super::rounds::{Pushed, Rounds};
use crate::events::versions;
use crate::kv::{Kv, KvError};
use redis::{Script, ScriptInvocation};
use std::sync::{Arc, LazyLock};
use tokio::sync::oneshot;

static SCRIPT: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("holds.lua")));

/// Commands in one call, at most: Redis does nothing else meanwhile.
const MOST: usize = 128;
/// Commands that may wait for one event.
const ROOM: usize = 50_000;

/// What a command brought about: what happened, a text, a number.
pub(super) type Reply = (String, String, i64);

fn parsed(reply: &str) -> Option<Reply> {
    let mut parts = reply.splitn(3, ' ');
    let (outcome, number, text) = (parts.next()?, parts.next()?, parts.next()?);
    Some((outcome.to_owned(), text.to_owned(), number.parse().ok()?))
}

/// A command with its arguments; see `holds.lua`.
pub(super) struct Command(Vec<String>);

impl Command {
    /// Without arguments yet.
    pub fn new(name: &str) -> Self {
        Self(vec![name.to_owned()])
    }

    /// With one more argument.
    pub fn arg(mut self, value: impl ToString) -> Self {
        self.push(value);
        self
    }

    /// Adds an argument.
    pub fn push(&mut self, value: impl ToString) {
        self.0.push(value.to_string());
    }

    fn add_to(&self, call: &mut ScriptInvocation<'static>) {
        let (name, arguments) = self.0.split_at(1);
        call.arg(name).arg(arguments.len()).arg(arguments);
    }
}

struct Job {
    command: Command,
    answer: oneshot::Sender<Option<Reply>>,
}

/// Calls the script. Cheap to clone.
#[derive(Clone)]
pub(super) struct HoldScript {
    kv: Kv,
    rounds: Arc<Rounds<Job>>,
}

/// The key of a part of what is known of an event's holds; `holds.lua` says what each part is.
pub(super) fn key(event: u64, part: &str) -> String {
    format!("hold:{{{event}}}:{part}")
}

fn call(event: u64) -> ScriptInvocation<'static> {
    let mut call = SCRIPT.prepare_invoke();
    for part in ["seats", "holds", "expiry", "users", "fence", "ready"] {
        call.key(key(event, part));
    }
    call.key(versions::key(event)).key(key(event, "freed"));
    call
}

impl HoldScript {
    /// Calls nothing yet.
    pub fn new(kv: Kv) -> Self {
        Self { kv, rounds: Arc::new(Rounds::new(ROOM)) }
    }

    /// Runs a command in the next round.
    pub async fn run(&self, event: u64, command: Command) -> Result<Reply, KvError> {
        let (answer, reply) = oneshot::channel();
        match self.rounds.push(event, Job { command, answer }) {
            Pushed::Waits => {}
            Pushed::Opened => drop(tokio::spawn(self.clone().work(event))),
            Pushed::Full => return Err(KvError::Unavailable),
        }
        reply.await.ok().flatten().ok_or(KvError::Unavailable)
    }

    async fn work(self, event: u64) {
        loop {
            // Requests that have arrived already come to the point at which they ask.
            tokio::task::yield_now().await;
            let Some(jobs) = self.rounds.next(event, |waiting| waiting.min(MOST)) else { break };
            // In a task of its own: a panic must not leave the event without anybody who works for it.
            if let Err(error) = tokio::spawn(self.clone().round(event, jobs)).await {
                tracing::error!(%error, event, "a round failed");
            }
        }
    }

    async fn round(self, event: u64, jobs: Vec<Job>) {
        let mut call = call(event);
        for job in &jobs {
            job.command.add_to(&mut call);
        }
        let replies: Vec<String> = self.kv.script(&call).await.unwrap_or_else(|error| {
            tracing::debug!(%error, event, "a round without redis");
            Vec::new()
        });
        let mut replies = replies.into_iter();
        for job in jobs {
            // Who asked may have gone away.
            let _gone = job.answer.send(replies.next().as_deref().and_then(parsed));
        }
    }

    /// Runs a command that may be long in a call of its own.
    pub async fn run_alone(&self, event: u64, command: &Command) -> Result<Reply, KvError> {
        let mut call = call(event);
        command.add_to(&mut call);
        let replies: Vec<String> = self.kv.script(&call).await?;
        replies.first().and_then(|reply| parsed(reply)).ok_or(KvError::Unavailable)
    }
}
