//! A zone's share of the network: public (load balancer, NAT), private (instances) or database.

use aws_sdk_ec2::types::{AttributeBooleanValue, ResourceType, SubnetState};
use serde::{Deserialize, Serialize};

use super::{Blocker, blocker, Change, Created, Desired, Effect, Found, Kind, Outputs, Ref, Scan, Select, Status, Traits, Vpc, ec2};
use crate::aws::{Context, Error, Result};

pub struct Subnet;

#[derive(Serialize, Deserialize)]
pub struct SubnetSpec {
    pub vpc: Ref<Vpc>,
    pub zone: String,
    pub cidr: String,
    /// Whether network interfaces get a public address by themselves.
    pub public_ips: bool,
}

impl Kind for Subnet {
    const NAME: &'static str = "subnet";
    const TRAITS: Traits = Traits { waits: true, ..Traits::INSTANT };
    type Spec = SubnetSpec;

    fn effect(path: &str) -> Effect {
        if path == "public_ips" || path.starts_with("tags") { Effect::InPlace } else { Effect::Replace }
    }

    async fn find(scan: &Scan<'_>, select: &Select<'_>) -> Result<Vec<Found<SubnetSpec>>> {
        let pages = scan.ec2.describe_subnets().filters(ec2::filter(scan, select, "subnet-id")).into_paginator();
        let subnets = pages.items().send().collect::<std::result::Result<Vec<_>, _>>().await?;
        let found = subnets.into_iter().filter_map(|subnet| {
            let tags = ec2::tags(subnet.tags());
            ec2::selected(scan, select, &tags).then(|| Found {
                logical_id: ec2::logical_id(&tags),
                id: subnet.subnet_id().unwrap_or_default().to_owned(),
                spec: SubnetSpec {
                    vpc: Ref::known(subnet.vpc_id().unwrap_or_default()),
                    zone: subnet.availability_zone().unwrap_or_default().to_owned(),
                    cidr: subnet.cidr_block().unwrap_or_default().to_owned(),
                    public_ips: subnet.map_public_ip_on_launch().unwrap_or_default(),
                },
                outputs: Outputs::new(),
                tags: Some(tags),
                status: match subnet.state() {
                    Some(SubnetState::Available) => Status::Ready,
                    other => Status::Pending(format!("{other:?}")),
                },
            })
        });
        Ok(found.collect())
    }

    async fn create(cx: &Context, desired: &Desired<SubnetSpec>) -> Result<Created> {
        let spec = &desired.spec;
        let answer = cx
            .ec2
            .create_subnet()
            .vpc_id(&*spec.vpc)
            .availability_zone(&spec.zone)
            .cidr_block(&spec.cidr)
            .tag_specifications(ec2::tag_specification(ResourceType::Subnet, desired))
            .send()
            .await?;
        let id = answer
            .subnet()
            .and_then(|subnet| subnet.subnet_id())
            .ok_or_else(|| Error::unexpected("ec2", "CreateSubnet", "no id"))?;
        if spec.public_ips {
            set_public_ips(cx, id, true).await.map_err(|error| error.after_making(id))?;
        }
        Ok(Created::new(id))
    }

    async fn update(cx: &Context, change: &Change<SubnetSpec>) -> Result<()> {
        if change.touches(&["public_ips"]) {
            set_public_ips(cx, &change.found.id, change.desired.spec.public_ips).await?;
        }
        ec2::update_tags(cx, change).await
    }

    async fn blockers(cx: &Context, id: &str) -> Result<Vec<Blocker>> {
        blocker::network_interfaces(cx, "subnet-id", id).await
    }

    async fn delete(cx: &Context, found: &Found<SubnetSpec>) -> Result<()> {
        cx.ec2.delete_subnet().subnet_id(&found.id).send().await?;
        Ok(())
    }
}

async fn set_public_ips(cx: &Context, id: &str, on: bool) -> Result<()> {
    let value = AttributeBooleanValue::builder().value(on).build();
    cx.ec2.modify_subnet_attribute().subnet_id(id).map_public_ip_on_launch(value).send().await?;
    Ok(())
}
