//! Instances that must go: dead ones, and those that their load balancer finds unhealthy after their time of grace. What is
//! gone is let go of by its target groups.

use std::collections::{BTreeMap, BTreeSet};

use aws_sdk_ec2::types::InstanceStateName;
use aws_sdk_elasticloadbalancingv2::types::{TargetDescription, TargetHealthStateEnum};
use jiff::Timestamp;

use crate::local::plane::balancer::{Health, TargetHealth};
use crate::local::plane::fleet::Member;
use crate::local::plane::world::{ScalingGroup, World};
use crate::local::plane::{Error, Ground};

/// What has been replaced: the world doesn't show it at once.
#[derive(Default)]
pub struct Replacements {
    begun: BTreeSet<String>,
}

impl Replacements {
    /// Has those replaced that must go.
    pub async fn step(
        &mut self,
        world: &World,
        members: &BTreeMap<String, Member>,
        health: &[TargetHealth],
        ground: &Ground,
    ) -> Result<(), Error> {
        for scaling in &world.groups {
            if suspended(scaling) {
                continue;
            }
            for instance in scaling.group.instances() {
                let id = instance.instance_id().unwrap_or_default();
                let dead = members.get(id).is_some_and(|member| !member.alive);
                let ill = scaling.group.health_check_type() == Some("ELB")
                    && is_ill(id, health)
                    && graced(id, scaling, world);
                if (dead || ill) && self.begun.insert(id.to_owned()) {
                    tracing::info!(instance = id, dead, "an instance is replaced");
                    let cx = ground.aws(&scaling.region).await;
                    let call = cx.autoscaling.terminate_instance_in_auto_scaling_group().instance_id(id);
                    let terminated = call.should_decrement_desired_capacity(false).send().await;
                    if let Err(error) = terminated.map_err(crate::aws::Error::from) {
                        self.begun.remove(id);
                        return Err(error.into());
                    }
                }
            }
        }
        let known = |id: &String| world.machines.iter().any(|machine| machine.instance.instance_id() == Some(id));
        self.begun.retain(known);
        Ok(())
    }
}

/// Takes terminated instances out of their target groups: the emulator forgets that when a group shrinks.
pub async fn deregister(world: &World, ground: &Ground) -> Result<(), Error> {
    for targets in &world.targets {
        let gone: Vec<TargetDescription> = targets
            .registered
            .iter()
            .filter(|registered| {
                let state = registered.target_health().and_then(|health| health.state());
                state != Some(&TargetHealthStateEnum::Draining)
            })
            .filter_map(|registered| registered.target().cloned())
            .filter(|target| target.id().is_some_and(|id| is_terminated(id, world)))
            .collect();
        if let (false, Some(arn)) = (gone.is_empty(), targets.group.target_group_arn()) {
            let cx = ground.aws(&targets.region).await;
            let call = cx.elb.deregister_targets().target_group_arn(arn).set_targets(Some(gone));
            call.send().await.map_err(crate::aws::Error::from)?;
        }
    }
    Ok(())
}

fn is_terminated(id: &str, world: &World) -> bool {
    let machine = world.machines.iter().find(|machine| machine.instance.instance_id() == Some(id));
    let state = machine.and_then(|machine| machine.instance.state()?.name());
    matches!(state, Some(InstanceStateName::ShuttingDown | InstanceStateName::Terminated))
}

fn suspended(scaling: &ScalingGroup) -> bool {
    let stops = ["HealthCheck", "ReplaceUnhealthy", "Terminate"];
    let named = |name: &str| stops.contains(&name);
    scaling.group.suspended_processes().iter().any(|process| process.process_name().is_some_and(named))
}

fn is_ill(id: &str, health: &[TargetHealth]) -> bool {
    health.iter().any(|target| target.target.id == id && target.state == Health::Unhealthy)
}

/// Whether its time of grace is over: it counts from the launch, in real seconds, since booting takes as long as it takes.
fn graced(id: &str, scaling: &ScalingGroup, world: &World) -> bool {
    let grace = i64::from(scaling.group.health_check_grace_period().unwrap_or_default());
    let machine = world.machines.iter().find(|machine| machine.instance.instance_id() == Some(id));
    let launched = machine.and_then(|machine| machine.instance.launch_time()).map(|time| time.secs());
    launched.is_some_and(|launched| Timestamp::now().as_second() - launched > grace)
}
