//! Owns the stage, starts everything, obeys commands.

use std::time::Duration;

mod checkpointer;
mod command;
pub mod lifecycle;
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
}
