//! Queries: runs a SELECT over an export of the tables it names.
//!
//! In: a query's text and a way to get tables. Out: a `ResultSet` with StarRocks' labels, types and spellings.
//! Always: only the tables and columns the query names are copied; DECIMAL, LARGEINT and DATETIME stay text, so they
//! are compared, summed and printed exactly.
//! Not here: speed, plans, privileges. The engine is SQLite in memory, one instance per query.
//! Start at `run`.

mod functions;
mod number;
mod translate;

use std::collections::HashSet;

use rusqlite::Connection;
use rusqlite::types::{Value, ValueRef};

pub(super) use functions::{SessionFacts, is_like};
pub(super) use translate::back_quoted;

use super::ast::Literal;
use super::error::SqlError;
use super::lexer::{TokenKind, place, tokens};
use super::result::{Cell, Column, ColumnKind, ResultSet};
use translate::{Hint, Translated, translate};

/// A table's columns and rows, printed.
pub(super) struct TableData {
    /// Its columns, with table and database filled in.
    pub(super) columns: Vec<Column>,
    /// Its rows; a column nobody wants may be all NULL.
    pub(super) rows: Vec<Vec<Cell>>,
}

/// Where tables come from.
pub(super) trait Tables {
    /// The table, or why there is none. `wanted` tells which columns (lower case) the query can touch.
    fn table(&self, database: Option<&str>, name: &str, wanted: &dyn Fn(&str) -> bool) -> Result<TableData, SqlError>;
    /// A session variable.
    fn variable(&self, name: &str) -> Option<Literal>;
    /// What functions tell.
    fn facts(&self) -> SessionFacts;
}

/// Runs a query.
pub(super) fn run(sql: &str, tables: &dyn Tables) -> Result<ResultSet, SqlError> {
    let translated = translate(sql, &|name| tables.variable(name))?;
    let mut engine = Engine::new(sql, tables)?;
    engine.load(&translated, true)?;
    engine.rows(&translated)
}

/// The columns of a query's result. Its tables are looked at, not copied.
pub(super) fn describe(sql: &str, tables: &dyn Tables) -> Result<Vec<Column>, SqlError> {
    let translated = translate(sql, &|name| tables.variable(name))?;
    let mut engine = Engine::new(sql, tables)?;
    engine.load(&translated, false)?;
    Ok(engine.rows(&translated)?.columns)
}

/// Filters, orders and limits rows a SHOW statement made: `tail` begins at WHERE, ORDER BY or LIMIT.
pub(super) fn refine(set: ResultSet, tail: &str, tables: &dyn Tables) -> Result<ResultSet, SqlError> {
    struct Fixed<'a> {
        set: std::cell::RefCell<Option<ResultSet>>,
        inner: &'a dyn Tables,
    }
    impl Tables for Fixed<'_> {
        fn table(&self, _: Option<&str>, name: &str, _: &dyn Fn(&str) -> bool) -> Result<TableData, SqlError> {
            let Some(set) = self.set.borrow_mut().take() else { return Err(SqlError::unknown_table("", name)) };
            Ok(TableData { columns: set.columns, rows: set.rows })
        }
        fn variable(&self, name: &str) -> Option<Literal> {
            self.inner.variable(name)
        }
        fn facts(&self) -> SessionFacts {
            self.inner.facts()
        }
    }
    let fixed = Fixed { set: std::cell::RefCell::new(Some(set)), inner: tables };
    run(&format!("SELECT * FROM sr_show {tail}"), &fixed)
}

/// The time now, UTC, as StarRocks prints DATETIME.
fn now_text() -> String {
    let now = time::OffsetDateTime::now_utc();
    let (date, time) = (now.date(), now.time());
    format!(
        "{:04}-{:02}-{:02} {:02}:{:02}:{:02}",
        date.year(),
        u8::from(date.month()),
        date.day(),
        time.hour(),
        time.minute(),
        time.second()
    )
}

/// A double as text.
fn print_double(number: f64) -> String {
    crate::store::Cell::Double(number).display()
}

struct Engine<'a> {
    connection: Connection,
    tables: &'a dyn Tables,
    source: &'a str,
    attached: HashSet<String>,
    /// Types of declared columns: the declaration holds the index.
    kinds: Vec<Column>,
}

impl<'a> Engine<'a> {
    fn new(source: &'a str, tables: &'a dyn Tables) -> Result<Self, SqlError> {
        let connection = Connection::open_in_memory().map_err(internal)?;
        functions::register(&connection, &tables.facts()).map_err(internal)?;
        Ok(Self { connection, tables, source, attached: HashSet::new(), kinds: Vec::new() })
    }

    /// Prepares again and again, loading the table SQLite misses, until it misses none.
    /// `with_rows` is false to learn the columns only.
    fn load(&mut self, translated: &Translated, with_rows: bool) -> Result<(), SqlError> {
        let mut loaded = HashSet::new();
        loop {
            let failure = match self.connection.prepare(&translated.sql) {
                Ok(_) => return Ok(()),
                Err(failure) => failure.to_string(),
            };
            let Some(name) = missing_table(&failure) else { return Err(self.refusal(&failure)) };
            if !loaded.insert(name.clone()) {
                return Err(SqlError::refused(failure));
            }
            let (database, table) = match name.split_once('.') {
                Some((database, table)) => (Some(database), table),
                None => (None, name.as_str()),
            };
            let wanted = |column: &str| with_rows && (translated.all_columns || translated.words.contains(column));
            let mut data = self.tables.table(database, table, &wanted)?;
            if !with_rows {
                data.rows.clear();
            }
            self.fill(database, table, data)?;
        }
    }

    fn fill(&mut self, database: Option<&str>, table: &str, data: TableData) -> Result<(), SqlError> {
        let schema = match database {
            None => "main".to_owned(),
            Some(name) => {
                let builtin = ["main", "temp"].iter().any(|builtin| builtin.eq_ignore_ascii_case(name));
                if !builtin && self.attached.insert(name.to_lowercase()) {
                    let attach = format!("ATTACH ':memory:' AS {}", back_quoted(name));
                    self.connection.execute_batch(&attach).map_err(internal)?;
                }
                name.to_owned()
            }
        };
        let target = format!("{}.{}", back_quoted(&schema), back_quoted(table));
        let declarations: Vec<String> = data.columns.iter().map(|column| self.declaration(column)).collect();
        let create = format!("CREATE TABLE {target} ({})", declarations.join(", "));
        self.connection.execute_batch(&create).map_err(internal)?;
        self.insert(&target, data)
    }

    fn insert(&self, target: &str, data: TableData) -> Result<(), SqlError> {
        let marks = vec!["?"; data.columns.len()].join(", ");
        self.connection.execute_batch("BEGIN").map_err(internal)?;
        {
            let insert = format!("INSERT INTO {target} VALUES ({marks})");
            let mut statement = self.connection.prepare(&insert).map_err(internal)?;
            for row in data.rows {
                let values = row.into_iter().zip(&data.columns).map(|(cell, column)| to_sqlite(cell, column.kind));
                statement.execute(rusqlite::params_from_iter(values)).map_err(internal)?;
            }
        }
        self.connection.execute_batch("COMMIT").map_err(internal)
    }

    /// A column's declaration. The type's first word gives SQLite its affinity, the second our type.
    fn declaration(&mut self, column: &Column) -> String {
        let index = self.kinds.len();
        self.kinds.push(column.clone());
        let (affinity, collation) = match column.kind {
            ColumnKind::Boolean | ColumnKind::TinyInt | ColumnKind::SmallInt | ColumnKind::Int | ColumnKind::BigInt => {
                ("INTEGER", "")
            }
            ColumnKind::Float | ColumnKind::Double => ("REAL", ""),
            ColumnKind::VarBinary => ("BLOB", ""),
            ColumnKind::LargeInt | ColumnKind::Decimal { .. } => ("TEXT", functions::NUMERIC),
            ColumnKind::Date | ColumnKind::DateTime => ("TEXT", functions::TIME),
            _ => ("TEXT", ""),
        };
        let collate = if collation.is_empty() { String::new() } else { format!(" COLLATE {collation}") };
        format!("{} {affinity} k{index}{collate}", back_quoted(&column.name))
    }

    fn rows(&self, translated: &Translated) -> Result<ResultSet, SqlError> {
        let mut statement =
            self.connection.prepare(&translated.sql).map_err(|error| self.refusal(&error.to_string()))?;
        let declared: Vec<(String, Option<Column>)> =
            statement.columns().map(|column| (column.name().to_owned(), self.declared(column.decl_type()))).collect();
        let mut values: Vec<Vec<Value>> = Vec::new();
        let mut rows = statement.query([]).map_err(internal)?;
        loop {
            match rows.next() {
                Ok(Some(row)) => {
                    let row: Result<Vec<Value>, _> =
                        (0..declared.len()).map(|index| row.get_ref(index).map(Value::from_ref)).collect();
                    values.push(row.map_err(internal)?);
                }
                Ok(None) => break,
                Err(error) => return Err(self.refusal(&error.to_string())),
            }
        }
        let columns: Vec<Column> = declared
            .into_iter()
            .enumerate()
            .map(|(index, (name, known))| self.column(index, name, known, translated, &values))
            .collect();
        let rows = values
            .into_iter()
            .map(|row| row.into_iter().zip(&columns).map(|(value, column)| printed(value, column.kind)).collect())
            .collect();
        Ok(ResultSet { columns, rows })
    }

    fn declared(&self, declaration: Option<&str>) -> Option<Column> {
        let index: usize = declaration?.rsplit(" k").next()?.parse().ok()?;
        self.kinds.get(index).cloned()
    }

    fn column(
        &self,
        index: usize,
        name: String,
        known: Option<Column>,
        translated: &Translated,
        values: &[Vec<Value>],
    ) -> Column {
        if let Some(known) = known {
            return Column { name, ..known };
        }
        let kind = match translated.hints.get(index) {
            Some(Hint::Count) => ColumnKind::BigInt,
            Some(Hint::Of { function, column }) => self.kind_of_function(function, column),
            _ => ColumnKind::Null,
        };
        let kind = if kind == ColumnKind::Null { kind_of_values(index, values) } else { kind };
        Column::new(name, kind)
    }

    fn kind_of_function(&self, function: &str, column: &str) -> ColumnKind {
        let Some(argument) = self.kinds.iter().find(|known| known.name.eq_ignore_ascii_case(column)) else {
            return ColumnKind::Null;
        };
        match (function, argument.kind) {
            ("sum", ColumnKind::Decimal { scale }) => ColumnKind::Decimal { scale },
            ("sum", ColumnKind::LargeInt) => ColumnKind::LargeInt,
            ("sum", ColumnKind::Float | ColumnKind::Double) => ColumnKind::Double,
            ("sum", _) => ColumnKind::BigInt,
            ("avg", ColumnKind::Decimal { scale }) => {
                ColumnKind::Decimal { scale: functions::average_scale(u32::from(scale)) as u8 }
            }
            ("avg", _) => ColumnKind::Double,
            (_, kind) => kind,
        }
    }

    /// SQLite's refusal in StarRocks' words.
    fn refusal(&self, failure: &str) -> SqlError {
        let failure = failure.split(" in SELECT ").next().unwrap_or(failure);
        if let Some(column) = after(failure, "no such column: ") {
            return SqlError::analyzing(format!("Column '{column}' cannot be resolved"));
        }
        if let Some(column) = after(failure, "ambiguous column name: ") {
            return SqlError::analyzing(format!("Column '{column}' is ambiguous"));
        }
        if let Some(function) = after(failure, "no such function: ") {
            return SqlError::analyzing(format!("No matching function with signature: {function}()"));
        }
        if let Some(near) = after(failure, "near \"") {
            let wrong = near.split('"').next().unwrap_or_default();
            return self.syntax_error(wrong);
        }
        if failure.contains("incomplete input") {
            let (line, column) = place(self.source, self.source.len());
            return SqlError::syntax(
                line,
                column,
                "Unexpected input '<EOF>', the most similar input is {an expression}",
            );
        }
        SqlError::analyzing(failure)
    }

    fn syntax_error(&self, wrong: &str) -> SqlError {
        let found = tokens(self.source).unwrap_or_default().into_iter().find(|token| match &token.kind {
            TokenKind::End => false,
            _ => self.source[token.start..token.end].eq_ignore_ascii_case(wrong),
        });
        let (line, column) = place(self.source, found.map_or(0, |token| token.start));
        SqlError::syntax(line, column, format!("Unexpected input '{wrong}', the most similar input is {{<EOF>, ';'}}"))
    }
}

fn after<'t>(text: &'t str, mark: &str) -> Option<&'t str> {
    let at = text.find(mark)?;
    Some(text[at + mark.len()..].trim())
}

/// The table in SQLite's `no such table: d.t`.
fn missing_table(failure: &str) -> Option<String> {
    // rusqlite appends the statement and the offset.
    let name = after(failure, "no such table: ")?;
    Some(name.split(" in ").next().unwrap_or(name).trim().to_owned())
}

fn internal(error: rusqlite::Error) -> SqlError {
    SqlError::refused(format!("starrocks-standin's query engine: {error}"))
}

fn to_sqlite(cell: Cell, kind: ColumnKind) -> Value {
    let Some(bytes) = cell else { return Value::Null };
    if kind == ColumnKind::VarBinary {
        return Value::Blob(bytes);
    }
    let text = match String::from_utf8(bytes) {
        Ok(text) => text,
        // VARCHAR takes bytes that are no UTF-8; SQLite keeps them as they are.
        Err(error) => return Value::Blob(error.into_bytes()),
    };
    match kind {
        ColumnKind::Boolean | ColumnKind::TinyInt | ColumnKind::SmallInt | ColumnKind::Int | ColumnKind::BigInt => {
            text.parse().map_or(Value::Text(text), Value::Integer)
        }
        // SQLite has no NaN, and would print its own infinity.
        ColumnKind::Float | ColumnKind::Double => match text.parse::<f64>() {
            Ok(number) if number.is_finite() => Value::Real(number),
            _ => Value::Text(text),
        },
        _ => Value::Text(text),
    }
}

fn printed(value: Value, kind: ColumnKind) -> Cell {
    match (value, kind) {
        (Value::Null, _) => None,
        (Value::Integer(number), ColumnKind::Float | ColumnKind::Double) => {
            Some(print_double(number as f64).into_bytes())
        }
        (Value::Integer(number), ColumnKind::Decimal { scale }) => {
            let exact = number::Exact { units: i128::from(number), scale: 0 }.rounded(u32::from(scale));
            Some(exact.map_or_else(|| number.to_string(), number::Exact::print).into_bytes())
        }
        (Value::Integer(number), _) => Some(number.to_string().into_bytes()),
        (Value::Real(number), ColumnKind::Float) => {
            Some(crate::store::Cell::Float(number as f32).display().into_bytes())
        }
        (Value::Real(number), _) => Some(print_double(number).into_bytes()),
        (Value::Text(text), _) => Some(text.into_bytes()),
        (Value::Blob(bytes), _) => Some(bytes),
    }
}

/// The type of a column nothing is known about: that of its first value.
fn kind_of_values(index: usize, values: &[Vec<Value>]) -> ColumnKind {
    let first = values.iter().filter_map(|row| row.get(index)).find(|value| **value != Value::Null);
    match first {
        Some(Value::Integer(_)) => ColumnKind::BigInt,
        Some(Value::Real(_)) => ColumnKind::Double,
        Some(Value::Blob(_)) => ColumnKind::VarBinary,
        Some(Value::Text(_)) | None | Some(Value::Null) => ColumnKind::VarChar,
    }
}

/// Reads a `Value` out of SQLite's own memory.
trait FromRef {
    fn from_ref(value: ValueRef<'_>) -> Self;
}

impl FromRef for Value {
    fn from_ref(value: ValueRef<'_>) -> Self {
        match value {
            ValueRef::Null => Value::Null,
            ValueRef::Integer(number) => Value::Integer(number),
            ValueRef::Real(number) => Value::Real(number),
            ValueRef::Text(bytes) => match std::str::from_utf8(bytes) {
                Ok(text) => Value::Text(text.to_owned()),
                Err(_) => Value::Blob(bytes.to_vec()),
            },
            ValueRef::Blob(bytes) => Value::Blob(bytes.to_vec()),
        }
    }
}
