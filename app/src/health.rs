//! Whether the service works: liveness, readiness, and R1's health answer.

use crate::db;
use crate::state::AppState;
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::Serialize;
use sqlx::{Connection, MySqlConnection, MySqlPool};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};
use time::OffsetDateTime;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

/// How long a database may be away before an instance is worth replacing. A failover takes a minute or two; new instances
/// could not sell either, and would have lost what the old ones still read from their caches.
const WORTH_KEEPING: Duration = Duration::from_secs(5 * 60);

/// The last known state of the database. Probing in the background keeps health answers at constant cost.
#[derive(Default)]
pub struct Health {
    database: AtomicBool,
    migrated: AtomicBool,
    /// When the service was last ready
    last_ready: Mutex<Option<Instant>>,
}

impl Health {
    /// Whether the database answers and its schema is the one that this binary needs.
    pub fn database_ready(&self) -> bool {
        self.database.load(Ordering::Relaxed) && self.migrated.load(Ordering::Relaxed)
    }

    /// Whether the service was ready not long before `now`.
    fn worth_keeping(&self, now: Instant) -> bool {
        let last = *self.last_ready.lock().unwrap_or_else(PoisonError::into_inner);
        last.is_some_and(|ready| now.duration_since(ready) < WORTH_KEEPING)
    }

    fn found_database(&self, up: bool, now: Instant) {
        let was = self.database.swap(up, Ordering::Relaxed);
        match (was, up) {
            (false, true) => tracing::info!("the database is available"),
            (true, false) => tracing::warn!("the database is unavailable"),
            _ => {}
        }
        if self.database_ready() {
            *self.last_ready.lock().unwrap_or_else(PoisonError::into_inner) = Some(now);
        }
    }

    /// Probes the database until the task is dropped.
    pub async fn watch(&self, pool: &MySqlPool) {
        loop {
            let up = self.probe(pool).await;
            self.found_database(up, Instant::now());
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
        match tokio::time::timeout(Duration::from_secs(3), check).await {
            Ok(Ok(())) => true,
            // All connections busy is load, and connections that can't be made are loss: one of our own tells which. Of a
            // database that was away, being busy says nothing.
            Ok(Err(sqlx::Error::PoolTimedOut)) if self.database.load(Ordering::Relaxed) => answers(pool).await,
            Ok(Err(error)) => {
                tracing::debug!(%error, "database probe failed");
                false
            }
            Err(_) => false,
        }
    }
}

/// Whether the database takes writes on a connection outside the pool, or says that it has none to give.
async fn answers(pool: &MySqlPool) -> bool {
    let check = async {
        let mut connection = MySqlConnection::connect_with(&pool.connect_options()).await?;
        db::takes_writes(&mut connection).await?;
        connection.close().await
    };
    match tokio::time::timeout(Duration::from_secs(2), check).await {
        Ok(Ok(()) | Err(sqlx::Error::Database(_))) => true,
        Ok(Err(error)) => {
            tracing::debug!(%error, "the database gives no connection");
            false
        }
        Err(_) => false,
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
    OpenApiRouter::new().routes(routes!(health)).routes(routes!(live)).routes(routes!(keep)).routes(routes!(ready))
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
    unless_draining(&state, view(&state))
}

/// For a load balancer whose instances are replaced when this fails: as `/readyz`, but a database that is away fails it
/// only after five minutes
#[utoipa::path(get, path = "/healthz", tag = "operations", responses(
    (status = 200, description = "keep the instance; `status` says how it is", body = HealthView),
    (status = 503, description = "starting, draining, or without a database for long", body = HealthView)))]
async fn keep(State(state): State<AppState>) -> (StatusCode, Json<HealthView>) {
    let (code, body) = view(&state);
    let code = if state.health.worth_keeping(Instant::now()) { StatusCode::OK } else { code };
    unless_draining(&state, (code, body))
}

fn unless_draining(
    state: &AppState,
    (code, Json(mut body)): (StatusCode, Json<HealthView>),
) -> (StatusCode, Json<HealthView>) {
    if state.draining.is_cancelled() {
        body.status = "DRAINING";
        return (StatusCode::SERVICE_UNAVAILABLE, Json(body));
    }
    (code, Json(body))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_instance_is_kept_while_the_database_is_away_for_a_short_time() {
        let (health, start) = (Health::default(), Instant::now());
        health.found_database(true, start);
        assert!(!health.worth_keeping(start), "the schema isn't there: it was never ready");
        health.migrated.store(true, Ordering::Relaxed);
        health.found_database(true, start);
        let almost = start + WORTH_KEEPING - Duration::from_secs(1);
        health.found_database(false, almost);
        assert!(health.worth_keeping(almost) && !health.database_ready());
        assert!(!health.worth_keeping(start + WORTH_KEEPING));
        health.found_database(true, start + WORTH_KEEPING);
        assert!(health.worth_keeping(start + WORTH_KEEPING));
    }
}
