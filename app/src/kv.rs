//! Redis behind a breaker: when it is gone, every call fails at once instead of waiting, and callers take the
//! database's path.

use redis::aio::{ConnectionManager, ConnectionManagerConfig};
use redis::{FromRedisValue, RedisError, SetExpiry, SetOptions};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;
use tracing::Instrument;

/// Why Redis gave no answer.
#[derive(Debug, thiserror::Error)]
pub enum KvError {
    /// Known to be unreachable: nothing was sent.
    #[error("redis is unavailable")]
    Unavailable,
    /// Sent, and failed.
    #[error("redis: {0}")]
    Redis(#[from] RedisError),
}

/// A shared, multiplexed connection to Redis. Cheap to clone.
#[derive(Clone)]
pub struct Kv {
    connection: Arc<RwLock<ConnectionManager>>,
    client: redis::Client,
    up: Arc<AtomicBool>,
}

impl Kv {
    /// Prepares a connection that is made on first use. Call [`Kv::watch`] to keep the breaker up to date.
    pub fn new(url: &str) -> anyhow::Result<Self> {
        use anyhow::Context;
        let client = redis::Client::open(url)
            .context("the Redis address is not of the form redis://host:6379 or rediss://host:6379")?;
        let connection = Arc::new(RwLock::new(manager(&client)?));
        Ok(Self { connection, client, up: Arc::new(AtomicBool::new(true)) })
    }

    fn connection(&self) -> ConnectionManager {
        self.connection.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whether the last contact succeeded.
    pub fn is_up(&self) -> bool {
        self.up.load(Ordering::Relaxed)
    }

    /// A client for connections of their own, such as subscriptions.
    pub fn client(&self) -> &redis::Client {
        &self.client
    }

    /// Runs one command.
    pub async fn run<T: FromRedisValue>(&self, command: &redis::Cmd) -> Result<T, KvError> {
        let mut connection = self.connection();
        self.guard("command", command.query_async(&mut connection)).await
    }

    /// Runs several commands in one round trip.
    pub async fn pipe<T: FromRedisValue>(&self, pipeline: &redis::Pipeline) -> Result<T, KvError> {
        let mut connection = self.connection();
        self.guard("pipeline", pipeline.query_async(&mut connection)).await
    }

    /// Runs a script, loading it where it is not known yet.
    pub async fn script<T: FromRedisValue>(&self, call: &redis::ScriptInvocation<'_>) -> Result<T, KvError> {
        let mut connection = self.connection();
        self.guard("script", call.invoke_async(&mut connection)).await
    }

    async fn guard<T>(
        &self,
        what: &'static str,
        call: impl Future<Output = Result<T, RedisError>>,
    ) -> Result<T, KvError> {
        if !self.is_up() {
            return Err(KvError::Unavailable);
        }
        // Only traces want it: at this level it costs nothing without.
        let span = tracing::debug_span!("redis", otel.kind = "client", db.system.name = "redis", what);
        call.instrument(span).await.map_err(|error| {
            // A late answer alone may be our own lack of time: `watch` finds out.
            if is_outage(&error) && !error.is_timeout() && self.up.swap(false, Ordering::Relaxed) {
                tracing::warn!(%error, "redis is unavailable, going on without it");
            }
            KvError::Redis(error)
        })
    }

    /// Contacts Redis now and sets the breaker accordingly.
    pub async fn probe(&self) -> bool {
        // A write: after a failover the old primary still answers, as a replica, on the connections that it has.
        let write = redis::Cmd::set_options("probe", 1, SetOptions::default().with_expiration(SetExpiry::EX(1)));
        let answer: Result<(), RedisError> = write.query_async(&mut self.connection()).await;
        let up = match &answer {
            Ok(_) => true,
            Err(error) if is_outage(error) => {
                self.connect_anew(error);
                false
            }
            Err(_) => true,
        };
        if up != self.up.swap(up, Ordering::Relaxed) {
            match answer {
                Err(error) if !up => {
                    tracing::warn!(%error, "redis is unavailable, going on without it")
                }
                _ => tracing::info!("redis is available again"),
            }
        }
        up
    }

    /// Has the address looked up again for what is sent from now on. The manager does so itself only when a connection
    /// breaks: not when the node is another's replica now, and not when its host has vanished without a word.
    fn connect_anew(&self, error: &RedisError) {
        if error.is_unrecoverable_error() || error.is_connection_refusal() {
            return;
        }
        match manager(&self.client) {
            Ok(manager) => *self.connection.write().unwrap_or_else(PoisonError::into_inner) = manager,
            Err(error) => tracing::warn!(%error, "redis cannot be connected to anew"),
        }
    }

    /// Probes until the task is dropped: often while Redis is gone, so that it is used again soon.
    pub async fn watch(self) {
        loop {
            let pause = if self.probe().await { 500 } else { 200 };
            tokio::time::sleep(Duration::from_millis(pause)).await;
        }
    }
}

/// A connection that is made on first use, and again when it breaks.
fn manager(client: &redis::Client) -> Result<ConnectionManager, RedisError> {
    let config = ConnectionManagerConfig::new()
        .set_connection_timeout(Some(Duration::from_millis(500)))
        .set_response_timeout(Some(Duration::from_secs(1)))
        .set_number_of_retries(1)
        .set_max_delay(Duration::from_millis(50));
    ConnectionManager::new_lazy_with_config(client.clone(), config)
}

fn is_outage(error: &RedisError) -> bool {
    error.is_io_error()
        || error.is_timeout()
        || error.is_connection_dropped()
        || error.is_connection_refusal()
        || error.is_unrecoverable_error()
        || matches!(error.code(), Some("LOADING" | "READONLY" | "MASTERDOWN" | "NOAUTH" | "OOM"))
}
