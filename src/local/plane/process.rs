//! The plane's child processes. They outlive the supervisor, as a database outlives the control plane of AWS: the next one
//! finds them again, and `local down` finds them also when there is no supervisor any more.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::{self, File};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use rustix::io::Errno;
use rustix::process::{Pid, Signal, WaitOptions, kill_process, kill_process_group, waitpid};

use super::Error;

/// The longest pause before a process that keeps ending is started again.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// A process that has lived this long has started well: the next end counts as the first.
const SETTLED: Duration = Duration::from_secs(30);

/// A log that has grown over this many bytes begins anew when its process is started.
const LOG_LIMIT: u64 = 64 << 20;

/// How to start a process.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Launch {
    /// The name of its files: letters, digits, `.`, `_` and `-`.
    pub name: String,
    pub program: PathBuf,
    pub arguments: Vec<OsString>,
    /// What it finds in its environment beyond ours.
    pub environment: BTreeMap<String, OsString>,
    /// Where it runs.
    pub directory: PathBuf,
}

/// A live process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Alive {
    pub pid: u32,
    pub since: Timestamp,
}

/// What [`Processes::keep`] came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kept {
    Running(Alive),
    /// Started a moment ago, by this call.
    Started(Alive),
    /// It keeps ending: it will be started again after a pause.
    Waiting,
}

/// All processes of a data directory.
pub struct Processes {
    pids: PathBuf,
    logs: PathBuf,
    ends: Mutex<BTreeMap<String, Ends>>,
}

/// How often a process had to be started again.
#[derive(Clone, Copy, Default)]
struct Ends {
    restarts: u32,
    /// Ends in a row, each soon after the start.
    quick: u32,
    started: Option<Instant>,
    not_before: Option<Instant>,
}

impl Processes {
    /// The processes of a data directory, running or not.
    ///
    /// # Errors
    /// When its directories cannot be made.
    pub fn of(data: &Path) -> Result<Self, Error> {
        let (pids, logs) = (data.join("pids"), data.join("logs"));
        for directory in [&pids, &logs] {
            crate::local::create_private(directory)?;
        }
        Ok(Self { pids, logs, ends: Mutex::default() })
    }

    pub fn log_file(&self, name: &str) -> PathBuf {
        self.logs.join(format!("{name}.log"))
    }

    fn record(&self, name: &str) -> PathBuf {
        self.pids.join(name)
    }

    fn ends(&self) -> MutexGuard<'_, BTreeMap<String, Ends>> {
        self.ends.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How often the process was started again since this supervisor began.
    pub fn restarts(&self, name: &str) -> u32 {
        self.ends().get(name).map_or(0, |ends| ends.restarts)
    }

    /// The names of all that were started and not stopped, alive or not.
    ///
    /// # Errors
    /// When the directory cannot be read.
    pub fn names(&self) -> Result<Vec<String>, Error> {
        let entries = fs::read_dir(&self.pids).map_err(|error| Error::file(&self.pids, error))?;
        let mut names: Vec<String> = entries
            .flatten()
            .filter_map(|entry| entry.file_name().into_string().ok())
            .filter(|name| !name.ends_with(".part"))
            .collect();
        names.sort();
        Ok(names)
    }

    /// The process, if it lives and is the one that was started under this name.
    pub fn find(&self, name: &str) -> Option<Alive> {
        let record = Record::read(&self.record(name))?;
        // A child that has ended stays in the process table until somebody asks for its end; an adopted one is init's.
        let _ = waitpid(Some(record.pid), WaitOptions::NOHANG);
        let stat = Stat::of(record.pid)?;
        (stat.began == record.began && !stat.dead && record.boot == boot())
            .then(|| Alive { pid: record.pid.as_raw_nonzero().get().unsigned_abs(), since: stat.since() })
    }

    /// Whether it was started and not stopped since: if it doesn't live, it has ended by itself.
    pub fn was_started(&self, name: &str) -> bool {
        self.record(name).exists()
    }

    /// Starts the process unless it runs; with growing pauses when it keeps ending.
    ///
    /// # Errors
    /// When the program cannot be started.
    pub fn keep(&self, launch: &Launch) -> Result<Kept, Error> {
        if let Some(alive) = self.find(&launch.name) {
            return Ok(Kept::Running(alive));
        }
        let is_restart = self.was_started(&launch.name);
        {
            let mut all = self.ends();
            let ends = all.entry(launch.name.clone()).or_default();
            if ends.not_before.is_some_and(|moment| Instant::now() < moment) {
                return Ok(Kept::Waiting);
            }
            let quick = ends.started.is_some_and(|started| started.elapsed() < SETTLED);
            ends.quick = if quick { ends.quick + 1 } else { 0 };
            // The first end is mended at once.
            let pause = match ends.quick {
                0 | 1 => Duration::ZERO,
                quick => Duration::from_secs(1 << quick.min(5)).min(LONGEST_PAUSE),
            };
            ends.started = Some(Instant::now());
            ends.not_before = Some(Instant::now() + pause);
            ends.restarts += u32::from(is_restart);
        }
        self.start(launch).map(Kept::Started)
    }

    /// Starts the process in the background. It writes its own record before it becomes the program, so that it is found
    /// even when the supervisor is killed at that moment.
    fn start(&self, launch: &Launch) -> Result<Alive, Error> {
        let failed = |reason: String| Error::Start { name: launch.name.clone(), reason };
        let log = self.log_file(&launch.name);
        let fresh = fs::metadata(&log).is_ok_and(|log| log.len() > LOG_LIMIT);
        let output = File::options().create(true).append(!fresh).truncate(fresh).write(true).open(&log);
        let output = output.map_err(|error| Error::file(&log, error))?;
        let errors = output.try_clone().map_err(|error| Error::file(&log, error))?;
        let record = self.record(&launch.name);
        // What is left of the one before would be taken for the new one's.
        match fs::remove_file(&record) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(Error::file(&record, error)),
            _ => {}
        }
        const SCRIPT: &str = r#"umask 077
cat "/proc/$$/stat" /proc/sys/kernel/random/boot_id > "$0.part" && mv "$0.part" "$0" && exec "$@""#;
        let mut child = Command::new("/bin/sh")
            .args(["-c", SCRIPT])
            .arg(&record)
            .arg(&launch.program)
            .args(&launch.arguments)
            .envs(&launch.environment)
            .current_dir(&launch.directory)
            .stdin(Stdio::null())
            .stdout(output)
            .stderr(errors)
            .process_group(0)
            .spawn()
            .map_err(|error| failed(error.to_string()))?;
        let deadline = Instant::now() + Duration::from_secs(10);
        while !record.exists() {
            if let Ok(Some(status)) = child.try_wait() {
                return Err(failed(format!("it ended with {status}: {}", self.last_words(&launch.name))));
            }
            if Instant::now() > deadline {
                return Err(failed("it isn't there after 10 s".to_owned()));
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        Ok(Alive { pid: child.id(), since: Timestamp::now() })
    }

    /// Sends a signal to the process and all that belong to its group. Nothing happens when it doesn't run.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn signal(&self, name: &str, signal: Signal) -> Result<(), Error> {
        let Some(pid) = self.find(name).and_then(|alive| Pid::from_raw(alive.pid.cast_signed())) else {
            return Ok(());
        };
        // A program may have left its group, then it has one of its own.
        let sent = match kill_process_group(pid, signal) {
            Err(Errno::SRCH) => kill_process(pid, signal),
            sent => sent,
        };
        match sent {
            Err(error) if error != Errno::SRCH => {
                Err(Error::Signal { name: name.to_owned(), reason: error.to_string() })
            }
            _ => Ok(()),
        }
    }

    /// Ends the process, by force when it doesn't end within `patience`, and forgets it. Its log stays.
    ///
    /// # Errors
    /// When it doesn't end.
    pub async fn stop(&self, name: &str, patience: Duration) -> Result<(), Error> {
        self.signal(name, Signal::TERM)?;
        if !self.ended(name, patience).await {
            self.signal(name, Signal::KILL)?;
            if !self.ended(name, Duration::from_secs(5)).await {
                return Err(Error::Stop(name.to_owned()));
            }
        }
        self.ends().remove(name);
        let record = self.record(name);
        match fs::remove_file(&record) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(Error::file(&record, error)),
            _ => Ok(()),
        }
    }

    async fn ended(&self, name: &str, patience: Duration) -> bool {
        let deadline = tokio::time::Instant::now() + patience;
        while self.find(name).is_some() {
            if tokio::time::Instant::now() >= deadline {
                return false;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        true
    }

    /// Ends all of them, at once: what they hold goes with the data directory.
    ///
    /// # Errors
    /// When one doesn't end.
    pub async fn stop_all(&self) -> Result<(), Error> {
        let names = self.names()?;
        let stops = names.iter().map(|name| self.stop(name, Duration::ZERO));
        futures::future::try_join_all(stops).await.map(|_| ())
    }

    /// The end of what the process wrote, for messages.
    pub fn last_words(&self, name: &str) -> String {
        let text = fs::read(self.log_file(name)).unwrap_or_default();
        let text = String::from_utf8_lossy(&text[text.len().saturating_sub(4096)..]);
        let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
        lines[lines.len().saturating_sub(3)..].join("\n")
    }
}

/// What a process wrote of itself: the kernel's line about it, and which start of the machine that was.
struct Record {
    pid: Pid,
    began: u64,
    boot: String,
}

impl Record {
    fn read(file: &Path) -> Option<Self> {
        let text = fs::read_to_string(file).ok()?;
        let (stat, boot) = text.split_once('\n')?;
        let pid = Pid::from_raw(stat.split(' ').next()?.parse().ok()?)?;
        Some(Self { pid, began: Stat::parse(stat)?.began, boot: boot.trim().to_owned() })
    }
}

/// What the kernel says of a process.
/// Source: <https://man7.org/linux/man-pages/man5/proc_pid_stat.5.html>
struct Stat {
    /// In hundredths of a second since the machine was started: no two processes share it and the pid.
    began: u64,
    /// It has ended and only waits to be collected.
    dead: bool,
}

impl Stat {
    fn of(pid: Pid) -> Option<Self> {
        Self::parse(&fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero())).ok()?)
    }

    fn parse(line: &str) -> Option<Self> {
        // The program's name is in brackets and may hold anything; the 22nd field is the 20th after it.
        let mut fields = line.rsplit_once(')')?.1.split_whitespace();
        let dead = matches!(fields.next()?, "Z" | "X");
        Some(Self { began: fields.nth(18)?.parse().ok()?, dead })
    }

    fn since(&self) -> Timestamp {
        let machine = fs::read_to_string("/proc/stat").unwrap_or_default();
        let boot = machine.lines().find_map(|line| line.strip_prefix("btime "));
        let boot: i64 = boot.and_then(|seconds| seconds.trim().parse().ok()).unwrap_or_default();
        Timestamp::from_second(boot + i64::try_from(self.began / 100).unwrap_or_default()).unwrap_or_default()
    }
}

/// Which start of the machine this is: pids and times of beginning count from there.
fn boot() -> String {
    fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default().trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sleeper(directory: &Path, name: &str) -> Launch {
        Launch {
            name: name.to_owned(),
            program: "/bin/sleep".into(),
            arguments: vec!["600".into()],
            environment: BTreeMap::new(),
            directory: directory.to_owned(),
        }
    }

    #[tokio::test]
    async fn a_process_is_found_by_a_second_supervisor_restarted_when_killed_and_stopped() {
        let directory = tempfile::tempdir().expect("a directory");
        let launch = sleeper(directory.path(), "a");
        let first = Processes::of(directory.path()).expect("directories");
        let Kept::Started(alive) = first.keep(&launch).expect("it starts") else { panic!("it wasn't running") };
        let second = Processes::of(directory.path()).expect("directories");
        assert_eq!(second.find("a").map(|found| found.pid), Some(alive.pid));
        assert!(matches!(second.keep(&launch), Ok(Kept::Running(_))));

        first.signal("a", Signal::KILL).expect("a signal");
        assert!(first.ended("a", Duration::from_secs(10)).await);
        let Kept::Started(again) = first.keep(&launch).expect("it starts") else { panic!("it was killed") };
        assert_ne!(again.pid, alive.pid);
        assert_eq!(first.restarts("a"), 1);
        first.stop_all().await.expect("it ends");
        assert_eq!((first.find("a"), first.names().expect("names")), (None, Vec::new()));
    }

    #[tokio::test]
    async fn one_that_keeps_ending_is_given_pauses() {
        let directory = tempfile::tempdir().expect("a directory");
        let launch = Launch { program: "/bin/false".into(), ..sleeper(directory.path(), "b") };
        let processes = Processes::of(directory.path()).expect("directories");
        let mut waited = false;
        for _ in 0..6 {
            waited |= processes.keep(&launch).expect("it starts") == Kept::Waiting;
            assert!(processes.ended("b", Duration::from_secs(10)).await);
        }
        assert!(waited && processes.restarts("b") >= 2);
    }

    #[test]
    fn a_name_with_brackets_hides_nothing() {
        let line = "42 (a) b) S 1 42 42 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 123456 1 1";
        let stat = Stat::parse(line).expect("a line");
        assert_eq!((stat.began, stat.dead), (123_456, false));
        assert!(Stat::parse(&line.replace(" S ", " Z ")).expect("a line").dead);
    }
}
