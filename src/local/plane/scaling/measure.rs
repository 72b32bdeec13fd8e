//! What instances and load balancers did in a minute, in the metrics that AWS has for it.

use std::collections::{BTreeMap, HashMap};

use jiff::Timestamp;

use super::series::{MetricKey, Point};
use crate::local::plane::balancer::{Balancer, GroupCounts, Health};
use crate::local::plane::fleet::Member;
use crate::local::plane::world::World;

/// Counts and times as they were at the last look.
#[derive(Default)]
pub struct Before {
    cpu: HashMap<String, (f64, Timestamp)>,
    groups: HashMap<String, GroupCounts>,
    own_errors: HashMap<String, BTreeMap<u16, u64>>,
}

type Minute = BTreeMap<MetricKey, Point>;

fn add(minute: &mut Minute, key: MetricKey, value: f64) {
    minute.entry(key).or_default().0.push(value);
}

/// The processor time of each instance, in percent of one processor and not more than all of it.
pub fn processors(world: &World, members: &BTreeMap<String, Member>, before: &mut Before, minute: &mut Minute) {
    let mut now = HashMap::new();
    for scaling in &world.groups {
        let group = scaling.group.auto_scaling_group_name().unwrap_or_default();
        for id in scaling.group.instances().iter().filter_map(|instance| instance.instance_id()) {
            let Some(state) = members.get(id).filter(|member| member.alive).and_then(|member| member.state.as_ref())
            else {
                continue;
            };
            now.insert(id.to_owned(), (state.cpu_seconds, state.at));
            let Some((seconds, at)) = before.cpu.get(id) else { continue };
            let elapsed = state.at.duration_since(*at).as_secs_f64();
            if elapsed <= 0.0 {
                continue;
            }
            let percent = ((state.cpu_seconds - seconds) / elapsed * 100.0).clamp(0.0, 100.0);
            let key = |name, value| MetricKey::new(&scaling.region, "AWS/EC2", "CPUUtilization", &[(name, value)]);
            add(minute, key("InstanceId", id), percent);
            add(minute, key("AutoScalingGroupName", group), percent);
        }
    }
    before.cpu = now;
}

/// Requests, answers and health of each load balancer and its target groups.
pub fn requests(world: &World, running: &BTreeMap<String, Balancer>, before: &mut Before, minute: &mut Minute) {
    for found in &world.balancers {
        let arn = found.balancer.load_balancer_arn().unwrap_or_default();
        let Some(balancer) = running.get(arn) else { continue };
        let name = arn.split_once(":loadbalancer/").map_or("", |(_, name)| name);
        let of_balancer =
            |metric: &str| MetricKey::new(&found.region, "AWS/ApplicationELB", metric, &[("LoadBalancer", name)]);
        let own = balancer.own_errors();
        let earlier = before.own_errors.insert(arn.to_owned(), own.clone()).unwrap_or_default();
        let errors: u64 = own
            .iter()
            .filter(|(status, _)| **status >= 500)
            .map(|(status, count)| count - earlier.get(status).copied().unwrap_or(0))
            .sum();
        add(minute, of_balancer("HTTPCode_ELB_5XX_Count"), errors as f64);
        add(minute, of_balancer("RequestCount"), errors as f64);
        let health = balancer.health();
        for (group, counts) in balancer.counts() {
            let earlier = before.groups.insert(group.clone(), counts.clone()).unwrap_or_default();
            let targets =
                group.split_once(":targetgroup/").map_or(String::new(), |(_, id)| format!("targetgroup/{id}"));
            let in_state = |state| {
                let targets = health.get(&group).into_iter().flatten();
                targets.filter(|target| target.state == state).count() as f64
            };
            let healthy = in_state(Health::Healthy);
            let mut told = changes(&counts, &earlier);
            told.push((
                "RequestCountPerTarget",
                counts.requests.saturating_sub(earlier.requests) as f64 / healthy.max(1.0),
            ));
            told.push(("HealthyHostCount", healthy));
            told.push(("UnHealthyHostCount", in_state(Health::Unhealthy)));
            for (metric, value) in told {
                let dimensions: [&[(&str, &str)]; 2] =
                    [&[("TargetGroup", &targets)], &[("LoadBalancer", name), ("TargetGroup", &targets)]];
                for dimensions in dimensions {
                    add(minute, MetricKey::new(&found.region, "AWS/ApplicationELB", metric, dimensions), value);
                }
                if !["HealthyHostCount", "UnHealthyHostCount", "RequestCountPerTarget"].contains(&metric) {
                    add(minute, of_balancer(metric), value);
                }
            }
        }
    }
}

/// What one target group's counts have grown by. A group that a load balancer took up anew begins at nothing.
fn changes(counts: &GroupCounts, earlier: &GroupCounts) -> Vec<(&'static str, f64)> {
    let answers = |class: u16| {
        let of = |counts: &GroupCounts| counts.answers.get(&class).copied().unwrap_or(0);
        of(counts).saturating_sub(of(earlier)) as f64
    };
    let mut changes = vec![
        ("RequestCount", counts.requests.saturating_sub(earlier.requests) as f64),
        ("HTTPCode_Target_2XX_Count", answers(2)),
        ("HTTPCode_Target_3XX_Count", answers(3)),
        ("HTTPCode_Target_4XX_Count", answers(4)),
        ("HTTPCode_Target_5XX_Count", answers(5)),
        ("TargetConnectionErrorCount", counts.connection_errors.saturating_sub(earlier.connection_errors) as f64),
    ];
    let all: u64 = counts.answers.values().sum::<u64>().saturating_sub(earlier.answers.values().sum());
    if all > 0 {
        let time = counts.answer_time.saturating_sub(earlier.answer_time).as_secs_f64();
        changes.push(("TargetResponseTime", time / all as f64));
    }
    changes
}
