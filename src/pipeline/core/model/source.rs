//! A small PostgreSQL: row versions in blocks, transactions, a log, and commits that are logged before they are visible.

use std::collections::BTreeMap;
use std::sync::Arc;

use fastrand::Rng;

use crate::model::{
    Change, Column, ColumnType, Event, Lsn, OldRow, Row, RowBuilder, TableId, TableName, TableSchema, Value, Visibility,
};

pub(super) const TABLES: usize = 2;
const KEYS: u8 = 10;

/// A row's values beside its key. `big` may be stored out of line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Cells {
    pub(super) small: u32,
    pub(super) big: u32,
}

/// A table's rows by key.
pub(super) type Rows = BTreeMap<u8, Cells>;

fn is_out_of_line(big: u32) -> bool {
    !big.is_multiple_of(3)
}

#[derive(Clone, Debug)]
struct Version {
    key: u8,
    cells: Cells,
    block: u32,
    xmin: usize,
    xmax: Option<usize>,
}

#[derive(Debug, Default)]
struct Heap {
    versions: Vec<Version>,
    blocks: u32,
    incarnation: u32,
    /// Who emptied it and is not yet over, and the versions that are gone with that.
    emptied: Option<(usize, usize)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Running,
    /// Its commit record is in the log.
    Written,
    Visible,
    Aborted,
}

/// What a step does to the rows, told in full.
#[derive(Clone, Debug)]
pub(super) enum Step {
    Change { table: usize, change: Change, gone: Option<u8>, put: Option<(u8, Cells)> },
    Truncate { table: usize },
}

#[derive(Debug)]
struct Transaction {
    state: State,
    /// Visible as soon as it is written, before the log is flushed and without waiting for a standby.
    asynchronous: bool,
    steps: Vec<Step>,
    lsn: u64,
}

/// A commit as the log has it.
#[derive(Clone, Debug)]
pub(super) struct Commit {
    pub(super) xid: u32,
    pub(super) lsn: u64,
    pub(super) end: u64,
    pub(super) steps: Vec<Step>,
}

/// The database.
pub(super) struct Database {
    heaps: Vec<Heap>,
    transactions: Vec<Transaction>,
    /// Commits in the order of the log.
    pub(super) log: Vec<Commit>,
    /// Where the log ends.
    pub(super) end: u64,
    /// What of it a stream may tell.
    pub(super) flushed: u64,
    /// Id of the first transaction.
    first: u64,
    values: u32,
    full: bool,
}

impl Database {
    pub(super) fn new(rng: &mut Rng) -> Database {
        let heaps = (0..TABLES).map(|_| Heap { blocks: 1, ..Heap::default() }).collect();
        // Now and then the ids, which the log has without their epoch, begin anew.
        let first = if rng.bool() { (7 << 32) - rng.u64(1..40) } else { 700 };
        let full = rng.u8(0..4) == 0;
        Database { heaps, transactions: vec![], log: vec![], end: 100, flushed: 100, first, values: 1, full }
    }

    pub(super) fn schema(table: usize, complete: bool) -> Arc<TableSchema> {
        let column = |name: &str| Column { name: name.into(), ty: ColumnType::Int64, nullable: true };
        let name = TableName { schema: "s".into(), name: format!("t{table}") };
        Arc::new(TableSchema {
            id: TableId(table as u32),
            target: name.name.clone(),
            name,
            columns: ["big", "id", "small"].map(column).into(),
            key: vec![1],
            complete,
        })
    }

    /// The ids that run, beside which a snapshot sees everything before the next id.
    pub(super) fn snapshot(&self) -> Visibility {
        let over = |state| matches!(state, State::Visible | State::Aborted);
        let all = self.transactions.iter().enumerate();
        let running = all.filter(|(_, t)| !over(t.state)).map(|(at, _)| self.first + at as u64);
        let running: Vec<u64> = running.collect();
        let next = self.first + self.transactions.len() as u64;
        let text: Vec<String> = running.iter().map(u64::to_string).collect();
        format!("{}:{next}:{}", running.first().unwrap_or(&next), text.join(",")).parse().unwrap()
    }

    /// A snapshot that would see whatever is committed, as one who compares positions only would have it.
    pub(super) fn everything(&self) -> Visibility {
        let next = self.first + self.transactions.len() as u64;
        format!("{next}:{next}:").parse().unwrap()
    }

    fn sees(&self, sees: &Visibility, transaction: usize) -> bool {
        self.transactions[transaction].state != State::Aborted && sees.sees(self.xid(transaction))
    }

    fn xid(&self, transaction: usize) -> u32 {
        (self.first + transaction as u64) as u32
    }

    pub(super) fn blocks(&self, table: usize) -> u32 {
        self.heaps[table].blocks
    }

    pub(super) fn incarnation(&self, table: usize) -> u32 {
        self.heaps[table].incarnation
    }

    /// Whether a reader has to wait for its lock.
    pub(super) fn is_locked(&self, table: usize) -> bool {
        self.heaps[table].emptied.is_some()
    }

    /// The rows a snapshot sees, by their key and block.
    pub(super) fn read(&self, table: usize, sees: &Visibility) -> Vec<(u8, Cells, u32)> {
        let seen = |version: &&Version| {
            self.sees(sees, version.xmin) && version.xmax.is_none_or(|xmax| !self.sees(sees, xmax))
        };
        self.heaps[table].versions.iter().filter(seen).map(|v| (v.key, v.cells, v.block)).collect()
    }

    /// One random thing happens.
    pub(super) fn happen(&mut self, rng: &mut Rng, writes: bool) {
        let running: Vec<usize> = self.which(State::Running);
        match rng.u8(0..24) {
            0..3 if writes && running.len() < 4 => {
                let asynchronous = rng.u8(0..3) == 0;
                self.transactions.push(Transaction { state: State::Running, asynchronous, steps: vec![], lsn: 0 });
            }
            3..14 if writes && !running.is_empty() => {
                let transaction = running[rng.usize(0..running.len())];
                self.statement(transaction, rng);
            }
            14..17 if !running.is_empty() => {
                // The oldest now and then stays open for long.
                let at = if rng.bool() { running.len() - 1 } else { rng.usize(0..running.len()) };
                self.commit(running[at]);
            }
            17 if !running.is_empty() => self.over(running[rng.usize(0..running.len())], State::Aborted),
            18..20 => self.flushed = rng.u64(self.flushed..=self.end),
            20..23 => self.become_visible(rng),
            23 if rng.u8(0..6) == 0 => self.rewrite(rng),
            _ => self.end += 1,
        }
    }

    /// Whether nothing is under way.
    pub(super) fn settle(&mut self) -> bool {
        for transaction in self.which(State::Running) {
            self.commit(transaction);
        }
        self.flushed = self.end;
        let written = self.which(State::Written);
        written.iter().for_each(|transaction| self.over(*transaction, State::Visible));
        written.is_empty()
    }

    fn which(&self, state: State) -> Vec<usize> {
        (0..self.transactions.len()).filter(|at| self.transactions[*at].state == state).collect()
    }

    fn commit(&mut self, at: usize) {
        let lsn = self.end;
        self.end += 10;
        let transaction = &mut self.transactions[at];
        (transaction.state, transaction.lsn) = (State::Written, lsn);
        let steps = transaction.steps.clone();
        let xid = self.xid(at);
        self.log.push(Commit { xid, lsn, end: lsn + 8, steps });
    }

    fn become_visible(&mut self, rng: &mut Rng) {
        let may = |at: &usize| {
            let transaction = &self.transactions[*at];
            transaction.asynchronous || transaction.lsn + 8 <= self.flushed
        };
        let ready: Vec<usize> = self.which(State::Written).into_iter().filter(may).collect();
        if !ready.is_empty() {
            self.over(ready[rng.usize(0..ready.len())], State::Visible);
        }
    }

    fn over(&mut self, at: usize, state: State) {
        self.transactions[at].state = state;
        for heap in &mut self.heaps {
            let Some((_, before)) = heap.emptied.filter(|(by, _)| *by == at) else { continue };
            heap.emptied = None;
            if state == State::Visible {
                heap.versions.drain(..before);
                heap.incarnation += 1;
            }
        }
    }

    /// The rows move to other blocks, and no change tells of it.
    fn rewrite(&mut self, rng: &mut Rng) {
        let table = rng.usize(0..TABLES);
        if self.is_touched(table, None) || self.is_locked(table) {
            return;
        }
        let heap = &mut self.heaps[table];
        heap.incarnation += 1;
        heap.blocks = rng.u32(1..=heap.blocks);
        heap.versions.iter_mut().for_each(|version| version.block = rng.u32(0..heap.blocks));
    }

    /// Whether a transaction that is not over has changed the table, beside one.
    fn is_touched(&self, table: usize, beside: Option<usize>) -> bool {
        let touches = |step: &Step| match step {
            Step::Change { table: of, .. } | Step::Truncate { table: of } => *of == table,
        };
        let under_way = |t: &Transaction| matches!(t.state, State::Running | State::Written);
        let mut all = self.transactions.iter().enumerate();
        all.any(|(at, t)| Some(at) != beside && under_way(t) && t.steps.iter().any(touches))
    }

    fn statement(&mut self, me: usize, rng: &mut Rng) {
        let table = rng.usize(0..TABLES);
        if self.heaps[table].emptied.is_some_and(|(by, _)| by != me) {
            return;
        }
        if rng.u8(0..40) == 0 {
            if !self.is_touched(table, Some(me)) {
                self.heaps[table].emptied = Some((me, self.heaps[table].versions.len()));
                self.transactions[me].steps.push(Step::Truncate { table });
            }
            return;
        }
        self.values += 1;
        let cells = Cells { small: self.values, big: self.values };
        let key = rng.u8(0..KEYS);
        match self.current(me, table, key) {
            Current::None => self.insert(me, table, key, cells, rng),
            Current::Contended => {}
            Current::At(at) if rng.u8(0..5) == 0 => self.delete(me, table, at),
            Current::At(at) => {
                let to = if rng.u8(0..4) == 0 { rng.u8(0..KEYS) } else { key };
                let big = if rng.u8(0..3) == 0 { cells.big } else { self.heaps[table].versions[at].cells.big };
                self.update(me, table, at, to, Cells { big, ..cells }, rng);
            }
        }
    }

    /// What a transaction would find under a key if it changed it now.
    fn current(&self, me: usize, table: usize, key: u8) -> Current {
        let heap = &self.heaps[table];
        let gone = heap.emptied.map_or(0, |(_, before)| before);
        let over = |at: usize| at == me || self.transactions[at].state == State::Visible;
        for (at, version) in heap.versions.iter().enumerate().skip(gone).filter(|(_, v)| v.key == key) {
            if self.transactions[version.xmin].state == State::Aborted {
                continue;
            }
            if !over(version.xmin) {
                return Current::Contended;
            }
            match version.xmax.filter(|xmax| self.transactions[*xmax].state != State::Aborted) {
                None => return Current::At(at),
                Some(xmax) if over(xmax) => {}
                Some(_) => return Current::Contended,
            }
        }
        Current::None
    }

    fn place(&mut self, table: usize, near: Option<u32>, rng: &mut Rng) -> u32 {
        let heap = &mut self.heaps[table];
        match near {
            Some(block) if rng.bool() => block,
            _ if rng.u8(0..4) == 0 => {
                heap.blocks += 1;
                heap.blocks - 1
            }
            _ => rng.u32(0..heap.blocks),
        }
    }

    fn insert(&mut self, me: usize, table: usize, key: u8, cells: Cells, rng: &mut Rng) {
        let block = self.place(table, None, rng);
        self.heaps[table].versions.push(Version { key, cells, block, xmin: me, xmax: None });
        let change = Change::Insert { new: row(key, cells, None) };
        self.transactions[me].steps.push(Step::Change { table, change, gone: None, put: Some((key, cells)) });
    }

    fn delete(&mut self, me: usize, table: usize, at: usize) {
        let old = self.heaps[table].versions[at].clone();
        self.heaps[table].versions[at].xmax = Some(me);
        let change = Change::Delete { old: self.old_row(&old) };
        self.transactions[me].steps.push(Step::Change { table, change, gone: Some(old.key), put: None });
    }

    fn update(&mut self, me: usize, table: usize, at: usize, key: u8, cells: Cells, rng: &mut Rng) {
        let old = self.heaps[table].versions[at].clone();
        if key != old.key && !matches!(self.current(me, table, key), Current::None) {
            return;
        }
        self.heaps[table].versions[at].xmax = Some(me);
        let block = self.place(table, Some(old.block), rng);
        self.heaps[table].versions.push(Version { key, cells, block, xmin: me, xmax: None });
        let new = row(key, cells, Some(old.cells));
        let told = (self.full || key != old.key).then(|| self.old_row(&old));
        let change = Change::Update { old: told, new };
        self.transactions[me].steps.push(Step::Change { table, change, gone: Some(old.key), put: Some((key, cells)) });
    }

    fn old_row(&self, old: &Version) -> OldRow {
        if self.full {
            return OldRow::Full(row(old.key, old.cells, None));
        }
        OldRow::Key(Database::schema(0, true).row_of_key(&key_row(old.key)))
    }
}

enum Current {
    None,
    /// Somebody else has it in hands.
    Contended,
    At(usize),
}

/// A row as the source tells it; `before`: what an out-of-line value that did not change is not told again for.
pub(super) fn row(key: u8, cells: Cells, before: Option<Cells>) -> Row {
    let mut built = RowBuilder::with_capacity(32);
    let text = |number: u32| number.to_string();
    match before {
        Some(before) if before.big == cells.big && is_out_of_line(cells.big) => built.push(Value::Unchanged),
        _ => built.push(Value::Text(text(cells.big).as_bytes())),
    }
    built.push(Value::Text(text(key.into()).as_bytes()));
    built.push(Value::Text(text(cells.small).as_bytes()));
    built.finish()
}

fn key_row(key: u8) -> Row {
    let mut built = RowBuilder::with_capacity(8);
    built.push(Value::Text(key.to_string().as_bytes()));
    built.finish()
}

pub(super) fn number(value: Value<'_>) -> Option<u32> {
    match value {
        Value::Text(text) => std::str::from_utf8(text).ok()?.parse().ok(),
        Value::Null | Value::Unchanged => None,
    }
}

/// Carries out a commit's steps on plain rows.
pub(super) fn carry_out(tables: &mut [Rows], commit: &Commit) {
    for step in &commit.steps {
        match step {
            Step::Truncate { table } => tables[*table].clear(),
            Step::Change { table, gone, put, .. } => {
                if let Some(key) = gone {
                    tables[*table].remove(key);
                }
                if let Some((key, cells)) = put {
                    tables[*table].insert(*key, *cells);
                }
            }
        }
    }
}

/// What the stream tells of a commit.
pub(super) fn events(commit: &Commit) -> Vec<Event> {
    let begin = Event::Begin { commit_lsn: Lsn(commit.lsn), commit_micros: commit.lsn as i64, xid: commit.xid };
    let steps = commit.steps.iter().map(|step| match step {
        Step::Change { table, change, .. } => Event::Change { table: TableId(*table as u32), change: change.clone() },
        Step::Truncate { table } => Event::Truncate { tables: vec![TableId(*table as u32)] },
    });
    let end = Event::Commit { end_lsn: Lsn(commit.end) };
    std::iter::once(begin).chain(steps).chain([end]).collect()
}
