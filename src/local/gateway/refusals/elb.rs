//! Load balancers and listeners.

use crate::local::gateway::call::Call;
use crate::local::gateway::form::Form;
use crate::local::gateway::reply::Refusal;
use crate::local::gateway::state::State;

const SERVICE: &str = "elasticloadbalancing";

pub async fn check(state: &State, call: &Call) -> Result<(), Refusal> {
    match call.operation.as_str() {
        "CreateLoadBalancer" => two_zones(state, call).await,
        "CreateListener" => duplicate_listener(state, call).await,
        "DeleteLoadBalancer" => protected(state, call).await,
        "DeleteTargetGroup" => target_group_in_use(state, call).await,
        _ => Ok(()),
    }
}

async fn two_zones(state: &State, call: &Call) -> Result<(), Refusal> {
    let subnets = call.form.list("Subnets");
    let application = call.form.get("Type").is_none_or(|kind| kind == "application");
    if !application || subnets.is_empty() {
        return Ok(());
    }
    let mut ask = Form::of([("Action", "DescribeSubnets")]);
    for (index, subnet) in subnets.iter().enumerate() {
        ask.push(format!("SubnetId.{}", index + 1), subnet);
    }
    let answer = state.upstream.ask_form(call, "ec2", ask).await?;
    let mut zones: Vec<&str> =
        answer.members("subnetSet").iter().map(|subnet| subnet.get("availabilityZone")).collect();
    let given = zones.len();
    zones.sort_unstable();
    zones.dedup();
    if zones.len() < 2 {
        let message = "At least two subnets in two different Availability Zones must be specified";
        return Err(Refusal::new("ValidationError", message));
    }
    if zones.len() < given {
        let message = "A load balancer cannot be attached to multiple subnets in the same Availability Zone";
        return Err(Refusal::new("InvalidConfigurationRequest", message));
    }
    Ok(())
}

async fn duplicate_listener(state: &State, call: &Call) -> Result<(), Refusal> {
    let parameters = [("LoadBalancerArn", call.form.text("LoadBalancerArn"))];
    let answer = state.upstream.ask(call, SERVICE, "DescribeListeners", &parameters).await?;
    if answer.members("Listeners").iter().any(|listener| listener.get("Port") == call.form.text("Port")) {
        let message = "A listener already exists on this port for this load balancer";
        return Err(Refusal::new("DuplicateListener", message));
    }
    Ok(())
}

async fn protected(state: &State, call: &Call) -> Result<(), Refusal> {
    let arn = call.form.text("LoadBalancerArn");
    let answer = state.upstream.ask(call, SERVICE, "DescribeLoadBalancerAttributes", &[("LoadBalancerArn", arn)]).await;
    let attributes = match answer {
        Ok(answer) => answer,
        // Deleting what isn't there succeeds.
        Err(refusal) if refusal.code == "LoadBalancerNotFound" => return Ok(()),
        Err(refusal) => return Err(refusal),
    };
    let protection =
        attributes.members("Attributes").iter().find(|one| one.get("Key") == "deletion_protection.enabled");
    if protection.is_some_and(|attribute| attribute.get("Value") == "true") {
        let message = format!("Load balancer '{arn}' cannot be deleted because deletion protection is enabled");
        return Err(Refusal::new("OperationNotPermitted", message));
    }
    Ok(())
}

/// A target group that a listener or a rule forwards to.
async fn target_group_in_use(state: &State, call: &Call) -> Result<(), Refusal> {
    let arn = call.form.text("TargetGroupArn");
    let in_use = || {
        let message = format!("Target group '{arn}' is currently in use by a listener or a rule");
        Refusal::new("ResourceInUse", message)
    };
    let balancers = state.upstream.ask(call, SERVICE, "DescribeLoadBalancers", &[]).await?;
    for balancer in balancers.members("LoadBalancers") {
        let parameters = [("LoadBalancerArn", balancer.get("LoadBalancerArn"))];
        let listeners = state.upstream.ask(call, SERVICE, "DescribeListeners", &parameters).await?;
        for listener in listeners.members("Listeners") {
            let parameters = [("ListenerArn", listener.get("ListenerArn"))];
            let rules = state.upstream.ask(call, SERVICE, "DescribeRules", &parameters).await?;
            if rules.all("TargetGroupArn").iter().any(|forwarded| forwarded.text == arn) {
                return Err(in_use());
            }
        }
    }
    Ok(())
}
