//! The sink itself: what the pipeline calls, and what that asks of the server.
//!
//! Always: a load is `Loaded` only if the server says so and its row numbers are ours; an outcome nobody knows is
//! `Unknown`, never "nothing was loaded".

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::{Duration, Instant};

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use tokio::sync::Semaphore;

use super::answer::{self, Answer};
use super::blocked::Place;
use super::date;
use super::encode::Body;
use super::label::Labels;
use super::leftovers::Leftover;
use super::options::Options;
use super::plan::Plan;
use super::policy::Changed;
use super::reasons::{self, Code};
use super::sql::Sql;
use super::stream_load::{Replied, Submission, Unanswered, Wire, told};
use super::verdict::Verdict;
use crate::model::{Class, Load, Lsn, Reason, TableId, TableSchema};
use crate::sink::{Deletes, Fate, LoadError, Loaded, Sink, Ticket};
use crate::status::SinkMeter;

/// Characters that stand for themselves in a path segment.
pub(super) const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');
/// How long a load may stay undecided after its connection broke before it is cancelled.
const PENDING_PATIENCE: Duration = Duration::from_secs(60);
/// Tables prepared at a time, each over a connection of its own.
const PREPARING_MAX: usize = 8;
/// Pause between two looks at something that should change soon.
pub(super) const LOOK_AGAIN: Duration = Duration::from_millis(200);

/// A table that was prepared.
#[derive(Debug)]
pub(super) struct Prepared {
    pub(super) schema: Arc<TableSchema>,
    pub(super) plan: Arc<Plan>,
}

/// StarRocks.
#[derive(Debug)]
pub struct StarRocks {
    pub(super) options: Arc<Options>,
    pub(super) meter: SinkMeter,
    pub(super) wire: Arc<Wire>,
    pub(super) labels: Labels,
    /// The newest schemas of each table.
    pub(super) tables: RwLock<HashMap<TableId, Vec<Prepared>>>,
    /// One permit for each load that may run.
    slots: Semaphore,
    /// One permit for each table that may be prepared at a time.
    preparing: Semaphore,
    /// Since when the outcome of a label is awaited.
    pending: Mutex<HashMap<String, Instant>>,
    /// How often a ticket's load was accepted with the wrong number of rows. Its label is spent then: the server
    /// would call the next try done.
    spent: Mutex<HashMap<String, u64>>,
    /// What the loads whose outcome is not known yet would change, by label.
    unsettled: Mutex<HashMap<String, (Arc<TableSchema>, Changed)>>,
    /// Backends in the cluster, 0 if not known.
    pub(super) backends: AtomicU64,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Each change under these locks is one call, so a panic cannot leave it half-done.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl StarRocks {
    /// A sink that has not talked to anyone yet.
    ///
    /// # Errors
    /// Settings that contradict each other, as a [`Reason`] of class Config.
    pub fn new(options: Options, meter: SinkMeter) -> Result<Self, Reason> {
        if options.frontends.is_empty() {
            return Err(Reason::new(
                "SINK_OPTIONS",
                Class::Config,
                "SINK_URL",
                "no frontend is named",
                "Name at least one: starrocks://user:password@host:8030/database.",
            ));
        }
        let options = Arc::new(options);
        let wire = Arc::new(Wire::new(options.clone()));
        if options.frontends.iter().any(|frontend| frontend.https) && !wire.pool.can_verify() {
            let message = "this machine has no root certificates to verify https with";
            return Err(Reason { class: Class::Config, ..Code::Tls.reason("SINK_TLS_CA", message) });
        }
        for frontend in options.frontends.iter().filter(|frontend| !frontend.https && !is_local(&frontend.host)) {
            tracing::warn!(%frontend, "user, password and rows travel over the network in clear: https would protect them");
        }
        Ok(StarRocks {
            wire,
            labels: Labels::new(&options.pipeline),
            tables: RwLock::default(),
            preparing: Semaphore::new(PREPARING_MAX),
            slots: Semaphore::new(options.parallelism.max(1)),
            pending: Mutex::default(),
            spent: Mutex::default(),
            unsettled: Mutex::default(),
            backends: AtomicU64::new(0),
            meter,
            options,
        })
    }

    /// Looks at everything that `setup` and `prepare` need without changing anything: for a check beside a pipeline
    /// that may be running. What would be created is no finding.
    pub async fn check(&self, tables: &[Arc<TableSchema>]) -> Vec<Reason> {
        let mut sql = match self.reach(false).await {
            Ok(sql) => sql,
            Err(findings) => return findings,
        };
        let mut findings = Vec::new();
        for schema in tables {
            match self.inspect(&mut sql, schema, false).await {
                Ok(Some(_)) => findings.extend(self.probe(schema).await.err()),
                Ok(None) => {}
                Err(found) => findings.extend(found),
            }
        }
        findings
    }

    pub(super) fn path(&self, table: &str) -> String {
        let database = utf8_percent_encode(&self.options.database, SEGMENT);
        format!("/api/{database}/{}/_stream_load", utf8_percent_encode(table, SEGMENT))
    }

    pub(super) fn plan(&self, schema: &TableSchema) -> Option<Arc<Plan>> {
        let tables = self.tables.read().unwrap_or_else(PoisonError::into_inner);
        let prepared = tables
            .get(&schema.id)?
            .iter()
            .find(|prepared| std::ptr::eq(Arc::as_ptr(&prepared.schema), schema) || *prepared.schema == *schema)?;
        Some(prepared.plan.clone())
    }

    /// The label under which a ticket's load travels now.
    fn label(&self, ticket: &Ticket) -> String {
        match lock(&self.spent).get(&ticket.0) {
            Some(times) => format!("{}-{times:x}", ticket.0),
            None => ticket.0.clone(),
        }
    }
}

impl StarRocks {
    fn submission(&self, label: &str, load: &Load, plan: Arc<Plan>) -> Submission {
        let made = self.labels.read(label).map_or(0, |label| label.made_micros());
        let columns = plan.headers(&load.present);
        let mut headers = vec![
            format!("label: {label}"),
            "format: json".to_owned(),
            "strip_outer_array: true".to_owned(),
            "strict_mode: true".to_owned(),
            "max_filter_ratio: 0".to_owned(),
            format!("timeout: {}", self.options.load_timeout.as_secs().max(1)),
            "timezone: UTC".to_owned(),
        ];
        if columns.partial {
            headers.extend(["partial_update: true".to_owned(), "partial_update_mode: row".to_owned()]);
        }
        headers.extend(columns.columns.map(|columns| format!("columns: {columns}")));
        headers.extend(self.options.compression.header().map(|name| format!("compression: {name}")));
        Submission {
            object: load.schema.name.to_string(),
            place: Place { database: self.options.database.clone(), table: load.schema.target.clone() },
            path: self.path(&load.schema.target),
            headers,
            body: Body::new(plan, load, &date::written(made)).compressed(self.options.compression),
        }
    }

    /// Makes of a verdict what the pipeline is told.
    async fn judged(
        &self,
        ticket: &Ticket,
        label: &str,
        load: &Load,
        plan: &Plan,
        replied: Replied,
    ) -> Result<Loaded, LoadError> {
        let object = load.schema.name.to_string();
        let known: Vec<&str> = plan.columns.iter().map(|column| column.name.as_str()).collect();
        let sent = load.rows.len() as u64;
        let loaded = Loaded { rows: sent, bytes: replied.bytes };
        let message = told(&replied, &known);
        match replied.verdict {
            Verdict::Loaded => match miscount(&replied.answer, sent) {
                None => Ok(loaded),
                Some(message) => {
                    *lock(&self.spent).entry(ticket.0.clone()).or_default() += 1;
                    Err(LoadError::Refused(Code::FilteredRows.reason(object, message)))
                }
            },
            Verdict::LoadedBefore => Ok(loaded),
            Verdict::AskAboutLabel => match self.state(label).await {
                Ok(Fate::Loaded) => Ok(loaded),
                Ok(Fate::NotLoaded | Fate::Pending) | Err(_) => {
                    Err(LoadError::Unknown(Code::FateUnknown.reason(object, message)))
                }
            },
            Verdict::Retry(code) => Err(LoadError::Retry(code.reason(object, message))),
            Verdict::SlowDown(code) => Err(LoadError::SlowDown(code.reason(object, message))),
            Verdict::Refused(code) => {
                let message = match code {
                    Code::FilteredRows => message + &self.faults(&replied, &known).await,
                    _ => message,
                };
                let reason = match code {
                    Code::Privilege => reasons::privilege(&self.options, object, message),
                    code => code.waiting(object, message),
                };
                Err(LoadError::Refused(reason))
            }
        }
    }

    /// Which columns the server's error log blames.
    async fn faults(&self, replied: &Replied, known: &[&str]) -> String {
        let Some(url) = replied.answer.error_url.clone() else { return String::new() };
        let (wire, node) = (self.wire.clone(), replied.node.clone());
        let log = self.wire.pool.run(move |connection| wire.error_log(connection, &node, &url)).await;
        let columns = log.map(|log| answer::columns_at_fault(&log, known).join(", ")).unwrap_or_default();
        if columns.is_empty() { columns } else { format!("; columns at fault: {columns}") }
    }

    /// The name of the table that a label belongs to, empty if it is not prepared.
    fn target_of(&self, label: &str) -> String {
        let tables = self.tables.read().unwrap_or_else(PoisonError::into_inner);
        let prepared = self.labels.read(label).and_then(|label| tables.get(&label.table)?.first());
        prepared.map(|prepared| prepared.schema.target.clone()).unwrap_or_default()
    }

    /// Counts what came of a load. What it changed counts once it is known to be in, and then once.
    fn note(&self, label: &str, load: &Load, result: &Result<Loaded, LoadError>, changed: Changed) {
        lock(&self.unsettled).remove(label);
        match result {
            Ok(loaded) => {
                self.meter.reachable(true);
                self.meter.loaded(loaded.rows, loaded.bytes);
                self.note_changed(&load.schema, &changed);
            }
            Err(LoadError::Refused(_)) => self.meter.refused(),
            Err(LoadError::Retry(reason) | LoadError::SlowDown(reason) | LoadError::Unknown(reason)) => {
                if reason.code == Code::Unreachable.text() {
                    self.meter.reachable(false);
                }
                if matches!(result, Err(LoadError::Unknown(_))) && !changed.is_empty() {
                    lock(&self.unsettled).insert(label.to_owned(), (load.schema.clone(), changed));
                }
            }
        }
    }

    /// Counts values of a load that is in and that are not the source's own.
    fn note_changed(&self, schema: &TableSchema, changed: &Changed) {
        for (class, values, column) in changed.each() {
            let (class, policy) = (class.row().name, self.options.on_bad_value.of(class).name());
            if self.meter.changed(&schema.name, class, policy, values) {
                let column = schema.columns.get(column).map_or("", |column| column.name.as_str());
                tracing::warn!(
                    table = %schema.name,
                    column,
                    class,
                    policy,
                    "StarRocks cannot hold a value as it is: ON_BAD_VALUE says what was loaded instead, and \
                     sluicegate_values_changed_total counts from here"
                );
            }
        }
    }
}

/// What is wrong with the numbers of a load that the server calls a success.
fn miscount(answer: &Answer, sent: u64) -> Option<String> {
    let filtered = answer.filtered_rows.unwrap_or(0);
    let (total, loaded) = (answer.total_rows.unwrap_or(sent), answer.loaded_rows.unwrap_or(sent));
    (filtered != 0 || total != sent || loaded != sent).then(|| {
        format!("of {sent} rows sent the server counted {total}, loaded {loaded} and left out {filtered}, and called that a success")
    })
}

impl Sink for StarRocks {
    async fn setup(&self) -> Result<(), Vec<Reason>> {
        let mut sql = self.reach(true).await?;
        self.settle_leftovers(&mut sql).await.map_err(|reason| vec![reason])
    }

    async fn prepare(&self, schema: Arc<TableSchema>) -> Result<(), Vec<Reason>> {
        // Never closed, so the wait cannot fail.
        let _turn = self.preparing.acquire().await.ok();
        let mut sql = Sql::connect(&self.options).await.map_err(|reason| vec![reason])?;
        let Some(plan) = self.inspect(&mut sql, &schema, true).await? else { return Ok(()) };
        self.learn_nodes(&mut sql).await;
        self.probe(&schema).await.map_err(|reason| vec![reason])?;
        self.keep(schema, plan);
        Ok(())
    }

    fn deletes(&self, schema: &TableSchema) -> Deletes {
        match self.plan(schema) {
            Some(plan) if plan.hard_deletes && plan.key_alone_fits => Deletes::WithRows,
            _ => Deletes::Alone,
        }
    }

    fn ticket(&self, schema: &TableSchema) -> Ticket {
        Ticket(self.labels.next(schema.id))
    }

    async fn load(&self, ticket: &Ticket, load: &Load) -> Result<Loaded, LoadError> {
        // The server calls a load without rows a failure; there is nothing to be done for it anyway.
        if load.rows.is_empty() {
            return Ok(Loaded::default());
        }
        // Never closed, so the wait cannot fail.
        let _slot = self.slots.acquire().await.ok();
        let object = load.schema.name.to_string();
        let Some(plan) = self.plan(&load.schema) else {
            let message = "the target was not made ready for this schema of the table";
            return Err(LoadError::Retry(Code::NotPrepared.reason(object, message)));
        };
        let label = self.label(ticket);
        let submission = self.submission(&label, load, plan.clone());
        let wire = self.wire.clone();
        let submitted = self.wire.pool.run(move |connection| wire.submit(connection, submission)).await;
        let (result, changed) = match submitted {
            Ok(replied) => {
                self.meter.reachable(true);
                let changed = replied.changed;
                (self.judged(ticket, &label, load, &plan, replied).await, changed)
            }
            Err(unanswered) => {
                let Unanswered { error, changed } = *unanswered;
                (Err(self.look_again(error).await), changed)
            }
        };
        if let Ok(loaded) = &result {
            tracing::debug!(table = %load.schema.name, label, rows = loaded.rows, bytes = loaded.bytes, "loaded");
        }
        self.note(&label, load, &result, changed);
        result
    }

    async fn fate(&self, ticket: &Ticket) -> Result<Fate, Reason> {
        let label = self.label(ticket);
        let fate = self.state(&label).await;
        self.meter.reachable(fate.as_ref().map_or_else(|reason| reason.code != Code::Unreachable.text(), |_| true));
        let fate = fate?;
        if fate != Fate::Pending {
            lock(&self.pending).remove(&label);
            let unsettled = lock(&self.unsettled).remove(&label);
            if let (Fate::Loaded, Some((schema, changed))) = (fate, unsettled) {
                self.note_changed(&schema, &changed);
            }
            return Ok(fate);
        }
        let since = *lock(&self.pending).entry(label.clone()).or_insert_with(Instant::now);
        if since.elapsed() > PENDING_PATIENCE {
            // Its connection is gone: it may wait for the rest of a body that will never come.
            let table = self.target_of(&label);
            self.cancel(&Leftover { label, table }).await;
        }
        Ok(fate)
    }

    async fn truncate(&self, schema: &TableSchema) -> Result<(), LoadError> {
        self.truncate_table(schema).await
    }

    async fn sweep(&self, schema: &TableSchema, before: Lsn) -> Result<(), LoadError> {
        self.sweep_table(schema, before).await
    }
}

/// For what is harmless to do again.
pub(super) fn by_class(reason: Reason) -> LoadError {
    match reason.class {
        Class::Retry => LoadError::Retry(reason),
        Class::Wait | Class::Resync | Class::Config | Class::Bug => LoadError::Refused(reason),
    }
}

/// Whether what is sent there stays on this machine.
fn is_local(host: &str) -> bool {
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}
