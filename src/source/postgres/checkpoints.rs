//! The checkpoint table in the source database.
//!
//! In: positions to keep. Out: the one kept last. Always: what [`Store::save`] has returned for survives a crash of
//! either side; a position never goes back while system, timeline and slot are the same. A write of it is itself a
//! little WAL, so it is the caller's to write seldom and never without news. Not here: whether a stored position
//! still means the same (`resume`). Start at [`PgCheckpoints`].

use std::fmt::Write as _;
use std::sync::atomic::{AtomicI64, Ordering::Relaxed};
use std::sync::{Arc, Mutex as SyncMutex, PoisonError};
use std::time::Duration;

use tokio::sync::Mutex;
use tokio_postgres::types::PgLsn;
use tokio_postgres::{Client, Error};

use super::client::SqlSession;
use super::publication::Fingerprint;
use super::quote::{identifier, literal};
use super::resume::Incarnation;
use super::sqlstate::query_reason;
use super::{ConnectOptions, Options, copies};
use crate::checkpoint::{Checkpoint, FORMAT, Store};
use crate::model::{Class, Lsn, Reason, TableId};

/// The longest that one exchange with the server may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// What the positions rest on. Setup finds it out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Lineage {
    pub(super) slot: String,
    pub(super) system_id: String,
    pub(super) timeline: i32,
    pub(super) incarnation: Incarnation,
    pub(super) fingerprint: Fingerprint,
    /// Tables with rows that existed before their changes were followed, ascending.
    pub(super) incomplete_tables: Vec<u32>,
}

impl Lineage {
    /// Whether positions of `before` still mean the same.
    pub(super) fn continues(&self, before: &Lineage) -> bool {
        self.system_id == before.system_id
            && self.timeline == before.timeline
            && self.incarnation.first == before.incarnation.first
    }
}

/// The checkpoint of one pipeline, in a table of the source database. Connects by itself, and again when needed.
#[derive(Debug)]
pub struct PgCheckpoints {
    connect: ConnectOptions,
    pipeline: String,
    schema: String,
    session: Mutex<Option<SqlSession>>,
    lineage: SyncMutex<Option<Lineage>>,
    decoded: Arc<AtomicI64>,
}

impl PgCheckpoints {
    pub(super) fn new(options: &Options) -> Self {
        PgCheckpoints {
            connect: options.connect.clone(),
            pipeline: options.pipeline.clone(),
            schema: options.checkpoint_schema.clone(),
            session: Mutex::default(),
            lineage: SyncMutex::default(),
            decoded: Arc::default(),
        }
    }

    /// Sets what the next positions rest on.
    pub(super) fn identify(&self, lineage: Lineage) {
        self.decoded.store(lineage.incarnation.decoded, Relaxed);
        // The value is replaced whole, so a panic elsewhere cannot have left it half-written.
        *self.lineage.lock().unwrap_or_else(PoisonError::into_inner) = Some(lineage);
    }

    /// Where the watcher notes how many transactions were decoded from the slot. Relaxed: it stands for itself.
    pub(super) fn decoded(&self) -> Arc<AtomicI64> {
        self.decoded.clone()
    }

    /// A position with everything it rests on; `None` before the first successful setup.
    pub(super) fn at(&self, lsn: Lsn, paused: bool) -> Option<Checkpoint> {
        self.lineage().map(|lineage| resting_on(&lineage, lsn, paused))
    }

    /// From now on, no row of the table is missing in the target.
    pub(super) fn complete(&self, table: TableId) {
        let mut lineage = self.lineage.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(lineage) = &mut *lineage {
            lineage.incomplete_tables.retain(|id| *id != table.0);
        }
    }

    /// What the last successful setup found.
    pub(super) fn lineage(&self) -> Option<Lineage> {
        let mut lineage = self.lineage.lock().unwrap_or_else(PoisonError::into_inner).clone()?;
        lineage.incarnation.decoded = self.decoded.load(Relaxed);
        Some(lineage)
    }

    /// Stores `checkpoint`, or reads what is stored, on the kept session or a new one; once more if the kept one turns
    /// out to be closed. Both may be repeated without harm.
    async fn exchange(&self, checkpoint: Option<&Checkpoint>) -> Result<Option<Checkpoint>, Reason> {
        let doing = if checkpoint.is_some() { "storing the checkpoint" } else { "reading the checkpoint" };
        let mut kept = self.session.lock().await;
        let mut fresh = false;
        loop {
            let session = match kept.take().filter(|session| !session.client.is_closed()) {
                Some(session) => session,
                None => {
                    fresh = true;
                    SqlSession::connect(&self.connect, "checkpoints").await?
                }
            };
            let answer = tokio::time::timeout(PATIENCE, self.ask(&session.client, checkpoint)).await;
            match answer {
                Ok(Err(Failure::Server(_))) if !fresh && session.client.is_closed() => {}
                Ok(answered) => {
                    *kept = Some(session);
                    return answered.map_err(|failure| failure.into_reason(doing));
                }
                Err(_) => return Err(no_answer(doing)),
            }
        }
    }

    async fn ask(&self, client: &Client, checkpoint: Option<&Checkpoint>) -> Result<Option<Checkpoint>, Failure> {
        match checkpoint {
            Some(checkpoint) => save(client, &self.schema, &self.pipeline, checkpoint).await.map(|()| None),
            None => load(client, &self.schema, &self.pipeline).await,
        }
    }
}

enum Failure {
    Server(Error),
    Reason(Reason),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Failure::Server(error)
    }
}

impl Failure {
    fn into_reason(self, doing: &str) -> Reason {
        match self {
            Failure::Server(error) => query_reason(&error, doing),
            Failure::Reason(reason) => reason,
        }
    }
}

fn no_answer(doing: &str) -> Reason {
    let message = format!("{doing}: the server did not answer within {} s", PATIENCE.as_secs());
    Reason::new("SOURCE_UNREACHABLE", Class::Retry, "server", message, "It is tried again until the server answers.")
}

impl Store for PgCheckpoints {
    async fn load(&self) -> Result<Option<Checkpoint>, Reason> {
        self.exchange(None).await
    }

    /// Stores position, switches and unseen transactions of `checkpoint`; what they rest on is taken from the last setup.
    async fn save(&self, checkpoint: &Checkpoint) -> Result<(), Reason> {
        let Some(resting) = self.at(checkpoint.lsn, checkpoint.paused) else {
            let message = "a checkpoint is to be stored before setup has succeeded";
            return Err(Reason::new("CHECKPOINT_INVALID", Class::Bug, &self.pipeline, message, "Report it."));
        };
        let (copy_paused, unseen) = (checkpoint.copy_paused, checkpoint.unseen.clone());
        self.exchange(Some(&Checkpoint { copy_paused, unseen, ..resting })).await.map(drop)
    }
}

/// A checkpoint with everything it rests on.
pub(super) fn resting_on(lineage: &Lineage, lsn: Lsn, paused: bool) -> Checkpoint {
    Checkpoint {
        lsn,
        slot: lineage.slot.clone(),
        system_id: lineage.system_id.clone(),
        timeline: lineage.timeline,
        slot_incarnation: lineage.incarnation.to_string(),
        publication_fingerprint: lineage.fingerprint.to_string(),
        incomplete_tables: lineage.incomplete_tables.clone(),
        paused,
        copy_paused: false,
        unseen: Vec::new(),
    }
}

fn table(schema: &str) -> String {
    format!("{}.checkpoints", identifier(schema))
}

/// Reads a pipeline's checkpoint; `None` also if there is no table yet.
async fn load(client: &Client, schema: &str, pipeline: &str) -> Result<Option<Checkpoint>, Failure> {
    let exists = "SELECT pg_catalog.to_regclass($1) IS NOT NULL";
    if !client.query_one(exists, &[&table(schema)]).await?.get::<_, bool>(0) {
        return Ok(None);
    }
    // The format is read by itself: the columns of a newer one may be others.
    let format = format!("SELECT format FROM {} WHERE pipeline = $1", table(schema));
    let Some(row) = client.query_opt(&format, &[&pipeline]).await? else { return Ok(None) };
    let format: i32 = row.get(0);
    if format > FORMAT {
        return Err(Failure::Reason(newer(pipeline, format)));
    }
    // Columns that came later are read in a way that does without them.
    let statement = format!(
        "SELECT lsn, slot, system_id, timeline, slot_incarnation, publication_fingerprint, incomplete_tables, paused,
                COALESCE((pg_catalog.to_jsonb(kept) ->> 'copy_paused')::boolean, false),
                COALESCE(pg_catalog.to_jsonb(kept) ->> 'unseen', '')
         FROM {} AS kept WHERE pipeline = $1",
        table(schema)
    );
    let row = client.query_opt(&statement, &[&pipeline]).await?;
    Ok(row.map(|row| Checkpoint {
        lsn: Lsn(row.get::<_, PgLsn>(0).into()),
        slot: row.get(1),
        system_id: row.get(2),
        timeline: row.get(3),
        slot_incarnation: row.get(4),
        publication_fingerprint: row.get(5),
        incomplete_tables: row.get(6),
        paused: row.get(7),
        copy_paused: row.get(8),
        unseen: row.get::<_, &str>(9).split(' ').filter_map(|xid| xid.parse().ok()).collect(),
    }))
}

fn newer(pipeline: &str, format: i32) -> Reason {
    let message = format!(
        "the checkpoint of pipeline {pipeline} has format {format}, and this version of Sluicegate knows {FORMAT}"
    );
    Reason::new("CHECKPOINT_FORMAT", Class::Wait, pipeline, message, "Run the newer version that wrote it.")
}

/// Writes a checkpoint, durably: `synchronous_commit` may be off for the role, and a checkpoint that is lost in a
/// crash after the server was told of its position would look like a slot that was moved by others. `local` waits
/// for our server's disk and for no standby: one that hangs must not hold up the pipeline, and after a failover to
/// one that lacks the row an older position only repeats changes.
async fn save(client: &Client, schema: &str, pipeline: &str, checkpoint: &Checkpoint) -> Result<(), Failure> {
    let statement = format!(
        "WITH durable AS (SELECT pg_catalog.set_config('synchronous_commit', 'local', true))
         INSERT INTO {} AS kept (pipeline, slot, lsn, system_id, timeline, slot_incarnation,
                                 publication_fingerprint, incomplete_tables, paused, copy_paused, unseen, format,
                                 updated_at)
         SELECT $1::text, $2::text, $3::pg_lsn, $4::text, $5::integer, $6::text, $7::text, $8::oid[], $9::boolean,
                $10::boolean, $11::text, {FORMAT}, pg_catalog.clock_timestamp() FROM durable
         ON CONFLICT (pipeline) DO UPDATE
         SET slot = excluded.slot, lsn = excluded.lsn, system_id = excluded.system_id, timeline = excluded.timeline,
             slot_incarnation = excluded.slot_incarnation,
             publication_fingerprint = excluded.publication_fingerprint,
             incomplete_tables = excluded.incomplete_tables, paused = excluded.paused,
             copy_paused = excluded.copy_paused, unseen = excluded.unseen,
             format = excluded.format, updated_at = excluded.updated_at
         WHERE kept.format <= excluded.format
           AND (kept.lsn <= excluded.lsn OR kept.system_id <> excluded.system_id
                OR kept.timeline <> excluded.timeline OR kept.slot <> excluded.slot
                OR pg_catalog.split_part(kept.slot_incarnation, ' ', 1)
                   <> pg_catalog.split_part(excluded.slot_incarnation, ' ', 1))",
        table(schema)
    );
    let Checkpoint { lsn, slot, system_id, timeline, slot_incarnation, .. } = checkpoint;
    let Checkpoint { publication_fingerprint, incomplete_tables, paused, copy_paused, unseen, .. } = checkpoint;
    let unseen = unseen.iter().map(u32::to_string).collect::<Vec<_>>().join(" ");
    let written = client
        .execute(
            &statement,
            &[
                &pipeline,
                slot,
                &PgLsn::from(lsn.0),
                system_id,
                timeline,
                slot_incarnation,
                publication_fingerprint,
                incomplete_tables,
                paused,
                copy_paused,
                &unseen,
            ],
        )
        .await?;
    if written == 1 {
        return Ok(());
    }
    let kept = load(client, schema, pipeline).await?;
    let kept = kept.map_or_else(|| "another".to_owned(), |kept| kept.lsn.to_string());
    let message = format!(
        "the checkpoint of pipeline {pipeline} is at {kept} and was to go back to {lsn}: another process stores it, \
         or it was changed by hand"
    );
    let remedy = "See that only one process runs this pipeline. Each needs a PIPELINE name of its own.";
    Err(Failure::Reason(Reason::new("CHECKPOINT_INVALID", Class::Resync, pipeline, message, remedy)))
}

/// Rewrites a pipeline's row as it is, so that there is a commit, and the log up to it is written out at once.
pub(super) fn touch_sql(schema: &str) -> String {
    format!(
        "WITH durable AS (SELECT pg_catalog.set_config('synchronous_commit', 'local', true))
         UPDATE {} AS kept SET updated_at = pg_catalog.clock_timestamp() FROM durable WHERE kept.pipeline = $1",
        table(schema)
    )
}

/// Writes the first checkpoint, or one with a new lineage, on a connection that setup has open.
pub(super) async fn store(client: &Client, options: &Options, checkpoint: &Checkpoint) -> Result<(), Reason> {
    let saved = save(client, &options.checkpoint_schema, &options.pipeline, checkpoint).await;
    saved.map_err(|failure| failure.into_reason("storing the checkpoint"))
}

/// Reads the checkpoint on a connection that setup has open.
pub(super) async fn stored(client: &Client, options: &Options) -> Result<Option<Checkpoint>, Reason> {
    let loaded = load(client, &options.checkpoint_schema, &options.pipeline).await;
    loaded.map_err(|failure| failure.into_reason("reading the checkpoint"))
}

/// Whether the table is there and may be used.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Access {
    pub(super) schema_exists: bool,
    /// USAGE on the schema.
    pub(super) usage: bool,
    /// CREATE on the schema.
    pub(super) create: bool,
    pub(super) table_exists: bool,
    /// SELECT, INSERT and UPDATE on the table.
    pub(super) write: bool,
    /// The table has every column of this version.
    pub(super) columns_exist: bool,
    /// We own the table, so that we may add columns.
    pub(super) owned: bool,
    /// The tables that keep how far copies are, all of them.
    pub(super) copies_exist: bool,
    /// SELECT, INSERT, UPDATE and DELETE on them.
    pub(super) copies_write: bool,
}

impl Access {
    /// Whether what is stored can be read, or nothing is.
    pub(super) fn readable(&self) -> bool {
        !self.table_exists || self.usage && self.write
    }
}

const ACCESS: &str = "
    SELECT n.oid IS NOT NULL, COALESCE(pg_catalog.has_schema_privilege(n.oid, 'USAGE'), false),
           COALESCE(pg_catalog.has_schema_privilege(n.oid, 'CREATE'), false), c.oid IS NOT NULL,
           COALESCE(pg_catalog.has_table_privilege(c.oid, 'SELECT')
                    AND pg_catalog.has_table_privilege(c.oid, 'INSERT')
                    AND pg_catalog.has_table_privilege(c.oid, 'UPDATE'), false),
           copies.count = pg_catalog.cardinality($2::text[]), copies.write,
           (SELECT pg_catalog.count(*) = 2 FROM pg_catalog.pg_attribute a
            WHERE a.attrelid = c.oid AND a.attname IN ('copy_paused', 'unseen') AND NOT a.attisdropped),
           COALESCE(pg_catalog.pg_has_role(c.relowner, 'USAGE'), false)
    FROM (SELECT 1) AS one
         LEFT JOIN pg_catalog.pg_namespace n ON n.nspname = $1
         LEFT JOIN pg_catalog.pg_class c ON c.relnamespace = n.oid AND c.relname = 'checkpoints'
         CROSS JOIN LATERAL (
             SELECT pg_catalog.count(*) AS count,
                    COALESCE(pg_catalog.bool_and(pg_catalog.has_table_privilege(s.oid, 'SELECT')
                                                 AND pg_catalog.has_table_privilege(s.oid, 'INSERT')
                                                 AND pg_catalog.has_table_privilege(s.oid, 'UPDATE')
                                                 AND pg_catalog.has_table_privilege(s.oid, 'DELETE')), false) AS write
             FROM pg_catalog.pg_class s WHERE s.relnamespace = n.oid AND s.relname = ANY ($2)
         ) copies";

/// Looks at the tables.
pub(super) async fn access(client: &Client, schema: &str) -> Result<Access, Reason> {
    let row = client
        .query_one(ACCESS, &[&schema, &&copies::TABLES[..]])
        .await
        .map_err(|error| query_reason(&error, "looking for the checkpoint table"))?;
    Ok(Access {
        schema_exists: row.get(0),
        usage: row.get(1),
        create: row.get(2),
        table_exists: row.get(3),
        write: row.get(4),
        copies_exist: row.get(5),
        copies_write: row.get(6),
        columns_exist: row.get(7),
        owned: row.get(8),
    })
}

/// What makes the tables and their schema, as far as they are missing; empty if nothing is. Those of copies are only
/// needed if there are any.
pub(super) fn create_sql(access: &Access, schema: &str, copying: bool) -> String {
    let mut statements = Vec::new();
    if !access.schema_exists {
        statements.push(format!("CREATE SCHEMA {};", identifier(schema)));
    }
    if !access.table_exists {
        statements.push(format!(
            "CREATE TABLE {0} (
    pipeline text PRIMARY KEY,
    slot text NOT NULL,
    lsn pg_catalog.pg_lsn NOT NULL,
    system_id text NOT NULL,
    timeline integer NOT NULL,
    slot_incarnation text NOT NULL,
    publication_fingerprint text NOT NULL,
    incomplete_tables oid[] NOT NULL,
    paused boolean NOT NULL,
    copy_paused boolean NOT NULL DEFAULT false,
    unseen text NOT NULL DEFAULT '',
    format integer NOT NULL,
    updated_at timestamptz NOT NULL
);
COMMENT ON TABLE {0} IS {1};",
            table(schema),
            literal("Where each Sluicegate pipeline stands. Deleting a row makes its pipeline start anew.")
        ));
    }
    if access.table_exists && !access.columns_exist {
        statements.push(format!(
            "ALTER TABLE {0} ADD COLUMN IF NOT EXISTS copy_paused boolean NOT NULL DEFAULT false,
    ADD COLUMN IF NOT EXISTS unseen text NOT NULL DEFAULT '';",
            table(schema)
        ));
    }
    if copying && !access.copies_exist {
        statements.push(copies::create_sql(schema));
    }
    statements.join("\n")
}

/// The reason if the tables can neither be used nor made.
pub(super) fn finding(
    access: &Access,
    schema: &str,
    role: &str,
    may_create_schema: bool,
    copying: bool,
) -> Option<Reason> {
    let usable = |exists, write| if exists { write } else { access.create };
    let usable = match access.schema_exists {
        false => may_create_schema,
        true => {
            access.usage
                && usable(access.table_exists, access.write && (access.columns_exist || access.owned))
                && (!copying || usable(access.copies_exist, access.copies_write))
        }
    };
    if usable {
        return None;
    }
    let mut tables = vec![(table(schema), "SELECT, INSERT, UPDATE")];
    let of_copies = copies::TABLES.iter().filter(|_| copying);
    tables.extend(of_copies.map(|name| (format!("{}.{name}", identifier(schema)), "SELECT, INSERT, UPDATE, DELETE")));
    let names: Vec<&str> = tables.iter().map(|(name, _)| name.as_str()).collect();
    let message = format!("role {role} can neither use nor make our own tables {}", names.join(", "));
    let remedy = "Let a superuser or the database's owner run the statements.";
    let role = identifier(role);
    let mut sql = create_sql(access, schema, copying);
    sql.push_str(if sql.is_empty() { "" } else { "\n" });
    // Writing to a String cannot fail.
    _ = write!(sql, "GRANT USAGE ON SCHEMA {} TO {role};", identifier(schema));
    for (name, rights) in tables {
        _ = write!(sql, "\nGRANT {rights} ON {name} TO {role};");
    }
    Some(Reason::new("SOURCE_PRIVILEGE", Class::Wait, format!("schema {schema}"), message, remedy).with_sql(sql))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_used_made_or_asked_for() {
        let access = |schema_exists, usage, create, table_exists, write| Access {
            schema_exists,
            usage,
            create,
            table_exists,
            write,
            columns_exist: table_exists,
            owned: false,
            copies_exist: table_exists,
            copies_write: write,
        };
        let former = Access { columns_exist: false, ..access(true, true, true, true, true) };
        let older = Access { copies_exist: false, ..access(true, true, false, true, true) };
        // access, CREATE on the database, whether rows are copied, whether there is a finding, statements it starts with
        let cases = [
            (access(false, false, false, false, false), true, true, false, "CREATE SCHEMA"),
            (access(false, false, false, false, false), false, true, true, "CREATE SCHEMA"),
            (access(true, true, true, false, false), false, true, false, "CREATE TABLE"),
            (access(true, true, false, false, false), true, true, true, "CREATE TABLE"),
            (access(true, true, false, true, true), false, true, false, ""),
            (access(true, false, false, true, true), true, true, true, "GRANT USAGE"),
            (access(true, true, true, true, false), true, true, true, "GRANT USAGE"),
            (former.clone(), true, true, true, "ALTER TABLE"),
            (Access { owned: true, ..former }, false, true, false, "ALTER TABLE"),
            (older.clone(), true, true, true, "CREATE TABLE IF NOT EXISTS"),
            (older.clone(), true, false, false, ""),
            (Access { create: true, ..older }, true, true, false, "CREATE TABLE IF NOT EXISTS"),
        ];
        for (access, may_create, copying, found, starts) in cases {
            let finding = finding(&access, "sluicegate", "cdc", may_create, copying);
            assert_eq!(finding.is_some(), found, "{access:?}");
            let sql = finding.map_or_else(|| create_sql(&access, "sluicegate", copying), |reason| reason.sql);
            assert!(sql.starts_with(starts) && sql.is_empty() == starts.is_empty(), "{access:?}: {sql}");
        }
    }
}
