//! The commands of the binary.

mod admin;
mod dead_letters;
mod demo;
mod seed;
mod serve;

use crate::bench::{self, BenchArgs};
use crate::config::{DatabaseArgs, ServeArgs};
use crate::db;
use anyhow::Context;
use clap::{Parser, Subcommand};
use std::net::SocketAddr;

/// A ticketing service that cannot oversell
#[derive(Parser)]
#[command(name = "ticketing", version)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Serve the API
    Serve(Box<ServeArgs>),
    /// Bring the database's schema up to date
    Migrate(DatabaseArgs),
    /// Make demo events and accounts
    Seed(seed::SeedArgs),
    /// Run the service with demo data on a MariaDB and a Redis that it starts itself
    Demo(demo::DemoArgs),
    /// Manage administrators
    #[command(subcommand)]
    Admin(admin::AdminCommand),
    /// Look after messages that failed too often, and were kept aside
    #[command(subcommand)]
    DeadLetters(dead_letters::DeadLettersCommand),
    /// Measure how fast the service is on this machine
    Bench(BenchArgs),
    /// Serve an empty answer: what the benchmark compares with
    #[command(hide = true)]
    BareHttp {
        #[arg(long)]
        listen: SocketAddr,
    },
    /// Print the API's OpenAPI 3.1 document
    Openapi,
}

impl Cli {
    /// The options of `serve`, for those who serve in their own process.
    pub fn serve_args<'a>(args: impl IntoIterator<Item = &'a str>) -> anyhow::Result<ServeArgs> {
        match Self::try_parse_from(args)?.command {
            Command::Serve(args) => Ok(*args),
            _ => anyhow::bail!("these are not the options of serve"),
        }
    }
}

/// Says which of the TLS providers that are linked in is to be used. To be called once, before any connection.
pub fn install_tls_provider() {
    if rustls::crypto::aws_lc_rs::default_provider().install_default().is_err() {
        tracing::debug!("a TLS provider was installed already");
    }
}

/// Runs what was asked for.
pub fn run(cli: Cli) -> anyhow::Result<()> {
    install_tls_provider();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("the async runtime could not be started")?;
    runtime.block_on(async {
        match cli.command {
            Command::Serve(args) => serve::run(&args).await,
            Command::Migrate(args) => db::migrate(&db::pool_for(&args).await?).await,
            Command::Seed(args) => seed::run(&args).await,
            Command::Demo(args) => demo::run(&args).await,
            Command::Admin(command) => admin::run(command).await,
            Command::DeadLetters(command) => dead_letters::run(command).await,
            Command::Bench(args) => bench::run(&args).await,
            Command::BareHttp { listen } => bench::limits::serve_bare(listen).await,
            Command::Openapi => {
                println!("{}", crate::http::openapi().to_pretty_json()?);
                Ok(())
            }
        }
    })
}
