//! What was found.

use std::time::Duration;

use crate::model::{Reason, TableName};

/// What is said of a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Every row is equal.
    Equal,
    /// Rows differ and stay so, or columns are missing.
    Different,
    /// It could not be compared, or not all of it.
    Undecided,
}

/// How a row differs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The target lacks it.
    Missing,
    /// The source lacks it.
    Extra,
    /// Both have it, with other values.
    Differing,
}

/// A row that differs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// How.
    pub kind: Kind,
    /// Its key: names and values in key order.
    pub key: Vec<(String, String)>,
    /// The columns that differ; empty unless both sides have the row.
    pub columns: Vec<ColumnDifference>,
}

/// A value that differs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ColumnDifference {
    /// The column.
    pub name: String,
    /// The value of source and target (`None` is NULL), if values were asked for.
    pub values: Option<(Option<String>, Option<String>)>,
}

/// What was found of one table.
#[derive(Clone, Debug)]
pub struct TableReport {
    /// The table.
    pub table: TableName,
    /// Its name in the target.
    pub target: String,
    /// What is said of it.
    pub verdict: Verdict,
    /// Rows in the source when it was read.
    pub rows: u64,
    /// Rows in the target when it was read.
    pub target_rows: u64,
    /// How long it took.
    pub elapsed: Duration,
    /// Rows that the target lacks.
    pub missing: u64,
    /// Rows that the source lacks.
    pub extra: u64,
    /// Rows with other values.
    pub differing: u64,
    /// The three numbers before are estimates from a part of the rows: there are too many differences to count.
    pub estimated: bool,
    /// Rows that changed at every look, so that nothing can be said of them.
    pub unsettled: u64,
    /// The first differences.
    pub found: Vec<Difference>,
    /// What a person should know, one sentence each.
    pub notes: Vec<String>,
    /// Why it could not be compared.
    pub reason: Option<Reason>,
}

impl TableReport {
    /// Before anything was read.
    pub(super) fn new(table: &TableName, target: &str) -> Self {
        TableReport {
            table: table.clone(),
            target: target.to_owned(),
            verdict: Verdict::Undecided,
            rows: 0,
            target_rows: 0,
            elapsed: Duration::ZERO,
            missing: 0,
            extra: 0,
            differing: 0,
            estimated: false,
            unsettled: 0,
            found: Vec::new(),
            notes: Vec::new(),
            reason: None,
        }
    }

    /// Rows that differ.
    pub fn differences(&self) -> u64 {
        self.missing + self.extra + self.differing
    }

    /// Rows that are equal on both sides.
    pub fn equal_rows(&self) -> u64 {
        self.rows.saturating_sub(self.missing + self.differing + self.unsettled)
    }
}
