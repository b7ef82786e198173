//! The control surface from the outside: an in-process server with an engine of the test's making.

use std::net::SocketAddr;
use std::time::Duration;

use sluicegate::engine::Refusal;
use sluicegate::grpc::client::{self, Client, ClientError, Health};
use sluicegate::grpc::{Listeners, pb};
use sluicegate::model::{Class, Reason, Stage, TableState};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tonic::Code;

mod calls;
mod foreign;
mod http;
mod running;

use running::{Running, TIME_LIMIT, options};

#[tokio::test]
async fn a_taken_port_is_named_with_its_setting() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let addr = taken.local_addr().expect("its address");
    let free: SocketAddr = "127.0.0.1:0".parse().expect("an address");
    for (grpc, http, variable) in [(addr, None, "GRPC_ADDR"), (free, Some(addr), "METRICS_ADDR")] {
        let mut options = options();
        (options.grpc_addr, options.http_addr) = (grpc, http);
        let error = Listeners::bind(&options).await.expect_err("the port is taken");
        assert_eq!(error.to_string(), format!("cannot listen on {addr} ({variable})"));
    }
}

#[tokio::test]
async fn answers_from_the_first_second_and_after_a_failed_setup() {
    let server = Running::start().await;
    let mut client = server.client().await;
    let status = client.status().await.expect("a status in stage INIT");
    assert_eq!((status.stage(), status.state()), (pb::Stage::Init, pb::PipelineState::Starting));
    assert_eq!(client.health("startup").await.expect("an answer"), Health::Serving);
    assert_eq!(client.health("replication").await.expect("an answer"), Health::NotServing);

    server.meters.engine.stage(Stage::Setup, "checking the slot");
    let reason = Reason::new("SLOT_LOST", Class::Resync, "app_slot", "the slot is lost", "copy the tables again")
        .with_sql("SELECT 1");
    server.meters.engine.raise(reason);
    let status = client.status().await.expect("a status after a failed set-up");
    assert_eq!((status.stage(), status.state()), (pb::Stage::Setup, pb::PipelineState::Blocked));
    let [reason] = &status.reasons[..] else { panic!("one reason, not {:?}", status.reasons) };
    let seen = (reason.code.as_str(), reason.class(), reason.object.as_str(), reason.sql.as_str(), reason.count);
    assert_eq!(seen, ("SLOT_LOST", pb::ReasonClass::Resync, "app_slot", "SELECT 1", 1));
    assert!(reason.first_seen.is_some() && reason.last_seen.is_some());
    assert_eq!(client.health("liveness").await.expect("an answer"), Health::Serving, "waiting is not dying");

    let mut health = pb::health_service_client::HealthServiceClient::new(server.channel().await);
    let request = pb::CheckRequest { service: "replication".to_owned() };
    let answer = health.check(request).await.expect("an answer").into_inner();
    let seen = (answer.status(), answer.stage(), answer.stage_detail.as_str(), answer.error_detail.as_str());
    let why = "SLOT_LOST (app_slot): the slot is lost";
    assert_eq!(seen, (pb::ServingStatus::NotServing, pb::Stage::Setup, "checking the slot", why));
    server.end().await;
}

#[tokio::test]
async fn the_status_shows_what_the_meters_say() {
    let server = Running::start().await;
    server.stream_one_table();
    let status = server.client().await.status().await.expect("a status");
    assert_eq!(status.state(), pb::PipelineState::Streaming);
    let text = |lsn: &Option<pb::Lsn>| lsn.as_ref().map_or(String::new(), |lsn| lsn.text.clone());
    assert_eq!(
        [&status.current_lsn, &status.server_lsn, &status.durable_lsn, &status.checkpoint_lsn, &status.confirmed_lsn]
            .map(text),
        ["0/1000", "0/1400", "0/C00", "0/800", "0/400"],
    );
    let lag = status.lag.expect("a lag");
    assert_eq!((lag.received_bytes, lag.durable_bytes, lag.confirmed_bytes), (0x400, 0x800, 0x1000));
    let seen = (status.rows_received, status.rows_durable, status.pending_events, status.slot_name.as_str());
    assert_eq!(seen, (7, 4, 3, "app_slot"));
    let [table] = &status.tables[..] else { panic!("one table, not {:?}", status.tables) };
    let seen = (table.table_name.as_str(), table.state(), table.rows_inserted, table.rows_updated, table.rows_loaded);
    assert_eq!(seen, ("shop.orders", pb::TableState::Streaming, 4, 2, 5));
    let slot = status.slot.expect("a slot");
    assert_eq!((slot.wal_status.as_str(), slot.retained_bytes, slot.safe_bytes), ("reserved", 4096, Some(1 << 20)));
    let metrics = server.client().await.metrics().await.expect("metrics");
    let seen = (metrics.lag_bytes, metrics.lag_events, metrics.total_events_processed, metrics.total_batches_sent);
    assert_eq!(seen, (0x800, 3, 4, 1));
    server.end().await;
}

#[tokio::test]
async fn health_is_pushed_when_it_changes() {
    use tonic_health::pb::HealthCheckRequest;
    use tonic_health::pb::health_check_response::ServingStatus::{self, NotServing, ServiceUnknown, Serving};
    use tonic_health::pb::health_client::HealthClient;

    let server = Running::start().await;
    let mut health = HealthClient::new(server.channel().await);
    let mut watch = async |service: &str| {
        let request = HealthCheckRequest { service: service.to_owned() };
        health.watch(request).await.expect("a stream").into_inner()
    };
    let mut table = watch("table/shop.orders").await;
    let mut source = watch("source").await;
    let mut startup = watch("startup").await;
    let next = async |stream: &mut tonic::Streaming<tonic_health::pb::HealthCheckResponse>| -> ServingStatus {
        let message = tokio::time::timeout(TIME_LIMIT, stream.message()).await.expect("a message in time");
        message.expect("the stream goes on").expect("the stream goes on").status()
    };
    assert_eq!(
        (next(&mut table).await, next(&mut source).await, next(&mut startup).await),
        (ServiceUnknown, NotServing, Serving)
    );
    server.stream_one_table();
    assert_eq!((next(&mut table).await, next(&mut source).await), (Serving, Serving));
    server.orders().state(TableState::Blocked);
    server.meters.source.connected(false);
    assert_eq!((next(&mut table).await, next(&mut source).await), (NotServing, NotServing));

    let error = health.check(HealthCheckRequest { service: "nonsense".to_owned() }).await.expect_err("no such name");
    assert_eq!(error.code(), Code::NotFound);
    server.end().await;
    let ended = tokio::time::timeout(TIME_LIMIT, startup.message()).await.expect("an end in time");
    assert!(ended.expect("ends with OK").is_none(), "nothing but the end comes after the last change");
}

#[tokio::test]
async fn watched_status_comes_at_once_on_change_and_ends_with_the_server() {
    let server = Running::start().await;
    let mut watch = server.client().await.watch_status(Duration::from_secs(60)).await.expect("a stream");
    let next = async |watch: &mut client::StatusWatch| {
        tokio::time::timeout(TIME_LIMIT, watch.next()).await.expect("a message in time").expect("no error")
    };
    let first = next(&mut watch).await.expect("a status at once");
    assert_eq!(first.stage(), pb::Stage::Init);
    // With a minute's interval, what comes in time came because of the change.
    server.meters.engine.stage(Stage::Setup, "checking");
    let second = next(&mut watch).await.expect("a status on change");
    assert_eq!(second.stage(), pb::Stage::Setup);
    server.end().await;
    assert!(next(&mut watch).await.is_none(), "the stream ends with OK");
}

#[tokio::test]
async fn streamed_metrics_come_at_their_interval_and_end_with_the_server() {
    let server = Running::start().await;
    let mut metrics = pb::metrics_service_client::MetricsServiceClient::new(server.channel().await);
    let request = pb::StreamMetricsRequest { interval_ms: 100 };
    let mut stream = metrics.stream_metrics(request).await.expect("a stream").into_inner();
    for _ in 0..3 {
        let message = tokio::time::timeout(TIME_LIMIT, stream.message()).await.expect("a message in time");
        let metrics = message.expect("no error").expect("the stream goes on").metrics.expect("metrics");
        assert!(metrics.timestamp.is_some() && metrics.memory_budget_bytes > 0, "{metrics:?}");
    }
    server.end().await;
    let end = async { while stream.message().await.expect("the stream ends with OK").is_some() {} };
    tokio::time::timeout(TIME_LIMIT, end).await.expect("an end in time");
}

#[tokio::test]
async fn one_command_after_the_other_from_our_own_client() {
    let server = Running::start().await;
    server.meters.engine.stage(Stage::Cdc, "streaming");
    let mut client = server.client().await;
    let changed = |accepted: Result<client::Accepted, ClientError>| accepted.map(|a| (a.changed, a.generation));
    assert_eq!(changed(client.pause().await).expect("accepted"), (true, 1));
    assert_eq!(changed(client.pause().await).expect("accepted"), (false, 1));
    assert_eq!(client.status().await.expect("a status").state(), pb::PipelineState::Paused);
    assert_eq!(changed(client.resume().await).expect("accepted"), (true, 2));
    assert_eq!(changed(client.start_snapshot(vec!["shop.orders".into()]).await).expect("accepted"), (true, 3));
    assert_eq!(changed(client.pause_snapshot().await).expect("accepted"), (true, 4));
    assert_eq!(changed(client.resume_snapshot().await).expect("accepted"), (true, 5));
    assert_eq!(changed(client.cancel_snapshot(Vec::new()).await).expect("accepted"), (true, 6));
    server.refuse_next(Refusal::UnknownTable { table: "shop.nothing".to_owned() });
    let refused = client.start_snapshot(vec!["shop.nothing".into()]).await.expect_err("there is no such table");
    assert!(matches!(&refused, ClientError::Refused { code, .. } if code == "UNKNOWN_TABLE"), "{refused:?}");
    assert_eq!(changed(client.drain_and_stop().await).expect("accepted"), (true, 7));
    server.refuse_next(Refusal::TooLate { command: "stop", stage: Stage::Draining });
    let refused = client.stop().await.expect_err("it is too late");
    assert!(matches!(&refused, ClientError::Refused { code, .. } if code == "TOO_LATE"), "{refused:?}");
    server.end().await;
}

#[tokio::test]
async fn nobody_there_is_told_within_a_second() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let addr = listener.local_addr().expect("its address");
    drop(listener);
    let error = client::connect(addr).await.expect_err("nobody listens");
    assert_eq!(error.to_string(), format!("no sluicegate answers at {addr}"));
}

#[tokio::test]
async fn garbage_and_crowds_do_not_hurt_others() {
    let server = Running::start().await;
    let garbage: [&[u8]; 4] = [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff",
        &[0; 4096],
    ];
    for addr in [server.grpc, server.http] {
        for bytes in garbage {
            let mut stream = TcpStream::connect(addr).await.expect("a connection");
            // The server may close before all is written.
            let _ = stream.write_all(bytes).await;
            let _ = stream.shutdown().await;
            let mut answer = Vec::new();
            let _ = tokio::time::timeout(TIME_LIMIT, stream.read_to_end(&mut answer)).await.expect("an end in time");
        }
    }
    let mut earlier: Client = server.client().await;
    let mut crowd = Vec::new();
    for _ in 0..300 {
        crowd.push(TcpStream::connect(server.grpc).await.expect("the system takes the connection"));
    }
    // One beyond the limit is closed, and who was there before is served.
    let mut last = crowd.pop().expect("a connection");
    let read = tokio::time::timeout(TIME_LIMIT, last.read(&mut [0; 16])).await.expect("an end in time");
    assert!(matches!(read, Ok(0) | Err(_)), "the last of the crowd read {read:?}");
    assert_eq!(earlier.health("").await.expect("an answer"), Health::Serving);
    server.end().await;
}

#[tokio::test]
async fn a_request_without_end_is_refused() {
    let server = Running::start().await;
    let mut control = pb::control_service_client::ControlServiceClient::new(server.channel().await);
    let request = pb::ReloadConfigRequest { tables: vec!["x".repeat(1 << 20)], ..Default::default() };
    let error = control.reload_config(request).await.expect_err("a megabyte is too much");
    assert_eq!(error.code(), Code::ResourceExhausted, "{error:?}");
    assert_eq!(server.commands(), []);
    server.end().await;
}

#[tokio::test]
async fn clients_that_stay_do_not_hold_up_the_end() {
    let server = Running::start().await;
    let idle = TcpStream::connect(server.grpc).await.expect("a connection");
    let mut watch = server.client().await.watch_status(Duration::from_secs(1)).await.expect("a stream");
    assert!(watch.next().await.expect("a status").is_some());
    // Not read any further, not closed.
    server.end().await;
    drop((idle, watch));
}
