//! Exact decimal numbers as text: comparison, sum, average and rounding for the query engine.
//!
//! In and out: text as StarRocks prints DECIMAL and LARGEINT.
//! Always: no digit is lost below 38; what is longer compares rightly and refuses to be summed.

use std::cmp::Ordering;

/// A decimal: `units` x 10^-`scale`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Exact {
    /// All digits as a whole number.
    pub(super) units: i128,
    /// How many of them are behind the point.
    pub(super) scale: u32,
}

/// Digits behind the point, at most (DECIMAL(38, 38)).
const SCALE_MAX: u32 = 38;

impl Exact {
    /// Reads `[+-]digits[.digits]`.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        let (negative, digits) = match text.as_bytes().first()? {
            b'-' => (true, &text[1..]),
            b'+' => (false, &text[1..]),
            _ => (false, text),
        };
        let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
        if whole.is_empty() && fraction.is_empty() {
            return None;
        }
        let mut units: i128 = 0;
        for byte in whole.bytes().chain(fraction.bytes()) {
            if !byte.is_ascii_digit() {
                return None;
            }
            // Built below zero, so that the least LARGEINT fits.
            units = units.checked_mul(10)?.checked_sub(i128::from(byte - b'0'))?;
        }
        let units = if negative { units } else { units.checked_neg()? };
        let scale = u32::try_from(fraction.len()).ok().filter(|scale| *scale <= SCALE_MAX)?;
        Some(Self { units, scale })
    }

    /// The same number with more digits behind the point; `None` when it overflows.
    fn widened(self, scale: u32) -> Option<Self> {
        let factor = 10_i128.checked_pow(scale.checked_sub(self.scale)?)?;
        Some(Self { units: self.units.checked_mul(factor)?, scale })
    }

    /// The same number with exactly `scale` digits behind the point, rounded half away from zero.
    pub(super) fn rounded(self, scale: u32) -> Option<Self> {
        if scale >= self.scale {
            return self.widened(scale);
        }
        let factor = 10_i128.checked_pow(self.scale - scale)?;
        Some(Self { units: divide_rounding(self.units, factor)?, scale })
    }

    /// The sum; `None` when it overflows.
    pub(super) fn plus(self, other: Self) -> Option<Self> {
        let scale = self.scale.max(other.scale);
        let (left, right) = (self.widened(scale)?, other.widened(scale)?);
        Some(Self { units: left.units.checked_add(right.units)?, scale })
    }

    /// The `count`-th part with `scale` digits behind the point.
    pub(super) fn divided(self, count: i128, scale: u32) -> Option<Self> {
        let wide = self.widened(scale.max(self.scale))?;
        Self { units: divide_rounding(wide.units, count)?, scale: wide.scale }.rounded(scale)
    }

    /// Prints with all digits behind the point.
    pub(super) fn print(self) -> String {
        let digits = format!("{:0width$}", self.units.unsigned_abs(), width = self.scale as usize + 1);
        let (whole, fraction) = digits.split_at(digits.len() - self.scale as usize);
        let sign = if self.units < 0 { "-" } else { "" };
        if fraction.is_empty() { format!("{sign}{whole}") } else { format!("{sign}{whole}.{fraction}") }
    }
}

fn divide_rounding(units: i128, by: i128) -> Option<i128> {
    let quotient = units.checked_div(by)?;
    let rest = units.checked_rem(by)?;
    let carry = rest.unsigned_abs() >= by.unsigned_abs() - rest.unsigned_abs();
    if rest == 0 || !carry {
        return Some(quotient);
    }
    quotient.checked_add(if (units < 0) == (by < 0) { 1 } else { -1 })
}

/// Compares two texts as numbers; texts that are none compare as text, behind all numbers.
pub(super) fn compare(left: &str, right: &str) -> Ordering {
    match (shape(left), shape(right)) {
        (Some(left), Some(right)) => compare_shapes(&left, &right),
        (Some(_), None) => Ordering::Less,
        (None, Some(_)) => Ordering::Greater,
        // Exponents come from arithmetic in doubles.
        (None, None) => match (left.parse::<f64>(), right.parse::<f64>()) {
            (Ok(left), Ok(right)) => left.total_cmp(&right),
            _ => left.cmp(right),
        },
    }
}

struct Shape<'a> {
    negative: bool,
    whole: &'a str,
    fraction: &'a str,
}

/// Sign, whole part without leading zeros, fraction without trailing zeros.
fn shape(text: &str) -> Option<Shape<'_>> {
    let text = text.trim();
    let digits = text.trim_start_matches(['-', '+']);
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let is_number = !(whole.is_empty() && fraction.is_empty())
        && whole.bytes().chain(fraction.bytes()).all(|byte| byte.is_ascii_digit());
    let (whole, fraction) = (whole.trim_start_matches('0'), fraction.trim_end_matches('0'));
    let zero = whole.is_empty() && fraction.is_empty();
    is_number.then_some(Shape { negative: text.starts_with('-') && !zero, whole, fraction })
}

fn compare_shapes(left: &Shape<'_>, right: &Shape<'_>) -> Ordering {
    match (left.negative, right.negative) {
        (false, true) => return Ordering::Greater,
        (true, false) => return Ordering::Less,
        _ => {}
    }
    let size = (left.whole.len(), left.whole, left.fraction).cmp(&(right.whole.len(), right.whole, right.fraction));
    if left.negative { size.reverse() } else { size }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comparison_is_numeric() {
        let cases = [
            ("1.0", "1.00", Ordering::Equal),
            ("2", "10", Ordering::Less),
            ("-2", "-10", Ordering::Greater),
            ("-0", "0.00", Ordering::Equal),
            ("0.1", "0.09", Ordering::Greater),
            ("170141183460469231731687303715884105727", "-170141183460469231731687303715884105728", Ordering::Greater),
            ("99999999999999999999.01", "99999999999999999999.02", Ordering::Less),
        ];
        for (left, right, want) in cases {
            assert_eq!(compare(left, right), want, "{left} and {right}");
            assert_eq!(compare(right, left), want.reverse(), "{right} and {left}");
        }
    }

    #[test]
    fn arithmetic_is_exact() {
        let exact = |text: &str| Exact::parse(text).expect(text);
        assert_eq!(exact("0.10").plus(exact("0.205")).expect("fits").print(), "0.305");
        assert_eq!(exact("-0.05").print(), "-0.05");
        assert_eq!(exact("10").divided(4, 6).expect("fits").print(), "2.500000");
        assert_eq!(exact("-1").divided(3, 2).expect("fits").print(), "-0.33");
        assert_eq!(exact("2.345").rounded(2).expect("fits").print(), "2.35");
        assert_eq!(
            exact("-170141183460469231731687303715884105728").print(),
            "-170141183460469231731687303715884105728"
        );
        assert_eq!(Exact::parse("1e5"), None);
        assert_eq!(Exact::parse("999999999999999999999999999999999999999999"), None);
    }
}
