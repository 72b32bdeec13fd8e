//! What the engine tells while it works. The renderers in `ui/` turn it into lines, bars or JSON.

use serde::Serialize;

use super::Action;

/// How an operation ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    Done,
    Failed,
    Skipped,
}

/// One thing that happened. Serialised, it is a line of `--json`.
#[derive(Clone, Debug, Serialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum Event {
    /// The run begins; so many operations are to be done.
    Begin { stack: String, operations: usize },
    /// An operation's first call goes out.
    Start { id: String, kind: &'static str, action: Action },
    /// The create call has answered.
    Created { id: String, kind: &'static str, aws_id: String },
    /// Still not ready, or another try after an error; in words.
    Progress { id: String, kind: &'static str, text: String, seconds: f64 },
    /// An operation has ended.
    End {
        id: String,
        kind: &'static str,
        action: Action,
        outcome: Outcome,
        seconds: f64,
        #[serde(skip_serializing_if = "Option::is_none")]
        aws_id: Option<String>,
        /// The error, or why it was skipped.
        #[serde(skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
    },
    /// A service's instances are being replaced; in words, how far it is.
    Rollout { service: String, text: String },
    /// The run is asked to stop: nothing new starts.
    Stopping { reason: String },
    /// Something worth knowing that belongs to no operation.
    Notice { text: String },
}

/// Receives events in the order in which things happen.
pub trait Observer: Send + Sync {
    fn observe(&self, event: &Event);
}
