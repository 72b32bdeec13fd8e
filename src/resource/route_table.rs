//! Where packets of some subnets go. Its routes and its subnets are part of it.

use aws_sdk_ec2::types::{Filter, ResourceType, Route, RouteOrigin, RouteState, RouteTable as Answer, RouteTableAssociationStateCode};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

use super::{
    Change, Created, Desired, Effect, Found, InternetGateway, Kind, NatGateway, Ref, Scan, Select, Status,
    Subnet, Traits, Vpc, ec2,
};
use crate::aws::{Context, Error, Result};

pub struct RouteTable;

/// The output that tells the internet gateway to which an active route leads, if there is one.
pub const INTERNET_GATEWAY: &str = "internet_gateway";

#[derive(Serialize, Deserialize)]
pub struct RouteTableSpec {
    pub vpc: Ref<Vpc>,
    /// By destination. Those that AWS adds itself (within the VPC, to gateway endpoints) are not listed.
    pub routes: BTreeMap<String, RouteTarget>,
    /// The subnets that use the table.
    pub subnets: BTreeSet<Ref<Subnet>>,
}

/// What a route leads to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RouteTarget {
    InternetGateway(Ref<InternetGateway>),
    NatGateway(Ref<NatGateway>),
    /// Something that we never make routes to, by its AWS id.
    Other(String),
}

impl Kind for RouteTable {
    const NAME: &'static str = "route_table";
    const TRAITS: Traits = Traits::INSTANT;
    type Spec = RouteTableSpec;

    fn effect(path: &str) -> Effect {
        if path == "vpc" { Effect::Replace } else { Effect::InPlace }
    }

    async fn find(scan: &Scan<'_>, select: &Select<'_>) -> Result<Vec<Found<RouteTableSpec>>> {
        let filter = ec2::filter(scan, select, "route-table-id");
        let pages = scan.ec2.describe_route_tables().filters(filter).into_paginator();
        let tables = pages.items().send().collect::<std::result::Result<Vec<_>, _>>().await?;
        let found = tables.iter().filter_map(|table| {
            let tags = ec2::tags(table.tags());
            ec2::selected(scan, select, &tags).then(|| Found {
                logical_id: ec2::logical_id(&tags),
                id: table.route_table_id().unwrap_or_default().to_owned(),
                spec: RouteTableSpec {
                    vpc: Ref::known(table.vpc_id().unwrap_or_default()),
                    routes: table.routes().iter().filter_map(route).collect(),
                    subnets: associations(table).map(|(subnet, _)| Ref::known(subnet)).collect(),
                },
                outputs: active_internet_gateway(table)
                    .map(|gateway| (INTERNET_GATEWAY.to_owned(), gateway.to_owned()))
                    .into_iter()
                    .collect(),
                tags: Some(tags),
                status: Status::Ready,
            })
        });
        Ok(found.collect())
    }

    async fn create(cx: &Context, desired: &Desired<RouteTableSpec>) -> Result<Created> {
        // No deterministic client token: AWS would answer with a table that was deleted in the meantime.
        let answer = cx
            .ec2
            .create_route_table()
            .vpc_id(&*desired.spec.vpc)
            .tag_specifications(ec2::tag_specification(ResourceType::RouteTable, desired))
            .send()
            .await?;
        let id = answer
            .route_table()
            .and_then(|table| table.route_table_id())
            .ok_or_else(|| Error::unexpected("ec2", "CreateRouteTable", "no id"))?;
        let none = BTreeMap::new();
        let completed = async {
            ec2::once_known(|| set_routes(cx, id, &none, &desired.spec.routes)).await?;
            add_subnets(cx, id, desired.spec.subnets.iter()).await
        };
        completed.await.map_err(|error| error.after_making(id))?;
        Ok(Created::new(id))
    }

    async fn update(cx: &Context, change: &Change<RouteTableSpec>) -> Result<()> {
        let (id, found, desired) = (&change.found.id, &change.found.spec, &change.desired.spec);
        if change.touches(&["routes"]) {
            set_routes(cx, id, &found.routes, &desired.routes).await?;
        }
        if change.touches(&["subnets"]) {
            add_subnets(cx, id, desired.subnets.difference(&found.subnets)).await?;
            remove_subnets(cx, id, &found.subnets.difference(&desired.subnets).collect()).await?;
        }
        ec2::update_tags(cx, change).await
    }

    async fn delete(cx: &Context, found: &Found<RouteTableSpec>) -> Result<()> {
        remove_subnets(cx, &found.id, &found.spec.subnets.iter().collect()).await?;
        cx.ec2.delete_route_table().route_table_id(&found.id).send().await?;
        Ok(())
    }
}

/// A route whose target is gone or detached stays, as a black hole.
fn active_internet_gateway(table: &Answer) -> Option<&str> {
    let active = table.routes().iter().filter(|route| route.state() == Some(&RouteState::Active));
    active.filter_map(Route::gateway_id).find(|gateway| gateway.starts_with("igw-"))
}

/// A route as the spec lists it; none for those that AWS adds.
fn route(route: &Route) -> Option<(String, RouteTarget)> {
    let gateway = route.gateway_id();
    let by_aws = matches!(route.origin(), Some(RouteOrigin::CreateRouteTable | RouteOrigin::EnableVgwRoutePropagation));
    if by_aws || gateway.is_some_and(|id| id == "local" || id.starts_with("vpce-")) {
        return None;
    }
    let destination = route
        .destination_cidr_block()
        .or(route.destination_ipv6_cidr_block())
        .or(route.destination_prefix_list_id())?
        .to_owned();
    let target = match (gateway, route.nat_gateway_id()) {
        (Some(id), _) if id.starts_with("igw-") => RouteTarget::InternetGateway(Ref::known(id)),
        (_, Some(id)) => RouteTarget::NatGateway(Ref::known(id)),
        _ => RouteTarget::Other(
            gateway
                .or(route.transit_gateway_id())
                .or(route.vpc_peering_connection_id())
                .or(route.egress_only_internet_gateway_id())
                .or(route.instance_id())
                .or(route.network_interface_id())
                .unwrap_or("unknown")
                .to_owned(),
        ),
    };
    Some((destination, target))
}

/// The table's subnets with their association ids. The association that makes a table the VPC's main one names no
/// subnet and can't be taken away, so it is none of these.
fn associations(table: &Answer) -> impl Iterator<Item = (&str, &str)> {
    table.associations().iter().filter_map(|association| {
        let state = association.association_state().and_then(|state| state.state());
        let leaving = [RouteTableAssociationStateCode::Disassociating, RouteTableAssociationStateCode::Disassociated];
        if state.is_some_and(|state| leaving.contains(state)) {
            return None;
        }
        Some((association.subnet_id()?, association.route_table_association_id()?))
    })
}

async fn set_routes(
    cx: &Context,
    id: &str,
    found: &BTreeMap<String, RouteTarget>,
    desired: &BTreeMap<String, RouteTarget>,
) -> Result<()> {
    for (destination, target) in desired {
        match found.get(destination) {
            Some(now) if now == target => {}
            Some(_) => replace_route(cx, id, destination, target).await?,
            None => create_route(cx, id, destination, target).await?,
        }
    }
    for destination in found.keys().filter(|destination| !desired.contains_key(*destination)) {
        delete_route(cx, id, destination).await?;
    }
    Ok(())
}

async fn create_route(cx: &Context, id: &str, destination: &str, target: &RouteTarget) -> Result<()> {
    let call = cx.ec2.create_route().route_table_id(id).destination_cidr_block(destination);
    let call = match target {
        RouteTarget::InternetGateway(gateway) => call.gateway_id(&**gateway),
        RouteTarget::NatGateway(gateway) => call.nat_gateway_id(&**gateway),
        RouteTarget::Other(other) => return Err(foreign("CreateRoute", other)),
    };
    match call.send().await.map_err(Error::from) {
        // Its answer was lost, and the lists that lag behind don't show it.
        Err(error) if error.is(&["RouteAlreadyExists"]) => replace_route(cx, id, destination, target).await,
        result => result.map(drop),
    }
}

async fn replace_route(cx: &Context, id: &str, destination: &str, target: &RouteTarget) -> Result<()> {
    let call = cx.ec2.replace_route().route_table_id(id).destination_cidr_block(destination);
    let call = match target {
        RouteTarget::InternetGateway(gateway) => call.gateway_id(&**gateway),
        RouteTarget::NatGateway(gateway) => call.nat_gateway_id(&**gateway),
        RouteTarget::Other(other) => return Err(foreign("ReplaceRoute", other)),
    };
    call.send().await?;
    Ok(())
}

fn foreign(operation: &str, target: &str) -> Error {
    Error::unexpected("ec2", operation, format!("no route of ours leads to {target}"))
}

async fn delete_route(cx: &Context, id: &str, destination: &str) -> Result<()> {
    let call = cx.ec2.delete_route().route_table_id(id);
    let call = if destination.starts_with("pl-") {
        call.destination_prefix_list_id(destination)
    } else if destination.contains(':') {
        call.destination_ipv6_cidr_block(destination)
    } else {
        call.destination_cidr_block(destination)
    };
    match call.send().await.map_err(Error::from) {
        Err(error) if error.is(&["InvalidRoute.NotFound"]) => Ok(()),
        result => result.map(drop),
    }
}

/// Gives the table subnets; one that uses another table moves over without a moment in between.
async fn add_subnets<'a>(cx: &Context, id: &str, subnets: impl Iterator<Item = &'a Ref<Subnet>>) -> Result<()> {
    for subnet in subnets {
        let filter = Filter::builder().name("association.subnet-id").values(&**subnet).build();
        let users = cx.ec2.describe_route_tables().filters(filter).send().await?;
        let current = users.route_tables().iter().flat_map(associations).find(|(user, _)| *user == &**subnet);
        match current {
            Some((_, association)) => {
                cx.ec2.replace_route_table_association().association_id(association).route_table_id(id).send().await?;
            }
            None => {
                cx.ec2.associate_route_table().subnet_id(&**subnet).route_table_id(id).send().await?;
            }
        }
    }
    Ok(())
}

async fn remove_subnets(cx: &Context, id: &str, subnets: &BTreeSet<&Ref<Subnet>>) -> Result<()> {
    if subnets.is_empty() {
        return Ok(());
    }
    let answer = cx.ec2.describe_route_tables().route_table_ids(id).send().await?;
    for (subnet, association) in answer.route_tables().iter().flat_map(associations) {
        if subnets.iter().any(|gone| &***gone == subnet) {
            match cx.ec2.disassociate_route_table().association_id(association).send().await.map_err(Error::from) {
                Err(error) if error.is_not_found() => {}
                result => drop(result?),
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_black_hole_proves_no_gateway() {
        let leading = |state| {
            let local = Route::builder().gateway_id("local").state(RouteState::Active).build();
            let out = Route::builder().gateway_id("igw-1").state(state).build();
            Answer::builder().routes(local).routes(out).build()
        };
        assert_eq!(active_internet_gateway(&leading(RouteState::Active)), Some("igw-1"));
        assert_eq!(active_internet_gateway(&leading(RouteState::Blackhole)), None);
    }
}
