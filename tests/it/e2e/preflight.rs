//! What a plan says before anything is made.

use serde_json::Value;

use crate::e2e::world::World;

fn texts(outlook: &Value, severity: &str) -> Vec<String> {
    let findings = outlook["preflight"].as_array().expect("a list").iter();
    let of = findings.filter(|finding| finding["severity"] == severity);
    of.map(|finding| finding["text"].as_str().expect("a text").to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn strangers_full_quotas_and_missing_machines_are_told_and_stop_no_plan() {
    let world = World::new().await;
    let stack = world.stack("dev.yaml");
    let plan = world.on(&stack, "plan", &["--format", "json"]).await.exits(0).json();
    assert_eq!(plan["outlook"]["preflight"], serde_json::json!([]), "{plan}");
    let forecast = &plan["outlook"]["forecast"];
    assert!(forecast["seconds"].as_u64().is_some_and(|seconds| seconds > 300), "{forecast}");
    assert_eq!(forecast["interruptions"], serde_json::json!([]));
    let month = &plan["outlook"]["month"];
    assert_eq!(month["now"], 0.0);
    assert!(month["then"].as_f64().is_some_and(|then| then > 300.0 && then < 600.0), "{month}");

    let cx = world.clients().await;
    // With the default one, these are all the VPCs that an account has by default.
    for _ in 0..4 {
        cx.ec2.create_vpc().cidr_block("10.0.0.0/20").send().await.expect("a VPC");
    }
    let trust = r#"{"Version": "2012-10-17", "Statement": []}"#;
    let role =
        cx.iam.create_role().role_name("ticketing-dev-ap-northeast-2-instance").assume_role_policy_document(trust);
    role.send().await.expect("a role");
    let more = ["--set", "services.web.instances.type=p5.48xlarge", "--format", "json"];
    let plan = world.on(&stack, "plan", &more).await.exits(0).json();
    let problems = texts(&plan["outlook"], "problem").join("\n");
    for part in ["5 VPCs", "role called ticketing-dev-ap-northeast-2-instance", "p5.48xlarge isn't offered"] {
        assert!(problems.contains(part), "{part} in {problems}");
    }
    let warnings = texts(&plan["outlook"], "warning");
    assert!(warnings.iter().any(|text| text.contains("10.0.0.0/16 shares addresses with 10.0.0.0/20")), "{warnings:?}");

    let doctor = world.on(&stack, "doctor", &[]).await.exits(1);
    assert!(doctor.out.contains("5 VPCs"), "{}", doctor.out);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_says_what_it_interrupts_and_what_it_costs_more() {
    let world = World::new().await;
    let stack = world.stack("dev.yaml");
    world.on(&stack, "apply", &["--yes"]).await.exits(0);
    let plan = world.on(&stack, "plan", &["--set", "database.class=db.t3.large", "--format", "json"]).await;
    let outlook = plan.exits(0).json()["outlook"].clone();
    let interrupted = outlook["forecast"]["interruptions"].as_array().expect("a list");
    let ids: Vec<_> = interrupted.iter().filter_map(|one| one["id"].as_str()).collect();
    assert_eq!(ids, ["database-1", "database-2"], "{outlook}");
    // Two instances, 0.125 dollars an hour more each.
    let more =
        outlook["month"]["then"].as_f64().unwrap_or_default() - outlook["month"]["now"].as_f64().unwrap_or_default();
    assert!((more - 2.0 * 0.125 * 730.0).abs() < 0.01, "{outlook}");
    let plan = world.on(&stack, "plan", &["--set", "database.class=db.t3.large"]).await.exits(0);
    assert!(plan.out.contains("Cost: about $") && plan.out.contains("(+$182.50)"), "{}", plan.out);

    // The same again is told by the record of the first.
    world.on(&stack, "destroy", &["--yes"]).await.exits(0);
    let plan = world.on(&stack, "plan", &["--format", "json"]).await.exits(0).json();
    assert!(plan["outlook"]["last_time"].is_u64(), "{plan}");
}
