//! Of several resources with one logical id, the one that stays.

use super::{
    Inventory, Owned,
    graph::{Cycle, creation_order},
    plan::{canonical, differences, kind_of},
};
use crate::{
    blueprint::{Blueprint, Node},
    resource::{self, Effect, Status, Target},
};

/// Prefers the one that is as wanted, or can be changed to be, over the one in use: a run that was cut short in the middle of a
/// replacement has left the new one beside the old one, and both may be in use.
///
/// # Errors
/// References in a circle.
pub fn choose(blueprint: &Blueprint, inventory: &mut Inventory) -> Result<(), Cycle> {
    if inventory.extra.is_empty() {
        return Ok(());
    }
    for id in creation_order(blueprint)? {
        let node = &blueprint.nodes[id];
        let is_one = |owned: &Owned| owned.found.logical_id == id && owned.kind.name() == node.kind;
        if inventory.resources.get(id).is_none_or(|kept| !is_one(kept) || can_stay(node, kept, inventory)) {
            continue;
        }
        let better = inventory.extra.iter().position(|extra| is_one(extra) && can_stay(node, extra, inventory));
        if let (Some(at), Some(kept)) = (better, inventory.resources.get_mut(id)) {
            std::mem::swap(kept, &mut inventory.extra[at]);
        }
    }
    Ok(())
}

/// Whether it can become what is wanted without being replaced.
fn can_stay(node: &Node, owned: &Owned, inventory: &Inventory) -> bool {
    let known = |target: &Target| {
        let found = &inventory.resources.get(&target.id)?.found;
        target.output.as_ref().map_or_else(|| Some(found.id.clone()), |output| found.outputs.get(output).cloned())
    };
    let kind = kind_of(node);
    let desired = canonical(kind, &resource::resolve(&node.spec, &known), Some(owned));
    !matches!(owned.found.status, Status::Failed(_))
        && differences(kind, &desired, node, owned).iter().all(|attribute| attribute.effect != Effect::Replace)
}
