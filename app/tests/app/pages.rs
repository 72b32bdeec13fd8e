//! The pages around the sale in a real browser: wallet, notifications, administration.

use crate::browser::{account, log_in};
use crate::support::App;
use crate::webdriver::{Browser, DESKTOP, PHONE, Screen};
use serde_json::json;
use ticketing::accounts::Role;

/// An administrator makes an event, somebody pays for it, the administrator cancels it, and the money is back.
async fn from_a_new_event_to_a_refund(language: &str, screen: Screen) {
    let app = App::start().await;
    let korean = language == "ko";
    let admin_email = account(&app, if korean { "관리자" } else { "Admin" }, Role::Admin).await;
    let user_email = account(&app, if korean { "이두리" } else { "Lee" }, Role::User).await;
    let label = |who: &str| format!("{language}-{}-{who}", screen.name);
    let admin = Browser::open(&format!("{}/#/admin", app.url()), &label("admin"), language, screen).await;
    admin.click("main .button").await;
    log_in(&admin, &admin_email).await;
    admin.click("#new").await;
    let name = if korean { "가을 음악회" } else { "Autumn Recital" };
    admin.keys("#new-event [name=name]", name).await;
    admin.keys("#new-event [name=venue]", if korean { "세종문화회관" } else { "Town Hall" }).await;
    // What a date is typed like depends on the browser's language.
    admin.run("document.querySelector('[name=date]').value = '2999-10-01T19:30'").await;
    admin.run("const kind = document.querySelector('[name=kind]'); kind.value = 'seated'; kind.dispatchEvent(new Event('change'))").await;
    admin.run("document.querySelector('#new-event [name=price]').value = '30000'").await;
    admin.look("new-event").await;
    admin.click("#create").await;
    admin.find("[data-event]").await;
    let event: u64 =
        sqlx::query_scalar("SELECT id FROM events WHERE name = ?").bind(name).fetch_one(&app.db).await.expect("made");
    let seats: u32 = sqlx::query_scalar("SELECT total_seats FROM events WHERE id = ?")
        .bind(event)
        .fetch_one(&app.db)
        .await
        .expect("made");
    assert_eq!(seats, 5 * 14);
    admin.click("[data-event] [name=enabled]").await;
    admin.click("[data-action=save-queue]").await;
    admin.find(".toast").await;
    let queued = app.get(&format!("/api/events/{event}"), None).await.expect(200);
    assert_eq!(queued["queue"]["enabled"], true);
    admin.look("events").await;

    // Somebody puts money in and buys.
    let buyer = Browser::open(&format!("{}/#/wallet", app.url()), &label("wallet"), language, screen).await;
    buyer.click("main .button").await;
    log_in(&buyer, &user_email).await;
    buyer.click("#charge").await;
    buyer.find("#ledger [data-kind=CHARGE]").await;
    assert_eq!(buyer.text("#balance").await, "₩50,000");
    let id: String = sqlx::query_scalar("SELECT id FROM users WHERE email = ?")
        .bind(&user_email)
        .fetch_one(&app.db)
        .await
        .expect("there");
    let someone = app.user(Role::Admin).await;
    let order = json!({"eventId": event, "userId": id, "seatIds": ["A-1"], "paymentMethod": "WALLET"});
    app.post("/api/reservations", Some(&someone), order).await.expect(201);
    buyer.run("location.reload()").await;
    buyer.find("#ledger [data-kind=PAYMENT]").await;
    assert_eq!(buyer.text("#balance").await, "₩20,000");

    // The event is cancelled.
    admin.run("location.reload()").await;
    admin.click("[data-action=cancel-event]").await;
    admin.find("#cancel-event-dialog").await;
    admin.look("cancel-event").await;
    admin.click("#cancel-event").await;
    admin.find("[data-event] .badge.sold").await;
    admin.look("cancelled-event").await;
    let settled = "SELECT COUNT(*) FROM events WHERE id = ? AND settled_at IS NULL";
    while app.count(settled, event).await > 0 {
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    buyer.run("location.reload()").await;
    buyer.find("#ledger [data-kind=REFUND]").await;
    assert_eq!(buyer.text("#balance").await, "₩50,000");
    buyer.look("ledger").await;
    while app.count("SELECT COUNT(*) FROM outbox WHERE event_id = ?", event).await > 0 {
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    buyer.run("location.reload()").await;
    buyer.find("#unread:not([hidden])").await;
    assert_eq!(buyer.text("#unread").await, "2");
    buyer.click("#notifications").await;
    buyer.find("[data-kind='event.cancelled'].unread").await;
    buyer.look("notifications").await;
    buyer.click("[data-kind='event.cancelled'] [data-action=read]").await;
    buyer.find("[data-kind='event.cancelled']:not(.unread)").await;
    buyer.find("#unread:not([hidden])").await;
    buyer.run("return (async () => { while (document.getElementById('unread').textContent !== '1') await new Promise((ready) => setTimeout(ready, 50)) })()").await;
    buyer.check_console().await;
    admin.check_console().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn from_a_new_event_to_a_refund_in_english_on_a_desktop() {
    from_a_new_event_to_a_refund("en", DESKTOP).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn from_a_new_event_to_a_refund_in_korean_on_a_phone() {
    from_a_new_event_to_a_refund("ko", PHONE).await;
}
