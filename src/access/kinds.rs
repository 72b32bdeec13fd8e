//! The actions of each kind.

use super::Actions;
use crate::resource::{self, Kind, all_kinds};

/// What ticketctl itself needs: who it is, its control bucket, the newest machine image, and the questions of the preflight.
/// Service Quotas asks a service itself for some of its limits, with the caller's rights: those of Auto Scaling here.
pub const GENERAL: &[&str] = &[
    "sts:GetCallerIdentity",
    "s3:CreateBucket",
    "s3:GetObject",
    "s3:ListBucket",
    "s3:GetBucketVersioning",
    "s3:PutBucketPublicAccessBlock",
    "s3:PutBucketTagging",
    "s3:PutBucketVersioning",
    "s3:PutObject",
    "ssm:GetParameters",
    "ec2:DescribeInstanceTypeOfferings",
    "ec2:DescribeInstanceTypes",
    "iam:SimulatePrincipalPolicy",
    "rds:DescribeOrderableDBInstanceOptions",
    "servicequotas:GetServiceQuota",
    "autoscaling:DescribeAccountLimits",
];

/// What a listener with a certificate needs beside the actions of its kind: the preflight asks what the certificate is worth.
pub const CERTIFICATE: &str = "acm:DescribeCertificate";

/// A kind whose actions are known. Each must be: the list of all kinds is made into the table below.
trait Access: Kind {
    const ACTIONS: Actions;
}

macro_rules! access {
    ($($kind:ident {
        find: [$($find:literal),* $(,)?], make: [$($make:literal),* $(,)?], finish: [$($finish:literal),* $(,)?],
        change: [$($change:literal),* $(,)?], delete: [$($delete:literal),* $(,)?] $(,)?
    })+) => {
        $(impl Access for resource::$kind {
            const ACTIONS: Actions = Actions {
                find: &[$($find),*], make: &[$($make),*], finish: &[$($finish),*], change: &[$($change),*],
                delete: &[$($delete),*],
            };
        })+
    };
}

access! {
    Vpc {
        find: ["ec2:DescribeVpcs", "ec2:DescribeVpcAttribute", "ec2:DescribeNetworkInterfaces"],
        make: ["ec2:CreateVpc", "ec2:CreateTags"],
        finish: ["ec2:ModifyVpcAttribute"],
        change: ["ec2:ModifyVpcAttribute", "ec2:CreateTags"],
        delete: ["ec2:DeleteVpc"],
    }
    Subnet {
        find: ["ec2:DescribeSubnets", "ec2:DescribeNetworkInterfaces"],
        make: ["ec2:CreateSubnet", "ec2:CreateTags"],
        finish: ["ec2:ModifySubnetAttribute"],
        change: ["ec2:ModifySubnetAttribute", "ec2:CreateTags"],
        delete: ["ec2:DeleteSubnet"],
    }
    InternetGateway {
        find: ["ec2:DescribeInternetGateways", "ec2:DescribeNetworkInterfaces"],
        make: ["ec2:CreateInternetGateway", "ec2:CreateTags"],
        finish: ["ec2:AttachInternetGateway"],
        change: ["ec2:AttachInternetGateway", "ec2:CreateTags"],
        delete: ["ec2:DetachInternetGateway", "ec2:DeleteInternetGateway"],
    }
    Address {
        find: ["ec2:DescribeAddresses"],
        make: ["ec2:AllocateAddress", "ec2:CreateTags"],
        finish: [],
        change: ["ec2:CreateTags"],
        delete: ["ec2:ReleaseAddress"],
    }
    NatGateway {
        find: ["ec2:DescribeNatGateways"],
        make: ["ec2:CreateNatGateway", "ec2:CreateTags"],
        finish: [],
        change: ["ec2:CreateTags"],
        delete: ["ec2:DeleteNatGateway"],
    }
    RouteTable {
        find: ["ec2:DescribeRouteTables"],
        make: ["ec2:CreateRouteTable", "ec2:CreateTags"],
        finish: ["ec2:CreateRoute", "ec2:AssociateRouteTable", "ec2:ReplaceRouteTableAssociation"],
        change: [
            "ec2:CreateRoute", "ec2:ReplaceRoute", "ec2:DeleteRoute", "ec2:AssociateRouteTable",
            "ec2:DisassociateRouteTable", "ec2:ReplaceRouteTableAssociation", "ec2:CreateTags",
        ],
        delete: ["ec2:DisassociateRouteTable", "ec2:DeleteRouteTable"],
    }
    SecurityGroup {
        find: ["ec2:DescribeSecurityGroups", "ec2:DescribeNetworkInterfaces"],
        make: ["ec2:CreateSecurityGroup", "ec2:CreateTags"],
        finish: [
            "ec2:AuthorizeSecurityGroupIngress", "ec2:AuthorizeSecurityGroupEgress", "ec2:RevokeSecurityGroupEgress",
        ],
        change: [
            "ec2:AuthorizeSecurityGroupIngress", "ec2:AuthorizeSecurityGroupEgress",
            "ec2:RevokeSecurityGroupIngress", "ec2:RevokeSecurityGroupEgress",
            "ec2:UpdateSecurityGroupRuleDescriptionsIngress", "ec2:UpdateSecurityGroupRuleDescriptionsEgress",
            "ec2:CreateTags",
        ],
        delete: ["ec2:DeleteSecurityGroup"],
    }
    VpcEndpoint {
        find: ["ec2:DescribeVpcEndpoints"],
        make: ["ec2:CreateVpcEndpoint", "ec2:CreateTags", "route53:AssociateVPCWithHostedZone"],
        finish: [],
        change: ["ec2:ModifyVpcEndpoint", "ec2:CreateTags"],
        delete: ["ec2:DeleteVpcEndpoints"],
    }
    FlowLog {
        find: ["ec2:DescribeFlowLogs"],
        make: ["ec2:CreateFlowLogs", "ec2:CreateTags", "iam:PassRole"],
        finish: [],
        change: ["ec2:CreateTags"],
        delete: ["ec2:DeleteFlowLogs"],
    }
    LaunchTemplate {
        find: ["ec2:DescribeLaunchTemplates", "ec2:DescribeLaunchTemplateVersions"],
        make: ["ec2:CreateLaunchTemplate", "ec2:CreateTags"],
        finish: [],
        change: ["ec2:CreateLaunchTemplateVersion", "ec2:ModifyLaunchTemplate", "ec2:CreateTags"],
        delete: ["ec2:DeleteLaunchTemplate"],
    }
    AutoScalingGroup {
        find: [
            "autoscaling:DescribeAutoScalingGroups", "autoscaling:DescribeScalingActivities", "ec2:DescribeInstances",
            "elasticloadbalancing:DescribeTargetHealth",
        ],
        make: [
            "autoscaling:CreateAutoScalingGroup", "autoscaling:CreateOrUpdateTags", "ec2:RunInstances",
            "ec2:CreateTags", "iam:PassRole", "iam:CreateServiceLinkedRole",
        ],
        finish: ["autoscaling:EnableMetricsCollection"],
        change: [
            "autoscaling:UpdateAutoScalingGroup", "autoscaling:AttachLoadBalancerTargetGroups",
            "autoscaling:DetachLoadBalancerTargetGroups", "autoscaling:CreateOrUpdateTags", "autoscaling:DeleteTags",
            "autoscaling:EnableMetricsCollection", "autoscaling:DisableMetricsCollection",
            "autoscaling:SetDesiredCapacity",
            "autoscaling:TerminateInstanceInAutoScalingGroup", "cloudwatch:GetMetricStatistics", "ec2:RunInstances",
            "iam:PassRole",
        ],
        delete: ["autoscaling:DeleteAutoScalingGroup"],
    }
    ScalingPolicy {
        find: ["autoscaling:DescribePolicies"],
        make: ["autoscaling:PutScalingPolicy"],
        finish: [],
        change: ["autoscaling:PutScalingPolicy"],
        delete: ["autoscaling:DeletePolicy"],
    }
    LoadBalancer {
        find: [
            "elasticloadbalancing:DescribeLoadBalancers", "elasticloadbalancing:DescribeLoadBalancerAttributes",
            "elasticloadbalancing:DescribeTags", "ec2:DescribeNetworkInterfaces",
        ],
        make: [
            "elasticloadbalancing:CreateLoadBalancer", "elasticloadbalancing:AddTags", "iam:CreateServiceLinkedRole",
        ],
        finish: ["elasticloadbalancing:ModifyLoadBalancerAttributes"],
        change: [
            "elasticloadbalancing:ModifyLoadBalancerAttributes", "elasticloadbalancing:SetSecurityGroups",
            "elasticloadbalancing:SetSubnets", "elasticloadbalancing:AddTags",
        ],
        delete: ["elasticloadbalancing:DeleteLoadBalancer"],
    }
    TargetGroup {
        find: [
            "elasticloadbalancing:DescribeTargetGroups", "elasticloadbalancing:DescribeTargetGroupAttributes",
            "elasticloadbalancing:DescribeTags",
        ],
        make: ["elasticloadbalancing:CreateTargetGroup", "elasticloadbalancing:AddTags"],
        finish: ["elasticloadbalancing:ModifyTargetGroupAttributes"],
        change: [
            "elasticloadbalancing:ModifyTargetGroup", "elasticloadbalancing:ModifyTargetGroupAttributes",
            "elasticloadbalancing:AddTags",
        ],
        delete: ["elasticloadbalancing:DeleteTargetGroup"],
    }
    Listener {
        find: ["elasticloadbalancing:DescribeListeners", "elasticloadbalancing:DescribeTags"],
        make: ["elasticloadbalancing:CreateListener", "elasticloadbalancing:AddTags"],
        finish: [],
        change: ["elasticloadbalancing:ModifyListener", "elasticloadbalancing:AddTags"],
        delete: ["elasticloadbalancing:DeleteListener"],
    }
    ListenerRule {
        find: ["elasticloadbalancing:DescribeRules", "elasticloadbalancing:DescribeTags"],
        make: ["elasticloadbalancing:CreateRule", "elasticloadbalancing:AddTags"],
        finish: [],
        change: [
            "elasticloadbalancing:ModifyRule", "elasticloadbalancing:SetRulePriorities", "elasticloadbalancing:AddTags",
        ],
        delete: ["elasticloadbalancing:DeleteRule"],
    }
    DbSubnetGroup {
        find: ["rds:DescribeDBSubnetGroups", "rds:ListTagsForResource"],
        make: ["rds:CreateDBSubnetGroup", "rds:AddTagsToResource"],
        finish: [],
        change: ["rds:ModifyDBSubnetGroup", "rds:AddTagsToResource"],
        delete: ["rds:DeleteDBSubnetGroup"],
    }
    DbClusterParameterGroup {
        find: ["rds:DescribeDBClusterParameters", "rds:ListTagsForResource"],
        make: ["rds:CreateDBClusterParameterGroup", "rds:AddTagsToResource"],
        finish: ["rds:ModifyDBClusterParameterGroup"],
        change: [
            "rds:ModifyDBClusterParameterGroup", "rds:ResetDBClusterParameterGroup", "rds:AddTagsToResource",
        ],
        delete: ["rds:DeleteDBClusterParameterGroup"],
    }
    DbParameterGroup {
        find: ["rds:DescribeDBParameters", "rds:ListTagsForResource"],
        make: ["rds:CreateDBParameterGroup", "rds:AddTagsToResource"],
        finish: ["rds:ModifyDBParameterGroup"],
        change: ["rds:ModifyDBParameterGroup", "rds:ResetDBParameterGroup", "rds:AddTagsToResource"],
        delete: ["rds:DeleteDBParameterGroup"],
    }
    DbCluster {
        find: ["rds:DescribeDBClusters"],
        make: [
            "rds:CreateDBCluster", "rds:AddTagsToResource", "secretsmanager:CreateSecret",
            "secretsmanager:TagResource", "kms:DescribeKey", "iam:CreateServiceLinkedRole",
        ],
        finish: [],
        change: ["rds:ModifyDBCluster", "rds:StartDBCluster", "rds:StopDBCluster", "rds:AddTagsToResource"],
        delete: ["rds:DeleteDBCluster", "rds:CreateDBClusterSnapshot"],
    }
    DbInstance {
        find: ["rds:DescribeDBInstances"],
        make: ["rds:CreateDBInstance", "rds:AddTagsToResource", "iam:PassRole"],
        finish: [],
        change: ["rds:ModifyDBInstance", "rds:RebootDBInstance", "rds:AddTagsToResource", "iam:PassRole"],
        delete: ["rds:DeleteDBInstance"],
    }
    CacheSubnetGroup {
        find: ["elasticache:DescribeCacheSubnetGroups", "elasticache:ListTagsForResource"],
        make: ["elasticache:CreateCacheSubnetGroup", "elasticache:AddTagsToResource"],
        finish: [],
        change: ["elasticache:ModifyCacheSubnetGroup", "elasticache:AddTagsToResource"],
        delete: ["elasticache:DeleteCacheSubnetGroup"],
    }
    CacheParameterGroup {
        find: ["elasticache:DescribeCacheParameters", "elasticache:ListTagsForResource"],
        make: ["elasticache:CreateCacheParameterGroup", "elasticache:AddTagsToResource"],
        finish: ["elasticache:ModifyCacheParameterGroup"],
        change: ["elasticache:ModifyCacheParameterGroup", "elasticache:ResetCacheParameterGroup", "elasticache:AddTagsToResource"],
        delete: ["elasticache:DeleteCacheParameterGroup"],
    }
    ReplicationGroup {
        find: ["elasticache:DescribeReplicationGroups", "elasticache:DescribeCacheClusters", "elasticache:ListTagsForResource"],
        make: [
            "elasticache:CreateReplicationGroup", "elasticache:AddTagsToResource", "secretsmanager:GetSecretValue",
            "iam:CreateServiceLinkedRole",
        ],
        finish: [],
        change: [
            "elasticache:ModifyReplicationGroup", "elasticache:IncreaseReplicaCount",
            "elasticache:DecreaseReplicaCount",
            "elasticache:AddTagsToResource",
        ],
        delete: ["elasticache:DeleteReplicationGroup"],
    }
    Secret {
        find: ["secretsmanager:ListSecrets", "secretsmanager:DescribeSecret"],
        make: [
            "secretsmanager:CreateSecret", "secretsmanager:GetRandomPassword", "secretsmanager:RestoreSecret",
            "secretsmanager:TagResource", "secretsmanager:UpdateSecret",
        ],
        finish: [],
        change: ["secretsmanager:TagResource", "secretsmanager:UpdateSecret"],
        delete: ["secretsmanager:DeleteSecret"],
    }
    Bucket {
        find: [
            "s3:GetBucketPolicy", "s3:GetBucketPublicAccessBlock", "s3:GetBucketTagging", "s3:GetBucketVersioning",
            "s3:GetLifecycleConfiguration",
        ],
        make: ["s3:CreateBucket", "s3:PutBucketTagging", "s3:TagResource"],
        finish: [
            "s3:PutBucketPolicy", "s3:PutBucketPublicAccessBlock", "s3:PutBucketVersioning",
            "s3:PutLifecycleConfiguration",
        ],
        change: [
            "s3:PutBucketPolicy", "s3:PutBucketPublicAccessBlock", "s3:PutBucketTagging", "s3:PutBucketVersioning",
            "s3:PutLifecycleConfiguration",
        ],
        delete: [
            "s3:AbortMultipartUpload", "s3:DeleteBucket", "s3:DeleteBucketPolicy", "s3:DeleteObject",
            "s3:DeleteObjectVersion", "s3:ListBucketMultipartUploads", "s3:ListBucketVersions",
        ],
    }
    Alarm {
        find: ["cloudwatch:DescribeAlarms", "cloudwatch:ListTagsForResource"],
        make: ["cloudwatch:PutMetricAlarm", "cloudwatch:TagResource"],
        finish: [],
        change: ["cloudwatch:PutMetricAlarm", "cloudwatch:TagResource"],
        delete: ["cloudwatch:DeleteAlarms"],
    }
    Dashboard {
        find: ["cloudwatch:GetDashboard", "cloudwatch:ListTagsForResource"],
        make: ["cloudwatch:PutDashboard", "cloudwatch:TagResource"],
        finish: [],
        change: ["cloudwatch:PutDashboard", "cloudwatch:TagResource"],
        delete: ["cloudwatch:DeleteDashboards"],
    }
    LogGroup {
        find: ["logs:DescribeLogGroups", "logs:ListTagsForResource"],
        make: ["logs:CreateLogGroup", "logs:TagResource"],
        finish: ["logs:PutRetentionPolicy"],
        change: ["logs:PutRetentionPolicy", "logs:DeleteRetentionPolicy", "logs:TagResource"],
        delete: ["logs:DeleteLogGroup"],
    }
    Parameter {
        find: ["ssm:GetParametersByPath", "ssm:ListTagsForResource"],
        make: ["ssm:PutParameter", "ssm:AddTagsToResource"],
        finish: [],
        change: ["ssm:PutParameter", "ssm:AddTagsToResource"],
        delete: ["ssm:DeleteParameter"],
    }
    Queue {
        find: ["sqs:ListQueues", "sqs:GetQueueAttributes", "sqs:ListQueueTags"],
        make: ["sqs:CreateQueue", "sqs:TagQueue"],
        finish: [],
        change: ["sqs:SetQueueAttributes", "sqs:TagQueue"],
        delete: ["sqs:DeleteQueue"],
    }
    Topic {
        find: ["sns:GetTopicAttributes", "sns:ListTagsForResource"],
        make: ["sns:CreateTopic", "sns:SetTopicAttributes", "sns:TagResource"],
        finish: [],
        change: ["sns:SetTopicAttributes", "sns:TagResource"],
        delete: ["sns:DeleteTopic"],
    }
    Subscription {
        find: ["sns:ListSubscriptionsByTopic"],
        make: ["sns:Subscribe"],
        finish: [],
        change: [],
        delete: ["sns:Unsubscribe"],
    }
    Role {
        find: [
            "iam:ListRoles", "iam:GetRole", "iam:GetRolePolicy", "iam:ListRolePolicies", "iam:ListAttachedRolePolicies",
        ],
        make: ["iam:CreateRole", "iam:TagRole"],
        finish: ["iam:PutRolePolicy"],
        change: ["iam:PutRolePolicy", "iam:UpdateAssumeRolePolicy", "iam:TagRole"],
        delete: ["iam:DeleteRole", "iam:DeleteRolePolicy", "iam:DetachRolePolicy"],
    }
    InstanceProfile {
        find: ["iam:ListInstanceProfiles", "iam:GetInstanceProfile"],
        make: ["iam:CreateInstanceProfile", "iam:TagInstanceProfile"],
        finish: ["iam:AddRoleToInstanceProfile", "iam:PassRole"],
        change: ["iam:AddRoleToInstanceProfile", "iam:RemoveRoleFromInstanceProfile", "iam:PassRole", "iam:TagInstanceProfile"],
        delete: ["iam:DeleteInstanceProfile", "iam:RemoveRoleFromInstanceProfile"],
    }
}

macro_rules! tables {
    ($($module:ident::$kind:ident),+ $(,)?) => {
        /// The actions of a kind; none for a kind that doesn't exist.
        pub fn actions_of(kind: &str) -> Option<Actions> {
            $(if kind == resource::$kind::NAME {
                return Some(<resource::$kind as Access>::ACTIONS);
            })+
            None
        }
    };
}

all_kinds!(tables);
