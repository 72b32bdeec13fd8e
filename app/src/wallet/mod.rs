//! Money: payment providers, and the wallet as the built-in one.

mod handlers;

pub use handlers::routes;

use crate::db;
use crate::error::ApiError;
use futures::future::BoxFuture;
use serde::Serialize;
use sqlx::{MySqlConnection, MySqlPool};
use time::OffsetDateTime;
use utoipa::ToSchema;

/// Takes and gives back money within the transaction of a sale, so that either both happen or neither. A provider
/// beyond the database must have authorised the amount before, and captures it from the outbox.
pub trait PaymentProvider: Send + Sync {
    /// Takes `amount` from the user; none when there is too little.
    fn charge<'a>(
        &'a self,
        connection: &'a mut MySqlConnection,
        user_id: &'a str,
        amount: u64,
    ) -> BoxFuture<'a, Result<Option<Receipt>, sqlx::Error>>;

    /// Writes down what a charge was for.
    fn record<'a>(
        &'a self,
        connection: &'a mut MySqlConnection,
        user_id: &'a str,
        receipt: Receipt,
        reservation_id: u64,
    ) -> BoxFuture<'a, Result<(), sqlx::Error>>;

    /// Gives back what was paid for a reservation.
    fn refund<'a>(
        &'a self,
        connection: &'a mut MySqlConnection,
        user_id: &'a str,
        amount: u64,
        reservation_id: u64,
    ) -> BoxFuture<'a, Result<(), sqlx::Error>>;
}

/// What was taken.
#[derive(Clone, Copy, Debug)]
pub struct Receipt {
    /// How much
    pub amount: u64,
    /// What was left
    pub balance_after: u64,
}

/// The wallet: a balance per user, and the ledger that explains it.
pub struct Wallet;

/// Changes of a balance, as the ledger names them.
#[derive(Clone, Copy)]
pub enum EntryKind {
    /// Money put in
    Charge,
    /// Money spent
    Payment,
    /// Money given back
    Refund,
}

impl EntryKind {
    fn as_str(self) -> &'static str {
        match self {
            EntryKind::Charge => "CHARGE",
            EntryKind::Payment => "PAYMENT",
            EntryKind::Refund => "REFUND",
        }
    }
}

async fn balance(connection: &mut MySqlConnection, user_id: &str) -> Result<u64, sqlx::Error> {
    sqlx::query_scalar("SELECT balance FROM wallets WHERE user_id = ?").bind(user_id).fetch_one(connection).await
}

/// Writes a ledger entry for a change that has been made to the balance; `amount` is negative for what was taken.
pub async fn write_entry(
    connection: &mut MySqlConnection,
    user_id: &str,
    kind: EntryKind,
    amount: i64,
    balance_after: u64,
    reservation_id: Option<u64>,
    key: Option<&str>,
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "INSERT INTO wallet_entries (user_id, kind, amount, balance_after, reservation_id, idempotency_key) \
         VALUES (?, ?, ?, ?, ?, ?)",
    )
    .bind(user_id)
    .bind(kind.as_str())
    .bind(amount)
    .bind(balance_after)
    .bind(reservation_id)
    .bind(key)
    .execute(connection)
    .await?;
    Ok(())
}

/// Adds to a balance and returns the new one.
pub async fn add(connection: &mut MySqlConnection, user_id: &str, amount: u64) -> Result<u64, sqlx::Error> {
    sqlx::query("INSERT INTO wallets (user_id, balance) VALUES (?, ?) ON DUPLICATE KEY UPDATE balance = balance + ?")
        .bind(user_id)
        .bind(amount)
        .bind(amount)
        .execute(&mut *connection)
        .await?;
    balance(connection, user_id).await
}

/// Puts money into a wallet and returns the new balance. A key that was used before for the same amount changes
/// nothing and returns what it returned then; for another amount it is refused.
pub async fn charge(pool: &MySqlPool, user_id: &str, amount: u64, key: Option<&str>) -> Result<u64, ApiError> {
    let mut tx = pool.begin().await?;
    let after = add(&mut tx, user_id, amount).await?;
    let kind = EntryKind::Charge;
    let Err(error) = write_entry(&mut tx, user_id, kind, signed(amount), after, None, key).await else {
        tx.commit().await?;
        return Ok(after);
    };
    if db::duplicate_key(&error).is_none() {
        return Err(error.into());
    }
    tx.rollback().await?;
    let (before, after): (i64, u64) =
        sqlx::query_as("SELECT amount, balance_after FROM wallet_entries WHERE user_id = ? AND idempotency_key = ?")
            .bind(user_id)
            .bind(key)
            .fetch_one(pool)
            .await?;
    if before != signed(amount) {
        return Err(ApiError::invalid(
            "idempotency_key_reused",
            "this Idempotency-Key was used for a different request",
        ));
    }
    Ok(after)
}

/// The balance of a wallet; 0 when there is none.
pub async fn find_balance(pool: &MySqlPool, user_id: &str) -> Result<u64, ApiError> {
    let balance: Option<u64> =
        sqlx::query_scalar("SELECT balance FROM wallets WHERE user_id = ?").bind(user_id).fetch_optional(pool).await?;
    Ok(balance.unwrap_or(0))
}

/// A change of a balance
#[derive(Serialize, ToSchema, sqlx::FromRow)]
#[serde(rename_all = "camelCase")]
pub struct EntryView {
    /// Identifier
    pub id: u64,
    /// `CHARGE`, `PAYMENT` or `REFUND`
    pub kind: String,
    /// Negative for what was spent
    pub amount: i64,
    /// The balance from then on
    pub balance_after: u64,
    /// What was paid or refunded
    pub reservation_id: Option<u64>,
    /// When
    #[serde(with = "time::serde::rfc3339")]
    pub created_at: OffsetDateTime,
}

/// The ledger of a wallet, the newest entry first: at most `size`, with identifiers below `before`.
pub async fn entries(pool: &MySqlPool, user_id: &str, before: u64, size: u32) -> Result<Vec<EntryView>, ApiError> {
    let entries = sqlx::query_as(
        // MySQL would rather read and sort all of the user's entries.
        "SELECT id, kind, amount, balance_after, reservation_id, created_at FROM wallet_entries \
         FORCE INDEX (wallet_entries_user) WHERE user_id = ? AND id < ? ORDER BY id DESC LIMIT ?",
    )
    .bind(user_id)
    .bind(before)
    .bind(size)
    .fetch_all(pool)
    .await?;
    Ok(entries)
}

/// An amount as the ledger has it. Amounts are limited far below `i64::MAX` where they come in.
pub fn signed(amount: u64) -> i64 {
    i64::try_from(amount).unwrap_or(i64::MAX)
}

impl PaymentProvider for Wallet {
    fn charge<'a>(
        &'a self,
        connection: &'a mut MySqlConnection,
        user_id: &'a str,
        amount: u64,
    ) -> BoxFuture<'a, Result<Option<Receipt>, sqlx::Error>> {
        Box::pin(async move {
            let taken = sqlx::query("UPDATE wallets SET balance = balance - ? WHERE user_id = ? AND balance >= ?")
                .bind(amount)
                .bind(user_id)
                .bind(amount)
                .execute(&mut *connection)
                .await?;
            if taken.rows_affected() == 0 {
                return Ok(None);
            }
            Ok(Some(Receipt { amount, balance_after: balance(connection, user_id).await? }))
        })
    }

    fn record<'a>(
        &'a self,
        connection: &'a mut MySqlConnection,
        user_id: &'a str,
        receipt: Receipt,
        reservation_id: u64,
    ) -> BoxFuture<'a, Result<(), sqlx::Error>> {
        let (amount, after) = (-signed(receipt.amount), receipt.balance_after);
        Box::pin(write_entry(connection, user_id, EntryKind::Payment, amount, after, Some(reservation_id), None))
    }

    fn refund<'a>(
        &'a self,
        connection: &'a mut MySqlConnection,
        user_id: &'a str,
        amount: u64,
        reservation_id: u64,
    ) -> BoxFuture<'a, Result<(), sqlx::Error>> {
        Box::pin(async move {
            let after = add(connection, user_id, amount).await?;
            let (kind, amount) = (EntryKind::Refund, signed(amount));
            write_entry(connection, user_id, kind, amount, after, Some(reservation_id), None).await
        })
    }
}
