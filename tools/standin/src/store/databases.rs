//! Databases and tables: the catalog, the rows, the jobs that change them, and the one lock around all of it.
//!
//! Always: time-driven things (schema changes, label sweeps, timeouts, compaction) are brought up to date whenever the
//! lock is taken, so what a caller sees never depends on a background task.
//! Not here: transactions and the journal's replay (`loading`).
//! Start at `Store::lock`.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use super::alter::{self, AlterJob, AlterState, ColumnChange, Planned};
use super::cell::Cell;
use super::error::CatalogError;
use super::journal::{Entry, Journal, JournalError};
use super::loading::Publishing;
use super::rows::{Batch, Order, Row, RowOp, Rows, WriteMode};
use super::settings::{Release, Settings};
use super::table::{self, Distribution, NewTable, Site, TableDef, check_column_name};
use super::txn::{LoadRecord, Txns};

/// The databases of one server. Shared by both faces as `Arc<Store>`.
#[derive(Debug)]
pub struct Store {
    inner: Mutex<Inner>,
}

#[derive(Debug)]
pub(super) struct Inner {
    pub(super) settings: Settings,
    pub(super) databases: BTreeMap<String, Database>,
    pub(super) next_id: u64,
    pub(super) next_txn_id: u64,
    pub(super) committed: u64,
    pub(super) history: Vec<LoadRecord>,
    pub(super) swept_ms: i64,
    pub(super) advanced_ms: i64,
    /// Batches of PREPARED transactions.
    pub(super) prepared: HashMap<u64, Vec<Batch>>,
    /// COMMITTED transactions in commit order: they become visible in it.
    pub(super) publishing: VecDeque<Publishing>,
    pub(super) journal: Option<Journal>,
}

#[derive(Debug)]
pub(super) struct Database {
    pub(super) id: u64,
    pub(super) tables: BTreeMap<String, Table>,
    pub(super) jobs: Vec<Job>,
    pub(super) txns: Txns,
}

#[derive(Debug)]
pub(super) struct Table {
    pub(super) def: Arc<TableDef>,
    pub(super) rows: Rows,
    /// Versions not compacted yet, at `versions_ms`.
    pub(super) versions: u64,
    pub(super) versions_ms: i64,
}

#[derive(Debug)]
pub(super) struct Job {
    shown: AlterJob,
    takes_ms: i64,
    /// What the table becomes. `None` for a job that was done at once.
    target: Option<TableDef>,
    /// Whether the rows are written anew, and not only the metadata.
    rewrites: bool,
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
            advanced_ms: 0,
            prepared: HashMap::new(),
            publishing: VecDeque::new(),
            journal: None,
        };
        Store { inner: Mutex::new(inner) }
    }

    pub(super) fn raw_lock(&self) -> MutexGuard<'_, Inner> {
        // A panic elsewhere leaves the maps whole: every change is made by one assignment or insert.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the lock and lets everything happen that is due.
    pub(super) fn lock(&self) -> MutexGuard<'_, Inner> {
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
        if table == other {
            return Ok(());
        }
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
        let job_id = inner.add_job(database, &def, planned, at_once)?;
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

    pub(super) fn redefine(
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

impl Inner {
    pub(super) fn take_id(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id
    }

    pub(super) fn put_database(&mut self, name: &str, id: u64) {
        self.next_id = self.next_id.max(id);
        let empty = Database { id, tables: BTreeMap::new(), jobs: Vec::new(), txns: Txns::default() };
        self.databases.insert(name.to_string(), empty);
    }

    pub(super) fn put_table(&mut self, database: &str, def: Arc<TableDef>) -> Result<(), CatalogError> {
        self.next_id = self.next_id.max(def.id);
        let table = Table { rows: Rows::empty(def.model), versions: 1, versions_ms: now_ms(), def };
        let name = table.def.name.clone();
        self.database_mut(database)?.tables.insert(name, table);
        Ok(())
    }

    pub(super) fn database(&self, name: &str) -> Result<&Database, CatalogError> {
        self.databases.get(name).ok_or_else(|| CatalogError::UnknownDatabase(name.to_string()))
    }

    pub(super) fn database_mut(&mut self, name: &str) -> Result<&mut Database, CatalogError> {
        self.databases.get_mut(name).ok_or_else(|| CatalogError::UnknownDatabase(name.to_string()))
    }

    pub(super) fn table(&self, database: &str, table: &str) -> Result<&Table, CatalogError> {
        self.database(database)?.tables.get(table).ok_or_else(|| unknown_table(database, table))
    }

    pub(super) fn table_mut(&mut self, database: &str, table: &str) -> Result<&mut Table, CatalogError> {
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
    pub(super) fn redefine(&mut self, database: &str, table: &str, def: TableDef) -> Result<(), CatalogError> {
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
        planned: Planned,
        at_once: bool,
    ) -> Result<Option<u64>, CatalogError> {
        let (target, rewrites) = (planned.table, !planned.metadata_only);
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
            self.database_mut(database)?.jobs.push(Job { shown, takes_ms, target: None, rewrites });
        } else {
            self.database_mut(database)?.jobs.push(Job { shown, takes_ms, target: Some(target), rewrites });
        }
        Ok(Some(job_id))
    }

    /// Lets everything happen that is due at `now`.
    fn advance(&mut self, now: i64) {
        self.publish_due(now);
        self.advance_jobs(now);
        if now - self.swept_ms >= self.settings.label_sweep_every.as_millis() as i64 {
            self.sweep(now);
        }
        // Timeouts and compaction move by the millisecond; more often than that there is nothing to see.
        if now == self.advanced_ms {
            return;
        }
        self.advanced_ms = now;
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

    pub(super) fn sweep(&mut self, now: i64) {
        self.swept_ms = now;
        let oldest = now - self.settings.label_keep.as_millis().min(i64::MAX as u128) as i64;
        let keep = self.settings.label_keep_max_num;
        self.databases.values_mut().for_each(|found| found.txns.sweep(oldest, keep));
    }

    fn advance_jobs(&mut self, now: i64) {
        let mut done = Vec::new();
        let shared_data = self.settings.shared_data;
        for (name, database) in &mut self.databases {
            let (jobs, txns) = (&mut database.jobs, &database.txns);
            for job in jobs.iter_mut().filter(|job| !job.shown.state.is_final()) {
                let elapsed = now - job.shown.created_ms;
                let waits = txns.runs_before(job.shown.transaction_id, &job.shown.table);
                job.shown.state = match elapsed * 10 {
                    tenths if tenths < job.takes_ms * 2 => AlterState::Pending,
                    tenths if waits || tenths < job.takes_ms * 4 => AlterState::WaitingTxn,
                    tenths
                        if shared_data && job.rewrites && (job.takes_ms * 8..job.takes_ms * 10).contains(&tenths) =>
                    {
                        AlterState::FinishedRewriting
                    }
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

    /// A statement's own write: no label, one batch.
    fn write(&mut self, database: &str, table: &str, batch: Batch) -> Result<(), CatalogError> {
        let current = Arc::clone(&self.table(database, table)?.def);
        let now = now_ms();
        let batch = batch.brought_to(&current, now * 1000);
        self.apply(database, &batch, Order::LastWins, now);
        self.log_write(database, table, &batch, Order::LastWins, now);
        Ok(())
    }

    pub(super) fn apply(&mut self, database: &str, batch: &Batch, order: Order, now: i64) {
        if let Ok(table) = self.table_by_id(database, batch.table.id) {
            table.rows.apply(batch, order, now * 1000);
            table.versions += 1;
        }
    }

    pub(super) fn table_by_id(&mut self, database: &str, id: u64) -> Result<&mut Table, CatalogError> {
        let found = self.database_mut(database)?.tables.values_mut().find(|table| table.def.id == id);
        found.ok_or_else(|| unknown_table(database, &id.to_string()))
    }

    pub(super) fn write_order(&self) -> Order {
        if self.settings.shared_data && !self.settings.preserve_delete_order {
            Order::DeletesLast { flush_rows: self.settings.flush_rows }
        } else {
            Order::LastWins
        }
    }

    pub(super) fn log(&mut self, entry: impl FnOnce() -> Entry) {
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
}

impl Database {
    pub(super) fn drop_table(&mut self, table: &str) {
        self.tables.remove(table);
        self.jobs.retain(|job| job.shown.table != table || job.shown.state.is_final());
    }

    pub(super) fn rename_table(&mut self, table: &str, new: &str) {
        if let Some(mut found) = self.tables.remove(table) {
            found.def = Arc::new(TableDef { name: new.to_string(), ..(*found.def).clone() });
            self.tables.insert(new.to_string(), found);
        }
    }

    pub(super) fn swap_tables(&mut self, table: &str, other: &str) {
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::alter::Place;
    use super::super::table::{ColumnDef, TableModel};
    use super::super::types::SrType;
    use super::*;

    /// StarRocks docs, SHOW ALTER TABLE; `AlterJobV2.java`: FINISHED_REWRITING is of rewrites in shared-data mode.
    #[test]
    fn a_job_goes_through_its_states_in_time() {
        let rows = [
            (false, ["PENDING", "WAITING_TXN", "RUNNING", "RUNNING", "FINISHED"]),
            (true, ["PENDING", "WAITING_TXN", "RUNNING", "FINISHED_REWRITING", "FINISHED"]),
        ];
        for (shared_data, states) in rows {
            let takes = Duration::from_secs(3600);
            let store = Store::new(Settings { shared_data, alter_takes: takes, ..Settings::default() });
            store.create_database("d").expect("create a database");
            let column = |ty| ColumnDef::new("v", ty);
            let table = NewTable {
                name: "t".to_string(),
                columns: vec![ColumnDef::new("id", SrType::Int).not_null(), column(SrType::Int)],
                keys: Some((TableModel::Primary, vec!["id".to_string()])),
                sort_key: Vec::new(),
                partition_by: None,
                distribution: None,
                buckets: None,
                comment: String::new(),
                properties: vec![("replication_num".to_string(), "1".to_string())],
            };
            store.create_table("d", table).expect("create a table");
            let change = ColumnChange::Modify { column: column(SrType::BigInt), place: Place::Default };
            store.alter_columns("d", "t", &[change]).expect("a job");
            let mut inner = store.raw_lock();
            let begun = inner.databases["d"].jobs[0].shown.created_ms;
            for (tenths, state) in [0, 3, 6, 9, 10].into_iter().zip(states) {
                inner.advance_jobs(begun + takes.as_millis() as i64 * tenths / 10);
                let shown = inner.databases["d"].jobs[0].shown.state.name();
                assert_eq!(shown, state, "shared_data {shared_data}, after {tenths} tenths");
            }
            assert_eq!(inner.databases["d"].tables["t"].def.columns[1].ty, SrType::BigInt);
        }
    }
}
