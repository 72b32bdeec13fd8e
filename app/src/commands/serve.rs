//! `ticketing serve`.

use crate::config::ServeArgs;
use crate::state::AppState;
use crate::{db, http, telemetry};
use anyhow::Context;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

/// Serves until SIGTERM or Ctrl-C.
pub async fn run(args: &ServeArgs) -> anyhow::Result<()> {
    telemetry::init_logs();
    let state = AppState::new(args)?;
    if args.migrate {
        db::migrate(&state.db).await?;
    }
    let listener = TcpListener::bind(args.listen).await.with_context(|| format!("cannot listen on {}", args.listen))?;
    let address = listener.local_addr().context("the listener has no address")?;
    tracing::info!(%address, role = ?args.role, version = env!("CARGO_PKG_VERSION"), "listening");
    state.spawn_background();

    let mut terminate = signal(SignalKind::terminate()).context("cannot handle SIGTERM")?;
    let shutdown = state.shutdown.clone();
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = tokio::signal::ctrl_c() => {}
        }
        shutdown.cancel();
    });
    http::serve(listener, http::router(state.clone()), &state).await?;
    state.db.close().await;
    Ok(())
}
