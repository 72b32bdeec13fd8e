//! Any valid stack can be made, turned into any other one, and taken away again.
//!
//! A few pairs of stacks are tried each time. `TICKETCTL_CASES=50` tries more, `TICKETCTL_SEED=7` begins with another one:
//! the seed of a case that fails stands in what it printed, and brings exactly this case again.

mod stacks;

use proptest::{
    strategy::{Strategy, ValueTree},
    test_runner::{Config, RngAlgorithm, TestRng, TestRunner},
};
use serde_json::Value;
use std::path::Path;

use crate::e2e::{life::destroyed, world::World};

/// How many cases are tried unless the environment says otherwise.
const CASES: u64 = 2;

#[tokio::test(flavor = "multi_thread")]
async fn any_stack_is_made_turned_into_another_and_taken_away() {
    let number = |name: &str, default: u64| match std::env::var(name) {
        Ok(text) => text.parse().unwrap_or_else(|_| panic!("{name} is a number, not {text}")),
        Err(_) => default,
    };
    let first = number("TICKETCTL_SEED", 1);
    for seed in first..first + number("TICKETCTL_CASES", CASES) {
        let (before, after) = pair(seed);
        eprintln!("TICKETCTL_SEED={seed} TICKETCTL_CASES=1 brings this case:\n{before}\nthen\n{after}");
        lives(&before, &after).await;
    }
}

/// The two stacks of a seed.
fn pair(seed: u64) -> (Value, Value) {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let random = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
    let mut runner = TestRunner::new_with_rng(Config { failure_persistence: None, ..Config::default() }, random);
    stacks::pair().new_tree(&mut runner).expect("a strategy that refuses nothing").current()
}

async fn lives(before: &Value, after: &Value) {
    let world = World::new().await;
    let certificate = world.request_certificate().await;
    world.program(0);
    let write =
        |stack: &Value| world.write("stack.yaml", &stack.to_string().replace(stacks::CERTIFICATE, &certificate));
    for stack in [before, after] {
        let file = write(stack);
        apply(&world, &file).await;
        world.on(&file, "plan", &["--detailed-exitcode"]).await.exits(0);
        // A full look finds no more than a sparing one.
        world.on(&file, "drift", &["--detailed-exitcode"]).await.exits(0);
    }
    destroyed(&world, &world.path("stack.yaml"), &[]).await;
}

/// Applies, and lets go what data the refusal names.
async fn apply(world: &World, file: &Path) {
    let applied = world.on(file, "apply", &["--yes"]).await;
    let flag = "--allow-data-loss '";
    let named: Vec<&str> = applied.err.split(flag).skip(1).filter_map(|rest| rest.split('\'').next()).collect();
    if named.is_empty() {
        applied.exits(0);
    } else {
        let allowed = named.into_iter().flat_map(|id| ["--allow-data-loss", id]);
        world.on(file, "apply", &[&["--yes"], &*allowed.collect::<Vec<_>>()].concat()).await.exits(0);
    }
}
