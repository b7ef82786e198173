//! What of a table is read next: its storages cut into spans of blocks of a size that fits.

use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

use crate::checkpoint::{CopiedRange, PlannedStorage};

/// Blocks `first..end` of one storage in one of its incarnations.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Span {
    /// The storage's id.
    pub storage: u32,
    /// Its incarnation.
    pub incarnation: u32,
    /// The first block.
    pub first: u32,
    /// The block after the last.
    pub end: u32,
}

impl Span {
    /// How many blocks it has.
    pub fn blocks(&self) -> u32 {
        self.end - self.first
    }
}

/// What one span should come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Aim {
    /// Bytes of rows.
    pub bytes: u64,
    /// Time to read them.
    pub time: Duration,
}

/// What reading a span has shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Found {
    /// Rows in it.
    pub rows: u64,
    /// Bytes of these rows.
    pub bytes: u64,
    /// How long reading took.
    pub took: Duration,
}

/// How far a table's copy is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Extent {
    /// Rows copied.
    pub rows: u64,
    /// Bytes of rows copied.
    pub bytes: u64,
    /// Spans copied.
    pub chunks_done: u64,
    /// Spans in all, as far as that can be said: the rest is cut when it is read.
    pub chunks_total: u64,
    /// Blocks copied.
    pub blocks_done: u64,
    /// Blocks in all.
    pub blocks_total: u64,
}

/// A step grows at most to this many times the one before: what one span shows need not hold for the next.
const GROWTH_MAX: u32 = 2;
/// Blocks in one span at most, also where they are all but empty: 512 MiB.
const STEP_MAX: u32 = 1 << 16;
/// Bytes in a block, as far as nothing better is known.
const BLOCK_BYTES: u64 = 8192;

/// What of one table is read, being read and still to be read. No clock, no I/O.
///
/// Always: a block of a storage's incarnation is in exactly one of copied, handed out and left.
#[derive(Clone, Debug)]
pub struct TablePlan {
    storages: Vec<PlannedStorage>,
    copied: Vec<CopiedRange>,
    out: BTreeSet<Span>,
    /// What is left, the next one last.
    left: Vec<Span>,
    aim: Aim,
    /// Blocks in the next span.
    step: u32,
}

impl TablePlan {
    /// A plan for these storages of which these ranges are copied. Ranges of other incarnations do not count.
    pub fn new(storages: Vec<PlannedStorage>, copied: Vec<CopiedRange>, aim: Aim) -> Self {
        let step = first_step(&storages, aim);
        let known = |range: &CopiedRange| storages.iter().any(|storage| is_of(range, storage));
        let copied: Vec<CopiedRange> = copied.into_iter().filter(known).collect();
        let mut left: Vec<Span> = storages.iter().flat_map(|storage| gaps(storage, &copied)).collect();
        left.reverse();
        TablePlan { storages, copied, out: BTreeSet::new(), left, aim, step }
    }

    /// The storages it is for.
    pub fn storages(&self) -> &[PlannedStorage] {
        &self.storages
    }

    /// What is copied.
    pub fn copied(&self) -> &[CopiedRange] {
        &self.copied
    }

    /// Hands out what to read next; `None` if nothing is left to hand out.
    pub fn next_span(&mut self) -> Option<Span> {
        let left = self.left.pop()?;
        let end = left.end.min(left.first.saturating_add(self.step));
        if end < left.end {
            self.left.push(Span { first: end, ..left });
        }
        let span = Span { end, ..left };
        self.out.insert(span);
        Some(span)
    }

    /// A span that was handed out is copied for good: what to store. `None` if the plan has no such span any more.
    pub fn done(&mut self, span: Span, found: Found) -> Option<CopiedRange> {
        if !self.out.remove(&span) {
            return None;
        }
        self.step = self.fitting(span, found);
        let Span { storage, incarnation, first, end } = span;
        let range = CopiedRange { storage, incarnation, first, end, rows: found.rows, bytes: found.bytes };
        self.copied.push(range);
        Some(range)
    }

    /// A span that was handed out is to be read again; in smaller parts if it was too much.
    pub fn redo(&mut self, span: Span, smaller: bool) {
        if !self.out.remove(&span) {
            return;
        }
        self.left.push(span);
        if smaller {
            self.step = (span.blocks() / 2).clamp(1, self.step.max(1));
        }
    }

    /// Blocks mean something else now: everything in storages that changed is left again, what is copied of others
    /// stays. True if anything changed.
    pub fn survey(&mut self, storages: Vec<PlannedStorage>) -> bool {
        let same = |a: &PlannedStorage, b: &PlannedStorage| (a.id, a.incarnation) == (b.id, b.incarnation);
        let is_same = storages.len() == self.storages.len()
            && storages.iter().all(|now| self.storages.iter().any(|before| same(now, before)));
        if is_same {
            return false;
        }
        // Blocks that came to a storage we know were written later and are told as changes; its plan stays as it is.
        let keep = |storage: PlannedStorage| {
            self.storages.iter().find(|before| same(before, &storage)).copied().unwrap_or(storage)
        };
        let out = std::mem::take(&mut self.out);
        let storages: Vec<PlannedStorage> = storages.into_iter().map(keep).collect();
        let step = self.step;
        *self = TablePlan::new(storages, std::mem::take(&mut self.copied), self.aim);
        self.step = step;
        // What is being read of storages that stayed is still being read.
        for span in out {
            self.take_out(span);
        }
        true
    }

    /// Everything is left again, in these storages. True: that is a change.
    pub fn restart(&mut self, storages: Vec<PlannedStorage>) -> bool {
        *self = TablePlan::new(storages, Vec::new(), self.aim);
        true
    }

    /// Whether something can be handed out.
    pub fn has_left(&self) -> bool {
        !self.left.is_empty()
    }

    /// Whether everything is copied.
    pub fn is_done(&self) -> bool {
        self.left.is_empty() && self.out.is_empty()
    }

    /// Bytes still to be read, as estimated; what is being read counts as read.
    pub fn bytes_left(&self) -> u64 {
        self.left.iter().map(|span| u64::from(span.blocks()) * self.block_bytes(span)).sum()
    }

    /// How far it is.
    pub fn extent(&self) -> Extent {
        let left: u64 = self.left.iter().map(|span| u64::from(span.blocks().div_ceil(self.step))).sum();
        let chunks_done = self.copied.len() as u64;
        Extent {
            rows: self.copied.iter().map(|range| range.rows).sum(),
            bytes: self.copied.iter().map(|range| range.bytes).sum(),
            chunks_done,
            chunks_total: chunks_done + self.out.len() as u64 + left,
            blocks_done: self.copied.iter().map(|range| u64::from(range.end - range.first)).sum(),
            blocks_total: self.storages.iter().map(|storage| u64::from(storage.blocks)).sum(),
        }
    }

    fn block_bytes(&self, span: &Span) -> u64 {
        let storage = self.storages.iter().find(|storage| storage.id == span.storage);
        storage.map_or(BLOCK_BYTES, |storage| storage.bytes / u64::from(storage.blocks.max(1)))
    }

    /// The step that would have come to the aim.
    fn fitting(&self, span: Span, found: Found) -> u32 {
        let blocks = u64::from(span.blocks());
        let by_bytes = blocks * self.aim.bytes / found.bytes.max(1);
        let by_time = u128::from(blocks) * self.aim.time.as_micros() / found.took.as_micros().max(1);
        let fits = by_bytes.min(u64::try_from(by_time).unwrap_or(u64::MAX));
        // A span that was cut short by its storage's end says nothing against the step in force.
        let most = self.step.max(span.blocks()).saturating_mul(GROWTH_MAX).min(STEP_MAX);
        u32::try_from(fits).unwrap_or(u32::MAX).clamp(1, most)
    }

    /// Moves what is left of a span from `left` to `out`.
    fn take_out(&mut self, span: Span) {
        let Some(at) = self.left.iter().position(|left| {
            (left.storage, left.incarnation) == (span.storage, span.incarnation)
                && left.first <= span.first
                && span.end <= left.end
        }) else {
            return;
        };
        let left = self.left.remove(at);
        for rest in [Span { first: span.end, ..left }, Span { end: span.first, ..left }] {
            if rest.first < rest.end {
                self.left.insert(at, rest);
            }
        }
        self.out.insert(span);
    }
}

fn is_of(range: &CopiedRange, storage: &PlannedStorage) -> bool {
    (range.storage, range.incarnation) == (storage.id, storage.incarnation)
}

/// The blocks of a storage that are in no range.
fn gaps(storage: &PlannedStorage, copied: &[CopiedRange]) -> Vec<Span> {
    let mut ranges: Vec<(u32, u32)> =
        copied.iter().filter(|range| is_of(range, storage)).map(|range| (range.first, range.end)).collect();
    ranges.sort_unstable();
    let span = |first, end| Span { storage: storage.id, incarnation: storage.incarnation, first, end };
    let mut gaps = Vec::new();
    let mut at = 0;
    for (first, end) in ranges {
        if at < first.min(storage.blocks) {
            gaps.push(span(at, first.min(storage.blocks)));
        }
        at = at.max(end);
    }
    if at < storage.blocks {
        gaps.push(span(at, storage.blocks));
    }
    gaps
}

/// The first step rests on what the storages hold, out-of-line values included; half of it, as no time is known yet.
fn first_step(storages: &[PlannedStorage], aim: Aim) -> u32 {
    let blocks: u64 = storages.iter().map(|storage| u64::from(storage.blocks)).sum();
    let bytes: u64 = storages.iter().map(|storage| storage.bytes).sum();
    let per_block = (bytes / blocks.max(1)).max(BLOCK_BYTES / 2);
    u32::try_from(aim.bytes / per_block / 2).unwrap_or(STEP_MAX).clamp(1, STEP_MAX)
}

/// What is said of a table when it is decided whose span is read next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Claim {
    /// Spans being read, or read and not yet durable.
    pub out: usize,
    /// Bytes left.
    pub bytes_left: u64,
}

/// Whose turn it is: the table with the fewest spans under way, and of those the one with the least left.
///
/// Spread over tables, because each table's loads follow one another while those of different tables run side by
/// side; the small ones first, because a table that is done needs no recording of its changes any more.
pub fn turn<T: Copy + Ord>(claims: impl IntoIterator<Item = (T, Claim)>) -> Option<T> {
    claims.into_iter().min_by_key(|(table, claim)| (claim.out, claim.bytes_left, *table)).map(|(table, _)| table)
}

/// Bytes per second over the last while, from totals told now and then.
#[derive(Clone, Debug, Default)]
pub struct Pace {
    /// When (since any beginning) and what the totals were, the oldest first.
    marks: VecDeque<(Duration, u64)>,
}

/// How far back a pace looks.
const PACE_SPAN: Duration = Duration::from_secs(10);

impl Pace {
    /// Takes note of a total.
    pub fn note(&mut self, now: Duration, total: u64) {
        // A copy that starts anew counts from nothing again.
        self.marks.retain(|(_, before)| *before <= total);
        while self.marks.len() > 1 && self.marks.get(1).is_some_and(|(at, _)| now.saturating_sub(*at) >= PACE_SPAN) {
            self.marks.pop_front();
        }
        self.marks.push_back((now, total));
    }

    /// What was added per second; zero if that cannot be said.
    pub fn per_second(&self) -> f64 {
        match (self.marks.front(), self.marks.back()) {
            (Some((from, before)), Some((to, total))) if to > from => {
                (total - before) as f64 / (*to - *from).as_secs_f64()
            }
            _ => 0.0,
        }
    }
}

/// Seconds left at a pace in blocks per second; `None` if nothing can be said.
pub fn time_left(extent: &Extent, blocks_per_second: f64) -> Option<Duration> {
    let left = extent.blocks_total.saturating_sub(extent.blocks_done);
    if left == 0 {
        return Some(Duration::ZERO);
    }
    // Beyond a year a guess is of no use.
    let seconds = left as f64 / blocks_per_second;
    (blocks_per_second > 0.0 && seconds < 3.2e7).then(|| Duration::from_secs_f64(seconds))
}

/// The order in which a table's repair rounds and spans take turns: a round is due when nothing else is left, or when
/// so many keys wait that memory and the store should not hold more.
pub fn repairs_due(waiting: usize, plan: &TablePlan, keys_max: usize) -> bool {
    waiting > 0 && (waiting >= keys_max || plan.is_done())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const AIM: Aim = Aim { bytes: 8 << 20, time: Duration::from_secs(1) };

    fn storage(id: u32, incarnation: u32, blocks: u32) -> PlannedStorage {
        PlannedStorage { id, incarnation, blocks, bytes: u64::from(blocks) * 8192, rows_estimate: 0 }
    }

    fn copied(storage: u32, incarnation: u32, first: u32, end: u32) -> CopiedRange {
        CopiedRange { storage, incarnation, first, end, rows: 1, bytes: 1 }
    }

    fn found(bytes: u64, millis: u64) -> Found {
        Found { rows: 1, bytes, took: Duration::from_millis(millis) }
    }

    #[test]
    fn a_resumed_copy_reads_the_gaps() {
        let cases: [(&str, Vec<CopiedRange>, Vec<(u32, u32)>); 6] = [
            ("nothing yet", vec![], vec![(0, 100)]),
            ("a part in the middle", vec![copied(1, 7, 20, 30)], vec![(0, 20), (30, 100)]),
            ("out of order", vec![copied(1, 7, 60, 100), copied(1, 7, 0, 10)], vec![(10, 60)]),
            ("another incarnation", vec![copied(1, 6, 0, 100)], vec![(0, 100)]),
            ("beyond the plan", vec![copied(1, 7, 90, 200)], vec![(0, 90)]),
            ("everything", vec![copied(1, 7, 0, 50), copied(1, 7, 50, 100)], vec![]),
        ];
        for (name, ranges, want) in cases {
            let mut plan = TablePlan::new(vec![storage(1, 7, 100)], ranges, AIM);
            plan.step = 1000;
            let spans: Vec<_> = std::iter::from_fn(|| plan.next_span()).map(|span| (span.first, span.end)).collect();
            assert_eq!(spans, want, "{name}");
        }
    }

    #[test]
    fn the_step_follows_what_spans_come_to() {
        // step before, bytes and milliseconds that a full span took, step after, why
        let cases = [
            (100, 8 << 20, 100, 100, "as aimed at"),
            (100, 32 << 20, 100, 25, "too many bytes"),
            (100, 1 << 20, 100, 200, "few bytes, but it only doubles"),
            (100, 1 << 20, 4000, 25, "few bytes that took long"),
            (100, 0, 0, 200, "empty blocks"),
            (1, 80 << 20, 9000, 1, "a block is read whole whatever it holds"),
            (STEP_MAX, 0, 0, STEP_MAX, "bounded"),
        ];
        for (step, bytes, millis, want, why) in cases {
            let mut plan = TablePlan::new(vec![storage(1, 1, STEP_MAX * 2)], vec![], AIM);
            plan.step = step;
            let span = plan.next_span().unwrap();
            assert_eq!(span.blocks(), step);
            plan.done(span, found(bytes, millis)).unwrap();
            assert_eq!(plan.step, want, "{why}");
        }
    }

    #[test]
    fn what_was_too_much_is_read_again_in_halves_and_then_the_step_grows_back() {
        let mut plan = TablePlan::new(vec![storage(1, 1, 64)], vec![], AIM);
        plan.step = 16;
        let first = plan.next_span().unwrap();
        plan.redo(first, true);
        let again = plan.next_span().unwrap();
        assert_eq!((again.first, again.end), (0, 8));
        plan.redo(again, false);
        assert_eq!(plan.next_span(), Some(again));
        plan.done(again, found(1, 1)).unwrap();
        assert_eq!(plan.next_span().unwrap().blocks(), 8, "the rest of the first span");
        assert_eq!(plan.next_span().unwrap().blocks(), 16);
    }

    #[test]
    fn a_rewrite_begins_that_storage_anew_and_leaves_others() {
        let mut plan = TablePlan::new(vec![storage(1, 1, 10), storage(2, 1, 10)], vec![], AIM);
        plan.step = 5;
        let done = plan.next_span().unwrap();
        plan.done(done, found(8 << 20, 1)).unwrap();
        let out_1 = plan.next_span().unwrap();
        let out_2 = plan.next_span().unwrap();
        assert_eq!((out_1.storage, out_2.storage), (1, 2));
        assert!(!plan.survey(vec![storage(1, 1, 12), storage(2, 1, 10)]), "it only grew");
        assert!(plan.survey(vec![storage(1, 9, 4), storage(2, 1, 30), storage(3, 1, 1)]));
        assert_eq!(plan.done(out_1, found(1, 1)), None, "its blocks mean nothing any more");
        assert!(plan.done(out_2, found(1, 1)).is_some());
        assert_eq!(plan.copied().len(), 1);
        let mut spans: Vec<_> = std::iter::from_fn(|| plan.next_span()).collect();
        spans.sort_unstable();
        let spans: Vec<_> = spans.iter().map(|s| (s.storage, s.incarnation, s.first, s.end)).collect();
        assert_eq!(spans, [(1, 9, 0, 4), (2, 1, 5, 10), (3, 1, 0, 1)]);
    }

    #[test]
    fn turns_are_spread_and_the_small_ones_come_first() {
        let claim = |out, bytes_left| Claim { out, bytes_left };
        let cases = [
            (vec![], None),
            (vec![(1, claim(0, 50)), (2, claim(0, 10))], Some(2)),
            (vec![(1, claim(0, 50)), (2, claim(1, 10))], Some(1)),
            (vec![(2, claim(1, 10)), (1, claim(1, 10))], Some(1)),
        ];
        for (claims, want) in cases {
            assert_eq!(turn(claims.clone()), want, "{claims:?}");
        }
    }

    #[test]
    fn repairs_take_their_turn() {
        let done = TablePlan::new(vec![], vec![], AIM);
        let busy = TablePlan::new(vec![storage(1, 1, 10)], vec![], AIM);
        for (waiting, plan, want) in
            [(0, &done, false), (1, &done, true), (0, &busy, false), (9, &busy, false), (10, &busy, true)]
        {
            assert_eq!(repairs_due(waiting, plan, 10), want, "{waiting} keys");
        }
    }

    #[test]
    fn the_pace_is_that_of_the_last_while() {
        let mut pace = Pace::default();
        assert_eq!(pace.per_second(), 0.0);
        (0..=30).for_each(|second| pace.note(Duration::from_secs(second), second.min(20) * 100));
        assert_eq!(pace.per_second(), 0.0, "nothing came for ten seconds");
        pace.note(Duration::from_secs(31), 5000);
        assert!((290.0..310.0).contains(&pace.per_second()), "{}", pace.per_second());
        pace.note(Duration::from_secs(32), 7);
        assert_eq!(pace.per_second(), 0.0, "it began anew");
        let extent = |done| Extent { blocks_done: done, blocks_total: 100, ..Extent::default() };
        assert_eq!(time_left(&extent(50), 10.0), Some(Duration::from_secs(5)));
        assert_eq!((time_left(&extent(50), 0.0), time_left(&extent(100), 0.0)), (None, Some(Duration::ZERO)));
    }

    #[derive(Clone, Debug)]
    enum Step {
        Take,
        Done(usize, u64, u64),
        Redo(usize, bool),
        Rewrite(usize),
        Restart,
        Resume,
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let step = prop_oneof![
            6 => Just(Step::Take),
            4 => (any::<usize>(), 0..64_u64 << 20, 0..5000_u64).prop_map(|(n, b, t)| Step::Done(n, b, t)),
            2 => (any::<usize>(), any::<bool>()).prop_map(|(n, smaller)| Step::Redo(n, smaller)),
            1 => any::<usize>().prop_map(Step::Rewrite),
            1 => Just(Step::Restart),
            1 => Just(Step::Resume),
        ];
        prop::collection::vec(step, 0..200)
    }

    proptest! {
        /// Whatever the order of results, at the end each block of each incarnation was copied exactly once.
        #[test]
        fn every_block_is_copied_once(sizes in prop::collection::vec(0..3000_u32, 1..4), steps in steps()) {
            let mut now: Vec<PlannedStorage> =
                sizes.iter().zip(1..).map(|(blocks, id)| storage(id, 1, *blocks)).collect();
            let mut plan = TablePlan::new(now.clone(), vec![], AIM);
            let mut out: Vec<Span> = Vec::new();
            for step in steps {
                match step {
                    Step::Take => out.extend(plan.next_span()),
                    Step::Done(at, bytes, took) if !out.is_empty() => {
                        let span = out.swap_remove(at % out.len());
                        plan.done(span, found(bytes, took));
                    }
                    Step::Redo(at, smaller) if !out.is_empty() => {
                        let span = out.swap_remove(at % out.len());
                        plan.redo(span, smaller);
                    }
                    Step::Rewrite(at) => {
                        let at = at % now.len();
                        now[at].incarnation += 1;
                        prop_assert!(plan.survey(now.clone()));
                    }
                    Step::Restart => _ = plan.restart(now.clone()),
                    Step::Resume => {
                        plan = TablePlan::new(now.clone(), plan.copied().to_vec(), AIM);
                        out.clear();
                    }
                    Step::Done(..) | Step::Redo(..) => {}
                }
            }
            for span in out {
                plan.done(span, found(1, 1));
            }
            while let Some(span) = plan.next_span() {
                prop_assert!(span.first < span.end);
                plan.done(span, found(1, 1)).unwrap();
            }
            prop_assert!(plan.is_done());
            let extent = plan.extent();
            prop_assert_eq!(extent.chunks_done, extent.chunks_total);
            prop_assert_eq!(extent.blocks_done, extent.blocks_total);
            for storage in &now {
                let mut ranges: Vec<_> =
                    plan.copied().iter().filter(|range| is_of(range, storage)).map(|r| (r.first, r.end)).collect();
                ranges.sort_unstable();
                let end = ranges.iter().try_fold(0, |at, (first, end)| (at == *first).then_some(*end));
                prop_assert_eq!(end, Some(storage.blocks));
            }
        }
    }
}
