//! The measurements of the service: its own, and the shapes of load that the reference systems published.

use super::Service;
use super::limits::Get;
use super::load::{self, Connection, Measured, Pace, Work};
use super::report::{Report, Used};
use super::usage::{self, Processes};
use crate::telemetry;
use anyhow::{Context, bail};
use hyper::Method;
use serde::Deserialize;
use serde_json::{Value, json};
use sqlx::MySqlPool;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// Connections of a closed loop that looks for the most requests per second.
pub const CONNECTIONS: usize = 64;
/// Connections of those who buy as fast as they can.
const BUYERS: usize = 256;
const HOLD_AND_CONFIRM: &str = "hold and confirm a seat";
const RACE: &str = "race: 1,000 users, 100 tickets";
const MANY: &str = "10,000 open connections, two reads on each";
/// Seats in a row.
const SEATS: usize = 1000;
/// Rows for each second of a measurement, and at most: an event can't have more.
const ROWS_PER_SECOND: f64 = 20.0;
const MOST_ROWS: usize = 200;

/// Holds a seat and confirms it; every round takes the next seat.
#[derive(Clone)]
struct HoldAndConfirm {
    event: u64,
    rows: usize,
    next: Arc<AtomicUsize>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Held {
    hold_token: String,
}

impl Work for HoldAndConfirm {
    async fn round(&mut self, connection: &mut Connection, _: usize, _: usize) -> anyhow::Result<u16> {
        let seat = self.next.fetch_add(1, Ordering::Relaxed);
        if seat >= self.rows * SEATS {
            bail!("there are too few seats");
        }
        let seat_id = format!("R{}-{}", seat / SEATS, seat % SEATS + 1);
        let event = self.event;
        let hold = format!(r#"{{"eventId":{event},"userId":"user-{seat}","seatIds":["{seat_id}"]}}"#);
        let held: Held = connection.json(Method::POST, "/api/holds", Some(hold), 201).await?;
        let confirm = format!(r#"{{"holdToken":"{}"}}"#, held.hold_token);
        Ok(connection.send(Method::POST, "/api/reservations/confirm", Some(confirm)).await?.0)
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
        let order = format!(r#"{{"eventId":{},"userId":"user-{user}","quantity":1}}"#, self.event);
        Ok(connection.send(Method::POST, "/api/reservations", Some(order)).await?.0)
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

/// What all measurements need.
pub struct Bench<'a> {
    /// Under test
    pub service: &'a Service,
    /// All that take part
    pub processes: Processes,
    /// Of an ADMIN
    pub token: &'a Arc<str>,
    /// Per measurement
    pub seconds: f64,
    /// What the names of the measurements contain that are wanted
    pub only: &'a str,
}

impl Bench<'_> {
    fn wants(&self, name: &str) -> bool {
        name.contains(self.only)
    }

    async fn open(&self, count: usize) -> anyhow::Result<Vec<Connection>> {
        load::open(self.service.address, Some(self.token), count).await
    }

    /// Measures if it is wanted, with what it uses, and leaves the connections open.
    async fn measure(
        &self,
        name: &str,
        connections: usize,
        pace: impl FnOnce() -> Pace,
        work: impl Work,
        report: &mut Report,
    ) -> anyhow::Result<(Measured, Vec<Connection>)> {
        if !self.wants(name) {
            return Ok((Measured::new()?, Vec::new()));
        }
        let service = self.service.pid()?;
        usage::forget_most(service)?;
        let connections = self.open(connections).await?;
        let before = self.processes.cpu()?;
        let (measured, connections) = load::run_and_keep(connections, pace(), work).await?;
        let after = self.processes.cpu()?;
        let cpu = after.into_iter().map(|(name, time)| (name, time - before.get(name).unwrap_or(&0.0))).collect();
        report.run(name, &measured, Used { cpu, memory: Some(usage::memory(service)?.1) });
        Ok((measured, connections))
    }

    async fn event(&self, body: Value) -> anyhow::Result<u64> {
        let mut connection = Connection::open(self.service.address, Some(self.token.clone())).await?;
        let event: Value = connection.json(Method::POST, "/api/events", Some(body.to_string()), 201).await?;
        event["eventId"].as_u64().context("an event without an id")
    }

    async fn general(&self, tickets: u32) -> anyhow::Result<u64> {
        self.event(json!({"eventName": "Bench", "totalSeats": tickets, "eventDate": "2999-01-01T00:00:00Z"})).await
    }
}

/// Runs them one after the other.
pub async fn run(bench: &Bench<'_>, report: &mut Report) -> anyhow::Result<()> {
    let event = bench.general(1_000_000).await?;
    let detail = Get(format!("/api/events/{event}"));
    let reserve = Reserve { event, next: Arc::default() };
    let closed = || Pace::seconds(bench.seconds);
    bench.measure("cached event read", CONNECTIONS, closed, detail.clone(), report).await?;
    bench.measure("general-admission sale", BUYERS, closed, reserve.clone(), report).await?;
    if bench.wants(HOLD_AND_CONFIRM) {
        hold_and_confirm(bench, report).await?;
    }
    if bench.wants(RACE) {
        race(bench, report).await?;
    }
    let reads = || Pace::rounds(10_000);
    bench.measure("ab: 10,000 reads, 1,000 at a time", 1000, reads, detail.clone(), report).await?;
    for users in [50, 150, 300, 600] {
        let name = format!("k6 stage: {users} users, 9 reads to 1 sale");
        bench.measure(&name, users, closed, Mixed(reserve.clone()), report).await?;
    }
    let part = bench.seconds / 4.0;
    let stages = [(10.0, 1000.0), (1000.0, 2000.0), (2000.0, 1000.0), (1000.0, 4000.0)];
    let stages = stages.map(|(from, to)| (part, from, to));
    let name = "open loop: 10 to 4,000/s, 9 reads to 1 sale";
    bench.measure(name, 500, || Pace::stages(&stages), Mixed(reserve.clone()), report).await?;
    if bench.wants(MANY) { many_connections(bench, detail, report).await } else { Ok(()) }
}

/// Each connection holds one seat after the other, and confirms it.
async fn hold_and_confirm(bench: &Bench<'_>, report: &mut Report) -> anyhow::Result<()> {
    let rows = ((bench.seconds * ROWS_PER_SECOND).ceil() as usize).min(MOST_ROWS);
    let map: Vec<Value> = (0..rows).map(|row| json!({"row": format!("R{row}"), "seats": SEATS})).collect();
    let body = json!({"eventName": "Seats", "eventDate": "2999-01-01T00:00:00Z", "seatMap": map});
    let seated = HoldAndConfirm { event: bench.event(body).await?, rows, next: Arc::default() };
    // The first hold reads the seat map.
    load::run(bench.open(1).await?, Pace::rounds(1), seated.clone()).await?;
    let pace = || Pace::seconds(bench.seconds);
    let (measured, _) = bench.measure(HOLD_AND_CONFIRM, BUYERS, pace, seated, report).await?;
    // Failures are quick, and would make a good rate.
    if measured.statuses.keys().any(|status| *status != 201) {
        bail!(
            "not every seat was sold, {:?}: the event has {} seats, try fewer --seconds",
            measured.statuses,
            rows * SEATS
        );
    }
    Ok(())
}

/// Ten thousand connections: new, all in use at once, and idle again.
async fn many_connections(bench: &Bench<'_>, detail: Get, report: &mut Report) -> anyhow::Result<()> {
    let memory = || anyhow::Ok(usage::memory(bench.service.pid()?)?.0);
    report.figure("memory of the service, no connections", memory()?, "MiB");
    let reads = || Pace::rounds(20_000);
    let (_, connections) = bench
        .measure(MANY, 10_000, reads, detail, report)
        .await
        .context("10,000 connections need `ulimit -n` of 20,100 or more")?;
    tokio::time::sleep(Duration::from_secs(2)).await;
    report.figure("memory of the service, 10,000 idle connections", memory()?, "MiB");
    drop(connections);
    Ok(())
}

/// A thousand users want a hundred tickets, all at once.
async fn race(bench: &Bench<'_>, report: &mut Report) -> anyhow::Result<()> {
    let event = bench.general(100).await?;
    let reserve = Reserve { event, next: Arc::default() };
    let (measured, _) = bench.measure(RACE, 1000, || Pace::rounds(1000), reserve, report).await?;
    let count = |status| measured.statuses.get(&status).copied().unwrap_or(0);
    if (count(201), count(409)) != (100, 900) {
        bail!("1,000 users and 100 tickets gave {:?}", measured.statuses);
    }
    report.figure("race: 1,000 users, 100 tickets, in all", measured.elapsed.as_secs_f64() * 1000.0, "ms");
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
