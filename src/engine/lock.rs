//! One run at a time per stack: a lease in the control bucket, taken with a conditional write and kept by a heartbeat.
//!
//! A holder that dies stops renewing, and its lease runs out by itself. A holder that was only paused finds, before
//! its next call, that its own lease has run out, and makes no call any more: the fence.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant, SystemTime},
};
use tokio::{sync::Mutex as AsyncMutex, task::JoinHandle};
use tokio_util::sync::CancellationToken;

use super::control::{Condition, Control};
use crate::aws::{Context, Error};

/// How long a lease lives without a heartbeat.
pub const LEASE: Duration = Duration::from_secs(60);
const HEARTBEAT: Duration = Duration::from_secs(15);
/// What a holder's and a taker's clocks may differ by, and what a call in flight may take.
const MARGIN: Duration = Duration::from_secs(10);

/// The lock as it is written in the bucket.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Lease {
    /// Which run: unique.
    pub run: String,
    /// Who, on which machine: `user@host (pid)`.
    pub holder: String,
    pub command: String,
    /// Grows by one with every taking: a later holder has a higher one.
    pub fence: u64,
    pub taken: Timestamp,
    pub expires: Timestamp,
    /// The holder has given it back.
    pub released: bool,
}

impl Lease {
    /// Whether somebody holds it now.
    pub fn is_held(&self) -> bool {
        !self.released && Timestamp::now() < self.expires
    }
}

#[derive(Debug, thiserror::Error)]
pub enum LockError {
    #[error(
        "the stack is locked by {} ({}) since {}; the lease runs out at {} unless it is renewed",
        .0.holder, .0.command, .0.taken, .0.expires
    )]
    Held(Box<Lease>),
    #[error("the lock in the control bucket can't be read: {0}")]
    Damaged(serde_json::Error),
    #[error(transparent)]
    Aws(#[from] Error),
}

/// The lock, held until [`Lock::release`].
pub struct Lock {
    cx: Context,
    key: String,
    state: Arc<AsyncMutex<(Lease, String)>>,
    fence: Arc<Fence>,
    heartbeat: JoinHandle<()>,
    ended: CancellationToken,
    /// The one before ended without giving the lock back: AWS's lists may lag behind what it did.
    pub after_unclean_end: bool,
}

/// Says whether the lease is still ours, by our own clocks.
pub struct Fence {
    /// By the monotonic clock, which a changed date doesn't move, and by the date, which goes on while a machine sleeps.
    until: Mutex<(Instant, SystemTime)>,
}

impl Fence {
    fn from(renewed: (Instant, SystemTime)) -> (Instant, SystemTime) {
        let span = LEASE - MARGIN;
        (renewed.0 + span, renewed.1 + span)
    }

    /// # Errors
    /// In words, that the lease has run out.
    pub fn check(&self) -> Result<(), String> {
        let until = *self.until.lock().unwrap_or_else(PoisonError::into_inner);
        if Instant::now() < until.0 && SystemTime::now() < until.1 {
            return Ok(());
        }
        Err("the lease of the stack's lock has run out, another run may hold it; nothing more is changed".into())
    }
}

fn key(stack: &str) -> String {
    format!("stacks/{stack}/lock.json")
}

/// The lock as it stands, held or not; none if it was never taken.
pub async fn status(cx: &Context) -> Result<Option<Lease>, LockError> {
    Ok(read(&Control::new(cx).await?, &key(&cx.stack)).await?.map(|(lease, _)| lease))
}

/// Takes the lock away from whoever holds it.
pub async fn break_it(cx: &Context) -> Result<Option<Lease>, LockError> {
    let control = Control::new(cx).await?;
    let key = key(&cx.stack);
    let Some((lease, etag)) = read(&control, &key).await?.filter(|(lease, _)| !lease.released) else { return Ok(None) };
    // Marked as run out, not as released: the next run must look twice.
    let broken = Lease { expires: Timestamp::now(), ..lease.clone() };
    match control.put(&key, written(&broken), Condition::Unchanged(&etag)).await? {
        Some(_) => Ok(Some(lease)),
        None => Err(LockError::Held(Box::new(lease))),
    }
}

async fn read(control: &Control<'_>, key: &str) -> Result<Option<(Lease, String)>, LockError> {
    let Some(object) = control.get(key).await? else { return Ok(None) };
    let lease = serde_json::from_slice(&object.body).map_err(LockError::Damaged)?;
    Ok(Some((lease, object.etag)))
}

fn written(lease: &Lease) -> Vec<u8> {
    serde_json::to_vec_pretty(lease).expect("a lease is plain data")
}

impl Lock {
    /// Takes the lock, and keeps it by a heartbeat. `lost` is cancelled when it could not be kept.
    ///
    /// # Errors
    /// [`LockError::Held`] if another run has it.
    pub async fn take(cx: &Context, run: &str, command: &str, lost: CancellationToken) -> Result<Lock, LockError> {
        let control = Control::new(cx).await?;
        control.ensure().await?;
        let key = key(&cx.stack);
        let before = read(&control, &key).await?;
        if let Some((lease, _)) = before.as_ref().filter(|(lease, _)| lease.is_held()) {
            return Err(LockError::Held(Box::new(lease.clone())));
        }
        let renewed = (Instant::now(), SystemTime::now());
        let lease = Lease {
            run: run.to_owned(),
            holder: holder(),
            command: command.to_owned(),
            fence: before.as_ref().map_or(0, |(lease, _)| lease.fence) + 1,
            taken: Timestamp::now(),
            expires: Timestamp::now() + LEASE,
            released: false,
        };
        let condition = before.as_ref().map_or(Condition::Absent, |(_, etag)| Condition::Unchanged(etag));
        let Some(etag) = control.put(&key, written(&lease), condition).await? else {
            let winner = read(&control, &key).await?.map_or(lease, |(lease, _)| lease);
            return Err(LockError::Held(Box::new(winner)));
        };
        let fence = Arc::new(Fence { until: Mutex::new(Fence::from(renewed)) });
        let state = Arc::new(AsyncMutex::new((lease, etag)));
        let ended = CancellationToken::new();
        let heartbeat = tokio::spawn(keep(cx.clone(), key.clone(), state.clone(), fence.clone(), lost, ended.clone()));
        let after_unclean_end = before.is_some_and(|(lease, _)| !lease.released);
        Ok(Lock { cx: cx.clone(), key, state, fence, heartbeat, ended, after_unclean_end })
    }

    /// What to ask before every call that changes something.
    pub fn fence(&self) -> Arc<Fence> {
        self.fence.clone()
    }

    /// Gives the lock back.
    pub async fn release(self) -> Result<(), Error> {
        // Not aborted: a write cut off in the middle would leave us with the wrong tag for the last one.
        self.ended.cancel();
        let _ = self.heartbeat.await;
        let (lease, etag) = self.state.lock().await.clone();
        let control = Control::new(&self.cx).await?;
        let released = Lease { released: true, ..lease };
        // If the condition fails, somebody else has it: nothing to give back.
        control.put(&self.key, written(&released), Condition::Unchanged(&etag)).await?;
        Ok(())
    }
}

/// Renews the lease until it is lost: taken by another, or not renewed in time.
async fn keep(
    cx: Context,
    key: String,
    state: Arc<AsyncMutex<(Lease, String)>>,
    fence: Arc<Fence>,
    lost: CancellationToken,
    ended: CancellationToken,
) {
    let mut beats = tokio::time::interval_at(tokio::time::Instant::now() + HEARTBEAT, HEARTBEAT);
    loop {
        tokio::select! {
            _ = beats.tick() => {}
            () = ended.cancelled() => return,
        }
        let mut state = state.lock().await;
        let renewed = (Instant::now(), SystemTime::now());
        let lease = Lease { expires: Timestamp::now() + LEASE, ..state.0.clone() };
        let Ok(control) = Control::new(&cx).await else { continue };
        match control.put(&key, written(&lease), Condition::Unchanged(&state.1)).await {
            Ok(Some(etag)) => {
                *state = (lease, etag);
                *fence.until.lock().unwrap_or_else(PoisonError::into_inner) = Fence::from(renewed);
            }
            Ok(None) => return lost.cancel(),
            // No answer: the next beat tries again, and the fence falls by itself if none gets through.
            Err(_) if fence.check().is_err() => return lost.cancel(),
            Err(_) => {}
        }
    }
}

/// `user@host (pid)`, as far as the environment tells.
pub fn holder() -> String {
    let user = std::env::var("USER").or_else(|_| std::env::var("LOGNAME")).unwrap_or_else(|_| "somebody".into());
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let host = match host.trim() {
        "" => std::env::var("HOSTNAME").unwrap_or_else(|_| "a machine".into()),
        host => host.to_owned(),
    };
    format!("{user}@{host} ({})", std::process::id())
}
