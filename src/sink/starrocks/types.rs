//! Which StarRocks type a source column gets, and which existing ones will do.
//!
//! In: a `ColumnType`, or a type as `DESC` prints it. Out: a [`Target`], or how well one fits. Always: a type that is
//! created or accepted can hold its values without loss, or each value that it cannot hold is found by `value`.
//! StarRocks' own rules: documentation, "Data types" and "Primary Key table" (a key may not be CHAR, DECIMAL, FLOAT,
//! DOUBLE, VARBINARY or JSON).

use std::fmt;

use crate::model::ColumnType;

/// Longest VARCHAR before version 4.2, in bytes.
pub(super) const VARCHAR_MAX: u32 = 1_048_576;
/// Longest encoded primary key in bytes (backend setting `primary_key_limit_size`).
pub(super) const KEY_BYTES_MAX: u32 = 128;
/// Most digits of a DECIMAL before version 4.0, and the default since.
pub(super) const DECIMAL_MAX: u16 = 38;
/// Bytes of a UTF-8 character at most.
const CHAR_BYTES: u32 = 4;

/// A StarRocks column type. Prints as DDL writes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Target {
    Boolean,
    /// Signed, of that many bytes: 1, 2, 4, 8 or 16.
    Int(u8),
    Float,
    Double,
    Decimal {
        precision: u16,
        scale: u16,
    },
    /// Bound in bytes.
    Varchar(u32),
    /// Bound in bytes.
    Char(u32),
    Date,
    Datetime,
    Json,
    Other(String),
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Target::Boolean => f.write_str("BOOLEAN"),
            Target::Int(1) => f.write_str("TINYINT"),
            Target::Int(2) => f.write_str("SMALLINT"),
            Target::Int(4) => f.write_str("INT"),
            Target::Int(8) => f.write_str("BIGINT"),
            Target::Int(_) => f.write_str("LARGEINT"),
            Target::Float => f.write_str("FLOAT"),
            Target::Double => f.write_str("DOUBLE"),
            Target::Decimal { precision, scale } => write!(f, "DECIMAL({precision},{scale})"),
            Target::Varchar(bytes) => write!(f, "VARCHAR({bytes})"),
            Target::Char(bytes) => write!(f, "CHAR({bytes})"),
            Target::Date => f.write_str("DATE"),
            Target::Datetime => f.write_str("DATETIME"),
            Target::Json => f.write_str("JSON"),
            Target::Other(text) => f.write_str(text),
        }
    }
}

impl Target {
    /// Reads a type as `DESC` prints it: `bigint`, `bigint(20)`, `varchar(100)`, `decimal(32,2)`, `DECIMAL64(10, 2)`.
    pub(super) fn read(text: &str) -> Target {
        let lower = text.trim().to_ascii_lowercase();
        let (name, arguments) = lower.split_once('(').map_or((lower.as_str(), ""), |(name, rest)| (name.trim(), rest));
        let mut numbers = arguments.trim_end_matches(')').split(',').map(|number| number.trim().parse::<u32>().ok());
        let mut number = || numbers.next().flatten();
        let read = match name {
            "boolean" | "bool" => Some(Target::Boolean),
            // The server writes BOOLEAN so where it speaks MySQL's dialect; its own TINYINT has no 1.
            "tinyint" if arguments.starts_with('1') => Some(Target::Boolean),
            "tinyint" => Some(Target::Int(1)),
            "smallint" => Some(Target::Int(2)),
            "int" | "integer" => Some(Target::Int(4)),
            "bigint" => Some(Target::Int(8)),
            "largeint" => Some(Target::Int(16)),
            "float" => Some(Target::Float),
            "double" => Some(Target::Double),
            "decimal" | "decimal32" | "decimal64" | "decimal128" | "decimal256" | "decimalv2" => {
                let digits = (number().unwrap_or(10), number().unwrap_or(0));
                match (u16::try_from(digits.0), u16::try_from(digits.1)) {
                    (Ok(precision), Ok(scale)) if scale <= precision => Some(Target::Decimal { precision, scale }),
                    _ => None,
                }
            }
            "varchar" => Some(Target::Varchar(number().unwrap_or(1))),
            "string" | "text" => Some(Target::Varchar(65_533)),
            "char" => Some(Target::Char(number().unwrap_or(1))),
            "date" => Some(Target::Date),
            "datetime" => Some(Target::Datetime),
            "json" => Some(Target::Json),
            _ => None,
        };
        read.unwrap_or_else(|| Target::Other(text.trim().to_owned()))
    }

    /// Whether a primary key may have this type.
    fn may_be_key(&self) -> bool {
        matches!(self, Target::Boolean | Target::Int(_) | Target::Varchar(_) | Target::Date | Target::Datetime)
    }
}

/// The widest text of a type, in bytes, where there is a bound (PostgreSQL documentation, chapter 8).
fn text_width(ty: &ColumnType) -> Option<u32> {
    match ty {
        ColumnType::Bool => Some(1),
        ColumnType::Int16 => Some(6),
        ColumnType::Int32 => Some(11),
        ColumnType::Int64 => Some(20),
        ColumnType::Float32 => Some(16),
        ColumnType::Float64 => Some(24),
        // Sign, point and the leading zero of a pure fraction.
        ColumnType::Numeric { digits: Some((precision, scale)) } => {
            let written = i32::from(*precision).max(i32::from(*scale)) + i32::from((*scale).min(0).abs());
            Some(written.unsigned_abs() + 3)
        }
        ColumnType::Varchar { chars: Some(chars) } | ColumnType::Char { chars } => {
            Some(chars.saturating_mul(CHAR_BYTES).min(VARCHAR_MAX))
        }
        // `5874897-12-31` and ` BC`; `294276-12-31 23:59:59.999999` and ` BC`; `+00`.
        ColumnType::Date => Some(16),
        ColumnType::Timestamp => Some(31),
        ColumnType::TimestampTz => Some(34),
        ColumnType::Uuid => Some(36),
        ColumnType::UInt32 => Some(10),
        ColumnType::UInt64 => Some(20),
        ColumnType::Money => Some(27),
        ColumnType::Name | ColumnType::Enum => Some(63),
        ColumnType::Byte => Some(4),
        ColumnType::Time => Some(15),
        ColumnType::TimeTz => Some(24),
        ColumnType::Interval => Some(128),
        ColumnType::Bit { digits } | ColumnType::VarBit { digits: Some(digits) } => Some((*digits).min(VARCHAR_MAX)),
        ColumnType::Inet => Some(50),
        ColumnType::MacAddr => Some(17),
        ColumnType::MacAddr8 => Some(23),
        ColumnType::LogPosition => Some(17),
        ColumnType::Numeric { digits: None }
        | ColumnType::Text
        | ColumnType::TextIgnoringCase
        | ColumnType::VarBit { digits: None }
        | ColumnType::Xml
        | ColumnType::Array { .. }
        | ColumnType::Composite
        | ColumnType::Range
        | ColumnType::Multirange
        | ColumnType::Hstore
        | ColumnType::Vector
        | ColumnType::Geometry
        | ColumnType::Varchar { chars: None }
        | ColumnType::Json
        | ColumnType::Jsonb
        | ColumnType::Bytea
        | ColumnType::Other(_) => None,
    }
}

/// Digits before and after the point that a numeric column can show; `None` if any number.
fn decimal_digits(ty: &ColumnType) -> Option<(u16, u16)> {
    match ty {
        ColumnType::Int16 => Some((5, 0)),
        ColumnType::Int32 => Some((10, 0)),
        ColumnType::Int64 => Some((19, 0)),
        // A negative scale rounds to tens, hundreds, …; a scale beyond the precision begins with zeros.
        ColumnType::Numeric { digits: Some((precision, scale)) } => {
            let fraction = u16::try_from(*scale).unwrap_or(0);
            let whole = i32::from(*precision) - i32::from(*scale);
            Some((u16::try_from(whole).unwrap_or(0), fraction))
        }
        _ => None,
    }
}

/// The type a created table gives a column. This is the table of types.
pub(super) fn created(ty: &ColumnType, key: bool) -> Target {
    let text = |ty: &ColumnType| Target::Varchar(text_width(ty).unwrap_or(VARCHAR_MAX));
    match ty {
        ColumnType::Bool => Target::Boolean,
        ColumnType::Int16 => Target::Int(2),
        ColumnType::Int32 => Target::Int(4),
        ColumnType::Int64 => Target::Int(8),
        ColumnType::Date => Target::Date,
        ColumnType::Timestamp | ColumnType::TimestampTz => Target::Datetime,
        _ if key => Target::Varchar(text_width(ty).unwrap_or(KEY_BYTES_MAX).min(KEY_BYTES_MAX)),
        ColumnType::Float32 => Target::Float,
        ColumnType::Float64 => Target::Double,
        ColumnType::Numeric { .. } => match decimal_digits(ty) {
            Some((whole, fraction)) if (1..=DECIMAL_MAX).contains(&(whole + fraction)) => {
                Target::Decimal { precision: whole + fraction, scale: fraction }
            }
            _ => text(ty),
        },
        ColumnType::Json | ColumnType::Jsonb => Target::Json,
        _ => text(ty),
    }
}

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

/// How `target` fits `ty`.
pub(super) fn fit(ty: &ColumnType, key: bool, target: &Target) -> Fit {
    let fits = |yes: bool| if yes { Fit::Fits } else { Fit::Narrow };
    if key && !target.may_be_key() {
        return Fit::Wrong;
    }
    match (ty, target) {
        (ColumnType::Bool, Target::Boolean) => Fit::Fits,
        (ColumnType::Int16, Target::Int(bytes)) => fits(*bytes >= 2),
        (ColumnType::Int32, Target::Int(bytes)) => fits(*bytes >= 4),
        (ColumnType::Int64, Target::Int(bytes)) => fits(*bytes >= 8),
        (ColumnType::Numeric { .. }, Target::Int(bytes)) => match decimal_digits(ty) {
            Some((whole, 0)) => fits(whole <= [2, 4, 9, 18, 38][bytes.ilog2() as usize]),
            _ => Fit::Wrong,
        },
        (ColumnType::Int16 | ColumnType::Int32, Target::Double) => Fit::Fits,
        (ColumnType::Float32, Target::Float | Target::Double) => Fit::Fits,
        (ColumnType::Float64, Target::Double) => Fit::Fits,
        (ColumnType::Float64, Target::Float) => Fit::Narrow,
        (
            ColumnType::Int16 | ColumnType::Int32 | ColumnType::Int64 | ColumnType::Numeric { .. },
            Target::Decimal { precision, scale },
        ) => decimal_digits(ty)
            .map_or(Fit::Fits, |(whole, fraction)| fits(precision - scale >= whole && *scale >= fraction)),
        (ColumnType::Date, Target::Date) => Fit::Fits,
        (ColumnType::Timestamp | ColumnType::TimestampTz, Target::Datetime) => Fit::Fits,
        (ColumnType::Json | ColumnType::Jsonb, Target::Json) => Fit::Fits,
        (ColumnType::Bool, _) => Fit::Wrong,
        (_, Target::Varchar(bytes) | Target::Char(bytes)) => {
            let bound = if key { KEY_BYTES_MAX } else { u32::MAX };
            text_width(ty).map_or(Fit::Fits, |width| fits(*bytes >= width.min(bound)))
        }
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
    fn created_types() {
        let cases = [
            (ColumnType::Bool, "BOOLEAN", "BOOLEAN"),
            (ColumnType::Int16, "SMALLINT", "SMALLINT"),
            (ColumnType::Int32, "INT", "INT"),
            (ColumnType::Int64, "BIGINT", "BIGINT"),
            (ColumnType::Float32, "FLOAT", "VARCHAR(16)"),
            (ColumnType::Float64, "DOUBLE", "VARCHAR(24)"),
            (numeric(10, 2), "DECIMAL(10,2)", "VARCHAR(13)"),
            (numeric(38, 38), "DECIMAL(38,38)", "VARCHAR(41)"),
            (numeric(39, 2), "VARCHAR(42)", "VARCHAR(42)"),
            (numeric(3, 5), "DECIMAL(5,5)", "VARCHAR(8)"),
            (numeric(3, -2), "DECIMAL(5,0)", "VARCHAR(8)"),
            (numeric(1000, -1000), "VARCHAR(2003)", "VARCHAR(128)"),
            (ColumnType::Numeric { digits: None }, "VARCHAR(1048576)", "VARCHAR(128)"),
            (ColumnType::Text, "VARCHAR(1048576)", "VARCHAR(128)"),
            (ColumnType::Varchar { chars: Some(10) }, "VARCHAR(40)", "VARCHAR(40)"),
            (ColumnType::Varchar { chars: Some(10_485_760) }, "VARCHAR(1048576)", "VARCHAR(128)"),
            (ColumnType::Varchar { chars: None }, "VARCHAR(1048576)", "VARCHAR(128)"),
            (ColumnType::Char { chars: 3 }, "VARCHAR(12)", "VARCHAR(12)"),
            (ColumnType::Date, "DATE", "DATE"),
            (ColumnType::Timestamp, "DATETIME", "DATETIME"),
            (ColumnType::TimestampTz, "DATETIME", "DATETIME"),
            (ColumnType::Uuid, "VARCHAR(36)", "VARCHAR(36)"),
            (ColumnType::Json, "JSON", "VARCHAR(128)"),
            (ColumnType::Jsonb, "JSON", "VARCHAR(128)"),
            (ColumnType::Bytea, "VARCHAR(1048576)", "VARCHAR(128)"),
            (ColumnType::Other("inet".into()), "VARCHAR(1048576)", "VARCHAR(128)"),
        ];
        for (ty, value, key) in cases {
            assert_eq!(created(&ty, false).to_string(), value, "{ty:?}");
            assert_eq!(created(&ty, true).to_string(), key, "{ty:?} as key");
            for as_key in [false, true] {
                let made = created(&ty, as_key);
                assert_eq!(fit(&ty, as_key, &made), Fit::Fits, "{ty:?} must fit what is created for it");
                assert_eq!(Target::read(&made.to_string()), made, "what is created is read back");
            }
        }
    }

    #[test]
    fn existing_types() {
        use Fit::{Fits, Narrow, Wrong};
        let varchar = |chars| ColumnType::Varchar { chars: Some(chars) };
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
            (ColumnType::Bool, false, "tinyint(1)", Fits),
            (ColumnType::Bool, false, "tinyint(4)", Wrong),
            (ColumnType::Bool, false, "varchar(10)", Wrong),
            (ColumnType::Float64, false, "float", Narrow),
            (numeric(10, 2), false, "DECIMAL64(10, 2)", Fits),
            (numeric(10, 2), false, "decimal(12,4)", Fits),
            (numeric(10, 2), false, "decimal(10,4)", Narrow),
            (numeric(18, 0), false, "bigint", Fits),
            (numeric(19, 0), false, "bigint", Narrow),
            (numeric(18, 1), false, "bigint", Wrong),
            (ColumnType::Numeric { digits: None }, false, "decimal(38,9)", Fits),
            (ColumnType::Numeric { digits: None }, false, "bigint", Wrong),
            (ColumnType::Text, false, "varchar(10)", Fits),
            (ColumnType::Text, false, "string", Fits),
            (ColumnType::Text, false, "json", Wrong),
            (ColumnType::Text, true, "char(10)", Wrong),
            (varchar(10), false, "varchar(40)", Fits),
            (varchar(10), false, "varchar(30)", Narrow),
            (varchar(100), true, "varchar(128)", Fits),
            (ColumnType::Uuid, false, "char(36)", Fits),
            (ColumnType::Uuid, true, "varchar(35)", Narrow),
            (ColumnType::TimestampTz, false, "datetime", Fits),
            (ColumnType::Date, false, "datetime", Wrong),
            (ColumnType::Jsonb, false, "varchar(65533)", Fits),
            (ColumnType::Bytea, false, "varbinary", Wrong),
            (ColumnType::Text, false, "array<varchar(10)>", Wrong),
        ];
        for (ty, key, described, want) in cases {
            assert_eq!(fit(&ty, key, &Target::read(described)), want, "{ty:?} into {described}, key: {key}");
        }
    }
}
