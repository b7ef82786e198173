//! Where changes come from.
//!
//! In: a position to start at. Out: [`Block`]s of events in commit order, and later the rows of a first copy. Always:
//! a position is confirmed to the server only after it came in through `confirm`. Not here: batching, order of loads,
//! when a position is durable. Start at [`Source`]; `postgres` is the one there is.

use std::future::Future;
use std::sync::Arc;

use tokio::sync::{mpsc, watch};

use crate::checkpoint::{Checkpoint, CopyStore, Store};
use crate::model::{Block, Budget, EachRow, Lsn, Reason, Row, TableSchema};

mod chunks;
pub mod postgres;

pub use chunks::{BlockRange, ChunkConnection, ChunkReader, Part, Piece, ReadError, ReadPoint, Storage};

/// What setup found and made ready.
#[derive(Clone, Debug)]
pub struct Ready {
    /// Where the stream is to start: our own checkpoint, or the slot's first position.
    pub start: Lsn,
    /// Whether this process streamed before from another server or slot than the one it starts on now: somebody started
    /// anew while it ran. Positions of before mean nothing any more. Told once, by the setup that finds it.
    pub anew: bool,
    /// The tables as they are now.
    pub tables: Vec<Arc<TableSchema>>,
    /// Whether an operator paused the pipeline before the restart.
    pub paused: bool,
    /// Whether an operator paused the copy of existing rows before the restart.
    pub copy_paused: bool,
    /// Whether the pipeline starts for the first time, or was made to start anew: what was copied before it does not
    /// count.
    pub first: bool,
    /// Transactions before `start` that readers may not have seen when it was stored.
    pub unseen: Vec<u32>,
    /// Why single tables are left out, until a person has cured it and setup is done again. The others go on.
    pub refused: Vec<Reason>,
    /// What a person should know, one sentence each (existing rows are not copied, for one).
    pub notes: Vec<String>,
}

/// The stream's connections to the rest.
#[derive(Debug)]
pub struct Ends {
    /// Where blocks go. Reading waits when it is full.
    pub blocks: mpsc::Sender<Block>,
    /// The budget to take each block's bytes from. Reading waits when it is used up; feedback does not.
    pub budget: Budget,
    /// The position that may be confirmed. Only grows.
    pub confirm: watch::Receiver<Lsn>,
    /// Whether reading is to pause. Feedback goes on.
    pub paused: watch::Receiver<bool>,
    /// Turns true when the stream is to end: what `confirm` holds is told, the connection is closed in order.
    pub stop: watch::Receiver<bool>,
}

/// A source of changes.
pub trait Source: Send + Sync + 'static {
    /// Where its checkpoint is kept.
    type Checkpoints: Store;
    /// Reads existing rows.
    type Chunks: ChunkReader;
    /// Where the progress of copies is kept.
    type Copies: CopyStore;

    /// Checks everything the stream needs and makes what is missing. Idempotent. Never drops anything.
    ///
    /// # Errors
    /// Every problem found, not only the first.
    fn setup(&self) -> impl Future<Output = Result<Ready, Vec<Reason>>> + Send;

    /// The store of this pipeline's checkpoint. Usable after a first successful `setup`.
    fn checkpoints(&self) -> Arc<Self::Checkpoints>;

    /// The reader of existing rows. Usable after a first successful `setup`.
    fn chunks(&self) -> Arc<Self::Chunks>;

    /// The store of copies' progress. Usable after a first successful `setup`.
    fn copies(&self) -> Arc<Self::Copies>;

    /// The checkpoint to store for a position, with the identities (system, slot, publication) that the last
    /// successful `setup` saw. `None` before that.
    fn checkpoint_at(&self, lsn: Lsn, paused: bool) -> Option<Checkpoint>;

    /// Streams from a position until told to stop or until something breaks. The first event is `Resumed`.
    ///
    /// # Errors
    /// Why it ended, unless it was told to.
    fn stream(&self, from: Lsn, ends: Ends) -> impl Future<Output = Result<(), Reason>> + Send;

    /// Reads rows as they are now by key: for each of `keys` (rows of which the key columns count), the whole row in
    /// the columns of `schema`, or `None` if there is no such row. The read sees the transactions `after`: a commit is
    /// told by the stream before it is visible, and a read that misses it would be older than what was told.
    ///
    /// # Errors
    /// A [`Reason`] if the source cannot be asked.
    fn fetch(
        &self,
        schema: Arc<TableSchema>,
        keys: Vec<Row>,
        after: Vec<u32>,
    ) -> impl Future<Output = Result<Vec<Option<Row>>, Reason>> + Send;
}

/// A table that can be compared with its copy.
#[derive(Clone, Debug)]
pub struct Readable {
    /// The table with its published columns.
    pub schema: Arc<TableSchema>,
    /// What a person should know when it differs from its copy, one sentence each.
    pub notes: Vec<String>,
}

/// Where a pipeline stands, as far as the source knows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// The position stored last: everything before it is durable in the sink. `None` if none was ever stored.
    pub stored: Option<Lsn>,
    /// What the stream has received; `None` while nobody streams.
    pub received: Option<Lsn>,
    /// Whether the pipeline is paused.
    pub paused: bool,
}

/// Reads tables as they are now, for a comparison with their copies. Only rows and columns that are replicated.
pub trait Reader: Send + Sync {
    /// Reads every row of a table. Never one transaction for long: a row that changes meanwhile may come twice, or
    /// not at all. Returns a position behind everything that was seen.
    ///
    /// # Errors
    /// A [`Reason`] if the table cannot be read.
    fn scan(
        &self,
        schema: &TableSchema,
        columns: &[usize],
        each: EachRow<'_>,
    ) -> impl Future<Output = Result<Lsn, Reason>> + Send;

    /// Reads the rows that have these keys, in any order; a key is the text of its columns in key order. Returns a
    /// position behind everything that was seen.
    ///
    /// # Errors
    /// A [`Reason`] if the table cannot be read.
    fn rows(
        &self,
        schema: &TableSchema,
        columns: &[usize],
        keys: &[Vec<String>],
        each: EachRow<'_>,
    ) -> impl Future<Output = Result<Lsn, Reason>> + Send;

    /// Where the pipeline stands.
    ///
    /// # Errors
    /// A [`Reason`] if the source cannot be asked.
    fn standing(&self) -> impl Future<Output = Result<Standing, Reason>> + Send;
}
