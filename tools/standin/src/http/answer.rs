//! The JSON both faces answer with, in StarRocks' field order and layout.
//!
//! The backend indents by four blanks (rapidjson), the frontend by two (Gson) or not at all; fixtures of clients show
//! both (StarRocks source, `stream_load_context.cpp`, `RestBaseResult.java`, `TransactionResult.java`).

use super::wire::Answer;
use crate::store::{Counts, Release};

/// Fields of an object in order; values are JSON.
#[derive(Debug, Default)]
pub(super) struct Fields(Vec<(&'static str, String)>);

impl Fields {
    pub(super) fn text(mut self, name: &'static str, value: &str) -> Fields {
        self.0.push((name, serde_json::Value::from(value).to_string()));
        self
    }

    pub(super) fn number(mut self, name: &'static str, value: impl Into<i64>) -> Fields {
        self.0.push((name, value.into().to_string()));
        self
    }

    pub(super) fn count(self, name: &'static str, value: u64) -> Fields {
        self.number(name, i64::try_from(value).unwrap_or(i64::MAX))
    }

    pub(super) fn optional(self, name: &'static str, value: Option<&str>) -> Fields {
        match value {
            Some(value) => self.text(name, value),
            None => self,
        }
    }

    /// One line per field.
    pub(super) fn indented(&self, blanks: usize) -> String {
        let indent = " ".repeat(blanks);
        let lines: Vec<_> = self.0.iter().map(|(name, value)| format!("{indent}\"{name}\": {value}")).collect();
        format!("{{\n{}\n}}", lines.join(",\n"))
    }

    /// One line, no blanks.
    pub(super) fn compact(&self) -> String {
        let parts: Vec<_> = self.0.iter().map(|(name, value)| format!("\"{name}\":{value}")).collect();
        format!("{{{}}}", parts.join(","))
    }
}

/// How a Stream Load ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LoadStatus {
    Success,
    PublishTimeout,
    LabelExists { running: bool },
    Fail,
}

/// Milliseconds of a load's parts.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Times {
    pub(super) load: u64,
    pub(super) begin: u64,
    pub(super) plan: u64,
    pub(super) read: u64,
    pub(super) write: u64,
    pub(super) commit: u64,
}

/// The answer of a Stream Load.
#[derive(Debug)]
pub(super) struct LoadAnswer {
    pub(super) txn_id: Option<u64>,
    pub(super) label: String,
    pub(super) database: String,
    pub(super) table: String,
    pub(super) status: LoadStatus,
    pub(super) message: String,
    pub(super) counts: Counts,
    pub(super) times: Times,
    pub(super) error_url: Option<String>,
    pub(super) rejected_path: Option<String>,
}

impl LoadAnswer {
    pub(super) fn to_answer(&self, release: Release) -> Answer {
        let (status, existing) = match self.status {
            LoadStatus::Success => ("Success", None),
            LoadStatus::PublishTimeout => ("Publish Timeout", None),
            LoadStatus::LabelExists { running: true } => ("Label Already Exists", Some("RUNNING")),
            LoadStatus::LabelExists { running: false } => ("Label Already Exists", Some("FINISHED")),
            LoadStatus::Fail => ("Fail", None),
        };
        let txn_id = self.txn_id.and_then(|id| i64::try_from(id).ok()).unwrap_or(-1);
        let mut fields = Fields::default().number("TxnId", txn_id).text("Label", &self.label);
        if release.names_table_in_answers() {
            fields = fields.text("Db", &self.database).text("Table", &self.table);
        }
        let (counts, times) = (&self.counts, &self.times);
        fields = fields
            .text("Status", status)
            .optional("ExistingJobStatus", existing)
            .text("Message", &self.message)
            .count("NumberTotalRows", counts.total)
            .count("NumberLoadedRows", counts.loaded)
            .count("NumberFilteredRows", counts.filtered)
            .count("NumberUnselectedRows", counts.unselected)
            .count("LoadBytes", counts.bytes)
            .count("LoadTimeMs", times.load)
            .count("BeginTxnTimeMs", times.begin)
            .count("StreamLoadPlanTimeMs", times.plan)
            .count("ReadDataTimeMs", times.read)
            .count("WriteDataTimeMs", times.write)
            .count("CommitAndPublishTimeMs", times.commit)
            .optional("ErrorURL", self.error_url.as_deref())
            .optional("RejectedRecordPath", self.rejected_path.as_deref());
        backend_json(&fields, release)
    }
}

/// Always HTTP 200; a content type only on releases that send one.
pub(super) fn backend_json(fields: &Fields, release: Release) -> Answer {
    let content_type = release.sends_content_type().then_some("application/json");
    Answer::new(200, content_type, fields.indented(4))
}

/// The frontend's refusal of a load.
pub(super) fn frontend_failed(message: &str) -> Answer {
    let fields = Fields::default().text("Status", "FAILED").text("Message", message);
    Answer::json(200, fields.indented(2))
}

/// `RestBaseResult` of a failure.
pub(super) fn rest_failed(status: u16, message: &str) -> Answer {
    let fields =
        Fields::default().text("status", "FAILED").text("code", "1").text("msg", message).text("message", message);
    Answer::json(status, fields.compact())
}

/// 401 as the frontend sends it.
pub(super) fn unauthorized(message: &str) -> Answer {
    let mut answer = rest_failed(401, message);
    answer.headers.push(("WWW-Authenticate", "Basic realm=\"\"".to_string()));
    answer
}

/// 307 to `location`.
pub(super) fn redirect(location: Option<String>) -> Answer {
    let mut answer = Answer::new(307, Some("text/html"), "");
    answer.headers.extend(location.map(|location| ("Location", location)));
    answer.closing()
}
