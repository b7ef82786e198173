//! What a load's answer, a label's state and the list of loads look like; texts clients match on.

use std::time::{Duration, Instant};

use starrocks_standin::fault::{Action, Fault};
use starrocks_standin::store::{Release, Settings};

use crate::client::Client;
use crate::target::Target;

const TABLE: &str = "(id INT NOT NULL, v VARCHAR(3) NULL) PRIMARY KEY (id) DISTRIBUTED BY HASH(id) BUCKETS 1";
const JSON: &[(&str, &str)] = &[("format", "json")];

/// Names of an object's fields, in the order they are written.
fn fields(body: &str) -> Vec<&str> {
    let name = |line: &'_ str| -> Option<usize> { line.trim_start().strip_prefix('"')?.find("\": ") };
    body.lines().filter_map(|line| name(line).map(|length| &line.trim_start()[1..=length])).collect()
}

const COUNTS_AND_TIMES: [&str; 11] = [
    "NumberTotalRows",
    "NumberLoadedRows",
    "NumberFilteredRows",
    "NumberUnselectedRows",
    "LoadBytes",
    "LoadTimeMs",
    "BeginTxnTimeMs",
    "StreamLoadPlanTimeMs",
    "ReadDataTimeMs",
    "WriteDataTimeMs",
    "CommitAndPublishTimeMs",
];

#[tokio::test]
async fn fields_come_in_order_whatever_became_of_the_load() {
    // StarRocks source stream_load_context.cpp (3.5; Db and Table 4.1).
    let filtered: &[(&str, &str)] =
        &[("format", "json"), ("strict_mode", "true"), ("log_rejected_record_num", "-1"), ("label", "filtered")];
    let rows: &[(&[(&str, &str)], &str, &[&str], &[&str])] = &[
        // headers, body, what follows Status, what ends the answer
        (&[("format", "json"), ("label", "taken")], r#"{"id":1}"#, &[], &[]),
        (&[("format", "json"), ("label", "taken")], r#"{"id":1}"#, &["ExistingJobStatus"], &[]),
        (filtered, r#"{"id":1,"v":"abcd"}"#, &[], &["ErrorURL", "RejectedRecordPath"]),
        (&[("format", "nonsense")], "", &[], &[]),
    ];
    for (release, named) in [(Release::V3_5, &[][..]), (Release::V4_1, &["Db", "Table"])] {
        let target = Target::with(Settings { release, ..Settings::default() }).await;
        if target.server.is_none() {
            return; // The release of a real cluster is not known here.
        }
        target.create("t", TABLE).await;
        let path = format!("/api/{}/t/_stream_load", target.database);
        for (headers, body, after_status, end) in rows {
            let answer = target.through("PUT", &path, headers, body.as_bytes()).await.body;
            let want =
                [&["TxnId", "Label"], named, &["Status"], after_status, &["Message"], &COUNTS_AND_TIMES, end].concat();
            assert_eq!(fields(&answer), want, "{release:?}: {answer}");
        }
    }
}

#[tokio::test]
async fn a_duplicate_label_is_told_with_zeros() {
    // StarRocks regression test_stream_load (3.5): TxnId -1 and nothing counted.
    let target = Target::new().await;
    target.create("t", TABLE).await;
    let headers: &[(&str, &str)] = &[("format", "json"), ("label", "twice")];
    target.load("t", headers, br#"{"id":1}"#).await;
    let answer = target.load("t", headers, br#"{"id":2}"#).await;
    assert_eq!(answer["TxnId"], -1, "{answer}");
    assert_eq!(answer["ExistingJobStatus"], "FINISHED", "{answer}");
    assert_eq!(answer["Message"], "Label [twice] has already been used.", "{answer}");
    for name in &COUNTS_AND_TIMES[..5] {
        assert_eq!(answer[name], 0, "{name} in {answer}");
    }
}

#[tokio::test]
async fn a_transaction_number_tells_whether_one_was_begun() {
    // StarRocks source stream_load.cpp (3.5): -1 until the transaction is begun.
    let target = Target::new().await;
    target.create("t", TABLE).await;
    let rows: &[(&[(&str, &str)], &str, bool, &str)] = &[
        (&[("format", "nonsense")], "", false, "a bad header"),
        (&[("format", "json"), ("timeout", "0")], r#"{"id":1}"#, false, "a bad timeout"),
        (&[("format", "json"), ("label", "a b")], r#"{"id":1}"#, false, "a bad label"),
        (&[("format", "json"), ("columns", "id, x = id")], r#"{"id":1}"#, true, "a bad plan"),
        (JSON, r#"{"v":"a"}"#, true, "bad rows"),
        (JSON, "", true, "no rows"),
        (JSON, r#"{"id":1}"#, true, "a good load"),
    ];
    for (headers, body, begun, why) in rows {
        let answer = target.load("t", headers, body.as_bytes()).await;
        assert_eq!(answer["TxnId"].as_i64().is_some_and(|id| id > 0), *begun, "{why}: {answer}");
        assert!(*begun || answer["TxnId"] == -1, "{why}: {answer}");
    }
}

#[tokio::test]
async fn a_wrong_password_at_the_backend_fails_the_load() {
    // StarRocks source FrontendServiceImpl.java (3.5): the frontend checks the user when the transaction is begun.
    let target = Target::new().await;
    target.create("t", TABLE).await;
    let path = format!("/api/{}/t/_stream_load", target.database);
    let (address, path) = target.ask("PUT", &path, &[("Expect", "100-continue")]).await.location();
    let headers = [("Authorization", "Basic bm9ib2R5Ondyb25n"), ("format", "json")];
    let response = crate::client::request(&address, "PUT", &path, &headers, br#"{"id":1}"#).await.expect("an answer");
    assert_eq!(response.status, 200, "{}", response.body);
    for part in ["\"Status\": \"Fail\"", "Access denied", "\"TxnId\": -1"] {
        assert!(response.body.contains(part), "{part}: {}", response.body);
    }
}

#[tokio::test]
async fn missing_names_are_written_in_full() {
    // StarRocks source FrontendServiceImpl.java (3.5).
    let target = Target::new().await;
    let answer = target.load("missing", JSON, br#"{"id":1}"#).await;
    let want = format!("unknown table \"{}.missing\"", target.database);
    assert!(answer["Message"].as_str().unwrap_or_default().contains(&want), "{answer}");
}

#[tokio::test]
async fn a_delete_under_a_condition_is_refused() {
    // StarRocks source memtable.cpp (3.5).
    let target = Target::new().await;
    target.create("t", "(id INT NOT NULL, v INT NULL) PRIMARY KEY (id) DISTRIBUTED BY HASH(id) BUCKETS 1").await;
    let headers: &[(&str, &str)] = &[("format", "json"), ("merge_condition", "v")];
    let answer = target.load("t", headers, br#"{"id":1,"v":1,"__op":1}"#).await;
    let message = answer["Message"].as_str().unwrap_or_default();
    assert!(message.contains("memtable of tablet") && message.contains("delete with condition column v"), "{answer}");
}

#[tokio::test]
async fn commits_that_take_longer_than_the_load_may() {
    // StarRocks docs STREAM LOAD, Publish Timeout; FE enable_sync_publish (3.5). Stand-in only: publishing must be slow.
    let hour = Duration::from_secs(3600);
    let target = Target::with(Settings { publish_takes: hour, ..Settings::default() }).await;
    let Some(server) = &target.server else { return };
    target.create("t", TABLE).await;
    let headers: &[(&str, &str)] = &[("format", "json"), ("label", "slow"), ("timeout", "1")];
    let answer = target.load("t", headers, br#"{"id":1}"#).await;
    assert_eq!(answer["Status"], "Publish Timeout", "{answer}");
    let message = answer["Message"].as_str().unwrap_or_default();
    assert!(message.starts_with("Publish timeout. The data will be visible after a while"), "{answer}");
    assert_eq!(answer["NumberLoadedRows"], 1, "{answer}");
    assert_eq!(target.label_state("slow").await, "COMMITTED");
    assert!(target.rows("t").await.is_empty(), "committed, not visible yet");
    let again = target.load("t", headers, br#"{"id":1}"#).await;
    assert_eq!(again["Status"], "Label Already Exists", "{again}");
    assert_eq!(again["ExistingJobStatus"], "FINISHED", "it is committed: {again}");
    let cancel = target.ask("POST", &format!("/api/{}/t/_cancel?label=slow", target.database), &[]).await;
    assert!(cancel.body.contains("FAILED"), "nothing takes a commit back: {}", cancel.body);
    server.store().change_settings(|settings| settings.publish_takes = Duration::ZERO);
    assert_eq!(target.label_state("slow").await, "VISIBLE");
    assert_eq!(target.rows("t").await, [["1", "NULL"]]);
}

#[tokio::test]
async fn a_load_waits_for_its_commit_to_become_visible() {
    // StarRocks FE enable_sync_publish (3.5): Success means visible. Stand-in only: publishing must be slow.
    let target = Target::with(Settings { publish_takes: Duration::from_millis(200), ..Settings::default() }).await;
    if target.server.is_none() {
        return;
    }
    target.create("t", TABLE).await;
    for (id, want) in [("1", 1), ("2", 2)] {
        let answer = target.load("t", JSON, format!("{{\"id\":{id}}}").as_bytes()).await;
        assert_eq!(answer["Status"], "Success", "{answer}");
        assert_eq!(target.rows("t").await.len(), want);
    }
}

#[tokio::test]
async fn a_load_that_outlives_its_timeout_fails() {
    // StarRocks docs STREAM LOAD, timeout; source DatabaseTransactionMgr.java (3.5).
    let target = Target::new().await;
    target.create("t", TABLE).await;
    let path = format!("/api/{}/t/_stream_load", target.database);
    let (address, path) = target.ask("PUT", &path, &[("Expect", "100-continue")]).await.location();
    let authorization = target.authorization();
    let headers = [
        ("Authorization", authorization.as_str()),
        ("format", "json"),
        ("label", "late"),
        ("timeout", "1"),
        ("Content-Length", "8"),
    ];
    let mut client = Client::connect(&address).await;
    client.send("PUT", &path, &headers, b"{\"id\"").await;
    let begun = Instant::now();
    while target.label_state("late").await != "ABORTED" {
        assert!(begun.elapsed() < Duration::from_secs(120), "its time ends");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    client.write(b":1}").await;
    let response = client.response().await.expect("the load's answer");
    assert!(response.body.contains("\"Status\": \"Fail\""), "{}", response.body);
    assert!(response.body.contains("timeout"), "{}", response.body);
    assert!(target.rows("t").await.is_empty());
}

/// Texts only a cluster in trouble says. They are the documented words; the stand-in says them when told to.
const TROUBLES: &[&str] = &[
    "streamload txn num per be exceeds limit, be id: 10001, current: 100, limit: 100",
    "close index channel failed/too many tablet error",
    "wait close failed",
    "rpc failed, error: [E1008]Reached timeout=60000ms @127.0.0.1:8060",
    "Memory of tablet updates exceed limit",
    "MemoryLimitExceeded",
    "MEM_LIMIT_EXCEEDED",
    "current fe is not master",
    "Tablet is in error state",
    "Database[d] data size exceeds quota[8192.000 PB]",
    "transaction is aborted by timeout",
];

#[tokio::test]
async fn a_load_in_trouble_leaves_nothing_and_its_label_free() {
    // StarRocks source tablet_sink.cpp, mem_tracker.h, Database.java (3.5). Stand-in only: trouble comes by order.
    let target = Target::new().await;
    let Some(server) = &target.server else { return };
    target.create("t", TABLE).await;
    let headers: &[(&str, &str)] = &[("format", "json"), ("label", "trouble")];
    for text in TROUBLES {
        server.faults().add(Fault::next(Action::Fail { message: (*text).to_owned() }));
        let answer = target.load("t", headers, br#"{"id":1}"#).await;
        assert_eq!((&answer["Status"], &answer["Message"]), (&"Fail".into(), &(*text).into()), "{answer}");
        assert_eq!(target.label_state("trouble").await, "ABORTED", "{text}");
        assert!(target.rows("t").await.is_empty(), "{text}");
    }
    assert_eq!(target.load("t", headers, br#"{"id":1}"#).await["Status"], "Success", "the same label again");
}

#[tokio::test]
async fn a_frontend_without_backends_refuses() {
    // StarRocks source LoadAction.java (3.5). Stand-in only: by order.
    let target = Target::new().await;
    let Some(server) = &target.server else { return };
    target.create("t", TABLE).await;
    let message = "class com.starrocks.common.DdlException: No backend alive.".to_owned();
    server.faults().add(Fault::next(Action::Fail { message: message.clone() }).at_frontend());
    let path = format!("/api/{}/t/_stream_load", target.database);
    let response = target.ask("PUT", &path, &[("Expect", "100-continue")]).await;
    assert_eq!(response.status, 200);
    assert_eq!(response.body, format!("{{\n  \"Status\": \"FAILED\",\n  \"Message\": \"{message}\"\n}}"));
}

#[tokio::test]
async fn shared_data_limits_the_compaction_score() {
    // StarRocks FE lake_compaction_score_upper_bound (3.3). Stand-in only: the limit must be small.
    let settings = Settings {
        shared_data: true,
        compaction_score_max: 2,
        compacted_versions_per_second: 0,
        ..Settings::default()
    };
    let target = Target::with(settings).await;
    let Some(server) = &target.server else { return };
    target.create("t", TABLE).await;
    for _ in 0..2 {
        assert_eq!(target.load("t", JSON, br#"{"id":1}"#).await["Status"], "Success");
    }
    let answer = target.load("t", JSON, br#"{"id":1}"#).await;
    let message = answer["Message"].as_str().unwrap_or_default();
    assert!(message.contains("because of too large compaction score, current/limit: 3/2"), "{answer}");
    server.store().change_settings(|settings| settings.compaction_score_max = 2000);
    assert_eq!(target.load("t", JSON, br#"{"id":1}"#).await["Status"], "Success");
}

#[tokio::test]
async fn a_labels_state_is_one_line() {
    // StarRocks source GetStreamLoadState.java, RestBaseResult.java (3.5).
    let target = Target::new().await;
    target.create("t", TABLE).await;
    target.load("t", &[("format", "json"), ("label", "good")], br#"{"id":1}"#).await;
    target.load("t", &[("format", "json"), ("label", "bad")], br#"{"v":"a"}"#).await;
    let ok = r#""status":"OK","code":"0","msg":"Success","message":"OK"}"#;
    let failed = |text: &str| format!(r#"{{"status":"FAILED","code":"1","msg":"{text}","message":"{text}"}}"#);
    let database = target.database.as_str();
    let rows = [
        (format!("/api/{database}/get_load_state?label=good"), format!(r#"{{"state":"VISIBLE","reason":"",{ok}"#)),
        (format!("/api/{database}/get_load_state?label=none"), format!(r#"{{"state":"UNKNOWN","reason":"",{ok}"#)),
        (format!("/api/{database}/get_load_state"), failed("No label selected.")),
        ("/api//get_load_state?label=good".to_owned(), failed("No database selected.")),
        ("/api/nowhere/get_load_state?label=good".to_owned(), failed("unknown database, database=nowhere")),
    ];
    for (path, want) in rows {
        let response = target.ask("GET", &path, &[]).await;
        assert_eq!((response.status, response.body), (200, want), "{path}");
    }
    let bad = target.ask("GET", &format!("/api/{database}/get_load_state?label=bad"), &[]).await.body;
    let bad: serde_json::Value = serde_json::from_str(&bad).expect("JSON");
    assert_eq!(bad["state"], "ABORTED", "{bad}");
    assert!(bad["reason"].as_str().unwrap_or_default().contains("too many filtered rows"), "{bad}");
}

#[tokio::test]
async fn there_is_no_other_page_for_a_labels_state() {
    // StarRocks source HttpServer.java (3.5): Doris' `_state` is not registered.
    let target = Target::new().await;
    let path = format!("/api/{}/_state?label=l", target.database);
    let response = target.ask("GET", &path, &[]).await;
    assert!(response.status == 404 || !response.body.contains("\"state\""), "{}", response.body);
}

#[tokio::test]
async fn loads_are_listed() {
    // StarRocks docs information_schema.loads (3.1).
    let target = Target::new().await;
    target.create("t", TABLE).await;
    target.load("t", &[("format", "json"), ("label", "good")], br#"{"id":1}{"id":2}"#).await;
    let half = &[("format", "json"), ("label", "half"), ("max_filter_ratio", "0.5")];
    target.load("t", half, br#"{"id":1}{"v":"a"}"#).await;
    target.load("t", &[("format", "json"), ("label", "bad")], br#"{"v":"a"}"#).await;
    let query = format!(
        "SELECT LABEL, TABLE_NAME, STATE, TYPE, SINK_ROWS, FILTERED_ROWS FROM information_schema.loads WHERE DB_NAME = \
         '{}' AND STATE = 'FINISHED' ORDER BY LABEL",
        target.database
    );
    let want = [["good", "t", "FINISHED", "STREAM LOAD", "2", "0"], ["half", "t", "FINISHED", "STREAM LOAD", "1", "1"]];
    assert_eq!(target.query(&query).await, want);
    let query = format!(
        "SELECT STATE, ERROR_MSG FROM information_schema.loads WHERE DB_NAME = '{}' AND LABEL = 'bad'",
        target.database
    );
    let bad = target.query(&query).await;
    assert_eq!(bad[0][0], "CANCELLED", "{bad:?}");
    assert!(bad[0][1].contains("too many filtered rows"), "{bad:?}");
}
