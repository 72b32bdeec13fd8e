//! What the control plane says of a load balancer, as the proxy wants it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use aws_sdk_ec2::types::InstanceStateName;
use aws_sdk_elasticloadbalancingv2::types::{
    Action as AwsAction, ActionTypeEnum, Rule as AwsRule, TargetHealthStateEnum,
};

use super::{Action, HealthCheck, Listener, Redirect, Rule, TargetGroup, TargetKey, Wanted};
use crate::local::plane::fleet::Member;
use crate::local::plane::world::{self, Targets, World};

/// Everything that one load balancer is to be.
///
/// # Errors
/// When it wants what isn't known here.
pub fn of(
    found: &world::Balancer,
    address: Ipv4Addr,
    tls: Option<&Arc<rustls::ServerConfig>>,
    world: &World,
    members: &BTreeMap<String, Member>,
) -> Result<Wanted, String> {
    let idle = found.attributes.get("idle_timeout.timeout_seconds").and_then(|text| text.parse().ok()).unwrap_or(60);
    let mut listeners = BTreeMap::new();
    for known in &found.listeners {
        let port = known.listener.port().and_then(|port| u16::try_from(port).ok()).unwrap_or_default();
        let listener = listener(known, tls).map_err(|reason| format!("port {port}: {reason}"))?;
        listeners.insert(port, listener);
    }
    let actions = listeners
        .values()
        .flat_map(|listener: &Listener| listener.rules.iter().map(|rule| &rule.action).chain([&listener.default]));
    let arns: BTreeSet<&str> = actions
        .filter_map(|action| match action {
            Action::Forward(groups) => Some(groups.iter().map(|(arn, _)| arn.as_str())),
            _ => None,
        })
        .flatten()
        .collect();
    let groups = world.targets.iter().filter_map(|targets| {
        let arn = targets.group.target_group_arn().filter(|arn| arns.contains(arn))?;
        Some((arn.to_owned(), group(targets, world, members)))
    });
    let groups = groups.collect();
    Ok(Wanted { address: IpAddr::V4(address), idle_timeout: Duration::from_secs(idle), listeners, groups })
}

fn listener(known: &world::Listener, tls: Option<&Arc<rustls::ServerConfig>>) -> Result<Listener, String> {
    let mut rules: Vec<&AwsRule> = known.rules.iter().filter(|rule| rule.is_default() != Some(true)).collect();
    // Priorities are numbers, written out.
    rules.sort_by_key(|rule| rule.priority().and_then(|priority| priority.parse::<u32>().ok()));
    let rules = rules.into_iter().map(|rule| Ok(Rule { paths: paths(rule)?, action: action(rule.actions())? }));
    Ok(Listener {
        tls: tls.filter(|_| !known.listener.certificates().is_empty()).cloned(),
        rules: rules.collect::<Result<_, String>>()?,
        default: action(known.listener.default_actions())?,
    })
}

fn paths(rule: &AwsRule) -> Result<Vec<String>, String> {
    match rule.conditions() {
        [condition] if condition.field() == Some("path-pattern") => {
            let values = condition.path_pattern_config().map(|config| config.values()).unwrap_or_default();
            Ok(if values.is_empty() { condition.values() } else { values }.to_vec())
        }
        _ => Err("rules by anything but the path are not known in the local cloud".to_owned()),
    }
}

fn action(actions: &[AwsAction]) -> Result<Action, String> {
    let [action] = actions else { return Err("several actions in a row are not known in the local cloud".to_owned()) };
    let text = |text: Option<&str>, default: &str| text.unwrap_or(default).to_owned();
    match action.r#type() {
        Some(ActionTypeEnum::Forward) => {
            let weighted = action.forward_config().map(|config| config.target_groups()).unwrap_or_default();
            let weighted = weighted.iter().filter_map(|group| {
                let weight = u32::try_from(group.weight().unwrap_or(1)).unwrap_or_default();
                Some((group.target_group_arn()?.to_owned(), weight))
            });
            let weighted: Vec<_> = weighted.collect();
            let single = action.target_group_arn().map(|arn| (arn.to_owned(), 1));
            Ok(Action::Forward(if weighted.is_empty() { single.into_iter().collect() } else { weighted }))
        }
        Some(ActionTypeEnum::Redirect) => {
            let config = action.redirect_config().ok_or("a redirect says nothing of where to")?;
            Ok(Action::Redirect(Redirect {
                permanent: config.status_code().is_some_and(|code| code.as_str() == "HTTP_301"),
                protocol: text(config.protocol(), "#{protocol}"),
                host: text(config.host(), "#{host}"),
                port: text(config.port(), "#{port}"),
                path: text(config.path(), "/#{path}"),
                query: text(config.query(), "#{query}"),
            }))
        }
        Some(ActionTypeEnum::FixedResponse) => {
            let config = action.fixed_response_config().ok_or("a fixed answer says nothing")?;
            let status =
                config.status_code().and_then(|code| code.parse().ok()).ok_or("a fixed answer has no status")?;
            let content_type = text(config.content_type(), "text/plain");
            Ok(Action::Fixed { status, content_type, body: text(config.message_body(), "") })
        }
        other => Err(format!("the action {other:?} is not known in the local cloud")),
    }
}

fn group(targets: &Targets, world: &World, members: &BTreeMap<String, Member>) -> TargetGroup {
    let found = &targets.group;
    let seconds = |number: Option<i32>, default: u64| {
        Duration::from_secs(number.and_then(|number| u64::try_from(number).ok()).unwrap_or(default))
    };
    let count = |number: Option<i32>, default: u32| number.and_then(|number| number.try_into().ok()).unwrap_or(default);
    let check = HealthCheck {
        path: found.health_check_path().unwrap_or("/").to_owned(),
        interval: seconds(found.health_check_interval_seconds(), 30),
        timeout: seconds(found.health_check_timeout_seconds(), 5),
        healthy: count(found.healthy_threshold_count(), 5),
        unhealthy: count(found.unhealthy_threshold_count(), 2),
        matcher: found.matcher().and_then(|matcher| matcher.http_code()).unwrap_or("200").to_owned(),
    };
    let delay = targets.attributes.get("deregistration_delay.timeout_seconds").and_then(|text| text.parse().ok());
    let registered = targets.registered.iter().filter_map(|registered| {
        let state = registered.target_health().and_then(|health| health.state());
        let id = registered.target()?.id()?;
        let port = registered.target()?.port().or(found.port()).and_then(|port| u16::try_from(port).ok())?;
        // What the gateway tells of those that drain comes from here.
        if state == Some(&TargetHealthStateEnum::Draining) {
            return None;
        }
        // The emulator may go on naming one that was terminated.
        let member = members.get(id).filter(|_| lives(id, world))?;
        Some((TargetKey { id: id.to_owned(), port }, (member.address, port).into()))
    });
    TargetGroup {
        check,
        deregistration_delay: Duration::from_secs(delay.unwrap_or(300)),
        targets: registered.collect(),
    }
}

fn lives(instance: &str, world: &World) -> bool {
    let machine = world.machines.iter().find(|machine| machine.instance.instance_id() == Some(instance));
    let state = machine.and_then(|machine| machine.instance.state()?.name());
    matches!(state, Some(InstanceStateName::Pending | InstanceStateName::Running))
}
