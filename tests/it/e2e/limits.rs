//! What a plan on an applied stack may cost, and that it sees no less for it.

use serde_json::Value;
use ticketctl::{engine::Inventory, resource::Scan};

use crate::e2e::world::World;

/// What a plan may keep in memory of its own, in KiB. The rest of the 60 MB are pages of the binary, of which a development
/// build has three times as many as a release build: those are for `make bench`.
const MEMORY: u64 = 20 * 1024;

/// What each call takes longer when the depth is measured: much more than all of them take otherwise.
const DELAY: u64 = 3000;

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_of_the_applied_dev_stack_takes_forty_calls_two_deep() {
    let world = World::new().await;
    let stack = world.stack("dev.yaml");
    world.on(&stack, "apply", &["--yes"]).await.exits(0);
    sees_the_same(&world, "ticketing-dev").await;

    let calls = calls_of_a_plan(&world, &stack).await;
    let names: Vec<_> = calls.iter().map(name).collect();
    assert!(names.len() <= 40, "{} calls: {names:#?}", names.len());
    let mutating: Vec<_> = calls.iter().filter(|call| call["mutating"] != false).map(name).collect();
    assert!(mutating.is_empty(), "a plan changes nothing: {mutating:?}");

    // Whatever waits for one answer begins one delay after the first call, whatever waits for two answers in a row begins two
    // delays after it.
    world.slow_down(DELAY).await;
    world.calls().await;
    let memory = memory_of_a_plan(&world, &stack).await;
    assert!((1..=MEMORY).contains(&memory), "{memory} KiB");
    let calls = world.calls().await;
    let time = |call: &Value| call["time"].as_u64().expect("a time");
    let begun = calls.iter().map(time).min().expect("calls");
    let deep: Vec<_> = calls.iter().filter(|call| time(call) - begun >= 2 * DELAY).map(name).collect();
    assert!(deep.is_empty(), "these waited for more than one answer: {deep:?}");
}

/// The calls of a plan that finds nothing to do.
async fn calls_of_a_plan(world: &World, stack: &std::path::Path) -> Vec<Value> {
    world.calls().await;
    world.on(stack, "plan", &["--detailed-exitcode"]).await.exits(0);
    world.calls().await
}

/// The most memory of its own, in KiB, that a plan that finds nothing to do was seen with.
async fn memory_of_a_plan(world: &World, stack: &std::path::Path) -> u64 {
    let stack = stack.to_str().expect("a path in UTF-8");
    let mut plan = world.command(&["plan", "-f", stack, "--detailed-exitcode"]).spawn().expect("the binary starts");
    let status = format!("/proc/{}/status", plan.id());
    let mut most = 0;
    let ended = loop {
        let told = std::fs::read_to_string(&status).unwrap_or_default();
        let own = told.lines().find_map(|line| line.strip_prefix("RssAnon:")?.split_whitespace().next()?.parse().ok());
        most = most.max(own.unwrap_or(0));
        if let Some(ended) = plan.try_wait().expect("its end") {
            break ended;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    };
    assert!(ended.success(), "{ended}");
    most
}

fn name(call: &Value) -> String {
    format!("{}:{}", call["service"], call["operation"])
}

/// What other listings prove is what a full look sees.
async fn sees_the_same(world: &World, stack: &str) {
    let cx = world.clients_of(stack).await;
    let sparing = Inventory::of(&Scan::sparing(&cx)).await.expect("a sparing look");
    let full = Inventory::take(&cx).await.expect("a full look");
    let ids = |inventory: &Inventory| inventory.resources.keys().cloned().collect::<Vec<_>>();
    assert_eq!(ids(&sparing), ids(&full));
    for (id, owned) in &full.resources {
        let found = &sparing.resources[id].found;
        assert_eq!((&found.id, &found.spec, &found.status), (&owned.found.id, &owned.found.spec, &owned.found.status));
    }
    assert!(sparing.extra.is_empty() && full.extra.is_empty(), "{:?} {:?}", sparing.extra, full.extra);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_with_anything_to_do_rests_on_a_full_look() {
    let world = World::new().await;
    let stack = world.stack("two-services.yaml");
    world.on(&stack, "apply", &["--yes"]).await.exits(0);
    let config = world.on(&stack, "config", &["show", "--json"]).await.json();
    let name =
        format!("{}-{}", config["project"].as_str().expect("text"), config["environment"].as_str().expect("text"));
    sees_the_same(&world, &name).await;

    // Tags aren't told by every proof: still each resource that can be tagged gets the new one.
    let tagged = ["--set", "tags.team=tickets", "--format", "json"];
    let plan = world.on(&stack, "plan", &tagged).await.exits(0).json();
    let changed: Vec<_> = plan["changes"].as_array().expect("a list").iter().filter_map(|c| c["id"].as_str()).collect();
    for id in ["vpc", "internet-gateway", "load-balancer", "target-group-api", "launch-template-api", "address-a"] {
        assert!(changed.contains(&id), "{id} in {changed:?}");
    }

    // What proves the address is gone, and so the address itself is looked for.
    let cx = world.clients().await;
    let gateways = cx.ec2.describe_nat_gateways().send().await.expect("NAT gateways");
    for gateway in gateways.nat_gateways() {
        let id = gateway.nat_gateway_id().unwrap_or_default();
        cx.ec2.delete_nat_gateway().nat_gateway_id(id).send().await.expect("deleted");
    }
    let plan = world.on(&stack, "plan", &["--format", "json"]).await.exits(0).json();
    let created: Vec<_> =
        plan["changes"].as_array().expect("a list").iter().filter(|c| c["action"] == "create").collect();
    assert!(created.iter().all(|change| change["kind"] != "address"), "{created:?}");
    assert!(created.iter().any(|change| change["kind"] == "nat_gateway"), "{created:?}");
}
