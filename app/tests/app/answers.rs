//! What surrounds every answer: headers, limits, the log.

use crate::process::service;
use crate::support::App;
use hyper::Method;
use serde_json::{Value, json};
use ticketing::accounts::Role;

#[tokio::test]
async fn answers_say_what_a_browser_may_do_with_them() {
    let app = App::start().await;
    for path in ["/api/events", "/api/nowhere", "/", "/docs/"] {
        let answer = app.get(path, None).await;
        let header = |name: &str| answer.headers.get(name).map_or("", |value| value.to_str().expect("text"));
        assert_eq!(header("x-content-type-options"), "nosniff", "{path}");
        assert_eq!(header("x-frame-options"), "DENY", "{path}");
        assert_eq!(header("referrer-policy"), "no-referrer", "{path}");
        assert!(header("content-security-policy").contains("frame-ancestors 'none'"), "{path}");
        assert!(header("content-security-policy").starts_with("default-src"), "{path}");
        assert_eq!(header("strict-transport-security"), "", "{path}");
    }
    assert_eq!(app.get("/api/events", None).await.headers["cache-control"], "no-store");
    let secure = app.another_with(&["--public-url", "https://tickets.example.com"]).await;
    assert_eq!(secure.get("/api/events", None).await.headers["strict-transport-security"], "max-age=31536000");
}

#[tokio::test]
async fn a_body_that_is_too_long_is_not_read() {
    let app = App::start().await;
    let body = json!({"email": "kim@example.com", "password": "correct horse", "name": "k".repeat(70_000)});
    app.post("/api/auth/signup", None, body).await.problem(413, "invalid_body");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_that_takes_too_long_is_given_up() {
    let app = App::with(&["--request-seconds", "1"]).await;
    let admin = app.user(Role::Admin).await;
    let event = app.event(&admin, 10, json!({})).await;
    let mut busy = app.db.begin().await.expect("begins");
    let lock = "SELECT id FROM events WHERE id = ? FOR UPDATE";
    sqlx::query(lock).bind(event).execute(&mut *busy).await.expect("locks");
    let order = json!({"eventId": event, "userId": "kim", "quantity": 1});
    let answer = app.post("/api/reservations", Some(&admin), order).await;
    assert!(answer.headers.contains_key("retry-after"));
    answer.problem(503, "timeout");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_log_tells_of_a_request_by_its_id_and_shows_no_ticket_codes() {
    let app = App::start().await;
    let (admin, kim) = (app.user(Role::Admin).await, app.user(Role::User).await);
    let event = app.event(&admin, 10, json!({})).await;
    let order = json!({"eventId": event, "userId": kim.id, "quantity": 1});
    let made = app.post("/api/reservations", Some(&kim), order).await.expect(201);
    let code = made["tickets"][0]["code"].as_str().expect("a code");
    let path = format!("/api/reservations/{}/tickets/{code}/qr", made["reservationId"]);

    let running = service(&app, &[("RUST_LOG".into(), "debug".into())], &[]).await;
    let there = app.elsewhere(&format!("http://127.0.0.1:{}", running.port));
    let ask = async |id: &str| there.send(Method::GET, &path, Some(&kim), &[("x-request-id", id)], None).await;
    let answer = ask("kims-request_1.0").await;
    assert_eq!(
        (answer.status.as_u16(), &answer.headers["x-request-id"]),
        (200, &"kims-request_1.0".parse().expect("id"))
    );
    // What could confuse who reads the log is not taken over.
    for strange in ["a b", "<script>", &"x".repeat(65)] {
        let given = ask(strange).await.headers["x-request-id"].to_str().expect("text").to_owned();
        assert!(given.len() == 16 && given.bytes().all(|b| b.is_ascii_alphanumeric()), "{given}");
    }
    let log = running.log();
    let lines = log.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
    let answered: Vec<_> =
        lines.filter(|line| line["span"]["id"] == "kims-request_1.0" && line["status"] == 200).collect();
    let shown = format!("/api/reservations/{}/tickets/{{code}}/qr", made["reservationId"]);
    assert_eq!(answered.len(), 1, "{log}");
    assert_eq!((&answered[0]["message"], &answered[0]["span"]["path"]), (&json!("answered"), &json!(shown)));
    assert!(!log.contains(code), "{log}");
}
