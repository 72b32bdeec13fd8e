//! On an instance: addresses from SSM's parameter store and passwords from Secrets Manager.
//!
//! Below the prefix are `database/endpoint`, `database/name`, `database/secret-arn` (JSON with `username` and
//! `password`), `redis/endpoint` (TLS), `redis/secret-arn` (text), `jwt/secret-arn` (text), and perhaps `queue/url`,
//! `events-topic/arn`, `email-topic/arn`, and for a login at an OpenID provider `oidc/issuer`, `oidc/client-id`, `oidc/secret-arn` (text)
//! and `public-url`. The instance may be there before them: then it waits.

use crate::config::{DiscoveryArgs, ServeArgs};
use crate::db;
use anyhow::Context;
use aws_config::{BehaviorVersion, SdkConfig};
use aws_sdk_ssm::error::DisplayErrorContext;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;
use sqlx::MySqlPool;
use std::collections::HashMap;
use std::time::Duration;

/// How long to wait for parameters that are not there yet.
const PAUSE: Duration = Duration::from_secs(2);
/// How often to look for a changed password; RDS changes a managed one every week.
const PASSWORD_PAUSE: Duration = Duration::from_secs(60);

/// Finds out what a process was not told.
pub struct Discovery {
    prefix: String,
    database_options: String,
    config: SdkConfig,
}

#[derive(Deserialize)]
struct Login {
    username: String,
    password: String,
}

type Parameters = HashMap<String, String>;

fn encoded(text: &str) -> String {
    utf8_percent_encode(text, NON_ALPHANUMERIC).to_string()
}

fn need<'a>(parameters: &'a Parameters, name: &str) -> anyhow::Result<&'a str> {
    parameters.get(name).map(String::as_str).with_context(|| format!("the parameter {name} is missing"))
}

impl Discovery {
    /// Region, credentials and endpoint come from the environment or the instance's role.
    pub async fn new(args: &DiscoveryArgs) -> anyhow::Result<Self> {
        let prefix = args.parameters.as_deref().context("there is no prefix of parameters")?;
        Ok(Self {
            prefix: prefix.trim_end_matches('/').to_owned(),
            database_options: args.database_options.clone(),
            config: aws_config::defaults(BehaviorVersion::latest()).load().await,
        })
    }

    async fn parameters(&self) -> anyhow::Result<Parameters> {
        let client = aws_sdk_ssm::Client::new(&self.config);
        let call = client.get_parameters_by_path().path(&self.prefix).recursive(true).with_decryption(true);
        let mut pages = call.into_paginator().send();
        let mut found = HashMap::new();
        while let Some(page) = pages.next().await {
            let page = page.map_err(|error| {
                anyhow::anyhow!("parameters below {} cannot be read: {}", self.prefix, DisplayErrorContext(error))
            })?;
            for parameter in page.parameters.unwrap_or_default() {
                if let (Some(name), Some(value)) = (parameter.name, parameter.value) {
                    let name = name.strip_prefix(&self.prefix).unwrap_or(&name).trim_start_matches('/').to_owned();
                    found.insert(name, value);
                }
            }
        }
        Ok(found)
    }

    async fn secret(&self, arn: &str) -> anyhow::Result<String> {
        let client = aws_sdk_secretsmanager::Client::new(&self.config);
        let answer = client.get_secret_value().secret_id(arn).send().await;
        let answer = answer
            .map_err(|error| anyhow::anyhow!("the secret {arn} cannot be read: {}", DisplayErrorContext(error)))?;
        answer.secret_string.with_context(|| format!("the secret {arn} is no text"))
    }

    /// The address of the database, with its present password.
    pub async fn database_url(&self) -> anyhow::Result<String> {
        let parameters = self.parameters().await?;
        self.database_url_from(&parameters).await
    }

    async fn database_url_from(&self, parameters: &Parameters) -> anyhow::Result<String> {
        let endpoint = need(parameters, "database/endpoint")?;
        let name = need(parameters, "database/name")?;
        let arn = need(parameters, "database/secret-arn")?;
        let login: Login = serde_json::from_str(&self.secret(arn).await?)
            .with_context(|| format!("the secret {arn} is not JSON with username and password"))?;
        let (user, password) = (encoded(&login.username), encoded(&login.password));
        Ok(format!("mysql://{user}:{password}@{}/{name}?{}", with_port(endpoint, 3306), self.database_options))
    }

    async fn redis_url_from(&self, parameters: &Parameters) -> anyhow::Result<String> {
        let endpoint = with_port(need(parameters, "redis/endpoint")?, 6379);
        let password = self.secret(need(parameters, "redis/secret-arn")?).await?;
        Ok(format!("rediss://:{}@{endpoint}/", encoded(&password)))
    }

    /// Fills in what is missing, as soon as it can be found.
    pub async fn complete(&self, args: &mut ServeArgs) -> anyhow::Result<()> {
        loop {
            match self.complete_now(args).await {
                Ok(()) => return Ok(()),
                Err(error) => tracing::info!(error = format!("{error:#}"), "waiting for what the stack tells"),
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    async fn complete_now(&self, args: &mut ServeArgs) -> anyhow::Result<()> {
        let parameters = self.parameters().await?;
        if args.database.url.is_none() {
            args.database.url = Some(self.database_url_from(&parameters).await?);
        }
        if args.redis.url.is_none() {
            args.redis.url = Some(self.redis_url_from(&parameters).await?);
        }
        if args.secret.jwt_secret.is_none() {
            args.secret.jwt_secret = Some(self.secret(need(&parameters, "jwt/secret-arn")?).await?);
        }
        let oidc = &mut args.oidc;
        for (value, name) in [
            (&mut oidc.issuer, "oidc/issuer"),
            (&mut oidc.client_id, "oidc/client-id"),
            (&mut oidc.public_url, "public-url"),
        ] {
            *value = value.take().or(parameters.get(name).cloned());
        }
        if let (None, Some(arn)) = (&oidc.client_secret, parameters.get("oidc/secret-arn")) {
            oidc.client_secret = Some(self.secret(arn).await?);
        }
        let messaging = &mut args.messaging;
        messaging.sns_topic_arn = messaging.sns_topic_arn.take().or(parameters.get("events-topic/arn").cloned());
        messaging.sns_email_topic_arn =
            messaging.sns_email_topic_arn.take().or(parameters.get("email-topic/arn").cloned());
        messaging.sqs_queue_url = messaging.sqs_queue_url.take().or(parameters.get("queue/url").cloned());
        Ok(())
    }

    /// Gives new connections the present password, until the task is dropped.
    pub async fn follow_password(&self, pool: &MySqlPool) {
        loop {
            tokio::time::sleep(PASSWORD_PAUSE).await;
            match self.database_url().await.and_then(|url| db::options(&url)) {
                Ok(options) => pool.set_connect_options(options),
                Err(error) => tracing::warn!(error = format!("{error:#}"), "the database's password is not known anew"),
            }
        }
    }
}

/// Endpoints may come with or without a port.
fn with_port(endpoint: &str, port: u16) -> String {
    if endpoint.contains(':') { endpoint.to_owned() } else { format!("{endpoint}:{port}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_and_endpoints_survive_in_an_address() {
        let url = format!("mysql://a:{}@{}/ticketing", encoded("p@ss/w:rd?#%"), with_port("db.internal", 3306));
        let options = db::options(&url).expect("an address");
        assert_eq!(options.get_host(), "db.internal");
        assert_eq!(with_port("db:3307", 3306), "db:3307");
    }
}
