//! The sink itself: what the pipeline calls, and what that asks of the server.
//!
//! Always: a load is `Loaded` only if the server says so and its row numbers are ours; an outcome nobody knows is
//! `Unknown`, never "nothing was loaded".

use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::{Duration, Instant};

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};

use super::answer::{self, Answer};
use super::date;
use super::ddl;
use super::encode::Body;
use super::label::Labels;
use super::leftovers::{self, Leftover};
use super::options::Options;
use super::plan::Plan;
use super::reasons::Code;
use super::sql::{Record, Sql};
use super::stream_load::{Replied, Submission, Wire, told};
use super::table::{self, Described, DescribedColumn};
use super::types::Target;
use super::verdict::Verdict;
use crate::model::{Class, Load, Reason, TableId, TableSchema};
use crate::sink::{Deletes, Fate, LoadError, Loaded, Sink, Ticket};
use crate::status::SinkMeter;

/// Characters that stand for themselves in a path segment.
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');
/// Oldest StarRocks that lists its loads.
const VERSION_MIN: (u32, u32) = (3, 1);
/// How long a load may stay undecided after its connection broke before it is cancelled.
const PENDING_PATIENCE: Duration = Duration::from_secs(60);
/// How long cancelled loads of an earlier run have to end within one call of `setup`.
const LEFTOVER_PATIENCE: Duration = Duration::from_secs(20);
/// How long added columns have to become visible within one call of `prepare`.
const ALTER_PATIENCE: Duration = Duration::from_secs(60);
/// Pause between two looks at something that should change soon.
const LOOK_AGAIN: Duration = Duration::from_millis(200);
/// Schemas of one table whose plans are kept.
const PLANS_PER_TABLE: usize = 4;

/// A table that was prepared.
#[derive(Debug)]
struct Prepared {
    schema: Arc<TableSchema>,
    plan: Arc<Plan>,
}

/// StarRocks.
#[derive(Debug)]
pub struct StarRocks {
    options: Arc<Options>,
    meter: SinkMeter,
    wire: Arc<Wire>,
    labels: Labels,
    /// The newest schemas of each table.
    tables: RwLock<HashMap<TableId, Vec<Prepared>>>,
    /// One permit for each load that may run.
    slots: Semaphore,
    /// Since when the outcome of a label is awaited.
    pending: Mutex<HashMap<String, Instant>>,
    /// How often a ticket's load was accepted with the wrong number of rows. Its label is spent then: the server
    /// would call the next try done.
    spent: Mutex<HashMap<String, u64>>,
    /// Backends in the cluster, 0 if not known.
    backends: AtomicU64,
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
        Ok(StarRocks {
            wire: Arc::new(Wire::new(options.clone())),
            labels: Labels::new(&options.pipeline),
            tables: RwLock::default(),
            slots: Semaphore::new(options.parallelism.max(1)),
            pending: Mutex::default(),
            spent: Mutex::default(),
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
            if let Err(found) = self.inspect(&mut sql, schema, false).await {
                findings.extend(found);
            }
        }
        findings
    }

    fn path(&self, table: &str) -> String {
        let database = utf8_percent_encode(&self.options.database, SEGMENT);
        format!("/api/{database}/{}/_stream_load", utf8_percent_encode(table, SEGMENT))
    }

    fn plan(&self, schema: &TableSchema) -> Option<Arc<Plan>> {
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

// Setup.
impl StarRocks {
    /// Health, login, version, database and nodes. `create` tells whether a missing database is created.
    async fn reach(&self, create: bool) -> Result<Sql, Vec<Reason>> {
        let health = self.health().await;
        self.meter.reachable(health.is_ok());
        let mut findings: Vec<Reason> = health.err().into_iter().collect();
        match Sql::connect(&self.options).await {
            Ok(mut sql) => {
                findings.extend(self.version(&mut sql).await.err());
                findings.extend(self.database(&mut sql, create).await.err());
                self.learn_nodes(&mut sql).await;
                if findings.is_empty() { Ok(sql) } else { Err(findings) }
            }
            Err(reason) => {
                findings.push(reason);
                Err(findings)
            }
        }
    }

    async fn health(&self) -> Result<(), Reason> {
        let wire = self.wire.clone();
        let response = self.wire.pool.run(move |c| wire.ask(c, false, "/api/health", false)).await?;
        if response.status != 200 {
            let message = format!("a frontend answers HTTP {} when asked for its health", response.status);
            return Err(Code::Http.reason("", message));
        }
        // Relaxed: the number alone matters.
        self.backends.store(answer::backends(&response.body).unwrap_or(0), Relaxed);
        Ok(())
    }

    async fn version(&self, sql: &mut Sql) -> Result<(), Reason> {
        let asked = sql.rows("SELECT current_version() AS version").await;
        let rows = asked.map_err(|error| match &error {
            super::sql::SqlError::Server { .. } => {
                Code::Version.reason("", "the server is no StarRocks: it does not tell its version")
            }
            super::sql::SqlError::Lost(_) => error.reason(&self.options, "", "asking for the version"),
        })?;
        let text = rows.first().map_or("", |row| row.text("version"));
        tracing::info!(version = %answer::presentable(text, &[]), "StarRocks answers");
        match version(text) {
            Some(found) if found < VERSION_MIN => {
                let message = format!(
                    "StarRocks is of version {}.{}, and older ones than 3.1 are not supported",
                    found.0, found.1
                );
                Err(Code::Version.reason("", message))
            }
            _ => Ok(()),
        }
    }

    async fn database(&self, sql: &mut Sql, create: bool) -> Result<(), Reason> {
        let name = &self.options.database;
        let query =
            format!("SELECT SCHEMA_NAME FROM information_schema.schemata WHERE SCHEMA_NAME = {}", ddl::text(name));
        let found = sql.rows(&query).await.map_err(|e| e.reason(&self.options, name, "looking for the database"))?;
        if !found.is_empty() {
            return Ok(());
        }
        let statement = format!("CREATE DATABASE IF NOT EXISTS {}", ddl::name(name));
        match (self.options.create_tables, create) {
            (true, true) => sql.run(&statement).await.map_err(|error| {
                let reason = error.reason(&self.options, name, "creating the database");
                let user = ddl::text(&self.options.user);
                let grant = format!("GRANT CREATE DATABASE ON CATALOG default_catalog TO USER {user}@'%';");
                if error.is_privilege() { reason.with_sql(grant) } else { reason }
            }),
            (true, false) => Ok(()),
            (false, _) => {
                Err(Code::DatabaseMissing.reason(name, "the database does not exist").with_sql(statement + ";"))
            }
        }
    }

    /// The addresses of all nodes, where the user may ask for them. Otherwise redirects are judged by the settings
    /// alone, and `prepare` tells of a backend they do not cover.
    async fn learn_nodes(&self, sql: &mut Sql) {
        let mut nodes = BTreeSet::new();
        for query in ["SHOW BACKENDS", "SHOW COMPUTE NODES"] {
            match sql.rows(query).await {
                Ok(rows) => nodes.extend(rows.iter().filter_map(|row| row.get("IP")).map(str::to_ascii_lowercase)),
                Err(error) => tracing::debug!(%error, query, "the cluster's nodes cannot be listed"),
            }
        }
        self.wire.learn(nodes);
    }

    /// Cancels or waits for loads of earlier runs.
    async fn settle_leftovers(&self, sql: &mut Sql) -> Result<(), Reason> {
        let rows = match sql.rows(&leftovers::query(&self.options.database, &self.labels)).await {
            Ok(rows) => rows,
            Err(error) if error.is_missing() => return self.outwait_leftovers(),
            Err(error) => return Err(error.reason(&self.options, "", "looking for loads of an earlier run")),
        };
        let mut left = leftovers::unfinished(&rows, &self.labels);
        for leftover in &left {
            tracing::info!(label = leftover.label, "a load of an earlier run is unfinished: cancelling it");
            self.cancel(leftover).await;
        }
        let deadline = Instant::now() + LEFTOVER_PATIENCE;
        loop {
            let mut open = Vec::new();
            for leftover in left {
                if self.state(&leftover.label).await? == Fate::Pending {
                    open.push(leftover);
                }
            }
            left = open;
            let Some(first) = left.first() else { return Ok(()) };
            if Instant::now() >= deadline {
                let message =
                    format!("{} loads of an earlier run are still at work, {} among them", left.len(), first.label);
                return Err(Code::Leftovers.reason("", message));
            }
            sleep(LOOK_AGAIN).await;
        }
    }

    /// Where the server does not list its loads, none of an earlier run can be alive once the server's own time
    /// limit for loads has passed since we started.
    fn outwait_leftovers(&self) -> Result<(), Reason> {
        let left = self.options.load_timeout.saturating_sub(self.labels.started().elapsed());
        match left.is_zero() {
            true => Ok(()),
            false => {
                let message = format!(
                    "this server does not list its loads: waiting {} s until those of an earlier run have timed out",
                    left.as_secs() + 1
                );
                Err(Code::Leftovers.reason("", message))
            }
        }
    }

    /// Asks the server to give a load up. It may refuse because the load is done; the load's state tells then.
    async fn cancel(&self, leftover: &Leftover) {
        let segment = |text| utf8_percent_encode(text, SEGMENT).to_string();
        let table = if leftover.table.is_empty() { "_" } else { &leftover.table };
        let path = format!(
            "/api/{}/{}/_cancel?label={}",
            segment(&self.options.database),
            segment(table),
            segment(&leftover.label)
        );
        let wire = self.wire.clone();
        let answered = self.wire.pool.run(move |connection| wire.ask(connection, true, &path, true)).await;
        if let Err(reason) = answered {
            tracing::debug!(%reason, label = leftover.label, "a load could not be cancelled");
        }
    }

    /// What the frontend says of a label.
    ///
    /// COMMITTED is durable and will be visible. UNKNOWN means never begun or long forgotten: sending again is right
    /// in both cases. A first try that is still on its way and begins later finds its label in use or finished, and
    /// the server turns it away; rows that were loaded and forgotten are loaded again to the same effect.
    async fn state(&self, label: &str) -> Result<Fate, Reason> {
        let database = utf8_percent_encode(&self.options.database, SEGMENT);
        let path = format!("/api/{database}/get_load_state?label={}", utf8_percent_encode(label, SEGMENT));
        let wire = self.wire.clone();
        let response = self.wire.pool.run(move |connection| wire.ask(connection, false, &path, true)).await?;
        match answer::label_state(&response.body).as_deref() {
            Some("VISIBLE" | "COMMITTED") => Ok(Fate::Loaded),
            Some("ABORTED" | "UNKNOWN") => Ok(Fate::NotLoaded),
            Some("PREPARE" | "PREPARED") => Ok(Fate::Pending),
            state => {
                let message = match (state, Answer::read(&response.body)) {
                    (Some(state), _) => format!("a load has the unknown state {}", answer::presentable(state, &[])),
                    (None, Some(answer)) => answer::presentable(&answer.message, &[]),
                    (None, None) => format!("HTTP {} without a state", response.status),
                };
                Err(Code::FateUnknown.reason("", format!("asking for a load's state: {message}")))
            }
        }
    }
}

/// Major and minor of `3.5.7-d2da301`.
fn version(text: &str) -> Option<(u32, u32)> {
    let mut parts = text.split(['.', '-', ' ']);
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

// Tables.
impl StarRocks {
    /// Looks at one table and makes it ready; with `change` off it changes nothing, and `None` means that the table
    /// would be made ready.
    async fn inspect(&self, sql: &mut Sql, schema: &TableSchema, change: bool) -> Result<Option<Plan>, Vec<Reason>> {
        let findings = table::names(schema, &self.options);
        if !findings.is_empty() {
            return Err(findings);
        }
        let mut described = self.describe(sql, schema).await.map_err(|reason| vec![reason])?;
        if described.is_none() {
            if self.options.create_tables && !change {
                return Ok(None);
            }
            self.create(sql, schema).await.map_err(|reason| vec![reason])?;
            described = self.describe(sql, schema).await.map_err(|reason| vec![reason])?;
        }
        let Some(mut described) = described else {
            return Err(vec![
                Code::TableMissing.reason(schema.name.to_string(), "the table made just now is not there"),
            ]);
        };
        if !table::missing_audit(&described, &self.options).is_empty() {
            if !change {
                return Ok(None);
            }
            described = self.add_audit(sql, schema, described).await.map_err(|reason| vec![reason])?;
        }
        table::fitted(schema, &described, &self.options).map(Some)
    }

    /// The target table as it is; `None` if there is none.
    async fn describe(&self, sql: &mut Sql, schema: &TableSchema) -> Result<Option<Described>, Reason> {
        let object = schema.name.to_string();
        let (database, target) = (&self.options.database, &schema.target);
        let columns = match sql.rows(&format!("DESC {}", ddl::table(database, target))).await {
            Ok(rows) => rows,
            Err(error) if error.is_missing() => return Ok(None),
            Err(error) => return Err(error.reason(&self.options, &object, "reading the columns of the target table")),
        };
        let query = format!(
            "SELECT TABLE_MODEL, PRIMARY_KEY FROM information_schema.tables_config \
             WHERE TABLE_SCHEMA = {} AND TABLE_NAME = {}",
            ddl::text(database),
            ddl::text(target)
        );
        let config = sql.rows(&query).await;
        let config = config.map_err(|e| e.reason(&self.options, &object, "reading the model of the target table"))?;
        Ok(Some(described(&columns, config.first())))
    }

    async fn create(&self, sql: &mut Sql, schema: &TableSchema) -> Result<(), Reason> {
        let columns = table::wanted(schema, &self.options);
        let statement = ddl::create_table(&self.options.database, &schema.target, &columns, self.replication());
        let object = schema.name.to_string();
        if !self.options.create_tables {
            let message = format!("table {}.{} does not exist", self.options.database, schema.target);
            return Err(Code::TableMissing.reason(object, message).with_sql(statement + ";"));
        }
        tracing::info!(table = %schema.name, target = schema.target, "creating the target table");
        sql.run(&statement).await.map_err(|error| {
            let reason = error.reason(&self.options, &object, "creating the target table");
            if reason.sql.is_empty() { reason.with_sql(statement + ";") } else { reason }
        })
    }

    /// The server's default of three replicas cannot be met by a cluster of one or two backends.
    fn replication(&self) -> Option<u16> {
        // Relaxed: the number alone matters.
        let few = match self.backends.load(Relaxed) {
            1 => Some(1),
            2 => Some(2),
            _ => None,
        };
        self.options.replication_num.or(few)
    }

    /// Adds the audit columns and waits until the server shows them: before that it would drop their values.
    async fn add_audit(&self, sql: &mut Sql, schema: &TableSchema, now: Described) -> Result<Described, Reason> {
        let missing = table::missing_audit(&now, &self.options);
        let statement = ddl::add_columns(&self.options.database, &schema.target, &missing);
        let object = schema.name.to_string();
        tracing::info!(table = %schema.name, target = schema.target, "adding audit columns");
        match sql.run(&statement).await {
            Ok(()) => {}
            Err(error) if error.is_duplicate_column() => {}
            Err(error) => {
                let reason = error.reason(&self.options, &object, "adding audit columns");
                return Err(if reason.sql.is_empty() { reason.with_sql(statement + ";") } else { reason });
            }
        }
        let deadline = Instant::now() + ALTER_PATIENCE;
        loop {
            let described = self.describe(sql, schema).await?.unwrap_or_default();
            if table::missing_audit(&described, &self.options).is_empty() {
                return Ok(described);
            }
            if Instant::now() >= deadline {
                return Err(Code::Sql.reason(object, "the audit columns that were added are not visible yet"));
            }
            sleep(LOOK_AGAIN).await;
        }
    }

    /// Whether a frontend names a backend for this table, the policy allows it, and it can be reached.
    async fn probe(&self, schema: &TableSchema) -> Result<(), Reason> {
        let (wire, path) = (self.wire.clone(), self.path(&schema.target));
        let named = self.wire.pool.run(move |connection| wire.backend(connection, &path)).await;
        self.meter.reachable(named.as_ref().map_or_else(|reason| reason.code != Code::Unreachable.text(), |_| true));
        let backend = named.map_err(|reason| match reason.code == Code::Privilege.text() {
            true => super::reasons::privilege(&self.options, schema.name.to_string(), reason.message),
            false => reason,
        })?;
        let address = (backend.host.as_str(), backend.port);
        let text = match timeout(self.options.connect_timeout, TcpStream::connect(address)).await {
            Ok(Ok(_)) => return Ok(()),
            Ok(Err(error)) => error.to_string(),
            Err(_) => "no answer".to_owned(),
        };
        let message = format!("a frontend sends loads to the backend {backend}, which cannot be reached: {text}");
        let remedy = "Check that the backend's HTTP port can be reached from here, or say by SINK_REDIRECT_MAP=from=to \
                      where it is. It is tried again by itself.";
        Err(Reason { remedy: remedy.into(), ..Code::Unreachable.reason(backend.to_string(), message) })
    }

    pub(super) fn keep(&self, schema: Arc<TableSchema>, plan: Plan) {
        let mut tables = self.tables.write().unwrap_or_else(PoisonError::into_inner);
        let kept = tables.entry(schema.id).or_default();
        kept.retain(|prepared| *prepared.schema != *schema);
        kept.insert(0, Prepared { schema, plan: Arc::new(plan) });
        kept.truncate(PLANS_PER_TABLE);
    }
}

/// Puts together what `DESC` and `tables_config` say.
fn described(columns: &[Record], config: Option<&Record>) -> Described {
    let is_true = |text: &str| ["true", "yes", "pri"].contains(&text.to_ascii_lowercase().as_str());
    let by_desc = columns.iter().filter(|row| is_true(row.text("Key"))).map(|row| row.text("Field").to_owned());
    let by_config = config.and_then(|row| row.get("PRIMARY_KEY")).map(quoted_names).filter(|names| !names.is_empty());
    Described {
        key: by_config.unwrap_or_else(|| by_desc.collect()),
        model: config.and_then(|row| row.get("TABLE_MODEL")).map(str::to_owned),
        columns: columns
            .iter()
            .map(|row| DescribedColumn {
                name: row.text("Field").to_owned(),
                ty: Target::read(row.text("Type")),
                nullable: is_true(row.text("Null")),
                filled: row.get("Default").is_some() || !row.text("Extra").is_empty(),
            })
            .collect(),
    }
}

/// The names in a list like "`a`, `b`". A back-quote within a name is doubled.
fn quoted_names(list: &str) -> Vec<String> {
    let mut names = Vec::new();
    let mut rest = list;
    while let Some(start) = rest.find('`') {
        let mut name = String::new();
        rest = &rest[start + 1..];
        while let Some(end) = rest.find('`') {
            name.push_str(&rest[..end]);
            rest = &rest[end + 1..];
            match rest.strip_prefix('`') {
                Some(after) => {
                    name.push('`');
                    rest = after;
                }
                None => break,
            }
        }
        names.push(name);
    }
    names
}

// Loads.
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
        Submission {
            object: load.schema.name.to_string(),
            path: self.path(&load.schema.target),
            headers,
            body: Body::new(plan, load, &date::written(made)),
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
                    Code::Privilege => super::reasons::privilege(&self.options, object, message),
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

    fn note(&self, result: &Result<Loaded, LoadError>, replaced: u64) {
        match result {
            Ok(loaded) => {
                self.meter.reachable(true);
                self.meter.loaded(loaded.rows, loaded.bytes);
                if replaced > 0 {
                    self.meter.replaced(replaced);
                }
            }
            Err(LoadError::Refused(_)) => self.meter.refused(),
            Err(LoadError::Retry(reason) | LoadError::SlowDown(reason) | LoadError::Unknown(reason)) => {
                if reason.code == Code::Unreachable.text() {
                    self.meter.reachable(false);
                }
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
        let mut sql = Sql::connect(&self.options).await.map_err(|reason| vec![reason])?;
        let Some(plan) = self.inspect(&mut sql, &schema, true).await? else { return Ok(()) };
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
        let (result, replaced) = match submitted {
            Ok(replied) => {
                self.meter.reachable(true);
                let replaced = replied.replaced;
                (self.judged(ticket, &label, load, &plan, replied).await, replaced)
            }
            Err(error) => (Err(error), 0),
        };
        self.note(&result, replaced);
        result
    }

    async fn fate(&self, ticket: &Ticket) -> Result<Fate, Reason> {
        let label = self.label(ticket);
        let fate = self.state(&label).await;
        self.meter.reachable(fate.as_ref().map_or_else(|reason| reason.code != Code::Unreachable.text(), |_| true));
        let fate = fate?;
        if fate != Fate::Pending {
            lock(&self.pending).remove(&label);
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
        let object = schema.name.to_string();
        let table = ddl::table(&self.options.database, &schema.target);
        let mut sql = Sql::connect(&self.options).await.map_err(by_class)?;
        let done = sql.run(&format!("TRUNCATE TABLE {table}")).await;
        done.map_err(|error| by_class(error.reason(&self.options, &object, "truncating the target table")))
    }
}

/// For what is harmless to do again.
fn by_class(reason: Reason) -> LoadError {
    match reason.class {
        Class::Retry => LoadError::Retry(reason),
        Class::Wait | Class::Resync | Class::Config | Class::Bug => LoadError::Refused(reason),
    }
}
