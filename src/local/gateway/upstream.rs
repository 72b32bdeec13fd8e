//! The emulator behind the gateway.

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::header::{
    AUTHORIZATION, CONNECTION, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, HeaderValue,
    TRANSFER_ENCODING,
};
use hyper::{Method, Request, Uri};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;

use super::call::Call;
use super::form::Form;
use super::reply::{Refusal, Reply};
use super::xml::Element;

pub struct Upstream {
    base: String,
    client: Client<HttpConnector, Full<Bytes>>,
}

impl Upstream {
    /// `base` is the emulator's URL, such as `http://127.0.0.1:5000`.
    pub fn new(base: &str) -> Self {
        // Emulators close kept connections without a word: one connection per call loses little on loopback.
        let client = Client::builder(TokioExecutor::new()).pool_max_idle_per_host(0).build_http();
        Self { base: base.trim_end_matches('/').to_owned(), client }
    }

    pub fn base(&self) -> &str {
        &self.base
    }

    pub async fn send(&self, method: Method, path: &str, headers: HeaderMap, body: Bytes) -> Result<Reply, Refusal> {
        let unreachable = |error: &dyn std::fmt::Display| {
            Refusal::with_status(
                503,
                "ServiceUnavailable",
                format!("the emulator at {} does not answer: {error}", self.base),
            )
        };
        let uri: Uri = format!("{}{path}", self.base).parse().map_err(|error| unreachable(&error))?;
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = method;
        *request.uri_mut() = uri;
        *request.headers_mut() = headers;
        // Both describe the hop that the body has already made.
        for hop in [CONTENT_LENGTH, TRANSFER_ENCODING, CONNECTION] {
            request.headers_mut().remove(hop);
        }
        let response = self.client.request(request).await.map_err(|error| unreachable(&error))?;
        let (parts, body) = response.into_parts();
        let body = body.collect().await.map_err(|error| unreachable(&error))?.to_bytes();
        let mut headers = parts.headers;
        for hop in [TRANSFER_ENCODING, CONNECTION] {
            headers.remove(hop);
        }
        Ok(Reply { status: parts.status, headers, body })
    }

    /// Hands the caller's own call on.
    pub async fn forward(&self, call: &Call) -> Result<Reply, Refusal> {
        let path = call.uri.path_and_query().map_or("/", |path| path.as_str());
        self.send(call.method.clone(), path, call.headers.clone(), call.body.clone()).await
    }

    /// A query call of the gateway's own, for the same account and region as the caller's.
    pub async fn ask(
        &self,
        call: &Call,
        service: &str,
        action: &str,
        parameters: &[(&str, &str)],
    ) -> Result<Element, Refusal> {
        let mut form = Form::of(parameters.iter().copied());
        form.set("Action", action);
        self.ask_form(call, service, form).await
    }

    /// As `ask`, with the action among the parameters.
    pub async fn ask_form(&self, call: &Call, service: &str, mut form: Form) -> Result<Element, Refusal> {
        form.set("Version", version(service));
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded"));
        let authorization = HeaderValue::from_str(&call.authorization_for(service))
            .map_err(|_| Refusal::new("IncompleteSignature", "the credential scope is not readable"))?;
        headers.insert(AUTHORIZATION, authorization);
        let reply = self.send(Method::POST, "/", headers, form.encode().into()).await?;
        if !reply.status.is_success() {
            return Err(reply.as_refusal());
        }
        reply.element()
    }
}

/// Puts a changed form back into the call's body.
pub fn rewrite(call: &mut Call) {
    call.body = call.form.encode().into();
    call.headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded"));
    call.headers.remove(CONTENT_ENCODING);
    call.method = Method::POST;
}

fn version(service: &str) -> &'static str {
    match service {
        "ec2" => "2016-11-15",
        "autoscaling" => "2011-01-01",
        "elasticache" => "2015-02-02",
        "rds" => "2014-10-31",
        "iam" => "2010-05-08",
        _ => "2015-12-01",
    }
}
