//! Checks one row after the other and keeps the good ones.
//!
//! Always: a value that cannot be converted becomes NULL, or filters its row in strict mode; NULL in a NOT NULL column
//! filters its row; a key that is too long fails the load (StarRocks source, `tablet_sink.cpp`, `json_scanner.cpp`).

use std::sync::Arc;

use super::plan::{Feed, Loaded, OpFeed, Plan};
use super::request::Format;
use crate::json::Token;
use crate::store::convert::{Invalid, cell_from_json, cell_from_text, raw_text};
use crate::store::{Batch, Cell, ColumnDef, Counts, KEY_BYTES_MAX, Row, RowOp, SrType, TableModel, encode_key};

/// Lines kept in the error log of one load.
const ERROR_LINES_MAX: usize = 50;
/// Bytes kept of a reason and of a row in the error log.
const ERROR_BYTES_MAX: usize = 4096;

/// One field of one source row.
#[derive(Clone, Copy, Debug)]
pub(super) enum FieldValue<'a> {
    /// The source does not have it, or says NULL.
    Null,
    /// Of a JSON body.
    Json(Token<'a>),
    /// Of a CSV body.
    Text(&'a [u8]),
}

/// Collects rows.
pub(super) struct RowSink<'p> {
    plan: &'p Plan,
    rows: Vec<(i8, Row)>,
    counts: Counts,
    error_lines: Vec<String>,
    key_too_long: bool,
}

impl<'p> RowSink<'p> {
    pub(super) fn new(plan: &'p Plan) -> RowSink<'p> {
        RowSink { plan, rows: Vec::new(), counts: Counts::default(), error_lines: Vec::new(), key_too_long: false }
    }

    /// Takes a row; `fields` in the plan's order, `raw` for the error log.
    pub(super) fn row(&mut self, fields: &[FieldValue<'_>], raw: &[u8]) {
        match self.converted(fields) {
            Ok(row) => {
                self.counts.total += 1;
                self.rows.push(row);
            }
            Err(reason) => self.filtered(&reason, raw),
        }
    }

    /// Counts a row that cannot be loaded.
    pub(super) fn filtered(&mut self, reason: &str, raw: &[u8]) {
        self.counts.total += 1;
        self.counts.filtered += 1;
        if self.error_lines.len() < ERROR_LINES_MAX {
            let cut = |bytes: &[u8]| String::from_utf8_lossy(&bytes[..bytes.len().min(ERROR_BYTES_MAX)]).into_owned();
            self.error_lines.push(format!("Error: {}. Row: {}", cut(reason.as_bytes()), cut(raw)));
        }
    }

    fn converted(&mut self, fields: &[FieldValue<'_>]) -> Result<(i8, Row), String> {
        let table = &self.plan.table;
        let mut cells = Vec::with_capacity(table.columns.len());
        for (column, feed) in table.columns.iter().zip(&self.plan.feeds) {
            let cell = match feed {
                Feed::Field(at) => self.field_cell(column, fields[*at])?,
                Feed::Computed(expression) => {
                    let field = |name: &str| {
                        let at = self.plan.fields.iter().position(|field| field.eq_ignore_ascii_case(name))?;
                        field_text(fields[at])
                    };
                    self.computed_cell(column, expression.evaluate(&field), expression.is_binary())?
                }
                Feed::Default(cell) => cell.clone(),
                Feed::Untouched => {
                    cells.push(Cell::Null);
                    continue;
                }
            };
            if cell.is_null() && !column.nullable {
                return Err(format!("NULL value in non-nullable column '{}'", column.name));
            }
            cells.push(cell);
        }
        let op = match self.plan.op {
            OpFeed::Constant(op) => op,
            OpFeed::Field(at) => self.op(fields[at])?,
        };
        if table.model == TableModel::Primary && encode_key(table.key(), &cells).len() > KEY_BYTES_MAX {
            self.key_too_long = true;
        }
        Ok((op, cells.into()))
    }

    fn field_cell(&self, column: &ColumnDef, value: FieldValue<'_>) -> Result<Cell, String> {
        let converted = match value {
            FieldValue::Null => return Ok(Cell::Null),
            FieldValue::Json(token) => cell_from_json(&column.ty, token),
            FieldValue::Text(text) => cell_from_text(&column.ty, text),
        };
        match converted {
            Ok(cell) => Ok(cell),
            Err(invalid) if self.plan.request.strict_mode => Err(self.reason(column, value, invalid)),
            Err(_) => Ok(Cell::Null),
        }
    }

    /// A computed value that is too long is always an error: nothing has cut it to NULL on the way.
    fn computed_cell(&self, column: &ColumnDef, value: Option<Vec<u8>>, binary: bool) -> Result<Cell, String> {
        let Some(bytes) = value else { return Ok(Cell::Null) };
        let max = match column.ty {
            SrType::Char(max) | SrType::Varchar(max) | SrType::VarBinary(max) => max as usize,
            _ => usize::MAX,
        };
        if bytes.len() > max {
            let text = String::from_utf8_lossy(&bytes);
            let (length, name) = (bytes.len(), &column.name);
            return Err(format!("String '{text}'(length={length}) is too long. The max length of '{name}' is {max}"));
        }
        match (&column.ty, binary) {
            (SrType::VarBinary(_), _) => Ok(Cell::Binary(bytes.into())),
            (_, true) => Ok(Cell::Text(bytes.into())),
            (ty, false) => match cell_from_text(ty, &bytes) {
                Ok(cell) => Ok(cell),
                Err(_) if self.plan.request.strict_mode => Err(out_of_range(column, &bytes)),
                Err(_) => Ok(Cell::Null),
            },
        }
    }

    fn op(&self, value: FieldValue<'_>) -> Result<i8, String> {
        let cell = match value {
            FieldValue::Null => return Ok(0),
            FieldValue::Json(token) => cell_from_json(&SrType::TinyInt, token),
            FieldValue::Text(text) => cell_from_text(&SrType::TinyInt, text),
        };
        match cell {
            Ok(Cell::Int(op)) => Ok(op as i8),
            _ => Err("NULL value in non-nullable column '__op'".to_string()),
        }
    }

    fn reason(&self, column: &ColumnDef, value: FieldValue<'_>, invalid: Invalid) -> String {
        let text = field_text(value).unwrap_or_default();
        let json = self.plan.request.format == Format::Json;
        match (&column.ty, invalid) {
            (SrType::Char(max) | SrType::Varchar(max) | SrType::VarBinary(max), Invalid::TooLong { .. }) => {
                format!("Value length is beyond the capacity. column={}, capacity={max}", column.name)
            }
            (SrType::TinyInt | SrType::SmallInt | SrType::Int | SrType::BigInt, Invalid::Overflow) if json => {
                format!("Value is overflow. column={}, value={}", column.name, String::from_utf8_lossy(&text))
            }
            _ => out_of_range(column, &text),
        }
    }

    /// The end of the body; `read` says how reading it went.
    pub(super) fn finish(mut self, read: Result<(), String>) -> Loaded {
        if let Err(reason) = &read {
            self.filtered(reason, b"");
        }
        // Only the value 1 is counted as a delete, but if there is one, every value but 0 deletes.
        let deletes = self.rows.iter().any(|(op, _)| *op == 1);
        let rows: Vec<_> = self
            .rows
            .into_iter()
            .map(|(op, row)| (if deletes && op != 0 { RowOp::Delete } else { RowOp::Upsert }, row))
            .collect();
        self.counts.loaded = self.counts.total - self.counts.filtered;
        self.counts.deletes = rows.iter().filter(|(op, _)| *op == RowOp::Delete).count() as u64;
        let batch = Batch {
            table: Arc::clone(&self.plan.table),
            mode: self.plan.mode.clone(),
            merge_condition: self.plan.merge_condition,
            rows,
        };
        let failure = read.err().or_else(|| failure(self.plan, self.counts, self.key_too_long));
        Loaded { batch, counts: self.counts, error_lines: self.error_lines, failure }
    }
}

fn failure(plan: &Plan, counts: Counts, key_too_long: bool) -> Option<String> {
    if key_too_long {
        return Some("primary key size exceed the limit.".to_string());
    }
    if let (Some(at), true) = (plan.merge_condition, counts.deletes > 0) {
        let (tablet, name) = (plan.table.id + 1, &plan.table.columns[at].name);
        return Some(format!("memtable of tablet {tablet} delete with condition column {name}"));
    }
    None
}

fn out_of_range(column: &ColumnDef, text: &[u8]) -> String {
    let kind = if matches!(column.ty, SrType::Decimal { .. }) { "Decimal" } else { "Value" };
    let text = String::from_utf8_lossy(text);
    format!("{kind} '{text}' is out of range. The type of '{}' is {}", column.name, column.ty.error_name())
}

/// The field as VARCHAR; `None` for NULL.
fn field_text(value: FieldValue<'_>) -> Option<Vec<u8>> {
    match value {
        FieldValue::Null | FieldValue::Json(Token::Null) => None,
        FieldValue::Json(token) => raw_text(token).ok().map(|text| text.into_owned()),
        FieldValue::Text(text) => Some(text.to_vec()),
    }
}
