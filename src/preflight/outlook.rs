//! What a plan leads to: what would fail, how long it takes, what it interrupts, what it costs.

use serde::Serialize;
use std::collections::BTreeSet;

use super::{Finding, Scope};
use crate::{
    aws::Context,
    blueprint::Blueprint,
    cost,
    engine::{self, Action, Cycle, Forecast, Inventory, Plan, record},
};

/// How many of the last runs are looked through for one like the plan.
const RUNS: usize = 10;

#[derive(Debug, Serialize)]
pub struct Outlook {
    pub preflight: Vec<Finding>,
    pub forecast: Forecast,
    /// How long the last run that did the same took, in seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_time: Option<u64>,
    /// None where the price list doesn't have the region.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub month: Option<Month>,
}

/// US dollars per month, with as many instances as groups begin with.
#[derive(Debug, Serialize)]
pub struct Month {
    pub now: f64,
    pub then: f64,
    /// What has no price in the list.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub unpriced: Vec<String>,
}

impl Outlook {
    /// The outlook of a plan that does something; none for one that doesn't.
    ///
    /// # Errors
    /// References in a circle.
    pub async fn of(
        cx: &Context,
        blueprint: &Blueprint,
        inventory: &Inventory,
        plan: &Plan,
    ) -> Result<Option<Outlook>, Cycle> {
        if plan.is_empty() {
            return Ok(None);
        }
        let forecast = engine::forecast(plan, blueprint, inventory)?;
        let preflight = super::run(cx, blueprint, plan, Scope::Plan);
        let (preflight, last_time) = tokio::join!(preflight, last_time(cx, plan));
        let month = month(blueprint, inventory, &cx.region);
        Ok(Some(Outlook { preflight, forecast, last_time, month }))
    }
}

/// The record of runs is a help, not a condition: where it can't be read, nothing is told.
async fn last_time(cx: &Context, plan: &Plan) -> Option<u64> {
    let records = record::history(cx, RUNS).await.ok()?;
    let planned: BTreeSet<(&str, Action)> = plan.steps.iter().map(|step| (step.id.as_str(), step.action)).collect();
    let same = |record: &&record::Record| {
        let done: BTreeSet<(&str, Action)> = record.done.iter().map(|(id, action)| (id.as_str(), *action)).collect();
        record.failed.is_empty() && record.skipped.is_empty() && done == planned
    };
    let record = records.iter().find(same)?;
    u64::try_from(record.ended.duration_since(record.began).as_secs()).ok()
}

fn month(blueprint: &Blueprint, inventory: &Inventory, region: &str) -> Option<Month> {
    let then = cost::of_blueprint(blueprint, region)?;
    let now = cost::of_inventory(inventory, region)?;
    let unpriced = then.unpriced().map(|line| line.id.clone()).collect();
    Some(Month { now: now.month.now, then: then.month.now, unpriced })
}
