//! Group commit: orders for one event wait in its lane while the transaction before is carried out, and then share the
//! next. Under load the row lock, the round trips and the log's flush are paid once for many sales; without load an
//! order goes straight through.
//!
//! While one transaction commits, the next one begins: the event's row lock, which the first has and the second waits for,
//! keeps them apart as it keeps apart the lanes of several instances.

use super::holds::Holds;
use super::rounds::{Pushed, Rounds};
use super::sell::{self, Batch, Outcome};
use super::{Order, ReservationView};
use crate::db;
use crate::error::{ApiError, Result};
use crate::events::cache::EventCache;
use crate::wallet::PaymentProvider;
use sqlx::pool::PoolConnection;
use sqlx::{Connection, MySql, MySqlPool};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::{Semaphore, oneshot};
use tokio::task::JoinHandle;
use tracing::{Instrument, Span};

/// Orders that may wait for one event; more than that could not be served within a request's time.
const WAITING: usize = 20_000;
/// Attempts of one transaction.
pub(super) const ATTEMPTS: u32 = 6;
/// One of so many connections may be kept by a lane from one transaction to the next.
const KEPT: usize = 4;

type KeptConnection = Option<PoolConnection<MySql>>;

/// What a lane has from one transaction to the next.
#[derive(Default)]
struct Lane {
    /// For the next transaction. Its statements are prepared there already, and the pool would ask the server whether it still
    /// works each time that it gets it back.
    connection: KeptConnection,
    /// The transaction that commits
    committing: Option<Committing>,
    /// Until these have ended, Redis may count tickets as held that are sold
    telling: Vec<JoinHandle<()>>,
}

struct Committing {
    work: JoinHandle<Done>,
    /// Whether some of its orders confirm holds
    holds: bool,
}

/// What is left of a transaction.
struct Done {
    connection: KeptConnection,
    telling: JoinHandle<()>,
}

impl Lane {
    /// Waits for the end of the transaction that commits.
    async fn is_committed(&mut self, event_id: u64) {
        let Some(Committing { work, holds }) = self.committing.take() else { return };
        match work.await {
            Ok(done) => {
                self.connection = self.connection.take().or(done.connection);
                self.telling.retain(|telling| !telling.is_finished());
                self.telling.extend(holds.then_some(done.telling));
            }
            Err(error) => tracing::error!(%error, event_id, "a batch of sales failed"),
        }
    }

    /// Waits until what was sold with holds is told.
    async fn is_told(&mut self) {
        for telling in self.telling.drain(..) {
            // When it panicked, the holds end by themselves.
            let _ended = telling.await;
        }
    }
}

struct Job {
    order: Order,
    answer: oneshot::Sender<Outcome>,
    /// The request that waits
    span: Span,
}

/// What a transaction is carried out with.
struct Track {
    connection: KeptConnection,
    /// Told once, when it begins to commit
    commits: Option<oneshot::Sender<()>>,
}

/// A span of the first one's trace for the orders that share a transaction; the others are linked to it.
fn shared_span(jobs: &[Job]) -> Span {
    let first = jobs.first().map(|job| job.span.id()).unwrap_or_default();
    let span = tracing::debug_span!(parent: first, "sell", orders = jobs.len());
    for job in jobs.iter().skip(1) {
        span.follows_from(&job.span);
    }
    span
}

/// A lane per event in use. Cheap to clone.
#[derive(Clone)]
pub struct Lanes(Arc<Inner>);

struct Inner {
    db: MySqlPool,
    events: EventCache,
    holds: Holds,
    payments: Arc<dyn PaymentProvider>,
    /// For connections that lanes keep as long as they are open. The others take turns, so that none has to wait long.
    kept: Semaphore,
    rounds: Rounds<Job>,
}

impl Lanes {
    /// No lane is open yet.
    pub fn new(db: MySqlPool, events: EventCache, holds: Holds, payments: Arc<dyn PaymentProvider>) -> Self {
        let kept = Semaphore::new(db.options().get_max_connections() as usize / KEPT);
        Self(Arc::new(Inner { db, events, holds, payments, kept, rounds: Rounds::new(WAITING) }))
    }

    /// Puts an order into its event's lane and waits for the outcome.
    pub async fn submit(&self, event_id: u64, order: Order) -> Result<ReservationView> {
        let (answer, outcome) = oneshot::channel();
        match self.0.rounds.push(event_id, Job { order, answer, span: Span::current() }) {
            Pushed::Waits => {}
            Pushed::Opened => drop(tokio::spawn(self.clone().work(event_id))),
            Pushed::Full => {
                return Err(ApiError::unavailable("busy", "too many are buying tickets for this event right now"));
            }
        }
        outcome.await.map_err(|_| ApiError::internal("a sale ended without an outcome"))?
    }

    /// Works until the lane is empty.
    async fn work(self, event_id: u64) {
        let inner = self.0.clone();
        let (keeps, keeps_two) = (inner.kept.try_acquire(), inner.kept.try_acquire());
        let mut lane = Lane::default();
        loop {
            // With the lane, who comes next forgets what is being told.
            if !inner.rounds.waits(event_id) {
                lane.is_committed(event_id).await;
            }
            if !inner.rounds.waits(event_id) {
                lane.is_told().await;
            }
            let Some(mut jobs) = inner.rounds.next(event_id, db::size) else { break };
            // Who has gone away while waiting buys nothing.
            jobs.retain(|job| !job.answer.is_closed());
            if jobs.is_empty() {
                continue;
            }
            if jobs.iter().any(|job| job.order.hold.is_none()) {
                if lane.committing.as_ref().is_some_and(|committing| committing.holds) {
                    lane.is_committed(event_id).await;
                }
                lane.is_told().await;
            }
            let holds = jobs.iter().any(|job| job.order.hold.is_some());
            let (commits, committing) = oneshot::channel();
            let track = Track { connection: lane.connection.take(), commits: Some(commits) };
            // In a task of its own: a panic must not close the lane for those who still wait.
            let span = shared_span(&jobs);
            let work = tokio::spawn(self.clone().serve(event_id, jobs, track).instrument(span));
            lane.is_committed(event_id).await;
            lane.committing = Some(Committing { work, holds });
            if keeps_two.is_ok() {
                // It has ended without a commit, perhaps.
                let _ended = committing.await;
            } else {
                lane.is_committed(event_id).await;
            }
            if keeps.is_err() {
                lane.connection = None;
            }
        }
    }

    /// Carries out orders. Who gave them hears of it while the next transaction is under way already.
    async fn serve(self, event_id: u64, jobs: Vec<Job>, mut track: Track) -> Done {
        let (orders, answers): (Vec<Order>, Vec<_>) = jobs.into_iter().map(|job| (job.order, job.answer)).unzip();
        let started = Instant::now();
        let outcomes = match Batch::of(&self.0.events, &self.0.holds, event_id, &orders).await {
            Ok(batch) => self.carry_out(&batch, &orders, &mut track).await,
            Err(error) => orders.iter().map(|_| Err(error.clone())).collect(),
        };
        count(&orders, &outcomes, started.elapsed());
        let tell = async move {
            self.tell(event_id, &orders, &outcomes).await;
            for (answer, outcome) in answers.into_iter().zip(outcomes) {
                // Who asked may have gone away; the idempotency key lets them ask again.
                let _gone = answer.send(outcome);
            }
        };
        Done { connection: track.connection, telling: tokio::spawn(tell.in_current_span()) }
    }

    /// One transaction for all orders; one for each when they cannot share one.
    async fn carry_out(&self, batch: &Batch, orders: &[Order], track: &mut Track) -> Vec<Outcome> {
        match self.attempt(batch, orders, false, track).await {
            Ok(outcomes) => outcomes,
            Err(error) if orders.len() == 1 => vec![Err(error)],
            Err(error) if error.code == "duplicate" => {
                let mut outcomes = Vec::with_capacity(orders.len());
                for order in orders {
                    let one = std::slice::from_ref(order);
                    let outcome = self.attempt(batch, one, true, track).await;
                    outcomes.extend(outcome.unwrap_or_else(|error| vec![Err(error)]));
                }
                outcomes
            }
            Err(error) => orders.iter().map(|_| Err(error.clone())).collect(),
        }
    }

    /// Tries until the outcome is certain. Each attempt first looks for what an earlier one may have committed,
    /// under the lock that the earlier one held: so a lost answer to COMMIT sells nothing twice. The first one does
    /// not (unless `careful`), since most keys are new: the unique key tells when one is not.
    async fn attempt(
        &self,
        batch: &Batch,
        orders: &[Order],
        mut careful: bool,
        track: &mut Track,
    ) -> Result<Vec<Outcome>> {
        let mut attempt = 0;
        loop {
            attempt += 1;
            let error = match self.transaction(batch, orders, careful, track).await {
                Ok(outcomes) => return Ok(outcomes),
                Err(error) => error,
            };
            if let Some(key) = db::duplicate_key(&error) {
                // A key that was used before, or another instance was faster with the same seat or code. Reading again
                // tells which.
                tracing::debug!(key, event_id = batch.event_id, "a unique key refused a batch");
                if (careful && orders.len() > 1) || attempt >= ATTEMPTS {
                    return Err(ApiError::conflict("duplicate", "somebody else was faster"));
                }
            } else if !(db::is_contention(&error) || db::is_unavailable(&error)) || attempt >= ATTEMPTS {
                return Err(error.into());
            }
            careful = true;
            let longest = 20 << attempt;
            tokio::time::sleep(Duration::from_millis(rand::random_range(longest / 2..=longest))).await;
        }
    }

    async fn transaction(
        &self,
        batch: &Batch,
        orders: &[Order],
        careful: bool,
        track: &mut Track,
    ) -> Result<Vec<Outcome>, sqlx::Error> {
        let mut connection = match track.connection.take() {
            Some(connection) => connection,
            None => Box::pin(self.0.db.acquire()).await?,
        };
        let work = async {
            let mut tx = connection.begin().await?;
            let payments = self.0.payments.as_ref();
            let outcomes = sell::sell(&mut tx, payments, batch, orders, careful).await?;
            if let Some(commits) = track.commits.take() {
                // Nobody waits for it where the lane ends.
                let _unheard = commits.send(());
            }
            if outcomes.iter().any(Result::is_ok) {
                tx.commit().await?;
            } else {
                tx.rollback().await?;
            }
            Ok(outcomes)
        };
        let outcomes = db::within(db::LONGEST, work).await;
        match &outcomes {
            Ok(_) => track.connection = Some(connection),
            // Without a farewell, for which it would wait where nobody is left.
            Err(error) if db::is_unavailable(error) => drop(connection.detach()),
            // It goes back to the pool, which finds out whether it is of use.
            Err(_) => {}
        }
        outcomes
    }

    /// After the commit and before the answers: readers see the sale from now on.
    async fn tell(&self, event_id: u64, orders: &[Order], outcomes: &[Outcome]) {
        if outcomes.iter().all(Result::is_err) {
            return;
        }
        // What was sold before, and is told again, may be cancelled.
        let is_sold = |outcome: &Outcome| matches!(outcome, Ok(view) if view.status == "CONFIRMED");
        let sold = orders.iter().zip(outcomes).filter(|(_, outcome)| is_sold(outcome)).map(|(order, _)| order);
        // In this order: who marks seats as free by what was read before the commit is refused from now on.
        self.0.events.versions().bump(event_id).await;
        if let Err(error) = self.0.holds.finish(event_id, sold).await {
            // The worker marks the seats again when it reads the outbox.
            tracing::debug!(%error, event_id, "sold seats could not be marked");
        }
    }
}

fn count(orders: &[Order], outcomes: &[Outcome], elapsed: Duration) {
    metrics::histogram!("ticketing_sale_batch_size").record(orders.len() as f64);
    metrics::histogram!("ticketing_sale_transaction_seconds").record(elapsed);
    let (mut sales, mut tickets) = (0, 0);
    for (order, outcome) in orders.iter().zip(outcomes) {
        match outcome {
            Ok(_) => (sales, tickets) = (sales + 1, tickets + u64::from(order.quantity)),
            Err(error) => metrics::counter!("ticketing_sales_total", "outcome" => error.code.clone()).increment(1),
        }
    }
    if sales > 0 {
        metrics::counter!("ticketing_sales_total", "outcome" => "sold").increment(sales);
        metrics::counter!("ticketing_tickets_sold_total").increment(tickets);
    }
}
