//! The price list of the repository.

use serde::Deserialize;
use std::{collections::BTreeMap, sync::LazyLock};

use super::Item;

/// Prices of one region, in US dollars.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Prices {
    pub nat_gateway_hour: f64,
    pub nat_gateway_gb: f64,
    pub load_balancer_hour: f64,
    /// Per load balancer capacity unit.
    pub load_balancer_lcu_hour: f64,
    /// A public IPv4 address, in use or not.
    pub public_address_hour: f64,
    /// Per zone.
    pub interface_endpoint_hour: f64,
    pub volume_gp3_gib_month: f64,
    pub aurora_storage_gib_month: f64,
    pub log_ingestion_gb: f64,
    pub internet_out_gb: f64,
    pub metric_month: f64,
    pub alarm_month: f64,
    pub dashboard_month: f64,
    pub secret_month: f64,
    instances: Machines,
    aurora: Machines,
    redis: Machines,
}

/// Prices of an hour, by family and size.
type Machines = BTreeMap<String, BTreeMap<String, f64>>;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PriceList {
    as_of: String,
    regions: BTreeMap<String, Prices>,
}

static LIST: LazyLock<PriceList> =
    LazyLock::new(|| serde_yaml::from_str(include_str!("prices.yaml")).expect("the price list is read by the tests"));

/// The month from which the oldest price is, such as `2025-05`.
pub fn as_of() -> &'static str {
    &LIST.as_of
}

/// The regions that the list has.
pub fn regions() -> impl Iterator<Item = &'static str> {
    LIST.regions.keys().map(String::as_str)
}

impl Prices {
    /// The prices of a region, if the list has it.
    pub fn of(region: &str) -> Option<&'static Prices> {
        LIST.regions.get(region)
    }

    /// The price of an item, if the list has it.
    pub fn price(&self, item: &Item) -> Option<f64> {
        Some(match item {
            Item::NatGateway => self.nat_gateway_hour,
            Item::LoadBalancer => self.load_balancer_hour,
            Item::CapacityUnit => self.load_balancer_lcu_hour,
            Item::PublicAddress => self.public_address_hour,
            Item::InterfaceEndpoint => self.interface_endpoint_hour,
            Item::Volume => self.volume_gp3_gib_month,
            Item::AuroraStorage => self.aurora_storage_gib_month,
            Item::Metric => self.metric_month,
            Item::Alarm => self.alarm_month,
            Item::Dashboard => self.dashboard_month,
            Item::Secret => self.secret_month,
            Item::Instance(machine) => hour(&self.instances, machine)?,
            Item::Aurora(class) => hour(&self.aurora, class.strip_prefix("db.")?)?,
            Item::Redis(class) => hour(&self.redis, class.strip_prefix("cache.")?)?,
        })
    }
}

fn hour(machines: &Machines, machine: &str) -> Option<f64> {
    let (family, size) = machine.split_once('.')?;
    let sizes = machines.get(family)?;
    sizes.get(size).copied().or_else(|| Some(sizes.get("large")? * in_large(size)?))
}

/// How many `large` a size is.
/// Source: "normalization factor" in <https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/apply_ri.html>
fn in_large(size: &str) -> Option<f64> {
    Some(match size {
        "nano" => 1.0 / 16.0,
        "micro" => 1.0 / 8.0,
        "small" => 1.0 / 4.0,
        "medium" => 1.0 / 2.0,
        "large" => 1.0,
        "xlarge" => 2.0,
        size => 2.0 * f64::from(size.strip_suffix("xlarge")?.parse::<u16>().ok()?),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_family_s_sizes_follow_from_one() {
        let prices = Prices::of("us-east-1").expect("the region");
        let near = |item: Item, list: f64| {
            let told = prices.price(&item);
            assert!(told.is_some_and(|told| (told - list).abs() < 0.0011), "{item}: {told:?}");
        };
        near(Item::Instance("t3.medium".into()), 0.0416);
        near(Item::Instance("m7i.4xlarge".into()), 0.8064);
        near(Item::Aurora("db.r6g.xlarge".into()), 0.519);
        near(Item::Redis("cache.r7g.xlarge".into()), 0.437);
        near(Item::Redis("cache.t3.micro".into()), 0.017);
        for unknown in ["t3.mega", "p5.large"] {
            assert_eq!(prices.price(&Item::Instance(unknown.into())), None);
        }
        assert!(Prices::of("eu-south-2").is_none());
    }
}
