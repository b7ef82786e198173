//! Samples as the wire messages show them. Pure.

use std::cmp::Reverse;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use prost_types::Timestamp;

use super::board::Sample;
use super::health::blocked_by;
use super::pb;
use crate::model::{Class, Lsn, Stage, TableState};
use crate::status::{ActiveReason, CopyNumbers, SlotHealth, Snapshot, TableSnapshot};

/// The whole status.
pub(super) fn status(sample: &Sample) -> pb::PipelineStatus {
    let s = &sample.snapshot;
    let lag = &sample.lag;
    pb::PipelineStatus {
        pipeline: s.pipeline.clone(),
        taken_at: Some(timestamp(s.taken_at)),
        started_at: Some(timestamp(s.started_at)),
        state: state(s).into(),
        stage: stage(s.stage).into(),
        stage_detail: s.stage_detail.clone(),
        paused: s.paused,
        generation: s.generation,
        current_lsn: lsn(s.received_lsn),
        server_lsn: lsn(s.server_lsn),
        durable_lsn: lsn(s.durable_lsn),
        checkpoint_lsn: lsn(s.checkpoint_lsn),
        confirmed_lsn: lsn(s.confirmed_lsn),
        pending_events: s.pending_rows,
        events_per_second: sample.rates.durable,
        slot_name: s.slot.clone(),
        publication_name: s.publication.clone(),
        slot: s.slot_health.as_ref().map(slot),
        lag: Some(pb::Lag {
            received_bytes: lag.received_bytes,
            durable_bytes: lag.durable_bytes,
            confirmed_bytes: lag.confirmed_bytes,
            seconds: lag.seconds,
        }),
        source: Some(pb::Source {
            connected: s.source_connected,
            last_contact: moment(s.source_contact_micros),
            reconnects_total: s.reconnects,
        }),
        sink: Some(pb::Sink {
            reachable: s.sink_reachable,
            last_contact: moment(s.sink_contact_micros),
            breaker_open: s.breaker_open,
        }),
        memory: Some(pb::Memory {
            used_bytes: s.memory_used,
            budget_bytes: s.memory_budget,
            resident_bytes: sample.process.resident_bytes,
        }),
        flush: Some(pb::FlushSettings { rows_max: s.flush_rows, interval_ms: s.flush_interval_ms }),
        tables: s.tables.iter().map(table).collect(),
        snapshot_active: s.stage == Stage::Snapshot,
        snapshot_paused: s.copy_paused,
        snapshot_chunks_total: copied(s, |copy| copy.chunks_total),
        snapshot_chunks_done: copied(s, |copy| copy.chunks_done),
        snapshot_rows_synced: copied(s, |copy| copy.rows),
        reasons: reasons(s),
        rows_received: s.rows_received,
        rows_durable: s.rows_durable,
        snapshot_bytes_synced: copied(s, |copy| copy.bytes),
        snapshot_rows_per_second: copied(s, |copy| copy.rows_per_second),
        snapshot_bytes_per_second: copied(s, |copy| copy.bytes_per_second),
        snapshot_seconds_left: seconds_left(s),
    }
}

/// A number of the copies, over all tables.
fn copied(s: &Snapshot, number: impl Fn(&CopyNumbers) -> u64) -> u64 {
    s.tables.iter().filter_map(|table| table.copy.as_ref()).map(number).sum()
}

/// The tables share the readers, so that the one that takes longest says when all are done; unknown if one is.
fn seconds_left(s: &Snapshot) -> Option<u64> {
    let active = s.tables.iter().filter_map(|table| table.copy.filter(|copy| copy.phase.is_active()));
    let left: Option<Vec<u64>> = active.map(|copy| copy.left.map(|left| left.as_secs())).collect();
    left?.into_iter().max()
}

/// The numbers.
pub(super) fn metrics(sample: &Sample) -> pb::Metrics {
    let s = &sample.snapshot;
    pb::Metrics {
        timestamp: Some(timestamp(s.taken_at)),
        started_at: Some(timestamp(s.started_at)),
        events_per_second: sample.rates.durable,
        events_received_per_second: sample.rates.received,
        lag_bytes: sample.lag.durable_bytes,
        lag_events: s.pending_rows,
        replication_lag_ms: (sample.lag.seconds * 1000.0) as u64,
        memory_bytes: sample.process.resident_bytes,
        memory_used_bytes: s.memory_used,
        memory_budget_bytes: s.memory_budget,
        cpu_millicores: sample.rates.cpu_millicores,
        total_events_processed: s.rows_durable,
        total_events_received: s.rows_received,
        total_transactions_received: s.transactions_received,
        total_bytes_received: s.received_bytes,
        total_reconnects: s.reconnects,
        total_batches_sent: s.loads,
        total_batch_retries: s.load_retries,
        total_batch_refusals: s.load_refusals,
        total_rows_loaded: s.rows_loaded,
        total_bytes_loaded: s.bytes_loaded,
        total_rows_skipped: s.rows_skipped,
        total_values_changed: s.values_changed,
    }
}

/// The one word for a person.
pub(super) fn state(s: &Snapshot) -> pb::PipelineState {
    let blocked = blocked_by(s).is_some();
    match s.stage {
        Stage::Init => pb::PipelineState::Starting,
        Stage::Setup | Stage::Snapshot | Stage::Cdc if blocked => pb::PipelineState::Blocked,
        Stage::Setup => pb::PipelineState::Checking,
        Stage::Snapshot | Stage::Cdc if s.paused => pb::PipelineState::Paused,
        Stage::Snapshot => pb::PipelineState::Snapshotting,
        Stage::Cdc => pb::PipelineState::Streaming,
        Stage::Draining => pb::PipelineState::Draining,
        Stage::Stopped => pb::PipelineState::Stopped,
    }
}

/// The stage's wire name.
pub(super) fn stage(stage: Stage) -> pb::Stage {
    match stage {
        Stage::Init => pb::Stage::Init,
        Stage::Setup => pb::Stage::Setup,
        Stage::Snapshot => pb::Stage::Snapshot,
        Stage::Cdc => pb::Stage::Cdc,
        Stage::Draining => pb::Stage::Draining,
        Stage::Stopped => pb::Stage::Stopped,
    }
}

/// All reasons, the most urgent first.
pub(super) fn reasons(s: &Snapshot) -> Vec<pb::Reason> {
    let mut reasons: Vec<&ActiveReason> = s.reasons.iter().collect();
    reasons.sort_by_key(|active| (Reverse(urgency(active.reason.class)), active.first_seen));
    reasons.into_iter().map(reason).collect()
}

/// How urgent a class is; more is more urgent.
pub(super) fn urgency(class: Class) -> u8 {
    match class {
        Class::Retry => 0,
        Class::Wait => 1,
        Class::Resync => 2,
        Class::Config => 3,
        Class::Bug => 4,
    }
}

fn reason(active: &ActiveReason) -> pb::Reason {
    let class = match active.reason.class {
        Class::Retry => pb::ReasonClass::Retry,
        Class::Wait => pb::ReasonClass::Wait,
        Class::Resync => pb::ReasonClass::Resync,
        Class::Config => pb::ReasonClass::Config,
        Class::Bug => pb::ReasonClass::Bug,
    };
    pb::Reason {
        code: active.reason.code.to_owned(),
        class: class.into(),
        object: active.reason.object.clone(),
        message: active.reason.message.clone(),
        remedy: active.reason.remedy.clone(),
        sql: active.reason.sql.clone(),
        first_seen: Some(timestamp(active.first_seen)),
        last_seen: Some(timestamp(active.last_seen)),
        count: active.count,
    }
}

fn slot(health: &SlotHealth) -> pb::Slot {
    pb::Slot {
        wal_status: health.wal_status.clone(),
        active: health.active,
        restart_lsn: lsn(health.restart_lsn),
        confirmed_lsn: lsn(health.confirmed_lsn),
        retained_bytes: health.retained_bytes,
        safe_bytes: health.safe_bytes,
    }
}

fn table(table: &TableSnapshot) -> pb::TableStatus {
    let state = match table.state {
        TableState::Pending => pb::TableState::Pending,
        TableState::Copying => pb::TableState::Copying,
        TableState::Repairing => pb::TableState::Repairing,
        TableState::Streaming => pb::TableState::Streaming,
        TableState::Blocked => pb::TableState::Blocked,
    };
    let copy = |number: fn(&CopyNumbers) -> u64| table.copy.as_ref().map_or(0, number);
    pb::TableStatus {
        table_name: table.name.to_string(),
        target: table.target.clone(),
        state: state.into(),
        rows_inserted: table.inserted,
        rows_updated: table.updated,
        rows_deleted: table.deleted,
        truncates: table.truncates,
        loads: table.loads,
        rows_loaded: table.rows_loaded,
        durable_lsn: lsn(table.durable_lsn),
        last_load: moment(table.last_load_micros),
        snapshot_chunks_total: copy(|copy| copy.chunks_total),
        snapshot_chunks_done: copy(|copy| copy.chunks_done),
        snapshot_rows_synced: copy(|copy| copy.rows),
        snapshot_bytes_synced: copy(|copy| copy.bytes),
        snapshot_permille: table.copy.map_or(0, |copy| copy.permille),
        snapshot_rows_per_second: copy(|copy| copy.rows_per_second),
        snapshot_bytes_per_second: copy(|copy| copy.bytes_per_second),
        snapshot_seconds_left: table.copy.and_then(|copy| copy.left).map(|left| left.as_secs()),
        snapshot_repairs_waiting: copy(|copy| copy.repairs),
        values_changed: table.values_changed.iter().map(values_changed).collect(),
    }
}

fn values_changed((&(class, policy), &values): (&(&str, &str), &u64)) -> pb::ValuesChanged {
    pb::ValuesChanged { class: class.to_owned(), policy: policy.to_owned(), values }
}

fn lsn(lsn: Lsn) -> Option<pb::Lsn> {
    (lsn != Lsn::INVALID).then(|| pb::Lsn { text: lsn.to_string(), value: lsn.0 })
}

fn moment(micros: u64) -> Option<Timestamp> {
    (micros > 0).then(|| timestamp(UNIX_EPOCH + Duration::from_micros(micros)))
}

fn timestamp(time: SystemTime) -> Timestamp {
    // A clock set before 1970 is shown as 1970.
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp { seconds: since.as_secs() as i64, nanos: since.subsec_nanos() as i32 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::grpc::board::tests::{quiet, sample};
    use crate::grpc::health::tests::{reason as active, table as named};

    #[test]
    fn one_word_says_where_it_stands() {
        use pb::PipelineState as P;
        let slot_lost = || vec![active("SLOT_LOST", Class::Resync, "p_slot")];
        let table_waits = || vec![active("VALUE_TOO_LONG", Class::Wait, "shop.orders")];
        let retrying = || vec![active("SINK_DOWN", Class::Retry, "")];
        // name, stage, paused, reasons, want
        let cases = [
            ("just started", Stage::Init, false, vec![], P::Starting),
            ("first checks", Stage::Setup, false, vec![], P::Checking),
            ("a check that passes by itself", Stage::Setup, false, retrying(), P::Checking),
            ("a failed check", Stage::Setup, false, slot_lost(), P::Blocked),
            ("a table's failed check", Stage::Setup, false, table_waits(), P::Blocked),
            ("copying", Stage::Snapshot, false, vec![], P::Snapshotting),
            ("flowing", Stage::Cdc, false, vec![], P::Streaming),
            ("flowing while one table waits", Stage::Cdc, false, table_waits(), P::Streaming),
            ("flowing while the sink is tried again", Stage::Cdc, false, retrying(), P::Streaming),
            ("paused", Stage::Cdc, true, vec![], P::Paused),
            ("paused and blocked", Stage::Cdc, true, slot_lost(), P::Blocked),
            ("draining, whatever else", Stage::Draining, true, slot_lost(), P::Draining),
            ("over", Stage::Stopped, false, vec![], P::Stopped),
        ];
        for (name, stage, paused, reasons, want) in cases {
            let snapshot = Snapshot { stage, paused, reasons, tables: vec![named("shop", "orders")], ..quiet() };
            assert_eq!(state(&snapshot), want, "{name}");
        }
    }

    #[test]
    fn the_most_urgent_reason_comes_first() {
        let reasons_in = vec![
            active("SINK_DOWN", Class::Retry, ""),
            active("SLOT_LOST", Class::Resync, "p_slot"),
            active("VALUE_TOO_LONG", Class::Wait, "shop.orders"),
        ];
        let told = reasons(&Snapshot { reasons: reasons_in, ..quiet() });
        let codes: Vec<_> = told.iter().map(|reason| reason.code.as_str()).collect();
        assert_eq!(codes, ["SLOT_LOST", "VALUE_TOO_LONG", "SINK_DOWN"]);
    }

    #[test]
    fn what_never_happened_is_absent() {
        let told = status(&sample(Snapshot { received_lsn: Lsn(0x16_B374_D848), ..quiet() }));
        let want = pb::Lsn { text: "16/B374D848".to_owned(), value: 0x16_B374_D848 };
        assert_eq!((told.current_lsn, told.durable_lsn, told.slot), (Some(want), None, None));
        assert_eq!(told.source.and_then(|source| source.last_contact), None);
    }
}
