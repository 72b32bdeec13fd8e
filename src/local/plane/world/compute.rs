//! Instances and the groups that make them.

use aws_sdk_autoscaling::types::{AutoScalingGroup, ScalingPolicy};
use aws_sdk_ec2::types::Instance;

use crate::aws::{Context, Result};

/// An EC2 instance, in whatever state.
#[derive(Clone, Debug, PartialEq)]
pub struct Machine {
    pub region: String,
    pub instance: Instance,
}

/// An Auto Scaling group with its policies.
#[derive(Clone, Debug, PartialEq)]
pub struct ScalingGroup {
    pub region: String,
    pub group: AutoScalingGroup,
    pub policies: Vec<ScalingPolicy>,
}

pub(super) async fn machines(cx: &Context) -> Result<Vec<Machine>> {
    let pages = cx.ec2.describe_instances().into_paginator().items().send();
    let reservations = pages.collect::<std::result::Result<Vec<_>, _>>().await?;
    let instances = reservations.into_iter().flat_map(|reservation| reservation.instances.unwrap_or_default());
    Ok(instances.map(|instance| Machine { region: cx.region.clone(), instance }).collect())
}

pub(super) async fn groups(cx: &Context) -> Result<Vec<ScalingGroup>> {
    let groups = async {
        let pages = cx.autoscaling.describe_auto_scaling_groups().into_paginator().items().send();
        Ok::<_, crate::aws::Error>(pages.collect::<std::result::Result<Vec<_>, _>>().await?)
    };
    let policies = async {
        let pages = cx.autoscaling.describe_policies().into_paginator().items().send();
        Ok::<_, crate::aws::Error>(pages.collect::<std::result::Result<Vec<_>, _>>().await?)
    };
    let (groups, policies) = tokio::try_join!(groups, policies)?;
    let found = groups.into_iter().map(|group| {
        let own = |policy: &&ScalingPolicy| policy.auto_scaling_group_name() == group.auto_scaling_group_name();
        let policies = policies.iter().filter(own).cloned().collect();
        ScalingGroup { region: cx.region.clone(), group, policies }
    });
    Ok(found.collect())
}
