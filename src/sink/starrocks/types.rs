//! The table of types: which StarRocks type a source column gets, how its values are sent, and what can not fit.
//!
//! In: a `ColumnType` and the rules a person chose. Out: a [`Mapping`]. Always: a type that is created can hold its
//! values without loss, or each value that it cannot hold is found by `value`. Creating tables, checking existing
//! ones (`fit`), writing values (`value`) and the reference page (`types_page`) all start from it. Not here: how
//! StarRocks spells its types (`target`). Start at [`mapping`].
//!
//! StarRocks' own rules: documentation, "Data types" and "Primary Key table" (a key may not be CHAR, DECIMAL, FLOAT,
//! DOUBLE, VARBINARY or JSON).

use super::options::{ArrayAs, ByteaAs, JsonAs, NumericAs, TypeRules};
use super::target::{VARBINARY_MAX, VARCHAR_MAX};
use crate::model::ColumnType;

pub(super) use super::fit::{Fit, fit};
pub(super) use super::target::Target;

/// Longest encoded primary key in bytes (backend setting `primary_key_limit_size`).
pub(super) const KEY_BYTES_MAX: u32 = 128;
/// Most digits of a DECIMAL before version 4.0, and the default since.
pub(super) const DECIMAL_MAX: u16 = 38;
/// Bytes of a UTF-8 character at most.
const CHAR_BYTES: u32 = 4;

/// One row of the table of types.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Mapping {
    /// The type of a created column outside of the key.
    pub(super) value: Target,
    /// The type of a created key column.
    pub(super) key: Target,
    /// Longest text of a value in bytes, where there is a bound.
    pub(super) text: Option<u32>,
    /// Digits before and after the point, where values are numbers with a bound.
    pub(super) digits: Option<(u16, u16)>,
    /// How a value is sent, in words.
    pub(super) sent: &'static str,
    /// Which values may not fit, in words; empty if every value does.
    pub(super) misfits: &'static str,
}

impl Mapping {
    /// The type of a created column.
    pub(super) fn created(self, key: bool) -> Target {
        if key { self.key } else { self.value }
    }

    /// Kept as the text the source writes, in a column as wide as the longest.
    fn text(width: Option<u32>, sent: &'static str, misfits: &'static str) -> Mapping {
        let width = width.map(|width| width.clamp(1, VARCHAR_MAX));
        Mapping {
            value: Target::Varchar(width.unwrap_or(VARCHAR_MAX)),
            key: Target::Varchar(width.unwrap_or(KEY_BYTES_MAX).min(KEY_BYTES_MAX)),
            text: width,
            digits: None,
            sent,
            misfits,
        }
    }

    /// Kept in a type that a key can have too.
    fn plain(target: Target, width: u32, sent: &'static str, misfits: &'static str) -> Mapping {
        Mapping { key: target.clone(), ..Mapping::value(target, Some(width), sent, misfits) }
    }

    /// Kept in a type that a key cannot have: there its text is kept.
    fn value(target: Target, width: Option<u32>, sent: &'static str, misfits: &'static str) -> Mapping {
        Mapping { value: target, ..Mapping::text(width, sent, misfits) }
    }

    fn number(target: Target, width: u32, whole: u16) -> Mapping {
        Mapping { digits: Some((whole, 0)), ..Mapping::plain(target, width, "number", "") }
    }
}

const AS_TEXT: &str = "the text PostgreSQL writes";
const TOO_LONG: &str = "text longer than the column, counted in bytes";
const NO_SUCH_DAY: &str = "`infinity`, BC, years beyond 9999";
const DIGITS: &str = "the digits, as a string";

/// The row of this kind of value, with the rules applied. This is the table of types.
///
/// Widths of text are PostgreSQL's (documentation, chapter 8).
pub(super) fn mapping(ty: &ColumnType, rules: &TypeRules) -> Mapping {
    match ty {
        ColumnType::Bool => Mapping::plain(Target::Boolean, 1, "`true` or `false`", ""),
        ColumnType::Int16 => Mapping::number(Target::Int(2), 6, 5),
        ColumnType::Int32 => Mapping::number(Target::Int(4), 11, 10),
        ColumnType::Int64 => Mapping::number(Target::Int(8), 20, 19),
        ColumnType::UInt32 => Mapping::number(Target::Int(8), 10, 10),
        ColumnType::UInt64 => Mapping { sent: DIGITS, ..Mapping::number(Target::Int(16), 20, 20) },
        ColumnType::Float32 => Mapping::value(Target::Float, Some(16), "number; `NaN` and infinities as strings", ""),
        ColumnType::Float64 => Mapping::value(Target::Double, Some(24), "number; `NaN` and infinities as strings", ""),
        ColumnType::Numeric { digits } => numeric(*digits, rules),
        // `-$92,233,720,368,547,758.08`.
        ColumnType::Money => Mapping {
            digits: Some((17, 2)),
            ..Mapping::value(
                Target::Decimal { precision: 19, scale: 2 },
                Some(27),
                "the digits, as a string; in a key the text under `lc_monetary = C`",
                "",
            )
        },
        ColumnType::Text | ColumnType::TextIgnoringCase | ColumnType::Varchar { chars: None } => {
            Mapping::text(None, AS_TEXT, TOO_LONG)
        }
        ColumnType::Varchar { chars: Some(chars) } => {
            Mapping::text(Some(chars.saturating_mul(CHAR_BYTES)), AS_TEXT, "")
        }
        ColumnType::Char { chars } => {
            Mapping::text(Some(chars.saturating_mul(CHAR_BYTES)), "the text with its padding", "")
        }
        // NAMEDATALEN less its end.
        ColumnType::Name | ColumnType::Enum => Mapping::text(Some(63), AS_TEXT, ""),
        ColumnType::Byte => Mapping::text(Some(4), AS_TEXT, "before version 15, a byte above 127"),
        // `5874897-12-31` and ` BC`; `294276-12-31 23:59:59.999999` and ` BC`; `+00`.
        ColumnType::Date => Mapping::plain(Target::Date, 16, "`YYYY-MM-DD`", NO_SUCH_DAY),
        ColumnType::Timestamp => Mapping::plain(Target::Datetime, 31, "`YYYY-MM-DD HH:MM:SS.ffffff`", NO_SUCH_DAY),
        ColumnType::TimestampTz => {
            Mapping::plain(Target::Datetime, 34, "`YYYY-MM-DD HH:MM:SS.ffffff` in UTC", NO_SUCH_DAY)
        }
        ColumnType::Time => Mapping::text(Some(15), AS_TEXT, ""),
        // `24:00:00.123456-15:59:59`.
        ColumnType::TimeTz => Mapping::text(Some(24), AS_TEXT, ""),
        // `-178000000 years -11 mons -2147483648 days -2562047788:00:54.775808`, with room.
        ColumnType::Interval => Mapping::text(Some(128), "the text under `IntervalStyle = postgres`", ""),
        ColumnType::Uuid => Mapping::text(Some(36), AS_TEXT, ""),
        ColumnType::Json | ColumnType::Jsonb => match rules.json {
            JsonAs::Json => Mapping::value(Target::Json, None, "the document", JSON_MISFITS),
            JsonAs::Varchar => Mapping::text(None, AS_TEXT, TOO_LONG),
        },
        ColumnType::Bytea => match rules.bytea {
            ByteaAs::Varbinary => Mapping::value(
                Target::Varbinary(VARBINARY_MAX),
                None,
                "hexadecimal digits, which the server turns into bytes; in a key `\\x` and the digits",
                "more bytes than the column holds",
            ),
            ByteaAs::Varchar => Mapping::text(
                None,
                "`\\x` and hexadecimal digits",
                "values whose digits are longer than the column: more than 524 287 bytes",
            ),
        },
        ColumnType::Bit { digits } => Mapping::text(Some(*digits), AS_TEXT, ""),
        ColumnType::VarBit { digits } => Mapping::text(*digits, AS_TEXT, if digits.is_some() { "" } else { TOO_LONG }),
        // Eight groups, the last two as IPv4, and the mask.
        ColumnType::Inet => Mapping::text(Some(50), AS_TEXT, ""),
        ColumnType::MacAddr => Mapping::text(Some(17), AS_TEXT, ""),
        ColumnType::MacAddr8 => Mapping::text(Some(23), AS_TEXT, ""),
        ColumnType::LogPosition => Mapping::text(Some(17), AS_TEXT, ""),
        ColumnType::Array { element, .. } => array(element, rules),
        ColumnType::Hstore => Mapping::value(Target::Json, None, "a JSON object of strings and nulls", JSON_LONG),
        ColumnType::Xml
        | ColumnType::Composite
        | ColumnType::Range
        | ColumnType::Multirange
        | ColumnType::Vector
        | ColumnType::Geometry
        | ColumnType::Other(_) => Mapping::text(None, AS_TEXT, TOO_LONG),
    }
}

const JSON_LONG: &str = "documents of more than 16 MB";
const JSON_MISFITS: &str = "documents of more than 16 MB or nested more than 1,000 deep, numbers that a double would \
                            change, `\\u0000`, half of a surrogate pair";

fn numeric(digits: Option<(u16, i16)>, rules: &TypeRules) -> Mapping {
    let Some((precision, scale)) = digits else {
        return match rules.numeric {
            NumericAs::Varchar => Mapping::text(None, AS_TEXT, "more than 1 048 576 digits"),
            NumericAs::Decimal { precision, scale } => {
                Mapping::value(Target::Decimal { precision, scale }, None, DIGITS, DECIMAL_BOUND_MISFITS)
            }
        };
    };
    // A negative scale rounds to tens, hundreds, …; a scale beyond the precision begins with zeros.
    let fraction = u16::try_from(scale).unwrap_or(0);
    let whole = u16::try_from(i32::from(precision) - i32::from(scale)).unwrap_or(0);
    // Sign, point and the leading zero of a pure fraction.
    let width = u32::from(whole.max(precision)) + u32::from(fraction.saturating_sub(precision)) + 3;
    let text = Mapping { digits: Some((whole, fraction)), ..Mapping::text(Some(width), AS_TEXT, "") };
    match (1..=DECIMAL_MAX).contains(&(whole + fraction)) {
        true => Mapping {
            value: Target::Decimal { precision: whole + fraction, scale: fraction },
            sent: DIGITS,
            misfits: "`NaN`, except in a key",
            ..text
        },
        false => text,
    }
}

const DECIMAL_BOUND_MISFITS: &str = "`NaN`, infinities, more digits than the column has before or after the point";
const ARRAY_MISFITS: &str = "arrays whose first subscript is not 1, documents of more than 16 MB, elements that would \
                             not fit a JSON column";

fn array(element: &ColumnType, rules: &TypeRules) -> Mapping {
    let json = Mapping::value(
        Target::Json,
        None,
        "a JSON array; numbers that JSON keeps exactly as numbers, others as strings; in a key the text",
        ARRAY_MISFITS,
    );
    match rules.array {
        ArrayAs::Json => json,
        ArrayAs::Varchar => Mapping::text(None, AS_TEXT, TOO_LONG),
        ArrayAs::Array => match mapping(element, rules).value {
            // Elements are written without an expression of the server's, and documents stay within one document.
            Target::Json | Target::Varbinary(_) | Target::Array(_) | Target::Other(_) => json,
            element => Mapping::value(
                Target::Array(Box::new(element)),
                None,
                "a JSON array, its elements sent as values of their own type; in a key the text",
                "more than one dimension, first subscripts other than 1, elements that would not fit",
            ),
        },
    }
}

/// The type a created table gives a column.
pub(super) fn created(ty: &ColumnType, key: bool, rules: &TypeRules) -> Target {
    mapping(ty, rules).created(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn numeric(precision: u16, scale: i16) -> ColumnType {
        ColumnType::Numeric { digits: Some((precision, scale)) }
    }

    fn array_of(element: ColumnType) -> ColumnType {
        ColumnType::Array { element: Box::new(element), delimiter: b',' }
    }

    fn check(ty: &ColumnType, rules: &TypeRules, value: &str, key: &str) {
        assert_eq!(created(ty, false, rules).to_string(), value, "{ty:?}");
        assert_eq!(created(ty, true, rules).to_string(), key, "{ty:?} as key");
        for as_key in [false, true] {
            let made = created(ty, as_key, rules);
            assert_eq!(fit(ty, as_key, &made), Fit::Fits, "{ty:?} must fit what is created for it: {made}");
            assert_eq!(Target::read(&made.to_string()), made, "what is created is read back");
        }
    }

    #[test]
    fn created_types() {
        let cases = [
            (ColumnType::Bool, "BOOLEAN", "BOOLEAN"),
            (ColumnType::Int16, "SMALLINT", "SMALLINT"),
            (ColumnType::Int32, "INT", "INT"),
            (ColumnType::Int64, "BIGINT", "BIGINT"),
            (ColumnType::UInt32, "BIGINT", "BIGINT"),
            (ColumnType::UInt64, "LARGEINT", "LARGEINT"),
            (ColumnType::Float32, "FLOAT", "VARCHAR(16)"),
            (ColumnType::Float64, "DOUBLE", "VARCHAR(24)"),
            (numeric(10, 2), "DECIMAL(10,2)", "VARCHAR(13)"),
            (numeric(38, 38), "DECIMAL(38,38)", "VARCHAR(41)"),
            (numeric(39, 2), "VARCHAR(42)", "VARCHAR(42)"),
            (numeric(3, 5), "DECIMAL(5,5)", "VARCHAR(8)"),
            (numeric(3, -2), "DECIMAL(5,0)", "VARCHAR(8)"),
            (numeric(1000, -1000), "VARCHAR(2003)", "VARCHAR(128)"),
            (ColumnType::Numeric { digits: None }, "VARCHAR(1048576)", "VARCHAR(128)"),
            (ColumnType::Money, "DECIMAL(19,2)", "VARCHAR(27)"),
            (ColumnType::Text, "VARCHAR(1048576)", "VARCHAR(128)"),
            (ColumnType::TextIgnoringCase, "VARCHAR(1048576)", "VARCHAR(128)"),
            (ColumnType::Varchar { chars: Some(10) }, "VARCHAR(40)", "VARCHAR(40)"),
            (ColumnType::Varchar { chars: Some(10_485_760) }, "VARCHAR(1048576)", "VARCHAR(128)"),
            (ColumnType::Varchar { chars: None }, "VARCHAR(1048576)", "VARCHAR(128)"),
            (ColumnType::Char { chars: 3 }, "VARCHAR(12)", "VARCHAR(12)"),
            (ColumnType::Name, "VARCHAR(63)", "VARCHAR(63)"),
            (ColumnType::Byte, "VARCHAR(4)", "VARCHAR(4)"),
            (ColumnType::Enum, "VARCHAR(63)", "VARCHAR(63)"),
            (ColumnType::Date, "DATE", "DATE"),
            (ColumnType::Timestamp, "DATETIME", "DATETIME"),
            (ColumnType::TimestampTz, "DATETIME", "DATETIME"),
            (ColumnType::Time, "VARCHAR(15)", "VARCHAR(15)"),
            (ColumnType::TimeTz, "VARCHAR(24)", "VARCHAR(24)"),
            (ColumnType::Interval, "VARCHAR(128)", "VARCHAR(128)"),
            (ColumnType::Uuid, "VARCHAR(36)", "VARCHAR(36)"),
            (ColumnType::Json, "JSON", "VARCHAR(128)"),
            (ColumnType::Jsonb, "JSON", "VARCHAR(128)"),
            (ColumnType::Bytea, "VARCHAR(1048576)", "VARCHAR(128)"),
            (ColumnType::Bit { digits: 1 }, "VARCHAR(1)", "VARCHAR(1)"),
            (ColumnType::VarBit { digits: Some(9) }, "VARCHAR(9)", "VARCHAR(9)"),
            (ColumnType::VarBit { digits: None }, "VARCHAR(1048576)", "VARCHAR(128)"),
            (ColumnType::Inet, "VARCHAR(50)", "VARCHAR(50)"),
            (ColumnType::MacAddr, "VARCHAR(17)", "VARCHAR(17)"),
            (ColumnType::MacAddr8, "VARCHAR(23)", "VARCHAR(23)"),
            (ColumnType::LogPosition, "VARCHAR(17)", "VARCHAR(17)"),
            (ColumnType::Xml, "VARCHAR(1048576)", "VARCHAR(128)"),
            (ColumnType::Composite, "VARCHAR(1048576)", "VARCHAR(128)"),
            (ColumnType::Range, "VARCHAR(1048576)", "VARCHAR(128)"),
            (ColumnType::Multirange, "VARCHAR(1048576)", "VARCHAR(128)"),
            (ColumnType::Hstore, "JSON", "VARCHAR(128)"),
            (ColumnType::Vector, "VARCHAR(1048576)", "VARCHAR(128)"),
            (ColumnType::Geometry, "VARCHAR(1048576)", "VARCHAR(128)"),
            (ColumnType::Other("point".into()), "VARCHAR(1048576)", "VARCHAR(128)"),
            (array_of(ColumnType::Int32), "JSON", "VARCHAR(128)"),
            (array_of(ColumnType::Jsonb), "JSON", "VARCHAR(128)"),
        ];
        for (ty, value, key) in cases {
            check(&ty, &TypeRules::default(), value, key);
        }
    }

    #[test]
    fn rules_change_what_is_created() {
        let rules = TypeRules {
            numeric: NumericAs::Decimal { precision: 38, scale: 9 },
            json: JsonAs::Varchar,
            array: ArrayAs::Array,
            bytea: ByteaAs::Varbinary,
        };
        let cases = [
            (ColumnType::Numeric { digits: None }, "DECIMAL(38,9)", "VARCHAR(128)"),
            (numeric(10, 2), "DECIMAL(10,2)", "VARCHAR(13)"),
            (numeric(39, 2), "VARCHAR(42)", "VARCHAR(42)"),
            (ColumnType::Jsonb, "VARCHAR(1048576)", "VARCHAR(128)"),
            (ColumnType::Bytea, "VARBINARY(1048576)", "VARCHAR(128)"),
            (array_of(ColumnType::Int32), "ARRAY<INT>", "VARCHAR(128)"),
            (array_of(numeric(10, 2)), "ARRAY<DECIMAL(10,2)>", "VARCHAR(128)"),
            (array_of(ColumnType::Enum), "ARRAY<VARCHAR(63)>", "VARCHAR(128)"),
            (array_of(ColumnType::TimestampTz), "ARRAY<DATETIME>", "VARCHAR(128)"),
            (array_of(ColumnType::Bytea), "JSON", "VARCHAR(128)"),
            (array_of(ColumnType::Hstore), "JSON", "VARCHAR(128)"),
        ];
        for (ty, value, key) in cases {
            check(&ty, &rules, value, key);
        }
        let as_text = TypeRules { array: ArrayAs::Varchar, ..TypeRules::default() };
        check(&array_of(ColumnType::Int32), &as_text, "VARCHAR(1048576)", "VARCHAR(128)");
    }
}
