//! Live updates: what changes about an event, pushed to those who watch it.
//!
//! One task per watched event and process looks a few times per second and tells all watchers: the cost does not
//! grow with their number, and holds that merely expire are seen, too.

use crate::db;
use crate::error::Result;
use crate::sales::seat_map::{self, SeatStatus};
use crate::state::AppState;
use axum::response::sse::Event;
use futures::{Stream, StreamExt, stream};
use serde_json::json;
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::broadcast;

/// How often a watched event is looked at.
const PAUSE: Duration = Duration::from_millis(300);
/// Updates that a slow watcher may be behind before its stream ends.
const BACKLOG: usize = 64;

/// A message to the watchers.
#[derive(Clone)]
pub struct Update {
    name: &'static str,
    data: String,
}

impl Update {
    /// As a server-sent event.
    pub fn event(&self) -> Event {
        Event::default().event(self.name).data(&self.data)
    }
}

/// The watched events.
#[derive(Default)]
pub struct Live {
    channels: Mutex<HashMap<u64, broadcast::Sender<Update>>>,
}

/// What watchers know of an event.
#[derive(Default, PartialEq)]
struct Picture {
    available: u32,
    status: String,
    seats: HashMap<String, SeatStatus>,
}

impl Picture {
    async fn take(state: &AppState, event_id: u64) -> Result<Self> {
        let event = state.events.existing(event_id).await?;
        let seats = if event.seated { seat_map::statuses(state, event_id).await? } else { HashMap::new() };
        let status = json!(event.status).as_str().unwrap_or_default().to_owned();
        Ok(Self { available: event.available_seats, status, seats })
    }

    /// What is to be told to those who know `before`.
    fn updates(&self, before: &Self) -> Vec<Update> {
        let mut updates = Vec::new();
        if (self.available, &self.status) != (before.available, &before.status) {
            let data = json!({"availableSeats": self.available, "status": self.status}).to_string();
            updates.push(Update { name: "event", data });
        }
        let changed = self.seats.iter().filter(|(seat, status)| before.seats.get(*seat) != Some(status));
        let freed = before.seats.keys().filter(|seat| !self.seats.contains_key(*seat));
        let seats: Vec<_> = changed
            .map(|(seat, status)| json!({"seatId": seat, "status": status}))
            .chain(freed.map(|seat| json!({"seatId": seat, "status": SeatStatus::Available})))
            .collect();
        if !seats.is_empty() {
            updates.push(Update { name: "seats", data: json!(seats).to_string() });
        }
        updates
    }
}

impl Live {
    /// What is known now, and what changes from now on.
    pub async fn watch(state: &AppState, event_id: u64) -> Result<impl Stream<Item = Update> + use<>> {
        let receiver = state.live.subscribe(state, event_id);
        let first = Picture::take(state, event_id).await?.updates(&Picture::default());
        Ok(told(first, receiver))
    }

    fn subscribe(&self, state: &AppState, event_id: u64) -> broadcast::Receiver<Update> {
        let mut channels = self.channels.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(channel) = channels.get(&event_id) {
            return channel.subscribe();
        }
        let (sender, receiver) = broadcast::channel(BACKLOG);
        channels.insert(event_id, sender.clone());
        tokio::spawn(state.shutdown.clone().run_until_cancelled_owned(look(state.clone(), event_id, sender)));
        receiver
    }

    /// Forgets an event that nobody watches. False when somebody does.
    fn forget(&self, event_id: u64) -> bool {
        let mut channels = self.channels.lock().unwrap_or_else(PoisonError::into_inner);
        let unwatched = channels.get(&event_id).is_none_or(|channel| channel.receiver_count() == 0);
        if unwatched {
            channels.remove(&event_id);
        }
        unwatched
    }
}

/// Ends for a watcher that is too slow: it comes again and asks for everything. Nothing else would tell it which seats
/// became free meanwhile.
fn told(first: Vec<Update>, receiver: broadcast::Receiver<Update>) -> impl Stream<Item = Update> {
    let later = stream::unfold(receiver, |mut receiver| async { Some((receiver.recv().await.ok()?, receiver)) });
    stream::iter(first).chain(later)
}

async fn look(state: AppState, event_id: u64, sender: broadcast::Sender<Update>) {
    let mut known = Picture::default();
    while !state.live.forget(event_id) {
        match db::within(db::LONGEST, Picture::take(&state, event_id)).await {
            Ok(picture) => {
                for update in picture.updates(&known) {
                    // The last watcher may just have left.
                    let _unwatched = sender.send(update);
                }
                known = picture;
            }
            Err(error) => tracing::debug!(%error, event_id, "nothing to tell the watchers"),
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
        let mut heard = Box::pin(told(vec![update("first")], receiver));
        let _one = sender.send(update("second"));
        for expected in ["first", "second"] {
            assert_eq!(heard.next().await.expect("an update").data, expected);
        }
        for missed in ["third", "fourth", "fifth"] {
            let _one = sender.send(update(missed));
        }
        assert!(heard.next().await.is_none(), "it goes on without the third");
    }
}
