//! `ticketctl schema`: the JSON Schema of a stack file, for editors.

use crate::stack;

/// The schema as indented JSON.
pub fn run() -> String {
    format!("{:#}\n", stack::schema().as_value())
}
