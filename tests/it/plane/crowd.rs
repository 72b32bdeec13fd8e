//! Two stacks beside each other on one local cloud, with the real application: a crowd comes to one of them.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use hyper::Request;
use serde_json::json;
use tokio::task::JoinSet;

use super::backend::{ask, whole};
use super::developer::{Developer, health};
use super::visitors::Visitors;

/// As small as a stack can be.
const SMALL: &str = "database: {readers: 0}\ncache: {replicas: 0}";
/// One instance, and a second one while the first is busy: hashing passwords takes all of a processor that it can get.
const GROWING: &str = "instances: {min: 1, desired: 1, max: 2}, \
                       scaling: {cpu: null, steps: {above: 15, add: 1, below: 10, remove: 1}}";
const FIXED: &str = "instances: {min: 1, desired: 1, max: 1}";

/// Signs accounts up, four at a time, until it is dropped.
fn crowd(url: &str) -> (JoinSet<()>, Arc<AtomicUsize>) {
    let (mut all, welcome) = (JoinSet::new(), Arc::new(AtomicUsize::new(0)));
    for _ in 0..4 {
        let (url, welcome) = (format!("{url}/api/auth/signup"), welcome.clone());
        all.spawn(async move {
            loop {
                let email = format!("{:032x}@example.com", rand::random::<u128>());
                let body = json!({"email": email, "password": "a good password", "name": "Visitor"}).to_string();
                let request =
                    Request::post(&url).header("content-type", "application/json").body(whole(Bytes::from(body)));
                let (status, _, body) = ask(request.expect("a request")).await;
                assert_eq!(status, 201, "{body}");
                welcome.fetch_add(1, Ordering::SeqCst);
            }
        });
    }
    (all, welcome)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crowd_makes_one_of_two_stacks_grow_and_shrink() {
    // A minute takes two seconds.
    let developer = Developer::new(&[("TICKETCTL_LOCAL_TIME_SCALE", "30")]);
    let (busy, calm) = (developer.stack("busy", GROWING, SMALL), developer.stack("calm", FIXED, SMALL));
    developer.on(&busy, &["apply", "--yes"]).await.exits(0);
    developer.on(&calm, &["apply", "--yes"]).await.exits(0);
    let (busy_url, calm_url) = (developer.url(&busy).await, developer.url(&calm).await);
    assert_ne!(busy_url, calm_url);
    developer.until_serving("ticketing-busy", 1).await;
    developer.until_serving("ticketing-calm", 1).await;
    assert_eq!(health(&busy_url).await["status"], "UP");

    let visitors = Visitors::of(&calm_url);
    let (mut crowd, welcome) = crowd(&busy_url);
    developer.until_serving("ticketing-busy", 2).await;
    if let Some(failed) = crowd.try_join_next() {
        failed.expect("everybody is let in");
    }
    crowd.shutdown().await;
    assert!(welcome.load(Ordering::SeqCst) > 0);
    developer.until_serving("ticketing-busy", 1).await;
    assert_eq!(health(&busy_url).await["status"], "UP");

    // One goes, and the other one doesn't notice.
    developer.on(&busy, &["destroy", "--yes"]).await.exits(0);
    developer
        .until("the other one's are left", || {
            developer.entries("").iter().all(|entry| entry.name.contains("calm") || entry.role.contains("calm"))
        })
        .await;
    assert_eq!(health(&calm_url).await["status"], "UP");
    assert!(visitors.all_were_served().await > 100);
    developer.local(&["down"]).await.exits(0);
}
