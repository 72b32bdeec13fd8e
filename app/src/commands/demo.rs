//! `ticketing demo`: everything on this machine, with nothing to prepare but two packages.

use super::{Cli, seed, serve};
use crate::local::{Database, Redis};
use crate::{db, random};
use anyhow::Context;
use clap::Args;
use std::net::SocketAddr;
use std::path::PathBuf;

/// Options of `ticketing demo`.
#[derive(Args)]
pub struct DemoArgs {
    /// Address and port to listen on
    #[arg(long, env = "TICKETING_LISTEN", default_value = "127.0.0.1:8080")]
    listen: SocketAddr,
    /// Where to keep the data; without it they are gone at the end
    #[arg(long)]
    directory: Option<PathBuf>,
}

pub async fn run(args: &DemoArgs) -> anyhow::Result<()> {
    let temporary = tempfile::Builder::new().prefix("ticketing-demo-").tempdir().context("no temporary directory")?;
    let directory = args.directory.clone().unwrap_or_else(|| temporary.path().to_owned());
    let database = Database::start(&directory.join("mariadb"))?;
    let redis = Redis::start(&directory.join("redis"))?;
    let (database_url, redis_url, secret) = (database.url("ticketing"), redis.url(0), random::code(32));
    let listen = args.listen.to_string();
    let serve_args = Cli::serve_args([
        "ticketing",
        "serve",
        "--database-url",
        &database_url,
        "--redis-url",
        &redis_url,
        "--jwt-secret",
        &secret,
        "--listen",
        &listen,
        // No load balancer has to hear of its end.
        "--linger-seconds",
        "0",
    ])?;
    let pool = db::pool(&serve_args.database)?;
    db::migrate(&pool).await?;
    seed::seed(&pool, seed::DEMO_PASSWORD).await?;
    pool.close().await;
    println!("database  {database_url}");
    println!("redis     {redis_url}");
    println!("accounts  kim@example.com, lee@example.com, staff@example.com, admin@example.com");
    println!("password  {}", seed::DEMO_PASSWORD);
    println!("address   http://{listen}/");
    println!("Ctrl-C ends it all");
    serve::run(&serve_args).await
}
