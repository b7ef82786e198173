//! The backend's HTTP face: begins the transaction when the head is in, reads the body, loads, answers.
//!
//! Order of fields and texts: StarRocks source, `stream_load.cpp`, `stream_load_context.cpp`.

use std::io;
use std::sync::Arc;
use std::time::Instant;

use super::{Connection, Request, Response};
use crate::Shared;
use crate::fault::Action;
use crate::load::{self, Outcome};
use crate::store::{BeginError, Counts};

/// A load whose transaction has begun.
struct Begun {
    database: String,
    table: String,
    label: String,
    txn_id: u64,
}

/// What a load's answer says.
struct Answer<'a> {
    begun: &'a Begun,
    status: &'a str,
    existing: Option<&'a str>,
    message: &'a str,
    counts: Counts,
    millis: u128,
}

/// Serves one connection: requests one after the other.
pub(crate) async fn serve(mut connection: Connection, shared: Arc<Shared>) -> io::Result<()> {
    while let Some(request) = connection.request().await? {
        let segments = request.segments();
        let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
        let ("PUT", ["api", database, table, "_stream_load"]) = (request.method.as_str(), segments.as_slice()) else {
            let body = connection.body(&request).await?;
            tracing::debug!(path = request.path, bytes = body.len(), "no such path");
            connection.answer(&Response { status: 404, headers: Vec::new(), body: String::new() }).await?;
            continue;
        };
        match stream_load(&mut connection, &request, &shared, database, table).await? {
            After::KeepAlive => {}
            After::Close => {
                connection.close().await;
                return Ok(());
            }
            After::Cut => {
                connection.cut();
                return Ok(());
            }
            After::Hang => std::future::pending().await,
        }
    }
    Ok(())
}

enum After {
    KeepAlive,
    Close,
    Cut,
    Hang,
}

async fn stream_load(
    connection: &mut Connection,
    request: &Request,
    shared: &Shared,
    database: &str,
    table: &str,
) -> io::Result<After> {
    let start = Instant::now();
    let begun = match begin(request, shared, database, table) {
        Ok(begun) => begun,
        Err(text) => {
            // The header phase failed: an answer at once, and the body is not wanted.
            connection.answer(&Response::json(200, text)).await?;
            return Ok(After::Close);
        }
    };
    if request.header("expect").is_some() {
        connection.go_on().await?;
    }
    let body = match connection.body(request).await {
        Ok(body) => body,
        Err(error) => {
            shared.store.abort(&begun.database, begun.txn_id, "the connection ended before the body did");
            return Err(error);
        }
    };
    let fault = shared.faults.strike(table, false);
    match &fault {
        Some(Action::Hang) => return Ok(After::Hang),
        Some(Action::CutBeforeCommit) => {
            shared.store.abort(&begun.database, begun.txn_id, "cut");
            return Ok(After::Cut);
        }
        _ => {}
    }
    let outcome = match &fault {
        Some(Action::Fail(text)) => Err((text.clone(), Counts::default())),
        _ => load::run(request, shared, &begun.database, &begun.table, &body, fault == Some(Action::FilterOne)),
    };
    let (status, message, counts) = settle(shared, &begun, outcome, body.len() as u64);
    match &fault {
        Some(Action::CutAfterCommit) => return Ok(After::Cut),
        Some(Action::Delay(time)) => tokio::time::sleep(*time).await,
        _ => {}
    }
    let late = status == "Success" && fault == Some(Action::PublishTimeout);
    let (status, message) = match late {
        true => ("Publish Timeout", "Publish timeout. The data will be visible after a while"),
        false => (status, message.as_str()),
    };
    let millis = start.elapsed().as_millis();
    let answer = Answer { begun: &begun, status, existing: None, message, counts, millis };
    connection.answer(&Response::json(200, answer.text(shared))).await?;
    Ok(After::KeepAlive)
}

/// Commits or aborts; status, message and counts of the answer.
fn settle(
    shared: &Shared,
    begun: &Begun,
    outcome: Result<Outcome, (String, Counts)>,
    bytes: u64,
) -> (&'static str, String, Counts) {
    let failed = |message: String, counts: Counts| {
        shared.store.abort(&begun.database, begun.txn_id, &message);
        ("Fail", message, Counts { bytes, ..counts })
    };
    match outcome {
        Ok(Outcome { batch, counts }) => {
            let counts = Counts { bytes, ..counts };
            match shared.store.commit(&begun.database, begun.txn_id, vec![batch], counts) {
                Ok(()) => ("Success", "OK".to_string(), counts),
                Err(message) => failed(message, Counts::default()),
            }
        }
        Err((message, counts)) => failed(message, counts),
    }
}

/// Checks the head and begins the transaction; the whole answer if that fails.
fn begin(request: &Request, shared: &Shared, database: &str, table: &str) -> Result<Begun, String> {
    let settings = shared.store.settings();
    let label = request.header("label").filter(|label| !label.is_empty()).map_or_else(made_up, str::to_string);
    let mut begun = Begun { database: database.to_string(), table: table.to_string(), label, txn_id: 0 };
    let fail = |begun: &Begun, message: &str, existing: Option<&str>| {
        let status = if existing.is_some() { "Label Already Exists" } else { "Fail" };
        Answer { begun, status, existing, message, counts: Counts::default(), millis: 0 }.text(shared)
    };
    match request.credentials() {
        Some((user, password)) if user == settings.user && password == settings.password => {}
        Some((user, _)) => return Err(fail(&begun, &format!("Access denied for {user}@127.0.0.1"), None)),
        None => return Err(fail(&begun, "no valid Basic authorization", None)),
    }
    load::check_head(request, shared).map_err(|text| fail(&begun, &text, None))?;
    shared.store.table(database, table).map_err(|error| match error.code() {
        5501 => fail(&begun, &format!("unknown database, database={database}"), None),
        _ => fail(&begun, &format!("unknown table \"{database}.{table}\""), None),
    })?;
    let seconds = request.header("timeout").and_then(|text| text.parse::<i64>().ok());
    let lasts = seconds.map_or(settings.load_timeout.as_millis() as i64, |seconds| seconds * 1000);
    match shared.store.begin(database, &[table], &begun.label, lasts) {
        Ok(txn_id) => begun.txn_id = txn_id,
        Err(BeginError::LabelExists { label, running, .. }) => {
            let existing = if running { "RUNNING" } else { "FINISHED" };
            return Err(fail(&begun, &format!("Label [{label}] has already been used."), Some(existing)));
        }
        Err(error) => return Err(fail(&begun, &error.to_string(), None)),
    }
    if let Err(text) = shared.store.check_versions(database, table) {
        shared.store.abort(database, begun.txn_id, &text);
        return Err(fail(&begun, &text, None));
    }
    Ok(begun)
}

fn made_up() -> String {
    use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
    static NEXT: AtomicU64 = AtomicU64::new(1);
    // Relaxed: only uniqueness matters.
    format!("made-up-{}-{}", std::process::id(), NEXT.fetch_add(1, Relaxed))
}

impl Answer<'_> {
    /// Four blanks of indent, fields in the backend's order.
    fn text(&self, shared: &Shared) -> String {
        let Counts { total, loaded, filtered, unselected, bytes, .. } = self.counts;
        let txn_id = if self.begun.txn_id == 0 { -1 } else { self.begun.txn_id as i64 };
        let quoted = |text: &str| serde_json::Value::from(text).to_string();
        let mut fields = vec![("TxnId", txn_id.to_string()), ("Label", quoted(&self.begun.label))];
        if shared.store.settings().release.names_table_in_answers() {
            fields.extend([("Db", quoted(&self.begun.database)), ("Table", quoted(&self.begun.table))]);
        }
        fields.push(("Status", quoted(self.status)));
        fields.extend(self.existing.map(|existing| ("ExistingJobStatus", quoted(existing))));
        fields.push(("Message", quoted(self.message)));
        let numbers = [
            ("NumberTotalRows", u128::from(total)),
            ("NumberLoadedRows", u128::from(loaded)),
            ("NumberFilteredRows", u128::from(filtered)),
            ("NumberUnselectedRows", u128::from(unselected)),
            ("LoadBytes", u128::from(bytes)),
            ("LoadTimeMs", self.millis),
            ("BeginTxnTimeMs", 0),
            ("StreamLoadPlanTimeMs", 0),
            ("ReadDataTimeMs", 0),
            ("WriteDataTimeMs", self.millis),
            ("CommitAndPublishTimeMs", 0),
        ];
        fields.extend(numbers.map(|(name, number)| (name, number.to_string())));
        let lines: Vec<_> = fields.into_iter().map(|(name, value)| format!("    \"{name}\": {value}")).collect();
        format!("{{\n{}\n}}", lines.join(",\n"))
    }
}
