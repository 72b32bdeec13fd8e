//! Ctrl-C and SIGTERM while a run is under way.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
    },
    time::Duration,
};
use tokio::{
    signal::unix::{SignalKind, signal},
    task::JoinHandle,
};
use tokio_util::sync::CancellationToken;

use crate::engine::{Event, Observer};

/// What CI runners grant between SIGTERM and SIGKILL, less a little.
const TERM_GRACE: Duration = Duration::from_millis(6500);

/// The exit codes that shells give to processes ended by these signals.
const INTERRUPTED: u8 = 130;
const TERMINATED: u8 = 143;

/// Listens until dropped. The first signal cancels `stop`; the second Ctrl-C, or the end of SIGTERM's grace, ends the
/// process at once: the next run finds what there is by its tags.
pub struct Signals {
    listener: JoinHandle<()>,
    code: Arc<AtomicU8>,
}

impl Signals {
    pub fn listen(stop: CancellationToken, observer: Arc<dyn Observer>) -> std::io::Result<Signals> {
        let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
        let code = Arc::new(AtomicU8::new(0));
        let noted = code.clone();
        let listener = tokio::spawn(async move {
            let first = tokio::select! {
                _ = interrupt.recv() => INTERRUPTED,
                _ = terminate.recv() => TERMINATED,
            };
            noted.store(first, Ordering::SeqCst);
            let reason = match first {
                INTERRUPTED => "calls in flight end, nothing new starts; Ctrl-C again to leave at once",
                _ => "SIGTERM: calls in flight end, nothing new starts",
            };
            observer.observe(&Event::Stopping { reason: reason.into() });
            stop.cancel();
            let grace = async {
                match first {
                    TERMINATED => tokio::time::sleep(TERM_GRACE).await,
                    _ => std::future::pending().await,
                }
            };
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
                () = grace => {}
            }
            std::process::exit(first.into());
        });
        Ok(Signals { listener, code })
    }

    /// The exit code if a signal came, none otherwise.
    pub fn exit_code(&self) -> Option<u8> {
        Some(self.code.load(Ordering::SeqCst)).filter(|code| *code != 0)
    }
}

impl Drop for Signals {
    fn drop(&mut self) {
        self.listener.abort();
    }
}
