//! Logs, metrics and traces.

pub mod traces;

use crate::db;
use crate::state::AppState;
use axum::extract::State;
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use sqlx::MySqlPool;
use std::sync::OnceLock;
use std::time::Duration;
use traces::Exporter;
use tracing::Subscriber;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer};

/// Upper bounds of the latency histograms, in seconds.
const LATENCIES: [f64; 13] = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0];
/// Upper bounds of the histogram of sales per transaction.
const BATCHES: [f64; 8] = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0];
/// How often the books are checked.
const AUDIT_PAUSE: Duration = Duration::from_secs(30);
/// How long that may take: all reservations for coming events are looked at.
const AUDIT_LONGEST: Duration = Duration::from_secs(60);

/// JSON lines on standard error; `RUST_LOG` says how much. And traces, if there is a collector: end them at the end.
pub fn init() -> anyhow::Result<Option<Exporter>> {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info,sqlx=warn"));
    let exporter = Exporter::from_environment()?;
    match &exporter {
        // One filter before everything costs less than one for each part.
        None => tracing_subscriber::registry().with(filter).with(logs()).init(),
        Some(exporter) => {
            tracing_subscriber::registry().with(exporter.layers()).with(logs().with_filter(filter)).init()
        }
    }
    Ok(exporter)
}

fn logs<S: Subscriber + for<'a> LookupSpan<'a>>() -> impl Layer<S> {
    tracing_subscriber::fmt::layer().json().flatten_event(true).with_writer(std::io::stderr)
}

/// The metrics of this process; they are collected from the first call on.
pub fn metrics() -> Option<&'static PrometheusHandle> {
    static HANDLE: OnceLock<Option<PrometheusHandle>> = OnceLock::new();
    HANDLE
        .get_or_init(|| {
            let built = PrometheusBuilder::new()
                .set_buckets(&LATENCIES)
                .and_then(|b| b.set_buckets_for_metric(Matcher::Suffix("batch_size".into()), &BATCHES))
                .and_then(PrometheusBuilder::install_recorder);
            if let Err(error) = &built {
                tracing::error!(%error, "there will be no metrics");
            }
            begin_at_zero();
            built.ok()
        })
        .as_ref()
}

/// What is rare is counted from zero on, so that the first time is seen as a change.
fn begin_at_zero() {
    for name in [
        "ticketing_cancellations_total",
        "ticketing_dead_letters_total",
        "ticketing_message_failures_total",
        "ticketing_messages_total",
        "ticketing_tickets_sold_total",
    ] {
        metrics::counter!(name).increment(0);
    }
    for outcome in ["SENT", "FAILED"] {
        metrics::counter!("ticketing_push_total", "outcome" => outcome).increment(0);
        metrics::counter!("ticketing_email_total", "outcome" => outcome).increment(0);
    }
}

/// `GET /metrics` for Prometheus. Not for what came through a load balancer: the figures are nobody's business.
pub async fn serve_metrics(State(state): State<AppState>, headers: HeaderMap) -> Response {
    if headers.contains_key("x-forwarded-for") {
        return crate::error::ApiError::not_found("page").into_response();
    }
    metrics::gauge!("ticketing_database_connections").set(f64::from(state.db.size()));
    metrics::gauge!("ticketing_database_connections_idle").set(state.db.num_idle() as f64);
    metrics::gauge!("ticketing_redis_up").set(f64::from(u8::from(state.kv.is_up())));
    metrics::gauge!("ticketing_database_up").set(f64::from(u8::from(state.health.database_ready())));
    match metrics() {
        Some(handle) => ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], handle.render()).into_response(),
        None => crate::error::ApiError::internal("no metrics recorder").into_response(),
    }
}

/// What the books say of one coming event that does not add up: its identifier, how many more tickets are sold
/// than there are, and how many more are sold or on sale than there are.
pub type Imbalance = (u64, i64, i64);

/// Compares the stock of all coming events with their reservations.
pub async fn imbalances(pool: &MySqlPool) -> Result<Vec<Imbalance>, sqlx::Error> {
    sqlx::query_as(
        "SELECT e.id, CAST(COALESCE(r.sold, 0) AS SIGNED) - CAST(e.total_seats AS SIGNED), \
         CAST(COALESCE(r.sold, 0) + e.available_seats AS SIGNED) - CAST(e.total_seats AS SIGNED) FROM events e \
         LEFT JOIN (SELECT c.id, SUM(s.quantity) AS sold FROM events c JOIN reservations s ON s.event_id = c.id \
         WHERE c.event_date > UTC_TIMESTAMP(3) AND s.status IN ('CONFIRMED', 'OFFERED') GROUP BY c.id) r \
         ON r.id = e.id \
         WHERE e.event_date > UTC_TIMESTAMP(3) AND COALESCE(r.sold, 0) + e.available_seats <> e.total_seats",
    )
    .fetch_all(pool)
    .await
}

/// How many tickets of all coming events are held at the moment.
pub async fn held(state: &AppState) -> crate::error::Result<u64> {
    let events = sqlx::query_scalar("SELECT id FROM events WHERE event_date > UTC_TIMESTAMP(3)");
    let events: Vec<u64> = db::within(db::LONGEST, events.fetch_all(&state.db)).await?;
    Ok(state.sales.holds.held_of(&events).await?)
}

/// Checks the books, and counts what is held, until the task is dropped.
pub async fn audit(state: &AppState) {
    loop {
        let mut pause = AUDIT_PAUSE;
        let found = db::within(AUDIT_LONGEST, imbalances(&state.db)).await;
        match found {
            Ok(found) => {
                for (event, oversold, imbalance) in &found {
                    tracing::error!(event, oversold, imbalance, "the books do not add up");
                }
                let oversold: i64 = found.iter().map(|(_, oversold, _)| (*oversold).max(0)).sum();
                metrics::gauge!("ticketing_oversold_tickets").set(oversold as f64);
                metrics::gauge!("ticketing_unbalanced_events").set(found.len() as f64);
            }
            Err(error) => {
                tracing::debug!(%error, "the books could not be checked");
                pause = Duration::from_secs(1);
            }
        }
        match held(state).await {
            Ok(held) => metrics::gauge!("ticketing_tickets_held").set(held as f64),
            Err(error) => tracing::debug!(%error, "held tickets could not be counted"),
        }
        if let Some(handle) = metrics() {
            handle.run_upkeep();
        }
        tokio::time::sleep(pause).await;
    }
}
