//! What a plan says before anything is made.

use serde_json::Value;
use std::time::Duration;

use crate::{checks::requests::prove, e2e::world::World};

fn texts(outlook: &Value, severity: &str) -> Vec<String> {
    let findings = outlook["preflight"].as_array().expect("a list").iter();
    let of = findings.filter(|finding| finding["severity"] == severity);
    of.map(|finding| finding["text"].as_str().expect("a text").to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn strangers_full_quotas_and_missing_machines_are_told_and_stop_no_plan() {
    let world = World::new().await;
    let stack = world.stack("dev.yaml");
    let plan = world.on(&stack, "plan", &["-v", "--format", "json"]).await.exits(0);
    let (plan, log) = (plan.json(), plan.err);
    assert_eq!(plan["outlook"]["preflight"], serde_json::json!([]), "{plan}\n{log}");
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
    let redis = cx.elasticache.create_replication_group().replication_group_id("ticketing-dev-redis");
    let redis = redis.replication_group_description("theirs").num_cache_clusters(1).cache_node_type("cache.t3.micro");
    // Without any tag it could be that of an emulator that keeps none.
    let tag = aws_sdk_elasticache::types::Tag::builder().key("owner").value("them").build();
    redis.tags(tag).send().await.expect("a replication group");
    // Until it is there nobody can tell whose it is.
    for pause in 0.. {
        let groups = cx.elasticache.describe_replication_groups().send().await.expect("groups");
        if groups.replication_groups().iter().all(|group| group.status() == Some("available")) {
            break;
        }
        assert!(pause < 300, "it doesn't become available");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    // What got no answer from an emulator is told in the log alone.
    let more = ["-v", "--set", "services.web.instances.type=p5.48xlarge", "--format", "json"];
    let plan = world.on(&stack, "plan", &more).await.exits(0);
    let (plan, log) = (plan.json(), plan.err);
    let problems = texts(&plan["outlook"], "problem").join("\n");
    let strangers =
        ["role called ticketing-dev-ap-northeast-2-instance", "replication group called ticketing-dev-redis"];
    for part in strangers.into_iter().chain(["5 VPCs", "p5.48xlarge isn't offered"]) {
        assert!(problems.contains(part), "{part} in {problems}\n{log}");
    }
    let warnings = texts(&plan["outlook"], "warning");
    assert!(warnings.iter().any(|text| text.contains("10.0.0.0/16 shares addresses with 10.0.0.0/20")), "{warnings:?}");

    let doctor = world.on(&stack, "doctor", &["-v"]).await.exits(1);
    assert!(doctor.out.contains("5 VPCs"), "{}\n{}", doctor.out, doctor.err);
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

    // Groups that are there may be given machines that AWS doesn't have.
    let plan =
        world.on(&stack, "plan", &["--set", "services.web.instances.type=p5.48xlarge", "--format", "json"]).await;
    let outlook = plan.exits(0).json()["outlook"].clone();
    assert!(texts(&outlook, "problem").iter().any(|text| text.contains("p5.48xlarge isn't offered")), "{outlook}");

    // The same again is told by the record of the first.
    world.on(&stack, "destroy", &["--yes"]).await.exits(0);
    let plan = world.on(&stack, "plan", &["--format", "json"]).await.exits(0).json();
    assert!(plan["outlook"]["last_time"].is_u64(), "{plan}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_that_will_not_do_is_told_before_anything_is_made() {
    let world = World::new().await;
    let stack = world.stack("dev.yaml");
    let with = |arn: &str| format!("ingress.certificate={arn}");
    let at = |account: &str| format!("arn:aws:acm:ap-northeast-2:{account}:certificate/0");
    let (soon, day) = world.import_certificate(10).await;
    // The emulator issues it after a minute.
    let pending = world.request_certificate().await;
    for (arn, severity, part) in [
        (&pending, "problem", "isn't issued yet: ACM waits for the proof that shop.example.com is yours"),
        (&at("123456789012"), "problem", "doesn't exist"),
        (&at("210987654321"), "problem", "is of account 210987654321, and the stack is made in 123456789012"),
        (&soon, "warning", &format!("on {day}; it was imported")),
    ] {
        let plan = world.on(&stack, "plan", &["--set", &with(arn), "--format", "json"]).await.exits(0).json();
        let told = texts(&plan["outlook"], severity);
        assert!(matches!(&told[..], [text] if text.contains(arn) && text.contains(part)), "{part}: {told:?}");
        assert_eq!(plan["outlook"]["preflight"].as_array().map(Vec::len), Some(1), "{plan}");
    }
    let doctor = world.on(&stack, "doctor", &["--set", &with(&at("123456789012"))]).await.exits(1);
    assert!(doctor.out.contains("doesn't exist"), "{}", doctor.out);

    // A good one says nothing, and all that was asked about it is permitted.
    let (good, _) = world.import_certificate(100).await;
    world.keep_requests().await;
    let good = with(&good);
    let plan = world.on(&stack, "plan", &["--set", &good, "--format", "json"]).await.exits(0).json();
    assert_eq!(plan["outlook"]["preflight"], serde_json::json!([]), "{plan}");
    world.on(&stack, "apply", &["--set", &good, "--yes"]).await.exits(0);
    prove(&world, &stack, &["--set", &good]).await;

    // Another one for a listener that is there makes nothing, and is looked at all the same.
    let plan = world.on(&stack, "plan", &["--set", &with(&soon), "--format", "json"]).await.exits(0).json();
    assert_eq!((&plan["summary"]["create"], &plan["summary"]["update"]), (&0.into(), &1.into()), "{plan}");
    assert!(texts(&plan["outlook"], "warning").iter().any(|text| text.contains(&day)), "{plan}");
    let doctor = world.on(&stack, "doctor", &["--set", &with(&soon)]).await.exits(0);
    assert!(doctor.out.contains(&day), "{}", doctor.out);
}
