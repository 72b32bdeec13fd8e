//! The comparison of a wish with what AWS says: generic over all kinds, attribute by attribute.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::resource::{AnyKind, Effect, root};

/// One attribute that differs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Attribute {
    /// Where in the spec: `max_size`, `ingress[0].port`, `tags.Name`.
    pub path: String,
    /// What AWS has; null if nothing.
    pub before: Value,
    /// What is wanted; null if nothing. A value not known yet holds a reference token.
    pub after: Value,
    pub effect: Effect,
}

impl Attribute {
    /// Whether it is a tag and no attribute of the resource itself.
    pub fn is_tag(&self) -> bool {
        root(&self.path) == "tags"
    }
}

/// Everything that differs between `desired` and `actual`, in the wish's order.
///
/// A null in the wish is an attribute that isn't ours to decide. A key that only AWS has is one to take away.
/// Lists are compared whole when they hold plain values, and by position otherwise: kinds keep sets in order.
pub fn compare(kind: &dyn AnyKind, desired: &Value, actual: &Value) -> Vec<Attribute> {
    let mut found = Vec::new();
    walk(String::new(), desired, actual, &mut |path: String, before: &Value, after: &Value| {
        let effect = kind.effect(&path);
        found.push(Attribute { path, before: before.clone(), after: after.clone(), effect });
    });
    found
}

fn walk(path: String, desired: &Value, actual: &Value, differs: &mut impl FnMut(String, &Value, &Value)) {
    match (desired, actual) {
        (Value::Null, _) => {}
        (Value::Object(wanted), Value::Object(present)) => walk_fields(&path, wanted, present, differs),
        (Value::Array(wanted), Value::Array(present)) if wanted.iter().chain(present).any(Value::is_object) => {
            for index in 0..wanted.len().max(present.len()) {
                let path = format!("{path}[{index}]");
                match (wanted.get(index), present.get(index)) {
                    (Some(wanted), Some(present)) => walk(path, wanted, present, differs),
                    (wanted, present) => {
                        differs(path, present.unwrap_or(&Value::Null), wanted.unwrap_or(&Value::Null));
                    }
                }
            }
        }
        (wanted, present) if same(wanted, present) => {}
        (wanted, present) => differs(path, present, wanted),
    }
}

fn walk_fields(
    path: &str,
    wanted: &Map<String, Value>,
    present: &Map<String, Value>,
    differs: &mut impl FnMut(String, &Value, &Value),
) {
    let join = |key: &str| if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") };
    for (key, value) in wanted {
        walk(join(key), value, present.get(key).unwrap_or(&Value::Null), differs);
    }
    for (key, value) in present.iter().filter(|(key, value)| !wanted.contains_key(*key) && !value.is_null()) {
        differs(join(key), value, &Value::Null);
    }
}

/// 5 and 5.0 are one number: AWS answers with floats where we send integers.
fn same(left: &Value, right: &Value) -> bool {
    match (left, right) {
        (Value::Number(left), Value::Number(right)) => left.as_f64() == right.as_f64(),
        (left, right) => left == right,
    }
}

/// The differences between the tags that we want and those that are there. Foreign tags are left alone.
pub fn compare_tags(desired: &crate::aws::Tags, actual: &crate::aws::Tags) -> Vec<Attribute> {
    desired
        .iter()
        .filter(|(key, value)| actual.get(*key) != Some(value))
        .map(|(key, value)| Attribute {
            path: format!("tags.{key}"),
            before: actual.get(key).cloned().map_or(Value::Null, Value::String),
            after: Value::String(value.clone()),
            effect: Effect::InPlace,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn paths(desired: Value, actual: Value) -> Vec<String> {
        let kind = crate::resource::by_name("vpc").expect("registered");
        compare(kind, &desired, &actual).into_iter().map(|attribute| attribute.path).collect()
    }

    #[test]
    fn every_difference_is_found_with_its_path() {
        let desired =
            json!({"max": 20, "rules": [{"port": 80}, {"port": 443}], "zones": ["a", "c"], "map": {"x": "1"}});
        let actual =
            json!({"max": 30, "rules": [{"port": 80}, {"port": 8443}], "zones": ["a"], "map": {"x": "1", "y": "2"}});
        assert_eq!(paths(desired, actual), ["max", "rules[1].port", "zones", "map.y"]);
    }

    #[test]
    fn what_the_wish_leaves_open_is_not_compared() {
        assert!(paths(json!({"desired": null, "n": 5}), json!({"desired": 7, "n": 5.0})).is_empty());
    }

    #[test]
    fn a_list_that_is_longer_or_shorter_differs_where_it_does() {
        assert_eq!(paths(json!({"r": [{"p": 1}]}), json!({"r": [{"p": 1}, {"p": 2}]})), ["r[1]"]);
        assert_eq!(paths(json!({"r": [{"p": 1}, {"p": 2}]}), json!({"r": []})), ["r[0]", "r[1]"]);
    }

    #[test]
    fn foreign_tags_are_left_alone() {
        let tags = |pairs: &[(&str, &str)]| pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        let differences = compare_tags(&tags(&[("Name", "a"), ("Team", "x")]), &tags(&[("Name", "b"), ("Cost", "y")]));
        let found: Vec<_> = differences.iter().map(|a| (a.path.as_str(), a.before.clone())).collect();
        assert_eq!(found, [("tags.Name", json!("b")), ("tags.Team", Value::Null)]);
    }
}
