//! What follows a sale: waitlist, asynchronous requests, messages, notifications.

use crate::support::{App, User};
use futures::future::join_all;
use serde_json::{Value, json};
use std::time::{Duration, Instant};
use ticketing::accounts::Role;

fn order(event: u64, user: &str, quantity: u32) -> Value {
    json!({"eventId": event, "userId": user, "quantity": quantity})
}

async fn sell_out(app: &App, admin: &User, event: u64, tickets: u32) -> Vec<u64> {
    let mut ids = Vec::new();
    for n in 0..tickets {
        let made = app.post("/api/reservations", Some(admin), order(event, &format!("early-{n}"), 1)).await.expect(201);
        ids.push(made["reservationId"].as_u64().expect("an id"));
    }
    ids
}

async fn join(app: &App, event: u64, user: &User, quantity: u32) -> u64 {
    let body = json!({"eventId": event, "quantity": quantity});
    app.post("/api/waitlist", Some(user), body).await.expect(201)["id"].as_u64().expect("an id")
}

async fn entry(app: &App, user: &User) -> Value {
    app.get("/api/waitlist", Some(user)).await.expect(200)[0].clone()
}

async fn notified(app: &App, user: &User, kind: &str) -> Value {
    let started = Instant::now();
    loop {
        let list = app.get("/api/notifications?unread=true", Some(user)).await.expect(200);
        if let Some(found) = list.as_array().expect("a list").iter().find(|one| one["kind"] == kind) {
            return found.clone();
        }
        assert!(started.elapsed() < Duration::from_secs(10), "no {kind} in {list}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

async fn cancel(app: &App, admin: &User, id: u64) {
    app.delete(&format!("/api/reservations/{id}"), Some(admin)).await.expect(204);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_comes_back_is_offered_to_the_first() {
    let app = App::start().await;
    let (admin, kim, lee) = (app.user(Role::Admin).await, app.user(Role::User).await, app.user(Role::User).await);
    let event = app.event(&admin, 3, json!({})).await;
    app.post("/api/waitlist", Some(&kim), json!({"eventId": event, "quantity": 1})).await.problem(409, "not_sold_out");
    let sold = sell_out(&app, &admin, event, 3).await;
    join(&app, event, &kim, 1).await;
    app.post("/api/waitlist", Some(&kim), json!({"eventId": event, "quantity": 1}))
        .await
        .problem(409, "already_waiting");
    join(&app, event, &lee, 1).await;
    cancel(&app, &admin, sold[0]).await;
    assert_eq!(app.available(event).await, 0, "it is Kim's for now");
    let offer = entry(&app, &kim).await;
    assert_eq!(
        (offer["status"].as_str(), entry(&app, &lee).await["status"].as_str()),
        (Some("OFFERED"), Some("WAITING"))
    );
    assert!(offer["offerExpiresAt"].is_string());
    let told = notified(&app, &kim, "waitlist.offered").await;
    assert!(told["text"].as_str().expect("a text").contains("came back"), "{told}");
    app.post("/api/reservations", Some(&admin), order(event, "somebody", 1)).await.problem(409, "sold_out");

    let path = format!("/api/waitlist/{}/accept", offer["id"]);
    app.post(&path, Some(&lee), json!({})).await.problem(403, "not_yours");
    let made = app.post(&path, Some(&kim), json!({})).await.expect(201);
    assert_eq!((made["status"].as_str(), made["userId"].as_str()), (Some("CONFIRMED"), Some(kim.id.as_str())));
    app.post(&path, Some(&kim), json!({})).await.problem(409, "no_offer");
    assert_eq!(app.check_event(event).await, 3);

    // Lee declines the next one, and nobody else waits: then everybody can have it.
    cancel(&app, &admin, sold[1]).await;
    let entry_id = entry(&app, &lee).await["id"].clone();
    app.delete(&format!("/api/waitlist/{entry_id}"), Some(&lee)).await.expect(204);
    app.delete(&format!("/api/waitlist/{entry_id}"), Some(&lee)).await.problem(404, "not_found");
    assert_eq!(app.available(event).await, 1);
    assert_eq!(app.check_event(event).await, 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_waits_for_many_holds_up_nobody() {
    let app = App::start().await;
    let (admin, kim) = (app.user(Role::Admin).await, app.user(Role::User).await);
    let (lee, park) = (app.user(Role::User).await, app.user(Role::User).await);
    let status = async |user| entry(&app, user).await["status"].as_str().map(str::to_owned).expect("a status");
    let seated = app.seated_event(&admin, 1, 4, json!({})).await;
    let general = app.event(&admin, 4, json!({})).await;
    for event in [seated, general] {
        let mut sold = Vec::new();
        for seats in [&["A-1"][..], &["A-2", "A-3"], &["A-4"]] {
            let body = match event == seated {
                true => json!({"eventId": event, "userId": "early", "seatIds": seats}),
                false => order(event, "early", seats.len() as u32),
            };
            let made = app.post("/api/reservations", Some(&admin), body).await.expect(201);
            sold.push(made["reservationId"].as_u64().expect("an id"));
        }
        join(&app, event, &kim, 2).await;
        join(&app, event, &lee, 1).await;
        join(&app, event, &park, 1).await;
        cancel(&app, &admin, sold[0]).await;
        assert_eq!(app.available(event).await, 0, "it is offered");
        assert_eq!(
            [status(&kim).await, status(&lee).await, status(&park).await],
            ["WAITING", "OFFERED", "WAITING"],
            "the first whose wish can be met"
        );
        // Of two, Kim is still the first to hear.
        cancel(&app, &admin, sold[1]).await;
        assert_eq!([status(&kim).await, status(&park).await], ["OFFERED", "WAITING"]);
        assert_eq!(app.check_event(event).await, 4);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_offered_or_paid_for_an_event_that_is_over() {
    let app = App::start().await;
    let (admin, kim, lee) = (app.user(Role::Admin).await, app.user(Role::User).await, app.user(Role::User).await);
    let event = app.event(&admin, 1, json!({})).await;
    let sold = sell_out(&app, &admin, event, 1).await;
    let kims = join(&app, event, &kim, 1).await;
    join(&app, event, &lee, 1).await;
    cancel(&app, &admin, sold[0]).await;
    assert_eq!(entry(&app, &kim).await["status"], "OFFERED");
    let over = json!({"eventDate": "2020-01-01T00:00:00Z"});
    app.patch(&format!("/api/events/{event}"), Some(&admin), over).await.expect(200);
    app.post(&format!("/api/waitlist/{kims}/accept"), Some(&kim), json!({})).await.problem(409, "event_over");
    app.delete(&format!("/api/waitlist/{kims}"), Some(&kim)).await.expect(204);
    assert_eq!(entry(&app, &lee).await["status"], "WAITING");
    app.post("/api/waitlist", Some(&kim), json!({"eventId": event, "quantity": 1})).await.problem(409, "event_over");
    assert_eq!(app.check_event(event).await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_waits_gets_no_more_than_anybody_else() {
    let app = App::start().await;
    let (admin, kim) = (app.user(Role::Admin).await, app.user(Role::User).await);
    let event = app.event(&admin, 4, json!({"maxPerUser": 2})).await;
    let own = app.post("/api/reservations", Some(&kim), order(event, &kim.id, 1)).await.expect(201);
    let sold = sell_out(&app, &admin, event, 3).await;
    app.post("/api/waitlist", Some(&kim), json!({"eventId": event, "quantity": 3})).await.problem(409, "user_limit");
    let accept = format!("/api/waitlist/{}/accept", join(&app, event, &kim, 2).await);
    cancel(&app, &admin, sold[0]).await;
    cancel(&app, &admin, sold[1]).await;
    assert_eq!(entry(&app, &kim).await["status"], "OFFERED");
    app.post(&accept, Some(&kim), json!({})).await.problem(409, "user_limit");
    // The offer stays for who makes room for it.
    app.delete(&format!("/api/reservations/{}", own["reservationId"]), Some(&kim)).await.expect(204);
    app.post(&accept, Some(&kim), json!({})).await.expect(201);
    assert_eq!(app.check_event(event).await, 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_offer_that_is_not_taken_goes_to_the_next() {
    let app = App::with(&["--offer-seconds", "1"]).await;
    let (admin, kim, lee) = (app.user(Role::Admin).await, app.user(Role::User).await, app.user(Role::User).await);
    let event = app.seated_event(&admin, 1, 1, json!({"price": 50})).await;
    let body = json!({"eventId": event, "userId": "early", "seatIds": ["A-1"]});
    let sold = app.post("/api/reservations", Some(&admin), body).await.expect(201);
    join(&app, event, &kim, 1).await;
    join(&app, event, &lee, 1).await;
    app.post(&format!("/api/wallets/{}/charge", lee.id), Some(&lee), json!({"amount": 80})).await.expect(200);
    cancel(&app, &admin, sold["reservationId"].as_u64().expect("an id")).await;
    let kims = format!("/api/waitlist/{}/accept", entry(&app, &kim).await["id"]);
    app.post(&kims, Some(&kim), json!({})).await.problem(402, "insufficient_balance");
    notified(&app, &lee, "waitlist.offered").await;
    notified(&app, &kim, "waitlist.expired").await;
    app.post(&kims, Some(&kim), json!({})).await.problem(409, "no_offer");
    let lees = format!("/api/waitlist/{}/accept", entry(&app, &lee).await["id"]);
    let made = app.post(&lees, Some(&lee), json!({})).await.expect(201);
    assert_eq!((made["tickets"][0]["seatId"].as_str(), made["amount"].as_u64()), (Some("A-1"), Some(50)));
    let wallet = app.get(&format!("/api/wallets/{}", lee.id), Some(&lee)).await.expect(200);
    assert_eq!(wallet["balance"], 30);
    assert_eq!(app.check_event(event).await, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cancellations_race_the_waitlist() {
    let app = App::with(&["--offer-seconds", "3"]).await;
    let other = app.another().await;
    let admin = app.user(Role::Admin).await;
    let event = app.event(&admin, 20, json!({})).await;
    let sold = sell_out(&app, &admin, event, 20).await;
    let mut waiting = Vec::new();
    for _ in 0..15 {
        let user = app.user(Role::User).await;
        join(&app, event, &user, 1).await;
        waiting.push(user);
    }
    let cancels = join_all(sold.iter().zip(0..).map(|(id, n)| {
        let app = if n % 2 == 0 { &app } else { &other };
        cancel(app, &admin, *id)
    }));
    // Half of them accept, as soon as they can and in several places at once; the others let the offer run out.
    let accepts = join_all(waiting.iter().zip(0..).map(|(user, n)| {
        let (app, other) = (&app, &other);
        async move {
            let mut accepted = 0;
            let started = Instant::now();
            while n % 2 == 0 && accepted == 0 && started.elapsed() < Duration::from_secs(6) {
                let offer = entry(app, user).await;
                if offer["status"] == "OFFERED" {
                    let path = format!("/api/waitlist/{}/accept", offer["id"]);
                    let (one, two) =
                        tokio::join!(app.post(&path, Some(user), json!({})), other.post(&path, Some(user), json!({})));
                    accepted += [one, two].iter().filter(|answer| answer.status.as_u16() == 201).count();
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            accepted
        }
    }));
    let (_, accepted) = tokio::join!(cancels, accepts);
    assert!(accepted.iter().all(|times| *times <= 1), "{accepted:?}");
    let accepted = accepted.iter().sum::<usize>() as u64;
    assert!(accepted > 0, "somebody was fast enough");
    // When all offers have ended, all that is not sold is on sale again.
    let started = Instant::now();
    while app.available(event).await < 20 - accepted {
        assert!(started.elapsed() < Duration::from_secs(30), "{} are on sale", app.available(event).await);
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(app.check_event(event).await, accepted);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn asynchronous_reservations() {
    let app = App::start().await;
    let (admin, kim) = (app.user(Role::Admin).await, app.user(Role::User).await);
    let event = app.seated_event(&admin, 1, 2, json!({})).await;
    let order = json!({"eventId": event, "userId": kim.id, "seatIds": ["A-1"]});
    let location = app.order_later(&kim, order.clone()).await;
    let request = app.decided(&kim, &location, 10).await.expect("a decision");
    assert_eq!(request["reservation"]["tickets"][0]["seatId"], "A-1", "{request}");
    let lee = app.user(Role::User).await;
    app.get(&location, Some(&lee)).await.problem(403, "not_yours");
    let location = app.order_later(&kim, order).await;
    let request = app.decided(&kim, &location, 10).await.expect("a decision");
    assert_eq!(request["status"], "REJECTED");
    assert!(request["problem"].as_str().expect("a reason").starts_with("seat_taken"), "{request}");
    notified(&app, &kim, "reservation.requested").await;
    assert_eq!(app.check_event(event).await, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_that_cannot_be_carried_out_is_decided_all_the_same() {
    let app = App::with(&["--role", "api"]).await;
    let (admin, kim) = (app.user(Role::Admin).await, app.user(Role::User).await);
    let event = app.event(&admin, 10, json!({})).await;
    let location = app.order_later(&kim, order(event, &kim.id, 2)).await;
    sqlx::query("UPDATE reservation_requests SET body = '{}'").execute(&app.db).await.expect("nobody can read it");
    let _worker = app.another_with(&["--role", "worker"]).await;
    let request = app.decided(&kim, &location, 20).await.expect("a decision");
    assert_eq!(request["status"], "REJECTED", "{request}");
    assert!(request["problem"].as_str().expect("a reason").starts_with("internal"), "{request}");
    assert_eq!(app.check_event(event).await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_whose_message_is_lost_is_decided_all_the_same() {
    let app = App::with(&["--role", "api"]).await;
    let (admin, kim) = (app.user(Role::Admin).await, app.user(Role::User).await);
    let event = app.event(&admin, 10, json!({})).await;
    let mut asked = Vec::new();
    for quantity in [2, 3, 4] {
        asked.push(app.order_later(&kim, order(event, &kim.id, quantity)).await);
    }
    let [lost, unreadable, fresh] = &asked[..] else { panic!("three were asked for") };
    let id = |location: &str| location.rsplit('/').next().expect("an id").to_owned();
    sqlx::query("DELETE FROM outbox_batches").execute(&app.db).await.expect("as if a dying worker had taken them");
    sqlx::query("UPDATE reservation_requests SET asked_at = asked_at - INTERVAL 11 MINUTE WHERE id <> ?")
        .bind(id(fresh))
        .execute(&app.db)
        .await
        .expect("long ago");
    sqlx::query("UPDATE reservation_requests SET body = '{}' WHERE id = ?")
        .bind(id(unreadable))
        .execute(&app.db)
        .await
        .expect("nobody can read it");
    let _worker = app.another_with(&["--role", "worker"]).await;
    assert_eq!(app.decided(&kim, lost, 20).await.expect("a decision")["status"], "CONFIRMED");
    assert_eq!(app.decided(&kim, unreadable, 20).await.expect("a decision")["status"], "REJECTED");
    // Its message may still come.
    assert_eq!(app.get(fresh, Some(&kim)).await.expect(200)["status"], "ACCEPTED");
    assert_eq!(app.check_event(event).await, 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_read_of_the_outbox_is_kept_aside() {
    let app = App::with(&["--role", "api"]).await;
    let insert =
        "INSERT INTO outbox_batches (first_id, kind, event_id, payloads) VALUES (7, 'reservation.confirmed', 1, '[{')";
    sqlx::query(insert).execute(&app.db).await.expect("inserted");
    let _worker = app.another_with(&["--role", "worker"]).await;
    let started = Instant::now();
    while app.count("SELECT COUNT(*) FROM outbox_batches WHERE event_id = ?", 1).await > 0 {
        assert!(started.elapsed() < Duration::from_secs(20), "it stays");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let letters = ticketing::outbox::dead_letters::list(&app.db).await.expect("they are listed");
    let letters: Vec<(u64, &str)> = letters.iter().map(|letter| (letter.id, letter.payload.as_str())).collect();
    assert_eq!(letters, [(7, "[{")]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_sale_notifies_once_even_with_several_relays() {
    let app = App::start().await;
    let others = [app.another().await, app.another().await];
    let (admin, kim) = (app.user(Role::Admin).await, app.user(Role::User).await);
    let event = app.event(&admin, 100, json!({})).await;
    for _ in 0..30 {
        app.post("/api/reservations", Some(&kim), order(event, &kim.id, 1)).await.expect(201);
    }
    let started = Instant::now();
    while app.count("SELECT COUNT(*) FROM outbox_batches WHERE event_id = ?", event).await > 0 {
        assert!(started.elapsed() < Duration::from_secs(10), "the outbox is not emptied");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let list = others[0].get("/api/notifications?size=100", Some(&kim)).await.expect(200);
    let list = list.as_array().expect("a list");
    assert_eq!(list.len(), 30);
    let path = format!("/api/notifications/{}/read", list[0]["id"]);
    app.patch(&path, Some(&admin), json!({})).await.problem(404, "not_found");
    app.patch(&path, Some(&kim), json!({})).await.expect(204);
    let unread = app.get("/api/notifications?unread=true", Some(&kim)).await.expect(200);
    assert_eq!(unread.as_array().map(Vec::len), Some(29));
    app.post("/api/notifications/devices", Some(&kim), json!({"deviceToken": "abc"})).await.expect(204);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_that_dies_after_its_work_does_it_again_without_harm() {
    let app = App::with(&["--role", "api"]).await;
    let (admin, kim) = (app.user(Role::Admin).await, app.user(Role::User).await);
    let event = app.event(&admin, 100, json!({})).await;
    app.post("/api/reservations", Some(&kim), order(event, &kim.id, 1)).await.expect(201);
    // What a worker leaves behind that dies between its work and its commit: the work, and the message.
    let rows = "INSERT INTO notifications (message_id, user_id, kind, event_id, text, push) \
         SELECT id * 32, ?, kind, event_id, 'done', 'NONE' FROM outbox_batches";
    sqlx::query(rows).bind(&kim.id).execute(&app.db).await.expect("inserted");
    let worker = app.another_with(&["--role", "worker"]).await;
    let started = Instant::now();
    while worker.count("SELECT COUNT(*) FROM outbox_batches WHERE event_id = ?", event).await > 0 {
        assert!(started.elapsed() < Duration::from_secs(10), "the outbox is not emptied");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let list = app.get("/api/notifications", Some(&kim)).await.expect(200);
    assert_eq!(list.as_array().map(Vec::len), Some(1));
}

#[tokio::test]
async fn only_the_devices_that_were_registered_last_are_kept() {
    let app = App::start().await;
    let (kim, lee) = (app.user(Role::User).await, app.user(Role::User).await);
    let register = async |user: &User, token: &str| {
        let body = json!({"deviceToken": token});
        app.post("/api/notifications/devices", Some(user), body).await.expect(204);
        tokio::time::sleep(Duration::from_millis(2)).await;
    };
    register(&lee, "lees").await;
    for n in 0..10 {
        register(&kim, &format!("kims-{n}")).await;
    }
    // One that is registered again is as good as new.
    for token in ["kims-0", "kims-10", "kims-11"] {
        register(&kim, token).await;
    }
    let devices: Vec<String> =
        sqlx::query_scalar("SELECT token FROM devices ORDER BY created_at").fetch_all(&app.db).await.expect("read");
    let kept = ["lees", "kims-3", "kims-4", "kims-5", "kims-6", "kims-7", "kims-8", "kims-9"];
    assert_eq!(devices, [&kept[..], &["kims-0", "kims-10", "kims-11"]].concat());
}
