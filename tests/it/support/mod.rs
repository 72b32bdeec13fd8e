//! An AWS emulator of the test's own: moto behind the gateway, on free ports, gone when dropped.

mod ran;

pub use ran::Ran;

use std::fs::File;
use std::io::Read;
use std::net::{SocketAddr, TcpListener};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use ticketctl::aws::{Context, Target};
use ticketctl::local::{environment, gateway};
use tokio_util::sync::{CancellationToken, DropGuard};

pub const REGION: &str = "ap-northeast-2";

/// moto and the gateway in front of it.
pub struct Endpoint {
    moto: Child,
    gateway: SocketAddr,
    _stop: DropGuard,
    _log: tempfile::TempPath,
}

impl Endpoint {
    /// Starts both; the gateway lives in the test's runtime. moto comes from `TICKETCTL_MOTO_VENV` or from ticketctl's own
    /// environment, which is made when it isn't there.
    pub async fn start() -> Self {
        let cache = environment::user_cache().expect("a cache directory");
        let made = environment::ensure(&cache, &mut |line| eprintln!("{line}")).await;
        let environment = made.unwrap_or_else(|error| panic!("no moto: {error}"));
        let (log, path) = tempfile::NamedTempFile::new().expect("a log file").into_parts();
        let port = TcpListener::bind("127.0.0.1:0").and_then(|socket| socket.local_addr()).expect("a free port").port();
        let mut moto = Command::new(environment.python())
            .arg(environment.moto_server())
            .args(["-H", "127.0.0.1", "-p", &port.to_string()])
            .env("MOTO_IAM_LOAD_MANAGED_POLICIES", "true")
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a second handle"))
            .stderr(log)
            .spawn()
            .expect("moto starts");
        wait_for(&mut moto, port, &path).await;

        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let gateway = listener.local_addr().expect("an address");
        let options = gateway::Options { upstream: format!("http://127.0.0.1:{port}"), strict: true };
        let stop = CancellationToken::new();
        tokio::spawn(gateway::serve(listener, options, stop.clone()));
        Self { moto, gateway, _stop: stop.drop_guard(), _log: path }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.gateway)
    }

    /// The clients of a stack against it.
    pub async fn context(&self, stack: &str) -> Context {
        let target = Target { endpoint_url: Some(self.url()), local_credentials: true, ..Target::default() };
        Context::load(stack, REGION, &target).await
    }

    /// Clients that send each call once: for a test that wants to see each answer.
    pub async fn clients(&self) -> Context {
        self.context("shop-test").await.without_retries()
    }

    /// A call of the gateway's own paths: the status, and the body as JSON.
    pub async fn control(&self, method: &str, path: &str, body: &str) -> (u16, serde_json::Value) {
        self.send(&format!("{method} /_ticketctl/{path} HTTP/1.1\r\n"), body).await
    }

    /// A call of a service for which there is no client here, in the JSON protocol; `target` is the service's own prefix and
    /// the operation.
    pub async fn json_call(&self, service: &str, target: &str, body: &serde_json::Value) -> (u16, serde_json::Value) {
        let scope = format!("test/20260101/{REGION}/{service}/aws4_request");
        let head = format!(
            "POST / HTTP/1.1\r\nX-Amz-Target: {target}\r\nContent-Type: application/x-amz-json-1.1\r\n\
             Authorization: AWS4-HMAC-SHA256 Credential={scope}, SignedHeaders=host, Signature=0\r\n"
        );
        self.send(&head, &body.to_string()).await
    }

    /// Sends a request with these first lines: the status, and the body as JSON.
    async fn send(&self, head: &str, body: &str) -> (u16, serde_json::Value) {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let mut stream = tokio::net::TcpStream::connect(self.gateway).await.expect("the gateway listens");
        let length = body.len();
        let request = format!("{head}Host: gateway\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{body}");
        stream.write_all(request.as_bytes()).await.expect("the request is sent");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.expect("an answer");
        let (head, body) = answer.split_once("\r\n\r\n").expect("a head and a body");
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
        (status, serde_json::from_str(body).expect("JSON"))
    }
}

async fn wait_for(moto: &mut Child, port: u16, log: &std::path::Path) {
    let said = || {
        let mut text = String::new();
        let read = File::open(log).and_then(|mut file| file.read_to_string(&mut text));
        read.map_or_else(|error| error.to_string(), |_| text)
    };
    let begun = Instant::now();
    while tokio::net::TcpStream::connect(("127.0.0.1", port)).await.is_err() {
        let ended = moto.try_wait().expect("the state of a child");
        assert!(ended.is_none(), "moto ended before it listened: {}", said());
        assert!(begun.elapsed() < Duration::from_secs(120), "moto doesn't listen after two minutes: {}", said());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

impl Drop for Endpoint {
    fn drop(&mut self) {
        // It may have died already; then there is nothing left to collect but its exit code.
        let _ = self.moto.kill();
        let _ = self.moto.wait();
    }
}
