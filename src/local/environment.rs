//! The virtual environment with moto, made on first use.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use sha2::{Digest, Sha256};
use tokio::process::Command;

use super::Error;

const REQUIREMENTS: &str = include_str!("moto-requirements.txt");

/// The oldest Python that the pinned packages run on.
const OLDEST: (u32, u32) = (3, 11);

/// Written last: an environment without it is unfinished and made anew.
const COMPLETE: &str = "ticketctl-complete";

/// Where the environment is made: ticketctl's directory among the user's caches.
///
/// # Errors
/// When neither `XDG_CACHE_HOME` nor `HOME` is set.
pub fn user_cache() -> Result<PathBuf, Error> {
    super::user_directory("XDG_CACHE_HOME", ".cache")
}

/// An environment that has moto.
pub struct Environment(PathBuf);

impl Environment {
    pub fn directory(&self) -> &Path {
        &self.0
    }

    pub fn python(&self) -> PathBuf {
        self.0.join("bin/python")
    }

    pub fn moto_server(&self) -> PathBuf {
        self.0.join("bin/moto_server")
    }
}

/// The environment named by `TICKETCTL_MOTO_VENV`, or the one under `cache`, made when it isn't there.
///
/// # Errors
/// When Python or its `venv` module is missing, or a package cannot be installed.
pub async fn ensure(cache: &Path, progress: &mut (dyn FnMut(&str) + Send)) -> Result<Environment, Error> {
    if let Some(directory) = std::env::var_os("TICKETCTL_MOTO_VENV").filter(|value| !value.is_empty()) {
        let environment = Environment(PathBuf::from(directory));
        let server = environment.moto_server();
        return if server.is_file() { Ok(environment) } else { Err(Error::NoMoto(server)) };
    }
    let digest = hex::encode(Sha256::digest(REQUIREMENTS));
    let directory = cache.join(format!("moto-{}", &digest[..12]));
    super::create_private(cache)?;
    let lock = cache.join("moto.lock");
    let lock = super::lock(&lock, progress).await?;
    if !directory.join(COMPLETE).is_file() {
        make(&directory, progress).await?;
    }
    drop(lock);
    Ok(Environment(directory))
}

async fn make(directory: &Path, progress: &mut (dyn FnMut(&str) + Send)) -> Result<(), Error> {
    let python = std::env::var("TICKETCTL_PYTHON").unwrap_or_else(|_| "python3".to_owned());
    check(&python).await?;
    if directory.exists() {
        std::fs::remove_dir_all(directory).map_err(|error| Error::file(directory, error))?;
    }
    progress(&format!("making a Python environment in {}", directory.display()));
    let path = directory.to_string_lossy();
    run(&python, &["-m", "venv", &path]).await?;
    let requirements = directory.join("requirements.txt");
    std::fs::write(&requirements, REQUIREMENTS).map_err(|error| Error::file(&requirements, error))?;
    let packages = REQUIREMENTS.lines().filter(|line| line.contains("==")).count();
    progress(&format!("installing moto and what it needs ({packages} packages, once)"));
    let python = directory.join("bin/python");
    let requirements = requirements.to_string_lossy();
    let install = ["-m", "pip", "install", "--quiet", "--no-input", "--disable-pip-version-check", "-r", &requirements];
    run(&python.to_string_lossy(), &install).await?;
    File::create(directory.join(COMPLETE)).map_err(|error| Error::file(directory, error))?;
    progress("the Python environment is ready");
    Ok(())
}

/// Python is there, new enough, and can make environments.
async fn check(python: &str) -> Result<(), Error> {
    let version = "import sys; print('%d.%d' % sys.version_info[:2])";
    let output = Command::new(python)
        .args(["-c", version])
        .stdin(Stdio::null())
        .output()
        .await
        .map_err(|error| Error::NoPython { python: python.to_owned(), reason: error.to_string() })?;
    let version = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    let numbers = version.split_once('.').and_then(|(major, minor)| Some((major.parse().ok()?, minor.parse().ok()?)));
    if numbers.is_none_or(|numbers: (u32, u32)| numbers < OLDEST) {
        return Err(Error::OldPython { python: python.to_owned(), version });
    }
    // Debian's python3 has the venv module without ensurepip, on which it then fails.
    let modules = Command::new(python)
        .args(["-c", "import venv, ensurepip"])
        .stdin(Stdio::null())
        .output()
        .await
        .map_err(|error| Error::NoPython { python: python.to_owned(), reason: error.to_string() })?;
    if modules.status.success() { Ok(()) } else { Err(Error::NoVenv { python: python.to_owned() }) }
}

async fn run(program: &str, arguments: &[&str]) -> Result<(), Error> {
    let command = format!("{program} {}", arguments.join(" "));
    let output = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await
        .map_err(|error| Error::Command { command: command.clone(), reason: error.to_string() })?;
    if output.status.success() {
        return Ok(());
    }
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
    let reason = lines[lines.len().saturating_sub(5)..].join("\n");
    Err(Error::Command { command, reason })
}
