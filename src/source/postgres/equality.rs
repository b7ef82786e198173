//! How a column's values are compared as its own index compares them.
//!
//! In: a table. Out: for each column its type and its operator of equality, as SQL. Always: names are qualified, since
//! the session's `search_path` is empty, which hides the operators of types that extensions bring: `=` of an `ltree`
//! is not found, and that of a `citext` is `text`'s, which its index does not serve.

use std::collections::HashMap;

use tokio_postgres::Client;

use super::sqlstate::query_reason;
use crate::model::{Reason, TableId};

/// How one column is compared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Equality {
    /// The type, for casts; without length, which would cut off (`character` is one character long).
    pub(super) ty: String,
    /// The operator, `OPERATOR(schema.=)`.
    pub(super) operator: String,
}

/// The operator is that of the type's default B-tree; what has none of its own (domains apart, these are varchar,
/// arrays, enums, ranges, rows and the reg types) is compared by one of `pg_catalog`.
const COLUMNS: &str = "
    SELECT a.attname::text, pg_catalog.format_type(a.atttypid, -1),
           COALESCE((
               WITH RECURSIVE under(oid) AS (
                   SELECT a.atttypid
                   UNION ALL
                   SELECT d.typbasetype FROM under u JOIN pg_catalog.pg_type d ON d.oid = u.oid AND d.typtype = 'd'
               )
               SELECT pg_catalog.format('OPERATOR(%I.%s)', n.nspname, o.oprname)
               FROM under u JOIN pg_catalog.pg_opclass c ON c.opcintype = u.oid AND c.opcdefault
                    JOIN pg_catalog.pg_am m ON m.oid = c.opcmethod AND m.amname = 'btree'
                    JOIN pg_catalog.pg_amop s ON s.amopfamily = c.opcfamily AND s.amoplefttype = c.opcintype
                         AND s.amoprighttype = c.opcintype AND s.amopstrategy = 3
                    JOIN pg_catalog.pg_operator o ON o.oid = s.amopopr
                    JOIN pg_catalog.pg_namespace n ON n.oid = o.oprnamespace
               LIMIT 1), 'OPERATOR(pg_catalog.=)')
    FROM pg_catalog.pg_attribute a
    WHERE a.attrelid = $1 AND a.attnum > 0 AND NOT a.attisdropped";

/// The columns of a table by name.
pub(super) async fn columns(client: &Client, TableId(id): TableId) -> Result<HashMap<String, Equality>, Reason> {
    let rows =
        client.query(COLUMNS, &[&id]).await.map_err(|error| query_reason(&error, "reading how keys are compared"))?;
    Ok(rows.iter().map(|row| (row.get(0), Equality { ty: row.get(1), operator: row.get(2) })).collect())
}
