//! What each kind is in CloudFormation.

use serde_json::{Map, Value, json};

use super::intrinsic::Fact;
use crate::{
    aws::Tags,
    resource::{self, Kind, all_kinds},
};

/// A kind that CloudFormation has a type for. Each must have one: the list of all kinds is made into the table below.
///
/// Implementations take their spec apart field by field, so that a new attribute that the export would forget doesn't
/// compile.
pub trait CloudFormation: Kind {
    /// CloudFormation's type, such as `AWS::EC2::VPC`.
    const TYPE: &'static str;

    /// How CloudFormation tells the AWS id (no output) or an output; none for outputs that no blueprint asks for.
    fn fact(output: Option<&str>) -> Option<Fact> {
        output.is_none().then_some(Fact::Ref)
    }

    /// The resource; its properties may hold references as the spec does.
    fn write(part: &Part<'_>, spec: Self::Spec) -> Resource;
}

/// The node that is written.
pub struct Part<'a> {
    /// Its logical id in the blueprint.
    pub id: &'a str,
    pub stack: &'a str,
    pub tags: &'a Tags,
}

impl Part<'_> {
    /// A reference to the resource itself, for its companions.
    pub fn me(&self) -> String {
        format!("{}{}{}", resource::OPEN, self.id, resource::CLOSE)
    }

    /// The tags as most types take them.
    pub fn tags(&self) -> Value {
        tag_list(self.tags)
    }
}

pub fn tag_list(tags: &Tags) -> Value {
    tags.iter().map(|(key, value)| json!({"Key": key, "Value": value})).collect()
}

/// One resource of a template, and what belongs to it.
pub struct Resource {
    /// CloudFormation's type.
    pub kind: &'static str,
    pub properties: Value,
    /// What becomes of it when it leaves the stack: `Delete`, `Retain` or `Snapshot`; none for what holds no data.
    pub deletion: Option<&'static str>,
    pub update_policy: Option<Value>,
    pub companions: Vec<Companion>,
}

/// What CloudFormation has as a resource of its own and ticketctl as an attribute.
pub struct Companion {
    /// Whose: a logical id of the blueprint.
    pub of: String,
    /// What follows the name of the resource that it belongs to.
    pub suffix: String,
    pub kind: &'static str,
    pub properties: Value,
}

impl Resource {
    /// Null properties are left out: CloudFormation doesn't take them.
    pub fn new<K: CloudFormation>(properties: Value) -> Resource {
        let properties = without_nulls(properties);
        Resource { kind: K::TYPE, properties, deletion: None, update_policy: None, companions: Vec::new() }
    }

    pub fn deletion(mut self, policy: &'static str) -> Resource {
        self.deletion = Some(policy);
        self
    }

    pub fn with(
        mut self,
        part: &Part<'_>,
        suffix: impl Into<String>,
        kind: &'static str,
        properties: Value,
    ) -> Resource {
        let of = part.id.to_owned();
        self.companions.push(Companion { of, suffix: suffix.into(), kind, properties: without_nulls(properties) });
        self
    }
}

fn without_nulls(properties: Value) -> Value {
    match properties {
        Value::Object(fields) => {
            let fields = fields.into_iter().filter(|(_, value)| !value.is_null());
            fields.map(|(key, value)| (key, without_nulls(value))).collect::<Map<_, _>>().into()
        }
        Value::Array(items) => items.into_iter().map(without_nulls).collect(),
        other => other,
    }
}

/// A [`CloudFormation`] without the types.
pub struct Exporter {
    pub fact: fn(Option<&str>) -> Option<Fact>,
    pub write: fn(&Part<'_>, &Value) -> Resource,
}

fn write<K: CloudFormation>(part: &Part<'_>, spec: &Value) -> Resource {
    let spec = serde_json::from_value(spec.clone());
    K::write(part, spec.unwrap_or_else(|error| panic!("{} is no {}: {error}", part.id, K::NAME)))
}

macro_rules! exporters {
    ($($module:ident::$kind:ident),+ $(,)?) => {
        /// How a kind is exported; none for a kind that doesn't exist.
        pub fn exporter(kind: &str) -> Option<Exporter> {
            $(if kind == resource::$kind::NAME {
                let fact = <resource::$kind as CloudFormation>::fact;
                return Some(Exporter { fact, write: write::<resource::$kind> });
            })+
            None
        }
    };
}

all_kinds!(exporters);
