//! The value nearest to one that a column cannot hold.
//!
//! In: a value's text, what is wrong with it, and how the column is written. Out: the text of another value of the
//! same type, without what was wrong. Always: only the fault at hand is removed; what else may be wrong is found when
//! the new text is written. Not here: whether that is wanted (`policy`).

use super::json;
use super::number::nearest_decimal;
use super::value::{Unfit, Writer};

/// The nearest value; `None` if there is none.
pub(super) fn nearest(writer: Writer, unfit: Unfit, text: &[u8]) -> Option<Vec<u8>> {
    match (unfit, writer) {
        (Unfit::OutOfRange | Unfit::Infinite, Writer::Int(bits)) => Some(limit(bits, text).to_string().into_bytes()),
        (Unfit::OutOfRange | Unfit::Infinite | Unfit::TooManyFractionDigits, Writer::Decimal { whole, fraction }) => {
            nearest_decimal(text, whole.into(), fraction.into())
        }
        (Unfit::DateOutOfRange | Unfit::DateInfinite, Writer::Date) => Some(edge(text, "", "")),
        (Unfit::DateOutOfRange | Unfit::DateInfinite, Writer::Datetime) => {
            Some(edge(text, " 00:00:00", " 23:59:59.999999"))
        }
        (Unfit::DateOutOfRange | Unfit::DateInfinite, Writer::DatetimeUtc) => {
            Some(edge(text, " 00:00:00+00", " 23:59:59.999999+00"))
        }
        (Unfit::TooLong { max, .. }, Writer::Text(_)) => Some(text[..cut(text, max)].to_vec()),
        (Unfit::Nul, _) => Some(text.iter().copied().filter(|byte| *byte != 0).collect()),
        (Unfit::NotUtf8, _) => Some(String::from_utf8_lossy(text).into_owned().into_bytes()),
        (Unfit::JsonNumber, Writer::Json) => Some(json::with_nearest_numbers(text)),
        // `[2:4]={…}`: the bounds stand before the elements.
        (Unfit::ArrayBounds, _) => text.iter().position(|byte| *byte == b'=').map(|equals| text[equals + 1..].to_vec()),
        _ => None,
    }
}

/// The largest or smallest integer of so many bits, on the text's side.
fn limit(bits: u32, text: &[u8]) -> i128 {
    let largest = i128::MAX >> (128 - bits);
    if text.starts_with(b"-") { -largest - 1 } else { largest }
}

/// The first or the last day there is, on the text's side, with a time.
fn edge(text: &[u8], first_time: &str, last_time: &str) -> Vec<u8> {
    let (day, time) = match text.starts_with(b"-") || text.ends_with(b" BC") {
        true => ("0001-01-01", first_time),
        false => ("9999-12-31", last_time),
    };
    [day, time].concat().into_bytes()
}

/// Length of the longest start of at most `max` bytes that ends between two characters.
fn cut(text: &[u8], max: usize) -> usize {
    let continues = |at: &usize| text.get(*at).is_some_and(|byte| byte & 0xC0 == 0x80);
    let mut at = max.min(text.len());
    while at > 0 && continues(&at) {
        at -= 1;
    }
    at
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn each_fault_has_its_nearest_value_or_none() {
        let money = Writer::Decimal { whole: 3, fraction: 2 };
        let (small, large) = (Writer::Int(16), Writer::Int(128));
        let (date, datetime, utc) = (Writer::Date, Writer::Datetime, Writer::DatetimeUtc);
        let too_long = |max| Unfit::TooLong { bytes: 99, max };
        let (first, last) = ("0001-01-01 00:00:00", "9999-12-31 23:59:59.999999");
        let cases = [
            (small, Unfit::OutOfRange, "32768", Some("32767")),
            (small, Unfit::OutOfRange, "-99999", Some("-32768")),
            (large, Unfit::OutOfRange, "-1e", Some("-170141183460469231731687303715884105728")),
            (small, Unfit::Infinite, "Infinity", Some("32767")),
            (small, Unfit::NotANumber, "NaN", None),
            (money, Unfit::OutOfRange, "1000.5", Some("999.99")),
            (money, Unfit::TooManyFractionDigits, "1.005", Some("1.01")),
            (money, Unfit::Infinite, "-Infinity", Some("-999.99")),
            (money, Unfit::NotANumber, "NaN", None),
            (date, Unfit::DateOutOfRange, "0044-03-15 BC", Some("0001-01-01")),
            (date, Unfit::DateOutOfRange, "10000-01-01", Some("9999-12-31")),
            (date, Unfit::DateInfinite, "infinity", Some("9999-12-31")),
            (date, Unfit::DateInfinite, "-infinity", Some("0001-01-01")),
            (datetime, Unfit::DateOutOfRange, "0044-03-15 01:02:03 BC", Some(first)),
            (datetime, Unfit::DateInfinite, "infinity", Some(last)),
            (utc, Unfit::DateOutOfRange, "10000-01-01 00:00:00+00", Some("9999-12-31 23:59:59.999999+00")),
            (utc, Unfit::DateInfinite, "-infinity", Some("0001-01-01 00:00:00+00")),
            (Writer::Text(3), too_long(3), "aéé", Some("aé")),
            (Writer::Text(2), too_long(2), "aéé", Some("a")),
            (Writer::Text(3), too_long(3), "\u{1F600}", Some("")),
            (Writer::Text(9), Unfit::Nul, "a\0b\0", Some("ab")),
            (Writer::Json, Unfit::JsonNumber, "[1e400]", Some("[1.7976931348623157e308]")),
            (Writer::Json, Unfit::BadEscape, "\"\\u0000\"", None),
            (Writer::Json, Unfit::TooDeep, "[]", None),
            (Writer::Json, Unfit::ArrayBounds, "[0:1]={1,2}", Some("{1,2}")),
            (Writer::Json, Unfit::ArrayBounds, "[0:0][-1:0]={{1,2}}", Some("{{1,2}}")),
            (money, Unfit::Malformed, "x", None),
            (small, Unfit::Null, "", None),
        ];
        for (writer, unfit, text, want) in cases {
            let got = nearest(writer, unfit, text.as_bytes()).map(|text| String::from_utf8(text).unwrap());
            assert_eq!(got.as_deref(), want, "{writer:?} {unfit:?} {text:?}");
        }
        let wrong = b"a\xffb\xe2\x82";
        let got = nearest(Writer::Text(9), Unfit::NotUtf8, wrong).unwrap();
        assert_eq!(String::from_utf8(got).unwrap(), "a\u{FFFD}b\u{FFFD}");
    }

    proptest! {
        #[test]
        fn text_is_cut_where_the_plain_twin_cuts_it(text in any::<String>(), max in 0_usize..40) {
            let mut plain = String::new();
            for c in text.chars() {
                if plain.len() + c.len_utf8() > max {
                    break;
                }
                plain.push(c);
            }
            prop_assert_eq!(&text.as_bytes()[..cut(text.as_bytes(), max)], plain.as_bytes());
        }
    }
}
