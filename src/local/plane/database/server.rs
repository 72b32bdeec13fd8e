//! One DB instance: a `mariadbd` on an address of its own.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, TcpStream};
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::process::Command;

use crate::local::plane::world::{DatabaseCluster, DatabaseInstance};
use crate::local::plane::{Certificate, Error, Ground, Launch, place};

/// The account with which readers follow the writer. It has no password: it needs the authority's certificate for it.
pub const REPLICATION: &str = "rdsrepladmin";

/// How long a statement of the supervisor may take.
const STATEMENT: Duration = Duration::from_secs(15);

/// What is needed to run an instance and to talk to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server {
    /// The DB instance's identifier.
    pub id: String,
    pub address: Ipv4Addr,
    pub port: u16,
    /// Its own directory; `data` is in it.
    pub directory: PathBuf,
    pub certificate: Certificate,
    pub authority: PathBuf,
    /// The certificate for [`REPLICATION`].
    pub replication: Certificate,
    /// Whether it starts as one that follows: what it has not told any reader is given up then.
    pub follows: bool,
    time_zone: Option<String>,
    user: String,
    client: PathBuf,
    program: PathBuf,
}

/// The prefix of the processes' names.
pub const PREFIX: &str = "database-";

impl Server {
    /// An instance with its address and certificates.
    ///
    /// # Errors
    /// When it can't be given one of them.
    pub fn of(
        ground: &Ground,
        cluster: &DatabaseCluster,
        instance: &DatabaseInstance,
        user: &str,
    ) -> Result<Self, Error> {
        let name = format!("{PREFIX}{}", instance.id);
        let address = ground.addresses.of_thing(&name, &[cluster.port])?;
        let hosts = [&instance.endpoint, &cluster.endpoint, &cluster.reader_endpoint].map(Clone::clone);
        let zone = cluster.parameters.get("time_zone").or_else(|| instance.parameters.get("time_zone"));
        Ok(Self {
            id: instance.id.clone(),
            address,
            port: cluster.port,
            directory: ground.directory("database", &instance.id)?,
            certificate: ground.authority.issue(&name, &hosts, &[address.into()])?,
            authority: ground.authority.certificate(),
            replication: ground.authority.issue(REPLICATION, &[], &[])?,
            follows: false,
            time_zone: zone.cloned(),
            user: user.to_owned(),
            client: ground.programs.mariadb.clone(),
            program: ground.programs.mariadbd.clone(),
        })
    }

    /// The name of its process.
    pub fn name(&self) -> String {
        format!("{PREFIX}{}", self.id)
    }

    pub fn data(&self) -> PathBuf {
        self.directory.join("data")
    }

    pub fn place(&self) -> String {
        place(self.address, self.port)
    }

    /// How it is started. It begins read-only: whether it takes writes is said when it is there.
    pub fn launch(&self) -> Launch {
        let [_, _, third, fourth] = self.address.octets();
        let path = |path: PathBuf| path.display().to_string();
        let mut arguments = vec![
            "--no-defaults".to_owned(),
            format!("--datadir={}", path(self.data())),
            format!("--tmpdir={}", path(self.data())),
            // Relative, and so in the data directory, whose own path may be too long for a socket.
            "--socket=socket".to_owned(),
            "--pid-file=pid".to_owned(),
            format!("--bind-address={}", self.address),
            format!("--port={}", self.port),
            "--skip-name-resolve".to_owned(),
            format!("--ssl-ca={}", path(self.authority.clone())),
            format!("--ssl-cert={}", path(self.certificate.certificate.clone())),
            format!("--ssl-key={}", path(self.certificate.key.clone())),
            "--tls-version=TLSv1.2,TLSv1.3".to_owned(),
            format!("--server-id={}", u32::from(third) << 8 | u32::from(fourth)),
            "--read-only=1".to_owned(),
        ];
        arguments.extend(SETTINGS.map(str::to_owned));
        if self.user == "root" {
            // Without being told so it refuses to run as root.
            arguments.push("--user=root".to_owned());
        }
        if self.follows {
            // After a crash, what no reader has is rolled back here: it will come again from the new writer, or never was.
            arguments.extend(["--rpl-semi-sync-slave-enabled=1", "--init-rpl-role=SLAVE"].map(str::to_owned));
        }
        let zone = self.time_zone.iter().map(|zone| ("TZ".to_owned(), zone.into()));
        Launch {
            name: self.name(),
            program: self.program.clone(),
            arguments: arguments.into_iter().map(Into::into).collect(),
            environment: zone.collect(),
            directory: self.directory.clone(),
        }
    }

    /// Whether it takes connections.
    pub fn listens(&self) -> bool {
        TcpStream::connect_timeout(&(self.address, self.port).into(), Duration::from_millis(200)).is_ok()
    }

    /// Runs statements as the administrator and gives back what they answer: rows of columns. The statements go through a
    /// pipe, since some hold passwords.
    ///
    /// # Errors
    /// When the first of them that fails does.
    pub async fn run(&self, statements: &str) -> Result<Vec<Vec<String>>, Error> {
        let text = self.client(&["--batch", "--skip-column-names"], statements).await?;
        Ok(text.lines().map(|line| line.split('\t').map(str::to_owned).collect()).collect())
    }

    /// Like [`Server::run`], but goes on with the next statement when one fails.
    pub async fn try_each(&self, statements: &str) {
        if let Err(error) = self.client(&["--batch", "--force"], statements).await {
            tracing::debug!(%error, instance = self.id, "not all statements were taken");
        }
    }

    /// How far it is with following the writer, by the names of `SHOW SLAVE STATUS`; empty when it doesn't follow.
    ///
    /// # Errors
    /// When it doesn't answer.
    pub async fn following(&self) -> Result<BTreeMap<String, String>, Error> {
        let text = self.client(&["--batch", "--vertical"], "SHOW SLAVE STATUS;").await?;
        let pairs = text.lines().filter_map(|line| line.trim_start().split_once(':'));
        Ok(pairs.map(|(name, value)| (name.to_owned(), value.trim().to_owned())).collect())
    }

    async fn client(&self, arguments: &[&str], statements: &str) -> Result<String, Error> {
        let failed = |reason: String| Error::failed(&self.id, reason);
        let mut child = Command::new(&self.client)
            .args(["--no-defaults", "--protocol=socket", "--socket=socket", "--connect-timeout=3"])
            .arg(format!("--user={}", self.user))
            .args(arguments)
            .current_dir(self.data())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| failed(error.to_string()))?;
        let mut input = child.stdin.take().ok_or_else(|| failed("the client has no input".to_owned()))?;
        let conversation = async {
            // One that has ended early says why on its own.
            let _ = input.write_all(statements.as_bytes()).await;
            drop(input);
            child.wait_with_output().await
        };
        let output = tokio::time::timeout(STATEMENT, conversation).await;
        let output = output.map_err(|_| failed("a statement takes too long".to_owned()))?;
        let output = output.map_err(|error| failed(error.to_string()))?;
        if output.status.success() {
            Ok(String::from_utf8_lossy(&output.stdout).into_owned())
        } else {
            Err(failed(String::from_utf8_lossy(&output.stderr).trim().to_owned()))
        }
    }
}

/// What all instances have. The operating system keeps what was written when a process is killed, so nothing waits for the
/// disk; only a power cut could lose something.
const SETTINGS: [&str; 22] = [
    "--innodb-flush-log-at-trx-commit=2",
    "--sync-binlog=0",
    "--innodb-buffer-pool-size=96M",
    "--innodb-log-file-size=32M",
    "--innodb-buffer-pool-dump-at-shutdown=0",
    "--innodb-buffer-pool-load-at-startup=0",
    "--performance-schema=0",
    "--max-connections=1000",
    "--character-set-server=utf8mb4",
    // Replication by GTID; every instance keeps the whole history, from which a new reader begins.
    "--log-bin=binlog",
    "--log-bin-trust-function-creators=1",
    "--log-slave-updates=1",
    "--binlog-format=ROW",
    "--expire-logs-days=0",
    "--relay-log=relay",
    "--relay-log-recovery=1",
    "--gtid-strict-mode=1",
    "--skip-slave-start=1",
    "--slave-net-timeout=10",
    // The readers have a change before the client hears of it, as Aurora's shared storage has it.
    "--rpl-semi-sync-master-wait-point=AFTER_SYNC",
    "--rpl-semi-sync-master-wait-no-slave=0",
    "--rpl-semi-sync-master-timeout=5000",
];

/// A text as SQL has it.
pub fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\\', "\\\\").replace('\'', "''"))
}

/// A name as SQL has it.
pub fn name(text: &str) -> String {
    format!("`{}`", text.replace('`', "``"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_and_names_stay_what_they_are() {
        assert_eq!(quoted(r"a'b\c"), r"'a''b\\c'");
        assert_eq!(name("a`b"), "`a``b`");
    }
}
