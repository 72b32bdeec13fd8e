use ipnet::Ipv4Net;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::stack::units::{cidr_schema, subnets_schema};

/// Interface endpoints without which an instance in a subnet with no way out can't boot: it fetches its
/// parameters and secrets, registers for sessions, tags itself with how the boot went, and sends logs, metrics and messages.
/// Packages and artifacts come through the S3 gateway endpoint, which every stack has.
/// Sessions need no `ec2messages` any more, which newer regions don't have. Source: "Improve the security of EC2 instances
/// by using VPC endpoints for Systems Manager", AWS Systems Manager User Guide.
pub(super) const BOOT_ENDPOINTS: [&str; 8] =
    ["ec2", "logs", "monitoring", "secretsmanager", "sns", "sqs", "ssm", "ssmmessages"];

/// Further endpoints for services that run a container image.
pub(super) const IMAGE_ENDPOINTS: [&str; 2] = ["ecr.api", "ecr.dkr"];

/// Two zones of Seoul.
const EXAMPLE_ZONES: [&str; 2] = ["a", "c"];

/// The VPC and its subnets: one public, one private and one database subnet per zone.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Network {
    /// Address range of the VPC, between /16 and /22 unless `subnets` are written out.
    #[schemars(schema_with = "cidr_schema", example = &"10.0.0.0/16")]
    pub cidr: Ipv4Net,

    /// Availability zones, as letters or full names; at least two. A zone keeps its subnets whatever zones
    /// come or go besides it.
    #[schemars(length(max = 16), example = EXAMPLE_ZONES)]
    pub zones: Vec<String>,

    /// How private subnets reach the internet.
    pub nat: NatMode,

    /// Subnets written out, one network per zone in each list, in the order of `zones`. Left out, they are
    /// computed from `cidr`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subnets: Option<Subnets>,

    /// Interface endpoints besides those that `nat: none` brings, by short name such as `sts` or `ecr.api`.
    pub endpoints: Vec<String>,

    /// Record accepted and rejected traffic of the VPC in CloudWatch Logs.
    pub flow_logs: bool,
}

impl Default for Network {
    fn default() -> Self {
        Self {
            cidr: Ipv4Net::new_assert(std::net::Ipv4Addr::new(10, 0, 0, 0), 16),
            zones: ["a", "b", "c"].map(str::to_owned).to_vec(),
            nat: NatMode::PerZone,
            subnets: None,
            endpoints: Vec::new(),
            flow_logs: true,
        }
    }
}

/// How private subnets reach the internet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum NatMode {
    /// One NAT gateway per zone: the loss of a zone leaves the others their way out.
    PerZone,
    /// One NAT gateway for all zones: cheaper, and lost together with its zone.
    Single,
    /// None; AWS is reached through VPC endpoints only.
    None,
}

/// Subnets written out, one network per zone in each list, in the order of `zones`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Subnets {
    /// For the load balancer and NAT gateways.
    #[schemars(schema_with = "subnets_schema")]
    pub public: Vec<Ipv4Net>,
    /// For instances.
    #[schemars(schema_with = "subnets_schema")]
    pub private: Vec<Ipv4Net>,
    /// For Aurora and Redis; no route to the internet.
    #[schemars(schema_with = "subnets_schema")]
    pub database: Vec<Ipv4Net>,
}

/// The networks of all subnets, by tier, in the order of the zones.
pub type SubnetLayout = Subnets;

/// The first slot of each tier when a VPC is cut into equal subnets: .1, .11 and .21 of a /16.
const FIRST_SLOTS: [usize; 3] = [1, 11, 21];

/// How many slots each tier has.
const SLOTS: usize = 10;

impl Network {
    /// The networks of all subnets of a new stack: those written out, or else the first of each tier's slots.
    ///
    /// `None` when the VPC is too small or has more than ten zones.
    pub fn subnet_layout(&self) -> Option<SubnetLayout> {
        if let Some(subnets) = &self.subnets {
            return Some(subnets.clone());
        }
        let slots = self.subnet_slots()?;
        let zones = self.zones.len();
        let first = |tier: &[Ipv4Net]| tier.get(..zones).map(<[Ipv4Net]>::to_vec);
        Some(Subnets {
            public: first(&slots.public)?,
            private: first(&slots.private)?,
            database: first(&slots.database)?,
        })
    }

    /// All networks that computed subnets may have.
    ///
    /// A VPC of /16 to /19 is cut into 256 slots and a smaller one into 32, of which public subnets take
    /// those from 1, private from 11 and database from 21. They depend on `cidr` alone: nothing that is tuned
    /// later (such as the maximum of instances) moves a subnet, because moving one means replacing all that
    /// lives in it.
    ///
    /// `None` when the VPC is too small.
    pub fn subnet_slots(&self) -> Option<Subnets> {
        let bits = if self.cidr.prefix_len() <= 19 { 8 } else { 5 };
        let prefix = self.cidr.prefix_len() + bits;
        // AWS's smallest subnet is /28; the load balancer needs at least a /27.
        if prefix > 27 {
            return None;
        }
        let slots: Vec<Ipv4Net> = self.cidr.trunc().subnets(prefix).ok()?.take(32).collect();
        let tier = |first: usize| slots[first..first + SLOTS].to_vec();
        let [public, private, database] = FIRST_SLOTS.map(tier);
        Some(Subnets { public, private, database })
    }
}

/// `a` → `ap-northeast-2a`; a full name stays as it is.
pub(super) fn full_zone_name(region: &str, zone: &str) -> String {
    if zone.len() == 1 { format!("{region}{zone}") } else { zone.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layout(cidr: &str, zones: usize) -> Option<SubnetLayout> {
        Network {
            cidr: cidr.parse().expect("a network"),
            zones: (0..zones).map(|n| format!("zone{n}")).collect(),
            ..Network::default()
        }
        .subnet_layout()
    }

    fn texts(nets: &[Ipv4Net]) -> Vec<String> {
        nets.iter().map(Ipv4Net::to_string).collect()
    }

    #[test]
    fn a_16_is_cut_as_people_do_by_hand() {
        let subnets = layout("10.0.0.0/16", 2).expect("fits");
        assert_eq!(texts(&subnets.public), ["10.0.1.0/24", "10.0.2.0/24"]);
        assert_eq!(texts(&subnets.private), ["10.0.11.0/24", "10.0.12.0/24"]);
        assert_eq!(texts(&subnets.database), ["10.0.21.0/24", "10.0.22.0/24"]);
    }

    #[test]
    fn smaller_networks_are_cut_into_fewer_slots() {
        let subnets = layout("10.8.0.0/20", 3).expect("fits");
        assert_eq!(texts(&subnets.private), ["10.8.5.128/25", "10.8.6.0/25", "10.8.6.128/25"]);
        assert_eq!(layout("10.8.0.0/22", 1).expect("fits").public[0].prefix_len(), 27);
        assert_eq!(layout("10.8.0.0/23", 2), None);
        assert_eq!(layout("10.0.0.0/16", 11), None);
    }

    #[test]
    fn extreme_networks_do_not_panic() {
        for prefix in 0..=32 {
            let _ = layout(&format!("0.0.0.0/{prefix}"), 6);
            let _ = layout(&format!("255.255.255.255/{prefix}"), 6);
        }
    }
}
