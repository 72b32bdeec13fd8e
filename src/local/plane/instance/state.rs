//! What an instance tells about itself: `run/ticketctl/state.json` in its directory, written by its init.

use std::collections::BTreeMap;
use std::path::Path;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// Where inside an instance things of the local cloud are.
pub const RUN: &str = "/run/ticketctl";
pub const SOCKET: &str = "init.socket";
const STATE: &str = "state.json";

/// An instance as its init sees it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct InstanceState {
    pub boot: Boot,
    /// By unit, with `.service`.
    pub services: BTreeMap<String, ServiceState>,
    /// Processor time of everything in the instance, in seconds, as it was at that moment.
    pub cpu_seconds: f64,
    pub at: Timestamp,
}

/// How far the boot script has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Boot {
    #[default]
    Running,
    Done,
    /// With the script's exit code.
    Failed(i32),
}

/// A service, in systemd's words.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceState {
    pub active: Active,
    /// Inside the instance.
    pub pid: Option<u32>,
    pub since: Timestamp,
    pub restarts: u32,
    /// How it ended last.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub ended: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Active {
    Active,
    /// It ended and will be started again.
    Activating,
    Deactivating,
    Inactive,
    Failed,
}

impl Active {
    /// As `systemctl is-active` says it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Activating => "activating",
            Self::Deactivating => "deactivating",
            Self::Inactive => "inactive",
            Self::Failed => "failed",
        }
    }
}

impl InstanceState {
    /// What the instance whose `/run/ticketctl` this is has told last.
    pub fn read(run: &Path) -> Option<Self> {
        serde_json::from_slice(&std::fs::read(run.join(STATE)).ok()?).ok()
    }

    /// Written whole or not at all.
    pub(super) fn write(&self, run: &Path) -> std::io::Result<()> {
        let part = run.join("state.part");
        std::fs::write(&part, serde_json::to_vec(self)?)?;
        std::fs::rename(&part, run.join(STATE))
    }
}
