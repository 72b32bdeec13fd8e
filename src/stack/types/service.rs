use std::path::PathBuf;

use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Build;
use crate::stack::units::{Duration, without_default};

/// One program with its own auto-scaling group behind the load balancer.
/// It comes either from an `artifact` or from an `image`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Service {
    /// Executable for the instances' architecture, as a path relative to the file that names it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub artifact: Option<PathBuf>,

    /// What builds the artifact: `apply` and `deploy` run it first. `true`: cargo makes a release build of the binary that is
    /// called as the artifact is, in the nearest Cargo workspace above it; a path with a platform, such as
    /// `target/aarch64-unknown-linux-musl/release/ticketing`, is built for that platform. Otherwise a command, run in the
    /// folder of the stack file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub build: Option<Build>,

    /// Container image, pinned by digest: `registry/name@sha256:…`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = "^[A-Za-z0-9][A-Za-z0-9._:/-]*@sha256:[0-9a-f]{64}$"))]
    #[schemars(extend("patternErrorMessage" = "an image pinned by digest, such as registry/name@sha256:<64 hex digits>"))]
    pub image: Option<String>,

    /// Port that the program listens on.
    #[schemars(range(min = 1024, max = 65535))]
    pub port: u16,

    /// Which part of the ticketing program runs here: `serve --role <role>`.
    pub role: Role,

    /// Arguments of the program instead of `serve --role <role>`.
    pub args: Vec<String>,

    /// Environment variables. Not for secrets: those come from Secrets Manager.
    pub env: IndexMap<String, String>,

    /// Which requests come here, as path patterns of the load balancer. The most specific come first;
    /// `/*` takes what nobody else does.
    #[schemars(length(min = 1, max = 100))]
    pub paths: Vec<String>,

    /// The machines.
    pub instances: Instances,

    /// When machines are added and taken away. Left out: target tracking at 70 % CPU.
    pub scaling: Scaling,

    /// How the load balancer knows that an instance can take requests.
    pub health: Health,

    /// How a new release comes in.
    pub rollout: Rollout,

    /// Time over which a new instance's share of requests grows to normal: 0s, or 30s to 15m.
    pub slow_start: Duration,

    /// Time that an instance on its way out gets to finish its requests, up to 1h.
    pub deregistration_delay: Duration,
}

impl Default for Service {
    fn default() -> Self {
        Self {
            artifact: None,
            build: None,
            image: None,
            port: 8080,
            role: Role::All,
            args: Vec::new(),
            env: IndexMap::new(),
            paths: vec!["/*".to_owned()],
            instances: Instances::default(),
            scaling: Scaling::default(),
            health: Health::default(),
            rollout: Rollout::default(),
            slow_start: Duration::from_secs(30),
            deregistration_delay: Duration::from_secs(30),
        }
    }
}

impl Service {
    /// Arguments that the program is started with.
    pub fn command_args(&self) -> Vec<String> {
        if self.args.is_empty() {
            ["serve", "--role", self.role.as_str()].map(str::to_owned).to_vec()
        } else {
            self.args.clone()
        }
    }
}

/// How a new release comes in. New instances come first, and old ones go when those take requests; if they never do, one of
/// the service's alarms goes off, or too many answers are server errors, the release before comes back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Rollout {
    /// Time that all must stay well before a release counts as good. CloudWatch tells of errors a minute or two late, so
    /// less than two minutes sees hardly any.
    pub bake: Duration,
}

impl Default for Rollout {
    fn default() -> Self {
        Self { bake: Duration::from_secs(180) }
    }
}

/// A part of the ticketing program.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Everything in one process.
    All,
    /// Events, seats, reservations and payments.
    Api,
    /// The waiting room.
    Queue,
    /// Staff's look-ups and check-in.
    Staff,
    /// Background work from the message queue.
    Worker,
}

impl Role {
    /// The role as the program's `--role` takes it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::All => "all",
            Self::Api => "api",
            Self::Queue => "queue",
            Self::Staff => "staff",
            Self::Worker => "worker",
        }
    }
}

/// The machines of a service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Instances {
    /// EC2 instance type.
    #[serde(rename = "type")]
    #[schemars(example = &"t3.medium")]
    pub instance_type: String,

    /// Fewest instances; at least 2 keep the service up when a zone is lost.
    #[schemars(range(min = 0, max = 10000))]
    pub min: u32,

    /// Instances at the start. Afterwards auto scaling decides. Default: `min`.
    #[schemars(range(min = 0, max = 10000), transform = without_default)]
    pub desired: u32,

    /// Most instances.
    #[schemars(range(min = 1, max = 10000))]
    pub max: u32,

    /// Size of the encrypted gp3 root volume in GiB.
    #[schemars(range(min = 8, max = 16384))]
    pub volume: u32,

    /// Metrics every minute instead of every five.
    pub detailed_monitoring: bool,
}

impl Default for Instances {
    fn default() -> Self {
        Self {
            instance_type: "t3.medium".to_owned(),
            min: 2,
            desired: 2,
            max: 20,
            volume: 20,
            detailed_monitoring: true,
        }
    }
}

/// When machines are added and taken away. Several policies together: the one that wants most wins.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Scaling {
    /// Target tracking: average CPU to keep, in percent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 10, max = 90))]
    pub cpu: Option<u32>,

    /// Target tracking: requests per instance and *minute* to keep. 1000 per minute are 16.7 per second.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 10_000_000))]
    pub requests_per_target_per_minute: Option<f64>,

    /// Requests per second of the whole service at the expected peak; checked against what `max`
    /// instances take. Changes nothing in AWS.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 100_000_000))]
    pub expected_peak_requests_per_second: Option<f64>,

    /// Step scaling on CPU: adds and takes away whole instances.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub steps: Option<Steps>,

    /// Time until a new instance counts in the average.
    #[serde(default = "Scaling::default_warmup")]
    pub warmup: Duration,

    /// Least time between two step-scaling actions that take instances away.
    #[serde(default = "Scaling::default_cooldown")]
    pub cooldown: Duration,
}

impl Scaling {
    fn default_warmup() -> Duration {
        Duration::from_secs(120)
    }

    fn default_cooldown() -> Duration {
        Duration::from_secs(300)
    }
}

impl Default for Scaling {
    fn default() -> Self {
        Self {
            cpu: Some(70),
            requests_per_target_per_minute: None,
            expected_peak_requests_per_second: None,
            steps: None,
            warmup: Self::default_warmup(),
            cooldown: Self::default_cooldown(),
        }
    }
}

/// Step scaling on the group's average CPU over two periods of two minutes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Steps {
    /// Percent of CPU above which instances are added.
    #[schemars(range(min = 2, max = 99))]
    pub above: u32,
    /// How many are added.
    #[schemars(range(min = 1, max = 100))]
    pub add: u32,
    /// Percent of CPU below which instances are taken away.
    #[schemars(range(min = 1, max = 98))]
    pub below: u32,
    /// How many are taken away.
    #[schemars(range(min = 1, max = 100))]
    pub remove: u32,
}

impl Default for Steps {
    fn default() -> Self {
        Self { above: 70, add: 2, below: 30, remove: 1 }
    }
}

/// The load balancer's health check.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Health {
    /// Path that is answered well as long as the instance is to be kept: one that isn't gets no requests, and is replaced.
    pub path: String,
    /// Time between two checks, 5s to 300s.
    pub interval: Duration,
    /// Time that an answer may take, 2s to 120s; less than the interval.
    pub timeout: Duration,
    /// Good checks in a row that make an instance healthy.
    #[schemars(range(min = 2, max = 10))]
    pub healthy: u32,
    /// Bad checks in a row that make it unhealthy.
    #[schemars(range(min = 2, max = 10))]
    pub unhealthy: u32,
    /// HTTP status that counts as good: `200`, `200,204` or `200-299`.
    #[schemars(regex(pattern = "^[2-4][0-9]{2}(-[2-4][0-9]{2})?(,[2-4][0-9]{2}(-[2-4][0-9]{2})?)*$"))]
    #[schemars(extend("patternErrorMessage" = "HTTP status codes such as 200, 200,204 or 200-299"))]
    pub matcher: String,
    /// Time after the start in which a bad check doesn't get an instance replaced, or a new release taken for bad. Instances
    /// of a stack with a database are replaced ten minutes later still, since the database takes that long to be made.
    pub grace: Duration,
}

impl Default for Health {
    fn default() -> Self {
        Self {
            path: "/healthz".to_owned(),
            interval: Duration::from_secs(30),
            timeout: Duration::from_secs(5),
            healthy: 2,
            unhealthy: 2,
            matcher: "200".to_owned(),
            grace: Duration::from_secs(300),
        }
    }
}
