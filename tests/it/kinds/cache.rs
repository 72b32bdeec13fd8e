use std::collections::BTreeMap;
use ticketctl::{
    aws::{Class, Context},
    resource::{
        CacheParameterGroup, CacheSubnetGroup, Ref, ReplicationGroup, Secret,
        cache_parameter_group::CacheParameterGroupSpec,
        cache_subnet_group::CacheSubnetGroupSpec,
        elasticache::{Role, subnet_group_name},
        replication_group::ReplicationGroupSpec,
        secret::SecretSpec,
    },
};

use super::data::subnets;
use super::lifecycle::*;
use crate::support::Endpoint;

const STACK: &str = "shop-test";

fn parameters(role: Role, pairs: &[(&str, &str)]) -> CacheParameterGroupSpec {
    let pairs = pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    CacheParameterGroupSpec { name: role.parameters_name(STACK), parameters: pairs.collect::<BTreeMap<_, _>>() }
}

fn group(secret: &str) -> ReplicationGroupSpec {
    ReplicationGroupSpec {
        name: Role::Store.group_name(STACK),
        description: "Holds, locks and queues".into(),
        version: "7.0".into(),
        class: "cache.t3.micro".into(),
        nodes: 2,
        failover: true,
        multi_az: true,
        port: 6379,
        subnet_group: Ref::known(subnet_group_name(STACK)),
        parameter_group: Ref::known(Role::Store.parameters_name(STACK)),
        security_groups: [Ref::known("sg-1")].into(),
        encrypted_in_transit: true,
        encrypted_at_rest: true,
        auth: true,
        auth_secret: Some(Ref::known(secret)),
        snapshot_days: 5,
        snapshot_window: Some("03:00-05:00".into()),
        maintenance_window: "mon:05:00-mon:06:00".into(),
        auto_minor_upgrades: true,
    }
}

async fn secret(cx: &Context) -> String {
    let name = format!("/ticketctl/{STACK}/cache-auth");
    let spec = SecretSpec { name, description: "Password of the caches".into(), recovery_days: 0 };
    create::<Secret>(cx, "secret-cache-auth", spec).await.id
}

#[tokio::test]
async fn cache_parameters() {
    let moto = Endpoint::start().await;
    let cx = moto.context(STACK).await;
    let changes = vec![
        parameters(Role::Eviction, &[("maxmemory-policy", "allkeys-lfu"), ("timeout", "300")]),
        parameters(Role::Eviction, &[("maxmemory-policy", "allkeys-lfu")]),
    ];
    let wish = parameters(Role::Eviction, &[("maxmemory-policy", "allkeys-lru"), ("timeout", "300")]);
    lifecycle::<CacheParameterGroup>(&cx, Role::Eviction.parameters_id(), wish, changes).await;
}

#[tokio::test]
async fn a_redis_with_a_replica() {
    let moto = Endpoint::start().await;
    let cx = moto.context(STACK).await;
    let subnets = subnets(&cx).await;
    let network = CacheSubnetGroupSpec { name: subnet_group_name(STACK), subnets };
    create::<CacheSubnetGroup>(&cx, CacheSubnetGroup::ID, network).await;
    let id = Role::Store.parameters_id();
    create::<CacheParameterGroup>(&cx, id, parameters(Role::Store, &[("maxmemory-policy", "noeviction")])).await;
    let secret = secret(&cx).await;

    let group = || group(&secret);
    let single = || ReplicationGroupSpec { nodes: 1, failover: false, multi_az: false, ..group() };
    let changes = vec![
        ReplicationGroupSpec { class: "cache.r7g.large".into(), description: "Store".into(), ..group() },
        ReplicationGroupSpec { version: "7.1".into(), snapshot_days: 1, ..group() },
        ReplicationGroupSpec { version: "7.1".into(), snapshot_window: Some("01:00-02:00".into()), ..group() },
        ReplicationGroupSpec {
            version: "7.1".into(),
            maintenance_window: "sun:05:00-sun:06:00".into(),
            auto_minor_upgrades: false,
            security_groups: [Ref::known("sg-2")].into(),
            ..group()
        },
        ReplicationGroupSpec { version: "7.1".into(), ..single() },
        ReplicationGroupSpec { version: "7.1".into(), nodes: 4, ..group() },
    ];
    lifecycle::<ReplicationGroup>(&cx, Role::Store.group_id(), group(), changes).await;

    create::<ReplicationGroup>(&cx, Role::Store.group_id(), single()).await;
    let found = only::<ReplicationGroup>(&cx, Role::Store.group_id()).await;
    for output in ["endpoint", "reader_endpoint"] {
        assert!(found.output(output).contains(".cache.amazonaws.com"), "{output}: {:?}", found.outputs);
    }
    let seen = format!("{found:?}");
    let answer = cx.secrets.get_secret_value().secret_id(&secret).send().await.expect("the secret");
    assert!(!seen.contains(answer.secret_string().expect("a text")), "the password shows in what is found");
    // A stack whose name begins like another's must not take that one's groups.
    assert!(all::<ReplicationGroup>(&moto.context("shop").await).await.is_empty());
    delete::<ReplicationGroup>(&cx, Role::Store.group_id()).await;
    delete::<CacheParameterGroup>(&cx, id).await;
    delete::<CacheSubnetGroup>(&cx, CacheSubnetGroup::ID).await;
}

#[tokio::test]
async fn a_redis_of_the_right_name_without_our_tag_is_somebody_elses() {
    let moto = Endpoint::start().await;
    let cx = moto.context(STACK).await;
    let create = cx.elasticache.create_replication_group().replication_group_id(Role::Store.group_name(STACK));
    let create = create.replication_group_description("theirs").num_cache_clusters(1).cache_node_type("cache.t3.micro");
    let tag = aws_sdk_elasticache::types::Tag::builder().key("Owner").value("somebody").build();
    create.tags(tag).send().await.expect("theirs");
    assert!(all::<ReplicationGroup>(&cx).await.is_empty());
    let secret = secret(&cx).await;
    let refused = try_create::<ReplicationGroup>(&cx, Role::Store.group_id(), group(&secret)).await;
    assert_eq!(refused.expect_err("the name is taken").class(), Class::Exists);
}
