//! Writes one value as JSON for one target column, after checking that the column can hold it.
//!
//! In: PostgreSQL's text of a value. Out: JSON, or why the target cannot hold it. Always: what is written is stored by
//! StarRocks as the same value. It would not refuse much by itself: it rounds decimals, cuts off fractions of
//! integers, ignores zones and eras, and turns text that is too long into NULL (StarRocks, `be/src/formats/json`).

use super::array::{self, DIMENSIONS_MAX};
use super::element::Element;
use super::types::{Fit, Target, fit};
use super::{date, escape, hstore, json, number};
use crate::model::ColumnType;

/// Largest document of a JSON column in bytes.
const JSON_MAX: usize = 16 << 20;

/// How a column's values are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Writer {
    Bool,
    /// A signed number of that many bits.
    Int(u32),
    /// A floating-point number; the three that JSON has no numbers for are strings.
    Float,
    /// Digits allowed before and after the point.
    Decimal {
        whole: u16,
        fraction: u16,
    },
    /// At most that many bytes.
    Text(u32),
    Date,
    Datetime,
    /// With `+00` at its end.
    DatetimeUtc,
    Json,
    /// An amount of money; digits allowed before and after the point.
    Money {
        whole: u16,
        fraction: u16,
    },
    /// An array of any dimension as a document.
    JsonArray {
        element: Element,
        delimiter: u8,
    },
    /// An array of one dimension as a value of its own.
    Array {
        element: Plain,
        delimiter: u8,
    },
    /// Keys and values as a document.
    Hstore,
    /// Numbers in brackets, as a document or an array.
    Vector,
    /// At most that many bytes, sent as hexadecimal digits.
    Hex(u32),
}

/// How the elements of an array that is no document are written: the writers that need no more than themselves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Plain {
    Bool,
    Int(u32),
    Float,
    Decimal { whole: u16, fraction: u16 },
    Money { whole: u16, fraction: u16 },
    Text(u32),
    Date,
    Datetime,
    DatetimeUtc,
}

impl Plain {
    fn new(writer: Writer) -> Option<Plain> {
        match writer {
            Writer::Bool => Some(Plain::Bool),
            Writer::Int(bits) => Some(Plain::Int(bits)),
            Writer::Float => Some(Plain::Float),
            Writer::Decimal { whole, fraction } => Some(Plain::Decimal { whole, fraction }),
            Writer::Money { whole, fraction } => Some(Plain::Money { whole, fraction }),
            Writer::Text(max) => Some(Plain::Text(max)),
            Writer::Date => Some(Plain::Date),
            Writer::Datetime => Some(Plain::Datetime),
            Writer::DatetimeUtc => Some(Plain::DatetimeUtc),
            Writer::Json
            | Writer::JsonArray { .. }
            | Writer::Array { .. }
            | Writer::Hstore
            | Writer::Vector
            | Writer::Hex(_) => None,
        }
    }

    fn writer(self) -> Writer {
        match self {
            Plain::Bool => Writer::Bool,
            Plain::Int(bits) => Writer::Int(bits),
            Plain::Float => Writer::Float,
            Plain::Decimal { whole, fraction } => Writer::Decimal { whole, fraction },
            Plain::Money { whole, fraction } => Writer::Money { whole, fraction },
            Plain::Text(max) => Writer::Text(max),
            Plain::Date => Writer::Date,
            Plain::Datetime => Writer::Datetime,
            Plain::DatetimeUtc => Writer::DatetimeUtc,
        }
    }
}

/// Why a value does not fit its target column.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Unfit {
    #[error("is not UTF-8")]
    NotUtf8,
    #[error("holds U+0000")]
    Nul,
    #[error("has {bytes} bytes where {max} fit")]
    TooLong { bytes: usize, max: usize },
    #[error("is a document of {bytes} bytes where {max} fit")]
    DocumentTooLarge { bytes: usize, max: usize },
    #[error("is outside the range of the column")]
    OutOfRange,
    #[error("has more digits after the point than the column keeps")]
    TooManyFractionDigits,
    #[error("does not have the form of its type")]
    Malformed,
    #[error("is NaN, which the column cannot hold")]
    NotANumber,
    #[error("is an infinite number, which the column cannot hold")]
    Infinite,
    #[error("is a date or time outside the years 1 to 9999")]
    DateOutOfRange,
    #[error("is an infinite date or time, which StarRocks does not have")]
    DateInfinite,
    #[error("holds \\u0000 or half a surrogate pair, which StarRocks cannot store")]
    BadEscape,
    #[error("holds a number that StarRocks would change, as it keeps 64-bit integers and doubles")]
    JsonNumber,
    #[error("is a document nested too deeply for StarRocks")]
    TooDeep,
    #[error("is an array whose elements are not numbered from 1")]
    ArrayBounds,
    #[error("is an array of more than one dimension, which the column cannot hold")]
    ArrayDimensions,
    #[error("is NULL where the column must not be")]
    Null,
}

impl Writer {
    /// How values of `ty` are written for `target`; `None` if they cannot be.
    pub(super) fn new(ty: &ColumnType, key: bool, target: &Target) -> Option<Writer> {
        if fit(ty, key, target) != Fit::Fits {
            return None;
        }
        match target {
            Target::Boolean => Some(Writer::Bool),
            Target::Int(bytes) => Some(Writer::Int(u32::from(*bytes) * 8)),
            Target::Float | Target::Double => Some(Writer::Float),
            Target::Decimal { precision, scale } if *ty == ColumnType::Money => {
                Some(Writer::Money { whole: precision - scale, fraction: *scale })
            }
            Target::Decimal { precision, scale } => {
                Some(Writer::Decimal { whole: precision - scale, fraction: *scale })
            }
            Target::Varchar(bytes) | Target::Char(bytes) => Some(Writer::Text(*bytes)),
            Target::Date => Some(Writer::Date),
            Target::Datetime if *ty == ColumnType::TimestampTz => Some(Writer::DatetimeUtc),
            Target::Datetime => Some(Writer::Datetime),
            Target::Json => Some(document(ty)),
            Target::Varbinary(bytes) => Some(Writer::Hex(*bytes)),
            Target::Array(target) => match ty {
                ColumnType::Array { element, delimiter } => {
                    let element = Plain::new(Writer::new(element, false, target)?)?;
                    Some(Writer::Array { element, delimiter: *delimiter })
                }
                _ => Some(Writer::Vector),
            },
            Target::Other(_) => None,
        }
    }

    /// Bytes the value takes in an encoded key, apart from text, which takes its own length (StarRocks,
    /// `be/src/storage/primary_key_encoder.cpp`).
    pub(super) fn key_bytes(self) -> usize {
        match self {
            Writer::Bool => 1,
            Writer::Int(bits) => bits as usize / 8,
            Writer::Date => 4,
            Writer::Datetime | Writer::DatetimeUtc => 8,
            Writer::Text(_)
            | Writer::Float
            | Writer::Decimal { .. }
            | Writer::Json
            | Writer::Money { .. }
            | Writer::JsonArray { .. }
            | Writer::Array { .. }
            | Writer::Hstore
            | Writer::Vector
            | Writer::Hex(_) => 0,
        }
    }

    /// Appends the value.
    ///
    /// # Errors
    /// Why the column cannot hold it; `out` may then have grown.
    #[inline]
    pub(super) fn write(self, text: &[u8], out: &mut Vec<u8>) -> Result<(), Unfit> {
        match self {
            Writer::Bool => match text {
                b"t" | b"1" => out.extend_from_slice(b"true"),
                b"f" | b"0" => out.extend_from_slice(b"false"),
                _ => return Err(Unfit::Malformed),
            },
            Writer::Int(bits) => int(bits, text, out)?,
            Writer::Float => match text {
                b"NaN" | b"Infinity" | b"-Infinity" => quoted(text, out),
                // Without a point it is the integer 0, which has no sign.
                b"-0" => out.extend_from_slice(b"-0.0"),
                _ if number::is_json(text) => out.extend_from_slice(text),
                _ => return Err(Unfit::Malformed),
            },
            Writer::Decimal { whole, fraction } => decimal(whole.into(), fraction.into(), text, out)?,
            Writer::Text(max) => {
                // First of all: a text that is too long is not copied.
                if text.len() > max as usize {
                    return Err(too_long(text, max as usize));
                }
                let seen = escape::string(text, out);
                if !seen.ascii {
                    simdutf8::basic::from_utf8(text).map_err(|_| Unfit::NotUtf8)?;
                }
                if seen.nul {
                    return Err(Unfit::Nul);
                }
            }
            Writer::Date if date::is_date(text) => quoted(text, out),
            Writer::Date => return Err(no_date(date::beyond_date(text))),
            Writer::Datetime if date::is_datetime(text) => quoted(text, out),
            Writer::Datetime => return Err(no_date(date::beyond_datetime(text, b""))),
            Writer::DatetimeUtc => match text.strip_suffix(b"+00").filter(|text| date::is_datetime(text)) {
                Some(text) => quoted(text, out),
                None => return Err(no_date(date::beyond_datetime(text, b"+00"))),
            },
            Writer::Json => checked_document(text, out)?,
            Writer::Money { whole, fraction } => {
                let digits = number::money(text).ok_or(Unfit::Malformed)?;
                decimal(whole.into(), fraction.into(), &digits, out)?;
            }
            Writer::JsonArray { element, delimiter } => within_a_document(out, |out| {
                array::write(text, delimiter, DIMENSIONS_MAX, out, |text, out| element.write(text, out))
            })?,
            Writer::Array { element, delimiter } => {
                let element = element.writer();
                array::write(text, delimiter, 1, out, |text, out| element.write(text, out))?;
            }
            Writer::Hstore => within_a_document(out, |out| hstore::write(text, out))?,
            Writer::Vector => vector(text, out)?,
            Writer::Hex(max) => hex(max as usize, text, out)?,
        }
        Ok(())
    }
}

/// Appends text that needs no escaping.
fn quoted(text: &[u8], out: &mut Vec<u8>) {
    out.push(b'"');
    out.extend_from_slice(text);
    out.push(b'"');
}

#[inline]
fn int(bits: u32, text: &[u8], out: &mut Vec<u8>) -> Result<(), Unfit> {
    if bits <= 64
        && let Some(number) = number::short(text)
    {
        let limit = i64::MAX >> (64 - bits);
        if number > limit || number < -limit - 1 {
            return Err(Unfit::OutOfRange);
        }
        // JSON has no leading zeros, and PostgreSQL writes none.
        match text {
            [b'0', _, ..] | [b'-', b'0', ..] => {
                out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
            }
            _ => out.extend_from_slice(text),
        }
        return Ok(());
    }
    let number = number::whole(text).ok_or_else(|| match number::decimal(text) {
        Some(digits) if digits.fraction.is_empty() => Unfit::OutOfRange,
        Some(_) => Unfit::Malformed,
        None => no_decimal(text),
    })?;
    let limit = i128::MAX >> (128 - bits);
    if number > limit || number < -limit - 1 {
        return Err(Unfit::OutOfRange);
    }
    // A JSON parser may know no number of 16 bytes; StarRocks reads a string into LARGEINT as well.
    if bits > 64 {
        quoted(text, out);
    } else {
        out.extend_from_slice(itoa::Buffer::new().format(number as i64).as_bytes());
    }
    Ok(())
}

/// Digits go as a string: StarRocks reads a number's own characters as well, but a parser between may not.
fn decimal(whole: usize, fraction: usize, text: &[u8], out: &mut Vec<u8>) -> Result<(), Unfit> {
    let digits = number::decimal(text).ok_or_else(|| no_decimal(text))?;
    if digits.whole.len() > whole {
        return Err(Unfit::OutOfRange);
    }
    if digits.fraction.len() > fraction {
        return Err(Unfit::TooManyFractionDigits);
    }
    quoted(text, out);
    Ok(())
}

/// How values of a type become a document.
fn document(ty: &ColumnType) -> Writer {
    match ty {
        ColumnType::Array { element, delimiter } => {
            Writer::JsonArray { element: Element::new(element), delimiter: *delimiter }
        }
        ColumnType::Hstore => Writer::Hstore,
        ColumnType::Vector => Writer::Vector,
        _ => Writer::Json,
    }
}

/// Appends a document that is made here.
fn within_a_document(out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>) -> Result<(), Unfit>) -> Result<(), Unfit> {
    let start = out.len();
    write(out)?;
    match out.len() - start {
        bytes if bytes > JSON_MAX => Err(Unfit::DocumentTooLarge { bytes, max: JSON_MAX }),
        _ => Ok(()),
    }
}

/// `[1,2.5,3e-05]` is JSON already.
fn vector(text: &[u8], out: &mut Vec<u8>) -> Result<(), Unfit> {
    let numbers = text.strip_prefix(b"[").and_then(|rest| rest.strip_suffix(b"]")).ok_or(Unfit::Malformed)?;
    if !numbers.split(|byte| *byte == b',').all(number::is_json) {
        return Err(Unfit::Malformed);
    }
    out.extend_from_slice(text);
    Ok(())
}

fn hex(max: usize, text: &[u8], out: &mut Vec<u8>) -> Result<(), Unfit> {
    let digits = text.strip_prefix(b"\\x").ok_or(Unfit::Malformed)?;
    if digits.len() % 2 != 0 || !digits.iter().all(u8::is_ascii_hexdigit) {
        return Err(Unfit::Malformed);
    }
    let bytes = digits.len() / 2;
    if bytes > max {
        return Err(Unfit::TooLong { bytes, max });
    }
    quoted(digits, out);
    Ok(())
}

/// PostgreSQL has checked the grammar; what else a JSON column asks of a document is `json`'s.
pub(super) fn checked_document(text: &[u8], out: &mut Vec<u8>) -> Result<(), Unfit> {
    simdutf8::basic::from_utf8(text).map_err(|_| Unfit::NotUtf8)?;
    if text.len() > JSON_MAX {
        return Err(Unfit::DocumentTooLarge { bytes: text.len(), max: JSON_MAX });
    }
    json::check(text)?;
    out.extend_from_slice(text);
    Ok(())
}

/// What a text that is no date or time of the years 1 to 9999 is.
#[cold]
fn no_date(beyond: Option<date::Beyond>) -> Unfit {
    match beyond {
        Some(date::Beyond::Infinite { .. }) => Unfit::DateInfinite,
        Some(date::Beyond::Before | date::Beyond::After) => Unfit::DateOutOfRange,
        None => Unfit::Malformed,
    }
}

/// Why a text that is longer than `max` cannot be held.
#[cold]
fn too_long(text: &[u8], max: usize) -> Unfit {
    match simdutf8::basic::from_utf8(text) {
        Ok(_) => Unfit::TooLong { bytes: text.len(), max },
        Err(_) => Unfit::NotUtf8,
    }
}

/// Why a text that is no decimal is none.
#[cold]
fn no_decimal(text: &[u8]) -> Unfit {
    match text {
        b"NaN" => Unfit::NotANumber,
        b"Infinity" | b"-Infinity" => Unfit::Infinite,
        _ => Unfit::Malformed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(writer: Writer, text: &str, want: Result<&str, Unfit>) {
        let mut out = Vec::new();
        let got = writer.write(text.as_bytes(), &mut out).map(|()| String::from_utf8(out).unwrap());
        assert_eq!(got, want.map(str::to_owned), "{writer:?} {text:?}");
    }

    #[test]
    fn values_are_written_or_refused() {
        use Unfit::{
            BadEscape, DateInfinite, DateOutOfRange, Infinite, JsonNumber, Malformed, NotANumber, Nul, OutOfRange,
            TooLong, TooManyFractionDigits,
        };
        let (small, big, large) = (Writer::Int(16), Writer::Int(64), Writer::Int(128));
        let money = Writer::Decimal { whole: 3, fraction: 2 };
        let amount = Writer::Money { whole: 8, fraction: 2 };
        let documents = Writer::JsonArray { element: Element::Document, delimiter: b',' };
        let days = Writer::Array { element: Plain::Date, delimiter: b',' };
        let cases = [
            (Writer::Bool, "t", Ok("true")),
            (Writer::Bool, "f", Ok("false")),
            (Writer::Bool, "true", Err(Malformed)),
            (small, "-32768", Ok("-32768")),
            (small, "32767", Ok("32767")),
            (small, "32768", Err(OutOfRange)),
            (small, "-32769", Err(OutOfRange)),
            (small, "1.5", Err(Malformed)),
            (small, "", Err(Malformed)),
            (small, "007", Ok("7")),
            (big, "-9223372036854775808", Ok("-9223372036854775808")),
            (big, "9223372036854775808", Err(OutOfRange)),
            (large, "-170141183460469231731687303715884105728", Ok("\"-170141183460469231731687303715884105728\"")),
            (Writer::Float, "1.5e-07", Ok("1.5e-07")),
            (small, "NaN", Err(NotANumber)),
            (small, "99999999999999999999999999999999999999999999", Err(OutOfRange)),
            (large, "170141183460469231731687303715884105728", Err(OutOfRange)),
            (Writer::Float, "-0", Ok("-0.0")),
            (Writer::Float, "NaN", Ok("\"NaN\"")),
            (Writer::Float, "-Infinity", Ok("\"-Infinity\"")),
            (Writer::Float, "1,5", Err(Malformed)),
            (money, "999.99", Ok("\"999.99\"")),
            (money, "-0.10", Ok("\"-0.10\"")),
            (money, "1.50000", Ok("\"1.50000\"")),
            (money, "1000", Err(OutOfRange)),
            (money, "0.001", Err(TooManyFractionDigits)),
            (money, "NaN", Err(NotANumber)),
            (money, "-Infinity", Err(Infinite)),
            (money, "1e2", Err(Malformed)),
            (Writer::Text(4), "é\"\\", Ok("\"é\\\"\\\\\"")),
            (Writer::Text(4), "aéé", Err(TooLong { bytes: 5, max: 4 })),
            (Writer::Text(0), "", Ok("\"\"")),
            (Writer::Text(4), "a\0", Err(Nul)),
            (Writer::Date, "2024-02-29", Ok("\"2024-02-29\"")),
            (Writer::Date, "infinity", Err(DateInfinite)),
            (Writer::Date, "0044-03-15 BC", Err(DateOutOfRange)),
            (Writer::Date, "2023-02-29", Err(Malformed)),
            (Writer::Datetime, "2024-02-29 23:59:59.5", Ok("\"2024-02-29 23:59:59.5\"")),
            (Writer::Datetime, "10000-01-01 00:00:00", Err(DateOutOfRange)),
            (Writer::Datetime, "2024-02-29 24:00:00", Err(Malformed)),
            (Writer::DatetimeUtc, "2024-02-29 23:59:59.5+00", Ok("\"2024-02-29 23:59:59.5\"")),
            (Writer::DatetimeUtc, "-infinity", Err(DateInfinite)),
            (Writer::DatetimeUtc, "0044-03-15 00:00:00+00 BC", Err(DateOutOfRange)),
            (Writer::DatetimeUtc, "2024-02-29 23:59:59.5", Err(Malformed)),
            (Writer::DatetimeUtc, "2024-02-29 23:59:59.5+05:30", Err(Malformed)),
            (Writer::Json, "{\"a\": [1, null]}", Ok("{\"a\": [1, null]}")),
            (Writer::Json, "\"a\\\\u0000\"", Ok("\"a\\\\u0000\"")),
            (Writer::Json, "[18446744073709551616]", Err(JsonNumber)),
            (Writer::Json, "\"a\\u0000\"", Err(BadEscape)),
            (Writer::Json, "  ", Err(Malformed)),
            (Writer::Bool, "1", Ok("true")),
            (amount, "$1,234.50", Ok("\"1234.50\"")),
            (amount, "-$0.05", Ok("\"-0.05\"")),
            (amount, "$100,000,000.00", Err(OutOfRange)),
            (amount, "1.00", Err(Malformed)),
            (documents, "{\"{\\\"a\\\": 1}\",NULL}", Ok("[{\"a\": 1},null]")),
            (documents, "[0:0]={1}", Err(Unfit::ArrayBounds)),
            (days, "{2024-02-29,NULL}", Ok("[\"2024-02-29\",null]")),
            (days, "{2024-02-29,infinity}", Err(DateInfinite)),
            (days, "{{2024-02-29}}", Err(Unfit::ArrayDimensions)),
            (Writer::Hstore, "\"a\"=>\"1\"", Ok("{\"a\":\"1\"}")),
            (Writer::Vector, "[1,-2.5,3e-05]", Ok("[1,-2.5,3e-05]")),
            (Writer::Vector, "[]", Err(Malformed)),
            (Writer::Vector, "[1,NaN]", Err(Malformed)),
            (Writer::Hex(2), "\\x00ff", Ok("\"00ff\"")),
            (Writer::Hex(2), "\\x", Ok("\"\"")),
            (Writer::Hex(2), "\\x00ff00", Err(TooLong { bytes: 3, max: 2 })),
            (Writer::Hex(2), "\\x0", Err(Malformed)),
            (Writer::Hex(2), "00ff", Err(Malformed)),
        ];
        for (writer, text, want) in cases {
            check(writer, text, want);
        }
    }

    #[test]
    fn bytes_that_are_no_text_are_refused() {
        for writer in [Writer::Text(10), Writer::Json] {
            assert_eq!(writer.write(b"\xff\xfe", &mut Vec::new()), Err(Unfit::NotUtf8));
        }
        let long = vec![b'1'; JSON_MAX + 1];
        assert!(matches!(Writer::Json.write(&long, &mut Vec::new()), Err(Unfit::DocumentTooLarge { .. })));
    }
}
