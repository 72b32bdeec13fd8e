//! Passwords: argon2id, on threads of their own and only a few at a time, since each takes 19 MiB and tens of
//! milliseconds of one core.

use crate::error::{ApiError, Result};
use argon2::{Argon2, PasswordHash, PasswordHasher, PasswordVerifier};
use std::sync::LazyLock;
use tokio::sync::Semaphore;

static WORKERS: LazyLock<Semaphore> =
    LazyLock::new(|| Semaphore::new(std::thread::available_parallelism().map_or(2, usize::from)));

/// Verified against when there is no account, so that the answer takes as long as with one.
static NOBODY: LazyLock<String> = LazyLock::new(|| hash_now("nobody's password").unwrap_or_default());

fn hash_now(password: &str) -> Result<String> {
    Argon2::default().hash_password(password.as_bytes()).map(|hash| hash.to_string()).map_err(ApiError::internal)
}

async fn off_thread<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T> {
    let _permit = WORKERS.acquire().await.map_err(ApiError::internal)?;
    tokio::task::spawn_blocking(work).await.map_err(ApiError::internal)
}

/// Hashes a password; 422 when it is too short or too long.
pub async fn hash(password: &str) -> Result<String> {
    if !(8..=200).contains(&password.chars().count()) {
        return Err(ApiError::invalid("bad_password", "password must have 8 to 200 characters"));
    }
    let password = password.to_owned();
    off_thread(move || hash_now(&password)).await?
}

/// Whether `password` is the one that was hashed.
pub async fn verify(password: &str, hash: Option<&str>) -> Result<bool> {
    let password = password.to_owned();
    let known = hash.map(str::to_owned);
    off_thread(move || {
        let exists = known.is_some();
        let hash = known.unwrap_or_else(|| NOBODY.clone());
        let parsed = PasswordHash::new(&hash).map_err(ApiError::internal)?;
        Ok(Argon2::default().verify_password(password.as_bytes(), &parsed).is_ok() && exists)
    })
    .await?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_the_right_password_matches() {
        let hashed = hash("correct horse").await.expect("hashes");
        assert!(hashed.starts_with("$argon2id$"), "{hashed}");
        assert!(verify("correct horse", Some(&hashed)).await.expect("verifies"));
        assert!(!verify("wrong horse", Some(&hashed)).await.expect("verifies"));
        assert!(!verify("nobody's password", None).await.expect("verifies"));
        assert_eq!(hash("short").await.expect_err("too short").code, "bad_password");
    }
}
