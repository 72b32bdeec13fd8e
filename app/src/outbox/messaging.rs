//! SNS and SQS, when they are configured; without a topic, messages are consumed in this process.

use super::{Message, consumer};
use crate::config::MessagingArgs;
use crate::state::AppState;
use aws_config::{BehaviorVersion, SdkConfig};
use aws_sdk_sns::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_sns::types::{MessageAttributeValue, PublishBatchRequestEntry};
use serde_json::{Value, json};
use std::time::Duration;
use tokio::sync::OnceCell;

/// The connection to AWS. Endpoint, region and credentials come from the environment, as for every AWS tool.
pub struct Messaging {
    args: MessagingArgs,
    config: OnceCell<SdkConfig>,
}

impl Messaging {
    /// Connects to nothing yet.
    pub fn new(args: &MessagingArgs) -> Self {
        Self { args: args.clone(), config: OnceCell::new() }
    }

    async fn config(&self) -> &SdkConfig {
        self.config.get_or_init(|| aws_config::defaults(BehaviorVersion::latest()).load()).await
    }

    async fn sns(&self) -> aws_sdk_sns::Client {
        aws_sdk_sns::Client::new(self.config().await)
    }

    /// Publishes at most 10 messages and returns a result for each; none when there is no topic.
    pub async fn publish(&self, messages: &[Message]) -> Option<Vec<Result<(), String>>> {
        let topic = self.args.sns_topic_arn.as_ref()?;
        let mut call = self.sns().await.publish_batch().topic_arn(topic);
        for (index, message) in messages.iter().enumerate() {
            let kind = MessageAttributeValue::builder().data_type("String").string_value(&message.kind).build();
            let entry = PublishBatchRequestEntry::builder()
                .id(index.to_string())
                .message(message.to_json().to_string())
                .message_attributes(
                    "kind",
                    match kind {
                        Ok(kind) => kind,
                        Err(error) => return Some(messages.iter().map(|_| Err(error.to_string())).collect()),
                    },
                )
                .build();
            match entry {
                Ok(entry) => call = call.publish_batch_request_entries(entry),
                Err(error) => return Some(messages.iter().map(|_| Err(error.to_string())).collect()),
            }
        }
        Some(match call.send().await {
            Ok(answer) => (0..messages.len())
                .map(|index| {
                    let index = index.to_string();
                    match answer.failed().iter().find(|entry| entry.id() == index) {
                        None => Ok(()),
                        Some(entry) => Err(entry.message().unwrap_or(entry.code()).to_owned()),
                    }
                })
                .collect(),
            Err(error) => {
                let error = told(&error);
                messages.iter().map(|_| Err(error.clone())).collect()
            }
        })
    }

    /// Makes a device reachable for push messages; none when no platform application is configured.
    pub async fn register_device(&self, token: &str) -> Option<Result<String, String>> {
        let platform = self.args.sns_platform_arn.as_ref()?;
        let call = self.sns().await.create_platform_endpoint().platform_application_arn(platform).token(token);
        Some(match call.send().await {
            Ok(answer) => answer.endpoint_arn().map(str::to_owned).ok_or_else(|| "SNS gave no endpoint".to_owned()),
            Err(error) => Err(told(&error)),
        })
    }

    /// Pushes a text to a device.
    pub async fn push(&self, endpoint_arn: &str, text: &str) -> Result<(), String> {
        let message = json!({
            "default": text,
            "APNS": json!({"aps": {"alert": text}}).to_string(),
            "GCM": json!({"notification": {"body": text}}).to_string(),
        });
        let call = self.sns().await.publish().target_arn(endpoint_arn).message_structure("json");
        call.message(message.to_string()).send().await.map(drop).map_err(|error| told(&error))
    }

    /// Consumes the queue until the task is dropped; returns at once when there is none. What fails comes again, and
    /// goes to the queue's dead letters after as many times as the queue says.
    pub async fn consume(&self, state: &AppState) {
        let Some(queue) = &self.args.sqs_queue_url else { return };
        let sqs = aws_sdk_sqs::Client::new(self.config().await);
        loop {
            let received =
                sqs.receive_message().queue_url(queue).max_number_of_messages(10).wait_time_seconds(10).send().await;
            let received = match received {
                Ok(received) => received,
                Err(error) => {
                    tracing::warn!(error = told(&error), "the queue cannot be read");
                    tokio::time::sleep(Duration::from_secs(2)).await;
                    continue;
                }
            };
            for raw in received.messages() {
                let Some(message) = raw.body().and_then(Message::from_envelope) else {
                    tracing::error!(id = raw.message_id(), "a message in the queue is none of ours");
                    continue;
                };
                if let Err(error) = consumer::handle(state, &message).await {
                    tracing::warn!(id = message.id, kind = message.kind, %error, "a message will come again");
                    continue;
                }
                let Some(receipt) = raw.receipt_handle() else { continue };
                if let Err(error) = sqs.delete_message().queue_url(queue).receipt_handle(receipt).send().await {
                    tracing::warn!(error = told(&error), "a message will come once more");
                }
            }
        }
    }
}

/// What AWS says is wrong, without the whole answer.
fn told<E: ProvideErrorMetadata + std::error::Error + 'static, R>(error: &SdkError<E, R>) -> String {
    match error.as_service_error().and_then(|service| service.code().zip(service.message())) {
        Some((code, message)) => format!("{code}: {message}"),
        None => error.to_string(),
    }
}

impl Message {
    fn to_json(&self) -> Value {
        json!({"id": self.id, "kind": self.kind, "eventId": self.event_id, "payload": self.payload})
    }

    /// Reads what SQS delivers: our JSON, or SNS's envelope around it.
    fn from_envelope(body: &str) -> Option<Self> {
        let mut value: Value = serde_json::from_str(body).ok()?;
        if value["Type"] == "Notification" {
            value = serde_json::from_str(value["Message"].as_str()?).ok()?;
        }
        Some(Self {
            id: value["id"].as_u64()?,
            kind: value["kind"].as_str()?.to_owned(),
            event_id: value["eventId"].as_u64()?,
            payload: value["payload"].take(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_survive_with_and_without_an_envelope() {
        let message = Message { id: 7, kind: "a.b".into(), event_id: 3, payload: json!({"quantity": 2}) };
        let plain = message.to_json().to_string();
        let wrapped = json!({"Type": "Notification", "Message": plain}).to_string();
        for body in [plain, wrapped] {
            let read = Message::from_envelope(&body).expect("ours");
            assert_eq!((read.id, read.kind.as_str(), read.event_id), (7, "a.b", 3));
            assert_eq!(read.payload, message.payload);
        }
        assert!(Message::from_envelope("{}").is_none());
        assert!(Message::from_envelope("hello").is_none());
    }
}
