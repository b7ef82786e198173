//! Clients that were not written here: `mysql_async`, the mariadb command-line client, pymysql, and the starrocks
//! dialect of SQLAlchemy.
//!
//! The last three are installed by `clients/run.sh` when they are missing; where that is impossible the test fails and
//! says why.

use std::process::Stdio;

use super::support::Target;

use mysql_async::prelude::Queryable;
use mysql_async::{Pool, Row};
use starrocks_standin::store::{Release, Settings};
use tokio::process::Command;

#[tokio::test]
async fn mysql_async_does_what_a_sink_needs() {
    let target = Target::stand_in(Settings { password: "secret".to_owned(), ..Settings::default() }).await;
    let pool = Pool::new(target.options(None));
    let mut connection = pool.get_conn().await.expect("a connection");
    connection.query_drop("CREATE DATABASE IF NOT EXISTS `shop-1`").await.expect("CREATE DATABASE");
    connection
        .query_drop(
            "CREATE TABLE IF NOT EXISTS `shop-1`.`Order Items` (`id` BIGINT NOT NULL, `Total` DECIMAL(38,9) NULL) ENGINE=OLAP \
             PRIMARY KEY (`id`) DISTRIBUTED BY HASH(`id`) PROPERTIES (\"replication_num\" = \"1\")",
        )
        .await
        .expect("CREATE TABLE");
    connection
        .query_drop("ALTER TABLE `shop-1`.`Order Items` ADD COLUMN `at` DATETIME NULL")
        .await
        .expect("ADD COLUMN");
    let columns: Vec<(String, String, String)> = connection
        .query(
            "SELECT COLUMN_NAME, COLUMN_TYPE, COLUMN_KEY FROM information_schema.columns WHERE TABLE_SCHEMA = 'shop-1' AND \
             TABLE_NAME = 'Order Items' ORDER BY ORDINAL_POSITION",
        )
        .await
        .expect("columns");
    let text = |name: &str, kind: &str, key: &str| (name.to_owned(), kind.to_owned(), key.to_owned());
    assert_eq!(
        columns,
        [text("id", "bigint(20)", "PRI"), text("Total", "decimal(38, 9)", ""), text("at", "datetime", ""),]
    );
    let model: Option<(String, String)> = connection
        .query_first(
            "SELECT TABLE_ENGINE, TABLE_MODEL FROM information_schema.tables_config WHERE TABLE_NAME = 'Order Items'",
        )
        .await
        .expect("tables_config");
    assert_eq!(model, Some(("OLAP".to_owned(), "PRIMARY_KEYS".to_owned())));
    connection.query_drop("TRUNCATE TABLE `shop-1`.`Order Items`").await.expect("TRUNCATE");
    let count: Option<i64> =
        connection.query_first("SELECT count(*) FROM `shop-1`.`Order Items`").await.expect("count");
    assert_eq!(count, Some(0));
    // The pool resets the connection and hands it out again.
    drop(connection);
    let mut connection = pool.get_conn().await.expect("the connection again");
    connection.query_drop("SET NAMES utf8mb4").await.expect("SET NAMES");
    drop(connection);
    pool.disconnect().await.expect("QUIT");
}

/// Up to 3.4 the server calls itself MySQL 5.1, and pools log in again instead of resetting.
#[tokio::test]
async fn pools_work_with_every_release() {
    for release in [Release::V3_3, Release::V3_5, Release::V4_1] {
        let settings = Settings { password: "secret".to_owned(), release, ..Settings::default() };
        let target = Target::stand_in(settings).await;
        let pool = Pool::new(target.options(Some("information_schema")));
        for _ in 0..3 {
            let mut connection = pool.get_conn().await.expect("a connection");
            let database: Option<String> = connection.query_first("SELECT database()").await.expect("database");
            assert_eq!(database.as_deref(), Some("information_schema"), "{release:?}");
            connection.query_drop("SET query_timeout = 7").await.expect("SET");
        }
        let mut connection = pool.get_conn().await.expect("a connection");
        let timeout: Option<i64> = connection.query_first("SELECT @@query_timeout").await.expect("a variable");
        assert_eq!(timeout, Some(300), "{release:?}: the session is fresh");
        drop(connection);
        pool.disconnect().await.expect("QUIT");
    }
}

#[tokio::test]
async fn binary_rows_carry_every_type() {
    let target = Target::stand_in(Settings::default()).await;
    let mut connection = target.connect(None).await;
    connection.query_drop("CREATE DATABASE d").await.expect("CREATE DATABASE");
    connection.query_drop("USE d").await.expect("USE");
    connection
        .query_drop(
            "CREATE TABLE t (k INT, b BOOLEAN, s SMALLINT, l LARGEINT, f FLOAT, d DOUBLE, n DECIMAL(10, 2), dt DATE, ts \
             DATETIME, v VARCHAR(10)) PRIMARY KEY (k) PROPERTIES ('replication_num' = '1')",
        )
        .await
        .expect("CREATE TABLE");
    connection
        .query_drop(
            "INSERT INTO t VALUES (1, true, -2, 36893488147419103232, 1.5, 0.1, 12.5, '2024-02-29', '2024-02-29 01:02:03.5', \
             'x'), (2, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL)",
        )
        .await
        .expect("INSERT");
    let text: Vec<Row> = connection.query("SELECT * FROM t ORDER BY k").await.expect("text rows");
    let binary: Vec<Row> = connection.exec("SELECT * FROM t WHERE k > ? ORDER BY k", (0,)).await.expect("binary rows");
    assert_eq!((text.len(), binary.len()), (2, 2));
    let first: (i32, i8, i16, String, f32, f64, String, String, String, String) =
        mysql_async::from_row(text[0].clone());
    assert_eq!(first.3, "36893488147419103232");
    assert_eq!((first.0, first.1, first.2, first.4, first.5), (1, 1, -2, 1.5, 0.1));
    assert_eq!((&*first.6, &*first.7, &*first.8), ("12.50", "2024-02-29", "2024-02-29 01:02:03.500000"));
    use mysql_async::Value;
    assert_eq!(
        binary[0].clone().unwrap(),
        [
            Value::Int(1),
            Value::Int(1),
            Value::Int(-2),
            Value::Bytes(b"36893488147419103232".to_vec()),
            Value::Float(1.5),
            Value::Double(0.1),
            Value::Bytes(b"12.50".to_vec()),
            Value::Date(2024, 2, 29, 0, 0, 0, 0),
            Value::Date(2024, 2, 29, 1, 2, 3, 500_000),
            Value::Bytes(b"x".to_vec()),
        ]
    );
    assert_eq!(binary[1].clone().unwrap()[1..], vec![Value::NULL; 9]);
}

/// More than one packet of 16 MB in both directions.
#[tokio::test]
async fn long_values_travel_in_several_packets() {
    let target = Target::stand_in(Settings::default()).await;
    let mut connection = target.connect(None).await;
    let long = "x".repeat(17 << 20);
    let found: Option<String> =
        connection.query_first(format!("SELECT '{long}' AS long_text")).await.expect("a long row");
    assert!(found.as_deref() == Some(&*long), "{} bytes came back", found.map_or(0, |text| text.len()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_from_elsewhere_are_content() {
    let target = Target::stand_in(Settings { password: "se:cret".to_owned(), ..Settings::default() }).await;
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/clients/run.sh");
    let output = Command::new("sh")
        .arg(script)
        .env("SQL_HOST", target.host())
        .env("SQL_PORT", target.port().to_string())
        .env("SQL_USER", "root")
        .env("SQL_PASSWORD", "se:cret")
        .stdin(Stdio::null())
        .output()
        .await
        .expect("sh");
    let (said, complained) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && said.ends_with("all clients done\n"), "{said}\n{complained}");
}
