//! Strict mode: what AWS refuses and the emulator lets pass, with AWS's own codes.

mod autoscaling;
mod ec2;
mod elb;
mod iam;
mod json;
mod rds;

use super::call::Call;
use super::reply::Refusal;
use super::state::State;

/// Refuses the call as AWS would.
pub async fn check(state: &State, call: &Call) -> Result<(), Refusal> {
    match call.service.as_str() {
        "autoscaling" => autoscaling::check(state, call).await,
        "ec2" => ec2::check(state, call).await,
        "elasticloadbalancing" => elb::check(state, call).await,
        "iam" => iam::check(state, call).await,
        "logs" | "secretsmanager" => json::check(state, call).await,
        "rds" => rds::check(state, call).await,
        _ => Ok(()),
    }
}
