//! Names in AWS, which are often shorter than what one would like to call things.

use sha2::{Digest, Sha256};

use super::Stack;

/// Hexadecimal digits that stand for what had to be cut off.
const HASH_DIGITS: usize = 8;

/// `<project>-<environment>-<parts>`, not longer than `limit` characters.
///
/// What doesn't fit is cut and ends with a hash of the whole name, so that the same parts always give the same name
/// and different parts different ones. Names have lower-case letters, digits and single hyphens, as load balancers,
/// Aurora, ElastiCache and S3 ask for. `limit` is the AWS limit, at least 12.
pub fn name(stack: &Stack, parts: &[&str], limit: usize) -> String {
    fit(full_name(stack, parts), limit)
}

/// A whole name, shortened like [`name`] if it is longer than `limit`.
pub fn fit(whole: String, limit: usize) -> String {
    if whole.len() <= limit {
        return whole;
    }
    let digest = hex::encode(Sha256::digest(whole.as_bytes()));
    let kept = limit.saturating_sub(HASH_DIGITS + 1);
    // All characters are ASCII: the schema and the validation see to it.
    let kept = whole.get(..kept).unwrap_or_default().trim_end_matches('-');
    format!("{kept}-{}", &digest[..HASH_DIGITS])
}

/// The name before any shortening.
pub fn full_name(stack: &Stack, parts: &[&str]) -> String {
    let mut name = stack.name();
    for part in parts {
        name.push('-');
        name.push_str(part);
    }
    name
}
