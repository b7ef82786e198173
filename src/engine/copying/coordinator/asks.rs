//! What the coordinator is asked: the tables that setup found, and commands.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use tracing::info;

use super::{Aside, Coordinator, Open, tables_word};
use crate::checkpoint::{CopyStore, StoredCopy};
use crate::engine::CopyMode;
use crate::engine::command::Refusal;
use crate::engine::copying::Ask;
use crate::engine::copying::keeper::Keep;
use crate::engine::copying::reader::What;
use crate::engine::copying::table::{Step, TableCopying};
use crate::model::{Lsn, Reason, TableId, TableSchema};
use crate::pipeline::CopyRequest;
use crate::snapshot::{Phase, WindowId};
use crate::source::{ChunkConnection, ChunkReader, Source};
use crate::status::CopyPhase;

impl<S: Source> Coordinator<S> {
    pub(super) async fn asked(&mut self, ask: Ask) {
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
    pub(super) async fn end(&mut self) {
        self.ending = true;
        let tables: Vec<TableId> = self.tables.keys().copied().collect();
        for table in tables {
            self.abort_windows(table, |_| true).await;
        }
    }

    /// Takes up the tables that setup found, and at first what an earlier life left.
    pub(super) async fn prepare(
        &mut self,
        tables: Vec<Arc<TableSchema>>,
        paused: bool,
        fresh: bool,
    ) -> Result<usize, Reason> {
        let mut left = HashMap::new();
        if !self.loaded {
            let stored = self.source.copies().load().await?;
            left = stored.into_iter().map(|copy| (copy.table, copy)).collect();
            self.paused = paused;
            self.meter.copy_paused(paused);
            self.loaded = true;
        }
        let as_of = self.look(&tables);
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
            let table = schema.id;
            // One whose beginning was cut short says nothing of what must be over before it.
            let begun = |copy: &StoredCopy| copy.barrier > 0 || copy.again || !copy.copied.is_empty();
            self.take_up(schema, stored.filter(|copy| !fresh && begun(copy))).await;
            if let Some(copying) = self.tables.get_mut(&table) {
                copying.as_of = as_of.get(&table).copied().unwrap_or(Lsn::INVALID);
            }
        }
        // Of tables that are replicated no longer. Should one come back, changes are missing, and it begins anew.
        left.into_keys().for_each(|table| self.keep(Keep::Finished(table)));
        Ok(self.pending())
    }

    /// Takes note of what setup saw. Where two looks in a row saw the same columns, the table had them at a position
    /// between the two: what the stream told of them before that is older, and it need not be waited for until the
    /// stream tells them, which it does only with the table's next change.
    pub(super) fn look(&mut self, tables: &[Arc<TableSchema>]) -> BTreeMap<TableId, Lsn> {
        let seen: BTreeMap<TableId, Arc<TableSchema>> =
            tables.iter().map(|schema| (schema.id, schema.clone())).collect();
        let (before, at) = (std::mem::replace(&mut self.looked_up, seen), self.looked_up_at);
        let same = |schema: &&Arc<TableSchema>| {
            before.get(&schema.id).is_some_and(|known| known.columns == schema.columns && known.key == schema.key)
        };
        self.looks += 1;
        self.looked_up_at = Lsn::INVALID;
        let (look, reader) = (self.looks, self.shared.reader.clone());
        self.asides.spawn(async move {
            let position = async {
                let mut connection = reader.connect().await.ok()?;
                Some(connection.begin().await.ok()?.position)
            };
            Aside::LookedUp(look, position.await.unwrap_or(Lsn::INVALID))
        });
        tables.iter().filter(same).map(|schema| (schema.id, at)).collect()
    }

    pub(super) async fn take_up(&mut self, schema: Arc<TableSchema>, stored: Option<StoredCopy>) {
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
        if copying.again && !self.options.versions {
            // The target was emptied for it, or is about to be.
            copying.was_complete = false;
        }
        if self.options.mode == CopyMode::Never && !copying.again && !copying.settling {
            // Its blocks are left alone, but rows whose changes were set aside must be read: nothing else tells them.
            info!(table = %copying.schema.name, "the copy that was begun is left as it is: SNAPSHOT is never");
            (copying.settling, copying.step) = (true, Step::Repair);
        }
        self.begin_in_pipeline(&mut copying).await;
        self.tables.insert(table, copying);
    }

    pub(super) async fn begin_in_pipeline(&self, copying: &mut TableCopying) {
        let phase = if copying.step == Step::Repair { Phase::Repairing } else { Phase::Copying };
        let request = CopyRequest::Begin {
            table: copying.schema.id,
            phase,
            complete: !copying.settling || copying.was_complete,
            wanted: copying.wanted.keys().cloned().collect(),
        };
        self.pipeline.copy(request).await;
        copying.known = true;
    }

    /// Lets go of everything of a table's copy.
    pub(super) async fn forget(&mut self, table: TableId) {
        self.abort_windows(table, |_| true).await;
        if let Some(copying) = self.tables.remove(&table) {
            self.clear(&copying);
            if copying.known {
                self.pipeline.copy(CopyRequest::Cancel { table }).await;
            }
        }
    }

    pub(super) async fn abort_windows(&mut self, table: TableId, which: impl Fn(&What) -> bool) {
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

    pub(super) fn may_start(&self) -> Result<(), Refusal> {
        let problem = "is never: what a copy needs was not set up; restart with SNAPSHOT=initial".to_owned();
        match self.options.mode {
            CopyMode::Never => Err(Refusal::BadSetting { setting: "SNAPSHOT", problem }),
            CopyMode::Initial | CopyMode::Only => Ok(()),
        }
    }

    pub(super) fn named(&self, names: &[String]) -> Result<Vec<TableId>, Refusal> {
        if names.is_empty() {
            return Ok(self.replicated.keys().copied().collect());
        }
        let find = |name: &String| {
            let found = self.replicated.values().find(|schema| schema.name.to_string() == *name);
            found.map(|schema| schema.id).ok_or_else(|| Refusal::UnknownTable { table: name.clone() })
        };
        names.iter().map(find).collect()
    }

    pub(super) fn pause(&mut self, paused: bool) -> (bool, String) {
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

    pub(super) fn start(&mut self, tables: Vec<TableId>) -> (bool, String) {
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
            (n, 0) if !self.options.versions => {
                format!("{n} {} will be copied; without audit columns the target is emptied first", tables_word(n))
            }
            (n, 0) => format!("{n} {} will be copied; changes flow on", tables_word(n)),
            (n, m) => format!("{n} {} will be copied, {m} are being copied already", tables_word(n)),
        };
        info!("{message}");
        (begun > 0, message)
    }

    pub(super) async fn cancel(&mut self, tables: Vec<TableId>) -> (bool, String) {
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
}
