//! The services that speak JSON: log groups and secrets.

use serde_json::Value;

use crate::local::gateway::call::Call;
use crate::local::gateway::reply::Refusal;
use crate::local::gateway::state::State;

/// The numbers of days that a log group can keep its events (API reference, PutRetentionPolicy).
const RETENTION: [i64; 22] =
    [1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653];

pub async fn check(state: &State, call: &Call) -> Result<(), Refusal> {
    let body: Value = serde_json::from_slice(&call.body).unwrap_or_default();
    match (call.service.as_str(), call.operation.as_str()) {
        ("logs", "PutRetentionPolicy") => {
            let days = body["retentionInDays"].as_i64().unwrap_or_default();
            if RETENTION.contains(&days) {
                return Ok(());
            }
            let message = format!("{days} is not one of the numbers of days that a log group can keep its events");
            Err(Refusal::new("InvalidParameterException", message))
        }
        ("secretsmanager", "CreateSecret") => {
            let mut describe = call.clone();
            describe.body = serde_json::json!({"SecretId": body["Name"]}).to_string().into();
            describe
                .headers
                .insert("x-amz-target", hyper::header::HeaderValue::from_static("secretsmanager.DescribeSecret"));
            let reply = state.upstream.forward(&describe).await?;
            let secret: Value = serde_json::from_slice(&reply.body).unwrap_or_default();
            if reply.status.is_success() && !secret["DeletedDate"].is_null() {
                let message =
                    "You can't create this secret because a secret with this name is already scheduled for deletion.";
                return Err(Refusal::new("InvalidRequestException", message));
            }
            Ok(())
        }
        _ => Ok(()),
    }
}
