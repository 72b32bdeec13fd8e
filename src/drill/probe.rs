//! The client that asks all the while: reads at a steady rate, and writes whose every acknowledgement it remembers.

use serde::Serialize;
use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::http::Site;

/// Pause between two reads, and between two writes.
const READ_EVERY: Duration = Duration::from_millis(50);
const WRITE_EVERY: Duration = Duration::from_millis(100);
/// What lies behind: an answer means that the whole of it works.
const READ: &str = "/api/events";

/// What the client saw.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Seen {
    pub requests: usize,
    pub errors: usize,
    /// The longest time in which no request succeeded, in seconds. A single failure between successes is none.
    pub downtime_seconds: f64,
    /// How often which error came, in words.
    pub kinds: BTreeMap<String, usize>,
    /// Writes that were acknowledged.
    pub acknowledged_writes: usize,
    /// Those of them that weren't there afterwards; none if writes couldn't be tried.
    pub lost_writes: Option<usize>,
}

/// A client at work.
pub struct Probe {
    site: Site,
    log: Arc<Mutex<Vec<Attempt>>>,
    writer: Option<Writer>,
    acknowledged: Arc<Mutex<usize>>,
    stop: CancellationToken,
    work: JoinSet<()>,
}

/// One request: when it was sent, when it ended, and how.
struct Attempt {
    sent: Instant,
    ended: Instant,
    error: Option<String>,
}

/// An account of the drill's own. Each write puts one coin into its wallet.
#[derive(Clone)]
struct Writer {
    token: String,
    wallet: String,
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
        let writer = account(&site).await;
        let mut probe = Probe {
            site,
            log: Arc::default(),
            writer,
            acknowledged: Arc::default(),
            stop: CancellationToken::new(),
            work: JoinSet::new(),
        };
        probe.read();
        if let Some(writer) = probe.writer.clone() {
            probe.write(writer);
        }
        Ok(probe)
    }

    /// Whether reads have succeeded without a failure for so long.
    pub fn well_for(&self, time: Duration) -> bool {
        let log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        let since = Instant::now().checked_sub(time);
        let recent: Vec<_> = log.iter().filter(|attempt| since.is_none_or(|since| attempt.ended >= since)).collect();
        !recent.is_empty() && recent.iter().all(|attempt| attempt.error.is_none())
    }

    fn read(&mut self) {
        let (site, log, stop) = (self.site.clone(), self.log.clone(), self.stop.clone());
        self.work.spawn(async move {
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
                    let sent = Instant::now();
                    let error = match site.ask("GET", READ, None, None).await {
                        Ok(answer) if answer.status < 400 => None,
                        Ok(answer) => Some(format!("status {}", answer.status)),
                        Err(error) => Some(error),
                    };
                    let attempt = Attempt { sent, ended: Instant::now(), error };
                    log.lock().unwrap_or_else(PoisonError::into_inner).push(attempt);
                });
                while asked.try_join_next().is_some() {}
            }
            asked.join_all().await;
        });
    }

    fn write(&mut self, writer: Writer) {
        let (site, stop, acknowledged) = (self.site.clone(), self.stop.clone(), self.acknowledged.clone());
        self.work.spawn(async move {
            let mut ticks = tokio::time::interval(WRITE_EVERY);
            ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
            loop {
                tokio::select! {
                    _ = ticks.tick() => {}
                    () = stop.cancelled() => return,
                }
                let path = format!("/api/wallets/{}/charge", writer.wallet);
                let body = json!({"amount": 1}).to_string();
                if let Ok(answer) = site.ask("POST", &path, Some(&writer.token), Some(body)).await
                    && answer.status == 200
                {
                    *acknowledged.lock().unwrap_or_else(PoisonError::into_inner) += 1;
                }
            }
        });
    }

    /// Stops asking, counts, and looks whether every acknowledged write is there.
    pub async fn end(self) -> Seen {
        let Probe { site, log, writer, acknowledged, stop, work } = self;
        stop.cancel();
        work.join_all().await;
        let acknowledged = *acknowledged.lock().unwrap_or_else(PoisonError::into_inner);
        let mut seen = count(&log.lock().unwrap_or_else(PoisonError::into_inner));
        seen.acknowledged_writes = acknowledged;
        if let Some(writer) = writer {
            // A write whose answer was lost may be there as well: only less is a loss.
            seen.lost_writes = balance(&site, &writer).await.map(|balance| acknowledged.saturating_sub(balance));
        }
        seen
    }
}

fn count(log: &[Attempt]) -> Seen {
    let mut seen = Seen { requests: log.len(), ..Seen::default() };
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

/// An account for writing, or none where the site has no such thing.
async fn account(site: &Site) -> Option<Writer> {
    let secret = format!("{:032x}", rand::random::<u128>());
    let email = format!("drill-{:016x}@example.com", rand::random::<u64>());
    let signup = json!({"email": email, "password": secret, "name": "Drill"}).to_string();
    site.ask("POST", "/api/auth/signup", None, Some(signup)).await.ok().filter(|answer| answer.status == 201)?;
    let login = json!({"email": email, "password": secret}).to_string();
    let answer = site.ask("POST", "/api/auth/login", None, Some(login)).await.ok()?;
    let session: Value = serde_json::from_slice(&answer.body).ok()?;
    Some(Writer {
        token: session["accessToken"].as_str()?.to_owned(),
        wallet: session["user"]["userId"].as_str()?.to_owned(),
    })
}

async fn balance(site: &Site, writer: &Writer) -> Option<usize> {
    for _ in 0..20 {
        let path = format!("/api/wallets/{}", writer.wallet);
        if let Ok(answer) = site.ask("GET", &path, Some(&writer.token), None).await
            && let Ok(wallet) = serde_json::from_slice::<Value>(&answer.body)
            && let Some(balance) = wallet["balance"].as_u64()
        {
            return usize::try_from(balance).ok();
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    None
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
        let seen = count(&log);
        assert_eq!((seen.requests, seen.errors, seen.kinds["status 502"]), (7, 3, 3));
        assert!((seen.downtime_seconds - 1.86).abs() < 1e-9, "{seen:?}");
        let open = [at(0, 10, false), at(50, 550, true)];
        assert!((count(&open).downtime_seconds - 0.5).abs() < 1e-9);
    }
}
