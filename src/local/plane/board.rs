//! What runs, for people: `plane.json` in the data directory, which `ticketctl local status` shows.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::Error;
use super::process::{Alive, Processes};

/// All that the supervisor tells.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// Since when this supervisor runs.
    pub since: Option<Timestamp>,
    /// What keeps it from seeing the control plane, or an area from doing its work; by area.
    pub errors: BTreeMap<String, String>,
    /// In the order of their areas and names.
    pub entries: Vec<Entry>,
}

/// One thing of the data plane.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Its name for `ticketctl local logs`, such as `database-shop-dev-aurora-1`.
    pub name: String,
    /// What it is on AWS: the identifier of the DB instance, cache node, EC2 instance or load balancer.
    pub resource: String,
    /// Such as `writer`.
    pub role: String,
    /// Where it listens, such as `127.77.3.1:3306`.
    pub address: String,
    pub state: State,
    /// What there is to say about the state.
    #[serde(skip_serializing_if = "String::is_empty", default)]
    pub detail: String,
    /// The process, if it has one.
    pub pid: Option<u32>,
    pub since: Option<Timestamp>,
    /// How often it was started again since the supervisor began.
    pub restarts: u32,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    #[default]
    Starting,
    Running,
    /// As somebody wanted it.
    Stopped,
    /// It doesn't work; the supervisor goes on trying.
    Failed,
}

impl Entry {
    /// One that could not even be prepared.
    pub fn unprepared(name: String, resource: &str, error: &Error) -> Self {
        Self { name, resource: resource.to_owned(), state: State::Failed, detail: error.to_string(), ..Self::default() }
    }

    /// Says how a server is, `up` or not: what it was settled to, if it was since its process began, and what trouble there is.
    pub fn in_condition(mut self, up: bool, settled: Option<&str>, trouble: Option<String>) -> Self {
        self.state = match (&trouble, settled) {
            (Some(_), _) => State::Failed,
            (None, Some(_)) if up => State::Running,
            _ => State::Starting,
        };
        self.detail = trouble.or(settled.map(str::to_owned)).unwrap_or_default();
        self
    }

    /// Takes over what the process table says: the pid, since when, how many restarts.
    pub fn with_process(mut self, processes: &Processes, alive: Option<Alive>) -> Self {
        self.pid = alive.map(|alive| alive.pid);
        self.since = alive.map(|alive| alive.since);
        self.restarts = processes.restarts(&self.name);
        self
    }
}

/// Collects what the areas tell and writes it down when it has changed.
pub struct Board {
    file: PathBuf,
    since: Timestamp,
    told: Mutex<Told>,
}

#[derive(Default)]
struct Told {
    errors: BTreeMap<String, String>,
    entries: BTreeMap<&'static str, Vec<Entry>>,
    written: Option<Status>,
}

impl Board {
    pub fn of(data: &Path) -> Self {
        Self { file: Self::file(data), since: Timestamp::now(), told: Mutex::default() }
    }

    fn file(data: &Path) -> PathBuf {
        data.join("plane.json")
    }

    /// What was last told in a data directory.
    pub fn read(data: &Path) -> Option<Status> {
        serde_json::from_slice(&std::fs::read(Self::file(data)).ok()?).ok()
    }

    /// An area's entries, or why it has none to tell; then the earlier ones stay. Says whether the error is a new one.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn tell(&self, area: &'static str, outcome: Result<Vec<Entry>, String>) -> Result<bool, Error> {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        let is_news = outcome.as_ref().is_err_and(|error| told.errors.get(area) != Some(error));
        match outcome {
            Ok(entries) => {
                told.errors.remove(area);
                told.entries.insert(area, entries);
            }
            Err(error) => {
                told.errors.insert(area.to_owned(), error);
            }
        }
        let status = Status {
            since: Some(self.since),
            errors: told.errors.clone(),
            entries: told.entries.values().flatten().cloned().collect(),
        };
        if told.written.as_ref() != Some(&status) {
            super::write(&self.file, &serde_json::to_vec_pretty(&status)?)?;
            told.written = Some(status);
        }
        Ok(is_news)
    }
}
