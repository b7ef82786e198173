//! What setup found out about the selected tables, for the decoder.

use std::collections::HashMap;
use std::sync::Arc;

use crate::model::{TableId, TableSchema};

/// A table's replica identity (PostgreSQL documentation, ALTER TABLE ... REPLICA IDENTITY).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Identity {
    /// The primary key.
    Default,
    /// A unique index.
    Index,
    /// The whole row.
    Full,
    /// None: updates and deletes cannot be replicated.
    Nothing,
}

/// A column's type as the stream names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct WireType {
    /// `pg_attribute.atttypid`: for a domain the domain's own OID.
    pub(super) oid: u32,
    /// `pg_attribute.atttypmod`; -1 if there is none.
    pub(super) typmod: i32,
}

/// One selected table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct KnownTable {
    /// The table with its published columns in the order the stream sends them (`attnum`).
    pub(super) schema: Arc<TableSchema>,
    /// The stream's type of each of `schema.columns`. A column that still has this type when the stream describes
    /// the table keeps the `ColumnType` setup resolved (through domains, for one), so that the two never disagree.
    pub(super) types: Vec<WireType>,
    /// Its replica identity.
    pub(super) identity: Identity,
}

/// The selected tables by OID. Changes of any other table in the stream are ignored.
#[derive(Clone, Debug, Default)]
pub(super) struct Tables(HashMap<u32, KnownTable>);

impl Tables {
    /// The table of that OID, if it is selected.
    pub(super) fn get(&self, oid: u32) -> Option<&KnownTable> {
        self.0.get(&oid)
    }
}

impl FromIterator<KnownTable> for Tables {
    fn from_iter<I: IntoIterator<Item = KnownTable>>(tables: I) -> Self {
        let by_oid = |table: KnownTable| {
            let TableId(oid) = table.schema.id;
            (oid, table)
        };
        Tables(tables.into_iter().map(by_oid).collect())
    }
}
