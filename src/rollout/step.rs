//! What a rolling rollout does next: decided by nothing but what AWS shows, so that whoever comes after a crash goes on
//! from there.

use std::collections::BTreeMap;

use super::fleet::{Fleet, Member, State};

/// The next thing to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Launch so many instances more than the service needs.
    Launch(i32),
    /// These can go: the service has enough without them. The group shrinks by as many.
    Terminate(Vec<String>),
    /// What was launched on top is one too many: the group shrinks, and chooses itself.
    Shrink(i32),
    /// In words, for what.
    Wait(String),
    /// All that is left is on its way out.
    Drain(usize),
    /// Every instance runs the release and takes requests.
    Finished,
}

/// Decides. `size` is how many instances the service needs; what the group wants beyond that was launched for the rollout.
/// `batch` is how many are replaced at once.
///
/// New instances come first, and an old one goes when there are enough that take requests without it. So no request is lost,
/// and what never gets healthy replaces nothing.
pub fn next(fleet: &Fleet, release: u64, size: i32, batch: i32) -> Step {
    let (new, old): (Vec<&Member>, Vec<&Member>) = fleet.present().partition(|member| member.release == release);
    let count = |members: &[&Member], state: State| {
        i32::try_from(members.iter().filter(|member| member.state == state).count()).unwrap_or(i32::MAX)
    };
    let (new_healthy, old_healthy) = (count(&new, State::Healthy), count(&old, State::Healthy));
    let extra = (fleet.desired - size).max(0);
    let present = i32::try_from(new.len() + old.len()).unwrap_or(i32::MAX);
    if old.is_empty() {
        return match fleet.count(State::Leaving) {
            _ if new_healthy < size => {
                Step::Wait(format!("{new_healthy} of {size} healthy on release {release}{}", why(&new)))
            }
            _ if extra > 0 => Step::Shrink(extra),
            0 => Step::Finished,
            leaving => Step::Drain(leaving),
        };
    }
    let all: Vec<&Member> = fleet.present().collect();
    let leave = dispensable(&old, &all, (present - size).min(extra), new_healthy + old_healthy - size);
    if !leave.is_empty() {
        return Step::Terminate(leave);
    }
    let wanted = batch.min(i32::try_from(old.len()).unwrap_or(i32::MAX)).max(1);
    if extra < wanted {
        return Step::Launch(wanted - extra);
    }
    let left = old.len();
    Step::Wait(format!("{new_healthy} healthy on release {release}, {left} to be replaced{}", why(&new)))
}

/// The old instances that can go: `spare` at most, and of the healthy ones no more than `spare_healthy`.
fn dispensable(old: &[&Member], all: &[&Member], mut spare: i32, mut spare_healthy: i32) -> Vec<String> {
    let mut crowd: BTreeMap<&str, usize> = BTreeMap::new();
    for member in all {
        *crowd.entry(&member.zone).or_default() += 1;
    }
    // What takes no requests goes first, then from the zone that has most instances, new ones too.
    let mut order = old.to_vec();
    order.sort_by_key(|member| (member.state, std::cmp::Reverse(crowd[member.zone.as_str()]), member.id.clone()));
    let mut leave = Vec::new();
    for member in order {
        let healthy = member.state == State::Healthy;
        if spare > 0 && (!healthy || spare_healthy > 0) {
            spare -= 1;
            spare_healthy -= i32::from(healthy);
            leave.push(member.id.clone());
        }
    }
    leave
}

/// Why an instance isn't healthy yet, as far as AWS says.
fn why(new: &[&Member]) -> String {
    let waiting = new.iter().filter(|member| member.state != State::Healthy);
    let mut reasons = waiting.filter_map(|member| Some(format!("{}: {}", member.id, member.reason.as_deref()?)));
    reasons.next().map(|reason| format!(" ({reason})")).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fleet(desired: i32, members: &[(&str, u64, State)]) -> Fleet {
        let member = |(index, (id, release, state)): (usize, &(&str, u64, State))| Member {
            id: (*id).into(),
            zone: if index % 2 == 0 { "a" } else { "c" }.into(),
            release: *release,
            state: *state,
            reason: (*state == State::Unhealthy).then(|| "502".into()),
        };
        let members = members.iter().enumerate().map(member).collect();
        Fleet { min: 2, max: 20, desired, release: 5, members, ..Fleet::default() }
    }

    use State::{Healthy, Leaving, Starting, Unhealthy};

    #[test]
    fn new_ones_come_before_old_ones_go() {
        let begin = fleet(2, &[("a", 4, Healthy), ("b", 4, Healthy)]);
        assert_eq!(next(&begin, 5, 2, 1), Step::Launch(1));
        // Launched, but not listed yet; then listed, but not healthy.
        let launched = fleet(3, &[("a", 4, Healthy), ("b", 4, Healthy)]);
        assert!(matches!(next(&launched, 5, 2, 1), Step::Wait(_)));
        let starting = fleet(3, &[("a", 4, Healthy), ("b", 4, Healthy), ("n", 5, Starting)]);
        assert!(matches!(next(&starting, 5, 2, 1), Step::Wait(_)));
        let healthy = fleet(3, &[("a", 4, Healthy), ("b", 4, Healthy), ("n", 5, Healthy)]);
        assert_eq!(next(&healthy, 5, 2, 1), Step::Terminate(vec!["a".into()]));
        // The new one came up beside b: b goes, and the zones stay even.
        let beside = fleet(3, &[("a", 4, Healthy), ("b", 4, Healthy), ("", 4, Leaving), ("n", 5, Healthy)]);
        assert_eq!(next(&beside, 5, 2, 1), Step::Terminate(vec!["b".into()]));
        let half = fleet(2, &[("a", 4, Leaving), ("b", 4, Healthy), ("n", 5, Healthy)]);
        assert_eq!(next(&half, 5, 2, 1), Step::Launch(1));
        let last = fleet(2, &[("b", 4, Leaving), ("n", 5, Healthy), ("m", 5, Healthy)]);
        assert_eq!(next(&last, 5, 2, 1), Step::Drain(1));
        assert_eq!(next(&fleet(2, &[("n", 5, Healthy), ("m", 5, Healthy)]), 5, 2, 1), Step::Finished);
    }

    #[test]
    fn what_never_gets_healthy_replaces_nothing() {
        let bad = fleet(3, &[("a", 4, Healthy), ("b", 4, Healthy), ("n", 5, Unhealthy)]);
        let Step::Wait(text) = next(&bad, 5, 2, 1) else { panic!("nothing may go") };
        assert!(text.contains("n: 502"), "{text}");
        // On the way back it goes, and the group has its size again.
        assert_eq!(next(&bad, 4, 2, 2), Step::Terminate(vec!["n".into()]));
        assert_eq!(next(&fleet(2, &[("a", 4, Healthy), ("b", 4, Healthy)]), 4, 2, 2), Step::Finished);
    }

    #[test]
    fn what_is_broken_already_can_be_mended() {
        let broken = fleet(2, &[("a", 4, Unhealthy), ("b", 4, Unhealthy)]);
        assert_eq!(next(&broken, 5, 2, 1), Step::Launch(1));
        let first = fleet(3, &[("a", 4, Unhealthy), ("b", 4, Unhealthy), ("n", 5, Healthy)]);
        assert_eq!(next(&first, 5, 2, 1), Step::Terminate(vec!["a".into()]));
    }

    #[test]
    fn what_a_dead_run_launched_on_top_goes_again() {
        let left = fleet(3, &[("n", 5, Healthy), ("m", 5, Healthy), ("o", 5, Healthy)]);
        assert_eq!(next(&left, 5, 2, 1), Step::Shrink(1));
    }

    #[test]
    fn batches_keep_the_size_throughout() {
        // Every order of events ends with the new release alone, never with fewer healthy ones than the size.
        let mut members: Vec<(String, u64, State)> = (0..7).map(|n| (format!("o{n}"), 4, Healthy)).collect();
        let (size, mut desired) = (7, 7);
        for turn in 0..200 {
            let borrowed: Vec<_> = members.iter().map(|(id, release, state)| (id.as_str(), *release, *state)).collect();
            let healthy = borrowed.iter().filter(|(_, _, state)| *state == Healthy).count();
            assert!(healthy >= 7, "{members:?}");
            match next(&fleet(desired, &borrowed), 5, size, 2) {
                Step::Launch(count) => {
                    desired += count;
                    members.extend((0..count).map(|n| (format!("n{turn}-{n}"), 5, Starting)));
                }
                Step::Terminate(ids) => {
                    desired -= i32::try_from(ids.len()).expect("few");
                    members.iter_mut().filter(|(id, ..)| ids.contains(id)).for_each(|(_, _, state)| *state = Leaving);
                }
                Step::Wait(_) => {
                    if let Some(first) = members.iter_mut().find(|(_, _, state)| *state == Starting) {
                        first.2 = Healthy;
                    }
                }
                Step::Drain(_) => members.retain(|(_, _, state)| *state != Leaving),
                Step::Shrink(_) => panic!("nothing was one too many"),
                Step::Finished => {
                    assert_eq!((members.len(), desired), (7, 7));
                    assert!(members.iter().all(|(_, release, _)| *release == 5));
                    return;
                }
            }
        }
        panic!("it never ends: {members:?}");
    }
}
