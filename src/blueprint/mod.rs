//! What the stack file means in AWS: every resource, with all its attributes and its references to others.
//!
//! [`compile`] is a pure function: the same stack and the same facts give the same blueprint.

mod cache;
mod data;
mod edge;
mod facts;
mod identity;
mod logs;
mod messaging;
mod monitoring;
mod network;
mod parameters;
mod secrets;
mod security;
mod services;
mod storage;
mod user_data;

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;

use crate::{
    aws::{Tags, tags},
    resource::{Handle, Kind, Level, Target},
    stack::Stack,
};

pub use facts::{Images, facts, facts_of_place, newest_image_parameter};
pub use identity::ec2_principal;
pub use user_data::{Artifact, artifact_prefix};

/// What `stack` means in AWS.
///
/// # Panics
/// If the stack wasn't validated (see [`crate::stack`]): its network must have room for its subnets.
pub fn compile(stack: &Stack, facts: &Facts) -> Blueprint {
    let mut blueprint = Blueprint::new(&stack.name(), base_tags(stack));
    let mut network = network::add(&mut blueprint, stack, facts);
    let security = security::add(&mut blueprint, stack, &network);
    network::add_endpoints(&mut blueprint, stack, facts, &mut network, &security);
    let secrets = secrets::add(&mut blueprint, stack);
    let messaging = messaging::add(&mut blueprint, stack, facts);
    let monitoring_role = identity::add_monitoring(&mut blueprint, stack, facts).map(|role| role.arn());
    let data = security
        .database
        .as_ref()
        .and_then(|group| data::add(&mut blueprint, stack, &network.database, group, monitoring_role));
    let cache = security
        .cache
        .as_ref()
        .and_then(|group| cache::add(&mut blueprint, stack, &network.database, group, secrets.cache_auth.as_ref()));
    logs::add(&mut blueprint, stack);
    logs::add_flow_log(&mut blueprint, stack, facts, &network);
    let bucket = storage::add(&mut blueprint, stack, facts).map(|bucket| bucket.id().to_string());
    let sources =
        parameters::Sources { data: data.as_ref(), cache: cache.as_ref(), secrets: &secrets, messaging: &messaging };
    parameters::add(&mut blueprint, stack, &sources);

    let edge = edge::add(&mut blueprint, stack, &network, &security, bucket.clone());
    let grants = identity::Grants {
        secrets: [&secrets.jwt, &secrets.cache_auth].into_iter().flatten().map(|secret| secret.arn()).collect(),
        cluster: stack.database.as_ref().map(|_| data::cluster_name(stack)),
        bucket,
        queues: messaging.queues.iter().flat_map(|queues| [queues.queue.arn(), queues.dead_letters.arn()]).collect(),
        topics: messaging.queues.iter().map(|queues| queues.events.arn().to_string()).collect(),
    };
    let profile = identity::add_instances(&mut blueprint, stack, facts, &grants);
    let groups = match (&edge, &profile) {
        (Some(edge), Some(profile)) => {
            let ground = services::Ground { network: &network, security: &security, edge, profile };
            services::add(&mut blueprint, stack, facts, &ground)
        }
        _ => IndexMap::new(),
    };
    let watched = monitoring::Watched {
        load_balancer: edge.as_ref().map(|edge| &edge.load_balancer),
        services: edge
            .iter()
            .flat_map(|edge| {
                groups.iter().map(move |(name, group)| monitoring::WatchedService {
                    name,
                    target_group: &edge.target_groups[name],
                    group,
                })
            })
            .collect(),
        data: data.as_ref(),
        cache: cache.as_ref(),
        messaging: &messaging,
    };
    monitoring::add(&mut blueprint, stack, facts, &watched);
    blueprint
}

/// The tags that every resource gets. The user's own can't replace those that say what a resource belongs to.
fn base_tags(stack: &Stack) -> Tags {
    let ours = [("Project", &*stack.project), ("Environment", &*stack.environment), ("ManagedBy", "ticketctl")];
    let users = stack.tags.iter().map(|(key, value)| (key.as_str(), value.as_str()));
    users.chain(ours).map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
}

/// All resources of a stack, in the order in which a reader wants to see them.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Blueprint {
    /// `<project>-<environment>`.
    pub stack: String,
    pub nodes: IndexMap<String, Node>,
    /// What `ticketctl output` prints, with references still in it.
    pub outputs: IndexMap<String, Value>,
    /// Why it can't be made.
    #[serde(skip)]
    pub faults: Vec<String>,
    /// What must be in the control bucket before an instance starts, by service.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub artifacts: BTreeMap<String, Artifact>,
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
    /// `aws`, `aws-cn`, `aws-us-gov` or `aws-eusc`.
    pub partition: String,
    pub region: String,
    /// The machine image per architecture (`x86_64`, `arm64`): the one that the stack's instances have, or the newest.
    pub images: BTreeMap<String, String>,
    /// What each service that isn't an image runs, as far as it is built or runs already.
    #[serde(default)]
    pub artifacts: BTreeMap<String, Artifact>,
    /// The networks of the subnets that the stack has, by logical id.
    #[serde(default)]
    pub subnets: BTreeMap<String, String>,
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
        let tags = self.tags_for(&id, name);
        let spec = serde_json::to_value(spec).expect("specs are plain data");
        let node = Node { kind: K::NAME.into(), spec, tags, after: Vec::new() };
        if self.nodes.insert(id.clone(), node).is_some() {
            self.faults.push(format!("two resources would be called {id}"));
        }
        Handle::new(id)
    }

    /// The tags of a resource.
    fn tags_for(&self, id: &str, name: &str) -> Tags {
        let mut tags = self.base_tags.clone();
        tags.insert("Name".into(), name.into());
        tags.insert(tags::STACK.into(), self.stack.clone());
        tags.insert(tags::ID.into(), id.into());
        tags
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

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// A stack with production defaults and `parts` over them.
    pub(super) fn stack(parts: Value) -> Stack {
        let mut stack = json!({"project": "ticketing", "environment": "dev", "region": "ap-northeast-2"});
        let Value::Object(parts) = parts else { panic!("parts of a stack are an object") };
        stack.as_object_mut().expect("an object").extend(parts);
        serde_json::from_value(stack).expect("a stack")
    }

    pub(super) fn facts() -> Facts {
        Facts {
            account: "123456789012".into(),
            partition: "aws".into(),
            region: "ap-northeast-2".into(),
            images: BTreeMap::from([("x86_64".into(), "ami-1".into()), ("arm64".into(), "ami-2".into())]),
            artifacts: BTreeMap::new(),
            subnets: BTreeMap::new(),
        }
    }

    pub(super) fn compiled(stack: &Stack) -> Blueprint {
        compile(stack, &facts())
    }

    #[test]
    fn everything_says_whose_it_is() {
        let stack = stack(json!({"tags": {"Team": "tickets", "ManagedBy": "hand"}}));
        for (id, node) in compiled(&stack).nodes {
            assert_eq!(node.tags[tags::STACK], "ticketing-dev", "{id}");
            assert_eq!(node.tags[tags::ID], id);
            assert_eq!((&*node.tags["Team"], &*node.tags["ManagedBy"]), ("tickets", "ticketctl"), "{id}");
            assert!(node.tags.contains_key("Name"), "{id}");
        }
    }

    #[test]
    fn every_reference_leads_to_something_in_the_blueprint() {
        let blueprint = compiled(&stack(json!({"services": {"web": {}}, "database": {}, "cache": {}})));
        for (id, node) in &blueprint.nodes {
            for target in node.dependencies().keys() {
                assert!(blueprint.nodes.contains_key(target), "{id} refers to {target}");
            }
        }
        for target in crate::resource::targets(&json!(blueprint.outputs)) {
            assert!(blueprint.nodes.contains_key(&target.id), "an output refers to {}", target.id);
        }
    }
}
