//! Overlays, `--set`, expressions, defaults that follow from others, and where everything comes from.

use std::fs;
use std::path::{Path, PathBuf};

use super::super::load::load_in;
use super::super::show::show;
use super::super::{Diagnostics, Loaded, Stack};
use super::{accepted, load_with, service_with, stack_with};

/// A folder with files in it.
fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    for (name, text) in files {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().expect("a parent")).expect("a folder");
        fs::write(path, text).expect("a file");
    }
    folder
}

fn load(folder: &tempfile::TempDir, name: &str) -> Result<Loaded, Diagnostics> {
    load_in(&folder.path().join(name), &[], &|_| None)
}

const BASE: &str = "project: ticketing\nenvironment: base\nregion: ap-northeast-2\n\
                    network: {zones: [a, b, c], nat: single}\ncache: {class: cache.t3.micro}\n\
                    services:\n  web:\n    artifact: bin/app\n    instances: {min: 2, max: 10}\n";

#[test]
fn an_overlay_merges_mappings_replaces_lists_and_removes_with_null() {
    let over = "extends: base/base.yaml\nenvironment: dev\nnetwork: {zones: [a, c]}\ncache: null\n\
                services:\n  web:\n    instances: {max: 40}\n";
    let folder = folder(&[("base/base.yaml", BASE), ("dev.yaml", over)]);
    let stack = load(&folder, "dev.yaml").expect("accepted").stack;
    assert_eq!(stack.name(), "ticketing-dev");
    assert_eq!(stack.network.zones, ["a", "c"]);
    assert_eq!(stack.network.nat, crate::stack::types::NatMode::Single);
    assert_eq!(stack.cache, None);
    let web = &stack.services["web"];
    assert_eq!((web.instances.min, web.instances.max), (2, 40));
    // The artifact is relative to the file that names it.
    assert_eq!(web.artifact, Some(folder.path().join("base/bin/app")));
}

#[test]
fn circles_of_overlays_are_refused() {
    let folder = folder(&[
        ("a.yaml", "extends: b.yaml\n"),
        ("b.yaml", "extends: ./a.yaml\n"),
        ("self.yaml", "extends: self.yaml\n"),
        ("list.yaml", "extends: [a.yaml]\n"),
        ("lost.yaml", "extends: nowhere.yaml\n"),
    ]);
    for (name, why, place) in [
        ("a.yaml", "extends itself", "b.yaml:1:10"),
        ("self.yaml", "extends itself", "self.yaml:1:10"),
        ("list.yaml", "must be the path of one file", "list.yaml:1:1"),
        ("lost.yaml", "can't read", "lost.yaml:1:10"),
    ] {
        let said = load(&folder, name).expect_err("refused").render(false);
        assert!(said.contains(why) && said.contains(place), "{name}: {said}");
    }
}

#[test]
fn long_chains_of_overlays_are_refused() {
    let files: Vec<(String, String)> =
        (0..40).map(|n| (format!("{n}.yaml"), format!("extends: {}.yaml\n", n + 1))).collect();
    let files: Vec<(&str, &str)> = files.iter().map(|(a, b)| (a.as_str(), b.as_str())).collect();
    let said = load(&folder(&files), "0.yaml").expect_err("refused").render(false);
    assert!(said.contains("more than 16 files"), "{said}");
}

#[test]
fn an_error_in_the_base_is_shown_there() {
    let folder = folder(&[
        ("base.yaml", "project: ticketing\nregion: ap-northeast-2\nlogs: {retention: 8d}\n"),
        ("dev.yaml", "extends: base.yaml\nenvironment: dev\n"),
    ]);
    let said = load(&folder, "dev.yaml").expect_err("refused").render(false);
    assert!(said.contains("base.yaml:3:"), "{said}");
}

/// The stack with these `--set` arguments.
fn set(sets: &[&str]) -> Stack {
    let text = service_with("instances: {min: 2, max: 20}\nenv: {A: b}");
    load_with(&text, sets).unwrap_or_else(|diagnostics| panic!("{sets:?}:\n{diagnostics}")).stack
}

#[test]
fn set_reaches_into_mappings_and_lists() {
    assert_eq!(set(&["services.web.instances.max=40"]).services["web"].instances.max, 40);
    assert_eq!(set(&["services.web.env.C=1e3"]).services["web"].env["C"], "1e3");
    assert_eq!(set(&["tags.\"cost.center\"=42"]).tags["cost.center"], "42");
    assert_eq!(set(&["network.zones=[a, b]", "network.zones[1]=d"]).network.zones, ["a", "d"]);
    assert_eq!(set(&["network.zones=[a, b]", "network.zones.2=d"]).network.zones, ["a", "b", "d"]);
    assert_eq!(set(&["database={class: db.t3.medium}"]).database.expect("a database").class, "db.t3.medium");
    assert_eq!(set(&["cache={}", "cache=null"]).cache, None);
    assert_eq!(set(&["tags.owner=${env:NAME}"]).tags["owner"], "value");
    // The last one wins.
    assert_eq!(set(&["environment=a", "environment=b"]).environment, "b");
}

#[test]
fn expressions_take_the_type_of_their_place() {
    let text = stack_with(
        "tags: {a: \"${env:NAME}\", b: \"x${env:NO:-1}y\"}\n\
         services: {web: {artifact: app, env: {LITERAL: \"$${env:NAME}\"}}}\n\
         cache: {replicas: \"${env:NO:-2}\"}\nalerts: {email: \"${env:EMPTY}\"}\n",
    );
    let stack = accepted(&text).stack;
    assert_eq!(stack.tags["a"], "value");
    assert_eq!(stack.tags["b"], "x1y");
    assert_eq!(stack.services["web"].env["LITERAL"], "${env:NAME}");
    assert_eq!(stack.cache.expect("a cache").replicas, 2);
    assert_eq!(stack.alerts.expect("alerts").email, None);
}

#[test]
fn defaults_follow_from_other_values() {
    let guarded = |text: &str| {
        let stack = accepted(text).stack;
        let database = stack.database.expect("a database");
        let storage = stack.storage.expect("a bucket");
        let guards =
            [stack.protect, stack.ingress.deletion_protection, database.deletion_protection, database.final_snapshot];
        assert!(guards.iter().all(|guard| *guard == stack.protect), "{guards:?}");
        assert_eq!(storage.empty_on_destroy, !stack.protect);
        stack.protect
    };
    let parts = "database: {}\nstorage: {}\nalerts: {email: a@b.example}\n";
    assert!(!guarded(&stack_with(parts)));
    assert!(guarded(&stack_with(&format!("protect: true\n{parts}"))));
    assert!(guarded(&stack_with(parts).replace("dev", "prod")));
    let written =
        accepted(&stack_with("protect: true\nalerts: {email: a@b.example}\nstorage: {empty_on_destroy: true}\n"));
    assert!(written.stack.storage.expect("a bucket").empty_on_destroy);

    let cache = |text: &str| accepted(&stack_with(text)).stack.cache.expect("a cache").multi_az;
    assert!(cache("cache: {}\n"));
    assert!(!cache("cache: {replicas: 0}\n"));
    let insights = |class: &str| {
        let text = stack_with(&format!("database: {{class: {class}}}\n"));
        accepted(&text).stack.database.expect("a database").performance_insights
    };
    assert!(insights("db.r6g.large"));
    assert!(!insights("db.t3.medium"));
    let connections = |lines: &str| {
        let stack = accepted(&stack_with(&format!("alerts: {{}}\n{lines}"))).stack;
        stack.alerts.expect("alerts").thresholds.database_connections
    };
    assert_eq!(connections(""), 80);
    assert_eq!(connections("database: {}\n"), 800);
    assert_eq!(connections("database: {class: db.t3.medium}\n"), 80);
    assert_eq!(connections("database: {class: db.r7i.48xlarge}\n"), 80);
    assert_eq!(accepted(&service_with("instances: {min: 7}")).stack.services["web"].instances.desired, 7);
    assert_eq!(accepted(&service_with("port: 8080")).stack.services["web"].scaling.cpu, Some(70));
    assert_eq!(accepted(&service_with("scaling: {steps: {}}")).stack.services["web"].scaling.cpu, None);
}

#[test]
fn config_show_tells_where_each_value_comes_from() {
    let folder = folder(&[
        ("base.yaml", BASE),
        (
            "dev.yaml",
            "extends: base.yaml\nenvironment: dev\ndatabase: {class: db.t3.medium}\ntags: {a.b: \"yes\", empty: \"\"}\n",
        ),
    ]);
    let sets = ["services.web.instances.max=40".to_owned()];
    let loaded = load_in(&folder.path().join("dev.yaml"), &sets, &|_| None).expect("accepted");
    let shown = show(&loaded).replace(&format!("{}/", folder.path().display()), "");
    insta::assert_snapshot!(shown);
}

#[test]
fn what_is_shown_can_be_loaded_again() {
    for name in ["dev", "prod", "localstack", "two-services"] {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("stacks/{name}.yaml"));
        let loaded = load_in(&path, &[], &|_| None).unwrap_or_else(|diagnostics| panic!("{name}:\n{diagnostics}"));
        let again = load_with(&show(&loaded), &[]).unwrap_or_else(|diagnostics| panic!("{name}:\n{diagnostics}"));
        assert_eq!(again.stack, loaded.stack, "{name}");
    }
}

#[test]
fn paths_of_artifacts_are_short() {
    let text = service_with("role: api").replace("artifact: app", "artifact: ../target/./app");
    let loaded =
        super::super::load::load_text_in("stacks/dev.yaml", text.as_bytes(), &[], &|_| None).expect("accepted");
    assert_eq!(loaded.stack.services["web"].artifact, Some(PathBuf::from("target/app")));
}
