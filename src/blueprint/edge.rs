//! The way in: the public load balancer, a target group for each service, and which requests go where.

use indexmap::IndexMap;
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, BTreeSet};

use crate::{
    blueprint::{Blueprint, network::Network, security::Security},
    resource::{
        Handle, Level, Listener, ListenerRule, LoadBalancer, TargetGroup, elb,
        listener::{DefaultAction, ListenerSpec, Tls},
        listener_rule::{self, ListenerRuleSpec},
        load_balancer::{self, AccessLogs, LoadBalancerSpec},
        target_group::{HealthCheck, TargetGroupSpec},
    },
    stack::{Stack, types::Service},
};

/// What access logs begin with in the stack's bucket; its policy lets the load balancer write there.
pub const ACCESS_LOG_PREFIX: &str = "load-balancer";

/// The way in.
pub struct EdgeHandles {
    pub load_balancer: Handle<LoadBalancer>,
    /// By service.
    pub target_groups: IndexMap<String, Handle<TargetGroup>>,
    /// By port.
    pub listeners: BTreeMap<i32, Handle<Listener>>,
    pub rules: Vec<Handle<ListenerRule>>,
}

/// Adds the load balancer and what belongs to it, if the stack has services. `bucket` is the name of the bucket for
/// access logs, ready to be written to.
pub(super) fn add(
    blueprint: &mut Blueprint,
    stack: &Stack,
    network: &Network,
    security: &Security,
    bucket: Option<String>,
) -> Option<EdgeHandles> {
    let group = security.load_balancer.as_ref()?;
    let name = elb::name(&stack.name(), load_balancer::NAME_SUFFIX);
    let spec = LoadBalancerSpec {
        name: name.clone(),
        subnets: network.public.iter().map(Handle::id).collect(),
        security_groups: BTreeSet::from([group.id()]),
        deletion_protection: stack.ingress.deletion_protection,
        idle_timeout: stack.ingress.idle_timeout.secs(),
        http2: true,
        drop_invalid_headers: true,
        desync_mitigation: "defensive".into(),
        access_logs: match bucket.filter(|_| stack.ingress.access_logs) {
            Some(bucket) => AccessLogs { enabled: true, bucket, prefix: ACCESS_LOG_PREFIX.into() },
            None => AccessLogs::default(),
        },
    };
    let load_balancer = blueprint.add::<LoadBalancer>(LoadBalancer::ID, &name, spec);
    blueprint.after(&load_balancer, &network.internet_gateway, Level::Created);

    let target_groups: IndexMap<_, _> = stack
        .services
        .iter()
        .map(|(service, wanted)| (service.clone(), target_group(blueprint, stack, network, service, wanted)))
        .collect();
    let (listeners, main) = listeners(blueprint, stack, &load_balancer, &target_groups);
    let rules = rules(blueprint, stack, &main, &target_groups);

    let scheme = if stack.ingress.certificate.is_some() { "https" } else { "http" };
    blueprint.output("alb_arn", load_balancer.arn());
    blueprint.output("alb_dns_name", load_balancer.dns_name());
    blueprint.output("alb_zone_id", load_balancer.zone_id());
    blueprint.output("alb_url", format!("{scheme}://{}", load_balancer.dns_name()));
    Some(EdgeHandles { load_balancer, target_groups, listeners, rules })
}

/// The port is in the name: with another one the group is replaced, and both are there for a while.
fn target_group(
    blueprint: &mut Blueprint,
    stack: &Stack,
    network: &Network,
    service: &str,
    wanted: &Service,
) -> Handle<TargetGroup> {
    let name = elb::name(&stack.name(), &format!("{service}-{}", wanted.port));
    let count = |number: u32| i32::try_from(number).unwrap_or(i32::MAX);
    let spec = TargetGroupSpec {
        name: name.clone(),
        vpc: network.vpc.id(),
        port: wanted.port.into(),
        health_check: HealthCheck {
            path: wanted.health.path.clone(),
            interval: wanted.health.interval.secs(),
            timeout: wanted.health.timeout.secs(),
            healthy: count(wanted.health.healthy),
            unhealthy: count(wanted.health.unhealthy),
            matcher: wanted.health.matcher.clone(),
        },
        slow_start: wanted.slow_start.secs(),
        deregistration_delay: wanted.deregistration_delay.secs(),
        // Any instance can serve any request: what must be remembered is in Redis and Aurora.
        stickiness: false,
        // The one algorithm that goes together with slow start.
        algorithm: "round_robin".into(),
        cross_zone: true,
    };
    blueprint.add::<TargetGroup>(format!("target-group-{service}"), &name, spec)
}

/// All listeners, and the one that serves requests.
fn listeners(
    blueprint: &mut Blueprint,
    stack: &Stack,
    load_balancer: &Handle<LoadBalancer>,
    target_groups: &IndexMap<String, Handle<TargetGroup>>,
) -> (BTreeMap<i32, Handle<Listener>>, Handle<Listener>) {
    let mut add = |port: i32, tls, default_action| {
        let spec = ListenerSpec { load_balancer: load_balancer.id(), port, tls, default_action };
        blueprint.add::<Listener>(format!("listener-{port}"), &format!("{}-{port}", stack.name()), spec)
    };
    let serve = match default_service(stack) {
        Some(service) => DefaultAction::Forward(target_groups[service].id()),
        None => DefaultAction::NotFound,
    };
    match &stack.ingress.certificate {
        Some(certificate) => {
            let tls = Tls { certificate: certificate.clone(), policy: stack.ingress.tls_policy.clone() };
            let http = add(80, None, DefaultAction::RedirectToHttps);
            let https = add(443, Some(tls), serve);
            (BTreeMap::from([(80, http), (443, https.clone())]), https)
        }
        None => {
            let http = add(80, None, serve);
            (BTreeMap::from([(80, http.clone())]), http)
        }
    }
}

fn takes_everything(path: &str) -> bool {
    ["/*", "*"].contains(&path)
}

/// The first service that takes what nobody else does.
fn default_service(stack: &Stack) -> Option<&str> {
    let takes_all = |service: &Service| service.paths.iter().any(|path| takes_everything(path));
    stack.services.iter().find(|(_, service)| takes_all(service)).map(|(name, _)| name.as_str())
}

/// A rule for each path pattern but the one that takes everything, which is the listener's default. One for each, because
/// the paths of two services may lie within each other both ways, and a rule has a single place in the order.
fn rules(
    blueprint: &mut Blueprint,
    stack: &Stack,
    listener: &Handle<Listener>,
    target_groups: &IndexMap<String, Handle<TargetGroup>>,
) -> Vec<Handle<ListenerRule>> {
    let mut services: BTreeMap<&str, &str> = BTreeMap::new();
    for (name, service) in &stack.services {
        for path in service.paths.iter().filter(|path| !takes_everything(path)) {
            services.entry(path).or_insert(name);
        }
    }
    priorities(services.keys().copied())
        .into_iter()
        .map(|(path, priority)| {
            let target_group = target_groups[services[path]].id();
            let spec = ListenerRuleSpec { listener: listener.id(), priority, path: path.to_owned(), target_group };
            let id = listener_rule::logical_id(path);
            blueprint.add::<ListenerRule>(id.clone(), &format!("{}-{id}", stack.name()), spec)
        })
        .collect()
}

/// Longest pattern that a load balancer takes.
const LONGEST: usize = 128;
/// Priorities go up to 50,000.
/// Source of both: <https://docs.aws.amazon.com/elasticloadbalancing/latest/application/load-balancer-limits.html>
const LAST_PRIORITY: usize = 50_000;

/// The patterns with their priorities, the first to be looked at first: what has more characters that aren't wildcards is
/// more specific, then what has no `*`. The number follows from the pattern itself, so that a new pattern doesn't
/// move the others.
fn priorities<'a>(paths: impl Iterator<Item = &'a str>) -> Vec<(&'a str, i32)> {
    let classes = LONGEST * 2 + 2;
    let places = LAST_PRIORITY / classes;
    let specificity = |path: &str| {
        let literal = path.chars().filter(|character| !['*', '?'].contains(character)).count();
        literal.min(LONGEST) * 2 + usize::from(!path.contains('*'))
    };
    let mut sorted: Vec<&str> = paths.collect();
    sorted.sort_by_key(|path| (std::cmp::Reverse(specificity(path)), *path));
    let mut taken = BTreeSet::new();
    sorted
        .into_iter()
        .map(|path| {
            let digest = Sha256::digest(path);
            let place = usize::from(u16::from_be_bytes([digest[0], digest[1]])) % places;
            let mut priority = (classes - 1 - specificity(path)) * places + place + 1;
            while !taken.insert(priority) {
                priority += 1;
            }
            (path, i32::try_from(priority).unwrap_or(i32::MAX))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::blueprint::tests::{compiled, stack};
    use serde_json::json;

    #[test]
    fn the_specific_is_looked_at_before_the_general() {
        let paths = ["/api/*", "/api/queue/*", "/api/queue/status", "/api/?", "/*.png", "/static/*", "/staff*"];
        let order = |paths: &[&'static str]| priorities(paths.iter().copied());
        let all = order(&paths);
        let place = |path: &str| all.iter().find(|(other, _)| *other == path).expect("it is there").1;
        for (first, then) in [
            ("/api/queue/status", "/api/queue/*"),
            ("/api/queue/*", "/api/*"),
            ("/api/?", "/api/*"),
            ("/api/queue/*", "/staff*"),
        ] {
            assert!(place(first) < place(then), "{first} before {then}: {all:?}");
        }
        // A pattern more doesn't move those that are there.
        for (path, priority) in order(&paths[..4]) {
            assert_eq!(place(path), priority, "{path}");
        }
        let longest = "/".repeat(LONGEST);
        let extremes: Vec<&str> = vec!["*?", &longest];
        assert!(priorities(extremes.into_iter()).iter().all(|(_, priority)| (1..=50_000).contains(priority)));
    }

    #[test]
    fn http_serves_or_leads_to_https() {
        let http = compiled(&stack(json!({"services": {"web": {}}}))).nodes;
        assert_eq!(http["listener-80"].spec["default_action"], json!({"forward": "⟦target-group-web⟧"}));
        assert!(!http.contains_key("listener-443"));
        let certificate = "arn:aws:acm:ap-northeast-2:123456789012:certificate/1";
        let parts = json!({"services": {"web": {}}, "ingress": {"certificate": certificate}});
        let https = compiled(&stack(parts));
        assert_eq!(https.nodes["listener-80"].spec["default_action"], "redirect_to_https");
        assert_eq!(https.nodes["listener-443"].spec["tls"]["certificate"], certificate);
        assert_eq!(https.nodes["listener-443"].spec["default_action"], json!({"forward": "⟦target-group-web⟧"}));
        assert_eq!(https.outputs["alb_url"], "https://⟦load-balancer#dns_name⟧");
    }

    #[test]
    fn services_share_the_paths() {
        let parts = json!({"services": {
            "api": {"paths": ["/api/*", "/files/*"], "port": 9000},
            "queue": {"paths": ["/api/queue/*"]},
        }});
        let nodes = compiled(&stack(parts)).nodes;
        assert_eq!(nodes["listener-80"].spec["default_action"], "not_found");
        assert_eq!(nodes["rule-/api/queue/+"].spec["target_group"], "⟦target-group-queue⟧");
        assert_eq!(nodes["rule-/files/+"].spec["target_group"], "⟦target-group-api⟧");
        assert_eq!(nodes["target-group-api"].spec["name"], "ticketing-dev-api-9000");
    }

    #[test]
    fn the_health_check_asks_what_the_service_answers() {
        let parts = json!({"services": {"web": {"health": {"path": "/up", "interval": "10s", "timeout": "3s"}}}});
        let spec = &compiled(&stack(parts)).nodes["target-group-web"].spec;
        assert_eq!(spec["health_check"]["path"], "/up");
        assert_eq!(spec["health_check"]["interval"], 10);
        assert_eq!(spec["stickiness"], false);
    }

    #[test]
    fn without_services_there_is_no_way_in() {
        let nodes = compiled(&stack(json!({}))).nodes;
        assert!(!nodes.contains_key("load-balancer"));
    }
}
