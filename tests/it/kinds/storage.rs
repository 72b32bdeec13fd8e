use aws_sdk_s3::primitives::ByteStream;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use ticketctl::{
    aws::{Class, Context},
    resource::{
        Bucket,
        bucket::{BucketSpec, Rule},
        by_name,
    },
};

use super::lifecycle::*;
use crate::support::Endpoint;

async fn wish(cx: &Context) -> BucketSpec {
    let name = Bucket::name_in(&cx.stack, cx.account().await.expect("an account"), &cx.region);
    BucketSpec {
        versioning: true,
        block_public_access: true,
        policy: policy(&name, "Deny"),
        lifecycle: BTreeMap::from([("leftovers".to_owned(), leftovers(30))]),
        empty_on_destroy: true,
        name,
    }
}

fn policy(name: &str, effect: &str) -> Value {
    json!({"Version": "2012-10-17", "Statement": [{
        "Sid": "TlsOnly", "Effect": effect, "Principal": "*", "Action": "s3:*",
        "Resource": [format!("arn:aws:s3:::{name}"), format!("arn:aws:s3:::{name}/*")],
        "Condition": {"Bool": {"aws:SecureTransport": "false"}},
    }]})
}

fn leftovers(days: i32) -> Rule {
    Rule { prefix: String::new(), expire: None, expire_noncurrent: Some(days), abort_uploads: Some(7) }
}

#[tokio::test]
async fn a_bucket() {
    let moto = Endpoint::start().await;
    let cx = moto.context("shop-test").await;
    let name = wish(&cx).await.name;
    let logs = Rule { prefix: "logs/".into(), expire: Some(14), expire_noncurrent: None, abort_uploads: None };
    let both = BTreeMap::from([("leftovers".to_owned(), leftovers(3)), ("logs".to_owned(), logs)]);
    let changes = vec![
        BucketSpec { lifecycle: both, ..wish(&cx).await },
        BucketSpec { lifecycle: BTreeMap::new(), ..wish(&cx).await },
        BucketSpec { versioning: false, ..wish(&cx).await },
        BucketSpec { policy: policy(&name, "Allow"), block_public_access: false, ..wish(&cx).await },
        wish(&cx).await,
    ];
    lifecycle::<Bucket>(&cx, Bucket::ID, wish(&cx).await, changes).await;
}

#[tokio::test]
async fn a_bucket_is_emptied_only_if_the_stack_allows() {
    let moto = Endpoint::start().await;
    let cx = moto.context("shop-test").await;
    let kept = BucketSpec { empty_on_destroy: false, ..wish(&cx).await };
    let name = kept.name.clone();
    create::<Bucket>(&cx, Bucket::ID, kept).await;
    // The policy asks for TLS, which this endpoint doesn't have.
    cx.s3.delete_bucket_policy().bucket(&name).send().await.expect("no policy");
    for text in ["one", "two"] {
        let body = ByteStream::from_static(text.as_bytes());
        cx.s3.put_object().bucket(&name).key("file").body(body).send().await.expect("an object");
    }
    cx.s3.delete_object().bucket(&name).key("file").send().await.expect("a delete marker");
    cx.s3.create_multipart_upload().bucket(&name).key("upload").send().await.expect("an upload");

    let tls_only = policy(&name, "Deny").to_string();
    cx.s3.put_bucket_policy().bucket(&name).policy(tls_only).send().await.expect("a policy");

    let kind = by_name("bucket").expect("registered");
    let found = only::<Bucket>(&cx, Bucket::ID).await;
    let refusal = kind.delete(&cx, found.clone()).await.expect_err("a bucket with files was deleted");
    assert_eq!(refusal.class(), Class::Invalid, "{refusal} would be tried again and again");
    assert!(refusal.to_string().contains("storage.empty_on_destroy"), "{refusal}");

    let mut allowed = found;
    allowed.spec["empty_on_destroy"] = json!(true);
    kind.delete(&cx, allowed).await.expect("an emptied bucket can be deleted");
    assert!(all::<Bucket>(&cx).await.is_empty());
}

#[tokio::test]
async fn a_half_made_bucket_is_taken_over_and_a_foreign_one_is_not() {
    let moto = Endpoint::start().await;
    let cx = moto.context("shop-test").await;
    let name = wish(&cx).await.name;
    let make = || async {
        let place = aws_sdk_s3::types::CreateBucketConfiguration::builder();
        let place = place.location_constraint(cx.region.as_str().into()).build();
        cx.s3.create_bucket().bucket(&name).create_bucket_configuration(place).send().await.expect("a bucket")
    };
    make().await;
    create::<Bucket>(&cx, Bucket::ID, wish(&cx).await).await;
    delete::<Bucket>(&cx, Bucket::ID).await;

    make().await;
    let tag = aws_sdk_s3::types::Tag::builder().key("Team").value("other").build().expect("a tag");
    let tags = aws_sdk_s3::types::Tagging::builder().tag_set(tag).build().expect("tags");
    cx.s3.put_bucket_tagging().bucket(&name).tagging(tags).send().await.expect("tagged");
    assert!(all::<Bucket>(&cx).await.is_empty(), "a bucket without the stack's tags counts as the stack's");
    let refusal = try_create::<Bucket>(&cx, Bucket::ID, wish(&cx).await).await.expect_err("a foreign bucket was taken");
    assert_eq!(refusal.class(), Class::Exists);
}
