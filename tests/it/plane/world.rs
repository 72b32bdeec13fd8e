//! A control plane with a supervisor of its own, in a directory of its own.

use std::fs;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use ticketctl::aws::Context;
use ticketctl::local::environment;
use ticketctl::local::plane::board::{Board, Entry, State, Status};

use crate::support::Endpoint;

/// How long a busy machine may take for anything.
const PATIENCE: Duration = Duration::from_secs(180);

/// Everything that a test of the data plane needs; nothing of it is left when it is dropped.
pub struct World {
    pub endpoint: Endpoint,
    pub cx: Context,
    pub data: PathBuf,
    supervisor: Option<Child>,
    environment: Vec<(&'static str, &'static str)>,
    _directory: tempfile::TempDir,
}

impl World {
    pub async fn start() -> Self {
        Self::start_with(&[]).await
    }

    /// With variables in the supervisor's environment.
    pub async fn start_with(environment: &[(&'static str, &'static str)]) -> Self {
        let endpoint = Endpoint::start().await;
        let cx = endpoint.clients().await;
        let directory = tempfile::tempdir().expect("a directory");
        let data = directory.path().join("local");
        let mut world =
            Self { endpoint, cx, data, supervisor: None, environment: environment.to_vec(), _directory: directory };
        world.supervise();
        world
    }

    /// Starts a supervisor: the first one, or one after another that was killed.
    pub fn supervise(&mut self) {
        let cache = environment::user_cache().expect("a cache directory");
        let mut command = Command::new(env!("CARGO_BIN_EXE_ticketctl"));
        command.args(["local", "supervise", "--endpoint", &self.endpoint.url(), "--data"]).arg(&self.data);
        command.envs(self.environment.iter().copied());
        let child = command.arg("--cache").arg(cache).stdin(Stdio::null()).spawn().expect("ticketctl runs");
        self.supervisor = Some(child);
    }

    /// As `kill -9` does it.
    pub fn kill_supervisor(&mut self) {
        let mut child = self.supervisor.take().expect("a supervisor");
        child.kill().expect("a signal");
        child.wait().expect("it ends");
    }

    pub fn status(&self) -> Status {
        Board::read(&self.data).unwrap_or_default()
    }

    pub fn entry(&self, resource: &str) -> Option<Entry> {
        self.status().entries.into_iter().find(|entry| entry.resource == resource)
    }

    /// Waits until all these run, in these roles, and answers with their entries.
    pub async fn run(&self, wanted: &[(&str, &str)]) -> Vec<Entry> {
        let entries = |status: Status| {
            let found = wanted.iter().map(|(resource, role)| {
                let is_it = |entry: &&Entry| entry.resource == *resource && entry.role == *role;
                let entry = status.entries.iter().find(is_it)?;
                (entry.state == State::Running).then(|| entry.clone())
            });
            found.collect::<Option<Vec<Entry>>>()
        };
        self.until(&format!("{wanted:?} run"), || entries(self.status())).await
    }

    /// Waits until something is there.
    pub async fn until<T>(&self, what: &str, mut look: impl FnMut() -> Option<T>) -> T {
        let begun = Instant::now();
        loop {
            if let Some(found) = look() {
                return found;
            }
            assert!(begun.elapsed() < PATIENCE, "not after {PATIENCE:?}: {what}\n{:#?}", self.status());
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// The addresses of a name in the hosts file.
    pub fn resolve(&self, name: &str) -> Vec<String> {
        let text = fs::read_to_string(self.data.join("hosts")).unwrap_or_default();
        let words = text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
        words.filter(|words| words.get(1) == Some(&name)).map(|words| words[0].to_owned()).collect()
    }

    pub fn authority(&self) -> PathBuf {
        self.data.join("authority/ca.pem")
    }

    /// Processes that have the data directory in their command line.
    pub fn processes(&self) -> Vec<String> {
        processes_of(&self.data)
    }
}

/// Processes that have a directory in their command line or as their working directory.
pub fn processes_of(directory: &Path) -> Vec<String> {
    let mark = directory.display().to_string();
    let all = fs::read_dir("/proc").expect("/proc").flatten().map(|entry| entry.path());
    let lines = all.filter_map(|process| {
        let line = fs::read(process.join("cmdline")).ok()?;
        let line = String::from_utf8_lossy(&line).replace('\0', " ");
        let lives_there = fs::read_link(process.join("cwd")).is_ok_and(|cwd| cwd.starts_with(directory));
        (lives_there || line.contains(&mark)).then_some(line)
    });
    lines.collect()
}

/// Sends a signal.
pub fn kill(pid: u32) {
    let sent = Command::new("/bin/sh").args(["-c", &format!("kill -9 {pid}")]).status();
    assert!(sent.expect("a shell").success(), "process {pid} takes a signal");
}

pub fn listens(place: &str) -> bool {
    TcpStream::connect(place).is_ok()
}

#[track_caller]
pub fn said(output: Output) -> String {
    let text = [output.stdout.as_slice(), output.stderr.as_slice()].concat();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&text));
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

impl Drop for World {
    fn drop(&mut self) {
        if let Some(mut supervisor) = self.supervisor.take() {
            let _ = supervisor.kill();
            let _ = supervisor.wait();
        }
        // What a failed test has left; one that has passed has looked for itself.
        if let Ok(processes) = ticketctl::local::plane::Processes::of(&self.data) {
            for name in processes.names().unwrap_or_default() {
                if let Some(alive) = processes.find(&name) {
                    let _ = Command::new("/bin/sh").args(["-c", &format!("kill -9 -{}", alive.pid)]).status();
                }
            }
        }
    }
}
