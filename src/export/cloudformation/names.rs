//! Logical names: CloudFormation takes letters and digits only.

use std::collections::{BTreeSet, HashMap};

/// The longest logical name. Source: <https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/resources-section-structure.html>
const LONGEST: usize = 255;
/// What stays free for the companions' suffixes.
const SUFFIX: usize = 55;

/// CloudFormation's name of each node.
pub struct Names(HashMap<String, String>);

impl Names {
    pub fn new<'a>(ids: impl Iterator<Item = &'a str>) -> Names {
        let (mut names, mut taken) = (HashMap::new(), BTreeSet::new());
        for id in ids {
            let mut name = pascal(id);
            name.truncate(LONGEST - SUFFIX);
            let mut unique = name.clone();
            let mut number = 2;
            // Two ids may differ only in what a name can't hold.
            while !taken.insert(unique.clone()) {
                unique = format!("{name}{number}");
                number += 1;
            }
            names.insert(id.to_owned(), unique);
        }
        Names(names)
    }

    /// # Panics
    /// If there is no such node.
    pub fn of(&self, id: &str) -> &str {
        self.0.get(id).unwrap_or_else(|| panic!("something refers to {id}, which the blueprint doesn't have"))
    }
}

/// `subnet-public-a` → `SubnetPublicA`.
pub fn pascal(id: &str) -> String {
    let words = id.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
    words
        .map(|word| {
            let (first, rest) = word.split_at(1);
            first.to_ascii_uppercase() + rest
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_nodes_have_one_name() {
        let names = Names::new(["rule-/a.b/+", "rule-/a-b/+", "subnet-public-a"].into_iter());
        assert_eq!(names.of("subnet-public-a"), "SubnetPublicA");
        assert_eq!((names.of("rule-/a.b/+"), names.of("rule-/a-b/+")), ("RuleAB", "RuleAB2"));
    }
}
