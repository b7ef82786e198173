//! The whole pipeline against a sink that fails in every way it may, and a stream that breaks anywhere, under a clock
//! that only the test moves. Many seeds; each must end with equal tables, and hold the promises all the way.

use std::collections::{BTreeMap, HashMap};
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use fastrand::Rng;
use tokio::sync::mpsc;
use tokio::time::sleep;

use super::{MissingValues, Options, Pipeline};
use crate::model::{
    Block, Budget, Change, Class, Column, ColumnType, Event, Load, Lsn, OldRow, Op, Reason, Row, RowBuilder, TableId,
    TableName, TableSchema, Value,
};
use crate::sink::{Deletes, Fate, LoadError, Loaded, Sink, Ticket};
use crate::status::Status;

const TABLES: u32 = 3;
const KEYS: u8 = 6;

/// Rows by key: value and version.
type Table = BTreeMap<u8, (u64, u64)>;

fn schema(id: u32) -> Arc<TableSchema> {
    let column = |name: &str| Column { name: name.into(), ty: ColumnType::Int64, nullable: true };
    let name = TableName { schema: "s".into(), name: format!("t{id}") };
    let target = name.name.clone();
    Arc::new(TableSchema {
        id: TableId(id),
        name,
        target,
        columns: vec![column("id"), column("value")],
        key: vec![0],
        complete: true,
    })
}

fn row(key: u8, value: u64) -> Row {
    let mut row = RowBuilder::with_capacity(32);
    row.push(Value::Text(key.to_string().as_bytes()));
    row.push(Value::Text(value.to_string().as_bytes()));
    row.finish()
}

fn number(row: &Row, column: usize) -> u64 {
    let Value::Text(text) = row.column(column) else { panic!("a number in every column") };
    std::str::from_utf8(text).unwrap().parse().unwrap()
}

#[derive(Clone, Debug)]
enum Step {
    Put(u32, u8, u64),
    Delete(u32, u8),
    Truncate(u32),
}

/// A transaction with its commit position; it ends one byte further.
#[derive(Clone, Debug)]
struct Transaction {
    lsn: u64,
    steps: Vec<Step>,
}

fn transactions(rng: &mut Rng) -> Vec<Transaction> {
    (1..=rng.u64(1..60))
        .map(|n| {
            let steps = (0..rng.usize(0..12)).map(|s| {
                let (table, key) = (rng.u32(1..=TABLES), rng.u8(0..KEYS));
                match rng.u8(0..20) {
                    0 => Step::Truncate(table),
                    1..5 => Step::Delete(table, key),
                    _ => Step::Put(table, key, n * 100 + s as u64),
                }
            });
            Transaction { lsn: n * 10, steps: steps.collect() }
        })
        .collect()
}

/// The tables after every transaction that ends at or before a position.
fn replay(transactions: &[Transaction], through: u64) -> BTreeMap<u32, Table> {
    let mut tables: BTreeMap<u32, Table> = (1..=TABLES).map(|id| (id, Table::new())).collect();
    for Transaction { lsn, steps } in transactions.iter().filter(|t| t.lsn < through) {
        for step in steps {
            match step {
                Step::Put(table, key, value) => drop(tables.get_mut(table).unwrap().insert(*key, (*value, *lsn))),
                Step::Delete(table, key) => drop(tables.get_mut(table).unwrap().remove(key)),
                Step::Truncate(table) => tables.get_mut(table).unwrap().clear(),
            }
        }
    }
    tables
}

/// What the sink holds, and what it is up to.
struct Held {
    rng: Rng,
    tables: BTreeMap<u32, Table>,
    /// Version of the last change of each key, deletes and truncates included.
    versions: HashMap<(u32, u8), u64>,
    landed: HashMap<Ticket, bool>,
    /// A load whose answer was lost, still under way at the sink.
    lingering: HashMap<Ticket, Load>,
    tickets: u64,
    /// Once calm, everything succeeds.
    calm: bool,
    /// There is room to keep every refused load, so that no table is ever told again what it has.
    roomy: bool,
}

struct Faulty(Mutex<Held>);

fn reason(class: Class) -> Reason {
    Reason::new("SINK_TEST", class, "", "made to fail", "none")
}

impl Faulty {
    fn held(&self) -> MutexGuard<'_, Held> {
        self.0.lock().unwrap()
    }
}

impl Held {
    fn apply(&mut self, load: &Load) {
        let table = load.schema.id.0;
        for entry in load.rows.iter() {
            let key = number(&entry.row, 0) as u8;
            let version = self.versions.entry((table, key)).or_default();
            let newer = entry.commit_lsn.0 >= *version;
            assert!(newer || !self.roomy, "an older load of t{table} lands after a newer one");
            *version = entry.commit_lsn.0;
            let rows = self.tables.get_mut(&table).unwrap();
            match entry.op {
                Op::Delete => drop(rows.remove(&key)),
                _ => drop(rows.insert(key, (number(&entry.row, 1), entry.commit_lsn.0))),
            }
        }
    }

    fn land(&mut self, ticket: &Ticket, load: &Load) {
        assert!(self.landed.insert(ticket.clone(), true).is_none(), "a load lands once");
        self.apply(load);
    }
}

impl Sink for Faulty {
    async fn setup(&self) -> Result<(), Vec<Reason>> {
        Ok(())
    }

    async fn prepare(&self, _: Arc<TableSchema>) -> Result<(), Vec<Reason>> {
        let mut held = self.held();
        match held.rng.u8(0..20) {
            0 if !held.calm => Err(vec![reason(Class::Retry)]),
            1 if !held.calm => Err(vec![reason(Class::Wait)]),
            _ => Ok(()),
        }
    }

    fn deletes(&self, _: &TableSchema) -> Deletes {
        Deletes::Alone
    }

    fn ticket(&self, _: &TableSchema) -> Ticket {
        let mut held = self.held();
        held.tickets += 1;
        Ticket(held.tickets.to_string())
    }

    async fn load(&self, ticket: &Ticket, load: &Load) -> Result<Loaded, LoadError> {
        let pause = self.held().rng.u64(0..3000);
        sleep(Duration::from_millis(pause)).await;
        let mut held = self.held();
        assert!(!held.lingering.contains_key(ticket), "sent again while its fate is unknown");
        let table = load.schema.id;
        assert!(
            held.lingering.values().all(|older| older.schema.id != table
                || older.rows[0].commit_lsn >= load.rows[0].commit_lsn
                || disjoint(older, load)),
            "a newer load is sent while an older one is unsettled"
        );
        match held.rng.u8(0..20) {
            _ if held.calm => {}
            0 | 1 => return Err(LoadError::Retry(reason(Class::Retry))),
            2 => return Err(LoadError::SlowDown(reason(Class::Retry))),
            3 => return Err(LoadError::Refused(reason(Class::Wait))),
            4 => return Err(LoadError::Unknown(reason(Class::Retry))),
            5 => {
                held.land(ticket, load);
                return Err(LoadError::Unknown(reason(Class::Retry)));
            }
            6 => {
                held.lingering.insert(ticket.clone(), load.clone());
                return Err(LoadError::Unknown(reason(Class::Retry)));
            }
            _ => {}
        }
        held.land(ticket, load);
        Ok(Loaded { rows: load.rows.len() as u64, bytes: 1 })
    }

    async fn fate(&self, ticket: &Ticket) -> Result<Fate, Reason> {
        let mut held = self.held();
        if held.rng.u8(0..4) == 0 {
            return Err(reason(Class::Retry));
        }
        if held.lingering.contains_key(ticket) {
            if held.rng.bool() {
                return Ok(Fate::Pending);
            }
            let load = held.lingering.remove(ticket).unwrap();
            if held.rng.bool() {
                return Ok(Fate::NotLoaded);
            }
            held.land(ticket, &load);
        }
        Ok(if held.landed.contains_key(ticket) { Fate::Loaded } else { Fate::NotLoaded })
    }

    async fn truncate(&self, schema: &TableSchema) -> Result<(), LoadError> {
        let mut held = self.held();
        let outcome = match held.rng.u8(0..10) {
            0 if !held.calm => return Err(LoadError::Retry(reason(Class::Retry))),
            1 if !held.calm => Err(LoadError::Unknown(reason(Class::Retry))),
            _ => Ok(()),
        };
        held.tables.get_mut(&schema.id.0).unwrap().clear();
        outcome
    }

    async fn sweep(&self, schema: &TableSchema, _: Lsn) -> Result<(), LoadError> {
        panic!("{} is not copied again", schema.name)
    }
}

fn disjoint(a: &Load, b: &Load) -> bool {
    a.rows.iter().all(|a| b.rows.iter().all(|b| number(&a.row, 0) != number(&b.row, 0)))
}

struct NothingMissing;

impl MissingValues for NothingMissing {
    fn fetch(
        &self,
        _: Arc<TableSchema>,
        keys: Vec<Row>,
        _: Vec<u32>,
    ) -> Pin<Box<dyn Future<Output = Result<Vec<Option<Row>>, Reason>> + Send + '_>> {
        panic!("asked for {} rows although every row is whole", keys.len())
    }
}

fn events(transaction: &Transaction) -> Vec<Event> {
    let Transaction { lsn, steps } = transaction;
    let mut events = vec![Event::Begin { commit_lsn: Lsn(*lsn), commit_micros: *lsn as i64, xid: 1 }];
    for step in steps {
        let change = |table: &u32, change| Event::Change { table: TableId(*table), change };
        events.push(match step {
            Step::Put(table, key, value) => change(table, Change::Insert { new: row(*key, *value) }),
            Step::Delete(table, key) => change(table, Change::Delete { old: OldRow::Key(row(*key, 0)) }),
            Step::Truncate(table) => Event::Truncate { tables: vec![TableId(*table)] },
        });
    }
    events.push(Event::Commit { end_lsn: Lsn(lsn + 1) });
    events
}

/// One stream: from a position on, in blocks of random size, until its end or a random break.
async fn stream(transactions: &[Transaction], from: Lsn, budget: &Budget, blocks: mpsc::Sender<Block>, rng: &mut Rng) {
    let giants = budget.total() < 400 << 10;
    let mut all = vec![Event::Resumed { at: from }];
    all.extend((1..=TABLES).map(|id| Event::Schema(schema(id))));
    all.extend(transactions.iter().filter(|t| t.lsn >= from.0).flat_map(events));
    let end = if rng.bool() { all.len() } else { rng.usize(0..=all.len()) };
    let mut rest = all.drain(..end).peekable();
    while rest.peek().is_some() {
        let events: Vec<_> = rest.by_ref().take(rng.usize(1..20)).collect();
        // Now and then a message larger than the whole budget, which must pass alone.
        let bytes = if giants && rng.u8(0..40) == 0 { 400 << 10 } else { events.len() * 1024 };
        let permit = budget.take(bytes).await;
        if blocks.send(Block { events, permit, bytes }).await.is_err() {
            return;
        }
        sleep(Duration::from_millis(rng.u64(0..2000))).await;
    }
}

async fn run(seed: u64) {
    // The pauses between retries draw from the generator of this thread.
    fastrand::seed(seed);
    let mut rng = Rng::with_seed(seed);
    let transactions = transactions(&mut rng);
    let roomy = seed.is_multiple_of(2);
    let last = transactions.last().map_or(0, |t| t.lsn + 1);
    let held = Held {
        rng: rng.fork(),
        tables: (1..=TABLES).map(|id| (id, Table::new())).collect(),
        versions: HashMap::new(),
        landed: HashMap::new(),
        lingering: HashMap::new(),
        tickets: 0,
        calm: false,
        roomy,
    };
    let sink = Arc::new(Faulty(Mutex::new(held)));
    let budget = Budget::new(if roomy { 4 << 20 } else { 256 << 10 });
    let (_, meters) = Status::new("p", "s", "p", budget.clone());
    let options = Options { flush_rows: 20, flush_bytes: 32 << 10, flush_interval: Duration::from_secs(1) };
    let pipeline = Pipeline::start(options, sink.clone(), Arc::new(NothingMissing), budget.clone(), meters.pipeline);
    let mut progress = pipeline.progress();
    let mut replay_wanted = pipeline.replay_wanted();
    let mut connections = 0;
    while progress.borrow().durable.0 < last {
        connections += 1;
        assert!(connections < 500, "it gets nowhere");
        sink.held().calm = connections > 20;
        let (sender, blocks) = mpsc::channel(4);
        let from = match pipeline.attach(blocks).await {
            Lsn::INVALID => Lsn(1),
            from => from,
        };
        tokio::select! {
            () = stream(&transactions, from, &budget, sender, &mut rng) => {}
            _ = replay_wanted.wait_for(|wanted| *wanted) => {}
        }
        let patience = sleep(Duration::from_secs(rng.u64(0..200)));
        tokio::pin!(patience);
        loop {
            let durable = progress.borrow_and_update().durable.0;
            check_durable(&sink.held(), &transactions, durable);
            tokio::select! {
                _ = progress.changed() => if durable >= last { break },
                () = &mut patience => break,
            }
        }
    }
    pipeline.drain().await;
    let want = replay(&transactions, last);
    assert_eq!(sink.held().tables, want, "both sides are equal in the end");
    assert_eq!(budget.used(), 0, "nothing is held in the end");
}

/// Everything before a durable position is in: no key is older than it was there. Where a truncate follows, the row may
/// have been void before it was ever sent.
fn check_durable(held: &Held, transactions: &[Transaction], durable: u64) {
    for (table, rows) in replay(transactions, durable) {
        for (key, (_, version)) in rows {
            let truncated = |t: &Transaction| {
                t.lsn >= version && t.steps.iter().any(|step| matches!(step, Step::Truncate(id) if *id == table))
            };
            if transactions.iter().any(truncated) {
                continue;
            }
            let have = held.versions.get(&(table, key)).copied().unwrap_or(0);
            assert!(have >= version, "t{table} key {key}: durable {durable}, but version {version} is not in ({have})");
        }
    }
}

#[test]
fn promises_hold_under_every_fault() {
    for seed in 0..400 {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        let outcome = std::panic::catch_unwind(|| runtime.block_on(run(seed)));
        if let Err(broken) = outcome {
            eprintln!("seed {seed}");
            std::panic::resume_unwind(broken);
        }
    }
}
