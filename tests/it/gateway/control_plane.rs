//! `ticketctl local`, through the binary: processes that outlive their command, and what happens when they don't.

use std::io::{BufRead, BufReader};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

/// A user with a data directory of their own; what runs for them is taken down when dropped.
struct User {
    data: tempfile::TempDir,
    port: u16,
}

impl User {
    fn new() -> Self {
        let port = TcpListener::bind("127.0.0.1:0").and_then(|socket| socket.local_addr()).expect("a free port").port();
        Self { data: tempfile::tempdir().expect("a directory"), port }
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ticketctl"));
        command.arg("local").args(arguments).stdin(Stdio::null());
        // The data plane has tests of its own.
        command.env("XDG_DATA_HOME", self.data.path()).env("TICKETCTL_LOCAL_PLANE", "off");
        command
    }

    fn up(&self) -> Command {
        let mut command = self.command(&["up", "--port", &self.port.to_string()]);
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    fn status(&self) -> Value {
        let output = self.command(&["status", "--json"]).output().expect("ticketctl runs");
        let status: Value = serde_json::from_slice(&output.stdout).expect("JSON");
        assert_eq!(output.status.success(), status["status"] == "up", "{status}");
        status
    }

    fn pid(&self, name: &str) -> String {
        let file: PathBuf = self.data.path().join("ticketctl/local").join(format!("{name}.pid"));
        std::fs::read_to_string(&file).expect("a pid file").trim().to_owned()
    }
}

impl Drop for User {
    fn drop(&mut self) {
        // The test has said what it had to say; this is for the processes of one that failed.
        let _ = self.command(&["down"]).output();
    }
}

fn said(output: &Output) -> String {
    let text = [output.stdout.as_slice(), output.stderr.as_slice()].concat();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&text));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Whether the process runs. One that has ended and waits to be collected, by whoever inherited it, doesn't.
fn is_alive(pid: &str) -> bool {
    let output = Command::new("ps").args(["-o", "stat=", "-p", pid]).output().expect("ps runs");
    let state = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    !state.is_empty() && !state.starts_with('Z')
}

fn send(pid: &str, signal: &str) {
    let sent = Command::new("/bin/sh").args(["-c", &format!("kill -{signal} {pid}")]).status();
    assert!(sent.expect("a shell").success(), "process {pid} takes a signal");
}

#[test]
fn two_ups_at_once_make_one_control_plane_and_down_leaves_nothing() {
    let user = User::new();
    assert_eq!(user.status()["status"], "down");
    let first = user.up().spawn().expect("ticketctl runs");
    let second = user.up().spawn().expect("ticketctl runs");
    let first = said(&first.wait_with_output().expect("it ends"));
    let second = said(&second.wait_with_output().expect("it ends"));
    assert_eq!(first, second);
    let endpoint = format!("http://127.0.0.1:{}", user.port);
    assert!(first.contains(&endpoint), "{first}");

    let status = user.status();
    assert_eq!(status["endpoint"], endpoint.as_str());
    let upstream =
        status["upstream"].as_str().and_then(|url| url.strip_prefix("http://")).expect("moto's URL").to_owned();
    let (moto, gateway) = (user.pid("moto"), user.pid("gateway"));
    assert!(is_alive(&moto) && is_alive(&gateway));
    let other_port = user.command(&["up", "--port", "1"]).output().expect("ticketctl runs");
    assert!(!other_port.status.success());
    assert!(String::from_utf8_lossy(&other_port.stderr).contains("already runs at"), "{other_port:?}");

    said(&user.command(&["down"]).output().expect("ticketctl runs"));
    assert!(!is_alive(&moto) && !is_alive(&gateway));
    assert!(TcpStream::connect(&upstream).is_err() && TcpStream::connect(("127.0.0.1", user.port)).is_err());
    assert_eq!(user.status()["status"], "down");
}

#[test]
fn a_killed_emulator_is_told_and_the_next_up_starts_anew() {
    let user = User::new();
    said(&user.up().output().expect("ticketctl runs"));
    let (moto, gateway) = (user.pid("moto"), user.pid("gateway"));
    send(&moto, "KILL");
    let begun = Instant::now();
    while is_alive(&moto) {
        assert!(begun.elapsed() < Duration::from_secs(10), "process {moto} survives kill -9");
        std::thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(user.status()["status"], "broken");
    said(&user.up().output().expect("ticketctl runs"));
    assert_eq!(user.status()["status"], "up");
    assert_ne!(user.pid("moto"), moto);
    assert!(!is_alive(&gateway), "the gateway of the dead emulator is gone");
}

#[test]
fn a_port_that_is_taken_is_an_error_that_says_so() {
    let user = User::new();
    let _taken = TcpListener::bind(("127.0.0.1", user.port)).expect("the port");
    let output = user.up().output().expect("ticketctl runs");
    assert!(!output.status.success());
    let message = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(message.contains(&format!("port {} on 127.0.0.1 is taken", user.port)), "{message}");
    assert_eq!(user.status()["status"], "down");
}

#[test]
fn the_gateway_alone_says_where_it_is_and_ends_when_asked() {
    let user = User::new();
    let mut command = user.command(&["gateway", "--listen", "127.0.0.1:0", "--upstream", "http://127.0.0.1:1"]);
    let mut gateway = command.stdout(Stdio::piped()).spawn().expect("ticketctl runs");
    let mut line = String::new();
    BufReader::new(gateway.stdout.take().expect("its output")).read_line(&mut line).expect("a line");
    let address = line.strip_prefix("gateway at http://").and_then(|rest| rest.split(' ').next()).expect("its address");
    TcpStream::connect(address).expect("it listens there");
    send(&gateway.id().to_string(), "TERM");
    assert!(gateway.wait().expect("it ends").success());
}
