//! SNS and SQS, when they are configured; without a topic, messages are consumed in this process.

use super::{ATTEMPTS, Message, consumer};
use crate::config::MessagingArgs;
use crate::db;
use crate::sales::requests;
use crate::state::AppState;
use crate::telemetry::traces::TRACEPARENT;
use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, SdkConfig};
use aws_sdk_sns::error::{BuildError, ProvideErrorMetadata, SdkError};
use aws_sdk_sns::types::{MessageAttributeValue, PublishBatchRequestEntry};
use aws_sdk_sqs::types::MessageSystemAttributeName;
use serde_json::{Value, json};
use std::time::Duration;
use tokio::sync::OnceCell;

/// How long AWS may take for an answer: longer than a look at the queue waits for messages.
const LONGEST: Duration = Duration::from_secs(20);
/// How long such a look waits, in seconds.
const LOOK_SECONDS: i32 = 10;

/// Why a message was not passed on.
pub enum Failure {
    /// For something about itself: trying again will hardly help
    Refused(String),
    /// For nothing about itself: who takes messages is away, or takes none at the moment
    Away(String),
}

/// The connection to AWS. Endpoint, region and credentials come from the environment, as for every AWS tool.
pub struct Messaging {
    pub(crate) args: MessagingArgs,
    config: OnceCell<SdkConfig>,
}

impl Messaging {
    /// Connects to nothing yet.
    pub fn new(args: &MessagingArgs) -> Self {
        Self { args: args.clone(), config: OnceCell::new() }
    }

    async fn config(&self) -> &SdkConfig {
        let limits = TimeoutConfig::builder().operation_attempt_timeout(LONGEST).build();
        let load = || aws_config::defaults(BehaviorVersion::latest()).timeout_config(limits).load();
        self.config.get_or_init(load).await
    }

    /// SNS.
    pub(crate) async fn sns(&self) -> aws_sdk_sns::Client {
        aws_sdk_sns::Client::new(self.config().await)
    }

    /// Publishes at most 10 messages and returns a result for each; none when there is no topic.
    pub async fn publish(&self, messages: &[Message]) -> Option<Vec<Result<(), Failure>>> {
        let topic = self.args.sns_topic_arn.as_ref()?;
        let entries: Result<Vec<_>, _> =
            messages.iter().zip(0..).map(|(message, index)| entry(message, index)).collect();
        let call = match entries {
            Ok(entries) => {
                self.sns().await.publish_batch().topic_arn(topic).set_publish_batch_request_entries(Some(entries))
            }
            Err(error) => return Some(messages.iter().map(|_| Err(Failure::Refused(error.to_string()))).collect()),
        };
        Some(match call.send().await {
            Ok(answer) => (0..messages.len())
                .map(|index| {
                    let index = index.to_string();
                    match answer.failed().iter().find(|entry| entry.id() == index) {
                        None => Ok(()),
                        Some(entry) => {
                            let error = entry.message().unwrap_or(entry.code()).to_owned();
                            Err(if entry.sender_fault() { Failure::Refused(error) } else { Failure::Away(error) })
                        }
                    }
                })
                .collect(),
            Err(error) => {
                let error = told(&error);
                messages.iter().map(|_| Err(Failure::Away(error.clone()))).collect()
            }
        })
    }

    /// Consumes the queue until the task is dropped; returns at once when there is none. What fails comes again, and
    /// goes to the queue's dead letters after as many times as the queue says.
    pub async fn consume(&self, state: &AppState) {
        let Some(queue) = &self.args.sqs_queue_url else { return };
        let sqs = aws_sdk_sqs::Client::new(self.config().await);
        loop {
            // Without a database everything fails: no message is to run out of attempts by that.
            if !state.health.database_ready() {
                tokio::time::sleep(Duration::from_secs(1)).await;
                continue;
            }
            let call =
                sqs.receive_message().queue_url(queue).max_number_of_messages(10).wait_time_seconds(LOOK_SECONDS);
            let call = call.message_attribute_names(TRACEPARENT);
            let call = call.message_system_attribute_names(MessageSystemAttributeName::ApproximateReceiveCount);
            match call.send().await {
                Ok(received) => {
                    let work = received.messages().iter().map(|raw| deal_with(state, &sqs, queue, raw));
                    futures::future::join_all(work).await;
                }
                Err(error) => {
                    tracing::warn!(error = told(&error), "the queue cannot be read");
                    tokio::time::sleep(Duration::from_secs(2)).await;
                }
            }
        }
    }
}

fn attribute(value: &str) -> Result<MessageAttributeValue, BuildError> {
    MessageAttributeValue::builder().data_type("String").string_value(value).build()
}

fn entry(message: &Message, index: usize) -> Result<PublishBatchRequestEntry, BuildError> {
    let mut entry = PublishBatchRequestEntry::builder()
        .id(index.to_string())
        .message(message.to_json().to_string())
        .message_attributes("kind", attribute(&message.kind)?);
    if let Some(traceparent) = &message.traceparent {
        entry = entry.message_attributes(TRACEPARENT, attribute(traceparent)?);
    }
    entry.build()
}

/// Acts on a message and takes it out of the queue. What failed comes back soon, and not only when the queue's own
/// patience ends.
async fn deal_with(state: &AppState, sqs: &aws_sdk_sqs::Client, queue: &str, raw: &aws_sdk_sqs::types::Message) {
    let Some(receipt) = raw.receipt_handle() else { return };
    let message = Message::from_delivery(raw);
    let handled = match &message {
        Some(message) => consumer::handle(state, message).await.map_err(|error| error.to_string()),
        None => Err("it is none of ours".into()),
    };
    let Err(error) = handled else {
        if let Err(error) = sqs.delete_message().queue_url(queue).receipt_handle(receipt).send().await {
            tracing::warn!(error = told(&error), "a message will come once more");
        }
        return;
    };
    let count = raw.attributes().and_then(|all| all.get(&MessageSystemAttributeName::ApproximateReceiveCount));
    let count: u32 = count.and_then(|count| count.parse().ok()).unwrap_or(1);
    tracing::warn!(id = raw.message_id(), count, error, "a message failed");
    metrics::counter!("ticketing_message_failures_total").increment(1);
    // Nobody tells us how often the queue delivers before it puts a message aside, if it does: who asked is not to wait for that.
    if let Some(message) = message.filter(|message| message.kind == requests::REQUESTED && count >= ATTEMPTS)
        && let Err(error) = db::within(db::LONGEST, give_up(state, &message)).await
    {
        tracing::error!(id = message.id, %error, "a request stays undecided");
    }
    let pause = i32::try_from(1_u32 << count.min(8)).unwrap_or(i32::MAX);
    let call = sqs.change_message_visibility().queue_url(queue).receipt_handle(receipt).visibility_timeout(pause);
    if let Err(error) = call.send().await {
        tracing::debug!(error = told(&error), "a message comes back when the queue says");
    }
}

async fn give_up(state: &AppState, message: &Message) -> Result<(), sqlx::Error> {
    let mut tx = state.db.begin().await?;
    requests::give_up(&mut tx, message).await?;
    tx.commit().await
}

/// What AWS says is wrong, without the whole answer.
pub(crate) fn told<E: ProvideErrorMetadata + std::error::Error + 'static, R>(error: &SdkError<E, R>) -> String {
    match error.as_service_error().and_then(|service| service.code().zip(service.message())) {
        Some((code, message)) => format!("{code}: {message}"),
        None => error.to_string(),
    }
}

impl Message {
    fn to_json(&self) -> Value {
        json!({"id": self.id, "kind": self.kind, "eventId": self.event_id, "payload": self.payload})
    }

    /// Reads what SQS delivers: our JSON with SQS's attributes, or SNS's envelope around both.
    fn from_delivery(raw: &aws_sdk_sqs::types::Message) -> Option<Self> {
        let trace = raw.message_attributes().and_then(|all| all.get(TRACEPARENT)?.string_value());
        Self::from_body(raw.body()?, trace)
    }

    fn from_body(body: &str, trace: Option<&str>) -> Option<Self> {
        let mut value: Value = serde_json::from_str(body).ok()?;
        let mut traceparent = trace.map(str::to_owned);
        if value["Type"] == "Notification" {
            traceparent = value["MessageAttributes"][TRACEPARENT]["Value"].as_str().map(str::to_owned);
            value = serde_json::from_str(value["Message"].as_str()?).ok()?;
        }
        Some(Self {
            id: value["id"].as_u64()?,
            kind: value["kind"].as_str()?.to_owned(),
            event_id: value["eventId"].as_u64()?,
            payload: value["payload"].take(),
            traceparent,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_survive_with_and_without_an_envelope() {
        let trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        let message = Message {
            id: 7,
            kind: "a.b".into(),
            event_id: 3,
            payload: json!({"quantity": 2}),
            traceparent: Some(trace.into()),
        };
        let plain = message.to_json().to_string();
        let attributes = json!({TRACEPARENT: {"Type": "String", "Value": trace}});
        let wrapped = json!({"Type": "Notification", "Message": plain, "MessageAttributes": attributes}).to_string();
        for (body, attribute) in [(plain, Some(trace)), (wrapped, None)] {
            let read = Message::from_body(&body, attribute).expect("ours");
            assert_eq!((read.id, read.kind.as_str(), read.event_id), (7, "a.b", 3));
            assert_eq!((read.payload, read.traceparent), (message.payload.clone(), message.traceparent.clone()));
        }
        assert!(Message::from_body("{}", None).is_none());
        assert!(Message::from_body("hello", None).is_none());
    }
}
