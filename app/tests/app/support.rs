//! One MariaDB and one Redis for all tests; a database of its own in each, and a service, for every test.

use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper::{HeaderMap, Method, StatusCode};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, Connection, MySqlConnection, MySqlPool};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, LazyLock, OnceLock};
use std::time::{Duration, Instant};
use tempfile::TempDir;
use ticketing::accounts::{self, Role};
use ticketing::commands::Cli;
use ticketing::config::ServeArgs;
use ticketing::http::Site;
use ticketing::local::{Database, Redis};
use ticketing::state::AppState;
use tokio::net::TcpListener;

/// How long a connection may wait for its next request.
const IDLE: Duration = Duration::from_secs(75);

pub struct Servers {
    pub database: Database,
    pub redis: Redis,
    _directory: Option<TempDir>,
}

/// Where data directories go: memory if there is some, since the tests wait for nothing but commits.
fn fast_directory() -> PathBuf {
    let memory = Path::new("/dev/shm");
    if memory.is_dir() { memory.to_owned() } else { std::env::temp_dir() }
}

impl Servers {
    /// Servers that a test may kill.
    pub fn own() -> Self {
        let directory = TempDir::with_prefix_in("ticketing-test-", fast_directory()).expect("a directory");
        let mut servers = Self::start(directory.path());
        servers._directory = Some(directory);
        servers
    }

    fn start(directory: &Path) -> Self {
        Self {
            database: Database::start(&directory.join("database")).expect("the database starts"),
            redis: Redis::start(&directory.join("redis")).expect("Redis starts"),
            _directory: None,
        }
    }

    fn shared() -> &'static Self {
        static SHARED: OnceLock<Servers> = OnceLock::new();
        SHARED.get_or_init(|| {
            let directory = fast_directory().join(format!("ticketing-test-{}", std::process::id()));
            // Statics are not dropped: a shell removes the data when this process ends, however it ends.
            let guard = Command::new("/bin/sh")
                .args(["-c", r#"read -r _; sleep 1; rm -rf "$0""#])
                .arg(&directory)
                .stdin(Stdio::piped())
                .spawn()
                .expect("a shell");
            std::mem::forget(guard);
            Self::start(&directory)
        })
    }
}

/// A running service with its database, and a client.
pub struct App {
    pub state: AppState,
    pub db: MySqlPool,
    pub args: ServeArgs,
    address: String,
    client: Client<HttpConnector, Full<Bytes>>,
}

pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Value,
    pub text: String,
}

impl Answer {
    /// Fails with the answer's text unless it has this status.
    #[track_caller]
    pub fn expect(self, status: u16) -> Value {
        assert_eq!(self.status.as_u16(), status, "{}", self.text);
        self.body
    }

    /// Fails unless it is a problem with this status and code.
    #[track_caller]
    pub fn problem(self, status: u16, code: &str) {
        assert_eq!((self.status.as_u16(), self.body["code"].as_str()), (status, Some(code)), "{}", self.text);
        assert_eq!(self.headers["content-type"], "application/problem+json");
    }
}

/// An account that tests act as.
#[derive(Clone)]
pub struct User {
    pub id: String,
    pub token: String,
}

static NEXT: AtomicU32 = AtomicU32::new(0);
pub const SECRET: &str = "a secret for tests of thirty-two bytes";

/// The options that `ticketing serve` would have.
pub fn serve_args(database: &str, redis: &str, more: &[&str]) -> ServeArgs {
    let args = ["ticketing", "serve", "--database-url", database, "--redis-url", redis, "--jwt-secret", SECRET];
    Cli::serve_args(args.into_iter().chain(more.iter().copied())).expect("valid options")
}

impl App {
    pub async fn start() -> Self {
        Self::with(&[]).await
    }

    pub async fn with(options: &[&str]) -> Self {
        let servers = tokio::task::spawn_blocking(Servers::shared).await.expect("servers");
        Self::on(servers, options).await
    }

    pub async fn on(servers: &Servers, options: &[&str]) -> Self {
        static SETUP: LazyLock<()> = LazyLock::new(|| {
            ticketing::commands::install_tls_provider();
            // Shown by the test harness when a test fails.
            let filter = std::env::var("RUST_LOG").unwrap_or_else(|_| "warn".into());
            tracing_subscriber::fmt().with_env_filter(filter).with_test_writer().with_ansi(false).init();
        });
        LazyLock::force(&SETUP);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let database = format!("test{number}");
        let mut connection = MySqlConnection::connect(&servers.database.url("ticketing")).await.expect("connects");
        for sql in [format!("DROP DATABASE IF EXISTS {database}"), format!("CREATE DATABASE {database}")] {
            sqlx::query(AssertSqlSafe(sql)).execute(&mut connection).await.expect("a database");
        }
        let args = serve_args(&servers.database.url(&database), &servers.redis.url(number), options);
        let app = Self::serve(args).await;
        ticketing::db::migrate(&app.db).await.expect("migrates");
        assert!(app.is_ready(true, 30).await, "it doesn't get ready");
        app
    }

    /// Another instance on the same database and Redis.
    pub async fn another(&self) -> Self {
        Self::serve(self.args.clone()).await
    }

    /// Ends this instance and starts another in its place, at the same address.
    pub async fn again_with(self, options: &[&str]) -> Self {
        let args = serve_args(
            self.args.database.url.as_deref().expect("an address"),
            self.args.redis.url.as_deref().expect("an address"),
            options,
        );
        self.state.shutdown.cancel();
        let address = self.address.clone();
        drop(self);
        Self::serve_at(args, &address).await
    }

    /// Another instance with other options.
    pub async fn another_with(&self, options: &[&str]) -> Self {
        self.another_at(self.args.database.url.as_deref().expect("an address"), options).await
    }

    /// Another instance that finds the database elsewhere.
    pub async fn another_at(&self, database: &str, options: &[&str]) -> Self {
        Self::serve(serve_args(database, self.args.redis.url.as_deref().expect("an address"), options)).await
    }

    /// Another instance that finds Redis elsewhere.
    pub async fn another_with_redis(&self, redis: &str, options: &[&str]) -> Self {
        Self::serve(serve_args(self.args.database.url.as_deref().expect("an address"), redis, options)).await
    }

    async fn serve(args: ServeArgs) -> Self {
        Self::serve_at(args, "127.0.0.1:0").await
    }

    async fn serve_at(args: ServeArgs, address: &str) -> Self {
        let state = AppState::new(&args).expect("state");
        state.spawn_background();
        let listener = loop {
            match TcpListener::bind(address).await {
                Ok(listener) => break listener,
                // The instance before us has not gone yet.
                Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => {
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
                Err(error) => panic!("cannot listen on {address}: {error}"),
            }
        };
        let address = listener.local_addr().expect("address").to_string();
        let site = Arc::new(Site::from(ticketing::http::router(state.clone())));
        let serving = state.clone();
        tokio::spawn(async move {
            ticketing::http::serve(listener, site, &serving.shutdown, Duration::from_secs(5), IDLE)
                .await
                .expect("serves")
        });
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        Self {
            db: state.db.clone(),
            state,
            args,
            address,
            client: Client::builder(TokioExecutor::new()).build(connector),
        }
    }

    /// The same database and accounts, seen through a service elsewhere, at an address such as `http://127.0.0.1:1`.
    pub fn elsewhere(&self, url: &str) -> Self {
        Self {
            state: self.state.clone(),
            db: self.db.clone(),
            args: self.args.clone(),
            address: url.trim_start_matches("http://").to_owned(),
            client: self.client.clone(),
        }
    }

    pub async fn send(
        &self,
        method: Method,
        path: &str,
        user: Option<&User>,
        headers: &[(&str, &str)],
        body: Option<Value>,
    ) -> Answer {
        self.try_send(method, path, user, headers, body).await.expect("an answer")
    }

    /// Like `send`, but a connection that breaks is no failure.
    pub async fn try_send(
        &self,
        method: Method,
        path: &str,
        user: Option<&User>,
        headers: &[(&str, &str)],
        body: Option<Value>,
    ) -> Result<Answer, hyper_util::client::legacy::Error> {
        let mut request = hyper::Request::builder().method(method).uri(format!("http://{}{path}", self.address));
        if let Some(user) = user {
            request = request.header("authorization", format!("Bearer {}", user.token));
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if body.is_some() {
            request = request.header("content-type", "application/json");
        }
        let body = body.map(|body| body.to_string()).unwrap_or_default();
        let response = self.client.request(request.body(Full::from(body)).expect("request")).await?;
        let (parts, body) = response.into_parts();
        let text = String::from_utf8_lossy(&body.collect().await.expect("a body").to_bytes()).into_owned();
        Ok(Answer {
            status: parts.status,
            headers: parts.headers,
            body: serde_json::from_str(&text).unwrap_or(Value::Null),
            text,
        })
    }

    /// The body of an answer that does not end.
    pub async fn stream(&self, path: &str) -> hyper::body::Incoming {
        let request = hyper::Request::builder().uri(format!("http://{}{path}", self.address));
        let response = self.client.request(request.body(Full::default()).expect("request")).await.expect("an answer");
        assert_eq!(response.status(), StatusCode::OK);
        response.into_body()
    }

    pub async fn get(&self, path: &str, user: Option<&User>) -> Answer {
        self.send(Method::GET, path, user, &[], None).await
    }

    pub async fn post(&self, path: &str, user: Option<&User>, body: Value) -> Answer {
        self.send(Method::POST, path, user, &[], Some(body)).await
    }

    pub async fn patch(&self, path: &str, user: Option<&User>, body: Value) -> Answer {
        self.send(Method::PATCH, path, user, &[], Some(body)).await
    }

    pub async fn delete(&self, path: &str, user: Option<&User>) -> Answer {
        self.send(Method::DELETE, path, user, &[], None).await
    }

    /// An account with a token, made without the cost of a password's hash.
    pub async fn user(&self, role: Role) -> User {
        let id = ticketing::random::user_id();
        sqlx::query("INSERT INTO users (id, email, name, password_hash, role) VALUES (?, ?, 'Test', '', ?)")
            .bind(&id)
            .bind(format!("{id}@example.com"))
            .bind(role.as_str())
            .execute(&self.db)
            .await
            .expect("a user");
        let view = accounts::by_id(&self.db, &id).await.expect("readable").expect("there");
        User { token: self.state.tokens.access(&view).expect("a token"), id }
    }

    /// A general-admission event; `more` is merged into the request.
    pub async fn event(&self, admin: &User, tickets: u32, more: Value) -> u64 {
        let mut body = json!({"eventName": "Concert", "totalSeats": tickets, "eventDate": "2999-12-24T19:00:00+09:00"});
        merge(&mut body, more);
        let event = self.post("/api/events", Some(admin), body).await.expect(201);
        event["eventId"].as_u64().expect("an id")
    }

    /// An event with `rows` rows A, B, … of `seats` seats.
    pub async fn seated_event(&self, admin: &User, rows: u8, seats: u32, more: Value) -> u64 {
        let map: Vec<Value> =
            (0..rows).map(|row| json!({"row": char::from(b'A' + row).to_string(), "seats": seats})).collect();
        let mut body = json!({"eventName": "Musical", "eventDate": "2999-12-24T19:00:00+09:00", "seatMap": map});
        merge(&mut body, more);
        let event = self.post("/api/events", Some(admin), body).await.expect(201);
        event["eventId"].as_u64().expect("an id")
    }

    /// Asks for a reservation without waiting for it; returns where to look what becomes of it.
    pub async fn order_later(&self, user: &User, order: Value) -> String {
        let headers = [("prefer", "respond-async")];
        let answer = self.send(Method::POST, "/api/reservations", Some(user), &headers, Some(order)).await;
        let location = answer.headers["location"].to_str().expect("text").to_owned();
        assert_eq!(answer.expect(202)["status"], "ACCEPTED");
        location
    }

    /// Waits until what was asked for is decided; gives back what is known of it when that takes too long.
    pub async fn decided(&self, user: &User, location: &str, seconds: u64) -> Result<Value, Value> {
        let started = Instant::now();
        loop {
            let request = self.get(location, Some(user)).await.expect(200);
            if request["status"] != "ACCEPTED" {
                return Ok(request);
            }
            if started.elapsed() >= Duration::from_secs(seconds) {
                return Err(request);
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    pub async fn available(&self, event: u64) -> u64 {
        let event = self.get(&format!("/api/events/{event}"), None).await.expect(200);
        event["availableSeats"].as_u64().expect("a number")
    }

    /// Whether the database is taken for `ready`, or soon will be.
    pub async fn is_ready(&self, ready: bool, seconds: u64) -> bool {
        let waited = tokio::time::timeout(Duration::from_secs(seconds), async {
            while self.state.health.database_ready() != ready {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        });
        waited.await.is_ok()
    }

    /// Waits until a Redis that is there again is used again: an attempt to connect that began before may have to fail first.
    pub async fn redis_is_used_again(&self) {
        let used_again = async {
            while !self.state.kv.probe().await {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(10), used_again).await.expect("Redis is used again");
    }

    /// Reads the invariants of a sale back from the database and returns the tickets sold.
    #[track_caller]
    pub fn check_event(&self, event: u64) -> impl Future<Output = u64> + '_ {
        let caller = std::panic::Location::caller();
        async move {
            let (total, available): (u32, u32) =
                sqlx::query_as("SELECT total_seats, available_seats FROM events WHERE id = ?")
                    .bind(event)
                    .fetch_one(&self.db)
                    .await
                    .expect("the event");
            let sold: u64 = self
                .count(
                    "SELECT CAST(COALESCE(SUM(quantity), 0) AS SIGNED) FROM reservations \
                     WHERE status IN ('CONFIRMED', 'OFFERED') AND event_id = ?",
                    event,
                )
                .await;
            let tickets =
                self.count("SELECT COUNT(*) FROM tickets WHERE status <> 'CANCELLED' AND event_id = ?", event).await;
            let doubled = self
                .count("SELECT COUNT(*) FROM (SELECT seat_id FROM tickets WHERE status <> 'CANCELLED' AND seat_id IS NOT NULL \
                     AND event_id = ? GROUP BY seat_id HAVING COUNT(*) > 1) AS doubled", event)
                .await;
            assert_eq!(sold + u64::from(available), u64::from(total), "sold + available = total, at {caller}");
            assert_eq!(tickets, sold, "a ticket for everything sold, at {caller}");
            assert_eq!(doubled, 0, "no seat sold twice, at {caller}");
            sold
        }
    }

    /// Where the service listens, such as `http://127.0.0.1:1234`.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub async fn count(&self, sql: &'static str, event: u64) -> u64 {
        let count: i64 = sqlx::query_scalar(sql).bind(event).fetch_one(&self.db).await.expect("a count");
        u64::try_from(count).expect("not negative")
    }
}

fn merge(into: &mut Value, more: Value) {
    if let (Value::Object(into), Value::Object(more)) = (into, more) {
        into.extend(more);
    }
}
