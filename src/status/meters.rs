//! The shared atomics and who may write them.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering::Acquire, Ordering::Relaxed, Ordering::Release};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use tokio::sync::watch;

use super::reasons::Reasons;
use super::{CopyNumbers, CopyPhase, SlotHealth, Snapshot, TableSnapshot, ValuesChanged};
use crate::model::{Budget, Lsn, Reason, Stage, TableName, TableState};

/// Declares a group of plain counters and gauges.
macro_rules! numbers {
    ($group:ident { $($field:ident),* $(,)? }) => {
        #[derive(Debug, Default)]
        struct $group { $($field: AtomicU64),* }
    };
}

numbers!(EngineNumbers { generation, heartbeat_micros, checkpoint, flush_rows, flush_interval_ms });
numbers!(SourceNumbers {
    contact_micros,
    server,
    confirmed,
    received_bytes,
    reconnects,
    spool_bytes,
    spool_given_up,
    streamed_transactions,
});
numbers!(PipelineNumbers {
    received,
    durable,
    rows_received,
    transactions_received,
    rows_durable,
    received_commit_micros,
    durable_commit_micros,
    rows_skipped,
    load_retries,
});
numbers!(SinkNumbers { contact_micros, loads, load_refusals, rows_loaded, bytes_loaded });
numbers!(TableNumbers { inserted, updated, deleted, truncates, loads, rows_loaded, durable, last_load_micros });

#[derive(Debug)]
struct Table {
    target: String,
    state: AtomicU8,
    numbers: TableNumbers,
    copy: Mutex<Option<CopyNumbers>>,
}

#[derive(Debug)]
struct Shared {
    pipeline: String,
    slot: String,
    publication: String,
    started_at: SystemTime,
    budget: Budget,
    stage: AtomicU8,
    stage_detail: Mutex<String>,
    paused: AtomicBool,
    copy_paused: AtomicBool,
    source_connected: AtomicBool,
    sink_reachable: AtomicBool,
    breaker_open: AtomicBool,
    engine: EngineNumbers,
    source: SourceNumbers,
    flow: PipelineNumbers,
    sink: SinkNumbers,
    slot_health: Mutex<Option<SlotHealth>>,
    tables: Mutex<BTreeMap<TableName, Arc<Table>>>,
    /// Values loaded as something else, by table, class and policy: rare, so that a lock is fast enough.
    values_changed: Mutex<BTreeMap<TableName, ValuesChanged>>,
    reasons: Reasons,
    changed: watch::Sender<u64>,
}

/// The readers' side. Clones read the same numbers.
#[derive(Clone, Debug)]
pub struct Status(Arc<Shared>);

/// The writers' sides, one for each part.
#[derive(Debug)]
pub struct Meters {
    /// For the engine.
    pub engine: EngineMeter,
    /// For the source.
    pub source: SourceMeter,
    /// For the pipeline.
    pub pipeline: PipelineMeter,
    /// For the sink.
    pub sink: SinkMeter,
}

/// What the engine writes.
#[derive(Debug)]
pub struct EngineMeter(Arc<Shared>);
/// What the source writes. The parts of the source share it; each number is still written from one place.
#[derive(Clone, Debug)]
pub struct SourceMeter(Arc<Shared>);
/// What the pipeline writes.
#[derive(Clone, Debug)]
pub struct PipelineMeter(Arc<Shared>);
/// What the sink writes. Loads run side by side, so its counters are added to, never set.
#[derive(Clone, Debug)]
pub struct SinkMeter(Arc<Shared>);
/// What the pipeline writes about one table.
#[derive(Clone, Debug)]
pub struct TableMeter {
    table: Arc<Table>,
    shared: Arc<Shared>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Each value under these locks is replaced whole, so a panic cannot leave it half-written.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn now_micros() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_micros() as u64)
}

impl Shared {
    fn notify(&self) {
        self.changed.send_modify(|count| *count += 1);
    }

    fn raise(&self, reason: Reason) -> bool {
        let new = self.reasons.raise(reason);
        if new {
            self.notify();
        }
        new
    }

    fn clear(&self, cured: impl Fn(&Reason) -> bool) {
        if self.reasons.clear(cured) > 0 {
            self.notify();
        }
    }
}

impl Status {
    /// A fresh set of numbers and the meters that write them.
    pub fn new(pipeline: &str, slot: &str, publication: &str, budget: Budget) -> (Status, Meters) {
        let shared = Arc::new(Shared {
            pipeline: pipeline.to_owned(),
            slot: slot.to_owned(),
            publication: publication.to_owned(),
            started_at: SystemTime::now(),
            budget,
            stage: AtomicU8::new(Stage::Init as u8),
            stage_detail: Mutex::default(),
            paused: AtomicBool::new(false),
            copy_paused: AtomicBool::new(false),
            source_connected: AtomicBool::new(false),
            sink_reachable: AtomicBool::new(false),
            breaker_open: AtomicBool::new(false),
            engine: EngineNumbers::default(),
            source: SourceNumbers::default(),
            flow: PipelineNumbers::default(),
            sink: SinkNumbers::default(),
            slot_health: Mutex::default(),
            tables: Mutex::default(),
            values_changed: Mutex::default(),
            reasons: Reasons::default(),
            changed: watch::Sender::new(0),
        });
        let meters = Meters {
            engine: EngineMeter(shared.clone()),
            source: SourceMeter(shared.clone()),
            pipeline: PipelineMeter(shared.clone()),
            sink: SinkMeter(shared.clone()),
        };
        (Status(shared), meters)
    }

    /// Wakes whenever stage, pause, a table's state, a connection or the list of reasons changes (not for counters).
    pub fn watch(&self) -> watch::Receiver<u64> {
        self.0.changed.subscribe()
    }

    /// The stage alone.
    pub fn stage(&self) -> Stage {
        Stage::ALL[usize::from(self.0.stage.load(Acquire))]
    }

    /// Copies everything.
    pub fn snapshot(&self) -> Snapshot {
        let s = &*self.0;
        let (engine, source, flow, sink) = (&s.engine, &s.source, &s.flow, &s.sink);
        // Positions are read in the order they are reached backwards, so that a copy never shows
        // confirmed > checkpoint > durable > received even while they move.
        let confirmed_lsn = Lsn(source.confirmed.load(Acquire));
        let checkpoint_lsn = Lsn(engine.checkpoint.load(Acquire));
        let durable_lsn = Lsn(flow.durable.load(Acquire));
        let received_lsn = Lsn(flow.received.load(Acquire));
        let rows_durable = flow.rows_durable.load(Acquire);
        let rows_received = flow.rows_received.load(Acquire);
        let values_changed = lock(&s.values_changed).clone();
        let changed_in = |name| values_changed.get(name).cloned().unwrap_or_default();
        Snapshot {
            pipeline: s.pipeline.clone(),
            taken_at: SystemTime::now(),
            started_at: s.started_at,
            stage: self.stage(),
            stage_detail: lock(&s.stage_detail).clone(),
            paused: s.paused.load(Acquire),
            copy_paused: s.copy_paused.load(Acquire),
            generation: engine.generation.load(Relaxed),
            heartbeat_micros: engine.heartbeat_micros.load(Relaxed),
            source_connected: s.source_connected.load(Acquire),
            source_contact_micros: source.contact_micros.load(Relaxed),
            received_lsn,
            server_lsn: Lsn(source.server.load(Relaxed)),
            durable_lsn,
            checkpoint_lsn,
            confirmed_lsn,
            received_bytes: source.received_bytes.load(Relaxed),
            rows_received,
            transactions_received: flow.transactions_received.load(Relaxed),
            rows_durable,
            reconnects: source.reconnects.load(Relaxed),
            streamed_transactions: source.streamed_transactions.load(Relaxed),
            spool_bytes: source.spool_bytes.load(Relaxed),
            spool_given_up: source.spool_given_up.load(Relaxed),
            received_commit_micros: flow.received_commit_micros.load(Relaxed),
            durable_commit_micros: flow.durable_commit_micros.load(Relaxed),
            pending_rows: rows_received.saturating_sub(rows_durable),
            memory_used: s.budget.used() as u64,
            memory_budget: s.budget.total() as u64,
            sink_reachable: s.sink_reachable.load(Acquire),
            sink_contact_micros: sink.contact_micros.load(Relaxed),
            breaker_open: s.breaker_open.load(Relaxed),
            loads: sink.loads.load(Relaxed),
            load_retries: flow.load_retries.load(Relaxed),
            load_refusals: sink.load_refusals.load(Relaxed),
            rows_loaded: sink.rows_loaded.load(Relaxed),
            bytes_loaded: sink.bytes_loaded.load(Relaxed),
            rows_skipped: flow.rows_skipped.load(Relaxed),
            values_changed: values_changed.values().flat_map(BTreeMap::values).sum(),
            slot: s.slot.clone(),
            publication: s.publication.clone(),
            slot_health: lock(&s.slot_health).clone(),
            flush_rows: engine.flush_rows.load(Relaxed),
            flush_interval_ms: engine.flush_interval_ms.load(Relaxed),
            tables: lock(&s.tables).iter().map(|(name, table)| table.snapshot(name, changed_in(name))).collect(),
            reasons: s.reasons.all(),
        }
    }
}

impl Table {
    fn new(target: &str) -> Self {
        Table {
            target: target.to_owned(),
            state: AtomicU8::new(TableState::Pending as u8),
            numbers: TableNumbers::default(),
            copy: Mutex::default(),
        }
    }

    /// What the lane says, and where its changes flow, what the copy says.
    fn state(&self, copy: Option<&CopyNumbers>) -> TableState {
        match (TableState::ALL[usize::from(self.state.load(Acquire))], copy.map(|copy| copy.phase)) {
            (TableState::Streaming, Some(CopyPhase::Waiting | CopyPhase::Copying)) => TableState::Copying,
            (TableState::Streaming, Some(CopyPhase::Repairing)) => TableState::Repairing,
            (state, _) => state,
        }
    }

    fn snapshot(&self, name: &TableName, values_changed: ValuesChanged) -> TableSnapshot {
        let n = &self.numbers;
        let copy = *lock(&self.copy);
        TableSnapshot {
            name: name.clone(),
            target: self.target.clone(),
            state: self.state(copy.as_ref()),
            inserted: n.inserted.load(Relaxed),
            updated: n.updated.load(Relaxed),
            deleted: n.deleted.load(Relaxed),
            truncates: n.truncates.load(Relaxed),
            loads: n.loads.load(Relaxed),
            rows_loaded: n.rows_loaded.load(Relaxed),
            durable_lsn: Lsn(n.durable.load(Relaxed)),
            last_load_micros: n.last_load_micros.load(Relaxed),
            copy,
            values_changed,
        }
    }
}

impl EngineMeter {
    /// Enters a stage.
    pub fn stage(&self, stage: Stage, detail: &str) {
        *lock(&self.0.stage_detail) = detail.to_owned();
        self.0.stage.store(stage as u8, Release);
        self.0.notify();
    }

    /// Sets whether reading is paused.
    pub fn paused(&self, paused: bool) {
        self.0.paused.store(paused, Release);
        self.0.notify();
    }

    /// Sets whether the copy of existing rows is paused.
    pub fn copy_paused(&self, paused: bool) {
        self.0.copy_paused.store(paused, Release);
        self.0.notify();
    }

    /// How far a table's copy is; makes the table's entry if there is none.
    pub fn copy(&self, name: &TableName, target: &str, numbers: CopyNumbers) {
        let table = lock(&self.0.tables).entry(name.clone()).or_insert_with(|| Arc::new(Table::new(target))).clone();
        let before = lock(&table.copy).replace(numbers);
        if before.map(|before| before.phase) != Some(numbers.phase) {
            self.0.notify();
        }
    }

    /// The slot as the source last saw it.
    pub fn slot_health(&self) -> Option<SlotHealth> {
        lock(&self.0.slot_health).clone()
    }

    /// End of the last complete transaction received, or the last idle position.
    pub fn received(&self) -> Lsn {
        Lsn(self.0.flow.received.load(Relaxed))
    }

    /// Whether calls to the sink pause after failures in a row.
    pub fn breaker_open(&self) -> bool {
        self.0.breaker_open.load(Relaxed)
    }

    /// Counts an accepted command that changed something; the new generation.
    pub fn next_generation(&self) -> u64 {
        self.0.engine.generation.fetch_add(1, Relaxed) + 1
    }

    /// A sign of life of the engine's loop.
    pub fn heartbeat(&self) {
        self.0.engine.heartbeat_micros.store(now_micros(), Relaxed);
    }

    /// The position is stored. Release: whoever sees it also sees the durable position it rests on.
    pub fn checkpoint(&self, lsn: Lsn) {
        self.0.engine.checkpoint.store(lsn.0, Release);
    }

    /// The flush settings in force.
    pub fn flush_settings(&self, rows: u64, interval_ms: u64) {
        self.0.engine.flush_rows.store(rows, Relaxed);
        self.0.engine.flush_interval_ms.store(interval_ms, Relaxed);
    }

    /// Raises or repeats a reason; true if it is new.
    pub fn raise(&self, reason: Reason) -> bool {
        self.0.raise(reason)
    }

    /// Clears the reasons that `cured` accepts.
    pub fn clear(&self, cured: impl Fn(&Reason) -> bool) {
        self.0.clear(cured);
    }
}

impl SourceMeter {
    /// Whether the stream is up.
    pub fn connected(&self, connected: bool) {
        if self.0.source_connected.swap(connected, Release) != connected {
            self.0.notify();
        }
    }

    /// Bytes came, and the server said where its WAL ends (`Lsn::INVALID`: it did not).
    pub fn received(&self, bytes: u64, server_lsn: Lsn) {
        let n = &self.0.source;
        n.received_bytes.fetch_add(bytes, Relaxed);
        n.contact_micros.store(now_micros(), Relaxed);
        n.server.fetch_max(server_lsn.0, Relaxed);
    }

    /// The server was told this position. Release: whoever sees it also sees the checkpoint it rests on.
    pub fn confirmed(&self, lsn: Lsn) {
        self.0.source.confirmed.store(lsn.0, Release);
    }

    /// The stream was taken up again.
    pub fn reconnected(&self) {
        self.0.source.reconnects.fetch_add(1, Relaxed);
    }

    /// A transaction that came in parts has committed and is taken up.
    pub fn replayed(&self) {
        self.0.source.streamed_transactions.fetch_add(1, Relaxed);
    }

    /// So many bytes of transactions that came in parts are kept on disk.
    pub fn spooled(&self, bytes: u64) {
        self.0.source.spool_bytes.store(bytes, Relaxed);
    }

    /// Transactions in parts could not be kept.
    pub fn spool_given_up(&self) {
        self.0.source.spool_given_up.fetch_add(1, Relaxed);
    }

    /// What the source says of the slot.
    pub fn slot_health(&self, health: SlotHealth) {
        *lock(&self.0.slot_health) = Some(health);
    }

    /// Raises or repeats a reason; true if it is new.
    pub fn raise(&self, reason: Reason) -> bool {
        self.0.raise(reason)
    }

    /// Clears the reasons that `cured` accepts.
    pub fn clear(&self, cured: impl Fn(&Reason) -> bool) {
        self.0.clear(cured);
    }
}

impl PipelineMeter {
    /// A complete transaction, or an idle position, was received.
    pub fn received(&self, lsn: Lsn, commit_micros: i64) {
        let n = &self.0.flow;
        n.received_commit_micros.fetch_max(commit_micros.max(0) as u64, Relaxed);
        n.received.store(lsn.0, Release);
    }

    /// Row changes and complete transactions came.
    pub fn flowed(&self, rows: u64, transactions: u64) {
        self.0.flow.rows_received.fetch_add(rows, Release);
        self.0.flow.transactions_received.fetch_add(transactions, Relaxed);
    }

    /// Everything before `lsn` is durable. Release: whoever sees it also sees what was received before.
    pub fn durable(&self, lsn: Lsn, commit_micros: i64) {
        let n = &self.0.flow;
        n.durable_commit_micros.fetch_max(commit_micros.max(0) as u64, Relaxed);
        n.durable.store(lsn.0, Release);
    }

    /// Row changes are done with: durable, void, or to be told again.
    pub fn rows_settled(&self, rows: u64) {
        self.0.flow.rows_durable.fetch_add(rows, Release);
    }

    /// Whether calls pause after failures in a row.
    pub fn breaker(&self, open: bool) {
        self.0.breaker_open.store(open, Relaxed);
    }

    /// A load is tried again.
    pub fn retried(&self) {
        self.0.flow.load_retries.fetch_add(1, Relaxed);
    }

    /// The meter of a table; makes its entry if there is none.
    pub fn table(&self, name: &TableName, target: &str) -> TableMeter {
        let table = lock(&self.0.tables).entry(name.clone()).or_insert_with(|| Arc::new(Table::new(target))).clone();
        TableMeter { table, shared: self.0.clone() }
    }

    /// Raises or repeats a reason; true if it is new.
    pub fn raise(&self, reason: Reason) -> bool {
        self.0.raise(reason)
    }

    /// Clears the reasons that `cured` accepts.
    pub fn clear(&self, cured: impl Fn(&Reason) -> bool) {
        self.0.clear(cured);
    }
}

impl SinkMeter {
    /// The sink answered, or could not be reached.
    pub fn reachable(&self, reachable: bool) {
        if reachable {
            self.0.sink.contact_micros.store(now_micros(), Relaxed);
        }
        if self.0.sink_reachable.swap(reachable, Release) != reachable {
            self.0.notify();
        }
    }

    /// A load was accepted.
    pub fn loaded(&self, rows: u64, bytes: u64) {
        self.0.sink.loads.fetch_add(1, Relaxed);
        self.0.sink.rows_loaded.fetch_add(rows, Relaxed);
        self.0.sink.bytes_loaded.fetch_add(bytes, Relaxed);
    }

    /// A load was refused.
    pub fn refused(&self) {
        self.0.sink.load_refusals.fetch_add(1, Relaxed);
    }

    /// Values of a class were loaded as something else by a policy, in a load that was accepted; true if they are the
    /// table's first of that class.
    pub fn changed(&self, table: &TableName, class: &'static str, policy: &'static str, values: u64) -> bool {
        let mut tables = lock(&self.0.values_changed);
        let counted = tables.entry(table.clone()).or_default().entry((class, policy)).or_default();
        *counted += values;
        *counted == values
    }
}

impl TableMeter {
    /// Row changes came.
    pub fn received(&self, inserted: u64, updated: u64, deleted: u64, truncates: u64) {
        let n = &self.table.numbers;
        n.inserted.fetch_add(inserted, Relaxed);
        n.updated.fetch_add(updated, Relaxed);
        n.deleted.fetch_add(deleted, Relaxed);
        n.truncates.fetch_add(truncates, Relaxed);
    }

    /// A load of its rows was accepted.
    pub fn loaded(&self, rows: u64) {
        let n = &self.table.numbers;
        n.loads.fetch_add(1, Relaxed);
        n.rows_loaded.fetch_add(rows, Relaxed);
        n.last_load_micros.store(now_micros(), Relaxed);
    }

    /// Its rows up to this commit are durable.
    pub fn durable(&self, lsn: Lsn) {
        self.table.numbers.durable.fetch_max(lsn.0, Relaxed);
    }

    /// It changes state.
    pub fn state(&self, state: TableState) {
        if self.table.state.swap(state as u8, Release) != state as u8 {
            self.shared.notify();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Class;

    fn fresh() -> (Status, Meters) {
        Status::new("p", "p_slot", "p_pub", Budget::new(1 << 20))
    }

    #[test]
    fn readers_see_what_meters_wrote() {
        let (status, meters) = fresh();
        let table = TableName { schema: "shop".into(), name: "orders".into() };
        meters.engine.stage(Stage::Cdc, "streaming");
        meters.pipeline.flowed(7, 2);
        meters.pipeline.rows_settled(3);
        let meter = meters.pipeline.table(&table, "orders");
        meter.received(4, 2, 1, 0);
        meter.state(TableState::Streaming);
        let seen = status.snapshot();
        assert_eq!((seen.stage, seen.stage_detail.as_str(), seen.pending_rows), (Stage::Cdc, "streaming", 4));
        let [row] = &seen.tables[..] else { panic!("one table") };
        assert_eq!((row.inserted, row.updated, row.deleted, row.state), (4, 2, 1, TableState::Streaming));
    }

    #[test]
    fn changed_values_are_counted_by_table_class_and_policy() {
        let (status, meters) = fresh();
        let table = |name: &str| TableName { schema: "shop".into(), name: name.into() };
        meters.pipeline.table(&table("a"), "a");
        meters.pipeline.table(&table("b"), "b");
        assert!(meters.sink.changed(&table("a"), "date_range", "null", 3));
        assert!(!meters.sink.changed(&table("a"), "date_range", "null", 2), "the first is told once");
        assert!(meters.sink.changed(&table("a"), "json_number", "text", 1));
        assert!(meters.sink.changed(&table("b"), "date_range", "null", 1));
        let seen = status.snapshot();
        let want = [(("date_range", "null"), 5), (("json_number", "text"), 1)];
        assert_eq!(seen.tables[0].values_changed, ValuesChanged::from(want));
        assert_eq!((seen.tables[1].values_changed.len(), seen.values_changed), (1, 7));
    }

    #[test]
    fn a_reason_is_counted_until_cleared_and_wakes_watchers_once() {
        let (status, meters) = fresh();
        let mut watch = status.watch();
        let reason = Reason::new("SLOT_LOST", Class::Resync, "p_slot", "it is lost", "make a new one");
        assert!(meters.source.raise(reason.clone()));
        assert!(watch.has_changed().unwrap());
        watch.mark_unchanged();
        assert!(!meters.source.raise(reason));
        assert!(!watch.has_changed().unwrap(), "a repeat is no news");
        assert_eq!(status.snapshot().reasons[0].count, 2);
        meters.source.clear(|reason| reason.code == "SLOT_LOST");
        assert!(status.snapshot().reasons.is_empty() && watch.has_changed().unwrap());
    }
}
