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
    let permit = WORKERS.acquire().await.map_err(ApiError::internal)?;
    // The work goes on when whoever asked for it has gone: the permit is the work's.
    let work = move || {
        let _permit = permit;
        work()
    };
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
    use std::time::Duration;

    #[tokio::test]
    async fn only_the_right_password_matches() {
        let hashed = hash("correct horse").await.expect("hashes");
        assert!(hashed.starts_with("$argon2id$"), "{hashed}");
        assert!(verify("correct horse", Some(&hashed)).await.expect("verifies"));
        assert!(!verify("wrong horse", Some(&hashed)).await.expect("verifies"));
        assert!(!verify("nobody's password", None).await.expect("verifies"));
        assert_eq!(hash("short").await.expect_err("too short").code, "bad_password");
    }

    #[tokio::test]
    async fn work_that_nobody_waits_for_any_more_still_counts() {
        let soon = Duration::from_millis(50);
        let mut ends = Vec::new();
        for _ in 0..std::thread::available_parallelism().map_or(2, usize::from) {
            let (end, ended) = std::sync::mpsc::channel::<()>();
            ends.push(end);
            let given_up = tokio::time::timeout(soon, off_thread(move || ended.recv())).await;
            assert!(given_up.is_err(), "it has not ended");
        }
        assert!(tokio::time::timeout(soon, off_thread(|| ())).await.is_err(), "all are at work");
        drop(ends);
        off_thread(|| ()).await.expect("works");
    }
}
