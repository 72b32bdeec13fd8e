//! Scaling policies: moto knows them by name alone, whatever group they are of, leaves them behind when their group is
//! deleted, and doesn't tell the ARN of a new one. Behind the gateway a policy's name begins with its group's.

use crate::local::gateway::call::Call;
use crate::local::gateway::form::Form;
use crate::local::gateway::reply::{Refusal, Reply};
use crate::local::gateway::state::State;
use crate::local::gateway::xml::Element;

/// The name that the emulator knows a policy by. A policy may be named by its ARN.
fn scoped(group: &str, name: &str) -> String {
    let (group, name) =
        match name.split_once(":autoScalingGroupName/").and_then(|(_, rest)| rest.split_once(":policyName/")) {
            Some((group, name)) => (group, name),
            None => (group, name),
        };
    format!("{group}|{name}")
}

/// Makes the names in a call the emulator's.
pub fn request(form: &mut Form) {
    let group = form.text("AutoScalingGroupName").to_owned();
    if let Some(name) = form.get("PolicyName") {
        let name = scoped(&group, name);
        form.set("PolicyName", name);
    }
    for (index, name) in form.list("PolicyNames").iter().enumerate() {
        form.set(&format!("PolicyNames.member.{}", index + 1), scoped(&group, name));
    }
}

/// Makes the name and the ARN of a policy the caller's again.
fn unscope(policy: &mut Element) {
    let prefix = format!("{}|", policy.get("AutoScalingGroupName"));
    for member in ["PolicyName", "PolicyARN"] {
        let text = policy.get(member).replacen(&prefix, "", 1);
        policy.set(Element::leaf(member, text));
    }
}

async fn of_group(state: &State, call: &Call, group: &str) -> Result<Vec<Element>, Refusal> {
    let parameters = [("AutoScalingGroupName", group)];
    let answer = state.upstream.ask(call, "autoscaling", "DescribePolicies", &parameters).await?;
    Ok(answer.members("ScalingPolicies").to_vec())
}

/// The answer to a policy just put.
pub async fn put(state: &State, call: &Call) -> Result<Reply, Refusal> {
    let group = call.form.text("AutoScalingGroupName");
    let name = scoped(group, call.form.text("PolicyName"));
    let policies = of_group(state, call, group).await?;
    let mut policy = policies.into_iter().find(|policy| policy.get("PolicyName") == name).unwrap_or_default();
    unscope(&mut policy);
    Ok(Reply::result(call, [Element::leaf("PolicyARN", policy.get("PolicyARN")), Element::new("Alarms")]))
}

pub fn described(reply: Reply) -> Result<Reply, Refusal> {
    let mut answer = reply.element()?;
    if let Some(policies) = answer.find_mut("ScalingPolicies") {
        policies.children.iter_mut().for_each(unscope);
    }
    Ok(reply.with_element(&answer))
}

/// The policies of a deleted group go with it.
pub async fn forget(state: &State, call: &Call, group: &str) -> Result<(), Refusal> {
    for policy in of_group(state, call, group).await? {
        let parameters = [("AutoScalingGroupName", group), ("PolicyName", policy.get("PolicyName"))];
        state.upstream.ask(call, "autoscaling", "DeletePolicy", &parameters).await?;
    }
    Ok(())
}
