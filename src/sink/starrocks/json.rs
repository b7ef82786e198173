//! What StarRocks would make of a JSON document: found before it is sent.
//!
//! In: a document that the source has checked the grammar of. Out: why a JSON column cannot hold it as it is, or the
//! document with the nearest numbers. Always: an accepted document comes back with the same members, elements, texts
//! and numbers; a number is the same if it is written back with the same digits, zeros at the ends aside. StarRocks
//! keeps a number as a signed or unsigned 64-bit integer, else as a double (StarRocks,
//! `be/src/util/json_converter.cpp`). Start at [`check`].

use std::fmt::{self, Write};

use memchr::memchr2;

use super::number;
use super::value::Unfit;

/// Deepest nesting that is sent. The server's parser stops at 1024 levels (simdjson, `DEFAULT_MAX_DEPTH`), of which
/// the array of rows and the row take two.
const DEPTH_MAX: usize = 1000;
/// A number of so many bytes without exponent has at most 15 digits and a point or sign, or is a 64-bit integer. A
/// double keeps any 15 digits.
const SHORT: usize = 16;
/// Digits that the shortest text of a double has at most.
const DOUBLE_DIGITS_MAX: usize = 17;

/// Whether a JSON column holds the document as it is. The bytes are taken to be UTF-8.
///
/// # Errors
/// The first thing it cannot hold.
pub(super) fn check(text: &[u8]) -> Result<(), Unfit> {
    let (mut at, mut depth, mut empty) = (0, 0_usize, true);
    while let Some(byte) = text.get(at) {
        match byte {
            b'"' => at = string_end(text, at + 1)?,
            b'{' | b'[' => {
                depth += 1;
                if depth > DEPTH_MAX {
                    return Err(Unfit::TooDeep);
                }
                at += 1;
            }
            b'}' | b']' => {
                depth = depth.saturating_sub(1);
                at += 1;
            }
            b'-' | b'0'..=b'9' => {
                let length = number_length(&text[at..]);
                let token = &text[at..at + length];
                if !survives(token) {
                    return Err(if number::is_json(token) { Unfit::JsonNumber } else { Unfit::Malformed });
                }
                at += length;
            }
            b' ' | b'\t' | b'\n' | b'\r' => {
                at += 1;
                continue;
            }
            _ => at += 1,
        }
        empty = false;
    }
    if empty { Err(Unfit::Malformed) } else { Ok(()) }
}

/// The document with each number that would change replaced by the nearest double, written as StarRocks keeps it.
pub(super) fn with_nearest_numbers(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut at = 0;
    while let Some(byte) = text.get(at) {
        let end = match byte {
            // A bad escape is another check's finding; the string is copied as it is.
            b'"' => plain_string_end(text, at + 1),
            b'-' | b'0'..=b'9' => at + number_length(&text[at..]),
            _ => at + 1,
        };
        let token = &text[at..end];
        match byte {
            b'-' | b'0'..=b'9' if number::is_json(token) && !survives(token) => {
                out.extend_from_slice(nearest(token).as_bytes())
            }
            _ => out.extend_from_slice(token),
        }
        at = end;
    }
    out
}

/// The shortest text of the nearest finite double.
fn nearest(token: &[u8]) -> String {
    let number = double(token).clamp(f64::MIN, f64::MAX);
    if number == 0.0 { "0".to_owned() } else { format!("{number:e}") }
}

/// Where the string that begins before `at` is over.
///
/// # Errors
/// An escape that no UTF-8 text can hold, or a string that does not end.
fn string_end(text: &[u8], mut at: usize) -> Result<usize, Unfit> {
    loop {
        at += memchr2(b'"', b'\\', &text[at..]).ok_or(Unfit::Malformed)?;
        if text[at] == b'"' {
            return Ok(at + 1);
        }
        at += match unit(text, at) {
            None if at + 2 <= text.len() => 2,
            None => return Err(Unfit::Malformed),
            Some(0 | 0xDC00..=0xDFFF) => return Err(Unfit::BadEscape),
            Some(0xD800..=0xDBFF) => match unit(text, at + 6) {
                Some(0xDC00..=0xDFFF) => 12,
                _ => return Err(Unfit::BadEscape),
            },
            Some(_) => 6,
        };
    }
}

/// The same whatever the escapes mean; the end of the text if the string does not end.
fn plain_string_end(text: &[u8], mut at: usize) -> usize {
    while let Some(found) = text.get(at..).and_then(|rest| memchr2(b'"', b'\\', rest)) {
        at += found;
        match text[at] {
            b'"' => return at + 1,
            _ => at += 2,
        }
    }
    text.len()
}

/// The UTF-16 unit that `\uXXXX` at this place stands for.
fn unit(text: &[u8], at: usize) -> Option<u32> {
    let digits = text.get(at..at + 6)?.strip_prefix(b"\\u")?;
    u32::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
}

/// Length of the number that the text begins with.
fn number_length(text: &[u8]) -> usize {
    text.iter().take_while(|byte| matches!(byte, b'0'..=b'9' | b'-' | b'+' | b'.' | b'e' | b'E')).count()
}

/// Whether StarRocks writes this JSON number back with the same digits. What is no number does not survive.
pub(super) fn survives(token: &[u8]) -> bool {
    let whole = token.iter().all(|byte| byte.is_ascii_digit() || *byte == b'-');
    let exponent = !whole && token.iter().any(|byte| matches!(byte, b'e' | b'E'));
    if token.len() <= SHORT && !exponent {
        return true;
    }
    if whole && is_integer(token) {
        return true;
    }
    if !number::is_json(token) {
        return false;
    }
    match Decimal::read(token) {
        None => false,
        Some(number) if number.is_kept_by_every_double() => true,
        Some(number) => {
            let mut shortest = Shortest::default();
            // Longer texts than a double's do not occur; they would not be the same.
            let written = write!(shortest, "{:e}", double(token));
            written.is_ok() && Decimal::read(shortest.text()) == Some(number)
        }
    }
}

/// Whether a signed or unsigned 64-bit integer holds the digits.
fn is_integer(token: &[u8]) -> bool {
    std::str::from_utf8(token).is_ok_and(|text| text.parse::<i64>().is_ok() || text.parse::<u64>().is_ok())
}

/// The nearest double; infinite where the number is too large.
fn double(token: &[u8]) -> f64 {
    std::str::from_utf8(token).ok().and_then(|text| text.parse().ok()).unwrap_or(f64::NAN)
}

/// A number's digits from the first to the last that is not zero, and the power of ten of the last. Without its sign.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Decimal {
    digits: [u8; DOUBLE_DIGITS_MAX],
    length: usize,
    power: i64,
}

impl Decimal {
    /// Reads a JSON number; `None` if it has more digits than a double is ever written with, or is infinite.
    fn read(token: &[u8]) -> Option<Decimal> {
        let (mut number, mut zeros, mut after_point) = (Decimal::default(), 0, false);
        let (mut fraction, mut exponent) = (0_i64, 0);
        for (at, byte) in token.iter().enumerate() {
            match byte {
                b'0'..=b'9' => {
                    fraction += i64::from(after_point);
                    match (byte, number.length) {
                        (b'0', 0) => {}
                        (b'0', _) => zeros += 1,
                        _ => {
                            let last = number.length + zeros;
                            *number.digits.get_mut(last)? = *byte;
                            number.digits[number.length..last].fill(b'0');
                            (number.length, zeros) = (last + 1, 0);
                        }
                    }
                }
                b'.' => after_point = true,
                b'e' | b'E' => {
                    exponent = power(&token[at + 1..]);
                    break;
                }
                b'-' => {}
                _ => return None,
            }
        }
        if number.length > 0 {
            number.power = exponent.saturating_add(zeros as i64).saturating_sub(fraction);
        }
        Some(number)
    }

    /// Whether any number of so many digits, far from both ends of the range, comes back from a double (`DBL_DIG`);
    /// zero does too.
    fn is_kept_by_every_double(&self) -> bool {
        self.length <= 15 && (-290..=290).contains(&self.power)
    }
}

/// The text of a double: at most a sign, 17 digits, a point, and an exponent.
#[derive(Default)]
struct Shortest {
    bytes: [u8; 32],
    length: usize,
}

impl Shortest {
    fn text(&self) -> &[u8] {
        &self.bytes[..self.length]
    }
}

impl fmt::Write for Shortest {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let end = self.length + text.len();
        self.bytes.get_mut(self.length..end).ok_or(fmt::Error)?.copy_from_slice(text.as_bytes());
        self.length = end;
        Ok(())
    }
}

/// An exponent; one that no `i64` holds is as good as the largest.
fn power(text: &[u8]) -> i64 {
    let (negative, digits) = match text {
        [b'-', digits @ ..] => (true, digits),
        [b'+', digits @ ..] => (false, digits),
        digits => (false, digits),
    };
    let size = digits.iter().fold(0_i64, |size, digit| size.saturating_mul(10).saturating_add(i64::from(digit - b'0')));
    if negative { -size } else { size }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use sonic_rs::{JsonContainerTrait, JsonValueTrait};

    #[test]
    fn numbers_that_stay_and_numbers_that_change() {
        let stay = [
            "0",
            "-0",
            "0.0",
            "-0.00e5",
            "0e99999999999999999999",
            "1",
            "-1.5",
            "1.10",
            "100.000",
            "9223372036854775807",
            "-9223372036854775808",
            "18446744073709551615",
            "123456789012345.6",
            "0.30000000000000004",
            "1e308",
            "1.7976931348623157e308",
            "5e-324",
            "2.2250738585072014e-308",
            "1E+2",
            "100000000000000000000",
            "1e23",
            "0.1000000000000000000000000",
            "1e-7",
        ];
        for number in stay {
            assert!(survives(number.as_bytes()), "{number} stays");
            assert_eq!(with_nearest_numbers(number.as_bytes()), number.as_bytes());
        }
        let change = [
            ("18446744073709551616", "1.8446744073709552e19"),
            ("-9223372036854775809", "-9.223372036854776e18"),
            ("9007199254740993.0", "9.007199254740992e15"),
            ("0.1000000000000000055511151231257827", "1e-1"),
            ("3.14159265358979323846", "3.141592653589793e0"),
            ("1e309", "1.7976931348623157e308"),
            ("-1e400", "-1.7976931348623157e308"),
            ("1e99999999999999999999999", "1.7976931348623157e308"),
            ("1e-400", "0"),
            ("-1e-400", "0"),
            ("4.9e-324", "5e-324"),
            ("123456789.123456789", "1.2345678912345679e8"),
            ("1e-99999999999999999999999", "0"),
        ];
        for (number, nearest) in change {
            assert!(!survives(number.as_bytes()), "{number} changes");
            assert_eq!(String::from_utf8(with_nearest_numbers(number.as_bytes())).unwrap(), nearest);
            assert!(survives(nearest.as_bytes()), "{nearest} stays");
        }
    }

    #[test]
    fn documents_are_judged() {
        let nested = |levels: usize| "[".repeat(levels) + &"]".repeat(levels);
        let (deep, too_deep) = (nested(DEPTH_MAX), nested(DEPTH_MAX + 1));
        let cases = [
            ("{\"a\": [1, null, true], \"1e400\": \"1e400 \\\" [\"}", Ok(())),
            ("\"a\\\\u0000\"", Ok(())),
            ("\"\\ud83d\\ude00\"", Ok(())),
            ("\"\\uD83D\\uDE00\\u00e9\"", Ok(())),
            (&deep, Ok(())),
            (&too_deep, Err(Unfit::TooDeep)),
            ("[\"[[[\", 1]", Ok(())),
            ("\"a\\u0000\"", Err(Unfit::BadEscape)),
            ("{\"\\u0000\": 1}", Err(Unfit::BadEscape)),
            ("\"\\\\\\u0000\"", Err(Unfit::BadEscape)),
            ("\"\\ud83d\"", Err(Unfit::BadEscape)),
            ("\"\\ude00\\ud83d\"", Err(Unfit::BadEscape)),
            ("\"\\ud83d\\u0041\"", Err(Unfit::BadEscape)),
            ("[1, 1e400]", Err(Unfit::JsonNumber)),
            ("{\"a\":12345678901234567890123}", Err(Unfit::JsonNumber)),
            ("  \n", Err(Unfit::Malformed)),
            ("", Err(Unfit::Malformed)),
            ("\"open", Err(Unfit::Malformed)),
            ("\"open\\", Err(Unfit::Malformed)),
        ];
        for (document, want) in cases {
            assert_eq!(check(document.as_bytes()), want, "{}", &document[..document.len().min(60)]);
        }
    }

    #[test]
    fn only_numbers_are_replaced() {
        let document = r#"{"1e400": "1e400 \" 1e400", "b\\": [1e400, 1, "\u0000"], "c": -18446744073709551616.5}"#;
        let want =
            r#"{"1e400": "1e400 \" 1e400", "b\\": [1.7976931348623157e308, 1, "\u0000"], "c": -1.8446744073709552e19}"#;
        assert_eq!(String::from_utf8(with_nearest_numbers(document.as_bytes())).unwrap(), want);
    }

    /// The number's digits in positional notation, without sign, point-side zeros trimmed.
    fn positional(token: &str) -> String {
        let token = token.trim_start_matches('-').to_ascii_lowercase();
        let (mantissa, exponent) = token.split_once('e').unwrap_or((&token, "0"));
        let exponent: i32 = exponent.parse().unwrap();
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let mut digits: Vec<char> = whole.chars().chain(fraction.chars()).collect();
        let mut point = whole.len() as i32 + exponent;
        while point < 0 {
            digits.insert(0, '0');
            point += 1;
        }
        while (digits.len() as i32) < point {
            digits.push('0');
        }
        let (whole, fraction) = digits.split_at(point as usize);
        let (whole, fraction): (String, String) = (whole.iter().collect(), fraction.iter().collect());
        format!("{}.{}", whole.trim_start_matches('0'), fraction.trim_end_matches('0'))
    }

    /// What StarRocks does, step by step: an integer if one of its two kinds holds it, else a double, which `Display`
    /// writes without exponent and with the fewest digits.
    fn survives_plainly(token: &str) -> bool {
        let whole = !token.contains(['.', 'e', 'E']);
        if whole && (token.parse::<i64>().is_ok() || token.parse::<u64>().is_ok()) {
            return true;
        }
        let kept: f64 = token.parse().unwrap();
        kept.is_finite() && positional(&format!("{kept}")) == positional(token)
    }

    fn number() -> impl Strategy<Value = String> {
        prop_oneof![
            any::<i128>().prop_map(|n| n.to_string()),
            any::<i64>().prop_map(|n| n.to_string()),
            any::<u64>().prop_map(|n| n.to_string()),
            any::<f64>().prop_filter("finite", |n| n.is_finite()).prop_map(|n| format!("{n:e}")),
            any::<f64>().prop_filter("finite", |n| n.is_finite()).prop_map(|n| format!("{n}")),
            any::<u64>()
                .prop_map(f64::from_bits)
                .prop_filter("finite", |n| n.is_finite())
                .prop_map(|n| format!("{n:?}")),
            "-?(0|[1-9][0-9]{0,25})(\\.[0-9]{1,25})?([eE][+-]?[0-9]{1,3})?",
            "-?(0|[1-9][0-9]{0,3})\\.[0-9]{10,18}",
        ]
    }

    fn document() -> impl Strategy<Value = String> {
        let text = any::<String>().prop_map(|text| sonic_rs::to_string(&text).unwrap());
        let leaf = prop_oneof![
            number(),
            text.clone(),
            Just("null".to_owned()),
            Just("true".to_owned()),
            "\"(\\\\u[0-9a-fA-F]{4}|\\\\n|\\\\\\\\|[ -!#-\\[\\]-~]){0,6}\"",
        ];
        leaf.prop_recursive(6, 40, 6, move |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..5).prop_map(|all| format!("[{}]", all.join(" ,\n"))),
                proptest::collection::vec((text.clone(), inner), 0..5).prop_map(|all| {
                    let members: Vec<String> = all.into_iter().map(|(key, value)| format!("{key} : {value}")).collect();
                    format!("{{{}}}", members.join(","))
                }),
            ]
        })
    }

    /// Every token, found by another parser that keeps numbers as they are written.
    fn numbers_in(value: &sonic_rs::Value, found: &mut Vec<String>) {
        if let Some(number) = value.as_raw_number() {
            found.push(number.as_str().to_owned());
        }
        if let Some(array) = value.as_array() {
            array.iter().for_each(|value| numbers_in(value, found));
        }
        if let Some(object) = value.as_object() {
            object.iter().for_each(|(_, value)| numbers_in(value, found));
        }
    }

    /// Whether each escape is one half of nothing and none is U+0000, judged by another reader.
    fn escapes_are_good(document: &str) -> bool {
        let mut units: Vec<Option<u16>> = Vec::new();
        let mut rest = document;
        while let Some(c) = rest.chars().next() {
            if c != '\\' {
                units.push(None);
                rest = &rest[c.len_utf8()..];
            } else if let Some(digits) = rest[1..].strip_prefix('u') {
                units.push(u16::from_str_radix(&digits[..4], 16).ok());
                rest = &digits[4..];
            } else {
                units.push(None);
                rest = &rest[2..];
            }
        }
        units.split(Option::is_none).all(|run| {
            let run: Vec<u16> = run.iter().flatten().copied().collect();
            String::from_utf16(&run).is_ok_and(|text| !text.contains('\0'))
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(512))]

        #[test]
        fn numbers_are_judged_as_the_plain_twin_does(token in number()) {
            prop_assert_eq!(survives(token.as_bytes()), survives_plainly(&token), "{}", token);
        }

        #[test]
        fn documents_are_judged_as_the_plain_twin_does(document in document()) {
            let good_escapes = escapes_are_good(&document);
            let readable = sonic_rs::Deserializer::from_str(&document).use_rawnumber();
            let mut numbers = Vec::new();
            let parsed = if good_escapes { serde::Deserialize::deserialize(&mut { readable }).ok() } else { None };
            if let Some(value) = &parsed {
                numbers_in(value, &mut numbers);
            }
            let good_numbers = numbers.iter().all(|number| survives_plainly(number));
            let judged = check(document.as_bytes());
            match (good_escapes, parsed.is_some(), good_numbers) {
                (true, true, true) => prop_assert_eq!(judged, Ok(()), "{}", document),
                (true, true, false) => prop_assert_eq!(judged, Err(Unfit::JsonNumber), "{}", document),
                (false, ..) => prop_assert!(judged.is_err(), "{}", document),
                (true, false, _) => prop_assert!(false, "the plain reader takes no {}", document),
            }
            let clamped = with_nearest_numbers(document.as_bytes());
            prop_assert_ne!(check(&clamped), Err(Unfit::JsonNumber));
            if judged == Ok(()) {
                prop_assert_eq!(clamped, document.as_bytes());
            }
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(prop_oneof![Just(b'"'), Just(b'\\'), Just(b'u'),
            Just(b'1'), Just(b'e'), Just(b'-'), Just(b'['), any::<u8>()], 0..60))
        {
            let _ = (check(&bytes), with_nearest_numbers(&bytes));
        }
    }
}
