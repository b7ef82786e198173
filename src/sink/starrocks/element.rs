//! One element of an array within a JSON document.
//!
//! In: the kind of the elements, and an element's text. Out: JSON that holds the same value: numbers that a JSON column
//! keeps exactly as numbers, documents as documents, all else as strings.

use super::value::{self, Unfit};
use super::{escape, hstore, number};
use crate::model::ColumnType;

/// Digits of a decimal that a double keeps whatever they are (`DBL_DIG`).
const DOUBLE_DIGITS: usize = 15;

/// How elements are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Element {
    Bool,
    /// A whole number of at most 64 bits.
    Whole,
    /// A floating-point number.
    Float,
    /// Any number.
    Numeric,
    Document,
    Hstore,
    Text,
}

impl Element {
    /// How elements of that kind are written.
    pub(super) fn new(ty: &ColumnType) -> Element {
        match ty {
            ColumnType::Bool => Element::Bool,
            ColumnType::Int16 | ColumnType::Int32 | ColumnType::Int64 | ColumnType::UInt32 | ColumnType::UInt64 => {
                Element::Whole
            }
            ColumnType::Float32 | ColumnType::Float64 => Element::Float,
            ColumnType::Numeric { .. } => Element::Numeric,
            ColumnType::Json | ColumnType::Jsonb => Element::Document,
            ColumnType::Hstore => Element::Hstore,
            _ => Element::Text,
        }
    }

    /// Appends an element.
    ///
    /// # Errors
    /// Why a document cannot hold it.
    pub(super) fn write(self, text: &[u8], out: &mut Vec<u8>) -> Result<(), Unfit> {
        let written = match (self, text) {
            (Element::Document, _) => return value::checked_document(text, out),
            (Element::Hstore, _) => return hstore::write(text, out),
            (Element::Bool, b"t") => &b"true"[..],
            (Element::Bool, b"f") => b"false",
            (Element::Bool, _) => return Err(Unfit::Malformed),
            // Without a point it is the integer 0, which has no sign.
            (Element::Float, b"-0") => b"-0.0",
            (Element::Float, _) if number::is_json(text) => text,
            (Element::Whole, _) if is_whole(text) => text,
            (Element::Numeric, _) if is_exact(text) => text,
            (Element::Whole | Element::Float | Element::Numeric | Element::Text, _) => {
                return if escape::string(text, out).nul { Err(Unfit::Nul) } else { Ok(()) };
            }
        };
        out.extend_from_slice(written);
        Ok(())
    }
}

/// Whether the text is a whole number that 64 bits hold, with or without sign.
fn is_whole(text: &[u8]) -> bool {
    number::is_json(text)
        && number::whole(text).is_some_and(|number| i64::try_from(number).is_ok() || u64::try_from(number).is_ok())
}

/// Whether a JSON column keeps the number as it is: whole numbers of 64 bits, and what a double keeps.
fn is_exact(text: &[u8]) -> bool {
    is_whole(text)
        || number::is_json(text)
            && number::decimal(text).is_some_and(|digits| digits.whole.len() + digits.fraction.len() <= DOUBLE_DIGITS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_stay_numbers_only_where_they_stay_the_same() {
        let cases = [
            (Element::Bool, "t", "true"),
            (Element::Bool, "f", "false"),
            (Element::Whole, "-9223372036854775808", "-9223372036854775808"),
            (Element::Whole, "18446744073709551615", "18446744073709551615"),
            (Element::Float, "0.1", "0.1"),
            (Element::Float, "1e+300", "1e+300"),
            (Element::Float, "-0", "-0.0"),
            (Element::Float, "NaN", "\"NaN\""),
            (Element::Float, "-Infinity", "\"-Infinity\""),
            (Element::Numeric, "10", "10"),
            (Element::Numeric, "-1.50", "-1.50"),
            (Element::Numeric, "0.00001", "0.00001"),
            (Element::Numeric, "123456789.012345", "123456789.012345"),
            (Element::Numeric, "1234567890.012345", "\"1234567890.012345\""),
            (Element::Numeric, "18446744073709551615", "18446744073709551615"),
            (Element::Numeric, "18446744073709551616", "\"18446744073709551616\""),
            (Element::Numeric, "NaN", "\"NaN\""),
            (Element::Numeric, "Infinity", "\"Infinity\""),
            (Element::Document, "{\"a\": [1]}", "{\"a\": [1]}"),
            (Element::Document, "\"x\"", "\"x\""),
            (Element::Hstore, "\"a\"=>NULL", "{\"a\":null}"),
            (Element::Text, "12", "\"12\""),
            (Element::Text, "a\"b", "\"a\\\"b\""),
        ];
        for (element, text, want) in cases {
            let mut out = Vec::new();
            element.write(text.as_bytes(), &mut out).unwrap();
            assert_eq!(String::from_utf8(out).unwrap(), want, "{element:?} {text}");
        }
        assert_eq!(Element::Bool.write(b"true", &mut Vec::new()), Err(Unfit::Malformed));
        assert_eq!(Element::Document.write(b"\"\\u0000\"", &mut Vec::new()), Err(Unfit::BadEscape));
    }
}
