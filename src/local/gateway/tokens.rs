//! Client tokens of EC2: a call repeated with its token answers as it did the first time and does nothing, as on AWS,
//! whatever has become of the resource since; the same token with other parameters is refused.

use super::call::{Call, Protocol};
use super::reply::{Refusal, Reply};
use super::state::State;

/// The key of the call's token, for the calls that have one.
fn key(call: &Call) -> Option<String> {
    let token = call.form.get("ClientToken").filter(|token| !token.is_empty())?;
    (call.protocol == Protocol::Ec2 && call.is_mutating()).then(|| format!("{} {token}", call.operation))
}

/// The first answer to this token.
pub fn repeated(state: &State, call: &Call) -> Result<Option<Reply>, Refusal> {
    let Some(key) = key(call) else {
        return Ok(None);
    };
    match state.memory().tokens.get(&key) {
        Some((form, reply)) if *form == call.form => Ok(Some(reply.clone())),
        Some(_) => {
            let message = "The request uses the same client token as a previous, but non-identical request.";
            Err(Refusal::new("IdempotentParameterMismatch", message))
        }
        None => Ok(None),
    }
}

/// Keeps a successful answer for the calls that repeat it.
pub fn remember(state: &State, call: &Call, reply: &Reply) {
    if let (Some(key), true) = (key(call), reply.status.is_success()) {
        state.memory().tokens.insert(key, (call.form.clone(), reply.clone()));
    }
}
