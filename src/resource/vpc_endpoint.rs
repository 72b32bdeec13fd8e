//! A private way from the VPC to an AWS service: by route (gateway) or by network interface (interface).

use aws_sdk_ec2::types::{ResourceType, State, VpcEndpoint as Answer, VpcEndpointType};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeSet;

use super::{
    Change, Created, Desired, Effect, Found, Kind, Outputs, Ref, RouteTable, Scan, SecurityGroup, Select, Status,
    Subnet, Traits, Vpc, ec2,
};
use crate::aws::{Context, Error, Result};

pub struct VpcEndpoint;

#[derive(Serialize, Deserialize)]
pub struct VpcEndpointSpec {
    pub vpc: Ref<Vpc>,
    /// The service's full name: `com.amazonaws.<region>.s3`.
    pub service: String,
    pub access: Access,
    /// Who may do what through the endpoint; none leaves AWS's default, which allows everything.
    pub policy: Option<Value>,
}

/// How the service is reached.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Access {
    /// By routes that AWS adds to these tables; free, for S3 and DynamoDB only.
    Gateway { route_tables: BTreeSet<Ref<RouteTable>> },
    /// By network interfaces in these subnets.
    Interface {
        subnets: BTreeSet<Ref<Subnet>>,
        security_groups: BTreeSet<Ref<SecurityGroup>>,
        /// Whether the service's public name leads to the endpoint inside the VPC.
        private_dns: bool,
    },
}

impl Kind for VpcEndpoint {
    const NAME: &'static str = "vpc_endpoint";
    const TRAITS: Traits = Traits::slow(90, 900);
    type Spec = VpcEndpointSpec;

    fn effect(path: &str) -> Effect {
        match path {
            "vpc" | "service" | "access.gateway" | "access.interface" => Effect::Replace,
            _ => Effect::InPlace,
        }
    }

    /// LocalStack leaves the version out of the policies that it tells, after AWS's example as it says: an answer without one
    /// isn't a difference.
    fn follow(wish: &mut VpcEndpointSpec, found: &VpcEndpointSpec) {
        if let (Some(wish), Some(found)) = (&mut wish.policy, &found.policy)
            && found.get("Version").is_none()
            && let Some(wish) = wish.as_object_mut()
        {
            wish.remove("Version");
        }
    }

    async fn find(scan: &Scan<'_>, select: &Select<'_>) -> Result<Vec<Found<VpcEndpointSpec>>> {
        let call = scan.ec2.describe_vpc_endpoints();
        let call = match select {
            Select::Stack => call.filters(ec2::filter(scan, select, "")),
            Select::One(id) => call.vpc_endpoint_ids(*id),
        };
        let endpoints = call.into_paginator().items().send().collect::<std::result::Result<Vec<_>, _>>().await;
        let endpoints = match endpoints.map_err(Error::from) {
            Err(error) if error.is_not_found() => Vec::new(),
            result => result?,
        };
        endpoints.iter().filter_map(|endpoint| found(scan, select, endpoint).transpose()).collect()
    }

    async fn create(cx: &Context, desired: &Desired<VpcEndpointSpec>) -> Result<Created> {
        // No deterministic client token: AWS would answer with an endpoint that was deleted in the meantime, and
        // refuses a second one for the same route table or private name anyway.
        let spec = &desired.spec;
        let call = cx
            .ec2
            .create_vpc_endpoint()
            .vpc_id(&*spec.vpc)
            .service_name(&spec.service)
            .set_policy_document(spec.policy.as_ref().map(Value::to_string))
            .tag_specifications(ec2::tag_specification(ResourceType::VpcEndpoint, desired));
        let call = match &spec.access {
            Access::Gateway { route_tables } => {
                call.vpc_endpoint_type(VpcEndpointType::Gateway).set_route_table_ids(Some(ids(route_tables)))
            }
            Access::Interface { subnets, security_groups, private_dns } => call
                .vpc_endpoint_type(VpcEndpointType::Interface)
                .set_subnet_ids(Some(ids(subnets)))
                .set_security_group_ids(Some(ids(security_groups)))
                .private_dns_enabled(*private_dns),
        };
        let answer = call.send().await?;
        let id = answer
            .vpc_endpoint()
            .and_then(|endpoint| endpoint.vpc_endpoint_id())
            .ok_or_else(|| Error::unexpected("ec2", "CreateVpcEndpoint", "no id"))?;
        Ok(Created::new(id))
    }

    async fn update(cx: &Context, change: &Change<VpcEndpointSpec>) -> Result<()> {
        let (id, found, desired) = (&change.found.id, &change.found.spec, &change.desired.spec);
        if change.touches(&["access", "policy"]) {
            let mut call = cx.ec2.modify_vpc_endpoint().vpc_endpoint_id(id);
            if change.touches(&["policy"]) {
                call = call.set_policy_document(desired.policy.as_ref().map(Value::to_string));
            }
            call = match (&found.access, &desired.access) {
                (Access::Gateway { route_tables: old }, Access::Gateway { route_tables: new }) => call
                    .set_add_route_table_ids(more(old, new))
                    .set_remove_route_table_ids(more(new, old)),
                (
                    Access::Interface { subnets: old, security_groups: old_groups, private_dns: was_private },
                    Access::Interface { subnets: new, security_groups: new_groups, private_dns },
                ) => call
                    .set_add_subnet_ids(more(old, new))
                    .set_remove_subnet_ids(more(new, old))
                    .set_add_security_group_ids(more(old_groups, new_groups))
                    .set_remove_security_group_ids(more(new_groups, old_groups))
                    .set_private_dns_enabled((private_dns != was_private).then_some(*private_dns)),
                // The type can't change: such an endpoint is replaced.
                _ => call,
            };
            call.send().await?;
        }
        ec2::update_tags(cx, change).await
    }

    async fn delete(cx: &Context, found: &Found<VpcEndpointSpec>) -> Result<()> {
        let answer = cx.ec2.delete_vpc_endpoints().vpc_endpoint_ids(&found.id).send().await?;
        // A failure comes inside an answer that says success.
        match answer.unsuccessful().first().and_then(|item| item.error()) {
            None => Ok(()),
            Some(error) => Err(Error {
                code: error.code().unwrap_or_default().to_owned(),
                status: Some(400),
                ..Error::unexpected("ec2", "DeleteVpcEndpoints", error.message().unwrap_or("no reason given"))
            }),
        }
    }
}

/// An endpoint of the listing; none if it is deleted or not ours.
fn found(scan: &Scan<'_>, select: &Select<'_>, endpoint: &Answer) -> Result<Option<Found<VpcEndpointSpec>>> {
    let tags = ec2::tags(endpoint.tags());
    let (Some(status), true) = (status(endpoint), ec2::selected(scan, select, &tags)) else {
        return Ok(None);
    };
    let policy = endpoint.policy_document().filter(|text| !text.is_empty()).map(serde_json::from_str).transpose();
    let policy = policy.map_err(|error| {
        Error::unexpected("ec2", "DescribeVpcEndpoints", format!("a policy that isn't JSON: {error}"))
    })?;
    let access = if endpoint.vpc_endpoint_type() == Some(&VpcEndpointType::Interface) {
        Access::Interface {
            subnets: endpoint.subnet_ids().iter().map(Ref::known).collect(),
            security_groups: endpoint.groups().iter().filter_map(|group| group.group_id()).map(Ref::known).collect(),
            private_dns: endpoint.private_dns_enabled().unwrap_or_default(),
        }
    } else {
        Access::Gateway { route_tables: endpoint.route_table_ids().iter().map(Ref::known).collect() }
    };
    Ok(Some(Found {
        logical_id: ec2::logical_id(&tags),
        id: endpoint.vpc_endpoint_id().unwrap_or_default().to_owned(),
        spec: VpcEndpointSpec {
            vpc: Ref::known(endpoint.vpc_id().unwrap_or_default()),
            service: endpoint.service_name().unwrap_or_default().to_owned(),
            access,
            policy,
        },
        outputs: Outputs::new(),
        tags: Some(tags),
        status,
    }))
}

/// Where an endpoint is in its life; none for a deleted one. AWS writes states in lower case, its API model doesn't.
fn status(endpoint: &Answer) -> Option<Status> {
    let state = endpoint.state().map(State::as_str).unwrap_or("unknown");
    match state.to_ascii_lowercase().as_str() {
        "available" => Some(Status::Ready),
        "deleted" => None,
        "deleting" => Some(Status::Deleting),
        "failed" | "rejected" | "expired" => {
            let reason = endpoint.last_error().and_then(|error| error.message()).or(endpoint.failure_reason());
            Some(Status::Failed(reason.map_or_else(|| state.to_owned(), |reason| format!("{state}: {reason}"))))
        }
        _ => Some(Status::Pending(state.to_owned())),
    }
}

fn ids<K>(refs: &BTreeSet<Ref<K>>) -> Vec<String> {
    refs.iter().map(|id| id.to_string()).collect()
}

/// What `new` has and `old` hasn't.
fn more<K>(old: &BTreeSet<Ref<K>>, new: &BTreeSet<Ref<K>>) -> Option<Vec<String>> {
    let more: Vec<String> = new.difference(old).map(|id| id.to_string()).collect();
    (!more.is_empty()).then_some(more)
}
