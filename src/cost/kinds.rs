//! What each kind costs as long as it is there.

use serde::de::DeserializeOwned;

use super::{Amount, Estimator, HOURS, Line};
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
        vec![Line::fixed(id, "public IPv4 address", HOURS * estimator.prices.public_address_hour)]
    }
}

impl Priced for resource::NatGateway {
    fn price(estimator: &Estimator<'_>, id: &str, _: &Self::Spec) -> Vec<Line> {
        vec![Line::fixed(id, "NAT gateway", HOURS * estimator.prices.nat_gateway_hour)]
    }
}

impl Priced for resource::VpcEndpoint {
    fn price(estimator: &Estimator<'_>, id: &str, spec: &Self::Spec) -> Vec<Line> {
        match &spec.access {
            Access::Gateway { .. } => Vec::new(),
            Access::Interface { subnets, .. } => {
                let what = format!("interface endpoint in {} zones", subnets.len());
                let hour = estimator.prices.interface_endpoint_hour * subnets.len() as f64;
                vec![Line::fixed(id, what, HOURS * hour)]
            }
        }
    }
}

/// How much Aurora's storage is taken to be: it grows with the data.
const ASSUMED_STORAGE_GIB: f64 = 10.0;

impl Priced for resource::DbCluster {
    fn price(estimator: &Estimator<'_>, id: &str, _: &Self::Spec) -> Vec<Line> {
        let what = format!("Aurora storage, {ASSUMED_STORAGE_GIB} GiB");
        vec![Line::fixed(id, what, ASSUMED_STORAGE_GIB * estimator.prices.aurora_storage_gib_month).estimated()]
    }
}

impl Priced for resource::DbInstance {
    fn price(estimator: &Estimator<'_>, id: &str, spec: &Self::Spec) -> Vec<Line> {
        let hour = estimator.prices.aurora_hour(&spec.class);
        vec![Line::of_hours(id, format!("Aurora {}", spec.class), hour, Amount::always(1))]
    }
}

impl Priced for resource::ReplicationGroup {
    fn price(estimator: &Estimator<'_>, id: &str, spec: &Self::Spec) -> Vec<Line> {
        let what = format!("Redis {} × {}", spec.nodes, spec.class);
        vec![Line::of_hours(id, what, estimator.prices.redis_hour(&spec.class), Amount::always(spec.nodes))]
    }
}

impl Priced for resource::Secret {
    fn price(estimator: &Estimator<'_>, id: &str, _: &Self::Spec) -> Vec<Line> {
        vec![Line::fixed(id, "secret", estimator.prices.secret_month)]
    }
}

impl Priced for resource::Alarm {
    fn price(estimator: &Estimator<'_>, id: &str, _: &Self::Spec) -> Vec<Line> {
        vec![Line::fixed(id, "alarm", estimator.prices.alarm_month)]
    }
}

impl Priced for resource::Dashboard {
    fn price(estimator: &Estimator<'_>, id: &str, _: &Self::Spec) -> Vec<Line> {
        vec![Line::fixed(id, "dashboard", estimator.prices.dashboard_month)]
    }
}

/// How much of a load balancer's capacity is taken to be in use on average: it follows the visitors.
const ASSUMED_LCU: f64 = 1.0;

impl Priced for resource::LoadBalancer {
    fn price(estimator: &Estimator<'_>, id: &str, spec: &Self::Spec) -> Vec<Line> {
        let prices = estimator.prices;
        let zones = spec.subnets.len();
        let addresses = HOURS * prices.public_address_hour * zones as f64;
        vec![
            Line::fixed(id, "load balancer", HOURS * prices.load_balancer_hour),
            Line::fixed(id, format!("{zones} public IPv4 addresses"), addresses),
            Line::fixed(
                id,
                format!("{ASSUMED_LCU} capacity unit"),
                HOURS * prices.load_balancer_lcu_hour * ASSUMED_LCU,
            )
            .estimated(),
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
            return vec![Line::of_hours(id, "instances".to_owned(), None, count)];
        };
        let (machine, size) = (&template.instance_type, template.volume.size);
        let prices = estimator.prices;
        let metrics = AGENT_METRICS + if template.detailed_monitoring { DETAILED_METRICS } else { 0.0 };
        vec![
            Line::of_hours(id, format!("{} × {machine}", spec.desired), prices.instance_hour(machine), count),
            Line::of(id, format!("volumes of {size} GiB"), count.times(f64::from(size) * prices.volume_gp3_gib_month)),
            Line::of(id, format!("{metrics} metrics per instance"), count.times(metrics * prices.metric_month)),
        ]
    }
}

/// Alarms that target tracking makes for itself, one to grow and one to shrink.
const TRACKING_ALARMS: f64 = 2.0;

impl Priced for resource::ScalingPolicy {
    fn price(estimator: &Estimator<'_>, id: &str, spec: &Self::Spec) -> Vec<Line> {
        match spec.rule {
            resource::scaling_policy::Rule::Track { .. } => {
                vec![Line::fixed(id, "alarms of target tracking", TRACKING_ALARMS * estimator.prices.alarm_month)]
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
