//! CloudWatch's CBOR protocol, which moto doesn't speak.

use std::time::Duration;

use aws_sdk_cloudwatch::primitives::DateTime;
use aws_sdk_cloudwatch::types::{ComparisonOperator, Dimension, MetricDatum, StateValue, Statistic};

use super::world::code;
use crate::support::Endpoint;

#[tokio::test]
async fn an_alarm_comes_back_as_it_was_put() {
    let endpoint = Endpoint::start().await;
    let cx = endpoint.clients().await;
    let topic = "arn:aws:sns:ap-northeast-2:123456789012:alerts";
    let put = cx.cloudwatch.put_metric_alarm().alarm_name("cpu").namespace("AWS/EC2").metric_name("CPUUtilization");
    put.statistic(Statistic::Average)
        .period(300)
        .evaluation_periods(2)
        .threshold(80.0)
        .comparison_operator(ComparisonOperator::GreaterThanThreshold)
        .dimensions(Dimension::builder().name("AutoScalingGroupName").value("web").build())
        .treat_missing_data("notBreaching")
        .alarm_actions(topic)
        .ok_actions(topic)
        .send()
        .await
        .expect("the alarm is put");

    let described = cx.cloudwatch.describe_alarms().alarm_names("cpu").send().await.expect("the alarm is told");
    let alarm = described.metric_alarms().first().expect("one alarm");
    assert_eq!((alarm.threshold(), alarm.period()), (Some(80.0), Some(300)));
    assert_eq!(
        (alarm.alarm_actions(), alarm.ok_actions()),
        ([topic.to_owned()].as_slice(), [topic.to_owned()].as_slice())
    );
    assert_eq!(alarm.treat_missing_data(), Some("notBreaching"));
    let age =
        alarm.state_updated_timestamp().expect("a time").secs() - DateTime::from(std::time::SystemTime::now()).secs();
    assert!(age.abs() < 600, "the time of the state is {age} s away");

    let refused = cx.cloudwatch.set_alarm_state().alarm_name("none").state_value(StateValue::Ok).state_reason("test");
    assert_eq!(code(refused.send().await), "ResourceNotFound");
}

#[tokio::test]
async fn metric_data_is_taken_compressed_and_summed() {
    let endpoint = Endpoint::start().await;
    let cx = endpoint.clients().await;
    let now = std::time::SystemTime::now();
    let mut put = cx.cloudwatch.put_metric_data().namespace("shop");
    // Enough of it that the SDK compresses the body (from 10 KiB on).
    for _ in 0..500 {
        put = put.metric_data(MetricDatum::builder().metric_name("sold").value(0.5).timestamp(now.into()).build());
    }
    put.send().await.expect("the data is taken");
    let statistics = cx.cloudwatch.get_metric_statistics().namespace("shop").metric_name("sold").period(60);
    let statistics = statistics
        .statistics(Statistic::Sum)
        .start_time((now - Duration::from_secs(3600)).into())
        .end_time((now + Duration::from_secs(3600)).into())
        .send()
        .await
        .expect("statistics");
    let sum: f64 = statistics.datapoints().iter().filter_map(|point| point.sum()).sum();
    assert_eq!(sum, 250.0);
}

#[tokio::test]
async fn a_dashboard_keeps_its_body() {
    let endpoint = Endpoint::start().await;
    let cx = endpoint.clients().await;
    let body = r#"{"widgets":[]}"#;
    cx.cloudwatch.put_dashboard().dashboard_name("shop").dashboard_body(body).send().await.expect("a dashboard");
    let told = cx.cloudwatch.get_dashboard().dashboard_name("shop").send().await.expect("the dashboard");
    assert_eq!(told.dashboard_body(), Some(body));
    assert_eq!(code(cx.cloudwatch.get_dashboard().dashboard_name("none").send().await), "ResourceNotFound");
}
