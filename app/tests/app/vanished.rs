//! A database host that vanishes without a word, in the middle of what runs in the background.

use crate::failover::Wire;
use crate::faults::own_servers;
use crate::support::{App, Servers};
use hyper::Method;
use serde_json::{Value, json};
use sqlx::{Connection, MySqlConnection};
use std::time::{Duration, Instant};
use ticketing::accounts::Role;

/// Another instance, with a way of its own to the database.
async fn far_from(app: &App, options: &[&str]) -> (App, Wire) {
    let (account, at) = app.args.database.url.as_deref().and_then(|url| url.rsplit_once('@')).expect("an address");
    let (server, name) = at.split_once('/').expect("a name");
    let wire = Wire::to(server.to_owned()).await;
    let far = app.another_at(&format!("{account}@{}/{name}", wire.address), options).await;
    (far, wire)
}

/// A connection on which a test keeps others waiting.
async fn connection(servers: &Servers, app: &App) -> MySqlConnection {
    let name = app.args.database.url.as_deref().expect("an address").rsplit('/').next().expect("a name");
    MySqlConnection::connect(&servers.database.url(name)).await.expect("connects")
}

async fn run(connection: &mut MySqlConnection, sql: &'static str) {
    sqlx::raw_sql(sql).execute(connection).await.expect("is carried out");
}

/// Asks until the answer is the right one.
async fn until(what: &str, seconds: u64, is_so: impl AsyncFn() -> bool) {
    let started = Instant::now();
    while !is_so().await {
        assert!(started.elapsed() < Duration::from_secs(seconds), "{what}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn workers_go_on() {
    let servers = own_servers().await;
    let app = App::on(&servers, &["--role", "api", "--offer-seconds", "1"]).await;
    let (admin, kim) = (app.user(Role::Admin).await, app.user(Role::User).await);
    let [sold, offered, cancelled] = [
        app.event(&admin, 9, json!({})).await,
        app.event(&admin, 1, json!({})).await,
        app.event(&admin, 9, json!({})).await,
    ];
    let order = async |event: u64| {
        let body = json!({"eventId": event, "userId": kim.id, "quantity": 1});
        let made = app.post("/api/reservations", Some(&kim), body).await.expect(201);
        made["reservationId"].as_u64().expect("an id")
    };
    let (back, _) = (order(offered).await, order(cancelled).await);
    let (far, wire) = far_from(&app, &["--role", "worker", "--database-connections", "8"]).await;
    until("it works", 20, async || {
        app.count("SELECT COUNT(*) FROM outbox_batches WHERE event_id = ?", offered).await == 0
    })
    .await;

    // The worker is to be in the middle of each: an offer that ends, and an event to settle.
    let mut other = connection(&servers, &app).await;
    app.post("/api/waitlist", Some(&admin), json!({"eventId": offered, "quantity": 1})).await.expect(201);
    app.delete(&format!("/api/reservations/{back}"), Some(&kim)).await.expect(204);
    run(&mut other, "BEGIN; SELECT id FROM reservations FOR UPDATE").await;
    app.patch(&format!("/api/events/{cancelled}"), Some(&admin), json!({"cancelled": true})).await.expect(200);
    tokio::time::sleep(Duration::from_millis(2500)).await;
    wire.cut.send_replace(());
    run(&mut other, "ROLLBACK").await;
    order(sold).await;

    until("the outbox is emptied", 25, async || {
        app.count("SELECT COUNT(*) FROM outbox_batches WHERE event_id = ?", sold).await == 0
    })
    .await;
    let expired = "SELECT COUNT(*) FROM reservations WHERE status = 'EXPIRED' AND event_id = ?";
    until("the offer ends", 25, async || app.count(expired, offered).await == 1).await;
    let settled = "SELECT COUNT(*) FROM events WHERE settled_at IS NOT NULL AND id = ?";
    until("the event is settled", 25, async || app.count(settled, cancelled).await == 1).await;
    drop(far);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn queues_go_on() {
    let servers = own_servers().await;
    let app = App::on(&servers, &["--role", "api"]).await;
    let admin = app.user(Role::Admin).await;
    let queue = json!({"queue": {"enabled": true, "admitPerSecond": 100.0, "maxInside": 100}});
    let event = app.event(&admin, 9, queue.clone()).await;
    let (far, wire) = far_from(&app, &["--role", "queue", "--database-connections", "4"]).await;
    let let_in = async |event: u64, seconds: u64| {
        let user = app.user(Role::User).await;
        far.send(Method::POST, &format!("/api/queue/{event}/enter"), Some(&user), &[], None).await.expect(200);
        let path = format!("/api/queue/{event}/me");
        until("people are let in", seconds, async || {
            far.get(&path, Some(&user)).await.expect(200)["state"] == "ADMITTED"
        })
        .await;
    };
    let_in(event, 10).await;
    // The settings are being read as the host vanishes.
    let mut other = connection(&servers, &app).await;
    run(&mut other, "LOCK TABLES events WRITE").await;
    tokio::time::sleep(Duration::from_millis(1500)).await;
    wire.cut.send_replace(());
    let_in(event, 3).await;
    run(&mut other, "UNLOCK TABLES").await;
    let later = app.event(&admin, 9, queue).await;
    let_in(later, 25).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn readers_without_redis_go_on() {
    let mut servers = own_servers().await;
    let app = App::on(&servers, &["--role", "api"]).await;
    let admin = app.user(Role::Admin).await;
    let event = app.event(&admin, 9, json!({})).await;
    let (far, wire) = far_from(&app, &["--role", "api", "--database-connections", "4"]).await;
    let path = format!("/api/events/{event}");
    far.get(&path, None).await.expect(200);
    servers.redis.kill();
    until("Redis is missed", 10, async || !far.state.kv.is_up()).await;
    let mut other = connection(&servers, &app).await;
    run(&mut other, "LOCK TABLES events WRITE").await;
    let cut = async {
        tokio::time::sleep(Duration::from_millis(1000)).await;
        wire.cut.send_replace(());
        run(&mut other, "UNLOCK TABLES").await;
    };
    let (answer, ()) = tokio::join!(far.get(&path, None), cut);
    answer.problem(503, "database_unavailable");
    let read: Value = far.get(&path, None).await.expect(200);
    assert_eq!(read["eventId"], event);
}
