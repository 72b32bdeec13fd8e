//! The measurements of the service: its own, and the shapes of load that the reference systems published.

use super::Service;
use super::limits::Get;
use super::load::{self, Connection, Pace, Work};
use super::report::Report;
use crate::telemetry;
use anyhow::{Context, bail};
use hyper::Method;
use serde_json::{Value, json};
use sqlx::MySqlPool;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

/// Connections of a closed loop that looks for the most requests per second.
pub const CONNECTIONS: usize = 64;
const ROWS: usize = 100;
const SEATS: usize = 1000;

/// Holds a seat and confirms it; every round takes the next seat.
#[derive(Clone)]
struct HoldAndConfirm {
    event: u64,
    next: Arc<AtomicUsize>,
}

impl Work for HoldAndConfirm {
    async fn round(&mut self, connection: &mut Connection, _: usize, _: usize) -> anyhow::Result<u16> {
        let seat = self.next.fetch_add(1, Ordering::Relaxed);
        if seat >= ROWS * SEATS {
            bail!("there are too few seats for this machine");
        }
        let seat_id = format!("R{}-{}", seat / SEATS, seat % SEATS + 1);
        let hold = json!({"eventId": self.event, "userId": format!("user-{seat}"), "seatIds": [seat_id]});
        let held = connection.json(Method::POST, "/api/holds", Some(&hold), 201).await?;
        let confirm = json!({"holdToken": held["holdToken"]});
        Ok(connection.send(Method::POST, "/api/reservations/confirm", Some(&confirm)).await?.0)
    }
}

/// Reserves one general-admission ticket for a new user.
#[derive(Clone)]
struct Reserve {
    event: u64,
    next: Arc<AtomicUsize>,
}

impl Work for Reserve {
    async fn round(&mut self, connection: &mut Connection, _: usize, _: usize) -> anyhow::Result<u16> {
        let user = self.next.fetch_add(1, Ordering::Relaxed);
        let order = json!({"eventId": self.event, "userId": format!("user-{user}"), "quantity": 1});
        Ok(connection.send(Method::POST, "/api/reservations", Some(&order)).await?.0)
    }
}

/// Nine reads to one sale.
#[derive(Clone)]
struct Mixed(Reserve);

impl Work for Mixed {
    async fn round(&mut self, connection: &mut Connection, worker: usize, round: usize) -> anyhow::Result<u16> {
        if round.is_multiple_of(10) {
            return self.0.round(connection, worker, round).await;
        }
        Ok(connection.send(Method::GET, &format!("/api/events/{}", self.0.event), None).await?.0)
    }
}

struct Bench<'a> {
    service: &'a Service,
    token: &'a Arc<str>,
    seconds: f64,
}

impl Bench<'_> {
    async fn open(&self, count: usize) -> anyhow::Result<Vec<Connection>> {
        load::open(self.service.address, Some(self.token), count).await
    }

    async fn event(&self, body: Value) -> anyhow::Result<u64> {
        let mut connection = Connection::open(self.service.address, Some(self.token.clone())).await?;
        let event = connection.json(Method::POST, "/api/events", Some(&body), 201).await?;
        event["eventId"].as_u64().context("an event without an id")
    }

    async fn general(&self, tickets: u32) -> anyhow::Result<u64> {
        self.event(json!({"eventName": "Bench", "totalSeats": tickets, "eventDate": "2999-01-01T00:00:00Z"})).await
    }
}

/// Runs them one after the other.
pub async fn run(service: &Service, token: &Arc<str>, seconds: f64, report: &mut Report) -> anyhow::Result<()> {
    let bench = Bench { service, token, seconds };
    let event = bench.general(1_000_000).await?;
    let detail = Get(format!("/api/events/{event}"));

    let measured = load::run(bench.open(CONNECTIONS).await?, Pace::seconds(seconds), detail.clone()).await?;
    report.run("cached event read", &measured);

    let reserve = Reserve { event, next: Arc::default() };
    let measured = load::run(bench.open(CONNECTIONS).await?, Pace::seconds(seconds), reserve.clone()).await?;
    report.run("general-admission sale", &measured);

    let map: Vec<Value> = (0..ROWS).map(|row| json!({"row": format!("R{row}"), "seats": SEATS})).collect();
    let body = json!({"eventName": "Seats", "eventDate": "2999-01-01T00:00:00Z", "seatMap": map});
    let seated = HoldAndConfirm { event: bench.event(body).await?, next: Arc::default() };
    // The first hold reads the seat map.
    load::run(bench.open(1).await?, Pace::rounds(1), seated.clone()).await?;
    let measured = load::run(bench.open(CONNECTIONS).await?, Pace::seconds(seconds), seated).await?;
    report.run("hold and confirm a seat", &measured);

    race(&bench, report).await?;

    let measured = load::run(bench.open(1000).await?, Pace::rounds(10_000), detail.clone()).await?;
    report.run("ab: 10,000 reads, 1,000 at a time", &measured);
    for users in [50, 150, 300, 600] {
        let measured = load::run(bench.open(users).await?, Pace::seconds(seconds), Mixed(reserve.clone())).await?;
        report.run(&format!("k6 stage: {users} users, 9 reads to 1 sale"), &measured);
    }
    let part = bench.seconds / 4.0;
    let stages = [(10.0, 1000.0), (1000.0, 2000.0), (2000.0, 1000.0), (1000.0, 4000.0)];
    let stages: Vec<(f64, f64, f64)> = stages.iter().map(|(from, to)| (part, *from, *to)).collect();
    let measured = load::run(bench.open(500).await?, Pace::stages(&stages), Mixed(reserve.clone())).await?;
    report.run("open loop: 10 to 4,000/s, 9 reads to 1 sale", &measured);

    let connections = bench.open(10_000).await.context("10,000 connections need `ulimit -n` of 20,100 or more")?;
    let measured = load::run(connections, Pace::rounds(20_000), detail).await?;
    report.run("10,000 open connections, two reads on each", &measured);
    Ok(())
}

/// A thousand users want a hundred tickets, all at once.
async fn race(bench: &Bench<'_>, report: &mut Report) -> anyhow::Result<()> {
    let event = bench.general(100).await?;
    let connections = bench.open(1000).await?;
    let started = Instant::now();
    let measured = load::run(connections, Pace::rounds(1000), Reserve { event, next: Arc::default() }).await?;
    let elapsed = started.elapsed();
    let count = |status| measured.statuses.get(&status).copied().unwrap_or(0);
    if (count(201), count(409)) != (100, 900) {
        bail!("1,000 users and 100 tickets gave {:?}", measured.statuses);
    }
    report.run("race: 1,000 users, 100 tickets", &measured);
    report.figure("race: 1,000 users, 100 tickets, in all", elapsed.as_secs_f64() * 1000.0, "ms");
    Ok(())
}

/// After all that, the books must add up.
pub async fn check_books(pool: &MySqlPool, report: &mut Report) -> anyhow::Result<()> {
    let wrong = telemetry::imbalances(pool).await?;
    report.figure("events whose books do not add up", wrong.len() as f64, "");
    if !wrong.is_empty() {
        bail!("the books do not add up: {wrong:?}");
    }
    Ok(())
}
