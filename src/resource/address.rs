//! A public IPv4 address that stays the same (Elastic IP), for a NAT gateway.

use aws_sdk_ec2::types::{DomainType, ResourceType};
use serde::{Deserialize, Serialize};

use super::{Change, Created, Desired, Effect, Found, Handle, Kind, Outputs, Scan, Select, Status, Traits, ec2};
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
