//! The web page when answers are late or lost, the browser's clock is wrong, or there is nothing to be had any more.

use crate::browser::{account, log_in};
use crate::support::App;
use crate::webdriver::{Browser, DESKTOP, ESCAPE, PHONE};
use serde_json::json;
use std::time::Duration;
use ticketing::accounts::Role;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// Somebody who is logged in and looks at the list. What is patched there lasts until the page is loaded again.
async fn logged_in(app: &App, label: &str) -> Browser {
    let email = account(app, "Kim", Role::User).await;
    let browser = Browser::open(&app.url(), &format!("en-desktop-{label}"), "en", DESKTOP).await;
    browser.click("#login").await;
    log_in(&browser, &email).await;
    browser
}

/// Goes to an event without loading the page again.
async fn visit(browser: &Browser, event: u64) {
    browser.run(&format!("location.hash = '#/events/{event}'")).await;
}

/// Runs something in the page between the answers to certain requests and their arrival.
async fn after(browser: &Browser, request: &str, then: &str) {
    let script = format!(
        "const real = fetch; window.fetch = async (path, options) => {{ \
         const answer = await real(path, options); if ({request}) {{ {then} }} return answer; }}"
    );
    browser.run(&script).await;
}

/// Waits until an expression is true in the page.
async fn until(browser: &Browser, expression: &str) {
    let script = format!(
        "return (async () => {{ while (!({expression})) await new Promise((ready) => setTimeout(ready, 50)) }})()"
    );
    browser.run(&script).await;
}

#[tokio::test]
async fn a_sale_is_told_however_late_its_answer_comes() {
    let app = App::start().await;
    let event = app.event(&app.user(Role::Admin).await, 5, json!({})).await;
    let browser = logged_in(&app, "late").await;
    after(&browser, "path.endsWith('/confirm')", "await new Promise((ready) => { window.arrive = ready })").await;
    visit(&browser, event).await;
    browser.click("#continue").await;
    browser.click("#confirm").await;
    until(&browser, "window.arrive").await;
    assert_eq!(app.check_event(event).await, 1);
    browser.keys("#confirm", ESCAPE).await;
    browser.keys("#confirm", ESCAPE).await;
    assert_eq!(browser.count("#confirm-dialog[open]").await, 1, "Escape closes it");
    assert_eq!(browser.count("#confirm-dialog .actions button:enabled").await, 1, "there is a way back");
    browser.look("pending").await;
    browser.run("arrive()").await;
    browser.find("#done-dialog").await;
    browser.check_console().await;

    // Whoever leaves for another view meanwhile hears of it there.
    browser.click("#done-close").await;
    browser.run("delete window.arrive").await;
    browser.click("#continue").await;
    browser.click("#confirm").await;
    until(&browser, "window.arrive").await;
    browser.run("history.back()").await;
    browser.find(".card").await;
    browser.run("arrive()").await;
    browser.find("#done-dialog").await;
    assert_eq!(app.check_event(event).await, 2);
}

#[tokio::test]
async fn what_is_done_is_told_though_the_answer_was_lost() {
    let app = App::start().await;
    let event = app.event(&app.user(Role::Admin).await, 5, json!({})).await;
    let browser = logged_in(&app, "lost").await;
    let once = "window.lost ??= {}; if (!lost[path]) { lost[path] = true; throw new TypeError('lost') }";
    after(&browser, "path.endsWith('/confirm') || options.method === 'DELETE'", once).await;
    visit(&browser, event).await;
    browser.click("#continue").await;
    browser.click("#confirm").await;
    browser.click("#done-mine").await;
    assert_eq!(app.check_event(event).await, 1);
    browser.click("[data-action=cancel]").await;
    browser.click("#cancel-confirm").await;
    browser.click("#cancelled-close").await;
    assert_eq!(app.check_event(event).await, 0);
    assert_eq!(browser.run("return Object.keys(lost).length").await, 2);

    // What cannot be found out is not told as nothing.
    after(&browser, "path.endsWith('/confirm')", "throw new TypeError('lost')").await;
    visit(&browser, event).await;
    browser.click("#continue").await;
    browser.click("#confirm").await;
    browser.find("#confirm-dialog .problem:not([hidden])").await;
    browser.click("#confirm-dialog .actions button:first-child").await;
    browser.look("unknown").await;
    browser.click("#lost-dialog .primary").await;
    browser.find("[data-reservation]").await;
    assert_eq!(app.check_event(event).await, 1);
}

#[tokio::test]
async fn money_is_added_once_and_what_fails_is_told() {
    let app = App::start().await;
    let event = app.event(&app.user(Role::Admin).await, 5, json!({"price": 30_000})).await;
    let browser = logged_in(&app, "charge").await;
    let once = "if (!window.lost) { window.lost = true; throw new TypeError('lost') }";
    after(&browser, "path.endsWith('/charge')", once).await;
    visit(&browser, event).await;
    browser.click("#continue").await;
    browser.click("#confirm-dialog .wallet button").await;
    browser.find("#confirm-dialog .wallet .problem:not([hidden])").await;
    browser.look("not-told").await;
    browser.click("#confirm-dialog .wallet button").await;
    browser.find("#confirm-dialog .wallet:not(:has(button))").await;
    assert_eq!(browser.text("#confirm-dialog .wallet p").await, "In your wallet: ₩30,000");
    browser.click("#confirm").await;
    browser.find("#done-dialog").await;
    browser.check_console().await;
}

#[tokio::test]
async fn what_became_free_before_the_stream_began_is_free() {
    let app = App::start().await;
    let (admin, other) = (app.user(Role::Admin).await, app.user(Role::User).await);
    let event = app.seated_event(&admin, 1, 4, json!({})).await;
    let hold = app.post("/api/holds", Some(&other), json!({"eventId": event, "seatIds": ["A-1"]})).await.expect(201);
    let browser = Browser::open(&app.url(), "en-desktop-stream", "en", DESKTOP).await;
    let late = "const real = fetch; window.fetch = async (path, options) => { \
                if (path.endsWith('/stream')) await new Promise((ready) => { window.begin = ready }); \
                return real(path, options) }";
    browser.run(late).await;
    visit(&browser, event).await;
    browser.find("[data-seat=A-1].held").await;
    let release = json!({"holdToken": hold["holdToken"]});
    app.post("/api/holds/release", Some(&other), release).await.expect(204);
    until(&browser, "window.begin").await;
    browser.run("begin()").await;
    browser.find("[data-seat=A-1].available").await;
}

#[tokio::test]
async fn the_sale_opens_by_the_services_clock_and_by_itself() {
    let app = App::start().await;
    let admin = app.user(Role::Admin).await;
    let browser = Browser::open(&app.url(), "en-desktop-opening", "en", DESKTOP).await;
    browser.run("const real = Date.now; Date.now = () => real() + window.wrong").await;
    for wrong in [3_600_000, -3_600_000] {
        browser.run(&format!("window.wrong = {wrong}")).await;
        let opens = (OffsetDateTime::now_utc() + Duration::from_secs(5)).format(&Rfc3339).expect("a time");
        let event = app.event(&admin, 5, json!({"saleOpensAt": opens})).await;
        visit(&browser, event).await;
        browser.find(".booking > .state > p").await;
        assert_eq!(browser.count("#more-tickets").await, 0, "open {wrong} ms too early");
        browser.find("#more-tickets").await;
    }
    browser.check_console().await;
}

#[tokio::test]
async fn what_is_over_or_cancelled_is_told_to_everybody() {
    let app = App::start().await;
    let admin = app.user(Role::Admin).await;
    let before = |seconds| json!({"eventDate": (OffsetDateTime::now_utc() - Duration::from_secs(seconds)).format(&Rfc3339).expect("a time")});
    let (past, over) = (app.event(&admin, 5, before(172_800)).await, app.event(&admin, 5, before(1)).await);
    let cancelled = app.event(&admin, 50, json!({})).await;
    app.patch(&format!("/api/events/{cancelled}"), Some(&admin), json!({"cancelled": true})).await.expect(200);
    let email = account(&app, "Kim", Role::User).await;
    let browser = Browser::open(&app.url(), "en-phone-over", "en", PHONE).await;
    let expected = [(over, "This event is over"), (cancelled, "Event cancelled")];
    let listed = async || {
        browser.find(".card").await;
        assert_eq!(browser.count(&format!("[data-event='{past}']")).await, 0, "long over and still listed");
        for (event, text) in expected {
            let shown = browser.text(&format!("[data-event='{event}'] .left")).await;
            assert!(shown.ends_with(text), "{shown}");
        }
        assert_eq!(browser.count("[data-action]").await, 0, "something is to be had");
    };
    listed().await;
    browser.click("#login").await;
    log_in(&browser, &email).await;
    listed().await;
    browser.look("list").await;
    for (event, text) in expected {
        visit(&browser, event).await;
        browser.find(".booking > .state > p").await;
        assert_eq!(browser.text("#left").await, text);
    }
    browser.check_console().await;
}

#[tokio::test]
async fn a_screen_reader_is_not_told_of_every_place_in_the_queue() {
    let app = App::start().await;
    let admin = app.user(Role::Admin).await;
    let queue = json!({"queue": {"enabled": true, "admitPerSecond": 100.0, "maxInside": 1}});
    let event = app.event(&admin, 5, queue).await;
    let me = format!("/api/queue/{event}/me");
    let mut others = Vec::new();
    for _ in 0..4 {
        let other = app.user(Role::User).await;
        app.post(&format!("/api/queue/{event}/enter"), Some(&other), json!({})).await.expect(200);
        others.push(other);
    }
    while app.get(&me, Some(&others[0])).await.expect(200)["state"] != "ADMITTED" {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let browser = logged_in(&app, "announced").await;
    let listen = "window.told = []; const announcer = document.getElementById('announcer'); \
                  new MutationObserver(() => told.push(announcer.textContent)).observe(announcer, { childList: true })";
    browser.run(listen).await;
    visit(&browser, event).await;
    for place in (1..=4).rev() {
        until(&browser, &format!("document.getElementById('queue-position')?.textContent === '{place}'")).await;
        let leaves = others.pop().expect("one for each place");
        app.delete(&me, Some(&leaves)).await.expect(204);
    }
    browser.find("#more-tickets").await;
    let told = browser.run("return told").await;
    assert_eq!(told, json!(["Place 4 in the queue", "It is your turn."]));
}
