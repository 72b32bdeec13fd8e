//! The instances of a service as the load balancer sees them: where they listen and when they are healthy.

use aws_sdk_elasticloadbalancingv2::types::{
    Matcher, ProtocolEnum, TargetGroup as Answer, TargetGroupAttribute, TargetTypeEnum,
};
use futures::future::try_join_all;
use serde::{Deserialize, Serialize};

use super::{
    AutoScalingGroup, Change, Created, Desired, Effect, Found, Handle, Kind, Outputs, Ref, Scan, Select, Status, Traits, Vpc,
    elb::{self, Attributes},
    root,
};
use crate::{
    aws::{Context, Error, Result, Tags, tags},
    resource::auto_scaling_group::AutoScalingGroupSpec,
};

pub struct TargetGroup;

const DEREGISTRATION_DELAY: &str = "deregistration_delay.timeout_seconds";
const SLOW_START: &str = "slow_start.duration_seconds";
const STICKINESS: &str = "stickiness.enabled";
const ALGORITHM: &str = "load_balancing.algorithm.type";
const CROSS_ZONE: &str = "load_balancing.cross_zone.enabled";

/// Its targets are instances that speak HTTP/1.1; an auto-scaling group puts them in and takes them out.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct TargetGroupSpec {
    /// Unique in the region, at most 32 characters. It holds all that can't be changed in place, so that a replacement
    /// can live beside what it replaces.
    pub name: String,
    pub vpc: Ref<Vpc>,
    pub port: i32,
    pub health_check: HealthCheck,
    /// Seconds over which a new instance's share of requests grows to normal; 0 for at once.
    pub slow_start: i32,
    /// Seconds that an instance on its way out gets to finish its requests.
    pub deregistration_delay: i32,
    /// Whether a client always gets the same instance.
    pub stickiness: bool,
    /// `round_robin`, `least_outstanding_requests` or `weighted_random`.
    pub algorithm: String,
    /// Whether each of the load balancer's nodes spreads over the instances of all zones.
    pub cross_zone: bool,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct HealthCheck {
    pub path: String,
    /// Seconds between two checks.
    pub interval: i32,
    /// Seconds that an answer may take.
    pub timeout: i32,
    /// Good checks in a row that make an instance healthy.
    pub healthy: i32,
    /// Bad checks in a row that make it unhealthy.
    pub unhealthy: i32,
    /// HTTP status that counts as good: `200`, `200,204` or `200-299`.
    pub matcher: String,
}

impl Handle<TargetGroup> {
    /// `targetgroup/<name>/<id>`: the dimension `TargetGroup` in CloudWatch.
    pub fn metric_dimension(&self) -> String {
        self.created_output("metric_dimension")
    }
}

impl Kind for TargetGroup {
    const NAME: &'static str = "target_group";
    const TRAITS: Traits = Traits::INSTANT.create_first();
    type Spec = TargetGroupSpec;

    fn effect(path: &str) -> Effect {
        if ["name", "vpc", "port"].contains(&root(path)) { Effect::Replace } else { Effect::InPlace }
    }

    async fn find(scan: &Scan<'_>, select: &Select<'_>) -> Result<Vec<Found<TargetGroupSpec>>> {
        let answers = match select {
            Select::Stack => listed(scan).await?,
            Select::One(arn) => {
                let answer = scan.elb.describe_target_groups().target_group_arns(*arn).send().await.map_err(Error::from);
                match answer {
                    Ok(answer) => answer.target_groups.unwrap_or_default(),
                    Err(error) if error.is_not_found() => Vec::new(),
                    Err(error) => return Err(error),
                }
            }
        };
        let arns: Vec<_> = answers.iter().map(|answer| answer.target_group_arn().unwrap_or_default().to_owned()).collect();
        let attributes = try_join_all(arns.iter().map(|arn| attributes(scan, arn)));
        if let (true, Select::Stack) = (scan.is_sparing(), select)
            && let Some(ids) = used(&scan.of::<AutoScalingGroup>().await?, &arns)
        {
            let answers = answers.iter().zip(attributes.await?).zip(ids);
            let found = answers.map(|((answer, attributes), logical_id)| Found {
                logical_id,
                tags: None,
                ..found(answer, &attributes, Tags::new())
            });
            return Ok(found.collect());
        }
        let (tags, attributes) = tokio::try_join!(elb::tags_of(scan, &arns), attributes)?;
        let found = answers.iter().zip(attributes).map(|(answer, attributes)| {
            let tags = tags.get(answer.target_group_arn().unwrap_or_default()).cloned().unwrap_or_default();
            found(answer, &attributes, tags)
        });
        Ok(found.filter(|found| found.tags.as_ref().and_then(|tags| tags.get(tags::STACK)) == Some(&scan.stack)).collect())
    }

    async fn create(cx: &Context, desired: &Desired<TargetGroupSpec>) -> Result<Created> {
        let spec = &desired.spec;
        let health = &spec.health_check;
        let answer = cx
            .elb
            .create_target_group()
            .name(&spec.name)
            .vpc_id(&*spec.vpc)
            .target_type(TargetTypeEnum::Instance)
            .protocol(ProtocolEnum::Http)
            .protocol_version("HTTP1")
            .port(spec.port)
            .health_check_enabled(true)
            .health_check_protocol(ProtocolEnum::Http)
            .health_check_port("traffic-port")
            .health_check_path(&health.path)
            .health_check_interval_seconds(health.interval)
            .health_check_timeout_seconds(health.timeout)
            .healthy_threshold_count(health.healthy)
            .unhealthy_threshold_count(health.unhealthy)
            .matcher(Matcher::builder().http_code(&health.matcher).build())
            .set_tags(elb::tag_list(desired))
            .send()
            .await?;
        let arn = elb::created_arn("CreateTargetGroup", answer.target_groups().first().and_then(Answer::target_group_arn))?;
        set_attributes(cx, &arn, wished_attributes(spec)).await?;
        Ok(Created { outputs: outputs(&arn), id: arn })
    }

    async fn update(cx: &Context, change: &Change<TargetGroupSpec>) -> Result<()> {
        let (arn, spec) = (&change.found.id, &change.desired.spec);
        if change.touches(&["health_check"]) {
            let health = &spec.health_check;
            cx.elb
                .modify_target_group()
                .target_group_arn(arn)
                .health_check_enabled(true)
                .health_check_path(&health.path)
                .health_check_interval_seconds(health.interval)
                .health_check_timeout_seconds(health.timeout)
                .healthy_threshold_count(health.healthy)
                .unhealthy_threshold_count(health.unhealthy)
                .matcher(Matcher::builder().http_code(&health.matcher).build())
                .send()
                .await?;
        }
        let before = wished_attributes(&change.found.spec);
        let changed: Vec<_> = wished_attributes(spec).into_iter().filter(|pair| !before.contains(pair)).collect();
        if !changed.is_empty() {
            set_attributes(cx, arn, changed).await?;
        }
        elb::update_tags(cx, change).await
    }

    async fn delete(cx: &Context, found: &Found<TargetGroupSpec>) -> Result<()> {
        cx.elb.delete_target_group().target_group_arn(&found.id).send().await?;
        Ok(())
    }
}

/// The logical ids of these target groups, if each is the only one of an auto-scaling group of ours, whose listing tells its
/// tags. None as soon as that can't be said of one.
fn used(groups: &[Found<AutoScalingGroupSpec>], arns: &[String]) -> Option<Vec<String>> {
    let id = |arn: &String| {
        let only = |group: &&Found<AutoScalingGroupSpec>| {
            group.spec.target_groups.len() == 1 && group.spec.target_groups.contains(&Ref::known(arn))
        };
        let service = groups.iter().find(only)?.logical_id.strip_prefix("group-")?;
        Some(format!("target-group-{service}"))
    };
    arns.iter().map(id).collect()
}

/// Those whose name may be ours: there is no filter by tag, and removed services have names that nobody knows any more.
async fn listed(cx: &Context) -> Result<Vec<Answer>> {
    let pages = cx.elb.describe_target_groups().into_paginator();
    let mut groups = pages.items().send();
    let mut found = Vec::new();
    while let Some(group) = groups.try_next().await? {
        if elb::may_be_named(group.target_group_name().unwrap_or_default(), &cx.stack) {
            found.push(group);
        }
    }
    Ok(found)
}

async fn attributes(cx: &Context, arn: &str) -> Result<Attributes> {
    let answer = cx.elb.describe_target_group_attributes().target_group_arn(arn).send().await?;
    let pair = |attribute: &TargetGroupAttribute| {
        Some((attribute.key()?.to_owned(), attribute.value().unwrap_or_default().to_owned()))
    };
    Ok(answer.attributes().iter().filter_map(pair).collect())
}

async fn set_attributes(cx: &Context, arn: &str, attributes: Vec<(&str, String)>) -> Result<()> {
    let list = attributes.into_iter().map(|(key, value)| TargetGroupAttribute::builder().key(key).value(value).build());
    cx.elb.modify_target_group_attributes().target_group_arn(arn).set_attributes(Some(list.collect())).send().await?;
    Ok(())
}

/// The attributes that Elastic Load Balancing keeps as texts.
/// Source of the names: <https://docs.aws.amazon.com/elasticloadbalancing/latest/application/edit-target-group-attributes.html>
pub(crate) fn wished_attributes(spec: &TargetGroupSpec) -> Vec<(&'static str, String)> {
    vec![
        (DEREGISTRATION_DELAY, spec.deregistration_delay.to_string()),
        (SLOW_START, spec.slow_start.to_string()),
        (STICKINESS, spec.stickiness.to_string()),
        (ALGORITHM, spec.algorithm.clone()),
        (CROSS_ZONE, spec.cross_zone.to_string()),
    ]
}

fn found(answer: &Answer, attributes: &Attributes, tags: Tags) -> Found<TargetGroupSpec> {
    let arn = answer.target_group_arn().unwrap_or_default();
    let matcher = answer.matcher().and_then(|matcher| matcher.http_code()).unwrap_or_default();
    Found {
        logical_id: tags.get(tags::ID).cloned().unwrap_or_default(),
        id: arn.to_owned(),
        spec: TargetGroupSpec {
            name: answer.target_group_name().unwrap_or_default().to_owned(),
            vpc: Ref::known(answer.vpc_id().unwrap_or_default()),
            port: answer.port().unwrap_or_default(),
            health_check: HealthCheck {
                path: answer.health_check_path().unwrap_or_default().to_owned(),
                interval: answer.health_check_interval_seconds().unwrap_or_default(),
                timeout: answer.health_check_timeout_seconds().unwrap_or_default(),
                healthy: answer.healthy_threshold_count().unwrap_or_default(),
                unhealthy: answer.unhealthy_threshold_count().unwrap_or_default(),
                matcher: matcher.to_owned(),
            },
            slow_start: attributes.number(SLOW_START),
            deregistration_delay: attributes.number(DEREGISTRATION_DELAY),
            stickiness: attributes.switch(STICKINESS),
            algorithm: attributes.text(ALGORITHM),
            // As the load balancer has it unless the group says otherwise, and an application load balancer always does.
            cross_zone: attributes.text(CROSS_ZONE) != "false",
        },
        outputs: outputs(arn),
        tags: Some(tags),
        status: Status::Ready,
    }
}

fn outputs(arn: &str) -> Outputs {
    Outputs::from([
        ("arn".to_owned(), arn.to_owned()),
        ("metric_dimension".to_owned(), elb::metric_dimension(arn).to_owned()),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::{BTreeMap, BTreeSet};

    fn group(logical_id: &str, target_groups: &[&str]) -> Found<AutoScalingGroupSpec> {
        Found {
            logical_id: logical_id.into(),
            id: logical_id.into(),
            spec: AutoScalingGroupSpec {
                name: logical_id.into(),
                launch_template: Ref::known("lt-1"),
                launch_template_version: "1".into(),
                subnets: BTreeSet::new(),
                min: 1,
                max: 1,
                desired: 1,
                target_groups: target_groups.iter().copied().map(Ref::known).collect(),
                health_check: "ELB".into(),
                grace: 0,
                warmup: 0,
                termination_policies: Vec::new(),
                metrics: BTreeSet::new(),
                listeners: BTreeMap::new(),
                paused: None,
            },
            outputs: Outputs::new(),
            tags: None,
            status: Status::Ready,
        }
    }

    #[test]
    fn a_group_of_ours_proves_its_only_target_group() {
        let groups = [group("group-api", &["arn-1"]), group("group-web", &["arn-2"]), group("group-old", &["arn-3", "arn-4"])];
        let ids = |arns: &[&str]| used(&groups, &arns.iter().map(ToString::to_string).collect::<Vec<_>>());
        assert_eq!(ids(&["arn-1", "arn-2"]), Some(vec!["target-group-api".into(), "target-group-web".into()]));
        // In use by nobody, or one of two: the tags must tell.
        assert_eq!(ids(&["arn-1", "arn-9"]), None);
        assert_eq!(ids(&["arn-3"]), None);
    }
}
