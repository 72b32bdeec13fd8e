//! The pages around the sale in a real browser: wallet, notifications, administration.

use crate::browser::{account, log_in};
use crate::process::{Cloud, service};
use crate::support::App;
use crate::webdriver::{Browser, DESKTOP, PHONE, Screen};
use serde_json::json;
use std::time::{Duration, Instant};
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
        .bind(user_email.to_lowercase())
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
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    buyer.run("location.reload()").await;
    buyer.find("#ledger [data-kind=REFUND]").await;
    assert_eq!(buyer.text("#balance").await, "₩50,000");
    buyer.look("ledger").await;
    while app.count("SELECT COUNT(*) FROM outbox_batches WHERE event_id = ?", event).await > 0 {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    buyer.run("location.reload()").await;
    buyer.find("#unread:not([hidden])").await;
    assert_eq!(buyer.text("#unread").await, "2");
    buyer.click("#notifications").await;
    buyer.find("[data-kind='event.cancelled'].unread").await;
    assert_eq!(buyer.count("#by-email").await, 0, "this service sends no e-mail");
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

/// Asks for e-mail, and for no more of it.
async fn e_mail_is_turned_on_and_off(language: &str, screen: Screen) {
    let (app, cloud) = (App::with(&["--role", "staff"]).await, Cloud::start().await);
    let sns = aws_sdk_sns::Client::new(&cloud.config);
    let made = sns.create_topic().name("email").send().await.expect("a topic");
    let topic = made.topic_arn().expect("an ARN");
    let running = service(&app, &cloud.environment(), &["--sns-email-topic-arn", topic]).await;
    let subscribed = async |wanted: usize| {
        let started = Instant::now();
        loop {
            let listed = sns.list_subscriptions_by_topic().topic_arn(topic).send().await.expect("subscriptions");
            if listed.subscriptions().len() == wanted {
                return listed.subscriptions().first().and_then(|one| one.endpoint().map(str::to_owned));
            }
            assert!(started.elapsed() < Duration::from_secs(60), "{listed:?}: {}", running.log());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let email = account(&app, "Kim", Role::User).await;
    let url = format!("http://127.0.0.1:{}", running.port);
    let browser = Browser::open(&url, &format!("{language}-{}-e-mail", screen.name), language, screen).await;
    browser.click("#login").await;
    log_in(&browser, &email).await;
    browser.click("#notifications").await;
    browser.find("#by-email:not(:checked)").await;
    browser.click("#by-email").await;
    browser.find(".toast").await;
    browser.look("asked-for").await;
    assert_eq!(subscribed(1).await, Some(email.to_lowercase()));
    browser.run("location.reload()").await;
    browser.find("#by-email:checked:enabled").await;
    browser.click("#by-email").await;
    subscribed(0).await;
    browser.run("location.reload()").await;
    browser.find("#by-email:not(:checked)").await;
    browser.check_console().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn e_mail_is_turned_on_and_off_in_english_on_a_desktop() {
    e_mail_is_turned_on_and_off("en", DESKTOP).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn e_mail_is_turned_on_and_off_in_korean_on_a_phone() {
    e_mail_is_turned_on_and_off("ko", PHONE).await;
}
