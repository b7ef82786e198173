//! What a sink is asked to load: one final state per key.

use std::sync::Arc;

use super::{ColumnSet, Lsn, Row, TableSchema};

/// What last happened to a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Op {
    /// It is new.
    Insert,
    /// It changed.
    Update,
    /// It is gone. Only the key columns of its row are to be read.
    Delete,
}

/// The final state of one key within a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoadRow {
    /// What last happened.
    pub op: Op,
    /// The tuple.
    pub row: Row,
    /// Commit position of the transaction that did it; the row's version.
    pub commit_lsn: Lsn,
}

/// Which columns the rows of a load bring.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Present {
    /// Every column (deletes among them bring the key alone).
    All,
    /// The key columns alone: the load consists of deletes.
    KeyOnly,
    /// These, the key among them: the others keep what the target has.
    Only(ColumnSet),
}

/// Rows of one table for one load. No key occurs twice, and no load is empty.
#[derive(Clone, Debug)]
pub struct Load {
    /// The table as the rows were written under it.
    pub schema: Arc<TableSchema>,
    /// The columns the rows bring.
    pub present: Present,
    /// The rows. A vector, since to make a slice of it would copy them all.
    pub rows: Arc<Vec<LoadRow>>,
}
