//! Refresh tokens in Redis. Each is good once: using it gives the next one of its family. When a used one comes
//! again, somebody has a copy, and the whole family ends. Only the one used last may come again for a few seconds: its
//! answer was lost, or a page was loaded anew before it was there. Of the tokens that it then gave, the newest is good.

use super::UserView;
use crate::error::{ApiError, Result};
use crate::kv::Kv;
use crate::random;
use redis::Script;
use sha2::{Digest, Sha256};
use std::sync::LazyLock;

/// How long a refresh token is good for, in seconds.
const REFRESH_SECONDS: u64 = 7 * 24 * 3600;

/// How long the token used last may come again, in seconds.
const GRACE_SECONDS: u64 = 10;

// KEYS[1] the family; ARGV: hash of the given token, hash of the next one, seconds to live, seconds of grace
static ROTATE: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        r"
        local current, used, used_at = unpack(redis.call('HMGET', KEYS[1], 'hash', 'used', 'used_at'))
        if not current then return {'unknown', '', '0'} end
        local now = tonumber(redis.call('TIME')[1])
        if current == ARGV[1] then
            redis.call('HSET', KEYS[1], 'used', current, 'used_at', now)
        elseif used ~= ARGV[1] or now - used_at >= tonumber(ARGV[4]) then
            redis.call('DEL', KEYS[1])
            return {'reused', '', '0'}
        end
        redis.call('HSET', KEYS[1], 'hash', ARGV[2])
        redis.call('EXPIRE', KEYS[1], ARGV[3])
        return {'ok', redis.call('HGET', KEYS[1], 'user'), redis.call('HGET', KEYS[1], 'began') or '0'}
        ",
    )
});

fn key(family: &str) -> String {
    format!("session:{family}")
}

fn hash(secret: &str) -> String {
    hex::encode(Sha256::digest(secret.as_bytes()))
}

fn split(token: &str) -> Result<(&str, &str)> {
    token
        .split_once('.')
        .filter(|(family, secret)| family.len() == 16 && secret.len() == 32)
        .ok_or_else(|| ApiError::unauthorized("bad_refresh_token", "this is no refresh token"))
}

/// Begins a family of refresh tokens and returns the first. It is good for as long as the account's sessions are those
/// that it was read with: a password may have been right when it was looked up, and be nobody's by now.
pub async fn begin(kv: &Kv, user: &UserView) -> Result<String> {
    let (family, secret) = (random::code(16), random::code(32));
    let since = user.sessions_since.to_string();
    let mut pipeline = redis::pipe();
    pipeline
        .atomic()
        .hset_multiple(key(&family), &[("user", &user.user_id), ("hash", &hash(&secret)), ("began", &since)])
        .ignore()
        .expire(key(&family), REFRESH_SECONDS as i64)
        .ignore();
    kv.pipe::<()>(&pipeline).await?;
    Ok(format!("{family}.{secret}"))
}

/// Exchanges a refresh token for the next one; also tells whose it is, and which of the account's sessions it belongs to.
pub async fn rotate(kv: &Kv, token: &str) -> Result<(String, i64, String)> {
    let (family, secret) = split(token)?;
    let next = random::code(32);
    let mut call = ROTATE.key(key(family));
    call.arg(hash(secret)).arg(hash(&next)).arg(REFRESH_SECONDS).arg(GRACE_SECONDS);
    let (outcome, user_id, began): (String, String, i64) = kv.script(&call).await?;
    match outcome.as_str() {
        "ok" => Ok((user_id, began, format!("{family}.{next}"))),
        "reused" => {
            tracing::warn!(family, "a refresh token was used twice: its session has ended");
            Err(ApiError::unauthorized("refresh_token_reused", "this token was used before; log in again"))
        }
        _ => Err(ApiError::unauthorized("bad_refresh_token", "the session has ended; log in again")),
    }
}

/// Ends the session that this token belongs to. Ending one that has ended is no error.
pub async fn end(kv: &Kv, token: &str) -> Result<()> {
    let (family, _) = split(token)?;
    kv.run::<()>(&redis::Cmd::del(key(family))).await?;
    Ok(())
}
