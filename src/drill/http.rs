//! One request on a connection of its own, as a new visitor makes it: what the load balancer, its name and its
//! certificate are like at this moment.

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::{Request, Uri, client::conn::http1, header};
use hyper_util::rt::TokioIo;
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, ServerName, pem::PemObject},
};
use std::{path::Path, sync::Arc, time::Duration};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
};
use tokio_rustls::TlsConnector;

/// What a visitor waits before going away.
const PATIENCE: Duration = Duration::from_secs(5);

/// Where systems keep the certificates that they trust.
const TRUSTED: [&str; 4] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// A web client for one site.
#[derive(Clone)]
pub struct Site {
    host: String,
    port: u16,
    tls: Option<TlsConnector>,
    patience: Duration,
}

pub struct Answer {
    pub status: u16,
    /// When to come again, if the site says so.
    pub retry_after: Option<Duration>,
    pub body: Bytes,
}

impl Site {
    /// The site at a URL, of which only scheme, host and port count.
    ///
    /// # Errors
    /// In words, what is wrong with it.
    pub fn new(url: &str) -> Result<Site, String> {
        let uri: Uri = url.parse().map_err(|error| format!("{url} is no URL: {error}"))?;
        let host = uri.host().ok_or_else(|| format!("{url} names no host"))?.to_owned();
        let (tls, usual) = match uri.scheme_str() {
            Some("http") => (None, 80),
            Some("https") => (Some(connector()?), 443),
            _ => return Err(format!("{url} must begin with http:// or https://")),
        };
        Ok(Site { host, port: uri.port_u16().unwrap_or(usual), tls, patience: PATIENCE })
    }

    /// The same site, asked by somebody who waits so long for an answer.
    pub fn with_patience(&self, patience: Duration) -> Site {
        Site { patience, ..self.clone() }
    }

    /// Asks once.
    ///
    /// # Errors
    /// In words, why there was no answer.
    pub async fn ask(
        &self,
        method: &str,
        path: &str,
        token: Option<&str>,
        body: Option<String>,
    ) -> Result<Answer, String> {
        let asked = async {
            let stream =
                TcpStream::connect((self.host.as_str(), self.port)).await.map_err(|error| error.to_string())?;
            match &self.tls {
                None => self.talk(stream, method, path, token, body).await,
                Some(tls) => {
                    let name = ServerName::try_from(self.host.clone()).map_err(|error| error.to_string())?;
                    let stream = tls.connect(name, stream).await.map_err(|error| error.to_string())?;
                    self.talk(stream, method, path, token, body).await
                }
            }
        };
        match tokio::time::timeout(self.patience, asked).await {
            Ok(answer) => answer,
            Err(_) => Err(format!("no answer in {} s", self.patience.as_secs())),
        }
    }

    async fn talk(
        &self,
        stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
        method: &str,
        path: &str,
        token: Option<&str>,
        body: Option<String>,
    ) -> Result<Answer, String> {
        let (mut sender, connection) =
            http1::handshake(TokioIo::new(stream)).await.map_err(|error| error.to_string())?;
        // It ends with the sender; what went wrong on it the request tells.
        tokio::spawn(connection);
        let mut request = Request::builder().method(method).uri(path).header(header::HOST, &self.host);
        request = request.header(header::CONNECTION, "close");
        if let Some(token) = token {
            request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
        }
        if body.is_some() {
            request = request.header(header::CONTENT_TYPE, "application/json");
        }
        let request =
            request.body(Full::new(Bytes::from(body.unwrap_or_default()))).map_err(|error| error.to_string())?;
        let answer = sender.send_request(request).await.map_err(|error| error.to_string())?;
        let status = answer.status().as_u16();
        let retry_after = answer.headers().get(header::RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
        let body = Limited::new(answer.into_body(), 1 << 20).collect().await.map_err(|error| error.to_string())?;
        Ok(Answer { status, retry_after: retry_after.map(Duration::from_secs), body: body.to_bytes() })
    }
}

fn connector() -> Result<TlsConnector, String> {
    let named = std::env::var("SSL_CERT_FILE").ok();
    let files = named.as_deref().into_iter().chain(TRUSTED);
    let file = files.map(Path::new).find(|file| file.is_file());
    let file =
        file.ok_or("the system's trusted certificates aren't where they usually are; name them in SSL_CERT_FILE")?;
    let certificates = CertificateDer::pem_file_iter(file).map_err(|error| format!("{}: {error}", file.display()))?;
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(certificates.flatten());
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(TlsConnector::from(Arc::new(config)))
}
