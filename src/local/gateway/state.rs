//! What the gateway knows beyond the emulator. It lives in memory and ends with the gateway.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use indexmap::IndexMap;
use tokio::sync::OwnedMutexGuard;

use super::Options;
use super::call::Call;
use super::faults::FaultState;
use super::form::Form;
use super::gaps::{ParameterGroup, Refresh, ReplicationGroup, SubnetGroup};
use super::reply::Reply;
use super::requests::Requests;
use super::upstream::Upstream;
use super::xml::Element;

/// The services whose resources the data plane is made from.
const REGIONAL: [&str; 5] = ["autoscaling", "ec2", "elasticache", "elasticloadbalancing", "rds"];

pub struct State {
    pub upstream: Upstream,
    pub strict: bool,
    pub faults: FaultState,
    /// What has happened, for whoever follows the control plane.
    news: Mutex<News>,
    pub requests: Requests,
    memory: Mutex<Memory>,
    kept: Mutex<Memory>,
    turns: Mutex<HashMap<String, Arc<tokio::sync::Mutex<()>>>>,
}

/// How much has been changed, and in which regions.
#[derive(Default, serde::Serialize)]
pub struct News {
    /// How many changing calls were answered.
    changes: u64,
    /// Where something was changed.
    regions: BTreeSet<String>,
}

#[derive(Clone, Default)]
pub struct Memory {
    pub refreshes: BTreeMap<String, Vec<Refresh>>,
    pub parameter_groups: IndexMap<String, ParameterGroup>,
    pub subnet_groups: IndexMap<String, SubnetGroup>,
    pub replication_groups: IndexMap<String, ReplicationGroup>,
    /// First calls and answers, by operation and client token.
    pub tokens: HashMap<String, (Form, Reply)>,
    /// Launch template version that each Auto Scaling instance was launched with, by instance id.
    pub launched_with: HashMap<String, Element>,
    /// Attributes that callers set and the emulator doesn't keep, by kind and name of the resource.
    pub attributes: HashMap<(&'static str, String), BTreeMap<String, Element>>,
    /// Parameters of RDS parameter groups that were reset: operation of their description, group, parameter.
    pub reset_parameters: HashSet<(&'static str, String, String)>,
    /// The launch template data of each version, by template id and version, as parameters.
    pub template_data: HashMap<(String, String), Form>,
    /// The subnets of Auto Scaling groups, as they are to be when a termination is done.
    pub reordered: HashMap<String, String>,
    /// What the data plane tells of itself, if there is one.
    pub plane: Option<super::plane::Report>,
    /// Deleted versions of launch templates, by template id.
    pub deleted_versions: HashMap<String, HashSet<String>>,
}

impl State {
    pub fn new(options: &Options) -> Self {
        Self {
            upstream: Upstream::new(&options.upstream),
            strict: options.strict,
            faults: FaultState::new(),
            news: Mutex::default(),
            requests: Requests::default(),
            memory: Mutex::default(),
            kept: Mutex::default(),
            turns: Mutex::default(),
        }
    }

    pub fn memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn news(&self) -> MutexGuard<'_, News> {
        self.news.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts a call that was answered.
    pub fn note(&self, call: &Call) {
        if !call.is_mutating() {
            return;
        }
        let mut news = self.news();
        news.changes += 1;
        // Calls of services without regions are signed for one all the same.
        if REGIONAL.contains(&call.service.as_str()) {
            news.regions.insert(call.region());
        }
    }

    /// Forgets everything, when the emulator was told to.
    pub fn reset(&self) {
        *self.memory() = Memory::default();
    }

    /// Keeps what is known now, for [`State::go_back`].
    pub fn keep(&self) {
        *self.kept.lock().unwrap_or_else(PoisonError::into_inner) = self.memory().clone();
    }

    /// Knows again what was kept, and nothing if nothing was.
    pub fn go_back(&self) {
        *self.memory() = self.kept.lock().unwrap_or_else(PoisonError::into_inner).clone();
    }

    /// Changes of one service take turns, so that what was checked still holds when the call is carried out. Reads pass.
    pub async fn serialise(&self, call: &Call) -> Option<OwnedMutexGuard<()>> {
        if !call.is_mutating() {
            return None;
        }
        Some(self.turn(&call.service).await)
    }

    /// Waits for the turn to change something of the service.
    pub async fn turn(&self, service: &str) -> OwnedMutexGuard<()> {
        let turn = {
            let mut turns = self.turns.lock().unwrap_or_else(PoisonError::into_inner);
            turns.entry(service.to_owned()).or_default().clone()
        };
        turn.lock_owned().await
    }
}
