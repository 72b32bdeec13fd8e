//! Roles, launch templates, groups of instances and their scaling.

use super::edge::{Ground, ground, targets};
use super::lifecycle::{create, lifecycle, only};
use crate::support::Endpoint;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use ticketctl::{
    aws::Context,
    resource::{
        AutoScalingGroup, InstanceProfile, LaunchTemplate, Ref, Role, ScalingPolicy, TargetGroup,
        auto_scaling_group::AutoScalingGroupSpec,
        instance_profile::InstanceProfileSpec,
        launch_template::{LaunchTemplateSpec, Metadata, Volume},
        role::RoleSpec,
        scaling_policy::{Rule, ScalingPolicySpec},
    },
};

fn trust(service: &str) -> Value {
    let statement = json!({"Effect": "Allow", "Principal": {"Service": service}, "Action": "sts:AssumeRole"});
    json!({"Version": "2012-10-17", "Statement": [statement]})
}

fn role(service: &str, action: &str) -> RoleSpec {
    let statement = json!({
        "Effect": "Allow",
        "Action": action,
        "Resource": ["arn:aws:s3:::a+b/50%/*"],
        "Condition": {"StringEquals": {"aws:ResourceTag/a:b": "c=d&e"}},
    });
    let policy = json!({"Version": "2012-10-17", "Statement": [statement]});
    RoleSpec { name: "shop-test-instance".into(), trust: trust(service), policy }
}

#[tokio::test]
async fn role_and_instance_profile() {
    let moto = Endpoint::start().await;
    let cx = moto.context("shop-test").await;
    let changes = vec![role("ec2.amazonaws.com", "s3:PutObject"), role("ecs.amazonaws.com", "s3:GetObject")];
    lifecycle::<Role>(&cx, "role-instance", role("ec2.amazonaws.com", "s3:GetObject"), changes).await;

    // A stack whose name begins alike has its own.
    let other = moto.context("shop-test-2").await;
    let name = |name: &str| RoleSpec { name: name.into(), ..role("ec2.amazonaws.com", "s3:GetObject") };
    create::<Role>(&other, "role-instance", name("shop-test-2-instance")).await;
    let one = create::<Role>(&cx, "role-instance", name("shop-test-one")).await;
    let two = create::<Role>(&cx, "role-two", name("shop-test-two")).await;
    // What somebody else hangs on a role doesn't keep it from being deleted.
    let policy = cx.iam.create_policy().policy_name("more").policy_document(name("").policy.to_string());
    let policy = policy.send().await.expect("a policy").policy.and_then(|policy| policy.arn).expect("its ARN");
    cx.iam.attach_role_policy().role_name(&two.id).policy_arn(policy).send().await.expect("attached");

    let profile = |role: &str| InstanceProfileSpec { name: "shop-test-instance".into(), role: Ref::known(role) };
    lifecycle::<InstanceProfile>(&cx, "profile-instance", profile(&one.id), vec![profile(&two.id)]).await;
    crate::kinds::lifecycle::delete::<Role>(&cx, "role-two").await;
}

async fn image(cx: &Context) -> String {
    let answer = cx.ec2.describe_images().owners("amazon").send().await.expect("images");
    answer.images().first().and_then(|image| image.image_id()).expect("moto has images").to_owned()
}

fn template(image: &str, ground: &Ground) -> LaunchTemplateSpec {
    LaunchTemplateSpec {
        name: "shop-test-web-lt".into(),
        image: image.into(),
        instance_type: "t3.medium".into(),
        instance_profile: "arn:aws:iam::123456789012:instance-profile/ticketctl/shop-test/instance".into(),
        security_groups: BTreeSet::from([ground.groups[0].clone()]),
        volume: Volume {
            device: "/dev/xvda".into(),
            size: 20,
            kind: "gp3".into(),
            encrypted: true,
            delete_on_termination: true,
        },
        metadata: Metadata { tokens: "required".into(), hop_limit: 1 },
        detailed_monitoring: true,
        user_data: "#!/bin/bash\necho 'first'\n".into(),
        instance_tags: BTreeMap::from([("Name".into(), "shop-test-web".into())]),
        rolled_back: None,
    }
}

#[tokio::test]
async fn launch_template() {
    let moto = Endpoint::start().await;
    let cx = moto.context("shop-test").await;
    let ground = ground(&cx).await;
    let image = image(&cx).await;
    let wish = || template(&image, &ground);
    let mut machine = wish();
    machine.instance_type = "m7i.large".into();
    machine.detailed_monitoring = false;
    machine.volume.size = 50;
    machine.security_groups = BTreeSet::from([ground.groups[1].clone()]);
    let mut boot = wish();
    boot.user_data = "#!/bin/bash\necho 'second ünïcode'\n".into();
    boot.metadata.hop_limit = 2;
    boot.instance_tags.insert("Team".into(), "tickets".into());
    lifecycle::<LaunchTemplate>(&cx, "launch-template-web", wish(), vec![machine, boot]).await;

    let created = create::<LaunchTemplate>(&cx, "launch-template-web", wish()).await;
    assert_eq!(created.outputs["version"], "1");
    // A version that somebody makes by hand isn't the current one.
    let id = &created.id;
    let data = aws_sdk_ec2::types::RequestLaunchTemplateData::builder().image_id(&image).build();
    let call = cx.ec2.create_launch_template_version().launch_template_id(id).source_version("1");
    call.launch_template_data(data).send().await.expect("a second version");
    let found = only::<LaunchTemplate>(&cx, "launch-template-web").await;
    assert_eq!((found.output("version"), &found.spec["user_data"]), ("1", &json!(wish().user_data)));
}

#[tokio::test]
async fn group_and_policies() {
    let moto = Endpoint::start().await;
    let cx = moto.context("shop-test").await;
    let ground = ground(&cx).await;
    let profile = InstanceProfileSpec {
        name: "shop-test-instance".into(),
        role: Ref::known(create::<Role>(&cx, "role-instance", role("ec2.amazonaws.com", "s3:GetObject")).await.id),
    };
    let profile = create::<InstanceProfile>(&cx, "profile-instance", profile).await;
    let mut spec = template(&image(&cx).await, &ground);
    spec.instance_profile.clone_from(&profile.outputs["arn"]);
    let first = create::<LaunchTemplate>(&cx, "launch-template-web", spec).await;
    let web = create::<TargetGroup>(&cx, "target-group-web", targets(&ground.vpc, "shop-test-web-8080")).await;
    let api = create::<TargetGroup>(&cx, "target-group-api", targets(&ground.vpc, "shop-test-api-8080")).await;

    let wish = || AutoScalingGroupSpec {
        name: "shop-test-web-asg".into(),
        launch_template: Ref::known(&first.id),
        launch_template_version: "1".into(),
        subnets: ground.subnets[..2].iter().cloned().collect(),
        min: 2,
        max: 4,
        desired: 2,
        target_groups: BTreeSet::from([Ref::known(&web.id)]),
        health_check: "ELB".into(),
        grace: 300,
        warmup: 120,
        termination_policies: vec!["OldestLaunchTemplate".into(), "OldestInstance".into()],
        metrics: ["GroupMinSize", "GroupInServiceInstances"].map(str::to_owned).into(),
        listeners: BTreeMap::from([(80, Ref::known("arn:one")), (443, Ref::known("arn:other"))]),
        paused: None,
    };
    let mut size = wish();
    (size.min, size.max, size.desired) = (3, 6, 3);
    let mut rest = size;
    rest.target_groups = BTreeSet::from([Ref::known(&api.id)]);
    rest.health_check = "EC2".into();
    rest.grace = 60;
    rest.warmup = 30;
    rest.termination_policies = vec!["OldestInstance".into()];
    rest.metrics = ["GroupMaxSize", "GroupMinSize"].map(str::to_owned).into();
    rest.listeners = BTreeMap::from([(443, Ref::known("arn:third"))]);
    rest.subnets = ground.subnets.iter().cloned().collect();
    lifecycle::<AutoScalingGroup>(&cx, "group-web", wish(), vec![rest]).await;

    let group = create::<AutoScalingGroup>(&cx, "group-web", wish()).await;
    let policy = |rule| ScalingPolicySpec { group: Ref::known(&group.id), rule };
    let track = |value| {
        let metric = "ASGAverageCPUUtilization".into();
        policy(Rule::Track { metric, target: None, value })
    };
    lifecycle::<ScalingPolicy>(&cx, "scaling-web-cpu", track(70.0), vec![track(55.5)]).await;
    let step = |add| policy(Rule::Step { add });
    lifecycle::<ScalingPolicy>(&cx, "scaling-web-add", step(2), vec![step(3)]).await;
    let shrink = |remove, cooldown| policy(Rule::Shrink { remove, cooldown });
    lifecycle::<ScalingPolicy>(&cx, "scaling-web-remove", shrink(1, 300), vec![shrink(2, 60)]).await;
}
