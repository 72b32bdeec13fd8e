//! What AWS fills in by itself: a load balancer's scheme and type, and the defaults of attributes. And the one value of an
//! attribute that moto refuses.

use crate::local::gateway::call::Call;
use crate::local::gateway::reply::{Refusal, Reply};
use crate::local::gateway::state::State;
use crate::local::gateway::upstream::rewrite;
use crate::local::gateway::xml::Element;

/// Defaults of an Application Load Balancer's attributes (API reference, LoadBalancerAttribute).
const LOAD_BALANCER: [(&str, &str); 18] = [
    ("access_logs.s3.enabled", "false"),
    ("access_logs.s3.bucket", ""),
    ("access_logs.s3.prefix", ""),
    ("client_keep_alive.seconds", "3600"),
    ("connection_logs.s3.enabled", "false"),
    ("connection_logs.s3.bucket", ""),
    ("connection_logs.s3.prefix", ""),
    ("deletion_protection.enabled", "false"),
    ("idle_timeout.timeout_seconds", "60"),
    ("routing.http.desync_mitigation_mode", "defensive"),
    ("routing.http.drop_invalid_header_fields.enabled", "false"),
    ("routing.http.preserve_host_header.enabled", "false"),
    ("routing.http.x_amzn_tls_version_and_cipher_suite.enabled", "false"),
    ("routing.http.xff_client_port.enabled", "false"),
    ("routing.http.xff_header_processing.mode", "append"),
    ("routing.http2.enabled", "true"),
    ("waf.fail_open.enabled", "false"),
    ("zonal_shift.config.enabled", "false"),
];

/// Defaults of an HTTP target group's attributes (API reference, TargetGroupAttribute).
const TARGET_GROUP: [(&str, &str); 14] = [
    ("deregistration_delay.timeout_seconds", "300"),
    ("load_balancing.algorithm.anomaly_mitigation", "off"),
    ("load_balancing.algorithm.type", "round_robin"),
    ("load_balancing.cross_zone.enabled", "use_load_balancer_configuration"),
    ("slow_start.duration_seconds", "0"),
    ("stickiness.enabled", "false"),
    ("stickiness.type", "lb_cookie"),
    ("stickiness.lb_cookie.duration_seconds", "86400"),
    ("stickiness.app_cookie.cookie_name", ""),
    ("stickiness.app_cookie.duration_seconds", "86400"),
    ("target_group_health.dns_failover.minimum_healthy_targets.count", "1"),
    ("target_group_health.dns_failover.minimum_healthy_targets.percentage", "off"),
    ("target_group_health.unhealthy_state_routing.minimum_healthy_targets.count", "1"),
    ("target_group_health.unhealthy_state_routing.minimum_healthy_targets.percentage", "off"),
];

const DELAY: &str = "deregistration_delay.timeout_seconds";
/// The longest delay (API reference, TargetGroupAttribute), and the longest that moto takes.
const LONGEST_DELAY: [&str; 2] = ["3600", "3599"];
const TARGETS: &str = "target-group";

pub fn request(call: &mut Call) {
    match call.operation.as_str() {
        "CreateLoadBalancer" => fill_in_defaults(call),
        "ModifyTargetGroupAttributes" => shorten_delay(call),
        _ => {}
    }
}

/// moto refuses the longest delay: it gets the next one, and the gateway keeps the real one.
fn shorten_delay(call: &mut Call) {
    let value = call.form.pairs().iter().find(|(_, text)| text == DELAY).map(|(key, _)| key.replace(".Key", ".Value"));
    if let Some(value) = value.filter(|value| call.form.text(value) == LONGEST_DELAY[0]) {
        call.form.set(&value, LONGEST_DELAY[1]);
        rewrite(call);
    }
}

/// Remembers whether the delay that was set is the longest.
fn remember_delay(state: &State, call: &Call) {
    let attributes = call.form.structures("Attributes");
    let Some(delay) = attributes.iter().find(|attribute| attribute.text("Key") == DELAY) else { return };
    let key = (TARGETS, call.form.text("TargetGroupArn").to_owned());
    let value = delay.text("Value");
    if value == LONGEST_DELAY[0] {
        state.memory().attributes.entry(key).or_default().insert(DELAY.to_owned(), Element::leaf("Value", value));
    } else {
        state.memory().attributes.remove(&key);
    }
}

/// The defaults of a load balancer, which moto leaves empty.
fn fill_in_defaults(call: &mut Call) {
    for (key, default) in [("Scheme", "internet-facing"), ("Type", "application"), ("IpAddressType", "ipv4")] {
        if call.form.get(key).is_none() {
            call.form.set(key, default);
        }
    }
    rewrite(call);
}

pub fn answer(state: &State, call: &Call, reply: Reply) -> Result<Reply, Refusal> {
    if call.operation == "ModifyTargetGroupAttributes" {
        remember_delay(state, call);
    }
    let defaults: &[(&str, &str)] = match call.operation.as_str() {
        "DescribeLoadBalancerAttributes" if call.form.text("LoadBalancerArn").contains(":loadbalancer/app/") => {
            &LOAD_BALANCER
        }
        "DescribeTargetGroupAttributes" => &TARGET_GROUP,
        _ => return Ok(reply),
    };
    let mut answer = reply.element()?;
    let kept = state.memory().attributes.get(&(TARGETS, call.form.text("TargetGroupArn").to_owned())).cloned();
    if let Some(attributes) = answer.find_mut("Attributes") {
        for attribute in &mut attributes.children {
            if let Some(value) = kept.as_ref().and_then(|kept| kept.get(attribute.get("Key"))) {
                attribute.set(value.clone());
            }
            // Always on for Application Load Balancers, whose target groups may still do without; the emulator says what
            // is the default of the other kinds.
            if call.operation == "DescribeLoadBalancerAttributes"
                && attribute.get("Key") == "load_balancing.cross_zone.enabled"
                && attribute.get("Value") == "false"
            {
                attribute.set(Element::leaf("Value", "true"));
            }
        }
        for (key, value) in defaults {
            if !attributes.children.iter().any(|attribute| attribute.get("Key") == *key) {
                let attribute =
                    Element::new("member").with(Element::leaf("Key", key)).with(Element::leaf("Value", value));
                attributes.children.push(attribute);
            }
        }
    }
    Ok(reply.with_element(&answer))
}
