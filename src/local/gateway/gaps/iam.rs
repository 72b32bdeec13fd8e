//! Listing an instance profile's tags, which the emulator tells only with the profile itself.

use crate::local::gateway::call::Call;
use crate::local::gateway::reply::{Refusal, Reply};
use crate::local::gateway::state::State;
use crate::local::gateway::xml::Element;

pub async fn answer(state: &State, call: &Call) -> Result<Option<Reply>, Refusal> {
    if call.operation != "ListInstanceProfileTags" {
        return Ok(None);
    }
    let name = call.form.text("InstanceProfileName");
    let profile = state.upstream.ask(call, "iam", "GetInstanceProfile", &[("InstanceProfileName", name)]).await?;
    let tags = profile.find("InstanceProfile").and_then(|profile| profile.child("Tags")).cloned();
    let tags = tags.unwrap_or_else(|| Element::new("Tags"));
    Ok(Some(Reply::result(call, [Element::leaf("IsTruncated", false), tags])))
}
