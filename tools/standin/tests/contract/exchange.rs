//! The HTTP hops of a load: what the frontend checks, what the backend answers.

use starrocks_standin::store::{Release, Settings};

use crate::client::{Client, request};
use crate::target::{Only, Target};

const TABLE: &str = "(id INT NOT NULL, v VARCHAR(10) NULL) PRIMARY KEY (id) DISTRIBUTED BY HASH(id) BUCKETS 1";

/// Who asks.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Login {
    Right,
    /// `user@cluster`.
    Cluster,
    Wrong,
    None,
}

struct Case {
    name: &'static str,
    source: &'static str,
    login: Login,
    method: &'static str,
    /// `DB` stands for the target's database.
    path: &'static str,
    headers: &'static [(&'static str, &'static str)],
    status: u16,
    /// All of these are in head or body.
    holds: &'static [&'static str],
    /// Whether the connection ends with the answer.
    closes: bool,
}

const CASES: &[Case] = &[
    Case {
        name: "a load without credentials is 401 with a challenge",
        source: "StarRocks source BaseAction.java, RestBaseResult.java (3.5)",
        login: Login::None,
        method: "PUT",
        path: "/api/DB/t/_stream_load",
        headers: &[("Expect", "100-continue")],
        status: 401,
        holds: &[
            "www-authenticate: Basic realm=\"\"",
            r#""status":"FAILED""#,
            r#""code":"1""#,
            "Need auth information.",
        ],
        closes: false,
    },
    Case {
        name: "a wrong password is 401",
        source: "StarRocks source BaseAction.java (3.5)",
        login: Login::Wrong,
        method: "PUT",
        path: "/api/DB/t/_stream_load",
        headers: &[("Expect", "100-continue")],
        status: 401,
        holds: &["Access denied for ", "www-authenticate: Basic realm=\"\"", r#""status":"FAILED""#, r#""message":"#],
        closes: false,
    },
    Case {
        name: "a load without Expect is refused with HTTP 200",
        source: "StarRocks source LoadAction.java (3.3 and later)",
        login: Login::Right,
        method: "PUT",
        path: "/api/DB/t/_stream_load",
        headers: &[],
        status: 200,
        holds: &[
            "\n  \"Status\": \"FAILED\"",
            "\n  \"Message\": \"class com.starrocks.common.DdlException: There is no 100-continue header\"",
        ],
        closes: true,
    },
    Case {
        name: "a load is redirected to a backend, path and query kept, no credentials",
        source: "StarRocks source RestBaseAction.java (3.5); pull request 52582",
        login: Login::Right,
        method: "PUT",
        path: "/api/DB/t/_stream_load?x=1%20y",
        headers: &[("Expect", "100-continue")],
        status: 307,
        holds: &["location: http://", "/t/_stream_load?x=1%20y", "connection: close", "content-type: text/html"],
        closes: true,
    },
    Case {
        name: "what is not ASCII in the path is percent-encoded in Location",
        source: "StarRocks source RestBaseAction.java: URI.toASCIIString (3.5)",
        login: Login::Right,
        method: "PUT",
        path: "/api/DB/数/_stream_load",
        headers: &[("Expect", "100-continue")],
        status: 307,
        holds: &["/%E6%95%B0/_stream_load"],
        closes: true,
    },
    Case {
        name: "a user's cluster is dropped",
        source: "StarRocks source BaseAction.java (3.5)",
        login: Login::Cluster,
        method: "PUT",
        path: "/api/DB/t/_stream_load",
        headers: &[("Expect", "100-continue")],
        status: 307,
        holds: &["location: http://"],
        closes: true,
    },
    Case {
        name: "a load without a database",
        source: "StarRocks source LoadAction.java (3.5)",
        login: Login::Right,
        method: "PUT",
        path: "/api//t/_stream_load",
        headers: &[("Expect", "100-continue")],
        status: 200,
        holds: &[r#""Status": "FAILED""#, "No database selected."],
        closes: true,
    },
    Case {
        name: "a load without a table",
        source: "StarRocks source LoadAction.java (3.5)",
        login: Login::Right,
        method: "PUT",
        path: "/api/DB//_stream_load",
        headers: &[("Expect", "100-continue")],
        status: 200,
        holds: &[r#""Status": "FAILED""#, "No table selected."],
        closes: true,
    },
    Case {
        name: "credentials are asked for before the 100-continue header",
        source: "StarRocks source LoadAction.java (3.5)",
        login: Login::None,
        method: "PUT",
        path: "/api/DB/t/_stream_load",
        headers: &[],
        status: 401,
        holds: &["Need auth information."],
        closes: false,
    },
    Case {
        name: "the frontend checks no label, format or table shape",
        source: "StarRocks source LoadAction.java (3.5): the backend begins the transaction",
        login: Login::Right,
        method: "PUT",
        path: "/api/DB/t/_stream_load",
        headers: &[("Expect", "100-continue"), ("label", "not a label!"), ("format", "nonsense")],
        status: 307,
        holds: &[],
        closes: true,
    },
    Case {
        name: "the health page needs no password",
        source: "StarRocks source HealthAction.java (3.5)",
        login: Login::None,
        method: "GET",
        path: "/api/health",
        headers: &[],
        status: 200,
        holds: &[r#""status":"OK""#, r#""online_backend_num":"#, r#""total_backend_num":"#],
        closes: false,
    },
    Case {
        name: "the feature page tells the version",
        source: "StarRocks source FeatureAction.java (3.5)",
        login: Login::None,
        method: "GET",
        path: "/api/v2/feature",
        headers: &[],
        status: 200,
        holds: &[r#""version":"#, r#""features":"#, r#""status":"#],
        closes: false,
    },
    Case {
        name: "a label's state needs a password",
        source: "StarRocks source GetStreamLoadState.java (3.5)",
        login: Login::None,
        method: "GET",
        path: "/api/DB/get_load_state?label=l",
        headers: &[],
        status: 401,
        holds: &["Need auth information."],
        closes: false,
    },
    Case {
        name: "an unknown label is UNKNOWN, on one line",
        source: "StarRocks source GetStreamLoadState.java (3.5)",
        login: Login::Right,
        method: "GET",
        path: "/api/DB/get_load_state?label=never_seen",
        headers: &[],
        status: 200,
        holds: &[r#""state":"UNKNOWN""#, r#""status":"OK""#, r#""code":"0""#],
        closes: false,
    },
    Case {
        name: "a state without a label is refused with HTTP 200",
        source: "StarRocks source GetStreamLoadState.java (3.5)",
        login: Login::Right,
        method: "GET",
        path: "/api/DB/get_load_state",
        headers: &[],
        status: 200,
        holds: &["No label selected.", "FAILED"],
        closes: false,
    },
    Case {
        name: "a state in an unknown database",
        source: "StarRocks source GetStreamLoadState.java (3.5)",
        login: Login::Right,
        method: "GET",
        path: "/api/no_such_database/get_load_state?label=l",
        headers: &[],
        status: 200,
        holds: &["unknown database, database=no_such_database", "FAILED"],
        closes: false,
    },
    Case {
        name: "transaction calls need no Expect",
        source: "StarRocks source TransactionLoadAction.java (3.5)",
        login: Login::Right,
        method: "POST",
        path: "/api/transaction/begin",
        headers: &[("db", "DB"), ("table", "t"), ("label", "exchange_begin")],
        status: 307,
        holds: &["location: http://", "/api/transaction/begin"],
        closes: true,
    },
    Case {
        name: "an unknown transaction call",
        source: "StarRocks source TransactionLoadAction.java (3.5)",
        login: Login::Right,
        method: "POST",
        path: "/api/transaction/nonsense",
        headers: &[("db", "DB"), ("table", "t"), ("label", "l")],
        status: 200,
        holds: &["FAILED", "Unknown transaction operation: nonsense"],
        closes: false,
    },
];

#[tokio::test]
async fn the_frontend_answers_as_starrocks_does() {
    let target = Target::new().await;
    target.create("t", TABLE).await;
    for case in CASES {
        check(&target, case).await;
    }
}

async fn check(target: &Target, case: &Case) {
    let authorization = match case.login {
        Login::Right => target.authorization(),
        Login::Cluster => target.authorization_of("@default_cluster"),
        Login::Wrong => "Basic bm9ib2R5Ondyb25n".to_owned(),
        Login::None => String::new(),
    };
    let mut headers: Vec<(&str, &str)> = Vec::new();
    if case.login != Login::None {
        headers.push(("Authorization", &authorization));
    }
    headers.extend(case.headers.iter().map(|(k, v)| (*k, if *v == "DB" { target.database.as_str() } else { *v })));
    let mut client = Client::connect(&target.frontend).await;
    client.send(case.method, &case.path.replace("DB", &target.database), &headers, b"").await;
    let response = client.response().await.unwrap_or_else(|| panic!("{}: no answer", case.name));
    let (name, source) = (case.name, case.source);
    assert_eq!(response.status, case.status, "{name} [{source}]: {response:?}");
    let mut text: String = ["www-authenticate", "location", "connection", "content-type"]
        .map(|h| format!("{h}: {}\n", response.header(h)))
        .concat();
    text.push_str(&response.body);
    for part in case.holds {
        assert!(text.contains(part), "{name} [{source}]: {part:?} is not in {text}");
    }
    if case.closes {
        assert!(client.is_closed().await, "{name} [{source}]: the connection must end");
    }
}

#[tokio::test]
async fn http_1_0_needs_no_expect() {
    // StarRocks source LoadAction.java, pull request 53010 (3.3).
    let target = Target::new().await;
    target.create("t", TABLE).await;
    let mut client = Client::connect(&target.frontend).await;
    let head = format!(
        "PUT /api/{}/t/_stream_load HTTP/1.0\r\nAuthorization: {}\r\n\r\n",
        target.database,
        target.authorization()
    );
    client.write(head.as_bytes()).await;
    assert_eq!(client.response().await.expect("an answer").status, 307);
}

#[tokio::test]
async fn the_frontend_never_reads_the_body() {
    // StarRocks source LoadAction.java (3.5): the answer comes when the headers are in.
    let target = Target::new().await;
    target.create("t", TABLE).await;
    let mut client = Client::connect(&target.frontend).await;
    let head = format!(
        "PUT /api/{}/t/_stream_load HTTP/1.1\r\nAuthorization: {}\r\nExpect: 100-continue\r\nContent-Length: 1000000\r\n\r\n",
        target.database,
        target.authorization()
    );
    client.write(head.as_bytes()).await;
    let response = client.response().await.expect("an answer before any body");
    assert_eq!((response.status, response.continues), (307, 0), "307, and never 100 Continue");
    assert!(client.is_closed().await);
}

/// Where the backend of a load is.
async fn backend(target: &Target) -> (String, String) {
    let path = format!("/api/{}/t/_stream_load", target.database);
    target.ask("PUT", &path, &[("Expect", "100-continue")]).await.location()
}

struct BackendCase {
    name: &'static str,
    source: &'static str,
    only: Only,
    with_login: bool,
    headers: &'static [(&'static str, &'static str)],
    body: &'static str,
    /// In order of the answer: parts that must follow each other.
    holds: &'static [&'static str],
    continues: usize,
}

const BACKEND_CASES: &[BackendCase] = &[
    BackendCase {
        name: "the backend wants credentials of its own, and says Fail",
        source: "StarRocks source stream_load.cpp (3.5)",
        only: Only::Anywhere,
        with_login: false,
        headers: &[("format", "json"), ("label", "b1")],
        body: r#"{"id":1}"#,
        holds: &[r#""TxnId": -1"#, r#""Label": "b1""#, r#""Status": "Fail""#, "no valid Basic authorization"],
        continues: 0,
    },
    BackendCase {
        name: "the answer's fields come in order, four blanks deep",
        source: "StarRocks source stream_load_context.cpp (3.5)",
        only: Only::Anywhere,
        with_login: true,
        headers: &[("format", "json"), ("label", "b2")],
        body: r#"{"id":1}"#,
        holds: &[
            "{\n    \"TxnId\": ",
            "\n    \"Label\": \"b2\"",
            "\n    \"Status\": \"Success\"",
            "\n    \"Message\": \"OK\"",
            "\n    \"NumberTotalRows\": 1",
            "\n    \"NumberLoadedRows\": 1",
            "\n    \"NumberFilteredRows\": 0",
            "\n    \"NumberUnselectedRows\": 0",
            "\n    \"LoadBytes\": 8",
            "\n    \"LoadTimeMs\": ",
            "\n    \"BeginTxnTimeMs\": ",
            "\n    \"StreamLoadPlanTimeMs\": ",
            "\n    \"ReadDataTimeMs\": ",
            "\n    \"WriteDataTimeMs\": ",
            "\n    \"CommitAndPublishTimeMs\": ",
        ],
        continues: 0,
    },
    BackendCase {
        name: "100 Continue comes when the headers are good",
        source: "StarRocks source stream_load.cpp, libevent (3.5)",
        only: Only::Anywhere,
        with_login: true,
        headers: &[("format", "json"), ("Expect", "100-continue")],
        body: r#"{"id":2}"#,
        holds: &[r#""Status": "Success""#],
        continues: 1,
    },
    BackendCase {
        name: "100 Continue does not come when they are not",
        source: "StarRocks source stream_load.cpp (3.5)",
        only: Only::Anywhere,
        with_login: true,
        headers: &[("format", "nonsense"), ("Expect", "100-continue")],
        body: "",
        holds: &[r#""Status": "Fail""#, "unknown data format, format=nonsense"],
        continues: 0,
    },
    BackendCase {
        name: "a chunked body",
        source: "StarRocks docs STREAM LOAD",
        only: Only::Anywhere,
        with_login: true,
        headers: &[("format", "json"), ("Transfer-Encoding", "chunked")],
        body: "5\r\n{\"id\"\r\n3\r\n:3}\r\n0\r\n\r\n",
        holds: &[r#""Status": "Success""#, r#""NumberLoadedRows": 1"#, r#""LoadBytes": 8"#],
        continues: 0,
    },
    BackendCase {
        name: "a JSON body beyond the limit, by its Content-Length",
        source: "StarRocks source stream_load.cpp, streaming_load_max_batch_size_mb (3.5)",
        only: Only::StandIn,
        with_login: true,
        headers: &[("format", "json"), ("label", "b6")],
        body: r#"{"id":4,"v":"0123456789012345678901234567890123456789"}"#,
        holds: &[r#""TxnId": -1"#, "The size of this batch exceed the max size [40]", "Set ignore_json_size to skip"],
        continues: 0,
    },
    BackendCase {
        name: "the limit can be ignored",
        source: "StarRocks docs STREAM LOAD, ignore_json_size",
        only: Only::StandIn,
        with_login: true,
        headers: &[("format", "json"), ("ignore_json_size", "true")],
        body: r#"{"id":4,"w":"0123456789012345678901234567890123456789"}"#,
        holds: &[r#""Status": "Success""#],
        continues: 0,
    },
    BackendCase {
        name: "any body beyond the larger limit",
        source: "StarRocks source stream_load.cpp, streaming_load_max_mb (3.5)",
        only: Only::StandIn,
        with_login: true,
        headers: &[("label", "b8")],
        body: "01234567890123456789012345678901234567890123456789012345678901234567890123456789",
        holds: &[
            "body size 80 exceed limit: 60",
            "You can increase the limit by setting streaming_load_max_mb in be.conf",
        ],
        continues: 0,
    },
];

#[tokio::test]
async fn the_backend_answers_as_starrocks_does() {
    let settings =
        Settings { password: "pass:word".to_owned(), json_bytes_max: 40, body_bytes_max: 60, ..Settings::default() };
    let target = Target::with(settings).await;
    target.create("t", TABLE).await;
    let (address, path) = backend(&target).await;
    let authorization = target.authorization();
    for case in BACKEND_CASES.iter().filter(|case| target.takes(case.only)) {
        let mut headers: Vec<(&str, &str)> = case.headers.to_vec();
        if case.with_login {
            headers.push(("Authorization", &authorization));
        }
        let response = request(&address, "PUT", &path, &headers, case.body.as_bytes()).await.expect(case.name);
        let place = format!("{} [{}]: {}", case.name, case.source, response.body);
        assert_eq!((response.status, response.continues), (200, case.continues), "{place}");
        let mut rest = response.body.as_str();
        for part in case.holds {
            let at = rest.find(part).unwrap_or_else(|| panic!("{part:?} is not in order in {place}"));
            rest = &rest[at + part.len()..];
        }
    }
}

#[tokio::test]
async fn a_body_cut_short_fails() {
    // StarRocks source stream_load.cpp (3.5): receive body don't equal with body bytes.
    let target = Target::new().await;
    target.create("t", TABLE).await;
    let (address, path) = backend(&target).await;
    let mut client = Client::connect(&address).await;
    let authorization = target.authorization();
    let headers = [("Authorization", authorization.as_str()), ("label", "cut"), ("Content-Length", "100")];
    client.send("PUT", &path, &headers, b"1\ta\n").await;
    client.finish().await;
    if let Some(response) = client.response().await {
        assert!(response.body.contains("receive body don't equal with body bytes"), "{}", response.body);
    }
    assert!(target.rows("t").await.is_empty());
}

#[tokio::test]
async fn the_backend_keeps_connections() {
    // StarRocks source stream_load.cpp, libevent (3.5).
    let target = Target::new().await;
    target.create("t", TABLE).await;
    let (address, path) = backend(&target).await;
    let authorization = target.authorization();
    let headers = [("Authorization", authorization.as_str()), ("format", "json")];
    let mut client = Client::connect(&address).await;
    for id in 0..3 {
        client.send("PUT", &path, &headers, format!("{{\"id\":{id}}}").as_bytes()).await;
        let response = client.response().await.expect("an answer on the same connection");
        assert!(response.body.contains("Success"), "{}", response.body);
    }
    assert_eq!(target.rows("t").await.len(), 3);
}

#[tokio::test]
async fn answers_differ_by_release() {
    // StarRocks source stream_load_context.cpp: Db and Table since 4.1; http_channel.cpp: content type since 3.4.
    let rows = [
        (Release::V3_3, false, ""),
        (Release::V3_5, false, "application/json"),
        (Release::V4_1, true, "application/json"),
    ];
    for (release, names_table, content_type) in rows {
        let target = Target::with(Settings { release, ..Settings::default() }).await;
        if target.server.is_none() {
            return;
        }
        target.create("t", TABLE).await;
        let path = format!("/api/{}/t/_stream_load", target.database);
        let response = target.through("PUT", &path, &[("format", "json")], br#"{"id":1}"#).await;
        let named = format!("\"Label\": \"{}\"", "");
        assert!(!response.body.contains(&named), "a label is made up");
        assert_eq!(response.body.contains("\"Db\": "), names_table, "{release:?}");
        assert_eq!(response.body.contains("\"Table\": \"t\""), names_table, "{release:?}");
        assert_eq!(response.header("content-type"), content_type, "{release:?}");
    }
}

#[tokio::test]
async fn a_follower_sends_leader_calls_to_the_leader() {
    // StarRocks source RestBaseAction.redirectToLeader (3.5): stand-in only, it needs a second frontend.
    let target = Target::new().await;
    let Some(server) = &target.server else { return };
    target.create("t", TABLE).await;
    let follower = format!("127.0.0.1:{}", server.follower_port().expect("a follower"));
    let leader = target.frontend.clone();
    let authorization = target.authorization();
    let database = target.database.clone();
    let backend_address = format!("127.0.0.1:{}", server.ports().be_http);
    let (load, state) = (format!("/api/{database}/t/_stream_load"), format!("/api/{database}/get_load_state?label=l"));
    let merged = format!("{load}?merged");
    let cancel = format!("/api/{database}/t/_cancel?label=l");
    let rows = [
        ("PUT", load.as_str(), &backend_address, "an ordinary load goes to a backend at once"),
        ("PUT", &merged, &leader, "a load to be merged goes to the leader"),
        ("POST", "/api/transaction/begin", &leader, "a transaction goes to the leader"),
        ("GET", &state, &leader, "a label's state goes to the leader"),
        ("POST", &cancel, &leader, "a cancel goes to the leader"),
    ];
    for (method, path, to, why) in rows {
        let merge = if path.ends_with("?merged") { "true" } else { "false" };
        let headers = [
            ("Authorization", authorization.as_str()),
            ("Expect", "100-continue"),
            ("db", &database),
            ("label", "l"),
            ("enable_merge_commit", merge),
        ];
        let response = request(&follower, method, path, &headers, b"").await.expect(why);
        assert_eq!(response.status, 307, "{why}");
        assert_eq!(&response.location().0, to, "{why}");
    }
    server.set_leader(1);
    let headers = [("Authorization", authorization.as_str())];
    let response = request(&leader, "GET", &state, &headers, b"").await.expect("the old leader redirects");
    assert_eq!(response.location().0, follower, "after a change of the leader");
}

#[tokio::test]
async fn the_backend_knows_few_paths() {
    // StarRocks source: the backend's HTTP server answers 404 to a path nobody has registered (3.5).
    let target = Target::new().await;
    target.create("t", TABLE).await;
    let (address, _) = backend(&target).await;
    let authorization = target.authorization();
    for path in ["/api/nonsense", "/api/d/t/nonsense"] {
        let response = request(&address, "PUT", path, &[("Authorization", &authorization)], b"{}").await;
        assert_eq!(response.expect("an answer").status, 404, "{path}");
    }
}

#[tokio::test]
async fn heads_that_are_too_long_for_the_frontend() {
    // StarRocks source Config.java: http_max_initial_line_length 4096, http_max_header_size 32768. How the server says no
    // is in doubt; that it does not redirect is not.
    let target = Target::new().await;
    target.create("t", TABLE).await;
    let path = format!("/api/{}/t/_stream_load", target.database);
    let authorization = target.authorization();
    let (long, longest) = ("x".repeat(5000), "x".repeat(40_000));
    let rows = [
        (path.clone(), long.as_str(), true, "a header of 5000 bytes"),
        (path.clone(), longest.as_str(), false, "headers of 40000 bytes"),
        (format!("{path}?{long}"), "", false, "a first line of 5000 bytes"),
    ];
    for (path, columns, redirected, why) in rows {
        let headers = [("Authorization", authorization.as_str()), ("Expect", "100-continue"), ("columns", columns)];
        let response = request(&target.frontend, "PUT", &path, &headers, b"").await;
        assert_eq!(response.is_some_and(|response| response.status == 307), redirected, "{why}");
    }
}
