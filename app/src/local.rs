//! A MariaDB and a Redis of one's own on this machine, for the demo, the benchmark and the tests.
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

/// A MariaDB of our own.
pub struct MariaDb {
    directory: PathBuf,
    port: u16,
    process: Option<Guarded>,
}

const DATABASE_USER: &str = "ticketing";

impl MariaDb {
    /// Makes the data directory unless it is there, and starts the server.
    pub fn start(directory: &Path) -> anyhow::Result<Self> {
        let data = directory.join("data");
        if !data.join("mysql").is_dir() {
            std::fs::create_dir_all(&data).with_context(|| format!("cannot make {}", data.display()))?;
            let output = Command::new("mariadb-install-db")
                .args([
                    "--no-defaults",
                    "--auth-root-authentication-method=socket",
                    "--skip-test-db",
                    "--skip-name-resolve",
                ])
                .arg(format!("--datadir={}", data.display()))
                // Its temporary files are named by process numbers, which other containers may use in /tmp as well.
                .env("TMPDIR", directory)
                .output()
                .context(
                    "cannot run mariadb-install-db; install MariaDB, such as with: apt-get install mariadb-server",
                )?;
            if !output.status.success() {
                bail!("mariadb-install-db failed:\n{}", String::from_utf8_lossy(&output.stderr));
            }
        }
        let mut server = Self { directory: directory.to_owned(), port: free_port()?, process: None };
        server.restart()?;
        Ok(server)
    }

    /// Starts the server again after [`MariaDb::kill`], on the same port and data.
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
            "--innodb-log-file-size=64M".to_owned(),
            "--max-connections=500".to_owned(),
            "--character-set-server=utf8mb4".to_owned(),
        ];
        if std::fs::metadata("/proc/self").is_ok_and(|me| std::os::unix::fs::MetadataExt::uid(&me) == 0) {
            args.push("--user=root".to_owned());
        }
        let log = self.directory.join("mariadb.log");
        self.process = Some(Guarded::start("mariadbd", &args, &log)?);
        wait_for_port(self.port, "MariaDB", &log)
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
