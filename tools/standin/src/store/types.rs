//! StarRocks' column types and the four ways StarRocks spells them.
//!
//! In: a type as DDL names it. Out: `SrType`, a closed list; anything not in it cannot be a column here.
//! Always: a spelling is what one particular statement of StarRocks prints (StarRocks source, `ScalarType.java`).
//! Not here: values (`cell`) and how text becomes a value (`convert`).

use serde::{Deserialize, Serialize};

/// Longest VARCHAR and VARBINARY, in bytes (StarRocks 2.1 to 4.1).
pub const MAX_VARCHAR_BYTES: u32 = 1_048_576;
/// What `STRING` stands for, in bytes.
pub const STRING_BYTES: u32 = 65_533;
/// Longest CHAR, in bytes.
pub const MAX_CHAR_BYTES: u32 = 255;
/// Most digits of a DECIMAL (before DECIMAL256).
pub const MAX_DECIMAL_DIGITS: u8 = 38;

/// The type of a column.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum SrType {
    /// `BOOLEAN`.
    Boolean,
    /// `TINYINT`, 8 bits.
    TinyInt,
    /// `SMALLINT`, 16 bits.
    SmallInt,
    /// `INT`, 32 bits.
    Int,
    /// `BIGINT`, 64 bits.
    BigInt,
    /// `LARGEINT`, 128 bits, signed.
    LargeInt,
    /// `FLOAT`.
    Float,
    /// `DOUBLE`.
    Double,
    /// `DECIMAL(p, s)`.
    Decimal {
        /// Digits, 1 to 38.
        precision: u8,
        /// Fraction digits, 0 to precision.
        scale: u8,
    },
    /// `DATE`.
    Date,
    /// `DATETIME`, microseconds.
    DateTime,
    /// `CHAR(n)`, n in bytes, 1 to 255.
    Char(u32),
    /// `VARCHAR(n)`, n in bytes, 1 to 1048576. `STRING` is `VARCHAR(65533)`.
    Varchar(u32),
    /// `VARBINARY(n)`, n in bytes; without a length n is 1048576.
    VarBinary(u32),
    /// `JSON`.
    Json,
    /// `ARRAY<T>`.
    Array(Box<SrType>),
}

impl SrType {
    /// As `DESC` prints it: the true name in lower case, without display widths.
    pub fn desc(&self) -> String {
        match self {
            SrType::Decimal { precision, scale } => format!("decimal({precision},{scale})"),
            SrType::Array(element) => format!("array<{}>", element.desc()),
            _ => self.plain().unwrap_or_else(|| self.simple_name().to_string()),
        }
    }

    /// As `SHOW CREATE TABLE` prints it: with display widths, `bigint(20)`, `decimal(38, 9)`.
    pub fn show_create(&self) -> String {
        let width = match self {
            SrType::TinyInt => "tinyint(4)",
            SrType::SmallInt => "smallint(6)",
            SrType::Int => "int(11)",
            SrType::BigInt => "bigint(20)",
            SrType::LargeInt => "largeint(40)",
            SrType::Decimal { precision, scale } => return format!("decimal({precision}, {scale})"),
            SrType::Array(element) => return format!("array<{}>", element.show_create()),
            _ => return self.plain().unwrap_or_else(|| self.simple_name().to_string()),
        };
        width.to_string()
    }

    /// `information_schema.columns.DATA_TYPE`: MySQL's names, so BOOLEAN is `tinyint` and LARGEINT `bigint unsigned`.
    pub fn data_type(&self) -> &'static str {
        match self {
            SrType::Boolean => "tinyint",
            SrType::LargeInt => "bigint unsigned",
            _ => self.simple_name(),
        }
    }

    /// `information_schema.columns.COLUMN_TYPE`.
    pub fn column_type(&self) -> String {
        match self {
            SrType::Boolean => "tinyint(1)".to_string(),
            SrType::LargeInt => "bigint(20) unsigned".to_string(),
            _ => self.show_create(),
        }
    }

    /// As error texts of StarRocks name the type: upper case, `VARCHAR(10)`, `DECIMAL64(10,2)`.
    pub fn error_name(&self) -> String {
        match self {
            SrType::Decimal { precision, scale } => {
                let bits = match precision {
                    0..=9 => 32,
                    10..=18 => 64,
                    _ => 128,
                };
                format!("DECIMAL{bits}({precision},{scale})")
            }
            SrType::Array(element) => format!("ARRAY<{}>", element.error_name()),
            _ => self.plain().map_or_else(|| self.simple_name().to_uppercase(), |text| text.to_uppercase()),
        }
    }

    /// The name without lengths, lower case: `varchar`, `decimal`.
    pub fn simple_name(&self) -> &'static str {
        match self {
            SrType::Boolean => "boolean",
            SrType::TinyInt => "tinyint",
            SrType::SmallInt => "smallint",
            SrType::Int => "int",
            SrType::BigInt => "bigint",
            SrType::LargeInt => "largeint",
            SrType::Float => "float",
            SrType::Double => "double",
            SrType::Decimal { .. } => "decimal",
            SrType::Date => "date",
            SrType::DateTime => "datetime",
            SrType::Char(_) => "char",
            SrType::Varchar(_) => "varchar",
            SrType::VarBinary(_) => "varbinary",
            SrType::Json => "json",
            SrType::Array(_) => "array",
        }
    }

    /// Whether a key column of a PRIMARY KEY table may have this type
    /// (StarRocks docs, "Primary Key table", "Usage notes").
    pub fn fits_primary_key(&self) -> bool {
        matches!(
            self,
            SrType::Boolean
                | SrType::TinyInt
                | SrType::SmallInt
                | SrType::Int
                | SrType::BigInt
                | SrType::LargeInt
                | SrType::Varchar(_)
                | SrType::Date
                | SrType::DateTime
        )
    }

    fn plain(&self) -> Option<String> {
        match self {
            SrType::Char(n) => Some(format!("char({n})")),
            SrType::Varchar(n) => Some(format!("varchar({n})")),
            SrType::VarBinary(n) if *n < MAX_VARCHAR_BYTES => Some(format!("varbinary({n})")),
            _ => None,
        }
    }
}
