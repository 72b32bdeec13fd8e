//! Messages in bulk: most tell of sales, to users who are told in no other way than by a stored notification. Those
//! are stored in one statement, so that what comes after a sale costs the database no more than the sale.

use super::{Message, consumer};
use crate::db;
use crate::error::Result;
use crate::state::AppState;
use futures::future::join_all;
use sqlx::{MySql, MySqlConnection, QueryBuilder};
use std::collections::HashSet;

/// Messages that are acted on one by one at the same time.
const PARALLEL: usize = 8;

/// Acts on messages, and returns a result for each. After an error it comes again.
pub async fn handle(state: &AppState, messages: &[Message]) -> Vec<Result<()>> {
    let stored = db::within(db::LONGEST, store(state, messages)).await.unwrap_or_else(|error| {
        tracing::debug!(%error, "notifications are stored one by one");
        HashSet::new()
    });
    let mut results: Vec<Result<()>> = messages.iter().map(|_| Ok(())).collect();
    let left: Vec<usize> = (0..messages.len()).filter(|at| !stored.contains(&messages[*at].id)).collect();
    for some in left.chunks(PARALLEL) {
        let handled = join_all(some.iter().map(|at| consumer::handle(state, &messages[*at]))).await;
        for (at, result) in some.iter().zip(handled) {
            results[*at] = result;
        }
    }
    results
}

/// Stores the notifications of sales to users without devices and e-mail, and returns the messages that are dealt with by that.
async fn store(state: &AppState, messages: &[Message]) -> Result<HashSet<u64>> {
    let sales: Vec<(&Message, &str, String)> = messages
        .iter()
        .filter_map(|message| Some((message, message.user_id()?, consumer::text_of_sale(message)?)))
        .collect();
    let mut stored = HashSet::with_capacity(sales.len());
    let mut tx = state.db.begin().await?;
    for piece in db::pieces(&sales) {
        let reachable = reachable(state, &mut tx, piece.iter().map(|(_, user, _)| *user).collect()).await?;
        let piece: Vec<_> = piece.iter().filter(|(_, user, _)| !reachable.contains(*user)).collect();
        for piece in db::pieces(&piece) {
            QueryBuilder::new("INSERT INTO notifications (message_id, user_id, kind, event_id, text, push) ")
                .push_values(piece, |mut row, (message, user, text)| {
                    row.push_bind(message.id)
                        .push_bind(*user)
                        .push_bind(&message.kind)
                        .push_bind(message.event_id)
                        .push_bind(text)
                        .push("'NONE'");
                })
                // A message that comes again changes nothing.
                .push(" ON DUPLICATE KEY UPDATE message_id = message_id")
                .build()
                .execute(&mut *tx)
                .await?;
        }
        stored.extend(piece.iter().map(|(message, ..)| message.id));
    }
    tx.commit().await?;
    Ok(stored)
}

/// Those of some users who are told in another way as well.
async fn reachable(
    state: &AppState,
    connection: &mut MySqlConnection,
    mut users: Vec<&str>,
) -> Result<HashSet<String>, sqlx::Error> {
    if !state.messaging.pushes() && !state.messaging.sends_email() {
        return Ok(HashSet::new());
    }
    db::pad(&mut users);
    let mut sql = QueryBuilder::new("SELECT user_id FROM devices WHERE endpoint_arn IS NOT NULL AND user_id IN (");
    push_list(&mut sql, &users);
    sql.push(" UNION SELECT user_id FROM email_subscriptions WHERE user_id IN (");
    push_list(&mut sql, &users);
    let reachable: Vec<String> = sql.build_query_scalar().fetch_all(connection).await?;
    Ok(reachable.into_iter().collect())
}

/// The rest of `IN (`.
fn push_list(sql: &mut QueryBuilder<MySql>, users: &[&str]) {
    let mut list = sql.separated(", ");
    for user in users {
        list.push_bind(*user);
    }
    list.push_unseparated(")");
}
