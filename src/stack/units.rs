//! Quantities that carry their unit in the stack file, and the schema fragments they share.

use std::fmt;
use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

/// A length of time as people write it: `500ms`, `30s`, `5m`, `12h`, `7d`.
///
/// A bare number is refused, because AWS itself mixes seconds, minutes and days.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Duration {
    millis: u64,
}

impl Duration {
    /// `n` milliseconds.
    pub const fn from_millis(n: u64) -> Self {
        Self { millis: n }
    }

    /// `n` seconds.
    pub const fn from_secs(n: u32) -> Self {
        Self { millis: n as u64 * 1000 }
    }

    /// `n` days.
    pub const fn from_days(n: u32) -> Self {
        Self { millis: n as u64 * 86_400_000 }
    }

    /// Whole seconds, rounded down; what most AWS calls want. Capped at `i32::MAX` (68 years).
    pub fn secs(self) -> i32 {
        i32::try_from(self.millis / 1000).unwrap_or(i32::MAX)
    }

    /// Seconds with their fraction; what CloudWatch latency metrics are measured in.
    pub fn secs_f64(self) -> f64 {
        self.millis as f64 / 1000.0
    }

    /// Whole days, rounded down; what backup and retention settings want.
    pub fn days(self) -> i32 {
        i32::try_from(self.millis / 86_400_000).unwrap_or(i32::MAX)
    }

    /// True for `0s` in any unit, which switches some settings off.
    pub fn is_zero(self) -> bool {
        self.millis == 0
    }

    /// True when the duration is a whole number of days.
    pub fn is_whole_days(self) -> bool {
        self.millis.is_multiple_of(86_400_000)
    }

    /// True when the duration is a whole number of seconds.
    pub fn is_whole_secs(self) -> bool {
        self.millis.is_multiple_of(1000)
    }
}

/// The units, longest first, with their length in milliseconds.
const UNITS: [(&str, u64); 5] = [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1)];

impl fmt::Display for Duration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_zero() {
            return f.write_str("0s");
        }
        let fits = |&&(_, length): &&(&str, u64)| self.millis.is_multiple_of(length);
        let (unit, length) = UNITS.iter().find(fits).unwrap_or(&("ms", 1));
        write!(f, "{}{unit}", self.millis / length)
    }
}

/// A text that isn't a [`Duration`].
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("`{0}` is not a duration: write a whole number and a unit, such as 30s, 5m, 12h or 7d")]
pub struct InvalidDuration(String);

impl FromStr for Duration {
    type Err = InvalidDuration;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let invalid = || InvalidDuration(text.to_owned());
        let digits = text.bytes().take_while(u8::is_ascii_digit).count();
        let (number, unit) = text.split_at(digits);
        let (_, length) = UNITS.iter().find(|(u, _)| *u == unit).ok_or_else(invalid)?;
        let millis = number.parse::<u64>().ok().and_then(|n| n.checked_mul(*length)).ok_or_else(invalid)?;
        Ok(Self { millis })
    }
}

impl TryFrom<String> for Duration {
    type Error = InvalidDuration;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<Duration> for String {
    fn from(duration: Duration) -> Self {
        duration.to_string()
    }
}

impl JsonSchema for Duration {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Duration".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "description": "A whole number and a unit: ms, s, m, h or d.",
            // Nine digits keep every value far below an overflow, whatever the unit.
            "pattern": "^[0-9]{1,9}(ms|s|m|h|d)$",
            "patternErrorMessage": "a duration such as 30s, 5m, 12h or 7d",
        })
    }
}

/// Schema of an IPv4 network in CIDR notation.
pub(super) fn cidr_schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "string",
        "pattern": r"^((25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])\.){3}(25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])/(3[0-2]|[12]?[0-9])$",
        "patternErrorMessage": "an IPv4 network such as 10.0.0.0/16",
    })
}

/// Schema of a list of IPv4 networks.
pub(super) fn cidrs_schema(generator: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "array", "items": cidr_schema(generator) })
}

/// One network per zone.
pub(super) fn subnets_schema(generator: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "array", "items": cidr_schema(generator), "maxItems": 16 })
}

/// For fields whose default follows from other fields: the schema must not promise a fixed one.
pub(super) fn without_default(schema: &mut Schema) {
    schema.remove("default");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_and_print_in_their_largest_whole_unit() {
        for (text, millis, printed) in [
            ("500ms", 500, "500ms"),
            ("30s", 30_000, "30s"),
            ("120s", 120_000, "2m"),
            ("90m", 5_400_000, "90m"),
            ("24h", 86_400_000, "1d"),
            ("7d", 604_800_000, "7d"),
            ("0d", 0, "0s"),
        ] {
            let duration: Duration = text.parse().expect(text);
            assert_eq!(duration, Duration::from_millis(millis), "{text}");
            assert_eq!(duration.to_string(), printed);
        }
    }

    #[test]
    fn what_is_no_duration_is_refused() {
        for text in ["", "7", "d", "-1s", "1.5h", "7 d", "7D", "1w", "99999999999999999999d", "٣s"] {
            assert!(text.parse::<Duration>().is_err(), "{text:?} was accepted");
        }
    }

    #[test]
    fn huge_durations_are_capped_not_wrapped() {
        let century: Duration = "999999999d".parse().expect("within the pattern");
        assert_eq!(century.secs(), i32::MAX);
        assert_eq!(century.days(), 999_999_999);
    }
}
