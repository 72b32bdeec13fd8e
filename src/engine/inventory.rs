//! What the stack has in AWS right now.

use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

use crate::{
    aws::{Context, Error},
    resource::{AnyKind, Found, Scan, Status},
};

/// One resource that the stack owns.
#[derive(Clone)]
pub struct Owned {
    pub kind: &'static dyn AnyKind,
    pub found: Found,
}

impl std::fmt::Debug for Owned {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {} ({})", self.kind.name(), self.found.logical_id, self.found.id)
    }
}

/// A kind that the endpoint, an emulator, is known not to hold.
#[derive(Clone, Debug)]
pub struct Gap {
    pub kind: &'static str,
    pub reason: String,
}

/// Everything that the stack owns, by logical id.
#[derive(Clone, Debug, Default)]
pub struct Inventory {
    pub resources: BTreeMap<String, Owned>,
    /// Resources of ours that are one too many: a second with the same logical id, or one that has lost its id tag.
    pub extra: Vec<Owned>,
    /// Kinds that the endpoint, an emulator, is known not to hold.
    pub gaps: Vec<Gap>,
}

impl Inventory {
    /// Lists every kind, all at once.
    ///
    /// # Errors
    /// All listings that failed. A kind that an emulator doesn't have is a gap and no error; against AWS there are none.
    pub async fn take(cx: &Context) -> Result<Inventory, Vec<Error>> {
        Inventory::of(&Scan::new(cx)).await
    }

    /// The same out of a look that others use as well.
    ///
    /// # Errors
    /// All listings that failed.
    pub async fn of(scan: &Scan<'_>) -> Result<Inventory, Vec<Error>> {
        let mut inventory = Inventory::default();
        let (mut errors, mut all) = (Vec::new(), Vec::new());
        let mut kinds = Vec::new();
        for kind in crate::resource::all() {
            match scan.gap(kind.name()) {
                Some(reason) => inventory.gaps.push(Gap { kind: kind.name(), reason }),
                None => kinds.push(*kind),
            }
        }
        for (kind, listing) in scan.everything(&kinds).await {
            match listing {
                Ok(listing) => all.extend(listing.into_iter().map(|found| Owned { kind, found })),
                Err(error) => errors.push(error),
            }
        }
        if !errors.is_empty() {
            errors.sort_by_key(ToString::to_string);
            errors.dedup_by_key(|error| error.to_string());
            return Err(errors);
        }
        inventory.gaps.sort_by_key(|gap| gap.kind);
        inventory.settle(all);
        Ok(inventory)
    }

    /// Of several with one logical id, keeps the one that others use; failing that a ready one; failing that the
    /// first by id, so that every run decides alike.
    fn settle(&mut self, mut all: Vec<Owned>) {
        all.sort_by(|a, b| a.found.id.cmp(&b.found.id));
        let used: BTreeSet<String> = all.iter().flat_map(|owned| texts(&owned.found.spec)).collect();
        let rank = |owned: &Owned| {
            let in_use =
                used.contains(&owned.found.id) || owned.found.outputs.values().any(|value| used.contains(value));
            (!in_use, owned.found.status != Status::Ready)
        };
        all.sort_by_key(rank);
        for owned in all {
            let id = owned.found.logical_id.clone();
            if id.is_empty() || self.resources.contains_key(&id) {
                self.extra.push(owned);
            } else {
                self.resources.insert(id, owned);
            }
        }
    }

    /// All resources, the superfluous too.
    pub fn all(&self) -> impl Iterator<Item = &Owned> {
        self.resources.values().chain(&self.extra)
    }

    pub fn is_empty(&self) -> bool {
        self.resources.is_empty() && self.extra.is_empty()
    }

    /// Whether two looks saw the same resources in the same shape.
    pub fn agrees(&self, other: &Inventory) -> bool {
        let shape = |inventory: &Inventory| -> BTreeSet<String> {
            inventory
                .all()
                .map(|owned| format!("{} {} {}", owned.found.logical_id, owned.found.id, owned.found.spec))
                .collect()
        };
        shape(self) == shape(other)
    }
}

/// All texts in a spec: the ids, names and ARNs by which it refers to others are among them. Of a map's key each word
/// counts: that of a security group's rule is `tcp/80 sg-0123456789abcdef0`.
pub(super) fn texts(spec: &Value) -> Vec<String> {
    match spec {
        Value::String(text) => vec![text.clone()],
        Value::Array(items) => items.iter().flat_map(texts).collect(),
        Value::Object(fields) => {
            let words = fields.keys().flat_map(|key| key.split(' ')).map(str::to_owned);
            words.chain(fields.values().flat_map(texts)).collect()
        }
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resource::Outputs;
    use serde_json::json;

    #[test]
    fn a_reference_may_stand_in_a_key() {
        assert_eq!(texts(&json!({"ingress": {"tcp/80 sg-1": "HTTP"}})), ["ingress", "tcp/80", "sg-1", "HTTP"]);
    }

    fn owned(kind: &str, logical_id: &str, id: &str, spec: Value) -> Owned {
        Owned {
            kind: crate::resource::by_name(kind).expect("registered"),
            found: Found {
                logical_id: logical_id.into(),
                id: id.into(),
                spec,
                outputs: Outputs::new(),
                tags: None,
                status: Status::Ready,
            },
        }
    }

    #[test]
    fn of_two_the_one_in_use_stays() {
        let mut inventory = Inventory::default();
        inventory.settle(vec![
            owned("vpc", "vpc", "vpc-1", json!({})),
            owned("vpc", "vpc", "vpc-2", json!({})),
            owned("subnet", "subnet-public-a", "subnet-1", json!({"vpc": "vpc-2"})),
            owned("subnet", "", "subnet-2", json!({"vpc": "vpc-2"})),
        ]);
        assert_eq!(inventory.resources["vpc"].found.id, "vpc-2");
        let extra: Vec<_> = inventory.extra.iter().map(|owned| owned.found.id.as_str()).collect();
        assert_eq!(extra, ["subnet-2", "vpc-1"]);
    }
}
