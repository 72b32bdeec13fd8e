//! The effective stack as text, with the origin of every value.

use serde_json::{Map, Value as Json};

use super::Loaded;
use super::origins::child;
use super::units::Duration;

/// Column of the comments; longer lines push theirs to the right.
const COMMENT_COLUMN: usize = 48;

/// The stack as a YAML document, with defaults filled in, and behind each value where it comes from:
/// a file and line, `--set`, or a default. Loaded again, it gives the same stack.
pub fn show(loaded: &Loaded) -> String {
    let mut lines = Vec::new();
    let stack = serde_json::to_value(&loaded.stack).expect("a stack is plain data");
    mapping(loaded, stack.as_object().expect("a stack is a struct"), "", 0, &mut lines);
    lines.push(String::new());
    lines.join("\n")
}

fn mapping(loaded: &Loaded, map: &Map<String, Json>, path: &str, depth: usize, lines: &mut Vec<String>) {
    for (key, value) in map {
        let path = child(path, key);
        let start = format!("{}{}:", "  ".repeat(depth), text(key));
        match value {
            Json::Object(inner) if !inner.is_empty() => {
                lines.push(start);
                mapping(loaded, inner, &path, depth + 1, lines);
            }
            _ => {
                let line = format!("{start} {}", inline(value));
                let origin = loaded.origins.describe(&path, &loaded.warnings.sources);
                lines.push(format!("{line:<COMMENT_COLUMN$}  # {origin}"));
            }
        }
    }
}

/// A value in one line.
fn inline(value: &Json) -> String {
    match value {
        Json::String(string) => text(string),
        Json::Array(items) => format!("[{}]", items.iter().map(inline).collect::<Vec<_>>().join(", ")),
        other => other.to_string(),
    }
}

/// A text, in quotes (as in JSON, which YAML understands) unless it can't be taken for anything else.
fn text(string: &str) -> String {
    let words = ["true", "false", "null", "yes", "no", "on", "off", "y", "n"];
    let is_word = words.contains(&string.to_lowercase().as_str());
    let harmless = string.chars().all(|c| c.is_ascii_alphanumeric() || "-_./".contains(c));
    let begins_with_letter = string.starts_with(|c: char| c.is_ascii_alphabetic());
    let no_number = begins_with_letter || string.contains('/') || string.parse::<Duration>().is_ok();
    if harmless && no_number && !is_word {
        string.to_owned()
    } else {
        // `${` would begin an expression.
        Json::String(string.replace("${", "$${")).to_string()
    }
}
