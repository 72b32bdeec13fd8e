//! Accounts: who somebody is and what they may do.

mod handlers;
pub mod identities;
pub mod oidc;
mod password;
pub mod sessions;
pub mod tokens;

pub use handlers::routes;

use crate::db;
use crate::error::{ApiError, Result};
use crate::random;
use serde::{Deserialize, Serialize};
use sqlx::{MySqlConnection, MySqlPool};
use time::OffsetDateTime;
use utoipa::ToSchema;

/// What an account may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema, clap::ValueEnum)]
#[serde(rename_all = "UPPERCASE")]
pub enum Role {
    /// Buys tickets
    User,
    /// Checks tickets at the door
    Staff,
    /// Manages events and sells for anybody
    Admin,
}

impl Role {
    /// As it is written in the database and in tokens.
    pub fn as_str(self) -> &'static str {
        match self {
            Role::User => "USER",
            Role::Staff => "STAFF",
            Role::Admin => "ADMIN",
        }
    }

    fn parse(text: &str) -> Result<Self> {
        match text {
            "USER" => Ok(Role::User),
            "STAFF" => Ok(Role::Staff),
            "ADMIN" => Ok(Role::Admin),
            other => Err(ApiError::internal(format!("the database holds a role {other:?}"))),
        }
    }
}

/// An account as its owner sees it.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct UserView {
    /// Identifier, to be used as `userId`
    pub user_id: String,
    /// E-mail address, in lower case
    pub email: String,
    /// Name to show
    pub name: String,
    /// What the account may do
    pub role: Role,
    /// What was begun for the account as it was read is worth something until this changes (Unix milliseconds). It is read
    /// together with what proves who somebody is: the time at which a proof is through may be after the proof's end.
    #[serde(skip)]
    pub sessions_since: i64,
}

#[derive(sqlx::FromRow)]
struct UserRow {
    id: String,
    email: String,
    name: String,
    password_hash: String,
    role: String,
    sessions_since: OffsetDateTime,
}

impl UserRow {
    fn view(&self) -> Result<UserView> {
        Ok(UserView {
            user_id: self.id.clone(),
            email: self.email.clone(),
            name: self.name.clone(),
            role: Role::parse(&self.role)?,
            sessions_since: milliseconds(self.sessions_since),
        })
    }
}

fn milliseconds(time: OffsetDateTime) -> i64 {
    (time.unix_timestamp_nanos() / 1_000_000) as i64
}

async fn by_email(pool: &MySqlPool, email: &str) -> Result<Option<UserRow>> {
    let row = sqlx::query_as("SELECT id, email, name, password_hash, role, sessions_since FROM users WHERE email = ?")
        .bind(email)
        .fetch_optional(pool)
        .await?;
    Ok(row)
}

/// The account with this identifier.
pub async fn by_id(pool: &MySqlPool, id: &str) -> Result<Option<UserView>> {
    let row: Option<UserRow> =
        sqlx::query_as("SELECT id, email, name, password_hash, role, sessions_since FROM users WHERE id = ?")
            .bind(id)
            .fetch_optional(pool)
            .await?;
    row.map(|row| row.view()).transpose()
}

/// The account with this identifier, unless what began with the account as of `since` (Unix milliseconds) has ended.
pub async fn by_session(pool: &MySqlPool, id: &str, since: i64) -> Result<Option<UserView>> {
    Ok(by_id(pool, id).await?.filter(|user| user.sessions_since <= since))
}

/// Gives an account to the owner of its address, with this password or, if empty, none. Somebody else may have signed up
/// with the address and wait for its owner: nobody who was there before keeps a password, a session or a device. What is
/// left is an access token, for half an hour at most: to look at the account for every request would cost more than
/// anything else most of them do. It is good for nothing that lasts longer, see [`by_session`].
async fn take_over(connection: &mut MySqlConnection, user_id: &str, password_hash: &str) -> Result<(), sqlx::Error> {
    // Later than before, whatever the clock says.
    sqlx::query(
        "UPDATE users SET password_hash = ?, email_verified = TRUE, \
         sessions_since = GREATEST(UTC_TIMESTAMP(3), sessions_since + INTERVAL 1000 MICROSECOND) WHERE id = ?",
    )
    .bind(password_hash)
    .bind(user_id)
    .execute(&mut *connection)
    .await?;
    sqlx::query("DELETE FROM devices WHERE user_id = ?").bind(user_id).execute(connection).await?;
    Ok(())
}

/// Creates an account with an empty wallet. 409 when the address is taken.
pub async fn create(pool: &MySqlPool, email: &str, password: &str, name: &str, role: Role) -> Result<UserView> {
    let (email, name) = (valid_email(email)?, valid_name(name)?);
    let hash = password::hash(password).await?;
    let user_id = random::user_id();
    let mut tx = pool.begin().await?;
    let inserted = sqlx::query("INSERT INTO users (id, email, name, password_hash, role) VALUES (?, ?, ?, ?, ?)")
        .bind(&user_id)
        .bind(&email)
        .bind(&name)
        .bind(hash)
        .bind(role.as_str())
        .execute(&mut *tx)
        .await;
    match inserted {
        Err(error) if db::duplicate_key(&error).is_some() => {
            return Err(ApiError::conflict("email_taken", "there is an account with this e-mail address"));
        }
        other => other?,
    };
    sqlx::query("INSERT INTO wallets (user_id, balance) VALUES (?, 0)").bind(&user_id).execute(&mut *tx).await?;
    tx.commit().await?;
    Ok(UserView { user_id, email, name, role, sessions_since: 0 })
}

/// Creates an account, or gives the existing one this password and role. An administrator does so, and vouches for the
/// address. Whoever had the account until now is logged out: somebody may have signed up with an address that is not theirs.
pub async fn upsert(pool: &MySqlPool, email: &str, password: &str, name: &str, role: Role) -> Result<UserView> {
    let email = valid_email(email)?;
    match create(pool, &email, password, name, role).await {
        Err(error) if error.code == "email_taken" => {}
        created => {
            created?;
        }
    }
    let hash = password::hash(password).await?;
    let id = by_email(pool, &email).await?.ok_or_else(|| ApiError::not_found("account"))?.id;
    let mut tx = pool.begin().await?;
    take_over(&mut tx, &id, &hash).await?;
    sqlx::query("UPDATE users SET role = ? WHERE id = ?").bind(role.as_str()).bind(&id).execute(&mut *tx).await?;
    tx.commit().await?;
    by_id(pool, &id).await?.ok_or_else(|| ApiError::not_found("account"))
}

/// The account that this address and password belong to. Takes the same time whether or not the address exists.
async fn authenticate(pool: &MySqlPool, email: &str, password: &str) -> Result<UserView> {
    let row = by_email(pool, email).await?;
    // Who logs in at a provider only has no password.
    let hash = row.as_ref().map(|row| row.password_hash.as_str()).filter(|hash| !hash.is_empty());
    let matches = password::verify(password, hash).await?;
    match row {
        Some(row) if matches => row.view(),
        _ => Err(ApiError::unauthorized("bad_credentials", "wrong e-mail address or password")),
    }
}

fn valid_email(email: &str) -> Result<String> {
    let email = email.trim().to_lowercase();
    let well_formed = email.split_once('@').is_some_and(|(local, domain)| {
        !local.is_empty() && domain.contains('.') && !domain.starts_with('.') && !domain.ends_with('.')
    });
    if !well_formed || email.len() > 254 || email.contains(|c: char| c.is_whitespace() || c.is_control()) {
        return Err(ApiError::invalid("bad_email", "email must be an address such as name@example.com"));
    }
    Ok(email)
}

fn valid_name(name: &str) -> Result<String> {
    let name = name.trim();
    if name.is_empty() || name.chars().count() > 100 || name.contains(char::is_control) {
        return Err(ApiError::invalid("bad_name", "name must have 1 to 100 characters"));
    }
    Ok(name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_checked_and_normalised() {
        assert_eq!(valid_email(" Kim@Example.com ").expect("valid"), "kim@example.com");
        for bad in ["", "kim", "@example.com", "kim@example", "kim@.com", "kim@com.", "k im@example.com"] {
            assert!(valid_email(bad).is_err(), "{bad:?} must be refused");
        }
    }

    #[test]
    fn roles_survive_the_database() {
        for role in [Role::User, Role::Staff, Role::Admin] {
            assert_eq!(Role::parse(role.as_str()).expect("known"), role);
        }
    }
}
