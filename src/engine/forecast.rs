//! How long a plan will take, and what it interrupts.

use serde::Serialize;

use super::{
    Action, Inventory, Plan,
    graph::{self, Cycle, Work},
};
use crate::{
    blueprint::Blueprint,
    resource::{self, Effect},
};

/// What is to be expected of a run.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Forecast {
    /// The longest chain of operations, by the times that they usually take.
    pub seconds: u64,
    pub interruptions: Vec<Interruption>,
}

/// A resource that isn't available for a while.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Interruption {
    pub id: String,
    pub why: String,
    /// How long it usually takes.
    pub seconds: u64,
}

/// The forecast of a plan.
///
/// # Errors
/// References in a circle.
pub fn forecast(plan: &Plan, blueprint: &Blueprint, inventory: &Inventory) -> Result<Forecast, Cycle> {
    let operations = graph::operations(plan, blueprint, inventory)?;
    let seconds = operations.iter().map(|operation| operation.path.as_secs()).max().unwrap_or_default();
    let mut interruptions = Vec::new();
    for step in plan.steps.iter().filter(|step| matches!(step.action, Action::Update | Action::Replace)) {
        let usual = resource::by_name(&step.kind).map(|kind| kind.traits().usual.as_secs()).unwrap_or_default();
        let interrupting: Vec<_> =
            step.attributes.iter().filter(|attribute| attribute.effect == Effect::Interrupts).collect();
        let of_step = |work| operations.iter().find(|operation| operation.id == step.id && operation.work == work);
        if step.action == Action::Replace {
            // What comes before the old one goes interrupts nobody.
            if of_step(Work::Remove).is_some_and(|operation| !operation.create_first) {
                let why = "it goes before its successor comes".to_owned();
                interruptions.push(Interruption { id: step.id.clone(), why, seconds: 2 * usual });
            }
        } else if let Some(attribute) = interrupting.first() {
            let why = format!("{} can't change while it works", attribute.path);
            interruptions.push(Interruption { id: step.id.clone(), why, seconds: usual });
        }
    }
    Ok(Forecast { seconds, interruptions })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        blueprint::{Facts, compile},
        export::cloudformation::facts,
        stack::load,
    };
    use std::path::Path;

    #[test]
    fn a_new_stack_takes_its_longest_chain_and_interrupts_nothing() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("stacks/dev.yaml");
        let stack = load(&path, &[]).unwrap_or_else(|wrong| panic!("{}", wrong.render(false))).stack;
        // A template's parameters stand for nothing here.
        let facts = Facts { images: Default::default(), artifacts: Default::default(), ..facts(&stack) };
        let blueprint = compile(&stack, &facts);
        let inventory = Inventory::default();
        let plan = super::super::plan(&blueprint, &inventory).expect("no circle");
        let forecast = forecast(&plan, &blueprint, &inventory).expect("no circle");
        let usual = |kind: &str| resource::by_name(kind).expect("a kind").traits().usual.as_secs();
        // Less than all one after the other, and no less than the database and its instances.
        assert!(forecast.seconds >= usual("db_cluster") + usual("db_instance"), "{forecast:?}");
        let all: u64 = blueprint.nodes.values().map(|node| usual(&node.kind)).sum();
        assert!(forecast.seconds < all, "{forecast:?}");
        assert_eq!(forecast.interruptions, []);
    }
}
