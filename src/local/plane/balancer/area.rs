//! Keeps a load balancer for each that the control plane has, and tells the gateway where it is and who is healthy.

use std::collections::{BTreeSet, HashMap};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use aws_sdk_elasticloadbalancingv2::types::LoadBalancerTypeEnum;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use super::{Balancer, Health, wanted};
use crate::local::gateway::plane::{Report, ToldTarget};
use crate::local::plane::fleet::Fleet;
use crate::local::plane::world;
use crate::local::plane::{Area, Entry, Error, Ground, State, World};

const AREA: &str = "balancer";

/// Where it listens when the system doesn't let us have the ports that AWS knows.
const OTHER_PORTS: [u16; 2] = [8080, 8443];

/// How often the gateway is told what it knows already.
const AGAIN: Duration = Duration::from_secs(5);

/// The area.
pub struct Balancers {
    fleet: Arc<Fleet>,
    told: Option<(Report, Instant)>,
    certificates: Certificates,
    /// The entries' names of the last time.
    names: BTreeSet<String>,
}

/// What was last read of each load balancer's certificate, and what it was made to.
type Certificates = HashMap<String, (Vec<u8>, Arc<rustls::ServerConfig>)>;

impl Balancers {
    pub fn new(fleet: Arc<Fleet>) -> Self {
        Self { fleet, told: None, certificates: Certificates::new(), names: BTreeSet::new() }
    }
}

#[async_trait]
impl Area for Balancers {
    fn name(&self) -> &'static str {
        AREA
    }

    async fn reconcile(&mut self, world: &World, ground: &Ground) -> Result<Vec<Entry>, Error> {
        let fleet = self.fleet.clone();
        let mut running = fleet.balancers.lock().await;
        let mut entries = Vec::new();
        let mut report = Report::default();
        for found in &world.balancers {
            let arn = found.balancer.load_balancer_arn().unwrap_or_default();
            if found.balancer.r#type() != Some(&LoadBalancerTypeEnum::Application) {
                let detail = "only Application Load Balancers run in the local cloud".to_owned();
                entries.push(Entry { state: State::Failed, detail, ..entry(found) });
                continue;
            }
            let address = ground.addresses.of_thing(&entry(found).name, &OTHER_PORTS)?;
            let balancer = running.entry(arn.to_owned()).or_default();
            let kept = self.keep(balancer, found, address, world, ground).await;
            report.balancers.insert(arn.to_owned(), name_of(balancer, address, found));
            entries.push(match kept {
                Ok(()) => told(balancer, entry(found)),
                Err(error) => Entry { state: State::Failed, detail: error.to_string(), ..entry(found) },
            });
        }
        running.retain(|arn, _| report.balancers.contains_key(arn));
        for balancer in running.values() {
            for (group, targets) in balancer.health() {
                report.targets.entry(group).or_default().extend(targets.into_iter().map(ToldTarget::from));
            }
        }
        drop(running);
        self.forget(&entries, ground)?;
        self.tell(report, ground).await?;
        Ok(entries)
    }
}

impl Balancers {
    async fn keep(
        &mut self,
        balancer: &mut Balancer,
        found: &world::Balancer,
        address: Ipv4Addr,
        world: &World,
        ground: &Ground,
    ) -> Result<(), Error> {
        let name = entry(found).name;
        let needs_tls = found.listeners.iter().any(|listener| !listener.listener.certificates().is_empty());
        let tls = if needs_tls { Some(tls(&name, address, ground, &mut self.certificates)?) } else { None };
        let failed = |reason: String| Error::failed(&name, reason);
        let members = self.fleet.members().clone();
        let wanted = wanted::of(found, address, tls.as_ref(), world, &members).map_err(failed)?;
        balancer.apply(wanted).await.map_err(|error| failed(error.to_string()))
    }

    /// Gives back the addresses of load balancers that are gone.
    fn forget(&mut self, entries: &[Entry], ground: &Ground) -> Result<(), Error> {
        let names: BTreeSet<String> = entries.iter().map(|entry| entry.name.clone()).collect();
        for gone in self.names.difference(&names) {
            ground.addresses.release(gone)?;
            self.certificates.remove(gone);
        }
        self.names = names;
        Ok(())
    }

    /// The gateway forgets with its process, so it is told again from time to time.
    async fn tell(&mut self, report: Report, ground: &Ground) -> Result<(), Error> {
        if let Some((told, when)) = &self.told
            && *told == report
            && when.elapsed() < AGAIN
        {
            return Ok(());
        }
        world::tell(&ground.endpoint, "plane", &report).await?;
        self.told = Some((report, Instant::now()));
        Ok(())
    }
}

fn entry(found: &world::Balancer) -> Entry {
    let name = found.balancer.load_balancer_name().unwrap_or_default();
    Entry {
        name: format!("{AREA}-{name}"),
        resource: name.to_owned(),
        role: "load balancer".into(),
        ..Entry::default()
    }
}

/// What stands for the DNS name: the address, with a port where the usual one isn't to be had. Before there is a listener
/// it is the one that will be.
fn name_of(balancer: &Balancer, address: Ipv4Addr, found: &world::Balancer) -> String {
    let has_https = found.listeners.iter().any(|listener| listener.listener.port() == Some(443));
    let (usual, other) = if has_https { (443, OTHER_PORTS[1]) } else { (80, OTHER_PORTS[0]) };
    let port = match balancer.ports().get(&usual) {
        Some(bound) => bound.port(),
        None if may_bind(address, usual) => usual,
        None => other,
    };
    if port == usual { address.to_string() } else { format!("{address}:{port}") }
}

fn may_bind(address: Ipv4Addr, port: u16) -> bool {
    let bound = std::net::TcpListener::bind((address, port));
    !bound.is_err_and(|error| error.kind() == std::io::ErrorKind::PermissionDenied)
}

fn listens_at(balancer: &Balancer) -> String {
    let ports = balancer.ports();
    ports.values().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

fn told(balancer: &Balancer, entry: Entry) -> Entry {
    let health: Vec<_> = balancer.health().into_values().flatten().collect();
    let healthy = health.iter().filter(|target| target.state == Health::Healthy).count();
    let ill = health.iter().filter_map(|target| {
        let reason = target.reason.as_ref()?;
        Some(format!("; {} {}", target.target.id, reason.description))
    });
    let detail = format!("{healthy} of {} targets healthy{}", health.len(), ill.collect::<String>());
    let state = if balancer.ports().is_empty() { State::Starting } else { State::Running };
    Entry { address: listens_at(balancer), state, detail, ..entry }
}

/// A certificate of the local authority for the load balancer's address.
fn tls(
    name: &str,
    address: Ipv4Addr,
    ground: &Ground,
    certificates: &mut Certificates,
) -> Result<Arc<rustls::ServerConfig>, Error> {
    let issued = ground.authority.issue(name, &["localhost".to_owned()], &[IpAddr::V4(address)])?;
    let failed = |reason: String| Error::failed(format!("the certificate of {name}"), reason);
    let pem = std::fs::read(&issued.certificate).map_err(|error| failed(error.to_string()))?;
    if let Some((known, config)) = certificates.get(name)
        && *known == pem
    {
        return Ok(config.clone());
    }
    let chain: Result<Vec<_>, _> =
        CertificateDer::pem_slice_iter(&pem).map(|one| one.map(|one| one.into_owned())).collect();
    let chain = chain.map_err(|error| failed(error.to_string()))?;
    let key = PrivateKeyDer::from_pem_file(&issued.key).map_err(|error| failed(error.to_string()))?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .and_then(|builder| builder.with_no_client_auth().with_single_cert(chain, key));
    let config = Arc::new(config.map_err(|error| failed(error.to_string()))?);
    certificates.insert(name.to_owned(), (pem, config.clone()));
    Ok(config)
}
