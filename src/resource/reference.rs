//! References between resources, typed by what they point at.
//!
//! A spec holds `Ref<Subnet>` before the subnet exists. Written out, a reference is a token such as
//! `⟦subnet-public-a⟧` (the AWS id) or `⟦database#endpoint!⟧` (an output, known once the resource is ready); it may stand
//! alone or inside a longer text, also in the key of a map. The engine reads the graph from these tokens and puts the real values in their place.
//! The stack loader refuses the two brackets in what users write, so no user text can become a reference.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::{cmp::Ordering, collections::BTreeSet, fmt, marker::PhantomData, ops::Deref};

use super::Kind;

pub const OPEN: char = '⟦';
pub const CLOSE: char = '⟧';

/// The AWS id of a resource of kind `K`, or the token that stands for it until it exists.
#[derive(Serialize, Deserialize)]
#[serde(transparent, bound = "")]
pub struct Ref<K>(String, #[serde(skip)] PhantomData<fn() -> K>);

impl<K> Ref<K> {
    /// A reference to something that exists, by its AWS id.
    pub fn known(id: impl Into<String>) -> Self {
        Ref(id.into(), PhantomData)
    }
}

impl<K> Deref for Ref<K> {
    type Target = str;
    fn deref(&self) -> &str {
        &self.0
    }
}

impl<K> Clone for Ref<K> {
    fn clone(&self) -> Self {
        Ref(self.0.clone(), PhantomData)
    }
}

impl<K> PartialEq for Ref<K> {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}

impl<K> Eq for Ref<K> {}

impl<K> PartialOrd for Ref<K> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<K> Ord for Ref<K> {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.cmp(&other.0)
    }
}

impl<K> fmt::Debug for Ref<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl<K> fmt::Display for Ref<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A resource of the blueprint, to refer to from others.
pub struct Handle<K> {
    pub(crate) id: String,
    kind: PhantomData<fn() -> K>,
}

impl<K> Clone for Handle<K> {
    fn clone(&self) -> Self {
        Handle::new(self.id.clone())
    }
}

impl<K> Handle<K> {
    pub(crate) fn new(id: String) -> Self {
        Handle { id, kind: PhantomData }
    }

    /// The logical id.
    pub fn name(&self) -> &str {
        &self.id
    }

    /// The AWS id, known as soon as the resource is created.
    pub fn id(&self) -> Ref<K> {
        Ref(format!("{OPEN}{}{CLOSE}", self.id), PhantomData)
    }

    /// The AWS id, but only once the resource is ready for use.
    pub fn ready(&self) -> Ref<K> {
        Ref(format!("{OPEN}{}!{CLOSE}", self.id), PhantomData)
    }
}

impl<K: Kind> Handle<K> {
    /// An output that the create call already answers with. Kinds wrap this in methods of their own.
    pub fn created_output(&self, output: &str) -> String {
        format!("{OPEN}{}#{output}{CLOSE}", self.id)
    }

    /// An output that is known only once the resource is ready.
    pub fn ready_output(&self, output: &str) -> String {
        format!("{OPEN}{}#{output}!{CLOSE}", self.id)
    }
}

/// How far a resource must be before something that depends on it can be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// The create call has answered.
    Created,
    /// The resource is usable.
    Ready,
}

/// What a token points at.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Target {
    pub id: String,
    /// The output asked for; none means the AWS id.
    pub output: Option<String>,
    pub level: Level,
}

impl Target {
    fn parse(token: &str) -> Target {
        let (body, level) = match token.strip_suffix('!') {
            Some(body) => (body, Level::Ready),
            None => (token, Level::Created),
        };
        match body.split_once('#') {
            Some((id, output)) => Target { id: id.into(), output: Some(output.into()), level },
            None => Target { id: body.into(), output: None, level },
        }
    }
}

/// Replaces each token for which `lookup` knows the value. A token that it doesn't know stays.
pub fn resolve(value: &Value, lookup: &impl Fn(&Target) -> Option<String>) -> Value {
    match value {
        Value::String(text) if text.contains(OPEN) => Value::String(resolve_text(text, lookup)),
        Value::Array(items) => Value::Array(items.iter().map(|item| resolve(item, lookup)).collect()),
        Value::Object(fields) => {
            let resolved = |(key, field): (&String, &Value)| (resolve_text(key, lookup), resolve(field, lookup));
            Value::Object(fields.iter().map(resolved).collect())
        }
        other => other.clone(),
    }
}

/// A part of a text that may hold references.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece<'a> {
    Text(&'a str),
    Token(Target),
}

/// The text's pieces, in their order; none is empty.
pub fn split_tokens(text: &str) -> Vec<Piece<'_>> {
    let (mut pieces, mut rest) = (Vec::new(), text);
    while let Some((before, token, after)) = next_token(rest) {
        pieces.extend((!before.is_empty()).then_some(Piece::Text(before)));
        pieces.push(Piece::Token(Target::parse(token)));
        rest = after;
    }
    pieces.extend((!rest.is_empty()).then_some(Piece::Text(rest)));
    pieces
}

fn resolve_text(text: &str, lookup: &impl Fn(&Target) -> Option<String>) -> String {
    let mut result = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, token, after)) = next_token(rest) {
        result.push_str(before);
        match lookup(&Target::parse(token)) {
            Some(value) => result.push_str(&value),
            None => result.extend([OPEN.to_string().as_str(), token, CLOSE.to_string().as_str()]),
        }
        rest = after;
    }
    result.push_str(rest);
    result
}

fn next_token(text: &str) -> Option<(&str, &str, &str)> {
    let (before, rest) = text.split_once(OPEN)?;
    let (token, after) = rest.split_once(CLOSE)?;
    Some((before, token, after))
}

/// Everything that a spec refers to.
pub fn targets(value: &Value) -> BTreeSet<Target> {
    let mut found = BTreeSet::new();
    collect(value, &mut found);
    found
}

fn collect(value: &Value, found: &mut BTreeSet<Target>) {
    match value {
        Value::String(text) => collect_text(text, found),
        Value::Array(items) => items.iter().for_each(|item| collect(item, found)),
        Value::Object(fields) => {
            for (key, field) in fields {
                collect_text(key, found);
                collect(field, found);
            }
        }
        _ => {}
    }
}

fn collect_text(text: &str, found: &mut BTreeSet<Target>) {
    let mut rest = text;
    while let Some((_, token, after)) = next_token(rest) {
        found.insert(Target::parse(token));
        rest = after;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn tokens_are_found_and_replaced_wherever_they_stand() {
        let spec = json!({"vpc": "⟦vpc⟧", "url": "mysql://⟦db#endpoint!⟧:3306/⟦db#name⟧", "n": [1, "⟦vpc⟧"]});
        let ids: Vec<_> = targets(&spec).into_iter().map(|t| (t.id, t.output, t.level)).collect();
        assert_eq!(
            ids,
            [
                ("db".into(), Some("endpoint".into()), Level::Ready),
                ("db".into(), Some("name".into()), Level::Created),
                ("vpc".into(), None, Level::Created),
            ]
        );
        let resolved = resolve(&spec, &|target| match (target.id.as_str(), target.output.as_deref()) {
            ("vpc", None) => Some("vpc-1".into()),
            ("db", Some("endpoint")) => Some("db.local".into()),
            _ => None,
        });
        assert_eq!(resolved, json!({"vpc": "vpc-1", "url": "mysql://db.local:3306/⟦db#name⟧", "n": [1, "vpc-1"]}));
    }

    #[test]
    fn a_key_may_hold_a_token() {
        let spec = json!({"tcp/80 ⟦sg⟧": "text"});
        assert_eq!(targets(&spec).into_iter().map(|t| t.id).collect::<Vec<_>>(), ["sg"]);
        assert_eq!(resolve(&spec, &|_| Some("sg-1".into())), json!({"tcp/80 sg-1": "text"}));
    }

    #[test]
    fn an_open_bracket_alone_is_text() {
        let spec = json!("a ⟦ b");
        assert!(targets(&spec).is_empty());
        assert_eq!(resolve(&spec, &|_| Some("x".into())), spec);
    }
}
