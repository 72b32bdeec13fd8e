//! What AWS, the disk or the line refuse: each time a clear message, a safe stop, and a run that goes on from there.

use serde_json::{Value, json};
use std::process::Stdio;

use crate::{e2e::world::World, support::Ran};

const NETWORK: &str = "
project: shop
environment: test
region: ap-northeast-2
network: {zones: [a, c], nat: single}
";

fn says(ran: &Ran, words: &[&str]) {
    for word in words {
        assert!(ran.err.contains(word), "no {word:?} in:\n{}", ran.err);
    }
}

async fn goes_on(world: &World, stack: &std::path::Path) {
    world.disturb(json!([])).await;
    world.on(stack, "apply", &["--yes"]).await.exits(0);
    world.on(stack, "plan", &["--detailed-exitcode"]).await.exits(0);
    world.on(stack, "destroy", &["--yes"]).await.exits(0);
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_credentials_are_said_once_and_nothing_is_done() {
    let world = World::new().await;
    let stack = world.write("stack.yaml", NETWORK);
    for code in ["InvalidClientTokenId", "SignatureDoesNotMatch", "AuthFailure", "UnrecognizedClientException"] {
        world.disturb(json!([{"kind": "refuse", "code": code, "status": 403}])).await;
        world.calls().await;
        for verb in ["plan", "apply", "destroy"] {
            let refused = world.on(&stack, verb, if verb == "plan" { &[] } else { &["--yes"] }).await.exits(1);
            says(&refused, &[code, "hint:", "doesn't know these credentials"]);
        }
        let tried_again = world.calls().await.len();
        assert!(tried_again < 150, "{tried_again} calls to hear the same refusal");
    }
    goes_on(&world, &stack).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_credentials_it_is_told_how_to_get_some() {
    let world = World::new().await;
    let stack = world.write("stack.yaml", NETWORK);
    let mut command = world.command(&["plan", "-f", stack.to_str().expect("UTF-8")]);
    command
        .env_remove("AWS_ACCESS_KEY_ID")
        .env_remove("AWS_SECRET_ACCESS_KEY")
        .env("AWS_EC2_METADATA_DISABLED", "true");
    let refused = world.finish(command).await.exits(1);
    says(&refused, &["credentials", "hint:", "--local"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_expires_in_the_middle_stops_the_run_and_the_next_goes_on() {
    let world = World::new().await;
    let stack = world.write("stack.yaml", NETWORK);
    // From the eighth change on, and for the lock as well once it is taken: it can't be given back either.
    let expired = |service: &str, operation: Option<&str>, from: u64| {
        json!({
            "service": service, "operation": operation, "mutating": true, "from": from,
            "kind": "refuse", "code": "ExpiredToken", "status": 403,
        })
    };
    world.disturb(json!([expired("ec2", None, 8), expired("s3", Some("PutObject"), 2)])).await;
    let stopped = world.on(&stack, "apply", &["--yes"]).await.exits(1);
    says(&stopped, &["ExpiredToken", "goes on from here", "log in again"]);
    world.disturb(json!([])).await;
    world.run(&["lock", "break", "--yes", "-f", "stack.yaml"]).await.exits(0);
    goes_on(&world, &stack).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn access_denied_in_the_middle_fails_what_needs_it_and_no_more() {
    let world = World::new().await;
    let stack = world.write("stack.yaml", NETWORK);
    let denied =
        json!([{"operation": "CreateRouteTable", "kind": "refuse", "code": "UnauthorizedOperation", "status": 403}]);
    world.disturb(denied).await;
    world.calls().await;
    let stopped = world.on(&stack, "apply", &["--yes"]).await.exits(1);
    says(&stopped, &["UnauthorizedOperation", "CreateRouteTable", "routes-public", "goes on from here"]);
    let tries = world.calls().await.iter().filter(|call| call["operation"] == "CreateRouteTable").count();
    let tables = 4;
    assert!(tries <= tables, "{tries} tries: a refusal isn't asked again");
    let rows = world.on(&stack, "resources", &["--json"]).await.exits(0).json();
    let there = |id: &str| rows.as_array().expect("a list").iter().any(|row| row["id"] == id);
    assert!(there("vpc") && there("subnet-public-a") && !there("routes-public"), "{rows}");
    goes_on(&world, &stack).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_quota_used_up_in_the_middle_is_named() {
    let world = World::new().await;
    let stack = world.write("stack.yaml", NETWORK);
    let full =
        json!([{"operation": "AllocateAddress", "kind": "refuse", "code": "AddressLimitExceeded", "status": 400}]);
    world.disturb(full).await;
    let stopped = world.on(&stack, "apply", &["--yes"]).await.exits(1);
    says(&stopped, &["AddressLimitExceeded", "AllocateAddress", "address-a", "goes on from here"]);
    goes_on(&world, &stack).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_that_goes_in_the_middle_ends_the_run_before_its_lease() {
    let world = World::new().await;
    let stack = world.write("stack.yaml", NETWORK);
    let gone = |service: Option<&str>, from: u64| {
        let mut fault = json!({"kind": "reset", "from": from});
        if let Some(service) = service {
            fault["service"] = json!(service);
        }
        fault
    };
    // The hundredth call is in the middle of the run.
    world.disturb(json!([gone(None, 100)])).await;
    let begun = std::time::Instant::now();
    let stopped = world.on(&stack, "apply", &["--yes"]).await.exits(1);
    assert!(begun.elapsed() < std::time::Duration::from_secs(150), "{:?}", begun.elapsed());
    says(&stopped, &["hint:", "goes on from here"]);
    world.disturb(json!([])).await;
    world.run(&["lock", "break", "--yes", "-f", "stack.yaml"]).await.exits(0);
    goes_on(&world, &stack).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_that_isnt_there_is_named() {
    let world = World::new().await;
    let stack = world.write("stack.yaml", NETWORK);
    let refused = world.on(&stack, "plan", &["--endpoint-url", "http://127.0.0.1:9"]).await.exits(1);
    says(&refused, &["hint:", "is the endpoint running"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_is_said_and_nothing_is_half_written() {
    let world = World::new().await;
    let stack = world.write("stack.yaml", NETWORK);
    let refused = world.on(&stack, "plan", &["--out", "/dev/full"]).await.exits(1);
    says(&refused, &["can't write /dev/full", "No space left"]);
    let refused = world.on(&stack, "plan", &["--out", "no-such-folder/plan.json"]).await.exits(1);
    says(&refused, &["can't write no-such-folder/plan.json"]);

    // What can't be shown isn't carried out.
    let full = || Stdio::from(std::fs::File::options().write(true).open("/dev/full").expect("a full device"));
    let path = stack.to_str().expect("UTF-8");
    let mut command = world.command(&["apply", "--yes", "-f", path]);
    command.stdout(full());
    let refused = world.finish(command).await.exits(1);
    says(&refused, &["can't be shown", "nothing was changed"]);
    assert_eq!(world.on(&stack, "resources", &["--json"]).await.exits(0).json(), json!([]));

    // Progress that can't be written is no reason to stop in the middle.
    let mut command = world.command(&["apply", "--yes", "-f", path]);
    command.stderr(full());
    world.finish(command).await.exits(0);
    goes_on(&world, &stack).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_goes_into_a_pipe_or_device_and_takes_the_place_of_a_file() {
    let world = World::new().await;
    let stack = world.write("stack.yaml", NETWORK);
    let to_stdout = world.on(&stack, "plan", &["-q", "--out", "/dev/stdout", "--format", "json"]).await.exits(0);
    let mut documents: Vec<Value> =
        serde_json::Deserializer::from_str(&to_stdout.out).into_iter().collect::<Result<_, _>>().expect("JSON");
    // What is shown tells of time and cost as well.
    documents[0].as_object_mut().expect("a plan").shift_remove("outlook").expect("an outlook");
    assert_eq!(documents[1]["plan"], documents[0]);

    let file = world.write("plan.json", "something of before");
    world.on(&stack, "plan", &["--out", file.to_str().expect("UTF-8")]).await.exits(0);
    let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&file).expect("a file").permissions());
    assert_eq!(mode & 0o777, 0o600, "a plan is for its owner's eyes");
    let left: Vec<_> = std::fs::read_dir(world.path(""))
        .expect("the folder")
        .filter_map(|entry| Some(entry.ok()?.file_name()))
        .collect();
    assert!(left.iter().all(|name| !name.to_string_lossy().starts_with(".tmp")), "{left:?}");
}
