//! What the control plane says now: all stacks in all regions in which anybody has made something, as plain values.
//!
//! It is seen whole or not at all: a listing that fails must not look like resources that are gone.

mod compute;
mod data;
mod edge;

use std::collections::BTreeSet;
use std::time::Duration;

use futures::future::try_join_all;
use http_body_util::{BodyExt, Empty, Full};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use serde::Deserialize;
use serde::de::DeserializeOwned;

pub use compute::{Machine, ScalingGroup};
pub use data::{CacheGroup, CacheNode, DatabaseCluster, DatabaseInstance};
pub use edge::{Balancer, Listener, Targets};

use super::{Error, Ground};

/// Everything that the data plane is made from. Each value names its region.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct World {
    /// The gateway's count of changes when this was seen.
    pub changes: u64,
    pub clusters: Vec<DatabaseCluster>,
    pub caches: Vec<CacheGroup>,
    /// EC2 instances in every state.
    pub machines: Vec<Machine>,
    pub groups: Vec<ScalingGroup>,
    pub balancers: Vec<Balancer>,
    pub targets: Vec<Targets>,
}

/// What the gateway tells of itself.
#[derive(Clone, Debug, Deserialize)]
pub struct News {
    /// How many changing calls it has answered.
    pub changes: u64,
    /// Where something was changed.
    pub regions: BTreeSet<String>,
}

impl World {
    /// Looks at the control plane.
    ///
    /// # Errors
    /// When one of the listings fails.
    pub async fn observe(ground: &Ground, news: &News) -> Result<Self, Error> {
        let regions = news.regions.iter().map(|region| Self::of_region(ground, region));
        let mut world = Self { changes: news.changes, ..Self::default() };
        for region in try_join_all(regions).await? {
            world.clusters.extend(region.clusters);
            world.caches.extend(region.caches);
            world.machines.extend(region.machines);
            world.groups.extend(region.groups);
            world.balancers.extend(region.balancers);
            world.targets.extend(region.targets);
        }
        Ok(world)
    }

    async fn of_region(ground: &Ground, region: &str) -> Result<Self, Error> {
        let cx = &ground.aws(region).await;
        let (clusters, caches, machines, groups, balancers, targets) = tokio::try_join!(
            data::clusters(cx),
            data::caches(cx),
            compute::machines(cx),
            compute::groups(cx),
            edge::balancers(cx),
            edge::targets(cx),
        )?;
        Ok(Self { changes: 0, clusters, caches, machines, groups, balancers, targets })
    }
}

/// Asks the gateway whether there is anything new.
///
/// # Errors
/// When it doesn't answer or isn't ticketctl's.
pub async fn news(endpoint: &str) -> Result<News, Error> {
    ask(endpoint, "changes").await
}

/// One of the gateway's own paths.
pub(super) async fn ask<T: DeserializeOwned>(endpoint: &str, path: &str) -> Result<T, Error> {
    let unreachable = || Error::NoGateway { endpoint: endpoint.to_owned() };
    let uri = format!("{}/_ticketctl/{path}", endpoint.trim_end_matches('/')).parse().map_err(|_| unreachable())?;
    let client: Client<_, Empty<bytes::Bytes>> = Client::builder(TokioExecutor::new()).build_http();
    let answered = async {
        let answer = client.get(uri).await.ok().filter(|answer| answer.status().is_success())?;
        Some(answer.into_body().collect().await.ok()?.to_bytes())
    };
    let body = tokio::time::timeout(Duration::from_secs(5), answered).await.ok().flatten().ok_or_else(unreachable)?;
    serde_json::from_slice(&body).map_err(|_| unreachable())
}

/// Tells the gateway something on one of its own paths.
pub(super) async fn tell(endpoint: &str, path: &str, told: &impl serde::Serialize) -> Result<(), Error> {
    let unreachable = || Error::NoGateway { endpoint: endpoint.to_owned() };
    let uri = format!("{}/_ticketctl/{path}", endpoint.trim_end_matches('/'));
    let body = Full::new(bytes::Bytes::from(serde_json::to_vec(told)?));
    let request = hyper::Request::put(uri).body(body).map_err(|_| unreachable())?;
    let client: Client<_, Full<bytes::Bytes>> = Client::builder(TokioExecutor::new()).build_http();
    let answered = tokio::time::timeout(Duration::from_secs(5), client.request(request)).await;
    match answered {
        Ok(Ok(answer)) if answer.status().is_success() => Ok(()),
        _ => Err(unreachable()),
    }
}
