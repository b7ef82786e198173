//! Compares tables with their copies while changes keep flowing.
//!
//! In: a reader of each side. Out: a [`TableReport`] for each table. Always: memory does not grow with the tables; a
//! row that merely changed meanwhile is not reported: a difference is one only if it is still there after the pipeline
//! has passed everything that the source held, and the source's row stood still. Not here: how values are spelled
//! (`sink`), which rows and columns count (`source`). Start at [`Verifier::run`].
//!
//! A table is read once from each side, row by row. Each row becomes a fingerprint, which the source's side adds to a
//! `sketch::Sketch` and the target's takes away, so that equal rows cancel out and what differs can be read off. Only
//! those keys are looked at again, by `look`.

mod look;
mod position;
mod print;
mod report;
mod sketch;
mod table;

use std::future::Future;
use std::time::Duration;

use crate::model::{Lsn, Reason, TableName};
use crate::sink;
use crate::source::{self, Readable};

pub use report::{ColumnDifference, Difference, Kind, TableReport, Verdict};

/// Code of the reason that a table was named that is not replicated.
pub const NO_SUCH_TABLE: &str = "VERIFY_TABLES";

/// What a comparison needs to know.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Longest wait for the pipeline to pass a position.
    pub patience: Duration,
    /// A pipeline that has received a position, and has stored nothing new for so long, has nothing left to store.
    pub settle: Duration,
    /// Differences of one table that are named, at most.
    pub differences_max: usize,
    /// Whether values are told besides keys and names of columns.
    pub values: bool,
}

/// What the running pipeline says of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Everything before it was received.
    pub received: Lsn,
    /// Everything before it is durable in the sink.
    pub durable: Lsn,
    /// Tables that wait for a person, as `schema.name`, and why. They keep `durable` where it is.
    pub blocked: Vec<(String, String)>,
}

/// The running pipeline, if it can be asked.
pub trait Sidecar: Send + Sync {
    /// Where it stands; `None` if it does not answer.
    fn ask(&self) -> impl Future<Output = Option<Progress>> + Send;
}

/// What is being done.
#[derive(Clone, Copy, Debug)]
pub enum Step<'a> {
    /// A side is being read.
    Reading {
        /// The table.
        table: &'a TableName,
        /// `source` or `target`.
        side: &'static str,
        /// Rows so far.
        rows: u64,
    },
    /// The pipeline is to pass a position.
    Waiting {
        /// The position.
        want: Lsn,
        /// How far it has come, if that is known.
        at: Option<Lsn>,
    },
    /// Rows are looked at again.
    Looking {
        /// The table.
        table: &'a TableName,
        /// How many.
        rows: usize,
    },
    /// A table is done.
    Done(&'a TableReport),
}

/// Why a comparison ends early.
#[derive(Debug)]
enum Stop {
    /// This table cannot be compared; others may.
    Table(Reason),
    /// None can.
    All(Reason),
}

/// A comparison.
pub struct Verifier<'a, S, T, C> {
    /// The source.
    pub source: &'a S,
    /// The target.
    pub target: &'a T,
    /// The pipeline.
    pub sidecar: &'a C,
    /// What to do.
    pub options: Options,
    /// Is told each step.
    pub watch: &'a (dyn Fn(Step<'_>) + Send + Sync),
}

impl<S: source::Reader, T: sink::Reader, C: Sidecar> Verifier<'_, S, T, C> {
    /// Compares the tables one after the other. A table that cannot be compared is told so in its report.
    ///
    /// # Errors
    /// If the pipeline does not pass what the source holds.
    pub async fn run(&self, tables: &[Readable]) -> Result<Vec<TableReport>, Reason> {
        let mut reports = Vec::with_capacity(tables.len());
        for table in tables {
            let report = self.table(table).await?;
            (self.watch)(Step::Done(&report));
            reports.push(report);
        }
        Ok(reports)
    }
}
