//! One cache node: a `redis-server` on an address of its own.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::net::{Ipv4Addr, TcpStream};
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::process::Command;

use crate::local::plane::world::{CacheGroup, CacheNode};
use crate::local::plane::{Certificate, Error, Ground, Launch, place};

/// How long a command of the supervisor may take.
const COMMAND: Duration = Duration::from_secs(10);

/// The prefix of the processes' names.
pub const PREFIX: &str = "cache-";

/// What is needed to run a node and to talk to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// The cache cluster's identifier, such as `shop-dev-redis-001`.
    pub id: String,
    pub address: Ipv4Addr,
    pub port: u16,
    pub directory: PathBuf,
    /// Only with encryption in transit.
    pub certificate: Option<Certificate>,
    authority: PathBuf,
    client: PathBuf,
    program: PathBuf,
}

impl Node {
    /// A node with its address and certificate.
    ///
    /// # Errors
    /// When it can't be given one of them.
    pub fn of(ground: &Ground, group: &CacheGroup, node: &CacheNode) -> Result<Self, Error> {
        let name = format!("{PREFIX}{}", node.id);
        let address = ground.addresses.of_thing(&name, &[group.port])?;
        let hosts = [&node.endpoint, &group.endpoint, &group.reader_endpoint].map(Clone::clone);
        let certificate = match group.tls {
            true => Some(ground.authority.issue(&name, &hosts, &[address.into()])?),
            false => None,
        };
        Ok(Self {
            id: node.id.clone(),
            address,
            port: group.port,
            directory: ground.directory(super::NAME, &node.id)?,
            certificate,
            authority: ground.authority.certificate(),
            client: ground.programs.redis_cli.clone(),
            program: ground.programs.redis_server.clone(),
        })
    }

    /// The name of its process.
    pub fn name(&self) -> String {
        format!("{PREFIX}{}", self.id)
    }

    pub fn place(&self) -> String {
        place(self.address, self.port)
    }

    pub fn launch(&self) -> Launch {
        Launch {
            name: self.name(),
            program: self.program.clone(),
            // The rest is in a file for the user's eyes alone: the password is among it.
            arguments: vec![self.settings_file().into()],
            environment: BTreeMap::new(),
            directory: self.directory.clone(),
        }
    }

    fn settings_file(&self) -> PathBuf {
        self.directory.join("redis.conf")
    }

    /// Writes down how it is to start next time, and answers with the password that it has had until now.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn prepare(&self, primary: Option<&Node>, password: Option<&str>) -> Result<Option<String>, Error> {
        let file = self.settings_file();
        let before = std::fs::read_to_string(&file).unwrap_or_default();
        let settings = self.settings(primary, password);
        if before != settings {
            crate::local::plane::write(&file, settings.as_bytes())?;
        }
        let password = before.lines().find_map(|line| line.strip_prefix("requirepass "));
        Ok(password.map(unquoted))
    }

    fn settings(&self, primary: Option<&Node>, password: Option<&str>) -> String {
        let mut text = String::new();
        let mut set = |name: &str, value: &str| {
            let _ = writeln!(text, "{name} {value}");
        };
        let (address, port) = (self.address.to_string(), self.port.to_string());
        set("bind", &address);
        // Its connections come from any loopback address: the primary must be told which one is its own.
        set("replica-announce-ip", &address);
        set("replica-announce-port", &port);
        match &self.certificate {
            Some(certificate) => {
                set("port", "0");
                set("tls-port", &port);
                set("tls-cert-file", &quoted(&certificate.certificate.display().to_string()));
                set("tls-key-file", &quoted(&certificate.key.display().to_string()));
                set("tls-ca-cert-file", &quoted(&self.authority.display().to_string()));
                set("tls-auth-clients", "no");
                set("tls-replication", "yes");
            }
            None => set("port", &port),
        }
        set("dir", &quoted(&self.directory.display().to_string()));
        // As ElastiCache: what a lone node holds ends with it.
        set("save", "\"\"");
        set("appendonly", "no");
        set("protected-mode", if password.is_some() { "yes" } else { "no" });
        set("repl-diskless-sync", "yes");
        set("repl-diskless-sync-delay", "0");
        set("repl-timeout", "10");
        if let Some(password) = password {
            set("requirepass", &quoted(password));
            set("masterauth", &quoted(password));
        }
        if let Some(primary) = primary {
            set("replicaof", &format!("{} {}", primary.address, primary.port));
        }
        text
    }

    /// Whether it takes connections.
    pub fn listens(&self) -> bool {
        TcpStream::connect_timeout(&(self.address, self.port).into(), Duration::from_millis(200)).is_ok()
    }

    /// Runs commands, one in each line, and gives back what they answer. They go through a pipe, since some hold passwords.
    ///
    /// # Errors
    /// When it doesn't answer.
    pub async fn run(&self, password: Option<&str>, commands: &str) -> Result<String, Error> {
        let failed = |reason: String| Error::failed(&self.id, reason);
        let mut command = Command::new(&self.client);
        command.args(["--no-auth-warning", "-h", &self.address.to_string(), "-p", &self.port.to_string()]);
        if self.certificate.is_some() {
            command.arg("--tls").arg("--cacert").arg(&self.authority);
        }
        if let Some(password) = password {
            command.env("REDISCLI_AUTH", password);
        }
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn().map_err(|error| failed(error.to_string()))?;
        let mut input = child.stdin.take().ok_or_else(|| failed("the client has no input".to_owned()))?;
        let conversation = async {
            // One that has ended early says why on its own.
            let _ = input.write_all(commands.as_bytes()).await;
            drop(input);
            child.wait_with_output().await
        };
        let output = tokio::time::timeout(COMMAND, conversation).await;
        let output = output.map_err(|_| failed("a command takes too long".to_owned()))?;
        let output = output.map_err(|error| failed(error.to_string()))?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        if output.status.success() && !text.starts_with("NOAUTH") && !text.starts_with("WRONGPASS") {
            Ok(text)
        } else {
            Err(failed(format!("{text}{}", String::from_utf8_lossy(&output.stderr)).trim().to_owned()))
        }
    }

    /// What it says about its part in the group, by the names of `INFO replication`.
    ///
    /// # Errors
    /// When it doesn't answer.
    pub async fn replication(&self, password: Option<&str>) -> Result<BTreeMap<String, String>, Error> {
        let text = self.run(password, "INFO replication\n").await?;
        let pairs = text.lines().filter_map(|line| line.trim().split_once(':'));
        Ok(pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect())
    }
}

/// A word as Redis' settings and its client have it.
pub fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

fn unquoted(text: &str) -> String {
    let inner = text.strip_prefix('"').and_then(|text| text.strip_suffix('"')).unwrap_or(text);
    inner.replace("\\\"", "\"").replace("\\\\", "\\")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_survive_in_settings() {
        for text in ["plain", "a b", r#"a"b"#, r"a\b"] {
            assert_eq!(unquoted(&quoted(text)), text);
        }
    }
}
