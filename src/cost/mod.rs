//! What a stack costs per month, by the price list of the repository.
//!
//! Counted is what is paid for being there. What is paid by use is estimated where it is small and always there, and
//! otherwise named as not counted.

mod kinds;
mod prices;

use serde::Serialize;
use serde_json::Value;

use crate::{
    blueprint::Blueprint,
    engine::Inventory,
    resource::{CLOSE, Kind, OPEN},
};

pub use prices::{Prices, as_of, regions};

/// Hours of a month, as AWS's calculators count them.
pub const HOURS: f64 = 730.0;

/// What is paid by use and can't be told beforehand.
pub const NOT_COUNTED: &[&str] = &[
    "traffic: to the internet, between zones, through NAT gateways and interface endpoints",
    "requests: SQS, SNS, S3, Parameter Store, Secrets Manager, Aurora's I/O",
    "storage that grows: S3, snapshots and backups beyond the database's size, CloudWatch Logs (ingestion too)",
    "processor credits of burstable machines in unlimited mode, data that instances fetch from registries",
    "tax, and what makes it cheaper: savings plans, reserved instances, the free tier",
];

/// An amount at the groups' smallest, as they begin, and at their largest.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Amount {
    pub min: f64,
    pub now: f64,
    pub max: f64,
}

impl Amount {
    pub fn always(amount: impl Into<f64>) -> Amount {
        let amount = amount.into();
        Amount { min: amount, now: amount, max: amount }
    }

    pub fn times(self, factor: f64) -> Amount {
        Amount { min: self.min * factor, now: self.now * factor, max: self.max * factor }
    }
}

impl std::ops::AddAssign for Amount {
    fn add_assign(&mut self, other: Amount) {
        self.min += other.min;
        self.now += other.now;
        self.max += other.max;
    }
}

/// One thing that is paid for.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Line {
    /// The resource's logical id.
    pub id: String,
    pub what: String,
    /// US dollars per month; none if the price list doesn't have it.
    pub month: Option<Amount>,
    /// Whether it depends on use, and a usual one is assumed.
    pub estimated: bool,
}

impl Line {
    fn of(id: &str, what: impl Into<String>, month: Amount) -> Line {
        Line { id: id.to_owned(), what: what.into(), month: Some(month), estimated: false }
    }

    fn fixed(id: &str, what: impl Into<String>, month: f64) -> Line {
        Line::of(id, what, Amount::always(month))
    }

    fn of_hours(id: &str, what: String, hour: Option<f64>, count: Amount) -> Line {
        let month = hour.map(|hour| count.times(hour * HOURS));
        Line { id: id.to_owned(), what, month, estimated: false }
    }

    fn estimated(self) -> Line {
        Line { estimated: true, ..self }
    }
}

/// What a stack costs.
#[derive(Clone, Debug, Serialize)]
pub struct Estimate {
    pub region: String,
    /// The month of the price list.
    pub as_of: &'static str,
    pub lines: Vec<Line>,
    /// US dollars per month, of all lines that have a price.
    pub month: Amount,
    pub not_counted: &'static [&'static str],
}

impl Estimate {
    /// Lines that the price list has no price for.
    pub fn unpriced(&self) -> impl Iterator<Item = &Line> {
        self.lines.iter().filter(|line| line.month.is_none())
    }
}

/// One resource as the estimate sees it: wished for, or there.
struct Seen<'a> {
    id: &'a str,
    aws_id: Option<&'a str>,
    kind: &'a str,
    spec: &'a Value,
}

/// Everything that is priced together.
pub struct Estimator<'a> {
    prices: &'static Prices,
    resources: Vec<Seen<'a>>,
}

impl Estimator<'_> {
    /// What a reference leads to.
    fn find<K: Kind>(&self, reference: &str) -> Option<K::Spec> {
        let id = reference.strip_prefix(OPEN).and_then(|rest| rest.strip_suffix(CLOSE));
        let is_it = |seen: &&Seen<'_>| seen.kind == K::NAME && (Some(seen.id) == id || seen.aws_id == Some(reference));
        serde_json::from_value(self.resources.iter().find(is_it)?.spec.clone()).ok()
    }

    fn estimate(&self, region: &str) -> Estimate {
        let price = |seen: &Seen<'_>| kinds::of(self, seen.kind, seen.id, seen.spec);
        let lines: Vec<Line> = self.resources.iter().flat_map(price).collect();
        let mut month = Amount::default();
        lines.iter().filter_map(|line| line.month).for_each(|amount| month += amount);
        Estimate { region: region.to_owned(), as_of: as_of(), lines, month, not_counted: NOT_COUNTED }
    }
}

/// What a blueprint costs; none if the price list doesn't have the region.
pub fn of_blueprint(blueprint: &Blueprint, region: &str) -> Option<Estimate> {
    let nodes = blueprint.nodes.iter();
    let resources = nodes.map(|(id, node)| Seen { id, aws_id: None, kind: &node.kind, spec: &node.spec }).collect();
    Some(Estimator { prices: Prices::of(region)?, resources }.estimate(region))
}

/// What there is now costs; none if the price list doesn't have the region.
pub fn of_inventory(inventory: &Inventory, region: &str) -> Option<Estimate> {
    let resources = inventory
        .all()
        .map(|owned| Seen {
            id: &owned.found.logical_id,
            aws_id: Some(&owned.found.id),
            kind: owned.kind.name(),
            spec: &owned.found.spec,
        })
        .collect();
    Some(Estimator { prices: Prices::of(region)?, resources }.estimate(region))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{blueprint::compile, export::cloudformation::facts, stack::load};
    use std::path::Path;

    fn estimate(file: &str, sets: &[&str]) -> Estimate {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("stacks").join(file);
        let sets: Vec<String> = sets.iter().map(ToString::to_string).collect();
        let stack = load(&path, &sets).unwrap_or_else(|wrong| panic!("{}", wrong.render(false))).stack;
        of_blueprint(&compile(&stack, &facts(&stack)), &stack.region).expect("the region is in the list")
    }

    fn now(estimate: &Estimate, id: &str) -> f64 {
        estimate.lines.iter().filter(|line| line.id == id).filter_map(|line| Some(line.month?.now)).sum()
    }

    #[test]
    fn dev_costs_what_its_parts_cost() {
        let estimate = estimate("dev.yaml", &[]);
        assert_eq!(estimate.unpriced().count(), 0, "{:?}", estimate.unpriced().collect::<Vec<_>>());
        let near =
            |id: &str, month: f64| assert!((now(&estimate, id) - month).abs() < 0.01, "{id}: {}", now(&estimate, id));
        near("nat-a", 730.0 * 0.059);
        near("database-1", 730.0 * 0.125);
        near("cache", 730.0 * 2.0 * 0.025);
        let sum: f64 = estimate.lines.iter().filter_map(|line| Some(line.month?.now)).sum();
        assert!((estimate.month.now - sum).abs() < 1e-9);
        let group = estimate.lines.iter().find(|line| line.what == "2 × t3.medium").expect("the instances");
        assert_eq!(group.month, Some(Amount { min: 2.0, now: 2.0, max: 20.0 }.times(730.0 * 0.052)));
    }

    #[test]
    fn every_ready_stack_has_prices_and_what_has_none_is_told() {
        for file in ["dev.yaml", "prod.yaml", "two-services.yaml", "localstack.yaml"] {
            let estimate = estimate(file, &[]);
            assert_eq!(estimate.unpriced().count(), 0, "{file}: {:?}", estimate.unpriced().collect::<Vec<_>>());
            assert!(estimate.month.min <= estimate.month.now && estimate.month.now <= estimate.month.max);
        }
        let unpriced = estimate("dev.yaml", &["services.web.instances.type=c8g.large"]);
        assert_eq!(unpriced.unpriced().map(|line| line.id.as_str()).collect::<Vec<_>>(), ["group-web"]);
    }
}
