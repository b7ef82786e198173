//! The shell around the core: channels, timers, lanes.

use std::sync::{Arc, Mutex, PoisonError};

use foldhash::fast::FixedState;
use hashbrown::HashMap;
use tokio::sync::{mpsc, oneshot, watch};

use super::core::{Action, Core, Job, Report, What};
pub use super::lane::MissingValues;
use super::lane::{Lane, Message, Reported, Shared};
use super::retry::{Breaker, now};
use super::{CopyEvent, CopyRequest, Options};
use crate::failpoint;
use crate::model::{Block, Budget, Lsn, TableId, TableSchema};
use crate::sink::Sink;
use crate::snapshot::Unseen;
use crate::status::PipelineMeter;

/// Which positions are reached.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Everything before it is durable in the sink.
    pub durable: Lsn,
    /// The last durable position that ended a transaction with rows of ours; between it and `durable` lies nothing
    /// that would have to be told again.
    pub durable_rows: Lsn,
}

/// The engine's hold on the running pipeline. It ends when this is dropped.
#[derive(Debug)]
pub struct Pipeline {
    control: mpsc::Sender<Control>,
    progress: watch::Receiver<Progress>,
    replay: watch::Receiver<bool>,
    copies: Mutex<Option<mpsc::UnboundedReceiver<CopyEvent>>>,
    unseen: Unseen,
}

/// What is noted of one table that is being copied may take this part of the budget.
const NOTED_PART: usize = 8;

#[derive(Debug)]
enum Control {
    Register(Vec<Arc<TableSchema>>),
    Attach { blocks: mpsc::Receiver<Block>, answer: oneshot::Sender<Lsn> },
    Drain(oneshot::Sender<bool>),
    Options(Options),
    Copy(CopyRequest),
}

impl Pipeline {
    /// Starts one, with a worker task and a lane for each table.
    pub fn start<S: Sink>(
        options: Options,
        sink: Arc<S>,
        values: Arc<dyn MissingValues>,
        budget: Budget,
        meter: PipelineMeter,
    ) -> Pipeline {
        let (control, controls) = mpsc::channel(8);
        let (reports, reported) = mpsc::unbounded_channel();
        let (progress, seen) = watch::channel(Progress::default());
        let (replay, replay_seen) = watch::channel(false);
        let (copies, copies_told) = mpsc::unbounded_channel();
        let breaker = Mutex::new(Breaker::default());
        let core = Core::new(options, budget.total() / NOTED_PART);
        let unseen = core.unseen();
        let worker = Worker {
            core,
            shared: Arc::new(Shared {
                sink,
                values,
                breaker,
                budget: budget.clone(),
                meter,
                reports,
                objects: Mutex::default(),
                unseen: unseen.clone(),
            }),
            copies,
            lanes: HashMap::default(),
            controls,
            reported,
            blocks: None,
            attaching: None,
            draining: Vec::new(),
            lost_rows: 0,
            progress,
            replay,
            starving: budget.waiting(),
        };
        tokio::spawn(worker.run());
        Pipeline { control, progress: seen, replay: replay_seen, copies: Mutex::new(Some(copies_told)), unseen }
    }

    /// Steers the copy of a table. Requests take effect in their order.
    pub async fn copy(&self, request: CopyRequest) {
        self.tell(Control::Copy(request)).await;
    }

    /// What is told of copies. Can be taken once.
    pub fn copy_events(&self) -> Option<mpsc::UnboundedReceiver<CopyEvent>> {
        self.copies.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// The transactions that readers of the source may not see yet.
    pub fn unseen(&self) -> Unseen {
        self.unseen.clone()
    }

    /// Makes the targets of these tables ready, before rows of theirs come.
    pub async fn register(&self, tables: Vec<Arc<TableSchema>>) {
        self.tell(Control::Register(tables)).await;
    }

    /// Takes up a new stream. Waits until everything of the stream before is taken in (its sender must be gone), and,
    /// if changes have to be told again, until nothing is under way. Returns where the new stream is to start;
    /// [`Lsn::INVALID`] if this is the first.
    pub async fn attach(&self, blocks: mpsc::Receiver<Block>) -> Lsn {
        let (answer, reply) = oneshot::channel();
        self.tell(Control::Attach { blocks, answer }).await;
        reply.await.unwrap_or(Lsn::INVALID)
    }

    /// From now on flushes whatever is complete at once; returns when nothing is left under way. A blocked table's
    /// changes are not waited for: whether everything is durable.
    pub async fn drain(&self) -> bool {
        let (answer, reply) = oneshot::channel();
        self.tell(Control::Drain(answer)).await;
        // An error means the worker is gone, and with it everything that could be waited for.
        reply.await.unwrap_or(false)
    }

    /// New settings, from now on.
    pub async fn set_options(&self, options: Options) {
        self.tell(Control::Options(options)).await;
    }

    /// The positions reached.
    pub fn progress(&self) -> watch::Receiver<Progress> {
        self.progress.clone()
    }

    /// Turns true when the stream must be ended and attached anew, because changes are to be told again.
    pub fn replay_wanted(&self) -> watch::Receiver<bool> {
        self.replay.clone()
    }

    async fn tell(&self, control: Control) {
        // An error means the worker is gone; the engine notices by its answers.
        drop(self.control.send(control).await);
    }
}

enum Wake {
    Control(Control),
    Reported(Reported),
    /// `None`: the stream has ended and everything it sent is taken in.
    Block(Option<Block>),
    Due,
    /// The source waits for memory.
    Starving,
    End,
}

struct Worker<S> {
    core: Core,
    shared: Arc<Shared<S>>,
    lanes: HashMap<TableId, mpsc::UnboundedSender<Message>, FixedState>,
    controls: mpsc::Receiver<Control>,
    reported: mpsc::UnboundedReceiver<Reported>,
    blocks: Option<mpsc::Receiver<Block>>,
    attaching: Option<(mpsc::Receiver<Block>, oneshot::Sender<Lsn>)>,
    draining: Vec<oneshot::Sender<bool>>,
    /// Row changes that blocked tables let go.
    lost_rows: u64,
    progress: watch::Sender<Progress>,
    replay: watch::Sender<bool>,
    copies: mpsc::UnboundedSender<CopyEvent>,
    starving: watch::Receiver<u32>,
}

impl<S: Sink> Worker<S> {
    async fn run(mut self) {
        loop {
            let wake = self.wait().await;
            if matches!(wake, Wake::End) {
                return;
            }
            for action in self.decide(wake) {
                self.perform(action);
            }
            self.settle();
        }
    }

    async fn wait(&mut self) -> Wake {
        let due = self.core.due(now());
        let timer = async {
            match due {
                Some(due) => tokio::time::sleep_until(due.into()).await,
                None => std::future::pending().await,
            }
        };
        let next_block = async {
            match &mut self.blocks {
                Some(blocks) => blocks.recv().await,
                None => std::future::pending().await,
            }
        };
        let hoards = self.core.can_relieve();
        tokio::select! {
            biased;
            control = self.controls.recv() => control.map_or(Wake::End, Wake::Control),
            Some(reported) = self.reported.recv() => Wake::Reported(reported),
            () = timer => Wake::Due,
            block = next_block => Wake::Block(block),
            Ok(_) = self.starving.wait_for(|waiting| *waiting > 0), if hoards => Wake::Starving,
        }
    }

    fn decide(&mut self, wake: Wake) -> Vec<Action> {
        let now = now();
        let mut actions = Vec::new();
        match wake {
            Wake::Block(Some(block)) => {
                failpoint::hit("after_receive");
                let received = self.core.take(block, now, &mut actions);
                let meter = &self.shared.meter;
                meter.flowed(received.rows, received.transactions);
                meter.rows_settled(received.settled);
                meter.received(self.core.received(), received.commit_micros);
            }
            Wake::Block(None) => self.blocks = None,
            Wake::Reported((report, rows)) => {
                if let Report::Lost { .. } = report {
                    self.lost_rows += rows;
                } else {
                    self.shared.meter.rows_settled(rows);
                }
                self.core.report(report, now, &mut actions);
            }
            Wake::Due => self.core.tick(now, &mut actions),
            Wake::Starving => self.core.relieve(now, &mut actions),
            Wake::Control(control) => self.obey(control, now, &mut actions),
            Wake::End => {}
        }
        actions
    }

    fn obey(&mut self, control: Control, now: std::time::Instant, actions: &mut Vec<Action>) {
        match control {
            Control::Register(tables) => tables.into_iter().for_each(|schema| {
                self.send(schema.clone(), Message::Prepare(schema));
            }),
            Control::Attach { blocks, answer } => self.attaching = Some((blocks, answer)),
            Control::Drain(answer) => {
                self.core.drain();
                self.core.tick(now, actions);
                self.draining.push(answer);
            }
            Control::Options(options) => self.core.set_options(options),
            Control::Copy(request) => self.copy(request, now, actions),
        }
    }

    fn copy(&mut self, request: CopyRequest, now: std::time::Instant, actions: &mut Vec<Action>) {
        let core = &mut self.core;
        // Whoever waits for an answer may have stopped waiting.
        match request {
            CopyRequest::Begin { table, phase, complete, wanted } => {
                core.begin_copy(table, phase, complete, wanted, actions);
            }
            CopyRequest::Open { window, schema, as_of, wanted, answer } => {
                _ = answer.send(core.open_window(window, &schema, as_of, wanted, actions));
            }
            CopyRequest::Check { window, sees, position, answer } => {
                _ = answer.send(core.check(window, sees, position));
            }
            CopyRequest::Piece { window, rows, permit, bytes } => core.piece(window, rows, permit, bytes),
            CopyRequest::End { window } => core.end_window(window),
            CopyRequest::Abort { window } => core.abort_window(window),
            CopyRequest::BlocksDone { table, complete } => core.blocks_done(table, complete, now, actions),
            CopyRequest::Sweep { schema, before } => core.remove(schema, What::Sweep(before), actions),
            CopyRequest::Empty { schema } => core.remove(schema, What::Empty, actions),
            CopyRequest::Finish { table, answer } => _ = answer.send(core.finish_copy(table)),
            CopyRequest::Cancel { table } => core.cancel_copy(table),
            CopyRequest::Stored { token } => core.stored(token),
        }
        core.copies_go_on(now, actions);
        core.tick(now, actions);
    }

    fn perform(&mut self, action: Action) {
        match action {
            Action::Dispatch(job) => self.dispatch(job),
            // An error means that the engine does not copy.
            Action::Tell(event) => drop(self.copies.send(event)),
            Action::Durable(end) => {
                self.shared.meter.durable(end.lsn, end.commit_micros);
                self.progress.send_modify(|progress| {
                    progress.durable = end.lsn;
                    if end.rows {
                        progress.durable_rows = end.lsn;
                    }
                });
            }
        }
    }

    fn dispatch(&mut self, job: Job) {
        self.send(job.schema.clone(), Message::Job(job));
    }

    fn send(&mut self, schema: Arc<TableSchema>, message: Message) {
        let lane = self.lanes.entry(schema.id).or_insert_with(|| {
            let (sender, messages) = mpsc::unbounded_channel();
            tokio::spawn(Lane::new(self.shared.clone(), schema, messages).run());
            sender
        });
        // A lane ends only with its channel.
        drop(lane.send(message));
    }

    /// Answers who waits for a state that is now reached.
    fn settle(&mut self) {
        let wanted = self.core.replay_wanted(now());
        self.replay.send_if_modified(|before| std::mem::replace(before, wanted) != wanted);
        if self.core.is_drained() && self.blocks.as_ref().is_none_or(mpsc::Receiver::is_empty) {
            for answer in self.draining.drain(..) {
                // Whoever asked may have stopped waiting.
                _ = answer.send(!self.core.has_lost());
            }
        }
        let told_again = self.core.must_replay();
        if self.blocks.is_none()
            && !(told_again && self.core.is_busy())
            && let Some((blocks, answer)) = self.attaching.take()
        {
            if told_again {
                self.replay_all();
            }
            self.blocks = Some(blocks);
            _ = answer.send(self.core.received());
        }
    }

    fn replay_all(&mut self) {
        let forgotten = std::mem::take(&mut self.lost_rows) + self.core.open_rows();
        self.shared.meter.rows_settled(forgotten);
        let mut actions = Vec::new();
        for table in self.core.replay(&mut actions) {
            if let Some(lane) = self.lanes.get(&table) {
                drop(lane.send(Message::Resume));
            }
        }
        actions.into_iter().for_each(|action| self.perform(action));
        self.replay.send_replace(false);
    }
}
