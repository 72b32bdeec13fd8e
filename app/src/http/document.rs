//! What all operations have in common, written into the OpenAPI document once instead of at each of them.

use serde_json::{Map, Value, json};
use utoipa::openapi::OpenApi;

/// Adds the answers that what surrounds the handlers may give, and says that problems are `application/problem+json`.
pub fn complete(document: &OpenApi) -> Result<OpenApi, serde_json::Error> {
    let mut document = serde_json::to_value(document)?;
    if let Some(paths) = document["paths"].as_object_mut() {
        for (path, operations) in paths {
            for operation in operations.as_object_mut().into_iter().flat_map(Map::values_mut) {
                complete_operation(path, operation);
            }
        }
    }
    name_unsigned(&mut document);
    serde_json::from_value(document)
}

fn complete_operation(path: &str, operation: &mut Value) {
    let parameters = operation["parameters"].as_array().cloned().unwrap_or_default();
    let has = |place: &str| parameters.iter().any(|parameter| parameter["in"] == place);
    let mut common = Vec::new();
    if has("query") {
        common.push(("400", "`invalid_query`"));
    }
    if operation.get("requestBody").is_some() {
        common.push(("400", "`invalid_body`: this is no JSON"));
        common.push(("413", "`invalid_body`: this is too long"));
        common.push(("415", "`invalid_body`: this is not said to be JSON"));
        common.push(("422", "`invalid_body`: this is JSON of another form"));
    }
    if has("path") {
        common.push(("404", "`not_found`"));
    }
    if operation.get("security").is_some() {
        common.push(("401", "`login_needed`, `token_expired`, `bad_token`"));
    }
    if path.starts_with("/api/") {
        common.push(("429", "`rate_limit`: come back after Retry-After seconds"));
        common.push((
            "503",
            "`database_unavailable`, `redis_unavailable`, `busy`, `timeout`: come back after Retry-After",
        ));
    }
    let Some(responses) = operation["responses"].as_object_mut() else { return };
    let problem = json!({"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}});
    for (status, description) in common {
        let response = || json!({"description": description, "content": problem.clone()});
        responses.entry(status).or_insert_with(response);
    }
    for response in responses.values_mut() {
        let reference = &response["content"]["application/json"]["schema"]["$ref"];
        if *reference == "#/components/schemas/Problem" {
            response["content"] = problem.clone();
        }
    }
}

/// Identifiers use all 64 bits, which `int64` does not say (OpenAPI's format registry has `uint64`).
fn name_unsigned(value: &mut Value) {
    if value["format"] == "int64" && value["minimum"] == 0 {
        value["format"] = "uint64".into();
    }
    match value {
        Value::Object(fields) => fields.values_mut().for_each(name_unsigned),
        Value::Array(items) => items.iter_mut().for_each(name_unsigned),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    #[test]
    fn where_a_pass_is_needed_it_can_be_sent() {
        let document = serde_json::to_value(crate::http::openapi()).expect("JSON");
        let operations = document["paths"].as_object().expect("paths").iter().flat_map(|(path, operations)| {
            operations.as_object().expect("operations").values().map(move |operation| (path, operation))
        });
        let mut found = 0;
        for (path, operation) in operations {
            let refused = operation["responses"]["403"]["description"].as_str().unwrap_or_default();
            if refused.contains("`pass_needed`") {
                let parameters = operation["parameters"].as_array().expect("parameters");
                assert!(parameters.iter().any(|one| one["name"] == "X-Queue-Pass"), "{path}");
                found += 1;
            }
        }
        assert!(found >= 3, "{found}");
    }

    #[test]
    fn every_operation_tells_its_problems() {
        let document = serde_json::to_value(crate::http::openapi()).expect("JSON");
        let order = &document["paths"]["/api/reservations"]["post"]["responses"];
        for status in ["400", "401", "409", "415", "422", "429", "503"] {
            let content = order[status]["content"].as_object().unwrap_or_else(|| panic!("{status}: {order:#}"));
            assert_eq!(content.keys().collect::<Vec<_>>(), ["application/problem+json"], "{status}");
        }
        assert_eq!(order["409"]["description"].as_str().map(|text| text.contains("`sold_out`")), Some(true), "kept");
        let id = &document["components"]["schemas"]["EventView"]["properties"]["eventId"];
        assert_eq!(id["format"], "uint64", "{id}");
        assert_eq!(document["paths"]["/livez"]["get"]["responses"].as_object().map(|all| all.len()), Some(1));
        assert!(matches!(document["openapi"], Value::String(ref version) if version.starts_with("3.1")));
    }
}
