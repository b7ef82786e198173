//! One spelling for values that the two databases write differently: the rule by which a copy is equal.
//!
//! In: PostgreSQL's text of a value, or StarRocks' text of a column. Out: text that is the same for equal values.
//! Always: total (what does not have the form of its type is taken as it is, and then differs); written apart from the
//! encoder, so that a mistake there is found here. Not here: reading either side. Start at [`Form::of`].
//!
//! | column | equal are |
//! |---|---|
//! | BOOLEAN | `t` and `1`, `f` and `0` |
//! | integers, DECIMAL | the same number, whatever zeros lead or end it |
//! | FLOAT, DOUBLE | the same number of that precision; -0 is 0, as both databases compare them |
//! | DATETIME | the same moment; a `timestamptz` is UTC |
//! | JSON | the same document: members in any order, numbers by value, strings by their characters; `null` is NULL |
//! | JSON and ARRAY for arrays, hstore, vectors | the same elements in the same order; a number may be its digits |
//! | VARBINARY | the same bytes |
//! | all others | the same bytes |

use std::borrow::Cow;

use super::canonical_json::{self, Strings};
use super::compound::{self, Leaf};
use super::number;
use super::types::Target;
use crate::model::ColumnType;

/// How a column's values are spelled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    Bool,
    /// Digits, with or without a point.
    Number,
    /// Digits that the source writes as an amount of money.
    Money,
    Single,
    Double,
    Datetime,
    /// A moment whose source text ends with `+00`.
    DatetimeUtc,
    /// A document, of which `null` is NULL.
    Json,
    /// An array, as a document or an ARRAY.
    Array {
        leaf: Leaf,
        delimiter: u8,
    },
    /// Keys and values, as a document.
    Hstore,
    /// Numbers in brackets, as a document or an ARRAY.
    Vector,
    /// Bytes, which the source writes as `\\x` and hexadecimal digits.
    Bytes,
    /// Bytes as they are.
    Text,
}

impl Form {
    /// The form for values of `ty` in a column of type `target`.
    pub(super) fn of(ty: &ColumnType, target: &Target) -> Form {
        match (target, ty) {
            (Target::Boolean, _) => Form::Bool,
            (Target::Int(_) | Target::Decimal { .. }, ColumnType::Money) => Form::Money,
            (Target::Int(_) | Target::Decimal { .. }, _) => Form::Number,
            (Target::Float, _) => Form::Single,
            (Target::Double, _) => Form::Double,
            (Target::Datetime, ColumnType::TimestampTz) => Form::DatetimeUtc,
            (Target::Datetime, _) => Form::Datetime,
            (Target::Json, ColumnType::Array { element, delimiter }) => {
                Form::Array { leaf: in_document(element), delimiter: *delimiter }
            }
            (Target::Array(target), ColumnType::Array { element, delimiter }) => {
                Form::Array { leaf: in_array(element, target), delimiter: *delimiter }
            }
            (Target::Json, ColumnType::Hstore) => Form::Hstore,
            (Target::Json | Target::Array(_), ColumnType::Vector) => Form::Vector,
            (Target::Json, _) => Form::Json,
            (Target::Varbinary(_), _) => Form::Bytes,
            (Target::Date | Target::Varchar(_) | Target::Char(_) | Target::Array(_) | Target::Other(_), _) => {
                Form::Text
            }
        }
    }

    /// Appends a value as PostgreSQL writes it; false if it is to be NULL.
    pub(super) fn source(self, text: &[u8], out: &mut Vec<u8>) -> bool {
        let start = out.len();
        let read = match self {
            Form::DatetimeUtc => {
                return Form::Datetime.target(text.strip_suffix(b"+00").unwrap_or(text), out);
            }
            Form::Money => {
                plain_number(&amount(text), out);
                Some(())
            }
            Form::Array { leaf, delimiter } => compound::array(text, delimiter, leaf, out),
            Form::Hstore => compound::hstore(text, out),
            Form::Bytes => {
                out.extend_from_slice(text);
                Some(())
            }
            form => return form.target(text, out),
        };
        if read.is_none() {
            out.truncate(start);
            out.extend_from_slice(text);
        }
        true
    }

    /// Appends a value as StarRocks writes it; false if it is as good as NULL.
    pub(super) fn target(self, text: &[u8], out: &mut Vec<u8>) -> bool {
        match self {
            Form::Bool => boolean(text, out),
            Form::Number | Form::Money => plain_number(text, out),
            Form::Single => float::<f32>(text, out),
            Form::Double => float::<f64>(text, out),
            Form::Datetime | Form::DatetimeUtc => out.extend_from_slice(without_empty_fraction(text)),
            Form::Json if text.trim_ascii() == b"null" => return false,
            Form::Json | Form::Hstore => canonical_json::append(text, Strings::Themselves, out),
            Form::Array { leaf, .. } => canonical_json::append(text, leaf.strings(), out),
            Form::Vector => canonical_json::append(text, Strings::Numbers, out),
            Form::Bytes => hexadecimal(text, out),
            Form::Text => out.extend_from_slice(text),
        }
        true
    }

    /// Whether a spelled value of this form stands in SQL without quotes.
    pub(super) fn is_bare(self, spelled: &str) -> bool {
        let digits = || spelled.bytes().all(|byte| byte.is_ascii_digit() || b"-.".contains(&byte));
        matches!(self, Form::Bool | Form::Number) && !spelled.is_empty() && digits()
    }
}

/// Elements of an array within a document: what JSON has a kind for is of that kind, all else is its text.
fn in_document(element: &ColumnType) -> Leaf {
    match element {
        ColumnType::Bool => Leaf::Bool,
        ColumnType::Int16
        | ColumnType::Int32
        | ColumnType::Int64
        | ColumnType::UInt32
        | ColumnType::UInt64
        | ColumnType::Float32
        | ColumnType::Float64
        | ColumnType::Numeric { .. } => Leaf::Number,
        ColumnType::Json | ColumnType::Jsonb => Leaf::Document,
        ColumnType::Hstore => Leaf::Hstore,
        _ => Leaf::Text,
    }
}

/// Elements of an ARRAY, as its own type of element prints them.
fn in_array(element: &ColumnType, target: &Target) -> Leaf {
    match (target, element) {
        (Target::Boolean, _) => Leaf::Bit,
        (Target::Int(_) | Target::Decimal { .. }, ColumnType::Money) => Leaf::Money,
        (Target::Int(_) | Target::Decimal { .. } | Target::Float | Target::Double, _) => Leaf::Number,
        (Target::Datetime, _) => Leaf::Moment,
        (Target::Json, _) => Leaf::Document,
        _ => Leaf::Text,
    }
}

/// `-1234.50` of `-$1,234.50`.
pub(super) fn amount(text: &[u8]) -> Cow<'_, [u8]> {
    match text.iter().any(|byte| matches!(byte, b'$' | b',')) {
        true => text.iter().copied().filter(|byte| !matches!(byte, b'$' | b',')).collect(),
        false => text.into(),
    }
}

fn hexadecimal(bytes: &[u8], out: &mut Vec<u8>) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    out.extend_from_slice(b"\\x");
    out.extend(bytes.iter().flat_map(|byte| [DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]));
}

fn boolean(text: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(match text {
        b"t" | b"true" => b"1",
        b"f" | b"false" => b"0",
        other => other,
    });
}

fn plain_number(text: &[u8], out: &mut Vec<u8>) {
    let Some(digits) = number::decimal(text) else { return out.extend_from_slice(text) };
    if text.starts_with(b"-") && !(digits.whole.is_empty() && digits.fraction.is_empty()) {
        out.push(b'-');
    }
    out.extend_from_slice(if digits.whole.is_empty() { b"0" } else { digits.whole });
    if !digits.fraction.is_empty() {
        out.push(b'.');
        out.extend_from_slice(digits.fraction);
    }
}

fn float<F: std::str::FromStr + std::fmt::LowerExp>(text: &[u8], out: &mut Vec<u8>) {
    use std::io::Write as _;
    let Some(number) = std::str::from_utf8(text).ok().and_then(|text| text.parse::<F>().ok()) else {
        return out.extend_from_slice(text);
    };
    let start = out.len();
    // Writing to a Vec cannot fail. What is written is the shortest text that is read back as the same number.
    _ = write!(out, "{number:e}");
    if &out[start..] == b"-0e0" {
        out.remove(start);
    }
}

/// A moment without the zeros that end its fraction.
pub(super) fn without_empty_fraction(text: &[u8]) -> &[u8] {
    if !text.contains(&b'.') {
        return text;
    }
    let end = text.iter().rposition(|byte| *byte != b'0').map_or(0, |last| last + 1);
    text[..end].strip_suffix(b".").unwrap_or(&text[..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spelled(ty: &ColumnType, target: &str, source: &str, there: &str) -> (String, String) {
        let form = Form::of(ty, &Target::read(target));
        let (mut one, mut other) = (Vec::new(), Vec::new());
        assert!(form.source(source.as_bytes(), &mut one) && form.target(there.as_bytes(), &mut other));
        (String::from_utf8(one).unwrap(), String::from_utf8(other).unwrap())
    }

    /// PostgreSQL's type and text, StarRocks' type and text.
    fn pairs() -> [Vec<(ColumnType, &'static str, &'static str, &'static str)>; 2] {
        use ColumnType::{
            Bool, Bytea, Date, Float32, Float64, Int32, Int64, Json, Jsonb, Text, Timestamp, TimestampTz,
        };
        let numeric = || ColumnType::Numeric { digits: Some((12, 4)) };
        let char = || ColumnType::Char { chars: 3 };
        let array = |element| ColumnType::Array { element: Box::new(element), delimiter: b',' };
        let equal = vec![
            (Bool, "t", "boolean", "1"),
            (Bool, "f", "tinyint(1)", "0"),
            (Int32, "-7", "int", "-7"),
            (Int64, "9223372036854775807", "bigint", "9223372036854775807"),
            (Int32, "12", "decimal(12,2)", "12.00"),
            (Int32, "12", "double", "12"),
            (numeric(), "1.5000", "decimal(12,4)", "1.5000"),
            (numeric(), "1.5000", "decimal(20,9)", "1.500000000"),
            (numeric(), "-0.0000", "decimal(12,4)", "0.0000"),
            (ColumnType::Numeric { digits: None }, "0.10", "varchar(100)", "0.10"),
            (Float32, "0.1", "float", "0.1"),
            (Float32, "1e+20", "float", "100000000000000000000"),
            (Float32, "16777216", "float", "1.6777216e7"),
            (Float64, "1e-07", "double", "0.0000001"),
            (Float64, "-0", "double", "0"),
            (Float64, "NaN", "double", "nan"),
            (Float64, "-Infinity", "double", "-inf"),
            (Date, "2024-02-29", "date", "2024-02-29"),
            (Timestamp, "2024-01-02 03:04:05.5", "datetime", "2024-01-02 03:04:05.500000"),
            (Timestamp, "2024-01-02 03:04:00", "datetime", "2024-01-02 03:04:00"),
            (TimestampTz, "2024-01-02 03:04:05.12+00", "datetime", "2024-01-02 03:04:05.120000"),
            (TimestampTz, "2024-01-02 03:04:05+00", "varchar(40)", "2024-01-02 03:04:05+00"),
            (char(), "a  ", "varchar(12)", "a  "),
            (Text, "\\N", "string", "\\N"),
            (Bytea, "\\x00ff", "varchar(100)", "\\x00ff"),
            (Jsonb, r#"{"b": [1, 2.50], "a": "é"}"#, "json", r#"{"a":"é","b":[1,2.5]}"#),
            (Json, r#"{"a": "\u00e9", "a": 1e2}"#, "json", r#"{"a":100}"#),
            (ColumnType::UInt64, "18446744073709551615", "largeint", "18446744073709551615"),
            (ColumnType::Money, "-$1,234.50", "decimal(19,2)", "-1234.50"),
            (ColumnType::Money, "$1.00", "varchar(27)", "$1.00"),
            (Bytea, "\\x007f", "varbinary(10)", "\u{0}\u{7f}"),
            (array(Int32), "{1,NULL,-3}", "json", "[1, null, -3]"),
            (array(Int64), "{{1},{2}}", "json", "[[1],[2]]"),
            (
                array(numeric()),
                "{1.50,NaN,12345678901234567890.5}",
                "json",
                r#"[1.5, "NaN", "12345678901234567890.5"]"#,
            ),
            (array(Bool), "{t,f,NULL}", "json", "[true, false, null]"),
            (array(Text), r#"{"NULL",NULL,"a,b","q\"\\",12}"#, "json", r#"["NULL", null, "a,b", "q\"\\", "12"]"#),
            (array(Jsonb), r#"{"{\"b\": 1, \"a\": 2}"}"#, "json", r#"[{"a": 2, "b": 1}]"#),
            (array(TimestampTz), r#"{"2024-01-02 03:04:05+00"}"#, "json", r#"["2024-01-02 03:04:05+00"]"#),
            (array(Int32), "{1,2}", "array<int>", "[1,2]"),
            (array(Bool), "{t,f}", "array<boolean>", "[1,0]"),
            (array(Text), r#"{"a\"b\\",c}"#, "array<varchar(10)>", r#"["a\"b\\","c"]"#),
            (array(numeric()), "{1.5}", "array<decimal(12,4)>", "[1.5000]"),
            (array(Float64), "{NaN,-Infinity,0.1}", "array<double>", "[nan,-inf,0.1]"),
            (
                array(TimestampTz),
                r#"{"2024-01-02 03:04:05.5+00"}"#,
                "array<datetime>",
                r#"["2024-01-02 03:04:05.500000"]"#,
            ),
            (array(Int32), "{1,2}", "varchar(100)", "{1,2}"),
            (array(Int32), "{}", "json", "[]"),
            (ColumnType::Hstore, r#""b"=>NULL, "a"=>"1\"""#, "json", r#"{"a": "1\"", "b": null}"#),
            (ColumnType::Hstore, "", "json", "{}"),
            (ColumnType::Vector, "[1,2.5,3e-05]", "array<float>", "[1,2.5,3e-05]"),
        ];
        let different = vec![
            (array(Int32), "{1,2}", "json", "[2,1]"),
            (array(Text), "{1}", "json", "[1]"),
            (array(Text), "{NULL}", "json", r#"["NULL"]"#),
            (array(Int32), "{{1},{2}}", "json", "[1,2]"),
            (array(Int32), "{1", "json", "[1]"),
            (ColumnType::Hstore, r#""a"=>"1""#, "json", r#"{"a": 1}"#),
            (ColumnType::Money, "$1.00", "decimal(19,2)", "-1.00"),
            (Bytea, "\\x61", "varbinary(10)", "b"),
            (Bool, "t", "boolean", "0"),
            (Int32, "7", "int", "70"),
            (Int32, "100", "int", "1"),
            (numeric(), "1.5000", "decimal(12,4)", "1.5001"),
            (numeric(), "-1", "decimal(12,4)", "1"),
            (numeric(), "NaN", "decimal(12,4)", "0"),
            (Float64, "0.1", "double", "0.10000000000000002"),
            (Float32, "1", "float", "1.0000001"),
            (Timestamp, "2024-01-02 03:04:05.5", "datetime", "2024-01-02 03:04:05.05"),
            (TimestampTz, "2024-01-02 03:04:05+02", "datetime", "2024-01-02 03:04:05"),
            (Timestamp, "0044-03-15 00:00:00 BC", "datetime", "0044-03-15 00:00:00"),
            (char(), "a  ", "varchar(12)", "a"),
            (Text, "a", "string", "a "),
            (Text, "", "string", " "),
            (Bytea, "\\x00ff", "varchar(100)", "\\x00FF"),
            (Jsonb, "[1, 2]", "json", "[2, 1]"),
            (Jsonb, r#"{"a": 1}"#, "json", r#"{"a": "1"}"#),
            (Json, "12345678901234567890123", "json", "1.2345678901234568e22"),
        ];
        [equal, different]
    }

    #[test]
    fn equal_values_have_one_spelling_and_others_do_not() {
        let [equal, different] = pairs();
        for (ty, source, target, there) in equal {
            let (one, other) = spelled(&ty, target, source, there);
            assert_eq!(one, other, "{ty:?} {source} in {target} {there}");
        }
        for (ty, source, target, there) in different {
            let (one, other) = spelled(&ty, target, source, there);
            assert_ne!(one, other, "{ty:?} {source} in {target} {there}");
        }
    }

    #[test]
    fn the_document_null_is_null() {
        for text in [&b"null"[..], b" null "] {
            assert!(!Form::Json.source(text, &mut Vec::new()) && !Form::Json.target(text, &mut Vec::new()));
        }
        assert!(Form::Json.source(b"\"null\"", &mut Vec::new()));
        assert!(Form::Text.source(b"null", &mut Vec::new()));
    }

    #[test]
    fn only_digits_go_into_a_statement_bare() {
        for (form, text, want) in [
            (Form::Number, "-12", true),
            (Form::Number, "1.5", true),
            (Form::Bool, "1", true),
            (Form::Bool, "t", false),
            (Form::Number, "", false),
            (Form::Number, "1 OR 1", false),
            (Form::Text, "12", false),
            (Form::Datetime, "2024", false),
        ] {
            assert_eq!(form.is_bare(text), want, "{form:?} {text}");
        }
    }
}
