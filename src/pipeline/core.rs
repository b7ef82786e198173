//! Decides what to flush when, and which position is durable. No I/O, no clock.

use std::sync::Arc;
use std::time::{Duration, Instant};

use foldhash::fast::FixedState;
use hashbrown::HashMap;

use super::Options;
use super::acks::{AckTracker, End, UnitId};
use super::schema_cache::SchemaCache;
use crate::model::{Block, Change, Event, Lsn, Permit, TableId, TableSchema};

/// What happened to a table, in the order it happened.
#[derive(Debug)]
pub(super) enum What {
    /// One row changed.
    Change(Change),
    /// All rows are gone.
    Truncate,
}

/// One entry of a flush unit.
#[derive(Debug)]
pub(super) struct Item {
    slot: u32,
    /// The transaction's commit position.
    pub(super) commit_lsn: Lsn,
    /// What happened.
    pub(super) what: What,
}

/// One table's part of a flush unit, for its lane.
#[derive(Debug)]
pub(super) struct Job {
    /// The unit.
    pub(super) unit: UnitId,
    /// The table as the rows were written under it.
    pub(super) schema: Arc<TableSchema>,
    /// Never empty.
    pub(super) items: Vec<Item>,
    /// Commit position of the newest transaction that the table has wholly with this part; invalid if there is none.
    pub(super) through: Lsn,
    /// The budget's share of the rows, given back with the last part.
    pub(super) permits: Arc<[Arc<Permit>]>,
}

/// What the shell is to do.
#[derive(Debug)]
pub(super) enum Action {
    /// Hand a part to its table's lane.
    Dispatch(Job),
    /// Everything up to here is durable.
    Durable(End),
}

/// What a lane reports.
#[derive(Debug)]
pub(super) enum Report {
    /// A part is durable.
    Done {
        /// The unit.
        unit: UnitId,
        /// The lane's table.
        table: TableId,
        /// [`Job::through`].
        through: Lsn,
    },
    /// A part was let go; the lane's table is blocked.
    Lost {
        /// The unit.
        unit: UnitId,
        /// The lane's table.
        table: TableId,
    },
    /// The table's obstacle is gone: the changes it let go are to be told again.
    Cured {
        /// The lane's table.
        table: TableId,
    },
    /// The sink asks for fewer and larger loads.
    SlowDown,
}

#[derive(Debug)]
struct Transaction {
    commit_lsn: Lsn,
    commit_micros: i64,
    /// Told again after a loss: tables may have it already.
    repeated: bool,
    /// A part of it has been handed on.
    cut: bool,
}

#[derive(Debug, Default)]
struct OpenUnit {
    items: Vec<Item>,
    /// The blocks the items came in: what of the budget they hold, and their bytes.
    blocks: Vec<(Arc<Permit>, u64)>,
    mark: Mark,
}

impl OpenUnit {
    fn bytes(&self) -> u64 {
        self.blocks.iter().map(|(_, bytes)| bytes).sum()
    }
}

/// The end of the last complete transaction in the open unit.
#[derive(Clone, Copy, Debug, Default)]
struct Mark {
    items: usize,
    /// The block that the mark is in.
    block: usize,
    end: Option<End>,
    commit_lsn: Lsn,
}

/// The decision core of the pipeline.
#[derive(Debug)]
pub(super) struct Core {
    options: Options,
    schemas: SchemaCache,
    open: OpenUnit,
    transaction: Option<Transaction>,
    acks: AckTracker,
    /// End of the last complete transaction received, or the last idle position.
    received: Lsn,
    durable: Lsn,
    last_flush: Option<Instant>,
    /// Least time between flushes by time, wider than the setting while the sink is short of breath.
    pace: Duration,
    slowed: bool,
    draining: bool,
    /// Per table, the newest transaction that is wholly durable.
    loaded: HashMap<TableId, Lsn, FixedState>,
    /// Transactions up to here may be durable for some tables already.
    repeat_through: Lsn,
    /// Tables that wait for their changes to be told again, and since when the first of them does.
    cured: Vec<TableId>,
    cured_since: Option<Instant>,
}

/// The pace is never widened beyond this.
const PACE_MAX: Duration = Duration::from_secs(30);
/// While a load takes long, the open unit is closed by time only after so many times the pace.
const PATIENCE: u32 = 4;

/// How long a cured table waits for a moment in which nothing is under way.
const CURED_PATIENCE: Duration = Duration::from_secs(10);

/// What a block brought, for the meters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Received {
    /// Row changes.
    pub(super) rows: u64,
    /// Row changes that are done with at once: durable already, or void.
    pub(super) settled: u64,
    /// Complete transactions.
    pub(super) transactions: u64,
    /// Commit time of the last one.
    pub(super) commit_micros: i64,
}

impl Core {
    pub(super) fn new(options: Options) -> Self {
        Core {
            options,
            schemas: SchemaCache::default(),
            open: OpenUnit::default(),
            transaction: None,
            acks: AckTracker::default(),
            received: Lsn::INVALID,
            durable: Lsn::INVALID,
            last_flush: None,
            pace: options.flush_interval,
            slowed: false,
            draining: false,
            loaded: HashMap::default(),
            repeat_through: Lsn::INVALID,
            cured: Vec::new(),
            cured_since: None,
        }
    }

    /// New settings, from now on.
    pub(super) fn set_options(&mut self, options: Options) {
        self.options = options;
        self.pace = options.flush_interval;
    }

    /// End of the last complete transaction received, or the last idle position.
    pub(super) fn received(&self) -> Lsn {
        self.received
    }

    /// Whether a cured table waits for its changes to be told again.
    pub(super) fn must_replay(&self) -> bool {
        !self.cured.is_empty()
    }

    /// Whether the stream is to be ended for that now. It is best done while nothing is under way, because until then
    /// no stream can be taken up; but under steady load that moment may never come by itself.
    pub(super) fn replay_wanted(&self, now: Instant) -> bool {
        let waited = self.cured_since.is_some_and(|since| now - since >= CURED_PATIENCE);
        self.must_replay() && (waited || !self.acks.is_busy())
    }

    /// Whether parts are under way.
    pub(super) fn is_busy(&self) -> bool {
        self.acks.is_busy()
    }

    /// Whether every complete transaction that was received has been handed on and settled.
    pub(super) fn is_drained(&self) -> bool {
        self.open.mark.items == 0 && !self.acks.is_busy()
    }

    /// Whether changes were let go that are still to be told again.
    pub(super) fn has_lost(&self) -> bool {
        self.acks.has_lost()
    }

    /// From now on whatever is complete is flushed at once.
    pub(super) fn drain(&mut self) {
        self.draining = true;
    }

    /// Takes in what came.
    pub(super) fn take(&mut self, block: Block, now: Instant, actions: &mut Vec<Action>) -> Received {
        let mut received = Received::default();
        let held = (Arc::new(block.permit), block.bytes as u64);
        self.open.blocks.push(held.clone());
        for event in block.events {
            match event {
                Event::Change { table, change } => {
                    received.rows += 1;
                    received.settled += u64::from(!self.push(table, What::Change(change)));
                }
                Event::Truncate { tables } => tables.into_iter().for_each(|table| {
                    self.push(table, What::Truncate);
                }),
                Event::Schema(schema) => self.schemas.learn(schema),
                Event::Begin { commit_lsn, commit_micros, .. } => {
                    let repeated = commit_lsn <= self.repeat_through;
                    self.transaction = Some(Transaction { commit_lsn, commit_micros, repeated, cut: false });
                }
                Event::Commit { end_lsn } => {
                    received.transactions += 1;
                    received.commit_micros = self.commit(end_lsn).max(received.commit_micros);
                    if self.open.mark.items as u64 >= self.options.flush_rows {
                        self.close(self.open.mark, now, actions);
                        self.open.blocks.push(held.clone());
                    }
                }
                Event::Idle { lsn } => self.idle(lsn),
                Event::Resumed { at } => received.settled += self.resume(at),
            }
        }
        self.bound_bytes(now, actions);
        self.tick(now, actions);
        received
    }

    /// Closes the open unit if it is too large: at its last complete transaction, and if what remains is still too
    /// large, inside the transaction. Counts the blocks that the items hold in memory, not the items' own bytes, so
    /// that the budget can never be used up by a unit that is not yet large enough to go.
    fn bound_bytes(&mut self, now: Instant, actions: &mut Vec<Action>) {
        if self.open.items.is_empty() {
            self.open.blocks.clear();
        }
        if self.open.bytes() >= self.options.flush_bytes && self.open.mark.items > 0 {
            self.close(self.open.mark, now, actions);
        }
        if self.open.bytes() >= self.options.flush_bytes {
            self.cut(now, actions);
        }
    }

    /// Hands on everything that is open, inside a transaction too: the source waits for the memory it holds, and
    /// nothing else is under way that could give some back.
    pub(super) fn relieve(&mut self, now: Instant, actions: &mut Vec<Action>) {
        if !self.can_relieve() {
            return;
        }
        if self.open.mark.items > 0 {
            self.close(self.open.mark, now, actions);
        }
        self.cut(now, actions);
    }

    /// Whether [`Core::relieve`] would do anything.
    pub(super) fn can_relieve(&self) -> bool {
        !self.acks.is_busy() && !self.open.items.is_empty()
    }

    /// Hands on what is open of an incomplete transaction.
    fn cut(&mut self, now: Instant, actions: &mut Vec<Action>) {
        if self.open.items.is_empty() {
            return;
        }
        let block = self.open.blocks.len() - 1;
        self.close(Mark { items: self.open.items.len(), block, ..self.open.mark }, now, actions);
        if let Some(transaction) = &mut self.transaction {
            transaction.cut = true;
        }
    }

    /// Adds an entry to the open unit; false if it is done with at once.
    fn push(&mut self, table: TableId, what: What) -> bool {
        // To pass over a change here would lose it without a trace, so a source that breaks its word is a bug that ends
        // the process.
        let slot = self.schemas.slot(table).expect("a schema is told before the table's first change");
        let transaction = self.transaction.as_ref().expect("a change is told within a transaction");
        let commit_lsn = transaction.commit_lsn;
        if transaction.repeated && self.loaded.get(&table).is_some_and(|through| commit_lsn <= *through) {
            return false;
        }
        self.open.items.push(Item { slot, commit_lsn, what });
        true
    }

    fn commit(&mut self, end_lsn: Lsn) -> i64 {
        self.received = end_lsn;
        let Some(Transaction { commit_lsn, commit_micros, repeated, cut }) = self.transaction.take() else { return 0 };
        let end = End { lsn: end_lsn, commit_micros, rows: true };
        if !self.open.items.is_empty() {
            let block = self.open.blocks.len() - 1;
            self.open.mark = Mark { items: self.open.items.len(), block, end: Some(end), commit_lsn };
        } else if cut || repeated {
            // Its rows went before, so it is an end of rows although nothing is left of it here.
            self.acks.passed(end);
        } else {
            self.acks.idle(end_lsn);
        }
        commit_micros
    }

    fn idle(&mut self, lsn: Lsn) {
        if self.transaction.is_none() && self.open.items.is_empty() && lsn >= self.received {
            self.received = lsn;
            self.acks.idle(lsn);
        }
    }

    /// The stream was taken up again: what was told of an incomplete transaction is void. How many rows that was.
    fn resume(&mut self, at: Lsn) -> u64 {
        self.transaction = None;
        let void = self.open.items.len() - self.open.mark.items;
        self.open.items.truncate(self.open.mark.items);
        self.received = at;
        if self.durable == Lsn::INVALID {
            self.acks.idle(at);
        }
        void as u64
    }

    /// Closes the open unit if time says so; moves the durable position.
    pub(super) fn tick(&mut self, now: Instant, actions: &mut Vec<Action>) {
        if self.due(now).is_some_and(|due| due <= now) {
            self.close(self.open.mark, now, actions);
        }
        if let Some(end) = self.acks.advance()
            && end.lsn > self.durable
        {
            self.durable = end.lsn;
            actions.push(Action::Durable(end));
        }
    }

    /// When the open unit is to be closed by time; `None` if nothing complete is in it.
    pub(super) fn due(&self, now: Instant) -> Option<Instant> {
        let wait = if self.acks.is_busy() { self.pace * PATIENCE } else { self.pace };
        match self.last_flush {
            _ if self.open.mark.items == 0 => None,
            Some(last) if !self.draining => Some(last + wait),
            _ => Some(now),
        }
    }

    /// Closes the open unit at a mark; what lies behind it opens the next one.
    fn close(&mut self, mark: Mark, now: Instant, actions: &mut Vec<Action>) {
        let items = self.open.items.split_off(mark.items);
        let blocks = if items.is_empty() { Vec::new() } else { self.open.blocks[mark.block..].to_vec() };
        let rest = OpenUnit { items, blocks, mark: Mark::default() };
        let closed = std::mem::replace(&mut self.open, rest);
        let parts = self.parts(closed.items);
        let tables: Vec<TableId> = parts.iter().map(|(schema, _)| schema.id).collect();
        // A table has two parts where its schema changed within the unit. Only with the last one is a transaction
        // wholly in; parts are sorted by slot, and a newer schema has a higher one.
        let last: HashMap<TableId, usize, FixedState> = tables.iter().enumerate().map(|(at, id)| (*id, at)).collect();
        let unit = self.acks.open(tables, mark.end);
        let permits: Arc<[Arc<Permit>]> = closed.blocks.into_iter().map(|(permit, _)| permit).collect();
        actions.extend(parts.into_iter().enumerate().map(|(at, (schema, items))| {
            let through = if last[&schema.id] == at { mark.commit_lsn } else { Lsn::INVALID };
            Action::Dispatch(Job { unit, schema, items, through, permits: permits.clone() })
        }));
        self.last_flush = Some(now);
        self.recover_pace();
    }

    /// The entries by table, each table's in order; versions of one table follow each other.
    fn parts(&self, items: Vec<Item>) -> Vec<(Arc<TableSchema>, Vec<Item>)> {
        let mut places: HashMap<u32, usize, FixedState> = HashMap::default();
        let mut parts: Vec<(u32, Vec<Item>)> = Vec::new();
        let mut last = (u32::MAX, 0);
        for item in items {
            if item.slot != last.0 {
                let place = *places.entry(item.slot).or_insert_with(|| {
                    parts.push((item.slot, Vec::new()));
                    parts.len() - 1
                });
                last = (item.slot, place);
            }
            parts[last.1].1.push(item);
        }
        parts.sort_unstable_by_key(|(slot, _)| *slot);
        parts.into_iter().map(|(slot, items)| (self.schemas.schema(slot).clone(), items)).collect()
    }

    fn recover_pace(&mut self) {
        if !std::mem::take(&mut self.slowed) {
            self.pace = (self.pace * 3 / 4).max(self.options.flush_interval);
        }
    }

    /// Takes in what a lane reports.
    pub(super) fn report(&mut self, report: Report, now: Instant, actions: &mut Vec<Action>) {
        match report {
            Report::Done { unit, table, through } => {
                self.acks.done(unit, table);
                let loaded = self.loaded.entry(table).or_insert(Lsn::INVALID);
                *loaded = through.max(*loaded);
            }
            Report::Lost { unit, table } => self.acks.lost(unit, table),
            Report::Cured { table } => {
                self.cured.push(table);
                self.cured_since.get_or_insert(now);
            }
            Report::SlowDown => {
                self.slowed = true;
                self.pace = (self.pace * 2).clamp(Duration::from_secs(1), PACE_MAX).max(self.options.flush_interval);
            }
        }
        self.tick(now, actions);
    }

    /// Forgets everything that is not durable, because the stream tells it again from the durable position. Only when
    /// nothing is under way. Returns the tables that waited for it: they alone may take up their changes again. (One
    /// that is cured a moment later is not known to have its last batch in, and waits for the next time.)
    pub(super) fn replay(&mut self) -> Vec<TableId> {
        self.acks.void();
        self.open = OpenUnit::default();
        self.transaction = None;
        self.received = self.durable;
        self.repeat_through = self.loaded.values().copied().max().unwrap_or(Lsn::INVALID);
        self.cured_since = None;
        std::mem::take(&mut self.cured)
    }

    /// How many rows [`Core::replay`] would forget in the open unit.
    pub(super) fn open_rows(&self) -> u64 {
        self.open.items.len() as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Budget, RowBuilder, TableName, Value};

    const MS: Duration = Duration::from_millis(1);

    fn schema(id: u32) -> Event {
        let name = TableName { schema: "s".into(), name: format!("t{id}") };
        let target = name.name.clone();
        Event::Schema(Arc::new(TableSchema {
            id: TableId(id),
            name,
            target,
            columns: vec![],
            key: vec![],
            complete: true,
        }))
    }

    fn insert(table: u32) -> Event {
        let mut row = RowBuilder::with_capacity(8);
        row.push(Value::Text(b"x"));
        Event::Change { table: TableId(table), change: Change::Insert { new: row.finish() } }
    }

    fn begin(lsn: u64) -> Event {
        Event::Begin { commit_lsn: Lsn(lsn), commit_micros: lsn as i64, xid: 1 }
    }

    fn commit(lsn: u64) -> Event {
        Event::Commit { end_lsn: Lsn(lsn + 1) }
    }

    /// A core with its clock and what it did so far.
    struct Bench {
        core: Core,
        budget: Budget,
        now: Instant,
        dispatched: Vec<(UnitId, u32, usize)>,
        durable: Vec<u64>,
        jobs: Vec<Job>,
    }

    impl Bench {
        fn new(flush_rows: u64, flush_bytes: u64) -> Bench {
            let options = Options { flush_rows, flush_bytes, flush_interval: 1000 * MS };
            let (core, budget) = (Core::new(options), Budget::new(1 << 20));
            let (dispatched, durable, jobs) = (vec![], vec![], vec![]);
            let mut bench = Bench { core, budget, now: Instant::now(), dispatched, durable, jobs };
            bench.block(1, vec![Event::Resumed { at: Lsn(1) }, schema(1), schema(2)]);
            assert_eq!(bench.durable, [1], "the start itself is durable");
            bench
        }

        fn note(&mut self, actions: Vec<Action>) {
            for action in actions {
                match action {
                    Action::Durable(end) => self.durable.push(end.lsn.0),
                    Action::Dispatch(job) => {
                        self.dispatched.push((job.unit, job.schema.id.0, job.items.len()));
                        self.jobs.push(job);
                    }
                }
            }
        }

        fn block(&mut self, bytes: usize, events: Vec<Event>) -> Received {
            let permit = self.budget.try_take(bytes).expect("the budget is not used up");
            let mut actions = Vec::new();
            let received = self.core.take(Block { events, permit, bytes }, self.now, &mut actions);
            self.note(actions);
            received
        }

        fn pass(&mut self, time: Duration) {
            self.now += time;
            let mut actions = Vec::new();
            self.core.tick(self.now, &mut actions);
            self.note(actions);
        }

        fn report(&mut self, report: Report) {
            let mut actions = Vec::new();
            self.core.report(report, self.now, &mut actions);
            self.note(actions);
        }

        fn finish(&mut self, job: usize) {
            let (unit, table, _) = self.dispatched[job];
            self.jobs[job].permits = Arc::new([]);
            let through = self.jobs[job].through;
            self.report(Report::Done { unit, table: TableId(table), through });
        }

        fn lose(&mut self, job: usize) {
            let (unit, table, _) = self.dispatched[job];
            self.report(Report::Lost { unit, table: TableId(table) });
        }

        /// `(table, rows)` of what was dispatched.
        fn parts(&self) -> Vec<(u32, usize)> {
            self.dispatched.iter().map(|(_, table, rows)| (*table, *rows)).collect()
        }
    }

    #[test]
    fn the_first_change_goes_at_once_and_later_ones_keep_their_distance() {
        let mut bench = Bench::new(1000, 1 << 20);
        bench.block(10, vec![begin(10), insert(1), commit(10)]);
        assert_eq!(bench.parts(), [(1, 1)]);
        bench.finish(0);
        assert_eq!(bench.durable, [1, 11]);
        bench.block(10, vec![begin(20), insert(1), insert(2), commit(20)]);
        bench.pass(999 * MS);
        assert_eq!(bench.parts().len(), 1, "too early");
        bench.pass(MS);
        assert_eq!(bench.parts(), [(1, 1), (1, 1), (2, 1)]);
        bench.pass(3000 * MS);
        bench.finish(2);
        assert_eq!(bench.durable, [1, 11], "one part is still under way");
        bench.finish(1);
        assert_eq!(bench.durable, [1, 11, 21]);
        assert_eq!(bench.budget.used(), 0, "nothing is held once all is durable");
    }

    #[test]
    fn while_a_load_takes_long_changes_gather_but_not_for_ever() {
        let mut bench = Bench::new(1000, 1 << 20);
        bench.block(10, vec![begin(10), insert(1), commit(10)]);
        bench.block(10, vec![begin(20), insert(2), commit(20)]);
        bench.pass(3999 * MS);
        assert_eq!(bench.parts(), [(1, 1)]);
        bench.pass(MS);
        assert_eq!(bench.parts(), [(1, 1), (2, 1)]);
    }

    #[test]
    fn rows_and_bytes_close_a_unit_at_a_commit_and_bytes_inside_a_giant() {
        let mut bench = Bench::new(3, 100_000);
        bench.block(10, vec![begin(10), insert(1), insert(1), commit(10)]);
        bench.finish(0);
        let small = vec![begin(20), insert(1), insert(1), commit(20), begin(30), insert(1), commit(30)];
        bench.block(10, [small, vec![begin(40), insert(2)]].concat());
        assert_eq!(bench.parts()[1..], [(1, 3)], "three rows are enough, the incomplete transaction stays");
        bench.block(100_000, vec![insert(2)]);
        assert_eq!(bench.parts()[2..], [(2, 2)], "a giant is cut");
        bench.finish(1);
        bench.finish(2);
        assert_eq!(bench.durable, [1, 11, 31], "a cut unit moves no position");
        bench.block(10, vec![commit(40)]);
        assert_eq!(bench.durable, [1, 11, 31, 41], "its commit does");
        assert_eq!(bench.budget.used(), 0);
    }

    #[test]
    fn an_idle_position_counts_only_when_nothing_is_open() {
        let mut bench = Bench::new(1000, 1 << 20);
        bench.block(10, vec![begin(10), insert(1), commit(10)]);
        bench.block(10, vec![Event::Idle { lsn: Lsn(50) }]);
        assert_eq!(bench.durable, [1]);
        bench.finish(0);
        assert_eq!(bench.durable, [1, 50]);
        bench.block(10, vec![begin(60), Event::Idle { lsn: Lsn(70) }, insert(1), commit(60)]);
        bench.block(10, vec![Event::Idle { lsn: Lsn(70) }]);
        assert_eq!(bench.durable, [1, 50], "not inside a transaction, and not while one waits to be flushed");
        bench.block(10, vec![begin(80), commit(80)]);
        bench.pass(1000 * MS);
        bench.finish(1);
        assert_eq!(bench.durable, [1, 50, 81], "an empty transaction behind it counts with it");
    }

    #[test]
    fn a_resumed_stream_voids_the_incomplete_transaction_only() {
        let mut bench = Bench::new(1000, 1 << 20);
        bench.block(10, vec![begin(10), insert(1), commit(10)]);
        bench.block(10, vec![begin(20), insert(1), commit(20), begin(30), insert(1), insert(2)]);
        assert_eq!(bench.core.received(), Lsn(21));
        let received = bench.block(10, vec![Event::Resumed { at: Lsn(21) }, begin(30), insert(2), commit(30)]);
        assert_eq!(received, Received { rows: 1, settled: 2, transactions: 1, commit_micros: 30 });
        bench.finish(0);
        bench.pass(1000 * MS);
        assert_eq!(bench.parts(), [(1, 1), (1, 1), (2, 1)]);
    }

    #[test]
    fn what_a_blocked_table_let_go_is_told_again_and_others_take_it_once() {
        let mut bench = Bench::new(1000, 1 << 20);
        let both = |lsn| vec![begin(lsn), insert(1), insert(2), commit(lsn)];
        bench.block(10, both(10));
        bench.lose(0);
        bench.finish(1);
        bench.block(10, both(20));
        bench.pass(1000 * MS);
        bench.lose(2);
        bench.finish(3);
        bench.block(10, vec![Event::Idle { lsn: Lsn(25) }]);
        assert_eq!(bench.durable, [1], "no position passes what is lost");
        bench.report(Report::Cured { table: TableId(1) });
        assert!(bench.core.replay_wanted(bench.now));
        assert_eq!(bench.core.replay(), [TableId(1)]);
        assert_eq!(bench.core.received(), Lsn(1));
        bench.block(10, vec![Event::Resumed { at: Lsn(1) }]);
        let again = [both(10), both(20), both(30)].concat();
        assert_eq!(bench.block(10, again).settled, 2, "table 2 has the first two");
        bench.pass(1000 * MS);
        assert_eq!(bench.parts()[4..], [(1, 3), (2, 1)]);
        bench.finish(4);
        bench.finish(5);
        assert_eq!(bench.durable, [1, 31]);
    }

    #[test]
    fn a_table_is_past_a_transaction_only_with_its_last_part() {
        let mut bench = Bench::new(1000, 1 << 20);
        let widened = || {
            let Event::Schema(old) = schema(1) else { unreachable!() };
            Event::Schema(Arc::new(TableSchema { target: "wider".into(), ..TableSchema::clone(&old) }))
        };
        let all = || vec![schema(1), begin(10), insert(1), commit(10), begin(20), widened(), insert(1), commit(20)];
        bench.block(10, all());
        assert_eq!(bench.parts(), [(1, 1), (1, 1)]);
        bench.finish(0);
        bench.lose(1);
        bench.report(Report::Cured { table: TableId(1) });
        assert_eq!(bench.core.replay(), [TableId(1)]);
        bench.block(10, vec![Event::Resumed { at: Lsn(1) }]);
        assert_eq!(bench.block(10, all()).settled, 0, "what was let go comes again, with what stood beside it");
        bench.pass(4000 * MS);
        bench.finish(2);
        bench.finish(3);
        assert_eq!(bench.durable, [1, 21]);
    }

    #[test]
    fn the_pace_widens_when_the_sink_asks_and_recovers() {
        let mut bench = Bench::new(1000, 1 << 20);
        bench.report(Report::SlowDown);
        let mut lsn = 10;
        let mut paces = Vec::new();
        for _ in 0..5 {
            bench.pass(60_000 * MS);
            bench.block(10, vec![begin(lsn), insert(1), commit(lsn)]);
            bench.finish(bench.dispatched.len() - 1);
            bench.block(10, vec![begin(lsn + 5), insert(1), commit(lsn + 5)]);
            paces.push(bench.core.due(bench.now).unwrap() - bench.now);
            lsn += 10;
            bench.pass(60_000 * MS);
            bench.finish(bench.dispatched.len() - 1);
        }
        assert_eq!(paces, [2000, 1125, 1000, 1000, 1000].map(|ms| ms * MS));
    }

    #[test]
    fn when_the_source_waits_for_memory_everything_open_goes() {
        let mut bench = Bench::new(1000, 1 << 20);
        bench.block(10, vec![begin(10), insert(1), commit(10)]);
        assert!(!bench.core.can_relieve(), "what is under way will give its memory back");
        bench.finish(0);
        bench.block(10, vec![begin(20), insert(1), commit(20), begin(30), insert(2)]);
        let mut actions = Vec::new();
        bench.core.relieve(bench.now, &mut actions);
        bench.note(actions);
        assert_eq!(bench.parts()[1..], [(1, 1), (2, 1)]);
        bench.finish(1);
        bench.finish(2);
        assert_eq!(bench.budget.used(), 0);
        bench.block(10, vec![commit(30)]);
        assert_eq!(bench.durable, [1, 11, 21, 31]);
    }

    #[test]
    fn draining_flushes_what_is_complete_at_once() {
        let mut bench = Bench::new(1000, 1 << 20);
        bench.block(10, vec![begin(10), insert(1), commit(10)]);
        bench.finish(0);
        bench.block(10, vec![begin(20), insert(1), commit(20), begin(30), insert(1)]);
        assert!(!bench.core.is_drained());
        bench.core.drain();
        bench.pass(Duration::ZERO);
        assert_eq!(bench.parts(), [(1, 1), (1, 1)]);
        bench.finish(1);
        assert!(bench.core.is_drained(), "an incomplete transaction is not waited for");
    }
}
