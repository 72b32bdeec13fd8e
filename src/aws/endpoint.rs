//! What answers at the endpoint: AWS, or an emulator with gaps that are known.

use http_body_util::{BodyExt, Empty, Limited};
use hyper::{Uri, body::Bytes};
use hyper_util::{client::legacy::Client, rt::TokioExecutor};
use serde::Deserialize;
use std::{collections::BTreeMap, fmt, time::Duration};

/// An emulator that says what it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Emulator {
    /// ticketctl's gateway with an emulator behind it.
    Gateway {
        upstream: String,
    },
    Moto,
    LocalStack {
        version: String,
        /// The services that it has, by its own names.
        services: Vec<String>,
        /// Those that it hadn't loaded yet when it was asked.
        asleep: Vec<String>,
    },
    /// Something else: nothing is known about its gaps.
    Unknown,
}

impl fmt::Display for Emulator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Emulator::Gateway { upstream } => write!(f, "ticketctl's gateway in front of {upstream}"),
            Emulator::Moto => f.write_str("moto without ticketctl's gateway"),
            Emulator::LocalStack { version, .. } => write!(f, "LocalStack {version}"),
            Emulator::Unknown => f.write_str("an unknown endpoint"),
        }
    }
}

#[derive(Deserialize)]
struct GatewayHealth {
    upstream: String,
}

/// moto's settings, or as much of them as nobody else has.
#[derive(Deserialize)]
struct MotoConfig {
    #[serde(rename = "batch")]
    _batch: serde_json::Value,
    #[serde(rename = "lambda")]
    _lambda: serde_json::Value,
}

#[derive(Deserialize)]
struct LocalStackHealth {
    version: String,
    services: BTreeMap<String, String>,
}

impl Emulator {
    /// Asks the endpoint what it is.
    pub async fn identify(endpoint_url: &str) -> Emulator {
        let gateway = get(endpoint_url, "/_ticketctl/health").await;
        if let Some(GatewayHealth { upstream }) = gateway.and_then(|body| serde_json::from_slice(&body).ok()) {
            return Emulator::Gateway { upstream };
        }
        // moto's settings are a few lines; its `data.json` is all that it holds, and 500 when that can't be printed.
        let (localstack, moto) =
            tokio::join!(get(endpoint_url, "/_localstack/health"), get(endpoint_url, "/moto-api/config"));
        if let Some(health) = localstack.and_then(|body| serde_json::from_slice::<LocalStackHealth>(&body).ok()) {
            let named = |is: fn(&str) -> bool| {
                health.services.iter().filter(|(_, state)| is(state)).map(|(name, _)| name.clone()).collect()
            };
            return Emulator::LocalStack {
                services: named(|state| state != "disabled"),
                asleep: named(|state| state == "available"),
                version: health.version,
            };
        }
        match moto.and_then(|body| serde_json::from_slice::<MotoConfig>(&body).ok()) {
            Some(_) => Emulator::Moto,
            None => Emulator::Unknown,
        }
    }

    /// Why it can't hold resources of a kind, if that is known.
    pub fn gap(&self, kind: &str) -> Option<String> {
        match self {
            Emulator::LocalStack { version, services, .. } => {
                let service = service(kind);
                let has = services.iter().any(|name| name == service);
                (!has).then(|| format!("LocalStack {version} has no {service}"))
            }
            Emulator::Moto => matches!(kind, "alarm" | "dashboard" | "cache_parameter_group")
                .then(|| "moto alone doesn't have it; put `ticketctl local gateway` in front".to_owned()),
            Emulator::Gateway { .. } | Emulator::Unknown => None,
        }
    }
}

/// The service of a kind, as LocalStack names it.
fn service(kind: &str) -> &'static str {
    match kind {
        "load_balancer" | "target_group" | "listener" | "listener_rule" => "elbv2",
        "auto_scaling_group" | "scaling_policy" => "autoscaling",
        "role" | "instance_profile" => "iam",
        "queue" => "sqs",
        "topic" | "subscription" => "sns",
        "bucket" => "s3",
        "secret" => "secretsmanager",
        "parameter" => "ssm",
        // A flow log is nothing without its log group.
        "log_group" | "flow_log" => "logs",
        "alarm" | "dashboard" => "cloudwatch",
        kind if kind.starts_with("db_") => "rds",
        kind if kind.starts_with("cache_") || kind == "replication_group" => "elasticache",
        _ => "ec2",
    }
}

/// The body of a quick, successful answer.
async fn get(endpoint_url: &str, path: &str) -> Option<Bytes> {
    let uri: Uri = format!("{}{path}", endpoint_url.trim_end_matches('/')).parse().ok()?;
    let client: Client<_, Empty<Bytes>> = Client::builder(TokioExecutor::new()).build_http();
    // The whole of the answer counts: its body may hang, too.
    let answered = async {
        let answer = client.get(uri).await.ok().filter(|answer| answer.status().is_success())?;
        Some(Limited::new(answer.into_body(), 1 << 20).collect().await.ok()?.to_bytes())
    };
    tokio::time::timeout(Duration::from_secs(3), answered).await.ok()?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_has_a_service_that_localstack_knows() {
        let known = ["ec2", "elbv2", "autoscaling", "iam", "rds", "elasticache", "s3", "sqs", "sns", "secretsmanager"];
        let known = [&known[..], &["ssm", "logs", "cloudwatch"]].concat();
        for kind in crate::resource::all() {
            assert!(known.contains(&service(kind.name())), "{}", kind.name());
        }
    }

    #[test]
    fn localstack_lacks_what_its_health_doesnt_list() {
        let services = ["ec2", "iam", "cloudwatch"].map(str::to_owned).to_vec();
        let emulator = Emulator::LocalStack { version: "4.14.0".into(), services, asleep: Vec::new() };
        assert_eq!(emulator.gap("db_cluster").as_deref(), Some("LocalStack 4.14.0 has no rds"));
        assert_eq!(emulator.gap("vpc"), None);
    }
}
