//! Blue-green and canary: a second group, a growing share of the requests, an instant return.

use aws_sdk_cloudwatch::types::StateValue;
use jiff::Timestamp;
use serde_json::json;
use std::{path::PathBuf, time::Duration};
use ticketctl::rollout::fleet::Fleet;

use crate::e2e::world::World;

const OWN: &str = "ticketing-dev-web-asg";
const SECOND: &str = "ticketing-dev-web-asg-standby";
const SOON: [&str; 4] = ["--set", "services.web.rollout.bake=0s", "--set", "services.web.health.grace=1s"];

async fn fleet(world: &World, group: &str) -> Option<Fleet> {
    Fleet::look(&world.clients().await, group).await.expect("looked at")
}

/// What part of the requests goes to the second group, in percent; none while there is but one.
async fn share(world: &World) -> Option<i32> {
    let cx = world.clients().await;
    let balancers = cx.elb.describe_load_balancers().send().await.expect("load balancers");
    let arn = balancers.load_balancers()[0].load_balancer_arn().expect("an ARN").to_owned();
    let listeners = cx.elb.describe_listeners().load_balancer_arn(arn).send().await.expect("listeners");
    let config = listeners.listeners()[0].default_actions()[0].forward_config().cloned();
    let groups = config.map(|config| config.target_groups().to_vec()).unwrap_or_default();
    groups.iter().find(|group| group.target_group_arn().unwrap_or_default().contains("standby"))?.weight()
}

async fn first() -> (World, PathBuf) {
    let world = World::new().await;
    let stack = world.stack("dev.yaml");
    world.on(&stack, "apply", &[&SOON[..], &["--yes"]].concat()).await.exits(0);
    world.program(1);
    (world, stack)
}

/// One group that runs `release`, all requests to it, and nothing for a plan to do.
async fn settled(world: &World, stack: &std::path::Path, release: u64) {
    let own = fleet(world, OWN).await.expect("a group");
    assert_eq!((own.release, own.desired, own.min, own.max), (release, 2, 2, 20), "{own:?}");
    assert!(own.present().all(|member| member.release == release), "{own:?}");
    assert!(fleet(world, SECOND).await.is_none());
    assert_eq!(share(world).await, None);
    world.on(stack, "plan", &[&SOON[..], &["--detailed-exitcode"]].concat()).await.exits(0);
}

#[tokio::test(flavor = "multi_thread")]
async fn blue_green_keeps_the_old_instances_for_an_instant_return() {
    let (world, stack) = first().await;
    let strategy = ["--strategy", "blue-green", "--yes"];
    let done = world.on(&stack, "deploy", &[&SOON[..], &strategy].concat()).await.exits(0);
    for weight in [10, 50, 100] {
        assert!(done.err.contains(&format!("{weight} % of the requests")), "{}", done.err);
    }
    let (own, second) = (fleet(&world, OWN).await.expect("old"), fleet(&world, SECOND).await.expect("new"));
    assert_eq!((own.release, own.desired, second.release, second.desired), (1, 2, 2, 2));
    assert_eq!(share(&world).await, Some(100));
    let file = world.path("plan.json");
    let out = ["--out", file.to_str().expect("UTF-8")];
    let plan = world.on(&stack, "plan", &[&SOON[..], &out].concat()).await.exits(0);
    assert!(plan.err.contains("a second group is there"), "{}", plan.err);
    // That plan doesn't name the end of the deployment, so carrying it out doesn't bring it.
    let refused = world.on(&stack, "apply", &["--plan", out[1]]).await.exits(1);
    assert!(refused.err.contains("under way; nothing was changed"), "{}", refused.err);
    assert_eq!(share(&world).await, Some(100));

    world.on(&stack, "rollback", &["--yes"]).await.exits(0);
    settled(&world, &stack, 1).await;

    // Once more, and this time to its end.
    world.on(&stack, "deploy", &[&SOON[..], &strategy].concat()).await.exits(0);
    world.on(&stack, "apply", &[&SOON[..], &["--yes"]].concat()).await.exits(0);
    settled(&world, &stack, 2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_alarm_takes_the_requests_back() {
    let (world, stack) = first().await;
    let arguments = ["--strategy", "blue-green", "--yes", "--set", "services.web.rollout.bake=30s"];
    let alarm = async {
        let cx = world.clients().await;
        while share(&world).await != Some(10) {
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        let call = cx.cloudwatch.set_alarm_state().alarm_name("ticketing-dev/alarm-web-target-5xx");
        call.state_value(StateValue::Alarm).state_reason("a test").send().await.expect("set");
    };
    let more = [&SOON[2..], &arguments].concat();
    let (failed, ()) = tokio::join!(world.on(&stack, "deploy", &more), alarm);
    let failed = failed.exits(1);
    assert!(failed.err.contains("release 2 was given up, release 1 runs again"), "{}", failed.err);
    settled(&world, &stack, 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn errors_of_the_second_group_take_the_requests_back() {
    let (world, stack) = first().await;
    let arguments = ["--strategy", "blue-green", "--yes", "--set", "services.web.rollout.bake=30s"];
    let errors = async {
        while share(&world).await != Some(10) {
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        let target = fleet(&world, SECOND).await.expect("a second group").target_groups.remove(0);
        world.server_errors(&target, &[(Timestamp::now().as_second(), 11.0)]).await;
    };
    let more = [&SOON[2..], &arguments].concat();
    let (failed, ()) = tokio::join!(world.on(&stack, "deploy", &more), errors);
    let failed = failed.exits(1);
    assert!(failed.err.contains("release 2 was given up, release 1 runs again"), "{}", failed.err);
    assert!(failed.err.contains("11 answers with 5xx within 5 minutes"), "{}", failed.err);
    settled(&world, &stack, 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pause_ends_the_deployment_first() {
    let (world, stack) = first().await;
    world.on(&stack, "deploy", &[&SOON[..], &["--strategy", "blue-green", "--yes"]].concat()).await.exits(0);
    world.on(&stack, "pause", &[&SOON[..], &["--yes"]].concat()).await.exits(0);
    let own = fleet(&world, OWN).await.expect("a group");
    assert_eq!((own.release, own.desired, own.present().count()), (2, 0, 0), "{own:?}");
    assert!(fleet(&world, SECOND).await.is_none());
    world.on(&stack, "resume", &[&SOON[..], &["--yes"]].concat()).await.exits(0);
    settled(&world, &stack, 2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_canary_goes_first_and_the_others_follow() {
    let (world, stack) = first().await;
    let done = world.on(&stack, "deploy", &[&SOON[..], &["--strategy", "canary", "--yes"]].concat()).await.exits(0);
    assert!(done.err.contains("a second group with 1 of release 2"), "{}", done.err);
    settled(&world, &stack, 2).await;
    world.on(&stack, "destroy", &["--yes"]).await.exits(0);
    let rows = world.on(&stack, "resources", &["--json"]).await.exits(0).json();
    assert_eq!(rows, json!([]));
}
