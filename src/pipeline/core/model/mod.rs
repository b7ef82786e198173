//! The copy of existing rows against a small model of everything around it, under thousands of random schedules.
//!
//! Real are the core, the windows and the collapse of batches. A database is modelled (commits are in the log before
//! they are visible, rows move between blocks, large values are not told again, tables are emptied and rewritten), a
//! stream, readers, the engine's part, a store, a target. Processes are killed at any moment; what was not durable or
//! not stored is lost then. Held is: each row that goes in is exactly what its key holds at that place of the stream;
//! whenever a finished table is at rest it equals the source as told; in the end both sides are equal.
//!
//! Every step of the algorithm is switched off once, and the same schedules must notice.

use std::collections::{BTreeSet, VecDeque};
use std::time::{Duration, Instant};

use fastrand::Rng;

use self::source::{Cells, Commit, Database, Rows, TABLES, carry_out, events, number, row};
use self::target::Stored;
use super::super::collapse::Collapsed;
use super::*;
use crate::model::{Budget, Permit, Row, Visibility};
use crate::pipeline::Opened;
use crate::sink::Deletes;
use crate::snapshot::{OFF, Phase, Step, Verdict, Wanted, Why, WindowId};

mod source;
mod target;

/// What is made wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wrong {
    Nothing,
    /// A step of the windows is left out.
    Core(Step),
    /// The position is taken before the snapshot.
    PositionFirst,
    /// Positions are compared instead of ids with snapshots.
    Positions,
    /// A restart does not know which transactions were not visible yet.
    Unseeded,
}

/// Blocks of a table to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Range {
    incarnation: u32,
    first: u32,
    end: u32,
}

#[derive(Debug)]
enum Stage {
    Opened,
    /// The position, if it was taken first.
    Positioned(u64),
    Sees(Visibility),
    Point(Visibility, u64),
    Good(Visibility),
    Read(Vec<Vec<Row>>),
}

#[derive(Debug)]
struct Reader {
    window: WindowId,
    table: usize,
    /// `None`: it reads keys.
    range: Option<Range>,
    keys: Vec<u8>,
    incarnation: u32,
    stage: Stage,
}

/// What survives a kill, of one table.
#[derive(Debug)]
struct StoredCopy {
    /// `None`: finished.
    phase: Option<Phase>,
    incarnation: u32,
    blocks: u32,
    copied: Vec<Range>,
    wanted: Vec<Row>,
}

#[derive(Default)]
struct LaneModel {
    jobs: VecDeque<Job>,
    blocked: bool,
    cured: bool,
}

/// Everything around the core.
struct World {
    rng: Rng,
    wrong: Wrong,
    database: Database,
    /// The rows when the slot was made, and where.
    base: Vec<Rows>,
    start: u64,
    core: Core,
    budget: Budget,
    now: Instant,
    target: Vec<Stored>,
    lanes: Vec<LaneModel>,
    told: Vec<Rows>,
    /// Keys whose rows a lane read from the source: ahead of the stream in part, until a change behind says the same.
    fetched: Vec<BTreeSet<u8>>,
    /// Number of the next commit that is told, and of the event in it.
    cursor: (usize, usize),
    /// The commits ever told.
    told_ever: usize,
    events: VecDeque<CopyEvent>,
    readers: Vec<Reader>,
    /// Windows that nobody reads for any more, of which it is not known yet what became of them.
    ended: Vec<(WindowId, usize, Option<Range>)>,
    pending: Vec<Vec<Range>>,
    windows: u64,
    /// Copied rows in the open unit, by table.
    open_copied: [usize; TABLES],
    durable: u64,
    stored: Vec<StoredCopy>,
    checkpoint: (u64, Vec<u32>),
    /// What happened, so that it is known that the schedules are worth something.
    happened: BTreeSet<&'static str>,
}

type Checked = Result<(), String>;

fn options() -> Options {
    Options { flush_rows: 12, flush_bytes: 16 << 10, flush_interval: Duration::from_secs(1) }
}

impl World {
    fn new(seed: u64, wrong: Wrong) -> World {
        let mut rng = Rng::with_seed(seed);
        let mut database = Database::new(&mut rng);
        (0..rng.usize(20..300)).for_each(|_| database.happen(&mut rng, true));
        database.settle();
        let start = database.end;
        let mut base = vec![Rows::new(); TABLES];
        database.log.iter().for_each(|commit| carry_out(&mut base, commit));
        let copy = |table| {
            let (incarnation, blocks) = (database.incarnation(table), database.blocks(table));
            let phase = Some(Phase::Copying);
            StoredCopy { phase, incarnation, blocks, copied: vec![], wanted: vec![] }
        };
        let stored = (0..TABLES).map(copy).collect();
        let mut world = World {
            wrong,
            core: Core::new(options(), 1 << 20),
            budget: Budget::new(1 << 30),
            now: Instant::now(),
            target: vec![Stored::new(); TABLES],
            lanes: vec![],
            told: base.clone(),
            fetched: vec![BTreeSet::new(); TABLES],
            cursor: (0, 0),
            told_ever: 0,
            events: VecDeque::new(),
            readers: vec![],
            ended: vec![],
            pending: vec![],
            windows: 0,
            open_copied: [0; TABLES],
            durable: start,
            stored,
            checkpoint: (start, vec![]),
            happened: BTreeSet::new(),
            start,
            base,
            database,
            rng,
        };
        world.live_again();
        world
    }

    /// A new process: everything but the database, the target and what is stored begins anew.
    fn live_again(&mut self) {
        // What may be noted is so little that it is too much now and then.
        let noted_max = if self.rng.u8(0..3) == 0 { 600 } else { 1 << 20 };
        self.core = Core::new(options(), noted_max);
        if self.wrong != Wrong::Unseeded {
            self.core.unseen().seed(self.checkpoint.1.iter().copied());
        }
        self.lanes = (0..TABLES).map(|_| LaneModel::default()).collect();
        self.events.clear();
        self.readers.clear();
        self.ended.clear();
        self.open_copied = [0; TABLES];
        self.durable = self.checkpoint.0;
        self.pending = vec![vec![]; TABLES];
        for table in 0..TABLES {
            let StoredCopy { phase, wanted, .. } = &self.stored[table];
            if let Some(phase) = *phase {
                let wanted = wanted.clone();
                self.core.begin_copy(TableId(table as u32), phase, true, wanted, &mut Vec::new());
            }
            self.plan(table);
        }
        self.attach(self.checkpoint.0);
    }

    /// What is left to be read of a table.
    fn plan(&mut self, table: usize) {
        let copy = &mut self.stored[table];
        let incarnation = self.database.incarnation(table);
        if copy.incarnation != incarnation {
            (copy.incarnation, copy.blocks) = (incarnation, self.database.blocks(table));
            copy.copied.clear();
        }
        self.pending[table].clear();
        if copy.phase != Some(Phase::Copying) {
            return;
        }
        let mut first = 0;
        while first < copy.blocks {
            let end = (first + self.rng.u32(1..4)).min(copy.blocks);
            let left = (first..end).find(|block| !copy.copied.iter().any(|r| (r.first..r.end).contains(block)));
            let Some(from) = left else {
                first = end;
                continue;
            };
            let until = (from..end).find(|block| copy.copied.iter().any(|r| (r.first..r.end).contains(block)));
            let end = until.unwrap_or(end);
            self.pending[table].push(Range { incarnation, first: from, end });
            first = end;
        }
    }

    fn attach(&mut self, at: u64) {
        self.told = self.base.clone();
        let commits = self.database.log.iter().filter(|commit| commit.lsn >= self.start);
        commits.take_while(|commit| commit.lsn < at).for_each(|commit| carry_out(&mut self.told, commit));
        let next = self.database.log.iter().position(|commit| commit.lsn >= at);
        self.cursor = (next.unwrap_or(self.database.log.len()), 0);
        let finished: Vec<bool> = self.stored.iter().map(|copy| copy.phase.is_none()).collect();
        let schemas = finished.into_iter().enumerate();
        let schemas = schemas.map(|(table, finished)| Event::Schema(Database::schema(table, finished)));
        let all: Vec<Event> = std::iter::once(Event::Resumed { at: Lsn(at) }).chain(schemas).collect();
        self.block(all);
    }

    fn permit(&self) -> Permit {
        self.budget.try_take(1024).expect("the budget is large")
    }

    fn block(&mut self, events: Vec<Event>) {
        let mut actions = Vec::new();
        let block = Block { events, permit: self.permit(), bytes: 1024 };
        self.core.take(block, self.now, &mut actions);
        self.perform(actions);
    }

    fn perform(&mut self, actions: Vec<Action>) {
        for action in actions {
            match action {
                Action::Dispatch(job) => self.lanes[job.schema.id.0 as usize].jobs.push_back(job),
                Action::Durable(end) => self.durable = end.lsn.0,
                Action::Tell(event) => self.events.push_back(event),
            }
        }
    }

    /// A call of the core, after which rows may have gone in.
    fn ask(&mut self, ask: impl FnOnce(&mut Core, Instant, &mut Vec<Action>)) -> Checked {
        let mut actions = Vec::new();
        ask(&mut self.core, self.now, &mut actions);
        self.core.copies_go_on(self.now, &mut actions);
        self.core.tick(self.now, &mut actions);
        self.check_copied(&actions)?;
        self.perform(actions);
        Ok(())
    }

    /// Each row that went in just now is what its key holds at this place.
    fn check_copied(&mut self, actions: &[Action]) -> Checked {
        let jobs = actions.iter().filter_map(|action| match action {
            Action::Dispatch(job) => Some((job.schema.id.0 as usize, &job.items)),
            _ => None,
        });
        let mut went_in: Vec<Vec<Row>> = vec![Vec::new(); TABLES];
        for (table, items) in jobs {
            went_in[table].extend(items.iter().filter_map(copied));
        }
        let mut open: Vec<Vec<Row>> = vec![Vec::new(); TABLES];
        for item in self.core.open.items.iter() {
            let table = self.core.schemas.schema(item.slot).id.0 as usize;
            open[table].extend(copied(item));
        }
        for table in 0..TABLES {
            let known = std::mem::replace(&mut self.open_copied[table], open[table].len());
            for row in went_in[table].iter().chain(&open[table]).skip(known) {
                let key = number(row.column(1)).expect("a key") as u8;
                let schema = Database::schema(table, true);
                let copy = self.core.copies.tables.get(&schema.id);
                if copy.is_some_and(|copy| copy.wants(&schema.key_of(row))) {
                    continue;
                }
                let have = number(row.column(2)).zip(number(row.column(0)));
                let want = self.told[table].get(&key).map(|cells| (cells.small, cells.big));
                if have != want {
                    return Err(format!("t{table} key {key}: {have:?} goes in where {want:?} is told"));
                }
            }
        }
        Ok(())
    }

    /// The stream tells a little more.
    fn tell(&mut self) -> Checked {
        let (at, inside) = self.cursor;
        let next = self.database.log.get(at).filter(|commit| commit.end <= self.database.flushed).cloned();
        let mut actions = Vec::new();
        let Some(commit) = next else {
            let lsn = match self.database.log.get(at) {
                // Its commit record may be flushed in part.
                Some(commit) => self.database.flushed.min(commit.lsn),
                None => self.database.flushed,
            };
            let block = Block { events: vec![Event::Idle { lsn: Lsn(lsn) }], permit: self.permit(), bytes: 1024 };
            self.core.take(block, self.now, &mut actions);
            self.check_copied(&actions)?;
            self.perform(actions);
            return Ok(());
        };
        let all = events(&commit);
        let end = self.rng.usize(inside..=all.len()).max(inside + 1).min(all.len());
        if end == all.len() {
            carry_out(&mut self.told, &commit);
            self.cursor = (at + 1, 0);
            self.told_ever = self.told_ever.max(at + 1);
        } else {
            self.cursor = (at, end);
        }
        let block = Block { events: all[inside..end].to_vec(), permit: self.permit(), bytes: 1024 };
        self.core.take(block, self.now, &mut actions);
        self.check_copied(&actions)?;
        self.perform(actions);
        Ok(())
    }

    /// A lane does what it can.
    fn load(&mut self, faults: bool) -> Checked {
        let table = self.rng.usize(0..TABLES);
        let id = TableId(table as u32);
        let lane = &mut self.lanes[table];
        if lane.blocked && !lane.cured && (!faults || self.rng.u8(0..10) == 0) {
            lane.cured = true;
            return self.ask(|core, now, actions| core.report(Report::Cured { table: id }, now, actions));
        }
        let Some(job) = lane.jobs.front() else { return Ok(()) };
        let unit = job.unit;
        let fails = faults && self.rng.u8(0..60) == 0;
        let in_part = faults && self.rng.u8(0..12) == 0;
        if !lane.blocked && !self.carry_out(table, fails || in_part) {
            return Ok(());
        }
        let lane = &mut self.lanes[table];
        if in_part && !fails && !lane.blocked {
            return Ok(());
        }
        let Some(job) = lane.jobs.pop_front() else { return Ok(()) };
        lane.blocked |= fails;
        let report = match lane.blocked {
            true => Report::Lost { unit, table: id },
            false => Report::Done { unit, table: id, through: job.through },
        };
        self.ask(|core, now, actions| core.report(report, now, actions))
    }

    /// Carries out the first job of a lane as lanes do; false if it has to wait.
    fn carry_out(&mut self, table: usize, in_part: bool) -> bool {
        let job = &self.lanes[table].jobs[0];
        let empties = |item: &Item| matches!(item.what, What::Truncate | What::Empty);
        let after = job.items.end_of_last(empties);
        let mut collapsed = Collapsed::new(job.schema.clone(), job.items.len());
        for item in job.items.iter().skip(after) {
            match &item.what {
                What::Change(change) => collapsed.apply(item.commit_lsn, item.hash, change.clone()),
                What::Copied(row) => collapsed.copy(item.commit_lsn, item.hash, row.clone()),
                _ => {}
            }
        }
        let incomplete = collapsed.incomplete();
        if !incomplete.is_empty() {
            self.happened.insert("a lane reads from the source");
            let sees = self.database.snapshot();
            if self.core.unseen().list().iter().any(|xid| !sees.sees(*xid)) || self.database.is_locked(table) {
                return false;
            }
            let rows = self.database.read(table, &sees);
            let found = |key: &Row| {
                let key = number(key.column(1));
                rows.iter()
                    .find(|(have, ..)| Some(u32::from(*have)) == key)
                    .map(|(key, cells, _)| row(*key, *cells, None))
            };
            let found = incomplete.iter().map(found).collect();
            self.fetched[table].extend(incomplete.iter().filter_map(|key| number(key.column(1))).map(|key| key as u8));
            collapsed.complete(found);
        }
        if after > 0 {
            self.target[table].clear();
        }
        for load in collapsed.into_loads(Deletes::Alone) {
            if !in_part || self.rng.bool() {
                target::load(&mut self.target[table], &load);
            }
        }
        true
    }

    /// The engine opens a window, or goes on to the next phase.
    fn open(&mut self) -> Checked {
        let table = self.rng.usize(0..TABLES);
        let id = TableId(table as u32);
        let Some(phase) = self.stored[table].phase else { return Ok(()) };
        let mine = self.readers.iter().filter(|reader| reader.table == table).count();
        if mine >= 3 {
            return Ok(());
        }
        let range = self.pending[table].last().copied();
        let busy = mine > 0 || self.ended.iter().any(|(_, of, _)| *of == table);
        if phase == Phase::Copying && range.is_none() && !busy {
            return self.ask(|core, now, actions| core.blocks_done(id, true, now, actions));
        }
        let by_key = phase == Phase::Repairing || range.is_none() || self.rng.u8(0..4) == 0;
        let wanted = if by_key { Wanted::Keys(self.rng.usize(1..4)) } else { Wanted::Blocks };
        self.windows += 1;
        let window = WindowId(self.windows);
        let mut opened = Opened::NotNow;
        self.ask(|core, _, actions| {
            opened = core.open_window(window, &Database::schema(table, true), Lsn::INVALID, wanted, actions);
        })?;
        let keys = match opened {
            Opened::Yes { keys } => keys,
            Opened::NotNow => return Ok(()),
            Opened::NothingWanted if phase == Phase::Repairing && !busy => return self.finish(table),
            Opened::NothingWanted => return Ok(()),
            Opened::Columns(_) | Opened::NoCopy => return Err(format!("{opened:?}")),
        };
        let keys = keys.iter().filter_map(|key| number(key.column(1))).map(|key| key as u8).collect();
        let range = if by_key { None } else { self.pending[table].pop() };
        let incarnation = range.map_or(self.database.incarnation(table), |range| range.incarnation);
        self.readers.push(Reader { window, table, range, keys, incarnation, stage: Stage::Opened });
        Ok(())
    }

    fn finish(&mut self, table: usize) -> Checked {
        if self.core.finish_copy(TableId(table as u32)) {
            self.stored[table].phase = None;
            self.stored[table].wanted.clear();
        }
        Ok(())
    }

    /// A reader takes its next step.
    fn read(&mut self) -> Checked {
        if self.readers.is_empty() {
            return Ok(());
        }
        let at = self.rng.usize(0..self.readers.len());
        let mut reader = self.readers.swap_remove(at);
        let window = reader.window;
        let stage = std::mem::replace(&mut reader.stage, Stage::Opened);
        reader.stage = match stage {
            Stage::Opened if self.wrong == Wrong::PositionFirst => Stage::Positioned(self.database.end),
            Stage::Opened => Stage::Sees(self.database.snapshot()),
            Stage::Positioned(position) => Stage::Point(self.database.snapshot(), position),
            Stage::Sees(sees) => Stage::Point(sees, self.database.end),
            Stage::Point(sees, position) => {
                let told = if self.wrong == Wrong::Positions { self.database.everything() } else { sees.clone() };
                let mut verdict = Verdict::Gone;
                self.ask(|core, _, _| verdict = core.check(window, told, Lsn(position)))?;
                match verdict {
                    Verdict::Go => Stage::Good(sees),
                    Verdict::Again => {
                        self.happened.insert("a snapshot misses something");
                        Stage::Opened
                    }
                    Verdict::Gone => {
                        // That it was dropped is told.
                        self.ended.push((window, reader.table, reader.range));
                        return Ok(());
                    }
                }
            }
            Stage::Good(sees) if self.database.is_locked(reader.table) => Stage::Good(sees),
            Stage::Good(_) if self.database.incarnation(reader.table) != reader.incarnation => {
                return self.rewritten(reader);
            }
            Stage::Good(sees) => Stage::Read(self.rows(&reader, &sees)),
            Stage::Read(mut pieces) => match pieces.pop() {
                Some(rows) => {
                    let permit = self.permit();
                    self.ask(|core, _, _| core.piece(window, rows, permit, 1024))?;
                    Stage::Read(pieces)
                }
                None => {
                    // Before it is asked: it may be durable at once.
                    self.ended.push((window, reader.table, reader.range));
                    return self.ask(|core, _, _| core.end_window(window));
                }
            },
        };
        self.readers.push(reader);
        Ok(())
    }

    fn rows(&mut self, reader: &Reader, sees: &Visibility) -> Vec<Vec<Row>> {
        let wanted = |(key, _, block): &(u8, Cells, u32)| match reader.range {
            Some(range) => (range.first..range.end).contains(block),
            None => reader.keys.contains(key),
        };
        let rows: Vec<_> = self.database.read(reader.table, sees).into_iter().filter(wanted).collect();
        let pieces = rows.chunks(self.rng.usize(1..5));
        pieces.map(|rows| rows.iter().map(|(key, cells, _)| row(*key, *cells, None)).collect()).collect()
    }

    /// The blocks mean nothing any more: the table is planned anew. Keys are simply read again.
    fn rewritten(&mut self, reader: Reader) -> Checked {
        self.happened.insert("the blocks mean nothing any more");
        let table = reader.table;
        let gone: Vec<WindowId> = match reader.range {
            None => vec![reader.window],
            Some(_) => {
                let others = self.readers.iter().filter(|other| other.table == table && other.range.is_some());
                others.map(|other| other.window).chain([reader.window]).collect()
            }
        };
        self.readers.retain(|other| !gone.contains(&other.window));
        for window in gone {
            self.ask(|core, _, _| core.abort_window(window))?;
        }
        if reader.range.is_some() {
            // Older windows may still become durable; their ranges are of an incarnation that does not count.
            self.plan(table);
        }
        Ok(())
    }

    /// The engine carries out the next thing it was told.
    fn heed(&mut self) -> Checked {
        let Some(event) = self.events.pop_front() else { return Ok(()) };
        match event {
            CopyEvent::Durable { window, repaired } => {
                let Some((table, range)) = self.take_ended(window) else { return Ok(()) };
                if !repaired.is_empty() {
                    self.happened.insert("keys are repaired");
                }
                let copy = &mut self.stored[table];
                copy.wanted.retain(|key| !repaired.contains(key));
                if let Some(range) = range.filter(|range| range.incarnation == copy.incarnation) {
                    copy.copied.push(range);
                }
            }
            CopyEvent::Dropped { window, why } => {
                self.happened.insert(match why {
                    Why::TooLarge => "too much is noted",
                    Why::Truncated => "what was read is void",
                    Why::ToldAgain => "windows are dropped to tell changes again",
                    Why::Columns | Why::Memory | Why::Cancelled => return Err(format!("dropped because of {why:?}")),
                });
                let reader = self.readers.iter().position(|reader| reader.window == window);
                let reader = reader.map(|at| self.readers.swap_remove(at)).map(|reader| (reader.table, reader.range));
                if let Some((table, Some(range))) = reader.or_else(|| self.take_ended(window))
                    && range.incarnation == self.stored[table].incarnation
                {
                    self.pending[table].push(range);
                }
            }
            CopyEvent::Wanted { table, keys, token } => {
                let copy = &mut self.stored[table.0 as usize];
                if copy.phase.is_some() {
                    let new: Vec<Row> = keys.into_iter().filter(|key| !copy.wanted.contains(key)).collect();
                    copy.wanted.extend(new);
                }
                return self.ask(|core, _, _| core.stored(token));
            }
            CopyEvent::BlocksDone { table } => {
                let copy = &mut self.stored[table.0 as usize];
                copy.phase = copy.phase.map(|_| Phase::Repairing);
            }
            other => return Err(format!("{other:?}")),
        }
        Ok(())
    }

    fn take_ended(&mut self, window: WindowId) -> Option<(usize, Option<Range>)> {
        let at = self.ended.iter().position(|(ended, ..)| *ended == window)?;
        let (_, table, range) = self.ended.swap_remove(at);
        Some((table, range))
    }

    fn save(&mut self) {
        let unseen = self.core.unseen();
        unseen.learn(&self.database.snapshot());
        self.checkpoint = (self.durable, unseen.list());
    }

    /// The stream breaks and is taken up again.
    fn reconnect(&mut self) {
        if self.core.must_replay() {
            if self.core.is_busy() {
                return;
            }
            self.happened.insert("changes are told again to a table");
            let mut actions = Vec::new();
            for table in self.core.replay(&mut actions) {
                self.lanes[table.0 as usize] = LaneModel::default();
            }
            self.open_copied = [0; TABLES];
            self.perform(actions);
        }
        self.attach(self.core.received().0);
    }

    /// One random thing happens somewhere.
    fn happen(&mut self, busy: bool) -> Checked {
        self.now += Duration::from_millis(self.rng.u64(0..400));
        match self.rng.u8(0..100) {
            0..34 => self.database.happen(&mut self.rng, busy),
            34..54 => self.tell()?,
            54..64 => self.load(busy)?,
            64..84 => self.read()?,
            84..90 => self.open()?,
            90..94 => self.heed()?,
            94..97 => self.save(),
            97 => self.ask(|_, _, _| {})?,
            98 if busy || self.core.must_replay() => self.reconnect(),
            99 if busy && self.rng.u8(0..4) == 0 => {
                self.happened.insert("a kill");
                self.live_again();
            }
            _ => {}
        }
        self.check_rest()
    }

    fn is_at_rest(&self) -> bool {
        let lanes = self.lanes.iter().all(|lane| lane.jobs.is_empty() && !lane.blocked);
        let up_to_date = self.cursor.0 >= self.told_ever && self.cursor.1 == 0;
        lanes && up_to_date && self.core.open.items.is_empty() && !self.core.must_replay()
    }

    /// A finished table at rest equals what was told.
    fn check_rest(&self) -> Checked {
        if !self.is_at_rest() {
            return Ok(());
        }
        for table in (0..TABLES).filter(|table| self.stored[*table].phase.is_none()) {
            self.check_equal(table, &self.fetched[table])?;
        }
        Ok(())
    }

    fn check_equal(&self, table: usize, beside: &BTreeSet<u8>) -> Checked {
        let told = self.told[table].iter().map(|(key, cells)| (*key, (Some(cells.small), Some(cells.big))));
        let want: Stored = told.filter(|(key, _)| !beside.contains(key)).collect();
        let have = self.target[table].iter().map(|(key, row)| (*key, *row));
        let have: Stored = have.filter(|(key, _)| !beside.contains(key)).collect();
        if have == want {
            return Ok(());
        }
        Err(format!("t{table} differs: have {have:?}, want {want:?}"))
    }

    fn run(&mut self) -> Checked {
        for _ in 0..self.rng.usize(100..1200) {
            self.happen(true)?;
        }
        while !self.database.settle() {}
        for _ in 0..30_000 {
            if self.is_over() {
                let last: Vec<&Commit> = self.database.log.iter().collect();
                assert_eq!(self.cursor.0, last.len(), "everything is told");
                return (0..TABLES).try_for_each(|table| self.check_equal(table, &BTreeSet::new()));
            }
            self.happen(false)?;
        }
        Err("it gets nowhere".to_owned())
    }

    fn is_over(&self) -> bool {
        let told = self.cursor == (self.database.log.len(), 0);
        told && self.is_at_rest() && self.stored.iter().all(|copy| copy.phase.is_none())
    }
}

fn copied(item: &Item) -> Option<Row> {
    match &item.what {
        What::Copied(row) => Some(row.clone()),
        _ => None,
    }
}

/// What happened under a schedule.
fn run(seed: u64, wrong: Wrong) -> Result<BTreeSet<&'static str>, String> {
    OFF.set(if let Wrong::Core(step) = wrong { Some(step) } else { None });
    let mut world = World::new(seed, wrong);
    let outcome = world.run();
    OFF.set(None);
    outcome.map(|()| world.happened)
}

#[test]
fn both_sides_are_equal_under_every_schedule() {
    // More of them on request: each is as good as any other.
    let seeds = std::env::var("COPY_MODEL_SEEDS").ok().and_then(|seeds| seeds.parse().ok()).unwrap_or(SEEDS);
    let mut happened = BTreeSet::new();
    for seed in 0..seeds {
        match run(seed, Wrong::Nothing) {
            Ok(more) => happened.extend(more),
            Err(problem) => panic!("seed {seed}: {problem}"),
        }
    }
    assert_eq!(happened.len(), 9, "the schedules bring everything about: {happened:?}");
}

/// Schedules that must all end well.
const SEEDS: u64 = 2000;
/// Among so many schedules at least one must notice what is wrong.
const SEEDS_TO_NOTICE: u64 = 1000;

fn noticed(wrong: Wrong) -> Option<u64> {
    (0..SEEDS_TO_NOTICE).find(|seed| run(*seed, wrong).is_err())
}

#[test]
fn every_step_that_is_left_out_is_noticed() {
    let cases = [
        (Wrong::Core(Step::Open), "keys are noted only once a snapshot is taken"),
        (Wrong::PositionFirst, "the position is taken before the snapshot"),
        (Wrong::Positions, "positions are compared, not ids with snapshots"),
        (Wrong::Core(Step::Check), "any snapshot is good enough"),
        (Wrong::Core(Step::Wait), "rows go in before the stream has passed their position"),
        (Wrong::Core(Step::Inject), "rows go in although their key was noted"),
        (Wrong::Core(Step::Repair), "changes that leave values out flow on"),
        (Wrong::Unseeded, "a restart forgets what was not visible yet"),
    ];
    for (wrong, what) in cases {
        match noticed(wrong) {
            Some(seed) => println!("{what}: noticed at seed {seed}"),
            None => panic!("nobody notices that {what}"),
        }
    }
}
