//! The backend's HTTP port: Stream Load and error logs.
//!
//! Always: HTTP 200 whatever becomes of a load; the transaction is begun when the headers are in, so the label is taken
//! before the body (StarRocks source, `stream_load.cpp`).
//! Start at `handle`.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::answer::{LoadAnswer, LoadStatus, Times};
use super::wire::Framing;
use super::{Answer, Cluster, Connection, Head, Reply, transaction};
use crate::fault::{Action, Call, Place};
use crate::load::{Format, LoadRequest, Loaded, Plan, RowCounter};
use crate::store::{BeginError, Counts, TxnState};

/// Longest body kept in memory. Servers that throw bodies away have no such limit.
const KEPT_BODY_BYTES_MAX: u64 = 2 << 30;
/// Memory asked for before a body's bytes have come, at most.
const BODY_CAPACITY_MAX: u64 = 64 << 20;

/// Answers one request.
pub(super) async fn handle(cluster: &Arc<Cluster>, head: &Head, connection: &mut Connection) -> io::Result<Reply> {
    let path: Vec<&str> = head.path.iter().map(String::as_str).collect();
    match (head.method.as_str(), path.as_slice()) {
        ("PUT", ["api", database, table, "_stream_load"]) => {
            StreamLoad::new(cluster, head, database, table).run(connection).await
        }
        ("PUT" | "POST", ["api", "transaction", op]) => transaction::backend(cluster, head, connection, op).await,
        ("GET", ["api", "_load_error_log"]) => Ok(match cluster.error_log(&head.parameter("file")) {
            Some(text) => Answer::new(200, Some("text/plain"), text).into(),
            None => Answer::new(404, Some("text/plain"), "file not exist.").into(),
        }),
        ("GET", ["api", "health"]) => Ok(Answer::json(200, "{\"status\": \"OK\",\"msg\": \"To Be Added\"}").into()),
        _ => {
            connection.body(head.framing(), &mut |_| true).await?;
            Ok(Answer::new(404, Some("text/html"), "Not Found").into())
        }
    }
}

/// A body as it was taken in.
pub(super) enum Body {
    /// All of it.
    Kept(Vec<u8>),
    /// Only counted: rows, bytes, and what is wrong with the framing.
    Counted(Result<u64, String>, u64),
}

/// How taking a body in ended.
pub(super) enum Taken {
    Whole(Body),
    /// The connection ended early, after this many bytes.
    Cut(u64),
    /// A fault stopped it.
    Stopped,
    /// It is longer than what is kept in memory; the rest is unread.
    TooLong,
}

/// Reads a body: into memory, or through the row counter.
pub(super) async fn take_body(
    connection: &mut Connection,
    head: &Head,
    counter: Option<RowCounter>,
    stop_after: Option<u64>,
) -> io::Result<Taken> {
    let keeps = counter.is_none();
    let capacity = head.content_length().unwrap_or(0).min(BODY_CAPACITY_MAX) as usize;
    let mut kept = Vec::with_capacity(if keeps { capacity } else { 0 });
    let mut counter = counter;
    let mut bytes = 0_u64;
    let whole = connection
        .body(head.framing(), &mut |piece| {
            bytes += piece.len() as u64;
            match &mut counter {
                Some(counter) => counter.push(piece),
                None => kept.extend_from_slice(piece),
            }
            stop_after.is_none_or(|limit| bytes < limit) && !(keeps && bytes > KEPT_BODY_BYTES_MAX)
        })
        .await?;
    if stop_after.is_some() {
        return Ok(Taken::Stopped);
    }
    if keeps && bytes > KEPT_BODY_BYTES_MAX {
        return Ok(Taken::TooLong);
    }
    if !whole {
        return Ok(Taken::Cut(bytes));
    }
    Ok(Taken::Whole(match counter {
        Some(counter) => Body::Counted(counter.finish(), bytes),
        None => Body::Kept(kept),
    }))
}

/// The counter of a server that throws rows away; compressed bodies are kept, they must be expanded first.
pub(super) fn counter(plan: &Plan, discard: bool) -> Option<RowCounter> {
    let request = plan.request();
    let plain = request.compression == crate::load::Compression::None;
    let delimiter = request.row_delimiter.last().copied().unwrap_or(b'\n');
    (discard && plain).then(|| RowCounter::new(request.format, delimiter))
}

/// Parses a body off the runtime's threads that serve connections.
pub(super) async fn parse(plan: Arc<Plan>, body: Body, discard: bool) -> Loaded {
    let table = Arc::clone(plan.table());
    let empty = move || crate::store::Batch {
        table: Arc::clone(&table),
        mode: crate::store::WriteMode::Full,
        merge_condition: None,
        rows: Vec::new(),
    };
    match body {
        Body::Counted(rows, bytes) => {
            let total = rows.as_ref().copied().unwrap_or(0);
            let counts = Counts { total, loaded: total, bytes, ..Counts::default() };
            Loaded { batch: empty(), counts, error_lines: Vec::new(), failure: rows.err() }
        }
        Body::Kept(body) => {
            let parsed = tokio::task::spawn_blocking(move || plan.load(body)).await;
            let mut loaded = parsed.unwrap_or_else(|error| Loaded {
                batch: empty(),
                counts: Counts::default(),
                error_lines: Vec::new(),
                failure: Some(format!("starrocks-standin could not read the body: {error}")),
            });
            if discard {
                loaded.batch.rows.clear();
            }
            loaded
        }
    }
}

/// Microseconds since 1970.
pub(super) fn now_micros() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_micros() as i64)
}

/// Size limits checked from the headers alone.
pub(super) fn check_size(cluster: &Cluster, head: &Head, format: Format, context: &str) -> Result<(), String> {
    let settings = cluster.shared.store.settings();
    let Some(length) = head.content_length() else { return Ok(()) };
    if length > settings.body_bytes_max {
        return Err(format!(
            "body size {length} exceed limit: {}, {context}. You can increase the limit by setting \
             streaming_load_max_mb in be.conf.",
            settings.body_bytes_max
        ));
    }
    let ignored = head.header("ignore_json_size").eq_ignore_ascii_case("true");
    if format == Format::Json && !ignored && length > settings.json_bytes_max {
        return Err(format!(
            "The size of this batch exceed the max size [{}]  of json type data  data [ {length} ]. Set \
             ignore_json_size to skip the check, although it may lead huge memory consuming.",
            settings.json_bytes_max
        ));
    }
    Ok(())
}

/// Where rejected rows were written, if they were asked for and there are any.
pub(super) fn rejected_path(plan: &Plan, counts: &Counts, database: &str, label: &str) -> Option<String> {
    let written = plan.request().log_rejected_record_num != 0 && counts.filtered > 0;
    written.then(|| format!("127.0.0.1:/rejected_record/{database}/{label}"))
}

struct StreamLoad<'a> {
    cluster: &'a Arc<Cluster>,
    head: &'a Head,
    answer: LoadAnswer,
    started: Instant,
}

impl<'a> StreamLoad<'a> {
    fn new(cluster: &'a Arc<Cluster>, head: &'a Head, database: &str, table: &str) -> StreamLoad<'a> {
        let label = match head.header("label") {
            label if label.is_empty() => transaction::new_label(),
            label => label,
        };
        let answer = LoadAnswer {
            txn_id: None,
            label,
            database: database.to_string(),
            table: table.to_string(),
            status: LoadStatus::Fail,
            message: String::new(),
            counts: Counts::default(),
            times: Times::default(),
            error_url: None,
            rejected_path: None,
        };
        StreamLoad { cluster, head, answer, started: Instant::now() }
    }

    async fn run(mut self, connection: &mut Connection) -> io::Result<Reply> {
        let action = self.cluster.fault(Call::StreamLoad, Place::Be, Some(&self.answer.table));
        if let Some(action @ (Action::Reset | Action::HttpStatus { .. } | Action::Html { .. })) = &action
            && let Err(reply) = self.cluster.common_fault(action, Place::Be).await
        {
            return Ok(reply);
        }
        let plan = match self.header_phase(connection) {
            Ok(plan) => Arc::new(plan),
            Err(message) => {
                let reply = self.failed(message);
                self.skip_body(connection).await?;
                return Ok(reply);
            }
        };
        if self.head.expects_continue() {
            connection.send_continue().await?;
        }
        let discard = self.cluster.shared.store.settings().discard;
        let reading = Instant::now();
        let stop_after = match &action {
            Some(Action::ResetDuringBody { bytes }) => Some(*bytes),
            _ => None,
        };
        let taken = take_body(connection, self.head, counter(&plan, discard), stop_after).await;
        self.answer.times.read = millis(reading);
        let body = match taken {
            Ok(Taken::Whole(body)) => body,
            Ok(Taken::Stopped) => {
                self.abort("connection reset");
                return Ok(Reply::Reset);
            }
            Ok(Taken::TooLong) => return Ok(self.failed(TOO_LONG_TEXT.to_string()).closing()),
            Ok(Taken::Cut(bytes)) => {
                let length = self.head.content_length().unwrap_or(0);
                self.answer.counts.bytes = bytes;
                let text = "receive body don't equal with body bytes";
                return Ok(self.failed(format!("{text}, body_bytes={length}, receive_bytes={bytes}")));
            }
            Err(error) => {
                self.abort("Cancelled");
                return Err(error);
            }
        };
        let writing = Instant::now();
        let loaded = parse(Arc::clone(&plan), body, discard).await;
        self.answer.times.write = millis(writing);
        self.finish(&plan, loaded, action).await
    }

    /// Everything before the body: user, sizes, label, plan. An error is the answer's `Message`.
    fn header_phase(&mut self, connection: &Connection) -> Result<Plan, String> {
        if self.head.basic_auth().is_none() {
            return Err("no valid Basic authorization".to_string());
        }
        let request = LoadRequest::read(&|name| self.head.header(name));
        let format = request.as_ref().map_or(Format::Csv, |request| request.format);
        let (label, database, table) = (&self.answer.label, &self.answer.database, &self.answer.table);
        check_size(self.cluster, self.head, format, &format!("label={label}, db={database}, tbl={table}"))?;
        let request = request?;
        // Relaxed: a switch that stands for itself.
        if self.cluster.shutting_down.load(Ordering::Relaxed) {
            return Err(SHUTTING_DOWN_TEXT.to_string());
        }
        if let Some(text) = self.cluster.refused_user(self.head, connection) {
            return Err(text);
        }
        let store = &self.cluster.shared.store;
        let settings = store.settings();
        let seconds = request.timeout_s.map_or(settings.load_timeout.as_secs(), u64::from);
        if !(1..=259_200).contains(&seconds) {
            return Err(format!("Invalid timeout. Timeout should between 1 and 259200 seconds, but is {seconds}"));
        }
        let beginning = Instant::now();
        match store.begin(database, &[table], label, seconds as i64 * 1000) {
            Ok(txn_id) => self.answer.txn_id = Some(txn_id),
            Err(error) => {
                if let BeginError::LabelExists { running, .. } = &error {
                    self.answer.status = LoadStatus::LabelExists { running: *running };
                }
                return Err(error.to_string());
            }
        }
        self.answer.times.begin = millis(beginning);
        let planning = Instant::now();
        store.check_versions(database, table)?;
        let table = store.table(database, table).map_err(|error| error.to_string())?;
        let plan = Plan::new(request, table, now_micros());
        self.answer.times.plan = millis(planning);
        plan
    }

    /// The body is in and read: commit, or what a fault makes of it.
    async fn finish(mut self, plan: &Plan, mut loaded: Loaded, action: Option<Action>) -> io::Result<Reply> {
        self.answer.counts = loaded.counts;
        let txn_id = self.answer.txn_id.unwrap_or_default();
        self.answer.error_url = self.cluster.keep_error_log(txn_id, &loaded.error_lines);
        self.answer.rejected_path = rejected_path(plan, &loaded.counts, &self.answer.database, &self.answer.label);
        if let Some(message) = loaded.failure.take().or_else(|| plan.verdict(&loaded.counts)) {
            return Ok(self.failed(message));
        }
        let mut miscounted = 0;
        match &action {
            Some(Action::Delay { .. }) => {
                if let Some(action) = &action
                    && let Err(reply) = self.cluster.common_fault(action, Place::Be).await
                {
                    return Ok(reply);
                }
            }
            Some(Action::Hang) => return Ok(Reply::Hang),
            Some(Action::Fail { message }) => return Ok(self.failed(message.clone())),
            Some(Action::MemoryLimit) => return Ok(self.failed(MEMORY_TEXT.to_string())),
            Some(Action::CommitUnknown { committed: false }) => return Ok(self.failed(UNKNOWN_TEXT.to_string())),
            Some(Action::ResetBeforeCommit) => {
                self.abort("Cancelled");
                return Ok(Reply::Reset);
            }
            Some(Action::FilterRows { rows }) => {
                let kept = loaded.batch.rows.len().saturating_sub(*rows as usize);
                let left_out = loaded.batch.rows.len() - kept;
                loaded.batch.rows.truncate(kept);
                self.answer.counts.filtered += left_out as u64;
                self.answer.counts.loaded -= left_out as u64;
            }
            Some(Action::MiscountRows { rows }) => miscounted = *rows,
            _ => {}
        }
        let committing = Instant::now();
        let store = &self.cluster.shared.store;
        if let Err(message) = store.commit(&self.answer.database, txn_id, vec![loaded.batch], self.answer.counts) {
            return Ok(self.failed(message));
        }
        let seconds = plan.request().timeout_s.map_or(store.settings().load_timeout.as_secs(), u64::from);
        let deadline = self.started + Duration::from_secs(seconds);
        let visible = is_published(self.cluster, &self.answer.database, txn_id, deadline).await;
        self.answer.times.commit = millis(committing);
        self.answer.counts.loaded = self.answer.counts.loaded.saturating_sub(miscounted);
        self.answer.status = LoadStatus::Success;
        self.answer.message = "OK".to_string();
        if !visible {
            self.answer.status = LoadStatus::PublishTimeout;
            self.answer.message = PUBLISH_TIMEOUT_TEXT.to_string();
        }
        match action {
            Some(Action::ResetAfterCommit) => return Ok(Reply::Reset),
            Some(Action::HangAfterCommit) => return Ok(Reply::Hang),
            Some(Action::PublishTimeout) => {
                self.answer.status = LoadStatus::PublishTimeout;
                self.answer.message = PUBLISH_TIMEOUT_TEXT.to_string();
            }
            Some(Action::CommitUnknown { committed: true }) => {
                self.answer.status = LoadStatus::Fail;
                self.answer.message = UNKNOWN_TEXT.to_string();
            }
            Some(Action::ForgetLabel) => {
                store.forget_labels(&self.answer.database, Some(&self.answer.label));
            }
            _ => {}
        }
        Ok(self.into_reply())
    }

    fn failed(&mut self, message: String) -> Reply {
        self.abort(&message);
        self.answer.message = message;
        self.answer.times.load = millis(self.started);
        self.answer.to_answer(self.cluster.shared.store.settings().release).into()
    }

    fn into_reply(mut self) -> Reply {
        self.answer.times.load = millis(self.started);
        self.answer.to_answer(self.cluster.shared.store.settings().release).into()
    }

    fn abort(&self, reason: &str) {
        if let Some(txn_id) = self.answer.txn_id {
            self.cluster.shared.store.abort(&self.answer.database, txn_id, reason);
        }
    }

    /// A refused load's body is read and thrown away, unless the client still waits for the word to send it.
    async fn skip_body(&self, connection: &mut Connection) -> io::Result<()> {
        if !self.head.expects_continue() && self.head.framing() != Framing::Length(0) {
            connection.body(self.head.framing(), &mut |_| true).await?;
        }
        Ok(())
    }
}

/// Waits until a committed transaction is visible; false if it is not by `deadline` (`enable_sync_publish`).
pub(super) async fn is_published(cluster: &Cluster, database: &str, txn_id: u64, deadline: Instant) -> bool {
    let store = &cluster.shared.store;
    while store.transaction(database, txn_id).is_some_and(|record| record.state == TxnState::Committed) {
        if Instant::now() >= deadline {
            return false;
        }
        tokio::time::sleep(PUBLISH_POLL).await;
    }
    true
}

const PUBLISH_POLL: Duration = Duration::from_millis(5);
pub(super) const SHUTTING_DOWN_TEXT: &str = "Service is shutting down, please retry later!";
pub(super) const MEMORY_TEXT: &str = "Memory of process exceed limit. starrocks-standin Used: 8589934592, Limit: 8589934592. Mem \
                           usage has exceed the limit of BE";
pub(super) const TOO_LONG_TEXT: &str =
    "starrocks-standin keeps bodies in memory and does not model one of more than 2147483648 bytes";
const UNKNOWN_TEXT: &str = "Commit transaction fail cause rpc failed, Transaction status unknown, you can retry with \
                            same label.";
pub(super) const PUBLISH_TIMEOUT_TEXT: &str =
    "Publish timeout. The data will be visible after a while, and please check the cluster";

pub(super) fn millis(since: Instant) -> u64 {
    since.elapsed().as_millis() as u64
}
