//! Valid stacks of every shape.

use proptest::{
    collection::btree_map,
    option,
    prelude::*,
    sample::{select, subsequence},
};
use serde_json::{Map, Value, json};

/// Stands for the ARN of a certificate that exists.
pub const CERTIFICATE: &str = "arn:aws:acm:ap-northeast-2:123456789012:certificate/any";

/// Two stacks of one name. The VPC's range stays: a change of it is refused.
pub fn pair() -> impl Strategy<Value = (Value, Value)> {
    select(vec!["10.0.0.0/16", "10.8.0.0/18", "172.16.0.0/20", "192.168.8.0/22"])
        .prop_flat_map(|cidr| (stack(cidr), stack(cidr)))
}

fn stack(cidr: &'static str) -> impl Strategy<Value = Value> {
    let data = (option::of(database()), option::of(cache()), option::of(storage()), option::of(messaging()));
    (network(cidr), services(), ingress(), data, option::of(alerts()), logs(), tags()).prop_map(
        |(network, services, ingress, (database, cache, storage, messaging), alerts, logs, tags)| {
            let services = with_programs(services, network["nat"] == "none");
            let mut stack = json!({
                "project": "shop", "environment": "test", "region": "ap-northeast-2", "protect": false,
                "network": network, "services": services, "ingress": ingress, "logs": logs, "tags": tags,
            });
            let parts = [
                ("database", database),
                ("cache", cache),
                ("storage", storage),
                ("messaging", messaging),
                ("alerts", alerts),
            ];
            for (key, part) in parts.into_iter().filter_map(|(key, part)| Some((key, part?))) {
                stack[key] = part;
            }
            stack
        },
    )
}

fn network(cidr: &'static str) -> impl Strategy<Value = Value> {
    let zones = subsequence(vec!["a", "b", "c", "d"], 2..=4).prop_shuffle();
    let nat = select(vec!["per-zone", "single", "none"]);
    let endpoints = subsequence(vec!["sts", "kms", "ecr.api"], 0..=2);
    (zones, nat, endpoints, any::<bool>()).prop_map(move |(zones, nat, endpoints, flow_logs)| {
        json!({"cidr": cidr, "zones": zones, "nat": nat, "endpoints": endpoints, "flow_logs": flow_logs})
    })
}

/// Up to three services, which share out the paths among them.
fn services() -> impl Strategy<Value = Map<String, Value>> {
    let names = subsequence(vec!["web", "api", "queue", "staff"], 0..=3).prop_shuffle();
    let paths = Just(vec!["/*", "/api/*", "/queue", "/img/?.png", "/staff/*"]).prop_shuffle();
    (names, paths, prop::collection::vec(service(), 3)).prop_map(|(names, paths, services)| {
        let count = names.len();
        let mut named = Map::new();
        for (index, (name, mut service)) in names.into_iter().zip(services).enumerate() {
            service["paths"] = paths.iter().skip(index).step_by(count).copied().collect();
            named.insert(name.to_owned(), service);
        }
        named
    })
}

fn service() -> impl Strategy<Value = Value> {
    let env = btree_map("[A-Z]{3,8}", "[a-z0-9 ]{0,8}", 0..=2);
    let args = prop::collection::vec("[a-z-]{1,8}", 0..=2);
    let role = select(vec!["all", "api", "queue", "staff", "worker"]);
    let drain = (select(vec!["0s", "30s", "2m"]), select(vec!["0s", "30s", "1h"]));
    (any::<bool>(), 1024_u16.., role, args, env, instances(), scaling(), health(), drain).prop_map(
        |(in_image, port, role, args, env, instances, scaling, health, (slow_start, drain))| {
            json!({
                "image": in_image, "port": port, "role": role, "args": args, "env": env, "instances": instances,
                "scaling": scaling, "health": health, "slow_start": slow_start, "deregistration_delay": drain,
                "rollout": {"bake": "0s"},
            })
        },
    )
}

/// Says what each service runs: an image, or the tests' program, which is made for this machine's kind of processor. Without
/// NAT an image can come from AWS's own registry only.
fn with_programs(mut services: Map<String, Value>, without_nat: bool) -> Map<String, Value> {
    let registry = if without_nat { "123456789012.dkr.ecr.ap-northeast-2.amazonaws.com" } else { "docker.io" };
    for (name, service) in services.iter_mut().filter_map(|(name, service)| Some((name, service.as_object_mut()?))) {
        let in_image = service.remove("image") == Some(json!(true));
        if in_image || service["instances"]["type"] != "t3.medium" {
            service.insert("image".into(), format!("{registry}/shop/{name}@sha256:{}", "0".repeat(64)).into());
        } else {
            service.insert("artifact".into(), "program".into());
        }
    }
    services
}

fn instances() -> impl Strategy<Value = Value> {
    let kind = select(vec!["t3.medium", "t4g.small", "m7g.large"]);
    (kind, 0..=2_u32, 0..=2_u32, 1..=3_u32, 8..=40_u32, any::<bool>()).prop_map(
        |(kind, min, more, most, volume, detailed)| {
            json!({
                "type": kind, "min": min, "desired": min + more, "max": min + more + most, "volume": volume,
                "detailed_monitoring": detailed,
            })
        },
    )
}

fn scaling() -> impl Strategy<Value = Value> {
    let steps = (0..=49_u32, 50..=100_u32, 1..=5_u32, 1..=5_u32)
        .prop_map(|(below, above, add, remove)| json!({"below": below, "above": above, "add": add, "remove": remove}));
    let requests = option::of(select(vec![3000, 60000]));
    (option::of(10..=90_u32), requests, option::of(steps), seconds(0..=3600), seconds(0..=3600)).prop_map(
        |(cpu, requests, steps, warmup, cooldown)| {
            let policies = present([
                ("cpu", cpu.map(Value::from)),
                ("requests_per_target_per_minute", requests.map(Value::from)),
                ("steps", steps),
            ]);
            with(policies, json!({"warmup": warmup, "cooldown": cooldown}))
        },
    )
}

fn health() -> impl Strategy<Value = Value> {
    let path = select(vec!["/", "/api/health/ready"]);
    let matcher = select(vec!["200", "200,204", "200-299"]);
    (path, seconds(6..=300), seconds(2..=5), 2..=10_u32, 2..=10_u32, matcher, seconds(0..=7200)).prop_map(
        |(path, interval, timeout, healthy, unhealthy, matcher, grace)| {
            json!({
                "path": path, "interval": interval, "timeout": timeout, "healthy": healthy, "unhealthy": unhealthy,
                "matcher": matcher, "grace": grace,
            })
        },
    )
}

fn ingress() -> impl Strategy<Value = Value> {
    let allowed = subsequence(vec!["0.0.0.0/0", "192.0.2.0/24", "198.51.100.7/32"], 1..=3);
    let policy = select(vec!["ELBSecurityPolicy-TLS13-1-2-Res-PQ-2025-09", "ELBSecurityPolicy-TLS13-1-2-2021-06"]);
    (any::<bool>(), any::<bool>(), seconds(1..=4000), allowed, policy).prop_map(
        |(secure, access_logs, idle_timeout, allowed, policy)| {
            let certificate = present([("certificate", secure.then(|| CERTIFICATE.into()))]);
            with(
                certificate,
                json!({
                    "access_logs": access_logs, "idle_timeout": idle_timeout, "allowed_cidrs": allowed,
                    "tls_policy": policy,
                }),
            )
        },
    )
}

/// A daily and a weekly window: touching, over midnight, over the end of the week.
fn windows() -> impl Strategy<Value = (&'static str, &'static str)> {
    select(vec![
        ("03:00-04:00", "mon:04:00-mon:05:00"),
        ("04:00-05:00", "tue:03:00-tue:04:00"),
        ("23:30-00:30", "sun:02:00-sun:03:00"),
        ("12:00-13:00", "tue:23:30-wed:00:30"),
        ("13:00-14:00", "sun:23:30-mon:00:30"),
    ])
}

fn database() -> impl Strategy<Value = Value> {
    let class = select(vec!["db.t3.medium", "db.t4g.medium", "db.r6g.large"]);
    let exports = subsequence(vec!["audit", "error", "general", "slowquery"], 0..=4);
    let parameters = subsequence(vec![("max_connections", "500"), ("innodb_lock_wait_timeout", "20")], 0..=2);
    let monitoring = select(vec!["0s", "15s", "60s"]);
    let called = (select(vec!["ticketing", "shop"]), select(vec!["UTC", "Asia/Seoul"]), any::<bool>());
    (class, 0..=2_u32, days(1..=35), windows(), exports, parameters, seconds(1..=3600), monitoring, called).prop_map(
        |(class, readers, backup, (daily, weekly), exports, parameters, slow, monitoring, (name, zone, last))| {
            let parameters: Map<_, _> =
                parameters.into_iter().map(|(name, value)| (name.to_owned(), value.into())).collect();
            json!({
                "class": class, "readers": readers, "backup": backup, "backup_window": daily,
                "maintenance_window": weekly, "log_exports": exports, "parameters": parameters, "slow_query": slow,
                "enhanced_monitoring": monitoring, "name": name, "time_zone": zone, "final_snapshot": last,
            })
        },
    )
}

fn cache() -> impl Strategy<Value = Value> {
    let class = || select(vec!["cache.t3.micro", "cache.t4g.small", "cache.r7g.large"]);
    let eviction = (class(), 0..=2_u32).prop_map(|(class, replicas)| json!({"class": class, "replicas": replicas}));
    let version = select(vec!["7.0", "7.1"]);
    let idle = select(vec!["0s", "20s", "5m"]);
    (version, class(), 0..=2_u32, any::<bool>(), days(0..=35), windows(), idle, option::of(eviction)).prop_map(
        |(version, class, replicas, spread, snapshots, (daily, weekly), idle, eviction)| {
            let eviction = present([("eviction", eviction)]);
            with(
                eviction,
                json!({
                    "version": version, "class": class, "replicas": replicas, "multi_az": spread && replicas > 0,
                    "snapshots": snapshots, "snapshot_window": daily, "maintenance_window": weekly,
                    "idle_timeout": idle,
                }),
            )
        },
    )
}

fn storage() -> impl Strategy<Value = Value> {
    (any::<bool>(), days(1..=3650), days(1..=365)).prop_map(|(versioning, expire, abort)| {
        json!({"versioning": versioning, "expire_noncurrent": expire, "abort_uploads": abort})
    })
}

fn messaging() -> impl Strategy<Value = Value> {
    let times = (seconds(0..=43_200), seconds(60..=604_800), seconds(0..=20), seconds(0..=900));
    (times, 1024..=262_144_u32, 1..=1000_u32, seconds(604_800..=1_209_600)).prop_map(
        |((visibility, retention, wait, delay), bytes, receives, letters)| {
            json!({
                "visibility": visibility, "retention": retention, "receive_wait": wait, "delay": delay,
                "max_message_bytes": bytes, "max_receives": receives, "dead_letter_retention": letters,
            })
        },
    )
}

fn alerts() -> impl Strategy<Value = Value> {
    let email = option::of(select(vec!["ops@example.com", "night@example.com"]));
    (email, 1..=100_u32, 50..=70_u32, 71..=95_u32, seconds(1..=3600)).prop_map(|(email, errors, early, cpu, age)| {
        let thresholds = json!({"target_5xx": errors, "cpu_warning": early, "cpu": cpu, "queue_age": age});
        with(present([("email", email.map(Value::from))]), json!({"thresholds": thresholds}))
    })
}

fn logs() -> impl Strategy<Value = Value> {
    select(vec!["1d", "7d", "30d", "3653d"]).prop_map(|retention| json!({"retention": retention}))
}

fn tags() -> impl Strategy<Value = Value> {
    let keys = select(vec!["team", "Cost Center", "owner"]);
    btree_map(keys, "[A-Za-z0-9]([A-Za-z0-9 @._-]{0,10}[A-Za-z0-9])?", 0..=3).prop_map(|tags| json!(tags))
}

fn seconds(range: std::ops::RangeInclusive<u32>) -> impl Strategy<Value = String> {
    range.prop_map(|seconds| format!("{seconds}s"))
}

fn days(range: std::ops::RangeInclusive<u32>) -> impl Strategy<Value = String> {
    range.prop_map(|days| format!("{days}d"))
}

/// An object of what is there.
fn present<const N: usize>(parts: [(&str, Option<Value>); N]) -> Map<String, Value> {
    parts.into_iter().filter_map(|(key, part)| Some((key.to_owned(), part?))).collect()
}

/// The one object with the other's fields.
fn with(mut object: Map<String, Value>, more: Value) -> Value {
    let Value::Object(more) = more else { panic!("{more} is no object") };
    object.extend(more);
    Value::Object(object)
}
