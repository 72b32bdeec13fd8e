//! Redis: the store that never evicts, and the cache that does, if the stack asks for it.

use std::collections::BTreeMap;

use crate::{
    resource::{
        CacheParameterGroup, CacheSubnetGroup, Handle, Ref, ReplicationGroup, Secret, SecurityGroup, Subnet,
        cache_parameter_group::CacheParameterGroupSpec,
        cache_subnet_group::CacheSubnetGroupSpec,
        elasticache::{Role, subnet_group_name},
        replication_group::ReplicationGroupSpec,
    },
    stack::{Stack, types::Cache},
};

use super::{Blueprint, security::CACHE_PORT};

/// What others need of the caches.
pub struct CacheHandles {
    /// Holds, locks and queues.
    pub store: Handle<ReplicationGroup>,
    /// What can be computed again, if the stack has a cache of its own for it.
    pub eviction: Option<Handle<ReplicationGroup>>,
}

/// Adds the caches, if the stack has any. `auth` is the secret that holds their password.
pub(super) fn add(
    blueprint: &mut Blueprint,
    stack: &Stack,
    subnets: &[Handle<Subnet>],
    security_group: &Handle<SecurityGroup>,
    auth: Option<&Handle<Secret>>,
) -> Option<CacheHandles> {
    let cache = stack.cache.as_ref()?;
    let name = subnet_group_name(&stack.name());
    let subnet_group = blueprint.add::<CacheSubnetGroup>(
        CacheSubnetGroup::ID,
        &name,
        CacheSubnetGroupSpec { name: name.clone(), subnets: subnets.iter().map(Handle::id).collect() },
    );
    let mut add = |role: Role, settings: Settings<'_>| {
        let stack_name = stack.name();
        let name = role.parameters_name(&stack_name);
        let parameters = parameters(cache, settings.eviction_policy);
        let parameter_group = blueprint.add::<CacheParameterGroup>(
            role.parameters_id(),
            &name,
            CacheParameterGroupSpec { name: name.clone(), parameters },
        );
        let name = role.group_name(&stack_name);
        let spec = ReplicationGroupSpec {
            name: name.clone(),
            description: settings.description.to_owned(),
            version: cache.version.clone(),
            class: settings.class.to_owned(),
            nodes: i32::try_from(settings.replicas).unwrap_or(i32::MAX - 1) + 1,
            failover: settings.replicas > 0,
            multi_az: settings.multi_az,
            port: i32::from(CACHE_PORT),
            subnet_group: subnet_group.id(),
            parameter_group: parameter_group.id(),
            security_groups: [security_group.id()].into(),
            encrypted_in_transit: true,
            encrypted_at_rest: true,
            auth: auth.is_some(),
            auth_secret: auth.map(|auth| Ref::known(auth.arn())),
            snapshot_days: settings.snapshot_days,
            snapshot_window: (settings.snapshot_days > 0).then(|| cache.snapshot_window.clone()),
            maintenance_window: cache.maintenance_window.clone(),
            auto_minor_upgrades: true,
        };
        blueprint.add::<ReplicationGroup>(role.group_id(), &name, spec)
    };
    let store = add(
        Role::Store,
        Settings {
            description: "Holds, locks and queues",
            class: &cache.class,
            replicas: cache.replicas,
            multi_az: cache.multi_az,
            // Evicted holds are sold twice.
            eviction_policy: "noeviction",
            snapshot_days: cache.snapshots.days(),
        },
    );
    let eviction = cache.eviction.as_ref().map(|eviction| {
        add(
            Role::Eviction,
            Settings {
                description: "What can be computed again",
                class: &eviction.class,
                replicas: eviction.replicas,
                multi_az: eviction.replicas > 0,
                eviction_policy: "allkeys-lru",
                snapshot_days: 0,
            },
        )
    });
    blueprint.output("redis_endpoint", store.endpoint());
    blueprint.output("redis_reader_endpoint", store.reader_endpoint());
    if let Some(eviction) = &eviction {
        blueprint.output("redis_lru_endpoint", eviction.endpoint());
    }
    Some(CacheHandles { store, eviction })
}

/// In what the two caches differ.
struct Settings<'a> {
    description: &'a str,
    class: &'a str,
    replicas: u32,
    multi_az: bool,
    eviction_policy: &'a str,
    snapshot_days: i32,
}

fn parameters(cache: &Cache, eviction_policy: &str) -> BTreeMap<String, String> {
    let mut parameters = BTreeMap::from([("maxmemory-policy".to_owned(), eviction_policy.to_owned())]);
    // Zero, for never, is the engine's default.
    if !cache.idle_timeout.is_zero() {
        parameters.insert("timeout".to_owned(), cache.idle_timeout.secs().to_string());
    }
    parameters
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{aws::Tags, blueprint::secrets, stack::types::EvictionCache};
    use serde_json::{Value, json};

    fn compiled(cache: Cache) -> Blueprint {
        let file = json!({"project": "ticketing", "environment": "dev", "region": "ap-northeast-2", "cache": cache});
        let stack: Stack = serde_json::from_value(file).expect("a stack");
        let mut blueprint = Blueprint::new(&stack.name(), Tags::new());
        let secrets = secrets::add(&mut blueprint, &stack);
        let subnets = ["a", "c"].map(|zone| Handle::new(format!("subnet-database-{zone}")));
        add(&mut blueprint, &stack, &subnets, &Handle::new("sg-cache".to_owned()), secrets.cache_auth.as_ref())
            .expect("a cache");
        blueprint
    }

    #[test]
    fn holds_are_never_evicted_and_the_second_cache_evicts() {
        let blueprint = compiled(Cache { eviction: Some(EvictionCache::default()), ..Cache::default() });
        let policy = |id: &str| blueprint.nodes[id].spec["parameters"]["maxmemory-policy"].clone();
        assert_eq!(policy("cache-parameters"), "noeviction");
        assert_eq!(policy("cache-lru-parameters"), "allkeys-lru");
        assert_eq!(blueprint.nodes["cache-lru"].spec["snapshot_window"], Value::Null);
    }

    #[test]
    fn redis_asks_for_tls_and_for_a_password_that_is_only_referred_to() {
        let blueprint = compiled(Cache::default());
        let spec = &blueprint.nodes["cache"].spec;
        assert_eq!((&spec["encrypted_in_transit"], &spec["auth"]), (&json!(true), &json!(true)));
        assert_eq!(spec["auth_secret"], "⟦secret-cache-auth⟧");
    }

    #[test]
    fn one_node_has_no_failover() {
        let blueprint = compiled(Cache { replicas: 0, multi_az: false, ..Cache::default() });
        let spec = &blueprint.nodes["cache"].spec;
        assert_eq!((&spec["nodes"], &spec["failover"], &spec["multi_az"]), (&json!(1), &json!(false), &json!(false)));
    }
}
