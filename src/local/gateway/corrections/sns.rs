//! A subscription by e-mail has no ARN before it is confirmed, and nobody confirms one here.

use crate::local::gateway::call::Call;
use crate::local::gateway::reply::{Refusal, Reply};
use crate::local::gateway::xml::Element;

pub fn answer(call: &Call, reply: Reply) -> Result<Reply, Refusal> {
    if call.operation == "Subscribe"
        && call.form.text("Protocol").starts_with("email")
        && call.form.text("ReturnSubscriptionArn") != "true"
    {
        let mut answer = reply.element()?;
        if let Some(arn) = answer.find_mut("SubscriptionArn") {
            arn.text = "pending confirmation".to_owned();
        }
        return Ok(reply.with_element(&answer));
    }
    if !matches!(call.operation.as_str(), "ListSubscriptions" | "ListSubscriptionsByTopic") {
        return Ok(reply);
    }
    let mut answer = reply.element()?;
    if let Some(subscriptions) = answer.find_mut("Subscriptions") {
        for subscription in &mut subscriptions.children {
            if subscription.get("Protocol").starts_with("email") {
                subscription.set(Element::leaf("SubscriptionArn", "PendingConfirmation"));
            }
        }
    }
    Ok(reply.with_element(&answer))
}
