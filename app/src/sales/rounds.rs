//! Work in rounds, by event: what arrives while a round is under way waits, and then shares the next.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// What waits, by event. An event has an entry as long as somebody works for it.
pub(super) struct Rounds<J> {
    queues: Mutex<HashMap<u64, VecDeque<J>>>,
    room: usize,
}

/// What became of a job.
pub(super) enum Pushed {
    /// It waits; somebody works for its event
    Waits,
    /// It waits; whoever put it there must see to it that [`Rounds::next`] is called until nothing is left
    Opened,
    /// Too many wait already
    Full,
}

impl<J> Rounds<J> {
    /// `room` is how many may wait for one event.
    pub fn new(room: usize) -> Self {
        Self { queues: Mutex::default(), room }
    }

    fn queues(&self) -> MutexGuard<'_, HashMap<u64, VecDeque<J>>> {
        self.queues.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts a job into its event's queue.
    pub fn push(&self, event: u64, job: J) -> Pushed {
        let mut queues = self.queues();
        match queues.get_mut(&event) {
            Some(queue) if queue.len() >= self.room => Pushed::Full,
            Some(queue) => {
                queue.push_back(job);
                Pushed::Waits
            }
            None => {
                queues.insert(event, VecDeque::from([job]));
                Pushed::Opened
            }
        }
    }

    /// Whether something waits for the event.
    pub fn waits(&self, event: u64) -> bool {
        self.queues().get(&event).is_some_and(|queue| !queue.is_empty())
    }

    /// The jobs of the next round, in the order of their arrival: as many as `share` says of how many wait. None when
    /// nothing waits any more: then the next job opens the event again.
    pub fn next(&self, event: u64, share: impl FnOnce(usize) -> usize) -> Option<Vec<J>> {
        let mut queues = self.queues();
        let queue = queues.get_mut(&event)?;
        if queue.is_empty() {
            queues.remove(&event);
            return None;
        }
        let end = share(queue.len());
        Some(queue.drain(..end).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_waits_comes_in_order_and_the_first_of_all_opens() {
        let rounds = Rounds::new(3);
        assert!(matches!(rounds.push(1, 'a'), Pushed::Opened));
        assert!(matches!(rounds.push(1, 'b'), Pushed::Waits));
        assert!(matches!(rounds.push(2, 'x'), Pushed::Opened));
        assert!(matches!(rounds.push(1, 'c'), Pushed::Waits));
        assert!(matches!(rounds.push(1, 'd'), Pushed::Full));
        assert_eq!(rounds.next(1, |waiting| waiting - 1), Some(vec!['a', 'b']));
        assert!(rounds.waits(1) && !rounds.waits(3));
        assert!(matches!(rounds.push(1, 'e'), Pushed::Waits));
        assert_eq!(rounds.next(1, |waiting| waiting), Some(vec!['c', 'e']));
        assert!(!rounds.waits(1));
        assert_eq!(rounds.next(1, |waiting| waiting), None);
        assert!(matches!(rounds.push(1, 'f'), Pushed::Opened));
    }
}
