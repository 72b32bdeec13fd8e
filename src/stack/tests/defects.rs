//! The defects of published stacks of this kind, by number: each is impossible here or refused.
//!
//! Where the defect is about what a stack becomes in AWS, the test that shows it belongs to the blueprint; the table
//! then names what has to be shown there, and the test here shows that the stack file has no way to ask for it.

use schemars::Schema;
use serde_json::Value as Json;

use super::super::schema::schema;
use super::{accepted, codes, findings, service_with, stack_with};

/// How a defect is kept out.
enum Kept {
    /// This stack is refused, or warned about, with this code.
    Refused { text: String, code: &'static str },
    /// The schema has no key with any of these words in it.
    NoKeyFor(&'static [&'static str]),
    /// The typed stack says so.
    ByType(fn() -> bool),
    /// It isn't a matter of the stack file: where it is shown.
    Elsewhere(&'static str),
}
use Kept::{ByType, Elsewhere, NoKeyFor, Refused};

/// Number, what is wrong, and how it is kept out.
fn defects() -> Vec<(u8, &'static str, Vec<Kept>)> {
    let refused = |lines: &str, code| Refused { text: stack_with(lines), code };
    let service = |lines: &str, code| Refused { text: service_with(lines), code };
    vec![
        (1, "the configuration doesn't parse", vec![refused("tags: {a: b; c: d}\n  x: [\n", "syntax")]),
        (2, "outputs fail on sensitive values", vec![NoKeyFor(&["password"])]),
        (
            3,
            "arguments that the provider no longer has",
            vec![
                refused("cache: {replication_group_description: x}\n", "unknown-key"),
                refused("cache: {auth_token_enabled: true}\n", "unknown-key"),
            ],
        ),
        (
            4,
            "Performance Insights on db.t3",
            vec![refused("database: {class: db.t3.medium, performance_insights: true}\n", "performance-insights")],
        ),
        (
            5,
            "an image without a registry, so that boot aborts",
            vec![
                service("image: \"\"", "value"),
                service("image: app:latest", "value"),
                Refused { text: stack_with("services: {web: {}}\n"), code: "program" },
            ],
        ),
        (
            6,
            "the health check asks for a path that the program doesn't have",
            vec![
                ByType(|| accepted(&service_with("port: 8080")).stack.services["web"].health.path == "/healthz"),
                service("health: {path: health}", "health"),
            ],
        ),
        (
            7,
            "clients without TLS",
            vec![
                NoKeyFor(&["transit", "ssl"]),
                refused("database: {parameters: {require_secure_transport: \"OFF\"}}\n", "parameter"),
            ],
        ),
        (
            8,
            "alarms that never match, tell nobody, or aren't there",
            vec![
                Elsewhere("blueprint: every alarm has dimensions made of references, treat_missing_data and a runbook"),
                Refused { text: stack_with("protect: true\nalerts: {}\n"), code: "nobody-told?" },
                refused(
                    "database: {class: db.t3.medium}\nalerts: {thresholds: {database_connections: 90}}\n",
                    "threshold?",
                ),
            ],
        ),
        (
            9,
            "a scaling target per minute that was meant per second",
            vec![
                service(
                    "scaling: {requests_per_target_per_minute: 1000, expected_peak_requests_per_second: 1234}",
                    "scaling",
                ),
                service("scaling: {requests_per_target_per_minute: 1000}", "scaling?"),
                service("scaling: {requests_per_target: 1000}", "unknown-key"),
            ],
        ),
        (
            10,
            "a launch template version or image that floats",
            vec![
                NoKeyFor(&["ami", "latest"]),
                Elsewhere("blueprint: the ASG names a numbered version, and the image comes from the facts"),
            ],
        ),
        (
            11,
            "secrets in plain text",
            vec![
                NoKeyFor(&["password", "secret", "token"]),
                service("env: {DB_PASSWORD: hunter2}", "secret"),
                service("env: {REDIS_AUTH_TOKEN: abc}", "secret"),
                service("env: {UPLOADER: AKIAIOSFODNN7EXAMPLE}", "secret"),
            ],
        ),
        (
            12,
            "no NAT and no endpoints, so that nothing boots",
            vec![ByType(|| {
                let stack = accepted(&stack_with("network: {nat: none}\n")).stack;
                let endpoints = stack.interface_endpoints();
                ["ec2", "ssm", "ssmmessages", "secretsmanager", "logs", "monitoring", "sqs", "sns"]
                    .iter()
                    .all(|needed| endpoints.iter().any(|endpoint| endpoint == needed))
            })],
        ),
        (
            13,
            "a Redis that may evict locks and holds",
            vec![
                NoKeyFor(&["maxmemory", "lru"]),
                Elsewhere(
                    "blueprint: the parameter group of `cache` says noeviction, only that of `cache.eviction` an LRU",
                ),
            ],
        ),
        (
            14,
            "permissions too wide or missing",
            vec![
                NoKeyFor(&["iam", "permission", "hop"]),
                Elsewhere(
                    "blueprint: inline policies name the stack's own ARNs, and none has a bare `*` with a write action",
                ),
            ],
        ),
        (
            15,
            "audit logs exported but not written",
            vec![
                refused("database: {parameters: {server_audit_logging: \"0\"}}\n", "parameter"),
                Elsewhere("blueprint: `audit` in log_exports sets server_audit_logging; user-data logs where it says"),
            ],
        ),
        (
            16,
            "bucket names, destroy, sticky sessions, SSH",
            vec![
                NoKeyFor(&["sticki", "ssh", "bucket_name"]),
                ByType(|| {
                    let stack = accepted(&stack_with("storage: {}\n")).stack;
                    let defaults = (stack.ingress.access_logs, stack.network.flow_logs);
                    defaults == (true, true) && stack.storage.expect("a bucket").empty_on_destroy
                }),
            ],
        ),
        (17, "the program itself", vec![Elsewhere("the ticketing crate's own tests")]),
        (18, "no tests", vec![Elsewhere("this table, and every other test of the repository")]),
    ]
}

/// All keys that a stack file may have.
fn keys(schema: &Schema) -> Vec<String> {
    fn collect(value: &Json, keys: &mut Vec<String>) {
        if let Some(properties) = value["properties"].as_object() {
            keys.extend(properties.keys().cloned());
        }
        match value {
            Json::Object(map) => map.values().for_each(|value| collect(value, keys)),
            Json::Array(items) => items.iter().for_each(|value| collect(value, keys)),
            _ => {}
        }
    }
    let mut found = Vec::new();
    collect(schema.as_value(), &mut found);
    found
}

#[test]
fn all_eighteen_are_kept_out() {
    let keys = keys(&schema());
    assert!(keys.iter().any(|key| key == "requests_per_target_per_minute"), "keys are found at every depth");
    let numbers: Vec<u8> = defects().iter().map(|defect| defect.0).collect();
    assert_eq!(numbers, (1..=18).collect::<Vec<_>>());
    for (number, what, kept) in defects() {
        for how in kept {
            match how {
                Refused { text, code } => {
                    let found = codes(&text);
                    let said = findings(&text, &[]);
                    assert!(found.iter().any(|found| found == code), "{number} ({what}): no `{code}` in\n{said}");
                }
                NoKeyFor(words) => {
                    let key = keys.iter().find(|key| words.iter().any(|word| key.contains(word)));
                    assert_eq!(key, None, "{number} ({what}): there is a key for it");
                }
                ByType(holds) => assert!(holds(), "{number} ({what}): doesn't hold"),
                Elsewhere(place) => assert!(!place.is_empty(), "{number} ({what}): say where it is shown"),
            }
        }
    }
}
