//! The task that decides: one loop over asks, what was read, what is durable, what is stored.
//!
//! `asks` takes commands, `outcomes` what comes of what was begun, `turns` begins what is next.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use super::keeper::{Keep, Kept, keep};
use super::reader::{Outcome, Shared, What};
use super::table::TableCopying;
use super::{Ask, Parts, Standing};
use crate::engine::CopyOptions;
use crate::model::{Lsn, Reason, Row, TableId, TableSchema, Visibility};
use crate::pipeline::{CopyEvent, Pipeline};
use crate::snapshot::{Aim, Found, Span, Why, WindowId};
use crate::source::{BlockRange, Source, Storage};
use crate::status::EngineMeter;

mod asks;
mod outcomes;
mod turns;

/// Time between two looks at what waits for time alone.
const TICK: Duration = Duration::from_millis(100);
/// The same while nothing is to be copied.
const TICK_IDLE: Duration = Duration::from_secs(1);
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
    /// After the look at the tables of that number, the log was there.
    LookedUp(u64, Lsn),
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
    /// The tables as setup saw them last, how often it has looked, and a position between that look and the next.
    looked_up: BTreeMap<TableId, Arc<TableSchema>>,
    looks: u64,
    looked_up_at: Lsn,
    look_again: u64,
    started: Instant,
    ticked: Instant,
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
            looked_up: BTreeMap::new(),
            looks: 0,
            looked_up_at: Lsn::INVALID,
            look_again: 0,
            started: Instant::now(),
            ticked: Instant::now(),
        }
    }

    /// Runs until the engine is gone.
    pub(super) async fn run(mut self) {
        if let Some((wishes, done)) = self.keeper.take() {
            tokio::spawn(keep(self.source.copies(), self.meter.clone(), wishes, done));
        }
        loop {
            match self.wait().await {
                Wake::End => return,
                Wake::Asked(ask) => self.asked(ask).await,
                Wake::Told(event) => self.told(event).await,
                Wake::Kept(kept) => self.kept(kept).await,
                Wake::Read(window, outcome) => self.read(window, outcome).await,
                Wake::Aside(aside) => self.aside(aside),
                Wake::Tick => {
                    self.ticked = Instant::now();
                    self.tick();
                }
            }
            self.go_on().await;
            self.tell_standing();
        }
    }

    async fn wait(&mut self) -> Wake {
        let tick = self.ticked + if self.is_idle() { TICK_IDLE } else { TICK };
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
            () = sleep_until(tick) => Wake::Tick,
        }
    }

    /// Whether nothing is under way, and nothing waits.
    fn is_idle(&self) -> bool {
        let over = self.tables.values().all(TableCopying::is_over);
        over && self.windows.is_empty() && self.readers.is_empty() && self.asides.is_empty()
    }

    fn aim(&self) -> Aim {
        Aim { bytes: self.options.chunk_bytes, time: CHUNK_TIME }
    }

    fn keep(&self, keep: Keep) {
        // The keeper lives as long as we do.
        drop(self.keeps.send(keep));
    }
}

fn span(range: BlockRange) -> Span {
    let BlockRange { storage, incarnation, first, end } = range;
    Span { storage, incarnation, first, end }
}

fn tables_word(n: usize) -> &'static str {
    if n == 1 { "table" } else { "tables" }
}
