//! What the catalog says of tables: kinds, columns, indexes, partitions.
//!
//! In: patterns or OIDs. Out: [`Relation`]s as plain data. Always: reads only `pg_catalog`, by qualified names, since
//! the session's `search_path` is empty. Not here: which of them can be replicated (`selection`). Start at
//! [`matching`].

use std::collections::HashMap;

use tokio_postgres::{Client, Row};

use super::quote::identifier;
use super::sqlstate::query_reason;
use super::types::{TypeRow, Types};
use super::{Identity, TablePattern, WireType};
use crate::model::{ColumnType, Reason, TableName};

/// What kind of relation a name stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// An ordinary table.
    Table,
    /// A partitioned table.
    Partitioned,
    /// A view.
    View,
    /// A materialized view.
    MaterializedView,
    /// A foreign table.
    Foreign,
}

/// How a relation is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Persistence {
    /// It writes WAL.
    Permanent,
    /// It writes none.
    Unlogged,
    /// It belongs to one session.
    Temporary,
}

/// A column, as `attnum` orders them; dropped ones are left out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Attribute {
    pub(super) name: String,
    /// As the stream names it.
    pub(super) wire: WireType,
    /// The kind of its values.
    pub(super) ty: ColumnType,
    pub(super) not_null: bool,
    pub(super) generated: bool,
}

/// An index that may serve as a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Index {
    pub(super) name: String,
    pub(super) primary: bool,
    /// Named by `REPLICA IDENTITY USING INDEX`.
    pub(super) identity: bool,
    /// Unique at once, whole, valid, and on plain columns: what a replica identity asks for, but for NOT NULL.
    pub(super) usable: bool,
    /// None of its columns can be NULL.
    pub(super) not_null: bool,
    /// Names of its key columns in index order.
    pub(super) columns: Vec<String>,
}

/// A partition that holds rows.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Leaf {
    pub(super) id: u32,
    pub(super) name: TableName,
    pub(super) kind: Kind,
    pub(super) identity: Identity,
    pub(super) persistence: Persistence,
    pub(super) owned: bool,
    /// We may use its schema.
    pub(super) usage: bool,
    /// We may read all of it by itself; a right on the table above does not reach that far.
    pub(super) select: bool,
    /// Row security hides rows from us.
    pub(super) row_security: bool,
    /// Rows as last counted by the server; negative if never.
    pub(super) rows: f32,
    pub(super) indexes: Vec<Index>,
}

/// A relation with everything setup asks of it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Relation {
    pub(super) id: u32,
    pub(super) name: TableName,
    pub(super) kind: Kind,
    pub(super) persistence: Persistence,
    /// Other tables inherit from it (partitions do not count).
    pub(super) has_heirs: bool,
    /// The partitioned table at the top, if this is a partition.
    pub(super) root: Option<u32>,
    pub(super) identity: Identity,
    /// We may alter it and add it to a publication.
    pub(super) owned: bool,
    /// We may use its schema.
    pub(super) usage: bool,
    /// We may read all of it.
    pub(super) select: bool,
    /// Row security hides rows from us.
    pub(super) row_security: bool,
    /// Rows as last counted by the server; negative if never.
    pub(super) rows: f32,
    pub(super) columns: Vec<Attribute>,
    pub(super) indexes: Vec<Index>,
    pub(super) leaves: Vec<Leaf>,
}

const RELATION: &str = "
    SELECT c.oid, n.nspname::text, c.relname::text, c.relkind::text, c.relpersistence::text,
           c.relkind = 'r' AND EXISTS (SELECT FROM pg_catalog.pg_inherits i WHERE i.inhparent = c.oid),
           CASE WHEN c.relispartition THEN pg_catalog.pg_partition_root(c.oid)::pg_catalog.oid END,
           c.relreplident::text, pg_catalog.pg_has_role(c.relowner, 'USAGE'),
           pg_catalog.has_schema_privilege(n.oid, 'USAGE'), pg_catalog.has_table_privilege(c.oid, 'SELECT'),
           pg_catalog.row_security_active(c.oid), c.reltuples
    FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f')";

const MATCHING: &str = "
    AND EXISTS (SELECT FROM unnest($1::text[], $2::text[]) AS wanted(schema, name)
                WHERE n.nspname = wanted.schema AND (wanted.name IS NULL OR c.relname = wanted.name))
    ORDER BY n.nspname, c.relname";

const BY_ID: &str = " AND c.oid = ANY($1) ORDER BY n.nspname, c.relname";

const COLUMNS: &str = "
    SELECT a.attrelid, a.attname::text, a.atttypid, a.atttypmod, a.attnotnull, a.attgenerated <> ''
    FROM pg_catalog.pg_attribute a
    WHERE a.attrelid = ANY($1) AND a.attnum > 0 AND NOT a.attisdropped
    ORDER BY a.attrelid, a.attnum";

/// The types of those columns, and all that they rest on. An array in the proper sense is what its element's type
/// names as such.
const TYPES: &str = "
    WITH RECURSIVE used(oid) AS (
        SELECT a.atttypid FROM pg_catalog.pg_attribute a
        WHERE a.attrelid = ANY($1) AND a.attnum > 0 AND NOT a.attisdropped
        UNION
        SELECT below.oid FROM used u JOIN pg_catalog.pg_type t ON t.oid = u.oid
             CROSS JOIN LATERAL (VALUES (t.typbasetype), (t.typelem)) AS below(oid)
        WHERE below.oid <> 0
    )
    SELECT t.oid, n.nspname::text, t.typname::text, t.typtype::text, t.typbasetype, t.typtypmod,
           COALESCE(e.oid, 0::pg_catalog.oid), COALESCE(e.typdelim::text, ',')
    FROM used u JOIN pg_catalog.pg_type t ON t.oid = u.oid
         JOIN pg_catalog.pg_namespace n ON n.oid = t.typnamespace
         LEFT JOIN pg_catalog.pg_type e ON e.oid = t.typelem AND e.typarray = t.oid";

const INDEXES: &str = "
    SELECT i.indrelid, c.relname::text, i.indisprimary, i.indisreplident,
           i.indisunique AND i.indimmediate AND i.indisvalid AND i.indisready AND i.indislive
               AND i.indpred IS NULL AND i.indexprs IS NULL,
           k.not_null, k.names
    FROM pg_catalog.pg_index i JOIN pg_catalog.pg_class c ON c.oid = i.indexrelid
         CROSS JOIN LATERAL (
             SELECT COALESCE(pg_catalog.bool_and(a.attnotnull), false) AS not_null,
                    COALESCE(pg_catalog.array_agg(a.attname::text ORDER BY at), '{}') AS names
             FROM pg_catalog.generate_series(0, i.indnkeyatts - 1) AS at
                  JOIN pg_catalog.pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[at]
         ) k
    WHERE i.indrelid = ANY($1) AND i.indisunique
    ORDER BY i.indrelid, i.indexrelid";

const LEAVES: &str = "
    SELECT r.root, c.oid, n.nspname::text, c.relname::text, c.relkind::text, c.relreplident::text,
           pg_catalog.pg_has_role(c.relowner, 'USAGE'), c.reltuples, c.relpersistence::text,
           pg_catalog.has_schema_privilege(n.oid, 'USAGE'), pg_catalog.has_table_privilege(c.oid, 'SELECT'),
           pg_catalog.row_security_active(c.oid)
    FROM pg_catalog.unnest($1::pg_catalog.oid[]) AS r(root)
         CROSS JOIN LATERAL pg_catalog.pg_partition_tree(r.root::pg_catalog.regclass) t
         JOIN pg_catalog.pg_class c ON c.oid = t.relid
         JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    WHERE t.isleaf
    ORDER BY r.root, n.nspname, c.relname";

/// A table's name, qualified and quoted.
pub(super) fn quoted(name: &TableName) -> String {
    format!("{}.{}", identifier(&name.schema), identifier(&name.name))
}

/// Lets several queries see the catalog as it is at one moment: what is dropped or altered between two of them would
/// look like something else.
///
/// # Errors
/// Those of `read`, or if the server cannot be asked.
pub(super) async fn at_one_moment<T>(
    client: &Client,
    read: impl Future<Output = Result<T, Reason>>,
) -> Result<T, Reason> {
    let refused = |error| query_reason(&error, "reading the catalog");
    client.batch_execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY").await.map_err(refused)?;
    let read = read.await;
    // After an error this is a rollback.
    let ended = client.batch_execute("COMMIT").await.map_err(refused);
    read.and_then(|read| ended.map(|()| read))
}

/// The relations that the patterns name, by name. Kinds that can never hold rows (indexes, sequences) are no match.
pub(super) async fn matching(client: &Client, patterns: &[TablePattern]) -> Result<Vec<Relation>, Reason> {
    let schemas: Vec<&str> = patterns.iter().map(|pattern| pattern.schema.as_str()).collect();
    let names: Vec<Option<&str>> = patterns.iter().map(|pattern| pattern.table.as_deref()).collect();
    let statement = format!("{RELATION}{MATCHING}");
    let rows =
        client.query(&statement, &[&schemas, &names]).await.map_err(|error| query_reason(&error, "reading tables"))?;
    complete(client, rows).await
}

/// The relations of these OIDs that still exist, by name.
pub(super) async fn by_id(client: &Client, ids: &[u32]) -> Result<Vec<Relation>, Reason> {
    let statement = format!("{RELATION}{BY_ID}");
    let rows = client.query(&statement, &[&ids]).await.map_err(|error| query_reason(&error, "reading tables"))?;
    complete(client, rows).await
}

async fn complete(client: &Client, rows: Vec<Row>) -> Result<Vec<Relation>, Reason> {
    let mut relations: Vec<Relation> = rows.iter().filter_map(relation).collect();
    let ids: Vec<u32> = relations.iter().map(|relation| relation.id).collect();
    let roots: Vec<u32> = relations.iter().filter(|r| r.kind == Kind::Partitioned).map(|r| r.id).collect();
    let mut columns = columns(client, &ids).await?;
    let mut leaves = leaves(client, &roots).await?;
    let all: Vec<u32> = ids.iter().copied().chain(leaves.values().flatten().map(|leaf| leaf.id)).collect();
    let indexes = indexes(client, &all).await?;
    let of = |id: u32| indexes.get(&id).cloned().unwrap_or_default();
    for relation in &mut relations {
        relation.columns = columns.remove(&relation.id).unwrap_or_default();
        relation.leaves = leaves.remove(&relation.id).unwrap_or_default();
        relation.indexes = of(relation.id);
        relation.leaves.iter_mut().for_each(|leaf| leaf.indexes = of(leaf.id));
    }
    Ok(relations)
}

async fn columns(client: &Client, ids: &[u32]) -> Result<HashMap<u32, Vec<Attribute>>, Reason> {
    let types = types(client, ids).await?;
    let rows = client.query(COLUMNS, &[&ids]).await.map_err(|error| query_reason(&error, "reading columns"))?;
    let mut columns: HashMap<u32, Vec<Attribute>> = HashMap::new();
    for row in rows {
        let wire = WireType { oid: row.get(2), typmod: row.get(3) };
        columns.entry(row.get(0)).or_default().push(Attribute {
            name: row.get(1),
            wire,
            ty: types.resolve(wire.oid, wire.typmod),
            not_null: row.get(4),
            generated: row.get(5),
        });
    }
    Ok(columns)
}

async fn types(client: &Client, ids: &[u32]) -> Result<Types, Reason> {
    let rows = client.query(TYPES, &[&ids]).await.map_err(|error| query_reason(&error, "reading types"))?;
    let types = rows.iter().map(|row| TypeRow {
        oid: row.get(0),
        schema: row.get(1),
        name: row.get(2),
        class: row.get::<_, &str>(3).chars().next().unwrap_or('b'),
        base: row.get(4),
        base_typmod: row.get(5),
        element: row.get(6),
        delimiter: row.get::<_, &str>(7).bytes().next().unwrap_or(b','),
    });
    Ok(types.collect())
}

async fn indexes(client: &Client, ids: &[u32]) -> Result<HashMap<u32, Vec<Index>>, Reason> {
    let rows = client.query(INDEXES, &[&ids]).await.map_err(|error| query_reason(&error, "reading indexes"))?;
    let mut indexes: HashMap<u32, Vec<Index>> = HashMap::new();
    for row in rows {
        indexes.entry(row.get(0)).or_default().push(Index {
            name: row.get(1),
            primary: row.get(2),
            identity: row.get(3),
            usable: row.get(4),
            not_null: row.get(5),
            columns: row.get(6),
        });
    }
    Ok(indexes)
}

async fn leaves(client: &Client, roots: &[u32]) -> Result<HashMap<u32, Vec<Leaf>>, Reason> {
    let mut leaves: HashMap<u32, Vec<Leaf>> = HashMap::new();
    if roots.is_empty() {
        return Ok(leaves);
    }
    let rows = client.query(LEAVES, &[&roots]).await.map_err(|error| query_reason(&error, "reading partitions"))?;
    for row in rows {
        // As with relations, a partition that was dropped meanwhile has no rights any more.
        let (Some(kind), Some(usage), Some(select)) = (kind(row.get(4)), row.get(9), row.get(10)) else { continue };
        leaves.entry(row.get(0)).or_default().push(Leaf {
            id: row.get(1),
            name: TableName { schema: row.get(2), name: row.get(3) },
            kind,
            identity: identity(row.get(5)),
            persistence: persistence(row.get(8)),
            owned: row.get(6),
            usage,
            select,
            row_security: row.get(11),
            rows: row.get(7),
            indexes: Vec::new(),
        });
    }
    Ok(leaves)
}

/// `None` for kinds that are of no use, and for a relation that was dropped while the catalog was read: the snapshot
/// still has its row, and questions about rights, which look at the newest state, are answered with NULL.
fn relation(row: &Row) -> Option<Relation> {
    Some(Relation {
        id: row.get(0),
        name: TableName { schema: row.get(1), name: row.get(2) },
        kind: kind(row.get(3))?,
        persistence: persistence(row.get(4)),
        has_heirs: row.get(5),
        root: row.get(6),
        identity: identity(row.get(7)),
        owned: row.get(8),
        usage: row.get::<_, Option<bool>>(9)?,
        select: row.get::<_, Option<bool>>(10)?,
        row_security: row.get(11),
        rows: row.get(12),
        columns: Vec::new(),
        indexes: Vec::new(),
        leaves: Vec::new(),
    })
}

fn persistence(relpersistence: &str) -> Persistence {
    match relpersistence {
        "u" => Persistence::Unlogged,
        "t" => Persistence::Temporary,
        _ => Persistence::Permanent,
    }
}

fn kind(relkind: &str) -> Option<Kind> {
    match relkind {
        "r" => Some(Kind::Table),
        "p" => Some(Kind::Partitioned),
        "v" => Some(Kind::View),
        "m" => Some(Kind::MaterializedView),
        "f" => Some(Kind::Foreign),
        _ => None,
    }
}

fn identity(relreplident: &str) -> Identity {
    match relreplident {
        "i" => Identity::Index,
        "f" => Identity::Full,
        "n" => Identity::Nothing,
        _ => Identity::Default,
    }
}

/// The key that a replica identity gives: the names of its columns, in index order, if it gives one.
///
/// The default identity is the primary key, unless that is deferrable; FULL names no key, so the primary key serves,
/// else the oldest unique index that could serve as an identity.
pub(super) fn key(identity: Identity, indexes: &[Index]) -> Option<&Index> {
    let primary = || indexes.iter().find(|index| index.primary && index.usable);
    match identity {
        Identity::Default => primary(),
        Identity::Index => indexes.iter().find(|index| index.identity && index.usable),
        Identity::Full => primary().or_else(|| candidate(indexes)),
        Identity::Nothing => None,
    }
}

/// The oldest index that `REPLICA IDENTITY USING INDEX` would take.
pub(super) fn candidate(indexes: &[Index]) -> Option<&Index> {
    indexes.iter().find(|index| index.usable && index.not_null)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn index(name: &str, primary: bool, identity: bool, usable: bool, not_null: bool) -> Index {
        Index { name: name.into(), primary, identity, usable, not_null, columns: vec![name.into()] }
    }

    #[test]
    fn the_key_follows_the_identity() {
        let pk = index("pk", true, false, true, true);
        let late_pk = index("late_pk", true, false, false, true);
        let plain = index("plain", false, false, true, true);
        let nullable = index("nullable", false, false, true, false);
        let named = index("named", false, true, true, true);
        let cases = [
            (Identity::Default, vec![&plain, &pk], Some("pk")),
            (Identity::Default, vec![&plain], None),
            (Identity::Default, vec![&late_pk], None),
            (Identity::Index, vec![&pk, &named], Some("named")),
            (Identity::Index, vec![&pk], None),
            (Identity::Full, vec![&plain, &pk], Some("pk")),
            (Identity::Full, vec![&nullable, &plain], Some("plain")),
            (Identity::Full, vec![&nullable, &late_pk], None),
            (Identity::Nothing, vec![&pk, &named], None),
        ];
        for (identity, indexes, want) in cases {
            let indexes: Vec<Index> = indexes.into_iter().cloned().collect();
            assert_eq!(key(identity, &indexes).map(|index| index.name.as_str()), want, "{identity:?} {indexes:?}");
        }
    }
}
