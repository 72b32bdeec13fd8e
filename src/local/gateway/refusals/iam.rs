//! Roles in instance profiles, on which the emulator breaks down when they aren't in there any more.

use crate::local::gateway::call::Call;
use crate::local::gateway::reply::Refusal;
use crate::local::gateway::state::State;

pub async fn check(state: &State, call: &Call) -> Result<(), Refusal> {
    if call.operation != "RemoveRoleFromInstanceProfile" {
        return Ok(());
    }
    let (profile, role) = (call.form.text("InstanceProfileName"), call.form.text("RoleName"));
    let answer = state.upstream.ask(call, "iam", "GetInstanceProfile", &[("InstanceProfileName", profile)]).await?;
    let roles = answer.find("Roles").map(|roles| roles.children.as_slice()).unwrap_or_default();
    if roles.iter().any(|one| one.get("RoleName") == role) {
        return Ok(());
    }
    Err(Refusal::with_status(404, "NoSuchEntity", format!("The role with name {role} cannot be found.")))
}
