use ticketctl::{
    aws::Context,
    resource::{Secret, secret::SecretSpec},
};

use super::lifecycle::*;
use crate::support::Endpoint;

fn wish(recovery_days: i64) -> SecretSpec {
    SecretSpec {
        name: "/ticketctl/shop-test/jwt".into(),
        description: "Key that signs the tokens of the site's users".into(),
        recovery_days,
    }
}

async fn value(cx: &Context, id: &str) -> String {
    let answer = cx.secrets.get_secret_value().secret_id(id).send().await.expect("the secret can be read");
    answer.secret_string().expect("a text").to_owned()
}

#[tokio::test]
async fn secrets() {
    let moto = Endpoint::start().await;
    let cx = moto.context("shop-test").await;
    let changes = vec![SecretSpec { description: "Signing key".into(), ..wish(0) }];
    lifecycle::<Secret>(&cx, "secret-jwt", wish(0), changes).await;

    // Deleted at once, the name is free, and the next value is another one.
    let first = create::<Secret>(&cx, "secret-jwt", wish(0)).await;
    let old = value(&cx, &first.id).await;
    assert!(old.len() == 64 && old.bytes().all(|byte| byte.is_ascii_alphanumeric()), "not what Redis' AUTH takes");
    delete::<Secret>(&cx, "secret-jwt").await;
    let second = create::<Secret>(&cx, "secret-jwt", wish(0)).await;
    assert_ne!(value(&cx, &second.id).await, old);
    delete::<Secret>(&cx, "secret-jwt").await;
}

#[tokio::test]
async fn a_protected_secret_comes_back_with_its_value() {
    let moto = Endpoint::start().await;
    let cx = moto.context("shop-test").await;
    let first = create::<Secret>(&cx, "secret-jwt", wish(7)).await;
    let old = value(&cx, &first.id).await;
    delete::<Secret>(&cx, "secret-jwt").await;
    let again = create::<Secret>(&cx, "secret-jwt", wish(7)).await;
    assert_eq!(value(&cx, &again.id).await, old);
}

#[tokio::test]
async fn another_stacks_secret_is_not_found() {
    let moto = Endpoint::start().await;
    let cx = moto.context("shop-test").await;
    create::<Secret>(&cx, "secret-jwt", wish(0)).await;
    // Secrets Manager's filters match by prefix.
    assert!(all::<Secret>(&moto.context("shop").await).await.is_empty());
    delete::<Secret>(&cx, "secret-jwt").await;
}
