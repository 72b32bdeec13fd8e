//! An AWS emulator of the test's own: moto behind the gateway, on free ports, gone when dropped.

mod ran;

pub use ran::Ran;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::SocketAddr;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::Mutex;

use ticketctl::aws::{Context, Target};
use ticketctl::local::{environment, gateway};
use tokio_util::sync::{CancellationToken, DropGuard};

pub const REGION: &str = "ap-northeast-2";

/// Runs moto so that its state can be kept and come back to.
const SERVE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/support/serve.py");

/// moto and the gateway in front of it.
pub struct Endpoint {
    moto: Mutex<Moto>,
    gateway: SocketAddr,
    _stop: DropGuard,
}

/// The process, which takes commands of one byte and answers each with a line.
struct Moto {
    process: Child,
    commands: ChildStdin,
    answers: BufReader<ChildStdout>,
    log: tempfile::NamedTempFile,
}

impl Moto {
    fn answer(&mut self) -> String {
        let mut line = String::new();
        self.answers.read_line(&mut line).expect("moto's answer");
        if !line.ends_with('\n') {
            let mut said = String::new();
            self.log.reopen().and_then(|mut log| log.read_to_string(&mut said)).expect("moto's log");
            panic!("moto has ended: {said}");
        }
        line.trim().to_owned()
    }

    fn command(&mut self, command: u8) {
        self.commands.write_all(&[command]).expect("moto takes commands");
        self.answer();
    }
}

impl Endpoint {
    /// Starts both; the gateway lives in the test's runtime. moto comes from `TICKETCTL_MOTO_VENV` or from ticketctl's own
    /// environment, which is made when it isn't there.
    pub async fn start() -> Self {
        let cache = environment::user_cache().expect("a cache directory");
        let made = environment::ensure(&cache, &mut |line| eprintln!("{line}")).await;
        let environment = made.unwrap_or_else(|error| panic!("no moto: {error}"));
        let log = tempfile::NamedTempFile::new().expect("a log file");
        let mut process = Command::new(environment.python())
            .arg(SERVE)
            .env("MOTO_IAM_LOAD_MANAGED_POLICIES", "true")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(log.reopen().expect("a second handle"))
            .spawn()
            .expect("moto starts");
        let commands = process.stdin.take().expect("piped");
        let answers = BufReader::new(process.stdout.take().expect("piped"));
        let mut moto = Moto { process, commands, answers, log };
        let port = moto.answer();

        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let gateway = listener.local_addr().expect("an address");
        let options = gateway::Options { upstream: format!("http://127.0.0.1:{port}"), strict: true };
        let stop = CancellationToken::new();
        tokio::spawn(gateway::serve(listener, options, stop.clone()));
        Self { moto: Mutex::new(moto), gateway, _stop: stop.drop_guard() }
    }

    /// Keeps the state as it is now, for [`Endpoint::back`]. No call may be under way in either.
    pub async fn keep(&self) {
        self.state(b'k', "keep").await;
    }

    /// Everything is again as it was when it was kept.
    pub async fn back(&self) {
        self.state(b'b', "back").await;
    }

    async fn state(&self, command: u8, path: &str) {
        tokio::task::block_in_place(|| self.moto.lock().expect("moto").command(command));
        let (status, said) = self.control("POST", path, "").await;
        assert_eq!(status, 200, "{said}");
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

impl Drop for Endpoint {
    fn drop(&mut self) {
        let moto = self.moto.get_mut().unwrap_or_else(std::sync::PoisonError::into_inner);
        // It may have died already; then there is nothing left to collect but its exit code. A fork of it ends with the input.
        let _ = moto.process.kill();
        let _ = moto.process.wait();
    }
}
