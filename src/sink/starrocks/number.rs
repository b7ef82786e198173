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
