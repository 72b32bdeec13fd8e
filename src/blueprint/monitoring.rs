//! Alarms on everything that a person must act on, each with its runbook, and the dashboard.
//!
//! Every dimension comes from a resource of the blueprint: an alarm can't watch something that isn't there.

use std::collections::BTreeMap;

use aws_sdk_cloudwatch::types::{ComparisonOperator, Statistic};
use serde_json::{Value, json};

use crate::{
    blueprint::{
        Blueprint, Facts,
        cache::CacheHandles,
        data::DataHandles,
        messaging::{MessagingHandles, QueueHandles},
    },
    resource::{
        Alarm, AutoScalingGroup, Dashboard, Handle, LoadBalancer, ReplicationGroup, TargetGroup, Topic,
        alarm::{AlarmSpec, Metric},
        dashboard::DashboardSpec,
    },
    stack::{Stack, types::Thresholds},
};

/// What a period without data means.
mod missing {
    /// No data is no trouble: the metric has none while nothing happens.
    pub const FINE: &str = "notBreaching";
    /// No data is the trouble itself.
    pub const TROUBLE: &str = "breaching";
    /// Nothing can be said; the alarm shows "insufficient data" and does nothing.
    pub const UNKNOWN: &str = "missing";
}

const GIB: f64 = 1_073_741_824.0;

/// A service as its alarms see it.
pub(super) struct WatchedService<'a> {
    pub name: &'a str,
    pub target_group: &'a Handle<TargetGroup>,
    pub group: &'a Handle<AutoScalingGroup>,
}

/// What there is to watch.
pub(super) struct Watched<'a> {
    pub load_balancer: Option<&'a Handle<LoadBalancer>>,
    pub services: Vec<WatchedService<'a>>,
    pub data: Option<&'a DataHandles>,
    pub cache: Option<&'a CacheHandles>,
    pub messaging: &'a MessagingHandles,
}

/// Adds the alarms, if the stack has alerts, and the dashboard, if it has anything that works.
pub(super) fn add(blueprint: &mut Blueprint, stack: &Stack, facts: &Facts, watched: &Watched<'_>) {
    let mut alarms = Vec::new();
    if let (Some(alerts), Some(topic)) = (&stack.alerts, &watched.messaging.alerts) {
        let mut alarm = |rule: Rule| alarms.push(add_alarm(blueprint, stack, topic, rule));
        if let Some(load_balancer) = watched.load_balancer {
            for service in &watched.services {
                service_rules(stack, &alerts.thresholds, load_balancer, service).into_iter().for_each(&mut alarm);
            }
        }
        for instance in watched.data.iter().flat_map(|data| &data.instances) {
            let (id, name) = (instance.id().to_string(), instance.name());
            database_rules(&alerts.thresholds, &id, name).into_iter().for_each(&mut alarm);
        }
        for (id, name) in cache_nodes(stack, watched.cache) {
            alarm(cache_rule(&alerts.thresholds, id, &name));
        }
        if let Some(queues) = &watched.messaging.queues {
            queue_rules(&alerts.thresholds, queues).into_iter().for_each(&mut alarm);
        }
    }
    if watched.services.is_empty() && watched.data.is_none() && watched.cache.is_none() {
        return;
    }
    let body = dashboard(stack, facts, watched, &alarms);
    let name = stack.name();
    let dashboard = blueprint.add::<Dashboard>("dashboard", &name, DashboardSpec { body }).id().to_string();
    let region = &facts.region;
    let console = format!("https://{region}.console.aws.amazon.com/cloudwatch/home?region={region}");
    blueprint.output("dashboard_url", format!("{console}#dashboards/dashboard/{dashboard}"));
    blueprint.output("dashboard_name", dashboard);
}

/// One alarm in the words of this module.
struct Rule {
    /// What follows `alarm-` in the logical id.
    id: String,
    /// The runbook's name below `templates/runbooks/`.
    runbook: &'static str,
    /// What the runbook calls the thing watched.
    subject: String,
    namespace: &'static str,
    metric: &'static str,
    dimensions: Vec<(&'static str, String)>,
    statistic: Statistic,
    /// Seconds, and how many such periods in a row.
    period: i32,
    periods: i32,
    comparison: ComparisonOperator,
    threshold: f64,
    /// The threshold as the runbook says it, where that is another unit than the metric's.
    said: f64,
    missing: &'static str,
}

fn add_alarm(blueprint: &mut Blueprint, stack: &Stack, topic: &Handle<Topic>, rule: Rule) -> Handle<Alarm> {
    let id = format!("alarm-{}", rule.id);
    let actions = [topic.arn().to_string()];
    let spec = AlarmSpec {
        description: runbook(stack, &rule),
        metric: Metric {
            namespace: rule.namespace.to_owned(),
            name: rule.metric.to_owned(),
            dimensions: rule.dimensions.into_iter().map(|(name, value)| (name.to_owned(), value)).collect(),
            statistic: rule.statistic.as_str().to_owned(),
            period: rule.period,
        },
        evaluation_periods: rule.periods,
        comparison: rule.comparison.as_str().to_owned(),
        threshold: rule.threshold,
        missing_data: rule.missing.to_owned(),
        actions_enabled: true,
        alarm_actions: actions.clone().into(),
        ok_actions: actions.into(),
    };
    let name = format!("{}/{id}", stack.name());
    blueprint.add::<Alarm>(id, &name, spec)
}

/// Metrics: <https://docs.aws.amazon.com/elasticloadbalancing/latest/application/load-balancer-cloudwatch-metrics.html>
fn service_rules(
    stack: &Stack,
    thresholds: &Thresholds,
    load_balancer: &Handle<LoadBalancer>,
    service: &WatchedService<'_>,
) -> [Rule; 4] {
    let name = service.name;
    let target = || {
        vec![
            ("LoadBalancer", load_balancer.metric_dimension()),
            ("TargetGroup", service.target_group.metric_dimension()),
        ]
    };
    let group = || vec![("AutoScalingGroupName", service.group.id().to_string())];
    // Without detailed monitoring EC2 measures every five minutes, and shorter periods would have no data.
    let detailed = stack.services.get(name).is_some_and(|service| service.instances.detailed_monitoring);
    let rule = |what: &'static str, threshold: u32| Rule {
        id: format!("{name}-{what}"),
        runbook: what,
        subject: name.to_owned(),
        namespace: "AWS/EC2",
        metric: "CPUUtilization",
        dimensions: group(),
        statistic: Statistic::Average,
        period: 300,
        periods: 2,
        comparison: ComparisonOperator::GreaterThanThreshold,
        threshold: threshold.into(),
        said: threshold.into(),
        // A group without instances isn't busy; that they are missing is the healthy hosts' alarm.
        missing: missing::UNKNOWN,
    };
    [
        Rule {
            namespace: "AWS/ApplicationELB",
            metric: "HTTPCode_Target_5XX_Count",
            dimensions: target(),
            statistic: Statistic::Sum,
            // Reported only when there are any.
            missing: missing::FINE,
            ..rule("target-5xx", thresholds.target_5xx)
        },
        Rule {
            namespace: "AWS/ApplicationELB",
            metric: "HealthyHostCount",
            dimensions: target(),
            // What the load balancer's worst-off node sees.
            statistic: Statistic::Minimum,
            period: 60,
            comparison: ComparisonOperator::LessThanThreshold,
            // Reported as soon as a target is registered: no data means that there is none.
            missing: missing::TROUBLE,
            ..rule("healthy-hosts", thresholds.healthy_hosts)
        },
        Rule { period: if detailed { 120 } else { 300 }, periods: 1, ..rule("cpu-warning", thresholds.cpu_warning) },
        rule("cpu", thresholds.cpu),
    ]
}

/// Metrics: <https://docs.aws.amazon.com/AmazonRDS/latest/AuroraUserGuide/Aurora.AuroraMonitoring.Metrics.html>
fn database_rules(thresholds: &Thresholds, instance: &str, name: &str) -> [Rule; 5] {
    let rule = |what: &'static str, metric: &'static str, threshold: f64| Rule {
        id: format!("{name}-{}", what.trim_start_matches("database-")),
        runbook: what,
        subject: name.to_owned(),
        namespace: "AWS/RDS",
        metric,
        dimensions: vec![("DBInstanceIdentifier", instance.to_owned())],
        statistic: Statistic::Average,
        period: 300,
        periods: 1,
        comparison: ComparisonOperator::GreaterThanThreshold,
        threshold,
        said: threshold,
        missing: missing::UNKNOWN,
    };
    let free_gib = f64::from(thresholds.database_free_local_storage);
    [
        rule("database-cpu", "CPUUtilization", thresholds.database_cpu.into()),
        rule("database-connections", "DatabaseConnections", thresholds.database_connections.into()),
        Rule {
            comparison: ComparisonOperator::LessThanThreshold,
            // In bytes.
            threshold: free_gib * GIB,
            said: free_gib,
            ..rule("database-free-local-storage", "FreeLocalStorage", 0.0)
        },
        Rule {
            // In seconds. An instance that doesn't read or write has no latency.
            missing: missing::FINE,
            ..rule("database-read-latency", "ReadLatency", thresholds.database_read_latency.secs_f64())
        },
        Rule {
            missing: missing::FINE,
            ..rule("database-write-latency", "WriteLatency", thresholds.database_write_latency.secs_f64())
        },
    ]
}

/// The nodes of all caches: the id in AWS, which ElastiCache makes from the group's, and what to call it.
fn cache_nodes(stack: &Stack, handles: Option<&CacheHandles>) -> Vec<(String, String)> {
    let (Some(cache), Some(handles)) = (&stack.cache, handles) else { return Vec::new() };
    let nodes = |group: &Handle<ReplicationGroup>, replicas: u32| {
        (1..=replicas + 1)
            .map(|number| (format!("{}-{number:03}", group.id()), format!("{}-{number}", group.name())))
            .collect::<Vec<_>>()
    };
    let mut all = nodes(&handles.store, cache.replicas);
    if let (Some(group), Some(eviction)) = (&handles.eviction, &cache.eviction) {
        all.extend(nodes(group, eviction.replicas));
    }
    all
}

/// Metrics: <https://docs.aws.amazon.com/AmazonElastiCache/latest/dg/CacheMetrics.Redis.html>
fn cache_rule(thresholds: &Thresholds, node: String, name: &str) -> Rule {
    Rule {
        id: format!("{name}-memory"),
        runbook: "cache-memory",
        subject: name.to_owned(),
        namespace: "AWS/ElastiCache",
        metric: "DatabaseMemoryUsagePercentage",
        dimensions: vec![("CacheClusterId", node)],
        statistic: Statistic::Average,
        period: 300,
        periods: 1,
        comparison: ComparisonOperator::GreaterThanThreshold,
        threshold: thresholds.cache_memory.into(),
        said: thresholds.cache_memory.into(),
        missing: missing::UNKNOWN,
    }
}

/// Metrics: <https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-available-cloudwatch-metrics.html>
fn queue_rules(thresholds: &Thresholds, queues: &QueueHandles) -> [Rule; 2] {
    let rule = |what: &'static str, metric: &'static str, queue: String, threshold: f64| Rule {
        id: what.to_owned(),
        runbook: what,
        subject: what.to_owned(),
        namespace: "AWS/SQS",
        metric,
        dimensions: vec![("QueueName", queue)],
        statistic: Statistic::Maximum,
        period: 300,
        periods: 1,
        comparison: ComparisonOperator::GreaterThanThreshold,
        threshold,
        said: threshold,
        // SQS reports nothing of a queue that has been empty for six hours.
        missing: missing::FINE,
    };
    let age = thresholds.queue_age.secs_f64();
    [
        rule("queue-age", "ApproximateAgeOfOldestMessage", queues.queue.queue_name(), age),
        Rule {
            comparison: ComparisonOperator::GreaterThanOrEqualToThreshold,
            ..rule(
                "dead-letters",
                "ApproximateNumberOfMessagesVisible",
                queues.dead_letters.queue_name(),
                thresholds.dead_letters.into(),
            )
        },
    ]
}

/// Declares the runbooks, which are part of the program.
macro_rules! runbooks {
    ($($name:literal),+ $(,)?) => {
        const RUNBOOKS: &[(&str, &str)] =
            &[$(($name, include_str!(concat!("../../templates/runbooks/", $name, ".md.tera")))),+];
    };
}

runbooks! {
    "target-5xx", "healthy-hosts", "cpu-warning", "cpu",
    "database-cpu", "database-connections", "database-free-local-storage", "database-read-latency",
    "database-write-latency", "cache-memory", "queue-age", "dead-letters",
}

/// The runbook's text: what the alarm's description says.
fn runbook(stack: &Stack, rule: &Rule) -> String {
    let (_, template) = RUNBOOKS.iter().find(|(name, _)| *name == rule.runbook).expect("each rule has a runbook");
    let context = json!({"stack": stack.name(), "subject": rule.subject, "threshold": rule.said.to_string()});
    render(template, &context).trim_end().to_owned()
}

/// As many alarms as CloudWatch shows in one widget.
const WIDGET_ALARMS: usize = 100;

const DASHBOARD: &str = include_str!("../../templates/dashboard.json.tera");

fn dashboard(stack: &Stack, facts: &Facts, watched: &Watched<'_>, alarms: &[Handle<Alarm>]) -> Value {
    let services = watched.services.iter().map(|service| {
        BTreeMap::from([
            ("name", service.name.to_owned()),
            ("target_group", service.target_group.metric_dimension()),
            ("group", service.group.id().to_string()),
        ])
    });
    let instances = watched.data.iter().flat_map(|data| &data.instances);
    let queues = watched.messaging.queues.as_ref();
    let context = json!({
        "stack": stack.name(),
        "region": facts.region,
        "alarms": alarms.iter().take(WIDGET_ALARMS).map(|alarm| alarm.arn()).collect::<Vec<_>>(),
        "load_balancer": watched.load_balancer.map(|load_balancer| load_balancer.metric_dimension()),
        "services": services.collect::<Vec<_>>(),
        "database_instances": instances.map(|instance| instance.id().to_string()).collect::<Vec<_>>(),
        "cache_nodes": cache_nodes(stack, watched.cache).into_iter().map(|(id, _)| id).collect::<Vec<_>>(),
        "queue": queues.map(|queues| queues.queue.queue_name()),
        "dead_letters": queues.map(|queues| queues.dead_letters.queue_name()),
    });
    serde_json::from_str(&render(DASHBOARD, &context)).expect("the dashboard's template makes JSON")
}

/// # Panics
/// If a template of ours names something that the context doesn't have.
fn render(template: &str, context: &Value) -> String {
    let context = tera::Context::from_serialize(context).expect("an object");
    tera::Tera::one_off(template, &context, false).unwrap_or_else(|error| panic!("a built-in template: {error}"))
}

#[cfg(test)]
#[path = "monitoring_tests.rs"]
mod tests;
