//! Aurora: each cluster is a MariaDB writer with readers that follow it, each instance a server on an address of its own.
//!
//! Aurora's instances share their storage, so that a failover loses nothing. Here a change reaches a reader before the client
//! hears of it (semi-synchronous replication), and a failover waits until the heir has everything. Which server has the truth
//! is written down in `database/<cluster>.writer`; servers begin read-only and are opened only as that says.

mod cluster;
mod roles;
mod server;
mod template;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use async_trait::async_trait;
use futures::future::join_all;

use super::{Area, Entry, Error, Ground, Names, World};
use cluster::Cluster;
use server::PREFIX;

/// The area's name, and its directory below the data directory.
const NAME: &str = "database";

/// All clusters.
#[derive(Default)]
pub struct Databases {
    base: Option<Base>,
    clusters: BTreeMap<String, Cluster>,
}

/// What all servers begin with.
#[derive(Clone)]
struct Base {
    /// As whom they run.
    user: String,
    template: PathBuf,
}

#[async_trait]
impl Area for Databases {
    fn name(&self) -> &'static str {
        NAME
    }

    async fn reconcile(&mut self, world: &World, ground: &Ground) -> Result<Vec<Entry>, Error> {
        let base = match &self.base {
            Some(base) => base.clone(),
            // Made before there is a cluster: it takes some seconds, once on a machine.
            None => {
                let user = template::user().await?;
                let template = template::ensure(ground, &user).await?;
                self.base.insert(Base { user, template }).clone()
            }
        };
        let mut seen = BTreeSet::new();
        let (mut entries, mut names) = (Vec::new(), Names::new());
        let mut steps = Vec::new();
        for wish in &world.clusters {
            let ids = wish.instances.iter().map(|instance| &instance.id).chain([&wish.id]);
            if ids.clone().any(|id| seen.contains(id)) {
                tracing::warn!(cluster = wish.id, region = wish.region, "another region has a cluster of this name");
                continue;
            }
            seen.extend(ids);
            let mut cluster = self.clusters.remove(&wish.id).unwrap_or_default();
            let base = &base;
            steps.push(async move {
                let told = cluster.step(ground, base, wish, world.changes).await;
                (&wish.id, cluster, told)
            });
        }
        for (id, cluster, (of_cluster, names_of_cluster)) in join_all(steps).await {
            self.clusters.insert(id.clone(), cluster);
            entries.extend(of_cluster);
            names.extend(names_of_cluster);
        }
        ground.hosts.set(NAME, names)?;
        self.clusters.retain(|id, _| seen.contains(id));
        retire(ground, world).await?;
        Ok(entries)
    }
}

/// Removes what belongs to no cluster any more. A writer stays as long as its cluster has instances: one of them must take
/// over first.
async fn retire(ground: &Ground, world: &World) -> Result<(), Error> {
    let wanted: BTreeSet<&str> =
        world.clusters.iter().flat_map(|cluster| &cluster.instances).map(|instance| instance.id.as_str()).collect();
    let mut writers = BTreeSet::new();
    for cluster in &world.clusters {
        if !cluster.instances.is_empty() {
            writers.extend(cluster::writer(ground, &cluster.id));
        }
    }
    let Ok(entries) = std::fs::read_dir(ground.data.join(NAME)) else { return Ok(()) };
    for path in entries.flatten().map(|entry| entry.path()) {
        let Some(thing) = path.file_name().and_then(|name| name.to_str()) else { continue };
        if let Some(id) = thing.strip_suffix(cluster::WRITER) {
            if !world.clusters.iter().any(|cluster| cluster.id == id && !cluster.instances.is_empty()) {
                super::remove(&path)?;
            }
        } else if path.is_dir() && !wanted.contains(thing) && !writers.contains(thing) {
            ground.retire(&format!("{PREFIX}{thing}"), &path).await?;
        }
    }
    Ok(())
}
