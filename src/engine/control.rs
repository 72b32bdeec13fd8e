//! The account's control bucket, `ticketctl-<account>-<region>`: locks, records of runs, artifacts.

use aws_sdk_s3::{
    primitives::ByteStream,
    types::{
        BucketLocationConstraint, BucketVersioningStatus, CreateBucketConfiguration, PublicAccessBlockConfiguration,
        Tag, Tagging, VersioningConfiguration,
    },
};

use crate::aws::{Class, Context, Error, Result};

/// The control bucket of an account and region.
pub struct Control<'a> {
    pub cx: &'a Context,
    pub bucket: String,
    /// The account that must own it: anybody can make a bucket of a name that can be guessed.
    owner: String,
}

/// An object's content with the tag that conditional writes compare.
pub struct Object {
    pub body: Vec<u8>,
    pub etag: String,
}

/// What must be true of an object for a write to go through.
pub enum Condition<'a> {
    Absent,
    Unchanged(&'a str),
    None,
}

impl<'a> Control<'a> {
    pub async fn new(cx: &'a Context) -> Result<Control<'a>> {
        let owner = cx.account().await?.to_owned();
        Ok(Control { cx, bucket: format!("ticketctl-{owner}-{}", cx.region), owner })
    }

    /// Makes the bucket if it isn't there, or isn't whole because a run died over it: private, versioned; encrypted as S3
    /// does by itself since 2023.
    pub async fn ensure(&self) -> Result<()> {
        let s3 = &self.cx.s3;
        // Versioning comes last.
        let look = s3.get_bucket_versioning().bucket(&self.bucket).expected_bucket_owner(&self.owner);
        match look.send().await.map_err(Error::from) {
            Ok(answer) if answer.status() == Some(&BucketVersioningStatus::Enabled) => return Ok(()),
            Ok(_) => {}
            Err(error) if error.is_not_found() => self.create().await?,
            Err(error) if error.status == Some(403) => {
                let message = format!("{} Or somebody else's bucket is called {}.", error.message, self.bucket);
                return Err(Error { message, ..error });
            }
            Err(error) => return Err(error),
        }
        let block = PublicAccessBlockConfiguration::builder()
            .block_public_acls(true)
            .block_public_policy(true)
            .ignore_public_acls(true)
            .restrict_public_buckets(true)
            .build();
        s3.put_public_access_block().bucket(&self.bucket).public_access_block_configuration(block).send().await?;
        let tag = Tag::builder().key("ManagedBy").value("ticketctl").build();
        let tagging = Tagging::builder().set_tag_set(tag.ok().map(|tag| vec![tag])).build();
        if let Ok(tagging) = tagging {
            s3.put_bucket_tagging().bucket(&self.bucket).tagging(tagging).send().await?;
        }
        let versioning = VersioningConfiguration::builder().status(BucketVersioningStatus::Enabled).build();
        s3.put_bucket_versioning().bucket(&self.bucket).versioning_configuration(versioning).send().await?;
        Ok(())
    }

    async fn create(&self) -> Result<()> {
        // us-east-1 is the one region that may not be named here.
        let location = (self.cx.region != "us-east-1").then(|| {
            CreateBucketConfiguration::builder()
                .location_constraint(BucketLocationConstraint::from(self.cx.region.as_str()))
                .build()
        });
        let call = self.cx.s3.create_bucket().bucket(&self.bucket).set_create_bucket_configuration(location);
        match call.send().await.map_err(Error::from) {
            Err(error) if error.class() != Class::Exists => Err(error),
            _ => Ok(()),
        }
    }

    /// An object, or none if it or the bucket isn't there.
    pub async fn get(&self, key: &str) -> Result<Option<Object>> {
        let call = self.cx.s3.get_object().bucket(&self.bucket).expected_bucket_owner(&self.owner).key(key);
        let answer = match call.send().await.map_err(Error::from) {
            Ok(answer) => answer,
            Err(error) if error.is_not_found() => return Ok(None),
            Err(error) => return Err(error),
        };
        let etag = answer.e_tag().unwrap_or_default().to_owned();
        let body =
            answer.body.collect().await.map_err(|error| Error::unexpected("s3", "GetObject", error.to_string()))?;
        Ok(Some(Object { body: body.to_vec(), etag }))
    }

    /// Writes an object; the answer is its new tag, or none if the condition doesn't hold.
    pub async fn put(&self, key: &str, body: Vec<u8>, condition: Condition<'_>) -> Result<Option<String>> {
        let request = self.cx.s3.put_object().bucket(&self.bucket).key(key).body(ByteStream::from(body));
        let request = request.expected_bucket_owner(&self.owner);
        let request = match condition {
            Condition::Absent => request.if_none_match("*"),
            Condition::Unchanged(etag) => request.if_match(etag),
            Condition::None => request,
        };
        match request.content_type("application/json").send().await.map_err(Error::from) {
            Ok(answer) => Ok(Some(answer.e_tag().unwrap_or_default().to_owned())),
            // 409 is another writer at the same moment.
            Err(error) if matches!(error.status, Some(409 | 412)) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The newest `count` keys under a prefix, newest first; keys begin with their time.
    pub async fn newest(&self, prefix: &str, count: usize) -> Result<Vec<String>> {
        let pages = self.cx.s3.list_objects_v2().bucket(&self.bucket).prefix(prefix).into_paginator();
        let mut pages = pages.send();
        let mut keys = Vec::new();
        while let Some(page) = pages.next().await {
            match page.map_err(Error::from) {
                Ok(page) => keys.extend(page.contents().iter().filter_map(|object| object.key()).map(str::to_owned)),
                Err(error) if error.is_not_found() => return Ok(Vec::new()),
                Err(error) => return Err(error),
            }
        }
        keys.sort_unstable_by(|a, b| b.cmp(a));
        keys.truncate(count);
        Ok(keys)
    }
}
