//! The flush unit that is open, and what it is made of.

use std::sync::Arc;

use foldhash::fast::FixedState;
use hashbrown::{HashMap, HashSet};

use super::super::acks::{End, UnitId};
use super::super::key_hash::KeyHash;
use super::super::rope::Rope;
use crate::model::{Block, Change, Lsn, Permit, Row, TableSchema};

/// What happened to a table, in the order it happened.
#[derive(Debug)]
pub(in crate::pipeline) enum What {
    /// One row changed.
    Change(Change),
    /// All rows are gone.
    Truncate,
    /// A row that is there was read; it is current at this place.
    Copied(Row),
    /// The target's rows are to go, for the table is copied anew.
    Empty,
    /// The target's rows with an older version are to go: the source does not have them.
    Sweep(Lsn),
    /// A key is to be stored before any position passes this place. Not for the lane.
    Wanted(Row),
}

/// One entry of a flush unit.
#[derive(Debug)]
pub(in crate::pipeline) struct Item {
    pub(super) slot: u32,
    /// Of the key of [`Change::row`], or of the row that was read.
    pub(in crate::pipeline) hash: KeyHash,
    /// The transaction's commit position.
    pub(in crate::pipeline) commit_lsn: Lsn,
    /// What happened.
    pub(in crate::pipeline) what: What,
}

impl Item {
    /// An entry for the table whose schema is in that slot.
    #[inline]
    pub(super) fn new(slot: u32, schema: &TableSchema, commit_lsn: Lsn, what: What) -> Item {
        let hash = match &what {
            What::Change(change) => KeyHash::of(schema, change.row()),
            What::Copied(row) => KeyHash::of(schema, row),
            What::Truncate | What::Empty | What::Sweep(_) | What::Wanted(_) => KeyHash::default(),
        };
        Item { slot, hash, commit_lsn, what }
    }
}

// The budget was asked for so much for each entry.
const _: () = assert!(size_of::<Item>() <= Block::ENTRY);

/// One table's part of a flush unit, for its lane.
#[derive(Debug)]
pub(in crate::pipeline) struct Job {
    /// The unit.
    pub(in crate::pipeline) unit: UnitId,
    /// The table as the rows were written under it.
    pub(in crate::pipeline) schema: Arc<TableSchema>,
    /// Never empty.
    pub(in crate::pipeline) items: Rope<Item>,
    /// Commit position of the newest transaction that the table has wholly with this part; invalid if there is none.
    pub(in crate::pipeline) through: Lsn,
    /// Most bytes of rows that are to go in one load, unless a unit is larger.
    pub(in crate::pipeline) bytes_max: u64,
    /// The budget's share of the rows, given back with the last part.
    pub(in crate::pipeline) permits: Arc<[Arc<Permit>]>,
}

/// What came since the last unit was closed.
#[derive(Debug, Default)]
pub(super) struct OpenUnit {
    pub(super) items: Rope<Item>,
    /// The slots of the items, perhaps of some that were void.
    slots: HashSet<u32, FixedState>,
    /// The slot that was noted last.
    last_slot: Option<u32>,
    /// The blocks the items came in: what of the budget they hold, and their bytes.
    pub(super) blocks: Vec<(Arc<Permit>, u64)>,
    pub(super) mark: Mark,
}

impl OpenUnit {
    /// Adds an entry.
    #[inline]
    pub(super) fn add(&mut self, item: Item) {
        self.note(item.slot);
        self.items.push(item);
    }

    /// Adds entries of one slot.
    pub(super) fn add_all(&mut self, slot: u32, items: impl Iterator<Item = Item>) {
        self.note(slot);
        self.items.extend(items);
    }

    #[inline]
    fn note(&mut self, slot: u32) {
        if self.last_slot != Some(slot) {
            self.last_slot = Some(slot);
            self.slots.insert(slot);
        }
    }

    /// The slots of the items, perhaps of some that were void.
    pub(super) fn slots(&self) -> impl Iterator<Item = u32> + '_ {
        self.slots.iter().copied()
    }

    /// Bytes of the blocks.
    pub(super) fn bytes(&self) -> u64 {
        self.blocks.iter().map(|(_, bytes)| bytes).sum()
    }

    /// Moves the mark over everything that is open, outside of a transaction. The position stays that of the last one.
    pub(super) fn mark_all(&mut self) {
        self.mark.items = self.items.len();
        self.mark.block = self.blocks.len().saturating_sub(1);
    }

    /// Row changes from an entry on.
    pub(super) fn changes_from(&self, first: usize) -> u64 {
        self.items.iter().skip(first).filter(|item| matches!(item.what, What::Change(_))).count() as u64
    }

    /// Takes out what lies before the mark; the rest stays open.
    pub(super) fn split(&mut self, mark: Mark) -> OpenUnit {
        let items = self.items.split_off(mark.items);
        let blocks = if items.is_empty() { Vec::new() } else { self.blocks[mark.block..].to_vec() };
        let mut rest = OpenUnit { blocks, ..OpenUnit::default() };
        items.iter().for_each(|item| rest.note(item.slot));
        rest.items = items;
        std::mem::replace(self, rest)
    }
}

/// The end of the last complete transaction in the open unit.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Mark {
    pub(super) items: usize,
    /// The block that the mark is in.
    pub(super) block: usize,
    pub(super) end: Option<End>,
    pub(super) commit_lsn: Lsn,
}

/// The entries by slot, each table's in order; versions of one table follow each other.
pub(super) fn by_slot(items: Rope<Item>) -> Vec<(u32, Rope<Item>)> {
    // Most units are of one table.
    let first = items.iter().next().map(|first| first.slot);
    if let Some(slot) = first
        && items.iter().all(|item| item.slot == slot)
    {
        return vec![(slot, items)];
    }
    let mut places: HashMap<u32, usize, FixedState> = HashMap::default();
    let mut parts: Vec<(u32, Rope<Item>)> = Vec::new();
    let mut last = (u32::MAX, 0);
    for item in items {
        if item.slot != last.0 {
            let place = *places.entry(item.slot).or_insert_with(|| {
                parts.push((item.slot, Rope::default()));
                parts.len() - 1
            });
            last = (item.slot, place);
        }
        parts[last.1].1.push(item);
    }
    parts.sort_unstable_by_key(|(slot, _)| *slot);
    parts
}
