//! A moto server of the test's own, behind the gateway.

use std::{
    net::{TcpListener, TcpStream},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};
use ticketctl::{
    aws::{Context, Target},
    local::gateway,
};
use tokio_util::sync::{CancellationToken, DropGuard};

/// Stopped when dropped.
pub struct Moto {
    process: Child,
    endpoint: String,
    _gateway: DropGuard,
}

impl Moto {
    /// Starts `moto_server` (or what `TICKETCTL_MOTO_SERVER` says) on a free port, waits until it listens, and puts the
    /// gateway in front of it. Call it inside a tokio runtime.
    pub fn start() -> Moto {
        let program = std::env::var("TICKETCTL_MOTO_SERVER").unwrap_or_else(|_| "moto_server".into());
        let free = TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
        let port = free.local_addr().expect("a bound listener has an address").port();
        drop(free);
        let process = Command::new(&program)
            .args(["-H", "127.0.0.1", "-p", &port.to_string()])
            .env("MOTO_IAM_LOAD_MANAGED_POLICIES", "true")
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap_or_else(|error| {
                panic!("can't start {program}: {error}; install moto[server,all] or name it in TICKETCTL_MOTO_SERVER")
            });
        let (endpoint, gateway) = gateway_to(port);
        let mut moto = Moto { process, endpoint, _gateway: gateway };
        let begun = Instant::now();
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            let ended = moto.process.try_wait().expect("a child can be asked for its state");
            assert!(ended.is_none(), "{program} ended before it listened: {ended:?}");
            assert!(begun.elapsed() < Duration::from_secs(60), "{program} doesn't listen on port {port} after 60 s");
            std::thread::sleep(Duration::from_millis(50));
        }
        moto
    }

    /// The gateway's address.
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// The clients of a stack against this server.
    pub async fn context(&self, stack: &str) -> Context {
        let target = Target { endpoint_url: Some(self.endpoint.clone()), local_credentials: true, ..Target::default() };
        Context::load(stack, "ap-northeast-2", &target).await
    }
}

impl Drop for Moto {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// A gateway in front of the emulator on `port`: its address, and what stops it when dropped.
fn gateway_to(port: u16) -> (String, DropGuard) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
    let endpoint = format!("http://{}", listener.local_addr().expect("a bound listener has an address"));
    listener.set_nonblocking(true).expect("a listener can be made non-blocking");
    let listener = tokio::net::TcpListener::from_std(listener).expect("a listener for tokio");
    let stop = CancellationToken::new();
    let options = gateway::Options { upstream: format!("http://127.0.0.1:{port}"), strict: true };
    tokio::spawn(gateway::serve(listener, options, stop.clone()));
    (endpoint, stop.drop_guard())
}
