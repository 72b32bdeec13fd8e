//! `ticketctl local` with a data plane, through the binary.

use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use ticketctl::aws::{Context, Target};

use super::world::{kill, listens, processes_of, said};
use crate::support::REGION;

/// A user with a data directory of their own; what runs for them is taken down when dropped.
struct User(tempfile::TempDir);

impl User {
    fn ticketctl(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ticketctl"));
        command.arg("local").args(arguments).env("XDG_DATA_HOME", self.0.path()).stdin(Stdio::null());
        command.env_remove("TICKETCTL_LOCAL_PLANE").output().expect("ticketctl runs")
    }

    fn data(&self) -> PathBuf {
        self.0.path().join("ticketctl/local")
    }

    fn status(&self) -> Value {
        serde_json::from_slice(&self.ticketctl(&["status", "--json"]).stdout).expect("JSON")
    }

    /// Waits until the status says something.
    fn until(&self, what: &str, look: impl Fn(&Value) -> bool) -> Value {
        let begun = Instant::now();
        loop {
            let status = self.status();
            if look(&status) {
                return status;
            }
            assert!(begun.elapsed() < Duration::from_secs(180), "{what}: {status:#}");
            std::thread::sleep(Duration::from_millis(200));
        }
    }
}

impl Drop for User {
    fn drop(&mut self) {
        // The test has said what it had to say; this is for the processes of one that failed.
        let _ = self.ticketctl(&["down"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn down_leaves_nothing_also_when_the_supervisor_was_killed() {
    let user = User(tempfile::tempdir().expect("a directory"));
    said(user.ticketctl(&["up"]));
    let endpoint_url = user.status()["endpoint"].as_str().map(str::to_owned);
    let target = Target { endpoint_url, local_credentials: true, ..Target::default() };
    let cx = Context::load("shop-test", REGION, &target).await;
    let group = cx.elasticache.create_replication_group().replication_group_id("shop-test-redis");
    let group = group.replication_group_description("of a test").engine("redis").cache_node_type("cache.t3.micro");
    group.num_cache_clusters(1).send().await.expect("a group");
    let status = user.until("a node runs", |status| status["plane"]["entries"][0]["state"] == "running");
    let entry = &status["plane"]["entries"][0];
    let address = entry["address"].as_str().expect("an address").to_owned();
    assert!(listens(&address));
    let table = said(user.ticketctl(&["status"]));
    assert!(table.contains("cache-shop-test-redis-001") && table.contains(&address), "{table}");
    for name in ["cache-shop-test-redis-001", "shop-test-redis-001"] {
        assert!(said(user.ticketctl(&["logs", name])).contains("Ready to accept connections"));
    }
    let unknown = user.ticketctl(&["logs", "nobody"]);
    assert!(String::from_utf8_lossy(&unknown.stderr).contains("cache-shop-test-redis-001"), "{unknown:?}");

    let pid = std::fs::read_to_string(user.data().join("supervisor.pid")).expect("a pid file");
    kill(pid.trim().parse().expect("a number"));
    let broken = user.ticketctl(&["status"]);
    assert!(!broken.status.success() && listens(&address), "{broken:?}");
    said(user.ticketctl(&["up"]));
    let again = user.until("a supervisor", |status| {
        status["plane"]["supervised"] == true && status["plane"]["entries"][0]["state"] == "running"
    });
    assert_eq!(again["plane"]["entries"][0]["pid"], entry["pid"]);

    let pid = std::fs::read_to_string(user.data().join("supervisor.pid")).expect("a pid file");
    kill(pid.trim().parse().expect("a number"));
    said(user.ticketctl(&["down"]));
    assert!(!listens(&address));
    assert_eq!(processes_of(user.0.path()), Vec::<String>::new());
    let left: Vec<_> = std::fs::read_dir(user.data()).expect("a directory").flatten().map(|e| e.file_name()).collect();
    assert_eq!(left, ["lock"]);
    assert_eq!(user.status()["status"], "down");
}

#[test]
fn a_missing_program_is_named_before_anything_starts() {
    let user = User(tempfile::tempdir().expect("a directory"));
    // Without PATH only the system's own directories are looked through: the clients aren't in them.
    let mut command = Command::new(env!("CARGO_BIN_EXE_ticketctl"));
    command
        .args(["local", "up"])
        .env("XDG_DATA_HOME", user.0.path())
        .env("PATH", "")
        .env_remove("TICKETCTL_LOCAL_PLANE");
    let output = command.output().expect("ticketctl runs");
    let message = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && message.contains("redis-cli"), "{message}");
    assert!(message.contains("apt-get install") && message.contains("TICKETCTL_LOCAL_PLANE=off"), "{message}");
    assert!(!user.data().exists());
}
