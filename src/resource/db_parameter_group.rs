//! Parameters of single Aurora instances.

use aws_sdk_rds::types::Filter;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

use super::{Change, Created, Desired, Effect, Found, Kind, Outputs, Scan, Select, Status, Traits, rds};
use crate::aws::{Context, Error, Result};

pub struct DbParameterGroup;

#[derive(Serialize, Deserialize)]
pub struct DbParameterGroupSpec {
    /// As [`DbParameterGroup::name_in`] makes it.
    pub name: String,
    /// Such as `aurora-mysql8.0`; one of [`rds::FAMILIES`].
    pub family: String,
    /// What differs from the engine's defaults.
    pub parameters: rds::Parameters,
}

impl DbParameterGroup {
    /// The logical id: a stack has one such group.
    pub const ID: &'static str = "db-parameters";

    /// The group's name, which tells the stack and the family.
    pub fn name_in(stack: &str, family: &str) -> String {
        rds::group_name(stack, "db-pg", family)
    }
}

impl Kind for DbParameterGroup {
    const NAME: &'static str = "db_parameter_group";
    // The name tells the family, so that the group of another family can be there at the same time.
    const TRAITS: Traits = Traits::INSTANT.create_first();
    type Spec = DbParameterGroupSpec;

    fn effect(path: &str) -> Effect {
        if matches!(path, "name" | "family") { Effect::Replace } else { Effect::InPlace }
    }

    async fn find(scan: &Scan<'_>, select: &Select<'_>) -> Result<Vec<Found<DbParameterGroupSpec>>> {
        let mut found = Vec::new();
        for (family, _) in rds::FAMILIES {
            let name = Self::name_in(&scan.stack, family);
            if matches!(select, Select::One(id) if *id != name) {
                continue;
            }
            // One call proves that the group is there and tells what was set in it.
            let Some(parameters) = user_parameters(scan, &name).await? else { continue };
            found.push(Found {
                logical_id: Self::ID.to_owned(),
                id: name.clone(),
                spec: DbParameterGroupSpec { name, family: family.to_owned(), parameters },
                outputs: Outputs::new(),
                tags: None,
                status: Status::Ready,
            });
        }
        Ok(found)
    }

    async fn create(cx: &Context, desired: &Desired<DbParameterGroupSpec>) -> Result<Created> {
        let DbParameterGroupSpec { name, family, parameters } = &desired.spec;
        cx.rds
            .create_db_parameter_group()
            .db_parameter_group_name(name)
            .db_parameter_group_family(family)
            .description(format!("Parameters of the database instances of {}", cx.stack))
            .set_tags(Some(rds::list(&desired.tags)))
            .send()
            .await?;
        set(cx, name, parameters, &rds::Parameters::new()).await?;
        Ok(Created::new(name))
    }

    async fn update(cx: &Context, change: &Change<DbParameterGroupSpec>) -> Result<()> {
        if change.touches(&["parameters"]) {
            set(cx, &change.found.id, &change.desired.spec.parameters, &change.found.spec.parameters).await?;
        }
        Ok(())
    }

    async fn delete(cx: &Context, found: &Found<DbParameterGroupSpec>) -> Result<()> {
        cx.rds.delete_db_parameter_group().db_parameter_group_name(&found.id).send().await?;
        Ok(())
    }
}

/// What differs from the defaults in the group; none if there is no such group.
async fn user_parameters(cx: &Context, name: &str) -> Result<Option<rds::Parameters>> {
    let pages = cx.rds.describe_db_parameters().db_parameter_group_name(name).source("user");
    let all = pages.into_paginator().items().send().collect::<std::result::Result<Vec<_>, _>>().await;
    match all.map_err(Error::from) {
        Ok(all) => Ok(Some(rds::parameters(&all).collect())),
        Err(error) if error.is_not_found() => Ok(None),
        Err(error) => Err(error),
    }
}

async fn set(cx: &Context, name: &str, desired: &rds::Parameters, found: &rds::Parameters) -> Result<()> {
    let names: BTreeSet<_> = desired.keys().chain(found.keys()).cloned().collect();
    if names.is_empty() {
        return Ok(());
    }
    let filter = Filter::builder().name("parameter-name").set_values(Some(names.into_iter().collect())).build();
    let described = cx.rds.describe_db_parameters().db_parameter_group_name(name).filters(filter);
    let described = described.into_paginator().items().send().collect::<std::result::Result<Vec<_>, _>>().await?;
    let only_at_start = rds::static_names(&described).collect();
    for batch in rds::changed(desired, found, &only_at_start).chunks(rds::PARAMETERS_PER_CALL) {
        let call = cx.rds.modify_db_parameter_group().db_parameter_group_name(name);
        call.set_parameters(Some(batch.to_vec())).send().await?;
    }
    for batch in rds::removed(desired, found, &only_at_start).chunks(rds::PARAMETERS_PER_CALL) {
        let call = cx.rds.reset_db_parameter_group().db_parameter_group_name(name);
        call.set_parameters(Some(batch.to_vec())).send().await?;
    }
    Ok(())
}
