//! How the copy of one table stands.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::checkpoint::{CopyState, PlannedStorage, StoredCopy};
use crate::model::{Lsn, Row, TableSchema};
use crate::snapshot::{Aim, Claim, Pace, TablePlan, WindowId, repairs_due, time_left};
use crate::source::Storage;
use crate::status::{CopyNumbers, CopyPhase};

/// What a table's copy is at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Its storages are to be looked at; `asked` while that is under way.
    Survey { asked: bool },
    /// The new copy is being stored.
    Begin,
    /// Transactions that ran when the copy began must be over first.
    Barrier,
    /// The target is being emptied.
    Empty { asked: bool },
    /// Blocks are read.
    Blocks,
    /// All blocks are in; single rows are read.
    Repair,
    /// Rows of before the copy are being removed.
    Sweep { asked: bool },
    /// The pipeline is asked whether anything is left.
    Finish { asked: bool },
    /// The end is being stored.
    Store,
    /// It is over.
    Over(CopyPhase),
}

/// Keys that one window reads, at most, and keys that may wait while blocks are left.
pub(super) const KEYS: usize = 1000;
const KEYS_WAITING_MAX: usize = 5 * KEYS;

/// One table's copy.
#[derive(Debug)]
pub(super) struct TableCopying {
    pub(super) schema: Arc<TableSchema>,
    /// A position at which the table had these columns; invalid if none is known.
    pub(super) as_of: Lsn,
    pub(super) step: Step,
    pub(super) plan: TablePlan,
    /// Whether the table was copied before, so that rows of before are to be removed.
    pub(super) again: bool,
    pub(super) since: Lsn,
    pub(super) barrier: u64,
    /// Whether only what is wanted is still to be read, and blocks no more.
    pub(super) settling: bool,
    /// Whether the target had all rows before the copy.
    pub(super) was_complete: bool,
    /// Whether the pipeline knows of the copy.
    pub(super) known: bool,
    /// Whether it begins anew with the next look at its storages.
    pub(super) anew: bool,
    /// Whether it cannot be copied until a person has cured it.
    pub(super) refused: bool,
    /// Whether rows of before were asked to be removed.
    pub(super) swept: bool,
    /// Whether the target was emptied for it in this life. Not twice: rows that are copied already would go with it.
    pub(super) emptied: bool,
    /// Keys that wait to be read again, each with the first window that was opened after it was told.
    pub(super) wanted: HashMap<Row, WindowId>,
    /// The window that reads keys.
    pub(super) key_window: Option<WindowId>,
    /// Keys in the next such window.
    pub(super) keys: usize,
    /// Whether the pipeline said that something is left, whatever we know.
    pub(super) more_wanted: bool,
    /// Windows read and not yet durable, and those being read.
    pub(super) windows: usize,
    pub(super) failures: u32,
    pub(super) not_before: Option<Instant>,
    /// Tries in a row that found other columns than the stream has told.
    pub(super) strange_columns: u32,
    /// Reasons raised about it, by code.
    pub(super) raised: Vec<&'static str>,
    rows_pace: Pace,
    bytes_pace: Pace,
    blocks_pace: Pace,
}

impl TableCopying {
    pub(super) fn new(schema: Arc<TableSchema>, aim: Aim) -> Self {
        TableCopying {
            was_complete: schema.complete,
            schema,
            as_of: Lsn::INVALID,
            step: Step::Survey { asked: false },
            plan: TablePlan::new(Vec::new(), Vec::new(), aim),
            again: false,
            since: Lsn::INVALID,
            barrier: 0,
            settling: false,
            known: false,
            anew: false,
            refused: false,
            swept: false,
            emptied: false,
            wanted: HashMap::new(),
            key_window: None,
            keys: KEYS,
            more_wanted: false,
            windows: 0,
            failures: 0,
            not_before: None,
            strange_columns: 0,
            raised: Vec::new(),
            rows_pace: Pace::default(),
            bytes_pace: Pace::default(),
            blocks_pace: Pace::default(),
        }
    }

    /// A copy that an earlier life left.
    pub(super) fn stored(schema: Arc<TableSchema>, stored: StoredCopy, aim: Aim) -> Self {
        let step = match stored.state {
            CopyState::Copying => Step::Survey { asked: false },
            CopyState::Repairing | CopyState::Cancelled => Step::Repair,
        };
        TableCopying {
            step,
            plan: TablePlan::new(stored.storages, stored.copied, aim),
            again: stored.again,
            since: stored.since,
            barrier: stored.barrier,
            settling: stored.state == CopyState::Cancelled,
            wanted: stored.repairs.into_iter().map(|key| (key, WindowId(0))).collect(),
            ..TableCopying::new(schema, aim)
        }
    }

    /// What is stored of it, apart from its ranges if it has begun already.
    pub(super) fn to_store(&self) -> StoredCopy {
        let state = match self.step {
            _ if self.settling => CopyState::Cancelled,
            Step::Repair | Step::Sweep { .. } | Step::Finish { .. } | Step::Store => CopyState::Repairing,
            _ => CopyState::Copying,
        };
        StoredCopy {
            table: self.schema.id,
            state,
            again: self.again,
            since: self.since,
            barrier: self.barrier,
            storages: self.plan.storages().to_vec(),
            copied: self.plan.copied().to_vec(),
            repairs: self.wanted.keys().cloned().collect(),
        }
    }

    /// Whether the target is emptied before the first row is copied: it was copied before, and keeps no versions to
    /// tell the rows of before by.
    pub(super) fn is_to_be_emptied(&self, versions: bool) -> bool {
        self.again && !versions && !self.emptied && self.plan.copied().is_empty()
    }

    pub(super) fn is_over(&self) -> bool {
        matches!(self.step, Step::Over(_))
    }

    /// Whether it may be tried now.
    pub(super) fn is_due(&self, now: Instant) -> bool {
        self.not_before.is_none_or(|at| at <= now)
    }

    pub(super) fn hold_off(&mut self, pause: Duration) {
        self.not_before = Some(Instant::now() + pause);
    }

    /// Its claim to the next reader, for blocks.
    pub(super) fn claim(&self, now: Instant) -> Option<Claim> {
        let ready = self.step == Step::Blocks && self.is_due(now) && self.plan.has_left();
        ready.then(|| Claim { out: self.windows, bytes_left: self.plan.bytes_left() })
    }

    /// Whether keys are to be read now.
    pub(super) fn wants_keys(&self, now: Instant) -> bool {
        let due = self.more_wanted || repairs_due(self.wanted.len(), &self.plan, KEYS_WAITING_MAX);
        let in_time = match self.step {
            Step::Blocks => due,
            Step::Repair => self.more_wanted || !self.wanted.is_empty(),
            _ => false,
        };
        in_time && self.key_window.is_none() && self.is_due(now)
    }

    /// Takes note of the totals.
    pub(super) fn note_pace(&mut self, now: Duration) {
        let extent = self.plan.extent();
        self.rows_pace.note(now, extent.rows);
        self.bytes_pace.note(now, extent.bytes);
        self.blocks_pace.note(now, extent.blocks_done);
    }

    pub(super) fn numbers(&self) -> CopyNumbers {
        let extent = self.plan.extent();
        let phase = match self.step {
            _ if self.refused => CopyPhase::Refused,
            Step::Over(phase) => phase,
            Step::Repair | Step::Sweep { .. } | Step::Finish { .. } | Step::Store => CopyPhase::Repairing,
            Step::Blocks => CopyPhase::Copying,
            Step::Survey { .. } | Step::Begin | Step::Barrier | Step::Empty { .. } => CopyPhase::Waiting,
        };
        let whole = phase == CopyPhase::Finished || extent.blocks_total == 0 && phase == CopyPhase::Repairing;
        let permille = match extent.blocks_total {
            _ if whole => 1000,
            0 => 0,
            total => extent.blocks_done * 1000 / total,
        };
        let under_way = phase == CopyPhase::Copying;
        let rate = |pace: &Pace| if under_way { pace.per_second() as u64 } else { 0 };
        CopyNumbers {
            phase,
            rows: extent.rows,
            bytes: extent.bytes,
            chunks_done: extent.chunks_done,
            chunks_total: extent.chunks_total,
            permille: u32::try_from(permille).unwrap_or(1000),
            rows_per_second: rate(&self.rows_pace),
            bytes_per_second: rate(&self.bytes_pace),
            left: if under_way { time_left(&extent, self.blocks_pace.per_second()) } else { None },
            repairs: self.wanted.len() as u64,
        }
    }
}

/// What is planned on what is there.
pub(super) fn planned(storages: Vec<Storage>) -> Vec<PlannedStorage> {
    let planned = |storage: Storage| {
        let Storage { id, incarnation, blocks, bytes, rows_estimate } = storage;
        PlannedStorage { id, incarnation, blocks, bytes, rows_estimate }
    };
    storages.into_iter().map(planned).collect()
}
