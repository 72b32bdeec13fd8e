//! What all handlers share.

use crate::accounts::tokens::Tokens;
use crate::config::{LimitArgs, Role, ServeArgs};
use crate::db;
use crate::events::cache::EventCache;
use crate::health::Health;
use crate::kv::Kv;
use crate::sales::Sales;
use crate::sales::tickets::TicketSigner;
use crate::staff::Attempts;
use sqlx::MySqlPool;
use std::sync::Arc;
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
    /// Signs tickets
    pub signer: TicketSigner,
    /// Events as most readers see them
    pub events: EventCache,
    /// The sale path
    pub sales: Sales,
    /// Wrong codes at the door
    pub attempts: Attempts,
    /// Wrong passwords, by e-mail address
    pub logins: Attempts,
    /// Whether the parts work
    pub health: Health,
    /// Which part of the service this is
    pub role: Role,
    /// Times and limits
    pub limits: LimitArgs,
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
        let db = db::pool(&args.database)?;
        let kv = Kv::new(&args.redis.url)?;
        let events = EventCache::new(db.clone(), kv.clone());
        let tokens = Tokens::new(&args.secret.jwt_secret);
        Ok(Self(Arc::new(Inner {
            signer: TicketSigner::new(tokens.ticket_seed()),
            sales: Sales::new(db.clone(), kv.clone(), events.clone(), &args.limits),
            tokens,
            attempts: Attempts::new(kv.clone(), "code4"),
            logins: Attempts::new(kv.clone(), "login"),
            health: Health::default(),
            role: args.role,
            limits: args.limits.clone(),
            shutdown: CancellationToken::new(),
            events,
            db,
            kv,
        })))
    }

    /// Starts what runs besides the requests.
    pub fn spawn_background(&self) {
        let shutdown = self.shutdown.clone();
        let state = self.clone();
        tokio::spawn(async move {
            tokio::select! {
                () = shutdown.cancelled() => {}
                _ = async { tokio::join!(state.kv.clone().watch(), state.health.watch(&state.db)) } => {}
            }
        });
    }
}
