//! A second group of instances beside a service's own, with a target group of its own: where a new release can be tried
//! with a part of the requests, and from where the old one is an instant away.
//!
//! It is there only during such a deployment and until the next run ends it: what it is follows from the service's group,
//! and that it exists is all that there is to remember.

use aws_sdk_elasticloadbalancingv2::types::{
    Action, ActionTypeEnum, ForwardActionConfig, Listener as LoadBalancerListener, Rule, TargetGroupTuple,
};

use super::fleet::Fleet;
use crate::{
    aws::{Context, Error, Result, Tags, tags},
    resource::{
        AutoScalingGroup, Desired, Found, Kind, Ref, Scan, TargetGroup, auto_scaling_group::AutoScalingGroupSpec, elb,
        target_group::TargetGroupSpec,
    },
};

/// A service's own group with its target group.
pub struct Home {
    pub service: String,
    pub group: Found<AutoScalingGroupSpec>,
    pub target: Found<TargetGroupSpec>,
}

/// The second group, as far as it is there.
#[derive(Debug, Default)]
pub struct Standby {
    pub group: Option<String>,
    /// ARN.
    pub target: Option<String>,
}

/// The logical id of what stands by for a part of the stack.
pub fn id(part: &str) -> String {
    format!("{part}-standby")
}

impl Home {
    /// The service's own group; none if it isn't there.
    ///
    /// # Errors
    /// Calls that failed.
    pub async fn find(scan: &Scan<'_>, service: &str) -> Result<Option<Home>> {
        let (groups, targets) = tokio::try_join!(scan.of::<AutoScalingGroup>(), scan.of::<TargetGroup>())?;
        let group = groups.into_iter().find(|found| found.logical_id == AutoScalingGroup::id_of(service));
        let target = targets.into_iter().find(|found| found.logical_id == format!("target-group-{service}"));
        Ok(group.zip(target).map(|(group, target)| Home { service: service.to_owned(), group, target }))
    }

    /// What stands by for it.
    ///
    /// # Errors
    /// Calls that failed.
    pub async fn standby(&self, scan: &Scan<'_>) -> Result<Standby> {
        let (groups, targets) = tokio::try_join!(scan.of::<AutoScalingGroup>(), scan.of::<TargetGroup>())?;
        let group = groups.into_iter().find(|found| found.logical_id == id(&self.group.logical_id));
        let target = targets.into_iter().find(|found| found.logical_id == id(&self.target.logical_id));
        Ok(Standby { group: group.map(|found| found.id), target: target.map(|found| found.id) })
    }

    /// Makes the second target group.
    ///
    /// # Errors
    /// Calls that failed.
    pub async fn make_target(&self, cx: &Context) -> Result<String> {
        let name = elb::name(&cx.stack, &format!("{}-standby", self.service));
        let spec = TargetGroupSpec { name, ..self.target.spec.clone() };
        let desired = desired(&self.target, spec, self.target.tags.as_ref());
        Ok(TargetGroup::create(cx, &desired).await?.id)
    }

    /// Makes the second group, with `size` instances of a release.
    ///
    /// # Errors
    /// Calls that failed.
    pub async fn make_group(&self, cx: &Context, target: &str, release: u64, size: i32) -> Result<String> {
        let own = self.group.spec.clone();
        let spec = AutoScalingGroupSpec {
            name: format!("{}-standby", own.name),
            launch_template_version: release.to_string(),
            min: 0,
            desired: size,
            target_groups: [Ref::known(target)].into(),
            listeners: Default::default(),
            paused: None,
            ..own
        };
        let desired = desired(&self.group, spec, self.group.tags.as_ref());
        Ok(AutoScalingGroup::create(cx, &desired).await?.id)
    }

    /// Sends `weight` percent of the service's requests to the second target group, at every place where they come in.
    ///
    /// # Errors
    /// Calls that failed.
    pub async fn weigh(&self, cx: &Context, standby: &str, weight: i32) -> Result<()> {
        self.route(cx, &split(&self.target.id, standby, weight)).await
    }

    /// Sends all requests to the service's own target group, as the stack file has it.
    ///
    /// # Errors
    /// Calls that failed.
    pub async fn reclaim(&self, cx: &Context) -> Result<()> {
        self.route(cx, &elb::forward(&Ref::known(&self.target.id))).await
    }

    async fn route(&self, cx: &Context, action: &Action) -> Result<()> {
        let answer = cx.elb.describe_target_groups().target_group_arns(&self.target.id).send().await?;
        let balancers = answer.target_groups().first().map(|group| group.load_balancer_arns()).unwrap_or_default();
        for balancer in balancers {
            let pages = cx.elb.describe_listeners().load_balancer_arn(balancer).into_paginator().items().send();
            let listeners: Vec<LoadBalancerListener> = pages.try_collect().await.map_err(Error::from)?;
            for listener in listeners {
                let arn = listener.listener_arn().unwrap_or_default();
                if self.is_ours(listener.default_actions()) {
                    cx.elb.modify_listener().listener_arn(arn).default_actions(action.clone()).send().await?;
                }
                let pages = cx.elb.describe_rules().listener_arn(arn).into_paginator().items().send();
                let rules: Vec<Rule> = pages.try_collect().await.map_err(Error::from)?;
                // The default isn't a rule that could be changed as one.
                let rules = rules.iter().filter(|rule| rule.is_default() != Some(true) && self.is_ours(rule.actions()));
                for rule in rules {
                    let arn = rule.rule_arn().unwrap_or_default();
                    cx.elb.modify_rule().rule_arn(arn).actions(action.clone()).send().await?;
                }
            }
        }
        Ok(())
    }

    /// Whether requests come to the service's own target group here, all or some.
    fn is_ours(&self, actions: &[Action]) -> bool {
        actions.iter().any(|action| {
            let shares = action.forward_config().map(|config| config.target_groups()).unwrap_or_default();
            action.target_group_arn() == Some(&*self.target.id)
                || shares.iter().any(|share| share.target_group_arn() == Some(&*self.target.id))
        })
    }
}

fn split(own: &str, standby: &str, weight: i32) -> Action {
    let share = |arn: &str, weight| TargetGroupTuple::builder().target_group_arn(arn).weight(weight).build();
    let config =
        ForwardActionConfig::builder().target_groups(share(own, 100 - weight)).target_groups(share(standby, weight));
    Action::builder().r#type(ActionTypeEnum::Forward).forward_config(config.build()).build()
}

fn desired<S, T>(found: &Found<S>, spec: T, tags: Option<&Tags>) -> Desired<T> {
    let logical_id = id(&found.logical_id);
    let mut tags = tags.cloned().unwrap_or_default();
    tags.retain(|key, _| !key.starts_with("ticketctl:") || key == tags::STACK);
    tags.insert(tags::ID.to_owned(), logical_id.clone());
    // The kinds made here take no client token.
    Desired { logical_id, spec, tags, token: String::new() }
}

impl Standby {
    pub fn is_there(&self) -> bool {
        self.group.is_some() || self.target.is_some()
    }

    /// Its instances.
    ///
    /// # Errors
    /// Calls that failed.
    pub async fn fleet(&self, cx: &Context) -> Result<Option<Fleet>> {
        match &self.group {
            Some(group) => Fleet::look(cx, group).await,
            None => Ok(None),
        }
    }

    /// Lets its instances finish their requests and go: the group shrinks as any other does.
    ///
    /// # Errors
    /// Calls that failed.
    pub async fn empty(&self, cx: &Context) -> Result<()> {
        if let Some(group) = &self.group {
            let call = cx.autoscaling.update_auto_scaling_group().auto_scaling_group_name(group);
            call.min_size(0).desired_capacity(0).send().await?;
        }
        Ok(())
    }

    /// Takes it away, once it is empty.
    ///
    /// # Errors
    /// Calls that failed.
    pub async fn remove(&self, cx: &Context) -> Result<()> {
        if let Some(group) = &self.group {
            let call = cx.autoscaling.delete_auto_scaling_group().auto_scaling_group_name(group).force_delete(true);
            call.send().await.map(drop).map_err(Error::from).or_else(gone)?;
        }
        if let Some(target) = &self.target {
            let call = cx.elb.delete_target_group().target_group_arn(target);
            call.send().await.map(drop).map_err(Error::from).or_else(gone)?;
        }
        Ok(())
    }
}

fn gone(error: Error) -> Result<()> {
    if error.is_not_found() { Ok(()) } else { Err(error) }
}
