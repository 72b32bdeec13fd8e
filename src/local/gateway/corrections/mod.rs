//! Answers that the emulator gets wrong, put right: by changing the call on its way in, or the answer on its way out.

pub mod autoscaling;
pub mod ec2;
mod elb;
mod launch_templates;
mod policies;
mod rds;
mod s3;
mod sns;
mod sqs;
mod vpc_endpoints;

use std::borrow::Cow;

use super::call::Call;
use super::gaps::dashboard_tags;
use super::plane;
use super::reply::{Refusal, Reply};
use super::state::State;

/// Changes a call before it is handed on.
pub async fn request(state: &State, call: &mut Call) -> Result<(), Refusal> {
    match call.service.as_str() {
        "autoscaling" => autoscaling::request(state, call).await,
        "ec2" => {
            autoscaling::before_termination(state, call).await?;
            launch_templates::request(state, call).await
        }
        "elasticloadbalancing" => {
            elb::request(call);
            Ok(())
        }
        "rds" => rds::request(state, call).await,
        _ => Ok(()),
    }
}

/// What of a call the emulator can take.
pub fn withhold(call: &Call) -> Cow<'_, Call> {
    if call.service == "ec2" { launch_templates::withhold(call) } else { Cow::Borrowed(call) }
}

/// Puts the answer to a call right; `call` is as its caller sent it, `sent` as it was handed on.
pub async fn answer(state: &State, call: &Call, sent: &Call, reply: Reply) -> Result<Reply, Refusal> {
    match call.service.as_str() {
        "autoscaling" => autoscaling::answer(state, call, reply).await,
        "ec2" => {
            autoscaling::after_termination(state, call).await?;
            let reply = launch_templates::answer(state, sent, reply).await?;
            ec2::answer(state, call, reply).await
        }
        "elasticloadbalancing" => plane::answer(state, call, elb::answer(state, call, reply)?),
        "monitoring" => {
            dashboard_tags::note(state, sent);
            Ok(reply)
        }
        "rds" => rds::answer(state, call, reply).await,
        "s3" => s3::answer(call, reply),
        "sns" => sns::answer(call, reply),
        "sqs" => sqs::answer(state, call, reply),
        _ => Ok(reply),
    }
}
