//! What IAM's kinds share. IAM knows no regions and its listings tell no tags, so the path says whose a resource is and
//! which part of the stack: `/ticketctl/<stack>/<region>/<logical id>/`.

use aws_sdk_iam::types::Tag;
use serde_json::Value;

use super::Desired;
use crate::aws::{Context, Error, Result, Tags, tags};

/// The path of everything that the stack has in this region.
pub fn prefix(cx: &Context) -> String {
    format!("/ticketctl/{}/{}/", cx.stack, cx.region)
}

/// The path of one resource.
pub fn path(cx: &Context, logical_id: &str) -> String {
    format!("{}{logical_id}/", prefix(cx))
}

/// Whether a path says that the resource is the stack's. LocalStack lists instance profiles whatever their path, and what
/// we take for ours we delete.
pub fn is_ours(cx: &Context, path: &str) -> bool {
    path.starts_with(&prefix(cx))
}

/// The logical id that a path tells; empty for a path that isn't one of ours.
pub fn logical_id(cx: &Context, path: &str) -> String {
    let id = path.strip_prefix(&prefix(cx)).map(|rest| rest.trim_end_matches('/'));
    id.filter(|id| !id.contains('/')).unwrap_or_default().to_owned()
}

/// The wish's tags as the create calls take them.
pub fn tag_list<S>(desired: &Desired<S>) -> Option<Vec<Tag>> {
    let tag = |(key, value): (&String, &String)| Tag::builder().key(key).value(value).build();
    Some(desired.tags.iter().map(tag).collect::<std::result::Result<_, _>>().expect("both parts of the tag are set"))
}

/// The tags of an answer.
pub fn tags(tags: &[Tag]) -> Tags {
    tags::collect(tags, |tag| (Some(tag.key()), Some(tag.value())))
}

/// A policy document out of an answer, where it is URL-encoded JSON.
pub fn document(operation: &str, encoded: &str) -> Result<Value> {
    let wrong = |error: String| Error::unexpected("iam", operation, format!("a policy that can't be read: {error}"));
    // Only percent signs are special: a plus is a plus, other than in forms.
    let text = percent_decoded(encoded).map_err(wrong)?;
    match serde_json::from_str(&text) {
        // LocalStack's ListRoles prints the printed document once more.
        Ok(Value::String(text)) => serde_json::from_str(&text),
        document => document,
    }
    .map_err(|error| wrong(error.to_string()))
}

fn percent_decoded(text: &str) -> std::result::Result<String, String> {
    let escaped = text.replace('+', "%2B");
    match form_urlencoded::parse(escaped.as_bytes()).collect::<Vec<_>>().as_slice() {
        [(only, value)] if value.is_empty() => Ok(only.clone().into_owned()),
        // A bare `=` or `&` splits what was one text: the document isn't encoded at all.
        _ => Ok(text.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn policies_are_read_encoded_and_plain() {
        let policy = json!({"Statement": [{"Action": "s3:*", "Resource": "arn:aws:s3:::a+b/50%"}]});
        let text = policy.to_string();
        let encoded: String = text.bytes().map(|byte| format!("%{byte:02X}")).collect();
        assert_eq!(document("GetRolePolicy", &encoded).expect("JSON"), policy);
        assert_eq!(document("ListRoles", &Value::String(text).to_string()).expect("JSON"), policy);
        let with_equals = json!({"Condition": {"StringEquals": {"a": "b=c&d"}}});
        assert_eq!(document("GetRolePolicy", &with_equals.to_string()).expect("JSON"), with_equals);
        assert!(document("GetRolePolicy", "%7Bnot%20json").is_err());
    }
}
