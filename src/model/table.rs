//! Tables and columns as the source describes them.

use std::fmt;

use super::{Row, RowBuilder, Value};

/// A table's stable id in the source (PostgreSQL: the relation's OID).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TableId(pub u32);

/// A table's name in the source. Orders and prints as `schema.name`, unquoted.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TableName {
    /// The schema (PostgreSQL's word; "database" elsewhere).
    pub schema: String,
    /// The table within it.
    pub name: String,
}

impl fmt::Display for TableName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.schema, self.name)
    }
}

/// What kind of value a column holds, resolved by the source. Closed: sinks match on it without `_`.
///
/// Each kind says what text its values have; whoever writes rows keeps to that.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ColumnType {
    /// `t` or `f`.
    Bool,
    /// 16-bit integer.
    Int16,
    /// 32-bit integer.
    Int32,
    /// 64-bit integer.
    Int64,
    /// 32-bit integer without sign.
    UInt32,
    /// 64-bit integer without sign.
    UInt64,
    /// Single precision; text may be `NaN`, `Infinity`, `-Infinity`.
    Float32,
    /// Double precision; text may be `NaN`, `Infinity`, `-Infinity`.
    Float64,
    /// Exact decimal. `None`: any number of digits. Scale may be negative or larger than the precision.
    Numeric {
        /// Digits in all and digits after the point.
        digits: Option<(u16, i16)>,
    },
    /// An amount with two digits after the point, as `-$1,234.50`: up to 17 digits before it.
    Money,
    /// Text of any length.
    Text,
    /// Text of any length that its source compares without case.
    TextIgnoringCase,
    /// Text with a bound in characters, if one is declared.
    Varchar {
        /// The bound, in characters.
        chars: Option<u32>,
    },
    /// Blank-padded text; the padding is part of the value.
    Char {
        /// The declared length, in characters.
        chars: u32,
    },
    /// A name of something in the source, up to 63 bytes.
    Name,
    /// A single byte as PostgreSQL's `"char"` writes it: nothing for 0, `\\` and three octal digits above 127.
    Byte,
    /// One of a list of words, each up to 63 bytes.
    Enum,
    /// `YYYY-MM-DD`, possibly with ` BC`, more year digits, or `infinity`.
    Date,
    /// Date and time without zone.
    Timestamp,
    /// Date and time, its text always in UTC.
    TimestampTz,
    /// `HH:MM:SS` with up to six fraction digits; the hour may be 24.
    Time,
    /// As [`ColumnType::Time`], followed by an offset as `+02`, `+05:30`, `-15:59:59`.
    TimeTz,
    /// `1 year 2 mons -3 days 04:05:06.7`, any of it left out.
    Interval,
    /// 36 characters.
    Uuid,
    /// A document kept as written.
    Json,
    /// A document kept by meaning.
    Jsonb,
    /// Bytes, as `\x` and hexadecimal digits.
    Bytea,
    /// That many digits 0 and 1.
    Bit {
        /// How many.
        digits: u32,
    },
    /// Digits 0 and 1, with a bound if one is declared.
    VarBit {
        /// How many at most.
        digits: Option<u32>,
    },
    /// An address of IPv4 or IPv6, a network's mask behind it where it has one: `10.0.0.0/8`.
    Inet,
    /// A hardware address of 6 bytes, `08:00:2b:01:02:03`.
    MacAddr,
    /// A hardware address of 8 bytes, `08:00:2b:01:02:03:04:05`.
    MacAddr8,
    /// A position in the source's log, `16/B374D848`.
    LogPosition,
    /// An XML document or piece of one.
    Xml,
    /// Values of one kind in any number of dimensions, as PostgreSQL writes them: `{1,NULL,3}`, `{{"a b"},{c}}`,
    /// `[2:3]={x,y}`.
    Array {
        /// The kind of its elements; never an array.
        element: Box<ColumnType>,
        /// What stands between elements: a comma for nearly every kind.
        delimiter: u8,
    },
    /// A row within a row, as `(1,"a b",)`.
    Composite,
    /// A span between two values, as `[1,10)` or `empty`.
    Range,
    /// Spans, as `{[1,3),[5,7)}`.
    Multirange,
    /// Keys and values that are text or NULL, as `"a"=>"1", "b"=>NULL`.
    Hstore,
    /// Numbers of single precision, as `[1,2.5,3]`.
    Vector,
    /// A shape on the plane or the earth, as hexadecimal digits of EWKB.
    Geometry,
    /// Anything else, carried as its text. Holds the source's name for the type.
    Other(String),
}

impl fmt::Display for ColumnType {
    /// As a person names it, in the terms of SQL where SQL has any.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ColumnType::Numeric { digits: Some((precision, scale)) } => write!(f, "numeric({precision},{scale})"),
            ColumnType::Varchar { chars: Some(chars) } => write!(f, "varchar({chars})"),
            ColumnType::Char { chars } => write!(f, "char({chars})"),
            ColumnType::Bit { digits } => write!(f, "bit({digits})"),
            ColumnType::VarBit { digits: Some(digits) } => write!(f, "bit varying({digits})"),
            ColumnType::Array { element, .. } => write!(f, "{element}[]"),
            ColumnType::Other(name) => f.write_str(name),
            plain => f.write_str(plain.word()),
        }
    }
}

impl ColumnType {
    /// Its name without what is declared with it.
    fn word(&self) -> &'static str {
        match self {
            ColumnType::Bool => "boolean",
            ColumnType::Int16 => "smallint",
            ColumnType::Int32 => "integer",
            ColumnType::Int64 => "bigint",
            ColumnType::UInt32 => "unsigned integer",
            ColumnType::UInt64 => "unsigned bigint",
            ColumnType::Float32 => "real",
            ColumnType::Float64 => "double precision",
            ColumnType::Numeric { .. } => "numeric",
            ColumnType::Money => "money",
            ColumnType::Text => "text",
            ColumnType::TextIgnoringCase => "citext",
            ColumnType::Varchar { .. } => "varchar",
            ColumnType::Char { .. } => "char",
            ColumnType::Name => "name",
            ColumnType::Byte => "\"char\"",
            ColumnType::Enum => "enum",
            ColumnType::Date => "date",
            ColumnType::Timestamp => "timestamp",
            ColumnType::TimestampTz => "timestamptz",
            ColumnType::Time => "time",
            ColumnType::TimeTz => "timetz",
            ColumnType::Interval => "interval",
            ColumnType::Uuid => "uuid",
            ColumnType::Json => "json",
            ColumnType::Jsonb => "jsonb",
            ColumnType::Bytea => "bytea",
            ColumnType::Bit { .. } => "bit",
            ColumnType::VarBit { .. } => "bit varying",
            ColumnType::Inet => "inet",
            ColumnType::MacAddr => "macaddr",
            ColumnType::MacAddr8 => "macaddr8",
            ColumnType::LogPosition => "pg_lsn",
            ColumnType::Xml => "xml",
            ColumnType::Array { .. } => "array",
            ColumnType::Composite => "composite",
            ColumnType::Range => "range",
            ColumnType::Multirange => "multirange",
            ColumnType::Hstore => "hstore",
            ColumnType::Vector => "vector",
            ColumnType::Geometry => "geometry",
            ColumnType::Other(_) => "other",
        }
    }
}

/// One column.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Column {
    /// Name in the source.
    pub name: String,
    /// Kind of value.
    pub ty: ColumnType,
    /// Whether NULL can occur. True where the source did not say.
    pub nullable: bool,
}

/// A table as of one point in the stream. Never changes; a changed table is a new value with a new version.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct TableSchema {
    /// Id in the source.
    pub id: TableId,
    /// Name in the source.
    pub name: TableName,
    /// Name wanted in the target, within the target's one database.
    pub target: String,
    /// Columns in the order rows carry them.
    pub columns: Vec<Column>,
    /// Positions in `columns` of the key columns, in key order. Never empty.
    pub key: Vec<usize>,
    /// Whether every row a change can be about is in the target or comes before the change. Where rows exist that were
    /// never copied, a change must bring the whole row: what it leaves out is nowhere in the target.
    pub complete: bool,
}

impl TableSchema {
    /// Whether the column at this position belongs to the key.
    pub fn is_key(&self, column: usize) -> bool {
        self.key.contains(&column)
    }

    /// The key columns in key order.
    pub fn key_columns(&self) -> impl Iterator<Item = &Column> {
        self.key.iter().filter_map(|at| self.columns.get(*at))
    }

    /// The key of a row: the values of the key columns alone, in key order, in memory of its own. Keys are equal if
    /// these rows are, and stay so when other columns come and go.
    pub fn key_of(&self, row: &Row) -> Row {
        let mut built = RowBuilder::with_capacity(2 + 16 * self.key.len());
        self.key.iter().for_each(|column| built.push(row.column(*column)));
        built.finish()
    }

    /// A row in the columns of the table that holds a key and nothing else; the opposite of [`TableSchema::key_of`].
    pub fn row_of_key(&self, key: &Row) -> Row {
        let mut built = RowBuilder::with_capacity(key.size() + self.columns.len());
        for column in 0..self.columns.len() {
            let place = self.key.iter().position(|key| *key == column);
            built.push(place.map_or(Value::Null, |place| key.column(place)));
        }
        built.finish()
    }

    /// Whether two rows have the same key.
    #[inline]
    pub fn same_key(&self, a: &Row, b: &Row) -> bool {
        self.key.iter().all(|column| a.column(*column) == b.column(*column))
    }

    /// `new` with its unchanged key columns taken from a tuple of which only the key columns are true.
    pub fn key_filled(&self, new: &Row, key: &Row) -> Row {
        let mut built = RowBuilder::with_capacity(new.size() + key.size());
        for (column, (value, old)) in new.columns().zip(key.columns()).enumerate() {
            built.push(if value == Value::Unchanged && self.is_key(column) { old } else { value });
        }
        built.finish()
    }
}
