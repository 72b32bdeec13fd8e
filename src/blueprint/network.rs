//! The VPC: subnets per zone, the ways in and out, and the endpoints that reach AWS without either.

use crate::{
    blueprint::{Blueprint, Facts, security::Security},
    resource::{
        Address, Handle, InternetGateway, Kind, Level, NatGateway, RouteTable, Subnet, Vpc, VpcEndpoint,
        address::AddressSpec,
        internet_gateway::InternetGatewaySpec,
        nat_gateway::NatGatewaySpec,
        route_table::{RouteTableSpec, RouteTarget},
        subnet::SubnetSpec,
        vpc::VpcSpec,
        vpc_endpoint::{Access, VpcEndpointSpec},
    },
    stack::{
        Stack,
        types::{NatMode, Subnets},
    },
};
use ipnet::Ipv4Net;
use serde_json::json;
use std::collections::BTreeMap;

/// Every address on the internet.
const ANYWHERE: &str = "0.0.0.0/0";

/// What other areas stand in. Subnets and route tables are in the order of the stack's zones.
pub(super) struct Network {
    pub vpc: Handle<Vpc>,
    /// What gets a public address must wait for it: AWS refuses a load balancer in a VPC without one, and doesn't
    /// detach it while public addresses are in use.
    pub internet_gateway: Handle<InternetGateway>,
    pub public: Vec<Handle<Subnet>>,
    pub private: Vec<Handle<Subnet>>,
    pub database: Vec<Handle<Subnet>>,
    pub private_nets: Vec<Ipv4Net>,
    private_routes: Vec<Handle<RouteTable>>,
    endpoints: Vec<Handle<VpcEndpoint>>,
}

impl Network {
    /// Makes `handle` wait until instances in the private subnets reach what they need to boot.
    pub(super) fn wait_for_way_out<K: Kind>(&self, blueprint: &mut Blueprint, handle: &Handle<K>) {
        for routes in &self.private_routes {
            blueprint.after(handle, routes, Level::Created);
        }
        for endpoint in &self.endpoints {
            blueprint.after(handle, endpoint, Level::Ready);
        }
    }
}

/// A zone's short name in logical ids: `a` of `ap-northeast-2a`.
fn short(zone: &str, region: &str) -> String {
    zone.strip_prefix(region).unwrap_or(zone).trim_start_matches('-').to_owned()
}

fn subnet_id(tier: &str, zone: &str) -> String {
    format!("subnet-{tier}-{zone}")
}

/// The networks of all subnets, in the order of the zones: those written out, or those that the zones have, whatever other
/// zones have come or gone; a new zone gets the first that nobody has.
fn networks(stack: &Stack, facts: &Facts, zones: &[(String, String)]) -> Subnets {
    let layout = stack.network.subnet_layout().expect("the stack was validated");
    let Some(slots) = stack.network.subnet_slots().filter(|_| stack.network.subnets.is_none()) else {
        return layout;
    };
    let settle = |tier: &str, slots: &[Ipv4Net], first: Vec<Ipv4Net>| -> Vec<Ipv4Net> {
        let had = |zone: &str| facts.subnets.get(&subnet_id(tier, zone)).and_then(|cidr| cidr.parse::<Ipv4Net>().ok());
        let is_taken = |net: &&Ipv4Net| facts.subnets.values().any(|cidr| *cidr == net.to_string());
        let mut free = slots.iter().filter(|net| !is_taken(net)).copied();
        let kept = zones.iter().map(|(zone, _)| had(zone).filter(|net| slots.contains(net)).or_else(|| free.next()));
        // With all ten taken, somebody who is to go has what a new zone gets: the plan says so.
        kept.collect::<Option<_>>().unwrap_or(first)
    };
    Subnets {
        public: settle("public", &slots.public, layout.public),
        private: settle("private", &slots.private, layout.private),
        database: settle("database", &slots.database, layout.database),
    }
}

/// # Panics
/// If the stack's network can't be cut into subnets, which validation refuses.
pub(super) fn add(blueprint: &mut Blueprint, stack: &Stack, facts: &Facts) -> Network {
    let name = |what: &str| format!("{}-{what}", stack.name());
    let zones: Vec<(String, String)> =
        stack.zones().into_iter().map(|zone| (short(&zone, &facts.region), zone)).collect();
    let vpc = blueprint.add::<Vpc>(
        "vpc",
        &name("vpc"),
        VpcSpec { cidr: stack.network.cidr.trunc().to_string(), dns_support: true, dns_hostnames: true },
    );
    let internet_gateway = blueprint.add::<InternetGateway>(
        InternetGateway::ID,
        &name("igw"),
        InternetGatewaySpec { vpc: vpc.id(), attached: true },
    );

    let nets = networks(stack, facts, &zones);
    let mut subnets = |tier: &str, nets: &[Ipv4Net]| -> Vec<Handle<Subnet>> {
        zones
            .iter()
            .zip(nets)
            .map(|((short, zone), net)| {
                let spec = SubnetSpec {
                    vpc: vpc.id(),
                    zone: zone.clone(),
                    cidr: net.trunc().to_string(),
                    public_ips: tier == "public",
                };
                blueprint.add::<Subnet>(subnet_id(tier, short), &name(&format!("{tier}-{short}")), spec)
            })
            .collect()
    };
    let public = subnets("public", &nets.public);
    let private = subnets("private", &nets.private);
    let database = subnets("database", &nets.database);

    let gateways = match stack.network.nat {
        NatMode::PerZone => zones.len(),
        NatMode::Single => 1,
        NatMode::None => 0,
    };
    let nat: Vec<Handle<NatGateway>> = zones
        .iter()
        .zip(&public)
        .take(gateways)
        .map(|((short, _), subnet)| {
            let address =
                blueprint.add::<Address>(format!("address-{short}"), &name(&format!("nat-{short}")), AddressSpec {});
            let spec = NatGatewaySpec { subnet: subnet.id(), address: address.id() };
            let gateway = blueprint.add::<NatGateway>(format!("nat-{short}"), &name(&format!("nat-{short}")), spec);
            // Without an attached internet gateway a NAT gateway fails, for good.
            blueprint.after(&gateway, &internet_gateway, Level::Created);
            gateway
        })
        .collect();

    let mut routes = |what: &str, target: Option<RouteTarget>, subnets: &[Handle<Subnet>]| {
        let spec = RouteTableSpec {
            vpc: vpc.id(),
            routes: target.into_iter().map(|target| (ANYWHERE.to_owned(), target)).collect::<BTreeMap<_, _>>(),
            subnets: subnets.iter().map(Handle::id).collect(),
        };
        blueprint.add::<RouteTable>(format!("routes-{what}"), &name(&format!("{what}-rt")), spec)
    };
    routes("public", Some(RouteTarget::InternetGateway(internet_gateway.id())), &public);
    let private_routes: Vec<Handle<RouteTable>> = zones
        .iter()
        .zip(&private)
        .enumerate()
        .map(|(index, ((short, _), subnet))| {
            // With a single gateway, all zones share it.
            let gateway = nat.get(index).or(nat.first());
            let target = gateway.map(|gateway| RouteTarget::NatGateway(gateway.ready()));
            routes(&format!("private-{short}"), target, std::slice::from_ref(subnet))
        })
        .collect();
    routes("database", None, &database);

    let ids = |subnets: &[Handle<Subnet>]| subnets.iter().map(|subnet| subnet.id().to_string()).collect::<Vec<_>>();
    blueprint.output("vpc_id", vpc.id().to_string());
    blueprint.output("public_subnet_ids", ids(&public));
    blueprint.output("private_subnet_ids", ids(&private));
    blueprint.output("database_subnet_ids", ids(&database));

    let s3 = VpcEndpointSpec {
        vpc: vpc.id(),
        service: endpoint_service(facts, "s3"),
        access: Access::Gateway { route_tables: private_routes.iter().map(Handle::id).collect() },
        policy: Some(s3_policy(facts)),
    };
    let endpoints = vec![blueprint.add::<VpcEndpoint>("endpoint-s3", &name("endpoint-s3"), s3)];

    Network { vpc, internet_gateway, public, private, database, private_nets: nets.private, private_routes, endpoints }
}

/// Adds the interface endpoints, whose group names the services' groups and so comes after them.
pub(super) fn add_endpoints(
    blueprint: &mut Blueprint,
    stack: &Stack,
    facts: &Facts,
    network: &mut Network,
    security: &Security,
) {
    for service in stack.interface_endpoints() {
        let access = Access::Interface {
            subnets: network.private.iter().map(Handle::id).collect(),
            security_groups: security.endpoints.iter().map(Handle::id).collect(),
            private_dns: true,
        };
        let spec =
            VpcEndpointSpec { vpc: network.vpc.id(), service: endpoint_service(facts, &service), access, policy: None };
        // Logical ids are words with hyphens; `ecr.api` has a dot.
        let id = format!("endpoint-{}", service.replace('.', "-"));
        let endpoint = blueprint.add::<VpcEndpoint>(id.clone(), &format!("{}-{id}", stack.name()), spec);
        network.endpoints.push(endpoint);
    }
}

fn endpoint_service(facts: &Facts, service: &str) -> String {
    format!("com.amazonaws.{}.{service}", facts.region)
}

/// What instances may do with S3: anything with the account's own buckets (as far as their role allows), and only
/// read elsewhere. AWS's own buckets (packages, agents, image layers) are read without credentials, and not all their
/// names are documented; nothing can be carried off to a bucket of somebody else.
fn s3_policy(facts: &Facts) -> serde_json::Value {
    json!({
        "Version": "2012-10-17",
        "Statement": [
            {
                "Sid": "OwnBuckets",
                "Effect": "Allow",
                "Principal": "*",
                "Action": "s3:*",
                "Resource": "*",
                "Condition": {"StringEquals": {"aws:ResourceAccount": facts.account}},
            },
            {
                "Sid": "ReadElsewhere",
                "Effect": "Allow",
                "Principal": "*",
                "Action": "s3:GetObject",
                "Resource": format!("arn:{}:s3:::*/*", facts.partition),
            },
        ],
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::blueprint::{
        compile,
        tests::{compiled, facts, stack},
    };
    use serde_json::{Value, json};

    fn ids<'a>(blueprint: &'a Blueprint, kind: &str) -> Vec<&'a str> {
        blueprint.nodes.iter().filter(|(_, node)| node.kind == kind).map(|(id, _)| id.as_str()).collect()
    }

    fn default_route(blueprint: &Blueprint, table: &str) -> Value {
        blueprint.nodes[table].spec["routes"][ANYWHERE].clone()
    }

    #[test]
    fn every_zone_has_its_subnets_and_its_own_way_out() {
        let blueprint = compiled(&stack(json!({"network": {"zones": ["a", "c"]}})));
        assert_eq!(ids(&blueprint, "subnet").len(), 6);
        assert_eq!(ids(&blueprint, "nat_gateway"), ["nat-a", "nat-c"]);
        assert_eq!(default_route(&blueprint, "routes-public"), json!({"internet_gateway": "⟦internet-gateway⟧"}));
        assert_eq!(default_route(&blueprint, "routes-private-a"), json!({"nat_gateway": "⟦nat-a!⟧"}));
        assert_eq!(default_route(&blueprint, "routes-private-c"), json!({"nat_gateway": "⟦nat-c!⟧"}));
        assert_eq!(blueprint.nodes["subnet-private-c"].spec["cidr"], "10.0.12.0/24");
        assert_eq!(blueprint.nodes["subnet-private-c"].spec["zone"], "ap-northeast-2c");
        assert_eq!(blueprint.nodes["subnet-private-c"].spec["public_ips"], false);
        assert_eq!(blueprint.nodes["nat-c"].dependencies()["internet-gateway"], Level::Created);
        assert_eq!(blueprint.outputs["private_subnet_ids"], json!(["⟦subnet-private-a⟧", "⟦subnet-private-c⟧"]));
    }

    #[test]
    fn a_zone_keeps_its_networks_when_others_come_and_go() {
        let zones = |zones: &[&str]| stack(json!({"network": {"zones": zones}}));
        let nets = |blueprint: &Blueprint| -> BTreeMap<String, String> {
            let cidr = |node: &crate::blueprint::Node| node.spec["cidr"].as_str().unwrap_or_default().to_owned();
            let subnets = blueprint.nodes.iter().filter(|(_, node)| node.kind == "subnet");
            subnets.map(|(id, node)| (id.clone(), cidr(node))).collect()
        };
        let first = nets(&compiled(&zones(&["a", "c"])));
        let again = |zones: &Stack, there: &BTreeMap<String, String>| {
            nets(&compile(zones, &Facts { subnets: there.clone(), ..facts() }))
        };
        let more = again(&zones(&["b", "a", "d", "c"]), &first);
        assert!(first.iter().all(|(id, net)| more[id] == *net), "{more:?}");
        assert_eq!((&*more["subnet-private-b"], &*more["subnet-private-d"]), ("10.0.13.0/24", "10.0.14.0/24"));
        // What a zone that goes has is free only once it is gone.
        let other = again(&zones(&["d", "c"]), &first);
        assert_eq!((&*other["subnet-public-d"], &*other["subnet-public-c"]), ("10.0.3.0/24", "10.0.2.0/24"));
        // Networks of another cut are nothing to keep.
        let foreign = first.keys().map(|id| (id.clone(), "10.9.0.0/24".to_owned())).collect();
        assert_eq!(again(&zones(&["a", "c"]), &foreign), first);
    }

    #[test]
    fn a_single_gateway_serves_all_zones_and_none_serves_none() {
        let single = compiled(&stack(json!({"network": {"zones": ["a", "c"], "nat": "single"}})));
        assert_eq!(ids(&single, "address"), ["address-a"]);
        assert_eq!(default_route(&single, "routes-private-c"), json!({"nat_gateway": "⟦nat-a!⟧"}));
        let none = compiled(&stack(json!({"network": {"zones": ["a", "c"], "nat": "none"}})));
        assert!(ids(&none, "address").is_empty() && ids(&none, "nat_gateway").is_empty());
        assert_eq!(none.nodes["routes-private-a"].spec["routes"], json!({}));
    }

    #[test]
    fn without_nat_instances_reach_aws_through_endpoints() {
        let none = compiled(&stack(json!({"network": {"zones": ["a", "c"], "nat": "none"}, "services": {"web": {}}})));
        let endpoints = ids(&none, "vpc_endpoint");
        for needed in ["endpoint-s3", "endpoint-ssm", "endpoint-secretsmanager", "endpoint-logs", "endpoint-sqs"] {
            assert!(endpoints.contains(&needed), "{needed} is missing in {endpoints:?}");
        }
        let ssm = &none.nodes["endpoint-ssm"].spec;
        assert_eq!(ssm["service"], "com.amazonaws.ap-northeast-2.ssm");
        assert_eq!(ssm["access"]["interface"]["subnets"], json!(["⟦subnet-private-a⟧", "⟦subnet-private-c⟧"]));
        assert_eq!(ssm["access"]["interface"]["security_groups"], json!(["⟦sg-endpoints⟧"]));

        let nat = compiled(&stack(json!({"network": {"endpoints": ["ecr.api"]}})));
        assert_eq!(ids(&nat, "vpc_endpoint"), ["endpoint-s3", "endpoint-ecr-api"]);
        let tables = &nat.nodes["endpoint-s3"].spec["access"]["gateway"]["route_tables"];
        assert_eq!(*tables, json!(["⟦routes-private-a⟧", "⟦routes-private-b⟧", "⟦routes-private-c⟧"]));
    }

    #[test]
    fn nothing_in_the_database_subnets_reaches_the_internet() {
        let blueprint = compiled(&stack(json!({"network": {"zones": ["a", "c"]}})));
        let table = &blueprint.nodes["routes-database"].spec;
        assert_eq!(table["routes"], json!({}));
        assert_eq!(table["subnets"], json!(["⟦subnet-database-a⟧", "⟦subnet-database-c⟧"]));
    }
}
