//! Where a table's rows lie, and whether they can be copied from there.
//!
//! In: a table. Out: its [`Storage`]s, or why there is nothing to be copied. Always: a partition is read by itself, so
//! rights and policies of each count. Partitions whose changes the log does not tell (foreign, unlogged ones) are left
//! out, as they are left out of the stream. Start at [`survey`].

use tokio_postgres::Client;

use super::catalog::quoted;
use super::quote::identifier;
use super::sqlstate::query_reason;
use crate::model::{Class, Reason, TableName, TableSchema};
use crate::source::Storage;

const STORAGES: &str = "
    SELECT c.oid, n.nspname::text, c.relname::text, c.relkind::text, c.relpersistence::text,
           pg_catalog.has_schema_privilege(n.oid, 'USAGE'), pg_catalog.has_table_privilege(c.oid, 'SELECT'),
           pg_catalog.row_security_active(c.oid), c.reltuples,
           COALESCE(pg_catalog.pg_relation_filenode(c.oid), 0),
           COALESCE(pg_catalog.pg_relation_size(c.oid), 0) / pg_catalog.current_setting('block_size')::bigint,
           COALESCE(pg_catalog.pg_table_size(c.oid), 0), current_user::text
    FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    WHERE c.oid = $1
       OR c.oid IN (SELECT t.relid FROM pg_catalog.pg_partition_tree($1::oid::pg_catalog.regclass) t WHERE t.isleaf)
    ORDER BY c.oid";

/// A table or a leaf of it.
struct Relation {
    name: TableName,
    kind: String,
    permanent: bool,
    usage: bool,
    select: bool,
    row_security: bool,
    storage: Storage,
    role: String,
}

impl Relation {
    fn holds_rows(&self) -> bool {
        self.kind == "r" && self.permanent
    }
}

/// Looks at a table and its partitions.
///
/// # Errors
/// Why it cannot be looked at or not be copied.
pub(super) async fn survey(client: &Client, schema: &TableSchema) -> Result<Vec<Storage>, Reason> {
    let rows = client.query(STORAGES, &[&schema.id.0]).await;
    let rows = rows.map_err(|error| query_reason(&error, "looking at a table to copy"))?;
    let relations: Vec<Relation> = rows.iter().filter_map(relation).collect();
    let Some(table) = relations.iter().find(|relation| relation.storage.id == schema.id.0) else {
        return Err(dropped(schema));
    };
    if table.kind != "p" && !table.holds_rows() {
        return Err(unsupported(&table.name));
    }
    let read: Vec<&Relation> = relations.iter().filter(|one| one.holds_rows() || one.kind == "p").collect();
    if let Some(hidden) = read.iter().find(|relation| relation.row_security) {
        return Err(row_security(&hidden.name, &hidden.role));
    }
    if let Some(first) = read.iter().find(|one| !one.usage || !one.select) {
        let rights = read.iter().map(|one| (&one.name, one.usage, one.select));
        return Err(missing_rights(&first.name, &first.role, rights));
    }
    Ok(relations.iter().filter(|relation| relation.holds_rows()).map(|relation| relation.storage.clone()).collect())
}

/// `None` for one that is dropped at this moment: what is asked of its rights is answered with NULL.
fn relation(row: &tokio_postgres::Row) -> Option<Relation> {
    let size = |at: usize| u64::try_from(row.get::<_, i64>(at)).unwrap_or_default();
    Some(Relation {
        name: TableName { schema: row.get(1), name: row.get(2) },
        kind: row.get(3),
        permanent: row.get::<_, String>(4) == "p",
        usage: row.get::<_, Option<bool>>(5)?,
        select: row.get::<_, Option<bool>>(6)?,
        row_security: row.get(7),
        storage: Storage {
            id: row.get(0),
            incarnation: row.get(9),
            blocks: u32::try_from(size(10)).unwrap_or(u32::MAX),
            bytes: size(11),
            // Negative if never counted.
            rows_estimate: row.get::<_, f32>(8).max(0.0) as u64,
        },
        role: row.get(12),
    })
}

/// The reason if the table is gone.
pub(super) fn dropped(schema: &TableSchema) -> Reason {
    let object = schema.name.to_string();
    let message = format!("{object} cannot be copied: there is no such table any more");
    Reason::new("TABLE_DROPPED", Class::Wait, object, message, "Take it out of TABLES and restart Sluicegate.")
}

fn unsupported(name: &TableName) -> Reason {
    let object = name.to_string();
    let message = format!("{object} cannot be copied: it is not an ordinary table whose changes the log tells");
    Reason::new("TABLE_UNSUPPORTED", Class::Wait, object, message, "Take it out of TABLES.")
}

/// The reason if policies hide rows of a table from us.
pub(super) fn row_security(name: &TableName, role: &str) -> Reason {
    let object = name.to_string();
    let message = format!(
        "{object} cannot be copied: row security is active on it for role {role}, so that rows would be missing"
    );
    let remedy = "Let a superuser run the statement, or set SNAPSHOT=never if existing rows are not wanted.";
    let sql = format!("ALTER ROLE {} BYPASSRLS;", identifier(role));
    Reason::new("ROW_SECURITY", Class::Wait, object, message, remedy).with_sql(sql)
}

/// The reason if rights are missing. `rights` are names of tables, and whether we may use their schema and read them.
pub(super) fn missing_rights<'a>(
    first: &TableName,
    role: &str,
    rights: impl Iterator<Item = (&'a TableName, bool, bool)>,
) -> Reason {
    let mut sql: Vec<String> = Vec::new();
    let to = identifier(role);
    for (name, usage, select) in rights {
        let grant = format!("GRANT USAGE ON SCHEMA {} TO {to};", identifier(&name.schema));
        if !usage && !sql.contains(&grant) {
            sql.push(grant);
        }
        if !select {
            sql.push(format!("GRANT SELECT ON {} TO {to};", quoted(name)));
        }
    }
    let message = format!("role {role} may not read {first}, so that its rows cannot be copied");
    Reason::new("SOURCE_PRIVILEGE", Class::Wait, format!("table {first}"), message, "Grant it.")
        .with_sql(sql.join("\n"))
}
