//! What instances look up when they boot, in SSM's parameter store, so that they need not wait for it to be there when
//! they are made, and nothing about it is in their launch template.
//!
//! Below `/ticketctl/<stack>/app/`, each only if the stack has the thing:
//!
//! | name | value |
//! |---|---|
//! | `database/endpoint`, `database/reader-endpoint` | host names of Aurora's writer and readers, port 3306 |
//! | `database/name` | name of the database |
//! | `database/secret-arn` | ARN of the master user's secret: JSON with `username` and `password` |
//! | `redis/endpoint` | host name of the Redis that holds locks, holds and queues; TLS, port 6379 |
//! | `redis/secret-arn` | ARN of the secret with the AUTH token, for both Redis |
//! | `redis-lru/endpoint` | host name of the Redis for what can be computed again |
//! | `jwt/secret-arn` | ARN of the secret with the key that signs users' tokens |
//! | `queue/url` | URL of the work queue |
//! | `events-topic/arn` | ARN of the topic of events |
//!
//! There are nine of them without the second Redis: a page of the API has ten, and after a full one AWS must be asked for
//! the next. What is known when an instance is made, such as the bucket's name, is in its environment.

use crate::{
    blueprint::{
        Blueprint, cache::CacheHandles, data::DataHandles, messaging::MessagingHandles, secrets::SecretHandles,
    },
    resource::{
        Parameter,
        parameter::{self, ParameterSpec},
    },
    stack::Stack,
};

/// Where the things are that the parameters tell of.
pub(super) struct Sources<'a> {
    pub data: Option<&'a DataHandles>,
    pub cache: Option<&'a CacheHandles>,
    pub secrets: &'a SecretHandles,
    pub messaging: &'a MessagingHandles,
}

pub(super) fn add(blueprint: &mut Blueprint, stack: &Stack, sources: &Sources<'_>) {
    let mut add = |path: &str, value: Option<String>| {
        if let Some(value) = value {
            let path = format!("app/{path}");
            let name = parameter::name(&stack.name(), &path);
            blueprint.add::<Parameter>(parameter::logical_id(&path), &name, ParameterSpec { path, value });
        }
    };
    let cluster = sources.data.map(|data| &data.cluster);
    add("database/endpoint", cluster.map(|cluster| cluster.endpoint()));
    add("database/reader-endpoint", cluster.map(|cluster| cluster.reader_endpoint()));
    add("database/name", stack.database.as_ref().map(|database| database.name.clone()));
    add("database/secret-arn", cluster.map(|cluster| cluster.secret_arn()));
    let cache = sources.cache;
    add("redis/endpoint", cache.map(|cache| cache.store.endpoint()));
    add("redis/secret-arn", sources.secrets.cache_auth.as_ref().map(|secret| secret.arn()));
    add("redis-lru/endpoint", cache.and_then(|cache| Some(cache.eviction.as_ref()?.endpoint())));
    add("jwt/secret-arn", sources.secrets.jwt.as_ref().map(|secret| secret.arn()));
    let queues = sources.messaging.queues.as_ref();
    add("queue/url", queues.map(|queues| queues.queue.url().to_string()));
    add("events-topic/arn", queues.map(|queues| queues.events.arn().to_string()));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::blueprint::{messaging, secrets, tests};
    use serde_json::json;

    #[test]
    fn a_stack_tells_only_what_it_has_and_no_secret() {
        let stack = tests::stack(json!({"services": {"web": {}}, "messaging": {}}));
        let mut blueprint = Blueprint::new(&stack.name(), Default::default());
        let secrets = secrets::add(&mut blueprint, &stack);
        let messaging = messaging::add(&mut blueprint, &stack, &tests::facts());
        let sources = Sources { data: None, cache: None, secrets: &secrets, messaging: &messaging };
        add(&mut blueprint, &stack, &sources);
        let parameters: Vec<(&str, &str)> = blueprint
            .nodes
            .values()
            .filter(|node| node.kind == "parameter")
            .filter_map(|node| Some((node.spec["path"].as_str()?, node.spec["value"].as_str()?)))
            .collect();
        assert_eq!(
            parameters,
            [
                ("app/jwt/secret-arn", "⟦secret-jwt⟧"),
                ("app/queue/url", "⟦queue⟧"),
                ("app/events-topic/arn", "⟦topic-events⟧"),
            ]
        );
    }
}
