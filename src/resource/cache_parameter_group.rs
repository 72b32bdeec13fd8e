//! How a Redis behaves: whether it evicts, when it closes idle connections.

use aws_sdk_elasticache::types::ParameterNameValue;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

use super::{Change, Created, Desired, Effect, Found, Kind, Outputs, ReplicationGroup, Scan, Select, Status, Traits};
use super::{elasticache, elasticache::Role};
use crate::aws::{Context, Error, Result, Tags};

pub struct CacheParameterGroup;

#[derive(Serialize, Deserialize)]
pub struct CacheParameterGroupSpec {
    /// As [`Role::parameters_name`] makes it.
    pub name: String,
    /// What differs from the engine's defaults.
    pub parameters: BTreeMap<String, String>,
}

/// The most parameters that one call may set.
/// Source: <https://docs.aws.amazon.com/AmazonElastiCache/latest/APIReference/API_ModifyCacheParameterGroup.html>
const PARAMETERS_PER_CALL: usize = 20;

impl Kind for CacheParameterGroup {
    const NAME: &'static str = "cache_parameter_group";
    const TRAITS: Traits = Traits::INSTANT;
    type Spec = CacheParameterGroupSpec;

    fn effect(path: &str) -> Effect {
        if path == "name" { Effect::Replace } else { Effect::InPlace }
    }

    async fn find(scan: &Scan<'_>, select: &Select<'_>) -> Result<Vec<Found<CacheParameterGroupSpec>>> {
        // Most stacks have no cache that evicts, and without it no parameters for one.
        let evicts = match select {
            Select::Stack if scan.is_sparing() => {
                let caches = scan.of::<ReplicationGroup>().await?;
                caches.iter().any(|cache| cache.logical_id == Role::Eviction.group_id())
            }
            _ => true,
        };
        let groups: Vec<_> = Role::ALL
            .into_iter()
            .filter(|role| evicts || *role != Role::Eviction)
            .map(|role| (role, role.parameters_name(&scan.stack)))
            .filter(|(_, name)| !matches!(select, Select::One(id) if id != name))
            .collect();
        // One call per group proves that it is there and tells what was set in it.
        let answers = groups.iter().map(|(_, name)| user_parameters(scan, name));
        let answers = futures::future::try_join_all(answers).await?;
        let found = groups.into_iter().zip(answers).filter_map(|((role, name), parameters)| {
            Some(Found {
                logical_id: role.parameters_id().to_owned(),
                id: name.clone(),
                spec: CacheParameterGroupSpec { name, parameters: parameters? },
                outputs: Outputs::new(),
                tags: None,
                status: Status::Ready,
            })
        });
        Ok(found.collect())
    }

    async fn tags(cx: &Context, name: &str, _outputs: &Outputs) -> Result<Option<Tags>> {
        elasticache::tags(cx, &arn(cx, name).await?).await
    }

    async fn create(cx: &Context, desired: &Desired<CacheParameterGroupSpec>) -> Result<Created> {
        let CacheParameterGroupSpec { name, parameters } = &desired.spec;
        cx.elasticache
            .create_cache_parameter_group()
            .cache_parameter_group_name(name)
            .cache_parameter_group_family(elasticache::FAMILY)
            .description(format!("Parameters of a cache of {}", cx.stack))
            .set_tags(Some(elasticache::list(&desired.tags)))
            .send()
            .await?;
        set(cx, name, parameters, &BTreeMap::new()).await?;
        Ok(Created::new(name))
    }

    async fn update(cx: &Context, change: &Change<CacheParameterGroupSpec>) -> Result<()> {
        if change.touches(&["parameters"]) {
            set(cx, &change.found.id, &change.desired.spec.parameters, &change.found.spec.parameters).await?;
        }
        elasticache::update_tags(cx, change, &arn(cx, &change.found.id).await?).await
    }

    async fn delete(cx: &Context, found: &Found<CacheParameterGroupSpec>) -> Result<()> {
        cx.elasticache.delete_cache_parameter_group().cache_parameter_group_name(&found.id).send().await?;
        Ok(())
    }
}

async fn arn(cx: &Context, name: &str) -> Result<String> {
    cx.arn("elasticache", &format!("parametergroup:{name}")).await
}

/// What differs from the defaults in the group; none if there is no such group.
async fn user_parameters(cx: &Context, name: &str) -> Result<Option<BTreeMap<String, String>>> {
    let request = cx.elasticache.describe_cache_parameters().cache_parameter_group_name(name).source("user");
    let mut pages = request.into_paginator().send();
    let mut parameters = BTreeMap::new();
    while let Some(page) = pages.next().await {
        let page = match page.map_err(Error::from) {
            Ok(page) => page,
            Err(error) if error.is_not_found() => return Ok(None),
            Err(error) => return Err(error),
        };
        parameters.extend(page.parameters().iter().filter_map(|parameter| {
            Some((parameter.parameter_name()?.to_owned(), parameter.parameter_value()?.to_owned()))
        }));
    }
    Ok(Some(parameters))
}

async fn set(
    cx: &Context,
    name: &str,
    desired: &BTreeMap<String, String>,
    found: &BTreeMap<String, String>,
) -> Result<()> {
    let parameter = |name: &str| ParameterNameValue::builder().parameter_name(name);
    let changed: Vec<_> = desired
        .iter()
        .filter(|(name, value)| found.get(*name) != Some(value))
        .map(|(name, value)| parameter(name).parameter_value(value).build())
        .collect();
    for batch in changed.chunks(PARAMETERS_PER_CALL) {
        let call = cx.elasticache.modify_cache_parameter_group().cache_parameter_group_name(name);
        call.set_parameter_name_values(Some(batch.to_vec())).send().await?;
    }
    let gone = found.keys().filter(|name| !desired.contains_key(*name));
    let removed: Vec<_> = gone.map(|name| parameter(name).build()).collect();
    for batch in removed.chunks(PARAMETERS_PER_CALL) {
        let call = cx.elasticache.reset_cache_parameter_group().cache_parameter_group_name(name);
        call.set_parameter_name_values(Some(batch.to_vec())).send().await?;
    }
    Ok(())
}
