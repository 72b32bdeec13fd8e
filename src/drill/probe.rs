//! The client that asks all the while: reads and writes at a steady rate, and remembers every write that was acknowledged.

use serde::Serialize;
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};
use tokio::task::{JoinHandle, JoinSet};
use tokio_util::sync::CancellationToken;

use super::{http::Site, writer::Writer};

/// Pause between two reads, and between two writes.
const READ_EVERY: Duration = Duration::from_millis(50);
const WRITE_EVERY: Duration = Duration::from_millis(100);
/// What lies behind: an answer means that the whole of it works.
const READ: &str = "/api/events";

/// What became of the requests of one kind.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Tally {
    pub requests: usize,
    pub errors: usize,
    /// The longest time in which none succeeded, in seconds: from the sending of the first that failed to
    /// the end of the next that succeeded.
    pub downtime_seconds: f64,
    /// How often which error came, in words.
    pub kinds: BTreeMap<String, usize>,
}

/// What the client saw.
#[derive(Clone, Debug, Serialize)]
pub struct Seen {
    pub reads: Tally,
    /// None if writes couldn't be tried.
    pub writes: Option<Tally>,
    /// Writes that were acknowledged.
    pub acknowledged_writes: usize,
    /// Those of them that weren't there afterwards; none if that couldn't be seen.
    pub lost_writes: Option<usize>,
    /// Why writes, or what became of them, couldn't be seen.
    pub unmeasured: Option<String>,
}

/// A client at work.
pub struct Probe {
    site: Site,
    reads: Log,
    writes: Log,
    stop: CancellationToken,
    reading: JoinHandle<()>,
    /// Why nobody writes, or who does.
    writing: Result<JoinHandle<Writer>, String>,
}

/// What happened, for all who ask.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<Attempt>>>);

/// One request: when it was sent, when it ended, and how.
struct Attempt {
    sent: Instant,
    ended: Instant,
    error: Option<String>,
}

impl Log {
    fn all(&self) -> MutexGuard<'_, Vec<Attempt>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for an answer, and notes what became of it.
    async fn note(&self, asked: impl Future<Output = Result<u16, String>>) {
        let sent = Instant::now();
        let error = match asked.await {
            Ok(..400) => None,
            Ok(status) => Some(format!("status {status}")),
            Err(error) => Some(error),
        };
        self.all().push(Attempt { sent, ended: Instant::now(), error });
    }

    /// Whether there were answers in this time, and good ones only.
    fn well_for(&self, time: Duration) -> bool {
        let log = self.all();
        let since = Instant::now().checked_sub(time);
        let mut recent = log.iter().filter(|attempt| since.is_none_or(|since| attempt.ended >= since)).peekable();
        recent.peek().is_some() && recent.all(|attempt| attempt.error.is_none())
    }
}

impl Probe {
    /// Starts to ask.
    ///
    /// # Errors
    /// In words: a URL that is none, or a site that isn't well even before the drill.
    pub async fn start(url: &str) -> Result<Probe, String> {
        let site = Site::new(url)?;
        let first =
            site.ask("GET", READ, None, None).await.map_err(|error| format!("{url} doesn't answer: {error}"))?;
        if first.status != 200 {
            return Err(format!("{url}{READ} answers {} even before the drill", first.status));
        }
        let writer = Writer::new(&site).await;
        let (reads, writes, stop) = (Log::default(), Log::default(), CancellationToken::new());
        let reading = tokio::spawn(read(site.clone(), reads.clone(), stop.clone()));
        let writing = writer.map(|writer| tokio::spawn(write(site.clone(), writer, writes.clone(), stop.clone())));
        Ok(Probe { site, reads, writes, stop, reading, writing })
    }

    /// Why nothing is written, if so.
    pub fn writes_not(&self) -> Option<&str> {
        self.writing.as_ref().err().map(String::as_str)
    }

    /// Whether reads, and writes where there are some, have succeeded without a failure for so long.
    pub fn well_for(&self, time: Duration) -> bool {
        self.reads.well_for(time) && (self.writing.is_err() || self.writes.well_for(time))
    }

    /// Stops asking, counts, and looks whether every acknowledged write is there.
    pub async fn end(self) -> Seen {
        let Probe { site, reads, writes, stop, reading, writing } = self;
        stop.cancel();
        if let Err(error) = reading.await {
            tracing::warn!(%error, "the reader of a drill");
        }
        let writer = match writing {
            Ok(writing) => writing.await.map_err(|error| error.to_string()),
            Err(why) => Err(why),
        };
        // The one with which the writer began counts, too.
        let acknowledged_writes = good(&writes.all()) + usize::from(writer.is_ok());
        let counted = writer.is_ok().then(|| tally(&writes.all()));
        // A write whose answer was lost may be there as well: only less is a loss.
        let lost = match writer {
            Ok(mut writer) => writer.balance(&site).await.map(|balance| acknowledged_writes.saturating_sub(balance)),
            Err(why) => Err(why),
        };
        let reads = tally(&reads.all());
        Seen {
            reads,
            writes: counted,
            acknowledged_writes,
            lost_writes: lost.as_ref().ok().copied(),
            unmeasured: lost.err(),
        }
    }
}

async fn read(site: Site, log: Log, stop: CancellationToken) {
    let mut ticks = tokio::time::interval(READ_EVERY);
    let mut asked = JoinSet::new();
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            () = stop.cancelled() => break,
        }
        // At its time, whatever became of the one before: a hanging site gets as many requests as a quick one.
        let (site, log) = (site.clone(), log.clone());
        asked.spawn(async move {
            log.note(async { site.ask("GET", READ, None, None).await.map(|answer| answer.status) }).await;
        });
        while asked.try_join_next().is_some() {}
    }
    asked.join_all().await;
}

/// One after the other: they all change the same wallet.
async fn write(site: Site, mut writer: Writer, log: Log, stop: CancellationToken) -> Writer {
    let mut ticks = tokio::time::interval(WRITE_EVERY);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            () = stop.cancelled() => return writer,
        }
        log.note(async { writer.write(&site).await.map(|answer| answer.status) }).await;
    }
}

fn good(log: &[Attempt]) -> usize {
    log.iter().filter(|attempt| attempt.error.is_none()).count()
}

fn tally(log: &[Attempt]) -> Tally {
    let mut seen = Tally { requests: log.len(), ..Tally::default() };
    for error in log.iter().filter_map(|attempt| attempt.error.as_ref()) {
        seen.errors += 1;
        *seen.kinds.entry(error.clone()).or_default() += 1;
    }
    let mut order: Vec<&Attempt> = log.iter().collect();
    order.sort_by_key(|attempt| attempt.sent);
    // From when the first request of a row of failures was sent until the next success ended.
    let mut since: Option<Instant> = None;
    for attempt in order {
        match (&attempt.error, since) {
            (Some(_), None) => since = Some(attempt.sent),
            (None, Some(begun)) => {
                let lasted = attempt.ended.duration_since(begun).as_secs_f64();
                seen.downtime_seconds = seen.downtime_seconds.max(lasted);
                since = None;
            }
            _ => {}
        }
    }
    if let (Some(begun), Some(last)) = (since, log.iter().map(|attempt| attempt.ended).max()) {
        seen.downtime_seconds = seen.downtime_seconds.max(last.duration_since(begun).as_secs_f64());
    }
    seen
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn downtime_is_the_longest_row_of_failures() {
        let begun = Instant::now();
        let at = |sent: u64, ended: u64, error: bool| Attempt {
            sent: begun + Duration::from_millis(sent),
            ended: begun + Duration::from_millis(ended),
            error: error.then(|| "status 502".into()),
        };
        let log = [
            at(0, 10, false),
            at(50, 60, true),
            at(100, 110, false),
            at(150, 5150, true),
            at(200, 210, true),
            at(2000, 2010, false),
            at(2050, 2060, false),
        ];
        let seen = tally(&log);
        assert_eq!((seen.requests, seen.errors, seen.kinds["status 502"]), (7, 3, 3));
        assert!((seen.downtime_seconds - 1.86).abs() < 1e-9, "{seen:?}");
        let open = [at(0, 10, false), at(50, 550, true)];
        assert!((tally(&open).downtime_seconds - 0.5).abs() < 1e-9);
    }
}
