//! Keeps a position across restarts.
//!
//! In: a [`Checkpoint`] to store. Out: the one stored last. Always: it is stored before the source's server is told
//! of its position. Not here: where it is kept (a source or a sink implements [`Store`]) and when (`engine`).

use std::future::Future;

use crate::model::{Lsn, Reason};

mod copies;

pub use copies::{CopiedRange, CopyState, CopyStore, PlannedStorage, StoredCopy};

/// Version of the stored form. A newer one is refused, never guessed at.
pub const FORMAT: i32 = 1;

/// Where a pipeline stands, and what proves that the position still means the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// Everything before it is durable in the sink.
    pub lsn: Lsn,
    /// The slot the position belongs to.
    pub slot: String,
    /// The source cluster's own identity (PostgreSQL: `system_identifier`).
    pub system_id: String,
    /// The source's timeline.
    pub timeline: i32,
    /// Whatever tells this slot from a later one of the same name.
    pub slot_incarnation: String,
    /// Whatever changes when the publication is changed, even for a moment.
    pub publication_fingerprint: String,
    /// Tables with rows that were never copied, by id: their changes must bring whole rows.
    pub incomplete_tables: Vec<u32>,
    /// Whether an operator paused the pipeline; survives restarts.
    pub paused: bool,
    /// Whether an operator paused the copy of existing rows.
    pub copy_paused: bool,
    /// Transactions before the position that readers of the source may not see yet. A restart is not told of them
    /// again, and a read that misses them is older than what the target holds.
    pub unseen: Vec<u32>,
}

/// A place for the checkpoint of one pipeline.
pub trait Store: Send + Sync + 'static {
    /// The stored checkpoint, if there is one.
    ///
    /// # Errors
    /// A [`Reason`] if it cannot be read or means nothing to this version.
    fn load(&self) -> impl Future<Output = Result<Option<Checkpoint>, Reason>> + Send;

    /// Stores a checkpoint; when this returns it survives a crash of either side.
    ///
    /// # Errors
    /// A [`Reason`] if that is not certain.
    fn save(&self, checkpoint: &Checkpoint) -> impl Future<Output = Result<(), Reason>> + Send;
}
