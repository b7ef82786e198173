//! What the source tells, in the order it happened.

use std::sync::Arc;

use super::{Lsn, Permit, Row, TableId, TableSchema};

/// What is known of a row before a change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OldRow {
    /// Only the key columns hold values; the others read as NULL and mean nothing.
    Key(Row),
    /// Every column holds its value.
    Full(Row),
}

impl OldRow {
    /// The tuple, of which at least the key columns are true.
    pub fn row(&self) -> &Row {
        match self {
            OldRow::Key(row) | OldRow::Full(row) => row,
        }
    }
}

/// One change of one row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// A new row.
    Insert {
        /// The row. Has no unchanged columns.
        new: Row,
    },
    /// A changed row.
    Update {
        /// The row before, where the source sent it: when the key changed, or always under full identity.
        old: Option<OldRow>,
        /// The row after; columns may be unchanged.
        new: Row,
    },
    /// A row that is gone.
    Delete {
        /// The row before.
        old: OldRow,
    },
}

impl Change {
    /// The row that the change ends with; of a delete the one that is gone.
    #[inline]
    pub fn row(&self) -> &Row {
        match self {
            Change::Insert { new } | Change::Update { new, .. } => new,
            Change::Delete { old } => old.row(),
        }
    }
}

/// One thing the source tells.
#[derive(Clone, Debug)]
pub enum Event {
    /// A transaction starts. Everything until `Commit` belongs to it.
    Begin {
        /// Where its commit record is. The version of every row in it.
        commit_lsn: Lsn,
        /// When it committed, microseconds since 1970-01-01 UTC by the source's clock.
        commit_micros: i64,
        /// Its top-level transaction id.
        xid: u32,
    },
    /// A table as it is for the changes that follow. Comes before a table's first change on each connection, and
    /// again when the table changed.
    Schema(Arc<TableSchema>),
    /// A change of one row.
    Change {
        /// The table it is in.
        table: TableId,
        /// What happened.
        change: Change,
    },
    /// All rows of these tables are gone.
    Truncate {
        /// The tables.
        tables: Vec<TableId>,
    },
    /// The transaction is complete.
    Commit {
        /// Where its commit record ends. A stream that starts here does not send the transaction again.
        end_lsn: Lsn,
    },
    /// Outside of a transaction: the source has sent everything before this position.
    Idle {
        /// The position.
        lsn: Lsn,
    },
    /// A new connection took the stream up again at the end of the last complete transaction. Whatever was told of
    /// an incomplete one is void: it will be told again from its start.
    Resumed {
        /// Where the new stream starts.
        at: Lsn,
    },
}

/// Events that came in one read, with the memory they hold.
#[derive(Debug)]
pub struct Block {
    /// The events in order.
    pub events: Vec<Event>,
    /// The share of the memory budget that the block's bytes use, until all of them are let go.
    pub permit: Permit,
    /// Bytes received for this block.
    pub bytes: usize,
}

impl Block {
    /// What one event takes of the budget besides the bytes it came in: its entry, in whatever form it is held until
    /// it is durable, and what the allocator and lists that are not full add. The pipeline's entries are held to it.
    pub const ENTRY: usize = 112;
}

const _: () = assert!(size_of::<Event>() <= Block::ENTRY);
