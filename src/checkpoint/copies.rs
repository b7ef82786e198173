//! Keeps how far the first copy of each table has come.

use std::future::Future;

use crate::model::{Lsn, Reason, Row, TableId};

/// How far a copy has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CopyState {
    /// Blocks are left.
    Copying,
    /// All blocks are in; single rows are left.
    Repairing,
    /// A person ended it; it is taken up only on request.
    Cancelled,
}

/// A part of one storage that is copied for good: blocks `first..end`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CopiedRange {
    /// The storage's id.
    pub storage: u32,
    /// The storage's incarnation when it was read.
    pub incarnation: u32,
    /// The first block.
    pub first: u32,
    /// The block after the last.
    pub end: u32,
    /// Rows that were in it.
    pub rows: u64,
    /// Bytes of these rows.
    pub bytes: u64,
}

/// A storage as it was when the copy was planned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PlannedStorage {
    /// The storage's id.
    pub id: u32,
    /// Its incarnation.
    pub incarnation: u32,
    /// Blocks to copy.
    pub blocks: u32,
    /// Bytes, as estimated then.
    pub bytes: u64,
    /// Rows, as estimated then.
    pub rows_estimate: u64,
}

/// One table's copy as stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredCopy {
    /// The table.
    pub table: TableId,
    /// How far it is.
    pub state: CopyState,
    /// Whether it copies into a table that has been copied before: rows whose version is older than `since` are
    /// removed at its end.
    pub again: bool,
    /// Position the copy began at; every row it brings or a change brings from then on has a version not below it.
    pub since: Lsn,
    /// A reader must see every transaction below this id before a part is read (they may have changed the table while
    /// the stream did not yet tell of it); 0 if there is none.
    pub barrier: u64,
    /// What is to be copied.
    pub storages: Vec<PlannedStorage>,
    /// What is copied.
    pub copied: Vec<CopiedRange>,
    /// Keys that are to be read again, as key rows ([`Row::only`]): they stay good when other columns change.
    pub repairs: Vec<Row>,
}

/// A place for the progress of copies. Each call is one transaction that survives a crash when it returns, and may be
/// repeated without harm. Keys are key rows ([`Row::only`]): the key's columns alone, in key order.
pub trait CopyStore: Send + Sync + 'static {
    /// Every copy that is not finished.
    ///
    /// # Errors
    /// A [`Reason`] if they cannot be read.
    fn load(&self) -> impl Future<Output = Result<Vec<StoredCopy>, Reason>> + Send;

    /// Stores a new copy of a table in place of any before, its ranges and repairs with it. Returns an id above that
    /// of every transaction that began before; it is the copy's barrier if the copy has none.
    ///
    /// # Errors
    /// A [`Reason`] if that is not certain.
    fn begin(&self, copy: &StoredCopy) -> impl Future<Output = Result<u64, Reason>> + Send;

    /// Changes the state, the barrier or the storages of a copy; ranges of other incarnations are forgotten.
    ///
    /// # Errors
    /// A [`Reason`] if that is not certain.
    fn change(&self, copy: &StoredCopy) -> impl Future<Output = Result<(), Reason>> + Send;

    /// Adds a range that is copied for good. Ranges that touch become one.
    ///
    /// # Errors
    /// A [`Reason`] if that is not certain.
    fn copied(&self, table: TableId, range: CopiedRange) -> impl Future<Output = Result<(), Reason>> + Send;

    /// Adds keys to be read again. Those that are there already are left alone.
    ///
    /// # Errors
    /// A [`Reason`] if that is not certain.
    fn add_repairs(&self, table: TableId, keys: &[Row]) -> impl Future<Output = Result<(), Reason>> + Send;

    /// Takes keys out that have been read again for good.
    ///
    /// # Errors
    /// A [`Reason`] if that is not certain.
    fn repaired(&self, table: TableId, keys: &[Row]) -> impl Future<Output = Result<(), Reason>> + Send;

    /// Forgets a copy because it is finished; the table's rows are complete from now on, also by the checkpoints
    /// stored afterwards.
    ///
    /// # Errors
    /// A [`Reason`] if that is not certain.
    fn finished(&self, table: TableId) -> impl Future<Output = Result<(), Reason>> + Send;
}
