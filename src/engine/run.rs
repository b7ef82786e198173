//! The engine's loop: set up, stream, take up again, drain.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until, timeout};
use tracing::{error, info, warn};

use super::checkpointer::{Ask, Checkpointer, Switches};
use super::command::{Command, Inbox, Outcome, Refusal, Request};
use super::copying::{self, Copier, Standing};
use super::lifecycle::{self, Event};
use super::quiet::Quiet;
use super::{CopyMode, Options};
use crate::allocator;
use crate::model::{Budget, Class, Lsn, Reason, Row, Stage, TableSchema};
use crate::pipeline::{MissingValues, Pipeline, pause};
use crate::sink::Sink;
use crate::source::{Ends, Ready, Source};
use crate::status::{EngineMeter, PipelineMeter};

/// Blocks on their way from the source to the pipeline. The budget bounds their bytes; this bounds their number.
const BLOCKS_WAITING: usize = 16;
/// How long the last checkpoint and the end of the stream may take once the grace is over.
const LAST_WORDS: Duration = Duration::from_secs(2);
/// A stream that has run this long has proved steady: what was wrong before is over.
const STEADY: Duration = Duration::from_secs(10);

/// How it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// Everything that was read is durable, stored and confirmed.
    HandedOver,
    /// The time was over first. What was under way will be read again.
    Abandoned,
}

/// What the engine is made of.
pub struct Parts<S, K> {
    /// Where changes come from.
    pub source: Arc<S>,
    /// Where rows go.
    pub sink: Arc<K>,
    /// Settings.
    pub options: Options,
    /// The memory budget.
    pub budget: Budget,
    /// Where commands come in.
    pub inbox: Inbox,
    /// Counts signals to stop: the first drains within the grace, the second ends at once.
    pub signals: watch::Receiver<u32>,
    /// What the engine writes.
    pub meter: EngineMeter,
    /// What the pipeline writes.
    pub pipeline_meter: PipelineMeter,
}

/// What is being worked on.
enum Work {
    /// Both sides are being set up and the pipeline is made ready for the stream.
    SettingUp(JoinHandle<Result<Start, Vec<Reason>>>),
    /// Until the next try.
    Waiting(Instant),
    /// Changes flow.
    Streaming(JoinHandle<Result<(), Reason>>),
    /// What is under way is finished.
    Draining(Pin<Box<dyn Future<Output = Ended> + Send>>),
}

/// A stream that can begin.
struct Start {
    ready: Ready,
    from: Lsn,
    blocks: mpsc::Sender<crate::model::Block>,
    /// Tables whose existing rows are to be copied.
    copies: usize,
}

enum Wake {
    Asked(Request),
    Signal(u32),
    Tick,
    SetUp(Result<Start, Vec<Reason>>),
    Again,
    StreamEnded(Result<(), Reason>),
    ReplayWanted,
    Copying(Standing),
    Drained(Ended),
}

struct Engine<S: Source, K: Sink> {
    source: Arc<S>,
    sink: Arc<K>,
    options: Options,
    budget: Budget,
    inbox: Inbox,
    inbox_open: bool,
    signals: watch::Receiver<u32>,
    meter: Arc<EngineMeter>,
    pipeline: Arc<Pipeline>,
    copier: Copier,
    standing: watch::Receiver<Standing>,
    /// Whether setup has told the copier of the tables.
    prepared: bool,
    /// How often the copier has asked for another look at the tables.
    looked_again: u64,
    asks: mpsc::UnboundedSender<Ask>,
    confirm: watch::Receiver<Lsn>,
    replay: watch::Receiver<bool>,
    paused: watch::Sender<bool>,
    /// What the operator wants; `paused` is also true while draining.
    switches: Switches,
    /// When a drain gives up; a second wish to stop can only bring it nearer.
    deadline: watch::Sender<Option<Instant>>,
    /// Ends the running stream.
    stop: watch::Sender<bool>,
    stage: Stage,
    /// Whether the sink has been set up in this process.
    sink_ready: Arc<AtomicBool>,
    /// Whether setup found the source started anew under this process, which holds positions of before.
    started_anew: Arc<AtomicBool>,
    /// Whether the pause switch has been taken over from the stored checkpoint.
    pause_restored: bool,
    generation: u64,
    failures: u32,
    streaming_since: Option<Instant>,
    quiet: Quiet,
    /// Whether a stream that broke raised the present reasons. They stay until the next one has proved steady, so that
    /// a stream that breaks again and again at one place does not look healthy in between.
    raised_by_stream: bool,
    /// Tables that setup left out, by code and object of the reason.
    refused: Vec<(&'static str, String)>,
    /// Reasons raised by setup and stream, by code and object.
    raised: Vec<(&'static str, String)>,
}

/// Runs until asked to stop.
pub async fn run<S: Source, K: Sink>(parts: Parts<S, K>) -> Ended {
    let Parts { source, sink, options, budget, inbox, signals, meter, pipeline_meter } = parts;
    let meter = Arc::new(meter);
    let values = Arc::new(FromSource(source.clone()));
    let pipeline = Pipeline::start(options.flush, sink.clone(), values, budget.clone(), pipeline_meter);
    let (confirm, confirmed) = watch::channel(Lsn::INVALID);
    // Unbounded, so that the loop never waits for a store that takes long; it is asked a few times in a run.
    let (asks, asked) = mpsc::unbounded_channel();
    let pipeline = Arc::new(pipeline);
    let paused = watch::Sender::new(false);
    let copier = Copier::start(copying::Parts {
        source: source.clone(),
        events: pipeline.copy_events().expect("they are taken once, here"),
        pipeline: pipeline.clone(),
        options: options.copying,
        budget: budget.clone(),
        stored: confirmed.clone(),
        paused: paused.subscribe(),
        meter: meter.clone(),
    });
    let checkpointer = Checkpointer {
        source: source.clone(),
        unseen: pipeline.unseen(),
        progress: pipeline.progress(),
        asks: asked,
        confirm,
        meter: meter.clone(),
        interval: options.checkpoint_interval,
    };
    tokio::spawn(checkpointer.run());
    meter.flush_settings(options.flush.flush_rows, options.flush.flush_interval.as_millis() as u64);
    let engine = Engine {
        source,
        sink,
        options,
        budget,
        inbox,
        inbox_open: true,
        signals,
        meter,
        replay: pipeline.replay_wanted(),
        pipeline,
        standing: copier.standing(),
        copier,
        prepared: false,
        looked_again: 0,
        asks,
        confirm: confirmed,
        paused,
        switches: Switches::default(),
        deadline: watch::Sender::new(None),
        stop: watch::Sender::new(false),
        stage: Stage::Init,
        sink_ready: Arc::default(),
        started_anew: Arc::default(),
        pause_restored: false,
        generation: 0,
        failures: 0,
        streaming_since: None,
        quiet: Quiet::default(),
        raised_by_stream: false,
        refused: Vec::new(),
        raised: Vec::new(),
    };
    engine.run().await
}

impl<S: Source, K: Sink> Engine<S, K> {
    async fn run(mut self) -> Ended {
        let mut ticks = interval(Duration::from_secs(1));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        self.enter(Event::ServersUp, "checking both sides");
        let mut work = self.set_up();
        loop {
            let wake = self.wait(&mut work, &mut ticks).await;
            match wake {
                Wake::Drained(ended) => {
                    self.enter(Event::Drained, "stopped");
                    return ended;
                }
                Wake::Tick => self.tick(),
                Wake::Asked(request) => work = self.obey(request, work).await,
                Wake::Signal(1) => work = self.stop_within_grace(work),
                Wake::Signal(_) => return Ended::Abandoned,
                Wake::ReplayWanted => _ = self.stop.send_replace(true),
                Wake::Copying(standing) => work = self.copies_stand(&standing, work),
                Wake::Again => work = self.set_up(),
                Wake::SetUp(Ok(start)) => work = self.stream(start),
                Wake::SetUp(Err(reasons)) => work = self.wait_and_retry(reasons),
                Wake::StreamEnded(outcome) => work = self.stream_ended(outcome),
            }
        }
    }

    async fn wait(&mut self, work: &mut Work, ticks: &mut tokio::time::Interval) -> Wake {
        let streaming = matches!(work, Work::Streaming(_));
        let progress = async {
            match work {
                Work::SettingUp(task) => Wake::SetUp(task.await.unwrap_or_else(|broken| Err(vec![bug(&broken)]))),
                Work::Waiting(until) => {
                    sleep_until(*until).await;
                    Wake::Again
                }
                Work::Streaming(task) => Wake::StreamEnded(task.await.unwrap_or_else(|broken| Err(bug(&broken)))),
                Work::Draining(drained) => Wake::Drained(drained.await),
            }
        };
        tokio::select! {
            biased;
            Ok(()) = self.signals.changed() => Wake::Signal(*self.signals.borrow_and_update()),
            _ = ticks.tick() => Wake::Tick,
            request = self.inbox.recv(), if self.inbox_open => match request {
                Some(request) => Wake::Asked(request),
                None => {
                    self.inbox_open = false;
                    Wake::Tick
                }
            },
            Ok(_) = self.replay.wait_for(|wanted| *wanted), if streaming && !*self.stop.borrow() => Wake::ReplayWanted,
            Ok(()) = self.standing.changed() => Wake::Copying(self.standing.borrow_and_update().clone()),
            wake = progress => wake,
        }
    }

    fn tick(&mut self) {
        self.meter.heartbeat();
        if self.quiet.look(&self.budget) {
            // Beside the loop: it takes a moment.
            tokio::task::spawn_blocking(allocator::give_back);
        }
        if self.streaming_since.is_some_and(|since| since.elapsed() >= STEADY) {
            self.streaming_since = None;
            self.failures = 0;
            self.replace_raised(Vec::new());
        }
    }

    fn enter(&mut self, event: Event, detail: &str) {
        if let Some(next) = lifecycle::next(self.stage, event) {
            self.stage = next;
            info!(stage = next.name(), "{detail}");
        }
        self.meter.stage(self.stage, detail);
    }

    /// Starts setting up both sides and attaching the pipeline to a new stream.
    fn set_up(&self) -> Work {
        let (source, sink, pipeline) = (self.source.clone(), self.sink.clone(), self.pipeline.clone());
        let (sink_ready, started_anew) = (self.sink_ready.clone(), self.started_anew.clone());
        let copier = self.copier.asks();
        Work::SettingUp(tokio::spawn(async move {
            let sink_setup = async {
                // Once is enough: later the lanes find out by themselves how the sink is.
                if sink_ready.load(Relaxed) { Ok(()) } else { sink.setup().await }
            };
            let (ready, sink_outcome) = tokio::join!(source.setup(), sink_setup);
            sink_ready.store(sink_outcome.is_ok(), Relaxed);
            // The source tells it once, whatever the sink says meanwhile.
            started_anew.fetch_or(ready.as_ref().is_ok_and(|ready| ready.anew), Relaxed);
            if started_anew.load(Relaxed) {
                return Err(vec![restart_needed()]);
            }
            let ready = match (ready, sink_outcome) {
                (Ok(ready), Ok(())) => ready,
                (Ok(_), Err(reasons)) | (Err(reasons), Ok(())) => return Err(reasons),
                (Err(reasons), Err(more)) => return Err([reasons, more].concat()),
            };
            // What was invisible to readers at the stored position may be so still.
            pipeline.unseen().seed(ready.unseen.iter().copied());
            // Before changes flow: keys that wait to be read again stand above what changes say of them.
            let copies = copying::prepare(&copier, &ready).await.map_err(|reason| vec![reason])?;
            pipeline.register(ready.tables.clone()).await;
            let (blocks, receiver) = mpsc::channel(BLOCKS_WAITING);
            let reached = pipeline.attach(receiver).await;
            let from = if reached == Lsn::INVALID { ready.start } else { reached };
            Ok(Start { ready, from, blocks, copies })
        }))
    }

    fn wait_and_retry(&mut self, reasons: Vec<Reason>) -> Work {
        self.raised_by_stream = false;
        let worst = reasons.iter().map(|reason| reason.class).max().unwrap_or(Class::Retry);
        self.failures += 1;
        let detail = match reasons.first() {
            Some(first) if reasons.len() == 1 => format!("waiting: {}", first.message),
            Some(first) => format!("waiting: {} (and {} more)", first.message, reasons.len() - 1),
            None => "waiting".to_owned(),
        };
        self.meter.stage(self.stage, &detail);
        self.replace_raised(reasons);
        Work::Waiting(Instant::now() + pause(worst, self.failures, fastrand::f64()).min(Duration::from_secs(15)))
    }

    fn replace_raised(&mut self, reasons: Vec<Reason>) {
        let before = std::mem::take(&mut self.raised);
        self.raised = self.raise_instead(&before, reasons);
    }

    /// Raises what is wrong now and clears what was and is not.
    fn raise_instead(&self, before: &[(&'static str, String)], reasons: Vec<Reason>) -> Vec<(&'static str, String)> {
        let now: Vec<_> = reasons.iter().map(|reason| (reason.code, reason.object.clone())).collect();
        let gone: Vec<_> = before.iter().filter(|before| !now.contains(before)).cloned().collect();
        self.meter.clear(|reason| gone.iter().any(|(code, object)| *code == reason.code && *object == reason.object));
        for reason in reasons {
            let Reason { code, class, object, message, remedy, .. } = reason.clone();
            if self.meter.raise(reason) {
                match class {
                    Class::Retry => warn!(code, object, "{message}"),
                    _ => error!(code, object, remedy, "{message}"),
                }
            }
        }
        now
    }

    fn stream(&mut self, start: Start) -> Work {
        let Start { ready, from, blocks, copies } = start;
        if !self.raised_by_stream {
            self.replace_raised(Vec::new());
        }
        self.streaming_since = Some(Instant::now());
        let refused = std::mem::take(&mut self.refused);
        self.refused = self.raise_instead(&refused, ready.refused);
        ready.notes.iter().for_each(|note| info!("{note}"));
        let stored = Switches { paused: ready.paused, copy_paused: ready.copy_paused };
        if !std::mem::replace(&mut self.pause_restored, true) {
            self.switches.copy_paused = ready.copy_paused;
            if ready.paused {
                self.set_paused(true);
                info!("paused before the restart, and still paused: resume to go on");
            }
            if ready.copy_paused {
                info!("the copy was paused before the restart, and is still: resume it to go on");
            }
        }
        self.ask(Ask::Resume { stored: ready.start, switches: stored });
        self.stop = watch::Sender::new(false);
        let ends = Ends {
            blocks,
            budget: self.budget.clone(),
            confirm: self.confirm.clone(),
            paused: self.paused.subscribe(),
            stop: self.stop.subscribe(),
        };
        let detail = format!("following {} tables from {from}", ready.tables.len());
        self.enter(if copies > 0 { Event::CopyBegun } else { Event::SetupDone }, &detail);
        self.prepared = true;
        self.copier.tell(copying::Ask::Flowing(true));
        // It may have nothing to do from the beginning.
        self.standing.mark_changed();
        let source = self.source.clone();
        Work::Streaming(tokio::spawn(async move { source.stream(from, ends).await }))
    }

    fn stream_ended(&mut self, outcome: Result<(), Reason>) -> Work {
        self.streaming_since = None;
        self.copier.tell(copying::Ask::Flowing(false));
        match outcome {
            Ok(()) => {
                self.enter(Event::StreamBroke, "reading changes again");
                self.set_up()
            }
            Err(reason) => {
                self.enter(Event::StreamBroke, "the stream ended; taking it up again");
                let work = self.wait_and_retry(vec![reason]);
                self.raised_by_stream = true;
                work
            }
        }
    }

    /// Follows the copies: the stage says whether there are any.
    fn copies_stand(&mut self, standing: &Standing, work: Work) -> Work {
        if !self.prepared || !matches!(work, Work::Streaming(_)) {
            return work;
        }
        if standing.look_again > self.looked_again {
            self.looked_again = standing.look_again;
            self.stop.send_replace(true);
        }
        match (self.stage, standing.pending) {
            (Stage::Snapshot, 0) if self.options.copying.mode == CopyMode::Only && standing.left_out == 0 => {
                info!("everything is copied");
                self.drain(work, None)
            }
            (Stage::Snapshot, 0) => {
                self.enter(Event::CopyDone, "changes flow");
                work
            }
            // With nothing to copy from the beginning.
            (Stage::Cdc, 0) if self.options.copying.mode == CopyMode::Only && standing.left_out == 0 => {
                info!("there is nothing to copy");
                self.drain(work, None)
            }
            (Stage::Cdc, 1..) => {
                self.enter(Event::CopyBegun, &standing.detail);
                work
            }
            (Stage::Snapshot, _) => {
                self.meter.stage(self.stage, &standing.detail);
                work
            }
            _ => work,
        }
    }

    fn ask(&self, ask: Ask) {
        // The checkpointer lives as long as the engine.
        drop(self.asks.send(ask));
    }

    fn set_paused(&mut self, paused: bool) -> bool {
        self.paused.send_replace(paused);
        self.meter.paused(paused);
        std::mem::replace(&mut self.switches.paused, paused) != paused
    }

    async fn obey(&mut self, request: Request, work: Work) -> Work {
        let Request { command, answer } = request;
        let mut next = work;
        let outcome = match lifecycle::admits(&command, self.stage) {
            Err(refusal) => Err(refusal),
            Ok(()) => match command {
                Command::Pause | Command::Resume => Ok(self.pause_or_resume(command == Command::Pause)),
                Command::Reload { flush_rows, flush_bytes, flush_interval } => {
                    self.reload(flush_rows, flush_bytes, flush_interval).await
                }
                Command::Stop => {
                    next = self.stop_within_grace(next);
                    Ok(self.outcome(true, "stopping; the slot stays"))
                }
                Command::DrainAndStop => {
                    next = self.drain(next, None);
                    Ok(self.outcome(true, "loading everything that was read, then stopping; the slot stays"))
                }
                Command::StartCopy { tables } => self.steer(|answer| copying::Ask::Start { tables, answer }).await,
                Command::CancelCopy { tables } => self.steer(|answer| copying::Ask::Cancel { tables, answer }).await,
                Command::PauseCopy => self.pause_copy(true).await,
                Command::ResumeCopy => self.pause_copy(false).await,
            },
        };
        // Whoever asked may have gone.
        _ = answer.send(outcome);
        next
    }

    fn outcome(&mut self, changed: bool, message: &str) -> Outcome {
        if changed {
            self.generation = self.meter.next_generation();
        }
        Outcome { changed, generation: self.generation, message: message.to_owned() }
    }

    async fn steer(
        &mut self,
        ask: impl FnOnce(oneshot::Sender<copying::Answer>) -> copying::Ask,
    ) -> Result<Outcome, Refusal> {
        let (changed, message) = self.copier.ask(ask).await?;
        Ok(self.outcome(changed, &message))
    }

    async fn pause_copy(&mut self, paused: bool) -> Result<Outcome, Refusal> {
        let outcome = self.steer(|answer| copying::Ask::Pause { paused, answer }).await?;
        self.switches.copy_paused = paused;
        self.store_switches();
        Ok(outcome)
    }

    /// Stored in the background: a switch itself does not wait for the source.
    fn store_switches(&self) {
        let (answer, _) = oneshot::channel();
        self.ask(Ask::Store { switches: self.switches, answer });
    }

    fn pause_or_resume(&mut self, pause: bool) -> Outcome {
        let changed = self.set_paused(pause);
        if changed {
            self.store_switches();
        }
        let message = match (pause, changed) {
            (true, true) => "reading is paused; what was read is still loaded, and the slot holds back WAL meanwhile",
            (true, false) => "it was paused already",
            (false, true) => "reading again",
            (false, false) => "it was not paused",
        };
        info!("{message}");
        self.outcome(changed, message)
    }

    async fn reload(
        &mut self,
        flush_rows: Option<u64>,
        flush_bytes: Option<u64>,
        flush_interval: Option<Duration>,
    ) -> Result<Outcome, Refusal> {
        let before = self.options.flush;
        let flush = crate::pipeline::Options {
            flush_rows: flush_rows.unwrap_or(before.flush_rows),
            flush_bytes: flush_bytes.unwrap_or(before.flush_bytes),
            flush_interval: flush_interval.unwrap_or(before.flush_interval),
        };
        flush.check(self.budget.total()).map_err(|(setting, problem)| Refusal::BadSetting { setting, problem })?;
        self.options.flush = flush;
        self.pipeline.set_options(flush).await;
        self.meter.flush_settings(flush.flush_rows, flush.flush_interval.as_millis() as u64);
        let message = if flush == before { "nothing changed" } else { "in force from the next flush on" };
        Ok(self.outcome(flush != before, message))
    }

    fn stop_within_grace(&mut self, work: Work) -> Work {
        let grace = self.options.shutdown_grace;
        self.drain(work, Some(Instant::now() + grace))
    }

    /// Stops reading, loads what was read, stores and confirms the position, ends the stream.
    fn drain(&mut self, work: Work, deadline: Option<Instant>) -> Work {
        self.deadline.send_if_modified(|before| {
            let nearer = deadline.is_some_and(|new| before.is_none_or(|old| new < old));
            if nearer {
                *before = deadline;
            }
            nearer
        });
        if matches!(work, Work::Draining(_)) {
            return work;
        }
        self.enter(Event::StopAsked, "finishing what is under way");
        let switches = self.switches;
        self.copier.tell(copying::Ask::End);
        self.paused.send_replace(true);
        let deadline = self.deadline.subscribe();
        let (pipeline, asks, stop) = (self.pipeline.clone(), self.asks.clone(), self.stop.clone());
        Work::Draining(Box::pin(async move {
            let drained = until(deadline, pipeline.drain()).await.unwrap_or(false);
            let (answer, stored) = oneshot::channel();
            let store = async {
                drop(asks.send(Ask::Store { switches, answer }));
                stored.await.unwrap_or(false)
            };
            let stored = timeout(LAST_WORDS, store).await.unwrap_or(false);
            stop.send_replace(true);
            if let Work::Streaming(mut stream) = work {
                if timeout(LAST_WORDS, &mut stream).await.is_err() {
                    stream.abort();
                }
            } else if let Work::SettingUp(setup) = work {
                setup.abort();
            }
            if drained && stored { Ended::HandedOver } else { Ended::Abandoned }
        }))
    }
}

/// Waits for work until a deadline that may come nearer meanwhile; for ever while there is none.
async fn until<T>(mut deadline: watch::Receiver<Option<Instant>>, work: impl Future<Output = T>) -> Option<T> {
    tokio::pin!(work);
    loop {
        let now = *deadline.borrow_and_update();
        let over = async {
            match now {
                Some(deadline) => sleep_until(deadline).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            done = &mut work => return Some(done),
            () = over => return None,
            Ok(()) = deadline.changed() => {}
        }
    }
}

/// The source was started anew under a running process, which holds positions and rows of before.
fn restart_needed() -> Reason {
    Reason::new(
        "RESTART_NEEDED",
        Class::Wait,
        "",
        "the source was started anew, or is another one, while this process still holds positions of before",
        "Restart Sluicegate: it then begins at the new position.",
    )
}

/// A task that panicked. The process should not go on as if nothing had happened.
fn bug(broken: &tokio::task::JoinError) -> Reason {
    Reason::new("BUG", Class::Bug, "", format!("a task ended unexpectedly: {broken}"), "report it, please")
}

/// Reads missing values from the source for the pipeline, which does not know sources.
struct FromSource<S>(Arc<S>);

impl<S: Source> MissingValues for FromSource<S> {
    fn fetch(
        &self,
        schema: Arc<TableSchema>,
        keys: Vec<Row>,
        after: Vec<u32>,
    ) -> Pin<Box<dyn Future<Output = Result<Vec<Option<Row>>, Reason>> + Send + '_>> {
        Box::pin(self.0.fetch(schema, keys, after))
    }
}
