use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::stack::units::{Duration, without_default};

/// Aurora MySQL: one writer and its readers. RDS makes the master password and keeps it in Secrets Manager.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Database {
    /// Database engine.
    pub engine: Engine,

    /// Version of Aurora MySQL, such as `8.0.mysql_aurora.3.10.4`. The default is of the long-term support line.
    #[schemars(regex(pattern = r"^8\.0\.mysql_aurora\.3\.[0-9]{2}\.[0-9]{1,2}$"))]
    #[schemars(extend("patternErrorMessage" = "a version of Aurora MySQL 3 such as 8.0.mysql_aurora.3.10.4"))]
    pub version: String,

    /// Instance class of the writer and the readers.
    #[schemars(example = &"db.r6g.large")]
    pub class: String,

    /// Number of readers; they lie in other zones than the writer as far as there are zones.
    #[schemars(range(min = 0, max = 15))]
    pub readers: u32,

    /// How long automatic backups are kept, 1d to 35d.
    pub backup: Duration,

    /// Daily time of the backup in UTC, `hh:mm-hh:mm`, at least 30 minutes.
    #[schemars(regex(pattern = "^([01][0-9]|2[0-3]):[0-5][0-9]-([01][0-9]|2[0-3]):[0-5][0-9]$"))]
    #[schemars(extend("patternErrorMessage" = "a daily time in UTC such as 03:00-04:00"))]
    pub backup_window: String,

    /// Weekly time of maintenance in UTC, `ddd:hh:mm-ddd:hh:mm`, at least 30 minutes, apart from the backup.
    #[schemars(regex(
        pattern = "^(mon|tue|wed|thu|fri|sat|sun):([01][0-9]|2[0-3]):[0-5][0-9]-(mon|tue|wed|thu|fri|sat|sun):([01][0-9]|2[0-3]):[0-5][0-9]$"
    ))]
    #[schemars(extend("patternErrorMessage" = "a weekly time in UTC such as mon:04:00-mon:05:00"))]
    pub maintenance_window: String,

    /// Performance Insights with seven days of history, which costs nothing. Not on db.t3 classes.
    pub performance_insights: bool,

    /// Interval of operating-system metrics: 1s, 5s, 10s, 15s, 30s or 60s; 0s for none.
    pub enhanced_monitoring: Duration,

    /// The cluster refuses to be deleted. Default: `protect`.
    #[schemars(transform = without_default)]
    pub deletion_protection: bool,

    /// A last snapshot is taken when the cluster is deleted. Default: `protect`.
    #[schemars(transform = without_default)]
    pub final_snapshot: bool,

    /// Logs that go to CloudWatch. `audit` and `slowquery` also switch on the parameters that fill them.
    pub log_exports: Vec<LogExport>,

    /// Queries that take longer than this are in the slow-query log.
    pub slow_query: Duration,

    /// Time zone of the cluster, such as UTC or Asia/Seoul.
    pub time_zone: String,

    /// Further parameters of the cluster parameter group.
    pub parameters: IndexMap<String, String>,

    /// Name of the database.
    #[schemars(regex(pattern = "^[A-Za-z][A-Za-z0-9_]{0,63}$"))]
    #[schemars(extend("patternErrorMessage" = "letters, digits and underscores, beginning with a letter"))]
    pub name: String,

    /// Name of the master user.
    #[schemars(regex(pattern = "^[A-Za-z][A-Za-z0-9_]{0,15}$"))]
    #[schemars(extend("patternErrorMessage" = "up to 16 letters, digits and underscores, beginning with a letter"))]
    pub username: String,
}

impl Default for Database {
    fn default() -> Self {
        Self {
            engine: Engine::AuroraMysql,
            version: "8.0.mysql_aurora.3.10.4".to_owned(),
            class: "db.r6g.large".to_owned(),
            readers: 1,
            backup: Duration::from_days(7),
            backup_window: "03:00-04:00".to_owned(),
            maintenance_window: "mon:04:00-mon:05:00".to_owned(),
            performance_insights: true,
            enhanced_monitoring: Duration::from_secs(60),
            deletion_protection: false,
            final_snapshot: false,
            log_exports: vec![LogExport::Audit, LogExport::Error, LogExport::Slowquery],
            slow_query: Duration::from_secs(2),
            time_zone: "UTC".to_owned(),
            parameters: IndexMap::new(),
            name: "ticketing".to_owned(),
            username: "admin".to_owned(),
        }
    }
}

/// A database engine that ticketctl can run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Engine {
    /// Amazon Aurora, compatible with MySQL 8.0.
    AuroraMysql,
}

impl Engine {
    /// The engine's name in the RDS API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::AuroraMysql => "aurora-mysql",
        }
    }
}

/// A log that Aurora MySQL can send to CloudWatch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum LogExport {
    /// Who connected and what they ran.
    Audit,
    /// Errors of the server.
    Error,
    /// Every statement; costs much.
    General,
    /// Slow statements.
    Slowquery,
}

impl LogExport {
    /// The log's name in the RDS API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Audit => "audit",
            Self::Error => "error",
            Self::General => "general",
            Self::Slowquery => "slowquery",
        }
    }
}
