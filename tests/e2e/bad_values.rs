//! Values that StarRocks cannot hold: what each policy loads, what is counted, what waits.

use std::io::{Read, Write};
use std::net::TcpStream;

use rig::fault::{Action, Fault};
use rig::{Sidecar, Status};

use crate::world::World;

/// One column for each class, and the type it has in the target.
const SOURCE: &str =
    "CREATE TABLE bad (id bigint PRIMARY KEY, n numeric, d date, t timestamp, z timestamptz, s text, j json,
    b jsonb, a integer[], l integer[]); CREATE TABLE other (id bigint PRIMARY KEY, note text)";
const TARGET: &str = "CREATE TABLE shop.bad (id BIGINT NOT NULL, n DECIMAL(5,2) NULL, d DATE NULL, t DATETIME NULL,
    z DATETIME NULL, s VARCHAR(4) NULL, j JSON NULL, b JSON NULL, a JSON NULL, l ARRAY<INT> NULL)
    PRIMARY KEY (id) DISTRIBUTED BY HASH(id) PROPERTIES (\"replication_num\" = \"1\")";

/// Column, value as SQL, class; what null, clamp and text load, `None` if the table waits.
type Case = (&'static str, &'static str, &'static str, Option<&'static str>, Option<&'static str>);

const CASES: [Case; 20] = [
    ("n", "'NaN'", "numeric_nan", None, None),
    ("n", "'Infinity'", "numeric_infinite", Some("999.99"), None),
    ("n", "-12345.678", "numeric_range", Some("-999.99"), None),
    ("n", "-0.125", "numeric_scale", Some("-0.13"), None),
    ("d", "'0044-03-15 BC'", "date_range", Some("0001-01-01"), None),
    ("d", "'10000-01-01'", "date_range", Some("9999-12-31"), None),
    ("t", "'4713-01-01 00:00:00 BC'", "date_range", Some("0001-01-01 00:00:00"), None),
    ("z", "'294276-12-31 23:59:59.999999+00'", "date_range", Some("9999-12-31 23:59:59.999999"), None),
    ("d", "'-infinity'", "date_infinite", Some("0001-01-01"), None),
    ("t", "'infinity'", "date_infinite", Some("9999-12-31 23:59:59.999999"), None),
    ("z", "'-infinity'", "date_infinite", Some("0001-01-01 00:00:00"), None),
    ("s", "'aé€'", "text_length", Some("aé"), None),
    ("j", "'[1e400]'", "json_number", Some("[1.7976931348623157e308]"), Some("\"[1e400]\"")),
    ("b", "'18446744073709551616'", "json_number", Some("1.8446744073709552e19"), Some("\"18446744073709551616\"")),
    ("j", r#"'"\u0000"'"#, "json_escape", None, Some(r#""\"\\u0000\"""#)),
    ("j", r#"'"\ud800"'"#, "json_escape", None, Some(r#""\"\\ud800\"""#)),
    ("b", "(repeat('[', 1001) || repeat(']', 1001))::jsonb", "json_depth", None, Some("nested")),
    ("b", "to_jsonb(repeat('x', 17000000))", "json_size", None, None),
    ("a", "'[0:1]={1,2}'", "array_bounds", Some("[1,2]"), Some("\"[0:1]={1,2}\"")),
    ("l", "'{{1},{2}}'", "array_dimensions", None, None),
];

/// A world whose target has the types of `TARGET`.
async fn world() -> World {
    let world = World::new(SOURCE).await;
    world.target("CREATE DATABASE IF NOT EXISTS shop").await;
    world.target(TARGET).await;
    world
}

fn insert(id: usize, case: &Case) -> String {
    format!("INSERT INTO shop.bad (id, {}) VALUES ({id}, {})", case.0, case.1)
}

/// How many values of a class a table has, as the status tells.
fn counted(status: &Status, table: &str, class: &str, policy: &str) -> u64 {
    status.values_changed(table).get(&(class.to_owned(), policy.to_owned())).copied().unwrap_or(0)
}

/// The lines of `/metrics` that begin with this name, sorted.
fn metrics(world: &World, name: &str) -> Vec<String> {
    let (_, address) = world.environment().iter().find(|(name, _)| name == "METRICS_ADDR").unwrap();
    let mut connection = TcpStream::connect(address).unwrap();
    connection.write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
    let mut text = String::new();
    connection.read_to_string(&mut text).unwrap();
    let mut lines: Vec<String> = text.lines().filter(|line| line.starts_with(name)).map(str::to_owned).collect();
    lines.sort();
    lines
}

async fn durable(world: &World, sidecar: &Sidecar) -> Status {
    let end = world.wal_end().await;
    world.until(sidecar, "all is durable", |status| status.lsn("durable_lsn") >= end).await
}

/// JSON without the blanks and the spelling of exponents that each writer chooses for itself.
fn same(found: &str, want: &str) -> bool {
    let plain = |text: &str| text.replace([' ', '+'], "").to_ascii_lowercase();
    let number = |text: &str| text.trim_matches(['[', ']']).parse::<f64>().ok();
    plain(found) == plain(want) || (number(found).is_some() && number(found) == number(want))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_class_is_loaded_as_its_policy_says_and_counted() {
    for policy in ["null", "clamp", "text"] {
        let mut world = world().await;
        world.set("ON_BAD_VALUE", policy);
        let sidecar = world.streaming().await;
        let mut wanted = Vec::new();
        for (id, case) in CASES.iter().enumerate() {
            let want = match policy {
                "null" => Some("NULL"),
                "clamp" => case.3,
                _ => case.4,
            };
            if let Some(want) = want {
                world.sql(&insert(id, case)).await;
                wanted.push((id, case.0, case.2, want));
            }
        }
        let status = durable(&world, &sidecar).await;
        for (id, column, class, want) in &wanted {
            let found = world.target(&format!("SELECT {column} FROM shop.bad WHERE id = {id}")).await;
            let nested = *want == "nested" && found[0].starts_with("\"[[[");
            assert!(same(&found[0], want) || nested, "{policy} {class}: {} where {want} is wanted", found[0]);
        }
        let mut lines = Vec::new();
        let classes: std::collections::BTreeSet<_> = wanted.iter().map(|(_, _, class, _)| *class).collect();
        for class in classes {
            let values = wanted.iter().filter(|wanted| wanted.2 == class).count() as u64;
            assert_eq!(counted(&status, "shop.bad", class, policy), values, "{policy} {class}");
            lines.push(format!(
                "sluicegate_values_changed_total{{table=\"shop.bad\",class=\"{class}\",policy=\"{policy}\"}} {values}"
            ));
            let logged = world.logged();
            let told = logged.lines().filter(|line| line.contains("WARN") && line.contains(class)).count();
            assert_eq!(told, 1, "{policy} {class} is told once:\n{logged}");
        }
        lines.sort();
        assert_eq!(metrics(&world, "sluicegate_values_changed_total"), lines);
        let (_, screen) = sidecar.command(&["status"]).unwrap();
        assert!(screen.contains("values changed: "), "{screen}");
        assert!(!world.logged().contains("12345.678") && !world.logged().contains("aé"), "a value was logged");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_class_that_blocks_keeps_its_table_alone_until_another_policy_holds() {
    let mut world = world().await;
    world.set("ON_BAD_VALUE", "clamp,json_number=text");
    let sidecar = world.streaming().await;
    world.sql("INSERT INTO shop.bad (id, n) VALUES (1, 1.005)").await;
    durable(&world, &sidecar).await;
    world.sql(r#"INSERT INTO shop.bad (id, n, j) VALUES (2, 'Infinity', '"\u0000 canary text"')"#).await;
    world.sql("INSERT INTO shop.bad (id, n) VALUES (3, 3)").await;
    let status = world.until_reason(&sidecar, &["VALUE_OUT_OF_RANGE"]).await;
    assert_eq!(status.table_state("shop.bad"), "BLOCKED");
    let told = status.text("reasons");
    for part in ["column j", "(class json_escape)", "json_escape=null", "json_escape=text", "MODIFY COLUMN `j` VARCHAR"]
    {
        assert!(told.contains(part), "{part}: {told}");
    }
    world.sql("INSERT INTO shop.other SELECT n, 'x' FROM generate_series(1, 50) n").await;
    world.until_count(&sidecar, "other", 50).await;
    assert_eq!(world.target("SELECT id FROM shop.bad ORDER BY id").await, ["1"]);
    let status = sidecar.status().unwrap();
    assert_eq!(counted(&status, "shop.bad", "numeric_scale", "clamp"), 1);
    assert_eq!(counted(&status, "shop.bad", "numeric_infinite", "clamp"), 0, "what is not loaded is not counted");
    drop(sidecar);
    let sidecar = world.start_with(&[("ON_BAD_VALUE", "clamp,json_escape=text")]);
    world.until(&sidecar, "it follows changes", |status| status.text("stage") == "CDC").await;
    let status = durable(&world, &sidecar).await;
    assert_eq!(world.target("SELECT id, n FROM shop.bad ORDER BY id").await, ["1 1.01", "2 999.99", "3 3.00"]);
    let text = world.target("SELECT j FROM shop.bad WHERE id = 2").await;
    assert_eq!(text, [r#""\"\\u0000 canary text\"""#]);
    assert_eq!(counted(&status, "shop.bad", "json_escape", "text"), 1);
    assert!(!world.logged().contains("canary text"), "a row's value was logged");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_changed_value_counts_once_however_often_its_load_is_tried() {
    let mut world = World::new("CREATE TABLE t (id bigint PRIMARY KEY, at timestamp)").await;
    world.set("ON_BAD_VALUE", "null");
    let sidecar = world.streaming().await;
    world.sql("INSERT INTO shop.t VALUES (0, 'infinity')").await;
    durable(&world, &sidecar).await;
    let faults = [
        Action::Reset,
        Action::ResetDuringBody { bytes: 20 },
        Action::ResetBeforeCommit,
        Action::ResetAfterCommit,
        Action::PublishTimeout,
        Action::CommitUnknown { committed: true },
        Action::CommitUnknown { committed: false },
        Action::HttpStatus { status: 500 },
    ];
    for (round, action) in faults.into_iter().enumerate() {
        let (what, id) = (format!("{action:?}"), round + 1);
        world.standin.faults().add(Fault::next(action).on("t"));
        world.sql(&format!("INSERT INTO shop.t VALUES ({id}, 'infinity')")).await;
        let status = durable(&world, &sidecar).await;
        assert!(world.standin.faults().pending().is_empty(), "{what} struck");
        assert_eq!(counted(&status, "shop.t", "date_infinite", "null"), id as u64 + 1, "{what}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bytes_of_a_database_without_encoding_are_no_text() {
    let mut world = World::new("").await;
    world.sql("CREATE DATABASE raw ENCODING 'SQL_ASCII' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0").await;
    let (raw, connection) =
        tokio_postgres::connect(&world.cluster.url("raw"), tokio_postgres::NoTls).await.expect("the database answers");
    tokio::spawn(connection);
    raw.batch_execute("CREATE SCHEMA shop; CREATE TABLE shop.t (id bigint PRIMARY KEY, s text)").await.unwrap();
    let source = world.cluster.url("raw");
    world.set("SOURCE_URL", &source);
    let sidecar = world.streaming().await;
    raw.batch_execute(r"INSERT INTO shop.t VALUES (1, 'fine'), (2, E'caf\xe9')").await.unwrap();
    let status = world.until_reason(&sidecar, &["VALUE_OUT_OF_RANGE"]).await;
    assert!(status.text("reasons").contains("(class text_encoding)"), "{}", status.text("reasons"));
    drop(sidecar);
    let sidecar = world.start_with(&[("ON_BAD_VALUE", "text_encoding=clamp")]);
    world.until_count(&sidecar, "t", 2).await;
    assert_eq!(world.target("SELECT id, s FROM shop.t ORDER BY id").await, ["1 fine", "2 caf\u{FFFD}"]);
}
