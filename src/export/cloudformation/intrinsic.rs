//! References of the blueprint as CloudFormation's functions.

use serde_json::{Value, json};
use std::collections::BTreeMap;

use super::{ACCOUNT, names::Names, resource::exporter};
use crate::{
    blueprint::Blueprint,
    resource::{Piece, Target, split_tokens},
};

/// How CloudFormation tells a fact about a resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fact {
    Ref,
    Attribute(&'static str),
}

pub struct Intrinsics<'a> {
    pub blueprint: &'a Blueprint,
    pub names: &'a Names,
    pub parameters: &'a BTreeMap<String, Value>,
}

impl Intrinsics<'_> {
    /// The value with all references, and the account's number, replaced by functions.
    pub fn resolve(&self, value: &Value) -> Value {
        match value {
            Value::String(text) => self.text(text),
            Value::Array(items) => items.iter().map(|item| self.resolve(item)).collect(),
            Value::Object(fields) => fields
                .iter()
                .map(|(key, field)| (key.clone(), self.resolve(field)))
                .collect::<serde_json::Map<_, _>>()
                .into(),
            other => other.clone(),
        }
    }

    fn text(&self, text: &str) -> Value {
        if text == ACCOUNT {
            return json!({"Ref": "AWS::AccountId"});
        }
        let pieces = split_tokens(text);
        match pieces.as_slice() {
            [Piece::Token(target)] => match self.fact(target) {
                (name, Fact::Ref) => json!({"Ref": name}),
                (name, Fact::Attribute(attribute)) => json!({"Fn::GetAtt": [name, attribute]}),
            },
            pieces if pieces.iter().any(|piece| matches!(piece, Piece::Token(_))) || text.contains(ACCOUNT) => {
                json!({"Fn::Sub": pieces.iter().map(|piece| self.substituted(piece)).collect::<String>()})
            }
            _ => Value::String(text.to_owned()),
        }
    }

    /// A piece of a text as `Fn::Sub` wants it: what merely looks like one of its variables is marked.
    fn substituted(&self, piece: &Piece<'_>) -> String {
        match piece {
            Piece::Text(text) => text.replace("${", "${!").replace(ACCOUNT, "${AWS::AccountId}"),
            Piece::Token(target) => match self.fact(target) {
                (name, Fact::Ref) => format!("${{{name}}}"),
                (name, Fact::Attribute(attribute)) => format!("${{{name}.{attribute}}}"),
            },
        }
    }

    fn fact(&self, target: &Target) -> (&str, Fact) {
        if let Some((parameter, _)) = self.parameters.get_key_value(&target.id) {
            return (parameter, Fact::Ref);
        }
        let name = self.names.of(&target.id);
        let kind = &self.blueprint.nodes[&target.id].kind;
        let fact = exporter(kind).and_then(|exporter| (exporter.fact)(target.output.as_deref()));
        (name, fact.unwrap_or_else(|| panic!("CloudFormation doesn't tell {:?} of a {kind}", target.output)))
    }
}
