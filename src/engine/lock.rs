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
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
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

    /// What is written over a lock that can't be read.
    fn unreadable() -> Lease {
        let now = Timestamp::now();
        Lease {
            run: "unreadable".into(),
            holder: "nobody knows whom".into(),
            command: "unreadable".into(),
            fence: 0,
            taken: now,
            expires: now,
            released: false,
        }
    }
}

#[derive(Debug, thiserror::Error)]
pub enum LockError {
    #[error(
        "the stack is locked by {} ({}) since {}; the lease runs out at {} unless it is renewed",
        .0.holder, .0.command, .0.taken, .0.expires
    )]
    Held(Box<Lease>),
    #[error("the lock in the control bucket can't be read: {error}")]
    Damaged { error: serde_json::Error, etag: String },
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
    /// The one before ended without giving the lock back, or stopped in the middle: AWS's lists may lag behind what it did. When
    /// it had the lock for the last time.
    pub after_unclean_end: Option<Timestamp>,
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

    /// Lets the fence fall: the lease is another's.
    fn fall(&self) {
        *self.until.lock().unwrap_or_else(PoisonError::into_inner) = (Instant::now(), SystemTime::UNIX_EPOCH);
    }

    /// # Errors
    /// In words, that the lease has run out or was taken away.
    pub fn check(&self) -> Result<(), String> {
        let until = *self.until.lock().unwrap_or_else(PoisonError::into_inner);
        if Instant::now() < until.0 && SystemTime::now() < until.1 {
            return Ok(());
        }
        Err("the stack's lock was lost: its lease has run out or was broken, and another run may hold it; nothing more \
             is changed"
            .into())
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
    let (lease, etag) = match read(&control, &key).await {
        Ok(Some((lease, etag))) if !lease.released => (lease, etag),
        Ok(_) => return Ok(None),
        Err(LockError::Damaged { etag, .. }) => (Lease::unreadable(), etag),
        Err(error) => return Err(error),
    };
    // Marked as run out, not as released: the next run must look twice.
    let broken = Lease { expires: Timestamp::now(), ..lease.clone() };
    match write(&control, &key, &broken, Some(&etag)).await? {
        Some(_) => Ok(Some(lease)),
        None => Err(LockError::Held(Box::new(lease))),
    }
}

async fn read(control: &Control<'_>, key: &str) -> Result<Option<(Lease, String)>, LockError> {
    let Some(object) = control.get(key).await? else { return Ok(None) };
    match serde_json::from_slice(&object.body) {
        Ok(lease) => Ok(Some((lease, object.etag))),
        Err(error) => Err(LockError::Damaged { error, etag: object.etag }),
    }
}

/// Writes a lease over the one with the tag `before`, or where none is; none if somebody else has written since.
///
/// A write whose answer was lost is sent again by the SDK, and then fails its own condition: so what is there is looked at
/// before the write counts as another's.
async fn write(
    control: &Control<'_>,
    key: &str,
    lease: &Lease,
    before: Option<&str>,
) -> Result<Option<String>, LockError> {
    for _ in 0..3 {
        let condition = before.map_or(Condition::Absent, Condition::Unchanged);
        if let Some(etag) = control.put(key, written(lease), condition).await? {
            return Ok(Some(etag));
        }
        match read(control, key).await? {
            Some((there, etag)) if there == *lease => return Ok(Some(etag)),
            // Nobody has: S3 only couldn't decide between two writes at the same moment.
            Some((_, etag)) if before == Some(etag.as_str()) => {}
            _ => return Ok(None),
        }
    }
    Ok(None)
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
        let tag = before.as_ref().map(|(_, etag)| etag.as_str());
        let Some(etag) = write(&control, &key, &lease, tag).await? else {
            let winner = read(&control, &key).await?.map_or(lease, |(lease, _)| lease);
            return Err(LockError::Held(Box::new(winner)));
        };
        let fence = Arc::new(Fence { until: Mutex::new(Fence::from(renewed)) });
        let state = Arc::new(AsyncMutex::new((lease, etag)));
        let ended = CancellationToken::new();
        let heartbeat = tokio::spawn(keep(cx.clone(), key.clone(), state.clone(), fence.clone(), lost, ended.clone()));
        let after_unclean_end = before.filter(|(lease, _)| !lease.released).map(|(lease, _)| lease.expires);
        Ok(Lock { cx: cx.clone(), key, state, fence, heartbeat, ended, after_unclean_end })
    }

    /// What to ask before every call that changes something.
    pub fn fence(&self) -> Arc<Fence> {
        self.fence.clone()
    }

    /// Gives the lock back. When calls may be without their answers, `in_order` is false, and the next run looks twice.
    pub async fn release(self, in_order: bool) -> Result<(), Error> {
        // Not aborted: a write cut off in the middle would leave us with the wrong tag for the last one.
        self.ended.cancel();
        let _ = self.heartbeat.await;
        let (lease, etag) = self.state.lock().await.clone();
        let control = Control::new(&self.cx).await?;
        let released = Lease { released: in_order, expires: Timestamp::now(), ..lease };
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
        match write(&control, &key, &lease, Some(&state.1)).await {
            Ok(Some(etag)) => {
                *state = (lease, etag);
                *fence.until.lock().unwrap_or_else(PoisonError::into_inner) = Fence::from(renewed);
            }
            // Another has taken it, or broken it.
            Ok(None) => {
                fence.fall();
                return lost.cancel();
            }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fence_that_fell_stays_down_whatever_the_clocks_say() {
        let fence = Fence { until: Mutex::new(Fence::from((Instant::now(), SystemTime::now()))) };
        assert_eq!(fence.check(), Ok(()));
        fence.fall();
        assert!(fence.check().is_err_and(|text| text.contains("lock was lost")));
    }
}
