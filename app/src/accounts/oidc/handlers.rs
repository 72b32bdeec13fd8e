//! The API of logging in at a provider.

use super::{Attempt, Oidc};
use crate::accounts::handlers::{SessionView, open_session};
use crate::accounts::tokens::Purpose;
use crate::accounts::{by_session, identities};
use crate::error::{ApiError, Problem, Result};
use crate::http::extract::Query;
use crate::random;
use crate::state::AppState;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

/// How long somebody may take at the provider, in seconds.
const ATTEMPT_SECONDS: i64 = 600;
/// How long the page may take to fetch the session, in seconds.
const TICKET_SECONDS: i64 = 60;
/// The cookie of a login that has begun.
const ATTEMPT: &str = "ticketing-login";
/// The cookie that is good once, for a session.
const TICKET: &str = "ticketing-ticket";

/// Routes of logging in at a provider.
pub fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(providers))
        .routes(routes!(start))
        .routes(routes!(callback))
        .routes(routes!(session))
}

/// Where one can log in besides here
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct ProviderView {
    /// What people know it as
    name: String,
    /// Where to send the browser
    start_path: &'static str,
}

#[derive(Default, Deserialize, IntoParams)]
#[serde(default)]
#[into_params(parameter_in = Query)]
struct Start {
    /// Where on the page to come back to, such as `/#/events/3`
    #[param(max_length = 100)]
    back: String,
}

/// What the provider answers (OpenID Connect Core 1.0, 3.1.2.5; RFC 9207)
#[derive(Default, Deserialize, IntoParams)]
#[serde(default)]
#[into_params(parameter_in = Query)]
struct Callback {
    code: Option<String>,
    state: Option<String>,
    error: Option<String>,
    iss: Option<String>,
}

/// What the second cookie says.
#[derive(Serialize, Deserialize)]
struct Ticket {
    user: String,
    since: i64,
    jti: String,
}

fn provider(state: &AppState) -> Result<&Oidc> {
    state.oidc.as_ref().ok_or_else(|| ApiError::not_found("provider"))
}

/// A cookie for one path of ours. It is not sent along when other sites make requests, except, for `Lax`, when they
/// send the browser here.
fn cookie(oidc: &Oidc, name: &str, value: &str, path: &str, same_site: &str, seconds: i64) -> Result<HeaderValue> {
    let secure = if oidc.public_url.starts_with("https:") { "; Secure" } else { "" };
    let text = format!("{name}={value}; Path={path}; Max-Age={seconds}; HttpOnly; SameSite={same_site}{secure}");
    HeaderValue::from_str(&text).map_err(ApiError::internal)
}

fn cookie_of<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    let pairs = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    pairs.flat_map(|pairs| pairs.split(';')).find_map(|pair| pair.trim().strip_prefix(name)?.strip_prefix('='))
}

/// The wanted place on our own page, or its beginning.
fn place(back: &str) -> &str {
    let (path, fragment) = back.split_once('#').unwrap_or((back, ""));
    let harmless = fragment.bytes().all(|b| b.is_ascii_alphanumeric() || b"/-_".contains(&b));
    if ["/", "/staff"].contains(&path) && harmless && back.len() <= 100 { back } else { "/" }
}

/// Back to the page, which is told how it went.
fn to_page(back: &str, outcome: &str) -> String {
    match place(back).split_once('#') {
        Some((path, fragment)) => format!("{path}?login={outcome}#{fragment}"),
        None => format!("{}?login={outcome}", place(back)),
    }
}

fn redirect(to: &str, cookies: impl IntoIterator<Item = HeaderValue>) -> Response {
    let mut response = (StatusCode::SEE_OTHER, [(header::LOCATION, to)]).into_response();
    for cookie in cookies {
        response.headers_mut().append(header::SET_COOKIE, cookie);
    }
    response
}

/// The providers at which one can log in
#[utoipa::path(get, path = "/api/auth/providers", tag = "accounts", responses(
    (status = 200, description = "providers; none when none is configured", body = [ProviderView])))]
async fn providers(State(state): State<AppState>) -> axum::Json<Vec<ProviderView>> {
    let view = |oidc: &Oidc| ProviderView { name: oidc.name.clone(), start_path: "/api/auth/oidc/start" };
    axum::Json(state.oidc.iter().map(view).collect())
}

/// Begin to log in at the provider (for browsers)
#[utoipa::path(get, path = "/api/auth/oidc/start", tag = "accounts", params(Start), responses(
    (status = 303, description = "to the provider, or back to the page with `login=oidc_unavailable`"),
    (status = 404, description = "no provider is configured", body = Problem)))]
async fn start(State(state): State<AppState>, Query(wanted): Query<Start>) -> Result<Response> {
    let oidc = provider(&state)?;
    let back = place(&wanted.back);
    let (url, attempt) = match oidc.begin(back.to_owned()).await {
        Ok(begun) => begun,
        Err(error) => {
            tracing::warn!(error = format!("{error:#}"), "nobody can log in at the provider");
            return Ok(redirect(&to_page(back, "oidc_unavailable"), []));
        }
    };
    let expires = OffsetDateTime::now_utc().unix_timestamp() + ATTEMPT_SECONDS;
    let value = state.tokens.sign(Purpose::Login, expires, attempt)?;
    Ok(redirect(&url, [cookie(oidc, ATTEMPT, &value, "/api/auth/oidc", "Lax", ATTEMPT_SECONDS)?]))
}

/// Where the provider sends the browser back to
#[utoipa::path(get, path = "/api/auth/oidc/callback", tag = "accounts", params(Callback), responses(
    (status = 303, description = "to the page, with `login=done` or a code: `oidc_denied`, `oidc_email`, `oidc_taken`, `oidc_failed`"),
    (status = 404, description = "no provider is configured", body = Problem)))]
async fn callback(
    State(state): State<AppState>,
    headers: HeaderMap,
    Query(answer): Query<Callback>,
) -> Result<Response> {
    let oidc = provider(&state)?;
    let forget = cookie(oidc, ATTEMPT, "", "/api/auth/oidc", "Lax", 0)?;
    let attempt =
        cookie_of(&headers, ATTEMPT).and_then(|value| state.tokens.verify::<Attempt>(Purpose::Login, value).ok());
    let back = attempt.as_ref().map_or("/", |attempt| &attempt.back);
    match log_in(&state, oidc, attempt.as_ref(), answer).await {
        Ok(ticket) => {
            let ticket = cookie(oidc, TICKET, &ticket, "/api/auth/oidc/session", "Strict", TICKET_SECONDS)?;
            Ok(redirect(&to_page(back, "done"), [forget, ticket]))
        }
        Err(error) => {
            tracing::info!(%error, "a login at the provider failed");
            Ok(redirect(&to_page(back, &error.code), [forget]))
        }
    }
}

/// Checks the provider's answer and returns a ticket for a session.
async fn log_in(state: &AppState, oidc: &Oidc, attempt: Option<&Attempt>, answer: Callback) -> Result<String> {
    let failed = |detail: String| ApiError::invalid("oidc_failed", detail);
    let attempt = attempt
        .filter(|attempt| answer.state.as_ref() == Some(&attempt.state))
        .ok_or_else(|| failed("this login did not begin in this browser, or took too long".into()))?;
    if answer.iss.is_some_and(|issuer| issuer != oidc.issuer()) {
        return Err(failed("the answer comes from somebody else".into()));
    }
    match answer.error.as_deref() {
        Some("access_denied") => return Err(ApiError::forbidden("oidc_denied", "the user refused")),
        Some(error) => return Err(failed(format!("the provider says {error:?}"))),
        None => {}
    }
    let code = answer.code.ok_or_else(|| failed("the answer has no code".into()))?;
    let identity = oidc.finish(attempt, code).await.map_err(|error| failed(format!("{error:#}")))?;
    let user = identities::account_of(&state.db, &identity).await?;
    let expires = OffsetDateTime::now_utc().unix_timestamp() + TICKET_SECONDS;
    state.tokens.sign(
        Purpose::Ticket,
        expires,
        Ticket { user: user.user_id, since: user.sessions_since, jti: random::code(16) },
    )
}

/// Fetch the session after a login at the provider (for the page)
#[utoipa::path(post, path = "/api/auth/oidc/session", tag = "accounts", responses(
    (status = 200, description = "logged in", body = SessionView),
    (status = 401, description = "`login_needed`: nobody logged in at the provider just now", body = Problem),
    (status = 404, description = "no provider is configured", body = Problem)))]
async fn session(State(state): State<AppState>, headers: HeaderMap) -> Result<Response> {
    let oidc = provider(&state)?;
    let nobody = || ApiError::unauthorized("login_needed", "nobody logged in at the provider just now");
    let ticket = cookie_of(&headers, TICKET).ok_or_else(nobody)?;
    let ticket: Ticket = state.tokens.verify(Purpose::Ticket, ticket).map_err(|_| nobody())?;
    let mut once = redis::cmd("SET");
    once.arg(format!("ticket:{}", ticket.jti)).arg(1).arg("NX").arg("EX").arg(TICKET_SECONDS);
    match state.kv.run::<Option<String>>(&once).await {
        Ok(None) => return Err(nobody()),
        Ok(Some(_)) => {}
        // Logging in goes on without Redis. The cookie is still the browser's own, and good for a minute.
        Err(error) => tracing::debug!(%error, "a ticket is good by its signature alone"),
    }
    let user = by_session(&state.db, &ticket.user, ticket.since).await?.ok_or_else(nobody)?;
    let mut response = axum::Json(open_session(&state, user).await?).into_response();
    let forget = cookie(oidc, TICKET, "", "/api/auth/oidc/session", "Strict", 0)?;
    response.headers_mut().append(header::SET_COOKIE, forget);
    Ok(response)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn back_is_always_our_own_page() {
        assert_eq!(to_page("/#/events/3", "done"), "/?login=done#/events/3");
        assert_eq!(to_page("/staff", "done"), "/staff?login=done");
        for elsewhere in ["//evil.example", "https://evil.example", "/#\r\nx: y", "", "/api/auth/logout", "/\\evil"] {
            assert_eq!(to_page(elsewhere, "done"), "/?login=done", "{elsewhere:?}");
        }
    }

    #[test]
    fn cookies_are_told_apart() {
        let mut headers = HeaderMap::new();
        headers.insert(header::COOKIE, HeaderValue::from_static("a=1; ticketing-login2=x; ticketing-login=y=z"));
        assert_eq!(cookie_of(&headers, "ticketing-login"), Some("y=z"));
        assert_eq!(cookie_of(&headers, "b"), None);
    }
}
