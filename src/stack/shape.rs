//! Does a document have the shape that the JSON Schema describes? Finds everything that is wrong at once.
//!
//! The schema comes from the types (`schema.rs`), so keys, types, ranges and patterns are said in one place only.

use regex_lite::Regex;
use serde_json::{Map, Value as Json};

use super::diagnostic::{Diagnostic, Span, did_you_mean, one_of};
use super::origins::{Origins, Written, child, element};
use super::tree::{Entry, Node, Value};

/// Characters that mark references between resources in a compiled stack; no value may hold them.
const RESERVED: [char; 2] = ['⟦', '⟧'];

/// A document after the check: what could be read of it, where it was, and what was wrong.
pub(super) struct Shaped {
    pub json: Json,
    pub origins: Origins,
    pub findings: Vec<Diagnostic>,
}

/// Reads the document as far as it has the schema's shape.
pub(super) fn shape(document: &Node, schema: &Json) -> Shaped {
    let mut reader = Reader { root: schema, origins: Origins::default(), findings: Vec::new() };
    let json = reader.node(document, schema, "");
    Shaped {
        json: json.unwrap_or_else(|| Json::Object(Map::new())),
        origins: reader.origins,
        findings: reader.findings,
    }
}

struct Reader<'a> {
    root: &'a Json,
    origins: Origins,
    findings: Vec<Diagnostic>,
}

impl<'a> Reader<'a> {
    /// Reads a node; `None` when it was refused.
    fn node(&mut self, node: &Node, schema: &'a Json, path: &str) -> Option<Json> {
        let schema = self.resolve(schema);
        let wanted = kind_of(schema);
        let read = match (&node.value, wanted) {
            (Value::Map(map), "object") => self.map(node, map, schema, path),
            (Value::List(items), "array") => self.list(node, items, schema, path),
            (Value::Scalar { text, quoted }, "string" | "integer" | "number" | "boolean") => {
                self.scalar(node, text, *quoted, schema, path)
            }
            (Value::Refused, _) => None,
            _ => {
                self.wrong_kind(node, schema, path);
                None
            }
        };
        if read.is_none() {
            self.origins.refused.insert(path.to_owned());
        }
        read
    }

    /// Follows `$ref`, and `anyOf` with null (what optional fields become) to the part that isn't null.
    fn resolve(&self, mut schema: &'a Json) -> &'a Json {
        loop {
            if let Some(reference) = schema["$ref"].as_str() {
                let pointer = reference.trim_start_matches('#');
                match self.root.pointer(pointer) {
                    Some(target) => schema = target,
                    None => return schema,
                }
            } else if let Some(some) =
                schema["anyOf"].as_array().and_then(|any| any.iter().find(|one| one["type"] != "null"))
            {
                schema = some;
            } else {
                return schema;
            }
        }
    }

    fn map(
        &mut self,
        node: &Node,
        map: &indexmap::IndexMap<String, Entry>,
        schema: &'a Json,
        path: &str,
    ) -> Option<Json> {
        let none = Map::new();
        let known = schema["properties"].as_object().unwrap_or(&none);
        let mut object = Map::new();
        let outer = path;
        for (name, entry) in map {
            let path = child(outer, name);
            self.origins.written.insert(
                path.clone(),
                Written {
                    key: Some(entry.key.clone()),
                    value: entry.node.span.clone(),
                    container: !matches!(entry.node.value, Value::Scalar { .. }),
                },
            );
            let Some(value_schema) = self.schema_of_key(schema, name) else {
                // `extends` is taken out of the document before it gets here.
                let extends = outer.is_empty().then_some("extends");
                let keys = extends.into_iter().chain(known.keys().map(String::as_str));
                self.unknown_key(name, &entry.key, &path, keys);
                self.origins.misspelt.insert(outer.to_owned());
                continue;
            };
            if !self.plain_text(name, &entry.key, "") {
                continue;
            }
            match &entry.node.value {
                // Written out, it means: the default, or no such part.
                Value::Null => {
                    self.origins.written.shift_remove(&path);
                }
                Value::Empty => {
                    self.empty(name, entry, value_schema, &path);
                    self.origins.refused.insert(path);
                }
                _ => {
                    if let Some(value) = self.node(&entry.node, value_schema, &path) {
                        object.insert(name.clone(), value);
                    }
                }
            }
        }
        let required = schema["required"].as_array().map_or(&[][..], Vec::as_slice);
        let missing: Vec<&str> =
            required.iter().filter_map(Json::as_str).filter(|key| !object.contains_key(*key)).collect();
        let mut complete = true;
        for key in missing {
            complete = false;
            let key_path = child(path, key);
            // One that is there but was refused has been reported already.
            if !self.origins.is_refused(&key_path) {
                self.missing_key(node, known, key, path);
                self.origins.refused.insert(key_path);
            }
        }
        // The root is read even when it isn't complete, so that its other parts can be checked.
        (complete || path.is_empty()).then_some(Json::Object(object))
    }

    fn schema_of_key(&self, schema: &'a Json, name: &str) -> Option<&'a Json> {
        let property = schema["properties"].get(name);
        property.or_else(|| {
            let rest = &schema["additionalProperties"];
            rest.is_object().then_some(rest)
        })
    }

    fn list(&mut self, node: &Node, items: &[Node], schema: &'a Json, path: &str) -> Option<Json> {
        let count = items.len() as u64;
        let (least, most) = (schema["minItems"].as_u64(), schema["maxItems"].as_u64());
        if least.is_some_and(|least| count < least) || most.is_some_and(|most| count > most) {
            let allowed = range_in_words(least.map(|n| n.to_string()), most.map(|n| n.to_string()));
            let span = self.origins.span(path).unwrap_or_else(|| node.span.clone());
            self.findings.push(
                Diagnostic::error("length", format!("`{path}` must have {allowed} elements"))
                    .label(span, format!("has {count}")),
            );
            return None;
        }
        let mut list = Vec::new();
        let mut complete = true;
        for (index, item) in items.iter().enumerate() {
            let path = element(path, index);
            self.origins
                .written
                .insert(path.clone(), Written { key: None, value: item.span.clone(), container: false });
            match self.node(item, &schema["items"], &path) {
                Some(value) => list.push(value),
                None => complete = false,
            }
        }
        complete.then_some(Json::Array(list))
    }

    fn scalar(&mut self, node: &Node, text: &str, quoted: bool, schema: &'a Json, path: &str) -> Option<Json> {
        if !self.plain_text(text, &node.span, path) {
            return None;
        }
        let read = match kind_of(schema) {
            "string" => self.string(text, schema),
            _ if quoted => Err("quotes make this a text".to_owned()),
            "boolean" => match text {
                "true" => Ok(Json::Bool(true)),
                "false" => Ok(Json::Bool(false)),
                _ => Err(String::new()),
            },
            "integer" => integer(text, schema),
            _ => number(text, schema),
        };
        match read {
            Ok(json) => Some(json),
            Err(reason) => {
                let expected = expected(schema);
                let mut finding =
                    Diagnostic::error("value", format!("`{path}` must be {expected}")).label(node.span.clone(), reason);
                let suggestion = did_you_mean(text, choices(schema).iter().map(|c| c.0));
                finding.help.extend(suggestion);
                if quoted && kind_of(schema) != "string" {
                    finding.help.push("remove the quotes".to_owned());
                }
                self.findings.push(finding);
                None
            }
        }
    }

    fn string(&self, text: &str, schema: &Json) -> Result<Json, String> {
        let choices = choices(schema);
        if !choices.is_empty() && !choices.iter().any(|(choice, _)| *choice == text) {
            return Err("unknown".to_owned());
        }
        let length = text.chars().count() as u64;
        if schema["maxLength"].as_u64().is_some_and(|most| length > most) {
            return Err(format!("has {length} characters"));
        }
        if schema["minLength"].as_u64().is_some_and(|least| length < least) {
            return Err("too short".to_owned());
        }
        let matches = |pattern: &str| Regex::new(pattern).is_ok_and(|regex| regex.is_match(text));
        if schema["pattern"].as_str().is_some_and(|pattern| !matches(pattern)) {
            return Err(String::new());
        }
        Ok(Json::String(text.to_owned()))
    }

    /// Refuses characters that could pass for something else further on.
    fn plain_text(&mut self, text: &str, span: &Span, path: &str) -> bool {
        let fits = |c: char| may_have_lines(path) && matches!(c, '\n' | '\r' | '\t');
        let Some(bad) = text.chars().find(|c| (c.is_control() && !fits(*c)) || RESERVED.contains(c)) else {
            return true;
        };
        let name = if bad.is_control() {
            format!("the control character U+{:04X}", u32::from(bad))
        } else {
            format!("the reserved character `{bad}`")
        };
        self.findings
            .push(Diagnostic::error("character", format!("a text may not hold {name}")).label(span.clone(), ""));
        false
    }

    fn unknown_key<'k>(&mut self, name: &str, key: &Span, path: &str, known: impl Iterator<Item = &'k str> + Clone) {
        let mut finding =
            Diagnostic::error("unknown-key", format!("unknown key `{path}`")).label(key.clone(), "not known here");
        finding.help.extend(did_you_mean(name, known.clone()));
        finding.help.push(format!("allowed here: {}", list_of(known)));
        self.findings.push(finding);
    }

    fn missing_key(&mut self, node: &Node, known: &Map<String, Json>, key: &str, path: &str) {
        let key_path = child(path, key);
        let span = self.origins.key_span(path).unwrap_or_else(|| node.span.clone());
        let schema = known.get(key).map(|schema| self.resolve(schema));
        let example = known.get(key).and_then(|schema| schema["examples"][0].as_str());
        let mut finding = Diagnostic::error("missing-key", format!("`{key_path}` is missing"))
            .label(span, format!("`{key}` must be given here"));
        if let Some(example) = example {
            finding.help.push(format!("add `{key}: {example}`"));
        } else if let Some(schema) = schema {
            finding.help.push(format!("add `{key}`: {}", expected(schema)));
        }
        self.findings.push(finding);
    }

    fn empty(&mut self, name: &str, entry: &Entry, schema: &'a Json, path: &str) {
        let help = match kind_of(self.resolve(schema)) {
            "object" => {
                format!("write `{name}: {{}}` for the defaults, or `{name}: null` to leave it out")
            }
            "array" => format!("write `{name}: []` for an empty list"),
            _ => format!("write a value, or `{name}: null` for the default"),
        };
        self.findings.push(
            Diagnostic::error("empty-value", format!("`{path}` has no value"))
                .label(entry.key.clone(), "nothing follows")
                .help(help),
        );
    }

    fn wrong_kind(&mut self, node: &Node, schema: &'a Json, path: &str) {
        let what = if path.is_empty() { "a stack file".to_owned() } else { format!("`{path}`") };
        let span = self.origins.span(path).unwrap_or_else(|| node.span.clone());
        let mut finding = Diagnostic::error("type", format!("{what} must be {}", expected(schema)))
            .label(span, format!("this is {}", node.value.kind()));
        if let (Value::Scalar { text, .. }, "array") = (&node.value, kind_of(schema)) {
            let key = path.rsplit('.').next().unwrap_or(path);
            finding.help.push(format!("write `{key}: [{text}]`"));
        }
        self.findings.push(finding);
    }
}

/// A service's command, arguments and variables are handed on as they are, and quoted wherever they come.
fn may_have_lines(path: &str) -> bool {
    let key = path.strip_prefix("services.").and_then(|path| path.split_once('.')).map(|(_, key)| key);
    key.is_some_and(|key| key == "build" || key.starts_with("env.") || key.starts_with("args["))
}

/// What the schema wants: object, array, string, integer, number or boolean.
fn kind_of(schema: &Json) -> &str {
    let one = |kind: &'_ Json| kind.as_str().filter(|kind| *kind != "null").map(str::len);
    match &schema["type"] {
        Json::String(kind) => kind,
        Json::Array(kinds) => kinds.iter().find(|kind| one(kind).is_some()).and_then(Json::as_str).unwrap_or("string"),
        _ => "string",
    }
}

/// The allowed words of an enumeration, with their descriptions.
fn choices(schema: &Json) -> Vec<(&str, Option<&str>)> {
    let listed = schema["enum"].as_array().into_iter().flatten();
    let described = schema["oneOf"].as_array().into_iter().flatten();
    let listed = listed.filter_map(|word| Some((word.as_str()?, None)));
    let described = described.filter_map(|one| Some((one["const"].as_str()?, one["description"].as_str())));
    listed.chain(described).collect()
}

/// What the schema wants, in words that complete "must be …".
fn expected(schema: &Json) -> String {
    if let Some(words) = schema["patternErrorMessage"].as_str() {
        return match schema["maxLength"].as_u64() {
            Some(most) => format!("{words}; at most {most} characters"),
            None => words.to_owned(),
        };
    }
    let choices = choices(schema);
    if !choices.is_empty() {
        return one_of(choices.iter().map(|c| c.0));
    }
    let bound = |key: &str| {
        let number = schema[key].as_f64()?;
        Some(format!("{number}"))
    };
    let range = || match (bound("minimum"), bound("maximum")) {
        (None, None) => String::new(),
        (least, most) => format!(" {}", range_in_words(least, most)),
    };
    match kind_of(schema) {
        "object" => "a mapping".to_owned(),
        "array" => "a list".to_owned(),
        "integer" => format!("a whole number{}", range()),
        "number" => format!("a number{}", range()),
        "boolean" => "`true` or `false`".to_owned(),
        _ => "a text".to_owned(),
    }
}

fn range_in_words(least: Option<String>, most: Option<String>) -> String {
    match (least, most) {
        (Some(least), Some(most)) => format!("from {least} to {most}"),
        (Some(least), None) => format!("of at least {least}"),
        (None, Some(most)) => format!("of at most {most}"),
        (None, None) => String::new(),
    }
}

fn list_of<'a>(words: impl Iterator<Item = &'a str>) -> String {
    words.collect::<Vec<_>>().join(", ")
}

fn integer(text: &str, schema: &Json) -> Result<Json, String> {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let decimal = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    if !decimal {
        return Err(String::new());
    }
    if digits.len() > 1 && digits.starts_with('0') {
        return Err("write it without leading zeros".to_owned());
    }
    let value = text.parse::<i64>().map_err(|_| "far too large".to_owned())?;
    within(value as f64, schema)?;
    Ok(Json::from(value))
}

fn number(text: &str, schema: &Json) -> Result<Json, String> {
    let value = text.parse::<f64>().ok().filter(|value| value.is_finite()).ok_or_else(String::new)?;
    within(value, schema)?;
    Ok(Json::from(value))
}

fn within(value: f64, schema: &Json) -> Result<(), String> {
    if schema["minimum"].as_f64().is_some_and(|least| value < least) {
        return Err("too small".to_owned());
    }
    if schema["maximum"].as_f64().is_some_and(|most| value > most) {
        return Err("too large".to_owned());
    }
    Ok(())
}
