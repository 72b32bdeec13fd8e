//! Emptying a bucket, of all versions and of what uploads have left behind.

use aws_sdk_s3::types::{Delete, ObjectIdentifier};

use super::unbuilt;
use crate::aws::{Context, Error, Result};

/// Deletes every version, every delete marker and every unfinished upload.
pub(super) async fn delete(cx: &Context, bucket: &str) -> Result<()> {
    // S3 lists at most 1000 versions at once, and deletes as many. What was listed is gone by the time the next list is
    // asked for, so that each list is the first.
    loop {
        let page = cx.s3.list_object_versions().bucket(bucket).send().await?;
        let versions = page.versions().iter().map(|version| (version.key(), version.version_id()));
        let markers = page.delete_markers().iter().map(|marker| (marker.key(), marker.version_id()));
        let mut objects = Vec::new();
        for (key, version) in versions.chain(markers) {
            let object = ObjectIdentifier::builder().key(key.unwrap_or_default());
            let object = object.set_version_id(version.map(str::to_owned)).build();
            objects.push(object.map_err(|error| unbuilt(&error))?);
        }
        if objects.is_empty() {
            break;
        }
        let batch = Delete::builder().set_objects(Some(objects)).quiet(true).build();
        let batch = batch.map_err(|error| unbuilt(&error))?;
        let answer = cx.s3.delete_objects().bucket(bucket).delete(batch).send().await?;
        if let Some(error) = answer.errors().first() {
            return Err(Error {
                code: error.code().unwrap_or_default().to_owned(),
                ..Error::unexpected(
                    "s3",
                    "DeleteObjects",
                    format!("{}: {}", error.key().unwrap_or_default(), error.message().unwrap_or_default()),
                )
            });
        }
    }
    loop {
        let page = cx.s3.list_multipart_uploads().bucket(bucket).send().await?;
        if page.uploads().is_empty() {
            return Ok(());
        }
        for upload in page.uploads() {
            let call = cx.s3.abort_multipart_upload().bucket(bucket);
            let call = call.set_key(upload.key().map(str::to_owned));
            match call.set_upload_id(upload.upload_id().map(str::to_owned)).send().await.map_err(Error::from) {
                // It has ended meanwhile.
                Err(error) if !error.is(&["NoSuchUpload"]) => return Err(error),
                _ => {}
            }
        }
    }
}
