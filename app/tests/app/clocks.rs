//! Instances whose clocks are wrong: what ends when is for Redis and the database to say.

use crate::support::{App, SECRET, Servers, User};
use hyper::Method;
use serde_json::{Value, json};
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;
use tempfile::TempDir;
use ticketing::accounts::Role;
use ticketing::accounts::tokens::Purpose;
use ticketing::local::{free_port, wait_for_port};
use tokio::process::{Child, Command};

/// Shifts the wall clock of a process that it is preloaded into by `CLOCK_SHIFT` seconds.
const SHIM: &str = r#"
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
#include <sys/time.h>
#include <time.h>
static time_t shift(void) { const char *text = getenv("CLOCK_SHIFT"); return text ? atol(text) : 0; }
int clock_gettime(clockid_t clock, struct timespec *now) {
    static int (*real)(clockid_t, struct timespec *);
    if (!real) real = (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
    int result = real(clock, now);
    if (result == 0 && clock == CLOCK_REALTIME) now->tv_sec += shift();
    return result;
}
int gettimeofday(struct timeval *restrict now, void *restrict zone) {
    struct timespec precise;
    (void)zone;
    if (clock_gettime(CLOCK_REALTIME, &precise)) return -1;
    now->tv_sec = precise.tv_sec;
    now->tv_usec = precise.tv_nsec / 1000;
    return 0;
}
time_t time(time_t *at) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (at) *at = now.tv_sec;
    return now.tv_sec;
}
"#;

/// The service in a process of its own.
struct Shifted {
    _process: Child,
    app: App,
}

impl Shifted {
    /// Another instance beside `app`, with a clock that is `seconds` ahead.
    async fn start(app: &App, directory: &Path, seconds: i64) -> Self {
        let shim = shim(directory).await;
        let port = free_port().expect("a port");
        let log = directory.join(format!("{seconds}.log"));
        let output = std::fs::File::create(&log).expect("a log");
        let process = Command::new(env!("CARGO_BIN_EXE_ticketing"))
            .args(["serve", "--listen", &format!("127.0.0.1:{port}"), "--jwt-secret", SECRET, "--hold-seconds", "2"])
            .args(["--database-url", app.args.database.url.as_deref().expect("an address")])
            .args(["--redis-url", app.args.redis.url.as_deref().expect("an address")])
            .env("LD_PRELOAD", shim)
            .env("CLOCK_SHIFT", seconds.to_string())
            .stdin(Stdio::null())
            .stderr(output)
            .kill_on_drop(true)
            .spawn()
            .expect("the service starts");
        tokio::task::block_in_place(|| wait_for_port(port, "the service", &log)).expect("the service listens");
        let app = app.elsewhere(&format!("http://127.0.0.1:{port}"));
        // What serves while the service starts hangs up when it is ready.
        while !matches!(app.try_send(Method::GET, "/readyz", None, &[], None).await, Ok(answer) if answer.status == 200)
        {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Self { _process: process, app }
    }
}

/// Built by the compiler that linked this test.
async fn shim(directory: &Path) -> std::path::PathBuf {
    let (source, library) = (directory.join("clock.c"), directory.join("clock.so"));
    if !library.exists() {
        std::fs::write(&source, SHIM).expect("writes");
        let output = Command::new("cc")
            .args(["-shared", "-fPIC", "-O1", "-o"])
            .args([&library, &source])
            .arg("-ldl")
            .output()
            .await
            .expect("a C compiler");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
    library
}

/// An ADMIN whom every instance knows, whatever its clock says.
async fn admin(app: &App) -> User {
    let admin = app.user(Role::Admin).await;
    let body = json!({"sub": admin.id, "role": Role::Admin});
    User { token: app.state.tokens.sign(Purpose::Access, 32_503_680_000, body).expect("signs"), id: admin.id }
}

fn hold(event: u64, user: &str, seat: &str) -> Value {
    json!({"eventId": event, "userId": user, "seatIds": [seat]})
}

async fn confirm(app: &App, admin: &User, held: &Value) -> crate::support::Answer {
    app.post("/api/reservations/confirm", Some(admin), json!({"holdToken": held["holdToken"]})).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn holds_end_by_the_clock_that_all_share() {
    let directory = TempDir::new().expect("a directory");
    let app = App::with(&["--hold-seconds", "2"]).await;
    let admin = admin(&app).await;
    let event = app.seated_event(&admin, 1, 10, json!({})).await;
    let late = Shifted::start(&app, directory.path(), 3600).await;
    let early = Shifted::start(&app, directory.path(), -3600).await;
    let (late, early) = (&late.app, &early.app);

    // Nobody's clock makes a hold shorter, or gives its seat to somebody else.
    let held = late.post("/api/holds", Some(&admin), hold(event, "kim", "A-1")).await.expect(201);
    assert_eq!(held["expiresInSec"], 2);
    for other in [&app, early, late] {
        other.post("/api/holds", Some(&admin), hold(event, "lee", "A-1")).await.problem(409, "seat_taken");
    }
    let sold = confirm(early, &admin, &held).await.expect(201);
    for other in [&app, early, late] {
        assert_eq!(confirm(other, &admin, &held).await.expect(201), sold, "asked again, it is the same reservation");
    }
    let held = early.post("/api/holds", Some(&admin), hold(event, "kim", "A-2")).await.expect(201);
    confirm(late, &admin, &held).await.expect(201);

    // Nor longer.
    let held = late.post("/api/holds", Some(&admin), hold(event, "kim", "A-3")).await.expect(201);
    tokio::time::sleep(Duration::from_millis(2300)).await;
    confirm(early, &admin, &held).await.problem(409, "hold_expired");
    let next = early.post("/api/holds", Some(&admin), hold(event, "lee", "A-3")).await.expect(201);
    confirm(late, &admin, &held).await.problem(409, "hold_expired");
    confirm(late, &admin, &next).await.expect(201);
    assert_eq!(app.check_event(event).await, 3);
    let apart: i64 = sqlx::query_scalar(
        "SELECT MAX(ABS(TIMESTAMPDIFF(SECOND, created_at, UTC_TIMESTAMP()))) FROM reservations WHERE event_id = ?",
    )
    .bind(event)
    .fetch_one(&app.db)
    .await
    .expect("a difference");
    assert!(apart < 600, "reservations have the database's time, not one {apart} s away");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_clock_that_is_ahead_does_not_block_a_seat_that_was_sold_without_redis() {
    let directory = TempDir::new().expect("a directory");
    let mut servers = tokio::task::spawn_blocking(Servers::own).await.expect("servers");
    let app = App::on(&servers, &[]).await;
    let admin = admin(&app).await;
    let event = app.seated_event(&admin, 1, 2, json!({})).await;
    let late = Shifted::start(&app, directory.path(), 3600).await;
    let late = &late.app;
    servers.redis.kill();
    let held = late.post("/api/holds", Some(&admin), hold(event, "kim", "A-1")).await.expect(201);
    assert_eq!(held["exclusive"], false);
    let sold = confirm(late, &admin, &held).await.expect(201);
    servers.redis.restart().expect("Redis starts");
    app.redis_is_used_again().await;
    app.delete(&format!("/api/reservations/{}", sold["reservationId"]), Some(&admin)).await.expect(204);
    let held = app.post("/api/holds", Some(&admin), hold(event, "lee", "A-1")).await.expect(201);
    confirm(&app, &admin, &held).await.expect(201);
    assert_eq!(app.check_event(event).await, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn offers_end_by_the_clock_that_all_share() {
    let directory = TempDir::new().expect("a directory");
    let app = App::with(&["--role", "api", "--offer-seconds", "900"]).await;
    let admin = admin(&app).await;
    for shift in [-3600, 3600] {
        let shifted = Shifted::start(&app, directory.path(), shift).await;
        let kim = app.user(Role::User).await;
        let event = app.event(&admin, 1, json!({})).await;
        let order = json!({"eventId": event, "userId": "lee", "quantity": 1});
        let sold = app.post("/api/reservations", Some(&admin), order).await.expect(201);
        let wish = json!({"eventId": event, "quantity": 1});
        let entry = app.post("/api/waitlist", Some(&kim), wish).await.expect(201);
        let path = format!("/api/reservations/{}", sold["reservationId"]);
        shifted.app.delete(&path, Some(&admin)).await.expect(204);
        // Time for the shifted instance to end what it takes for ended.
        tokio::time::sleep(Duration::from_millis(1500)).await;
        let left: Option<i64> = sqlx::query_scalar(
            "SELECT TIMESTAMPDIFF(SECOND, UTC_TIMESTAMP(), offer_expires_at) FROM reservations \
             WHERE event_id = ? AND status = 'OFFERED'",
        )
        .bind(event)
        .fetch_optional(&app.db)
        .await
        .expect("the offer");
        assert!(left.is_some_and(|left| (600..=900).contains(&left)), "{left:?} s are left for {shift} s");
        app.post(&format!("/api/waitlist/{}/accept", entry["id"]), Some(&kim), json!({})).await.expect(201);
    }
}
