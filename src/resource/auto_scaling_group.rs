//! The instances of a service: how many there may be, where, from which launch template, and when one is replaced.

use aws_sdk_autoscaling::{
    operation::update_auto_scaling_group::builders::UpdateAutoScalingGroupFluentBuilder,
    types::{AutoScalingGroup as Answer, Filter, Instance, LaunchTemplateSpecification, LifecycleState, Tag, builders::TagBuilder},
};
use aws_sdk_ec2::types::Filter as Ec2Filter;
use backon::{ExponentialBuilder, Retryable};
use serde::{Deserialize, Serialize};
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use super::{
    Change, Created, Desired, Effect, Found, Handle, Kind, LaunchTemplate, Listener, Outputs, Ref, Scan, Select, Status, Subnet,
    TargetGroup, Traits,
};
use crate::aws::{Context, Error, Result, Tags, tags};

pub struct AutoScalingGroup;

/// The only interval in which groups report their metrics.
pub const GRANULARITY: &str = "1Minute";
/// Begins the tags that name listeners; the port follows.
const LISTENER_TAG: &str = "ticketctl:listener-";
/// How long a new instance profile may take until Auto Scaling knows it.
const PROFILE_LAG: Duration = Duration::from_secs(90);

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct AutoScalingGroupSpec {
    /// Unique in the region; up to 255 characters.
    pub name: String,
    pub launch_template: Ref<LaunchTemplate>,
    /// A number, so that a new version is a visible change.
    pub launch_template_version: String,
    pub subnets: BTreeSet<Ref<Subnet>>,
    pub min: i32,
    pub max: i32,
    /// Instances at the start. Later auto scaling decides, between `min` and `max`.
    pub desired: i32,
    pub target_groups: BTreeSet<Ref<TargetGroup>>,
    /// `ELB`: what the load balancer finds unhealthy is replaced too; `EC2`: only what has failed as a machine.
    pub health_check: String,
    /// Seconds after the start in which a bad check doesn't get an instance replaced.
    pub grace: i32,
    /// Seconds until a new instance counts in the average.
    pub warmup: i32,
    /// In this order, after the balance between zones.
    pub termination_policies: Vec<String>,
    /// The group's own metrics in CloudWatch.
    pub metrics: BTreeSet<String>,
    /// The listeners that send requests here, by port. They are kept as tags of the group, so that whoever looks for a
    /// listener's rules need not ask for the load balancer and its listeners first.
    pub listeners: BTreeMap<i32, Ref<Listener>>,
    /// Whether it rests (see [`pause`](crate::rollout::pause)): then its size isn't the stack file's to decide.
    pub paused: Option<bool>,
}

impl AutoScalingGroup {
    /// The logical id of a service's group.
    pub fn id_of(service: &str) -> String {
        format!("group-{service}")
    }
}

impl Handle<AutoScalingGroup> {
    pub fn arn(&self) -> String {
        self.ready_output("arn")
    }
}

impl Kind for AutoScalingGroup {
    const NAME: &'static str = "auto_scaling_group";
    const TRAITS: Traits = Traits::slow(90, 900);
    type Spec = AutoScalingGroupSpec;

    fn effect(path: &str) -> Effect {
        if path == "name" { Effect::Replace } else { Effect::InPlace }
    }

    /// The number of instances is auto scaling's to move, as long as it stays within the limits.
    fn follow(wish: &mut AutoScalingGroupSpec, found: &AutoScalingGroupSpec) {
        if found.paused == Some(true) {
            wish.min = found.min;
        }
        wish.desired = found.desired.min(wish.max).max(wish.min);
    }

    async fn find(scan: &Scan<'_>, select: &Select<'_>) -> Result<Vec<Found<AutoScalingGroupSpec>>> {
        let request = scan.autoscaling.describe_auto_scaling_groups();
        let request = match select {
            Select::Stack => {
                request.filters(Filter::builder().name(format!("tag:{}", tags::STACK)).values(&scan.stack).build())
            }
            Select::One(name) => request.auto_scaling_group_names(*name),
        };
        let groups: Vec<Answer> =
            request.into_paginator().items().send().collect::<std::result::Result<_, _>>().await?;
        let mut found: Vec<_> = groups.iter().map(found).collect();
        if let Select::One(name) = select {
            match found.first_mut() {
                Some(group) => tell_why_not_ready(scan, group).await?,
                None => found.extend(remains(scan, name).await?),
            }
        }
        Ok(found)
    }

    async fn create(cx: &Context, desired: &Desired<AutoScalingGroupSpec>) -> Result<Created> {
        let spec = &desired.spec;
        let create = || async {
            cx.autoscaling
                .create_auto_scaling_group()
                .auto_scaling_group_name(&spec.name)
                .launch_template(template(spec))
                .vpc_zone_identifier(subnets(spec))
                .min_size(spec.min)
                .max_size(spec.max)
                .desired_capacity(spec.desired)
                .set_target_group_arns(Some(texts(&spec.target_groups)))
                .health_check_type(&spec.health_check)
                .health_check_grace_period(spec.grace)
                .default_instance_warmup(spec.warmup)
                .set_termination_policies(Some(spec.termination_policies.clone()))
                .set_tags(tag_list(desired))
                .send()
                .await
                .map_err(Error::from)
        };
        // IAM says that the instance profile exists a while before Auto Scaling believes it.
        let patience = ExponentialBuilder::default()
            .with_min_delay(Duration::from_secs(1))
            .with_max_delay(Duration::from_secs(10))
            .with_total_delay(Some(PROFILE_LAG))
            .without_max_times();
        create.retry(patience).when(unknown_profile).await?;
        enable_metrics(cx, spec).await?;
        Ok(Created::new(&spec.name))
    }

    async fn update(cx: &Context, change: &Change<AutoScalingGroupSpec>) -> Result<()> {
        let (before, spec) = (&change.found.spec, &change.desired.spec);
        if let Some(update) = attributes(cx, change) {
            update.send().await?;
        }
        if change.touches(&["target_groups"]) {
            let (added, removed) = moved(&before.target_groups, &spec.target_groups);
            if !added.is_empty() {
                let call = cx.autoscaling.attach_load_balancer_target_groups().auto_scaling_group_name(&spec.name);
                call.set_target_group_arns(Some(added)).send().await?;
            }
            if !removed.is_empty() {
                let call = cx.autoscaling.detach_load_balancer_target_groups().auto_scaling_group_name(&spec.name);
                call.set_target_group_arns(Some(removed)).send().await?;
            }
        }
        if change.touches(&["metrics"]) {
            let (_, removed) = moved(&before.metrics, &spec.metrics);
            if !removed.is_empty() {
                let call = cx.autoscaling.disable_metrics_collection().auto_scaling_group_name(&spec.name);
                call.set_metrics(Some(removed)).send().await?;
            }
            enable_metrics(cx, spec).await?;
        }
        if change.touches(&["tags", "listeners"]) {
            cx.autoscaling.create_or_update_tags().set_tags(tag_list(&change.desired)).send().await?;
            let gone = before.listeners.keys().filter(|port| !spec.listeners.contains_key(port));
            let gone: Vec<_> = gone.map(|port| tag(spec, &format!("{LISTENER_TAG}{port}")).build()).collect();
            if !gone.is_empty() {
                cx.autoscaling.delete_tags().set_tags(Some(gone)).send().await?;
            }
        }
        Ok(())
    }

    /// With its instances, whatever they are doing.
    async fn delete(cx: &Context, found: &Found<AutoScalingGroupSpec>) -> Result<()> {
        // What is only left of it goes by itself.
        if found.status != Status::Deleting {
            let call = cx.autoscaling.delete_auto_scaling_group().auto_scaling_group_name(&found.id);
            call.force_delete(true).send().await?;
        }
        Ok(())
    }
}

fn unknown_profile(error: &Error) -> bool {
    let message = error.message.to_lowercase();
    error.code == "ValidationError" && (message.contains("instance profile") || message.contains("instanceprofile"))
}

/// The call for what differs of the attributes that one call sets.
fn attributes(cx: &Context, change: &Change<AutoScalingGroupSpec>) -> Option<UpdateAutoScalingGroupFluentBuilder> {
    let spec = &change.desired.spec;
    let differs = |attribute: &str| change.touches(&[attribute]);
    let mut update = cx.autoscaling.update_auto_scaling_group().auto_scaling_group_name(&spec.name);
    let mut any = false;
    let mut set = |wanted: bool, with: &dyn Fn(UpdateAutoScalingGroupFluentBuilder) -> _| {
        if wanted {
            update = with(update.clone());
            any = true;
        }
    };
    set(change.touches(&["launch_template", "launch_template_version"]), &|call| call.launch_template(template(spec)));
    set(differs("subnets"), &|call| call.vpc_zone_identifier(subnets(spec)));
    set(differs("min"), &|call| call.min_size(spec.min));
    set(differs("max"), &|call| call.max_size(spec.max));
    set(differs("desired"), &|call| call.desired_capacity(spec.desired));
    set(differs("health_check"), &|call| call.health_check_type(&spec.health_check));
    set(differs("grace"), &|call| call.health_check_grace_period(spec.grace));
    set(differs("warmup"), &|call| call.default_instance_warmup(spec.warmup));
    set(differs("termination_policies"), &|call| {
        call.set_termination_policies(Some(spec.termination_policies.clone()))
    });
    any.then_some(update)
}

/// Switches on those that aren't on yet. Without a list AWS would switch on all.
async fn enable_metrics(cx: &Context, spec: &AutoScalingGroupSpec) -> Result<()> {
    if !spec.metrics.is_empty() {
        let call = cx.autoscaling.enable_metrics_collection().auto_scaling_group_name(&spec.name);
        call.granularity(GRANULARITY).set_metrics(Some(texts(&spec.metrics))).send().await?;
    }
    Ok(())
}

fn template(spec: &AutoScalingGroupSpec) -> LaunchTemplateSpecification {
    LaunchTemplateSpecification::builder()
        .launch_template_id(&*spec.launch_template)
        .version(&spec.launch_template_version)
        .build()
}

fn subnets(spec: &AutoScalingGroupSpec) -> String {
    texts(&spec.subnets).join(",")
}

fn texts<T: ToString>(set: &BTreeSet<T>) -> Vec<String> {
    set.iter().map(ToString::to_string).collect()
}

/// What is only in the second set, and what is only in the first.
fn moved<T: ToString + Ord>(before: &BTreeSet<T>, after: &BTreeSet<T>) -> (Vec<String>, Vec<String>) {
    let only = |these: &BTreeSet<T>, those: &BTreeSet<T>| these.difference(those).map(ToString::to_string).collect();
    (only(after, before), only(before, after))
}

fn tag(spec: &AutoScalingGroupSpec, key: &str) -> TagBuilder {
    Tag::builder().resource_id(&spec.name).resource_type("auto-scaling-group").key(key)
}

/// The wish's tags, which new instances get as well, and those that name listeners.
fn tag_list(desired: &Desired<AutoScalingGroupSpec>) -> Option<Vec<Tag>> {
    let spec = &desired.spec;
    let tags = desired.tags.iter().map(|(key, value)| tag(spec, key).value(value).propagate_at_launch(true).build());
    let listeners = spec.listeners.iter().map(|(port, listener)| {
        tag(spec, &format!("{LISTENER_TAG}{port}")).value(&**listener).propagate_at_launch(false).build()
    });
    Some(tags.chain(listeners).collect())
}

fn found(group: &Answer) -> Found<AutoScalingGroupSpec> {
    let tags = tags::collect(group.tags(), |tag| (tag.key(), tag.value()));
    let name = group.auto_scaling_group_name().unwrap_or_default();
    let template = group.launch_template();
    let subnets = group.vpc_zone_identifier().unwrap_or_default();
    Found {
        logical_id: tags.get(tags::ID).cloned().unwrap_or_default(),
        id: name.to_owned(),
        spec: AutoScalingGroupSpec {
            name: name.to_owned(),
            launch_template: Ref::known(template.and_then(|template| template.launch_template_id()).unwrap_or_default()),
            launch_template_version: template.and_then(|template| template.version()).unwrap_or_default().to_owned(),
            subnets: subnets.split(',').filter(|subnet| !subnet.is_empty()).map(Ref::known).collect(),
            min: group.min_size().unwrap_or_default(),
            max: group.max_size().unwrap_or_default(),
            desired: group.desired_capacity().unwrap_or_default(),
            target_groups: group.target_group_arns().iter().map(Ref::known).collect(),
            health_check: group.health_check_type().unwrap_or_default().to_owned(),
            grace: group.health_check_grace_period().unwrap_or_default(),
            warmup: group.default_instance_warmup().unwrap_or_default(),
            termination_policies: group.termination_policies().to_vec(),
            listeners: listeners(&tags),
            paused: Some(tags.contains_key(tags::PAUSED)),
            metrics: group.enabled_metrics().iter().filter_map(|metric| metric.metric()).map(str::to_owned).collect(),
        },
        outputs: Outputs::from([
            ("arn".to_owned(), group.auto_scaling_group_arn().unwrap_or_default().to_owned()),
        ]),
        tags: Some(tags),
        status: status(group),
    }
}

fn listeners(tags: &Tags) -> BTreeMap<i32, Ref<Listener>> {
    let named = |(key, arn): (&String, &String)| {
        Some((key.strip_prefix(LISTENER_TAG)?.parse().ok()?, Ref::known(arn)))
    };
    tags.iter().filter_map(named).collect()
}

/// Ready as soon as the least number of instances is in service.
fn status(group: &Answer) -> Status {
    // Only a group that is being deleted has a status.
    if group.status().is_some() {
        return Status::Deleting;
    }
    let in_service = |instance: &&Instance| instance.lifecycle_state() == Some(&LifecycleState::InService);
    let ready = group.instances().iter().filter(in_service).count();
    let least = usize::try_from(group.min_size().unwrap_or_default()).unwrap_or_default();
    if ready >= least {
        return Status::Ready;
    }
    Status::Pending(format!("{ready} of {least} instances in service"))
}

/// Adds to the state of a group that isn't ready what it last tried and why that failed.
async fn tell_why_not_ready(cx: &Context, group: &mut Found<AutoScalingGroupSpec>) -> Result<()> {
    let Status::Pending(state) = &mut group.status else { return Ok(()) };
    let call = cx.autoscaling.describe_scaling_activities().auto_scaling_group_name(&group.id).max_records(1);
    if let Some(activity) = call.send().await?.activities().first() {
        let what = activity.description().unwrap_or_default();
        let code = activity.status_code().map(|code| code.as_str()).unwrap_or_default();
        let why = activity.status_message().map(|message| format!(": {message}")).unwrap_or_default();
        state.push_str(&format!("; last activity: {what} ({code}{why})"));
    }
    Ok(())
}

/// The instances that a deleted group has left: they hold the security group and the subnets until they have ended.
async fn remains(cx: &Context, name: &str) -> Result<Option<Found<AutoScalingGroupSpec>>> {
    let filter = |name: &str, values: &[&str]| {
        Ec2Filter::builder().name(name).set_values(Some(values.iter().map(ToString::to_string).collect())).build()
    };
    let answer = cx
        .ec2
        .describe_instances()
        .filters(filter("tag:aws:autoscaling:groupName", &[name]))
        .filters(filter("instance-state-name", &["pending", "running", "shutting-down", "stopping", "stopped"]))
        .send()
        .await?;
    if answer.reservations().is_empty() {
        return Ok(None);
    }
    let gone = Answer::builder().auto_scaling_group_name(name).status("deleted").build();
    Ok(Some(found(&gone)))
}
