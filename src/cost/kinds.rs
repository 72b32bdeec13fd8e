//! What each kind costs as long as it is there.

use serde::de::DeserializeOwned;

use super::{Amount, Estimator, Item, Line};
use crate::resource::{self, AutoScalingGroup, Kind, all_kinds, vpc_endpoint::Access};

/// What a kind costs. Each must say so: the list of all kinds is made into the table below.
pub trait Priced: Kind {
    fn price(estimator: &Estimator<'_>, id: &str, spec: &Self::Spec) -> Vec<Line>;
}

/// Kinds that cost nothing, or only by what goes through them.
macro_rules! free {
    ($($kind:ident),+ $(,)?) => {
        $(impl Priced for resource::$kind {
            fn price(_: &Estimator<'_>, _: &str, _: &Self::Spec) -> Vec<Line> {
                Vec::new()
            }
        })+
    };
}

free! {
    Vpc, Subnet, InternetGateway, RouteTable, SecurityGroup, DbSubnetGroup, DbClusterParameterGroup, DbParameterGroup,
    CacheSubnetGroup, CacheParameterGroup, TargetGroup, Listener, ListenerRule, Role, InstanceProfile, LaunchTemplate,
    // By requests, by storage or by traffic: see `super::NOT_COUNTED`.
    Bucket, LogGroup, FlowLog, Parameter, Queue, Subscription, Topic,
}

impl Priced for resource::Address {
    fn price(estimator: &Estimator<'_>, id: &str, _: &Self::Spec) -> Vec<Line> {
        vec![Line::fixed(id, "public IPv4 address", estimator.month(Item::PublicAddress))]
    }
}

impl Priced for resource::NatGateway {
    fn price(estimator: &Estimator<'_>, id: &str, _: &Self::Spec) -> Vec<Line> {
        vec![Line::fixed(id, "NAT gateway", estimator.month(Item::NatGateway))]
    }
}

impl Priced for resource::VpcEndpoint {
    fn price(estimator: &Estimator<'_>, id: &str, spec: &Self::Spec) -> Vec<Line> {
        match &spec.access {
            Access::Gateway { .. } => Vec::new(),
            Access::Interface { subnets, .. } => {
                let what = format!("interface endpoint in {} zones", subnets.len());
                let zones = Amount::always(subnets.len() as f64);
                vec![Line::of(id, what, estimator.month(Item::InterfaceEndpoint), zones)]
            }
        }
    }
}

/// How much Aurora's storage is taken to be: it grows with the data.
const ASSUMED_STORAGE_GIB: f64 = 10.0;

impl Priced for resource::DbCluster {
    fn price(estimator: &Estimator<'_>, id: &str, spec: &Self::Spec) -> Vec<Line> {
        let what = format!("Aurora storage, {ASSUMED_STORAGE_GIB} GiB");
        let size = Amount::always(ASSUMED_STORAGE_GIB);
        let mut lines = vec![Line::of(id, what, estimator.month(Item::AuroraStorage), size).estimated()];
        // RDS keeps the password in Secrets Manager, which charges for it as for any other:
        // <https://docs.aws.amazon.com/AmazonRDS/latest/AuroraUserGuide/rds-secrets-manager.html>
        if spec.managed_password {
            lines.push(Line::fixed(id, "secret of the master user", estimator.month(Item::Secret)));
        }
        lines
    }
}

impl Priced for resource::DbInstance {
    fn price(estimator: &Estimator<'_>, id: &str, spec: &Self::Spec) -> Vec<Line> {
        vec![Line::fixed(id, format!("Aurora {}", spec.class), estimator.month(Item::Aurora(spec.class.clone())))]
    }
}

impl Priced for resource::ReplicationGroup {
    fn price(estimator: &Estimator<'_>, id: &str, spec: &Self::Spec) -> Vec<Line> {
        let what = format!("Redis {} × {}", spec.nodes, spec.class);
        vec![Line::of(id, what, estimator.month(Item::Redis(spec.class.clone())), Amount::always(spec.nodes))]
    }
}

impl Priced for resource::Secret {
    fn price(estimator: &Estimator<'_>, id: &str, _: &Self::Spec) -> Vec<Line> {
        vec![Line::fixed(id, "secret", estimator.month(Item::Secret))]
    }
}

impl Priced for resource::Alarm {
    fn price(estimator: &Estimator<'_>, id: &str, _: &Self::Spec) -> Vec<Line> {
        vec![Line::fixed(id, "alarm", estimator.month(Item::Alarm))]
    }
}

impl Priced for resource::Dashboard {
    fn price(estimator: &Estimator<'_>, id: &str, _: &Self::Spec) -> Vec<Line> {
        vec![Line::fixed(id, "dashboard", estimator.month(Item::Dashboard))]
    }
}

/// How much of a load balancer's capacity is taken to be in use on average: it follows the visitors.
const ASSUMED_LCU: f64 = 1.0;

impl Priced for resource::LoadBalancer {
    fn price(estimator: &Estimator<'_>, id: &str, spec: &Self::Spec) -> Vec<Line> {
        let zones = spec.subnets.len();
        let addresses = Amount::always(zones as f64);
        let unit = estimator.month(Item::CapacityUnit);
        vec![
            Line::fixed(id, "load balancer", estimator.month(Item::LoadBalancer)),
            Line::of(id, format!("{zones} public IPv4 addresses"), estimator.month(Item::PublicAddress), addresses),
            Line::of(id, format!("{ASSUMED_LCU} capacity unit"), unit, Amount::always(ASSUMED_LCU)).estimated(),
        ]
    }
}

/// Metrics that detailed monitoring makes per instance.
/// Source: <https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/manage-detailed-monitoring.html>, priced as custom metrics.
const DETAILED_METRICS: f64 = 7.0;
/// Metrics that the agent sends per instance: memory and the root volume.
const AGENT_METRICS: f64 = 2.0;

impl Priced for AutoScalingGroup {
    fn price(estimator: &Estimator<'_>, id: &str, spec: &Self::Spec) -> Vec<Line> {
        let count = Amount { min: spec.min.into(), now: spec.desired.into(), max: spec.max.into() };
        let Some(template) = estimator.find::<resource::LaunchTemplate>(&spec.launch_template) else {
            return vec![Line::of(id, "instances", None, count)];
        };
        let (machine, size) = (&template.instance_type, template.volume.size);
        let metrics = AGENT_METRICS + if template.detailed_monitoring { DETAILED_METRICS } else { 0.0 };
        let month = estimator.month(Item::Instance(machine.clone()));
        vec![
            Line::of(id, format!("{} × {machine}", spec.desired), month, count),
            Line::of(id, format!("volumes of {size} GiB"), estimator.month(Item::Volume), count.times(f64::from(size))),
            Line::of(
                id,
                format!("{metrics} metrics per instance"),
                estimator.month(Item::Metric),
                count.times(metrics),
            ),
        ]
    }
}

/// Alarms that target tracking makes for itself, one to grow and one to shrink.
const TRACKING_ALARMS: f64 = 2.0;

impl Priced for resource::ScalingPolicy {
    fn price(estimator: &Estimator<'_>, id: &str, spec: &Self::Spec) -> Vec<Line> {
        match spec.rule {
            resource::scaling_policy::Rule::Track { .. } => {
                let alarms = Amount::always(TRACKING_ALARMS);
                vec![Line::of(id, "alarms of target tracking", estimator.month(Item::Alarm), alarms)]
            }
            _ => Vec::new(),
        }
    }
}

fn price<K: Priced>(estimator: &Estimator<'_>, id: &str, spec: &serde_json::Value) -> Vec<Line>
where
    K::Spec: DeserializeOwned,
{
    match serde_json::from_value(spec.clone()) {
        Ok(spec) => K::price(estimator, id, &spec),
        // A look at AWS may find what no stack of ours looks like.
        Err(_) => Vec::new(),
    }
}

macro_rules! prices {
    ($($module:ident::$kind:ident),+ $(,)?) => {
        /// What one resource costs.
        pub fn of(estimator: &Estimator<'_>, kind: &str, id: &str, spec: &serde_json::Value) -> Vec<Line> {
            $(if kind == resource::$kind::NAME {
                return price::<resource::$kind>(estimator, id, spec);
            })+
            Vec::new()
        }
    };
}

all_kinds!(prices);
