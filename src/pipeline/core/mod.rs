//! Decides what to flush when, and which position is durable. No I/O, no clock.

use std::sync::Arc;
use std::time::{Duration, Instant};

use foldhash::fast::FixedState;
use hashbrown::HashMap;

use self::copies::Copies;
use self::spacing::{BURST, Spacing};
use self::unit::{Mark, OpenUnit, by_slot};
use super::acks::{AckTracker, End, Part, UnitId};
use super::schema_cache::SchemaCache;
use super::{CopyEvent, Options};
use crate::model::{Block, Change, Event, Lsn, Permit, TableId};
use crate::snapshot::Unseen;

mod copies;
mod requests;
mod spacing;
mod unit;

pub(in crate::pipeline) use self::unit::{Item, Job, What};

/// What the shell is to do.
#[derive(Debug)]
pub(in crate::pipeline) enum Action {
    /// Hand a part to its table's lane.
    Dispatch(Job),
    /// Everything up to here is durable.
    Durable(End),
    /// Tell the engine of a copy.
    Tell(CopyEvent),
}

/// What a lane reports.
#[derive(Debug)]
pub(in crate::pipeline) enum Report {
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
    xid: u32,
    /// Told again after a loss: tables may have it already.
    repeated: bool,
    /// A part of it has been handed on.
    cut: bool,
}

/// The decision core of the pipeline.
#[derive(Debug)]
pub(in crate::pipeline) struct Core {
    options: Options,
    schemas: SchemaCache,
    open: OpenUnit,
    transaction: Option<Transaction>,
    acks: AckTracker,
    /// End of the last complete transaction received, or the last idle position.
    received: Lsn,
    durable: Lsn,
    last_flush: Option<Instant>,
    /// Each table's loads.
    spacings: HashMap<TableId, Spacing, FixedState>,
    /// How many loads of a table may follow each other.
    burst: u32,
    /// Time between a table's loads on average, wider than the setting while the sink is short of breath.
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
    /// Copies of existing rows.
    copies: Copies,
}

/// The pace is never widened beyond this.
const PACE_MAX: Duration = Duration::from_secs(30);
/// While a load of a table takes long, a unit with more of it is closed by time only after so many times the pace.
const PATIENCE: u32 = 4;

/// How long a cured table waits for a moment in which nothing is under way.
const CURED_PATIENCE: Duration = Duration::from_secs(10);

/// What a block brought, for the meters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::pipeline) struct Received {
    /// Row changes.
    pub(in crate::pipeline) rows: u64,
    /// Row changes that are done with at once: durable already, or void.
    pub(in crate::pipeline) settled: u64,
    /// Complete transactions.
    pub(in crate::pipeline) transactions: u64,
    /// Commit time of the last one.
    pub(in crate::pipeline) commit_micros: i64,
}

impl Core {
    /// Nothing yet. `noted_max`: memory for what is noted of each table that is being copied.
    pub(in crate::pipeline) fn new(options: Options, noted_max: usize) -> Self {
        Core {
            options,
            schemas: SchemaCache::default(),
            open: OpenUnit::default(),
            transaction: None,
            acks: AckTracker::default(),
            received: Lsn::INVALID,
            durable: Lsn::INVALID,
            last_flush: None,
            spacings: HashMap::default(),
            burst: BURST,
            pace: options.flush_interval,
            slowed: false,
            draining: false,
            loaded: HashMap::default(),
            repeat_through: Lsn::INVALID,
            cured: Vec::new(),
            cured_since: None,
            copies: Copies::new(noted_max),
        }
    }

    /// Transactions that readers of the source may not see yet.
    pub(in crate::pipeline) fn unseen(&self) -> Unseen {
        self.copies.unseen()
    }

    /// New settings, from now on.
    pub(in crate::pipeline) fn set_options(&mut self, options: Options) {
        self.options = options;
        self.pace = options.flush_interval;
    }

    /// End of the last complete transaction received, or the last idle position.
    pub(in crate::pipeline) fn received(&self) -> Lsn {
        self.received
    }

    /// Whether a cured table waits for its changes to be told again.
    pub(in crate::pipeline) fn must_replay(&self) -> bool {
        !self.cured.is_empty()
    }

    /// Whether the stream is to be ended for that now. It is best done while nothing is under way, because until then
    /// no stream can be taken up; but under steady load that moment may never come by itself.
    pub(in crate::pipeline) fn replay_wanted(&self, now: Instant) -> bool {
        let waited = self.cured_since.is_some_and(|since| now - since >= CURED_PATIENCE);
        self.must_replay() && (waited || !self.acks.is_busy())
    }

    /// Whether parts are under way.
    pub(in crate::pipeline) fn is_busy(&self) -> bool {
        self.acks.is_busy()
    }

    /// Whether every complete transaction that was received has been handed on and settled.
    pub(in crate::pipeline) fn is_drained(&self) -> bool {
        self.open.mark.items == 0 && self.acks.is_settled()
    }

    /// Whether changes were let go that are still to be told again.
    pub(in crate::pipeline) fn has_lost(&self) -> bool {
        self.acks.has_lost()
    }

    /// From now on whatever is complete is flushed at once.
    pub(in crate::pipeline) fn drain(&mut self) {
        self.draining = true;
    }

    /// Takes in what came.
    pub(in crate::pipeline) fn take(&mut self, block: Block, now: Instant, actions: &mut Vec<Action>) -> Received {
        let mut received = Received::default();
        let held = (Arc::new(block.permit), block.bytes as u64);
        self.open.blocks.push(held.clone());
        for event in block.events {
            match event {
                Event::Change { table, change } => {
                    received.rows += 1;
                    received.settled += u64::from(!self.change(table, change));
                }
                Event::Truncate { tables } => tables.into_iter().for_each(|table| self.truncate(table)),
                Event::Schema(schema) => self.learn(schema, actions),
                Event::Begin { commit_lsn, commit_micros, xid } => {
                    let repeated = commit_lsn <= self.repeat_through;
                    self.transaction = Some(Transaction { commit_lsn, commit_micros, xid, repeated, cut: false });
                    self.copies.begun(xid, commit_lsn);
                }
                Event::Commit { end_lsn } => {
                    received.transactions += 1;
                    received.commit_micros = self.commit(end_lsn).max(received.commit_micros);
                    if self.copies.is_active() && self.copies_go_on(now, actions) {
                        self.open.blocks.push(held.clone());
                    }
                    if self.open.mark.items as u64 >= self.options.flush_rows {
                        self.close(self.open.mark, now, actions);
                        self.open.blocks.push(held.clone());
                    }
                }
                Event::Idle { lsn } => {
                    self.idle(lsn);
                    if self.copies.is_active() && self.copies_go_on(now, actions) {
                        self.open.blocks.push(held.clone());
                    }
                }
                Event::Resumed { at } => {
                    received.settled += self.resume(at);
                    self.copies.tell_dropped(actions);
                }
            }
        }
        self.copies.take_begun();
        self.bound_bytes(now, actions);
        self.copies.tell_dropped(actions);
        self.tick(now, actions);
        received
    }

    /// Takes in a change of one row; false if it is done with at once.
    fn change(&mut self, table: TableId, change: Change) -> bool {
        if self.copies.is_active() && self.copies.has(table) {
            return self.change_of_copied(table, change);
        }
        self.push(table, What::Change(change))
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
    pub(in crate::pipeline) fn relieve(&mut self, now: Instant, actions: &mut Vec<Action>) {
        if !self.can_relieve() {
            return;
        }
        if self.open.items.is_empty() {
            // Rows of copies wait for a position that the stream cannot reach.
            return self.copies.drop_waiting(actions);
        }
        if self.open.mark.items > 0 {
            self.close(self.open.mark, now, actions);
        }
        self.cut(now, actions);
    }

    /// Whether [`Core::relieve`] would do anything.
    pub(in crate::pipeline) fn can_relieve(&self) -> bool {
        !self.acks.is_busy() && (!self.open.items.is_empty() || self.copies.has_waiting())
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
        if transaction.repeated && self.has_already(table) {
            return false;
        }
        self.open.add(Item::new(slot, self.schemas.schema(slot), commit_lsn, what));
        true
    }

    /// Whether the present transaction is told again and the table has it already.
    fn has_already(&self, table: TableId) -> bool {
        let loaded = self.loaded.get(&table).copied().unwrap_or(Lsn::INVALID);
        self.transaction.as_ref().is_some_and(|transaction| transaction.repeated && transaction.commit_lsn <= loaded)
    }

    fn commit(&mut self, end_lsn: Lsn) -> i64 {
        self.received = end_lsn;
        self.copies.passed(end_lsn);
        let Some(Transaction { commit_lsn, commit_micros, repeated, cut, .. }) = self.transaction.take() else {
            return 0;
        };
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
        if self.transaction.is_none() {
            self.copies.passed(lsn);
        }
        if self.transaction.is_none() && self.open.items.is_empty() && lsn >= self.received {
            self.received = lsn;
            self.acks.idle(lsn);
        }
    }

    /// The stream was taken up again: what was told of an incomplete transaction is void. How many rows that was.
    fn resume(&mut self, at: Lsn) -> u64 {
        if self.transaction.take().is_some() {
            self.copies.voided();
        }
        let void = self.open.changes_from(self.open.mark.items);
        drop(self.open.items.split_off(self.open.mark.items));
        self.received = at;
        if self.durable == Lsn::INVALID {
            self.acks.idle(at);
        }
        void
    }

    /// Closes the open unit if time says so; moves the durable position.
    pub(in crate::pipeline) fn tick(&mut self, now: Instant, actions: &mut Vec<Action>) {
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
    pub(in crate::pipeline) fn due(&self, now: Instant) -> Option<Instant> {
        if self.open.mark.items == 0 {
            return None;
        }
        let Some(last) = self.last_flush.filter(|_| !self.draining) else { return Some(now) };
        let steady = self.pace <= self.options.flush_interval;
        if self.copies.holds_whole_part() {
            // The readers of a copy wait for their parts to be durable, and a part is a load worth making.
            let at_once = steady && !self.acks.is_busy();
            return Some(if at_once { last } else { last + self.pace });
        }
        if self.acks.is_busy() && self.open_tables().any(|table| self.acks.is_busy_with(table)) {
            return Some(last + self.pace * PATIENCE);
        }
        if !steady {
            return Some(last + self.pace);
        }
        let spacings = self.open_tables().filter_map(|table| self.spacings.get(&table));
        Some(spacings.map(|spacing| spacing.next(self.pace, self.burst)).fold(last, Instant::max))
    }

    fn open_tables(&self) -> impl Iterator<Item = TableId> + '_ {
        self.open.slots().map(|slot| self.schemas.schema(slot).id)
    }

    /// Closes the open unit at a mark; what lies behind it opens the next one.
    fn close(&mut self, mark: Mark, now: Instant, actions: &mut Vec<Action>) {
        let mut closed = self.open.split(mark);
        let stores = if self.copies.is_active() { self.stores(&mut closed.items) } else { Vec::new() };
        let parts = by_slot(closed.items).into_iter();
        let parts: Vec<_> = parts.map(|(slot, items)| (self.schemas.schema(slot).clone(), items)).collect();
        // A table has two parts where its schema changed within the unit. Only with the last one is a transaction
        // wholly in; parts are sorted by slot, and a newer schema has a higher one.
        let last: HashMap<TableId, usize, FixedState> =
            parts.iter().enumerate().map(|(at, (schema, _))| (schema.id, at)).collect();
        let tables = parts.iter().map(|(schema, _)| Part::Table(schema.id));
        let tokens = stores.iter().map(|(token, ..)| Part::Store(*token));
        let unit = self.acks.open(tables.chain(tokens).collect(), mark.end);
        let loaded = parts.iter().map(|(schema, _)| schema.id);
        for table in loaded.chain(stores.iter().map(|(_, table, _)| *table)) {
            let spacing = self.spacings.entry(table);
            spacing
                .and_modify(|spacing| spacing.again(self.pace, self.burst, now))
                .or_insert(Spacing::first(self.pace, now));
        }
        self.copies.closed(unit);
        let permits: Arc<[Arc<Permit>]> = closed.blocks.into_iter().map(|(permit, _)| permit).collect();
        actions.extend(parts.into_iter().enumerate().map(|(at, (schema, items))| {
            let through = if last[&schema.id] == at { mark.commit_lsn } else { Lsn::INVALID };
            let bytes_max = self.options.flush_bytes;
            Action::Dispatch(Job { unit, schema, items, through, bytes_max, permits: permits.clone() })
        }));
        let told = stores.into_iter().map(|(token, table, keys)| CopyEvent::Wanted { table, keys, token });
        actions.extend(told.map(Action::Tell));
        self.last_flush = Some(now);
        self.recover_pace();
    }

    fn recover_pace(&mut self) {
        if !std::mem::take(&mut self.slowed) {
            self.pace = (self.pace * 3 / 4).max(self.options.flush_interval);
        }
    }

    /// Takes in what a lane reports.
    pub(in crate::pipeline) fn report(&mut self, report: Report, now: Instant, actions: &mut Vec<Action>) {
        match report {
            Report::Done { unit, table, through } => {
                self.acks.done(unit, table);
                let loaded = self.loaded.entry(table).or_insert(Lsn::INVALID);
                *loaded = through.max(*loaded);
                self.copies.durable(&self.acks, table, actions);
            }
            Report::Lost { unit, table } => {
                self.acks.lost(unit, table);
                self.copies.lost(table, actions);
            }
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
    pub(in crate::pipeline) fn replay(&mut self, actions: &mut Vec<Action>) -> Vec<TableId> {
        self.copies.replay(self.durable, actions);
        self.acks.void();
        self.open = OpenUnit::default();
        self.transaction = None;
        self.received = self.durable;
        self.repeat_through = self.loaded.values().copied().max().unwrap_or(Lsn::INVALID);
        self.cured_since = None;
        std::mem::take(&mut self.cured)
    }

    /// How many rows [`Core::replay`] would forget in the open unit.
    pub(in crate::pipeline) fn open_rows(&self) -> u64 {
        self.open.changes_from(0)
    }
}

#[cfg(test)]
mod model;
#[cfg(test)]
mod tests;
