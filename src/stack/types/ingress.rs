use ipnet::Ipv4Net;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::stack::units::{Duration, cidrs_schema, without_default};

/// The public application load balancer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Ingress {
    /// ARN of an ACM certificate in the stack's region. With one, HTTP redirects to HTTPS.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub certificate: Option<String>,

    /// TLS policy of the HTTPS listener.
    pub tls_policy: String,

    /// Keep access logs in a bucket.
    pub access_logs: bool,

    /// The load balancer refuses to be deleted. Default: `protect`.
    #[schemars(transform = without_default)]
    pub deletion_protection: bool,

    /// Time after which a silent connection is closed, 1s to 4000s.
    pub idle_timeout: Duration,

    /// Who may connect.
    #[schemars(schema_with = "cidrs_schema")]
    pub allowed_cidrs: Vec<Ipv4Net>,
}

impl Default for Ingress {
    fn default() -> Self {
        Self {
            certificate: None,
            tls_policy: "ELBSecurityPolicy-TLS13-1-2-Res-PQ-2025-09".to_owned(),
            access_logs: true,
            deletion_protection: false,
            idle_timeout: Duration::from_secs(60),
            allowed_cidrs: vec![Ipv4Net::default()],
        }
    }
}
