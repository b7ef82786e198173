//! Whether a column that exists can take a source column's values: equal or wider is fine.
//!
//! In: a `ColumnType` and the target column's type. Out: a [`Fit`]. Always: it does not depend on what would be
//! created, so that a table made by hand may choose any type that holds the values. Not here: single values of a
//! source type without a bound, each of which `value` checks.

use super::options::TypeRules;
use super::target::Target;
use super::types::{KEY_BYTES_MAX, Mapping, mapping};
use crate::model::ColumnType;

/// How an existing column fits a source column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fit {
    /// It holds every value, or the source has no bound and each value is checked.
    Fits,
    /// The right kind, but values within the source's bound would not fit.
    Narrow,
    /// Another kind.
    Wrong,
}

fn fits(yes: bool) -> Fit {
    if yes { Fit::Fits } else { Fit::Narrow }
}

/// How `target` fits `ty`.
pub(super) fn fit(ty: &ColumnType, key: bool, target: &Target) -> Fit {
    if key && !target.may_be_key() {
        return Fit::Wrong;
    }
    // Widths and digits are the same under all rules.
    let row = mapping(ty, &TypeRules::default());
    match target {
        Target::Varchar(bytes) | Target::Char(bytes) => text(ty, &row, key, *bytes),
        Target::Int(bytes) => int(ty, &row, *bytes),
        Target::Decimal { precision, scale } => decimal(ty, &row, *precision, *scale),
        Target::Array(element) => array(ty, element),
        Target::Boolean => kind(matches!(ty, ColumnType::Bool | ColumnType::Bit { digits: 1 })),
        Target::Date => kind(matches!(ty, ColumnType::Date)),
        Target::Datetime => kind(matches!(ty, ColumnType::Timestamp | ColumnType::TimestampTz)),
        Target::Varbinary(_) => kind(matches!(ty, ColumnType::Bytea)),
        Target::Json => kind(matches!(
            ty,
            ColumnType::Json | ColumnType::Jsonb | ColumnType::Array { .. } | ColumnType::Hstore | ColumnType::Vector
        )),
        Target::Double => kind(matches!(
            ty,
            ColumnType::Int16 | ColumnType::Int32 | ColumnType::UInt32 | ColumnType::Float32 | ColumnType::Float64
        )),
        Target::Float => match ty {
            ColumnType::Float32 => Fit::Fits,
            ColumnType::Float64 => Fit::Narrow,
            _ => Fit::Wrong,
        },
        Target::Other(_) => Fit::Wrong,
    }
}

fn kind(yes: bool) -> Fit {
    if yes { Fit::Fits } else { Fit::Wrong }
}

/// Every kind has a text, but that of a truth value would not be read as one.
fn text(ty: &ColumnType, row: &Mapping, key: bool, bytes: u32) -> Fit {
    let bound = if key { KEY_BYTES_MAX } else { u32::MAX };
    match ty {
        ColumnType::Bool => Fit::Wrong,
        _ => row.text.map_or(Fit::Fits, |width| fits(bytes >= width.min(bound))),
    }
}

fn int(ty: &ColumnType, row: &Mapping, bytes: u8) -> Fit {
    match (ty, &row.value, row.digits) {
        (_, Target::Int(need), _) => fits(bytes >= *need),
        // So many digits fit whatever they are.
        (ColumnType::Numeric { .. }, _, Some((whole, 0))) => fits(whole <= [2, 4, 9, 18, 38][bytes.ilog2() as usize]),
        _ => Fit::Wrong,
    }
}

fn decimal(ty: &ColumnType, row: &Mapping, precision: u16, scale: u16) -> Fit {
    match (ty, row.digits) {
        (_, Some((whole, fraction))) => fits(precision.saturating_sub(scale) >= whole && scale >= fraction),
        (ColumnType::Numeric { .. }, None) => Fit::Fits,
        _ => Fit::Wrong,
    }
}

/// Elements must be of types that need no array, document or expression themselves.
fn array(ty: &ColumnType, element: &Target) -> Fit {
    match (ty, element) {
        (_, Target::Array(_) | Target::Json | Target::Varbinary(_) | Target::Other(_)) => Fit::Wrong,
        (ColumnType::Array { element: source, .. }, element) => fit(source, false, element),
        (ColumnType::Vector, Target::Float | Target::Double) => Fit::Fits,
        _ => Fit::Wrong,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn numeric(precision: u16, scale: i16) -> ColumnType {
        ColumnType::Numeric { digits: Some((precision, scale)) }
    }

    #[test]
    fn existing_types() {
        use Fit::{Fits, Narrow, Wrong};
        let varchar = |chars| ColumnType::Varchar { chars: Some(chars) };
        let array = |element| ColumnType::Array { element: Box::new(element), delimiter: b',' };
        let cases = [
            (ColumnType::Int32, false, "bigint(20)", Fits),
            (ColumnType::Int32, false, "smallint(6)", Narrow),
            (ColumnType::Int32, true, "largeint(40)", Fits),
            (ColumnType::Int32, false, "decimal(10,0)", Fits),
            (ColumnType::Int32, false, "decimal(10,2)", Narrow),
            (ColumnType::Int32, true, "decimal(10,0)", Wrong),
            (ColumnType::Int32, false, "double", Fits),
            (ColumnType::Int64, false, "double", Wrong),
            (ColumnType::Int64, false, "varchar(20)", Fits),
            (ColumnType::Int64, false, "varchar(19)", Narrow),
            (ColumnType::Int64, false, "date", Wrong),
            (ColumnType::UInt32, false, "int(11)", Narrow),
            (ColumnType::UInt32, false, "largeint", Fits),
            (ColumnType::UInt64, false, "bigint", Narrow),
            (ColumnType::UInt64, false, "decimal(20,0)", Fits),
            (ColumnType::Bool, false, "tinyint(1)", Fits),
            (ColumnType::Bool, false, "tinyint(4)", Wrong),
            (ColumnType::Bool, false, "varchar(10)", Wrong),
            (ColumnType::Bit { digits: 1 }, false, "boolean", Fits),
            (ColumnType::Bit { digits: 2 }, false, "boolean", Wrong),
            (ColumnType::Bit { digits: 2 }, false, "varchar(1)", Narrow),
            (ColumnType::Float64, false, "float", Narrow),
            (numeric(10, 2), false, "DECIMAL64(10, 2)", Fits),
            (numeric(10, 2), false, "decimal(12,4)", Fits),
            (numeric(10, 2), false, "decimal(10,4)", Narrow),
            (numeric(18, 0), false, "bigint", Fits),
            (numeric(18, 0), true, "bigint", Fits),
            (numeric(19, 0), false, "bigint", Narrow),
            (numeric(18, 1), false, "bigint", Wrong),
            (ColumnType::Numeric { digits: None }, false, "decimal(38,9)", Fits),
            (ColumnType::Numeric { digits: None }, false, "bigint", Wrong),
            (ColumnType::Money, false, "decimal(38,4)", Fits),
            (ColumnType::Money, false, "decimal(18,2)", Narrow),
            (ColumnType::Money, false, "bigint", Wrong),
            (ColumnType::Text, false, "varchar(10)", Fits),
            (ColumnType::Text, false, "string", Fits),
            (ColumnType::Text, false, "json", Wrong),
            (ColumnType::Text, true, "char(10)", Wrong),
            (varchar(10), false, "varchar(40)", Fits),
            (varchar(10), false, "varchar(30)", Narrow),
            (varchar(100), true, "varchar(128)", Fits),
            (ColumnType::Enum, false, "varchar(40)", Narrow),
            (ColumnType::Uuid, false, "char(36)", Fits),
            (ColumnType::Uuid, true, "varchar(35)", Narrow),
            (ColumnType::TimestampTz, false, "datetime", Fits),
            (ColumnType::Date, false, "datetime", Wrong),
            (ColumnType::Interval, false, "bigint", Wrong),
            (ColumnType::Jsonb, false, "varchar(65533)", Fits),
            (ColumnType::Bytea, false, "varbinary", Fits),
            (ColumnType::Text, false, "varbinary", Wrong),
            (ColumnType::Hstore, false, "json", Fits),
            (ColumnType::Range, false, "json", Wrong),
            (ColumnType::Vector, false, "json", Fits),
            (ColumnType::Vector, false, "array<float>", Fits),
            (ColumnType::Vector, false, "array<int>", Wrong),
            (array(ColumnType::Int32), false, "json", Fits),
            (array(ColumnType::Int32), false, "string", Fits),
            (array(ColumnType::Int32), false, "array<int(11)>", Fits),
            (array(ColumnType::Int32), false, "array<bigint>", Fits),
            (array(ColumnType::Int32), false, "array<smallint>", Narrow),
            (array(ColumnType::Int32), false, "array<array<int>>", Wrong),
            (array(ColumnType::Jsonb), false, "array<json>", Wrong),
            (array(varchar(10)), false, "array<varchar(30)>", Narrow),
            (ColumnType::Text, false, "array<varchar(10)>", Wrong),
        ];
        for (ty, key, described, want) in cases {
            assert_eq!(fit(&ty, key, &Target::read(described)), want, "{ty:?} into {described}, key: {key}");
        }
    }
}
