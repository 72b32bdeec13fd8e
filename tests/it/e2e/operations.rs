//! Looking at a stack, letting it rest, breaking it on purpose.

use aws_sdk_cloudwatchlogs::types::InputLogEvent;
use aws_sdk_ec2::types::Tag;
use jiff::Timestamp;
use serde_json::json;
use ticketctl::rollout::fleet::Fleet;

use crate::e2e::world::{NETWORK, World};

const GROUP: &str = "ticketing-dev-web-asg";

async fn fleet(world: &World) -> Fleet {
    Fleet::look(&world.clients().await, GROUP).await.expect("looked at").expect("a group")
}

#[tokio::test(flavor = "multi_thread")]
async fn status_logs_and_events_tell_what_is_there() {
    let world = World::new().await;
    let stack = world.stack("dev.yaml");
    let nothing = world.on(&stack, "status", &[]).await.exits(1);
    assert!(nothing.err.contains("nothing to look at"), "{}", nothing.err);
    world.on(&stack, "apply", &["--yes"]).await.exits(0);

    // An instance tells that its boot went wrong, as the boot script does.
    let cx = world.clients().await;
    let instance = fleet(&world).await.members[0].id.clone();
    let tag = Tag::builder().key("ticketctl:boot").value("failed: attempt 8 of 8 failed: fetch").build();
    cx.ec2.create_tags().resources(&instance).tags(tag).send().await.expect("tagged");
    let status = world.on(&stack, "status", &["--json"]).await.exits(0).json();
    let web = &status["services"][0];
    assert_eq!((&web["name"], &web["desired"], &web["current"]["number"]), (&json!("web"), &json!(2), &json!(1)));
    assert_eq!(web["failed_boots"][0]["instance"], instance.as_str(), "{status}");
    let roles: Vec<_> = status["database"]["members"].as_array().expect("members").iter().map(|m| &m["role"]).collect();
    assert_eq!(roles, ["writer", "reader"], "{status}");
    assert_eq!(status["cache"]["members"].as_array().map(Vec::len), Some(2), "{status}");
    let told = world.on(&stack, "status", &[]).await.exits(0);
    for text in ["2 healthy of 2", "failed: attempt 8 of 8", "writer", "alarms"] {
        assert!(told.out.contains(text), "{text} in {}", told.out);
    }

    let stream = format!("{instance}/web");
    let group = "/ticketctl/ticketing-dev/web";
    cx.logs.create_log_stream().log_group_name(group).log_stream_name(&stream).send().await.expect("a stream");
    let now = Timestamp::now().as_millisecond();
    let event = InputLogEvent::builder().timestamp(now).message("seat 12 sold").build().expect("an event");
    let put = cx.logs.put_log_events().log_group_name(group).log_stream_name(&stream).log_events(event);
    put.send().await.expect("written");
    let logs = world.on(&stack, "logs", &["web"]).await.exits(0);
    assert!(logs.out.contains(&format!("{instance} seat 12 sold")), "{}", logs.out);
    let other = world.on(&stack, "logs", &["shop"]).await.exits(1);
    assert!(other.err.contains("no service called shop"), "{}", other.err);
    world.on(&stack, "events", &["--json"]).await.exits(0).json();
    let refused = world.on(&stack, "exec", &["web", "--", "uptime"]).await.exits(1);
    assert!(refused.err.contains("emulator"), "{}", refused.err);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_paused_stack_rests_and_wakes_up_as_it_was() {
    let world = World::new().await;
    let stack = world.stack("dev.yaml");
    world.on(&stack, "apply", &["--yes"]).await.exits(0);
    let cx = world.clients().await;
    let grown = cx.autoscaling.update_auto_scaling_group().auto_scaling_group_name(GROUP).desired_capacity(3);
    grown.send().await.expect("grown");

    let paused = world.on(&stack, "pause", &["--yes"]).await.exits(0);
    assert!(paused.err.contains("3 × t3.medium go") && paused.err.contains("7 days"), "{}", paused.err);
    let fleet_now = fleet(&world).await;
    assert_eq!((fleet_now.min, fleet_now.desired, fleet_now.present().count()), (0, 0, 0));
    let clusters = cx.rds.describe_db_clusters().send().await.expect("clusters");
    assert_eq!(clusters.db_clusters()[0].status(), Some("stopped"));
    // A plan doesn't fight it, an apply says so, a second pause changes nothing.
    let plan = world.on(&stack, "plan", &["--detailed-exitcode"]).await.exits(0);
    assert!(plan.err.contains("is paused"), "{}", plan.err);
    let refused = world.on(&stack, "apply", &["--yes"]).await.exits(1);
    assert!(refused.err.contains("is paused") && refused.err.contains("resume"), "{}", refused.err);
    world.on(&stack, "pause", &["--yes"]).await.exits(0);

    world.on(&stack, "resume", &["--yes"]).await.exits(0);
    let fleet_now = fleet(&world).await;
    assert_eq!((fleet_now.min, fleet_now.desired, fleet_now.present().count()), (2, 3, 3));
    assert!(!fleet_now.tags.contains_key("ticketctl:paused") && !fleet_now.tags.contains_key("ticketctl:rollout"));
    world.on(&stack, "plan", &["--detailed-exitcode"]).await.exits(0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopped_database_alone_is_a_paused_stack_that_can_be_destroyed() {
    let world = World::new().await;
    let stack = world.write("stack.yaml", &format!("{NETWORK}database: {{class: db.t3.medium, readers: 0}}\n"));
    world.on(&stack, "apply", &["--yes"]).await.exits(0);
    world.on(&stack, "pause", &["--yes"]).await.exits(0);
    let plan = world.on(&stack, "plan", &["--detailed-exitcode"]).await.exits(0);
    assert!(plan.err.contains("database is paused"), "{}", plan.err);
    let refused = world.on(&stack, "apply", &["--yes"]).await.exits(1);
    assert!(refused.err.contains("is paused") && refused.err.contains("resume"), "{}", refused.err);
    let destroyed = world.on(&stack, "destroy", &["--yes"]).await.exits(0);
    assert!(destroyed.err.contains("AWS deletes nothing of a stopped one"), "{}", destroyed.err);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drill_is_refused_where_it_would_be_a_loss() {
    let world = World::new().await;
    let stack = world.stack("dev.yaml");
    let lone = ["--set", "database.readers=0", "--set", "cache.replicas=0", "--set", "services.web.instances.min=1"];
    world.on(&stack, "apply", &[&lone[..], &["--yes"]].concat()).await.exits(0);
    for (fault, why) in [("db-failover", "one member alone"), ("cache-failover", "one member alone")] {
        let refused = world.on(&stack, "drill", &[fault, "--yes"]).await.exits(1);
        assert!(refused.err.contains(why), "{}", refused.err);
    }
    // Nobody listens behind this load balancer: nothing is broken before the site has been seen well.
    let refused = world.on(&stack, "drill", &["kill-instance", "--yes", "--url", "http://127.0.0.1:9"]).await.exits(1);
    assert!(refused.err.contains("doesn't answer"), "{}", refused.err);
    assert_eq!(fleet(&world).await.present().count(), 2);
}
