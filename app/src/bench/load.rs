//! The load generator: HTTP/1.1 over connections that stay open, in a closed loop for limits and in an open loop for
//! latencies.
//!
//! It shares the processors with what it measures, so it does no more than it must: a request is one write, and of an
//! answer only status and length are read.

use anyhow::{Context, bail};
use bytes::{Buf, Bytes, BytesMut};
use hdrhistogram::Histogram;
use hyper::Method;
use serde::de::DeserializeOwned;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Headers of an answer, at most.
const HEADERS: usize = 32;
/// What is read at once, in bytes.
const READ: usize = 4096;

/// One open connection.
pub struct Connection {
    stream: TcpStream,
    /// What every request has
    headers: String,
    /// What was read and belongs to no answer yet
    unread: BytesMut,
}

impl Connection {
    /// Opens a connection; `token` is sent with every request.
    pub async fn open(address: SocketAddr, token: Option<Arc<str>>) -> anyhow::Result<Self> {
        let stream = TcpStream::connect(address).await.with_context(|| format!("cannot connect to {address}"))?;
        stream.set_nodelay(true)?;
        let token = token.map(|token| format!("authorization: Bearer {token}\r\n")).unwrap_or_default();
        Ok(Self { stream, headers: format!("host: {address}\r\n{token}"), unread: BytesMut::new() })
    }

    /// Sends a request, with JSON as its body, and returns the status and body.
    pub async fn send(&mut self, method: Method, path: &str, body: Option<String>) -> anyhow::Result<(u16, Bytes)> {
        let headers = &self.headers;
        let request = match body {
            None => format!("{method} {path} HTTP/1.1\r\n{headers}\r\n"),
            Some(body) => format!(
                "{method} {path} HTTP/1.1\r\n{headers}content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
                body.len()
            ),
        };
        self.stream.write_all(request.as_bytes()).await?;
        loop {
            if let Some((status, head, length)) = answer(&self.unread)?
                && self.unread.len() >= head + length
            {
                self.unread.advance(head);
                return Ok((status, self.unread.split_to(length).freeze()));
            }
            self.unread.reserve(READ);
            if self.stream.read_buf(&mut self.unread).await? == 0 {
                bail!("the connection was closed before an answer");
            }
        }
    }

    /// Like [`Connection::send`]; any status but `wanted` is an error.
    pub async fn json<T: DeserializeOwned>(
        &mut self,
        method: Method,
        path: &str,
        body: Option<String>,
        wanted: u16,
    ) -> anyhow::Result<T> {
        let (status, bytes) = self.send(method, path, body).await?;
        if status != wanted {
            bail!("{path} answered {status}: {}", String::from_utf8_lossy(&bytes));
        }
        serde_json::from_slice(&bytes).with_context(|| format!("{path} answered something else"))
    }
}

/// Status, length of the head and length of the body of an answer, once its head is there.
fn answer(read: &[u8]) -> anyhow::Result<Option<(u16, usize, usize)>> {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS];
    let mut answer = httparse::Response::new(&mut headers);
    let httparse::Status::Complete(head) = answer.parse(read)? else { return Ok(None) };
    let length = answer.headers.iter().find(|header| header.name.eq_ignore_ascii_case("content-length"));
    let length = std::str::from_utf8(length.context("an answer doesn't tell its length")?.value)?.parse()?;
    Ok(Some((answer.code.context("an answer has no status")?, head, length)))
}

/// What a run measured.
pub struct Measured {
    /// Latencies in microseconds: in an open loop from the moment at which the request was due
    pub latency: Histogram<u64>,
    /// Answers by status; 0 stands for no answer
    pub statuses: BTreeMap<u16, u64>,
    /// From the first request to the last answer
    pub elapsed: Duration,
}

impl Measured {
    /// Nothing yet.
    pub fn new() -> anyhow::Result<Self> {
        Ok(Self {
            latency: Histogram::new_with_bounds(1, 600_000_000, 3)?,
            statuses: BTreeMap::new(),
            elapsed: Duration::ZERO,
        })
    }

    fn add(&mut self, latency: Duration, status: u16) {
        self.latency.saturating_record(u64::try_from(latency.as_micros()).unwrap_or(u64::MAX));
        *self.statuses.entry(status).or_default() += 1;
    }

    fn merge(&mut self, other: Self) -> anyhow::Result<()> {
        self.latency.add(other.latency)?;
        for (status, count) in other.statuses {
            *self.statuses.entry(status).or_default() += count;
        }
        Ok(())
    }

    /// Answers per second.
    pub fn rate(&self) -> f64 {
        self.latency.len() as f64 / self.elapsed.as_secs_f64()
    }
}

/// When a worker is to do its next round: at a given moment, right now, or never.
#[derive(Clone)]
pub enum Pace {
    /// A closed loop that ends at this moment
    Until(Arc<AtomicUsize>, Instant),
    /// A closed loop of so many rounds by all workers together
    Rounds(Arc<AtomicUsize>, usize),
    /// An open loop: rounds are due at these offsets from the start, whatever the answers do
    Schedule(Arc<AtomicUsize>, Arc<Vec<Duration>>, Instant),
}

impl Pace {
    /// A closed loop for some time.
    pub fn seconds(seconds: f64) -> Self {
        Self::Until(Arc::default(), Instant::now() + Duration::from_secs_f64(seconds))
    }

    /// A closed loop of so many rounds.
    pub fn rounds(rounds: usize) -> Self {
        Self::Rounds(Arc::default(), rounds)
    }

    /// An open loop through stages of (seconds, rate at the beginning, rate at the end).
    pub fn stages(stages: &[(f64, f64, f64)]) -> Self {
        let mut due = Vec::new();
        let mut offset = 0.0;
        for (seconds, from, to) in stages {
            let mut now = 0.0;
            while now < *seconds {
                due.push(Duration::from_secs_f64(offset + now));
                let rate = from + (to - from) * now / seconds;
                now += 1.0 / rate.max(0.1);
            }
            offset += seconds;
        }
        Self::Schedule(Arc::default(), Arc::new(due), Instant::now() + Duration::from_millis(100))
    }

    /// The number of the next round and the moment from which its latency counts.
    async fn next(&self) -> Option<(usize, Instant)> {
        match self {
            Self::Until(counter, end) => {
                let now = Instant::now();
                (now < *end).then(|| (counter.fetch_add(1, Ordering::Relaxed), now))
            }
            Self::Rounds(counter, rounds) => {
                let round = counter.fetch_add(1, Ordering::Relaxed);
                (round < *rounds).then(|| (round, Instant::now()))
            }
            Self::Schedule(counter, due, start) => {
                let round = counter.fetch_add(1, Ordering::Relaxed);
                let due = *start + *due.get(round)?;
                tokio::time::sleep_until(due.into()).await;
                Some((round, due))
            }
        }
    }
}

/// What every worker does again and again.
pub trait Work: Clone + Send + 'static {
    /// One round; returns the status that counts.
    fn round(
        &mut self,
        connection: &mut Connection,
        worker: usize,
        round: usize,
    ) -> impl Future<Output = anyhow::Result<u16>> + Send;
}

/// Works on every connection as the pace says, and then closes them.
pub async fn run(connections: Vec<Connection>, pace: Pace, work: impl Work) -> anyhow::Result<Measured> {
    Ok(run_and_keep(connections, pace, work).await?.0)
}

/// Works on every connection as the pace says, and leaves them open.
pub async fn run_and_keep(
    connections: Vec<Connection>,
    pace: Pace,
    work: impl Work,
) -> anyhow::Result<(Measured, Vec<Connection>)> {
    let started = Instant::now();
    let mut workers = tokio::task::JoinSet::new();
    for (worker, mut connection) in connections.into_iter().enumerate() {
        let (pace, mut work) = (pace.clone(), work.clone());
        workers.spawn(async move {
            let mut measured = Measured::new()?;
            while let Some((round, due)) = pace.next().await {
                let status = work.round(&mut connection, worker, round).await;
                if let Err(error) = &status {
                    tracing::debug!(%error, "no answer");
                }
                measured.add(due.elapsed(), status.unwrap_or(0));
            }
            anyhow::Ok((measured, connection))
        });
    }
    let (mut all, mut kept) = (Measured::new()?, Vec::with_capacity(workers.len()));
    while let Some(done) = workers.join_next().await {
        let (measured, connection) = done??;
        all.merge(measured)?;
        kept.push(connection);
    }
    all.elapsed = started.elapsed();
    Ok((all, kept))
}

/// Opens so many connections.
pub async fn open(address: SocketAddr, token: Option<&Arc<str>>, count: usize) -> anyhow::Result<Vec<Connection>> {
    let mut connections = Vec::with_capacity(count);
    for _ in 0..count {
        connections.push(Connection::open(address, token.cloned()).await?);
    }
    Ok(connections)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_read_once_its_head_is_there() {
        let whole = b"HTTP/1.1 201 Created\r\nContent-Length: 2\r\n\r\nhi";
        assert_eq!(answer(whole).expect("HTTP"), Some((201, 43, 2)));
        assert_eq!(answer(&whole[..42]).expect("HTTP"), None);
        assert!(answer(b"HTTP/1.1 200 OK\r\n\r\n").is_err());
        assert!(answer(b"SSH-2.0").is_err());
    }

    #[test]
    fn stages_make_as_many_rounds_as_their_rates_say() {
        let Pace::Schedule(_, due, _) = Pace::stages(&[(2.0, 10.0, 10.0), (1.0, 100.0, 300.0)]) else {
            panic!("an open loop has a schedule")
        };
        assert!((215..=225).contains(&due.len()), "20 and then about 200, not {}", due.len());
        assert!(due.is_sorted());
    }
}
