//! The task that decides: one loop over asks, what was read, what is durable, what is stored.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval};
use tracing::{error, info, warn};

use super::keeper::{Keep, Kept, keep};
use super::reader::{Job, Outcome, Shared, What};
use super::strain::strained;
use super::table::{KEYS, Step, TableCopying, planned};
use super::{Ask, Parts, Standing};
use crate::checkpoint::{CopyStore, StoredCopy};
use crate::engine::command::Refusal;
use crate::engine::{CopyMode, CopyOptions};
use crate::model::{Class, Lsn, Reason, Row, TableId, TableSchema, Visibility};
use crate::pipeline::{CopyEvent, CopyRequest, Pipeline, pause};
use crate::snapshot::{Aim, Found, Phase, Span, Why, WindowId, turn};
use crate::source::{BlockRange, ChunkConnection, ChunkReader, Source, Storage};
use crate::status::{CopyPhase, EngineMeter};

/// Time between two looks at what waits for time alone.
const TICK: Duration = Duration::from_millis(250);
/// How long the reading of one part should take.
const CHUNK_TIME: Duration = Duration::from_secs(1);
/// How long a table is left alone when the pipeline can open no window for it.
const NOT_NOW: Duration = Duration::from_millis(250);
/// How long a part that gave way to the stream's need of memory is left alone.
const SHORT_OF_MEMORY: Duration = Duration::from_secs(1);
/// Time between two looks at what must be over before a copy begins.
const BARRIER_WAIT: Duration = Duration::from_secs(1);
/// Time between two looks at a table that cannot be copied.
const REFUSED_WAIT: Duration = Duration::from_secs(30);
/// Time between two looks at replicas.
const STRAIN_WAIT: Duration = Duration::from_secs(5);
/// Windows that are open at once for each reader: some are read while others wait for the stream to come by.
const WINDOWS_PER_READER: usize = 3;
/// So often in a row a reader may find other columns than the stream has told, before the source is set up anew.
const STRANGE_COLUMNS_MAX: u32 = 8;

/// Something asked beside the loop.
#[derive(Debug)]
enum Aside {
    Surveyed(TableId, Result<Vec<Storage>, Reason>),
    Sees(Result<Visibility, Reason>),
    Finished(TableId, bool),
    Nudged,
    ReplicaLag(Result<Option<Duration>, Reason>),
    AsOf(Result<Lsn, Reason>),
}

/// A window.
#[derive(Debug)]
struct Open {
    table: TableId,
    what: What,
    gone: Arc<AtomicBool>,
    /// What was read, and where the log was; `None` while it is read.
    read: Option<(Found, Lsn, Instant)>,
    /// What the pipeline told of it before the reader came back.
    fate: Option<Fate>,
}

#[derive(Debug)]
enum Fate {
    Durable(Vec<Row>),
    Dropped(Why),
}

enum Wake {
    Asked(Ask),
    Told(CopyEvent),
    Kept(Kept),
    Read(WindowId, Outcome),
    Aside(Aside),
    Tick,
    End,
}

pub(super) struct Coordinator<S: Source> {
    source: Arc<S>,
    shared: Arc<Shared<S::Chunks>>,
    pipeline: Arc<Pipeline>,
    options: CopyOptions,
    meter: Arc<EngineMeter>,
    asks: mpsc::UnboundedReceiver<Ask>,
    events: mpsc::UnboundedReceiver<CopyEvent>,
    keeps: mpsc::UnboundedSender<Keep>,
    kept: mpsc::UnboundedReceiver<Kept>,
    keeper: Option<(mpsc::UnboundedReceiver<Keep>, mpsc::UnboundedSender<Kept>)>,
    standing: watch::Sender<Standing>,
    stored: watch::Receiver<Lsn>,
    pipeline_paused: watch::Receiver<bool>,
    tables: BTreeMap<TableId, TableCopying>,
    /// Every table that is replicated.
    replicated: BTreeMap<TableId, Arc<TableSchema>>,
    windows: HashMap<WindowId, Open>,
    next_window: u64,
    readers: JoinSet<(WindowId, Outcome)>,
    asides: JoinSet<Aside>,
    loaded: bool,
    flowing: bool,
    paused: bool,
    ending: bool,
    asking_visibility: bool,
    next_visibility: Instant,
    nudging: bool,
    asking_strain: bool,
    next_strain: Instant,
    replica_lag: Option<Duration>,
    strain: Option<Reason>,
    /// A position after which the columns we know were looked up.
    as_of: Lsn,
    asking_as_of: bool,
    look_again: u64,
    started: Instant,
}

impl<S: Source> Coordinator<S> {
    pub(super) fn new(parts: Parts<S>, asks: mpsc::UnboundedReceiver<Ask>, standing: watch::Sender<Standing>) -> Self {
        let Parts { source, pipeline, events, options, budget, stored, paused, meter } = parts;
        let (keeps, wishes) = mpsc::unbounded_channel();
        let (done, kept) = mpsc::unbounded_channel();
        let shared = Shared {
            reader: source.chunks(),
            pipeline: pipeline.clone(),
            budget: budget.part(budget.total() / 2),
            parallelism: options.parallelism,
            time_max: options.chunk_time_max,
            idle: std::sync::Mutex::default(),
        };
        Coordinator {
            source,
            shared: Arc::new(shared),
            pipeline,
            options,
            meter,
            asks,
            events,
            keeps,
            kept,
            keeper: Some((wishes, done)),
            standing,
            stored,
            pipeline_paused: paused,
            tables: BTreeMap::new(),
            replicated: BTreeMap::new(),
            windows: HashMap::new(),
            next_window: 0,
            readers: JoinSet::new(),
            asides: JoinSet::new(),
            loaded: false,
            flowing: false,
            paused: false,
            ending: false,
            asking_visibility: false,
            next_visibility: Instant::now(),
            nudging: false,
            asking_strain: false,
            next_strain: Instant::now(),
            replica_lag: None,
            strain: None,
            as_of: Lsn::INVALID,
            asking_as_of: false,
            look_again: 0,
            started: Instant::now(),
        }
    }

    /// Runs until the engine is gone.
    pub(super) async fn run(mut self) {
        let mut ticks = interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        if let Some((wishes, done)) = self.keeper.take() {
            tokio::spawn(keep(self.source.copies(), self.meter.clone(), wishes, done));
        }
        loop {
            match self.wait(&mut ticks).await {
                Wake::End => return,
                Wake::Asked(ask) => self.asked(ask).await,
                Wake::Told(event) => self.told(event).await,
                Wake::Kept(kept) => self.kept(kept).await,
                Wake::Read(window, outcome) => self.read(window, outcome).await,
                Wake::Aside(aside) => self.aside(aside),
                Wake::Tick => self.tick(),
            }
            self.go_on().await;
            self.tell_standing();
        }
    }

    async fn wait(&mut self, ticks: &mut tokio::time::Interval) -> Wake {
        tokio::select! {
            biased;
            ask = self.asks.recv() => ask.map_or(Wake::End, Wake::Asked),
            Some(event) = self.events.recv() => Wake::Told(event),
            Some(kept) = self.kept.recv() => Wake::Kept(kept),
            Some(read) = self.readers.join_next(), if !self.readers.is_empty() => match read {
                Ok((window, outcome)) => Wake::Read(window, outcome),
                Err(broken) => std::panic::resume_unwind(broken.into_panic()),
            },
            Some(aside) = self.asides.join_next(), if !self.asides.is_empty() => match aside {
                Ok(aside) => Wake::Aside(aside),
                Err(broken) => std::panic::resume_unwind(broken.into_panic()),
            },
            _ = ticks.tick() => Wake::Tick,
        }
    }

    fn aim(&self) -> Aim {
        Aim { bytes: self.options.chunk_bytes, time: CHUNK_TIME }
    }

    fn keep(&self, keep: Keep) {
        // The keeper lives as long as we do.
        drop(self.keeps.send(keep));
    }

    // ---- asks ----

    async fn asked(&mut self, ask: Ask) {
        // Whoever asked may have stopped waiting.
        match ask {
            Ask::Prepare { tables, paused, fresh, answer } => {
                let prepared = self.prepare(tables, paused, fresh).await;
                self.tell_standing();
                _ = answer.send(prepared);
            }
            Ask::Flowing(flowing) => self.flowing = flowing,
            Ask::End => self.end().await,
            Ask::Pause { paused, answer } => _ = answer.send(Ok(self.pause(paused))),
            Ask::Start { tables, answer } => {
                let outcome = self.may_start().and_then(|()| self.named(&tables)).map(|tables| self.start(tables));
                _ = answer.send(outcome);
            }
            Ask::Cancel { tables, answer } => {
                let outcome = match self.named(&tables) {
                    Ok(tables) => Ok(self.cancel(tables).await),
                    Err(refusal) => Err(refusal),
                };
                _ = answer.send(outcome);
            }
        }
    }

    /// Nothing more is begun, and what is under way is let go, so that nobody waits for it.
    async fn end(&mut self) {
        self.ending = true;
        let tables: Vec<TableId> = self.tables.keys().copied().collect();
        for table in tables {
            self.abort_windows(table, |_| true).await;
        }
    }

    /// Takes up the tables that setup found, and at first what an earlier life left.
    async fn prepare(&mut self, tables: Vec<Arc<TableSchema>>, paused: bool, fresh: bool) -> Result<usize, Reason> {
        let mut left = HashMap::new();
        if !self.loaded {
            let stored = self.source.copies().load().await?;
            left = stored.into_iter().map(|copy| (copy.table, copy)).collect();
            self.paused = paused;
            self.meter.copy_paused(paused);
            self.loaded = true;
        }
        self.look_up_position();
        self.replicated = tables.iter().map(|schema| (schema.id, schema.clone())).collect();
        let unknown: Vec<TableId> =
            self.tables.keys().filter(|table| !self.replicated.contains_key(table)).copied().collect();
        for table in unknown {
            self.forget(table).await;
            self.keep(Keep::Finished(table));
        }
        for schema in tables {
            let stored = left.remove(&schema.id);
            if fresh && stored.is_some() {
                self.keep(Keep::Finished(schema.id));
            }
            self.take_up(schema, stored.filter(|_| !fresh)).await;
        }
        // Of tables that are replicated no longer. Should one come back, changes are missing, and it begins anew.
        left.into_keys().for_each(|table| self.keep(Keep::Finished(table)));
        Ok(self.pending())
    }

    /// Asks for a position that lies after the look at the tables: once the stream has passed it, what it told of their
    /// columns before is older than what we know.
    fn look_up_position(&mut self) {
        (self.as_of, self.asking_as_of) = (Lsn::INVALID, true);
        let reader = self.shared.reader.clone();
        self.asides.spawn(async move {
            let position = async {
                let mut connection = reader.connect().await?;
                Ok(connection.begin().await?.position)
            };
            Aside::AsOf(position.await)
        });
    }

    async fn take_up(&mut self, schema: Arc<TableSchema>, stored: Option<StoredCopy>) {
        let table = schema.id;
        if let Some(copying) = self.tables.get(&table).filter(|copying| !copying.is_over()) {
            let before = copying.schema.clone();
            if before.columns != schema.columns || before.key != schema.key {
                let key = !before.key_columns().eq(schema.key_columns());
                self.columns_changed(schema, key).await;
            }
            return;
        }
        let wanted = match (&stored, self.options.mode) {
            (Some(stored), _) if stored.again => true,
            (Some(_), _) => true,
            (None, CopyMode::Never) => false,
            (None, CopyMode::Initial | CopyMode::Only) => !schema.complete && !self.tables.contains_key(&table),
        };
        if !wanted {
            return;
        }
        let aim = self.aim();
        let Some(stored) = stored else {
            self.tables.insert(table, TableCopying::new(schema, aim));
            return;
        };
        let mut copying = TableCopying::stored(schema, stored, aim);
        if self.options.mode == CopyMode::Never && !copying.again && !copying.settling {
            // Its blocks are left alone, but rows whose changes were set aside must be read: nothing else tells them.
            info!(table = %copying.schema.name, "the copy that was begun is left as it is: SNAPSHOT is never");
            (copying.settling, copying.step) = (true, Step::Repair);
        }
        self.begin_in_pipeline(&mut copying).await;
        self.tables.insert(table, copying);
    }

    async fn begin_in_pipeline(&self, copying: &mut TableCopying) {
        let phase = if copying.step == Step::Repair { Phase::Repairing } else { Phase::Copying };
        let request = CopyRequest::Begin {
            table: copying.schema.id,
            phase,
            complete: !copying.settling || copying.was_complete,
            wanted: copying.wanted.iter().cloned().collect(),
        };
        self.pipeline.copy(request).await;
        copying.known = true;
    }

    /// Lets go of everything of a table's copy.
    async fn forget(&mut self, table: TableId) {
        self.abort_windows(table, |_| true).await;
        if let Some(copying) = self.tables.remove(&table) {
            self.clear(&copying);
            if copying.known {
                self.pipeline.copy(CopyRequest::Cancel { table }).await;
            }
        }
    }

    async fn abort_windows(&mut self, table: TableId, which: impl Fn(&What) -> bool) {
        let of_table = |open: &Open| open.table == table && which(&open.what);
        let windows: Vec<WindowId> =
            self.windows.iter().filter(|(_, open)| of_table(open)).map(|(id, _)| *id).collect();
        for window in windows {
            if let Some(open) = self.windows.remove(&window) {
                open.gone.store(true, Relaxed);
                self.pipeline.copy(CopyRequest::Abort { window }).await;
                self.give_back(&open, false);
            }
        }
    }

    fn may_start(&self) -> Result<(), Refusal> {
        let problem = "is never: what a copy needs was not set up; restart with SNAPSHOT=initial".to_owned();
        match self.options.mode {
            CopyMode::Never => Err(Refusal::BadSetting { setting: "SNAPSHOT", problem }),
            CopyMode::Initial | CopyMode::Only => Ok(()),
        }
    }

    fn named(&self, names: &[String]) -> Result<Vec<TableId>, Refusal> {
        if names.is_empty() {
            return Ok(self.replicated.keys().copied().collect());
        }
        let find = |name: &String| {
            let found = self.replicated.values().find(|schema| schema.name.to_string() == *name);
            found.map(|schema| schema.id).ok_or_else(|| Refusal::UnknownTable { table: name.clone() })
        };
        names.iter().map(find).collect()
    }

    fn pause(&mut self, paused: bool) -> (bool, String) {
        let changed = std::mem::replace(&mut self.paused, paused) != paused;
        self.meter.copy_paused(paused);
        let message = match (paused, changed) {
            (true, true) => "no further existing rows are read; changes flow on",
            (true, false) => "the copy was paused already",
            (false, true) => "existing rows are read again",
            (false, false) => "the copy was not paused",
        };
        info!("{message}");
        (changed, message.to_owned())
    }

    fn start(&mut self, tables: Vec<TableId>) -> (bool, String) {
        let (mut begun, mut running) = (0, 0);
        for table in tables {
            if self.tables.get(&table).is_some_and(|copying| !copying.is_over()) {
                running += 1;
                continue;
            }
            let Some(schema) = self.replicated.get(&table).cloned() else { continue };
            let mut copying = TableCopying::new(schema, self.aim());
            (copying.again, copying.since) = (true, *self.stored.borrow());
            if let Some(before) = self.tables.insert(table, copying) {
                self.clear(&before);
            }
            begun += 1;
        }
        let message = match (begun, running) {
            (0, _) => "they are being copied already".to_owned(),
            (n, 0) => format!("{n} {} will be copied; changes flow on", tables_word(n)),
            (n, m) => format!("{n} {} will be copied, {m} are being copied already", tables_word(n)),
        };
        info!("{message}");
        (begun > 0, message)
    }

    async fn cancel(&mut self, tables: Vec<TableId>) -> (bool, String) {
        let mut ended = 0;
        for table in tables {
            let Some(copying) = self.tables.get_mut(&table).filter(|copying| !copying.is_over()) else { continue };
            if copying.settling || matches!(copying.step, Step::Finish { .. } | Step::Store | Step::Sweep { .. }) {
                continue;
            }
            ended += 1;
            copying.settling = true;
            let (known, before) = (copying.known, copying.step);
            // Rows whose changes were set aside are still to be read: nothing else tells them.
            copying.step = if known { Step::Repair } else { Step::Over(CopyPhase::Cancelled) };
            let (stored, complete) = (Box::new(copying.to_store()), copying.was_complete);
            self.abort_windows(table, |what| matches!(what, What::Blocks(_))).await;
            if known && before != Step::Repair {
                self.pipeline.copy(CopyRequest::BlocksDone { table, complete }).await;
            }
            self.keep(if known { Keep::Change(stored) } else { Keep::Anew(stored) });
        }
        let message = match ended {
            0 => "nothing is being copied".to_owned(),
            n => format!("{n} {} will not be copied further; changes flow on", tables_word(n)),
        };
        info!("{message}");
        (ended > 0, message)
    }

    // ---- what the pipeline tells ----

    async fn told(&mut self, event: CopyEvent) {
        match event {
            CopyEvent::Durable { window, repaired } => self.settle(window, Fate::Durable(repaired)),
            CopyEvent::Dropped { window, why } => self.settle(window, Fate::Dropped(why)),
            CopyEvent::Wanted { table, keys, token } => match self.tables.get_mut(&table) {
                Some(copying) if !copying.is_over() => {
                    copying.wanted.extend(keys.iter().cloned());
                    self.keep(Keep::Wanted(table, keys, token));
                }
                _ => self.pipeline.copy(CopyRequest::Stored { token }).await,
            },
            CopyEvent::Removed { table } => {
                if let Some(copying) = self.tables.get_mut(&table) {
                    copying.step = match copying.step {
                        Step::Empty { .. } => Step::Blocks,
                        Step::Sweep { .. } => Step::Finish { asked: false },
                        step => step,
                    };
                }
            }
            CopyEvent::NotRemoved { table } => {
                if let Some(copying) = self.tables.get_mut(&table) {
                    copying.hold_off(NOT_NOW);
                    copying.step = match copying.step {
                        Step::Empty { .. } => Step::Empty { asked: false },
                        Step::Sweep { .. } => Step::Sweep { asked: false },
                        step => step,
                    };
                }
            }
            CopyEvent::Columns { schema, key } => self.columns_changed(schema, key).await,
        }
    }

    /// A window's fate is known. If it is still being read, that waits until the reader is back.
    fn settle(&mut self, window: WindowId, fate: Fate) {
        let Some(open) = self.windows.get_mut(&window) else { return };
        if open.read.is_none() {
            open.gone.store(matches!(fate, Fate::Dropped(_)), Relaxed);
            open.fate = Some(fate);
            return;
        }
        let Some(open) = self.windows.remove(&window) else { return };
        match fate {
            Fate::Durable(repaired) => self.durable(&open, repaired),
            Fate::Dropped(why) => self.dropped(&open, why),
        }
    }

    fn durable(&mut self, open: &Open, repaired: Vec<Row>) {
        let Some(copying) = self.tables.get_mut(&open.table) else { return };
        copying.windows = copying.windows.saturating_sub(1);
        match (open.what, open.read) {
            (What::Blocks(range), Some((found, ..))) => {
                if let Some(range) = copying.plan.done(span(range), found) {
                    self.keep(Keep::Copied(open.table, range));
                }
            }
            (What::Keys(_), _) => {
                copying.key_window = None;
                copying.more_wanted = false;
                copying.keys = (copying.keys * 2).min(KEYS);
                if !repaired.is_empty() {
                    repaired.iter().for_each(|key| _ = copying.wanted.remove(key));
                    self.keep(Keep::Repaired(open.table, repaired));
                }
            }
            (What::Blocks(_), None) => {}
        }
    }

    fn dropped(&mut self, open: &Open, why: Why) {
        self.give_back(open, why == Why::TooLarge);
        let Some(copying) = self.tables.get_mut(&open.table) else { return };
        match why {
            Why::Truncated if copying.step == Step::Blocks => copying.step = Step::Survey { asked: false },
            Why::Memory => copying.hold_off(SHORT_OF_MEMORY),
            Why::ToldAgain => copying.hold_off(NOT_NOW),
            Why::Truncated | Why::Columns | Why::TooLarge | Why::Cancelled => {}
        }
    }

    /// What a window was for is to be read again.
    fn give_back(&mut self, open: &Open, smaller: bool) {
        let Some(copying) = self.tables.get_mut(&open.table) else { return };
        copying.windows = copying.windows.saturating_sub(1);
        match open.what {
            What::Blocks(range) => copying.plan.redo(span(range), smaller),
            What::Keys(_) => {
                copying.key_window = None;
                if smaller {
                    copying.keys = (copying.keys / 2).max(1);
                }
            }
        }
    }

    /// The table has other columns from here on. New ones have values of their own in rows that are copied already, so
    /// that the copy begins anew; for others only what is under way is read again, which the pipeline sees to.
    async fn columns_changed(&mut self, schema: Arc<TableSchema>, key: bool) {
        let table = schema.id;
        let Some(copying) = self.tables.get_mut(&table).filter(|copying| !copying.is_over()) else { return };
        let before = std::mem::replace(&mut copying.schema, schema.clone());
        copying.strange_columns = 0;
        let known = |name: &str| before.columns.iter().any(|column| column.name == name);
        let added = schema.columns.iter().any(|column| !known(&column.name));
        self.replicated.insert(table, schema.clone());
        let copies = matches!(copying.step, Step::Survey { .. } | Step::Barrier | Step::Empty { .. } | Step::Blocks);
        if key {
            // What is wanted is named by keys that are none any more.
            let (again, since) = (copying.again, copying.since);
            info!(table = %schema.name, "the key changed: the copy begins anew");
            self.forget(table).await;
            let mut anew = TableCopying::new(schema, self.aim());
            (anew.again, anew.since) = (again, since);
            self.tables.insert(table, anew);
        } else if added && copying.known && copies {
            info!(table = %schema.name, "columns were added: its rows are copied from the beginning, for their values");
            (copying.anew, copying.step) = (true, Step::Survey { asked: false });
            // What is read and not yet durable is a part of the former plan, and must not be taken for one of the next.
            self.abort_windows(table, |what| matches!(what, What::Blocks(_))).await;
        }
    }

    // ---- what is stored ----

    async fn kept(&mut self, kept: Kept) {
        match kept {
            Kept::Wanted(token) => self.pipeline.copy(CopyRequest::Stored { token }).await,
            Kept::Begun(table, barrier) => {
                let Some(mut copying) = self.tables.remove(&table) else { return };
                if copying.step == Step::Begin {
                    copying.barrier = barrier;
                    copying.step = Step::Barrier;
                    self.begin_in_pipeline(&mut copying).await;
                }
                self.tables.insert(table, copying);
            }
            Kept::Finished(table) => {
                if let Some(copying) = self.tables.get_mut(&table)
                    && copying.step == Step::Store
                {
                    copying.step = Step::Over(CopyPhase::Finished);
                    let extent = copying.plan.extent();
                    info!(table = %copying.schema.name, rows = extent.rows, bytes = extent.bytes, "copied");
                }
                self.report(table);
            }
        }
    }

    // ---- what readers bring ----

    async fn read(&mut self, window: WindowId, outcome: Outcome) {
        let Some(open) = self.windows.get_mut(&window) else { return };
        let table = open.table;
        if let Outcome::Read(found, position) = outcome {
            open.read = Some((found, position, Instant::now()));
            if let Some(fate) = open.fate.take() {
                self.settle(window, fate);
            }
            if let Some(copying) = self.tables.get_mut(&table) {
                (copying.failures, copying.strange_columns) = (0, 0);
            }
            return self.cured(table);
        }
        if matches!(outcome, Outcome::Gone) {
            // The pipeline says why, or has said so.
            open.read = Some((Found { rows: 0, bytes: 0, took: Duration::ZERO }, Lsn::INVALID, Instant::now()));
            if let Some(fate) = open.fate.take() {
                self.settle(window, fate);
            }
            return;
        }
        let Some(open) = self.windows.remove(&window) else { return };
        self.give_back(&open, matches!(outcome, Outcome::TooSlow));
        self.not_read(table, open.what, outcome).await;
    }

    /// Nothing came of a window, and none is open.
    async fn not_read(&mut self, table: TableId, what: What, outcome: Outcome) {
        let Some(copying) = self.tables.get_mut(&table) else { return };
        match outcome {
            Outcome::Read(..) | Outcome::Gone => {}
            Outcome::NotNow | Outcome::NoCopy => copying.hold_off(NOT_NOW),
            Outcome::Nothing => {
                // Later changes stated their rows whole, or removed them.
                copying.more_wanted = false;
                let settled: Vec<Row> = copying.wanted.drain().collect();
                if !settled.is_empty() {
                    self.keep(Keep::Repaired(table, settled));
                }
            }
            Outcome::TooSlow => copying.hold_off(SHORT_OF_MEMORY),
            Outcome::Rewritten => {
                copying.hold_off(NOT_NOW);
                if copying.step == Step::Blocks && matches!(what, What::Blocks(_)) {
                    copying.step = Step::Survey { asked: false };
                }
            }
            // Until the stream has come by, its word may be older than ours.
            Outcome::Columns(Some(_)) if self.as_of > self.meter.received() => copying.hold_off(NOT_NOW),
            Outcome::Columns(Some(schema)) => {
                let key = !copying.schema.key_columns().eq(schema.key_columns());
                self.columns_changed(schema, key).await;
            }
            Outcome::Columns(None) => {
                copying.strange_columns += 1;
                copying.hold_off(NOT_NOW);
                if copying.strange_columns % STRANGE_COLUMNS_MAX == 0 {
                    info!(table = %copying.schema.name, "its columns are looked up anew");
                    self.look_again += 1;
                }
            }
            Outcome::Failed(reason) => self.failed(table, reason),
        }
    }

    fn failed(&mut self, table: TableId, reason: Reason) {
        let Some(copying) = self.tables.get_mut(&table) else { return };
        copying.failures += 1;
        copying.hold_off(pause(reason.class, copying.failures, fastrand::f64()));
        let name = copying.schema.name.to_string();
        let message = if reason.message.contains(&name) {
            reason.message.clone()
        } else {
            format!("copying {name}: {}", reason.message)
        };
        let reason = Reason { object: name, message, ..reason };
        if !copying.raised.contains(&reason.code) {
            copying.raised.push(reason.code);
        }
        self.raise(reason);
    }

    fn raise(&self, reason: Reason) {
        let Reason { code, class, object, message, remedy, .. } = reason.clone();
        if self.meter.raise(reason) {
            match class {
                Class::Retry => warn!(code, object, "{message}"),
                _ => error!(code, object, remedy, "{message}"),
            }
        }
    }

    fn cured(&mut self, table: TableId) {
        if let Some(copying) = self.tables.get_mut(&table)
            && !copying.raised.is_empty()
        {
            let raised = std::mem::take(&mut copying.raised);
            let object = copying.schema.name.to_string();
            self.meter.clear(|reason| reason.object == object && raised.contains(&reason.code));
        }
    }

    fn clear(&self, copying: &TableCopying) {
        let object = copying.schema.name.to_string();
        self.meter.clear(|reason| reason.object == object && copying.raised.contains(&reason.code));
    }

    // ---- what was asked beside the loop ----

    fn aside(&mut self, aside: Aside) {
        match aside {
            Aside::Surveyed(table, surveyed) => self.surveyed(table, surveyed),
            Aside::Sees(sees) => {
                self.asking_visibility = false;
                self.next_visibility = Instant::now() + BARRIER_WAIT;
                // If the source cannot be asked, it is asked again; the stream says what is wrong.
                if let Ok(sees) = sees {
                    self.pipeline.unseen().learn(&sees);
                    let waiting = self.tables.values_mut().filter(|copying| copying.step == Step::Barrier);
                    let over = waiting.filter(|copying| sees.oldest_running() > copying.barrier);
                    for copying in over {
                        let empties = copying.again && !self.options.versions && copying.plan.copied().is_empty();
                        copying.step = if empties { Step::Empty { asked: false } } else { Step::Blocks };
                    }
                }
            }
            Aside::Finished(table, finished) => {
                let Some(copying) = self.tables.get_mut(&table) else { return };
                if copying.step != (Step::Finish { asked: true }) {
                    return;
                }
                if !finished {
                    copying.more_wanted = true;
                    copying.step = Step::Repair;
                    copying.hold_off(Duration::from_millis(50));
                } else if copying.settling {
                    copying.step = Step::Over(CopyPhase::Cancelled);
                } else {
                    copying.step = Step::Store;
                    self.keep(Keep::Finished(table));
                }
            }
            Aside::Nudged => self.nudging = false,
            Aside::ReplicaLag(lag) => {
                self.asking_strain = false;
                self.replica_lag = lag.unwrap_or(None);
            }
            Aside::AsOf(position) => {
                self.asking_as_of = false;
                self.as_of = position.unwrap_or(Lsn::INVALID);
            }
        }
    }

    fn surveyed(&mut self, table: TableId, surveyed: Result<Vec<Storage>, Reason>) {
        let Some(copying) = self.tables.get_mut(&table) else { return };
        if copying.step != (Step::Survey { asked: true }) {
            return;
        }
        let storages = match surveyed {
            Ok(storages) => planned(storages),
            Err(reason) => {
                copying.step = Step::Survey { asked: false };
                let person = reason.class != Class::Retry;
                copying.refused = person;
                self.failed(table, reason);
                if let Some(copying) = self.tables.get_mut(&table).filter(|_| person) {
                    copying.hold_off(REFUSED_WAIT);
                }
                return;
            }
        };
        copying.refused = false;
        // Also the blocks that came since count then: what is in them was told without the new columns.
        let anew = std::mem::take(&mut copying.anew);
        let changed = if anew { copying.plan.restart(storages) } else { copying.plan.survey(storages) };
        if !copying.known {
            copying.step = Step::Begin;
            copying.since = if copying.again { copying.since } else { *self.stored.borrow() };
            let begin = Box::new(copying.to_store());
            let keep = if copying.was_complete { Keep::Anew(begin) } else { Keep::Begin(begin) };
            self.keep(keep);
        } else {
            copying.step = Step::Barrier;
            if anew {
                let stored = Box::new(copying.to_store());
                self.keep(Keep::Anew(stored));
            } else if changed {
                let change = Box::new(copying.to_store());
                self.keep(Keep::Change(change));
            }
        }
        self.cured(table);
    }

    // ---- time ----

    fn tick(&mut self) {
        let since = self.started.elapsed();
        self.tables.values_mut().for_each(|copying| copying.note_pace(since));
        let tables: Vec<TableId> = self.tables.keys().copied().collect();
        tables.into_iter().for_each(|table| self.report(table));
        self.look_at_strain();
        self.nudge();
        if self.windows.is_empty() && self.pending() == 0 {
            self.shared.close_idle();
        }
    }

    fn report(&self, table: TableId) {
        if let Some(copying) = self.tables.get(&table) {
            self.meter.copy(&copying.schema.name, &copying.schema.target, copying.numbers());
        }
    }

    fn look_at_strain(&mut self) {
        let found = strained(&self.options, self.meter.slot_health().as_ref(), self.replica_lag);
        if let Some(before) = &self.strain
            && found.as_ref().is_none_or(|found| found.code != before.code)
        {
            self.meter.clear(|reason| reason.code == before.code);
        }
        if self.pending() > 0 && !self.paused {
            found.iter().for_each(|reason| self.raise(reason.clone()));
        } else {
            self.strain.iter().for_each(|before| self.meter.clear(|reason| reason.code == before.code));
        }
        self.strain = found;
        let due = self.options.replica_lag_max.is_some() && !self.asking_strain && self.next_strain <= Instant::now();
        if due && self.flowing && self.pending() > 0 {
            self.asking_strain = true;
            self.next_strain = Instant::now() + STRAIN_WAIT;
            let reader = self.shared.reader.clone();
            self.asides.spawn(async move { Aside::ReplicaLag(reader.replica_lag().await) });
        }
    }

    /// On a source where nothing else happens, the end of the log may lie unwritten, and the stream never pass it.
    fn nudge(&mut self) {
        let passed = self.meter.received();
        let waits = |open: &Open| {
            let waiting = open.read.filter(|(_, position, at)| *position > passed && at.elapsed() >= TICK);
            waiting.is_some()
        };
        let waiting = self.windows.values().any(waits) || self.as_of > passed && self.pending() > 0;
        if self.flowing && !self.nudging && !*self.pipeline_paused.borrow() && waiting {
            self.nudging = true;
            let reader = self.shared.reader.clone();
            self.asides.spawn(async move {
                // Should it fail, it is done again.
                drop(reader.nudge().await);
                Aside::Nudged
            });
        }
    }

    // ---- going on ----

    /// Whether something may be begun at all.
    fn may_read(&self) -> bool {
        self.flowing
            && !self.ending
            && !self.paused
            && !*self.pipeline_paused.borrow()
            && !self.asking_as_of
            && self.strain.is_none()
            && !self.meter.breaker_open()
    }

    async fn go_on(&mut self) {
        if !self.flowing || self.ending {
            return;
        }
        let now = Instant::now();
        let tables: Vec<TableId> = self.tables.keys().copied().collect();
        for table in tables {
            self.advance(table, now).await;
        }
        self.ask_for_barrier(now);
        if self.may_read() {
            self.hand_out(now);
        }
    }

    /// Takes a table as far as it goes without reading.
    async fn advance(&mut self, table: TableId, now: Instant) {
        let (paused, pipeline) = (self.paused, self.pipeline.clone());
        let Some(copying) = self.tables.get_mut(&table).filter(|copying| copying.is_due(now)) else { return };
        match copying.step {
            Step::Survey { asked: false } if !paused => {
                copying.step = Step::Survey { asked: true };
                let (reader, schema) = (self.shared.reader.clone(), copying.schema.clone());
                self.asides.spawn(async move { Aside::Surveyed(table, reader.survey(&schema).await) });
            }
            Step::Empty { asked: false } => {
                copying.step = Step::Empty { asked: true };
                pipeline.copy(CopyRequest::Empty { schema: copying.schema.clone() }).await;
            }
            Step::Blocks if copying.plan.is_done() => {
                copying.step = Step::Repair;
                pipeline.copy(CopyRequest::BlocksDone { table, complete: true }).await;
                let change = Box::new(copying.to_store());
                self.keep(Keep::Change(change));
            }
            Step::Repair if copying.wanted.is_empty() && copying.key_window.is_none() && !copying.more_wanted => {
                let sweeps = copying.again && self.options.versions && !copying.settling && !copying.swept;
                copying.step = if sweeps { Step::Sweep { asked: false } } else { Step::Finish { asked: false } };
            }
            Step::Sweep { asked: false } => {
                (copying.step, copying.swept) = (Step::Sweep { asked: true }, true);
                let (schema, before) = (copying.schema.clone(), copying.since);
                pipeline.copy(CopyRequest::Sweep { schema, before }).await;
            }
            Step::Finish { asked: false } => {
                copying.step = Step::Finish { asked: true };
                let (answer, reply) = oneshot::channel();
                pipeline.copy(CopyRequest::Finish { table, answer }).await;
                self.asides.spawn(async move { Aside::Finished(table, reply.await.unwrap_or(false)) });
            }
            _ => {}
        }
    }

    fn ask_for_barrier(&mut self, now: Instant) {
        let waits = self.tables.values().any(|copying| copying.step == Step::Barrier);
        if waits && !self.asking_visibility && self.next_visibility <= now {
            self.asking_visibility = true;
            let reader = self.shared.reader.clone();
            self.asides.spawn(async move { Aside::Sees(reader.visibility().await) });
        }
    }

    /// Hands out parts as long as there are readers and windows.
    fn hand_out(&mut self, now: Instant) {
        while self.readers.len() < self.options.parallelism
            && self.windows.len() < self.options.parallelism * WINDOWS_PER_READER
        {
            // Keys first: they are few, and what waits for them is already out of date in the target.
            let by_keys = self.tables.iter().find(|(_, copying)| copying.wants_keys(now)).map(|(table, _)| *table);
            let job = match by_keys {
                Some(table) => self.key_job(table),
                None => self.block_job(now),
            };
            let Some(job) = job else { return };
            let shared = self.shared.clone();
            let window = job.window;
            self.readers.spawn(async move { (window, shared.read(job).await) });
        }
    }

    fn key_job(&mut self, table: TableId) -> Option<Job> {
        let keys = self.tables.get(&table)?.keys;
        let job = self.job(table, What::Keys(keys))?;
        self.tables.get_mut(&table)?.key_window = Some(job.window);
        Some(job)
    }

    fn block_job(&mut self, now: Instant) -> Option<Job> {
        let claims = self.tables.iter().filter_map(|(table, copying)| Some((*table, copying.claim(now)?)));
        let table = turn(claims)?;
        let Span { storage, incarnation, first, end } = self.tables.get_mut(&table)?.plan.next_span()?;
        self.job(table, What::Blocks(BlockRange { storage, incarnation, first, end }))
    }

    fn job(&mut self, table: TableId, what: What) -> Option<Job> {
        let copying = self.tables.get_mut(&table)?;
        copying.windows += 1;
        let window = WindowId(self.next_window);
        self.next_window += 1;
        let gone = Arc::new(AtomicBool::new(false));
        let open = Open { table, what, gone: gone.clone(), read: None, fate: None };
        self.windows.insert(window, open);
        Some(Job { window, schema: copying.schema.clone(), as_of: self.as_of, what, gone })
    }

    // ---- what others are told ----

    fn pending(&self) -> usize {
        self.tables.values().filter(|copying| !copying.is_over() && !copying.refused).count()
    }

    fn tell_standing(&mut self) {
        let over = |copying: &TableCopying| copying.step == Step::Over(CopyPhase::Cancelled) || copying.refused;
        let standing = Standing {
            pending: self.pending(),
            left_out: self.tables.values().filter(|copying| over(copying)).count(),
            look_again: self.look_again,
            detail: self.detail(),
        };
        self.standing.send_if_modified(|before| {
            let changed = *before != standing;
            if changed {
                *before = standing;
            }
            changed
        });
    }

    fn detail(&self) -> String {
        let pending = self.pending();
        if pending == 0 {
            return String::new();
        }
        let all = self.tables.len();
        let base = format!("copying existing rows: {} of {all} {} done", all - pending, tables_word(all));
        let waits_only = |copying: &TableCopying| copying.is_over() || copying.refused || copying.step == Step::Barrier;
        match &self.strain {
            _ if self.paused => format!("{base}; paused"),
            Some(strain) => format!("{base}; waiting: {}", strain.message),
            None if self.meter.breaker_open() => format!("{base}; waiting for the sink"),
            None if self.tables.values().all(waits_only) => {
                format!("{base}; waiting for transactions that ran before")
            }
            None => base,
        }
    }
}

fn span(range: BlockRange) -> Span {
    let BlockRange { storage, incarnation, first, end } = range;
    Span { storage, incarnation, first, end }
}

fn tables_word(n: usize) -> &'static str {
    if n == 1 { "table" } else { "tables" }
}
