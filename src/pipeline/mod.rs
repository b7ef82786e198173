//! Gathers changes into flush units and hands each table's part to the sink.

use std::time::Duration;

/// When a flush unit is closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// Row changes in one unit, at most (a larger transaction is not cut for it).
    pub flush_rows: u64,
    /// Bytes in one unit, at most; a larger transaction is cut.
    pub flush_bytes: u64,
    /// Least time between two units that are closed by time.
    pub flush_interval: Duration,
}
