//! Reads rows as they are now, by key.
//!
//! In: keys. Out: for each the whole row, in the layout and text that the stream would have sent. Always: the text
//! comes straight from the types' output functions under the session's pinned settings, as in pgoutput; a cast to
//! `text` would not do (it strips the padding of `char(n)`). Not here: when a row must be read. Start at
//! [`fetch_after`].

use std::collections::HashMap;
use std::time::Duration;

use tokio::time::{Instant, sleep};
use tokio_postgres::{Client, SimpleQueryMessage, SimpleQueryRow};
use tokio_stream::StreamExt;

use super::by_key::{ByKey, KEYS_MAX, ONLY_INDEXES};
use super::catalog::quoted;
use super::equality::{self, Equalities};
use super::quote::identifier;
use super::sqlstate::query_reason;
use crate::model::{
    Class, ParseVisibilityError, Reason, Row, RowBuilder, TableId, TableName, TableSchema, Value, Visibility,
};

/// How long one call waits for a snapshot that sees enough.
const SIGHT_PATIENCE: Duration = Duration::from_secs(5);
/// The first and the longest pause between two looks.
const PAUSES: [Duration; 2] = [Duration::from_millis(2), Duration::from_millis(250)];

/// Reads the rows of `keys` under one snapshot that sees the transactions `after`. The stream tells a commit before
/// readers see it, so what an earlier snapshot has may be older than what was told.
///
/// # Errors
/// As [`fetch`], and if these transactions do not become visible for a while.
pub(super) async fn fetch_after(
    client: &Client,
    schema: &TableSchema,
    keys: &[Row],
    after: &[u32],
) -> Result<Vec<Option<Row>>, Reason> {
    let [mut pause, longest] = PAUSES;
    let deadline = Instant::now() + SIGHT_PATIENCE;
    let failed = |error: tokio_postgres::Error| query_reason(&error, "looking at rows again");
    // Rows that row security hides from us are an error, not rows that are not there.
    let begin =
        format!("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SET LOCAL row_security = off; {ONLY_INDEXES}");
    loop {
        client.batch_execute(&begin).await.map_err(failed)?;
        let missed = misses(client, after).await?;
        if missed == 0 {
            let rows = fetch(client, schema, keys).await?;
            client.batch_execute("COMMIT").await.map_err(failed)?;
            return Ok(rows);
        }
        client.batch_execute("ROLLBACK").await.map_err(failed)?;
        if Instant::now() >= deadline {
            return Err(unseen(schema, missed));
        }
        sleep(pause).await;
        pause = (pause * 2).min(longest);
    }
}

/// How many of these transactions the present snapshot does not see.
async fn misses(client: &Client, after: &[u32]) -> Result<usize, Reason> {
    let doing = "asking which transactions are visible";
    let statement = "SELECT pg_catalog.pg_current_snapshot()::text";
    let row = client.query_one(statement, &[]).await.map_err(|error| query_reason(&error, doing))?;
    let sees: Visibility = row.get::<_, String>(0).parse().map_err(|error: ParseVisibilityError| {
        Reason::new("SOURCE_ANSWER", Class::Wait, "server", format!("{doing}: {error}"), "Report it, please.")
    })?;
    Ok(after.iter().filter(|xid| !sees.sees(**xid)).count())
}

fn unseen(schema: &TableSchema, missed: usize) -> Reason {
    let object = schema.name.to_string();
    let message = format!("reading rows of {object} again: {missed} commits are in the log but not visible yet");
    let remedy = "They wait for a synchronous standby, most likely: see pg_stat_replication and \
                  synchronous_standby_names. It is tried again by itself.";
    Reason::new("SOURCE_UNSEEN", Class::Retry, object, message, remedy)
}

/// Reads the rows of `keys`, in their order; `None` where there is no such row. Whole rows come back, so the caller
/// bounds memory by how many it asks for.
///
/// # Errors
/// If the table cannot be asked, is gone or no longer has these columns.
pub(super) async fn fetch(client: &Client, schema: &TableSchema, keys: &[Row]) -> Result<Vec<Option<Row>>, Reason> {
    let name = current_name(client, schema.id).await?.ok_or_else(|| dropped(schema))?;
    let equalities = equality::columns(client, schema.id).await?;
    let mut rows = Vec::with_capacity(keys.len());
    for batch in keys.chunks(KEYS_MAX) {
        let mut found = fetch_batch(client, &name, schema, &equalities, batch).await?;
        // The same key may be asked for twice.
        rows.extend(batch.iter().map(|key| key_bytes(schema, key).and_then(|key| found.get_mut(&key).cloned())));
    }
    Ok(rows)
}

/// A table that was renamed is still the one that is meant, and another under its old name is not.
async fn current_name(client: &Client, TableId(id): TableId) -> Result<Option<TableName>, Reason> {
    let statement = "SELECT n.nspname::text, c.relname::text FROM pg_catalog.pg_class c
                     JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = $1";
    let row = client.query_opt(statement, &[&id]).await.map_err(|error| query_reason(&error, "looking for a table"))?;
    Ok(row.map(|row| TableName { schema: row.get(0), name: row.get(1) }))
}

type Key = Vec<Vec<u8>>;

/// The key's bytes; `None` if a part of it is missing, which no row matches.
fn key_bytes(schema: &TableSchema, row: &Row) -> Option<Key> {
    let values: Vec<Value<'_>> = row.columns().collect();
    let part = |column: &usize| match values.get(*column) {
        Some(Value::Text(text)) => Some(text.to_vec()),
        _ => None,
    };
    schema.key.iter().map(part).collect()
}

async fn fetch_batch(
    client: &Client,
    name: &TableName,
    schema: &TableSchema,
    equalities: &Equalities,
    keys: &[Row],
) -> Result<HashMap<Key, Row>, Reason> {
    let doing = || format!("reading rows of {} again", schema.name);
    let keys: Vec<Key> = keys.iter().filter_map(|key| key_bytes(schema, key)).collect();
    let mut found = HashMap::with_capacity(keys.len());
    if keys.is_empty() {
        return Ok(found);
    }
    let sql = statement(name, schema, equalities, &keys).ok_or_else(|| not_utf8(schema))?;
    let answers = client.simple_query_raw(&sql).await.map_err(|error| refused(&error, schema, &doing()))?;
    tokio::pin!(answers);
    while let Some(answer) = answers.next().await {
        if let SimpleQueryMessage::Row(answer) = answer.map_err(|error| refused(&error, schema, &doing()))? {
            let row = row(&answer, schema.columns.len()).ok_or_else(|| not_utf8(schema))?;
            if let Some(key) = key_bytes(schema, &row) {
                found.insert(key, row);
            }
        }
    }
    Ok(found)
}

/// The simple protocol answers in text whatever the types. It has no parameters, so the values are literals. `None` if
/// a value is not UTF-8.
fn statement(name: &TableName, schema: &TableSchema, equalities: &Equalities, keys: &[Key]) -> Option<String> {
    let columns: Vec<String> = schema.columns.iter().map(|column| identifier(&column.name)).collect();
    let keys: Vec<Vec<&str>> = keys.iter().map(texts).collect::<Option<_>>()?;
    let (name, by_key) = (quoted(name), ByKey::new(schema, equalities));
    Some(format!("SELECT {} FROM {name} WHERE {}", columns.join(", "), by_key.condition(&name, &keys)))
}

fn texts(key: &Key) -> Option<Vec<&str>> {
    key.iter().map(|part| std::str::from_utf8(part).ok()).collect()
}

/// The row in the shared layout; `None` if a value is not UTF-8.
fn row(answer: &SimpleQueryRow, columns: usize) -> Option<Row> {
    let mut built = RowBuilder::with_capacity(columns * 8);
    for column in 0..columns {
        built.push(answer.try_get(column).ok()?.map_or(Value::Null, |text| Value::Text(text.as_bytes())));
    }
    Some(built.finish())
}

fn not_utf8(schema: &TableSchema) -> Reason {
    let object = schema.name.to_string();
    let message = format!("reading rows of {object} again: a value is not UTF-8");
    Reason::new("SOURCE_ENCODING", Class::Wait, object, message, "Store text as UTF-8 in the source.")
}

/// That the table is gone says nothing of the row at the time of the change.
fn dropped(schema: &TableSchema) -> Reason {
    let object = schema.name.to_string();
    let message = format!("reading rows of {object} again: the table was dropped after the change");
    let remedy = "If its last changes are not needed, take the table out of TABLES (a pattern that matched it may stay) \
                  and restart Sluicegate: they are left out then. Else load the table's last state by other means \
                  before.";
    Reason::new("TABLE_DROPPED", Class::Wait, object, message, remedy)
}

/// Columns that are gone are told apart: the stream will tell of the change.
fn refused(error: &tokio_postgres::Error, schema: &TableSchema, doing: &str) -> Reason {
    if error.code() != Some(&tokio_postgres::error::SqlState::UNDEFINED_COLUMN) {
        return query_reason(error, doing);
    }
    let object = schema.name.to_string();
    let message = format!("{doing}: a column is gone or was renamed since the change");
    let remedy =
        "Set REPLICA IDENTITY FULL on the table before changing its columns. Load the row again by other means.";
    Reason::new("TABLE_CHANGED", Class::Wait, object, message, remedy)
}
