//! One replication group, from what runs towards what is wished.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use super::node::{Node, PREFIX, quoted};
use crate::local::plane::process::{Alive, Kept};
use crate::local::plane::world::{CacheGroup, CacheNode};
use crate::local::plane::{Entry, Error, Ground, Names, world};

/// How often a node is asked whether it still has its part.
const CHECK: Duration = Duration::from_secs(3);

/// How long the old primary may take to hand everything over, in milliseconds.
const HAND_OVER: u32 = 3000;

/// What nodes have for data.
/// Source: "Redis OSS node-type specific parameters", Amazon ElastiCache User Guide.
const MEMORY: [(&str, u64); 6] = [
    ("cache.t3.micro", 536_870_912),
    ("cache.t3.small", 1_471_026_299),
    ("cache.t3.medium", 3_317_862_236),
    ("cache.t4g.micro", 536_870_912),
    ("cache.t4g.small", 1_471_026_299),
    ("cache.t4g.medium", 3_317_862_236),
];

/// What a supervisor remembers of a group, so as not to say everything again and again.
#[derive(Default)]
pub struct Group {
    settled: BTreeMap<String, Settled>,
    /// The control plane's count of changes from which on a failover shows that was asked for.
    awaited: u64,
}

/// What a node was last told.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Settled {
    pid: u32,
    primary: String,
    parameters: BTreeMap<String, String>,
    checked: Instant,
    detail: String,
}

/// A node in this step.
struct Member<'a> {
    wish: &'a CacheNode,
    node: Node,
    alive: Option<Alive>,
    up: bool,
    failed: Option<String>,
}

impl Group {
    /// Takes a step; answers with what there is to tell, and under which names the nodes are found.
    pub async fn step(
        &mut self,
        ground: &Ground,
        wish: &CacheGroup,
        changes: u64,
        password: Option<&str>,
    ) -> (Vec<Entry>, Names) {
        let mut members = Vec::new();
        let mut entries = Vec::new();
        for wished in &wish.nodes {
            match Node::of(ground, wish, wished) {
                Ok(node) => members.push(Member { wish: wished, node, alive: None, up: false, failed: None }),
                Err(error) => {
                    entries.push(Entry::unprepared(format!("{PREFIX}{}", wished.id), &wished.id, &error));
                }
            }
        }
        let done = self.run(ground, wish, changes, &mut members, password).await;
        let trouble = done.err().map(|error| error.to_string());
        let names = names(wish, &members);
        entries.extend(members.into_iter().map(|member| {
            let settled = self.settled.get(&member.node.id);
            let settled = settled.filter(|settled| member.alive.is_some_and(|alive| alive.pid == settled.pid));
            let trouble = member.failed.clone().or(trouble.clone().filter(|_| member.wish.primary));
            let entry = Entry {
                name: member.node.name(),
                resource: member.node.id.clone(),
                role: if member.wish.primary { "primary" } else { "replica" }.to_owned(),
                address: member.node.place(),
                ..Entry::default()
            };
            let entry = entry.in_condition(member.up, settled.map(|settled| settled.detail.as_str()), trouble);
            entry.with_process(&ground.processes, member.alive)
        }));
        (entries, names)
    }

    async fn run(
        &mut self,
        ground: &Ground,
        wish: &CacheGroup,
        changes: u64,
        members: &mut [Member<'_>],
        password: Option<&str>,
    ) -> Result<(), Error> {
        if wish.auth && password.is_none() {
            return Err(Error::failed(&wish.id, "the gateway does not know its AUTH token"));
        }
        let Some(primary) = members.iter().find(|member| member.wish.primary).map(|member| member.node.clone()) else {
            return Ok(());
        };
        if changes < self.awaited {
            // Asked again, it would go back to the dead one.
            return Ok(());
        }
        let name = primary.name();
        let is_dead = ground.processes.was_started(&name) && ground.processes.find(&name).is_none();
        if is_dead && automatic_failover(ground, wish, members, &primary, password).await? {
            self.awaited = world::news(&ground.endpoint).await?.changes;
            return Ok(());
        }
        for member in members.iter_mut() {
            // One that has died since is restarted only after its replicas were asked.
            let just_died = member.wish.primary && !is_dead && ground.processes.was_started(&name);
            if just_died && ground.processes.find(&name).is_none() {
                continue;
            }
            if let Err(error) = start(ground, member, &primary, password).await {
                member.failed = Some(error.to_string());
            }
        }
        // The one that is to be primary first: the others follow it.
        members.sort_by_key(|member| !member.wish.primary);
        let nodes: Vec<Node> = members.iter().filter(|member| member.up).map(|member| member.node.clone()).collect();
        for member in members.iter_mut().filter(|member| member.up) {
            if let Err(error) = self.settle(wish, member, &primary, &nodes, password).await {
                member.failed = Some(error.to_string());
            }
        }
        Ok(())
    }

    /// Makes sure that a node has its part and its parameters.
    async fn settle(
        &mut self,
        wish: &CacheGroup,
        member: &Member<'_>,
        primary: &Node,
        nodes: &[Node],
        password: Option<&str>,
    ) -> Result<(), Error> {
        let node = &member.node;
        let mut settled = Settled {
            pid: member.alive.map_or(0, |alive| alive.pid),
            primary: primary.place(),
            parameters: wish.parameters.clone(),
            checked: Instant::now(),
            detail: String::new(),
        };
        let like = |before: &&Settled| {
            (before.pid, &before.primary, &before.parameters) == (settled.pid, &settled.primary, &settled.parameters)
        };
        let before = self.settled.get(&node.id).filter(like);
        if before.is_some_and(|before| before.checked.elapsed() < CHECK && before.detail.is_empty()) {
            return Ok(());
        }
        let known = before.is_some();
        let replication = node.replication(password).await?;
        let get = |name: &str| replication.get(name).map(String::as_str).unwrap_or_default();
        let leader = (get("role") == "slave").then(|| format!("{}:{}", get("master_host"), get("master_port")));
        if member.wish.primary {
            if let Some(leader) = leader {
                let old = nodes.iter().find(|node| node.place() == leader);
                take_over(node, old, password).await?;
            }
        } else if leader.as_deref() != Some(&settled.primary) {
            let follow = format!("REPLICAOF {} {}\nCLIENT KILL TYPE normal\n", primary.address, primary.port);
            node.run(password, &follow).await?;
            return Ok(());
        } else if get("master_link_status") != "up" {
            settled.detail = "not in touch with the primary".to_owned();
        }
        if !known {
            node.run(password, &settings(wish)).await?;
        }
        self.settled.insert(node.id.clone(), settled);
        Ok(())
    }
}

/// A primary that has died took its data with it: a replica that has them takes over, as ElastiCache does it by itself.
/// Says whether it has been asked for.
async fn automatic_failover(
    ground: &Ground,
    wish: &CacheGroup,
    members: &[Member<'_>],
    primary: &Node,
    password: Option<&str>,
) -> Result<bool, Error> {
    let mut has_heir = false;
    for member in members.iter().filter(|member| !member.wish.primary && member.node.listens()) {
        let replication = member.node.replication(password).await?;
        let get = |name: &str| replication.get(name).map(String::as_str).unwrap_or_default();
        if get("role").is_empty() {
            // It is loading or busy: what it says next decides, since the primary's data are at stake.
            return Err(Error::failed(&member.node.id, "it doesn't say yet whether it has the dead primary's data"));
        }
        let has_data = get("slave_repl_offset") != "0" && get("master_sync_in_progress") != "1";
        let follows = get("role") == "slave" && get("master_host") == primary.address.to_string();
        if !(has_data && follows) {
            tracing::info!(node = member.node.id, ?replication, "it is no heir of the dead primary");
        }
        has_heir |= has_data && follows;
    }
    if !has_heir {
        return Ok(false);
    }
    tracing::info!(group = wish.id, "the primary is dead: failover");
    let cx = ground.aws(&wish.region).await;
    let call = cx.elasticache.test_failover().replication_group_id(&wish.id).node_group_id("0001");
    match call.send().await.map_err(crate::aws::Error::from) {
        Ok(_) => Ok(true),
        Err(error) => {
            // Without automatic failover it comes back empty, as on AWS.
            tracing::warn!(%error, group = wish.id, "no failover");
            Ok(false)
        }
    }
}

/// The heir gets all that the old primary has, if that still lives, and takes its place; clients are cut off, so that they
/// come again and find the new one.
async fn take_over(heir: &Node, old: Option<&Node>, password: Option<&str>) -> Result<(), Error> {
    if let Some(old) = old {
        let command = format!("FAILOVER TO {} {} TIMEOUT {HAND_OVER}\n", heir.address, heir.port);
        let answer = old.run(password, &command).await;
        let deadline = Instant::now() + Duration::from_millis(u64::from(HAND_OVER) + 500);
        while matches!(&answer, Ok(text) if text.trim() == "OK") && Instant::now() < deadline {
            if heir.replication(password).await?.get("role").is_some_and(|role| role == "master") {
                old.run(password, "CLIENT KILL TYPE normal\nCLIENT KILL TYPE pubsub\n").await?;
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
    heir.run(password, "REPLICAOF NO ONE\n").await?;
    Ok(())
}

/// The parameter group's settings, and the memory of the node's class. What Redis doesn't know is ElastiCache's own.
fn settings(wish: &CacheGroup) -> String {
    let memory = MEMORY.iter().find(|(class, _)| *class == wish.class);
    let memory = memory.map(|(_, bytes)| format!("CONFIG SET maxmemory {bytes}\n"));
    let parameters =
        wish.parameters.iter().map(|(name, value)| format!("CONFIG SET {} {}\n", quoted(name), quoted(value)));
    memory.into_iter().chain(parameters).collect()
}

/// Starts a node that doesn't run, and gives a running one its new password.
async fn start(ground: &Ground, member: &mut Member<'_>, primary: &Node, password: Option<&str>) -> Result<(), Error> {
    let leader = (!member.wish.primary).then_some(primary);
    let running = ground.processes.find(&member.node.name()).is_some();
    let before = member.node.prepare(leader, password)?;
    if running && before.as_deref() != password {
        let new = quoted(password.unwrap_or_default());
        let change = format!("CONFIG SET masterauth {new}\nCONFIG SET requirepass {new}\n");
        member.node.run(before.as_deref(), &change).await?;
    }
    match ground.processes.keep(&member.node.launch())? {
        Kept::Running(alive) | Kept::Started(alive) => member.alive = Some(alive),
        Kept::Waiting => {
            let said = ground.processes.last_words(&member.node.name());
            return Err(Error::failed(&member.node.id, format!("it keeps ending: {said}")));
        }
    }
    member.up = member.node.listens();
    Ok(())
}

/// The group's endpoints and the nodes' own. Without replicas, the reader endpoint leads to the primary.
fn names(wish: &CacheGroup, members: &[Member<'_>]) -> Names {
    let mut names = Names::new();
    let mut replicas = BTreeSet::new();
    for member in members {
        names.insert(member.wish.endpoint.clone(), [member.node.address].into());
        if member.wish.primary {
            names.insert(wish.endpoint.clone(), [member.node.address].into());
        } else if member.up {
            replicas.insert(member.node.address);
        }
    }
    if replicas.is_empty() {
        replicas = names.get(&wish.endpoint).cloned().unwrap_or_default();
    }
    names.insert(wish.reader_endpoint.clone(), replicas);
    names.retain(|name, addresses| !name.is_empty() && !addresses.is_empty());
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_and_memory_become_settings() {
        let wish = CacheGroup {
            class: "cache.t3.micro".to_owned(),
            parameters: BTreeMap::from([("maxmemory-policy".to_owned(), "noeviction".to_owned())]),
            ..CacheGroup::default()
        };
        assert_eq!(settings(&wish), "CONFIG SET maxmemory 536870912\nCONFIG SET \"maxmemory-policy\" \"noeviction\"\n");
    }
}
