//! Servers that are somebody else's now, or gone without a word, while connections to them last.

use crate::faults::{order, own_servers, wait};
use crate::support::{App, Servers, User};
use futures::future::join_all;
use serde_json::json;
use sqlx::{AssertSqlSafe, Connection, MySqlConnection};
use std::net::SocketAddr;
use std::time::{Duration, Instant};
use ticketing::accounts::Role;
use ticketing::local::Redis;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_has_become_a_reader_is_not_the_database_any_more() {
    let servers = own_servers().await;
    let app = App::on(&servers, &[]).await;
    let admin = app.user(Role::Admin).await;
    let event = app.event(&admin, 50, json!({})).await;
    app.post("/api/reservations", Some(&admin), order(event, "kim", 1)).await.expect(201);
    let mut root = MySqlConnection::connect(&servers.database.url("ticketing")).await.expect("connects");

    // As a failover leaves the old writer: its clients are cut off, and come again by the name that they remember.
    // Those who may do everything still write to a MySQL that is only read-only; a writer is neither.
    let read_only = if servers.database.is_mysql() { "super_read_only" } else { "read_only" };
    let sql = AssertSqlSafe(format!("SET GLOBAL {read_only} = 1"));
    sqlx::raw_sql(sql).execute(&mut root).await.expect("read-only");
    let clients = "SELECT CAST(id AS SIGNED) FROM information_schema.processlist \
                   WHERE id <> CONNECTION_ID() AND user = SUBSTRING_INDEX(USER(), '@', 1)";
    let clients: Vec<i64> = sqlx::query_scalar(clients).fetch_all(&mut root).await.expect("the clients");
    for client in clients {
        // One that has gone meanwhile is no error here.
        let _ = sqlx::query(AssertSqlSafe(format!("KILL {client}"))).execute(&mut root).await;
    }
    for _ in 0..3 {
        let refused = app.post("/api/reservations", Some(&admin), order(event, "kim", 1)).await;
        refused.problem(503, "database_unavailable");
    }
    let started = Instant::now();
    while app.get("/api/health", None).await.status.as_u16() != 503 {
        assert!(started.elapsed() < Duration::from_secs(60), "nobody notices that there is no database");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }

    sqlx::raw_sql("SET GLOBAL read_only = 0").execute(&mut root).await.expect("a writer again");
    let started = Instant::now();
    loop {
        let answer = app.post("/api/reservations", Some(&admin), order(event, "kim", 1)).await;
        if answer.status.as_u16() == 201 {
            break;
        }
        assert!(started.elapsed() < Duration::from_secs(60), "{}", answer.text);
        wait(&answer).await;
    }
    assert_eq!(app.check_event(event).await, 2);
}

/// A way to a server. What goes along it when it is cut gets no answer any more and is not told so, as when the power of a
/// host fails; who comes after that gets through. Who comes after it was led elsewhere gets there.
pub struct Wire {
    pub address: SocketAddr,
    pub cut: watch::Sender<()>,
    server: watch::Sender<String>,
}

impl Wire {
    pub async fn to(server: String) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("listens");
        let address = listener.local_addr().expect("an address");
        let (cut, cuts) = watch::channel(());
        let (server, servers) = watch::channel(server);
        tokio::spawn(async move {
            while let Ok((mut near, _)) = listener.accept().await {
                let server = servers.borrow().clone();
                let mut far = TcpStream::connect(server).await.expect("connects");
                let mut cuts = cuts.clone();
                cuts.mark_unchanged();
                tokio::spawn(async move {
                    let is_cut = tokio::select! {
                        _ = copy_bidirectional(&mut near, &mut far) => false,
                        _ = cuts.changed() => true,
                    };
                    if is_cut {
                        drop(far);
                        std::future::pending::<()>().await;
                    }
                });
            }
        });
        Self { address, cut, server }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_host_that_vanishes_without_a_word() {
    let servers = own_servers().await;
    let app = App::on(&servers, &[]).await;
    let admin = app.user(Role::Admin).await;
    let event = app.event(&admin, 50, json!({})).await;
    let (account, at) = app.args.database.url.as_deref().and_then(|url| url.rsplit_once('@')).expect("an address");
    let (server, name) = at.split_once('/').expect("a name");
    let wire = Wire::to(server.to_owned()).await;
    let options = ["--role", "api", "--database-connections", "4", "--request-seconds", "60"];
    let far = app.another_at(&format!("{account}@{}/{name}", wire.address), &options).await;
    far.post("/api/reservations", Some(&admin), order(event, "kim", 1)).await.expect(201);
    // All connections were in use a moment ago: nobody asks whether they still work.
    let connections = join_all((0..4).map(|_| far.db.acquire())).await;
    assert!(connections.iter().all(Result::is_ok));
    drop(connections);
    tokio::time::sleep(Duration::from_millis(200)).await;
    wire.cut.send_replace(());

    let started = Instant::now();
    let sale = far.post("/api/reservations", Some(&admin), order(event, "kim", 2));
    let cancel = || far.delete("/api/reservations/999", Some(&admin));
    let others = join_all((0..3).map(|_| tokio::time::timeout(Duration::from_millis(500), cancel())));
    let (sale, others) = tokio::join!(sale, others);
    assert!(others.iter().all(Result::is_err), "there is no answer to those who do not wait");
    sale.expect(201);
    assert_eq!(app.check_event(event).await, 3);
    // The places of what vanished are free again. (One more may have been given back at the moment of the cut.)
    while join_all((0..3).map(|_| far.db.acquire())).await.iter().any(Result::is_err) {
        assert!(started.elapsed() < Duration::from_secs(40), "{} connections are lost", far.db.size());
    }
}

/// The server in a Redis address, and the number of the database.
fn parts(url: &str) -> (&str, &str) {
    url.trim_start_matches("redis://").split_once('/').expect("a number")
}

/// An instance that reaches its Redis through a wire, where a seat is held.
async fn redis_through_a_wire(servers: &Servers) -> (App, Wire, User, u64) {
    let first = App::on(servers, &["--role", "worker"]).await;
    let url = first.args.redis.url.clone().expect("an address");
    let (server, number) = parts(&url);
    let wire = Wire::to(server.to_owned()).await;
    let app = first.another_with_redis(&format!("redis://{}/{number}", wire.address), &[]).await;
    let admin = app.user(Role::Admin).await;
    let event = app.seated_event(&admin, 1, 100, json!({})).await;
    assert!(is_held_by_redis(&app, &admin, event, 1).await);
    (app, wire, admin, event)
}

async fn is_held_by_redis(app: &App, admin: &User, event: u64, seat: u32) -> bool {
    let hold = json!({"eventId": event, "userId": format!("user-{seat}"), "seatIds": [format!("A-{seat}")]});
    app.post("/api/holds", Some(admin), hold).await.expect(201)["exclusive"] == true
}

/// Waits until seats are held by Redis again, five times one after the other.
async fn redis_holds_seats_again(app: &App, admin: &User, event: u64) {
    let mut held = 0;
    for seat in 2..=100 {
        held = if is_held_by_redis(app, admin, event, seat).await { held + 1 } else { 0 };
        if held == 5 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    panic!("the old connection is kept");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_that_has_become_a_replica_is_left_for_the_new_primary() {
    let servers = own_servers().await;
    let (app, wire, admin, event) = redis_through_a_wire(&servers).await;
    let directory = tempfile::tempdir().expect("a directory");
    let redis = Redis::start(directory.path()).expect("Redis starts");
    let url = redis.url(0);
    let (primary, _) = parts(&url);
    // The name leads to the new primary from now on; the connections to the old one last.
    wire.server.send_replace(primary.to_owned());
    let (host, port) = primary.split_once(':').expect("a port");
    let demoted = redis::Client::open(servers.redis.url(0)).expect("an address");
    let mut demoted = demoted.get_multiplexed_async_connection().await.expect("connects");
    redis::cmd("REPLICAOF").arg(host).arg(port).exec_async(&mut demoted).await.expect("is a replica");
    redis_holds_seats_again(&app, &admin, event).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_host_that_vanishes_without_a_word() {
    let servers = own_servers().await;
    let (app, wire, admin, event) = redis_through_a_wire(&servers).await;
    wire.cut.send_replace(());
    redis_holds_seats_again(&app, &admin, event).await;
}
