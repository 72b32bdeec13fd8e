//! Whether the service works: liveness, readiness, and R1's health answer.

use crate::db;
use crate::state::AppState;
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::Serialize;
use sqlx::MySqlPool;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use time::OffsetDateTime;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

/// The last known state of the database. Probing in the background keeps health answers at constant cost.
#[derive(Default)]
pub struct Health {
    database: AtomicBool,
    migrated: AtomicBool,
}

impl Health {
    /// Whether the database answers and its schema is the one that this binary needs.
    pub fn database_ready(&self) -> bool {
        self.database.load(Ordering::Relaxed) && self.migrated.load(Ordering::Relaxed)
    }

    /// Probes the database until the task is dropped.
    pub async fn watch(&self, pool: &MySqlPool) {
        loop {
            let up = self.probe(pool).await;
            if up != self.database.swap(up, Ordering::Relaxed) {
                if up {
                    tracing::info!("the database is available");
                } else {
                    tracing::warn!("the database is unavailable");
                }
            }
            let pause = if self.database_ready() { 500 } else { 50 };
            tokio::time::sleep(Duration::from_millis(pause)).await;
        }
    }

    async fn probe(&self, pool: &MySqlPool) -> bool {
        let check = async {
            if self.migrated.load(Ordering::Relaxed) {
                let mut connection = pool.acquire().await?;
                let probed = db::takes_writes(&mut connection).await;
                if probed.is_err() {
                    // Nobody is to get it again.
                    connection.close_on_drop();
                }
                return probed;
            }
            self.migrated.store(db::is_migrated(pool).await?, Ordering::Relaxed);
            Ok(())
        };
        match tokio::time::timeout(Duration::from_secs(2), check).await {
            Ok(Ok(())) => true,
            Ok(Err(error)) => {
                tracing::debug!(%error, "database probe failed");
                // All connections busy is load, not loss. Those that are still being made count as busy: they say nothing
                // of a database that was away.
                let busy = matches!(error, sqlx::Error::PoolTimedOut) && pool.size() > 0 && pool.num_idle() == 0;
                busy && self.database.load(Ordering::Relaxed)
            }
            Err(_) => false,
        }
    }
}

/// Health as R1 shows it.
#[derive(Serialize, ToSchema)]
pub struct HealthView {
    /// `UP`; `DEGRADED` without Redis (sales go on); `DOWN` without the database
    status: &'static str,
    #[serde(with = "time::serde::rfc3339")]
    timestamp: OffsetDateTime,
    /// `connected` or `disconnected`
    database: &'static str,
    /// `connected` or `disconnected`
    redis: &'static str,
}

/// Routes of health.
pub fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(health)).routes(routes!(live)).routes(routes!(ready))
}

fn view(state: &AppState) -> (StatusCode, Json<HealthView>) {
    let connected = |up| if up { "connected" } else { "disconnected" };
    let (database, redis) = (state.health.database_ready(), state.kv.is_up());
    let (code, status) = match (database, redis) {
        (true, true) => (StatusCode::OK, "UP"),
        (true, false) => (StatusCode::OK, "DEGRADED"),
        (false, _) => (StatusCode::SERVICE_UNAVAILABLE, "DOWN"),
    };
    let view = HealthView {
        status,
        timestamp: OffsetDateTime::now_utc(),
        database: connected(database),
        redis: connected(redis),
    };
    (code, Json(view))
}

/// Health of the service and of what it needs
#[utoipa::path(get, path = "/api/health", tag = "operations", responses(
    (status = 200, description = "works, perhaps without Redis", body = HealthView),
    (status = 503, description = "the database cannot be reached", body = HealthView)))]
async fn health(State(state): State<AppState>) -> (StatusCode, Json<HealthView>) {
    view(&state)
}

/// The process is alive: restart it when this fails
#[utoipa::path(get, path = "/livez", tag = "operations", responses((status = 200, description = "alive", body = str)))]
async fn live() -> &'static str {
    "alive"
}

/// The process can serve: send it no requests while this fails
#[utoipa::path(get, path = "/readyz", tag = "operations", responses(
    (status = 200, description = "send requests", body = HealthView),
    (status = 503, description = "send none: starting, draining, or without a database", body = HealthView)))]
async fn ready(State(state): State<AppState>) -> (StatusCode, Json<HealthView>) {
    let (code, Json(mut body)) = view(&state);
    if state.shutdown.is_cancelled() {
        body.status = "DRAINING";
        return (StatusCode::SERVICE_UNAVAILABLE, Json(body));
    }
    (code, Json(body))
}
