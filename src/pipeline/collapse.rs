//! Reduces a table's changes to one final state per key, and those to loads.
//!
//! The last change of a key wins. A column that a change left out (an unchanged TOASTed value) is taken from the
//! key's state earlier in the batch; a row that moved to another key takes it from the state under the old key, from
//! the old row, or else must be read from the source. Key equality is equality of the key columns' bytes.

use std::sync::Arc;

use foldhash::fast::FixedState;
use hashbrown::{HashMap, HashTable};

use super::key_hash::KeyHash;
use crate::model::{Block, Change, ColumnSet, Load, LoadRow, Lsn, OldRow, Op, Present, Row, TableSchema, Value};
use crate::sink::Deletes;

/// The final states of one batch.
#[derive(Debug)]
pub(super) struct Collapsed {
    schema: Arc<TableSchema>,
    rows: Vec<LoadRow>,
    /// Positions in `rows` by key.
    keys: HashTable<u32>,
    /// Positions of rows that moved to a new key without all of their values.
    incomplete: Vec<u32>,
}

/// Bytes of the key index for one row at most: a number and a control byte, in a table that may be less than half full.
const INDEX_ENTRY: usize = 12;

// The entries that were collapsed held so much of the budget, and each goes as its row is made.
const _: () = assert!(size_of::<LoadRow>() + INDEX_ENTRY <= Block::ENTRY);

impl Collapsed {
    /// Nothing yet, for about so many changes.
    pub(super) fn new(schema: Arc<TableSchema>, changes: usize) -> Self {
        Collapsed {
            schema,
            rows: Vec::with_capacity(changes),
            keys: HashTable::with_capacity(changes),
            incomplete: Vec::new(),
        }
    }

    /// Takes in the next change; `hash` is that of [`Change::row`]'s key.
    pub(super) fn apply(&mut self, commit_lsn: Lsn, hash: KeyHash, change: Change) {
        match change {
            // One that leaves values out was an update, which moved the row into the publication's filter: the target
            // does not have it.
            Change::Insert { new } => {
                let whole = !new.has_unchanged();
                self.put(hash, LoadRow { op: Op::Insert, row: new, commit_lsn }, whole);
            }
            Change::Delete { old } => {
                let (OldRow::Key(row) | OldRow::Full(row)) = old;
                self.put(hash, LoadRow { op: Op::Delete, row, commit_lsn }, true);
            }
            Change::Update { old, new } => self.update(commit_lsn, hash, old, new),
        }
    }

    /// Takes in a whole row as it is at this place.
    pub(super) fn copy(&mut self, commit_lsn: Lsn, hash: KeyHash, row: Row) {
        self.put(hash, LoadRow { op: Op::Insert, row, commit_lsn }, true);
    }

    fn update(&mut self, commit_lsn: Lsn, hash: KeyHash, old: Option<OldRow>, new: Row) {
        let Some(old) = old else {
            return self.put(hash, LoadRow { op: Op::Update, row: new, commit_lsn }, true);
        };
        let sent = (hash, new);
        let (hash, new) = match &old {
            OldRow::Full(row) if sent.1.has_unchanged() => self.hashed(sent.1.filled_from(row)),
            OldRow::Key(row) if sent.1.has_unchanged() => self.hashed(self.schema.key_filled(&sent.1, row)),
            _ => sent,
        };
        if self.schema.same_key(old.row(), &new) {
            return self.put(hash, LoadRow { op: Op::Update, row: new, commit_lsn }, true);
        }
        let (old_hash, old) = self.hashed(old.row().clone());
        let before = self.find(old_hash, &old).map(|at| &self.rows[at as usize]);
        let new = match before {
            Some(LoadRow { op: Op::Insert | Op::Update, row, .. }) if new.has_unchanged() => new.filled_from(row),
            _ => new,
        };
        self.put(old_hash, LoadRow { op: Op::Delete, row: old, commit_lsn }, true);
        self.put(hash, LoadRow { op: Op::Update, row: new, commit_lsn }, false);
    }

    fn hashed(&self, row: Row) -> (KeyHash, Row) {
        (KeyHash::of(&self.schema, &row), row)
    }

    /// Sets the state of a key. `same_row`: the row was under this key before, so that columns it leaves out are as
    /// they were; in the target too, if every row is there.
    fn put(&mut self, hash: KeyHash, mut next: LoadRow, same_row: bool) {
        let known = same_row && self.schema.complete;
        match self.find(hash, &next.row) {
            None => {
                let at = self.rows.len() as u32;
                if !known && next.row.has_unchanged() {
                    self.incomplete.push(at);
                }
                self.rows.push(next);
                let (schema, rows) = (&self.schema, &self.rows);
                self.keys.insert_unique(hash.spread(), at, |at| KeyHash::of(schema, &rows[*at as usize].row).spread());
            }
            Some(at) => {
                let before = &self.rows[at as usize];
                let leaves_out = next.op != Op::Delete && next.row.has_unchanged();
                if leaves_out && same_row && before.op != Op::Delete {
                    next.row = next.row.filled_from(&before.row);
                } else if leaves_out {
                    // What stood under this key is gone; its values are not this row's.
                    self.incomplete.push(at);
                }
                self.rows[at as usize] = next;
            }
        }
    }

    #[inline]
    fn find(&self, hash: KeyHash, key: &Row) -> Option<u32> {
        self.keys.find(hash.spread(), |at| self.schema.same_key(&self.rows[*at as usize].row, key)).copied()
    }

    /// The rows whose missing values must be read from the source, by their keys.
    pub(super) fn incomplete(&mut self) -> Vec<Row> {
        self.incomplete.sort_unstable();
        self.incomplete.dedup();
        let rows = &self.rows;
        self.incomplete.retain(|at| {
            let LoadRow { op, row, .. } = &rows[*at as usize];
            *op != Op::Delete && row.has_unchanged()
        });
        self.incomplete.iter().map(|at| rows[*at as usize].row.clone()).collect()
    }

    /// Fills the incomplete rows with what the source has now under their keys, in the order of
    /// [`Collapsed::incomplete`]. A row the source no longer has is left out: the change that removed it follows in
    /// the stream and says what becomes of it.
    pub(super) fn complete(&mut self, found: Vec<Option<Row>>) {
        let incomplete = std::mem::take(&mut self.incomplete);
        let mut gone = Vec::new();
        for (at, found) in incomplete.into_iter().zip(found) {
            match found {
                Some(row) => {
                    let filled = self.rows[at as usize].row.filled_from(&row);
                    self.rows[at as usize].row = filled;
                }
                None => gone.push(at),
            }
        }
        // From the back, so that the positions still to be removed stay true. The key index is not used any more.
        gone.into_iter().rev().for_each(|at| drop(self.rows.swap_remove(at as usize)));
    }

    /// The loads that bring the target to these states. Their keys are disjoint, so their order is free.
    pub(super) fn into_loads(self, deletes: Deletes) -> Vec<Load> {
        // The index goes first: the rows are held until they are durable, and nothing besides them is to be.
        let Collapsed { schema, rows: mut whole, keys, .. } = self;
        drop(keys);
        let mut gone = Vec::new();
        let mut partial: HashMap<ColumnSet, Vec<LoadRow>, FixedState> = HashMap::default();
        let apart = |row: &mut LoadRow| match row.op {
            Op::Delete => deletes == Deletes::Alone,
            Op::Insert | Op::Update => row.row.has_unchanged(),
        };
        for row in whole.extract_if(.., apart) {
            match row.op {
                Op::Delete => gone.push(row),
                Op::Insert | Op::Update => partial.entry(present(&row.row)).or_default().push(row),
            }
        }
        whole.shrink_to_fit();
        let mut partial: Vec<_> = partial.into_iter().collect();
        partial.sort_unstable_by(|a, b| a.0.cmp(&b.0));
        let all = [(Present::All, whole), (Present::KeyOnly, gone)];
        all.into_iter()
            .chain(partial.into_iter().map(|(columns, rows)| (Present::Only(columns), rows)))
            .filter(|(_, rows)| !rows.is_empty())
            .map(|(present, rows)| Load { schema: schema.clone(), present, rows: Arc::new(rows) })
            .collect()
    }
}

fn present(row: &Row) -> ColumnSet {
    row.columns().enumerate().filter(|(_, value)| *value != Value::Unchanged).map(|(column, _)| column).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Column, ColumnType, RowBuilder, TableId, TableName};
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    /// A column's value in a test row: `None` is NULL.
    type Cell = Option<u8>;

    fn schema() -> Arc<TableSchema> {
        let column = |name: &str| Column { name: name.into(), ty: ColumnType::Text, nullable: true };
        Arc::new(TableSchema {
            id: TableId(1),
            name: TableName { schema: "s".into(), name: "t".into() },
            target: "t".into(),
            columns: ["id", "small", "big"].map(column).into(),
            key: vec![0],
            complete: true,
        })
    }

    /// `small` and `big`; `big` may be unchanged.
    fn tuple(key: u8, small: Cell, big: Option<Cell>) -> Row {
        let mut row = RowBuilder::with_capacity(16);
        let text = |byte: u8| [b'a' + byte; 3];
        row.push(Value::Text(&text(key)));
        match small {
            Some(byte) => row.push(Value::Text(&text(byte))),
            None => row.push(Value::Null),
        }
        match big {
            Some(Some(byte)) => row.push(Value::Text(&text(byte))),
            Some(None) => row.push(Value::Null),
            None => row.push(Value::Unchanged),
        }
        row.finish()
    }

    fn key_tuple(key: u8) -> Row {
        tuple(key, None, Some(None))
    }

    /// What a user does; `move_to` and `touch_big` make the interesting updates.
    #[derive(Clone, Debug)]
    enum Step {
        Insert { key: u8, small: Cell, big: Cell },
        Update { key: u8, small: Cell, big: Option<Cell>, move_to: Option<u8> },
        Delete { key: u8 },
    }

    fn step() -> impl Strategy<Value = Step> {
        let cell = || prop::option::of(0_u8..20);
        prop_oneof![
            (0_u8..6, cell(), cell()).prop_map(|(key, small, big)| Step::Insert { key, small, big }),
            (0_u8..6, cell(), prop::option::of(cell()), prop::option::of(0_u8..6))
                .prop_map(|(key, small, big, move_to)| Step::Update { key, small, big, move_to }),
            (0_u8..6).prop_map(|key| Step::Delete { key }),
        ]
    }

    type Table = BTreeMap<u8, (Cell, Cell)>;

    /// Carries a step out on the table as PostgreSQL would and returns what it would log; `None` if it is no valid
    /// step now.
    fn carry_out(table: &mut Table, step: &Step, full: bool) -> Option<Change> {
        let old_row = |key: u8, row: (Cell, Cell)| {
            if full { OldRow::Full(tuple(key, row.0, Some(row.1))) } else { OldRow::Key(key_tuple(key)) }
        };
        match *step {
            Step::Insert { key, small, big } => {
                if table.contains_key(&key) {
                    return None;
                }
                table.insert(key, (small, big));
                Some(Change::Insert { new: tuple(key, small, Some(big)) })
            }
            Step::Delete { key } => table.remove(&key).map(|row| Change::Delete { old: old_row(key, row) }),
            Step::Update { key, small, big, move_to } => {
                let before = *table.get(&key)?;
                let to = move_to.unwrap_or(key);
                if to != key && table.contains_key(&to) {
                    return None;
                }
                table.remove(&key);
                table.insert(to, (small, big.unwrap_or(before.1)));
                let old = (full || to != key).then(|| old_row(key, before));
                // A NULL is never a TOASTed value, so it is always sent.
                let sent = big.or(before.1.is_none().then_some(None));
                Some(Change::Update { old, new: tuple(to, small, sent) })
            }
        }
    }

    fn apply(collapsed: &mut Collapsed, commit_lsn: u64, change: Change) {
        let hash = KeyHash::of(&collapsed.schema, change.row());
        collapsed.apply(Lsn(commit_lsn), hash, change);
    }

    /// Applies the loads as the target does: whole rows replace, partial ones keep what they leave out.
    fn load(target: &mut Table, loads: &[Load]) {
        let cell = |value| match value {
            Value::Text(text) => Some(text[0] - b'a'),
            Value::Null | Value::Unchanged => None,
        };
        for load in loads {
            assert!(!load.rows.is_empty(), "no load is empty");
            for LoadRow { op, row, .. } in load.rows.iter() {
                let key = cell(row.column(0)).unwrap();
                if *op == Op::Delete {
                    target.remove(&key);
                    continue;
                }
                let kept = match &load.present {
                    Present::All => {
                        assert!(!row.has_unchanged(), "a whole row leaves nothing out");
                        None
                    }
                    Present::Only(columns) => {
                        assert_eq!(*columns, present(row));
                        Some(target.get(&key).expect("a partial row is only sent for a row that is there").1)
                    }
                    Present::KeyOnly => panic!("a load of keys holds deletes alone"),
                };
                target.insert(key, (cell(row.column(1)), kept.unwrap_or_else(|| cell(row.column(2)))));
            }
        }
    }

    /// An update that moves a row into a publication's filter is told as an insert, with its large value left out.
    #[test]
    fn an_insert_that_leaves_a_value_out_is_completed_from_the_source() {
        let mut collapsed = Collapsed::new(schema(), 1);
        apply(&mut collapsed, 1, Change::Insert { new: tuple(1, Some(2), None) });
        assert_eq!(collapsed.incomplete(), [tuple(1, Some(2), None)]);
        collapsed.complete(vec![Some(tuple(1, Some(9), Some(Some(3))))]);
        let loads = collapsed.into_loads(Deletes::WithRows);
        assert_eq!((loads.len(), &loads[0].rows[0].row), (1, &tuple(1, Some(2), Some(Some(3)))));
    }

    proptest! {
        /// Batches of any size, collapsed and loaded, lead to the table a plain replay leads to.
        #[test]
        fn agrees_with_replay(
            steps in prop::collection::vec(step(), 0..80),
            batch in 1_usize..20,
            full: bool,
            alone: bool,
        ) {
            let (mut table, mut target) = (Table::new(), Table::new());
            let deletes = if alone { Deletes::Alone } else { Deletes::WithRows };
            for steps in steps.chunks(batch) {
                let mut collapsed = Collapsed::new(schema(), steps.len());
                for (number, step) in steps.iter().enumerate() {
                    if let Some(change) = carry_out(&mut table, step, full) {
                        apply(&mut collapsed, number as u64, change);
                    }
                }
                let asked = collapsed.incomplete();
                prop_assert!(!full || asked.is_empty(), "full old rows leave nothing to ask");
                let now = |row: &Row| {
                    let Value::Text(key) = row.column(0) else { panic!("a key") };
                    let key = key[0] - b'a';
                    table.get(&key).map(|(small, big)| tuple(key, *small, Some(*big)))
                };
                let found = asked.iter().map(now).collect();
                collapsed.complete(found);
                load(&mut target, &collapsed.into_loads(deletes));
            }
            prop_assert_eq!(target, table);
        }
    }

    #[test]
    fn a_moved_row_the_source_no_longer_has_is_left_out() {
        let mut collapsed = Collapsed::new(schema(), 2);
        let update = Change::Update { old: Some(OldRow::Key(key_tuple(1))), new: tuple(2, None, None) };
        apply(&mut collapsed, 1, update);
        apply(&mut collapsed, 2, Change::Insert { new: tuple(3, None, Some(None)) });
        assert_eq!(collapsed.incomplete(), [tuple(2, None, None)]);
        collapsed.complete(vec![None]);
        let loads = collapsed.into_loads(Deletes::WithRows);
        let rows: Vec<_> = loads[0].rows.iter().map(|row| (row.op, row.row.column(0))).collect();
        assert_eq!(rows, [(Op::Delete, Value::Text(b"bbb")), (Op::Insert, Value::Text(b"ddd"))]);
    }

    #[test]
    fn partial_rows_are_grouped_by_what_they_bring() {
        let mut collapsed = Collapsed::new(schema(), 3);
        for key in [1, 2] {
            apply(&mut collapsed, 1, Change::Update { old: None, new: tuple(key, Some(key), None) });
        }
        apply(&mut collapsed, 1, Change::Delete { old: OldRow::Key(key_tuple(3)) });
        let loads = collapsed.into_loads(Deletes::Alone);
        let shapes: Vec<_> = loads.iter().map(|load| (load.present.clone(), load.rows.len())).collect();
        assert_eq!(shapes, [(Present::KeyOnly, 1), (Present::Only(ColumnSet::from_iter([0, 1])), 2)]);
    }
}
