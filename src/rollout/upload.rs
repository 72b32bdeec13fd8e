//! Programs on their way into the control bucket, by content hash: what is there already isn't sent again.

use aws_sdk_s3::{
    primitives::{ByteStream, Length},
    types::{CompletedMultipartUpload, CompletedPart},
};
use futures::{StreamExt, TryStreamExt, stream};
use std::path::Path;

use super::artifact::Program;
use crate::{
    aws::{Context, Error, Result},
    blueprint::Artifact,
};

/// What is larger goes in parts, so that a bad line costs a part and not the whole.
const PART: u64 = 8 << 20;
/// Parts on their way at once.
const PARTS_AT_ONCE: usize = 4;

/// Whether the control bucket has an artifact.
///
/// # Errors
/// Calls that failed.
pub async fn is_there(cx: &Context, artifact: &Artifact) -> Result<bool> {
    match cx.s3.head_object().bucket(&artifact.bucket).key(&artifact.key).send().await.map_err(Error::from) {
        Ok(_) => Ok(true),
        Err(error) if error.is_not_found() || error.status == Some(404) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Sends a program to where `artifact` says.
///
/// # Errors
/// Calls that failed, and a file that changed meanwhile.
pub async fn upload(cx: &Context, program: &Program, artifact: &Artifact) -> Result<()> {
    if program.size <= PART {
        let body = ByteStream::from_path(&program.path).await.map_err(|error| unreadable(&program.path, &error))?;
        cx.s3.put_object().bucket(&artifact.bucket).key(&artifact.key).body(body).send().await?;
        return Ok(());
    }
    let begun = cx.s3.create_multipart_upload().bucket(&artifact.bucket).key(&artifact.key).send().await?;
    let id = begun.upload_id().ok_or_else(|| Error::unexpected("s3", "CreateMultipartUpload", "no upload id"))?;
    let sent = parts(cx, program, artifact, id).await;
    if sent.is_err() {
        // Parts that belong to nothing would be billed forever; that the file couldn't be sent matters more than this.
        let abort = cx.s3.abort_multipart_upload().bucket(&artifact.bucket).key(&artifact.key).upload_id(id);
        if let Err(error) = abort.send().await.map_err(Error::from) {
            tracing::warn!("the unfinished upload of {} couldn't be cleared away: {error}", program.path.display());
        }
    }
    let done = CompletedMultipartUpload::builder().set_parts(Some(sent?)).build();
    let complete = cx.s3.complete_multipart_upload().bucket(&artifact.bucket).key(&artifact.key).upload_id(id);
    complete.multipart_upload(done).send().await?;
    Ok(())
}

async fn parts(cx: &Context, program: &Program, artifact: &Artifact, id: &str) -> Result<Vec<CompletedPart>> {
    let count = i32::try_from(program.size.div_ceil(PART)).unwrap_or(i32::MAX);
    let one = |number: i32| async move {
        let offset = u64::from(number.unsigned_abs() - 1) * PART;
        let length = Length::Exact(PART.min(program.size - offset));
        let read = ByteStream::read_from().path(&program.path).offset(offset).length(length).build().await;
        let body = read.map_err(|error| unreadable(&program.path, &error))?;
        let call = cx.s3.upload_part().bucket(&artifact.bucket).key(&artifact.key).upload_id(id).part_number(number);
        let answer = call.body(body).send().await?;
        Result::Ok(CompletedPart::builder().part_number(number).set_e_tag(answer.e_tag).build())
    };
    stream::iter((1..=count).map(one)).buffered(PARTS_AT_ONCE).try_collect().await
}

fn unreadable(path: &Path, error: &dyn std::fmt::Display) -> Error {
    Error::unexpected("s3", "PutObject", format!("{} can't be read: {error}", path.display()))
}
