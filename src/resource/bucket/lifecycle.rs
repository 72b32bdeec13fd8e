//! What S3 removes from a bucket by itself.

use aws_sdk_s3::types::{
    AbortIncompleteMultipartUpload, BucketLifecycleConfiguration, ExpirationStatus, LifecycleExpiration, LifecycleRule,
    LifecycleRuleFilter, NoncurrentVersionExpiration,
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

use super::{unbuilt, unless_unset};
use crate::aws::{Context, Error, Result};

/// One rule; all times are in days.
#[derive(Serialize, Deserialize)]
pub struct Rule {
    /// The keys that it is for; empty for all.
    pub prefix: String,
    /// Deletes objects of this age.
    pub expire: Option<i32>,
    /// Deletes versions that have been overwritten or deleted for so long, and the markers that are left of them.
    pub expire_noncurrent: Option<i32>,
    /// Removes the parts of uploads that were begun so long ago and never ended.
    pub abort_uploads: Option<i32>,
}

/// The bucket's rules by their ids.
pub(super) async fn rules(cx: &Context, bucket: &str) -> Result<BTreeMap<String, Rule>> {
    let answer = cx.s3.get_bucket_lifecycle_configuration().bucket(bucket).send().await.map_err(Error::from);
    let answer = unless_unset(answer, "NoSuchLifecycleConfiguration")?;
    let rules = answer.iter().flat_map(|answer| answer.rules()).map(|rule| {
        let found = Rule {
            prefix: rule.filter().and_then(|filter| filter.prefix()).unwrap_or_default().to_owned(),
            expire: rule.expiration().and_then(|expiration| expiration.days()),
            expire_noncurrent: rule.noncurrent_version_expiration().and_then(|expiration| expiration.noncurrent_days()),
            abort_uploads: rule.abort_incomplete_multipart_upload().and_then(|abort| abort.days_after_initiation()),
        };
        // A rule that is switched off is none.
        (rule.status() == &ExpirationStatus::Enabled).then(|| (rule.id().unwrap_or_default().to_owned(), found))
    });
    Ok(rules.flatten().collect())
}

/// Sets these rules in place of all that there are.
pub(super) async fn put(cx: &Context, bucket: &str, rules: &BTreeMap<String, Rule>) -> Result<()> {
    if rules.is_empty() {
        // S3 refuses an empty configuration.
        cx.s3.delete_bucket_lifecycle().bucket(bucket).send().await?;
        return Ok(());
    }
    let rules = rules.iter().map(|(id, rule)| built(id, rule)).collect::<Result<Vec<_>>>()?;
    let configuration = BucketLifecycleConfiguration::builder().set_rules(Some(rules)).build();
    let configuration = configuration.map_err(|error| unbuilt(&error))?;
    let call = cx.s3.put_bucket_lifecycle_configuration().bucket(bucket);
    call.lifecycle_configuration(configuration).send().await?;
    Ok(())
}

fn built(id: &str, rule: &Rule) -> Result<LifecycleRule> {
    let expiration = LifecycleExpiration::builder();
    // S3 takes an age or the removal of lone delete markers, not both.
    let expiration = match (rule.expire, rule.expire_noncurrent) {
        (Some(days), _) => Some(expiration.days(days).build()),
        (None, Some(_)) => Some(expiration.expired_object_delete_marker(true).build()),
        (None, None) => None,
    };
    let noncurrent = |days| NoncurrentVersionExpiration::builder().noncurrent_days(days).build();
    let abort = |days| AbortIncompleteMultipartUpload::builder().days_after_initiation(days).build();
    LifecycleRule::builder()
        .id(id)
        .status(ExpirationStatus::Enabled)
        .filter(LifecycleRuleFilter::builder().prefix(&rule.prefix).build())
        .set_expiration(expiration)
        .set_noncurrent_version_expiration(rule.expire_noncurrent.map(noncurrent))
        .set_abort_incomplete_multipart_upload(rule.abort_uploads.map(abort))
        .build()
        .map_err(|error| unbuilt(&error))
}
