//! How a source value lands in a column: the conversions of a load and of a literal.
//!
//! In: a JSON token or text, and the column's type. Out: a `Cell`, or `Invalid`, which the loader turns into NULL or a
//! filtered row. Always: what StarRocks cuts off or rounds in silence is cut off and rounded in silence here: fractions
//! of integers, extra fraction digits of decimals, time-zone offsets of DATETIME, text behind a date
//! (StarRocks source, `be/src/formats/json/*_column.cpp`, `be/src/formats/csv/*`, `be/src/types/time_types.cpp`).
//! Start at `cell_from_json` and `cell_from_text`.

use std::borrow::Cow;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;

use super::calendar::{MICROS_PER_DAY, days_from_date, days_in_month};
use super::cell::Cell;
use super::table::{ColumnDef, ColumnDefault};
use super::types::SrType;
use crate::json::{self, Reader, Token};

/// Longest value of a JSON column, in bytes.
pub const JSON_BYTES_MAX: usize = 16 << 20;

/// Why a value does not fit its column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Invalid {
    /// It does not read as this type.
    Unreadable,
    /// A number outside the type's range.
    Overflow,
    /// More bytes than the column takes.
    TooLong {
        /// Bytes of the value.
        length: usize,
    },
}

/// A value of a JSON load.
pub fn cell_from_json(ty: &SrType, token: Token<'_>) -> Result<Cell, Invalid> {
    match (ty, token) {
        (_, Token::Null) => Ok(Cell::Null),
        (SrType::Json, token) => json_cell(token),
        (SrType::Array(element), Token::Array(raw)) => array_cell(element, raw),
        (SrType::Array(_), _) => Err(Invalid::Unreadable),
        (SrType::Boolean, Token::Bool(value)) => Ok(Cell::Bool(value)),
        (SrType::Boolean, Token::Text(_)) => boolean_word(&raw_text(token)?).map(Cell::Bool),
        (
            SrType::Boolean
            | SrType::TinyInt
            | SrType::SmallInt
            | SrType::Int
            | SrType::BigInt
            | SrType::Float
            | SrType::Double,
            Token::Bool(_) | Token::Object(_) | Token::Array(_),
        ) => Err(Invalid::Unreadable),
        (SrType::VarBinary(max), token) => {
            let bytes = raw_text(token)?;
            bounded(bytes, *max).map(|bytes| Cell::Binary(bytes.into_owned().into()))
        }
        (ty, token) => cell_from_bytes(ty, raw_text(token)?),
    }
}

/// A value of a CSV load, and a literal of SQL. (VARBINARY: base64, or the bytes themselves if that does not decode.)
pub fn cell_from_text(ty: &SrType, text: &[u8]) -> Result<Cell, Invalid> {
    match ty {
        SrType::Json => match text.first() {
            Some(b'{' | b'[' | b'"') => json_cell(whole_document(text)?),
            _ => json_string(text),
        },
        SrType::Array(element) => match whole_document(text)? {
            Token::Array(raw) => array_cell(element, raw),
            _ => Err(Invalid::Unreadable),
        },
        SrType::VarBinary(max) => {
            let bytes = BASE64_STANDARD.decode(text).map_or(Cow::Borrowed(text), Cow::Owned);
            bounded(bytes, *max).map(|bytes| Cell::Binary(bytes.into_owned().into()))
        }
        ty => cell_from_bytes(ty, Cow::Borrowed(text)),
    }
}

/// The value a DEFAULT constant stands for.
pub fn default_cell(text: &str, column: &ColumnDef) -> Result<Cell, Invalid> {
    match column.ty {
        SrType::VarBinary(_) => Ok(Cell::Binary(text.as_bytes().into())),
        _ => cell_from_text(&column.ty, text.as_bytes()),
    }
}

/// What a column gets where it is left out; `now_micros` is what CURRENT_TIMESTAMP gives.
pub fn column_default(column: &ColumnDef, now_micros: i64) -> Cell {
    match &column.default {
        Some(ColumnDefault::Constant(text)) => default_cell(text, column).unwrap_or(Cell::Null),
        Some(ColumnDefault::CurrentTimestamp) => match column.ty {
            SrType::Date => Cell::Date(now_micros.div_euclid(MICROS_PER_DAY) as i32),
            _ => Cell::DateTime(now_micros - now_micros.rem_euclid(1_000_000)),
        },
        Some(ColumnDefault::Expression(_)) | None => Cell::Null,
    }
}

/// Zero, the empty string, 1970-01-01: what a row mode partial update leaves in a NOT NULL column without a default.
pub fn zero_of(ty: &SrType) -> Cell {
    match ty {
        SrType::Boolean => Cell::Bool(false),
        SrType::TinyInt | SrType::SmallInt | SrType::Int | SrType::BigInt => Cell::Int(0),
        SrType::LargeInt => Cell::LargeInt(0),
        SrType::Float => Cell::Float(0.0),
        SrType::Double => Cell::Double(0.0),
        SrType::Decimal { scale, .. } => Cell::Decimal(0, *scale),
        SrType::Date => Cell::Date(0),
        SrType::DateTime => Cell::DateTime(0),
        SrType::Char(_) | SrType::Varchar(_) => Cell::Text(Box::default()),
        SrType::VarBinary(_) => Cell::Binary(Box::default()),
        SrType::Json => Cell::Json("{}".into()),
        SrType::Array(_) => Cell::Array(Box::default()),
    }
}

/// A stored value moved to another type by MODIFY COLUMN or by a `columns` expression: through its printed text.
pub fn recast(cell: &Cell, ty: &SrType) -> Result<Cell, Invalid> {
    match (cell, ty) {
        (Cell::Null, _) => Ok(Cell::Null),
        (Cell::Bool(value), SrType::Boolean) => Ok(Cell::Bool(*value)),
        (Cell::Binary(bytes), SrType::VarBinary(max)) => bounded(Cow::Borrowed(bytes), *max).map(|_| cell.clone()),
        (Cell::Json(text), SrType::Varchar(_) | SrType::Char(_)) => match whole_document(text.as_bytes())? {
            Token::Text(inside) => cell_from_bytes(ty, json::unescape(inside).map_err(|_| Invalid::Unreadable)?),
            _ => cell_from_bytes(ty, Cow::Borrowed(text.as_bytes())),
        },
        (Cell::Json(text), SrType::Json) => Ok(Cell::Json(text.clone())),
        (cell, ty) => cell_from_text(ty, &cell.print().unwrap_or_default()),
    }
}

/// The text every scalar type but the numbers' fast path reads: string, raw number, `1`/`0`, minified container.
pub(crate) fn raw_text(token: Token<'_>) -> Result<Cow<'_, [u8]>, Invalid> {
    Ok(match token {
        Token::Null => Cow::Borrowed(b"".as_slice()),
        Token::Bool(value) => Cow::Borrowed(if value { b"1".as_slice() } else { b"0".as_slice() }),
        Token::Number(raw) => Cow::Borrowed(raw),
        Token::Text(inside) => json::unescape(inside).map_err(|_| Invalid::Unreadable)?,
        Token::Object(raw) | Token::Array(raw) => Cow::Owned(json::minified(raw)),
    })
}

fn cell_from_bytes(ty: &SrType, bytes: Cow<'_, [u8]>) -> Result<Cell, Invalid> {
    match ty {
        SrType::Boolean => boolean(&bytes).map(Cell::Bool),
        SrType::TinyInt => integer(&bytes, i64::from(i8::MIN), i64::from(i8::MAX)).map(Cell::Int),
        SrType::SmallInt => integer(&bytes, i64::from(i16::MIN), i64::from(i16::MAX)).map(Cell::Int),
        SrType::Int => integer(&bytes, i64::from(i32::MIN), i64::from(i32::MAX)).map(Cell::Int),
        SrType::BigInt => integer(&bytes, i64::MIN, i64::MAX).map(Cell::Int),
        SrType::LargeInt => large_integer(&bytes).map(Cell::LargeInt),
        SrType::Float => float(&bytes).map(|value| Cell::Float(value as f32)),
        SrType::Double => float(&bytes).map(Cell::Double),
        SrType::Decimal { precision, scale } => {
            decimal(&bytes, *precision, *scale).map(|digits| Cell::Decimal(digits, *scale))
        }
        SrType::Date => date_and_time(&bytes).map(|(days, _)| Cell::Date(days)),
        SrType::DateTime => datetime(&bytes).map(Cell::DateTime),
        SrType::Char(max) | SrType::Varchar(max) => bounded(bytes, *max).map(|b| Cell::Text(b.into_owned().into())),
        SrType::VarBinary(max) => bounded(bytes, *max).map(|b| Cell::Binary(b.into_owned().into())),
        SrType::Json => json_string(&bytes),
        SrType::Array(_) => Err(Invalid::Unreadable),
    }
}

fn bounded(bytes: Cow<'_, [u8]>, max: u32) -> Result<Cow<'_, [u8]>, Invalid> {
    if bytes.len() > max as usize { Err(Invalid::TooLong { length: bytes.len() }) } else { Ok(bytes) }
}

fn whole_document(text: &[u8]) -> Result<Token<'_>, Invalid> {
    let mut reader = Reader::new(text);
    let token = reader.value().map_err(|_| Invalid::Unreadable)?;
    if reader.peek().is_some() { Err(Invalid::Unreadable) } else { Ok(token) }
}

fn json_cell(token: Token<'_>) -> Result<Cell, Invalid> {
    if token == Token::Null {
        return Ok(Cell::Null);
    }
    let mut text = String::new();
    json::as_stored(token, &mut text).map_err(|_| Invalid::Unreadable)?;
    if text.len() > JSON_BYTES_MAX {
        return Err(Invalid::TooLong { length: text.len() });
    }
    Ok(Cell::Json(text.into()))
}

fn json_string(text: &[u8]) -> Result<Cell, Invalid> {
    let quoted = serde_json::to_string(&String::from_utf8_lossy(text)).map_err(|_| Invalid::Unreadable)?;
    json_cell(whole_document(quoted.as_bytes())?)
}

/// An element that does not fit becomes a NULL element.
fn array_cell(element: &SrType, raw: &[u8]) -> Result<Cell, Invalid> {
    let mut cells = Vec::new();
    Reader::new(raw)
        .elements::<json::JsonError>(|token| {
            cells.push(cell_from_json(element, token).unwrap_or(Cell::Null));
            Ok(())
        })
        .map_err(|_| Invalid::Unreadable)?;
    Ok(Cell::Array(cells.into()))
}

/// `true`, `false` or a number.
fn boolean(bytes: &[u8]) -> Result<bool, Invalid> {
    boolean_word(bytes).or_else(|_| float(bytes).map(|value| value != 0.0))
}

/// `true`, `false` or an integer: what a string of a JSON body may say.
fn boolean_word(bytes: &[u8]) -> Result<bool, Invalid> {
    let text = bytes.trim_ascii();
    match text {
        _ if text.eq_ignore_ascii_case(b"true") => Ok(true),
        _ if text.eq_ignore_ascii_case(b"false") => Ok(false),
        _ => ascii(text)?.parse::<i64>().map(|value| value != 0).map_err(|_| Invalid::Unreadable),
    }
}

/// Integers; a fraction is cut off in silence.
fn integer(bytes: &[u8], min: i64, max: i64) -> Result<i64, Invalid> {
    let text = ascii(bytes)?;
    let value = match text.parse::<i64>() {
        Ok(value) => value,
        Err(_) => {
            let value = float(bytes)?.trunc();
            // 2^63 is the first double beyond i64; -2^63 is the last within.
            if !(-9_223_372_036_854_775_808.0..9_223_372_036_854_775_808.0).contains(&value) {
                return Err(Invalid::Overflow);
            }
            value as i64
        }
    };
    if (min..=max).contains(&value) { Ok(value) } else { Err(Invalid::Overflow) }
}

fn large_integer(bytes: &[u8]) -> Result<i128, Invalid> {
    use std::num::IntErrorKind::{NegOverflow, PosOverflow};
    ascii(bytes)?.parse::<i128>().map_err(|error| match error.kind() {
        PosOverflow | NegOverflow => Invalid::Overflow,
        _ => Invalid::Unreadable,
    })
}

/// Doubles; anything that starts with `nan` or `inf` is one, whatever follows.
fn float(bytes: &[u8]) -> Result<f64, Invalid> {
    let text = ascii(bytes)?;
    let (sign, unsigned) = match text.as_bytes().first() {
        Some(b'-') => (-1.0, &text[1..]),
        Some(b'+') => (1.0, &text[1..]),
        _ => (1.0, text),
    };
    let starts = |word: &str| unsigned.get(..3).is_some_and(|start| start.eq_ignore_ascii_case(word));
    if starts("nan") {
        return Ok(f64::NAN);
    }
    if starts("inf") {
        return Ok(sign * f64::INFINITY);
    }
    unsigned
        .parse::<f64>()
        .ok()
        .filter(|_| unsigned.starts_with(|c: char| c.is_ascii_digit() || c == '.'))
        .map(|value| sign * value)
        .ok_or(Invalid::Unreadable)
}

fn ascii(bytes: &[u8]) -> Result<&str, Invalid> {
    std::str::from_utf8(bytes.trim_ascii()).map_err(|_| Invalid::Unreadable)
}

/// Digits without the point. Extra fraction digits are rounded half up (away from zero), in silence.
pub fn decimal(bytes: &[u8], precision: u8, scale: u8) -> Result<i128, Invalid> {
    let text = ascii(bytes)?;
    let (negative, unsigned) = match text.as_bytes().first() {
        Some(b'-') => (true, &text[1..]),
        Some(b'+') => (false, &text[1..]),
        _ => (false, text),
    };
    let (mantissa, exponent) = match unsigned.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, exponent.parse::<i32>().map_err(|_| Invalid::Unreadable)?),
        None => (unsigned, 0),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let all_digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    if whole.len() + fraction.len() == 0 || !all_digits(whole) || !all_digits(fraction) {
        return Err(Invalid::Unreadable);
    }
    let kept = whole.len() as i64 + i64::from(exponent) + i64::from(scale);
    let magnitude = rounded(whole.bytes().chain(fraction.bytes()), kept)?;
    let limit = 10_i128.pow(u32::from(precision));
    if magnitude >= limit {
        return Err(Invalid::Overflow);
    }
    Ok(if negative { -magnitude } else { magnitude })
}

/// The first `kept` digits as a number, one more if the next digit is 5 or above; zeros are appended if there are fewer.
fn rounded(digits: impl Iterator<Item = u8>, kept: i64) -> Result<i128, Invalid> {
    let mut value: i128 = 0;
    let mut taken = 0_i64;
    for digit in digits {
        let digit = i128::from(digit - b'0');
        if taken == kept {
            return Ok(value + i128::from(digit >= 5));
        }
        if taken > kept {
            return Ok(value);
        }
        value = value.checked_mul(10).and_then(|v| v.checked_add(digit)).ok_or(Invalid::Overflow)?;
        taken += 1;
    }
    while taken < kept && value != 0 {
        value = value.checked_mul(10).ok_or(Invalid::Overflow)?;
        taken += 1;
    }
    Ok(value)
}

/// Microseconds since 1970. The offset of a time zone, ` BC` and any other text behind the time are ignored.
fn datetime(bytes: &[u8]) -> Result<i64, Invalid> {
    let (days, rest) = date_and_time(bytes)?;
    Ok(i64::from(days) * MICROS_PER_DAY + time_of_day(rest)?)
}

/// Days since 1970 and the text behind the date.
fn date_and_time(bytes: &[u8]) -> Result<(i32, &[u8]), Invalid> {
    let text = bytes.trim_ascii_start();
    let run = digit_run(text);
    let (year, month, day, rest) = match run {
        8 | 14 => (number(&text[..4]), number(&text[4..6]), number(&text[6..8]), &text[8..]),
        6 | 12 => (full_year(number(&text[..2])), number(&text[2..4]), number(&text[4..6]), &text[6..]),
        2 | 4 => {
            let year = number(&text[..run]);
            let (month, rest) = separated(&text[run..])?;
            let (day, rest) = separated(rest)?;
            (if run == 2 { full_year(year) } else { year }, month, day, rest)
        }
        _ => return Err(Invalid::Unreadable),
    };
    if day == 0 || day > days_in_month(year as i32, month) {
        return Err(Invalid::Overflow);
    }
    Ok((days_from_date(year as i32, month, day), rest))
}

/// `-12` -> 12 and what follows it.
fn separated(text: &[u8]) -> Result<(u32, &[u8]), Invalid> {
    let digits = match text.first() {
        Some(b'-' | b'/' | b'.') => &text[1..],
        _ => return Err(Invalid::Unreadable),
    };
    match digit_run(digits) {
        run @ 1..=2 => Ok((number(&digits[..run]), &digits[run..])),
        _ => Err(Invalid::Unreadable),
    }
}

/// Two-digit years are guessed: 70 to 99 are 1970 to 1999.
fn full_year(two_digits: u32) -> u32 {
    if two_digits < 70 { 2000 + two_digits } else { 1900 + two_digits }
}

/// Microseconds of `[ T]HH[:MM[:SS[.ffffff]]]`; zero if the text is something else.
fn time_of_day(text: &[u8]) -> Result<i64, Invalid> {
    let clock = match text.first() {
        Some(b' ' | b'T') => text[1..].trim_ascii_start(),
        // The date had no separators: the time follows without one.
        Some(byte) if byte.is_ascii_digit() && digit_run(text) == 6 => {
            return clock_micros(number(&text[..2]), number(&text[2..4]), number(&text[4..6]), &text[6..]);
        }
        _ => return Ok(0),
    };
    let run = digit_run(clock);
    match run {
        0 => Ok(0),
        1..=2 => {
            let (minute, rest) = clock_part(&clock[run..]);
            let (second, rest) = clock_part(rest);
            clock_micros(number(&clock[..run]), minute, second, rest)
        }
        _ => Err(Invalid::Unreadable),
    }
}

fn clock_part(text: &[u8]) -> (u32, &[u8]) {
    match text.first() {
        Some(b':') => match digit_run(&text[1..]) {
            run @ 1..=2 => (number(&text[1..1 + run]), &text[1 + run..]),
            _ => (0, text),
        },
        _ => (0, text),
    }
}

fn clock_micros(hour: u32, minute: u32, second: u32, rest: &[u8]) -> Result<i64, Invalid> {
    if hour > 23 || minute > 59 || second > 59 {
        return Err(Invalid::Overflow);
    }
    let mut fraction = 0_i64;
    if rest.first() == Some(&b'.') {
        let digits = &rest[1..1 + digit_run(&rest[1..]).min(6)];
        fraction = i64::from(number(digits)) * 10_i64.pow(6 - digits.len() as u32);
    }
    Ok(i64::from(hour * 3600 + minute * 60 + second) * 1_000_000 + fraction)
}

fn digit_run(text: &[u8]) -> usize {
    text.iter().take_while(|byte| byte.is_ascii_digit()).count()
}

/// At most eight ASCII digits as a number.
fn number(digits: &[u8]) -> u32 {
    digits.iter().fold(0, |value, digit| value * 10 + u32::from(digit - b'0'))
}

#[cfg(test)]
mod tests {
    use super::*;

    const DECIMAL: SrType = SrType::Decimal { precision: 10, scale: 2 };

    #[test]
    fn json_values_land_as_starrocks_lands_them() {
        let widest = SrType::Decimal { precision: 38, scale: 0 };
        let rows: &[(&SrType, &str, Option<&str>, &str)] = &[
            // type, JSON, printed (None = invalid), why
            (&SrType::Boolean, "true", Some("1"), "a boolean"),
            (&SrType::Boolean, "2", Some("1"), "non-zero is true"),
            (&SrType::Boolean, r#""FALSE""#, Some("0"), "text, any case"),
            (&SrType::Boolean, r#""yes""#, None, "no other words"),
            (&SrType::Boolean, r#""-1""#, Some("1"), "an integer as text"),
            (&SrType::Boolean, r#""nan""#, None, "no other number as text"),
            (&SrType::TinyInt, "127", Some("127"), "the largest"),
            (&SrType::TinyInt, "128", None, "overflow"),
            (&SrType::Int, "2147483647.3", Some("2147483647"), "the fraction is cut off"),
            (&SrType::Int, "2147483648.3", None, "overflow with a fraction"),
            (&SrType::Int, "true", None, "a boolean is no number"),
            (&SrType::BigInt, r#""-9223372036854775808""#, Some("-9223372036854775808"), "text, the smallest"),
            (&SrType::BigInt, "9223372036854775808", None, "overflow"),
            (&SrType::BigInt, "1e3", Some("1000"), "an exponent"),
            (
                &SrType::LargeInt,
                "170141183460469231731687303715884105727",
                Some("170141183460469231731687303715884105727"),
                "2^127-1",
            ),
            (&SrType::LargeInt, "170141183460469231731687303715884105728", None, "2^127"),
            (&SrType::Double, r#""-Infinity""#, Some("-inf"), "infinity as text"),
            (&SrType::Double, "1.5", Some("1.5"), "a number"),
            (&DECIMAL, "1.005", Some("1.01"), "rounded half up"),
            (&DECIMAL, "-1.005", Some("-1.01"), "away from zero"),
            (&DECIMAL, "99999999.994", Some("99999999.99"), "rounded down"),
            (&DECIMAL, "99999999.995", None, "rounded up over the edge"),
            (&DECIMAL, "1.5e1", Some("15.00"), "an exponent"),
            (&DECIMAL, r#""NaN""#, None, "no NaN"),
            (
                &widest,
                "99999999999999999999999999999999999999",
                Some("99999999999999999999999999999999999999"),
                "38 digits",
            ),
            (&SrType::Date, r#""2024-02-29xyz""#, Some("2024-02-29"), "text behind is ignored"),
            (&SrType::Date, r#""2023-02-29""#, None, "no such day"),
            (&SrType::Date, r#""infinity""#, None, "no infinity"),
            (&SrType::Date, "20240131", Some("2024-01-31"), "without separators"),
            (&SrType::Date, r#""10000-01-01""#, None, "year 10000"),
            (&SrType::DateTime, r#""2024-01-01 00:00:00+05""#, Some("2024-01-01 00:00:00"), "the offset is ignored"),
            (&SrType::DateTime, r#""0044-03-15 BC""#, Some("0044-03-15 00:00:00"), "BC is ignored"),
            (&SrType::DateTime, r#""2024-01-01T23:59:59.123456Z""#, Some("2024-01-01 23:59:59.123456"), "microseconds"),
            (&SrType::DateTime, r#""2024-01-01 00:00:00.5""#, Some("2024-01-01 00:00:00.500000"), "one digit"),
            (&SrType::DateTime, r#""2024-01-01 24:00:00""#, None, "hour 24"),
            (&SrType::Varchar(3), r#""äb""#, Some("äb"), "three bytes"),
            (&SrType::Varchar(3), r#""äbc""#, None, "four bytes"),
            (&SrType::Varchar(9), "1.50", Some("1.50"), "a number's raw token"),
            (&SrType::Varchar(9), "true", Some("1"), "a boolean"),
            (&SrType::Varchar(9), r#"{"a": 1}"#, Some(r#"{"a":1}"#), "an object, minified"),
            (&SrType::VarBinary(9), r#""\\x00""#, Some("\\x00"), "bytes as they are"),
            (&SrType::Json, r#""a""#, Some(r#""a""#), "a string stays a string"),
            (
                &SrType::Array(Box::new(SrType::TinyInt)),
                "[1,300,null]",
                Some("[1,null,null]"),
                "elements that do not fit",
            ),
            (&SrType::Array(Box::new(SrType::TinyInt)), "1", None, "not an array"),
        ];
        for (ty, document, printed, why) in rows {
            let token = Reader::new(document.as_bytes()).value().expect(why);
            let got = cell_from_json(ty, token).ok().map(|cell| cell.display());
            assert_eq!(got.as_deref(), *printed, "{why}: {document} as {}", ty.desc());
        }
    }

    #[test]
    fn text_values_differ_from_json_where_starrocks_does() {
        let rows: &[(&SrType, &str, Option<&str>, &str)] = &[
            (&SrType::VarBinary(9), "AAEC", Some("\u{0}\u{1}\u{2}"), "base64"),
            (&SrType::VarBinary(9), "hi!", Some("hi!"), "not base64: the bytes"),
            (&SrType::Json, "[1,2]", Some("[1, 2]"), "parsed"),
            (&SrType::Json, "1", Some(r#""1""#), "anything else is a string"),
            (&SrType::Json, "{", None, "looks like JSON and is not"),
            (&SrType::Int, "", None, "an empty number"),
            (&SrType::Int, "12.7", Some("12"), "cut off"),
            (&SrType::Varchar(1), "", Some(""), "an empty string"),
        ];
        for (ty, text, printed, why) in rows {
            let got = cell_from_text(ty, text.as_bytes()).ok().map(|cell| cell.display());
            assert_eq!(got.as_deref(), *printed, "{why}: {text:?} as {}", ty.desc());
        }
    }
}
