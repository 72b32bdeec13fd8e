//! The price list of the repository.

use serde::Deserialize;
use std::{collections::BTreeMap, sync::LazyLock};

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

    /// An hour of a Linux instance: `t3.medium`.
    pub fn instance_hour(&self, instance_type: &str) -> Option<f64> {
        hour(&self.instances, instance_type)
    }

    /// An hour of an Aurora MySQL instance: `db.r6g.large`.
    pub fn aurora_hour(&self, class: &str) -> Option<f64> {
        hour(&self.aurora, class.strip_prefix("db.")?)
    }

    /// An hour of a Redis node: `cache.t3.micro`.
    pub fn redis_hour(&self, class: &str) -> Option<f64> {
        hour(&self.redis, class.strip_prefix("cache.")?)
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
        let near = |told: Option<f64>, list: f64| told.is_some_and(|told| (told - list).abs() < 0.0011);
        assert!(near(prices.instance_hour("t3.medium"), 0.0416));
        assert!(near(prices.instance_hour("m7i.4xlarge"), 0.8064));
        assert!(near(prices.aurora_hour("db.r6g.xlarge"), 0.519));
        assert!(near(prices.redis_hour("cache.r7g.xlarge"), 0.437));
        assert_eq!(prices.redis_hour("cache.t3.micro"), Some(0.017));
        assert_eq!(prices.instance_hour("t3.mega"), None);
        assert_eq!(prices.instance_hour("p5.large"), None);
        assert!(Prices::of("eu-south-2").is_none());
    }
}
