//! Look-up and check-in at the door.

use crate::support::App;
use futures::future::join_all;
use serde_json::json;
use std::time::Duration;
use ticketing::accounts::Role;

#[tokio::test]
async fn look_up_and_check_in() {
    let app = App::start().await;
    let (admin, staff, kim) = (app.user(Role::Admin).await, app.user(Role::Staff).await, app.user(Role::User).await);
    let event = app.seated_event(&admin, 1, 4, json!({})).await;
    let other = app.event(&admin, 4, json!({})).await;
    let order = json!({"eventId": event, "userId": kim.id, "seatIds": ["A-1", "A-2"]});
    let made = app.post("/api/reservations", Some(&kim), order).await.expect(201);
    let code4 = made["code4"].as_str().expect("a code");
    let lookup = |event: u64, code4: &str| format!("/api/staff/lookup?eventId={event}&code4={code4}");
    app.get(&lookup(event, code4), Some(&kim)).await.problem(403, "staff_only");
    assert_eq!(app.get(&lookup(event, code4), Some(&staff)).await.expect(200), made);
    app.get(&lookup(other, code4), Some(&staff)).await.problem(404, "not_found");
    for strange in ["%C3%A9", "%C3%A9%C3%A9", "12345", ""] {
        app.get(&lookup(event, strange), Some(&staff)).await.problem(404, "not_found");
    }

    let ticket = made["tickets"][0]["code"].as_str().expect("a code");
    let signed = app.state.signer.sign(event, Some("A-1"), ticket);
    let check_in = |ticket: &str, nonce: &str| json!({"eventId": event, "ticket": ticket, "nonce": nonce});
    app.post("/api/staff/check-in", Some(&kim), check_in(&signed, "1")).await.problem(403, "staff_only");
    let forged = signed.replace("A-1", "A-3");
    app.post("/api/staff/check-in", Some(&staff), check_in(&forged, "1")).await.problem(422, "bad_ticket");
    let done = app.post("/api/staff/check-in", Some(&staff), check_in(&signed, "1")).await.expect(200);
    assert_eq!((done["admitted"].as_u64(), done["seatIds"][0].as_str()), (Some(1), Some("A-1")));
    // The same request again, as after a lost answer; then somebody else with a copy.
    app.post("/api/staff/check-in", Some(&staff), check_in(&signed, "1")).await.expect(200);
    app.post("/api/staff/check-in", Some(&staff), check_in(&signed, "2")).await.problem(409, "already_used");
    app.delete(&format!("/api/reservations/{}", made["reservationId"]), Some(&kim)).await.problem(409, "already_used");

    // The rest of the reservation by its short code.
    let by_code = json!({"eventId": event, "code4": code4});
    let done = app.post("/api/staff/check-in", Some(&staff), by_code.clone()).await.expect(200);
    assert_eq!(done["seatIds"], json!(["A-2"]));
    app.post("/api/staff/check-in", Some(&staff), by_code).await.problem(409, "already_used");
    app.post("/api/staff/check-in", Some(&staff), json!({"eventId": event})).await.problem(422, "bad_ticket");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_goes_in_right_now_cannot_cancel() {
    let app = App::start().await;
    let (admin, kim) = (app.user(Role::Admin).await, app.user(Role::User).await);
    let event = app.seated_event(&admin, 1, 1, json!({})).await;
    let order = json!({"eventId": event, "userId": kim.id, "seatIds": ["A-1"]});
    let made = app.post("/api/reservations", Some(&kim), order).await.expect(201);
    // A check-in that has not ended yet has locked the ticket and its reservation.
    let mut door = app.db.begin().await.expect("begins");
    for sql in [
        "SELECT id FROM reservations WHERE id = ? FOR UPDATE",
        "UPDATE tickets SET status = 'USED' WHERE reservation_id = ?",
    ] {
        sqlx::query(sql).bind(made["reservationId"].as_u64()).execute(&mut *door).await.expect("is carried out");
    }
    let path = format!("/api/reservations/{}", made["reservationId"]);
    let end = async {
        tokio::time::sleep(Duration::from_millis(500)).await;
        door.commit().await.expect("commits");
    };
    let (cancelled, ()) = tokio::join!(app.delete(&path, Some(&kim)), end);
    cancelled.problem(409, "already_used");
    assert_eq!(app.get(&path, Some(&kim)).await.expect(200)["status"], "CONFIRMED");
    assert_eq!(app.check_event(event).await, 1);
}

#[tokio::test]
async fn cancelled_tickets_and_their_codes_are_worth_nothing() {
    let app = App::start().await;
    let (admin, staff) = (app.user(Role::Admin).await, app.user(Role::Staff).await);
    let event = app.event(&admin, 4, json!({})).await;
    let order = json!({"eventId": event, "userId": "kim", "quantity": 1});
    let made = app.post("/api/reservations", Some(&admin), order).await.expect(201);
    app.delete(&format!("/api/reservations/{}", made["reservationId"]), Some(&admin)).await.expect(204);
    let code4 = made["code4"].as_str().expect("a code");
    let path = format!("/api/staff/lookup?eventId={event}&code4={code4}");
    app.get(&path, Some(&staff)).await.problem(404, "not_found");
    let ticket = json!({"eventId": event, "ticket": made["tickets"][0]["code"]});
    app.post("/api/staff/check-in", Some(&staff), ticket).await.problem(404, "not_found");
}

#[tokio::test]
async fn codes_cannot_be_tried_out() {
    let app = App::start().await;
    let (admin, staff) = (app.user(Role::Admin).await, app.user(Role::Staff).await);
    let event = app.event(&admin, 4, json!({})).await;
    for code in 0..10 {
        let path = format!("/api/staff/lookup?eventId={event}&code4={code:04}");
        app.get(&path, Some(&staff)).await.problem(404, "not_found");
    }
    let order = json!({"eventId": event, "userId": "kim", "quantity": 1});
    let made = app.post("/api/reservations", Some(&admin), order).await.expect(201);
    let path = format!("/api/staff/lookup?eventId={event}&code4={}", made["code4"].as_str().expect("a code"));
    let refused = app.get(&path, Some(&staff)).await;
    assert_eq!(refused.headers["retry-after"], "300");
    refused.problem(429, "too_many_attempts");
    app.get(&path, Some(&admin)).await.expect(200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn codes_cannot_be_tried_out_all_at_once() {
    let app = App::start().await;
    let other = app.another().await;
    let (admin, staff) = (app.user(Role::Admin).await, app.user(Role::Staff).await);
    let event = app.event(&admin, 4, json!({})).await;
    let lookups = (0..50).map(|code| {
        let (app, staff) = (if code % 2 == 0 { &app } else { &other }, &staff);
        async move { app.get(&format!("/api/staff/lookup?eventId={event}&code4={code:04}"), Some(staff)).await }
    });
    let answers = join_all(lookups).await;
    let looked_up = answers.iter().filter(|answer| answer.status.as_u16() == 404).count();
    // A refused guess is counted for a moment, in which it may have another one refused.
    assert!((1..=10).contains(&looked_up), "{looked_up} codes were looked up");
    assert!(answers.iter().all(|answer| [404, 429].contains(&answer.status.as_u16())));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_is_turned_away_for_a_deadlock() {
    let app = App::start().await;
    let (admin, staff) = (app.user(Role::Admin).await, app.user(Role::Staff).await);
    let event = app.event(&admin, 10, json!({})).await;
    let order = json!({"eventId": event, "userId": "kim", "quantity": 1});
    let made = app.post("/api/reservations", Some(&admin), order).await.expect(201);
    let (id, ticket) = (made["reservationId"].as_u64().expect("an id"), &made["tickets"][0]["code"]);
    // As a cancellation does: the reservation first, and its tickets once the check-in waits for it. It has changed more, so
    // that it is the check-in which the database makes give way.
    let mut busy = app.db.begin().await.expect("begins");
    for reason in 0..50 {
        let sql = "UPDATE reservations SET close_reason = ? WHERE id = ?";
        sqlx::query(sql).bind(reason.to_string()).bind(id).execute(&mut *busy).await.expect("locks");
    }
    let check_in = app.post("/api/staff/check-in", Some(&staff), json!({"eventId": event, "ticket": ticket}));
    let cancel = async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        let sql = "UPDATE tickets SET status = 'CANCELLED' WHERE reservation_id = ?";
        sqlx::query(sql).bind(id).execute(&mut *busy).await.expect("the check-in gives way");
        busy.rollback().await.expect("ends");
    };
    let (answer, ()) = tokio::join!(check_in, cancel);
    assert_eq!(answer.expect(200)["admitted"], 1);
}
