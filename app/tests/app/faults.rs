//! Redis or MariaDB gone in the middle: nothing oversold, nothing lost, nothing sold twice.

use crate::support::{Answer, App, Servers, User};
use futures::future::join_all;
use serde_json::{Value, json};
use sqlx::{Connection, MySqlConnection};
use std::time::{Duration, Instant};
use ticketing::accounts::{self, Role};

pub fn order(event: u64, user: &str, quantity: u32) -> Value {
    json!({"eventId": event, "userId": user, "quantity": quantity})
}

pub async fn own_servers() -> Servers {
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
    app.redis_is_used_again().await;
    for seat in ["A-1", "A-2"] {
        app.post("/api/holds", Some(&admin), hold(seat)).await.problem(409, "seat_taken");
    }
    app.post("/api/holds", Some(&admin), hold("A-3")).await.expect(201);
    app.post("/api/reservations", Some(&admin), order(general, "kim", 1)).await.expect(201);
    assert_eq!(app.available(general).await, 44);
    assert_eq!((app.check_event(general).await, app.check_event(seated).await), (6, 2));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_redis_is_to_be_told_later_does_not_pile_up() {
    let mut servers = own_servers().await;
    let app = App::on(&servers, &[]).await;
    let admin = app.user(Role::Admin).await;
    let event = app.event(&admin, 50, json!({})).await;
    let versions = app.state.events.versions();
    let before = versions.current(event).await.expect("a version");
    servers.redis.kill();
    versions.bump(event).await;
    let tasks = || tokio::runtime::Handle::current().metrics().num_alive_tasks();
    let some = tasks();
    for _ in 0..300 {
        versions.bump(event).await;
    }
    assert!(tasks() < some + 50, "{} tasks instead of {some}", tasks());
    servers.redis.restart().expect("Redis starts");
    let started = Instant::now();
    let after = loop {
        match versions.current(event).await {
            Some(version) => break version,
            None => tokio::time::sleep(Duration::from_millis(20)).await,
        }
        assert!(started.elapsed() < Duration::from_secs(10), "it is never told");
    };
    assert_ne!(after, before);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_paused_redis_does_not_stop_sales() {
    let servers = own_servers().await;
    let app = App::on(&servers, &[]).await;
    let admin = app.user(Role::Admin).await;
    let event = app.event(&admin, 50, json!({})).await;
    app.available(event).await;
    servers.redis.pause().expect("pauses");
    let started = Instant::now();
    app.post("/api/reservations", Some(&admin), order(event, "kim", 2)).await.expect(201);
    assert_eq!(app.available(event).await, 48);
    assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
    servers.redis.resume().expect("goes on");
    app.redis_is_used_again().await;
    // Redis still has the version from before the sale; nobody may read by it.
    assert_eq!(app.available(event).await, 48);
    assert_eq!(app.check_event(event).await, 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_seat_that_is_freed_while_redis_is_paused_can_be_held_afterwards() {
    let servers = own_servers().await;
    // Without a worker, which would tell Redis again if it came late enough.
    let app = App::on(&servers, &["--role", "api"]).await;
    let admin = app.user(Role::Admin).await;
    let event = app.seated_event(&admin, 1, 2, json!({})).await;
    let hold = json!({"eventId": event, "userId": "lee", "seatIds": ["A-1"]});
    let seat = json!({"eventId": event, "userId": "kim", "seatIds": ["A-1"]});
    let sold = app.post("/api/reservations", Some(&admin), seat).await.expect(201);
    app.post("/api/holds", Some(&admin), hold.clone()).await.problem(409, "seat_taken");
    servers.redis.pause().expect("pauses");
    app.delete(&format!("/api/reservations/{}", sold["reservationId"]), Some(&admin)).await.expect(204);
    servers.redis.resume().expect("goes on");
    app.redis_is_used_again().await;
    let started = Instant::now();
    loop {
        let answer = app.post("/api/holds", Some(&admin), hold.clone()).await;
        if answer.status.as_u16() == 201 {
            assert_eq!(answer.body["exclusive"], true);
            break;
        }
        assert!(started.elapsed() < Duration::from_secs(10), "{}", answer.text);
        wait(&answer).await;
    }
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
        servers.database.kill();
        tokio::time::sleep(Duration::from_millis(500)).await;
        tokio::task::block_in_place(|| servers.database.restart()).expect("the database starts");
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
    let list = async || app.get("/api/events", None).await.expect(200)[0]["availableSeats"].clone();
    assert_eq!((app.available(event).await, list().await), (50, json!(50)));
    accounts::create(&app.db, "kim@example.com", "correct horse", "Kim", Role::User).await.expect("created");
    let login = json!({"email": "kim@example.com", "password": "correct horse"});
    let session = app.post("/api/auth/login", None, login).await.expect(200);
    servers.database.kill();
    assert_eq!(app.available(event).await, 50);
    let refused = app.post("/api/reservations", Some(&admin), order(event, "kim", 2)).await;
    assert!(refused.headers.contains_key("retry-after"));
    refused.problem(503, "database_unavailable");

    assert!(app.is_ready(false, 30).await);
    assert_eq!(list().await, json!(50), "the list is the last one that could be read");
    // The load balancer isn't to replace it for that.
    assert_eq!(app.get("/readyz", None).await.expect(503)["status"], "DOWN");
    assert_eq!(app.get("/healthz", None).await.expect(200)["status"], "DOWN");
    // A session outlasts it, though somebody asks for it meanwhile.
    let token = json!({"refreshToken": session["refreshToken"]});
    app.post("/api/auth/refresh", None, token.clone()).await.problem(503, "database_unavailable");
    let family = session["refreshToken"].as_str().and_then(|token| token.split_once('.')).expect("a token").0;
    let used = redis::Cmd::hexists(format!("session:{family}"), "used");
    assert!(!app.state.kv.run::<bool>(&used).await.expect("an answer"), "the token was used up for nothing");
    tokio::task::block_in_place(|| servers.database.restart()).expect("the database starts");
    assert!(app.is_ready(true, 30).await);
    app.post("/api/auth/refresh", None, token).await.expect(200);
}

/// Holds a seat and confirms it, as a client does that wants just this seat: again until it is sold, to whomever.
async fn buy_seat(app: &App, admin: &User, event: u64, user: &str, seat: &str) -> bool {
    for _ in 0..400 {
        let body = json!({"eventId": event, "userId": user, "seatIds": [seat]});
        let held = app.post("/api/holds", Some(admin), body).await;
        if held.status.as_u16() != 201 {
            if held.status.as_u16() == 409 && is_sold(app, event, seat).await {
                return false;
            }
            wait(&held).await;
            continue;
        }
        let token = json!({"holdToken": held.body["holdToken"]});
        let answer = loop {
            let answer = app.post("/api/reservations/confirm", Some(admin), token.clone()).await;
            if answer.status.as_u16() != 503 {
                break answer;
            }
            wait(&answer).await;
        };
        match (answer.status.as_u16(), answer.body["code"].as_str()) {
            (201, _) => return true,
            (409, Some("hold_expired" | "seat_taken")) => {}
            _ => panic!("{}", answer.text),
        }
    }
    panic!("{user} never got an answer about seat {seat}")
}

async fn is_sold(app: &App, event: u64, seat: &str) -> bool {
    let sold = sqlx::query("SELECT code FROM tickets WHERE event_id = ? AND active_seat = ?")
        .bind(event)
        .bind(seat)
        .fetch_optional(&app.db)
        .await;
    // Without a database nobody knows.
    matches!(sold, Ok(Some(_)))
}

/// Waits before a request is sent again that was answered with 503, or found the seat held.
pub async fn wait(answer: &Answer) {
    assert!([409, 503].contains(&answer.status.as_u16()), "{}", answer.text);
    tokio::time::sleep(Duration::from_millis(50)).await;
}

/// Three users for each of 60 seats, on two instances, while something happens to the servers.
async fn sell_seats_during(servers: &mut Servers, trouble: impl AsyncFnOnce(&mut Servers)) {
    // A hold that Redis was told to take while nobody heard its answer ends by its time.
    let app = App::on(servers, &["--hold-seconds", "3"]).await;
    let other = app.another().await;
    let admin = app.user(Role::Admin).await;
    let event = app.seated_event(&admin, 3, 20, json!({})).await;
    let buyers = join_all((0..180_u64).map(|n| {
        let app = if n % 2 == 0 { &app } else { &other };
        let admin = &admin;
        let seat = format!("{}-{}", ["A", "B", "C"][n as usize % 3], n / 3 % 20 + 1);
        async move {
            tokio::time::sleep(Duration::from_millis(n * 5)).await;
            buy_seat(app, admin, event, &format!("user-{n}"), &seat).await
        }
    }));
    let (bought, ()) = tokio::join!(buyers, async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        trouble(servers).await;
    });
    let bought = bought.into_iter().filter(|bought| *bought).count();
    assert_eq!(bought, 60, "every seat is sold, to one");
    assert_eq!(app.check_event(event).await, 60);
    assert_eq!(app.available(event).await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_that_restarts_empty_while_seats_are_held_and_confirmed() {
    let mut servers = own_servers().await;
    sell_seats_during(&mut servers, async |servers| {
        for _ in 0..3 {
            servers.redis.kill();
            tokio::task::block_in_place(|| servers.redis.restart()).expect("Redis starts");
            tokio::time::sleep(Duration::from_millis(250)).await;
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_that_is_paused_while_seats_are_held_and_confirmed() {
    let mut servers = own_servers().await;
    sell_seats_during(&mut servers, async |servers| {
        servers.redis.pause().expect("pauses");
        tokio::time::sleep(Duration::from_secs(2)).await;
        servers.redis.resume().expect("goes on");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_killed_while_seats_are_confirmed() {
    let mut servers = own_servers().await;
    sell_seats_during(&mut servers, async |servers| {
        servers.database.kill();
        tokio::time::sleep(Duration::from_millis(500)).await;
        tokio::task::block_in_place(|| servers.database.restart()).expect("the database starts");
    })
    .await;
}

async fn deadlocks(app: &App) -> u64 {
    let count = "SELECT CAST(count AS UNSIGNED) FROM information_schema.innodb_metrics WHERE name = 'lock_deadlocks'";
    sqlx::query_scalar(count).fetch_one(&app.db).await.expect("a count")
}

/// A transaction that InnoDB will not choose to roll back, since it has written more than a sale does.
async fn heavy_transaction(servers: &Servers, app: &App) -> MySqlConnection {
    let database = app.args.database.url.as_deref().expect("an address").rsplit('/').next().expect("a name");
    let mut connection = MySqlConnection::connect(&servers.database.url(database)).await.expect("connects");
    for sql in [
        "CREATE TABLE IF NOT EXISTS weight (id INT AUTO_INCREMENT PRIMARY KEY, text VARCHAR(10))",
        "BEGIN",
        "INSERT INTO weight (text) SELECT 'heavy' FROM information_schema.columns LIMIT 1000",
    ] {
        sqlx::raw_sql(sql).execute(&mut connection).await.expect("is carried out");
    }
    connection
}

async fn lock_event(connection: &mut MySqlConnection, event: u64) {
    sqlx::query("SELECT id FROM events WHERE id = ? FOR UPDATE").bind(event).execute(connection).await.expect("locks");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sale_that_is_rolled_back_by_a_deadlock_is_carried_out_all_the_same() {
    let servers = own_servers().await;
    let app = App::on(&servers, &[]).await;
    let (admin, kim) = (app.user(Role::Admin).await, app.user(Role::User).await);
    let event = app.event(&admin, 10, json!({"price": 5})).await;
    app.post(&format!("/api/wallets/{}/charge", kim.id), Some(&kim), json!({"amount": 100})).await.expect(200);
    // The other one has the wallet and wants the event; the sale has the event and wants the wallet.
    let mut other = heavy_transaction(&servers, &app).await;
    sqlx::query("UPDATE wallets SET balance = balance + 1 WHERE user_id = ?")
        .bind(&kim.id)
        .execute(&mut other)
        .await
        .expect("locks");
    let before = deadlocks(&app).await;
    let sale = app.post("/api/reservations", Some(&kim), order(event, &kim.id, 2));
    let opposite = async {
        tokio::time::sleep(Duration::from_millis(700)).await;
        lock_event(&mut other, event).await;
        sqlx::query("ROLLBACK").execute(&mut other).await.expect("ends");
    };
    let (sale, ()) = tokio::join!(sale, opposite);
    sale.expect(201);
    assert_eq!(deadlocks(&app).await, before + 1, "there was a deadlock");
    assert_eq!(app.check_event(event).await, 2);
    let wallet = app.get(&format!("/api/wallets/{}", kim.id), Some(&kim)).await.expect(200);
    assert_eq!(wallet["balance"], 90, "paid once");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_group_that_is_rolled_back_by_a_deadlock_is_reserved_all_the_same() {
    let servers = own_servers().await;
    let app = App::on(&servers, &[]).await;
    let (admin, kim) = (app.user(Role::Admin).await, app.user(Role::User).await);
    let (first, second) = (app.event(&admin, 10, json!({})).await, app.event(&admin, 10, json!({})).await);
    let mut other = heavy_transaction(&servers, &app).await;
    lock_event(&mut other, second).await;
    let before = deadlocks(&app).await;
    let items =
        json!({"userId": kim.id, "items": [{"eventId": first, "quantity": 1}, {"eventId": second, "quantity": 3}]});
    let group = app.post("/api/reservation-groups", Some(&kim), items);
    let opposite = async {
        tokio::time::sleep(Duration::from_millis(700)).await;
        lock_event(&mut other, first).await;
        sqlx::query("COMMIT").execute(&mut other).await.expect("ends");
    };
    let (group, ()) = tokio::join!(group, opposite);
    group.expect(201);
    assert_eq!(deadlocks(&app).await, before + 1, "there was a deadlock");
    assert_eq!((app.check_event(first).await, app.check_event(second).await), (1, 3));
}
