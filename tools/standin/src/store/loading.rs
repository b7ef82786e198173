//! Loads: transactions from begin to commit, and the journal done again.
//!
//! Always: a commit applies all batches of a transaction under one lock, and only if it is still running.
//! Not here: labels and retention (`txn`), how a batch changes a table (`rows`).
//! Start at `Store::begin`.

use std::sync::Arc;

use super::databases::{Database, Inner, Store, now_ms};
use super::error::CatalogError;
use super::journal::{Entry, JournalError, RawBatch, Replayed};
use super::rows::{Batch, Order};
use super::txn::{BeginError, Counts, LoadRecord, TxnState, label_is_sound};

/// What a label means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LabelState {
    /// `None`: never seen, or forgotten.
    pub state: Option<TxnState>,
    /// Why it was aborted; empty otherwise.
    pub reason: String,
    /// Its transaction.
    pub txn_id: Option<u64>,
}

/// A committed transaction whose rows nobody sees yet.
#[derive(Debug)]
pub(super) struct Publishing {
    database: String,
    txn_id: u64,
    batches: Vec<Batch>,
    order: Order,
    committed_ms: i64,
}

/// Loads: what the HTTP faces need.
impl Store {
    /// Begins a transaction and takes its label. No `tables`: they are named later, load by load.
    pub fn begin(&self, database: &str, tables: &[&str], label: &str, lasts_ms: i64) -> Result<u64, BeginError> {
        self.lock().begin(database, tables, label, lasts_ms)
    }

    /// What a label means; a database that is not there has no labels.
    pub fn label_state(&self, database: &str, label: &str) -> LabelState {
        let inner = self.lock();
        let found = inner.databases.get(database).and_then(|found| found.txns.find(label));
        LabelState {
            state: found.map(|record| record.state),
            reason: found.map(|record| record.reason.clone()).unwrap_or_default(),
            txn_id: found.map(|record| record.txn_id),
        }
    }

    /// One transaction, if it is still known.
    pub fn transaction(&self, database: &str, txn_id: u64) -> Option<LoadRecord> {
        self.lock().databases.get(database)?.txns.get(txn_id).cloned()
    }

    /// Adds a table to a transaction over several.
    pub fn join_table(&self, database: &str, txn_id: u64, table: &str) {
        if let Some(found) = self.lock().databases.get_mut(database) {
            found.txns.change(txn_id, |record| {
                if !record.tables.iter().any(|name| name == table) {
                    record.tables.push(table.to_string());
                }
            });
        }
    }

    /// Lets a running transaction expire `idle_ms` from now, but not later than `begun_limit_ms` after its begin.
    pub fn limit_idle(&self, database: &str, txn_id: u64, idle_ms: i64, begun_limit_ms: i64) {
        if let Some(found) = self.lock().databases.get_mut(database) {
            found.txns.change(txn_id, |record| {
                let at_most = record.begun_ms.saturating_add(begun_limit_ms);
                record.expires_ms = now_ms().saturating_add(idle_ms).min(at_most);
            });
        }
    }

    /// Marks a transaction as one of several tables: its label is not free after a rollback.
    pub fn mark_multi_table(&self, database: &str, txn_id: u64) {
        if let Some(found) = self.lock().databases.get_mut(database) {
            found.txns.change(txn_id, |record| record.multi_table = true);
        }
    }

    /// Checks that the tables take one more version, as a BE does when a load opens its writers.
    pub fn check_versions(&self, database: &str, table: &str) -> Result<(), String> {
        let mut inner = self.lock();
        let limit = inner.settings.tablet_versions_max;
        let score_limit = inner.settings.shared_data.then_some(inner.settings.compaction_score_max);
        let Ok(found) = inner.table_mut(database, table) else { return Ok(()) };
        if let Some(limit) = score_limit {
            if found.versions <= limit {
                return Ok(());
            }
            return Err(format!(
                "Failed to load data into partition {table}, because of too large compaction score, current/limit: \
                 {}/{limit}. You can reduce the loading job concurrency, or increase loading data batch size",
                found.versions
            ));
        }
        if found.versions <= limit {
            return Ok(());
        }
        Err(format!(
            "Failed to load data into tablet {}, because of too many versions, current/limit: {}/{limit}. You can \
             reduce the loading job concurrency, or increase loading data batch size. If you are loading data with \
             Routine Load, you can increase FE configs routine_load_task_consume_second and \
             max_routine_load_batch_size,",
            found.def.id + 1,
            found.versions
        ))
    }

    /// PREPARED: keeps the batches until commit or rollback.
    pub fn prepare(
        &self,
        database: &str,
        txn_id: u64,
        batches: Vec<Batch>,
        counts: Counts,
        lasts_ms: i64,
    ) -> Result<(), String> {
        self.lock().prepare(database, txn_id, batches, counts, lasts_ms)
    }

    /// Commits: applies the batches and makes them visible, all at once, now or after `Settings::publish_takes`.
    /// Refused if the transaction has ended otherwise.
    pub fn commit(&self, database: &str, txn_id: u64, batches: Vec<Batch>, counts: Counts) -> Result<(), String> {
        self.lock().commit(database, txn_id, batches, counts)
    }

    /// Commits what `prepare` kept.
    pub fn commit_prepared(&self, database: &str, txn_id: u64) -> Result<(), String> {
        let mut inner = self.lock();
        let kept = inner.prepared.remove(&txn_id).unwrap_or_default();
        let counts = inner.databases.get(database).and_then(|found| found.txns.get(txn_id)).map(|r| r.counts);
        inner.commit(database, txn_id, kept, counts.unwrap_or_default())
    }

    /// Rolls a transaction back; its label is free again. `false` if it had ended already.
    pub fn abort(&self, database: &str, txn_id: u64, reason: &str) -> bool {
        self.lock().abort(database, txn_id, reason)
    }

    /// Every transaction still known, all databases, oldest first.
    pub fn loads(&self) -> Vec<LoadRecord> {
        let inner = self.lock();
        let mut all: Vec<_> = inner.databases.values().flat_map(|found| found.txns.all().cloned()).collect();
        all.sort_by_key(|record| record.txn_id);
        all
    }

    /// Every committed load since the start, in commit order. Never forgotten.
    pub fn history(&self) -> Vec<LoadRecord> {
        self.lock().history.clone()
    }

    /// Forgets one finished label of a database (or all), as the sweep would. Returns how many.
    pub fn forget_labels(&self, database: &str, label: Option<&str>) -> usize {
        let mut inner = self.lock();
        inner.databases.get_mut(database).map_or(0, |found| found.txns.forget_labels(label))
    }

    /// Runs the label sweep now instead of at its next turn.
    pub fn sweep_labels(&self) {
        self.lock().sweep(now_ms());
    }

    /// Versions of a table that compaction has not taken away yet.
    pub fn versions(&self, database: &str, table: &str) -> Result<u64, CatalogError> {
        Ok(self.lock().table(database, table)?.versions)
    }
}

impl Inner {
    pub(super) fn begin(
        &mut self,
        database: &str,
        tables: &[&str],
        label: &str,
        lasts_ms: i64,
    ) -> Result<u64, BeginError> {
        let Some(found) = self.databases.get(database) else {
            return Err(BeginError::UnknownDatabase(database.to_string()));
        };
        if let Some(missing) = tables.iter().find(|table| !found.tables.contains_key(**table)) {
            return Err(BeginError::UnknownTable { database: database.to_string(), table: missing.to_string() });
        }
        if !label_is_sound(label) {
            return Err(BeginError::LabelFormat(label.to_string()));
        }
        let now = now_ms();
        let txn_id = self.next_txn_id;
        let record = LoadRecord {
            txn_id,
            order: 0,
            label: label.to_string(),
            database: database.to_string(),
            tables: tables.iter().map(|name| name.to_string()).collect(),
            state: TxnState::Prepare,
            reason: String::new(),
            counts: Counts::default(),
            multi_table: false,
            begun_ms: now,
            committed_ms: None,
            finished_ms: None,
            expires_ms: now.saturating_add(lasts_ms),
        };
        let limit = self.settings.running_txn_max;
        if let Some(found) = self.databases.get_mut(database) {
            let id = found.id;
            found.txns.begin(record, id, limit)?;
        }
        self.next_txn_id += 1;
        Ok(txn_id)
    }

    fn running(&mut self, database: &str, txn_id: u64) -> Result<&mut Database, String> {
        let found = self.databases.get_mut(database).ok_or_else(|| format!("unknown database, database={database}"))?;
        match found.txns.get(txn_id).map(|record| (record.state, record.reason.clone())) {
            Some((TxnState::Prepare | TxnState::Prepared, _)) => Ok(found),
            Some((TxnState::Aborted, reason)) => {
                Err(format!("transaction [{txn_id}] is already aborted. abort reason: {reason}"))
            }
            Some(_) => Err(format!("transaction [{txn_id}] is already visible, not pre-committed.")),
            None => Err(format!("transaction not found: {txn_id}")),
        }
    }

    pub(super) fn prepare(
        &mut self,
        database: &str,
        txn_id: u64,
        batches: Vec<Batch>,
        counts: Counts,
        lasts_ms: i64,
    ) -> Result<(), String> {
        let found = self.running(database, txn_id)?;
        let record = found.txns.change(txn_id, |record| {
            record.state = TxnState::Prepared;
            record.counts = counts;
            record.expires_ms = now_ms().saturating_add(lasts_ms);
        });
        let record = record.cloned();
        if let (Some(journal), Some(record)) = (&mut self.journal, record) {
            journal.append(&Entry::Prepare { record }, &batches);
        }
        self.prepared.insert(txn_id, batches);
        Ok(())
    }

    pub(super) fn commit(
        &mut self,
        database: &str,
        txn_id: u64,
        batches: Vec<Batch>,
        counts: Counts,
    ) -> Result<(), String> {
        self.running(database, txn_id)?;
        let now = now_ms();
        let mut written = Vec::with_capacity(batches.len());
        for batch in batches {
            // A table dropped since the load began takes its rows with it.
            if let Ok(table) = self.table_by_id(database, batch.table.id) {
                let current = Arc::clone(&table.def);
                written.push(batch.brought_to(&current, now * 1000));
            }
        }
        self.committed += 1;
        let order = self.committed;
        let found = self.running(database, txn_id)?;
        let record = found.txns.change(txn_id, |record| {
            record.state = TxnState::Committed;
            record.order = order;
            record.counts = counts;
            record.committed_ms = Some(now);
        });
        let Some(record) = record.cloned() else { return Err(format!("transaction not found: {txn_id}")) };
        let order = self.write_order();
        // A restart finds it visible.
        let record = LoadRecord { state: TxnState::Visible, finished_ms: Some(now), ..record };
        if let Some(journal) = &mut self.journal {
            journal.append(&Entry::Commit { record: record.clone(), order, now_ms: now }, &written);
        }
        self.history.push(record);
        let database = database.to_string();
        self.publishing.push_back(Publishing { database, txn_id, batches: written, order, committed_ms: now });
        self.publish_due(now);
        Ok(())
    }

    /// Makes visible what was committed long enough ago, in commit order.
    pub(super) fn publish_due(&mut self, now: i64) {
        let takes_ms = i64::try_from(self.settings.publish_takes.as_millis()).unwrap_or(i64::MAX);
        let due = |next: &Publishing| next.committed_ms.saturating_add(takes_ms) <= now;
        while self.publishing.front().is_some_and(due)
            && let Some(next) = self.publishing.pop_front()
        {
            for batch in next.batches {
                // A table dropped meanwhile takes its rows with it.
                if let Ok(table) = self.table_by_id(&next.database, batch.table.id) {
                    let current = Arc::clone(&table.def);
                    self.apply(&next.database, &batch.brought_to(&current, now * 1000), next.order, now);
                }
            }
            if let Some(found) = self.databases.get_mut(&next.database) {
                found.txns.change(next.txn_id, |record| {
                    record.state = TxnState::Visible;
                    record.finished_ms = Some(now);
                });
            }
        }
    }

    pub(super) fn abort(&mut self, database: &str, txn_id: u64, reason: &str) -> bool {
        let Some(found) = self.databases.get_mut(database) else { return false };
        if !found.txns.get(txn_id).is_some_and(|record| record.state.is_running()) {
            return false;
        }
        let aborted = found.txns.change(txn_id, |record| {
            record.state = TxnState::Aborted;
            record.reason = reason.to_string();
            record.finished_ms = Some(now_ms());
        });
        let Some(record) = aborted.cloned() else { return false };
        self.prepared.remove(&txn_id);
        self.log(|| Entry::Abort { record });
        true
    }

    /// Does again what an entry of the journal says was done.
    pub(super) fn replay(&mut self, entry: Replayed) -> Result<(), JournalError> {
        let (entry, batches) = entry;
        match entry {
            Entry::CreateDatabase { name, id } => self.put_database(&name, id),
            Entry::DropDatabase { name } => drop(self.databases.remove(&name)),
            Entry::CreateTable { database, table } => self.put_table(&database, Arc::new(table))?,
            Entry::DropTable { database, table } => self.database_mut(&database)?.drop_table(&table),
            Entry::Truncate { database, table } => self.table_mut(&database, &table)?.rows.clear(),
            Entry::RenameTable { database, table, new } => self.database_mut(&database)?.rename_table(&table, &new),
            Entry::SwapTables { database, table, other } => self.database_mut(&database)?.swap_tables(&table, &other),
            Entry::Redefine { database, table } => {
                let name = table.name.clone();
                self.redefine(&database, &name, table)?;
            }
            Entry::Write { database, order, now_ms, .. } => self.replay_batches(&database, batches, order, now_ms)?,
            Entry::Prepare { record } => {
                let mut kept = Vec::new();
                for batch in batches {
                    let table = Arc::clone(&self.table_by_id(&record.database, batch.table_id)?.def);
                    kept.push(batch.onto(table));
                }
                self.prepared.insert(record.txn_id, kept);
                self.restore_txn(record)?;
            }
            Entry::Commit { record, order, now_ms } => {
                self.replay_batches(&record.database, batches, order, now_ms)?;
                self.prepared.remove(&record.txn_id);
                self.committed = self.committed.max(record.order);
                self.history.push(record.clone());
                self.restore_txn(record)?;
            }
            Entry::Abort { record } => {
                self.prepared.remove(&record.txn_id);
                self.restore_txn(record)?;
            }
        }
        Ok(())
    }

    fn replay_batches(
        &mut self,
        database: &str,
        batches: Vec<RawBatch>,
        order: Order,
        now: i64,
    ) -> Result<(), JournalError> {
        for batch in batches {
            let table = Arc::clone(&self.table_by_id(database, batch.table_id)?.def);
            self.apply(database, &batch.onto(table), order, now);
        }
        Ok(())
    }

    fn restore_txn(&mut self, record: LoadRecord) -> Result<(), JournalError> {
        self.next_txn_id = self.next_txn_id.max(record.txn_id + 1);
        let database = record.database.clone();
        self.database_mut(&database)?.txns.restore(record);
        Ok(())
    }
}
