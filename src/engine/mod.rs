//! Owns the stage, starts everything, obeys commands.

use std::time::Duration;

mod checkpointer;
mod command;
mod copying;
pub mod lifecycle;
mod quiet;
mod run;
pub mod wiring;

pub use run::{Ended, Parts, run};

pub use command::{Command, Handle, Inbox, Outcome, Refusal, Request};

/// What the engine needs to know.
#[derive(Clone, Debug)]
pub struct Options {
    /// Bytes of rows and bodies held at once.
    pub memory_budget: usize,
    /// Least time between two stored checkpoints.
    pub checkpoint_interval: Duration,
    /// Longest time from the signal to stop until the end.
    pub shutdown_grace: Duration,
    /// When units are flushed.
    pub flush: crate::pipeline::Options,
    /// The copy of existing rows.
    pub copying: CopyOptions,
}

/// What becomes of rows that exist already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CopyMode {
    /// Tables without a finished copy are copied.
    Initial,
    /// They are left alone.
    Never,
    /// Like `Initial`, and the engine stops when everything is copied.
    Only,
}

/// How existing rows are copied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CopyOptions {
    /// Whether at all.
    pub mode: CopyMode,
    /// Parts that are read at once.
    pub parallelism: usize,
    /// Bytes of rows that one part aims at.
    pub chunk_bytes: u64,
    /// How long reading one part may keep its transaction open.
    pub chunk_time_max: Duration,
    /// Nothing more is read while a replica of the source is further behind.
    pub replica_lag_max: Option<Duration>,
    /// Nothing more is read while the source keeps more of its log for us, in bytes.
    pub retained_wal_max: Option<u64>,
    /// Whether rows of the target carry the position they came with, so that older ones can be told.
    pub versions: bool,
}
