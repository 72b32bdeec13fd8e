//! Who watches an event.

use crate::faults::own_servers;
use crate::support::App;
use futures::future::join_all;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::time::Duration;
use ticketing::accounts::Role;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn watchers_see_holds_and_sales() {
    let app = App::with(&["--hold-seconds", "1"]).await;
    let admin = app.user(Role::Admin).await;
    let event = app.seated_event(&admin, 1, 4, json!({})).await;
    let hold = |seat: &str| json!({"eventId": event, "userId": "kim", "seatIds": [seat]});
    app.post("/api/holds", Some(&admin), hold("A-1")).await.expect(201);
    let mut stream = app.stream(&format!("/api/events/{event}/stream")).await;
    let mut text = String::new();
    let mut sold = false;
    let wanted = [
        r#"{"seatId":"A-1","status":"HELD"}"#,
        r#"{"availableSeats":4,"status":"AVAILABLE"}"#,
        r#"{"seatId":"A-1","status":"AVAILABLE"}"#,
        r#"{"seatId":"A-2","status":"RESERVED"}"#,
        r#"{"availableSeats":3,"status":"AVAILABLE"}"#,
    ];
    let started = std::time::Instant::now();
    while !wanted.iter().all(|wanted| text.contains(wanted)) {
        assert!(started.elapsed() < Duration::from_secs(10), "not everything was told:\n{text}");
        let frame = tokio::time::timeout(Duration::from_secs(10), stream.frame()).await.expect("an update");
        let frame = frame.expect("no end").expect("no error").into_data().expect("data");
        text.push_str(&String::from_utf8_lossy(&frame));
        if !sold {
            let order = json!({"eventId": event, "userId": "lee", "seatIds": ["A-2"]});
            app.post("/api/reservations", Some(&admin), order).await.expect(201);
            sold = true;
        }
    }
}

/// Reads lists of seats until there are as many; fails when one is longer than a thousand.
async fn seats_told(mut stream: Incoming, wanted: usize) -> BTreeSet<String> {
    let (mut text, mut seats) = (String::new(), BTreeSet::new());
    while seats.len() < wanted {
        let frame = tokio::time::timeout(Duration::from_secs(10), stream.frame()).await.expect("an update");
        let frame = frame.expect("no end").expect("no error").into_data().expect("data");
        text.push_str(&String::from_utf8_lossy(&frame));
        while let Some((message, rest)) = text.split_once("\n\n") {
            if let Some(list) = message.strip_prefix("event: seats\ndata: ") {
                let list: Vec<Value> = serde_json::from_str(list).expect("a list");
                assert!(list.len() <= 1000, "{} at once", list.len());
                seats.extend(list.iter().map(|seat| seat["seatId"].as_str().expect("an id").to_owned()));
            }
            text = rest.to_owned();
        }
    }
    seats
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_who_begin_to_watch_cost_little_more_than_one() {
    let servers = own_servers().await;
    let app = App::on(&servers, &[]).await;
    let admin = app.user(Role::Admin).await;
    let event = app.seated_event(&admin, 3, 900, json!({"maxPerOrder": 100})).await;
    let sold: BTreeSet<String> =
        ["A", "B", "C"].iter().flat_map(|row| (1..=900).map(move |seat| format!("{row}-{seat}"))).collect();
    for seats in Vec::from_iter(&sold).chunks(100) {
        let order = json!({"eventId": event, "userId": "kim", "seatIds": seats});
        app.post("/api/reservations", Some(&admin), order).await.expect(201);
    }
    let looks = async || {
        let stats: String = app.state.kv.run(redis::cmd("INFO").arg("commandstats")).await.expect("told");
        let of = stats.split_once("cmdstat_hgetall:calls=").map_or("0", |(_, rest)| rest);
        of.split(',').next().and_then(|calls| calls.parse::<u64>().ok()).expect("a number")
    };
    let before = looks().await;
    let path = format!("/api/events/{event}/stream");
    let streams = join_all((0..50).map(|_| app.stream(&path))).await;
    for told in join_all(streams.into_iter().map(|stream| seats_told(stream, sold.len()))).await {
        assert_eq!(told, sold);
    }
    let looks = looks().await - before;
    assert!((1..30).contains(&looks), "the seats were read {looks} times for 50 watchers");
}
