//! Redis or MariaDB gone in the middle: nothing oversold, nothing lost, nothing sold twice.

use crate::support::{App, Servers};
use futures::future::join_all;
use serde_json::{Value, json};
use std::time::Duration;
use ticketing::accounts::Role;

fn order(event: u64, user: &str, quantity: u32) -> Value {
    json!({"eventId": event, "userId": user, "quantity": quantity})
}

async fn own_servers() -> Servers {
    tokio::task::spawn_blocking(Servers::own).await.expect("servers")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sales_go_on_without_redis() {
    let mut servers = own_servers().await;
    let app = App::on(&servers, &[]).await;
    let admin = app.user(Role::Admin).await;
    let general = app.event(&admin, 50, json!({})).await;
    let seated = app.seated_event(&admin, 1, 10, json!({})).await;
    let hold = |seat: &str| json!({"eventId": seated, "userId": "kim", "seatIds": [seat]});
    let before = app.post("/api/holds", Some(&admin), hold("A-1")).await.expect(201);
    app.post("/api/reservations", Some(&admin), order(general, "kim", 2)).await.expect(201);

    servers.redis.kill();
    app.post("/api/reservations", Some(&admin), order(general, "kim", 3)).await.expect(201);
    assert_eq!(app.available(general).await, 45, "what is read is right without a cache");
    let confirmed = json!({"holdToken": before["holdToken"]});
    app.post("/api/reservations/confirm", Some(&admin), confirmed).await.expect(201);
    let held = app.post("/api/holds", Some(&admin), hold("A-2")).await.expect(201);
    assert_eq!(held["exclusive"], false);
    app.post("/api/reservations/confirm", Some(&admin), json!({"holdToken": held["holdToken"]})).await.expect(201);
    let direct = json!({"eventId": seated, "userId": "lee", "seatIds": ["A-2"]});
    app.post("/api/reservations", Some(&admin), direct).await.problem(409, "seat_taken");
    assert_eq!(app.get("/api/health", None).await.expect(200)["redis"], "disconnected");

    // It comes back empty: what it knew is rebuilt from the database.
    servers.redis.restart().expect("Redis starts");
    assert!(app.state.kv.probe().await, "Redis is used again");
    for seat in ["A-1", "A-2"] {
        app.post("/api/holds", Some(&admin), hold(seat)).await.problem(409, "seat_taken");
    }
    app.post("/api/holds", Some(&admin), hold("A-3")).await.expect(201);
    app.post("/api/reservations", Some(&admin), order(general, "kim", 1)).await.expect(201);
    assert_eq!(app.available(general).await, 44);
    assert_eq!((app.check_event(general).await, app.check_event(seated).await), (6, 2));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_paused_redis_does_not_stop_sales() {
    let servers = own_servers().await;
    let app = App::on(&servers, &[]).await;
    let admin = app.user(Role::Admin).await;
    let event = app.event(&admin, 50, json!({})).await;
    app.available(event).await;
    servers.redis.pause().expect("pauses");
    let started = std::time::Instant::now();
    app.post("/api/reservations", Some(&admin), order(event, "kim", 2)).await.expect(201);
    assert_eq!(app.available(event).await, 48);
    assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
    servers.redis.resume().expect("goes on");
    assert!(app.state.kv.probe().await, "Redis is used again");
    // Redis still has the version from before the sale; nobody may read by it.
    assert_eq!(app.available(event).await, 48);
    assert_eq!(app.check_event(event).await, 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_killed_while_it_sells() {
    let mut servers = own_servers().await;
    let app = App::on(&servers, &[]).await;
    let admin = app.user(Role::Admin).await;
    let event = app.event(&admin, 100_000, json!({})).await;
    let sales = join_all((0..400).map(|n| {
        let (app, admin) = (&app, &admin);
        async move {
            tokio::time::sleep(Duration::from_millis(n * 2)).await;
            let key = format!("order-{n}");
            let headers = [("idempotency-key", key.as_str())];
            // As a client does: the same request again until there is an answer.
            for _ in 0..200 {
                let body = Some(order(event, &format!("user-{n}"), 1));
                let answer = app.send(hyper::Method::POST, "/api/reservations", Some(admin), &headers, body).await;
                if answer.status.as_u16() != 503 {
                    return answer.expect(201)["reservationId"].as_u64().expect("an id");
                }
                assert!(answer.headers.contains_key("retry-after"), "a 503 says when to come back");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
            panic!("order {n} was never answered")
        }
    }));
    let outage = async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        servers.maria.kill();
        tokio::time::sleep(Duration::from_millis(500)).await;
        tokio::task::block_in_place(|| servers.maria.restart()).expect("MariaDB starts");
    };
    let (mut ids, ()) = tokio::join!(sales, outage);
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), 400, "every order has a reservation of its own");
    assert_eq!(app.check_event(event).await, 400, "nothing is lost and nothing sold twice");
    assert_eq!(app.available(event).await, 100_000 - 400);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reads_come_from_the_cache_without_a_database() {
    let mut servers = own_servers().await;
    let app = App::on(&servers, &[]).await;
    let admin = app.user(Role::Admin).await;
    let event = app.event(&admin, 50, json!({})).await;
    assert_eq!(app.available(event).await, 50);
    servers.maria.kill();
    assert_eq!(app.available(event).await, 50);
    let refused = app.post("/api/reservations", Some(&admin), order(event, "kim", 2)).await;
    assert!(refused.headers.contains_key("retry-after"));
    refused.problem(503, "database_unavailable");
}
