//! Bucket, queue, alarms and logs.

use super::Checker;
use crate::stack::facts::{database as facts, limits};
use crate::stack::types::{Alerts, Messaging, Storage};

pub(super) fn check(c: &mut Checker<'_>) {
    if let Some(it) = &c.stack.storage {
        storage(c, it);
    }
    if let Some(it) = &c.stack.messaging {
        messaging(c, it);
    }
    match &c.stack.alerts {
        Some(it) => alerts(c, it),
        None if c.stack.protect && !c.origins.is_refused("alerts") => c
            .warning("no-alerts", "a protected stack without alarms")
            .help("add `alerts: {email: ops@example.com}`")
            .report(),
        None => {}
    }
    logs(c);
}

fn storage(c: &mut Checker<'_>, storage: &Storage) {
    c.days("storage.expire_noncurrent", storage.expire_noncurrent, 1, 3650);
    c.days("storage.abort_uploads", storage.abort_uploads, 1, 365);
    if storage.empty_on_destroy && c.stack.protect {
        c.warning("unprotected", "`destroy` empties the bucket of a protected stack")
            .at("storage.empty_on_destroy", "")
            .report();
    }
}

fn messaging(c: &mut Checker<'_>, messaging: &Messaging) {
    c.seconds("messaging.visibility", messaging.visibility, "0s", "12h");
    c.seconds("messaging.retention", messaging.retention, "60s", "14d");
    c.seconds("messaging.receive_wait", messaging.receive_wait, "0s", "20s");
    c.seconds("messaging.delay", messaging.delay, "0s", "15m");
    c.seconds("messaging.dead_letter_retention", messaging.dead_letter_retention, "60s", "14d");
    if messaging.dead_letter_retention < messaging.retention {
        // A dead letter keeps the time at which it was first sent, so it would be gone too soon.
        c.error("retention", "dead letters must be kept at least as long as messages")
            .at("messaging.dead_letter_retention", "")
            .at("messaging.retention", "")
            .report();
    }
}

fn alerts(c: &mut Checker<'_>, alerts: &Alerts) {
    let stack = c.stack;
    let limits = &alerts.thresholds;
    let at = |key: &str| format!("alerts.thresholds.{key}");
    if alerts.email.is_none() && stack.protect && !c.origins.is_refused("alerts.email") {
        c.warning("nobody-told", "nobody is told when an alarm goes off")
            .at_key("alerts", "")
            .help("add `email`")
            .report();
    }
    if limits.cpu_warning >= limits.cpu {
        c.warning("threshold", "the early warning on CPU doesn't come before the alarm")
            .at(&at("cpu_warning"), "")
            .at(&at("cpu"), "")
            .report();
    }
    for (name, service) in &stack.services {
        if service.instances.min < limits.healthy_hosts {
            c.warning("threshold", format!("the alarm on healthy instances of `{name}` may go off when all is well"))
                .at(&at("healthy_hosts"), "")
                .at(&format!("services.{name}.instances.min"), "as few as this are allowed")
                .report();
        }
    }
    if let Some(database) = &stack.database
        && let Some(most) = facts::max_connections(&database.class)
        && limits.database_connections >= most
        && !database.parameters.contains_key("max_connections")
    {
        c.warning("threshold", format!("{} allows {most} connections, so the alarm never goes off", database.class))
            .at(&at("database_connections"), "")
            .at("database.class", "")
            .report();
    }
    for (key, value) in [
        ("database_read_latency", limits.database_read_latency),
        ("database_write_latency", limits.database_write_latency),
        ("queue_age", limits.queue_age),
    ] {
        if value.is_zero() {
            c.error("range", format!("`{}` must be more than 0s", at(key))).at(&at(key), "").report();
        }
    }
}

fn logs(c: &mut Checker<'_>) {
    let retention = c.stack.logs.retention;
    let days = retention.days();
    if limits::LOG_RETENTION_DAYS.contains(&days) && retention.is_whole_days() {
        return;
    }
    let next = limits::LOG_RETENTION_DAYS.iter().find(|known| **known >= days);
    let known = limits::LOG_RETENTION_DAYS.iter().map(|days| format!("{days}d"));
    c.error("retention", format!("CloudWatch can't keep logs for {retention}"))
        .at("logs.retention", "")
        .maybe_help(next.map(|days| format!("did you mean `{days}d`?")))
        .help(format!("allowed: {}", known.collect::<Vec<_>>().join(", ")))
        .report();
}
