//! StarRocks' column types: how DDL writes them and how `DESC` prints them.

use std::fmt;

/// Longest VARCHAR before version 4.2, in bytes.
pub(super) const VARCHAR_MAX: u32 = 1_048_576;
/// Longest VARBINARY, in bytes.
pub(super) const VARBINARY_MAX: u32 = 1_048_576;

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
    /// Bound in bytes.
    Varbinary(u32),
    Date,
    Datetime,
    Json,
    Array(Box<Target>),
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
            Target::Varbinary(bytes) => write!(f, "VARBINARY({bytes})"),
            Target::Array(element) => write!(f, "ARRAY<{element}>"),
            Target::Other(text) => f.write_str(text),
        }
    }
}

impl Target {
    /// Reads a type as `DESC` prints it: `bigint`, `bigint(20)`, `varchar(100)`, `decimal(32,2)`, `DECIMAL64(10, 2)`,
    /// `array<int(11)>`.
    pub(super) fn read(text: &str) -> Target {
        let lower = text.trim().to_ascii_lowercase();
        if let Some(element) = lower.strip_prefix("array<").and_then(|rest| rest.strip_suffix('>')) {
            return Target::Array(Box::new(Target::read(element)));
        }
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
            // Without a length it has the longest one.
            "varbinary" => Some(Target::Varbinary(number().unwrap_or(VARBINARY_MAX))),
            "char" => Some(Target::Char(number().unwrap_or(1))),
            "date" => Some(Target::Date),
            "datetime" => Some(Target::Datetime),
            "json" => Some(Target::Json),
            _ => None,
        };
        read.unwrap_or_else(|| Target::Other(text.trim().to_owned()))
    }

    /// Whether StarRocks changes a column of this type to the other in place (`SchemaChangeTypeCompatibility.java`); of
    /// a key column only VARCHAR, and only to a longer one.
    pub(super) fn can_become(&self, other: &Target, key: bool) -> bool {
        match (self, other) {
            (Target::Varchar(from), Target::Varchar(to)) => to > from,
            _ if key => false,
            (Target::Char(from), Target::Char(to)) => to > from,
            (Target::Char(from), Target::Varchar(to)) => to >= from,
            (Target::Int(from), Target::Int(to)) => to > from,
            (Target::Int(bytes), Target::Double) => *bytes <= 8,
            (Target::Int(bytes), Target::Date) => *bytes == 4,
            (Target::Float, Target::Double) => true,
            (
                Target::Int(_) | Target::Float | Target::Double | Target::Json | Target::Decimal { .. },
                Target::Varchar(_),
            ) => true,
            (
                Target::Varchar(_),
                Target::Json | Target::Int(_) | Target::Float | Target::Double | Target::Date | Target::Decimal { .. },
            ) => true,
            (Target::Decimal { precision: p1, scale: s1 }, Target::Decimal { precision: p2, scale: s2 }) => {
                s2 >= s1 && p2 - s2 >= p1 - s1
            }
            (Target::Date, Target::Datetime) | (Target::Datetime, Target::Date) => true,
            _ => false,
        }
    }

    /// Whether a primary key may have this type.
    pub(super) fn may_be_key(&self) -> bool {
        matches!(self, Target::Boolean | Target::Int(_) | Target::Varchar(_) | Target::Date | Target::Datetime)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_are_read_as_the_server_prints_them() {
        let cases = [
            ("bigint(20)", "BIGINT"),
            ("tinyint(1)", "BOOLEAN"),
            ("tinyint(4)", "TINYINT"),
            ("largeint(40)", "LARGEINT"),
            ("DECIMAL64(10, 2)", "DECIMAL(10,2)"),
            ("decimal(2,5)", "decimal(2,5)"),
            ("varchar(100)", "VARCHAR(100)"),
            ("string", "VARCHAR(65533)"),
            ("varbinary", "VARBINARY(1048576)"),
            ("varbinary(10)", "VARBINARY(10)"),
            ("array<int(11)>", "ARRAY<INT>"),
            ("ARRAY<decimal(10, 2)>", "ARRAY<DECIMAL(10,2)>"),
            ("array<array<varchar(10)>>", "ARRAY<ARRAY<VARCHAR(10)>>"),
            ("map<int,int>", "map<int,int>"),
            ("bitmap", "bitmap"),
        ];
        for (text, want) in cases {
            assert_eq!(Target::read(text).to_string(), want, "{text}");
        }
    }

    #[test]
    fn changes_that_the_server_makes_in_place() {
        let cases = [
            ("varchar(10)", "varchar(11)", true, true),
            ("varchar(10)", "varchar(9)", false, false),
            ("int", "bigint", true, false),
            ("bigint", "int", false, false),
            ("int", "double", true, false),
            ("largeint", "double", false, false),
            ("int", "varchar(11)", true, false),
            ("date", "int", false, false),
            ("date", "datetime", true, false),
            ("datetime", "varchar(30)", false, false),
            ("boolean", "int", false, false),
            ("decimal(10,2)", "decimal(12,4)", true, false),
            ("decimal(10,2)", "decimal(12,5)", false, false),
            ("int", "decimal(10,0)", false, false),
            ("varchar(10)", "json", true, false),
            ("json", "varchar(10)", true, false),
            ("varbinary", "varchar(10)", false, false),
            ("json", "array<int>", false, false),
        ];
        for (from, to, value, key) in cases {
            let (from, to) = (Target::read(from), Target::read(to));
            assert_eq!((from.can_become(&to, false), from.can_become(&to, true)), (value, key), "{from} to {to}");
        }
    }
}
