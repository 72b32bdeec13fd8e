//! LocalStack loads a service with the first call to it. When two are loaded at once, the interpreter's import locks can meet in a
//! deadlock, and then one of the services answers `InternalError` for as long as LocalStack runs.
//! Source: <https://github.com/localstack/localstack/issues/11870>

use super::Context;

/// Has services loaded that sleep, one after the other, so that many calls at once find them awake.
pub async fn wake(cx: &Context, asleep: &[String]) {
    for service in asleep {
        // Whatever is answered: who needs the service asks again and is told.
        match service.as_str() {
            "ec2" => drop(cx.ec2.describe_regions().send().await),
            "iam" => drop(cx.iam.list_roles().max_items(1).send().await),
            "s3" => drop(cx.s3.list_buckets().send().await),
            "sqs" => drop(cx.sqs.list_queues().send().await),
            "sns" => drop(cx.sns.list_topics().send().await),
            "ssm" => drop(cx.ssm.describe_parameters().send().await),
            "secretsmanager" => drop(cx.secrets.list_secrets().send().await),
            "logs" => drop(cx.logs.describe_log_groups().send().await),
            "cloudwatch" => drop(cx.cloudwatch.describe_alarms().send().await),
            "sts" => drop(cx.sts.get_caller_identity().send().await),
            "acm" => drop(cx.acm.list_certificates().send().await),
            _ => {}
        }
    }
}
