//! Auto Scaling groups.

use crate::local::gateway::call::Call;
use crate::local::gateway::corrections::autoscaling::describe;
use crate::local::gateway::reply::Refusal;
use crate::local::gateway::state::State;

pub async fn check(state: &State, call: &Call) -> Result<(), Refusal> {
    let form = &call.form;
    let name = form.text("AutoScalingGroupName");
    match call.operation.as_str() {
        "CreateAutoScalingGroup" => {
            if describe(state, call, name).await.is_ok() {
                let message = format!(
                    "AutoScalingGroup by this name already exists - A group with the name {name} already exists"
                );
                return Err(Refusal::new("AlreadyExists", message));
            }
            let (min, max) = (form.number("MinSize").unwrap_or_default(), form.number("MaxSize").unwrap_or_default());
            sizes(min, max, form.number("DesiredCapacity").unwrap_or(min))
        }
        "UpdateAutoScalingGroup" => {
            let group = describe(state, call, name).await?;
            let or = |key| form.number(key).or_else(|| group.get(key).parse().ok()).unwrap_or_default();
            let (min, max) = (or("MinSize"), or("MaxSize"));
            // Without a desired capacity of its own the call moves the group's into the new limits.
            let desired = form.number("DesiredCapacity").unwrap_or_else(|| or("DesiredCapacity").max(min).min(max));
            sizes(min, max, desired)
        }
        "SetDesiredCapacity" => {
            let group = describe(state, call, name).await?;
            let limit = |key: &str| group.get(key).parse().unwrap_or_default();
            sizes(limit("MinSize"), limit("MaxSize"), form.number("DesiredCapacity").unwrap_or_default())
        }
        "DeleteAutoScalingGroup" if form.text("ForceDelete") != "true" => {
            let group = describe(state, call, name).await?;
            if group.members("Instances").is_empty() {
                return Ok(());
            }
            let message = "You cannot delete an AutoScalingGroup while there are instances or pending Spot instance request(s) still in the group.";
            Err(Refusal::new("ResourceInUse", message))
        }
        _ => Ok(()),
    }
}

fn sizes(min: i64, max: i64, desired: i64) -> Result<(), Refusal> {
    if min > max {
        let message = format!("Max bound, {max}, must be greater than or equal to min bound, {min}");
        return Err(Refusal::new("ValidationError", message));
    }
    if desired > max {
        let message = format!("Desired capacity:{desired} must be less than or equal to max size:{max}");
        return Err(Refusal::new("ValidationError", message));
    }
    if desired < min {
        let message = format!("Desired capacity:{desired} must be greater than or equal to min size:{min}");
        return Err(Refusal::new("ValidationError", message));
    }
    Ok(())
}
