//! The subnets, of two zones or more, in which the database may have instances.

use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

use super::{Change, Created, DbInstance, Desired, Effect, Found, Kind, Outputs, Ref, Scan, Select, Status, Subnet};
use super::{Traits, rds};
use crate::aws::{Context, Error, Result, Tags};

pub struct DbSubnetGroup;

#[derive(Serialize, Deserialize)]
pub struct DbSubnetGroupSpec {
    /// As [`DbSubnetGroup::name_in`] makes it.
    pub name: String,
    pub subnets: BTreeSet<Ref<Subnet>>,
}

impl DbSubnetGroup {
    /// The logical id: a stack has one such group.
    pub const ID: &'static str = "db-subnets";

    /// The group's name; RDS allows 255 characters.
    pub fn name_in(stack: &str) -> String {
        crate::stack::name::fit(format!("{stack}-db-subnets"), 255)
    }
}

impl Kind for DbSubnetGroup {
    const NAME: &'static str = "db_subnet_group";
    const TRAITS: Traits = Traits::INSTANT;
    type Spec = DbSubnetGroupSpec;

    fn effect(path: &str) -> Effect {
        if path == "name" { Effect::Replace } else { Effect::InPlace }
    }

    async fn find(scan: &Scan<'_>, select: &Select<'_>) -> Result<Vec<Found<DbSubnetGroupSpec>>> {
        let name = Self::name_in(&scan.stack);
        // The instances' listing shows their subnet group whole: usually it costs no call of its own.
        if let Select::Stack = select {
            let instances = scan.of::<DbInstance>().await?;
            if let Some(instance) = instances.iter().find(|found| *found.spec.subnet_group == name) {
                let subnets = instance.output(DbInstance::SUBNETS).split(',').map(Ref::known);
                return Ok(vec![found(name, subnets.collect())]);
            }
        }
        let answer = subnets_of(scan, &name).await?;
        Ok(answer.into_iter().map(|subnets| found(name.clone(), subnets)).collect())
    }

    async fn tags(cx: &Context, name: &str, _outputs: &Outputs) -> Result<Option<Tags>> {
        rds::tags_of(cx, &arn(cx, name).await?).await
    }

    async fn create(cx: &Context, desired: &Desired<DbSubnetGroupSpec>) -> Result<Created> {
        let DbSubnetGroupSpec { name, subnets } = &desired.spec;
        cx.rds
            .create_db_subnet_group()
            .db_subnet_group_name(name)
            .db_subnet_group_description(format!("Subnets of the database of {}", cx.stack))
            .set_subnet_ids(Some(ids(subnets)))
            .set_tags(Some(rds::list(&desired.tags)))
            .send()
            .await?;
        Ok(Created::new(name))
    }

    async fn update(cx: &Context, change: &Change<DbSubnetGroupSpec>) -> Result<()> {
        if change.touches(&["subnets"]) {
            let call = cx.rds.modify_db_subnet_group().db_subnet_group_name(&change.found.id);
            call.set_subnet_ids(Some(ids(&change.desired.spec.subnets))).send().await?;
        }
        match change.tags() {
            Some(tags) => rds::set_tags(cx, &arn(cx, &change.found.id).await?, tags).await,
            None => Ok(()),
        }
    }

    async fn delete(cx: &Context, found: &Found<DbSubnetGroupSpec>) -> Result<()> {
        cx.rds.delete_db_subnet_group().db_subnet_group_name(&found.id).send().await?;
        Ok(())
    }
}

async fn arn(cx: &Context, name: &str) -> Result<String> {
    cx.arn("rds", &format!("subgrp:{name}")).await
}

fn found(name: String, subnets: BTreeSet<Ref<Subnet>>) -> Found<DbSubnetGroupSpec> {
    Found {
        logical_id: DbSubnetGroup::ID.to_owned(),
        id: name.clone(),
        spec: DbSubnetGroupSpec { name, subnets },
        outputs: Outputs::new(),
        tags: None,
        status: Status::Ready,
    }
}

/// The subnets of the group with this name, if there is one.
async fn subnets_of(cx: &Context, name: &str) -> Result<Option<BTreeSet<Ref<Subnet>>>> {
    match cx.rds.describe_db_subnet_groups().db_subnet_group_name(name).send().await.map_err(Error::from) {
        Ok(answer) => Ok(answer.db_subnet_groups().first().map(|group| {
            group.subnets().iter().filter_map(|subnet| subnet.subnet_identifier()).map(Ref::known).collect()
        })),
        Err(error) if error.is_not_found() => Ok(None),
        Err(error) => Err(error),
    }
}

fn ids(subnets: &BTreeSet<Ref<Subnet>>) -> Vec<String> {
    subnets.iter().map(ToString::to_string).collect()
}
