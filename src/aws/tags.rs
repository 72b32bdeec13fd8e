//! The tags that make AWS our state: which stack owns a resource, and which of its parts it is.

use std::collections::BTreeMap;

/// Tags by key.
pub type Tags = BTreeMap<String, String>;

/// The stack that owns the resource: `<project>-<environment>`.
pub const STACK: &str = "ticketctl:stack";
/// The resource's logical id in the stack.
pub const ID: &str = "ticketctl:id";

/// Collects an SDK's tag list, whose keys and values are optional in every service.
pub fn collect<'a, T: 'a>(
    tags: impl IntoIterator<Item = &'a T>,
    pair: impl Fn(&'a T) -> (Option<&'a str>, Option<&'a str>),
) -> Tags {
    tags.into_iter()
        .filter_map(|tag| {
            let (key, value) = pair(tag);
            Some((key?.to_owned(), value.unwrap_or_default().to_owned()))
        })
        .collect()
}

/// Whether a last snapshot is taken when the resource is deleted: `true` or `false`. Kept as a tag because AWS has no such
/// attribute, and a resource that is no longer in the stack file must still be deleted the way it was meant to be.
pub const FINAL_SNAPSHOT: &str = "ticketctl:final-snapshot";

/// How many days AWS can restore the resource after its deletion; 0 for not at all. A tag for the same reason.
pub const RECOVERY_DAYS: &str = "ticketctl:recovery-days";

/// Whether the resource may be emptied so that it can be deleted: `true` or `false`. A tag for the same reason.
pub const EMPTY_ON_DESTROY: &str = "ticketctl:empty-on-destroy";
