//! The JSON Schema of a stack file: generated from the types, used by editors and by our own checks.

use schemars::{Schema, generate::SchemaSettings};
use serde_json::{Value as Json, json};

use super::Stack;

/// The JSON Schema (draft 2020-12) of a stack file, for editors.
pub fn schema() -> Schema {
    let mut schema = stack_schema();
    let required = schema.remove("required");
    // A file that is laid over another needn't be complete.
    if let Some(required) = required {
        schema.insert("if".to_owned(), json!({ "not": { "required": ["extends"] } }));
        schema.insert("then".to_owned(), json!({ "required": required }));
    }
    if let Some(properties) = schema.get_mut("properties").and_then(Json::as_object_mut) {
        let extends = json!({
            "description": "Stack file that this one is laid over, relative to this file. Mappings are merged, \
                            everything else is replaced, and `null` removes what the other file says.",
            "type": "string",
            "minLength": 1,
            "examples": ["base.yaml"],
        });
        properties.shift_insert(0, "extends".to_owned(), extends);
        // An overlay takes a service of the other file away with null.
        let service = &mut properties["services"]["additionalProperties"];
        *service = json!({ "anyOf": [service.take(), { "type": "null" }] });
    }
    schema
}

/// The schema of a whole stack, after overlays.
pub(super) fn stack_schema() -> Schema {
    SchemaSettings::draft2020_12().into_generator().into_root_schema_for::<Stack>()
}
