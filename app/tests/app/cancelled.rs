//! An event that is cancelled: everybody gets the money back, once, whatever happens to the workers.

use crate::process::service;
use crate::support::{App, User};
use futures::future::join_all;
use serde_json::json;
use std::time::{Duration, Instant};
use ticketing::accounts::Role;

const PRICE: u64 = 100;
const USERS: usize = 20;
const EACH: usize = 30;

async fn balance(app: &App, user: &User) -> u64 {
    let wallet = app.get(&format!("/api/wallets/{}", user.id), Some(user)).await.expect(200);
    wallet["balance"].as_u64().expect("an amount")
}

async fn charge(app: &App, user: &User, amount: u64) {
    app.post(&format!("/api/wallets/{}/charge", user.id), Some(user), json!({"amount": amount})).await.expect(200);
}

const ACTIVE: &str = "SELECT COUNT(*) FROM reservations WHERE event_id = ? AND status IN ('CONFIRMED', 'OFFERED')";
const UNSETTLED: &str = "SELECT COUNT(*) FROM events WHERE id = ? AND settled_at IS NULL";
const UNSENT: &str = "SELECT COUNT(*) FROM outbox_batches WHERE event_id = ?";

async fn until_none(app: &App, sql: &'static str, event: u64) {
    let started = Instant::now();
    while app.count(sql, event).await > 0 {
        assert!(started.elapsed() < Duration::from_secs(90), "{} left: {sql}", app.count(sql, event).await);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everybody_is_refunded_once_though_workers_die() {
    let app = App::with(&["--role", "api", "--user-rate", "0"]).await;
    let admin = app.user(Role::Admin).await;
    let total = (USERS * EACH) as u32;
    let event = app.event(&admin, total, json!({"price": PRICE, "maxPerUser": 1000})).await;
    let users = join_all((0..USERS).map(|_| app.user(Role::User))).await;
    join_all(users.iter().map(|user| charge(&app, user, PRICE * EACH as u64))).await;
    join_all(users.iter().map(|user| {
        let app = &app;
        async move {
            for _ in 0..EACH {
                let order = json!({"eventId": event, "userId": user.id, "quantity": 1});
                app.post("/api/reservations", Some(user), order).await.expect(201);
            }
        }
    }))
    .await;
    assert_eq!((app.check_event(event).await, balance(&app, &users[0]).await), (u64::from(total), 0));
    let late = app.user(Role::User).await;
    app.post("/api/waitlist", Some(&late), json!({"eventId": event, "quantity": 1})).await.expect(201);

    let path = format!("/api/events/{event}");
    app.patch(&path, Some(&users[0]), json!({"cancelled": true})).await.problem(403, "admin_only");
    let view = app.patch(&path, Some(&admin), json!({"cancelled": true})).await.expect(200);
    assert_eq!(view["status"], "CANCELLED");
    // A worker begins, and is killed in the middle; then several at once go on.
    let worker = service(&app, &[], &["--role", "worker"]).await;
    let started = Instant::now();
    while app.count(ACTIVE, event).await == u64::from(total) {
        assert!(started.elapsed() < Duration::from_secs(60), "nothing begins: {}", worker.log());
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    drop(worker);
    let left = app.count(ACTIVE, event).await;
    assert!(left > 0, "it was killed in the middle");
    let _workers = join_all((0..3).map(|_| app.another_with(&["--role", "worker"]))).await;
    until_none(&app, UNSETTLED, event).await;
    until_none(&app, UNSENT, event).await;

    assert_eq!(app.check_event(event).await, 0);
    for user in &users {
        assert_eq!(balance(&app, user).await, PRICE * EACH as u64, "all of it, and not more");
    }
    let refunds = "SELECT COUNT(*) FROM wallet_entries w JOIN reservations r ON r.id = w.reservation_id \
                   WHERE w.kind = 'REFUND' AND r.event_id = ?";
    assert_eq!(app.count(refunds, event).await, u64::from(total));
    let told = "SELECT COUNT(*) FROM notifications WHERE kind = 'event.cancelled' AND event_id = ?";
    assert_eq!(app.count(told, event).await, u64::from(total));
    let list = app.get("/api/notifications", Some(&late)).await.expect(200);
    assert_eq!(list[0]["kind"], "waitlist.closed", "{list}");
    assert_eq!(app.get("/api/waitlist", Some(&late)).await.expect(200)[0]["status"], "EXPIRED");

    // It stays cancelled.
    app.patch(&path, Some(&admin), json!({"cancelled": false})).await.problem(409, "event_cancelled");
    let order = json!({"eventId": event, "userId": "somebody", "quantity": 1});
    app.post("/api/reservations", Some(&admin), order).await.problem(409, "event_cancelled");
    app.post("/api/waitlist", Some(&late), json!({"eventId": event, "quantity": 1}))
        .await
        .problem(409, "event_cancelled");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn seats_offers_and_what_was_paid_on_site() {
    let app = App::start().await;
    let (admin, kim, lee) = (app.user(Role::Admin).await, app.user(Role::User).await, app.user(Role::User).await);
    let event = app.seated_event(&admin, 1, 2, json!({"price": PRICE})).await;
    charge(&app, &kim, PRICE).await;
    let body = json!({"eventId": event, "userId": kim.id, "seatIds": ["A-1"]});
    app.post("/api/reservations", Some(&kim), body).await.expect(201);
    let body = json!({"eventId": event, "userId": "box-office", "seatIds": ["A-2"]});
    let sold = app.post("/api/reservations", Some(&admin), body).await.expect(201);
    // What comes back is offered to Lee, who has not paid yet.
    app.post("/api/waitlist", Some(&lee), json!({"eventId": event, "quantity": 1})).await.expect(201);
    app.delete(&format!("/api/reservations/{}", sold["reservationId"]), Some(&admin)).await.expect(204);
    let offer = app.get("/api/waitlist", Some(&lee)).await.expect(200)[0].clone();
    assert_eq!(offer["status"], "OFFERED");

    app.patch(&format!("/api/events/{event}"), Some(&admin), json!({"cancelled": true})).await.expect(200);
    until_none(&app, UNSETTLED, event).await;
    assert_eq!((balance(&app, &kim).await, balance(&app, &lee).await), (PRICE, 0));
    assert_eq!(app.check_event(event).await, 0);
    let accept = format!("/api/waitlist/{}/accept", offer["id"]);
    app.post(&accept, Some(&lee), json!({})).await.problem(409, "event_cancelled");
    let mine = app.get(&format!("/api/reservations/user/{}", kim.id), Some(&kim)).await.expect(200);
    assert_eq!(
        (mine[0]["status"].as_str(), mine[0]["tickets"][0]["status"].as_str()),
        (Some("CANCELLED"), Some("CANCELLED"))
    );
}
