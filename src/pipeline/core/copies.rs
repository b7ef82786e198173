//! The copies of existing rows: what is known of them inside the core, and what is told of them.

use foldhash::fast::FixedState;
use hashbrown::{HashMap, HashSet};

use super::super::acks::{AckTracker, UnitId};
use super::super::{CopyEvent, StoreToken};
use super::{Action, What};
use crate::model::{Lsn, Row, TableId};
use crate::snapshot::{TableCopy, Unseen, Why, WindowId};

/// What becomes known only when a unit is durable.
#[derive(Debug)]
struct Awaited {
    table: TableId,
    /// The unit with the last of it; `None`: the open one.
    unit: Option<UnitId>,
    of: Of,
}

#[derive(Debug)]
enum Of {
    /// A window. `ended`: the keys it read, once all of its rows have gone in.
    Window { id: WindowId, ended: Option<Vec<Row>> },
    /// The removal of rows.
    Removal,
}

/// Every copy there is.
#[derive(Debug)]
pub(super) struct Copies {
    pub(super) tables: HashMap<TableId, TableCopy, FixedState>,
    /// For tables that are or were copied, whether changes may leave values out; stands above the source's word.
    pub(super) complete: HashMap<TableId, Complete, FixedState>,
    /// What is to be put in at the end of the present transaction.
    pub(super) removals: Vec<(TableId, What)>,
    /// Where the stream was when a table's columns were last told to be others.
    pub(super) columns_at: HashMap<TableId, Lsn, FixedState>,
    /// Which keys are being stored.
    stores: HashMap<StoreToken, (TableId, Vec<Row>), FixedState>,
    awaited: Vec<Awaited>,
    unseen: Unseen,
    begun: Vec<u32>,
    passed: Lsn,
    /// The newest transaction that was ever told, in part at least.
    told_through: Lsn,
    /// Tables of which changes were let go that are still to be told again.
    blocked: HashSet<TableId, FixedState>,
    noted_max: usize,
    tokens: u64,
}

/// Whether changes of a table may leave values out.
#[derive(Clone, Copy, Debug)]
pub(super) struct Complete {
    /// Now.
    pub(super) now: bool,
    /// Once all blocks are in.
    pub(super) then: bool,
}

impl Copies {
    pub(super) fn new(noted_max: usize) -> Copies {
        Copies {
            tables: HashMap::default(),
            complete: HashMap::default(),
            removals: Vec::new(),
            columns_at: HashMap::default(),
            stores: HashMap::default(),
            awaited: Vec::new(),
            unseen: Unseen::default(),
            begun: Vec::new(),
            passed: Lsn::INVALID,
            told_through: Lsn::INVALID,
            blocked: HashSet::default(),
            noted_max,
            tokens: 0,
        }
    }

    /// Whether there is anything to be done for copies at all.
    #[inline]
    pub(super) fn is_active(&self) -> bool {
        !self.tables.is_empty()
    }

    pub(super) fn has(&self, table: TableId) -> bool {
        self.tables.contains_key(&table)
    }

    pub(super) fn noted_max(&self) -> usize {
        self.noted_max
    }

    pub(super) fn unseen(&self) -> Unseen {
        self.unseen.clone()
    }

    /// The transactions that a window opened now must see.
    pub(super) fn must_see(&self) -> Vec<u32> {
        self.unseen.list()
    }

    /// A transaction begins to be told.
    #[inline]
    pub(super) fn begun(&mut self, xid: u32, commit_lsn: Lsn) {
        self.begun.push(xid);
        self.told_through = self.told_through.max(commit_lsn);
    }

    /// The transaction that was being told is void. What it said of keys is void too, and is told again; but windows
    /// cannot tell any more what was said of a key before.
    pub(super) fn voided(&mut self) {
        self.tables.values_mut().for_each(|copy| copy.drop_all(Why::ToldAgain));
    }

    /// Whether everything that was ever told counts: nothing of it is void and still to be told again.
    pub(super) fn is_up_to_date(&self) -> bool {
        self.passed > self.told_through || self.told_through == Lsn::INVALID
    }

    /// Adds the transactions of a block to those that readers may not see.
    pub(super) fn take_begun(&mut self) {
        if !self.begun.is_empty() {
            self.unseen.processed(self.begun.drain(..));
        }
    }

    /// The stream has told everything before a position.
    #[inline]
    pub(super) fn passed(&mut self, lsn: Lsn) {
        self.passed = self.passed.max(lsn);
    }

    /// Everything before this position has been told.
    pub(super) fn reached(&self) -> Lsn {
        self.passed
    }

    /// Whether a table's changes were let go.
    pub(super) fn is_blocked(&self, table: TableId) -> bool {
        self.blocked.contains(&table)
    }

    /// The table that a window belongs to.
    pub(super) fn of_window(&mut self, window: WindowId) -> Option<&mut TableCopy> {
        self.tables.values_mut().find(|copy| copy.has_window(window))
    }

    /// Whether rows wait for the stream to reach their position.
    pub(super) fn has_waiting(&self) -> bool {
        self.tables.values().any(TableCopy::has_waiting)
    }

    /// Lets go of the rows that wait.
    pub(super) fn drop_waiting(&mut self, actions: &mut Vec<Action>) {
        self.tables.values_mut().for_each(TableCopy::drop_waiting);
        self.tell_dropped(actions);
    }

    /// Rows of a window went into the open unit.
    pub(super) fn injected(&mut self, table: TableId, window: WindowId) {
        match self.awaited.iter_mut().find(|awaited| awaited.is_window(window)) {
            Some(awaited) => awaited.unit = None,
            None => self.awaited.push(Awaited { table, unit: None, of: Of::Window { id: window, ended: None } }),
        }
    }

    /// All rows of a window have gone in. Told at once if none did, or if they are durable already.
    pub(super) fn ended(
        &mut self,
        acks: &AckTracker,
        table: TableId,
        window: WindowId,
        keys: Vec<Row>,
        actions: &mut Vec<Action>,
    ) {
        match self.awaited.iter_mut().find(|awaited| awaited.is_window(window)) {
            Some(awaited) => awaited.of = Of::Window { id: window, ended: Some(keys) },
            None => self.tell_durable(table, window, keys, actions),
        }
        self.durable(acks, table, actions);
    }

    /// A removal of rows went into the open unit.
    pub(super) fn removing(&mut self, table: TableId) {
        self.awaited.push(Awaited { table, unit: None, of: Of::Removal });
    }

    /// Whether a part that was read lies in the open unit with all of its rows.
    pub(super) fn holds_whole_part(&self) -> bool {
        let whole = |awaited: &Awaited| matches!(awaited.of, Of::Window { ended: Some(_), .. });
        self.awaited.iter().any(|awaited| awaited.unit.is_none() && whole(awaited))
    }

    /// The open unit was closed as this one.
    pub(super) fn closed(&mut self, unit: UnitId) {
        for awaited in &mut self.awaited {
            awaited.unit.get_or_insert(unit);
        }
    }

    /// Something of a table became durable: tells what is durable with it.
    pub(super) fn durable(&mut self, acks: &AckTracker, table: TableId, actions: &mut Vec<Action>) {
        let over = |awaited: &mut Awaited| {
            let in_full = !matches!(awaited.of, Of::Window { ended: None, .. });
            awaited.table == table && in_full && awaited.unit.is_some_and(|unit| !acks.is_open(unit, table))
        };
        let over: Vec<Awaited> = self.awaited.extract_if(.., over).collect();
        for awaited in over {
            match awaited.of {
                Of::Window { id, ended } => self.tell_durable(table, id, ended.unwrap_or_default(), actions),
                Of::Removal => actions.push(Action::Tell(CopyEvent::Removed { table })),
            }
        }
    }

    fn tell_durable(&self, table: TableId, window: WindowId, keys: Vec<Row>, actions: &mut Vec<Action>) {
        let repaired = self.tables.get(&table).map(|copy| copy.repaired(keys)).unwrap_or_default();
        actions.push(Action::Tell(CopyEvent::Durable { window, repaired }));
    }

    /// A part of a table was let go.
    pub(super) fn lost(&mut self, table: TableId, actions: &mut Vec<Action>) {
        self.blocked.insert(table);
        self.forget_awaited(|awaited| awaited.table == table, Why::ToldAgain, actions);
        if let Some(copy) = self.tables.get_mut(&table) {
            copy.drop_all(Why::ToldAgain);
        }
        self.tell_dropped(actions);
    }

    /// Everything after this position is told again.
    pub(super) fn replay(&mut self, durable: Lsn, actions: &mut Vec<Action>) {
        self.blocked.clear();
        self.passed = durable;
        self.forget_awaited(|_| true, Why::ToldAgain, actions);
        for (table, _) in std::mem::take(&mut self.removals) {
            actions.push(Action::Tell(CopyEvent::NotRemoved { table }));
        }
        self.tables.values_mut().for_each(|copy| copy.drop_all(Why::ToldAgain));
        self.tell_dropped(actions);
    }

    /// Nothing that matches will become durable. A window that is still open is told of when it is dropped; not twice.
    fn forget_awaited(&mut self, which: impl Fn(&Awaited) -> bool, why: Why, actions: &mut Vec<Action>) {
        for Awaited { table, of, .. } in self.awaited.extract_if(.., |awaited| which(awaited)) {
            match of {
                Of::Window { ended: None, .. } => {}
                Of::Window { id: window, ended: Some(keys) } => {
                    if let Some(copy) = self.tables.get_mut(&table) {
                        copy.want_again(keys);
                    }
                    actions.push(Action::Tell(CopyEvent::Dropped { window, why }));
                }
                Of::Removal => actions.push(Action::Tell(CopyEvent::NotRemoved { table })),
            }
        }
    }

    /// Tells of the windows that were dropped.
    pub(super) fn tell_dropped(&mut self, actions: &mut Vec<Action>) {
        let mut dropped = Vec::new();
        for copy in self.tables.values_mut() {
            dropped.append(&mut copy.take_dropped());
        }
        for (window, why) in dropped {
            self.forget_window(window);
            actions.push(Action::Tell(CopyEvent::Dropped { window, why }));
        }
    }

    /// A window was closed before all of its rows went in.
    pub(super) fn forget_window(&mut self, window: WindowId) {
        self.awaited.retain(|awaited| !awaited.is_window(window));
    }

    /// Forgets a table's copy.
    pub(super) fn forget(&mut self, table: TableId) {
        self.tables.remove(&table);
        self.complete.remove(&table);
        self.awaited.retain(|awaited| awaited.table != table);
        self.removals.retain(|(of, _)| *of != table);
    }

    /// Whether anything of a table is still on its way.
    pub(super) fn awaits(&self, table: TableId) -> bool {
        self.awaited.iter().any(|awaited| awaited.table == table) || self.removals.iter().any(|(of, _)| *of == table)
    }

    /// A number for keys that are to be stored.
    pub(super) fn store(&mut self, table: TableId, keys: Vec<Row>) -> StoreToken {
        let token = StoreToken(self.tokens);
        self.tokens += 1;
        self.stores.insert(token, (table, keys));
        token
    }

    /// Keys are stored.
    pub(super) fn stored(&mut self, token: StoreToken) {
        let Some((table, keys)) = self.stores.remove(&token) else { return };
        if let Some(copy) = self.tables.get_mut(&table) {
            copy.stored(&keys);
        }
    }
}

impl Awaited {
    fn is_window(&self, window: WindowId) -> bool {
        matches!(self.of, Of::Window { id, .. } if id == window)
    }
}
