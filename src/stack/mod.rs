//! The stack file: what the user wrote. Types, loading (YAML, overlays, `--set`), validation, JSON Schema.

pub mod diagnostic;
pub mod facts;
mod interpolate;
mod load;
pub mod name;
mod origins;
mod overlay;
mod schema;
mod shape;
mod show;
mod tree;
pub mod types;
pub mod units;
mod validate;

pub use diagnostic::{Diagnostic, Diagnostics, Severity};
pub use load::{Loaded, load, load_text};
pub use name::{full_name, name};
pub use origins::Origins;
pub use schema::schema;
pub use show::show;
pub use types::Stack;
pub(crate) use validate::windows_overlap;

#[cfg(test)]
mod tests;
