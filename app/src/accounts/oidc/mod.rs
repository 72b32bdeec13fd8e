//! Logging in at an OpenID provider, such as Google: the authorization code flow with PKCE, state and nonce.
//!
//! What has to be remembered meanwhile is in a signed cookie of the browser, so that any instance can finish what
//! another began, and a code is worth nothing in another browser.

mod handlers;

pub use handlers::routes;

use super::identities::Identity;
use crate::config::OidcArgs;
use crate::https::{HttpsClient, HttpsError};
use anyhow::{Context, bail, ensure};
use moka::future::Cache;
use openidconnect::core::{
    CoreAuthenticationFlow, CoreClient, CoreClientAuthMethod, CoreIdToken, CoreIdTokenClaims, CoreProviderMetadata,
    CoreTokenResponse, CoreUserInfoClaims,
};
use openidconnect::{
    AccessTokenHash, AsyncHttpClient, AuthType, AuthorizationCode, ClientId, ClientSecret, CsrfToken, EndpointMaybeSet,
    EndpointNotSet, EndpointSet, HttpRequest, HttpResponse, IssuerUrl, Nonce, OAuth2TokenResponse, PkceCodeChallenge,
    PkceCodeVerifier, RedirectUrl, Scope, TokenResponse,
};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use std::time::Duration;

/// How long what a provider says about itself is believed.
const METADATA_LIFE: Duration = Duration::from_secs(600);
/// Where the provider sends browsers back to.
const CALLBACK: &str = "/api/auth/oidc/callback";

type Client =
    CoreClient<EndpointSet, EndpointNotSet, EndpointNotSet, EndpointNotSet, EndpointMaybeSet, EndpointMaybeSet>;

/// A provider that people can log in at.
pub struct Oidc {
    /// What people know it as
    pub name: String,
    /// Where browsers see this service, without a slash at the end
    pub public_url: String,
    issuer: IssuerUrl,
    id: ClientId,
    secret: ClientSecret,
    callback: RedirectUrl,
    https: HttpsClient,
    client: Cache<(), Arc<Client>>,
}

/// A login that has begun.
#[derive(Serialize, Deserialize)]
struct Attempt {
    state: String,
    nonce: String,
    verifier: String,
    /// Where on the page it began
    back: String,
}

impl<'c> AsyncHttpClient<'c> for HttpsClient {
    type Error = HttpsError;
    type Future = futures::future::BoxFuture<'c, Result<HttpResponse, HttpsError>>;

    fn call(&'c self, request: HttpRequest) -> Self::Future {
        Box::pin(self.send(request))
    }
}

impl Oidc {
    /// None unless a provider is configured. Connects to nothing yet.
    pub fn new(args: &OidcArgs) -> anyhow::Result<Option<Self>> {
        let Some(issuer) = &args.issuer else { return Ok(None) };
        let need = |value: &Option<String>, name: &str| {
            value.clone().with_context(|| format!("--oidc-issuer needs {name} as well"))
        };
        let public_url = need(&args.public_url, "--public-url")?.trim_end_matches('/').to_owned();
        ensure!(issuer.len() <= 255 && issuer.is_ascii(), "--oidc-issuer must have 255 ASCII characters at most");
        Ok(Some(Self {
            name: args.name.clone(),
            issuer: IssuerUrl::new(issuer.clone()).context("--oidc-issuer is no address")?,
            id: ClientId::new(need(&args.client_id, "--oidc-client-id")?),
            secret: ClientSecret::new(need(&args.client_secret, "TICKETING_OIDC_CLIENT_SECRET")?),
            callback: RedirectUrl::new(format!("{public_url}{CALLBACK}")).context("--public-url is no address")?,
            public_url,
            https: HttpsClient::new(args.ca_file.as_deref())?,
            client: Cache::builder().max_capacity(1).time_to_live(METADATA_LIFE).build(),
        }))
    }

    /// The provider, as it names itself.
    fn issuer(&self) -> &str {
        self.issuer.as_str()
    }

    /// The client for what the provider says about itself: its addresses and keys.
    async fn client(&self) -> anyhow::Result<Arc<Client>> {
        let discover = async {
            let told = CoreProviderMetadata::discover_async(self.issuer.clone(), &self.https)
                .await
                .with_context(|| format!("{} cannot be asked about itself", self.issuer.as_str()))?;
            // OpenID Connect Discovery 1.0, 3: without a list it is `client_secret_basic`.
            let methods = told.token_endpoint_auth_methods_supported();
            let basic = methods.is_none_or(|methods| methods.contains(&CoreClientAuthMethod::ClientSecretBasic));
            let client = CoreClient::from_provider_metadata(told, self.id.clone(), Some(self.secret.clone()))
                .set_redirect_uri(self.callback.clone())
                .set_auth_type(if basic { AuthType::BasicAuth } else { AuthType::RequestBody });
            anyhow::Ok(Arc::new(client))
        };
        self.client.try_get_with((), discover).await.map_err(|error| anyhow::anyhow!("{error:#}"))
    }

    /// The provider's page to log in, and what is to be remembered until its answer.
    async fn begin(&self, back: String) -> anyhow::Result<(String, Attempt)> {
        let (challenge, verifier) = PkceCodeChallenge::new_random_sha256();
        let (url, state, nonce) = self
            .client()
            .await?
            .authorize_url(CoreAuthenticationFlow::AuthorizationCode, CsrfToken::new_random, Nonce::new_random)
            .add_scope(Scope::new("email".into()))
            .add_scope(Scope::new("profile".into()))
            .set_pkce_challenge(challenge)
            .url();
        let attempt = Attempt {
            state: state.into_secret(),
            nonce: nonce.secret().clone(),
            verifier: verifier.into_secret(),
            back,
        };
        Ok((url.into(), attempt))
    }

    /// Exchanges a code for what the provider says about who logged in.
    async fn finish(&self, attempt: &Attempt, code: String) -> anyhow::Result<Identity> {
        let client = self.client().await?;
        let tokens = client
            .exchange_code(AuthorizationCode::new(code))
            .context("the provider names no token endpoint")?
            .set_pkce_verifier(PkceCodeVerifier::new(attempt.verifier.clone()))
            .request_async(&self.https)
            .await
            .context("the code was not accepted")?;
        let token = tokens.id_token().context("the answer has no ID token")?;
        let nonce = Nonce::new(attempt.nonce.clone());
        let claims = match verified(&client, token, &nonce) {
            Ok(claims) => claims.clone(),
            // Perhaps it has new keys: ask once more.
            Err(_) => {
                self.client.invalidate(&()).await;
                verified(&*self.client().await?, token, &nonce)?.clone()
            }
        };
        check_access_token(&client, &tokens, token, &claims)?;
        self.identity(&client, &tokens, &claims).await
    }

    /// What the ID token leaves out, the user-info endpoint tells (OpenID Connect Core 1.0, 5.4).
    async fn identity(
        &self,
        client: &Client,
        tokens: &CoreTokenResponse,
        claims: &CoreIdTokenClaims,
    ) -> anyhow::Result<Identity> {
        let mut email = claims.email().cloned();
        let mut verified = claims.email_verified();
        let mut name = claims.name().and_then(|name| name.get(None)).cloned();
        if email.is_none() {
            let more: CoreUserInfoClaims = client
                .user_info(tokens.access_token().clone(), Some(claims.subject().clone()))
                .context("the provider tells no address of the user")?
                .request_async(&self.https)
                .await
                .context("the provider does not tell about the user")?;
            email = more.email().cloned();
            verified = more.email_verified();
            name = name.or_else(|| more.name().and_then(|name| name.get(None)).cloned());
        }
        Ok(Identity {
            issuer: self.issuer.as_str().to_owned(),
            subject: claims.subject().as_str().to_owned(),
            verified_email: email.filter(|_| verified == Some(true)).map(|email| email.as_str().to_owned()),
            name: name.map(|name| name.as_str().to_owned()).unwrap_or_default(),
        })
    }
}

/// Signature, issuer, audience, times and nonce of an ID token.
fn verified<'t>(client: &Client, token: &'t CoreIdToken, nonce: &Nonce) -> anyhow::Result<&'t CoreIdTokenClaims> {
    token.claims(&client.id_token_verifier(), nonce).context("the ID token is not valid")
}

/// An access token that the ID token does not name is somebody else's.
fn check_access_token(
    client: &Client,
    tokens: &CoreTokenResponse,
    token: &CoreIdToken,
    claims: &CoreIdTokenClaims,
) -> anyhow::Result<()> {
    let Some(expected) = claims.access_token_hash() else { return Ok(()) };
    let verifier = client.id_token_verifier();
    let actual =
        AccessTokenHash::from_token(tokens.access_token(), token.signing_alg()?, token.signing_key(&verifier)?)?;
    if actual != *expected {
        bail!("the access token does not belong to the ID token");
    }
    Ok(())
}
