//! What people read, word for word: plans and the errors that everybody meets sooner or later.

use serde_json::Value;
use std::collections::BTreeMap;

use super::{
    Failure,
    apply::guard_data,
    plan::{SavedPlan, make},
    run::verdict,
};
use crate::{
    aws::Error,
    blueprint::{Blueprint, Facts, compile},
    engine::{
        self, Action, Event, Gap, Inventory, Outcome, Owned, Plan, Report,
        lock::{Lease, LockError},
        plan_destroy,
    },
    resource::{self, Found, Outputs, Status, Target},
    stack::load_text,
    ui,
};

const BEFORE: &str = "
project: shop
environment: test
region: ap-northeast-2
network: {zones: [a, c], nat: single, flow_logs: false}
database: {readers: 0, log_exports: [error], enhanced_monitoring: 0s}
storage: {}
";

/// A larger machine, slow queries sooner, a way out per zone, a Redis that the endpoint lacks; files no longer.
const AFTER: &str = "
project: shop
environment: test
region: ap-northeast-2
network: {zones: [a, c], nat: per-zone, flow_logs: false}
database: {readers: 0, log_exports: [error], enhanced_monitoring: 0s, class: db.r6g.xlarge, slow_query: 1s}
cache: {replicas: 0, multi_az: false}
";

fn blueprint(file: &str) -> Blueprint {
    let loaded = load_text("stack.yaml", file.as_bytes(), &[]).unwrap_or_else(|refused| panic!("{refused}"));
    let facts = Facts {
        account: "123456789012".into(),
        partition: "aws".into(),
        region: "ap-northeast-2".into(),
        images: BTreeMap::new(),
        artifacts: BTreeMap::new(),
        subnets: BTreeMap::new(),
    };
    compile(&loaded.stack, &facts)
}

/// What AWS has after `blueprint` was applied: every id and output is called after what it belongs to.
fn applied(blueprint: &Blueprint) -> Inventory {
    let value = |target: &Target| match &target.output {
        None => format!("{}-0123", target.id),
        Some(output) => format!("{}-{output}", target.id),
    };
    let mut outputs: BTreeMap<String, Outputs> = BTreeMap::new();
    for target in blueprint.nodes.values().flat_map(|node| resource::targets(&node.spec)) {
        if let Some(output) = &target.output {
            outputs.entry(target.id.clone()).or_default().insert(output.clone(), value(&target));
        }
    }
    let resources = blueprint.nodes.iter().map(|(id, node)| {
        let kind = resource::by_name(&node.kind).expect("registered");
        let resolved = resource::resolve(&node.spec, &|target| Some(value(target)));
        let found = Found {
            logical_id: id.clone(),
            id: format!("{id}-0123"),
            spec: kind.canonical(resolved, None).expect("a spec of its kind"),
            outputs: outputs.remove(id).unwrap_or_default(),
            tags: Some(node.tags.clone()),
            status: Status::Ready,
        };
        (id.clone(), Owned { kind, found })
    });
    Inventory { resources: resources.collect(), ..Inventory::default() }
}

fn planned(blueprint: &Blueprint, inventory: &Inventory) -> Plan {
    engine::plan(blueprint, inventory).unwrap_or_else(|cycle| panic!("{cycle}"))
}

/// A plan with everything that a plan can have.
fn change() -> (Plan, Inventory) {
    let mut inventory = applied(&blueprint(BEFORE));
    // Somebody made another subnet of it.
    inventory.resources.get_mut("subnet-database-c").expect("a subnet").found.spec["cidr"] = "10.0.99.0/24".into();
    let reason = || "LocalStack 4.14.0 has no elasticache".to_owned();
    let kinds = ["cache_subnet_group", "cache_parameter_group", "replication_group"];
    inventory.gaps = kinds.map(|kind| Gap { kind, reason: reason() }).into();
    (planned(&blueprint(AFTER), &inventory), inventory)
}

fn plain(text: &str) -> String {
    anstream::adapter::strip_str(text).to_string()
}

macro_rules! check {
    ($text:expr) => {
        insta::with_settings!({ omit_expression => true }, { insta::assert_snapshot!($text) })
    };
}

#[test]
fn plan_as_text() {
    check!(plain(&ui::text::plan(&change().0, ui::text::Detail::default())));
}

#[test]
fn plan_as_markdown() {
    check!(ui::markdown::plan(&change().0));
}

#[test]
fn plan_as_json() {
    let plan = serde_json::to_value(change().0).expect("plain data");
    // What is created is long and tells nothing about the form that one of them doesn't.
    let mut created = 0;
    let mut short = plan.clone();
    let changes = short["changes"].as_array_mut().expect("a list");
    changes.retain(|change| {
        created += u32::from(change["action"] == "create");
        change["action"] != "create" || created == 1
    });
    check!(serde_json::to_string_pretty(&short).expect("plain data"));
}

#[test]
fn nothing_to_do_and_everything_to_take_away() {
    let wish = blueprint(
        "project: shop\nenvironment: test\nregion: ap-northeast-2\nnetwork: {zones: [a, c], nat: none, flow_logs: false}\n",
    );
    let inventory = applied(&wish);
    let nothing = planned(&wish, &inventory);
    assert!(nothing.is_empty());
    let all = plan_destroy("shop-test", &inventory);
    let texts = [nothing, all].map(|plan| plain(&ui::text::plan(&plan, ui::text::Detail::default())));
    check!(texts.join("\n==========\n\n"));
}

#[test]
fn errors() {
    let (plan, inventory) = change();
    let time = |text: &str| text.parse().expect("a time");
    let lease = Lease {
        run: "20260102T030405Z-abcd".into(),
        holder: "ana@build-7 (4711)".into(),
        command: "apply".into(),
        fence: 7,
        taken: time("2026-01-02T03:04:05Z"),
        expires: time("2026-01-02T03:05:05Z"),
        released: false,
    };
    let mut now = inventory.clone();
    now.resources.remove("address-a");
    now.resources.get_mut("vpc").expect("a VPC").found.spec["dns_hostnames"] = Value::Bool(false);
    let moved = planned(&blueprint(AFTER), &now);
    let saved = SavedPlan::of("123456789012", "ap-northeast-2", blueprint(AFTER), plan.clone());
    let mut protected = applied(&blueprint(BEFORE));
    protected.resources.get_mut("database").expect("a cluster").found.spec["deletion_protection"] = Value::Bool(true);
    let (head, _) = BEFORE.split_once("database:").expect("a database");
    let without_data = planned(&blueprint(head), &protected);
    let named = without_data.data_losses().map(|step| step.id.clone()).collect::<Vec<_>>();
    let report = Report {
        failed: vec![engine::Failure {
            id: "database".into(),
            kind: "db_cluster",
            action: Action::Create,
            error: Error {
                service: "rds".into(),
                operation: "CreateDBCluster".into(),
                code: "StorageQuotaExceeded".into(),
                message: "the account's quota is used up".into(),
                status: Some(400),
                request_id: None,
                made: None,
            }
            .to_string(),
        }],
        skipped: vec![("database-1".into(), "needs database, which failed".into())],
        ..Report::default()
    };
    let stopped = Report { stopped: true, skipped: vec![("vpc".into(), "stopped".into())], ..Report::default() };
    let subnets = "subnets: {public: [10.0.1.0/24, 10.0.2.0/24, 10.0.3.0/24], private: [10.0.11.0/24, 10.0.12.0/24, \
                   10.0.13.0/24], database: [10.0.21.0/24, 10.0.22.0/24, 10.0.23.0/24]}";
    let moved_zones = blueprint(&BEFORE.replace("[a, c]", &format!("[a, b, c], {subnets}")));
    let moved_network = blueprint(&BEFORE.replace("network: {", "network: {cidr: 10.1.0.0/16, "));
    let refused = |result: super::Result<()>| result.expect_err("it is refused");
    let failures: Vec<(&str, Failure)> = vec![
        ("the lock is held", LockError::Held(Box::new(lease)).into()),
        ("data would be lost", refused(guard_data(&without_data, &protected, &[]))),
        ("AWS itself guards the data", refused(guard_data(&without_data, &protected, &named))),
        ("AWS has moved since the plan", refused(saved.check_unmoved(&moved))),
        (
            "written networks went to other zones",
            refused(make(&moved_zones, &mut applied(&blueprint(BEFORE))).map(drop)),
        ),
        ("another network", refused(make(&moved_network, &mut applied(&blueprint(BEFORE))).map(drop))),
        ("an operation failed", verdict(&report, "apply").expect_err("it failed")),
        ("the run was stopped", verdict(&stopped, "destroy").expect_err("it was stopped")),
    ];
    let blocks = failures.iter().map(|(title, failure)| format!("# {title}\n{}\n", plain(&failure.render())));
    check!(blocks.collect::<Vec<_>>().join("\n"));
}

#[test]
fn progress() {
    let end = |id: &str, action, outcome, aws_id: Option<&str>, reason: Option<&str>| Event::End {
        id: id.into(),
        kind: "vpc",
        action,
        outcome,
        seconds: 1.25,
        aws_id: aws_id.map(str::to_owned),
        reason: reason.map(str::to_owned),
    };
    let events = [
        Event::Begin { stack: "shop-test".into(), operations: 5 },
        Event::Start { id: "vpc".into(), kind: "vpc", action: Action::Create },
        Event::Progress { id: "nat-a".into(), kind: "nat_gateway", text: "pending".into(), seconds: 42.0 },
        end("vpc", Action::Create, Outcome::Done, Some("vpc-0123"), None),
        end("nat-a", Action::Delete, Outcome::Done, Some("nat-0123"), None),
        end("database", Action::Create, Outcome::Failed, None, Some("rds:CreateDBCluster failed: text")),
        end("database-1", Action::Create, Outcome::Skipped, None, Some("needs database, which failed")),
        Event::Stopping { reason: "Ctrl-C".into() },
        Event::Notice { text: "the run before ended uncleanly".into() },
    ];
    let lines: Vec<String> = events.iter().filter_map(ui::progress::line).map(|line| plain(&line)).collect();
    check!(lines.join("\n"));
}
