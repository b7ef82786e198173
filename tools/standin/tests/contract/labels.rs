//! Labels: their shape, their states, how long they are known.

use std::time::Duration;

use starrocks_standin::fault::{Action, Fault};
use starrocks_standin::store::Settings;

use crate::client::Client;
use crate::target::Target;

const TABLE: &str = "(id INT NOT NULL, v VARCHAR(3) NULL) PRIMARY KEY (id) DISTRIBUTED BY HASH(id) BUCKETS 1";
const LONGEST: &str = "0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789\
                       0123456789012345678901234567";

const TOO_LONG: &str = "0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789\
                        01234567890123456789012345678";

struct Case {
    name: &'static str,
    source: &'static str,
    label: &'static str,
    body: &'static str,
    status: &'static str,
    message: &'static str,
    /// The label's state afterwards.
    state: &'static str,
}

/// One after the other on one table.
const CASES: &[Case] = &[
    Case {
        name: "a first load",
        source: "StarRocks docs STREAM LOAD, label",
        label: "one",
        body: r#"{"id":1}"#,
        status: "Success",
        message: "OK",
        state: "VISIBLE",
    },
    Case {
        name: "the same label again",
        source: "StarRocks docs STREAM LOAD, Label Already Exists",
        label: "one",
        body: r#"{"id":2}"#,
        status: "Label Already Exists",
        message: "Label [one] has already been used.",
        state: "VISIBLE",
    },
    Case {
        name: "a failed load",
        source: "StarRocks source DatabaseTransactionMgr.java (3.5)",
        label: "two",
        body: r#"{"v":"no key"}"#,
        status: "Fail",
        message: "too many filtered rows",
        state: "ABORTED",
    },
    Case {
        name: "an aborted label is free again",
        source: "StarRocks source DatabaseTransactionMgr.java (3.5)",
        label: "two",
        body: r#"{"id":2}"#,
        status: "Success",
        message: "OK",
        state: "VISIBLE",
    },
    Case {
        name: "a label of 128 characters",
        source: "StarRocks source FeNameFormat.java (3.5)",
        label: LONGEST,
        body: r#"{"id":3}"#,
        status: "Success",
        message: "OK",
        state: "VISIBLE",
    },
    Case {
        name: "a label of another shape",
        source: "StarRocks source FeNameFormat.java (3.5)",
        label: "a.b",
        body: r#"{"id":4}"#,
        status: "Fail",
        message: "Label format error. regex: ^[-\\w]{1,128}$, label: a.b",
        state: "UNKNOWN",
    },
    Case {
        name: "a label of 129 characters",
        source: "StarRocks source FeNameFormat.java (3.5)",
        label: TOO_LONG,
        body: r#"{"id":4}"#,
        status: "Fail",
        message: "Label format error. regex: ^[-\\w]{1,128}$, label: 0123",
        state: "UNKNOWN",
    },
    Case {
        name: "a label beyond ASCII",
        source: "StarRocks source FeNameFormat.java (3.5)",
        label: "bücher",
        body: r#"{"id":4}"#,
        status: "Fail",
        message: "Label format error",
        state: "UNKNOWN",
    },
    Case {
        name: "every sign a label may hold",
        source: "StarRocks source FeNameFormat.java (3.5)",
        label: "-aZ_09-",
        body: r#"{"id":1}"#,
        status: "Success",
        message: "OK",
        state: "VISIBLE",
    },
    Case {
        name: "a load refused before its transaction leaves no trace",
        source: "StarRocks source stream_load.cpp (3.5)",
        label: "three",
        body: "",
        status: "Fail",
        message: "all partitions have no load data",
        state: "ABORTED",
    },
];

#[tokio::test]
async fn labels_go_through_their_states() {
    let target = Target::new().await;
    target.create("t", TABLE).await;
    for case in CASES {
        let answer = target.load("t", &[("format", "json"), ("label", case.label)], case.body.as_bytes()).await;
        let place = format!("{} [{}]: {answer}", case.name, case.source);
        assert_eq!(answer["Status"], case.status, "{place}");
        assert!(answer["Message"].as_str().unwrap_or_default().contains(case.message), "{place}");
        if case.status == "Label Already Exists" {
            assert_eq!(answer["TxnId"], -1, "{place}");
            assert_eq!(answer["ExistingJobStatus"], "FINISHED", "{place}");
        } else {
            assert!(answer.get("ExistingJobStatus").is_none(), "{place}");
        }
        assert_eq!(target.label_state(case.label).await, case.state, "{place}");
    }
    assert_eq!(target.rows("t").await.len(), 3);
}

#[tokio::test]
async fn a_label_is_taken_when_the_headers_are_in() {
    // StarRocks source stream_load.cpp (3.5): the backend begins the transaction in the header phase.
    let target = Target::new().await;
    target.create("t", TABLE).await;
    let load = format!("/api/{}/t/_stream_load", target.database);
    let (address, path) = target.ask("PUT", &load, &[("Expect", "100-continue")]).await.location();
    let authorization = target.authorization();
    let headers = [
        ("Authorization", authorization.as_str()),
        ("format", "json"),
        ("label", "slow"),
        ("Expect", "100-continue"),
        ("Content-Length", "8"),
    ];
    let mut client = Client::connect(&address).await;
    client.send("PUT", &path, &headers, b"{\"id\"").await;
    // A second load under the label tells when the first one's headers have been read.
    let second = loop {
        let answer = target.load("t", &[("format", "json"), ("label", "slow")], b"{\"v\":1}").await;
        if answer["Status"] != "Fail" {
            break answer;
        }
    };
    assert_eq!(second["Status"], "Label Already Exists", "{second}");
    assert_eq!(second["ExistingJobStatus"], "RUNNING", "{second}");
    assert_eq!(target.label_state("slow").await, "PREPARE");
    client.write(b":1}").await;
    let response = client.response().await.expect("the first load's answer");
    assert_eq!(response.continues, 1);
    assert!(response.body.contains("Success"), "{}", response.body);
    assert_eq!(target.label_state("slow").await, "VISIBLE");
}

#[tokio::test]
async fn labels_belong_to_their_database_not_their_table() {
    // StarRocks docs Load labels.
    let target = Target::new().await;
    target.create("t", TABLE).await;
    target.create("u", TABLE).await;
    target.load("t", &[("format", "json"), ("label", "shared")], br#"{"id":1}"#).await;
    let answer = target.load("u", &[("format", "json"), ("label", "shared")], br#"{"id":1}"#).await;
    assert_eq!(answer["Status"], "Label Already Exists", "{answer}");
}

#[tokio::test]
async fn names_that_are_not_there() {
    // StarRocks source FrontendServiceImpl.java (3.5).
    let target = Target::new().await;
    let answer = target.load("missing", &[("format", "json")], br#"{"id":1}"#).await;
    assert_eq!(answer["Status"], "Fail", "{answer}");
    assert!(answer["Message"].as_str().unwrap_or_default().contains("unknown table"), "{answer}");
    let response = target.through("PUT", "/api/no_such_database/t/_stream_load", &[("format", "json")], b"{}").await;
    assert!(response.body.contains("unknown database, database=no_such_database"), "{}", response.body);
}

#[tokio::test]
async fn labels_are_forgotten_by_number_and_by_age() {
    // StarRocks source DatabaseTransactionMgr.removeExpiredTxns: label_keep_max_num, label_keep_max_second. Stand-in only.
    let rows = [
        (
            Settings { label_keep_max_num: 2, ..Settings::default() },
            ["UNKNOWN", "VISIBLE", "VISIBLE"],
            "the newest two",
        ),
        (Settings { label_keep: Duration::from_secs(3600), ..Settings::default() }, ["VISIBLE"; 3], "young enough"),
    ];
    for (settings, states, why) in rows {
        let target = Target::with(settings).await;
        let Some(server) = &target.server else { return };
        target.create("t", TABLE).await;
        for label in ["a", "b", "c"] {
            target.load("t", &[("format", "json"), ("label", label)], br#"{"id":1}"#).await;
            assert_eq!(target.label_state(label).await, "VISIBLE", "{why}: until the sweep");
        }
        server.store().sweep_labels();
        for (label, state) in ["a", "b", "c"].iter().zip(states) {
            assert_eq!(target.label_state(label).await, state, "{why}: {label}");
        }
        let again = target.load("t", &[("format", "json"), ("label", "a")], br#"{"id":1}"#).await;
        let want = if states[0] == "UNKNOWN" { "Success" } else { "Label Already Exists" };
        assert_eq!(again["Status"], want, "{why}: a forgotten label is free");
    }
}

#[tokio::test]
async fn the_sweep_comes_by_itself_and_counts_per_database() {
    // StarRocks FE label_keep_max_num, label_keep_max_second, transaction_clean_interval_second (3.5). Stand-in only.
    let every = Duration::from_millis(1);
    let rows = [
        (Settings { label_keep_max_num: 1, label_sweep_every: every, ..Settings::default() }, "VISIBLE", "by number"),
        (Settings { label_keep: Duration::ZERO, label_sweep_every: every, ..Settings::default() }, "UNKNOWN", "by age"),
    ];
    for (settings, newest, why) in rows {
        let target = Target::with(settings).await;
        let Some(server) = &target.server else { return };
        target.create("t", TABLE).await;
        let other = format!("{}_other", target.database);
        target.sql(&[&format!("CREATE DATABASE {other}")]).await;
        let running = server.store().begin(&target.database, &["t"], "running", 60_000).expect("begin");
        let prepared = server.store().begin(&target.database, &["t"], "prepared", 60_000).expect("begin");
        let counts = starrocks_standin::store::Counts::default();
        server.store().prepare(&target.database, prepared, Vec::new(), counts, 60_000).expect("prepare");
        for label in ["old", "new"] {
            target.load("t", &[("format", "json"), ("label", label)], br#"{"id":1}"#).await;
        }
        // A load of another database pushes nothing out here.
        let there = server.store().begin(&other, &[], "there", 60_000).expect("begin");
        server.store().abort(&other, there, "test");
        let begun = std::time::Instant::now();
        while target.label_state("old").await != "UNKNOWN" || target.label_state("new").await != newest {
            assert!(begun.elapsed() < Duration::from_secs(120), "{why}: swept");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        assert_eq!(target.label_state("running").await, "PREPARE", "{why}: what runs is kept");
        assert_eq!(target.label_state("prepared").await, "PREPARED", "{why}: what is prepared is kept");
        server.store().abort(&target.database, running, "test");
        target.sql(&[&format!("DROP DATABASE {other} FORCE")]).await;
    }
}

#[tokio::test]
async fn limits_refuse_in_their_words() {
    // StarRocks source delta_writer.cpp, DatabaseTransactionMgr.java (3.5). Stand-in only: the limits must be small.
    let settings = Settings {
        tablet_versions_max: 2,
        compacted_versions_per_second: 0,
        running_txn_max: 1,
        ..Settings::default()
    };
    let target = Target::with(settings).await;
    let Some(server) = &target.server else { return };
    target.create("t", TABLE).await;
    let json: &[(&str, &str)] = &[("format", "json")];
    for _ in 0..2 {
        assert_eq!(target.load("t", json, br#"{"id":1}"#).await["Status"], "Success");
    }
    let answer = target.load("t", json, br#"{"id":1}"#).await;
    let message = answer["Message"].as_str().unwrap_or_default();
    assert!(
        message.contains("because of too many versions, current/limit: 3/2. You can reduce the loading"),
        "{message}"
    );
    let compacting = std::time::Instant::now();
    server.store().change_settings(|settings| settings.compacted_versions_per_second = 1000);
    while target.load("t", json, br#"{"id":1}"#).await["Status"] != "Success" {
        assert!(compacting.elapsed() < Duration::from_secs(30), "compaction takes versions away");
    }
    server.store().change_settings(|settings| settings.tablet_versions_max = 1000);
    let running = server.store().begin(&target.database, &["t"], "running", 60_000).expect("begin");
    let answer = target.load("t", json, br#"{"id":1}"#).await;
    let message = answer["Message"].as_str().unwrap_or_default();
    assert!(
        message.contains("current running txns on db") && message.contains("is 1, larger than limit 1"),
        "{message}"
    );
    server.store().abort(&target.database, running, "test");
    assert_eq!(target.load("t", json, br#"{"id":1}"#).await["Status"], "Success");
}

#[tokio::test]
async fn a_running_load_can_be_cancelled() {
    // StarRocks source CancelStreamLoadAction.java (3.5). Stand-in only: the load must be held.
    let target = Target::new().await;
    let Some(server) = &target.server else { return };
    target.create("t", TABLE).await;
    server.store().begin(&target.database, &["t"], "held", 60_000).expect("begin");
    let path = format!("/api/{}/t/_cancel?label=held", target.database);
    let response = target.ask("POST", &path, &[]).await;
    assert!(response.body.contains(r#""status":"OK""#), "{}", response.body);
    assert_eq!(target.label_state("held").await, "ABORTED");
    let response = target.ask("POST", &path, &[]).await;
    assert!(response.body.contains("FAILED"), "{}", response.body);
}

#[tokio::test]
async fn a_load_whose_answer_was_lost_is_told_by_its_label() {
    // StarRocks docs STREAM LOAD, labels: at-most-once. Stand-in only: the answer must get lost.
    let rows = [
        (Action::ResetBeforeCommit, "ABORTED", 0, "lost before the commit"),
        (Action::ResetAfterCommit, "VISIBLE", 1, "lost after it"),
    ];
    for (action, state, count, why) in rows {
        let target = Target::new().await;
        let Some(server) = &target.server else { return };
        target.create("t", TABLE).await;
        server.faults().add(Fault::next(action));
        let path = format!("/api/{}/t/_stream_load", target.database);
        let (address, path) = target.ask("PUT", &path, &[("Expect", "100-continue")]).await.location();
        let authorization = target.authorization();
        let headers = [("Authorization", authorization.as_str()), ("format", "json"), ("label", "lost")];
        let answer = crate::client::request(&address, "PUT", &path, &headers, br#"{"id":1}"#).await;
        assert!(answer.is_none(), "{why}: no answer");
        assert_eq!(target.label_state("lost").await, state, "{why}");
        assert_eq!(target.rows("t").await.len(), count, "{why}");
    }
}
