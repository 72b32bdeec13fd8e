//! ElastiCache for Redis OSS 7.

use super::{Family, Verdict, judge};

/// What the names are, in messages.
pub const WHAT: &str = "a node type of ElastiCache";

/// Node types of ElastiCache in some region, without the previous generations that new clusters can't have.
/// Source: "Supported node types" in the Amazon ElastiCache User Guide, and the AWS price list.
const FAMILIES: &[Family] = &[
    ("m4", "large xlarge 2xlarge 4xlarge 10xlarge"),
    ("m5", "large xlarge 2xlarge 4xlarge 12xlarge 24xlarge"),
    ("m6g", "large xlarge 2xlarge 4xlarge 8xlarge 12xlarge 16xlarge"),
    ("m7g", "large xlarge 2xlarge 4xlarge 8xlarge 12xlarge 16xlarge"),
    ("m8g", "large xlarge 2xlarge 4xlarge 8xlarge 12xlarge 16xlarge"),
    ("r4", "large xlarge 2xlarge 4xlarge 8xlarge 16xlarge"),
    ("r5", "large xlarge 2xlarge 4xlarge 12xlarge 24xlarge"),
    ("r6g", "large xlarge 2xlarge 4xlarge 8xlarge 12xlarge 16xlarge"),
    ("r7g", "large xlarge 2xlarge 4xlarge 8xlarge 12xlarge 16xlarge"),
    ("r8g", "large xlarge 2xlarge 4xlarge 8xlarge 12xlarge 16xlarge"),
    ("c7gn", "large xlarge 2xlarge 4xlarge 8xlarge 12xlarge 16xlarge"),
    ("c8gn", "large xlarge 2xlarge 4xlarge 8xlarge 12xlarge 16xlarge"),
    ("t2", "micro small medium"),
    ("t4g", "micro small medium"),
    ("t3", "micro small medium"),
];

/// Whether ElastiCache has this node type, for data in memory: `r6gd` moves some of it to disks, which must be asked for and
/// makes what was long untouched slow.
/// Source: "Data tiering in ElastiCache", Amazon ElastiCache User Guide.
pub fn class(class: &str) -> Verdict {
    if let Some(size) = class.strip_prefix("cache.r6gd.") {
        return Verdict::Wrong {
            reason: "r6gd nodes keep a part of the data on disks".to_owned(),
            help: vec![format!("use `cache.r6g.{size}`")],
        };
    }
    judge(class, "cache.", FAMILIES, WHAT)
}

/// Node types whose processor credits run out under load.
pub fn is_burstable(class: &str) -> bool {
    class.starts_with("cache.t")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_are_judged() {
        for class_name in ["cache.t3.micro", "cache.t4g.small", "cache.r7g.large"] {
            assert_eq!(class(class_name), Verdict::Offered, "{class_name}");
        }
        for class_name in
            ["t3.medium", "cache.r6gd.xlarge", "cache.t3.large2", "cache.m1.small", "db.r6g.large", "redis"]
        {
            assert!(matches!(class(class_name), Verdict::Wrong { .. }), "{class_name}");
        }
        assert_eq!(class("cache.r9g.large"), Verdict::Unknown);
    }
}
