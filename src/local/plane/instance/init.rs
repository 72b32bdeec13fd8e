//! The first process of an instance: runs the boot script, is its systemd, and collects what ends.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use rustix::process::{Pid, Resource, Rlimit, Signal, WaitOptions, WaitStatus, getrlimit, setrlimit};
use serde::{Deserialize, Serialize};

use super::services::Services;
use super::state::{Boot, InstanceState, RUN, SOCKET};
use super::systemctl::{self, Order};

/// How long the init sleeps when nobody wants anything.
const PAUSE: Duration = Duration::from_millis(50);

/// How often it tells of its processor time.
const TELLING: Duration = Duration::from_secs(1);

/// What can be asked through the socket.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Request {
    Systemctl(Vec<String>),
    /// Stop everything, with the time that each service may take, and end.
    PowerOff,
}

/// What a program would have printed, and its exit code.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reply {
    pub code: u8,
    pub output: String,
    pub errors: String,
}

struct Init {
    run: PathBuf,
    services: Services,
    boot: Boot,
    script: Option<Pid>,
    /// Who waits for services to come to rest.
    waiting: Vec<(Order, Sender<Reply>)>,
    powering_off: bool,
    told: Option<(InstanceState, Instant)>,
}

/// Runs the instance until it is powered off; the process must be the first of its namespace.
///
/// # Errors
/// When the boot script cannot be run, or what belongs to the init cannot be written.
pub fn run(script: &Path) -> std::io::Result<()> {
    // When bubblewrap is killed outside, the instance is to be gone.
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum })?;
    let run = PathBuf::from(RUN);
    let requests = listen(&run.join(SOCKET))?;
    println!("{} boot begins", Timestamp::now());
    let child = Command::new(script).stdin(Stdio::null()).current_dir("/").spawn()?;
    let init = Init {
        run,
        services: Services::of(Path::new("/etc/systemd/system")),
        boot: Boot::Running,
        script: Pid::from_raw(child.id().cast_signed()),
        waiting: Vec::new(),
        powering_off: false,
        told: None,
    };
    init.live(&requests)
}

type Asked = (Request, Sender<Reply>);

/// Takes requests in, each on a thread of its own: one may wait long for a service that stops.
fn listen(socket: &Path) -> std::io::Result<Receiver<Asked>> {
    match std::fs::remove_file(socket) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = UnixListener::bind(socket)?;
    let (send, receive) = channel();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let send = send.clone();
            std::thread::spawn(move || {
                if let Err(error) = serve(&stream, &send) {
                    eprintln!("a request to the init failed: {error}");
                }
            });
        }
    });
    Ok(receive)
}

fn serve(mut stream: &UnixStream, send: &Sender<Asked>) -> std::io::Result<()> {
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line)?;
    let request = serde_json::from_str(&line)?;
    let (answer, answered) = channel();
    let gone = || std::io::Error::other("the init has ended");
    send.send((request, answer)).map_err(|_| gone())?;
    let reply = answered.recv().map_err(|_| gone())?;
    writeln!(stream, "{}", serde_json::to_string(&reply)?)
}

/// Asks an instance's init, and waits for its answer.
///
/// # Errors
/// When it isn't there, or ends before it has answered.
pub fn ask(socket: &Path, request: &Request) -> std::io::Result<Reply> {
    let mut stream = UnixStream::connect(socket)?;
    writeln!(stream, "{}", serde_json::to_string(request)?)?;
    let mut line = String::new();
    BufReader::new(&stream).read_line(&mut line)?;
    Ok(serde_json::from_str(&line)?)
}

impl Init {
    fn live(mut self, requests: &Receiver<Asked>) -> std::io::Result<()> {
        loop {
            match requests.recv_timeout(PAUSE) {
                Ok((request, answer)) => self.take(request, answer),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return Err(std::io::Error::other("nobody listens any more")),
            }
            // No children is no error: services may all be stopped.
            while let Ok(Some((pid, status))) = rustix::process::wait(WaitOptions::NOHANG) {
                self.ended(pid, status);
            }
            self.services.tick();
            self.answer();
            self.tell()?;
            if self.powering_off && self.services.all_stopped() {
                println!("{} powered off", Timestamp::now());
                return Ok(());
            }
        }
    }

    fn take(&mut self, request: Request, answer: Sender<Reply>) {
        let arguments = match request {
            Request::PowerOff => {
                println!("{} powering off", Timestamp::now());
                self.powering_off = true;
                self.services.stop_all();
                return give(&answer, Reply::default());
            }
            Request::Systemctl(_) if self.powering_off => {
                return give(&answer, systemctl::failed("the instance is being powered off"));
            }
            Request::Systemctl(arguments) => arguments,
        };
        match systemctl::carry_out(&mut self.services, &arguments) {
            Ok(order) => self.waiting.push((order, answer)),
            Err(reply) => give(&answer, reply),
        }
    }

    /// Answers those whose services are at rest.
    fn answer(&mut self) {
        for (order, answer) in std::mem::take(&mut self.waiting) {
            match order.outcome(&self.services) {
                Some(reply) => give(&answer, reply),
                None => self.waiting.push((order, answer)),
            }
        }
    }

    fn ended(&mut self, pid: Pid, status: WaitStatus) {
        if self.script == Some(pid) {
            self.script = None;
            // A signal is told as the shell tells it.
            let signal = || status.terminating_signal().map_or(1, |signal| 128 + signal);
            let code = status.exit_status().unwrap_or_else(signal);
            self.boot = if code == 0 { Boot::Done } else { Boot::Failed(code) };
            println!("{} boot ended with code {code}", Timestamp::now());
        }
        self.services.ended(pid, status);
    }

    /// Writes the state down when something has happened, and from time to time for the processor time.
    fn tell(&mut self) -> std::io::Result<()> {
        let services = self.services.states();
        if let Some((told, when)) = &self.told
            && when.elapsed() < TELLING
            && told.boot == self.boot
            && told.services == services
        {
            return Ok(());
        }
        let cpu_seconds = processor_time();
        let state = InstanceState { boot: self.boot, services, cpu_seconds, at: Timestamp::now() };
        state.write(&self.run)?;
        self.told = Some((state, Instant::now()));
        Ok(())
    }
}

/// Who asked may be gone by now.
fn give(answer: &Sender<Reply>, reply: Reply) {
    if answer.send(reply).is_err() {
        eprintln!("nobody waits for an answer any more");
    }
}

/// The processor time of all processes that this one can see, and of those that they have collected, in seconds.
/// Source: <https://man7.org/linux/man-pages/man5/proc_pid_stat.5.html>
fn processor_time() -> f64 {
    let processes = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let numbers =
        processes.filter(|entry| entry.file_name().to_string_lossy().bytes().all(|byte| byte.is_ascii_digit()));
    let ticks: u64 = numbers
        .filter_map(|entry| std::fs::read_to_string(entry.path().join("stat")).ok())
        .filter_map(|stat| {
            // utime, stime, cutime and cstime are the 14th to 17th field; the second, in brackets, may hold anything.
            let fields = stat.rsplit_once(')')?.1.split_whitespace().skip(11).take(4);
            fields.map(|field| field.parse::<u64>().ok()).sum::<Option<u64>>()
        })
        .sum();
    // The kernel tells times in hundredths of a second, whatever its own clock does.
    std::time::Duration::from_millis(ticks * 10).as_secs_f64()
}
