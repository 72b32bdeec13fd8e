//! One connection: in hyper's hands while a request is under way, a bare socket in between.
//!
//! hyper keeps 16 KiB of buffers for a connection for as long as it lives. Ten thousand browsers that wait for a sale
//! to open would cost 160 MiB for nothing, so where there are many, a connection that has answered all it was asked is
//! taken out of hyper, and comes back to it with the next byte.

use super::site::Site;
use axum::body::Body;
use axum::extract::ConnectInfo;
use bytes::Bytes;
use hyper::body::{Frame, Incoming, SizeHint};
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper::server::conn::http1;
use hyper::service::Service;
use hyper_util::rt::TokioIo;
use std::convert::Infallible;
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

/// Connections that begin a request at the same time. What more comes stays in the sockets' buffers.
const ACTIVE: usize = 256;
/// Up to so many connections are left in hyper between requests, which saves making one anew for each request.
const FEW: usize = 512;
/// A request that is not answered for longer than this (a sale that waits for others) lets the next begin.
const SLOW: Duration = Duration::from_secs(1);
/// One that hasn't come in whole after this does so, too: who sends it is slow, and may mean to keep the others out.
const UNHEARD: Duration = Duration::from_millis(50);

/// What all connections share.
pub struct Shared {
    /// What is served
    pub site: Arc<Site>,
    /// How it is read and written
    pub builder: http1::Builder,
    /// How long a connection may be idle
    pub idle: Duration,
    /// Cancelled when connections are to end after what is under way
    pub closing: CancellationToken,
    active: Semaphore,
    /// Connections at the moment
    open: AtomicUsize,
}

/// A connection that counts.
struct Counted<'s>(&'s AtomicUsize);

impl<'s> Counted<'s> {
    fn new(open: &'s AtomicUsize) -> Self {
        open.fetch_add(1, Ordering::Relaxed);
        Self(open)
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Shared {
    /// Nothing is connected yet.
    pub fn new(site: Arc<Site>, builder: http1::Builder, idle: Duration) -> Self {
        let (closing, active) = (CancellationToken::new(), Semaphore::new(ACTIVE));
        Self { site, builder, idle, closing, active, open: AtomicUsize::new(0) }
    }

    /// Serves a connection until it ends.
    pub async fn serve(&self, mut stream: TcpStream, peer: SocketAddr) -> Result<(), hyper::Error> {
        let _counted = Counted::new(&self.open);
        let mut unread = Bytes::new();
        loop {
            if unread.is_empty() && !self.speaks(&stream).await {
                return Ok(());
            }
            let permit = self.active.acquire().await.ok();
            // In a box of its own, which a connection that is idle or waits for its turn has not.
            match Box::pin(self.answer(stream, unread, peer, permit)).await? {
                Some(parked) => (stream, unread) = parked,
                None => return Ok(()),
            }
        }
    }

    /// Waits for the next byte. False when there will be none, or we are not to wait any longer.
    async fn speaks(&self, stream: &TcpStream) -> bool {
        // A look, since a socket may be called readable once more after all of it was read: who then waits in vain for a
        // request would keep the others from beginning theirs.
        let mut first = [0];
        tokio::select! {
            biased;
            seen = stream.peek(&mut first) => seen.is_ok_and(|bytes| bytes > 0),
            () = self.closing.cancelled() => false,
            () = tokio::time::sleep(self.idle) => false,
        }
    }

    /// Lets hyper serve until everything is answered and there are many connections; then gives the socket back, with what
    /// was read of the next request. None when the connection has ended.
    async fn answer(
        &self,
        stream: TcpStream,
        unread: Bytes,
        peer: SocketAddr,
        mut permit: Option<SemaphorePermit<'_>>,
    ) -> Result<Option<(TcpStream, Bytes)>, hyper::Error> {
        let activity = Arc::<Activity>::default();
        let io = Socket { stream: TokioIo::new(stream), unread, activity: activity.clone() };
        let handler = Handler { site: self.site.clone(), peer, activity: activity.clone() };
        let mut connection = self.builder.serve_connection(io, handler);
        let (mut unheard, mut slow) = (pin!(tokio::time::sleep(UNHEARD)), pin!(tokio::time::sleep(SLOW)));
        let mut closing = pin!(self.closing.cancelled());
        let mut closed = false;
        let ended = poll_fn(|context| {
            let mut served = Pin::new(&mut connection);
            if !closed && closing.as_mut().poll(context).is_ready() {
                closed = true;
                served.as_mut().graceful_shutdown();
            }
            match served.poll(context) {
                Poll::Ready(result) => return Poll::Ready(Some(result)),
                Poll::Pending if activity.is_idle() && !closed && self.open.load(Ordering::Relaxed) > FEW => {
                    return Poll::Ready(None);
                }
                Poll::Pending => {}
            }
            // What is left of an answer that has begun may be a stream of events.
            if permit.is_some()
                && (activity.is_answering()
                    || slow.as_mut().poll(context).is_ready()
                    || unheard.as_mut().poll(context).is_ready() && activity.is_unheard())
            {
                permit = None;
            }
            Poll::Pending
        })
        .await;
        match ended {
            Some(result) => result.map(|()| None),
            None => {
                let parts = connection.into_parts();
                // What hyper read is older than what this socket still has to give back to it.
                let unread = [parts.read_buf, parts.io.unread].concat().into();
                Ok(Some((parts.io.stream.into_inner(), unread)))
            }
        }
    }
}

/// What hyper is doing with a connection.
#[derive(Default)]
struct Activity {
    /// Requests so far
    requests: AtomicUsize,
    /// Requests that came in whole
    heard: AtomicUsize,
    /// Answers that were begun
    begun: AtomicUsize,
    /// Answers that were sent in full
    answers: AtomicUsize,
    /// The socket took no more when it was last written to
    blocked: AtomicBool,
    /// A request's body was not read to its end: hyper has to skip it or to close the connection
    abandoned: AtomicBool,
}

impl Activity {
    /// Whether a request is still to come, or a part of one.
    fn is_unheard(&self) -> bool {
        self.heard.load(Ordering::Relaxed) < self.requests.load(Ordering::Relaxed).max(1)
    }

    /// Whether all that was asked has an answer, which may still be on its way.
    fn is_answering(&self) -> bool {
        let begun = self.begun.load(Ordering::Relaxed);
        begun > 0 && begun == self.requests.load(Ordering::Relaxed)
    }

    /// Whether hyper holds nothing but the beginning of a next request, if that.
    fn is_idle(&self) -> bool {
        let answers = self.answers.load(Ordering::Relaxed);
        answers > 0
            && answers == self.requests.load(Ordering::Relaxed)
            && !self.blocked.load(Ordering::Relaxed)
            && !self.abandoned.load(Ordering::Relaxed)
    }
}

/// A socket that first gives back what was read from it before.
struct Socket {
    stream: TokioIo<TcpStream>,
    unread: Bytes,
    activity: Arc<Activity>,
}

impl Read for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        mut buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        if self.unread.is_empty() {
            return Pin::new(&mut self.stream).poll_read(context, buffer);
        }
        let length = self.unread.len().min(buffer.remaining());
        buffer.put_slice(&self.unread.split_to(length));
        Poll::Ready(Ok(()))
    }
}

/// It takes one piece at a time: answers are short, and head and body together cost the kernel less than two pieces.
impl Write for Socket {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.stream).poll_write(context, data);
        self.activity.blocked.store(result.is_pending(), Ordering::Relaxed);
        result
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

/// Hands requests to the router and watches how far they are.
struct Handler {
    site: Arc<Site>,
    peer: SocketAddr,
    activity: Arc<Activity>,
}

impl Service<hyper::Request<Incoming>> for Handler {
    type Response = hyper::Response<Answer>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn call(&self, request: hyper::Request<Incoming>) -> Self::Future {
        self.activity.requests.fetch_add(1, Ordering::Relaxed);
        let (peer, activity) = (self.peer, self.activity.clone());
        let mut request = request.map(|body| match hyper::body::Body::is_end_stream(&body) {
            true => {
                activity.heard.fetch_add(1, Ordering::Relaxed);
                Body::empty()
            }
            false => Body::new(Question { body, ended: false, activity: activity.clone() }),
        });
        request.extensions_mut().insert(ConnectInfo::<SocketAddr>(peer));
        let answer = self.site.router().clone().oneshot(request);
        Box::pin(async move {
            let answer = answer.await?;
            activity.begun.fetch_add(1, Ordering::Relaxed);
            Ok(answer.map(|body| Answer { body, activity }))
        })
    }
}

/// The body of a request.
struct Question {
    body: Incoming,
    ended: bool,
    activity: Arc<Activity>,
}

impl hyper::body::Body for Question {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(context));
        if !self.ended && (frame.is_none() || self.body.is_end_stream()) {
            self.ended = true;
            self.activity.heard.fetch_add(1, Ordering::Relaxed);
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Question {
    fn drop(&mut self) {
        if !self.ended {
            self.activity.abandoned.store(true, Ordering::Relaxed);
        }
    }
}

/// The body of an answer. hyper drops it when it has taken all of it.
struct Answer {
    body: Body,
    activity: Arc<Activity>,
}

impl hyper::body::Body for Answer {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        self.activity.answers.fetch_add(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::routing::get;
    use std::io::Read;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    fn shared() -> Shared {
        let router = axum::Router::new().route("/", get(|| async { "alive" }).post(|_: Bytes| async {}));
        Shared::new(Arc::new(router.into()), http1::Builder::new(), Duration::from_secs(60))
    }

    /// Both ends of a connection.
    async fn connect(listener: &TcpListener) -> (TcpStream, TcpStream) {
        let address = listener.local_addr().expect("an address");
        let (client, accepted) = tokio::join!(TcpStream::connect(address), listener.accept());
        (client.expect("connects"), accepted.expect("accepts").0)
    }

    #[tokio::test]
    async fn who_only_seems_to_speak_does_not() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("listens");
        let (mut client, stream) = connect(&listener).await;
        client.write_all(b"G").await.expect("is sent");
        stream.readable().await.expect("is readable");
        // tokio doesn't hear of it, and goes on taking it for readable.
        let read = (&*socket2::SockRef::from(&stream)).read(&mut [0]);
        assert_eq!(read.expect("is read"), 1);
        stream.readable().await.expect("seems to be readable");

        let shared = shared();
        let mut speaks = pin!(shared.speaks(&stream));
        assert!(tokio::time::timeout(Duration::from_millis(100), &mut speaks).await.is_err(), "nothing was said");
        client.write_all(b"G").await.expect("is sent");
        assert!(speaks.await);
    }

    #[tokio::test]
    async fn who_says_half_a_word_keeps_nobody_waiting() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("listens");
        let (shared, mut clients) = (Arc::new(shared()), Vec::new());
        let half = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n{";
        for n in 0..=ACTIVE {
            let (mut client, stream) = connect(&listener).await;
            let shared = shared.clone();
            tokio::spawn(async move { shared.serve(stream, SocketAddr::from(([127, 0, 0, 1], 1))).await });
            let said = match n {
                ACTIVE => "GET / HTTP/1.1\r\nHost: a\r\n\r\n",
                n if n % 2 == 0 => "G",
                _ => half,
            };
            client.write_all(said.as_bytes()).await.expect("is sent");
            clients.push(client);
        }
        let last = clients.last_mut().expect("there is one");
        let answered = tokio::time::timeout(SLOW / 2, last.read_u8()).await;
        assert_eq!(answered.expect("in time").expect("an answer"), b'H');
    }
}
