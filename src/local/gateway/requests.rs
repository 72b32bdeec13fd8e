//! Whole requests, kept while a test asks for them: what callers really send is compared with AWS's models.

use std::sync::{Mutex, PoisonError};

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Value, json};

use super::call::{Call, Protocol};

/// The kept requests; none unless they are asked for, because secrets are among them.
#[derive(Default)]
pub struct Requests(Mutex<Option<Vec<Value>>>);

impl Requests {
    fn kept(&self) -> std::sync::MutexGuard<'_, Option<Vec<Value>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps what comes from now on.
    pub fn begin(&self) {
        *self.kept() = Some(Vec::new());
    }

    /// What was kept since then; from now on nothing is.
    pub fn end(&self) -> Vec<Value> {
        self.kept().take().unwrap_or_default()
    }

    pub fn keep(&self, call: &Call) {
        if let Some(requests) = self.kept().as_mut() {
            requests.push(told(call));
        }
    }
}

/// One request as the test reads it; CBOR as the JSON that says the same.
fn told(call: &Call) -> Value {
    let mut readable = call.clone();
    if call.protocol == Protocol::Cbor
        && let Err(refusal) = super::translate_request(&mut readable)
    {
        tracing::warn!("a request that can't be read is kept as it is: {refusal:?}");
    }
    let protocol = match call.protocol {
        Protocol::Ec2 | Protocol::Query => "form",
        Protocol::Json | Protocol::Cbor => "json",
        Protocol::Rest => "rest",
    };
    let header = |(name, value): (&hyper::header::HeaderName, &hyper::header::HeaderValue)| {
        Some((name.to_string(), Value::from(value.to_str().ok()?)))
    };
    json!({
        "service": call.service,
        "operation": call.operation,
        "protocol": protocol,
        "path": call.uri.path(),
        "query": call.uri.query().unwrap_or_default(),
        "headers": call.headers.iter().filter_map(header).collect::<serde_json::Map<_, _>>(),
        "body": STANDARD.encode(&readable.body),
    })
}
