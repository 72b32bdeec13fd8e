//! `ticketctl local`: the local cloud on this machine.

use std::net::SocketAddr;
use std::path::PathBuf;

use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use super::{Failure, Global, Result};
use crate::local::control_plane::{ControlPlane, Plane, Running, Status, Wanted};
use crate::local::plane::board::{Entry, State};
use crate::local::plane::{self, Processes};
use crate::local::{Error, gateway};

#[derive(Debug, clap::Subcommand)]
pub enum LocalCommand {
    /// Start the local cloud, when it isn't running, and say where it is
    Up {
        /// Port of the endpoint on 127.0.0.1 [default: 4566 if free, else any]
        #[arg(long)]
        port: Option<u16>,
        /// Without databases, caches, instances and load balancers: what is made exists only in the API
        #[arg(long)]
        control_plane_only: bool,
    },
    /// Stop the local cloud and remove it: everything that it knows and stores is gone
    Down,
    /// Say whether the local cloud is running, and what it consists of; exit code 1 when it isn't
    Status {
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Print what a process of the local cloud has written
    Logs {
        /// Its name in `ticketctl local status`, or that of its resource; or moto, gateway, supervisor
        name: String,
        /// Go on printing what it writes
        #[arg(short = 'F', long)]
        follow: bool,
    },
    /// Look after the processes of the data plane, in the foreground
    #[command(hide = true)]
    Supervise {
        /// The gateway's URL
        #[arg(long)]
        endpoint: String,
        /// The local cloud's data directory
        #[arg(long)]
        data: PathBuf,
        /// The user's cache directory
        #[arg(long)]
        cache: PathBuf,
    },
    /// Be the first process of an instance
    #[command(hide = true)]
    InstanceInit {
        /// The boot script
        script: PathBuf,
    },
    /// Be an instance's systemctl
    #[command(hide = true)]
    Systemctl {
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
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

/// Switches the data plane off, as `--control-plane-only` does, for every command: `off`.
const PLANE: &str = "TICKETCTL_LOCAL_PLANE";

/// Runs one of the subcommands; results go to standard output, progress to standard error.
pub async fn run(global: &Global, command: LocalCommand) -> Result<u8> {
    match command {
        LocalCommand::Up { port, control_plane_only } => {
            super::say(told(&up(global, port, control_plane_only).await?))?;
        }
        LocalCommand::Down => {
            let ran = ControlPlane::of_user()?.down(&mut progress(global)).await?;
            let is = if ran { "is down" } else { "was not running" };
            super::say(format_args!("the local cloud {is}"))?;
        }
        LocalCommand::Status { json } => status(json).await?,
        LocalCommand::Logs { name, follow } => logs(&name, follow).await?,
        LocalCommand::Supervise { endpoint, data, cache } => {
            let options = plane::Options { endpoint, data, cache };
            plane::supervise(options, until_told_to_stop()?).await.map_err(Error::from)?;
        }
        LocalCommand::InstanceInit { script } => plane::instance::init::run(&script)?,
        LocalCommand::Systemctl { arguments } => return Ok(plane::instance::systemctl::run(arguments)?),
        LocalCommand::Gateway { listen, upstream, strict } => run_gateway(listen, upstream, strict).await?,
    }
    Ok(0)
}

/// Starts the local cloud when it isn't running: what `--local` does first.
pub async fn up(global: &Global, port: Option<u16>, control_plane_only: bool) -> Result<Running> {
    let program = std::env::current_exe()?;
    let control_plane_only = match std::env::var(PLANE).unwrap_or_default().as_str() {
        "off" => true,
        "" | "on" => control_plane_only,
        other => {
            return Err(Failure::new(format!("{PLANE} is {other:?}")).hint("it may be `on`, the default, or `off`"));
        }
    };
    let wanted = Wanted { port, control_plane_only };
    let failed = |error: Error| {
        let failure = Failure::new(error.to_string());
        match error {
            Error::Plane(_) if !control_plane_only => failure
                .hint(format!("{PLANE}=off does without the data plane: what is made then exists only in the API")),
            _ => failure,
        }
    };
    ControlPlane::of_user()?.up(&program, wanted, &mut progress(global)).await.map_err(failed)
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
    let plane = if running.plane {
        "what is made there becomes processes of this machine: `ticketctl local status` shows them"
    } else {
        "without a data plane: what is made there exists only in the API"
    };
    format!(
        "the local control plane is up at {endpoint} (moto at {upstream}, since {started})\n\
         {plane}\n\
         its state is in memory: it is gone after `ticketctl local down`\n\
         try: aws --endpoint-url {endpoint} ec2 describe-vpcs",
        endpoint = running.endpoint,
        upstream = running.upstream,
        started = running.started,
    )
}

async fn status(json: bool) -> Result<()> {
    let cloud = ControlPlane::of_user()?;
    let (status, plane) = (cloud.status().await, cloud.plane());
    if json {
        let mut value = match &status {
            Status::Up(running) => serde_json::json!({"status": "up", "endpoint": running.endpoint,
                "upstream": running.upstream, "started": running.started}),
            Status::Broken(reason) => serde_json::json!({"status": "broken", "reason": reason}),
            Status::Down => serde_json::json!({"status": "down"}),
        };
        if let Plane::Up(told) | Plane::Unattended(told) = &plane {
            value["plane"] = serde_json::to_value(told).unwrap_or_default();
            value["plane"]["supervised"] = matches!(plane, Plane::Up(_)).into();
        }
        super::say(value)?;
    }
    match &status {
        Status::Up(running) if !json => {
            super::say(told(running))?;
            if let Plane::Up(told) | Plane::Unattended(told) = &plane
                && !(told.entries.is_empty() && told.errors.is_empty())
            {
                super::say(table(told))?;
            }
        }
        Status::Up(_) => {}
        Status::Broken(reason) => {
            return Err(Failure::new(format!("the local control plane is broken: {reason}"))
                .hint("`ticketctl local up` starts it anew; what it knew is gone"));
        }
        Status::Down => {
            return Err(Failure::new("the local control plane is not running").hint("`ticketctl local up` starts it"));
        }
    }
    if let Plane::Unattended(_) = plane {
        return Err(Failure::new("nobody looks after the data plane: its supervisor is gone")
            .hint("`ticketctl local up` starts it again; nothing is lost"));
    }
    Ok(())
}

/// What the data plane consists of: a line for each thing, and what went wrong.
fn table(status: &plane::board::Status) -> String {
    let row = |entry: &Entry| {
        let since = entry.since.map(|since| since.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()).unwrap_or_default();
        let (name, role, address) = (entry.name.clone(), entry.role.clone(), entry.address.clone());
        [name, role, address, state(entry.state).to_owned(), since, entry.restarts.to_string(), entry.detail.clone()]
    };
    // What there is to say to it may be long, and comes last.
    let head = ["NAME", "ROLE", "ADDRESS", "STATE", "SINCE", "RESTARTS", ""].map(str::to_owned);
    let rows: Vec<[String; 7]> = std::iter::once(head).chain(status.entries.iter().map(row)).collect();
    let mut widths = [0; 7];
    for (column, width) in widths.iter_mut().enumerate() {
        *width = rows.iter().map(|row| row[column].chars().count()).max().unwrap_or_default();
    }
    let mut lines: Vec<String> = Vec::new();
    for row in rows.iter().filter(|_| !status.entries.is_empty()) {
        let cells = row.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}"));
        lines.push(cells.collect::<Vec<_>>().join("  ").trim_end().to_owned());
    }
    lines.extend(status.errors.iter().map(|(area, error)| format!("{area}: {error}")));
    lines.join("\n")
}

fn state(state: State) -> &'static str {
    match state {
        State::Starting => "starting",
        State::Running => "running",
        State::Stopped => "stopped",
        State::Failed => "failed",
    }
}

/// Prints a log as it is, and what comes, until the reader has enough.
async fn logs(name: &str, follow: bool) -> Result<()> {
    use std::io::{Read, Write};
    let path = log_file(name)?;
    let mut file = std::fs::File::open(&path)
        .map_err(|error| Failure::new(format!("{} cannot be read", path.display())).caused_by(error))?;
    let mut output = std::io::stdout().lock();
    loop {
        let mut text = Vec::new();
        file.read_to_end(&mut text)?;
        output.write_all(&text)?;
        output.flush()?;
        if !follow {
            return Ok(());
        }
        tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    }
}

/// The log of a process, by its own name or its resource's.
fn log_file(name: &str) -> Result<PathBuf> {
    let cloud = ControlPlane::of_user()?;
    if ["moto", "gateway", "supervisor"].contains(&name) {
        return Ok(cloud.data().join(format!("{name}.log")));
    }
    let entries = match cloud.plane() {
        Plane::Up(told) | Plane::Unattended(told) => told.entries,
        Plane::Off => Vec::new(),
    };
    let entry = entries.iter().find(|entry| entry.name == name || entry.resource == name);
    let Some(entry) = entry else {
        let known =
            ["moto", "gateway", "supervisor"].into_iter().chain(entries.iter().map(|entry| entry.name.as_str()));
        let known = known.collect::<Vec<_>>().join(", ");
        return Err(Failure::new(format!("the local cloud has no process {name}")).hint(format!("it has {known}")));
    };
    Ok(Processes::of(cloud.data()).map_err(Error::from)?.log_file(&entry.name))
}

/// Cancelled by Ctrl-C and SIGTERM.
fn until_told_to_stop() -> Result<CancellationToken> {
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
    Ok(shutdown)
}

async fn run_gateway(listen: SocketAddr, upstream: String, strict: bool) -> Result<()> {
    if !upstream.starts_with("http://") {
        return Err(Failure::new(format!("--upstream {upstream} is not the URL of an emulator"))
            .hint("it begins with http://, such as http://127.0.0.1:5000"));
    }
    let cannot_listen = |error| Failure::new(format!("the gateway cannot listen on {listen}")).caused_by(error);
    let listener = TcpListener::bind(listen).await.map_err(cannot_listen)?;
    let address = listener.local_addr().map_err(cannot_listen)?;
    let shutdown = until_told_to_stop()?;
    super::say(format_args!("gateway at http://{address} in front of {upstream}"))?;
    Ok(gateway::serve(listener, gateway::Options { upstream, strict }, shutdown).await?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_story_widens_no_column() {
        let entry = |name: &str, state, detail: &str| Entry {
            name: name.into(),
            role: "load balancer".into(),
            address: "127.77.1.1:80".into(),
            state,
            detail: detail.into(),
            ..Entry::default()
        };
        let entries = vec![
            entry("balancer-web", State::Running, "2 of 2 targets healthy; another port than the listener's"),
            entry("balancer-shop", State::Failed, ""),
        ];
        let status = plane::board::Status { entries, ..plane::board::Status::default() };
        let told = [
            "NAME           ROLE           ADDRESS        STATE    SINCE  RESTARTS",
            "balancer-web   load balancer  127.77.1.1:80  running         0         2 of 2 targets healthy; another port \
             than the listener's",
            "balancer-shop  load balancer  127.77.1.1:80  failed          0",
        ];
        assert_eq!(table(&status), told.join("\n"));
    }
}
