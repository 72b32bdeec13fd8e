//! The services' instances: what they are, what they run, how many there are and when that changes.

use indexmap::IndexMap;
use std::collections::{BTreeMap, BTreeSet};

use aws_sdk_cloudwatch::types::{ComparisonOperator, Statistic};

use crate::{
    aws::tags,
    blueprint::{
        Blueprint, Facts,
        edge::EdgeHandles,
        network::Network,
        security::Security,
        user_data::{self, Boot, Program},
    },
    resource::{
        Alarm, AutoScalingGroup, Bucket, Handle, InstanceProfile, LaunchTemplate, Level, ScalingPolicy,
        alarm::{AlarmSpec, Metric},
        auto_scaling_group::AutoScalingGroupSpec,
        launch_template::{LaunchTemplateSpec, Metadata, Volume},
        log_group,
        scaling_policy::{Rule, ScalingPolicySpec},
    },
    stack::{
        Stack,
        facts::{
            database::{FEWEST_CONNECTIONS, max_connections},
            instances::architecture,
        },
        name::name,
        types::Service,
    },
};

/// Longest names of groups and launch templates.
const GROUP_NAME_LENGTH: usize = 255;
const TEMPLATE_NAME_LENGTH: usize = 128;

/// How long a program may take to stop after the load balancer has let go of it, in seconds.
const STOP_SECONDS: i32 = 60;

/// How much longer than the load balancer a program keeps an idle connection, in seconds.
const IDLE_MARGIN_SECONDS: i32 = 15;

/// How long a database takes to be made, in seconds: longer than the network does, which instances wait for.
const DATABASE_STARTS_SECONDS: i32 = 600;

/// What a group tells about itself in CloudWatch.
const METRICS: [&str; 8] = [
    "GroupDesiredCapacity",
    "GroupInServiceInstances",
    "GroupMaxSize",
    "GroupMinSize",
    "GroupPendingInstances",
    "GroupStandbyInstances",
    "GroupTerminatingInstances",
    "GroupTotalInstances",
];

/// What services stand on.
pub(super) struct Ground<'a> {
    pub network: &'a Network,
    pub security: &'a Security,
    pub edge: &'a EdgeHandles,
    pub profile: &'a Handle<InstanceProfile>,
}

/// Adds the instances of every service, and gives back their groups.
pub(super) fn add(
    blueprint: &mut Blueprint,
    stack: &Stack,
    facts: &Facts,
    ground: &Ground<'_>,
) -> IndexMap<String, Handle<AutoScalingGroup>> {
    let services: IndexMap<String, Handle<AutoScalingGroup>> = stack
        .services
        .iter()
        .map(|(name, service)| {
            let program = program(facts, name, service);
            if let Program::Artifact(artifact) = &program {
                blueprint.artifacts.insert(name.clone(), artifact.clone());
            }
            let runs = program != Program::None;
            let template = launch_template(blueprint, stack, facts, ground, name, service, program);
            let group = group(blueprint, stack, ground, name, service, &template, runs);
            scaling(blueprint, ground.edge, name, service, &group);
            (name.clone(), group)
        })
        .collect();
    let names = services.values().map(|group| group.id().to_string()).collect::<Vec<_>>();
    blueprint.output("asg_names", names);
    services
}

fn program(facts: &Facts, name: &str, service: &Service) -> Program {
    match (&service.image, facts.artifacts.get(name)) {
        (Some(image), _) => Program::Image(image.clone()),
        (None, Some(artifact)) => Program::Artifact(artifact.clone()),
        (None, None) => Program::None,
    }
}

fn group_name(stack: &Stack, service: &str) -> String {
    name(stack, &[service, "asg"], GROUP_NAME_LENGTH)
}

fn launch_template(
    blueprint: &mut Blueprint,
    stack: &Stack,
    facts: &Facts,
    ground: &Ground<'_>,
    service: &str,
    wanted: &Service,
    program: Program,
) -> Handle<LaunchTemplate> {
    let template_name = name(stack, &[service, "lt"], TEMPLATE_NAME_LENGTH);
    let in_container = matches!(program, Program::Image(_));
    let runs = match &program {
        Program::Artifact(artifact) => Some(artifact.sha256.clone()),
        Program::Image(image) => image.rsplit('@').next().map(str::to_owned),
        Program::None => None,
    };
    let stack_name = stack.name();
    let script = user_data::render(&Boot {
        stack: &stack_name,
        service,
        region: &facts.region,
        program,
        arguments: wanted.command_args(),
        environment: environment(stack, facts, service, wanted),
        log_group: log_group::name(&stack_name, service),
        group: group_name(stack, service),
        port: wanted.port,
        health_path: &wanted.health.path,
        stop_seconds: STOP_SECONDS,
    });
    if script.len() > user_data::LIMIT {
        let excess = script.len() - user_data::LIMIT;
        let fault = format!("service {service}: its boot script is {excess} bytes too long; shorten its env and args");
        blueprint.faults.push(fault);
    }
    let id = LaunchTemplate::id_of(service);
    let mut instance_tags = blueprint.tags_for(&id, &name(stack, &[service], TEMPLATE_NAME_LENGTH));
    // An instance's own id in the stack would be that of its group, which tags it at launch.
    instance_tags.remove(tags::ID);
    instance_tags.extend(runs.map(|runs| (tags::PROGRAM.to_owned(), runs)));
    let wanted_machine = &wanted.instances;
    let spec = LaunchTemplateSpec {
        name: template_name.clone(),
        image: facts.images.get(architecture(&wanted_machine.instance_type)).cloned().unwrap_or_default(),
        instance_type: wanted_machine.instance_type.clone(),
        instance_profile: ground.profile.arn(),
        security_groups: BTreeSet::from([ground.security.services[service].id()]),
        volume: Volume {
            device: "/dev/xvda".into(),
            size: i32::try_from(wanted_machine.volume).unwrap_or(i32::MAX),
            kind: "gp3".into(),
            encrypted: true,
            delete_on_termination: true,
        },
        // A container is one hop farther away.
        metadata: Metadata { tokens: "required".into(), hop_limit: if in_container { 2 } else { 1 } },
        detailed_monitoring: wanted_machine.detailed_monitoring,
        user_data: script,
        instance_tags,
        rolled_back: None,
    };
    blueprint.add::<LaunchTemplate>(id, &template_name, spec)
}

/// What the program finds in its environment: the user's variables, and ours, which say where everything else is.
fn environment(stack: &Stack, facts: &Facts, service: &str, wanted: &Service) -> BTreeMap<String, String> {
    // The program keeps idle connections longer than the load balancer: a request that meets a closing one would be lost.
    let idle = stack.ingress.idle_timeout.secs() + IDLE_MARGIN_SECONDS;
    let ours = [
        ("AWS_REGION", facts.region.clone()),
        ("TICKETCTL_PARAMETERS", format!("/ticketctl/{}/app", stack.name())),
        ("TICKETCTL_SERVICE", service.to_owned()),
        ("TICKETCTL_STACK", stack.name()),
        ("TICKETING_IDLE_SECONDS", idle.to_string()),
        ("TICKETING_LISTEN", format!("0.0.0.0:{}", wanted.port)),
    ];
    let bucket = || ("TICKETCTL_BUCKET", Bucket::name_in(&stack.name(), &facts.account, &facts.region));
    let bucket = stack.storage.as_ref().map(|_| bucket());
    let named = |(name, value): (&str, String)| (name.to_owned(), value);
    let share = connections(stack).map(|share| ("TICKETING_DATABASE_CONNECTIONS", share.to_string()));
    let ours = ours.into_iter().chain(bucket).map(named);
    // How many connections it takes is for the user to say, where the user says it.
    share.map(named).into_iter().chain(wanted.env.clone()).chain(ours).collect()
}

/// Connections to the database that each instance may take, so that all at their most have room: nine tenths of what the
/// class allows. The program has little use for more than 16. In coarse steps, since another number is another release.
fn connections(stack: &Stack) -> Option<u32> {
    let limit = max_connections(&stack.database.as_ref()?.class)?;
    // One more of each service while a release comes in.
    let most: u32 = stack.services.values().map(|service| service.instances.max + 1).sum();
    let fits = |share: &u32| share * most <= limit * 9 / 10;
    Some([16, 8].into_iter().find(fits).unwrap_or(FEWEST_CONNECTIONS))
}

fn group(
    blueprint: &mut Blueprint,
    stack: &Stack,
    ground: &Ground<'_>,
    service: &str,
    wanted: &Service,
    template: &Handle<LaunchTemplate>,
    runs: bool,
) -> Handle<AutoScalingGroup> {
    let count = |number: u32| i32::try_from(number).unwrap_or(i32::MAX);
    let name = group_name(stack, service);
    let spec = AutoScalingGroupSpec {
        name: name.clone(),
        launch_template: template.id(),
        launch_template_version: template.version(),
        subnets: ground.network.private.iter().map(Handle::id).collect(),
        min: count(wanted.instances.min),
        max: count(wanted.instances.max),
        desired: count(wanted.instances.desired),
        target_groups: BTreeSet::from([ground.edge.target_groups[service].id()]),
        // Without a program no instance ever answers the load balancer, and each would be replaced again and again.
        health_check: if runs { "ELB".into() } else { "EC2".into() },
        // At the first apply instances may be there long before the database, and can't be ready without it.
        grace: wanted.health.grace.secs() + stack.database.as_ref().map_or(0, |_| DATABASE_STARTS_SECONDS),
        warmup: wanted.scaling.warmup.secs(),
        // What still has an old version goes first, then the oldest.
        termination_policies: vec!["OldestLaunchTemplate".into(), "OldestInstance".into()],
        metrics: METRICS.map(str::to_owned).into(),
        listeners: ground.edge.listeners.iter().map(|(port, listener)| (*port, listener.id())).collect(),
        paused: None,
    };
    let group = blueprint.add::<AutoScalingGroup>(AutoScalingGroup::id_of(service), &name, spec);
    ground.network.wait_for_way_out(blueprint, &group);
    group
}

fn scaling(
    blueprint: &mut Blueprint,
    edge: &EdgeHandles,
    service: &str,
    wanted: &Service,
    group: &Handle<AutoScalingGroup>,
) {
    let scaling = &wanted.scaling;
    let mut policy = |what: &str, rule: Rule| {
        let id = format!("scaling-{service}-{what}");
        blueprint.add::<ScalingPolicy>(id.clone(), &id, ScalingPolicySpec { group: group.id(), rule })
    };
    if let Some(cpu) = scaling.cpu {
        let metric = "ASGAverageCPUUtilization".into();
        policy("cpu", Rule::Track { metric, target: None, value: cpu.into() });
    }
    if let Some(value) = scaling.requests_per_target_per_minute {
        let target = &edge.target_groups[service];
        let label = format!("{}/{}", edge.load_balancer.metric_dimension(), target.metric_dimension());
        let metric = "ALBRequestCountPerTarget".into();
        let requests = policy("requests", Rule::Track { metric, target: Some(label), value });
        // AWS refuses it while the load balancer doesn't route to the target group.
        for listener in edge.listeners.values() {
            blueprint.after(&requests, listener, Level::Created);
        }
        for rule in &edge.rules {
            blueprint.after(&requests, rule, Level::Created);
        }
    }
    let Some(steps) = &scaling.steps else { return };
    let count = |number: u32| i32::try_from(number).unwrap_or(i32::MAX);
    let mut policy = |what: &str, rule: Rule| {
        let id = format!("scaling-{service}-{what}");
        blueprint.add::<ScalingPolicy>(id.clone(), &id, ScalingPolicySpec { group: group.id(), rule })
    };
    let add = policy("add", Rule::Step { add: count(steps.add) });
    let remove = policy("remove", Rule::Shrink { remove: count(steps.remove), cooldown: scaling.cooldown.secs() });
    let above = format!("CPU of {service} above {} %: {} instances more", steps.above, steps.add);
    let group = (group, wanted.instances.detailed_monitoring);
    step_alarm(blueprint, service, group, ComparisonOperator::GreaterThanThreshold, steps.above, &add, above);
    let below = format!("CPU of {service} below {} %: {} instances fewer", steps.below, steps.remove);
    step_alarm(blueprint, service, group, ComparisonOperator::LessThanThreshold, steps.below, &remove, below);
}

/// The alarm that calls a step policy: two periods of two minutes in a row, or of five where EC2 tells no more often.
fn step_alarm(
    blueprint: &mut Blueprint,
    service: &str,
    (group, detailed): (&Handle<AutoScalingGroup>, bool),
    comparison: ComparisonOperator,
    percent: u32,
    policy: &Handle<ScalingPolicy>,
    description: String,
) {
    let side = if comparison == ComparisonOperator::GreaterThanThreshold { "high" } else { "low" };
    let id = format!("alarm-{service}-scaling-{side}");
    let spec = AlarmSpec {
        description,
        metric: Metric {
            namespace: "AWS/EC2".into(),
            name: "CPUUtilization".into(),
            dimensions: BTreeMap::from([("AutoScalingGroupName".into(), group.id().to_string())]),
            statistic: Statistic::Average.as_str().into(),
            period: if detailed { 120 } else { 300 },
        },
        evaluation_periods: 2,
        comparison: comparison.as_str().into(),
        threshold: percent.into(),
        // Without instances there is nothing to measure, and nothing to scale by.
        missing_data: "missing".into(),
        actions_enabled: true,
        alarm_actions: BTreeSet::from([policy.arn()]),
        ok_actions: BTreeSet::new(),
    };
    blueprint.add::<Alarm>(id.clone(), &id, spec);
}

#[cfg(test)]
mod tests {
    use crate::blueprint::{
        Artifact, compile,
        tests::{compiled, facts, stack},
    };
    use serde_json::json;

    #[test]
    fn instances_are_closed_and_pinned() {
        let nodes = compiled(&stack(json!({"services": {"web": {"instances": {"type": "t4g.small"}}}}))).nodes;
        let template = &nodes["launch-template-web"].spec;
        assert_eq!(template["image"], "ami-2");
        assert_eq!(template["metadata"], json!({"tokens": "required", "hop_limit": 1}));
        assert_eq!((&template["volume"]["encrypted"], &template["volume"]["kind"]), (&json!(true), &json!("gp3")));
        let group = &nodes["group-web"].spec;
        assert_eq!(group["launch_template_version"], "⟦launch-template-web#version!⟧");
        assert_eq!(group["target_groups"], json!(["⟦target-group-web⟧"]));
        assert_eq!(group["metrics"].as_array().map(Vec::len), Some(8));
        // Nothing that takes minutes stands between a launch template and its instances.
        assert!(
            nodes["group-web"].dependencies().keys().all(|id| !id.starts_with("database") && !id.starts_with("cache"))
        );
    }

    #[test]
    fn containers_reach_the_metadata_service() {
        let image = format!("docker.io/shop/web@sha256:{}", "0".repeat(64));
        let nodes = compiled(&stack(json!({"services": {"web": {"image": image}}}))).nodes;
        assert_eq!(nodes["launch-template-web"].spec["metadata"]["hop_limit"], 2);
        assert_eq!(nodes["group-web"].spec["health_check"], "ELB");
    }

    #[test]
    fn what_has_no_program_yet_is_not_replaced_forever() {
        let stack = stack(json!({"services": {"web": {}}}));
        let without = compiled(&stack);
        assert_eq!(without.nodes["group-web"].spec["health_check"], "EC2");
        assert!(without.artifacts.is_empty());
        let mut facts = facts();
        let artifact = Artifact::new(&facts, "ticketing-dev", "ab".repeat(32));
        facts.artifacts.insert("web".into(), artifact.clone());
        let with = compile(&stack, &facts);
        assert_eq!(with.nodes["group-web"].spec["health_check"], "ELB");
        assert_eq!(with.nodes["launch-template-web"].spec["instance_tags"]["ticketctl:program"], artifact.sha256);
        assert_eq!(with.artifacts["web"], artifact);
    }

    #[test]
    fn all_instances_can_connect_to_the_database() {
        let script = |parts| {
            let nodes = compiled(&stack(parts)).nodes;
            let script = nodes["launch-template-web"].spec["user_data"].as_str().expect("a script").to_owned();
            let (_, share) = script.split_once("TICKETING_DATABASE_CONNECTIONS=\"")?;
            Some((share.split('"').next()?.to_owned(), nodes["group-web"].spec["grace"].clone()))
        };
        let database = |class: &str, service: serde_json::Value| json!({"services": {"web": service}, "database": {"class": class}});
        let told = |share: &str| Some((share.to_owned(), json!(900)));
        assert_eq!(script(database("db.t3.medium", json!({}))), told("4"));
        assert_eq!(script(database("db.t3.medium", json!({"instances": {"max": 7}}))), told("8"));
        assert_eq!(script(database("db.r6g.xlarge", json!({}))), told("16"));
        let written = json!({"env": {"TICKETING_DATABASE_CONNECTIONS": "99"}});
        assert_eq!(script(database("db.t3.medium", written)), told("99"));
        assert_eq!(script(json!({"services": {"web": {}}})), None);
    }

    #[test]
    fn a_boot_script_that_is_too_long_is_a_fault() {
        let with = |value: &str| compiled(&stack(json!({"services": {"web": {"env": {"A": value}}}}))).faults;
        assert_eq!(with("x"), [""; 0]);
        let faults = with(&"x".repeat(17_000));
        assert!(matches!(&*faults, [fault] if fault.starts_with("service web: its boot script is ")), "{faults:?}");
    }

    #[test]
    fn every_way_of_scaling_has_its_policy() {
        let scaling = json!({"cpu": 60, "requests_per_target_per_minute": 1000.0, "steps": {}});
        let nodes = compiled(&stack(json!({"services": {"web": {"scaling": scaling}}}))).nodes;
        assert_eq!(nodes["scaling-web-cpu"].spec["rule"]["track"]["value"], 60.0);
        assert_eq!(
            nodes["scaling-web-requests"].spec["rule"]["track"]["target"],
            "⟦load-balancer#metric_dimension⟧/⟦target-group-web#metric_dimension⟧"
        );
        assert!(nodes["scaling-web-requests"].dependencies().contains_key("listener-80"));
        assert_eq!(nodes["scaling-web-add"].spec["rule"], json!({"step": {"add": 2}}));
        assert_eq!(nodes["scaling-web-remove"].spec["rule"], json!({"shrink": {"remove": 1, "cooldown": 300}}));
        let low = &nodes["alarm-web-scaling-low"].spec;
        assert_eq!(low["alarm_actions"], json!(["⟦scaling-web-remove⟧"]));
        assert_eq!((&low["threshold"], &low["comparison"]), (&json!(30.0), &json!("LessThanThreshold")));
    }
}
