//! A thin reverse proxy in front of an AWS emulator.
//!
//! It adds what the emulator (moto above all) lacks and nothing else: CloudWatch's CBOR protocol, the operations that are
//! missing, the answers that are wrong, the refusals of AWS that the emulator lets pass, and faults for tests. What it
//! knows beyond the emulator lives in its memory and ends with it.
//!
//! Paths under `/_ticketctl/` are the gateway's own: `health`, `changes` (how many there were, and in which regions),
//! `auth-tokens` (the passwords of the replication groups, which AWS never tells, for the processes that stand for them),
//! `plane` (PUT: what the data plane tells of itself), `calls` (GET, DELETE), `requests`
//! (POST: keep whole requests from now on; DELETE: tell them and stop), `faults` (POST, DELETE), and `keep` and `back`
//! (POST), which keep its memory and go back to it, for who can do the same with the emulator. Faults are posted as
//! `{"seed": 1, "faults": [{"operation": "CreateVpc", "nth": 2, "kind": "throttle"}]}`; a fault strikes the calls
//! that match its `service`, `operation` and `mutating`, each of them or with a `probability` or the `nth` or all `from` one on.
//! The kinds are `throttle`, `internal_error`, `unavailable`, `reset`, `lost_answer`, `delay` (`milliseconds`), `list_lag`
//! (`seconds`), `refuse` (`code` and `status`) and `pause` (`when`: `before` or `after`), at which a test can kill the caller: the
//! call and all changes after it hang.

mod call;
mod cbor;
mod corrections;
mod faults;
mod form;
mod gaps;
pub mod plane;
mod refusals;
mod reply;
mod requests;
mod state;
mod tokens;
mod upstream;
mod xml;

use std::io::Read;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, HeaderName, HeaderValue};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use call::{Call, Protocol};
use faults::{Faults, Outcome, Phase};
use reply::{Refusal, Reply};
use state::State;

/// What the gateway calls itself in `/_ticketctl/health`.
pub const SERVICE: &str = "ticketctl gateway";

/// How the gateway behaves.
#[derive(Clone, Debug)]
pub struct Options {
    /// The emulator's URL, such as `http://127.0.0.1:5000`.
    pub upstream: String,
    /// Refuse what AWS refuses and the emulator lets pass.
    pub strict: bool,
}

/// Serves until `shutdown`; calls in flight then have a moment to end.
///
/// # Errors
/// When the listener fails.
pub async fn serve(listener: TcpListener, options: Options, shutdown: CancellationToken) -> std::io::Result<()> {
    let state = Arc::new(State::new(&options));
    let mut connections = JoinSet::new();
    loop {
        let stream = tokio::select! {
            accepted = listener.accept() => accepted?.0,
            Some(_) = connections.join_next() => continue,
            () = shutdown.cancelled() => break,
        };
        // Small messages both ways: waiting to fill packets only costs time.
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "a connection ended before it began");
            continue;
        }
        let state = state.clone();
        let shutdown = shutdown.clone();
        connections.spawn(async move {
            let service = service_fn(|request| respond(state.clone(), request));
            let connection = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service);
            let mut connection = std::pin::pin!(connection);
            let ended = tokio::select! {
                ended = connection.as_mut() => ended,
                () = shutdown.cancelled() => {
                    connection.as_mut().graceful_shutdown();
                    connection.await
                }
            };
            if let Err(error) = ended {
                tracing::debug!(%error, "a connection ended early");
            }
        });
    }
    let drained = async { while connections.join_next().await.is_some() {} };
    if tokio::time::timeout(Duration::from_secs(1), drained).await.is_err() {
        connections.abort_all();
    }
    Ok(())
}

/// Why a connection ends without an answer.
#[derive(Debug, thiserror::Error)]
enum Cut {
    #[error("the connection is cut by a fault")]
    Fault,
    #[error("the call could not be carried out: {0}")]
    Panicked(tokio::task::JoinError),
    #[error(transparent)]
    Body(#[from] hyper::Error),
}

async fn respond(state: Arc<State>, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Cut> {
    let (parts, body) = request.into_parts();
    let body = body.collect().await?.to_bytes();
    if let Some(path) = parts.uri.path().strip_prefix("/_ticketctl/") {
        return Ok(response(control(&state, &parts.method, path, &body)));
    }
    if parts.uri.path() == "/moto-api/reset" {
        state.reset();
    }
    let call = Call::read(parts.method, parts.uri, parts.headers, body);
    state.requests.keep(&call);
    // In a task of its own: a call that has arrived is carried out whole, whether or not its caller still lives.
    tokio::spawn(async move { answer(&state, call).await }).await.map_err(Cut::Panicked)?
}

/// The answer, with whatever faults strike the call.
async fn answer(state: &State, call: Call) -> Result<Response<Full<Bytes>>, Cut> {
    let (number, kinds) = state.faults.receive(&call);
    let outcome = match state.faults.before(number, &kinds, &call).await {
        Some(Outcome::Answer(reply)) => Outcome::Answer(finish(&call, reply)),
        Some(Outcome::Cut) => Outcome::Cut,
        None => {
            let reply = finish(&call, carry_out(state, call.clone()).await);
            state.note(&call);
            state.faults.after(number, &kinds, &call, reply).await
        }
    };
    match outcome {
        Outcome::Answer(reply) => {
            state.faults.note(number, Phase::Answered, Some(reply.status.as_u16()));
            Ok(response(reply))
        }
        Outcome::Cut => {
            state.faults.note(number, Phase::Cut, None);
            Err(Cut::Fault)
        }
    }
}

/// The answer to a call: the gateway's own where the emulator has none, the emulator's, mended, everywhere else.
async fn carry_out(state: &State, mut call: Call) -> Reply {
    let original = call.clone();
    let answered = async {
        if call.protocol == Protocol::Cbor {
            translate_request(&mut call)?;
        }
        let _serial = state.serialise(&call).await;
        if let Some(reply) = tokens::repeated(state, &call)? {
            return Ok(reply);
        }
        if state.strict {
            refusals::check(state, &call).await?;
        }
        let reply = match gaps::answer(state, &call).await? {
            Some(reply) => reply,
            None => {
                corrections::request(state, &mut call).await?;
                let reply = state.upstream.forward(&corrections::withhold(&call)).await?;
                let reply = if reply.status.is_success() {
                    corrections::answer(state, &original, &call, reply).await?
                } else {
                    unsupported(&call, reply)
                };
                tokens::remember(state, &original, &reply);
                reply
            }
        };
        Ok::<_, Refusal>(reply)
    };
    match answered.await {
        Ok(reply) => reply,
        Err(refusal) => refusal.into_reply(&original),
    }
}

/// An emulator's HTML error page, said in the words that the caller's protocol has for it.
fn unsupported(call: &Call, reply: Reply) -> Reply {
    let content_type = reply.headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if !content_type.starts_with("text/html") || !reply.body.starts_with(b"<!doctype html>") {
        return reply;
    }
    let message =
        format!("the emulator failed on {} of {}: it does not support this call", call.operation, call.service);
    Refusal::with_status(501, "NotImplemented", message).into_reply(call)
}

/// From rpc-v2-cbor to the JSON protocol of the same service.
fn translate_request(call: &mut Call) -> Result<(), Refusal> {
    let serialization = |message: String| Refusal::new("SerializationException", message);
    if call.headers.get(CONTENT_ENCODING).is_some_and(|encoding| encoding == "gzip") {
        let mut plain = Vec::new();
        flate2::read::GzDecoder::new(call.body.as_ref())
            .read_to_end(&mut plain)
            .map_err(|error| serialization(format!("the body is not gzip: {error}")))?;
        call.body = plain.into();
        call.headers.remove(CONTENT_ENCODING);
    }
    call.body = cbor::to_json(&call.body).map_err(serialization)?.to_string().into();
    call.uri = hyper::Uri::from_static("/");
    let target = format!("GraniteServiceVersion20100801.{}", call.operation);
    let target =
        HeaderValue::from_str(&target).map_err(|_| serialization("the operation's name is not readable".to_owned()))?;
    call.headers.insert(HeaderName::from_static("x-amz-target"), target);
    call.headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-amz-json-1.0"));
    call.headers.remove("smithy-protocol");
    call.headers.remove("accept");
    Ok(())
}

/// The answer in the caller's protocol.
fn finish(call: &Call, mut reply: Reply) -> Reply {
    if call.protocol != Protocol::Cbor {
        return reply;
    }
    match cbor::from_json(&reply.body) {
        Ok(body) => reply.body = body.into(),
        Err(message) => {
            let bare = serde_json::json!({"__type": "InternalFailure", "message": message});
            reply.status = StatusCode::INTERNAL_SERVER_ERROR;
            reply.body = cbor::from_json(bare.to_string().as_bytes()).unwrap_or_default().into();
        }
    }
    reply.headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/cbor"));
    reply.headers.insert(HeaderName::from_static("smithy-protocol"), HeaderValue::from_static("rpc-v2-cbor"));
    reply
}

fn response(reply: Reply) -> Response<Full<Bytes>> {
    let mut headers = reply.headers;
    // A HEAD answer's length tells of a body that isn't there; every other length is hyper's to count.
    if !reply.body.is_empty() {
        headers.remove(CONTENT_LENGTH);
    }
    let mut response = Response::new(Full::new(reply.body));
    *response.status_mut() = reply.status;
    *response.headers_mut() = headers;
    response
}

/// The gateway's own paths.
fn control(state: &State, method: &Method, path: &str, body: &[u8]) -> Reply {
    let done = || Reply::json(StatusCode::OK, &serde_json::json!({"status": "ok"}));
    match (method, path) {
        (&Method::GET, "health") => Reply::json(
            StatusCode::OK,
            &serde_json::json!({
                "service": SERVICE,
                "version": env!("CARGO_PKG_VERSION"),
                "pid": std::process::id(),
                "upstream": state.upstream.base(),
                "strict": state.strict,
            }),
        ),
        (&Method::GET, "changes") => Reply::json(StatusCode::OK, &serde_json::json!(*state.news())),
        (&Method::GET, "auth-tokens") => {
            Reply::json(StatusCode::OK, &serde_json::json!(gaps::auth_tokens(&state.memory())))
        }
        (&Method::PUT, "plane") => match serde_json::from_slice::<plane::Report>(body) {
            Ok(report) => {
                state.memory().plane = Some(report);
                done()
            }
            Err(error) => Reply::json(StatusCode::BAD_REQUEST, &serde_json::json!({"error": error.to_string()})),
        },
        (&Method::GET, "calls") => Reply::json(StatusCode::OK, &serde_json::json!({"calls": state.faults.records()})),
        (&Method::DELETE, "calls") => {
            state.faults.forget_records();
            done()
        }
        (&Method::POST, "requests") => {
            state.requests.begin();
            done()
        }
        (&Method::DELETE, "requests") => {
            Reply::json(StatusCode::OK, &serde_json::json!({"requests": state.requests.end()}))
        }
        (&Method::POST, "faults") => match serde_json::from_slice::<Faults>(body) {
            Ok(faults) => {
                state.faults.replace(faults);
                done()
            }
            Err(error) => Reply::json(StatusCode::BAD_REQUEST, &serde_json::json!({"error": error.to_string()})),
        },
        (&Method::DELETE, "faults") => {
            state.faults.replace(Faults::default());
            done()
        }
        (&Method::POST, "keep") => {
            state.keep();
            done()
        }
        (&Method::POST, "back") => {
            state.go_back();
            done()
        }
        _ => Reply::json(
            StatusCode::NOT_FOUND,
            &serde_json::json!({
                "error": "the gateway has health, changes, auth-tokens, plane, calls, requests, faults, keep and back under /_ticketctl/",
            }),
        ),
    }
}
