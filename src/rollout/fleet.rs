//! A service's instances as AWS sees them: which release each runs, and whether it takes requests.

use aws_sdk_autoscaling::types::{Instance, LifecycleState};
use aws_sdk_elasticloadbalancingv2::types::{TargetHealth, TargetHealthStateEnum};
use serde::Serialize;
use std::collections::HashMap;

use crate::aws::{Context, Error, Result, Tags, tags};

/// An auto-scaling group with all that a rollout looks at.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Fleet {
    pub group: String,
    pub min: i32,
    pub max: i32,
    pub desired: i32,
    /// The launch template's id.
    pub template: String,
    /// The release that new instances get: a version of the launch template.
    pub release: u64,
    pub target_groups: Vec<String>,
    pub members: Vec<Member>,
    #[serde(skip)]
    pub tags: Tags,
}

/// An instance of the group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Member {
    pub id: String,
    pub zone: String,
    pub release: u64,
    pub state: State,
    /// What AWS says about a state that isn't good.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// What can be expected of an instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// The load balancer, or the group itself, has found it bad.
    Unhealthy,
    /// On its way in: not judged yet.
    Starting,
    /// It takes requests.
    Healthy,
    /// On its way out.
    Leaving,
}

impl Fleet {
    /// The group as it stands; none if there is no such group.
    ///
    /// # Errors
    /// Calls that failed.
    pub async fn look(cx: &Context, group: &str) -> Result<Option<Fleet>> {
        let answer = cx.autoscaling.describe_auto_scaling_groups().auto_scaling_group_names(group).send().await?;
        let Some(found) = answer.auto_scaling_groups().first().filter(|group| group.status().is_none()) else {
            return Ok(None);
        };
        let mut health: HashMap<String, Vec<TargetHealth>> = HashMap::new();
        for arn in found.target_group_arns() {
            let answer = cx.elb.describe_target_health().target_group_arn(arn).send().await.map_err(Error::from);
            let answer = match answer {
                Err(error) if error.is_not_found() => continue,
                answer => answer?,
            };
            for one in answer.target_health_descriptions.unwrap_or_default() {
                let id = one.target.and_then(|target| target.id).unwrap_or_default();
                health.entry(id).or_default().extend(one.target_health);
            }
        }
        let judged = found.target_group_arns().len();
        let template = found.launch_template();
        let version = template.and_then(|template| template.version()).unwrap_or_default();
        Ok(Some(Fleet {
            group: group.to_owned(),
            min: found.min_size().unwrap_or_default(),
            max: found.max_size().unwrap_or_default(),
            desired: found.desired_capacity().unwrap_or_default(),
            template: template.and_then(|template| template.launch_template_id()).unwrap_or_default().to_owned(),
            release: version.parse().unwrap_or_default(),
            target_groups: found.target_group_arns().to_vec(),
            members: found.instances().iter().map(|instance| member(instance, &health, judged)).collect(),
            tags: tags::collect(found.tags(), |tag| (tag.key(), tag.value())),
        }))
    }

    /// The instances that aren't on their way out.
    pub fn present(&self) -> impl Iterator<Item = &Member> {
        self.members.iter().filter(|member| member.state != State::Leaving)
    }

    /// How many instances are in a state.
    pub fn count(&self, state: State) -> usize {
        self.members.iter().filter(|member| member.state == state).count()
    }
}

/// `judged`: how many target groups must find it healthy.
fn member(instance: &Instance, health: &HashMap<String, Vec<TargetHealth>>, judged: usize) -> Member {
    let id = instance.instance_id().unwrap_or_default();
    let health = health.get(id).map(Vec::as_slice).unwrap_or_default();
    let (state, reason) = state(instance, health, judged);
    let version = instance.launch_template().and_then(|template| template.version()).unwrap_or_default();
    Member {
        id: id.to_owned(),
        zone: instance.availability_zone().unwrap_or_default().to_owned(),
        release: version.parse().unwrap_or_default(),
        state,
        reason,
    }
}

fn state(instance: &Instance, health: &[TargetHealth], judged: usize) -> (State, Option<String>) {
    let lifecycle = instance.lifecycle_state().map(LifecycleState::as_str).unwrap_or_default();
    if ["Terminat", "Detach", "Standby", "EnteringStandby"].iter().any(|start| lifecycle.starts_with(start)) {
        return (State::Leaving, Some(lifecycle.to_owned()));
    }
    if lifecycle != "InService" {
        return (State::Starting, Some(lifecycle.to_owned()));
    }
    let is = |health: &TargetHealth, state: TargetHealthStateEnum| health.state() == Some(&state);
    let said = |health: &TargetHealth| {
        health.description().or(health.reason().map(|reason| reason.as_str())).map(str::to_owned)
    };
    if let Some(bad) = health.iter().find(|health| is(health, TargetHealthStateEnum::Unhealthy)) {
        return (State::Unhealthy, said(bad));
    }
    if instance.health_status() == Some("Unhealthy") {
        return (State::Unhealthy, Some("the group finds it unhealthy".into()));
    }
    if health.iter().any(|health| is(health, TargetHealthStateEnum::Draining)) {
        return (State::Leaving, Some("draining".into()));
    }
    let healthy = health.iter().filter(|health| is(health, TargetHealthStateEnum::Healthy)).count();
    match health.iter().find(|health| !is(health, TargetHealthStateEnum::Healthy)) {
        None if healthy >= judged => (State::Healthy, None),
        None => (State::Starting, Some("not registered with the load balancer yet".into())),
        Some(other) => (State::Starting, said(other)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(lifecycle: &str, targets: &[TargetHealthStateEnum], groups: usize) -> State {
        let instance = Instance::builder().lifecycle_state(lifecycle.into()).health_status("Healthy").build();
        let health: Vec<_> = targets.iter().map(|state| TargetHealth::builder().state(state.clone()).build()).collect();
        state(&instance, &health, groups).0
    }

    #[test]
    fn an_instance_is_healthy_when_everybody_says_so() {
        use TargetHealthStateEnum::{Draining, Healthy, Initial, Unhealthy, Unused};
        assert_eq!(judged("InService", &[], 0), State::Healthy);
        assert_eq!(judged("InService", &[Healthy], 1), State::Healthy);
        assert_eq!(judged("InService", &[Healthy], 2), State::Starting);
        assert_eq!(judged("InService", &[Healthy, Initial], 2), State::Starting);
        assert_eq!(judged("InService", &[Unused], 1), State::Starting);
        assert_eq!(judged("InService", &[Unhealthy], 1), State::Unhealthy);
        assert_eq!(judged("InService", &[Draining], 1), State::Leaving);
        assert_eq!(judged("Pending:Wait", &[Healthy], 1), State::Starting);
        assert_eq!(judged("Terminating:Wait", &[Healthy], 1), State::Leaving);
        assert_eq!(judged("Standby", &[], 0), State::Leaving);
    }
}
