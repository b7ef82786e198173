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
    /// Single precision; text may be `NaN`, `Infinity`, `-Infinity`.
    Float32,
    /// Double precision; text may be `NaN`, `Infinity`, `-Infinity`.
    Float64,
    /// Exact decimal. `None`: any number of digits. Scale may be negative or larger than the precision.
    Numeric {
        /// Digits in all and digits after the point.
        digits: Option<(u16, i16)>,
    },
    /// Text of any length.
    Text,
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
    /// `YYYY-MM-DD`, possibly with ` BC`, more year digits, or `infinity`.
    Date,
    /// Date and time without zone.
    Timestamp,
    /// Date and time, its text always in UTC.
    TimestampTz,
    /// 36 characters.
    Uuid,
    /// A document kept as written.
    Json,
    /// A document kept by meaning.
    Jsonb,
    /// Bytes, as `\x` and hexadecimal digits.
    Bytea,
    /// Anything else, carried as its text. Holds the source's name for the type.
    Other(String),
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
