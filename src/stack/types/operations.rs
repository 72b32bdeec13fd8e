use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::stack::units::{Duration, without_default};

/// S3 bucket for files: encrypted, closed to the public, TLS only.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Storage {
    /// Keep overwritten and deleted objects.
    pub versioning: bool,

    /// How long overwritten and deleted objects are kept, in days.
    pub expire_noncurrent: Duration,

    /// When the parts of uploads that never ended are removed, in days.
    pub abort_uploads: Duration,

    /// `destroy` empties the bucket first. Default: the opposite of `protect`.
    #[schemars(transform = without_default)]
    pub empty_on_destroy: bool,
}

impl Default for Storage {
    fn default() -> Self {
        Self {
            versioning: true,
            expire_noncurrent: Duration::from_days(30),
            abort_uploads: Duration::from_days(7),
            empty_on_destroy: false,
        }
    }
}

/// SQS queue with its dead-letter queue, and SNS topics.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Messaging {
    /// Time that a received message stays hidden from others, up to 12h.
    pub visibility: Duration,
    /// How long messages are kept, 60s to 14d.
    pub retention: Duration,
    /// How long a receive call waits for a message, up to 20s.
    pub receive_wait: Duration,
    /// Time before a new message can be received, up to 15m.
    pub delay: Duration,
    /// Largest message in bytes.
    #[schemars(range(min = 1024, max = 1_048_576))]
    pub max_message_bytes: u32,
    /// How often a message is tried before it goes to the dead-letter queue.
    #[schemars(range(min = 1, max = 1000))]
    pub max_receives: u32,
    /// How long dead letters are kept, 60s to 14d; at least as long as `retention`.
    pub dead_letter_retention: Duration,
}

impl Default for Messaging {
    fn default() -> Self {
        Self {
            visibility: Duration::from_secs(300),
            retention: Duration::from_days(1),
            receive_wait: Duration::from_secs(10),
            delay: Duration::from_secs(0),
            max_message_bytes: 262_144,
            max_receives: 3,
            dead_letter_retention: Duration::from_days(14),
        }
    }
}

/// Alarms and who is told.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Alerts {
    /// E-mail address that alarms go to; AWS asks its owner to confirm. Left out, nobody is told.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = r"^[^@\s]+@[^@\s]+\.[^@\s]+$"))]
    #[schemars(extend("patternErrorMessage" = "an e-mail address such as ops@example.com"))]
    pub email: Option<String>,

    /// When each alarm goes off.
    #[schemars(transform = without_default)]
    pub thresholds: Thresholds,
}

/// When each alarm goes off.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Thresholds {
    /// More server errors than this from a service within 5 minutes, twice in a row.
    pub target_5xx: u32,
    /// Fewer healthy instances than this in a service.
    #[schemars(range(min = 1, max = 1000))]
    pub healthy_hosts: u32,
    /// Percent of CPU of a service over two minutes: early warning.
    #[schemars(range(min = 1, max = 99))]
    pub cpu_warning: u32,
    /// Percent of CPU of a service over 5 minutes, twice in a row.
    #[schemars(range(min = 1, max = 99))]
    pub cpu: u32,
    /// Percent of CPU of a database instance over 5 minutes.
    #[schemars(range(min = 1, max = 99))]
    pub database_cpu: u32,
    /// Connections of a database instance. Default: 80, or 80 % of what the instance class allows if that is more.
    #[schemars(range(min = 1, max = 16000), transform = without_default)]
    pub database_connections: u32,
    /// GiB of local storage (temporary tables, logs) left on a database instance.
    #[schemars(range(min = 1, max = 10000))]
    pub database_free_local_storage: u32,
    /// Average time of a read from the database's storage.
    pub database_read_latency: Duration,
    /// Average time of a write to the database's storage.
    pub database_write_latency: Duration,
    /// Percent of Redis' memory in use.
    #[schemars(range(min = 1, max = 99))]
    pub cache_memory: u32,
    /// Age of the oldest waiting message.
    pub queue_age: Duration,
    /// Messages in the dead-letter queue.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub dead_letters: u32,
}

impl Default for Thresholds {
    fn default() -> Self {
        Self {
            target_5xx: 10,
            healthy_hosts: 1,
            cpu_warning: 70,
            cpu: 80,
            database_cpu: 80,
            database_connections: 80,
            database_free_local_storage: 10,
            database_read_latency: Duration::from_secs(1),
            database_write_latency: Duration::from_secs(1),
            cache_memory: 80,
            queue_age: Duration::from_secs(300),
            dead_letters: 1,
        }
    }
}

/// CloudWatch log groups.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Logs {
    /// How long logs are kept. CloudWatch knows 1d, 3d, 5d, 7d, 14d, 30d, 60d, 90d, … up to 3653d.
    pub retention: Duration,
}

impl Default for Logs {
    fn default() -> Self {
        Self { retention: Duration::from_days(30) }
    }
}
