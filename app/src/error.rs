//! Errors of the API: RFC 9457 problem details with stable codes.

use crate::db;
use crate::kv::KvError;
use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use std::borrow::Cow;
use utoipa::ToSchema;

/// The body of every answer that is an error (`application/problem+json`).
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Problem {
    /// `urn:ticketing:problem:` and the code
    #[serde(rename = "type")]
    pub kind: String,
    /// The HTTP status in words
    pub title: String,
    /// The HTTP status
    pub status: u16,
    /// What programs should look at: it stays the same across releases
    pub code: Cow<'static, str>,
    /// What is wrong and what to do, for people
    pub detail: String,
}

/// An error that a handler answers with.
#[derive(Clone, Debug)]
pub struct ApiError {
    /// HTTP status
    pub status: StatusCode,
    /// Stable code
    pub code: Cow<'static, str>,
    /// Explanation
    pub detail: Cow<'static, str>,
    /// Seconds after which it makes sense to try again
    pub retry_after: Option<u64>,
}

/// What handlers and everything beneath them return.
pub type Result<T, E = ApiError> = std::result::Result<T, E>;

impl ApiError {
    /// An error with any status. The functions below cover the usual ones.
    pub fn new(status: StatusCode, code: &'static str, detail: impl Into<Cow<'static, str>>) -> Self {
        Self { status, code: Cow::Borrowed(code), detail: detail.into(), retry_after: None }
    }

    /// 404
    pub fn not_found(what: &str) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not_found", format!("no such {what}"))
    }

    /// 422: understood, but not acceptable
    pub fn invalid(code: &'static str, detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, code, detail)
    }

    /// 409: the state of things does not allow it
    pub fn conflict(code: &'static str, detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::CONFLICT, code, detail)
    }

    /// 403
    pub fn forbidden(code: &'static str, detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::FORBIDDEN, code, detail)
    }

    /// 401
    pub fn unauthorized(code: &'static str, detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, code, detail)
    }

    /// 503 with `Retry-After`, spread so that clients do not return all at once
    pub fn unavailable(code: &'static str, detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, code, detail).retry_after(crate::random::jitter(3))
    }

    /// 429 with `Retry-After`
    pub fn too_many(code: &'static str, detail: impl Into<Cow<'static, str>>, seconds: u64) -> Self {
        Self::new(StatusCode::TOO_MANY_REQUESTS, code, detail).retry_after(seconds)
    }

    /// 500: a bug, told in the log and not to the client
    pub fn internal(error: impl std::fmt::Display) -> Self {
        tracing::error!(%error, "internal error");
        Self::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "internal",
            "an internal error occurred; the log has it under this request's id",
        )
    }

    /// Sets `Retry-After`.
    pub fn retry_after(mut self, seconds: u64) -> Self {
        self.retry_after = Some(seconds.max(1));
        self
    }
}

impl std::fmt::Display for ApiError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}: {}", self.status.as_u16(), self.code, self.detail)
    }
}

impl std::error::Error for ApiError {}

impl From<sqlx::Error> for ApiError {
    fn from(error: sqlx::Error) -> Self {
        if db::is_unavailable(&error) {
            tracing::warn!(%error, "the database is unavailable");
            Self::unavailable("database_unavailable", "the database cannot be reached at the moment")
        } else if db::is_contention(&error) {
            tracing::warn!(%error, "gave up after contention");
            Self::unavailable("busy", "too many changes to the same thing at once")
        } else {
            Self::internal(error)
        }
    }
}

impl From<KvError> for ApiError {
    fn from(error: KvError) -> Self {
        tracing::warn!(%error, "redis is needed for this");
        Self::unavailable("redis_unavailable", "a needed part of the service cannot be reached at the moment")
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let problem = Problem {
            kind: format!("urn:ticketing:problem:{}", self.code),
            title: self.status.canonical_reason().unwrap_or("Error").to_owned(),
            status: self.status.as_u16(),
            code: self.code,
            detail: self.detail.into_owned(),
        };
        let mut response = (self.status, Json(problem)).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if let Some(seconds) = self.retry_after {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if self.status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}
