//! The transaction interface: begin, load, prepare, commit, rollback under one label.
//!
//! Always: all loads of a label go to one backend and run one at a time; what the rows were worth is known at prepare or
//! commit, not at load; before prepare everything lives in the backend's memory
//! (StarRocks docs, "Stream Load transaction interface"; StarRocks source, `TransactionLoadAction.java`,
//! `transaction_mgr.cpp`).
//! Start at `frontend` and `backend`.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::answer::{Fields, backend_json, frontend_failed, unauthorized};
use super::backend::{
    Body, MEMORY_TEXT, PUBLISH_TIMEOUT_TEXT, SHUTTING_DOWN_TEXT, TOO_LONG_TEXT, Taken, check_size, counter,
    is_published, millis, now_micros, parse, rejected_path, take_body,
};
use super::frontend::{to_backend, to_leader};
use super::{Answer, Cluster, Connection, Head, Reply, lock};
use crate::fault::{Action, Call, Place};
use crate::load::{Compression, Format, LoadRequest, Loaded, Plan};
use crate::store::{Batch, BeginError, Counts, Store, TxnState};

/// Labels a frontend remembers the backend of.
const COORDINATED_MAX: usize = 4096;
/// `prepared_transaction_default_timeout_second`.
const PREPARED_TIMEOUT_S: i64 = 86_400;

/// A plan and the headers it was made from.
type FirstLoad = (Arc<Plan>, Vec<(String, String)>);

/// A transaction in the backend's memory.
#[derive(Debug)]
pub(super) struct BackendTxn {
    database: String,
    table: String,
    label: String,
    txn_id: u64,
    /// The plan and the headers of the first load; later loads must repeat them.
    plan: Option<FirstLoad>,
    batches: Vec<Batch>,
    /// Plain CSV of all loads, one stream: a row without its delimiter goes on in the next body.
    csv: Vec<u8>,
    counts: Counts,
    error_lines: Vec<String>,
    failure: Option<String>,
    started: Instant,
    read_ms: u64,
    write_ms: u64,
    /// `timeout` and, if asked for, `idle_transaction_timeout`, milliseconds.
    lasts_ms: i64,
    idle_ms: Option<i64>,
}

impl BackendTxn {
    fn add(&mut self, loaded: Loaded) {
        self.counts = sum(self.counts, loaded.counts);
        self.failure = self.failure.take().or(loaded.failure);
        self.error_lines.extend(loaded.error_lines);
        self.batches.push(loaded.batch);
    }

    /// Counts the idle time from now.
    fn touch(&self, store: &Store) {
        if let Some(idle_ms) = self.idle_ms {
            store.limit_idle(&self.database, self.txn_id, idle_ms, self.lasts_ms);
        }
    }
}

/// A label nobody chose.
pub(super) fn new_label() -> String {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    // Relaxed: only uniqueness matters.
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let micros = now_micros() as u64;
    format!("{:08x}-{:04x}-4{:03x}-a000-{number:012x}", micros >> 32, (micros >> 16) & 0xffff, micros & 0xfff)
}

fn call_of(op: &str) -> Option<Call> {
    match op {
        "begin" => Some(Call::Begin),
        "load" => Some(Call::Load),
        "prepare" => Some(Call::Prepare),
        "commit" => Some(Call::Commit),
        "rollback" => Some(Call::Rollback),
        _ => None,
    }
}

/// The frontend's part: find the backend of the label, or answer from the transaction's state.
pub(super) async fn frontend(cluster: &Cluster, index: usize, head: &Head, peer: &Connection, op: &str) -> Reply {
    let Some(call) = call_of(op) else {
        return frontend_failed(&format!("Unknown transaction operation: {op}")).into();
    };
    let table = Some(head.header("table")).filter(|table| !table.is_empty());
    let action = cluster.fault(call, Place::Fe, table.as_deref());
    if let Some(action) = &action
        && let Err(reply) = cluster.common_fault(action, Place::Fe).await
    {
        return reply;
    }
    if let Some(text) = cluster.refused_user(head, peer) {
        return unauthorized(&text).closing().into();
    }
    if let Some(answer) = to_leader(cluster, index, head) {
        return answer.into();
    }
    let (database, label) = (head.header("db"), head.header("label"));
    if label.is_empty() {
        return frontend_failed("Empty label.").into();
    }
    if database.is_empty() {
        return frontend_failed("No database selected.").into();
    }
    let own_port = cluster.frontends.get(index).copied();
    if is_multi(cluster, head) {
        return match call {
            Call::Load => to_backend(cluster, head, action.as_ref(), own_port).into(),
            _ => multi_table(cluster, head, call, &database, &label).into(),
        };
    }
    match decide(cluster, call, &database, &label) {
        Some(answer) => answer.into(),
        None => {
            remember(cluster, &label);
            to_backend(cluster, head, action.as_ref(), own_port).into()
        }
    }
}

fn is_multi(cluster: &Cluster, head: &Head) -> bool {
    let asked = head.header("transaction_type").eq_ignore_ascii_case("multi");
    asked && cluster.shared.store.settings().release.has_multi_table_transactions()
}

fn remember(cluster: &Cluster, label: &str) {
    let mut coordinated = lock(&cluster.coordinated);
    if !coordinated.iter().any(|known| known == label) {
        coordinated.push_back(label.to_string());
        if coordinated.len() > COORDINATED_MAX {
            coordinated.pop_front();
        }
    }
}

/// What the frontend answers itself; `None`: the backend shall.
fn decide(cluster: &Cluster, call: Call, database: &str, label: &str) -> Option<Answer> {
    let store = &cluster.shared.store;
    let state = store.label_state(database, label);
    let id = state.txn_id.unwrap_or_default();
    match call {
        Call::Load | Call::Prepare => {
            let known = lock(&cluster.coordinated).iter().any(|known| known == label);
            let running = state.state == Some(TxnState::Prepare);
            let op = if call == Call::Load { "load" } else { "prepare" };
            (!known && !running)
                .then(|| frontend_failed(&format!("transaction with op {op} label {label} has no node")))
        }
        Call::Commit => match state.state {
            None => Some(frontend_failed(&format!("No transaction found by label {label}"))),
            Some(TxnState::Prepare) => None,
            Some(TxnState::Prepared) => Some(match store.commit_prepared(database, id) {
                Ok(()) => frontend_ok(label, id, ""),
                Err(text) => frontend_failed(&text),
            }),
            Some(TxnState::Committed | TxnState::Visible) => {
                let text = format!("Transaction {id} has already committed, label is {label}");
                Some(frontend_ok(label, id, &text))
            }
            Some(TxnState::Aborted) => {
                Some(frontend_failed(&format!("Can not commit ABORTED transaction {id}, label is {label}")))
            }
        },
        Call::Rollback => match state.state {
            None => Some(frontend_failed(&format!("No transaction found by label {label}"))),
            Some(TxnState::Prepare) => None,
            Some(TxnState::Prepared) => {
                store.abort(database, id, "User Aborted");
                Some(frontend_ok(label, id, ""))
            }
            Some(TxnState::Aborted) => {
                let text = format!("Transaction {id} has already aborted, label is {label}");
                Some(frontend_ok(label, id, &text))
            }
            Some(state @ (TxnState::Committed | TxnState::Visible)) => {
                let name = state.name();
                Some(frontend_failed(&format!("Can not abort {name} transaction {id}, label is {label}")))
            }
        },
        Call::Begin | Call::StreamLoad | Call::LoadState => None,
    }
}

/// The frontend's own success.
fn frontend_ok(label: &str, txn_id: u64, message: &str) -> Answer {
    let fields =
        Fields::default().text("Label", label).text("Status", "OK").count("TxnId", txn_id).text("Message", message);
    Answer::json(200, fields.indented(2))
}

/// Transactions over several tables of one database live on the leader (since 4.0).
fn multi_table(cluster: &Cluster, head: &Head, call: Call, database: &str, label: &str) -> Answer {
    let store = &cluster.shared.store;
    let state = store.label_state(database, label);
    let id = state.txn_id.unwrap_or_default();
    match (call, state.state) {
        (Call::Begin, _) => match store.begin(database, &[], label, timeout_ms(cluster, head)) {
            Ok(id) => {
                store.mark_multi_table(database, id);
                lock(&cluster.multi_loads).insert(id, Vec::new());
                frontend_ok(label, id, "")
            }
            Err(error @ BeginError::LabelExists { .. }) => {
                let text = error.to_string();
                let fields = Fields::default().text("Status", "LABEL_ALREADY_EXISTS").text("Message", &text);
                Answer::json(200, fields.indented(2))
            }
            Err(error) => frontend_failed(&error.to_string()),
        },
        (Call::Prepare, _) => frontend_failed("Unsupported operation: prepare"),
        (_, None) => frontend_failed(&format!("No transaction found with db[{database}] and label[{label}]")),
        (Call::Commit, Some(TxnState::Prepare)) => {
            let batches = lock(&cluster.multi_loads).remove(&id).unwrap_or_default();
            let counts = store.transaction(database, id).map(|record| record.counts).unwrap_or_default();
            let total = batches.iter().map(|batch| batch.rows.len() as u64).sum();
            match store.commit(database, id, batches, Counts { total, loaded: total, ..counts }) {
                Ok(()) => frontend_ok(label, id, ""),
                Err(text) => frontend_failed(&text),
            }
        }
        (_, Some(TxnState::Prepare)) => {
            lock(&cluster.multi_loads).remove(&id);
            store.abort(database, id, "User Aborted");
            frontend_ok(label, id, "")
        }
        _ => decide(cluster, call, database, label)
            .unwrap_or_else(|| frontend_failed(&format!("No transaction found by label {label}"))),
    }
}

/// How long a transaction may take from its begin, milliseconds.
fn timeout_ms(cluster: &Cluster, head: &Head) -> i64 {
    let default = cluster.shared.store.settings().load_timeout.as_secs();
    header_seconds(head, "timeout").unwrap_or(default as i64) * 1000
}

/// A header of whole seconds, 1 to 259200.
fn header_seconds(head: &Head, name: &str) -> Option<i64> {
    head.header(name).parse::<i64>().ok().filter(|seconds| (1..=259_200).contains(seconds))
}

/// One call at the backend.
struct BackendCall<'a> {
    cluster: &'a Arc<Cluster>,
    head: &'a Head,
    database: String,
    table: String,
    label: String,
}

/// The backend's part.
pub(super) async fn backend(
    cluster: &Arc<Cluster>,
    head: &Head,
    connection: &mut Connection,
    op: &str,
) -> io::Result<Reply> {
    let (database, table, label) = (head.header("db"), head.header("table"), head.header("label"));
    let call = BackendCall { cluster, head, database, table, label };
    let Some(kind) = call_of(op) else {
        return Ok(call.answer("INVALID_ARGUMENT", &format!("Unknown transaction operation: {op}")).into());
    };
    let action = cluster.fault(kind, Place::Be, Some(&call.table).filter(|t| !t.is_empty()).map(String::as_str));
    if let Some(action) = &action
        && let Err(reply) = cluster.common_fault(action, Place::Be).await
    {
        return Ok(reply);
    }
    let ordered = match &action {
        Some(Action::Fail { message }) => Some(("INTERNAL_ERROR", message.as_str())),
        Some(Action::MemoryLimit) => Some(("MEM_LIMIT_EXCEEDED", MEMORY_TEXT)),
        _ => None,
    };
    if let Some((status, message)) = ordered {
        call.roll_back(message);
        call.skip_body(connection).await?;
        return Ok(call.answer(status, message).into());
    }
    let reply: Reply = match call.check_head(connection, kind) {
        Some(answer) => {
            call.skip_body(connection).await?;
            return Ok(answer.into());
        }
        None => match kind {
            Call::Begin => call.begin().into(),
            Call::Load => call.load(connection).await?.into(),
            Call::Prepare => call.end(true, None).await.into(),
            Call::Commit => call.end(false, action.as_ref()).await.into(),
            _ => call.rollback().into(),
        },
    };
    Ok(match action {
        Some(Action::ResetAfterCommit) => Reply::Reset,
        Some(Action::HangAfterCommit) => Reply::Hang,
        _ => reply,
    })
}

impl BackendCall<'_> {
    fn check_head(&self, connection: &Connection, kind: Call) -> Option<Answer> {
        if self.head.basic_auth().is_none() {
            return Some(self.answer("INTERNAL_ERROR", "no valid Basic authorization"));
        }
        if let Some(text) = self.cluster.refused_user(self.head, connection) {
            return Some(self.answer("INTERNAL_ERROR", &text));
        }
        if is_multi(self.cluster, self.head) && kind != Call::Load {
            let text = "Multi-statement transaction requests can only be sent to FE nodes, not BE nodes";
            return Some(self.answer("INVALID_ARGUMENT", text));
        }
        if self.label.is_empty() {
            return Some(self.answer("INVALID_ARGUMENT", "Empty label."));
        }
        if self.database.is_empty() {
            return Some(self.answer("INVALID_ARGUMENT", "No database selected."));
        }
        // Relaxed: a switch that stands for itself.
        if kind == Call::Begin && self.cluster.shutting_down.load(Ordering::Relaxed) {
            return Some(self.answer("SERVICE_UNAVAILABLE", SHUTTING_DOWN_TEXT));
        }
        None
    }

    /// A refused call's body is read and thrown away, unless the client still waits for the word to send it.
    async fn skip_body(&self, connection: &mut Connection) -> io::Result<()> {
        if !self.head.expects_continue() {
            connection.body(self.head.framing(), &mut |_| true).await?;
        }
        Ok(())
    }

    fn begin(&self) -> Answer {
        let store = &self.cluster.shared.store;
        let started = Instant::now();
        let lasts_ms = timeout_ms(self.cluster, self.head);
        match store.begin(&self.database, &[&self.table], &self.label, lasts_ms) {
            Ok(txn_id) => {
                let txn = BackendTxn {
                    database: self.database.clone(),
                    table: self.table.clone(),
                    label: self.label.clone(),
                    txn_id,
                    plan: None,
                    batches: Vec::new(),
                    csv: Vec::new(),
                    counts: Counts::default(),
                    error_lines: Vec::new(),
                    failure: None,
                    started,
                    read_ms: 0,
                    write_ms: 0,
                    lasts_ms,
                    idle_ms: header_seconds(self.head, "idle_transaction_timeout").map(|seconds| seconds * 1000),
                };
                txn.touch(store);
                let txn = Arc::new(tokio::sync::Mutex::new(txn));
                lock(&self.cluster.backend_txns).insert(self.label.clone(), txn);
                let fields = self.ok_fields().count("TxnId", txn_id).count("BeginTxnTimeMs", millis(started));
                self.json(&fields)
            }
            Err(error) => {
                let running = match &error {
                    BeginError::LabelExists { running, .. } => Some(if *running { "RUNNING" } else { "FINISHED" }),
                    _ => None,
                };
                let status = if running.is_some() { "LABEL_ALREADY_EXISTS" } else { "INTERNAL_ERROR" };
                let fields = self.fields(status, &error.to_string()).optional("ExistingJobStatus", running);
                self.json(&fields)
            }
        }
    }

    /// The label's transaction. One that has ended without this backend, by its timeout or `_cancel`, is forgotten.
    fn txn(&self) -> Option<Arc<tokio::sync::Mutex<BackendTxn>>> {
        let found = lock(&self.cluster.backend_txns).get(&self.label).cloned()?;
        let ended = found.try_lock().is_ok_and(|txn| self.ended(&txn).is_some());
        if ended {
            lock(&self.cluster.backend_txns).remove(&self.label);
        }
        (!ended).then_some(found)
    }

    /// Why a transaction of this backend has ended already, if it has.
    fn ended(&self, txn: &BackendTxn) -> Option<String> {
        match self.cluster.shared.store.transaction(&txn.database, txn.txn_id) {
            Some(record) if record.state == TxnState::Prepare => None,
            Some(record) if !record.reason.starts_with("timeout") => Some(record.reason),
            _ => Some("transaction is aborted by timeout".to_string()),
        }
    }

    fn not_exists(&self) -> Answer {
        self.answer("TXN_NOT_EXISTS", &format!("Transaction with label {} not exists", self.label))
    }

    fn in_processing(&self) -> Answer {
        let fields = self.fields("TXN_IN_PROCESSING", "Transaction is in processing").text("Label", &self.label);
        self.json(&fields)
    }

    async fn load(&self, connection: &mut Connection) -> io::Result<Answer> {
        if is_multi(self.cluster, self.head) {
            return self.load_multi(connection).await;
        }
        let refused = match self.txn() {
            None => Err(self.not_exists()),
            Some(txn) => match Arc::clone(&txn).try_lock_owned() {
                Err(_) => Err(self.in_processing()),
                Ok(mut txn) => match self.plan_load(&mut txn) {
                    Ok(plan) => Ok((txn, plan)),
                    Err(answer) => Err(answer),
                },
            },
        };
        let (mut txn, plan) = match refused {
            Ok(found) => found,
            Err(answer) => {
                self.skip_body(connection).await?;
                return Ok(answer);
            }
        };
        let (body, read_ms) = match self.take(connection, &plan).await? {
            Ok(taken) => taken,
            Err(answer) => return Ok(answer),
        };
        if let Some(reason) = self.ended(&txn) {
            lock(&self.cluster.backend_txns).remove(&self.label);
            return Ok(self.answer("ABORTED", &reason));
        }
        txn.read_ms += read_ms;
        let plain_csv = plan.request().format == Format::Csv && plan.request().compression == Compression::None;
        let bytes = match body {
            Body::Kept(body) if plain_csv => {
                txn.csv.extend_from_slice(&body);
                txn.counts.bytes += body.len() as u64;
                body.len() as u64
            }
            body => {
                let writing = Instant::now();
                let loaded = self.parse(&plan, body).await;
                let bytes = loaded.counts.bytes;
                txn.add(loaded);
                txn.write_ms += millis(writing);
                bytes
            }
        };
        txn.touch(&self.cluster.shared.store);
        let fields = self
            .ok_fields()
            .count("TxnId", txn.txn_id)
            .count("LoadBytes", bytes)
            .count("StreamLoadPlanTimeMs", 0)
            .count("ReceivedDataTimeMs", read_ms);
        Ok(self.json(&fields))
    }

    async fn parse(&self, plan: &Arc<Plan>, body: Body) -> Loaded {
        parse(Arc::clone(plan), body, self.cluster.shared.store.settings().discard).await
    }

    /// Reads one body, and tells how long it took; a connection that ends early rolls the transaction back.
    async fn take(&self, connection: &mut Connection, plan: &Arc<Plan>) -> io::Result<Result<(Body, u64), Answer>> {
        if self.head.expects_continue() {
            connection.send_continue().await?;
        }
        let discard = self.cluster.shared.store.settings().discard;
        let reading = Instant::now();
        let body = match take_body(connection, self.head, counter(plan, discard), None).await {
            Ok(Taken::Whole(body)) => body,
            Ok(Taken::Cut(_) | Taken::Stopped) => {
                let text = "receive body don't equal with body bytes";
                self.roll_back(text);
                return Ok(Err(self.answer("INTERNAL_ERROR", text)));
            }
            Ok(Taken::TooLong) => {
                self.roll_back(TOO_LONG_TEXT);
                return Ok(Err(self.answer("INTERNAL_ERROR", TOO_LONG_TEXT).closing()));
            }
            Err(error) => {
                self.roll_back("Cancelled");
                return Err(error);
            }
        };
        Ok(Ok((body, millis(reading))))
    }

    /// The first load plans; later ones must have the same headers.
    fn plan_load(&self, txn: &mut BackendTxn) -> Result<Arc<Plan>, Answer> {
        if txn.database != self.database {
            let text = format!("Request database {} not equal transaction database {}", self.database, txn.database);
            return Err(self.answer("INVALID_ARGUMENT", &text));
        }
        if txn.table != self.table {
            let text = format!("Request table {} not equal transaction table {}", self.table, txn.table);
            return Err(self.answer("INVALID_ARGUMENT", &text));
        }
        let headers = load_headers(self.head);
        match &txn.plan {
            Some((plan, first)) if *first == headers => Ok(Arc::clone(plan)),
            Some(_) => Err(self.answer("INVALID_ARGUMENT", "load request not equal last.")),
            None => match self.plan() {
                Ok(plan) => {
                    txn.plan = Some((Arc::clone(&plan), headers));
                    Ok(plan)
                }
                Err(text) => {
                    self.roll_back(&text);
                    Err(self.answer("ANALYSIS_ERROR", &text))
                }
            },
        }
    }

    fn plan(&self) -> Result<Arc<Plan>, String> {
        let store = &self.cluster.shared.store;
        let request = LoadRequest::read(&|name| self.head.header(name))?;
        check_size(self.cluster, self.head, request.format, &format!("label={}", self.label))?;
        store.check_versions(&self.database, &self.table)?;
        let table = store
            .table(&self.database, &self.table)
            .map_err(|_| format!("unknown table \"{}.{}\"", self.database, self.table))?;
        Plan::new(request, table, now_micros()).map(Arc::new)
    }

    /// A load of a transaction over several tables; any failure cancels the whole of it.
    async fn load_multi(&self, connection: &mut Connection) -> io::Result<Answer> {
        let store = &self.cluster.shared.store;
        let state = store.label_state(&self.database, &self.label);
        let (Some(TxnState::Prepare), Some(txn_id)) = (state.state, state.txn_id) else {
            connection.body(self.head.framing(), &mut |_| true).await?;
            return Ok(self.not_exists());
        };
        let failed = |text: &str| {
            lock(&self.cluster.multi_loads).remove(&txn_id);
            store.abort(&self.database, txn_id, text);
            self.answer("INTERNAL_ERROR", text)
        };
        let plan = match self.plan() {
            Ok(plan) => plan,
            Err(text) => {
                connection.body(self.head.framing(), &mut |_| true).await?;
                return Ok(failed(&text));
            }
        };
        let (body, read_ms) = match self.take(connection, &plan).await? {
            Ok(taken) => taken,
            Err(answer) => return Ok(answer),
        };
        let loaded = self.parse(&plan, body).await;
        if let Some(text) = loaded.failure.or_else(|| plan.verdict(&loaded.counts)) {
            return Ok(failed(&text));
        }
        store.join_table(&self.database, txn_id, &self.table);
        lock(&self.cluster.multi_loads).entry(txn_id).or_default().push(loaded.batch);
        let fields = self
            .ok_fields()
            .count("TxnId", txn_id)
            .count("LoadBytes", loaded.counts.bytes)
            .count("StreamLoadPlanTimeMs", 0)
            .count("ReceivedDataTimeMs", read_ms);
        Ok(self.json(&fields))
    }

    /// Prepare, or commit without prepare.
    async fn end(&self, prepare: bool, action: Option<&Action>) -> Answer {
        let Some(txn) = self.txn() else { return self.not_exists() };
        let Ok(mut txn) = txn.try_lock() else { return self.in_processing() };
        if txn.database != self.database {
            let text = format!("Request database {} not equal transaction database {}", self.database, txn.database);
            return self.answer("INVALID_ARGUMENT", &text);
        }
        let Some((plan, _)) = txn.plan.clone() else {
            let text = format!("txn {} label {} hasn't send any data yet", txn.txn_id, txn.label);
            return self.answer("INTERNAL_ERROR", &text);
        };
        if !txn.csv.is_empty() {
            let csv = std::mem::take(&mut txn.csv);
            let writing = Instant::now();
            let mut loaded = self.parse(&plan, Body::Kept(csv)).await;
            loaded.counts.bytes = 0; // They were counted as they came.
            txn.add(loaded);
            txn.write_ms += millis(writing);
        }
        let rejected_path = rejected_path(&plan, &txn.counts, &self.database, &self.label);
        let error_url = self.cluster.keep_error_log(txn.txn_id, &std::mem::take(&mut txn.error_lines));
        if let Some(text) = txn.failure.take().or_else(|| plan.verdict(&txn.counts)) {
            self.roll_back(&text);
            let fields = self.fields("INTERNAL_ERROR", &text).optional("ErrorURL", error_url.as_deref());
            return self.json(&fields.optional("RejectedRecordPath", rejected_path.as_deref()));
        }
        let store = &self.cluster.shared.store;
        let batches = std::mem::take(&mut txn.batches);
        let committing = Instant::now();
        let ended = if prepare {
            let asked = header_seconds(self.head, "prepared_timeout");
            let asked = asked.filter(|_| store.settings().release.has_prepared_timeout());
            let seconds = asked.unwrap_or(PREPARED_TIMEOUT_S);
            store.prepare(&self.database, txn.txn_id, batches, txn.counts, seconds * 1000)
        } else {
            store.commit(&self.database, txn.txn_id, batches, txn.counts)
        };
        lock(&self.cluster.backend_txns).remove(&self.label);
        if let Err(text) = ended {
            return self.answer("INTERNAL_ERROR", &text);
        }
        let deadline = txn.started + Duration::from_millis(txn.lasts_ms.unsigned_abs());
        let visible = prepare || is_published(self.cluster, &self.database, txn.txn_id, deadline).await;
        let late = action == Some(&Action::PublishTimeout) || !visible;
        let (status, message) = if late { ("PUBLISH_TIMEOUT", PUBLISH_TIMEOUT_TEXT) } else { ("OK", "") };
        let fields = end_fields(self.fields(status, message).text("Label", &self.label), &txn, millis(committing));
        let fields = fields.optional("ErrorURL", error_url.as_deref());
        self.json(&fields.optional("RejectedRecordPath", rejected_path.as_deref()))
    }

    fn rollback(&self) -> Answer {
        let Some(txn) = self.txn() else { return self.not_exists() };
        if txn.try_lock().is_err() {
            return self.in_processing();
        }
        self.roll_back("User Aborted");
        self.json(&self.ok_fields())
    }

    fn roll_back(&self, reason: &str) {
        let txn = lock(&self.cluster.backend_txns).remove(&self.label);
        let store = &self.cluster.shared.store;
        if let Some(txn_id) = store.label_state(&self.database, &self.label).txn_id
            && txn.is_some()
        {
            store.abort(&self.database, txn_id, reason);
        }
    }

    fn fields(&self, status: &str, message: &str) -> Fields {
        let fields = Fields::default().text("Status", status).text("Message", message);
        if self.cluster.shared.store.settings().release.names_table_in_answers() {
            fields.text("Db", &self.database).text("Table", &self.table)
        } else {
            fields
        }
    }

    fn ok_fields(&self) -> Fields {
        self.fields("OK", "").text("Label", &self.label)
    }

    fn answer(&self, status: &str, message: &str) -> Answer {
        self.json(&self.fields(status, message))
    }

    fn json(&self, fields: &Fields) -> Answer {
        backend_json(fields, self.cluster.shared.store.settings().release)
    }
}

fn end_fields(fields: Fields, txn: &BackendTxn, commit_ms: u64) -> Fields {
    let counts = txn.counts;
    fields
        .count("TxnId", txn.txn_id)
        .count("NumberTotalRows", counts.total)
        .count("NumberLoadedRows", counts.loaded)
        .count("NumberFilteredRows", counts.filtered)
        .count("NumberUnselectedRows", counts.unselected)
        .count("LoadBytes", counts.bytes)
        .count("LoadTimeMs", millis(txn.started))
        .count("StreamLoadPlanTimeMs", 0)
        .count("ReceivedDataTimeMs", txn.read_ms)
        .count("WriteDataTimeMs", txn.write_ms)
        .count("CommitAndPublishTimeMs", commit_ms)
}

/// Headers that describe the load, not the request.
fn load_headers(head: &Head) -> Vec<(String, String)> {
    let of_request = ["expect", "content-length", "transfer-encoding", "connection", "accept", "user-agent", "host"];
    let described = |(name, _): &&(String, String)| !of_request.contains(&name.as_str());
    let mut headers: Vec<_> = head.headers().iter().filter(described).cloned().collect();
    headers.sort();
    headers
}

fn sum(a: Counts, b: Counts) -> Counts {
    Counts {
        total: a.total + b.total,
        loaded: a.loaded + b.loaded,
        filtered: a.filtered + b.filtered,
        unselected: a.unselected + b.unselected,
        deletes: a.deletes + b.deletes,
        bytes: a.bytes + b.bytes,
    }
}
