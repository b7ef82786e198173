//! Tables for queries, and INSERT, DELETE, UPDATE for people.
//!
//! In: names, constants, conditions. Out: exported rows; changed rows in the store.
//! Always: a value that does not fit its column refuses the whole INSERT, as `enable_insert_strict` does by default.
//! Not here: loads (`crate::load`).
//! StarRocks docs, INSERT, DELETE, UPDATE.

use std::collections::HashSet;

use crate::store::convert::{cell_from_text, column_default};
use crate::store::{Cell, ColumnDef, Row, SrType, Store, TableDef, TableModel};

use super::Executor;
use super::ast::{Insert, Literal, TableName};
use super::error::SqlError;
use super::result::{Column, ColumnKind, Outcome, ResultSet};
use super::select::{self, SessionFacts, TableData, Tables, back_quoted};

// The name under which DELETE and UPDATE see a row's place in the scan.
const ROW_NUMBER: &str = "__row";

/// The wire type of a column.
pub(super) fn column_kind(ty: &SrType) -> ColumnKind {
    match ty {
        SrType::Boolean => ColumnKind::Boolean,
        SrType::TinyInt => ColumnKind::TinyInt,
        SrType::SmallInt => ColumnKind::SmallInt,
        SrType::Int => ColumnKind::Int,
        SrType::BigInt => ColumnKind::BigInt,
        SrType::LargeInt => ColumnKind::LargeInt,
        SrType::Float => ColumnKind::Float,
        SrType::Double => ColumnKind::Double,
        SrType::Decimal { scale, .. } => ColumnKind::Decimal { scale: *scale },
        SrType::Date => ColumnKind::Date,
        SrType::DateTime => ColumnKind::DateTime,
        SrType::Char(_) => ColumnKind::Char,
        SrType::Varchar(_) => ColumnKind::VarChar,
        SrType::VarBinary(_) => ColumnKind::VarBinary,
        SrType::Json => ColumnKind::Json,
        SrType::Array(_) => ColumnKind::Array,
    }
}

fn columns_of(database: &str, table: &TableDef) -> Vec<Column> {
    let column = |column: &ColumnDef| Column {
        name: column.name.clone(),
        table: table.name.clone(),
        database: database.to_owned(),
        kind: column_kind(&column.ty),
    };
    table.columns.iter().map(column).collect()
}

/// A table for the query engine; columns that are not wanted come as NULL.
pub(super) fn export(
    store: &Store,
    database: &str,
    table: &str,
    wanted: &dyn Fn(&str) -> bool,
) -> Result<TableData, SqlError> {
    let (definition, rows) = store.scan(database, table)?;
    let keep: Vec<bool> = definition.columns.iter().map(|column| wanted(&column.name.to_lowercase())).collect();
    let printed =
        |row: Row| row.iter().zip(&keep).map(|(cell, keep)| if *keep { cell.print() } else { None }).collect();
    Ok(TableData { columns: columns_of(database, &definition), rows: rows.into_iter().map(printed).collect() })
}

impl Executor<'_> {
    pub(super) fn insert(&mut self, insert: Insert) -> Result<Outcome, SqlError> {
        let (database, table) = self.resolve(&insert.table)?;
        let definition = self.frontend.store.table(&database, &table)?;
        let targets = targets(&insert, &definition)?;
        let rows = match &insert.query {
            Some(query) => {
                self.query(query)?.rows.into_iter().map(|row| row.into_iter().map(from_printed).collect()).collect()
            }
            None => insert.rows,
        };
        let mut cells = Vec::with_capacity(rows.len());
        for row in &rows {
            cells.push(whole_row(row, &targets, &definition)?);
        }
        let affected = self.frontend.store.insert_rows(&database, &table, cells)?;
        Ok(Outcome::Done { affected: affected as u64, info: String::new() })
    }

    pub(super) fn delete(&mut self, name: &TableName, condition: &str) -> Result<Outcome, SqlError> {
        let (database, table) = self.resolve(name)?;
        let found = self.numbered(&database, &table)?;
        let set = select::run(&format!("SELECT {ROW_NUMBER} FROM {} WHERE {condition}", back_quoted(&table)), &found)?;
        let doomed: HashSet<Vec<Option<Vec<u8>>>> =
            numbers(&set).filter_map(|at| found.rows.get(at)).map(|row| printed_row(row)).collect();
        let removed =
            self.frontend.store.delete_where(&database, &table, &mut |row| doomed.contains(&printed_row(row)))?;
        Ok(Outcome::Done { affected: removed as u64, info: String::new() })
    }

    pub(super) fn update(
        &mut self,
        name: &TableName,
        assignments: &[(String, String)],
        condition: &str,
    ) -> Result<Outcome, SqlError> {
        let (database, table) = self.resolve(name)?;
        let found = self.numbered(&database, &table)?;
        if found.definition.model != TableModel::Primary {
            return Err(SqlError::analyzing("only primary key table support update"));
        }
        let mut places = Vec::new();
        for (column, _) in assignments {
            let place = found.definition.column_index(column).ok_or_else(|| unknown_column(column, &table))?;
            if found.definition.columns[place].key {
                return Err(SqlError::analyzing(format!("primary key column cannot be updated: {column}")));
            }
            places.push(place);
        }
        let expressions: Vec<&str> = assignments.iter().map(|(_, expression)| expression.as_str()).collect();
        let query =
            format!("SELECT {ROW_NUMBER}, {} FROM {} WHERE {condition}", expressions.join(", "), back_quoted(&table));
        let set = select::run(&query, &found)?;
        let mut changed = Vec::new();
        for (at, values) in numbers(&set).zip(&set.rows) {
            let Some(row) = found.rows.get(at) else { continue };
            let mut row = row.to_vec();
            for (place, value) in places.iter().zip(values.iter().skip(1)) {
                row[*place] = cell(&from_printed(value.clone()), &found.definition.columns[*place])?;
            }
            changed.push(row);
        }
        let affected = self.frontend.store.insert_rows(&database, &table, changed)?;
        Ok(Outcome::Done { affected: affected as u64, info: String::new() })
    }

    fn numbered(&self, database: &str, table: &str) -> Result<Numbered<'_>, SqlError> {
        let (definition, rows) = self.frontend.store.scan(database, table)?;
        Ok(Numbered { definition, rows, database: database.to_owned(), inner: self })
    }
}

/// One table whose rows carry their place in the scan.
struct Numbered<'a> {
    definition: std::sync::Arc<TableDef>,
    rows: Vec<Row>,
    database: String,
    inner: &'a dyn Tables,
}

impl Tables for Numbered<'_> {
    fn table(&self, database: Option<&str>, name: &str, wanted: &dyn Fn(&str) -> bool) -> Result<TableData, SqlError> {
        if name != self.definition.name || database.is_some_and(|database| database != self.database) {
            return self.inner.table(database, name, wanted);
        }
        let mut columns = columns_of(&self.database, &self.definition);
        columns.push(Column::new(ROW_NUMBER, ColumnKind::BigInt));
        let numbered = |(at, row): (usize, &Row)| {
            let mut cells: Vec<_> = row.iter().map(Cell::print).collect();
            cells.push(Some(at.to_string().into_bytes()));
            cells
        };
        Ok(TableData { columns, rows: self.rows.iter().enumerate().map(numbered).collect() })
    }

    fn variable(&self, name: &str) -> Option<Literal> {
        self.inner.variable(name)
    }

    fn facts(&self) -> SessionFacts {
        self.inner.facts()
    }
}

fn numbers(set: &ResultSet) -> impl Iterator<Item = usize> + '_ {
    set.rows.iter().filter_map(|row| std::str::from_utf8(row.first()?.as_ref()?).ok()?.parse().ok())
}

fn printed_row(row: &[Cell]) -> Vec<Option<Vec<u8>>> {
    row.iter().map(Cell::print).collect()
}

fn unknown_column(column: &str, table: &str) -> SqlError {
    SqlError::analyzing(format!("Unknown column '{column}' in '{table}'"))
}

/// For each column of the table, which value of a row it takes.
fn targets(insert: &Insert, table: &TableDef) -> Result<Vec<Option<usize>>, SqlError> {
    if insert.columns.is_empty() {
        return Ok((0..table.columns.len()).map(Some).collect());
    }
    let mut targets = vec![None; table.columns.len()];
    for (at, name) in insert.columns.iter().enumerate() {
        let place = table.column_index(name).ok_or_else(|| unknown_column(name, &table.name))?;
        if targets[place].replace(at).is_some() {
            let text = format!("Getting analyzing error. Detail message: Column '{name}' specified twice.");
            return Err(SqlError::new(1110, "42000", text));
        }
    }
    for (column, target) in table.columns.iter().zip(&targets) {
        if target.is_none() && !column.nullable && column.default.is_none() {
            let text = format!(
                "Getting analyzing error. Detail message: '{}' must be explicitly mentioned in column permutation.",
                column.name
            );
            return Err(SqlError::new(5002, "HY000", text));
        }
    }
    Ok(targets)
}

fn whole_row(row: &[Literal], targets: &[Option<usize>], table: &TableDef) -> Result<Vec<Cell>, SqlError> {
    let expected = targets.iter().flatten().count();
    if row.len() != expected {
        let text = format!(
            "Getting analyzing error. Detail message: Inserted target column count: {expected} doesn't match \
             select/value column count: {}.",
            row.len()
        );
        return Err(SqlError::new(5604, "42601", text));
    }
    let mut cells = Vec::with_capacity(targets.len());
    for (target, column) in targets.iter().zip(&table.columns) {
        cells.push(match target.and_then(|at| row.get(at)) {
            None | Some(Literal::Default) => column_default(column, now_micros()),
            Some(literal) => cell(literal, column)?,
        });
        if cells.last().is_some_and(Cell::is_null) && !column.nullable {
            return Err(filtered(format!("NULL value in non-nullable column '{}'", column.name)));
        }
    }
    Ok(cells)
}

fn now_micros() -> i64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(now.as_micros()).unwrap_or(i64::MAX)
}

fn filtered(reason: String) -> SqlError {
    SqlError::new(5610, "22000", format!("Insert has filtered data : {reason}"))
}

fn cell(literal: &Literal, column: &ColumnDef) -> Result<Cell, SqlError> {
    let bytes = match literal {
        Literal::Null | Literal::Default => return Ok(Cell::Null),
        literal => printed_literal(literal),
    };
    // Base64 is for CSV loads; in SQL a string's bytes are the value.
    if let SrType::VarBinary(most) = column.ty
        && bytes.len() <= most as usize
    {
        return Ok(Cell::Binary(bytes.into()));
    }
    cell_from_text(&column.ty, &bytes).map_err(|_| {
        let value = String::from_utf8_lossy(&bytes).into_owned();
        filtered(format!(
            "Value '{value}' is out of range. The type of '{}' is {}",
            column.name,
            column.ty.error_name()
        ))
    })
}

fn printed_literal(literal: &Literal) -> Vec<u8> {
    match literal {
        Literal::Null | Literal::Default => b"null".to_vec(),
        Literal::Boolean(flag) => vec![b'0' + u8::from(*flag)],
        Literal::Number(text) | Literal::Text(text) => text.clone().into_bytes(),
        Literal::Bytes(bytes) => bytes.clone(),
        Literal::Array(elements) => {
            let mut text = vec![b'['];
            for (at, element) in elements.iter().enumerate() {
                if at > 0 {
                    text.push(b',');
                }
                match element {
                    Literal::Text(inside) => text.extend(serde_json::Value::from(inside.as_str()).to_string().bytes()),
                    other => text.extend(printed_literal(other)),
                }
            }
            text.push(b']');
            text
        }
    }
}

/// A value a query printed, as a constant.
fn from_printed(cell: Option<Vec<u8>>) -> Literal {
    match cell {
        None => Literal::Null,
        Some(bytes) => match String::from_utf8(bytes) {
            Ok(text) => Literal::Text(text),
            Err(error) => Literal::Bytes(error.into_bytes()),
        },
    }
}
