//! How far the copy of a table's existing rows is.

use std::time::Duration;

/// What a table's copy is at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CopyPhase {
    /// It waits for its turn, or for something that must be over first.
    Waiting,
    /// Existing rows are read.
    Copying,
    /// All are read; single rows are read once more.
    Repairing,
    /// It is finished.
    Finished,
    /// A person ended it.
    Cancelled,
    /// The table cannot be copied; a reason says why.
    Refused,
}

/// Numbers of one table's copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CopyNumbers {
    /// What it is at.
    pub phase: CopyPhase,
    /// Rows copied.
    pub rows: u64,
    /// Bytes of rows copied.
    pub bytes: u64,
    /// Parts copied.
    pub chunks_done: u64,
    /// Parts in all, as far as that can be said.
    pub chunks_total: u64,
    /// Thousandths of the storage that are copied.
    pub permille: u32,
    /// Rows per second, lately.
    pub rows_per_second: u64,
    /// Bytes per second, lately.
    pub bytes_per_second: u64,
    /// Time left at this rate.
    pub left: Option<Duration>,
    /// Rows to be read once more.
    pub repairs: u64,
}

impl CopyPhase {
    /// Whether it is still to go on.
    pub fn is_active(self) -> bool {
        matches!(self, CopyPhase::Waiting | CopyPhase::Copying | CopyPhase::Repairing)
    }
}
