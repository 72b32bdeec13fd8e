//! Names and tags.

use std::collections::HashMap;

use regex_lite::Regex;

use super::Checker;
use crate::stack::facts::limits;
use crate::stack::name::{full_name, name};

pub(super) fn check(c: &mut Checker<'_>) {
    service_names(c);
    kept_beginnings(c);
    shortened_names(c);
    tags(c);
    protection(c);
}

/// What ticketctl itself calls a security group or a log group, as it calls a service's by the name of the service.
const TAKEN: [&str; 5] = ["load-balancer", "database", "cache", "endpoints", "flow-logs"];

/// Service names become parts of AWS names, so they obey the same rule as `project`.
fn service_names(c: &mut Checker<'_>) {
    let good = Regex::new("^[a-z][a-z0-9]*(-[a-z0-9]+)*$");
    for service in c.stack.services.keys() {
        let fits = good.as_ref().is_ok_and(|good| good.is_match(service)) && service.len() <= 32;
        if !fits {
            c.error("name", format!("`{service}` can't be the name of a service"))
                .at_key(&format!("services.{service}"), "")
                .help("up to 32 lower-case letters, digits and single hyphens, beginning with a letter")
                .report();
        }
        if TAKEN.contains(&service.as_str()) {
            c.error("name", format!("`{service}` is taken by another part of the stack"))
                .at_key(&format!("services.{service}"), "name the service differently")
                .report();
        }
        // An alarm of a database instance would be called as one of the service is.
        if service.strip_prefix("database-").is_some_and(|number| number.bytes().all(|b| b.is_ascii_digit())) {
            c.error("name", format!("`{service}` is what an instance of the database is called"))
                .at_key(&format!("services.{service}"), "name the service differently")
                .report();
        }
        // The second group of a service called `web` is `web-standby`, by all its names.
        if service.ends_with("-standby") {
            c.error("name", format!("`{service}` is what the second group of a service would be called"))
                .at_key(&format!("services.{service}"), "name the service differently")
                .help("blue-green and canary deployments make a second group, `…-standby`, beside the service's own")
                .report();
        }
    }
}

/// AWS keeps names that begin so for itself. Sources: `CreateLoadBalancer`, Elastic Load Balancing API Reference;
/// `CreateSecurityGroup`, Amazon EC2 API Reference; "General purpose bucket naming rules", Amazon S3 User Guide.
fn kept_beginnings(c: &mut Checker<'_>) {
    let stack = c.stack;
    let kept = [
        ("internal-", "load balancer", !stack.services.is_empty()),
        ("sg-", "security group", true),
        ("sthree-", "bucket", stack.storage.is_some()),
    ];
    for (beginning, what, there) in kept {
        if there && stack.name().starts_with(beginning) {
            c.error("name", format!("the name of a {what} would begin with `{beginning}`, which AWS refuses"))
                .at("project", "call the project differently")
                .report();
        }
    }
}

/// Tells what AWS's limits make of long names.
fn shortened_names(c: &mut Checker<'_>) {
    let stack = c.stack;
    let mut named: Vec<(&str, Vec<&str>, usize)> = Vec::new();
    if !stack.services.is_empty() {
        named.push(("load balancer", vec!["alb"], limits::LOAD_BALANCER_NAME));
    }
    for service in stack.services.keys() {
        named.push(("target group", vec![service], limits::LOAD_BALANCER_NAME));
    }
    if stack.cache.is_some() {
        named.push(("Redis group", vec!["redis"], limits::REPLICATION_GROUP_NAME));
    }
    for (what, parts, limit) in named {
        let wanted = full_name(stack, &parts);
        if wanted.len() > limit {
            let short = name(stack, &parts, limit);
            c.warning("name-shortened", format!("the {what} is called `{short}`"))
                .at("project", format!("AWS allows {limit} characters, and `{wanted}` has {}", wanted.len()))
                .at("environment", "")
                .report();
        }
    }
}

fn tags(c: &mut Checker<'_>) {
    let tags = &c.stack.tags;
    let most = limits::TAGS - limits::OWN_TAGS;
    if tags.len() > most {
        c.error("tags", format!("{} tags are too many", tags.len()))
            .at_key("tags", format!("AWS allows {}, of which ticketctl needs {}", limits::TAGS, limits::OWN_TAGS))
            .report();
    }
    let own = ["name", "project", "environment", "managedby"];
    let allowed = |c: char| c.is_alphanumeric() || " +-=._:/@".contains(c);
    // Roles take no two keys that differ in case only. Source: "Tags for IAM resources", IAM User Guide.
    let mut seen: HashMap<String, &str> = HashMap::new();
    for (key, value) in tags {
        let path = format!("tags.{key}");
        let lower = key.to_lowercase();
        if let Some(first) = seen.insert(lower.clone(), key) {
            c.error("tags", format!("the tags `{first}` and `{key}` differ in upper and lower case only"))
                .at_key(&path, "")
                .at_key(&format!("tags.{first}"), "")
                .help("AWS takes them for one on some resources")
                .report();
        }
        if lower.starts_with("aws:") || lower.starts_with("ticketctl:") {
            c.error("tags", format!("the tag `{key}` has a reserved prefix")).at_key(&path, "").report();
        } else if own.contains(&lower.as_str()) {
            c.error("tags", format!("the tag `{key}` is set by ticketctl")).at_key(&path, "leave it out").report();
        } else if key.is_empty() || key.chars().count() > 128 || !key.chars().all(allowed) || key.trim() != key {
            c.error("tags", format!("`{key}` can't be the key of a tag"))
                .at_key(&path, "")
                .help("1 to 128 letters, digits and + - = . _ : / @, with spaces only in between")
                .report();
        }
        // Load balancers take no spaces at the ends, and others cut them off.
        if value.chars().count() > 256 || !value.chars().all(allowed) || value.trim() != value {
            c.error("tags", format!("the value of the tag `{key}` isn't allowed in AWS"))
                .at(&path, "")
                .help("up to 256 letters, digits and + - = . _ : / @, with spaces only in between")
                .report();
        }
    }
}

fn protection(c: &mut Checker<'_>) {
    let production = matches!(c.stack.environment.as_str(), "prod" | "production");
    if production && !c.stack.protect {
        c.warning("unprotected", "a production stack without protection against deletion").at("protect", "").report();
    }
}
