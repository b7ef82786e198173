//! What comes of what was begun: windows, stored progress, surveys, the end.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use tokio::time::Instant;
use tracing::{error, info, warn};

use super::{
    Aside, BARRIER_WAIT, Coordinator, Fate, NOT_NOW, Open, REFUSED_WAIT, SHORT_OF_MEMORY, STRANGE_COLUMNS_MAX, span,
};
use crate::engine::copying::keeper::{Keep, Kept};
use crate::engine::copying::reader::{Outcome, What};
use crate::engine::copying::table::{KEYS, Step, TableCopying, planned};
use crate::model::{Class, Lsn, Reason, Row, TableId, TableSchema};
use crate::pipeline::{CopyEvent, CopyRequest, pause};
use crate::snapshot::{Found, Why, WindowId};
use crate::source::{Source, Storage};
use crate::status::CopyPhase;

impl<S: Source> Coordinator<S> {
    pub(super) async fn told(&mut self, event: CopyEvent) {
        match event {
            CopyEvent::Durable { window, repaired } => self.settle(window, Fate::Durable(repaired)),
            CopyEvent::Dropped { window, why } => self.settle(window, Fate::Dropped(why)),
            CopyEvent::Wanted { table, keys, token } => match self.tables.get_mut(&table) {
                Some(copying) if !copying.is_over() => {
                    let next = WindowId(self.next_window);
                    copying.wanted.extend(keys.iter().map(|key| (key.clone(), next)));
                    self.keep(Keep::Wanted(table, keys, token));
                }
                _ => self.pipeline.copy(CopyRequest::Stored { token }).await,
            },
            CopyEvent::BlocksDone { table } => {
                if let Some(copying) = self.tables.get(&table).filter(|copying| copying.known && !copying.is_over()) {
                    let change = Box::new(copying.to_store());
                    self.keep(Keep::Change(change));
                }
            }
            CopyEvent::Removed { table } => {
                if let Some(copying) = self.tables.get_mut(&table) {
                    copying.emptied |= matches!(copying.step, Step::Empty { .. });
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
    pub(super) fn settle(&mut self, window: WindowId, fate: Fate) {
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

    pub(super) fn durable(&mut self, open: &Open, repaired: Vec<Row>) {
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

    pub(super) fn dropped(&mut self, open: &Open, why: Why) {
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
    pub(super) fn give_back(&mut self, open: &Open, smaller: bool) {
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
    pub(super) async fn columns_changed(&mut self, schema: Arc<TableSchema>, key: bool) {
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

    pub(super) async fn kept(&mut self, kept: Kept) {
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

    pub(super) async fn read(&mut self, window: WindowId, outcome: Outcome) {
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
        self.not_read(window, &open, outcome).await;
    }

    /// Nothing came of a window, and it is no longer open.
    pub(super) async fn not_read(&mut self, window: WindowId, open: &Open, outcome: Outcome) {
        let (table, what) = (open.table, open.what);
        let Some(copying) = self.tables.get_mut(&table) else { return };
        match outcome {
            Outcome::Read(..) | Outcome::Gone => {}
            Outcome::NotNow | Outcome::NoCopy => copying.hold_off(NOT_NOW),
            Outcome::Nothing => {
                // Later changes stated their rows whole, or removed them. What was told since may well be wanted.
                copying.more_wanted = false;
                let settled = copying.wanted.extract_if(|_, first| *first <= window).map(|(key, _)| key);
                let settled: Vec<Row> = settled.collect();
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
            Outcome::Columns(Some(_)) if copying.as_of > self.meter.received() => copying.hold_off(NOT_NOW),
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

    pub(super) fn failed(&mut self, table: TableId, reason: Reason) {
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

    pub(super) fn raise(&self, reason: Reason) {
        let Reason { code, class, object, message, remedy, .. } = reason.clone();
        if self.meter.raise(reason) {
            match class {
                Class::Retry => warn!(code, object, "{message}"),
                _ => error!(code, object, remedy, "{message}"),
            }
        }
    }

    pub(super) fn cured(&mut self, table: TableId) {
        if let Some(copying) = self.tables.get_mut(&table)
            && !copying.raised.is_empty()
        {
            let raised = std::mem::take(&mut copying.raised);
            let object = copying.schema.name.to_string();
            self.meter.clear(|reason| reason.object == object && raised.contains(&reason.code));
        }
    }

    pub(super) fn clear(&self, copying: &TableCopying) {
        let object = copying.schema.name.to_string();
        self.meter.clear(|reason| reason.object == object && copying.raised.contains(&reason.code));
    }

    pub(super) fn aside(&mut self, aside: Aside) {
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
                        let empties = copying.is_to_be_emptied(self.options.versions);
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
            Aside::LookedUp(look, position) => {
                if look == self.looks {
                    self.looked_up_at = position;
                }
            }
        }
    }

    pub(super) fn surveyed(&mut self, table: TableId, surveyed: Result<Vec<Storage>, Reason>) {
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
}
