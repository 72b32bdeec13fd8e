//! Load balancers and where they send requests.

use std::collections::BTreeMap;

use aws_sdk_elasticloadbalancingv2::types::{
    Listener as AwsListener, LoadBalancer, Rule, TargetGroup, TargetHealthDescription,
};
use futures::future::try_join_all;

use crate::aws::{Context, Error, Result};

/// A load balancer with its listeners.
#[derive(Clone, Debug, PartialEq)]
pub struct Balancer {
    pub region: String,
    pub balancer: LoadBalancer,
    /// Such as `idle_timeout.timeout_seconds`.
    pub attributes: BTreeMap<String, String>,
    pub listeners: Vec<Listener>,
}

/// A listener with its rules, the default one among them.
#[derive(Clone, Debug, PartialEq)]
pub struct Listener {
    pub listener: AwsListener,
    pub rules: Vec<Rule>,
}

/// A target group with what is registered in it.
#[derive(Clone, Debug, PartialEq)]
pub struct Targets {
    pub region: String,
    pub group: TargetGroup,
    /// Such as `deregistration_delay.timeout_seconds`.
    pub attributes: BTreeMap<String, String>,
    /// What is registered. The health is the control plane's own guess.
    pub registered: Vec<TargetHealthDescription>,
}

pub(super) async fn balancers(cx: &Context) -> Result<Vec<Balancer>> {
    let pages = cx.elb.describe_load_balancers().into_paginator().items().send();
    let balancers: Vec<LoadBalancer> = pages.collect::<std::result::Result<_, _>>().await?;
    let found = balancers.into_iter().map(|balancer| async move {
        let arn = balancer.load_balancer_arn().unwrap_or_default();
        let attributes = async {
            let answer = cx.elb.describe_load_balancer_attributes().load_balancer_arn(arn).send().await;
            or_gone(answer.map(|answer| answer.attributes.unwrap_or_default()))
        };
        let (listeners, attributes) = tokio::try_join!(listeners(cx, arn), attributes)?;
        let pairs = attributes.into_iter().filter_map(|attribute| Some((attribute.key?, attribute.value?)));
        Ok::<_, Error>(Balancer { region: cx.region.clone(), attributes: pairs.collect(), balancer, listeners })
    });
    try_join_all(found).await
}

/// What was deleted between two calls has nothing.
fn or_gone<T, E: Into<Error>>(answer: std::result::Result<Vec<T>, E>) -> Result<Vec<T>> {
    match answer.map_err(Into::into) {
        Err(error) if error.is_not_found() => Ok(Vec::new()),
        answer => answer,
    }
}

async fn listeners(cx: &Context, balancer: &str) -> Result<Vec<Listener>> {
    let pages = cx.elb.describe_listeners().load_balancer_arn(balancer).into_paginator().items().send();
    let found = or_gone(pages.collect::<std::result::Result<Vec<_>, _>>().await)?.into_iter().map(|listener| async {
        let arn = listener.listener_arn().unwrap_or_default();
        let pages = cx.elb.describe_rules().listener_arn(arn).into_paginator().items().send();
        let rules = or_gone(pages.collect::<std::result::Result<Vec<_>, _>>().await)?;
        Ok::<_, Error>(Listener { listener, rules })
    });
    try_join_all(found).await
}

pub(super) async fn targets(cx: &Context) -> Result<Vec<Targets>> {
    let pages = cx.elb.describe_target_groups().into_paginator().items().send();
    let groups: Vec<TargetGroup> = pages.collect::<std::result::Result<_, _>>().await?;
    let found = groups.into_iter().map(|group| async move {
        let arn = group.target_group_arn().unwrap_or_default();
        let registered = async {
            let answer = cx.elb.describe_target_health().target_group_arn(arn).send().await;
            or_gone(answer.map(|answer| answer.target_health_descriptions.unwrap_or_default()))
        };
        let attributes = async {
            let answer = cx.elb.describe_target_group_attributes().target_group_arn(arn).send().await;
            or_gone(answer.map(|answer| answer.attributes.unwrap_or_default()))
        };
        let (registered, attributes) = tokio::try_join!(registered, attributes)?;
        let pairs = attributes.into_iter().filter_map(|attribute| Some((attribute.key?, attribute.value?)));
        Ok::<_, Error>(Targets { region: cx.region.clone(), attributes: pairs.collect(), group, registered })
    });
    try_join_all(found).await
}
