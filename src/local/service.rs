//! A background process of the local cloud: started once, found again through its pid file, stopped.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::Error;

/// How long a process may take to end by itself.
const PATIENCE: Duration = Duration::from_secs(5);

/// How far apart the beginning of a process and its pid file may be.
const BEGINNING: Duration = Duration::from_secs(30);

/// One process, known by the name of its files in a directory.
pub struct Service {
    name: &'static str,
    directory: PathBuf,
}

impl Service {
    pub fn new(name: &'static str, directory: &Path) -> Self {
        Self { name, directory: directory.to_owned() }
    }

    fn pid_file(&self) -> PathBuf {
        self.directory.join(format!("{}.pid", self.name))
    }

    pub fn log_file(&self) -> PathBuf {
        self.directory.join(format!("{}.log", self.name))
    }

    /// Starts the program in the background. The child writes its own pid file before it becomes the program, so that it
    /// is found even when its parent is killed at that moment.
    pub fn start(&self, program: &Path, arguments: &[&str], environment: &[(&str, &str)]) -> Result<Child, Error> {
        use std::os::unix::process::CommandExt;
        let log = self.log_file();
        let output = File::create(&log).map_err(|error| Error::file(&log, error))?;
        let errors = output.try_clone().map_err(|error| Error::file(&log, error))?;
        Command::new("/bin/sh")
            .args(["-c", r#"umask 077; echo $$ > "$0.part" && mv "$0.part" "$0" && exec "$@""#])
            .arg(self.pid_file())
            .arg(program)
            .args(arguments)
            .envs(environment.iter().copied())
            .stdin(Stdio::null())
            .stdout(output)
            .stderr(errors)
            // Its own group: what the terminal sends to the caller does not reach it.
            .process_group(0)
            .spawn()
            .map_err(|error| Error::Start { name: self.name, reason: error.to_string(), log })
    }

    /// The pid of the process, when it lives and is still the one that was started: another program may
    /// have been given the pid of one that died.
    pub fn running(&self, marks: &[&str]) -> Option<u32> {
        let pid: u32 = std::fs::read_to_string(self.pid_file()).ok()?.trim().parse().ok()?;
        let arguments = arguments_of(pid)?;
        let is_it = marks.iter().all(|mark| arguments.iter().any(|argument| argument.ends_with(mark)));
        (is_it && self.began_with_its_file(pid)).then_some(pid)
    }

    /// Whether the process began when its pid file was written. True where the system doesn't tell when it began.
    fn began_with_its_file(&self, pid: u32) -> bool {
        let written = std::fs::metadata(self.pid_file()).and_then(|metadata| metadata.modified());
        match (began(pid), written) {
            (Some(began), Ok(written)) => {
                let apart = written.duration_since(began).or_else(|_| began.duration_since(written));
                apart.is_ok_and(|apart| apart < BEGINNING)
            }
            _ => true,
        }
    }

    /// Ends the process, by force when it doesn't end when asked. Nothing happens when it doesn't run.
    pub async fn stop(&self, marks: &[&str]) -> Result<(), Error> {
        if let Some(pid) = self.running(marks) {
            signal(pid, "TERM")?;
            if !self.ended(marks).await {
                signal(pid, "KILL")?;
                if !self.ended(marks).await {
                    return Err(Error::Stop { name: self.name, pid });
                }
            }
        }
        match std::fs::remove_file(self.pid_file()) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(Error::file(&self.pid_file(), error)),
            _ => Ok(()),
        }
    }

    async fn ended(&self, marks: &[&str]) -> bool {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        while tokio::time::Instant::now() < deadline {
            if self.running(marks).is_none() {
                return true;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        false
    }

    /// The end of what the process wrote, for messages.
    pub fn last_words(&self) -> String {
        let text = std::fs::read(self.log_file()).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
        lines[lines.len().saturating_sub(5)..].join("\n")
    }
}

/// The command line of a live process; none for one that is gone or only waits to be collected.
fn arguments_of(pid: u32) -> Option<Vec<String>> {
    let split =
        |text: &str, at: char| text.split(at).filter(|part| !part.is_empty()).map(str::to_owned).collect::<Vec<_>>();
    let arguments = if Path::new("/proc/self").exists() {
        let bytes = std::fs::read(format!("/proc/{pid}/cmdline")).ok()?;
        split(&String::from_utf8_lossy(&bytes), '\0')
    } else {
        let output = Command::new("ps").args(["-ww", "-o", "command=", "-p", &pid.to_string()]).output().ok()?;
        split(&String::from_utf8_lossy(&output.stdout), ' ')
    };
    (!arguments.is_empty()).then_some(arguments)
}

/// When a process began, from Linux's own figures: ticks (hundredths of a second) since the machine was started.
fn began(pid: u32) -> Option<SystemTime> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The program's name is in brackets and may hold anything; the 22nd field is the 20th after it.
    let ticks: u64 = stat.rsplit_once(')')?.1.split_whitespace().nth(19)?.parse().ok()?;
    let machine = std::fs::read_to_string("/proc/stat").ok()?;
    let boot: u64 = machine.lines().find_map(|line| line.strip_prefix("btime "))?.trim().parse().ok()?;
    Some(UNIX_EPOCH + Duration::from_secs(boot) + Duration::from_millis(ticks * 10))
}

fn signal(pid: u32, name: &str) -> Result<(), Error> {
    // The shell's own kill: the one program for it that every system has.
    let sent = Command::new("/bin/sh")
        .args(["-c", &format!("kill -{name} {pid}")])
        .stderr(Stdio::null())
        .status()
        .map_err(|error| Error::Signal { pid, reason: error.to_string() })?;
    // A process that is gone by now is what was wanted.
    if sent.success() || arguments_of(pid).is_none() {
        Ok(())
    } else {
        Err(Error::Signal { pid, reason: "not permitted".to_owned() })
    }
}
