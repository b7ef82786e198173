//! Schema changes and loads at the same time.

use std::time::Duration;

use starrocks_standin::store::{Release, Settings};

use crate::client::Client;
use crate::target::Target;

const TABLE: &str = "(id INT NOT NULL, v VARCHAR(3) NULL) PRIMARY KEY (id) DISTRIBUTED BY HASH(id) BUCKETS 1";
const JSON: &[(&str, &str)] = &[("format", "json")];

async fn state(target: &Target) -> String {
    let query = format!(
        "SHOW ALTER TABLE COLUMN FROM {} WHERE TableName = 't' ORDER BY CreateTime DESC LIMIT 1",
        target.database
    );
    target.query(&query).await[0][9].clone()
}

#[tokio::test]
async fn until_a_column_is_visible_its_keys_are_dropped() {
    // StarRocks docs ALTER TABLE, SHOW ALTER TABLE; source SchemaChangeHandler.java, LakeTableAsyncFastSchemaChangeJob.java
    // (3.3 to 4.0, shared-data). Stand-in only: a load begun before holds the job up.
    let settings =
        Settings { shared_data: true, release: Release::V3_5, alter_takes: Duration::ZERO, ..Settings::default() };
    let target = Target::with(settings).await;
    let Some(server) = &target.server else { return };
    target.create("t", TABLE).await;
    let held = server.store().begin(&target.database, &["t"], "held", 60_000).expect("begin");
    target.sql(&[&format!("ALTER TABLE {}.t ADD COLUMN w INT NULL", target.database)]).await;
    assert_eq!(state(&target).await, "WAITING_TXN");
    type Case = (&'static [(&'static str, &'static str)], &'static str, &'static str, &'static str);
    let rows: &[Case] = &[
        (JSON, r#"{"id":1,"w":5}"#, "Success", "OK"),
        (&[("format", "json"), ("columns", "id, w")], r#"{"id":2,"w":5}"#, "Success", "OK"),
        (
            &[("format", "json"), ("columns", "id, x, w = x")],
            r#"{"id":3,"x":5}"#,
            "Fail",
            "Mapping column is not in table. column: w",
        ),
    ];
    for (headers, body, status, message) in rows {
        let answer = target.load("t", headers, body.as_bytes()).await;
        assert_eq!(answer["Status"], *status, "{answer}");
        assert!(answer["Message"].as_str().unwrap_or_default().contains(message), "{answer}");
    }
    server.store().abort(&target.database, held, "test");
    assert_eq!(state(&target).await, "FINISHED");
    assert_eq!(target.load("t", JSON, br#"{"id":4,"w":5}"#).await["Status"], "Success");
    let want = [["1", "NULL", "NULL"], ["2", "NULL", "NULL"], ["4", "NULL", "5"]];
    assert_eq!(target.rows("t").await, want);
}

#[tokio::test]
async fn a_load_planned_before_a_change_ends_with_the_old_columns() {
    // StarRocks docs ALTER TABLE; pull request 65799 (4.0).
    let rows = [
        ("ALTER TABLE {db}.t ADD COLUMN w INT NULL DEFAULT '7'", vec!["1", "a", "7"], "the new column's default"),
        ("ALTER TABLE {db}.t DROP COLUMN v", vec!["1"], "a column that has gone takes its values with it"),
        ("ALTER TABLE {db}.t MODIFY COLUMN v VARCHAR(20)", vec!["1", "a"], "a wider column"),
    ];
    for (statement, want, why) in rows {
        let target = Target::new().await;
        target.create("t", TABLE).await;
        let path = format!("/api/{}/t/_stream_load", target.database);
        let (address, path) = target.ask("PUT", &path, &[("Expect", "100-continue")]).await.location();
        let authorization = target.authorization();
        let headers = [
            ("Authorization", authorization.as_str()),
            ("format", "json"),
            ("Expect", "100-continue"),
            ("label", "planned"),
            ("Content-Length", "22"),
        ];
        let mut client = Client::connect(&address).await;
        client.send("PUT", &path, &headers, b"").await;
        while target.label_state("planned").await != "PREPARE" {
            tokio::task::yield_now().await;
        }
        // The plan is made right behind the begin; a byte of the body is read after it.
        client.interim().await;
        target.sql(&[&statement.replace("{db}", &target.database)]).await;
        client.write(br#"{"id":1,"v":"a","w":5}"#).await;
        let response = client.response().await.expect("the load's answer");
        assert!(response.body.contains("\"Status\": \"Success\""), "{why}: {}", response.body);
        assert_eq!(target.rows("t").await, [want], "{why}");
    }
}
