//! ElastiCache: each replication group is a Redis primary with replicas, each node a server on an address of its own.

mod group;
mod node;

use std::collections::{BTreeMap, BTreeSet};

use async_trait::async_trait;
use futures::future::join_all;

use super::{Area, Entry, Error, Ground, Names, World, world};
use group::Group;
use node::PREFIX;

/// The area's name, and its directory below the data directory.
const NAME: &str = "cache";

/// All replication groups.
#[derive(Default)]
pub struct Caches(BTreeMap<String, Group>);

#[async_trait]
impl Area for Caches {
    fn name(&self) -> &'static str {
        NAME
    }

    async fn reconcile(&mut self, world: &World, ground: &Ground) -> Result<Vec<Entry>, Error> {
        let passwords: BTreeMap<String, String> = match world.caches.iter().any(|cache| cache.auth) {
            true => world::ask(&ground.endpoint, "auth-tokens").await?,
            false => BTreeMap::new(),
        };
        let mut seen = BTreeSet::new();
        let mut steps = Vec::new();
        for wish in world.caches.iter().filter(|wish| wish.status != "deleting") {
            if !seen.insert(&wish.id) {
                tracing::warn!(group = wish.id, region = wish.region, "another region has a group of this name");
                continue;
            }
            let mut group = self.0.remove(&wish.id).unwrap_or_default();
            let password = passwords.get(&wish.id).filter(|_| wish.auth).map(String::as_str);
            steps.push(async move {
                let told = group.step(ground, wish, world.changes, password).await;
                (wish, group, told)
            });
        }
        let (mut entries, mut names) = (Vec::new(), Names::new());
        let mut wanted = BTreeSet::new();
        for (wish, group, (of_group, names_of_group)) in join_all(steps).await {
            self.0.insert(wish.id.clone(), group);
            wanted.extend(wish.nodes.iter().map(|node| node.id.as_str()));
            entries.extend(of_group);
            names.extend(names_of_group);
        }
        ground.hosts.set(NAME, names)?;
        self.0.retain(|id, _| seen.contains(id));
        retire(ground, &wanted).await?;
        Ok(entries)
    }
}

/// Removes nodes that belong to no group any more.
async fn retire(ground: &Ground, wanted: &BTreeSet<&str>) -> Result<(), Error> {
    let Ok(entries) = std::fs::read_dir(ground.data.join(NAME)) else { return Ok(()) };
    for path in entries.flatten().map(|entry| entry.path()) {
        let Some(thing) = path.file_name().and_then(|name| name.to_str()) else { continue };
        if wanted.contains(thing) {
            continue;
        }
        ground.retire(&format!("{PREFIX}{thing}"), &path).await?;
    }
    Ok(())
}
