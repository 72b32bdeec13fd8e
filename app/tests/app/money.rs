//! Wallet, payment, refund, groups.

use crate::support::{App, User};
use futures::future::join_all;
use serde_json::{Value, json};
use ticketing::accounts::Role;

async fn charge(app: &App, user: &User, amount: i64) -> Value {
    app.post(&format!("/api/wallets/{}/charge", user.id), Some(user), json!({"amount": amount})).await.expect(200)
}

async fn balance(app: &App, user: &User) -> u64 {
    let wallet = app.get(&format!("/api/wallets/{}", user.id), Some(user)).await.expect(200);
    wallet["balance"].as_u64().expect("a number")
}

/// The balance must be the sum of the ledger, and each entry must continue the one before.
async fn check_ledger(app: &App, user: &User) {
    let entries: Vec<(i64, u64)> =
        sqlx::query_as("SELECT amount, balance_after FROM wallet_entries WHERE user_id = ? ORDER BY id")
            .bind(&user.id)
            .fetch_all(&app.db)
            .await
            .expect("entries");
    let mut sum = 0;
    for (amount, after) in entries {
        sum += amount;
        assert_eq!(u64::try_from(sum), Ok(after));
    }
    assert_eq!(u64::try_from(sum), Ok(balance(app, user).await));
}

#[tokio::test]
async fn charge_pay_refund() {
    let app = App::start().await;
    let (admin, kim) = (app.user(Role::Admin).await, app.user(Role::User).await);
    let event = app.event(&admin, 10, json!({"price": 300})).await;
    let order = json!({"eventId": event, "userId": kim.id, "quantity": 2});
    app.post("/api/reservations", Some(&kim), order.clone()).await.problem(402, "insufficient_balance");
    assert_eq!(app.available(event).await, 10);
    charge(&app, &kim, 1000).await;
    let made = app.post("/api/reservations", Some(&kim), order.clone()).await.expect(201);
    assert_eq!((made["amount"].as_u64(), made["paymentMethod"].as_str()), (Some(600), Some("WALLET")));
    assert_eq!(balance(&app, &kim).await, 400);
    app.post("/api/reservations", Some(&kim), order).await.problem(402, "insufficient_balance");
    app.delete(&format!("/api/reservations/{}", made["reservationId"]), Some(&kim)).await.expect(204);
    assert_eq!(balance(&app, &kim).await, 1000);
    check_ledger(&app, &kim).await;
    let ledger = app.get(&format!("/api/wallets/{}/transactions", kim.id), Some(&kim)).await.expect(200);
    let kinds: Vec<_> = ledger.as_array().expect("a list").iter().map(|e| e["kind"].as_str()).collect();
    assert_eq!(kinds, [Some("REFUND"), Some("PAYMENT"), Some("CHARGE")]);

    // The box office takes money on site; users cannot say that they paid there.
    let order = json!({"eventId": event, "userId": "user-17", "quantity": 1});
    let made = app.post("/api/reservations", Some(&admin), order).await.expect(201);
    assert_eq!(made["paymentMethod"], "ON_SITE");
    let order = json!({"eventId": event, "userId": kim.id, "quantity": 1, "paymentMethod": "ON_SITE"});
    app.post("/api/reservations", Some(&kim), order).await.problem(403, "admin_only");
}

#[tokio::test]
async fn charging_is_checked_and_idempotent() {
    let app = App::start().await;
    let (kim, lee) = (app.user(Role::User).await, app.user(Role::User).await);
    let path = format!("/api/wallets/{}/charge", kim.id);
    for amount in [0, -5, i64::MAX] {
        app.post(&path, Some(&kim), json!({"amount": amount})).await.problem(422, "bad_amount");
    }
    app.post(&path, Some(&lee), json!({"amount": 5})).await.problem(403, "not_yours");
    let key = [("idempotency-key", "payday")];
    for _ in 0..3 {
        let body = Some(json!({"amount": 70}));
        let answer = app.send(hyper::Method::POST, &path, Some(&kim), &key, body).await.expect(200);
        assert_eq!(answer["balance"], 70);
    }
    let body = Some(json!({"amount": 71}));
    app.send(hyper::Method::POST, &path, Some(&kim), &key, body).await.problem(422, "idempotency_key_reused");
    assert_eq!(balance(&app, &kim).await, 70);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wallet_cannot_be_overdrawn_by_parallel_sales() {
    let app = App::start().await;
    let (admin, kim) = (app.user(Role::Admin).await, app.user(Role::User).await);
    charge(&app, &kim, 1000).await;
    let mut events = Vec::new();
    for _ in 0..4 {
        events.push(app.event(&admin, 100, json!({"price": 70})).await);
    }
    let orders = events.iter().cycle().take(60).map(|event| {
        let body = json!({"eventId": event, "userId": kim.id, "quantity": 1});
        app.post("/api/reservations", Some(&kim), body)
    });
    let answers = join_all(orders).await;
    let bought = answers.iter().filter(|answer| answer.status.as_u16() == 201).count();
    assert_eq!(bought, 14, "1000 pay for 14 tickets of 70");
    assert_eq!(balance(&app, &kim).await, 20);
    check_ledger(&app, &kim).await;
    for event in events {
        app.check_event(event).await;
    }
}

#[tokio::test]
async fn a_group_is_reserved_as_a_whole() {
    let app = App::start().await;
    let (admin, kim) = (app.user(Role::Admin).await, app.user(Role::User).await);
    let general = app.event(&admin, 10, json!({"price": 10})).await;
    let seated = app.seated_event(&admin, 1, 4, json!({"price": 100})).await;
    let group = |quantity: u32, seats: &[&str]| {
        json!({"userId": kim.id, "items": [
            {"eventId": seated, "seatIds": seats}, {"eventId": general, "quantity": quantity}]})
    };
    charge(&app, &kim, 250).await;
    // The second part fails for want of money, or of tickets: then the first did not happen either.
    app.post("/api/reservation-groups", Some(&kim), group(6, &["A-1", "A-2"]))
        .await
        .problem(402, "insufficient_balance");
    app.post("/api/reservation-groups", Some(&kim), group(11, &["A-1"])).await.problem(422, "bad_quantity");
    assert_eq!((app.available(general).await, app.available(seated).await, balance(&app, &kim).await), (10, 4, 250));

    let key = [("idempotency-key", "both")];
    let send = async || {
        let body = Some(group(5, &["A-1", "A-2"]));
        app.send(hyper::Method::POST, "/api/reservation-groups", Some(&kim), &key, body).await.expect(201)
    };
    let made = send().await;
    assert_eq!((made["status"].as_str(), made["totalAmount"].as_u64()), (Some("RESERVED"), Some(250)));
    assert_eq!(send().await, made);
    let path = format!("/api/reservation-groups/{}", made["groupId"]);
    assert_eq!(app.get(&path, Some(&kim)).await.expect(200), made);
    assert_eq!((app.check_event(general).await, app.check_event(seated).await, balance(&app, &kim).await), (5, 2, 0));
    let lee = app.user(Role::User).await;
    app.delete(&path, Some(&lee)).await.problem(403, "not_yours");
    app.delete(&path, Some(&kim)).await.expect(204);
    app.delete(&path, Some(&kim)).await.problem(404, "not_found");
    assert_eq!((app.check_event(general).await, app.check_event(seated).await, balance(&app, &kim).await), (0, 0, 250));
    check_ledger(&app, &kim).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn groups_in_opposite_order_do_not_block_each_other() {
    let app = App::start().await;
    let admin = app.user(Role::Admin).await;
    let (first, second) = (app.event(&admin, 30, json!({})).await, app.event(&admin, 30, json!({})).await);
    let groups = (0..60).map(|n| {
        let mut items = [json!({"eventId": first, "quantity": 1}), json!({"eventId": second, "quantity": 1})];
        if n % 2 == 0 {
            items.reverse();
        }
        app.post("/api/reservation-groups", Some(&admin), json!({"userId": format!("user-{n}"), "items": items}))
    });
    let answers = join_all(groups).await;
    let statuses: Vec<u16> = answers.iter().map(|answer| answer.status.as_u16()).collect();
    assert_eq!(statuses.iter().filter(|status| **status == 201).count(), 30, "{statuses:?}");
    assert_eq!(statuses.iter().filter(|status| **status == 409).count(), 30, "{statuses:?}");
    assert_eq!((app.check_event(first).await, app.check_event(second).await), (30, 30));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_grade_has_its_price() {
    let app = App::start().await;
    let (admin, kim, lee) = (app.user(Role::Admin).await, app.user(Role::User).await, app.user(Role::User).await);
    let tier = |grade: &str, price: u64| json!({"grade": grade, "price": price});
    let row = |row: &str, grade: &str| json!({"row": row, "seats": 2, "grade": grade});
    let mut body = json!({"eventName": "Musical", "eventDate": "2999-12-24T19:00:00+09:00", "price": 10});
    // Spaces around a grade are no part of it.
    body["seatMap"] = json!([row("A", "VIP "), row("B", "S"), row("C", "")]);
    body["priceTiers"] = json!([tier("S", 300), tier("VIP", 500), tier("VIP ", 600)]);
    app.post("/api/events", Some(&admin), body.clone()).await.problem(422, "bad_price");
    body["priceTiers"] = json!([tier("S", 300), tier(" VIP", 500)]);
    let made = app.post("/api/events", Some(&admin), body).await.expect(201);
    assert_eq!(made["priceTiers"], json!([tier("VIP", 500), tier("S", 300)]));
    let event = made["eventId"].as_u64().expect("an id");
    let seats = app.get(&format!("/api/events/{event}/seats"), None).await.expect(200);
    let seats = seats.as_array().expect("seats").iter();
    let told: Vec<_> = seats.map(|seat| (seat["grade"].as_str(), seat["price"].as_u64())).collect();
    let prices = [("VIP", 500), ("VIP", 500), ("S", 300), ("S", 300), ("", 10), ("", 10)];
    assert_eq!(told, prices.map(|(grade, price)| (Some(grade), Some(price))));

    charge(&app, &kim, 2000).await;
    let hold = json!({"eventId": event, "seatIds": ["A-1", "B-1", "C-1"]});
    let held = app.post("/api/holds", Some(&kim), hold).await.expect(201);
    let token = json!({"holdToken": held["holdToken"]});
    let confirmed = app.post("/api/reservations/confirm", Some(&kim), token).await.expect(201);
    assert_eq!((confirmed["amount"].as_u64(), balance(&app, &kim).await), (Some(810), 1190));
    let order = json!({"eventId": event, "userId": kim.id, "seatIds": ["A-2"]});
    let sold = app.post("/api/reservations", Some(&kim), order).await.expect(201);
    assert_eq!((sold["amount"].as_u64(), balance(&app, &kim).await), (Some(500), 690));
    let general = app.event(&admin, 10, json!({"price": 20})).await;
    let items = json!([{"eventId": event, "seatIds": ["B-2", "C-2"]}, {"eventId": general, "quantity": 2}]);
    let group = json!({"userId": kim.id, "items": items});
    let group = app.post("/api/reservation-groups", Some(&kim), group).await.expect(201);
    assert_eq!((group["totalAmount"].as_u64(), balance(&app, &kim).await), (Some(350), 340));
    // What comes back costs who waited for it what the seat costs, and gives back what was paid.
    charge(&app, &lee, 600).await;
    app.post("/api/waitlist", Some(&lee), json!({"eventId": event, "quantity": 1})).await.expect(201);
    app.delete(&format!("/api/reservations/{}", sold["reservationId"]), Some(&kim)).await.expect(204);
    assert_eq!(balance(&app, &kim).await, 840);
    let offer = app.get("/api/waitlist", Some(&lee)).await.expect(200)[0]["id"].clone();
    let accepted = app.post(&format!("/api/waitlist/{offer}/accept"), Some(&lee), json!({})).await.expect(201);
    assert_eq!((accepted["tickets"][0]["seatId"].as_str(), accepted["amount"].as_u64()), (Some("A-2"), Some(500)));
    assert_eq!(balance(&app, &lee).await, 100);
    app.delete(&format!("/api/reservations/{}", confirmed["reservationId"]), Some(&kim)).await.expect(204);
    assert_eq!(balance(&app, &kim).await, 1650);
    for user in [&kim, &lee] {
        check_ledger(&app, user).await;
    }
    assert_eq!(app.check_event(event).await, 3);
}
