//! Holds, where what holds them in Redis and what sells them in the database could come apart.

use crate::faults::own_servers;
use crate::support::{App, User};
use futures::future::join_all;
use serde_json::{Value, json};
use std::time::{Duration, Instant};
use ticketing::accounts::Role;
use ticketing::telemetry;

async fn redis<T: redis::FromRedisValue>(app: &App, command: &redis::Cmd) -> T {
    app.state.kv.run(command).await.expect("Redis answers")
}

/// Sends the same request fifty times at once, to two instances, and returns the one answer that all get.
async fn fifty_times(app: &App, user: &User, path: &str, body: Value) -> Value {
    let other = app.another().await;
    let answers = join_all((0..50).map(|n| {
        let app = if n % 2 == 0 { app } else { &other };
        let (key, body) = ([("idempotency-key", "once")], body.clone());
        async move { app.send(hyper::Method::POST, path, Some(user), &key, Some(body)).await }
    }))
    .await;
    let made: Vec<Value> = answers.into_iter().map(|answer| answer.expect(201)).collect();
    assert!(made.iter().all(|one| *one == made[0]), "everybody gets the same answer");
    made[0].clone()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_same_key_for_seats_fifty_times_at_once() {
    let app = App::start().await;
    let (admin, kim) = (app.user(Role::Admin).await, app.user(Role::User).await);
    let event = app.seated_event(&admin, 1, 10, json!({})).await;
    let body = json!({"eventId": event, "userId": kim.id, "seatIds": ["A-1", "A-2"]});
    let made = fifty_times(&app, &kim, "/api/reservations", body).await;
    assert_eq!(made["quantity"], 2);
    assert_eq!(app.check_event(event).await, 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_same_key_for_a_group_fifty_times_at_once() {
    let app = App::start().await;
    let (admin, kim) = (app.user(Role::Admin).await, app.user(Role::User).await);
    let (seated, general) = (app.seated_event(&admin, 1, 10, json!({})).await, app.event(&admin, 10, json!({})).await);
    let items = json!([{"eventId": seated, "seatIds": ["A-1"]}, {"eventId": general, "quantity": 2}]);
    let made = fifty_times(&app, &kim, "/api/reservation-groups", json!({"userId": kim.id, "items": items})).await;
    assert_eq!(made["reservations"].as_array().map(Vec::len), Some(2));
    assert_eq!((app.check_event(seated).await, app.check_event(general).await), (1, 2));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hold_whose_claim_got_lost_is_taken_once() {
    let app = App::start().await;
    let admin = app.user(Role::Admin).await;
    let (general, seated) = (app.event(&admin, 4, json!({})).await, app.seated_event(&admin, 1, 2, json!({})).await);
    let holds = &app.state.sales.holds;
    let mut hold = holds.take(general, "kim", 3, Vec::new(), 4).await.expect("held");
    holds.retake(&mut hold, 4).await.expect("it is there");
    assert_eq!(holds.held(general).await, 3);
    assert!(holds.release(&hold).await.expect("Redis answers"));
    assert_eq!(holds.held(general).await, 0);
    holds.take(general, "lee", 4, Vec::new(), 4).await.expect("all can be held again");

    let mut hold = holds.take(seated, "kim", 1, vec!["A-1".into()], 0).await.expect("held");
    holds.retake(&mut hold, 0).await.expect("nobody else has the seat");
    let body = json!({"eventId": seated, "userId": "lee", "seatIds": ["A-1"]});
    app.post("/api/holds", Some(&admin), body).await.problem(409, "seat_taken");
}

/// Who confirms again and again, and cannot pay, must not keep the seats from those who can.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn confirming_in_vain_does_not_lengthen_a_hold() {
    let app = App::with(&["--hold-seconds", "1"]).await;
    let (admin, kim) = (app.user(Role::Admin).await, app.user(Role::User).await);
    let event = app.seated_event(&admin, 1, 2, json!({"price": 100})).await;
    let body = json!({"eventId": event, "seatIds": ["A-1"]});
    let held = app.post("/api/holds", Some(&kim), body).await.expect(201);
    let confirm = json!({"holdToken": held["holdToken"]});
    let ends = async || -> Vec<(String, f64)> {
        let key = format!("hold:{{{event}}}:expiry");
        redis(&app, &redis::Cmd::zrange_withscores(key, 0, -1)).await
    };
    let first = ends().await[0].1;
    let started = Instant::now();
    while started.elapsed() < Duration::from_millis(2500) {
        app.post("/api/reservations/confirm", Some(&kim), confirm.clone()).await.problem(402, "insufficient_balance");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    let last = ends().await[0].1;
    assert!(last > first, "a sale that is under way has its time");
    assert!(last <= first + 20_000.0, "but no more, however often it is tried: {} ms", last - first);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_that_comes_again_after_its_sale_changes_nothing() {
    let app = App::start().await;
    let (admin, kim) = (app.user(Role::Admin).await, app.user(Role::User).await);
    let event = app.seated_event(&admin, 1, 2, json!({})).await;
    let order = json!({"eventId": event, "userId": kim.id, "seatIds": ["A-1"]});
    let location = app.order_later(&kim, order).await;
    let first = app.decided(&kim, &location, 10).await.expect("a decision");
    assert_eq!(first["status"], "CONFIRMED");
    // As if the worker had died between the sale and its decision.
    let id = first["requestId"].as_str().expect("an id");
    sqlx::query("UPDATE reservation_requests SET status = 'ACCEPTED', reservation_id = NULL WHERE id = ?")
        .bind(id)
        .execute(&app.db)
        .await
        .expect("undone");
    // By an instance of an earlier release, which writes a row for each message.
    sqlx::query("INSERT INTO outbox (kind, event_id, payload) VALUES ('reservation.requested', ?, ?)")
        .bind(event)
        .bind(json!({"requestId": id, "userId": kim.id}).to_string())
        .execute(&app.db)
        .await
        .expect("sent again");
    let second = app.decided(&kim, &location, 10).await.expect("a decision");
    assert_eq!(second["status"], "CONFIRMED", "{second}");
    assert_eq!(second["reservation"]["reservationId"], first["reservation"]["reservationId"]);
    assert_eq!(app.check_event(event).await, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_redis_knows_of_an_event_goes_by_itself() {
    let app = App::start().await;
    let admin = app.user(Role::Admin).await;
    let event = app.seated_event(&admin, 1, 3, json!({})).await;
    let hold = |seat: &str| json!({"eventId": event, "userId": "kim", "seatIds": [seat]});
    let held = app.post("/api/holds", Some(&admin), hold("A-1")).await.expect(201);
    let confirm = json!({"holdToken": held["holdToken"]});
    app.post("/api/reservations/confirm", Some(&admin), confirm).await.expect(201);
    app.post("/api/holds", Some(&admin), hold("A-2")).await.expect(201);
    let mut left = Vec::new();
    for part in ["seats", "holds", "expiry", "users", "fence", "ready"] {
        let seconds: i64 = redis(&app, redis::cmd("TTL").arg(format!("hold:{{{event}}}:{part}"))).await;
        assert!(seconds > 0, "{part}: {seconds}");
        left.push(seconds);
    }
    assert!(left[5] < left[0], "seats that nothing is known of any more must not be taken for free: {left:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_hold_is_looked_for_in_a_list_of_all() {
    let app = App::start().await;
    let admin = app.user(Role::Admin).await;
    let event = app.seated_event(&admin, 1, 3, json!({})).await;
    let hold = json!({"eventId": event, "userId": "kim", "seatIds": ["A-1", "A-2"]});
    for _ in 0..2 {
        let held = app.post("/api/holds", Some(&admin), hold.clone()).await.expect(201);
        for part in ["holds", "users"] {
            let key = format!("hold:{{{event}}}:{part}");
            let kept: String = redis(&app, redis::cmd("OBJECT").arg("ENCODING").arg(key)).await;
            assert_eq!(kept, "hashtable", "{part}");
        }
        // The last one takes all that is known of holders with it.
        let release = json!({"holdToken": held["holdToken"]});
        app.post("/api/holds/release", Some(&admin), release).await.expect(204);
        let known: bool = redis(&app, redis::cmd("EXISTS").arg(format!("hold:{{{event}}}:users"))).await;
        assert!(!known);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_held_is_counted() {
    let app = App::with(&["--hold-seconds", "2"]).await;
    let admin = app.user(Role::Admin).await;
    let seated = app.seated_event(&admin, 1, 3, json!({})).await;
    let general = app.event(&admin, 10, json!({})).await;
    assert_eq!(telemetry::held(&app.state).await.expect("counted"), 0);
    let seats = json!({"eventId": seated, "userId": "kim", "seatIds": ["A-1", "A-2"]});
    let held = app.post("/api/holds", Some(&admin), seats).await.expect(201);
    let tickets = json!({"eventId": general, "userId": "kim", "quantity": 3});
    app.post("/api/holds", Some(&admin), tickets).await.expect(201);
    assert_eq!(telemetry::held(&app.state).await.expect("counted"), 5);
    let confirm = json!({"holdToken": held["holdToken"]});
    app.post("/api/reservations/confirm", Some(&admin), confirm).await.expect(201);
    assert_eq!(telemetry::held(&app.state).await.expect("counted"), 3);
    // Holds end by themselves, though nobody asks for the event.
    tokio::time::sleep(Duration::from_millis(2100)).await;
    assert_eq!(telemetry::held(&app.state).await.expect("counted"), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_user_holds_is_less_by_what_has_ended() {
    let app = App::with(&["--hold-seconds", "4"]).await;
    let admin = app.user(Role::Admin).await;
    let event = app.event(&admin, 20, json!({})).await;
    let holds = &app.state.sales.holds;
    let take = |user: &'static str, quantity| holds.take(event, user, quantity, Vec::new(), 20);
    let of = async |user: &str| {
        let users = redis::cmd("HGET").arg(format!("hold:{{{event}}}:users")).arg(user).to_owned();
        redis::<Option<u32>>(&app, &users).await
    };
    for quantity in [1, 2] {
        take("kim", quantity).await.expect("held");
    }
    tokio::time::sleep(Duration::from_millis(3200)).await;
    let last = take("kim", 1).await.expect("held");
    // What separates the parts of a hold that is written down may stand in a name.
    let barred = take("a|1|2|b", 3).await.expect("held");
    assert_eq!(of("kim").await, Some(4));
    // Two end at once.
    tokio::time::sleep(Duration::from_millis(1000)).await;
    assert_eq!(holds.held(event).await, 4);
    assert_eq!((of("kim").await, of("a|1|2|b").await), (Some(1), Some(3)));
    for hold in [last, barred] {
        assert!(holds.release(&hold).await.expect("Redis answers"));
    }
    assert_eq!((of("kim").await, of("a|1|2|b").await, holds.held(event).await), (None, None, 0));
}

/// Without Redis its token alone speaks for a hold: it must not buy what was sold, and given back, since.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hold_from_before_a_cancelled_sale_buys_nothing_without_redis() {
    let mut servers = own_servers().await;
    let app = App::on(&servers, &[]).await;
    let admin = app.user(Role::Admin).await;
    let mut forgotten = Vec::new();
    // How many other seats were given back decides how they are looked for.
    for others in [0, 99] {
        let event = app.seated_event(&admin, 1, 100, json!({})).await;
        let seat = |user: &str| json!({"eventId": event, "userId": user, "seatIds": ["A-1"]});
        let held = app.post("/api/holds", Some(&admin), seat("kim")).await.expect(201);
        for part in ["seats", "holds", "expiry", "users", "fence", "ready"] {
            redis::<()>(&app, redis::cmd("DEL").arg(format!("hold:{{{event}}}:{part}"))).await;
        }
        let sold = app.post("/api/reservations", Some(&admin), seat("lee")).await.expect(201);
        app.delete(&format!("/api/reservations/{}", sold["reservationId"]), Some(&admin)).await.expect(204);
        sqlx::query(
            "INSERT INTO seat_fences SELECT event_id, id, 1 FROM seats WHERE event_id = ? AND id <> 'A-1' LIMIT ?",
        )
        .bind(event)
        .bind(others)
        .execute(&app.state.db)
        .await
        .expect("written");
        forgotten.push((event, held));
    }
    servers.redis.kill();
    for (event, held) in forgotten {
        let late = json!({"holdToken": held["holdToken"]});
        app.post("/api/reservations/confirm", Some(&admin), late).await.problem(409, "seat_taken");
        assert_eq!(app.check_event(event).await, 0);
    }
}
