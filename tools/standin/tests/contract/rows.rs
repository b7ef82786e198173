//! What a row of these tables says, and how it is checked.

use crate::target::{Only, Target};

pub(crate) type Headers = &'static [(&'static str, &'static str)];

/// What the last load of a case answers, and what the table holds then.
#[derive(Clone, Copy)]
pub(crate) struct Want {
    pub(crate) status: &'static str,
    /// Part of `Message`.
    pub(crate) message: &'static str,
    /// `NumberFilteredRows`.
    pub(crate) filtered: u64,
    /// Rows by key, as SELECT prints them.
    pub(crate) rows: &'static [&'static [&'static str]],
}

pub(crate) struct Case {
    pub(crate) name: &'static str,
    pub(crate) source: &'static str,
    pub(crate) doubt: bool,
    pub(crate) only: Only,
    /// Columns, key and distribution of the table.
    pub(crate) table: &'static str,
    pub(crate) loads: &'static [(Headers, &'static str)],
    pub(crate) want: Want,
}

pub(crate) const fn case(
    name: &'static str,
    source: &'static str,
    table: &'static str,
    loads: &'static [(Headers, &'static str)],
    want: Want,
) -> Case {
    Case { name, source, doubt: false, only: Only::Anywhere, table, loads, want }
}

/// Concluded, not seen.
pub(crate) const fn doubt(mut case: Case) -> Case {
    case.doubt = true;
    case
}

/// Only the stand-in answers so.
pub(crate) const fn ours(mut case: Case) -> Case {
    case.only = Only::StandIn;
    case
}

pub(crate) const fn loaded(rows: &'static [&'static [&'static str]]) -> Want {
    Want { status: "Success", message: "OK", filtered: 0, rows }
}

pub(crate) const fn fails(message: &'static str, filtered: u64) -> Want {
    Want { status: "Fail", message, filtered, rows: &[] }
}

pub(crate) const TEXT: &str = "(id INT NOT NULL, v VARCHAR(3) NULL) PRIMARY KEY (id) DISTRIBUTED BY HASH(id) BUCKETS 1";
pub(crate) const STRICT_NULL: &str =
    "(id INT NOT NULL, v VARCHAR(3) NOT NULL) PRIMARY KEY (id) DISTRIBUTED BY HASH(id) BUCKETS 1";
pub(crate) const DEFAULTS: &str = "(id INT NOT NULL, v VARCHAR(9) NULL DEFAULT 'd', n INT NOT NULL DEFAULT '7') PRIMARY KEY (id) \
                        DISTRIBUTED BY HASH(id) BUCKETS 1";
pub(crate) const WIDE: &str =
    "(id INT NOT NULL, v VARCHAR(9) NULL, n INT NULL) PRIMARY KEY (id) DISTRIBUTED BY HASH(id) BUCKETS 1";
pub(crate) const LONG_KEY: &str =
    "(k VARCHAR(200) NOT NULL, v INT NULL) PRIMARY KEY (k) DISTRIBUTED BY HASH(k) BUCKETS 1";
pub(crate) const DUP: &str = "(id INT, v VARCHAR(9)) DUPLICATE KEY (id) DISTRIBUTED BY HASH(id) BUCKETS 1";
pub(crate) const BINARY: &str =
    "(id INT NOT NULL, b VARBINARY NULL) PRIMARY KEY (id) DISTRIBUTED BY HASH(id) BUCKETS 1";
pub(crate) const DOC: &str = "(id INT NOT NULL, j JSON NULL) PRIMARY KEY (id) DISTRIBUTED BY HASH(id) BUCKETS 1";
pub(crate) const ARRAYS: &str =
    "(id INT NOT NULL, a ARRAY<INT> NULL) PRIMARY KEY (id) DISTRIBUTED BY HASH(id) BUCKETS 1";
pub(crate) const WORDS: &str =
    "(id INT NOT NULL, a ARRAY<VARCHAR(20)> NULL) PRIMARY KEY (id) DISTRIBUTED BY HASH(id) BUCKETS 1";
pub(crate) const NUMBERS: &str = "(id INT NOT NULL, b BOOLEAN NULL, i INT NULL, l LARGEINT NULL, d DECIMAL(6,2) NULL) PRIMARY KEY (id) \
                       DISTRIBUTED BY HASH(id) BUCKETS 1";
pub(crate) const TIMES: &str =
    "(id INT NOT NULL, d DATE NULL, t DATETIME NULL) PRIMARY KEY (id) DISTRIBUTED BY HASH(id) BUCKETS 1";
pub(crate) const SORTED: &str = "(id INT NOT NULL, v VARCHAR(9) NULL, n INT NULL) PRIMARY KEY (id) DISTRIBUTED BY HASH(id) BUCKETS 1 \
                      ORDER BY (n)";
pub(crate) const FLOATS: &str = "(id INT NOT NULL, f DOUBLE NULL) PRIMARY KEY (id) DISTRIBUTED BY HASH(id) BUCKETS 1";
pub(crate) const WIDEST: &str = "(id INT NOT NULL, d DECIMAL(38,9) NULL, s SMALLINT NULL, g BIGINT NULL) PRIMARY KEY (id) DISTRIBUTED BY \
                             HASH(id) BUCKETS 1";

pub(crate) const J: Headers = &[("format", "json")];
pub(crate) const ARRAY: Headers = &[("format", "json"), ("strip_outer_array", "true")];
pub(crate) const STRICT: Headers = &[("format", "json"), ("strict_mode", "true")];
pub(crate) const CSV: Headers = &[("column_separator", ",")];
pub(crate) const QUOTED: Headers = &[("column_separator", ","), ("enclose", "\"")];

pub(crate) const JSON_DOC: &str = "StarRocks docs STREAM LOAD, JSON; source json_scanner.cpp (3.5)";
pub(crate) const CSV_DOC: &str = "StarRocks docs STREAM LOAD, CSV; source csv_reader.cpp (3.5)";
pub(crate) const PK_DOC: &str = "StarRocks docs Load to Primary Key tables";
pub(crate) const FILTER_DOC: &str =
    "StarRocks docs STREAM LOAD, strict_mode, max_filter_ratio; source tablet_sink.cpp (3.5)";
pub(crate) const TYPE_DOC: &str = "StarRocks source formats/json/*_column.cpp, time_types.cpp (3.5)";

/// Loads every row of a table of tests into tables of its own.
pub(crate) async fn run_all(cases: &[Case]) {
    let target = Target::new().await;
    for (at, case) in cases.iter().enumerate().filter(|(_, case)| target.takes(case.only)) {
        check(&target, &format!("t{at}"), case).await;
    }
}

async fn check(target: &Target, table: &str, case: &Case) {
    target.create(table, case.table).await;
    let mut last = serde_json::Value::Null;
    for (headers, body) in case.loads {
        assert!(last.is_null() || last["Status"] == "Success", "{}: {last}", case.name);
        last = target.load(table, headers, body.as_bytes()).await;
    }
    let certainty = if case.doubt { ", in doubt" } else { "" };
    let place = format!("{} [{}{certainty}]: {last}", case.name, case.source);
    assert_eq!(last["Status"], case.want.status, "{place}");
    assert!(last["Message"].as_str().unwrap_or_default().contains(case.want.message), "{place}");
    assert_eq!(last["NumberFilteredRows"], case.want.filtered, "{place}");
    assert_eq!(target.rows(table).await, case.want.rows, "{place}");
}
