//! Starts the sandbox of every instance of an Auto Scaling group, and ends those whose instance is gone.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use aws_sdk_ec2::types::InstanceStateName;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;

use super::init::{self, Request};
use super::sandbox::{self, Machine, Platform};
use super::state::{Active, Boot, InstanceState, SOCKET};
use crate::local::environment;
use crate::local::plane::fleet::{Fleet, Member};
use crate::local::plane::{Area, Entry, Error, Ground, State, World};

const AREA: &str = "instance";

/// Longer than any unit's own patience: then an instance that was powered off is ended by force.
const POWER_OFF: Duration = Duration::from_secs(150);

/// Written when an instance was started for the first and only time.
const LAUNCHED: &str = "launched";

/// The area.
pub struct Instances {
    fleet: Arc<Fleet>,
    /// Boot scripts by launch template and version.
    scripts: HashMap<(String, String), String>,
    /// When each was told to power off.
    leaving: BTreeMap<String, Instant>,
    environment: Option<PathBuf>,
}

/// An instance as the control plane wants it.
struct Wanted {
    id: String,
    region: String,
    group: String,
    template: String,
    version: String,
    port: Option<u16>,
}

impl Instances {
    pub fn new(fleet: Arc<Fleet>) -> Self {
        Self { fleet, scripts: HashMap::new(), leaving: BTreeMap::new(), environment: None }
    }
}

#[async_trait]
impl Area for Instances {
    fn name(&self) -> &'static str {
        AREA
    }

    async fn reconcile(&mut self, world: &World, ground: &Ground) -> Result<Vec<Entry>, Error> {
        let wanted = wanted(world);
        let mut entries = Vec::new();
        for machine in &wanted {
            let entry = match self.keep(machine, ground).await {
                Ok(entry) => entry,
                Err(error) => Entry { state: State::Failed, detail: error.to_string(), ..entry(machine) },
            };
            entries.push(entry);
        }
        for id in known(ground)? {
            if !wanted.iter().any(|machine| machine.id == id) {
                entries.extend(self.end(&id, ground).await?);
            }
        }
        Ok(entries)
    }
}

fn process(id: &str) -> String {
    format!("{AREA}-{id}")
}

fn entry(machine: &Wanted) -> Entry {
    Entry { name: process(&machine.id), resource: machine.id.clone(), role: machine.group.clone(), ..Entry::default() }
}

/// The instances of all groups that aren't terminated.
fn wanted(world: &World) -> Vec<Wanted> {
    let live = |id: &str| {
        let machine = world.machines.iter().find(|machine| machine.instance.instance_id() == Some(id));
        let state = machine.and_then(|machine| machine.instance.state()?.name().cloned());
        matches!(state, Some(InstanceStateName::Pending | InstanceStateName::Running))
    };
    let ports: HashMap<&str, u16> = world
        .targets
        .iter()
        .filter_map(|targets| Some((targets.group.target_group_arn()?, targets.group.port()?.try_into().ok()?)))
        .collect();
    let mut wanted = Vec::new();
    for scaling in &world.groups {
        let port = scaling.group.target_group_arns().iter().find_map(|arn| ports.get(arn.as_str()).copied());
        for instance in scaling.group.instances() {
            let id = instance.instance_id().unwrap_or_default();
            let template = instance.launch_template();
            if live(id)
                && let Some(template) = template
            {
                wanted.push(Wanted {
                    id: id.to_owned(),
                    region: scaling.region.clone(),
                    group: scaling.group.auto_scaling_group_name().unwrap_or_default().to_owned(),
                    template: template.launch_template_id().unwrap_or_default().to_owned(),
                    version: template.version().unwrap_or_default().to_owned(),
                    port,
                });
            }
        }
    }
    wanted
}

/// The ids of all instances that have a directory or a process.
fn known(ground: &Ground) -> Result<Vec<String>, Error> {
    let base = ground.data.join(AREA);
    let directories = fs::read_dir(&base).into_iter().flatten().flatten();
    let directories = directories.filter_map(|entry| entry.file_name().into_string().ok());
    let processes = ground.processes.names()?.into_iter();
    let processes = processes.filter_map(|name| name.strip_prefix("instance-").map(str::to_owned));
    let mut ids: Vec<String> = directories.chain(processes).collect();
    ids.sort();
    ids.dedup();
    Ok(ids)
}

fn run_directory(directory: &Path) -> PathBuf {
    directory.join("run/ticketctl")
}

impl Instances {
    async fn keep(&mut self, wanted: &Wanted, ground: &Ground) -> Result<Entry, Error> {
        let name = process(&wanted.id);
        let directory = ground.directory(AREA, &wanted.id)?;
        let address = ground.addresses.of_thing(&name, wanted.port.as_slice())?;
        let entry = Entry { address: told_address(address, wanted.port), ..entry(wanted) };
        let mut alive = ground.processes.find(&name);
        if alive.is_none() && !directory.join(LAUNCHED).exists() {
            let user_data = self.script(wanted, ground).await?;
            let (id, region) = (wanted.id.clone(), wanted.region.clone());
            let machine = Machine { id, region, address, port: wanted.port, user_data };
            self.launch(&name, &directory, &machine, ground).await?;
            alive = ground.processes.find(&name);
        }
        let state = InstanceState::read(&run_directory(&directory));
        let member = Member { address, alive: alive.is_some(), state: state.clone() };
        self.fleet.members().insert(wanted.id.clone(), member);
        let (state, detail) = told(alive.is_some(), state.as_ref(), || ground.processes.last_words(&name));
        Ok(Entry { state, detail, ..entry }.with_process(&ground.processes, alive))
    }

    async fn launch(&mut self, name: &str, directory: &Path, machine: &Machine, ground: &Ground) -> Result<(), Error> {
        if self.environment.is_none() {
            let environment = environment::ensure(&ground.cache, &mut |line| tracing::info!("{line}")).await?;
            self.environment = Some(environment.directory().to_owned());
        }
        let program = std::env::current_exe().map_err(|error| Error::failed("ticketctl itself", error.to_string()))?;
        let authority = ground.authority.certificate();
        let platform = Platform {
            bwrap: &ground.programs.bwrap,
            program: &program,
            environment: self.environment.as_deref().unwrap_or(Path::new("")),
            hosts: ground.hosts.file(),
            authority: &authority,
            endpoint: &ground.endpoint,
        };
        sandbox::prepare(directory, machine, &platform)?;
        let launch = sandbox::launch(name, directory, machine, &platform)?;
        // Before the start: an instance boots once, whatever happens in between.
        let launched = directory.join(LAUNCHED);
        fs::write(&launched, "").map_err(|error| Error::file(&launched, error))?;
        ground.processes.keep(&launch)?;
        Ok(())
    }

    /// The user data of the version of the launch template that the instance was launched with.
    async fn script(&mut self, wanted: &Wanted, ground: &Ground) -> Result<String, Error> {
        let key = (wanted.template.clone(), wanted.version.clone());
        if let Some(script) = self.scripts.get(&key) {
            return Ok(script.clone());
        }
        let cx = ground.aws(&wanted.region).await;
        let call = cx.ec2.describe_launch_template_versions().launch_template_id(&wanted.template);
        let answer = call.versions(&wanted.version).send().await.map_err(crate::aws::Error::from)?;
        let versions = answer.launch_template_versions();
        let encoded = versions.first().and_then(|version| version.launch_template_data()?.user_data());
        let unreadable = |reason: String| {
            Error::failed(&wanted.id, format!("the user data of {} version {} {reason}", key.0, key.1))
        };
        let decoded = BASE64_STANDARD.decode(encoded.unwrap_or_default());
        let decoded = decoded.map_err(|error| unreadable(format!("isn't base64: {error}")))?;
        let script = String::from_utf8(decoded).map_err(|_| unreadable("is no text".to_owned()))?;
        self.scripts.insert(key, script.clone());
        Ok(script)
    }

    /// Takes an instance that isn't wanted any more a step nearer to its end; nothing is told once it is gone.
    async fn end(&mut self, id: &str, ground: &Ground) -> Result<Option<Entry>, Error> {
        let name = process(id);
        let directory = ground.data.join(AREA).join(id);
        let entry =
            Entry { name: name.clone(), resource: id.to_owned(), role: "terminated".into(), ..Entry::default() };
        if let Some(alive) = ground.processes.find(&name) {
            let entry = Entry { state: State::Stopped, ..entry }.with_process(&ground.processes, Some(alive));
            if !self.fleet.is_drained(id).await {
                return Ok(Some(Entry { detail: "draining".into(), ..entry }));
            }
            let since = match self.leaving.get(id) {
                Some(since) => since.elapsed(),
                None => {
                    self.leaving.insert(id.to_owned(), Instant::now());
                    power_off(&directory).await
                }
            };
            if since < POWER_OFF {
                return Ok(Some(Entry { detail: "powering off".into(), ..entry }));
            }
        }
        ground.processes.stop(&name, Duration::ZERO).await?;
        match fs::remove_dir_all(&directory) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(Error::file(&directory, error)),
            _ => {}
        }
        ground.addresses.release(&name)?;
        self.leaving.remove(id);
        self.fleet.members().remove(id);
        Ok(None)
    }
}

fn told_address(address: std::net::Ipv4Addr, port: Option<u16>) -> String {
    port.map_or_else(|| address.to_string(), |port| format!("{address}:{port}"))
}

/// Tells the init to stop everything. An init that cannot be asked is ended at once: then its time has run out.
async fn power_off(directory: &Path) -> Duration {
    let socket = run_directory(directory).join(SOCKET);
    let asked = tokio::task::spawn_blocking(move || init::ask(&socket, &Request::PowerOff)).await;
    match asked {
        Ok(Ok(_)) => Duration::ZERO,
        Ok(Err(error)) => {
            tracing::warn!(%error, directory = %directory.display(), "an instance cannot be told to power off");
            POWER_OFF
        }
        Err(_) => POWER_OFF,
    }
}

/// State and detail for people.
fn told(alive: bool, state: Option<&InstanceState>, last_words: impl Fn() -> String) -> (State, String) {
    if !alive {
        return (State::Failed, format!("dead; its group replaces it\n{}", last_words()).trim_end().to_owned());
    }
    let Some(state) = state else { return (State::Starting, String::new()) };
    let services: Vec<String> = state
        .services
        .iter()
        .map(|(name, service)| {
            let again = match service.restarts {
                0 => String::new(),
                times => format!(", restarted {times} times"),
            };
            let ended = service.ended.as_ref().map(|ended| format!(", last {ended}")).unwrap_or_default();
            format!("{} {}{again}{ended}", name.trim_end_matches(".service"), service.active.word())
        })
        .collect();
    let services = services.join("; ");
    match state.boot {
        Boot::Running => (State::Starting, format!("boots {services}").trim_end().to_owned()),
        Boot::Failed(code) => (State::Failed, format!("boot failed with code {code}: {}", last_words())),
        Boot::Done => {
            let down = state.services.values().any(|service| service.active != Active::Active);
            (if down { State::Failed } else { State::Running }, services)
        }
    }
}
