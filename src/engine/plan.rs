//! The operations that lead from the inventory to the blueprint, as data that can be printed, saved and run.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::{
    Inventory, Owned,
    diff::{Attribute, compare, compare_tags},
    graph,
};
use crate::{
    aws::tags,
    blueprint::{Blueprint, Node},
    resource::{self, AnyKind, Effect, Status, Target},
};

/// What is done to a resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    Create,
    Update,
    Replace,
    Delete,
    /// Nothing but waiting: an earlier run was cut short while the resource became ready.
    Wait,
}

/// The shape in which plans are written.
pub const FORMAT_VERSION: u32 = 1;

/// Why everything goes when a stack is destroyed.
pub const DESTROYED: &str = "the stack is destroyed";

/// One resource that isn't as wanted.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Step {
    /// The logical id; for a superfluous resource with its AWS id behind it.
    pub id: String,
    pub kind: String,
    pub action: Action,
    /// Why this action, in words.
    pub reasons: Vec<String>,
    pub attributes: Vec<Attribute>,
    /// The AWS id of what is there now.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub aws_id: Option<String>,
}

/// How many resources meet which fate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Summary {
    pub create: usize,
    pub update: usize,
    pub replace: usize,
    pub delete: usize,
    pub unchanged: usize,
}

/// A part of the stack that the endpoint, an emulator, can't hold.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Omission {
    pub id: String,
    pub kind: String,
    pub reason: String,
    /// The omitted resource without which this one can't be; none if the endpoint lacks the kind itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub needs: Option<String>,
}

/// The operations that lead from what is there to what is wanted.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    pub format_version: u32,
    pub stack: String,
    pub summary: Summary,
    /// In the blueprint's order, deletions last.
    #[serde(rename = "changes")]
    pub steps: Vec<Step>,
    /// Unchanged resources that are not ready yet.
    #[serde(skip)]
    pub waits: Vec<String>,
    /// What an emulator can't hold. Always empty against AWS.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub omitted: Vec<Omission>,
}

impl Plan {
    /// Whether AWS is already as wanted.
    pub fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }

    /// The same plan with the steps that `wanted` picks. They must not need any of the others.
    pub fn only(self, wanted: impl Fn(&Step) -> bool) -> Plan {
        let Plan { stack, steps, waits, summary, omitted, .. } = self;
        let all = steps.len();
        let steps: Vec<Step> = steps.into_iter().filter(wanted).collect();
        let unchanged = summary.unchanged + all - steps.len();
        Plan::new(&stack, steps, waits, unchanged, omitted)
    }

    fn new(stack: &str, mut steps: Vec<Step>, waits: Vec<String>, unchanged: usize, omitted: Vec<Omission>) -> Plan {
        // Stable: what is deleted comes last, all else in the blueprint's order.
        steps.sort_by_key(|step| step.action == Action::Delete);
        let count = |action| steps.iter().filter(|step| step.action == action).count();
        let summary = Summary {
            create: count(Action::Create),
            update: count(Action::Update),
            replace: count(Action::Replace),
            delete: count(Action::Delete),
            unchanged,
        };
        Plan { format_version: FORMAT_VERSION, stack: stack.into(), summary, steps, waits, omitted }
    }

    /// Resources that hold data and would be lost: replaced or deleted.
    pub fn data_losses(&self) -> impl Iterator<Item = &Step> {
        self.steps.iter().filter(|step| {
            matches!(step.action, Action::Replace | Action::Delete)
                && resource::by_name(&step.kind).is_some_and(|kind| kind.traits().holds_data)
        })
    }
}

/// Whether a blueprint read from a file can be worked with: another version, or somebody's hand, may have written it.
///
/// # Errors
/// In words, what is wrong with it.
pub fn check(blueprint: &Blueprint) -> Result<(), String> {
    for (id, node) in &blueprint.nodes {
        let kind = resource::by_name(&node.kind)
            .ok_or_else(|| format!("{id} is of a kind that this ticketctl doesn't know, {}", node.kind))?;
        kind.canonical(node.spec.clone(), None).map_err(|error| format!("{id} is no {}: {error}", node.kind))?;
        let (stack, part) = (node.tags.get(tags::STACK), node.tags.get(tags::ID));
        if (stack, part) != (Some(&blueprint.stack), Some(id)) {
            return Err(format!("the tags of {id} don't say that it is {id} of {}", blueprint.stack));
        }
    }
    Ok(())
}

/// Compares the blueprint with what is there.
///
/// # Errors
/// References in a circle, with all that are in it.
pub fn plan(blueprint: &Blueprint, inventory: &Inventory) -> Result<Plan, graph::Cycle> {
    let mut planner = Planner { inventory, fates: HashMap::new(), omitted: BTreeMap::new() };
    let mut decided: BTreeMap<&str, Option<Step>> = BTreeMap::new();
    for id in graph::creation_order(blueprint)? {
        let node = &blueprint.nodes[id];
        if let Some(omission) = planner.omission(id, node) {
            planner.omitted.insert(id.to_owned(), omission);
            continue;
        }
        let step = planner.decide(id, node);
        planner.fates.insert(id.to_owned(), step.as_ref().map(|step| step.action));
        decided.insert(id, step);
    }
    let (mut steps, mut waits, mut unchanged) = (Vec::new(), Vec::new(), 0);
    for id in blueprint.nodes.keys() {
        match decided.remove(id.as_str()) {
            Some(Some(step)) if step.action == Action::Wait => {
                waits.push(id.clone());
                unchanged += 1;
            }
            Some(Some(step)) => steps.push(step),
            Some(None) => unchanged += 1,
            None => {}
        }
    }
    let gone = inventory.resources.iter().filter(|(id, owned)| !wants(blueprint, id, owned));
    let gone = gone.filter(|(_, owned)| !owned.kind.lapses(&owned.found.id));
    steps.extend(gone.map(|(id, owned)| deletion(id.clone(), owned, "no longer in the stack file".into())));
    steps.extend(inventory.extra.iter().map(|owned| superfluous(owned, inventory)));
    let omitted = planner.omitted.into_values().collect();
    Ok(Plan::new(&blueprint.stack, steps, waits, unchanged, omitted))
}

/// The deletion of everything that the stack owns.
pub fn plan_destroy(stack: &str, inventory: &Inventory) -> Plan {
    let steps = inventory.all().map(|owned| {
        let id = if inventory.resources.get(&owned.found.logical_id).is_some_and(|kept| kept.found.id == owned.found.id)
        {
            owned.found.logical_id.clone()
        } else {
            extra_id(owned)
        };
        deletion(id, owned, DESTROYED.into())
    });
    Plan::new(stack, steps.collect(), Vec::new(), 0, Vec::new())
}

fn wants(blueprint: &Blueprint, id: &str, owned: &Owned) -> bool {
    blueprint.nodes.get(id).is_some_and(|node| node.kind == owned.kind.name())
}

/// How a superfluous resource is called in a plan: its logical id is taken.
pub(super) fn extra_id(owned: &Owned) -> String {
    let name = if owned.found.logical_id.is_empty() { owned.kind.name() } else { &owned.found.logical_id };
    format!("{name} ({})", owned.found.id)
}

fn superfluous(owned: &Owned, inventory: &Inventory) -> Step {
    let reason = match inventory.resources.get(&owned.found.logical_id) {
        Some(kept) => format!("a second one; {} is kept", kept.found.id),
        None => "carries the stack's tag but no logical id".into(),
    };
    deletion(extra_id(owned), owned, reason)
}

fn deletion(id: String, owned: &Owned, reason: String) -> Step {
    Step {
        id,
        kind: owned.kind.name().into(),
        action: Action::Delete,
        reasons: vec![reason],
        attributes: Vec::new(),
        aws_id: Some(owned.found.id.clone()),
    }
}

struct Planner<'a> {
    inventory: &'a Inventory,
    /// What happens to the nodes decided so far; none means nothing.
    fates: HashMap<String, Option<Action>>,
    omitted: BTreeMap<String, Omission>,
}

impl Planner<'_> {
    /// Whether the endpoint can't hold this node, or something that it needs.
    fn omission(&self, id: &str, node: &Node) -> Option<Omission> {
        let gap = self.inventory.gaps.iter().find(|gap| gap.kind == node.kind);
        let missing = node.dependencies().into_keys().find(|needed| self.omitted.contains_key(needed));
        let (reason, needs) = match (gap, missing) {
            (Some(gap), _) => (gap.reason.clone(), None),
            (None, Some(needed)) => (format!("needs {needed}"), Some(needed)),
            (None, None) => return None,
        };
        Some(Omission { id: id.into(), kind: node.kind.clone(), reason, needs })
    }

    fn decide(&self, id: &str, node: &Node) -> Option<Step> {
        let kind = kind_of(node);
        let owned = self.inventory.resources.get(id).filter(|owned| owned.kind.name() == node.kind);
        let desired = canonical(kind, &resource::resolve(&node.spec, &|target| self.lookup(target)), owned);
        let step = |action, reasons, attributes, aws_id| {
            Some(Step { id: id.into(), kind: node.kind.clone(), action, reasons, attributes, aws_id })
        };
        let Some(owned) = owned else {
            return step(Action::Create, vec!["not there".into()], creation(&desired), None);
        };
        let attributes = differences(kind, &desired, node, owned);
        let aws_id = Some(owned.found.id.clone());
        if let Status::Failed(state) = &owned.found.status {
            return step(Action::Replace, vec![format!("AWS reports it as failed: {state}")], attributes, aws_id);
        }
        if attributes.is_empty() {
            let pending = matches!(owned.found.status, Status::Pending(_)) && kind.traits().waits;
            return pending.then(|| step(Action::Wait, Vec::new(), Vec::new(), aws_id)).flatten();
        }
        let forcing: Vec<_> = attributes.iter().filter(|a| a.effect == Effect::Replace).collect();
        if forcing.is_empty() {
            let paths: BTreeSet<_> = attributes.iter().map(|a| resource::root(&a.path)).collect();
            let reasons = vec![format!("differs in {}", paths.into_iter().collect::<Vec<_>>().join(", "))];
            return step(Action::Update, reasons, attributes, aws_id);
        }
        let reasons = forcing.iter().map(|a| format!("{} can't be changed in place", a.path)).collect();
        step(Action::Replace, reasons, attributes, aws_id)
    }

    /// The value of a reference, if it will still be true after the plan has run.
    fn lookup(&self, target: &Target) -> Option<String> {
        if let Some(Action::Create | Action::Replace) = self.fates.get(&target.id)? {
            return None;
        }
        let found = &self.inventory.resources.get(&target.id)?.found;
        match &target.output {
            None => Some(found.id.clone()),
            Some(output) => {
                let owned = &self.inventory.resources[&target.id];
                let renewed = self.fates[&target.id] == Some(Action::Update) && owned.kind.renews(output);
                found.outputs.get(output).filter(|_| !renewed).cloned()
            }
        }
    }
}

/// Everything that differs between a node, its references replaced, and what is there.
pub(super) fn differences(kind: &dyn AnyKind, desired: &Value, node: &Node, owned: &Owned) -> Vec<Attribute> {
    let mut attributes = compare(kind, desired, &owned.found.spec);
    if let Some(tags) = &owned.found.tags {
        attributes.extend(compare_tags(&node.tags, tags));
    }
    attributes
}

pub(super) fn kind_of(node: &Node) -> &'static dyn AnyKind {
    resource::by_name(&node.kind).unwrap_or_else(|| panic!("the blueprint holds an unknown kind, {}", node.kind))
}

/// The wish in the form in which it is compared with what is there.
pub(super) fn canonical(kind: &dyn AnyKind, spec: &Value, owned: Option<&Owned>) -> Value {
    kind.canonical(spec.clone(), owned.map(|owned| &owned.found.spec))
        .unwrap_or_else(|error| panic!("a {} spec that isn't one: {error}", kind.name()))
}

/// A new resource's attributes: all that is wanted.
fn creation(desired: &Value) -> Vec<Attribute> {
    let Value::Object(fields) = desired else { return Vec::new() };
    fields
        .iter()
        .filter(|(_, value)| !value.is_null())
        .map(|(path, value)| Attribute {
            path: path.clone(),
            before: Value::Null,
            after: value.clone(),
            effect: Effect::InPlace,
        })
        .collect()
}
