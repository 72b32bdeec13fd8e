//! The local cloud: an AWS emulator behind a gateway that makes it answer as AWS does, and the processes that are what it
//! says.

pub mod control_plane;
pub mod environment;
pub mod gateway;
pub mod plane;
mod service;

use std::fs::{DirBuilder, File};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Why the local cloud cannot do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(
        "{python} cannot be run: {reason}; the local control plane needs Python 3.11 or newer: on Debian and Ubuntu, `apt install python3 python3-venv`"
    )]
    NoPython { python: String, reason: String },
    #[error(
        "{python} is Python {version}, but the local control plane needs Python 3.11 or newer: name one with TICKETCTL_PYTHON"
    )]
    OldPython { python: String, version: String },
    #[error(
        "{python} cannot make virtual environments (its modules venv and ensurepip are missing): on Debian and Ubuntu, `apt install python3-venv`"
    )]
    NoVenv { python: String },
    #[error("{} is not there: TICKETCTL_MOTO_VENV must name a virtual environment that has moto[server]", .0.display())]
    NoMoto(PathBuf),
    #[error("`{command}` failed:\n{reason}")]
    Command { command: String, reason: String },
    #[error("neither {0} nor HOME names a directory for ticketctl's files: set one of them")]
    NoHome(&'static str),
    #[error("no free port on 127.0.0.1: {0}")]
    NoPort(#[source] std::io::Error),
    #[error("port {0} on 127.0.0.1 is taken by another program: choose another with --port")]
    PortTaken(u16),
    #[error(
        "the local control plane already runs at {endpoint}, not on port {wanted}: take it down first with `ticketctl local down`"
    )]
    OtherPort { endpoint: String, wanted: u16 },
    #[error("{name} did not start: {reason} (log: {})", .log.display())]
    Start { name: &'static str, reason: String, log: PathBuf },
    #[error("{name} (process {pid}) does not end")]
    Stop { name: &'static str, pid: u32 },
    #[error("process {pid} cannot be signalled: {reason}")]
    Signal { pid: u32, reason: String },
    #[error(transparent)]
    Plane(Box<plane::Error>),
    #[error("{}: {source}", .path.display())]
    File { path: PathBuf, source: std::io::Error },
}

impl From<plane::Error> for Error {
    fn from(error: plane::Error) -> Self {
        Self::Plane(Box::new(error))
    }
}

impl Error {
    fn file(path: &Path, source: std::io::Error) -> Self {
        Self::File { path: path.to_owned(), source }
    }
}

/// ticketctl's own directory under one of the user's base directories (XDG Base Directory Specification).
fn user_directory(variable: &'static str, default: &str) -> Result<PathBuf, Error> {
    // The specification has relative paths ignored.
    let set = std::env::var_os(variable).map(PathBuf::from).filter(|path| path.is_absolute());
    let home = || Some(PathBuf::from(std::env::var_os("HOME")?).join(default));
    set.or_else(home).map(|base| base.join("ticketctl")).ok_or(Error::NoHome(variable))
}

/// A directory that only the user may look into, with its parents.
fn create_private(directory: &Path) -> Result<(), Error> {
    use std::os::unix::fs::DirBuilderExt;
    let mut builder = DirBuilder::new();
    builder.recursive(true).mode(0o700).create(directory).map_err(|error| Error::file(directory, error))
}

/// Waits for its turn among several of us at once; the lock ends with the file.
async fn lock(path: &Path, progress: &mut (dyn FnMut(&str) + Send)) -> Result<File, Error> {
    let file = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(path)
        .map_err(|error| Error::file(path, error))?;
    let mut told = false;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(std::fs::TryLockError::WouldBlock) => {
                if !told {
                    progress("waiting for another ticketctl that is at work on the local control plane");
                    told = true;
                }
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
            Err(std::fs::TryLockError::Error(error)) => return Err(Error::file(path, error)),
        }
    }
}
