//! The tags that make AWS our state: which stack owns a resource, and which of its parts it is.

use std::collections::BTreeMap;

/// Tags by key.
pub type Tags = BTreeMap<String, String>;

/// What the keys of ticketctl's own tags begin with.
pub const PREFIX: &str = "ticketctl:";
/// The stack that owns the resource: `<project>-<environment>`.
pub const STACK: &str = "ticketctl:stack";
/// The resource's logical id in the stack.
pub const ID: &str = "ticketctl:id";

/// What an instance runs: the program's SHA-256, or the container image's digest. Each version of a launch template has it
/// among the tags of its instances.
pub const PROGRAM: &str = "ticketctl:program";

/// How an instance's boot went, in its own words: `ok: …`, `failed: …` or `not healthy …`.
pub const BOOT: &str = "ticketctl:boot";
/// Releases that were given up, as a tag of the launch template: number and content, so that `apply` doesn't bring them
/// back by itself.
pub const ROLLED_BACK: &str = "ticketctl:rolled-back";
/// The least and the wanted number of instances of a group that is paused: a tag of the group, there as long as it lasts.
pub const PAUSED: &str = "ticketctl:paused";
/// The size that a group has without the rollout that is under way: a tag of the group, there as long as it lasts.
pub const ROLLOUT: &str = "ticketctl:rollout";

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
