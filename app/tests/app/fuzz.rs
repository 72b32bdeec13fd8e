//! The API against its own document, by schemathesis, which `scripts/setup test` installs: whatever is sent, no 5xx, and
//! no answer that the document does not name.

use crate::process::{environment, service};
use crate::support::{App, User};
use serde_json::json;
use std::process::Command;
use ticketing::accounts::Role;

/// Runs schemathesis as `user`; fails with what it found.
async fn check(url: &str, user: &User) {
    let program = environment("TICKETING_CHECKS_VENV", "app-checks").join("bin/schemathesis");
    let directory = tempfile::tempdir().expect("a directory");
    let mut command = Command::new(program);
    command
        .current_dir(directory.path())
        .args(["run", &format!("{url}/openapi.json"), "--header", &format!("Authorization: Bearer {}", user.token)])
        // Streams do not end. What only the database can know, such as that there is no such hold, is refused with 422.
        .args(["--exclude-path-regex", "/stream$", "--exclude-checks", "positive_data_acceptance"])
        .args(["--phases", "examples,coverage,fuzzing", "--max-examples", "20", "--seed", "7", "--no-color"])
        .args(["--continue-on-failure", "--suppress-health-check", "all", "--request-timeout", "30"]);
    let ended = tokio::task::spawn_blocking(move || command.output().expect("schemathesis runs")).await.expect("ends");
    let said = String::from_utf8_lossy(&ended.stdout);
    assert!(ended.status.success(), "{said}{}", String::from_utf8_lossy(&ended.stderr));
    assert!(said.contains("Tested: "), "{said}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_api_keeps_to_its_document() {
    let app = App::with(&["--role", "worker"]).await;
    let running = service(&app, &[], &["--user-rate", "0", "--auth-rate", "0"]).await;
    let app = app.elsewhere(&format!("http://127.0.0.1:{}", running.port));
    let (admin, kim) = (app.user(Role::Admin).await, app.user(Role::User).await);
    app.event(&admin, 1000, json!({})).await;
    app.seated_event(&admin, 2, 10, json!({"price": 100})).await;
    app.event(&admin, 10, json!({"queue": {"enabled": true, "admitPerSecond": 100.0, "maxInside": 5}})).await;
    for user in [admin, kim] {
        check(&app.url(), &user).await;
    }
    assert!(!running.log().contains("panicked"), "{}", running.log());
}

#[tokio::test]
async fn characters_that_no_identifier_has_name_nothing() {
    let app = App::start().await;
    let admin = app.user(Role::Admin).await;
    let event = app.seated_event(&admin, 1, 4, json!({})).await;
    for path in ["/api/reservations", "/api/holds"] {
        let body = json!({"eventId": event, "userId": "kim", "seatIds": ["é-1"]});
        app.post(path, Some(&admin), body).await.problem(422, "bad_seat");
    }
    app.get("/api/reservation-requests/%C3%A9", Some(&admin)).await.problem(404, "not_found");
    let ticket = json!({"eventId": event, "ticket": "é", "nonce": "1"});
    app.post("/api/staff/check-in", Some(&admin), ticket).await.problem(404, "not_found");
}
