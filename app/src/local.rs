//! A database and a Redis of one's own on this machine, for the demo, the benchmark and the tests.
//!
//! Both listen on 127.0.0.1 only and end with this process, however it ends: each is the child of a shell that
//! waits for the end of a pipe which this process holds open.

use anyhow::{Context, bail};
use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// A port that was free a moment ago.
pub fn free_port() -> anyhow::Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

/// A server process that does not outlive us.
pub struct Guarded {
    shell: Child,
    pid: u32,
}

impl Guarded {
    /// Starts a program whose output goes to a file.
    pub fn start(program: &str, args: &[String], log: &Path) -> anyhow::Result<Self> {
        let log = std::fs::File::create(log).with_context(|| format!("cannot write {}", log.display()))?;
        let mut shell = Command::new("/bin/sh")
            .args(["-c", r#""$@" </dev/null >&2 & echo $!; exec >&-; read -r _; kill -9 $!"#, "guard", program])
            .args(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(log.try_clone()?)
            .spawn()
            .with_context(|| format!("cannot start {program}"))?;
        let mut line = String::new();
        let stdout = shell.stdout.take().context("the guard has no output")?;
        BufReader::new(stdout).read_line(&mut line)?;
        let pid = line.trim().parse().with_context(|| format!("{program} did not start"))?;
        Ok(Self { shell, pid })
    }

    /// The program's process.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    fn signal(&self, signal: &str) -> anyhow::Result<()> {
        let status = Command::new("/bin/kill").args([signal, &self.pid.to_string()]).status()?;
        if !status.success() {
            bail!("process {} could not be sent {signal}", self.pid);
        }
        Ok(())
    }

    fn end(&mut self) {
        drop(self.shell.stdin.take());
        if let Err(error) = self.shell.wait() {
            tracing::warn!(%error, "a guard process could not be waited for");
        }
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        self.end();
    }
}

/// Waits until something listens on a port of 127.0.0.1; fails with its log after a minute.
pub fn wait_for_port(port: u16, what: &str, log: &Path) -> anyhow::Result<()> {
    let started = Instant::now();
    while started.elapsed() < Duration::from_secs(60) {
        if TcpStream::connect_timeout(&SocketAddr::from(([127, 0, 0, 1], port)), Duration::from_secs(1)).is_ok() {
            return Ok(());
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    let log = std::fs::read_to_string(log).unwrap_or_default();
    bail!("{what} did not start within a minute; its log:\n{log}")
}

/// The environment variable with the path of a MySQL server, for who wants that instead of MariaDB.
const MYSQLD: &str = "TICKETING_MYSQLD";

/// A MariaDB of our own, or a MySQL where the environment names one.
pub struct Database {
    directory: PathBuf,
    mysqld: Option<String>,
    port: u16,
    process: Option<Guarded>,
}

const DATABASE_USER: &str = "ticketing";

impl Database {
    /// Makes the data directory unless it is there, and starts the server.
    pub fn start(directory: &Path) -> anyhow::Result<Self> {
        let mysqld = std::env::var(MYSQLD).ok().filter(|path| !path.is_empty());
        let mut server = Self { directory: directory.to_owned(), mysqld, port: free_port()?, process: None };
        if !directory.join("data/mysql").is_dir() {
            server.make_data()?;
        }
        server.restart()?;
        Ok(server)
    }

    /// What it is called.
    pub fn name(&self) -> &'static str {
        if self.is_mysql() { "MySQL" } else { "MariaDB" }
    }

    /// Whether it is a MySQL.
    pub fn is_mysql(&self) -> bool {
        self.mysqld.is_some()
    }

    fn make_data(&self) -> anyhow::Result<()> {
        let data = self.directory.join("data");
        std::fs::create_dir_all(&data).with_context(|| format!("cannot make {}", data.display()))?;
        let (program, args, install): (&str, &[&str], _) = match &self.mysqld {
            Some(mysqld) => (
                mysqld,
                &["--no-defaults", "--initialize-insecure", "--secure-file-priv=NULL"],
                format!("{MYSQLD} names no MySQL server that runs"),
            ),
            None => (
                "mariadb-install-db",
                &["--no-defaults", "--auth-root-authentication-method=socket", "--skip-test-db", "--skip-name-resolve"],
                "install MariaDB, such as with: apt-get install mariadb-server".to_owned(),
            ),
        };
        let output = Command::new(program)
            .args(args)
            .arg(format!("--datadir={}", data.display()))
            .args(as_root())
            // Its temporary files are named by process numbers, which other containers may use in /tmp as well.
            .env("TMPDIR", &self.directory)
            .output()
            .with_context(|| format!("cannot run {program}; {install}"))?;
        if !output.status.success() {
            bail!("{program} failed:\n{}", String::from_utf8_lossy(&output.stderr));
        }
        Ok(())
    }

    /// Starts the server again after [`Database::kill`], on the same port and data.
    pub fn restart(&mut self) -> anyhow::Result<()> {
        let init = self.directory.join("init.sql");
        std::fs::write(
            &init,
            format!(
                "CREATE DATABASE IF NOT EXISTS ticketing;\n\
                 CREATE USER IF NOT EXISTS '{DATABASE_USER}'@'127.0.0.1' IDENTIFIED BY '{DATABASE_USER}';\n\
                 GRANT ALL ON *.* TO '{DATABASE_USER}'@'127.0.0.1';\n"
            ),
        )?;
        let file = |name: &str| self.directory.join(name).display().to_string();
        let mut args = vec![
            "--no-defaults".to_owned(),
            format!("--datadir={}", file("data")),
            format!("--tmpdir={}", self.directory.display()),
            format!("--socket={}", file("socket")),
            format!("--pid-file={}", file("pid")),
            format!("--init-file={}", init.display()),
            format!("--port={}", self.port),
            "--bind-address=127.0.0.1".to_owned(),
            "--skip-name-resolve".to_owned(),
            "--innodb-buffer-pool-size=128M".to_owned(),
            "--max-connections=500".to_owned(),
            "--character-set-server=utf8mb4".to_owned(),
        ];
        // As much of a log, and no other, in both.
        let own: &[&str] = match self.mysqld {
            Some(_) => &["--innodb-redo-log-capacity=64M", "--skip-log-bin", "--mysqlx=OFF", "--secure-file-priv=NULL"],
            None => &["--innodb-log-file-size=64M"],
        };
        args.extend(own.iter().copied().chain(as_root()).map(str::to_owned));
        // A MySQL that was killed is still there for a moment, as far as its successor can tell.
        if let Err(error) = std::fs::remove_file(file("socket.lock"))
            && error.kind() != std::io::ErrorKind::NotFound
        {
            return Err(error).context("the lock of a server that was killed can't be removed");
        }
        let log = self.directory.join("database.log");
        self.process = Some(Guarded::start(self.mysqld.as_deref().unwrap_or("mariadbd"), &args, &log)?);
        wait_for_port(self.port, self.name(), &log)
    }

    /// The address of a database in this server.
    pub fn url(&self, database: &str) -> String {
        format!("mysql://{DATABASE_USER}:{DATABASE_USER}@127.0.0.1:{}/{database}", self.port)
    }

    /// Its process, if it runs.
    pub fn pid(&self) -> Option<u32> {
        self.process.as_ref().map(Guarded::pid)
    }

    /// Ends the server at once, as a power cut would.
    pub fn kill(&mut self) {
        self.process = None;
    }
}

/// Database servers don't run as root unless they are told to.
fn as_root() -> Option<&'static str> {
    let root = std::fs::metadata("/proc/self").is_ok_and(|me| std::os::unix::fs::MetadataExt::uid(&me) == 0);
    root.then_some("--user=root")
}

/// A Redis of our own, without persistence.
pub struct Redis {
    directory: PathBuf,
    port: u16,
    process: Option<Guarded>,
}

impl Redis {
    /// Starts the server.
    pub fn start(directory: &Path) -> anyhow::Result<Self> {
        std::fs::create_dir_all(directory)?;
        let mut server = Self { directory: directory.to_owned(), port: free_port()?, process: None };
        server.restart()?;
        Ok(server)
    }

    /// Starts the server again after [`Redis::kill`]: on the same port, empty.
    pub fn restart(&mut self) -> anyhow::Result<()> {
        let (port, directory) = (self.port.to_string(), self.directory.display().to_string());
        let args = [
            "--port",
            &port,
            "--bind",
            "127.0.0.1",
            "--dir",
            &directory,
            "--save",
            "",
            "--appendonly",
            "no",
            "--maxmemory-policy",
            "noeviction",
            "--databases",
            "512",
        ];
        let args: Vec<String> = args.into_iter().map(str::to_owned).collect();
        let log = self.directory.join("redis.log");
        self.process = Some(
            Guarded::start("redis-server", &args, &log)
                .context("install Redis, such as with: apt-get install redis-server")?,
        );
        wait_for_port(self.port, "Redis", &log)
    }

    /// The address of a numbered database, 0 to 511.
    pub fn url(&self, database: u32) -> String {
        format!("redis://127.0.0.1:{}/{database}", self.port)
    }

    /// Its process, if it runs.
    pub fn pid(&self) -> Option<u32> {
        self.process.as_ref().map(Guarded::pid)
    }

    /// Ends the server at once; all is forgotten.
    pub fn kill(&mut self) {
        self.process = None;
    }

    /// Stops the server without ending it: connections stay open and nothing answers.
    pub fn pause(&self) -> anyhow::Result<()> {
        self.process.as_ref().map_or(Ok(()), |process| process.signal("-STOP"))
    }

    /// Lets a paused server go on.
    pub fn resume(&self) -> anyhow::Result<()> {
        self.process.as_ref().map_or(Ok(()), |process| process.signal("-CONT"))
    }
}
