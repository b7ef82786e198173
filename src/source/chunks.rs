//! Reading the rows that are there, a part at a time, while changes flow.
//!
//! In: a part of a table, by where its rows lie or by their keys. Out: first what the read sees and where the log was
//! then, afterwards its rows in the shared layout. Always: each part is read under one snapshot, in a transaction of
//! its own that is short, writes nothing and takes no lock that hinders the application. Not here: what is read when,
//! and what becomes of the rows. Start at [`ChunkReader`].

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use crate::model::{Lsn, Reason, Row, TableSchema, Visibility};

/// Where rows of a table lie: the table's own storage, or that of one of its leaves (PostgreSQL: a heap).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Storage {
    /// The source's id of the table or leaf (PostgreSQL: the relation's OID).
    pub id: u32,
    /// Changes whenever rows may have moved without a change of theirs being told, by a rewrite or a truncation
    /// (PostgreSQL: `relfilenode`).
    pub incarnation: u32,
    /// Blocks in it now. Rows that come into later blocks are told as changes.
    pub blocks: u32,
    /// Bytes in it, out-of-line values included.
    pub bytes: u64,
    /// Rows, as the source estimates them.
    pub rows_estimate: u64,
}

/// Blocks `first..end` of one storage, valid while its incarnation is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BlockRange {
    /// [`Storage::id`].
    pub storage: u32,
    /// [`Storage::incarnation`].
    pub incarnation: u32,
    /// The first block.
    pub first: u32,
    /// The block after the last.
    pub end: u32,
}

/// What is read at once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part {
    /// All rows in these blocks.
    Blocks(BlockRange),
    /// The rows under these keys, wherever they lie. Each is a key row ([`Row::only`]): the columns of
    /// [`TableSchema::key`] alone, in that order.
    Keys(Arc<[Row]>),
}

/// The moment a part is read at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReadPoint {
    /// What the read sees. Taken first.
    pub sees: Visibility,
    /// Everything the read sees is in the log before this position. Taken after.
    pub position: Lsn,
}

/// Some rows of a part.
#[derive(Debug)]
pub struct Piece {
    /// The rows, whole, in the columns of the schema.
    pub rows: Vec<Row>,
    /// The memory they hold.
    pub bytes: usize,
}

/// Why a part was not read to its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReadError {
    /// The storage was rewritten, emptied or dropped: its blocks mean nothing any more. For [`Part::Keys`]: that
    /// happened after the moment of the read, which may have hidden rows from it; begin anew.
    Rewritten,
    /// The table no longer has the columns of the schema.
    Columns,
    /// The connection or the server failed, or something a person must see to.
    Failed(Reason),
}

impl From<Reason> for ReadError {
    fn from(reason: Reason) -> ReadError {
        ReadError::Failed(reason)
    }
}

/// Opens connections for reading parts.
pub trait ChunkReader: Send + Sync + 'static {
    /// One connection.
    type Connection: ChunkConnection;

    /// Where a table's rows lie now. Names in the error why a table cannot be copied (row-level security applies to
    /// the role, SELECT is not granted).
    ///
    /// # Errors
    /// A [`Reason`] if the table cannot be looked at or not be copied.
    fn survey(&self, schema: &TableSchema) -> impl Future<Output = Result<Vec<Storage>, Reason>> + Send;

    /// Opens a connection that reads one part after the other.
    ///
    /// # Errors
    /// A [`Reason`] if there is none to be had.
    fn connect(&self) -> impl Future<Output = Result<Self::Connection, Reason>> + Send;

    /// Which transactions a read would see now.
    ///
    /// # Errors
    /// A [`Reason`] if the source cannot be asked.
    fn visibility(&self) -> impl Future<Output = Result<Visibility, Reason>> + Send;

    /// How far the replicas of the source that follow it physically are behind, the furthest of them; `None` if there
    /// are none, or the role may not see it.
    ///
    /// # Errors
    /// A [`Reason`] if the source cannot be asked.
    fn replica_lag(&self) -> impl Future<Output = Result<Option<Duration>, Reason>> + Send;

    /// Makes the log move, so that a stream that waits at its end tells a newer position soon: on an idle source the
    /// last bytes of the log may lie unflushed for as long as nobody commits.
    ///
    /// # Errors
    /// A [`Reason`] if the source cannot be asked.
    fn nudge(&self) -> impl Future<Output = Result<(), Reason>> + Send;
}

/// Reads parts, one at a time: [`begin`](ChunkConnection::begin), as often as wanted, then
/// [`read`](ChunkConnection::read), [`next`](ChunkConnection::next) until `None`. A connection that returned an error
/// other than `Rewritten` or `Columns` is thrown away. Dropping it at any point ends its transaction.
///
/// From `begin` on until the last `next` (or the next `begin`, or `give_up`) the source keeps dead rows and holds a lock
/// that a change of the table's definition waits for, and the server cannot end that by itself while it waits for us
/// to read. So whoever cannot go on reading, for want of memory for one, gives the part up.
pub trait ChunkConnection: Send + 'static {
    /// Begins a transaction under one snapshot; ends the one before, if there is one.
    ///
    /// # Errors
    /// A [`Reason`] if the source failed.
    fn begin(&mut self) -> impl Future<Output = Result<ReadPoint, Reason>> + Send;

    /// Starts reading a part under the snapshot.
    ///
    /// # Errors
    /// See [`ReadError`].
    fn read(&mut self, schema: &Arc<TableSchema>, part: &Part) -> impl Future<Output = Result<(), ReadError>> + Send;

    /// The next rows, at most about `bytes_max` of them unless a single row is larger; `None` at the end, when the
    /// transaction is over and everything that was read is known to be the part's whole content.
    ///
    /// # Errors
    /// See [`ReadError`]. Rows that came before are true nevertheless, but not all there are.
    fn next(&mut self, bytes_max: usize) -> impl Future<Output = Result<Option<Piece>, ReadError>> + Send;

    /// Gives a part up; the connection can be used for the next one.
    ///
    /// # Errors
    /// A [`Reason`] if the source failed.
    fn give_up(&mut self) -> impl Future<Output = Result<(), Reason>> + Send;
}
