//! Launch templates, groups, scaling.

use serde_json::{Value, json};

use super::{
    intrinsic::Fact,
    resource::{CloudFormation, Part, Resource, tag_list},
};
use crate::{
    aws::{Tags, tags},
    resource::{
        AutoScalingGroup, LaunchTemplate, ScalingPolicy,
        auto_scaling_group::{AutoScalingGroupSpec, GRANULARITY},
        launch_template::{LaunchTemplateSpec, Metadata, Volume},
        scaling_policy::{Rule, ScalingPolicySpec},
    },
};

impl CloudFormation for LaunchTemplate {
    const TYPE: &'static str = "AWS::EC2::LaunchTemplate";

    fn fact(output: Option<&str>) -> Option<Fact> {
        match output {
            None => Some(Fact::Ref),
            Some("version") => Some(Fact::Attribute("LatestVersionNumber")),
            Some(_) => None,
        }
    }

    fn write(part: &Part<'_>, spec: LaunchTemplateSpec) -> Resource {
        let LaunchTemplateSpec {
            name,
            image,
            instance_type,
            instance_profile,
            security_groups,
            volume: Volume { device, size, kind, encrypted, delete_on_termination },
            metadata: Metadata { tokens, hop_limit },
            detailed_monitoring,
            user_data,
            instance_tags,
            // Both are marks of ticketctl's on what is there.
            rolled_back: _,
        } = spec;
        let tags = super::exported_tags(&instance_tags);
        let volume = json!({
            "VolumeSize": size,
            "VolumeType": kind,
            "Encrypted": encrypted,
            "DeleteOnTermination": delete_on_termination,
        });
        let data = json!({
            "ImageId": image,
            "InstanceType": instance_type,
            "IamInstanceProfile": {"Arn": instance_profile},
            "SecurityGroupIds": security_groups,
            "BlockDeviceMappings": [{"DeviceName": device, "Ebs": volume}],
            "MetadataOptions": {"HttpEndpoint": "enabled", "HttpTokens": tokens, "HttpPutResponseHopLimit": hop_limit},
            "Monitoring": {"Enabled": detailed_monitoring},
            "UserData": {"Fn::Base64": user_data},
            "TagSpecifications": [
                {"ResourceType": "instance", "Tags": tag_list(&with_owner(&tags, part.stack))},
                {"ResourceType": "volume", "Tags": tag_list(&tags)},
            ],
        });
        Resource::new::<LaunchTemplate>(json!({
            "LaunchTemplateName": name,
            "LaunchTemplateData": data,
            "TagSpecifications": [{"ResourceType": "launch-template", "Tags": part.tags()}],
        }))
    }
}

/// With the one tag of ticketctl's that instances need: their role lets them tell how their boot went only on instances
/// that carry it.
fn with_owner(tags: &Tags, stack: &str) -> Tags {
    let mut tags = tags.clone();
    tags.insert(tags::STACK.to_owned(), stack.to_owned());
    tags
}

impl CloudFormation for AutoScalingGroup {
    const TYPE: &'static str = "AWS::AutoScaling::AutoScalingGroup";

    fn write(part: &Part<'_>, spec: AutoScalingGroupSpec) -> Resource {
        let AutoScalingGroupSpec {
            name,
            launch_template,
            launch_template_version,
            subnets,
            min,
            max,
            desired,
            target_groups,
            health_check,
            grace,
            warmup,
            termination_policies,
            metrics,
            // A note for ticketctl; that the group comes after its listeners is kept.
            listeners: _,
            paused: _,
        } = spec;
        let tags: Vec<Value> = part
            .tags
            .iter()
            .map(|(key, value)| json!({"Key": key, "Value": value, "PropagateAtLaunch": true}))
            .collect();
        let metrics = (!metrics.is_empty()).then(|| json!([{"Granularity": GRANULARITY, "Metrics": metrics}]));
        let mut group = Resource::new::<AutoScalingGroup>(json!({
            "AutoScalingGroupName": name,
            "LaunchTemplate": {"LaunchTemplateId": launch_template, "Version": launch_template_version},
            "VPCZoneIdentifier": subnets,
            "MinSize": min.to_string(),
            "MaxSize": max.to_string(),
            "DesiredCapacity": desired.to_string(),
            "TargetGroupARNs": target_groups,
            "HealthCheckType": health_check,
            "HealthCheckGracePeriod": grace,
            "DefaultInstanceWarmup": warmup,
            "TerminationPolicies": termination_policies,
            "MetricsCollection": metrics,
            "Tags": tags,
        }));
        group.update_policy = Some(update_policy(min, max));
        group
    }
}

/// What scaling may not do while CloudFormation counts the instances.
/// Source: <https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/aws-attribute-updatepolicy.html>
const SUSPENDED: [&str; 5] =
    ["HealthCheck", "ReplaceUnhealthy", "AZRebalance", "AlarmNotification", "ScheduledActions"];
/// How long CloudFormation waits for one new instance before it goes on to the next: no instance sends it a signal.
const PAUSE: &str = "PT5M";

/// An update leaves the group's size as auto scaling has chosen it, and replaces instances one by one. CloudFormation wants
/// room for one above those that stay in service, so that a group of fixed size has one fewer for a while. A group that is
/// scaled out may be taken down to the same number: a template can't know how many run, only who deploys it can, and
/// chooses a quiet hour.
fn update_policy(min: i32, max: i32) -> Value {
    json!({
        "AutoScalingScheduledAction": {"IgnoreUnmodifiedGroupSizeProperties": true},
        "AutoScalingRollingUpdate": {
            "MinInstancesInService": min.min(max - 1).max(0).to_string(),
            "MaxBatchSize": "1",
            "PauseTime": PAUSE,
            "SuspendProcesses": SUSPENDED,
        },
    })
}

impl CloudFormation for ScalingPolicy {
    const TYPE: &'static str = "AWS::AutoScaling::ScalingPolicy";

    fn write(_part: &Part<'_>, spec: ScalingPolicySpec) -> Resource {
        let ScalingPolicySpec { group, rule } = spec;
        let mut properties = match rule {
            Rule::Track { metric, target, value } => json!({
                "PolicyType": "TargetTrackingScaling",
                "TargetTrackingConfiguration": {
                    "PredefinedMetricSpecification": {"PredefinedMetricType": metric, "ResourceLabel": target},
                    "TargetValue": value,
                    "DisableScaleIn": false,
                },
            }),
            Rule::Step { add } => json!({
                "PolicyType": "StepScaling",
                "AdjustmentType": "ChangeInCapacity",
                "MetricAggregationType": "Average",
                "StepAdjustments": [{"MetricIntervalLowerBound": 0, "ScalingAdjustment": add}],
            }),
            Rule::Shrink { remove, cooldown } => json!({
                "PolicyType": "SimpleScaling",
                "AdjustmentType": "ChangeInCapacity",
                "ScalingAdjustment": -remove,
                "Cooldown": cooldown.to_string(),
            }),
        };
        properties["AutoScalingGroupName"] = json!(group);
        Resource::new::<ScalingPolicy>(properties)
    }
}
