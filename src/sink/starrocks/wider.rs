//! Which type a target column can be changed to so that it holds a value it cannot hold now.
//!
//! Always: StarRocks makes the change in place (`SchemaChangeTypeCompatibility.java`), and the source's column may be
//! loaded into the new type. Dates and times have none: their columns become no text.

use super::number;
use super::target::{Target, VARCHAR_MAX};
use super::types::{DECIMAL_MAX, KEY_BYTES_MAX};
use super::value::{Unfit, Writer};

/// The type; `None` if there is none.
pub(super) fn wider(writer: Writer, key: bool, unfit: Unfit, text: &[u8]) -> Option<Target> {
    let longest = if key { KEY_BYTES_MAX } else { VARCHAR_MAX };
    match (unfit, writer) {
        (Unfit::TooLong { bytes, .. }, Writer::Text(now)) => {
            (now < longest && bytes <= longest as usize).then_some(Target::Varchar(longest))
        }
        // A key column changes only to a longer VARCHAR.
        _ if key => None,
        (Unfit::OutOfRange, Writer::Int(bits)) => integer(bits, text),
        (Unfit::OutOfRange | Unfit::TooManyFractionDigits, Writer::Decimal { whole, fraction }) => {
            Some(decimal(whole, fraction, text))
        }
        (Unfit::NotANumber | Unfit::Infinite, Writer::Decimal { .. } | Writer::Int(_))
        | (Unfit::JsonNumber | Unfit::BadEscape | Unfit::TooDeep | Unfit::ArrayBounds, Writer::Json) => {
            Some(Target::Varchar(VARCHAR_MAX))
        }
        _ => None,
    }
}

/// The smallest integer type that holds the number and is larger than now.
fn integer(bits: u32, text: &[u8]) -> Option<Target> {
    let number = number::whole(text)?;
    let holds = |bytes: u8| {
        let limit = i128::MAX >> (128 - u32::from(bytes) * 8);
        (-limit - 1..=limit).contains(&number)
    };
    [2, 4, 8, 16].into_iter().find(|bytes| u32::from(*bytes) * 8 > bits && holds(*bytes)).map(Target::Int)
}

/// A decimal with room for both the number and what the column holds now, else text.
fn decimal(whole: u16, fraction: u16, text: &[u8]) -> Target {
    let digits = number::decimal(text).map_or((0, 0), |digits| (digits.whole.len(), digits.fraction.len()));
    let (whole, fraction) = (digits.0.max(whole.into()), digits.1.max(fraction.into()));
    match (u16::try_from(whole + fraction), u16::try_from(fraction)) {
        (Ok(precision), Ok(scale)) if precision <= DECIMAL_MAX => Target::Decimal { precision, scale },
        _ => Target::Varchar(VARCHAR_MAX),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_that_hold_the_value() {
        let money = Writer::Decimal { whole: 3, fraction: 2 };
        let too_long = |bytes| Unfit::TooLong { bytes, max: 10 };
        let digits = "9".repeat(40);
        let cases = [
            (Writer::Text(10), false, too_long(11), "", Some("VARCHAR(1048576)")),
            (Writer::Text(10), false, too_long(1_048_577), "", None),
            (Writer::Text(VARCHAR_MAX), false, too_long(1_048_577), "", None),
            (Writer::Text(10), true, too_long(11), "", Some("VARCHAR(128)")),
            (Writer::Text(10), true, too_long(129), "", None),
            (Writer::Int(16), false, Unfit::OutOfRange, "32768", Some("INT")),
            (Writer::Int(16), false, Unfit::OutOfRange, "-9223372036854775808", Some("BIGINT")),
            (Writer::Int(64), false, Unfit::OutOfRange, "9223372036854775808", Some("LARGEINT")),
            (Writer::Int(64), false, Unfit::OutOfRange, &digits, None),
            (Writer::Int(64), true, Unfit::OutOfRange, "9223372036854775808", None),
            (money, false, Unfit::OutOfRange, "1000", Some("DECIMAL(6,2)")),
            (money, false, Unfit::TooManyFractionDigits, "-0.00012", Some("DECIMAL(8,5)")),
            (money, false, Unfit::OutOfRange, &digits, Some("VARCHAR(1048576)")),
            (money, false, Unfit::NotANumber, "NaN", Some("VARCHAR(1048576)")),
            (Writer::Json, false, Unfit::JsonNumber, "1e400", Some("VARCHAR(1048576)")),
            (Writer::Json, false, Unfit::NotUtf8, "", None),
            (Writer::Date, false, Unfit::DateInfinite, "infinity", None),
            (Writer::Datetime, false, Unfit::DateOutOfRange, "", None),
        ];
        for (writer, key, unfit, text, want) in cases {
            let got = wider(writer, key, unfit, text.as_bytes()).map(|target| target.to_string());
            assert_eq!(got.as_deref(), want, "{writer:?} {unfit:?} {text:?} key: {key}");
        }
    }
}
