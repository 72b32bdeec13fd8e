//! The load balancer's kinds.

use serde_json::{Value, json};

use super::{
    intrinsic::Fact,
    resource::{CloudFormation, Part, Resource},
};
use crate::resource::{
    Listener, ListenerRule, LoadBalancer, TargetGroup,
    listener::{DefaultAction, ListenerSpec, Tls},
    listener_rule::ListenerRuleSpec,
    load_balancer::{self, LoadBalancerSpec},
    target_group::{self, HealthCheck, TargetGroupSpec},
};

fn attributes(attributes: Vec<(&'static str, String)>) -> Value {
    attributes.into_iter().map(|(key, value)| json!({"Key": key, "Value": value})).collect()
}

impl CloudFormation for LoadBalancer {
    const TYPE: &'static str = "AWS::ElasticLoadBalancingV2::LoadBalancer";

    fn fact(output: Option<&str>) -> Option<Fact> {
        match output {
            None | Some("arn") => Some(Fact::Ref),
            Some("dns_name") => Some(Fact::Attribute("DNSName")),
            Some("zone_id") => Some(Fact::Attribute("CanonicalHostedZoneID")),
            Some("metric_dimension") => Some(Fact::Attribute("LoadBalancerFullName")),
            Some(_) => None,
        }
    }

    fn write(part: &Part<'_>, spec: LoadBalancerSpec) -> Resource {
        let wished = attributes(load_balancer::wished_attributes(&spec));
        let LoadBalancerSpec {
            name,
            subnets,
            security_groups,
            // All of them among the attributes.
            deletion_protection: _,
            idle_timeout: _,
            http2: _,
            drop_invalid_headers: _,
            desync_mitigation: _,
            access_logs: _,
        } = spec;
        Resource::new::<LoadBalancer>(json!({
            "Name": name,
            "Type": "application",
            "Scheme": "internet-facing",
            "IpAddressType": "ipv4",
            "Subnets": subnets,
            "SecurityGroups": security_groups,
            "LoadBalancerAttributes": wished,
            "Tags": part.tags(),
        }))
    }
}

impl CloudFormation for TargetGroup {
    const TYPE: &'static str = "AWS::ElasticLoadBalancingV2::TargetGroup";

    fn fact(output: Option<&str>) -> Option<Fact> {
        match output {
            None => Some(Fact::Ref),
            Some("metric_dimension") => Some(Fact::Attribute("TargetGroupFullName")),
            Some(_) => None,
        }
    }

    fn write(part: &Part<'_>, spec: TargetGroupSpec) -> Resource {
        let wished = attributes(target_group::wished_attributes(&spec));
        let TargetGroupSpec {
            name,
            vpc,
            port,
            health_check: HealthCheck { path, interval, timeout, healthy, unhealthy, matcher },
            // All of them among the attributes.
            slow_start: _,
            deregistration_delay: _,
            stickiness: _,
            algorithm: _,
            cross_zone: _,
        } = spec;
        Resource::new::<TargetGroup>(json!({
            "Name": name,
            "VpcId": vpc,
            "TargetType": "instance",
            "Protocol": "HTTP",
            "ProtocolVersion": "HTTP1",
            "Port": port,
            "HealthCheckEnabled": true,
            "HealthCheckProtocol": "HTTP",
            "HealthCheckPort": "traffic-port",
            "HealthCheckPath": path,
            "HealthCheckIntervalSeconds": interval,
            "HealthCheckTimeoutSeconds": timeout,
            "HealthyThresholdCount": healthy,
            "UnhealthyThresholdCount": unhealthy,
            "Matcher": {"HttpCode": matcher},
            "TargetGroupAttributes": wished,
            "Tags": part.tags(),
        }))
    }
}

fn forward(target_group: &str) -> Value {
    json!({"Type": "forward", "TargetGroupArn": target_group})
}

impl CloudFormation for Listener {
    const TYPE: &'static str = "AWS::ElasticLoadBalancingV2::Listener";

    /// It has no tags in CloudFormation.
    fn write(_part: &Part<'_>, spec: ListenerSpec) -> Resource {
        let ListenerSpec { load_balancer, port, tls, default_action } = spec;
        let action = match default_action {
            DefaultAction::Forward(target_group) => forward(&target_group),
            DefaultAction::RedirectToHttps => json!({
                "Type": "redirect",
                "RedirectConfig": {"Protocol": "HTTPS", "Port": "443", "StatusCode": "HTTP_301"},
            }),
            DefaultAction::NotFound | DefaultAction::Other(_) => json!({
                "Type": "fixed-response",
                "FixedResponseConfig": {"StatusCode": "404", "ContentType": "text/plain", "MessageBody": "not found"},
            }),
        };
        let protocol = if tls.is_some() { "HTTPS" } else { "HTTP" };
        let (certificates, policy) = match tls {
            Some(Tls { certificate, policy }) => (Some(json!([{"CertificateArn": certificate}])), Some(policy)),
            None => (None, None),
        };
        Resource::new::<Listener>(json!({
            "LoadBalancerArn": load_balancer,
            "Port": port,
            "Protocol": protocol,
            "Certificates": certificates,
            "SslPolicy": policy,
            "DefaultActions": [action],
        }))
    }
}

impl CloudFormation for ListenerRule {
    const TYPE: &'static str = "AWS::ElasticLoadBalancingV2::ListenerRule";

    /// It has no tags in CloudFormation.
    fn write(_part: &Part<'_>, spec: ListenerRuleSpec) -> Resource {
        let ListenerRuleSpec { listener, priority, path, target_group } = spec;
        Resource::new::<ListenerRule>(json!({
            "ListenerArn": listener,
            "Priority": priority,
            "Conditions": [{"Field": "path-pattern", "PathPatternConfig": {"Values": [path]}}],
            "Actions": [forward(&target_group)],
        }))
    }
}
