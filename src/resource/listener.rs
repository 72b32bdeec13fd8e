//! A port of the load balancer, and what happens there to requests that no rule takes.

use aws_sdk_elasticloadbalancingv2::types::{
    Action, ActionTypeEnum, Certificate, FixedResponseActionConfig, Listener as Answer, ProtocolEnum, RedirectActionConfig,
    RedirectActionStatusCodeEnum,
};
use futures::future::try_join_all;
use serde::{Deserialize, Serialize};

use super::{
    Change, Created, Desired, Effect, Found, Kind, LoadBalancer, Outputs, Ref, Scan, Select, Status, TargetGroup, Traits,
    elb,
};
use crate::aws::{Context, Error, Result, Tags};

pub struct Listener;

#[derive(Debug, Serialize, Deserialize)]
pub struct ListenerSpec {
    pub load_balancer: Ref<LoadBalancer>,
    pub port: i32,
    /// None for plain HTTP.
    pub tls: Option<Tls>,
    pub default_action: DefaultAction,
}

#[derive(Debug, Serialize, Deserialize)]
pub struct Tls {
    /// ARN of an ACM certificate.
    pub certificate: String,
    /// A name such as `ELBSecurityPolicy-TLS13-1-2-2021-06`.
    pub policy: String,
}

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DefaultAction {
    Forward(Ref<TargetGroup>),
    /// To the same address over HTTPS, for good.
    RedirectToHttps,
    /// Nobody answers here.
    NotFound,
    /// What somebody else has set.
    Other(String),
}

impl Kind for Listener {
    const NAME: &'static str = "listener";
    const TRAITS: Traits = Traits::INSTANT;
    type Spec = ListenerSpec;

    fn effect(path: &str) -> Effect {
        if path == "load_balancer" { Effect::Replace } else { Effect::InPlace }
    }

    async fn find(scan: &Scan<'_>, select: &Select<'_>) -> Result<Vec<Found<ListenerSpec>>> {
        let answers = match select {
            Select::Stack => {
                // Asked for while it is still being found out whether the load balancer is ours.
                let arns = scan.balancers().await?.iter().filter_map(|balancer| balancer.load_balancer_arn());
                let listed = try_join_all(arns.map(|arn| of_balancer(scan, arn)));
                let (listed, ours) = tokio::try_join!(listed, scan.of::<LoadBalancer>())?;
                let of_ours = |listener: &Answer| {
                    let of = |balancer: &Found<_>| listener.load_balancer_arn() == Some(&*balancer.id);
                    ours.iter().any(|balancer| balancer.status != Status::Deleting && of(balancer))
                };
                listed.into_iter().flatten().filter(of_ours).collect()
            }
            Select::One(arn) => described(scan, arn).await?,
        };
        Ok(answers.iter().map(found).collect())
    }

    async fn tags(cx: &Context, arn: &str, _outputs: &Outputs) -> Result<Option<Tags>> {
        elb::tags(cx, arn).await
    }

    async fn create(cx: &Context, desired: &Desired<ListenerSpec>) -> Result<Created> {
        let spec = &desired.spec;
        let answer = cx
            .elb
            .create_listener()
            .load_balancer_arn(&*spec.load_balancer)
            .port(spec.port)
            .protocol(protocol(spec))
            .set_ssl_policy(spec.tls.as_ref().map(|tls| tls.policy.clone()))
            .set_certificates(certificates(spec))
            .default_actions(default_action(&spec.default_action))
            .set_tags(elb::tag_list(desired))
            .send()
            .await?;
        let arn = elb::created_arn("CreateListener", answer.listeners().first().and_then(Answer::listener_arn))?;
        Ok(Created::new(arn))
    }

    async fn update(cx: &Context, change: &Change<ListenerSpec>) -> Result<()> {
        let spec = &change.desired.spec;
        if change.touches(&["port", "tls", "default_action"]) {
            cx.elb
                .modify_listener()
                .listener_arn(&change.found.id)
                .port(spec.port)
                .protocol(protocol(spec))
                .set_ssl_policy(spec.tls.as_ref().map(|tls| tls.policy.clone()))
                .set_certificates(certificates(spec))
                .default_actions(default_action(&spec.default_action))
                .send()
                .await?;
        }
        elb::update_tags(cx, change).await
    }

    async fn delete(cx: &Context, found: &Found<ListenerSpec>) -> Result<()> {
        cx.elb.delete_listener().listener_arn(&found.id).send().await?;
        Ok(())
    }
}

async fn of_balancer(cx: &Context, arn: &str) -> Result<Vec<Answer>> {
    let pages = cx.elb.describe_listeners().load_balancer_arn(arn).into_paginator();
    let listeners: std::result::Result<Vec<_>, _> = pages.items().send().collect().await;
    match listeners.map_err(Error::from) {
        // Its load balancer was deleted between the two calls.
        Err(error) if error.is_not_found() => Ok(Vec::new()),
        result => result,
    }
}

async fn described(cx: &Context, arn: &str) -> Result<Vec<Answer>> {
    match cx.elb.describe_listeners().listener_arns(arn).send().await.map_err(Error::from) {
        Ok(answer) => Ok(answer.listeners.unwrap_or_default()),
        Err(error) if error.is_not_found() => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

/// The port tells which listener it is: a load balancer has at most one for each. That it is ours follows from whose its
/// load balancer is.
fn found(answer: &Answer) -> Found<ListenerSpec> {
    let port = answer.port().unwrap_or_default();
    let tls = (answer.protocol() == Some(&ProtocolEnum::Https)).then(|| Tls {
        certificate: answer.certificates().first().and_then(Certificate::certificate_arn).unwrap_or_default().to_owned(),
        policy: answer.ssl_policy().unwrap_or_default().to_owned(),
    });
    Found {
        logical_id: format!("listener-{port}"),
        id: answer.listener_arn().unwrap_or_default().to_owned(),
        spec: ListenerSpec {
            load_balancer: Ref::known(answer.load_balancer_arn().unwrap_or_default()),
            port,
            tls,
            default_action: answered_action(answer.default_actions()),
        },
        outputs: Outputs::new(),
        tags: None,
        status: Status::Ready,
    }
}

fn protocol(spec: &ListenerSpec) -> ProtocolEnum {
    if spec.tls.is_some() { ProtocolEnum::Https } else { ProtocolEnum::Http }
}

fn certificates(spec: &ListenerSpec) -> Option<Vec<Certificate>> {
    spec.tls.as_ref().map(|tls| vec![Certificate::builder().certificate_arn(&tls.certificate).build()])
}

fn default_action(action: &DefaultAction) -> Action {
    match action {
        DefaultAction::Forward(target_group) => elb::forward(target_group),
        DefaultAction::RedirectToHttps => {
            // What isn't named stays as the request has it: host, path and query.
            let redirect = RedirectActionConfig::builder()
                .protocol("HTTPS")
                .port("443")
                .status_code(RedirectActionStatusCodeEnum::Http301)
                .build();
            Action::builder().r#type(ActionTypeEnum::Redirect).redirect_config(redirect).build()
        }
        DefaultAction::NotFound | DefaultAction::Other(_) => {
            let response = FixedResponseActionConfig::builder()
                .status_code("404")
                .content_type("text/plain")
                .message_body("not found")
                .build();
            Action::builder().r#type(ActionTypeEnum::FixedResponse).fixed_response_config(response).build()
        }
    }
}

fn answered_action(actions: &[Action]) -> DefaultAction {
    let [action] = actions else { return DefaultAction::Other(format!("{} actions", actions.len())) };
    match action.r#type() {
        Some(ActionTypeEnum::Forward) => DefaultAction::Forward(elb::forward_target(action)),
        Some(ActionTypeEnum::Redirect) if is_to_https(action) => DefaultAction::RedirectToHttps,
        Some(ActionTypeEnum::FixedResponse)
            if action.fixed_response_config().and_then(|response| response.status_code()) == Some("404") =>
        {
            DefaultAction::NotFound
        }
        other => DefaultAction::Other(other.map(ActionTypeEnum::as_str).unwrap_or_default().to_owned()),
    }
}

fn is_to_https(action: &Action) -> bool {
    action.redirect_config().is_some_and(|redirect| {
        let unchanged = |part: Option<&str>, placeholder: &str| part.is_none_or(|part| part == placeholder);
        redirect.protocol() == Some("HTTPS")
            && redirect.port() == Some("443")
            && redirect.status_code() == Some(&RedirectActionStatusCodeEnum::Http301)
            && unchanged(redirect.host(), "#{host}")
            && unchanged(redirect.path(), "/#{path}")
            && unchanged(redirect.query(), "#{query}")
    })
}
