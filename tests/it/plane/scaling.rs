//! Load makes instances appear, idleness removes them.

use std::time::Duration;

use aws_sdk_autoscaling::types::{MetricType, PredefinedMetricSpecification, TargetTrackingConfiguration};
use aws_sdk_cloudwatch::types::{ComparisonOperator, Dimension, Statistic};

use super::backend::get;
use super::service::{GROUP, Service};
use super::world::World;

const ALARM: &str = "shop-test-busy";

fn after<'a>(arn: &'a str, mark: &str) -> &'a str {
    arn.split_once(mark).map_or("", |(_, rest)| rest)
}

/// Has the group keep the requests for each target near a number, and an alarm watch them.
async fn watch(world: &World, service: &Service) {
    let balancer = after(&service.balancer, ":loadbalancer/");
    let targets = format!("targetgroup/{}", after(&service.target_group, ":targetgroup/"));
    let metric = PredefinedMetricSpecification::builder()
        .predefined_metric_type(MetricType::AlbRequestCountPerTarget)
        .resource_label(format!("{balancer}/{targets}"))
        .build();
    let tracking =
        TargetTrackingConfiguration::builder().predefined_metric_specification(metric).target_value(6.0).build();
    let policy = world.cx.autoscaling.put_scaling_policy().auto_scaling_group_name(GROUP).policy_name("requests");
    let policy = policy.policy_type("TargetTrackingScaling").target_tracking_configuration(tracking);
    policy.send().await.expect("a policy");
    let dimension = |name: &str, value: &str| Dimension::builder().name(name).value(value).build();
    world
        .cx
        .cloudwatch
        .put_metric_alarm()
        .alarm_name(ALARM)
        .namespace("AWS/ApplicationELB")
        .metric_name("RequestCount")
        .dimensions(dimension("LoadBalancer", balancer))
        .dimensions(dimension("TargetGroup", &targets))
        .statistic(Statistic::Sum)
        .period(60)
        .evaluation_periods(2)
        .threshold(6.0)
        .comparison_operator(ComparisonOperator::GreaterThanThreshold)
        .treat_missing_data("notBreaching")
        .send()
        .await
        .expect("an alarm");
}

async fn alarm(world: &World) -> String {
    let told = world.cx.cloudwatch.describe_alarms().alarm_names(ALARM).send().await.expect("the alarm");
    told.metric_alarms()[0].state_value().expect("a state").as_str().to_owned()
}

async fn until_alarm(world: &World, state: &str) {
    let begun = std::time::Instant::now();
    while alarm(world).await != state {
        assert!(begun.elapsed() < Duration::from_secs(180), "the alarm isn't {state}");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn load_makes_instances_appear_and_idleness_removes_them() {
    // A minute takes two seconds.
    let world = World::start_with(&[("TICKETCTL_LOCAL_TIME_SCALE", "30")]).await;
    let service = Service::make(&world.cx, 1, 3).await;
    watch(&world, &service).await;
    let url = service.url(&world).await;
    service.healthy(&world, 1).await;
    until_alarm(&world, "OK").await;

    let load = tokio::spawn({
        let url = url.clone();
        async move {
            loop {
                let (status, body) = get(&url).await;
                assert_eq!(status, 200, "{body}");
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
    });
    service.healthy(&world, 3).await;
    until_alarm(&world, "ALARM").await;
    assert!(!load.is_finished(), "a request failed while the group grew");
    load.abort();

    service.healthy(&world, 1).await;
    until_alarm(&world, "OK").await;
    let seen = world.cx.cloudwatch.list_metrics().namespace("AWS/EC2").metric_name("CPUUtilization").send().await;
    assert!(!seen.expect("metrics").metrics().is_empty(), "the instances' CPU was measured");
}
