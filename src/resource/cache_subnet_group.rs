//! The subnets in which the caches may have nodes.

use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

use super::{Change, Created, Desired, Effect, Found, Kind, Outputs, Ref, Scan, Select, Status, Subnet, Traits};
use super::{elasticache, elasticache::subnet_group_name};
use crate::aws::{Context, Error, Result, Tags};

pub struct CacheSubnetGroup;

#[derive(Serialize, Deserialize)]
pub struct CacheSubnetGroupSpec {
    /// As [`subnet_group_name`] makes it.
    pub name: String,
    pub subnets: BTreeSet<Ref<Subnet>>,
}

impl CacheSubnetGroup {
    /// The logical id: a stack has one such group.
    pub const ID: &'static str = "cache-subnets";
}

impl Kind for CacheSubnetGroup {
    const NAME: &'static str = "cache_subnet_group";
    const TRAITS: Traits = Traits::INSTANT;
    type Spec = CacheSubnetGroupSpec;

    fn effect(path: &str) -> Effect {
        if path == "name" { Effect::Replace } else { Effect::InPlace }
    }

    async fn find(scan: &Scan<'_>, _select: &Select<'_>) -> Result<Vec<Found<CacheSubnetGroupSpec>>> {
        let name = subnet_group_name(&scan.stack);
        let answer = scan.elasticache.describe_cache_subnet_groups().cache_subnet_group_name(&name).send().await;
        let answer = match answer.map_err(Error::from) {
            Ok(answer) => answer,
            Err(error) if error.is_not_found() => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        let found = answer.cache_subnet_groups().iter().map(|group| Found {
            logical_id: Self::ID.to_owned(),
            id: name.clone(),
            spec: CacheSubnetGroupSpec {
                name: name.clone(),
                subnets: group.subnets().iter().filter_map(|s| s.subnet_identifier()).map(Ref::known).collect(),
            },
            outputs: Outputs::new(),
            tags: None,
            status: Status::Ready,
        });
        Ok(found.collect())
    }

    async fn tags(cx: &Context, name: &str, _outputs: &Outputs) -> Result<Option<Tags>> {
        elasticache::tags(cx, &arn(cx, name).await?).await
    }

    async fn create(cx: &Context, desired: &Desired<CacheSubnetGroupSpec>) -> Result<Created> {
        let CacheSubnetGroupSpec { name, subnets } = &desired.spec;
        cx.elasticache
            .create_cache_subnet_group()
            .cache_subnet_group_name(name)
            .cache_subnet_group_description(format!("Subnets of the caches of {}", cx.stack))
            .set_subnet_ids(Some(subnets.iter().map(ToString::to_string).collect()))
            .set_tags(Some(elasticache::list(&desired.tags)))
            .send()
            .await?;
        Ok(Created::new(name))
    }

    async fn update(cx: &Context, change: &Change<CacheSubnetGroupSpec>) -> Result<()> {
        if change.touches(&["subnets"]) {
            let subnets = change.desired.spec.subnets.iter().map(ToString::to_string).collect();
            let call = cx.elasticache.modify_cache_subnet_group().cache_subnet_group_name(&change.found.id);
            call.set_subnet_ids(Some(subnets)).send().await?;
        }
        elasticache::update_tags(cx, change, &arn(cx, &change.found.id).await?).await
    }

    async fn delete(cx: &Context, found: &Found<CacheSubnetGroupSpec>) -> Result<()> {
        cx.elasticache.delete_cache_subnet_group().cache_subnet_group_name(&found.id).send().await?;
        Ok(())
    }
}

async fn arn(cx: &Context, name: &str) -> Result<String> {
    cx.arn("elasticache", &format!("subnetgroup:{name}")).await
}
