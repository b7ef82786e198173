//! A plain copy of everything, for readers.

use std::collections::BTreeMap;
use std::time::SystemTime;

use super::{ActiveReason, CopyNumbers};
use crate::model::{Lsn, Stage, TableName, TableState};

/// Everything at about one moment. Times are microseconds since 1970-01-01 UTC, 0 if it never happened.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// Name of the pipeline.
    pub pipeline: String,
    /// When this copy was made.
    pub taken_at: SystemTime,
    /// When the process started.
    pub started_at: SystemTime,
    /// Stage of the engine.
    pub stage: Stage,
    /// One line on what it does now.
    pub stage_detail: String,
    /// Whether reading is paused by a command.
    pub paused: bool,
    /// Whether the copy of existing rows is paused by a command.
    pub copy_paused: bool,
    /// Grows with every accepted command that changed something.
    pub generation: u64,
    /// Time of the last sign of life of the engine's loop.
    pub heartbeat_micros: u64,
    /// Whether the replication stream is up.
    pub source_connected: bool,
    /// Time of the last message from the source.
    pub source_contact_micros: u64,
    /// End of the last complete transaction received, or the last idle position.
    pub received_lsn: Lsn,
    /// End of the server's WAL as last told.
    pub server_lsn: Lsn,
    /// Everything before it is durable in the sink.
    pub durable_lsn: Lsn,
    /// Stored as the position to resume at.
    pub checkpoint_lsn: Lsn,
    /// Told to the server.
    pub confirmed_lsn: Lsn,
    /// Bytes of messages received.
    pub received_bytes: u64,
    /// Row changes received.
    pub rows_received: u64,
    /// Transactions received.
    pub transactions_received: u64,
    /// Row changes whose loads are durable.
    pub rows_durable: u64,
    /// Times the stream was taken up again after a break.
    pub reconnects: u64,
    /// Transactions that came in parts before they committed, and did.
    pub streamed_transactions: u64,
    /// Bytes of such transactions kept on disk now.
    pub spool_bytes: u64,
    /// Times such transactions could not be kept, so that they came whole instead.
    pub spool_given_up: u64,
    /// Commit time of the newest transaction received.
    pub received_commit_micros: u64,
    /// Commit time of the newest transaction that is durable in the sink.
    pub durable_commit_micros: u64,
    /// Row changes received and not yet durable.
    pub pending_rows: u64,
    /// Bytes of the memory budget in use.
    pub memory_used: u64,
    /// The memory budget in bytes.
    pub memory_budget: u64,
    /// Whether the sink answered last time.
    pub sink_reachable: bool,
    /// Time of the last answer of the sink.
    pub sink_contact_micros: u64,
    /// Whether calls to the sink pause after failures in a row.
    pub breaker_open: bool,
    /// Loads the sink accepted.
    pub loads: u64,
    /// Loads tried again.
    pub load_retries: u64,
    /// Loads that ended in a refusal.
    pub load_refusals: u64,
    /// Rows in accepted loads, after collapse.
    pub rows_loaded: u64,
    /// Bytes of bodies in accepted loads, as sent.
    pub bytes_loaded: u64,
    /// Changes dropped by a recorded decision. Zero unless an operator decided so.
    pub rows_skipped: u64,
    /// Values loaded as something else because the target cannot hold them and a policy says so.
    pub values_changed: u64,
    /// Slot name.
    pub slot: String,
    /// Publication name.
    pub publication: String,
    /// Slot health as last seen; `None` before the first look.
    pub slot_health: Option<SlotHealth>,
    /// Rows one flush may hold.
    pub flush_rows: u64,
    /// Least time between flushes in milliseconds.
    pub flush_interval_ms: u64,
    /// The tables, by name.
    pub tables: Vec<TableSnapshot>,
    /// What is wrong now.
    pub reasons: Vec<ActiveReason>,
}

/// What the source says of the slot.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SlotHealth {
    /// `reserved`, `extended`, `unreserved` or `lost`.
    pub wal_status: String,
    /// Whether a walsender uses it.
    pub active: bool,
    /// Oldest WAL it holds.
    pub restart_lsn: Lsn,
    /// Position it has been told.
    pub confirmed_lsn: Lsn,
    /// Bytes of WAL it holds back.
    pub retained_bytes: u64,
    /// Bytes that may still be written before the slot is in danger; `None` if there is no limit.
    pub safe_bytes: Option<i64>,
}

/// How many values were loaded as something else, by class and policy.
pub type ValuesChanged = BTreeMap<(&'static str, &'static str), u64>;

/// One table's numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableSnapshot {
    /// Name in the source.
    pub name: TableName,
    /// Name in the target.
    pub target: String,
    /// State.
    pub state: TableState,
    /// Rows inserted, as received.
    pub inserted: u64,
    /// Rows updated, as received.
    pub updated: u64,
    /// Rows deleted, as received.
    pub deleted: u64,
    /// Truncates received.
    pub truncates: u64,
    /// Accepted loads.
    pub loads: u64,
    /// Rows in accepted loads.
    pub rows_loaded: u64,
    /// Commit position of the newest transaction whose rows are durable.
    pub durable_lsn: Lsn,
    /// Time of the last accepted load.
    pub last_load_micros: u64,
    /// The copy of its existing rows, if there is or was one.
    pub copy: Option<CopyNumbers>,
    /// Values loaded as something else.
    pub values_changed: ValuesChanged,
}
