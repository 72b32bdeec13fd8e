//! The stack's own network.

use aws_sdk_ec2::types::{AttributeBooleanValue, ResourceType, VpcAttributeName, VpcState};
use serde::{Deserialize, Serialize};

use super::{Blocker, blocker, Change, Created, Desired, Effect, Found, Kind, Outputs, Scan, Select, Status, Traits, ec2};
use crate::aws::{Context, Error, Result};

pub struct Vpc;

#[derive(Serialize, Deserialize)]
pub struct VpcSpec {
    pub cidr: String,
    /// Whether Amazon's resolver answers in the VPC.
    pub dns_support: bool,
    /// Whether instances get DNS names; interface endpoints and RDS need it.
    pub dns_hostnames: bool,
}

impl Kind for Vpc {
    const NAME: &'static str = "vpc";
    const TRAITS: Traits = Traits { waits: true, ..Traits::INSTANT };
    type Spec = VpcSpec;

    fn effect(path: &str) -> Effect {
        if path == "cidr" { Effect::Replace } else { Effect::InPlace }
    }

    async fn find(scan: &Scan<'_>, select: &Select<'_>) -> Result<Vec<Found<VpcSpec>>> {
        let vpcs = match select {
            Select::Stack => scan.vpcs().await?.to_vec(),
            Select::One(_) => {
                let pages = scan.ec2.describe_vpcs().filters(ec2::filter(scan, select, "vpc-id")).into_paginator();
                pages.items().send().collect::<std::result::Result<_, _>>().await?
            }
        };
        let mut found = Vec::new();
        for vpc in vpcs {
            let tags = ec2::tags(vpc.tags());
            if !ec2::selected(scan, select, &tags) {
                continue;
            }
            let id = vpc.vpc_id().unwrap_or_default().to_owned();
            let support = attribute(scan, &id, VpcAttributeName::EnableDnsSupport);
            let hostnames = attribute(scan, &id, VpcAttributeName::EnableDnsHostnames);
            let switches = async {
                if !scan.is_sparing() {
                    return tokio::try_join!(support, hostnames);
                }
                // AWS gives host names only where its resolver answers.
                // Source: <https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_ModifyVpcAttribute.html>
                let hostnames = hostnames.await?;
                Ok((hostnames || support.await?, hostnames))
            };
            let ((dns_support, dns_hostnames), status) = match (switches.await, vpc.state()) {
                (Ok(switches), Some(VpcState::Available)) => (switches, Status::Ready),
                (Ok(switches), other) => (switches, Status::Pending(format!("{other:?}"))),
                // It was deleted or made a moment ago: what lists tell lags behind.
                (Err(error), _) if error.is_not_found() => ((false, false), Status::Pending("unknown".to_owned())),
                (Err(error), _) => return Err(error),
            };
            found.push(Found {
                logical_id: ec2::logical_id(&tags),
                spec: VpcSpec { cidr: vpc.cidr_block().unwrap_or_default().to_owned(), dns_support, dns_hostnames },
                outputs: Outputs::new(),
                tags: Some(tags),
                status,
                id: id.clone(),
            });
        }
        Ok(found)
    }

    async fn create(cx: &Context, desired: &Desired<VpcSpec>) -> Result<Created> {
        let answer = cx
            .ec2
            .create_vpc()
            .cidr_block(&desired.spec.cidr)
            .tag_specifications(ec2::tag_specification(ResourceType::Vpc, desired))
            .send()
            .await?;
        let id = answer.vpc().and_then(|vpc| vpc.vpc_id()).ok_or_else(|| Error::unexpected("ec2", "CreateVpc", "no id"))?;
        // The create call doesn't take these. A run that dies in between leaves a difference that the next one mends.
        let completed = async {
            set_dns_support(cx, id, desired.spec.dns_support).await?;
            set_dns_hostnames(cx, id, desired.spec.dns_hostnames).await
        };
        completed.await.map_err(|error| error.after_making(id))?;
        Ok(Created::new(id))
    }

    async fn update(cx: &Context, change: &Change<VpcSpec>) -> Result<()> {
        let id = &change.found.id;
        if change.touches(&["dns_support"]) {
            set_dns_support(cx, id, change.desired.spec.dns_support).await?;
        }
        if change.touches(&["dns_hostnames"]) {
            set_dns_hostnames(cx, id, change.desired.spec.dns_hostnames).await?;
        }
        ec2::update_tags(cx, change).await
    }

    async fn blockers(cx: &Context, id: &str) -> Result<Vec<Blocker>> {
        blocker::network_interfaces(cx, "vpc-id", id).await
    }

    async fn delete(cx: &Context, found: &Found<VpcSpec>) -> Result<()> {
        cx.ec2.delete_vpc().vpc_id(&found.id).send().await?;
        Ok(())
    }
}

async fn attribute(cx: &Context, id: &str, name: VpcAttributeName) -> Result<bool> {
    let answer = cx.ec2.describe_vpc_attribute().vpc_id(id).attribute(name).send().await?;
    let value = answer.enable_dns_support().or(answer.enable_dns_hostnames()).and_then(|value| value.value());
    Ok(value.unwrap_or_default())
}

fn switch(on: bool) -> AttributeBooleanValue {
    AttributeBooleanValue::builder().value(on).build()
}

// One attribute per call: AWS refuses two at once.
async fn set_dns_support(cx: &Context, id: &str, on: bool) -> Result<()> {
    cx.ec2.modify_vpc_attribute().vpc_id(id).enable_dns_support(switch(on)).send().await?;
    Ok(())
}

async fn set_dns_hostnames(cx: &Context, id: &str, on: bool) -> Result<()> {
    cx.ec2.modify_vpc_attribute().vpc_id(id).enable_dns_hostnames(switch(on)).send().await?;
    Ok(())
}
