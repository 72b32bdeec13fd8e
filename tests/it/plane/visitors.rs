//! Visitors of a site: they ask all the while, and remember what went wrong.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use http_body_util::{BodyExt, Full};
use hyper::Request;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// Longer than anybody waits.
const PATIENCE: Duration = Duration::from_secs(60);
const PAUSE: Duration = Duration::from_millis(20);

pub struct Visitors {
    stop: CancellationToken,
    good: Arc<AtomicUsize>,
    /// Each ends with what went wrong.
    all: JoinSet<Vec<String>>,
}

impl Visitors {
    /// Some keep their connection, and some come anew each time.
    pub fn of(url: &str) -> Self {
        let (stop, good) = (CancellationToken::new(), Arc::new(AtomicUsize::new(0)));
        let mut all = JoinSet::new();
        for (path, connections) in [("/api/events", 1), ("/api/events", 0), ("/api/health", 1), ("/", 0)] {
            let (url, stop, good) = (format!("{url}{path}"), stop.clone(), good.clone());
            all.spawn(async move {
                let client = Client::builder(TokioExecutor::new()).pool_max_idle_per_host(connections).build_http();
                let (begun, mut failures) = (Instant::now(), Vec::new());
                while !stop.is_cancelled() {
                    let asked = async {
                        let request = Request::get(&url).body(Full::<bytes::Bytes>::default()).expect("a request");
                        let answer = client.request(request).await.map_err(|error| format!("{error:?}"))?;
                        let status = answer.status();
                        let body = answer.into_body().collect().await.map_err(|error| format!("{error:?}"))?.to_bytes();
                        match status.is_success() {
                            true => Ok(()),
                            false => Err(format!("{status}: {}", String::from_utf8_lossy(&body))),
                        }
                    };
                    match tokio::time::timeout(PATIENCE, asked).await.unwrap_or_else(|_| Err("no answer".into())) {
                        Ok(()) => drop(good.fetch_add(1, Ordering::SeqCst)),
                        Err(error) => failures.push(format!("{url} after {:?}: {error}", begun.elapsed())),
                    }
                    tokio::time::sleep(PAUSE).await;
                }
                failures
            });
        }
        Self { stop, good, all }
    }

    /// Lets them go; answers with how often they were served.
    pub async fn all_were_served(self) -> usize {
        self.stop.cancel();
        let failures: Vec<String> = self.all.join_all().await.into_iter().flatten().collect();
        assert!(failures.is_empty(), "{} requests failed: {failures:#?}", failures.len());
        self.good.load(Ordering::SeqCst)
    }
}
