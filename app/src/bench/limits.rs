//! What this machine can do at best: the figures that ours are compared with.

use super::load::{self, Connection, Pace, Work};
use super::report::{Report, Used};
use super::{Service, scenarios::CONNECTIONS};
use crate::kv::Kv;
use anyhow::Context;
use axum::Router;
use axum::routing::get;
use redis::Script;
use sqlx::MySqlPool;
use std::net::SocketAddr;
use std::time::{Duration, Instant};
use tokio::task::JoinSet;

/// Serves nothing but an empty answer, with axum and nothing around it.
pub async fn serve_bare(listen: SocketAddr) -> anyhow::Result<()> {
    let listener = tokio::net::TcpListener::bind(listen).await.with_context(|| format!("cannot listen on {listen}"))?;
    axum::serve(listener, Router::new().route("/", get(|| async {}))).await?;
    Ok(())
}

/// Asks for one path again and again.
#[derive(Clone)]
pub struct Get(pub String);

impl Work for Get {
    async fn round(&mut self, connection: &mut Connection, _: usize, _: usize) -> anyhow::Result<u16> {
        Ok(connection.send(hyper::Method::GET, &self.0, None).await?.0)
    }
}

/// Requests per second of an empty handler.
pub async fn http(service: &Service, seconds: f64, report: &mut Report) -> anyhow::Result<()> {
    let connections = load::open(service.address, None, CONNECTIONS).await?;
    let measured = load::run(connections, Pace::seconds(seconds), Get("/".into())).await?;
    report.run("limit: empty axum handler", &measured, Used::default());
    Ok(())
}

/// Calls per second of a script that does nothing.
pub async fn redis(url: &str, seconds: f64, report: &mut Report) -> anyhow::Result<()> {
    let kv = Kv::new(url)?;
    let end = Instant::now() + Duration::from_secs_f64(seconds);
    let mut workers = JoinSet::new();
    for _ in 0..CONNECTIONS {
        let kv = kv.clone();
        workers.spawn(async move {
            let script = Script::new("return 1");
            let mut calls = 0_u64;
            while Instant::now() < end {
                kv.script::<i64>(&script.prepare_invoke()).await?;
                calls += 1;
            }
            anyhow::Ok(calls)
        });
    }
    report.figure("limit: bare Redis script", sum(workers).await? / seconds, "1/s");
    Ok(())
}

/// Commits per second of one INSERT of one row each, over as many connections as the service has.
pub async fn insert(pool: &MySqlPool, connections: u32, seconds: f64, report: &mut Report) -> anyhow::Result<()> {
    sqlx::query("CREATE TABLE bench_insert (id BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY, text VARCHAR(64))")
        .execute(pool)
        .await?;
    let end = Instant::now() + Duration::from_secs_f64(seconds);
    let mut workers = JoinSet::new();
    for _ in 0..connections {
        let pool = pool.clone();
        workers.spawn(async move {
            let mut connection = pool.acquire().await?;
            let mut rows = 0_u64;
            while Instant::now() < end {
                sqlx::query("INSERT INTO bench_insert (text) VALUES ('a row')").execute(&mut *connection).await?;
                rows += 1;
            }
            anyhow::Ok(rows)
        });
    }
    report.figure("limit: bare single-row INSERT", sum(workers).await? / seconds, "1/s");
    Ok(())
}

async fn sum(mut workers: JoinSet<anyhow::Result<u64>>) -> anyhow::Result<f64> {
    let mut sum = 0;
    while let Some(count) = workers.join_next().await {
        sum += count??;
    }
    Ok(sum as f64)
}
