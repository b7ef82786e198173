//! The store itself: one lock around databases, jobs and transactions.
//!
//! Always: time-driven things (schema changes, label sweeps, timeouts, compaction) are brought up to date whenever the
//! lock is taken, so what a caller sees never depends on a background task.
//! Start at `Store::lock`.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use super::alter::{self, AlterJob, AlterState, ColumnChange};
use super::cell::Cell;
use super::error::CatalogError;
use super::journal::{Entry, Journal, JournalError, RawBatch};
use super::rows::{Batch, Order, Row, RowOp, Rows, WriteMode};
use super::settings::{Release, Settings};
use super::table::{self, Distribution, NewTable, Site, TableDef, check_column_name};
use super::txn::{BeginError, Counts, LoadRecord, TxnState, Txns, label_is_sound};

/// The databases of one server. Shared by both faces as `Arc<Store>`.
#[derive(Debug)]
pub struct Store {
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    settings: Settings,
    databases: BTreeMap<String, Database>,
    next_id: u64,
    next_txn_id: u64,
    committed: u64,
    history: Vec<LoadRecord>,
    swept_ms: i64,
    /// Batches of PREPARED transactions.
    prepared: HashMap<u64, Vec<Batch>>,
    journal: Option<Journal>,
}

#[derive(Debug)]
struct Database {
    id: u64,
    tables: BTreeMap<String, Table>,
    jobs: Vec<Job>,
    txns: Txns,
}

#[derive(Debug)]
struct Table {
    def: Arc<TableDef>,
    rows: Rows,
    /// Versions not compacted yet, at `versions_ms`.
    versions: u64,
    versions_ms: i64,
}

#[derive(Debug)]
struct Job {
    shown: AlterJob,
    takes_ms: i64,
    /// What the table becomes. `None` for a job that was done at once.
    target: Option<TableDef>,
}

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

impl Store {
    /// An empty server that keeps everything in memory.
    pub fn new(settings: Settings) -> Store {
        Store::with(settings)
    }

    /// A server that keeps its state in `folder`, and starts from what is there.
    pub fn open(settings: Settings, folder: &Path) -> Result<Store, JournalError> {
        let (journal, entries) = Journal::open(folder)?;
        let store = Store::with(settings);
        {
            let mut inner = store.raw_lock();
            for entry in entries {
                inner.replay(entry)?;
            }
            inner.journal = Some(journal);
        }
        Ok(store)
    }

    fn with(settings: Settings) -> Store {
        let inner = Inner {
            settings,
            databases: BTreeMap::new(),
            next_id: 10_100,
            next_txn_id: 1000,
            committed: 0,
            history: Vec::new(),
            swept_ms: now_ms(),
            prepared: HashMap::new(),
            journal: None,
        };
        Store { inner: Mutex::new(inner) }
    }

    fn raw_lock(&self) -> MutexGuard<'_, Inner> {
        // A panic elsewhere leaves the maps whole: every change is made by one assignment or insert.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the lock and lets everything happen that is due.
    fn lock(&self) -> MutexGuard<'_, Inner> {
        let mut inner = self.raw_lock();
        inner.advance(now_ms());
        inner
    }

    /// The settings now.
    pub fn settings(&self) -> Settings {
        self.raw_lock().settings.clone()
    }

    /// Changes settings from now on.
    pub fn change_settings(&self, change: impl FnOnce(&mut Settings)) {
        change(&mut self.raw_lock().settings);
    }

    /// Names of all databases, sorted. System databases are not among them.
    pub fn databases(&self) -> Vec<String> {
        self.lock().databases.keys().cloned().collect()
    }

    /// Whether there is such a database.
    pub fn has_database(&self, name: &str) -> bool {
        self.lock().databases.contains_key(name)
    }

    /// CREATE DATABASE.
    pub fn create_database(&self, name: &str) -> Result<(), CatalogError> {
        check_database_name(name)?;
        let mut inner = self.lock();
        if inner.databases.contains_key(name) {
            return Err(CatalogError::DatabaseExists(name.to_string()));
        }
        let id = inner.take_id();
        inner.put_database(name, id);
        inner.log(|| Entry::CreateDatabase { name: name.to_string(), id });
        Ok(())
    }

    /// DROP DATABASE.
    pub fn drop_database(&self, name: &str) -> Result<(), CatalogError> {
        let mut inner = self.lock();
        if inner.databases.remove(name).is_none() {
            return Err(CatalogError::DatabaseMissing(name.to_string()));
        }
        inner.log(|| Entry::DropDatabase { name: name.to_string() });
        Ok(())
    }

    /// Tables of a database, by name.
    pub fn tables(&self, database: &str) -> Result<Vec<Arc<TableDef>>, CatalogError> {
        let inner = self.lock();
        Ok(inner.database(database)?.tables.values().map(|table| Arc::clone(&table.def)).collect())
    }

    /// One table.
    pub fn table(&self, database: &str, table: &str) -> Result<Arc<TableDef>, CatalogError> {
        Ok(Arc::clone(&self.lock().table(database, table)?.def))
    }

    /// CREATE TABLE.
    pub fn create_table(&self, database: &str, new: NewTable) -> Result<Arc<TableDef>, CatalogError> {
        let mut inner = self.lock();
        if inner.database(database)?.tables.contains_key(&new.name) {
            return Err(CatalogError::TableExists(new.name));
        }
        let site = Site {
            shared_data: inner.settings.shared_data,
            default_replication_num: inner.settings.default_replication_num,
            backends: inner.settings.backends,
        };
        let id = inner.take_id();
        let def = Arc::new(table::define(new, id, now_ms(), &site)?);
        inner.put_table(database, Arc::clone(&def))?;
        inner.log(|| Entry::CreateTable { database: database.to_string(), table: (*def).clone() });
        Ok(def)
    }

    /// DROP TABLE.
    pub fn drop_table(&self, database: &str, table: &str) -> Result<(), CatalogError> {
        let mut inner = self.lock();
        inner.table(database, table)?;
        inner.database_mut(database)?.drop_table(table);
        inner.log(|| Entry::DropTable { database: database.to_string(), table: table.to_string() });
        Ok(())
    }

    /// TRUNCATE TABLE. Refused while a schema change runs.
    pub fn truncate(&self, database: &str, table: &str) -> Result<(), CatalogError> {
        let mut inner = self.lock();
        inner.check_normal(database, table)?;
        inner.table_mut(database, table)?.rows.clear();
        inner.log(|| Entry::Truncate { database: database.to_string(), table: table.to_string() });
        Ok(())
    }

    /// ALTER TABLE .. RENAME.
    pub fn rename_table(&self, database: &str, table: &str, new: &str) -> Result<(), CatalogError> {
        let mut inner = self.lock();
        inner.check_normal(database, table)?;
        if inner.database(database)?.tables.contains_key(new) {
            return Err(CatalogError::refused(format!("Table name[{new}] is already used")));
        }
        inner.database_mut(database)?.rename_table(table, new);
        inner.log(|| Entry::RenameTable {
            database: database.to_string(),
            table: table.to_string(),
            new: new.to_string(),
        });
        Ok(())
    }

    /// ALTER TABLE .. SWAP WITH: the two tables exchange their names, at once.
    pub fn swap_tables(&self, database: &str, table: &str, other: &str) -> Result<(), CatalogError> {
        let mut inner = self.lock();
        inner.check_normal(database, table)?;
        inner.check_normal(database, other)?;
        inner.database_mut(database)?.swap_tables(table, other);
        inner.log(|| Entry::SwapTables {
            database: database.to_string(),
            table: table.to_string(),
            other: other.to_string(),
        });
        Ok(())
    }

    /// ADD, DROP and MODIFY COLUMN of one statement. `Some(job id)`: it runs in the background; `None`: it is done.
    pub fn alter_columns(
        &self,
        database: &str,
        table: &str,
        changes: &[ColumnChange],
    ) -> Result<Option<u64>, CatalogError> {
        let mut inner = self.lock();
        inner.check_normal(database, table)?;
        let def = Arc::clone(&inner.table(database, table)?.def);
        let planned = alter::plan(&def, changes)?;
        let at_once = planned.metadata_only && !(inner.settings.shared_data && inner.settings.release < Release::V4_1);
        let job_id = inner.add_job(database, &def, planned.table, at_once)?;
        Ok(job_id.filter(|_| !at_once))
    }

    /// ALTER TABLE .. RENAME COLUMN.
    pub fn rename_column(&self, database: &str, table: &str, old: &str, new: &str) -> Result<(), CatalogError> {
        self.redefine(database, table, |def| {
            let at =
                def.column_index(old).ok_or_else(|| CatalogError::refused(format!("Column[{old}] does not exists")))?;
            check_column_name(new)?;
            if def.columns.iter().enumerate().any(|(other, column)| other != at && column.is_called(new)) {
                return Err(CatalogError::DuplicateColumnPlain(new.to_string()));
            }
            rename_mentions(def, old, new);
            def.columns[at].name = new.to_string();
            def.schema_version += 1;
            Ok(())
        })
    }

    /// MODIFY COLUMN .. COMMENT.
    pub fn comment_column(&self, database: &str, table: &str, name: &str, comment: &str) -> Result<(), CatalogError> {
        self.redefine(database, table, |def| {
            let at = def
                .column_index(name)
                .ok_or_else(|| CatalogError::refused(format!("Column[{name}] does not exists")))?;
            def.columns[at].comment = comment.to_string();
            Ok(())
        })
    }

    /// ALTER TABLE .. COMMENT = ..
    pub fn comment_table(&self, database: &str, table: &str, comment: &str) -> Result<(), CatalogError> {
        self.redefine(database, table, |def| {
            def.comment = comment.to_string();
            Ok(())
        })
    }

    /// ALTER TABLE .. SET (..).
    pub fn set_property(&self, database: &str, table: &str, key: &str, value: &str) -> Result<(), CatalogError> {
        self.redefine(database, table, |def| {
            if key == "fast_schema_evolution" {
                return Err(CatalogError::refused(
                    "Property fast_schema_evolution can only be set when the table is created",
                ));
            }
            def.properties.insert(key.to_string(), value.to_string());
            Ok(())
        })
    }

    fn redefine(
        &self,
        database: &str,
        table: &str,
        change: impl FnOnce(&mut TableDef) -> Result<(), CatalogError>,
    ) -> Result<(), CatalogError> {
        let mut inner = self.lock();
        inner.check_normal(database, table)?;
        let mut def = (*inner.table(database, table)?.def).clone();
        change(&mut def)?;
        inner.redefine(database, table, def)
    }

    /// Jobs of a database, oldest first.
    pub fn alter_jobs(&self, database: &str) -> Result<Vec<AlterJob>, CatalogError> {
        Ok(self.lock().database(database)?.jobs.iter().map(|job| job.shown.clone()).collect())
    }

    /// CANCEL ALTER TABLE COLUMN.
    pub fn cancel_alter(&self, database: &str, table: &str) -> Result<(), CatalogError> {
        let mut inner = self.lock();
        inner.table(database, table)?;
        let unfinished = |job: &&mut Job| job.shown.table == table && !job.shown.state.is_final();
        match inner.database_mut(database)?.jobs.iter_mut().find(unfinished) {
            Some(job) => {
                job.shown.state = AlterState::Cancelled;
                job.shown.finished_ms = Some(now_ms());
                job.shown.message = "user cancelled".to_string();
                Ok(())
            }
            None => Err(CatalogError::refused(format!("Table[{table}] is not under SCHEMA_CHANGE."))),
        }
    }

    /// All rows, in key order (or order of arrival without a key), with the columns they have.
    pub fn scan(&self, database: &str, table: &str) -> Result<(Arc<TableDef>, Vec<Row>), CatalogError> {
        let inner = self.lock();
        let table = inner.table(database, table)?;
        Ok((Arc::clone(&table.def), table.rows.all()))
    }

    /// How many rows there are.
    pub fn row_count(&self, database: &str, table: &str) -> Result<usize, CatalogError> {
        Ok(self.lock().table(database, table)?.rows.len())
    }

    /// INSERT of whole rows in column order, values already converted; an upsert where there is a key.
    pub fn insert_rows(&self, database: &str, table: &str, rows: Vec<Vec<Cell>>) -> Result<usize, CatalogError> {
        let mut inner = self.lock();
        let def = Arc::clone(&inner.table(database, table)?.def);
        if let Some(row) = rows.iter().find(|row| row.len() != def.columns.len()) {
            let text = format!("Column count doesn't match value count: {} against {}", def.columns.len(), row.len());
            return Err(CatalogError::analyzing(text));
        }
        let count = rows.len();
        let rows = rows.into_iter().map(|cells| (RowOp::Upsert, Row::from(cells))).collect();
        let batch = Batch { table: def, mode: WriteMode::Full, merge_condition: None, rows };
        inner.write(database, table, batch)?;
        Ok(count)
    }

    /// DELETE of the rows `matches` says yes to.
    pub fn delete_where(
        &self,
        database: &str,
        table: &str,
        matches: &mut dyn FnMut(&[Cell]) -> bool,
    ) -> Result<usize, CatalogError> {
        let mut inner = self.lock();
        let found = inner.table_mut(database, table)?;
        if !found.def.is_keyed() {
            let count = found.rows.delete_where(matches);
            let def = Arc::clone(&found.def);
            let rows = found.rows.all().into_iter().map(|row| (RowOp::Upsert, row)).collect();
            let kept = Batch { table: def, mode: WriteMode::Full, merge_condition: None, rows };
            inner.log(|| Entry::Truncate { database: database.to_string(), table: table.to_string() });
            inner.log_write(database, table, &kept, Order::LastWins, 0);
            return Ok(count);
        }
        let rows = found.rows.all().into_iter().filter(|row| matches(row)).map(|row| (RowOp::Delete, row));
        let rows: Vec<_> = rows.collect();
        let count = rows.len();
        let batch = Batch { table: Arc::clone(&found.def), mode: WriteMode::Full, merge_condition: None, rows };
        inner.write(database, table, batch)?;
        Ok(count)
    }
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
        let Ok(found) = inner.table_mut(database, table) else { return Ok(()) };
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

    /// Commits: applies the batches and makes them visible, all at once. Refused if the transaction has ended otherwise.
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
    fn take_id(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id
    }

    fn put_database(&mut self, name: &str, id: u64) {
        self.next_id = self.next_id.max(id);
        let empty = Database { id, tables: BTreeMap::new(), jobs: Vec::new(), txns: Txns::default() };
        self.databases.insert(name.to_string(), empty);
    }

    fn put_table(&mut self, database: &str, def: Arc<TableDef>) -> Result<(), CatalogError> {
        self.next_id = self.next_id.max(def.id);
        let table = Table { rows: Rows::empty(def.model), versions: 1, versions_ms: now_ms(), def };
        let name = table.def.name.clone();
        self.database_mut(database)?.tables.insert(name, table);
        Ok(())
    }

    fn database(&self, name: &str) -> Result<&Database, CatalogError> {
        self.databases.get(name).ok_or_else(|| CatalogError::UnknownDatabase(name.to_string()))
    }

    fn database_mut(&mut self, name: &str) -> Result<&mut Database, CatalogError> {
        self.databases.get_mut(name).ok_or_else(|| CatalogError::UnknownDatabase(name.to_string()))
    }

    fn table(&self, database: &str, table: &str) -> Result<&Table, CatalogError> {
        self.database(database)?.tables.get(table).ok_or_else(|| unknown_table(database, table))
    }

    fn table_mut(&mut self, database: &str, table: &str) -> Result<&mut Table, CatalogError> {
        self.database_mut(database)?.tables.get_mut(table).ok_or_else(|| unknown_table(database, table))
    }

    /// A table that exists and has no schema change running (StarRocks source, `InvalidOlapTableStateException.java`).
    fn check_normal(&self, database: &str, table: &str) -> Result<(), CatalogError> {
        let def = &self.table(database, table)?.def;
        let jobs = &self.database(database)?.jobs;
        if jobs.iter().any(|job| job.shown.table_id == def.id && !job.shown.state.is_final()) {
            return Err(CatalogError::refused(format!(
                "A schema change operation is in progress on the table \"{table}\". Please wait until the current \
                 operation completes.\nTo check the status of the operation, see \
                 https://docs.starrocks.io/docs/sql-reference/sql-statements/table_bucket_part_index/SHOW_ALTER"
            )));
        }
        Ok(())
    }

    /// Replaces a table's definition and moves its rows to it.
    fn redefine(&mut self, database: &str, table: &str, def: TableDef) -> Result<(), CatalogError> {
        let def = Arc::new(def);
        let found = self.table_mut(database, table)?;
        if found.def.schema_version != def.schema_version {
            found.rows.reshape(&found.def, &def, now_ms() * 1000);
        }
        found.def = Arc::clone(&def);
        self.log(|| Entry::Redefine { database: database.to_string(), table: (*def).clone() });
        Ok(())
    }

    fn add_job(
        &mut self,
        database: &str,
        old: &TableDef,
        target: TableDef,
        at_once: bool,
    ) -> Result<Option<u64>, CatalogError> {
        let now = now_ms();
        let job_id = self.take_id();
        let shown = AlterJob {
            job_id,
            table: old.name.clone(),
            table_id: old.id,
            created_ms: now,
            finished_ms: at_once.then_some(now),
            index_id: self.take_id(),
            origin_index_id: old.id,
            schema_version: target.schema_version,
            transaction_id: self.next_txn_id,
            state: if at_once { AlterState::Finished } else { AlterState::Pending },
            message: String::new(),
            progress: None,
            timeout_s: 86_400,
        };
        let takes_ms = self.settings.alter_takes.as_millis() as i64;
        if at_once {
            self.redefine(database, &old.name, target)?;
            self.database_mut(database)?.jobs.push(Job { shown, takes_ms, target: None });
        } else {
            self.database_mut(database)?.jobs.push(Job { shown, takes_ms, target: Some(target) });
        }
        Ok(Some(job_id))
    }

    /// Lets everything happen that is due at `now`.
    fn advance(&mut self, now: i64) {
        self.advance_jobs(now);
        if now - self.swept_ms >= self.settings.label_sweep_every.as_millis() as i64 {
            self.sweep(now);
        }
        let names: Vec<String> = self.databases.keys().cloned().collect();
        for name in names {
            for txn_id in self.databases.get(&name).map(|found| found.txns.expired(now)).unwrap_or_default() {
                self.abort(&name, txn_id, "timeout by txn manager");
            }
        }
        let pace = self.settings.compacted_versions_per_second as i64;
        for table in self.databases.values_mut().flat_map(|found| found.tables.values_mut()) {
            table.compact(now, pace);
        }
    }

    fn sweep(&mut self, now: i64) {
        self.swept_ms = now;
        let oldest = now - self.settings.label_keep.as_millis().min(i64::MAX as u128) as i64;
        let keep = self.settings.label_keep_max_num;
        self.databases.values_mut().for_each(|found| found.txns.sweep(oldest, keep));
    }

    fn advance_jobs(&mut self, now: i64) {
        let mut done = Vec::new();
        for (name, database) in &mut self.databases {
            let (jobs, txns) = (&mut database.jobs, &database.txns);
            for job in jobs.iter_mut().filter(|job| !job.shown.state.is_final()) {
                let elapsed = now - job.shown.created_ms;
                let waits = txns.runs_before(job.shown.transaction_id, &job.shown.table);
                job.shown.state = match elapsed * 10 {
                    tenths if tenths < job.takes_ms * 2 => AlterState::Pending,
                    tenths if waits || tenths < job.takes_ms * 4 => AlterState::WaitingTxn,
                    tenths if tenths < job.takes_ms * 10 => AlterState::Running,
                    _ => AlterState::Finished,
                };
                job.shown.progress = (job.shown.state == AlterState::Running)
                    .then(|| (elapsed * 100 / job.takes_ms.max(1)).clamp(0, 99) as u8);
                if job.shown.state == AlterState::Finished {
                    job.shown.finished_ms = Some(now);
                    done.extend(job.target.take().map(|target| (name.clone(), job.shown.table.clone(), target)));
                }
            }
        }
        for (database, table, target) in done {
            // The table may have been dropped meanwhile; then there is nothing left to change.
            let _gone = self.redefine(&database, &table, target).is_err();
        }
    }

    fn begin(&mut self, database: &str, tables: &[&str], label: &str, lasts_ms: i64) -> Result<u64, BeginError> {
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

    fn prepare(
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

    fn commit(&mut self, database: &str, txn_id: u64, batches: Vec<Batch>, counts: Counts) -> Result<(), String> {
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
            record.state = TxnState::Visible;
            record.order = order;
            record.counts = counts;
            record.committed_ms = Some(now);
            record.finished_ms = Some(now);
        });
        let Some(record) = record.cloned() else { return Err(format!("transaction not found: {txn_id}")) };
        let order = self.write_order();
        for batch in &written {
            self.apply(database, batch, order, now);
        }
        if let Some(journal) = &mut self.journal {
            journal.append(&Entry::Commit { record: record.clone(), order, now_ms: now }, &written);
        }
        self.history.push(record);
        Ok(())
    }

    fn abort(&mut self, database: &str, txn_id: u64, reason: &str) -> bool {
        self.prepared.remove(&txn_id);
        let Some(found) = self.databases.get_mut(database) else { return false };
        let aborted = found.txns.change(txn_id, |record| {
            record.state = TxnState::Aborted;
            record.reason = reason.to_string();
            record.finished_ms = Some(now_ms());
        });
        let Some(record) = aborted.cloned() else { return false };
        self.log(|| Entry::Abort { record });
        true
    }

    /// A statement's own write: no label, one batch.
    fn write(&mut self, database: &str, table: &str, batch: Batch) -> Result<(), CatalogError> {
        let current = Arc::clone(&self.table(database, table)?.def);
        let now = now_ms();
        let batch = batch.brought_to(&current, now * 1000);
        self.apply(database, &batch, Order::LastWins, now);
        self.log_write(database, table, &batch, Order::LastWins, now);
        Ok(())
    }

    fn apply(&mut self, database: &str, batch: &Batch, order: Order, now: i64) {
        if let Ok(table) = self.table_by_id(database, batch.table.id) {
            table.rows.apply(batch, order, now * 1000);
            table.versions += 1;
        }
    }

    fn table_by_id(&mut self, database: &str, id: u64) -> Result<&mut Table, CatalogError> {
        let found = self.database_mut(database)?.tables.values_mut().find(|table| table.def.id == id);
        found.ok_or_else(|| unknown_table(database, &id.to_string()))
    }

    fn write_order(&self) -> Order {
        if self.settings.shared_data && !self.settings.preserve_delete_order {
            Order::DeletesLast { flush_rows: self.settings.flush_rows }
        } else {
            Order::LastWins
        }
    }

    fn log(&mut self, entry: impl FnOnce() -> Entry) {
        if let Some(journal) = &mut self.journal {
            journal.append(&entry(), &[]);
        }
    }

    fn log_write(&mut self, database: &str, table: &str, batch: &Batch, order: Order, now_ms: i64) {
        if let Some(journal) = &mut self.journal {
            let (database, table) = (database.to_string(), table.to_string());
            journal.append(&Entry::Write { database, table, order, now_ms }, std::slice::from_ref(batch));
        }
    }

    /// Does again what an entry of the journal says was done.
    fn replay(&mut self, entry: (Entry, Vec<RawBatch>)) -> Result<(), JournalError> {
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

impl Database {
    fn drop_table(&mut self, table: &str) {
        self.tables.remove(table);
        self.jobs.retain(|job| job.shown.table != table || job.shown.state.is_final());
    }

    fn rename_table(&mut self, table: &str, new: &str) {
        if let Some(mut found) = self.tables.remove(table) {
            found.def = Arc::new(TableDef { name: new.to_string(), ..(*found.def).clone() });
            self.tables.insert(new.to_string(), found);
        }
    }

    fn swap_tables(&mut self, table: &str, other: &str) {
        let (Some(mut a), Some(mut b)) = (self.tables.remove(table), self.tables.remove(other)) else { return };
        a.def = Arc::new(TableDef { name: other.to_string(), ..(*a.def).clone() });
        b.def = Arc::new(TableDef { name: table.to_string(), ..(*b.def).clone() });
        self.tables.insert(other.to_string(), a);
        self.tables.insert(table.to_string(), b);
    }
}

impl Table {
    /// Takes away the versions compaction has merged since it was last asked; the last one stays.
    fn compact(&mut self, now: i64, per_second: i64) {
        let merged = (now - self.versions_ms).saturating_mul(per_second) / 1000;
        if merged > 0 {
            self.versions = self.versions.saturating_sub(merged as u64).max(1);
            self.versions_ms = now;
        } else if self.versions <= 1 {
            self.versions_ms = now;
        }
    }
}

/// A renamed column is renamed wherever the table mentions it.
fn rename_mentions(def: &mut TableDef, old: &str, new: &str) {
    let mentions = def.sort_key.iter_mut().chain(match &mut def.distribution {
        Distribution::Hash(columns) => columns.iter_mut(),
        Distribution::Random => [].iter_mut(),
    });
    for mention in mentions.filter(|mention| mention.eq_ignore_ascii_case(old)) {
        *mention = new.to_string();
    }
}

/// Letter or underscore first (StarRocks source, `FeNameFormat.java`).
fn check_database_name(name: &str) -> Result<(), CatalogError> {
    let mut characters = name.chars();
    let first = characters.next().is_some_and(|c| c.is_ascii_alphabetic() || c == '_');
    let rest = characters.all(|c| c.is_alphanumeric() || "_-~!@#$%^&<>=+".contains(c));
    if first && rest && name.chars().count() <= 256 {
        Ok(())
    } else {
        Err(CatalogError::analyzing(format!("Incorrect database name '{name}'")))
    }
}

fn unknown_table(database: &str, table: &str) -> CatalogError {
    CatalogError::UnknownTable { database: database.to_string(), table: table.to_string() }
}

/// Milliseconds since 1970.
pub(super) fn now_ms() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as i64)
}
