//! Compares source and target, and shows what was found.
//!
//! Always: the report is on standard output, what is going on meanwhile on standard error; keys are in the report
//! alone, values only if asked for. Start at [`verify`].

use std::collections::BTreeMap;
use std::io::{self, IsTerminal};
use std::net::SocketAddr;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde::Serialize;
use tokio::runtime::Builder;

use super::Exit;
use super::check::finding;
use super::settings::refuse;
use super::terminal::{Ink, Style, complain, count, plain, print, short, time, wrapped};
use crate::config::{Env, LogOptions, Settings};
use crate::engine::wiring::Blueprint;
use crate::grpc::client::{self, Client};
use crate::grpc::pb::{PipelineStatus, TableState};
use crate::model::{Class, Lsn};
use crate::verify::{Difference, Kind, NO_SUCH_TABLE, Options, Progress, Sidecar, Step, TableReport, Verdict};

/// What was asked for on the command line.
#[derive(Clone, Debug)]
pub(super) struct Wanted {
    /// Tables, as in `TABLES`; all if empty.
    pub(super) tables: Vec<String>,
    pub(super) json: bool,
    pub(super) differences_max: usize,
    pub(super) patience: Duration,
    pub(super) values: bool,
}

/// A pipeline that has received everything stores what is new after its checkpoint interval; this much later at the
/// latest, however busy it is.
const STORING_TIME: Duration = Duration::from_secs(5);

/// Characters of a value that are shown to a person.
const VALUE_WIDTH: usize = 60;

/// `sluicegate verify`.
pub(super) fn verify(env: &impl Env, wanted: &Wanted) -> Exit {
    let settings = match Settings::from_env(env) {
        Ok(settings) => settings,
        Err(problems) => return refuse(&problems),
    };
    super::run::start_logging(&LogOptions { filter: "off".to_owned(), ..settings.log });
    let runtime = match Builder::new_multi_thread().worker_threads(2).enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            complain(&format!("sluicegate: cannot start: {error}\n"));
            return Exit::Undecided;
        }
    };
    let neighbour = Neighbour {
        addr: settings.grpc.grpc_addr,
        pipeline: settings.pipeline.clone(),
        slot: settings.source.slot.clone(),
        client: tokio::sync::Mutex::default(),
    };
    let options = Options {
        patience: wanted.patience,
        settle: settings.engine.checkpoint_interval + STORING_TIME,
        differences_max: wanted.differences_max,
        values: wanted.values,
    };
    let blueprint = Blueprint { source: settings.source, sink: settings.sink, engine: settings.engine };
    let ticker = Ticker::new();
    let watch = |step: Step<'_>| ticker.tick(step);
    let found = runtime.block_on(blueprint.verify(&wanted.tables, options, &neighbour, &watch));
    ticker.clear();
    match found {
        Ok(reports) => {
            let style = Style::of(&io::stdout());
            print(&if wanted.json { as_json(&reports) } else { as_text(&reports, style) });
            exit_of(&reports)
        }
        Err(reason) => {
            complain(&finding(&reason, Style::of(&io::stderr())));
            match reason.code {
                NO_SUCH_TABLE => Exit::Usage,
                _ if reason.class == Class::Config => Exit::Config,
                _ => Exit::Undecided,
            }
        }
    }
}

fn overall(reports: &[TableReport]) -> Verdict {
    let any = |verdict| reports.iter().any(|report| report.verdict == verdict);
    if any(Verdict::Different) {
        Verdict::Different
    } else if any(Verdict::Undecided) {
        Verdict::Undecided
    } else {
        Verdict::Equal
    }
}

fn exit_of(reports: &[TableReport]) -> Exit {
    match overall(reports) {
        Verdict::Equal => Exit::Well,
        Verdict::Different => Exit::No,
        Verdict::Undecided => Exit::Undecided,
    }
}

/// The running process of the same pipeline, asked over gRPC if it answers.
struct Neighbour {
    addr: SocketAddr,
    pipeline: String,
    slot: String,
    client: tokio::sync::Mutex<Option<Client>>,
}

impl Sidecar for Neighbour {
    async fn ask(&self) -> Option<Progress> {
        let mut kept = self.client.lock().await;
        let mut client = match kept.take() {
            Some(client) => client,
            None => client::connect(self.addr).await.ok()?,
        };
        let status = client.status().await.ok()?;
        *kept = Some(client);
        // Another pipeline's word means nothing here, nor that of one that waits while another process streams.
        let same = status.pipeline == self.pipeline && status.slot_name == self.slot;
        same.then(|| progress(&status)).filter(|progress| progress.received != Lsn::INVALID)
    }
}

fn progress(status: &PipelineStatus) -> Progress {
    let lsn = |lsn: &Option<crate::grpc::pb::Lsn>| lsn.as_ref().map_or(Lsn::INVALID, |lsn| Lsn(lsn.value));
    let why = |table: &str| {
        let reason = status.reasons.iter().find(|reason| reason.object == table);
        reason.map_or_else(
            || "see `sluicegate status`".to_owned(),
            |reason| format!("{}, {}", reason.code, reason.message),
        )
    };
    let blocked = status.tables.iter().filter(|table| table.state() == TableState::Blocked);
    Progress {
        received: lsn(&status.current_lsn),
        durable: lsn(&status.durable_lsn),
        blocked: blocked.map(|table| (table.table_name.clone(), why(&table.table_name))).collect(),
    }
}

/// Tells on standard error what is going on: on a terminal in one line that is written anew, elsewhere seldom.
struct Ticker {
    terminal: bool,
    told: Mutex<Instant>,
}

/// Time between two words, on a terminal and elsewhere.
const TICK: [Duration; 2] = [Duration::from_millis(200), Duration::from_secs(10)];

impl Ticker {
    fn new() -> Self {
        Ticker { terminal: io::stderr().is_terminal(), told: Mutex::new(Instant::now()) }
    }

    fn tick(&self, step: Step<'_>) {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        if told.elapsed() < TICK[usize::from(!self.terminal)] {
            return;
        }
        *told = Instant::now();
        let text = plain(&words(step));
        complain(&if self.terminal { format!("\r\u{1b}[K{}", short(&text, 79)) } else { format!("{text}\n") });
    }

    fn clear(&self) {
        if self.terminal {
            complain("\r\u{1b}[K");
        }
    }
}

fn words(step: Step<'_>) -> String {
    match step {
        Step::Reading { table, side, rows } => format!("{table}: {} rows of the {side}", count(rows)),
        Step::Waiting { want, at: Some(at) } => format!("waiting until the pipeline has passed {want}; it is at {at}"),
        Step::Waiting { want, at: None } => format!("waiting until the pipeline has passed {want}"),
        Step::Looking { table, rows } => format!("{table}: looking again at {} rows", count(rows as u64)),
        Step::Done(report) => format!("{}: done", report.table),
    }
}

fn as_text(reports: &[TableReport], style: Style) -> String {
    let name = |report: &TableReport| short(&plain(&report.table.to_string()), 48);
    let width = reports.iter().map(|report| name(report).chars().count()).max().unwrap_or(0).max(5);
    let head = format!("{:width$} {:>14} {:>9} {:>11}  VERDICT", "TABLE", "ROWS", "TIME", "ROWS/S");
    let mut text = style.ink(Ink::Faint, &head) + "\n";
    for report in reports {
        let rate = (report.rows as f64 / report.elapsed.as_secs_f64().max(0.001)) as u64;
        let (rows, took, rate) = (count(report.rows), time(report.elapsed), count(rate));
        let (ink, verdict) = said(report);
        let verdict = style.ink(ink, &verdict);
        text.push_str(&format!("{:width$} {rows:>14} {took:>9} {rate:>11}  {verdict}\n", name(report)));
    }
    reports.iter().for_each(|report| text.push_str(&details(report, style)));
    text.push_str(&format!("\n{}\n", last_line(reports)));
    text
}

fn said(report: &TableReport) -> (Ink, String) {
    match report.verdict {
        Verdict::Equal => (Ink::Good, "equal".to_owned()),
        Verdict::Undecided => (Ink::Warn, "undecided".to_owned()),
        Verdict::Different => match report.differences() {
            0 => (Ink::Bad, "columns are missing".to_owned()),
            _ => (Ink::Bad, kinds(report)),
        },
    }
}

fn kinds(report: &TableReport) -> String {
    let about = if report.estimated { "about " } else { "" };
    let all = [(report.missing, "missing"), (report.extra, "extra"), (report.differing, "differing")];
    let told = all.iter().filter(|(rows, _)| *rows > 0).map(|(rows, how)| format!("{about}{} {how}", count(*rows)));
    told.collect::<Vec<_>>().join(", ")
}

fn details(report: &TableReport, style: Style) -> String {
    let mut text = String::new();
    for difference in &report.found {
        text.push_str(&row(difference, style));
    }
    let more = report.differences().saturating_sub(report.found.len() as u64);
    if more > 0 {
        let about = if report.estimated { "about " } else { "" };
        text.push_str(&format!("  … and {about}{} more\n", count(more)));
    }
    if report.unsettled > 0 {
        let rows = count(report.unsettled);
        let told = format!("{rows} rows changed at every look: nothing can be said of them. Compare again.");
        text.push_str(&wrapped(&told, 2, style.width));
    }
    if report.verdict != Verdict::Equal {
        report.notes.iter().for_each(|note| text.push_str(&wrapped(&format!("- {}", plain(note)), 2, style.width)));
    }
    text.push_str(&report.reason.iter().map(|reason| finding(reason, style)).collect::<String>());
    match text.is_empty() {
        true => text,
        false => format!("\n{}\n{text}", style.ink(Ink::Strong, &plain(&report.table.to_string()))),
    }
}

fn row(difference: &Difference, style: Style) -> String {
    let key: Vec<String> =
        difference.key.iter().map(|(name, text)| format!("{}={}", plain(name), plain(text))).collect();
    let key = style.ink(Ink::Strong, &key.join(", "));
    let mut text = match difference.kind {
        Kind::Missing => format!("  {key}  missing in the target\n"),
        Kind::Extra => format!("  {key}  not in the source\n"),
        Kind::Differing => {
            let columns: Vec<String> = difference.columns.iter().map(|column| plain(&column.name)).collect();
            match columns.is_empty() {
                true => format!("  {key}  differed until a moment ago\n"),
                false => format!("  {key}  differs in {}\n", columns.join(", ")),
            }
        }
    };
    for column in &difference.columns {
        if let Some((source, target)) = &column.values {
            let (source, target) = excerpts(source.as_deref(), target.as_deref());
            text.push_str(&format!("      {}: source {source}, target {target}\n", plain(&column.name)));
        }
    }
    text
}

/// Both values, of long ones the part where they begin to differ.
fn excerpts(source: Option<&str>, target: Option<&str>) -> (String, String) {
    let same = match (source, target) {
        (Some(source), Some(target)) => {
            source.chars().zip(target.chars()).take_while(|(one, other)| one == other).count()
        }
        _ => 0,
    };
    let skip = if same > VALUE_WIDTH / 2 { same - VALUE_WIDTH / 4 } else { 0 };
    let excerpt = |value: Option<&str>| match value {
        None => "NULL".to_owned(),
        Some(text) => {
            let cut: String = text.chars().skip(skip).collect();
            let (before, after) =
                (if skip > 0 { "…" } else { "" }, if cut.chars().count() > VALUE_WIDTH { "…" } else { "" });
            let shown: String = cut.chars().take(VALUE_WIDTH).collect();
            format!("{before}{shown:?}{after}")
        }
    };
    (excerpt(source), excerpt(target))
}

fn last_line(reports: &[TableReport]) -> String {
    let rows: u64 = reports.iter().map(TableReport::equal_rows).sum();
    let differences: u64 = reports.iter().map(TableReport::differences).sum();
    let tables = reports.len();
    match overall(reports) {
        Verdict::Equal => format!("verified: {tables} tables, {rows} rows equal"),
        Verdict::Different => format!("different: {tables} tables, {rows} rows equal, {differences} rows differ"),
        Verdict::Undecided => {
            let open = reports.iter().filter(|report| report.verdict == Verdict::Undecided).count();
            format!("undecided: {open} of {tables} tables could not be compared wholly, {rows} rows equal")
        }
    }
}

#[derive(Serialize)]
struct JsonReport<'a> {
    verdict: &'static str,
    rows_equal: u64,
    rows_different: u64,
    tables: Vec<JsonTable<'a>>,
}

#[derive(Serialize)]
struct JsonTable<'a> {
    table: String,
    target: &'a str,
    verdict: &'static str,
    source_rows: u64,
    target_rows: u64,
    rows_equal: u64,
    missing: u64,
    extra: u64,
    differing: u64,
    estimated: bool,
    unsettled: u64,
    seconds: f64,
    differences: Vec<JsonDifference<'a>>,
    notes: &'a [String],
    reason: Option<JsonReason<'a>>,
}

#[derive(Serialize)]
struct JsonDifference<'a> {
    kind: &'static str,
    key: BTreeMap<&'a str, &'a str>,
    columns: Vec<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    values: Option<BTreeMap<&'a str, JsonValues<'a>>>,
}

#[derive(Serialize)]
struct JsonValues<'a> {
    source: Option<&'a str>,
    target: Option<&'a str>,
}

#[derive(Serialize)]
struct JsonReason<'a> {
    code: &'a str,
    message: &'a str,
    remedy: &'a str,
}

fn verdict_name(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Equal => "equal",
        Verdict::Different => "different",
        Verdict::Undecided => "undecided",
    }
}

fn as_json(reports: &[TableReport]) -> String {
    let report = JsonReport {
        verdict: verdict_name(overall(reports)),
        rows_equal: reports.iter().map(TableReport::equal_rows).sum(),
        rows_different: reports.iter().map(TableReport::differences).sum(),
        tables: reports.iter().map(json_table).collect(),
    };
    // Serialising plain text and lists cannot fail.
    sonic_rs::to_string_pretty(&report).unwrap_or_default() + "\n"
}

fn json_table(report: &TableReport) -> JsonTable<'_> {
    JsonTable {
        table: report.table.to_string(),
        target: &report.target,
        verdict: verdict_name(report.verdict),
        source_rows: report.rows,
        target_rows: report.target_rows,
        rows_equal: report.equal_rows(),
        missing: report.missing,
        extra: report.extra,
        differing: report.differing,
        estimated: report.estimated,
        unsettled: report.unsettled,
        seconds: report.elapsed.as_secs_f64(),
        differences: report.found.iter().map(json_difference).collect(),
        notes: &report.notes,
        reason: report.reason.as_ref().map(|reason| JsonReason {
            code: reason.code,
            message: &reason.message,
            remedy: &reason.remedy,
        }),
    }
}

fn json_difference(difference: &Difference) -> JsonDifference<'_> {
    let told = difference.columns.iter().any(|column| column.values.is_some());
    let values = difference.columns.iter().filter_map(|column| {
        let (source, target) = column.values.as_ref()?;
        Some((column.name.as_str(), JsonValues { source: source.as_deref(), target: target.as_deref() }))
    });
    JsonDifference {
        kind: match difference.kind {
            Kind::Missing => "missing",
            Kind::Extra => "extra",
            Kind::Differing => "differing",
        },
        key: difference.key.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect(),
        columns: difference.columns.iter().map(|column| column.name.as_str()).collect(),
        values: told.then(|| values.collect()),
    }
}

#[cfg(test)]
mod tests {
    use sonic_rs::{JsonValueTrait, Value};

    use super::*;
    use crate::model::{Reason, TableName};
    use crate::verify::ColumnDifference;

    fn report(name: &str, verdict: Verdict) -> TableReport {
        TableReport {
            table: TableName { schema: "shop".into(), name: name.into() },
            target: name.into(),
            verdict,
            rows: 1000,
            target_rows: 999,
            elapsed: Duration::from_millis(2500),
            missing: 0,
            extra: 0,
            differing: 0,
            estimated: false,
            unsettled: 0,
            found: vec![],
            notes: vec!["existing rows were never copied".into()],
            reason: None,
        }
    }

    fn different() -> TableReport {
        let values = Some((Some("left".to_owned()), None));
        let note = ColumnDifference { name: "note".into(), values };
        let key = |id: &str| vec![("id".to_owned(), id.to_owned())];
        TableReport {
            missing: 1,
            differing: 2,
            found: vec![
                Difference { kind: Kind::Missing, key: key("5"), columns: vec![] },
                Difference { kind: Kind::Differing, key: key("7\u{1b}"), columns: vec![note] },
            ],
            ..report("lines", Verdict::Different)
        }
    }

    #[test]
    fn a_report_can_be_read() {
        let style = Style { colour: false, width: 80 };
        let reports = [report("orders", Verdict::Equal), different()];
        let want = "\
TABLE                 ROWS      TIME      ROWS/S  VERDICT
shop.orders          1,000     2.5 s         400  equal
shop.lines           1,000     2.5 s         400  1 missing, 2 differing

shop.lines
  id=5  missing in the target
  id=7?  differs in note
      note: source \"left\", target NULL
  … and 1 more
  - existing rows were never copied

different: 2 tables, 1997 rows equal, 3 rows differ
";
        assert_eq!(as_text(&reports, style), want);
        assert_eq!(exit_of(&reports), Exit::No);
        let text = as_text(&reports[..1], style);
        assert!(text.ends_with("\n\nverified: 1 tables, 1000 rows equal\n"), "{text}");
        assert_eq!(exit_of(&reports[..1]), Exit::Well);
    }

    #[test]
    fn a_table_that_could_not_be_compared_says_why() {
        let reason = Reason::new("SINK_TABLE_MISSING", Class::Wait, "shop.t", "it does not exist", "create it");
        let reports = [TableReport { reason: Some(reason), ..report("t", Verdict::Undecided) }];
        let text = as_text(&reports, Style { colour: false, width: 80 });
        assert!(text.contains("SINK_TABLE_MISSING (shop.t)") && text.contains("To do: create it"), "{text}");
        assert!(text.contains("undecided: 1 of 1 tables"), "{text}");
        assert_eq!(exit_of(&reports), Exit::Undecided);
    }

    #[test]
    fn programs_can_read_it_too() {
        let json: Value = sonic_rs::from_str(&as_json(&[different()])).unwrap();
        assert_eq!(json["verdict"].as_str(), Some("different"));
        let table = &json["tables"][0];
        assert_eq!((table["missing"].as_u64(), table["rows_equal"].as_u64()), (Some(1), Some(997)));
        let found = &table["differences"][1];
        assert_eq!((found["kind"].as_str(), found["key"]["id"].as_str()), (Some("differing"), Some("7\u{1b}")));
        assert_eq!(found["columns"][0].as_str(), Some("note"));
        assert_eq!(found["values"]["note"]["source"].as_str(), Some("left"));
    }

    #[test]
    fn of_long_values_the_part_that_differs_is_shown() {
        let (one, other) = (format!("{}X{}", "a".repeat(500), "b".repeat(500)), format!("{}Y", "a".repeat(500)));
        let (one, other) = excerpts(Some(&one), Some(&other));
        assert!(one.starts_with("…\"aaa") && one.contains("aXb") && one.ends_with("\"…"), "{one}");
        assert!(other.ends_with("aY\""), "{other}");
        assert_eq!(excerpts(None, Some("x\n")), ("NULL".to_owned(), "\"x\\n\"".to_owned()));
    }
}
