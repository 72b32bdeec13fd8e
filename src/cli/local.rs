//! `ticketctl local`: the control plane on this machine.

use std::net::SocketAddr;

use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use super::{Failure, Global, Result};
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

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Failure::new(error.to_string())
    }
}

/// Runs one of the subcommands; results go to standard output, progress to standard error.
pub async fn run(global: &Global, command: LocalCommand) -> Result<u8> {
    match command {
        LocalCommand::Up { port } => super::say(told(&up(global, port).await?))?,
        LocalCommand::Down => {
            let ran = ControlPlane::of_user()?.down(&mut progress(global)).await?;
            let is = if ran { "is down" } else { "was not running" };
            super::say(format_args!("the local control plane {is}"))?;
        }
        LocalCommand::Status { json } => status(json).await?,
        LocalCommand::Gateway { listen, upstream, strict } => run_gateway(listen, upstream, strict).await?,
    }
    Ok(0)
}

/// Starts the control plane when it isn't running: what `--local` does first.
pub async fn up(global: &Global, port: Option<u16>) -> Result<Running> {
    let program = std::env::current_exe()?;
    Ok(ControlPlane::of_user()?.up(&program, port, &mut progress(global)).await?)
}

/// Steps that take their time are told, unless only results and errors are wanted.
fn progress(global: &Global) -> impl FnMut(&str) + Send {
    let quiet = global.quiet;
    move |line| {
        if !quiet {
            crate::ui::tell(line);
        }
    }
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

async fn status(json: bool) -> Result<()> {
    let status = ControlPlane::of_user()?.status().await;
    if json {
        let value = match &status {
            Status::Up(running) => serde_json::json!({"status": "up", "endpoint": running.endpoint,
                "upstream": running.upstream, "started": running.started}),
            Status::Broken(reason) => serde_json::json!({"status": "broken", "reason": reason}),
            Status::Down => serde_json::json!({"status": "down"}),
        };
        super::say(value)?;
    }
    match status {
        Status::Up(running) if !json => super::say(told(&running))?,
        Status::Up(_) => {}
        Status::Broken(reason) => {
            return Err(Failure::new(format!("the local control plane is broken: {reason}"))
                .hint("`ticketctl local up` starts it anew; what it knew is gone"));
        }
        Status::Down => {
            return Err(Failure::new("the local control plane is not running").hint("`ticketctl local up` starts it"));
        }
    }
    Ok(())
}

async fn run_gateway(listen: SocketAddr, upstream: String, strict: bool) -> Result<()> {
    if !upstream.starts_with("http://") {
        return Err(Failure::new(format!("--upstream {upstream} is not the URL of an emulator"))
            .hint("it begins with http://, such as http://127.0.0.1:5000"));
    }
    let cannot_listen = |error| Failure::new(format!("the gateway cannot listen on {listen}")).caused_by(error);
    let listener = TcpListener::bind(listen).await.map_err(cannot_listen)?;
    let address = listener.local_addr().map_err(cannot_listen)?;
    let shutdown = CancellationToken::new();
    let signals = shutdown.clone();
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::spawn(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
        signals.cancel();
    });
    super::say(format_args!("gateway at http://{address} in front of {upstream}"))?;
    Ok(gateway::serve(listener, gateway::Options { upstream, strict }, shutdown).await?)
}
