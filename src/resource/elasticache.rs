//! What all ElastiCache kinds share.

use aws_sdk_elasticache::types::Tag;

use super::Change;
use crate::aws::{Context, Result, Tags, tags};

/// The engine that a stack's caches have.
pub const ENGINE: &str = "redis";

/// The family of parameter groups for every version that the stack file allows, 7.0 and 7.1.
/// Source: <https://docs.aws.amazon.com/AmazonElastiCache/latest/dg/ParameterGroups.Engine.html>
pub const FAMILY: &str = "redis7";

/// The longest name of a replication group.
/// Source: <https://docs.aws.amazon.com/AmazonElastiCache/latest/APIReference/API_CreateReplicationGroup.html>
const GROUP_LIMIT: usize = 40;

/// The longest name of a parameter group or a subnet group.
const NAME_LIMIT: usize = 255;

/// The two caches that a stack may have. ElastiCache's listings don't tell tags, so their names are fixed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Holds, locks and queues: it never evicts.
    Store,
    /// What can be computed again: it evicts the least recently used.
    Eviction,
}

impl Role {
    pub const ALL: [Role; 2] = [Role::Store, Role::Eviction];

    /// The logical id of the replication group.
    pub fn group_id(self) -> &'static str {
        match self {
            Role::Store => "cache",
            Role::Eviction => "cache-lru",
        }
    }

    /// The logical id of the parameter group.
    pub fn parameters_id(self) -> &'static str {
        match self {
            Role::Store => "cache-parameters",
            Role::Eviction => "cache-lru-parameters",
        }
    }

    /// The name of the replication group.
    pub fn group_name(self, stack: &str) -> String {
        crate::stack::name::fit(format!("{stack}-{}", self.suffix()), GROUP_LIMIT)
    }

    /// The name of the parameter group.
    pub fn parameters_name(self, stack: &str) -> String {
        crate::stack::name::fit(format!("{stack}-{}-{FAMILY}", self.suffix()), NAME_LIMIT)
    }

    fn suffix(self) -> &'static str {
        match self {
            Role::Store => "redis",
            Role::Eviction => "redis-lru",
        }
    }
}

/// The name of the subnet group that both caches share.
pub fn subnet_group_name(stack: &str) -> String {
    crate::stack::name::fit(format!("{stack}-cache-subnets"), NAME_LIMIT)
}

/// The tags of a resource.
pub async fn tags(cx: &Context, arn: &str) -> Result<Option<Tags>> {
    let answer = cx.elasticache.list_tags_for_resource().resource_name(arn).send().await?;
    Ok(Some(tags::collect(answer.tag_list(), |tag| (tag.key(), tag.value()))))
}

/// Sets the wish's tags on what was found if they differ.
pub async fn update_tags<S>(cx: &Context, change: &Change<S>, arn: &str) -> Result<()> {
    if let Some(tags) = change.tags() {
        cx.elasticache.add_tags_to_resource().resource_name(arn).set_tags(Some(list(tags))).send().await?;
    }
    Ok(())
}

/// The tags as calls take them.
pub fn list(tags: &Tags) -> Vec<Tag> {
    tags.iter().map(|(key, value)| Tag::builder().key(key).value(value).build()).collect()
}
