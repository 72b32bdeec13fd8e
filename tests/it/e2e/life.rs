//! Apply, an empty plan, a change, destroy: for each of the ready stacks.

use serde_json::{Value, json};
use std::collections::BTreeMap;
use ticketctl::aws::Context;

use crate::{checks::requests::prove, e2e::world::World};

/// How many resources of each kind the stack owns.
async fn kinds(world: &World, stack: &std::path::Path) -> BTreeMap<String, usize> {
    let rows = world.on(stack, "resources", &["--json"]).await.exits(0).json();
    let mut kinds = BTreeMap::new();
    for row in rows.as_array().expect("a list") {
        *kinds.entry(row["kind"].as_str().expect("a kind").to_owned()).or_default() += 1;
        assert_eq!(row["status"], "ready", "{row}");
    }
    kinds
}

#[tokio::test(flavor = "multi_thread")]
async fn dev_lives_its_whole_life() {
    let world = World::new().await;
    let stack = world.stack("dev.yaml");
    world.on(&stack, "apply", &["--yes"]).await.exits(0);
    world.on(&stack, "plan", &["--detailed-exitcode"]).await.exits(0);

    let kinds = kinds(&world, &stack).await;
    for (kind, count) in [
        ("vpc", 1),
        ("subnet", 6),
        ("nat_gateway", 2),
        ("address", 2),
        ("route_table", 4),
        ("load_balancer", 1),
        ("target_group", 1),
        ("listener", 1),
        ("launch_template", 1),
        ("auto_scaling_group", 1),
        ("db_cluster", 1),
        ("db_instance", 2),
        ("replication_group", 1),
        ("bucket", 1),
        ("queue", 2),
        ("topic", 2),
        ("dashboard", 1),
    ] {
        assert_eq!(kinds.get(kind), Some(&count), "{kind} in {kinds:?}");
    }
    for kind in ["alarm", "parameter", "log_group", "secret", "security_group", "role", "scaling_policy"] {
        assert!(kinds.contains_key(kind), "{kind} in {kinds:?}");
    }
    seen_from_outside(&world).await;

    let max = "services.web.instances.max=30";
    let plan =
        world.on(&stack, "plan", &["--set", max, "--format", "json", "--detailed-exitcode"]).await.exits(2).json();
    assert_eq!(plan["summary"]["update"], 1, "{plan}");
    let change = &plan["changes"][0];
    assert_eq!((&change["id"], &change["action"]), (&json!("group-web"), &json!("update")), "{plan}");
    let attribute = &change["attributes"][0];
    assert_eq!(attribute, &json!({"path": "max", "before": 20, "after": 30, "effect": "in-place"}), "{plan}");
    world.on(&stack, "apply", &["--set", max, "--yes"]).await.exits(0);
    world.on(&stack, "plan", &["--set", max, "--detailed-exitcode"]).await.exits(0);

    destroyed(&world, &stack, &[]).await;
}

/// What the stack promises, read with other eyes than ours.
async fn seen_from_outside(world: &World) {
    let cx = world.clients().await;
    let groups = cx.autoscaling.describe_auto_scaling_groups().send().await.expect("groups");
    let group = &groups.auto_scaling_groups()[0];
    assert_eq!((group.min_size(), group.desired_capacity(), group.max_size()), (Some(2), Some(2), Some(20)));
    let clusters = cx.rds.describe_db_clusters().send().await.expect("clusters");
    let members = clusters.db_clusters()[0].db_cluster_members();
    let writers = members.iter().filter(|member| member.is_cluster_writer() == Some(true)).count();
    assert_eq!((members.len(), writers), (2, 1));
    let balancers = cx.elb.describe_load_balancers().send().await.expect("load balancers");
    assert_eq!(balancers.load_balancers().len(), 1);
    let alarms = cx.cloudwatch.describe_alarms().send().await.expect("alarms");
    assert!(alarms.metric_alarms().iter().all(|alarm| alarm.treat_missing_data().is_some()));
    assert!(alarms.metric_alarms().len() >= 10, "{}", alarms.metric_alarms().len());
}

/// Destroys the stack and looks, past ticketctl, whether anything is left.
pub async fn destroyed(world: &World, stack: &std::path::Path, more: &[&str]) {
    destroy(world, stack, more).await;
    nothing_is_left(world).await;
}

async fn destroy(world: &World, stack: &std::path::Path, more: &[&str]) {
    world.on(stack, "destroy", &[&["--yes"], more].concat()).await.exits(0);
    let rows = world.on(stack, "resources", &["--json"]).await.exits(0).json();
    assert_eq!(rows, json!([]));
}

/// Looks, past ticketctl, whether anything is left.
async fn nothing_is_left(world: &World) {
    let cx = world.clients().await;
    let vpcs = cx.ec2.describe_vpcs().send().await.expect("vpcs");
    assert!(vpcs.vpcs().iter().all(|vpc| vpc.is_default() == Some(true)), "{vpcs:?}");
    let groups = cx.ec2.describe_security_groups().send().await.expect("security groups");
    let strangers: Vec<_> = groups.security_groups().iter().filter(|g| g.group_name() != Some("default")).collect();
    assert!(strangers.is_empty(), "{strangers:?}");
    let addresses = cx.ec2.describe_addresses().send().await.expect("addresses");
    assert!(addresses.addresses().is_empty(), "{addresses:?}");
    let instances = cx.ec2.describe_instances().send().await.expect("instances");
    let alive = instances.reservations().iter().flat_map(|r| r.instances()).filter(|instance| {
        instance.state().and_then(|state| state.name()) != Some(&aws_sdk_ec2::types::InstanceStateName::Terminated)
    });
    assert_eq!(alive.count(), 0);
    let secrets = cx.secrets.list_secrets().send().await.expect("secrets");
    assert!(secrets.secret_list().is_empty(), "{secrets:?}");
    let buckets = cx.s3.list_buckets().send().await.expect("buckets");
    let names: Vec<_> = buckets.buckets().iter().filter_map(|bucket| bucket.name()).collect();
    assert!(names.iter().all(|name| name.starts_with("ticketctl-")), "{names:?}");
    let roles = cx.iam.list_roles().path_prefix("/ticketctl/").send().await.expect("roles");
    assert!(roles.roles().is_empty(), "{roles:?}");
    let alarms = cx.cloudwatch.describe_alarms().send().await.expect("alarms");
    assert!(alarms.metric_alarms().is_empty(), "{alarms:?}");
    nothing_smaller_left(&cx).await;
}

/// What no VPC holds.
async fn nothing_smaller_left(cx: &Context) {
    let templates = cx.ec2.describe_launch_templates().send().await.expect("launch templates");
    assert!(templates.launch_templates().is_empty(), "{templates:?}");
    let targets = cx.elb.describe_target_groups().send().await.expect("target groups");
    assert!(targets.target_groups().is_empty(), "{targets:?}");
    let clusters = cx.rds.describe_db_clusters().send().await.expect("clusters");
    assert!(clusters.db_clusters().is_empty(), "{clusters:?}");
    let subnets = cx.rds.describe_db_subnet_groups().send().await.expect("subnet groups");
    assert!(subnets.db_subnet_groups().is_empty(), "{subnets:?}");
    let caches = cx.elasticache.describe_replication_groups().send().await.expect("Redis groups");
    assert!(caches.replication_groups().is_empty(), "{caches:?}");
    let queues = cx.sqs.list_queues().send().await.expect("queues");
    assert!(queues.queue_urls().is_empty(), "{queues:?}");
    let topics = cx.sns.list_topics().send().await.expect("topics");
    assert!(topics.topics().is_empty(), "{topics:?}");
    let logs = cx.logs.describe_log_groups().send().await.expect("log groups");
    assert!(logs.log_groups().is_empty(), "{logs:?}");
    let parameters = cx.ssm.get_parameters_by_path().path("/ticketctl").recursive(true).send().await;
    let parameters = parameters.expect("parameters");
    assert!(parameters.parameters().is_empty(), "{parameters:?}");
    let dashboards = cx.cloudwatch.list_dashboards().send().await.expect("dashboards");
    assert!(dashboards.dashboard_entries().is_empty(), "{dashboards:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn two_services_share_a_load_balancer_by_path() {
    let world = World::new().await;
    let stack = world.stack("two-services.yaml");
    world.keep_requests().await;
    world.on(&stack, "apply", &["--yes"]).await.exits(0);
    world.on(&stack, "plan", &["--detailed-exitcode"]).await.exits(0);
    let kinds = kinds(&world, &stack).await;
    assert_eq!((kinds["auto_scaling_group"], kinds["target_group"], kinds["load_balancer"]), (2, 2, 1), "{kinds:?}");
    assert!(kinds.contains_key("listener_rule"), "{kinds:?}");
    let outputs: Value = world.on(&stack, "output", &["--json"]).await.exits(0).json();
    assert!(outputs["alb_url"].as_str().is_some_and(|url| url.starts_with("http")), "{outputs}");
    destroy(&world, &stack, &[]).await;
    prove(&world, &stack, &[]).await;
    nothing_is_left(&world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn prod_is_guarded_until_its_guard_is_taken_off() {
    let world = World::new().await;
    let stack = world.stack("prod.yaml");
    world.keep_requests().await;
    world.on(&stack, "apply", &["--yes"]).await.exits(0);
    world.on(&stack, "plan", &["--detailed-exitcode"]).await.exits(0);
    let kinds = kinds(&world, &stack).await;
    assert_eq!((kinds["subnet"], kinds["nat_gateway"]), (9, 3), "{kinds:?}");

    let refused = world.on(&stack, "destroy", &["--yes"]).await.exits(1);
    assert!(refused.err.contains("protected"), "{}", refused.err);
    let name = world.on(&stack, "config", &["show", "--json"]).await;
    let name = format!("{}-{}", name.json()["project"].as_str().unwrap_or_default(), "prod");
    let refused = world.on(&stack, "destroy", &["--yes", "--confirm", &name]).await.exits(1);
    assert!(refused.err.contains("deletion protection"), "{}", refused.err);

    let open = ["--set", "protect=false"];
    world.on(&stack, "apply", &[&["--yes"], &open[..]].concat()).await.exits(0);
    // Naming the stack is no answer to the question.
    let unanswered = world.on(&stack, "destroy", &[&["--confirm", &name], &open[..]].concat()).await.exits(1);
    assert!(unanswered.err.contains("--yes"), "{}", unanswered.err);
    destroy(&world, &stack, &open).await;
    prove(&world, &stack, &[]).await;
    nothing_is_left(&world).await;
}
