//! What moves outside ticketctl is seen and mended.

use serde_json::json;

use crate::e2e::world::{NETWORK, World};

#[tokio::test(flavor = "multi_thread")]
async fn a_rule_deleted_by_hand_is_drift_and_is_put_back() {
    let world = World::new().await;
    let stack = world.stack("dev.yaml");
    world.on(&stack, "apply", &["--yes"]).await.exits(0);
    let cx = world.clients().await;
    let groups = cx.ec2.describe_security_groups().send().await.expect("security groups");
    let database = groups
        .security_groups()
        .iter()
        .find(|group| group.tags().iter().any(|tag| tag.value() == Some("sg-database")))
        .expect("the database's group");
    cx.ec2
        .revoke_security_group_ingress()
        .set_group_id(database.group_id().map(str::to_owned))
        .set_ip_permissions(Some(database.ip_permissions().to_vec()))
        .send()
        .await
        .expect("revoked");

    let drift = world.on(&stack, "drift", &["--format", "json", "--detailed-exitcode"]).await.exits(2).json();
    assert_eq!(drift["summary"]["update"], 1, "{drift}");
    assert_eq!(drift["changes"][0]["id"], "sg-database");
    world.on(&stack, "apply", &["--yes"]).await.exits(0);
    world.on(&stack, "drift", &["--detailed-exitcode"]).await.exits(0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_somebody_deleted_comes_back_and_what_the_file_drops_goes() {
    let world = World::new().await;
    let stack = world.write("stack.yaml", NETWORK);
    world.on(&stack, "apply", &["--yes"]).await.exits(0);
    let cx = world.clients().await;
    let endpoints = cx.ec2.describe_vpc_endpoints().send().await.expect("endpoints");
    let ids = endpoints.vpc_endpoints().iter().filter_map(|endpoint| endpoint.vpc_endpoint_id()).map(str::to_owned);
    cx.ec2.delete_vpc_endpoints().set_vpc_endpoint_ids(Some(ids.collect())).send().await.expect("deleted");

    let plan = world.on(&stack, "plan", &["--format", "json"]).await.exits(0).json();
    assert_eq!((&plan["summary"]["create"], &plan["changes"][0]["id"]), (&json!(1), &json!("endpoint-s3")), "{plan}");
    world.on(&stack, "apply", &["--yes"]).await.exits(0);

    // Without NAT, gateway and address go, and the private routes lose their way out.
    let none = ["--set", "network.nat=none"];
    let plan = world.on(&stack, "plan", &[&none[..], &["--format", "json"]].concat()).await.exits(0).json();
    let deleted: Vec<_> =
        plan["changes"].as_array().expect("a list").iter().filter(|c| c["action"] == "delete").collect();
    assert_eq!(deleted.len(), 2, "{plan}");
    world.on(&stack, "apply", &[&none[..], &["--yes"]].concat()).await.exits(0);
    world.on(&stack, "plan", &[&none[..], &["--detailed-exitcode"]].concat()).await.exits(0);
}
