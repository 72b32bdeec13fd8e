//! Aurora MySQL.

use regex_lite::Regex;

use super::{Checker, windows};
use crate::stack::diagnostic::did_you_mean;
use crate::stack::facts::{database as facts, limits};
use crate::stack::types::Database;

pub(super) fn check(c: &mut Checker<'_>) {
    let Some(database) = &c.stack.database else {
        return;
    };
    class(c, database);
    availability(c, database);
    connections(c, database);
    settings(c, database);
    parameters(c, database);
    windows::check(
        c,
        Some(("database.backup_window", &database.backup_window)),
        ("database.maintenance_window", &database.maintenance_window),
        30,
    );
}

fn class(c: &mut Checker<'_>, database: &Database) {
    let class = &database.class;
    c.class("database.class", class, facts::WHAT, facts::class(class));
    if database.performance_insights && !facts::supports_performance_insights(class) {
        c.error("performance-insights", format!("Aurora MySQL has no Performance Insights on {class}"))
            .at("database.performance_insights", "")
            .at("database.class", "")
            .help("leave `performance_insights` out, or use a larger class such as db.t4g.medium or db.r6g.large")
            .report();
    }
    if facts::is_withdrawn(&database.version) {
        c.error("version", format!("AWS no longer offers {}", database.version))
            .at("database.version", "")
            .help(format!("use {}, of the long-term support line", Database::default().version))
            .report();
    }
}

fn availability(c: &mut Checker<'_>, database: &Database) {
    if !c.stack.protect {
        return;
    }
    if database.readers == 0 {
        c.warning("no-reader", "a protected database without a reader")
            .at("database.readers", "when the writer fails, a new one takes minutes")
            .help("use at least 1")
            .report();
    }
    if facts::is_burstable(&database.class) {
        c.warning("burstable", format!("{} is made for development", database.class))
            .at("database.class", "slows down when its processor credits run out")
            .help("use a db.r class")
            .report();
    }
}

/// All instances of all services at once must be able to connect.
fn connections(c: &mut Checker<'_>, database: &Database) {
    let Some(limit) = facts::max_connections(&database.class) else { return };
    let instances: u32 = c.stack.services.values().map(|service| service.instances.max).sum();
    let largest = c.stack.services.iter().max_by_key(|(_, service)| service.instances.max);
    let Some((service, _)) = largest.filter(|_| instances * facts::FEWEST_CONNECTIONS > limit) else { return };
    c.warning("connections", format!("{instances} instances want more connections than a {} has", database.class))
        .at("database.class", format!("allows {limit}"))
        .at(&format!("services.{service}.instances.max"), format!("{} for each", facts::FEWEST_CONNECTIONS))
        .help("use a larger class, or fewer instances")
        .report();
}

fn settings(c: &mut Checker<'_>, database: &Database) {
    c.days("database.backup", database.backup, 1, 35);
    c.seconds("database.slow_query", database.slow_query, "1s", "1h");
    let monitoring = database.enhanced_monitoring;
    if !limits::MONITORING_SECONDS.contains(&monitoring.secs()) || !monitoring.is_whole_secs() {
        c.error("monitoring", format!("RDS has no enhanced monitoring every {monitoring}"))
            .at("database.enhanced_monitoring", "")
            .help("use 1s, 5s, 10s, 15s, 30s or 60s, or 0s for none")
            .report();
    }
    let zone = database.time_zone.as_str();
    if !facts::TIME_ZONES.contains(&zone) {
        c.error("time-zone", format!("Aurora MySQL has no time zone `{zone}`"))
            .at("database.time_zone", "")
            .maybe_help(did_you_mean(zone, facts::TIME_ZONES.iter().copied()))
            .report();
    }
    if facts::RESERVED_USERS.contains(&database.username.to_lowercase().as_str()) {
        c.error("username", format!("Aurora keeps the user `{}` for itself", database.username))
            .at("database.username", "")
            .report();
    }
    let own = ["mysql", "sys", "information_schema", "performance_schema"];
    if own.contains(&database.name.to_lowercase().as_str()) {
        c.error("database-name", format!("MySQL keeps the database `{}` for itself", database.name))
            .at("database.name", "")
            .report();
    }
}

/// Cluster parameters that follow from other keys, and the key to use instead.
const MANAGED: &[(&str, &str)] = &[
    ("time_zone", "set `database.time_zone`"),
    ("slow_query_log", "put `slowquery` into `database.log_exports`"),
    ("long_query_time", "set `database.slow_query`"),
    ("server_audit_logging", "put `audit` into `database.log_exports`"),
    ("server_audit_events", "put `audit` into `database.log_exports`"),
    ("require_secure_transport", "connections are encrypted, always"),
    ("character_set_server", "it is utf8mb4"),
    ("character_set_client", "it is utf8mb4"),
    ("character_set_connection", "it is utf8mb4"),
    ("character_set_database", "it is utf8mb4"),
    ("character_set_results", "it is utf8mb4"),
];

fn parameters(c: &mut Checker<'_>, database: &Database) {
    let good = Regex::new("^[a-z][a-z0-9_]*$");
    for name in database.parameters.keys() {
        let path = format!("database.parameters.{name}");
        if let Some((_, instead)) = MANAGED.iter().find(|(managed, _)| managed == name) {
            c.error("parameter", format!("ticketctl sets the parameter `{name}`"))
                .at_key(&path, "leave it out")
                .help(*instead)
                .report();
        } else if !good.as_ref().is_ok_and(|good| good.is_match(name)) {
            c.error("parameter", format!("`{name}` can't be a parameter of Aurora MySQL")).at_key(&path, "").report();
        }
    }
}
