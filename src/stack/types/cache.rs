use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::stack::units::{Duration, without_default};

/// ElastiCache for Redis with TLS and a generated AUTH token. It never evicts: locks, holds and queues live here.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Cache {
    /// Version of Redis: `7.0` or `7.1`.
    #[schemars(regex(pattern = r"^7\.[01]$"))]
    #[schemars(extend("patternErrorMessage" = "7.0 or 7.1"))]
    pub version: String,

    /// Node type.
    #[schemars(example = &"cache.t3.micro")]
    pub class: String,

    /// Replicas of the primary. With one or more, a lost primary is replaced by itself.
    #[schemars(range(min = 0, max = 5))]
    pub replicas: u32,

    /// Spread over zones. Default: whether there is a replica.
    #[schemars(transform = without_default)]
    pub multi_az: bool,

    /// How long daily snapshots are kept, up to 35d; 0s for none.
    pub snapshots: Duration,

    /// Daily time of the snapshot in UTC, `hh:mm-hh:mm`, at least 60 minutes.
    #[schemars(regex(pattern = "^([01][0-9]|2[0-3]):[0-5][0-9]-([01][0-9]|2[0-3]):[0-5][0-9]$"))]
    #[schemars(extend("patternErrorMessage" = "a daily time in UTC such as 03:00-05:00"))]
    pub snapshot_window: String,

    /// Weekly time of maintenance in UTC, `ddd:hh:mm-ddd:hh:mm`, at least 60 minutes.
    #[schemars(regex(
        pattern = "^(mon|tue|wed|thu|fri|sat|sun):([01][0-9]|2[0-3]):[0-5][0-9]-(mon|tue|wed|thu|fri|sat|sun):([01][0-9]|2[0-3]):[0-5][0-9]$"
    ))]
    #[schemars(extend("patternErrorMessage" = "a weekly time in UTC such as mon:05:00-mon:06:00"))]
    pub maintenance_window: String,

    /// Time after which Redis closes an idle client; 0s for never.
    pub idle_timeout: Duration,

    /// A second Redis that evicts the least recently used keys, for what can be computed again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub eviction: Option<EvictionCache>,
}

impl Default for Cache {
    fn default() -> Self {
        Self {
            version: "7.1".to_owned(),
            class: "cache.r7g.large".to_owned(),
            replicas: 1,
            multi_az: true,
            snapshots: Duration::from_days(5),
            snapshot_window: "03:00-05:00".to_owned(),
            maintenance_window: "mon:05:00-mon:06:00".to_owned(),
            idle_timeout: Duration::from_secs(300),
            eviction: None,
        }
    }
}

/// A second Redis that evicts the least recently used keys. No snapshots: it holds only copies.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct EvictionCache {
    /// Node type.
    pub class: String,
    /// Replicas of the primary.
    #[schemars(range(min = 0, max = 5))]
    pub replicas: u32,
}

impl Default for EvictionCache {
    fn default() -> Self {
        Self { class: "cache.t4g.small".to_owned(), replicas: 1 }
    }
}
