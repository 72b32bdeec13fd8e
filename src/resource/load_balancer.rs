//! The public application load balancer.

use aws_sdk_ec2::types::{Filter, Vpc};
use aws_sdk_elasticloadbalancingv2::types::{
    IpAddressType, LoadBalancer as Answer, LoadBalancerAttribute, LoadBalancerSchemeEnum, LoadBalancerStateEnum,
    LoadBalancerTypeEnum,
};
use futures::future::try_join_all;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

use super::{
    Change, Created, Desired, Effect, Found, Handle, Kind, Outputs, Ref, Scan, SecurityGroup, Select, Status, Subnet,
    Traits,
    elb::{self, Attributes},
};
use crate::aws::{Context, Error, Result, Tags, tags};

pub struct LoadBalancer;

/// The end of its name: a stack has one load balancer.
pub const NAME_SUFFIX: &str = "alb";

impl LoadBalancer {
    /// The logical id: a stack has one.
    pub const ID: &'static str = "load-balancer";
}

const DELETION_PROTECTION: &str = "deletion_protection.enabled";
const IDLE_TIMEOUT: &str = "idle_timeout.timeout_seconds";
const HTTP2: &str = "routing.http2.enabled";
const DROP_INVALID_HEADERS: &str = "routing.http.drop_invalid_header_fields.enabled";
const DESYNC_MITIGATION: &str = "routing.http.desync_mitigation_mode";
const ACCESS_LOGS: &str = "access_logs.s3.enabled";
const ACCESS_LOGS_BUCKET: &str = "access_logs.s3.bucket";
const ACCESS_LOGS_PREFIX: &str = "access_logs.s3.prefix";

#[derive(Debug, Serialize, Deserialize)]
pub struct LoadBalancerSpec {
    /// Unique in the region; at most 32 characters.
    pub name: String,
    /// At least two, in different zones.
    pub subnets: BTreeSet<Ref<Subnet>>,
    pub security_groups: BTreeSet<Ref<SecurityGroup>>,
    pub deletion_protection: bool,
    /// Seconds after which a silent connection is closed.
    pub idle_timeout: i32,
    pub http2: bool,
    /// Headers that are no valid HTTP don't reach the instances.
    pub drop_invalid_headers: bool,
    /// What happens to requests that could be read in two ways: `monitor`, `defensive` or `strictest`.
    pub desync_mitigation: String,
    pub access_logs: AccessLogs,
}

/// Where access logs go.
#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct AccessLogs {
    pub enabled: bool,
    /// Empty when there are none.
    pub bucket: String,
    pub prefix: String,
}

impl Handle<LoadBalancer> {
    pub fn arn(&self) -> String {
        self.created_output("arn")
    }

    pub fn dns_name(&self) -> String {
        self.created_output("dns_name")
    }

    /// The hosted zone of the DNS name, for alias records.
    pub fn zone_id(&self) -> String {
        self.created_output("zone_id")
    }

    /// `app/<name>/<id>`: the dimension `LoadBalancer` in CloudWatch.
    pub fn metric_dimension(&self) -> String {
        self.created_output("metric_dimension")
    }
}

impl Kind for LoadBalancer {
    const NAME: &'static str = "load_balancer";
    const TRAITS: Traits = Traits::slow(150, 900);
    type Spec = LoadBalancerSpec;

    fn effect(path: &str) -> Effect {
        if path == "name" { Effect::Replace } else { Effect::InPlace }
    }

    async fn find(scan: &Scan<'_>, select: &Select<'_>) -> Result<Vec<Found<LoadBalancerSpec>>> {
        let answers = match select {
            Select::Stack => scan.balancers().await?.to_vec(),
            Select::One(arn) => {
                let answer = scan.elb.describe_load_balancers().load_balancer_arns(*arn).send().await.map_err(Error::from);
                match answer {
                    Ok(answer) => answer.load_balancers.unwrap_or_default(),
                    Err(error) if error.is_not_found() => return remains(scan, arn).await,
                    Err(error) => return Err(error),
                }
            }
        };
        let arns: Vec<_> = answers.iter().map(|answer| answer.load_balancer_arn().unwrap_or_default().to_owned()).collect();
        if arns.is_empty() {
            return Ok(Vec::new());
        }
        let attributes = try_join_all(arns.iter().map(|arn| attributes(scan, arn)));
        if let (true, Select::Stack) = (scan.is_sparing(), select)
            && is_in(scan.vpcs().await?, &answers)
        {
            let found = answers.iter().zip(attributes.await?).map(|(answer, attributes)| Found {
                logical_id: Self::ID.to_owned(),
                tags: None,
                ..found(answer, &attributes, Tags::new())
            });
            return Ok(found.collect());
        }
        let (tags, attributes) = tokio::try_join!(elb::tags_of(scan, &arns), attributes)?;
        let found = answers.into_iter().zip(attributes).map(|(answer, attributes)| {
            let tags = tags.get(answer.load_balancer_arn().unwrap_or_default()).cloned().unwrap_or_default();
            found(&answer, &attributes, tags)
        });
        Ok(found.filter(|found| found.tags.as_ref().and_then(|tags| tags.get(tags::STACK)) == Some(&scan.stack)).collect())
    }

    async fn create(cx: &Context, desired: &Desired<LoadBalancerSpec>) -> Result<Created> {
        let spec = &desired.spec;
        let answer = cx
            .elb
            .create_load_balancer()
            .name(&spec.name)
            .r#type(LoadBalancerTypeEnum::Application)
            .scheme(LoadBalancerSchemeEnum::InternetFacing)
            .ip_address_type(IpAddressType::Ipv4)
            .set_subnets(Some(spec.subnets.iter().map(ToString::to_string).collect()))
            .set_security_groups(Some(spec.security_groups.iter().map(ToString::to_string).collect()))
            .set_tags(elb::tag_list(desired))
            .send()
            .await?;
        let balancer = answer
            .load_balancers()
            .first()
            .ok_or_else(|| Error::unexpected("elasticloadbalancingv2", "CreateLoadBalancer", "no load balancer"))?;
        let arn = elb::created_arn("CreateLoadBalancer", balancer.load_balancer_arn())?;
        set_attributes(cx, &arn, wished_attributes(spec)).await?;
        Ok(Created { id: arn, outputs: outputs(balancer) })
    }

    async fn update(cx: &Context, change: &Change<LoadBalancerSpec>) -> Result<()> {
        let (arn, spec) = (&change.found.id, &change.desired.spec);
        if change.touches(&["subnets"]) {
            let subnets = spec.subnets.iter().map(ToString::to_string).collect();
            cx.elb.set_subnets().load_balancer_arn(arn).set_subnets(Some(subnets)).send().await?;
        }
        if change.touches(&["security_groups"]) {
            let groups = spec.security_groups.iter().map(ToString::to_string).collect();
            cx.elb.set_security_groups().load_balancer_arn(arn).set_security_groups(Some(groups)).send().await?;
        }
        let before = wished_attributes(&change.found.spec);
        let changed: Vec<_> = wished_attributes(spec).into_iter().filter(|pair| !before.contains(pair)).collect();
        if !changed.is_empty() {
            set_attributes(cx, arn, changed).await?;
        }
        elb::update_tags(cx, change).await
    }

    async fn delete(cx: &Context, found: &Found<LoadBalancerSpec>) -> Result<()> {
        cx.elb.delete_load_balancer().load_balancer_arn(&found.id).send().await?;
        Ok(())
    }
}

/// Whether all are in the stack's network: a load balancer there that has our name too is ours.
fn is_in(vpcs: &[Vpc], answers: &[Answer]) -> bool {
    answers.iter().all(|answer| answer.vpc_id().is_some() && vpcs.iter().any(|vpc| vpc.vpc_id() == answer.vpc_id()))
}

/// Those with the stack's name: there is no filter by tag.
pub(super) async fn listed(cx: &Context) -> Result<Vec<Answer>> {
    let answer = cx.elb.describe_load_balancers().names(elb::name(&cx.stack, NAME_SUFFIX)).send().await.map_err(Error::from);
    match answer {
        Ok(answer) => Ok(answer.load_balancers.unwrap_or_default()),
        Err(error) if error.is_not_found() => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

async fn attributes(cx: &Context, arn: &str) -> Result<Attributes> {
    let answer = cx.elb.describe_load_balancer_attributes().load_balancer_arn(arn).send().await?;
    let pair = |attribute: &LoadBalancerAttribute| {
        Some((attribute.key()?.to_owned(), attribute.value().unwrap_or_default().to_owned()))
    };
    Ok(answer.attributes().iter().filter_map(pair).collect())
}

async fn set_attributes(cx: &Context, arn: &str, attributes: Vec<(&str, String)>) -> Result<()> {
    let list = attributes.into_iter().map(|(key, value)| LoadBalancerAttribute::builder().key(key).value(value).build());
    cx.elb.modify_load_balancer_attributes().load_balancer_arn(arn).set_attributes(Some(list.collect())).send().await?;
    Ok(())
}

/// The attributes that Elastic Load Balancing keeps as texts.
/// Source of the names: <https://docs.aws.amazon.com/elasticloadbalancing/latest/application/edit-load-balancer-attributes.html>
pub(crate) fn wished_attributes(spec: &LoadBalancerSpec) -> Vec<(&'static str, String)> {
    let mut attributes = vec![
        (DELETION_PROTECTION, spec.deletion_protection.to_string()),
        (IDLE_TIMEOUT, spec.idle_timeout.to_string()),
        (HTTP2, spec.http2.to_string()),
        (DROP_INVALID_HEADERS, spec.drop_invalid_headers.to_string()),
        (DESYNC_MITIGATION, spec.desync_mitigation.clone()),
        (ACCESS_LOGS, spec.access_logs.enabled.to_string()),
    ];
    if spec.access_logs.enabled {
        attributes.push((ACCESS_LOGS_BUCKET, spec.access_logs.bucket.clone()));
        attributes.push((ACCESS_LOGS_PREFIX, spec.access_logs.prefix.clone()));
    }
    attributes
}

fn found(answer: &Answer, attributes: &Attributes, tags: Tags) -> Found<LoadBalancerSpec> {
    let zones = answer.availability_zones();
    let access_logs = match attributes.switch(ACCESS_LOGS) {
        true => AccessLogs {
            enabled: true,
            bucket: attributes.text(ACCESS_LOGS_BUCKET),
            prefix: attributes.text(ACCESS_LOGS_PREFIX),
        },
        false => AccessLogs::default(),
    };
    Found {
        logical_id: tags.get(tags::ID).cloned().unwrap_or_default(),
        id: answer.load_balancer_arn().unwrap_or_default().to_owned(),
        spec: LoadBalancerSpec {
            name: answer.load_balancer_name().unwrap_or_default().to_owned(),
            subnets: zones.iter().filter_map(|zone| zone.subnet_id()).map(Ref::known).collect(),
            security_groups: answer.security_groups().iter().map(Ref::known).collect(),
            deletion_protection: attributes.switch(DELETION_PROTECTION),
            idle_timeout: attributes.number(IDLE_TIMEOUT),
            http2: attributes.switch(HTTP2),
            drop_invalid_headers: attributes.switch(DROP_INVALID_HEADERS),
            desync_mitigation: attributes.text(DESYNC_MITIGATION),
            access_logs,
        },
        outputs: outputs(answer),
        tags: Some(tags),
        status: status(answer),
    }
}

fn status(answer: &Answer) -> Status {
    let state = answer.state();
    let reason = || state.and_then(|state| state.reason()).unwrap_or_default();
    match state.and_then(|state| state.code()) {
        // Impaired: it serves, but has no room to grow.
        Some(LoadBalancerStateEnum::Active | LoadBalancerStateEnum::ActiveImpaired) => Status::Ready,
        Some(LoadBalancerStateEnum::Failed) => Status::Failed(format!("failed {}", reason()).trim_end().to_owned()),
        Some(other) => Status::Pending(format!("{} {}", other.as_str(), reason()).trim_end().to_owned()),
        None => Status::Pending("no state yet".into()),
    }
}

fn outputs(answer: &Answer) -> Outputs {
    let arn = answer.load_balancer_arn().unwrap_or_default();
    let output = |name: &str, value: Option<&str>| (name.to_owned(), value.unwrap_or_default().to_owned());
    Outputs::from([
        output("arn", Some(arn)),
        output("dns_name", answer.dns_name()),
        output("zone_id", answer.canonical_hosted_zone_id()),
        output("metric_dimension", Some(elb::metric_dimension(arn))),
    ])
}

/// What is left of a deleted load balancer: its network interfaces stay for some minutes and hold its subnets and security
/// groups. AWS describes each as `ELB app/<name>/<id>`.
/// Source: <https://repost.aws/knowledge-center/elb-find-load-balancer-IP>
async fn remains(cx: &Context, arn: &str) -> Result<Vec<Found<LoadBalancerSpec>>> {
    let description = format!("ELB {}", elb::metric_dimension(arn));
    let filter = Filter::builder().name("description").values(description).build();
    let answer = cx.ec2.describe_network_interfaces().filters(filter).send().await?;
    if answer.network_interfaces().is_empty() {
        return Ok(Vec::new());
    }
    let gone = Answer::builder().load_balancer_arn(arn).build();
    Ok(vec![Found { status: Status::Deleting, ..found(&gone, &Attributes::default(), Tags::new()) }])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_stacks_own_network_proves_whose_a_load_balancer_is() {
        let vpcs = [Vpc::builder().vpc_id("vpc-1").build()];
        assert!(is_in(&vpcs, &[Answer::builder().vpc_id("vpc-1").build()]));
        assert!(!is_in(&vpcs, &[Answer::builder().vpc_id("vpc-2").build()]));
        assert!(!is_in(&vpcs, &[Answer::builder().build()]));
        assert!(!is_in(&[], &[Answer::builder().vpc_id("vpc-1").build()]));
    }
}
