//! The progress of first copies, in tables of the source database beside the checkpoint.
//!
//! In: what is copied, and what is to be read again. Out: all of it, after a restart. Always: each call is one
//! statement, so one transaction, durable when it returns; said twice it says the same. What was stored on another
//! server, history or slot is no progress: rows may have changed in between and nobody told. Not here: what is copied
//! when, and which tables are complete when there is nothing stored (`setup`). Start at [`PgCopies`].

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Mutex;
use tokio_postgres::types::{PgLsn, ToSql};
use tokio_postgres::{Client, Error};

use super::client::SqlSession;
use super::quote::{identifier, literal};
use super::sqlstate::query_reason;
use super::{ConnectOptions, Options, PgCheckpoints};
use crate::checkpoint::{CopiedRange, CopyState, CopyStore, PlannedStorage, StoredCopy};
use crate::model::{Class, Lsn, Reason, Row, TableId};

/// Version of the stored form. A newer one is refused, never guessed at.
const FORMAT: i32 = 1;

/// The longest that one exchange with the server may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// Keys in one statement.
const KEYS_MAX: usize = 10_000;

/// The tables, without their schema.
pub(super) const TABLES: [&str; 3] = ["snapshot_tables", "snapshot_chunks", "snapshot_repairs"];

/// Makes a commit wait for our server's disk and for no standby, as that of a checkpoint.
const DURABLE: &str = "WITH durable AS (SELECT pg_catalog.set_config('synchronous_commit', 'local', true))";

/// Keeps the progress of copies. Usable after a first successful setup. Connects by itself, and again when needed.
#[derive(Debug)]
pub struct PgCopies {
    connect: ConnectOptions,
    pipeline: String,
    /// Quoted.
    schema: String,
    checkpoints: Arc<PgCheckpoints>,
    session: Mutex<Option<Arc<SqlSession>>>,
}

impl PgCopies {
    pub(super) fn new(options: &Options, checkpoints: Arc<PgCheckpoints>) -> Self {
        PgCopies {
            connect: options.connect.clone(),
            pipeline: options.pipeline.clone(),
            schema: identifier(&options.checkpoint_schema),
            checkpoints,
            session: Mutex::default(),
        }
    }

    async fn session(&self) -> Result<Arc<SqlSession>, Reason> {
        let mut kept = self.session.lock().await;
        match &*kept {
            Some(session) if !session.client.is_closed() => Ok(session.clone()),
            _ => Ok(kept.insert(Arc::new(SqlSession::connect(&self.connect, "progress").await?)).clone()),
        }
    }

    /// Waits for an answer. A session that gives none is not asked again.
    async fn patiently<T>(&self, doing: &str, answer: impl Future<Output = Result<T, Reason>>) -> Result<T, Reason> {
        match tokio::time::timeout(PATIENCE, answer).await {
            Ok(answer) => answer,
            Err(_) => {
                *self.session.lock().await = None;
                let message = format!("{doing}: the server did not answer within {} s", PATIENCE.as_secs());
                let remedy = "It is tried again until the server answers.";
                Err(Reason::new("SOURCE_UNREACHABLE", Class::Retry, "server", message, remedy))
            }
        }
    }

    /// Runs a statement that writes.
    async fn write(&self, sql: &str, values: &[&(dyn ToSql + Sync)]) -> Result<(), Reason> {
        let doing = "storing how far the copy is";
        self.patiently(doing, async {
            let written = self.session().await?.client.execute(sql, values).await;
            written.map(drop).map_err(|error| query_reason(&error, doing))
        })
        .await
    }

    /// What the progress rests on, as stored.
    fn lineage(&self) -> Result<String, Reason> {
        let at = self.checkpoints.lineage().ok_or_else(|| {
            let message = "the progress of a copy is asked for before setup has succeeded";
            Reason::new("CHECKPOINT_INVALID", Class::Bug, &self.pipeline, message, "Report it.")
        })?;
        Ok(format!("{} {} {}", at.system_id, at.timeline, at.incarnation.first))
    }

    async fn read(&self, client: &Client, lineage: &str) -> Result<Vec<StoredCopy>, ReadFailure> {
        let schema = &self.schema;
        let exists = "SELECT pg_catalog.to_regclass($1) IS NOT NULL";
        if !client.query_one(exists, &[&format!("{schema}.snapshot_tables")]).await?.get::<_, bool>(0) {
            return Ok(Vec::new());
        }
        let format = format!("SELECT max(format) FROM {schema}.snapshot_tables WHERE pipeline = $1");
        let format: Option<i32> = client.query_one(&format, &[&self.pipeline]).await?.get(0);
        if let Some(format) = format.filter(|format| *format > FORMAT) {
            return Err(ReadFailure::Newer(format));
        }
        let sql = format!(
            "SELECT table_id, state, again, since, barrier, storages, incarnations, blocks, bytes, row_estimates
             FROM {schema}.snapshot_tables WHERE pipeline = $1 AND lineage = $2 ORDER BY table_id"
        );
        let mut copies: HashMap<u32, StoredCopy> = HashMap::new();
        for row in client.query(&sql, &[&self.pipeline, &lineage]).await? {
            let copy = stored(&row).ok_or(ReadFailure::Unknown)?;
            copies.insert(copy.table.0, copy);
        }
        let sql = format!(
            "SELECT table_id, storage, incarnation, first_block, end_block, row_count, bytes
             FROM {schema}.snapshot_chunks WHERE pipeline = $1 ORDER BY table_id, storage, first_block"
        );
        for row in client.query(&sql, &[&self.pipeline]).await? {
            copies.entry(row.get(0)).and_modify(|copy| copy.copied.push(range(&row)));
        }
        let sql = format!("SELECT table_id, key FROM {schema}.snapshot_repairs WHERE pipeline = $1");
        for row in client.query(&sql, &[&self.pipeline]).await? {
            let key = Row::from_checked(row.get::<_, Vec<u8>>(1).into());
            copies.entry(row.get(0)).and_modify(|copy| copy.repairs.push(key));
        }
        let mut copies: Vec<StoredCopy> = copies.into_values().collect();
        copies.sort_by_key(|copy| copy.table);
        Ok(copies)
    }

    fn newer(&self, format: i32) -> Reason {
        let message = format!(
            "the progress of a copy of pipeline {} has format {format}, and this version of Sluicegate knows {FORMAT}",
            self.pipeline
        );
        let remedy = "Run the newer version that wrote it.";
        Reason::new("CHECKPOINT_FORMAT", Class::Wait, &self.pipeline, message, remedy)
    }

    fn unknown(&self) -> Reason {
        let message = format!("table {}.snapshot_tables holds a state that nobody stores", self.schema);
        let remedy = "Undo what was changed by hand there, or delete the row: its table is copied anew then.";
        Reason::new("CHECKPOINT_INVALID", Class::Wait, &self.pipeline, message, remedy)
    }
}

enum ReadFailure {
    Server(Error),
    Newer(i32),
    /// Changed by hand.
    Unknown,
}

impl From<Error> for ReadFailure {
    fn from(error: Error) -> Self {
        ReadFailure::Server(error)
    }
}

const STATES: [(CopyState, &str); 3] =
    [(CopyState::Copying, "copying"), (CopyState::Repairing, "repairing"), (CopyState::Cancelled, "cancelled")];

fn word(state: CopyState) -> &'static str {
    STATES.iter().find(|(known, _)| *known == state).map_or("", |(_, word)| word)
}

fn stored(row: &tokio_postgres::Row) -> Option<StoredCopy> {
    let state: &str = row.get(1);
    let (state, _) = *STATES.iter().find(|(_, word)| *word == state)?;
    let (ids, incarnations): (Vec<u32>, Vec<u32>) = (row.get(5), row.get(6));
    let (blocks, bytes, rows): (Vec<i64>, Vec<i64>, Vec<i64>) = (row.get(7), row.get(8), row.get(9));
    let storage = |at: usize| {
        Some(PlannedStorage {
            id: ids[at],
            incarnation: *incarnations.get(at)?,
            blocks: u32::try_from(*blocks.get(at)?).ok()?,
            bytes: *bytes.get(at)? as u64,
            rows_estimate: *rows.get(at)? as u64,
        })
    };
    Some(StoredCopy {
        table: TableId(row.get(0)),
        state,
        again: row.get(2),
        since: Lsn(row.get::<_, PgLsn>(3).into()),
        barrier: row.get::<_, i64>(4) as u64,
        storages: (0..ids.len()).map(storage).collect::<Option<_>>()?,
        copied: Vec::new(),
        repairs: Vec::new(),
    })
}

/// Numbers of blocks fit 32 bits; the column is wider because PostgreSQL's own integers have a sign.
fn range(row: &tokio_postgres::Row) -> CopiedRange {
    let number = |at: usize| row.get::<_, i64>(at);
    let block = |at: usize| u32::try_from(number(at)).unwrap_or(u32::MAX);
    CopiedRange {
        storage: row.get(1),
        incarnation: row.get(2),
        first: block(3),
        end: block(4),
        rows: number(5) as u64,
        bytes: number(6) as u64,
    }
}

/// The columns of a copy's storages.
struct Columns {
    ids: Vec<u32>,
    incarnations: Vec<u32>,
    blocks: Vec<i64>,
    bytes: Vec<i64>,
    rows: Vec<i64>,
}

impl Columns {
    fn of(storages: &[PlannedStorage]) -> Columns {
        Columns {
            ids: storages.iter().map(|storage| storage.id).collect(),
            incarnations: storages.iter().map(|storage| storage.incarnation).collect(),
            blocks: storages.iter().map(|storage| storage.blocks.into()).collect(),
            bytes: storages.iter().map(|storage| storage.bytes as i64).collect(),
            rows: storages.iter().map(|storage| storage.rows_estimate as i64).collect(),
        }
    }
}

impl CopyStore for PgCopies {
    async fn load(&self) -> Result<Vec<StoredCopy>, Reason> {
        let doing = "reading how far the copy is";
        let lineage = self.lineage()?;
        self.patiently(doing, async {
            let session = self.session().await?;
            self.read(&session.client, &lineage).await.map_err(|failure| match failure {
                ReadFailure::Server(error) => query_reason(&error, doing),
                ReadFailure::Newer(format) => self.newer(format),
                ReadFailure::Unknown => self.unknown(),
            })
        })
        .await
    }

    async fn begin(&self, copy: &StoredCopy) -> Result<u64, Reason> {
        let doing = "storing the beginning of a copy";
        let schema = &self.schema;
        // What is inserted asks how many rows were deleted: only so is it certain that they were.
        let sql = format!(
            "{DURABLE}, no_chunks AS (DELETE FROM {schema}.snapshot_chunks WHERE pipeline = $1 AND table_id = $2
                                      RETURNING 1),
             no_repairs AS (DELETE FROM {schema}.snapshot_repairs WHERE pipeline = $1 AND table_id = $2 RETURNING 1),
             emptied AS (SELECT (SELECT count(*) FROM no_chunks) + (SELECT count(*) FROM no_repairs)),
             begun AS (
                 INSERT INTO {schema}.snapshot_tables
                     (pipeline, table_id, state, again, since, barrier, storages, incarnations, blocks, bytes,
                      row_estimates, lineage, format, updated_at)
                 VALUES ($1, $2, $3, $4, $5,
                         CASE WHEN $6::bigint = 0 THEN pg_catalog.pg_current_xact_id()::text::bigint ELSE $6 END, $7, $8, $9, $10, $11, $12, {FORMAT}, pg_catalog.clock_timestamp())
                 ON CONFLICT (pipeline, table_id) DO UPDATE
                 SET state = excluded.state, again = excluded.again, since = excluded.since,
                     barrier = excluded.barrier, storages = excluded.storages,
                     incarnations = excluded.incarnations, blocks = excluded.blocks, bytes = excluded.bytes,
                     row_estimates = excluded.row_estimates, lineage = excluded.lineage,
                     format = excluded.format, updated_at = excluded.updated_at),
             chunks AS (
                 INSERT INTO {schema}.snapshot_chunks
                 SELECT $1, $2, c.* FROM emptied, unnest($13::oid[], $14::oid[], $15::bigint[],
                                                         $16::bigint[], $17::bigint[], $18::bigint[]) AS c),
             repairs AS (
                 INSERT INTO {schema}.snapshot_repairs
                 SELECT $1, $2, pg_catalog.sha256(key), key FROM emptied, pg_catalog.unnest($19::bytea[]) AS key
                 ON CONFLICT DO NOTHING)
             SELECT pg_catalog.pg_current_xact_id()::text FROM durable"
        );
        let lineage = self.lineage()?;
        let Columns { ids, incarnations, blocks, bytes, rows } = Columns::of(&copy.storages);
        let copied = &copy.copied;
        let storages: Vec<u32> = copied.iter().map(|range| range.storage).collect();
        let of: Vec<u32> = copied.iter().map(|range| range.incarnation).collect();
        let first: Vec<i64> = copied.iter().map(|range| range.first.into()).collect();
        let end: Vec<i64> = copied.iter().map(|range| range.end.into()).collect();
        let counts: Vec<i64> = copied.iter().map(|range| range.rows as i64).collect();
        let sizes: Vec<i64> = copied.iter().map(|range| range.bytes as i64).collect();
        let keys: Vec<&[u8]> = copy.repairs.iter().map(Row::as_bytes).collect();
        let (since, barrier) = (PgLsn::from(copy.since.0), copy.barrier as i64);
        let state = word(copy.state);
        let values: [&(dyn ToSql + Sync); 19] = [
            &self.pipeline,
            &copy.table.0,
            &state,
            &copy.again,
            &since,
            &barrier,
            &ids,
            &incarnations,
            &blocks,
            &bytes,
            &rows,
            &lineage,
            &storages,
            &of,
            &first,
            &end,
            &counts,
            &sizes,
            &keys,
        ];
        let xid: String = self
            .patiently(doing, async {
                let row = self.session().await?.client.query_one(&sql, &values).await;
                Ok(row.map_err(|error| query_reason(&error, doing))?.get(0))
            })
            .await?;
        xid.parse().map_err(|_| {
            let message = format!("{doing}: the server's transaction id cannot be read");
            Reason::new("SOURCE_ERROR", Class::Retry, "server", message, "It is tried again.")
        })
    }

    async fn change(&self, copy: &StoredCopy) -> Result<(), Reason> {
        let schema = &self.schema;
        let sql = format!(
            "{DURABLE}, obsolete AS (
                 DELETE FROM {schema}.snapshot_chunks AS c WHERE c.pipeline = $1 AND c.table_id = $2
                 AND NOT EXISTS (SELECT FROM unnest($5::oid[], $6::oid[]) AS s (id, incarnation)
                                 WHERE s.id = c.storage AND s.incarnation = c.incarnation))
             UPDATE {schema}.snapshot_tables AS t
             SET state = $3, barrier = $4, storages = $5, incarnations = $6, blocks = $7, bytes = $8,
                 row_estimates = $9, updated_at = pg_catalog.clock_timestamp()
             FROM durable WHERE t.pipeline = $1 AND t.table_id = $2"
        );
        let Columns { ids, incarnations, blocks, bytes, rows } = Columns::of(&copy.storages);
        let (state, barrier) = (word(copy.state), copy.barrier as i64);
        let table = copy.table.0;
        self.write(&sql, &[&self.pipeline, &table, &state, &barrier, &ids, &incarnations, &blocks, &bytes, &rows]).await
    }

    async fn copied(&self, table: TableId, range: CopiedRange) -> Result<(), Reason> {
        let schema = &self.schema;
        // A table of a terabyte has a hundred thousand parts; most of them touch one that is there.
        let sql = format!(
            "{DURABLE}, news AS (
                 SELECT FROM durable WHERE NOT EXISTS (
                     SELECT FROM {schema}.snapshot_chunks AS c
                     WHERE c.pipeline = $1 AND c.table_id = $2 AND c.storage = $3 AND c.incarnation = $4
                       AND c.first_block <= $5 AND c.end_block >= $6)),
             touching AS (
                 DELETE FROM {schema}.snapshot_chunks AS c USING news
                 WHERE c.pipeline = $1 AND c.table_id = $2 AND c.storage = $3 AND c.incarnation = $4
                   AND (c.end_block = $5 OR c.first_block = $6)
                 RETURNING c.first_block, c.end_block, c.row_count, c.bytes),
             together AS (
                 SELECT min(first_block) AS first, max(end_block) AS last, COALESCE(sum(row_count), 0)::bigint AS rows,
                        COALESCE(sum(bytes), 0)::bigint AS bytes FROM touching)
             INSERT INTO {schema}.snapshot_chunks
                 (pipeline, table_id, storage, incarnation, first_block, end_block, row_count, bytes)
             SELECT $1, $2, $3, $4, LEAST($5, first), GREATEST($6, last), $7 + rows, $8 + bytes FROM news, together"
        );
        let CopiedRange { storage, incarnation, first, end, rows, bytes } = range;
        let (first, end, rows, bytes) = (i64::from(first), i64::from(end), rows as i64, bytes as i64);
        self.write(&sql, &[&self.pipeline, &table.0, &storage, &incarnation, &first, &end, &rows, &bytes]).await
    }

    async fn add_repairs(&self, table: TableId, keys: &[Row]) -> Result<(), Reason> {
        let sql = format!(
            "{DURABLE}
             INSERT INTO {}.snapshot_repairs (pipeline, table_id, digest, key)
             SELECT $1, $2, pg_catalog.sha256(k.key), k.key FROM durable, pg_catalog.unnest($3::bytea[]) AS k (key)
             ON CONFLICT DO NOTHING",
            self.schema
        );
        for keys in keys.chunks(KEYS_MAX) {
            let keys: Vec<&[u8]> = keys.iter().map(Row::as_bytes).collect();
            self.write(&sql, &[&self.pipeline, &table.0, &keys]).await?;
        }
        Ok(())
    }

    async fn repaired(&self, table: TableId, keys: &[Row]) -> Result<(), Reason> {
        let sql = format!(
            "{DURABLE}
             DELETE FROM {}.snapshot_repairs AS r USING durable, pg_catalog.unnest($3::bytea[]) AS k (key)
             WHERE r.pipeline = $1 AND r.table_id = $2 AND r.digest = pg_catalog.sha256(k.key)",
            self.schema
        );
        for keys in keys.chunks(KEYS_MAX) {
            let keys: Vec<&[u8]> = keys.iter().map(Row::as_bytes).collect();
            self.write(&sql, &[&self.pipeline, &table.0, &keys]).await?;
        }
        Ok(())
    }

    async fn finished(&self, table: TableId) -> Result<(), Reason> {
        let schema = &self.schema;
        let sql = format!(
            "{DURABLE}, chunks AS (DELETE FROM {schema}.snapshot_chunks WHERE pipeline = $1 AND table_id = $2),
             repairs AS (DELETE FROM {schema}.snapshot_repairs WHERE pipeline = $1 AND table_id = $2),
             complete AS (
                 UPDATE {schema}.checkpoints
                 SET incomplete_tables = pg_catalog.array_remove(incomplete_tables, $2)
                 WHERE pipeline = $1 AND $2 = ANY (incomplete_tables))
             DELETE FROM {schema}.snapshot_tables AS t USING durable WHERE t.pipeline = $1 AND t.table_id = $2"
        );
        // First, so that no checkpoint that is stored meanwhile calls the table incomplete again. Should this fail, the
        // stored copy still says what is left to do.
        self.checkpoints.complete(table);
        self.write(&sql, &[&self.pipeline, &table.0]).await
    }
}

/// What makes the tables, as far as they are missing.
pub(super) fn create_sql(schema: &str) -> String {
    let schema = identifier(schema);
    let comment = literal("How far each Sluicegate pipeline's first copies are. Do not change by hand.");
    format!(
        "CREATE TABLE IF NOT EXISTS {schema}.snapshot_tables (
    pipeline text,
    table_id oid,
    state text NOT NULL,
    again boolean NOT NULL,
    since pg_catalog.pg_lsn NOT NULL,
    barrier bigint NOT NULL,
    storages oid[] NOT NULL,
    incarnations oid[] NOT NULL,
    blocks bigint[] NOT NULL,
    bytes bigint[] NOT NULL,
    row_estimates bigint[] NOT NULL,
    lineage text NOT NULL,
    format integer NOT NULL,
    updated_at timestamptz NOT NULL,
    PRIMARY KEY (pipeline, table_id)
);
CREATE TABLE IF NOT EXISTS {schema}.snapshot_chunks (
    pipeline text,
    table_id oid,
    storage oid,
    incarnation oid,
    first_block bigint,
    end_block bigint NOT NULL,
    row_count bigint NOT NULL,
    bytes bigint NOT NULL,
    PRIMARY KEY (pipeline, table_id, storage, incarnation, first_block)
);
CREATE TABLE IF NOT EXISTS {schema}.snapshot_repairs (
    pipeline text,
    table_id oid,
    digest bytea,
    key bytea NOT NULL,
    PRIMARY KEY (pipeline, table_id, digest)
);
COMMENT ON TABLE {schema}.snapshot_tables IS {comment};"
    )
}
