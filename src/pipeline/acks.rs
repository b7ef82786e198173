//! Which position is durable, while flush units finish in any order.

use std::collections::VecDeque;

use foldhash::fast::FixedState;
use hashbrown::HashMap;

use super::StoreToken;
use crate::model::{Lsn, TableId};

/// A flush unit's number, in the order units were closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct UnitId(pub(super) u64);

/// The end of a unit that ends with a complete transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct End {
    /// Where the last transaction's commit record ends, or an idle position.
    pub(super) lsn: Lsn,
    /// When it committed, microseconds since 1970; 0 for an idle position.
    pub(super) commit_micros: i64,
    /// Whether rows lie before it (false: only an idle position moved).
    pub(super) rows: bool,
}

/// A part of a unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// A table's rows, with its lane.
    Table(TableId),
    /// Keys that are being stored.
    Store(StoreToken),
}

#[derive(Debug)]
struct Unit {
    id: UnitId,
    /// Parts that are under way.
    open: Vec<Part>,
    /// A part was let go: its table is blocked, and its rows must be told again.
    lost: bool,
    /// `None`: the unit holds no end of a transaction and moves no position.
    end: Option<End>,
}

/// The open units in order. The durable position is the end of the last unit that is finished together with all
/// units before it. No position passes a unit with a lost part until [`AckTracker::void`].
#[derive(Debug, Default)]
pub(super) struct AckTracker {
    units: VecDeque<Unit>,
    next: u64,
    /// How many parts of each table are under way.
    busy: HashMap<TableId, usize, FixedState>,
}

impl AckTracker {
    /// Adds a unit with these parts (a table may occur more than once).
    pub(super) fn open(&mut self, parts: Vec<Part>, end: Option<End>) -> UnitId {
        let id = UnitId(self.next);
        self.next += 1;
        for part in &parts {
            if let Part::Table(table) = part {
                *self.busy.entry(*table).or_default() += 1;
            }
        }
        self.units.push_back(Unit { id, open: parts, lost: false, end });
        id
    }

    /// Notes that nothing but this position came after the last unit.
    pub(super) fn idle(&mut self, lsn: Lsn) {
        let end = End { lsn, commit_micros: 0, rows: false };
        match self.units.back_mut() {
            Some(Unit { open, lost: false, end: Some(last), .. }) if open.is_empty() && !last.rows => *last = end,
            _ => {
                self.open(Vec::new(), Some(end));
            }
        }
    }

    /// Notes the end of a transaction whose rows went before, with units that are open already or durable.
    pub(super) fn passed(&mut self, end: End) {
        match self.units.back_mut() {
            Some(Unit { open, lost: false, end: Some(last), .. }) if open.is_empty() => {
                let commit_micros = end.commit_micros.max(last.commit_micros);
                *last = End { commit_micros, ..end };
            }
            _ => {
                self.open(Vec::new(), Some(end));
            }
        }
    }

    /// One part of a unit is durable. A unit that is unknown (it was voided) is ignored.
    pub(super) fn done(&mut self, id: UnitId, table: TableId) {
        self.close_part(id, table);
    }

    /// Keys are stored.
    pub(super) fn stored(&mut self, token: StoreToken) {
        for unit in &mut self.units {
            unit.open.retain(|part| *part != Part::Store(token));
        }
    }

    /// Whether a part of a table is still open, in this unit or one before it.
    pub(super) fn is_open(&self, through: UnitId, table: TableId) -> bool {
        let units = self.units.iter().take_while(|unit| unit.id <= through);
        units.flat_map(|unit| &unit.open).any(|part| *part == Part::Table(table))
    }

    /// One part of a unit was let go and must be told again.
    pub(super) fn lost(&mut self, id: UnitId, table: TableId) {
        if let Some(unit) = self.close_part(id, table) {
            unit.lost = true;
        }
    }

    fn close_part(&mut self, id: UnitId, table: TableId) -> Option<&mut Unit> {
        let at = self.units.binary_search_by_key(&id, |unit| unit.id).ok()?;
        let unit = &mut self.units[at];
        let part = unit.open.iter().position(|open| *open == Part::Table(table))?;
        unit.open.swap_remove(part);
        if let Some(parts) = self.busy.get_mut(&table) {
            *parts -= 1;
            if *parts == 0 {
                self.busy.remove(&table);
            }
        }
        Some(unit)
    }

    /// Takes the finished units off the front; the last end among them, with `rows` true if any had rows.
    pub(super) fn advance(&mut self) -> Option<End> {
        let mut reached: Option<End> = None;
        while self.units.front().is_some_and(|unit| unit.open.is_empty() && !unit.lost) {
            let end = self.units.pop_front().and_then(|unit| unit.end);
            reached = match (reached, end) {
                (Some(before), Some(end)) => Some(End {
                    lsn: end.lsn,
                    commit_micros: before.commit_micros.max(end.commit_micros),
                    rows: before.rows || end.rows,
                }),
                (before, end) => end.or(before),
            };
        }
        self.forget_behind_loss();
        reached
    }

    /// Behind a lost part no position moves, so finished units there need not be kept, however long it takes.
    fn forget_behind_loss(&mut self) {
        if let Some(first) = self.units.iter().find(|unit| unit.lost).map(|unit| unit.id) {
            self.units.retain(|unit| unit.id <= first || !unit.open.is_empty());
        }
    }

    /// Whether a part was let go and is still to be told again.
    pub(super) fn has_lost(&self) -> bool {
        self.units.iter().any(|unit| unit.lost)
    }

    /// Whether any table's part is under way.
    pub(super) fn is_busy(&self) -> bool {
        !self.busy.is_empty()
    }

    /// Whether a part of this table is under way.
    pub(super) fn is_busy_with(&self, table: TableId) -> bool {
        self.busy.contains_key(&table)
    }

    /// Whether nothing at all is under way.
    pub(super) fn is_settled(&self) -> bool {
        self.units.iter().all(|unit| unit.open.is_empty())
    }

    /// Forgets all units: their rows will be told again.
    pub(super) fn void(&mut self) {
        self.units.clear();
        self.busy.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const A: TableId = TableId(1);
    const B: TableId = TableId(2);
    const TA: Part = Part::Table(A);
    const TB: Part = Part::Table(B);

    fn end(lsn: u64) -> Option<End> {
        Some(End { lsn: Lsn(lsn), commit_micros: lsn as i64, rows: true })
    }

    #[test]
    fn an_idle_position_waits_for_what_is_open_before_it() {
        let mut acks = AckTracker::default();
        let unit = acks.open(vec![TA], end(10));
        acks.idle(Lsn(20));
        acks.idle(Lsn(30));
        assert_eq!(acks.advance(), None);
        acks.done(unit, A);
        assert_eq!(acks.advance(), Some(End { lsn: Lsn(30), commit_micros: 10, rows: true }));
        assert!(!acks.is_busy());
    }

    #[test]
    fn a_cut_unit_moves_no_position_and_a_table_twice_counts_twice() {
        let mut acks = AckTracker::default();
        let cut = acks.open(vec![TA, TA, TB], None);
        let rest = acks.open(vec![TA], end(10));
        acks.done(rest, A);
        acks.done(cut, A);
        acks.done(cut, B);
        assert_eq!(acks.advance(), None);
        assert!(acks.is_busy());
        acks.done(cut, A);
        assert_eq!(acks.advance().map(|end| end.lsn), Some(Lsn(10)));
    }

    #[test]
    fn no_position_passes_keys_that_are_not_stored() {
        let mut acks = AckTracker::default();
        let keys = StoreToken(7);
        let unit = acks.open(vec![TA, Part::Store(keys)], end(10));
        acks.done(unit, A);
        assert_eq!(acks.advance(), None);
        assert!(!acks.is_busy() && !acks.is_settled(), "no lane is at work, and yet it is not over");
        acks.stored(keys);
        assert_eq!(acks.advance().map(|end| end.lsn), Some(Lsn(10)));
        assert!(acks.is_settled());
    }

    #[test]
    fn nothing_passes_a_lost_part_until_all_is_told_again() {
        let mut acks = AckTracker::default();
        let first = acks.open(vec![TA, TB], end(10));
        acks.lost(first, B);
        acks.done(first, A);
        for number in 2..1000 {
            let unit = acks.open(vec![TA], end(number * 10));
            acks.done(unit, A);
            assert_eq!(acks.advance(), None);
        }
        assert!(acks.units.len() < 3, "units behind the loss are not kept");
        acks.void();
        let again = acks.open(vec![TB], end(10));
        acks.done(again, B);
        assert_eq!(acks.advance().map(|end| end.lsn), Some(Lsn(10)));
    }

    proptest! {
        /// Against the plain definition: the end of the longest prefix of units whose parts are all done.
        #[test]
        fn agrees_with_the_plain_definition(
            sizes in prop::collection::vec((0_usize..4, any::<bool>()), 1..20),
            order in prop::collection::vec(any::<prop::sample::Index>(), 0..60),
        ) {
            let mut acks = AckTracker::default();
            let mut left = Vec::new();
            for (number, (parts, cut)) in sizes.iter().enumerate() {
                let end = if *cut { None } else { end(number as u64 + 1) };
                let id = acks.open(vec![TA; *parts], end);
                left.push((id, *parts, end));
            }
            let mut reached = Lsn::INVALID;
            for pick in order {
                let at = pick.index(left.len());
                acks.done(left[at].0, A);
                left[at].1 = left[at].1.saturating_sub(1);
                if let Some(end) = acks.advance() {
                    prop_assert!(end.lsn > reached);
                    reached = end.lsn;
                }
                let plain = left.iter().take_while(|unit| unit.1 == 0).filter_map(|unit| unit.2).last();
                if let Some(plain) = plain {
                    prop_assert_eq!(reached, plain.lsn);
                }
            }
        }
    }
}
