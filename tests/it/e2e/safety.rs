//! Nothing happens unasked, twice, or at the same time.

use serde_json::json;
use std::{process::Stdio, time::Duration};

use crate::e2e::world::{NETWORK, World};

#[tokio::test(flavor = "multi_thread")]
async fn without_a_terminal_and_without_yes_nothing_is_changed() {
    let world = World::new().await;
    let stack = world.write("stack.yaml", NETWORK);
    let refused = world.on(&stack, "apply", &[]).await.exits(1);
    assert!(refused.err.contains("--yes"), "{}", refused.err);
    let rows = world.on(&stack, "resources", &["--json"]).await.exits(0).json();
    assert_eq!(rows, json!([]));
    // The refusal gave the lock back.
    let lock = world.run(&["lock", "status", "-f", stack.to_str().expect("UTF-8")]).await.exits(0);
    assert_eq!(lock.out, "Free.\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_saved_plan_is_refused_when_aws_has_moved() {
    let world = World::new().await;
    let stack = world.write("stack.yaml", NETWORK);
    world.on(&stack, "apply", &["--yes"]).await.exits(0);
    let file = world.path("plan.json");
    let file = file.to_str().expect("UTF-8");
    let change = ["--set", "tags.team=tickets"];
    world.on(&stack, "plan", &[&change[..], &["--out", file]].concat()).await.exits(0);

    let cx = world.clients().await;
    let vpcs = cx.ec2.describe_vpcs().send().await.expect("vpcs");
    let ours = vpcs.vpcs().iter().find(|vpc| vpc.is_default() != Some(true)).expect("our VPC");
    let off = aws_sdk_ec2::types::AttributeBooleanValue::builder().value(false).build();
    let id = ours.vpc_id().unwrap_or_default();
    cx.ec2.modify_vpc_attribute().vpc_id(id).enable_dns_hostnames(off).send().await.expect("changed");
    let refused = world.on(&stack, "apply", &["--plan", file, "--yes"]).await.exits(1);
    assert!(refused.err.contains("moved") && refused.err.contains("vpc"), "{}", refused.err);

    world.on(&stack, "apply", &["--yes"]).await.exits(0);
    world.on(&stack, "plan", &[&change[..], &["--out", file]].concat()).await.exits(0);
    world.on(&stack, "apply", &["--plan", file]).await.exits(0);
    world.on(&stack, "plan", &[&change[..], &["--detailed-exitcode"]].concat()).await.exits(0);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_applies_at_once_one_is_told_who_has_the_lock() {
    let world = World::new().await;
    let stack = world.write("stack.yaml", NETWORK);
    world.slow_down(150).await;
    let (first, second) = tokio::join!(world.on(&stack, "apply", &["--yes"]), world.on(&stack, "apply", &["--yes"]));
    let (won, lost) = if first.code == 0 { (first, second) } else { (second, first) };
    won.exits(0);
    let lost = lost.exits(1);
    assert!(lost.err.contains("locked by"), "{}", lost.err);
    world.on(&stack, "plan", &["--detailed-exitcode"]).await.exits(0);
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_kill_the_next_apply_goes_on_and_nothing_is_there_twice() {
    let world = World::new().await;
    let stack = world.write("stack.yaml", NETWORK);
    world.slow_down(60).await;
    for pause in [400, 900, 1500] {
        let mut child = world.command(&["apply", "-f", "stack.yaml", "--yes"]);
        let mut child = child.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("starts");
        tokio::time::sleep(Duration::from_millis(pause)).await;
        child.kill().expect("killed");
        child.wait().expect("waited for");
        world.run(&["lock", "break", "--yes", "-f", "stack.yaml"]).await.exits(0);
    }
    world.on(&stack, "apply", &["--yes"]).await.exits(0);
    let rows = world.on(&stack, "resources", &["--json"]).await.exits(0).json();
    let mut ids: Vec<_> = rows.as_array().expect("a list").iter().map(|row| row["id"].to_string()).collect();
    let all = ids.len();
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), all, "{rows}");
    world.on(&stack, "plan", &["--detailed-exitcode"]).await.exits(0);
    world.on(&stack, "destroy", &["--yes"]).await.exits(0);
}

#[tokio::test(flavor = "multi_thread")]
async fn ctrl_c_stops_in_order_and_gives_the_lock_back() {
    let world = World::new().await;
    let stack = world.write("stack.yaml", NETWORK);
    world.slow_down(100).await;
    let child = world.command(&["apply", "-f", "stack.yaml", "--yes"]).spawn().expect("starts");
    tokio::time::sleep(Duration::from_millis(1800)).await;
    let pid = child.id().to_string();
    tokio::process::Command::new("kill").args(["-INT", &pid]).status().await.expect("kill runs");
    let output =
        tokio::task::spawn_blocking(move || child.wait_with_output()).await.expect("no panic").expect("waited for");
    let err = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(130), "{err}");
    assert!(err.contains("stopping"), "{err}");
    let lock = world.run(&["lock", "status", "-f", "stack.yaml"]).await.exits(0);
    assert_eq!(lock.out, "Free.\n", "{err}");
    world.on(&stack, "apply", &["--yes"]).await.exits(0);
    world.on(&stack, "plan", &["--detailed-exitcode"]).await.exits(0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_destroy_that_is_stuck_names_who_is_in_its_way() {
    let world = World::new().await;
    let stack = world.write("stack.yaml", NETWORK);
    world.on(&stack, "apply", &["--yes"]).await.exits(0);
    let cx = world.clients().await;
    let subnets = cx.ec2.describe_subnets().send().await.expect("subnets");
    let ours =
        |subnet: &&aws_sdk_ec2::types::Subnet| subnet.tags().iter().any(|t| t.value() == Some("subnet-private-a"));
    let subnet = subnets.subnets().iter().find(ours).and_then(|subnet| subnet.subnet_id()).expect("our subnet");
    let made =
        cx.ec2.create_network_interface().subnet_id(subnet).description("somebody's").send().await.expect("made");
    let interface = made.network_interface().and_then(|i| i.network_interface_id()).expect("an id").to_owned();

    let stuck = world.on(&stack, "destroy", &["--yes"]).await.exits(1);
    assert!(stuck.err.contains(&interface) && stuck.err.contains("somebody's"), "{}", stuck.err);
    // Everything that isn't held back is gone, and what is can be finished later.
    let rows = world.on(&stack, "resources", &["--json"]).await.exits(0).json();
    let left: Vec<_> = rows.as_array().expect("a list").iter().filter_map(|row| row["id"].as_str()).collect();
    assert_eq!(left, ["subnet-private-a", "vpc"]);
    cx.ec2.delete_network_interface().network_interface_id(interface).send().await.expect("deleted");
    world.on(&stack, "destroy", &["--yes"]).await.exits(0);
}
