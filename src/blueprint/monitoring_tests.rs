use std::collections::BTreeSet;

use super::*;
use crate::{
    blueprint::{Node, messaging, tests},
    resource::{DbCluster, DbInstance, Kind, targets},
};

/// A resource of which only the kind matters here.
fn stub<K: Kind>(blueprint: &mut Blueprint, id: &str) -> Handle<K> {
    let node = Node { kind: K::NAME.into(), spec: Value::Null, tags: Default::default(), after: Vec::new() };
    blueprint.nodes.insert(id.into(), node);
    Handle::new(id.to_owned())
}

/// Two services, a writer and a reader, two Redis, a queue.
fn whole(alerts: Value) -> Blueprint {
    let stack = tests::stack(json!({
        "services": {"web": {}, "staff": {"instances": {"detailed_monitoring": false}}},
        "database": {}, "cache": {"eviction": {"replicas": 0}}, "messaging": {}, "alerts": alerts,
    }));
    let facts = tests::facts();
    let mut blueprint = Blueprint::new(&stack.name(), Default::default());
    let messaging = messaging::add(&mut blueprint, &stack, &facts);
    let load_balancer = stub::<LoadBalancer>(&mut blueprint, "load-balancer");
    let mut service = |name: &str| {
        let target_group = stub::<TargetGroup>(&mut blueprint, &format!("target-group-{name}"));
        (target_group, stub::<AutoScalingGroup>(&mut blueprint, &format!("group-{name}")))
    };
    let services = [("web", service("web")), ("staff", service("staff"))];
    let data = DataHandles {
        cluster: stub::<DbCluster>(&mut blueprint, "database"),
        instances: ["database-1", "database-2"].map(|id| stub::<DbInstance>(&mut blueprint, id)).into(),
    };
    let cache = CacheHandles {
        store: stub::<ReplicationGroup>(&mut blueprint, "cache"),
        eviction: Some(stub::<ReplicationGroup>(&mut blueprint, "cache-lru")),
    };
    let services = services.iter().map(|(name, (target_group, group))| WatchedService { name, target_group, group });
    let watched = Watched {
        load_balancer: Some(&load_balancer),
        services: services.collect(),
        data: Some(&data),
        cache: Some(&cache),
        messaging: &messaging,
    };
    add(&mut blueprint, &stack, &facts, &watched);
    blueprint
}

fn alarms(blueprint: &Blueprint) -> Vec<(&str, AlarmSpec)> {
    let alarms = blueprint.nodes.iter().filter(|(_, node)| node.kind == Alarm::NAME);
    alarms.map(|(id, node)| (id.as_str(), serde_json::from_value(node.spec.clone()).expect("an alarm"))).collect()
}

#[test]
fn every_dimension_is_a_resource_of_the_stack_and_of_the_right_kind() {
    let blueprint = whole(json!({}));
    let alarms = alarms(&blueprint);
    assert_eq!(alarms.len(), 2 * 4 + 2 * 5 + 3 + 2);
    for (id, alarm) in alarms {
        let names: Vec<&str> = alarm.metric.dimensions.keys().map(String::as_str).collect();
        // What each namespace's metrics are told apart by: with one dimension less or more there is no data.
        let expected: &[&str] = match alarm.metric.namespace.as_str() {
            "AWS/ApplicationELB" => &["LoadBalancer", "TargetGroup"],
            "AWS/EC2" => &["AutoScalingGroupName"],
            "AWS/RDS" => &["DBInstanceIdentifier"],
            "AWS/ElastiCache" => &["CacheClusterId"],
            "AWS/SQS" => &["QueueName"],
            other => panic!("{id} watches {other}"),
        };
        assert_eq!(names, expected, "{id}");
        for (name, value) in &alarm.metric.dimensions {
            let kind = match name.as_str() {
                "LoadBalancer" => LoadBalancer::NAME,
                "TargetGroup" => TargetGroup::NAME,
                "AutoScalingGroupName" => AutoScalingGroup::NAME,
                "DBInstanceIdentifier" => DbInstance::NAME,
                "CacheClusterId" => ReplicationGroup::NAME,
                "QueueName" => crate::resource::Queue::NAME,
                other => panic!("{id} has the dimension {other}"),
            };
            let target = targets(&json!(value)).pop_first().unwrap_or_else(|| panic!("{id}: {name} is a literal"));
            assert_eq!(blueprint.nodes[&target.id].kind, kind, "{id}: {name}");
        }
    }
}

#[test]
fn every_alarm_tells_people_and_says_what_to_do() {
    for (id, alarm) in alarms(&whole(json!({}))) {
        assert_eq!(alarm.alarm_actions, ["⟦topic-alerts⟧".to_owned()].into(), "{id}");
        assert_eq!(alarm.ok_actions, alarm.alarm_actions, "{id}");
        for part in ["# ", "\nLook at: ", "\nDo: "] {
            assert!(alarm.description.contains(part), "{id} lacks {part:?}:\n{}", alarm.description);
        }
        // A service's name may have some characters more than here.
        assert!(alarm.description.chars().count() <= 960, "{id}'s description is too long for AWS's 1024");
    }
}

#[test]
fn thresholds_are_in_the_units_of_their_metrics() {
    let thresholds = json!({"database_free_local_storage": 2, "database_read_latency": "250ms", "queue_age": "10m"});
    let blueprint = whole(json!({"thresholds": thresholds}));
    let threshold = |id: &str| blueprint.nodes[id].spec["threshold"].as_f64();
    assert_eq!(threshold("alarm-database-1-free-local-storage"), Some(2_147_483_648.0));
    assert_eq!(threshold("alarm-database-2-read-latency"), Some(0.25));
    assert_eq!(threshold("alarm-queue-age"), Some(600.0));
    let text = blueprint.nodes["alarm-database-1-free-local-storage"].spec["description"].to_string();
    assert!(text.contains("Less than 2 GiB"), "{text}");
}

#[test]
fn a_period_is_never_shorter_than_ec2_measures() {
    let blueprint = whole(json!({}));
    let period = |id: &str| blueprint.nodes[id].spec["metric"]["period"].as_i64();
    assert_eq!(period("alarm-web-cpu-warning"), Some(120));
    assert_eq!(period("alarm-staff-cpu-warning"), Some(300), "without detailed monitoring");
}

#[test]
fn the_dashboard_shows_what_the_stack_has() {
    let blueprint = whole(json!({}));
    let widgets = &blueprint.nodes["dashboard"].spec["body"]["widgets"];
    let titles: BTreeSet<&str> =
        widgets.as_array().into_iter().flatten().filter_map(|widget| widget["properties"]["title"].as_str()).collect();
    for title in [
        "Healthy targets",
        "CPU of the instances (%)",
        "Database connections",
        "Redis memory (%)",
        "Capacity of the groups",
        "Requests per minute, and response time (s)",
    ] {
        assert!(titles.contains(title), "{title} is not among {titles:?}");
    }
    let shown = targets(widgets);
    let alarms = shown.iter().filter(|target| target.id.starts_with("alarm-")).count();
    assert_eq!(alarms, self::alarms(&blueprint).len());
    for target in &shown {
        assert!(blueprint.nodes.contains_key(&target.id), "the dashboard shows {}", target.id);
    }
}

#[test]
fn a_stack_of_messages_alone_has_their_alarms_and_no_dashboard() {
    let stack = tests::stack(json!({"messaging": {}, "alerts": {}}));
    let mut blueprint = Blueprint::new(&stack.name(), Default::default());
    let messaging = messaging::add(&mut blueprint, &stack, &tests::facts());
    let watched = Watched { load_balancer: None, services: vec![], data: None, cache: None, messaging: &messaging };
    add(&mut blueprint, &stack, &tests::facts(), &watched);
    let ids: Vec<&str> = alarms(&blueprint).into_iter().map(|(id, _)| id).collect();
    assert_eq!(ids, ["alarm-queue-age", "alarm-dead-letters"]);
    assert!(!blueprint.nodes.contains_key("dashboard"));
}
