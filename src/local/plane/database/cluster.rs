//! One cluster, from what runs towards what is wished.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use super::roles::{self, Following};
use super::server::{PREFIX, Server};
use super::{Base, NAME, template};
use crate::local::plane::process::{Alive, Kept};
use crate::local::plane::world::{DatabaseCluster, DatabaseInstance};
use crate::local::plane::{Entry, Error, Ground, Names, State};

/// Ends the name of the file that names a cluster's writer.
pub const WRITER: &str = ".writer";

/// How often a reader that follows is asked whether it still does.
const CHECK: Duration = Duration::from_secs(3);

/// How long a server may take to end by itself when its cluster is stopped.
const STOP: Duration = Duration::from_secs(20);

/// What a supervisor remembers of a cluster, so as not to say everything again and again.
#[derive(Default)]
pub struct Cluster {
    settled: BTreeMap<String, Settled>,
    secret: Option<Secret>,
}

/// What a server was last told.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Settled {
    pid: u32,
    writer: String,
    parameters: [BTreeMap<String, String>; 2],
    password: Option<String>,
    checked: Instant,
    detail: String,
}

struct Secret {
    arn: String,
    /// The control plane's count of changes when it was read.
    changes: u64,
    password: String,
}

/// An instance in this step.
struct Member<'a> {
    wish: &'a DatabaseInstance,
    server: Server,
    alive: Option<Alive>,
    up: bool,
    failed: Option<String>,
}

/// Who writes, as it was last decided.
pub fn writer(ground: &Ground, cluster: &str) -> Option<String> {
    let id = std::fs::read_to_string(ground.data.join(NAME).join(format!("{cluster}{WRITER}"))).ok()?;
    Some(id.trim().to_owned()).filter(|id| !id.is_empty())
}

fn decide(ground: &Ground, cluster: &str, writer: &str) -> Result<(), Error> {
    crate::local::plane::write(&ground.data.join(NAME).join(format!("{cluster}{WRITER}")), writer.as_bytes())
}

impl Cluster {
    /// Takes a step; answers with what there is to tell, and under which names the servers are found.
    pub(super) async fn step(
        &mut self,
        ground: &Ground,
        base: &Base,
        wish: &DatabaseCluster,
        changes: u64,
    ) -> (Vec<Entry>, Names) {
        let mut members = Vec::new();
        let mut entries = Vec::new();
        for instance in &wish.instances {
            match Server::of(ground, wish, instance, &base.user) {
                Ok(server) => members.push(Member { wish: instance, server, alive: None, up: false, failed: None }),
                Err(error) => {
                    entries.push(Entry::unprepared(format!("{PREFIX}{}", instance.id), &instance.id, &error));
                }
            }
        }
        let stopped = matches!(wish.status.as_str(), "stopped" | "stopping");
        let done = match stopped {
            true => stop(ground, &mut members).await,
            false => self.run(ground, base, wish, changes, &mut members).await,
        };
        let writer = writer(ground, &wish.id);
        let names = names(wish, &members, writer.as_deref());
        let trouble = done.err().map(|error| error.to_string());
        entries.extend(members.into_iter().map(|member| {
            let is_writer = writer.as_ref() == Some(&member.server.id);
            let settled = self.settled.get(&member.server.id);
            let settled = settled.filter(|settled| member.alive.is_some_and(|alive| alive.pid == settled.pid));
            let trouble = member.failed.clone().or(trouble.clone().filter(|_| is_writer));
            let is_stopped = stopped && trouble.is_none();
            let entry = Entry {
                name: member.server.name(),
                resource: member.server.id.clone(),
                role: if is_writer { "writer" } else { "reader" }.to_owned(),
                address: member.server.place(),
                ..Entry::default()
            };
            let mut entry = entry.in_condition(member.up, settled.map(|settled| settled.detail.as_str()), trouble);
            if is_stopped {
                entry.state = State::Stopped;
            }
            entry.with_process(&ground.processes, member.alive)
        }));
        (entries, names)
    }

    async fn run(
        &mut self,
        ground: &Ground,
        base: &Base,
        wish: &DatabaseCluster,
        changes: u64,
        members: &mut [Member<'_>],
    ) -> Result<(), Error> {
        let Some(wished) = members.first().map(|member| member.server.id.clone()) else { return Ok(()) };
        let mut current = match writer(ground, &wish.id) {
            Some(current) => current,
            None => {
                decide(ground, &wish.id, &wished)?;
                wished.clone()
            }
        };
        for member in members.iter_mut() {
            member.server.follows = member.server.id != current;
            if let Err(error) = start(ground, base, member).await {
                member.failed = Some(error.to_string());
            }
        }
        let mut trouble = Ok(());
        if current != wished {
            match self.fail_over(ground, wish, members, &current).await {
                Ok(true) => current = wished,
                Ok(false) => {}
                Err(error) => {
                    // It may have been closed already: until its heir can take over it goes on.
                    self.settled.remove(&current);
                    trouble = Err(error);
                }
            }
        }
        let password = self.password(ground, wish, changes).await?;
        let Some(writer) = members.iter().find(|member| member.server.id == current && member.up) else {
            return trouble;
        };
        self.write_here(wish, writer, password.as_deref()).await?;
        let writer = writer.server.clone();
        for member in members.iter_mut().filter(|member| member.up && member.server.id != current) {
            if let Err(error) = self.read_here(ground, wish, member, &writer).await {
                member.failed = Some(error.to_string());
            }
        }
        trouble
    }

    /// Lets the wished writer take over, once it can. Says whether it has.
    async fn fail_over(
        &mut self,
        ground: &Ground,
        wish: &DatabaseCluster,
        members: &[Member<'_>],
        current: &str,
    ) -> Result<bool, Error> {
        let heir = &members[0];
        let old = members.iter().find(|member| member.server.id == current);
        if !heir.up {
            return Ok(false);
        }
        if let Some(old) = old.filter(|old| old.up) {
            // One that is only just being made has hours to catch up with, perhaps: the old writer goes on meanwhile.
            let follows = roles::following(&heir.server).await?;
            let place = old.server.place();
            if !matches!(&follows, Following::Writer { address, lag: Some(0..=5) } if *address == place) {
                return Ok(false);
            }
        }
        tracing::info!(cluster = wish.id, from = current, to = heir.server.id, "failover");
        roles::hand_over(old.filter(|old| old.up).map(|old| &old.server), &heir.server).await?;
        decide(ground, &wish.id, &heir.server.id)?;
        self.settled.clear();
        Ok(true)
    }

    /// Makes sure that the writer takes writes, from whom it should.
    async fn write_here(
        &mut self,
        wish: &DatabaseCluster,
        member: &Member<'_>,
        password: Option<&str>,
    ) -> Result<(), Error> {
        let settled = Settled::of(wish, member, &member.server, password);
        if self.settled.get(&member.server.id).is_some_and(|before| before.is_like(&settled)) {
            return Ok(());
        }
        roles::open(&member.server, wish, password).await?;
        roles::tune(&member.server, [&wish.parameters, &member.wish.parameters]).await;
        self.settled.insert(member.server.id.clone(), settled);
        Ok(())
    }

    /// Makes sure that a reader follows the writer.
    async fn read_here(
        &mut self,
        ground: &Ground,
        wish: &DatabaseCluster,
        member: &Member<'_>,
        writer: &Server,
    ) -> Result<(), Error> {
        let mut settled = Settled::of(wish, member, writer, None);
        let before = self.settled.get(&member.server.id).filter(|before| before.is_like(&settled));
        if before.is_some_and(|before| before.checked.elapsed() < CHECK) {
            return Ok(());
        }
        let known = before.is_some();
        match roles::following(&member.server).await? {
            Following::Writer { address, lag } if address == writer.place() => {
                settled.detail = match lag {
                    Some(0 | 1) => String::new(),
                    Some(lag) => format!("{lag} s behind the writer"),
                    None => "not in touch with the writer".to_owned(),
                };
                if !known {
                    roles::tune(&member.server, [&wish.parameters, &member.wish.parameters]).await;
                }
                self.settled.insert(member.server.id.clone(), settled);
            }
            Following::Lost(reason) => {
                tracing::warn!(instance = member.server.id, reason, "it cannot follow any more and is made anew");
                self.settled.remove(&member.server.id);
                ground.processes.stop(&member.server.name(), Duration::ZERO).await?;
                crate::local::plane::remove_directory(&member.server.data())?;
            }
            _ => roles::follow(&member.server, writer).await?,
        }
        Ok(())
    }

    /// The master user's password, as RDS has it in Secrets Manager; it may be rotated at any time.
    async fn password(
        &mut self,
        ground: &Ground,
        wish: &DatabaseCluster,
        changes: u64,
    ) -> Result<Option<String>, Error> {
        let Some(arn) = &wish.secret else { return Ok(None) };
        if let Some(secret) = &self.secret
            && secret.arn == *arn
            && secret.changes == changes
        {
            return Ok(Some(secret.password.clone()));
        }
        #[derive(serde::Deserialize)]
        struct Login {
            password: String,
        }
        let cx = ground.aws(&wish.region).await;
        let answer = cx.secrets.get_secret_value().secret_id(arn).send().await.map_err(crate::aws::Error::from)?;
        let login: Login = serde_json::from_str(answer.secret_string().unwrap_or_default())?;
        let secret = Secret { arn: arn.clone(), changes, password: login.password };
        Ok(Some(self.secret.insert(secret).password.clone()))
    }
}

impl Settled {
    fn of(wish: &DatabaseCluster, member: &Member<'_>, writer: &Server, password: Option<&str>) -> Self {
        Self {
            pid: member.alive.map_or(0, |alive| alive.pid),
            writer: writer.place(),
            parameters: [wish.parameters.clone(), member.wish.parameters.clone()],
            password: password.map(str::to_owned),
            checked: Instant::now(),
            detail: String::new(),
        }
    }

    /// Whether nothing else would be told.
    fn is_like(&self, other: &Self) -> bool {
        (self.pid, &self.writer, &self.parameters, &self.password)
            == (other.pid, &other.writer, &other.parameters, &other.password)
    }
}

/// Starts an instance that doesn't run, from the template if it is new.
async fn start(ground: &Ground, base: &Base, member: &mut Member<'_>) -> Result<(), Error> {
    if !member.server.data().is_dir() {
        template::copy(&base.template, &member.server.data()).await?;
    }
    match ground.processes.keep(&member.server.launch())? {
        Kept::Running(alive) | Kept::Started(alive) => member.alive = Some(alive),
        Kept::Waiting => {
            let said = ground.processes.last_words(&member.server.name());
            return Err(Error::failed(&member.server.id, format!("it keeps ending: {said}")));
        }
    }
    member.up = member.server.listens();
    Ok(())
}

async fn stop(ground: &Ground, members: &mut [Member<'_>]) -> Result<(), Error> {
    // The readers first: the writer would wait for them.
    for member in members.iter_mut().rev() {
        ground.processes.stop(&member.server.name(), STOP).await?;
    }
    Ok(())
}

/// The cluster's endpoints and the instances' own. Without readers, the reader endpoint leads to the writer.
fn names(wish: &DatabaseCluster, members: &[Member<'_>], writer: Option<&str>) -> Names {
    let mut names = Names::new();
    let mut readers = BTreeSet::new();
    for member in members {
        names.insert(member.wish.endpoint.clone(), [member.server.address].into());
        if writer == Some(&member.server.id) {
            names.insert(wish.endpoint.clone(), [member.server.address].into());
        } else if member.up {
            readers.insert(member.server.address);
        }
    }
    if readers.is_empty() {
        readers = names.get(&wish.endpoint).cloned().unwrap_or_default();
    }
    names.insert(wish.reader_endpoint.clone(), readers);
    names.retain(|name, addresses| !name.is_empty() && !addresses.is_empty());
    names
}
