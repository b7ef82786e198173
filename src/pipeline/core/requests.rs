//! What the engine asks of a copy, and what changes mean for one.

use std::sync::Arc;
use std::time::Instant;

use hashbrown::HashSet;

use super::super::rope::Rope;
use super::super::{Opened, StoreToken};
use super::copies::Complete;
use super::{Action, CopyEvent, Core, Item, What};
use crate::model::{Change, Lsn, Permit, Row, TableId, TableSchema, Visibility};
use crate::snapshot::{Phase, Route, TableCopy, Verdict, Wanted, Why, WindowId};

impl Core {
    /// A copy begins or goes on.
    pub(in crate::pipeline) fn begin_copy(
        &mut self,
        table: TableId,
        phase: Phase,
        complete: bool,
        wanted: Vec<Row>,
        actions: &mut Vec<Action>,
    ) {
        self.copies.forget(table);
        let now = complete && phase == Phase::Repairing;
        self.copies.complete.insert(table, Complete { now, then: complete });
        self.copies.tables.insert(table, TableCopy::new(phase, wanted, self.copies.noted_max()));
        self.apply_complete(table, actions);
    }

    /// All blocks are durable, or the rest is given up.
    pub(in crate::pipeline) fn blocks_done(
        &mut self,
        table: TableId,
        all: bool,
        now: Instant,
        actions: &mut Vec<Action>,
    ) {
        let (Some(copy), Some(complete)) = (self.copies.tables.get_mut(&table), self.copies.complete.get_mut(&table))
        else {
            return;
        };
        copy.blocks_done();
        complete.then &= all;
        complete.now = complete.then;
        self.copies.tell_dropped(actions);
        // A window that brings no row is over at once, so keys may still wait here to be stored that were wanted because
        // of it. (Those of a transaction that is not complete are none of them: no window has seen it.)
        if self.open.items.iter().take(self.open.mark.items).any(|item| matches!(item.what, What::Wanted(_))) {
            self.close(self.open.mark, now, actions);
        }
        actions.push(Action::Tell(CopyEvent::BlocksDone { table }));
        self.apply_complete(table, actions);
    }

    /// Opens a window. `as_of`: a position after which the reader's columns were looked up.
    pub(in crate::pipeline) fn open_window(
        &mut self,
        window: WindowId,
        schema: &Arc<TableSchema>,
        as_of: Lsn,
        wanted: Wanted,
        actions: &mut Vec<Action>,
    ) -> Opened {
        let table = schema.id;
        if !self.copies.has(table) {
            return Opened::NoCopy;
        }
        let repeating = self.transaction.as_ref().is_some_and(|transaction| transaction.repeated);
        if repeating || self.received < self.repeat_through || self.copies.is_blocked(table) {
            return Opened::NotNow;
        }
        if let Err(known) = self.agree_on_columns(schema, as_of, actions) {
            return Opened::Columns(known);
        }
        let must_see = self.copies.must_see();
        let Some(copy) = self.copies.tables.get_mut(&table) else { return Opened::NoCopy };
        match copy.open(window, wanted, must_see) {
            None => Opened::NothingWanted,
            Some(keys) => Opened::Yes { keys: keys.iter().map(|key| schema.row_of_key(key)).collect() },
        }
    }

    /// Takes the reader's columns for the stream's where the stream has none, or only older ones.
    fn agree_on_columns(
        &mut self,
        schema: &Arc<TableSchema>,
        as_of: Lsn,
        actions: &mut Vec<Action>,
    ) -> Result<(), Arc<TableSchema>> {
        let table = schema.id;
        let Some(known) = self.schemas.current(table).cloned() else {
            self.learn(schema.clone(), actions);
            return Ok(());
        };
        if known.columns == schema.columns && known.key == schema.key {
            return Ok(());
        }
        let told_at = self.copies.columns_at.get(&table).copied().unwrap_or(Lsn::INVALID);
        // Nothing that was told since the reader looked could still be in the older columns.
        let older = as_of != Lsn::INVALID && as_of <= self.copies.reached() && told_at < as_of;
        if !older || self.transaction.is_some() {
            return Err(known);
        }
        self.learn(schema.clone(), actions);
        Ok(())
    }

    /// Judges a reader's snapshot.
    pub(in crate::pipeline) fn check(&mut self, window: WindowId, sees: Visibility, position: Lsn) -> Verdict {
        self.copies.unseen().learn(&sees);
        self.copies.of_window(window).map_or(Verdict::Gone, |copy| copy.check(window, sees, position))
    }

    /// Takes in rows that were read.
    pub(in crate::pipeline) fn piece(&mut self, window: WindowId, rows: Vec<Row>, permit: Permit, bytes: usize) {
        if let Some(copy) = self.copies.of_window(window) {
            copy.piece(window, rows, permit, bytes);
        }
    }

    /// All rows of a window have come.
    pub(in crate::pipeline) fn end_window(&mut self, window: WindowId) {
        if let Some(copy) = self.copies.of_window(window) {
            copy.end(window);
        }
    }

    /// Closes a window without a word.
    pub(in crate::pipeline) fn abort_window(&mut self, window: WindowId) {
        if let Some(copy) = self.copies.of_window(window) {
            copy.drop_window(window);
            self.copies.forget_window(window);
        }
    }

    /// Removes rows of the target at the end of the present transaction.
    pub(in crate::pipeline) fn remove(&mut self, schema: Arc<TableSchema>, what: What, actions: &mut Vec<Action>) {
        let table = schema.id;
        if self.copies.is_blocked(table) || !self.copies.has(table) {
            actions.push(Action::Tell(CopyEvent::NotRemoved { table }));
            return;
        }
        if self.schemas.current(table).is_none() {
            self.learn(schema, actions);
        }
        self.copies.removals.push((table, what));
    }

    /// Forgets a finished copy; whether it is one.
    pub(in crate::pipeline) fn finish_copy(&mut self, table: TableId) -> bool {
        let Some(copy) = self.copies.tables.get(&table) else { return true };
        let idle = copy.wanted() == 0 && !copy.has_windows() && !self.copies.awaits(table);
        if copy.phase() != Phase::Repairing || !idle || !self.copies.is_up_to_date() {
            return false;
        }
        self.copies.tables.remove(&table);
        true
    }

    /// Forgets a copy that is not finished.
    pub(in crate::pipeline) fn cancel_copy(&mut self, table: TableId) {
        self.copies.forget(table);
    }

    /// Keys are stored.
    pub(in crate::pipeline) fn stored(&mut self, token: StoreToken) {
        self.copies.stored(token);
        self.acks.stored(token);
    }

    /// Takes in a schema for the changes that follow.
    pub(super) fn learn(&mut self, schema: Arc<TableSchema>, actions: &mut Vec<Action>) {
        let schema = match self.copies.complete.get(&schema.id) {
            Some(Complete { now, .. }) if *now != schema.complete => {
                Arc::new(TableSchema { complete: *now, ..TableSchema::clone(&schema) })
            }
            _ => schema,
        };
        let Some(before) = self.schemas.learn(schema.clone()) else { return };
        if before.columns == schema.columns && before.key == schema.key {
            return;
        }
        let at = self.transaction.as_ref().map_or(self.received, |transaction| transaction.commit_lsn);
        self.copies.columns_at.insert(schema.id, at);
        let Some(copy) = self.copies.tables.get_mut(&schema.id) else { return };
        // Rows in older columns must not follow rows in newer ones.
        copy.drop_all(Why::Columns);
        let key = !before.key_columns().eq(schema.key_columns());
        if key {
            copy.forget_wanted();
        }
        self.copies.tell_dropped(actions);
        actions.push(Action::Tell(CopyEvent::Columns { schema, key }));
    }

    fn apply_complete(&mut self, table: TableId, actions: &mut Vec<Action>) {
        if let Some(schema) = self.schemas.current(table).cloned() {
            self.learn(schema, actions);
        }
    }

    /// Takes in a change of a table that is being copied; false if it is done with at once.
    pub(super) fn change_of_copied(&mut self, table: TableId, change: Change) -> bool {
        let schema = self.schemas.current(table).expect("a schema is told before the table's first change").clone();
        let transaction = self.transaction.as_ref().expect("a change is told within a transaction");
        let commit_lsn = transaction.commit_lsn;
        let already = self.has_already(table);
        let Some(copy) = self.copies.tables.get_mut(&table) else { return self.push(table, What::Change(change)) };
        let (flows, wanted) = if already {
            (None, copy.had_already(&schema, &change))
        } else {
            match copy.change(&schema, commit_lsn, change) {
                Route::Flow(change) => (Some(change), None),
                Route::Aside { moved_from, wanted } => (moved_from, wanted),
            }
        };
        if let Some(key) = wanted {
            // Also if the table has the transaction already: the key may not be stored.
            let slot = self.schemas.slot(table).expect("its schema is known");
            self.open.add(Item::new(slot, &schema, commit_lsn, What::Wanted(key)));
        }
        flows.is_some_and(|change| self.push(table, What::Change(change)))
    }

    /// Takes in that all rows of a table are gone.
    pub(super) fn truncate(&mut self, table: TableId) {
        if self.copies.is_active()
            && !self.has_already(table)
            && let Some(xid) = self.transaction.as_ref().map(|transaction| transaction.xid)
            && let Some(copy) = self.copies.tables.get_mut(&table)
        {
            copy.truncate(xid);
        }
        self.push(table, What::Truncate);
    }

    /// Takes out the keys that are to be stored, by table.
    pub(super) fn stores(&mut self, items: &mut Rope<Item>) -> Vec<(StoreToken, TableId, Vec<Row>)> {
        let mut wanted: Vec<(TableId, Vec<Row>)> = Vec::new();
        let mut seen = HashSet::new();
        for item in items.extract(|item| matches!(item.what, What::Wanted(_))) {
            let What::Wanted(key) = item.what else { continue };
            let table = self.schemas.schema(item.slot).id;
            if !seen.insert((table, key.clone())) {
                continue;
            }
            match wanted.iter_mut().find(|(of, _)| *of == table) {
                Some((_, keys)) => keys.push(key),
                None => wanted.push((table, vec![key])),
            }
        }
        wanted.into_iter().map(|(table, keys)| (self.copies.store(table, keys.clone()), table, keys)).collect()
    }

    /// At the end of a transaction: puts in what the stream has come far enough for. True if anything was.
    pub(in crate::pipeline) fn copies_go_on(&mut self, now: Instant, actions: &mut Vec<Action>) -> bool {
        if self.transaction.is_some() {
            return false;
        }
        let removed = self.put_in_removals();
        let tables: Vec<TableId> =
            self.copies.tables.iter().filter(|(_, copy)| copy.has_windows()).map(|(id, _)| *id).collect();
        let mut any = removed;
        for table in tables {
            any |= self.put_in_rows(table, now, actions);
        }
        any
    }

    fn put_in_removals(&mut self) -> bool {
        let removals = std::mem::take(&mut self.copies.removals);
        let any = !removals.is_empty();
        for (table, what) in removals {
            let Some(slot) = self.schemas.slot(table) else { continue };
            self.open.add(Item::new(slot, self.schemas.schema(slot), self.received, what));
            self.open.mark_all();
            self.copies.removing(table);
        }
        any
    }

    fn put_in_rows(&mut self, table: TableId, now: Instant, actions: &mut Vec<Action>) -> bool {
        let passed = self.copies.reached();
        let Some(slot) = self.schemas.slot(table) else { return false };
        let schema = self.schemas.schema(slot).clone();
        let Some(copy) = self.copies.tables.get_mut(&table) else { return false };
        let injections = copy.inject(&schema, passed);
        let ended = copy.take_ended(passed);
        let mut any = false;
        for injection in injections.into_iter().filter(|injection| !injection.rows.is_empty()) {
            any = true;
            let copied = |(commit_lsn, row)| Item::new(slot, &schema, commit_lsn, What::Copied(row));
            self.open.add_all(slot, injection.rows.into_iter().map(copied));
            self.open.blocks.push((Arc::new(injection.permit), injection.bytes as u64));
            self.open.mark_all();
            self.copies.injected(table, injection.window);
            let full = self.open.mark.items as u64 >= self.options.flush_rows;
            if full || self.open.bytes() >= self.options.flush_bytes {
                self.close(self.open.mark, now, actions);
            }
        }
        for ended in ended {
            self.copies.ended(&self.acks, table, ended.window, ended.keys, actions);
        }
        any
    }
}
