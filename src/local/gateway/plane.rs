//! What the data plane tells of itself: where load balancers really listen, and who of their targets is healthy. Without a
//! data plane the emulator's own guesses stand.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::call::Call;
use super::reply::{Refusal, Reply};
use super::state::State;
use super::xml::Element;
use crate::local::plane::balancer::{Health, Reason, TargetHealth};

/// As it is put to `/_ticketctl/plane`, whole each time.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// What stands for the DNS name of each load balancer, by ARN.
    pub balancers: BTreeMap<String, String>,
    /// The targets of each target group that a load balancer uses, by ARN.
    pub targets: BTreeMap<String, Vec<ToldTarget>>,
}

/// One target's health.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ToldTarget {
    pub id: String,
    pub port: u16,
    pub state: Health,
    pub reason: Option<Reason>,
}

impl From<TargetHealth> for ToldTarget {
    fn from(told: TargetHealth) -> Self {
        Self { id: told.target.id, port: told.target.port, state: told.state, reason: told.reason }
    }
}

/// Puts what the data plane knows in the place of what the emulator guesses.
pub fn answer(state: &State, call: &Call, reply: Reply) -> Result<Reply, Refusal> {
    let memory = state.memory();
    let Some(report) = &memory.plane else { return Ok(reply) };
    match call.operation.as_str() {
        "CreateLoadBalancer" | "DescribeLoadBalancers" => {
            let mut answer = reply.element()?;
            if let Some(balancers) = answer.find_mut("LoadBalancers") {
                balancers.children.iter_mut().for_each(|balancer| name(balancer, report));
            }
            Ok(reply.with_element(&answer))
        }
        "DescribeTargetHealth" => {
            let mut answer = reply.element()?;
            if let Some(described) = answer.find_mut("TargetHealthDescriptions") {
                let targets = report.targets.get(call.form.text("TargetGroupArn")).map(Vec::as_slice);
                let all = call.form.under("Targets").is_empty();
                described.children = health(std::mem::take(&mut described.children), targets, all);
            }
            Ok(reply.with_element(&answer))
        }
        _ => Ok(reply),
    }
}

/// Until the data plane has an address for it, a load balancer is being provisioned.
fn name(balancer: &mut Element, report: &Report) {
    match report.balancers.get(balancer.get("LoadBalancerArn")) {
        Some(name) => balancer.set(Element::leaf("DNSName", name)),
        None => balancer.set(Element::new("State").with(Element::leaf("Code", "provisioning"))),
    }
}

/// The descriptions with the real health, and with those that drain, which the emulator has forgotten.
fn health(described: Vec<Element>, targets: Option<&[ToldTarget]>, all: bool) -> Vec<Element> {
    let mut told: Vec<Element> = Vec::new();
    for mut one in described {
        let id = one.find("Id").map(|id| id.text.clone()).unwrap_or_default();
        let port: u16 = one.find("Port").and_then(|port| port.text.parse().ok()).unwrap_or_default();
        let known = targets.and_then(|targets| targets.iter().find(|target| target.id == id && target.port == port));
        // Who isn't registered is told so by the emulator already.
        let is_registered = one.find("State").is_some_and(|state| state.text != "unused");
        match (targets, known) {
            (_, Some(target)) => one.set(element(target)),
            (Some(_), None) if is_registered => {
                one.set(state("initial", "Elb.RegistrationInProgress", "Target registration is in progress"))
            }
            (None, None) if is_registered => one.set(state(
                "unused",
                "Target.NotInUse",
                "Target group is not configured to receive traffic from the load balancer",
            )),
            _ => {}
        }
        told.push(one);
    }
    let draining = targets.unwrap_or_default().iter().filter(|target| all && target.state == Health::Draining);
    for target in draining {
        let port = target.port.to_string();
        let which = Element::new("Target").with(Element::leaf("Id", &target.id)).with(Element::leaf("Port", &port));
        let member = Element::new("member").with(which).with(Element::leaf("HealthCheckPort", &port));
        told.push(member.with(element(target)));
    }
    told
}

fn element(target: &ToldTarget) -> Element {
    let name = match target.state {
        Health::Initial => "initial",
        Health::Healthy => "healthy",
        Health::Unhealthy => "unhealthy",
        Health::Draining => "draining",
    };
    match &target.reason {
        Some(reason) => state(name, &reason.code, &reason.description),
        None => Element::new("TargetHealth").with(Element::leaf("State", name)),
    }
}

fn state(name: &str, reason: &str, description: &str) -> Element {
    Element::new("TargetHealth")
        .with(Element::leaf("State", name))
        .with(Element::leaf("Reason", reason))
        .with(Element::leaf("Description", description))
}
