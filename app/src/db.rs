//! The connection pool, migrations, and which database errors mean what.

use crate::config::DatabaseArgs;
use crate::discovery::Discovery;
use crate::trust;
use anyhow::Context;
use sqlx::migrate::Migrator;
use sqlx::mysql::{MySqlConnectOptions, MySqlConnection, MySqlPool, MySqlPoolOptions};
use sqlx::{Connection, Executor, Row};
use std::time::Duration;
use time::{OffsetDateTime, PrimitiveDateTime, UtcOffset};

/// The schema's history, embedded in the binary.
pub static MIGRATOR: Migrator = sqlx::migrate!("./migrations");

/// How long a connection may have been idle and is used without asking whether it still works.
const UNTESTED: Duration = Duration::from_secs(1);
/// How long a connection that is given back may take to end what is under way there: longer than a wait for a lock.
const ENDING: Duration = Duration::from_secs(5);

/// Reads a database address.
pub fn options(url: &str) -> anyhow::Result<MySqlConnectOptions> {
    let options: MySqlConnectOptions =
        url.parse().context("the database address is not of the form mysql://user:password@host:3306/database")?;
    // An address that names authorities of its own means those alone.
    let options = match url.contains("ssl-ca=") || url.contains("sslca=") {
        true => options,
        false => options.ssl_ca_from_pem(trust::authorities().to_vec()),
    };
    Ok(options.statement_cache_capacity(256))
}

/// The pool for a command, after finding out what it was not told.
pub async fn pool_for(args: &DatabaseArgs) -> anyhow::Result<MySqlPool> {
    let mut args = args.clone();
    if args.url.is_none() {
        args.url = Some(Discovery::new(&args.discovery).await?.database_url().await?);
    }
    pool(&args)
}

/// A pool that connects when it is first used, so that the service starts before its database.
pub fn pool(args: &DatabaseArgs) -> anyhow::Result<MySqlPool> {
    let options = options(args.url.as_deref().context("there is no database address")?)?;
    let pool = MySqlPoolOptions::new()
        .max_connections(args.connections)
        .acquire_timeout(Duration::from_secs(2))
        // Under load a connection was in use a moment ago: asking whether it still works would cost a round trip.
        .test_before_acquire(false)
        .before_acquire(|connection, metadata| {
            Box::pin(async move {
                if metadata.idle_for < UNTESTED {
                    return Ok(true);
                }
                // Refused rather than failed: a server that is there is told to close it, and does. After an error sqlx
                // would wait for that over TLS without having asked.
                is_writer(connection).await
            })
        })
        .after_release(|connection, _| {
            Box::pin(async move {
                // Who asked has gone, in the middle of a statement or of a transaction. Without this the pool waits for
                // the answer, as long as it takes: a host that has vanished would keep the connection's place for good.
                let Ok(ended) = tokio::time::timeout(ENDING, connection.flush()).await else {
                    tracing::warn!("a connection on which the database doesn't answer is thrown away");
                    // sqlx closes what an error tells of, and over TLS that waits for a word of the server (0.9: whoever
                    // flushes nothing reads). It gives connections back in tasks of their own, which hold nothing else:
                    // where such a task unwinds, socket and place are free at once, without a panic's report.
                    std::panic::resume_unwind(Box::new("no answer"));
                };
                ended.map(|()| true)
            })
        })
        .after_connect(|connection, _| {
            Box::pin(async move {
                // READ COMMITTED: no gap locks, so that concurrent inserts for one event do not deadlock.
                // What must not change between a read and a write is locked explicitly. A lock wait ends well
                // before the client gives up.
                connection.execute("SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED").await?;
                connection.execute("SET SESSION innodb_lock_wait_timeout = 3").await?;
                takes_writes(connection).await
            })
        })
        .connect_lazy_with(options);
    Ok(pool)
}

/// How long background work waits for the database: longer than a statement waits for locks. A host that has vanished closes
/// nothing, and never says a word; TCP gives up only after a quarter of an hour.
pub const LONGEST: Duration = Duration::from_secs(10);

/// Does what ends within `limit`. Its connections are given up otherwise, see [`pool`].
pub async fn within<T, E: From<sqlx::Error>>(
    limit: Duration,
    work: impl Future<Output = Result<T, E>>,
) -> Result<T, E> {
    tokio::time::timeout(limit, work).await.unwrap_or_else(|_| Err(no_answer().into()))
}

/// What becomes of a statement on a connection on which no answer comes in time.
pub fn no_answer() -> sqlx::Error {
    sqlx::Error::Io(std::io::ErrorKind::TimedOut.into())
}

/// Fails unless the server takes writes. After a failover, a name that is still remembered leads to the old writer: as a
/// reader it would refuse every change, and tell what is no longer so, for as long as the connection lasts.
pub async fn takes_writes(connection: &mut MySqlConnection) -> Result<(), sqlx::Error> {
    match is_writer(connection).await? {
        true => Ok(()),
        false => Err(sqlx::Error::Protocol("the database server is a reader".into())),
    }
}

async fn is_writer(connection: &mut MySqlConnection) -> Result<bool, sqlx::Error> {
    let row = connection.fetch_one("SELECT @@global.read_only OR @@global.innodb_read_only").await?;
    Ok(row.try_get::<i64, _>(0)? == 0)
}

/// How long to wait for another instance that brings the schema up to date, in seconds.
const MIGRATION_SECONDS: u32 = 600;

/// Brings the schema up to date. Safe to run from several instances at once: one does it, the others wait.
///
/// The migrator's own lock isn't enough: it waits with a time-out of -1, which MariaDB takes for no time at all.
pub async fn migrate(pool: &MySqlPool) -> anyhow::Result<()> {
    // A connection of its own: it ends with this call, and the lock with it, however the call ends.
    let mut connection = pool.acquire().await?.detach();
    let lock = "SELECT GET_LOCK(LEFT(CONCAT(DATABASE(), '.migration'), 64), ?)";
    let got: Option<i64> = sqlx::query_scalar(lock).bind(MIGRATION_SECONDS).fetch_one(&mut connection).await?;
    anyhow::ensure!(got == Some(1), "another instance has been at the schema for {MIGRATION_SECONDS} s");
    MIGRATOR.run(&mut connection).await.context("the schema could not be brought up to date")
}

/// Like [`migrate`], as soon as the database can be reached.
pub async fn migrate_when_reachable(pool: &MySqlPool) -> anyhow::Result<()> {
    loop {
        match pool.acquire().await {
            Ok(_) => return migrate(pool).await,
            Err(error) if is_unavailable(&error) => {
                tracing::info!(%error, "waiting for the database");
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
            Err(error) => return Err(error).context("the database refuses the connection"),
        }
    }
}

/// Whether all migrations of this binary have been applied.
pub async fn is_migrated(pool: &MySqlPool) -> Result<bool, sqlx::Error> {
    let wanted = MIGRATOR.iter().map(|m| m.version).max().unwrap_or(0);
    match sqlx::query_scalar::<_, Option<i64>>("SELECT MAX(version) FROM _sqlx_migrations WHERE success")
        .fetch_one(pool)
        .await
    {
        Ok(applied) => Ok(applied.unwrap_or(0) >= wanted),
        Err(error) if code(&error) == Some(NO_SUCH_TABLE) => Ok(false),
        Err(error) => Err(error),
    }
}

/// The database's time in Unix milliseconds.
pub async fn now_ms(pool: &MySqlPool) -> Result<i64, sqlx::Error> {
    sqlx::query_scalar("SELECT CAST(UNIX_TIMESTAMP(NOW(3)) * 1000 AS SIGNED)").fetch_one(pool).await
}

/// Rows of one statement, at most.
const MOST_ROWS: usize = 128;
/// From here on the sizes of statements are multiples of half as much.
const COARSE: usize = 32;

/// How many rows a statement for some of `rows` has: few different sizes, since each is a statement that the server
/// has to prepare for every connection.
pub fn size(rows: usize) -> usize {
    if rows >= COARSE {
        return rows.min(MOST_ROWS) / (COARSE / 2) * (COARSE / 2);
    }
    let power = 1 << rows.max(1).ilog2();
    if rows >= power + power / 2 && power > 1 { power + power / 2 } else { power }
}

/// Cuts rows into pieces for one multi-row statement each, of few different sizes.
pub fn pieces<T>(mut rows: &[T]) -> impl Iterator<Item = &[T]> {
    std::iter::from_fn(move || {
        let (piece, rest) = rows.split_at(size(rows.len()).min(rows.len()));
        rows = rest;
        (!piece.is_empty()).then_some(piece)
    })
}

/// Lengthens the values of an `IN` list by its last one, so that there are lists of few different sizes.
pub fn pad<T: Clone>(values: &mut Vec<T>) {
    if let Some(last) = values.last().cloned() {
        let length = values.len();
        let padded = if length > COARSE { length.next_multiple_of(COARSE / 2) } else { length.next_power_of_two() };
        values.resize(padded, last);
    }
}

/// A time as a DATETIME parameter. sqlx sends an `OffsetDateTime` as a TIMESTAMP, which ends in 2038.
pub fn datetime(time: OffsetDateTime) -> PrimitiveDateTime {
    let time = time.to_offset(UtcOffset::UTC);
    PrimitiveDateTime::new(time.date(), time.time())
}

// Server error numbers, as in the MySQL 8.0 Server Error Message Reference.
const DUPLICATE_ENTRY: u16 = 1062;
const NO_SUCH_TABLE: u16 = 1146;
const LOCK_WAIT_TIMEOUT: u16 = 1205;
const DEADLOCK: u16 = 1213;

fn code(error: &sqlx::Error) -> Option<u16> {
    let database = error.as_database_error()?;
    Some(database.try_downcast_ref::<sqlx::mysql::MySqlDatabaseError>()?.number())
}

/// The name of the unique key that an insert ran into, if that is what happened.
pub fn duplicate_key(error: &sqlx::Error) -> Option<String> {
    if code(error)? != DUPLICATE_ENTRY {
        return None;
    }
    // "Duplicate entry 'x' for key 'table.key'" (MySQL 8) or "… for key 'key'" (MariaDB).
    let message = error.as_database_error()?.message();
    let key = message.rsplit('\'').nth(1)?;
    Some(key.rsplit('.').next().unwrap_or(key).to_owned())
}

/// A deadlock or a lock wait that ran out: the same transaction may well succeed when tried again.
pub fn is_contention(error: &sqlx::Error) -> bool {
    matches!(code(error), Some(DEADLOCK | LOCK_WAIT_TIMEOUT))
}

/// Attempts of a transaction that others made give way.
const ATTEMPTS: u32 = 5;

/// Carries out a transaction, again when others make it give way. An error means that nothing happened, as long as `work` rolls
/// back.
pub async fn despite_contention<T, F>(mut work: impl FnMut() -> F) -> Result<T, sqlx::Error>
where
    F: Future<Output = Result<T, sqlx::Error>>,
{
    let mut attempt = 1;
    loop {
        match work().await {
            Err(error) if is_contention(&error) && attempt < ATTEMPTS => attempt += 1,
            outcome => return outcome,
        }
        tokio::time::sleep(Duration::from_millis(rand::random_range(5..50))).await;
    }
}

/// The database could not be reached, went away, or had no connection free in time. After such an error it is
/// unknown whether a commit took place.
pub fn is_unavailable(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Io(_)
        | sqlx::Error::Tls(_)
        | sqlx::Error::PoolTimedOut
        | sqlx::Error::PoolClosed
        | sqlx::Error::Protocol(_)
        | sqlx::Error::WorkerCrashed => true,
        // 08: connection exception; 1053 shutdown in progress, 1040 too many connections, 1290 read-only after a
        // failover, 1927 connection killed.
        sqlx::Error::Database(_) => matches!(code(error), Some(1040 | 1053 | 1290 | 1836 | 1927)),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_are_all_rows_in_order_and_of_few_sizes() {
        let rows: Vec<usize> = (0..1000).collect();
        let mut sizes = std::collections::BTreeSet::new();
        for length in 0..=rows.len() {
            let pieces: Vec<&[usize]> = pieces(&rows[..length]).collect();
            assert_eq!(pieces.concat(), rows[..length]);
            assert!(length == 0 || pieces.len() <= 4 + length / MOST_ROWS, "{length} rows in {} pieces", pieces.len());
            sizes.extend(pieces.iter().map(|piece| piece.len()));
        }
        assert_eq!(Vec::from_iter(sizes), [1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 80, 96, 112, 128]);
    }

    #[test]
    fn lists_are_padded_with_what_they_hold() {
        let mut values = vec!['a', 'b', 'c'];
        pad(&mut values);
        assert_eq!(values, ['a', 'b', 'c', 'c']);
        let mut many = vec![7; 65];
        pad(&mut many);
        assert_eq!(many, vec![7; 80]);
        let mut none: Vec<u8> = Vec::new();
        pad(&mut none);
        assert!(none.is_empty());
    }
}
