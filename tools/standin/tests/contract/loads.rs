//! What becomes of a body: its shape, its columns, its rows.

use std::io::Write;

use crate::rows::*;
use crate::target::Target;

/// 2000 arrays, each in the one before.
const DEEP: &str = {
    const BYTES: [u8; 4014] = {
        let head = br#"{"id":1,"j":"#;
        let mut bytes = [b'['; 4014];
        let mut at = 0;
        while at < bytes.len() {
            if at < head.len() {
                bytes[at] = head[at];
            } else if at >= 2012 && at < 4012 {
                bytes[at] = b']';
            }
            at += 1;
        }
        bytes[4012] = b'}';
        bytes[4013] = b'\n';
        bytes
    };
    match std::str::from_utf8(&BYTES) {
        Ok(text) => text,
        Err(_) => "",
    }
};

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
        "a constant __op that is no integer",
        "StarRocks source Load.java (3.5)",
        TEXT,
        &[(&[("format", "json"), ("columns", "id,__op=1.5")], r#"{"id":1}"#)],
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
    case(
        "a constant __op that says upsert",
        PK_DOC,
        TEXT,
        &[(&[("format", "json"), ("columns", "id,v,__op='upsert'")], r#"{"id":1,"v":"a","__op":1}"#)],
        loaded(&[&["1", "a"]]),
    ),
    case(
        "any integer passes as a constant __op; alone, only 1 deletes",
        "StarRocks source Load.java (3.3), memtable.cpp (3.5)",
        TEXT,
        &[(&[("format", "json"), ("columns", "id,v,__op=2")], r#"{"id":1,"v":"a"}"#)],
        loaded(&[&["1", "a"]]),
    ),
    case(
        "columns of expressions alone leave the fields to the table",
        "StarRocks source Load.java (3.3)",
        TEXT,
        &[(CSV, "1,a\n2,b\n"), (&[("column_separator", ","), ("columns", "__op='delete'")], "1,a\n")],
        loaded(&[&["2", "b"]]),
    ),
    case(
        "CSV: a constant __op",
        PK_DOC,
        TEXT,
        &[(CSV, "1,a\n2,b\n"), (&[("column_separator", ","), ("columns", "id,v,__op='delete'")], "1,a\n")],
        loaded(&[&["2", "b"]]),
    ),
    case(
        "CSV: __op that is not named is a field too many",
        PK_DOC,
        TEXT,
        &[(CSV, "1,a,1\n")],
        fails("too many filtered rows", 1),
    ),
    case(
        "__op by a path of its own",
        "StarRocks docs Load to Primary Key tables, jsonpaths",
        TEXT,
        &[
            (J, r#"{"id":1}{"id":2}"#),
            (
                &[("format", "json"), ("jsonpaths", r#"["$.k","$.x.op"]"#), ("columns", "id,__op")],
                r#"{"k":1,"x":{"op":1}}{"k":3,"x":{"op":0}}"#,
            ),
        ],
        loaded(&[&["2", "NULL"], &["3", "NULL"]]),
    ),
    case(
        "fewer paths than columns: __op is 0",
        JSON_DOC,
        TEXT,
        &[(&[("format", "json"), ("jsonpaths", r#"["$.id"]"#), ("columns", "id,__op")], r#"{"id":1,"__op":1}"#)],
        loaded(&[&["1", "NULL"]]),
    ),
    doubt(case(
        "a control byte inside a JSON string is loaded",
        "StarRocks regression test_stream_load (3.5)",
        TEXT,
        &[(J, "{\"id\":1,\"v\":\"a\u{1}b\"}")],
        loaded(&[&["1", "a\u{1}b"]]),
    )),
    case(
        "nesting beyond what the parser takes fails the load",
        "StarRocks source json_scanner.cpp; simdjson DEFAULT_MAX_DEPTH (3.5)",
        DOC,
        &[(&[("format", "json"), ("max_filter_ratio", "1")], DEEP)],
        fails("", 1),
    ),
    case(
        "strict_mode true filters conversions of values, not NULL of absent keys",
        FILTER_DOC,
        NUMBERS,
        &[(&[("format", "json"), ("strict_mode", "TRUE"), ("max_filter_ratio", "1")], r#"{"id":1}{"id":2,"i":"x"}"#)],
        Want { status: "Success", message: "OK", filtered: 1, rows: &[&["1", "NULL", "NULL", "NULL", "NULL"]] },
    ),
    case(
        "a load whose every row may be filtered has no data left",
        "StarRocks source empty_load_as_error (3.5)",
        TEXT,
        &[(&[("format", "json"), ("strict_mode", "true"), ("max_filter_ratio", "1")], r#"{"id":1,"v":"abcd"}"#)],
        fails("all partitions have no load data", 1),
    ),
    case(
        "max_filter_ratio lies between 0 and 1",
        "StarRocks docs STREAM LOAD, max_filter_ratio",
        TEXT,
        &[(&[("format", "json"), ("max_filter_ratio", "2")], r#"{"id":1}"#)],
        fails("max_filter_ratio", 0),
    ),
    ours(case(
        "what the stand-in does not model it refuses: functions in columns",
        "StarRocks docs STREAM LOAD, columns",
        TIMES,
        &[(&[("format", "json"), ("columns", "id,x,t=from_unixtime(x)")], r#"{"id":1,"x":0}"#)],
        fails("starrocks-standin does not model the function from_unixtime", 0),
    )),
    ours(case(
        "what the stand-in does not model it refuses: merge commit",
        "StarRocks docs STREAM LOAD, enable_merge_commit (3.4)",
        TEXT,
        &[(&[("format", "json"), ("enable_merge_commit", "true")], r#"{"id":1}"#)],
        fails("starrocks-standin does not model merge commit", 0),
    )),
    ours(case(
        "what the stand-in does not model it refuses: the where header",
        "StarRocks docs STREAM LOAD, where",
        TEXT,
        &[(&[("format", "json"), ("where", "id > 1")], r#"{"id":1}"#)],
        fails("starrocks-standin does not model the header where", 0),
    )),
];

#[tokio::test]
async fn rows_land_as_starrocks_lands_them() {
    run_all(CASES).await;
}

#[tokio::test]
async fn filtered_rows_can_be_read_at_the_error_url() {
    // StarRocks docs STREAM LOAD, ErrorURL (3.5).
    let rows = [
        (r#"{"id":1,"v":"abcd"}"#, "Value length is beyond the capacity. column=v, capacity=3"),
        (r#"{"id":2147483648,"v":"a"}"#, "Value is overflow. column=id, value=2147483648"),
        (r#"{"v":"a"}"#, "NULL value in non-nullable column 'id'"),
        (r#"{"id":1,"d":100000}"#, "Decimal '100000' is out of range. The type of 'd' is DECIMAL"),
        (r#"{"id":1,"t":"soon"}"#, "Value 'soon' is out of range. The type of 't' is DATE"),
        (r#"{"id":1,"x":"abcd"}"#, "String 'abcd'(length=4) is too long. The max length of 'w' is 3"),
    ];
    let target = Target::new().await;
    let table = "(id INT NOT NULL, v VARCHAR(3) NULL, d DECIMAL(6,2) NULL, t DATE NULL, w VARCHAR(3) NULL) PRIMARY KEY \
                 (id) DISTRIBUTED BY HASH(id) BUCKETS 1";
    target.create("t", table).await;
    for (body, reason) in rows {
        let columns: Headers = &[("format", "json"), ("strict_mode", "true"), ("columns", "id,v,d,t,x,w=x")];
        let headers = if body.contains("\"x\"") { columns } else { STRICT };
        let answer = target.load("t", headers, body.as_bytes()).await;
        let url = answer["ErrorURL"].as_str().unwrap_or_else(|| panic!("no ErrorURL in {answer}"));
        let (address, path) = url.strip_prefix("http://").and_then(|rest| rest.split_once('/')).expect("an address");
        assert!(path.starts_with("api/_load_error_log?file="), "{url}");
        let log = crate::client::request(address, "GET", &format!("/{path}"), &[], b"").await.expect("the log");
        assert!(log.body.contains(&format!("Error: {reason}")), "{reason}: {}", log.body);
        assert!(log.body.contains(". Row: "), "{}", log.body);
    }
    // Nothing of a failed load is written, and a scanner's log ends after 50 lines.
    let bodies: String = (0..60).map(|id| format!("{{\"id\":{id},\"v\":\"abcd\"}}")).collect();
    let answer = target.load("t", STRICT, format!("{{\"id\":99}}{bodies}").as_bytes()).await;
    assert_eq!(answer["NumberFilteredRows"], 60, "{answer}");
    let url = answer["ErrorURL"].as_str().expect("an ErrorURL");
    let (address, path) = url.strip_prefix("http://").and_then(|rest| rest.split_once('/')).expect("an address");
    let log = crate::client::request(address, "GET", &format!("/{path}"), &[], b"").await.expect("the log");
    assert_eq!(log.body.matches("Error: ").count(), 50, "{}", log.body);
    assert!(target.rows("t").await.is_empty());
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
async fn of_a_compressed_json_body_the_first_frame_counts() {
    // StarRocks source stream_load_pipe.cpp, CompressedStreamLoadPipeReader::read, and stream_compression.cpp (3.5).
    let target = Target::new().await;
    target.create("t", TEXT).await;
    let zstd = |plain: &[u8]| zstd::stream::encode_all(plain, 1).expect("zstd");
    let lz4 = |plain: &[u8]| {
        let mut encoder = lz4_flex::frame::FrameEncoder::new(Vec::new());
        encoder.write_all(plain).expect("lz4");
        encoder.finish().expect("lz4")
    };
    let both = |pack: &dyn Fn(&[u8]) -> Vec<u8>, id: u32| {
        let row = |id: u32| format!("{{\"id\":{id},\"v\":\"a\"}}").into_bytes();
        [pack(&row(id)), pack(&row(id + 1))].concat()
    };
    for (name, body) in [("ZSTD", both(&zstd, 1)), ("LZ4_FRAME", both(&lz4, 3))] {
        let answer = target.load("t", &[("format", "json"), ("compression", name)], &body).await;
        assert_eq!((&answer["Status"], &answer["NumberTotalRows"]), (&"Success".into(), &1.into()), "{name}: {answer}");
    }
    assert_eq!(target.rows("t").await, [["1", "a"], ["3", "a"]]);
    let known = [
        (
            &[("format", "json"), ("compression", "zstd"), ("content-encoding", "zstd")][..],
            "Only one of http header content-encoding and compression can be set",
        ),
        (&[("format", "json"), ("compression", "brotli")][..], "Unsupported compression type: brotli"),
    ];
    for (headers, text) in known {
        let answer = target.load("t", headers, &zstd(b"{}")).await;
        assert!(
            answer["Status"] == "Fail" && answer["Message"].as_str().is_some_and(|said| said.contains(text)),
            "{answer}"
        );
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
