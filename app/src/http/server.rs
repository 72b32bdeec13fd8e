//! The accept loop: HTTP/1.1 with time limits against slow clients, and a graceful end.

use super::connection::Shared;
use super::site::Site;
use anyhow::Context;
use hyper_util::rt::TokioTimer;
use socket2::SockRef;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// How long a client may take nothing of what is sent to it: one that has vanished, or never reads, is let go then.
const UNREAD_TIME: Duration = Duration::from_secs(60);

/// Connections that may wait to be accepted. Who finds no room knocks again after a second; 128 have some as sockets come, and a
/// thousand come at once when a sale opens. The kernel allows no more than its `net.core.somaxconn`.
const UNACCEPTED: i32 = 4096;

/// Makes room for who comes at once, and limits what connections, which have it from their listener, leave unread.
fn prepare(listener: &TcpListener) -> anyhow::Result<()> {
    let socket = SockRef::from(listener);
    socket.listen(UNACCEPTED).context("listen")?;
    socket.set_tcp_user_timeout(Some(UNREAD_TIME)).context("TCP_USER_TIMEOUT")
}

/// Serves until `shutdown` is cancelled, then lets running requests end within `drain`. A connection may wait for a request's
/// head, also between two requests, for `idle`: longer than a load balancer keeps an idle connection, so that it is always
/// the load balancer that closes.
pub async fn serve(
    listener: TcpListener,
    site: Arc<Site>,
    shutdown: &CancellationToken,
    drain: Duration,
    idle: Duration,
) -> anyhow::Result<()> {
    let mut builder = hyper::server::conn::http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(idle);
    let shared = Arc::new(Shared::new(site, builder, idle));
    // Every connection holds a sender: the channel closes with the last of them.
    let (open, mut all_closed) = mpsc::channel::<()>(1);
    prepare(&listener)?;
    loop {
        let (stream, peer) = tokio::select! {
            () = shutdown.cancelled() => break,
            accepted = listener.accept() => match accepted {
                Ok(accepted) => accepted,
                // Out of file descriptors, or the peer is gone already: neither is a reason to stop.
                Err(error) => {
                    tracing::warn!(%error, "could not accept a connection");
                    tokio::time::sleep(Duration::from_millis(20)).await;
                    continue;
                }
            },
        };
        stream.set_nodelay(true).context("TCP_NODELAY")?;
        let (shared, open) = (shared.clone(), open.clone());
        tokio::spawn(async move {
            if let Err(error) = shared.serve(stream, peer).await {
                tracing::debug!(%error, "connection ended");
            }
            drop(open);
        });
    }
    // Who comes now is refused at once, instead of being left unheard until the process ends.
    drop(listener);
    drop(open);
    shared.closing.cancel();
    if tokio::time::timeout(drain, all_closed.recv()).await.is_err() {
        tracing::warn!(?drain, "some requests did not end in time");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::net::TcpStream;

    #[tokio::test]
    async fn a_connection_has_the_limit_of_its_listener() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("listens");
        prepare(&listener).expect("is set");
        let address = listener.local_addr().expect("an address");
        let (client, accepted) = tokio::join!(TcpStream::connect(address), listener.accept());
        let (_client, (stream, _)) = (client.expect("connects"), accepted.expect("accepts"));
        assert_eq!(SockRef::from(&stream).tcp_user_timeout().expect("is known"), Some(UNREAD_TIME));
    }

    #[tokio::test]
    async fn many_can_come_before_one_is_accepted() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("listens");
        prepare(&listener).expect("is set");
        let address = listener.local_addr().expect("an address");
        let mut clients = Vec::new();
        for _ in 0..500 {
            let client = tokio::time::timeout(Duration::from_millis(900), TcpStream::connect(address)).await;
            clients.push(client.expect("there is room").expect("connects"));
        }
    }
}
