//! `ticketctl local`: the control plane on this machine.

use std::net::SocketAddr;

use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::local::control_plane::{ControlPlane, Running, Status};
use crate::local::{Error, gateway};

#[derive(Debug, clap::Subcommand)]
pub enum LocalCommand {
    /// Start the local control plane, when it isn't running, and say where it is
    Up {
        /// Port of the endpoint on 127.0.0.1 [default: 4566 if free, else any]
        #[arg(long)]
        port: Option<u16>,
    },
    /// Stop the local control plane: everything that it knows is gone
    Down,
    /// Say whether the local control plane is running, and where; exit code 1 when it isn't
    Status {
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Run the gateway alone, in the foreground, in front of any emulator
    Gateway {
        /// Address to listen on; port 0 takes a free one
        #[arg(long, default_value = "127.0.0.1:0")]
        listen: SocketAddr,
        /// The emulator's URL
        #[arg(long)]
        upstream: String,
        /// Refuse what AWS refuses and the emulator lets pass
        #[arg(long)]
        strict: bool,
    },
}

/// Why `local` failed.
#[derive(Debug, thiserror::Error)]
pub enum LocalError {
    #[error(transparent)]
    Local(#[from] Error),
    #[error("the gateway cannot listen on {address}: {source}")]
    Listen { address: SocketAddr, source: std::io::Error },
    #[error("the gateway stopped: {0}")]
    Gateway(#[source] std::io::Error),
    #[error("--upstream {0} is not the URL of an emulator: it must begin with http://")]
    Upstream(String),
    #[error("the path of this program is not known: {0}")]
    Program(#[source] std::io::Error),
    #[error("the local control plane is not running: start it with `ticketctl local up`")]
    Down,
    #[error("the local control plane is broken: {0}: start it again with `ticketctl local up`")]
    Broken(String),
}

/// Runs one of the subcommands; results go to standard output, progress to standard error.
///
/// # Errors
/// As [`LocalError`] tells; `status` fails when the control plane isn't up.
pub async fn run(command: LocalCommand) -> Result<(), LocalError> {
    let mut progress = |line: &str| eprintln!("{line}");
    match command {
        LocalCommand::Up { port } => {
            let running = up(port, &mut progress).await?;
            println!("{}", told(&running));
        }
        LocalCommand::Down => {
            let ran = ControlPlane::of_user()?.down(&mut progress).await?;
            println!(
                "{}",
                if ran { "the local control plane is down" } else { "the local control plane was not running" }
            );
        }
        LocalCommand::Status { json } => return status(json).await,
        LocalCommand::Gateway { listen, upstream, strict } => return run_gateway(listen, upstream, strict).await,
    }
    Ok(())
}

/// Starts the control plane when it isn't running: what `--local` does first.
///
/// # Errors
/// As [`ControlPlane::up`].
pub async fn up(port: Option<u16>, progress: &mut (dyn FnMut(&str) + Send)) -> Result<Running, LocalError> {
    let program = std::env::current_exe().map_err(LocalError::Program)?;
    Ok(ControlPlane::of_user()?.up(&program, port, progress).await?)
}

fn told(running: &Running) -> String {
    format!(
        "the local control plane is up at {endpoint} (moto at {upstream}, since {started})\n\
         its state is in memory: it is gone after `ticketctl local down`\n\
         try: aws --endpoint-url {endpoint} ec2 describe-vpcs",
        endpoint = running.endpoint,
        upstream = running.upstream,
        started = running.started,
    )
}

async fn status(json: bool) -> Result<(), LocalError> {
    let status = ControlPlane::of_user()?.status().await;
    if json {
        let value = match &status {
            Status::Up(running) => serde_json::json!({"status": "up", "endpoint": running.endpoint,
                "upstream": running.upstream, "started": running.started}),
            Status::Broken(reason) => serde_json::json!({"status": "broken", "reason": reason}),
            Status::Down => serde_json::json!({"status": "down"}),
        };
        println!("{value}");
    }
    match status {
        Status::Up(running) if !json => println!("{}", told(&running)),
        Status::Up(_) => {}
        Status::Broken(reason) => return Err(LocalError::Broken(reason)),
        Status::Down => return Err(LocalError::Down),
    }
    Ok(())
}

async fn run_gateway(listen: SocketAddr, upstream: String, strict: bool) -> Result<(), LocalError> {
    if !upstream.starts_with("http://") {
        return Err(LocalError::Upstream(upstream));
    }
    let cannot_listen = |source| LocalError::Listen { address: listen, source };
    let listener = TcpListener::bind(listen).await.map_err(cannot_listen)?;
    let address = listener.local_addr().map_err(cannot_listen)?;
    println!("gateway at http://{address} in front of {upstream}");
    let shutdown = CancellationToken::new();
    let signals = shutdown.clone();
    let mut terminate =
        tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()).map_err(LocalError::Gateway)?;
    tokio::spawn(async move {
        tokio::select! {
            _ = tokio::signal::ctrl_c() => {}
            _ = terminate.recv() => {}
        }
        signals.cancel();
    });
    gateway::serve(listener, gateway::Options { upstream, strict }, shutdown).await.map_err(LocalError::Gateway)
}
