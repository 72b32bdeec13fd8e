//! Whether whoever runs this may do what the plan does, asked of IAM itself.

use aws_sdk_iam::types::{ContextEntry, ContextKeyTypeEnum, EvaluationResult, PolicyEvaluationDecisionType};
use std::collections::{BTreeMap, BTreeSet};

use super::{Finding, Look, Scope};
use crate::{
    access::{self, Place, Statement, actions_of},
    aws::{Class, Context, Error, Result, partition},
    engine::{Action, Step},
};

/// An emulator asks nobody for permission.
pub async fn ask(look: &Look<'_>) -> Result<Vec<Finding>> {
    let cx = look.cx;
    if cx.emulator.is_some() {
        return Ok(Vec::new());
    }
    let Some(principal) = principal(cx).await? else { return Ok(Vec::new()) };
    let place = Place {
        partition: partition(&cx.region).into(),
        region: cx.region.clone(),
        account: cx.account().await?.to_owned(),
    };
    let needed: BTreeSet<&str> = look.plan.steps.iter().flat_map(of_step).collect();
    let mut denied = BTreeSet::new();
    for mut statement in access::statements(look.blueprint, &place) {
        if look.scope == Scope::Plan {
            statement.actions.retain(|action| needed.contains(action));
        }
        if !statement.actions.is_empty() {
            denied.extend(simulate(cx, &principal, &statement).await?);
        }
    }
    Ok(told(&principal, &denied))
}

/// The actions of one step.
fn of_step(step: &Step) -> Vec<&'static str> {
    let Some(actions) = actions_of(&step.kind) else { return Vec::new() };
    let parts: &[&[&'static str]] = match step.action {
        Action::Create => &[actions.find, actions.make, actions.finish],
        Action::Replace => &[actions.find, actions.make, actions.finish, actions.delete],
        Action::Update => &[actions.find, actions.change],
        Action::Delete => &[actions.find, actions.delete],
        Action::Wait => &[actions.find],
    };
    parts.concat()
}

fn told(principal: &str, denied: &BTreeSet<String>) -> Vec<Finding> {
    if denied.is_empty() {
        return Vec::new();
    }
    let actions: Vec<_> = denied.iter().map(String::as_str).collect();
    let text = format!(
        "{principal} is not allowed {}; `ticketctl iam policy` prints a policy that allows what the stack needs",
        actions.join(", ")
    );
    vec![Finding::Problem(text)]
}

/// The user or role that we are; none for the account itself, which may do everything.
async fn principal(cx: &Context) -> Result<Option<String>> {
    let identity = cx.sts.get_caller_identity().send().await?;
    let arn = identity.arn().unwrap_or_default();
    if arn.ends_with(":root") {
        return Ok(None);
    }
    let Some(role) = role_of(arn) else { return Ok(Some(arn.to_owned())) };
    // A session's ARN lacks the role's path.
    match cx.iam.get_role().role_name(role).send().await.map_err(Error::from) {
        Ok(answer) => Ok(answer.role().map(|role| role.arn().to_owned())),
        // Whoever may read only the stack's own roles. Most roles have no path.
        Err(error) if error.class() == Class::Refused => Ok(without_path(arn)),
        Err(error) => Err(error),
    }
}

/// The ARN of a session's role, if the role has no path.
fn without_path(session: &str) -> Option<String> {
    let mut parts = session.split(':').skip(1);
    let (partition, account) = (parts.next()?, parts.nth(2)?);
    Some(format!("arn:{partition}:iam::{account}:role/{}", role_of(session)?))
}

/// `arn:aws:sts::123456789012:assumed-role/<role>/<session>` → `<role>`.
fn role_of(arn: &str) -> Option<&str> {
    arn.split_once(":assumed-role/")?.1.split('/').next()
}

/// The actions of a statement that IAM denies on all of its resources.
async fn simulate(cx: &Context, principal: &str, statement: &Statement) -> Result<BTreeSet<String>> {
    let context = statement.conditions.iter().map(|(key, values)| {
        ContextEntry::builder()
            .context_key_name(*key)
            .context_key_type(ContextKeyTypeEnum::String)
            .set_context_key_values(Some(values.iter().take(1).cloned().collect()))
            .build()
    });
    let pages = cx
        .iam
        .simulate_principal_policy()
        .policy_source_arn(principal)
        .set_action_names(Some(statement.actions.iter().map(ToString::to_string).collect()))
        .set_resource_arns(Some(statement.resources.iter().map(|arn| concrete(arn)).collect()))
        .set_context_entries(Some(context.collect()))
        .into_paginator();
    let results: Vec<EvaluationResult> =
        pages.items().send().collect::<std::result::Result<_, _>>().await.map_err(Error::from)?;
    Ok(denied(results.iter().map(|result| (result.eval_action_name(), is_allowed(result)))))
}

/// On the resource that was asked for, or on one of several.
fn is_allowed(result: &EvaluationResult) -> bool {
    let each = result.resource_specific_results().iter().map(|one| one.eval_resource_decision());
    let mut decisions = std::iter::once(result.eval_decision()).chain(each);
    decisions.any(|decision| decision == &PolicyEvaluationDecisionType::Allowed)
}

/// Something that a pattern stands for.
fn concrete(arn: &str) -> String {
    if arn == "*" { arn.to_owned() } else { arn.replace('*', "x") }
}

fn denied<'a>(results: impl Iterator<Item = (&'a str, bool)>) -> BTreeSet<String> {
    let mut allowed: BTreeMap<&str, bool> = BTreeMap::new();
    for (action, yes) in results {
        *allowed.entry(action).or_default() |= yes;
    }
    allowed.into_iter().filter(|(_, yes)| !yes).map(|(action, _)| action.to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_resource_that_is_allowed_is_enough() {
        let results = [("s3:PutObject", false), ("s3:PutObject", true), ("s3:CreateBucket", false)];
        let denied = denied(results.into_iter());
        assert_eq!(denied, BTreeSet::from(["s3:CreateBucket".to_owned()]));
        assert!(told("arn:aws:iam::1:role/ci", &BTreeSet::new()).is_empty());
        let told = told("arn:aws:iam::1:role/ci", &denied);
        assert!(matches!(&told[..], [Finding::Problem(text)] if text.contains("s3:CreateBucket")), "{told:?}");
    }

    #[test]
    fn a_session_is_its_role() {
        assert_eq!(role_of("arn:aws:sts::123456789012:assumed-role/ci/run-7"), Some("ci"));
        assert_eq!(role_of("arn:aws:iam::123456789012:user/kim"), None);
        let session = "arn:aws-cn:sts::123456789012:assumed-role/ci/run-7";
        assert_eq!(without_path(session).as_deref(), Some("arn:aws-cn:iam::123456789012:role/ci"));
        assert_eq!(concrete("arn:aws:sqs:*:1:shop-dev-*"), "arn:aws:sqs:x:1:shop-dev-x");
    }
}
