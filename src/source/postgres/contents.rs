//! Reads tables' contents as they are now, for a comparison with their copies.
//!
//! In: the selected tables. Out: rows as COPY writes them, in the text that the stream would have sent. Always: only
//! what is replicated (the publication's columns and rows, a partitioned table as its partitions); every transaction
//! is read-only and short: a large table is read in ranges of blocks, each in a transaction of its own. A row that
//! moves meanwhile may be seen twice or not at all. Not here: what is compared (`verify`). Start at [`Contents::open`].

use std::collections::HashMap;

use tokio_postgres::{Client, SimpleQueryMessage};
use tokio_stream::StreamExt;

use super::by_key::{ByKey, KEYS_MAX, ONLY_INDEXES};
use super::catalog::{Kind, quoted};
use super::client::SqlSession;
use super::copy_rows::{CopyError, Rows};
use super::quote::{identifier, literal};
use super::sqlstate::query_reason;
use super::wal_position::WalLayout;
use super::{Options, checkpoints, equality, publication, setup};
use crate::model::{Class, EachRow, Lsn, Reason, TableId, TableName, TableSchema, Value};
use crate::source::{Readable, Reader, Standing};

/// Bytes of a table that one transaction reads: a second or a few.
const RANGE_BYTES: i64 = 256 << 20;

/// Bytes of rows that are taken apart before they are handed on.
const BATCH_BYTES: usize = 64 << 10;

/// A table as it is read.
#[derive(Clone, Debug)]
struct Part {
    name: TableName,
    /// The tables that hold its rows: itself, or its partitions.
    heaps: Vec<TableName>,
    /// The publication's row filter, as SQL.
    filter: Option<String>,
}

/// The contents of the selected tables, over one connection.
#[derive(Debug)]
pub struct Contents {
    session: SqlSession,
    options: Options,
    layout: WalLayout,
    tables: HashMap<TableId, Part>,
}

impl Contents {
    /// Connects and finds the selected tables, by name.
    ///
    /// # Errors
    /// If the server cannot be asked.
    pub async fn open(mut options: Options) -> Result<(Contents, Vec<Readable>), Reason> {
        options.connect = options.connect.for_pipeline(&options.pipeline);
        let session = SqlSession::connect(&options.connect, "verify").await?;
        let layout = WalLayout::of(&session.client).await?;
        let inspection = setup::inspect(&session.client, &options, None).await?;
        let filters = publication::filters(&session.client, inspection.server.version, &options.publication).await?;
        let incomplete = inspection.checkpoint.as_ref().ok().and_then(Option::as_ref);
        let incomplete = incomplete.map(|checkpoint| checkpoint.incomplete_tables.clone()).unwrap_or_default();
        let (mut tables, mut readable) = (HashMap::new(), Vec::new());
        for schema in inspection.schemas() {
            let Some(selected) = inspection.selection.tables.iter().find(|table| table.relation.id == schema.id.0)
            else {
                continue;
            };
            let filter = filters.get(&schema.name).cloned();
            let mut notes = Vec::new();
            if incomplete.contains(&schema.id.0) {
                notes.push("rows that existed before its changes were followed were never copied".to_owned());
            }
            match &inspection.publication {
                Some(publication) if publication.members.contains_key(&schema.name) => {}
                _ => notes.push(format!("publication {} does not hold it", options.publication)),
            }
            if filter.is_some() {
                notes.push("only the rows that pass the publication's filter are replicated and compared".to_owned());
            }
            // Changes of foreign tables are in no log of ours, also when they are partitions.
            let leaves = selected.relation.leaves.iter().filter(|leaf| leaf.kind != Kind::Foreign);
            let heaps = match selected.relation.kind {
                Kind::Partitioned => leaves.map(|leaf| leaf.name.clone()).collect(),
                _ => vec![schema.name.clone()],
            };
            tables.insert(schema.id, Part { name: schema.name.clone(), heaps, filter });
            readable.push(Readable { schema, notes });
        }
        Ok((Contents { session, options, layout, tables }, readable))
    }

    fn part(&self, schema: &TableSchema) -> Result<&Part, Reason> {
        self.tables.get(&schema.id).ok_or_else(|| {
            let message = format!("table {} is to be read and was not found before", schema.name);
            Reason::new("BUG", Class::Bug, schema.name.to_string(), message, "Report it, please.")
        })
    }

    /// Reads the rows of a query. `settings` end with it.
    async fn copy(
        &self,
        select: &str,
        settings: &str,
        columns: usize,
        name: &TableName,
        each: EachRow<'_>,
    ) -> Result<(), Reason> {
        let doing = format!("reading {name}");
        let client = &self.session.client;
        let failed = |error: tokio_postgres::Error| unreadable(&error, name);
        // Rows that row security hides from us are an error, not rows that are not there.
        let begin =
            format!("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SET LOCAL row_security = off; {settings}");
        client.batch_execute(&begin).await.map_err(failed)?;
        let read = async {
            let rows = client.copy_out(&format!("COPY ({select}) TO STDOUT")).await.map_err(failed)?;
            tokio::pin!(rows);
            // PostgreSQL's own limit is 1,600 columns.
            let mut batch = Batch::new(u16::try_from(columns).unwrap_or(u16::MAX));
            while let Some(bytes) = rows.next().await {
                batch.push(&bytes.map_err(failed)?, each).map_err(|error| broken(&error, name))?;
            }
            batch.hand_on(each);
            Ok(())
        };
        let outcome = read.await;
        let ended = client.batch_execute("COMMIT").await.map_err(|error| query_reason(&error, &doing));
        outcome.and(ended)
    }

    /// A position behind everything that was visible until now: a commit is seen before it is on disk, so that only
    /// the end of what was inserted is safe.
    async fn end(&self) -> Result<Lsn, Reason> {
        let query = "SELECT pg_catalog.pg_current_wal_insert_lsn()";
        let text = one(&self.session.client, query).await?;
        Ok(self.layout.end_of_last(text.as_deref().and_then(|text| text.parse().ok()).unwrap_or(Lsn::INVALID)))
    }
}

/// Rows that were received and not handed on yet.
struct Batch {
    columns: u16,
    rows: Rows,
}

impl Batch {
    fn new(columns: u16) -> Batch {
        Batch { columns, rows: Rows::new(columns, BATCH_BYTES) }
    }

    fn push(&mut self, payload: &[u8], each: EachRow<'_>) -> Result<(), CopyError> {
        self.rows.push(payload)?;
        if self.rows.size() >= BATCH_BYTES {
            self.hand_on(each);
        }
        Ok(())
    }

    fn hand_on(&mut self, each: EachRow<'_>) {
        let (rows, _) = std::mem::replace(&mut self.rows, Rows::new(self.columns, BATCH_BYTES)).finish();
        let mut values = Vec::with_capacity(self.columns.into());
        for row in &rows {
            values.clear();
            values.extend(row.columns().map(|value| match value {
                Value::Text(text) => Some(text),
                Value::Null | Value::Unchanged => None,
            }));
            each(&values);
        }
    }
}

async fn one(client: &Client, query: &str) -> Result<Option<String>, Reason> {
    let doing = |error: tokio_postgres::Error| query_reason(&error, "asking for the position");
    let answer = client.simple_query(query).await.map_err(doing)?;
    Ok(answer.iter().find_map(|message| match message {
        SimpleQueryMessage::Row(row) => row.try_get(0).ok().flatten().map(str::to_owned),
        _ => None,
    }))
}

fn broken(error: &CopyError, name: &TableName) -> Reason {
    Reason::new(
        "SOURCE_PROTOCOL",
        Class::Bug,
        name.to_string(),
        format!("reading {name}: {error}"),
        "Report it, please.",
    )
}

/// A table that is gone or changed since it was looked at is told apart.
fn unreadable(error: &tokio_postgres::Error, name: &TableName) -> Reason {
    use tokio_postgres::error::SqlState;
    let doing = format!("reading {name}");
    let changed = [&SqlState::UNDEFINED_COLUMN, &SqlState::UNDEFINED_TABLE];
    if !error.code().is_some_and(|code| changed.contains(&code)) {
        return query_reason(error, &doing);
    }
    let message = format!("{doing}: the table was changed, renamed or dropped meanwhile");
    Reason::new("TABLE_CHANGED", Class::Retry, name.to_string(), message, "Compare it again.")
}

fn list(schema: &TableSchema, columns: &[usize]) -> String {
    columns.iter().map(|column| identifier(&schema.columns[*column].name)).collect::<Vec<_>>().join(", ")
}

/// `WHERE` with all of these conditions; empty if there are none.
fn conditions<'a>(conditions: impl IntoIterator<Item = &'a str>) -> String {
    let all: Vec<String> = conditions.into_iter().map(|condition| format!("({condition})")).collect();
    if all.is_empty() { String::new() } else { format!(" WHERE {}", all.join(" AND ")) }
}

/// The ranges of blocks in which a table of `blocks` blocks is read: the last has no end, since rows may be added.
fn ranges(blocks: i64, range_blocks: i64) -> Vec<Option<String>> {
    if blocks <= range_blocks {
        return vec![None];
    }
    let starts = (0..blocks).step_by(usize::try_from(range_blocks).unwrap_or(usize::MAX));
    let range = |start: i64| match start + range_blocks {
        end if end < blocks => format!("ctid >= '({start},0)' AND ctid < '({end},0)'"),
        _ => format!("ctid >= '({start},0)'"),
    };
    starts.map(|start| Some(range(start))).collect()
}

impl Reader for Contents {
    async fn scan(&self, schema: &TableSchema, columns: &[usize], each: EachRow<'_>) -> Result<Lsn, Reason> {
        let part = self.part(schema)?;
        for heap in &part.heaps {
            let failed = |error: tokio_postgres::Error| unreadable(&error, heap);
            let query = "SELECT pg_catalog.pg_relation_size(pg_catalog.to_regclass($1)),
                                pg_catalog.current_setting('block_size')::int8";
            let row = self.session.client.query_one(query, &[&quoted(heap)]).await.map_err(failed)?;
            let (bytes, block): (Option<i64>, i64) = (row.get(0), row.get(1));
            // Of a table that was dropped meanwhile reading tells.
            let blocks = bytes.unwrap_or(0) / block;
            for range in ranges(blocks, RANGE_BYTES / block) {
                let wanted = conditions(range.as_deref().into_iter().chain(part.filter.as_deref()));
                let select = format!("SELECT {} FROM ONLY {}{wanted}", list(schema, columns), quoted(heap));
                self.copy(&select, "", columns.len(), heap, each).await?;
            }
        }
        self.end().await
    }

    async fn rows(
        &self,
        schema: &TableSchema,
        columns: &[usize],
        keys: &[Vec<String>],
        each: EachRow<'_>,
    ) -> Result<Lsn, Reason> {
        let part = self.part(schema)?;
        let equalities = equality::columns(&self.session.client, schema.id).await?;
        let by_key = ByKey::new(schema, &equalities);
        let name = quoted(&part.name);
        for keys in keys.chunks(KEYS_MAX) {
            let among = by_key.condition(&name, keys);
            let wanted = conditions([among.as_str()].into_iter().chain(part.filter.as_deref()));
            let select = format!("SELECT {} FROM {name}{wanted}", list(schema, columns));
            self.copy(&select, ONLY_INDEXES, columns.len(), &part.name, each).await?;
        }
        self.end().await
    }

    async fn standing(&self) -> Result<Standing, Reason> {
        let client = &self.session.client;
        let checkpoint = checkpoints::stored(client, &self.options).await?;
        // Of the sessions of its own role everybody may see everything.
        let query = format!(
            "SELECT r.write_lsn FROM pg_catalog.pg_replication_slots s
                 JOIN pg_catalog.pg_stat_replication r ON r.pid = s.active_pid WHERE s.slot_name = {}",
            literal(&self.options.slot)
        );
        let received = one(client, &query).await?.and_then(|text| text.parse().ok());
        Ok(Standing {
            stored: checkpoint.as_ref().map(|checkpoint| checkpoint.lsn),
            received,
            paused: checkpoint.is_some_and(|checkpoint| checkpoint.paused),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_cover_every_block_once_and_the_last_has_no_end() {
        let cases: [(i64, &[&str]); 4] = [
            (0, &[]),
            (10, &[]),
            (11, &["ctid >= '(0,0)' AND ctid < '(10,0)'", "ctid >= '(10,0)'"]),
            (20, &["ctid >= '(0,0)' AND ctid < '(10,0)'", "ctid >= '(10,0)'"]),
        ];
        for (blocks, want) in cases {
            let got: Vec<String> = ranges(blocks, 10).into_iter().flatten().collect();
            assert_eq!(got, want, "{blocks}");
        }
    }

    #[test]
    fn rows_are_handed_on_in_order_however_many_there_are() {
        let mut got: Vec<Vec<Option<Vec<u8>>>> = Vec::new();
        let mut each =
            |values: &[Option<&[u8]>]| got.push(values.iter().map(|value| value.map(<[u8]>::to_vec)).collect());
        let mut batch = Batch::new(2);
        let value = |n: usize| (!n.is_multiple_of(3)).then(|| vec![b'v'; n % 100]);
        for n in 0..BATCH_BYTES / 20 {
            let text = value(n).map_or(b"\\N".to_vec(), |value| value);
            batch.push(&[n.to_string().as_bytes(), b"\t", &text, b"\n"].concat(), &mut each).unwrap();
        }
        assert_eq!(batch.push(b"1\n", &mut each), Err(CopyError::Columns { expected: 2, found: 1 }));
        batch.hand_on(&mut each);
        let want = (0..BATCH_BYTES / 20).map(|n| vec![Some(n.to_string().into_bytes()), value(n)]);
        assert_eq!(got, want.collect::<Vec<_>>());
    }

    #[test]
    fn conditions_are_joined() {
        assert_eq!(conditions([]), "");
        assert_eq!(conditions(["a = 1 OR b", "c"]), " WHERE (a = 1 OR b) AND (c)");
    }
}
