//! The user's tags are on everything that can carry tags, and follow the stack file.

use serde_json::json;
use std::{collections::BTreeSet, process::Stdio, time::Duration};

use crate::e2e::world::{NETWORK, World};

/// What AWS gives no tags to.
const TAGLESS: [&str; 2] = ["scaling_policy", "subscription"];

#[tokio::test(flavor = "multi_thread")]
async fn a_new_tag_reaches_everything_that_can_carry_one_in_place() {
    let world = World::new().await;
    let stack = world.stack("two-services.yaml");
    let email = ["--set", "alerts.email=ops@example.com"];
    world.on(&stack, "apply", &[&email[..], &["--yes"]].concat()).await.exits(0);

    let team = [&email[..], &["--set", "tags.team=tickets"]].concat();
    let plan = world.on(&stack, "plan", &[&team[..], &["--format", "json"]].concat()).await.exits(0).json();
    let changes = plan["changes"].as_array().expect("a list");
    assert!(changes.iter().all(|change| change["action"] == "update"), "{plan}");
    let tag = json!({"path": "tags.team", "before": null, "after": "tickets", "effect": "in-place"});
    let tagged = changes.iter().filter(|change| change["attributes"].as_array().is_some_and(|all| all.contains(&tag)));
    let tagged: BTreeSet<_> = tagged.filter_map(|change| change["id"].as_str()).collect();
    let rows = world.on(&stack, "resources", &["--json"]).await.exits(0).json();
    let taggable =
        rows.as_array().expect("a list").iter().filter(|row| !TAGLESS.iter().any(|kind| row["kind"] == *kind));
    let taggable: BTreeSet<_> = taggable.filter_map(|row| row["id"].as_str()).collect();
    assert_eq!(tagged, taggable);

    world.on(&stack, "apply", &[&team[..], &["--yes"]].concat()).await.exits(0);
    world.on(&stack, "plan", &[&team[..], &["--detailed-exitcode"]].concat()).await.exits(0);
    world.on(&stack, "drift", &[&team[..], &["--detailed-exitcode"]].concat()).await.exits(0);
    seen_from_outside(&world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_of_tags_that_was_cut_off_is_not_taken_for_done() {
    let world = World::new().await;
    let stack = world.write("stack.yaml", &format!("{NETWORK}messaging: {{}}\n"));
    world.on(&stack, "apply", &["--yes"]).await.exits(0);
    world.disturb(json!([{"operation": "TagQueue", "nth": 1, "kind": "pause", "when": "before"}])).await;
    let team = ["--set", "tags.team=tickets"];
    let mut cut_off = world.command(&[&["apply", "-f", "stack.yaml", "--yes"], &team[..]].concat());
    let mut cut_off = cut_off.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("starts");
    while !world.calls().await.iter().any(|call| call["phase"] == "paused_before") {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    // Whatever else is under way has time to end.
    tokio::time::sleep(Duration::from_secs(1)).await;
    cut_off.kill().expect("killed");
    cut_off.wait().expect("waited for");
    world.disturb(json!([])).await;
    world.on(&stack, "plan", &[&team[..], &["--detailed-exitcode"]].concat()).await.exits(2);
    world.run(&["lock", "break", "--yes", "-f", "stack.yaml"]).await.exits(0);
    world.on(&stack, "apply", &[&team[..], &["--yes"]].concat()).await.exits(0);
    world.on(&stack, "plan", &[&team[..], &["--detailed-exitcode"]].concat()).await.exits(0);
}

/// The tag where no listing tells it, read with other eyes than ours.
async fn seen_from_outside(world: &World) {
    let cx = world.clients().await;
    let queues = cx.sqs.list_queues().send().await.expect("queues");
    for queue in queues.queue_urls() {
        let tags = cx.sqs.list_queue_tags().queue_url(queue).send().await.expect("tags");
        assert_eq!(tags.tags().and_then(|tags| tags.get("team")).map(String::as_str), Some("tickets"), "{queue}");
    }
    let alarms = cx.cloudwatch.describe_alarms().send().await.expect("alarms");
    for alarm in alarms.metric_alarms() {
        let arn = alarm.alarm_arn().unwrap_or_default();
        let tags = cx.cloudwatch.list_tags_for_resource().resource_arn(arn).send().await.expect("tags");
        assert!(tags.tags().iter().any(|tag| tag.key() == Some("team")), "{arn}");
    }
    let roles = cx.iam.list_roles().path_prefix("/ticketctl/").send().await.expect("roles");
    for role in roles.roles() {
        let tags = cx.iam.list_role_tags().role_name(role.role_name()).send().await.expect("tags");
        assert!(tags.tags().iter().any(|tag| tag.key() == "team"), "{}", role.role_name());
    }
}
