//! The VPC and what stands in it.

use super::lifecycle::{all, create, create_again, delete, lifecycle, only};
use crate::support::Endpoint;
use aws_sdk_ec2::types::{IpPermission, IpRange, UserIdGroupPair};
use serde_json::json;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};
use ticketctl::{
    aws::Context,
    blueprint::{Blueprint, Facts, compile},
    engine::{Action, Event, Inventory, Observer, Options, Plan, plan, plan_destroy, run},
    resource::{
        Address, FlowLog, InternetGateway, Kind, LogGroup, NatGateway, Ref, RouteTable, SecurityGroup, Status, Subnet,
        Vpc, VpcEndpoint,
        address::AddressSpec,
        by_name,
        flow_log::FlowLogSpec,
        internet_gateway::InternetGatewaySpec,
        log_group::LogGroupSpec,
        nat_gateway::NatGatewaySpec,
        route_table::{RouteTableSpec, RouteTarget},
        security_group::{Rule, Rules, SecurityGroupSpec},
        subnet::SubnetSpec,
        vpc::VpcSpec,
        vpc_endpoint::{Access, VpcEndpointSpec},
    },
    stack::Stack,
};
use tokio_util::sync::CancellationToken;

const ANYWHERE: &str = "0.0.0.0/0";

fn vpc(dns_hostnames: bool) -> VpcSpec {
    VpcSpec { cidr: "10.0.0.0/16".into(), dns_support: true, dns_hostnames }
}

async fn a_vpc(cx: &Context) -> Ref<Vpc> {
    Ref::known(create::<Vpc>(cx, "vpc", vpc(true)).await.id)
}

fn subnet(vpc: &Ref<Vpc>, zone: &str, cidr: &str, public_ips: bool) -> SubnetSpec {
    SubnetSpec { vpc: vpc.clone(), zone: format!("ap-northeast-2{zone}"), cidr: cidr.into(), public_ips }
}

async fn a_subnet(cx: &Context, vpc: &Ref<Vpc>, zone: &str, cidr: &str) -> Ref<Subnet> {
    let id = format!("subnet-private-{zone}");
    Ref::known(create::<Subnet>(cx, &id, subnet(vpc, zone, cidr, false)).await.id)
}

fn group(vpc: &Ref<Vpc>, description: &str, ingress: &[(Rule, &str)], egress: &[(Rule, &str)]) -> SecurityGroupSpec {
    let rules = |rules: &[(Rule, &str)]| -> Rules {
        rules.iter().map(|(rule, description)| (rule.clone(), (*description).to_owned())).collect()
    };
    SecurityGroupSpec {
        vpc: vpc.clone(),
        description: description.into(),
        ingress: rules(ingress),
        egress: rules(egress),
    }
}

#[tokio::test]
async fn vpc_internet_gateway_subnet_and_address() {
    let moto = Endpoint::start().await;
    let cx = moto.context("shop-test").await;
    lifecycle::<Vpc>(&cx, "vpc", vpc(true), vec![vpc(false)]).await;

    let vpc = a_vpc(&cx).await;
    let gateway = |attached| InternetGatewaySpec { vpc: vpc.clone(), attached };
    lifecycle::<InternetGateway>(&cx, "internet-gateway", gateway(true), vec![gateway(false), gateway(true)]).await;
    let public = |public_ips| subnet(&vpc, "a", "10.0.1.0/24", public_ips);
    lifecycle::<Subnet>(&cx, "subnet-public-a", public(true), vec![public(false)]).await;
    lifecycle::<Address>(&cx, "address-a", AddressSpec {}, vec![]).await;
    delete::<Vpc>(&cx, "vpc").await;
}

#[tokio::test]
async fn nat_gateway_and_route_table() {
    let moto = Endpoint::start().await;
    let cx = moto.context("shop-test").await;
    let vpc = a_vpc(&cx).await;
    let (a, c) = (a_subnet(&cx, &vpc, "a", "10.0.11.0/24").await, a_subnet(&cx, &vpc, "c", "10.0.12.0/24").await);
    let gateway = InternetGatewaySpec { vpc: vpc.clone(), attached: true };
    let internet = Ref::known(create::<InternetGateway>(&cx, "internet-gateway", gateway).await.id);
    let address: Ref<Address> = Ref::known(create::<Address>(&cx, "address-a", AddressSpec {}).await.id);

    let spec = || NatGatewaySpec { subnet: a.clone(), address: address.clone() };
    lifecycle::<NatGateway>(&cx, "nat-a", spec(), vec![]).await;
    let address: Ref<Address> = Ref::known(create::<Address>(&cx, "address-c", AddressSpec {}).await.id);
    let spec = NatGatewaySpec { subnet: a.clone(), address };
    let nat = Ref::known(create::<NatGateway>(&cx, "nat-c", spec).await.id);

    let table = |target: Option<RouteTarget>, subnets: &[&Ref<Subnet>]| RouteTableSpec {
        vpc: vpc.clone(),
        routes: target.into_iter().map(|target| (ANYWHERE.to_owned(), target)).collect::<BTreeMap<_, _>>(),
        subnets: subnets.iter().map(|subnet| (*subnet).clone()).collect::<BTreeSet<_>>(),
    };
    create::<RouteTable>(&cx, "routes-database", table(None, &[&c])).await;
    let changes = vec![
        table(Some(RouteTarget::NatGateway(nat)), &[&a]),
        table(None, &[]),
        table(Some(RouteTarget::InternetGateway(internet)), &[&a, &c]),
    ];
    let wish = changes[2].routes[ANYWHERE].clone();
    lifecycle::<RouteTable>(&cx, "routes-private-a", table(Some(wish), &[&a]), changes).await;
    // The last change took this subnet over from the other table.
    assert_eq!(only::<RouteTable>(&cx, "routes-database").await.spec["subnets"], json!([]));
}

#[tokio::test]
async fn a_token_that_leads_to_a_deleted_nat_gateway_is_stepped_over() {
    let moto = Endpoint::start().await;
    let cx = moto.context("shop-test").await;
    let vpc = a_vpc(&cx).await;
    let gateway = InternetGatewaySpec { vpc: vpc.clone(), attached: true };
    create::<InternetGateway>(&cx, "internet-gateway", gateway).await;
    let subnet = a_subnet(&cx, &vpc, "a", "10.0.11.0/24").await;
    let address = Ref::known(create::<Address>(&cx, "address-a", AddressSpec {}).await.id);
    let spec = || NatGatewaySpec { subnet: subnet.clone(), address: address.clone() };

    let first = create::<NatGateway>(&cx, "nat-a", spec()).await;
    create_again::<NatGateway>(&cx, "nat-a", spec(), &first).await;
    delete::<NatGateway>(&cx, "nat-a").await;
    let second = create::<NatGateway>(&cx, "nat-a", spec()).await;
    assert_ne!(second.id, first.id);
    create_again::<NatGateway>(&cx, "nat-a", spec(), &second).await;
    delete::<NatGateway>(&cx, "nat-a").await;

    // The same wish with other tags: AWS refuses the tokens of both dead gateways for that.
    let desired = ticketctl::resource::Desired {
        logical_id: "nat-a".into(),
        spec: spec(),
        tags: [("ticketctl:stack".to_owned(), "shop-test".to_owned()), ("ticketctl:id".into(), "nat-a".into())].into(),
        token: "0123456789abcdef0123456789abcdef-nat-a".into(),
    };
    let third = NatGateway::create(&cx, &desired).await.expect("a third gateway");
    assert_eq!(only::<NatGateway>(&cx, "nat-a").await.id, third.id);
}

#[tokio::test]
async fn a_route_made_by_hand_is_seen() {
    let moto = Endpoint::start().await;
    let cx = moto.context("shop-test").await;
    let vpc = a_vpc(&cx).await;
    let gateway = InternetGatewaySpec { vpc: vpc.clone(), attached: true };
    let internet = create::<InternetGateway>(&cx, "internet-gateway", gateway).await.id;
    let wish = RouteTableSpec { vpc, routes: BTreeMap::new(), subnets: BTreeSet::new() };
    let table = create::<RouteTable>(&cx, "routes-database", wish).await.id;
    let call = cx.ec2.create_route().route_table_id(table).destination_cidr_block("203.0.113.0/24");
    call.gateway_id(&internet).send().await.expect("a route by hand");
    let found = only::<RouteTable>(&cx, "routes-database").await;
    assert_eq!(found.spec["routes"], json!({"203.0.113.0/24": {"internet_gateway": internet}}));
}

#[tokio::test]
async fn a_vpc_that_has_gone_and_is_still_listed_is_waited_for() {
    let moto = Endpoint::start().await;
    let cx = moto.context("shop-test").await;
    a_vpc(&cx).await;
    let code = "InvalidVpcID.NotFound";
    let gone = json!({"operation": "DescribeVpcAttribute", "kind": "refuse", "code": code, "status": 400});
    let (status, answer) = moto.control("POST", "faults", &json!({"faults": [gone]}).to_string()).await;
    assert_eq!(status, 200, "{answer}");
    let found = only::<Vpc>(&cx, "vpc").await;
    assert!(matches!(found.status, Status::Pending(_)), "{found:?}");
}

#[tokio::test]
async fn routes_are_set_though_the_list_was_behind() {
    let moto = Endpoint::start().await;
    let cx = moto.context("shop-test").await;
    let vpc = a_vpc(&cx).await;
    let gateway = InternetGatewaySpec { vpc: vpc.clone(), attached: true };
    let internet = Ref::known(create::<InternetGateway>(&cx, "internet-gateway", gateway).await.id);
    let routes = BTreeMap::from([(ANYWHERE.to_owned(), RouteTarget::InternetGateway(internet))]);
    let wish = RouteTableSpec { vpc, routes, subnets: BTreeSet::new() };
    create::<RouteTable>(&cx, "routes-public", wish).await;
    let there = only::<RouteTable>(&cx, "routes-public").await;

    // From what the list told before to what was asked for since: the route is there already, or has gone already.
    for (told, wanted) in [(json!({}), there.spec["routes"].clone()), (there.spec["routes"].clone(), json!({}))] {
        let mut found = there.clone();
        found.spec["routes"] = told;
        let mut desired = ticketctl::resource::Desired {
            logical_id: "routes-public".into(),
            spec: there.spec.clone(),
            tags: there.tags.clone().expect("tables have tags"),
            token: "token".into(),
        };
        desired.spec["routes"] = wanted.clone();
        for _ in 0..2 {
            let (found, desired) = (found.clone(), desired.clone());
            let change = ticketctl::resource::Change { found, desired, paths: vec![format!("routes.{ANYWHERE}")] };
            by_name(RouteTable::NAME).expect("registered").update(&cx, change).await.expect("the update");
            assert_eq!(only::<RouteTable>(&cx, "routes-public").await.spec["routes"], wanted);
        }
    }
}

#[tokio::test]
async fn security_group() {
    let moto = Endpoint::start().await;
    let cx = moto.context("shop-test").await;
    let vpc = a_vpc(&cx).await;
    let other = create::<SecurityGroup>(&cx, "sg-web", group(&vpc, "Web", &[], &[])).await.id;

    let from_web = || (Rule::tcp(3306, &other), "Service web");
    let office = |description| (Rule::tcp(3306, "10.1.0.0/16"), description);
    let home = || (Rule::tcp(3306, "10.2.0.0/16"), "");
    let all = || (Rule::everything(), "");
    let changes = vec![
        group(&vpc, "Aurora", &[from_web(), office("new text"), home()], &[all()]),
        group(&vpc, "Aurora", &[home()], &[all()]),
        group(&vpc, "Aurora", &[from_web()], &[(Rule::tcp(443, ANYWHERE), "HTTPS")]),
        group(&vpc, "Aurora", &[], &[]),
    ];
    let wish = group(&vpc, "Aurora", &[from_web(), office("old text")], &[]);
    lifecycle::<SecurityGroup>(&cx, "sg-database", wish, changes).await;
}

#[tokio::test]
async fn rules_made_by_hand_are_seen_one_by_one_and_revoked() {
    let moto = Endpoint::start().await;
    let cx = moto.context("shop-test").await;
    let vpc = a_vpc(&cx).await;
    let id = create::<SecurityGroup>(&cx, "sg-web", group(&vpc, "Web", &[], &[])).await.id;
    let range = |cidr: &str| IpRange::builder().cidr_ip(cidr).build();
    let ssh = IpPermission::builder().ip_protocol("tcp").from_port(22).to_port(22);
    let ssh = ssh.ip_ranges(range(ANYWHERE)).ip_ranges(range("10.0.0.0/8"));
    let ssh = ssh.user_id_group_pairs(UserIdGroupPair::builder().group_id(&id).build()).build();
    let call = cx.ec2.authorize_security_group_ingress().group_id(&id).ip_permissions(ssh);
    call.send().await.expect("rules by hand");

    let found = only::<SecurityGroup>(&cx, "sg-web").await;
    let by_hand = json!({"tcp/22 0.0.0.0/0": "", "tcp/22 10.0.0.0/8": "", format!("tcp/22 {id}"): ""});
    assert_eq!(found.spec["ingress"], by_hand);

    let wish = serde_json::to_value(group(&vpc, "Web", &[], &[])).expect("plain data");
    let desired = ticketctl::resource::Desired {
        logical_id: "sg-web".into(),
        spec: wish.clone(),
        tags: found.tags.clone().expect("groups have tags"),
        token: "token".into(),
    };
    let paths = vec!["ingress.tcp/22 0.0.0.0/0".into()];
    let change = ticketctl::resource::Change { found, desired, paths };
    by_name(SecurityGroup::NAME).expect("registered").update(&cx, change).await.expect("the update");
    assert_eq!(only::<SecurityGroup>(&cx, "sg-web").await.spec, wish);
}

#[tokio::test]
async fn a_groups_successor_lives_beside_it() {
    let moto = Endpoint::start().await;
    let cx = moto.context("shop-test").await;
    let vpc = a_vpc(&cx).await;
    create::<SecurityGroup>(&cx, "sg-web", group(&vpc, "Old", &[], &[])).await;
    let make = |description: &str| ticketctl::resource::Desired {
        logical_id: "sg-web".into(),
        spec: group(&vpc, description, &[(Rule::tcp(80, ANYWHERE), "HTTP")], &[]),
        tags: [("ticketctl:stack".to_owned(), "shop-test".to_owned()), ("ticketctl:id".into(), "sg-web".into())].into(),
        token: "0123456789abcdef0123456789abcdef".into(),
    };
    let successor = SecurityGroup::create(&cx, &make("New")).await.expect("a second group").id;
    assert_eq!(all::<SecurityGroup>(&cx).await.len(), 2);
    // A create call whose answer was lost: the group is there, its rules perhaps not.
    let again = SecurityGroup::create(&cx, &make("Old")).await.expect("the first group").id;
    let found = all::<SecurityGroup>(&cx).await;
    assert_eq!(found.len(), 2);
    let first = found.iter().find(|found| found.id == again).expect("the first group is listed");
    assert_ne!(again, successor);
    assert_eq!(first.spec["ingress"], json!({"tcp/80 0.0.0.0/0": "HTTP"}));
}

#[tokio::test]
async fn vpc_endpoints() {
    let moto = Endpoint::start().await;
    let cx = moto.context("shop-test").await;
    let vpc = a_vpc(&cx).await;
    let (a, c) = (a_subnet(&cx, &vpc, "a", "10.0.11.0/24").await, a_subnet(&cx, &vpc, "c", "10.0.12.0/24").await);
    let mut tables = Vec::new();
    for id in ["routes-private-a", "routes-private-c"] {
        let spec = RouteTableSpec { vpc: vpc.clone(), routes: BTreeMap::new(), subnets: BTreeSet::new() };
        tables.push(Ref::<RouteTable>::known(create::<RouteTable>(&cx, id, spec).await.id));
    }
    let endpoint = |service: &str, access, policy| VpcEndpointSpec {
        vpc: vpc.clone(),
        service: format!("com.amazonaws.ap-northeast-2.{service}"),
        access,
        policy,
    };
    let policy = |action: &str| {
        let statement = json!({"Effect": "Allow", "Principal": "*", "Action": action, "Resource": "*"});
        Some(json!({"Version": "2012-10-17", "Statement": [statement]}))
    };
    let gateway = |tables: &[Ref<RouteTable>]| Access::Gateway { route_tables: tables.iter().cloned().collect() };
    let changes = vec![endpoint("s3", gateway(&tables[1..]), policy("s3:GetObject"))];
    lifecycle::<VpcEndpoint>(&cx, "endpoint-s3", endpoint("s3", gateway(&tables), policy("s3:*")), changes).await;

    let mut groups = Vec::new();
    for id in ["sg-endpoints", "sg-web"] {
        let made = create::<SecurityGroup>(&cx, id, group(&vpc, "Endpoints", &[], &[])).await;
        groups.push(Ref::<SecurityGroup>::known(made.id));
    }
    let interface = |subnets: &[&Ref<Subnet>], group: &Ref<SecurityGroup>| Access::Interface {
        subnets: subnets.iter().map(|subnet| (*subnet).clone()).collect(),
        security_groups: [group.clone()].into(),
        private_dns: true,
    };
    let changes = vec![
        endpoint("ssm", interface(&[&a, &c], &groups[0]), None),
        endpoint("ssm", interface(&[&c], &groups[1]), None),
    ];
    let wish = endpoint("ssm", interface(&[&a], &groups[0]), None);
    lifecycle::<VpcEndpoint>(&cx, "endpoint-ssm", wish, changes).await;
}

#[tokio::test]
async fn what_another_stack_has_is_not_ours() {
    let moto = Endpoint::start().await;
    let ours = moto.context("shop-test").await;
    let vpc = a_vpc(&ours).await;
    let subnet = a_subnet(&ours, &vpc, "a", "10.0.11.0/24").await;
    let address = Ref::known(create::<Address>(&ours, "address-a", AddressSpec {}).await.id);
    create::<NatGateway>(&ours, "nat-a", NatGatewaySpec { subnet, address }).await;
    create::<SecurityGroup>(&ours, "sg-web", group(&vpc, "Web", &[], &[])).await;
    let other = moto.context("shop-test-2").await;
    let found = [
        all::<Vpc>(&other).await,
        all::<Subnet>(&other).await,
        all::<Address>(&other).await,
        all::<NatGateway>(&other).await,
        all::<SecurityGroup>(&other).await,
    ];
    assert!(found.iter().all(Vec::is_empty), "{found:?}");
}

/// The stack's network as the blueprint has it, without the other areas.
fn blueprint() -> Blueprint {
    let stack: Stack = serde_json::from_value(json!({
        "project": "shop",
        "environment": "test",
        "region": "ap-northeast-2",
        "network": {"zones": ["a", "c"]},
        "services": {"web": {}},
        "database": {},
        "cache": {},
    }))
    .expect("a stack");
    let facts = Facts {
        account: "123456789012".into(),
        partition: "aws".into(),
        region: "ap-northeast-2".into(),
        images: [("x86_64".to_owned(), "ami-1".to_owned()), ("arm64".to_owned(), "ami-2".to_owned())].into(),
        artifacts: BTreeMap::new(),
        subnets: BTreeMap::new(),
    };
    let mut blueprint = compile(&stack, &facts);
    blueprint.nodes.retain(|_, node| KINDS.contains(&node.kind.as_str()));
    blueprint
}

const KINDS: [&str; 8] = [
    Vpc::NAME,
    InternetGateway::NAME,
    Subnet::NAME,
    Address::NAME,
    NatGateway::NAME,
    RouteTable::NAME,
    SecurityGroup::NAME,
    VpcEndpoint::NAME,
];

struct Silent;

impl Observer for Silent {
    fn observe(&self, _: &Event) {}
}

#[tokio::test]
async fn flow_log() {
    let moto = Endpoint::start().await;
    let cx = moto.context("shop-test").await;
    let vpc = a_vpc(&cx).await;
    let group = create::<LogGroup>(&cx, "log-group-flow-logs", LogGroupSpec { retention: 7 }).await;
    let wish = || FlowLogSpec {
        vpc: vpc.clone(),
        traffic: "ALL".into(),
        log_group: Ref::known(&group.id),
        role: "arn:aws:iam::123456789012:role/flow".into(),
        interval: 600,
    };
    let first = create::<FlowLog>(&cx, "flow-log", wish()).await;
    create_again::<FlowLog>(&cx, "flow-log", wish(), &first).await;
    delete::<FlowLog>(&cx, "flow-log").await;
    lifecycle::<FlowLog>(&cx, "flow-log", wish(), vec![]).await;

    // Without the group there is no flow log, and nobody is asked for one.
    delete::<LogGroup>(&cx, "log-group-flow-logs").await;
    moto.control("DELETE", "calls", "").await;
    assert!(all::<FlowLog>(&cx).await.is_empty());
    let (_, told) = moto.control("GET", "calls", "").await;
    let operations: Vec<_> = told["calls"].as_array().expect("a list").iter().map(|call| &call["operation"]).collect();
    assert_eq!(operations, ["DescribeLogGroups"]);
}

async fn carry_out(cx: &Context, plan: &Plan, blueprint: &Blueprint, inventory: &Inventory) {
    let options = Options { parallelism: 8, stop: CancellationToken::new(), permit: Arc::new(|| Ok(())) };
    let report = run(cx, plan, blueprint, inventory, &Silent, &options).await.expect("no circle");
    assert!(report.is_complete(), "{report:#?}");
}

async fn look(cx: &Context) -> Inventory {
    Inventory::take(cx).await.unwrap_or_else(|errors| panic!("{errors:?}"))
}

#[tokio::test]
async fn the_whole_network_is_made_mended_and_taken_away() {
    let moto = Endpoint::start().await;
    let cx = moto.context("shop-test").await;
    let blueprint = blueprint();
    let inventory = look(&cx).await;
    carry_out(&cx, &plan(&blueprint, &inventory).expect("no circle"), &blueprint, &inventory).await;

    let inventory = look(&cx).await;
    let empty = plan(&blueprint, &inventory).expect("no circle");
    assert!(empty.is_empty(), "{empty:#?}");

    // By hand: a rule goes, another comes, the way out is removed.
    let id = |logical: &str| inventory.resources[logical].found.id.clone();
    let database = cx.ec2.describe_security_groups().group_ids(id("sg-database")).send().await.expect("the group");
    let rules = database.security_groups()[0].ip_permissions().to_vec();
    let call = cx.ec2.revoke_security_group_ingress().group_id(id("sg-database")).set_ip_permissions(Some(rules));
    call.send().await.expect("rules revoked by hand");
    let ssh = IpPermission::builder().ip_protocol("tcp").from_port(22).to_port(22);
    let ssh = ssh.ip_ranges(IpRange::builder().cidr_ip(ANYWHERE).build()).build();
    let call = cx.ec2.authorize_security_group_ingress().group_id(id("sg-web")).ip_permissions(ssh);
    call.send().await.expect("a rule by hand");
    let call = cx.ec2.delete_route().route_table_id(id("routes-public")).destination_cidr_block(ANYWHERE);
    call.send().await.expect("the way out removed by hand");

    let inventory = look(&cx).await;
    let mend = plan(&blueprint, &inventory).expect("no circle");
    let changed: Vec<_> = mend
        .steps
        .iter()
        .flat_map(|step| step.attributes.iter().map(|a| (step.id.as_str(), step.action, a.path.clone())))
        .collect();
    let from_web = format!("ingress.tcp/3306 {}", id("sg-web"));
    assert_eq!(
        changed,
        [
            ("routes-public", Action::Update, "routes.0.0.0.0/0".to_owned()),
            ("sg-web", Action::Update, "ingress.tcp/22 0.0.0.0/0".to_owned()),
            ("sg-database", Action::Update, from_web),
        ]
    );
    carry_out(&cx, &mend, &blueprint, &inventory).await;

    let inventory = look(&cx).await;
    let empty = plan(&blueprint, &inventory).expect("no circle");
    assert!(empty.is_empty(), "{empty:#?}");
    carry_out(&cx, &plan_destroy("shop-test", &inventory), &blueprint, &inventory).await;
    assert!(look(&cx).await.is_empty());
}
