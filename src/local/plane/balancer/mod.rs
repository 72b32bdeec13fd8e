//! The load balancer of the local cloud: a reverse proxy that does what an Application Load Balancer does with the same
//! listeners, rules and target groups.
//!
//! It answers as one does: 503 when a target group has nobody to ask, 502 when a target breaks off, 504 when it stays
//! silent; when all targets are unhealthy, all of them are asked. A request whose connection could not be made was never
//! sent, so it goes to one other target; one that was sent is never repeated. A target that is taken out gets no new
//! requests, and those in flight end within the deregistration delay.
//!
//! Other than there: slow start and stickiness are ignored, HTTPS speaks HTTP/1.1 alone, WebSockets aren't carried, and
//! health checks come more often, so that a laptop needn't wait (`health::HURRY`).

mod area;
mod body;
mod forward;
mod headers;
mod health;
mod listen;
mod route;
mod targets;
mod wanted;

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use tokio_util::sync::CancellationToken;

pub use area::Balancers;
pub use health::{HURRY, HealthCheck};
pub use route::{Action, Redirect, Rule};
pub use targets::{GroupCounts, Health, Reason, TargetHealth, TargetKey};

use forward::Client;
use targets::Group;

/// What the control plane wants one load balancer to be.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// The load balancer's own address.
    pub address: IpAddr,
    /// How long a connection may be silent.
    pub idle_timeout: Duration,
    /// By the port that AWS knows.
    pub listeners: BTreeMap<u16, Listener>,
    /// By ARN.
    pub groups: BTreeMap<String, TargetGroup>,
}

/// One port, and what happens to the requests that come in there.
#[derive(Clone, Debug)]
pub struct Listener {
    /// For HTTPS.
    pub tls: Option<Arc<rustls::ServerConfig>>,
    /// In the order of their priority.
    pub rules: Vec<Rule>,
    pub default: Action,
}

/// Who answers, and how it is found out whether they can.
#[derive(Clone, Debug)]
pub struct TargetGroup {
    pub check: HealthCheck,
    pub deregistration_delay: Duration,
    /// Where each registered target really is.
    pub targets: BTreeMap<TargetKey, SocketAddr>,
}

/// Why a load balancer cannot listen.
#[derive(Debug, thiserror::Error)]
#[error(
    "the load balancer cannot listen on {address}: {source}; `ticketctl local down` frees what is left of an earlier one"
)]
pub struct ListenError {
    address: SocketAddr,
    source: std::io::Error,
}

/// What requests are handled by at one moment.
struct Table {
    idle_timeout: Duration,
    listeners: BTreeMap<u16, Listener>,
    groups: BTreeMap<String, Arc<Group>>,
    /// The port that AWS knows, and the one that is really listened on.
    ports: BTreeMap<u16, u16>,
}

/// What all parts of one load balancer share.
struct Shared {
    table: RwLock<Arc<Table>>,
    client: Client,
    /// Answers of the load balancer's own with an error.
    own_errors: Mutex<BTreeMap<u16, u64>>,
}

impl Shared {
    fn table(&self) -> Arc<Table> {
        self.table.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// A load balancer that runs; it ends when dropped.
pub struct Balancer {
    shared: Arc<Shared>,
    /// By the port that AWS knows.
    listening: BTreeMap<u16, listen::Listening>,
    /// Groups that no rule and no listener has any more, while their targets drain.
    leaving: Vec<Arc<Group>>,
    stop: CancellationToken,
}

impl Drop for Balancer {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl Balancer {
    /// A load balancer without listeners. It needs a tokio runtime.
    pub fn new() -> Self {
        let table = Table {
            idle_timeout: Duration::from_secs(60),
            listeners: BTreeMap::new(),
            groups: BTreeMap::new(),
            ports: BTreeMap::new(),
        };
        let shared =
            Shared { table: RwLock::new(Arc::new(table)), client: forward::client(), own_errors: Mutex::default() };
        Self {
            shared: Arc::new(shared),
            listening: BTreeMap::new(),
            leaving: Vec::new(),
            stop: CancellationToken::new(),
        }
    }

    /// Makes it what is wanted: requests that come in from now on are handled so, those in flight end as they began.
    ///
    /// # Errors
    /// When a port cannot be listened on; everything else is as wanted then.
    pub async fn apply(&mut self, wanted: Wanted) -> Result<(), ListenError> {
        let before = self.shared.table();
        let mut groups = BTreeMap::new();
        for (arn, group) in &wanted.groups {
            let known = before.groups.get(arn).cloned();
            let known = known.unwrap_or_else(|| Arc::new(Group::new(&self.stop)));
            known.apply(group);
            groups.insert(arn.clone(), known);
        }
        for (_, gone) in before.groups.iter().filter(|(arn, _)| !groups.contains_key(*arn)) {
            gone.drain_all();
            self.leaving.push(gone.clone());
        }
        self.leaving.retain(|group| !group.is_drained());
        // Requests must find their way before the port opens.
        let ports: BTreeMap<u16, u16> = self.ports().into_iter().map(|(port, at)| (port, at.port())).collect();
        self.set_table(&wanted, groups.clone(), ports);
        self.listening.retain(|port, _| wanted.listeners.contains_key(port));
        let mut failed = None;
        for (port, listener) in &wanted.listeners {
            if let Some(listening) = self.listening.get(port) {
                listening.set_tls(listener.tls.clone());
                continue;
            }
            match listen::start(&self.shared, wanted.address, *port, listener.tls.clone(), &self.stop) {
                Ok(listening) => {
                    self.listening.insert(*port, listening);
                }
                Err(error) => failed = Some(error),
            }
        }
        let ports = self.ports().into_iter().map(|(port, at)| (port, at.port())).collect();
        self.set_table(&wanted, groups, ports);
        failed.map_or(Ok(()), Err)
    }

    fn set_table(&self, wanted: &Wanted, groups: BTreeMap<String, Arc<Group>>, ports: BTreeMap<u16, u16>) {
        let table = Table { idle_timeout: wanted.idle_timeout, listeners: wanted.listeners.clone(), groups, ports };
        *self.shared.table.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(table);
    }

    /// Where it really listens, by the port that AWS knows.
    pub fn ports(&self) -> BTreeMap<u16, SocketAddr> {
        self.listening.iter().map(|(port, listening)| (*port, listening.address())).collect()
    }

    /// What each target's health is, by target group: those that drain are still among them.
    pub fn health(&self) -> BTreeMap<String, Vec<TargetHealth>> {
        let table = self.shared.table();
        table.groups.iter().map(|(arn, group)| (arn.clone(), group.health())).collect()
    }

    /// Whether the target has no request in flight any more and is registered nowhere, or its delay has run out.
    pub fn is_drained(&self, instance: &str) -> bool {
        let table = self.shared.table();
        table.groups.values().chain(&self.leaving).all(|group| group.has_drained(instance))
    }

    /// What was counted since it began, by target group.
    pub fn counts(&self) -> BTreeMap<String, GroupCounts> {
        let table = self.shared.table();
        table.groups.iter().map(|(arn, group)| (arn.clone(), group.counts())).collect()
    }

    /// The load balancer's own answers with an error since it began, by status.
    pub fn own_errors(&self) -> BTreeMap<u16, u64> {
        self.shared.own_errors.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Default for Balancer {
    fn default() -> Self {
        Self::new()
    }
}
