//! What the load balancer's kinds share: tags, which no describe call of Elastic Load Balancing tells, and attributes,
//! which it keeps as texts under dotted names.

use aws_sdk_elasticloadbalancingv2::types::{Action, ActionTypeEnum, Tag};
use std::collections::{BTreeMap, HashMap};

use super::{Change, Desired, Ref, TargetGroup};
use crate::{
    aws::{Context, Error, Result, Tags, tags},
    stack::name::fit,
};

/// Most ARNs that one DescribeTags call takes.
/// Source: <https://docs.aws.amazon.com/elasticloadbalancing/latest/APIReference/API_DescribeTags.html>
const TAGS_PER_CALL: usize = 20;

/// Longest name of a load balancer or target group.
/// Source: <https://docs.aws.amazon.com/elasticloadbalancing/latest/APIReference/API_CreateLoadBalancer.html>
const NAME_LENGTH: usize = 32;
/// What of a name stays in any case when a digest takes the place of its end.
const KEPT_LENGTH: usize = 22;

/// `<stack>-<suffix>`, shortened if need be.
pub fn name(stack: &str, suffix: &str) -> String {
    fit(format!("{stack}-{suffix}"), NAME_LENGTH)
}

/// Whether a name may be that of a part of the stack; its tags tell for certain.
pub fn may_be_named(name: &str, stack: &str) -> bool {
    let kept: String = format!("{stack}-").chars().take(KEPT_LENGTH).collect();
    name.starts_with(kept.trim_end_matches('-'))
}

/// The wish's tags as the create calls take them.
pub fn tag_list<S>(desired: &Desired<S>) -> Option<Vec<Tag>> {
    Some(desired.tags.iter().map(|(key, value)| tag(key, value)).collect())
}

fn tag(key: &str, value: &str) -> Tag {
    Tag::builder().key(key).value(value).build()
}

/// The tags of load balancers, target groups, listeners or rules, by ARN.
pub async fn tags_of(cx: &Context, arns: &[String]) -> Result<HashMap<String, Tags>> {
    let mut found = HashMap::new();
    for arns in arns.chunks(TAGS_PER_CALL) {
        let answer = cx.elb.describe_tags().set_resource_arns(Some(arns.to_vec())).send().await?;
        for description in answer.tag_descriptions() {
            let tags = tags::collect(description.tags(), |tag| (tag.key(), tag.value()));
            found.insert(description.resource_arn().unwrap_or_default().to_owned(), tags);
        }
    }
    Ok(found)
}

/// The tags of one of them.
pub async fn tags(cx: &Context, arn: &str) -> Result<Option<Tags>> {
    Ok(tags_of(cx, &[arn.to_owned()]).await?.remove(arn))
}

/// Sets the wish's tags if they differ.
pub async fn update_tags<S>(cx: &Context, change: &Change<S>) -> Result<()> {
    if let Some(tags) = change.tags() {
        let tags = tags.iter().map(|(key, value)| tag(key, value)).collect();
        cx.elb.add_tags().resource_arns(&change.found.id).set_tags(Some(tags)).send().await?;
    }
    Ok(())
}

/// What CloudWatch calls a load balancer or target group: the end of its ARN, `app/<name>/<id>` or
/// `targetgroup/<name>/<id>`.
/// Source: <https://docs.aws.amazon.com/elasticloadbalancing/latest/application/load-balancer-cloudwatch-metrics.html>
pub fn metric_dimension(arn: &str) -> &str {
    let resource = arn.rsplit(':').next().unwrap_or_default();
    resource.strip_prefix("loadbalancer/").unwrap_or(resource)
}

/// Attributes by name, and how to read them as what they are.
#[derive(Default)]
pub struct Attributes(BTreeMap<String, String>);

impl FromIterator<(String, String)> for Attributes {
    fn from_iter<I: IntoIterator<Item = (String, String)>>(pairs: I) -> Self {
        Attributes(pairs.into_iter().collect())
    }
}

impl Attributes {
    pub fn text(&self, name: &str) -> String {
        self.0.get(name).cloned().unwrap_or_default()
    }

    pub fn switch(&self, name: &str) -> bool {
        self.0.get(name).is_some_and(|value| value == "true")
    }

    pub fn number(&self, name: &str) -> i32 {
        self.0.get(name).and_then(|value| value.parse().ok()).unwrap_or_default()
    }
}

/// The action that forwards everything to one target group.
pub fn forward(target_group: &Ref<TargetGroup>) -> Action {
    Action::builder().r#type(ActionTypeEnum::Forward).target_group_arn(&**target_group).build()
}

/// The target group that an action forwards to; empty if it does something else or splits its requests.
pub fn forward_target(action: &Action) -> Ref<TargetGroup> {
    let targets = action.forward_config().map(|config| config.target_groups()).unwrap_or_default();
    Ref::known(match (targets, action.target_group_arn()) {
        ([only], _) => only.target_group_arn().unwrap_or_default(),
        ([], Some(arn)) => arn,
        _ => "",
    })
}

/// The ARN in the answer of a create call.
pub fn created_arn(operation: &str, arn: Option<&str>) -> Result<String> {
    arn.map(str::to_owned).ok_or_else(|| Error::unexpected("elasticloadbalancingv2", operation, "no ARN"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_names_are_shortened_and_stay_apart() {
        assert_eq!(name("ticketing-dev", "alb"), "ticketing-dev-alb");
        let long = "a-rather-long-project-name-production";
        let (web, api) = (name(long, "web-tg-8080"), name(long, "api-tg-8080"));
        assert!(web.len() <= NAME_LENGTH && web.starts_with("a-rather-long-project"), "{web}");
        assert_ne!(web, api);
        for (stack, suffix) in
            [("ticketing-dev", "alb"), (long, "api-tg-8080"), ("a-twenty-three-letters-", "web-tg-8080")]
        {
            assert!(may_be_named(&name(stack, suffix), stack), "{stack} {suffix}");
        }
    }

    #[test]
    fn cloudwatch_knows_the_end_of_an_arn() {
        let arn = "arn:aws:elasticloadbalancing:eu-west-1:123456789012:loadbalancer/app/t-dev-alb/50dc6c495c0c9188";
        assert_eq!(metric_dimension(arn), "app/t-dev-alb/50dc6c495c0c9188");
        let arn = "arn:aws:elasticloadbalancing:eu-west-1:123456789012:targetgroup/t-dev-web-tg/73e2d6bc24d8a067";
        assert_eq!(metric_dimension(arn), "targetgroup/t-dev-web-tg/73e2d6bc24d8a067");
    }
}
