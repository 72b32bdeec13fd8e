//! Bodies on their way through, in pieces as they come.

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use tokio::time::{Instant, Sleep};
use tokio_util::sync::WaitForCancellationFutureOwned;

use super::targets::Lease;

/// Why a body ends before its end.
#[derive(Debug, thiserror::Error)]
pub enum Cut {
    #[error(transparent)]
    Broken(#[from] hyper::Error),
    #[error("nothing came for {} s", .0.as_secs())]
    Silent(Duration),
    #[error("the target's deregistration delay has run out")]
    Drained,
}

/// The body of a request, which may be offered to a second target as long as nobody has read of it.
#[derive(Clone)]
pub struct Offered(Arc<Mutex<Reading>>);

struct Reading {
    body: Incoming,
    /// When something of it came last.
    last: Instant,
}

impl Offered {
    pub fn new(body: Incoming) -> Self {
        Self(Arc::new(Mutex::new(Reading { body, last: Instant::now() })))
    }

    fn reading(&self) -> MutexGuard<'_, Reading> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends when nothing has been read of it for so long.
    pub async fn silent_for(&self, limit: Duration) {
        loop {
            let until = self.reading().last + limit;
            if until <= Instant::now() {
                return;
            }
            tokio::time::sleep_until(until).await;
        }
    }
}

impl Body for Offered {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let mut reading = self.reading();
        let polled = Pin::new(&mut reading.body).poll_frame(context);
        if polled.is_ready() {
            reading.last = Instant::now();
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.reading().body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.reading().body.size_hint()
    }
}

/// The body of an answer. Its target isn't drained before it ends.
pub struct Answer {
    body: Incoming,
    limit: Duration,
    silence: Pin<Box<Sleep>>,
    cut: Pin<Box<WaitForCancellationFutureOwned>>,
    _lease: Lease,
}

impl Answer {
    pub fn new(body: Incoming, limit: Duration, lease: Lease) -> Self {
        let silence = Box::pin(tokio::time::sleep(limit));
        let cut = Box::pin(lease.0.cut.clone().cancelled_owned());
        Self { body, limit, silence, cut, _lease: lease }
    }
}

impl Body for Answer {
    type Data = Bytes;
    type Error = Cut;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Cut>>> {
        if let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(context) {
            let next = Instant::now() + self.limit;
            self.silence.as_mut().reset(next);
            return Poll::Ready(frame.map(|frame| frame.map_err(Cut::Broken)));
        }
        if self.cut.as_mut().poll(context).is_ready() {
            return Poll::Ready(Some(Err(Cut::Drained)));
        }
        if self.silence.as_mut().poll(context).is_ready() {
            return Poll::Ready(Some(Err(Cut::Silent(self.limit))));
        }
        Poll::Pending
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
