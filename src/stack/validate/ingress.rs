//! The load balancer: certificate, TLS, who may connect.

use super::Checker;
use super::network::host_bits;
use crate::stack::diagnostic::did_you_mean;
use crate::stack::facts::limits::{GROUP_RULES, OLD_TLS_POLICIES, TLS_POLICIES};

pub(super) fn check(c: &mut Checker<'_>) {
    let stack = c.stack;
    let ingress = &stack.ingress;
    if let Some(arn) = &ingress.certificate {
        certificate(c, arn);
    } else if stack.protect && !stack.services.is_empty() && !c.origins.is_refused("ingress.certificate") {
        c.warning("no-certificate", "a protected stack without HTTPS")
            .at_key("ingress", "")
            .help("add `certificate`, the ARN of an ACM certificate in the same region")
            .report();
    }
    tls_policy(c, &ingress.tls_policy);
    c.seconds("ingress.idle_timeout", ingress.idle_timeout, "1s", "4000s");
    if ingress.allowed_cidrs.is_empty() {
        c.error("ingress", "nobody may connect")
            .at("ingress.allowed_cidrs", "")
            .help("write `[0.0.0.0/0]` for everybody")
            .report();
    }
    let rules = ingress.allowed_cidrs.len() * if ingress.certificate.is_some() { 2 } else { 1 };
    if rules > GROUP_RULES {
        c.warning("ingress", format!("{rules} rules are more than a security group takes"))
            .at("ingress.allowed_cidrs", format!("AWS allows {GROUP_RULES} unless a quota is raised"))
            .report();
    }
    for (index, net) in ingress.allowed_cidrs.iter().enumerate() {
        host_bits(c, &format!("ingress.allowed_cidrs[{index}]"), *net);
    }
    if stack.services.is_empty() && c.origins.is_written("ingress") {
        c.warning("ingress", "without a service there is no load balancer").at_key("ingress", "has no effect").report();
    }
}

/// `arn:aws:acm:<region>:<account>:certificate/<id>`.
fn certificate(c: &mut Checker<'_>, arn: &str) {
    let path = "ingress.certificate";
    let home = c.stack.region.as_str();
    let parts: Vec<&str> = arn.splitn(6, ':').collect();
    let ["arn", partition, "acm", region, account, resource] = parts[..] else {
        c.error("certificate", "this is not the ARN of an ACM certificate")
            .at(path, "")
            .help(format!("write `arn:aws:acm:{}:<account>:certificate/<id>`", home))
            .report();
        return;
    };
    let digits = account.len() == 12 && account.bytes().all(|b| b.is_ascii_digit());
    let id = resource.strip_prefix("certificate/").unwrap_or_default();
    let good_id = !id.is_empty() && id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
    if !partition.starts_with("aws") || !digits || !good_id {
        c.error("certificate", "this is not the ARN of an ACM certificate")
            .at(path, "")
            .help("it ends with an account of twelve digits and `certificate/<id>`")
            .report();
    }
    if region != home {
        c.error("certificate", format!("the certificate is in {region} and the stack in {home}"))
            .at(path, "")
            .at("region", "")
            .help("a load balancer takes certificates of its own region only; request one there")
            .report();
    }
}

fn tls_policy(c: &mut Checker<'_>, policy: &str) {
    let path = "ingress.tls_policy";
    if TLS_POLICIES.contains(&policy) {
        return;
    }
    if OLD_TLS_POLICIES.contains(&policy) {
        c.warning("tls-policy", format!("`{policy}` allows old versions of TLS, or lacks 1.3"))
            .at(path, "")
            .help(format!("use `{}`", TLS_POLICIES[0]))
            .report();
        return;
    }
    let known = TLS_POLICIES.iter().chain(OLD_TLS_POLICIES).copied();
    let form = policy.starts_with("ELBSecurityPolicy-TLS13-");
    if form && policy.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-') {
        c.warning("tls-policy", format!("ticketctl doesn't know the TLS policy `{policy}`"))
            .at(path, "AWS may refuse this")
            .maybe_help(did_you_mean(policy, known))
            .report();
    } else {
        c.error("tls-policy", format!("AWS has no TLS policy `{policy}`"))
            .at(path, "")
            .maybe_help(did_you_mean(policy, known))
            .report();
    }
}
