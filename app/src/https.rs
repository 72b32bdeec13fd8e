//! A client for the few requests to others, such as an OpenID provider: HTTPS, one connection for each request, no
//! redirects, and little patience.

use anyhow::Context;
use axum::http::{HeaderValue, Request, Response, Uri, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Bytes;
use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore};
use std::io::{Error, ErrorKind, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream};
use tokio::net::TcpStream;

/// How long one request may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// The longest answer that is read, in bytes.
const LONGEST: usize = 1024 * 1024;
/// Where systems keep the authorities that they trust: Debian, Amazon Linux, Alpine.
const BUNDLES: [&str; 3] =
    ["/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem"];

/// The file with the authorities that the system trusts, or that `SSL_CERT_FILE` names instead.
pub fn system_bundle() -> Option<PathBuf> {
    let told = std::env::var_os("SSL_CERT_FILE").filter(|file| !file.is_empty()).map(PathBuf::from);
    told.or_else(|| BUNDLES.map(PathBuf::from).into_iter().find(|path| path.exists()))
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum HttpsError {
    /// The address is none that secrets may be sent to
    #[error("{0} is not an https address (http is for this machine only)")]
    Address(Uri),
    /// The other side cannot be reached, or is not who it should be
    #[error("{0}: {1}")]
    Connection(String, Error),
    /// It does not speak HTTP as it should, or says too much
    #[error("{0}: {1}")]
    Http(String, Box<dyn std::error::Error + Send + Sync>),
    /// It takes too long
    #[error("no answer within {} s", PATIENCE.as_secs())]
    Timeout,
}

/// The client. Cheap to clone.
#[derive(Clone)]
pub struct HttpsClient(Arc<ClientConfig>);

impl HttpsClient {
    /// Trusts the authorities in `bundle` (PEM), or those that the system trusts.
    pub fn new(bundle: Option<&Path>) -> anyhow::Result<Self> {
        let bundle = bundle.map(Path::to_owned).or_else(system_bundle);
        let bundle = bundle.context("no file with trusted authorities; install ca-certificates")?;
        let read = || format!("cannot read certificates from {}", bundle.display());
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_file_iter(&bundle).with_context(read)? {
            roots.add(certificate.with_context(read)?).with_context(read)?;
        }
        Ok(Self(Arc::new(ClientConfig::builder().with_root_certificates(roots).with_no_client_auth())))
    }

    /// Sends a request with an absolute address.
    pub async fn send(&self, request: Request<Vec<u8>>) -> Result<Response<Vec<u8>>, HttpsError> {
        tokio::time::timeout(PATIENCE, self.exchange(request)).await.map_err(|_| HttpsError::Timeout)?
    }

    async fn exchange(&self, mut request: Request<Vec<u8>>) -> Result<Response<Vec<u8>>, HttpsError> {
        let uri = request.uri().clone();
        let refused = || HttpsError::Address(uri.clone());
        let (Some(host), Some(authority)) = (uri.host(), uri.authority()) else { return Err(refused()) };
        let name = host.trim_matches(['[', ']']);
        let secure = match uri.scheme_str() {
            Some("https") => true,
            Some("http") if is_this_machine(name) => false,
            _ => return Err(refused()),
        };
        let port = uri.port_u16().unwrap_or(if secure { 443 } else { 80 });
        *request.uri_mut() = uri.path_and_query().map_or_else(Uri::default, |path| path.clone().into());
        request.headers_mut().insert(header::HOST, HeaderValue::from_str(authority.as_str()).map_err(|_| refused())?);
        let failed = |error| HttpsError::Connection(authority.to_string(), error);
        let tcp = TcpStream::connect((name, port)).await.map_err(failed)?;
        let answer = if secure {
            let name = ServerName::try_from(name.to_owned()).map_err(|_| refused())?;
            let tls = ClientConnection::new(self.0.clone(), name).map_err(|error| failed(Error::other(error)))?;
            // What TLS finds wrong is the reason, whatever HTTP makes of it.
            let (plain, pump) = tunnel(tls, tcp);
            let (answer, pumped) = tokio::join!(speak(plain, request), pump);
            pumped.map_err(failed)?;
            answer
        } else {
            speak(tcp, request).await
        };
        answer.map_err(|error| HttpsError::Http(authority.to_string(), error))
    }
}

fn is_this_machine(name: &str) -> bool {
    name == "localhost" || name.parse().is_ok_and(|address: std::net::IpAddr| address.is_loopback())
}

/// One request and its answer over a connection.
async fn speak<T: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
    connection: T,
    request: Request<Vec<u8>>,
) -> Result<Response<Vec<u8>>, Box<dyn std::error::Error + Send + Sync>> {
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(connection)).await?;
    let exchange = async move {
        let (parts, body) = sender.send_request(request.map(|body| Full::new(Bytes::from(body)))).await?.into_parts();
        let body = Limited::new(body, LONGEST).collect().await?.to_bytes().to_vec();
        Ok(Response::from_parts(parts, body))
    };
    // The connection ends with the exchange, which drops the sender.
    let (answer, _ended) = tokio::join!(exchange, connection);
    answer
}

/// A pipe whose other end is encrypted, and the work that has to be done meanwhile.
fn tunnel(tls: ClientConnection, tcp: TcpStream) -> (DuplexStream, impl Future<Output = Result<(), Error>>) {
    let (near, far) = tokio::io::duplex(64 * 1024);
    (near, pump(tls, tcp, far))
}

/// Moves bytes between the network and the near side until either ends.
async fn pump(mut tls: ClientConnection, tcp: TcpStream, plain: DuplexStream) -> Result<(), Error> {
    let (mut from_net, mut to_net) = tcp.into_split();
    let (mut from_app, mut to_app) = tokio::io::split(plain);
    let (mut net, mut app) = (vec![0; 16 * 1024], vec![0; 16 * 1024]);
    loop {
        while tls.wants_write() {
            let mut records = Vec::new();
            tls.write_tls(&mut records)?;
            to_net.write_all(&records).await?;
        }
        tokio::select! {
            read = from_net.read(&mut net) => {
                let mut records = &net[..read?];
                if records.is_empty() {
                    return Ok(());
                }
                while !records.is_empty() {
                    tls.read_tls(&mut records)?;
                    tls.process_new_packets().map_err(|error| Error::new(ErrorKind::InvalidData, error))?;
                    let mut text = Vec::new();
                    match tls.reader().read_to_end(&mut text) {
                        Err(error) if error.kind() != ErrorKind::WouldBlock => return Err(error),
                        _ => {}
                    }
                    // Who hears enough stops listening: that is no failure.
                    if to_app.write_all(&text).await.is_err() {
                        return Ok(());
                    }
                }
            }
            read = from_app.read(&mut app), if !tls.is_handshaking() => {
                match read? {
                    0 => {
                        tls.send_close_notify();
                        let mut records = Vec::new();
                        tls.write_tls(&mut records)?;
                        return to_net.write_all(&records).await;
                    }
                    read => tls.writer().write_all(&app[..read])?,
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn secrets_go_nowhere_in_the_clear() {
        crate::commands::install_tls_provider();
        let client = HttpsClient::new(None).expect("the system trusts somebody");
        for address in ["http://example.com/", "ftp://localhost/", "/path"] {
            let request = Request::builder().uri(address).body(Vec::new()).expect("a request");
            let error = client.send(request).await.expect_err("refused");
            assert!(matches!(error, HttpsError::Address(_)), "{address}: {error}");
        }
    }
}
