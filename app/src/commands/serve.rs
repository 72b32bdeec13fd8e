//! `ticketing serve`.

use crate::config::{Role, ServeArgs};
use crate::discovery::Discovery;
use crate::http::Site;
use crate::state::AppState;
use crate::{db, http, telemetry};
use anyhow::Context;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// How long connections to the database may take to be closed in order at the end.
const FAREWELL: Duration = Duration::from_secs(5);

/// Serves until SIGTERM or Ctrl-C.
pub async fn run(args: &ServeArgs) -> anyhow::Result<()> {
    no_huge_pages();
    let traces = telemetry::init()?;
    let served = serve(args).await;
    if let Some(traces) = traces {
        tokio::task::spawn_blocking(|| traces.end()).await.context("the traces were not ended")?;
    }
    served
}

/// Memory that is touched costs 4 KiB from now on, not 2 MiB: ten thousand connections touch a little of much.
fn no_huge_pages() {
    let (on, unused): (libc::c_ulong, libc::c_ulong) = (1, 0);
    // SAFETY: prctl(2): this option takes numbers alone, and touches no memory of ours.
    if unsafe { libc::prctl(libc::PR_SET_THP_DISABLE, on, unused, unused, unused) } != 0 {
        let error = std::io::Error::last_os_error();
        eprintln!("more memory than necessary will be used: {error}");
    }
}

async fn serve(args: &ServeArgs) -> anyhow::Result<()> {
    let listener = TcpListener::bind(args.listen).await.with_context(|| format!("cannot listen on {}", args.listen))?;
    let address = listener.local_addr().context("the listener has no address")?;
    tracing::info!(%address, role = ?args.role, version = env!("CARGO_PKG_VERSION"), "listening");
    // Nobody sends requests to a worker.
    let linger = if args.role == Role::Worker { 0 } else { args.limits.linger_seconds };
    let Stop { draining, stop } = Stop::on_signal(Duration::from_secs(linger))?;
    // Meanwhile the process already says that it lives.
    let site = Arc::new(Site::starting());
    let (drain, idle) = (args.limits.drain_seconds, args.limits.idle_seconds);
    let [drain, idle] = [drain, idle].map(Duration::from_secs);
    let mut serving = pin!(http::serve(listener, site.clone(), &stop, drain, idle));
    let state = tokio::select! {
        served = &mut serving => return served,
        // Nor to who never was ready.
        () = draining.cancelled() => {
            stop.cancel();
            return serving.await;
        }
        started = start(args) => started?,
    };
    site.open(http::router(state.clone()));
    let (parts, stopping) = (state.clone(), stop.clone());
    tokio::spawn(async move {
        draining.cancelled().await;
        tracing::info!("draining");
        parts.draining.cancel();
        stopping.cancelled().await;
        tracing::info!("stopping");
        parts.shutdown.cancel();
    });
    serving.await?;
    // A database host that has vanished keeps nobody from ending.
    if tokio::time::timeout(FAREWELL, state.db.close()).await.is_err() {
        tracing::warn!("the database doesn't answer; its connections are dropped");
    }
    Ok(())
}

/// Finds out what is missing, and puts everything together.
async fn start(args: &ServeArgs) -> anyhow::Result<AppState> {
    let mut args = args.clone();
    let discovery = match &args.database.discovery.parameters {
        Some(_) => Some(Discovery::new(&args.database.discovery).await?),
        None => None,
    };
    // What nobody else migrates, the instances of a stack do themselves: one at a time, by a lock.
    let migrate = args.migrate || discovery.is_some();
    if let Some(discovery) = &discovery {
        discovery.complete(&mut args).await?;
    }
    let state = AppState::new(&args)?;
    if migrate {
        db::migrate_when_reachable(&state.db).await?;
    }
    if let Some(discovery) = discovery {
        state.follow_password(discovery);
    }
    state.spawn_background();
    Ok(state)
}

/// The two steps of an end.
struct Stop {
    /// Cancelled when nobody is to send requests any more, and those that come all the same are still answered
    draining: CancellationToken,
    /// Cancelled when none are taken any more
    stop: CancellationToken,
}

impl Stop {
    /// SIGTERM comes from machinery: whoever sends requests here has to hear of it first, for which there is `linger`. Ctrl-C
    /// comes from somebody who waits, and so does a second signal.
    fn on_signal(linger: Duration) -> anyhow::Result<Self> {
        let (draining, stop) = (CancellationToken::new(), CancellationToken::new());
        let mut terminate = signal(SignalKind::terminate()).context("cannot handle SIGTERM")?;
        let mut interrupt = signal(SignalKind::interrupt()).context("cannot handle SIGINT")?;
        let steps = Self { draining: draining.clone(), stop: stop.clone() };
        tokio::spawn(async move {
            let linger = tokio::select! {
                _ = terminate.recv() => linger,
                _ = interrupt.recv() => Duration::ZERO,
            };
            draining.cancel();
            tokio::select! {
                () = tokio::time::sleep(linger) => {}
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            stop.cancel();
        });
        Ok(steps)
    }
}
