//! Changes of the source that lock tables of the application.
//!
//! In: a [`Change`]. Out: done, or who was in the way. Always: a lock is waited for [`LOCK_PATIENCE_S`] at most, because
//! every statement of the application that comes after waits behind us (PostgreSQL documentation, 13.3 "Explicit
//! Locking"); what gave up has changed nothing. Not here: which changes are made (`setup`). Start at [`make`].

use tokio_postgres::Client;
use tokio_postgres::error::SqlState;

use super::blocker::{self, Blocker};
use super::catalog::quoted;
use super::sqlstate::query_reason;
use crate::model::{Class, Reason, TableName};

/// Longest wait for one lock, in seconds.
const LOCK_PATIENCE_S: u32 = 2;

/// What stands against the ACCESS EXCLUSIVE lock of ALTER TABLE: every lock there is.
pub(super) const ALTER_TABLE: &[&str] = &[
    "AccessShareLock",
    "RowShareLock",
    "RowExclusiveLock",
    "ShareUpdateExclusiveLock",
    "ShareLock",
    "ShareRowExclusiveLock",
    "ExclusiveLock",
    "AccessExclusiveLock",
];

/// What stands against the SHARE UPDATE EXCLUSIVE lock that a publication takes on its tables; no ordinary change of
/// rows does.
pub(super) const PUBLICATION: &[&str] =
    &["ShareUpdateExclusiveLock", "ShareLock", "ShareRowExclusiveLock", "ExclusiveLock", "AccessExclusiveLock"];

/// A change that locks tables.
#[derive(Clone, Debug)]
pub(super) struct Change<'a> {
    /// The statements; nothing is done if empty. All of them or none take effect.
    pub(super) sql: &'a str,
    /// What they are for, as in "setting a replica identity".
    pub(super) doing: &'a str,
    /// What is changed: a table or the publication.
    pub(super) object: &'a str,
    /// The tables that are locked.
    pub(super) tables: &'a [TableName],
    /// The locks of others that stand against ours, as `pg_locks` names them.
    pub(super) against: &'a [&'a str],
}

/// Makes a change. `observer` is a second connection, asked who is in the way.
///
/// # Errors
/// Why it was not made; `SOURCE_LOCKED` if a lock was not to be had.
pub(super) async fn make(worker: &Client, observer: &Client, change: &Change<'_>) -> Result<(), Reason> {
    if change.sql.is_empty() {
        return Ok(());
    }
    // One message, so one transaction, which SET LOCAL ends with.
    let sql = format!("SET LOCAL lock_timeout = '{LOCK_PATIENCE_S}s'; {}", change.sql);
    match worker.batch_execute(&sql).await {
        Err(error) if error.code() == Some(&SqlState::LOCK_NOT_AVAILABLE) => {
            Err(locked(change, &holders(observer, change).await?))
        }
        done => done.map_err(|error| query_reason(&error, change.doing)),
    }
}

const HOLDERS: &str = "
    SELECT l.pid, a.usename::text, a.datname::text, a.application_name, a.state,
           pg_catalog.date_part('epoch', pg_catalog.clock_timestamp() - a.xact_start)::bigint,
           pg_catalog.string_agg(DISTINCT l.relation::regclass::text, ', ')
    FROM pg_catalog.pg_locks l LEFT JOIN pg_catalog.pg_stat_activity a ON a.pid = l.pid
    WHERE l.locktype = 'relation' AND l.granted AND l.mode = ANY($2)
      AND l.database = (SELECT d.oid FROM pg_catalog.pg_database d WHERE d.datname = pg_catalog.current_database())
      AND l.relation IN (SELECT pg_catalog.to_regclass(t.name)::oid FROM pg_catalog.unnest($1::text[]) AS t (name))
    GROUP BY l.pid, a.usename, a.datname, a.application_name, a.state, a.xact_start
    ORDER BY a.xact_start LIMIT 5";

async fn holders(observer: &Client, change: &Change<'_>) -> Result<Vec<Blocker>, Reason> {
    let tables: Vec<String> = change.tables.iter().map(quoted).collect();
    let rows = observer.query(HOLDERS, &[&tables, &change.against]).await;
    let rows = rows.map_err(|error| query_reason(&error, "finding who holds the lock"))?;
    Ok(rows.iter().map(|row| Blocker::session(row).holding(row.get(6))).collect())
}

fn locked(change: &Change<'_>, holders: &[Blocker]) -> Reason {
    let message = format!(
        "{} of {}: a lock was not to be had within {LOCK_PATIENCE_S} s, held by {}; nothing was changed, so that no \
         statement of the application waits behind us",
        change.doing,
        change.object,
        blocker::words(holders)
    );
    let remedy = "Let these transactions end, or end them with the statements, or make the change by hand at a quiet \
                  time. It is tried again by itself.";
    Reason::new("SOURCE_LOCKED", Class::Retry, change.object, message, remedy).with_sql(blocker::end_sql(holders))
}
