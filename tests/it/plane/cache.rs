//! ElastiCache: a primary and a replica with TLS and AUTH, that fail over, asked for and by themselves.

use std::process::{Command, Output};

use ticketctl::local::plane::Entry;

use super::world::{World, kill, listens, said};

const GROUP: &str = "shop-test-redis";
const FIRST: &str = "shop-test-redis-001";
const SECOND: &str = "shop-test-redis-002";
const TOKEN: &str = "a-token-of-at-least-16-characters";

/// Runs a command at a name of the group, as the application would.
fn at(world: &World, endpoint: &str, token: Option<&str>, command: &[&str]) -> Output {
    let address = world.resolve(endpoint).into_iter().next().unwrap_or_else(|| "127.0.0.1".to_owned());
    let mut client = Command::new("redis-cli");
    client.args(["--no-auth-warning", "-e", "-h", &address, "--tls", "--cacert"]).arg(world.authority());
    if let Some(token) = token {
        client.env("REDISCLI_AUTH", token);
    }
    client.args(command).output().expect("redis-cli runs")
}

async fn answers(world: &World, endpoint: &str, command: &[&str], wanted: &str) {
    let look = || {
        let output = at(world, endpoint, Some(TOKEN), command);
        (output.status.success() && said(output) == wanted).then_some(())
    };
    world.until(&format!("{command:?} is answered with {wanted} at {endpoint}"), look).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_replicates_keeps_strangers_out_fails_over_and_goes() {
    let mut world = World::start().await;
    let parameters = "shop-test-redis7";
    let group = world.cx.elasticache.create_cache_parameter_group().cache_parameter_group_name(parameters);
    group.cache_parameter_group_family("redis7").description("of a test").send().await.expect("a parameter group");
    let policy = aws_sdk_elasticache::types::ParameterNameValue::builder()
        .parameter_name("maxmemory-policy")
        .parameter_value("noeviction")
        .build();
    let modify = world.cx.elasticache.modify_cache_parameter_group().cache_parameter_group_name(parameters);
    modify.parameter_name_values(policy).send().await.expect("a parameter");
    world
        .cx
        .elasticache
        .create_replication_group()
        .replication_group_id(GROUP)
        .replication_group_description("of a test")
        .engine("redis")
        .engine_version("7.1")
        .cache_node_type("cache.t3.micro")
        .num_cache_clusters(2)
        .automatic_failover_enabled(true)
        .transit_encryption_enabled(true)
        .auth_token(TOKEN)
        .cache_parameter_group_name(parameters)
        .send()
        .await
        .expect("a group");
    let entries = world.run(&[(FIRST, "primary"), (SECOND, "replica")]).await;
    let described = world.cx.elasticache.describe_replication_groups().send().await.expect("the group");
    let shard = &described.replication_groups()[0].node_groups()[0];
    let endpoint = shard.primary_endpoint().and_then(|endpoint| endpoint.address()).expect("an endpoint").to_owned();
    let reader = shard.reader_endpoint().and_then(|endpoint| endpoint.address()).expect("an endpoint").to_owned();

    answers(&world, &endpoint, &["SET", "hold", "1"], "OK").await;
    answers(&world, &reader, &["GET", "hold"], "1").await;
    answers(&world, &endpoint, &["CONFIG", "GET", "maxmemory-policy"], "maxmemory-policy\nnoeviction").await;
    answers(&world, &endpoint, &["CONFIG", "GET", "maxmemory"], "maxmemory\n536870912").await;
    let stranger = at(&world, &endpoint, None, &["GET", "hold"]);
    assert!(String::from_utf8_lossy(&stranger.stderr).contains("NOAUTH"), "{stranger:?}");
    let mut plain = Command::new("redis-cli");
    let plain = plain.args(["-e", "-h", &world.resolve(&endpoint)[0], "PING"]).output().expect("redis-cli runs");
    assert!(!plain.status.success(), "{plain:?}");

    // Asked for.
    let failover = world.cx.elasticache.test_failover().replication_group_id(GROUP).node_group_id("0001");
    failover.send().await.expect("a failover");
    let moved = world.run(&[(SECOND, "primary"), (FIRST, "replica")]).await;
    assert_eq!(world.resolve(&endpoint), [moved[0].address.trim_end_matches(":6379")]);
    answers(&world, &endpoint, &["GET", "hold"], "1").await;
    answers(&world, &endpoint, &["SET", "hold", "2"], "OK").await;
    answers(&world, &reader, &["GET", "hold"], "2").await;

    // By itself: a primary that dies takes its data with it, so the replica takes over.
    kill(moved[0].pid.expect("a process"));
    let back = world.run(&[(FIRST, "primary"), (SECOND, "replica")]).await;
    assert_eq!(back[0].pid, entries[0].pid);
    answers(&world, &endpoint, &["GET", "hold"], "2").await;
    answers(&world, &reader, &["GET", "hold"], "2").await;

    let pids = |entries: &[Entry]| entries.iter().map(|entry| entry.pid).collect::<Vec<_>>();
    world.kill_supervisor();
    let since = world.status().since;
    world.supervise();
    world.until("another supervisor", || (world.status().since != since).then_some(())).await;
    assert_eq!(pids(&world.run(&[(FIRST, "primary"), (SECOND, "replica")]).await), pids(&back));

    let delete = world.cx.elasticache.delete_replication_group().replication_group_id(GROUP);
    delete.send().await.expect("an end");
    world.until("nothing is left", || world.status().entries.is_empty().then_some(())).await;
    world.until("no address listens", || back.iter().all(|entry| !listens(&entry.address)).then_some(())).await;
    world.kill_supervisor();
    assert_eq!(world.processes(), Vec::<String>::new());
}
