//! Which operation must wait for which, and which chain is the longest.

use petgraph::{
    algo::{tarjan_scc, toposort},
    graph::{DiGraph, NodeIndex},
};
use serde_json::Value;
use std::{
    collections::{BTreeMap, HashMap, HashSet},
    time::Duration,
};

use super::{Action, Attribute, Inventory, Owned, Plan, inventory::texts, plan::extra_id};
use crate::{
    blueprint::Blueprint,
    resource::{self, AnyKind, Kind, Level, Replacement, Vpc},
};

/// References in a circle: a mistake in the blueprint that no order of operations can satisfy.
#[derive(Debug, thiserror::Error)]
#[error("these depend on each other in a circle: {}", .0.join(" → "))]
pub struct Cycle(pub Vec<String>);

/// The logical ids so that each comes after what it refers to; otherwise in the blueprint's order.
pub(super) fn creation_order(blueprint: &Blueprint) -> Result<Vec<&str>, Cycle> {
    let mut graph = DiGraph::<&str, ()>::new();
    let nodes: HashMap<&str, NodeIndex> =
        blueprint.nodes.keys().rev().map(|id| (id.as_str(), graph.add_node(id.as_str()))).collect();
    for (id, node) in &blueprint.nodes {
        for needed in node.dependencies().into_keys() {
            let needed =
                nodes.get(needed.as_str()).ok_or_else(|| Cycle(vec![id.clone(), format!("{needed} (missing)")]))?;
            graph.add_edge(*needed, nodes[id.as_str()], ());
        }
    }
    sorted(&graph).map(|order| order.into_iter().map(|index| graph[index]).collect())
}

fn sorted<N: ToString, E>(graph: &DiGraph<N, E>) -> Result<Vec<NodeIndex>, Cycle> {
    toposort(graph, None).map_err(|_| {
        let circle = tarjan_scc(graph).into_iter().find(|component| component.len() > 1).unwrap_or_default();
        Cycle(circle.into_iter().map(|index| graph[index].to_string()).collect())
    })
}

/// The two halves of an operation: making a resource as wanted, and taking one away.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Work {
    /// Create, update or wait.
    Apply,
    Remove,
}

/// One operation of a run.
pub(super) struct Operation {
    /// As in the plan's step.
    pub id: String,
    pub kind: &'static dyn AnyKind,
    pub action: Action,
    pub work: Work,
    /// For a replacement: the new one comes before the old one goes.
    pub create_first: bool,
    /// Nothing but tags is changed: whoever refers to it needn't wait.
    pub only_tags: bool,
    /// What is there now: for everything but a creation.
    pub owned: Option<Owned>,
    /// Indices of operations that must come first, and how far they must be.
    pub needs: Vec<(usize, Level)>,
    /// How long it and the longest chain behind it usually take.
    pub path: Duration,
}

/// The operations of a plan and the order among them.
pub(super) fn operations(plan: &Plan, blueprint: &Blueprint, inventory: &Inventory) -> Result<Vec<Operation>, Cycle> {
    let mut operations = list(plan, inventory);
    settle_replacements(&mut operations, blueprint)?;
    let index: HashMap<(String, Work), usize> =
        operations.iter().enumerate().map(|(at, operation)| ((operation.id.clone(), operation.work), at)).collect();
    let links = Links::new(blueprint, inventory);
    for at in 0..operations.len() {
        operations[at].needs = match operations[at].work {
            Work::Apply => needs_of_apply(&operations[at], blueprint, &links, &index, &operations),
            Work::Remove => needs_of_removal(&operations[at], &links, &index, &operations),
        };
    }
    break_circles(&mut operations, blueprint);
    measure(&mut operations)?;
    Ok(operations)
}

fn list(plan: &Plan, inventory: &Inventory) -> Vec<Operation> {
    let extra: HashMap<String, &Owned> = inventory.extra.iter().map(|owned| (extra_id(owned), owned)).collect();
    let waits = plan.waits.iter().map(|id| (id.as_str(), Action::Wait));
    let steps = plan.steps.iter().map(|step| (step.id.as_str(), step.action));
    let mut operations = Vec::new();
    for (id, action) in steps.chain(waits) {
        let owned = extra.get(id).copied().or_else(|| inventory.resources.get(id));
        let step = plan.steps.iter().find(|step| step.id == id);
        let kind = match (step, owned) {
            (Some(step), _) => resource::by_name(&step.kind),
            (None, owned) => owned.map(|owned| owned.kind),
        };
        let Some(kind) = kind else { continue };
        let halves: &[Work] = match action {
            Action::Create | Action::Update | Action::Wait => &[Work::Apply],
            Action::Replace => &[Work::Apply, Work::Remove],
            Action::Delete => &[Work::Remove],
        };
        operations.extend(halves.iter().map(|work| Operation {
            id: id.into(),
            kind,
            action,
            work: *work,
            create_first: kind.traits().replacement == Replacement::CreateFirst,
            only_tags: action == Action::Update
                && step.is_some_and(|step| step.attributes.iter().all(Attribute::is_tag)),
            owned: owned.cloned(),
            needs: Vec::new(),
            path: Duration::ZERO,
        }));
    }
    operations
}

/// What hangs on something that must go first can't be made before it: it goes first, too.
fn settle_replacements(operations: &mut [Operation], blueprint: &Blueprint) -> Result<(), Cycle> {
    let mut delete_first: HashSet<&str> = HashSet::new();
    for id in creation_order(blueprint)? {
        let forced = blueprint.nodes[id].dependencies().keys().any(|needed| delete_first.contains(needed.as_str()));
        let replaced =
            operations.iter_mut().filter(|operation| operation.id == id && operation.action == Action::Replace);
        for operation in replaced {
            operation.create_first &= !forced;
            if !operation.create_first {
                delete_first.insert(id);
            }
        }
    }
    Ok(())
}

/// The tags of the VPC, which every look sees, are the last to change: as long as any other resource hasn't got its new tags,
/// a sparing look finds that something is to do.
fn is_seal(operation: &Operation) -> bool {
    operation.only_tags && operation.kind.name() == Vpc::NAME
}

type Index = HashMap<(String, Work), usize>;

fn needs_of_apply(
    operation: &Operation,
    blueprint: &Blueprint,
    links: &Links,
    index: &Index,
    operations: &[Operation],
) -> Vec<(usize, Level)> {
    if is_seal(operation) {
        let others = operations.iter().enumerate().filter(|(_, other)| other.work == Work::Apply && !is_seal(other));
        return others.map(|(at, _)| (at, Level::Created)).collect();
    }
    let mut needs: Vec<_> = blueprint.nodes[&operation.id]
        .dependencies()
        .into_iter()
        .filter_map(|(id, level)| Some((*index.get(&(id, Work::Apply))?, level)))
        .filter(|(at, _)| !operations[*at].only_tags)
        .collect();
    if operation.action == Action::Replace && !operation.create_first {
        needs.extend(index.get(&(operation.id.clone(), Work::Remove)).map(|at| (*at, Level::Ready)));
    }
    // What a replacement that was cut off has left has the name that the next one needs, and would be taken for its own.
    if matches!(operation.action, Action::Create | Action::Replace) {
        let leftover = |other: &Operation| {
            other.id != operation.id
                && other.owned.as_ref().is_some_and(|owned| owned.found.logical_id == operation.id)
                && links.users(other).is_empty()
        };
        needs.extend((0..operations.len()).filter(|at| leftover(&operations[*at])).map(|at| (at, Level::Ready)));
    }
    needs
}

/// A resource goes after everything that uses it: after the removal of users that go too, and after the change of
/// users that stay and let go of it.
fn needs_of_removal(
    operation: &Operation,
    links: &Links,
    index: &Index,
    operations: &[Operation],
) -> Vec<(usize, Level)> {
    let mut needs = Vec::new();
    if operation.action == Action::Replace && operation.create_first {
        needs.extend(index.get(&(operation.id.clone(), Work::Apply)).map(|at| (*at, Level::Ready)));
    }
    for user in links.users(operation) {
        if let Some(removal) = index.get(&(user.clone(), Work::Remove)) {
            // A user that is itself replaced the other way round is removed after its successor is there.
            needs.push((*removal, Level::Ready));
        } else if let Some(change) = index.get(&(user.clone(), Work::Apply)) {
            let successor_needed = operation.action == Action::Replace && !operation.create_first;
            if !successor_needed && operations[*change].action != Action::Create {
                needs.push((*change, Level::Ready));
            }
        }
    }
    needs.retain(|(at, _)| operations[*at].id != operation.id || operations[*at].work != operation.work);
    needs
}

/// Who uses whom: as AWS says, and as the blueprint says.
struct Links {
    users: BTreeMap<String, HashSet<String>>,
}

impl Links {
    fn new(blueprint: &Blueprint, inventory: &Inventory) -> Links {
        let named: Vec<(String, &Owned)> = inventory
            .resources
            .iter()
            .map(|(id, owned)| (id.clone(), owned))
            .chain(inventory.extra.iter().map(|owned| (extra_id(owned), owned)))
            .collect();
        // Two kinds may have the same names: a role and its instance profile.
        let mut owners_of: HashMap<&str, HashSet<&str>> = HashMap::new();
        for (id, owned) in &named {
            for text in std::iter::once(&owned.found.id).chain(owned.found.outputs.values()) {
                owners_of.entry(text).or_default().insert(id);
            }
        }
        let mut users: BTreeMap<String, HashSet<String>> = BTreeMap::new();
        for (id, owned) in &named {
            for text in mentions(&owned.found.spec) {
                for used in owners_of.get(text.as_str()).into_iter().flatten().filter(|used| **used != id) {
                    users.entry((*used).to_owned()).or_default().insert(id.clone());
                }
            }
        }
        for (id, node) in &blueprint.nodes {
            for used in node.dependencies().into_keys() {
                users.entry(used).or_default().insert(id.clone());
            }
        }
        Links { users }
    }

    fn users(&self, operation: &Operation) -> Vec<String> {
        let mut users: Vec<_> = self.users.get(&operation.id).into_iter().flatten().cloned().collect();
        users.sort();
        users
    }
}

/// All texts in a spec that may name another resource: not its own name.
fn mentions(spec: &Value) -> Vec<String> {
    let Value::Object(fields) = spec else { return texts(spec) };
    texts(&fields.iter().filter(|(attribute, _)| *attribute != "name").map(|(k, v)| (k.clone(), v.clone())).collect())
}

/// Two resources may name each other in AWS (a queue its dead-letter queue, and that one who may send to it). In such a
/// circle only what the blueprint says counts; should AWS refuse a deletion, it is tried again.
fn break_circles(operations: &mut [Operation], blueprint: &Blueprint) {
    let graph = graph_of(operations);
    for circle in tarjan_scc(&graph).into_iter().filter(|component| component.len() > 1) {
        let members: HashSet<usize> = circle.into_iter().map(NodeIndex::index).collect();
        for at in &members {
            let (id, work) = (operations[*at].id.clone(), operations[*at].work);
            let mut needs = std::mem::take(&mut operations[*at].needs);
            needs.retain(|(needed, _)| {
                let user = blueprint.nodes.get(&operations[*needed].id);
                let said = user.is_some_and(|user| user.dependencies().contains_key(&id));
                work == Work::Apply || said || !members.contains(needed)
            });
            operations[*at].needs = needs;
        }
    }
}

fn graph_of(operations: &[Operation]) -> DiGraph<String, ()> {
    let mut graph = DiGraph::new();
    for operation in operations {
        graph.add_node(format!("{} ({:?})", operation.id, operation.work));
    }
    for (at, operation) in operations.iter().enumerate() {
        for (needed, _) in &operation.needs {
            graph.add_edge(NodeIndex::new(*needed), NodeIndex::new(at), ());
        }
    }
    graph
}

/// Fills in the length of the longest chain that each operation begins.
fn measure(operations: &mut [Operation]) -> Result<(), Cycle> {
    let graph = graph_of(operations);
    for node in sorted(&graph)?.into_iter().rev() {
        let behind = graph.neighbors(node).map(|next| operations[next.index()].path).max().unwrap_or_default();
        let operation = &mut operations[node.index()];
        operation.path = operation.kind.traits().usual + behind;
    }
    Ok(())
}

#[cfg(test)]
#[path = "graph_tests.rs"]
mod tests;
