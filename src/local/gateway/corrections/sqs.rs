//! Attributes of queues that moto forgets: `RedriveAllowPolicy` always, `Policy` when others are set.

use serde_json::Value;

use crate::local::gateway::call::{Call, Protocol};
use crate::local::gateway::reply::{Refusal, Reply};
use crate::local::gateway::state::State;
use crate::local::gateway::xml::Element;

const KIND: &str = "queue";
const FORGOTTEN: [&str; 2] = ["Policy", "RedriveAllowPolicy"];

pub fn answer(state: &State, call: &Call, reply: Reply) -> Result<Reply, Refusal> {
    if call.protocol != Protocol::Json || !reply.status.is_success() {
        return Ok(reply);
    }
    let request: Value = serde_json::from_slice(&call.body).unwrap_or_default();
    let key = (KIND, queue_name(&request));
    match call.operation.as_str() {
        "CreateQueue" | "SetQueueAttributes" => {
            let mut memory = state.memory();
            let kept = memory.attributes.entry(key).or_default();
            for name in FORGOTTEN {
                match request["Attributes"][name].as_str() {
                    // How a caller takes an attribute away.
                    Some("") => drop(kept.remove(name)),
                    Some(value) => drop(kept.insert(name.to_owned(), Element::leaf(name, value))),
                    None => {}
                }
            }
            Ok(reply)
        }
        "GetQueueAttributes" => {
            let kept = state.memory().attributes.get(&key).cloned().unwrap_or_default();
            let mut body: Value = serde_json::from_slice(&reply.body).unwrap_or_default();
            for (name, value) in kept {
                if body["Attributes"].get(&name).is_none() {
                    body["Attributes"][name] = Value::String(value.text);
                }
            }
            Ok(Reply { body: body.to_string().into(), ..reply })
        }
        "DeleteQueue" => {
            state.memory().attributes.remove(&key);
            Ok(reply)
        }
        _ => Ok(reply),
    }
}

/// The queue's name, which is also the last part of its URL.
fn queue_name(request: &Value) -> String {
    let name = request["QueueName"].as_str().or_else(|| request["QueueUrl"].as_str()?.rsplit('/').next());
    name.unwrap_or_default().to_owned()
}
