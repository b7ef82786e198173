//! Gathers changes into flush units and sees each table's part through to the sink.
//!
//! In: [`Block`](crate::model::Block)s of events in commit order. Out: loads for the sink, and the position everything
//! before which is durable. Always: that position moves only to the end of a transaction whose rows, and all rows
//! before them, are durable; a table's loads go one batch after the other; a load of unknown fate is settled before
//! anything newer of its table is sent. Not here: encoding and sending (`sink`), telling the server (`source`),
//! storing the position (`engine`). Start at [`Pipeline`]; `core` decides, `worker` and `lane` carry out.

use std::time::Duration;

mod acks;
mod batch;
#[cfg(feature = "bench")]
pub mod bench;
mod collapse;
mod copy;
mod core;
mod key_hash;
mod lane;
mod retry;
mod rope;
mod schema_cache;
#[cfg(test)]
mod simulation;
mod worker;

pub(crate) use retry::pause;

pub use copy::{CopyEvent, CopyRequest, Opened, StoreToken};
pub use worker::{MissingValues, Pipeline, Progress};

/// When a flush unit is closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// Row changes in one unit, at most (a larger transaction is not cut for it).
    pub flush_rows: u64,
    /// Bytes in one unit, at most; a larger transaction is cut.
    pub flush_bytes: u64,
    /// Time on average between two loads of a table that are made for time.
    pub flush_interval: Duration,
}

impl Options {
    /// Bounds within which the settings make sense, under a memory budget of so many bytes.
    ///
    /// # Errors
    /// The setting's name and what is wrong with it.
    pub fn check(&self, memory_budget: usize) -> Result<(), (&'static str, String)> {
        let bytes_max = memory_budget as u64 / 4;
        if self.flush_rows == 0 {
            return Err(("FLUSH_SIZE", "must be at least 1".to_owned()));
        }
        if !(FLUSH_BYTES_LEAST..=bytes_max).contains(&self.flush_bytes) {
            let problem = format!(
                "must be at least {FLUSH_BYTES_LEAST} and at most a quarter of MEMORY_BUDGET, which is {bytes_max} bytes"
            );
            return Err(("FLUSH_BYTES", problem));
        }
        if self.flush_interval > FLUSH_INTERVAL_LONGEST {
            return Err(("FLUSH_INTERVAL_MS", "must be at most an hour".to_owned()));
        }
        Ok(())
    }
}

const FLUSH_BYTES_LEAST: u64 = 64 << 10;
const FLUSH_INTERVAL_LONGEST: Duration = Duration::from_secs(3600);
