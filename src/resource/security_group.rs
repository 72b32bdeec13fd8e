//! Who may talk to whom. A group's rules are part of it: one that is missing is put back, a foreign one taken away.

use aws_sdk_ec2::types::{Filter, IpPermission, IpRange, Ipv6Range, PrefixListId, ResourceType, UserIdGroupPair};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, fmt, str::FromStr};

use super::{Blocker, blocker, Change, Created, Desired, Effect, Found, Kind, Outputs, Ref, Scan, Select, Status, Traits, Vpc, ec2};
use crate::aws::{Context, Error, Result, tags};

pub struct SecurityGroup;

#[derive(Serialize, Deserialize)]
pub struct SecurityGroupSpec {
    pub vpc: Ref<Vpc>,
    /// Letters, digits, spaces and `._-:/()#,@[]+=&;{}!$*`, up to 255; rules' descriptions likewise.
    pub description: String,
    pub ingress: Rules,
    pub egress: Rules,
}

/// Rules with their descriptions, which say nothing about what is allowed.
pub type Rules = BTreeMap<Rule, String>;

/// One peer that may be talked to by one protocol. AWS puts several peers into one permission; this takes them apart.
///
/// Written `tcp/8080 sg-0123456789abcdef0`, `tcp/8000-8010 10.0.0.0/8` or `all 0.0.0.0/0`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Rule {
    /// `tcp`, `udp`, `icmp`, a protocol number, or -1 for all.
    protocol: String,
    /// First and last port (or ICMP type and code); none means all.
    ports: Option<(i32, i32)>,
    /// The id of a group or a prefix list, or an address range. A group of another account has that before it.
    peer: String,
}

/// What AWS calls "all protocols".
const ALL: &str = "-1";

impl Rule {
    /// One TCP port, to or from an address range or a group.
    pub fn tcp(port: u16, peer: impl fmt::Display) -> Rule {
        let port = i32::from(port);
        Rule { protocol: "tcp".into(), ports: Some((port, port)), peer: peer.to_string() }
    }

    /// Everything to everywhere: what AWS allows every new group.
    pub fn everything() -> Rule {
        Rule { protocol: ALL.into(), ports: None, peer: "0.0.0.0/0".into() }
    }

    /// `tcp`, `udp`, `icmp`, a protocol number, or -1 for all.
    pub fn protocol(&self) -> &str {
        &self.protocol
    }

    /// First and last port (or ICMP type and code); none means all.
    pub fn ports(&self) -> Option<(i32, i32)> {
        self.ports
    }

    /// The id of a group or a prefix list, or an address range.
    pub fn peer(&self) -> &str {
        &self.peer
    }

    fn permission(&self, description: &str) -> IpPermission {
        let description = Some(description.to_owned()).filter(|text| !text.is_empty());
        let permission = IpPermission::builder()
            .ip_protocol(&self.protocol)
            .set_from_port(self.ports.map(|(from, _)| from))
            .set_to_port(self.ports.map(|(_, to)| to));
        let peer = self.peer.as_str();
        let permission = if let Some((account, group)) = peer.split_once("/sg-") {
            let pair = UserIdGroupPair::builder().user_id(account).group_id(format!("sg-{group}"));
            permission.user_id_group_pairs(pair.set_description(description).build())
        } else if peer.starts_with("sg-") {
            let pair = UserIdGroupPair::builder().group_id(peer);
            permission.user_id_group_pairs(pair.set_description(description).build())
        } else if peer.starts_with("pl-") {
            let list = PrefixListId::builder().prefix_list_id(peer);
            permission.prefix_list_ids(list.set_description(description).build())
        } else if peer.contains(':') {
            permission.ipv6_ranges(Ipv6Range::builder().cidr_ipv6(peer).set_description(description).build())
        } else {
            permission.ip_ranges(IpRange::builder().cidr_ip(peer).set_description(description).build())
        };
        permission.build()
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.protocol == ALL { "all" } else { &self.protocol })?;
        match self.ports {
            Some((from, to)) if from == to => write!(f, "/{from}")?,
            Some((from, to)) => write!(f, "/{from}-{to}")?,
            None => {}
        }
        write!(f, " {}", self.peer)
    }
}

/// A text that isn't a [`Rule`].
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("`{0}` is not a rule: write a protocol, its ports and a peer, such as `tcp/443 10.0.0.0/8`")]
pub struct InvalidRule(String);

impl FromStr for Rule {
    type Err = InvalidRule;

    fn from_str(text: &str) -> std::result::Result<Self, InvalidRule> {
        let invalid = || InvalidRule(text.to_owned());
        let (traffic, peer) = text.split_once(' ').ok_or_else(invalid)?;
        let (protocol, ports) = match traffic.split_once('/') {
            Some((protocol, ports)) => (protocol, Some(parse_ports(ports).ok_or_else(invalid)?)),
            None => (traffic, None),
        };
        let protocol = if protocol == "all" { ALL } else { protocol };
        Ok(Rule { protocol: protocol.to_owned(), ports, peer: peer.to_owned() })
    }
}

/// `80` or `8000-8010`; ICMP's "any" is -1.
fn parse_ports(text: &str) -> Option<(i32, i32)> {
    // A hyphen in the first place is a sign.
    let hyphen = text.char_indices().skip(1).find(|(_, c)| *c == '-').map(|(index, _)| index);
    let (from, to) = hyphen.map_or((text, text), |at| (&text[..at], &text[at + 1..]));
    Some((from.parse().ok()?, to.parse().ok()?))
}

impl TryFrom<String> for Rule {
    type Error = InvalidRule;

    fn try_from(text: String) -> std::result::Result<Self, InvalidRule> {
        text.parse()
    }
}

impl From<Rule> for String {
    fn from(rule: Rule) -> Self {
        rule.to_string()
    }
}

impl Kind for SecurityGroup {
    const NAME: &'static str = "security_group";
    const TRAITS: Traits = Traits::INSTANT.create_first();
    type Spec = SecurityGroupSpec;

    fn effect(path: &str) -> Effect {
        match path {
            "vpc" | "description" => Effect::Replace,
            _ => Effect::InPlace,
        }
    }

    async fn find(scan: &Scan<'_>, select: &Select<'_>) -> Result<Vec<Found<SecurityGroupSpec>>> {
        let filter = ec2::filter(scan, select, "group-id");
        let pages = scan.ec2.describe_security_groups().filters(filter).into_paginator();
        let groups = pages.items().send().collect::<std::result::Result<Vec<_>, _>>().await?;
        let found = groups.iter().filter_map(|group| {
            let tags = ec2::tags(group.tags());
            let owner = group.owner_id().unwrap_or_default();
            ec2::selected(scan, select, &tags).then(|| Found {
                logical_id: ec2::logical_id(&tags),
                id: group.group_id().unwrap_or_default().to_owned(),
                spec: SecurityGroupSpec {
                    vpc: Ref::known(group.vpc_id().unwrap_or_default()),
                    description: group.description().unwrap_or_default().to_owned(),
                    ingress: rules(group.ip_permissions(), owner),
                    egress: rules(group.ip_permissions_egress(), owner),
                },
                outputs: Outputs::new(),
                tags: Some(tags),
                status: Status::Ready,
            })
        });
        Ok(found.collect())
    }

    async fn create(cx: &Context, desired: &Desired<SecurityGroupSpec>) -> Result<Created> {
        let name = format!("{}-{}", cx.stack, desired.logical_id);
        let id = match make(cx, desired, &name).await {
            Err(error) if error.is(&["InvalidGroup.Duplicate"]) => match same(cx, desired, &name).await? {
                // Made by a call whose answer was lost.
                Some(id) => id,
                // The old group, which lives until its successor has taken over, still has the name.
                None => make(cx, desired, &format!("{name}-{:.8}", desired.token)).await?,
            },
            result => result?,
        };
        let new = Rules::from([(Rule::everything(), String::new())]);
        ec2::once_known(|| set_rules(cx, &id, Direction::Ingress, &NO_RULES, &desired.spec.ingress)).await?;
        set_rules(cx, &id, Direction::Egress, &new, &desired.spec.egress).await?;
        Ok(Created::new(id))
    }

    async fn update(cx: &Context, change: &Change<SecurityGroupSpec>) -> Result<()> {
        let (id, found, desired) = (&change.found.id, &change.found.spec, &change.desired.spec);
        if change.touches(&["ingress"]) {
            set_rules(cx, id, Direction::Ingress, &found.ingress, &desired.ingress).await?;
        }
        if change.touches(&["egress"]) {
            set_rules(cx, id, Direction::Egress, &found.egress, &desired.egress).await?;
        }
        ec2::update_tags(cx, change).await
    }

    async fn blockers(cx: &Context, id: &str) -> Result<Vec<Blocker>> {
        let (interfaces, groups) =
            tokio::try_join!(blocker::network_interfaces(cx, "group-id", id), blocker::groups_naming(cx, id))?;
        Ok([interfaces, groups].concat())
    }

    async fn delete(cx: &Context, found: &Found<SecurityGroupSpec>) -> Result<()> {
        cx.ec2.delete_security_group().group_id(&found.id).send().await?;
        Ok(())
    }
}

static NO_RULES: Rules = Rules::new();

async fn make(cx: &Context, desired: &Desired<SecurityGroupSpec>, name: &str) -> Result<String> {
    let answer = cx
        .ec2
        .create_security_group()
        .group_name(name)
        .description(&desired.spec.description)
        .vpc_id(&*desired.spec.vpc)
        .tag_specifications(ec2::tag_specification(ResourceType::SecurityGroup, desired))
        .send()
        .await?;
    answer.group_id.ok_or_else(|| Error::unexpected("ec2", "CreateSecurityGroup", "no id"))
}

/// The group with this name, if it is the one that is to be made.
async fn same(cx: &Context, desired: &Desired<SecurityGroupSpec>, name: &str) -> Result<Option<String>> {
    let filter = |name: &str, value: &str| Filter::builder().name(name).values(value).build();
    let answer = cx
        .ec2
        .describe_security_groups()
        .filters(filter("group-name", name))
        .filters(filter("vpc-id", &desired.spec.vpc))
        .send()
        .await?;
    let group = answer.security_groups().iter().find(|group| {
        let tags = ec2::tags(group.tags());
        tags.get(tags::STACK) == Some(&cx.stack)
            && ec2::logical_id(&tags) == desired.logical_id
            && group.description() == Some(&desired.spec.description)
    });
    Ok(group.and_then(|group| group.group_id()).map(str::to_owned))
}

fn rules(permissions: &[IpPermission], owner: &str) -> Rules {
    permissions.iter().flat_map(|permission| peers(permission, owner)).collect()
}

fn peers(permission: &IpPermission, owner: &str) -> Vec<(Rule, String)> {
    let protocol = permission.ip_protocol().unwrap_or(ALL);
    let ports = (protocol != ALL).then(|| permission.from_port().zip(permission.to_port())).flatten();
    let groups = permission.user_id_group_pairs().iter().filter_map(|pair| {
        let id = pair.group_id()?;
        let peer = match pair.user_id() {
            Some(account) if account != owner => format!("{account}/{id}"),
            _ => id.to_owned(),
        };
        Some((peer, pair.description()))
    });
    let ranges = permission.ip_ranges().iter().filter_map(|r| Some((r.cidr_ip()?.to_owned(), r.description())));
    let ranges6 = permission.ipv6_ranges().iter().filter_map(|r| Some((r.cidr_ipv6()?.to_owned(), r.description())));
    let lists =
        permission.prefix_list_ids().iter().filter_map(|l| Some((l.prefix_list_id()?.to_owned(), l.description())));
    groups
        .chain(ranges)
        .chain(ranges6)
        .chain(lists)
        .map(|(peer, description)| {
            let rule = Rule { protocol: protocol.to_owned(), ports, peer };
            (rule, description.unwrap_or_default().to_owned())
        })
        .collect()
}

#[derive(Clone, Copy)]
enum Direction {
    Ingress,
    Egress,
}

/// Brings a group's rules from `found` to `desired`: first what is missing, so that nobody is cut off in between.
async fn set_rules(cx: &Context, id: &str, direction: Direction, found: &Rules, desired: &Rules) -> Result<()> {
    for (rule, description) in desired {
        match found.get(rule) {
            Some(now) if now == description => {}
            Some(_) => describe(cx, id, direction, rule.permission(description)).await?,
            None => match authorize(cx, id, direction, rule.permission(description)).await {
                Err(error) if error.is(&["InvalidPermission.Duplicate"]) => {}
                result => result?,
            },
        }
    }
    for (rule, description) in found.iter().filter(|(rule, _)| !desired.contains_key(rule)) {
        match revoke(cx, id, direction, rule.permission(description)).await {
            Err(error) if error.is(&["InvalidPermission.NotFound"]) => {}
            result => result?,
        }
    }
    Ok(())
}

async fn authorize(cx: &Context, id: &str, direction: Direction, permission: IpPermission) -> Result<()> {
    match direction {
        Direction::Ingress => {
            cx.ec2.authorize_security_group_ingress().group_id(id).ip_permissions(permission).send().await?;
        }
        Direction::Egress => {
            cx.ec2.authorize_security_group_egress().group_id(id).ip_permissions(permission).send().await?;
        }
    }
    Ok(())
}

async fn revoke(cx: &Context, id: &str, direction: Direction, permission: IpPermission) -> Result<()> {
    match direction {
        Direction::Ingress => {
            cx.ec2.revoke_security_group_ingress().group_id(id).ip_permissions(permission).send().await?;
        }
        Direction::Egress => {
            cx.ec2.revoke_security_group_egress().group_id(id).ip_permissions(permission).send().await?;
        }
    }
    Ok(())
}

/// Changes the description of a rule that is there.
async fn describe(cx: &Context, id: &str, direction: Direction, permission: IpPermission) -> Result<()> {
    match direction {
        Direction::Ingress => {
            let call = cx.ec2.update_security_group_rule_descriptions_ingress();
            call.group_id(id).ip_permissions(permission).send().await?;
        }
        Direction::Egress => {
            let call = cx.ec2.update_security_group_rule_descriptions_egress();
            call.group_id(id).ip_permissions(permission).send().await?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_are_written_as_they_are_read() {
        for text in [
            "tcp/80 0.0.0.0/0",
            "tcp/8000-8010 sg-1",
            "all 10.0.0.0/8",
            "icmp/-1 ::/0",
            "icmp/8--1 pl-1",
            "50 123456789012/sg-1",
        ] {
            assert_eq!(text.parse::<Rule>().map(|rule| rule.to_string()).as_deref(), Ok(text));
        }
        for text in ["", "tcp/80", "tcp/x 0.0.0.0/0", "tcp/ sg-1", "tcp/1-x sg-1"] {
            assert_eq!(text.parse::<Rule>(), Err(InvalidRule(text.into())));
        }
    }

    #[test]
    fn a_permission_with_several_peers_is_several_rules() {
        let pair = |account: &str, group: &str| UserIdGroupPair::builder().user_id(account).group_id(group).build();
        let permission = IpPermission::builder()
            .ip_protocol("tcp")
            .from_port(443)
            .to_port(443)
            .ip_ranges(IpRange::builder().cidr_ip("10.0.0.0/8").description("office").build())
            .user_id_group_pairs(pair("111111111111", "sg-1"))
            .user_id_group_pairs(pair("222222222222", "sg-2"))
            .build();
        let found = rules(&[permission], "111111111111");
        let texts: Vec<_> = found.iter().map(|(rule, description)| (rule.to_string(), description.as_str())).collect();
        assert_eq!(
            texts,
            [
                ("tcp/443 10.0.0.0/8".to_owned(), "office"),
                ("tcp/443 222222222222/sg-2".to_owned(), ""),
                ("tcp/443 sg-1".to_owned(), ""),
            ]
        );
    }
}
