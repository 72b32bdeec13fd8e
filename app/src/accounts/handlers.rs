//! Sign-up, login, refresh, logout.

use super::tokens::{ACCESS_SECONDS, Caller};
use super::{Role, UserView, sessions};
use crate::error::{ApiError, Problem, Result};
use crate::http::extract::Json;
use crate::state::AppState;
use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

/// Routes of accounts.
pub fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(signup))
        .routes(routes!(login))
        .routes(routes!(refresh))
        .routes(routes!(logout))
        .routes(routes!(me))
}

#[derive(Deserialize, ToSchema)]
struct Signup {
    /// E-mail address, to log in with
    email: String,
    /// 8 to 200 characters
    #[schema(min_length = 8, max_length = 200)]
    password: String,
    /// Name to show
    #[schema(min_length = 1, max_length = 100)]
    name: String,
}

#[derive(Deserialize, ToSchema)]
struct Login {
    email: String,
    password: String,
}

#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct Refresh {
    refresh_token: String,
}

/// Tokens of a session
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct SessionView {
    /// For the `Authorization: Bearer` header
    access_token: String,
    /// Good once, for the next pair of tokens; again for ten seconds, should their answer be lost. Absent while sessions
    /// cannot be stored: log in again later.
    refresh_token: Option<String>,
    /// Seconds until the access token expires
    expires_in: i64,
    user: UserView,
}

/// Create an account
#[utoipa::path(post, path = "/api/auth/signup", tag = "accounts", request_body = Signup, responses(
    (status = 201, description = "created", body = UserView),
    (status = 409, description = "`email_taken`", body = Problem),
    (status = 422, description = "`bad_email`, `bad_password`, `bad_name`", body = Problem)))]
async fn signup(State(state): State<AppState>, Json(body): Json<Signup>) -> Result<(StatusCode, axum::Json<UserView>)> {
    let user = super::create(&state.db, &body.email, &body.password, &body.name, Role::User).await?;
    Ok((StatusCode::CREATED, axum::Json(user)))
}

/// Log in
#[utoipa::path(post, path = "/api/auth/login", tag = "accounts", request_body = Login, responses(
    (status = 200, description = "logged in", body = SessionView),
    (status = 401, description = "`bad_credentials`", body = Problem),
    (status = 429, description = "`too_many_attempts`: too many wrong passwords", body = Problem)))]
async fn login(State(state): State<AppState>, Json(body): Json<Login>) -> Result<axum::Json<SessionView>> {
    let account = body.email.trim().to_lowercase();
    // No account has such an address: it is not to be remembered either.
    if account.len() > 254 {
        return Err(ApiError::unauthorized("bad_credentials", "wrong e-mail address or password"));
    }
    let _turn = state.logins.turn(&account).await;
    state.logins.guess(&account).await?;
    let outcome = super::authenticate(&state.db, &account, &body.password).await;
    if !matches!(&outcome, Err(error) if error.code == "bad_credentials") {
        state.logins.take_back(&account).await;
    }
    Ok(axum::Json(open_session(&state, outcome?).await?))
}

/// A new session of somebody who has proven who it is.
pub async fn open_session(state: &AppState, user: UserView) -> Result<SessionView> {
    let refresh_token = match sessions::begin(&state.kv, &user).await {
        Ok(token) => Some(token),
        // Selling goes on without Redis, so logging in must too.
        Err(error) => {
            tracing::warn!(%error, "logged in without a refresh token");
            None
        }
    };
    Ok(SessionView { access_token: state.tokens.access(&user)?, refresh_token, expires_in: ACCESS_SECONDS, user })
}

/// Exchange a refresh token for new tokens
#[utoipa::path(post, path = "/api/auth/refresh", tag = "accounts", request_body = Refresh, responses(
    (status = 200, description = "new tokens", body = SessionView),
    (status = 401, description = "`bad_refresh_token`, or `refresh_token_reused`: the session has ended", body = Problem),
    (status = 503, description = "`database_unavailable`, `redis_unavailable`: the token stays good", body = Problem)))]
async fn refresh(State(state): State<AppState>, Json(body): Json<Refresh>) -> Result<axum::Json<SessionView>> {
    // Without the database there is no new session to tell of: the token is not to be used up for nothing.
    if !state.health.database_ready() {
        return Err(ApiError::unavailable("database_unavailable", "the database cannot be reached at the moment"));
    }
    let (user_id, since, next) = sessions::rotate(&state.kv, &body.refresh_token).await?;
    let user = super::by_session(&state.db, &user_id, since)
        .await?
        .ok_or_else(|| ApiError::unauthorized("bad_refresh_token", "the session has ended; log in again"))?;
    Ok(axum::Json(SessionView {
        access_token: state.tokens.access(&user)?,
        refresh_token: Some(next),
        expires_in: ACCESS_SECONDS,
        user,
    }))
}

/// End a session
#[utoipa::path(post, path = "/api/auth/logout", tag = "accounts", request_body = Refresh, responses(
    (status = 204, description = "the refresh token is worth nothing any more"),
    (status = 401, description = "`bad_refresh_token`", body = Problem)))]
async fn logout(State(state): State<AppState>, Json(body): Json<Refresh>) -> Result<StatusCode> {
    sessions::end(&state.kv, &body.refresh_token).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Who am I
#[utoipa::path(get, path = "/api/auth/me", tag = "accounts", security(("bearer" = [])), responses(
    (status = 200, description = "the caller's account", body = UserView),
    (status = 401, description = "`login_needed`, `token_expired`, `bad_token`", body = Problem)))]
async fn me(State(state): State<AppState>, caller: Caller) -> Result<axum::Json<UserView>> {
    let user = super::by_id(&state.db, &caller.user_id).await?.ok_or_else(|| ApiError::not_found("account"))?;
    Ok(axum::Json(user))
}
