//! Somebody who uses the binary as its README says, with a data directory of their own.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use ticketctl::local::plane::board::{Board, Entry};

use super::backend::get;
use crate::support::Ran;

/// How long a busy machine may take for anything.
const PATIENCE: Duration = Duration::from_secs(300);

/// What belongs to a service that a test doesn't want to wait long for.
const BRISK: &str = "health: {interval: 5s, timeout: 4s, unhealthy: 4}, rollout: {bake: 5s}, slow_start: 0s, \
                     deregistration_delay: 5s";

/// What they have on their machine.
pub struct Developer {
    home: tempfile::TempDir,
    environment: Vec<(&'static str, &'static str)>,
}

impl Developer {
    /// With variables in the environment of all that they start.
    pub fn new(environment: &[(&'static str, &'static str)]) -> Self {
        let home = tempfile::tempdir().expect("a directory");
        std::fs::create_dir(home.path().join("tmp")).expect("a directory");
        let developer = Self { home, environment: environment.to_vec() };
        let program = developer.program();
        assert!(program.is_file(), "{} isn't there: `cargo build --workspace` makes it", program.display());
        developer
    }

    /// The application.
    pub fn program(&self) -> PathBuf {
        Path::new(env!("CARGO_BIN_EXE_ticketctl")).with_file_name("ticketing")
    }

    /// The repository's stack for development with the application in it: more of its service, in YAML's short form, and more
    /// of the rest.
    pub fn stack(&self, environment: &str, service: &str, more: &str) -> PathBuf {
        let json = |path: &Path| serde_json::json!(path);
        let dev = Path::new(env!("CARGO_MANIFEST_DIR")).join("stacks/dev.yaml");
        let artifact = json(&self.program());
        let text = format!(
            "extends: {}\nenvironment: {environment}\nservices:\n  web: {{artifact: {artifact}, {BRISK}, {service}}}\n{more}\n",
            json(&dev)
        );
        let file = self.home.path().join(format!("{environment}.yaml"));
        std::fs::write(&file, text).expect("a stack file");
        file
    }

    pub fn home(&self) -> &Path {
        self.home.path()
    }

    pub fn data(&self) -> PathBuf {
        self.home.path().join("ticketctl/local")
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ticketctl"));
        command.args(arguments).env("XDG_DATA_HOME", self.home.path()).env_remove("TICKETCTL_LOCAL_PLANE");
        command.env("TMPDIR", self.home.path().join("tmp")).envs(self.environment.iter().copied()).stdin(Stdio::null());
        command
    }

    /// Runs `ticketctl local`.
    pub async fn local(&self, arguments: &[&str]) -> Ran {
        run(self.command(&[&["local"], arguments].concat())).await
    }

    /// Runs a command on a stack of the local cloud.
    pub async fn on(&self, stack: &Path, arguments: &[&str]) -> Ran {
        let mut command = self.command(arguments);
        command.arg("--local").arg("-f").arg(stack);
        run(command).await
    }

    /// Where a stack's site is.
    pub async fn url(&self, stack: &Path) -> String {
        self.on(stack, &["output", "alb_url"]).await.exits(0).out.trim().to_owned()
    }

    /// Where the control plane is.
    pub async fn endpoint(&self) -> String {
        let status = self.local(&["status", "--json"]).await.json();
        status["endpoint"].as_str().expect("an endpoint").to_owned()
    }

    /// Makes events and accounts to try things with, as an instance of the stack would, and as `make demo` does.
    pub async fn seed(&self, stack: &str) {
        let mut command = Command::new("bwrap");
        let hosts = self.data().join("hosts");
        // Names such as the database's are known in the local cloud only.
        command
            .args(["--dev-bind", "/", "/", "--ro-bind"])
            .arg(hosts)
            .arg("/etc/hosts")
            .arg(self.program())
            .arg("seed");
        command.env("AWS_ENDPOINT_URL", self.endpoint().await).env("AWS_REGION", crate::support::REGION);
        command.env("AWS_ACCESS_KEY_ID", "local").env("AWS_SECRET_ACCESS_KEY", "local");
        command.env("TICKETCTL_PARAMETERS", format!("/ticketctl/{stack}/app"));
        command.env("SSL_CERT_FILE", self.data().join("authority/ca.pem")).stdin(Stdio::null());
        run(command).await.exits(0);
    }

    /// What the plane tells of things whose names begin so.
    pub fn entries(&self, prefix: &str) -> Vec<Entry> {
        let entries = Board::read(&self.data()).unwrap_or_default().entries;
        entries.into_iter().filter(|entry| entry.name.starts_with(prefix)).collect()
    }

    pub async fn until(&self, what: &str, done: impl Fn() -> bool) {
        let begun = Instant::now();
        while !done() {
            let status = Board::read(&self.data());
            assert!(begun.elapsed() < PATIENCE, "not after {PATIENCE:?}: {what}: {status:#?}");
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }

    /// Waits until a stack's group has so many instances, and all of them take requests; answers with them.
    pub async fn until_serving(&self, stack: &str, count: usize) -> Vec<Entry> {
        let (balancer, group) = (format!("balancer-{stack}-alb"), format!("{stack}-web-asg"));
        let instances = || {
            let all = self.entries("instance-").into_iter();
            all.filter(|instance| instance.role == group).collect::<Vec<_>>()
        };
        let healthy = format!("{count} of {count} targets healthy");
        self.until(&format!("{stack}: {healthy}"), || {
            instances().len() == count && self.entries(&balancer).iter().all(|it| it.detail.starts_with(&healthy))
        })
        .await;
        instances()
    }
}

impl Drop for Developer {
    fn drop(&mut self) {
        // The test has said what it had to say; this is for the processes of one that failed.
        let _ = self.command(&["local", "down"]).output();
    }
}

async fn run(mut command: Command) -> Ran {
    let ran = tokio::task::spawn_blocking(move || command.output()).await;
    Ran::new(ran.expect("no panic").expect("it runs"))
}

/// What a site, or one of its instances, says of its health.
pub async fn health(url: &str) -> Value {
    let (status, body) = get(&format!("{url}/api/health")).await;
    assert_eq!(status, 200, "{body}");
    serde_json::from_str(&body).expect("JSON")
}
