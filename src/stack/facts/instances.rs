//! EC2 instance types.

use super::{Family, Verdict, judge};

/// What the names are, in messages.
pub const WHAT: &str = "an instance type of EC2";

/// Sizes by family of the general, compute and memory kinds, as far as they aren't bare metal; families that share
/// their sizes share a line. Source: the AWS price list and "Amazon EC2 instance types by Region".
const SIZES: &[(&str, &str)] = &[
    ("c4", "large xlarge 2xlarge 4xlarge 8xlarge"),
    ("c5 c5d", "large xlarge 2xlarge 4xlarge 9xlarge 12xlarge 18xlarge 24xlarge"),
    (
        "c5a c5ad m5 m5a m5ad m5d m5dn m5n r5 r5a r5ad r5b r5d r5dn r5n",
        "large xlarge 2xlarge 4xlarge 8xlarge 12xlarge 16xlarge 24xlarge",
    ),
    ("c5n", "large xlarge 2xlarge 4xlarge 9xlarge 18xlarge"),
    ("c6a m6a r6a", "large xlarge 2xlarge 4xlarge 8xlarge 12xlarge 16xlarge 24xlarge 32xlarge 48xlarge"),
    (
        "c6g c6gd c6gn c7g c7gd c7gn m6g m6gd m7g m7gd r6g r6gd r7g r7gd",
        "medium large xlarge 2xlarge 4xlarge 8xlarge 12xlarge 16xlarge",
    ),
    (
        "c6i c6id c6in m6i m6id m6idn m6in r6i r6id r6idn r6in",
        "large xlarge 2xlarge 4xlarge 8xlarge 12xlarge 16xlarge 24xlarge 32xlarge",
    ),
    ("c7a m7a r7a", "medium large xlarge 2xlarge 4xlarge 8xlarge 12xlarge 16xlarge 24xlarge 32xlarge 48xlarge"),
    ("c7i m7i r7i", "large xlarge 2xlarge 4xlarge 8xlarge 12xlarge 16xlarge 24xlarge 48xlarge"),
    ("c7i-flex c8i-flex m7i-flex m8i-flex r8i-flex", "large xlarge 2xlarge 4xlarge 8xlarge 12xlarge 16xlarge"),
    (
        "c8a c8g c8gb c8gd c8gn c9g c9gd m8a m8g m8gb m8gd m8gn m9g m9gd r8a r8g r8gb r8gd r8gn",
        "medium large xlarge 2xlarge 4xlarge 8xlarge 12xlarge 16xlarge 24xlarge 48xlarge",
    ),
    (
        "c8i c8ib c8id c8in m8i m8ib m8id m8idb m8idn m8in r8i r8ib r8id r8idb r8idn r8in",
        "large xlarge 2xlarge 4xlarge 8xlarge 12xlarge 16xlarge 24xlarge 32xlarge 48xlarge 96xlarge",
    ),
    ("c8ine m8ine", "large xlarge 2xlarge 4xlarge 8xlarge 12xlarge"),
    ("m4", "large xlarge 2xlarge 4xlarge 10xlarge 16xlarge"),
    ("m5zn", "large xlarge 2xlarge 3xlarge 6xlarge 12xlarge"),
    ("m8azn", "medium large xlarge 3xlarge 6xlarge 12xlarge 24xlarge"),
    ("r4", "large xlarge 2xlarge 4xlarge 8xlarge 16xlarge"),
    ("r7iz", "large xlarge 2xlarge 4xlarge 8xlarge 12xlarge 16xlarge 32xlarge"),
    ("t2 t3 t3a t4g", "nano micro small medium large xlarge 2xlarge"),
];

/// Kinds made for other work than answering requests (graphics, machine learning, storage, Macs, …): not checked.
const SPECIAL: &[&str] =
    &["d", "dl", "f", "g", "gr", "h", "hpc", "i", "im", "inf", "is", "mac", "p", "trn", "u", "vt", "x", "z"];

/// Whether EC2 has this instance type.
pub fn instance_type(name: &str) -> Verdict {
    let families: Vec<Family> =
        SIZES.iter().flat_map(|(families, sizes)| families.split(' ').map(move |family| (family, *sizes))).collect();
    let verdict = judge(name, "", &families, WHAT);
    let kind = name.split(|c: char| c.is_ascii_digit()).next().unwrap_or_default();
    let special = SPECIAL.contains(&kind) && name.contains('.');
    match verdict {
        Verdict::Wrong { .. } if special => Verdict::Unknown,
        verdict => verdict,
    }
}

/// The processor architecture of an instance type, as EC2 spells it: `arm64` or `x86_64`.
///
/// AWS marks Graviton with a `g` behind the generation (`t4g`, `c7gn`, `im4gn`; `g4dn` is x86), and `a1` is the one
/// exception. Compared with all types that `DescribeInstanceTypes` listed in November 2026.
pub fn architecture(instance_type: &str) -> &'static str {
    let family = instance_type.split('.').next().unwrap_or_default();
    let behind_generation =
        family.trim_start_matches(|c: char| !c.is_ascii_digit()).trim_start_matches(|c: char| c.is_ascii_digit());
    let suffix = behind_generation.split('-').next().unwrap_or_default();
    if family == "a1" || suffix.contains('g') { "arm64" } else { "x86_64" }
}

/// Types whose processor credits run out, or cost extra, under steady load.
pub fn is_burstable(instance_type: &str) -> bool {
    instance_type.starts_with('t')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_are_judged() {
        for name in ["t3.medium", "t4g.micro", "m7i-flex.large", "c8g.48xlarge", "m9g.large"] {
            assert_eq!(instance_type(name), Verdict::Offered, "{name}");
        }
        for name in ["m10g.large", "t5.micro", "g5.xlarge", "x8g.large", "m7i.metal-24xl"] {
            assert_eq!(instance_type(name), Verdict::Unknown, "{name}");
        }
        for name in ["t3.mega", "t3", "t9", "m1.small", "cache.t3.micro", "db.t3.medium", "", ".", "q1.large"] {
            assert!(matches!(instance_type(name), Verdict::Wrong { .. }), "{name}");
        }
    }

    #[test]
    fn graviton_is_known_by_its_letter() {
        for name in ["t4g.micro", "m6gd.large", "c7gn.xlarge", "a1.large", "x8g.large", "im4gn.large"] {
            assert_eq!(architecture(name), "arm64", "{name}");
        }
        for name in ["t3.medium", "g4dn.xlarge", "g5.xlarge", "m7i-flex.large", "c5n.large", ""] {
            assert_eq!(architecture(name), "x86_64", "{name}");
        }
    }
}
