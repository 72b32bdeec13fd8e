//! What all handlers share.

use crate::accounts::oidc::Oidc;
use crate::accounts::tokens::Tokens;
use crate::config::{LimitArgs, Role, ServeArgs};
use crate::db;
use crate::discovery::Discovery;
use crate::events::cache::EventCache;
use crate::events::live::Live;
use crate::events::settle;
use crate::health::Health;
use crate::http::limiter::Limiter;
use crate::kv::Kv;
use crate::outbox::messaging::Messaging;
use crate::outbox::relay;
use crate::queue::{Queue, QueueView};
use crate::sales::tickets::TicketSigner;
use crate::sales::{Sales, requests};
use crate::staff::Attempts;
use crate::{telemetry, waitlist};
use anyhow::Context;
use moka::future::Cache;
use sqlx::MySqlPool;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// Shared by all handlers; cheap to clone.
#[derive(Clone)]
pub struct AppState(Arc<Inner>);

/// The parts of the service.
pub struct Inner {
    /// The truth
    pub db: MySqlPool,
    /// The fast path
    pub kv: Kv,
    /// Signs and checks tokens
    pub tokens: Tokens,
    /// Where people can log in besides here
    pub oidc: Option<Oidc>,
    /// Whether browsers see this service over HTTPS
    pub over_https: bool,
    /// The waiting queues
    pub queue: Queue,
    /// How long the queues are, for a second
    pub queue_views: Cache<u64, QueueView>,
    /// Signs tickets
    pub signer: TicketSigner,
    /// Events as most readers see them
    pub events: EventCache,
    /// Who watches events
    pub live: Live,
    /// The sale path
    pub sales: Sales,
    /// Wrong codes at the door
    pub attempts: Attempts,
    /// Wrong passwords, by e-mail address
    pub logins: Attempts,
    /// Requests by user
    pub user_limiter: Limiter,
    /// Requests by address
    pub address_limiter: Limiter,
    /// What is posted about accounts, by address
    pub auth_limiter: Limiter,
    /// SNS and SQS
    pub messaging: Messaging,
    /// Whether the parts work
    pub health: Health,
    /// Which part of the service this is
    pub role: Role,
    /// Times and limits
    pub limits: LimitArgs,
    /// Cancelled when nobody is to send requests any more
    pub draining: CancellationToken,
    /// Cancelled when the process is to end
    pub shutdown: CancellationToken,
}

impl std::ops::Deref for AppState {
    type Target = Inner;

    fn deref(&self) -> &Inner {
        &self.0
    }
}

impl AppState {
    /// Puts the parts together. Connects to nothing yet.
    pub fn new(args: &ServeArgs) -> anyhow::Result<Self> {
        telemetry::metrics();
        let db = db::pool(&args.database)?;
        let kv = Kv::new(args.redis.url.as_deref().context("there is no Redis address")?)?;
        let events = EventCache::new(db.clone(), kv.clone());
        let shutdown = CancellationToken::new();
        let tokens = Tokens::new(args.secret.jwt_secret.as_deref().context("there is no secret for tokens")?);
        Ok(Self(Arc::new(Inner {
            queue: Queue::new(db.clone(), kv.clone()),
            queue_views: Cache::builder().max_capacity(10_000).time_to_live(Duration::from_secs(1)).build(),
            signer: TicketSigner::new(tokens.ticket_seed()),
            sales: Sales::new(db.clone(), kv.clone(), events.clone(), &args.limits),
            tokens,
            oidc: Oidc::new(&args.oidc)?,
            over_https: args.oidc.public_url.as_deref().is_some_and(|url| url.starts_with("https:")),
            attempts: Attempts::new(kv.clone(), "code4"),
            logins: Attempts::new(kv.clone(), "login"),
            live: Live::default(),
            user_limiter: Limiter::new("user", args.limits.user_rate),
            address_limiter: Limiter::new("address", args.limits.address_rate),
            auth_limiter: Limiter::new("auth", args.limits.auth_rate),
            messaging: Messaging::new(&args.messaging),
            health: Health::default(),
            role: args.role,
            limits: args.limits.clone(),
            draining: shutdown.child_token(),
            shutdown,
            events,
            db,
            kv,
        })))
    }

    /// Follows the database's password as it changes, until `shutdown`.
    pub fn follow_password(&self, discovery: Discovery) {
        self.spawn(|state| async move { discovery.follow_password(&state.db).await });
    }

    /// Starts what runs besides the requests, until `shutdown`.
    pub fn spawn_background(&self) {
        self.spawn(|state| async move { state.kv.clone().watch().await });
        self.spawn(|state| async move { state.user_limiter.share(&state.kv).await });
        self.spawn(|state| async move { state.address_limiter.share(&state.kv).await });
        self.spawn(|state| async move { state.auth_limiter.share(&state.kv).await });
        self.spawn(|state| async move { state.health.watch(&state.db).await });
        self.spawn(|_| async { keep_metrics_small().await });
        if self.role.includes(Role::Worker) {
            self.spawn(|state| async move { telemetry::audit(&state).await });
            self.spawn(|state| async move { relay::run(&state).await });
            self.spawn(|state| async move { state.messaging.consume(&state).await });
            self.spawn(|state| async move { waitlist::sweep(&state).await });
            self.spawn(|state| async move { settle::run(&state).await });
            self.spawn(|state| async move { requests::ask_again(&state).await });
        }
        if self.role.includes(Role::Queue) {
            self.spawn(|state| async move { state.queue.run().await });
        }
    }

    fn spawn<F: Future<Output = ()> + Send + 'static>(&self, task: impl FnOnce(Self) -> F) {
        let shutdown = self.shutdown.clone();
        tokio::spawn(shutdown.run_until_cancelled_owned(task(self.clone())));
    }
}

/// Histograms keep every sample until they are summed up, which a scrape does as well, if there is one.
async fn keep_metrics_small() {
    loop {
        tokio::time::sleep(Duration::from_secs(1)).await;
        if let Some(handle) = telemetry::metrics() {
            handle.run_upkeep();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::Cli;
    use crate::sales::Order;
    use crate::sales::holds::Hold;

    /// A future that may connect to the database has 18 KiB, and is moved about as a whole: so the paths that hardly ever
    /// do are to have it in a box.
    #[tokio::test]
    async fn what_most_requests_do_is_small() {
        let (database, redis) = ("mysql://nobody@127.0.0.1:1/none", "redis://127.0.0.1:1");
        let secret = "a secret of at least thirty-two bytes";
        let args = ["ticketing", "serve", "--database-url", database, "--redis-url", redis, "--jwt-secret", secret];
        let state = AppState::new(&Cli::serve_args(args).expect("options")).expect("a state");
        let order = Order {
            user_id: "U1".into(),
            quantity: 1,
            seats: Vec::new(),
            idempotency_key: "k".into(),
            client_key: true,
            request_hash: [0; 32],
            payment: None,
            box_office: false,
            hold: None,
            group_id: None,
        };
        let mut hold = Hold {
            hold: "h".into(),
            event: 1,
            user: "U1".into(),
            quantity: 1,
            seats: Vec::new(),
            fence: 1,
            ends: 0,
            exclusive: true,
        };
        let sizes = [
            ("an event", size_of_val(&state.events.get(1))),
            ("its settings", size_of_val(&state.events.settings(1))),
            ("its seats", size_of_val(&state.events.layout(1))),
            ("a list", size_of_val(&state.events.list(Default::default()))),
            ("a hold", size_of_val(&state.sales.holds.take(1, "U1", 1, Vec::new(), 1))),
            ("a sale", size_of_val(&state.sales.sell_held(1, order.clone()))),
            ("a confirmation", size_of_val(&state.sales.confirm(&mut hold, order))),
        ];
        for (what, size) in sizes {
            assert!(size < 4096, "{what}: {size} bytes");
        }
    }
}
