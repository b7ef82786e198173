//! How a column's values are compared as its own index compares them.
//!
//! In: a table. Out: for each column the type that it rests on and its operator of equality, as SQL. Always: names are qualified, since
//! the session's `search_path` is empty, which hides the operators of types that extensions bring: `=` of an `ltree`
//! is not found, and that of a `citext` is `text`'s, which its index does not serve.

use std::collections::HashMap;

use tokio_postgres::Client;

use super::sqlstate::query_reason;
use crate::model::{Reason, TableId};

/// How one column is compared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Equality {
    /// The type, for casts; without length, which would cut off (`character` is one character long), and for a domain
    /// the type under it: a row that is there need not pass the domain's check (`NOT VALID`), and a domain over an
    /// enum has no operator.
    pub(super) ty: String,
    /// The operator, `OPERATOR(schema.=)`.
    pub(super) operator: String,
    /// Whether the column's type is a domain, and so to be cast to [`Equality::ty`] itself; no index minds.
    pub(super) domain: bool,
}

/// The columns of a table by name.
pub(super) type Equalities = HashMap<String, Equality>;

/// What [`read`] reads, without parameters. The operator is that of the type's default B-tree; what has none of its
/// own (varchar, arrays, enums, ranges, rows and the reg types) is compared by one of `pg_catalog`.
pub(super) fn query(TableId(id): TableId) -> String {
    format!(
        "SELECT a.attname::pg_catalog.text, pg_catalog.format_type(u.oid, -1),
                COALESCE((
                    SELECT pg_catalog.format('OPERATOR(%I.%s)', n.nspname, o.oprname)
                    FROM pg_catalog.pg_opclass c
                         JOIN pg_catalog.pg_am m ON m.oid = c.opcmethod AND m.amname = 'btree'
                         JOIN pg_catalog.pg_amop s ON s.amopfamily = c.opcfamily AND s.amoplefttype = c.opcintype
                              AND s.amoprighttype = c.opcintype AND s.amopstrategy = 3
                         JOIN pg_catalog.pg_operator o ON o.oid = s.amopopr
                         JOIN pg_catalog.pg_namespace n ON n.oid = o.oprnamespace
                    WHERE c.opcintype = u.oid AND c.opcdefault
                    LIMIT 1), 'OPERATOR(pg_catalog.=)'),
                CASE WHEN u.oid = a.atttypid THEN 'type' ELSE 'domain' END
         FROM pg_catalog.pg_attribute a CROSS JOIN LATERAL (
              WITH RECURSIVE under(oid, base) AS (
                  SELECT t.oid, t.typbasetype FROM pg_catalog.pg_type t WHERE t.oid = a.atttypid
                  UNION ALL
                  SELECT t.oid, t.typbasetype FROM under JOIN pg_catalog.pg_type t ON t.oid = under.base
              )
              SELECT under.oid FROM under WHERE under.base = 0) u
         WHERE a.attrelid = {id} AND a.attnum > 0 AND NOT a.attisdropped"
    )
}

/// One row of the answer to [`query`].
pub(super) fn read(row: [String; 4]) -> (String, Equality) {
    let [name, ty, operator, kind] = row;
    (name, Equality { ty, operator, domain: kind == "domain" })
}

/// Looks at the columns of a table.
pub(super) async fn columns(client: &Client, table: TableId) -> Result<Equalities, Reason> {
    let rows = client.query(&query(table), &[]).await;
    let rows = rows.map_err(|error| query_reason(&error, DOING))?;
    Ok(rows.iter().map(|row| read([row.get(0), row.get(1), row.get(2), row.get(3)])).collect())
}

/// What the question is for.
pub(super) const DOING: &str = "reading how keys are compared";
