//! What a plan on an applied stack may cost.

use serde_json::json;
use std::time::Instant;

use crate::e2e::world::World;

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_of_the_applied_dev_stack_takes_forty_calls_two_deep() {
    let world = World::new().await;
    let stack = World::stack("dev.yaml");
    world.on(&stack, "apply", &["--yes"]).await.exits(0);
    world.calls().await;
    world.on(&stack, "plan", &["--detailed-exitcode"]).await.exits(0);
    let recorded = world.calls().await;
    let names: Vec<_> = recorded.iter().map(|call| format!("{}:{}", call["service"], call["operation"])).collect();
    assert!(names.len() <= 40, "{} calls: {names:#?}", names.len());
    assert!(recorded.iter().all(|call| call["mutating"] == json!(false)), "a plan changes nothing: {recorded:#?}");

    // With much time added to each call, depth shows as time.
    world.slow_down(1500).await;
    let begun = Instant::now();
    world.on(&stack, "plan", &["--detailed-exitcode"]).await.exits(0);
    let depth = begun.elapsed().as_secs_f64() / 1.5;
    assert!(depth < 3.0, "{depth:.1} calls deep");
}
