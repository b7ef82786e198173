//! The HTTP side: probes and metrics.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::path::Path;

use prost::Message;
use sluicegate::grpc::pb;
use sluicegate::model::{Class, Reason, Stage};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::running::{Running, TIME_LIMIT};

struct Answer {
    code: u16,
    headers: String,
    body: String,
}

async fn ask(server: &Running, method: &str, path: &str) -> Answer {
    let mut stream = TcpStream::connect(server.http).await.expect("a connection");
    let request = format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n");
    stream.write_all(request.as_bytes()).await.expect("the request is taken");
    let mut whole = String::new();
    // The server closes after one answer.
    let read = tokio::time::timeout(TIME_LIMIT, stream.read_to_string(&mut whole)).await.expect("an end in time");
    read.expect("a text");
    let (headers, body) = whole.split_once("\r\n\r\n").expect("headers and a body");
    let code = headers.split(' ').nth(1).and_then(|code| code.parse().ok()).expect("a status code");
    Answer { code, headers: headers.to_ascii_lowercase(), body: body.to_owned() }
}

#[tokio::test]
async fn probes_answer_with_a_code_and_one_line() {
    let server = Running::start().await;
    let cases = [
        ("GET", "/livez", 200, "ok\n"),
        ("GET", "/readyz", 200, "ok\n"),
        ("GET", "/replz", 503, "the stage is INIT\n"),
        ("GET", "/", 404, "not found; there are /metrics, /livez, /readyz, /replz\n"),
        ("GET", "/livez/x", 404, "not found; there are /metrics, /livez, /readyz, /replz\n"),
        ("POST", "/livez", 405, "only GET is answered here\n"),
        ("DELETE", "/metrics", 405, "only GET is answered here\n"),
    ];
    for (method, path, code, body) in cases {
        let answer = ask(&server, method, path).await;
        assert_eq!((answer.code, answer.body.as_str()), (code, body), "{method} {path}");
    }
    server.stream_one_table();
    server.meters.engine.raise(Reason::new("SLOT_LOST", Class::Resync, "app_slot", "gone\nfor ever", "copy again"));
    let answer = ask(&server, "GET", "/replz").await;
    assert_eq!((answer.code, answer.body.as_str()), (503, "SLOT_LOST (app_slot): gone for ever\n"));
    server.meters.engine.stage(Stage::Stopped, "");
    let answer = ask(&server, "GET", "/readyz").await;
    assert_eq!((answer.code, answer.body.as_str()), (503, "the engine has ended\n"));
    server.end().await;
}

/// Samples by name and labels as written, from a text that keeps to OpenMetrics: every family is described before its
/// samples and only once, counters end in `_total`, no sample comes twice, the end is marked.
fn parse(text: &str) -> HashMap<String, f64> {
    let mut samples = HashMap::new();
    let (mut families, mut family, mut kind) = (HashSet::new(), "", "");
    let body = text.strip_suffix("# EOF\n").expect("the end is marked");
    for line in body.lines() {
        if let Some(help) = line.strip_prefix("# HELP ") {
            let (name, help) = help.split_once(' ').expect("a help text");
            assert!(families.insert(name) && help.ends_with('.'), "{line}");
            (family, kind) = (name, "");
        } else if let Some(of) = line.strip_prefix("# TYPE ") {
            let (name, is) = of.split_once(' ').expect("a type");
            assert!(name == family && ["gauge", "counter", "info"].contains(&is), "{line}");
            kind = is;
        } else {
            let (series, value) = line.rsplit_once(' ').unwrap_or_else(|| panic!("no value: {line}"));
            let name = series.split_once('{').map_or(series, |(name, labels)| {
                let well = labels.ends_with("\"}") && labels.matches("=\"").count() == labels.split("\",").count();
                assert!(well, "labels: {line}");
                name
            });
            let suffix = match kind {
                "counter" => "_total",
                "info" => "_info",
                _ => "",
            };
            assert_eq!(name.strip_suffix(suffix), Some(family), "{line}");
            let value: f64 = value.parse().unwrap_or_else(|_| panic!("not a number: {line}"));
            assert!(value.is_finite() && samples.insert(series.to_owned(), value).is_none(), "{line}");
        }
    }
    samples
}

#[tokio::test]
async fn metrics_are_what_prometheus_reads() {
    let server = Running::start().await;
    let at_start = parse(&ask(&server, "GET", "/metrics").await.body);
    assert_eq!(at_start.get("sluicegate_state{state=\"starting\"}"), Some(&1.0), "{at_start:?}");
    assert!(!at_start.contains_key("sluicegate_slot_active"), "not known yet, so not told");

    server.stream_one_table();
    server.meters.engine.raise(Reason::new("VALUE_TOO_LONG", Class::Wait, "shop.orders", "it is", "shorten it"));
    server.meters.engine.raise(Reason::new("SINK_DOWN", Class::Retry, "", "it is", "wait"));
    let answer = ask(&server, "GET", "/metrics").await;
    assert_eq!(answer.code, 200);
    let kind = "content-type: application/openmetrics-text; version=1.0.0; charset=utf-8";
    assert!(answer.headers.contains(kind), "{}", answer.headers);
    let samples = parse(&answer.body);
    let want = [
        ("sluicegate_build_info{version=\"0.1.0\"}", 1.0),
        ("sluicegate_state{state=\"streaming\"}", 1.0),
        ("sluicegate_state{state=\"blocked\"}", 0.0),
        ("sluicegate_health{component=\"liveness\",status=\"serving\"}", 1.0),
        ("sluicegate_health{component=\"source\",status=\"not_serving\"}", 0.0),
        ("sluicegate_blocked{code=\"VALUE_TOO_LONG\"}", 1.0),
        ("sluicegate_lag_bytes{stage=\"received\"}", 1024.0),
        ("sluicegate_lag_bytes{stage=\"durable\"}", 2048.0),
        ("sluicegate_lag_bytes{stage=\"acked\"}", 4096.0),
        ("sluicegate_last_commit_timestamp_seconds", 1.7e9),
        ("sluicegate_slot_retained_bytes", 4096.0),
        ("sluicegate_slot_safe_bytes", 1_048_576.0),
        ("sluicegate_slot_wal_status{status=\"reserved\"}", 1.0),
        ("sluicegate_slot_wal_status{status=\"lost\"}", 0.0),
        ("sluicegate_pending_rows", 3.0),
        ("sluicegate_bytes_received_total", 500.0),
        ("sluicegate_loads_total{result=\"accepted\"}", 1.0),
        ("sluicegate_rows_received_total{table=\"shop.orders\",op=\"insert\"}", 4.0),
        ("sluicegate_rows_loaded_total{table=\"shop.orders\"}", 5.0),
        ("sluicegate_values_changed_total{table=\"shop.orders\",class=\"date_range\",policy=\"null\"}", 2.0),
        ("sluicegate_tables{state=\"streaming\"}", 1.0),
        ("sluicegate_memory_budget_bytes", 67_108_864.0),
    ];
    for (series, value) in want {
        assert_eq!(samples.get(series), Some(&value), "{series} in {samples:#?}");
    }
    assert!(!samples.contains_key("sluicegate_blocked{code=\"SINK_DOWN\"}"), "that passes by itself");
    for series in ["process_resident_memory_bytes", "process_open_fds", "process_start_time_seconds"] {
        assert!(samples.get(series).is_some_and(|value| *value > 0.0), "{series} in {samples:#?}");
    }
    server.end().await;
}

/// Names in code quotes in docs/control.md that `is` accepts.
fn documented(is: impl Fn(&str) -> bool) -> BTreeSet<String> {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/control.md");
    let text = std::fs::read_to_string(page).expect("the reference page");
    text.split('`').filter(|name| is(name)).map(str::to_owned).collect()
}

#[tokio::test]
async fn the_reference_page_names_every_metric() {
    let server = Running::start().await;
    server.stream_one_table();
    server.meters.engine.raise(Reason::new("VALUE_TOO_LONG", Class::Wait, "shop.orders", "it is", "shorten it"));
    let samples = parse(&ask(&server, "GET", "/metrics").await.body);
    let told: BTreeSet<_> = samples.keys().filter_map(|series| series.split('{').next()).map(str::to_owned).collect();
    let metric = |name: &str| {
        (name.starts_with("sluicegate_") || name.starts_with("process_"))
            && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_')
    };
    assert_eq!(documented(metric), told);
    server.end().await;
}

#[test]
fn the_reference_page_names_every_rpc() {
    let files = prost_types::FileDescriptorSet::decode(pb::DESCRIPTORS).expect("descriptors").file;
    let services = files.iter().flat_map(|file| &file.service);
    let rpcs: BTreeSet<_> = services
        .flat_map(|service| service.method.iter().map(|rpc| format!("{}.{}", service.name(), rpc.name())))
        .collect();
    let rpc = |name: &str| name.split_once("Service.").is_some_and(|(_, rpc)| rpc.chars().all(char::is_alphabetic));
    assert_eq!(documented(rpc), rpcs);
}
