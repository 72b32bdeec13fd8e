//! Live updates: what changes about an event, pushed to those who watch it.
//!
//! One task per watched event and process looks a few times per second and tells all watchers: the cost does not
//! grow with their number, and holds that merely expire are seen, too. Who comes is told what that task knows.

use crate::db;
use crate::error::{ApiError, Result};
use crate::sales::seat_map::{self, SeatStatus};
use crate::state::AppState;
use axum::response::sse::Event;
use futures::{Stream, StreamExt, stream};
use serde_json::{Value, json};
use std::collections::{BTreeMap, HashMap};
use std::ops::Bound::{Excluded, Unbounded};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::{broadcast, watch};

/// How often a watched event is looked at.
const PAUSE: Duration = Duration::from_millis(300);
/// Updates that a slow watcher may be behind before its stream ends.
const BACKLOG: usize = 64;
/// Seats in one message to who begins to watch.
const PIECE: usize = 1000;

/// A message to the watchers.
#[derive(Clone)]
pub struct Update {
    name: &'static str,
    data: Arc<str>,
}

impl Update {
    fn seats(seats: Vec<Value>) -> Self {
        Self { name: "seats", data: json!(seats).to_string().into() }
    }

    /// As a server-sent event.
    pub fn event(&self) -> Event {
        Event::default().event(self.name).data(&self.data)
    }
}

/// The watched events.
#[derive(Default)]
pub struct Live {
    channels: Mutex<HashMap<u64, Channel>>,
}

/// How watchers of an event hear of it.
#[derive(Clone)]
struct Channel {
    updates: broadcast::Sender<Update>,
    known: watch::Receiver<Known>,
}

/// What is known to who has heard all updates: none before the first look.
type Known = Option<Result<Arc<Picture>>>;

/// What watchers know of an event.
#[derive(Default, PartialEq)]
struct Picture {
    available: u32,
    status: String,
    seats: BTreeMap<String, SeatStatus>,
}

impl Picture {
    async fn take(state: &AppState, event_id: u64) -> Result<Self> {
        let event = state.events.existing(event_id).await?;
        let seats = if event.seated { seat_map::statuses(state, event_id).await? } else { HashMap::new() };
        let status = json!(event.status).as_str().unwrap_or_default().to_owned();
        Ok(Self { available: event.available_seats, status, seats: seats.into_iter().collect() })
    }

    fn numbers(&self) -> Update {
        let data = json!({"availableSeats": self.available, "status": self.status}).to_string();
        Update { name: "event", data: data.into() }
    }

    /// What is to be told to those who know `before`.
    fn updates(&self, before: &Self) -> Vec<Update> {
        let mut updates = Vec::new();
        if (self.available, &self.status) != (before.available, &before.status) {
            updates.push(self.numbers());
        }
        let changed = self.seats.iter().filter(|(seat, status)| before.seats.get(*seat) != Some(status));
        let freed = before.seats.keys().filter(|seat| !self.seats.contains_key(*seat));
        let seats: Vec<_> = changed
            .map(|(seat, status)| json!({"seatId": seat, "status": status}))
            .chain(freed.map(|seat| json!({"seatId": seat, "status": SeatStatus::Available})))
            .collect();
        if !seats.is_empty() {
            updates.push(Update::seats(seats));
        }
        updates
    }

    /// Some of the seats after this one, and the last of them; none when there are no more.
    fn piece(&self, after: &str) -> Option<(Update, String)> {
        let seats = self.seats.range::<str, _>((Excluded(after), Unbounded)).take(PIECE);
        let (ids, seats): (Vec<_>, Vec<_>) =
            seats.map(|(seat, status)| (seat, json!({"seatId": seat, "status": status}))).unzip();
        Some((Update::seats(seats), (*ids.last()?).clone()))
    }
}

impl Live {
    /// What is known now, and what changes from now on.
    pub async fn watch(state: &AppState, event_id: u64) -> Result<impl Stream<Item = Update> + use<>> {
        state.events.existing(event_id).await?;
        let (mut channel, _watching) = state.live.subscribe(state, event_id);
        let looked = channel.known.wait_for(Option::is_some).await.is_ok();
        let ending = || ApiError::unavailable("stopping", "this instance is about to end");
        if !looked {
            return Err(ending());
        }
        let (first, receiver) = {
            // Nothing is told while this is borrowed: no update is missed, and none is before the picture.
            let known = channel.known.borrow();
            (known.clone().ok_or_else(ending)??.numbers(), channel.updates.subscribe())
        };
        Ok(told(stream::iter([first]).chain(pieces(channel.known)), receiver))
    }

    fn subscribe(&self, state: &AppState, event_id: u64) -> (Channel, broadcast::Receiver<Update>) {
        let mut channels = self.channels.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(channel) = channels.get(&event_id) {
            return (channel.clone(), channel.updates.subscribe());
        }
        let (updates, receiver) = broadcast::channel(BACKLOG);
        let (sender, known) = watch::channel(None);
        let channel = Channel { updates: updates.clone(), known };
        channels.insert(event_id, channel.clone());
        tokio::spawn(state.shutdown.clone().run_until_cancelled_owned(look(state.clone(), event_id, updates, sender)));
        (channel, receiver)
    }

    /// Forgets an event that nobody watches. False when somebody does.
    fn forget(&self, event_id: u64) -> bool {
        let mut channels = self.channels.lock().unwrap_or_else(PoisonError::into_inner);
        let unwatched = channels.get(&event_id).is_none_or(|channel| channel.updates.receiver_count() == 0);
        if unwatched {
            channels.remove(&event_id);
        }
        unwatched
    }
}

/// The seats that cannot be had, a piece at a time, so that a watcher needs no memory for all of them. Each piece is of the
/// picture that is known by then: what has changed since the first one comes again, with the updates.
fn pieces(known: watch::Receiver<Known>) -> impl Stream<Item = Update> {
    stream::unfold((known, String::new()), |(known, last)| async move {
        let picture = known.borrow().clone()?.ok()?;
        let (update, last) = picture.piece(&last)?;
        Some((update, (known, last)))
    })
}

/// Ends for a watcher that is too slow: it comes again and asks for everything. Nothing else would tell it which seats
/// became free meanwhile.
fn told(first: impl Stream<Item = Update>, receiver: broadcast::Receiver<Update>) -> impl Stream<Item = Update> {
    let later = stream::unfold(receiver, |mut receiver| async { Some((receiver.recv().await.ok()?, receiver)) });
    first.chain(later)
}

async fn look(state: AppState, event_id: u64, updates: broadcast::Sender<Update>, known: watch::Sender<Known>) {
    let mut before: Option<Arc<Picture>> = None;
    while !state.live.forget(event_id) {
        match db::within(db::LONGEST, Picture::take(&state, event_id)).await {
            Ok(picture) => {
                let picture = Arc::new(picture);
                let changes = before.as_ref().map_or_else(Vec::new, |before| picture.updates(before));
                known.send_modify(|known| {
                    for update in changes {
                        // The last watcher may just have left.
                        let _unwatched = updates.send(update);
                    }
                    *known = Some(Ok(picture.clone()));
                });
                before = Some(picture);
            }
            Err(error) => {
                tracing::debug!(%error, event_id, "nothing to tell the watchers");
                // Who knows something already waits for more.
                known.send_if_modified(|known| {
                    let nothing = !matches!(known, Some(Ok(_)));
                    if nothing {
                        *known = Some(Err(error));
                    }
                    nothing
                });
            }
        }
        tokio::time::sleep(PAUSE).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_watcher_hears_everything_or_the_end() {
        let update = |data: &str| Update { name: "seats", data: data.into() };
        let (sender, receiver) = broadcast::channel(2);
        let mut heard = Box::pin(told(stream::iter([update("first")]), receiver));
        let _one = sender.send(update("second"));
        for expected in ["first", "second"] {
            assert_eq!(&*heard.next().await.expect("an update").data, expected);
        }
        for missed in ["third", "fourth", "fifth"] {
            let _one = sender.send(update(missed));
        }
        assert!(heard.next().await.is_none(), "it goes on without the third");
    }
}
