//! `ticketing bench`: how fast it is, next to the limits of this machine measured in the same run.

pub mod limits;
mod load;
mod report;
mod scenarios;
mod usage;

use crate::accounts::{self, Role};
use crate::config::DatabaseArgs;
use crate::local::{Database, Redis, free_port};
use crate::{db, random};
use anyhow::{Context, bail};
use clap::Args;
use load::Connection;
use report::Report;
use scenarios::Bench;
use serde_json::json;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::process::{Child, Command};
use usage::Processes;

/// Connections to the database, of the service and of the limit that it is compared with.
const DATABASE_CONNECTIONS: u32 = 16;

/// Options of `ticketing bench`.
#[derive(Args)]
pub struct BenchArgs {
    /// Directory for the results and the databases' files: a real disk gives real commits
    #[arg(long, default_value = "bench-results")]
    output: PathBuf,
    /// Seconds per measurement
    #[arg(long, default_value_t = 4.0)]
    seconds: f64,
    /// Only measurements whose name contains this; the limits always
    #[arg(long, default_value = "")]
    only: String,
}

/// The service under test, in a process of its own.
pub struct Service {
    child: Child,
    /// Where it listens
    pub address: SocketAddr,
}

impl Service {
    /// Starts this binary with other arguments and waits until `path` answers 200; tells how long that took.
    async fn start(args: &[&str], path: &str) -> anyhow::Result<(Self, Duration)> {
        let address = SocketAddr::from(([127, 0, 0, 1], free_port()?));
        let started = Instant::now();
        let child = Command::new(std::env::current_exe()?)
            .args(args)
            .args(["--listen", &address.to_string()])
            .env("RUST_LOG", "warn")
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .context("the service could not be started")?;
        let service = Self { child, address };
        while started.elapsed() < Duration::from_secs(20) {
            if let Ok(mut connection) = Connection::open(address, None).await
                && matches!(connection.send(hyper::Method::GET, path, None).await, Ok((200, _)))
            {
                return Ok((service, started.elapsed()));
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        bail!("the service was not ready within 20 s")
    }

    /// Its process.
    fn pid(&self) -> anyhow::Result<u32> {
        self.child.id().context("the service has ended")
    }
}

/// Runs all measurements and writes the report.
pub async fn run(args: &BenchArgs) -> anyhow::Result<()> {
    if !(0.1..=600.0).contains(&args.seconds) {
        bail!("--seconds must be from 0.1 to 600");
    }
    std::fs::create_dir_all(&args.output).with_context(|| format!("cannot make {}", args.output.display()))?;
    let data = tempfile::Builder::new().prefix("data-").tempdir_in(&args.output)?;
    let database = Database::start(&data.path().join("database"))?;
    let redis = Redis::start(&data.path().join("redis"))?;
    let (database_url, redis_url, secret) = (database.url("ticketing"), redis.url(0), random::code(40));
    let connections = DATABASE_CONNECTIONS;
    let pool = db::pool(&DatabaseArgs { url: Some(database_url.clone()), connections, ..DatabaseArgs::default() })?;
    db::migrate(&pool).await?;
    let password = random::code(20);
    accounts::upsert(&pool, "bench@example.com", &password, "Bench", Role::Admin).await?;

    let mut report = Report::new();
    let (bare, _) = Service::start(&["bare-http"], "/").await?;
    limits::http(&bare, args.seconds, &mut report).await?;
    drop(bare);
    limits::redis(&redis_url, args.seconds, &mut report).await?;
    limits::insert(&pool, connections, args.seconds, &mut report).await?;

    let serve = ["serve", "--database-url", &database_url, "--redis-url", &redis_url, "--jwt-secret", &secret];
    let connections = connections.to_string();
    let serve = [&serve[..], &["--database-connections", &connections]].concat();
    let (service, ready) = Service::start(&serve, "/readyz").await?;
    report.figure("start to ready", ready.as_secs_f64() * 1000.0, "ms");
    let mut connection = Connection::open(service.address, None).await?;
    let login = json!({"email": "bench@example.com", "password": password});
    let session: serde_json::Value =
        connection.json(hyper::Method::POST, "/api/auth/login", Some(login.to_string()), 200).await?;
    let token: Arc<str> = session["accessToken"].as_str().context("no token")?.into();
    let processes = Processes(vec![
        ("service", service.pid()?),
        (database.name(), database.pid().context("no database")?),
        ("Redis", redis.pid().context("no Redis")?),
        ("load generator", std::process::id()),
    ]);
    let bench = Bench { service: &service, processes, token: &token, seconds: args.seconds, only: &args.only };
    scenarios::run(&bench, &mut report).await?;
    report.figure("memory of the service at the end", usage::memory(service.pid()?)?.0, "MiB");
    scenarios::check_books(&pool, &mut report).await?;
    report.ratios();
    report.write(&args.output)
}
