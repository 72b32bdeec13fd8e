//! What would fail later, asked before anything is made: permissions, quotas, names that others have, machines and engine
//! versions that aren't offered, address ranges, certificates that aren't issued.
//!
//! No question here decides over a plan: what may not be asked, or what an endpoint can't answer, is told once.

mod certificates;
mod names;
mod offers;
mod outlook;
mod permissions;
mod quotas;

use futures::future::{BoxFuture, FutureExt, join_all};
use serde::Serialize;

use crate::{
    aws::{Class, Context, Error, Result},
    blueprint::Blueprint,
    engine::{Action, Plan, Step},
    resource::{Kind, Subnet, root},
};

pub use outlook::{Month, Outlook};

/// What was found out.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(tag = "severity", content = "text", rename_all = "lowercase")]
pub enum Finding {
    /// An apply would fail of it.
    Problem(String),
    /// It may be what is wanted.
    Warning(String),
    /// A question that got no answer, and why.
    Unasked(String),
}

/// How much is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// What this plan needs.
    Plan,
    /// What the stack needs in all its life.
    Stack,
}

/// Asks all questions at once; the answers are in order of their weight, each once.
pub async fn run(cx: &Context, blueprint: &Blueprint, plan: &Plan, scope: Scope) -> Vec<Finding> {
    let look = Look { cx, blueprint, plan, scope };
    let questions: [(&str, BoxFuture<'_, Result<Vec<Finding>>>); 7] = [
        ("permissions", permissions::ask(&look).boxed()),
        ("quotas", quotas::ask(&look).boxed()),
        ("names", names::ask(&look).boxed()),
        ("address ranges", names::overlaps(&look).boxed()),
        ("instance types", offers::machines(&look).boxed()),
        ("engine versions", offers::engine(&look).boxed()),
        ("the certificate", certificates::ask(&look).boxed()),
    ];
    let answers = join_all(questions.map(|(what, question)| async move { (what, question.await) })).await;
    let mut findings: Vec<Finding> = answers
        .into_iter()
        .flat_map(|(what, answer)| answer.unwrap_or_else(|error| unasked(cx, what, &error)))
        .collect();
    findings.sort();
    findings.dedup();
    findings
}

/// An emulator that doesn't know a question isn't worth a word; AWS that doesn't answer is.
fn unasked(cx: &Context, what: &str, error: &Error) -> Vec<Finding> {
    if cx.emulator.is_some() {
        tracing::debug!(%error, "the endpoint doesn't tell about {what}");
        return Vec::new();
    }
    let why = match error.class() {
        Class::Refused => format!("{}:{} is not permitted", error.service, error.operation),
        _ => error.to_string(),
    };
    vec![Finding::Unasked(format!("{what} could not be checked: {why}"))]
}

/// What the questions look at.
struct Look<'a> {
    cx: &'a Context,
    blueprint: &'a Blueprint,
    plan: &'a Plan,
    scope: Scope,
}

impl<'a> Look<'a> {
    /// The steps that make something of a kind.
    fn made(&self, kind: &'a str) -> impl Iterator<Item = &'a Step> {
        let makes = |step: &&Step| matches!(step.action, Action::Create | Action::Replace);
        self.plan.steps.iter().filter(makes).filter(move |step| step.kind == kind)
    }

    /// The same, with what the stack wants of each.
    fn wanted<K: Kind>(&self) -> Vec<(&'a str, K::Spec)> {
        let spec = |step: &'a Step| {
            let node = self.blueprint.nodes.get(&step.id)?;
            Some((step.id.as_str(), serde_json::from_value(node.spec.clone()).ok()?))
        };
        self.made(K::NAME).filter_map(spec).collect()
    }
}

/// The steps that make something of a kind, or change one of these attributes of it.
fn touching<'a>(plan: &'a Plan, kind: &str, attributes: &[&str]) -> impl Iterator<Item = &'a Step> {
    let touches = move |step: &&Step| match step.action {
        Action::Create | Action::Replace => true,
        Action::Update => step.attributes.iter().any(|attribute| attributes.contains(&root(&attribute.path))),
        Action::Delete | Action::Wait => false,
    };
    plan.steps.iter().filter(move |step| step.kind == kind).filter(touches)
}

/// The zone of a subnet of the stack.
fn zone_of(blueprint: &Blueprint, subnet: &str) -> Option<String> {
    let node = blueprint.nodes.get(subnet).filter(|node| node.kind == Subnet::NAME)?;
    node.spec["zone"].as_str().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        blueprint::compile,
        engine::{Attribute, FORMAT_VERSION, Summary},
        export::cloudformation::facts,
        resource::Effect,
    };
    use serde_json::{Value, json};

    /// What a stack of two zones with these parts means.
    pub fn blueprint(parts: Value) -> Blueprint {
        let mut stack = json!({
            "project": "shop",
            "environment": "dev",
            "region": "ap-northeast-2",
            "network": {"zones": ["a", "c"], "nat": "single"},
        });
        stack.as_object_mut().expect("an object").extend(parts.as_object().cloned().unwrap_or_default());
        let stack = serde_json::from_value(stack).expect("a stack");
        compile(&stack, &facts(&stack))
    }

    pub fn step(id: &str, kind: &str, action: Action, attributes: &[&str]) -> Step {
        let attribute = |path: &&str| Attribute {
            path: (*path).to_owned(),
            before: Value::Null,
            after: Value::Null,
            effect: Effect::InPlace,
        };
        let attributes = attributes.iter().map(attribute).collect();
        Step { id: id.into(), kind: kind.into(), action, reasons: Vec::new(), attributes, aws_id: None }
    }

    pub fn plan(steps: Vec<Step>) -> Plan {
        Plan {
            format_version: FORMAT_VERSION,
            stack: "shop-dev".into(),
            summary: Summary::default(),
            steps,
            waits: Vec::new(),
            omitted: Vec::new(),
        }
    }
}
