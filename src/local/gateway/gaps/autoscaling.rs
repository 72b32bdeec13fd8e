//! Instance refreshes, and turning group metrics off.
//!
//! A refresh moves when it is looked at: each DescribeInstanceRefreshes replaces the next batch. With a desired
//! configuration the group is given the new launch template at the start, not at the end as on AWS, because the emulator
//! launches instances from what the group says; cancelling and rolling back give the old one back.

use crate::local::gateway::call::Call;
use crate::local::gateway::corrections::autoscaling as groups;
use crate::local::gateway::form::Form;
use crate::local::gateway::reply::{Refusal, Reply};
use crate::local::gateway::state::State;
use crate::local::gateway::xml::Element;

/// One instance refresh of a group.
#[derive(Clone)]
pub struct Refresh {
    id: String,
    status: Status,
    started: String,
    ended: Option<String>,
    strategy: String,
    preferences: Vec<Element>,
    /// The launch template asked for, when it isn't the group's own.
    desired: Option<Element>,
    /// The group's launch template before.
    previous: Option<Element>,
    min_healthy: usize,
    total: usize,
    waiting: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Status {
    Pending,
    InProgress,
    Successful,
    Cancelling,
    Cancelled,
    RollbackInProgress,
    RollbackSuccessful,
}

impl Status {
    fn is_active(self) -> bool {
        matches!(self, Self::Pending | Self::InProgress | Self::Cancelling | Self::RollbackInProgress)
    }
}

pub async fn answer(state: &State, call: &Call) -> Result<Option<Reply>, Refusal> {
    let reply = match call.operation.as_str() {
        "StartInstanceRefresh" => start(state, call).await?,
        "DescribeInstanceRefreshes" => describe(state, call).await?,
        "CancelInstanceRefresh" => cancel(state, call).await?,
        "RollbackInstanceRefresh" => roll_back(state, call).await?,
        "DisableMetricsCollection" => disable_metrics(state, call).await?,
        _ => return Ok(None),
    };
    Ok(Some(reply))
}

fn now() -> String {
    jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// The instances of a group that weren't launched with `template`.
fn launched_otherwise(state: &State, group: &Element, template: Option<&Element>) -> Vec<String> {
    let memory = state.memory();
    let instances = group.members("Instances").iter();
    instances
        .map(|instance| instance.get("InstanceId").to_owned())
        .filter(|id| match (template, memory.launched_with.get(id)) {
            (Some(template), Some(launched)) => launched.get("Version") != template.get("Version"),
            _ => true,
        })
        .collect()
}

async fn start(state: &State, call: &Call) -> Result<Reply, Refusal> {
    let form = &call.form;
    let name = form.text("AutoScalingGroupName").to_owned();
    let group = groups::describe(state, call, &name).await?;
    let active = |refresh: &Refresh| refresh.status.is_active();
    if state.memory().refreshes.get(&name).is_some_and(|refreshes| refreshes.iter().any(active)) {
        let message = "An Instance Refresh is already in progress and blocks the execution of this Instance Refresh.";
        return Err(Refusal::new("InstanceRefreshInProgress", message));
    }
    let previous = group.child("LaunchTemplate").cloned();
    let wanted = form.under("DesiredConfiguration.LaunchTemplate");
    let desired = if wanted.is_empty() { None } else { Some(set_launch_template(state, call, &name, &wanted).await?) };
    let target = match desired.as_ref().or(previous.as_ref()) {
        Some(template) => Some(groups::resolve_version(state, call, template.clone()).await?),
        None => None,
    };
    let preferences = form.under("Preferences");
    let waiting = if preferences.text("SkipMatching") == "true" {
        launched_otherwise(state, &group, target.as_ref())
    } else {
        launched_otherwise(state, &group, None)
    };
    let refresh = Refresh {
        id: uuid(state),
        status: Status::Pending,
        started: now(),
        ended: None,
        strategy: form.get("Strategy").unwrap_or("Rolling").to_owned(),
        preferences: scalars(&preferences),
        desired,
        previous,
        min_healthy: preferences
            .number("MinHealthyPercentage")
            .and_then(|percent| usize::try_from(percent).ok())
            .unwrap_or(90),
        total: waiting.len(),
        waiting,
    };
    let id = refresh.id.clone();
    state.memory().refreshes.entry(name).or_default().insert(0, refresh);
    Ok(Reply::result(call, [Element::leaf("InstanceRefreshId", id)]))
}

/// Gives the group another launch template, and answers how the group names it.
async fn set_launch_template(state: &State, call: &Call, name: &str, wanted: &Form) -> Result<Element, Refusal> {
    let mut update = Form::of([("Action", "UpdateAutoScalingGroup"), ("AutoScalingGroupName", name)]);
    for (key, value) in wanted.pairs() {
        update.push(format!("LaunchTemplate.{key}"), value);
    }
    state.upstream.ask_form(call, "autoscaling", update).await?;
    let group = groups::describe(state, call, name).await?;
    group.child("LaunchTemplate").cloned().ok_or_else(|| {
        Refusal::new("ValidationError", "The desired configuration must name a launch template that exists.")
    })
}

async fn give_back(state: &State, call: &Call, name: &str, previous: &Element) -> Result<(), Refusal> {
    let wanted =
        Form::of([("LaunchTemplateId", previous.get("LaunchTemplateId")), ("Version", previous.get("Version"))]);
    set_launch_template(state, call, name, &wanted).await.map(|_| ())
}

/// The preferences are told again as they came; lists of checkpoints keep their order.
fn scalars(preferences: &Form) -> Vec<Element> {
    let mut elements: Vec<Element> = preferences
        .pairs()
        .iter()
        .filter(|(key, _)| !key.contains('.'))
        .map(|(key, value)| Element::leaf(key, value))
        .collect();
    let checkpoints = preferences.list("CheckpointPercentages");
    if !checkpoints.is_empty() {
        let members = checkpoints.iter().map(|percent| Element::leaf("member", percent));
        elements.push(Element::new("CheckpointPercentages").with_all(members));
    }
    elements
}

async fn describe(state: &State, call: &Call) -> Result<Reply, Refusal> {
    let name = call.form.text("AutoScalingGroupName").to_owned();
    groups::describe(state, call, &name).await?;
    let turn = state.turn(&call.service).await;
    if let Some(position) = position_of_active(state, &name) {
        advance(state, call, &name, position).await?;
    }
    drop(turn);
    let wanted = call.form.list("InstanceRefreshIds");
    let memory = state.memory();
    let refreshes = memory.refreshes.get(&name).map(Vec::as_slice).unwrap_or_default();
    let elements: Vec<Element> = refreshes
        .iter()
        .filter(|refresh| wanted.is_empty() || wanted.contains(&refresh.id))
        .map(|refresh| element(refresh, &name))
        .collect();
    Ok(Reply::result(call, [Element::new("InstanceRefreshes").with_all(elements)]))
}

fn position_of_active(state: &State, name: &str) -> Option<usize> {
    state.memory().refreshes.get(name)?.iter().position(|refresh| refresh.status.is_active())
}

fn change(state: &State, name: &str, position: usize, change: impl FnOnce(&mut Refresh)) {
    let mut memory = state.memory();
    if let Some(refresh) = memory.refreshes.get_mut(name).and_then(|refreshes| refreshes.get_mut(position)) {
        change(refresh);
    }
}

fn end(refresh: &mut Refresh, status: Status) {
    refresh.status = status;
    refresh.ended = Some(now());
}

async fn advance(state: &State, call: &Call, name: &str, position: usize) -> Result<(), Refusal> {
    let Some(refresh) = state.memory().refreshes.get(name).and_then(|all| all.get(position)).cloned() else {
        return Ok(());
    };
    match refresh.status {
        Status::Pending => change(state, name, position, |refresh| refresh.status = Status::InProgress),
        Status::Cancelling => change(state, name, position, |refresh| end(refresh, Status::Cancelled)),
        Status::InProgress | Status::RollbackInProgress => {
            let may_be_away = refresh.total * (100 - refresh.min_healthy.min(100)) / 100;
            let batch = may_be_away.max(1).min(refresh.waiting.len());
            for instance in &refresh.waiting[..batch] {
                groups::replace_instance(state, call, name, instance).await?;
            }
            change(state, name, position, |refresh| {
                refresh.waiting.drain(..batch);
                if refresh.waiting.is_empty() {
                    let rolling_back = refresh.status == Status::RollbackInProgress;
                    end(refresh, if rolling_back { Status::RollbackSuccessful } else { Status::Successful });
                }
            });
        }
        _ => {}
    }
    Ok(())
}

fn element(refresh: &Refresh, name: &str) -> Element {
    let done = refresh.total - refresh.waiting.len();
    let nothing_to_do = if refresh.status.is_active() { 0 } else { 100 };
    let percent = (done * 100).checked_div(refresh.total).unwrap_or(nothing_to_do);
    let mut element = Element::new("member").with_all([
        Element::leaf("InstanceRefreshId", &refresh.id),
        Element::leaf("AutoScalingGroupName", name),
        Element::leaf("Status", format!("{:?}", refresh.status)),
        Element::leaf("StartTime", &refresh.started),
        Element::leaf("PercentageComplete", percent),
        Element::leaf("InstancesToUpdate", refresh.waiting.len()),
        Element::new("Preferences").with_all(refresh.preferences.clone()),
        Element::leaf("Strategy", &refresh.strategy),
    ]);
    if let Some(ended) = &refresh.ended {
        element.set(Element::leaf("EndTime", ended));
    }
    if let Some(desired) = &refresh.desired {
        element.set(Element::new("DesiredConfiguration").with(desired.clone()));
    }
    element
}

fn active_or_refuse(state: &State, name: &str) -> Result<usize, Refusal> {
    position_of_active(state, name).ok_or_else(|| {
        let message = format!("No in progress or pending Instance Refresh found for Auto Scaling group {name}");
        Refusal::new("ActiveInstanceRefreshNotFound", message)
    })
}

async fn cancel(state: &State, call: &Call) -> Result<Reply, Refusal> {
    let name = call.form.text("AutoScalingGroupName").to_owned();
    groups::describe(state, call, &name).await?;
    let position = active_or_refuse(state, &name)?;
    let refresh = state.memory().refreshes[&name][position].clone();
    if let (Some(_), Some(previous)) = (&refresh.desired, &refresh.previous) {
        give_back(state, call, &name, previous).await?;
    }
    change(state, &name, position, |refresh| refresh.status = Status::Cancelling);
    Ok(Reply::result(call, [Element::leaf("InstanceRefreshId", refresh.id)]))
}

async fn roll_back(state: &State, call: &Call) -> Result<Reply, Refusal> {
    let name = call.form.text("AutoScalingGroupName").to_owned();
    groups::describe(state, call, &name).await?;
    let position = active_or_refuse(state, &name)?;
    let refresh = state.memory().refreshes[&name][position].clone();
    let (Some(_), Some(previous)) = (&refresh.desired, &refresh.previous) else {
        let message = "The instance refresh has no desired configuration, so it cannot be rolled back.";
        return Err(Refusal::new("IrreversibleInstanceRefresh", message));
    };
    give_back(state, call, &name, previous).await?;
    let target = groups::resolve_version(state, call, previous.clone()).await?;
    let group = groups::describe(state, call, &name).await?;
    let waiting = launched_otherwise(state, &group, Some(&target));
    change(state, &name, position, |refresh| {
        refresh.status = Status::RollbackInProgress;
        refresh.total = waiting.len();
        if waiting.is_empty() {
            end(refresh, Status::RollbackSuccessful);
        }
        refresh.waiting = waiting;
    });
    Ok(Reply::result(call, [Element::leaf("InstanceRefreshId", refresh.id)]))
}

/// The emulator only knows how to say which metrics are collected: it is told those that remain.
async fn disable_metrics(state: &State, call: &Call) -> Result<Reply, Refusal> {
    let name = call.form.text("AutoScalingGroupName");
    let disabled = call.form.list("Metrics");
    let group = groups::describe(state, call, name).await?;
    let mut enable =
        Form::of([("Action", "EnableMetricsCollection"), ("AutoScalingGroupName", name), ("Granularity", "1Minute")]);
    let enabled = group.members("EnabledMetrics").iter().map(|metric| metric.get("Metric"));
    let remaining = enabled.filter(|metric| !disabled.is_empty() && !disabled.iter().any(|name| name == metric));
    for (index, metric) in remaining.enumerate() {
        enable.push(format!("Metrics.member.{}", index + 1), metric);
    }
    state.upstream.ask_form(call, "autoscaling", enable).await?;
    Ok(Reply::result(call, []))
}

fn uuid(state: &State) -> String {
    let count: usize = state.memory().refreshes.values().map(Vec::len).sum();
    format!(
        "{:08x}-{:04x}-4000-8000-{:012x}",
        rand::random::<u32>(),
        count & 0xffff,
        rand::random::<u64>() & 0xffff_ffff_ffff
    )
}
