//! Who keeps a network resource from being deleted.

use aws_sdk_ec2::types::{Filter, NetworkInterface};

use crate::aws::{Context, Result, tags};

/// Something that still uses a resource.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Blocker {
    /// What it is and whose, with its id.
    pub what: String,
    /// It goes by itself: AWS made it for a service that is being deleted.
    pub passing: bool,
}

/// The network interfaces that match a filter, and the security groups that name `group` in a rule.
pub async fn network_interfaces(cx: &Context, filter: &str, id: &str) -> Result<Vec<Blocker>> {
    let filter = Filter::builder().name(filter).values(id).build();
    let pages = cx.ec2.describe_network_interfaces().filters(filter).into_paginator();
    let interfaces = pages.items().send().collect::<std::result::Result<Vec<_>, _>>().await?;
    Ok(interfaces.iter().map(interface).collect())
}

/// The other security groups whose rules name this one.
pub async fn groups_naming(cx: &Context, group: &str) -> Result<Vec<Blocker>> {
    let (mut found, directions) = (Vec::new(), ["ip-permission.group-id", "egress.ip-permission.group-id"]);
    for direction in directions {
        let filter = Filter::builder().name(direction).values(group).build();
        let pages = cx.ec2.describe_security_groups().filters(filter).into_paginator();
        let groups = pages.items().send().collect::<std::result::Result<Vec<_>, _>>().await?;
        found.extend(groups.iter().filter(|other| other.group_id() != Some(group)).map(|other| Blocker {
            what: format!(
                "a rule of security group {} ({})",
                other.group_id().unwrap_or_default(),
                other.group_name().unwrap_or_default()
            ),
            passing: other.tags().iter().any(|tag| tag.key() == Some(tags::STACK) && tag.value() == Some(&cx.stack)),
        }));
    }
    Ok(found)
}

fn interface(interface: &NetworkInterface) -> Blocker {
    let id = interface.network_interface_id().unwrap_or_default();
    let attached = interface.attachment().and_then(|attachment| attachment.instance_id());
    let owner = match (attached, interface.description()) {
        (Some(instance), _) => format!("of instance {instance}"),
        // AWS says whose it is here: "ELB app/shop-alb/50dc6c495c0c9188", "RDSNetworkInterface", …
        (None, Some(description)) if !description.is_empty() => format!("({description})"),
        _ => "attached to nothing".to_owned(),
    };
    Blocker {
        what: format!("network interface {id} {owner}"),
        passing: interface.requester_managed().unwrap_or_default() || attached.is_some(),
    }
}
