//! `ticketctl apply --local`, through the binary, with the real application: it ends with a site that works.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;
use ticketctl::aws::{Context, Target};
use ticketctl::local::plane::board::{Board, Entry, State};

use super::backend::get;
use super::world::{listens, processes_of, said};
use crate::support::REGION;

/// Somebody with the repository's stack for development, and a data directory of their own.
struct Developer {
    home: tempfile::TempDir,
    stack: PathBuf,
}

impl Developer {
    fn new() -> Self {
        let program = Path::new(env!("CARGO_BIN_EXE_ticketctl")).with_file_name("ticketing");
        assert!(program.is_file(), "{} isn't there: `cargo build --workspace` makes it", program.display());
        let home = tempfile::tempdir().expect("a directory");
        let stack = home.path().join("stack.yaml");
        let dev = Path::new(env!("CARGO_MANIFEST_DIR")).join("stacks/dev.yaml");
        let text = format!(
            "extends: {}\nservices:\n  web:\n    artifact: {}\n",
            serde_json::json!(dev),
            serde_json::json!(program)
        );
        std::fs::write(&stack, text).expect("a stack file");
        Self { home, stack }
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ticketctl"));
        command.args(arguments).env("XDG_DATA_HOME", self.home.path()).env_remove("TICKETCTL_LOCAL_PLANE");
        command.env("TICKETCTL_FILE", &self.stack).stdin(Stdio::null());
        command
    }

    async fn ticketctl(&self, arguments: &[&str]) -> Output {
        let mut command = self.command(arguments);
        let ran = tokio::task::spawn_blocking(move || command.output()).await;
        ran.expect("no panic").expect("ticketctl runs")
    }

    fn data(&self) -> PathBuf {
        self.home.path().join("ticketctl/local")
    }

    fn entries(&self, prefix: &str) -> Vec<Entry> {
        let entries = Board::read(&self.data()).unwrap_or_default().entries;
        entries.into_iter().filter(|entry| entry.name.starts_with(prefix)).collect()
    }

    async fn until(&self, what: &str, done: impl Fn() -> bool) {
        let begun = Instant::now();
        while !done() {
            let status = Board::read(&self.data());
            assert!(begun.elapsed() < Duration::from_secs(240), "{what}: {status:#?}");
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }

    async fn clients(&self) -> Context {
        let status = self.ticketctl(&["local", "status", "--json"]).await;
        let status: Value = serde_json::from_slice(&status.stdout).expect("JSON");
        let endpoint_url = status["endpoint"].as_str().map(str::to_owned);
        let target = Target { endpoint_url, local_credentials: true, ..Target::default() };
        Context::load("ticketing-dev", REGION, &target).await
    }
}

impl Drop for Developer {
    fn drop(&mut self) {
        // The test has said what it had to say; this is for the processes of one that failed.
        let _ = self.command(&["local", "down"]).output();
    }
}

async fn health(url: &str) -> Value {
    let (status, body) = get(&format!("{url}/api/health")).await;
    assert_eq!(status, 200, "{body}");
    serde_json::from_str(&body).expect("JSON")
}

#[tokio::test(flavor = "multi_thread")]
async fn apply_ends_with_a_site_that_works_heals_and_goes() {
    let developer = Developer::new();
    let applied = said(developer.ticketctl(&["apply", "--local", "--yes"]).await);
    let url = said(developer.ticketctl(&["output", "--local", "alb_url"]).await);
    assert!(url.starts_with("http://127.77.") && applied.contains(&url), "{url}\n{applied}");
    let told = health(&url).await;
    assert_eq!(
        (&told["status"], &told["database"], &told["redis"]),
        (&Value::from("UP"), &Value::from("connected"), &Value::from("connected"))
    );
    let instances = developer.entries("instance-");
    assert_eq!(instances.len(), 2);
    for instance in &instances {
        assert_eq!(health(&format!("http://{}", instance.address)).await["status"], "UP");
    }
    let (status, page) = get(&url).await;
    assert!(status == 200 && page.contains("<html"), "{status} {page}");
    let again = said(developer.ticketctl(&["apply", "--local", "--yes"]).await);
    assert!(again.contains("No changes"), "{again}");

    // Somebody terminates an instance: nobody notices.
    let stop = Arc::new(AtomicBool::new(false));
    let visitor = tokio::spawn({
        let (url, stop) = (url.clone(), stop.clone());
        async move {
            let mut visits = 0;
            while !stop.load(Ordering::SeqCst) {
                assert_eq!(health(&url).await["status"], "UP");
                visits += 1;
            }
            visits
        }
    });
    let gone = &instances[0].resource;
    developer.clients().await.ec2.terminate_instances().instance_ids(gone).send().await.expect("it is terminated");
    developer
        .until("a replacement", || {
            let now = developer.entries("instance-");
            now.len() == 2 && now.iter().all(|one| one.resource != *gone && one.state == State::Running)
        })
        .await;
    developer
        .until("both are healthy", || {
            developer.entries("balancer-").iter().all(|balancer| balancer.detail.starts_with("2 of 2 targets"))
        })
        .await;
    stop.store(true, Ordering::SeqCst);
    assert!(visitor.await.expect("every visit went well") > 10);

    said(developer.ticketctl(&["destroy", "--local", "--yes"]).await);
    developer.until("nothing is left", || developer.entries("").is_empty()).await;
    said(developer.ticketctl(&["local", "down"]).await);
    assert!(!listens(&format!("{}:80", url.trim_start_matches("http://"))));
    assert_eq!(processes_of(developer.home.path()), Vec::<String>::new());
}
