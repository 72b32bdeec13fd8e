//! What a stack costs per month, by the price list of the repository or by AWS's own.
//!
//! Counted is what is paid for being there. What is paid by use is estimated where it is small and always there, and
//! otherwise named as not counted.

mod item;
mod kinds;
pub mod live;
mod prices;

use serde::Serialize;
use serde_json::Value;
use std::{cell::RefCell, collections::BTreeSet};

use crate::{
    aws::{Context, Result},
    blueprint::Blueprint,
    engine::Inventory,
    resource::{CLOSE, Kind, OPEN},
};

pub use item::Item;
use live::Live;
pub use prices::{Prices, as_of, regions};

/// Hours of a month, as AWS's calculators count them.
pub const HOURS: f64 = 730.0;

/// What is paid by use and can't be told beforehand.
pub const NOT_COUNTED: &[&str] = &[
    "traffic: to the internet, between zones, through NAT gateways and interface endpoints",
    "requests: SQS, SNS, S3, Parameter Store, Secrets Manager, Aurora's I/O",
    "storage that grows: S3, snapshots and backups beyond the database's size, CloudWatch Logs (ingestion too)",
    "metrics that the programs themselves tell, each as a custom metric: the ticketing application has 19 per service",
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
    /// So many of what costs `each` per month.
    fn of(id: &str, what: impl Into<String>, each: Option<f64>, count: Amount) -> Line {
        let month = each.map(|each| count.times(each));
        Line { id: id.to_owned(), what: what.into(), month, estimated: false }
    }

    fn fixed(id: &str, what: impl Into<String>, each: Option<f64>) -> Line {
        Line::of(id, what, each, Amount::always(1))
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
    /// Where the prices are from, if AWS was asked for them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sources: Option<Sources>,
}

/// Which prices AWS told, and which it didn't.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Sources {
    pub live: Vec<String>,
    /// When the newest of them was published.
    pub published: Option<String>,
    /// From the list instead.
    pub listed: Vec<String>,
    /// Nowhere to be had.
    pub missing: Vec<String>,
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
    list: Option<&'static Prices>,
    live: Option<&'a Live>,
    resources: Vec<Seen<'a>>,
    /// The prices that were needed.
    asked: RefCell<BTreeSet<Item>>,
}

impl<'a> Estimator<'a> {
    fn new(region: &str, live: Option<&'a Live>, resources: Vec<Seen<'a>>) -> Estimator<'a> {
        Estimator { list: Prices::of(region), live, resources, asked: RefCell::default() }
    }

    /// What one of it costs per month.
    fn month(&self, item: Item) -> Option<f64> {
        let price = self.live(&item).or_else(|| self.list?.price(&item));
        let hours = if item.is_hourly() { HOURS } else { 1.0 };
        self.asked.borrow_mut().insert(item);
        price.map(|price| price * hours)
    }

    fn live(&self, item: &Item) -> Option<f64> {
        self.live?.prices.get(item).copied()
    }

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
        let (region, sources) = (region.to_owned(), self.live.map(|live| self.sources(live)));
        Estimate { region, as_of: as_of(), lines, month, not_counted: NOT_COUNTED, sources }
    }

    fn sources(&self, live: &Live) -> Sources {
        let mut sources = Sources { published: live.published.clone(), ..Sources::default() };
        for item in self.asked.borrow().iter() {
            let listed = || self.list.is_some_and(|list| list.price(item).is_some());
            let of = match self.live(item) {
                Some(_) => &mut sources.live,
                None if listed() => &mut sources.listed,
                None => &mut sources.missing,
            };
            of.push(item.to_string());
        }
        sources
    }
}

fn wished(blueprint: &Blueprint) -> Vec<Seen<'_>> {
    let nodes = blueprint.nodes.iter();
    nodes.map(|(id, node)| Seen { id, aws_id: None, kind: &node.kind, spec: &node.spec }).collect()
}

/// What a blueprint costs by the list; none if the list doesn't have the region.
pub fn of_blueprint(blueprint: &Blueprint, region: &str) -> Option<Estimate> {
    let estimator = Estimator::new(region, None, wished(blueprint));
    estimator.list?;
    Some(estimator.estimate(region))
}

/// What a blueprint costs by AWS's own prices, and by the list where these lack.
///
/// # Errors
/// AWS doesn't tell its prices.
pub async fn of_blueprint_live(blueprint: &Blueprint, cx: &Context) -> Result<Estimate> {
    let live = live::ask(cx, &items(blueprint, &cx.region)).await?;
    Ok(Estimator::new(&cx.region, Some(&live), wished(blueprint)).estimate(&cx.region))
}

/// What must have a price.
fn items(blueprint: &Blueprint, region: &str) -> BTreeSet<Item> {
    let estimator = Estimator::new(region, None, wished(blueprint));
    estimator.estimate(region);
    estimator.asked.into_inner()
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
    let estimator = Estimator::new(region, None, resources);
    estimator.list?;
    Some(estimator.estimate(region))
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
        // The storage, and the secret that RDS keeps for the master user.
        near("database", 10.0 * 0.11 + 0.4);
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
