//! One run at a time, whatever becomes of who has the lock.

use std::time::{Duration, Instant};

use crate::sweep::{
    Job, Stage,
    ending::{left, send},
    job::{Call, Findings},
    report::Book,
};

/// How long after its holder's end a lock must be free: the lease, and a little.
const IN_TIME: Duration = Duration::from_secs(70);

/// How often a run is tried again while somebody has the lock.
const AGAIN: Duration = Duration::from_secs(3);

/// The same command over and over, until nobody else has the lock.
async fn run_when_free(stage: &Stage) -> Result<crate::support::Ran, String> {
    let begun = Instant::now();
    loop {
        let ran = stage.run().await;
        if !ran.err.contains("locked by") {
            return Ok(ran);
        }
        if begun.elapsed() > IN_TIME + Duration::from_secs(60) {
            return Err(format!("it is still locked after {:?}: {}", begun.elapsed(), ran.err));
        }
        tokio::time::sleep(AGAIN).await;
    }
}

/// The holder is killed, and nobody breaks its lock: it is free in time.
async fn dead_holder(stage: &Stage, call: &Call) -> Findings {
    let mut child = match stage.start_and_hold(call, "after", None).await {
        Ok(child) => child,
        Err(missed) => return Findings::fault(missed),
    };
    child.kill().expect("killed");
    child.wait().expect("waited for");
    stage.let_go(None).await;
    let died = Instant::now();
    while stage.is_locked().await {
        if died.elapsed() > IN_TIME {
            return Findings::fault(format!("it is still locked after {:?}", died.elapsed()));
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    stage.go_on().await
}

/// The holder is stopped until its lease has run out and another run is through; then it wakes up and may change nothing more.
async fn paused_holder(stage: &Stage, call: &Call) -> Findings {
    let mut child = match stage.start_and_hold(call, "before", None).await {
        Ok(child) => child,
        Err(missed) => return Findings::fault(missed),
    };
    send("STOP", &child).await;
    stage.let_go(None).await;
    let taken_over = match run_when_free(stage).await {
        Ok(ran) if ran.code == 0 => Ok(ran),
        Ok(ran) => Err(format!("the run that took over ended with {}: {}", ran.code, ran.err)),
        Err(locked) => Err(locked),
    };
    stage.world.calls().await;
    send("CONT", &child).await;
    let status = left(&mut child).await;
    let changes = stage.world.calls().await.into_iter().filter(|call| call["mutating"] == true);
    // What it writes of itself goes into the control bucket, on condition that the lock is still its own.
    let changes: Vec<_> =
        changes.filter(|call| call["service"] != "s3").map(|call| call["operation"].to_string()).collect();
    let mut findings = match taken_over {
        Ok(ran) => stage.judge(ran).await,
        Err(fault) => Findings::fault(fault),
    };
    match status {
        Ok(status) if status.success() => {
            findings.faults.push("the holder that woke up says that all went well".to_owned())
        }
        Ok(_) => {}
        Err(fault) => findings.faults.push(fault),
    }
    if !changes.is_empty() {
        findings.faults.push(format!("the holder that woke up still changed something: {}", changes.join(", ")));
    }
    findings
}

/// Two runs begin so long after each other: one comes through, the other too or is told who has the lock.
async fn two_at_once(stage: &Stage, apart: Duration) -> Findings {
    let (first, second) = tokio::join!(stage.run(), async {
        tokio::time::sleep(apart).await;
        stage.run().await
    });
    let refused = |ran: &crate::support::Ran| ran.code == 1 && ran.err.contains("locked by");
    let faults = match (&first, &second) {
        (one, other) if one.code == 0 && (other.code == 0 || refused(other)) => Vec::new(),
        (one, other) if other.code == 0 && refused(one) => Vec::new(),
        (one, other) => vec![format!("they ended with {} and {}:\n{}\n{}", one.code, other.code, one.err, other.err)],
    };
    let mut findings = stage.go_on().await;
    findings.faults.extend(faults);
    findings
}

/// The call in the middle of the job, or at another part of it.
fn call_at(stage: &Stage, part: usize, of: usize) -> Call {
    stage.calls[stage.calls.len() * part / of].clone()
}

async fn swept(stage: &Stage, book: &Book, parts: usize) {
    let of_job = |promise: &str| format!("{promise}, {}", stage.job.name());
    for part in 1..parts {
        let call = call_at(stage, part, parts);
        let dead = dead_holder(stage, &call);
        book.take(stage, of_job("a dead holder's lock is free in time"), &format!("after {call}"), dead).await;
        let fenced = paused_holder(stage, &call);
        book.take(stage, of_job("a paused holder is fenced out"), &format!("before {call}"), fenced).await;
        let apart = Duration::from_millis(120) * u32::try_from(part - 1).unwrap_or_default();
        let both = two_at_once(stage, apart);
        book.take(stage, of_job("two runs at once"), &format!("{apart:?} apart"), both).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lock_outlives_nobody_and_fences_out_who_slept() {
    let stage = Stage::set(Job::Apply).await;
    let book = Book::default();
    swept(&stage, &book, 2).await;
    book.close(3);
}

/// At seven points of each job.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes half an hour: make prove"]
async fn every_job() {
    let book = Book::kept("lock");
    let stages = futures::future::join_all(Job::ALL.map(Stage::set)).await;
    futures::future::join_all(stages.iter().map(|stage| swept(stage, &book, 8))).await;
    book.close(3 * 3 * 7);
}
