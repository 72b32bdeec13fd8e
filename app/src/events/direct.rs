//! Events straight from the database, while there is no Redis to tell what is still good.

use super::cache::{Entry, EventEntry};
use super::store;
use crate::db;
use crate::error::{ApiError, Result};
use futures::StreamExt;
use sqlx::MySqlPool;
use std::collections::HashMap;
use tokio::sync::{mpsc, oneshot};

/// Events that are read at the same time.
const PARALLEL: usize = 4;

type Question = (u64, oneshot::Sender<Result<EventEntry>>);

/// Reads in rounds: whoever asks while one round is under way shares the next. So any number of readers cost the
/// database one query per event and round, and every answer is newer than its question.
#[derive(Clone)]
pub struct DirectReader {
    questions: mpsc::UnboundedSender<Question>,
}

impl DirectReader {
    /// Starts the reading task. Must be called within a tokio runtime.
    pub fn new(pool: MySqlPool) -> Self {
        let (questions, receiver) = mpsc::unbounded_channel();
        tokio::spawn(answer(pool, receiver));
        Self { questions }
    }

    /// An event as it is now.
    pub async fn read(&self, id: u64) -> Result<EventEntry> {
        let (sender, receiver) = oneshot::channel();
        self.questions.send((id, sender)).map_err(ApiError::internal)?;
        receiver.await.map_err(ApiError::internal)?
    }
}

async fn answer(pool: MySqlPool, mut receiver: mpsc::UnboundedReceiver<Question>) {
    let mut questions = Vec::new();
    while receiver.recv_many(&mut questions, 65_536).await > 0 {
        let mut by_event: HashMap<u64, Vec<_>> = HashMap::new();
        for (id, sender) in questions.drain(..) {
            by_event.entry(id).or_default().push(sender);
        }
        futures::stream::iter(by_event)
            .for_each_concurrent(PARALLEL, |(id, senders)| {
                let pool = &pool;
                async move {
                    let entry = match db::within(db::LONGEST, store::by_id(pool, id)).await {
                        Ok(event) => Entry::new(event),
                        Err(error) => Err(error),
                    };
                    for sender in senders {
                        // Who asked may have gone away.
                        let _gone = sender.send(entry.clone());
                    }
                }
            })
            .await;
    }
}
