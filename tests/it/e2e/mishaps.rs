//! What goes wrong around a run, and doesn't matter.

use serde_json::{Value, json};
use std::io::Read;

use crate::e2e::world::{NETWORK, World};

async fn vpcs(world: &World) -> usize {
    let answer = world.clients().await.ec2.describe_vpcs().send().await.expect("vpcs");
    answer.vpcs().iter().filter(|vpc| vpc.is_default() != Some(true)).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lock_whose_taking_was_not_answered_is_still_ours() {
    let world = World::new().await;
    let stack = world.write("stack.yaml", NETWORK);
    world.disturb(json!([{"service": "s3", "operation": "PutObject", "nth": 1, "kind": "lost_answer"}])).await;
    world.on(&stack, "apply", &["--yes"]).await.exits(0);
    world.on(&stack, "plan", &["--detailed-exitcode"]).await.exits(0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_lock_is_said_and_can_be_broken() {
    let world = World::new().await;
    let stack = world.write("stack.yaml", NETWORK);
    world.on(&stack, "apply", &["--yes"]).await.exits(0);
    let cx = world.clients().await;
    let bucket = format!("ticketctl-{}-ap-northeast-2", cx.account().await.expect("an account"));
    let put = cx.s3.put_object().bucket(bucket).key("stacks/shop-test/lock.json");
    put.body(b"not JSON".to_vec().into()).send().await.expect("written");
    let refused = world.on(&stack, "apply", &["--yes"]).await.exits(1);
    assert!(refused.err.contains("lock break"), "{}", refused.err);
    world.run(&["lock", "break", "-f", "stack.yaml"]).await.exits(0);
    world.on(&stack, "apply", &["--yes"]).await.exits(0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_create_call_without_an_answer_isnt_sent_again_while_lists_lag_behind() {
    let world = World::new().await;
    let stack = world.write("stack.yaml", NETWORK);
    world
        .disturb(json!([
            {"operation": "CreateVpc", "nth": 1, "kind": "lost_answer"},
            {"service": "ec2", "kind": "list_lag", "seconds": 1},
        ]))
        .await;
    world.on(&stack, "apply", &["--yes"]).await.exits(0);
    world.disturb(json!([])).await;
    assert_eq!(vpcs(&world).await, 1);
    world.on(&stack, "plan", &["--detailed-exitcode"]).await.exits(0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_made_isnt_made_again_when_a_call_that_completes_it_fails_while_lists_lag_behind() {
    completed_after("throttle", 2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_made_isnt_made_again_when_the_answer_that_completes_it_is_lost_while_lists_lag_behind() {
    completed_after("lost_answer", 6).await;
}

/// The calls that complete what was made fail the first time, and EC2's lists lag behind by so many seconds.
async fn completed_after(failure: &str, seconds: u64) {
    let world = World::new().await;
    let stack = world.write("stack.yaml", NETWORK);
    let completing = ["ModifyVpcAttribute", "AttachInternetGateway", "CreateRoute", "AssociateRouteTable"];
    let failing = completing.map(|operation| json!({"operation": operation, "nth": 1, "kind": failure}));
    let lagging = json!({"service": "ec2", "kind": "list_lag", "seconds": seconds});
    world.disturb(failing.into_iter().chain([lagging]).collect()).await;
    world.on(&stack, "apply", &["--yes"]).await.exits(0);
    world.disturb(json!([])).await;
    assert_eq!(vpcs(&world).await, 1);
    world.on(&stack, "plan", &["--detailed-exitcode"]).await.exits(0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_goes_on_when_nobody_reads_its_progress_any_more() {
    let world = World::new().await;
    let stack = world.write("stack.yaml", NETWORK);
    world.slow_down(50).await;
    let mut child = world.command(&["apply", "-f", "stack.yaml", "--yes"]).spawn().expect("starts");
    let status = tokio::task::spawn_blocking(move || {
        let mut first = [0; 1];
        child.stderr.take().expect("piped").read_exact(&mut first).expect("some progress");
        // The end of the pipe is closed from here on.
        let mut plan = String::new();
        child.stdout.take().expect("piped").read_to_string(&mut plan).expect("the plan");
        child.wait().expect("waited for")
    });
    let status = status.await.expect("no panic");
    assert_eq!(status.code(), Some(0));
    world.on(&stack, "plan", &["--detailed-exitcode"]).await.exits(0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_that_somebody_has_changed_is_refused_in_words() {
    let world = World::new().await;
    let stack = world.write("stack.yaml", NETWORK);
    let path = world.path("plan.json");
    let file = path.to_str().expect("UTF-8");
    world.on(&stack, "plan", &["--out", file]).await.exits(0);
    let text = std::fs::read_to_string(&path).expect("the plan");
    let changed = |change: fn(&mut Value)| {
        let mut plan: Value = serde_json::from_str(&text).expect("JSON");
        change(&mut plan);
        std::fs::write(&path, plan.to_string()).expect("written");
    };
    changed(|plan| plan["blueprint"]["nodes"]["vpc"]["kind"] = json!("teapot"));
    let refused = world.on(&stack, "apply", &["--plan", file]).await.exits(1);
    assert!(refused.err.contains("teapot") && refused.err.contains("hint:"), "{}", refused.err);
    changed(|plan| plan["plan"]["format_version"] = json!(99));
    let refused = world.on(&stack, "apply", &["--plan", file]).await.exits(1);
    assert!(refused.err.contains("99"), "{}", refused.err);
    assert_eq!(vpcs(&world).await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_destroy_asks_for_no_image() {
    let world = World::new().await;
    let stack = world.stack("dev.yaml");
    world.disturb(json!([{"service": "ssm", "operation": "GetParameters", "kind": "internal_error"}])).await;
    let done = world.on(&stack, "destroy", &["--yes"]).await.exits(0);
    assert!(done.out.contains("owns nothing"), "{}", done.out);
}
