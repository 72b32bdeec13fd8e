//! Regions and their availability zones.

/// A region.
#[derive(Debug, PartialEq, Eq)]
pub struct Region {
    /// Code, such as `ap-northeast-2`.
    pub name: &'static str,
    /// Letters of the zones that every account has.
    pub zones: &'static str,
    /// Letters of further zones that only some accounts have: in the oldest regions AWS maps letters per account.
    pub some: &'static str,
}

const fn region(name: &'static str, zones: &'static str) -> Region {
    Region { name, zones, some: "" }
}

/// All regions of the partitions `aws`, `aws-cn`, `aws-us-gov` and `aws-eusc`.
/// Source: "AWS Regions" and "AWS Availability Zones", AWS global infrastructure documentation.
pub const REGIONS: &[Region] = &[
    region("af-south-1", "abc"),
    region("ap-east-1", "abc"),
    region("ap-east-2", "abc"),
    Region { name: "ap-northeast-1", zones: "acd", some: "b" },
    region("ap-northeast-2", "abcd"),
    region("ap-northeast-3", "abc"),
    region("ap-south-1", "abc"),
    region("ap-south-2", "abc"),
    region("ap-southeast-1", "abc"),
    region("ap-southeast-2", "abc"),
    region("ap-southeast-3", "abc"),
    region("ap-southeast-4", "abc"),
    region("ap-southeast-5", "abc"),
    region("ap-southeast-6", "abc"),
    region("ap-southeast-7", "abc"),
    region("ca-central-1", "abd"),
    region("ca-west-1", "abc"),
    region("cn-north-1", "abd"),
    region("cn-northwest-1", "abc"),
    region("eu-central-1", "abc"),
    region("eu-central-2", "abc"),
    region("eu-north-1", "abc"),
    region("eu-south-1", "abc"),
    region("eu-south-2", "abc"),
    region("eu-west-1", "abc"),
    region("eu-west-2", "abc"),
    region("eu-west-3", "abc"),
    Region { name: "eusc-de-east-1", zones: "ab", some: "c" },
    region("il-central-1", "abc"),
    region("me-central-1", "abc"),
    region("me-south-1", "abc"),
    region("mx-central-1", "abc"),
    region("sa-east-1", "abc"),
    region("us-east-1", "abcdef"),
    region("us-east-2", "abc"),
    region("us-gov-east-1", "abc"),
    region("us-gov-west-1", "abc"),
    // Each account sees two of the three.
    region("us-west-1", "abc"),
    region("us-west-2", "abcd"),
];

/// The region of this name.
pub fn find(name: &str) -> Option<&'static Region> {
    REGIONS.iter().find(|region| region.name == name)
}

/// True for the form that every region's name has: `ap-northeast-2`, `us-gov-west-1`.
pub fn is_plausible(name: &str) -> bool {
    let parts: Vec<&str> = name.split('-').collect();
    let Some((number, words)) = parts.split_last() else {
        return false;
    };
    let is_word = |word: &&str| word.len() >= 2 && word.bytes().all(|b| b.is_ascii_lowercase());
    (2..=3).contains(&words.len())
        && words.iter().all(is_word)
        && number.len() == 1
        && number.bytes().all(|b| b.is_ascii_digit() && b != b'0')
}
