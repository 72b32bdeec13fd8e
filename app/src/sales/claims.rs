//! Claims in rounds: all holds whose confirmation arrives while one round trip to Redis is under way share the next.

use super::holds::{CLAIM_MILLISECONDS, Reply, call};
use crate::kv::Kv;
use futures::future::join_all;
use std::collections::{HashMap, HashSet};
use tokio::sync::{mpsc, oneshot};

struct Claim {
    event: u64,
    id: String,
    answer: oneshot::Sender<bool>,
}

/// Keeps holds from expiring while they are confirmed. Cheap to clone.
#[derive(Clone)]
pub struct Claims(mpsc::UnboundedSender<Claim>);

impl Claims {
    /// Starts the task that asks Redis. Must be called within a tokio runtime.
    pub fn new(kv: Kv) -> Self {
        let (claims, receiver) = mpsc::unbounded_channel();
        tokio::spawn(answer(kv, receiver));
        Self(claims)
    }

    /// Claims a hold. False when it is not there: it has ended, was confirmed, or Redis has forgotten it or is away.
    pub async fn claim(&self, event: u64, id: &str) -> bool {
        let (answer, claimed) = oneshot::channel();
        // The task ends with the process only; a claim that is not answered has failed.
        self.0.send(Claim { event, id: id.to_owned(), answer }).is_ok() && claimed.await.unwrap_or(false)
    }
}

async fn answer(kv: Kv, mut receiver: mpsc::UnboundedReceiver<Claim>) {
    let mut claims = Vec::new();
    while receiver.recv_many(&mut claims, 1024).await > 0 {
        let mut by_event: HashMap<u64, Vec<Claim>> = HashMap::new();
        for claim in claims.drain(..) {
            by_event.entry(claim.event).or_default().push(claim);
        }
        join_all(by_event.into_iter().map(|(event, claims)| claim_all(&kv, event, claims))).await;
    }
}

async fn claim_all(kv: &Kv, event: u64, claims: Vec<Claim>) {
    let mut call = call(event, "claim");
    call.arg(CLAIM_MILLISECONDS);
    for claim in &claims {
        call.arg(&claim.id);
    }
    let gone: Option<HashSet<String>> = match kv.script::<Reply>(&call).await {
        Ok((_, gone, _)) => Some(gone.split(',').map(str::to_owned).collect()),
        Err(error) => {
            tracing::debug!(%error, "confirming without redis");
            None
        }
    };
    for claim in claims {
        let there = gone.as_ref().is_some_and(|gone| !gone.contains(&claim.id));
        // Who asked may have gone away.
        let _gone = claim.answer.send(there);
    }
}
