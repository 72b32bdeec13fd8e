//! `ticketing serve`.

use crate::config::ServeArgs;
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
    let stop = stop_on_signal()?;
    // Meanwhile the process already says that it lives.
    let site = Arc::new(Site::starting());
    let (drain, idle) = (args.limits.drain_seconds, args.limits.idle_seconds);
    let [drain, idle] = [drain, idle].map(Duration::from_secs);
    let mut serving = pin!(http::serve(listener, site.clone(), &stop, drain, idle));
    let state = tokio::select! {
        served = &mut serving => return served,
        started = start(args) => started?,
    };
    site.open(http::router(state.clone()));
    let (shutdown, stopping) = (state.shutdown.clone(), stop.clone());
    tokio::spawn(async move {
        stopping.cancelled().await;
        tracing::info!("draining");
        shutdown.cancel();
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

/// Cancelled by SIGTERM and Ctrl-C.
fn stop_on_signal() -> anyhow::Result<CancellationToken> {
    let stop = CancellationToken::new();
    let mut terminate = signal(SignalKind::terminate()).context("cannot handle SIGTERM")?;
    let stopping = stop.clone();
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = tokio::signal::ctrl_c() => {}
        }
        stopping.cancel();
    });
    Ok(stop)
}
