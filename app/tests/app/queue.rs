//! The waiting queue.

use crate::process::service;
use crate::support::{App, User};
use futures::future::join_all;
use serde_json::{Value, json};
use std::time::{Duration, Instant};
use ticketing::accounts::Role;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

fn queue(per_second: f64, most: u32) -> Value {
    json!({"queue": {"enabled": true, "admitPerSecond": per_second, "maxInside": most}})
}

async fn enter(app: &App, event: u64, user: &User) -> Value {
    app.send(hyper::Method::POST, &format!("/api/queue/{event}/enter"), Some(user), &[], None).await.expect(200)
}

async fn place(app: &App, event: u64, user: &User) -> Value {
    app.get(&format!("/api/queue/{event}/me"), Some(user)).await.expect(200)
}

/// Waits until the user is let in, and returns the pass.
async fn pass(app: &App, event: u64, user: &User) -> String {
    let started = Instant::now();
    loop {
        let place = place(app, event, user).await;
        if let Some(pass) = place["pass"].as_str() {
            assert_eq!(place["state"], "ADMITTED");
            return pass.to_owned();
        }
        assert!(started.elapsed() < Duration::from_secs(20), "still waiting: {place}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

async fn buy(app: &App, event: u64, user: &User, pass: Option<&str>) -> crate::support::Answer {
    let body = Some(json!({"eventId": event, "userId": user.id, "quantity": 1}));
    let headers: Vec<(&str, &str)> = pass.map(|pass| ("x-queue-pass", pass)).into_iter().collect();
    app.send(hyper::Method::POST, "/api/reservations", Some(user), &headers, body).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_who_was_let_in_can_buy_and_one_at_a_time() {
    let app = App::start().await;
    let (admin, kim, lee) = (app.user(Role::Admin).await, app.user(Role::User).await, app.user(Role::User).await);
    let event = app.event(&admin, 10, queue(100.0, 1)).await;
    buy(&app, event, &kim, None).await.problem(403, "pass_needed");
    assert_eq!(place(&app, event, &kim).await["state"], "ABSENT");
    enter(&app, event, &kim).await;
    let kims = pass(&app, event, &kim).await;
    let waiting = enter(&app, event, &lee).await;
    assert_eq!((waiting["state"].as_str(), waiting["position"].as_u64()), (Some("WAITING"), Some(1)));
    tokio::time::sleep(Duration::from_millis(800)).await;
    assert_eq!(place(&app, event, &lee).await["state"], "WAITING", "only one is let in at a time");
    assert_eq!(enter(&app, event, &lee).await["position"], 1, "entering again keeps the place");

    buy(&app, event, &lee, Some(&kims)).await.problem(403, "pass_needed");
    buy(&app, event, &lee, Some("forged")).await.problem(403, "pass_needed");
    let hold = Some(json!({"eventId": event, "quantity": 1}));
    app.send(hyper::Method::POST, "/api/holds", Some(&kim), &[], hold.clone()).await.problem(403, "pass_needed");
    let headers = [("x-queue-pass", kims.as_str())];
    let held = app.send(hyper::Method::POST, "/api/holds", Some(&kim), &headers, hold).await.expect(201);
    let confirm = Some(json!({"holdToken": held["holdToken"]}));
    let path = "/api/reservations/confirm";
    app.send(hyper::Method::POST, path, Some(&kim), &[], confirm.clone()).await.problem(403, "pass_needed");
    app.send(hyper::Method::POST, path, Some(&kim), &headers, confirm.clone()).await.expect(201);
    // The sale freed the place: the pass is worth nothing any more, a repeated confirmation still is answered.
    app.send(hyper::Method::POST, path, Some(&kim), &[], confirm).await.expect(201);
    buy(&app, event, &kim, Some(&kims)).await.problem(403, "pass_needed");
    let lees = pass(&app, event, &lee).await;
    let group = Some(json!({"userId": lee.id, "items": [{"eventId": event, "quantity": 1}]}));
    let headers = [("x-queue-pass", lees.as_str())];
    app.send(hyper::Method::POST, "/api/reservation-groups", Some(&lee), &headers, group).await.expect(201);
    buy(&app, event, &lee, Some(&lees)).await.problem(403, "pass_needed");
    // The box office does not queue.
    app.post("/api/reservations", Some(&admin), json!({"eventId": event, "userId": "x", "quantity": 1}))
        .await
        .expect(201);
    assert_eq!(app.check_event(event).await, 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_group_needs_a_pass_for_each_of_its_queues() {
    let app = App::start().await;
    let (admin, kim) = (app.user(Role::Admin).await, app.user(Role::User).await);
    let mut passes = Vec::new();
    let mut events = Vec::new();
    for _ in 0..2 {
        let event = app.event(&admin, 10, queue(100.0, 1)).await;
        enter(&app, event, &kim).await;
        passes.push(pass(&app, event, &kim).await);
        events.push(event);
    }
    let items: Vec<_> = events.iter().map(|event| json!({"eventId": event, "quantity": 1})).collect();
    let group = Some(json!({"userId": kim.id, "items": items}));
    let path = "/api/reservation-groups";
    for pass in &passes {
        let headers = [("x-queue-pass", pass.as_str())];
        app.send(hyper::Method::POST, path, Some(&kim), &headers, group.clone()).await.problem(403, "pass_needed");
    }
    // In headers of their own, or in one as a list.
    let headers: Vec<_> = passes.iter().map(|pass| ("x-queue-pass", pass.as_str())).collect();
    app.send(hyper::Method::POST, path, Some(&kim), &headers, group.clone()).await.expect(201);
    for event in &events {
        enter(&app, *event, &kim).await;
    }
    let list = format!("{}, {}", pass(&app, events[1], &kim).await, pass(&app, events[0], &kim).await);
    app.send(hyper::Method::POST, path, Some(&kim), &[("x-queue-pass", list.as_str())], group).await.expect(201);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn people_are_let_in_in_order_and_at_the_rate_that_the_admin_sets() {
    let app = App::start().await;
    let admin = app.user(Role::Admin).await;
    let event = app.event(&admin, 10, queue(0.001, 1000)).await;
    let mut users = Vec::new();
    for _ in 0..30 {
        let user = app.user(Role::User).await;
        enter(&app, event, &user).await;
        users.push(user);
    }
    let positions = join_all(users.iter().map(|user| place(&app, event, user))).await;
    let positions: Vec<u64> = positions.iter().filter_map(|place| place["position"].as_u64()).collect();
    assert_eq!(positions, (1..=30).collect::<Vec<u64>>());
    let overview = app.get(&format!("/api/queue/{event}"), None).await;
    assert!(overview.headers["cache-control"].to_str().expect("text").contains("public"));
    assert_eq!(overview.expect(200)["waiting"], 30);

    let faster = json!({"queue": {"enabled": true, "admitPerSecond": 10.0, "maxInside": 1000}});
    app.patch(&format!("/api/events/{event}"), Some(&admin), faster).await.expect(200);
    let started = Instant::now();
    let mut last = 0;
    while last < 30 {
        // From the last to the first: whoever is asked later may have been let in meanwhile.
        let mut places = Vec::new();
        for user in users.iter().rev() {
            places.push(place(&app, event, user).await);
        }
        places.reverse();
        let inside: Vec<bool> = places.iter().map(|place| place["state"] == "ADMITTED").collect();
        let count = inside.iter().take_while(|inside| **inside).count();
        assert_eq!(inside.iter().filter(|inside| **inside).count(), count, "in order of arrival: {inside:?}");
        if count > 5 && count < 25 {
            let estimate = places[29]["estimatedWaitSec"].as_u64().expect("an estimate");
            assert!((1..=600).contains(&estimate), "{estimate}");
        }
        last = count;
        assert!(started.elapsed() < Duration::from_secs(20), "only {count} were let in");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert!(started.elapsed() > Duration::from_millis(1500), "30 at 10 per second: {:?}", started.elapsed());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn early_arrivals_draw_lots_when_the_sale_opens() {
    let app = App::start().await;
    let admin = app.user(Role::Admin).await;
    let opens = (OffsetDateTime::now_utc() + Duration::from_secs(3)).format(&Rfc3339).expect("formats");
    let mut settings = queue(0.001, 1000);
    settings["saleOpensAt"] = json!(opens);
    let event = app.event(&admin, 10, settings).await;
    let mut users = Vec::new();
    for _ in 0..30 {
        let user = app.user(Role::User).await;
        let place = enter(&app, event, &user).await;
        assert_eq!((place["state"].as_str(), place["position"].as_u64()), (Some("PRESALE"), None), "{place}");
        users.push(user);
    }
    tokio::time::sleep(Duration::from_millis(3300)).await;
    let late = app.user(Role::User).await;
    let after = enter(&app, event, &late).await["position"].as_u64();
    let positions = join_all(users.iter().map(|user| place(&app, event, user))).await;
    let positions: Vec<u64> = positions.iter().filter_map(|place| place["position"].as_u64()).collect();
    let mut sorted = positions.clone();
    sorted.sort_unstable();
    // One may have been let in at the opening.
    assert!(sorted.len() >= 29, "{positions:?}");
    assert_ne!(positions, sorted, "thirty people in order of arrival would be a strange lot");
    assert!(after > sorted.last().copied(), "who comes late stands behind");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_estimate_is_right_from_the_beginning_of_a_crowd() {
    let app = App::start().await;
    let (admin, early) = (app.user(Role::Admin).await, app.user(Role::User).await);
    let event = app.event(&admin, 10, queue(5.0, 1000)).await;
    let mut users = Vec::new();
    for _ in 0..40 {
        users.push(app.user(Role::User).await);
    }
    // For a while nobody comes but one.
    enter(&app, event, &early).await;
    pass(&app, event, &early).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    join_all(users.iter().map(|user| enter(&app, event, user))).await;
    let started = Instant::now();
    let last = loop {
        let places = join_all(users.iter().map(|user| place(&app, event, user))).await;
        let last = places.into_iter().max_by_key(|place| place["position"].as_u64()).expect("a place");
        if last["estimatedWaitSec"].is_u64() {
            break last;
        }
        assert!(started.elapsed() < Duration::from_secs(5), "no estimate: {last}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    let (position, estimate) = (last["position"].as_u64(), last["estimatedWaitSec"].as_u64());
    let (position, estimate) = (position.expect("a position"), estimate.expect("an estimate"));
    assert!((position / 5..=position / 5 * 3).contains(&estimate), "{estimate} s at place {position}, at 5 per second");
}

#[tokio::test]
async fn there_is_nothing_to_queue_for_when_the_event_is_over() {
    let app = App::start().await;
    let (admin, kim) = (app.user(Role::Admin).await, app.user(Role::User).await);
    let mut settings = queue(10.0, 10);
    settings["eventDate"] = json!("2020-01-01T00:00:00Z");
    let over = app.event(&admin, 10, settings).await;
    let enter = async |event: u64| app.post(&format!("/api/queue/{event}/enter"), Some(&kim), json!({})).await;
    enter(over).await.problem(409, "event_over");
    let cancelled = app.event(&admin, 10, queue(10.0, 10)).await;
    app.patch(&format!("/api/events/{cancelled}"), Some(&admin), json!({"cancelled": true})).await.expect(200);
    enter(cancelled).await.problem(409, "event_cancelled");
}

#[tokio::test]
async fn leaving_and_events_without_a_queue() {
    let app = App::start().await;
    let (admin, kim) = (app.user(Role::Admin).await, app.user(Role::User).await);
    let open = app.event(&admin, 10, json!({})).await;
    assert_eq!(enter(&app, open, &kim).await["state"], "NOT_NEEDED");
    let event = app.event(&admin, 10, queue(0.001, 10)).await;
    // The bucket starts empty at this rate, so that everybody waits.
    enter(&app, event, &kim).await;
    let path = format!("/api/queue/{event}/me");
    app.delete(&path, Some(&kim)).await.expect(204);
    app.delete(&path, Some(&kim)).await.problem(404, "not_found");
    assert_eq!(place(&app, event, &kim).await["state"], "ABSENT");
    app.get("/api/queue/999", None).await.problem(404, "not_found");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_stream_ends_with_the_pass() {
    let app = App::start().await;
    let (admin, kim) = (app.user(Role::Admin).await, app.user(Role::User).await);
    let event = app.event(&admin, 10, queue(2.0, 10)).await;
    enter(&app, event, &kim).await;
    let stream = app.get(&format!("/api/queue/{event}/stream"), Some(&kim)).await;
    assert_eq!(stream.headers["content-type"], "text/event-stream");
    assert!(stream.text.starts_with("event: place\ndata: {"), "{}", stream.text);
    assert!(stream.text.contains("\"state\":\"ADMITTED\""), "{}", stream.text);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_is_said_to_wait_where_there_is_no_queue_any_more() {
    let app = App::with(&["--role", "api"]).await;
    let admin = app.user(Role::Admin).await;
    // A process of its own has metrics of its own.
    let running = service(&app, &[], &["--role", "queue"]).await;
    let far = app.elsewhere(&format!("http://127.0.0.1:{}", running.port));
    let waiting = async |event: u64, number: u32| {
        let line = format!("ticketing_queue_waiting{{event=\"{event}\"}} {number}\n");
        let started = Instant::now();
        loop {
            let metrics = far.get("/metrics", None).await.text;
            if metrics.contains(&line) {
                break;
            }
            assert!(started.elapsed() < Duration::from_secs(10), "not {line} in {metrics}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let mut events = Vec::new();
    for _ in 0..2 {
        let event = app.event(&admin, 10, queue(100.0, 1)).await;
        for _ in 0..3 {
            let user = app.user(Role::User).await;
            enter(&far, event, &user).await;
        }
        waiting(event, 2).await;
        events.push(event);
    }
    let off = json!({"queue": {"enabled": false, "admitPerSecond": 100.0, "maxInside": 1}});
    app.patch(&format!("/api/events/{}", events[0]), Some(&admin), off).await.expect(200);
    waiting(events[0], 0).await;
    let over = json!({"eventDate": "2020-01-01T00:00:00Z"});
    app.patch(&format!("/api/events/{}", events[1]), Some(&admin), over).await.expect(200);
    waiting(events[1], 0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_place_that_nobody_uses_goes_to_the_next() {
    let app = App::start().await;
    let (admin, kim, lee) = (app.user(Role::Admin).await, app.user(Role::User).await, app.user(Role::User).await);
    let event = app.event(&admin, 10, queue(100.0, 1)).await;
    enter(&app, event, &kim).await;
    pass(&app, event, &kim).await;
    enter(&app, event, &lee).await;
    tokio::time::sleep(Duration::from_millis(600)).await;
    assert_eq!(place(&app, event, &lee).await["state"], "WAITING");
    // As if the time of Kim's pass were over.
    let over = redis::Cmd::zadd(format!("queue:{{{event}}}:inside"), &kim.id, 1);
    app.state.kv.run::<()>(&over).await.expect("set");
    pass(&app, event, &lee).await;
    assert_eq!(place(&app, event, &kim).await["state"], "ABSENT");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn more_may_be_inside_as_soon_as_the_admin_says_so() {
    let app = App::start().await;
    let admin = app.user(Role::Admin).await;
    let event = app.event(&admin, 10, queue(100.0, 1)).await;
    let mut users = Vec::new();
    for _ in 0..3 {
        let user = app.user(Role::User).await;
        enter(&app, event, &user).await;
        users.push(user);
    }
    pass(&app, event, &users[0]).await;
    tokio::time::sleep(Duration::from_millis(600)).await;
    for user in &users[1..] {
        assert_eq!(place(&app, event, user).await["state"], "WAITING");
    }
    app.patch(&format!("/api/events/{event}"), Some(&admin), queue(100.0, 2)).await.expect(200);
    pass(&app, event, &users[1]).await;
    tokio::time::sleep(Duration::from_millis(600)).await;
    assert_eq!(place(&app, event, &users[2]).await["state"], "WAITING");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn people_are_told_to_come_back_at_different_times() {
    let app = App::start().await;
    let admin = app.user(Role::Admin).await;
    let event = app.event(&admin, 10, queue(10.0, 10)).await;
    let path = format!("/api/queue/{event}");
    let mut pauses = std::collections::BTreeSet::new();
    for _ in 0..50 {
        let answer = app.get(&path, None).await;
        pauses.insert(answer.headers["retry-after"].to_str().expect("text").parse::<u64>().expect("seconds"));
    }
    assert_eq!(Vec::from_iter(pauses), [4, 5, 6]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_of_a_queue_is_kept_for_ever() {
    let app = App::start().await;
    let (admin, kim, lee) = (app.user(Role::Admin).await, app.user(Role::User).await, app.user(Role::User).await);
    let event = app.event(&admin, 10, queue(100.0, 1)).await;
    for user in [&kim, &lee] {
        enter(&app, event, user).await;
    }
    pass(&app, event, &kim).await;
    let keys = ["waiting", "inside", "bucket"].map(|part| format!("queue:{{{event}}}:{part}"));
    let left = async || -> Vec<i64> {
        let mut pipeline = redis::pipe();
        for key in &keys {
            pipeline.ttl(key);
        }
        app.state.kv.pipe(&pipeline).await.expect("told")
    };
    let week = 7 * 24 * 3600;
    let are_kept = |left: &[i64]| left.iter().all(|seconds| (week - 3700..=week).contains(seconds));
    assert!(are_kept(&left().await), "{:?}", left().await);
    // While people are let in, it begins anew.
    for key in &keys {
        app.state.kv.run::<()>(&redis::Cmd::expire(key, 60)).await.expect("set");
    }
    tokio::time::sleep(Duration::from_millis(800)).await;
    assert!(are_kept(&left().await), "{:?}", left().await);
}
