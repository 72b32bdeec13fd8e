//! A log group for each service, made before its instances so that they need not make it, and the record of traffic.

use indexmap::IndexMap;

use crate::{
    blueprint::{Blueprint, Facts, identity, network::Network},
    resource::{
        FlowLog, Handle, LogGroup,
        flow_log::{self, FlowLogSpec},
        log_group::{self, LogGroupSpec},
    },
    stack::Stack,
};

/// Adds the log groups, by service.
pub(super) fn add(blueprint: &mut Blueprint, stack: &Stack) -> IndexMap<String, Handle<LogGroup>> {
    stack.services.keys().map(|service| (service.clone(), group(blueprint, stack, service))).collect()
}

fn group(blueprint: &mut Blueprint, stack: &Stack, what: &str) -> Handle<LogGroup> {
    let name = log_group::name(&stack.name(), what);
    let spec = LogGroupSpec { retention: stack.logs.retention.days() };
    blueprint.add::<LogGroup>(format!("log-group-{what}"), &name, spec)
}

/// Adds the record of the VPC's traffic, if the stack wants it. It goes to CloudWatch Logs, where it can be searched and
/// where `logs.retention` holds, and not to the bucket: AWS puts a statement of its own into the policy of a bucket that
/// takes flow logs.
pub(super) fn add_flow_log(blueprint: &mut Blueprint, stack: &Stack, facts: &Facts, network: &Network) {
    if !stack.network.flow_logs {
        return;
    }
    let log_group = group(blueprint, stack, flow_log::LOG_GROUP);
    let role = identity::add_flow_logs(blueprint, stack, facts, &log_group_arn(stack, facts));
    let spec = FlowLogSpec {
        vpc: network.vpc.id(),
        traffic: "ALL".into(),
        log_group: log_group.id(),
        role: role.arn(),
        // Ten minutes in one record: every minute would be up to ten times as much to store.
        interval: 600,
    };
    blueprint.add::<FlowLog>("flow-log", &format!("{}-flow-log", stack.name()), spec);
}

fn log_group_arn(stack: &Stack, facts: &Facts) -> String {
    facts.arn("logs", &format!("log-group:{}", log_group::name(&stack.name(), flow_log::LOG_GROUP)))
}

#[cfg(test)]
mod tests {
    use crate::blueprint::tests::{compiled, stack};
    use serde_json::json;

    #[test]
    fn traffic_is_recorded_unless_the_file_says_no() {
        let nodes = compiled(&stack(json!({"logs": {"retention": "7d"}}))).nodes;
        let spec = &nodes["flow-log"].spec;
        assert_eq!((&spec["vpc"], &spec["traffic"]), (&json!("⟦vpc⟧"), &json!("ALL")));
        assert_eq!(spec["log_group"], "⟦log-group-flow-logs⟧");
        assert_eq!(nodes["log-group-flow-logs"].spec["retention"], 7);
        let off = compiled(&stack(json!({"network": {"flow_logs": false}}))).nodes;
        assert!(off.keys().all(|id| !id.contains("flow-log")), "{:?}", off.keys());
    }

    #[test]
    fn only_this_account_s_flow_logs_write_and_only_to_their_group() {
        let role = &compiled(&stack(json!({}))).nodes["role-flow-logs"].spec;
        let trust = &role["trust"]["Statement"][0];
        assert_eq!(trust["Principal"]["Service"], "vpc-flow-logs.amazonaws.com");
        assert_eq!(trust["Condition"]["StringEquals"]["aws:SourceAccount"], "123456789012");
        let group = "arn:aws:logs:ap-northeast-2:123456789012:log-group:/ticketctl/ticketing-dev/flow-logs";
        assert_eq!(role["policy"]["Statement"][0]["Resource"], json!([format!("{group}:*")]));
    }
}
