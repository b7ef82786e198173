//! What depends on how the stand-in is set: shared-data mode, releases, replicas.

use std::time::Duration;

use super::support::Target;

use mysql_async::Conn;
use mysql_async::prelude::Queryable;
use starrocks_standin::store::{Release, Settings};

async fn with_table(settings: Settings) -> (Target, Conn) {
    let target = Target::stand_in(settings).await;
    let mut connection = target.connect(None).await;
    for statement in [
        "CREATE DATABASE d",
        "USE d",
        "CREATE TABLE t (k INT, v INT) PRIMARY KEY (k) DISTRIBUTED BY HASH(k) PROPERTIES ('replication_num' = '1')",
    ] {
        connection.query_drop(statement).await.expect(statement);
    }
    (target, connection)
}

async fn texts(connection: &mut Conn, query: &str) -> Vec<String> {
    connection.query(query).await.expect(query)
}

const STATE: &str = "SHOW ALTER TABLE COLUMN FROM d WHERE TableName = 't' ORDER BY CreateTime DESC LIMIT 1";

async fn state(connection: &mut Conn) -> String {
    let row: Option<mysql_async::Row> = connection.query_first(STATE).await.expect(STATE);
    row.and_then(|row| row.get("State")).unwrap_or_default()
}

/// Before 4.1, ADD COLUMN in shared-data mode is a job; until it has finished nobody sees the column.
#[tokio::test]
async fn a_schema_change_can_be_a_job() {
    let settings = Settings {
        shared_data: true,
        release: Release::V3_5,
        alter_takes: Duration::from_millis(600),
        ..Settings::default()
    };
    let (_target, mut connection) = with_table(settings).await;
    connection.query_drop("ALTER TABLE t ADD COLUMN c INT").await.expect("accepted");
    let columns = "SELECT COLUMN_NAME FROM information_schema.columns WHERE TABLE_NAME = 't' ORDER BY ORDINAL_POSITION";
    assert_eq!(texts(&mut connection, columns).await, ["k", "v"]);
    let first = state(&mut connection).await;
    assert!(["PENDING", "WAITING_TXN", "RUNNING"].contains(&first.as_str()), "{first}");
    let second = connection.query_drop("ALTER TABLE t ADD COLUMN e INT").await.expect_err("one at a time");
    assert!(second.to_string().contains("A schema change operation is in progress on the table \"t\""), "{second}");
    // There is no signal to wait for: clients of StarRocks poll, so the test does.
    while state(&mut connection).await != "FINISHED" {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(texts(&mut connection, columns).await, ["k", "v", "c"]);
    let row: mysql_async::Row = connection.query_first(STATE).await.expect(STATE).expect("a job");
    assert_eq!(row.get::<String, _>("Warehouse").as_deref(), Some("default_warehouse"));
}

#[tokio::test]
async fn a_job_can_be_cancelled() {
    let settings = Settings { alter_takes: Duration::from_secs(3600), ..Settings::default() };
    let (_target, mut connection) = with_table(settings).await;
    connection.query_drop("ALTER TABLE t MODIFY COLUMN v BIGINT").await.expect("accepted");
    let truncate = connection.query_drop("TRUNCATE TABLE t").await.expect_err("not in state NORMAL");
    assert!(truncate.to_string().contains("1064"), "{truncate}");
    connection.query_drop("CANCEL ALTER TABLE COLUMN FROM t").await.expect("cancelled");
    assert_eq!(state(&mut connection).await, "CANCELLED");
    let types = "SELECT COLUMN_TYPE FROM information_schema.columns WHERE TABLE_NAME = 't' ORDER BY ORDINAL_POSITION";
    assert_eq!(texts(&mut connection, types).await, ["int(11)", "int(11)"]);
}

/// A change of type rewrites the rows, and takes its time also in shared-nothing mode.
#[tokio::test]
async fn a_change_of_type_converts_the_rows() {
    let (_target, mut connection) =
        with_table(Settings { alter_takes: Duration::from_millis(50), ..Settings::default() }).await;
    connection.query_drop("INSERT INTO t VALUES (1, 10), (2, NULL)").await.expect("INSERT");
    connection.query_drop("ALTER TABLE t MODIFY COLUMN v VARCHAR(20)").await.expect("accepted");
    while state(&mut connection).await != "FINISHED" {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let types = "SELECT COLUMN_TYPE FROM information_schema.columns WHERE TABLE_NAME = 't' ORDER BY ORDINAL_POSITION";
    assert_eq!(texts(&mut connection, types).await, ["int(11)", "varchar(20)"]);
    assert_eq!(texts(&mut connection, "SELECT concat(v, '!') FROM t WHERE v IS NOT NULL").await, ["10!"]);
}

/// What only metadata can do is done at once, what it cannot is a job: by change, run mode, release and the table's
/// `fast_schema_evolution` (StarRocks docs, ALTER TABLE; `SchemaChangeHandler.java`).
#[tokio::test]
async fn which_changes_are_jobs() {
    const ADD: &str = "ALTER TABLE t ADD COLUMN c INT NULL DEFAULT '1'";
    const DROP: &str = "ALTER TABLE t DROP COLUMN v";
    const WIDEN: &str = "ALTER TABLE t MODIFY COLUMN s VARCHAR(20)";
    const RENAME: &str = "ALTER TABLE t RENAME COLUMN v TO w";
    let rows = [
        // statement, shared-data, release, fast_schema_evolution, whether it is done at once
        (ADD, false, Release::V3_3, "true", true),
        (ADD, false, Release::V3_5, "false", false),
        (ADD, true, Release::V3_5, "true", false),
        (ADD, true, Release::V4_1, "true", true),
        (DROP, false, Release::V3_5, "true", true),
        (DROP, true, Release::V3_5, "true", false),
        (DROP, true, Release::V4_1, "true", true),
        (WIDEN, false, Release::V3_5, "true", true),
        (WIDEN, true, Release::V4_1, "true", true),
        (RENAME, true, Release::V3_5, "true", true),
        ("ALTER TABLE t MODIFY COLUMN v BIGINT", false, Release::V3_5, "true", false),
        ("ALTER TABLE t ADD COLUMN c DATETIME DEFAULT CURRENT_TIMESTAMP", false, Release::V3_5, "true", false),
        ("ALTER TABLE t MODIFY COLUMN v COMMENT 'c'", true, Release::V4_1, "true", true),
        ("TRUNCATE TABLE t", true, Release::V3_5, "true", true),
    ];
    for (statement, shared_data, release, evolution, at_once) in rows {
        let settings = Settings { shared_data, release, alter_takes: Duration::from_secs(3600), ..Settings::default() };
        let target = Target::stand_in(settings).await;
        let mut connection = target.connect(None).await;
        let create = format!(
            "CREATE TABLE t (k INT, v INT, s VARCHAR(10)) PRIMARY KEY (k) DISTRIBUTED BY HASH(k) PROPERTIES \
             ('replication_num' = '1', 'fast_schema_evolution' = '{evolution}')"
        );
        for statement in ["CREATE DATABASE d", "USE d", &create, statement] {
            connection.query_drop(statement).await.expect(statement);
        }
        let state = state(&mut connection).await;
        let why = format!("{statement}, shared_data {shared_data}, {release:?}, fast_schema_evolution {evolution}");
        assert_eq!(state == "FINISHED" || state.is_empty(), at_once, "{why}: {state}");
    }
}

#[tokio::test]
async fn a_rewrite_in_shared_data_goes_through_its_states_in_order() {
    let settings = Settings { shared_data: true, alter_takes: Duration::from_millis(300), ..Settings::default() };
    let (_target, mut connection) = with_table(settings).await;
    connection.query_drop("ALTER TABLE t MODIFY COLUMN v BIGINT").await.expect("accepted");
    let order = ["PENDING", "WAITING_TXN", "RUNNING", "FINISHED_REWRITING", "FINISHED"];
    let mut at = 0;
    while at + 1 < order.len() {
        let state = state(&mut connection).await;
        let now = order.iter().position(|known| *known == state).expect("a known state");
        assert!(now >= at, "{state} after {}", order[at]);
        at = now;
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

#[tokio::test]
async fn the_version_for_mysql_follows_the_release() {
    // StarRocks GlobalVariable.java, mysql_server_version: 8.0.33 since 3.5; version() stays 5.1.0.
    for (release, version) in [(Release::V3_3, "5.1.0"), (Release::V3_5, "8.0.33"), (Release::V4_1, "8.0.33")] {
        let target = Target::stand_in(Settings { release, ..Settings::default() }).await;
        let mut connection = target.connect(None).await;
        assert_eq!(texts(&mut connection, "SELECT @@version").await, [version], "{release:?}");
        assert_eq!(texts(&mut connection, "SELECT version()").await, ["5.1.0"], "{release:?}");
    }
}

#[tokio::test]
async fn shared_data_shows_itself() {
    let (_target, mut connection) = with_table(Settings { shared_data: true, ..Settings::default() }).await;
    let engine = "SELECT TABLE_ENGINE FROM information_schema.tables_config WHERE TABLE_NAME = 't'";
    assert_eq!(texts(&mut connection, engine).await, ["CLOUD_NATIVE"]);
    let config: mysql_async::Row =
        connection.query_first("ADMIN SHOW FRONTEND CONFIG LIKE 'run_mode'").await.expect("config").expect("one row");
    assert_eq!(config.get::<String, _>("Value").as_deref(), Some("shared_data"));
    let nodes: Vec<mysql_async::Row> = connection.query("SHOW COMPUTE NODES").await.expect("nodes");
    let backends: Vec<mysql_async::Row> = connection.query("SHOW BACKENDS").await.expect("backends");
    assert_eq!((nodes.len(), backends.len()), (1, 0));
    for query in ["SHOW BACKENDS", "SHOW COMPUTE NODES"] {
        let result = connection.query_iter(query).await.expect(query);
        let names: Vec<_> = result.columns_ref().iter().map(|column| column.name_str().into_owned()).collect();
        for name in ["StarletPort", "WorkerId", "WarehouseName"] {
            assert!(names.iter().any(|known| known == name), "{name} in {query}: {names:?}");
        }
        result.drop_result().await.expect(query);
    }
}

#[tokio::test]
async fn replicas_default_to_three() {
    let statement = "CREATE TABLE d.u (k INT) PRIMARY KEY (k)";
    let (_target, mut connection) = with_table(Settings::default()).await;
    let error = connection.query_drop(statement).await.expect_err("one backend");
    assert!(error.to_string().contains("Table replication num should be less than"), "{error}");
    let (_target, mut connection) = with_table(Settings { backends: 3, ..Settings::default() }).await;
    connection.query_drop(statement).await.expect("three backends");
    let backends: Vec<mysql_async::Row> = connection.query("SHOW BACKENDS").await.expect("backends");
    assert_eq!(backends.len(), 3);
}

#[tokio::test]
async fn releases_name_themselves() {
    for (release, version) in [(Release::V3_3, "3.3."), (Release::V3_5, "3.5."), (Release::V4_1, "4.1.")] {
        let target = Target::stand_in(Settings { release, ..Settings::default() }).await;
        let mut connection = target.connect(None).await;
        let found = texts(&mut connection, "SELECT current_version()").await;
        assert!(found[0].starts_with(version), "{found:?}");
    }
}

/// A query copies only what it names, and a plain count copies nothing.
#[tokio::test]
async fn large_tables_can_be_counted_and_sampled() {
    let (_target, mut connection) = with_table(Settings::default()).await;
    for block in 0..20 {
        let rows: Vec<String> = (0..5_000).map(|row| format!("({}, {row})", block * 5_000 + row)).collect();
        connection.query_drop(format!("INSERT INTO t VALUES {}", rows.join(", "))).await.expect("INSERT");
    }
    assert_eq!(texts(&mut connection, "SELECT count(*) FROM t").await, ["100000"]);
    assert_eq!(texts(&mut connection, "SELECT sum(v) FROM t WHERE k >= 95000").await, ["12497500"]);
    assert_eq!(texts(&mut connection, "SELECT k FROM t ORDER BY k DESC LIMIT 2").await, ["99999", "99998"]);
}
