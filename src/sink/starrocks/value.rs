//! Writes one value as JSON for one target column, after checking that the column can hold it.
//!
//! In: PostgreSQL's text of a value. Out: JSON, or why the target cannot hold it. Always: what is written is stored by
//! StarRocks as the same value. It would not refuse much by itself: it rounds decimals, cuts off fractions of
//! integers, ignores zones and eras, and turns text that is too long into NULL (StarRocks, `be/src/formats/json`).

use super::types::{Fit, Target, fit};
use super::{date, escape, json, number};
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
    #[cfg_attr(not(test), expect(dead_code, reason = "arrays are still written as text, which keeps their bounds"))]
    ArrayBounds,
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
            Target::Decimal { precision, scale } => {
                Some(Writer::Decimal { whole: precision - scale, fraction: *scale })
            }
            Target::Varchar(bytes) | Target::Char(bytes) => Some(Writer::Text(*bytes)),
            Target::Date => Some(Writer::Date),
            Target::Datetime if *ty == ColumnType::TimestampTz => Some(Writer::DatetimeUtc),
            Target::Datetime => Some(Writer::Datetime),
            Target::Json => Some(Writer::Json),
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
            Writer::Text(_) | Writer::Float | Writer::Decimal { .. } | Writer::Json => 0,
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
                b"t" => out.extend_from_slice(b"true"),
                b"f" => out.extend_from_slice(b"false"),
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
                simdutf8::basic::from_utf8(text).map_err(|_| Unfit::NotUtf8)?;
                if text.len() > max as usize {
                    return Err(Unfit::TooLong { bytes: text.len(), max: max as usize });
                }
                if escape::string(text, out) {
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
            Writer::Json => document(text, out)?,
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

/// PostgreSQL has checked the grammar; what else a JSON column asks of a document is `json`'s.
fn document(text: &[u8], out: &mut Vec<u8>) -> Result<(), Unfit> {
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
