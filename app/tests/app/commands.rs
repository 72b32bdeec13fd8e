//! The program's commands besides `serve`.

use crate::process::Running;
use crate::support::App;
use hyper::Method;
use serde_json::{Value, json};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};
use tempfile::TempDir;
use ticketing::db;

const PROGRAM: &str = env!("CARGO_BIN_EXE_ticketing");

/// Runs a command on the database of `app`, and returns what it prints; fails if it does.
fn run(app: &App, arguments: &[&str]) -> String {
    let database = app.args.database.url.as_deref().expect("an address");
    let mut command = Command::new(PROGRAM);
    command.args(arguments).env("TICKETING_DATABASE_URL", database);
    let ended = tokio::task::block_in_place(|| command.output()).expect("it runs");
    assert!(ended.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&ended.stderr));
    String::from_utf8(ended.stdout).expect("text")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_administrator_on_an_empty_database() {
    let app = App::start().await;
    let name: String = sqlx::query_scalar("SELECT DATABASE()").fetch_one(&app.db).await.expect("its name");
    for sql in [format!("DROP DATABASE {name}"), format!("CREATE DATABASE {name}")] {
        sqlx::query(sqlx::AssertSqlSafe(sql)).execute(&app.db).await.expect("an empty database");
    }
    let pool = db::pool(&app.args.database).expect("a pool");
    for _ in 0..2 {
        run(&app, &["migrate"]);
        assert!(db::is_migrated(&pool).await.expect("an answer"));
    }
    // Connections from before have lost their database.
    let service = app.another_with(&["--role", "api"]).await;
    let login = async |email: &str, password: &str| {
        service.post("/api/auth/login", None, json!({"email": email, "password": password})).await
    };
    let create = |more: &[&str]| run(&app, &[&["admin", "create", "--email", "boss@example.com"], more].concat());
    let printed = create(&["--password", "the boss's own"]);
    let session = login("boss@example.com", "the boss's own").await.expect(200);
    let id = session["user"]["userId"].as_str().expect("an id");
    assert_eq!(printed, format!("{id} ADMIN boss@example.com\n"));
    assert_eq!((&session["user"]["role"], &session["user"]["name"]), (&json!("ADMIN"), &json!("Administrator")));
    // The same account with another password and role.
    let printed = create(&["--password", "something else", "--role", "staff"]);
    assert_eq!(printed, format!("{id} STAFF boss@example.com\n"));
    login("boss@example.com", "the boss's own").await.problem(401, "bad_credentials");
    assert_eq!(login("boss@example.com", "something else").await.expect(200)["user"]["role"], "STAFF");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_document_that_is_printed_is_the_one_that_is_served() {
    let app = App::start().await;
    let printed: Value = serde_json::from_str(&run(&app, &["openapi"])).expect("JSON");
    assert_eq!(printed, app.get("/openapi.json", None).await.expect(200));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_demo_sells_and_leaves_nothing_behind() {
    let app = App::start().await;
    let directory = TempDir::with_prefix("ticketing-demo-test-").expect("a directory");
    let environment = [("TMPDIR".to_owned(), directory.path().display().to_string())];
    let listen = |port: u16, _: &Path| vec!["demo".into(), "--listen".into(), format!("127.0.0.1:{port}")];
    let running = Running::start(Path::new(PROGRAM), &environment, listen).await;
    let printed = running.log();
    let told = |name: &str| {
        let line = printed.lines().find_map(|line| line.strip_prefix(name));
        line.unwrap_or_else(|| panic!("no {name} in {printed}")).trim().to_owned()
    };
    assert_eq!(told("address"), format!("http://127.0.0.1:{}/", running.port));
    let demo = app.elsewhere(told("address").trim_end_matches('/'));
    let started = Instant::now();
    while demo.get("/readyz", None).await.status.as_u16() != 200 {
        assert!(started.elapsed() < Duration::from_secs(60), "{}", running.log());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let account = told("accounts").split(',').next().expect("an account").to_owned();
    let login = json!({"email": account, "password": told("password")});
    let session = demo.post("/api/auth/login", None, login).await.expect(200);
    let text = |value: &Value| value.as_str().expect("a text").to_owned();
    let kim = crate::support::User { id: text(&session["user"]["userId"]), token: text(&session["accessToken"]) };
    let events = demo.get("/api/events", None).await.expect(200);
    let mut events = events.as_array().expect("a list").iter();
    let event = events.find(|event| event["seated"] == true).expect("a seated event");
    let order = json!({"eventId": event["eventId"], "userId": kim.id, "seatIds": ["A-1"]});
    let made = demo.send(Method::POST, "/api/reservations", Some(&kim), &[], Some(order)).await.expect(201);
    assert_eq!(made["amount"], 150_000);

    let interrupted =
        Command::new("kill").args(["-INT", &running.process.pid().to_string()]).status().expect("it runs");
    assert!(interrupted.success());
    let started = Instant::now();
    while std::fs::read_dir(directory.path()).expect("readable").next().is_some() {
        assert!(started.elapsed() < Duration::from_secs(30), "it leaves something behind: {}", running.log());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}
