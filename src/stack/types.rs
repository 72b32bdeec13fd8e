//! What the user wrote, as plain values. Every default is the right one for production.
//!
//! The doc comments below are also the descriptions in the JSON Schema (`ticketctl schema`), so they
//! speak to the person who writes a stack file.

mod build;
mod cache;
mod database;
mod ingress;
mod network;
mod operations;
mod service;

use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use build::{Build, CargoBuild};
pub use cache::{Cache, EvictionCache};
pub use database::{Database, Engine, LogExport};
pub use ingress::Ingress;
pub use network::{NatMode, Network, SubnetLayout, Subnets};
pub use operations::{Alerts, Logs, Messaging, Storage, Thresholds};
pub use service::{Health, Instances, Role, Scaling, Service, Steps};

use super::units::without_default;

/// A ticketing platform in one region of one AWS account.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(title = "ticketctl stack")]
pub struct Stack {
    /// Short name of the product. Begins every name in AWS.
    #[schemars(regex(pattern = "^[a-z][a-z0-9]*(-[a-z0-9]+)*$"), length(min = 1, max = 32))]
    #[schemars(extend("patternErrorMessage" = "lower-case letters, digits and single hyphens, beginning with a letter"))]
    #[schemars(example = &"ticketing")]
    pub project: String,

    /// Which copy of the product this is, such as dev or prod. Second part of every name in AWS.
    #[schemars(regex(pattern = "^[a-z][a-z0-9]*(-[a-z0-9]+)*$"), length(min = 1, max = 32))]
    #[schemars(extend("patternErrorMessage" = "lower-case letters, digits and single hyphens, beginning with a letter"))]
    #[schemars(example = &"dev")]
    pub environment: String,

    /// AWS region that holds everything.
    #[schemars(example = &"ap-northeast-2")]
    pub region: String,

    /// Guard against deletion: `destroy --yes` wants the stack's name as well, and the database, the load balancer
    /// and the bucket refuse to be deleted. Default: true when the environment is `prod` or `production`.
    #[serde(default)]
    #[schemars(transform = without_default)]
    pub protect: bool,

    /// Tags put on every resource besides ticketctl's own.
    #[serde(default)]
    pub tags: IndexMap<String, String>,

    /// The VPC and its subnets.
    #[serde(default)]
    pub network: Network,

    /// The programs that answer requests, by name. Each has its own instances, target group and alarms.
    #[serde(default)]
    pub services: IndexMap<String, Service>,

    /// The public load balancer, made as soon as there is a service.
    #[serde(default)]
    #[schemars(transform = without_default)]
    pub ingress: Ingress,

    /// Aurora MySQL. Left out, there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub database: Option<Database>,

    /// ElastiCache for Redis, which holds locks, seat holds and queues. Left out, there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache: Option<Cache>,

    /// S3 bucket for files. Left out, there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub storage: Option<Storage>,

    /// SQS queue with its dead-letter queue, and SNS topics. Left out, there are none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub messaging: Option<Messaging>,

    /// Alarms and who is told. Left out, there are none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alerts: Option<Alerts>,

    /// CloudWatch log groups.
    #[serde(default)]
    pub logs: Logs,
}

impl Stack {
    /// Name of the stack, `<project>-<environment>`: the value of the tag `ticketctl:stack`.
    pub fn name(&self) -> String {
        format!("{}-{}", self.project, self.environment)
    }

    /// Full names of the availability zones in the order of the file, such as `ap-northeast-2a`.
    pub fn zones(&self) -> Vec<String> {
        self.network.zones.iter().map(|zone| network::full_zone_name(&self.region, zone)).collect()
    }

    /// Interface endpoints that the VPC gets, as short service names (`ssm`, `ecr.api`), sorted and
    /// without duplicates: what instances need to boot when there is no NAT, and what the file adds.
    pub fn interface_endpoints(&self) -> Vec<String> {
        let mut endpoints = self.network.endpoints.clone();
        if self.network.nat == NatMode::None {
            endpoints.extend(network::BOOT_ENDPOINTS.map(str::to_owned));
            if self.services.values().any(|service| service.image.is_some()) {
                endpoints.extend(network::IMAGE_ENDPOINTS.map(str::to_owned));
            }
        }
        endpoints.sort();
        endpoints.dedup();
        endpoints
    }
}
