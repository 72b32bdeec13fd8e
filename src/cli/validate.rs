//! `ticketctl validate`: is the stack file right?

use std::path::Path;

use crate::stack::{self, Diagnostics, Loaded};

/// Checks the stack file and says what was found, warnings included.
///
/// # Errors
/// Everything that is wrong with the stack file.
pub fn run(path: &Path, sets: &[String], color: bool) -> Result<String, Diagnostics> {
    stack::load(path, sets).map(|loaded| report(path, &loaded, color))
}

/// The same as data: `{"valid", "stack", "findings"}`, whether or not the file is right.
pub fn run_json(path: &Path, sets: &[String]) -> (bool, serde_json::Value) {
    let (name, findings) = match stack::load(path, sets) {
        Ok(loaded) => (Some(loaded.stack.name()), loaded.warnings),
        Err(findings) => (None, findings),
    };
    let valid = name.is_some();
    (valid, serde_json::json!({ "valid": valid, "stack": name, "findings": findings.to_json() }))
}

fn report(path: &Path, loaded: &Loaded, color: bool) -> String {
    let mut text = String::new();
    if !loaded.warnings.is_empty() {
        text.push_str(&loaded.warnings.render(color));
        text.push_str("\n\n");
    }
    text.push_str(&format!("{} is a valid stack: {}\n", path.display(), loaded.stack.name()));
    text
}
