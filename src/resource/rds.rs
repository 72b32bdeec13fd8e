//! What all RDS kinds share: tags, and the parameters of parameter groups.

use aws_sdk_rds::types::{ApplyMethod, Parameter, Tag};
use std::collections::{BTreeMap, BTreeSet};

use crate::aws::{Context, Result, Tags, tags};

/// The engine that a stack's database has.
const ENGINE: &str = "aurora-mysql";

/// Families of parameter groups that a stack may have had, with the part of a group's name that tells them: no listing of
/// parameters says to which family a group belongs.
pub const FAMILIES: [(&str, &str); 1] = [("aurora-mysql8.0", "8-0")];

/// The most parameters that one call may set.
/// Source: <https://docs.aws.amazon.com/AmazonRDS/latest/APIReference/API_ModifyDBClusterParameterGroup.html>
pub const PARAMETERS_PER_CALL: usize = 20;

/// The name of a parameter group; RDS allows 255 characters.
pub fn group_name(stack: &str, what: &str, family: &str) -> String {
    let version = FAMILIES.iter().find(|(known, _)| *known == family).map_or(family, |(_, version)| version);
    crate::stack::name::fit(format!("{stack}-{what}-{version}"), 255)
}

/// The family of parameter groups for a version such as `8.0.mysql_aurora.3.10.4`.
pub fn family(version: &str) -> String {
    let line: Vec<_> = version.splitn(3, '.').take(2).collect();
    format!("{ENGINE}{}", line.join("."))
}

/// Parameters by name.
pub type Parameters = BTreeMap<String, String>;

/// The tags as create calls take them.
pub fn list(tags: &Tags) -> Vec<Tag> {
    tags.iter().map(|(key, value)| Tag::builder().key(key).value(value).build()).collect()
}

/// The tags of an answer.
pub fn tags(tags: &[Tag]) -> Tags {
    tags::collect(tags, |tag| (tag.key(), tag.value()))
}

/// The tags of a resource.
pub async fn tags_of(cx: &Context, arn: &str) -> Result<Option<Tags>> {
    let answer = cx.rds.list_tags_for_resource().resource_name(arn).send().await?;
    Ok(Some(tags(answer.tag_list())))
}

/// Sets tags on a resource.
pub async fn set_tags(cx: &Context, arn: &str, tags: &Tags) -> Result<()> {
    cx.rds.add_tags_to_resource().resource_name(arn).set_tags(Some(list(tags))).send().await?;
    Ok(())
}

/// The parameters of a page of an answer.
pub fn parameters(page: &[Parameter]) -> impl Iterator<Item = (String, String)> {
    page.iter()
        .filter_map(|parameter| Some((parameter.parameter_name()?.to_owned(), parameter.parameter_value()?.to_owned())))
}

/// The parameters that AWS applies only when an instance starts.
pub fn static_names(page: &[Parameter]) -> impl Iterator<Item = String> {
    page.iter()
        .filter(|parameter| parameter.apply_type() == Some("static"))
        .filter_map(|parameter| parameter.parameter_name().map(str::to_owned))
}

/// How the parameters that differ go into a modify call.
pub fn changed(desired: &Parameters, found: &Parameters, only_at_start: &BTreeSet<String>) -> Vec<Parameter> {
    let differs = |(name, value): &(&String, &String)| found.get(*name) != Some(*value);
    desired
        .iter()
        .filter(differs)
        .map(|(name, value)| parameter(name, only_at_start).parameter_value(value).build())
        .collect()
}

/// How the parameters that are no longer wanted go into a reset call.
pub fn removed(desired: &Parameters, found: &Parameters, only_at_start: &BTreeSet<String>) -> Vec<Parameter> {
    let gone = found.keys().filter(|name| !desired.contains_key(*name));
    gone.map(|name| parameter(name, only_at_start).build()).collect()
}

// AWS refuses to apply a static parameter at once, and applies a dynamic one that waits for a reboot only then.
fn parameter(name: &str, only_at_start: &BTreeSet<String>) -> aws_sdk_rds::types::builders::ParameterBuilder {
    let method = if only_at_start.contains(name) { ApplyMethod::PendingReboot } else { ApplyMethod::Immediate };
    Parameter::builder().parameter_name(name).apply_method(method)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(pairs: &[(&str, &str)]) -> Parameters {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn only_what_differs_is_sent_and_static_parameters_wait_for_a_reboot() {
        let desired = map(&[("binlog_format", "ROW"), ("long_query_time", "2"), ("time_zone", "Asia/Seoul")]);
        let found = map(&[("long_query_time", "2"), ("time_zone", "UTC"), ("general_log", "1")]);
        let only_at_start = BTreeSet::from(["binlog_format".to_owned()]);
        let sent: Vec<_> = changed(&desired, &found, &only_at_start)
            .into_iter()
            .map(|p| (p.parameter_name.unwrap_or_default(), p.parameter_value.unwrap_or_default(), p.apply_method))
            .collect();
        assert_eq!(
            sent,
            [
                ("binlog_format".to_owned(), "ROW".to_owned(), Some(ApplyMethod::PendingReboot)),
                ("time_zone".to_owned(), "Asia/Seoul".to_owned(), Some(ApplyMethod::Immediate)),
            ]
        );
        let reset: Vec<_> = removed(&desired, &found, &only_at_start).into_iter().map(|p| p.parameter_name).collect();
        assert_eq!(reset, [Some("general_log".to_owned())]);
    }
}
