//! What becomes of rows and values.

use std::io::Write;

use starrocks_standin::store::Settings;

use crate::target::{Only, Target};

type Headers = &'static [(&'static str, &'static str)];

/// What the last load of a case answers, and what the table holds then.
#[derive(Clone, Copy)]
struct Want {
    status: &'static str,
    /// Part of `Message`.
    message: &'static str,
    /// `NumberFilteredRows`.
    filtered: u64,
    /// Rows by key, as SELECT prints them.
    rows: &'static [&'static [&'static str]],
}

struct Case {
    name: &'static str,
    source: &'static str,
    doubt: bool,
    only: Only,
    /// Columns, key and distribution of the table.
    table: &'static str,
    loads: &'static [(Headers, &'static str)],
    want: Want,
}

const fn case(
    name: &'static str,
    source: &'static str,
    table: &'static str,
    loads: &'static [(Headers, &'static str)],
    want: Want,
) -> Case {
    Case { name, source, doubt: false, only: Only::Anywhere, table, loads, want }
}

/// Concluded, not seen.
const fn doubt(mut case: Case) -> Case {
    case.doubt = true;
    case
}

const fn loaded(rows: &'static [&'static [&'static str]]) -> Want {
    Want { status: "Success", message: "OK", filtered: 0, rows }
}

const fn fails(message: &'static str, filtered: u64) -> Want {
    Want { status: "Fail", message, filtered, rows: &[] }
}

const TEXT: &str = "(id INT NOT NULL, v VARCHAR(3) NULL) PRIMARY KEY (id) DISTRIBUTED BY HASH(id) BUCKETS 1";
const STRICT_NULL: &str = "(id INT NOT NULL, v VARCHAR(3) NOT NULL) PRIMARY KEY (id) DISTRIBUTED BY HASH(id) BUCKETS 1";
const DEFAULTS: &str = "(id INT NOT NULL, v VARCHAR(9) NULL DEFAULT 'd', n INT NOT NULL DEFAULT '7') PRIMARY KEY (id) \
                        DISTRIBUTED BY HASH(id) BUCKETS 1";
const WIDE: &str =
    "(id INT NOT NULL, v VARCHAR(9) NULL, n INT NULL) PRIMARY KEY (id) DISTRIBUTED BY HASH(id) BUCKETS 1";
const LONG_KEY: &str = "(k VARCHAR(200) NOT NULL, v INT NULL) PRIMARY KEY (k) DISTRIBUTED BY HASH(k) BUCKETS 1";
const DUP: &str = "(id INT, v VARCHAR(9)) DUPLICATE KEY (id) DISTRIBUTED BY HASH(id) BUCKETS 1";
const BINARY: &str = "(id INT NOT NULL, b VARBINARY NULL) PRIMARY KEY (id) DISTRIBUTED BY HASH(id) BUCKETS 1";
const DOC: &str = "(id INT NOT NULL, j JSON NULL) PRIMARY KEY (id) DISTRIBUTED BY HASH(id) BUCKETS 1";
const ARRAYS: &str = "(id INT NOT NULL, a ARRAY<INT> NULL) PRIMARY KEY (id) DISTRIBUTED BY HASH(id) BUCKETS 1";
const NUMBERS: &str = "(id INT NOT NULL, b BOOLEAN NULL, i INT NULL, l LARGEINT NULL, d DECIMAL(6,2) NULL) PRIMARY KEY (id) \
                       DISTRIBUTED BY HASH(id) BUCKETS 1";
const TIMES: &str =
    "(id INT NOT NULL, d DATE NULL, t DATETIME NULL) PRIMARY KEY (id) DISTRIBUTED BY HASH(id) BUCKETS 1";
const SORTED: &str = "(id INT NOT NULL, v VARCHAR(9) NULL, n INT NULL) PRIMARY KEY (id) DISTRIBUTED BY HASH(id) BUCKETS 1 \
                      ORDER BY (n)";
const FLOATS: &str = "(id INT NOT NULL, f DOUBLE NULL) PRIMARY KEY (id) DISTRIBUTED BY HASH(id) BUCKETS 1";

const J: Headers = &[("format", "json")];
const ARRAY: Headers = &[("format", "json"), ("strip_outer_array", "true")];
const STRICT: Headers = &[("format", "json"), ("strict_mode", "true")];
const CSV: Headers = &[("column_separator", ",")];
const QUOTED: Headers = &[("column_separator", ","), ("enclose", "\"")];

const JSON_DOC: &str = "StarRocks docs STREAM LOAD, JSON; source json_scanner.cpp (3.5)";
const CSV_DOC: &str = "StarRocks docs STREAM LOAD, CSV; source csv_reader.cpp (3.5)";
const PK_DOC: &str = "StarRocks docs Load to Primary Key tables";
const FILTER_DOC: &str = "StarRocks docs STREAM LOAD, strict_mode, max_filter_ratio; source tablet_sink.cpp (3.5)";
const TYPE_DOC: &str = "StarRocks source formats/json/*_column.cpp, time_types.cpp (3.5)";

const CASES: &[Case] = &[
    // Shapes of a JSON body.
    case(
        "an array with strip_outer_array",
        JSON_DOC,
        TEXT,
        &[(ARRAY, r#"[{"id":1,"v":"a"},{"id":2}]"#)],
        loaded(&[&["1", "a"], &["2", "NULL"]]),
    ),
    case(
        "an array without it",
        JSON_DOC,
        TEXT,
        &[(J, r#"[{"id":1}]"#)],
        fails("you can set strip_outer_array=true", 1),
    ),
    case(
        "objects one after another",
        JSON_DOC,
        TEXT,
        &[(J, "{\"id\":1}\n{\"id\":2}{\"id\":3}")],
        loaded(&[&["1", "NULL"], &["2", "NULL"], &["3", "NULL"]]),
    ),
    case(
        "objects with strip_outer_array",
        JSON_DOC,
        TEXT,
        &[(ARRAY, r#"{"id":1}"#)],
        fails("the value should be array type with strip_outer_array=true", 1),
    ),
    case("neither object nor array", JSON_DOC, TEXT, &[(J, "x")], fails("illegal json started with [x]", 1)),
    case(
        "a syntax error fails the load whatever the ratio",
        JSON_DOC,
        TEXT,
        &[(&[("format", "json"), ("max_filter_ratio", "1")], "{\"id\":1}\n{\"id\":}")],
        fails("", 1),
    ),
    case(
        "an empty load is an error",
        "StarRocks source empty_load_as_error (3.5)",
        TEXT,
        &[(ARRAY, "[]")],
        fails("all partitions have no load data", 0),
    ),
    // Keys and columns.
    case(
        "keys are compared with regard to case",
        JSON_DOC,
        TEXT,
        &[(J, r#"{"id":1,"V":"a"}"#)],
        loaded(&[&["1", "NULL"]]),
    ),
    case(
        "unknown keys are skipped",
        JSON_DOC,
        TEXT,
        &[(J, r#"{"id":1,"w":{"x":[1]},"v":"a"}"#)],
        loaded(&[&["1", "a"]]),
    ),
    case(
        "of a repeated key the first counts",
        JSON_DOC,
        TEXT,
        &[(J, r#"{"id":1,"v":"a","v":"b"}"#)],
        loaded(&[&["1", "a"]]),
    ),
    case(
        "an absent key is NULL, not the default",
        "StarRocks pull request 78952 wants to change it; source json_scanner.cpp (3.5)",
        DEFAULTS,
        &[(J, r#"{"id":1,"n":1}"#)],
        loaded(&[&["1", "NULL", "1"]]),
    ),
    case(
        "an absent key of a NOT NULL column filters the row, default or not",
        JSON_DOC,
        DEFAULTS,
        &[(J, r#"{"id":1}"#)],
        fails("too many filtered rows", 1),
    ),
    case(
        "a column the columns header leaves out takes its default",
        "StarRocks source Load.java (3.5)",
        DEFAULTS,
        &[(&[("format", "json"), ("columns", "id")], r#"{"id":1}"#)],
        loaded(&[&["1", "d", "7"]]),
    ),
    case(
        "a NOT NULL column without default must be listed",
        "StarRocks source Load.java (3.5)",
        STRICT_NULL,
        &[(&[("format", "json"), ("columns", "id")], r#"{"id":1}"#)],
        fails("Column has no default value. column: v", 0),
    ),
    case(
        "an expression for a column that is not there",
        "StarRocks source Load.java (3.5)",
        TEXT,
        &[(&[("format", "json"), ("columns", "id,x,w=x")], r#"{"id":1}"#)],
        fails("Mapping column is not in table. column: w", 0),
    ),
    case(
        "a column listed twice",
        "StarRocks source Load.java (3.5)",
        TEXT,
        &[(&[("format", "json"), ("columns", "id,v,v")], r#"{"id":1}"#)],
        fails("Duplicate column: v", 0),
    ),
    case(
        "a column computed twice",
        "StarRocks source Load.java (3.5)",
        TEXT,
        &[(&[("format", "json"), ("columns", "id,x,v=x,v=x")], r#"{"id":1}"#)],
        fails("Duplicate column mapping: v", 0),
    ),
    case(
        "a name in columns that is no column is only a variable",
        "StarRocks source Load.java (3.5)",
        TEXT,
        &[(&[("format", "json"), ("columns", "id,x,v=x")], r#"{"id":1,"x":"a"}"#)],
        loaded(&[&["1", "a"]]),
    ),
    case(
        "jsonpaths by position",
        JSON_DOC,
        TEXT,
        &[(
            &[("format", "json"), ("jsonpaths", r#"["$.a.b","$.c[1]"]"#), ("columns", "id,v")],
            r#"{"a":{"b":1},"c":["x","y"]}"#,
        )],
        loaded(&[&["1", "y"]]),
    ),
    case(
        "a path that leads nowhere is NULL",
        JSON_DOC,
        TEXT,
        &[(&[("format", "json"), ("jsonpaths", r#"["$.id","$.no"]"#), ("columns", "id,v")], r#"{"id":1}"#)],
        loaded(&[&["1", "NULL"]]),
    ),
    case(
        "a path through a value filters the row",
        JSON_DOC,
        TEXT,
        &[(&[("format", "json"), ("jsonpaths", r#"["$.id","$.id.x"]"#), ("columns", "id,v")], r#"{"id":1}"#)],
        fails("too many filtered rows", 1),
    ),
    case(
        "fewer paths than columns are NULL",
        JSON_DOC,
        TEXT,
        &[(&[("format", "json"), ("jsonpaths", r#"["$.id"]"#), ("columns", "id,v")], r#"{"id":1,"v":"a"}"#)],
        loaded(&[&["1", "NULL"]]),
    ),
    case(
        "rows below json_root",
        JSON_DOC,
        TEXT,
        &[(
            &[("format", "json"), ("strip_outer_array", "true"), ("json_root", "$.rows")],
            r#"{"rows":[{"id":1},{"id":2}]}"#,
        )],
        loaded(&[&["1", "NULL"], &["2", "NULL"]]),
    ),
    // __op.
    case(
        "__op 1 deletes, 0 and absence upsert",
        PK_DOC,
        TEXT,
        &[(J, r#"{"id":1}{"id":2}{"id":3}"#), (J, r#"{"id":1,"__op":1}{"id":2,"v":"a","__op":0}{"id":4}"#)],
        loaded(&[&["2", "a"], &["3", "NULL"], &["4", "NULL"]]),
    ),
    case(
        "__op as text",
        "RisingWave's sink sends it so; source json_scanner.cpp (3.5)",
        TEXT,
        &[(J, r#"{"id":1}{"id":2}"#), (J, r#"{"id":1,"__op":"1"}"#)],
        loaded(&[&["2", "NULL"]]),
    ),
    case(
        "__op is known even if columns leaves it out",
        "StarRocks source Load.java (3.5)",
        TEXT,
        &[(J, r#"{"id":1}{"id":2}"#), (&[("format", "json"), ("columns", "id,v")], r#"{"id":1,"__op":1}"#)],
        loaded(&[&["2", "NULL"]]),
    ),
    case(
        "a constant __op",
        "StarRocks docs Load to Primary Key tables",
        TEXT,
        &[(J, r#"{"id":1}{"id":2}"#), (&[("format", "json"), ("columns", "id,__op='delete'")], r#"{"id":1}"#)],
        loaded(&[&["2", "NULL"]]),
    ),
    case(
        "a constant __op by number",
        PK_DOC,
        TEXT,
        &[(J, r#"{"id":1}{"id":2}"#), (&[("format", "json"), ("columns", "id,__op=1")], r#"{"id":1}"#)],
        loaded(&[&["2", "NULL"]]),
    ),
    case(
        "another word for __op",
        "StarRocks source Load.java (3.5)",
        TEXT,
        &[(&[("format", "json"), ("columns", "id,__op='remove'")], r#"{"id":1}"#)],
        fails("load op type string not supported: remove", 0),
    ),
    case(
        "another number for __op",
        "StarRocks source Load.java (3.5)",
        TEXT,
        &[(&[("format", "json"), ("columns", "id,__op=2")], r#"{"id":1}"#)],
        fails("const load op type column should only be upsert(0)/delete(1)", 0),
    ),
    case(
        "a delete of a missing key does nothing",
        PK_DOC,
        TEXT,
        &[(J, r#"{"id":1}"#), (J, r#"{"id":9,"__op":1}"#)],
        loaded(&[&["1", "NULL"]]),
    ),
    case(
        "an upsert replaces the whole row",
        PK_DOC,
        WIDE,
        &[(J, r#"{"id":1,"v":"a","n":1}"#), (J, r#"{"id":1,"n":2}"#)],
        loaded(&[&["1", "NULL", "2"]]),
    ),
    case(
        "a delete row must have the NOT NULL columns",
        FILTER_DOC,
        STRICT_NULL,
        &[(J, r#"{"id":1,"v":"a"}"#), (J, r#"{"id":1,"__op":1}"#)],
        Want { status: "Fail", message: "too many filtered rows", filtered: 1, rows: &[&["1", "a"]] },
    ),
    doubt(case(
        "unless only the key is listed, in a partial update",
        "StarRocks source Load.java, tablet_sink.cpp: by the slots listed (3.5)",
        STRICT_NULL,
        &[
            (J, r#"{"id":1,"v":"a"}{"id":2,"v":"b"}"#),
            (&[("format", "json"), ("partial_update", "true"), ("columns", "id,__op")], r#"{"id":1,"__op":1}"#),
        ],
        loaded(&[&["2", "b"]]),
    )),
    case(
        "in a DUPLICATE KEY table __op is an unknown key",
        PK_DOC,
        DUP,
        &[(J, r#"{"id":1,"__op":1}"#)],
        loaded(&[&["1", "NULL"]]),
    ),
    case(
        "a DUPLICATE KEY table keeps every row",
        "StarRocks docs Duplicate Key table",
        DUP,
        &[(J, r#"{"id":1}{"id":1}"#)],
        loaded(&[&["1", "NULL"], &["1", "NULL"]]),
    ),
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
    // strict_mode and max_filter_ratio.
    case(
        "too long without strict_mode: NULL, in silence",
        FILTER_DOC,
        TEXT,
        &[(J, r#"{"id":1,"v":"abcd"}"#)],
        loaded(&[&["1", "NULL"]]),
    ),
    case(
        "length counts bytes",
        TYPE_DOC,
        TEXT,
        &[(J, r#"{"id":1,"v":"äb"}{"id":2,"v":"äöü"}"#)],
        loaded(&[&["1", "äb"], &["2", "NULL"]]),
    ),
    case(
        "too long with strict_mode: the load fails",
        FILTER_DOC,
        TEXT,
        &[(STRICT, r#"{"id":1,"v":"abcd"}{"id":2}"#)],
        fails("too many filtered rows", 1),
    ),
    case(
        "too long in a NOT NULL column: the row is filtered",
        FILTER_DOC,
        STRICT_NULL,
        &[(J, r#"{"id":1,"v":"abcd"}"#)],
        fails("too many filtered rows", 1),
    ),
    case(
        "filtered rows up to the ratio are left out",
        FILTER_DOC,
        TEXT,
        &[(
            &[("format", "json"), ("strict_mode", "true"), ("max_filter_ratio", "0.5")],
            r#"{"id":1,"v":"abcd"}{"id":2}"#,
        )],
        Want { status: "Success", message: "OK", filtered: 1, rows: &[&["2", "NULL"]] },
    ),
    case(
        "more than the ratio fails",
        FILTER_DOC,
        TEXT,
        &[(
            &[("format", "json"), ("strict_mode", "true"), ("max_filter_ratio", "0.4")],
            r#"{"id":1,"v":"abcd"}{"id":2}"#,
        )],
        fails("too many filtered rows", 1),
    ),
    case(
        "strict_mode lets NULL be NULL",
        FILTER_DOC,
        TEXT,
        &[(STRICT, r#"{"id":1,"v":null}"#)],
        loaded(&[&["1", "NULL"]]),
    ),
    case(
        "strict_mode is a boolean",
        "StarRocks source StreamLoadInfo.java (3.5)",
        TEXT,
        &[(&[("format", "json"), ("strict_mode", "yes")], r#"{"id":1}"#)],
        fails("Invalid strict mode format. Must be bool type", 0),
    ),
    // Values.
    case(
        "booleans",
        TYPE_DOC,
        NUMBERS,
        &[(J, r#"{"id":1,"b":true}{"id":2,"b":2}{"id":3,"b":"false"}"#)],
        loaded(&[
            &["1", "1", "NULL", "NULL", "NULL"],
            &["2", "1", "NULL", "NULL", "NULL"],
            &["3", "0", "NULL", "NULL", "NULL"],
        ]),
    ),
    case(
        "the fraction of an integer is cut off in silence",
        "StarRocks regression test_stream_load; source numeric_column.cpp (3.5)",
        NUMBERS,
        &[(STRICT, r#"{"id":1,"i":2147483647.3}{"id":2,"i":"12"}"#)],
        loaded(&[&["1", "NULL", "2147483647", "NULL", "NULL"], &["2", "NULL", "12", "NULL", "NULL"]]),
    ),
    case(
        "an integer's overflow is invalid",
        TYPE_DOC,
        NUMBERS,
        &[(J, r#"{"id":1,"i":2147483648}"#)],
        loaded(&[&["1", "NULL", "NULL", "NULL", "NULL"]]),
    ),
    case(
        "LARGEINT keeps 128 bits",
        TYPE_DOC,
        NUMBERS,
        &[(STRICT, r#"{"id":1,"l":-170141183460469231731687303715884105728}"#)],
        loaded(&[&["1", "NULL", "NULL", "-170141183460469231731687303715884105728", "NULL"]]),
    ),
    case(
        "extra fraction digits of a DECIMAL are rounded in silence",
        TYPE_DOC,
        NUMBERS,
        &[(STRICT, r#"{"id":1,"d":1.005}{"id":2,"d":"-1.005"}"#)],
        loaded(&[&["1", "NULL", "NULL", "NULL", "1.01"], &["2", "NULL", "NULL", "NULL", "-1.01"]]),
    ),
    case(
        "too many integer digits of a DECIMAL are invalid",
        TYPE_DOC,
        NUMBERS,
        &[(J, r#"{"id":1,"d":10000}{"id":2,"d":"NaN"}"#)],
        loaded(&[&["1", "NULL", "NULL", "NULL", "NULL"], &["2", "NULL", "NULL", "NULL", "NULL"]]),
    ),
    case(
        "dates: text behind is ignored, infinity is invalid",
        TYPE_DOC,
        TIMES,
        &[(J, r#"{"id":1,"d":"2024-02-29 x"}{"id":2,"d":"infinity"}{"id":3,"d":"20240131"}"#)],
        loaded(&[&["1", "2024-02-29", "NULL"], &["2", "NULL", "NULL"], &["3", "2024-01-31", "NULL"]]),
    ),
    case(
        "DATETIME ignores offsets and BC, keeps microseconds",
        TYPE_DOC,
        TIMES,
        &[(
            STRICT,
            r#"{"id":1,"t":"2024-01-01 00:00:00+05"}{"id":2,"t":"0044-03-15 00:00:00 BC"}{"id":3,"t":"2024-01-01T01:02:03.123456Z"}"#,
        )],
        loaded(&[
            &["1", "NULL", "2024-01-01 00:00:00"],
            &["2", "NULL", "0044-03-15 00:00:00"],
            &["3", "NULL", "2024-01-01 01:02:03.123456"],
        ]),
    ),
    case(
        "hour 24 and year 10000 are invalid",
        TYPE_DOC,
        TIMES,
        &[(J, r#"{"id":1,"t":"2024-01-01 24:00:00"}{"id":2,"t":"10000-01-01 00:00:00"}"#)],
        loaded(&[&["1", "NULL", "NULL"], &["2", "NULL", "NULL"]]),
    ),
    case("a bare NaN is a syntax error", TYPE_DOC, FLOATS, &[(J, r#"{"id":1,"f":NaN}"#)], fails("", 1)),
    case(
        "numbers of text columns keep their token, booleans become digits, objects their text",
        TYPE_DOC,
        WIDE,
        &[(J, r#"{"id":1,"v":1.50}{"id":2,"v":true}{"id":3,"v":{"a": 1}}"#)],
        loaded(&[&["1", "1.50", "NULL"], &["2", "1", "NULL"], &["3", "{\"a\":1}", "NULL"]]),
    ),
    case(
        "VARBINARY takes a JSON string's bytes as they are",
        TYPE_DOC,
        BINARY,
        &[(J, r#"{"id":1,"b":"AAEC"}"#)],
        loaded(&[&["1", "AAEC"]]),
    ),
    case(
        "to_binary decodes base64",
        "StarRocks docs to_binary",
        BINARY,
        &[(
            &[("format", "json"), ("columns", "id,x,b=to_binary(x,'encode64')")],
            r#"{"id":1,"x":"aGk="}{"id":2,"x":null}"#,
        )],
        loaded(&[&["1", "hi"], &["2", "NULL"]]),
    ),
    case(
        "to_binary decodes hex and text; what does not decode is empty",
        "StarRocks docs to_binary",
        BINARY,
        &[
            (
                &[("format", "json"), ("columns", "id,x,b=to_binary(x,'hex')")],
                r#"{"id":1,"x":"6869"}{"id":2,"x":"zz"}"#,
            ),
            (&[("format", "json"), ("columns", "id,x,b=to_binary(x,'utf8')")], r#"{"id":3,"x":"hi"}"#),
        ],
        loaded(&[&["1", "hi"], &["2", ""], &["3", "hi"]]),
    ),
    case(
        "a computed string that is too long filters the row, strict or not",
        "StarRocks source tablet_sink.cpp (3.5)",
        TEXT,
        &[(&[("format", "json"), ("columns", "id,x,v=x")], r#"{"id":1,"x":"abcd"}"#)],
        fails("too many filtered rows", 1),
    ),
    case(
        "JSON keeps native values; big numbers and decimals become doubles",
        "StarRocks source json.cpp (3.5)",
        DOC,
        &[(
            J,
            r#"{"id":1,"j":{"b":1,"a":[true,null,"x"]}}{"id":2,"j":"text"}{"id":3,"j":1.50}{"id":4,"j":18446744073709551615}"#,
        )],
        loaded(&[
            &["1", r#"{"b": 1, "a": [true, null, "x"]}"#],
            &["2", "\"text\""],
            &["3", "1.5"],
            &["4", "18446744073709551615"],
        ]),
    ),
    case(
        "JSON null is SQL NULL",
        "StarRocks source json_scanner.cpp (3.5)",
        DOC,
        &[(J, r#"{"id":1,"j":null}"#)],
        loaded(&[&["1", "NULL"]]),
    ),
    case(
        "ARRAY elements that do not fit become NULL",
        "StarRocks pull request 45406 (3.3)",
        ARRAYS,
        &[(J, r#"{"id":1,"a":[1,null,"x",3000000000]}"#)],
        loaded(&[&["1", "[1,null,null,null]"]]),
    ),
    // CSV.
    case(
        "CSV: \\N is NULL, an empty field is the empty string",
        CSV_DOC,
        TEXT,
        &[(CSV, "1,\\N\n2,\n")],
        loaded(&[&["1", "NULL"], &["2", ""]]),
    ),
    case(
        "CSV: the last row needs no delimiter, empty lines are skipped",
        CSV_DOC,
        TEXT,
        &[(CSV, "1,a\n\n2,b")],
        loaded(&[&["1", "a"], &["2", "b"]]),
    ),
    case("CSV: no quoting without enclose", CSV_DOC, TEXT, &[(CSV, "1,\"a\"\n")], loaded(&[&["1", "\"a\""]])),
    case(
        "CSV: a wrong number of fields filters the row",
        CSV_DOC,
        TEXT,
        &[(CSV, "1,a,b\n2,c\n")],
        fails("too many filtered rows", 1),
    ),
    case(
        "CSV: enclose holds separators and row ends, doubled it is one",
        CSV_DOC,
        WIDE,
        &[(QUOTED, "1,\"a,\nb\",1\n2,\"c\"\"d\",2\n")],
        loaded(&[&["1", "a,\nb", "1"], &["2", "c\"d", "2"]]),
    ),
    case("CSV: quoted \\N is NULL too", CSV_DOC, TEXT, &[(QUOTED, "1,\"\\N\"\n")], loaded(&[&["1", "NULL"]])),
    case(
        "CSV: escape takes the next byte as it is",
        CSV_DOC,
        TEXT,
        &[(&[("column_separator", ","), ("escape", "\\")], "1,a\\,b\n2,\\\\N\n")],
        loaded(&[&["1", "a,b"], &["2", "NULL"]]),
    ),
    case(
        "CSV: delimiters in hex",
        CSV_DOC,
        TEXT,
        &[(&[("column_separator", "\\x01"), ("row_delimiter", "0x02")], "1\u{1}a\u{2}2\u{1}b\u{2}")],
        loaded(&[&["1", "a"], &["2", "b"]]),
    ),
    case(
        "CSV: skip_header and trim_space",
        CSV_DOC,
        TEXT,
        &[(&[("column_separator", ","), ("skip_header", "1"), ("trim_space", "true")], "id,v\n 1 , a \n")],
        loaded(&[&["1", "a"]]),
    ),
    case(
        "CSV: __op by position",
        PK_DOC,
        TEXT,
        &[(CSV, "1,a\n2,b\n"), (&[("column_separator", ","), ("columns", "id,v,__op")], "1,a,1\n3,c,0\n")],
        loaded(&[&["2", "b"], &["3", "c"]]),
    ),
    case(
        "CSV: __op from a variable",
        PK_DOC,
        TEXT,
        &[(CSV, "1,a\n2,b\n"), (&[("column_separator", ","), ("columns", "id,v,x,__op=x")], "1,a,1\n")],
        loaded(&[&["2", "b"]]),
    ),
    case(
        "CSV: VARBINARY takes base64, or the bytes",
        "StarRocks source binary_converter.cpp (3.5)",
        BINARY,
        &[(CSV, "1,aGk=\n2,h!\n")],
        loaded(&[&["1", "hi"], &["2", "h!"]]),
    ),
    case(
        "CSV: JSON text is parsed only if it looks like it",
        "StarRocks source json_converter.cpp (3.5)",
        DOC,
        &[(&[("column_separator", "|")], "1|{\"a\":1}\n2|1\n")],
        loaded(&[&["1", r#"{"a": 1}"#], &["2", "\"1\""]]),
    ),
    case(
        "CSV: a number that is empty or cut",
        TYPE_DOC,
        NUMBERS,
        &[(CSV, "1,1,,1,1\n2,0,12.7,2,2\n")],
        loaded(&[&["1", "1", "NULL", "1", "1.00"], &["2", "0", "12", "2", "2.00"]]),
    ),
    case(
        "names in columns may be back-quoted, in any case",
        "StarRocks docs STREAM LOAD, columns",
        TEXT,
        &[(&[("format", "json"), ("columns", "`ID`, `V`")], r#"{"ID":1,"V":"a"}{"ID":2,"v":"b"}"#)],
        loaded(&[&["1", "a"], &["2", "NULL"]]),
    ),
    case(
        "ends of DATE and DATETIME",
        TYPE_DOC,
        TIMES,
        &[(STRICT, r#"{"id":1,"d":"0000-01-01","t":"9999-12-31 23:59:59.999999"}"#)],
        loaded(&[&["1", "0000-01-01", "9999-12-31 23:59:59.999999"]]),
    ),
    case(
        "a timeout is a number",
        "StarRocks source stream_load.cpp (3.5)",
        TEXT,
        &[(&[("format", "json"), ("timeout", "soon")], r#"{"id":1}"#)],
        fails("Invalid timeout format", 0),
    ),
    case(
        "a partial update must list the sort key",
        "StarRocks source delta_writer.cpp (3.5)",
        SORTED,
        &[(&[("format", "json"), ("partial_update", "true"), ("columns", "id,v")], r#"{"id":1}"#)],
        fails("partial update on table with sort key must provide all sort key columns", 0),
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
];

#[tokio::test]
async fn rows_land_as_starrocks_lands_them() {
    let target = Target::new().await;
    for (at, case) in CASES.iter().enumerate().filter(|(_, case)| target.takes(case.only)) {
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

#[tokio::test]
async fn filtered_rows_can_be_read_at_the_error_url() {
    // StarRocks docs STREAM LOAD, ErrorURL (3.5).
    let rows = [
        (r#"{"id":1,"v":"abcd"}"#, "Value length is beyond the capacity. column=v, capacity=3"),
        (r#"{"id":2147483648,"v":"a"}"#, "Value is overflow. column=id, value=2147483648"),
        (r#"{"v":"a"}"#, "NULL value in non-nullable column 'id'"),
    ];
    let target = Target::new().await;
    target.create("t", TEXT).await;
    for (body, reason) in rows {
        let answer = target.load("t", STRICT, body.as_bytes()).await;
        let url = answer["ErrorURL"].as_str().unwrap_or_else(|| panic!("no ErrorURL in {answer}"));
        let (address, path) = url.strip_prefix("http://").and_then(|rest| rest.split_once('/')).expect("an address");
        assert!(path.starts_with("api/_load_error_log?file="), "{url}");
        let log = crate::client::request(address, "GET", &format!("/{path}"), &[], b"").await.expect("the log");
        assert!(log.body.contains(&format!("Error: {reason}. Row: ")), "{}", log.body);
    }
}

#[tokio::test]
async fn compressed_bodies_are_expanded() {
    // StarRocks docs STREAM LOAD, compression (JSON, 3.3) and format (CSV).
    let target = Target::new().await;
    target.create("t", TEXT).await;
    let gzip = |plain: &[u8]| {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(plain).and_then(|()| encoder.finish()).expect("gzip")
    };
    let lz4 = |plain: &[u8]| {
        let mut encoder = lz4_flex::frame::FrameEncoder::new(Vec::new());
        encoder.write_all(plain).expect("lz4");
        encoder.finish().expect("lz4")
    };
    let zstd = |plain: &[u8]| zstd::stream::encode_all(plain, 1).expect("zstd");
    let json = [
        ("gzip", gzip(br#"{"id":1,"v":"a"}"#)),
        ("lz4_frame", lz4(br#"{"id":2,"v":"b"}"#)),
        ("zstd", zstd(br#"{"id":3,"v":"c"}"#)),
    ];
    for (name, body) in &json {
        let answer = target.load("t", &[("format", "json"), ("compression", name)], body).await;
        assert_eq!(answer["Status"], "Success", "{name}: {answer}");
        assert_eq!(answer["LoadBytes"], body.len(), "{name}: bytes as received");
    }
    let csv = [("gzip", gzip(b"4,d\n")), ("lz4", lz4(b"5,e\n")), ("zstd", zstd(b"6,f\n"))];
    for (name, body) in &csv {
        let answer = target.load("t", &[("format", name), ("column_separator", ",")], body).await;
        assert_eq!(answer["Status"], "Success", "{name}: {answer}");
    }
    assert_eq!(target.rows("t").await.len(), 6);
    let broken = target.load("t", &[("format", "json"), ("compression", "zstd")], b"not zstd").await;
    assert_eq!(broken["Status"], "Fail", "{broken}");
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
async fn a_column_added_later_is_not_seen_by_a_load_before_it() {
    // StarRocks docs ALTER TABLE; source SchemaChangeHandler.java (3.3): keys are dropped in silence until then.
    let target = Target::new().await;
    target.create("t", TEXT).await;
    target.load("t", J, br#"{"id":1,"w":5}"#).await;
    target.sql(&[&format!("ALTER TABLE {}.t ADD COLUMN w INT NULL", target.database)]).await;
    target.load("t", J, br#"{"id":2,"w":5}"#).await;
    assert_eq!(target.rows("t").await, [["1", "NULL", "NULL"], ["2", "NULL", "5"]]);
}

#[tokio::test]
async fn rows_that_are_not_utf_8() {
    // StarRocks source csv_scanner.cpp (3.5): Invalid UTF-8 row.
    let target = Target::new().await;
    target.create("t", TEXT).await;
    let answer = target.load("t", &[("column_separator", ","), ("max_filter_ratio", "0.5")], b"1,\xff\n2,b\n").await;
    assert_eq!(answer["Status"], "Success", "{answer}");
    assert_eq!(answer["NumberFilteredRows"], 1, "{answer}");
    assert_eq!(target.rows("t").await, [["2", "b"]]);
}

#[tokio::test]
async fn rejected_rows_can_be_asked_for() {
    // StarRocks docs STREAM LOAD, log_rejected_record_num (3.1).
    let target = Target::new().await;
    target.create("t", TEXT).await;
    let rows = [("-1", true), ("0", false)];
    for (number, path) in rows {
        let headers = [("format", "json"), ("strict_mode", "true"), ("log_rejected_record_num", number)];
        let answer = target.load("t", &headers, br#"{"id":1,"v":"abcd"}"#).await;
        assert_eq!(answer.get("RejectedRecordPath").is_some(), path, "{answer}");
    }
}

#[tokio::test]
async fn names_in_the_path_are_decoded() {
    // StarRocks issue 59722 (3.3.14, 3.4, 3.5).
    let target = Target::new().await;
    target.create("`数`", TEXT).await;
    let path = format!("/api/{}/%E6%95%B0/_stream_load", target.database);
    let response = target.through("PUT", &path, &[("format", "json")], br#"{"id":1}"#).await;
    assert!(response.body.contains("Success"), "{}", response.body);
    assert_eq!(target.rows("`数`").await, [["1", "NULL"]]);
}
