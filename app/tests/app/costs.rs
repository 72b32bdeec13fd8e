//! Queries read what they tell, not what has piled up.

use crate::support::App;
use serde_json::json;
use sqlx::MySqlPool;
use ticketing::accounts::Role;
use ticketing::{db, telemetry, wallet};

/// The app's database on one connection, so that its counters are those of what is asked.
fn one_connection(app: &App) -> MySqlPool {
    let mut args = app.args.database.clone();
    args.connections = 1;
    db::pool(&args).expect("a pool")
}

/// Rows that this connection has read so far.
async fn rows_read(pool: &MySqlPool) -> u64 {
    let counters: Vec<(String, String)> =
        sqlx::query_as("SHOW SESSION STATUS LIKE 'Handler_read%'").fetch_all(pool).await.expect("told");
    counters.iter().map(|(_, value)| value.parse::<u64>().expect("a number")).sum()
}

#[tokio::test]
async fn a_page_of_a_long_ledger() {
    let app = App::start().await;
    let kim = app.user(Role::User).await;
    for user in [&kim.id, "lee", "lee", "lee"] {
        let rows = "INSERT INTO wallet_entries (user_id, kind, amount, balance_after) \
             SELECT ?, 'CHARGE', 1, 1 FROM information_schema.columns LIMIT 1000";
        sqlx::query(rows).bind(user).execute(&app.db).await.expect("inserted");
    }
    sqlx::raw_sql("ANALYZE TABLE wallet_entries").execute(&app.db).await.expect("analyzed");
    let pool = one_connection(&app);
    let mut last = u64::MAX;
    for _ in 0..3 {
        let before = rows_read(&pool).await;
        let page = wallet::entries(&pool, &kim.id, last, 100).await.expect("entries");
        let read = rows_read(&pool).await - before;
        assert!(page.len() == 100 && page.iter().all(|entry| entry.id < last));
        // To ask for the counters reads some, too.
        assert!(read < 400, "{read} rows were read for a page of 100");
        last = page[99].id;
    }
}

#[tokio::test]
async fn the_books_of_events_that_are_over() {
    let app = App::start().await;
    let admin = app.user(Role::Admin).await;
    let over = app.event(&admin, 10_000, json!({"eventDate": "2020-01-01T00:00:00Z"})).await;
    let event = app.event(&admin, 10, json!({})).await;
    let order = json!({"eventId": event, "userId": "kim", "quantity": 3});
    app.post("/api/reservations", Some(&admin), order).await.expect(201);
    let rows = "INSERT INTO reservations (event_id, user_id, quantity, status, amount, payment_method, \
         idempotency_key, request_hash, created_at) SELECT ?, 'kim', 1, 'CONFIRMED', 0, 'ON_SITE', UUID(), \
         REPEAT('x', 32), UTC_TIMESTAMP() FROM information_schema.columns LIMIT 1000";
    sqlx::query(rows).bind(over).execute(&app.db).await.expect("inserted");
    sqlx::raw_sql("ANALYZE TABLE reservations, events").execute(&app.db).await.expect("analyzed");
    let pool = one_connection(&app);
    telemetry::imbalances(&pool).await.expect("read");
    let before = rows_read(&pool).await;
    assert_eq!(telemetry::imbalances(&pool).await.expect("read"), []);
    let read = rows_read(&pool).await - before;
    assert!(read < 200, "{read} rows were read for one reservation");
}
