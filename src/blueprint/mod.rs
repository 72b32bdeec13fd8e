//! What the stack file means in AWS: every resource, with all its attributes and its references to others.
//!
//! [`compile`] is a pure function: the same stack and the same facts give the same blueprint.

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;

use crate::{
    aws::{Tags, tags},
    resource::{Handle, Kind, Level, Target},
};

/// All resources of a stack, in the order in which a reader wants to see them.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Blueprint {
    /// `<project>-<environment>`.
    pub stack: String,
    pub nodes: IndexMap<String, Node>,
    /// What `ticketctl output` prints, with references still in it.
    pub outputs: IndexMap<String, Value>,
    #[serde(skip)]
    base_tags: Tags,
}

/// One resource as it is wanted.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Node {
    pub kind: String,
    /// The kind's spec; references are tokens (see [`crate::resource::Ref`]).
    pub spec: Value,
    pub tags: Tags,
    /// What must be there first although no attribute refers to it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub after: Vec<(String, Level)>,
}

/// What only AWS knows and a blueprint needs.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Facts {
    /// Twelve digits.
    pub account: String,
    /// `aws`, `aws-cn` or `aws-us-gov`.
    pub partition: String,
    pub region: String,
    /// The machine image per architecture (`x86_64`, `arm64`): the one that the stack's instances have, or the newest.
    pub images: BTreeMap<String, String>,
}

impl Facts {
    /// The ARN of something in this account and region.
    pub fn arn(&self, service: &str, resource: &str) -> String {
        format!("arn:{}:{service}:{}:{}:{resource}", self.partition, self.region, self.account)
    }
}

impl Blueprint {
    /// An empty blueprint whose resources all get `base_tags` besides ticketctl's own two.
    pub fn new(stack: &str, base_tags: Tags) -> Self {
        Blueprint { stack: stack.into(), base_tags, ..Blueprint::default() }
    }

    /// Adds a resource. `name` is what AWS's console shows.
    pub fn add<K: Kind>(&mut self, id: impl Into<String>, name: &str, spec: K::Spec) -> Handle<K> {
        let id = id.into();
        let mut tags = self.base_tags.clone();
        tags.insert("Name".into(), name.into());
        tags.insert(tags::STACK.into(), self.stack.clone());
        tags.insert(tags::ID.into(), id.clone());
        let spec = serde_json::to_value(spec).expect("specs are plain data");
        let node = Node { kind: K::NAME.into(), spec, tags, after: Vec::new() };
        let twice = self.nodes.insert(id.clone(), node).is_some();
        debug_assert!(!twice, "two resources are called {id}");
        Handle::new(id)
    }

    /// Makes `id` wait for `other` although none of its attributes refers to it.
    pub fn after<A: Kind, B: Kind>(&mut self, id: &Handle<A>, other: &Handle<B>, level: Level) {
        if let Some(node) = self.nodes.get_mut(id.name()) {
            node.after.push((other.name().to_owned(), level));
        }
    }

    /// Adds an output; `value` may hold references.
    pub fn output(&mut self, name: &str, value: impl Into<Value>) {
        self.outputs.insert(name.into(), value.into());
    }
}

impl Node {
    /// What must be there first, and how far.
    pub fn dependencies(&self) -> BTreeMap<String, Level> {
        let mut levels: BTreeMap<String, Level> = BTreeMap::new();
        let referred = crate::resource::targets(&self.spec).into_iter().map(|Target { id, level, .. }| (id, level));
        for (id, level) in referred.chain(self.after.iter().cloned()) {
            let known = levels.entry(id).or_insert(level);
            *known = level.max(*known);
        }
        levels
    }
}
