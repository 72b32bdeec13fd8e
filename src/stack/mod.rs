//! The stack file: what the user wrote. Types, loading (YAML, overlays, `--set`), validation, JSON Schema.

pub mod name;
pub mod types;
pub mod units;

pub use types::Stack;
