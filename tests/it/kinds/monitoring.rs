use serde_json::json;
use ticketctl::resource::{
    Alarm, Dashboard,
    alarm::{AlarmSpec, Metric},
    dashboard::DashboardSpec,
};

use super::lifecycle::*;
use crate::support::Endpoint;

fn alarm() -> AlarmSpec {
    let dimensions = [("LoadBalancer", "app/shop/1"), ("TargetGroup", "targetgroup/web/2")];
    AlarmSpec {
        description: "few healthy instances".into(),
        metric: Metric {
            namespace: "AWS/ApplicationELB".into(),
            name: "HealthyHostCount".into(),
            dimensions: dimensions.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect(),
            statistic: "Minimum".into(),
            period: 60,
        },
        evaluation_periods: 2,
        comparison: "LessThanThreshold".into(),
        threshold: 1.0,
        missing_data: "breaching".into(),
        actions_enabled: true,
        alarm_actions: ["arn:aws:sns:ap-northeast-2:123456789012:shop-test-alerts".to_owned()].into(),
        ok_actions: [].into(),
    }
}

#[tokio::test]
async fn alarms() {
    let moto = Endpoint::start().await;
    let cx = moto.context("shop-test").await;
    let wish = alarm();
    let actions = wish.alarm_actions.clone();
    let changes = vec![
        AlarmSpec { threshold: 2.5, evaluation_periods: 3, comparison: "LessThanOrEqualToThreshold".into(), ..alarm() },
        AlarmSpec { description: "other".into(), missing_data: "ignore".into(), ok_actions: actions, ..alarm() },
        AlarmSpec { metric: Metric { period: 300, statistic: "Average".into(), ..alarm().metric }, ..alarm() },
        AlarmSpec { actions_enabled: false, alarm_actions: [].into(), ..alarm() },
    ];
    lifecycle::<Alarm>(&cx, "alarm-web-healthy-hosts", wish, changes).await;
    create::<Alarm>(&moto.context("shop-test-2").await, "alarm-web-healthy-hosts", alarm()).await;
    assert!(all::<Alarm>(&cx).await.is_empty(), "took the alarm of a stack whose name begins alike");
}

#[tokio::test]
async fn dashboards() {
    let moto = Endpoint::start().await;
    let cx = moto.context("shop-test").await;
    let spec = |text: &str| DashboardSpec {
        body: json!({"widgets": [{"type": "text", "x": 0, "y": 0, "width": 6, "height": 3,
            "properties": {"markdown": text}}]}),
    };
    lifecycle::<Dashboard>(&cx, "dashboard", spec("a"), vec![spec("b")]).await;
}
