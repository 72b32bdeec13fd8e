//! A listener: takes connections in on its port, with TLS or without.

use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use super::forward::{From, respond};
use super::{ListenError, Shared};

/// How long a client may take to agree on keys.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// Ports that are tried when the one that AWS knows is not to be had.
const OTHERS: u16 = 200;

/// Connections that may wait to be accepted: who comes when there are more knocks again only after a second.
const UNACCEPTED: u32 = 4096;

type Tls = Option<Arc<rustls::ServerConfig>>;

/// A listener at work; it takes no more connections once dropped.
pub struct Listening {
    address: SocketAddr,
    tls: Arc<RwLock<Tls>>,
    stop: CancellationToken,
}

impl Drop for Listening {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl Listening {
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// New connections are served with this certificate, or without TLS.
    pub fn set_tls(&self, tls: Tls) {
        *self.tls.write().unwrap_or_else(PoisonError::into_inner) = tls;
    }
}

/// Listens on the port that AWS knows if the system lets us, else on the first free one from 8000 more on: 8080 for 80,
/// 8443 for 443.
pub(super) fn start(
    shared: &Arc<Shared>,
    address: IpAddr,
    port: u16,
    tls: Tls,
    stop: &CancellationToken,
) -> Result<Listening, ListenError> {
    let (listener, address) = bind(SocketAddr::new(address, port))?;
    let stop = stop.child_token();
    let tls = Arc::new(RwLock::new(tls));
    let listening = Listening { address, tls: tls.clone(), stop: stop.clone() };
    let shared = shared.clone();
    let bound = address.port();
    tokio::spawn(stop.clone().run_until_cancelled_owned(async move {
        loop {
            match listener.accept().await {
                Ok((stream, client)) => {
                    let tls = tls.read().unwrap_or_else(PoisonError::into_inner).clone();
                    let protocol = if tls.is_some() { "https" } else { "http" };
                    let from = From { client, port, bound, protocol };
                    tokio::spawn(take(shared.clone(), from, stream, tls, stop.clone()));
                }
                // Out of file descriptors, or the peer is gone already: neither is a reason to stop.
                Err(error) => {
                    tracing::warn!(%error, "the load balancer could not take a connection in");
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
            }
        }
    }));
    Ok(listening)
}

fn bind(wanted: SocketAddr) -> Result<(TcpListener, SocketAddr), ListenError> {
    let failed = |source| ListenError { address: wanted, source };
    let first = match listen(wanted) {
        Ok(listener) => return Ok((listener, wanted)),
        Err(error) => error,
    };
    let from = wanted.port().saturating_add(8000);
    for port in from..from.saturating_add(OTHERS) {
        let address = SocketAddr::new(wanted.ip(), port);
        if let Ok(listener) = listen(address) {
            return Ok((listener, address));
        }
    }
    Err(failed(first))
}

fn listen(address: SocketAddr) -> std::io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(UNACCEPTED)
}

async fn take(shared: Arc<Shared>, from: From, stream: TcpStream, tls: Tls, stop: CancellationToken) {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "a connection ended before it began");
        return;
    }
    let Some(tls) = tls else { return serve(shared, from, stream, stop).await };
    match tokio::time::timeout(HANDSHAKE, TlsAcceptor::from(tls).accept(stream)).await {
        Ok(Ok(stream)) => serve(shared, from, stream, stop).await,
        Ok(Err(error)) => tracing::debug!(%error, "a client did not agree on keys"),
        Err(_) => tracing::debug!("a client took too long to agree on keys"),
    }
}

async fn serve<S>(shared: Arc<Shared>, from: From, stream: S, stop: CancellationToken)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let idle_timeout = shared.table().idle_timeout;
    let service = service_fn(|request| {
        let shared = shared.clone();
        async move { Ok::<_, Infallible>(respond(&shared, from, request).await) }
    });
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(idle_timeout)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = std::pin::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection ended early");
    }
}
