//! Messages that were kept aside after they had failed too often: for operators to look at, and to send again.

use sqlx::{MySqlPool, QueryBuilder};
use time::OffsetDateTime;

/// A message that was kept aside.
#[derive(sqlx::FromRow)]
pub struct DeadLetter {
    /// What it had in the outbox
    pub id: u64,
    /// What had happened
    pub kind: String,
    /// To which event
    pub event_id: u64,
    /// Details, as JSON
    pub payload: String,
    /// Why it failed the last time
    pub error: String,
    /// When it was kept aside
    pub created_at: OffsetDateTime,
}

/// All of them, the oldest first.
pub async fn list(pool: &MySqlPool) -> Result<Vec<DeadLetter>, sqlx::Error> {
    sqlx::query_as("SELECT id, kind, event_id, payload, error, created_at FROM dead_letters ORDER BY id")
        .fetch_all(pool)
        .await
}

/// Puts some back into the outbox, or all where none is named; returns how many.
pub async fn requeue(pool: &MySqlPool, ids: &[u64]) -> Result<usize, sqlx::Error> {
    let mut tx = pool.begin().await?;
    let mut sql = QueryBuilder::new("SELECT id FROM dead_letters");
    if !ids.is_empty() {
        let mut list = sql.push(" WHERE id IN (").separated(", ");
        for id in ids {
            list.push_bind(*id);
        }
        list.push_unseparated(")");
    }
    let found: Vec<u64> = sql.push(" FOR UPDATE").build_query_scalar().fetch_all(&mut *tx).await?;
    for id in &found {
        super::take_back(&mut tx, "dead_letters", *id).await?;
    }
    tx.commit().await?;
    Ok(found.len())
}
