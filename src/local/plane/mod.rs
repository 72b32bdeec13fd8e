//! The data plane: a supervisor that makes real processes of what the control plane says.
//!
//! [`supervise`] looks at the control plane soon after every change, and every few seconds in any case, and gives what it
//! sees, a [`World`], to the areas. An area is one kind of thing: databases, caches, instances, load balancers. Each lives in
//! a task of its own, so that none waits for another.
//!
//! # A new area
//!
//! Implement [`Area`] and add it to [`areas`]. Its `reconcile` is called with the newest world soon after that has changed,
//! and every second in any case; never twice at once. It
//!
//! * compares what the world wants with what runs, and takes a step towards it. It may find processes of an earlier supervisor
//!   that was killed at any moment: what it knows is in [`Processes`], in files below [`Ground::directory`], or asked
//!   of the process itself; what it remembers in its own fields is only a shortcut;
//! * keeps processes with [`Processes::keep`], which restarts them when they end, and ends them with [`Processes::stop`] when
//!   their resource is gone, then gives back address, certificate and directory. It ends only processes whose names begin with
//!   its own prefix (`database-`, `cache-`, …);
//! * takes addresses from [`Ground::addresses`], certificates from [`Ground::authority`], and tells the names of AWS's endpoints
//!   to [`Ground::hosts`];
//! * returns an [`Entry`] for each thing, which `ticketctl local status` shows. What goes wrong with one thing belongs into
//!   its entry's `detail`, and must not keep the others from being looked after; an error is for what concerns them all.
//!
//! What a supervisor holds in its own process, such as listeners, ends with it; so `reconcile` makes it anew.

mod addresses;
mod authority;
pub mod balancer;
pub mod board;
mod cache;
mod database;
pub mod fleet;
mod hosts;
pub mod instance;
pub mod process;
mod programs;
pub mod scaling;
pub mod world;

use std::collections::BTreeMap;
use std::fs;
use std::net::Ipv4Addr;
use std::panic::AssertUnwindSafe;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use futures::FutureExt;
use tokio::sync::{Mutex, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

pub use addresses::Addresses;
pub use authority::{Authority, Certificate};
pub use balancer::Balancers;
pub use board::{Board, Entry, State};
pub use fleet::Fleet;
pub use hosts::{Hosts, Names};
pub use instance::Instances;
pub use process::{Alive, Kept, Launch, Processes};
pub use programs::Programs;
pub use scaling::Scaling;
pub use world::World;

use crate::aws::{Context, Target};

/// How often an area looks after its processes when nothing changes.
const PULSE: Duration = Duration::from_secs(1);

/// How often the gateway is asked whether something has changed: a request of its own paths, which costs nothing.
const GLANCE: Duration = Duration::from_millis(200);

/// How often the control plane is looked at when nobody changes anything: some things happen there by themselves.
const LOOK: Duration = Duration::from_secs(3);

/// Why the data plane cannot do something.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(
        "{programs} not found: the local data plane is made of them; on Debian and Ubuntu, `apt-get install {packages}`"
    )]
    Missing { programs: String, packages: String },
    #[error("the local data plane needs Linux: its instances are sandboxes of the Linux kernel")]
    NotLinux,
    #[error("another supervisor has the addresses 127.77.{block}.0/24: take its local cloud down first")]
    Claimed { block: u8 },
    #[error("all blocks of 127.77.0.0/16 are taken by other local clouds")]
    NoBlock,
    #[error(
        "there is no address left in 127.77.{block}.0/24 for {thing}, with {ports:?} free: does another program listen on all addresses?"
    )]
    NoAddress { thing: String, block: u8, ports: Vec<u16> },
    #[error("{name} cannot be started: {reason}")]
    Start { name: String, reason: String },
    #[error("{0} does not end")]
    Stop(String),
    #[error("{name} cannot be signalled: {reason}")]
    Signal { name: String, reason: String },
    #[error("{what}: {reason}")]
    Failed { what: String, reason: String },
    #[error("{endpoint} is not ticketctl's gateway, or does not answer")]
    NoGateway { endpoint: String },
    #[error("a certificate cannot be made: {0}")]
    Certificate(#[from] rcgen::Error),
    #[error("{}: {source}", .path.display())]
    File { path: PathBuf, source: std::io::Error },
    #[error(transparent)]
    Aws(#[from] crate::aws::Error),
    #[error(transparent)]
    Local(#[from] crate::local::Error),
    #[error(transparent)]
    Json(#[from] serde_json::Error),
}

impl Error {
    fn file(path: &Path, source: std::io::Error) -> Self {
        Self::File { path: path.to_owned(), source }
    }

    /// A program's own complaint.
    fn failed(what: impl Into<String>, reason: impl Into<String>) -> Self {
        Self::Failed { what: what.into(), reason: reason.into() }
    }
}

/// One kind of thing that the plane is made of. See the module for what is expected of it.
#[async_trait]
pub trait Area: Send {
    /// As in `plane.json` and in the prefix of its processes.
    fn name(&self) -> &'static str;

    /// Takes a step from what runs to what the world wants.
    async fn reconcile(&mut self, world: &World, ground: &Ground) -> Result<Vec<Entry>, Error>;
}

/// All areas.
fn areas() -> Vec<Box<dyn Area>> {
    let fleet = Arc::new(Fleet::default());
    vec![
        Box::new(database::Databases::default()),
        Box::new(cache::Caches::default()),
        Box::new(Balancers::new(fleet.clone())),
        Box::new(Instances::new(fleet.clone())),
        Box::new(Scaling::new(fleet)),
    ]
}

/// What all areas stand on.
pub struct Ground {
    /// The local cloud's data directory.
    pub data: PathBuf,
    /// The user's cache directory, for what is made once.
    pub cache: PathBuf,
    /// The gateway's URL.
    pub endpoint: String,
    pub programs: Programs,
    pub processes: Processes,
    pub addresses: Addresses,
    pub hosts: Hosts,
    pub authority: Authority,
    board: Board,
    clients: Mutex<BTreeMap<String, Context>>,
}

impl Ground {
    /// Ends the process of a server that is wanted no more, and gives back all that it had: its files in `directory`, its
    /// certificate, its address.
    async fn retire(&self, name: &str, directory: &Path) -> Result<(), Error> {
        self.processes.stop(name, Duration::ZERO).await?;
        remove_directory(directory)?;
        self.authority.revoke(name)?;
        self.addresses.release(name)
    }

    fn open(options: Options) -> Result<Self, Error> {
        let Options { endpoint, data, cache } = options;
        crate::local::create_private(&data)?;
        Ok(Self {
            programs: Programs::find()?,
            processes: Processes::of(&data)?,
            addresses: Addresses::of(&data)?,
            hosts: Hosts::of(&data)?,
            authority: Authority::of(&data)?,
            board: Board::of(&data),
            clients: Mutex::default(),
            data,
            cache,
            endpoint,
        })
    }

    /// A directory of an area's own thing, made on first use: `<data>/<area>/<thing>`.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn directory(&self, area: &str, thing: &str) -> Result<PathBuf, Error> {
        let directory = self.data.join(area).join(thing);
        crate::local::create_private(&directory)?;
        Ok(directory)
    }

    /// The clients for a region of the control plane. Each call is sent once: the next look comes soon.
    pub async fn aws(&self, region: &str) -> Context {
        let mut clients = self.clients.lock().await;
        if let Some(context) = clients.get(region) {
            return context.clone();
        }
        let target = Target { endpoint_url: Some(self.endpoint.clone()), local_credentials: true, ..Target::default() };
        let context = Context::load("local", region, &target).await.without_retries();
        clients.insert(region.to_owned(), context.clone());
        context
    }
}

/// What the supervisor is told.
#[derive(Clone, Debug)]
pub struct Options {
    /// The gateway's URL.
    pub endpoint: String,
    /// The local cloud's data directory: everything is below it.
    pub data: PathBuf,
    /// The user's cache directory.
    pub cache: PathBuf,
}

/// Looks after the data plane until `shutdown`. The processes stay: the next supervisor takes them over.
///
/// # Errors
/// When it cannot begin: a program is missing, or the data directory cannot be used. Later errors are told in the status.
pub async fn supervise(options: Options, shutdown: CancellationToken) -> Result<(), Error> {
    let ground = Arc::new(Ground::open(options)?);
    let (tell, world) = watch::channel(None);
    let mut tasks = JoinSet::new();
    for area in areas() {
        tasks.spawn(tend(area, ground.clone(), world.clone()));
    }
    shutdown.run_until_cancelled(watch_control_plane(&ground, &tell)).await;
    // The areas end with the channel, each after the step that it is at.
    drop(tell);
    let ended = async { while tasks.join_next().await.is_some() {} };
    if tokio::time::timeout(Duration::from_secs(4), ended).await.is_err() {
        tracing::warn!("an area was in the middle of something");
    }
    Ok(())
}

async fn watch_control_plane(ground: &Ground, tell: &watch::Sender<Option<Arc<World>>>) {
    let mut seen: Option<(u64, Instant)> = None;
    loop {
        let outcome = look(ground, &mut seen, tell).await.map(|()| Vec::new());
        note(ground, "control plane", outcome);
        tokio::time::sleep(GLANCE).await;
    }
}

async fn look(
    ground: &Ground,
    seen: &mut Option<(u64, Instant)>,
    tell: &watch::Sender<Option<Arc<World>>>,
) -> Result<(), Error> {
    let news = world::news(&ground.endpoint).await?;
    if seen.is_some_and(|(changes, when)| changes == news.changes && when.elapsed() < LOOK) {
        return Ok(());
    }
    let world = World::observe(ground, &news).await?;
    *seen = Some((news.changes, Instant::now()));
    tell.send_replace(Some(Arc::new(world)));
    Ok(())
}

async fn tend(mut area: Box<dyn Area>, ground: Arc<Ground>, mut world: watch::Receiver<Option<Arc<World>>>) {
    let mut pause = PULSE;
    loop {
        let current = world.borrow_and_update().clone();
        if let Some(current) = current {
            let step = AssertUnwindSafe(area.reconcile(&current, &ground)).catch_unwind().await;
            let outcome = step.unwrap_or_else(|_| Err(Error::failed(area.name(), "a bug: it panicked (see the log)")));
            let starting = |entries: &Vec<Entry>| entries.iter().any(|entry| entry.state == State::Starting);
            pause = if outcome.as_ref().is_ok_and(starting) { GLANCE } else { PULSE };
            note(&ground, area.name(), outcome);
        }
        tokio::select! {
            changed = world.changed() => if changed.is_err() { return },
            () = tokio::time::sleep(pause) => {}
        }
    }
}

/// Tells what an area came to. What goes wrong again and again is logged once.
fn note(ground: &Ground, area: &'static str, outcome: Result<Vec<Entry>, Error>) {
    let outcome = outcome.map_err(|error| error.to_string());
    let error = outcome.as_ref().err().cloned();
    match ground.board.tell(area, outcome) {
        Ok(true) => tracing::warn!(area, error, "something could not be done"),
        Ok(false) => {}
        Err(error) => tracing::error!(%error, "the status cannot be written"),
    }
}

/// Writes a file whole or not at all, for the user's eyes alone.
fn write(path: &Path, content: &[u8]) -> Result<(), Error> {
    use std::io::Write;
    let failed = |error| Error::file(path, error);
    let directory = path.parent().unwrap_or(Path::new("."));
    let mut file = tempfile::NamedTempFile::new_in(directory).map_err(failed)?;
    file.write_all(content).map_err(failed)?;
    file.persist(path).map_err(|error| failed(error.error))?;
    Ok(())
}

/// Removes a file that may be gone already.
fn remove(path: &Path) -> Result<(), Error> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(Error::file(path, error)),
        _ => Ok(()),
    }
}

/// Removes a directory with all in it, which may be gone already.
fn remove_directory(path: &Path) -> Result<(), Error> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(Error::file(path, error)),
        _ => Ok(()),
    }
}

/// An address and a port, as people read them.
fn place(address: Ipv4Addr, port: u16) -> String {
    format!("{address}:{port}")
}
