//! How a value lands in a column of each type.

use crate::rows::*;
use crate::target::Target;

const CASES: &[Case] = &[
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
    case(
        "SELECT escapes quotes and backslashes of text in an ARRAY, and nothing else",
        "StarRocks source be/src/util/mysql_row_buffer.cpp (3.5)",
        WORDS,
        &[(J, r#"{"id":1,"a":["q\"b\\","a,b","",null]}{"id":2,"a":["t\tb"]}"#)],
        loaded(&[&["1", r#"["q\"b\\","a,b","",null]"#], &["2", "[\"t\tb\"]"]]),
    ),
    case(
        "a BOOLEAN from text: true, false or an integer",
        TYPE_DOC,
        NUMBERS,
        &[(J, r#"{"id":1,"b":"TRUE"}{"id":2,"b":"0"}{"id":3,"b":"7"}{"id":4,"b":"yes"}{"id":5,"b":false}"#)],
        loaded(&[
            &["1", "1", "NULL", "NULL", "NULL"],
            &["2", "0", "NULL", "NULL", "NULL"],
            &["3", "1", "NULL", "NULL", "NULL"],
            &["4", "NULL", "NULL", "NULL", "NULL"],
            &["5", "0", "NULL", "NULL", "NULL"],
        ]),
    ),
    case(
        "CSV: a BOOLEAN is a word or a number",
        TYPE_DOC,
        NUMBERS,
        &[(CSV, "1,true,1,1,1\n2,0,1,1,1\n3,2,1,1,1\n4,no,1,1,1\n")],
        loaded(&[
            &["1", "1", "1", "1", "1.00"],
            &["2", "0", "1", "1", "1.00"],
            &["3", "1", "1", "1", "1.00"],
            &["4", "NULL", "1", "1", "1.00"],
        ]),
    ),
    case(
        "each integer type has its own range",
        TYPE_DOC,
        WIDEST,
        &[(J, r#"{"id":1,"s":32767,"g":9223372036854775807}{"id":2,"s":-32769,"g":9223372036854775808}"#)],
        loaded(&[&["1", "NULL", "32767", "9223372036854775807"], &["2", "NULL", "NULL", "NULL"]]),
    ),
    case(
        "CSV: an integer's overflow is invalid, its fraction cut off",
        TYPE_DOC,
        WIDEST,
        &[(CSV, "1,\\N,32768,1\n2,\\N,-1.9,x\n")],
        loaded(&[&["1", "NULL", "NULL", "1"], &["2", "NULL", "-1", "NULL"]]),
    ),
    case(
        "an invalid value of a NOT NULL column filters the row without strict_mode",
        FILTER_DOC,
        NUMBERS,
        &[(J, r#"{"id":"x"}"#)],
        fails("too many filtered rows", 1),
    ),
    case(
        "LARGEINT from text, and beyond its range",
        TYPE_DOC,
        NUMBERS,
        &[(
            J,
            r#"{"id":1,"l":"170141183460469231731687303715884105727"}{"id":2,"l":170141183460469231731687303715884105728}"#,
        )],
        loaded(&[
            &["1", "NULL", "NULL", "170141183460469231731687303715884105727", "NULL"],
            &["2", "NULL", "NULL", "NULL", "NULL"],
        ]),
    ),
    case(
        "a DECIMAL written as a JSON number keeps every digit",
        "StarRocks source json_parser.cpp, nullable_column.cpp: read as VARCHAR first (3.5)",
        WIDEST,
        &[(STRICT, r#"{"id":1,"d":12345678901234567890123456789.123456789}{"id":2,"d":"-0.000000001"}"#)],
        loaded(&[
            &["1", "12345678901234567890123456789.123456789", "NULL", "NULL"],
            &["2", "-0.000000001", "NULL", "NULL"],
        ]),
    ),
    case(
        "a rounded DECIMAL may be out of range then",
        TYPE_DOC,
        NUMBERS,
        &[(J, r#"{"id":1,"d":9999.995}{"id":2,"d":9999.994}"#)],
        loaded(&[&["1", "NULL", "NULL", "NULL", "NULL"], &["2", "NULL", "NULL", "NULL", "9999.99"]]),
    ),
    case(
        "CSV: a DECIMAL is rounded and bounded alike",
        TYPE_DOC,
        NUMBERS,
        &[(CSV, "1,1,1,1,1.005\n2,1,1,1,10000\n3,1,1,1,NaN\n")],
        loaded(&[&["1", "1", "1", "1", "1.01"], &["2", "1", "1", "1", "NULL"], &["3", "1", "1", "1", "NULL"]]),
    ),
    doubt(case(
        "DOUBLE takes NaN and infinities as text; how SELECT prints them is not seen",
        TYPE_DOC,
        FLOATS,
        &[
            (STRICT, r#"{"id":1,"f":"NaN"}{"id":2,"f":"Infinity"}{"id":3,"f":"-inf"}{"id":4,"f":"1.5"}{"id":5,"f":2}"#),
            (CSV, "6,inf\n7,-Infinity\n8,nan\n"),
        ],
        loaded(&[
            &["1", "nan"],
            &["2", "inf"],
            &["3", "-inf"],
            &["4", "1.5"],
            &["5", "2"],
            &["6", "inf"],
            &["7", "-inf"],
            &["8", "nan"],
        ]),
    )),
    case(
        "a DATE with a year of two digits, a DATE as a number",
        TYPE_DOC,
        TIMES,
        &[(
            J,
            r#"{"id":1,"d":"24-01-31"}{"id":2,"d":"70-01-31"}{"id":3,"d":20240131}{"id":4,"d":"2024-01-31T10:00:00"}"#,
        )],
        loaded(&[
            &["1", "2024-01-31", "NULL"],
            &["2", "1970-01-31", "NULL"],
            &["3", "2024-01-31", "NULL"],
            &["4", "2024-01-31", "NULL"],
        ]),
    ),
    case(
        "days that are not in the calendar, years beyond 9999 and infinity are invalid",
        TYPE_DOC,
        TIMES,
        &[(
            J,
            r#"{"id":1,"d":"2023-02-29"}{"id":2,"d":"10000-01-01"}{"id":3,"t":"infinity"}{"id":4,"t":"2024-13-01"}"#,
        )],
        loaded(&[&["1", "NULL", "NULL"], &["2", "NULL", "NULL"], &["3", "NULL", "NULL"], &["4", "NULL", "NULL"]]),
    ),
    case(
        "CSV: dates and times alike",
        TYPE_DOC,
        TIMES,
        &[(CSV, "1,2024-02-29 x,2024-01-01 00:00:00.5+05\n2,infinity,2024-01-01 24:00:00\n")],
        loaded(&[&["1", "2024-02-29", "2024-01-01 00:00:00.500000"], &["2", "NULL", "NULL"]]),
    ),
    case(
        "false in a text column is 0, an array its text",
        TYPE_DOC,
        WIDE,
        &[(J, r#"{"id":1,"v":false}{"id":2,"v":[1, "a b"]}"#)],
        loaded(&[&["1", "0", "NULL"], &["2", "[1,\"a b\"]", "NULL"]]),
    ),
    case(
        "CSV: too long without strict_mode is NULL in silence",
        "StarRocks source string_converter.cpp, enable_check_string_lengths (3.5)",
        TEXT,
        &[(CSV, "1,abcd\n2,abc\n")],
        loaded(&[&["1", "NULL"], &["2", "abc"]]),
    ),
    case(
        "CSV: too long with strict_mode filters the row",
        "StarRocks source string_converter.cpp, enable_check_string_lengths (3.5)",
        TEXT,
        &[(&[("column_separator", ","), ("strict_mode", "true")], "1,abcd\n")],
        fails("too many filtered rows", 1),
    ),
    case(
        "VARBINARY takes a number's token, no hex, no base64",
        TYPE_DOC,
        BINARY,
        &[(J, r#"{"id":1,"b":12}{"id":2,"b":"\\x6869"}"#)],
        loaded(&[&["1", "12"], &["2", "\\x6869"]]),
    ),
    case(
        "a computed column reads its source as text",
        "StarRocks docs STREAM LOAD, columns; source json_scanner.cpp (3.5)",
        WIDE,
        &[(
            &[("format", "json"), ("columns", "id,x,v=x")],
            r#"{"id":1,"x":{"a": 1}}{"id":2,"x":true}{"id":3,"x":1.50}"#,
        )],
        loaded(&[&["1", "{\"a\":1}", "NULL"], &["2", "1", "NULL"], &["3", "1.50", "NULL"]]),
    ),
    case(
        "JSON integers beyond 64 bits become doubles",
        "StarRocks source json.cpp (3.5)",
        DOC,
        &[(J, r#"{"id":1,"j":{"n":-9223372036854775808}}{"id":2,"j":100000000000000000000000}"#)],
        loaded(&[&["1", "{\"n\": -9223372036854775808}"], &["2", "1e+23"]]),
    ),
    case(
        "CSV: JSON words and numbers are strings, arrays and strings are parsed",
        "StarRocks source json_converter.cpp (3.5)",
        DOC,
        &[(&[("column_separator", "|")], "1|true\n2|null\n3|[1,2]\n4|\"a\"\n5|\\N\n")],
        loaded(&[&["1", "\"true\""], &["2", "\"null\""], &["3", "[1, 2]"], &["4", "\"a\""], &["5", "NULL"]]),
    ),
    case(
        "CSV: an ARRAY is written in brackets",
        "StarRocks source array_converter.cpp (3.5)",
        ARRAYS,
        &[(&[("column_separator", "|")], "1|[1,2,3]\n2|\\N\n")],
        loaded(&[&["1", "[1,2,3]"], &["2", "NULL"]]),
    ),
];

#[tokio::test]
async fn values_land_as_starrocks_lands_them() {
    run_all(CASES).await;
}

#[tokio::test]
async fn a_json_value_has_at_most_16_mb() {
    // StarRocks source json_column.cpp, kJSONLengthLimit (3.5).
    let target = Target::new().await;
    target.create("t", DOC).await;
    for (length, status) in [(17 << 20, "Fail"), (1 << 20, "Success")] {
        let body = format!(r#"{{"id":1,"j":"{}"}}"#, "x".repeat(length));
        let answer = target.load("t", STRICT, body.as_bytes()).await;
        assert_eq!(answer["Status"], status, "{length} bytes: {answer}");
    }
}
