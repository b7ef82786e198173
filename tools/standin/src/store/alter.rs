//! Schema changes: what is allowed, what it makes of the table, and the jobs that do it.
//!
//! In: the clauses of one ALTER TABLE. Out: the new definition, and whether the change is metadata only.
//! Always: a refused clause refuses the statement; texts are StarRocks' (`SchemaChangeHandler.java`, `Column.java`,
//! `SchemaChangeTypeCompatibility.java`).
//! Not here: rows (`rows::reshape`), when a job runs (`databases`).
//! Start at `plan`.

use serde::{Deserialize, Serialize};

use super::error::CatalogError;
use super::table::{ColumnDef, ColumnDefault, Distribution, TableDef, TableModel, check_column_name};
use super::types::SrType;

/// Where a column goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// A new one to the end, a changed one where it is.
    Default,
    /// `FIRST`.
    First,
    /// `AFTER c`.
    After(String),
}

/// One clause.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ColumnChange {
    /// `ADD COLUMN`. `column.key` says whether KEY was written.
    Add {
        /// The new column.
        column: ColumnDef,
        /// Where.
        place: Place,
    },
    /// `DROP COLUMN`.
    Drop(String),
    /// `MODIFY COLUMN`.
    Modify {
        /// The column as it shall be; `key` says whether KEY was written.
        column: ColumnDef,
        /// Where.
        place: Place,
    },
}

/// How far a job is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum AlterState {
    /// Not begun.
    Pending,
    /// Waits for loads that were begun before it.
    WaitingTxn,
    /// Rewrites.
    Running,
    /// Rewritten, not published yet; shared-data mode only.
    FinishedRewriting,
    /// Done: the new columns are visible.
    Finished,
    /// Given up.
    Cancelled,
}

impl AlterState {
    /// As SHOW ALTER TABLE COLUMN prints it.
    pub fn name(self) -> &'static str {
        match self {
            AlterState::Pending => "PENDING",
            AlterState::WaitingTxn => "WAITING_TXN",
            AlterState::Running => "RUNNING",
            AlterState::FinishedRewriting => "FINISHED_REWRITING",
            AlterState::Finished => "FINISHED",
            AlterState::Cancelled => "CANCELLED",
        }
    }

    /// Whether nothing will happen to it any more.
    pub fn is_final(self) -> bool {
        matches!(self, AlterState::Finished | AlterState::Cancelled)
    }
}

/// A schema change, running or done.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct AlterJob {
    /// `JobId`.
    pub job_id: u64,
    /// `TableName`.
    pub table: String,
    /// The table's id.
    pub table_id: u64,
    /// `CreateTime`, milliseconds since 1970.
    pub created_ms: i64,
    /// `FinishTime`.
    pub finished_ms: Option<i64>,
    /// `IndexId`.
    pub index_id: u64,
    /// `OriginIndexId`.
    pub origin_index_id: u64,
    /// `SchemaVersion`: the part before the colon.
    pub schema_version: u32,
    /// `TransactionId`: loads begun before it are waited for.
    pub transaction_id: u64,
    /// `State`.
    pub state: AlterState,
    /// `Msg`.
    pub message: String,
    /// `Progress`, percent.
    pub progress: Option<u8>,
    /// `Timeout`, seconds.
    pub timeout_s: u64,
}

/// What a statement makes of a table.
#[derive(Debug)]
pub(super) struct Planned {
    pub(super) table: TableDef,
    /// Fast schema evolution can do it: only metadata changes.
    pub(super) metadata_only: bool,
}

/// Checks the clauses in order and builds the table they lead to.
pub(super) fn plan(table: &TableDef, changes: &[ColumnChange]) -> Result<Planned, CatalogError> {
    let mut new = table.clone();
    let mut metadata_only = new.properties.get("fast_schema_evolution").is_some_and(|value| value == "true");
    for change in changes {
        metadata_only &= match change {
            ColumnChange::Add { column, place } => add(&mut new, column, place)?,
            ColumnChange::Drop(name) => drop_column(&mut new, name)?,
            ColumnChange::Modify { column, place } => modify(&mut new, column, place)?,
        };
    }
    new.schema_version += 1;
    Ok(Planned { table: new, metadata_only })
}

fn add(table: &mut TableDef, column: &ColumnDef, place: &Place) -> Result<bool, CatalogError> {
    let name = &column.name;
    check_column_name(name)?;
    if table.column_index(name).is_some() {
        let text = format!("Can not add column which already exists in base table: {name}");
        return Err(CatalogError::refused(text));
    }
    if let Some(other) = table.columns.iter().find(|other| other.created_as.eq_ignore_ascii_case(name)) {
        return Err(CatalogError::refused(format!(
            "Can not add column which already exists in column id: {name}, you can remove {} and try again.",
            other.name
        )));
    }
    if column.key && table.model == TableModel::Primary {
        return Err(CatalogError::refused(format!("Can not add key column: {name} for primary key table")));
    }
    if let Some(ColumnDefault::Constant(text)) = &column.default
        && super::convert::default_cell(text, column).is_err()
    {
        return Err(CatalogError::analyzing(format!("Invalid default value for '{name}': {text}")));
    }
    let expression = matches!(column.default, Some(ColumnDefault::Expression(_) | ColumnDefault::CurrentTimestamp));
    let light = !column.key && !expression && !column.auto_increment && column.generated.is_none();
    let at = if column.key && *place == Place::Default {
        table.key_columns
    } else {
        place_of(table, place, table.columns.len())?
    };
    if !column.key && at < table.key_columns {
        return Err(CatalogError::refused(format!("Can not assign value column after key column: {name}")));
    }
    let id = table.next_column_id;
    table.next_column_id += 1;
    table.key_columns += usize::from(column.key);
    table.columns.insert(at, ColumnDef { id, created_as: name.clone(), ..column.clone() });
    Ok(light)
}

fn drop_column(table: &mut TableDef, name: &str) -> Result<bool, CatalogError> {
    let Some(at) = table.column_index(name) else {
        return Err(CatalogError::refused(format!("Column does not exists: {name}")));
    };
    let column = &table.columns[at];
    if column.key && table.model == TableModel::Primary {
        return Err(CatalogError::refused("Can not drop key column in primary data model table"));
    }
    if sorts_by(table, column) && table.model == TableModel::Primary {
        return Err(CatalogError::refused("Can not drop sort column in primary data model table"));
    }
    if partitions_by(table, column) {
        let text = format!("Partition column[{name}] cannot be dropped. index[{}]", table.name);
        return Err(CatalogError::refused(text));
    }
    if matches!(&table.distribution, Distribution::Hash(columns) if columns.iter().any(|c| column.is_called(c))) {
        let text = format!("Distribution column[{name}] cannot be dropped. index[{}]", table.name);
        return Err(CatalogError::refused(text));
    }
    let was_key = column.key;
    table.key_columns -= usize::from(was_key);
    table.columns.remove(at);
    Ok(!was_key)
}

fn modify(table: &mut TableDef, column: &ColumnDef, place: &Place) -> Result<bool, CatalogError> {
    let name = &column.name;
    let Some(at) = table.column_index(name) else {
        return Err(CatalogError::refused(format!("Column[{name}] does not exists")));
    };
    let old = &table.columns[at];
    let widened = longer_varchar(&old.ty, &column.ty);
    if old.key && table.model == TableModel::Primary && !widened {
        return Err(CatalogError::refused(format!(
            "Can not modify key column: {name} for primary key table except for increasing varchar length"
        )));
    }
    if !old.key && sorts_by(table, old) && table.model == TableModel::Primary && !widened {
        return Err(CatalogError::refused("Can not modify sort column in primary data model table"));
    }
    check_type_change(&old.ty, &column.ty)?;
    let nullable = column.nullable && !(old.key && table.model == TableModel::Primary);
    if old.nullable && !nullable {
        return Err(CatalogError::refused("Can not change from nullable to non-nullable"));
    }
    // A MODIFY that leaves DEFAULT out keeps the old one only if there was none: StarRocks compares the two.
    if column.default != old.default {
        return Err(CatalogError::refused("Can not change default value"));
    }
    let light = widened && nullable == old.nullable && *place == Place::Default;
    let changed = ColumnDef {
        id: old.id,
        name: old.name.clone(),
        created_as: old.created_as.clone(),
        key: old.key,
        nullable,
        aggregation: old.aggregation,
        ..column.clone()
    };
    table.columns.remove(at);
    let to = place_of(table, place, at)?;
    table.columns.insert(to, changed);
    Ok(light)
}

fn place_of(table: &TableDef, place: &Place, default: usize) -> Result<usize, CatalogError> {
    match place {
        Place::Default => Ok(default),
        Place::First => Ok(0),
        Place::After(name) => match table.column_index(name) {
            Some(at) => Ok(at + 1),
            None => Err(CatalogError::refused(format!("Column[{name}] does not found"))),
        },
    }
}

fn sorts_by(table: &TableDef, column: &ColumnDef) -> bool {
    table.sort_key.iter().any(|name| column.is_called(name))
}

/// Whether the text behind PARTITION BY names the column.
fn partitions_by(table: &TableDef, column: &ColumnDef) -> bool {
    let text = table.partition_by.as_deref().unwrap_or_default();
    text.split(|c: char| !c.is_alphanumeric() && c != '_').any(|word| column.is_called(word))
}

fn longer_varchar(old: &SrType, new: &SrType) -> bool {
    matches!((old, new), (SrType::Varchar(old), SrType::Varchar(new)) if new >= old)
}

/// The matrix of MODIFY COLUMN.
fn check_type_change(old: &SrType, new: &SrType) -> Result<(), CatalogError> {
    use SrType::{
        Array, BigInt, Boolean, Char, Date, DateTime, Decimal, Double, Float, Int, Json, LargeInt, SmallInt, TinyInt,
        VarBinary, Varchar,
    };
    if old == new {
        return Ok(());
    }
    let allowed = match (old, new) {
        (Varchar(a) | Char(a), Varchar(b)) | (Char(a), Char(b)) if b < a => {
            return Err(CatalogError::refused("Cannot shorten string length"));
        }
        (TinyInt, SmallInt | Int | BigInt | LargeInt | Double | Varchar(_))
        | (SmallInt, Int | BigInt | LargeInt | Double | Varchar(_))
        | (Int, BigInt | LargeInt | Double | Date | Varchar(_))
        | (BigInt, LargeInt | Double | Varchar(_))
        | (LargeInt | Double | Json, Varchar(_))
        | (Float, Double | Varchar(_))
        | (Char(_), Varchar(_) | Char(_))
        | (
            Varchar(_),
            Varchar(_) | Json | TinyInt | SmallInt | Int | BigInt | LargeInt | Float | Double | Date | Decimal { .. },
        )
        | (Date, DateTime)
        | (DateTime, Date) => true,
        (Decimal { precision: p, scale: s }, Decimal { precision: q, scale: t }) => t >= s && q - t >= p - s,
        // Digits, point and sign.
        (Decimal { precision, .. }, Varchar(length)) => *length >= u32::from(*precision) + 2,
        (
            Boolean
            | TinyInt
            | SmallInt
            | Int
            | BigInt
            | LargeInt
            | Float
            | Double
            | Decimal { .. }
            | Date
            | DateTime
            | Char(_)
            | Varchar(_)
            | VarBinary(_)
            | Json
            | Array(_),
            _,
        ) => false,
    };
    if allowed {
        Ok(())
    } else {
        let text = format!("Can not change {} to {}", old.error_name(), new.error_name());
        Err(CatalogError::refused(text))
    }
}
