//! Tags of the ElastiCache resources that live in the gateway.

use indexmap::IndexMap;

use crate::local::gateway::call::Call;
use crate::local::gateway::form::Form;
use crate::local::gateway::reply::{Refusal, Reply};
use crate::local::gateway::state::State;
use crate::local::gateway::xml::Element;

pub type Tags = IndexMap<String, String>;

pub fn of(form: &Form) -> Tags {
    form.structures("Tags").iter().map(|tag| (tag.text("Key").to_owned(), tag.text("Value").to_owned())).collect()
}

pub fn arn(call: &Call, kind: &str, name: &str) -> String {
    format!("arn:aws:elasticache:{}:{}:{kind}:{name}", call.region(), call.account())
}

pub fn answer(state: &State, call: &Call) -> Result<Option<Reply>, Refusal> {
    if !matches!(call.operation.as_str(), "ListTagsForResource" | "AddTagsToResource" | "RemoveTagsFromResource") {
        return Ok(None);
    }
    let arn = call.form.text("ResourceName");
    let mut parts = arn.split(':').skip(5);
    let (kind, name) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    let mut memory = state.memory();
    let (tags, code) = match kind {
        "parametergroup" => {
            (memory.parameter_groups.get_mut(name).map(|group| &mut group.tags), "CacheParameterGroupNotFound")
        }
        "subnetgroup" => {
            (memory.subnet_groups.get_mut(name).map(|group| &mut group.tags), "CacheSubnetGroupNotFoundFault")
        }
        "replicationgroup" => {
            (memory.replication_groups.get_mut(name).map(|group| &mut group.tags), "ReplicationGroupNotFoundFault")
        }
        _ => return Ok(None),
    };
    let tags = tags.ok_or_else(|| Refusal::with_status(404, code, format!("{arn} not found.")))?;
    match call.operation.as_str() {
        "AddTagsToResource" => tags.extend(of(&call.form)),
        "RemoveTagsFromResource" => {
            let keys = call.form.list("TagKeys");
            tags.retain(|key, _| !keys.contains(key));
        }
        _ => {}
    }
    let list = tags
        .iter()
        .map(|(key, value)| Element::new("Tag").with(Element::leaf("Key", key)).with(Element::leaf("Value", value)));
    Ok(Some(Reply::result(call, [Element::new("TagList").with_all(list)])))
}
