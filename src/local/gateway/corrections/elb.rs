//! What AWS fills in by itself: a load balancer's scheme and type, and the defaults of attributes.

use crate::local::gateway::call::Call;
use crate::local::gateway::reply::{Refusal, Reply};
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

/// The defaults of a load balancer, which moto leaves empty.
pub fn request(call: &mut Call) {
    if call.operation != "CreateLoadBalancer" {
        return;
    }
    for (key, default) in [("Scheme", "internet-facing"), ("Type", "application"), ("IpAddressType", "ipv4")] {
        if call.form.get(key).is_none() {
            call.form.set(key, default);
        }
    }
    rewrite(call);
}

pub fn answer(call: &Call, reply: Reply) -> Result<Reply, Refusal> {
    let defaults: &[(&str, &str)] = match call.operation.as_str() {
        "DescribeLoadBalancerAttributes" if call.form.text("LoadBalancerArn").contains(":loadbalancer/app/") => {
            &LOAD_BALANCER
        }
        "DescribeTargetGroupAttributes" => &TARGET_GROUP,
        _ => return Ok(reply),
    };
    let mut answer = reply.element()?;
    if let Some(attributes) = answer.find_mut("Attributes") {
        for attribute in &mut attributes.children {
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
