use super::*;
use crate::{
    aws::Tags,
    engine,
    resource::{Found, InternetGateway, Outputs, Status, internet_gateway::InternetGatewaySpec, vpc::VpcSpec},
};
use serde_json::json;

fn owned(kind: &str, id: &str, name: &str, spec: Value) -> Owned {
    let found = Found {
        logical_id: id.into(),
        id: name.into(),
        spec,
        outputs: Outputs::new(),
        tags: None,
        status: Status::Ready,
    };
    Owned { kind: resource::by_name(kind).expect("registered"), found }
}

#[test]
fn of_two_with_one_name_the_one_that_uses_the_other_goes_first() {
    let name = "shop-test-instance";
    let inventory = Inventory {
        resources: BTreeMap::from([
            ("profile".to_owned(), owned("instance_profile", "profile", name, json!({"name": name, "role": name}))),
            ("role".to_owned(), owned("role", "role", name, json!({"name": name, "trust": {}, "policy": {}}))),
        ]),
        ..Inventory::default()
    };
    let plan = engine::plan_destroy("shop-test", &inventory);
    let operations = operations(&plan, &Blueprint::new("shop-test", Tags::new()), &inventory).expect("no circle");
    let at = |id: &str| operations.iter().position(|operation| operation.id == id).expect("planned");
    assert_eq!(operations[at("role")].needs, [(at("profile"), Level::Ready)]);
    assert!(operations[at("profile")].needs.is_empty());
}

#[test]
fn what_a_cut_off_replacement_has_left_goes_before_the_next_one_comes() {
    let mut blueprint = Blueprint::new("shop-test", Tags::new());
    let spec = serde_json::from_value::<VpcSpec>(json!({"cidr": "10.1.0.0/16", "dns_support": true,
        "dns_hostnames": true}));
    blueprint.add::<Vpc>("vpc", "shop", spec.expect("a VPC"));
    let spec = json!({"cidr": "10.0.0.0/16", "dns_support": true, "dns_hostnames": true});
    let vpc = |id: &str| owned("vpc", "vpc", id, spec.clone());
    let inventory = Inventory {
        resources: BTreeMap::from([("vpc".to_owned(), vpc("vpc-1"))]),
        extra: vec![vpc("vpc-2")],
        ..Inventory::default()
    };
    let plan = engine::plan(&blueprint, &inventory).expect("no circle");
    let operations = operations(&plan, &blueprint, &inventory).expect("no circle");
    let at = |id: &str, work| operations.iter().position(|o| o.id == id && o.work == work).expect("planned");
    let leftover = at("vpc (vpc-2)", Work::Remove);
    assert!(operations[at("vpc", Work::Apply)].needs.contains(&(leftover, Level::Ready)));
}

#[test]
fn the_tags_of_the_vpc_change_last_and_nobody_waits_for_them() {
    let mut blueprint = Blueprint::new("shop-test", Tags::from([("team".to_owned(), "tickets".to_owned())]));
    let spec = json!({"cidr": "10.0.0.0/16", "dns_support": true, "dns_hostnames": true});
    let vpc = blueprint.add::<Vpc>("vpc", "shop", serde_json::from_value(spec.clone()).expect("a VPC"));
    let gateway = InternetGatewaySpec { vpc: vpc.id(), attached: true };
    blueprint.add::<InternetGateway>("gateway", "shop", gateway);
    let mut there = owned("vpc", "vpc", "vpc-1", spec);
    there.found.tags = Some(Tags::new());
    let inventory = Inventory { resources: BTreeMap::from([("vpc".to_owned(), there)]), ..Inventory::default() };
    let plan = engine::plan(&blueprint, &inventory).expect("no circle");
    let operations = operations(&plan, &blueprint, &inventory).expect("no circle");
    let at = |id: &str| operations.iter().position(|operation| operation.id == id).expect("planned");
    assert_eq!(operations[at("vpc")].needs, [(at("gateway"), Level::Created)]);
    assert!(operations[at("gateway")].needs.is_empty());
}
