//! Who may do what: the instances' role, and the role with which RDS measures. Every statement names the stack's own
//! resources; what AWS can't narrow down further has its reason beside it.

use serde_json::{Value, json};

use crate::{
    aws::tags,
    blueprint::{Blueprint, Facts, user_data},
    resource::{Handle, InstanceProfile, Role, instance_profile::InstanceProfileSpec, log_group, role::RoleSpec},
    stack::{
        Stack,
        facts::registry::{Registry, private_registry},
        name::fit,
    },
};

/// Longest name of a role.
/// Source: <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html>
const NAME_LENGTH: usize = 64;

/// What the services need beyond what every instance does.
#[derive(Default)]
pub struct Grants {
    /// ARNs of secrets.
    pub secrets: Vec<String>,
    /// Identifier of the Aurora cluster, for the secret that RDS keeps for it.
    pub cluster: Option<String>,
    /// Name of the bucket for files.
    pub bucket: Option<String>,
    /// ARNs of queues.
    pub queues: Vec<String>,
    /// ARNs of topics that services publish to.
    pub topics: Vec<String>,
}

/// Adds the role with which RDS writes enhanced monitoring, if the database has any.
pub(super) fn add_monitoring(blueprint: &mut Blueprint, stack: &Stack, facts: &Facts) -> Option<Handle<Role>> {
    let database = stack.database.as_ref()?;
    if database.enhanced_monitoring.is_zero() {
        return None;
    }
    // The group that AWS's own AmazonRDSEnhancedMonitoringRole is for; it is one for all databases of the region.
    let group = facts.arn("logs", "log-group:RDSOSMetrics");
    let policy = document(vec![
        // CloudWatch Logs wants a group's ARN with `:*` for all but its tags.
        // <https://docs.aws.amazon.com/AmazonCloudWatch/latest/logs/iam-access-control-overview-cwl.html>
        allow("Group", &["logs:CreateLogGroup", "logs:PutRetentionPolicy"], &[&group, &format!("{group}:*")]),
        allow(
            "Streams",
            &["logs:CreateLogStream", "logs:PutLogEvents", "logs:DescribeLogStreams", "logs:GetLogEvents"],
            &[&format!("{group}:log-stream:*")],
        ),
    ]);
    let mut trust = trust("monitoring.rds.amazonaws.com");
    // RDS may take the role for this account's databases alone.
    trust["Statement"][0]["Condition"] = json!({"StringEquals": {"aws:SourceAccount": facts.account}});
    Some(add_role(blueprint, stack, facts, "rds-monitoring", trust, policy))
}

/// Adds the role with which EC2 writes the record of traffic into the log group with this ARN.
/// Source: <https://docs.aws.amazon.com/vpc/latest/userguide/flow-logs-iam-role.html>
pub(super) fn add_flow_logs(blueprint: &mut Blueprint, stack: &Stack, facts: &Facts, group: &str) -> Handle<Role> {
    let policy = document(vec![
        allow(
            "Streams",
            &["logs:CreateLogStream", "logs:DescribeLogStreams", "logs:PutLogEvents"],
            &[&format!("{group}:*")],
        ),
        // A listing is for all groups alike.
        allow("Groups", &["logs:DescribeLogGroups"], &[&facts.arn("logs", "log-group:*")]),
    ]);
    let mut trust = trust("vpc-flow-logs.amazonaws.com");
    trust["Statement"][0]["Condition"] = json!({
        "StringEquals": {"aws:SourceAccount": facts.account},
        "ArnLike": {"aws:SourceArn": facts.arn("ec2", "vpc-flow-log/*")},
    });
    add_role(blueprint, stack, facts, "flow-logs", trust, policy)
}

/// Adds the role and the profile of the instances, if the stack has services.
pub(super) fn add_instances(
    blueprint: &mut Blueprint,
    stack: &Stack,
    facts: &Facts,
    grants: &Grants,
) -> Option<Handle<InstanceProfile>> {
    if stack.services.is_empty() {
        return None;
    }
    let policy = document(statements(stack, facts, grants));
    let role = add_role(blueprint, stack, facts, "instance", trust(ec2_principal(&facts.partition)), policy);
    let name = name(stack, facts, "instance");
    let spec = InstanceProfileSpec { name: name.clone(), role: role.id() };
    Some(blueprint.add::<InstanceProfile>("profile-instance", &name, spec))
}

fn add_role(
    blueprint: &mut Blueprint,
    stack: &Stack,
    facts: &Facts,
    what: &str,
    trust: Value,
    policy: Value,
) -> Handle<Role> {
    let name = name(stack, facts, what);
    blueprint.add::<Role>(format!("role-{what}"), &name, RoleSpec { name: name.clone(), trust, policy })
}

/// IAM knows no regions: the same stack may be in two of them.
fn name(stack: &Stack, facts: &Facts, what: &str) -> String {
    fit(format!("{}-{}-{what}", stack.name(), facts.region), NAME_LENGTH)
}

/// What roles for instances trust. EC2's service principal is another in China.
/// Source: <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_principal.html>
pub fn ec2_principal(partition: &str) -> &'static str {
    if partition == "aws-cn" { "ec2.amazonaws.com.cn" } else { "ec2.amazonaws.com" }
}

fn trust(service: &str) -> Value {
    document(vec![json!({"Effect": "Allow", "Principal": {"Service": service}, "Action": "sts:AssumeRole"})])
}

fn document(statements: Vec<Value>) -> Value {
    json!({"Version": "2012-10-17", "Statement": statements})
}

fn allow(sid: &str, actions: &[&str], resources: &[&str]) -> Value {
    json!({"Sid": sid, "Effect": "Allow", "Action": actions, "Resource": resources})
}

fn statements(stack: &Stack, facts: &Facts, grants: &Grants) -> Vec<Value> {
    let mut statements =
        vec![sessions(), artifacts(stack, facts), parameters(stack, facts), metrics(stack), outcome(stack, facts)];
    statements.push(allow(
        "Logs",
        &["logs:CreateLogStream", "logs:DescribeLogStreams", "logs:PutLogEvents"],
        &[&facts.arn("logs", &format!("log-group:{}:*", log_group::name(&stack.name(), "*")))],
    ));
    if !grants.secrets.is_empty() {
        let secrets: Vec<&str> = grants.secrets.iter().map(String::as_str).collect();
        statements.push(allow("Secrets", &["secretsmanager:GetSecretValue"], &secrets));
    }
    if let Some(cluster) = &grants.cluster {
        statements.push(master_secret(facts, cluster));
    }
    if let Some(bucket) = &grants.bucket {
        let bucket = format!("arn:{}:s3:::{bucket}", facts.partition);
        statements.push(allow("Bucket", &["s3:ListBucket"], &[&bucket]));
        let actions = ["s3:GetObject", "s3:PutObject", "s3:DeleteObject"];
        statements.push(allow("Files", &actions, &[&format!("{bucket}/files/*")]));
    }
    if !grants.queues.is_empty() {
        let queues: Vec<&str> = grants.queues.iter().map(String::as_str).collect();
        let actions = ["sqs:ChangeMessageVisibility", "sqs:DeleteMessage", "sqs:GetQueueAttributes", "sqs:GetQueueUrl"];
        let actions = [&actions[..], &["sqs:ReceiveMessage", "sqs:SendMessage"]].concat();
        statements.push(allow("Queues", &actions, &queues));
    }
    if !grants.topics.is_empty() {
        let topics: Vec<&str> = grants.topics.iter().map(String::as_str).collect();
        statements.push(allow("Topics", &["sns:Publish"], &topics));
    }
    statements.extend(images(stack, facts));
    statements
}

/// What the SSM agent calls, so that people get onto an instance without SSH. An instance isn't known before it is there,
/// and the channels of a session have no resource to name.
/// Source: <https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazonsessionmanagermessagegatewayservice.html>
/// and <https://docs.aws.amazon.com/systems-manager/latest/userguide/getting-started-create-iam-instance-profile.html>
fn sessions() -> Value {
    let actions = [
        "ssm:UpdateInstanceInformation",
        "ssmmessages:CreateControlChannel",
        "ssmmessages:CreateDataChannel",
        "ssmmessages:OpenControlChannel",
        "ssmmessages:OpenDataChannel",
        "ec2messages:AcknowledgeMessage",
        "ec2messages:DeleteMessage",
        "ec2messages:FailMessage",
        "ec2messages:GetEndpoint",
        "ec2messages:GetMessages",
        "ec2messages:SendReply",
    ];
    allow("Sessions", &actions, &["*"])
}

fn artifacts(stack: &Stack, facts: &Facts) -> Value {
    let Facts { partition, account, region, .. } = facts;
    let prefix = user_data::artifact_prefix(&stack.name());
    let objects = format!("arn:{partition}:s3:::ticketctl-{account}-{region}/{prefix}*");
    allow("Artifacts", &["s3:GetObject"], &[&objects])
}

fn parameters(stack: &Stack, facts: &Facts) -> Value {
    let path = facts.arn("ssm", &format!("parameter/ticketctl/{}", stack.name()));
    let actions = ["ssm:GetParameter", "ssm:GetParameters", "ssm:GetParametersByPath"];
    // The listing asks for the path itself, the others for what is below.
    allow("Parameters", &actions, &[&path, &format!("{path}/*")])
}

/// Telling how a boot went: one tag, on instances of this stack alone.
/// Source of the conditions: <https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/supported-iam-actions-tagging.html>
fn outcome(stack: &Stack, facts: &Facts) -> Value {
    let mut statement = allow("Outcome", &["ec2:CreateTags"], &[&facts.arn("ec2", "instance/*")]);
    statement["Condition"] = json!({
        "StringEquals": {format!("aws:ResourceTag/{}", tags::STACK): stack.name()},
        "ForAllValues:StringEquals": {"aws:TagKeys": [tags::BOOT]},
    });
    statement
}

/// CloudWatch knows no resource here, but the namespace as a condition.
/// Source: <https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/iam-cw-condition-keys-namespace.html>
fn metrics(stack: &Stack) -> Value {
    let mut statement = allow("Metrics", &["cloudwatch:PutMetricData"], &["*"]);
    statement["Condition"] =
        json!({"StringEquals": {"cloudwatch:namespace": user_data::metric_namespace(&stack.name())}});
    statement
}

/// The master user's secret: RDS gives it a name of its own, which is known only when the cluster is there, and a tag with
/// the cluster's ARN, which is known now. So instances need not wait for Aurora.
/// Source of the tag: the policy of RDS's own role,
/// <https://docs.aws.amazon.com/aws-managed-policy/latest/reference/AmazonRDSServiceRolePolicy.html>
fn master_secret(facts: &Facts, cluster: &str) -> Value {
    let secrets = facts.arn("secretsmanager", "secret:rds!cluster-*");
    let mut statement = allow("MasterSecret", &["secretsmanager:GetSecretValue"], &[&secrets]);
    let cluster = facts.arn("rds", &format!("cluster:{cluster}"));
    statement["Condition"] =
        json!({"StringEquals": {"secretsmanager:ResourceTag/aws:rds:primaryDBClusterArn": cluster}});
    statement
}

/// Pulling the services' images, if they lie in Amazon's private registry. A login isn't for a repository: AWS gives
/// `ecr:GetAuthorizationToken` no resource.
/// Source: <https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazonelasticcontainerregistry.html>
fn images(stack: &Stack, facts: &Facts) -> Vec<Value> {
    let images = stack.services.values().filter_map(|service| service.image.as_deref());
    let mut repositories: Vec<String> = images.filter_map(|image| repository_arn(image, &facts.partition)).collect();
    repositories.sort();
    repositories.dedup();
    if repositories.is_empty() {
        return Vec::new();
    }
    let repositories: Vec<&str> = repositories.iter().map(String::as_str).collect();
    let actions = ["ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"];
    vec![allow("RegistryLogin", &["ecr:GetAuthorizationToken"], &["*"]), allow("Images", &actions, &repositories)]
}

/// The ARN of the repository of an image in Amazon's private registry.
fn repository_arn(image: &str, partition: &str) -> Option<String> {
    let Registry { account, region, .. } = private_registry(image)?;
    let repository = image.split_once('/')?.1.split(['@', ':']).next()?;
    Some(format!("arn:{partition}:ecr:{region}:{account}:repository/{repository}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::blueprint::tests::{facts, stack};

    fn policy(parts: Value, grants: &Grants) -> Value {
        let stack = stack(parts);
        let mut blueprint = Blueprint::new(&stack.name(), Default::default());
        add_instances(&mut blueprint, &stack, &facts(), grants).expect("there is a service");
        blueprint.nodes["role-instance"].spec["policy"].clone()
    }

    fn all_grants() -> Grants {
        Grants {
            secrets: vec![
                "arn:aws:secretsmanager:ap-northeast-2:123456789012:secret:/ticketctl/ticketing-dev/jwt-x".into(),
            ],
            cluster: Some("ticketing-dev-aurora-cluster".into()),
            bucket: Some("ticketing-dev-bucket".into()),
            queues: vec!["arn:aws:sqs:ap-northeast-2:123456789012:ticketing-dev-queue".into()],
            topics: vec!["arn:aws:sns:ap-northeast-2:123456789012:ticketing-dev-events".into()],
        }
    }

    #[test]
    fn only_what_aws_cannot_narrow_is_for_everything() {
        let image = format!("123456789012.dkr.ecr.ap-northeast-2.amazonaws.com/shop/web@sha256:{}", "0".repeat(64));
        let policy = policy(json!({"services": {"web": {"image": image}}}), &all_grants());
        let statements = policy["Statement"].as_array().expect("statements");
        let open: Vec<_> = statements
            .iter()
            .filter(|statement| statement["Resource"].as_array().is_some_and(|list| list.contains(&json!("*"))))
            .map(|statement| statement["Sid"].as_str().unwrap_or_default())
            .collect();
        assert_eq!(open, ["Sessions", "Metrics", "RegistryLogin"]);
        for statement in statements.iter().filter(|statement| !open.contains(&statement["Sid"].as_str().unwrap_or("")))
        {
            let text = statement.to_string();
            assert!(text.contains("ticketing-dev") || text.contains("repository/shop/web"), "{text}");
        }
        let text = policy.to_string();
        for (action, allowed) in
            [(":*\"", false), ("iam:", false), ("sqs:ReceiveMessage", true), ("s3:PutObject", true)]
        {
            assert_eq!(text.contains(&format!("\"{action}")) || text.contains(action) && allowed, allowed, "{action}");
        }
        // IAM counts a role's inline policies without white space.
        assert!(text.len() < 10_240, "{} characters", text.len());
    }

    #[test]
    fn the_master_secret_is_the_cluster_s_own_and_needs_no_waiting() {
        let policy = policy(json!({"services": {"web": {}}}), &all_grants());
        let statements = policy["Statement"].as_array().expect("statements");
        let secret = statements.iter().find(|statement| statement["Sid"] == "MasterSecret").expect("a statement");
        assert_eq!(
            secret["Condition"]["StringEquals"]["secretsmanager:ResourceTag/aws:rds:primaryDBClusterArn"],
            "arn:aws:rds:ap-northeast-2:123456789012:cluster:ticketing-dev-aurora-cluster"
        );
        assert!(crate::resource::targets(&policy).is_empty());
    }

    #[test]
    fn rds_gets_a_role_when_it_measures() {
        let role = |parts: Value| {
            let stack = stack(parts);
            let mut blueprint = Blueprint::new(&stack.name(), Default::default());
            add_monitoring(&mut blueprint, &stack, &facts())
                .map(|_| blueprint.nodes["role-rds-monitoring"].spec.clone())
        };
        let spec = role(json!({"database": {}})).expect("enhanced monitoring is the default");
        assert_eq!(spec["name"], "ticketing-dev-ap-northeast-2-rds-monitoring");
        assert_eq!(spec["trust"]["Statement"][0]["Condition"]["StringEquals"]["aws:SourceAccount"], "123456789012");
        assert!(role(json!({"database": {"enhanced_monitoring": "0s"}})).is_none());
        assert!(role(json!({})).is_none());
    }
}
