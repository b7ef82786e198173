//! How the engine steers copies of existing rows, and what it is told of them.
//!
//! In: [`CopyRequest`]s; each takes effect at the place of the stream where it meets the changes. Out: [`CopyEvent`]s,
//! to be carried out in their order. Always: what a request brings is in the lanes before any later change.

use std::sync::Arc;

use tokio::sync::oneshot;

use crate::model::{Lsn, Permit, Row, TableId, TableSchema, Visibility};
use crate::snapshot::{Phase, Verdict, Wanted, Why, WindowId};

/// A key here is a row as [`TableSchema::key_of`] makes it: the key columns' values alone, in key order.
#[derive(Debug)]
pub enum CopyRequest {
    /// A copy begins or goes on. For those that an earlier life left: before the first stream is attached.
    Begin {
        /// The table.
        table: TableId,
        /// How far it is.
        phase: Phase,
        /// Whether changes may leave values out once the table is in [`Phase::Repairing`]: every row is in the target.
        complete: bool,
        /// Keys that are stored as wanted.
        wanted: Vec<Row>,
    },
    /// Opens a window; a reader may begin once that is answered.
    Open {
        /// Its number.
        window: WindowId,
        /// The table as the reader would read it.
        schema: Arc<TableSchema>,
        /// A position that was taken after these columns were looked up; invalid if there is none. The stream tells a
        /// table's columns only with its next change. Once it has passed this position they are believed.
        as_of: Lsn,
        /// What is to be read.
        wanted: Wanted,
        /// Where the answer goes.
        answer: oneshot::Sender<Opened>,
    },
    /// Asks whether a reader may go on under the snapshot it took.
    Check {
        /// The window.
        window: WindowId,
        /// What the reader sees.
        sees: Visibility,
        /// Where the log ended after that.
        position: Lsn,
        /// Where the answer goes.
        answer: oneshot::Sender<Verdict>,
    },
    /// Rows that were read, after [`Verdict::Go`].
    Piece {
        /// The window.
        window: WindowId,
        /// The rows, whole.
        rows: Vec<Row>,
        /// Their share of the memory budget.
        permit: Permit,
        /// Bytes they hold.
        bytes: usize,
    },
    /// All rows of a window have been handed over.
    End {
        /// The window.
        window: WindowId,
    },
    /// Gives a window up. Nothing more is told of it; it may have been told before.
    Abort {
        /// The window.
        window: WindowId,
    },
    /// All blocks are durable: [`Phase::Repairing`] begins.
    BlocksDone {
        /// The table.
        table: TableId,
        /// Whether that is so; otherwise blocks were left out for good, and every change must bring its whole row.
        complete: bool,
    },
    /// Removes the rows of the target with an older version, after everything that came before.
    ///
    /// `before` must not lie above any position that changes may be told again from: the stored checkpoint at the time
    /// the copy began will do. Then every row that the stream or the copy brought since has a version not below it.
    Sweep {
        /// The table; its columns count if the stream has not told of it yet.
        schema: Arc<TableSchema>,
        /// Rows with versions below this one go.
        before: Lsn,
    },
    /// Removes all rows of the target, after everything that came before. Only while none of the table's rows is
    /// copied yet, and no window is open.
    Empty {
        /// The table; its columns count if the stream has not told of it yet.
        schema: Arc<TableSchema>,
    },
    /// The copy is finished, if no key is wanted and no window open. Answers whether it is.
    Finish {
        /// The table.
        table: TableId,
        /// Where the answer goes.
        answer: oneshot::Sender<bool>,
    },
    /// The copy is forgotten, its windows and wanted keys with it. Told of no more. Only if it begins anew: a row whose
    /// key is wanted is out of date in the target.
    Cancel {
        /// The table.
        table: TableId,
    },
    /// The keys of a [`CopyEvent::Wanted`] are stored.
    Stored {
        /// Its number.
        token: StoreToken,
    },
}

/// The answer to [`CopyRequest::Open`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Opened {
    /// It is open.
    Yes {
        /// The keys to read, each in a row of the table's columns; empty for blocks.
        keys: Arc<[Row]>,
    },
    /// No key is wanted, or no block any more.
    NothingWanted,
    /// The stream tells the table in other columns than these were. It is not open.
    Columns(Arc<TableSchema>),
    /// Not at present: changes are being told again, or the table's rows cannot be loaded.
    NotNow,
    /// The table is not being copied.
    NoCopy,
}

/// Number of a [`CopyEvent::Wanted`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct StoreToken(pub(super) u64);

/// What the engine is told of copies, to be carried out in this order.
#[derive(Debug)]
pub enum CopyEvent {
    /// All rows of a window are durable in the target.
    Durable {
        /// The window.
        window: WindowId,
        /// The keys that it has repaired and that are not wanted again: they may be taken out of the store.
        repaired: Vec<Row>,
    },
    /// A window was dropped; its part is to be read again. The rows that went in are true ones.
    Dropped {
        /// The window.
        window: WindowId,
        /// Why.
        why: Why,
    },
    /// Keys to be stored; no position passes the changes that want them before [`CopyRequest::Stored`]. That is to be
    /// answered in any case: if the copy was finished or cancelled meanwhile, without storing them.
    Wanted {
        /// The table.
        table: TableId,
        /// The keys. Some may be stored already.
        keys: Vec<Row>,
        /// The number to answer with.
        token: StoreToken,
    },
    /// [`CopyRequest::BlocksDone`] took effect, and every key that was wanted until then has been told. Before that it
    /// must not be stored that blocks are done: a restart would take changes that left values out for changes of rows
    /// that are there.
    BlocksDone {
        /// The table.
        table: TableId,
    },
    /// What was asked with [`CopyRequest::Sweep`] or [`CopyRequest::Empty`] is done.
    Removed {
        /// The table.
        table: TableId,
    },
    /// It is not certain to be done, and must be asked for again.
    NotRemoved {
        /// The table.
        table: TableId,
    },
    /// The stream tells a table that is being copied in other columns from here on. Its windows are dropped.
    Columns {
        /// The table.
        schema: Arc<TableSchema>,
        /// Whether its key is another one too: the keys that were wanted mean nothing any more, and the copy must begin
        /// anew.
        key: bool,
    },
}
