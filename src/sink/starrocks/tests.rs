//! The sink against small scripted servers: every byte on the wire is theirs to see, every fault theirs to make.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::mpsc;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::compress::Compression;
use super::options::{DeleteMode, Frontend, Options, TypeRules};
use super::policy::{Policies, Policy};
use super::sink::StarRocks;
use super::table::{self, Described, DescribedColumn};
use crate::model::{
    Budget, Column, ColumnType, Load, LoadRow, Lsn, Op, Present, Reason, RowBuilder, TableId, TableName, TableSchema,
    Value,
};
use crate::sink::{Fate, LoadError, Loaded, Sink, Ticket};
use crate::status::Status;

/// Options that reach nobody.
pub(super) fn options() -> Options {
    Options {
        frontends: vec![Frontend { https: false, host: "127.0.0.1".into(), port: 1 }],
        sql_port: 1,
        user: "root".into(),
        password: "hunter2".to_owned().into(),
        password_file: None,
        database: "shop".into(),
        create_tables: true,
        replication_num: None,
        audit_prefix: Some("sluice_".into()),
        delete_mode: DeleteMode::Soft,
        on_bad_value: Policies::all(Policy::Block),
        types: TypeRules::default(),
        load_timeout: Duration::from_secs(60),
        connect_timeout: Duration::from_secs(2),
        compression: Compression::None,
        parallelism: 4,
        redirect_allow: Vec::new(),
        redirect_map: Vec::new(),
        tls_ca: None,
        pipeline: "shop".into(),
    }
}

/// What a server does with one request.
#[derive(Clone, Debug)]
enum Act {
    /// Reads the body, answers, keeps the connection.
    Answer(String),
    /// Answers and closes without reading a body.
    AnswerAndClose(String),
    /// Answers without reading the body, then reads what comes until the other side stops.
    AnswerAndDrain(String),
    /// Reads the body, answers, closes.
    AnswerThenClose(String),
    /// Reads the body and closes without a word.
    Drop,
    /// Reads the body and waits until the other side is gone.
    Hang,
}

/// A request as it came.
#[derive(Clone, Debug, Default)]
struct Got {
    head: String,
    /// The body without its chunk headers.
    body: Vec<u8>,
    /// Whether the body came to its end.
    whole: bool,
    /// Which of the server's connections it came over.
    connection: usize,
}

impl Got {
    fn header(&self, name: &str) -> Option<&str> {
        let lines = self.head.lines().skip(1).filter_map(|line| line.split_once(':'));
        lines.filter(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim()).next()
    }
}

/// A server on a port of its own. Requests take the acts in turn; the last one stays.
#[derive(Clone)]
struct Server {
    port: u16,
    acts: Arc<Mutex<VecDeque<Act>>>,
    got: Arc<Mutex<Vec<Got>>>,
}

/// A connection, with or without TLS.
trait Wire: Read + Write + Send {
    /// Says that nothing more will come.
    fn finish(&mut self) {}
}

impl Wire for TcpStream {}

impl Wire for rustls::StreamOwned<rustls::ServerConnection, TcpStream> {
    fn finish(&mut self) {
        self.conn.send_close_notify();
    }
}

type Wrap = Arc<dyn Fn(TcpStream) -> Box<dyn Wire> + Send + Sync>;

impl Server {
    fn start(host: &str, acts: &[Act]) -> Server {
        Server::wrapped(host, acts, Arc::new(|stream| Box::new(stream)))
    }

    fn wrapped(host: &str, acts: &[Act], wrap: Wrap) -> Server {
        let listener = TcpListener::bind((host, 0)).unwrap();
        let server = Server {
            port: listener.local_addr().unwrap().port(),
            acts: Arc::new(Mutex::new(acts.iter().cloned().collect())),
            got: Arc::default(),
        };
        let shared = server.clone();
        std::thread::spawn(move || {
            for (number, stream) in listener.incoming().enumerate() {
                let (shared, wrap) = (shared.clone(), wrap.clone());
                std::thread::spawn(move || shared.serve(number, stream.unwrap(), &wrap));
            }
        });
        server
    }

    fn serve(&self, connection: usize, stream: TcpStream, wrap: &Wrap) {
        let raw = stream.try_clone().unwrap();
        let mut wire = BufReader::new(wrap(stream));
        loop {
            let mut head = String::new();
            while !head.ends_with("\r\n\r\n") {
                if wire.read_line(&mut head).unwrap_or(0) == 0 {
                    return;
                }
            }
            let act = {
                let mut acts = self.acts.lock().unwrap();
                if acts.len() > 1 { acts.pop_front().unwrap() } else { acts[0].clone() }
            };
            let mut got = Got { head, connection, ..Got::default() };
            if !matches!(act, Act::AnswerAndClose(_) | Act::AnswerAndDrain(_)) {
                read_body(&mut wire, &mut got);
            }
            self.got.lock().unwrap().push(got);
            match act {
                Act::Answer(text) => wire.get_mut().write_all(text.as_bytes()).unwrap(),
                Act::AnswerAndClose(text) | Act::AnswerThenClose(text) => {
                    let _ = wire.get_mut().write_all(text.as_bytes());
                    wire.get_mut().finish();
                    let _ = wire.get_mut().flush();
                    let _ = raw.shutdown(Shutdown::Write);
                    return;
                }
                Act::AnswerAndDrain(text) => {
                    wire.get_mut().write_all(text.as_bytes()).unwrap();
                    let _ = std::io::copy(&mut wire, &mut std::io::sink());
                    return;
                }
                Act::Drop => {
                    let _ = raw.shutdown(Shutdown::Both);
                    return;
                }
                Act::Hang => {
                    let _ = wire.read(&mut [0]);
                    self.got.lock().unwrap().push(Got::default());
                    return;
                }
            }
        }
    }

    fn got(&self) -> Vec<Got> {
        self.got.lock().unwrap().clone()
    }

    fn frontend(&self) -> Frontend {
        Frontend { https: false, host: "127.0.0.1".into(), port: self.port }
    }
}

fn read_body(wire: &mut impl BufRead, got: &mut Got) {
    if got.header("transfer-encoding") != Some("chunked") {
        got.whole = true;
        return;
    }
    loop {
        let mut line = String::new();
        if wire.read_line(&mut line).unwrap_or(0) == 0 {
            return;
        }
        let length = usize::from_str_radix(line.trim(), 16).unwrap();
        let mut chunk = vec![0; length + 2];
        if wire.read_exact(&mut chunk).is_err() {
            return;
        }
        got.body.extend_from_slice(&chunk[..length]);
        if length == 0 {
            got.whole = true;
            return;
        }
    }
}

fn http(status: &str, headers: &str, body: &str) -> String {
    format!("HTTP/1.1 {status}\r\n{headers}Content-Length: {}\r\n\r\n{body}", body.len())
}

/// A backend's result.
fn result(fields: &str) -> String {
    http("200 OK", "Content-Type: application/json\r\n", &format!("{{\"TxnId\": 7, {fields}}}"))
}

fn success(rows: usize) -> String {
    result(&format!(
        "\"Status\": \"Success\", \"Message\": \"OK\", \"NumberTotalRows\": {rows}, \"NumberLoadedRows\": {rows}, \
         \"NumberFilteredRows\": 0"
    ))
}

/// A frontend's redirect, which closes the connection.
fn redirect(host: &str, port: u16) -> Act {
    let location = format!("Location: http://{host}:{port}/api/shop/t/_stream_load\r\nConnection: close\r\n");
    Act::AnswerAndClose(http("307 Temporary Redirect", &location, ""))
}

fn state(state: &str) -> Act {
    let body =
        format!("{{\"state\":\"{state}\",\"reason\":\"\",\"status\":\"OK\",\"code\":\"0\",\"msg\":\"Success\"}}");
    Act::AnswerAndClose(http("200 OK", "Connection: close\r\n", &body))
}

fn schema() -> Arc<TableSchema> {
    let column = |name: &str, ty| Column { name: name.into(), ty, nullable: true };
    Arc::new(TableSchema {
        id: TableId(42),
        name: TableName { schema: "public".into(), name: "t".into() },
        target: "t".into(),
        columns: vec![column("id", ColumnType::Int32), column("note", ColumnType::Varchar { chars: Some(4) })],
        key: vec![0],
        complete: true,
    })
}

/// A sink whose table is prepared without a server.
fn sink(options: Options) -> (StarRocks, Status) {
    let (status, meters) = Status::new("shop", "slot", "publication", Budget::new(1 << 20));
    let described = Described {
        model: None,
        key: vec!["id".into()],
        columns: table::wanted(&schema(), &options)
            .into_iter()
            .map(|column| DescribedColumn { name: column.name, ty: column.ty, nullable: !column.key, filled: false })
            .collect(),
    };
    let plan = table::fitted(&schema(), &described, &options).unwrap();
    let sink = StarRocks::new(options, meters.sink).unwrap();
    sink.keep(schema(), plan);
    (sink, status)
}

fn load(rows: usize, note: impl Fn(usize) -> String) -> Load {
    let row = |n: usize| {
        let mut built = RowBuilder::with_capacity(64);
        built.push(Value::Text(n.to_string().as_bytes()));
        built.push(Value::Text(note(n).as_bytes()));
        LoadRow { op: Op::Insert, row: built.finish(), commit_lsn: Lsn(9) }
    };
    Load { schema: schema(), present: Present::All, rows: Arc::new((0..rows).map(row).collect()) }
}

fn plain(frontends: &[&Server]) -> Options {
    let frontends = frontends.iter().map(|server| server.frontend()).collect();
    Options { frontends, audit_prefix: None, ..options() }
}

/// One line for an outcome.
fn shown(outcome: Result<Loaded, LoadError>) -> String {
    match outcome {
        Ok(loaded) => format!("loaded {}", loaded.rows),
        Err(LoadError::Retry(reason)) => format!("retry {}", reason.code),
        Err(LoadError::SlowDown(reason)) => format!("slow down {}", reason.code),
        Err(LoadError::Unknown(reason)) => format!("unknown {}", reason.code),
        Err(LoadError::Refused(reason)) => format!("refused {}", reason.code),
    }
}

#[tokio::test]
async fn the_two_steps_as_the_servers_see_them() {
    let backend = Server::start("127.0.0.1", &[Act::Answer(success(2))]);
    let frontend = Server::start("127.0.0.1", &[redirect("127.0.0.1", backend.port)]);
    let (sink, status) = sink(Options { audit_prefix: Some("sluice_".into()), ..plain(&[&frontend]) });
    let ticket = sink.ticket(&schema());
    for round in 0..2 {
        assert_eq!(shown(sink.load(&ticket, &load(2, |n| format!("n{n}"))).await), "loaded 2", "round {round}");
    }
    let (asked, sent) = (frontend.got(), backend.got());
    let common = [
        ("authorization", "Basic cm9vdDpodW50ZXIy"),
        ("label", ticket.0.as_str()),
        ("format", "json"),
        ("strip_outer_array", "true"),
        ("strict_mode", "true"),
        ("max_filter_ratio", "0"),
        ("timeout", "60"),
        ("timezone", "UTC"),
    ];
    for got in [&asked[0], &sent[0]] {
        assert!(got.head.starts_with("PUT /api/shop/t/_stream_load HTTP/1.1\r\n"), "{}", got.head);
        for (name, value) in common {
            assert_eq!(got.header(name), Some(value), "{name} in {}", got.head);
        }
        assert_eq!(got.header("partial_update"), None);
    }
    assert_eq!((asked[0].header("expect"), asked[0].header("content-length")), (Some("100-continue"), Some("0")));
    assert_eq!((sent[0].header("expect"), sent[0].header("transfer-encoding")), (None, Some("chunked")));
    let body = String::from_utf8(sent[0].body.clone()).unwrap();
    assert!(body.starts_with(r#"[{"id":0,"note":"n0","sluice_op_type":0,"sluice_is_deleted":false,"#), "{body}");
    assert!(body.ends_with(r#""sluice_cdc_version":9}]"#) && sent[0].whole, "{body}");
    assert_eq!(sent[0].body, sent[1].body, "a second try of the same ticket sends the same bytes");
    assert_eq!((sent[0].connection, sent[1].connection), (0, 0), "the backend's connection is kept");
    let seen = status.snapshot();
    assert_eq!((seen.loads, seen.rows_loaded, seen.sink_reachable), (2, 4, true));
    assert_eq!(seen.bytes_loaded, 2 * sent[0].body.len() as u64);
}

#[tokio::test]
async fn a_compressed_body_is_announced_to_both_servers() {
    for (compression, name, start) in [
        (Compression::Lz4, "LZ4_FRAME", [0x04, 0x22, 0x4d, 0x18]),
        (Compression::Zstd, "ZSTD", [0x28, 0xb5, 0x2f, 0xfd]),
    ] {
        let backend = Server::start("127.0.0.1", &[Act::Answer(success(2))]);
        let frontend = Server::start("127.0.0.1", &[redirect("127.0.0.1", backend.port)]);
        let (sink, status) = sink(Options { compression, ..plain(&[&frontend]) });
        let ticket = sink.ticket(&schema());
        for _ in 0..2 {
            assert_eq!(shown(sink.load(&ticket, &load(2, |n| format!("n{n}"))).await), "loaded 2", "{name}");
        }
        let (asked, sent) = (frontend.got(), backend.got());
        for got in [&asked[0], &sent[0]] {
            assert_eq!((got.header("compression"), got.header("content-encoding")), (Some(name), None), "{}", got.head);
        }
        assert!(sent[0].body.starts_with(&start) && sent[0].whole, "{name}");
        assert_eq!(sent[0].body, sent[1].body, "a second try of the same ticket sends the same bytes");
        assert_eq!(status.snapshot().bytes_loaded, 2 * sent[0].body.len() as u64);
    }
}

#[tokio::test]
async fn what_a_frontend_says_instead_of_a_redirect() {
    let failed = |text: &str| http("200 OK", "", &format!("{{\"Status\": \"FAILED\", \"Message\": \"{text}\"}}"));
    let cases = [
        ("no backend", failed("class com.starrocks.common.DdlException: No backend alive."), "retry SINK_FAILED"),
        (
            "wrong password",
            http("401 Unauthorized", "", "{\"status\":\"FAILED\",\"msg\":\"Access denied for root@10.0.0.1\"}"),
            "refused SINK_AUTH",
        ),
        (
            "no privilege",
            http(
                "401 Unauthorized",
                "",
                "{\"status\":\"FAILED\",\"msg\":\"Access denied; you need the INSERT privilege(s) on TABLE t\"}",
            ),
            "refused SINK_PRIVILEGE",
        ),
        ("not found", http("404 Not Found", "", "<html>"), "refused SINK_HTTP"),
        ("leaving", http("503 Service Unavailable", "", ""), "retry SINK_HTTP"),
        ("empty", http("200 OK", "", ""), "retry SINK_HTTP"),
        ("cut", "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{\"Status\"".to_owned(), "retry SINK_UNREACHABLE"),
        ("noise", "\0\0\0\0".to_owned(), "retry SINK_UNREACHABLE"),
        ("huge", http("200 OK", "", &" ".repeat(1 << 20)), "retry SINK_UNREACHABLE"),
        ("redirect without an address", http("307 Temporary Redirect", "", ""), "refused SINK_REDIRECT"),
        (
            "redirect that loses the method",
            http("302 Found", "Location: http://127.0.0.1:1/\r\n", ""),
            "refused SINK_REDIRECT",
        ),
    ];
    for (name, answer, want) in cases {
        let frontend = Server::start("127.0.0.1", &[Act::AnswerAndClose(answer)]);
        let (sink, status) = sink(plain(&[&frontend]));
        let outcome = sink.load(&sink.ticket(&schema()), &load(1, |_| String::new())).await;
        assert_eq!(shown(outcome), want, "{name}");
        assert_eq!(status.snapshot().load_refusals, u64::from(want.starts_with("refused")), "{name}");
    }
}

#[tokio::test]
async fn what_a_backend_says() {
    let fail = |text: &str| result(&format!("\"Status\": \"Fail\", \"Message\": \"{text}\""));
    let exists = |job: &str| {
        result(&format!(
            "\"Status\": \"Label Already Exists\", \"ExistingJobStatus\": \"{job}\", \"Message\": \"used\""
        ))
    };
    let timed_out = result("\"Status\": \"Publish Timeout\", \"Message\": \"later\"");
    let cases = [
        ("done", Act::Answer(success(3)), None, "loaded 3"),
        ("done before", Act::Answer(exists("FINISHED")), None, "loaded 3"),
        ("still at work", Act::Answer(exists("RUNNING")), Some("PREPARE"), "unknown SINK_FATE_UNKNOWN"),
        ("done meanwhile", Act::Answer(exists("RUNNING")), Some("VISIBLE"), "loaded 3"),
        ("visible soon", Act::Answer(timed_out.clone()), Some("COMMITTED"), "loaded 3"),
        ("not visible after all", Act::Answer(timed_out), Some("ABORTED"), "unknown SINK_FATE_UNKNOWN"),
        (
            "overloaded",
            Act::Answer(fail("because of too many versions, current/limit: 1001/1000")),
            None,
            "slow down SINK_BUSY",
        ),
        ("passing", Act::Answer(fail("close index channel failed")), None, "retry SINK_FAILED"),
        ("for good", Act::Answer(fail("primary key size exceed the limit.")), None, "refused VALUE_KEY_TOO_LONG"),
        ("fewer rows", Act::Answer(success(2)), None, "refused SINK_FILTERED_ROWS"),
        ("no answer", Act::Drop, None, "unknown SINK_FATE_UNKNOWN"),
        ("gateway", Act::Answer(http("502 Bad Gateway", "", "<html>")), Some("UNKNOWN"), "unknown SINK_FATE_UNKNOWN"),
        (
            "cut answer",
            Act::AnswerThenClose("HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{".into()),
            None,
            "unknown SINK_FATE_UNKNOWN",
        ),
        ("unauthorized", Act::AnswerThenClose(http("401 Unauthorized", "", "")), None, "refused SINK_AUTH"),
    ];
    for (name, act, label_state, want) in cases {
        let backend = Server::start("127.0.0.1", &[act]);
        let acts = [redirect("localhost", backend.port), label_state.map_or(Act::Drop, state)];
        let frontend = Server::start("127.0.0.1", &acts);
        let (sink, _) = sink(plain(&[&frontend]));
        let ticket = sink.ticket(&schema());
        assert_eq!(shown(sink.load(&ticket, &load(3, |_| String::new())).await), want, "{name}");
        let asked = frontend.got();
        assert_eq!(asked.len(), 1 + usize::from(label_state.is_some()), "{name}");
        if label_state.is_some() {
            let line = format!("GET /api/shop/get_load_state?label={} HTTP/1.1\r\n", ticket.0);
            assert!(asked[1].head.starts_with(&line), "{}", asked[1].head);
        }
    }
}

#[tokio::test]
async fn an_answer_before_the_body_is_sent_counts() {
    // More than the sockets between can hold, so that sending breaks.
    let refusal =
        result("\"Status\": \"Fail\", \"Message\": \"current running txns on db 1 is 1000, larger than limit\"");
    let backend = Server::start("127.0.0.1", &[Act::AnswerAndDrain(refusal)]);
    let frontend = Server::start("127.0.0.1", &[redirect("127.0.0.1", backend.port)]);
    let (sink, _) = sink(plain(&[&frontend]));
    let outcome = sink.load(&sink.ticket(&schema()), &load(300_000, |n| format!("{}", n % 10_000))).await;
    assert_eq!(shown(outcome), "slow down SINK_BUSY");
}

#[tokio::test]
async fn a_foreign_host_sees_nothing() {
    let stranger = Server::start("127.0.0.2", &[Act::Answer(success(1))]);
    let frontend = Server::start("127.0.0.1", &[redirect("127.0.0.2", stranger.port)]);
    let (sink, _) = sink(plain(&[&frontend]));
    let Err(LoadError::Refused(reason)) = sink.load(&sink.ticket(&schema()), &load(1, |_| String::new())).await else {
        panic!("the redirect was followed")
    };
    assert_eq!(reason.code, "SINK_REDIRECT");
    assert!(reason.message.contains("127.0.0.2") && reason.remedy.contains("SINK_REDIRECT_ALLOW"), "{reason:?}");
    assert!(stranger.got().is_empty());
}

#[tokio::test]
async fn allowed_and_mapped_hosts_are_gone_to() {
    let backend = Server::start("127.0.0.2", &[Act::Answer(success(1))]);
    for (named, allow, map) in [
        ("127.0.0.2", vec!["127.0.0.2".to_owned()], vec![]),
        ("be.inside", vec![], vec![("be.inside".to_owned(), "127.0.0.2".to_owned())]),
    ] {
        let frontend = Server::start("127.0.0.1", &[redirect(named, backend.port)]);
        let (sink, _) = sink(Options { redirect_allow: allow, redirect_map: map, ..plain(&[&frontend]) });
        let outcome = sink.load(&sink.ticket(&schema()), &load(1, |_| String::new())).await;
        assert_eq!(shown(outcome), "loaded 1", "{named}");
    }
}

#[tokio::test]
async fn redirects_end() {
    let frontend = Server::start("127.0.0.1", &[Act::Drop]);
    let around = match redirect("127.0.0.1", frontend.port) {
        Act::AnswerAndClose(text) => Act::AnswerThenClose(text),
        other => other,
    };
    *frontend.acts.lock().unwrap() = [around].into();
    let (sink, _) = sink(plain(&[&frontend]));
    let outcome = sink.load(&sink.ticket(&schema()), &load(1, |_| String::new())).await;
    assert_eq!(shown(outcome), "refused SINK_REDIRECT");
    assert_eq!(frontend.got().len(), 4, "one question and three redirects followed");
}

#[tokio::test]
async fn frontends_are_tried_in_turn_and_a_good_one_is_remembered() {
    let backend = Server::start("127.0.0.1", &[Act::Answer(success(1))]);
    let leaving = Server::start("127.0.0.1", &[Act::AnswerAndClose(http("500 Internal Server Error", "", ""))]);
    let good = Server::start("127.0.0.1", &[redirect("127.0.0.1", backend.port)]);
    let mut options = plain(&[&leaving, &good]);
    options.frontends.insert(0, Frontend { https: false, host: "127.0.0.1".into(), port: 1 });
    let (sink, _) = sink(options);
    for _ in 0..3 {
        let outcome = sink.load(&sink.ticket(&schema()), &load(1, |_| String::new())).await;
        assert_eq!(shown(outcome), "loaded 1");
    }
    assert_eq!((leaving.got().len(), good.got().len()), (1, 3));
}

#[tokio::test]
async fn nobody_there() {
    let frontend = Server::start("127.0.0.1", &[redirect("127.0.0.1", 1)]);
    for options in [options(), plain(&[&frontend])] {
        let (sink, status) = sink(Options { audit_prefix: None, ..options });
        let outcome = sink.load(&sink.ticket(&schema()), &load(1, |_| String::new())).await;
        assert_eq!(shown(outcome), "retry SINK_UNREACHABLE");
        assert!(!status.snapshot().sink_reachable);
    }
}

#[tokio::test]
async fn a_kept_connection_that_the_backend_closed_is_no_failure() {
    let backend = Server::start("127.0.0.1", &[Act::AnswerThenClose(success(1))]);
    let frontend = Server::start("127.0.0.1", &[redirect("127.0.0.1", backend.port)]);
    let (sink, _) = sink(plain(&[&frontend]));
    for _ in 0..3 {
        let outcome = sink.load(&sink.ticket(&schema()), &load(1, |_| "é".into())).await;
        assert_eq!(shown(outcome), "loaded 1");
    }
    assert!(backend.got().iter().all(|got| got.whole && got.body == backend.got()[0].body));
}

#[tokio::test]
async fn a_bad_value_breaks_the_upload_off_so_that_nothing_can_be_loaded() {
    let cases = [
        // The first chunk is looked at before anyone is asked, later ones while they are sent.
        ("at the start", 10, 5, 0),
        ("far inside", 100_000, 90_000, 1),
    ];
    for (name, rows, bad, requests) in cases {
        let backend = Server::start("127.0.0.1", &[Act::Answer(success(rows))]);
        let frontend = Server::start("127.0.0.1", &[redirect("127.0.0.1", backend.port)]);
        let (sink, _) = sink(plain(&[&frontend]));
        let note = |n| if n == bad { "hunter2 is far too long".to_owned() } else { "ok".to_owned() };
        let outcome = sink.load(&sink.ticket(&schema()), &load(rows, note)).await;
        let Err(LoadError::Refused(reason)) = outcome else { panic!("{name}: {}", shown(outcome)) };
        assert_eq!((reason.code, reason.object.as_str()), ("VALUE_OUT_OF_RANGE", "public.t"), "{name}");
        assert!(reason.message.contains("column note") && !format!("{reason:?}").contains("hunter2"), "{reason:?}");
        assert_eq!(frontend.got().len(), requests, "{name}");
        assert!(backend.got().iter().all(|got| !got.whole && !got.body.ends_with(b"]")), "{name}");
    }
}

#[tokio::test]
async fn filtered_rows_are_explained_by_column_and_not_by_value() {
    let log = "Error: Value 'hunter2' is out of range. The type of 'note' is VARCHAR(16). Row: [1, 'hunter2']\n";
    let backend = Server::start("127.0.0.1", &[Act::Drop]);
    let refused = result(&format!(
        "\"Status\": \"Fail\", \"Message\": \"too many filtered rows\", \
         \"ErrorURL\": \"http://127.0.0.1:{}/api/_load_error_log?file=error_log_1\"",
        backend.port
    ));
    *backend.acts.lock().unwrap() = [Act::Answer(refused), Act::Answer(http("200 OK", "", log))].into();
    let frontend = Server::start("127.0.0.1", &[redirect("127.0.0.1", backend.port)]);
    let (sink, _) = sink(plain(&[&frontend]));
    let Err(LoadError::Refused(reason)) = sink.load(&sink.ticket(&schema()), &load(1, |_| "x".into())).await else {
        panic!("filtered rows are a refusal")
    };
    assert_eq!(reason.code, "SINK_FILTERED_ROWS");
    assert!(reason.message.ends_with("columns at fault: note"), "{}", reason.message);
    assert!(!format!("{reason:?}").contains("hunter2"));
    assert_eq!(backend.got()[1].header("authorization"), None, "a log is read without credentials");
}

#[tokio::test]
async fn a_success_with_the_wrong_numbers_spends_its_label() {
    let finished = result("\"Status\": \"Label Already Exists\", \"ExistingJobStatus\": \"FINISHED\"");
    let backend =
        Server::start("127.0.0.1", &[Act::Answer(success(1)), Act::Answer(success(2)), Act::Answer(finished)]);
    let frontend = Server::start("127.0.0.1", &[redirect("127.0.0.1", backend.port)]);
    let (sink, _) = sink(plain(&[&frontend]));
    let ticket = sink.ticket(&schema());
    assert_eq!(shown(sink.load(&ticket, &load(2, |_| String::new())).await), "refused SINK_FILTERED_ROWS");
    assert_eq!(shown(sink.load(&ticket, &load(2, |_| String::new())).await), "loaded 2");
    let labels: Vec<String> = backend.got().iter().filter_map(|got| got.header("label").map(str::to_owned)).collect();
    assert_eq!(labels, [ticket.0.clone(), format!("{}-1", ticket.0)]);
}

#[tokio::test]
async fn fates() {
    let cases = [
        ("VISIBLE", Ok(Fate::Loaded)),
        ("COMMITTED", Ok(Fate::Loaded)),
        ("ABORTED", Ok(Fate::NotLoaded)),
        ("UNKNOWN", Ok(Fate::NotLoaded)),
        ("PREPARE", Ok(Fate::Pending)),
        ("PREPARED", Ok(Fate::Pending)),
        ("SOMETHING_NEW", Err("SINK_FATE_UNKNOWN")),
        ("", Err("SINK_FATE_UNKNOWN")),
    ];
    for (text, want) in cases {
        // A follower sends such questions to the leader.
        let leader = Server::start("127.0.0.1", &[state(text)]);
        let follower = Server::start("127.0.0.1", &[redirect("127.0.0.1", leader.port)]);
        let (sink, _) = sink(plain(&[&follower]));
        let fate = sink.fate(&Ticket("shop-42-1-2".into())).await;
        assert_eq!(fate.map_err(|reason: Reason| reason.code), want, "{text}");
        let got = leader.got();
        assert!(got[0].head.starts_with("GET /api/shop/get_load_state?label=shop-42-1-2 HTTP/1.1\r\n"));
        assert!(got[0].header("authorization").is_some());
    }
}

#[tokio::test]
async fn a_changed_password_file_is_read_again() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("password");
    let denied = http("401 Unauthorized", "", "");
    let backend = Server::start("127.0.0.1", &[Act::Answer(success(1))]);
    let frontend = Server::start("127.0.0.1", &[Act::AnswerAndClose(denied), redirect("127.0.0.1", backend.port)]);
    let (sink, _) = sink(Options { password_file: Some(file.clone()), ..plain(&[&frontend]) });
    let ticket = sink.ticket(&schema());
    for (content, want) in
        [(None, "refused SINK_AUTH"), (Some("old\n"), "refused SINK_AUTH"), (Some("hunter2\n"), "loaded 1")]
    {
        if let Some(content) = content {
            std::fs::write(&file, content).unwrap();
        }
        assert_eq!(shown(sink.load(&ticket, &load(1, |_| String::new())).await), want, "{content:?}");
    }
    assert_eq!(backend.got()[0].header("authorization"), Some("Basic cm9vdDpodW50ZXIy"));
}

#[tokio::test]
async fn a_load_that_nobody_waits_for_is_broken_off() {
    let backend = Server::start("127.0.0.1", &[Act::Hang]);
    let frontend = Server::start("127.0.0.1", &[redirect("127.0.0.1", backend.port)]);
    let (sink, _) = sink(plain(&[&frontend]));
    let ticket = sink.ticket(&schema());
    let one = load(1, |_| String::new());
    let (arrived, gone) = (backend.clone(), backend.clone());
    let until = |server: Server, count: usize| {
        let (tell, told) = mpsc::channel();
        std::thread::spawn(move || {
            while server.got().len() < count {
                std::thread::yield_now();
            }
            tell.send(()).unwrap();
        });
        tokio::task::spawn_blocking(move || told.recv_timeout(Duration::from_secs(60)).unwrap())
    };
    tokio::select! {
        outcome = sink.load(&ticket, &one) => panic!("{}", shown(outcome)),
        reached = until(arrived, 1) => reached.unwrap(),
    }
    until(gone, 2).await.unwrap();
}

/// A server certificate for 127.0.0.1 and the file of its root.
fn tls(folder: &std::path::Path) -> (Wrap, std::path::PathBuf) {
    let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    let file = folder.join("ca.pem");
    std::fs::write(&file, made.cert.pem()).unwrap();
    let key = rustls::pki_types::PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .unwrap();
    let config = Arc::new(config);
    let wrap = move |stream: TcpStream| -> Box<dyn Wire> {
        let session = rustls::ServerConnection::new(config.clone()).unwrap();
        Box::new(rustls::StreamOwned::new(session, stream))
    };
    (Arc::new(wrap), file)
}

#[tokio::test]
async fn https_is_verified_and_kept_on_every_hop() {
    let folder = tempfile::tempdir().unwrap();
    let (wrap, ca) = tls(folder.path());
    let backend = Server::wrapped("127.0.0.1", &[Act::Answer(success(1))], wrap.clone());
    let frontend = Server::wrapped("127.0.0.1", &[redirect("127.0.0.1", backend.port)], wrap.clone());
    let https = |ca: Option<std::path::PathBuf>| {
        let mut options = plain(&[&frontend]);
        options.frontends[0].https = true;
        Options { tls_ca: ca, ..options }
    };
    let one = load(1, |_| String::new());
    let (trusting, _) = sink(https(Some(ca.clone())));
    let outcome = trusting.load(&trusting.ticket(&schema()), &one).await;
    assert_eq!(shown(outcome), "loaded 1", "the redirect says http, the backend is reached by https");
    let (wary, _) = sink(https(None));
    let outcome = wary.load(&wary.ticket(&schema()), &one).await;
    assert_eq!(shown(outcome), "refused SINK_TLS", "an unknown root");
    let clear = Server::start("127.0.0.1", &[Act::Answer(success(1))]);
    *frontend.acts.lock().unwrap() = [redirect("127.0.0.1", clear.port)].into();
    let (kept, _) = sink(https(Some(ca)));
    let outcome = kept.load(&kept.ticket(&schema()), &one).await;
    assert!(outcome.is_err(), "a backend without TLS gets nothing");
    assert!(clear.got().is_empty());
}

#[tokio::test]
async fn a_load_without_rows_or_without_a_prepared_table_sends_nothing() {
    let frontend = Server::start("127.0.0.1", &[Act::Drop]);
    let (sink, _) = sink(plain(&[&frontend]));
    let ticket = sink.ticket(&schema());
    assert_eq!(sink.load(&ticket, &load(0, |_| String::new())).await, Ok(Loaded::default()));
    let mut other = (*schema()).clone();
    other.columns[1].ty = ColumnType::Text;
    let one = load(1, |_| String::new());
    let outcome = sink.load(&ticket, &Load { schema: Arc::new(other), ..one }).await;
    assert_eq!(shown(outcome), "retry SINK_NOT_PREPARED");
    assert!(frontend.got().is_empty());
}
