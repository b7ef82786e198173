//! Primary keys, the order inside a load, partial and conditional updates.

use starrocks_standin::store::Settings;

use crate::client::Client;
use crate::rows::*;
use crate::target::Target;

const COMPOSITE: &str =
    "(a VARCHAR(200) NOT NULL, b INT NOT NULL, v INT NULL) PRIMARY KEY (a, b) DISTRIBUTED BY HASH(a) BUCKETS 1";
const NO_DEFAULT: &str =
    "(id INT NOT NULL, v VARCHAR(9) NOT NULL, n INT NOT NULL) PRIMARY KEY (id) DISTRIBUTED BY HASH(id) BUCKETS 1";
const PARTIAL_N: Headers = &[("format", "json"), ("partial_update", "true"), ("columns", "id,n")];

const CASES: &[Case] = &[
    // Order inside a load.
    case(
        "the last upsert of a key wins",
        "StarRocks source memtable.cpp (3.5)",
        TEXT,
        &[(J, r#"{"id":1,"v":"a"}{"id":1,"v":"b"}"#)],
        loaded(&[&["1", "b"]]),
    ),
    case(
        "a delete after an upsert",
        "StarRocks source memtable.cpp (3.5)",
        TEXT,
        &[(J, r#"{"id":1,"v":"a"}{"id":2}{"id":1,"__op":1}"#)],
        loaded(&[&["2", "NULL"]]),
    ),
    case(
        "an upsert after a delete",
        "StarRocks source memtable.cpp (3.5)",
        TEXT,
        &[(J, r#"{"id":1,"__op":1}{"id":1,"v":"b"}"#)],
        loaded(&[&["1", "b"]]),
    ),
    case(
        "a key moved: delete the old one, upsert the new one",
        PK_DOC,
        TEXT,
        &[(J, r#"{"id":1,"v":"a"}"#), (J, r#"{"id":1,"__op":1}{"id":2,"v":"a"}"#)],
        loaded(&[&["2", "a"]]),
    ),
    // Keys.
    case(
        "a key of 128 bytes",
        "StarRocks source primary_key_limit_size (3.5)",
        LONG_KEY,
        &[(
            J,
            concat!(
                r#"{"k":"01234567890123456789012345678901234567890123456789012345678901"#,
                r#"23456789012345678901234567890123456789012345678901234567890123456"#,
                r#"7","v":1}"#
            ),
        )],
        loaded(&[&[
            "01234567890123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789012345678901234567",
            "1",
        ]]),
    ),
    case(
        "a key of 129 bytes fails the whole load",
        "StarRocks source primary_key_limit_size (3.5)",
        LONG_KEY,
        &[(
            &[("format", "json"), ("max_filter_ratio", "1")],
            concat!(
                r#"{"k":"a"}{"k":"01234567890123456789012345678901234567890123456789012345678901"#,
                r#"23456789012345678901234567890123456789012345678901234567890123456"#,
                r#"78"}"#
            ),
        )],
        fails("primary key size exceed the limit.", 0),
    ),
    case(
        "NULL in the key filters the row",
        FILTER_DOC,
        TEXT,
        &[(J, r#"{"v":"a"}"#)],
        fails("too many filtered rows", 1),
    ),
    // Partial and conditional update.
    case(
        "a partial update writes the listed columns",
        PK_DOC,
        WIDE,
        &[
            (J, r#"{"id":1,"v":"a","n":1}"#),
            (&[("format", "json"), ("partial_update", "true"), ("columns", "id,n")], r#"{"id":1,"n":2}"#),
        ],
        loaded(&[&["1", "a", "2"]]),
    ),
    case(
        "a partial update of a missing key inserts defaults",
        PK_DOC,
        DEFAULTS,
        &[(&[("format", "json"), ("partial_update", "true"), ("columns", "id,n")], r#"{"id":1,"n":2}"#)],
        loaded(&[&["1", "d", "2"]]),
    ),
    case(
        "column mode does the same",
        PK_DOC,
        WIDE,
        &[
            (J, r#"{"id":1,"v":"a","n":1}"#),
            (
                &[
                    ("format", "json"),
                    ("partial_update", "true"),
                    ("partial_update_mode", "column"),
                    ("columns", "id,v"),
                ],
                r#"{"id":1,"v":"b"}{"id":2,"v":"c"}"#,
            ),
        ],
        loaded(&[&["1", "b", "1"], &["2", "c", "NULL"]]),
    ),
    case(
        "an absent key of a listed column writes NULL",
        PK_DOC,
        WIDE,
        &[
            (J, r#"{"id":1,"v":"a","n":1}"#),
            (&[("format", "json"), ("partial_update", "true"), ("columns", "id,v")], r#"{"id":1}"#),
        ],
        loaded(&[&["1", "NULL", "1"]]),
    ),
    case(
        "a partial update can delete",
        PK_DOC,
        WIDE,
        &[
            (J, r#"{"id":1,"v":"a"}{"id":2}"#),
            (
                &[("format", "json"), ("partial_update", "true"), ("columns", "id,v,__op")],
                r#"{"id":1,"v":"b","__op":1}"#,
            ),
        ],
        loaded(&[&["2", "NULL", "NULL"]]),
    ),
    case(
        "a partial update must list the key",
        PK_DOC,
        WIDE,
        &[(&[("format", "json"), ("partial_update", "true"), ("columns", "v,n")], r#"{"v":"a"}"#)],
        fails("key column id not in partial update columns", 0),
    ),
    case(
        "a partial update needs a PRIMARY KEY table",
        PK_DOC,
        DUP,
        &[(&[("format", "json"), ("partial_update", "true"), ("columns", "id")], r#"{"id":1}"#)],
        fails("Only primary key table support partial update", 0),
    ),
    case(
        "merge_condition applies what is not smaller",
        PK_DOC,
        WIDE,
        &[
            (J, r#"{"id":1,"v":"a","n":5}{"id":2,"v":"a","n":5}{"id":3,"v":"a","n":5}"#),
            (
                &[("format", "json"), ("merge_condition", "n")],
                r#"{"id":1,"v":"b","n":4}{"id":2,"v":"b","n":5}{"id":3,"v":"b","n":6}"#,
            ),
        ],
        loaded(&[&["1", "a", "5"], &["2", "b", "5"], &["3", "b", "6"]]),
    ),
    case(
        "merge_condition with a delete fails",
        "StarRocks source memtable.cpp (3.5)",
        WIDE,
        &[(&[("format", "json"), ("merge_condition", "n")], r#"{"id":1,"n":1}{"id":2,"n":1,"__op":1}"#)],
        fails("delete with condition column n", 0),
    ),
    case(
        "merge_condition on a key column",
        PK_DOC,
        WIDE,
        &[(&[("format", "json"), ("merge_condition", "id")], r#"{"id":1}"#)],
        fails("Merge condition column id should not be primary key!", 0),
    ),
    case(
        "merge_condition on a column that is not there",
        PK_DOC,
        WIDE,
        &[(&[("format", "json"), ("merge_condition", "w")], r#"{"id":1}"#)],
        fails("Merge condition column w does not exist", 0),
    ),
    case(
        "merge_condition needs a PRIMARY KEY table",
        PK_DOC,
        DUP,
        &[(&[("format", "json"), ("merge_condition", "v")], r#"{"id":1}"#)],
        fails("Conditional update only support primary key table", 0),
    ),
    case(
        "an unknown compression",
        "StarRocks docs STREAM LOAD, compression (3.3)",
        TEXT,
        &[(&[("format", "json"), ("compression", "rot13")], r#"{"id":1}"#)],
        fails("Unsupported compression type: rot13", 0),
    ),
    case(
        "both compression headers",
        "StarRocks source stream_load.cpp (3.3)",
        TEXT,
        &[(&[("format", "json"), ("compression", "gzip"), ("Content-Encoding", "gzip")], r#"{"id":1}"#)],
        fails("Only one of http header content-encoding and compression can be set", 0),
    ),
    case(
        "any __op but 0 deletes, if the load has a 1",
        "StarRocks source memtable.cpp (3.5)",
        TEXT,
        &[(J, r#"{"id":1}{"id":2}{"id":3}"#), (J, r#"{"id":1,"__op":2}{"id":2,"__op":1}"#)],
        loaded(&[&["3", "NULL"]]),
    ),
    case(
        "without a 1 in the load, any __op upserts",
        "StarRocks source memtable.cpp (3.5)",
        TEXT,
        &[(J, r#"{"id":1}"#), (J, r#"{"id":1,"v":"a","__op":2}"#)],
        loaded(&[&["1", "a"]]),
    ),
    case(
        "upsert, delete, upsert: the last one wins",
        "StarRocks source memtable.cpp (3.5)",
        TEXT,
        &[(J, r#"{"id":1,"v":"a"}{"id":1,"__op":1}{"id":1,"v":"c"}"#)],
        loaded(&[&["1", "c"]]),
    ),
    case(
        "a composite key of 128 bytes: a string that is not last has two bytes of end",
        "StarRocks source primary_key_encoder.cpp (3.5)",
        COMPOSITE,
        &[(
            J,
            r#"{"a":"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx","b":1}"#,
        )],
        loaded(&[&[
            "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
            "1",
            "NULL",
        ]]),
    ),
    case(
        "a composite key of 129 bytes",
        "StarRocks source primary_key_encoder.cpp (3.5)",
        COMPOSITE,
        &[(
            J,
            r#"{"a":"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx","b":1}"#,
        )],
        fails("primary key size exceed the limit.", 0),
    ),
    case(
        "a zero byte in a string that is not last takes two",
        "StarRocks source primary_key_encoder.cpp (3.5)",
        COMPOSITE,
        &[(
            J,
            r#"{"a":"\u0000xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx","b":1}"#,
        )],
        fails("primary key size exceed the limit.", 0),
    ),
    case(
        "a partial update names its columns in any case",
        PK_DOC,
        WIDE,
        &[
            (J, r#"{"id":1,"v":"a","n":1}"#),
            (&[("format", "json"), ("partial_update", "true"), ("columns", "ID,N")], r#"{"ID":1,"N":2}"#),
        ],
        loaded(&[&["1", "a", "2"]]),
    ),
    case(
        "auto mode does the same",
        "StarRocks docs STREAM LOAD, partial_update_mode; source delta_writer.cpp (3.5)",
        WIDE,
        &[
            (J, r#"{"id":1,"v":"a","n":1}"#),
            (
                &[("format", "json"), ("partial_update", "true"), ("partial_update_mode", "auto"), ("columns", "id,n")],
                r#"{"id":1,"n":2}{"id":2,"n":3}"#,
            ),
        ],
        loaded(&[&["1", "a", "2"], &["2", "NULL", "3"]]),
    ),
    case(
        "an unknown mode is ignored",
        "StarRocks source stream_load.cpp (3.5)",
        WIDE,
        &[
            (J, r#"{"id":1,"v":"a","n":1}"#),
            (
                &[
                    ("format", "json"),
                    ("partial_update", "true"),
                    ("partial_update_mode", "sideways"),
                    ("columns", "id,n"),
                ],
                r#"{"id":1,"n":2}"#,
            ),
        ],
        loaded(&[&["1", "a", "2"]]),
    ),
    case(
        "column mode inserts a missing key with defaults",
        PK_DOC,
        DEFAULTS,
        &[(
            &[("format", "json"), ("partial_update", "true"), ("partial_update_mode", "column"), ("columns", "id,n")],
            r#"{"id":1,"n":2}"#,
        )],
        loaded(&[&["1", "d", "2"]]),
    ),
    doubt(case(
        "a missing key gets zero where neither NULL nor a default is allowed",
        "StarRocks source Load.java: partial updates skip the check of defaults (3.5)",
        NO_DEFAULT,
        &[(PARTIAL_N, r#"{"id":1,"n":2}"#)],
        loaded(&[&["1", "", "2"]]),
    )),
    case(
        "a partial update in CSV, by position",
        PK_DOC,
        WIDE,
        &[
            (J, r#"{"id":1,"v":"a","n":1}{"id":2,"v":"b","n":1}"#),
            (&[("column_separator", ","), ("partial_update", "true"), ("columns", "n,id,__op")], "2,1,0\n0,2,1\n"),
        ],
        loaded(&[&["1", "a", "2"]]),
    ),
    case(
        "two rows of one key in a partial update: the last one wins",
        PK_DOC,
        WIDE,
        &[(J, r#"{"id":1,"v":"a","n":1}"#), (PARTIAL_N, r#"{"id":1,"n":2}{"id":1,"n":3}"#)],
        loaded(&[&["1", "a", "3"]]),
    ),
    case(
        "a partial update with the sort key",
        "StarRocks source delta_writer.cpp (3.5)",
        SORTED,
        &[(J, r#"{"id":1,"v":"a","n":1}"#), (PARTIAL_N, r#"{"id":1,"n":2}"#)],
        loaded(&[&["1", "a", "2"]]),
    ),
    case(
        "column mode must list the sort key too",
        "StarRocks source delta_writer.cpp (3.5)",
        SORTED,
        &[(
            &[("format", "json"), ("partial_update", "true"), ("partial_update_mode", "column"), ("columns", "id,v")],
            r#"{"id":1}"#,
        )],
        fails("partial update on table with sort key must provide all sort key columns", 0),
    ),
    case(
        "merge_condition in a partial update",
        "StarRocks docs Load to Primary Key tables, conditional updates (3.1.3)",
        WIDE,
        &[
            (J, r#"{"id":1,"v":"a","n":5}{"id":2,"v":"a","n":5}"#),
            (
                &[("format", "json"), ("partial_update", "true"), ("merge_condition", "n"), ("columns", "id,n")],
                r#"{"id":1,"n":4}{"id":2,"n":6}"#,
            ),
        ],
        loaded(&[&["1", "a", "5"], &["2", "a", "6"]]),
    ),
    case(
        "merge_condition must be among a partial update's columns",
        "StarRocks source Load.java (3.3)",
        WIDE,
        &[(
            &[("format", "json"), ("partial_update", "true"), ("merge_condition", "n"), ("columns", "id,v")],
            r#"{"id":1}"#,
        )],
        fails("Merge condition column n does not exist", 0),
    ),
    case(
        "merge_condition compares no text",
        "StarRocks source Load.java (3.3)",
        WIDE,
        &[(&[("format", "json"), ("merge_condition", "v")], r#"{"id":1,"v":"a"}"#)],
        fails("Merge condition column has invalid type", 0),
    ),
    case(
        "merge_condition compares no JSON",
        "StarRocks source Load.java (3.3)",
        DOC,
        &[(&[("format", "json"), ("merge_condition", "j")], r#"{"id":1,"j":1}"#)],
        fails("Merge condition column has invalid type", 0),
    ),
    case(
        "merge_condition compares no bytes",
        "StarRocks source Load.java (3.3)",
        BINARY,
        &[(&[("format", "json"), ("merge_condition", "b")], r#"{"id":1,"b":"a"}"#)],
        fails("Merge condition column has invalid type", 0),
    ),
];

#[tokio::test]
async fn keys_are_what_starrocks_makes_them() {
    run_all(CASES).await;
}

#[tokio::test]
async fn shared_data_applies_deletes_last() {
    // StarRocks issue 75014, pull requests 75338 and 75366; stand-in only, it needs a small memtable.
    let rows = [
        (true, false, vec![], "up to 4.1 the delete of an earlier flush removes the later upsert"),
        (true, true, vec![vec!["1".to_owned(), "b".to_owned()]], "with lake_enable_pk_preserve_txn_delete_order"),
        (false, false, vec![vec!["1".to_owned(), "b".to_owned()]], "shared-nothing keeps the order"),
    ];
    for (shared_data, preserve_delete_order, want, why) in rows {
        let settings = Settings { shared_data, preserve_delete_order, flush_rows: 1, ..Settings::default() };
        let target = Target::with(settings).await;
        if target.server.is_none() {
            return;
        }
        target.create("t", TEXT).await;
        let answer = target.load("t", J, br#"{"id":1,"__op":1}{"id":1,"v":"b"}"#).await;
        assert_eq!(answer["Status"], "Success", "{answer}");
        assert_eq!(target.rows("t").await, want, "{why}");
    }
}

#[tokio::test]
async fn a_row_store_takes_no_column_mode() {
    // StarRocks docs Hybrid row-column storage (3.2.3).
    let target = Target::new().await;
    let table = format!("{}.t", target.database);
    target.sql(&[&format!(
        "CREATE TABLE {table} (id INT NOT NULL, v VARCHAR(9) NULL, n INT NULL) PRIMARY KEY (id) DISTRIBUTED BY HASH(id) \
         BUCKETS 1 PROPERTIES ('replication_num' = '1', 'storage_type' = 'column_with_row')"
    )])
    .await;
    let refusal = "column with row table only support row mode partial update";
    for (mode, status, message) in [("column", "Fail", refusal), ("row", "Success", "OK")] {
        let headers =
            [("format", "json"), ("partial_update", "true"), ("partial_update_mode", mode), ("columns", "id,n")];
        let answer = target.load("t", &headers, br#"{"id":1,"n":2}"#).await;
        assert_eq!(answer["Status"], status, "{mode}: {answer}");
        assert!(answer["Message"].as_str().unwrap_or_default().contains(message), "{mode}: {answer}");
    }
}

/// The connection of a load whose headers are in and whose body is not.
async fn held_load(target: &Target, label: &str, bytes: usize) -> Client {
    let load = format!("/api/{}/t/_stream_load", target.database);
    let (address, path) = target.ask("PUT", &load, &[("Expect", "100-continue")]).await.location();
    let (authorization, length) = (target.authorization(), bytes.to_string());
    let headers = [
        ("Authorization", authorization.as_str()),
        ("format", "json"),
        ("label", label),
        ("Content-Length", length.as_str()),
    ];
    let mut client = Client::connect(&address).await;
    client.send("PUT", &path, &headers, b"").await;
    client
}

#[tokio::test]
async fn between_loads_the_one_committed_later_wins() {
    // StarRocks docs Load to Primary Key tables; source DatabaseTransactionMgr.java: versions by commit (3.5).
    let target = Target::new().await;
    target.create("t", TEXT).await;
    let body = br#"{"id":1,"v":"a"}"#;
    let mut early = held_load(&target, "early", body.len()).await;
    while target.label_state("early").await != "PREPARE" {}
    let answer = target.load("t", J, br#"{"id":1,"v":"b"}"#).await;
    assert_eq!(answer["Status"], "Success", "{answer}");
    assert_eq!(target.rows("t").await, [["1", "b"]]);
    early.write(body).await;
    let answer = early.response().await.expect("the answer of the load begun first");
    assert!(answer.body.contains("Success"), "{}", answer.body);
    assert_eq!(target.rows("t").await, [["1", "a"]], "begun first, committed last");
}

#[tokio::test]
async fn tables_a_primary_key_does_not_allow() {
    // StarRocks docs Primary Key table; source CreateTableAnalyzer.java (3.5).
    let rows = [
        ("(v INT, id INT NOT NULL) PRIMARY KEY (id) DISTRIBUTED BY HASH(id)", "Key columns must be the first few"),
        ("(a INT NOT NULL, b INT NOT NULL) PRIMARY KEY (b, a) DISTRIBUTED BY HASH(b)", "Key columns must be the first"),
        ("(id INT NOT NULL, v INT) PRIMARY KEY (id) DISTRIBUTED BY HASH(v)", "is not key column"),
        ("(id CHAR(9) NOT NULL) PRIMARY KEY (id) DISTRIBUTED BY HASH(id)", "type not support"),
        ("(id DECIMAL(9,2) NOT NULL) PRIMARY KEY (id) DISTRIBUTED BY HASH(id)", "type not support"),
        ("(id INT NOT NULL, __op INT) PRIMARY KEY (id) DISTRIBUTED BY HASH(id)", "system reserved name"),
        ("(id INT NOT NULL, __row INT) PRIMARY KEY (id) DISTRIBUTED BY HASH(id)", "system reserved name"),
        ("(id INT NOT NULL, ___count___ INT) PRIMARY KEY (id) DISTRIBUTED BY HASH(id)", "system reserved name"),
    ];
    let target = Target::new().await;
    for (table, reason) in rows {
        let statement =
            format!("CREATE TABLE {}.t {table} BUCKETS 1 PROPERTIES ('replication_num' = '1')", target.database);
        let error = target.refused(&statement).await;
        assert!(error.contains(reason), "{statement}: {error}");
    }
}
