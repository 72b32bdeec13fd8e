//! S3: the root of an answer.

use crate::local::gateway::call::Call;
use crate::local::gateway::reply::{Refusal, Reply};

/// moto calls the root of this answer after the operation; S3, after what it tells.
pub fn answer(call: &Call, mut reply: Reply) -> Result<Reply, Refusal> {
    if call.operation == "GetBucketVersioning" {
        let body = String::from_utf8_lossy(&reply.body);
        reply.body = body.replace("GetBucketVersioningResponse", "VersioningConfiguration").into();
    }
    Ok(reply)
}
