//! Signed tokens: access tokens (JWT, HS256), and the key that others derive from the same secret.

use super::{Role, UserView};
use crate::error::{ApiError, Result};
use crate::state::AppState;
use axum::extract::{FromRequestParts, OptionalFromRequestParts};
use axum::http::header::AUTHORIZATION;
use axum::http::request::Parts;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation, errors::ErrorKind};
use moka::sync::Cache;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::sync::Arc;
use time::OffsetDateTime;

/// How long an access token is good for, in seconds.
pub const ACCESS_SECONDS: i64 = 30 * 60;

/// Access tokens that are remembered as genuine, at most.
const KNOWN: u64 = 4096;

/// Makes and checks signed tokens.
pub struct Tokens {
    encoding: EncodingKey,
    decoding: DecodingKey,
    validation: Validation,
    /// Access tokens that were found genuine, and until when they are good. One comes with each request of its owner.
    known: Cache<Box<str>, Arc<(Caller, i64)>>,
    ticket_seed: [u8; 32],
}

/// What a token is for: one kind is never accepted in another's place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Purpose {
    /// Says who calls
    Access,
    /// Lets its owner past the waiting queue
    Pass,
    /// Names held seats
    Hold,
    /// Remembers a login that has begun at a provider
    Login,
    /// Good for the session of who logged in at a provider
    Ticket,
}

#[derive(Serialize, Deserialize)]
struct Claims<T> {
    purpose: Purpose,
    exp: i64,
    #[serde(flatten)]
    body: T,
}

#[derive(Serialize, Deserialize)]
struct AccessBody {
    sub: String,
    role: Role,
    /// As the account had it
    #[serde(default, rename = "since")]
    sessions_since: i64,
}

impl Tokens {
    /// Every instance that is given the same secret accepts the others' tokens.
    pub fn new(secret: &str) -> Self {
        let mut digest = Sha256::new();
        digest.update(b"ticketing ticket signature v1\0");
        digest.update(secret.as_bytes());
        let mut validation = Validation::new(Algorithm::HS256);
        validation.leeway = 0;
        Self {
            encoding: EncodingKey::from_secret(secret.as_bytes()),
            decoding: DecodingKey::from_secret(secret.as_bytes()),
            validation,
            known: Cache::new(KNOWN),
            ticket_seed: digest.finalize().into(),
        }
    }

    /// The seed of the Ed25519 key that signs tickets.
    pub fn ticket_seed(&self) -> &[u8; 32] {
        &self.ticket_seed
    }

    /// Signs `body` until `expires` (Unix seconds).
    pub fn sign<T: Serialize>(&self, purpose: Purpose, expires: i64, body: T) -> Result<String> {
        let claims = Claims { purpose, exp: expires, body };
        jsonwebtoken::encode(&Header::new(Algorithm::HS256), &claims, &self.encoding).map_err(ApiError::internal)
    }

    /// The body of a token that is genuine, in time and meant for `purpose`.
    pub fn verify<T: DeserializeOwned>(&self, purpose: Purpose, token: &str) -> std::result::Result<T, TokenError> {
        Ok(self.claims(purpose, token)?.body)
    }

    fn claims<T: DeserializeOwned>(&self, purpose: Purpose, token: &str) -> std::result::Result<Claims<T>, TokenError> {
        let data =
            jsonwebtoken::decode::<Claims<T>>(token, &self.decoding, &self.validation).map_err(|error| match error
                .kind()
            {
                ErrorKind::ExpiredSignature => TokenError::Expired,
                _ => TokenError::Invalid,
            })?;
        if data.claims.purpose != purpose {
            return Err(TokenError::Invalid);
        }
        Ok(data.claims)
    }

    /// Who calls, by an access token.
    pub fn caller(&self, token: &str) -> std::result::Result<Caller, TokenError> {
        if let Some(known) = self.known.get(token) {
            let (caller, expires) = &*known;
            // As a token that isn't known is judged.
            let in_time = *expires >= OffsetDateTime::now_utc().unix_timestamp();
            return if in_time { Ok(caller.clone()) } else { Err(TokenError::Expired) };
        }
        let Claims { exp, body, .. } = self.claims::<AccessBody>(Purpose::Access, token)?;
        let caller = Caller { user_id: body.sub, role: body.role, sessions_since: body.sessions_since };
        self.known.insert(token.into(), Arc::new((caller.clone(), exp)));
        Ok(caller)
    }

    /// An access token for `user`.
    pub fn access(&self, user: &UserView) -> Result<String> {
        let expires = OffsetDateTime::now_utc().unix_timestamp() + ACCESS_SECONDS;
        let body = AccessBody { sub: user.user_id.clone(), role: user.role, sessions_since: user.sessions_since };
        self.sign(Purpose::Access, expires, body)
    }
}

/// Why a token is not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenError {
    /// It was good once
    Expired,
    /// It never was, at least not for this
    Invalid,
}

/// Who calls, by the access token in the `Authorization` header. As an extractor it answers 401 without one.
#[derive(Clone, Debug)]
pub struct Caller {
    /// The account's identifier
    pub user_id: String,
    /// What the account may do
    pub role: Role,
    /// The account's, when the token was given: what is to last longer than the token is for [`super::by_session`] to say
    pub sessions_since: i64,
}

impl Caller {
    /// 403 unless the caller is an ADMIN.
    pub fn require_admin(&self) -> Result<()> {
        match self.role {
            Role::Admin => Ok(()),
            _ => Err(ApiError::forbidden("admin_only", "this needs an account with the role ADMIN")),
        }
    }

    /// 403 unless the caller is STAFF or ADMIN.
    pub fn require_staff(&self) -> Result<()> {
        match self.role {
            Role::Staff | Role::Admin => Ok(()),
            Role::User => Err(ApiError::forbidden("staff_only", "this needs an account with the role STAFF")),
        }
    }

    /// 403 unless the caller acts for itself or is an ADMIN.
    pub fn require_self(&self, user_id: &str) -> Result<()> {
        if self.user_id == user_id || self.role == Role::Admin {
            return Ok(());
        }
        Err(ApiError::forbidden("not_yours", "this belongs to somebody else"))
    }
}

impl FromRequestParts<AppState> for Caller {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> Result<Self> {
        <Self as OptionalFromRequestParts<AppState>>::from_request_parts(parts, state)
            .await?
            .ok_or_else(|| ApiError::unauthorized("login_needed", "send an Authorization header with a Bearer token"))
    }
}

impl OptionalFromRequestParts<AppState> for Caller {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> Result<Option<Self>> {
        let Some(value) = parts.headers.get(AUTHORIZATION) else {
            return Ok(None);
        };
        let token = value
            .to_str()
            .ok()
            .and_then(|value| value.split_once(' '))
            .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
            .map(|(_, token)| token.trim())
            .ok_or_else(|| ApiError::unauthorized("bad_token", "the Authorization header holds no Bearer token"))?;
        match state.tokens.caller(token) {
            Ok(caller) => {
                if caller.role != Role::Admin {
                    state.user_limiter.check(&caller.user_id)?;
                }
                Ok(Some(caller))
            }
            Err(TokenError::Expired) => {
                Err(ApiError::unauthorized("token_expired", "the access token has expired; refresh it"))
            }
            Err(TokenError::Invalid) => Err(ApiError::unauthorized("bad_token", "the access token is not valid")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_only_good_for_its_purpose_time_and_secret() {
        let tokens = Tokens::new("a secret of at least thirty-two bytes");
        let soon = OffsetDateTime::now_utc().unix_timestamp() + 10;
        let body = || serde_json::json!({"sub": "U1"});
        let token = tokens.sign(Purpose::Pass, soon, body()).expect("signs");
        let read = |purpose, token: &str| tokens.verify::<serde_json::Value>(purpose, token);
        assert_eq!(read(Purpose::Pass, &token).expect("valid")["sub"], "U1");
        assert_eq!(read(Purpose::Access, &token), Err(TokenError::Invalid));
        let old = tokens.sign(Purpose::Pass, soon - 20, body()).expect("signs");
        assert_eq!(read(Purpose::Pass, &old), Err(TokenError::Expired));
        let known =
            tokens.sign(Purpose::Access, soon, serde_json::json!({"sub": "U1", "role": "USER"})).expect("signs");
        assert_eq!(tokens.caller(&known).expect("valid").user_id, "U1");
        assert_eq!(tokens.caller(&known).expect("known").user_id, "U1");
        tokens.known.insert(known.as_str().into(), Arc::new((tokens.caller(&known).expect("known"), soon - 20)));
        assert_eq!(tokens.caller(&known).map(|caller| caller.user_id), Err(TokenError::Expired));
        let other = Tokens::new("another secret of thirty-two bytes!!");
        assert_eq!(other.verify::<serde_json::Value>(Purpose::Pass, &token), Err(TokenError::Invalid));
    }
}
