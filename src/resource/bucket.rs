//! The stack's S3 bucket: closed to the public, TLS only, encrypted by S3 itself (SSE-S3, which every bucket has since 2023
//! and which load balancers need for their access logs).

use aws_sdk_s3::types::{
    BucketLocationConstraint, BucketVersioningStatus, CreateBucketConfiguration,
    PublicAccessBlockConfiguration, Tag, Tagging, VersioningConfiguration,
};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;

use super::{Change, Created, Desired, Effect, Found, Handle, Kind, Outputs, Scan, Select, Status, Traits};
use crate::aws::{Context, Error, Result, Tags, tags};

mod contents;
mod lifecycle;

pub use lifecycle::Rule;

pub struct Bucket;

#[derive(Serialize, Deserialize)]
pub struct BucketSpec {
    /// As [`Bucket::name_in`] makes it.
    pub name: String,
    /// Whether overwritten and deleted objects are kept.
    pub versioning: bool,
    /// Whether all four kinds of public access are blocked.
    pub block_public_access: bool,
    /// The bucket policy.
    pub policy: Value,
    /// What is removed by itself, by the rule's id.
    pub lifecycle: BTreeMap<String, Rule>,
    /// Whether deleting the bucket deletes its objects (see [`tags::EMPTY_ON_DESTROY`]).
    pub empty_on_destroy: bool,
}

impl Bucket {
    /// The logical id: a stack has one bucket.
    pub const ID: &'static str = "bucket";

    /// The bucket's name, unique in the world because of the account and the region; S3 allows 63 characters.
    pub fn name_in(stack: &str, account: &str, region: &str) -> String {
        crate::stack::name::fit(format!("{stack}-{account}-{region}"), 63)
    }
}

impl Handle<Bucket> {
    pub fn arn(&self) -> String {
        self.created_output("arn")
    }
}

impl Kind for Bucket {
    const NAME: &'static str = "bucket";
    const TRAITS: Traits = Traits::INSTANT.holding_data();
    type Spec = BucketSpec;

    fn effect(path: &str) -> Effect {
        if path == "name" { Effect::Replace } else { Effect::InPlace }
    }

    async fn find(scan: &Scan<'_>, select: &Select<'_>) -> Result<Vec<Found<BucketSpec>>> {
        let name = Bucket::name_in(&scan.stack, scan.account().await?, &scan.region);
        let sparing = scan.is_sparing() && matches!(select, Select::Stack);
        let tags = async { if sparing { Ok(None) } else { tags_of(scan, &name).await.map(Some) } };
        let parts = tokio::try_join!(
            tags,
            versioning(scan, &name),
            public_access_is_blocked(scan, &name),
            policy(scan, &name),
            lifecycle::rules(scan, &name),
        );
        let (tags, versioning, block_public_access, policy, lifecycle) = match parts {
            Ok(parts) => parts,
            Err(error) if error.is(&["NoSuchBucket"]) => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        let spec = |empty_on_destroy| BucketSpec {
            name: name.clone(),
            versioning,
            block_public_access,
            policy: policy.clone(),
            lifecycle,
            empty_on_destroy,
        };
        let outputs = Outputs::from([("arn".to_owned(), arn(scan, &name))]);
        let mut tags = match (tags, told_by(&scan.stack, &policy)) {
            (Some(tags), _) => tags,
            (None, Some(empty_on_destroy)) => {
                let (logical_id, spec) = (Bucket::ID.to_owned(), spec(empty_on_destroy));
                return Ok(vec![Found { logical_id, id: name.clone(), spec, outputs, tags: None, status: Status::Ready }]);
            }
            (None, None) => tags_of(scan, &name).await?,
        };
        if tags.get(tags::STACK) != Some(&scan.stack) {
            return Ok(Vec::new());
        }
        let empty_on_destroy = tags.remove(tags::EMPTY_ON_DESTROY).as_deref() == Some("true");
        Ok(vec![Found {
            logical_id: tags.get(tags::ID).cloned().unwrap_or_default(),
            id: name.clone(),
            outputs,
            spec: spec(empty_on_destroy),
            tags: Some(tags),
            status: Status::Ready,
        }])
    }

    async fn create(cx: &Context, desired: &Desired<BucketSpec>) -> Result<Created> {
        let spec = &desired.spec;
        let mut configuration = CreateBucketConfiguration::builder().set_tags(Some(list(&all_tags(desired))?));
        // The first region has no name here: S3 refuses it.
        if cx.region != "us-east-1" {
            configuration = configuration.location_constraint(BucketLocationConstraint::from(cx.region.as_str()));
        }
        let call = cx.s3.create_bucket().bucket(&spec.name).create_bucket_configuration(configuration.build());
        match call.send().await.map_err(Error::from) {
            Ok(_) => {}
            // Ours already: by a run that didn't come to its end, if nobody else's tags are on it.
            Err(error) if error.is(&["BucketAlreadyOwnedByYou"]) => {
                let tags = tags_of(cx, &spec.name).await?;
                if !tags.is_empty() && tags.get(tags::STACK) != Some(&cx.stack) {
                    return Err(error);
                }
            }
            Err(error) => return Err(error),
        }
        // Again, for endpoints that don't take tags with the create call yet.
        put_tags(cx, &spec.name, &all_tags(desired)).await?;
        put_public_access(cx, spec).await?;
        put_policy(cx, spec).await?;
        if spec.versioning {
            put_versioning(cx, spec).await?;
        }
        lifecycle::put(cx, &spec.name, &spec.lifecycle).await?;
        Ok(Created::new(&spec.name).with("arn", arn(cx, &spec.name)))
    }

    async fn update(cx: &Context, change: &Change<BucketSpec>) -> Result<()> {
        let spec = &change.desired.spec;
        if change.touches(&["block_public_access"]) {
            put_public_access(cx, spec).await?;
        }
        if change.touches(&["policy"]) {
            put_policy(cx, spec).await?;
        }
        if change.touches(&["versioning"]) {
            put_versioning(cx, spec).await?;
        }
        if change.touches(&["lifecycle"]) {
            lifecycle::put(cx, &spec.name, &spec.lifecycle).await?;
        }
        if change.touches(&["tags", "empty_on_destroy"]) {
            // The call replaces all tags: those that others have set stay.
            let mut tags = change.found.tags.clone().unwrap_or_default();
            tags.retain(|key, _| !key.starts_with("aws:"));
            tags.extend(all_tags(&change.desired));
            put_tags(cx, &spec.name, &tags).await?;
        }
        Ok(())
    }

    async fn delete(cx: &Context, found: &Found<BucketSpec>) -> Result<()> {
        if found.spec.empty_on_destroy {
            // Without its policy no load balancer writes new logs in the meantime, and none of its denials is in the way.
            cx.s3.delete_bucket_policy().bucket(&found.id).send().await?;
            contents::delete(cx, &found.id).await?;
        }
        match cx.s3.delete_bucket().bucket(&found.id).send().await.map_err(Error::from) {
            Err(error) if error.is(&["BucketNotEmpty"]) && !found.spec.empty_on_destroy => Err(Error {
                // Not a code that is worth another try.
                code: "InvalidBucketState".into(),
                message: format!(
                    "{} still holds objects, and the stack doesn't allow to empty it; empty it yourself, or set \
                     `storage.empty_on_destroy: true` and apply before you destroy",
                    found.id
                ),
                ..error
            }),
            result => result.map(drop),
        }
    }
}

/// The `Id` of a stack's bucket policy: it says whose the bucket is and whether destroying the stack empties it, as the tags do,
/// to whoever reads the policy anyway.
pub fn policy_id(stack: &str, empty_on_destroy: bool) -> String {
    format!("ticketctl/{stack}/{}", if empty_on_destroy { "empty-on-destroy" } else { "keep" })
}

/// Whether the bucket is emptied on destroy, if its policy says that it is the stack's.
fn told_by(stack: &str, policy: &Value) -> Option<bool> {
    let id = policy["Id"].as_str()?;
    [true, false].into_iter().find(|empty_on_destroy| id == policy_id(stack, *empty_on_destroy))
}

/// Nothing where S3 says by an error that nothing is set.
fn unless_unset<T>(result: Result<T>, code: &str) -> Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.is(&[code]) => Ok(None),
        Err(error) => Err(error),
    }
}

async fn tags_of(cx: &Context, name: &str) -> Result<Tags> {
    let answer = cx.s3.get_bucket_tagging().bucket(name).send().await.map_err(Error::from);
    let answer = unless_unset(answer, "NoSuchTagSet")?;
    let pairs = answer.iter().flat_map(|answer| answer.tag_set());
    Ok(pairs.map(|tag| (tag.key().to_owned(), tag.value().to_owned())).collect())
}

async fn versioning(cx: &Context, name: &str) -> Result<bool> {
    let answer = cx.s3.get_bucket_versioning().bucket(name).send().await?;
    Ok(answer.status() == Some(&BucketVersioningStatus::Enabled))
}

async fn public_access_is_blocked(cx: &Context, name: &str) -> Result<bool> {
    let answer = cx.s3.get_public_access_block().bucket(name).send().await.map_err(Error::from);
    let answer = unless_unset(answer, "NoSuchPublicAccessBlockConfiguration")?;
    let blocks = answer.as_ref().and_then(|answer| answer.public_access_block_configuration());
    Ok(blocks.is_some_and(|blocks| {
        [
            blocks.block_public_acls(),
            blocks.ignore_public_acls(),
            blocks.block_public_policy(),
            blocks.restrict_public_buckets(),
        ]
        .iter()
        .all(|block| *block == Some(true))
    }))
}

async fn policy(cx: &Context, name: &str) -> Result<Value> {
    let answer = cx.s3.get_bucket_policy().bucket(name).send().await.map_err(Error::from);
    let answer = unless_unset(answer, "NoSuchBucketPolicy")?;
    let text = answer.as_ref().and_then(|answer| answer.policy()).unwrap_or("null");
    serde_json::from_str(text)
        .map_err(|error| Error::unexpected("s3", "GetBucketPolicy", format!("the policy of {name} isn't JSON: {error}")))
}

async fn put_tags(cx: &Context, name: &str, tags: &Tags) -> Result<()> {
    let tagging = Tagging::builder().set_tag_set(Some(list(tags)?)).build().map_err(|error| unbuilt(&error))?;
    cx.s3.put_bucket_tagging().bucket(name).tagging(tagging).send().await?;
    Ok(())
}

async fn put_public_access(cx: &Context, spec: &BucketSpec) -> Result<()> {
    let block = spec.block_public_access;
    let blocks = PublicAccessBlockConfiguration::builder()
        .block_public_acls(block)
        .ignore_public_acls(block)
        .block_public_policy(block)
        .restrict_public_buckets(block)
        .build();
    cx.s3.put_public_access_block().bucket(&spec.name).public_access_block_configuration(blocks).send().await?;
    Ok(())
}

async fn put_policy(cx: &Context, spec: &BucketSpec) -> Result<()> {
    cx.s3.put_bucket_policy().bucket(&spec.name).policy(spec.policy.to_string()).send().await?;
    Ok(())
}

async fn put_versioning(cx: &Context, spec: &BucketSpec) -> Result<()> {
    let status = if spec.versioning { BucketVersioningStatus::Enabled } else { BucketVersioningStatus::Suspended };
    let versioning = VersioningConfiguration::builder().status(status).build();
    cx.s3.put_bucket_versioning().bucket(&spec.name).versioning_configuration(versioning).send().await?;
    Ok(())
}

fn arn(cx: &Context, name: &str) -> String {
    format!("arn:{}:s3:::{name}", crate::aws::partition(&cx.region))
}

fn all_tags(desired: &Desired<BucketSpec>) -> Tags {
    let mut tags = desired.tags.clone();
    tags.insert(tags::EMPTY_ON_DESTROY.to_owned(), desired.spec.empty_on_destroy.to_string());
    tags
}

fn list(tags: &Tags) -> Result<Vec<Tag>> {
    let tags = tags.iter().map(|(key, value)| Tag::builder().key(key).value(value).build());
    tags.collect::<std::result::Result<_, _>>().map_err(|error| unbuilt(&error))
}

/// The SDK wouldn't build a request that lacks something; all that it needs is in the spec's types.
fn unbuilt(error: &aws_sdk_s3::error::BuildError) -> Error {
    Error { code: "InvalidRequest".into(), ..Error::unexpected("s3", "build", error.to_string()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_policy_tells_whose_the_bucket_is_or_nothing() {
        let policy = |stack, empty| json!({"Id": policy_id(stack, empty), "Statement": []});
        assert_eq!(told_by("shop-dev", &policy("shop-dev", true)), Some(true));
        assert_eq!(told_by("shop-dev", &policy("shop-dev", false)), Some(false));
        assert_eq!(told_by("shop-dev", &policy("shop-dev-2", true)), None);
        assert_eq!(told_by("shop-dev", &json!({"Statement": []})), None);
        assert_eq!(told_by("shop-dev", &Value::Null), None);
    }
}
