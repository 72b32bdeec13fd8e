//! Golden texts: every diagnostic as people see it.

use super::{accepted, findings, service_with, stack_with};

/// Compares with the golden text, which names neither the expression nor its arguments.
macro_rules! check {
    ($text:expr) => {
        insta::with_settings!({ omit_expression => true }, { insta::assert_snapshot!($text) })
    };
}

/// One text for many cases: the stack file's own lines, then what is said about them.
fn golden(cases: &[String]) -> String {
    let blocks = cases.iter().map(|text| format!("{text}----\n{}\n", findings(text, &[])));
    blocks.collect::<Vec<_>>().join("\n==========\n\n")
}

/// Cases that are part of a small valid stack.
fn stacks(lines: &[&str]) -> String {
    golden(&lines.iter().map(|lines| stack_with(lines)).collect::<Vec<_>>())
}

/// Cases that are part of its service `web`.
fn services(lines: &[&str]) -> String {
    golden(&lines.iter().map(|lines| service_with(lines)).collect::<Vec<_>>())
}

#[test]
fn syntax() {
    let cases = [
        "",
        "# nothing\n",
        "- a\n- b\n",
        "just words\n",
        "project: a\nproject: b\n",
        "project: [a\n",
        "project: a\n  region: b\n",
        "project: *nobody\n",
        "project: a\n---\nproject: b\n",
        "project: \"a\nb: c\n",
    ];
    check!(golden(&cases.map(str::to_owned)));
}

#[test]
fn shape() {
    check!(stacks(&[
        "netwrok: {}\nservice: {}\n",
        "network: {cidr: 10.0.0.0/16, nat: per-zones}\n",
        "network: {zones: a}\n",
        "network: {cidr: 10.0.0.300/16}\n",
        "network: {subnets: {public: [10.0.1.0/24]}}\n",
        "network: [a, b]\n",
        "protect: yes\n",
        "protect: \"true\"\n",
        "logs: {retention: 7}\n",
        "logs: {retention: 7 days}\n",
        "database: {readers: two}\n",
        "database: {readers: 16}\n",
        "database: {readers: 99999999999999999999}\n",
        "database: {readers: 1.5}\n",
        "database: {readers: 010}\n",
        "database: {readers: \"1\"}\n",
        "database: {log_exports: [audit, slow-query]}\n",
        "database:\n",
        "logs:\n  retention:\n",
        "tags: {a: \"x\\ty\"}\n",
        "tags: {a: ⟦vpc⟧}\n",
        "cache: {version: 6.2}\n",
        "alerts: {email: nobody}\n",
    ]));
}

#[test]
fn missing_keys() {
    check!(golden(&["environment: dev\nregoin: ap-northeast-2\n".to_owned(), "{}\n".to_owned()]));
}

#[test]
fn tags_have_no_spaces_at_their_ends() {
    for tags in ["{team: \" a\"}", "{team: \"a \"}", "{\"team \": a}"] {
        let shown = findings(&stack_with(&format!("tags: {tags}\n")), &[]);
        assert!(shown.contains("error[tags]"), "{tags}:\n{shown}");
    }
    accepted(&stack_with("tags: {\"Cost Center\": a b}\n"));
}

#[test]
fn names_and_tags() {
    let long = "project: ticketing-platform-for-all\nenvironment: performance-tests\nregion: ap-northeast-2\n\
                services:\n  web: {artifact: app}\ncache: {}\n";
    let cases = [
        "project: Ticketing\nenvironment: dev-\nregion: ap-northeast-2\n".to_owned(),
        "project: a-name-that-is-longer-than-any-name-may-be\nenvironment: dev\nregion: ap-northeast-2\n".to_owned(),
        long.to_owned(),
        stack_with("services:\n  Web_1: {artifact: app}\n"),
        stack_with("services:\n  cache: {artifact: app}\n"),
        stack_with("services:\n  web: {artifact: app}\n  web-standby: {artifact: app, paths: [\"/b\"]}\n"),
        "project: internal\nenvironment: dev\nregion: ap-northeast-2\nservices:\n  web: {artifact: app}\n".to_owned(),
        stack_with("services:\n  database-1: {artifact: app}\n"),
        "project: sg\nenvironment: dev\nregion: ap-southeast-1\n".to_owned(),
        stack_with("tags: {\"aws:owner\": me, Name: mine, \"a;b\": c, team: \"a;b\"}\n"),
        stack_with("tags: {Team: a, team: b}\n"),
        "project: ticketing\nenvironment: prod\nregion: ap-northeast-2\nprotect: false\n".to_owned(),
    ];
    check!(golden(&cases));
}

#[test]
fn network() {
    let cases = [
        "project: ticketing\nenvironment: dev\nregion: ap-northeast2\n",
        "project: ticketing\nenvironment: dev\nregion: zz-nowhere-1\n",
        "project: ticketing\nenvironment: dev\nregion: eu-west-1\nnetwork: {zones: [a, d]}\n",
        "project: ticketing\nenvironment: dev\nregion: ap-northeast-1\nnetwork: {zones: [a, b]}\n",
    ];
    let lines = [
        "network: {zones: [a]}\n",
        "network: {zones: [a, a, ap-northeast-2a]}\n",
        "network: {zones: [a, us-east-1b]}\n",
        "network: {cidr: 10.0.0.5/16}\n",
        "network: {cidr: 10.0.0.0/8}\n",
        "network: {cidr: 10.0.0.0/24}\n",
        "network: {cidr: 8.8.0.0/16}\n",
        "network:\n  zones: [a, c]\n  subnets:\n    public: [10.0.1.0/24, 10.0.1.128/25]\n    private: [10.0.11.0/24]\n    database: [10.1.0.0/24, 10.0.22.0/29]\n",
        "network:\n  zones: [a, c]\n  subnets:\n    public: [10.0.1.0/28, 10.0.2.1/24]\n    private: [10.0.11.0/24, 10.0.12.0/24]\n    database: [10.0.21.0/24, 10.0.22.0/24]\n",
        "database: {readers: 15}\ncache: {replicas: 5, eviction: {}}\nnetwork:\n  zones: [a, c]\n  subnets:\n    public: [10.0.1.0/24, 10.0.2.0/24]\n    private: [10.0.3.0/24, 10.0.4.0/24]\n    database: [10.0.21.0/28, 10.0.22.0/28]\n",
        "protect: true\nalerts: {email: a@b.example}\nnetwork: {nat: single}\n",
        "network: {endpoints: [com.amazonaws.ap-northeast-2.ssm, SSM, secretmanager]}\n",
        "network: {endpoints: [s3, ecr.api, ecr-api]}\n",
        "network: {cidr: 127.0.0.0/16}\n",
        "network:\n  zones: [a, c]\n  nat: none\n  endpoints: [sts, kms, lambda, rds]\n  subnets:\n    public: [10.0.1.0/24, 10.0.2.0/24]\n    private: [10.0.3.0/28, 10.0.4.0/24]\n    database: [10.0.21.0/24, 10.0.22.0/24]\n",
    ];
    let mut all: Vec<String> = cases.map(str::to_owned).to_vec();
    all.extend(lines.map(stack_with));
    let digest = "0".repeat(64);
    all.push("project: ticketing\nenvironment: dev\nregion: cn-north-1\nnetwork: {nat: none}\n".to_owned());
    all.extend(["docker.io/library/app", "123456789012.dkr.ecr.us-east-1.amazonaws.com/app"].map(|image| {
        stack_with(&format!("network: {{nat: none}}\nservices:\n  web:\n    image: {image}@sha256:{digest}\n"))
    }));
    check!(golden(&all));
}

#[test]
fn services_and_scaling() {
    check!(services(&[
        "instances: {type: t3.mega}",
        "instances: {type: cache.t3.micro}",
        "instances: {type: t9.large}",
        "instances: {min: 5, desired: 3, max: 4}",
        "instances: {min: 5, desired: 3}",
        "instances: {desired: 30}",
        "instances: {min: 30}",
        "instances: {max: 700}",
        "instances: {max: 5000}",
        "scaling: {}",
        "scaling: {steps: {above: 30, below: 70}}",
        "scaling: {requests_per_target: 1000}",
        "scaling: {requests_per_target_per_minute: 1000, expected_peak_requests_per_second: 1234}",
        "scaling: {requests_per_target_per_minute: 100}",
        "scaling: {warmup: 2h, cooldown: 500ms}",
        "health: {path: health, interval: 5s, timeout: 5s, healthy: 1, matcher: ok}",
        "health: {interval: 10m, timeout: 1s}",
        "health: {matcher: 299-200}",
        "scaling: {expected_peak_requests_per_second: 1234}",
        "slow_start: 10s",
        "deregistration_delay: 2h",
        "image: nginx:latest",
        "role: web",
        "port: 80",
        "paths: []",
        "paths: [api, \"/a b\"]",
        "paths: [\"/api/*\"]",
        "paths: [\"/*\", \"/*/*/*\", \"/?/?\", \"/*/*/*/*/*/*\"]",
        "env: {DB_PASSWORD: hunter2, KEY: AKIAIOSFODNN7EXAMPLE, 1X: y}",
        "env: {AWS_REGION: us-east-1, DB_PASS: x, BYPASS: x, A_URL: \"mysql://app:hunter2@db/x\", B_URL: \"https://a.example/b@c:d\"}",
        "args: [serve, --jwt-secret=hunter2, --jwt-secret]",
    ]));
}

#[test]
fn programs() {
    check!(stacks(&[
        "services:\n  web: {}\n",
        &format!("services:\n  web:\n    artifact: app\n    image: x.dkr.ecr.y/z@sha256:{}\n", "0".repeat(64)),
        &format!("services:\n  web: {{build: true, image: x.dkr.ecr.y/z@sha256:{}}}\n", "0".repeat(64)),
        "services:\n  web: {build: true}\n",
        "services:\n  web: {artifact: target/debug/app, build: true}\n",
        "services:\n  web: {artifact: app, build: false}\n",
        "services:\n  web: {artifact: app, build: [make]}\n",
        "services:\n  a: {artifact: app}\n  b: {artifact: app}\n",
        "protect: true\nalerts: {email: a@b.example}\nservices:\n  a: {artifact: app, instances: {min: 1}}\n",
    ]));
}

#[test]
fn ingress() {
    check!(stacks(&[
        "ingress: {}\n",
        "services: {web: {artifact: app}}\ningress: {certificate: mine}\n",
        "services: {web: {artifact: app}}\ningress: {certificate: \"arn:aws:acm:us-east-1:123456789012:certificate/abc\"}\n",
        "services: {web: {artifact: app}}\ningress: {certificate: \"arn:aws:acm:ap-northeast-2:1234:certificate/abc\"}\n",
        "services: {web: {artifact: app}}\ningress: {tls_policy: ELBSecurityPolicy-TLS-1-2-2017-01}\n",
        "services: {web: {artifact: app}}\ningress: {tls_policy: ELBSecurityPolicy-TLS13-1-2-2031-06}\n",
        "services: {web: {artifact: app}}\ningress: {tls_policy: TLS13-1-2-2021-06}\n",
        "services: {web: {artifact: app}}\ningress: {allowed_cidrs: [], idle_timeout: 2h}\n",
        "services: {web: {artifact: app}}\ningress: {allowed_cidrs: [203.0.113.7/24]}\n",
    ]));
}

#[test]
fn database() {
    check!(stacks(&[
        "database: {class: db.t3.mega}\n",
        "database: {class: db.m1.small}\n",
        "database: {class: t3.medium}\n",
        "database: {class: db.r9g.large}\n",
        "database: {class: db.t3.medium, performance_insights: true}\n",
        "database: {version: 8.0.mysql_aurora.3.05.2}\n",
        "database: {version: 8.0}\n",
        "database: {engine: mysql}\n",
        "database: {backup: 36d}\n",
        "database: {backup: 12h, enhanced_monitoring: 20s, slow_query: 0s}\n",
        "database: {backup_window: 03:00-03:10, maintenance_window: \"mon:03:05-mon:04:00\"}\n",
        "database: {backup_window: 3am, maintenance_window: monday}\n",
        "database: {time_zone: Asia/Soul, username: rdsadmin, name: mysql}\n",
        "database: {parameters: {time_zone: UTC, require_secure_transport: \"OFF\", \"a b\": c}}\n",
        "protect: true\nalerts: {email: a@b.example}\ndatabase: {class: db.t3.medium, readers: 0}\n",
        "database: {class: db.t3.medium}\nalerts: {thresholds: {database_connections: 90}}\n",
        "database: {class: db.t3.medium}\nservices: {web: {artifact: app, instances: {max: 40}}}\n",
    ]));
}

#[test]
fn cache() {
    check!(stacks(&[
        "cache: {class: t3.medium}\n",
        "cache: {class: cache.m1.small}\n",
        "cache: {replicas: 0, multi_az: true}\n",
        "cache: {snapshots: 40d, idle_timeout: 5s, eviction: {class: db.t3.medium}}\n",
        "cache: {snapshot_window: 05:00-05:30}\n",
        "cache: {maintenance_window: \"mon:05:00-mon:04:00\"}\n",
        "cache: {class: cache.r6gd.xlarge}\n",
        "protect: true\nalerts: {email: a@b.example}\ncache: {class: cache.t3.micro, replicas: 0}\n",
    ]));
}

#[test]
fn operations() {
    check!(stacks(&[
        "storage: {expire_noncurrent: 1h}\n",
        "protect: true\nalerts: {email: a@b.example}\nstorage: {empty_on_destroy: true}\n",
        "messaging: {visibility: 13h, receive_wait: 30s, retention: 30s}\n",
        "messaging: {retention: 10d, dead_letter_retention: 5d}\n",
        "protect: true\n",
        "protect: true\nalerts: {}\n",
        "alerts: {thresholds: {cpu_warning: 90, queue_age: 0s, healthy_hosts: 3}}\nservices: {web: {artifact: app}}\n",
        "logs: {retention: 10d}\n",
        "logs: {retention: 4000d}\n",
    ]));
}

#[test]
fn set_arguments() {
    let base = service_with("instances: {max: 20}");
    let cases = [
        "region",
        "=x",
        "services..max=1",
        "services.web.instances.mx=40",
        "services.web.instances.max=many",
        "services.web.paths[0]=api",
        "network.zones=[a",
        "network.zones[x]=a",
        "tags.\"open=1",
        "region=",
        "region={a: b}",
        "services.web.env.API_TOKEN=hunter2",
        "extends=other.yaml",
        "tags.owner=⟦x⟧",
    ];
    let blocks = cases.map(|set| format!("--set {set}\n----\n{}\n", findings(&base, &[set])));
    check!(blocks.join("\n==========\n\n"));
}

#[test]
fn expressions() {
    check!(stacks(&[
        "tags:\n  owner: x-${env:OWNER}\n",
        "tags: {owner: \"${env:}\"}\n",
        "tags:\n  owner: ${OWNER}\n",
        "tags:\n  owner: a ${env:NAME\n",
        "logs:\n  retention: ${env:NAME}\n",
    ]));
}

#[test]
fn everything_at_once() {
    let text = "projet: ticketing\nenvironment: dev\nregion: ap-northeast-2\n\
                network:\n  cidr: 10.0.0.0/16\n  zones: [a, e]\n\
                services:\n  web:\n    artifact: app\n    instances: {type: t3.mega, min: 4, max: 2}\n\
                database: {class: db.t3.medium, performance_insights: true, readers: many}\n\
                cache: {replicas: 0, multi_az: true}\n";
    check!(findings(text, &[]));
}

#[test]
fn findings_are_data_as_well() {
    let text = stack_with("network: {zones: [a]}\ndatabase: {readers: many}\n");
    let diagnostics = super::load_with(&text, &[]).expect_err("refused");
    insta::assert_json_snapshot!(diagnostics.to_json());
}
