//! The rows of one table, and how a load changes them.
//!
//! In: a `Batch` of converted rows. Out: the table after it.
//! Always: an upsert replaces the whole row unless the batch is partial; a delete of a missing key does nothing; the last
//! operation of a key wins, except where shared-data mode gets it wrong (`Order::DeletesLast`).
//! Not here: conversion, NOT NULL and key length checks (`crate::load`).
//! Start at `Rows::apply`.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::cell::Cell;
use super::convert::{column_default, recast, zero_of};
use super::key::encode_key;
use super::table::{Aggregation, TableDef, TableModel};

/// One row, in column order.
pub type Row = Arc<[Cell]>;

/// `__op`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RowOp {
    /// 0.
    Upsert,
    /// 1.
    Delete,
}

/// What a row of a batch overwrites.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WriteMode {
    /// The whole row.
    Full,
    /// Only the columns at these places.
    Partial(Vec<usize>),
}

/// Rows of one load of one table, converted and checked.
#[derive(Clone, Debug)]
pub struct Batch {
    /// The table as it was when the load was planned.
    pub table: Arc<TableDef>,
    /// Whole rows or some columns.
    pub mode: WriteMode,
    /// `merge_condition`: a row applies if its value here is not smaller than the stored one.
    pub merge_condition: Option<usize>,
    /// In body order; every row has a cell for every column.
    pub rows: Vec<(RowOp, Row)>,
}

/// How operations on one key within one load are ordered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Order {
    /// Body order: the last operation wins.
    LastWins,
    /// Body order within `flush_rows` rows; deletes of all flushes are applied after all upserts.
    DeletesLast {
        /// Rows per memtable flush.
        flush_rows: usize,
    },
}

/// Rows of a table.
#[derive(Debug)]
pub(super) enum Rows {
    /// By encoded key.
    Keyed(BTreeMap<Box<[u8]>, Row>),
    /// In order of arrival.
    Log(Vec<Row>),
}

impl Rows {
    pub(super) fn empty(model: TableModel) -> Rows {
        match model {
            TableModel::Duplicate => Rows::Log(Vec::new()),
            TableModel::Primary | TableModel::Unique | TableModel::Aggregate => Rows::Keyed(BTreeMap::new()),
        }
    }

    pub(super) fn len(&self) -> usize {
        match self {
            Rows::Keyed(rows) => rows.len(),
            Rows::Log(rows) => rows.len(),
        }
    }

    pub(super) fn all(&self) -> Vec<Row> {
        match self {
            Rows::Keyed(rows) => rows.values().cloned().collect(),
            Rows::Log(rows) => rows.clone(),
        }
    }

    pub(super) fn clear(&mut self) {
        match self {
            Rows::Keyed(rows) => rows.clear(),
            Rows::Log(rows) => rows.clear(),
        }
    }

    pub(super) fn delete_where(&mut self, matches: &mut dyn FnMut(&[Cell]) -> bool) -> usize {
        let before = self.len();
        match self {
            Rows::Keyed(rows) => rows.retain(|_, row| !matches(row)),
            Rows::Log(rows) => rows.retain(|row| !matches(row)),
        }
        before - self.len()
    }

    /// Applies one load, which has been brought to the table's present columns.
    pub(super) fn apply(&mut self, batch: &Batch, order: Order, now_micros: i64) {
        match self {
            Rows::Log(rows) => rows.extend(batch.rows.iter().map(|(_, row)| Arc::clone(row))),
            Rows::Keyed(rows) => {
                let mut writer = Writer { rows, batch, now_micros };
                match order {
                    Order::LastWins => batch.rows.iter().for_each(|(op, row)| writer.write(*op, row)),
                    Order::DeletesLast { flush_rows } => {
                        let mut deletes = Vec::new();
                        for flush in batch.rows.chunks(flush_rows.max(1)) {
                            deletes.extend(writer.write_flush(flush));
                        }
                        deletes.iter().for_each(|row| writer.write(RowOp::Delete, row));
                    }
                }
            }
        }
    }

    /// Moves every row to the columns of `new`.
    pub(super) fn reshape(&mut self, old: &TableDef, new: &TableDef, now_micros: i64) {
        match self {
            Rows::Keyed(rows) => {
                for row in rows.values_mut() {
                    *row = reshape(row, old, new, now_micros);
                }
            }
            Rows::Log(rows) => {
                for row in rows.iter_mut() {
                    *row = reshape(row, old, new, now_micros);
                }
            }
        }
    }
}

impl Batch {
    /// The batch for the table as it is now: a load planned before a schema change ends with the new columns.
    pub(super) fn brought_to(self, table: &Arc<TableDef>, now_micros: i64) -> Batch {
        let planned = &*self.table;
        if planned.schema_version == table.schema_version {
            return self;
        }
        let rows = self.rows.iter().map(|(op, row)| (*op, reshape(row, planned, table, now_micros))).collect();
        let mode = match &self.mode {
            WriteMode::Full => WriteMode::Full,
            WriteMode::Partial(columns) => {
                WriteMode::Partial(columns.iter().filter_map(|at| column_now(planned, table, *at)).collect())
            }
        };
        let merge_condition = self.merge_condition.and_then(|at| column_now(planned, table, at));
        Batch { table: Arc::clone(table), mode, merge_condition, rows }
    }
}

struct Writer<'a> {
    rows: &'a mut BTreeMap<Box<[u8]>, Row>,
    batch: &'a Batch,
    now_micros: i64,
}

impl Writer<'_> {
    fn write(&mut self, op: RowOp, row: &Row) {
        let table = &*self.batch.table;
        let key = encode_key(table.key(), row);
        if op == RowOp::Delete {
            self.rows.remove(&key);
            return;
        }
        let old = self.rows.get(&key);
        if let (Some(at), Some(old)) = (self.batch.merge_condition, old)
            && row[at].compare(&old[at]) == Some(std::cmp::Ordering::Less)
        {
            return;
        }
        let new = match &self.batch.mode {
            WriteMode::Full if table.model == TableModel::Aggregate => fold(table, old, row),
            WriteMode::Full => Arc::clone(row),
            WriteMode::Partial(columns) => self.merge(columns, old, row),
        };
        self.rows.insert(key, new);
    }

    /// The listed columns of `row` over the stored row, or over defaults if there is none.
    fn merge(&self, columns: &[usize], old: Option<&Row>, row: &Row) -> Row {
        let mut cells: Vec<Cell> = match old {
            Some(old) => old.to_vec(),
            None => self.batch.table.columns.iter().map(|column| filled(column, self.now_micros)).collect(),
        };
        for at in columns {
            cells[*at] = row[*at].clone();
        }
        cells.into()
    }

    /// Writes the upserts of one memtable and hands back its deletes; within the memtable the last operation wins.
    fn write_flush(&mut self, flush: &[(RowOp, Row)]) -> Vec<Row> {
        let mut last: HashMap<Box<[u8]>, usize> = HashMap::new();
        for (at, (_, row)) in flush.iter().enumerate() {
            last.insert(encode_key(self.batch.table.key(), row), at);
        }
        let mut kept: Vec<usize> = last.into_values().collect();
        kept.sort_unstable();
        let mut deletes = Vec::new();
        for at in kept {
            match &flush[at] {
                (RowOp::Upsert, row) => self.write(RowOp::Upsert, row),
                (RowOp::Delete, row) => deletes.push(Arc::clone(row)),
            }
        }
        deletes
    }
}

/// AGGREGATE KEY: every value column folded with its own function.
fn fold(table: &TableDef, old: Option<&Row>, new: &Row) -> Row {
    let Some(old) = old else { return Arc::clone(new) };
    let cells = table.columns.iter().zip(old.iter().zip(new.iter())).map(|(column, (old, new))| {
        let newer_wins = |wins: bool| if wins { new.clone() } else { old.clone() };
        match column.aggregation {
            _ if column.key => old.clone(),
            Some(Aggregation::Sum) => sum(old, new),
            Some(Aggregation::Min) => {
                newer_wins(!new.is_null() && (old.is_null() || new.compare(old).is_some_and(|o| o.is_lt())))
            }
            Some(Aggregation::Max) => newer_wins(new.compare(old).is_some_and(|o| o.is_gt())),
            Some(Aggregation::ReplaceIfNotNull) => newer_wins(!new.is_null()),
            Some(Aggregation::Replace) | None => new.clone(),
        }
    });
    cells.collect()
}

fn sum(old: &Cell, new: &Cell) -> Cell {
    match (old, new) {
        (Cell::Null, other) | (other, Cell::Null) => other.clone(),
        (Cell::Int(a), Cell::Int(b)) => Cell::Int(a.wrapping_add(*b)),
        (Cell::LargeInt(a), Cell::LargeInt(b)) => Cell::LargeInt(a.wrapping_add(*b)),
        (Cell::Decimal(a, scale), Cell::Decimal(b, _)) => Cell::Decimal(a.wrapping_add(*b), *scale),
        (Cell::Float(a), Cell::Float(b)) => Cell::Float(a + b),
        (Cell::Double(a), Cell::Double(b)) => Cell::Double(a + b),
        (_, new) => new.clone(),
    }
}

/// The default, NULL, or zero where neither is allowed.
fn filled(column: &super::table::ColumnDef, now_micros: i64) -> Cell {
    match column_default(column, now_micros) {
        Cell::Null if !column.nullable => zero_of(&column.ty),
        cell => cell,
    }
}

fn column_now(planned: &TableDef, table: &TableDef, at: usize) -> Option<usize> {
    let id = planned.columns.get(at)?.id;
    table.columns.iter().position(|column| column.id == id)
}

/// A row of `old` with the columns of `new`: matched by column id, changed types recast, new columns filled.
fn reshape(row: &Row, old: &TableDef, new: &TableDef, now_micros: i64) -> Row {
    let cells = new.columns.iter().map(|column| match old.columns.iter().position(|before| before.id == column.id) {
        Some(at) if old.columns[at].ty == column.ty => row[at].clone(),
        Some(at) => recast(&row[at], &column.ty).unwrap_or(Cell::Null),
        None => filled(column, now_micros),
    });
    cells.collect()
}
