//! Creating a load balancer or a target group that exists: with the same settings AWS answers with the one that is there,
//! with other settings it refuses. The emulator makes a second load balancer, and always refuses a target group.

use std::collections::BTreeSet;

use crate::local::gateway::call::Call;
use crate::local::gateway::reply::{Refusal, Reply};
use crate::local::gateway::state::State;
use crate::local::gateway::xml::Element;

const SERVICE: &str = "elasticloadbalancing";

pub async fn answer(state: &State, call: &Call) -> Result<Option<Reply>, Refusal> {
    let (describe, list, code, missing) = match call.operation.as_str() {
        "CreateLoadBalancer" => {
            ("DescribeLoadBalancers", "LoadBalancers", "DuplicateLoadBalancerName", "LoadBalancerNotFound")
        }
        "CreateTargetGroup" => {
            ("DescribeTargetGroups", "TargetGroups", "DuplicateTargetGroupName", "TargetGroupNotFound")
        }
        _ => return Ok(None),
    };
    let name = call.form.text("Name");
    let existing = match state.upstream.ask(call, SERVICE, describe, &[("Names.member.1", name)]).await {
        Ok(answer) => answer.members(list).first().cloned(),
        Err(refusal) if refusal.code == missing => None,
        Err(refusal) => return Err(refusal),
    };
    let Some(existing) = existing else {
        return Ok(None);
    };
    let same =
        if list == "LoadBalancers" { same_load_balancer(call, &existing) } else { same_target_group(call, &existing) };
    if !same {
        let message = format!("{name} already exists and has other settings");
        return Err(Refusal::new(code, message));
    }
    Ok(Some(Reply::result(call, [Element::new(list).with(existing)])))
}

fn same_load_balancer(call: &Call, existing: &Element) -> bool {
    let subnets: BTreeSet<String> = existing.all("SubnetId").into_iter().map(|id| id.text.clone()).collect();
    let groups: BTreeSet<String> = existing.members("SecurityGroups").iter().map(|id| id.text.clone()).collect();
    let given = |key, default: &str| call.form.get(key).unwrap_or(default).to_owned();
    subnets == call.form.list("Subnets").into_iter().collect()
        && groups == call.form.list("SecurityGroups").into_iter().collect()
        && existing.get("Scheme") == given("Scheme", "internet-facing")
        && existing.get("Type") == given("Type", "application")
}

fn same_target_group(call: &Call, existing: &Element) -> bool {
    const COMPARED: [&str; 10] = [
        "Protocol",
        "Port",
        "VpcId",
        "TargetType",
        "HealthCheckPath",
        "HealthCheckIntervalSeconds",
        "HealthCheckTimeoutSeconds",
        "HealthyThresholdCount",
        "UnhealthyThresholdCount",
        "HealthCheckProtocol",
    ];
    let matcher = call.form.get("Matcher.HttpCode");
    COMPARED.iter().all(|key| call.form.get(key).is_none_or(|value| value == existing.get(key)))
        && matcher.is_none_or(|codes| existing.find("HttpCode").is_some_and(|found| found.text == codes))
}
