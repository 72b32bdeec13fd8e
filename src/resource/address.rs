//! A public IPv4 address that stays the same (Elastic IP), for a NAT gateway.

use aws_sdk_ec2::types::{DomainType, ResourceType};
use serde::{Deserialize, Serialize};

use super::{
    Change, Created, Desired, Effect, Found, Handle, Kind, NatGateway, Outputs, Scan, Select, Status, Traits, ec2,
    nat_gateway::{self, NatGatewaySpec},
};
use crate::aws::{Context, Error, Result};

pub struct Address;

/// An address has nothing to choose: AWS assigns it, and the NAT gateway says that it uses it.
#[derive(Serialize, Deserialize)]
pub struct AddressSpec {}

const PUBLIC_IP: &str = "public_ip";

impl Handle<Address> {
    /// The IPv4 address itself.
    pub fn public_ip(&self) -> String {
        self.created_output(PUBLIC_IP)
    }
}

impl Kind for Address {
    const NAME: &'static str = "address";
    const TRAITS: Traits = Traits::INSTANT;
    type Spec = AddressSpec;

    fn effect(_path: &str) -> Effect {
        Effect::InPlace
    }

    async fn find(scan: &Scan<'_>, select: &Select<'_>) -> Result<Vec<Found<AddressSpec>>> {
        if let (true, Select::Stack) = (scan.is_sparing(), select)
            && let Some(found) = of_gateways(scan.of::<NatGateway>().await?)
        {
            return Ok(found);
        }
        // The call has no pages.
        let answer = scan.ec2.describe_addresses().filters(ec2::filter(scan, select, "allocation-id")).send().await?;
        let found = answer.addresses().iter().filter_map(|address| {
            let tags = ec2::tags(address.tags());
            ec2::selected(scan, select, &tags).then(|| Found {
                logical_id: ec2::logical_id(&tags),
                id: address.allocation_id().unwrap_or_default().to_owned(),
                spec: AddressSpec {},
                outputs: Outputs::from([(PUBLIC_IP.into(), address.public_ip().unwrap_or_default().into())]),
                tags: Some(tags),
                status: Status::Ready,
            })
        });
        Ok(found.collect())
    }

    async fn create(cx: &Context, desired: &Desired<AddressSpec>) -> Result<Created> {
        let tags = ec2::tag_specification(ResourceType::ElasticIp, desired);
        let answer = cx.ec2.allocate_address().domain(DomainType::Vpc).tag_specifications(tags).send().await?;
        let id =
            answer.allocation_id().ok_or_else(|| Error::unexpected("ec2", "AllocateAddress", "no allocation id"))?;
        Ok(Created::new(id).with(PUBLIC_IP, answer.public_ip().unwrap_or_default()))
    }

    async fn update(cx: &Context, change: &Change<AddressSpec>) -> Result<()> {
        ec2::update_tags(cx, change).await
    }

    async fn delete(cx: &Context, found: &Found<AddressSpec>) -> Result<()> {
        cx.ec2.release_address().allocation_id(&found.id).send().await?;
        Ok(())
    }
}

/// The addresses of the stack's NAT gateways: a gateway holds its address as long as it lives. None if that isn't all
/// certain: without gateways, or with one that isn't in use.
fn of_gateways(gateways: Vec<Found<NatGatewaySpec>>) -> Option<Vec<Found<AddressSpec>>> {
    if gateways.is_empty() {
        return None;
    }
    let address = |gateway: Found<NatGatewaySpec>| {
        let public_ip = gateway.output(nat_gateway::PUBLIC_IP);
        let certain = gateway.status == Status::Ready && !gateway.spec.address.is_empty() && !public_ip.is_empty();
        certain.then_some(())?;
        Some(Found {
            logical_id: format!("address-{}", gateway.logical_id.strip_prefix("nat-")?),
            id: gateway.spec.address.to_string(),
            spec: AddressSpec {},
            outputs: Outputs::from([(PUBLIC_IP.into(), public_ip.into())]),
            tags: None,
            status: Status::Ready,
        })
    };
    gateways.into_iter().map(address).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resource::Ref;

    fn gateway(logical_id: &str, status: Status) -> Found<NatGatewaySpec> {
        Found {
            logical_id: logical_id.into(),
            id: format!("nat-0{logical_id}"),
            spec: NatGatewaySpec { subnet: Ref::known("subnet-1"), address: Ref::known("eipalloc-1") },
            outputs: Outputs::from([(nat_gateway::PUBLIC_IP.into(), "203.0.113.7".into())]),
            tags: None,
            status,
        }
    }

    #[test]
    fn gateways_in_use_prove_their_addresses_and_others_nothing() {
        let found = of_gateways(vec![gateway("nat-a", Status::Ready), gateway("nat-c", Status::Ready)]);
        let found = found.expect("proven");
        assert_eq!(found.iter().map(|address| &*address.logical_id).collect::<Vec<_>>(), ["address-a", "address-c"]);
        assert_eq!((&*found[0].id, found[0].output(PUBLIC_IP)), ("eipalloc-1", "203.0.113.7"));
        assert!(of_gateways(vec![]).is_none());
        assert!(of_gateways(vec![gateway("nat-a", Status::Ready), gateway("nat-c", Status::Deleting)]).is_none());
        assert!(of_gateways(vec![gateway("", Status::Ready)]).is_none());
    }
}
