//! Aurora MySQL version 3.

use super::{Family, Verdict, judge};

/// What the names are, in messages.
pub const WHAT: &str = "an instance class of Aurora MySQL";

/// Instance classes that run Aurora MySQL 3 in some region.
/// Source: "Supported DB engines for DB instance classes" in the Amazon Aurora User Guide, and the AWS price list.
const FAMILIES: &[Family] = &[
    ("r5", "large xlarge 2xlarge 4xlarge 8xlarge 12xlarge 16xlarge 24xlarge"),
    ("r6g", "large xlarge 2xlarge 4xlarge 8xlarge 12xlarge 16xlarge"),
    ("r6i", "large xlarge 2xlarge 4xlarge 8xlarge 12xlarge 16xlarge 24xlarge 32xlarge"),
    ("r7g", "large xlarge 2xlarge 4xlarge 8xlarge 12xlarge 16xlarge"),
    ("r7i", "large xlarge 2xlarge 4xlarge 8xlarge 12xlarge 16xlarge 24xlarge 48xlarge"),
    ("r8g", "large xlarge 2xlarge 4xlarge 8xlarge 12xlarge 16xlarge 24xlarge 48xlarge"),
    ("x2g", "large xlarge 2xlarge 4xlarge 8xlarge 12xlarge 16xlarge"),
    ("t4g", "medium large"),
    ("t3", "medium large"),
];

/// Release lines of Aurora MySQL 3 that AWS has withdrawn.
/// Source: "Release calendars for Aurora MySQL", and `DescribeDBEngineVersions`.
const WITHDRAWN: &[&str] = &["01", "02", "03", "05", "06", "07"];

/// The long-term support lines of Aurora MySQL 3. Source: Aurora MySQL release notes.
const LONG_TERM: &[&str] = &["04", "10"];

/// Whether Aurora MySQL runs on this class.
pub fn class(class: &str) -> Verdict {
    judge(class, "db.", FAMILIES, WHAT)
}

/// Whether Aurora MySQL has Performance Insights on this class: not on db.t2, db.t3, db.t4g.micro and db.t4g.small.
/// Source: "Aurora DB engine, Region, and instance class support for Database Insights", Amazon Aurora User Guide.
pub fn supports_performance_insights(class: &str) -> bool {
    let without = ["db.t2.", "db.t3.", "db.t4g.micro", "db.t4g.small"];
    !without.iter().any(|prefix| class.starts_with(prefix))
}

/// Classes whose processor credits run out under load.
pub fn is_burstable(class: &str) -> bool {
    class.starts_with("db.t")
}

/// Connections that an instance of the ticketing program can't do well without.
pub const FEWEST_CONNECTIONS: u32 = 4;

/// Default of `max_connections` for a class that is in the source's table.
/// Source: "Maximum connections to an Aurora MySQL DB instance", Amazon Aurora User Guide.
pub fn max_connections(class: &str) -> Option<u32> {
    let (family, size) = class.strip_prefix("db.")?.split_once('.')?;
    match (family, size) {
        ("t3" | "t4g", "medium") => Some(90),
        ("t3" | "t4g", "large") => Some(135),
        ("r5" | "r6g" | "r6i" | "r7g" | "r7i" | "r8g", size) => match size {
            "large" => Some(1000),
            "xlarge" => Some(2000),
            "2xlarge" => Some(3000),
            "4xlarge" => Some(4000),
            "8xlarge" => Some(5000),
            "12xlarge" | "16xlarge" => Some(6000),
            "24xlarge" | "32xlarge" => Some(7000),
            _ => None,
        },
        _ => None,
    }
}

/// Whether AWS has withdrawn this version (`8.0.mysql_aurora.3.05.2`): new clusters can't have it.
pub fn is_withdrawn(version: &str) -> bool {
    release_line(version).is_some_and(|line| WITHDRAWN.contains(&line))
}

/// Whether this version is of a line with long-term support.
pub fn is_long_term(version: &str) -> bool {
    release_line(version).is_some_and(|line| LONG_TERM.contains(&line))
}

/// `8.0.mysql_aurora.3.10.4` → `10`.
fn release_line(version: &str) -> Option<&str> {
    version.split('.').nth(4)
}

/// Time zones that the cluster parameter `time_zone` takes.
/// Source: "Local time zone for Amazon Aurora DB clusters", Amazon Aurora User Guide.
pub const TIME_ZONES: &[&str] = &[
    "Africa/Cairo",
    "Africa/Casablanca",
    "Africa/Harare",
    "Africa/Monrovia",
    "Africa/Nairobi",
    "Africa/Tripoli",
    "Africa/Windhoek",
    "America/Araguaina",
    "America/Asuncion",
    "America/Bogota",
    "America/Caracas",
    "America/Chihuahua",
    "America/Cuiaba",
    "America/Denver",
    "America/Fortaleza",
    "America/Guatemala",
    "America/Halifax",
    "America/Manaus",
    "America/Matamoros",
    "America/Monterrey",
    "America/Montevideo",
    "America/Phoenix",
    "America/Santiago",
    "America/Tijuana",
    "Asia/Amman",
    "Asia/Ashgabat",
    "Asia/Baghdad",
    "Asia/Baku",
    "Asia/Bangkok",
    "Asia/Beirut",
    "Asia/Calcutta",
    "Asia/Damascus",
    "Asia/Dhaka",
    "Asia/Irkutsk",
    "Asia/Jerusalem",
    "Asia/Kabul",
    "Asia/Karachi",
    "Asia/Kathmandu",
    "Asia/Krasnoyarsk",
    "Asia/Magadan",
    "Asia/Muscat",
    "Asia/Novosibirsk",
    "Asia/Riyadh",
    "Asia/Seoul",
    "Asia/Shanghai",
    "Asia/Singapore",
    "Asia/Taipei",
    "Asia/Tehran",
    "Asia/Tokyo",
    "Asia/Ulaanbaatar",
    "Asia/Vladivostok",
    "Asia/Yakutsk",
    "Asia/Yerevan",
    "Atlantic/Azores",
    "Australia/Adelaide",
    "Australia/Brisbane",
    "Australia/Darwin",
    "Australia/Hobart",
    "Australia/Perth",
    "Australia/Sydney",
    "Brazil/East",
    "Canada/Newfoundland",
    "Canada/Saskatchewan",
    "Europe/Amsterdam",
    "Europe/Athens",
    "Europe/Dublin",
    "Europe/Helsinki",
    "Europe/Istanbul",
    "Europe/Kaliningrad",
    "Europe/Moscow",
    "Europe/Paris",
    "Europe/Prague",
    "Europe/Sarajevo",
    "Pacific/Auckland",
    "Pacific/Fiji",
    "Pacific/Guam",
    "Pacific/Honolulu",
    "Pacific/Samoa",
    "US/Alaska",
    "US/Central",
    "US/East-Indiana",
    "US/Eastern",
    "US/Pacific",
    "UTC",
];

/// User names that Aurora MySQL keeps for itself. Source: `CreateDBCluster`, Amazon RDS API Reference, and MySQL.
pub const RESERVED_USERS: &[&str] = &["rdsadmin", "rdsrepladmin", "mysql", "root", "rdstopmgr"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_are_judged() {
        for class_name in ["db.t3.medium", "db.r6g.large", "db.r8g.48xlarge"] {
            assert_eq!(class(class_name), Verdict::Offered, "{class_name}");
        }
        for class_name in ["db.r9g.large", "db.r8gd.large", "db.r7g.24xlarge", "db.t3.small"] {
            assert_eq!(class(class_name), Verdict::Unknown, "{class_name}");
        }
        let wrong = [
            "db.t3.mega",
            "db.m1.small",
            "db.t2.small",
            "t3.medium",
            "db.t3",
            "db..",
            "",
            "db.r6g.",
            "cache.t3.micro",
            "db.r4.large",
            "db.🦀9.large",
        ];
        for class_name in wrong {
            assert!(matches!(class(class_name), Verdict::Wrong { .. }), "{class_name}");
        }
    }

    #[test]
    fn a_forgotten_prefix_is_found() {
        let Verdict::Wrong { help, .. } = class("t3.medium") else {
            panic!("accepted");
        };
        assert_eq!(help, ["did you mean `db.t3.medium`?"]);
    }

    #[test]
    fn versions_are_told_apart() {
        assert!(is_long_term("8.0.mysql_aurora.3.10.4"));
        assert!(!is_long_term("8.0.mysql_aurora.3.12.0"));
        assert!(is_withdrawn("8.0.mysql_aurora.3.05.2"));
        assert!(!is_withdrawn("8.0.mysql_aurora.3.04.4"));
    }
}
