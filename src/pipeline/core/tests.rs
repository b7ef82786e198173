//! The core under a clock that the test moves.

use super::*;
use crate::model::{Budget, Column, ColumnType, Row, RowBuilder, TableName, TableSchema, Value};
use crate::pipeline::Opened;
use crate::snapshot::{Phase, Verdict, Wanted, WindowId};

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
    told: Vec<CopyEvent>,
}

impl Bench {
    fn new(flush_rows: u64, flush_bytes: u64) -> Bench {
        let options = Options { flush_rows, flush_bytes, flush_interval: 1000 * MS };
        let (mut core, budget) = (Core::new(options, 1 << 20), Budget::new(1 << 20));
        // Most tests are about what waits, so no load may follow another at once unless the test says so.
        core.burst = 1;
        let (dispatched, durable, jobs) = (vec![], vec![], vec![]);
        let now = Instant::now();
        let mut bench = Bench { core, budget, now, dispatched, durable, jobs, told: vec![] };
        bench.block(1, vec![Event::Resumed { at: Lsn(1) }, schema(1), schema(2)]);
        assert_eq!(bench.durable, [1], "the start itself is durable");
        bench
    }

    fn note(&mut self, actions: Vec<Action>) {
        for action in actions {
            match action {
                Action::Durable(end) => self.durable.push(end.lsn.0),
                Action::Tell(event) => self.told.push(event),
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
    bench.block(10, vec![begin(20), insert(1), commit(20)]);
    bench.pass(3999 * MS);
    assert_eq!(bench.parts(), [(1, 1)]);
    bench.pass(MS);
    assert_eq!(bench.parts(), [(1, 1), (1, 1)]);
}

#[test]
fn a_few_changes_in_a_row_go_one_load_after_the_other() {
    let mut bench = Bench::new(1000, 1 << 20);
    bench.core.burst = 3;
    for lsn in [10, 20, 30, 40] {
        bench.block(10, vec![begin(lsn), insert(1), commit(lsn)]);
    }
    assert_eq!(bench.parts(), [(1, 1)], "the others gather while the first is under way");
    bench.finish(0);
    assert_eq!(bench.parts()[1..], [(1, 3)]);
    bench.finish(1);
    for (lsn, want) in [(50, 3), (60, 3)] {
        bench.block(10, vec![begin(lsn), insert(1), commit(lsn)]);
        assert_eq!(bench.parts().len(), want, "{lsn}");
    }
    bench.finish(2);
    bench.pass(999 * MS);
    assert_eq!(bench.parts().len(), 3, "they were the few");
    bench.pass(MS);
    assert_eq!(bench.parts()[3..], [(1, 1)]);
    bench.finish(3);
    bench.report(Report::SlowDown);
    bench.pass(60_000 * MS);
    for lsn in [70, 80] {
        bench.block(10, vec![begin(lsn), insert(1), commit(lsn)]);
        bench.finish(4);
    }
    bench.pass(1999 * MS);
    assert_eq!(bench.parts().len(), 5, "none while the sink is short of breath");
    bench.pass(MS);
    assert_eq!(bench.parts().len(), 6);
}

#[test]
fn a_table_waits_for_its_own_loads_alone() {
    let mut bench = Bench::new(1000, 1 << 20);
    bench.block(10, vec![begin(10), insert(1), commit(10)]);
    bench.block(10, vec![begin(20), insert(2), commit(20)]);
    assert_eq!(bench.parts(), [(1, 1), (2, 1)], "beside the other's, which is under way");
    bench.block(10, vec![begin(30), insert(2), commit(30)]);
    bench.finish(1);
    bench.pass(999 * MS);
    assert_eq!(bench.parts().len(), 2, "its own was just made");
    bench.block(10, vec![begin(40), insert(1), commit(40)]);
    bench.pass(MS);
    assert_eq!(bench.parts().len(), 2, "a unit has to wait for all of its tables");
    bench.finish(0);
    assert_eq!(bench.parts()[2..], [(1, 1), (2, 1)]);
    assert_eq!(bench.durable, [1, 21]);
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

/// A table of two columns, the key and another that may be left out.
fn copied_table(columns: &[&str]) -> Arc<TableSchema> {
    let column = |name: &&str| Column { name: (*name).into(), ty: ColumnType::Text, nullable: true };
    let name = TableName { schema: "s".into(), name: "t3".into() };
    Arc::new(TableSchema {
        id: TableId(3),
        target: name.name.clone(),
        name,
        columns: columns.iter().map(column).collect(),
        key: vec![0],
        complete: false,
    })
}

fn copied_row(key: &str, value: Option<&str>) -> Row {
    let mut row = RowBuilder::with_capacity(16);
    row.push(Value::Text(key.as_bytes()));
    row.push(value.map_or(Value::Unchanged, |value| Value::Text(value.as_bytes())));
    row.finish()
}

fn update(key: &str, value: Option<&str>) -> Event {
    Event::Change { table: TableId(3), change: Change::Update { old: None, new: copied_row(key, value) } }
}

impl Bench {
    /// A bench with a table that is being copied.
    fn copying(phase: Phase) -> Bench {
        let mut bench = Bench::new(1000, 1 << 20);
        bench.ask(|core, actions| core.begin_copy(TableId(3), phase, true, vec![], actions));
        bench.block(1, vec![Event::Schema(copied_table(&["id", "big"]))]);
        bench
    }

    fn ask<T>(&mut self, ask: impl FnOnce(&mut Core, &mut Vec<Action>) -> T) -> T {
        let mut actions = Vec::new();
        let answer = ask(&mut self.core, &mut actions);
        self.core.copies_go_on(self.now, &mut actions);
        self.core.tick(self.now, &mut actions);
        self.note(actions);
        answer
    }

    fn open(&mut self, window: u64, wanted: Wanted) -> Opened {
        let schema = copied_table(&["id", "big"]);
        self.ask(|core, actions| core.open_window(WindowId(window), &schema, Lsn::INVALID, wanted, actions))
    }

    /// A reader of everything, at a position.
    fn read(&mut self, window: u64, position: u64, rows: Vec<Row>) {
        let (sees, permit) = ("9000:9000:".parse().unwrap(), self.budget.try_take(10).unwrap());
        assert_eq!(self.ask(|core, _| core.check(WindowId(window), sees, Lsn(position))), Verdict::Go);
        self.ask(|core, _| core.piece(WindowId(window), rows, permit, 10));
        self.ask(|core, _| core.end_window(WindowId(window)));
    }

    fn told(&mut self) -> String {
        format!("{:?}", std::mem::take(&mut self.told))
    }
}

#[test]
fn rows_go_in_at_their_position_and_are_told_when_they_are_durable() {
    let mut bench = Bench::copying(Phase::Copying);
    assert_eq!(bench.open(1, Wanted::Blocks), Opened::Yes { keys: [].into() });
    bench.read(1, 21, vec![copied_row("a", Some("1")), copied_row("b", Some("1"))]);
    bench.block(10, vec![begin(10), update("a", Some("2")), commit(10)]);
    assert_eq!(bench.parts(), [(3, 1)], "the stream has not passed the position");
    bench.block(10, vec![Event::Idle { lsn: Lsn(21) }]);
    bench.pass(4000 * MS);
    assert_eq!(bench.parts(), [(3, 1), (3, 1)], "one row is stated by a change already");
    assert_eq!(bench.told(), "[]");
    bench.finish(0);
    assert_eq!(bench.durable, [1, 21], "no position waits for rows that were read");
    bench.finish(1);
    assert_eq!(bench.told(), "[Durable { window: WindowId(1), repaired: [] }]");
    assert_eq!(bench.budget.used(), 0);
}

#[test]
fn no_position_passes_a_change_that_left_values_out_before_its_key_is_stored() {
    let mut bench = Bench::copying(Phase::Copying);
    bench.block(10, vec![begin(10), update("a", None), update("a", None), insert(1), commit(10)]);
    assert_eq!(bench.parts(), [(1, 1)]);
    bench.finish(0);
    let Some(CopyEvent::Wanted { keys, token, .. }) = bench.told.pop() else { panic!("the key is to be stored") };
    assert_eq!((keys.len(), &bench.durable[..]), (1, &[1][..]));
    bench.ask(|core, _| core.stored(token));
    assert_eq!(bench.durable, [1, 11]);
    assert!(matches!(bench.open(1, Wanted::Keys(5)), Opened::Yes { keys } if keys.len() == 1));
    bench.read(1, 12, vec![copied_row("a", Some("1"))]);
    bench.ask(|core, actions| core.blocks_done(TableId(3), true, Instant::now(), actions));
    assert!(!bench.ask(|core, _| core.finish_copy(TableId(3))), "the row is not in yet");
    assert_eq!(bench.told(), "[BlocksDone { table: TableId(3) }]");
    bench.block(10, vec![Event::Idle { lsn: Lsn(12) }]);
    bench.pass(1000 * MS);
    bench.finish(1);
    assert!(bench.told().starts_with("[Durable { window: WindowId(1), repaired: [Row"));
    assert!(bench.ask(|core, _| core.finish_copy(TableId(3))));
    bench.block(10, vec![begin(20), update("a", None), commit(20)]);
    bench.pass(1000 * MS);
    assert!(bench.jobs[2].schema.complete, "from now on the row may be taken to be there");
}

#[test]
fn keys_that_were_wanted_before_are_told_before_blocks_are_done() {
    let mut bench = Bench::copying(Phase::Copying);
    bench.block(10, vec![begin(10), update("b", Some("1")), commit(10)]);
    bench.open(1, Wanted::Blocks);
    // The row moved out of the blocks that are read, into some that were read before: only its key tells of it.
    bench.block(10, vec![begin(20), update("a", None), commit(20)]);
    bench.read(1, 21, vec![]);
    assert_eq!(bench.told(), "[Durable { window: WindowId(1), repaired: [] }]", "it brings nothing to wait for");
    bench.ask(|core, actions| core.blocks_done(TableId(3), true, Instant::now(), actions));
    let told = std::mem::take(&mut bench.told);
    assert!(matches!(&told[..], [CopyEvent::Wanted { .. }, CopyEvent::BlocksDone { .. }]), "{told:?}");
}

#[test]
fn an_insert_that_leaves_values_out_wants_its_key_in_both_phases() {
    for phase in [Phase::Copying, Phase::Repairing] {
        let mut bench = Bench::copying(phase);
        let new = copied_row("a", None);
        bench.block(
            10,
            vec![begin(10), Event::Change { table: TableId(3), change: Change::Insert { new } }, commit(10)],
        );
        assert_eq!(bench.parts(), [], "{phase:?}");
        assert!(matches!(bench.told[..], [CopyEvent::Wanted { .. }]), "{phase:?}");
        assert!(matches!(bench.open(1, Wanted::Keys(5)), Opened::Yes { .. }), "{phase:?}");
    }
}

#[test]
fn what_is_removed_is_told_and_asked_for_again_after_a_loss() {
    let mut bench = Bench::copying(Phase::Repairing);
    let schema = copied_table(&["id", "big"]);
    bench.block(10, vec![begin(10), insert(1)]);
    bench.ask(|core, actions| core.remove(schema.clone(), What::Sweep(Lsn(5)), actions));
    assert!(bench.core.open.items.len() == 1, "not inside a transaction, which may turn out void");
    bench.block(10, vec![commit(10)]);
    assert_eq!(bench.parts(), [(1, 1), (3, 1)]);
    bench.lose(1);
    assert_eq!(bench.told(), "[NotRemoved { table: TableId(3) }]");
    bench.ask(|core, actions| core.remove(schema.clone(), What::Empty, actions));
    assert_eq!(bench.told(), "[NotRemoved { table: TableId(3) }]", "nothing is begun while the table is blocked");
    assert_eq!(bench.open(1, Wanted::Blocks), Opened::NotNow);
    bench.finish(0);
    bench.report(Report::Cured { table: TableId(3) });
    bench.ask(|core, actions| core.replay(actions));
    bench.block(10, vec![Event::Resumed { at: Lsn(1) }, begin(10), insert(1), commit(10)]);
    bench.ask(|core, actions| core.remove(schema, What::Empty, actions));
    bench.pass(1000 * MS);
    bench.finish(2);
    assert_eq!(bench.told(), "[Removed { table: TableId(3) }]");
}

#[test]
fn other_columns_drop_the_windows_and_another_key_the_wanted_keys_too() {
    for (columns, key) in [(["id", "large"], false), (["number", "big"], true)] {
        let mut bench = Bench::copying(Phase::Copying);
        bench.block(10, vec![begin(10), update("a", None), commit(10)]);
        bench.told();
        bench.open(1, Wanted::Blocks);
        bench.block(10, vec![Event::Schema(copied_table(&columns))]);
        let told = bench.told();
        assert!(told.starts_with("[Dropped { window: WindowId(1), why: Columns }, Columns {"), "{told}");
        assert!(told.ends_with(&format!("key: {key} }}]")), "{told}");
        assert!(matches!(bench.open(2, Wanted::Blocks), Opened::Columns(known) if known.columns[0].name == columns[0]));
        // Looked up after everything that was told: these are the newer ones.
        bench.block(10, vec![Event::Idle { lsn: Lsn(50) }]);
        let schema = copied_table(&["id", "big"]);
        let opened =
            bench.ask(|core, actions| core.open_window(WindowId(3), &schema, Lsn(40), Wanted::Blocks, actions));
        assert_eq!(opened, Opened::Yes { keys: [].into() });
    }
}

#[test]
fn rows_that_wait_are_let_go_when_the_stream_cannot_reach_their_position() {
    let mut bench = Bench::copying(Phase::Copying);
    bench.open(1, Wanted::Blocks);
    bench.read(1, 500, vec![copied_row("a", Some("1"))]);
    assert!(bench.core.can_relieve());
    bench.ask(|core, actions| core.relieve(Instant::now(), actions));
    assert_eq!(bench.told(), "[Dropped { window: WindowId(1), why: Memory }]");
    assert_eq!(bench.budget.used(), 0);
    assert!(!bench.core.can_relieve());
}

#[test]
fn a_copy_that_is_given_up_still_repairs_what_it_left_out_of_date() {
    let mut bench = Bench::copying(Phase::Copying);
    bench.block(10, vec![begin(10), update("a", None), commit(10)]);
    bench.open(1, Wanted::Blocks);
    bench.told();
    bench.ask(|core, actions| core.blocks_done(TableId(3), false, Instant::now(), actions));
    let want = "[Dropped { window: WindowId(1), why: Cancelled }, BlocksDone { table: TableId(3) }]";
    assert_eq!(bench.told(), want);
    assert_eq!(bench.open(2, Wanted::Blocks), Opened::NothingWanted, "one that was asked for too late");
    bench.block(10, vec![begin(20), update("a", None), update("b", None), commit(20)]);
    bench.pass(1000 * MS);
    assert_eq!(bench.parts(), [(3, 1)], "the row that is out of date is not changed in part");
    assert!(!bench.jobs[0].schema.complete, "the other may be missing");
    assert!(!bench.ask(|core, _| core.finish_copy(TableId(3))));
    assert!(matches!(bench.open(3, Wanted::Keys(5)), Opened::Yes { keys } if keys.len() == 1));
    bench.read(3, 21, vec![]);
    bench.finish(0);
    assert!(bench.ask(|core, _| core.finish_copy(TableId(3))), "the row is gone");
}
