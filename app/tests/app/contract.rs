//! The public contract, line by line.

use crate::support::{App, User};
use serde_json::{Value, json};
use ticketing::accounts::Role;

#[tokio::test]
async fn health_says_what_works() {
    let app = App::start().await;
    let mut health = Value::Null;
    for _ in 0..100 {
        let answer = app.get("/api/health", None).await;
        health = answer.body;
        if health["status"] == "UP" {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    assert_eq!(health["status"], "UP");
    assert_eq!((health["database"].as_str(), health["redis"].as_str()), (Some("connected"), Some("connected")));
    assert!(health["timestamp"].as_str().expect("a time").ends_with('Z'));
    app.get("/livez", None).await.expect(200);
    app.get("/readyz", None).await.expect(200);
    app.get("/nowhere", None).await.problem(404, "not_found");
    app.delete("/api/health", None).await.problem(405, "method_not_allowed");
}

#[tokio::test]
async fn events_are_created_listed_and_shown() {
    let app = App::start().await;
    let admin = app.user(Role::Admin).await;
    let body = json!({"eventName": "Concert", "totalSeats": 100, "eventDate": "2999-12-24T19:00:00"});
    let event = app.post("/api/events", Some(&admin), body).await.expect(201);
    assert_eq!(event["eventName"], "Concert");
    assert_eq!((event["totalSeats"].as_u64(), event["availableSeats"].as_u64()), (Some(100), Some(100)));
    assert_eq!((event["seated"].as_bool(), event["queue"]["enabled"].as_bool()), (Some(false), Some(false)));
    let path = format!("/api/events/{}", event["eventId"]);
    assert_eq!(app.get(&path, None).await.expect(200), event);
    let list = app.get("/api/events", None).await;
    assert_eq!(list.headers["x-total-count"], "1");
    assert_eq!(list.expect(200), json!([event]));
    app.get("/api/events/999", None).await.problem(404, "not_found");
    app.get("/api/events/abc", None).await.problem(404, "not_found");

    for (field, value, code) in [
        ("totalSeats", json!(0), "bad_total"),
        ("totalSeats", json!(-5), "bad_total"),
        ("totalSeats", json!("many"), "invalid_body"),
        ("eventDate", json!("soon"), "bad_time"),
        ("eventName", json!(""), "bad_text"),
    ] {
        let mut body = json!({"eventName": "Concert", "totalSeats": 100, "eventDate": "2999-12-24T19:00:00Z"});
        body[field] = value;
        app.post("/api/events", Some(&admin), body).await.problem(422, code);
    }
}

#[tokio::test]
async fn searching_sorting_and_paging() {
    let app = App::start().await;
    let admin = app.user(Role::Admin).await;
    let mut ids = Vec::new();
    for (name, date) in [
        ("Spring", "2999-04-01T10:00:00Z"),
        ("Summer 100%", "2999-07-01T10:00:00Z"),
        ("Winter", "2999-01-01T10:00:00Z"),
    ] {
        ids.push(app.event(&admin, 10, json!({"eventName": name, "eventDate": date})).await);
    }
    let body = json!({"eventId": ids[0], "userId": "somebody", "quantity": 2});
    app.post("/api/reservations", Some(&admin), body).await.expect(201);
    let names = async |query: &str| -> Vec<String> {
        let list = app.get(&format!("/api/events?{query}"), None).await.expect(200);
        let list = list.as_array().expect("a list");
        list.iter().map(|event| event["eventName"].as_str().expect("a name").to_owned()).collect()
    };
    assert_eq!(names("").await, ["Winter", "Summer 100%", "Spring"]);
    assert_eq!(names("sort=date").await, ["Winter", "Spring", "Summer 100%"]);
    assert_eq!(names("sort=most-reserved&size=1").await, ["Spring"]);
    assert_eq!(names("size=2&page=1").await, ["Spring"]);
    assert_eq!(names("search=mmer").await, ["Summer 100%"]);
    assert_eq!(names("search=0%25").await, ["Summer 100%"]);
    assert_eq!(names("search=_pring").await, [""; 0]);
    assert_eq!(names("from=2999-04-01&to=2999-04-01").await, ["Spring"]);
    assert_eq!(names("from=1000-01-01&to=9999-12-31&sort=date&size=1").await, ["Winter"]);
    let dates = ["from=yesterday", "from=-0001-01-01", "to=-0001-01-01", "from=0999-12-31"];
    for bad in ["size=0", "size=101", "sort=best", "page=-1"].into_iter().chain(dates) {
        app.get(&format!("/api/events?{bad}"), None).await.problem(400, "invalid_query");
    }
}

#[tokio::test]
async fn the_events_that_somebody_goes_to() {
    let app = App::start().await;
    let (admin, kim, lee) = (app.user(Role::Admin).await, app.user(Role::User).await, app.user(Role::User).await);
    let mut ids = Vec::new();
    for date in ["2999-07-01T10:00:00Z", "2999-04-01T10:00:00Z", "2999-01-01T10:00:00Z"] {
        ids.push(app.event(&admin, 10, json!({"eventDate": date})).await);
    }
    let mine = async |user, query: &str| -> Vec<u64> {
        let answer = app.get(&format!("/api/events?sort=mine{query}"), Some(user)).await;
        let total = answer.headers["x-total-count"].to_str().expect("text").parse::<usize>().expect("a number");
        let list = answer.expect(200);
        let list = list.as_array().expect("a list");
        assert!(total == list.len() || query.contains("size"), "{total}");
        list.iter().map(|event| event["eventId"].as_u64().expect("an id")).collect()
    };
    let mut made = Vec::new();
    for (user, event) in [(&kim, ids[0]), (&kim, ids[1]), (&kim, ids[1]), (&lee, ids[2])] {
        let body = json!({"eventId": event, "userId": user.id, "quantity": 1});
        made.push(app.post("/api/reservations", Some(user), body).await.expect(201)["reservationId"].clone());
        assert!(mine(user, "").await.contains(&event), "at once");
    }
    assert_eq!(mine(&kim, "").await, [ids[1], ids[0]]);
    assert_eq!(mine(&kim, "&size=1&page=1").await, [ids[0]]);
    assert_eq!(mine(&lee, "").await, [ids[2]]);
    assert_eq!(mine(&admin, "").await, [0; 0]);
    app.delete(&format!("/api/reservations/{}", made[0]), Some(&kim)).await.expect(204);
    app.delete(&format!("/api/reservations/{}", made[1]), Some(&kim)).await.expect(204);
    assert_eq!(mine(&kim, "").await, [ids[1]], "one reservation is left");
    app.get("/api/events?sort=mine", None).await.problem(401, "login_needed");
    let nobody = User { id: String::new(), token: "x".into() };
    app.get("/api/events?sort=mine", Some(&nobody)).await.problem(401, "bad_token");
    assert_eq!(app.get("/api/events", Some(&nobody)).await.expect(200).as_array().map(Vec::len), Some(3));
}

#[tokio::test]
async fn a_reservation_from_sale_to_cancellation() {
    let app = App::start().await;
    let (admin, kim) = (app.user(Role::Admin).await, app.user(Role::User).await);
    let event = app.event(&admin, 5, json!({})).await;
    let order = |user: &str, quantity: i64| json!({"eventId": event, "userId": user, "quantity": quantity});

    app.post("/api/reservations", None, order(&kim.id, 1)).await.problem(401, "login_needed");
    app.post("/api/reservations", Some(&kim), order("somebody", 1)).await.problem(403, "not_yours");
    for quantity in [0, -1, 11, i64::MAX] {
        app.post("/api/reservations", Some(&kim), order(&kim.id, quantity)).await.problem(422, "bad_quantity");
    }
    let nowhere = json!({"eventId": 999, "userId": kim.id, "quantity": 1});
    app.post("/api/reservations", Some(&kim), nowhere).await.problem(404, "not_found");

    let made = app.post("/api/reservations", Some(&kim), order(&kim.id, 3)).await.expect(201);
    assert_eq!((made["eventId"].as_u64(), made["quantity"].as_u64()), (Some(event), Some(3)));
    assert_eq!((made["userId"].as_str(), made["status"].as_str()), (Some(kim.id.as_str()), Some("CONFIRMED")));
    assert_eq!(made["tickets"].as_array().map(Vec::len), Some(3));
    assert!(made["reservationTime"].is_string());
    assert_eq!(app.available(event).await, 2);

    app.post("/api/reservations", Some(&kim), order(&kim.id, 3)).await.problem(409, "sold_out");
    // The box office sells to anybody.
    app.post("/api/reservations", Some(&admin), order("user-17", 2)).await.expect(201);
    assert_eq!(app.available(event).await, 0);
    app.check_event(event).await;

    let mine = format!("/api/reservations/user/{}", kim.id);
    assert_eq!(app.get(&mine, Some(&kim)).await.expect(200), json!([made]));
    app.get("/api/reservations/user/user-17", Some(&kim)).await.problem(403, "not_yours");

    let path = format!("/api/reservations/{}", made["reservationId"]);
    assert_eq!(app.get(&path, Some(&kim)).await.expect(200), made);
    let lee = app.user(Role::User).await;
    app.get(&path, Some(&lee)).await.problem(403, "not_yours");
    app.delete(&path, Some(&lee)).await.problem(403, "not_yours");
    let code = made["tickets"][0]["code"].as_str().expect("a code");
    let qr = app.get(&format!("{path}/tickets/{code}/qr"), Some(&kim)).await;
    assert!(qr.text.starts_with("<svg"), "{}", qr.text);

    app.delete(&path, Some(&kim)).await.expect(204);
    assert_eq!(app.available(event).await, 3);
    app.delete(&path, Some(&kim)).await.problem(404, "not_found");
    app.delete("/api/reservations/999999", Some(&kim)).await.problem(404, "not_found");
    assert_eq!(app.check_event(event).await, 2);
}

#[tokio::test]
async fn an_idempotency_key_buys_once() {
    let app = App::start().await;
    let (admin, kim) = (app.user(Role::Admin).await, app.user(Role::User).await);
    let event = app.event(&admin, 5, json!({})).await;
    let send = async |quantity: u32, key: &str| {
        let body = json!({"eventId": event, "userId": kim.id, "quantity": quantity});
        app.send(hyper::Method::POST, "/api/reservations", Some(&kim), &[("idempotency-key", key)], Some(body)).await
    };
    let first = send(2, "one").await.expect(201);
    assert_eq!(send(2, "one").await.expect(201), first);
    send(3, "one").await.problem(422, "idempotency_key_reused");
    send(2, "two").await.expect(201);
    send(2, " ").await.problem(400, "bad_idempotency_key");
    assert_eq!(app.check_event(event).await, 4);
}

#[tokio::test]
async fn what_cannot_be_bought() {
    let app = App::start().await;
    let (admin, kim) = (app.user(Role::Admin).await, app.user(Role::User).await);
    let buy = async |event: u64, quantity: u32| {
        app.post("/api/reservations", Some(&kim), json!({"eventId": event, "userId": kim.id, "quantity": quantity}))
            .await
    };
    let over = app.event(&admin, 5, json!({"eventDate": "2020-01-01T00:00:00Z"})).await;
    buy(over, 1).await.problem(409, "event_over");
    let hold = json!({"eventId": over, "quantity": 1});
    app.post("/api/holds", Some(&kim), hold).await.problem(409, "event_over");
    let later = app.event(&admin, 5, json!({"saleOpensAt": "2999-01-01T00:00:00Z"})).await;
    buy(later, 1).await.problem(409, "sale_not_open");
    let limited = app.event(&admin, 5, json!({"maxPerUser": 2})).await;
    buy(limited, 1).await.expect(201);
    buy(limited, 2).await.problem(409, "user_limit");
    buy(limited, 1).await.expect(201);
    let cancelled = app.event(&admin, 5, json!({})).await;
    app.patch(&format!("/api/events/{cancelled}"), Some(&admin), json!({"cancelled": true})).await.expect(200);
    buy(cancelled, 1).await.problem(409, "event_cancelled");
}

#[tokio::test]
async fn seats_are_held_and_bought() {
    let app = App::start().await;
    let (admin, kim, lee) = (app.user(Role::Admin).await, app.user(Role::User).await, app.user(Role::User).await);
    let event = app.seated_event(&admin, 2, 3, json!({})).await;
    let hold = |seats: &[&str]| json!({"eventId": event, "seatIds": seats});
    let status = async |seat: &str| {
        let seats = app.get(&format!("/api/events/{event}/seats"), None).await.expect(200);
        let seats = seats.as_array().expect("seats").clone();
        assert_eq!(seats.len(), 6);
        let found = seats.into_iter().find(|found| found["seatId"] == seat).expect("the seat");
        found["status"].as_str().expect("a status").to_owned()
    };
    let held = app.post("/api/holds", Some(&kim), hold(&["A-1", "A-2"])).await.expect(201);
    assert_eq!(held["exclusive"], true);
    assert_eq!(status("A-1").await, "HELD");
    // All or none: B-1 stays free.
    app.post("/api/holds", Some(&lee), hold(&["B-1", "A-2"])).await.problem(409, "seat_taken");
    assert_eq!(status("B-1").await, "AVAILABLE");
    let direct = json!({"eventId": event, "userId": lee.id, "seatIds": ["A-1"]});
    app.post("/api/reservations", Some(&lee), direct).await.problem(409, "seat_taken");
    app.post("/api/holds", Some(&lee), hold(&["Z-9"])).await.problem(422, "bad_seat");

    let token = json!({"holdToken": held["holdToken"]});
    app.post("/api/reservations/confirm", Some(&lee), token.clone()).await.problem(403, "not_yours");
    let made = app.post("/api/reservations/confirm", Some(&kim), token.clone()).await.expect(201);
    assert_eq!(made["tickets"][1]["seatId"], "A-2");
    assert_eq!(app.post("/api/reservations/confirm", Some(&kim), token.clone()).await.expect(201), made);
    assert_eq!(status("A-1").await, "RESERVED");
    app.post("/api/holds/release", Some(&kim), token).await.problem(409, "hold_expired");

    let held = app.post("/api/holds", Some(&kim), hold(&["B-1"])).await.expect(201);
    app.post("/api/holds/release", Some(&kim), json!({"holdToken": held["holdToken"]})).await.expect(204);
    let direct = json!({"eventId": event, "userId": lee.id, "seatIds": ["B-1"]});
    app.post("/api/reservations", Some(&lee), direct).await.expect(201);

    app.delete(&format!("/api/reservations/{}", made["reservationId"]), Some(&kim)).await.expect(204);
    assert_eq!(status("A-1").await, "AVAILABLE");
    app.post("/api/holds", Some(&lee), hold(&["A-1"])).await.expect(201);
    assert_eq!(app.check_event(event).await, 1);
}

#[tokio::test]
async fn a_strange_seat_does_no_harm() {
    let app = App::start().await;
    let (admin, kim) = (app.user(Role::Admin).await, app.user(Role::User).await);
    let event = app.seated_event(&admin, 1, 3, json!({})).await;
    for strange in ["a|b", "A-1,A-2", "", "A-1 "] {
        let body = json!({"eventId": event, "userId": kim.id, "seatIds": [strange]});
        for path in ["/api/holds", "/api/reservations"] {
            app.post(path, Some(&kim), body.clone()).await.problem(422, "bad_seat");
        }
        let group = json!({"userId": kim.id, "items": [{"eventId": event, "seatIds": [strange]}]});
        app.post("/api/reservation-groups", Some(&kim), group).await.problem(422, "bad_seat");
    }
    // Holds as they were once made of such seats, and one that nobody can read. Their time is over.
    let key = |part: &str| format!("hold:{{{event}}}:{part}");
    let kv = &app.state.kv;
    for (id, text) in [("OLD", "kim|2|1|A-1,a|b"), ("TORN", "kim")] {
        kv.run::<()>(&redis::Cmd::hset(key("holds"), id, text)).await.expect("written");
        kv.run::<()>(&redis::Cmd::zadd(key("expiry"), id, 1)).await.expect("written");
    }
    kv.run::<()>(&redis::Cmd::hset(key("seats"), "A-1", "OLD")).await.expect("written");
    let hold = json!({"eventId": event, "seatIds": ["A-1"]});
    let held = app.post("/api/holds", Some(&kim), hold).await.expect(201);
    assert_eq!(held["exclusive"], true);
    let left: Vec<String> = kv.run(&redis::Cmd::hkeys(key("holds"))).await.expect("read");
    assert_eq!(left.len(), 1, "{left:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn seats_that_are_bought_directly_are_held_for_as_long_as_a_sale_takes() {
    let app = App::start().await;
    let admin = app.user(Role::Admin).await;
    let event = app.seated_event(&admin, 1, 2, json!({})).await;
    let mut busy = app.db.begin().await.expect("begins");
    let lock = "SELECT id FROM events WHERE id = ? FOR UPDATE";
    sqlx::query(lock).bind(event).execute(&mut *busy).await.expect("locks");
    let order = json!({"eventId": event, "userId": "kim", "seatIds": ["A-1"]});
    let group = json!({"userId": "lee", "items": [{"eventId": event, "seatIds": ["A-2"]}]});
    let look = async {
        tokio::time::sleep(std::time::Duration::from_millis(700)).await;
        let all = redis::Cmd::zrange_withscores(format!("hold:{{{event}}}:expiry"), 0, -1);
        let held: Vec<(String, i64)> = app.state.kv.run(&all).await.expect("read");
        busy.rollback().await.expect("ends");
        held
    };
    let (one, two, held) = tokio::join!(
        app.post("/api/reservations", Some(&admin), order),
        app.post("/api/reservation-groups", Some(&admin), group),
        look,
    );
    one.expect(201);
    two.expect(201);
    let now = time::OffsetDateTime::now_utc().unix_timestamp() * 1000;
    assert_eq!(held.len(), 2);
    assert!(held.iter().all(|(_, ends)| *ends < now + 30_000), "{held:?}, and it is {now}");
}

#[tokio::test]
async fn what_one_order_may_have_can_be_held_and_bought() {
    let app = App::start().await;
    let (admin, kim, lee) = (app.user(Role::Admin).await, app.user(Role::User).await, app.user(Role::User).await);
    let event = app.seated_event(&admin, 3, 10, json!({})).await;
    let seats = |row: &str, last: u32| -> Value { (1..=last).map(|seat| format!("{row}-{seat}")).collect() };
    let hold = |seats: Value| json!({"eventId": event, "seatIds": seats});
    let held = app.post("/api/holds", Some(&kim), hold(seats("A", 10))).await.expect(201);
    app.post("/api/holds", Some(&kim), hold(seats("B", 1))).await.problem(409, "hold_limit");
    app.post("/api/reservations/confirm", Some(&kim), json!({"holdToken": held["holdToken"]})).await.expect(201);
    let order = |seats: Value| json!({"eventId": event, "userId": lee.id, "seatIds": seats});
    app.post("/api/reservations", Some(&lee), order(seats("B", 9))).await.expect(201);
    let group = json!({"userId": lee.id, "items": [{"eventId": event, "seatIds": seats("C", 10)}]});
    app.post("/api/reservation-groups", Some(&lee), group).await.expect(201);
    // Several holds together have the limit.
    let other = app.seated_event(&admin, 2, 10, json!({"maxPerOrder": 5})).await;
    let hold = |seats: Value| json!({"eventId": other, "seatIds": seats});
    app.post("/api/holds", Some(&kim), hold(seats("A", 5))).await.expect(201);
    app.post("/api/holds", Some(&kim), hold(seats("B", 4))).await.problem(409, "hold_limit");
    app.post("/api/holds", Some(&kim), hold(seats("B", 3))).await.expect(201);
    // More than an order may have is not even held.
    let many = json!({"eventId": other, "userId": lee.id, "seatIds": seats("B", 6)});
    app.post("/api/reservations", Some(&lee), many).await.problem(422, "bad_quantity");
    assert_eq!((app.check_event(event).await, app.check_event(other).await), (29, 0));
}

#[tokio::test]
async fn a_hold_ends_by_itself() {
    let app = App::with(&["--hold-seconds", "1"]).await;
    let (admin, kim, lee) = (app.user(Role::Admin).await, app.user(Role::User).await, app.user(Role::User).await);
    let event = app.event(&admin, 2, json!({})).await;
    let held = app.post("/api/holds", Some(&kim), json!({"eventId": event, "quantity": 2})).await.expect(201);
    let order = json!({"eventId": event, "userId": lee.id, "quantity": 1});
    app.post("/api/reservations", Some(&lee), order.clone()).await.problem(409, "sold_out");
    app.post("/api/holds", Some(&lee), json!({"eventId": event, "quantity": 1})).await.problem(409, "sold_out");
    tokio::time::sleep(std::time::Duration::from_millis(1100)).await;
    app.post("/api/reservations", Some(&lee), order).await.expect(201);
    let token = json!({"holdToken": held["holdToken"]});
    app.post("/api/reservations/confirm", Some(&kim), token).await.problem(409, "hold_expired");
    assert_eq!(app.check_event(event).await, 1);
}

#[tokio::test]
async fn another_instance_sees_a_sale_at_once() {
    let app = App::start().await;
    let other = app.another().await;
    let admin = app.user(Role::Admin).await;
    let event = app.event(&admin, 50, json!({})).await;
    for left in (0..50).rev() {
        let order = json!({"eventId": event, "userId": "somebody", "quantity": 1});
        app.post("/api/reservations", Some(&admin), order).await.expect(201);
        assert_eq!((other.available(event).await, app.available(event).await), (left, left));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_box_office_sells_to_any_name() {
    let app = App::start().await;
    let admin = app.user(Role::Admin).await;
    let event = app.event(&admin, 10, json!({})).await;
    let seated = app.seated_event(&admin, 1, 3, json!({})).await;
    let name = "김 민수 | 'Kim, Min-su'";
    let order = json!({"eventId": event, "userId": name, "quantity": 1});
    let sold = app.post("/api/reservations", Some(&admin), order).await.expect(201);
    assert_eq!(sold["userId"], name);
    let hold = json!({"eventId": seated, "userId": name, "seatIds": ["A-1"]});
    let held = app.post("/api/holds", Some(&admin), hold).await.expect(201);
    let confirm = json!({"holdToken": held["holdToken"]});
    app.post("/api/reservations/confirm", Some(&admin), confirm).await.expect(201);
    let path = "/api/reservations/user/%EA%B9%80%20%EB%AF%BC%EC%88%98%20%7C%20%27Kim%2C%20Min-su%27";
    let all = app.get(path, Some(&admin)).await.expect(200);
    assert_eq!(all.as_array().map(Vec::len), Some(2), "{all}");
    for strange in ["", " ", " kim", "kim ", " all", "kim\tlee", "kim\nlee", &"x".repeat(65)] {
        for (path, body) in [
            ("/api/reservations", json!({"eventId": event, "userId": strange, "quantity": 1})),
            ("/api/holds", json!({"eventId": seated, "userId": strange, "seatIds": ["A-2"]})),
        ] {
            app.post(path, Some(&admin), body).await.problem(422, "bad_user_id");
        }
    }
}
