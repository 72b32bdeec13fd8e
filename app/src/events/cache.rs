//! Events as readers see them: cache-aside in this process and in Redis, under versioned keys.

use super::direct::DirectReader;
use super::layout::{self, Layout};
use super::list::{EventPage, ListQuery};
use super::versions::{Scope, Versions};
use super::{EventView, store};
use crate::error::{ApiError, Result};
use crate::kv::Kv;
use crate::random;
use bytes::Bytes;
use moka::future::Cache;
use moka::policy::EvictionPolicy;
use serde::Serialize;
use serde::de::DeserializeOwned;
use sqlx::MySqlPool;
use std::hash::Hash;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;

/// How long an entry lives in Redis, in seconds (with jitter).
const SHARED_SECONDS: u64 = 300;
/// How long an entry lives in this process.
const LOCAL_TIME: Duration = Duration::from_secs(60);
/// How long a list lives in this process. Lists show numbers that change with every sale, so their version does
/// not: they may be this old.
const LIST_TIME: Duration = Duration::from_secs(1);
/// How long what was read last is kept for the time in which the database cannot be read.
const LAST_TIME: Duration = Duration::from_secs(3600);
/// Bytes of JSON of all lists together that are kept for that.
const LISTS_KEPT: u64 = 8 << 20;
/// How long a layout lives in this process. It does not change.
const SEATS_TIME: Duration = Duration::from_secs(600);
/// Reads that may go to the database at once while there is no Redis.
const UNCACHED_READS: usize = 8;
/// Seats of all layouts together that are kept in this process, at most.
const SEATS_KEPT: u64 = 500_000;

/// A value and its JSON, made once.
pub struct Entry<V> {
    /// The value
    pub value: V,
    /// The value as it is sent
    pub json: Bytes,
}

impl<V: Serialize> Entry<V> {
    /// Makes the JSON.
    pub fn new(value: V) -> Result<Arc<Self>> {
        let json = serde_json::to_vec(&value).map_err(ApiError::internal)?.into();
        Ok(Arc::new(Self { value, json }))
    }
}

/// An event that may not exist: that answer is cached, too.
pub type EventEntry = Arc<Entry<Option<EventView>>>;

/// The cache. Cheap to clone.
#[derive(Clone)]
pub struct EventCache {
    db: MySqlPool,
    kv: Kv,
    versions: Versions,
    events: Cache<(u64, u64), EventEntry>,
    settings: Cache<(u64, u64), Option<Arc<EventView>>>,
    lists: Cache<(u64, ListQuery), Arc<Entry<EventPage>>>,
    layouts: Cache<u64, Arc<Layout>>,
    /// What was read last, for when there is no database: under the same version an event is still as it was
    last_events: Cache<u64, (u64, EventEntry)>,
    last_lists: Cache<ListQuery, Arc<Entry<EventPage>>>,
    direct: DirectReader,
    uncached: Arc<Semaphore>,
}

impl EventCache {
    /// Must be called within a tokio runtime.
    pub fn new(db: MySqlPool, kv: Kv) -> Self {
        Self {
            versions: Versions::new(kv.clone()),
            events: Cache::builder().max_capacity(2_000).time_to_live(LOCAL_TIME).build(),
            settings: Cache::builder().max_capacity(2_000).time_to_live(LOCAL_TIME).build(),
            lists: Cache::builder().max_capacity(1_000).time_to_live(LIST_TIME).build(),
            layouts: Cache::builder()
                .max_capacity(SEATS_KEPT)
                .weigher(|_, layout: &Arc<Layout>| u32::try_from(layout.seats.len()).unwrap_or(u32::MAX))
                .time_to_live(SEATS_TIME)
                .build(),
            last_events: Cache::builder().max_capacity(2_000).time_to_live(LAST_TIME).build(),
            last_lists: Cache::builder()
                .max_capacity(LISTS_KEPT)
                .weigher(|_, page: &Arc<Entry<EventPage>>| u32::try_from(page.json.len()).unwrap_or(u32::MAX))
                .eviction_policy(EvictionPolicy::lru())
                .time_to_live(LAST_TIME)
                .build(),
            direct: DirectReader::new(db.clone()),
            uncached: Arc::new(Semaphore::new(UNCACHED_READS)),
            db,
            kv,
        }
    }

    /// The versions that entries are stored under.
    pub fn versions(&self) -> &Versions {
        &self.versions
    }

    /// An event, as new as the last answer that told about it.
    pub async fn get(&self, id: u64) -> Result<EventEntry> {
        let Some(version) = self.versions.current(id).await else {
            return self.direct.read(id).await;
        };
        let load = || async {
            let entry = self.shared(&format!("event:{{{id}}}:{version}"), store::by_id(&self.db, id)).await?;
            self.last_events.insert(id, (version, entry.clone())).await;
            Ok(entry)
        };
        let entry = once(&self.events, (id, version), load).await;
        let last = async || Some(self.last_events.get(&id).await.filter(|(known, _)| *known == version)?.1);
        or_last(entry, last).await
    }

    /// The event, or 404.
    pub async fn existing(&self, id: u64) -> Result<EventView> {
        let entry = self.get(id).await?;
        entry.value.clone().ok_or_else(|| ApiError::not_found("event"))
    }

    /// What of an event only an ADMIN changes, or 404; what is left of it may be of any age. Sales do not outdate it.
    pub async fn settings(&self, id: u64) -> Result<Arc<EventView>> {
        let entry = match self.versions.current(Scope::Settings(id)).await {
            Some(version) => {
                let load = || async {
                    hit("database");
                    Ok(store::by_id(&self.db, id).await?.map(Arc::new))
                };
                once(&self.settings, (id, version), load).await?
            }
            None => self.direct.read(id).await?.value.clone().map(Arc::new),
        };
        entry.ok_or_else(|| ApiError::not_found("event"))
    }

    /// The seats of an existing event.
    pub async fn layout(&self, id: u64) -> Result<Arc<Layout>> {
        let load = || async {
            hit("database");
            layout::load(&self.db, id).await.map(Arc::new)
        };
        once(&self.layouts, id, load).await
    }

    /// A page of events. Its numbers may be a second old, and without a database as old as the last time it was read.
    pub async fn list(&self, query: ListQuery) -> Result<Arc<Entry<EventPage>>> {
        let load = || async {
            hit("database");
            let page = Entry::new(super::list::load(&self.db, &query).await?)?;
            self.last_lists.insert(query.clone(), page.clone()).await;
            Ok(page)
        };
        let page = match self.versions.current(Scope::Lists).await {
            Some(version) => once(&self.lists, (version, query.clone()), load).await,
            None => Box::pin(self.uncached(load())).await,
        };
        or_last(page, async || self.last_lists.get(&query).await).await
    }

    /// To be called when an event has come or changed, after the commit.
    pub async fn changed(&self, id: u64) {
        for scope in [Scope::Event(id), Scope::Settings(id), Scope::Lists] {
            self.versions.bump(scope).await;
        }
    }

    /// Redis first, then `load`.
    async fn shared<V: Serialize + DeserializeOwned>(
        &self,
        key: &str,
        load: impl Future<Output = Result<V>>,
    ) -> Result<Arc<Entry<V>>> {
        let found: Option<Vec<u8>> = match self.kv.run(&redis::Cmd::get(key)).await {
            Ok(found) => found,
            Err(error) => {
                tracing::debug!(%error, key, "the shared cache could not be read");
                None
            }
        };
        if let Some(json) = found
            && let Ok(value) = serde_json::from_slice(&json)
        {
            hit("redis");
            return Ok(Arc::new(Entry { value, json: json.into() }));
        }
        hit("database");
        let entry = Entry::new(load.await?)?;
        let seconds = random::jitter(SHARED_SECONDS);
        if let Err(error) = self.kv.run::<()>(&redis::Cmd::set_ex(key, &entry.json[..], seconds)).await {
            tracing::debug!(%error, key, "the shared cache could not be filled");
        }
        Ok(entry)
    }

    /// Limits how many readers go to the database at once while there is no cache.
    async fn uncached<V>(&self, load: impl Future<Output = Result<V>>) -> Result<V> {
        let permit = tokio::time::timeout(Duration::from_secs(2), self.uncached.acquire()).await;
        match permit {
            Ok(Ok(_permit)) => load.await,
            _ => Err(ApiError::unavailable("busy", "too many readers while the cache is unavailable")),
        }
    }
}

/// What is kept under `key`, or what `load` gives, once for all who ask meanwhile.
///
/// Loading is made when it is needed, in a box of its own: with a connection to the database it has some 18 KiB, which
/// otherwise every request for an event would be moved about with.
async fn once<K, V, F>(cache: &Cache<K, V>, key: K, load: impl FnOnce() -> F) -> Result<V>
where
    K: Hash + Eq + Send + Sync + 'static,
    V: Clone + Send + Sync + 'static,
    F: Future<Output = Result<V>>,
{
    if let Some(kept) = cache.get(&key).await {
        hit("process");
        return Ok(kept);
    }
    Box::pin(cache.try_get_with(key, load())).await.map_err(|error: Arc<ApiError>| (*error).clone())
}

/// What was read last instead of a failure of the service's own.
async fn or_last<V>(read: Result<V>, last: impl AsyncFnOnce() -> Option<V>) -> Result<V> {
    match read {
        Err(error) if error.status.is_server_error() => {
            let kept = last().await.ok_or(error)?;
            hit("last");
            Ok(kept)
        }
        read => read,
    }
}

/// Counts where an entry came from.
fn hit(source: &'static str) {
    metrics::counter!("ticketing_cache_reads_total", "source" => source).increment(1);
}
