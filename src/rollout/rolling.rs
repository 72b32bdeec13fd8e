//! The rolling rollout: launch, wait for health, let an old one go, and again; watched by the service's alarms, and back to
//! the release before when it goes wrong. One loop for AWS and for the local cloud: what it does next follows from what
//! AWS shows (see [`step`](super::step)), so that a run after a crash goes on where the dead one stopped.

use aws_sdk_autoscaling::types::Tag;
use aws_sdk_cloudwatch::types::StateValue;
use std::{
    collections::BTreeSet,
    sync::Arc,
    time::{Duration, Instant},
};
use tokio_util::sync::CancellationToken;

use super::{
    errors::Errors,
    fleet::{Fleet, State},
    release,
    step::{Step, next},
};
use crate::{
    aws::{Class, Context, Error, tags},
    engine::{Event, Observer},
};

/// What a rollout is to know.
pub struct Rollout<'a> {
    pub cx: &'a Context,
    pub service: &'a str,
    /// The auto-scaling group's name.
    pub group: &'a str,
    /// Names of the alarms that end it.
    pub alarms: Vec<String>,
    /// So many answers with 5xx within five minutes are borne.
    pub errors: u32,
    /// How long new instances may take until they are healthy.
    pub patience: Duration,
    /// How long all must be well before it counts as done.
    pub bake: Duration,
    pub observer: &'a dyn Observer,
    pub stop: CancellationToken,
    /// Asked before every call that changes something: whether the lock is still ours.
    pub permit: Arc<dyn Fn() -> Result<(), String> + Send + Sync>,
}

/// How it ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ending {
    /// Every instance runs the release.
    Done { release: u64, replaced: usize },
    /// It went wrong, and every instance runs the release before again.
    RolledBack { from: u64, to: u64, why: String },
    /// It went wrong, and there is no release before.
    Failed { release: u64, why: String },
}

/// Why it could not be carried to an end; the next run goes on.
#[derive(Debug, thiserror::Error)]
pub enum Trouble {
    #[error(transparent)]
    Aws(#[from] Error),
    #[error("{0}")]
    LockLost(String),
    #[error("the rollout was stopped in the middle")]
    Stopped,
    #[error("going back to release {to} after \"{why}\" doesn't get healthy either: {again}")]
    NoWayBack { to: u64, why: String, again: String },
    #[error("there is no auto-scaling group {0}")]
    NoGroup(String),
}

/// One direction of it.
struct Aim {
    release: u64,
    batch: i32,
    bake: Duration,
    /// The alarms that count: those that weren't going off before.
    alarms: Vec<String>,
    errors: Option<Errors>,
}

impl Rollout<'_> {
    /// Replaces every instance that doesn't run the group's release, and gives up on trouble.
    ///
    /// # Errors
    /// What kept it from coming to an end.
    pub async fn run(&self) -> Result<Ending, Trouble> {
        let fleet = self.look().await?;
        let size = self.begin(&fleet).await?;
        let replaced = fleet.present().filter(|member| member.release != fleet.release).count();
        let previous = release::previous(self.cx, &fleet.template, fleet.release).await?;
        // The first release has nothing to go back to, so there is nothing to decide after it; and a service without a
        // healthy instance is as it must be before it.
        let (bake, alarms, errors) = match previous {
            Some(_) => {
                let loud = self.going_off(&self.alarms).await?;
                let alarms = self.alarms.iter().filter(|name| !loud.contains(*name)).cloned().collect();
                // While none is healthy, requests go to those that aren't, too.
                let errors = match fleet.count(State::Healthy) {
                    0 => None,
                    _ => Some(Errors::begin(self.cx, &fleet.target_groups, self.errors).await?),
                };
                (self.bake, alarms, errors)
            }
            None => (Duration::ZERO, Vec::new(), None),
        };
        let aim = Aim { release: fleet.release, batch: (size + 3) / 4, bake, alarms, errors };
        let why = match self.reach(&aim, size).await? {
            Ok(()) => {
                release::redeem(self.cx, &fleet.template, fleet.release).await?;
                self.finish().await?;
                return Ok(Ending::Done { release: fleet.release, replaced });
            }
            Err(why) => why,
        };
        let Some(to) = previous else {
            return Ok(Ending::Failed { release: fleet.release, why });
        };
        self.back(&fleet, to, why).await
    }

    /// Goes back to an earlier release, and remembers that the present one was given up.
    ///
    /// # Errors
    /// What kept it from coming to an end.
    pub async fn back_to(&self, to: u64, why: String) -> Result<Ending, Trouble> {
        let fleet = self.look().await?;
        self.begin(&fleet).await?;
        self.back(&fleet, to, why).await
    }

    async fn back(&self, fleet: &Fleet, to: u64, why: String) -> Result<Ending, Trouble> {
        let from = fleet.release;
        self.tell(&format!("back to release {to}: {why}"));
        self.permitted()?;
        release::go_back(self.cx, self.group, &fleet.template, from, to).await?;
        let size = self.begin(&self.look().await?).await?;
        // In a hurry: as many at once as the service needs.
        let aim = Aim { release: to, batch: size.max(1), bake: Duration::ZERO, alarms: Vec::new(), errors: None };
        match self.reach(&aim, size).await? {
            Ok(()) => {
                self.finish().await?;
                Ok(Ending::RolledBack { from, to, why })
            }
            Err(again) => Err(Trouble::NoWayBack { to, why, again }),
        }
    }

    /// Steps until every instance runs the release and nothing has gone wrong for the time of the bake. `Ok(Err(why))`:
    /// it has gone wrong.
    async fn reach(&self, aim: &Aim, mut size: i32) -> Result<Result<(), String>, Trouble> {
        let (mut told, mut best, mut moved) = (String::new(), (usize::MAX, 0), Instant::now());
        let mut good_since: Option<Instant> = None;
        // What the group should want, as far as this loop knows; another number is auto scaling's doing.
        let mut expected: Option<i32> = None;
        loop {
            if let Some(alarm) = self.going_off(&aim.alarms).await?.into_iter().next() {
                return Ok(Err(format!("alarm {alarm} went off")));
            }
            if let Some(errors) = &aim.errors
                && let Some(why) = errors.trouble(self.cx).await?
            {
                return Ok(Err(why));
            }
            let fleet = self.look().await?;
            if let Some(expected) = expected {
                size = (size + fleet.desired - expected).clamp(fleet.min, fleet.max.max(fleet.min));
            }
            expected = Some(fleet.desired);
            let old = fleet.present().filter(|member| member.release != aim.release).count();
            let new = fleet.present().filter(|m| m.release == aim.release && m.state == State::Healthy).count();
            if old < best.0 || new > best.1 {
                (best, moved) = ((old.min(best.0), new.max(best.1)), Instant::now());
            }
            let step = next(&fleet, aim.release, size, aim.batch);
            let text = words(&step, aim, size);
            if text != told {
                self.tell(&text);
                told = text;
            }
            match step {
                Step::Finished => {
                    let since = *good_since.get_or_insert_with(Instant::now);
                    if since.elapsed() >= aim.bake {
                        return Ok(Ok(()));
                    }
                }
                // Its requests are being finished: that has its own time, and nothing depends on it.
                Step::Drain(_) if moved.elapsed() > self.patience => return Ok(Ok(())),
                Step::Drain(_) => {}
                Step::Wait(text) => {
                    if good_since.take().is_some() {
                        moved = Instant::now();
                    }
                    if moved.elapsed() > self.patience {
                        let seconds = self.patience.as_secs();
                        return Ok(Err(format!("no progress in {seconds} s: {text}")));
                    }
                }
                step => {
                    self.permitted()?;
                    match self.act(&fleet, step).await {
                        Ok(desired) => expected = Some(desired),
                        // Nobody knows what became of the call: what AWS shows next decides, whatever it wants.
                        Err(error) if matches!(error.class(), Class::Retry | Class::Conflict) => expected = None,
                        Err(error) => return Err(error.into()),
                    }
                }
            }
            self.pause().await?;
        }
    }

    /// Carries a step out; the answer is what the group wants from then on.
    async fn act(&self, fleet: &Fleet, step: Step) -> Result<i32, Error> {
        let cx = self.cx.fenced(self.permit.clone());
        match step {
            Step::Launch(count) => {
                let desired = fleet.desired + count;
                let update = cx.autoscaling.update_auto_scaling_group().auto_scaling_group_name(self.group);
                let update = update.desired_capacity(desired);
                // A full group gets room for as long as the rollout lasts.
                let update = if desired > fleet.max { update.max_size(desired) } else { update };
                update.send().await?;
                Ok(desired)
            }
            Step::Terminate(ids) => {
                for id in &ids {
                    let call = cx.autoscaling.terminate_instance_in_auto_scaling_group().instance_id(id);
                    call.should_decrement_desired_capacity(true).send().await?;
                }
                Ok(fleet.desired - i32::try_from(ids.len()).unwrap_or_default())
            }
            Step::Shrink(count) => {
                let desired = fleet.desired - count;
                let call = cx.autoscaling.set_desired_capacity().auto_scaling_group_name(self.group);
                call.desired_capacity(desired).honor_cooldown(false).send().await?;
                Ok(desired)
            }
            Step::Wait(_) | Step::Drain(_) | Step::Finished => Ok(fleet.desired),
        }
    }

    /// Notes in the group's tags that a rollout is under way and what the group's size is without it: after a crash
    /// nothing else would tell. The answer is the size.
    async fn begin(&self, fleet: &Fleet) -> Result<i32, Trouble> {
        if let Some(marker) = fleet.tags.get(tags::ROLLOUT).and_then(|text| Marker::parse(text)) {
            return Ok(marker.size.max(fleet.min));
        }
        self.permitted()?;
        let marker = Marker { size: fleet.desired, max: fleet.max };
        let tag = self.tag().value(marker.to_string()).propagate_at_launch(false).build();
        self.cx.autoscaling.create_or_update_tags().tags(tag).send().await.map_err(Error::from)?;
        Ok(fleet.desired)
    }

    /// Gives the group back the room it had, and takes the note away.
    async fn finish(&self) -> Result<(), Trouble> {
        self.permitted()?;
        let fleet = self.look().await?;
        if let Some(marker) = fleet.tags.get(tags::ROLLOUT).and_then(|text| Marker::parse(text))
            && marker.max < fleet.max
        {
            let update = self.cx.autoscaling.update_auto_scaling_group().auto_scaling_group_name(self.group);
            update.max_size(marker.max.max(fleet.desired)).send().await.map_err(Error::from)?;
        }
        self.cx.autoscaling.delete_tags().tags(self.tag().build()).send().await.map_err(Error::from)?;
        Ok(())
    }

    fn tag(&self) -> aws_sdk_autoscaling::types::builders::TagBuilder {
        Tag::builder().resource_id(self.group).resource_type("auto-scaling-group").key(tags::ROLLOUT)
    }

    pub(super) async fn look(&self) -> Result<Fleet, Trouble> {
        let fleet = Fleet::look(self.cx, self.group).await?;
        fleet.ok_or_else(|| Trouble::NoGroup(self.group.to_owned()))
    }

    /// Those of the alarms that are going off.
    pub(super) async fn going_off(&self, alarms: &[String]) -> Result<BTreeSet<String>, Trouble> {
        if alarms.is_empty() {
            return Ok(BTreeSet::new());
        }
        let call = self.cx.cloudwatch.describe_alarms().set_alarm_names(Some(alarms.to_vec()));
        let answer = call.send().await.map_err(Error::from)?;
        let loud = answer.metric_alarms().iter().filter(|alarm| alarm.state_value() == Some(&StateValue::Alarm));
        Ok(loud.filter_map(|alarm| alarm.alarm_name()).map(str::to_owned).collect())
    }

    pub(super) async fn pause(&self) -> Result<(), Trouble> {
        // Emulators have no rate limits.
        let pause = Duration::from_millis(if self.cx.endpoint_url.is_some() { 500 } else { 5000 });
        tokio::select! {
            () = tokio::time::sleep(pause) => Ok(()),
            () = self.stop.cancelled() => {
                self.permitted()?;
                Err(Trouble::Stopped)
            }
        }
    }

    pub(super) fn permitted(&self) -> Result<(), Trouble> {
        (self.permit)().map_err(Trouble::LockLost)
    }

    pub(super) fn tell(&self, text: &str) {
        self.observer.observe(&Event::Rollout { service: self.service.to_owned(), text: text.to_owned() });
    }
}

fn words(step: &Step, aim: &Aim, size: i32) -> String {
    let release = aim.release;
    match step {
        Step::Launch(1) => format!("one more instance, of release {release}"),
        Step::Launch(count) => format!("{count} more instances, of release {release}"),
        Step::Terminate(ids) => format!("{} can go", ids.join(", ")),
        Step::Shrink(count) => format!("{count} too many"),
        Step::Wait(text) => text.clone(),
        Step::Drain(count) => format!("{count} on their way out"),
        Step::Finished if aim.bake.is_zero() => format!("all {size} healthy on release {release}"),
        Step::Finished => format!("all {size} healthy on release {release}; watching for {} s", aim.bake.as_secs()),
    }
}

/// What a group was like before the rollout.
#[derive(Debug, PartialEq, Eq)]
pub struct Marker {
    pub size: i32,
    pub max: i32,
}

impl Marker {
    pub fn parse(text: &str) -> Option<Marker> {
        let (size, max) = text.strip_prefix("size ")?.split_once(" of ")?;
        Some(Marker { size: size.parse().ok()?, max: max.parse().ok()? })
    }
}

impl std::fmt::Display for Marker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "size {} of {}", self.size, self.max)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_marker_says_what_it_was_made_of() {
        let marker = Marker { size: 2, max: 20 };
        assert_eq!(Marker::parse(&marker.to_string()), Some(marker));
        assert_eq!(Marker::parse("2"), None);
    }
}
