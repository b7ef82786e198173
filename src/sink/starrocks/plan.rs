//! How the rows of one table are written: settled once when the table is prepared, not row by row.

use super::escape;
use super::policy::{Policies, Policy};
use super::value::Writer;
use crate::model::{ColumnSet, ColumnType, Present};

/// One source column in its target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct PlanColumn {
    /// Name as the target spells it: StarRocks matches JSON keys by case.
    pub(super) name: String,
    /// `,"name":`, so that writing a key is one copy.
    pub(super) prefix: Box<[u8]>,
    pub(super) writer: Writer,
    /// Whether the target column may be NULL.
    pub(super) nullable: bool,
    pub(super) key: bool,
    /// What becomes of values it cannot hold.
    pub(super) policies: Policies,
}

impl PlanColumn {
    /// A column that blocks its table for every value it cannot hold.
    pub(super) fn new(name: &str, writer: Writer, nullable: bool, key: bool) -> Self {
        let policies = Policies::all(Policy::Block);
        PlanColumn { name: name.to_owned(), prefix: prefix(name), writer, nullable, key, policies }
    }

    /// With these policies for values of `ty`, as far as the column can follow them.
    pub(super) fn with_policies(self, policies: &Policies, ty: &ColumnType) -> Self {
        PlanColumn { policies: policies.in_column(ty, self.writer, self.nullable, self.key), ..self }
    }
}

/// `,"name":` with the name escaped.
fn prefix(name: &str) -> Box<[u8]> {
    let mut bytes = vec![b','];
    escape::string(name.as_bytes(), &mut bytes);
    bytes.push(b':');
    bytes.into_boxed_slice()
}

/// The audit columns, as the target spells them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Audit {
    /// 0 insert, 1 update, 2 delete.
    pub(super) op_type: String,
    pub(super) is_deleted: String,
    /// When the load's ticket was made, UTC.
    pub(super) synced_at: String,
    /// Commit LSN.
    pub(super) cdc_version: String,
}

impl Audit {
    /// The names in the order they are written.
    pub(super) fn names(&self) -> [&str; 4] {
        [&self.op_type, &self.is_deleted, &self.synced_at, &self.cdc_version]
    }
}

/// How the rows of one table are written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Plan {
    /// One for each source column, in the order rows carry them.
    pub(super) columns: Vec<PlanColumn>,
    /// Positions of the key columns in key order.
    pub(super) key: Vec<usize>,
    pub(super) audit: Option<Audit>,
    /// Deletes remove rows.
    pub(super) hard_deletes: bool,
    /// Every column of the target besides the key may be NULL, so that a row that brings the key alone is accepted.
    pub(super) key_alone_fits: bool,
}

/// What the headers of a load say of its columns.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct ColumnHeaders {
    /// `partial_update`.
    pub(super) partial: bool,
    /// `columns`; absent if every column of the table is meant.
    pub(super) columns: Option<String>,
}

impl Plan {
    /// Whether a body may hold other values than the source's.
    pub(super) fn may_change_values(&self) -> bool {
        self.columns.iter().any(|column| !column.policies.all_block())
    }

    /// Which source columns the rows (not the deletes) of such a load bring.
    pub(super) fn included(&self, present: &Present) -> Vec<bool> {
        match present {
            Present::All => vec![true; self.columns.len()],
            Present::KeyOnly => self.columns.iter().map(|column| column.key).collect(),
            Present::Only(set) => self.with_key(set),
        }
    }

    fn with_key(&self, set: &ColumnSet) -> Vec<bool> {
        self.columns.iter().enumerate().map(|(at, column)| column.key || set.contains(at)).collect()
    }

    /// The headers for such a load.
    ///
    /// Without `columns` StarRocks takes every column of the table, and an absent JSON key is NULL. With
    /// `partial_update` it keeps what `columns` does not name, and accepts a row that lacks NOT NULL columns (StarRocks
    /// documentation, "Change data through loading").
    pub(super) fn headers(&self, present: &Present) -> ColumnHeaders {
        let delete_rows = *present == Present::KeyOnly && self.hard_deletes;
        if *present == Present::All || (delete_rows && self.key_alone_fits) {
            return ColumnHeaders::default();
        }
        let included = self.included(present);
        let source =
            self.columns.iter().zip(&included).filter(|(_, included)| **included).map(|(c, _)| c.name.as_str());
        let audit = self.audit.iter().filter(|_| !delete_rows).flat_map(|audit| audit.names());
        let op = delete_rows.then_some("__op");
        let names: Vec<String> = source.chain(audit).chain(op).map(|name| name.replace('`', "``")).collect();
        ColumnHeaders { partial: true, columns: Some(format!("`{}`", names.join("`,`"))) }
    }
}
