//! Alarms, the dashboard, logs.

use serde_json::{Value, json};

use super::{
    intrinsic::Fact,
    resource::{CloudFormation, Part, Resource},
};
use crate::resource::{
    Alarm, Dashboard, FlowLog, LogGroup,
    alarm::{AlarmSpec, Metric},
    dashboard::DashboardSpec,
    flow_log::FlowLogSpec,
    log_group::{self, LogGroupSpec},
};

impl CloudFormation for Alarm {
    const TYPE: &'static str = "AWS::CloudWatch::Alarm";

    fn fact(output: Option<&str>) -> Option<Fact> {
        match output {
            None => Some(Fact::Ref),
            Some("arn") => Some(Fact::Attribute("Arn")),
            Some(_) => None,
        }
    }

    fn write(part: &Part<'_>, spec: AlarmSpec) -> Resource {
        let AlarmSpec {
            description,
            metric: Metric { namespace, name, dimensions, statistic, period },
            evaluation_periods,
            comparison,
            threshold,
            missing_data,
            actions_enabled,
            alarm_actions,
            ok_actions,
        } = spec;
        let dimensions: Vec<Value> =
            dimensions.into_iter().map(|(name, value)| json!({"Name": name, "Value": value})).collect();
        Resource::new::<Alarm>(json!({
            "AlarmName": format!("{}/{}", part.stack, part.id),
            "AlarmDescription": description,
            "Namespace": namespace,
            "MetricName": name,
            "Dimensions": dimensions,
            "Statistic": statistic,
            "Period": period,
            "EvaluationPeriods": evaluation_periods,
            "ComparisonOperator": comparison,
            "Threshold": threshold,
            "TreatMissingData": missing_data,
            "ActionsEnabled": actions_enabled,
            "AlarmActions": alarm_actions,
            "OKActions": ok_actions,
            "Tags": part.tags(),
        }))
    }
}

impl CloudFormation for Dashboard {
    const TYPE: &'static str = "AWS::CloudWatch::Dashboard";

    fn write(part: &Part<'_>, spec: DashboardSpec) -> Resource {
        let DashboardSpec { body } = spec;
        Resource::new::<Dashboard>(json!({"DashboardName": part.stack, "DashboardBody": body.to_string()}))
    }
}

impl CloudFormation for LogGroup {
    const TYPE: &'static str = "AWS::Logs::LogGroup";

    fn write(part: &Part<'_>, spec: LogGroupSpec) -> Resource {
        let LogGroupSpec { retention } = spec;
        let group = Resource::new::<LogGroup>(json!({
            "LogGroupName": log_group::name(part.stack, log_group::service(part.id)),
            "RetentionInDays": Some(retention).filter(|days| *days > 0),
            "Tags": part.tags(),
        }));
        group.deletion("Delete")
    }
}

impl CloudFormation for FlowLog {
    const TYPE: &'static str = "AWS::EC2::FlowLog";

    fn write(part: &Part<'_>, spec: FlowLogSpec) -> Resource {
        let FlowLogSpec { vpc, traffic, log_group, role, interval } = spec;
        Resource::new::<FlowLog>(json!({
            "ResourceType": "VPC",
            "ResourceId": vpc,
            "TrafficType": traffic,
            "LogDestinationType": "cloud-watch-logs",
            "LogGroupName": log_group,
            "DeliverLogsPermissionArn": role,
            "MaxAggregationInterval": interval,
            "Tags": part.tags(),
        }))
    }
}
