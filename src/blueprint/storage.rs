//! The bucket: files of the app and access logs of the load balancer.

use serde_json::{Value, json};
use std::collections::BTreeMap;

use crate::{
    resource::{
        Bucket, Handle,
        bucket::{BucketSpec, Rule, policy_id},
    },
    stack::Stack,
};

use super::{Blueprint, Facts, edge::ACCESS_LOG_PREFIX};

/// Adds the bucket, if the stack has storage or a load balancer that writes access logs.
pub(super) fn add(blueprint: &mut Blueprint, stack: &Stack, facts: &Facts) -> Option<Handle<Bucket>> {
    let access_logs = stack.ingress.access_logs && !stack.services.is_empty();
    if stack.storage.is_none() && !access_logs {
        return None;
    }
    let name = Bucket::name_in(&stack.name(), &facts.account, &facts.region);
    // A bucket of logs alone has no setting of its own.
    let empty_on_destroy = stack.storage.as_ref().map_or(!stack.protect, |storage| storage.empty_on_destroy);
    let bucket = blueprint.add::<Bucket>(
        Bucket::ID,
        &name,
        BucketSpec {
            name: name.clone(),
            versioning: stack.storage.as_ref().is_some_and(|storage| storage.versioning),
            block_public_access: true,
            policy: policy(&name, facts, access_logs, policy_id(&stack.name(), empty_on_destroy)),
            lifecycle: lifecycle(stack, access_logs),
            empty_on_destroy,
        },
    );
    blueprint.output("bucket_name", bucket.id().to_string());
    Some(bucket)
}

/// Nobody comes in without TLS, and load balancers of this account may write logs. Elastic Load Balancing writes them under
/// its service's name in every region; the accounts that it had in older regions are no longer needed.
/// Source: <https://docs.aws.amazon.com/elasticloadbalancing/latest/application/enable-access-logging.html>
fn policy(name: &str, facts: &Facts, access_logs: bool, id: String) -> Value {
    let arn = format!("arn:{}:s3:::{name}", facts.partition);
    let mut statements = vec![json!({
        "Sid": "TlsOnly",
        "Effect": "Deny",
        "Principal": "*",
        "Action": "s3:*",
        "Resource": [arn, format!("{arn}/*")],
        "Condition": {"Bool": {"aws:SecureTransport": "false"}},
    })];
    if access_logs {
        statements.push(json!({
            "Sid": "AccessLogs",
            "Effect": "Allow",
            "Principal": {"Service": "logdelivery.elasticloadbalancing.amazonaws.com"},
            "Action": "s3:PutObject",
            "Resource": format!("{arn}/{ACCESS_LOG_PREFIX}/AWSLogs/{}/*", facts.account),
        }));
    }
    json!({"Version": "2012-10-17", "Id": id, "Statement": statements})
}

fn lifecycle(stack: &Stack, access_logs: bool) -> BTreeMap<String, Rule> {
    let mut rules = BTreeMap::new();
    if let Some(storage) = &stack.storage {
        let rule = Rule {
            prefix: String::new(),
            expire: None,
            expire_noncurrent: storage.versioning.then(|| storage.expire_noncurrent.days()),
            abort_uploads: Some(storage.abort_uploads.days()),
        };
        rules.insert("leftovers".to_owned(), rule);
    }
    if access_logs {
        let days = stack.logs.retention.days();
        let rule = Rule {
            prefix: format!("{ACCESS_LOG_PREFIX}/"),
            expire: Some(days),
            expire_noncurrent: None,
            abort_uploads: None,
        };
        rules.insert("access-logs".to_owned(), rule);
    }
    rules
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::blueprint::tests::stack;

    fn compiled(parts: Value) -> Option<Value> {
        let blueprint = crate::blueprint::tests::compiled(&stack(parts));
        blueprint.nodes.get(Bucket::ID).map(|node| node.spec.clone())
    }

    #[test]
    fn access_logs_alone_make_a_bucket_that_takes_them_under_one_prefix() {
        let spec = compiled(json!({"services": {"web": {}}})).expect("a bucket");
        let allowed = &spec["policy"]["Statement"][1];
        assert_eq!(
            allowed["Resource"],
            "arn:aws:s3:::ticketing-dev-123456789012-ap-northeast-2/load-balancer/AWSLogs/123456789012/*"
        );
        assert_eq!(spec["lifecycle"]["access-logs"]["expire"], 30);
        assert_eq!(spec["versioning"], false);
    }

    #[test]
    fn a_bucket_of_files_has_versions_and_nobody_else_writes_to_it() {
        let spec = compiled(json!({"storage": {}})).expect("a bucket");
        assert_eq!(spec["policy"]["Statement"].as_array().map(Vec::len), Some(1));
        assert_eq!(spec["policy"]["Statement"][0]["Condition"]["Bool"]["aws:SecureTransport"], "false");
        assert_eq!((&spec["versioning"], &spec["block_public_access"]), (&json!(true), &json!(true)));
    }

    #[test]
    fn without_storage_and_services_there_is_no_bucket() {
        assert!(compiled(json!({})).is_none());
    }

    #[test]
    fn names_stay_within_63_characters_and_apart() {
        let long = "x".repeat(32);
        let name =
            |environment: &str| Bucket::name_in(&format!("{long}-{environment}"), "123456789012", "ap-northeast-2");
        assert!(name("production").len() <= 63, "{}", name("production"));
        assert_ne!(name("production"), name("productive"));
    }
}
