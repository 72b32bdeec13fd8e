//! `ticketctl apply --local`, through the binary, with the real application: a site that works, that bears what it should, and
//! that goes without a trace.

use std::collections::BTreeSet;
use std::fs::OpenOptions;
use std::io::Write;
use std::path::{Path, PathBuf};

use serde_json::Value;
use ticketctl::local::plane::board::Entry;

use super::backend::get;
use super::developer::{Developer, health};
use super::visitors::Visitors;
use super::world::{listens, processes_of};
use crate::webdriver::{Browser, DESKTOP};

const STACK: &str = "ticketing-dev";

#[tokio::test(flavor = "multi_thread")]
async fn apply_ends_with_a_site_that_works_heals_and_goes() {
    let developer = Developer::new(&[]);
    let stack = developer.stack("dev", "paths: [\"/*\"]", "");
    let applied = developer.on(&stack, &["apply", "--yes"]).await.exits(0);
    let url = developer.url(&stack).await;
    assert!(url.starts_with("http://127.77.") && applied.out.contains(&url), "{url}\n{}", applied.out);
    let again = developer.on(&stack, &["apply", "--yes"]).await.exits(0);
    assert!(again.out.contains("No changes") || again.err.contains("No changes"), "{}\n{}", again.out, again.err);

    two_instances_take_turns(&developer, &url).await;
    developer.seed(STACK).await;
    somebody_books_a_seat(&url).await;
    every_drill_passes(&developer, &stack).await;
    a_new_build_comes_in_unnoticed(&developer, &stack, &url).await;
    a_build_that_fails_goes_back_by_itself(&developer, &stack, &url).await;
    nothing_is_left(&developer, &stack, &url).await;
}

/// How many questions for its health an instance has answered.
async fn answered(instance: &Entry) -> f64 {
    let (status, text) = get(&format!("http://{}/metrics", instance.address)).await;
    assert_eq!(status, 200, "{text}");
    let counts = text
        .lines()
        .filter(|line| line.starts_with("ticketing_http_requests_total{") && line.contains("route=\"/api/health\""));
    counts.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
}

async fn two_instances_take_turns(developer: &Developer, url: &str) {
    let instances = developer.until_serving(STACK, 2).await;
    let mut before = Vec::new();
    for instance in &instances {
        before.push(answered(instance).await);
    }
    for _ in 0..20 {
        let told = health(url).await;
        assert_eq!(
            (&told["status"], &told["database"], &told["redis"]),
            (&Value::from("UP"), &Value::from("connected"), &Value::from("connected"))
        );
    }
    let mut shares = Vec::new();
    for (instance, before) in instances.iter().zip(before) {
        shares.push(answered(instance).await - before);
    }
    assert_eq!(shares.iter().sum::<f64>(), 20.0, "{shares:?}");
    assert!(shares.iter().all(|share| *share >= 8.0), "in turn: {shares:?}");
}

/// A person with a browser, who comes in through the load balancer as everybody.
async fn somebody_books_a_seat(url: &str) {
    let events: Value = serde_json::from_str(&get(&format!("{url}/api/events?size=100")).await.1).expect("JSON");
    let event = events.as_array().into_iter().flatten().find(|event| event["eventName"] == "A Musical Evening");
    let event = &event.unwrap_or_else(|| panic!("the demo's events: {events}"))["eventId"];
    let seats = async || -> Value {
        let (status, body) = get(&format!("{url}/api/events/{event}")).await;
        assert_eq!(status, 200, "{body}");
        serde_json::from_str::<Value>(&body).expect("JSON")["availableSeats"].take()
    };
    assert_eq!(seats().await, 140);

    let browser = Browser::open(url, "site", "en", DESKTOP).await;
    browser.click("#login").await;
    browser.keys("#login-dialog [name=email]", "kim@example.com").await;
    browser.keys("#login-dialog [name=password]", "demo-password").await;
    browser.click("#login-submit").await;
    browser.find("#logout").await;
    browser.shot("events").await;
    browser.go(&format!("{url}/#/events/{event}")).await;
    browser.click("[data-seat=B-7]").await;
    browser.find("[data-seat=B-7].selected").await;
    browser.shot("seat").await;
    browser.click("#continue").await;
    browser.click("#confirm").await;
    browser.find("#done-dialog").await;
    browser.shot("booked").await;
    browser.check_console().await;
    assert_eq!(seats().await, 139);
}

/// What platforms of this kind promise, in seconds: the time without reads, and without writes.
const PROMISED: [(&str, f64, f64); 4] =
    [("kill-instance", 1.0, 1.0), ("az-outage", 5.0, 40.0), ("db-failover", 40.0, 40.0), ("cache-failover", 5.0, 5.0)];

async fn every_drill_passes(developer: &Developer, stack: &Path) {
    for (fault, reads, writes) in PROMISED {
        let drill = async || {
            let ran = developer.on(stack, &["drill", fault, "--yes", "--json"]).await;
            let report = ran.out.lines().find(|line| line.contains("\"recovery_seconds\""));
            let report = report.unwrap_or_else(|| panic!("{fault}: {}\n{}", ran.out, ran.err));
            let told: Value = serde_json::from_str(report).expect("JSON");
            // Whatever the machine is busy with: it gets well again, and nothing is lost.
            assert_eq!((&told["recovered"], &told["lost_writes"]), (&Value::Bool(true), &Value::from(0)), "{told}");
            assert!(told["acknowledged_writes"].as_u64().is_some_and(|writes| writes > 10), "{told}");
            let down = |what: &str| told[what]["downtime_seconds"].as_f64().expect("seconds");
            let passed = down("reads") <= reads && down("writes") <= writes;
            assert_eq!((&told["passed"], ran.code), (&Value::Bool(passed), i32::from(!passed)), "{told}");
            passed.then_some(()).ok_or(told)
        };
        // A busy machine may hold everything up for seconds, but not each time.
        if let Err(first) = drill().await
            && let Err(second) = drill().await
        {
            panic!("{fault} took more than was promised: {first:#}, and again {second:#}");
        }
        developer.until_serving(STACK, 2).await;
    }
}

fn ids(instances: &[Entry]) -> BTreeSet<String> {
    instances.iter().map(|instance| instance.resource.clone()).collect()
}

/// The same program with other contents.
fn changed(developer: &Developer) -> PathBuf {
    let path = developer.home().join("changed");
    std::fs::copy(developer.program(), &path).expect("a copy");
    let mut file = OpenOptions::new().append(true).open(&path).expect("a file");
    file.write_all(b"another build").expect("written");
    path
}

async fn a_new_build_comes_in_unnoticed(developer: &Developer, stack: &Path, url: &str) {
    let before = ids(&developer.until_serving(STACK, 2).await);
    let build = changed(developer);
    let visitors = Visitors::of(url);
    let arguments = ["deploy", "--yes", "--artifact", build.to_str().expect("a path")];
    let deployed = developer.on(stack, &arguments).await.exits(0);
    assert!(deployed.err.contains("runs release 2, 2 instances replaced"), "{}", deployed.err);
    let after = ids(&developer.until_serving(STACK, 2).await);
    assert!(visitors.all_were_served().await > 100);
    assert!(before.is_disjoint(&after), "{before:?} {after:?}");
    std::fs::remove_file(build).expect("removed");
}

async fn a_build_that_fails_goes_back_by_itself(developer: &Developer, stack: &Path, url: &str) {
    let before = ids(&developer.until_serving(STACK, 2).await);
    let visitors = Visitors::of(url);
    let grace = "services.web.health.grace=30s";
    let deployed = developer.on(stack, &["deploy", "--yes", "--artifact", "/bin/false", "--set", grace]).await.exits(1);
    assert!(deployed.err.contains("release 3 was given up, release 2 runs again"), "{}", deployed.err);
    let after = ids(&developer.until_serving(STACK, 2).await);
    assert!(visitors.all_were_served().await > 100);
    assert_eq!(before, after, "who served went on serving");
    assert_eq!(health(url).await["status"], "UP");
}

/// All files in a directory.
fn files(directory: &Path) -> BTreeSet<PathBuf> {
    let all = std::fs::read_dir(directory).expect("a directory").map(|entry| entry.expect("an entry").path());
    all.flat_map(|path| if path.is_dir() { files(&path) } else { [path].into() }).collect()
}

async fn nothing_is_left(developer: &Developer, stack: &Path, url: &str) {
    // An instance that has gone is told of for a while, without an address.
    let places = developer.entries("").into_iter().map(|entry| entry.address);
    let places: Vec<String> = places.filter(|place| !place.is_empty()).collect();
    assert!(places.len() >= 7 && places.iter().all(|place| listens(place)), "{places:?}");
    let endpoint = developer.endpoint().await;
    developer.on(stack, &["destroy", "--yes"]).await.exits(0);
    developer.until("nothing is left", || developer.entries("").is_empty()).await;
    developer.local(&["down"]).await.exits(0);
    for place in
        places.iter().map(String::as_str).chain([url, endpoint.as_str()].map(|url| url.trim_start_matches("http://")))
    {
        let place = if place.contains(':') { place.to_owned() } else { format!("{place}:80") };
        assert!(!listens(&place), "{place}");
    }
    assert_eq!(processes_of(developer.home()), Vec::<String>::new());
    // Temporary files would be among these, too.
    assert_eq!(files(developer.home()), [stack.to_owned(), developer.data().join("lock")].into());
}
