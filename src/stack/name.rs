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
    format!("{}-{}", kept(&whole, limit), &digest[..HASH_DIGITS])
}

/// What stays of a name that [`fit`] shortens to `limit`, before its hash.
fn kept(whole: &str, limit: usize) -> &str {
    let kept = limit.saturating_sub(HASH_DIGITS + 1);
    // All characters are ASCII: the schema and the validation see to it.
    whole.get(..kept).unwrap_or_default().trim_end_matches('-')
}

/// What the names of a stack's parts begin with, shortened to `limit` or not.
pub fn beginning(stack: &str, limit: usize) -> String {
    let whole = format!("{stack}-");
    if whole.len() <= limit.saturating_sub(HASH_DIGITS + 1) { whole } else { kept(&whole, limit).to_owned() }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stack::load_text;

    fn stack(project: &str) -> Stack {
        let text = format!("project: {project}\nenvironment: dev\nregion: ap-northeast-2\n");
        load_text("stack.yaml", text.as_bytes(), &[]).unwrap_or_else(|d| panic!("{d}")).stack
    }

    #[test]
    fn short_names_stay_as_they_are() {
        assert_eq!(name(&stack("ticketing"), &["web"], 32), "ticketing-dev-web");
        assert_eq!(name(&stack("ticketing"), &[], 32), "ticketing-dev");
    }

    #[test]
    fn long_names_are_cut_and_stay_apart() {
        let stack = stack("a-ticketing-platform");
        let names = ["waiting-room", "waiting-rooms", "waiting-room-2"].map(|service| name(&stack, &[service], 32));
        for short in &names {
            assert!(short.len() <= 32 && !short.contains("--") && !short.ends_with('-'), "{short}");
            assert!(short.starts_with("a-ticketing-platform-de"), "{short}");
        }
        assert!(names[0] != names[1] && names[1] != names[2], "{names:?}");
        assert_eq!(names[0], name(&stack, &["waiting-room"], 32), "the same every time");
    }

    #[test]
    fn no_hyphen_is_left_before_the_hash() {
        let stack = stack("abc");
        for limit in 12..40 {
            let short = name(&stack, &["a-b-c-d-e-f-g-h-i-j-k-l-m-n-o-p-q-r-s-t"], limit);
            assert!(short.len() <= limit && !short.contains("--"), "{short}");
        }
    }
}
