//! Versions of cached things, in Redis. A writer gives its scope a new version after the commit and before its
//! answer; a reader asks for the version first. So nobody reads an older state than the last answer told about,
//! on any instance.

use crate::kv::Kv;
use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};

/// What has a version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scope {
    /// All lists of events
    Lists,
    /// An event with the numbers that every sale changes, by its id
    Event(u64),
    /// What of an event only an ADMIN changes: nothing that is read under it is read again because of a sale
    Settings(u64),
}

impl From<u64> for Scope {
    fn from(event: u64) -> Self {
        Scope::Event(event)
    }
}

/// How long a version is remembered without use, in seconds. A new one differs from all before, so nothing
/// old can come back.
const VERSION_SECONDS: i64 = 7 * 24 * 3600;

type Question = (Scope, oneshot::Sender<Option<u64>>);

/// Reads and changes versions.
#[derive(Clone)]
pub struct Versions {
    kv: Kv,
    questions: mpsc::UnboundedSender<Question>,
    /// Tasks that have something to tell Redis.
    pending: Arc<AtomicUsize>,
    /// What those tasks have not begun to tell: they tell it for everybody who wants it told.
    untold: Arc<Mutex<HashSet<Scope>>>,
}

/// The key of a scope's version. Those of one event share its hash tag.
pub fn key(scope: impl Into<Scope>) -> String {
    match scope.into() {
        Scope::Lists => "version:{lists}".to_owned(),
        Scope::Event(id) => format!("version:{{{id}}}"),
        Scope::Settings(id) => format!("version:{{{id}}}:settings"),
    }
}

impl Versions {
    /// Starts the task that asks Redis. Must be called within a tokio runtime.
    pub fn new(kv: Kv) -> Self {
        let (questions, receiver) = mpsc::unbounded_channel();
        tokio::spawn(answer(kv.clone(), receiver));
        Self { kv, questions, pending: Arc::default(), untold: Arc::default() }
    }

    /// The version of `scope` at some moment after this call began; none without Redis.
    pub async fn current(&self, scope: impl Into<Scope>) -> Option<u64> {
        if self.pending.load(Ordering::Acquire) > 0 {
            return None;
        }
        let (sender, receiver) = oneshot::channel();
        self.questions.send((scope.into(), sender)).ok()?;
        receiver.await.ok()?
    }

    /// Adds to `pipeline` what gives `scope` a new version.
    pub fn add_bump(scope: impl Into<Scope>, pipeline: &mut redis::Pipeline) {
        pipeline
            .cmd("SET")
            .arg(key(scope))
            .arg(rand::random::<u64>().to_string())
            .arg("EX")
            .arg(VERSION_SECONDS)
            .ignore();
    }

    /// Gives `scope` a new version. While Redis cannot be told, this process reads around the cache.
    pub async fn bump(&self, scope: impl Into<Scope>) {
        let scope = scope.into();
        let mut pipeline = redis::pipe();
        Self::add_bump(scope, &mut pipeline);
        if self.kv.pipe::<()>(&pipeline).await.is_err() {
            self.bump_later(scope);
        }
    }

    /// Goes on trying in the background to give `scope` a new version.
    fn bump_later(&self, scope: Scope) {
        let mut untold = self.untold();
        if !untold.insert(scope) {
            return;
        }
        self.pending.fetch_add(1, Ordering::AcqRel);
        drop(untold);
        let this = self.clone();
        tokio::spawn(async move {
            loop {
                tokio::time::sleep(Duration::from_millis(200)).await;
                // Whoever comes from here on may be too late for this time.
                this.untold().remove(&scope);
                let mut pipeline = redis::pipe();
                Self::add_bump(scope, &mut pipeline);
                // When it failed and another task has come meanwhile, that one goes on trying.
                if this.kv.pipe::<()>(&pipeline).await.is_ok() || !this.untold().insert(scope) {
                    this.pending.fetch_sub(1, Ordering::AcqRel);
                    return;
                }
            }
        });
    }

    fn untold(&self) -> MutexGuard<'_, HashSet<Scope>> {
        self.untold.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Answers questions in rounds: all that arrive while one round trip is under way share the next. Under load the
/// cost per question tends to nothing, and yet every answer is newer than its question.
async fn answer(kv: Kv, mut receiver: mpsc::UnboundedReceiver<Question>) {
    let mut questions = Vec::new();
    while receiver.recv_many(&mut questions, 4096).await > 0 {
        let mut scopes: Vec<Scope> = questions.iter().map(|(scope, _)| *scope).collect();
        scopes.sort_unstable();
        scopes.dedup();
        let versions = match ask(&kv, &scopes).await {
            Ok(versions) => versions,
            Err(error) => {
                tracing::debug!(%error, "versions are not to be had");
                HashMap::new()
            }
        };
        for (scope, sender) in questions.drain(..) {
            // Who asked may have gone away.
            let _gone = sender.send(versions.get(&scope).copied());
        }
    }
}

async fn ask(kv: &Kv, scopes: &[Scope]) -> Result<HashMap<Scope, u64>, crate::kv::KvError> {
    let keys: Vec<String> = scopes.iter().map(|scope| key(*scope)).collect();
    let mget = |keys: &[String]| redis::cmd("MGET").arg(keys).to_owned();
    let mut found: Vec<Option<u64>> = kv.run(&mget(&keys)).await?;
    if found.iter().any(Option::is_none) {
        let mut pipeline = redis::pipe();
        for (key, _) in keys.iter().zip(&found).filter(|(_, version)| version.is_none()) {
            let version = rand::random::<u64>().to_string();
            pipeline.cmd("SET").arg(key).arg(version).arg("NX").arg("EX").arg(VERSION_SECONDS).ignore();
        }
        kv.pipe::<()>(&pipeline).await?;
        found = kv.run(&mget(&keys)).await?;
    }
    Ok(scopes.iter().zip(found).filter_map(|(scope, version)| Some((*scope, version?))).collect())
}
