//! A LocalStack of the test's own, gone with its processes and files when dropped.

use std::{
    fs::File,
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    os::unix::process::CommandExt,
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use crate::support::Ran;

/// Ends LocalStack when its standard input does.
const SERVE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/localstack/serve.py");

pub struct Server {
    process: Child,
    port: u16,
    /// What LocalStack and ticketctl write: logs, caches, certificates.
    home: tempfile::TempDir,
}

impl Server {
    /// Starts LocalStack out of the virtual environment that `TICKETCTL_LOCALSTACK_VENV` names, on a free port of
    /// 127.0.0.1, and waits until it answers.
    pub fn start() -> Server {
        let environment = std::env::var("TICKETCTL_LOCALSTACK_VENV").expect(
            "TICKETCTL_LOCALSTACK_VENV isn't set: it names the virtual environment with LocalStack; \
             `scripts/setup test` makes one in target/localstack, and `make test` sets it",
        );
        let python = Path::new(&environment).join("bin/python");
        assert!(python.is_file(), "TICKETCTL_LOCALSTACK_VENV names no virtual environment: no {}", python.display());
        let home = tempfile::tempdir().expect("a temporary folder");
        let log = File::create(home.path().join("log")).expect("a log file");
        let port = TcpListener::bind("127.0.0.1:0").and_then(|socket| socket.local_addr()).expect("a free port").port();
        let process = Command::new(python)
            .arg(SERVE)
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", home.path())
            .env("TMPDIR", home.path())
            // It takes a container for its own and would then write to the system's folders.
            .env("OVERRIDE_IN_DOCKER", "0")
            .env("FILESYSTEM_ROOT", home.path())
            .env("GATEWAY_LISTEN", format!("127.0.0.1:{port}"))
            // Nothing goes out: no name server, no usage reports, no download of a certificate.
            .env("DNS_ADDRESS", "0")
            .env("DISABLE_EVENTS", "1")
            .env("SKIP_SSL_CERT_DOWNLOAD", "1")
            .stdin(Stdio::piped())
            .stdout(log.try_clone().expect("a second handle"))
            .stderr(log)
            .process_group(0)
            .spawn()
            .expect("LocalStack starts");
        let mut server = Server { process, port, home };
        server.wait();
        server
    }

    fn wait(&mut self) {
        let begun = Instant::now();
        while !self.is_healthy() {
            let ended = self.process.try_wait().expect("the state of a child");
            assert!(ended.is_none(), "LocalStack ended before it answered:\n{}", self.log());
            assert!(
                begun.elapsed() < Duration::from_secs(90),
                "LocalStack doesn't answer after 90 seconds:\n{}",
                self.log()
            );
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    fn is_healthy(&self) -> bool {
        self.health().is_some_and(|answer| answer.contains(" 200 "))
    }

    /// LocalStack's answer about itself: head and body.
    pub fn health(&self) -> Option<String> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).ok()?;
        let mut answer = String::new();
        stream.write_all(b"GET /_localstack/health HTTP/1.0\r\nHost: localstack\r\n\r\n").ok()?;
        stream.read_to_string(&mut answer).ok()?;
        Some(answer)
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.home.path().join("log")).unwrap_or_else(|error| error.to_string())
    }

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Runs `ticketctl VERB -f stacks/STACK --endpoint-url … REST…`, with some program for a service to run.
    pub fn on(&self, stack: &str, verb: &str, rest: &[&str]) -> Ran {
        let program: &[&str] = if stack == "dev.yaml" { &["--set", "services.web.artifact=/bin/true"] } else { &[] };
        let stack = Path::new(env!("CARGO_MANIFEST_DIR")).join("stacks").join(stack);
        let output = Command::new(env!("CARGO_BIN_EXE_ticketctl"))
            .arg(verb)
            .arg("-f")
            .arg(stack)
            .args(["--endpoint-url", &self.url()])
            .args([program, rest].concat())
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", self.home.path())
            .env("AWS_ACCESS_KEY_ID", "test")
            .env("AWS_SECRET_ACCESS_KEY", "test")
            .current_dir(self.home.path())
            .stdin(Stdio::null())
            .output();
        Ran::new(output.expect("the binary starts"))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // The whole group, with what LocalStack has started. It may have ended already.
        let group = format!("-{}", self.process.id());
        let _ = Command::new("kill").args(["-KILL", "--", &group]).stderr(Stdio::null()).status();
        let _ = self.process.wait();
    }
}
