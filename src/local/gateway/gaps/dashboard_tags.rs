//! Tags of dashboards: the emulator keeps the dashboards, and the gateway their tags.

use hyper::StatusCode;
use serde_json::{Value, json};
use std::collections::BTreeMap;

use crate::local::gateway::call::Call;
use crate::local::gateway::reply::{Refusal, Reply};
use crate::local::gateway::state::State;
use crate::local::gateway::xml::Element;

const KIND: &str = "dashboard";

/// Answers what is asked about the tags of a dashboard, by its ARN.
pub fn answer(state: &State, call: &Call) -> Result<Option<Reply>, Refusal> {
    let body: Value = serde_json::from_slice(&call.body).unwrap_or_default();
    let Some((_, name)) = body["ResourceARN"].as_str().and_then(|arn| arn.split_once(":dashboard/")) else {
        return Ok(None);
    };
    let mut memory = state.memory();
    let Some(tags) = memory.attributes.get_mut(&(KIND, name.to_owned())) else {
        return Err(Refusal::with_status(404, "ResourceNotFoundException", format!("Dashboard {name} does not exist")));
    };
    let answer = match call.operation.as_str() {
        "TagResource" => {
            tags.extend(of(&body["Tags"]));
            json!({})
        }
        "UntagResource" => {
            let keys = body["TagKeys"].as_array().into_iter().flatten().filter_map(Value::as_str);
            keys.for_each(|key| drop(tags.remove(key)));
            json!({})
        }
        "ListTagsForResource" => {
            let list: Vec<_> = tags.values().map(|tag| json!({"Key": tag.name, "Value": tag.text})).collect();
            json!({"Tags": list})
        }
        _ => return Ok(None),
    };
    Ok(Some(Reply::json(StatusCode::OK, &answer)))
}

/// Notes what a call that the emulator has carried out means for the tags. They are taken with a new dashboard only.
pub fn note(state: &State, call: &Call) {
    let body: Value = serde_json::from_slice(&call.body).unwrap_or_default();
    let key = |name: &Value| (KIND, name.as_str().unwrap_or_default().to_owned());
    let mut memory = state.memory();
    match call.operation.as_str() {
        "PutDashboard" => {
            memory.attributes.entry(key(&body["DashboardName"])).or_insert_with(|| of(&body["Tags"]));
        }
        "DeleteDashboards" => {
            let names = body["DashboardNames"].as_array().into_iter().flatten();
            names.for_each(|name| drop(memory.attributes.remove(&key(name))));
        }
        _ => {}
    }
}

fn of(tags: &Value) -> BTreeMap<String, Element> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let tags = tags.as_array().into_iter().flatten();
    tags.map(|tag| (text(&tag["Key"]), Element::leaf(text(&tag["Key"]), text(&tag["Value"])))).collect()
}
