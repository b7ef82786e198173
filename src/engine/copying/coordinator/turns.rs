//! What is begun next, how hard the source is worked, and what others are told.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use tokio::sync::oneshot;
use tokio::time::Instant;

use super::{Aside, Coordinator, Open, STRAIN_WAIT, TICK, WINDOWS_PER_READER, tables_word};
use crate::engine::copying::Standing;
use crate::engine::copying::reader::{Job, What};
use crate::engine::copying::strain::strained;
use crate::engine::copying::table::{Step, TableCopying};
use crate::model::TableId;
use crate::pipeline::CopyRequest;
use crate::snapshot::{Span, WindowId, turn};
use crate::source::{BlockRange, ChunkReader, Source};
use crate::status::CopyPhase;

impl<S: Source> Coordinator<S> {
    pub(super) fn tick(&mut self) {
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

    pub(super) fn report(&self, table: TableId) {
        if let Some(copying) = self.tables.get(&table) {
            self.meter.copy(&copying.schema.name, &copying.schema.target, copying.numbers());
        }
    }

    pub(super) fn look_at_strain(&mut self) {
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
    pub(super) fn nudge(&mut self) {
        let passed = self.meter.received();
        let waits = |open: &Open| {
            let waiting = open.read.filter(|(_, position, at)| *position > passed && at.elapsed() >= TICK);
            waiting.is_some()
        };
        let waiting = self.windows.values().any(waits)
            || self.tables.values().any(|copying| !copying.is_over() && copying.as_of > passed);
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

    /// Whether something may be begun at all.
    pub(super) fn may_read(&self) -> bool {
        self.flowing
            && !self.ending
            && !self.paused
            && !*self.pipeline_paused.borrow()
            && self.strain.is_none()
            && !self.meter.breaker_open()
    }

    pub(super) async fn go_on(&mut self) {
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
    pub(super) async fn advance(&mut self, table: TableId, now: Instant) {
        let (paused, pipeline) = (self.paused, self.pipeline.clone());
        let Some(copying) = self.tables.get_mut(&table).filter(|copying| copying.is_due(now)) else { return };
        match copying.step {
            Step::Survey { asked: false } if !paused => {
                copying.step = Step::Survey { asked: true };
                let (reader, schema) = (self.shared.reader.clone(), copying.schema.clone());
                self.asides.spawn(async move { Aside::Surveyed(table, reader.survey(&schema).await) });
            }
            Step::Empty { asked: false } => {
                (copying.step, copying.was_complete) = (Step::Empty { asked: true }, false);
                pipeline.copy(CopyRequest::Empty { schema: copying.schema.clone() }).await;
            }
            Step::Blocks if copying.plan.is_done() => {
                copying.step = Step::Repair;
                // It is stored when the pipeline has told every key that was wanted until then.
                pipeline.copy(CopyRequest::BlocksDone { table, complete: true }).await;
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

    pub(super) fn ask_for_barrier(&mut self, now: Instant) {
        let waits = self.tables.values().any(|copying| copying.step == Step::Barrier);
        if waits && !self.asking_visibility && self.next_visibility <= now {
            self.asking_visibility = true;
            let reader = self.shared.reader.clone();
            self.asides.spawn(async move { Aside::Sees(reader.visibility().await) });
        }
    }

    /// Hands out parts as long as there are readers and windows.
    pub(super) fn hand_out(&mut self, now: Instant) {
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

    pub(super) fn key_job(&mut self, table: TableId) -> Option<Job> {
        let keys = self.tables.get(&table)?.keys;
        let job = self.job(table, What::Keys(keys))?;
        self.tables.get_mut(&table)?.key_window = Some(job.window);
        Some(job)
    }

    pub(super) fn block_job(&mut self, now: Instant) -> Option<Job> {
        let claims = self.tables.iter().filter_map(|(table, copying)| Some((*table, copying.claim(now)?)));
        let table = turn(claims)?;
        let Span { storage, incarnation, first, end } = self.tables.get_mut(&table)?.plan.next_span()?;
        self.job(table, What::Blocks(BlockRange { storage, incarnation, first, end }))
    }

    pub(super) fn job(&mut self, table: TableId, what: What) -> Option<Job> {
        let copying = self.tables.get_mut(&table)?;
        copying.windows += 1;
        let window = WindowId(self.next_window);
        self.next_window += 1;
        let gone = Arc::new(AtomicBool::new(false));
        let open = Open { table, what, gone: gone.clone(), read: None, fate: None };
        self.windows.insert(window, open);
        Some(Job { window, schema: copying.schema.clone(), as_of: copying.as_of, what, gone })
    }

    pub(super) fn pending(&self) -> usize {
        self.tables.values().filter(|copying| !copying.is_over() && !copying.refused).count()
    }

    pub(super) fn tell_standing(&mut self) {
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

    pub(super) fn detail(&self) -> String {
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
