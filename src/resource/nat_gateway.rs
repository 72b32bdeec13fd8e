//! The way out for instances that nobody outside may reach.

use aws_sdk_ec2::types::{NatGateway as Answer, NatGatewayState, ResourceType};
use serde::{Deserialize, Serialize};

use super::{
    Address, Change, Created, Desired, Effect, Found, Kind, Ref, Scan, Select, Status, Subnet, Traits, ec2,
};
use crate::aws::{Context, Error, Result};

pub struct NatGateway;

/// The output that tells the gateway's own address.
pub const PUBLIC_IP: &str = "public_ip";

#[derive(Serialize, Deserialize)]
pub struct NatGatewaySpec {
    /// The public subnet that it stands in.
    pub subnet: Ref<Subnet>,
    /// The address under which the instances appear outside.
    pub address: Ref<Address>,
}

/// How many deleted gateways with the same wish are stepped over; AWS forgets tokens after a while.
const MOST_GENERATIONS: usize = 100;

impl Kind for NatGateway {
    const NAME: &'static str = "nat_gateway";
    const TRAITS: Traits = Traits::slow(100, 900);
    type Spec = NatGatewaySpec;

    fn effect(path: &str) -> Effect {
        if path.starts_with("tags") { Effect::InPlace } else { Effect::Replace }
    }

    async fn find(scan: &Scan<'_>, select: &Select<'_>) -> Result<Vec<Found<NatGatewaySpec>>> {
        let filter = ec2::filter(scan, select, "nat-gateway-id");
        let pages = scan.ec2.describe_nat_gateways().filter(filter).into_paginator();
        let gateways = pages.items().send().collect::<std::result::Result<Vec<_>, _>>().await?;
        let found = gateways.iter().filter_map(|gateway| {
            let tags = ec2::tags(gateway.tags());
            let status = status(gateway)?;
            ec2::selected(scan, select, &tags).then(|| Found {
                logical_id: ec2::logical_id(&tags),
                id: gateway.nat_gateway_id().unwrap_or_default().to_owned(),
                spec: NatGatewaySpec {
                    subnet: Ref::known(gateway.subnet_id().unwrap_or_default()),
                    // The first address is the one that it was made with.
                    address: Ref::known(
                        gateway.nat_gateway_addresses().iter().find_map(|a| a.allocation_id()).unwrap_or_default(),
                    ),
                },
                outputs: gateway
                    .nat_gateway_addresses()
                    .iter()
                    .find_map(|address| address.public_ip())
                    .map(|ip| (PUBLIC_IP.to_owned(), ip.to_owned()))
                    .into_iter()
                    .collect(),
                tags: Some(tags),
                status,
            })
        });
        Ok(found.collect())
    }

    async fn create(cx: &Context, desired: &Desired<NatGatewaySpec>) -> Result<Created> {
        // A token that was used before is answered with the gateway made then, even if it is deleted by now.
        for generation in 0..MOST_GENERATIONS {
            let answer = cx
                .ec2
                .create_nat_gateway()
                .subnet_id(&*desired.spec.subnet)
                .allocation_id(&*desired.spec.address)
                .client_token(ec2::client_token(&desired.token, generation))
                .tag_specifications(ec2::tag_specification(ResourceType::Natgateway, desired))
                .send()
                .await
                .map_err(Error::from);
            let answer = match answer {
                // That gateway had other tags, so it isn't the one whose answer was lost.
                Err(error) if error.is(&["IdempotentParameterMismatch"]) => continue,
                result => result?,
            };
            let id = answer
                .nat_gateway()
                .and_then(|gateway| gateway.nat_gateway_id())
                .ok_or_else(|| Error::unexpected("ec2", "CreateNatGateway", "no id"))?;
            if is_alive(cx, id).await? {
                return Ok(Created::new(id));
            }
        }
        let message = format!("only answers with deleted gateways, after {MOST_GENERATIONS} client tokens");
        Err(Error::unexpected("ec2", "CreateNatGateway", message))
    }

    async fn update(cx: &Context, change: &Change<NatGatewaySpec>) -> Result<()> {
        ec2::update_tags(cx, change).await
    }

    async fn delete(cx: &Context, found: &Found<NatGatewaySpec>) -> Result<()> {
        cx.ec2.delete_nat_gateway().nat_gateway_id(&found.id).send().await?;
        Ok(())
    }
}

/// Where a gateway is in its life; none for a deleted one, which AWS goes on listing for an hour.
fn status(gateway: &Answer) -> Option<Status> {
    match gateway.state() {
        Some(NatGatewayState::Available) => Some(Status::Ready),
        Some(NatGatewayState::Deleted) => None,
        Some(NatGatewayState::Deleting) => Some(Status::Deleting),
        Some(NatGatewayState::Failed) => {
            let (code, message) = (gateway.failure_code(), gateway.failure_message());
            Some(Status::Failed([code, message].into_iter().flatten().collect::<Vec<_>>().join(": ")))
        }
        state => Some(Status::Pending(state.map(|state| state.as_str()).unwrap_or("unknown").to_owned())),
    }
}

/// Whether a gateway that the create call named is a new one, or at least not on its way out.
async fn is_alive(cx: &Context, id: &str) -> Result<bool> {
    let describe = || async {
        let answer = cx.ec2.describe_nat_gateways().nat_gateway_ids(id).send().await?;
        answer.nat_gateways.unwrap_or_default().pop().ok_or_else(|| missing(id))
    };
    match ec2::once_known(describe).await {
        Ok(gateway) => Ok(matches!(gateway.state(), Some(NatGatewayState::Pending | NatGatewayState::Available))),
        // Deleted so long ago that AWS doesn't list it any more.
        Err(error) if error.is_not_found() => Ok(false),
        Err(error) => Err(error),
    }
}

/// AWS's error for an id that it doesn't know, for endpoints that answer with an empty list instead.
fn missing(id: &str) -> Error {
    let message = format!("the NAT gateway {id} isn't listed");
    Error { code: "NatGatewayNotFound".into(), ..Error::unexpected("ec2", "DescribeNatGateways", message) }
}
