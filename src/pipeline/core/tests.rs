//! The core under a clock that the test moves.

use super::*;
use crate::model::{Budget, RowBuilder, TableName, TableSchema, Value};

const MS: Duration = Duration::from_millis(1);

fn schema(id: u32) -> Event {
    let name = TableName { schema: "s".into(), name: format!("t{id}") };
    let target = name.name.clone();
    Event::Schema(Arc::new(TableSchema { id: TableId(id), name, target, columns: vec![], key: vec![], complete: true }))
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
        let (core, budget) = (Core::new(options, 1 << 20), Budget::new(1 << 20));
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
                Action::Tell(event) => panic!("nothing is copied: {event:?}"),
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
    assert_eq!(bench.core.replay(&mut Vec::new()), [TableId(1)]);
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
    assert_eq!(bench.core.replay(&mut Vec::new()), [TableId(1)]);
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
