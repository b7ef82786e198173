//! One table's copy: which changes flow, which windows are open, which rows go in.

use crate::model::{Change, Lsn, OldRow, Permit, Row, TableSchema, Visibility};

use super::keys::Keyed;
use super::repairs::{Part, Repairs};

/// A window's number, chosen by whoever opens it and never used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WindowId(pub u64);

/// How far a table's copy is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Blocks are left, so the target may not have a row that a change is about.
    Copying,
    /// The target has every row but those whose keys are wanted.
    Repairing,
}

/// What a window is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// The rows of some blocks.
    Blocks,
    /// The rows of at most so many of the keys that are wanted.
    Keys(usize),
}

/// Whether a reader may go on under its snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It may.
    Go,
    /// Its snapshot misses what was told before the window was opened: it takes another one, under the same window.
    Again,
    /// The window is no longer open.
    Gone,
}

/// Why a window was dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// The table's columns changed.
    Columns,
    /// The table was emptied after the read: its blocks mean nothing any more.
    Truncated,
    /// So much changed meanwhile that noting it takes too much memory. A smaller part may do.
    TooLarge,
    /// The stream waits for the memory that the rows hold.
    Memory,
    /// Changes are told again, or the table's rows cannot be loaded at present.
    ToldAgain,
    /// The copy was cancelled or begun anew.
    Cancelled,
}

/// What becomes of a change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Route {
    /// It flows on.
    Flow(Change),
    /// It does not: the row it left incomplete will be read.
    Aside {
        /// What it says of the key that the row had before, if it had another.
        moved_from: Option<Change>,
        /// The key, if it must be stored before a position passes this change.
        wanted: Option<Row>,
    },
}

/// Rows that go in at this place of the stream.
#[derive(Debug)]
pub struct Injection {
    /// The window.
    pub window: WindowId,
    /// The rows, whole, each with its version.
    pub rows: Vec<(Lsn, Row)>,
    /// What of the memory budget they hold.
    pub permit: Permit,
    /// Bytes they hold.
    pub bytes: usize,
}

#[derive(Debug)]
struct Piece {
    rows: Vec<Row>,
    permit: Permit,
    bytes: usize,
}

#[derive(Debug)]
struct Window {
    id: WindowId,
    /// Its number among the windows of the table.
    opened: u64,
    /// Transactions that its snapshot must see.
    after: Vec<u32>,
    /// Position of the read, once its snapshot was found good.
    point: Option<(Visibility, Lsn)>,
    /// The keys it reads; `None`: it reads blocks.
    keys: Option<Vec<Row>>,
    pieces: Vec<Piece>,
    ended: bool,
}

/// A window whose rows have all gone in.
#[derive(Debug)]
pub struct Ended {
    /// The window.
    pub window: WindowId,
    /// The keys it read.
    pub keys: Vec<Row>,
}

/// The copy of one table.
#[derive(Debug)]
pub struct TableCopy {
    phase: Phase,
    windows: Vec<Window>,
    /// The newest window's number when a key was last stated, for keys stated since the oldest window was opened.
    stated: Keyed<u64>,
    opened: u64,
    repairs: Repairs,
    /// Memory that may be used for what is noted.
    bytes_max: usize,
    dropped: Vec<(WindowId, Why)>,
}

impl TableCopy {
    /// A copy that begins or goes on, with the keys that an earlier life stored.
    pub fn new(phase: Phase, wanted: Vec<Row>, bytes_max: usize) -> TableCopy {
        TableCopy {
            phase,
            windows: Vec::new(),
            stated: Keyed::default(),
            opened: 0,
            repairs: Repairs::stored_before(wanted),
            bytes_max,
            dropped: Vec::new(),
        }
    }

    /// How far it is.
    pub fn phase(&self) -> Phase {
        self.phase
    }

    /// No block will be read any more: either all are in, or the rest is given up. Changes that leave values out flow
    /// from now on without being noted, so no window of blocks may put rows in behind them.
    pub fn blocks_done(&mut self) {
        self.drop_where(Why::Cancelled, |window| window.keys.is_none());
        self.phase = Phase::Repairing;
    }

    /// Whether a key is wanted or being read, so that its row in the target counts for nothing.
    #[cfg(test)]
    pub(crate) fn wants(&self, key: &Row) -> bool {
        self.repairs.has(key)
    }

    /// Keys that are still to be read.
    pub fn wanted(&self) -> usize {
        self.repairs.len()
    }

    /// Whether any window is open.
    pub fn has_windows(&self) -> bool {
        !self.windows.is_empty()
    }

    /// Whether this window is open.
    pub fn has_window(&self, id: WindowId) -> bool {
        self.windows.iter().any(|window| window.id == id)
    }

    /// Opens a window. `after`: the transactions that its snapshot must see. Returns the keys it is to read; `None` if
    /// no key is wanted, or no block any more.
    pub fn open(&mut self, id: WindowId, wanted: Wanted, after: Vec<u32>) -> Option<Vec<Row>> {
        let keys = match wanted {
            Wanted::Blocks if self.phase == Phase::Repairing => return None,
            Wanted::Blocks => None,
            Wanted::Keys(max) => Some(self.repairs.choose(id, max)).filter(|keys| !keys.is_empty()),
        };
        if keys.is_none() && wanted != Wanted::Blocks {
            return None;
        }
        self.opened += 1;
        let opened = self.opened;
        let for_reader = keys.clone().unwrap_or_default();
        self.windows.push(Window { id, opened, after, point: None, keys, pieces: Vec::new(), ended: false });
        Some(for_reader)
    }

    /// Judges a reader's snapshot.
    pub fn check(&mut self, id: WindowId, sees: Visibility, position: Lsn) -> Verdict {
        let Some(window) = self.window(id) else { return Verdict::Gone };
        // What one snapshot sees, every later one sees.
        window.after.retain(|xid| !sees.sees(*xid));
        if !window.after.is_empty() && !off(Step::Check) {
            return Verdict::Again;
        }
        window.point = Some((sees, position));
        Verdict::Go
    }

    /// Takes in rows that a reader read. Those of a window that is no longer open are let go.
    pub fn piece(&mut self, id: WindowId, rows: Vec<Row>, permit: Permit, bytes: usize) {
        if let Some(window) = self.window(id) {
            window.pieces.push(Piece { rows, permit, bytes });
        }
    }

    /// All rows of a window have come.
    pub fn end(&mut self, id: WindowId) {
        if let Some(window) = self.window(id) {
            window.ended = true;
        }
    }

    /// Closes a window; what it has not put in is let go.
    pub fn drop_window(&mut self, id: WindowId) -> bool {
        let Some(at) = self.windows.iter().position(|window| window.id == id) else { return false };
        self.forget(at);
        true
    }

    /// Drops every window.
    pub fn drop_all(&mut self, why: Why) {
        self.drop_where(why, |_| true);
    }

    /// Drops the windows whose rows wait to go in.
    pub fn drop_waiting(&mut self) {
        self.drop_where(Why::Memory, |window| !window.pieces.is_empty());
    }

    /// Whether rows wait to go in.
    pub fn has_waiting(&self) -> bool {
        self.windows.iter().any(|window| !window.pieces.is_empty())
    }

    /// The windows dropped since this was last asked, and why.
    pub fn take_dropped(&mut self) -> Vec<(WindowId, Why)> {
        std::mem::take(&mut self.dropped)
    }

    /// Forgets which keys are wanted: they mean nothing any more.
    pub fn forget_wanted(&mut self) {
        self.repairs = Repairs::default();
    }

    /// These keys are stored.
    pub fn stored(&mut self, keys: &[Row]) {
        self.repairs.stored(keys);
    }

    /// What a window of keys put in is not certain to be durable: its keys are wanted as before.
    pub fn want_again(&mut self, keys: Vec<Row>) {
        self.repairs.want_again(keys);
    }

    /// Takes in a change that is told again although the target has it: if it left values out, its key may have been
    /// wanted for it, and is wanted again. Returns the key then, to be stored before a position passes.
    pub fn had_already(&mut self, schema: &TableSchema, change: &Change) -> Option<Row> {
        let new = match change {
            Change::Insert { new } => new.clone(),
            Change::Update { old, new } => filled(schema, old.as_ref(), new.clone()),
            Change::Delete { .. } => return None,
        };
        if !new.has_unchanged() {
            return None;
        }
        self.repairs.want(schema, &new);
        Some(schema.key_of(&new))
    }

    /// Which of the keys that a window read are not wanted again.
    pub fn repaired(&self, keys: Vec<Row>) -> Vec<Row> {
        keys.into_iter().filter(|key| !self.repairs.has(key)).collect()
    }

    /// Takes in the next change of the table.
    pub fn change(&mut self, schema: &TableSchema, commit_lsn: Lsn, change: Change) -> Route {
        let route = match change {
            // An update that moved its row into a publication's filter is told as an insert, and may leave values out.
            Change::Insert { new } if new.has_unchanged() => self.want(schema, &new, None),
            Change::Insert { ref new } => {
                self.state(schema, new);
                Route::Flow(change)
            }
            Change::Delete { ref old } => {
                self.state(schema, old.row());
                Route::Flow(change)
            }
            Change::Update { old, new } => self.update(schema, commit_lsn, old, new),
        };
        self.bound_memory();
        route
    }

    fn update(&mut self, schema: &TableSchema, commit_lsn: Lsn, old: Option<OldRow>, new: Row) -> Route {
        let new = filled(schema, old.as_ref(), new);
        let moved_from = old.clone().filter(|old| !schema.same_key(old.row(), &new));
        if let Some(old) = &moved_from {
            self.state(schema, old.row());
        }
        if !new.has_unchanged() {
            self.state(schema, &new);
            return Route::Flow(Change::Update { old, new });
        }
        if let Some(old) = moved_from {
            // What was read under the new key, if anything, is another row.
            return self.want(schema, &new, Some(Change::Delete { old }));
        }
        match self.repairs.change(schema, commit_lsn, &new) {
            Part::Aside { stored: true } => Route::Aside { moved_from: None, wanted: None },
            // Once more, for the transaction that wanted it before may be void, and this one be told in its place.
            Part::Aside { stored: false } => Route::Aside { moved_from: None, wanted: Some(schema.key_of(&new)) },
            Part::Unknown if self.phase == Phase::Repairing || off(Step::Repair) => {
                Route::Flow(Change::Update { old, new })
            }
            Part::Unknown => self.want(schema, &new, None),
        }
    }

    fn want(&mut self, schema: &TableSchema, row: &Row, moved_from: Option<Change>) -> Route {
        self.repairs.want(schema, row);
        Route::Aside { moved_from, wanted: Some(schema.key_of(row)) }
    }

    /// Notes that the change, which flows on, states all there is to say of a key.
    fn state(&mut self, schema: &TableSchema, row: &Row) {
        if self.windows.iter().any(|window| window.keys.is_none() && !(off(Step::Open) && window.point.is_none())) {
            self.stated.set(schema, row, self.opened);
        }
        self.repairs.settle(schema, row);
    }

    /// Takes in that all rows are gone.
    pub fn truncate(&mut self, xid: u32) {
        for window in &mut self.windows {
            if window.point.is_none() {
                window.after.push(xid);
            }
        }
        self.drop_where(Why::Truncated, |window| window.point.as_ref().is_some_and(|(sees, _)| !sees.sees(xid)));
        self.repairs.truncated();
    }

    /// The rows that go in now that the stream has passed a position, outside of a transaction.
    pub fn inject(&mut self, schema: &TableSchema, passed: Lsn) -> Vec<Injection> {
        let mut injections = Vec::new();
        // Rows that were read by key first, so that an older read of a block does not even bring them in passing.
        let (by_key, in_blocks): (Vec<_>, Vec<_>) =
            (0..self.windows.len()).partition(|at| self.windows[*at].keys.is_some());
        for at in by_key.into_iter().chain(in_blocks) {
            let window = &mut self.windows[at];
            let Some(position) = window.point.as_ref().map(|(_, position)| *position) else { continue };
            if position > passed && !off(Step::Wait) {
                continue;
            }
            let (id, opened, by_key) = (window.id, window.opened, window.keys.is_some());
            for Piece { rows, permit, bytes } in std::mem::take(&mut window.pieces) {
                let true_now = |row: Row| {
                    if by_key { self.read_by_key(schema, id, row) } else { self.read_in_block(schema, opened, row) }
                };
                let rows: Vec<_> = rows.into_iter().filter_map(true_now).collect();
                let rows = rows.into_iter().map(|(lsn, row)| (lsn.max(position), row)).collect();
                injections.push(Injection { window: id, rows, permit, bytes });
            }
        }
        injections
    }

    fn read_in_block(&self, schema: &TableSchema, opened: u64, row: Row) -> Option<(Lsn, Row)> {
        let stated = self.stated.get(schema, &row).is_some_and(|at| *at >= opened);
        (!stated || off(Step::Inject)).then_some((Lsn::INVALID, row))
    }

    fn read_by_key(&mut self, schema: &TableSchema, id: WindowId, row: Row) -> Option<(Lsn, Row)> {
        let (lsn, row) = self.repairs.complete(schema, id, row)?;
        if self.windows.iter().any(|window| window.keys.is_none()) {
            // A part of blocks that was read before must not set it back.
            self.stated.set(schema, &row, self.opened);
        }
        Some((lsn, row))
    }

    /// The windows whose rows have all gone in; they are closed.
    pub fn take_ended(&mut self, passed: Lsn) -> Vec<Ended> {
        let over = |window: &Window| {
            let reached = window.point.as_ref().is_some_and(|(_, position)| *position <= passed || off(Step::Wait));
            window.ended && window.pieces.is_empty() && reached
        };
        let mut ended = Vec::new();
        while let Some(at) = self.windows.iter().position(over) {
            let window = self.windows.remove(at);
            if window.keys.is_some() {
                self.repairs.finish(window.id);
            }
            ended.push(Ended { window: window.id, keys: window.keys.unwrap_or_default() });
        }
        self.forget_notes();
        ended
    }

    fn window(&mut self, id: WindowId) -> Option<&mut Window> {
        self.windows.iter_mut().find(|window| window.id == id)
    }

    fn drop_where(&mut self, why: Why, which: impl Fn(&Window) -> bool) {
        while let Some(at) = self.windows.iter().position(&which) {
            let id = self.forget(at);
            self.dropped.push((id, why));
        }
    }

    fn forget(&mut self, at: usize) -> WindowId {
        let window = self.windows.remove(at);
        if let Some(keys) = window.keys {
            self.repairs.give_back(window.id);
            // Those that have gone in, too: nobody waits any more for whether they become durable.
            self.repairs.want_again(keys);
        }
        self.forget_notes();
        window.id
    }

    fn forget_notes(&mut self) {
        if self.windows.is_empty() {
            self.stated.clear();
        }
    }

    /// Keeps what is noted within its bound: first goes what no open window needs, then the windows.
    fn bound_memory(&mut self) {
        let used = |copy: &TableCopy| copy.stated.bytes() + copy.repairs.bytes();
        if used(self) <= self.bytes_max {
            return;
        }
        let oldest = self.windows.iter().map(|window| window.opened).min().unwrap_or(u64::MAX);
        self.stated.retain(|_, at| *at >= oldest);
        if used(self) > self.bytes_max / 2 {
            self.drop_all(Why::TooLarge);
        }
    }
}

/// The new row with what the old one can tell of its unchanged columns.
fn filled(schema: &TableSchema, old: Option<&OldRow>, new: Row) -> Row {
    match old {
        Some(OldRow::Full(row)) if new.has_unchanged() => new.filled_from(row),
        Some(OldRow::Key(row)) if new.has_unchanged() => schema.key_filled(&new, row),
        _ => new,
    }
}

/// A step that tests switch off, to see that they notice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Keys are noted from the moment a window is opened.
    Open,
    /// A snapshot that misses something is not good enough.
    Check,
    /// Rows wait until the stream has passed their position.
    Wait,
    /// Rows whose key was noted stay out.
    Inject,
    /// Changes that leave values out want their key.
    Repair,
}

#[cfg(test)]
thread_local! {
    pub(crate) static OFF: std::cell::Cell<Option<Step>> = const { std::cell::Cell::new(None) };
}

#[cfg(test)]
fn off(step: Step) -> bool {
    OFF.get() == Some(step)
}

#[cfg(not(test))]
const fn off(_: Step) -> bool {
    false
}
