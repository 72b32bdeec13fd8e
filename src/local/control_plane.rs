//! The managed local cloud: moto's server, the gateway in front of it and the supervisor of the data plane, as background
//! processes of the user.
//!
//! What the emulator knows lives in its memory: it is gone when the control plane is taken down or dies.

use std::path::{Path, PathBuf};
use std::process::Child;
use std::time::Duration;

use http_body_util::{BodyExt, Empty};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use serde::{Deserialize, Serialize};

use super::plane::{Board, Processes, Programs, board};
use super::service::Service;
use super::{Error, environment};

/// Where LocalStack and its like are looked for, so where tools expect an emulator.
const USUAL_PORT: u16 = 4566;

/// How long a server may take until it answers. A loaded machine is slow to start Python.
const START: Duration = Duration::from_secs(90);

/// The control plane of one user, known by its directories.
pub struct ControlPlane {
    data: PathBuf,
    cache: PathBuf,
}

/// What runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Running {
    /// The gateway's URL, for `--endpoint-url`.
    pub endpoint: String,
    /// The emulator's own URL.
    pub upstream: String,
    /// When it was started (RFC 3339).
    pub started: String,
    /// Whether the data plane belongs to it.
    #[serde(default)]
    pub plane: bool,
}

/// What is to run.
#[derive(Clone, Copy, Debug, Default)]
pub struct Wanted {
    /// The gateway's port; any free one when none is given and 4566 isn't free.
    pub port: Option<u16>,
    /// The control plane alone, without the processes that are what it says.
    pub control_plane_only: bool,
}

/// What `status` finds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Status {
    Up(Running),
    /// Something is left of it, but it doesn't answer.
    Broken(String),
    Down,
}

/// The data plane.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Plane {
    /// There is none.
    Off,
    Up(board::Status),
    /// Its supervisor is gone: nobody looks after the processes. This is the last that it said.
    Unattended(board::Status),
}

/// How the supervisor is recognised among processes.
const SUPERVISOR: &[&str] = &["local", "supervise"];

/// A process's answer to a health check.
#[derive(Deserialize)]
struct Health {
    service: String,
    upstream: String,
}

impl ControlPlane {
    /// The control plane of this user: state under `XDG_DATA_HOME`, the Python environment under `XDG_CACHE_HOME`.
    ///
    /// # Errors
    /// When neither they nor `HOME` are set.
    pub fn of_user() -> Result<Self, Error> {
        let data = super::user_directory("XDG_DATA_HOME", ".local/share")?.join("local");
        Ok(Self::in_directories(data, environment::user_cache()?))
    }

    /// A control plane of its own, with its state in `data` and the Python environment in `cache`.
    pub fn in_directories(data: PathBuf, cache: PathBuf) -> Self {
        Self { data, cache }
    }

    fn moto(&self) -> Service {
        Service::new("moto", &self.data)
    }

    fn gateway(&self) -> Service {
        Service::new("gateway", &self.data)
    }

    fn supervisor(&self) -> Service {
        Service::new("supervisor", &self.data)
    }

    /// Where everything is.
    pub fn data(&self) -> &Path {
        &self.data
    }

    fn state_file(&self) -> PathBuf {
        self.data.join("control-plane.json")
    }

    /// Starts what doesn't run and waits until it answers. A second call answers with what runs. The databases and all else
    /// of the data plane start in the background.
    ///
    /// `program` is ticketctl itself, which the gateway and the supervisor are.
    ///
    /// # Errors
    /// When it runs on another port than the one asked for, that port is taken, a program is missing or something doesn't
    /// start.
    pub async fn up(
        &self,
        program: &Path,
        wanted: Wanted,
        progress: &mut (dyn FnMut(&str) + Send),
    ) -> Result<Running, Error> {
        if !wanted.control_plane_only {
            Programs::find()?;
        }
        super::create_private(&self.data)?;
        let _lock = super::lock(&self.data.join("lock"), progress).await?;
        let mut running = self.control_plane(program, wanted.port, progress).await?;
        if !wanted.control_plane_only && self.supervisor().running(SUPERVISOR).is_none() {
            progress("starting the supervisor of the data plane");
            self.start_supervisor(program, &running.endpoint).await?;
            running.plane = true;
            self.write(&running)?;
        }
        Ok(running)
    }

    /// The control plane that runs, or a new one.
    async fn control_plane(
        &self,
        program: &Path,
        port: Option<u16>,
        progress: &mut (dyn FnMut(&str) + Send),
    ) -> Result<Running, Error> {
        if let Status::Up(running) = self.status().await {
            let runs_at = running.endpoint.rsplit(':').next().and_then(|port| port.parse().ok());
            return match port {
                Some(wanted) if runs_at != Some(wanted) => Err(Error::OtherPort { endpoint: running.endpoint, wanted }),
                _ => Ok(running),
            };
        }
        self.stop().await?;
        self.clear()?;
        let port = choose_port(port)?;
        let environment = environment::ensure(&self.cache, progress).await?;
        progress("starting moto");
        let moto_port = free_port()?;
        let upstream = format!("http://127.0.0.1:{moto_port}");
        let moto_port = moto_port.to_string();
        let server = environment.moto_server();
        let arguments = [server.to_string_lossy(), "-H".into(), "127.0.0.1".into(), "-p".into(), moto_port.into()];
        let arguments: Vec<&str> = arguments.iter().map(AsRef::as_ref).collect();
        let started = self.start_all(&environment.python(), &arguments, &upstream, program, port, progress).await;
        if started.is_err() {
            // Half a control plane would stand in the way of the next try. The first error is the one to tell.
            if let Err(error) = self.stop().await {
                tracing::warn!(%error, "what was started could not be stopped");
            }
        }
        started
    }

    async fn start_all(
        &self,
        python: &Path,
        arguments: &[&str],
        upstream: &str,
        program: &Path,
        port: u16,
        progress: &mut (dyn FnMut(&str) + Send),
    ) -> Result<Running, Error> {
        let moto = self.moto();
        let child = moto.start(python, arguments, &[("MOTO_IAM_LOAD_MANAGED_POLICIES", "true")])?;
        wait_until_healthy(&moto, "moto", child, &format!("{upstream}/moto-api/config")).await?;
        progress("starting the gateway");
        let endpoint = format!("http://127.0.0.1:{port}");
        let gateway = self.gateway();
        let listen = format!("127.0.0.1:{port}");
        let arguments = ["local", "gateway", "--listen", &listen, "--upstream", upstream, "--strict"];
        let child = gateway.start(program, &arguments, &[])?;
        wait_until_healthy(&gateway, "the gateway", child, &format!("{endpoint}/_ticketctl/health")).await?;
        let started = jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
        let running = Running { endpoint, upstream: upstream.to_owned(), started, plane: false };
        self.write(&running)?;
        Ok(running)
    }

    async fn start_supervisor(&self, program: &Path, endpoint: &str) -> Result<(), Error> {
        let supervisor = self.supervisor();
        let (data, cache) = (self.data.to_string_lossy(), self.cache.to_string_lossy());
        let arguments = ["local", "supervise", "--endpoint", endpoint, "--data", &data, "--cache", &cache, "-v"];
        let before = Board::read(&self.data).and_then(|told| told.since);
        let mut child = supervisor.start(program, &arguments, &[])?;
        let deadline = tokio::time::Instant::now() + START;
        // Its first word is that it looks at the control plane.
        while Board::read(&self.data).and_then(|told| told.since) == before {
            let failed = |reason: &str| {
                let reason = format!("{reason}\n{}", supervisor.last_words()).trim().to_owned();
                Error::Start { name: "the supervisor", reason, log: supervisor.log_file() }
            };
            if let Ok(Some(status)) = child.try_wait() {
                return Err(failed(&format!("it ended with {status}")));
            }
            if tokio::time::Instant::now() > deadline {
                return Err(failed(&format!("it says nothing after {} s", START.as_secs())));
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Ok(())
    }

    /// What the data plane consists of, when there is one.
    pub fn plane(&self) -> Plane {
        match Board::read(&self.data) {
            Some(status) if self.supervisor().running(SUPERVISOR).is_some() => Plane::Up(status),
            Some(status) => Plane::Unattended(status),
            None => Plane::Off,
        }
    }

    /// What runs of the control plane, asked of the processes themselves.
    pub async fn status(&self) -> Status {
        let state = self.state_file();
        let running: Option<Running> = std::fs::read(&state).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok());
        let moto = self.moto().running(&["moto_server"]).is_some();
        let gateway = self.gateway().running(&["gateway", "--upstream"]).is_some();
        match running {
            Some(running) if moto && gateway => match health(&running.endpoint).await {
                Some(health) if health.upstream == running.upstream => Status::Up(running),
                _ => Status::Broken(format!("the gateway at {} does not answer", running.endpoint)),
            },
            _ if moto || gateway => {
                let left = if moto { "moto" } else { "the gateway" };
                Status::Broken(format!("only {left} is left of it"))
            }
            _ => Status::Down,
        }
    }

    /// Stops everything and removes all that it knew and stored. Says whether there was anything.
    ///
    /// # Errors
    /// When a process doesn't end or a file cannot be removed.
    pub async fn down(&self, progress: &mut (dyn FnMut(&str) + Send)) -> Result<bool, Error> {
        if !self.data.is_dir() {
            return Ok(false);
        }
        let _lock = super::lock(&self.data.join("lock"), progress).await?;
        let ran = self.status().await != Status::Down || self.plane() != Plane::Off;
        self.stop().await?;
        self.clear()?;
        Ok(ran)
    }

    /// Removes everything but the lock, for which others may be waiting.
    fn clear(&self) -> Result<(), Error> {
        let lock = self.data.join("lock");
        let entries = std::fs::read_dir(&self.data).map_err(|error| Error::file(&self.data, error))?;
        for entry in entries.flatten().map(|entry| entry.path()).filter(|path| *path != lock) {
            let removed = if entry.is_dir() { std::fs::remove_dir_all(&entry) } else { std::fs::remove_file(&entry) };
            removed.map_err(|error| Error::file(&entry, error))?;
        }
        Ok(())
    }

    /// Nothing can be made of a control plane that has forgotten everything: the data plane goes with it.
    async fn stop(&self) -> Result<(), Error> {
        self.supervisor().stop(SUPERVISOR).await?;
        Processes::of(&self.data)?.stop_all().await?;
        self.gateway().stop(&["gateway", "--upstream"]).await?;
        self.moto().stop(&["moto_server"]).await?;
        match std::fs::remove_file(self.state_file()) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(Error::file(&self.state_file(), error)),
            _ => Ok(()),
        }
    }

    /// Written whole or not at all; temporary files are private to the user.
    fn write(&self, running: &Running) -> Result<(), Error> {
        use std::io::Write;
        let path = self.state_file();
        let failed = |error| Error::file(&path, error);
        let mut file = tempfile::NamedTempFile::new_in(&self.data).map_err(failed)?;
        let text = serde_json::to_vec_pretty(running).map_err(|error| failed(error.into()))?;
        file.write_all(&text).and_then(|()| file.as_file().sync_all()).map_err(failed)?;
        file.persist(&path).map_err(|error| failed(error.error))?;
        Ok(())
    }
}

/// The port asked for, or 4566, or any free one.
fn choose_port(wanted: Option<u16>) -> Result<u16, Error> {
    let is_free = |port: u16| std::net::TcpListener::bind(("127.0.0.1", port)).is_ok();
    match wanted {
        Some(port) if is_free(port) => Ok(port),
        Some(port) => Err(Error::PortTaken(port)),
        None if is_free(USUAL_PORT) => Ok(USUAL_PORT),
        None => free_port(),
    }
}

fn free_port() -> Result<u16, Error> {
    let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).map_err(Error::NoPort)?;
    Ok(listener.local_addr().map_err(Error::NoPort)?.port())
}

async fn wait_until_healthy(service: &Service, name: &'static str, mut child: Child, url: &str) -> Result<(), Error> {
    let deadline = tokio::time::Instant::now() + START;
    let failed = |reason: &str| {
        let reason = format!("{reason}\n{}", service.last_words());
        Error::Start { name, reason: reason.trim().to_owned(), log: service.log_file() }
    };
    loop {
        if get(url).await.is_some() {
            return Ok(());
        }
        if let Ok(Some(status)) = child.try_wait() {
            return Err(failed(&format!("it ended with {status}")));
        }
        if tokio::time::Instant::now() > deadline {
            return Err(failed(&format!("it does not answer at {url} after {} s", START.as_secs())));
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

async fn health(endpoint: &str) -> Option<Health> {
    let body = get(&format!("{endpoint}/_ticketctl/health")).await?;
    let health: Health = serde_json::from_slice(&body).ok()?;
    (health.service == super::gateway::SERVICE).then_some(health)
}

/// The body of a successful answer.
async fn get(url: &str) -> Option<bytes::Bytes> {
    let client: Client<_, Empty<bytes::Bytes>> = Client::builder(TokioExecutor::new()).build_http();
    let answer = tokio::time::timeout(Duration::from_secs(5), client.get(url.parse().ok()?)).await;
    let answer = answer.ok()?.ok().filter(|answer| answer.status().is_success())?;
    answer.into_body().collect().await.ok().map(|body| body.to_bytes())
}
