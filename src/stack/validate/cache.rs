//! ElastiCache for Redis.

use super::{Checker, windows};
use crate::stack::facts::cache as facts;

pub(super) fn check(c: &mut Checker<'_>) {
    let Some(cache) = &c.stack.cache else {
        return;
    };
    c.class("cache.class", &cache.class, facts::WHAT, facts::class(&cache.class));
    if let Some(eviction) = &cache.eviction {
        c.class("cache.eviction.class", &eviction.class, facts::WHAT, facts::class(&eviction.class));
    }
    if cache.multi_az && cache.replicas == 0 {
        c.error("multi-az", "Redis over several zones needs a replica")
            .at("cache.multi_az", "")
            .at("cache.replicas", "")
            .help("use `replicas: 1`, or leave `multi_az` out")
            .report();
    }
    if c.stack.protect && cache.replicas == 0 {
        c.warning("no-replica", "a protected Redis without a replica")
            .at("cache.replicas", "when its node fails, all holds and queues are lost")
            .help("use at least 1")
            .report();
    }
    if c.stack.protect && facts::is_burstable(&cache.class) {
        c.warning("burstable", format!("{} is made for development", cache.class))
            .at("cache.class", "slows down when its processor credits run out")
            .help("use a cache.r or cache.m class")
            .report();
    }
    c.days("cache.snapshots", cache.snapshots, 0, 35);
    if !cache.idle_timeout.is_zero() {
        c.seconds("cache.idle_timeout", cache.idle_timeout, "20s", "365d");
    }
    // Without snapshots their window is sent nowhere.
    let snapshots = (!cache.snapshots.is_zero()).then_some(("cache.snapshot_window", &*cache.snapshot_window));
    windows::check(c, snapshots, ("cache.maintenance_window", &cache.maintenance_window), 60);
}
