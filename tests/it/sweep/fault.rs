//! AWS at its worst: nearly a third of all calls fail, each time in one way, and the job must come to its end all the same,
//! with each resource once and in a time that stays in proportion.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::sweep::{
    Job, Stage,
    job::Findings,
    report::{Book, share_out, stride},
};

/// The share of calls that is hit.
const SHARE: f64 = 0.3;

/// What one call that fails may cost on average, beside what the run takes anyway: the pauses before it is made again.
const COST_OF_A_HIT: Duration = Duration::from_secs(3);

/// A way in which calls fail, the share of them where it isn't all.
#[derive(Clone, Copy, Debug)]
struct Trouble {
    name: &'static str,
    faults: fn() -> Value,
}

const TROUBLES: [Trouble; 8] = [
    Trouble { name: "throttling", faults: || json!([{"kind": "throttle", "probability": SHARE}]) },
    Trouble { name: "500", faults: || json!([{"kind": "internal_error", "probability": SHARE}]) },
    Trouble { name: "503", faults: || json!([{"kind": "unavailable", "probability": SHARE}]) },
    Trouble { name: "resets", faults: || json!([{"kind": "reset", "probability": SHARE}]) },
    Trouble { name: "lost answers", faults: || json!([{"kind": "lost_answer", "probability": SHARE}]) },
    Trouble { name: "slow answers", faults: || json!([{"kind": "delay", "milliseconds": 1000, "probability": SHARE}]) },
    Trouble {
        name: "EC2's lists 2 s behind",
        faults: || json!([{"service": "ec2", "kind": "list_lag", "seconds": 2}]),
    },
    Trouble {
        name: "everything at once",
        faults: || {
            let share = SHARE / 6.0;
            json!([
                {"service": "ec2", "kind": "list_lag", "seconds": 2},
                {"kind": "delay", "milliseconds": 1000, "probability": share},
                {"kind": "throttle", "probability": share},
                {"kind": "internal_error", "probability": share},
                {"kind": "unavailable", "probability": share},
                {"kind": "reset", "probability": share},
                {"kind": "lost_answer", "probability": share},
            ])
        },
    },
];

#[derive(Clone, Copy, Debug)]
struct Case {
    trouble: Trouble,
    seed: u64,
}

/// Runs the job in trouble: once, and it is to come through.
async fn survive(stage: &Stage, case: Case) -> Findings {
    stage.world.calls().await;
    stage.world.disturb_by_chance(case.seed, (case.trouble.faults)()).await;
    let begun = Instant::now();
    let ran = stage.run().await;
    let took = begun.elapsed();
    let calls = stage.world.calls().await;
    stage.let_go(None).await;
    let failed =
        calls.iter().filter(|call| call["status"].as_u64().is_none_or(|status| status >= 429 || status == 400));
    let hits = failed.count();
    let mut findings = stage.judge(ran).await;
    let bearable = stage.usual * 3 + COST_OF_A_HIT * u32::try_from(hits).unwrap_or(u32::MAX) + Duration::from_secs(20);
    if took > bearable {
        findings.faults.push(format!("it took {took:.1?}, more than {bearable:.1?}"));
    }
    findings.figures = format!(
        ": {} calls, {hits} failed, {:.1} s instead of {:.1} s",
        calls.len(),
        took.as_secs_f64(),
        stage.usual.as_secs_f64()
    );
    findings
}

async fn take(stages: &[Stage], cases: Vec<Case>, book: &Book) {
    share_out(stages, cases, async |stage, case| {
        let promise = format!("{} during {}", kind(case.trouble), stage.job.name());
        let name = format!("{}, seed {}", case.trouble.name, case.seed);
        book.take(stage, promise, &name, survive(stage, case)).await;
    })
    .await;
}

fn kind(trouble: Trouble) -> String {
    if trouble.name.contains("lists") {
        trouble.name.to_owned()
    } else {
        format!("{:.0} % of the calls hit", SHARE * 100.0)
    }
}

/// A few of the troubles.
async fn sampled(job: Job, names: &[&str]) {
    let stage = Stage::set(job).await;
    let cases: Vec<_> =
        TROUBLES.into_iter().filter(|one| names.contains(&one.name)).map(|trouble| Case { trouble, seed: 1 }).collect();
    assert_eq!(cases.len(), names.len());
    let book = Book::default();
    take(&[stage], cases, &book).await;
    book.close(names.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_apply_comes_through_trouble() {
    sampled(Job::Apply, &["throttling", "lost answers", "EC2's lists 2 s behind"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_comes_through_trouble() {
    sampled(Job::Change, &["500", "everything at once"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_destroy_comes_through_trouble() {
    sampled(Job::Destroy, &["503", "resets", "slow answers"]).await;
}

/// A job in every trouble, five times each.
async fn swept(job: Job) {
    let book = Book::kept(&format!("fault-{}", job.name()));
    let stages = Stage::set_all(job).await;
    let cases = TROUBLES.into_iter().flat_map(|trouble| (1..=5).map(move |seed| Case { trouble, seed }));
    let cases: Vec<_> = cases.step_by(stride()).collect();
    let expected = cases.len();
    take(&stages, cases, &book).await;
    book.close(expected);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes half an hour: make prove"]
async fn every_apply() {
    swept(Job::Apply).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes half an hour: make prove"]
async fn every_change() {
    swept(Job::Change).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes half an hour: make prove"]
async fn every_destroy() {
    swept(Job::Destroy).await;
}
