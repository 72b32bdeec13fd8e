//! The VPC's way to and from the internet.

use aws_sdk_ec2::types::ResourceType;
use serde::{Deserialize, Serialize};

use super::{
    Change, Created, Desired, Effect, Found, Kind, Outputs, Ref, RouteTable, Scan, Select, Status, Traits, Vpc, ec2,
    route_table::{self, RouteTableSpec},
};
use crate::aws::{Context, Error, Result};

pub struct InternetGateway;

impl InternetGateway {
    /// The logical id: a stack has one.
    pub const ID: &'static str = "internet-gateway";
}

#[derive(Serialize, Deserialize)]
pub struct InternetGatewaySpec {
    pub vpc: Ref<Vpc>,
    /// Whether it is attached to the VPC; a gateway alone is of no use.
    pub attached: bool,
}

impl Kind for InternetGateway {
    const NAME: &'static str = "internet_gateway";
    const TRAITS: Traits = Traits::INSTANT;
    type Spec = InternetGatewaySpec;

    fn effect(path: &str) -> Effect {
        if path == "vpc" { Effect::Replace } else { Effect::InPlace }
    }

    async fn find(scan: &Scan<'_>, select: &Select<'_>) -> Result<Vec<Found<InternetGatewaySpec>>> {
        if let (true, Select::Stack) = (scan.is_sparing(), select)
            && let Some(found) = of_routes(&scan.of::<RouteTable>().await?)
        {
            return Ok(vec![found]);
        }
        let filter = ec2::filter(scan, select, "internet-gateway-id");
        let mut gateways = scan.ec2.describe_internet_gateways().filters(filter).into_paginator().items().send();
        let mut found = Vec::new();
        while let Some(gateway) = gateways.try_next().await? {
            let tags = ec2::tags(gateway.tags());
            if !ec2::selected(scan, select, &tags) {
                continue;
            }
            let attached_to = gateway.attachments().iter().find_map(|attachment| attachment.vpc_id());
            let vpc = match attached_to {
                Some(vpc) => vpc.to_owned(),
                // A detached gateway has no VPC of its own: taken for the stack's, it is attached instead of replaced.
                None => scan.of::<Vpc>().await?.into_iter().next().map(|vpc| vpc.id).unwrap_or_default(),
            };
            found.push(Found {
                logical_id: ec2::logical_id(&tags),
                id: gateway.internet_gateway_id().unwrap_or_default().to_owned(),
                spec: InternetGatewaySpec { vpc: Ref::known(vpc), attached: attached_to.is_some() },
                outputs: Outputs::new(),
                tags: Some(tags),
                status: Status::Ready,
            });
        }
        Ok(found)
    }

    async fn create(cx: &Context, desired: &Desired<InternetGatewaySpec>) -> Result<Created> {
        let tags = ec2::tag_specification(ResourceType::InternetGateway, desired);
        let answer = cx.ec2.create_internet_gateway().tag_specifications(tags).send().await?;
        let id = answer
            .internet_gateway()
            .and_then(|gateway| gateway.internet_gateway_id())
            .ok_or_else(|| Error::unexpected("ec2", "CreateInternetGateway", "no id"))?;
        if desired.spec.attached {
            let attached = ec2::once_known(|| attach(cx, id, &desired.spec.vpc)).await;
            attached.map_err(|error| error.after_making(id))?;
        }
        Ok(Created::new(id))
    }

    async fn update(cx: &Context, change: &Change<InternetGatewaySpec>) -> Result<()> {
        if change.touches(&["attached"]) {
            let (id, vpc) = (&change.found.id, &change.desired.spec.vpc);
            if change.desired.spec.attached { attach(cx, id, vpc).await? } else { detach(cx, id, vpc).await? }
        }
        ec2::update_tags(cx, change).await
    }

    async fn delete(cx: &Context, found: &Found<InternetGatewaySpec>) -> Result<()> {
        if found.spec.attached {
            match detach(cx, &found.id, &found.spec.vpc).await {
                Err(error) if error.is(&["Gateway.NotAttached"]) => {}
                result => result?,
            }
        }
        cx.ec2.delete_internet_gateway().internet_gateway_id(&found.id).send().await?;
        Ok(())
    }
}

/// The gateway that our routes lead to: while a route is active, its gateway is attached to the route table's VPC, and a
/// VPC has one at most. None if there is no such route.
fn of_routes(tables: &[Found<RouteTableSpec>]) -> Option<Found<InternetGatewaySpec>> {
    let table = tables.iter().find(|table| !table.output(route_table::INTERNET_GATEWAY).is_empty())?;
    Some(Found {
        logical_id: InternetGateway::ID.to_owned(),
        id: table.output(route_table::INTERNET_GATEWAY).to_owned(),
        spec: InternetGatewaySpec { vpc: table.spec.vpc.clone(), attached: true },
        outputs: Outputs::new(),
        tags: None,
        status: Status::Ready,
    })
}

async fn attach(cx: &Context, id: &str, vpc: &str) -> Result<()> {
    cx.ec2.attach_internet_gateway().internet_gateway_id(id).vpc_id(vpc).send().await?;
    Ok(())
}

async fn detach(cx: &Context, id: &str, vpc: &str) -> Result<()> {
    cx.ec2.detach_internet_gateway().internet_gateway_id(id).vpc_id(vpc).send().await?;
    Ok(())
}
