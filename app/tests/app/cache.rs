//! What is kept of events, so that the database is hardly asked.

use crate::faults::own_servers;
use crate::support::{App, Servers};
use futures::future::join_all;
use serde_json::json;
use std::collections::BTreeSet;
use ticketing::accounts::Role;

/// An instance that has read nothing yet, and knows a Redis that has forgotten everything.
async fn cold(servers: &Servers) -> (App, u64) {
    let app = App::on(servers, &["--role", "api"]).await;
    let admin = app.user(Role::Admin).await;
    let event = app.event(&admin, 10, json!({})).await;
    app.state.shutdown.cancel();
    let cold = app.another().await;
    cold.state.kv.run::<()>(&redis::cmd("FLUSHALL")).await.expect("forgotten");
    (cold, event)
}

/// Queries that the database has answered to anybody.
async fn selects(app: &App) -> u64 {
    let (_, count): (String, String) =
        sqlx::query_as("SHOW GLOBAL STATUS LIKE 'Com_select'").fetch_one(&app.db).await.expect("told");
    count.parse().expect("a number")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_readers_who_come_at_once_ask_the_database_once() {
    let servers = own_servers().await;
    let (app, event) = cold(&servers).await;
    let before = selects(&app).await;
    let path = format!("/api/events/{event}");
    for answer in join_all((0..100).map(|_| app.get(&path, None))).await {
        assert_eq!(answer.expect(200)["availableSeats"], 10);
    }
    // An event takes two; in the background others are asked now and then.
    let asked = selects(&app).await - before;
    assert!((2..20).contains(&asked), "{asked} queries for 100 readers");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn that_there_is_no_such_event_is_remembered_too() {
    let servers = own_servers().await;
    let (app, _) = cold(&servers).await;
    let before = selects(&app).await;
    for _ in 0..100 {
        app.get("/api/events/999", None).await.problem(404, "not_found");
    }
    let asked = selects(&app).await - before;
    assert!((1..20).contains(&asked), "{asked} queries for 100 readers");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_read_together_is_not_forgotten_together() {
    let servers = own_servers().await;
    let (app, event) = cold(&servers).await;
    let mut pipeline = redis::pipe();
    for event in event..event + 30 {
        app.get(&format!("/api/events/{event}"), None).await;
    }
    let keys: Vec<String> = app.state.kv.run(redis::cmd("KEYS").arg("event:*")).await.expect("told");
    assert_eq!(keys.len(), 30, "{keys:?}");
    for key in keys {
        pipeline.ttl(key);
    }
    let left: Vec<u64> = app.state.kv.pipe(&pipeline).await.expect("told");
    assert!(left.iter().all(|seconds| (230..=360).contains(seconds)), "{left:?}");
    let different: BTreeSet<_> = left.iter().collect();
    assert!(different.len() > 5, "{left:?}");
}
