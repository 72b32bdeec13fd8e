//! Parameters of an Aurora database: those of single instances, and what they share with those of the whole cluster.

use aws_sdk_rds::types::{Filter, Parameter};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeSet, future::Future, marker::PhantomData};

use super::{Change, Created, Desired, Effect, Found, Kind, Outputs, Scan, Select, Status, Traits, rds};
use crate::aws::{Context, Error, Result, Tags};

/// A group of parameters of what `S` says.
pub struct ParameterGroup<S>(PhantomData<fn() -> S>);

/// Parameters of single instances.
pub type DbParameterGroup = ParameterGroup<OfInstances>;

#[derive(Serialize, Deserialize)]
pub struct ParameterGroupSpec {
    /// As [`ParameterGroup::name_in`] makes it.
    pub name: String,
    /// Such as `aurora-mysql8.0`; one of [`rds::FAMILIES`].
    pub family: String,
    /// What differs from the engine's defaults.
    pub parameters: rds::Parameters,
}

/// Which of a group's parameters are asked for.
pub enum Asked {
    /// Those that were set in the group.
    Set,
    Named(BTreeSet<String>),
}

/// What the parameters are of. RDS has calls of its own for each.
pub trait Scope: Send + Sync + 'static {
    /// The kind's name.
    const NAME: &'static str;
    /// The logical id: a stack has one such group.
    const ID: &'static str;
    /// What follows the stack's name in the group's.
    const SUFFIX: &'static str;
    /// What ARNs call such a group.
    const ARN_PART: &'static str;
    /// What they are the parameters of, in the group's description.
    const WHAT: &'static str;

    fn create(
        cx: &Context,
        spec: &ParameterGroupSpec,
        description: String,
        tags: &Tags,
    ) -> impl Future<Output = Result<()>> + Send;
    fn describe(cx: &Context, group: &str, asked: Asked) -> impl Future<Output = Result<Vec<Parameter>>> + Send;
    fn modify(cx: &Context, group: &str, parameters: &[Parameter]) -> impl Future<Output = Result<()>> + Send;
    fn reset(cx: &Context, group: &str, parameters: &[Parameter]) -> impl Future<Output = Result<()>> + Send;
    fn delete(cx: &Context, group: &str) -> impl Future<Output = Result<()>> + Send;
}

impl<S: Scope> ParameterGroup<S> {
    /// The logical id: a stack has one such group.
    pub const ID: &'static str = S::ID;

    /// The group's name, which tells the stack and the family.
    pub fn name_in(stack: &str, family: &str) -> String {
        rds::group_name(stack, S::SUFFIX, family)
    }
}

impl<S: Scope> Kind for ParameterGroup<S> {
    const NAME: &'static str = S::NAME;
    // The name tells the family, so that the group of another family can be there at the same time.
    const TRAITS: Traits = Traits::INSTANT.create_first();
    type Spec = ParameterGroupSpec;

    fn effect(path: &str) -> Effect {
        if matches!(path, "name" | "family") { Effect::Replace } else { Effect::InPlace }
    }

    async fn find(scan: &Scan<'_>, select: &Select<'_>) -> Result<Vec<Found<ParameterGroupSpec>>> {
        let mut found = Vec::new();
        for (family, _) in rds::FAMILIES {
            let name = Self::name_in(&scan.stack, family);
            if matches!(select, Select::One(id) if *id != name) {
                continue;
            }
            // One call proves that the group is there and tells what was set in it.
            let parameters = match S::describe(scan, &name, Asked::Set).await {
                Ok(parameters) => rds::parameters(&parameters).collect(),
                Err(error) if error.is_not_found() => continue,
                Err(error) => return Err(error),
            };
            found.push(Found {
                logical_id: S::ID.to_owned(),
                id: name.clone(),
                spec: ParameterGroupSpec { name, family: family.to_owned(), parameters },
                outputs: Outputs::new(),
                tags: None,
                status: Status::Ready,
            });
        }
        Ok(found)
    }

    async fn tags(cx: &Context, name: &str, _outputs: &Outputs) -> Result<Option<Tags>> {
        rds::tags_of(cx, &arn::<S>(cx, name).await?).await
    }

    async fn create(cx: &Context, desired: &Desired<ParameterGroupSpec>) -> Result<Created> {
        let spec = &desired.spec;
        S::create(cx, spec, format!("Parameters of {} of {}", S::WHAT, cx.stack), &desired.tags).await?;
        set::<S>(cx, &spec.name, &spec.parameters, &rds::Parameters::new()).await?;
        Ok(Created::new(&spec.name))
    }

    async fn update(cx: &Context, change: &Change<ParameterGroupSpec>) -> Result<()> {
        let name = &change.found.id;
        if change.touches(&["parameters"]) {
            set::<S>(cx, name, &change.desired.spec.parameters, &change.found.spec.parameters).await?;
        }
        match change.tags() {
            Some(tags) => rds::set_tags(cx, &arn::<S>(cx, name).await?, tags).await,
            None => Ok(()),
        }
    }

    async fn delete(cx: &Context, found: &Found<ParameterGroupSpec>) -> Result<()> {
        S::delete(cx, &found.id).await
    }
}

async fn arn<S: Scope>(cx: &Context, name: &str) -> Result<String> {
    cx.arn("rds", &format!("{}:{name}", S::ARN_PART)).await
}

async fn set<S: Scope>(cx: &Context, name: &str, desired: &rds::Parameters, found: &rds::Parameters) -> Result<()> {
    let names: BTreeSet<_> = desired.keys().chain(found.keys()).cloned().collect();
    if names.is_empty() {
        return Ok(());
    }
    let described = S::describe(cx, name, Asked::Named(names)).await?;
    let only_at_start = rds::static_names(&described).collect();
    for batch in rds::changed(desired, found, &only_at_start).chunks(rds::PARAMETERS_PER_CALL) {
        S::modify(cx, name, batch).await?;
    }
    for batch in rds::removed(desired, found, &only_at_start).chunks(rds::PARAMETERS_PER_CALL) {
        S::reset(cx, name, batch).await?;
    }
    Ok(())
}

impl Asked {
    /// As describe calls take it: a source, and filters.
    pub fn terms(self) -> (Option<String>, Option<Vec<Filter>>) {
        match self {
            Asked::Set => (Some("user".to_owned()), None),
            Asked::Named(names) => {
                let filter = Filter::builder().name("parameter-name").set_values(Some(names.into_iter().collect()));
                (None, Some(vec![filter.build()]))
            }
        }
    }
}

/// Each instance by itself.
pub struct OfInstances;

impl Scope for OfInstances {
    const NAME: &'static str = "db_parameter_group";
    const ID: &'static str = "db-parameters";
    const SUFFIX: &'static str = "db-pg";
    const ARN_PART: &'static str = "pg";
    const WHAT: &'static str = "the database instances";

    async fn create(cx: &Context, spec: &ParameterGroupSpec, description: String, tags: &Tags) -> Result<()> {
        let call = cx.rds.create_db_parameter_group().db_parameter_group_name(&spec.name);
        let call = call.db_parameter_group_family(&spec.family).description(description);
        call.set_tags(Some(rds::list(tags))).send().await?;
        Ok(())
    }

    async fn describe(cx: &Context, group: &str, asked: Asked) -> Result<Vec<Parameter>> {
        let (source, filters) = asked.terms();
        let call = cx.rds.describe_db_parameters().db_parameter_group_name(group);
        let pages = call.set_source(source).set_filters(filters).into_paginator().items().send();
        pages.collect::<std::result::Result<_, _>>().await.map_err(Error::from)
    }

    async fn modify(cx: &Context, group: &str, parameters: &[Parameter]) -> Result<()> {
        let call = cx.rds.modify_db_parameter_group().db_parameter_group_name(group);
        call.set_parameters(Some(parameters.to_vec())).send().await?;
        Ok(())
    }

    async fn reset(cx: &Context, group: &str, parameters: &[Parameter]) -> Result<()> {
        let call = cx.rds.reset_db_parameter_group().db_parameter_group_name(group);
        call.set_parameters(Some(parameters.to_vec())).send().await?;
        Ok(())
    }

    async fn delete(cx: &Context, group: &str) -> Result<()> {
        cx.rds.delete_db_parameter_group().db_parameter_group_name(group).send().await?;
        Ok(())
    }
}
