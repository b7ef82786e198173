//! The numbers as Prometheus reads them (OpenMetrics text).
//!
//! Always: names and labels are bounded; tables beyond [`TABLES_MAX`] are added up under the label `other`; no row
//! value is ever a label. Start at [`text`].

use std::collections::BTreeMap;
use std::fmt;
use std::time::{SystemTime, UNIX_EPOCH};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{DescriptorEncoder, EncodeCounterValue, EncodeGaugeValue, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Registry;

use super::board::Sample;
use super::health::{COMPONENTS, Health};
use super::pb::PipelineState;
use super::process::file_descriptors;
use super::translate;
use crate::model::{Class, TableState};
use crate::status::{CopyNumbers, Snapshot, TableSnapshot, ValuesChanged};

/// What the text is.
pub(super) const CONTENT_TYPE_OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
/// Tables with a label of their own, at most.
const TABLES_MAX: usize = 200;
/// The states a slot's log can be in (PostgreSQL, view `pg_replication_slots`).
const WAL_STATUSES: [&str; 4] = ["reserved", "extended", "unreserved", "lost"];

/// The whole text.
///
/// # Errors
/// Only if formatting into memory fails.
pub(super) fn text(sample: &Sample, health: &Health) -> Result<String, fmt::Error> {
    let components = COMPONENTS.map(|name| (name, matches!(health.answer(name), Some(Ok(())))));
    let mut registry = Registry::default();
    registry.register_collector(Box::new(Page { sample: sample.clone(), components }));
    let mut body = String::with_capacity(16 * 1024);
    encode(&mut body, &registry)?;
    Ok(body)
}

/// One answer's numbers.
#[derive(Debug)]
struct Page {
    sample: Sample,
    components: [(&'static str, bool); COMPONENTS.len()],
}

impl Collector for Page {
    fn encode(&self, encoder: DescriptorEncoder) -> fmt::Result {
        let mut out = Out(encoder);
        let s = &self.sample.snapshot;
        build(&mut out)?;
        health(&mut out, &self.components)?;
        state(&mut out, s)?;
        lag(&mut out, &self.sample)?;
        slot(&mut out, s)?;
        flow(&mut out, s)?;
        loads(&mut out, s)?;
        tables(&mut out, &s.tables)?;
        copies(&mut out, s)?;
        process(&mut out, &self.sample)
    }
}

/// Labels of one row.
type Labels<'a> = Vec<(&'static str, &'a str)>;

struct Out<'a>(DescriptorEncoder<'a>);

impl Out<'_> {
    fn gauge(&mut self, name: &str, help: &str, value: impl EncodeGaugeValue) -> fmt::Result {
        self.0.encode_descriptor(name, help, None, MetricType::Gauge)?.encode_gauge(&value)
    }

    fn counter(&mut self, name: &str, help: &str, value: impl EncodeCounterValue) -> fmt::Result {
        let mut metric = self.0.encode_descriptor(name, help, None, MetricType::Counter)?;
        metric.encode_counter::<NoLabelSet, _, f64>(&value, None)
    }

    fn gauges<V: EncodeGaugeValue>(&mut self, name: &str, help: &str, rows: Vec<(Labels<'_>, V)>) -> fmt::Result {
        let mut metric = self.0.encode_descriptor(name, help, None, MetricType::Gauge)?;
        rows.iter().try_for_each(|(labels, value)| metric.encode_family(labels)?.encode_gauge(value))
    }

    fn counters(&mut self, name: &str, help: &str, rows: Vec<(Labels<'_>, u64)>) -> fmt::Result {
        let mut metric = self.0.encode_descriptor(name, help, None, MetricType::Counter)?;
        rows.iter().try_for_each(|(labels, value)| {
            metric.encode_family(labels)?.encode_counter::<NoLabelSet, _, f64>(value, None)
        })
    }

    /// One row for each name, 1 for the one that holds.
    fn one_hot<'n>(
        &mut self,
        (name, label): (&str, &'static str),
        help: &str,
        names: impl IntoIterator<Item = &'n str>,
        holds: &str,
    ) -> fmt::Result {
        let rows = names.into_iter().map(|each| (vec![(label, each)], u32::from(each == holds))).collect();
        self.gauges(name, help, rows)
    }
}

fn build(out: &mut Out<'_>) -> fmt::Result {
    let labels = vec![("version", env!("CARGO_PKG_VERSION"))];
    let mut metric = out.0.encode_descriptor("sluicegate_build", "The running program.", None, MetricType::Info)?;
    metric.encode_info(&labels)
}

fn health(out: &mut Out<'_>, components: &[(&'static str, bool)]) -> fmt::Result {
    let rows = components.iter().flat_map(|(component, serving)| {
        [("serving", *serving), ("not_serving", !*serving)]
            .map(|(status, holds)| (vec![("component", *component), ("status", status)], u32::from(holds)))
    });
    out.gauges("sluicegate_health", "Health by the names of grpc.health.v1; 1 for what holds.", rows.collect())
}

fn state(out: &mut Out<'_>, s: &Snapshot) -> fmt::Result {
    let all = (1..).map_while(|number| PipelineState::try_from(number).ok());
    let names: Vec<String> = all.map(state_name).collect();
    let holds = state_name(translate::state(s));
    let help = "State of the pipeline; 1 for what holds.";
    out.one_hot(("sluicegate_state", "state"), help, names.iter().map(String::as_str), &holds)?;
    let mut codes = BTreeMap::<&str, u64>::new();
    for active in s.reasons.iter().filter(|active| matches!(active.reason.class, Class::Wait | Class::Resync)) {
        *codes.entry(active.reason.code).or_default() += 1;
    }
    let rows = codes.into_iter().map(|(code, objects)| (vec![("code", code)], objects)).collect();
    out.gauges("sluicegate_blocked", "Objects that wait for a person, by reason; no row if none does.", rows)?;
    out.gauge("sluicegate_paused", "Whether reading is paused by a command.", u32::from(s.paused))?;
    out.gauge("sluicegate_generation", "Commands so far that changed something.", s.generation)
}

fn state_name(state: PipelineState) -> String {
    state.as_str_name().trim_start_matches("PIPELINE_STATE_").to_ascii_lowercase()
}

fn lag(out: &mut Out<'_>, sample: &Sample) -> fmt::Result {
    let (lag, s) = (&sample.lag, &sample.snapshot);
    out.gauge("sluicegate_lag_seconds", "Age of what the target shows.", lag.seconds)?;
    let rows = [("received", lag.received_bytes), ("durable", lag.durable_bytes), ("acked", lag.confirmed_bytes)]
        .map(|(stage, bytes)| (vec![("stage", stage)], bytes));
    out.gauges("sluicegate_lag_bytes", "Bytes of log from the stage's position to the server's end.", rows.into())?;
    let help = "Commit time of the newest transaction durable in the target; 0 if there is none.";
    out.gauge("sluicegate_last_commit_timestamp_seconds", help, seconds(s.durable_commit_micros))
}

fn slot(out: &mut Out<'_>, s: &Snapshot) -> fmt::Result {
    let Some(slot) = &s.slot_health else { return Ok(()) };
    out.gauge("sluicegate_slot_active", "Whether a connection uses the slot.", u32::from(slot.active))?;
    out.gauge("sluicegate_slot_retained_bytes", "Bytes of log the slot holds back.", slot.retained_bytes)?;
    if let Some(safe) = slot.safe_bytes {
        let help = "Bytes of log that may be written before the slot is in danger; absent without a limit.";
        out.gauge("sluicegate_slot_safe_bytes", help, safe)?;
    }
    let help = "What the server says of the slot's log; 1 for what holds.";
    out.one_hot(("sluicegate_slot_wal_status", "status"), help, WAL_STATUSES, &slot.wal_status)
}

fn flow(out: &mut Out<'_>, s: &Snapshot) -> fmt::Result {
    out.counter("sluicegate_bytes_received", "Bytes of messages received from the source.", s.received_bytes)?;
    out.counter("sluicegate_transactions_received", "Transactions received.", s.transactions_received)?;
    out.counter("sluicegate_rows_durable", "Row changes made durable in the target.", s.rows_durable)?;
    out.counter("sluicegate_rows_skipped", "Row changes dropped by a recorded decision.", s.rows_skipped)?;
    out.counter("sluicegate_source_reconnects", "Times the stream was taken up again.", s.reconnects)?;
    let help = "Transactions that came in parts before they committed.";
    out.counter("sluicegate_streamed_transactions", help, s.streamed_transactions)?;
    out.gauge("sluicegate_spool_bytes", "Bytes of transactions in progress kept on disk.", s.spool_bytes)?;
    let help = "Times transactions in progress could not be kept, and came whole instead.";
    out.counter("sluicegate_spool_given_up", help, s.spool_given_up)?;
    out.gauge("sluicegate_pending_rows", "Row changes received and not yet durable.", s.pending_rows)?;
    out.gauge("sluicegate_memory_used_bytes", "Bytes of the memory budget in use.", s.memory_used)?;
    out.gauge("sluicegate_memory_budget_bytes", "The memory budget.", s.memory_budget)
}

fn loads(out: &mut Out<'_>, s: &Snapshot) -> fmt::Result {
    let rows = [("accepted", s.loads), ("refused", s.load_refusals)].map(|(result, n)| (vec![("result", result)], n));
    out.counters("sluicegate_loads", "Loads the target decided on.", rows.into())?;
    out.counter("sluicegate_load_retries", "Loads tried again.", s.load_retries)?;
    out.counter("sluicegate_bytes_loaded", "Bytes of bodies of accepted loads, as sent.", s.bytes_loaded)?;
    out.gauge("sluicegate_sink_breaker_open", "Whether calls to the target pause.", u32::from(s.breaker_open))
}

/// One table's numbers, or those of all that have no label of their own.
struct TableRow {
    label: String,
    received: [(&'static str, u64); 4],
    rows_loaded: u64,
    last_load_micros: u64,
    values_changed: ValuesChanged,
}

fn table_rows(tables: &[TableSnapshot]) -> Vec<TableRow> {
    let row = |label: String, tables: &[TableSnapshot]| {
        let sum = |number: fn(&TableSnapshot) -> u64| tables.iter().map(number).sum();
        TableRow {
            label,
            received: [
                ("insert", sum(|table| table.inserted)),
                ("update", sum(|table| table.updated)),
                ("delete", sum(|table| table.deleted)),
                ("truncate", sum(|table| table.truncates)),
            ],
            rows_loaded: sum(|table| table.rows_loaded),
            last_load_micros: tables.iter().map(|table| table.last_load_micros).max().unwrap_or(0),
            values_changed: tables.iter().flat_map(|table| &table.values_changed).fold(
                ValuesChanged::new(),
                |mut all, (kind, values)| {
                    *all.entry(*kind).or_default() += values;
                    all
                },
            ),
        }
    };
    let (own, rest) = tables.split_at(tables.len().min(TABLES_MAX));
    // A table's name has a dot, so none is called `other`.
    let other = (!rest.is_empty()).then(|| row("other".to_owned(), rest));
    own.chunks(1).map(|table| row(table[0].name.to_string(), table)).chain(other).collect()
}

fn tables(out: &mut Out<'_>, tables: &[TableSnapshot]) -> fmt::Result {
    let rows = table_rows(tables);
    let received = rows
        .iter()
        .flat_map(|row| row.received.iter().map(|(op, n)| (vec![("table", row.label.as_str()), ("op", *op)], *n)));
    out.counters("sluicegate_rows_received", "Row changes received, and truncates.", received.collect())?;
    let loaded = rows.iter().map(|row| (vec![("table", row.label.as_str())], row.rows_loaded));
    out.counters("sluicegate_rows_loaded", "Rows in accepted loads.", loaded.collect())?;
    let changed = rows.iter().flat_map(|row| {
        row.values_changed.iter().map(|(&(class, policy), values)| {
            (vec![("table", row.label.as_str()), ("class", class), ("policy", policy)], *values)
        })
    });
    let help = "Values the target cannot hold, loaded as the policy for their class says; no row if there were none.";
    out.counters("sluicegate_values_changed", help, changed.collect())?;
    let last = rows.iter().map(|row| (vec![("table", row.label.as_str())], seconds(row.last_load_micros)));
    let help = "When the target last accepted a load; 0 if never.";
    out.gauges("sluicegate_last_load_timestamp_seconds", help, last.collect())?;
    let states = TableState::ALL.map(|state| {
        let in_it = tables.iter().filter(|table| table.state == state).count() as u64;
        (state.name().to_ascii_lowercase(), in_it)
    });
    let counts = states.iter().map(|(state, tables)| (vec![("state", state.as_str())], *tables));
    out.gauges("sluicegate_tables", "Tables by state.", counts.collect())
}

/// The copy of existing rows. Counted per copy, so a copy that starts anew counts from nothing: gauges.
fn copies(out: &mut Out<'_>, s: &Snapshot) -> fmt::Result {
    let (own, rest) = s.tables.split_at(s.tables.len().min(TABLES_MAX));
    let own = own.iter().filter_map(|table| table.copy.map(|copy| (table.name.to_string(), vec![copy])));
    let mut groups: Vec<(String, Vec<CopyNumbers>)> = own.collect();
    let rest: Vec<CopyNumbers> = rest.iter().filter_map(|table| table.copy).collect();
    if !rest.is_empty() {
        groups.push(("other".to_owned(), rest));
    }
    let mut gauges = |name: &str, help: &str, number: fn(&CopyNumbers) -> u64| {
        let rows = groups
            .iter()
            .map(|(label, copies)| (vec![("table", label.as_str())], copies.iter().map(number).sum::<u64>()));
        out.gauges(name, help, rows.collect())
    };
    gauges("sluicegate_snapshot_rows", "Existing rows copied.", |copy| copy.rows)?;
    gauges("sluicegate_snapshot_bytes", "Bytes of existing rows copied.", |copy| copy.bytes)?;
    gauges("sluicegate_snapshot_chunks_done", "Parts copied.", |copy| copy.chunks_done)?;
    gauges("sluicegate_snapshot_chunks", "Parts in all, as far as known.", |copy| copy.chunks_total)?;
    gauges("sluicegate_snapshot_bytes_per_second", "Bytes of rows copied per second.", |copy| copy.bytes_per_second)?;
    gauges("sluicegate_snapshot_repairs", "Rows that are to be read once more.", |copy| copy.repairs)?;
    let active = groups.iter().flat_map(|(_, copies)| copies).filter(|copy| copy.phase.is_active()).count() as u64;
    out.gauge("sluicegate_snapshot_tables", "Tables whose existing rows are being copied.", active)?;
    out.gauge("sluicegate_snapshot_paused", "Whether the copy is paused by a command.", u32::from(s.copy_paused))
}

/// Under the names that every Prometheus client library gives them.
fn process(out: &mut Out<'_>, sample: &Sample) -> fmt::Result {
    let process = &sample.process;
    let (open, open_max) = file_descriptors();
    out.counter("process_cpu_seconds", "Processor time used.", process.cpu.as_secs_f64())?;
    out.gauge("process_resident_memory_bytes", "Resident memory.", process.resident_bytes)?;
    out.gauge("process_virtual_memory_bytes", "Virtual memory.", process.virtual_bytes)?;
    out.gauge("process_open_fds", "Open file descriptors.", open)?;
    out.gauge("process_max_fds", "Open file descriptors, at most.", open_max)?;
    let started = since_epoch(sample.snapshot.started_at);
    out.gauge("process_start_time_seconds", "When the process started.", started)
}

fn seconds(micros: u64) -> f64 {
    micros as f64 / 1e6
}

fn since_epoch(time: SystemTime) -> f64 {
    time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::grpc::health::tests::table;

    #[test]
    fn many_tables_share_one_label() {
        let tables: Vec<_> = (0..TABLES_MAX + 3)
            .map(|n| TableSnapshot {
                inserted: 2,
                rows_loaded: 1,
                values_changed: ValuesChanged::from([(("date_range", "null"), 4)]),
                ..table("s", &format!("t{n}"))
            })
            .collect();
        let rows = table_rows(&tables);
        let [.., last_own, other] = &rows[..] else { panic!("{} rows", rows.len()) };
        assert_eq!((rows.len(), last_own.label.as_str()), (TABLES_MAX + 1, "s.t199"));
        assert_eq!((other.label.as_str(), other.received[0], other.rows_loaded), ("other", ("insert", 6), 3));
        assert_eq!(other.values_changed, ValuesChanged::from([(("date_range", "null"), 12)]));
    }
}
