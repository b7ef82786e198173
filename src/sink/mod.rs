//! Where rows go.
//!
//! In: a [`Load`] and the ticket it goes under. Out: its [`Fate`]. Always: when a load is reported done it is durable,
//! and all of its rows are in. Not here: order, retries and pauses (`pipeline`). Start at [`Sink`]; `starrocks` is the
//! one there is.

use std::future::Future;
use std::sync::Arc;

use crate::model::{EachRow, Load, Lsn, Reason, TableSchema};

pub mod starrocks;

/// Under what name a load is known to the sink (StarRocks: its label). A retry of the same load keeps its ticket.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Ticket(pub String);

/// What a successful load did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Loaded {
    /// Rows loaded.
    pub rows: u64,
    /// Size of the body in bytes.
    pub bytes: u64,
}

/// What became of a load whose answer was lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It is in.
    Loaded,
    /// It is not in and will not be: send it again under the same ticket.
    NotLoaded,
    /// The sink is still at work on it: ask again.
    Pending,
}

/// Why a load did not return as done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LoadError {
    /// Nothing was loaded; the same load may succeed later.
    Retry(Reason),
    /// Like `Retry`, and the sink is overloaded with small loads: pause longer and make larger ones.
    SlowDown(Reason),
    /// It may or may not be in. Ask [`Sink::fate`] before anything newer of the table is sent.
    Unknown(Reason),
    /// Nothing was loaded, and sending it again cannot help until a person acts.
    Refused(Reason),
}

/// How a table's deletes travel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deletes {
    /// In the same load as full rows.
    WithRows,
    /// In a load of their own that brings the key alone.
    Alone,
}

/// A target for rows.
pub trait Sink: Send + Sync + 'static {
    /// Checks that the sink can be reached and used at all, and settles loads that an earlier life of this pipeline
    /// left unfinished, so that none of them can land late. Idempotent.
    ///
    /// # Errors
    /// Every problem found, not only the first.
    fn setup(&self) -> impl Future<Output = Result<(), Vec<Reason>>> + Send;

    /// Makes the target of a table ready for rows of this schema: creates it if missing and allowed, checks key and
    /// columns. Called before the table's first load and after every change of its schema; no load of the table runs
    /// meanwhile. Idempotent.
    ///
    /// # Errors
    /// Every problem found with this table.
    fn prepare(&self, schema: Arc<TableSchema>) -> impl Future<Output = Result<(), Vec<Reason>>> + Send;

    /// How deletes of this table travel. Only asked after a successful `prepare`.
    fn deletes(&self, schema: &TableSchema) -> Deletes;

    /// A new ticket for a load of this table.
    fn ticket(&self, schema: &TableSchema) -> Ticket;

    /// Tries once to load.
    ///
    /// # Errors
    /// What is known of the outcome; see [`LoadError`].
    fn load(&self, ticket: &Ticket, load: &Load) -> impl Future<Output = Result<Loaded, LoadError>> + Send;

    /// Asks what became of a load.
    ///
    /// # Errors
    /// A [`Reason`] if the sink cannot be asked now.
    fn fate(&self, ticket: &Ticket) -> impl Future<Output = Result<Fate, Reason>> + Send;

    /// Removes all rows of a table. Idempotent.
    ///
    /// # Errors
    /// As [`Sink::load`], except `Unknown`: asking again is harmless.
    fn truncate(&self, schema: &TableSchema) -> impl Future<Output = Result<(), LoadError>> + Send;

    /// Removes the rows of a table whose version (the commit position they came with) is older than `before` or
    /// unknown, as deletes of this table do: for good, or by marking them. Idempotent.
    ///
    /// # Errors
    /// As [`Sink::truncate`]; `Refused` if the target does not keep versions.
    fn sweep(&self, schema: &TableSchema, before: Lsn) -> impl Future<Output = Result<(), LoadError>> + Send;
}

/// A column that cannot be compared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeftOut {
    /// Its name.
    pub column: String,
    /// Why: a clause that follows the name.
    pub why: String,
}

/// How the values of one table are spelled so that equal ones have equal text, whichever side they come from.
pub trait Spelling: Send + Sync {
    /// The columns that can be compared, as positions in the source's schema: the key first, in key order.
    fn columns(&self) -> &[usize];

    /// The others.
    fn left_out(&self) -> &[LeftOut];

    /// Appends a value of the source as the sink is to hold it; false if that is NULL.
    fn source(&self, column: usize, text: &[u8], out: &mut Vec<u8>) -> bool;

    /// Appends a value of the sink; false if it is as good as NULL.
    fn target(&self, column: usize, text: &[u8], out: &mut Vec<u8>) -> bool;
}

/// Reads target tables as they are now, for a comparison with the source. Rows marked as deleted do not count.
pub trait Reader: Send + Sync {
    /// What is known of a table once it was looked at.
    type Table: Spelling;

    /// Looks at a table.
    ///
    /// # Errors
    /// Why it cannot be compared at all: it is missing, or lacks a part of the key.
    fn open(&self, schema: Arc<TableSchema>) -> impl Future<Output = Result<Self::Table, Reason>> + Send;

    /// Reads every row; `columns` as positions in the source's schema.
    ///
    /// # Errors
    /// A [`Reason`] if the table cannot be read.
    fn scan(
        &self,
        table: &Self::Table,
        columns: &[usize],
        each: EachRow<'_>,
    ) -> impl Future<Output = Result<(), Reason>> + Send;

    /// Reads the rows that have these keys, in any order; a key is the common spelling of its columns in key order.
    ///
    /// # Errors
    /// A [`Reason`] if the table cannot be read.
    fn rows(
        &self,
        table: &Self::Table,
        columns: &[usize],
        keys: &[Vec<String>],
        each: EachRow<'_>,
    ) -> impl Future<Output = Result<(), Reason>> + Send;
}
