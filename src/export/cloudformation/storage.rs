//! The kinds that keep things: bucket, secrets, parameters.

use serde_json::{Value, json};

use super::{
    ACCOUNT,
    intrinsic::Fact,
    resource::{CloudFormation, Part, Resource},
};
use crate::resource::{
    Bucket, Parameter, Secret,
    bucket::{BucketSpec, Rule},
    parameter::{self, ParameterSpec},
    secret::{self, SecretSpec},
};

impl CloudFormation for Bucket {
    const TYPE: &'static str = "AWS::S3::Bucket";

    fn fact(output: Option<&str>) -> Option<Fact> {
        match output {
            None => Some(Fact::Ref),
            Some("arn") => Some(Fact::Attribute("Arn")),
            Some(_) => None,
        }
    }

    fn write(part: &Part<'_>, spec: BucketSpec) -> Resource {
        let BucketSpec { name, versioning, block_public_access: block, policy, lifecycle, empty_on_destroy } = spec;
        let rules: Vec<Value> = lifecycle.into_iter().map(|(id, rule)| lifecycle_rule(&id, &rule)).collect();
        let bucket = Resource::new::<Bucket>(json!({
            // One without the account in it would be the same in all accounts.
            "BucketName": Some(name).filter(|name| name.contains(ACCOUNT)),
            "BucketEncryption": {
                "ServerSideEncryptionConfiguration": [{"ServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256"}}],
            },
            "VersioningConfiguration": versioning.then(|| json!({"Status": "Enabled"})),
            "PublicAccessBlockConfiguration": {
                "BlockPublicAcls": block,
                "IgnorePublicAcls": block,
                "BlockPublicPolicy": block,
                "RestrictPublicBuckets": block,
            },
            "LifecycleConfiguration": (!rules.is_empty()).then(|| json!({"Rules": rules})),
            "Tags": part.tags(),
        }));
        bucket
            // CloudFormation deletes empty buckets only.
            .deletion(if empty_on_destroy { "Delete" } else { "Retain" })
            .with(part, "Policy", "AWS::S3::BucketPolicy", json!({"Bucket": part.me(), "PolicyDocument": policy}))
    }
}

fn lifecycle_rule(id: &str, rule: &Rule) -> Value {
    let Rule { prefix, expire, expire_noncurrent, abort_uploads } = rule;
    json!({
        "Id": id,
        "Status": "Enabled",
        "Prefix": Some(prefix).filter(|prefix| !prefix.is_empty()),
        "ExpirationInDays": expire,
        // S3 takes an age or the removal of lone delete markers, not both.
        "ExpiredObjectDeleteMarker": (expire.is_none() && expire_noncurrent.is_some()).then_some(true),
        "NoncurrentVersionExpiration": expire_noncurrent.map(|days| json!({"NoncurrentDays": days})),
        "AbortIncompleteMultipartUpload": abort_uploads.map(|days| json!({"DaysAfterInitiation": days})),
    })
}

impl CloudFormation for Secret {
    const TYPE: &'static str = "AWS::SecretsManager::Secret";

    fn write(part: &Part<'_>, spec: SecretSpec) -> Resource {
        // CloudFormation leaves no choice of how long a deleted secret can be restored; but it can leave the secret alone.
        let SecretSpec { name, description, recovery_days } = spec;
        let generated = json!({
            "PasswordLength": secret::LENGTH,
            "ExcludePunctuation": true,
            "RequireEachIncludedType": true,
        });
        let secret = Resource::new::<Secret>(json!({
            "Name": name,
            "Description": description,
            "GenerateSecretString": generated,
            "Tags": part.tags(),
        }));
        secret.deletion(if recovery_days == 0 { "Delete" } else { "Retain" })
    }
}

impl CloudFormation for Parameter {
    const TYPE: &'static str = "AWS::SSM::Parameter";

    fn write(part: &Part<'_>, spec: ParameterSpec) -> Resource {
        let ParameterSpec { path, value } = spec;
        Resource::new::<Parameter>(json!({
            "Name": parameter::name(part.stack, &path),
            "Type": "String",
            "Value": value,
            "Tags": part.tags,
        }))
    }
}
