//! What a statement answers: rows as StarRocks prints them, with the types that go into the columns' definitions.
//!
//! Always: a cell is `None` for NULL, else the bytes of the text protocol.
//! Not here: packets (`mysql::resultset`).

/// The types a result column can have on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ColumnKind {
    /// The type of a bare `NULL`.
    Null,
    /// Printed `1` and `0`.
    Boolean,
    /// 8 bits.
    TinyInt,
    /// 16 bits.
    SmallInt,
    /// 32 bits.
    Int,
    /// 64 bits.
    BigInt,
    /// 128 bits; a string to clients.
    LargeInt,
    /// 4 bytes.
    Float,
    /// 8 bytes.
    Double,
    /// With its digits behind the point.
    Decimal {
        /// Digits behind the point.
        scale: u8,
    },
    /// A day.
    Date,
    /// A day and a time.
    DateTime,
    /// Fixed length.
    Char,
    /// Text.
    VarChar,
    /// Bytes.
    VarBinary,
    /// A document, printed.
    Json,
    /// `[1,2]`.
    Array,
}

/// A result column.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Column {
    /// Its label.
    pub name: String,
    /// The table it comes from, or nothing.
    pub table: String,
    /// The database it comes from, or nothing.
    pub database: String,
    /// Its type.
    pub kind: ColumnKind,
}

impl Column {
    /// A column that comes from no table.
    pub fn new(name: impl Into<String>, kind: ColumnKind) -> Self {
        Self { name: name.into(), table: String::new(), database: String::new(), kind }
    }
}

/// One printed value.
pub type Cell = Option<Vec<u8>>;

/// Rows and their columns.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ResultSet {
    /// The columns.
    pub columns: Vec<Column>,
    /// The rows; each as long as `columns`.
    pub rows: Vec<Vec<Cell>>,
}

impl ResultSet {
    /// An empty result whose columns are all text, as SHOW statements have.
    pub fn of_text(names: &[&str]) -> Self {
        let columns = names.iter().map(|name| Column::new(*name, ColumnKind::VarChar)).collect();
        Self { columns, rows: Vec::new() }
    }

    /// Appends a row of texts.
    pub fn push_text<const N: usize>(&mut self, row: [&str; N]) {
        self.rows.push(row.iter().map(|text| Some(text.as_bytes().to_vec())).collect());
    }
}

/// What a statement did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// No rows; `info` is the text of the OK packet (for INSERT: label, status, transaction).
    Done {
        /// Rows changed.
        affected: u64,
        /// Text for the OK packet.
        info: String,
    },
    /// Rows.
    Rows(ResultSet),
}

impl Outcome {
    /// Done, nothing to say.
    pub fn done() -> Self {
        Self::Done { affected: 0, info: String::new() }
    }
}

/// A text cell.
pub fn text(value: impl AsRef<str>) -> Cell {
    Some(value.as_ref().as_bytes().to_vec())
}
