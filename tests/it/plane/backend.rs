//! A target of the test's own: an HTTP server that answers as the test says.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, AtomicUsize, Ordering};

use bytes::Bytes;
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::client::legacy::Client;
use hyper_util::rt::{TokioExecutor, TokioIo};
use ticketctl::local::plane::balancer::TargetKey;
use tokio::net::TcpListener;
use tokio_util::sync::{CancellationToken, DropGuard};

pub type Body = BoxBody<Bytes, Infallible>;

/// A server, what it says of its health, and what it was asked.
pub struct Backend {
    pub name: &'static str,
    pub address: SocketAddr,
    pub health: Arc<AtomicU16>,
    /// Requests besides health checks.
    pub asked: Arc<AtomicUsize>,
    _stop: DropGuard,
}

impl Backend {
    /// One that answers with its name.
    pub async fn named(name: &'static str) -> Self {
        Self::answering(name, move |_| async move { Response::new(whole(name)) }).await
    }

    pub async fn answering<F, A>(name: &'static str, answer: F) -> Self
    where
        F: Fn(Request<Incoming>) -> A + Clone + Send + Sync + 'static,
        A: Future<Output = Response<Body>> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let health = Arc::new(AtomicU16::new(200));
        let asked = Arc::new(AtomicUsize::new(0));
        let stop = CancellationToken::new();
        let (says, counts) = (health.clone(), asked.clone());
        tokio::spawn(stop.clone().run_until_cancelled_owned(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (says, counts, answer) = (says.clone(), counts.clone(), answer.clone());
                let service = service_fn(move |request: Request<Incoming>| {
                    let (says, counts, answer) = (says.clone(), counts.clone(), answer.clone());
                    async move {
                        if request.uri().path() == "/readyz" {
                            let mut healthy = Response::new(whole("health"));
                            let status = StatusCode::from_u16(says.load(Ordering::SeqCst)).expect("a status");
                            *healthy.status_mut() = status;
                            return Ok::<_, Infallible>(healthy);
                        }
                        counts.fetch_add(1, Ordering::SeqCst);
                        Ok(answer(request).await)
                    }
                });
                tokio::spawn(
                    hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service),
                );
            }
        }));
        Self { name, address, health, asked, _stop: stop.drop_guard() }
    }

    pub fn key(&self) -> TargetKey {
        TargetKey { id: format!("i-{}", self.name), port: 8080 }
    }

    pub fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

pub fn whole(text: impl Into<Bytes>) -> Body {
    Full::new(text.into()).boxed()
}

/// Status and body of an answer to a GET.
pub async fn get(url: &str) -> (u16, String) {
    let (status, _, body) = ask(Request::get(url).body(whole("")).expect("a request")).await;
    (status, body)
}

/// Status, headers and body.
pub async fn ask(request: Request<Body>) -> (u16, BTreeMap<String, String>, String) {
    let client: Client<_, Body> = Client::builder(TokioExecutor::new()).build_http();
    let answer = client.request(request).await.expect("an answer");
    let status = answer.status().as_u16();
    let text = |value: &hyper::header::HeaderValue| value.to_str().expect("text").to_owned();
    let headers = answer.headers().iter().map(|(name, value)| (name.to_string(), text(value))).collect();
    let body = answer.into_body().collect().await.expect("a whole body").to_bytes();
    (status, headers, String::from_utf8_lossy(&body).into_owned())
}
