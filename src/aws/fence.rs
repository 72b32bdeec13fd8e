//! No call goes out without a permit, and the permit is asked for at the last moment: AWS can't tell a late call from a timely one.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use aws_smithy_runtime_api::box_error::BoxError;
use aws_smithy_runtime_api::client::{
    interceptors::{Intercept, context::BeforeTransmitInterceptorContextMut},
    runtime_components::RuntimeComponents,
};
use aws_smithy_types::{body::SdkBody, config_bag::ConfigBag};
use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};

/// Whether a call may be sent now; if not, why, in words.
pub type Permit = Arc<dyn Fn() -> std::result::Result<(), String> + Send + Sync>;

/// Lets no call out without a permit. It is asked for before there is a connection, and again when the body is fetched to be
/// written: between the two lies the making of the connection, and a process may be stopped there for longer than its lease.
/// The HTTP client writes head and body together, so nothing has been sent by then. A call without a body is asked for once;
/// of those that change something only the deletion of a bucket is one.
pub struct Fenced(pub Permit);

impl std::fmt::Debug for Fenced {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Fenced")
    }
}

impl Intercept for Fenced {
    fn name(&self) -> &'static str {
        "fenced"
    }

    fn modify_before_transmit(
        &self,
        context: &mut BeforeTransmitInterceptorContextMut<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        (self.0)()?;
        let permit = self.0.clone();
        let request = context.request_mut();
        let body = request.take_body();
        *request.body_mut() = body.map_preserve_contents(move |body| {
            SdkBody::from_body_1_x(Guarded { body: Box::pin(body), permit: permit.clone() })
        });
        Ok(())
    }
}

/// A body that ends with an error when its call may not be sent any more.
struct Guarded {
    body: Pin<Box<SdkBody>>,
    permit: Permit,
}

impl Body for Guarded {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        if let Err(refused) = (self.permit)() {
            return Poll::Ready(Some(Err(refused.into())));
        }
        self.body.as_mut().poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    use aws_sdk_sqs::config::{BehaviorVersion, Credentials, Region, retry::RetryConfig};
    use tokio::io::AsyncReadExt;
    use tokio::net::TcpListener;

    use super::*;

    /// What reaches an endpoint of a call that gets a permit so many times.
    async fn sent(permits: usize) -> String {
        let endpoint = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}", endpoint.local_addr().expect("an address"));
        let asked = AtomicUsize::new(0);
        let permit: Permit = Arc::new(move || match asked.fetch_add(1, Ordering::SeqCst) < permits {
            true => Ok(()),
            false => Err("the lock was lost".to_owned()),
        });
        let config = aws_sdk_sqs::Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new("eu-central-1"))
            .credentials_provider(Credentials::new("one", "two", None, None, "test"))
            .retry_config(RetryConfig::disabled())
            .endpoint_url(url)
            .interceptor(Fenced(permit));
        let received = tokio::spawn(async move {
            let (mut connection, _) = endpoint.accept().await.expect("a connection");
            let mut received = Vec::new();
            // To its end, or until the call is there: it gets no answer.
            while !String::from_utf8_lossy(&received).contains("orders")
                && connection.read_buf(&mut received).await.is_ok_and(|count| count > 0)
            {}
            String::from_utf8_lossy(&received).into_owned()
        });
        let client = aws_sdk_sqs::Client::from_conf(config.build());
        client.create_queue().queue_name("orders").send().await.expect_err("nobody answers");
        drop(client);
        match tokio::time::timeout(Duration::from_secs(2), received).await {
            Ok(received) => received.expect("no panic"),
            Err(_) => "no connection".to_owned(),
        }
    }

    #[tokio::test]
    async fn a_call_is_sent_only_if_it_may_still_be_when_it_is_written() {
        assert_eq!(sent(0).await, "no connection");
        assert_eq!(sent(1).await, "", "lost while the connection was made");
        assert!(sent(usize::MAX).await.contains("orders"));
    }
}
