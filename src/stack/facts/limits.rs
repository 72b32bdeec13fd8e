//! Limits and closed lists of the AWS services that a stack uses.

/// TLS policies of an application load balancer's HTTPS listener that speak TLS 1.2 or later only.
/// Source: "Security policies for your Application Load Balancer", Elastic Load Balancing documentation.
pub const TLS_POLICIES: &[&str] = &[
    "ELBSecurityPolicy-TLS13-1-2-Res-PQ-2025-09",
    "ELBSecurityPolicy-TLS13-1-2-PQ-2025-09",
    "ELBSecurityPolicy-TLS13-1-2-Ext1-PQ-2025-09",
    "ELBSecurityPolicy-TLS13-1-2-Ext2-PQ-2025-09",
    "ELBSecurityPolicy-TLS13-1-3-PQ-2025-09",
    "ELBSecurityPolicy-TLS13-1-2-Res-2021-06",
    "ELBSecurityPolicy-TLS13-1-2-2021-06",
    "ELBSecurityPolicy-TLS13-1-2-Ext1-2021-06",
    "ELBSecurityPolicy-TLS13-1-2-Ext2-2021-06",
    "ELBSecurityPolicy-TLS13-1-3-2021-06",
];

/// TLS policies that AWS still has, but that speak TLS 1.0 or 1.1, or no TLS 1.3. Same source.
pub const OLD_TLS_POLICIES: &[&str] = &[
    "ELBSecurityPolicy-TLS13-1-1-2021-06",
    "ELBSecurityPolicy-TLS13-1-0-2021-06",
    "ELBSecurityPolicy-TLS13-1-0-PQ-2025-09",
    "ELBSecurityPolicy-TLS-1-2-Ext-2018-06",
    "ELBSecurityPolicy-TLS-1-2-2017-01",
    "ELBSecurityPolicy-TLS-1-1-2017-01",
    "ELBSecurityPolicy-2016-08",
    "ELBSecurityPolicy-FS-1-2-Res-2020-10",
    "ELBSecurityPolicy-FS-1-2-Res-2019-08",
    "ELBSecurityPolicy-FS-1-2-2019-08",
    "ELBSecurityPolicy-FS-1-1-2019-08",
    "ELBSecurityPolicy-FS-2018-06",
];

/// Retention times that CloudWatch Logs knows, in days.
/// Source: `PutRetentionPolicy`, Amazon CloudWatch Logs API Reference.
pub const LOG_RETENTION_DAYS: &[i32] =
    &[1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653];

/// Intervals of enhanced monitoring, in seconds; 0 is off.
/// Source: `CreateDBInstance`, Amazon RDS API Reference.
pub const MONITORING_SECONDS: &[i32] = &[0, 1, 5, 10, 15, 30, 60];

/// Addresses that AWS keeps in every subnet. Source: "Subnet CIDR blocks", Amazon VPC User Guide.
pub const RESERVED_ADDRESSES: u64 = 5;

/// Longest prefix of a subnet that a load balancer accepts. Source: "Subnets for your load balancer",
/// Elastic Load Balancing documentation: at least a /27 with eight free addresses.
pub const LOAD_BALANCER_PREFIX: u8 = 27;

/// Tags of one resource. Source: "Tag your Amazon EC2 resources", Amazon EC2 User Guide.
pub const TAGS: usize = 50;

/// Tags that ticketctl puts on a resource itself, at most: its own two, Name, Project, Environment, ManagedBy, and what
/// AWS has no better place for: one on the cluster, the bucket and secrets; on auto-scaling groups one per listener, that
/// the group is paused, and where a rollout stands.
pub const OWN_TAGS: usize = 10;

/// Wildcards in the conditions of one listener rule, and rules of a load balancer beside the defaults.
/// Source: "Quotas for your Application Load Balancers", Elastic Load Balancing documentation.
pub const RULE_WILDCARDS: usize = 5;
/// See [`RULE_WILDCARDS`]; a quota that can be raised.
pub const RULES: usize = 100;

/// Rules of a security group; a quota that can be raised. Source: "Amazon VPC quotas", Amazon VPC User Guide.
pub const GROUP_RULES: usize = 60;

/// Longest name of a load balancer or target group. Source: Elastic Load Balancing API Reference.
pub const LOAD_BALANCER_NAME: usize = 32;

/// Longest name of an ElastiCache replication group. Source: Amazon ElastiCache API Reference.
pub const REPLICATION_GROUP_NAME: usize = 40;

/// Services with an interface endpoint that an instance of a ticketing stack may want, by short name.
/// Source: "AWS services that integrate with AWS PrivateLink", AWS PrivateLink documentation.
pub const ENDPOINTS: &[&str] = &[
    "autoscaling",
    "cloudformation",
    "ec2",
    "ec2messages",
    "ecr.api",
    "ecr.dkr",
    "ecs",
    "elasticache",
    "elasticloadbalancing",
    "email-smtp",
    "events",
    "execute-api",
    "kinesis-streams",
    "kms",
    "lambda",
    "logs",
    "monitoring",
    "rds",
    "rds-data",
    "secretsmanager",
    "sns",
    "sqs",
    "ssm",
    "ssmmessages",
    "states",
    "sts",
    "synthetics",
    "xray",
];
