//! What only the stand-in can do: faults to order, going down, the control port, state on disk, throwing rows away.
//!
//! `hostile` is about clients that mean harm.
//! Start at `faults`.

mod hostile;

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use starrocks_standin::fault::{Action, Call, Fault};
use starrocks_standin::store::{ColumnDef, NewTable, Settings, SrType, TableModel};
use starrocks_standin::{Options, Server};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const LOGIN: &str = "Authorization: Basic cm9vdDo=\r\n";

async fn server() -> Server {
    let server = Server::start(Options::default()).await.expect("start");
    make_table(&server);
    server
}

fn make_table(server: &Server) {
    server.store().create_database("d").expect("create a database");
    server.store().create_table("d", table("t")).expect("create a table");
}

fn table(name: &str) -> NewTable {
    NewTable {
        name: name.to_owned(),
        columns: vec![ColumnDef::new("id", SrType::Int).not_null(), ColumnDef::new("v", SrType::Varchar(9))],
        keys: Some((TableModel::Primary, vec!["id".to_owned()])),
        sort_key: Vec::new(),
        partition_by: None,
        distribution: None,
        buckets: None,
        comment: String::new(),
        properties: vec![("replication_num".to_owned(), "1".to_owned())],
    }
}

/// Sends text, reads until the server closes or has answered. `None`: no answer.
async fn talk(port: u16, request: &str) -> Option<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await.ok()?;
    stream.write_all(request.as_bytes()).await.ok()?;
    let mut answer = Vec::new();
    // A reset after the answer's last byte loses nothing that was read before it.
    let _ended_by_reset = stream.read_to_end(&mut answer).await.is_err();
    (!answer.is_empty()).then(|| String::from_utf8_lossy(&answer).into_owned())
}

async fn ask_frontend(server: &Server) -> Option<String> {
    let request =
        format!("PUT /api/d/t/_stream_load HTTP/1.1\r\n{LOGIN}Expect: 100-continue\r\nConnection: close\r\n\r\n");
    talk(server.ports().fe_http, &request).await
}

async fn load(server: &Server, label: &str, body: &str) -> Option<String> {
    let length = body.len();
    let request = format!(
        "PUT /api/d/t/_stream_load HTTP/1.1\r\n{LOGIN}format: json\r\nlabel: {label}\r\nConnection: close\r\n\
         Content-Length: {length}\r\n\r\n{body}"
    );
    talk(server.ports().be_http, &request).await
}

const TWO_ROWS: &str = r#"{"id":1}{"id":2}"#;

#[tokio::test]
async fn the_frontend_goes_wrong_to_order() {
    let closed = Action::ClosedPort;
    let rows = [
        (Fault::next(Action::Reset).at_frontend(), None, "no answer"),
        (Fault::next(Action::HttpStatus { status: 401 }).at_frontend(), Some("HTTP/1.1 401"), "refused"),
        (Fault::next(Action::HttpStatus { status: 503 }).at_frontend(), Some("HTTP/1.1 503"), "unavailable"),
        (Fault::next(Action::Html { status: 502 }).at_frontend(), Some("<html>"), "a page of a proxy"),
        (Fault::next(Action::Fail { message: "no".into() }).at_frontend(), Some("\"Status\": \"FAILED\""), "FAILED"),
        (Fault::next(Action::WrongHost { host: "no.such.host".into() }), Some("http://no.such.host:"), "a wrong host"),
        (Fault::next(Action::NoLocation), Some("HTTP/1.1 307"), "no Location"),
        (Fault::next(closed), Some("Location: http://127.0.0.1:"), "a closed port"),
        (Fault::next(Action::Delay { ms: 1 }).at_frontend(), Some("Location: "), "a delay"),
    ];
    for (fault, holds, why) in rows {
        let server = server().await;
        server.faults().add(fault.clone());
        let answer = ask_frontend(&server).await;
        match holds {
            None => assert_eq!(answer, None, "{why}"),
            Some(part) => assert!(answer.as_deref().is_some_and(|a| a.contains(part)), "{why}: {answer:?}"),
        }
        if fault.action == Action::NoLocation {
            assert!(!answer.unwrap_or_default().contains("Location"), "{why}");
        }
        let again = ask_frontend(&server).await.unwrap_or_default();
        let good = format!("Location: http://127.0.0.1:{}/api/d/t/_stream_load", server.ports().be_http);
        assert!(again.contains(&good), "{why}: only once; {again}");
    }
    let server = server().await;
    server.faults().add(Fault::next(Action::RedirectLoop));
    let answer = ask_frontend(&server).await.unwrap_or_default();
    assert!(answer.contains(&format!("Location: http://127.0.0.1:{}/", server.ports().fe_http)), "{answer}");
}

#[tokio::test]
async fn the_backend_goes_wrong_to_order() {
    let fail = Action::Fail { message: "wait close failed".into() };
    let rows: Vec<(Action, Option<&str>, usize, &str)> = vec![
        // action, part of the answer (None = no answer), rows afterwards, state of the label
        (Action::Reset, None, 0, "UNKNOWN"),
        (Action::ResetDuringBody { bytes: 4 }, None, 0, "ABORTED"),
        (Action::ResetBeforeCommit, None, 0, "ABORTED"),
        (Action::ResetAfterCommit, None, 2, "VISIBLE"),
        (Action::PublishTimeout, Some("\"Status\": \"Publish Timeout\""), 2, "VISIBLE"),
        (fail, Some("wait close failed"), 0, "ABORTED"),
        (Action::MemoryLimit, Some("exceed limit"), 0, "ABORTED"),
        (Action::CommitUnknown { committed: true }, Some("Transaction status unknown"), 2, "VISIBLE"),
        (Action::CommitUnknown { committed: false }, Some("Transaction status unknown"), 0, "ABORTED"),
        (Action::FilterRows { rows: 1 }, Some("\"NumberFilteredRows\": 1"), 1, "VISIBLE"),
        (Action::MiscountRows { rows: 1 }, Some("\"NumberLoadedRows\": 1"), 2, "VISIBLE"),
        (Action::ForgetLabel, Some("\"Status\": \"Success\""), 2, "UNKNOWN"),
        (Action::HttpStatus { status: 500 }, Some("HTTP/1.1 500"), 0, "UNKNOWN"),
        (Action::Html { status: 200 }, Some("<html>"), 0, "UNKNOWN"),
        (Action::Delay { ms: 1 }, Some("\"Status\": \"Success\""), 2, "VISIBLE"),
    ];
    for (action, holds, count, state) in rows {
        let server = server().await;
        server.faults().add(Fault::next(action.clone()).on("t"));
        let answer = load(&server, "l", TWO_ROWS).await;
        match holds {
            None => assert_eq!(answer, None, "{action:?}"),
            Some(part) => assert!(answer.as_deref().is_some_and(|a| a.contains(part)), "{action:?}: {answer:?}"),
        }
        assert_eq!(server.rows("d", "t").expect("rows").len(), count, "{action:?}");
        let label = server.store().label_state("d", "l").state.map_or("UNKNOWN", |state| state.name());
        assert_eq!(label, state, "{action:?}");
        assert!(server.faults().pending().is_empty(), "{action:?} is used up");
    }
}

#[tokio::test]
async fn a_hanging_load_ends_with_the_server() {
    for (action, count) in [(Action::Hang, 0), (Action::HangAfterCommit, 2)] {
        let server = server().await;
        server.faults().add(Fault::next(action.clone()));
        let port = server.ports().be_http;
        let length = TWO_ROWS.len();
        let request = format!(
            "PUT /api/d/t/_stream_load HTTP/1.1\r\n{LOGIN}format: json\r\nlabel: l\r\nContent-Length: {length}\r\n\r\n"
        );
        let mut stream = TcpStream::connect(("127.0.0.1", port)).await.expect("connect");
        stream.write_all(format!("{request}{TWO_ROWS}").as_bytes()).await.expect("write");
        // The fault counts when the load has begun; the row count moves before the hang, if it does.
        while server.store().label_state("d", "l").state.is_none()
            || server.rows("d", "t").expect("rows").len() != count
        {
            tokio::task::yield_now().await;
        }
        drop(server);
        let ended = stream.read(&mut [0; 1]).await;
        assert!(!matches!(ended, Ok(1)), "{action:?}: the connection ends without an answer");
    }
}

#[tokio::test]
async fn transaction_calls_go_wrong_too() {
    let server = server().await;
    server.faults().add(Fault::next(Action::Fail { message: "rpc failed".into() }).of(Call::Begin));
    let request = format!(
        "POST /api/transaction/begin HTTP/1.1\r\n{LOGIN}db: d\r\ntable: t\r\nlabel: x\r\nConnection: close\r\n\r\n"
    );
    let answer = talk(server.ports().be_http, &request).await.unwrap_or_default();
    assert!(answer.contains("INTERNAL_ERROR") && answer.contains("rpc failed"), "{answer}");
    let answer = talk(server.ports().be_http, &request).await.unwrap_or_default();
    assert!(answer.contains("\"Status\": \"OK\""), "only once: {answer}");
}

#[tokio::test]
async fn a_server_that_is_down_refuses_and_comes_back_on_its_ports() {
    let server = server().await;
    let ports = server.ports();
    let mut open = TcpStream::connect(("127.0.0.1", ports.be_http)).await.expect("connect");
    server.down().await;
    for port in [ports.fe_http, ports.be_http, ports.sql] {
        assert!(TcpStream::connect(("127.0.0.1", port)).await.is_err(), "{port} refuses");
    }
    assert!(!matches!(open.read(&mut [0; 1]).await, Ok(1)), "open connections end");
    server.up().await;
    assert!(load(&server, "l", TWO_ROWS).await.is_some_and(|answer| answer.contains("Success")));
    server.set_shutting_down(true);
    let answer = load(&server, "m", TWO_ROWS).await.unwrap_or_default();
    assert!(answer.contains("Service is shutting down, please retry later!"), "{answer}");
    assert!(answer.contains("\"TxnId\": -1"), "before a transaction is begun: {answer}");
}

#[tokio::test]
async fn history_tells_order_and_rows() {
    let server = server().await;
    load(&server, "first", TWO_ROWS).await;
    load(&server, "bad", r#"{"v":1}"#).await;
    load(&server, "second", r#"{"id":1,"__op":1}"#).await;
    let told: Vec<_> = server
        .history()
        .into_iter()
        .map(|load| (load.order, load.label, load.tables, load.counts.loaded, load.counts.deletes))
        .collect();
    let want =
        [(1, "first".to_owned(), vec!["t".to_owned()], 2, 0), (2, "second".to_owned(), vec!["t".to_owned()], 1, 1)];
    assert_eq!(told, want, "accepted loads only, in commit order");
}

#[tokio::test]
async fn the_control_port_does_what_the_library_does() {
    let server = server().await;
    let control = async |method: &str, path: &str, body: &str| {
        let length = body.len();
        let request =
            format!("{method} {path} HTTP/1.1\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{body}");
        talk(server.ports().control, &request).await.expect("the control port answers")
    };
    let order = r#"{"table":"t","nth":2,"count":1,"action":"publish_timeout"}"#;
    assert!(control("POST", "/faults", order).await.contains("200 OK"));
    assert!(control("GET", "/faults", "").await.contains("publish_timeout"));
    assert!(load(&server, "a", TWO_ROWS).await.unwrap_or_default().contains("Success"));
    assert!(load(&server, "b", TWO_ROWS).await.unwrap_or_default().contains("Publish Timeout"));
    let with_argument = r#"{"where":"fe","call":"stream_load","action":{"http_status":{"status":500}}}"#;
    assert!(control("POST", "/faults", with_argument).await.contains("200 OK"));
    assert!(ask_frontend(&server).await.unwrap_or_default().contains("HTTP/1.1 500"));
    assert!(control("GET", "/rows/d/t", "").await.contains(r#""rows":[["1",null],["2",null]]"#));
    assert!(control("GET", "/history", "").await.contains(r#""label":"b""#));
    assert!(control("POST", "/labels/forget", r#"{"database":"d","label":"a"}"#).await.contains(r#""forgotten":1"#));
    assert_eq!(server.store().label_state("d", "a").state, None);
    assert!(control("POST", "/config", r#"{"tablet_versions_max":1}"#).await.contains("200 OK"));
    assert!(load(&server, "c", TWO_ROWS).await.unwrap_or_default().contains("too many versions"));
    assert!(control("POST", "/down", "").await.contains("200 OK"));
    assert!(TcpStream::connect(("127.0.0.1", server.ports().be_http)).await.is_err());
    assert!(control("POST", "/up", "").await.contains("200 OK"));
    for (method, path, body) in [
        ("POST", "/faults", r#"{"action":"no such"}"#),
        ("POST", "/config", r#"{"no_such_setting":1}"#),
        ("POST", "/leader/7", ""),
        ("GET", "/rows/d/missing", ""),
        ("GET", "/nonsense", ""),
    ] {
        let answer = control(method, path, body).await;
        assert!(answer.starts_with("HTTP/1.1 40") && answer.contains("error"), "{path}: {answer}");
    }
}

#[tokio::test]
async fn a_server_that_discards_counts_rows_and_keeps_none() {
    let options = Options { settings: Settings { discard: true, ..Settings::default() }, ..Options::default() };
    let server = Server::start(options).await.expect("start");
    make_table(&server);
    let rows = [
        (TWO_ROWS, "\"NumberLoadedRows\": 2"),
        (r#"{"id":1"#, "brackets or quotes of the JSON body do not close"),
        ("", "all partitions have no load data"),
    ];
    for (at, (body, holds)) in rows.iter().enumerate() {
        let answer = load(&server, &format!("l{at}"), body).await.unwrap_or_default();
        assert!(answer.contains(holds), "{body}: {answer}");
    }
    assert_eq!(server.rows("d", "t").expect("rows").len(), 0);
    assert_eq!(server.history().len(), 1);
}

#[tokio::test]
async fn bytes_that_are_no_http_end_the_connection() {
    let server = server().await;
    for port in [server.ports().fe_http, server.ports().be_http, server.ports().control] {
        for bytes in ["\u{16}\u{3}\u{1}\r\n\r\n", "PUT\r\n\r\n", "GET / HTTP/9.9\r\n\r\n"] {
            assert_eq!(talk(port, bytes).await, None, "{bytes:?}");
        }
    }
    let chunked = format!(
        "PUT /api/d/t/_stream_load HTTP/1.1\r\n{LOGIN}label: c\r\nTransfer-Encoding: chunked\r\n\r\nnonsense\r\n"
    );
    assert_eq!(talk(server.ports().be_http, &chunked).await, None);
    assert_eq!(server.store().label_state("d", "c").state.map(|state| state.name()), Some("ABORTED"));
}

#[tokio::test(flavor = "multi_thread")]
async fn curl_loads_as_the_documentation_says() {
    let server = Server::start(Options::default()).await.expect("start");
    server.store().create_database("d").expect("create a database");
    let table = NewTable {
        columns: vec![ColumnDef::new("k", SrType::Int).not_null(), ColumnDef::new("v", SrType::Varchar(10))],
        keys: Some((TableModel::Primary, vec!["k".to_owned()])),
        ..table("t")
    };
    server.store().create_table("d", table).expect("create a table");
    server.store().change_settings(|settings| settings.password = "pass:word".to_owned());
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/clients/curl.sh");
    let output = tokio::process::Command::new("sh")
        .arg(script)
        .env("FE_HOST", "127.0.0.1")
        .env("FE_HTTP_PORT", server.ports().fe_http.to_string())
        .env("SQL_USER", "root")
        .env("SQL_PASSWORD", "pass:word")
        .env("DATABASE", "d")
        .output()
        .await
        .expect("run the script");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && said.ends_with("curl done\n"),
        "{said}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert_eq!(server.rows("d", "t").expect("rows").len(), 60_002);
}

/// The program, with state in `folder`.
struct Program {
    child: Child,
    ports: serde_json::Value,
}

impl Program {
    fn start(folder: &std::path::Path) -> Program {
        let ports_file = folder.join("ports.json");
        let mut child = Command::new(env!("CARGO_BIN_EXE_starrocks-standin"))
            .args(["--fe-port", "0", "--be-port", "0", "--sql-port", "0", "--control-port", "0"])
            .arg("--data")
            .arg(folder.join("data"))
            .arg("--ports-file")
            .arg(&ports_file)
            .stdout(Stdio::piped())
            .spawn()
            .expect("start the program");
        let mut lines = BufReader::new(child.stdout.take().expect("its output")).lines().map_while(Result::ok);
        assert!(lines.next().is_some_and(|banner| banner.contains("NOT StarRocks")), "the banner says what it is");
        // The line with the URL is the last before the file.
        assert!(lines.any(|line| line.contains("starrocks://")));
        let ports = loop {
            if let Ok(text) = std::fs::read_to_string(&ports_file) {
                break serde_json::from_str(&text).expect("JSON");
            }
            std::thread::yield_now();
        };
        std::fs::remove_file(&ports_file).expect("make way for the next start");
        Program { child, ports }
    }

    fn port(&self, name: &str) -> u16 {
        self.ports[name].as_u64().and_then(|port| u16::try_from(port).ok()).expect("a port")
    }

    /// SIGKILL.
    fn kill(mut self) {
        self.child.kill().expect("kill");
        self.child.wait().expect("wait");
    }
}

#[tokio::test]
async fn state_on_disk_survives_a_killed_process() {
    use mysql_async::prelude::Queryable;
    let folder = tempfile::tempdir().expect("a folder");
    let program = Program::start(folder.path());
    let connect = async |port: u16| {
        let options = mysql_async::OptsBuilder::default().ip_or_hostname("127.0.0.1").tcp_port(port).user(Some("root"));
        mysql_async::Conn::new(options.prefer_socket(false)).await.expect("connect")
    };
    let mut sql = connect(program.port("sql")).await;
    for statement in [
        "CREATE DATABASE d",
        "CREATE TABLE d.t (id INT NOT NULL, v VARCHAR(9) NULL, n DECIMAL(9,2) NULL) PRIMARY KEY (id) DISTRIBUTED BY \
         HASH(id) PROPERTIES ('replication_num' = '1')",
        "ALTER TABLE d.t ADD COLUMN w JSON NULL",
    ] {
        sql.query_drop(statement).await.expect(statement);
    }
    let body = r#"{"id":1,"v":"a","n":1.5,"w":[1]}{"id":2}{"id":3}"#;
    for (label, body) in [("one", body), ("two", r#"{"id":3,"__op":1}"#)] {
        let length = body.len();
        let request = format!(
            "PUT /api/d/t/_stream_load HTTP/1.1\r\n{LOGIN}format: json\r\nlabel: {label}\r\nConnection: close\r\n\
             Content-Length: {length}\r\n\r\n{body}"
        );
        let answer = talk(program.port("be_http"), &request).await.unwrap_or_default();
        assert!(answer.contains("Success"), "{answer}");
    }
    // A prepared transaction must survive as well.
    for (op, headers, body) in [("begin", "", ""), ("load", "format: json\r\n", r#"{"id":7}"#), ("prepare", "", "")] {
        let length = body.len();
        let request = format!(
            "PUT /api/transaction/{op} HTTP/1.1\r\n{LOGIN}db: d\r\ntable: t\r\nlabel: held\r\n{headers}Connection: \
             close\r\nContent-Length: {length}\r\n\r\n{body}"
        );
        let answer = talk(program.port("be_http"), &request).await.unwrap_or_default();
        assert!(answer.contains("\"Status\": \"OK\""), "{op}: {answer}");
    }
    program.kill();

    let program = Program::start(folder.path());
    let mut sql = connect(program.port("sql")).await;
    type Printed = (i32, Option<String>, Option<String>, Option<String>);
    let rows: Vec<Printed> = sql.query("SELECT id, v, n, w FROM d.t ORDER BY id").await.expect("select");
    let text = |text: &str| Some(text.to_owned());
    assert_eq!(rows, [(1, text("a"), text("1.50"), text("[1]")), (2, None, None, None)]);
    for (label, state) in [("one", "VISIBLE"), ("two", "VISIBLE"), ("held", "PREPARED"), ("none", "UNKNOWN")] {
        let request = format!("GET /api/d/get_load_state?label={label} HTTP/1.1\r\n{LOGIN}Connection: close\r\n\r\n");
        let answer = talk(program.port("fe_http"), &request).await.unwrap_or_default();
        assert!(answer.contains(&format!("\"state\":\"{state}\"")), "{label}: {answer}");
    }
    let commit =
        format!("POST /api/transaction/commit HTTP/1.1\r\n{LOGIN}db: d\r\nlabel: held\r\nConnection: close\r\n\r\n");
    let answer = talk(program.port("fe_http"), &commit).await.unwrap_or_default();
    assert!(answer.contains("\"Status\": \"OK\""), "{answer}");
    let ids: Vec<i32> = sql.query("SELECT id FROM d.t ORDER BY id").await.expect("select");
    assert_eq!(ids, [1, 2, 7]);
    program.kill();
}
