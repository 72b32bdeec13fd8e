//! The record of each run, in the control bucket.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{
    Action, Report, Summary,
    control::{Condition, Control},
};
use crate::{
    aws::{Context, Error, Result},
    blueprint::Blueprint,
};

/// What a run did.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Record {
    /// Unique, begins with the time.
    pub run: String,
    pub command: String,
    pub by: String,
    /// The version of ticketctl.
    pub version: String,
    pub began: Timestamp,
    pub ended: Timestamp,
    pub outcome: RunOutcome,
    /// What was planned.
    pub summary: Summary,
    pub done: Vec<(String, Action)>,
    /// Logical id and error.
    pub failed: Vec<(String, String)>,
    pub skipped: Vec<(String, String)>,
}

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RunOutcome {
    Succeeded,
    Failed,
    Stopped,
}

impl Record {
    pub fn new(run: &str, command: &str, began: Timestamp, summary: Summary, report: &Report) -> Record {
        let outcome = match report {
            Report { stopped: true, .. } => RunOutcome::Stopped,
            report if report.is_complete() => RunOutcome::Succeeded,
            _ => RunOutcome::Failed,
        };
        Record {
            run: run.to_owned(),
            command: command.to_owned(),
            by: super::lock::holder(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            began,
            ended: Timestamp::now(),
            outcome,
            summary,
            done: report.done.clone(),
            failed: report.failed.iter().map(|failure| (failure.id.clone(), failure.error.clone())).collect(),
            skipped: report.skipped.clone(),
        }
    }

    pub async fn write(&self, cx: &Context) -> Result<()> {
        let control = Control::new(cx).await?;
        let body = serde_json::to_vec_pretty(self).expect("a record is plain data");
        control.put(&format!("{}{}.json", prefix(&cx.stack), self.run), body, Condition::None).await?;
        Ok(())
    }
}

/// A name for a run: sorts by time, and no two are alike.
pub fn run_name(began: Timestamp) -> String {
    format!("{}-{:06x}", began.strftime("%Y%m%dT%H%M%SZ"), rand::random_range(0..0x100_0000))
}

fn prefix(stack: &str) -> String {
    format!("stacks/{stack}/runs/")
}

/// The last runs, newest first.
pub async fn history(cx: &Context, count: usize) -> Result<Vec<Record>> {
    let control = Control::new(cx).await?;
    let mut records = Vec::new();
    for key in control.newest(&prefix(&cx.stack), count).await? {
        if let Some(object) = control.get(&key).await? {
            let record = serde_json::from_slice(&object.body).map_err(|error| {
                Error::unexpected("s3", "GetObject", format!("{key} is no record of a run: {error}"))
            })?;
            records.push(record);
        }
    }
    Ok(records)
}

fn applied_key(stack: &str) -> String {
    format!("stacks/{stack}/applied.json")
}

/// Remembers what was applied, to tell later what has moved since. It is never what a plan compares with.
pub async fn write_applied(cx: &Context, blueprint: &Blueprint) -> Result<()> {
    let control = Control::new(cx).await?;
    let body = serde_json::to_vec(blueprint).expect("a blueprint is plain data");
    control.put(&applied_key(&cx.stack), body, Condition::None).await?;
    Ok(())
}

/// The blueprint of the last apply that went through; none before the first and after a destroy.
pub async fn applied(cx: &Context) -> Result<Option<Blueprint>> {
    let object = Control::new(cx).await?.get(&applied_key(&cx.stack)).await?;
    // What an older version wrote in another shape is as good as nothing.
    let blueprint: Option<Blueprint> = object.and_then(|object| serde_json::from_slice(&object.body).ok());
    Ok(blueprint.filter(|blueprint| super::check(blueprint).is_ok()))
}

/// Nothing is applied any more.
pub async fn forget_applied(cx: &Context) -> Result<()> {
    Control::new(cx).await?.put(&applied_key(&cx.stack), b"null".to_vec(), Condition::None).await?;
    Ok(())
}
