//! What has a price of its own.

use std::fmt;

/// One thing that AWS's price list has a price for, in a region.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Item {
    NatGateway,
    LoadBalancer,
    CapacityUnit,
    /// In use or not.
    PublicAddress,
    /// Per zone.
    InterfaceEndpoint,
    /// A GiB of gp3 for a month.
    Volume,
    /// A GiB for a month.
    AuroraStorage,
    /// A metric of one's own.
    Metric,
    Alarm,
    Dashboard,
    Secret,
    /// Linux on an instance type.
    Instance(String),
    /// Aurora MySQL on a class: `db.r6g.large`.
    Aurora(String),
    /// Redis on a node type: `cache.t3.micro`.
    Redis(String),
}

impl Item {
    /// Whether its price is that of an hour; otherwise it is that of a month.
    pub fn is_hourly(&self) -> bool {
        !matches!(
            self,
            Item::Volume | Item::AuroraStorage | Item::Metric | Item::Alarm | Item::Dashboard | Item::Secret
        )
    }
}

impl fmt::Display for Item {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Item::NatGateway => "NAT gateway",
            Item::LoadBalancer => "load balancer",
            Item::CapacityUnit => "load balancer capacity unit",
            Item::PublicAddress => "public IPv4 address",
            Item::InterfaceEndpoint => "interface endpoint",
            Item::Volume => "gp3 storage",
            Item::AuroraStorage => "Aurora storage",
            Item::Metric => "metric",
            Item::Alarm => "alarm",
            Item::Dashboard => "dashboard",
            Item::Secret => "secret",
            Item::Instance(machine) => return write!(f, "{machine}"),
            Item::Aurora(class) => return write!(f, "Aurora {class}"),
            Item::Redis(class) => return write!(f, "Redis {class}"),
        })
    }
}
