//! Metrics, API documents, live updates, the end of a process.

use crate::process::{Running, service};
use crate::support::{App, SECRET, Servers};
use http_body_util::BodyExt;
use serde_json::json;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;
use ticketing::accounts::Role;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

#[tokio::test]
async fn metrics_tell_about_sales_but_not_through_a_load_balancer() {
    let app = App::start().await;
    let admin = app.user(Role::Admin).await;
    let event = app.event(&admin, 10, json!({})).await;
    let order = json!({"eventId": event, "userId": "kim", "quantity": 1});
    app.post("/api/reservations", Some(&admin), order).await.expect(201);
    let mut metrics = app.get("/metrics", None).await;
    // The books are checked in the background.
    for _ in 0..100 {
        if metrics.text.contains("ticketing_tickets_held") {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
        metrics = app.get("/metrics", None).await;
    }
    for name in [
        "ticketing_http_requests_total{method=\"POST\",route=\"/api/reservations\",status=\"2xx\"}",
        "ticketing_sales_total{outcome=\"sold\"}",
        "ticketing_sale_batch_size_bucket{le=\"1\"}",
        "ticketing_cache_reads_total",
        "ticketing_database_connections",
        "ticketing_oversold_tickets 0",
        "ticketing_tickets_held",
    ] {
        assert!(metrics.text.contains(name), "{name} is missing in:\n{}", metrics.text);
    }
    let headers = [("x-forwarded-for", "203.0.113.1")];
    app.send(hyper::Method::GET, "/metrics", None, &headers, None).await.problem(404, "not_found");
}

/// Runs a program with a text for its input; returns whether it succeeded, and what it says.
fn checked(program: &Path, arguments: &[&Path], input: &str) -> (bool, String) {
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it starts");
    child.stdin.take().expect("an input").write_all(input.as_bytes()).expect("it reads");
    let ended = child.wait_with_output().expect("it ends");
    let said = format!("{}{}", String::from_utf8_lossy(&ended.stdout), String::from_utf8_lossy(&ended.stderr));
    (ended.status.success(), said)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_dashboard_asks_for_what_there_is() {
    let app = App::start().await;
    let admin = app.user(Role::Admin).await;
    let queue = json!({"queue": {"enabled": true, "admitPerSecond": 100.0, "maxInside": 1}});
    let event = app.event(&admin, 10, queue).await;
    let order = json!({"eventId": event, "userId": "kim", "quantity": 1});
    app.post("/api/holds", Some(&admin), order.clone()).await.expect(201);
    app.post("/api/reservations", Some(&admin), order).await.expect(201);
    app.available(event).await;
    let directory = Path::new(env!("CARGO_MANIFEST_DIR"));
    let python = crate::process::environment("TICKETING_CHECKS_VENV", "app-checks").join("bin/python");
    let arguments = [&*directory.join("tests/grafana/check.py"), &*directory.join("grafana/ticketing.json")];
    // Some of it is measured in the background.
    let started = std::time::Instant::now();
    loop {
        let metrics = app.get("/metrics", None).await.text;
        let (right, said) = checked(&python, &arguments, &metrics);
        if right {
            let (right, said) =
                checked(&python, &arguments, &metrics.replace("ticketing_holds_total", "ticketing_holds"));
            assert!(!right && said.contains("there is no metric ticketing_holds_total"), "{said}");
            return;
        }
        assert!(started.elapsed() < Duration::from_secs(20), "{said}");
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}

#[tokio::test]
async fn the_books_are_audited() {
    let app = App::start().await;
    let admin = app.user(Role::Admin).await;
    let event = app.event(&admin, 10, json!({})).await;
    assert_eq!(ticketing::telemetry::imbalances(&app.db).await.expect("read"), []);
    sqlx::query("UPDATE events SET available_seats = 7 WHERE id = ?")
        .bind(event)
        .execute(&app.db)
        .await
        .expect("updated");
    let found = ticketing::telemetry::imbalances(&app.db).await.expect("read");
    assert_eq!(found, [(event, -10, -3)], "three tickets are neither sold nor on sale");
}

#[tokio::test]
async fn the_api_documents_itself() {
    let app = App::start().await;
    let document = app.get("/openapi.json", None).await.expect(200);
    assert!(document["openapi"].as_str().expect("a version").starts_with("3.1"), "{}", document["openapi"]);
    for path in ["/api/health", "/api/events", "/api/reservations", "/api/holds", "/api/queue/{eventId}"] {
        assert!(document["paths"].get(path).is_some(), "{path} is missing");
    }
    let viewer = app.get("/docs/", None).await;
    assert!(viewer.text.contains("swagger-ui"), "{}", viewer.text);
    assert!(!viewer.text.contains("http://") && !viewer.text.contains("https://"), "it needs no network");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_drain_answers_what_is_under_way() {
    let app = App::start().await;
    let admin = app.user(Role::Admin).await;
    let event = app.event(&admin, 1000, json!({})).await;
    let mut stream = app.stream(&format!("/api/events/{event}/stream")).await;
    let orders = futures::future::join_all((0..100).map(|n| {
        let (app, admin) = (&app, &admin);
        let body = json!({"eventId": event, "userId": format!("user-{n}"), "quantity": 1});
        async move { app.try_send(hyper::Method::POST, "/api/reservations", Some(admin), &[], Some(body)).await }
    }));
    let drain = async {
        tokio::time::sleep(Duration::from_millis(20)).await;
        app.state.shutdown.cancel();
    };
    let (answers, ()) = tokio::join!(orders, drain);
    // Some found nobody listening any more.
    let answers: Vec<_> = answers.into_iter().flatten().collect();
    assert!(!answers.is_empty() && answers.iter().all(|answer| answer.status.as_u16() == 201));
    while let Some(frame) =
        tokio::time::timeout(Duration::from_secs(5), stream.frame()).await.expect("streams end, too")
    {
        frame.expect("no error");
    }
    assert_eq!(app.check_event(event).await, answers.len() as u64, "what was sold was answered");
}

/// Sends a signal to a process.
fn signal(running: &Running, signal: &str) {
    let sent = Command::new("/bin/kill").args([signal, &running.process.pid().to_string()]).status();
    assert!(sent.expect("it runs").success());
}

/// Waits for the end of a process, whose parent doesn't ask for it.
async fn ended(running: &Running) {
    let started = std::time::Instant::now();
    let status = format!("/proc/{}/status", running.process.pid());
    while std::fs::read_to_string(&status).is_ok_and(|status| !status.contains("State:\tZ")) {
        assert!(started.elapsed() < Duration::from_secs(10), "it goes on: {}", running.log());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// What a connection of its own is answered, to its end if it is closed.
async fn ask_once(port: u16, path: &str) -> std::io::Result<String> {
    let mut connection = TcpStream::connect(("127.0.0.1", port)).await?;
    connection.write_all(format!("GET {path} HTTP/1.1\r\nhost: ticketing\r\n\r\n").as_bytes()).await?;
    let mut answer = String::new();
    let read = tokio::time::timeout(Duration::from_secs(2), connection.read_to_string(&mut answer)).await;
    assert!(read.is_ok(), "the connection stays open");
    Ok(answer)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_to_end_says_so_before_it_refuses_anybody() {
    let app = App::with(&["--role", "queue"]).await;
    let running = service(&app, &[], &["--linger-seconds", "3"]).await;
    let there = app.elsewhere(&format!("http://127.0.0.1:{}", running.port));
    let admin = app.user(Role::Admin).await;
    let event = there.event(&admin, 10, json!({})).await;
    signal(&running, "-TERM");
    let signalled = std::time::Instant::now();
    let mut known = Vec::new();
    while known.len() < 3 {
        let answer = ask_once(running.port, "/readyz").await.expect("it takes requests");
        if signalled.elapsed() > Duration::from_millis(500) {
            assert!(answer.starts_with("HTTP/1.1 503 ") && answer.contains("\"DRAINING\""), "{answer}");
            known.push(answer);
        }
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
    let read = ask_once(running.port, &format!("/api/events/{event}")).await.expect("it takes requests");
    assert!(read.starts_with("HTTP/1.1 200 ") && read.contains("connection: close"), "{read}");

    // An order that is under way when nobody is let in any more.
    let mut other = app.db.begin().await.expect("begins");
    sqlx::query("SELECT id FROM events WHERE id = ? FOR UPDATE").bind(event).execute(&mut *other).await.expect("locks");
    let order = json!({"eventId": event, "userId": "kim", "quantity": 1});
    let ordered = there.post("/api/reservations", Some(&admin), order);
    let refused = async {
        while ask_once(running.port, "/livez").await.is_ok_and(|answer| !answer.is_empty()) {
            assert!(signalled.elapsed() < Duration::from_secs(5), "it takes requests for ever");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        assert!(signalled.elapsed() > Duration::from_millis(2500), "it was too fast");
        let error = ask_once(running.port, "/livez").await.expect_err("nobody listens");
        assert_eq!(error.kind(), std::io::ErrorKind::ConnectionRefused);
        other.rollback().await.expect("ends");
    };
    let (ordered, ()) = tokio::join!(ordered, refused);
    ordered.expect(201);
    ended(&running).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_signal_and_a_person_do_not_wait() {
    let app = App::with(&["--role", "queue"]).await;
    let linger = ["--linger-seconds", "60"];
    let (two, person) = tokio::join!(service(&app, &[], &linger), service(&app, &[], &linger));
    signal(&two, "-TERM");
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert!(ask_once(two.port, "/healthz").await.expect("it takes requests").contains("DRAINING"));
    signal(&two, "-TERM");
    signal(&person, "-INT");
    tokio::join!(ended(&two), ended(&person));
}

/// How many of 20 requests pass, and how many may at one per second with a burst of two.
async fn passed(app: &App, user: &crate::support::User, address: &str) -> (usize, std::ops::RangeInclusive<usize>) {
    let started = std::time::Instant::now();
    let headers = [("x-forwarded-for", address)];
    let mut passed = 0;
    for _ in 0..20 {
        let answer = app.send(hyper::Method::GET, "/api/auth/me", Some(user), &headers, None).await;
        if answer.status.as_u16() == 200 {
            passed += 1;
        } else {
            assert_eq!(answer.headers["retry-after"], "1");
            answer.problem(429, "rate_limit");
        }
    }
    (passed, 2..=3 + started.elapsed().as_secs() as usize)
}

#[tokio::test]
async fn nobody_gets_more_than_their_share() {
    let app = App::with(&["--user-rate", "1"]).await;
    for user in [app.user(Role::User).await, app.user(Role::User).await] {
        let (passed, may) = passed(&app, &user, "203.0.113.1").await;
        assert!(may.contains(&passed), "{passed} passed, {may:?} may");
    }
    // Who comes through a load balancer is told apart by what it says.
    let app = App::with(&["--address-rate", "1"]).await;
    let user = app.user(Role::User).await;
    for address in ["203.0.113.1", "spoofed, 203.0.113.2"] {
        let (passed, may) = passed(&app, &user, address).await;
        assert!(may.contains(&passed), "{passed} passed, {may:?} may");
    }
}

#[tokio::test]
async fn nobody_keeps_all_cores_at_passwords() {
    let app = App::with(&["--user-rate", "0"]).await;
    let user = app.user(Role::User).await;
    // Nothing to hash: it is the number that counts.
    let send = async |address: &str| {
        let headers = [("x-forwarded-for", address)];
        app.send(hyper::Method::POST, "/api/auth/signup", None, &headers, Some(json!({"email": 1}))).await
    };
    let answers = futures::future::join_all((0..200).map(|_| send("203.0.113.1"))).await;
    let (refused, passed): (Vec<_>, Vec<_>) = answers.into_iter().partition(|answer| answer.status.as_u16() == 429);
    assert!((40..100).contains(&passed.len()), "{} passed", passed.len());
    assert_eq!(refused[0].headers["retry-after"], "1");
    send("203.0.113.2").await.problem(422, "invalid_body");
    for answer in futures::future::join_all((0..100).map(|_| send("127.0.0.1"))).await {
        answer.problem(422, "invalid_body");
    }
    let headers = [("x-forwarded-for", "203.0.113.1")];
    for _ in 0..20 {
        app.send(hyper::Method::GET, "/api/auth/me", Some(&user), &headers, None).await.expect(200);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_instances_share_a_limit() {
    let one = App::with(&["--user-rate", "5"]).await;
    let two = one.another().await;
    let user = one.user(Role::User).await;
    let started = std::time::Instant::now();
    let count = async |app: &App| {
        let mut passed = 0_u32;
        while started.elapsed() < Duration::from_secs(6) {
            passed += u32::from(app.get("/api/auth/me", Some(&user)).await.status.as_u16() == 200);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        passed
    };
    let (first, second) = tokio::join!(count(&one), count(&two));
    // Each for itself would let 40 pass: a burst of 10 and five per second.
    let may = 10 + 5 * (started.elapsed().as_secs() as u32 + 1);
    assert!((25..may + 15).contains(&(first + second)), "{first} and {second} passed, {may} may");
}

#[tokio::test]
async fn instances_that_begin_together_make_the_schema_once() {
    let app = App::start().await;
    let name: String = sqlx::query_scalar("SELECT DATABASE()").fetch_one(&app.db).await.expect("its name");
    for sql in [format!("DROP DATABASE {name}"), format!("CREATE DATABASE {name}")] {
        sqlx::query(sqlx::AssertSqlSafe(sql)).execute(&app.db).await.expect("an empty database");
    }
    let pools: Vec<_> = (0..4).map(|_| ticketing::db::pool(&app.args.database).expect("a pool")).collect();
    for migrated in futures::future::join_all(pools.iter().map(ticketing::db::migrate)).await {
        migrated.expect("the schema");
    }
    assert!(ticketing::db::is_migrated(&pools[0]).await.expect("an answer"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_from_before_it_was_ready_is_answered_afterwards() {
    let mut servers = tokio::task::spawn_blocking(Servers::own).await.expect("servers");
    let (database, redis) = (servers.database.url("ticketing"), servers.redis.url(0));
    servers.database.kill();
    let program = Path::new(env!("CARGO_BIN_EXE_ticketing"));
    let running = Running::start(program, &[], |port, _| {
        let listen = format!("127.0.0.1:{port}");
        let addresses = ["--database-url", &database, "--redis-url", &redis, "--jwt-secret", SECRET];
        let options = [&["serve", "--migrate", "--listen", &listen][..], &addresses].concat();
        options.into_iter().map(str::to_owned).collect()
    })
    .await;
    let connect = || async { TcpStream::connect(("127.0.0.1", running.port)).await.expect("it listens") };
    let (mut silent, mut known) = (connect().await, connect().await);
    let ask = async |connection: &mut TcpStream| {
        connection.write_all(b"GET /readyz HTTP/1.1\r\nhost: ticketing\r\n\r\n").await.expect("it reads");
        let mut answer = [0; 4096];
        let length = connection.read(&mut answer).await.expect("it answers");
        String::from_utf8_lossy(&answer[..length]).into_owned()
    };
    let early = ask(&mut known).await;
    assert!(early.starts_with("HTTP/1.1 503 ") && early.contains("\"starting\""), "{early}");
    tokio::task::block_in_place(|| servers.database.restart()).expect("the database starts");
    let mut last = String::new();
    for _ in 0..1200 {
        last = ask(&mut connect().await).await;
        if last.starts_with("HTTP/1.1 200 ") {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(last.starts_with("HTTP/1.1 200 "), "{last}\n{}", running.log());
    for connection in [&mut silent, &mut known] {
        let answer = ask(connection).await;
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_busy_database_is_there_and_a_killed_one_is_not() {
    let mut servers = tokio::task::spawn_blocking(Servers::own).await.expect("servers");
    let app = App::on(&servers, &["--database-connections", "2"]).await;
    let busy = [app.state.db.acquire().await, app.state.db.acquire().await];
    assert!(busy.iter().all(Result::is_ok));
    assert!(!app.is_ready(false, 6).await, "load was taken for loss");
    servers.database.kill();
    assert!(app.is_ready(false, 10).await, "loss was taken for load");
    drop(busy);
    tokio::task::block_in_place(|| servers.database.restart()).expect("the database starts");
    assert!(app.is_ready(true, 30).await, "it doesn't get ready again");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn memory_is_taken_in_small_pages() {
    let app = App::start().await;
    let running = service(&app, &[], &[]).await;
    let status = std::fs::read_to_string(format!("/proc/{}/status", running.process.pid())).expect("it runs");
    assert!(status.contains("THP_enabled:\t0\n"), "{status}");
}
