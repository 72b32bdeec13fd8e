//! The JSON Schema of a stack file: generated from the types, used by editors and by our own checks.

use schemars::{Schema, generate::SchemaSettings};
use serde_json::json;

use super::Stack;

/// The JSON Schema (draft 2020-12) of a stack file.
pub fn schema() -> Schema {
    let generator = SchemaSettings::draft2020_12().into_generator();
    let mut schema = generator.into_root_schema_for::<Stack>();
    // `extends` is a matter of files and no part of what a stack is.
    if let Some(properties) = schema
        .get_mut("properties")
        .and_then(|properties| properties.as_object_mut())
    {
        let extends = json!({
            "type": "string",
            "minLength": 1,
            "description": "Stack file that this one is laid over, relative to this file. Mappings are merged, \
                            everything else is replaced, and `null` removes what the other file says.",
            "examples": ["base.yaml"],
        });
        properties.shift_insert(0, "extends".to_owned(), extends);
    }
    schema
}
