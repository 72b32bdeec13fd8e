//! What came of the cases of a sweep: told as they end, kept in files for the report of them all.

use std::io::Write;
use std::panic::AssertUnwindSafe;
use std::path::PathBuf;
use std::sync::Mutex;
use std::time::Instant;

use futures::FutureExt;
use serde::{Deserialize, Serialize};

use crate::sweep::{Stage, job::Findings};

/// One case.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Outcome {
    pub promise: String,
    pub case: String,
    pub seconds: f64,
    /// It stands for so many cases, of which one was taken.
    pub of: usize,
    pub duplicates: Vec<String>,
    pub orphans: Vec<String>,
    pub faults: Vec<String>,
}

impl Outcome {
    fn new(promise: String, case: &str, seconds: f64, findings: Findings) -> Outcome {
        let Findings { duplicates, orphans, faults, figures } = findings;
        Outcome { promise, case: format!("{case}{figures}"), seconds, of: stride(), duplicates, orphans, faults }
    }

    pub fn is_survived(&self) -> bool {
        self.duplicates.is_empty() && self.orphans.is_empty() && self.faults.is_empty()
    }

    fn tell(&self) -> String {
        let verdict = if self.is_survived() { "survived" } else { "NOT SURVIVED" };
        let mut text = format!("{}: {}: {verdict} ({:.1} s)", self.promise, self.case, self.seconds);
        for (what, found) in [("duplicate", &self.duplicates), ("orphan", &self.orphans), ("fault", &self.faults)] {
            for one in found {
                text.push_str(&format!("\n    {what}: {one}"));
            }
        }
        text
    }
}

/// How many clouds a full sweep uses side by side: `PROVE_WORKERS`, or two.
pub fn workers() -> usize {
    std::env::var("PROVE_WORKERS").ok().and_then(|count| count.parse().ok()).unwrap_or(2)
}

/// How many cases of a full sweep one is taken of: `PROVE_STRIDE`, or every one. An odd number, so that all phases have their turn.
pub fn stride() -> usize {
    let stride =
        std::env::var("PROVE_STRIDE").ok().map_or(1, |stride| stride.parse().expect("PROVE_STRIDE is a number"));
    assert!(stride % 2 == 1, "an even stride always takes the same phase");
    stride
}

/// The stages share out the cases, the first one first, each at its own pace.
pub async fn share_out<C>(stages: &[Stage], mut cases: Vec<C>, take: impl AsyncFn(&Stage, C)) {
    cases.reverse();
    let cases = Mutex::new(cases);
    let work = async |stage| {
        loop {
            let next = cases.lock().expect("no panic").pop();
            let Some(case) = next else { return };
            take(stage, case).await;
        }
    };
    futures::future::join_all(stages.iter().map(work)).await;
}

/// Where the full sweeps leave what they found.
pub fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("target/prove")
}

/// The outcomes of one sweep.
#[derive(Default)]
pub struct Book {
    outcomes: Mutex<Vec<Outcome>>,
    file: Option<PathBuf>,
}

impl Book {
    /// One that is kept as `target/prove/NAME.jsonl`, begun anew.
    pub fn kept(name: &str) -> Book {
        std::fs::create_dir_all(folder()).expect("a folder");
        let file = folder().join(format!("{name}.jsonl"));
        std::fs::write(&file, "").expect("a file");
        Book { outcomes: Mutex::default(), file: Some(file) }
    }

    /// Tries a case on a stage that has been set back for it, and enters what comes of it.
    pub async fn take(&self, stage: &Stage, promise: String, case: &str, tried: impl Future<Output = Findings>) {
        let begun = Instant::now();
        let tried = async {
            stage.world.back().await;
            tried.await
        };
        let findings = AssertUnwindSafe(tried).catch_unwind().await.unwrap_or_else(|panic| Findings::panicked(&*panic));
        self.enter(Outcome::new(promise, case, begun.elapsed().as_secs_f64(), findings));
    }

    fn enter(&self, outcome: Outcome) {
        eprintln!("{}", outcome.tell());
        if let Some(path) = &self.file {
            let line = serde_json::to_string(&outcome).expect("plain data");
            let mut file = std::fs::File::options().append(true).open(path).expect("the file");
            writeln!(file, "{line}").expect("written");
        }
        self.outcomes.lock().expect("no panic").push(outcome);
    }

    /// Fails with all that wasn't survived.
    #[track_caller]
    pub fn close(self, at_least: usize) {
        let outcomes = self.outcomes.into_inner().expect("no panic");
        let lost: Vec<_> = outcomes.iter().filter(|outcome| !outcome.is_survived()).map(Outcome::tell).collect();
        assert!(lost.is_empty(), "{} of {} cases:\n{}", lost.len(), outcomes.len(), lost.join("\n"));
        assert!(outcomes.len() >= at_least, "only {} cases", outcomes.len());
    }
}
