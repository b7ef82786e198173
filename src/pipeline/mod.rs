//! Gathers changes into flush units and sees each table's part through to the sink.
//!
//! In: [`Block`](crate::model::Block)s of events in commit order. Out: loads for the sink, and the position everything
//! before which is durable. Always: that position moves only to the end of a transaction whose rows, and all rows
//! before them, are durable; a table's loads go one batch after the other; a load of unknown fate is settled before
//! anything newer of its table is sent. Not here: encoding and sending (`sink`), telling the server (`source`),
//! storing the position (`engine`). Start at [`Pipeline`]; `core` decides, `worker` and `lane` carry out.

use std::time::Duration;

mod acks;
mod collapse;
mod core;
mod lane;
mod retry;
mod schema_cache;
mod worker;

pub use worker::{MissingValues, Pipeline, Progress};

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
