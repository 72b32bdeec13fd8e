//! Operations that the emulator lacks, answered by the gateway.

mod autoscaling;
mod cache_groups;
mod cache_tags;
pub mod dashboard_tags;
mod ec2;
mod elb;
mod iam;
mod rds;
mod replication_groups;

pub use autoscaling::Refresh;
pub use cache_groups::{ParameterGroup, SubnetGroup};
pub use replication_groups::{ReplicationGroup, auth_tokens};

use super::call::Call;
use super::reply::{Refusal, Reply};
use super::state::State;
use super::xml::Element;

/// The gateway's own answer, or `None` where the emulator has one.
pub async fn answer(state: &State, call: &Call) -> Result<Option<Reply>, Refusal> {
    match call.service.as_str() {
        "autoscaling" => autoscaling::answer(state, call).await,
        "ec2" => ec2::answer(state, call).await,
        "elasticache" => {
            if call.operation == "DescribeEvents" {
                return Ok(Some(Reply::result(call, [Element::new("Events")])));
            }
            if let Some(reply) = cache_groups::answer(state, call).await? {
                return Ok(Some(reply));
            }
            if let Some(reply) = replication_groups::answer(state, call)? {
                return Ok(Some(reply));
            }
            cache_tags::answer(state, call)
        }
        "elasticloadbalancing" => elb::answer(state, call).await,
        "iam" => iam::answer(state, call).await,
        "monitoring" => dashboard_tags::answer(state, call),
        "rds" => rds::answer(state, call).await,
        _ => Ok(None),
    }
}
