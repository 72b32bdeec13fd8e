//! An empty MariaDB data directory, made once per version and user and copied for each instance: making one takes seconds.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use sha2::{Digest, Sha256};
use tokio::process::Command;

use crate::local::plane::{Error, Ground};

/// How long making it may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(300);

/// Where the template is; made when it isn't there.
///
/// # Errors
/// When MariaDB's own program for it fails.
pub async fn ensure(ground: &Ground, user: &str) -> Result<PathBuf, Error> {
    let version = said(Command::new(&ground.programs.mariadbd).args(["--no-defaults", "--version"])).await?;
    let digest = hex::encode(Sha256::digest(format!("{version} {user}")));
    let template = ground.cache.join(format!("mariadb-{}", &digest[..12]));
    if template.is_dir() {
        return Ok(template);
    }
    crate::local::create_private(&ground.cache)?;
    // Two at once make one each; the first to finish wins.
    let unfinished = tempfile::tempdir_in(&ground.cache).map_err(|error| Error::file(&ground.cache, error))?;
    let mut install = Command::new(&ground.programs.mariadb_install_db);
    install.args(["--no-defaults", "--skip-test-db", "--skip-name-resolve", "--innodb-log-file-size=16M"]);
    // The account that comes in through the socket and needs no password: the one who started all this.
    install.arg("--auth-root-authentication-method=socket").arg(format!("--auth-root-socket-user={user}"));
    install.arg(format!("--user={user}")).arg(format!("--datadir={}", unfinished.path().display()));
    said(&mut install).await?;
    match std::fs::rename(unfinished.path(), &template) {
        Err(error) if !template.is_dir() => Err(Error::file(&template, error)),
        _ => Ok(template),
    }
}

/// Makes `to` a copy of the template, whole or not at all.
///
/// # Errors
/// When it cannot be copied.
pub async fn copy(template: &Path, to: &Path) -> Result<(), Error> {
    let part = to.with_extension("part");
    crate::local::plane::remove_directory(&part)?;
    said(Command::new("cp").arg("-a").arg("--reflink=auto").arg(template).arg(&part)).await?;
    std::fs::rename(&part, to).map_err(|error| Error::file(to, error))
}

/// The name of the user as whom this runs.
///
/// # Errors
/// When the system doesn't tell.
pub async fn user() -> Result<String, Error> {
    Ok(said(Command::new("id").arg("-un")).await?.trim().to_owned())
}

/// What a program prints.
async fn said(command: &mut Command) -> Result<String, Error> {
    let name = format!("{:?}", command.as_std().get_program());
    let run = command.stdin(Stdio::null()).kill_on_drop(true).output();
    let output = tokio::time::timeout(PATIENCE, run).await;
    let output = output.map_err(|_| Error::failed(&name, "it doesn't end"))?;
    let output = output.map_err(|error| Error::failed(&name, error.to_string()))?;
    if !output.status.success() {
        let reason = [output.stdout, output.stderr].concat();
        return Err(Error::failed(name, String::from_utf8_lossy(&reason).trim()));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
