//! The client of a drill, against sites that don't make it easy.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use http_body_util::BodyExt;
use hyper::{Response, StatusCode};
use serde_json::json;
use ticketctl::drill::probe::Probe;

use super::backend::{Backend, Body, whole};

fn answer(status: u16, body: impl Into<bytes::Bytes>) -> Response<Body> {
    let mut answer = Response::new(whole(body));
    *answer.status_mut() = StatusCode::from_u16(status).expect("a status");
    answer
}

/// A site with accounts and a wallet. Its first sign-ups are answered with these statuses; what a session is worth ends after
/// five charges; charges beyond `full` are acknowledged and forgotten.
async fn site(first: &'static [u16], full: usize) -> Backend {
    let (asked, coins, charges) =
        (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    Backend::answering("site", move |request| {
        let (asked, coins, charges) = (asked.clone(), coins.clone(), charges.clone());
        async move {
            let path = request.uri().path().to_owned();
            let token = request.headers().get("authorization").map(|token| token.to_str().expect("text").to_owned());
            let body = request.into_body().collect().await.expect("a body").to_bytes();
            let session = |charges: usize| format!("Bearer {}", charges / 5);
            match path.as_str() {
                "/api/events" => answer(200, "[]"),
                "/api/auth/signup" => {
                    let status = first.get(asked.fetch_add(1, Ordering::SeqCst)).copied().unwrap_or(201);
                    let mut answer = answer(status, body);
                    answer.headers_mut().insert("retry-after", "1".parse().expect("a value"));
                    answer
                }
                "/api/auth/login" => {
                    let token = (charges.load(Ordering::SeqCst) / 5).to_string();
                    answer(200, json!({"accessToken": token, "user": {"userId": "U1"}}).to_string())
                }
                "/api/wallets/U1/charge" if token == Some(session(charges.load(Ordering::SeqCst))) => {
                    charges.fetch_add(1, Ordering::SeqCst);
                    if coins.load(Ordering::SeqCst) < full {
                        coins.fetch_add(1, Ordering::SeqCst);
                    }
                    answer(200, "{}")
                }
                "/api/wallets/U1" if token == Some(session(charges.load(Ordering::SeqCst))) => {
                    answer(200, json!({"balance": coins.load(Ordering::SeqCst)}).to_string())
                }
                "/api/wallets/U1" | "/api/wallets/U1/charge" => answer(401, "{}"),
                _ => answer(404, "{}"),
            }
        }
    })
    .await
}

/// Watches a site until it has been asked so often.
async fn watch(site: &Backend, requests: usize) -> ticketctl::drill::Seen {
    let probe = Probe::start(&format!("http://{}", site.address)).await.expect("a site that is well");
    while site.asked() < requests {
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    probe.end().await
}

#[tokio::test]
async fn a_site_may_put_a_new_account_off() {
    let site = site(&[429, 503, 503], usize::MAX).await;
    let seen = watch(&site, 60).await;
    assert_eq!((seen.lost_writes, seen.unmeasured.clone()), (Some(0), None), "{seen:?}");
    let writes = seen.writes.clone().expect("writes");
    assert!(seen.acknowledged_writes > 5 && writes.errors == 0, "sessions end meanwhile: {seen:?}");
}

#[tokio::test]
async fn what_was_acknowledged_and_is_gone_is_counted() {
    let site = site(&[], 3).await;
    let seen = watch(&site, 60).await;
    assert_eq!(seen.lost_writes, Some(seen.acknowledged_writes - 3), "{seen:?}");
}

#[tokio::test]
async fn a_site_without_accounts_says_why_nothing_was_measured() {
    let site = site(&[404], 0).await;
    let seen = watch(&site, 20).await;
    assert_eq!((seen.lost_writes, seen.acknowledged_writes), (None, 0));
    assert_eq!(seen.unmeasured.as_deref(), Some("/api/auth/signup answers 404"));
    assert!(seen.writes.is_none() && seen.reads.errors == 0, "{seen:?}");
}

#[tokio::test]
async fn a_site_that_takes_no_writes_is_down_though_it_can_be_read() {
    let forbidden = Arc::new(AtomicUsize::new(0));
    let site = Backend::answering("site", move |request| {
        let forbidden = forbidden.clone();
        async move {
            match request.uri().path() {
                "/api/auth/signup" => answer(201, "{}"),
                "/api/auth/login" => answer(200, json!({"accessToken": "1", "user": {"userId": "U1"}}).to_string()),
                "/api/wallets/U1/charge" if forbidden.fetch_add(1, Ordering::SeqCst) > 0 => answer(503, "{}"),
                "/api/wallets/U1" => answer(200, json!({"balance": 1}).to_string()),
                _ => answer(200, "{}"),
            }
        }
    })
    .await;
    let seen = watch(&site, 60).await;
    let writes = seen.writes.clone().expect("writes");
    assert!(writes.errors > 1 && writes.errors == writes.requests, "{seen:?}");
    assert!(seen.reads.errors == 0 && writes.downtime_seconds > 0.1 && seen.lost_writes == Some(0), "{seen:?}");
}
