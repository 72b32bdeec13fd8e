//! An account of the drill's own, by which it sees whether writes go through and last: each puts a coin into its wallet.

use serde_json::{Value, json};
use std::time::{Duration, Instant};

use super::http::{Answer, Site};

/// How long a site may put a new account off: it may be busy, limit sign-ups, or still be getting over the last drill.
const PUT_OFF: Duration = Duration::from_secs(90);
/// What a sign-up may take: hashing a password is hard work by intention.
const PATIENCE: Duration = Duration::from_secs(30);
/// The pause before the next attempt when the site names none, and the longest one that is kept.
const PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

const SIGN_UP: &str = "/api/auth/signup";
const LOG_IN: &str = "/api/auth/login";
const WALLET: &str = "/api/wallets";

/// Who writes.
#[derive(Clone)]
pub struct Writer {
    login: String,
    token: String,
    wallet: String,
}

impl Writer {
    /// Signs up, and writes once.
    ///
    /// # Errors
    /// In words, why writes can't be tried on this site.
    pub async fn new(site: &Site) -> Result<Writer, String> {
        let site = site.with_patience(PATIENCE);
        let password = format!("{:032x}", rand::random::<u128>());
        let email = format!("drill-{:016x}@example.com", rand::random::<u64>());
        let signup = json!({"email": email, "password": password, "name": "Drill"}).to_string();
        // 409: it was made by an attempt whose answer got lost.
        insist(SIGN_UP, &[201, 409], async || site.ask("POST", SIGN_UP, None, Some(signup.clone())).await).await?;
        let login = json!({"email": email, "password": password}).to_string();
        let mut writer = Writer { login, token: String::new(), wallet: String::new() };
        insist(LOG_IN, &[200], async || writer.log_in(&site).await).await?;
        insist(WALLET, &[200], async || writer.write(&site).await).await?;
        Ok(writer)
    }

    async fn log_in(&mut self, site: &Site) -> Result<Answer, String> {
        let answer = site.ask("POST", LOG_IN, None, Some(self.login.clone())).await?;
        if answer.status == 200 {
            let session: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
            let text = |value: &Value| value.as_str().map(str::to_owned);
            let session = text(&session["accessToken"]).zip(text(&session["user"]["userId"]));
            (self.token, self.wallet) = session.ok_or("an answer without a session")?;
        }
        Ok(answer)
    }

    /// Puts a coin into the wallet: 200 acknowledges it.
    ///
    /// # Errors
    /// In words, why there was no answer.
    pub async fn write(&mut self, site: &Site) -> Result<Answer, String> {
        let coin = json!({"amount": 1}).to_string();
        self.ask(site, "POST", "/charge", Some(coin)).await
    }

    /// What is in the wallet, once the site tells.
    ///
    /// # Errors
    /// In words, why it doesn't.
    pub async fn balance(&mut self, site: &Site) -> Result<usize, String> {
        let wallet = insist(WALLET, &[200], async || self.ask(site, "GET", "", None).await).await?;
        let wallet: Value = serde_json::from_slice(&wallet.body).unwrap_or_default();
        let balance = wallet["balance"].as_u64().and_then(|balance| usize::try_from(balance).ok());
        balance.ok_or_else(|| format!("{WALLET} answers with no balance"))
    }

    async fn ask(&mut self, site: &Site, method: &str, what: &str, body: Option<String>) -> Result<Answer, String> {
        let path = format!("{WALLET}/{}{what}", self.wallet);
        let answer = site.ask(method, &path, Some(&self.token), body.clone()).await?;
        // A drill may last longer than a session.
        if answer.status == 401 && self.log_in(&site.with_patience(PATIENCE)).await?.status == 200 {
            return site.ask(method, &path, Some(&self.token), body).await;
        }
        Ok(answer)
    }
}

/// Asks until the answer has one of these statuses, as long as trying again may help.
async fn insist(
    path: &str,
    wanted: &[u16],
    mut ask: impl AsyncFnMut() -> Result<Answer, String>,
) -> Result<Answer, String> {
    let begun = Instant::now();
    loop {
        let (why, again) = match ask().await {
            Ok(answer) if wanted.contains(&answer.status) => return Ok(answer),
            Ok(answer) => {
                let pause = answer.retry_after.unwrap_or(PAUSE).clamp(PAUSE, LONGEST_PAUSE);
                (
                    format!("{path} answers {}", answer.status),
                    matches!(answer.status, 408 | 429 | 500..).then_some(pause),
                )
            }
            Err(error) => (format!("{path}: {error}"), Some(PAUSE)),
        };
        match again {
            Some(pause) if begun.elapsed() + pause < PUT_OFF => tokio::time::sleep(pause).await,
            _ => return Err(why),
        }
    }
}
