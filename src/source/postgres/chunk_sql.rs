//! The statements that read parts of a table.
//!
//! In: names as the server quotes them, a table's columns, a part. Out: SQL. Always: columns are named, since those of
//! a leaf may stand in another order than its root's; a statement that would read another table than the one that is
//! meant fails before its first row. Not here: running them (`chunk_connection`). Start at [`blocks`].

use std::fmt::Write as _;

use super::by_key::{ByKey, KEYS_MAX, ONLY_INDEXES};
use super::equality::Equalities;
use super::quote::{identifier, literal};
use crate::model::{Row, TableSchema, Value};
use crate::source::BlockRange;

/// What the server complains of where a name no longer means the table it meant when it was looked up.
pub(super) const MOVED: &str = "sluicegate: another table";

/// Settings of a session that reads parts.
///
/// A lock is not waited for long: behind a queued change of the table nothing is read anyway. `row_security = off`
/// makes a policy that would hide rows an error. Compiling a plan, or workers for it, would cost more than a part.
pub(super) const SETTINGS: &str = "SET lock_timeout = '2s'; SET idle_in_transaction_session_timeout = '60s'; \
     SET row_security = off; SET jit = off; SET max_parallel_workers_per_gather = 0";

/// Begins the transaction of a part and tells what it sees, and then where the log is.
///
/// A transaction of this level has one snapshot, taken before its first statement is even analysed (PostgreSQL 18
/// documentation, 13.2.2): all functions of the statement run after, and `pg_current_snapshot` tells that very one.
/// What the snapshot sees had written its commit record before it left the list of running transactions, which the
/// snapshot was made of. So its commit record lies before a position asked for afterwards.
pub(super) const BEGIN: &str = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; \
     SELECT pg_catalog.pg_current_snapshot(), pg_catalog.pg_current_wal_insert_lsn()";

/// How plans for blocks are kept to the blocks: an index that serves the row filter would be read from end to end.
const ONLY_BLOCKS: &str = "SET LOCAL enable_seqscan = off; SET LOCAL enable_indexscan = off; \
     SET LOCAL enable_indexonlyscan = off; SET LOCAL enable_bitmapscan = off";

/// A table or leaf as the server names it now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Named {
    /// Its OID.
    pub(super) id: u32,
    /// Qualified and quoted.
    pub(super) name: String,
    /// The publication's filter on the table's rows, as an expression.
    pub(super) filter: Option<String>,
}

/// Prepares reading: the name of a relation as it is now (its OID if it is gone), and the publication's row filter on
/// the table. A filter holds for a table that the publication names itself; one that it has with a whole schema, or
/// with all tables, has none.
pub(super) fn look_up(relation: u32, table: u32, publication: &str, filters: bool, by_keys: bool) -> String {
    let plans = if by_keys { ONLY_INDEXES } else { ONLY_BLOCKS };
    let filter = if filters {
        format!(
            "(SELECT pg_catalog.pg_get_expr(r.prqual, r.prrelid)
              FROM pg_catalog.pg_publication_rel r JOIN pg_catalog.pg_publication p ON p.oid = r.prpubid
                   JOIN pg_catalog.pg_class c ON c.oid = r.prrelid
              WHERE p.pubname = {} AND r.prrelid = {table} AND NOT p.puballtables
                AND NOT EXISTS (SELECT FROM pg_catalog.pg_publication_namespace s
                                WHERE s.pnpubid = p.oid AND s.pnnspid = c.relnamespace))",
            literal(publication)
        )
    } else {
        "NULL".to_owned()
    };
    // The cast to text asks the catalog as it is now, and qualifies the name since `search_path` is empty.
    format!("{plans}; SELECT {relation}::pg_catalog.regclass::pg_catalog.text, {filter}")
}

/// Reads all rows of some blocks.
pub(super) fn blocks(from: &Named, schema: &TableSchema, range: &BlockRange) -> String {
    let wanted =
        format!("ctid >= '({},0)'::pg_catalog.tid AND ctid < '({},0)'::pg_catalog.tid", range.first, range.end);
    copy(from, "ONLY ", schema, &wanted)
}

/// Reads the rows of some keys. `None` if a part of a key is missing or not UTF-8.
pub(super) fn keys(from: &Named, schema: &TableSchema, equalities: &Equalities, keys: &[Row]) -> Option<String> {
    let by_key = ByKey::new(schema, equalities);
    let mut statements = Vec::new();
    for batch in keys.chunks(KEYS_MAX) {
        let texts: Vec<Vec<&str>> = batch.iter().map(|key| texts(schema, key)).collect::<Option<_>>()?;
        statements.push(copy(from, "", schema, &by_key.condition(&from.name, &texts)));
    }
    Some(statements.join("; "))
}

fn texts<'a>(schema: &TableSchema, key: &'a Row) -> Option<Vec<&'a str>> {
    let part = |value: Value<'a>| match value {
        Value::Text(text) => std::str::from_utf8(text).ok(),
        Value::Null | Value::Unchanged => None,
    };
    let parts: Vec<&str> = key.columns().map(part).collect::<Option<_>>()?;
    (parts.len() == schema.key.len()).then_some(parts)
}

fn copy(from: &Named, only: &str, schema: &TableSchema, wanted: &str) -> String {
    let Named { id, name, filter } = from;
    // The name is resolved as this statement is analysed; it may have passed to another table since it was looked up,
    // and columns of the same names are no proof. The condition is decided by the planner and costs no row anything.
    let same = format!(
        "CASE WHEN {}::pg_catalog.regclass::pg_catalog.oid = {id} THEN true \
         ELSE {}::pg_catalog.text::pg_catalog.bool END",
        literal(name),
        literal(MOVED)
    );
    let mut sql = format!(
        "COPY (SELECT {} FROM {only}{name} WHERE {wanted} AND {same}",
        columns(schema, 0..schema.columns.len())
    );
    if let Some(filter) = filter {
        // Writing to a String cannot fail.
        _ = write!(sql, " AND ({filter})");
    }
    sql.push_str(") TO STDOUT");
    sql
}

fn columns(schema: &TableSchema, which: impl Iterator<Item = usize>) -> String {
    which.map(|column| identifier(&schema.columns[column].name)).collect::<Vec<_>>().join(", ")
}

/// Ends the transaction of a part, and tells whether what was read counts: the file of the relation itself, and
/// whether every file is the one that the transaction's snapshot knows.
///
/// Only the catalog's table is read under the snapshot; the function tells the file as it is now. That differs where
/// the table was emptied or rewritten after the snapshot, which hides rows that the snapshot should see (PostgreSQL
/// documentation, 13.6 "Caveats"). The lock that reading took is held until the end, so that it cannot happen later.
pub(super) fn finish(relation: u32) -> String {
    format!(
        "SELECT pg_catalog.pg_relation_filenode({relation}),
                (SELECT pg_catalog.bool_and(COALESCE(c.relfilenode = pg_catalog.pg_relation_filenode(c.oid), false))
                 FROM pg_catalog.pg_class c
                 WHERE c.relkind = 'r'
                   AND (c.oid = {relation}
                        OR c.oid IN (SELECT t.relid FROM pg_catalog.pg_partition_tree({relation}) t WHERE t.isleaf)));
         COMMIT"
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Column, ColumnType, RowBuilder, TableId, TableName};

    fn schema() -> TableSchema {
        let column = |name: &str| Column { name: name.into(), ty: ColumnType::Text, nullable: false };
        TableSchema {
            id: TableId(7),
            name: TableName { schema: "s".into(), name: "t".into() },
            target: "t".into(),
            columns: vec![column("a"), column("B\"; --"), column("c")],
            key: vec![2, 0],
            complete: true,
        }
    }

    fn key(values: &[Value<'_>]) -> Row {
        let mut row = RowBuilder::with_capacity(0);
        values.iter().for_each(|value| row.push(*value));
        row.finish()
    }

    #[test]
    fn names_and_values_are_quoted() {
        let from = Named { id: 9, name: "s.\"T'\"".into(), filter: Some("a > 1 OR b".into()) };
        let range = BlockRange { storage: 9, incarnation: 1, first: 3, end: u32::MAX };
        let sql = blocks(&from, &schema(), &range);
        assert!(sql.starts_with(r#"COPY (SELECT "a", "B""; --", "c" FROM ONLY s."T'" WHERE ctid >= '(3,0)'"#), "{sql}");
        assert!(sql.contains("'s.\"T''\"'::pg_catalog.regclass::pg_catalog.oid = 9"), "{sql}");
        assert!(sql.ends_with(" AND (a > 1 OR b)) TO STDOUT"), "{sql}");

        let from = Named { filter: None, ..from };
        let one = key(&[Value::Text(b"it's"), Value::Text(b"\\")]);
        let sql = keys(&from, &schema(), &Equalities::new(), std::slice::from_ref(&one)).unwrap();
        assert!(sql.contains(r#"FROM s."T'" WHERE EXISTS (SELECT FROM (VALUES ('it''s', '\')) AS k"#), "{sql}");
        assert!(sql.contains(r#"s."T'"."a" = k.k1) AND CASE"#), "{sql}");
        let many = keys(&from, &schema(), &Equalities::new(), &vec![one; KEYS_MAX + 1]).unwrap();
        assert_eq!(many.matches("COPY (").count(), 2);
    }

    #[test]
    fn a_key_that_no_row_can_have_is_refused() {
        let from = Named { id: 9, name: "t".into(), filter: None };
        let text = Value::Text(b"x");
        for bad in [key(&[text]), key(&[text, Value::Null]), key(&[text, Value::Text(b"\xff")])] {
            assert_eq!(keys(&from, &schema(), &Equalities::new(), &[bad]), None);
        }
    }
}
