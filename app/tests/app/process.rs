//! Processes of a test's own: the service as a program, moto, and what scripts/setup test installs.

use crate::support::{App, SECRET};
use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_sdk_sns::config::Credentials;
use hyper::{Method, StatusCode};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use tempfile::TempDir;
use ticketing::local::{Guarded, free_port, wait_for_port};

pub const REGION: &str = "ap-northeast-2";

/// A program that listens on a port, with a directory for its log and files.
pub struct Running {
    pub port: u16,
    pub directory: TempDir,
    pub process: Guarded,
}

impl Running {
    /// Starts a program; `arguments` gets the port and the directory. `environment` is added to ours.
    pub async fn start(
        program: &Path,
        environment: &[(String, String)],
        arguments: impl FnOnce(u16, &Path) -> Vec<String>,
    ) -> Self {
        let directory = TempDir::with_prefix("ticketing-process-").expect("a directory");
        let port = free_port().expect("a port");
        let mut all: Vec<String> = environment.iter().map(|(name, value)| format!("{name}={value}")).collect();
        all.push(program.display().to_string());
        all.extend(arguments(port, directory.path()));
        let log = directory.path().join("log");
        let process = Guarded::start("env", &all, &log).expect("it starts");
        let what = program.display().to_string();
        tokio::task::spawn_blocking(move || wait_for_port(port, &what, &log).expect("it listens"))
            .await
            .expect("waits");
        Self { port, directory, process }
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(self.directory.path().join("log")).unwrap_or_default()
    }
}

/// A Python environment that `scripts/setup test` makes, unless a variable names another.
pub fn environment(variable: &str, name: &str) -> PathBuf {
    let told = std::env::var_os(variable).filter(|value| !value.is_empty()).map(PathBuf::from);
    let directory = told.unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../target").join(name));
    assert!(directory.join("bin/python").exists(), "run scripts/setup test: no {}", directory.display());
    directory
}

/// What an AWS emulator of the test's own needs to be reached.
pub struct Cloud {
    pub url: String,
    pub config: SdkConfig,
    _moto: Running,
}

impl Cloud {
    pub async fn start() -> Self {
        let program = environment("TICKETCTL_MOTO_VENV", "moto").join("bin/moto_server");
        let listen = |port: u16, _: &Path| ["-H", "127.0.0.1", "-p", &port.to_string()].map(str::to_owned).to_vec();
        let moto = Running::start(&program, &[], listen).await;
        let url = format!("http://127.0.0.1:{}", moto.port);
        let loader =
            aws_config::defaults(BehaviorVersion::latest()).endpoint_url(&url).region(Region::from_static(REGION));
        let config = loader.credentials_provider(Credentials::new("test", "test", None, None, "tests")).load().await;
        Self { url, config, _moto: moto }
    }

    /// What tells a process to use it.
    pub fn environment(&self) -> Vec<(String, String)> {
        let all = [
            ("AWS_ENDPOINT_URL", self.url.as_str()),
            ("AWS_REGION", REGION),
            ("AWS_ACCESS_KEY_ID", "test"),
            ("AWS_SECRET_ACCESS_KEY", "test"),
        ];
        all.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec()
    }
}

/// `ticketing serve` on the database and the Redis of `app`, with more options and variables.
pub async fn service(app: &App, environment: &[(String, String)], options: &[&str]) -> Running {
    let database = app.args.database.url.clone().expect("an address");
    let redis = app.args.redis.url.clone().expect("an address");
    let mut all = environment.to_vec();
    for (name, value) in [
        ("TICKETING_DATABASE_URL", database.as_str()),
        ("TICKETING_REDIS_URL", &redis),
        ("TICKETING_JWT_SECRET", SECRET),
    ] {
        all.push((name.to_owned(), value.to_owned()));
    }
    let program = Path::new(env!("CARGO_BIN_EXE_ticketing"));
    let running = Running::start(program, &all, |port, _| {
        let mut arguments = vec!["serve".to_owned(), "--listen".to_owned(), format!("127.0.0.1:{port}")];
        arguments.extend(options.iter().map(|option| (*option).to_owned()));
        arguments
    })
    .await;
    ready(app, &running).await;
    running
}

/// Waits as a load balancer does: a process that listens isn't ready yet.
async fn ready(app: &App, running: &Running) {
    let there = app.elsewhere(&format!("http://127.0.0.1:{}", running.port));
    let started = Instant::now();
    loop {
        let answer = there.try_send(Method::GET, "/readyz", None, &[], None).await;
        if answer.is_ok_and(|answer| answer.status == StatusCode::OK) {
            return;
        }
        assert!(started.elapsed() < Duration::from_secs(60), "it doesn't get ready: {}", running.log());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
