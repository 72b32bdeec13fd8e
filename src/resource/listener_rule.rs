//! Which requests go to which service: one path pattern of a listener.

use aws_sdk_elasticloadbalancingv2::types::{PathPatternConditionConfig, Rule as Answer, RuleCondition, RulePriorityPair};
use futures::future::try_join_all;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

use super::{
    AutoScalingGroup, Change, Created, Desired, Effect, Found, Kind, Listener, Outputs, Ref, Scan, Select, Status, TargetGroup, Traits, elb,
    root,
};
use crate::aws::{Context, Error, Result, Tags};

pub struct ListenerRule;

#[derive(Debug, Serialize, Deserialize)]
pub struct ListenerRuleSpec {
    pub listener: Ref<Listener>,
    /// 1 to 50,000; the smallest that matches wins.
    pub priority: i32,
    /// The load balancer's wildcards: `*` for any text, `?` for any character.
    pub path: String,
    pub target_group: Ref<TargetGroup>,
}

/// The logical id of the rule for a path. Tags may hold neither `*` nor all else that a pattern may: `*` is written as
/// `+`, and what is left as `=` with two hex digits.
pub fn logical_id(path: &str) -> String {
    let mut id = String::from("rule-");
    for byte in path.bytes() {
        match byte {
            b'*' => id.push('+'),
            byte if byte.is_ascii_alphanumeric() || b"/._-:@".contains(&byte) => id.push(char::from(byte)),
            byte => id.push_str(&format!("={byte:02X}")),
        }
    }
    id
}

impl Kind for ListenerRule {
    const NAME: &'static str = "listener_rule";
    const TRAITS: Traits = Traits::INSTANT;
    type Spec = ListenerRuleSpec;

    fn effect(path: &str) -> Effect {
        if root(path) == "listener" { Effect::Replace } else { Effect::InPlace }
    }

    async fn find(scan: &Scan<'_>, select: &Select<'_>) -> Result<Vec<Found<ListenerRuleSpec>>> {
        match select {
            Select::Stack => {
                // The groups' tags say which listeners there are, so that this needn't wait for the load balancer's and
                // the listeners' own listings. Whatever the tags don't know is asked for after all.
                let groups = scan.of::<AutoScalingGroup>().await?;
                let named: BTreeSet<_> = groups.into_iter().flat_map(|group| group.spec.listeners.into_values()).collect();
                let named = named.into_iter().map(|listener| async {
                    let rules = of_listener(scan, &listener).await?;
                    Result::Ok((listener, rules))
                });
                let (listeners, mut rules) =
                    tokio::try_join!(scan.of::<Listener>(), async { Ok(BTreeMap::from_iter(try_join_all(named).await?)) })?;
                let mut found = Vec::new();
                for listener in listeners {
                    match rules.remove(&Ref::known(&listener.id)) {
                        Some(rules) => found.extend(rules),
                        None => found.extend(of_listener(scan, &listener.id).await?),
                    }
                }
                Ok(found)
            }
            Select::One(arn) => {
                let answer = scan.elb.describe_rules().rule_arns(*arn).send().await.map_err(Error::from);
                match answer {
                    Ok(answer) => Ok(answer.rules().iter().filter_map(|rule| found(rule, listener_of(arn))).collect()),
                    Err(error) if error.is_not_found() => Ok(Vec::new()),
                    Err(error) => Err(error),
                }
            }
        }
    }

    async fn tags(cx: &Context, arn: &str, _outputs: &Outputs) -> Result<Option<Tags>> {
        elb::tags(cx, arn).await
    }

    async fn create(cx: &Context, desired: &Desired<ListenerRuleSpec>) -> Result<Created> {
        let spec = &desired.spec;
        let answer = cx
            .elb
            .create_rule()
            .listener_arn(&*spec.listener)
            .priority(spec.priority)
            .conditions(condition(&spec.path))
            .actions(elb::forward(&spec.target_group))
            .set_tags(elb::tag_list(desired))
            .send()
            .await?;
        Ok(Created::new(elb::created_arn("CreateRule", answer.rules().first().and_then(Answer::rule_arn))?))
    }

    async fn update(cx: &Context, change: &Change<ListenerRuleSpec>) -> Result<()> {
        let (arn, spec) = (&change.found.id, &change.desired.spec);
        if change.touches(&["path", "target_group"]) {
            cx.elb
                .modify_rule()
                .rule_arn(arn)
                .conditions(condition(&spec.path))
                .actions(elb::forward(&spec.target_group))
                .send()
                .await?;
        }
        if change.touches(&["priority"]) {
            let pair = RulePriorityPair::builder().rule_arn(arn).priority(spec.priority).build();
            cx.elb.set_rule_priorities().rule_priorities(pair).send().await?;
        }
        elb::update_tags(cx, change).await
    }

    async fn delete(cx: &Context, found: &Found<ListenerRuleSpec>) -> Result<()> {
        cx.elb.delete_rule().rule_arn(&found.id).send().await?;
        Ok(())
    }
}

async fn of_listener(cx: &Context, listener: &str) -> Result<Vec<Found<ListenerRuleSpec>>> {
    let pages = cx.elb.describe_rules().listener_arn(listener).into_paginator();
    let rules: std::result::Result<Vec<_>, _> = pages.items().send().collect().await;
    match rules.map_err(Error::from) {
        Ok(rules) => Ok(rules.iter().filter_map(|rule| found(rule, listener.to_owned())).collect()),
        // The listener was deleted between the two calls.
        Err(error) if error.is_not_found() => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

fn condition(path: &str) -> RuleCondition {
    let pattern = PathPatternConditionConfig::builder().values(path).build();
    RuleCondition::builder().field("path-pattern").path_pattern_config(pattern).build()
}

/// `…:listener-rule/app/<name>/<id>/<listener>/<rule>` → `…:listener/app/<name>/<id>/<listener>`.
/// Source: <https://docs.aws.amazon.com/service-authorization/latest/reference/list_awselasticloadbalancingv2.html>
fn listener_of(rule: &str) -> String {
    let listener = rule.rsplit_once('/').map_or(rule, |(listener, _)| listener);
    listener.replacen(":listener-rule/", ":listener/", 1)
}

/// The path tells which rule it is; that it is ours follows from whose its listener is. One that looks at anything else
/// than one path isn't of this stack's making: it has no logical id. The listener's default isn't a rule to us.
fn found(rule: &Answer, listener: String) -> Option<Found<ListenerRuleSpec>> {
    let priority = rule.priority()?.parse().ok()?;
    let paths = |condition: &RuleCondition| match condition.path_pattern_config() {
        Some(config) => config.values().to_vec(),
        None => condition.values().to_vec(),
    };
    let path = match rule.conditions() {
        [condition] if condition.field() == Some("path-pattern") => paths(condition),
        _ => Vec::new(),
    };
    let target_group = match rule.actions() {
        [action] => elb::forward_target(action),
        _ => Ref::known(""),
    };
    let (logical_id, path) = match path.as_slice() {
        [path] => (logical_id(path), path.clone()),
        _ => (String::new(), String::new()),
    };
    Some(Found {
        logical_id,
        id: rule.rule_arn()?.to_owned(),
        spec: ListenerRuleSpec { listener: Ref::known(listener), priority, path, target_group },
        outputs: Outputs::new(),
        tags: None,
        status: Status::Ready,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logical_ids_fit_into_tags_and_stay_apart() {
        let ids = ["/api/*", "/api/+", "/api/=2B", "/a b", "/?", "/files/~me"].map(logical_id);
        assert_eq!(ids, ["rule-/api/+", "rule-/api/=2B", "rule-/api/=3D2B", "rule-/a=20b", "rule-/=3F", "rule-/files/=7Eme"]);
    }

    #[test]
    fn a_rule_names_its_listener() {
        let rule = "arn:aws:elasticloadbalancing:eu-west-1:123456789012:listener-rule/app/t-alb/50dc/f2f7/9683";
        assert_eq!(listener_of(rule), "arn:aws:elasticloadbalancing:eu-west-1:123456789012:listener/app/t-alb/50dc/f2f7");
    }
}
