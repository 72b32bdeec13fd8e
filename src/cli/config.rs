//! `ticketctl config show`: the stack as ticketctl understands it.

use std::path::Path;

use crate::stack::{self, Diagnostics};

/// The effective stack as YAML, and behind each value where it comes from.
///
/// # Errors
/// Everything that is wrong with the stack file.
pub fn show(path: &Path, sets: &[String]) -> Result<String, Diagnostics> {
    stack::load(path, sets).map(|loaded| stack::show(&loaded))
}

/// The effective stack as indented JSON, for other programs.
///
/// # Errors
/// Everything that is wrong with the stack file.
pub fn show_json(path: &Path, sets: &[String]) -> Result<String, Diagnostics> {
    let loaded = stack::load(path, sets)?;
    let value = serde_json::to_value(&loaded.stack).expect("a stack is plain data");
    Ok(format!("{value:#}\n"))
}
