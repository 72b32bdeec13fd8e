//! New releases: they come in without a gap, and go again when they are bad.

use aws_sdk_cloudwatch::types::StateValue;
use aws_sdk_ec2::types::RequestLaunchTemplateData;
use aws_sdk_elasticloadbalancingv2::types::TargetDescription;
use jiff::Timestamp;
use serde_json::Value;
use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    process::Stdio,
    sync::Arc,
    time::Duration,
};
use ticketctl::{
    resource::launch_template,
    rollout::{fleet::Fleet, release},
};

use crate::e2e::world::World;

const GROUP: &str = "ticketing-dev-web-asg";
const SOON: [&str; 4] = ["--set", "services.web.rollout.bake=0s", "--set", "services.web.health.grace=1s"];

async fn fleet(world: &World) -> Fleet {
    Fleet::look(&world.clients().await, GROUP).await.expect("looked at").expect("a group")
}

fn ids(fleet: &Fleet) -> BTreeSet<String> {
    fleet.present().map(|member| member.id.clone()).collect()
}

/// Every instance runs `release`, as many as before, and nothing of the rollout is left.
async fn runs(world: &World, release: u64) -> Fleet {
    let fleet = fleet(world).await;
    assert_eq!((fleet.release, fleet.desired, fleet.min, fleet.max), (release, 2, 2, 20), "{fleet:?}");
    assert_eq!(fleet.present().map(|member| member.release).collect::<Vec<_>>(), [release, release], "{fleet:?}");
    assert!(!fleet.tags.contains_key("ticketctl:rollout"), "{fleet:?}");
    fleet
}

/// A stack with its first release.
async fn first() -> (World, PathBuf) {
    let world = World::new().await;
    let stack = world.stack("dev.yaml");
    world.on(&stack, "apply", &[&SOON[..], &["--yes"]].concat()).await.exits(0);
    runs(&world, 1).await;
    (world, stack)
}

async fn deploy(world: &World, stack: &Path, more: &[&str], code: i32) -> crate::support::Ran {
    world.on(stack, "deploy", &[&SOON[..], &["--yes"], more].concat()).await.exits(code)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_build_replaces_every_instance_and_can_be_taken_back() {
    let (world, stack) = first().await;
    let before = ids(&fleet(&world).await);
    world.program(1);
    deploy(&world, &stack, &[], 0).await;
    let after = runs(&world, 2).await;
    assert!(before.is_disjoint(&ids(&after)), "{before:?} {after:?}");
    world.on(&stack, "plan", &[&SOON[..], &["--detailed-exitcode"]].concat()).await.exits(0);
    let again = deploy(&world, &stack, &[], 0).await;
    assert!(again.err.contains("Nothing new to deploy"), "{}", again.err);

    world.on(&stack, "rollback", &["--yes"]).await.exits(0);
    runs(&world, 1).await;
    let releases = world.on(&stack, "releases", &["--json"]).await.exits(0).json();
    let told =
        |release: &Value| (release["number"].as_u64(), release["current"] == true, release["rolled_back"] == true);
    let all: Vec<_> = releases["web"].as_array().expect("a list").iter().map(told).collect();
    assert_eq!(all, [(Some(2), false, true), (Some(1), true, false)], "{releases}");
    assert_eq!(releases["web"][0]["previous"], 1);
    assert_ne!(releases["web"][0]["program"], releases["web"][1]["program"]);
    // The stack file still names the build that was taken back: nobody brings it back unasked.
    let plan = world.on(&stack, "plan", &[&SOON[..], &["--detailed-exitcode"]].concat()).await.exits(0);
    assert!(plan.err.contains("was given up"), "{}", plan.err);
    world.on(&stack, "rollback", &["web", "2", "--yes"]).await.exits(0);
    runs(&world, 2).await;
    let refused = world.on(&stack, "rollback", &["web", "9", "--yes"]).await.exits(1);
    assert!(refused.err.contains("no release 9"), "{}", refused.err);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_apply_that_changes_the_machines_rolls_as_well() {
    let (world, stack) = first().await;
    let before = ids(&fleet(&world).await);
    let kind = ["--set", "services.web.instances.type=t3.large", "--yes"];
    world.on(&stack, "apply", &[&SOON[..], &kind].concat()).await.exits(0);
    assert!(before.is_disjoint(&ids(&runs(&world, 2).await)));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_alarm_brings_the_release_before_back() {
    let (world, stack) = first().await;
    world.program(1);
    let bake = ["--set", "services.web.rollout.bake=60s"];
    let rolling = deploy(&world, &stack, &bake, 1);
    let alarm = async {
        let cx = world.clients().await;
        while fleet(&world).await.present().any(|member| member.release == 1) {
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        let call = cx.cloudwatch.set_alarm_state().alarm_name("ticketing-dev/alarm-web-target-5xx");
        call.state_value(StateValue::Alarm).state_reason("a test").send().await.expect("set");
    };
    let (failed, ()) = tokio::join!(rolling, alarm);
    assert!(failed.err.contains("release 2 was given up, release 1 runs again"), "{}", failed.err);
    assert!(failed.err.contains("alarm-web-target-5xx went off"), "{}", failed.err);
    runs(&world, 1).await;
    // An apply doesn't bring it back, and a deploy does: the alarm was going off before it began. The same change after the
    // same release is the same release.
    let kept = world.on(&stack, "apply", &[&SOON[..], &["--yes"]].concat()).await.exits(0);
    assert!(kept.err.contains("was given up"), "{}", kept.err);
    runs(&world, 1).await;
    deploy(&world, &stack, &[], 0).await;
    runs(&world, 2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn errors_count_only_if_there_are_more_than_before() {
    let (world, stack) = first().await;
    let target = fleet(&world).await.target_groups.remove(0);
    let errors = async |before: f64, first: f64, second: f64| {
        let now = Timestamp::now().as_second();
        // The rollout begins in this minute or in the next.
        let minute = (now / 60 + 1) * 60;
        let counts = [(now - 120, before), (minute, first), (minute + 60, second)];
        world.server_errors(&target, &counts).await;
    };
    errors(50.0, 20.0, 20.0).await;
    world.program(1);
    deploy(&world, &stack, &[], 0).await;
    runs(&world, 2).await;

    errors(0.0, 500.0, 5000.0).await;
    world.program(2);
    let failed = deploy(&world, &stack, &[], 1).await;
    assert!(failed.err.contains("release 3 was given up, release 2 runs again"), "{}", failed.err);
    assert!(failed.err.contains("answers with 5xx within 5 minutes"), "{}", failed.err);
    runs(&world, 2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_machine_image_stays_until_the_newest_is_asked_for() {
    let (world, stack) = first().await;
    let cx = world.clients().await;
    let template = fleet(&world).await.template;
    let image = async || {
        let current = launch_template::version(&cx, &template, launch_template::CURRENT).await.expect("asked");
        current.and_then(|current| current.launch_template_data?.image_id).expect("an image")
    };
    let newest = image().await;
    // Release 2 has another image, as if the newest had been another one when it was made.
    let images = cx.ec2.describe_images().owners("amazon").send().await.expect("images");
    let older = images.images().iter().find_map(|other| other.image_id().filter(|id| *id != newest)).expect("another");
    let data = RequestLaunchTemplateData::builder().image_id(older).build();
    let call = cx.ec2.create_launch_template_version().launch_template_id(&template).source_version("1");
    call.launch_template_data(data).send().await.expect("a version");
    release::make_current(&cx, GROUP, &template, 2).await.expect("made current");
    world.on(&stack, "plan", &[&SOON[..], &["--detailed-exitcode"]].concat()).await.exits(0);
    assert_eq!(image().await, older);

    deploy(&world, &stack, &["--newest-image"], 0).await;
    runs(&world, 3).await;
    assert_eq!(image().await, newest);
    world.on(&stack, "plan", &[&SOON[..], &["--detailed-exitcode"]].concat()).await.exits(0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_never_gets_healthy_replaces_nothing() {
    let (world, stack) = first().await;
    // A second release, so that the way back leads to the one before and not to the first or the newest.
    let quick = ["--set", "services.web.health.interval=5s", "--set", "services.web.health.timeout=2s"];
    let other = ["--set", "services.web.artifact=/bin/true", "--yes"];
    world.on(&stack, "apply", &[&SOON[..], &quick, &other].concat()).await.exits(0);
    let before = ids(&runs(&world, 2).await);
    world.program(1);
    let world = Arc::new(world);
    let spoiler = tokio::spawn({
        let world = world.clone();
        async move {
            // The load balancer never finds an instance of the third release.
            let cx = world.clients().await;
            loop {
                let fleet = fleet(&world).await;
                for member in fleet.present().filter(|member| member.release == 3) {
                    let target = TargetDescription::builder().id(&member.id).build();
                    let call = cx.elb.deregister_targets().target_group_arn(&fleet.target_groups[0]).targets(target);
                    call.send().await.expect("deregistered");
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    });
    let failed = deploy(&world, &stack, &quick, 1).await;
    spoiler.abort();
    assert!(failed.err.contains("was given up, release 2 runs again"), "{}", failed.err);
    assert_eq!(ids(&runs(&world, 2).await), before);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deploy_that_was_killed_is_ended_by_the_next_run() {
    let (world, stack) = first().await;
    world.program(1);
    let file = stack.to_str().expect("UTF-8");
    world.slow_down(150).await;
    let arguments = [&["deploy", "-f", file, "--yes"], &SOON[..]].concat();
    let child = world.command(&arguments).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
    let mut child = child.expect("starts");
    // In the middle: the group has grown, and both releases are there.
    while fleet(&world).await.members.iter().map(|member| member.release).collect::<BTreeSet<_>>().len() < 2 {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    child.kill().expect("killed");
    child.wait().expect("waited for");
    world.slow_down(0).await;
    world.run(&["lock", "break", "--yes", "-f", file]).await.exits(0);
    world.on(&stack, "apply", &[&SOON[..], &["--yes"]].concat()).await.exits(0);
    runs(&world, 2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_built_or_cannot_run_is_refused_before_anything_is_made() {
    let world = World::new().await;
    let stack = world.stack("dev.yaml");
    std::fs::remove_file(world.path("program")).expect("it was there");
    // A plan can be looked at; an apply needs something to run.
    let plan = world.on(&stack, "plan", &[]).await.exits(0);
    assert!(plan.err.contains("isn't there yet; apply needs it"), "{}", plan.err);
    let refused = world.on(&stack, "apply", &["--yes"]).await.exits(1);
    assert!(refused.err.contains("program isn't there") && refused.err.contains("cargo build"), "{}", refused.err);
    world.write("program", "#!/bin/sh\n");
    let refused = world.on(&stack, "apply", &["--yes"]).await.exits(1);
    assert!(refused.err.contains("no executable"), "{}", refused.err);
    let rows = world.on(&stack, "resources", &["--json"]).await.exits(0).json();
    assert_eq!(rows, serde_json::json!([]));

    // A build command makes it; what runs already stays where the file is gone later.
    let build = ["--set", "services.web.build=cp /bin/true program"];
    world.on(&stack, "apply", &[&build[..], &["--yes"]].concat()).await.exits(0);
    std::fs::remove_file(world.path("program")).expect("it was built");
    let kept = world.on(&stack, "plan", &["--detailed-exitcode"]).await.exits(0);
    assert!(kept.err.contains("its instances keep what they run"), "{}", kept.err);
    let failed = world.on(&stack, "apply", &["--set", "services.web.build=exit 3", "--yes"]).await.exits(1);
    assert!(failed.err.contains("the build failed"), "{}", failed.err);
}

#[tokio::test(flavor = "multi_thread")]
async fn cargo_builds_what_the_artifact_s_path_says() {
    let world = World::new().await;
    let stack = world.stack("dev.yaml");
    std::fs::create_dir_all(world.path("shop/src/bin")).expect("a folder");
    world.write("shop/Cargo.toml", "[package]\nname = \"shop\"\nversion = \"1.0.0\"\nedition = \"2021\"\n");
    world.write("shop/src/bin/till.rs", "fn main() { println!(\"open\"); }");
    let built = |verb: &str, artifact: &str| {
        let artifact = format!("services.web.artifact={artifact}");
        let mut command = world
            .command(&[&[verb, "--yes", "--set", "services.web.build=true", "--set", &artifact], &SOON[..]].concat());
        command.arg("-f").arg(&stack);
        // The toolchain is at home somewhere else, and the target directory of this build isn't that one's.
        for name in ["CARGO_HOME", "RUSTUP_HOME"] {
            let home =
                std::env::home_dir().expect("a home").join(if name == "CARGO_HOME" { ".cargo" } else { ".rustup" });
            command.env(name, std::env::var_os(name).unwrap_or_else(|| home.into()));
        }
        command.env("CARGO_TARGET_DIR", world.path("elsewhere"));
        command
    };
    let lost = world.finish(built("apply", "shop/target/release/counter")).await.exits(1);
    assert!(
        lost.err.contains("no bin target named `counter`") && lost.err.contains("the build failed"),
        "{}",
        lost.err
    );
    let bare = world.finish(built("apply", "release/till")).await.exits(1);
    assert!(bare.err.contains("finds no Cargo.toml"), "{}", bare.err);
    let mut moved = built("apply", "shop/target/release/till");
    moved.env("CARGO_BUILD_TARGET", format!("{}-unknown-linux-gnu", std::env::consts::ARCH));
    let moved = world.finish(moved).await.exits(1);
    assert!(moved.err.contains("and the artifact is shop/target/release/till"), "{}", moved.err);

    let first = world.finish(built("apply", "shop/target/release/till")).await.exits(0);
    assert!(first.err.contains("Building: cargo build --release --workspace --bin till, in "), "{}", first.err);
    let said = std::process::Command::new(world.path("shop/target/release/till")).output().expect("it runs");
    assert_eq!(said.stdout, b"open\n");
    runs(&world, 1).await;
    // Other sources are another release; the same ones are none.
    world.write("shop/src/bin/till.rs", "fn main() { println!(\"closed\"); }");
    world.finish(built("deploy", "shop/target/release/till")).await.exits(0);
    runs(&world, 2).await;
    let again = world.finish(built("deploy", "shop/target/release/till")).await.exits(0);
    assert!(again.err.contains("Nothing new to deploy"), "{}", again.err);
}
