//! Services: where they come from, how many there are, when they scale, what they answer.

use super::Checker;
use crate::stack::diagnostic::SECRET;
use crate::stack::facts::{instances, limits};
use crate::stack::types::{Build, CargoBuild, Service};

pub(super) fn check(c: &mut Checker<'_>) {
    for (name, service) in &c.stack.services {
        let path = format!("services.{name}");
        program(c, &path, service);
        build(c, &path, service);
        counts(c, &path, service);
        scaling(c, &path, service);
        health(c, &path, service);
        c.seconds(&format!("{path}.rollout.bake"), service.rollout.bake, "0s", "1h");
        environment(c, &path, service);
        arguments(c, &path, service);
    }
    paths(c);
}

fn program(c: &mut Checker<'_>, path: &str, service: &Service) {
    match (&service.artifact, &service.image) {
        (Some(_), Some(_)) => c
            .error("program", "a service comes from an artifact or from an image, not from both")
            .at(&format!("{path}.artifact"), "")
            .at(&format!("{path}.image"), "")
            .report(),
        (None, None) => {
            // One of them may be there but refused.
            let refused = ["artifact", "image"].iter().any(|key| c.origins.is_refused(&format!("{path}.{key}")));
            if !refused {
                c.error("program", format!("`{path}` has neither an artifact nor an image"))
                    .at_key(path, "what should run here?")
                    .help("add `artifact: target/release/ticketing`, the path of an executable")
                    .report();
            }
        }
        _ => {}
    }
    let class = &service.instances.instance_type;
    c.class(&format!("{path}.instances.type"), class, instances::WHAT, instances::instance_type(class));
}

fn build(c: &mut Checker<'_>, path: &str, service: &Service) {
    let at = format!("{path}.build");
    match (&service.build, &service.artifact) {
        (Some(Build::Command(command)), _) if command == "false" => {
            c.error("build", "`build` is a command, or `true` for cargo")
                .at(&at, "")
                .help("write `build: null` to build nothing, or leave it out")
                .report();
        }
        (Some(Build::Cargo), None) if service.image.is_some() => {
            c.error("build", "`build: true` builds the artifact, and there is none")
                .at(&at, "")
                .help("leave it out: an image is built elsewhere")
                .report();
        }
        (Some(Build::Cargo), Some(artifact)) if CargoBuild::of(artifact).is_none() => {
            c.error("build", "cargo puts no release build there")
                .at(&at, "`true` lets cargo build")
                .at(&format!("{path}.artifact"), "")
                .help(
                    "the path ends with `release/<program>`, such as `target/release/ticketing` or \
                     `target/aarch64-unknown-linux-musl/release/ticketing`; for anything else write a command",
                )
                .report();
        }
        _ => {}
    }
}

fn counts(c: &mut Checker<'_>, path: &str, service: &Service) {
    let i = &service.instances;
    let (min, desired, max) =
        (format!("{path}.instances.min"), format!("{path}.instances.desired"), format!("{path}.instances.max"));
    if i.min > i.max {
        c.error("counts", format!("`min` is {} and `max` is {}", i.min, i.max))
            .at(&min, "more than `max`")
            .at(&max, "")
            .report();
    } else if i.desired < i.min {
        c.error("counts", format!("`desired` is {} and `min` is {}", i.desired, i.min))
            .at(&desired, "less than `min`")
            .at(&min, "")
            .report();
    } else if i.desired > i.max {
        c.error("counts", format!("`desired` is {} and `max` is {}", i.desired, i.max))
            .at(&desired, "more than `max`")
            .at(&max, "")
            .report();
    }
    if i.min < 2 && c.stack.protect {
        c.warning("single-instance", format!("`{path}` may run on fewer than 2 instances"))
            .at(&min, "the loss of a zone can take the service down")
            .help("a protected stack wants at least 2")
            .report();
    }
}

/// Fewer requests per instance and minute than this look like a number per second: 3000 are 50 per second.
const FEW_REQUESTS_PER_MINUTE: f64 = 3000.0;

fn scaling(c: &mut Checker<'_>, path: &str, service: &Service) {
    let scaling = &service.scaling;
    let i = &service.instances;
    let path = format!("{path}.scaling");
    let none = scaling.cpu.is_none() && scaling.requests_per_target_per_minute.is_none() && scaling.steps.is_none();
    // A policy whose name is mistyped was meant to be one.
    if none && i.min < i.max && !c.origins.is_refused(&path) && !c.origins.has_unknown_keys(&path) {
        c.warning("no-scaling", "no policy adds or takes away instances")
            .at_key(&path, "")
            .help("add `cpu: 70`, or set `max` to `min`")
            .report();
    }
    if let Some(steps) = &scaling.steps
        && steps.below >= steps.above
    {
        c.error("steps", format!("`below` is {} and `above` is {}", steps.below, steps.above))
            .at(&format!("{path}.steps.below"), "must be less than `above`")
            .at(&format!("{path}.steps.above"), "")
            .report();
    }
    if let Some(target) = scaling.requests_per_target_per_minute {
        requests(c, &path, service, target);
    } else if scaling.expected_peak_requests_per_second.is_some() {
        c.warning("scaling", "the expected peak is compared with nothing")
            .at(&format!("{path}.expected_peak_requests_per_second"), "")
            .help("give `requests_per_target_per_minute` as well: what one instance takes")
            .report();
    }
    c.seconds(&format!("{path}.warmup"), scaling.warmup, "0s", "1h");
    c.seconds(&format!("{path}.cooldown"), scaling.cooldown, "0s", "1h");
}

fn requests(c: &mut Checker<'_>, path: &str, service: &Service, per_minute: f64) {
    let target = format!("{path}.requests_per_target_per_minute");
    let max = service.instances.max;
    let per_second = per_minute / 60.0;
    let together = per_second * f64::from(max);
    let services_path = path.trim_end_matches(".scaling");
    if let Some(peak) = service.scaling.expected_peak_requests_per_second {
        let needed = (peak / per_second).ceil();
        if needed > f64::from(max) {
            let enough = (peak * 60.0 / f64::from(max)).ceil();
            c.error("scaling", format!("the expected peak needs {needed} instances and `max` is {max}"))
                .at(&target, format!("{per_second:.1} requests per second and instance"))
                .at(&format!("{path}.expected_peak_requests_per_second"), "")
                .at(&format!("{services_path}.instances.max"), "")
                .help(format!("raise `max` to {needed}, or the target to {enough} if an instance can take it"))
                .report();
            return;
        }
    }
    if per_minute < FEW_REQUESTS_PER_MINUTE {
        c.warning("scaling", format!("{per_minute} requests per minute are {per_second:.1} per second"))
            .at(&target, format!("{max} instances then take {together:.0} requests per second"))
            .help("AWS counts requests per target and minute")
            .report();
    }
}

fn health(c: &mut Checker<'_>, path: &str, service: &Service) {
    let health = &service.health;
    let at = |key: &str| format!("{path}.health.{key}");
    c.seconds(&at("interval"), health.interval, "5s", "300s");
    c.seconds(&at("timeout"), health.timeout, "2s", "120s");
    c.seconds(&at("grace"), health.grace, "0s", "2h");
    if health.timeout >= health.interval {
        c.error("health", "the health check's timeout must be less than its interval")
            .at(&at("timeout"), "")
            .at(&at("interval"), "")
            .report();
    }
    if !health.path.starts_with('/') || health.path.len() > 1024 || !health.path.chars().all(|c| c.is_ascii_graphic()) {
        c.error("health", "the health check's path must begin with `/` and have no spaces")
            .at(&at("path"), "")
            .report();
    }
    let backwards = |range: &str| range.split_once('-').is_some_and(|(first, last)| first > last);
    if health.matcher.split(',').any(backwards) {
        c.error("health", "a range of statuses goes from the lower to the higher").at(&at("matcher"), "").report();
    }
    let slow_start = format!("{path}.slow_start");
    if !service.slow_start.is_zero() {
        c.seconds(&slow_start, service.slow_start, "30s", "15m");
    }
    c.seconds(&format!("{path}.deregistration_delay"), service.deregistration_delay, "0s", "1h");
}

/// Endings of names that hold secrets.
const SECRET_NAMES: &[&str] = &[
    "PASSWORD",
    "PASSWD",
    "PASS",
    "PWD",
    "SECRET",
    "SECRET_KEY",
    "TOKEN",
    "PRIVATE_KEY",
    "API_KEY",
    "ACCESS_KEY",
    "CREDENTIALS",
];

/// Variables that say where everything is; the instance gets them from ticketctl.
const OURS: [&str; 7] = [
    "AWS_REGION",
    "TICKETCTL_BUCKET",
    "TICKETCTL_PARAMETERS",
    "TICKETCTL_SERVICE",
    "TICKETCTL_STACK",
    "TICKETING_IDLE_SECONDS",
    "TICKETING_LISTEN",
];

fn environment(c: &mut Checker<'_>, path: &str, service: &Service) {
    for (name, value) in &service.env {
        let path = format!("{path}.env.{name}");
        let first = name.chars().next().unwrap_or('0');
        let plain = |c: char| c.is_ascii_alphanumeric() || c == '_';
        if first.is_ascii_digit() || !name.chars().all(plain) {
            c.error("env", format!("`{name}` can't be the name of an environment variable")).at_key(&path, "").report();
        }
        if OURS.contains(&name.as_str()) {
            c.error("env", format!("ticketctl sets `{name}`")).at_key(&path, "leave it out").report();
        }
        unprintable(c, "env", &path, value);
        if names_secret(name) || holds_secret(value) {
            secret(c, &path, &format!("`{name}`"));
        }
    }
}

fn arguments(c: &mut Checker<'_>, path: &str, service: &Service) {
    for (index, argument) in service.args.iter().enumerate() {
        unprintable(c, "args", &format!("{path}.args[{index}]"), argument);
        let option = argument.strip_prefix("--").and_then(|option| option.split_once('='));
        if option.is_some_and(|(name, _)| names_secret(name)) || holds_secret(argument) {
            secret(c, &format!("{path}.args"), &format!("argument {}", index + 1));
        }
    }
}

fn secret(c: &mut Checker<'_>, path: &str, what: &str) {
    c.error(SECRET, format!("{what} looks like a secret"))
        .at_key(path, "everybody who may describe the launch template could read it")
        .help("keep it in Secrets Manager, and let the program fetch it with the instance's role")
        .report();
}

/// A name that ends as those of secrets do. The short ones count as words only: a `BYPASS` is none.
fn names_secret(name: &str) -> bool {
    let name = name.to_uppercase().replace('-', "_");
    let ends = |ending: &&str| {
        let before = name.strip_suffix(*ending);
        before.is_some_and(|before| ending.len() > 4 || before.is_empty() || before.ends_with('_'))
    };
    SECRET_NAMES.iter().any(ends)
}

/// An access key, or an address with a password.
fn holds_secret(value: &str) -> bool {
    let with_password = |rest: &str| {
        let authority = rest.split(['/', '?', '#', ' ', '\n']).next().unwrap_or_default();
        let user = authority.rsplit_once('@').map(|(user, _)| user);
        user.and_then(|user| user.split_once(':')).is_some_and(|(_, password)| !password.is_empty())
    };
    holds_access_key(value) || value.split("://").skip(1).any(with_password)
}

/// No shell can hold a NUL, and no other control character but a tab or an end of line means anything in a program's values.
fn unprintable(c: &mut Checker<'_>, what: &'static str, path: &str, value: &str) {
    if let Some(control) = value.chars().find(|c| c.is_control() && !matches!(c, '\t' | '\n' | '\r')) {
        c.error(what, format!("the control character {} can't be part of a value", control.escape_default()))
            .at(path, "")
            .report();
    }
}

/// AWS access key ids are recognisable: AKIA or ASIA and sixteen more characters.
fn holds_access_key(value: &str) -> bool {
    let is_rest =
        |rest: &str| rest.len() >= 16 && rest.bytes().take(16).all(|b| b.is_ascii_uppercase() || b.is_ascii_digit());
    ["AKIA", "ASIA"].iter().any(|prefix| value.match_indices(prefix).any(|(at, _)| is_rest(&value[at + 4..])))
}

/// Path patterns of listener rules: one rule for each but `/*`, which is the listener's default.
fn paths(c: &mut Checker<'_>) {
    let mut seen: Vec<(&str, String)> = Vec::new();
    for (name, service) in &c.stack.services {
        for (index, pattern) in service.paths.iter().enumerate() {
            let path = format!("services.{name}.paths[{index}]");
            let allowed = |c: char| c.is_ascii_alphanumeric() || "_-.$/~\"'@:+&*?".contains(c);
            if !pattern.starts_with('/') || pattern.len() > 128 || !pattern.chars().all(allowed) {
                c.error("path", format!("`{pattern}` can't be a path of the load balancer"))
                    .at(&path, "")
                    .help("up to 128 letters, digits and _ - . $ / ~ \" ' @ : + & * ?, beginning with `/`")
                    .report();
            }
            let wildcards = pattern.matches(['*', '?']).count();
            if wildcards > limits::RULE_WILDCARDS {
                c.error("path", format!("the load balancer takes {} wildcards in a path", limits::RULE_WILDCARDS))
                    .at(&path, format!("has {wildcards}"))
                    .report();
            }
            if let Some((_, other)) = seen.iter().find(|(known, _)| known == pattern) {
                c.error("path", format!("`{pattern}` goes to two places")).at(&path, "").at(other, "").report();
            }
            seen.push((pattern, path));
        }
    }
    if seen.len() > limits::RULES {
        c.warning("path", format!("{} paths are more than a load balancer takes", seen.len()))
            .at_key("services", format!("AWS allows {} unless a quota is raised", limits::RULES))
            .report();
    }
    let catches_all = seen.iter().any(|(pattern, _)| matches!(*pattern, "/*" | "*"));
    let refused = c.stack.services.keys().any(|name| c.origins.is_refused(&format!("services.{name}.paths")));
    if !c.stack.services.is_empty() && !catches_all && !refused {
        c.warning("path", "no service has the path `/*`")
            .at_key("services", "other requests are answered with 404")
            .report();
    }
}
