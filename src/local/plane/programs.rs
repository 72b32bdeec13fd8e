//! The programs that the data plane is made of, from the system's packages.

use std::path::{Path, PathBuf};

use super::Error;

/// What runs as what: the program, the package that has it on Debian and Ubuntu.
const NEEDED: [(&str, &str); 6] = [
    ("mariadbd", "mariadb-server"),
    ("mariadb-install-db", "mariadb-server"),
    ("mariadb", "mariadb-server"),
    ("redis-server", "redis-server"),
    ("redis-cli", "redis-server"),
    ("bwrap", "bubblewrap"),
];

/// Servers often lie where only the administrator's `PATH` leads.
const SYSTEM: [&str; 4] = ["/usr/local/sbin", "/usr/sbin", "/sbin", "/usr/libexec"];

/// Where they are.
#[derive(Clone, Debug)]
pub struct Programs {
    pub mariadbd: PathBuf,
    pub mariadb_install_db: PathBuf,
    pub mariadb: PathBuf,
    pub redis_server: PathBuf,
    pub redis_cli: PathBuf,
    pub bwrap: PathBuf,
}

impl Programs {
    /// Looks for them in `PATH` and in the system's own directories.
    ///
    /// # Errors
    /// When one is missing, or this isn't Linux, whose kernel the sandboxes need. All that are missing are named.
    pub fn find() -> Result<Self, Error> {
        if !cfg!(target_os = "linux") {
            return Err(Error::NotLinux);
        }
        let path = std::env::var_os("PATH").unwrap_or_default();
        let directories: Vec<PathBuf> = std::env::split_paths(&path).chain(SYSTEM.map(PathBuf::from)).collect();
        let [mariadbd, mariadb_install_db, mariadb, redis_server, redis_cli, bwrap] =
            NEEDED.map(|(name, _)| found(&directories, name));
        match (mariadbd, mariadb_install_db, mariadb, redis_server, redis_cli, bwrap) {
            (
                Some(mariadbd),
                Some(mariadb_install_db),
                Some(mariadb),
                Some(redis_server),
                Some(redis_cli),
                Some(bwrap),
            ) => Ok(Self { mariadbd, mariadb_install_db, mariadb, redis_server, redis_cli, bwrap }),
            _ => Err(missing(&directories)),
        }
    }
}

fn found(directories: &[PathBuf], name: &str) -> Option<PathBuf> {
    directories.iter().map(|directory| directory.join(name)).find(|file| is_executable(file))
}

fn is_executable(file: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    file.metadata().is_ok_and(|file| file.is_file() && file.permissions().mode() & 0o111 != 0)
}

fn missing(directories: &[PathBuf]) -> Error {
    let missing: Vec<_> = NEEDED.into_iter().filter(|(name, _)| found(directories, name).is_none()).collect();
    let programs = missing.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ");
    let mut packages: Vec<&str> = missing.iter().map(|(_, package)| *package).collect();
    packages.dedup();
    Error::Missing { programs, packages: packages.join(" ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_named_with_its_packages() {
        let message = missing(&[]).to_string();
        assert!(message.contains("mariadbd") && message.contains("bwrap"), "{message}");
        assert!(message.contains("apt-get install mariadb-server redis-server bubblewrap`"), "{message}");
    }
}
