//! What instances, load balancers and scaling know of each other.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::balancer::Balancer;
use super::instance::InstanceState;

/// Shared by the three areas that make a service.
#[derive(Default)]
pub struct Fleet {
    members: Mutex<BTreeMap<String, Member>>,
    /// By ARN.
    pub balancers: tokio::sync::Mutex<BTreeMap<String, Balancer>>,
}

/// An instance that has been started.
#[derive(Clone, Debug, PartialEq)]
pub struct Member {
    pub address: Ipv4Addr,
    /// Whether its sandbox is there.
    pub alive: bool,
    /// What it tells of itself, once it does.
    pub state: Option<InstanceState>,
}

impl Fleet {
    /// All instances, by id.
    pub fn members(&self) -> MutexGuard<'_, BTreeMap<String, Member>> {
        self.members.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether no load balancer sends it requests any more, and those that it had have ended.
    pub async fn is_drained(&self, instance: &str) -> bool {
        self.balancers.lock().await.values().all(|balancer| balancer.is_drained(instance))
    }
}
