//! The web page in a real browser. Screenshots are left in `screenshots` in the target directory.

use crate::support::App;
use crate::webdriver::{ARROW_DOWN, ARROW_RIGHT, Browser, DESKTOP, ENTER, PHONE, Screen};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::time::Duration;
use ticketing::accounts::{self, Role};

const PASSWORD: &str = "a good password";

/// An account with a password.
pub async fn account(app: &App, name: &str, role: Role) -> String {
    let email = format!("{}@example.com", ticketing::random::user_id());
    accounts::upsert(&app.db, &email, PASSWORD, name, role).await.expect("an account");
    email
}

pub async fn log_in(browser: &Browser, email: &str) {
    browser.keys("#login-dialog [name=email]", email).await;
    browser.keys("#login-dialog [name=password]", PASSWORD).await;
    browser.click("#login-submit").await;
    browser.find("#logout").await;
}

fn names(language: &str) -> Value {
    if language == "ko" {
        json!({"eventName": "뮤지컬의 밤", "venue": "예술의전당", "description": "세 줄, 열네 좌석"})
    } else {
        json!({"eventName": "A Musical Evening", "venue": "Arts Centre", "description": "Three rows of fourteen seats"})
    }
}

/// From the list to a ticket and back, with somebody else who looks on.
async fn book_and_cancel(language: &str, screen: Screen) {
    let app = App::start().await;
    let admin = app.user(Role::Admin).await;
    let mut more = names(language);
    more["price"] = json!(70_000);
    let event = app.seated_event(&admin, 3, 14, more).await;
    let url = app.url();
    let label = |who: &str| format!("{language}-{}-{who}", screen.name);
    let watched = format!("{url}/#/events/{event}");
    let buyer = Browser::open(&url, &label("buyer"), language, screen).await;
    let watcher = Browser::open(&watched, &label("watcher"), language, screen).await;

    // Who is not logged in sees events, and nothing to press.
    buyer.find(".card").await;
    assert_eq!(buyer.run("return document.documentElement.lang").await, language);
    assert_eq!(buyer.count("[data-action]").await, 0);
    buyer.look("list-logged-out").await;
    buyer.click("#login").await;
    buyer.keys("#login-dialog [name=email]", "nobody@example.com").await;
    buyer.keys("#login-dialog [name=password]", "a wrong password").await;
    buyer.click("#login-submit").await;
    buyer.find("#login-dialog .problem:not([hidden])").await;
    buyer.look("login-refused").await;
    buyer.click("#login-switch").await;
    buyer.keys("[name=name]", if language == "ko" { "김하나" } else { "Kim" }).await;
    buyer.look("sign-up").await;
    log_in(&buyer, &format!("{}@example.com", ticketing::random::user_id())).await;
    buyer.find("[data-action=reserve]").await;
    buyer.look("list").await;

    // A seat by a click, the next one by the keyboard.
    buyer.click("[data-action=reserve]").await;
    buyer.find("[data-seat]").await;
    buyer.look("seats").await;
    buyer.click("[data-seat=A-1]").await;
    buyer.keys("[data-seat=A-1]", &format!("{ARROW_RIGHT} ")).await;
    buyer.find("[data-seat=A-2][aria-selected=true].selected").await;
    assert_eq!(buyer.count(".seat-grid [tabindex='0']").await, 1, "one seat is in the order of the tab key");
    assert_eq!(buyer.text("#total").await, "₩140,000");
    buyer.look("selected").await;
    watcher.find("[data-seat=A-2].available").await;

    // The hold is seen by the other one, then the sale, without a reload.
    buyer.click("#continue").await;
    watcher.find("[data-seat=A-2].held[aria-disabled=true]").await;
    watcher.look("held").await;
    buyer.look("confirm").await;
    buyer.click("#confirm").await;
    buyer.find("#confirm-dialog .problem:not([hidden])").await;
    buyer.look("confirm-no-money").await;
    buyer.click("#confirm-dialog .wallet button").await;
    // The button goes once the money is there, and what is below moves up.
    buyer.find("#confirm-dialog .wallet:not(:has(button))").await;
    buyer.click("#confirm").await;
    buyer.find("#done-dialog").await;
    buyer.look("done").await;
    watcher.find("[data-seat=A-2].reserved[aria-disabled=true]").await;
    let colour =
        watcher.run("return getComputedStyle(document.querySelector('[data-seat=A-2]')).backgroundColor").await;
    assert_eq!(colour, "rgb(209, 213, 219)", "a sold seat is grey");
    assert_eq!(watcher.text("[data-seat=A-2]").await, "✕", "and crossed out");
    watcher.look("reserved").await;
    assert_eq!(app.check_event(event).await, 2);

    // The tickets with their codes, after a reload, which takes up the session; then everything back.
    buyer.click("#done-mine").await;
    buyer.find("[data-reservation]").await;
    buyer.run("location.reload()").await;
    buyer.find(".ticket img[src^='blob:']").await;
    let loaded = "return Promise.all([...document.querySelectorAll('.ticket img')].map(async (image) => { \
                  while (!image.src) await new Promise((ready) => setTimeout(ready, 50)); \
                  await image.decode(); return image.naturalWidth > 0 }))";
    assert_eq!(buyer.run(loaded).await, json!([true, true]));
    buyer.look("my-reservations").await;
    buyer.go(&format!("{url}/#/newest")).await;
    buyer.find("[data-action=cancel]").await;
    buyer.look("list-reserved").await;
    buyer.click("[data-action=cancel]").await;
    buyer.find("#cancel-dialog").await;
    buyer.look("cancel").await;
    buyer.click("#cancel-confirm").await;
    buyer.find("#cancelled-dialog").await;
    buyer.look("cancelled").await;
    buyer.click("#cancelled-close").await;
    buyer.find("[data-action=reserve]").await;
    watcher.find("[data-seat=A-2].available").await;
    assert_eq!(app.check_event(event).await, 0);

    // The other language at once, and remembered.
    let other = if language == "ko" { "en" } else { "ko" };
    buyer.click(&format!("#top [lang={other}]")).await;
    buyer.find(&format!("html[lang={other}] [data-action=reserve]")).await;
    buyer.look("other-language").await;
    buyer.check_console().await;
    watcher.check_console().await;
}

#[tokio::test]
async fn book_and_cancel_in_english_on_a_desktop() {
    book_and_cancel("en", DESKTOP).await;
}

#[tokio::test]
async fn book_and_cancel_in_english_on_a_phone() {
    book_and_cancel("en", PHONE).await;
}

#[tokio::test]
async fn book_and_cancel_in_korean_on_a_desktop() {
    book_and_cancel("ko", DESKTOP).await;
}

#[tokio::test]
async fn book_and_cancel_in_korean_on_a_phone() {
    book_and_cancel("ko", PHONE).await;
}

/// Books and cancels with the keyboard alone.
#[tokio::test]
async fn the_keyboard_does_not_begin_at_the_top_again() {
    let app = App::start().await;
    let event = app.seated_event(&app.user(Role::Admin).await, 12, 8, json!({})).await;
    let email = account(&app, "Kim", Role::User).await;
    let browser = Browser::open(&app.url(), "en-phone-keyboard", "en", PHONE).await;
    let focused = async || browser.run("return document.activeElement.id").await;
    browser.keys("#login", ENTER).await;
    browser.keys("#login-dialog [name=email]", &email).await;
    browser.keys("#login-dialog [name=password]", &format!("{PASSWORD}{ENTER}")).await;
    browser.find("[data-action=reserve]").await;
    assert_eq!(focused().await, "main", "after the login");
    browser.keys("[data-action=reserve]", ENTER).await;
    let covered = "const { top, left } = document.activeElement.getBoundingClientRect(); \
                   return document.elementFromPoint(left + 8, top + 8) !== document.activeElement";
    for row in 'A'..'L' {
        browser.keys(&format!("[data-seat={row}-1]"), ARROW_DOWN).await;
        assert_eq!(browser.run(covered).await, false, "the panel is over the seat below {row}-1");
    }
    browser.keys("[data-seat=L-1]", " ").await;
    browser.keys("#continue", ENTER).await;
    browser.keys("#confirm", ENTER).await;
    browser.keys("#done-close", ENTER).await;
    browser.find("body:not(:has(dialog))").await;
    assert_eq!(focused().await, "main", "after a booking");
    browser.run("location.hash = '#/mine'").await;
    browser.keys("[data-action=cancel]", ENTER).await;
    browser.keys("#cancel-confirm", ENTER).await;
    browser.keys("#cancelled-close", ENTER).await;
    browser.find(".mine > .state").await;
    assert_eq!(focused().await, "main", "after a cancellation");
    browser.keys("#logout", ENTER).await;
    browser.find("#login").await;
    assert_eq!(focused().await, "main", "after the logout");
    assert_eq!(app.check_event(event).await, 0);
    browser.check_console().await;
}

/// Through the queue to the last tickets, and with them through the door.
async fn queue_and_door(language: &str, screen: Screen) {
    let app = App::start().await;
    let (admin, first) = (app.user(Role::Admin).await, app.user(Role::User).await);
    let mut more = names(language);
    more["queue"] = json!({"enabled": true, "admitPerSecond": 100.0, "maxInside": 1});
    let event = app.event(&admin, 2, more).await;
    // The one who is inside keeps the others out.
    let enter = format!("/api/queue/{event}/enter");
    let inside = format!("/api/queue/{event}/me");
    app.post(&enter, Some(&first), json!({})).await.expect(200);
    while app.get(&inside, Some(&first)).await.expect(200)["state"] != "ADMITTED" {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let (buyer_email, staff_email) = (account(&app, "Lee", Role::User).await, account(&app, "Park", Role::Staff).await);
    let label = |who: &str| format!("{language}-{}-{who}", screen.name);
    let buyer = Browser::open(&format!("{}/#/events/{event}", app.url()), &label("queue"), language, screen).await;
    buyer.click("main .button").await;
    log_in(&buyer, &buyer_email).await;
    buyer.find("#queue-position").await;
    buyer.run("return (async () => { while (document.getElementById('queue-position').textContent !== '1') await new Promise((ready) => setTimeout(ready, 50)) })()").await;
    buyer.look("waiting").await;
    app.delete(&inside, Some(&first)).await.expect(204);
    buyer.click("#more-tickets").await;
    assert_eq!(buyer.text("#quantity").await, "2");
    buyer.look("admitted").await;
    buyer.click("#continue").await;
    buyer.click("#confirm").await;
    let code = buyer.text("#done-dialog .code strong").await;
    buyer.look("done").await;
    buyer.check_console().await;
    assert_eq!(app.check_event(event).await, 2);

    // Nothing is left for anybody else.
    let other = Browser::open(&format!("{}/staff", app.url()), &label("door"), language, screen).await;
    other.click("main .button").await;
    log_in(&other, &staff_email).await;
    other.keys("#staff-code", &code).await;
    other.click("#look-up").await;
    other.find("#found").await;
    other.look("found").await;
    other.click("#check-in").await;
    other.find("#checked-in").await;
    other.look("checked-in").await;
    other.click("#look-up").await;
    other.click("#check-in").await;
    other.find(".verdict.no").await;
    other.look("used-before").await;
    other.go(&app.url()).await;
    other.find("[data-action=sold-out]:disabled").await;
    other.look("sold-out").await;
    other.check_console().await;
}

#[tokio::test]
async fn queue_and_door_in_english_on_a_desktop() {
    queue_and_door("en", DESKTOP).await;
}

#[tokio::test]
async fn queue_and_door_in_korean_on_a_phone() {
    queue_and_door("ko", PHONE).await;
}

#[tokio::test]
async fn what_comes_back_goes_to_who_waits() {
    let app = App::start().await;
    let (admin, first) = (app.user(Role::Admin).await, app.user(Role::User).await);
    let event = app.event(&admin, 1, names("en")).await;
    let order = json!({"eventId": event, "userId": first.id, "quantity": 1});
    let made = app.post("/api/reservations", Some(&first), order).await.expect(201);
    let email = account(&app, "Choi", Role::User).await;
    let browser = Browser::open(&app.url(), "en-desktop-waitlist", "en", DESKTOP).await;
    browser.click("#login").await;
    log_in(&browser, &email).await;
    browser.click("[data-action=sold-out] + button").await;
    browser.look("wish").await;
    browser.click("dialog .primary").await;
    browser.find(".toast").await;
    browser.go(&format!("{}/#/mine", app.url())).await;
    browser.find(".reservation:not(.offer)").await;
    browser.look("waiting").await;
    app.delete(&format!("/api/reservations/{}", made["reservationId"]), Some(&first)).await.expect(204);
    browser.run("location.reload()").await;
    browser.find(".reservation.offer").await;
    browser.look("offer").await;
    browser.click(".reservation.offer .actions button:last-child").await;
    browser.find(".ticket").await;
    browser.look("accepted").await;
    browser.check_console().await;
    assert_eq!(app.check_event(event).await, 1);
}

#[tokio::test]
async fn without_streams_the_page_asks_now_and_then() {
    let app = App::start().await;
    let (admin, other) = (app.user(Role::Admin).await, app.user(Role::User).await);
    let mut more = names("en");
    more["queue"] = json!({"enabled": true, "admitPerSecond": 100.0, "maxInside": 1});
    let event = app.seated_event(&admin, 1, 4, more).await;
    app.post(&format!("/api/queue/{event}/enter"), Some(&other), json!({})).await.expect(200);
    let me = format!("/api/queue/{event}/me");
    while app.get(&me, Some(&other)).await.expect(200)["state"] != "ADMITTED" {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let email = account(&app, "Jung", Role::User).await;
    let browser = Browser::open(&app.url(), "en-desktop-polling", "en", DESKTOP).await;
    browser.block("*/stream").await;
    browser.click("#login").await;
    log_in(&browser, &email).await;
    browser.go(&format!("{}/#/events/{event}", app.url())).await;
    browser.find("#queue-position").await;
    app.delete(&me, Some(&other)).await.expect(204);
    browser.find("[data-seat=A-1].available").await;
    let order = json!({"eventId": event, "userId": "box-office", "seatIds": ["A-1"]});
    app.post("/api/reservations", Some(&admin), order).await.expect(201);
    browser.find("[data-seat=A-1].reserved").await;
    browser.look("seats").await;
}

/// The error codes that the documentation of the API names.
fn documented_codes() -> BTreeSet<String> {
    let document = serde_json::to_value(ticketing::http::openapi()).expect("JSON");
    let paths = document["paths"].as_object().expect("paths").values();
    let operations = paths.filter_map(Value::as_object).flat_map(|path| path.values());
    let answers = operations.filter_map(|operation| operation["responses"].as_object()).flatten();
    let texts = answers
        .filter(|(status, _)| status.starts_with(['4', '5']))
        .map(|(_, answer)| answer["description"].as_str().unwrap_or_default())
        .inspect(|text| assert!(!text.contains('…'), "not all codes are named: {text}"));
    texts.flat_map(|text| text.split('`').skip(1).step_by(2)).map(str::to_owned).collect()
}

#[tokio::test]
async fn every_error_has_a_text_in_both_languages() {
    let app = App::start().await;
    let codes = documented_codes();
    assert!(codes.contains("seat_taken") && codes.contains("hold_expired"), "{codes:?}");
    let mut all_keys = Vec::new();
    for file in ["texts.en.js", "texts.ko.js"] {
        let answer = app.get(&format!("/assets/{file}"), None).await;
        assert_eq!(answer.headers["content-type"], "text/javascript; charset=utf-8");
        let lines = answer.text.lines().filter_map(|line| line.trim().strip_prefix('"'));
        let keys: BTreeSet<String> =
            lines.filter_map(|line| line.split_once('"')).map(|(key, _)| key.to_owned()).collect();
        let missing: Vec<_> = codes.iter().filter(|code| !keys.contains(&format!("error.{code}"))).collect();
        assert!(missing.is_empty(), "{file} has no text for {missing:?}");
        all_keys.push(keys);
    }
    assert_eq!(all_keys[0], all_keys[1], "the same keys in both languages");
}
