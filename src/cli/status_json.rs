//! The status as a line of JSON for programs.
//!
//! Always: the fields have the names of `PipelineStatus` in proto/sluicegate/v1/status.proto; a position is its text
//! (`"16/B374D848"`), an enum its short upper-case name (`"STREAMING"`), a time RFC 3339 text; what is absent is null.
//! Fields are added, never renamed or removed.

use prost_types::Timestamp;
use serde::Serialize;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::status::{bare, class_name, state_name, table_state_name};
use crate::grpc::pb;

/// One line, its end included.
pub(super) fn line(status: &pb::PipelineStatus) -> String {
    // Serialising plain text, numbers and lists cannot fail.
    sonic_rs::to_string(&Status::of(status)).unwrap_or_default() + "\n"
}

#[derive(Serialize)]
struct Status<'a> {
    pipeline: &'a str,
    taken_at: Option<String>,
    started_at: Option<String>,
    state: &'a str,
    stage: &'a str,
    stage_detail: &'a str,
    paused: bool,
    generation: u64,
    current_lsn: Option<&'a str>,
    server_lsn: Option<&'a str>,
    durable_lsn: Option<&'a str>,
    checkpoint_lsn: Option<&'a str>,
    confirmed_lsn: Option<&'a str>,
    pending_events: u64,
    events_per_second: f64,
    rows_received: u64,
    rows_durable: u64,
    slot_name: &'a str,
    publication_name: &'a str,
    slot: Option<Slot<'a>>,
    lag: Option<Lag>,
    source: Option<Source>,
    sink: Option<Sink>,
    memory: Option<Memory>,
    flush: Option<Flush>,
    tables: Vec<Table<'a>>,
    snapshot_active: bool,
    snapshot_paused: bool,
    snapshot_chunks_total: u64,
    snapshot_chunks_done: u64,
    snapshot_rows_synced: u64,
    snapshot_bytes_synced: u64,
    snapshot_rows_per_second: u64,
    snapshot_bytes_per_second: u64,
    snapshot_seconds_left: Option<u64>,
    reasons: Vec<Reason<'a>>,
}

#[derive(Serialize)]
struct Slot<'a> {
    wal_status: &'a str,
    active: bool,
    restart_lsn: Option<&'a str>,
    confirmed_lsn: Option<&'a str>,
    retained_bytes: u64,
    safe_bytes: Option<i64>,
}

#[derive(Serialize)]
struct Lag {
    received_bytes: u64,
    durable_bytes: u64,
    confirmed_bytes: u64,
    seconds: f64,
}

#[derive(Serialize)]
struct Source {
    connected: bool,
    last_contact: Option<String>,
    reconnects_total: u64,
}

#[derive(Serialize)]
struct Sink {
    reachable: bool,
    last_contact: Option<String>,
    breaker_open: bool,
}

#[derive(Serialize)]
struct Memory {
    used_bytes: u64,
    budget_bytes: u64,
    resident_bytes: u64,
}

#[derive(Serialize)]
struct Flush {
    rows_max: u64,
    interval_ms: u64,
}

#[derive(Serialize)]
struct Table<'a> {
    table_name: &'a str,
    target: &'a str,
    state: &'a str,
    rows_inserted: u64,
    rows_updated: u64,
    rows_deleted: u64,
    truncates: u64,
    loads: u64,
    rows_loaded: u64,
    durable_lsn: Option<&'a str>,
    last_load: Option<String>,
    snapshot_chunks_total: u64,
    snapshot_chunks_done: u64,
    snapshot_rows_synced: u64,
    snapshot_bytes_synced: u64,
    snapshot_permille: u32,
    snapshot_rows_per_second: u64,
    snapshot_bytes_per_second: u64,
    snapshot_seconds_left: Option<u64>,
    snapshot_repairs_waiting: u64,
    values_changed: Vec<ValuesChanged<'a>>,
}

#[derive(Serialize)]
struct ValuesChanged<'a> {
    class: &'a str,
    policy: &'a str,
    values: u64,
}

#[derive(Serialize)]
struct Reason<'a> {
    code: &'a str,
    class: &'a str,
    object: &'a str,
    message: &'a str,
    remedy: &'a str,
    sql: &'a str,
    first_seen: Option<String>,
    last_seen: Option<String>,
    count: u64,
}

fn lsn(lsn: &Option<pb::Lsn>) -> Option<&str> {
    lsn.as_ref().map(|lsn| lsn.text.as_str())
}

fn time(time: &Option<Timestamp>) -> Option<String> {
    let time = time.as_ref()?;
    let nanos = i128::from(time.seconds) * 1_000_000_000 + i128::from(time.nanos);
    OffsetDateTime::from_unix_timestamp_nanos(nanos).ok()?.format(&Rfc3339).ok()
}

/// A number that JSON can hold.
fn finite(number: f64) -> f64 {
    if number.is_finite() { number } else { 0.0 }
}

impl<'a> Status<'a> {
    fn of(status: &'a pb::PipelineStatus) -> Self {
        Status {
            pipeline: &status.pipeline,
            taken_at: time(&status.taken_at),
            started_at: time(&status.started_at),
            state: state_name(status.state()),
            stage: bare(status.stage().as_str_name(), "STAGE_"),
            stage_detail: &status.stage_detail,
            paused: status.paused,
            generation: status.generation,
            current_lsn: lsn(&status.current_lsn),
            server_lsn: lsn(&status.server_lsn),
            durable_lsn: lsn(&status.durable_lsn),
            checkpoint_lsn: lsn(&status.checkpoint_lsn),
            confirmed_lsn: lsn(&status.confirmed_lsn),
            pending_events: status.pending_events,
            events_per_second: finite(status.events_per_second),
            rows_received: status.rows_received,
            rows_durable: status.rows_durable,
            slot_name: &status.slot_name,
            publication_name: &status.publication_name,
            slot: status.slot.as_ref().map(Slot::of),
            lag: status.lag.map(|lag| Lag {
                received_bytes: lag.received_bytes,
                durable_bytes: lag.durable_bytes,
                confirmed_bytes: lag.confirmed_bytes,
                seconds: finite(lag.seconds),
            }),
            source: status.source.as_ref().map(|source| Source {
                connected: source.connected,
                last_contact: time(&source.last_contact),
                reconnects_total: source.reconnects_total,
            }),
            sink: status.sink.as_ref().map(|sink| Sink {
                reachable: sink.reachable,
                last_contact: time(&sink.last_contact),
                breaker_open: sink.breaker_open,
            }),
            memory: status.memory.map(|memory| Memory {
                used_bytes: memory.used_bytes,
                budget_bytes: memory.budget_bytes,
                resident_bytes: memory.resident_bytes,
            }),
            flush: status.flush.map(|flush| Flush { rows_max: flush.rows_max, interval_ms: flush.interval_ms }),
            tables: status.tables.iter().map(Table::of).collect(),
            snapshot_active: status.snapshot_active,
            snapshot_paused: status.snapshot_paused,
            snapshot_chunks_total: status.snapshot_chunks_total,
            snapshot_chunks_done: status.snapshot_chunks_done,
            snapshot_rows_synced: status.snapshot_rows_synced,
            snapshot_bytes_synced: status.snapshot_bytes_synced,
            snapshot_rows_per_second: status.snapshot_rows_per_second,
            snapshot_bytes_per_second: status.snapshot_bytes_per_second,
            snapshot_seconds_left: status.snapshot_seconds_left,
            reasons: status.reasons.iter().map(Reason::of).collect(),
        }
    }
}

impl<'a> Slot<'a> {
    fn of(slot: &'a pb::Slot) -> Self {
        Slot {
            wal_status: &slot.wal_status,
            active: slot.active,
            restart_lsn: lsn(&slot.restart_lsn),
            confirmed_lsn: lsn(&slot.confirmed_lsn),
            retained_bytes: slot.retained_bytes,
            safe_bytes: slot.safe_bytes,
        }
    }
}

impl<'a> Table<'a> {
    fn of(table: &'a pb::TableStatus) -> Self {
        Table {
            table_name: &table.table_name,
            target: &table.target,
            state: table_state_name(table.state()),
            rows_inserted: table.rows_inserted,
            rows_updated: table.rows_updated,
            rows_deleted: table.rows_deleted,
            truncates: table.truncates,
            loads: table.loads,
            rows_loaded: table.rows_loaded,
            durable_lsn: lsn(&table.durable_lsn),
            last_load: time(&table.last_load),
            snapshot_chunks_total: table.snapshot_chunks_total,
            snapshot_chunks_done: table.snapshot_chunks_done,
            snapshot_rows_synced: table.snapshot_rows_synced,
            snapshot_bytes_synced: table.snapshot_bytes_synced,
            snapshot_permille: table.snapshot_permille,
            snapshot_rows_per_second: table.snapshot_rows_per_second,
            snapshot_bytes_per_second: table.snapshot_bytes_per_second,
            snapshot_seconds_left: table.snapshot_seconds_left,
            snapshot_repairs_waiting: table.snapshot_repairs_waiting,
            values_changed: table.values_changed.iter().map(ValuesChanged::of).collect(),
        }
    }
}

impl<'a> ValuesChanged<'a> {
    fn of(changed: &'a pb::ValuesChanged) -> Self {
        ValuesChanged { class: &changed.class, policy: &changed.policy, values: changed.values }
    }
}

impl<'a> Reason<'a> {
    fn of(reason: &'a pb::Reason) -> Self {
        Reason {
            code: &reason.code,
            class: class_name(reason.class()),
            object: &reason.object,
            message: &reason.message,
            remedy: &reason.remedy,
            sql: &reason.sql,
            first_seen: time(&reason.first_seen),
            last_seen: time(&reason.last_seen),
            count: reason.count,
        }
    }
}

#[cfg(test)]
mod tests {
    use sonic_rs::{JsonContainerTrait, JsonValueTrait, Value, pointer};

    use super::*;
    use crate::cli::status::tests::full;

    #[test]
    fn a_status_is_one_line_with_the_names_of_the_protocol() {
        let text = line(&full());
        assert_eq!(text.find('\n'), Some(text.len() - 1));
        let json: Value = sonic_rs::from_str(&text).unwrap();
        let cases: &[(&[&str], &str)] = &[
            (&["state"], "STREAMING"),
            (&["stage"], "CDC"),
            (&["current_lsn"], "0/1F12728"),
            (&["taken_at"], "2023-11-14T22:13:20Z"),
            (&["slot", "wal_status"], "reserved"),
        ];
        for (path, want) in cases {
            assert_eq!(json.pointer(*path).and_then(|value| value.as_str()), Some(*want), "{path:?}");
        }
        let number = |path: &[&str]| json.pointer(path).and_then(|value| value.as_f64());
        assert_eq!(number(&["lag", "durable_bytes"]), Some(2048.0));
        assert_eq!(number(&["pending_events"]), Some(512.0));
        let table = json.pointer(&pointer!["tables", 1]).unwrap();
        assert_eq!((table["state"].as_str(), table["rows_loaded"].as_u64()), (Some("BLOCKED"), Some(1_234_600)));
        let changed = table.pointer(&pointer!["values_changed", 0]).unwrap();
        assert_eq!((changed["class"].as_str(), changed["values"].as_u64()), (Some("date_range"), Some(1_200)));
        let reason = json.pointer(&pointer!["reasons", 0]).unwrap();
        assert_eq!((reason["class"].as_str(), reason["count"].as_u64()), (Some("WAIT"), Some(12)));
    }

    #[test]
    fn every_field_of_the_protocol_is_there() {
        let proto = include_str!("../../proto/sluicegate/v1/status.proto");
        let message = proto.split("message PipelineStatus {").nth(1).unwrap().split("\n}").next().unwrap();
        let json: Value = sonic_rs::from_str(&line(&full())).unwrap();
        let object = json.as_object().unwrap();
        let fields: Vec<&str> = message
            .lines()
            .filter(|line| line.contains(" = ") && !line.trim_start().starts_with("//"))
            .filter_map(|line| line.split(" = ").next()?.split_whitespace().last())
            .collect();
        assert!(fields.len() > 30, "{fields:?}");
        for field in fields {
            assert!(object.contains_key(&field), "{field}");
        }
    }

    #[test]
    fn what_is_absent_is_null() {
        let json: Value = sonic_rs::from_str(&line(&pb::PipelineStatus::default())).unwrap();
        for name in ["taken_at", "current_lsn", "slot", "lag"] {
            assert!(json[name].is_null(), "{name}");
        }
        assert_eq!(json["tables"].as_array().map(|tables| tables.len()), Some(0));
    }
}
