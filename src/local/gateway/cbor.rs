//! CloudWatch's rpc-v2-cbor protocol, translated to and from the JSON protocol that emulators speak.
//!
//! The bodies are the same maps in both; what JSON cannot say is which numbers are timestamps (CBOR tag 1) and which are
//! floating point. Both are known by the names of the members in CloudWatch's service model (2010-08-01).

use ciborium::Value as Cbor;
use serde_json::{Map, Number, Value as Json};

/// Output members of the type timestamp.
const TIMESTAMPS: [&str; 15] = [
    "AlarmConfigurationUpdatedTimestamp",
    "CreatedAt",
    "CreationDate",
    "EndTime",
    "ExpireDate",
    "LastModified",
    "LastUpdateDate",
    "LastUpdatedTimestamp",
    "StartDate",
    "StartTime",
    "StateTransitionedTimestamp",
    "StateUpdatedTimestamp",
    "Timestamp",
    "Timestamps",
    "UpdatedAt",
];

/// Output members of the type double: a strict reader refuses an integer in their place.
const DOUBLES: [&str; 13] = [
    "AggregateValue",
    "ApproximateAggregateValue",
    "ApproximateValue",
    "Average",
    "ExtendedStatistics",
    "MaxContributorValue",
    "Maximum",
    "Minimum",
    "SampleCount",
    "Sum",
    "Threshold",
    "UniqueContributors",
    "Values",
];

/// A request body as JSON. An empty body is an empty map.
pub fn to_json(body: &[u8]) -> Result<Json, String> {
    if body.is_empty() {
        return Ok(Json::Object(Map::new()));
    }
    let value: Cbor = ciborium::from_reader(body).map_err(|error| format!("the body is not CBOR: {error}"))?;
    json(value)
}

fn json(value: Cbor) -> Result<Json, String> {
    Ok(match value {
        Cbor::Null => Json::Null,
        Cbor::Bool(value) => Json::Bool(value),
        Cbor::Text(text) => Json::String(text),
        Cbor::Float(value) => Json::Number(Number::from_f64(value).ok_or("a number is not finite")?),
        Cbor::Integer(value) => {
            Json::Number(i64::try_from(value).map_err(|_| "an integer does not fit into 64 bits".to_owned())?.into())
        }
        Cbor::Tag(1, seconds) => json(*seconds)?,
        Cbor::Array(items) => Json::Array(items.into_iter().map(json).collect::<Result<_, _>>()?),
        Cbor::Map(entries) => Json::Object(
            entries
                .into_iter()
                .map(|(key, value)| {
                    Ok((key.into_text().map_err(|_| "a map key is not text".to_owned())?, json(value)?))
                })
                .collect::<Result<_, String>>()?,
        ),
        other => return Err(format!("a value has no counterpart in JSON: {other:?}")),
    })
}

/// A JSON answer as CBOR. An empty body is an empty map.
pub fn from_json(body: &[u8]) -> Result<Vec<u8>, String> {
    let value = if body.is_empty() {
        Json::Object(Map::new())
    } else {
        serde_json::from_slice(body).map_err(|error| format!("the answer is not JSON: {error}"))?
    };
    let mut bytes = Vec::new();
    ciborium::into_writer(&cbor(value, ""), &mut bytes)
        .map_err(|error| format!("the answer does not encode: {error}"))?;
    Ok(bytes)
}

fn cbor(value: Json, member: &str) -> Cbor {
    match value {
        Json::Null => Cbor::Null,
        Json::Bool(value) => Cbor::Bool(value),
        Json::String(text) if TIMESTAMPS.contains(&member) => match text.parse::<jiff::Timestamp>() {
            Ok(time) => timestamp(time.as_millisecond() as f64 / 1000.0),
            Err(_) => Cbor::Text(text),
        },
        Json::String(text) => Cbor::Text(text),
        Json::Number(number) => {
            let float = number.as_f64().unwrap_or_default();
            if TIMESTAMPS.contains(&member) {
                timestamp(float)
            } else if DOUBLES.contains(&member) {
                Cbor::Float(float)
            } else {
                number.as_i64().map_or(Cbor::Float(float), |integer| Cbor::Integer(integer.into()))
            }
        }
        Json::Array(items) => Cbor::Array(items.into_iter().map(|item| cbor(item, member)).collect()),
        Json::Object(entries) => Cbor::Map(
            entries
                .into_iter()
                // A null member is left out: readers of this protocol take null for "not there" only inside lists.
                .filter(|(_, value)| !value.is_null())
                .map(|(key, value)| {
                    // The keys of this one map are names of percentiles, its values are the doubles.
                    let member = if member == "ExtendedStatistics" { member } else { key.as_str() };
                    let value = cbor(value, member);
                    (Cbor::Text(key), value)
                })
                .collect(),
        ),
    }
}

fn timestamp(seconds: f64) -> Cbor {
    Cbor::Tag(1, Box::new(Cbor::Float(seconds)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decode(bytes: &[u8]) -> Cbor {
        ciborium::from_reader(bytes).unwrap()
    }

    #[test]
    fn an_integer_becomes_a_double_or_a_timestamp_where_the_model_says_so() {
        let bytes =
            from_json(br#"{"Threshold":80,"Period":300,"StateUpdatedTimestamp":1700000000,"Unit":null}"#).unwrap();
        let expected = Cbor::Map(vec![
            (Cbor::Text("Threshold".into()), Cbor::Float(80.0)),
            (Cbor::Text("Period".into()), Cbor::Integer(300.into())),
            (Cbor::Text("StateUpdatedTimestamp".into()), timestamp(1_700_000_000.0)),
        ]);
        assert_eq!(decode(&bytes), expected);
    }

    #[test]
    fn a_timestamp_in_a_request_becomes_seconds() {
        let mut bytes = Vec::new();
        let request = Cbor::Map(vec![(Cbor::Text("StartTime".into()), timestamp(1.5))]);
        ciborium::into_writer(&request, &mut bytes).unwrap();
        assert_eq!(to_json(&bytes).unwrap(), serde_json::json!({"StartTime": 1.5}));
    }

    #[test]
    fn what_is_not_cbor_is_an_error() {
        assert!(to_json(&[0xff, 0x00]).is_err());
    }
}
