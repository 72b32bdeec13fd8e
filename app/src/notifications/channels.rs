//! How notifications reach people through SNS: push messages to devices, and e-mail.

use crate::outbox::messaging::{Messaging, told};
use aws_sdk_sns::operation::publish::PublishError;
use aws_sdk_sns::types::MessageAttributeValue;
use serde_json::json;
use std::collections::HashMap;

/// Why a push message didn't reach a device.
#[derive(Debug, thiserror::Error)]
pub enum PushError {
    /// The device is gone for good, or its owner wants no more
    #[error("the device takes no more messages")]
    Gone,
    /// It may work another time
    #[error("{0}")]
    Failed(String),
}

impl Messaging {
    /// Makes a device reachable for push messages; none when no platform application is configured.
    pub async fn register_device(&self, token: &str) -> Option<Result<String, String>> {
        let platform = self.args.sns_platform_arn.as_ref()?;
        Some(self.endpoint_for(platform, token).await)
    }

    /// The endpoint of a device's token. One that was there before may have been disabled meanwhile (Amazon SNS
    /// Developer Guide, "Create a platform endpoint and manage device tokens").
    async fn endpoint_for(&self, platform: &str, token: &str) -> Result<String, String> {
        let sns = self.sns().await;
        let made = sns.create_platform_endpoint().platform_application_arn(platform).token(token).send().await;
        let made = made.map_err(|error| told(&error))?;
        let endpoint = made.endpoint_arn().ok_or("SNS gave no endpoint")?;
        let known = sns.get_endpoint_attributes().endpoint_arn(endpoint).send().await.map_err(|error| told(&error))?;
        let is = |name: &str, wanted: &str| {
            let value = known.attributes().and_then(|attributes| attributes.get(name));
            value.is_some_and(|value| value.eq_ignore_ascii_case(wanted))
        };
        if !is("Enabled", "true") || !is("Token", token) {
            let wanted =
                HashMap::from([("Enabled", "true"), ("Token", token)].map(|(k, v)| (k.to_owned(), v.to_owned())));
            let set = sns.set_endpoint_attributes().endpoint_arn(endpoint).set_attributes(Some(wanted)).send().await;
            set.map_err(|error| told(&error))?;
        }
        Ok(endpoint.to_owned())
    }

    /// Pushes a text to a device.
    pub async fn push(&self, endpoint_arn: &str, text: &str) -> Result<(), PushError> {
        let message = json!({
            "default": text,
            "APNS": json!({"aps": {"alert": text}}).to_string(),
            "GCM": json!({"notification": {"body": text}}).to_string(),
        });
        let call = self.sns().await.publish().target_arn(endpoint_arn).message_structure("json");
        call.message(message.to_string()).send().await.map(drop).map_err(|error| match error.as_service_error() {
            Some(PublishError::EndpointDisabledException(_) | PublishError::NotFoundException(_)) => PushError::Gone,
            _ => PushError::Failed(told(&error)),
        })
    }

    /// Whether there is a platform application through which devices are reached.
    pub fn pushes(&self) -> bool {
        self.args.sns_platform_arn.is_some()
    }

    /// Whether there is a topic for e-mail.
    pub fn sends_email(&self) -> bool {
        self.args.sns_email_topic_arn.is_some()
    }

    /// Asks the owner of an address whether it wants e-mail about this user, and returns the subscription; none when
    /// there is no topic for e-mail.
    pub async fn subscribe_email(&self, user_id: &str, email: &str) -> Option<Result<String, String>> {
        let topic = self.args.sns_email_topic_arn.as_ref()?;
        let only_own = json!({"user": [user_id]}).to_string();
        let call = self.sns().await.subscribe().topic_arn(topic).protocol("email").endpoint(email);
        let subscribed = call.return_subscription_arn(true).attributes("FilterPolicy", only_own).send().await;
        Some(match subscribed {
            Ok(answer) => answer.subscription_arn().map(str::to_owned).ok_or_else(|| "SNS gave no subscription".into()),
            Err(error) => Err(told(&error)),
        })
    }

    /// Ends a subscription.
    pub async fn unsubscribe_email(&self, subscription_arn: &str) -> Result<(), String> {
        let call = self.sns().await.unsubscribe().subscription_arn(subscription_arn);
        call.send().await.map(drop).map_err(|error| told(&error))
    }

    /// Sends a text to the addresses that are subscribed for this user.
    pub async fn email(&self, user_id: &str, text: &str) -> Result<(), String> {
        let topic = self.args.sns_email_topic_arn.as_deref().ok_or("there is no topic for e-mail")?;
        let user = MessageAttributeValue::builder().data_type("String").string_value(user_id).build();
        let user = user.map_err(|error| error.to_string())?;
        let call = self.sns().await.publish().topic_arn(topic).subject("Ticketing").message(text);
        call.message_attributes("user", user).send().await.map(drop).map_err(|error| told(&error))
    }
}
