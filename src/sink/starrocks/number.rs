//! Numbers as PostgreSQL writes them: reading their form without turning them into other numbers.

/// A decimal's text, split. Leading zeros of the whole part and trailing zeros of the fraction are left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Decimal<'a> {
    pub(super) whole: &'a [u8],
    pub(super) fraction: &'a [u8],
}

/// Reads `-?digits(.digits)?`.
pub(super) fn decimal(text: &[u8]) -> Option<Decimal<'_>> {
    let digits = text.strip_prefix(b"-").unwrap_or(text);
    let (whole, fraction) = match digits.iter().position(|b| *b == b'.') {
        Some(point) => (&digits[..point], &digits[point + 1..]),
        None => (digits, &b"0"[..]),
    };
    let plain = |part: &[u8]| !part.is_empty() && part.iter().all(u8::is_ascii_digit);
    if !plain(whole) || !plain(fraction) {
        return None;
    }
    let leading = whole.iter().take_while(|digit| **digit == b'0').count();
    let trailing = fraction.iter().rev().take_while(|digit| **digit == b'0').count();
    Some(Decimal { whole: &whole[leading..], fraction: &fraction[..fraction.len() - trailing] })
}

/// The number with `whole` digits before the point and `fraction` after it that is nearest to this one, halves away
/// from zero as PostgreSQL and StarRocks round. An infinity is nearest to the last number there is.
pub(super) fn nearest_decimal(text: &[u8], whole: usize, fraction: usize) -> Option<Vec<u8>> {
    let negative = text.starts_with(b"-");
    let digits = match text {
        b"Infinity" | b"-Infinity" => None,
        _ => Some(decimal(text)?),
    };
    let digits = digits.and_then(|digits| rounded(digits, whole, fraction)).unwrap_or(vec![b'9'; whole + fraction]);
    let zero = digits.iter().all(|digit| *digit == b'0');
    let mut out = Vec::with_capacity(digits.len() + 3);
    out.extend_from_slice(if negative && !zero { b"-" } else { b"" });
    let (before, after) = digits.split_at(digits.len() - fraction);
    out.extend_from_slice(if before.is_empty() { b"0" } else { before });
    if fraction > 0 {
        out.push(b'.');
        out.extend_from_slice(after);
    }
    Some(out)
}

/// The digits with `fraction` of them after the point; `None` if more than `whole` stand before it.
fn rounded(digits: Decimal<'_>, whole: usize, fraction: usize) -> Option<Vec<u8>> {
    let kept = digits.fraction.iter().copied().chain(std::iter::repeat(b'0')).take(fraction);
    let mut all: Vec<u8> = digits.whole.iter().copied().chain(kept).collect();
    if digits.fraction.get(fraction).is_some_and(|next| *next >= b'5') {
        match all.iter().rposition(|digit| *digit != b'9') {
            Some(at) => {
                all[at] += 1;
                all[at + 1..].fill(b'0');
            }
            None => {
                all.fill(b'0');
                all.insert(0, b'1');
            }
        }
    }
    (all.len() <= whole + fraction).then_some(all)
}

/// Reads a whole number of up to 18 digits, which is most of them. `None` if it is none or may be larger.
#[inline]
pub(super) fn short(text: &[u8]) -> Option<i64> {
    let (negative, digits) = match text {
        [b'-', digits @ ..] => (true, digits),
        digits => (false, digits),
    };
    if !(1..=18).contains(&digits.len()) {
        return None;
    }
    let mut number = 0;
    for digit in digits {
        if !digit.is_ascii_digit() {
            return None;
        }
        number = number * 10 + i64::from(digit - b'0');
    }
    Some(if negative { -number } else { number })
}

/// Reads a whole number of at most 16 bytes. `None` if it is none or larger.
pub(super) fn whole(text: &[u8]) -> Option<i128> {
    if let Some(number) = short(text) {
        return Some(number.into());
    }
    let digits = text.strip_prefix(b"-").unwrap_or(text);
    let plain = digits.iter().all(u8::is_ascii_digit);
    plain.then(|| std::str::from_utf8(text).ok()?.parse().ok()).flatten()
}

/// The digits of an amount as PostgreSQL writes it under `lc_monetary=C`: `-$1,234.50`.
pub(super) fn money(text: &[u8]) -> Option<Vec<u8>> {
    let (sign, amount) = match text.strip_prefix(b"-") {
        Some(amount) => (&b"-"[..], amount),
        None => (&b""[..], text),
    };
    let digits = amount.strip_prefix(b"$").filter(|digits| digits.first().is_some_and(u8::is_ascii_digit))?;
    let digits = digits.iter().filter(|byte| **byte != b',');
    let written: Vec<u8> = sign.iter().chain(digits).copied().collect();
    decimal(&written).is_some().then_some(written)
}

/// Whether the text is a number as JSON has them (RFC 8259, section 6).
pub(super) fn is_json(text: &[u8]) -> bool {
    let digits = |text: &[u8]| text.iter().take_while(|b| b.is_ascii_digit()).count();
    let mut rest = text.strip_prefix(b"-").unwrap_or(text);
    let whole = digits(rest);
    if whole == 0 || (whole > 1 && rest[0] == b'0') {
        return false;
    }
    rest = &rest[whole..];
    if let Some(fraction) = rest.strip_prefix(b".") {
        let length = digits(fraction);
        if length == 0 {
            return false;
        }
        rest = &fraction[length..];
    }
    match rest {
        [] => true,
        [b'e' | b'E', exponent @ ..] => {
            let exponent = exponent.strip_prefix(b"+").or(exponent.strip_prefix(b"-")).unwrap_or(exponent);
            !exponent.is_empty() && digits(exponent) == exponent.len()
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimals_are_split() {
        let cases: [(&str, Option<(&str, &str)>); 12] = [
            ("0", Some(("", ""))),
            ("-0.00", Some(("", ""))),
            ("007.50", Some(("7", "5"))),
            ("-12.34", Some(("12", "34"))),
            ("100", Some(("100", ""))),
            ("", None),
            ("-", None),
            (".5", None),
            ("5.", None),
            ("NaN", None),
            ("1e5", None),
            ("1.2.3", None),
        ];
        for (text, want) in cases {
            let want = want.map(|(whole, fraction)| Decimal { whole: whole.as_bytes(), fraction: fraction.as_bytes() });
            assert_eq!(decimal(text.as_bytes()), want, "{text:?}");
        }
    }

    #[test]
    fn the_nearest_decimal_is_found() {
        // number, digits before and after the point, nearest
        let cases = [
            ("1.005", 3, 2, "1.01"),
            ("-1.005", 3, 2, "-1.01"),
            ("1.00499999", 3, 2, "1.00"),
            ("0.5", 3, 0, "1"),
            ("-0.4", 3, 0, "0"),
            ("-0.004", 3, 2, "0.00"),
            ("9.995", 3, 2, "10.00"),
            ("999.994", 3, 2, "999.99"),
            ("999.995", 3, 2, "999.99"),
            ("-999.995", 3, 2, "-999.99"),
            ("1000", 3, 2, "999.99"),
            ("-123456789.123", 3, 2, "-999.99"),
            ("Infinity", 3, 2, "999.99"),
            ("-Infinity", 0, 2, "-0.99"),
            ("0.999", 0, 2, "0.99"),
            ("0.994", 0, 2, "0.99"),
            ("7", 1, 0, "7"),
            ("9.5", 1, 0, "9"),
        ];
        for (text, whole, fraction, want) in cases {
            let got = nearest_decimal(text.as_bytes(), whole, fraction).map(|out| String::from_utf8(out).unwrap());
            assert_eq!(got.as_deref(), Some(want), "{text} ({whole},{fraction})");
        }
        for text in ["NaN", "", "1e5", "-"] {
            assert_eq!(nearest_decimal(text.as_bytes(), 3, 2), None, "{text}");
        }
    }

    #[test]
    fn whole_numbers_are_read() {
        let edge = i128::MIN.to_string();
        let cases = [
            ("0", Some(0)),
            ("-1", Some(-1)),
            ("9223372036854775807", Some(i64::MAX.into())),
            ("-9223372036854775808", Some(i64::MIN.into())),
            ("999999999999999999", Some(999_999_999_999_999_999)),
            ("-000000000000000000000000000000000000000000001", Some(-1)),
            (edge.as_str(), Some(i128::MIN)),
            ("170141183460469231731687303715884105728", None),
            ("", None),
            ("-", None),
            ("+1", None),
            ("1 ", None),
            ("+1111111111111111111111", None),
            ("12a", None),
        ];
        for (text, want) in cases {
            assert_eq!(whole(text.as_bytes()), want, "{text:?}");
        }
    }

    #[test]
    fn amounts_are_read() {
        let cases = [
            ("$0.00", Some("0.00")),
            ("-$92,233,720,368,547,758.08", Some("-92233720368547758.08")),
            ("$1,234.50", Some("1234.50")),
            ("1.50", None),
            ("$", None),
            ("$-1.50", None),
            ("-", None),
            ("\u{20ac}1.50", None),
        ];
        for (text, want) in cases {
            assert_eq!(money(text.as_bytes()), want.map(|want| want.as_bytes().to_vec()), "{text}");
        }
    }

    #[test]
    fn json_numbers_are_told_apart() {
        for good in ["0", "-0", "1", "10.5", "1e+20", "1.5e-07", "5E3", "0.1"] {
            assert!(is_json(good.as_bytes()), "{good}");
        }
        for bad in ["", "-", "01", ".5", "1.", "1e", "1e+", "NaN", "+1", "1 ", "0x1", "1e5.0", "Infinity"] {
            assert!(!is_json(bad.as_bytes()), "{bad}");
        }
    }
}
