//! One request: where it goes, what the target gets to see, and what the client gets back.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::header::{self, HeaderValue};
use hyper::http::request::Parts;
use hyper::{Request, Response, StatusCode, Uri, Version};
use hyper_util::client::legacy;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};

use super::body::{Answer, Cut, Offered};
use super::route::{self, Action, Asked};
use super::targets::{Group, Lease};
use super::{Shared, Table, headers};

pub type Client = legacy::Client<HttpConnector, Offered>;

/// As long as an Application Load Balancer tries to connect to a target.
const CONNECT: Duration = Duration::from_secs(10);

/// Shorter than targets keep idle connections: the one who sends is to be the one who closes.
const IDLE: Duration = Duration::from_secs(30);

/// How a request came in.
#[derive(Clone, Copy, Debug)]
pub struct From {
    pub client: SocketAddr,
    /// The listener's port as AWS knows it, and the one that is listened on.
    pub port: u16,
    pub bound: u16,
    pub protocol: &'static str,
}

/// What became of a request that was to go to a target.
enum Failure {
    /// Nothing of it was sent.
    Unconnected {
        timeout: bool,
    },
    Broken,
    Silent,
}

pub fn client() -> Client {
    let mut connector = HttpConnector::new();
    connector.set_nodelay(true);
    connector.set_connect_timeout(Some(CONNECT));
    legacy::Client::builder(TokioExecutor::new()).pool_timer(TokioTimer::new()).pool_idle_timeout(IDLE).build(connector)
}

pub async fn respond(shared: &Shared, from: From, request: Request<Incoming>) -> Response<BoxBody<Bytes, Cut>> {
    let table = shared.table();
    let (mut parts, body) = request.into_parts();
    let Some(listener) = table.listeners.get(&from.port) else {
        return own_error(shared, StatusCode::SERVICE_UNAVAILABLE);
    };
    if parts.version == Version::HTTP_11 && !parts.headers.contains_key(header::HOST) {
        return own_error(shared, StatusCode::BAD_REQUEST);
    }
    let rule = listener.rules.iter().find(|rule| rule.takes(parts.uri.path()));
    let answer = match rule.map_or(&listener.default, |rule| &rule.action) {
        Action::Forward(groups) => {
            let group = route::choose(groups).and_then(|arn| table.groups.get(arn));
            match group {
                Some(group) => {
                    headers::strip(&mut parts.headers);
                    headers::tell(&mut parts.headers, from.client.ip(), from.protocol, from.bound);
                    forward(shared, &table, group, &parts, Offered::new(body)).await
                }
                None => Err(StatusCode::SERVICE_UNAVAILABLE),
            }
        }
        Action::Redirect(redirect) => Ok(redirected(&table, from, &parts, redirect)),
        Action::Fixed { status, content_type, body } => Ok(fixed(*status, content_type, body)),
    };
    answer.unwrap_or_else(|status| own_error(shared, status))
}

async fn forward(
    shared: &Shared,
    table: &Table,
    group: &Group,
    parts: &Parts,
    body: Offered,
) -> Result<Response<BoxBody<Bytes, Cut>>, StatusCode> {
    let lease = group.lease(None).ok_or(StatusCode::SERVICE_UNAVAILABLE)?;
    let first = lease.0.key.clone();
    let mut tried = send(shared, table, group, parts, body.clone(), lease).await;
    if matches!(tried, Err(Failure::Unconnected { .. }))
        && let Some(other) = group.lease(Some(&first))
    {
        tried = send(shared, table, group, parts, body, other).await;
    }
    tried.map_err(|failure| match failure {
        Failure::Silent | Failure::Unconnected { timeout: true } => StatusCode::GATEWAY_TIMEOUT,
        Failure::Broken | Failure::Unconnected { timeout: false } => StatusCode::BAD_GATEWAY,
    })
}

async fn send(
    shared: &Shared,
    table: &Table,
    group: &Group,
    parts: &Parts,
    body: Offered,
    lease: Lease,
) -> Result<Response<BoxBody<Bytes, Cut>>, Failure> {
    let path = parts.uri.path_and_query().map_or("/", |path| path.as_str());
    let uri: Uri = format!("http://{}{path}", lease.0.address).parse().map_err(|_| Failure::Broken)?;
    let mut request = Request::new(body.clone());
    *request.method_mut() = parts.method.clone();
    *request.uri_mut() = uri;
    *request.headers_mut() = parts.headers.clone();
    group.note_request(&lease.0.key);
    let begun = Instant::now();
    let answered = tokio::select! {
        answered = shared.client.request(request) => answered,
        () = lease.0.cut.cancelled() => return Err(Failure::Broken),
        () = body.silent_for(table.idle_timeout) => return Err(Failure::Silent),
    };
    let answer = answered.map_err(|error| {
        tracing::debug!(target = lease.0.key.id, error = ?error, "a request failed");
        if !error.is_connect() {
            return Failure::Broken;
        }
        group.note_connection_error();
        Failure::Unconnected { timeout: timed_out(&error) }
    })?;
    let (mut head, body) = answer.into_parts();
    group.note_answer(head.status, begun.elapsed());
    headers::strip(&mut head.headers);
    // The next connection's own version, whatever the target speaks.
    head.version = Version::HTTP_11;
    Ok(Response::from_parts(head, Answer::new(body, table.idle_timeout, lease).boxed()))
}

fn timed_out(error: &(dyn std::error::Error + 'static)) -> bool {
    let is_timeout = |error: &(dyn std::error::Error + 'static)| {
        error.downcast_ref::<std::io::Error>().is_some_and(|error| error.kind() == std::io::ErrorKind::TimedOut)
    };
    std::iter::successors(Some(error), |error| error.source()).any(is_timeout)
}

fn redirected(table: &Table, from: From, parts: &Parts, redirect: &route::Redirect) -> Response<BoxBody<Bytes, Cut>> {
    let host = parts.headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    let host = host.rsplit_once(':').map_or(host, |(name, _)| name);
    let asked = Asked {
        protocol: from.protocol,
        host,
        port: from.port,
        path: parts.uri.path(),
        query: parts.uri.query().unwrap_or_default(),
    };
    let location = redirect.location(asked, |port| table.ports.get(&port).copied().unwrap_or(port));
    let status = if redirect.permanent { StatusCode::MOVED_PERMANENTLY } else { StatusCode::FOUND };
    let mut answer = page(status);
    answer.headers_mut().extend(HeaderValue::from_str(&location).map(|location| (header::LOCATION, location)));
    answer
}

fn fixed(status: u16, content_type: &str, body: &str) -> Response<BoxBody<Bytes, Cut>> {
    let mut answer = Response::new(whole(body.to_owned()));
    *answer.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let content_type = HeaderValue::from_str(content_type).map(|value| (header::CONTENT_TYPE, value));
    answer.headers_mut().extend(content_type);
    answer
}

/// An error that no target answered with, as an Application Load Balancer words it.
fn own_error(shared: &Shared, status: StatusCode) -> Response<BoxBody<Bytes, Cut>> {
    let mut errors = shared.own_errors.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    *errors.entry(status.as_u16()).or_default() += 1;
    page(status)
}

fn page(status: StatusCode) -> Response<BoxBody<Bytes, Cut>> {
    let body = format!(
        "<html>\r\n<head><title>{status}</title></head>\r\n<body>\r\n<center><h1>{status}</h1></center>\r\n</body>\r\n</html>\r\n"
    );
    let mut answer = Response::new(whole(body));
    *answer.status_mut() = status;
    answer.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/html"));
    answer.headers_mut().insert(header::SERVER, HeaderValue::from_static("awselb/2.0"));
    answer
}

fn whole(body: String) -> BoxBody<Bytes, Cut> {
    Full::new(Bytes::from(body)).map_err(|never| match never {}).boxed()
}
