//! The services of an instance: started, stopped, and started again when they end, as systemd would.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use rustix::process::{Pid, Signal, WaitStatus, kill_process_group};

use super::state::{Active, ServiceState};
use super::unit::{Output, Restart, Unit};
use super::words;

const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// All services that somebody has named, by unit.
pub struct Services {
    /// `/etc/systemd/system`.
    directory: PathBuf,
    services: BTreeMap<String, Service>,
}

struct Service {
    unit: Unit,
    state: ServiceState,
    enabled: bool,
    /// The main process, which leads its group.
    process: Option<Pid>,
    /// When it is started again, while it is activating.
    start_at: Option<Instant>,
    /// When it is killed, while it is deactivating.
    kill_at: Option<Instant>,
    /// Start it once it has stopped.
    again: bool,
}

impl Services {
    pub fn of(directory: &Path) -> Self {
        Self { directory: directory.to_owned(), services: BTreeMap::new() }
    }

    /// What each of them does now.
    pub fn states(&self) -> BTreeMap<String, ServiceState> {
        self.services.iter().map(|(name, service)| (name.clone(), service.state.clone())).collect()
    }

    pub fn active(&self, name: &str) -> Option<Active> {
        Some(self.services.get(name)?.state.active)
    }

    pub fn is_enabled(&self, name: &str) -> Option<bool> {
        Some(self.services.get(name)?.enabled)
    }

    /// Reads all known units again. Those that run go on as they were started.
    ///
    /// # Errors
    /// When one of them can no longer be read.
    pub fn reload(&mut self) -> Result<(), String> {
        for (name, service) in &mut self.services {
            service.unit = Unit::read(&self.directory, name)?;
        }
        Ok(())
    }

    fn load(&mut self, name: &str) -> Result<&mut Service, String> {
        if !self.services.contains_key(name) {
            let unit = Unit::read(&self.directory, name)?;
            let state =
                ServiceState { active: Active::Inactive, pid: None, since: Timestamp::now(), restarts: 0, ended: None };
            let service =
                Service { unit, state, enabled: false, process: None, start_at: None, kill_at: None, again: false };
            self.services.insert(name.to_owned(), service);
        }
        self.services.get_mut(name).ok_or_else(|| format!("Unit {name} could not be found."))
    }

    /// # Errors
    /// When there is no such unit, or nothing that wants it.
    pub fn enable(&mut self, name: &str, enabled: bool) -> Result<(), String> {
        let service = self.load(name)?;
        if enabled && service.unit.wanted_by.is_empty() {
            return Err(format!("{name} has no installation config (WantedBy=)"));
        }
        service.enabled = enabled;
        Ok(())
    }

    /// # Errors
    /// When there is no such unit, or its program cannot be run.
    pub fn start(&mut self, name: &str) -> Result<(), String> {
        let service = self.load(name)?;
        match service.state.active {
            Active::Active => Ok(()),
            Active::Deactivating => {
                service.again = true;
                Ok(())
            }
            _ => {
                service.state.restarts = 0;
                service.spawn()
            }
        }
    }

    /// # Errors
    /// When there is no such unit.
    pub fn stop(&mut self, name: &str) -> Result<(), String> {
        self.load(name)?.stop();
        Ok(())
    }

    /// # Errors
    /// When there is no such unit, or its program cannot be run.
    pub fn restart(&mut self, name: &str) -> Result<(), String> {
        let service = self.load(name)?;
        service.stop();
        if service.process.is_none() {
            return service.spawn();
        }
        service.again = true;
        Ok(())
    }

    pub fn stop_all(&mut self) {
        for service in self.services.values_mut() {
            service.stop();
            service.again = false;
        }
    }

    pub fn all_stopped(&self) -> bool {
        self.services.values().all(|service| service.process.is_none())
    }

    /// A process has ended: perhaps a service's.
    pub fn ended(&mut self, pid: Pid, status: WaitStatus) {
        let service = self.services.values_mut().find(|service| service.process == Some(pid));
        if let Some(service) = service {
            service.ended(pid, status);
        }
    }

    /// Does what is due: starts again, kills what doesn't stop.
    pub fn tick(&mut self) {
        let now = Instant::now();
        for service in self.services.values_mut() {
            if service.start_at.is_some_and(|at| at <= now) {
                service.start_at = None;
                service.state.restarts += 1;
                service.start_again();
            }
            if service.kill_at.is_some_and(|at| at <= now) {
                service.kill_at = None;
                eprintln!("{} does not stop: killing it", service.unit.name);
                service.signal(Signal::KILL);
            }
        }
    }
}

impl Service {
    fn set(&mut self, active: Active) {
        if self.state.active != active {
            self.state.since = Timestamp::now();
        }
        self.state.active = active;
        self.state.pid = self.process.map(|pid| pid.as_raw_nonzero().get().unsigned_abs());
    }

    fn signal(&self, signal: Signal) {
        if let Some(pid) = self.process
            && let Err(error) = kill_process_group(pid, signal)
        {
            eprintln!("{} cannot be signalled: {error}", self.unit.name);
        }
    }

    fn stop(&mut self) {
        self.start_at = None;
        self.again = false;
        match self.process {
            None => self.set(Active::Inactive),
            Some(_) if self.state.active != Active::Deactivating => {
                self.kill_at = Instant::now().checked_add(self.unit.stop_patience);
                self.set(Active::Deactivating);
                self.signal(Signal::TERM);
            }
            Some(_) => {}
        }
    }

    fn ended(&mut self, pid: Pid, status: WaitStatus) {
        // systemd ends what a main process leaves behind; nothing being left is the usual case.
        let _ = kill_process_group(pid, Signal::KILL);
        self.process = None;
        self.kill_at = None;
        let how = match (status.exit_status(), status.terminating_signal()) {
            (Some(code), _) => format!("exit code {code}"),
            (None, Some(signal)) => format!("signal {signal}"),
            (None, None) => "an unknown end".to_owned(),
        };
        eprintln!("{} ended with {how}", self.unit.name);
        self.state.ended = Some(how);
        if self.state.active == Active::Deactivating {
            self.set(Active::Inactive);
            if std::mem::take(&mut self.again) {
                self.start_again();
            }
            return;
        }
        let failed = status.exit_status() != Some(0) && status.terminating_signal() != Some(Signal::TERM.as_raw());
        if self.unit.restart == Restart::Always || (self.unit.restart == Restart::OnFailure && failed) {
            self.start_at = Some(Instant::now() + self.unit.restart_pause);
            self.set(Active::Activating);
        } else {
            self.set(if failed { Active::Failed } else { Active::Inactive });
        }
    }

    /// Nobody waits for the outcome: a failure is said in the log and tried again, as the unit says.
    fn start_again(&mut self) {
        if let Err(error) = self.spawn() {
            eprintln!("{error}");
            self.state.ended = Some(error);
            if self.unit.restart != Restart::No {
                self.start_at = Some(Instant::now() + self.unit.restart_pause.max(Duration::from_secs(1)));
                self.set(Active::Activating);
            }
        }
    }

    fn spawn(&mut self) -> Result<(), String> {
        let spawned = self.command().and_then(|mut command| {
            command.spawn().map_err(|error| format!("{}: {:?}: {error}", self.unit.name, command.get_program()))
        });
        match spawned {
            Ok(child) => {
                self.process = Pid::from_raw(child.id().cast_signed());
                self.set(Active::Active);
                println!("{} started (process {})", self.unit.name, child.id());
                Ok(())
            }
            Err(error) => {
                self.set(Active::Failed);
                Err(error)
            }
        }
    }

    fn command(&self) -> Result<Command, String> {
        let environment = self.environment()?;
        let words = words::command(&self.unit.command, &self.unit.name, &environment)?;
        let (program, arguments) = words.split_first().ok_or_else(|| format!("{} has no command", self.unit.name))?;
        let mut command = Command::new(program);
        command.args(arguments).env_clear().envs(&environment).process_group(0).stdin(Stdio::null());
        command.current_dir(self.unit.directory.as_deref().unwrap_or(Path::new("/")));
        command.stdout(stream(&self.unit.output)?).stderr(stream(&self.unit.errors)?);
        Ok(command)
    }

    /// The variables of the environment files count over those of the unit, the later file over the earlier.
    fn environment(&self) -> Result<BTreeMap<String, String>, String> {
        let mut environment =
            BTreeMap::from([("PATH".to_owned(), PATH.to_owned()), ("LANG".to_owned(), "C.UTF-8".to_owned())]);
        for assignment in &self.unit.environment {
            let assigned = assignment.split_once('=');
            let (name, value) = assigned.ok_or_else(|| format!("Environment={assignment} is no assignment"))?;
            environment.insert(name.to_owned(), value.to_owned());
        }
        for named in &self.unit.environment_files {
            let file = named.strip_prefix('-').unwrap_or(named);
            match std::fs::read_to_string(file) {
                Ok(text) => environment.extend(words::environment_file(&text)),
                Err(error) if error.kind() == std::io::ErrorKind::NotFound && named.starts_with('-') => {}
                Err(error) => return Err(format!("{}: {file}: {error}", self.unit.name)),
            }
        }
        Ok(environment)
    }
}

/// What goes to a file is seen in the instance's own log on this machine too, where everything else goes.
fn stream(output: &Output) -> Result<Stdio, String> {
    let (path, truncate) = match output {
        Output::Null => return Ok(Stdio::null()),
        Output::Journal => return Ok(Stdio::inherit()),
        Output::Append(path) => (path, false),
        Output::Truncate(path) => (path, true),
    };
    let failed = |error| format!("{}: {error}", path.display());
    let file = File::options().create(true).append(!truncate).truncate(truncate).write(true).open(path);
    let mut file = file.map_err(failed)?;
    let (mut reader, writer) = std::io::pipe().map_err(failed)?;
    std::thread::spawn(move || {
        let mut buffer = [0; 8192];
        // It ends with the last process that holds the other end.
        while let Ok(read @ 1..) = reader.read(&mut buffer) {
            for sink in [&mut file as &mut dyn Write, &mut std::io::stdout()] {
                // A full disk must not stop the service.
                let _ = sink.write_all(&buffer[..read]).and_then(|()| sink.flush());
            }
        }
    });
    Ok(writer.into())
}
