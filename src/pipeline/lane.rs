//! Sees one table's batches through to the sink, one after the other.

use std::collections::HashSet;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{sleep, sleep_until};
use tracing::{info, warn};

use super::batch::Batch;
use super::collapse::Collapsed;
use super::core::{Item, Job, Report, What};
use super::retry::{Breaker, now, pause};
use super::rope::Rope;
use crate::model::{Budget, Change, Class, Load, LoadRow, Permit, Reason, Row, TableSchema, TableState};
use crate::sink::{Fate, LoadError, Sink, Ticket};
use crate::snapshot::Unseen;
use crate::status::{PipelineMeter, TableMeter};

/// Reads rows from the source by key, for values that a change left out and nothing at hand holds.
pub trait MissingValues: Send + Sync + 'static {
    /// For each key (a row of which the key columns count) the whole row as it is now, or `None`. The read must see the
    /// transactions `after`: one that misses some is older than what the stream told, and takes a row for gone that is
    /// there.
    fn fetch(
        &self,
        schema: Arc<TableSchema>,
        keys: Vec<Row>,
        after: Vec<u32>,
    ) -> Pin<Box<dyn Future<Output = Result<Vec<Option<Row>>, Reason>> + Send + '_>>;
}

/// What a lane is sent.
#[derive(Debug)]
pub(super) enum Message {
    /// Make the target ready, although no row has come yet.
    Prepare(Arc<TableSchema>),
    /// The table's part of a flush unit.
    Job(Job),
    /// What this lane let go will be told again from here on.
    Resume,
}

/// A lane's report and how many row changes it settles.
pub(super) type Reported = (Report, u64);

/// What all lanes share.
pub(super) struct Shared<S> {
    pub(super) sink: Arc<S>,
    pub(super) values: Arc<dyn MissingValues>,
    pub(super) breaker: Mutex<Breaker>,
    pub(super) budget: Budget,
    pub(super) meter: PipelineMeter,
    pub(super) reports: mpsc::UnboundedSender<Reported>,
    /// The names under which lanes raise reasons about their own tables.
    pub(super) objects: Mutex<HashSet<String>>,
    /// The transactions that readers of the source may not see yet.
    pub(super) unseen: Unseen,
}

/// Keys that are read from the source at once. Whole rows come back.
const KEYS_MAX: usize = 100;
/// The code of a reason that reading rows from the source fails and is tried again.
const FETCH: &str = "SOURCE_ROWS";
/// A blocked table keeps its refused loads, to find out whether it is cured, only up to this part of the budget.
const REST_PART: usize = 32;

/// One table's lane.
pub(super) struct Lane<S> {
    shared: Arc<Shared<S>>,
    table: TableMeter,
    object: String,
    schema: Arc<TableSchema>,
    prepared: Option<Arc<TableSchema>>,
    /// Whether changes were let go since the stream was last taken up again.
    lost: bool,
    /// How often in a row the table was blocked again by what it was told again.
    relapses: u32,
    messages: mpsc::UnboundedReceiver<Message>,
    /// A message that was looked at too early; the next one.
    ahead: Option<Message>,
}

/// What is kept of a batch while its table is blocked: the loads that are still to be made.
#[derive(Debug)]
struct Rest {
    loads: Vec<(Ticket, Load)>,
    hold: Hold,
}

/// What of the budget the kept rows use.
#[derive(Debug)]
enum Hold {
    /// The blocks they came in, other tables' rows with them.
    Blocks(#[expect(dead_code, reason = "held for its drop")] Vec<Arc<[Arc<Permit>]>>),
    /// Their own size: they have been copied out of the blocks.
    Own(#[expect(dead_code, reason = "held for its drop")] Permit),
}

impl Rest {
    fn size(&self) -> usize {
        self.loads.iter().flat_map(|(_, load)| load.rows.iter()).map(|row| row.row.size()).sum()
    }

    /// Whether it may be kept: it is small, and after a first pause it no longer holds on to what others need.
    fn may_stay(&self, budget: &Budget, attempt: u32) -> bool {
        self.size() <= budget.total() / REST_PART && (attempt == 1 || matches!(self.hold, Hold::Own(_)))
    }

    /// Copies the rows out of the blocks they came in as soon as the budget has room, so that a blocked table does
    /// not hold on to what others need.
    fn detach(&mut self, budget: &Budget) {
        if matches!(self.hold, Hold::Own(_)) {
            return;
        }
        let Some(permit) = budget.try_take(self.size()) else { return };
        let detached = |row: &LoadRow| LoadRow { row: row.row.detached(), ..row.clone() };
        for (_, load) in &mut self.loads {
            load.rows = Arc::new(load.rows.iter().map(detached).collect());
        }
        self.hold = Hold::Own(permit);
    }
}

impl<S: Sink> Lane<S> {
    pub(super) fn new(
        shared: Arc<Shared<S>>,
        schema: Arc<TableSchema>,
        messages: mpsc::UnboundedReceiver<Message>,
    ) -> Self {
        let table = shared.meter.table(&schema.name, &schema.target);
        let object = schema.name.to_string();
        shared.objects.lock().unwrap_or_else(PoisonError::into_inner).insert(object.clone());
        Lane { shared, table, object, schema, prepared: None, lost: false, relapses: 0, messages, ahead: None }
    }

    /// Works until the channel is closed.
    pub(super) async fn run(mut self) {
        while let Some(message) = self.next().await {
            match message {
                Message::Prepare(schema) => {
                    self.schema = schema;
                    if let Err(reasons) = self.prepare().await {
                        self.blocked(reasons, None, Vec::new()).await;
                    }
                }
                Message::Job(job) => {
                    let batch = self.gather(job);
                    self.batch(batch).await;
                }
                Message::Resume => {}
            }
        }
    }

    /// The next message; `None` once the channel is closed. Nothing is lost if it is not waited for to the end.
    async fn next(&mut self) -> Option<Message> {
        match self.ahead.take() {
            Some(message) => Some(message),
            None => self.messages.recv().await,
        }
    }

    /// A job and those that wait behind it.
    fn gather(&mut self, job: Job) -> Batch {
        let mut batch = Batch::new(job);
        while let Ok(message) = self.messages.try_recv() {
            let too_early = match message {
                Message::Job(job) => batch.add(job).err().map(Message::Job),
                other => Some(other),
            };
            if too_early.is_some() {
                self.ahead = too_early;
                break;
            }
        }
        batch
    }

    async fn batch(&mut self, batch: Batch) {
        self.schema = batch.schema.clone();
        let (done, lost, through) = (batch.done(), batch.lost(), batch.through());
        let rows = self.count(&batch.items);
        if let Err((reasons, rest)) = self.carry_out(batch).await {
            self.lost = true;
            self.report_all(lost, rows);
            return self.blocked(reasons, rest, done).await;
        }
        self.relapses = 0;
        through.for_each(|through| self.table.durable(through));
        self.report_all(done, rows);
    }

    /// Prepares, collapses, fills, truncates and loads. An error means: this table waits for a person.
    async fn carry_out(&mut self, batch: Batch) -> Result<(), (Vec<Reason>, Option<Rest>)> {
        self.prepare().await.map_err(|reasons| (reasons, None))?;
        let Batch { items, permits, .. } = batch;
        let empties = |item: &Item| matches!(item.what, What::Truncate | What::Empty);
        let after = items.end_of_last(empties);
        let truncates = after > 0;
        let mut sweep = None;
        let mut collapsed = Collapsed::new(self.schema.clone(), items.len() - after);
        for Item { commit_lsn, hash, what, .. } in items.into_iter().skip(after) {
            match what {
                What::Change(change) => collapsed.apply(commit_lsn, hash, change),
                What::Copied(row) => collapsed.copy(commit_lsn, hash, row),
                What::Sweep(before) => sweep = sweep.max(Some(before)),
                What::Truncate | What::Empty | What::Wanted(_) => {}
            }
        }
        let incomplete = collapsed.incomplete();
        if !incomplete.is_empty() {
            collapsed.complete(self.fetch(incomplete).await.map_err(|reason| (vec![reason], None))?);
        }
        if truncates {
            self.remove(|| self.shared.sink.truncate(&self.schema)).await.map_err(|reason| (vec![reason], None))?;
        }
        let deletes = self.shared.sink.deletes(&self.schema);
        let loads = collapsed.into_loads(deletes).into_iter();
        let loads = loads.map(|load| (self.shared.sink.ticket(&load.schema), load)).collect();
        let outcome = self.load_all(loads).await;
        outcome.map_err(|(reason, loads)| (vec![reason], Some(Rest { loads, hold: Hold::Blocks(permits) })))?;
        if let Some(before) = sweep {
            // Last, so that a row that the batch renews is not taken for an old one.
            self.remove(|| self.shared.sink.sweep(&self.schema, before))
                .await
                .map_err(|reason| (vec![reason], None))?;
        }
        Ok(())
    }

    fn count(&self, items: &Rope<Item>) -> u64 {
        let mut counts = [0_u64; 4];
        for item in items.iter() {
            let at = match item.what {
                What::Change(Change::Insert { .. }) => 0,
                What::Change(Change::Update { .. }) => 1,
                What::Change(Change::Delete { .. }) => 2,
                What::Truncate => 3,
                What::Copied(_) | What::Empty | What::Sweep(_) | What::Wanted(_) => continue,
            };
            counts[at] += 1;
        }
        let [inserted, updated, deleted, truncates] = counts;
        self.table.received(inserted, updated, deleted, truncates);
        inserted + updated + deleted
    }

    /// Makes the target ready for the current schema. Passing problems are tried again here.
    async fn prepare(&mut self) -> Result<(), Vec<Reason>> {
        if self.prepared.as_ref() == Some(&self.schema) {
            return Ok(());
        }
        let mut attempt = 0;
        loop {
            let Err(reasons) = self.shared.sink.prepare(self.schema.clone()).await else { break };
            if reasons.iter().any(|reason| reason.class != Class::Retry) {
                return Err(reasons);
            }
            attempt += 1;
            reasons.into_iter().for_each(|reason| self.shared.raise(reason));
            sleep(pause(Class::Retry, attempt, fastrand::f64())).await;
        }
        self.shared.clear(&self.object);
        self.prepared = Some(self.schema.clone());
        self.table.state(TableState::Streaming);
        Ok(())
    }

    /// Reads rows from the source. An error means: this table waits for a person.
    async fn fetch(&self, keys: Vec<Row>) -> Result<Vec<Option<Row>>, Reason> {
        let mut found = Vec::with_capacity(keys.len());
        for keys in keys.chunks(KEYS_MAX) {
            found.extend(self.fetch_some(keys).await?);
        }
        Ok(found)
    }

    async fn fetch_some(&self, keys: &[Row]) -> Result<Vec<Option<Row>>, Reason> {
        let mut attempt = 0;
        loop {
            let after = self.shared.unseen.list();
            let reason = match self.shared.values.fetch(self.schema.clone(), keys.to_vec(), after).await {
                Ok(found) => {
                    if attempt > 0 {
                        self.shared.meter.clear(|reason| reason.object == self.object && reason.code == FETCH);
                    }
                    return Ok(found);
                }
                Err(reason) if reason.class != Class::Retry => {
                    return Err(Reason { object: self.object.clone(), ..reason });
                }
                Err(reason) => reason,
            };
            attempt += 1;
            // Under a code and an object of its own: the engine raises and clears the source's.
            let message = format!("reading rows of {} from the source: {}", self.object, reason.message);
            self.shared.raise(Reason { code: FETCH, object: self.object.clone(), message, ..reason });
            sleep(pause(Class::Retry, attempt, fastrand::f64())).await;
        }
    }

    /// Has the sink remove rows, however long it takes. An error is a refusal.
    async fn remove<F>(&self, remove: impl Fn() -> F) -> Result<(), Reason>
    where
        F: Future<Output = Result<(), LoadError>>,
    {
        let mut attempt = 0;
        loop {
            self.shared.gate().await;
            match remove().await {
                Ok(()) => {
                    self.shared.succeeded(&self.schema);
                    return Ok(());
                }
                Err(LoadError::Refused(reason)) => {
                    self.shared.answered();
                    return Err(reason);
                }
                Err(LoadError::Retry(reason) | LoadError::SlowDown(reason) | LoadError::Unknown(reason)) => {
                    attempt += 1;
                    self.shared.failed(reason, attempt).await;
                }
            }
        }
    }

    /// Makes the loads side by side; their keys are disjoint. An error holds the loads that were refused.
    async fn load_all(&self, loads: Vec<(Ticket, Load)>) -> Result<(), (Reason, Vec<(Ticket, Load)>)> {
        let mut running = JoinSet::new();
        for (ticket, load) in loads {
            let (shared, table) = (self.shared.clone(), self.table.clone());
            running.spawn(async move {
                let outcome = shared.load(&ticket, &load, &table).await;
                outcome.map_err(|reason| (reason, (ticket, load)))
            });
        }
        let mut refused: Option<(Reason, Vec<(Ticket, Load)>)> = None;
        while let Some(outcome) = running.join_next().await {
            match outcome {
                Ok(Ok(())) => {}
                Ok(Err((reason, load))) => refused.get_or_insert((reason, Vec::new())).1.push(load),
                Err(broken) => std::panic::resume_unwind(broken.into_panic()),
            }
        }
        refused.map_or(Ok(()), Err)
    }

    /// Waits until the obstacle is gone, letting go of everything that comes meanwhile, then until that is told again.
    /// If the rest of the batch goes in, `done` is reported, before anything is told again, so that the batch is not.
    async fn blocked(&mut self, reasons: Vec<Reason>, mut rest: Option<Rest>, done: Vec<Report>) {
        self.table.state(TableState::Blocked);
        let mut raised = reasons;
        for attempt in 1.. {
            raised.iter().for_each(|reason| self.shared.raise(reason.clone()));
            if let Some(rest) = &mut rest {
                rest.detach(&self.shared.budget);
            }
            // Without the rest the target's own word has to do; what is wrong with the rows shows when they are told
            // again, less and less often.
            rest = rest.filter(|rest| rest.may_stay(&self.shared.budget, attempt));
            if !self.let_go_for(attempt + self.relapses).await {
                return;
            }
            let outcome = self.try_again(&mut rest).await;
            let reasons = outcome.err().unwrap_or_default();
            let same = |a: &Reason, b: &Reason| a.code == b.code && a.object == b.object;
            self.shared.meter.clear(|reason| {
                raised.iter().any(|before| same(before, reason)) && !reasons.iter().any(|now| same(now, reason))
            });
            if reasons.is_empty() {
                break;
            }
            raised = reasons;
        }
        self.relapses += 1;
        if rest.is_some() {
            self.report_all(done, 0);
        }
        drop(rest);
        if std::mem::take(&mut self.lost) {
            info!(table = %self.object, "the obstacle is gone; its changes since then are read again");
            self.report(Report::Cured { table: self.schema.id }, 0);
            self.let_go_until_resumed().await;
            self.lost = false;
        }
        self.table.state(TableState::Streaming);
    }

    /// One try to get past the obstacle.
    async fn try_again(&mut self, rest: &mut Option<Rest>) -> Result<(), Vec<Reason>> {
        let newest = self.schema.clone();
        if let Some(kept) = rest {
            // The rows were written under an older schema, perhaps; that is the one their target must fit.
            if let Some((_, load)) = kept.loads.first() {
                self.schema = load.schema.clone();
            }
            let outcome = self.prepare_anew().await;
            self.schema = newest;
            outcome?;
            let loads = std::mem::take(&mut kept.loads);
            self.load_all(loads).await.map_err(|(reason, refused)| {
                kept.loads = refused;
                vec![reason]
            })?;
        }
        self.prepare_anew().await
    }

    /// Looks at the target again, whatever was known of it.
    async fn prepare_anew(&mut self) -> Result<(), Vec<Reason>> {
        self.prepared = None;
        let outcome = self.prepare().await;
        self.table.state(TableState::Blocked);
        outcome
    }

    /// Lets go of what comes for the length of a pause; false if the lane is to end.
    async fn let_go_for(&mut self, attempt: u32) -> bool {
        let until = tokio::time::Instant::now() + pause(Class::Wait, attempt, fastrand::f64());
        loop {
            tokio::select! {
                () = sleep_until(until) => return true,
                message = self.next() => match message {
                    None => return false,
                    Some(message) => self.let_go(message),
                },
            }
        }
    }

    async fn let_go_until_resumed(&mut self) {
        while let Some(message) = self.next().await {
            if matches!(message, Message::Resume) {
                return;
            }
            self.let_go(message);
        }
    }

    fn let_go(&mut self, message: Message) {
        match message {
            Message::Job(job) => {
                self.schema = job.schema.clone();
                self.lost = true;
                let rows = self.count(&job.items);
                self.report(Report::Lost { unit: job.unit, table: job.schema.id }, rows);
            }
            Message::Prepare(schema) => self.schema = schema,
            Message::Resume => {}
        }
    }

    /// The row changes are all told with the first.
    fn report_all(&self, reports: Vec<Report>, rows: u64) {
        let rows = std::iter::once(rows).chain(std::iter::repeat(0));
        reports.into_iter().zip(rows).for_each(|(report, rows)| self.report(report, rows));
    }

    fn report(&self, report: Report, rows: u64) {
        // The worker only goes away at the end of the process.
        drop(self.shared.reports.send((report, rows)));
    }
}

impl<S: Sink> Shared<S> {
    /// Loads, however long it takes. An error is a refusal.
    async fn load(&self, ticket: &Ticket, load: &Load, table: &TableMeter) -> Result<(), Reason> {
        let mut attempt = 0;
        loop {
            self.gate().await;
            match self.sink.load(ticket, load).await {
                Ok(loaded) => {
                    self.succeeded(&load.schema);
                    table.loaded(loaded.rows);
                    return Ok(());
                }
                Err(LoadError::Refused(reason)) => {
                    self.answered();
                    return Err(reason);
                }
                Err(LoadError::Retry(reason)) => {
                    attempt += 1;
                    self.failed(reason, attempt).await;
                }
                Err(LoadError::SlowDown(reason)) => {
                    self.answered();
                    attempt += 1;
                    drop(self.reports.send((Report::SlowDown, 0)));
                    self.raise(reason);
                    self.meter.retried();
                    sleep(pause(Class::Retry, attempt + 2, fastrand::f64())).await;
                }
                Err(LoadError::Unknown(reason)) => {
                    attempt += 1;
                    self.failed(reason, attempt).await;
                    if self.settle(ticket).await {
                        self.succeeded(&load.schema);
                        table.loaded(load.rows.len() as u64);
                        return Ok(());
                    }
                }
            }
        }
    }

    /// Asks what became of a load until the sink knows. True if it is in.
    async fn settle(&self, ticket: &Ticket) -> bool {
        let mut attempt = 0;
        loop {
            self.gate().await;
            let outcome = self.sink.fate(ticket).await;
            if outcome.is_ok() {
                self.answered();
            }
            attempt += 1;
            match outcome {
                Ok(Fate::Loaded) => return true,
                Ok(Fate::NotLoaded) => return false,
                Ok(Fate::Pending) => sleep(pause(Class::Retry, attempt.min(4), fastrand::f64())).await,
                Err(reason) => self.failed(reason, attempt).await,
            }
        }
    }

    fn breaker<T>(&self, with: impl FnOnce(&mut Breaker) -> T) -> T {
        let mut breaker = self.breaker.lock().unwrap_or_else(PoisonError::into_inner);
        let result = with(&mut breaker);
        self.meter.breaker(breaker.is_open());
        result
    }

    /// Waits while the breaker keeps calls off.
    async fn gate(&self) {
        loop {
            let wait = self.breaker(|breaker| breaker.wait(now()));
            if wait.is_zero() {
                return;
            }
            sleep(wait).await;
        }
    }

    /// The sink answered, whatever it said.
    fn answered(&self) {
        self.breaker(Breaker::succeeded);
    }

    fn succeeded(&self, schema: &TableSchema) {
        self.answered();
        self.clear(&schema.name.to_string());
    }

    /// Clears what passes by itself and is about this table, or about the sink as a whole.
    fn clear(&self, object: &str) {
        let objects = self.objects.lock().unwrap_or_else(PoisonError::into_inner);
        self.meter.clear(|reason| {
            let passing = reason.code.starts_with("SINK_") && reason.class == Class::Retry;
            passing && (reason.object == object || !objects.contains(&reason.object))
        });
    }

    /// Notes a failure and pauses.
    async fn failed(&self, reason: Reason, attempt: u32) {
        self.breaker(|breaker| breaker.failed(now()));
        let wait = pause(reason.class, attempt, fastrand::f64());
        self.raise(reason);
        self.meter.retried();
        sleep(wait).await;
    }

    fn raise(&self, reason: Reason) {
        let Reason { code, object, message, remedy, .. } = reason.clone();
        if self.meter.raise(reason) {
            warn!(code, object, remedy, "{message}");
        }
    }
}
