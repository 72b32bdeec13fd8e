//! Which account belongs to somebody whom an OpenID provider vouches for.

use super::{Role, UserView, by_id, take_over, valid_email};
use crate::db;
use crate::error::{ApiError, Result};
use crate::random;
use sqlx::{MySqlConnection, MySqlPool};

/// What a provider says about somebody.
#[derive(Clone, Debug)]
pub struct Identity {
    /// The provider
    pub issuer: String,
    /// Who it is there, for ever
    pub subject: String,
    /// The e-mail address, if the provider has verified it
    pub verified_email: Option<String>,
    /// Name to show
    pub name: String,
}

/// The account of an identity: the one it was linked to before, the one with its verified address, or a new one.
pub async fn account_of(pool: &MySqlPool, identity: &Identity) -> Result<UserView> {
    let ascii = |text: &str| (1..=255).contains(&text.len()) && text.is_ascii();
    if !ascii(&identity.issuer) || !ascii(&identity.subject) {
        return Err(ApiError::invalid("oidc_failed", "the provider's subject is not 1 to 255 ASCII characters"));
    }
    if let Some(user_id) = linked(pool, identity).await? {
        return by_id(pool, &user_id).await?.ok_or_else(|| ApiError::not_found("account"));
    }
    let user_id = match link(pool, identity).await {
        // Somebody logs in twice at once: the other login was faster.
        Err(error) if error.code == "email_taken" => {
            linked(pool, identity).await?.ok_or_else(|| ApiError::internal("an identity is neither there nor new"))?
        }
        linked => linked?,
    };
    by_id(pool, &user_id).await?.ok_or_else(|| ApiError::not_found("account"))
}

async fn linked(pool: &MySqlPool, identity: &Identity) -> Result<Option<String>> {
    let found = sqlx::query_scalar("SELECT user_id FROM identities WHERE issuer = ? AND subject = ?")
        .bind(&identity.issuer)
        .bind(&identity.subject)
        .fetch_optional(pool)
        .await?;
    Ok(found)
}

async fn link(pool: &MySqlPool, identity: &Identity) -> Result<String> {
    let email = identity.verified_email.as_deref().and_then(|email| valid_email(email).ok());
    let email = email.ok_or_else(|| ApiError::invalid("oidc_email", "the provider has verified no e-mail address"))?;
    let taken = |error: sqlx::Error| match db::duplicate_key(&error) {
        Some(_) => ApiError::conflict("email_taken", "somebody logged in with this address just now"),
        None => error.into(),
    };
    let mut tx = pool.begin().await?;
    let known: Option<(String, bool)> =
        sqlx::query_as("SELECT id, email_verified FROM users WHERE email = ? FOR UPDATE")
            .bind(&email)
            .fetch_optional(&mut *tx)
            .await?;
    let user_id = match known {
        Some((user_id, verified)) => {
            refuse_another(&mut tx, identity, &user_id).await?;
            if !verified {
                take_over(&mut tx, &user_id, "").await?;
            }
            user_id
        }
        None => create(&mut tx, &email, &identity.name).await.map_err(taken)?,
    };
    sqlx::query("INSERT INTO identities (issuer, subject, user_id) VALUES (?, ?, ?)")
        .bind(&identity.issuer)
        .bind(&identity.subject)
        .bind(&user_id)
        .execute(&mut *tx)
        .await
        .map_err(taken)?;
    tx.commit().await?;
    tracing::info!(user = user_id, issuer = identity.issuer, "an identity was linked");
    Ok(user_id)
}

/// A provider may give an address that was given up to somebody else, who is to have an account of their own.
async fn refuse_another(connection: &mut MySqlConnection, identity: &Identity, user_id: &str) -> Result<()> {
    let other: Option<String> =
        sqlx::query_scalar("SELECT subject FROM identities WHERE user_id = ? AND issuer = ? AND subject <> ?")
            .bind(user_id)
            .bind(&identity.issuer)
            .bind(&identity.subject)
            .fetch_optional(connection)
            .await?;
    match other {
        None => Ok(()),
        Some(_) => Err(ApiError::conflict("oidc_taken", "the account with this address is another person's there")),
    }
}

/// An account without a password.
async fn create(connection: &mut MySqlConnection, email: &str, name: &str) -> Result<String, sqlx::Error> {
    let user_id = random::user_id();
    let named: String = name.trim().chars().filter(|c| !c.is_control()).take(100).collect();
    let name = if named.is_empty() { email.chars().take(100).collect() } else { named };
    sqlx::query(
        "INSERT INTO users (id, email, name, password_hash, role, email_verified) VALUES (?, ?, ?, '', ?, TRUE)",
    )
    .bind(&user_id)
    .bind(email)
    .bind(name)
    .bind(Role::User.as_str())
    .execute(&mut *connection)
    .await?;
    sqlx::query("INSERT INTO wallets (user_id, balance) VALUES (?, 0)").bind(&user_id).execute(connection).await?;
    Ok(user_id)
}
