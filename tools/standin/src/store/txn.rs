//! Labels and transactions of one database.
//!
//! In: begin, prepare, commit, abort. Out: what a label means now, and a record of every load.
//! Always: a label names at most one transaction that is running or committed; an aborted label is free again, unless the
//! transaction spanned several tables. Finished transactions are forgotten by age and by number, in sweeps
//! (StarRocks source, `DatabaseTransactionMgr.java`).
//! Not here: rows (`rows`).
//! Start at `Txns::begin`.

use std::collections::{BTreeMap, HashMap, VecDeque};

use serde::{Deserialize, Serialize};

/// State of a transaction, and so of its label.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum TxnState {
    /// Begun.
    Prepare,
    /// Data durable; only commit and rollback are left.
    Prepared,
    /// Committed, not visible yet.
    Committed,
    /// Visible.
    Visible,
    /// Rolled back.
    Aborted,
}

impl TxnState {
    /// As `get_load_state` says it.
    pub fn name(self) -> &'static str {
        match self {
            TxnState::Prepare => "PREPARE",
            TxnState::Prepared => "PREPARED",
            TxnState::Committed => "COMMITTED",
            TxnState::Visible => "VISIBLE",
            TxnState::Aborted => "ABORTED",
        }
    }

    /// Whether it can still be rolled back.
    pub fn is_running(self) -> bool {
        matches!(self, TxnState::Prepare | TxnState::Prepared)
    }

    /// Whether nothing will happen to it any more.
    pub fn is_final(self) -> bool {
        matches!(self, TxnState::Visible | TxnState::Aborted)
    }
}

/// Rows of a load by what became of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// All rows read.
    pub total: u64,
    /// Written.
    pub loaded: u64,
    /// Refused for their values.
    pub filtered: u64,
    /// Left out by a `where` header.
    pub unselected: u64,
    /// Of the loaded ones: deletes.
    pub deletes: u64,
    /// Body bytes.
    pub bytes: u64,
}

/// One transaction: a load, or several under one label.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct LoadRecord {
    /// Transaction id.
    pub txn_id: u64,
    /// Place among all committed transactions of the server, from 1; 0 = not committed.
    pub order: u64,
    /// Label.
    pub label: String,
    /// Database.
    pub database: String,
    /// Tables; one unless the transaction spans several.
    pub tables: Vec<String>,
    /// Where it stands.
    pub state: TxnState,
    /// Why it was aborted; empty otherwise.
    pub reason: String,
    /// Its rows.
    pub counts: Counts,
    /// Whether it was begun with `transaction_type: multi`.
    pub multi_table: bool,
    /// Begin, milliseconds since 1970.
    pub begun_ms: i64,
    /// Commit.
    pub committed_ms: Option<i64>,
    /// Visible or aborted.
    pub finished_ms: Option<i64>,
    /// After this time an unfinished one is aborted.
    pub expires_ms: i64,
}

/// A begin that was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BeginError {
    /// The label does not have the shape of one.
    #[error("Label format error. regex: ^[-\\w]{{1,128}}$, label: {0}")]
    LabelFormat(String),
    /// The label is taken.
    #[error("Label [{label}] has already been used.")]
    LabelExists {
        /// The label.
        label: String,
        /// Its transaction.
        txn_id: u64,
        /// Whether that one is still running.
        running: bool,
    },
    /// `max_running_txn_num_per_db`.
    #[error("current running txns on db {database_id} is {running}, larger than limit {limit}")]
    TooManyRunning {
        /// The database's id.
        database_id: u64,
        /// Running now.
        running: usize,
        /// The limit.
        limit: usize,
    },
    /// No such database.
    #[error("unknown database, database={0}")]
    UnknownDatabase(String),
    /// No such table.
    #[error("unknown table \"{database}.{table}\"")]
    UnknownTable {
        /// Where.
        database: String,
        /// What.
        table: String,
    },
}

/// `^[-\w]{1,128}$`, ASCII.
pub(super) fn label_is_sound(label: &str) -> bool {
    (1..=128).contains(&label.len()) && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
}

/// The transactions of one database.
#[derive(Debug, Default)]
pub(super) struct Txns {
    by_id: BTreeMap<u64, LoadRecord>,
    /// The newest transaction of each label.
    by_label: HashMap<String, u64>,
    /// Ids of final ones, oldest first.
    finished: VecDeque<u64>,
    running: usize,
}

impl Txns {
    pub(super) fn begin(&mut self, record: LoadRecord, database_id: u64, limit: usize) -> Result<(), BeginError> {
        if let Some(old) = self.find(&record.label) {
            let reusable = old.state == TxnState::Aborted && !old.multi_table;
            if !reusable {
                return Err(BeginError::LabelExists {
                    label: record.label,
                    txn_id: old.txn_id,
                    running: old.state.is_running(),
                });
            }
        }
        if self.running >= limit {
            return Err(BeginError::TooManyRunning { database_id, running: self.running, limit });
        }
        self.running += 1;
        self.by_label.insert(record.label.clone(), record.txn_id);
        self.by_id.insert(record.txn_id, record);
        Ok(())
    }

    /// The newest transaction of a label.
    pub(super) fn find(&self, label: &str) -> Option<&LoadRecord> {
        self.by_id.get(self.by_label.get(label)?)
    }

    pub(super) fn get(&self, txn_id: u64) -> Option<&LoadRecord> {
        self.by_id.get(&txn_id)
    }

    pub(super) fn all(&self) -> impl Iterator<Item = &LoadRecord> {
        self.by_id.values()
    }

    /// Changes a transaction that is not final; keeps the books if that ends it. `None` if there is no such one.
    pub(super) fn change(&mut self, txn_id: u64, change: impl FnOnce(&mut LoadRecord)) -> Option<&LoadRecord> {
        let record = self.by_id.get_mut(&txn_id).filter(|record| !record.state.is_final())?;
        let was_running = record.state.is_running();
        change(record);
        if was_running && !record.state.is_running() {
            self.running -= 1;
        }
        if record.state.is_final() {
            self.finished.push_back(txn_id);
        }
        Some(record)
    }

    /// Puts back a finished transaction read from the journal.
    pub(super) fn restore(&mut self, record: LoadRecord) {
        if record.state.is_final() {
            self.finished.push_back(record.txn_id);
        } else {
            self.running += usize::from(record.state != TxnState::Committed);
        }
        self.by_label.insert(record.label.clone(), record.txn_id);
        self.by_id.insert(record.txn_id, record);
    }

    /// Running transactions whose time is over.
    pub(super) fn expired(&self, now_ms: i64) -> Vec<u64> {
        let over = |record: &&LoadRecord| record.state.is_running() && record.expires_ms < now_ms;
        self.by_id.values().filter(over).map(|record| record.txn_id).collect()
    }

    /// Whether a transaction older than `before` on the table still runs.
    pub(super) fn runs_before(&self, before: u64, table: &str) -> bool {
        self.by_id.range(..before).any(|(_, record)| {
            !record.state.is_final() && (record.tables.is_empty() || record.tables.iter().any(|name| name == table))
        })
    }

    /// Forgets finished transactions that are too old, and the oldest beyond `keep`.
    pub(super) fn sweep(&mut self, oldest_ms: i64, keep: usize) {
        while let Some(txn_id) = self.finished.front().copied() {
            let old = self.by_id.get(&txn_id).is_none_or(|record| record.finished_ms.unwrap_or(0) < oldest_ms);
            if !old && self.finished.len() <= keep {
                return;
            }
            self.finished.pop_front();
            self.forget(txn_id);
        }
    }

    /// Forgets one finished label, or all of them.
    pub(super) fn forget_labels(&mut self, label: Option<&str>) -> usize {
        let matches = |record: &LoadRecord| record.state.is_final() && label.is_none_or(|label| record.label == label);
        let ids: Vec<u64> = self.by_id.values().filter(|record| matches(record)).map(|record| record.txn_id).collect();
        self.finished.retain(|id| !ids.contains(id));
        ids.iter().for_each(|id| self.forget(*id));
        ids.len()
    }

    fn forget(&mut self, txn_id: u64) {
        if let Some(record) = self.by_id.remove(&txn_id)
            && self.by_label.get(&record.label) == Some(&txn_id)
        {
            self.by_label.remove(&record.label);
        }
    }
}
