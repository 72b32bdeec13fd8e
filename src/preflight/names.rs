//! Names and address ranges that others have.
//!
//! What the plan makes isn't among what the stack owns. So whatever has its name is a stranger's.

use futures::future::{BoxFuture, FutureExt, join_all};
use ipnet::Ipv4Net;

use super::{Finding, Look};
use crate::{
    aws::{Class, Context, Error, Result},
    engine::{Action, Step},
    resource::Vpc,
};

pub async fn ask(look: &Look<'_>) -> Result<Vec<Finding>> {
    let created = look.plan.steps.iter().filter(|step| step.action == Action::Create);
    let questions: Vec<_> = created.filter_map(|step| Some((step, exists(look, step)?))).collect();
    let answers = join_all(questions.into_iter().map(|(step, (name, asked))| async move { (step, name, asked.await) }));
    let mut findings = Vec::new();
    let mut first_error = None;
    for (step, name, answer) in answers.await {
        match answer {
            Ok(true) => findings.push(taken(step, &name)),
            Ok(false) => {}
            Err(error) => first_error = first_error.or(Some(error)),
        }
    }
    findings.extend(first_error.iter().flat_map(|error| super::unasked(look.cx, "names", error)));
    Ok(findings)
}

fn taken(step: &Step, name: &str) -> Finding {
    let kind = step.kind.replace('_', " ");
    Finding::Problem(format!(
        "{} can't be made: there is a {kind} called {name} that isn't this stack's; rename or delete it, or give the stack \
         another project or environment",
        step.id
    ))
}

/// The name that a new resource is to have, and the question whether there is one. None for kinds whose names can't
/// clash, or that are found by their names and so would be ours.
fn exists<'a>(look: &Look<'a>, step: &'a Step) -> Option<(String, BoxFuture<'a, Result<bool>>)> {
    let cx: &'a Context = look.cx;
    let name = look.blueprint.nodes.get(&step.id)?.spec["name"].as_str()?.to_owned();
    let asked = name.clone();
    let question = match step.kind.as_str() {
        "role" => async move { as_far_as_known(some(cx.iam.get_role().role_name(asked).send().await)) }.boxed(),
        "instance_profile" => async move {
            as_far_as_known(some(cx.iam.get_instance_profile().instance_profile_name(asked).send().await))
        }
        .boxed(),
        "load_balancer" => async move { some(cx.elb.describe_load_balancers().names(asked).send().await) }.boxed(),
        "target_group" => async move { some(cx.elb.describe_target_groups().names(asked).send().await) }.boxed(),
        "launch_template" => async move {
            let answer = cx.ec2.describe_launch_templates().launch_template_names(asked).send().await;
            match answer.map_err(Error::from) {
                Ok(answer) => Ok(!answer.launch_templates().is_empty()),
                Err(error) => none(error),
            }
        }
        .boxed(),
        "auto_scaling_group" => async move {
            let call = cx.autoscaling.describe_auto_scaling_groups().auto_scaling_group_names(asked);
            Ok(!call.send().await?.auto_scaling_groups().is_empty())
        }
        .boxed(),
        "db_cluster" => {
            async move { some(cx.rds.describe_db_clusters().db_cluster_identifier(asked).send().await) }.boxed()
        }
        "db_instance" => {
            async move { some(cx.rds.describe_db_instances().db_instance_identifier(asked).send().await) }.boxed()
        }
        "replication_group" => {
            let call = cx.elasticache.describe_replication_groups().replication_group_id(asked);
            async move { some(call.send().await) }.boxed()
        }
        "bucket" => async move {
            match cx.s3.head_bucket().bucket(asked).send().await.map_err(Error::from) {
                Ok(_) => Ok(true),
                // Somebody else's: bucket names are one space for all accounts.
                Err(error) if error.status == Some(403) => Ok(true),
                Err(error) if error.status == Some(404) => Ok(false),
                Err(error) => none(error),
            }
        }
        .boxed(),
        _ => return None,
    };
    Some((name, question))
}

fn some<T, E: Into<Error>>(answer: std::result::Result<T, E>) -> Result<bool> {
    answer.map(|_| true).or_else(|error| none(error.into()))
}

fn none(error: Error) -> Result<bool> {
    if error.is_not_found() { Ok(false) } else { Err(error) }
}

/// IAM refuses a name that isn't at the stack's own path, there or not, to whoever may read only what is: the least policy
/// allows no more.
fn as_far_as_known(answer: Result<bool>) -> Result<bool> {
    match answer {
        Err(error) if error.class() == Class::Refused => Ok(false),
        answer => answer,
    }
}

/// Networks whose addresses a new VPC shares: the two can never be peers.
pub async fn overlaps(look: &Look<'_>) -> Result<Vec<Finding>> {
    let new: Vec<Ipv4Net> = look.wanted::<Vpc>().iter().filter_map(|(_, spec)| spec.cidr.parse().ok()).collect();
    if new.is_empty() {
        return Ok(Vec::new());
    }
    let pages = look.cx.ec2.describe_vpcs().into_paginator().items().send();
    let vpcs = pages.collect::<std::result::Result<Vec<_>, _>>().await?;
    let mut findings = Vec::new();
    for vpc in &vpcs {
        let ranges = vpc.cidr_block_association_set().iter().filter_map(|range| range.cidr_block());
        for range in ranges.chain(vpc.cidr_block()).filter_map(|range| range.parse::<Ipv4Net>().ok()) {
            for wanted in new.iter().filter(|wanted| wanted.contains(&range) || range.contains(*wanted)) {
                findings.push(Finding::Warning(format!(
                    "network.cidr {wanted} shares addresses with {range} of {}: the two networks can't be peered; choose \
                     another range now, it can't be changed later",
                    vpc.vpc_id().unwrap_or_default(),
                )));
            }
        }
    }
    Ok(findings)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_may_not_be_asked_for_is_not_known() {
        let error = |code: &str| Error { code: code.into(), ..Error::unexpected("iam", "GetRole", "text") };
        assert_eq!(as_far_as_known(none(error("AccessDenied"))).ok(), Some(false));
        assert_eq!(as_far_as_known(none(error("NoSuchEntity"))).ok(), Some(false));
        assert!(as_far_as_known(none(error("ServiceFailureException"))).is_err());
        assert!(matches!(as_far_as_known(Ok(true)), Ok(true)));
    }
}
