//! What people and programs see: the plan as text and Markdown, progress while a run goes on. Nothing below imports it.

pub mod markdown;
pub mod progress;
pub mod text;

use serde_json::Value;

use crate::resource::{CLOSE, OPEN};

/// The longest value that is shown whole.
const WIDTH: usize = 72;

/// A value on one line: texts in quotes, what isn't known yet named as such, what is long cut.
pub fn value(value: &Value) -> String {
    let text = match value {
        Value::Null => return "(none)".into(),
        Value::String(text) if text.contains(OPEN) && text.contains(CLOSE) => return unknown(text),
        other => other.to_string(),
    };
    if text.chars().count() <= WIDTH {
        return text;
    }
    let start: String = text.chars().take(WIDTH - 1).collect();
    format!("{start}…")
}

/// A text with references in it: they are known once what they point at is there.
fn unknown(text: &str) -> String {
    let whole = text.starts_with(OPEN) && text.ends_with(CLOSE) && text.matches(OPEN).count() == 1;
    let inner = text.trim_matches([OPEN, CLOSE]).trim_end_matches('!');
    if whole { format!("(known once {inner} is there)") } else { format!("{text:?} (known later)") }
}
