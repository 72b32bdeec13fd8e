//! What happens around every request: an id, a time limit, security headers, a line in the log.

use crate::error::ApiError;
use crate::state::AppState;
use crate::telemetry::traces;
use axum::extract::{ConnectInfo, MatchedPath, Request, State};
use axum::http::{HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};
use tracing::Instrument;
use tracing::field::Empty;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The outermost layer.
pub async fn surround(State(state): State<AppState>, request: Request, next: Next) -> Response {
    let started = Instant::now();
    let id = request_id(&request);
    let method = request.method().clone();
    let docs = request.uri().path().starts_with("/docs");
    let route = request.extensions().get::<MatchedPath>().cloned();
    let name = route.as_ref().map_or("other", MatchedPath::as_str);
    let path = shown(request.uri().path(), name);
    let span = tracing::info_span!(
        "request",
        id = id.to_str().unwrap_or_default(),
        %method,
        path,
        trace_id = Empty,
        otel.name = Empty,
        otel.kind = Empty,
    );
    traces::request_began(&span, &method, route.as_ref(), request.headers());
    // A password's hash takes tens of milliseconds of a core.
    let auth = state.limits.auth_rate > 0 && method == Method::POST && name.starts_with("/api/auth/");
    let from = if auth || state.limits.address_rate > 0 { client_address(&request) } else { String::new() };
    let auth = auth && !is_loopback(&from);
    let limit = Duration::from_secs(state.limits.request_seconds);
    let answer = async {
        let work = async {
            let checked = state.address_limiter.check(&from);
            match checked.and_then(|()| if auth { state.auth_limiter.check(&from) } else { Ok(()) }) {
                Ok(()) => next.run(request).await,
                Err(refused) => refused.into_response(),
            }
        };
        let response = match tokio::time::timeout(limit, work).await {
            Ok(response) => response,
            Err(_) => ApiError::unavailable("timeout", "the request took too long").into_response(),
        };
        let (status, elapsed) = (response.status().as_u16(), started.elapsed());
        count(&method, name, response.status(), elapsed);
        // 503 is load or an outage: that is told once, not per request.
        if response.status() == StatusCode::INTERNAL_SERVER_ERROR {
            tracing::warn!(status, ?elapsed, "answered");
        } else {
            tracing::debug!(status, ?elapsed, "answered");
        }
        response
    };
    let mut response = answer.instrument(span.clone()).await;
    traces::request_ended(&span, response.status().as_u16());
    // The viewer of the API needs its own files; other pages say themselves what they need.
    let policy = if docs {
        "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; frame-ancestors 'none'"
    } else {
        "default-src 'none'; frame-ancestors 'none'"
    };
    let headers = response.headers_mut();
    headers.insert(REQUEST_ID, id);
    if state.draining.is_cancelled() {
        headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::X_FRAME_OPTIONS, HeaderValue::from_static("DENY"));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    if state.over_https {
        headers.insert(header::STRICT_TRANSPORT_SECURITY, HeaderValue::from_static("max-age=31536000"));
    }
    headers.entry(header::CONTENT_SECURITY_POLICY).or_insert(HeaderValue::from_static(policy));
    // Answers hold what belongs to one user, unless a handler says otherwise.
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    response
}

/// A path for the log: the route with the numbers that were given. Other things are not for everybody who reads logs, such
/// as the codes of tickets, which are good at the door.
fn shown(path: &str, route: &str) -> String {
    let mut shown = String::with_capacity(path.len());
    for (n, part) in route.split('/').enumerate() {
        if n > 0 {
            shown.push('/');
        }
        let given = path.split('/').nth(n).filter(|given| part.starts_with('{') && given.parse::<u64>().is_ok());
        shown.push_str(given.unwrap_or(part));
    }
    shown
}

/// The peer, or whom the load balancer says it speaks for: it appends the peer that it sees to `X-Forwarded-For`.
fn client_address(request: &Request) -> String {
    let forwarded = request.headers().get_all("x-forwarded-for").iter().next_back();
    let last = forwarded.and_then(|value| value.to_str().ok()).and_then(|value| value.rsplit(',').next());
    let peer = || request.extensions().get::<ConnectInfo<SocketAddr>>().map(|peer| peer.0.ip().to_string());
    last.map(|address| address.trim().to_owned()).or_else(peer).unwrap_or_default()
}

/// Whether somebody on this machine asks: to try it out, and nobody that it has to be guarded from.
fn is_loopback(address: &str) -> bool {
    address.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

fn count(method: &Method, route: &str, status: StatusCode, elapsed: Duration) {
    let method = match *method {
        Method::GET => "GET",
        Method::POST => "POST",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        _ => "other",
    };
    let class = match status.as_u16() {
        200..300 => "2xx",
        300..400 => "3xx",
        400..500 => "4xx",
        _ => "5xx",
    };
    let labels = [("method", method.to_owned()), ("route", route.to_owned()), ("status", class.to_owned())];
    metrics::counter!("ticketing_http_requests_total", &labels).increment(1);
    metrics::histogram!("ticketing_http_request_seconds", "route" => route.to_owned()).record(elapsed);
}

/// The caller's request id if it is a harmless one, else a new one.
fn request_id(request: &Request) -> HeaderValue {
    request
        .headers()
        .get(REQUEST_ID)
        .filter(|id| {
            let id = id.as_bytes();
            (1..=64).contains(&id.len()) && id.iter().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(b))
        })
        .cloned()
        .unwrap_or_else(|| {
            HeaderValue::from_str(&crate::random::code(16)).unwrap_or(HeaderValue::from_static("unknown"))
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_ticket_code_is_shown() {
        let route = "/api/reservations/{id}/tickets/{code}/qr";
        assert_eq!(
            shown("/api/reservations/17/tickets/0123456789ABCDEF/qr", route),
            "/api/reservations/17/tickets/{code}/qr"
        );
        assert_eq!(shown("/api/events", "/api/events"), "/api/events");
        assert_eq!(shown("/docs/a/b", "/docs/{*rest}"), "/docs/{*rest}");
        assert_eq!(shown("/api/tickets/0123456789ABCDEF", "other"), "other");
    }
}
