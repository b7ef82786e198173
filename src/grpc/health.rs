//! Which names are healthy and why not.
//!
//! In: samples. Out: the standard `grpc.health.v1` service (Check and Watch) and our own with words. Always: both give
//! the same answer for the same name. Start at [`answer`].

use std::time::{Duration, UNIX_EPOCH};

use tonic::{Request, Response, Status};
use tonic_health::pb::health_check_response::ServingStatus as Standard;
use tonic_health::pb::health_server::Health as StandardHealth;
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse};

use super::board::{Board, Sample};
use super::feed::{Feed, Pace, feed};
use super::pb;
use super::pb::health_service_server::HealthService;
use super::translate;
use crate::model::{Class, Stage, TableState};
use crate::status::{ActiveReason, Snapshot};

/// Age at which the engine's heartbeat counts as stopped.
const HEARTBEAT_AGE_MAX: Duration = Duration::from_secs(10);
/// Time between two looks at what depends on time alone.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Names that are always known, in the order they are documented.
pub(super) const COMPONENTS: [&str; 6] = ["liveness", "startup", "control", "replication", "source", "sink"];

/// Why something is not healthy; `Ok` if it is.
pub(super) type Answer = Result<(), String>;

/// The answer for a name; `None` if there is no such name.
pub(super) fn answer(sample: &Sample, name: &str, lag_max: Duration) -> Option<Answer> {
    let s = &sample.snapshot;
    match name {
        "" | "liveness" => Some(liveness(s)),
        // Settings are read before the server starts, so whoever gets an answer gets this one.
        "startup" => Some(Ok(())),
        "control" => Some(control(s)),
        "replication" => Some(replication(sample, lag_max)),
        "source" => Some(healthy(s.source_connected, "the replication stream is not up")),
        "sink" => Some(healthy(s.sink_reachable, "the target did not answer when last asked")),
        _ => table(s, name.strip_prefix("table/")?),
    }
}

fn healthy(is: bool, why_not: &str) -> Answer {
    if is { Ok(()) } else { Err(why_not.to_owned()) }
}

fn liveness(s: &Snapshot) -> Answer {
    // Before the first heartbeat the start of the process stands in for it.
    let beat = (UNIX_EPOCH + Duration::from_micros(s.heartbeat_micros)).max(s.started_at);
    let age = s.taken_at.duration_since(beat).unwrap_or_default();
    if age < HEARTBEAT_AGE_MAX {
        Ok(())
    } else {
        Err(format!("the engine's last heartbeat is {} s old", age.as_secs()))
    }
}

fn control(s: &Snapshot) -> Answer {
    healthy(s.stage != Stage::Stopped, "the engine has ended").and_then(|()| liveness(s))
}

fn replication(sample: &Sample, lag_max: Duration) -> Answer {
    let s = &sample.snapshot;
    if let Some(active) = blocked_by(s) {
        return Err(line(active));
    }
    match s.stage {
        Stage::Snapshot | Stage::Cdc => {}
        other => return Err(format!("the stage is {}", other.name())),
    }
    let lag = sample.lag.seconds;
    if lag <= lag_max.as_secs_f64() {
        return Ok(());
    }
    Err(format!("the lag is {lag:.0} s; {} s are allowed", lag_max.as_secs_f64()))
}

fn table(s: &Snapshot, name: &str) -> Option<Answer> {
    let table = s.tables.iter().find(|table| table.name.to_string() == name)?;
    if table.state == TableState::Streaming {
        return Some(Ok(()));
    }
    let why = s.reasons.iter().find(|active| active.reason.object == name).map(line);
    Some(Err(why.unwrap_or_else(|| format!("the table's state is {}", table.state.name()))))
}

/// The most urgent reason for which the whole waits for a person. A reason about one table blocks only that table,
/// except during set-up, which does not pass without it.
pub(super) fn blocked_by(s: &Snapshot) -> Option<&ActiveReason> {
    let whole =
        |object: &str| s.stage == Stage::Setup || !s.tables.iter().any(|table| table.name.to_string() == object);
    s.reasons
        .iter()
        .filter(|active| matches!(active.reason.class, Class::Wait | Class::Resync) && whole(&active.reason.object))
        .max_by_key(|active| translate::urgency(active.reason.class))
}

/// One line on a reason.
fn line(active: &ActiveReason) -> String {
    match active.reason.object.as_str() {
        "" => active.reason.to_string(),
        object => format!("{} ({object}): {}", active.reason.code, active.reason.message),
    }
}

/// Both health services.
#[derive(Clone, Debug)]
pub(super) struct Health {
    board: Board,
    lag_max: Duration,
}

impl Health {
    /// Health of what the board shows.
    pub(super) fn new(board: Board, lag_max: Duration) -> Health {
        Health { board, lag_max }
    }

    /// The answer now.
    pub(super) fn answer(&self, name: &str) -> Option<Answer> {
        answer(&self.board.now(), name, self.lag_max)
    }
}

fn unknown(name: &str) -> Status {
    Status::not_found(format!("no health name {name:?}; known are {}, table/<schema>.<name>", COMPONENTS.join(", ")))
}

#[tonic::async_trait]
impl StandardHealth for Health {
    type WatchStream = Feed<HealthCheckResponse>;

    async fn check(&self, request: Request<HealthCheckRequest>) -> Result<Response<HealthCheckResponse>, Status> {
        let name = request.into_inner().service;
        let answer = self.answer(&name).ok_or_else(|| unknown(&name))?;
        Ok(Response::new(HealthCheckResponse { status: standard(Some(answer)).into() }))
    }

    async fn watch(&self, request: Request<HealthCheckRequest>) -> Result<Response<Self::WatchStream>, Status> {
        let name = request.into_inner().service;
        let lag_max = self.lag_max;
        let mut told = None;
        // Only transitions are sent; a name that is not known may become so.
        let tell = move |sample: &Sample| {
            let status = standard(answer(sample, &name, lag_max));
            (told.replace(status) != Some(status)).then(|| HealthCheckResponse { status: status.into() })
        };
        let pace = Pace { every: LOOK_EVERY, on_change: true };
        Ok(Response::new(feed(self.board.clone(), pace, tell)))
    }
}

fn standard(answer: Option<Answer>) -> Standard {
    match answer {
        Some(Ok(())) => Standard::Serving,
        Some(Err(_)) => Standard::NotServing,
        None => Standard::ServiceUnknown,
    }
}

#[tonic::async_trait]
impl HealthService for Health {
    async fn check(&self, request: Request<pb::CheckRequest>) -> Result<Response<pb::CheckResponse>, Status> {
        let name = request.into_inner().service;
        let sample = self.board.now();
        let answer = answer(&sample, &name, self.lag_max).ok_or_else(|| unknown(&name))?;
        let s = &sample.snapshot;
        let most_urgent = s.reasons.iter().max_by_key(|active| translate::urgency(active.reason.class));
        let (status, error_detail) = match answer {
            Ok(()) => (pb::ServingStatus::Serving, most_urgent.map(line).unwrap_or_default()),
            Err(why) => (pb::ServingStatus::NotServing, why),
        };
        Ok(Response::new(pb::CheckResponse {
            status: status.into(),
            stage: translate::stage(s.stage).into(),
            stage_detail: s.stage_detail.clone(),
            error_detail,
            reasons: translate::reasons(s),
        }))
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::time::SystemTime;

    use super::*;
    use crate::grpc::board::tests::{quiet, sample};
    use crate::grpc::lag::Lag;
    use crate::model::{Lsn, Reason, TableName};
    use crate::status::{TableSnapshot, ValuesChanged};

    pub(in crate::grpc) fn reason(code: &'static str, class: Class, object: &str) -> ActiveReason {
        let (first_seen, last_seen) = (UNIX_EPOCH, UNIX_EPOCH);
        let reason = Reason::new(code, class, object, "it is so", "change it");
        ActiveReason { reason, first_seen, last_seen, count: 1 }
    }

    pub(in crate::grpc) fn table(schema: &str, name: &str) -> TableSnapshot {
        TableSnapshot {
            name: TableName { schema: schema.to_owned(), name: name.to_owned() },
            target: name.to_owned(),
            state: TableState::Streaming,
            inserted: 0,
            updated: 0,
            deleted: 0,
            truncates: 0,
            loads: 0,
            rows_loaded: 0,
            durable_lsn: Lsn::INVALID,
            last_load_micros: 0,
            copy: None,
            values_changed: ValuesChanged::new(),
        }
    }

    fn micros(time: SystemTime) -> u64 {
        time.duration_since(UNIX_EPOCH).expect("a time after 1970").as_micros() as u64
    }

    /// Streaming with everything well; its lag is of the test's making.
    fn well() -> Snapshot {
        let now = SystemTime::now();
        Snapshot {
            taken_at: now,
            started_at: now - Duration::from_secs(3600),
            heartbeat_micros: micros(now - Duration::from_secs(1)),
            stage: Stage::Cdc,
            source_connected: true,
            sink_reachable: true,
            tables: vec![
                table("shop", "orders"),
                TableSnapshot { state: TableState::Blocked, ..table("shop", "bad") },
                TableSnapshot { state: TableState::Pending, ..table("shop", "new") },
            ],
            ..quiet()
        }
    }

    fn check(name: &str, snapshot: Snapshot, lag: f64, service: &str, want: Option<Result<(), &str>>) {
        let sample = Sample { lag: Lag { seconds: lag, ..Lag::default() }, ..sample(snapshot) };
        let got = answer(&sample, service, Duration::from_secs(60));
        assert_eq!(got, want.map(|answer| answer.map_err(str::to_owned)), "{name}: {service}");
    }

    #[test]
    fn names_have_their_meaning() {
        let frozen = || Snapshot { heartbeat_micros: micros(SystemTime::now() - Duration::from_secs(11)), ..well() };
        let young = || Snapshot { heartbeat_micros: 0, started_at: SystemTime::now(), stage: Stage::Init, ..well() };
        let dead_beat = Some(Err("the engine's last heartbeat is 11 s old"));
        let with = |active| Snapshot { reasons: vec![active], ..well() };
        let slot_lost = || reason("SLOT_LOST", Class::Resync, "p_slot");
        let table_waits = || reason("VALUE_TOO_LONG", Class::Wait, "shop.bad");
        let lost = Some(Err("SLOT_LOST (p_slot): it is so"));
        let waits = Some(Err("VALUE_TOO_LONG (shop.bad): it is so"));
        for service in ["", "liveness", "startup", "control", "replication", "source", "sink", "table/shop.orders"] {
            check("all is well", well(), 1.0, service, Some(Ok(())));
        }
        for service in ["x", "Liveness", "table", "table/", "table/orders", "table/shop.gone"] {
            check("no such name", well(), 1.0, service, None);
        }
        check("no heartbeat", frozen(), 1.0, "", dead_beat);
        check("no heartbeat", frozen(), 1.0, "liveness", dead_beat);
        check("no heartbeat", frozen(), 1.0, "control", dead_beat);
        check("no heartbeat", frozen(), 1.0, "startup", Some(Ok(())));
        check("before the first heartbeat", young(), 1.0, "liveness", Some(Ok(())));
        check("before the first heartbeat", young(), 1.0, "replication", Some(Err("the stage is INIT")));
        let ended = Snapshot { stage: Stage::Stopped, ..well() };
        check("ended", ended, 1.0, "control", Some(Err("the engine has ended")));
        check("far behind", well(), 61.0, "replication", Some(Err("the lag is 61 s; 60 s are allowed")));
        check("gap", with(slot_lost()), 1.0, "replication", lost);
        check("gap", with(slot_lost()), 1.0, "liveness", Some(Ok(())));
        check("one table waits", with(table_waits()), 1.0, "replication", Some(Ok(())));
        check("one table waits", with(table_waits()), 1.0, "table/shop.bad", waits);
        let in_setup = Snapshot { stage: Stage::Setup, ..with(table_waits()) };
        check("one table holds up the set-up", in_setup, 1.0, "replication", waits);
        let retrying = with(reason("SINK_DOWN", Class::Retry, ""));
        check("what passes by itself", retrying, 1.0, "replication", Some(Ok(())));
        check("a table not started", well(), 1.0, "table/shop.new", Some(Err("the table's state is PENDING")));
        let cut = Snapshot { source_connected: false, sink_reachable: false, ..well() };
        check("cut off", cut.clone(), 1.0, "source", Some(Err("the replication stream is not up")));
        check("cut off", cut, 1.0, "sink", Some(Err("the target did not answer when last asked")));
    }
}
