//! A run is cut short at each of its changes: just before the change reaches the endpoint, and just after the endpoint has
//! carried it out, before the answer arrives. Then the same command runs again.

use crate::sweep::{
    Job, Stage,
    ending::Ending,
    job::{Call, Findings},
    report::{Book, share_out, stride},
};

#[derive(Clone, Debug)]
struct Case {
    call: Call,
    when: &'static str,
    ending: Ending,
}

/// Every change, before and after.
fn every(calls: &[Call], ending: Ending) -> Vec<Case> {
    let both = |call: &Call| ["before", "after"].map(|when| Case { call: call.clone(), when, ending });
    calls.iter().flat_map(both).collect()
}

/// Every `stride`-th of them; an odd one takes both phases in turn.
fn sample(cases: Vec<Case>, stride: usize) -> Vec<Case> {
    assert!(stride % 2 == 1, "an even stride always takes the same phase");
    cases.into_iter().step_by(stride).collect()
}

async fn survive(stage: &Stage, case: &Case) -> Findings {
    let ended = match stage.start_and_hold(&case.call, case.when, case.ending.lag()).await {
        Ok(child) => case.ending.befall(stage, child).await,
        Err(missed) => Err(missed),
    };
    let again = stage.run().await;
    // Whoever counts looks at what there is now.
    stage.let_go(None).await;
    let mut findings = stage.judge(again).await;
    findings.faults.extend(ended.err());
    findings
}

async fn take(stages: &[Stage], cases: Vec<Case>, book: &Book) {
    share_out(stages, cases, async |stage, case| {
        let promise = format!("{} during {}", case.ending.name(), stage.job.name());
        book.take(stage, promise, &format!("{} {}", case.when, case.call), survive(stage, &case)).await;
    })
    .await;
}

/// Every so manieth change is one at which the full sweep sends a signal.
const SIGNAL_STRIDE: usize = 21;

/// A fixed few of the cases, in every phase of the job.
async fn sampled(job: Job, stride: usize) {
    let stage = Stage::set(job).await;
    let kills = sample(every(&stage.calls, Ending::Kill), stride);
    let signals = Ending::SIGNALS.into_iter().enumerate().filter_map(|(at, ending)| {
        // One of each kind, at four different points.
        let calls = &stage.calls;
        calls.get(calls.len() * (at + 1) / 5).map(|call| Case {
            call: call.clone(),
            when: ["before", "after"][at % 2],
            ending,
        })
    });
    let lagging = stage.calls.iter().find(|call| call.service == "ec2" && call.operation.starts_with("Create"));
    let lagging = lagging.map(|call| Case { call: call.clone(), when: "after", ending: Ending::KillLagging });
    let cases: Vec<_> = kills.into_iter().chain(signals).chain(lagging).collect();
    let (count, book) = (cases.len(), Book::default());
    take(&[stage], cases, &book).await;
    book.close(count);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sample_of_applies_cut_short_goes_on() {
    sampled(Job::Apply, 41).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sample_of_changes_cut_short_goes_on() {
    sampled(Job::Change, 41).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sample_of_destroys_cut_short_goes_on() {
    sampled(Job::Destroy, 41).await;
}

/// Every change of a job; signals, and lists that lag, at every so manieth.
async fn swept(job: Job) {
    let book = Book::kept(&format!("kill-{}", job.name()));
    let stages = Stage::set_all(job).await;
    let calls = &stages[0].calls;
    let mut cases = every(calls, Ending::Kill);
    for (at, ending) in Ending::SIGNALS.into_iter().enumerate() {
        cases.extend(sample(every(calls, ending).split_off(at), SIGNAL_STRIDE));
    }
    let makes_something = |call: &Call| call.service == "ec2" && call.operation != "CreateTags";
    let lagging: Vec<_> = calls.iter().filter(|call| makes_something(call)).cloned().collect();
    cases.extend(every(&lagging, Ending::KillLagging).into_iter().filter(|case| case.when == "after"));
    let cases: Vec<_> = cases.into_iter().step_by(stride()).collect();
    let expected = cases.len();
    take(&stages, cases, &book).await;
    book.close(expected);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes half an hour: make kill-sweep"]
async fn every_apply() {
    swept(Job::Apply).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes half an hour: make kill-sweep"]
async fn every_change() {
    swept(Job::Change).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes half an hour: make kill-sweep"]
async fn every_destroy() {
    swept(Job::Destroy).await;
}
