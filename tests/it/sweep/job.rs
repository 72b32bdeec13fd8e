//! The three jobs that are swept, each from a state that is made once and gone back to before each case.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use ticketctl::aws::Context;
use ticketctl::engine::{Inventory, lock};

use crate::e2e::world::World;
use crate::support::Ran;
use crate::sweep::{Census, report::workers};

const STACK: &str = "ticketing-dev";

/// How long a run may take until it comes to the call that is waited for.
const PATIENCE: Duration = Duration::from_secs(120);

/// What the swept change says beyond the stack file: replaced are the target group (its port) and the Redis (what it can't be
/// changed to in place), deleted a NAT gateway with its address, made a third database and flow logs, changed the rest.
const CHANGE: [&str; 20] = [
    "--set",
    "services.web.port=9090",
    "--set",
    "network.nat=single",
    "--set",
    "network.flow_logs=true",
    "--set",
    "database.readers=2",
    "--set",
    "services.web.instances.max=30",
    "--set",
    "tags.team=tickets",
    "--set",
    "alerts.email=ops@example.com",
    "--set",
    "cache.class=cache.t3.small",
    "--set",
    "services.web.rollout.bake=0s",
    "--set",
    "services.web.health.grace=1s",
];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Job {
    Apply,
    Change,
    Destroy,
}

impl Job {
    pub const ALL: [Job; 3] = [Job::Apply, Job::Change, Job::Destroy];

    pub fn name(self) -> &'static str {
        match self {
            Job::Apply => "apply",
            Job::Change => "change",
            Job::Destroy => "destroy",
        }
    }

    fn sets(self) -> &'static [&'static str] {
        if self == Job::Change { &CHANGE } else { &[] }
    }

    fn verb(self) -> &'static str {
        if self == Job::Destroy { "destroy" } else { "apply" }
    }
}

/// A cloud in the state in which a job begins, and what it looks like when the job is done.
pub struct Stage {
    pub job: Job,
    pub world: World,
    stack: PathBuf,
    cx: Context,
    /// The state after the job, when nothing has gone wrong.
    done: Census,
    /// The state after everything was destroyed.
    empty: Census,
    /// The changes that the job makes when nothing goes wrong, in their order.
    pub calls: Vec<Call>,
    /// How long it takes then.
    pub usual: Duration,
}

/// A mutating call by its name, and which one of that name in the run, counted from one: that much is the same in each run,
/// though independent operations overtake each other.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Call {
    pub service: String,
    pub operation: String,
    pub nth: usize,
}

impl std::fmt::Display for Call {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{} #{}", self.service, self.operation, self.nth)
    }
}

/// What was wrong after a case; nothing if it was survived.
#[derive(Clone, Debug, Default)]
pub struct Findings {
    /// Resources that are there twice.
    pub duplicates: Vec<String>,
    /// Resources that are there and shouldn't be, known to ticketctl or not.
    pub orphans: Vec<String>,
    /// Everything else.
    pub faults: Vec<String>,
    /// What it took, in words, to be told with the case.
    pub figures: String,
}

impl Findings {
    pub fn fault(text: impl Into<String>) -> Findings {
        Findings { faults: vec![text.into()], ..Findings::default() }
    }

    /// The case itself has failed.
    pub fn panicked(panic: &(dyn std::any::Any + Send)) -> Findings {
        Findings::fault(panic.downcast_ref::<String>().map_or("a panic without words", String::as_str))
    }
}

impl Stage {
    pub async fn set(job: Job) -> Stage {
        let world = World::new().await;
        let cx = world.clients_of(STACK).await;
        let stack = world.stack("dev.yaml");
        let mut stage = Stage {
            job,
            world,
            stack,
            cx,
            done: Census::default(),
            empty: Census::default(),
            calls: Vec::new(),
            usual: Duration::ZERO,
        };
        stage.empty = Census::take(&stage.cx).await;
        if job != Job::Apply {
            stage.world.on(&stage.stack, "apply", &["--yes"]).await.exits(0);
        }
        stage.world.keep().await;
        stage.world.calls().await;
        let begun = Instant::now();
        stage.run().await.exits(0);
        stage.usual = begun.elapsed();
        stage.calls = named(&stage.world.calls().await);
        stage.done = Census::take(&stage.cx).await;
        assert!(stage.calls.len() > 20, "{} changes: {:?}", stage.calls.len(), stage.calls);
        stage
    }

    /// As many as a full sweep uses side by side.
    pub async fn set_all(job: Job) -> Vec<Stage> {
        futures::future::join_all((0..workers()).map(|_| Stage::set(job))).await
    }

    fn arguments(&self) -> Vec<&str> {
        let stack = self.stack.to_str().expect("a path in UTF-8");
        [&[self.job.verb(), "-f", stack, "--yes"], self.job.sets()].concat()
    }

    /// The job's command, from beginning to end.
    pub async fn run(&self) -> Ran {
        self.world.run(&self.arguments()).await
    }

    /// The job's command, begun.
    pub fn start(&self) -> Child {
        let mut command: Command = self.world.command(&self.arguments());
        command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("the binary starts")
    }

    /// Begins the job and waits until the call is held by the gateway: `before` it is carried out, or `after`. EC2's lists
    /// lag behind by so many seconds.
    ///
    /// # Errors
    /// The job ended without this call.
    pub async fn start_and_hold(&self, call: &Call, when: &str, lag: Option<u64>) -> Result<Child, String> {
        let pause = json!({
            "service": call.service, "operation": call.operation, "mutating": true, "nth": call.nth, "kind": "pause", "when": when,
        });
        let faults: Vec<_> = [pause].into_iter().chain(lag.map(lagging)).collect();
        self.world.disturb(json!(faults)).await;
        self.world.calls().await;
        let mut child = self.start();
        let (begun, held) = (Instant::now(), format!("paused_{when}"));
        while !self.world.calls_so_far().await.iter().any(|call| call["phase"] == held) {
            if let Some(status) = child.try_wait().expect("the state of a child") {
                return Err(format!("the job ended ({status}) without this call"));
            }
            assert!(begun.elapsed() < PATIENCE, "the call isn't made");
            tokio::time::sleep(Duration::from_millis(15)).await;
        }
        Ok(child)
    }

    /// The calls that are held are let go: without an answer.
    pub async fn let_go(&self, lag: Option<u64>) {
        self.world.disturb(json!(lag.map(lagging).into_iter().collect::<Vec<_>>())).await;
    }

    /// Takes the lock from a run that is dead.
    pub async fn break_lock(&self) -> Result<(), String> {
        lock::break_it(&self.cx).await.map(drop).map_err(|error| error.to_string())
    }

    /// As if a minute and more had passed, in which a dead run's lease has run out.
    pub async fn let_lease_run_out(&self) {
        let bucket = format!("ticketctl-{}-{}", self.cx.account().await.expect("an account"), self.cx.region);
        let key = format!("stacks/{STACK}/lock.json");
        let Ok(object) = self.cx.s3.get_object().bucket(&bucket).key(&key).send().await else {
            // It died before it had the lock.
            return;
        };
        let text = object.body.collect().await.expect("the lock").to_vec();
        let mut lease: lock::Lease = serde_json::from_slice(&text).expect("a lease");
        lease.expires -= lock::LEASE + Duration::from_secs(15);
        let text = serde_json::to_vec(&lease).expect("plain data");
        self.cx.s3.put_object().bucket(bucket).key(key).body(text.into()).send().await.expect("written");
    }

    /// Whether the lock was given back.
    pub async fn is_locked(&self) -> bool {
        lock::status(&self.cx).await.ok().flatten().is_some_and(|lease| lease.is_held())
    }

    /// Runs the job once more and looks at everything: each resource once, none without our tags, nothing left to do, and nothing
    /// left after a destroy.
    pub async fn go_on(&self) -> Findings {
        let again = self.run().await;
        self.judge(again).await
    }

    /// The same after a run that should have brought it to its end.
    pub async fn judge(&self, last: Ran) -> Findings {
        let mut findings = Findings::default();
        check(&mut findings, "the job", last);
        self.compare(&mut findings, &self.done).await;
        if self.job != Job::Destroy {
            let arguments = [&["--detailed-exitcode"], self.job.sets()].concat();
            check(&mut findings, "the next plan", self.world.on(&self.stack, "plan", &arguments).await);
            check(&mut findings, "destroy", self.world.on(&self.stack, "destroy", &["--yes"]).await);
            self.compare(&mut findings, &self.empty).await;
        }
        findings
    }

    async fn compare(&self, findings: &mut Findings, wanted: &Census) {
        let census = Census::take(&self.cx).await;
        findings.duplicates.extend(census.duplicates());
        match Inventory::take(&self.cx).await {
            Ok(inventory) => findings.duplicates.extend(inventory.extra.iter().map(|owned| format!("{owned:?}"))),
            Err(errors) => findings.faults.extend(errors.iter().map(ToString::to_string)),
        }
        let difference = census.against(wanted);
        findings.orphans.extend(difference.superfluous);
        findings.faults.extend(difference.missing.iter().map(|missing| format!("missing: {missing}")));
    }
}

fn check(findings: &mut Findings, what: &str, ran: Ran) {
    if ran.code != 0 {
        findings.faults.push(format!("{what} ended with {}:\n{}\n{}", ran.code, ran.out.trim(), ran.err.trim()));
    }
}

/// EC2's lists lag behind.
fn lagging(seconds: u64) -> Value {
    json!({"service": "ec2", "kind": "list_lag", "seconds": seconds})
}

/// The mutating calls by name and number.
fn named(calls: &[Value]) -> Vec<Call> {
    let mut named: Vec<Call> = Vec::new();
    for call in calls.iter().filter(|call| call["mutating"] == true) {
        let text = |key: &str| call[key].as_str().unwrap_or_default().to_owned();
        let (service, operation) = (text("service"), text("operation"));
        let nth = 1 + named.iter().filter(|other| other.service == service && other.operation == operation).count();
        named.push(Call { service, operation, nth });
    }
    named
}
