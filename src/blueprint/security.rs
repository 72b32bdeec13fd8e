//! The security groups: one per thing that talks, with rules that name the other group. Nobody gets in by SSH;
//! sessions go through Systems Manager, which instances call from inside.

use crate::{
    blueprint::{Blueprint, network::Network},
    resource::{
        Handle, SecurityGroup,
        security_group::{Rule, Rules, SecurityGroupSpec},
    },
    stack::Stack,
};
use indexmap::IndexMap;
use ipnet::Ipv4Net;

pub(super) const DATABASE_PORT: u16 = 3306;
pub(super) const CACHE_PORT: u16 = 6379;

/// The groups that the stack needs.
pub(super) struct Security {
    pub load_balancer: Option<Handle<SecurityGroup>>,
    /// By service.
    pub services: IndexMap<String, Handle<SecurityGroup>>,
    pub database: Option<Handle<SecurityGroup>>,
    pub cache: Option<Handle<SecurityGroup>>,
    /// For interface endpoints.
    pub endpoints: Option<Handle<SecurityGroup>>,
}

/// Adds the groups.
///
/// What may leave: the load balancer reaches the services' ports in the private subnets only (by address, since two
/// groups whose rules name each other could be neither made nor deleted in one step). Services may call anything:
/// payment providers and mail servers have ports that we can't know, and where they mustn't, `nat: none` leaves them
/// no route. Answers need no rule, so the database, the cache and the endpoints, which never call anyone, get none.
pub(super) fn add(blueprint: &mut Blueprint, stack: &Stack, network: &Network) -> Security {
    let mut group = |what: &str, description: &str, ingress: Rules, egress: Rules| {
        let name = format!("{}-{what}", stack.name());
        let spec = SecurityGroupSpec { vpc: network.vpc.id(), description: description.to_owned(), ingress, egress };
        blueprint.add::<SecurityGroup>(format!("sg-{what}"), &name, spec)
    };

    let load_balancer = (!stack.services.is_empty()).then(|| {
        group("load-balancer", "Public load balancer", visitors(stack), to_services(stack, &network.private_nets))
    });
    let services: IndexMap<String, Handle<SecurityGroup>> = stack
        .services
        .iter()
        .map(|(name, service)| {
            let requests =
                load_balancer.iter().map(|from| (Rule::tcp(service.port, from.id()), "Load balancer".to_owned()));
            let anything = Rules::from([(Rule::everything(), "Services outside and inside".to_owned())]);
            (name.clone(), group(name, &format!("Instances of {name}"), requests.collect(), anything))
        })
        .collect();

    let from_services = |port: u16| {
        services.iter().map(|(name, from)| (Rule::tcp(port, from.id()), format!("Service {name}"))).collect()
    };
    let database =
        stack.database.as_ref().map(|_| group("database", "Aurora", from_services(DATABASE_PORT), Rules::new()));
    let cache = stack.cache.as_ref().map(|_| group("cache", "Redis", from_services(CACHE_PORT), Rules::new()));
    let endpoints = (!stack.interface_endpoints().is_empty())
        .then(|| group("endpoints", "Interface endpoints of AWS services", from_services(443), Rules::new()));

    Security { load_balancer, services, database, cache, endpoints }
}

/// HTTP, and HTTPS once there is a certificate, from whom the stack lets in.
fn visitors(stack: &Stack) -> Rules {
    let ports = [(80, "HTTP")].into_iter().chain(stack.ingress.certificate.as_ref().map(|_| (443, "HTTPS")));
    ports
        .flat_map(|(port, protocol)| {
            let cidrs = stack.ingress.allowed_cidrs.iter();
            cidrs.map(move |cidr| (Rule::tcp(port, cidr.trunc()), protocol.to_owned()))
        })
        .collect()
}

fn to_services(stack: &Stack, subnets: &[Ipv4Net]) -> Rules {
    stack
        .services
        .values()
        .flat_map(|service| subnets.iter().map(|net| (Rule::tcp(service.port, net.trunc()), "Services".to_owned())))
        .collect()
}

#[cfg(test)]
mod tests {
    use crate::blueprint::tests::{compiled, stack};
    use serde_json::{Value, json};

    fn two_services() -> Value {
        json!({
            "network": {"zones": ["a", "c"]},
            "services": {"web": {"port": 8080}, "api": {"port": 9000}},
            "database": {},
            "cache": {},
        })
    }

    fn peers(rules: &Value) -> Vec<&str> {
        rules.as_object().expect("rules are a map").keys().map(String::as_str).collect()
    }

    #[test]
    fn data_is_reached_from_the_services_alone_and_calls_nobody() {
        let nodes = compiled(&stack(two_services())).nodes;
        assert_eq!(peers(&nodes["sg-database"].spec["ingress"]), ["tcp/3306 ⟦sg-api⟧", "tcp/3306 ⟦sg-web⟧"]);
        assert_eq!(peers(&nodes["sg-cache"].spec["ingress"]), ["tcp/6379 ⟦sg-api⟧", "tcp/6379 ⟦sg-web⟧"]);
        for id in ["sg-database", "sg-cache"] {
            assert_eq!(nodes[id].spec["egress"], json!({}), "{id}");
        }
    }

    #[test]
    fn services_are_reached_through_the_load_balancer_alone() {
        let nodes = compiled(&stack(two_services())).nodes;
        assert_eq!(peers(&nodes["sg-web"].spec["ingress"]), ["tcp/8080 ⟦sg-load-balancer⟧"]);
        assert_eq!(peers(&nodes["sg-api"].spec["ingress"]), ["tcp/9000 ⟦sg-load-balancer⟧"]);
        assert_eq!(
            peers(&nodes["sg-load-balancer"].spec["egress"]),
            ["tcp/8080 10.0.11.0/24", "tcp/8080 10.0.12.0/24", "tcp/9000 10.0.11.0/24", "tcp/9000 10.0.12.0/24"]
        );
    }

    #[test]
    fn https_opens_with_a_certificate_and_only_to_those_let_in() {
        let mut parts = two_services();
        parts["ingress"] = json!({"allowed_cidrs": ["203.0.113.7/24"]});
        let http = compiled(&stack(parts.clone())).nodes;
        assert_eq!(peers(&http["sg-load-balancer"].spec["ingress"]), ["tcp/80 203.0.113.0/24"]);
        parts["ingress"]["certificate"] = json!("arn:aws:acm:ap-northeast-2:123456789012:certificate/1");
        let https = compiled(&stack(parts)).nodes;
        assert_eq!(
            peers(&https["sg-load-balancer"].spec["ingress"]),
            ["tcp/80 203.0.113.0/24", "tcp/443 203.0.113.0/24"]
        );
    }

    #[test]
    fn nobody_gets_in_by_ssh_and_no_group_is_made_without_need() {
        for parts in [two_services(), json!({}), json!({"network": {"nat": "none"}, "services": {"web": {}}})] {
            let nodes = compiled(&stack(parts)).nodes;
            let groups = nodes.iter().filter(|(_, node)| node.kind == "security_group");
            for (id, node) in groups {
                assert!(peers(&node.spec["ingress"]).iter().all(|rule| !rule.starts_with("tcp/22 ")), "{id}");
                let description = node.spec["description"].as_str().expect("a text");
                let accepted = |c: char| c.is_ascii_alphanumeric() || " ._-:/()#,@[]+=&;{}!$*".contains(c);
                assert!(description.chars().all(accepted), "{description}");
            }
        }
        let nodes = compiled(&stack(json!({}))).nodes;
        assert!(nodes.values().all(|node| node.kind != "security_group"));
    }
}
